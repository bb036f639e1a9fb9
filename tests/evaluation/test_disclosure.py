"""Small cells: what is shown, joined and withheld."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from riskmodel.evaluation.disclosure import (
    LEAST,
    merged_bins,
    open_groups,
    rows_of_ten,
    shown,
    shown_in_table,
    shown_table,
    shown_together,
    shown_with_sums,
    tells,
    withheld,
)
from tests.cards.example import curve

COUNTS = st.one_of(st.integers(0, 14), st.integers(0, 400))


def ranges(table: Sequence[Sequence[str]]) -> list[float]:
    """How far apart the ends lie between which a reader of a printed table can place each withheld cell.

    The reader knows that rows and columns add up, that no count is negative, that `<10` says 1 to 9, and that where
    this is printed `*` is none of the small ones.
    """
    cells = np.array(table)
    places = [(r, c) for r, c in np.ndindex(cells.shape) if withheld(cells[r, c])]
    at = {place: i for i, place in enumerate(places)}
    named = any(cells[place].startswith("<") for place in places)
    bounds = [(1, LEAST - 1) if cells[p].startswith("<") else (LEAST if named else 0, None) for p in places]
    lines = [[(r, c) for c in range(cells.shape[1])] for r in range(cells.shape[0])]
    lines += [[(r, c) for r in range(cells.shape[0])] for c in range(cells.shape[1])]
    matrix, right = np.zeros((len(lines), len(places))), np.zeros(len(lines))
    for i, line in enumerate(lines):
        for place, sign in zip(line, [1] * (len(line) - 1) + [-1], strict=True):
            if place in at:
                matrix[i, at[place]] += sign
            else:
                right[i] -= sign * int(cells[place].replace(",", ""))
    found = []
    for i in range(len(places)):
        ends = [linprog(sign * np.eye(len(places))[i], A_eq=matrix, b_eq=right, bounds=bounds) for sign in (1, -1)]
        assert all(end.status in (0, 3) for end in ends), "the printed table contradicts itself"
        found.append(np.inf if any(end.status == 3 for end in ends) else -ends[1].fun - ends[0].fun)
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 3).flatmap(lambda n: st.lists(st.lists(COUNTS, min_size=n, max_size=n), min_size=2, max_size=3)))
def test_no_withheld_cell_can_be_worked_out_from_row_column_and_grand_totals(table: list[list[int]]) -> None:
    printed = shown_table(table)
    assert all(width >= 2 - 1e-6 for width in ranges(printed)), printed
    full = [[*row, sum(row)] for row in [*table, [sum(c) for c in zip(*table, strict=True)]]]
    for row, cells in zip(full, printed, strict=True):
        for n, cell in zip(row, cells, strict=True):
            assert withheld(cell) or (cell == f"{n:,}" and (n == 0 or n >= LEAST))


@settings(max_examples=25, deadline=None)
@given(st.lists(COUNTS, min_size=2, max_size=6))
def test_no_part_of_a_known_total_can_be_worked_out(counts: list[int]) -> None:
    cells, total = shown_together(counts), sum(counts)
    if total >= LEAST:
        column = [[cell, cell] for cell in (*cells, f"{total:,}")]
        assert all(width >= 2 - 1e-6 for width in ranges(column)), cells


def test_a_table_with_one_small_cell_withholds_a_second_in_its_row_and_its_column() -> None:
    printed = shown_table([[3, 40, 60], [50, 70, 80], [90, 20, 30]])
    assert sum(map(withheld, printed[0])) >= 2
    assert sum(withheld(row[0]) for row in printed) >= 2
    assert printed[-1][-1] == "443"
    assert shown_table([[30, 40], [50, 60]])[0] == ["30", "40", "70"]


def test_the_marks_do_not_tell_what_the_numbers_would() -> None:
    assert shown_together([1, 10, 500]) == ["*", "*", "500"]
    assert shown_together([9, 9]) == ["*", "*"]


def test_a_small_group_that_is_not_printed_is_protected_too() -> None:
    listed_and_fell, listed, not_fallen = 40, 43, 3
    cells = shown_with_sums([listed_and_fell, not_fallen, listed], [(2, (0, 1))], printed={0, 2})
    assert withheld(cells[0]) or withheld(cells[2])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_no_small_cell_is_shown_or_left_alone_with_the_total(counts: list[int]) -> None:
    cells = shown_together(counts)
    assert all(n == 0 or n >= LEAST for n, cell in zip(counts, cells, strict=True) if cell[0].isdigit())
    hidden = [n for n, cell in zip(counts, cells, strict=True) if not cell[0].isdigit()]
    assert len(hidden) != 1 or len([n for n in counts if n]) == 1


def test_ten_households_are_as_many_rows_as_they_have() -> None:
    assert rows_of_ten({"rows": 800, "households": 100}) == 80
    assert rows_of_ten({"rows": 36, "households": 1}) == 360
    assert shown(79, 80) == "<10"
    assert shown(80, 80) == "80"


def test_bins_are_joined_until_ten_fell_and_nobody_is_lost() -> None:
    bins = merged_bins(curve())
    assert sum(b["rows"] for b in bins) == 4000
    assert all(min(b["rate"] * b["rows"], (1 - b["rate"]) * b["rows"]) >= LEAST - 1e-6 for b in bins)
    assert sum(b["rate"] * b["rows"] for b in bins) == pytest.approx(sum(b["rate"] * 400 for b in curve()))
    assert [b["risk"] for b in bins] == sorted(b["risk"] for b in bins)
    assert all(b["low"] < b["rate"] < b["high"] for b in bins)


def test_a_test_without_enough_falls_has_no_curve() -> None:
    assert merged_bins([{"households": 40, "risk": 0.1, "rate": 0.1, "low": 0, "high": 1}]) == []
    assert merged_bins([]) == []


def test_a_rate_hides_neither_side() -> None:
    assert tells(0, 50) and tells(20, 50)
    assert not tells(3, 50)
    assert not tells(45, 50)


def test_a_small_cell_of_a_large_table_has_three_values_by_the_total_of_its_row_and_column() -> None:
    """One household beside ten is told by a total of eleven as surely as alone."""
    draw = np.random.default_rng(3)
    for _ in range(40):
        counts = draw.choice([0, 1, 2, 9, 10, 11, 40], size=(5, 4))
        cells = shown_in_table(counts)
        for values, texts in ((counts, cells), (counts.T, cells.T)):
            for row, printed in zip(values, texts, strict=True):
                small, other = printed == "<10", printed == "*"
                if row.sum() < 10 or not small.any():
                    continue
                left = row[small | other].sum() - 10 * other.sum()
                least, greatest = left - 9 * (small.sum() - 1), left - (small.sum() - 1)
                assert min(9, greatest) - (1 if other.any() else max(1, least)) >= 2


@given(st.lists(st.lists(COUNTS, min_size=2, max_size=2), max_size=6))
def test_groups_that_are_left_out_hide_no_small_number_in_the_rest_of_the_whole(groups: list[list[int]]) -> None:
    may = open_groups(groups)
    assert all(n == 0 or n >= LEAST for cells, shows in zip(groups, may, strict=True) if shows for n in cells)
    if any(may):
        rest = [sum(cells) for cells in zip(*(c for c, shows in zip(groups, may, strict=True) if not shows), strict=True)]
        assert all(n == 0 or n >= LEAST for n in rest)
    if all(n >= LEAST for cells in groups for n in cells):
        assert all(may)


def test_of_groups_that_hide_a_small_one_the_smallest_is_left_out() -> None:
    assert open_groups([[60, 90], [3, 70], [25, 30], [40, 50]]) == [True, False, False, True]
    assert open_groups([[10, 40], [30, 90]]) == [True, True], "ten are enough"


def test_small_counts_stay_withheld_where_what_was_counted_contradicts_itself() -> None:
    """Twelve of five: such a table is no error of the page that shows it."""
    assert shown_with_sums([5, 12, 3, 40], [(0, [1, 2])]) == ["*", "12", "*", "40"]


def test_bins_with_enough_of_either_outcome_stay_apart_and_what_is_left_at_the_top_joins_the_last() -> None:
    fell = [(100, 0.1, 10), (100, 0.2, 10), (20, 0.6, 9)]
    found = merged_bins([{"households": n, "risk": risk, "rate": events / n} for n, risk, events in fell])
    assert [b["rows"] for b in found] == [100, 120]
    assert [b["risk"] for b in found] == pytest.approx([0.1, 32 / 120])
    assert [b["rate"] for b in found] == pytest.approx([0.1, 19 / 120])
