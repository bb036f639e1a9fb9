"""Calibration in the large among households that fall in many rows, and what intervals and actions cover."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from riskmodel.errors import UsageError
from riskmodel.evaluation.bootstrap import resample
from riskmodel.evaluation.calibration import action_coverage, calibration_in_the_large, interval_coverage
from riskmodel.settings import Intervals


def months_of(
    generator: np.random.Generator, households: int, level: float, drift: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four rows a household with overlapping horizons: outcomes mostly repeat. `drift` multiplies the odds."""
    log_odds = level + generator.normal(size=(households, 1)) + 0.3 * generator.normal(size=(households, 4))
    luck = generator.random((households, 4))
    for month in range(1, 4):
        stays = generator.random(households) < 0.7
        luck[stays, month] = luck[stays, month - 1]
    fell = luck < expit(log_odds + drift)
    return expit(log_odds).ravel(), fell.astype(float).ravel(), np.repeat(np.arange(households), 4)


@pytest.mark.parametrize(("households", "level"), [(50, -4.0), (150, -4.0), (600, -3.0), (1000, -0.5)])
def test_without_drift_the_interval_holds_1_and_the_warning_is_silent(households: int, level: float) -> None:
    generator = np.random.default_rng(households)
    checks = []
    for _ in range(400):
        risk, outcome, household = months_of(generator, households, level)
        checks.append(calibration_in_the_large(outcome, risk, household))
    assert np.mean([c.low <= 1 <= c.high for c in checks]) >= 0.92
    assert np.mean([c.warns for c in checks]) <= 0.05


def test_a_doubled_rate_is_told_in_both_languages() -> None:
    generator = np.random.default_rng(1)
    checks = []
    for _ in range(50):
        risk, outcome, household = months_of(generator, 500, -3.0, drift=np.log(2))
        checks.append(calibration_in_the_large(outcome, risk, household))
    assert np.mean([c.warns for c in checks]) >= 0.95
    english, chinese = next(c for c in checks if c.warns).warning
    assert "too low" in english
    assert "偏低" in chinese
    halved = calibration_in_the_large(outcome, np.minimum(4 * risk, 0.9), household)
    assert "too high" in halved.warning[0]
    assert "偏高" in halved.as_json()["warning_zh"]


def test_many_falls_give_the_interval_of_the_bootstrap_over_households() -> None:
    risk, outcome, household = months_of(np.random.default_rng(2), 4000, -2.5)
    check = calibration_in_the_large(outcome, risk, household)
    ratio = {"ratio": lambda w: {"it": np.dot(1 if w is None else w, outcome) if w is None else w @ outcome / (w @ risk)}}
    drawn = resample(ratio, household, Intervals(replicates=300), 1).draws["ratio"]["it"]
    assert (check.low, check.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), rel=0.03)


def test_falls_that_are_known_before_the_rest_read_as_a_higher_rate_unless_weights_let_rows_stand_for_all() -> None:
    generator = np.random.default_rng(5)
    holds, warned = [], []
    for _ in range(200):
        risk, outcome, household = months_of(generator, 800, -2.5)
        known = (outcome == 1) | (generator.random(len(outcome)) < 0.6)
        weight = np.where(outcome == 1, 1.0, 1 / 0.6)[known]
        late = risk[known], household[known]
        check = calibration_in_the_large(outcome[known], *late, weight=weight)
        again = calibration_in_the_large(outcome[known], *late, weight=7 * weight)
        assert (again.ratio, again.low, again.high) == pytest.approx((check.ratio, check.low, check.high))
        holds.append(check.low <= 1 <= check.high)
        warned.append(calibration_in_the_large(outcome[known], *late).warns)
    assert np.mean(holds) >= 0.92
    assert np.mean(warned) >= 0.9


def test_nobody_fell_is_no_certainty() -> None:
    check = calibration_in_the_large(np.zeros(40), np.full(40, 0.05), np.repeat(np.arange(10), 4))
    assert (check.ratio, check.low) == (0, 0)
    assert check.high > 3
    assert not check.warns
    assert calibration_in_the_large(np.zeros(4000), np.full(4000, 0.05)).warns


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UsageError, match="known"):
        calibration_in_the_large(np.array([0, np.nan]), np.array([0.1, 0.1]))


def test_a_county_that_the_features_do_not_tell_shows_in_its_own_coverage() -> None:
    generator = np.random.default_rng(3)
    county = np.repeat(["a", "b", "c"], 2000)
    outcome = (generator.random(6000) < np.where(county == "c", 0.2, 0.05)).astype(float)
    ends = pd.DataFrame({"low": np.full(6000, 0.095), "high": np.full(6000, 0.105)})
    assert interval_coverage(outcome, ends).loc["all", "holds"]
    by_county = interval_coverage(outcome, ends, county)
    assert not by_county["holds"].any()
    assert by_county.loc["c", "rate_low"] > 0.105


def test_repeated_rows_of_a_household_widen_the_interval_of_its_county_s_rate() -> None:
    outcome, ends = np.repeat([1.0, *[0.0] * 19], 12), pd.DataFrame({"low": [0.1] * 240, "high": [0.2] * 240})
    as_rows = interval_coverage(outcome, ends).loc["all"]
    as_households = interval_coverage(outcome, ends, households=np.repeat(np.arange(20), 12)).loc["all"]
    assert as_rows["rate"] == as_households["rate"] == 0.05
    assert not as_rows["holds"]
    assert as_households["holds"]


def test_actions_are_counted_among_those_who_fell_and_those_who_did_not() -> None:
    outcome = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    action = np.array(["list", "visit", "leave", "leave", "list", "visit", "leave", "leave"])
    found = action_coverage(outcome, action, np.array(["a", "a", "a", "b"] * 2))
    assert found.loc["a", ["rows", "events"]].tolist() == [6, 3]
    assert found.loc["a", "reached"] == pytest.approx(2 / 3)
    assert found.loc["a", "spared"] == pytest.approx(2 / 3)
    assert found.loc["b", ["list", "visit", "leave", "reached", "spared"]].tolist() == [0, 0, 1, 0, 1]
