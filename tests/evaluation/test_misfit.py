"""Where the list misses households is counted right, and planted misses are found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.metrics import wilson
from riskmodel.evaluation.misfit import misses_by_situation, rules_of_misses, situations


def households(n: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Households near and far from the line, some ill, some long without a record; values are missing."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "household_id": [f"h{i // 2}" for i in range(n)],
            "ratio_now": np.round(generator.uniform(0.9, 3, n), 1),
            "months_since_illness": generator.integers(0, 37, n),
            "months_since_house_damage": generator.integers(0, 37, n),
            "months_since_below": generator.integers(0, 37, n),
            "household_type": generator.choice(["lifted", "ordinary"], n),
            "record_age": generator.integers(0, 6, n).astype(float),
        }
    )
    frame.loc[generator.random(n) < 0.05, ["record_age", "household_type"]] = [np.nan, None]
    return frame


def test_situations_are_those_that_the_register_shows() -> None:
    frame = pd.DataFrame(
        {
            "ratio_now": [0.99, 1.0, 1.1, np.nan],
            "months_since_illness": [11, 12, 36, 3],
            "months_since_accident": [36, 36, 36, 0],
            "months_since_below": [0, 0, 0, 0],
            "record_age": [0, 3, 4, 9],
        }
    )
    found = {(s.aspect, s.group): np.flatnonzero(s.rows).tolist() for s in situations(frame)}
    assert found == {
        ("distance to the line", "below the line"): [0],
        ("distance to the line", "up to 1.1 lines"): [1],
        ("distance to the line", "1.1-1.2 lines"): [2],
        ("distance to the line", "unknown"): [3],
        ("shock in 12 months", "illness"): [0, 3],
        ("shock in 12 months", "accident"): [3],
        ("shock in 12 months", "none"): [1, 2],
        ("last record", "this month"): [0],
        ("last record", "2-3 months ago"): [1],
        ("last record", "4 months ago or more"): [2, 3],
    }


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_every_situation_equals_counts_by_hand(seed: int) -> None:
    frame = households(300, seed)
    generator = np.random.default_rng(seed)
    risk = generator.random(300)
    fell, listed = (generator.random(300) < risk) * 1.0, risk > 0.6
    groups = situations(frame)
    table = misses_by_situation(fell, risk, listed, frame["household_id"], groups)
    assert len(table) == len(groups)
    for row, group in zip(table.itertuples(), groups, strict=True):
        own = frame[group.rows]
        y, on = fell[group.rows], listed[group.rows]
        assert (row.rows, row.households) == (len(own), own["household_id"].nunique())
        assert (row.events, row.caught) == (y.sum(), y[on].sum())
        fallen = own[y == 1].assign(on=on[y == 1])
        assert row.households_caught == fallen.loc[fallen["on"], "household_id"].nunique()
        assert row.households_missed == fallen.loc[~fallen["on"], "household_id"].nunique()
        assert row.households_not_fallen == own.loc[y == 0, "household_id"].nunique()
        assert row.risk == pytest.approx(risk[group.rows].mean(), abs=1e-12)
        assert (row.rate_low, row.rate_high) == pytest.approx(wilson(y.sum(), len(y)), abs=1e-12)
        if y.sum():
            assert row.caught_share == pytest.approx(on[y == 1].mean(), abs=1e-12)
            assert row.caught_share + row.missed_share == pytest.approx(1, abs=1e-12)
            assert (row.caught_low, row.caught_high) == pytest.approx(wilson(y[on].sum(), y.sum()), abs=1e-12)


def test_aspects_other_than_shocks_part_the_households() -> None:
    frame = households()
    fell, listed = np.ones(len(frame)), np.arange(len(frame)) % 3 == 0
    table = misses_by_situation(fell, fell, listed, frame["household_id"], situations(frame))
    for aspect, own in table.groupby("aspect"):
        if aspect != "shock in 12 months":
            assert own["rows"].sum() == len(frame)
            assert own["part_of_missed"].sum() == pytest.approx(1, abs=1e-12)


def test_a_situation_without_falls_has_no_shares() -> None:
    groups = situations(pd.DataFrame({"record_age": [0, 0, 9]}))
    row = misses_by_situation(np.array([1, 0, 0]), np.full(3, 0.3), np.array([1, 0, 0]), list("abc"), groups).iloc[1]
    assert row["events"] == 0
    assert row[["caught_share", "missed_share", "caught_low"]].isna().all()
    assert row["rate"] == 0


def test_rules_name_the_planted_miss() -> None:
    """The list misses households that are far from the line and had an illness."""
    frame = households(4000).drop(columns=["household_id", "household_type"])
    far_and_ill = (frame["ratio_now"] > 1.8) & (frame["months_since_illness"] < 12)
    found = rules_of_misses(frame, np.ones(4000), ~far_and_ill, np.arange(4000), depth=2)
    top = found.iloc[0]
    assert top["missed_share"] == 1
    assert "ratio_now > 1.8" in top["rule"] and "months_since_illness <= 11.5" in top["rule"]
    assert found["missed"].iloc[1:].sum() == 0


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_rules_are_few_large_and_tell_every_fall_once(seed: int) -> None:
    frame = households(1500, seed).drop(columns="household_type")
    ids = frame.pop("household_id")
    generator = np.random.default_rng(seed)
    fell = (generator.random(1500) < 0.5) * 1.0
    listed = generator.random(1500) < np.where(frame["record_age"].isna(), 0.1, 0.6)
    found = rules_of_misses(frame, fell, listed, ids)
    assert len(found) <= 8
    assert found["events"].min() >= 100
    assert found["events"].sum() == fell.sum()
    assert found["missed"].sum() == ((fell == 1) & ~listed).sum()
    for row in found.itertuples():
        follows = np.ones(1500, bool)
        for condition in row.rule.split(" and "):
            name, sign, threshold, *unknown = condition.split()
            value = frame[name].astype(float)
            kept = value <= float(threshold) if sign == "<=" else value > float(threshold)
            follows &= (kept | (value.isna() if unknown else False)).to_numpy()
        assert follows[fell == 1].sum() == pytest.approx(row.events, abs=0)
        assert row.households_caught == ids[follows & (fell == 1) & listed].nunique()
        assert row.households_missed == ids[follows & (fell == 1) & ~listed].nunique()


def test_rules_from_few_falls_are_refused() -> None:
    with pytest.raises(NotEnoughData, match="199 households fell"):
        rules_of_misses(pd.DataFrame({"a": np.zeros(300)}), np.arange(300) < 199, np.zeros(300), np.arange(300))


def test_rules_want_numbers_and_at_most_three_conditions() -> None:
    with pytest.raises(UsageError, match="household_type"):
        rules_of_misses(households(400)[["household_type"]], np.ones(400), np.zeros(400), np.arange(400))
    with pytest.raises(UsageError, match="1, 2 or 3"):
        rules_of_misses(households(400)[["ratio_now"]], np.ones(400), np.zeros(400), np.arange(400), depth=4)
