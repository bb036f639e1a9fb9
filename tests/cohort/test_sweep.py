"""One pass over the sorted rows gives what the query gives, to the last bit, or leaves the work to it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from riskmodel.catalogue.expressions import parse
from riskmodel.catalogue.syntax import NotCovered
from riskmodel.cohort import features as features_room
from riskmodel.cohort.features import available_in, county_blocks
from riskmodel.months import month_number, month_text
from riskmodel.register import Register
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_features import CATALOGUE, small_registers
from tests.county import County

AS_OF = [month_number("2022-09"), month_number("2023-06")]


def by_both(
    register: Register, features: list, months: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features by one pass in blocks of so many households, and by the query."""
    county = register.counties[0]
    with monkeypatch.context() as patch:
        patch.setattr(features_room, "_queried", lambda *given: pytest.fail("the pass left it to the query"))
        one_pass = pd.concat(list(county_blocks(register, county, months, features, block)), ignore_index=True)
    with monkeypatch.context() as patch:
        patch.setattr(features_room, "_sweep", lambda: left_to_the_query)
        query = pd.concat(list(county_blocks(register, county, months, features, block)), ignore_index=True)
    return one_pass, query


def left_to_the_query(*given: object):
    raise NotCovered("asked to")
    yield


@settings(max_examples=8)
@given(tables=small_registers())
def test_one_pass_equals_the_query(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pd.DataFrame]) -> None:
    register = make_register(tmp_path_factory.mktemp("r") / "register", **tables)
    features, _ = available_in(register, CATALOGUE)
    for block in (1, 2, 20_000):
        with pytest.MonkeyPatch.context() as monkeypatch:
            one_pass, query = by_both(register, features, AS_OF, block, monkeypatch)
        pd.testing.assert_frame_equal(one_pass, query, check_exact=True)


@pytest.mark.parametrize("block", [7, 20_000])
def test_a_county_in_blocks_equals_the_query_on_the_whole(
    county: County, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    one_pass, query = by_both(register, features, AS_OF, block, monkeypatch)
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)


@pytest.mark.parametrize("block", [7, 20_000])
def test_some_households_get_what_they_get_among_all(county: County, block: int) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    assert any(f.kind == "context" for f in features)
    whole = pd.concat(list(county_blocks(register, register.counties[0], AS_OF, features)), ignore_index=True)
    ids = whole["household_id"].drop_duplicates()
    some = pa.array([*ids[::3], "nobody"], pa.string())
    found = pd.concat(list(county_blocks(register, register.counties[0], AS_OF, features, block, some)), ignore_index=True)
    expected = whole[whole["household_id"].isin(ids[::3])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features_room, "_sweep", lambda: left_to_the_query)
        (query,) = county_blocks(register, register.counties[0], AS_OF, features, block, some)
    pd.testing.assert_frame_equal(query, expected, check_exact=True)


def test_a_revised_record_replaces_the_first_from_the_day_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = monthly("1", "2023-01", [150.0, 140.0, 130.0]).assign(known_at=lambda r: pd.to_datetime(r["month"]))
    revised = records.iloc[[1]].assign(welfare=90.0, known_at=pd.Timestamp("2023-05-10"))
    register = make_register(tmp_path / "r", records=pd.concat([records, revised]))
    features, _ = available_in(register, CATALOGUE)
    months = [month_number("2023-04"), month_number("2023-05")]
    one_pass, query = by_both(register, features, months, 20_000, monkeypatch)
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)
    assert one_pass["months_since_below"].tolist() == [36.0, 3.0]


@pytest.mark.parametrize(
    "expression",
    [
        "sum(wage_income)",
        "max(welfare) FILTER (WHERE age BETWEEN 2 AND 7)",
        "avg(welfare / nullif(hh_size - 2, 0))",
        "count(welfare) + count(*) FILTER (WHERE NOT (welfare < 200 OR wage_income > 600))",
        "arg_max(welfare, age) - arg_min(welfare, age) FILTER (WHERE age > 1 AND welfare > 100)",
        "quantile_cont(welfare, 0.3) FILTER (WHERE age < 12)",
        "median(transfer_income)",
        "stddev(welfare)",
        "regr_slope(transfer_income, -age)",
        "count(DISTINCT visited_on)",
        "min(visited_on_age) FILTER (WHERE n_able = 0)",
        "sum(CASE WHEN welfare IS NULL THEN 1 WHEN welfare > 200 THEN 2 ELSE 0 END)",
        "max(cap_at(floor_at(welfare, 120), 300))",
        "coalesce(sum(wage_income) FILTER (WHERE welfare IN (100, 200)), -1)",
        "avg(ln(floor_at(welfare, 1))) + exp(avg(days_worked) / 10) - abs(min(transfer_income) - 200)",
        "sum(sqrt(days_worked)) / sum(pow(days_available, 1.5))",
        "avg(CASE WHEN wage_income IS DISTINCT FROM 500 THEN 1.0 ELSE 0.0 END)",
        "sum(welfare / days_worked)",
    ],
)
def test_whatever_a_county_may_write_equals_the_query(
    county: County, monkeypatch: pytest.MonkeyPatch, expression: str
) -> None:
    register = Register.open(county.register)
    asked = dataclasses.replace(CATALOGUE.by_name["ratio_now"], name="asked", expression=parse(expression))
    one_pass, query = by_both(register, [asked], AS_OF, 20_000, monkeypatch)
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)
    assert np.isfinite(one_pass["asked"]).any()


def test_what_the_pass_does_not_know_is_left_to_the_query(county: County, caplog: pytest.LogCaptureFixture) -> None:
    register = Register.open(county.register)
    asked = dataclasses.replace(CATALOGUE.by_name["ratio_now"], name="asked", expression=parse("skewness(welfare)"))
    features_room._say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            (frame,) = county_blocks(register, register.counties[0], AS_OF, [asked])
    assert frame["asked"].notna().any()
    assert len(caplog.records) == 1 and "skewness is left to the engine" in caplog.text


def test_a_machine_without_numba_says_so_once_and_gives_the_same(
    county: County, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    (expected,) = county_blocks(register, register.counties[0], AS_OF, features)
    monkeypatch.setitem(__import__("sys").modules, "riskmodel.cohort.sweep", None)
    features_room._sweep.cache_clear()
    features_room._say_once.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                (found,) = county_blocks(register, register.counties[0], AS_OF, features)
    finally:
        features_room._sweep.cache_clear()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len(caplog.records) == 1 and "numba cannot be used" in caplog.text


def test_months_are_told_as_text(county: County) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    (frame,) = county_blocks(register, register.counties[0], AS_OF, features)
    assert set(frame["as_of"]) == {month_text(m) for m in AS_OF}
