"""What is written down: the contract's columns and rules, ids, dates, and one seed, one county."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from riskmodel.cli import app
from riskmodel.errors import UsageError
from riskmodel.register import Register, commit_directory, ingest, load_contract
from riskmodel.simulation import simulate, simulate_tables, write_tables
from tests.simulation.counties import tables_of

TABLES = {
    "records", "households", "events", "spells", "assistance", "villages", "visits", "projects",
    "household_projects", "lines",
}  # fmt: skip
REVEALED = {
    "spells": [("identified_on", "known_at"), ("identified_on", "eliminated_on")],
    "events": [("onset_on", "known_at")],
    "assistance": [
        ("offered_on", "known_at"), ("known_at", "answered_on"), ("answered_on", "started_on"),
        ("started_on", "ended_on"), ("started_on", "paid_on"),
    ],
    "visits": [("visited_on", "known_at")],
}  # fmt: skip


def test_every_column_is_one_of_the_contract():
    contract = load_contract().tables
    tables = tables_of("hard")
    assert set(tables) == TABLES | {"truth"}
    for name in TABLES:
        assert set(tables[name].columns) <= set(contract[name].columns), name
        key = [k for k in contract[name].key if k in tables[name].columns]
        assert not tables[name].duplicated(key).any(), name


@pytest.mark.parametrize("world", ["easy", "hard"])
def test_the_register_takes_every_row(tmp_path: Path, world):
    simulate(tmp_path / "source", world=world, households=400, months=24, seed=3, with_truth=False)
    source = {
        "source": "simulated",
        "pseudonymised": True,
        "step_months": 1,
        "reporting_lag_days": 0,
        "tables": {name: {"file": f"{name}.parquet"} for name in sorted(TABLES)},
    }
    report = ingest(source, tmp_path / "source", tmp_path / "register")
    for name in TABLES:
        assert report.tables[name].quarantined == 0, name
        assert report.tables[name].accepted == report.tables[name].rows_in, name
    assert Register.open(tmp_path / "register").counties == ["009901"]


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**63),
    world=st.sampled_from(["easy", "hard"]),
    households=st.integers(40, 160),
    months=st.integers(13, 26),
    low_effort=st.sampled_from([0.0, 0.1, 0.2]),
)
def test_any_county_keeps_the_rules_of_the_books(seed, world, households, months, low_effort):
    tables = simulate_tables(world=world, households=households, months=months, seed=seed, low_effort=low_effort)
    records = tables["records"]
    month_end = records["month"] + pd.offsets.MonthEnd(0)
    assert (records["known_at"] >= month_end).all(), "known before the fact"
    assert (records["visited_on"].dropna() <= month_end[records["visited_on"].notna()]).all()
    assert (records["days_worked"].fillna(0) <= records["days_available"].fillna(9e9)).all()
    assert (records["public_post_income"].fillna(0) <= records["wage_income"].fillna(9e9)).all()
    assert (records["allowance_income"].fillna(0) <= records["transfer_income"].fillna(9e9)).all()
    assert (records["land_idle_mu"].fillna(0) + records["land_leased_mu"] <= records["land_mu"] + 0.01).all()
    for name in [c for c in records if c.startswith("n_")]:
        assert records[name].min() >= 0 and (records[name].fillna(0) <= records["hh_size"]).all(), name
    money = records.select_dtypes("number").drop(columns="welfare")
    assert (money.fillna(0) >= 0).to_numpy().all()
    last = month_end.max()
    for name, pairs in REVEALED.items():
        for before, after in pairs:
            both = tables[name][[before, after]].dropna()
            assert (both[before] <= both[after]).all(), (name, before, after)
        assert (tables[name]["known_at"] <= last).all(), name
    truth = tables["truth"]
    assert not (truth["low_effort"] & truth["no_able_labour"]).any()
    assert ((truth["cause"] != "none") == truth["returned"]).all()
    if low_effort == 0:
        assert not truth["cause"].isin(["subjective", "joint"]).any()


def test_one_seed_is_one_county():
    one = simulate_tables(world="hard", households=150, months=20, seed=8)
    again = simulate_tables(world="hard", households=150, months=20, seed=8)
    other = simulate_tables(world="hard", households=150, months=20, seed=9)
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert not one["records"]["welfare"].equals(other["records"]["welfare"])


def test_files_are_the_same_byte_for_byte_and_dates_are_days(tmp_path: Path):
    counts = simulate(tmp_path / "a", households=60, months=14, seed=1)
    simulate(tmp_path / "b", households=60, months=14, seed=1)
    assert set(counts) == TABLES | {"truth"}
    for name, rows in counts.items():
        file = tmp_path / "a" / f"{name}.parquet"
        assert pq.read_metadata(file).num_rows == rows
        assert file.read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()
    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "a" / "records.parquet")}
    assert kinds["month"] == kinds["known_at"] == "date32[day]"


def test_nobody_lives_where_a_county_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("riskmodel.simulation.simulate_tables", lambda **given: pytest.fail("the county was lived"))
    (tmp_path / "file").write_text("")
    commit_directory(tmp_path / "register", lambda stage: None, kind="register", about={})
    for place, says in (("file", "it is a file"), ("register", "it holds 'register'")):
        with pytest.raises(UsageError, match=says):
            simulate(tmp_path / place, households=60, months=14)


@pytest.mark.parametrize("asked", [None, "0"])
def test_the_share_of_low_effort_may_be_set_on_the_command_line(tmp_path: Path, asked):
    size = ["--world", "hard", "--households", "200", "--months", "24", "--seed", "12"]
    effort = [] if asked is None else ["--low-effort", asked]
    run = CliRunner().invoke(app, ["simulate", str(tmp_path / "out"), *size, *effort], catch_exceptions=False)
    assert run.exit_code == 0
    truth = pd.read_parquet(tmp_path / "out" / "truth.parquet")
    same = simulate_tables(
        world="hard", households=200, months=24, seed=12, low_effort=None if asked is None else float(asked)
    )["truth"]
    assert truth["low_effort"].equals(same["low_effort"]) and truth["cause"].equals(same["cause"])
    assert truth["low_effort"].any() == (asked != "0")
    about = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["about"]
    assert about["low_effort"] == float(asked or 0.1)


def test_the_caller_may_write_the_tables_in_its_own_way(tmp_path: Path):
    seen = {}

    def write(folder, tables):
        seen.update(tables)
        write_tables(folder / "staged", tables)

    simulate(tmp_path, households=60, months=14, write=write)
    assert (tmp_path / "staged" / "truth.parquet").is_file()
    assert set(seen) == TABLES | {"truth"}


def test_ids_are_text_that_no_person_or_place_bears():
    households = tables_of("easy")["households"]
    for column, digits in (("household_id", 18), ("village_id", 12), ("township_id", 9), ("county_id", 6)):
        assert households[column].str.fullmatch(rf"00\d{{{digits - 2}}}").all(), column
    assert households["household_id"].is_unique


def test_the_welfare_that_the_office_sees_is_made_of_its_parts():
    records = tables_of("easy")["records"].dropna(
        subset=["welfare", "wage_income", "production_income", "property_income", "transfer_income",
                "production_cost", "claims", "selfpay"]
    )  # fmt: skip
    gains = records[["wage_income", "production_income", "property_income", "transfer_income", "claims"]]
    parts = gains.sum(axis=1) - records["production_cost"] - records["selfpay"]
    difference = (parts / records["hh_size"].astype(float) - records["welfare"]).abs()
    assert np.quantile(difference, 0.99) < 1


def test_the_office_knows_the_easy_world_well():
    tables = tables_of("easy")
    last = tables["records"].dropna(subset=["welfare"])
    line = tables["lines"].set_index(tables["lines"]["valid_from"].dt.year)["amount"]
    below = last["welfare"] < last["month"].dt.year.map(line)
    truth = tables["truth"].merge(last.assign(below=below)[["household_id", "month", "below"]])
    assert (truth["at_risk"] & truth["below"]).mean() < 0.005


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"world": "medium"}, "easy or hard"),
        ({"households": 3}, "at least 10"),
        ({"months": 1}, "at least 2"),
        ({"horizon_months": 0}, "at least 1"),
        ({"low_effort": 0.9}, "between 0 and"),
        ({"county": "520001"}, "begin with 0"),
    ],
)
def test_a_wrong_number_is_named(wrong, says):
    with pytest.raises(UsageError, match=says):
        simulate_tables(**wrong)
