"""The truth table: what each return needed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from riskmodel.simulation import simulate_tables
from riskmodel.simulation.truth import CAUSES, KINDS, first_fall
from riskmodel.simulation.world import FAMILIES
from tests.simulation.counties import at_risk, tables_of

WORLDS = ("easy", "hard")


@pytest.mark.parametrize("world", WORLDS)
def test_a_row_has_a_cause_if_and_only_if_it_returned(world):
    truth = tables_of(world)["truth"]
    assert set(truth["cause"]) <= set(CAUSES)
    assert ((truth["cause"] != "none") == truth["returned"]).all()
    assert truth["return_month"].notna().equals(truth["returned"])
    assert set(truth["return_kind"].dropna()) <= set(KINDS)
    ahead = truth.loc[truth["returned"], ["month", "return_month"]]
    months = (ahead["return_month"].dt.year - ahead["month"].dt.year) * 12
    months += ahead["return_month"].dt.month - ahead["month"].dt.month
    assert months.between(1, 6).all()


@pytest.mark.parametrize("world", WORLDS)
def test_necessary_families_are_named_only_for_returns(world):
    truth = tables_of(world)["truth"]
    assert (truth.loc[~truth["returned"], "necessary"] == "").all()
    named = truth["necessary"].str.split(",").explode()
    assert set(named) <= {"", *FAMILIES}
    # A return that no shock, all of them off, would undo may still hang on one alone only in rare crossings.
    without = truth["cause"].isin(["subjective", "over_determined"])
    assert (truth.loc[without, "necessary"] != "").mean() < 0.15
    assert (truth.loc[truth["cause"] == "objective", "necessary"] != "").mean() > 0.75


@pytest.mark.parametrize("world", WORLDS)
def test_every_cause_occurs_and_objective_leads(world):
    shares = at_risk(tables_of(world)).query("returned")["cause"].value_counts(normalize=True)
    assert shares["objective"] > 0.5
    assert {"subjective", "joint", "over_determined"} <= set(shares.index)
    assert 0.04 < shares["subjective"] < 0.30


@pytest.mark.parametrize("world", WORLDS)
def test_without_low_effort_nothing_is_subjective_or_joint(world):
    truth = simulate_tables(world=world, households=1500, months=30, seed=2, low_effort=0.0)["truth"]
    assert not truth["low_effort"].any()
    assert truth["returned"].any()
    assert not truth["cause"].isin(["subjective", "joint"]).any()


def test_subjective_and_joint_returns_follow_low_effort():
    for world in WORLDS:
        truth = tables_of(world)["truth"]
        by_effort = truth[truth["cause"].isin(["subjective", "joint"])]
        assert not by_effort["no_able_labour"].all()
        assert by_effort["low_effort_12m"].mean() > 0.8


def test_more_low_effort_means_more_subjective_returns():
    shares = []
    for share in (0.05, 0.20):
        truth = simulate_tables(households=1500, months=30, seed=2, low_effort=share)["truth"]
        shares.append(truth.loc[truth["returned"], "cause"].isin(["subjective", "joint"]).mean())
    assert shares[0] < shares[1]


def test_the_first_month_ahead_counts_and_the_month_itself_does_not():
    holds = np.array([[True, False], [False, False], [False, True], [False, False], [True, False]])
    assert first_fall(holds, 2).tolist() == [[0, 2], [0, 1], [2, 0]]


def test_only_months_with_a_complete_horizon_are_in():
    truth = tables_of("easy")["truth"]
    assert truth["month"].max() == pd.Timestamp("2023-06-01")
    assert truth.groupby("household_id").size().eq(30).all()


def test_the_truth_does_not_change_the_tables():
    bare = simulate_tables(households=120, months=18, seed=9, with_truth=False)
    full = simulate_tables(households=120, months=18, seed=9)
    assert set(full) - set(bare) == {"truth"}
    for name, table in bare.items():
        pd.testing.assert_frame_equal(table, full[name])
