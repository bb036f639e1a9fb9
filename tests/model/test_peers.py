"""Behaviour is held against other households in the same circumstances, and only beyond what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.model.peers import Peers

CATALOGUE = load_catalogue()


@pytest.fixture(scope="module")
def county() -> pd.DataFrame:
    """4,000 households: with fewer able members more land lies idle; where work is scarce, the days are still worked."""
    rng = np.random.default_rng(3)
    able = rng.integers(0, 4, 4000).astype(float)
    size = able + rng.integers(1, 3, 4000)
    idle = np.clip(np.where(able == 0, 0.5, np.where(able == 1, 0.2, 0.02)) + rng.normal(0, 0.03, 4000), 0, 1)
    table = pd.DataFrame(
        {
            "household_id": [f"{n:018d}" for n in range(4000)], "able_known": able, "able_share": able / size,
            "able_change_12m": 0.0, "carers_now": 0.0, "hh_size_now": size, "land_idle_now": idle,
            "work_intensity_now": np.where(able > 0, np.clip(rng.normal(0.9, 0.05, 4000), 0, 1), np.nan),
        }
    )  # fmt: skip
    return table


@pytest.fixture(scope="module")
def peers(county: pd.DataFrame) -> Peers:
    return Peers.fit(CATALOGUE, county, county["household_id"])


def test_about_one_in_twenty_goes_beyond_its_peers(county: pd.DataFrame, peers: Peers) -> None:
    bounds = peers.bounds(CATALOGUE, county, county["household_id"])
    idle = county["land_idle_now"] > bounds["land_idle"]
    work = (county["work_intensity_now"] < bounds["work_low"])[county["able_known"] > 0]
    assert 0.03 < idle.mean() < 0.08
    assert 0.03 < work.mean() < 0.08


def test_what_a_missing_worker_explains_is_no_strong_sign(county: pd.DataFrame, peers: Peers) -> None:
    """Two able members on record, land idle as with one: beyond peers, yet not beyond peers with one member less."""
    one = county[county["able_known"] == 2].head(50).assign(land_idle_now=0.2, work_intensity_now=0.43)
    bounds = peers.bounds(CATALOGUE, one, one["household_id"])
    assert (one["land_idle_now"] > bounds["land_idle"]).all()
    assert (one["land_idle_now"] < bounds["land_idle_one_less"]).mean() > 0.7
    assert (one["work_intensity_now"] > bounds["work_low_one_less"]).mean() > 0.8


def test_the_only_worker_is_never_told_from_an_ill_one_by_days_alone(county: pd.DataFrame, peers: Peers) -> None:
    one = county[county["able_known"] == 1].head(20).assign(work_intensity_now=0.05)
    assert peers.bounds(CATALOGUE, one, one["household_id"])["work_low_one_less"].eq(0).all()


def test_where_the_able_are_not_on_record_nothing_is_strong(county: pd.DataFrame, peers: Peers) -> None:
    one = county.head(5).assign(able_known=np.nan)
    assert (
        peers.bounds(CATALOGUE, one, one["household_id"])[["work_low_one_less", "land_idle_one_less"]].isna().all(axis=None)
    )


def test_a_household_is_not_its_own_peer(county: pd.DataFrame) -> None:
    """Whatever it does itself leaves its own bound as it was."""
    changed = county.copy()
    changed.loc[7, ["land_idle_now", "work_intensity_now"]] = [1.0, 0.0]
    bounds = [
        Peers.fit(CATALOGUE, table, table["household_id"]).bounds(
            CATALOGUE, county.iloc[[7]], county["household_id"].iloc[[7]]
        )
        for table in (county, changed)
    ]
    pd.testing.assert_frame_equal(*bounds, check_exact=True)


def test_saved_and_loaded_peers_are_the_same(county: pd.DataFrame, peers: Peers, tmp_path: Path) -> None:
    peers.save(tmp_path)
    again = Peers.load(tmp_path)
    pd.testing.assert_frame_equal(
        *(p.bounds(CATALOGUE, county, county["household_id"]) for p in (peers, again)), check_exact=True
    )


def test_a_register_without_behaviour_has_no_peers(county: pd.DataFrame) -> None:
    plain = county.drop(columns=["land_idle_now", "work_intensity_now"])
    assert not Peers.fit(CATALOGUE, plain, plain["household_id"]).boosters
