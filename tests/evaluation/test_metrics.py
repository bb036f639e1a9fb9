"""Every metric equals scikit-learn, or a slow oracle, to 1e-12."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from riskmodel.errors import UsageError
from riskmodel.evaluation.metrics import (
    Scored,
    calibration_curve,
    competing,
    decision_curve,
    ece_null_band,
    figures_of_list,
    with_intervals,
)
from riskmodel.settings import Capacity, Intervals


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, risks with many ties, integer weights, list codes."""
    n = draw(st.integers(8, 60))
    seed = draw(st.integers(0, 10_000))
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, n).astype(float)
    y[:2] = 0, 1
    p = np.round(generator.uniform(0.02, 0.98, n), draw(st.sampled_from([1, 2, 8])))
    p = np.clip(p, 0.02, 0.98)
    w = generator.integers(0, 4, n).astype(float)
    w[:2] = 1
    return y, p, w, generator.integers(0, 3, n)


@given(cases())
def test_ranking_and_accuracy_equal_scikit_learn(case: tuple) -> None:
    y, p, w, _ = case
    found = Scored(y, p).metrics(w)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(y, p, sample_weight=w), abs=1e-12)
    assert found["pr_auc"] == pytest.approx(average_precision_score(y, p, sample_weight=w), abs=1e-12)
    assert found["brier"] == pytest.approx(brier_score_loss(y, p, sample_weight=w), abs=1e-12)
    assert found["log_loss"] == pytest.approx(log_loss(y, p, sample_weight=w), abs=1e-12)


@given(cases(), st.sampled_from([Capacity(number=1), Capacity(number=4), Capacity(share=0.3)]))
def test_lists_equal_a_slow_oracle(case: tuple, capacity: Capacity) -> None:
    """Weights are repetitions: the list is made of repeated households, ties shared out, lost or won."""
    y, p, w, lists = case
    found = Scored(y, p, lists, capacity).metrics(w)
    listed = worst = best = 0.0
    expected = 0.0
    for code in np.unique(lists):
        rows = np.repeat(np.flatnonzero(lists == code), w[lists == code].astype(int))
        room = min(capacity.number, len(rows)) if capacity.number else int(np.ceil(capacity.share * len(rows) - 1e-9))
        if not room:
            continue
        edge = np.sort(p[rows])[::-1][room - 1]
        sure, tied = rows[p[rows] > edge], rows[p[rows] == edge]
        left = room - len(sure)
        listed += room
        expected += y[sure].sum() + left * y[tied].mean()
        worst += y[sure].sum() + max(left - (1 - y[tied]).sum(), 0)
        best += y[sure].sum() + min(left, y[tied].sum())
    assert found["precision_at_capacity"] == pytest.approx(expected / listed, abs=1e-12)
    assert found["recall_at_capacity"] == pytest.approx(expected / np.dot(w, y), abs=1e-12)
    assert found["precision_at_capacity_worst"] == pytest.approx(worst / listed, abs=1e-12)
    assert found["precision_at_capacity_best"] == pytest.approx(best / listed, abs=1e-12)


def slow_calibration(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Slope and calibration in the large: roots of the likelihood's derivatives by bisection, sums without rounding."""
    x = logit(p)

    def excess(a: float, b: float, by: np.ndarray | float = 1.0) -> float:
        return math.fsum(w * (y - expit(a + b * x)) * by)

    def level(b: float) -> float:
        return brentq(lambda a: excess(a, b), -99, 99, xtol=1e-15, rtol=1e-15)

    slope = brentq(lambda b: excess(level(b), b, x), -5, 5, xtol=1e-14, rtol=1e-14)
    return slope, level(1.0)


@pytest.mark.parametrize("seed", range(6))
def test_calibration_equals_the_root_of_the_likelihood(seed: int) -> None:
    """Also with weights, whose steps start where those of all rows ended."""
    generator = np.random.default_rng(seed)
    p = np.clip(generator.beta(1, 6, 250), 1e-4, 1 - 1e-4)
    y = (generator.random(250) < expit(0.7 * logit(p) + 0.3)).astype(float)
    scored = Scored(y, p)
    for w in (np.ones(250), generator.integers(0, 4, 250).astype(float)):
        slope, level = slow_calibration(y, p, w)
        found = scored.metrics(w)
        assert found["calibration_slope"] == pytest.approx(slope, abs=1e-12)
        assert found["calibration_intercept"] == pytest.approx(level, abs=1e-12)


def test_calibration_equals_unpenalised_logistic_regression() -> None:
    generator = np.random.default_rng(3)
    truth = generator.uniform(0.05, 0.6, 4000)
    y = (generator.random(4000) < truth).astype(float)
    p = 1 / (1 + np.exp(-(1.7 * np.log(truth / (1 - truth)) + 0.4)))
    x = np.log(p / (1 - p))[:, None]
    slope = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x, y).coef_[0, 0]
    assert Scored(y, p).metrics()["calibration_slope"] == pytest.approx(slope, abs=1e-5)  # as close as its solver comes


@given(cases())
def test_one_metric_alone_is_that_metric(case: tuple) -> None:
    y, p, w, lists = case
    scored = Scored(y, p, lists, Capacity(share=0.3))
    for name, value in scored.metrics(w).items():
        assert scored.metric(name, w) == pytest.approx(value, abs=1e-12, nan_ok=True)


def test_a_constant_risk_has_no_slope_and_no_rank() -> None:
    found = Scored(np.array([0, 1, 0, 1.0]), np.full(4, 0.5), capacity=Capacity(number=2)).metrics()
    assert np.isnan(found["calibration_slope"])
    assert found["roc_auc"] == 0.5
    assert (found["precision_at_capacity_worst"], found["precision_at_capacity_best"]) == (0.0, 1.0)


def test_a_household_seen_often_widens_the_interval() -> None:
    """Rows of one household are resampled together."""
    generator = np.random.default_rng(0)
    y = np.repeat(generator.integers(0, 2, 60), 10).astype(float)
    p = np.clip(np.repeat(generator.uniform(size=60), 10) * 0.6 + 0.3 * y, 0.01, 0.99)
    households = pd.Series(np.repeat([f"h{i}" for i in range(60)], 10))
    apart = pd.Series([f"r{i}" for i in range(600)])
    scored = {"m": Scored(y, p, capacity=Capacity(share=0.1))}
    together, single = (
        with_intervals(scored, ids, Intervals(replicates=100), 1)["m"]["brier"] for ids in (households, apart)
    )
    assert together.high - together.low > 2 * (single.high - single.low)
    assert together.low < together.value < together.high


def test_calibration_curve_counts_every_household_once() -> None:
    y, p = np.array([0, 0, 1, 1.0] * 25), np.linspace(0.01, 0.99, 100)
    curve = calibration_curve(y, p)
    for row, own in zip(curve.itertuples(), range(0, 100, 10), strict=True):
        ten = slice(own, own + 10)
        assert (row.risk, row.rate) == pytest.approx((p[ten].mean(), y[ten].mean()), abs=1e-12)
        expected = binomtest(int(y[ten].sum()), 10).proportion_ci(method="wilson")
        assert (row.low, row.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert curve["households"].sum() == 100
    assert curve["risk"].is_monotonic_increasing
    assert ((curve["low"] <= curve["rate"]) & (curve["rate"] <= curve["high"])).all()


def test_a_calibration_curve_does_not_part_households_of_equal_risk() -> None:
    """Of fifty households at 20 % the first ten fell: the order of rows may not make ten bins of 100 % and of nobody."""
    y, p = np.arange(100) < 10, np.repeat([0.2, 0.4], 50)
    curve = calibration_curve(y, p)
    assert curve["households"].tolist() == [50, 50]
    assert curve["rate"].tolist() == [0.2, 0.0]


def test_households_whose_outcome_is_unknown_hold_their_part_of_a_fixed_number_of_places() -> None:
    """Of 100 at risk the outcome of every other one is known: a list of 20 holds 10 of these, not 20."""
    at_risk = pd.DataFrame({"as_of": "2024-01", "county_id": "k", "risk": np.linspace(0.99, 0.01, 100)})
    known = np.arange(0, 100, 2)
    fell = (np.arange(100) < 40).astype(float)
    lists, told = competing(at_risk, known)
    scored = Scored(fell[known], at_risk["risk"].to_numpy()[known], lists, Capacity(number=20), told)
    assert scored.metric("recall_at_capacity") == 10 / 20
    everybody = Scored(fell, at_risk["risk"].to_numpy(), np.zeros(100), Capacity(number=20))
    assert everybody.metric("recall_at_capacity") == 20 / 40


@given(cases())
def test_skill_and_error_of_the_rate_equal_their_definitions(case: tuple) -> None:
    y, p, w, _ = case
    found = Scored(y, p).metrics(w)
    base = brier_score_loss(y, np.full(len(y), np.average(y, weights=w)), sample_weight=w)
    skill = 1 - brier_score_loss(y, p, sample_weight=w) / base
    assert found["brier_skill"] == pytest.approx(skill, abs=1e-12)
    assert found["rate_error"] == pytest.approx(np.average(p, weights=w) - np.average(y, weights=w), abs=1e-12)


@given(cases())
def test_calibration_error_equals_a_slow_oracle(case: tuple) -> None:
    """Ten bins of equal size; households of equal risk lie in one bin."""
    y, p, w, _ = case
    bins = np.array([int(10 * sum(q < own for q in p) / len(p) + 1e-9) for own in p])
    error = 0.0
    for b in range(10):
        here = (bins == b) & (w > 0)
        if here.any():
            gap = abs(np.average(p[here], weights=w[here]) - np.average(y[here], weights=w[here]))
            error += gap * w[here].sum() / w.sum()
    assert Scored(y, p).metrics(w)["ece"] == pytest.approx(error, abs=1e-12)


def test_calibration_error_of_a_perfect_model_lies_in_its_null_band_19_times_of_20() -> None:
    generator = np.random.default_rng(5)
    p = generator.beta(1, 9, 3000)
    band = ece_null_band(p, replicates=500, seed=1)
    found = np.array([Scored((generator.random(3000) < p) * 1.0, p).metrics()["ece"] for _ in range(300)])
    inside = ((band.low <= found) & (found <= band.high)).mean()
    assert 0.90 <= inside <= 0.99
    assert band.low < band.value < band.high
    assert Scored((generator.random(3000) < p) * 1.0, p**0.6).metrics()["ece"] > band.high


def test_the_null_band_equals_a_slow_simulation() -> None:
    p = np.round(np.random.default_rng(5).beta(1, 9, 60), 2)
    generator, draws = np.random.default_rng(4), []
    for _ in range(50):
        fell = [float(u < own) for u, own in zip(generator.random(60), p, strict=True)]
        draws.append(Scored(np.array(fell), p).metrics()["ece"])
    band = ece_null_band(p, replicates=50, level=0.9, seed=4)
    expected = [np.mean(draws), *np.quantile(draws, [0.05, 0.95])]
    assert [band.value, band.low, band.high] == pytest.approx(expected, abs=1e-12)


def test_a_larger_test_has_a_narrower_null_band() -> None:
    p = np.random.default_rng(5).beta(1, 9, 8000)
    assert ece_null_band(p, replicates=200).high < 0.5 * ece_null_band(p[:800], replicates=200).high


@given(cases())
def test_net_benefit_equals_a_slow_oracle(case: tuple) -> None:
    y, p, w, _ = case
    thresholds = [0.02, 0.1, 0.5, 0.9]
    found = decision_curve(y, p, thresholds, w)
    for row, t in zip(found.itertuples(), thresholds, strict=True):
        listed = p >= t
        true, false = w[listed & (y == 1)].sum() / w.sum(), w[listed & (y == 0)].sum() / w.sum()
        rate = np.average(y, weights=w)
        assert row.net_benefit == pytest.approx(true - false * t / (1 - t), abs=1e-12)
        assert row.treat_all == pytest.approx(rate - (1 - rate) * t / (1 - t), abs=1e-12)
        assert row.gain == pytest.approx(row.net_benefit - max(row.treat_all, 0), abs=1e-12)
        assert row.listed == pytest.approx(true + false, abs=1e-12)


@pytest.mark.parametrize("thresholds", [[], [0.0, 0.1], [0.5, 1.0], [0.2, 0.1]])
def test_thresholds_that_mean_nothing_are_refused(thresholds: list[float]) -> None:
    with pytest.raises(UsageError, match="ascend"):
        decision_curve(np.array([0, 1.0]), np.array([0.2, 0.7]), thresholds)


@given(cases())
def test_lift_is_precision_over_the_rate(case: tuple) -> None:
    y, p, w, lists = case
    found = Scored(y, p, lists, Capacity(share=0.3)).metrics(w)
    lift = found["precision_at_capacity"] / np.average(y, weights=w)
    assert found["lift_at_capacity"] == pytest.approx(lift, abs=1e-12)


def test_a_list_of_nobody_has_no_precision_and_misses_all() -> None:
    found = figures_of_list(hits=0, listed=0, events=5, rows=100)
    assert np.isnan(found["precision"]) and np.isnan(found["lift"])
    assert (found["missed"], found["false_alerts_per_1000"]) == (1.0, 0.0)


@pytest.mark.parametrize("overconfident", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("shift", [-3.0, 3.0])
def test_the_slope_of_a_badly_calibrated_model_is_that_of_scikit_learn(overconfident: float, shift: float) -> None:
    generator = np.random.default_rng(3)
    log_odds = generator.normal(-4.5, 1.2, 3000)
    fell = (generator.random(3000) < expit(log_odds)).astype(float)
    risk = expit(overconfident * log_odds - shift)
    clipped = np.clip(risk, np.finfo(float).eps, 1 - np.finfo(float).eps)
    expected = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky").fit(logit(clipped)[:, None], fell)
    assert Scored(fell, risk).metrics()["calibration_slope"] == pytest.approx(expected.coef_[0, 0], abs=1e-5)


@given(cases())
def test_metrics_that_are_named_are_the_same_without_the_others(case: tuple) -> None:
    y, p, w, lists = case
    scored = Scored(y, p, lists, Capacity(number=2))
    whole = scored.metrics(w)
    asked = ["ece", "roc_auc", "recall_at_capacity"]
    assert scored.metrics(w, asked) == {name: value for name, value in whole.items() if name in asked}
    assert [scored.metric(name, w) for name in asked] == [whole[name] for name in asked]
