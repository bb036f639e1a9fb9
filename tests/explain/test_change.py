"""Why a risk changed: the parts add up, and each part is 0 where nothing of its kind changed."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.alerts.scoring import score
from riskmodel.catalogue import load_catalogue
from riskmodel.explain.change import split_change
from riskmodel.explain.margins import log_odds
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.estimators import make_estimator
from riskmodel.model.tracking import load_model
from riskmodel.register import Register
from riskmodel.settings import Run
from tests.county import AS_OF, County

EARLIER = "2023-01"
CATALOGUE = load_catalogue()


@pytest.fixture(scope="module")
def months(county: County) -> tuple[RiskModel, pd.DataFrame, pd.DataFrame]:
    """The county's model and the features of households that were at risk in both months."""
    model = load_model(county.folder / "results")
    then, now = (score(Register.open(county.register), model, month).features for month in (EARLIER, AS_OF))
    both = sorted(set(then["household_id"]) & set(now["household_id"]))[:60]
    return model, *(t.set_index("household_id").loc[both].reset_index() for t in (then, now))


def sum_of_parts(change) -> np.ndarray:
    return change.facts.sum(axis=1).to_numpy() + change.model + change.calibration


def other_model(model: RiskModel, features: pd.DataFrame, seed: int = 3) -> RiskModel:
    """A second version: fitted on a made-up outcome of the same households."""
    outcome = (np.random.default_rng(seed).random(len(features)) < model.risk(features) * 0.5 + 0.2).astype(int)
    estimator = make_estimator("lightgbm", lightgbm={"n_estimators": 15, "min_data_in_leaf": 5})
    return replace(model, estimator=estimator.fit(model.matrix(features), outcome), version="other")


def test_the_parts_add_up_to_the_change_of_the_score(months: tuple) -> None:
    old, before, after = months
    new = replace(other_model(old, after), calibration=Calibration(0.7, -0.4))
    change = split_change(old, new, before, after)
    np.testing.assert_allclose(change.before, log_odds(old, before), atol=1e-12)
    np.testing.assert_allclose(change.after, log_odds(new, after), atol=1e-12)
    np.testing.assert_allclose(sum_of_parts(change), change.after - change.before, atol=1e-9)
    assert np.abs(change.model).max() > 0.1 and np.abs(change.calibration).max() > 0.1


def test_no_new_facts_and_the_same_model_change_nothing(months: tuple) -> None:
    model, before, _ = months
    change = split_change(model, model, before, before.copy())
    assert (change.facts.to_numpy() == 0).all()
    assert (change.model == 0).all() and (change.calibration == 0).all()


def test_a_recalibration_shows_only_in_the_calibration_part(months: tuple) -> None:
    model, before, _ = months
    change = split_change(model, replace(model, calibration=Calibration(1.2, 0.3)), before, before)
    assert (change.facts.to_numpy() == 0).all() and (change.model == 0).all()
    assert np.abs(change.calibration).max() > 0.1
    np.testing.assert_allclose(change.calibration, change.after - change.before, atol=1e-12)


def test_another_model_under_the_same_calibration_shows_only_in_the_model_part(months: tuple) -> None:
    model, _, after = months
    change = split_change(model, other_model(model, after), after, after)
    assert (change.facts.to_numpy() == 0).all() and (change.calibration == 0).all()
    assert np.abs(change.model).max() > 0.1


def test_a_driver_without_new_facts_has_no_part(months: tuple) -> None:
    model, before, _ = months
    after = before.copy()
    after["selfpay_burden"] = after["selfpay_burden"].fillna(0) + 0.5
    after["selfpay_rise_6m"] = 0.4
    change = split_change(model, model, before, after)
    others = change.facts.drop(columns="illness")
    assert (others.to_numpy() == 0).all()
    assert np.abs(change.facts["illness"]).max() > 0.01


def test_the_parts_of_drivers_are_shapley_values(months: tuple) -> None:
    """Against all orders in which three drivers' new facts can come in."""
    model, before, after = months
    of = {name: model.catalogue.by_name[name].driver for name in model.inputs}
    moving = ["illness", "level", "job"]
    columns = {d: [c for c in model.inputs if of[c] == d] for d in moving}
    partly = before.copy()
    for driver in moving:
        partly[columns[driver]] = after[columns[driver]]
    expected = pd.DataFrame(0.0, index=before.index, columns=moving)
    for order in permutations(moving):
        mixed, last = before.copy(), log_odds(model, before)
        for driver in order:
            mixed[columns[driver]] = after[columns[driver]]
            now = log_odds(model, mixed)
            expected[driver] += (now - last) / 6
            last = now
    found = split_change(model, model, before, partly).facts
    np.testing.assert_allclose(found[moving], expected, atol=1e-9)
    assert np.abs(found.drop(columns=moving)).to_numpy().max() == 0
    assert np.abs(expected.to_numpy()).max() > 0.1


@given(seed=st.integers(0, 10**6), slope=st.floats(0.2, 3), level=st.floats(-2, 2))
def test_the_parts_of_a_linear_model_add_up(seed: int, slope: float, level: float) -> None:
    random = np.random.default_rng(seed)
    inputs = ["log_ratio_now", "selfpay_burden", "working_share"]
    before, after = (pd.DataFrame(random.normal(size=(5, 3)), columns=inputs) for _ in range(2))
    fitted = pd.DataFrame(random.normal(size=(60, 3)), columns=inputs).astype(np.float32)
    outcome = (random.random(60) < 0.4).astype(int)
    estimator = make_estimator("logistic_regression").fit(fitted, outcome)
    old = RiskModel(estimator, Calibration(), Run(), CATALOGUE)
    change = split_change(old, replace(old, calibration=Calibration(slope, level)), before, after)
    np.testing.assert_allclose(sum_of_parts(change), change.after - change.before, atol=1e-9)
