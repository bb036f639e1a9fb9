"""The counterfactual check: put back to its usual values, a driver that matters lowers the risk."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.explain.drivers import effects, spread
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.estimators import make_estimator
from riskmodel.settings import Run

INPUTS = ["log_ratio_now", "months_since_illness", "work_intensity_3m", "schooling_years"]


@pytest.fixture(scope="module")
def model() -> RiskModel:
    """A model in which illness and few days worked raise the risk, and schooling does nothing."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {
            "log_ratio_now": rng.normal(0.5, 0.3, 4000), "months_since_illness": rng.choice([1.0, 36.0], 4000),
            "work_intensity_3m": rng.uniform(0.2, 1, 4000), "schooling_years": rng.integers(6, 12, 4000).astype(float),
        }
    )  # fmt: skip
    odds = -2 - 2 * x["log_ratio_now"] + 2 * (x["months_since_illness"] < 12) - 3 * (x["work_intensity_3m"] - 0.9)
    y = (rng.random(4000) < 1 / (1 + np.exp(-odds))).astype(float).to_numpy()
    estimator = make_estimator("lightgbm", lightgbm={"n_estimators": 60}).fit(x[INPUTS].astype(np.float32), y)
    return RiskModel(estimator, Calibration(), Run(), load_catalogue())


ILL = pd.DataFrame(
    {
        "log_ratio_now": [0.2], "months_since_illness": [1.0], "work_intensity_3m": [0.3], "schooling_years": [6.0],
        "work_intensity_usual": [0.95],
    }
)  # fmt: skip
GROUPS = {"illness": ["illness"], "work": ["work"], "both": ["illness", "work"], "skills": ["skills"]}


def test_without_the_illness_and_with_the_days_it_used_to_work_the_household_is_safer(model: RiskModel) -> None:
    found = effects(model, ILL, GROUPS).iloc[0]
    assert found["illness"] > 0.3
    assert found["work"] > 0.3
    assert found["both"] > max(found["illness"], found["work"])


def test_a_condition_without_a_usual_value_has_no_counterfactual(model: RiskModel) -> None:
    assert np.isnan(effects(model, ILL, GROUPS)["skills"].iloc[0])


def test_where_the_usual_value_is_not_on_record_nothing_is_put_back(model: RiskModel) -> None:
    unknown = ILL.assign(work_intensity_usual=np.nan)
    assert effects(model, unknown, GROUPS)["work"].iloc[0] == 0


def test_nothing_is_changed_in_the_table_given(model: RiskModel) -> None:
    before = ILL.copy()
    effects(model, ILL, GROUPS)
    pd.testing.assert_frame_equal(before, ILL)


def test_a_model_without_behaviour_has_none_to_put_back(model: RiskModel) -> None:
    rng = np.random.default_rng(1)
    x = pd.DataFrame({"log_ratio_now": rng.normal(0, 1, 500)})
    plain = make_estimator("lightgbm", lightgbm={"n_estimators": 5}).fit(
        x.astype(np.float32), (rng.random(500) < 0.3).astype(float)
    )
    assert effects(dataclasses.replace(model, estimator=plain), ILL, GROUPS).isna().all(axis=None)


def test_points_of_a_spread_stand_for_enough_households_and_lose_nobody() -> None:
    rng = np.random.default_rng(2)
    values, feature = rng.normal(size=437), rng.normal(size=437)
    feature[:100] = np.nan
    points = spread(values, feature, least=10)
    assert len(points) == 40 and sum(p["households"] for p in points) == 437
    assert min(p["households"] for p in points) >= 10
    assert sum(p["log_odds"] * p["households"] for p in points) == pytest.approx(values.sum(), abs=0.1)
    assert spread(values[:9], feature[:9], least=10) == []
    assert spread(values[:20], np.full(20, np.nan), least=10)[0]["standing"] is None
