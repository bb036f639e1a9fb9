"""Who may be called subjective, from a register's own rows: what an office wrote down, month by month."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.catalogue import load_catalogue
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
