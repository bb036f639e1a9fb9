"""Who may be called subjective, from a register's own rows: what an office wrote down, month by month."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.conditions import ask, words
from riskmodel.cohort.features import build_features
from riskmodel.explain.causes import judge_causes
from riskmodel.months import month_number
from riskmodel.register import Register, ingest

CATALOGUE = load_catalogue()
NOW = pd.Period("2023-06", "M")


def idle_household(name: str) -> list[dict]:
    """Two able adults and a child; for nine months they work a third of the days and leave most of the land idle."""
    rows = []
    for age in range(24):
        month, idle = NOW - age, age < 9
        rows.append({
            "household_id": name, "month": month.start_time.date(), "known_at": month.end_time.date(),
            "welfare": 12_000.0, "line": 7_600.0, "hh_size": 3, "n_children": 1, "n_under6": 0, "n_elderly": 0,
            "n_working_age": 2, "n_able": 2, "n_working": 2, "n_unemployed": 0, "n_major_illness": 0, "n_disabled": 0,
            "n_carers": 0, "wage_income": 30_000.0, "production_income": 6_000.0, "property_income": 0.0,
            "transfer_income": 1_000.0, "production_cost": 1_000.0, "selfpay": 300.0, "claims": 0.0, "days_available": 40.0,
            "days_worked": 12.0 if idle else 38.0, "land_mu": 5.0, "land_idle_mu": 4.0 if idle else 0.0,
            "visited_on": month.start_time.date() + dt.timedelta(5), "destitute_support": False, "appeal_open": False,
        })  # fmt: skip
    return rows


# What is written otherwise: column, value, first and last month before the as-of month.
CHANGES: dict[str, list[tuple[str, object, int, int]]] = {
    "nothing else": [],
    "illness over a year ago": [("n_major_illness", 1, 13, 15)],
    "one month left blank": [("n_able", None, 0, 0), ("n_carers", None, 0, 0), ("n_major_illness", None, 0, 0)],
    "idle at visits a quarter apart": [("days_worked", 38.0, 4, 8), ("land_idle_mu", 0.0, 4, 8)],
    "major illness five months ago": [("n_major_illness", 1, 4, 6)],
    "major illness not told all year": [("n_major_illness", None, 0, 11)],
    "care five months ago": [("n_carers", 1, 4, 6)],
    "care not told all year": [("n_carers", None, 0, 11)],
    "out of work five months ago": [("n_unemployed", 1, 4, 6)],
    "newly disabled, no event": [("n_disabled", 1, 0, 4)],
    "newborn, no event": [("n_under6", 1, 0, 4), ("n_children", 2, 0, 4), ("hh_size", 4, 0, 4)],
    "a grandparent who still works": [("n_elderly", 2, 0, 23), ("n_able", 1, 0, 23), ("n_working_age", 0, 0, 23)],
    "nobody of working age": [("n_able", 1, 0, 23), ("n_working_age", 0, 0, 23)],
    "able members last told a year ago": [("n_able", None, 0, 11)],
    "work and land last told five months ago": [("days_worked", None, 0, 4), ("land_idle_mu", None, 0, 4)],
    "idle at two visits in two months": [("days_worked", 38.0, 2, 8), ("land_idle_mu", 0.0, 2, 8)],
    "idle at one visit": [("days_worked", 38.0, 1, 8), ("land_idle_mu", 0.0, 1, 8)],
}
FREE = list(CHANGES)[:4]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> pd.Series:
    """The verdict on each household, had the model put its risk down to work and its peers been busy."""
    folder: Path = tmp_path_factory.mktemp("on_record") / "register"
    records = idle_household("elsewhere")
    for name, changes in CHANGES.items():
        rows = idle_household(name)
        for column, value, first, last in changes:
            for row in rows[first : last + 1]:
                row[column] = value
        # Nobody was there between the visit that found all well, seven months ago, and the last one.
        records += [rows[0], *rows[7:]] if name == "idle at one visit" else rows
    source = {
        "records": pd.DataFrame(records),
        "households": pd.DataFrame({"household_id": [*CHANGES, "elsewhere"], "county_id": "k", "opted_out": False}),
        "events": pd.DataFrame({"household_id": ["elsewhere"], "kind": ["illness"], "onset_on": [dt.date(2023, 1, 1)]}),
        "assistance": pd.DataFrame({
            "household_id": ["elsewhere"], "measure": ["training"], "offered_on": [dt.date(2023, 1, 1)],
            "answered_on": [dt.date(2023, 1, 9)], "suitable": [True], "accepted": [False], "refusal_reason": ["distance"],
        }),
    }  # fmt: skip
    ingest({"source": "s", "pseudonymised": True, "tables": {table: {} for table in source}}, source, folder)
    features = build_features(Register.open(folder), [month_number("2023-06")], CATALOGUE, workers=1).frame
    features = features.set_index("household_id").loc[list(CHANGES)].reset_index()
    drivers = pd.DataFrame({d.name: np.full(len(features), 1.0 if d.name == "work" else 0.0) for d in CATALOGUE.drivers})
    peers = {"work_low": 0.7, "work_low_one_less": 0.45, "land_idle": 0.1, "land_idle_one_less": 0.3}
    found = judge_causes(CATALOGUE, drivers, features, pd.DataFrame([peers] * len(features))).verdicts["verdict"]
    return found.set_axis(list(CHANGES))


@pytest.mark.parametrize("household", FREE)
def test_idleness_found_again_and_again_without_an_excuse_is_a_clue(verdicts: pd.Series, household: str) -> None:
    assert verdicts[household] == "subjective"


@pytest.mark.parametrize("household", [name for name in CHANGES if name not in FREE])
def test_what_the_year_s_rows_excuse_or_leave_open_is_never_subjective(verdicts: pd.Series, household: str) -> None:
    assert verdicts[household] in ("objective", "undetermined")


def test_an_event_that_is_known_to_be_unverified_excuses_and_is_told_as_not_verified(tmp_path: Path) -> None:
    """An illness two months ago speaks for the household until the visit finds otherwise, but nobody is told it is sure."""
    told = {  # whether each illness on record is verified, by months ago
        "not verified": {2: False}, "verified": {2: True}, "nobody says": {2: None}, "put right": {2: True, 5: False},
        "only the last is not": {2: False, 5: True},
    }  # fmt: skip
    events = [
        {"household_id": name, "kind": "illness", "onset_on": (NOW - age).start_time.date(), "verified": verified}
        for name, illnesses in told.items()
        for age, verified in illnesses.items()
    ]
    source = {
        "records": pd.DataFrame([row for name in told for row in idle_household(name)]),
        "households": pd.DataFrame({"household_id": list(told), "county_id": "k", "opted_out": False}),
        "events": pd.DataFrame(events),
    }
    ingest({"source": "s", "pseudonymised": True, "tables": {table: {} for table in source}}, source, tmp_path / "register")
    features = build_features(Register.open(tmp_path / "register"), [month_number("2023-06")], CATALOGUE, workers=1).frame
    features = features.set_index("household_id").loc[list(told)].reset_index()
    assert ask(CATALOGUE.excuses, features)["illness"].all()
    drivers = pd.DataFrame({d.name: np.full(len(features), 1.0) for d in CATALOGUE.drivers})
    assert judge_causes(CATALOGUE, drivers, features).verdicts["fact_illness"].all()
    fact = next(f for f in CATALOGUE.facts if "months_since_illness" in f.when.columns)
    said = {name: words(fact.en, row) for name, row in zip(told, features.to_dict("records"), strict=True)}
    plain, doubted = "illness recorded 2 month(s) ago", "illness recorded 2 month(s) ago (not verified)"
    assert said == dict.fromkeys(told, plain) | {"not verified": doubted, "only the last is not": doubted}
    assert words(fact.zh, features.iloc[0].to_dict()) == "2个月前记录患病（未核实）"


def test_every_fact_that_rests_on_an_event_says_so_where_it_is_not_verified() -> None:
    by_event = [f for f in CATALOGUE.facts if any(CATALOGUE.by_name[c].table == "events" for c in f.when.columns)]
    assert len(by_event) == 11
    for fact in by_event:
        (since,) = fact.when.columns
        row = {since: 1.0} | {f.name: 1.0 for f in CATALOGUE.features if f.name.endswith("_unverified")}
        assert words(fact.en, row).endswith("(not verified)") and words(fact.zh, row).endswith("（未核实）")
        kinds = re.findall(r"kind (?:= '\w+'|IN \([^)]*\))", CATALOGUE.by_name[since].expression.text)
        flag = CATALOGUE.by_name[re.search(r"\{(\w+_unverified):", fact.en)[1]]
        assert {k for k in re.findall(r"kind (?:= '\w+'|IN \([^)]*\))", flag.expression.text)} == set(kinds)
