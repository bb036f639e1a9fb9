"""Risks of many rows by a compiled kernel, equal to LightGBM's own prediction to the last bit."""

from __future__ import annotations

from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.explain.games import Columns, columns_of
from riskmodel.explain.trees import read_forest
from riskmodel.fallback import NotCovered, say_once
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import logit
from riskmodel.model.estimators import LightGBM

_CHUNK = 2**15
_MOST_LEAVES = 256


class Margins:
    """Margins of a boosted LightGBM model.

    Attributes
    ----------
    binary
        Whether margins are log-odds.

    Raises
    ------
    NotCovered
        If the model has linear trees, several outputs, trees of more than 256 leaves, or averages its trees, or if numba
        cannot be used.
    """

    def __init__(self, booster: Any) -> None:
        self._kernels = _load_kernels()
        text = booster.model_to_string()
        header = text.split("\nTree=")[0]
        if "is_linear=1" in text:
            raise NotCovered("linear trees")
        if "average_output" in header:
            raise NotCovered("trees that are averaged")
        self.binary = "objective=binary sigmoid:1\n" in header + "\n"
        forest = read_forest(booster)
        most = int(np.diff(forest.first_leaf).max(initial=1))
        if forest.outputs != 1 or most > _MOST_LEAVES:
            raise NotCovered(f"trees of {most} leaves")
        columns, self._column, rank = columns_of(forest)
        self._columns = {np.dtype(np.float64): columns, np.dtype(np.float32): _in_single_precision(columns)}
        self._rank = rank.astype(columns.empty_ranks(0).dtype)
        self._forest = forest.first_split, forest.first_leaf, forest.children, forest.value

    def of(self, X: np.ndarray) -> np.ndarray:
        """Margins of rows x features, shape (rows,), as `booster.predict(X, raw_score=True)` gives them."""
        if X.dtype not in self._columns:
            X = X.astype(np.float64)
        columns = self._columns[X.dtype]
        margins = np.zeros(len(X) + -len(X) % 64)
        for begin in range(0, len(X), _CHUNK):
            part = np.asfortranarray(X[begin : begin + _CHUNK])
            here = margins[begin : begin + _CHUNK]
            ranks = columns.empty_ranks(len(here))
            ranks[:, len(part) :] = 0
            self._kernels.fill_ranks(columns, part, np.iinfo(ranks.dtype).max, ranks)
            self._kernels.add_margins(self._forest, self._column, self._rank, ranks, here)
        return margins[: len(X)]

    def risk(self, X: np.ndarray) -> np.ndarray:
        """Probability of each row, shape (rows,), as `booster.predict(X)` gives it."""
        margins = self.of(X)
        out = np.empty(len(margins))
        self._kernels.logistic(margins, out)
        return out


def risks(model: RiskModel, features: pd.DataFrame) -> np.ndarray:
    """`RiskModel.risk`, of LightGBM several times faster."""
    found = _margins(model.estimator.booster_) if isinstance(model.estimator, LightGBM) else None
    if found is None or not found.binary:
        return model.risk(features)
    return model.calibration.apply(found.risk(model.matrix(features).to_numpy()))


def log_odds(model: RiskModel, features: pd.DataFrame) -> np.ndarray:
    """Log-odds of `risks`."""
    return logit(risks(model, features))


def margins(booster: Any, X: np.ndarray) -> np.ndarray:
    """What `booster.predict(X, raw_score=True)` gives, by the kernel where it covers the model."""
    found = _margins(booster)
    return booster.predict(X, raw_score=True, num_threads=1) if found is None else found.of(X)


def _in_single_precision(columns: Columns) -> Columns:
    """The same comparisons of float32: such a number is above a threshold if it is above the next float32 at or below it."""
    found = columns.thresholds.astype(np.float32)
    too_high = found > columns.thresholds
    found[too_high] = np.nextafter(found[too_high], np.float32(-np.inf))
    return columns._replace(thresholds=found)


@lru_cache(maxsize=64)
def _margins(booster: Any) -> Margins | None:
    try:
        return Margins(booster)
    except NotCovered as why:
        say_once(f"{why}: scored by LightGBM's own predict, some times slower.")
        return None


@cache
def _load_kernels() -> ModuleType:
    try:
        from riskmodel.explain import kernels
    except Exception as error:  # numba fails to load in many ways: missing, wrong numpy, no LLVM for the processor
        raise NotCovered(f"numba cannot be used ({type(error).__name__})") from None
    return kernels
