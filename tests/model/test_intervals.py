"""Intervals of the risk: exactly those of isotonic regression with one household more, and what they promise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import isotonic_regression

from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.errors import IntegrityError, NotEnoughData
from riskmodel.model.bundle import RiskModel
from riskmodel.model.intervals import VennAbers
from riskmodel.model.training import fit_model
from tests.cohort.registers import make_register
from tests.model.test_training import RUN, panel


def by_definition(risk: np.ndarray, outcome: np.ndarray, at: float, times: int) -> list[float]:
    """The isotonic fit at a risk, once with the added household spared and once fallen."""
    found = []
    for falls in (0.0, 1.0):
        scores, codes = np.unique(np.r_[risk, [at] * times], return_inverse=True)
        weight = np.bincount(codes)
        mean = np.bincount(codes, np.r_[outcome, [falls] * times]) / weight
        found.append(isotonic_regression(mean, sample_weight=weight)[np.searchsorted(scores, at)])
    return found


@given(seed=st.integers(0, 100_000), rows=st.integers(2, 40), digits=st.integers(1, 3), months=st.integers(1, 4))
@settings(max_examples=60)
def test_both_ends_are_isotonic_fits_with_one_household_more(seed: int, rows: int, digits: int, months: int) -> None:
    generator = np.random.default_rng(seed)
    risk = np.round(generator.random(rows), digits)
    outcome = (generator.random(rows) < risk).astype(float)
    outcome[:2] = 0, 1
    households = np.arange(rows) // months
    times = -(-rows // len(set(households)))
    found = VennAbers.fit(risk, outcome, households)
    asked = np.r_[risk, generator.random(10), 0, 1]
    expected = [by_definition(risk, outcome, at, times) for at in asked]
    np.testing.assert_allclose(found.interval(asked), expected, atol=1e-12)


def test_a_household_that_stands_for_three_moves_both_ends_as_three_do() -> None:
    risk, outcome, _ = county(np.random.default_rng(5), 300, 1)
    times = np.random.default_rng(6).integers(1, 4, len(risk))
    asked = np.linspace(0, 1, 501)
    as_weights = VennAbers.fit(risk, outcome, weight=times)
    as_rows = VennAbers.fit(np.repeat(risk, times), np.repeat(outcome, times))
    np.testing.assert_array_equal(as_weights.interval(asked), as_rows.interval(asked))
    assert (as_weights.rows, as_weights.events) == (300, outcome.sum()), "told are the rows that were seen"


def test_a_higher_risk_never_lowers_either_end() -> None:
    risk, outcome, households = county(np.random.default_rng(2), 300, 4)
    ends = VennAbers.fit(risk, outcome, households).interval(np.linspace(0, 1, 2001))
    assert ends["low"].is_monotonic_increasing
    assert ends["high"].is_monotonic_increasing
    assert (ends["low"] < ends["high"]).all()


def county(
    generator: np.random.Generator, households: int, months: int, persistence: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of households over some months: risks nearly constant, and a fall that shows in many of its rows."""
    own = -2 + generator.normal(size=(households, 1))
    risk = expit(own + 0.05 * generator.normal(size=(households, months)))
    luck = generator.random((households, months))
    for month in range(1, months):
        stays = generator.random(households) < persistence
        luck[stays, month] = luck[stays, month - 1]
    return risk.ravel(), (luck < risk).astype(float).ravel(), np.repeat(np.arange(households), months)


def test_the_rate_lies_between_both_ends_in_every_bin_of_risk() -> None:
    """Over many calibration sets; the model is badly scaled, as any increasing score may be."""
    generator = np.random.default_rng(3)
    low, high, rate = np.zeros((3, 300, 4))
    for i in range(300):
        risk, outcome, _ = county(generator, 200, 1)
        asked, fell, _ = county(generator, 400, 1)
        ends = VennAbers.fit(risk**3, outcome).interval(asked**3)
        bins = np.digitize(asked, [0.08, 0.15, 0.3])
        size = np.bincount(bins, minlength=4)
        for into, what in ((low, ends["low"]), (high, ends["high"]), (rate, fell)):
            into[i] = np.bincount(bins, what, minlength=4) / size
    error = 3 * np.std(rate - low, axis=0) / np.sqrt(len(rate))
    assert (low.mean(axis=0) <= rate.mean(axis=0) + error).all()
    assert (rate.mean(axis=0) <= high.mean(axis=0) + error).all()


def test_the_end_that_comes_true_is_perfectly_calibrated() -> None:
    """The multi-probability promise itself: among households whose end of truth is p, the share p fell."""
    generator = np.random.default_rng(4)
    said, fell = [], []
    for _ in range(400):
        risk, outcome, _ = county(generator, 100, 1)
        asked, happened, _ = county(generator, 50, 1)
        if 0 < outcome.sum() < len(outcome):
            ends = VennAbers.fit(risk, outcome).interval(asked)
            said.append(np.where(happened == 1, ends["high"], ends["low"]))
            fell.append(happened)
    said, fell = np.concatenate(said), np.concatenate(fell)
    assert np.mean(said) == pytest.approx(np.mean(fell), abs=0.01)
    for low, high in ((0.0, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.7), (0.7, 1.01)):
        here = (said >= low) & (said < high)
        assert np.mean(said[here]) == pytest.approx(np.mean(fell[here]), abs=0.035)


def test_a_household_seen_every_month_is_not_twelve_households() -> None:
    """At the highest risk of a month: counted as rows the low end passes the truth, counted as households it does not."""
    generator = np.random.default_rng(5)
    as_rows, as_households, truth = [], [], []
    for _ in range(500):
        risk, outcome, households = county(generator, 40, 12)
        highest = expit(-2 + generator.normal(size=40).max(keepdims=True))
        if 0 < outcome.sum() < len(outcome):
            truth.append(highest[0])
            as_rows.append(VennAbers.fit(risk, outcome).interval(highest)["low"][0])
            as_households.append(VennAbers.fit(risk, outcome, households).interval(highest)["low"][0])
    assert np.mean(as_rows) > np.mean(truth) + 0.01
    assert np.mean(as_households) < np.mean(truth)


def test_nobody_fell_is_told_not_fitted() -> None:
    with pytest.raises(NotEnoughData, match="fell"):
        VennAbers.fit(np.array([0.1, 0.2]), np.zeros(2))


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    register = make_register(tmp_path_factory.mktemp("data") / "register", records=panel(400))
    return build_cohorts(register, label=RUN.label, at_risk=RUN.at_risk, months=RUN.cohorts)


@pytest.fixture(scope="module")
def model(cohorts: Cohorts) -> RiskModel:
    return fit_model(cohorts, RUN)


def test_intervals_rest_on_the_calibration_months_and_travel_with_the_bundle(
    tmp_path: Path, cohorts: Cohorts, model: RiskModel
) -> None:
    frame = cohorts.frame
    known = frame[frame["outcome"].notna()]
    last = sorted(known["as_of"].unique())[-2:]
    assert model.intervals.rows == known["as_of"].isin(last).sum()
    assert model.intervals.households == known.loc[known["as_of"].isin(last), "household_id"].nunique()
    model.save(tmp_path / "model")
    ends = RiskModel.load(tmp_path / "model").interval(frame)
    np.testing.assert_array_equal(ends, model.interval(frame))
    assert ends.index.equals(frame.index)
    order = np.argsort(model.risk(frame), kind="stable")
    assert ends["low"].iloc[order].is_monotonic_increasing


def test_a_changed_interval_is_refused(tmp_path: Path, model: RiskModel) -> None:
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "intervals.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"low": [0.0', '"low": [0.1', 1), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"intervals\.json"):
        RiskModel.load(tmp_path / "model")


def test_a_model_without_intervals_has_none_and_loads(tmp_path: Path, cohorts: Cohorts, model: RiskModel) -> None:
    without = dataclasses.replace(model, intervals=None)
    without.save(tmp_path / "model")
    assert not (tmp_path / "model" / "intervals.json").exists()
    assert RiskModel.load(tmp_path / "model").interval(cohorts.frame) is None


def test_a_risk_lies_within_its_own_interval(model: RiskModel) -> None:
    """Half of the households of the highest risks fell, a third of the middle ones, and none of the lowest."""
    steps = VennAbers.fit(np.repeat([0.1, 0.3, 0.6], 300), np.r_[np.zeros(300), np.arange(300) % 3 == 0, np.arange(300) % 2])
    risk = np.array([0.05, 0.3, 0.4, 0.6, 0.95])
    ends = dataclasses.replace(model, intervals=steps).interval_of(risk)
    assert (ends["low"] <= risk).all() and (risk <= ends["high"]).all()
    pure = steps.interval(risk)
    outside = (risk < pure["low"]) | (risk > pure["high"])
    assert outside.tolist() == [True, True, False, True, False]
    assert (ends["low"] <= pure["low"]).all() and (pure["high"] <= ends["high"]).all(), "never narrower"
    pd.testing.assert_frame_equal(ends[~outside], pure[~outside])
