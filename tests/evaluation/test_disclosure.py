"""Small cells: what is shown, joined and withheld."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.evaluation.disclosure import LEAST, merged_bins, rows_of_ten, shown, shown_together, tells
from tests.cards.example import curve


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_no_small_cell_is_shown_or_left_alone_with_the_total(counts: list[int]) -> None:
    cells = shown_together(counts)
    assert all(n == 0 or n >= LEAST for n, cell in zip(counts, cells, strict=True) if cell[0].isdigit())
    hidden = [n for n, cell in zip(counts, cells, strict=True) if not cell[0].isdigit()]
    assert len(hidden) != 1 or len([n for n in counts if n]) == 1


def test_ten_households_are_as_many_rows_as_they_have() -> None:
    assert rows_of_ten({"rows": 800, "households": 100}) == 80
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
