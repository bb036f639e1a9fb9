"""The hazard of re-entry: the same as scikit-learn's pipeline on one thread, whatever the machine has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from riskmodel.monitoring.reentry import _TERMS, _Chances, _Hazard, _known, _matrix

LONGEST, STEP, MONTH = 12, 3, 24_000


def households_that_left(number: int) -> pd.DataFrame:
    """Landmarks; of some the last spell and the lowest income are not known, help is known of none."""
    draw = np.random.default_rng(7)
    ratio = draw.uniform(0.9, 2.5, number)
    stays = draw.geometric(0.03 + 0.1 * (ratio < 1.3)) * STEP
    until = MONTH + STEP - 1 + stays
    back = draw.random(number) < 0.7
    return pd.DataFrame({
        "as_of_no": MONTH,
        "since": draw.integers(0, 30, number),
        "earlier": draw.integers(1, 4, number),
        "last_spell": np.where(draw.random(number) < 0.3, np.nan, draw.integers(1, 20, number)),
        "start_known": draw.random(number) < 0.5,
        "ratio": ratio,
        "low_ratio": np.where(draw.random(number) < 0.1, np.nan, ratio * 0.8),
        "assisted": np.nan,
        "event_last": np.where(back, until, np.nan),
        "seen_last": until,
    })  # fmt: skip


@pytest.fixture(scope="module")
def left() -> pd.DataFrame:
    return households_that_left(60_000)


def of_scikit_learn(frame: pd.DataFrame) -> Pipeline:
    known = _known(frame)
    start = frame["as_of_no"].to_numpy() + STEP - 1
    event, seen = frame["event_last"].to_numpy() - start, frame["seen_last"].to_numpy() - start
    rows, outcomes = [], []
    for lead in range(STEP, LONGEST + 1, STEP):
        still = np.where(np.isnan(event), seen >= lead, event > lead - STEP)
        rows.append(pd.DataFrame(_matrix(known, lead)[still], columns=list(_TERMS)))
        outcomes.append((event[still] <= lead).astype(int))
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=500),
    )
    return pipeline.fit(pd.concat(rows, ignore_index=True), np.concatenate(outcomes))


def test_the_hazard_is_that_of_scikit_learn(left: pd.DataFrame) -> None:
    few = left[:2_000]
    found = _Hazard.fit(few, "last", LONGEST, STEP)
    expected = of_scikit_learn(few)
    terms = found.terms()
    assert terms["term"].tolist() == expected[0].get_feature_names_out().tolist()
    np.testing.assert_allclose(terms["log_odds"], expected[-1].coef_[0], rtol=1e-6)
    first = pd.DataFrame(_matrix(_known(few), STEP), columns=list(_TERMS))
    np.testing.assert_allclose(found.chance(few, STEP), expected.predict_proba(first)[:, 1], rtol=1e-6)


def test_the_chance_of_a_household_does_not_depend_on_the_threads_of_the_machine(left: pd.DataFrame) -> None:
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(_Hazard.fit(left, "last", LONGEST, STEP).chance(left, LONGEST))
    np.testing.assert_array_equal(*found)


def test_a_household_far_below_the_line_has_no_greater_chance_than_the_poorest_that_were_seen() -> None:
    seen = households_that_left(4_000)
    seen["watched_last"], seen["household_id"] = MONTH + 60, seen.index.astype(str)
    chances = _Chances.fit(seen, "last", [6, LONGEST], STEP)
    poorest = seen.nsmallest(20, "ratio").assign(since=3, earlier=3, last_spell=12.0, low_ratio=0.72)
    beyond = poorest.assign(ratio=0.1, low_ratio=0.05)
    raw = _Hazard.fit(seen, "last", LONGEST, STEP)
    assert raw.chance(beyond, LONGEST).min() > 0.99, "a straight line goes on for ever"
    told = chances.of(beyond, LONGEST)
    np.testing.assert_allclose(told["chance"], chances.of(poorest, LONGEST)["chance"])
    assert (told["low"] <= told["chance"]).all() and (told["chance"] <= told["high"]).all()
    came = (seen["event_last"] - MONTH - STEP + 1 <= LONGEST) & (seen["ratio"] < 1)
    assert abs(told["chance"].mean() - came[seen["ratio"] < 1].mean()) < 0.15


def test_where_nobody_was_watched_to_the_end_of_the_horizon_a_chance_has_no_interval() -> None:
    seen = households_that_left(2_000)
    seen["watched_last"], seen["household_id"] = MONTH + STEP - 1 + 6, seen.index.astype(str)
    chances = _Chances.fit(seen, "last", [6, LONGEST], STEP)
    assert chances.of(seen, 6)["high"].notna().all() and chances.of(seen, LONGEST)["high"].isna().all()
    assert chances.of(seen, LONGEST)["chance"].between(0, 1).all()
