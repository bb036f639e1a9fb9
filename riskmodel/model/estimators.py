"""Models and baselines behind one seam: `fit`, `predict_proba`, `feature_names_in_`, `get_params`.

A model that can be kept writes itself as text or JSON (`save`) and is read back by `load_estimator`; nothing is
pickled. A model that can be explained gives `contributions`: log-odds per feature, and the base they add to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from riskmodel.cohort.inputs import Inputs
from riskmodel.errors import UsageError
from riskmodel.model.boosters import KeptBooster
from riskmodel.model.calibration import probability

DISTANCE = "log_ratio_now"
LAST_STATUS = "months_since_below"
_FAR = 3.0
OFFICE_RATIO = 1.2
OFFICE_MONTHS = 12
OFFICE_EVENTS = (
    "months_since_illness", "months_since_accident", "months_since_disaster", "months_since_job_loss",
    "months_since_market", "months_since_disability",
)  # fmt: skip

LIGHTGBM_DEFAULTS: dict[str, Any] = {
    "objective": "binary",
    "n_estimators": 800,
    "learning_rate": 0.025,
    "num_leaves": 15,
    "min_data_in_leaf": 150,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


class Estimator(Protocol):
    """What training asks of a model. `fit` takes float features (rows x features, NaN allowed) and 0/1 outcomes.

    Features come as a table or as `Inputs`, of which a model reads what it needs.
    """

    name: ClassVar[str]
    calibrated: ClassVar[bool]
    feature_names_in_: np.ndarray

    def fit(self, X: pd.DataFrame | Inputs, y: np.ndarray) -> Estimator: ...

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray: ...

    def get_params(self, deep: bool = True) -> dict[str, Any]: ...


class _Model:
    """Shared parts of the seam. `calibrated` says that training fits a calibration on later months."""

    calibrated: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return dict(self._params)

    def __init__(self, **params: Any) -> None:
        self._params = params

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Probabilities of no outcome and of the outcome, shape (rows, 2)."""
        risk = self._risk(X)
        return np.column_stack([1 - risk, risk])

    def _named(self, X: pd.DataFrame | Inputs) -> None:
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)

    def can(self, features: Sequence[str]) -> bool:
        """Whether the register's features are enough for this model."""
        return set(self.needs) <= set(features)


class BaseRate(_Model):
    """Everybody has the rate of the training months."""

    name: ClassVar[str] = "base_rate"

    def fit(self, X: pd.DataFrame | Inputs, y: np.ndarray) -> BaseRate:
        self._named(X)
        self._rate = float(np.mean(y))
        return self

    def _risk(self, X: pd.DataFrame) -> np.ndarray:
        return np.full(len(X), self._rate)

    def save(self) -> dict[str, Any]:
        return {"rate": self._rate}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._rate = state["rate"]


class _Ranker(_Model):
    """Ranks by one number; isotonic regression turns the rank into a risk."""

    def fit(self, X: pd.DataFrame | Inputs, y: np.ndarray) -> _Ranker:
        from sklearn.isotonic import IsotonicRegression

        self._named(X)
        found = IsotonicRegression(out_of_bounds="clip").fit(self._number(X), y)
        self._x, self._y = found.X_thresholds_, found.y_thresholds_
        return self

    def _risk(self, X: pd.DataFrame) -> np.ndarray:
        return np.interp(self._number(X), self._x, self._y)

    def _number(self, X: pd.DataFrame | Inputs) -> np.ndarray:
        raise NotImplementedError

    def save(self) -> dict[str, Any]:
        return {"x": list(map(float, self._x)), "y": list(map(float, self._y))}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._x, self._y = np.array(state["x"]), np.array(state["y"])


class LastStatus(_Ranker):
    """Whoever was below the line most recently comes first."""

    name: ClassVar[str] = "last_status"
    needs = (LAST_STATUS,)

    def _number(self, X: pd.DataFrame | Inputs) -> np.ndarray:
        return -X[LAST_STATUS].fillna(36).to_numpy(float)


class DistanceToLine(_Ranker):
    """Whoever is nearest to the line comes first."""

    name: ClassVar[str] = "distance_to_line"
    needs = (DISTANCE,)

    def _number(self, X: pd.DataFrame | Inputs) -> np.ndarray:
        return -X[DISTANCE].fillna(_FAR).to_numpy(float)


class OfficeRule(_Ranker):
    """The office's rule of thumb: income under 1.2 times the line, and each kind of event in the last 12 months, count."""

    name: ClassVar[str] = "office_rule"
    needs = (DISTANCE,)

    def _number(self, X: pd.DataFrame | Inputs) -> np.ndarray:
        near = (X[DISTANCE] < np.log(OFFICE_RATIO)).to_numpy(float)
        events = [(X[e] < OFFICE_MONTHS).to_numpy(float) for e in OFFICE_EVENTS if e in X]
        return near + sum(events, np.zeros(len(X)))


class _Logit(_Model):
    """Logistic regression on median-filled, clipped and standardised features; gaps have indicators of their own."""

    calibrated: ClassVar[bool] = True

    def __init__(self, C: float = 1.0) -> None:
        super().__init__(C=C)

    def _columns(self, X: pd.DataFrame | Inputs) -> list[str]:
        return list(X.columns)

    def fit(self, X: pd.DataFrame | Inputs, y: np.ndarray) -> _Logit:
        from sklearn.linear_model import LogisticRegression

        self._named(X)
        values = X[self._columns(X)].to_numpy(float)
        known = ~np.isnan(values).all(axis=0)
        self._use = [c for c, k in zip(self._columns(X), known, strict=True) if k]
        values = values[:, known]
        self._median = np.nanmedian(values, axis=0)
        self._low, self._high = np.nanquantile(values, [0.001, 0.999], axis=0)
        gaps = np.isnan(values).mean(axis=0)
        self._gaps = [c for c, share in zip(self._use, gaps, strict=True) if 0.01 < share < 0.99]
        design = self._design(X, scaled=False)
        self._mean, scale = design.mean(axis=0), design.std(axis=0)
        self._scale = np.where(scale > 1e-12, scale, 1.0)
        model = LogisticRegression(C=self._params["C"], max_iter=2000).fit((design - self._mean) / self._scale, y)
        self._coef, self._intercept = model.coef_[0], float(model.intercept_[0])
        return self

    def _design(self, X: pd.DataFrame | Inputs, scaled: bool = True) -> np.ndarray:
        values = X[self._use].to_numpy(float)
        gap = np.isnan(values)
        filled = np.clip(np.where(gap, self._median, values), self._low, self._high)
        marks = gap[:, [self._use.index(c) for c in self._gaps]].astype(float)
        design = np.hstack([filled, marks])
        return (design - self._mean) / self._scale if scaled else design

    def _risk(self, X: pd.DataFrame) -> np.ndarray:
        # A product of matrices would round a household's sum by the households beside it.
        parts = np.ascontiguousarray(self._design(X)) * self._coef
        return probability(parts.sum(axis=1) + self._intercept)

    def contributions(self, X: pd.DataFrame) -> tuple[np.ndarray, float]:
        """Log-odds per feature against the training mean (rows x features in), and the base."""
        parts = self._design(X) * self._coef
        full = pd.DataFrame(0.0, index=range(len(X)), columns=list(self.feature_names_in_))
        for position, column in enumerate([*self._use, *self._gaps]):
            full[column] += parts[:, position]
        return full.to_numpy(), self._intercept

    def save(self) -> dict[str, Any]:
        arrays = ("_median", "_low", "_high", "_mean", "_scale", "_coef")
        return {a: list(map(float, getattr(self, a))) for a in arrays} | {
            "_use": self._use, "_gaps": self._gaps, "_intercept": self._intercept,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        for key, value in state.items():
            numbers = isinstance(value, list) and key not in ("_use", "_gaps")
            setattr(self, key, np.array(value, float) if numbers else value)


class OneVariableLogit(_Logit):
    """Logistic regression on the distance to the line alone."""

    name: ClassVar[str] = "one_variable_logit"
    calibrated: ClassVar[bool] = False
    needs = (DISTANCE,)

    def _columns(self, X: pd.DataFrame | Inputs) -> list[str]:
        return [DISTANCE]


class LogisticModel(_Logit):
    """Logistic regression on all inputs."""

    name: ClassVar[str] = "logistic_regression"

    def __init__(self, C: float = 0.1) -> None:
        super().__init__(C=C)


class HistGradientBoosting(_Model):
    """scikit-learn's histogram gradient boosting, for comparison; it is not kept as a bundle."""

    name: ClassVar[str] = "hist_gradient_boosting"
    calibrated: ClassVar[bool] = True

    def __init__(self, monotone: Mapping[str, int] | None = None, seed: int = 0) -> None:
        super().__init__(max_iter=300, learning_rate=0.05, max_leaf_nodes=31, min_samples_leaf=100, l2=1.0, seed=seed)
        self._monotone = dict(monotone or {})

    def fit(self, X: pd.DataFrame | Inputs, y: np.ndarray) -> HistGradientBoosting:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self._named(X)
        self._use = [c for c in X.columns if X[c].nunique() > 1]  # its binning fails on a column without values
        self._model = HistGradientBoostingClassifier(
            max_iter=self._params["max_iter"],
            learning_rate=self._params["learning_rate"],
            max_leaf_nodes=self._params["max_leaf_nodes"],
            min_samples_leaf=min(self._params["min_samples_leaf"], max(2, len(X) // 50)),
            l2_regularization=self._params["l2"],
            max_features=0.5,
            monotonic_cst={f: self._monotone[f] for f in self._use if f in self._monotone},
            early_stopping=False,
            random_state=self._params["seed"],
        ).fit(X[self._use].astype(np.float32), y)
        return self

    def _risk(self, X: pd.DataFrame) -> np.ndarray:
        return self._model.predict_proba(X[self._use].astype(np.float32))[:, 1]


class LightGBM(_Model):
    """LightGBM on rows in the order given (callers keep it canonical), deterministic.

    One thread: splits are fitted side by side instead, which is as fast on idle cores and does not collapse on busy
    ones, where the barriers of a multi-threaded fit cost more than the fit.
    """

    name: ClassVar[str] = "lightgbm"
    calibrated: ClassVar[bool] = True

    def __init__(
        self,
        monotone: Mapping[str, int] | None = None,
        seed: int = 0,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(**{**LIGHTGBM_DEFAULTS, "seed": seed, **(overrides or {})})
        self._monotone = dict(monotone or {})

    def fit(self, X: pd.DataFrame | Inputs, y: np.ndarray) -> LightGBM:
        import lightgbm

        from riskmodel.model.binned import binned

        self._named(X)
        params = dict(self._params)
        rounds = int(params.pop("n_estimators"))
        params["min_data_in_leaf"] = min(int(params["min_data_in_leaf"]), max(5, len(X) // 100))
        constraints = [self._monotone.get(f, 0) for f in X.columns]
        if any(constraints):
            params["monotone_constraints"] = constraints
        self.booster_ = lightgbm.train(params, binned(Inputs.of(X), y, params), num_boost_round=rounds)
        return self

    def _matrix(self, X: pd.DataFrame) -> np.ndarray:
        return X[list(self.feature_names_in_)].to_numpy(np.float32)

    def _risk(self, X: pd.DataFrame) -> np.ndarray:
        return self.booster_.predict(self._matrix(X), num_threads=1)

    def contributions(self, X: pd.DataFrame) -> tuple[np.ndarray, float]:
        """SHAP values of the log-odds (path-dependent TreeSHAP, Lundberg et al. 2020), rows x features, and the base."""
        if not len(X):
            return np.zeros((0, len(self.feature_names_in_))), 0.0
        values = self.booster_.predict(self._matrix(X), pred_contrib=True)
        return values[:, :-1], float(values[0, -1])

    def save_text(self, path: Path) -> None:
        """Write the booster as LightGBM's own text."""
        path.write_text(self.booster_.model_to_string(), encoding="utf-8")

    def load_text(self, path: Path) -> None:
        """Read the booster from LightGBM's own text; the caller has verified its hash."""
        self.booster_ = KeptBooster(path.read_text(encoding="utf-8"))
        self.feature_names_in_ = np.asarray(self.booster_.feature_name(), dtype=object)


_ALL = (
    BaseRate,
    LastStatus,
    DistanceToLine,
    OfficeRule,
    OneVariableLogit,
    LogisticModel,
    HistGradientBoosting,
    LightGBM,
)
_BY_NAME = {model.name: model for model in _ALL}


def make_estimator(
    name: str,
    *,
    monotone: Mapping[str, int] | None = None,
    seed: int = 0,
    lightgbm: Mapping[str, Any] | None = None,
) -> Estimator:
    """A model by its name in the settings.

    Raises
    ------
    UsageError
        If there is no such model.
    """
    if name == "lightgbm":
        return LightGBM(monotone, seed, lightgbm)
    if name == "hist_gradient_boosting":
        return HistGradientBoosting(monotone, seed)
    if name not in _BY_NAME:
        raise UsageError(f"unknown model {name!r}; known: {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]()


def can_register(name: str) -> bool:
    """Whether a model can be kept without pickling and gives the contributions that alerts need.

    >>> [name for name in _BY_NAME if can_register(name)]
    ['one_variable_logit', 'logistic_regression', 'lightgbm']
    """
    model = _BY_NAME[name]
    return hasattr(model, "contributions") and (hasattr(model, "save") or hasattr(model, "save_text"))


def save_estimator(model: Estimator, folder: Path) -> None:
    """Write a fitted model: `model.txt` for LightGBM, `model.json` for the others.

    Raises
    ------
    UsageError
        If this kind of model cannot be kept without pickling.
    """
    if isinstance(model, LightGBM):
        model.save_text(folder / "model.txt")
    elif hasattr(model, "save"):
        state = {"features": list(model.feature_names_in_), "params": model.get_params(), "state": model.save()}
        (folder / "model.json").write_text(json.dumps(state), encoding="utf-8")
    else:
        raise UsageError(f"{model.name} is for comparison and cannot be registered: choose lightgbm or a logit.")


def load_estimator(name: str, folder: Path) -> Estimator:
    """Read a model that `save_estimator` wrote, its hash verified by the caller."""
    model = make_estimator(name)
    if isinstance(model, LightGBM):
        model.load_text(folder / "model.txt")
        return model
    kept = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    model.feature_names_in_ = np.asarray(kept["features"], dtype=object)
    model._params = kept["params"]
    model.restore(kept["state"])
    return model
