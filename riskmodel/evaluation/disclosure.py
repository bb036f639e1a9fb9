"""No cell below ten households: what is withheld, also where it could be worked out from the rest.

The evidence of a model counts rows, and a household has a row for each as-of month: ten households are as many rows as
ten households have on average (`rows_of_ten`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from riskmodel.evaluation.metrics import wilson

LEAST = 10
SMALL = f"<{LEAST}"
WITHHELD = "*"


def rows_of_ten(part: Mapping[str, Any]) -> int:
    """Rows that stand for ten households in a part of the data with `rows` and `households`.

    >>> rows_of_ten({"rows": 900, "households": 400})
    23
    """
    return math.ceil(LEAST * part["rows"] / max(part["households"], 1)) or LEAST


def shown(n: int, least: int = LEAST) -> str:
    """A count as it is printed: `<10` stands for fewer than ten households.

    >>> shown(0), shown(9), shown(1204)
    ('0', '<10', '1,204')
    """
    return SMALL if 0 < n < least else f"{n:,}"


def withheld(cell: str) -> bool:
    """Whether a printed count hides its number."""
    return cell in (SMALL, WITHHELD)


def shown_together(counts: Sequence[int], least: int = LEAST) -> list[str]:
    """Counts that add up to a known total: where one alone is small, the next smallest is withheld as well.

    >>> shown_together([3, 40, 500])
    ['<10', '*', '500']
    >>> shown_together([3, 4, 500])
    ['<10', '<10', '500']
    """
    cells = [shown(n, least) for n in counts]
    others = [i for i, n in enumerate(counts) if n >= least]
    if cells.count(SMALL) == 1 and others:
        cells[min(others, key=counts.__getitem__)] = WITHHELD
    return cells


def shown_in_table(counts: np.ndarray, least: int = LEAST) -> np.ndarray:
    """A table of counts whose totals of rows and columns are known, with small cells withheld.

    Where a row or a column holds a single withheld cell, its smallest other one above zero is withheld as well, until none
    can be worked out from a total. A row or column whose only count above zero is small has nothing else to withhold: its
    total is small too, and is withheld where totals are printed.

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
    """
    counts = np.asarray(counts)
    hidden = (counts > 0) & (counts < least)
    changed = True
    while changed:
        changed = False
        for values, hides in ((counts, hidden), (counts.T, hidden.T)):
            for row in np.flatnonzero(hides.sum(axis=1) == 1):
                others = np.flatnonzero(~hides[row] & (values[row] > 0))
                if len(others):
                    hides[row, others[np.argmin(values[row, others])]] = True
                    changed = True
    cells = np.array([[shown(int(n), least) for n in row] for row in counts], dtype=object).reshape(counts.shape)
    cells[hidden & (counts >= least)] = WITHHELD
    return cells


def tells(events: int, rows: int, least: int = LEAST) -> bool:
    """Whether a rate may be shown: it gives away no small group, of those who fell or of the others."""
    return all(n == 0 or n >= least for n in (events, rows - events))


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


def _joined(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]
