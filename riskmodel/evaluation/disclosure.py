"""No cell below ten households: what is withheld, also where it could be worked out from the rest.

The evidence counts rows, and a household has a row for each as-of month: ten households are as many rows as
ten households have on average (`rows_of_ten`). Ten is the default of the setting `smallest_cell`.

What is withheld beside the small cells follows from what a reader could work out: each sum that is printed or known is
an equation, no count is negative, and `<10` says 1 to 9. A cell is open enough where at least three values remain
(linear programmes for its least and greatest value; Fischetti and Salazar 2001).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from riskmodel.evaluation.metrics import wilson

LEAST = 10
WITHHELD = "*"
_OPEN = 2
_SURE = 1e-6

Sum = tuple[int, Sequence[int]]
"""Place of a total and places of its parts."""


def small_mark(households: int = LEAST) -> str:
    """How a cell of fewer households is printed."""
    return f"<{households}"


SMALL = small_mark()


def rows_of_ten(part: Mapping[str, Any], households: int = LEAST) -> int:
    """Rows that stand for ten households in a part of the data with `rows` and `households`.

    >>> rows_of_ten({"rows": 900, "households": 400})
    23
    """
    return math.ceil(households * part["rows"] / max(part["households"], 1)) or households


def shown(n: int, least: int = LEAST, mark: str = SMALL) -> str:
    """A count as it is printed: `<10` stands for fewer than ten households.

    >>> shown(0), shown(9), shown(1204)
    ('0', '<10', '1,204')
    """
    return mark if 0 < n < least else f"{n:,}"


def withheld(cell: str) -> bool:
    """Whether a printed count hides its number."""
    return cell == WITHHELD or cell.startswith("<")


def shown_together(counts: Sequence[int], least: int = LEAST, mark: str = SMALL) -> list[str]:
    """Counts that add up to a known total: where a small one could be worked out, others are withheld as well.

    >>> shown_together([3, 40, 500])
    ['<10', '*', '500']
    >>> shown_together([3, 4, 500])
    ['<10', '<10', '500']
    >>> shown_together([1, 10, 500])
    ['*', '*', '500']
    """
    n = len(counts)
    return shown_with_sums([*counts, sum(counts)], [(n, range(n))], least, fixed={n}, mark=mark)[:n]


def shown_table(table: Sequence[Sequence[int]], least: int = LEAST, mark: str = SMALL) -> list[list[str]]:
    """A table as printed with a column and a row of totals, and the grand total in the corner.

    Parameters
    ----------
    table
        Counts, rows x columns, at least two of each.

    >>> shown_table([[3, 40], [50, 60]])
    [['<10', '*', '43'], ['*', '*', '110'], ['53', '100', '153']]
    """
    wide, high = len(table[0]) + 1, len(table) + 1
    full = [[*row, sum(row)] for row in table]
    full.append([sum(column) for column in zip(*full, strict=True)])
    sums: list[Sum] = [(wide * r + wide - 1, range(wide * r, wide * r + wide - 1)) for r in range(high)]
    sums += [(wide * (high - 1) + c, range(c, wide * (high - 1), wide)) for c in range(wide)]
    cells = shown_with_sums([n for row in full for n in row], sums, least, mark=mark)
    return [cells[wide * r : wide * (r + 1)] for r in range(high)]


def shown_with_sums(
    values: Sequence[int],
    sums: Sequence[Sum],
    least: int = LEAST,
    *,
    printed: Collection[int] | None = None,
    fixed: Collection[int] = (),
    mark: str = SMALL,
) -> list[str]:
    """Counts that are bound by sums, so printed that no small one can be worked out.

    Small counts get `mark` where that is safe; where it would tell too much, all that is withheld gets `*`, which may
    stand for any number. Of the two the one that withholds less is taken.

    Parameters
    ----------
    values
        All counts, totals among them.
    sums
        What adds up to what.
    printed
        Places that are printed, all by default; the others are what a reader could work out, such as the households
        of a row that are in none of its columns. They are protected where they are small.
    fixed
        Places of totals that stand elsewhere: they are withheld only where they are small themselves.
    """
    places = set(range(len(values))) if printed is None else set(printed)
    small = {i for i, n in enumerate(values) if 0 < n < least}
    named = _hidden(values, sums, small, places, set(fixed), least, named=True)
    if named is None or len(named) > len(small & places):
        plain = _hidden(values, sums, small, places, set(fixed), least, named=False)
        if named is None or len(plain) < len(named):
            return [WITHHELD if i in plain else f"{n:,}" for i, n in enumerate(values)]
    return [(mark if i in small else WITHHELD) if i in named else f"{n:,}" for i, n in enumerate(values)]


def shown_in_table(counts: np.ndarray, least: int = LEAST) -> np.ndarray:
    """A large table of counts whose totals of rows and columns are known, small cells withheld (`shown_table` is exact).

    Where a row or a column holds a single withheld cell, or tells a small one to less than three values, its smallest other
    one above zero is withheld as well: so long as rows and columns in turn narrow what a cell may be. Where nothing else is
    left to withhold, all that is withheld gets `*`. Totals below `least` are withheld where totals are printed: a row or
    column whose only count above zero is small has nothing else to withhold.

    Parameters
    ----------
    counts
        Whole numbers, shape (rows, columns), without totals.

    Returns
    -------
    numpy.ndarray
        Texts of the same shape.

    >>> shown_in_table(np.array([[3, 40, 50], [60, 70, 20]])).tolist()
    [['<10', '*', '50'], ['*', '*', '20']]
    >>> shown_in_table(np.array([[1, 10, 0], [60, 70, 0]])).tolist()
    [['*', '*', '0'], ['*', '*', '0']]
    """
    counts = np.asarray(counts)
    small = (counts > 0) & (counts < least)
    hidden, safe = _hidden_in_table(counts, small, least, named=True)
    if not safe:
        hidden, _ = _hidden_in_table(counts, small, least, named=False)
    cells = np.array([[shown(int(n), least) for n in row] for row in counts], dtype=object).reshape(counts.shape)
    cells[hidden & (~small | (not safe))] = WITHHELD
    return cells


def _hidden_in_table(counts: np.ndarray, small: np.ndarray, least: int, *, named: bool) -> tuple[np.ndarray, bool]:
    """Cells to withhold, and whether no small one is told by them; `named` as in `_hidden`."""
    hidden = small.copy()
    while True:
        _never_alone(counts, hidden)
        low, high = _ranges(counts, small, hidden, least, named=named)
        told = np.argwhere(small & (high - low < _OPEN))
        more = {place for cell in told for place in _beside(counts, hidden, cell)}
        if not more:
            return hidden, not len(told)
        hidden[tuple(np.array(sorted(more)).T)] = True


def _never_alone(counts: np.ndarray, hidden: np.ndarray) -> None:
    """Withhold, in place, a second cell of each row and column that holds one, as long as any does."""
    changed = True
    while changed:
        changed = False
        for values, hides in ((counts, hidden), (counts.T, hidden.T)):
            for row in np.flatnonzero(hides.sum(axis=1) == 1):
                others = np.flatnonzero(~hides[row] & (values[row] > 0))
                if len(others):
                    hides[row, others[np.argmin(values[row, others])]] = True
                    changed = True


def _beside(counts: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> list[tuple[int, int]]:
    """The smallest cell above zero of the row or column of a cell that is not withheld yet; none where all are."""
    row, column = cell
    cross = [(int(row), c) for c in range(counts.shape[1])] + [(r, int(column)) for r in range(counts.shape[0])]
    return sorted((p for p in cross if counts[p] > 0 and not hidden[p]), key=lambda p: counts[p])[:1]


def _ranges(
    counts: np.ndarray, small: np.ndarray, hidden: np.ndarray, least: int, *, named: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value that each cell may have by its row and its column in turn.

    Totals below `least` are not known; what all such rows, or columns, hold together is, by the others. Rows of one column
    have no totals but their cells.
    """
    low, high = np.where(hidden, 0, counts), np.where(hidden, counts.sum(), counts)
    if named:
        low, high = np.where(small, 1, low), np.where(small, least - 1, high)
        low = np.where(hidden & ~small, least, low)
    few = [np.broadcast_to(counts.sum(axis=axis, keepdims=True) < least, counts.shape) for axis in (0, 1)]
    while True:
        before = low, high
        for axis in (axis for axis in (0, 1) if counts.shape[axis] > 1):
            lows, highs, total = (
                np.where(few[axis], x[few[axis]].sum(), x.sum(axis=axis, keepdims=True)) for x in (low, high, counts)
            )
            greatest, lowest = total - (lows - low), total - (highs - high)
            low, high = np.where(hidden, np.maximum(low, lowest), low), np.where(hidden, np.minimum(high, greatest), high)
        if np.array_equal(low, before[0]) and np.array_equal(high, before[1]):
            return low, high


def tells(events: int, rows: int, least: int = LEAST) -> bool:
    """Whether a rate may be shown: it gives away no small group, of those who fell or of the others."""
    return all(n == 0 or n >= least for n in (events, rows - events))


def open_groups(groups: Sequence[Sequence[int]], least: int = LEAST) -> list[bool]:
    """Which of the groups that make up a known whole may be shown with their counts.

    A group in which some cell stands for fewer households is left out. The whole less what is shown tells what is left out:
    more groups are, the smallest first, until each of its cells stands for nobody or for enough in one group.

    Parameters
    ----------
    groups
        Households of each cell of each group, which may be counted in several where they have several rows.

    >>> open_groups([[12, 40], [3, 50], [30, 90]])
    [False, False, True]
    >>> open_groups([[12, 40], [0, 50], [30, 90]])
    [True, True, True]
    """

    def small(cells: Sequence[int]) -> bool:
        return any(0 < n < least for n in cells)

    left_out = [i for i, cells in enumerate(groups) if small(cells)]
    while left_out and small([max(cells) for cells in zip(*(groups[i] for i in left_out), strict=True)]):
        others = [i for i in range(len(groups)) if i not in left_out]
        if not others:
            break
        left_out.append(min(others, key=lambda i: sum(groups[i])))
    return [i not in left_out for i in range(len(groups))]


def merged_bins(curve: Sequence[Mapping[str, Any]], least: int = LEAST) -> list[dict[str, float]]:
    """Bins of a calibration curve joined, from the lowest risk up, until each has enough of either outcome.

    What is left at the top joins the last bin; none remain where there are too few of either outcome.

    Parameters
    ----------
    curve
        Rows of `evaluation.metrics.calibration_curve`, by rising risk.
    least
        Fewest rows that fell, and that did not, in a bin.
    """

    def large(part: Sequence[float]) -> bool:
        n, _, events = part
        return min(events, n - events) >= least

    bins: list[list[float]] = []
    for row in curve:
        n = row["households"]
        part = [n, row["risk"] * n, round(row["rate"] * n)]
        if bins and not large(bins[-1]):
            bins[-1] = _joined(bins[-1], part)
        else:
            bins.append(part)
    if len(bins) > 1 and not large(bins[-1]):
        last = bins.pop()
        bins[-1] = _joined(bins[-1], last)
    found = []
    for n, risks, events in filter(large, bins):
        low, high = wilson(events, n)
        found.append({"rows": int(n), "risk": risks / n, "rate": events / n, "low": low, "high": high})
    return found


def _hidden(
    values: Sequence[int],
    sums: Sequence[Sum],
    small: set[int],
    printed: set[int],
    fixed: set[int],
    least: int,
    *,
    named: bool,
) -> set[int] | None:
    """Places to withhold. Where `named`, a reader knows which of them are small, and None if that tells too much."""
    hidden, totals = small & printed, {total for total, _ in sums}
    while True:
        guarded = hidden | small
        bounds = {
            i: ((1, least - 1) if i in small else (least, math.inf)) if named and i in hidden else (0, math.inf)
            for i in range(len(values))
            if i not in printed or i in hidden
        }
        told = [i for i in guarded if _width(i, values, sums, bounds) < _OPEN]
        if not told:
            return hidden
        left = {i for i in printed - hidden - fixed if values[i] or not named}
        if not left:
            return None if named else hidden
        for place in sorted(told):
            near = {i for total, parts in sums if place in (total, *parts) for i in (total, *parts)}
            choice = near & left - hidden or left - hidden
            if choice:
                hidden.add(min(choice, key=lambda i: (i in totals, values[i] == 0, values[i], i)))


def _width(place: int, values: Sequence[int], sums: Sequence[Sum], bounds: Mapping[int, tuple[float, float]]) -> float:
    """How far apart the least and the greatest value lie that a reader must think possible; 0 where the sums contradict
    each other."""
    from scipy.optimize import linprog

    unknown = sorted(bounds.keys() | {place})
    column = {i: c for c, i in enumerate(unknown)}
    rows, right = [], []
    for total, parts in sums:
        if not column.keys() & {total, *parts}:
            continue
        row, known = [0.0] * len(unknown), 0.0
        for i, sign in ((total, -1.0), *((p, 1.0) for p in parts)):
            if i in column:
                row[column[i]] += sign
            else:
                known -= sign * values[i]
        rows.append(row)
        right.append(known)
    limits = [(low, None if math.isinf(high) else high) for low, high in (bounds[i] for i in unknown)]
    ends = []
    for sign in (1.0, -1.0):
        goal = [0.0] * len(unknown)
        goal[column[place]] = sign
        solved = linprog(goal, A_eq=rows or None, b_eq=right or None, bounds=limits)
        if solved.status == 3:
            return math.inf
        if not solved.success:
            return 0.0
        ends.append(sign * solved.fun)
    return ends[1] - ends[0] + _SURE


def _joined(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]
