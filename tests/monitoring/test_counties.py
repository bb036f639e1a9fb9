"""Two processes, two threads: the report of a register says the same, county for county."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.errors import WorkerLost
from riskmodel.monitoring.counties import by_county, with_workers
from riskmodel.monitoring.funds import report_funds
from riskmodel.monitoring.industries import report_industries
from riskmodel.monitoring.known import drawn_counties, needs_on
from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.running import run_parts
from riskmodel.months import month_number
from riskmodel.register import Register
from tests.county import County


@pytest.fixture(scope="module")
def asked(county: County, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    register = county.cut(3, tmp_path_factory.mktemp("cut") / "register")
    return Asked(Register.open(register), month_number("2023-06"), Rules())


def ended_from_outside(asked: Asked, county: str) -> None:
    os._exit(1)


def name_of(asked: Asked, county: str) -> str:
    return county


def test_counties_come_back_in_order_and_are_told(asked: Asked) -> None:
    told: list[str] = []
    found = list(by_county(Asked(asked.register, asked.as_of, Rules(), progress=told.append), name_of, "names"))
    assert found == asked.register.counties and told == [f"names of {county}" for county in found]


def test_counties_are_drawn_by_their_id_until_they_hold_enough_households(asked: Asked) -> None:
    register = asked.register
    every = sum(register.rows("households", county) for county in register.counties)
    assert drawn_counties(register, every) == register.counties
    (first,) = drawn_counties(register, 1)
    assert first in drawn_counties(register, register.rows("households", first) + 1) != register.counties


@pytest.mark.slow
def test_the_report_does_not_depend_on_who_works(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ["spells", "funds", "industries", "drift"]
    in_threads = run_parts(asked, parts)
    monkeypatch.setattr("riskmodel.processes._FOR_A_POOL", 0)
    in_processes = run_parts(asked, parts)
    for name, found in in_threads.items():
        assert found.figures == in_processes[name].figures and found.tables
        for table, rows in found.tables.items():
            pd.testing.assert_frame_equal(rows, in_processes[name].tables[table], check_exact=True)


@pytest.mark.parametrize(
    ("report", "part", "tables"),
    [
        (report_funds, "needs", {"help_without_need", "need_without_help"}),
        (report_industries, "industries", {"projects", "industries", "concentration"}),
    ],
)
def test_what_is_told_of_small_counties_together_is_told_of_each_alone(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, report: Callable[[Asked], Found], part: str, tables: set[str]
) -> None:
    together = report(asked)
    monkeypatch.setattr("riskmodel.processes._TOGETHER", 0)
    told: list[str] = []
    alone = report(replace(asked, progress=told.append))
    assert told == [f"{part} of county {county}" for county in asked.register.counties] and len(told) > 1
    assert all(len(together.tables[name]) for name in tables)
    for name, rows in together.tables.items():
        pd.testing.assert_frame_equal(rows, alone.tables[name], check_exact=True)


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside_is_said(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskmodel.processes._FOR_A_POOL", 0)
    with with_workers(asked) as at_hand:
        for _ in range(2):  # also to a part that asks for counties later
            with pytest.raises(WorkerLost, match="for want of memory"):
                list(by_county(at_hand, ended_from_outside, "nothing"))


def test_some_households_have_the_needs_that_they_have_among_all(asked: Asked) -> None:
    months, all_of = [asked.as_of - 6, asked.as_of], asked.register.counties
    whole = needs_on(asked, load_catalogue(), months, all_of, ["below_now"])
    some = whole["household_id"].drop_duplicates()[::4]
    found = needs_on(asked, load_catalogue(), months, all_of, ["below_now"], households=some)
    expected = whole[whole["household_id"].isin(some)].reset_index(drop=True)
    assert expected.filter(like="fact_").any().any()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_nobody_asked_of_has_no_needs(asked: Asked) -> None:
    found = needs_on(asked, load_catalogue(), [asked.as_of], asked.register.counties, households=["nobody"])
    assert not len(found) and "fact_illness" in found


def test_a_county_where_nobody_has_a_record_yet_has_no_say_in_needs(county: County, tmp_path: Path) -> None:
    from riskmodel.monitoring.funds import _needs

    register = Register.open(county.register)
    long_ago = Asked(register, month_number(register.first_month) - 12, Rules())
    assert _needs(long_ago, tuple(register.counties)) is None


def test_each_part_is_given_as_soon_as_it_is_there(asked: Asked) -> None:
    told: list[str] = []
    known = Asked(asked.register, asked.as_of, Rules(), progress=told.append)
    given: dict[str, list[str]] = {}
    found = run_parts(known, ["industries", "month"], lambda name, part: given.update({name: list(told)}))
    assert list(given) == list(found) == ["month", "industries"]
    assert "industries and policy support" not in given["month"], "it is given before the next one begins"
