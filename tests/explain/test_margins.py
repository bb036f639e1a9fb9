"""The scoring kernel gives LightGBM's own predictions to the last bit, or leaves the model to it."""

from __future__ import annotations

import logging
from typing import Any

import lightgbm
import numpy as np
import pytest

from riskmodel.alerts.scoring import score
from riskmodel.explain import margins
from riskmodel.explain.margins import Margins, risks
from riskmodel.fallback import NotCovered, say_once
from riskmodel.model.boosters import KeptBooster
from riskmodel.model.tracking import load_model
from riskmodel.register import Register
from tests.county import AS_OF, County


def rows(seed: int, size: int = 3000, gaps: float = 0.1) -> np.ndarray:
    """Float32 rows with repeated values, zeros, missing values and infinities."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(size, 6)).astype(np.float32)
    X[:, 1] = np.round(X[:, 1], 1)
    X[:, 2] = generator.integers(0, 4, size)
    X[generator.random(X.shape) < gaps] = np.nan
    X[generator.random(X.shape) < 0.02] = 0
    X[generator.random(X.shape) < 0.01] = np.inf
    return X


def fitted(X: np.ndarray, rounds: int = 40, **params: Any) -> lightgbm.Booster:
    given = np.nan_to_num(X, nan=0.3, posinf=2)
    y = (given[:, 0] + given[:, 1] * given[:, 2] > 0.5).astype(float)
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, **params}
    data = lightgbm.Dataset(X, y, categorical_feature=params.pop("categorical_feature", "auto"))
    return lightgbm.train(settings, data, rounds)


@pytest.mark.parametrize(
    "params",
    [
        {"num_leaves": 15},
        {"num_leaves": 16, "max_bin": 15},
        {"num_leaves": 31, "zero_as_missing": True},
        {"num_leaves": 64, "learning_rate": 0.5},
        {"num_leaves": 200, "min_data_in_leaf": 2},
        {"num_leaves": 64, "max_bin": 2000, "min_data_in_bin": 1, "rounds": 200},
        {"num_leaves": 2},
        {"num_leaves": 15, "use_missing": False},
        {"num_leaves": 15, "monotone_constraints": [1, 0, 0, -1, 0, 0], "bagging_fraction": 0.5, "bagging_freq": 1},
        {"num_leaves": 15, "min_data_in_leaf": 100_000},
        {"num_leaves": 15, "boost_from_average": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_every_risk_is_lightgbms_own_to_the_last_bit(params: dict[str, Any], gaps: float) -> None:
    X = rows(0, gaps=gaps)
    booster = fitted(X, **params)
    asked = np.vstack([rows(1), X])
    found = Margins(booster)
    assert np.array_equal(found.of(asked), booster.predict(asked, raw_score=True, num_threads=1))
    assert np.array_equal(found.risk(asked), booster.predict(asked, num_threads=1))
    finer = asked.astype(np.float64) * (1 + 1e-9)
    assert np.array_equal(found.risk(finer), booster.predict(finer, num_threads=1))


def test_a_value_that_lies_on_a_threshold_goes_lightgbms_way() -> None:
    X = rows(2, gaps=0)
    booster = fitted(X)
    edges = np.concatenate([tree["tree_structure"]["threshold"] * np.ones(1) for tree in booster.dump_model()["tree_info"]])
    asked = np.repeat(X[:1], 3 * len(edges), axis=0)
    near = np.float32(edges)
    asked[:, 0] = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))])
    assert np.array_equal(Margins(booster).risk(asked), booster.predict(asked, num_threads=1))


def test_categories_and_early_stopping_are_kept() -> None:
    X = np.abs(rows(3, gaps=0.05))
    X[np.isinf(X)] = 1
    booster = fitted(X, categorical_feature=[2])
    assert np.array_equal(Margins(booster).risk(X), booster.predict(X, num_threads=1))
    booster.best_iteration = 7
    assert np.array_equal(Margins(booster).risk(X), booster.predict(X, num_threads=1))


def test_one_household_is_scored_as_among_others() -> None:
    X = rows(4, 700)
    found = Margins(fitted(X))
    whole = found.risk(X)
    assert np.array_equal(np.concatenate([found.risk(X[i : i + 1]) for i in range(0, 700, 7)]), whole[::7])
    assert len(found.risk(X[:0])) == 0


@pytest.mark.parametrize("params", [{"objective": "regression"}, {"objective": "quantile"}, {"sigmoid": 2.0}], ids=str)
def test_margins_of_other_objectives_are_lightgbms_own_but_no_risks(params: dict[str, Any]) -> None:
    X = rows(6)
    booster = fitted(X, **params)
    assert np.array_equal(Margins(booster).of(X), booster.predict(X, raw_score=True, num_threads=1))
    assert not Margins(booster).binary


def test_a_booster_kept_as_text_is_the_booster() -> None:
    X = rows(7)
    booster = fitted(X)
    kept = KeptBooster(booster.model_to_string())
    assert kept.feature_name() == booster.feature_name()
    assert np.array_equal(kept.predict(X, num_threads=1), booster.predict(X, num_threads=1))
    assert np.array_equal(Margins(kept).of(X), Margins(booster).of(X))


@pytest.mark.parametrize(
    "params",
    [
        {"num_leaves": 400, "min_data_in_leaf": 2},
        {"linear_tree": True},
        {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    ],
    ids=str,
)
def test_other_models_are_left_to_lightgbm(params: dict[str, Any]) -> None:
    with pytest.raises(NotCovered):
        Margins(fitted(rows(5, gaps=0), **params))


def test_without_numba_lightgbm_scores_and_one_line_says_so(
    county: County, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(county.folder / "results")
    features = score(Register.open(county.register), model, AS_OF).features
    expected = model.risk(features)
    assert np.array_equal(risks(model, features), expected)

    def missing() -> None:
        raise NotCovered("numba cannot be used (ImportError)")

    monkeypatch.setattr(margins, "_load_kernels", missing)
    margins._margins.cache_clear()
    say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for booster in (model.estimator.booster_, fitted(rows(5))):
            margins._margins(booster)
        for _ in range(2):
            assert np.array_equal(risks(model, features), expected)
    margins._margins.cache_clear()
    assert len(caplog.records) == 1 and "numba cannot be used" in caplog.text
