"""What makes one village one is asked in one place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from riskmodel.places import place_codes

HOMES = pd.DataFrame({
    "county_id": ["k", "k", "k", "k", "k", "l", "l", "k"],
    "township_id": ["b", "a", "a", None, None, "a", "a", "b"],
    "village_id": ["x", "x", None, "x", "y", "x", None, "x"],
})  # fmt: skip


def test_a_village_is_told_by_county_township_and_name() -> None:
    """A village without a township is one of its own; of two households no village is known."""
    assert place_codes(HOMES, "village_id").tolist() == [1, 0, -1, 2, 3, 4, -1, 1]
    assert place_codes(HOMES, "township_id").tolist() == [1, 0, 0, -1, -1, 2, 2, 1]
    assert place_codes(HOMES, "county_id").tolist() == [0, 0, 0, 0, 0, 1, 1, 0]


def test_where_no_township_or_county_is_on_record_the_name_alone_tells() -> None:
    assert place_codes(HOMES[["village_id"]], "village_id").tolist() == [0, 0, -1, 0, 1, 0, -1, 0]
    assert place_codes(HOMES[["village_id"]][:0], "village_id").tolist() == []
    assert place_codes(HOMES.assign(village_id=None), "village_id").tolist() == [-1] * 8


def test_places_of_two_months_are_kept_apart_where_it_is_asked_for() -> None:
    twice = pd.concat([HOMES.assign(as_of="2023-02"), HOMES.assign(as_of="2023-01")], ignore_index=True)
    code = place_codes(twice, "village_id", ["as_of"])
    assert code[8:].tolist() == [1, 0, -1, 2, 3, 4, -1, 1] and code[:8].tolist() == [6, 5, -1, 7, 8, 9, -1, 6]
    assert place_codes(twice, "village_id").tolist() == 2 * [1, 0, -1, 2, 3, 4, -1, 1]


@pytest.mark.parametrize("kind", ["str", "category", object])
def test_the_order_of_rows_and_the_type_of_a_column_change_no_number(kind: str | type) -> None:
    order = np.random.default_rng(0).permutation(len(HOMES))
    assert (place_codes(HOMES.astype(kind).iloc[order], "village_id") == place_codes(HOMES, "village_id")[order]).all()
