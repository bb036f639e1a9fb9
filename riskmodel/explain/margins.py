"""Risks of many rows by a compiled kernel, equal to LightGBM's own prediction to the last bit."""

from __future__ import annotations

import logging
import threading
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.explain.games import columns_of
from riskmodel.explain.trees import Forest, read_forest
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import logit
from riskmodel.model.estimators import LightGBM

log = logging.getLogger(__name__)
_CHUNK = 2**15
_ONE_AT_A_TIME = threading.Lock()  # not every threading layer of numba bears calls from several threads
_MOST_LEAVES = 64


class Margins:
    """Margins of a boosted LightGBM model.

    Attributes
    ----------
    binary
        Whether margins are log-odds.

    Raises
    ------
    NotCovered
        If the model has linear trees, several outputs, trees of more than 64 leaves, or averages its trees, or if numba
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
        kind = np.uint16 if most <= 16 else np.uint32 if most <= 32 else np.uint64
        self._columns, self._column, self._rank = columns_of(forest)
        self._full = np.array([np.iinfo(kind).max], kind)
        gone, self._value = _left_to_right(forest, kind)
        first, places = _in_fours(forest.first_split)
        self._trees = np.array([first, forest.first_leaf])
        self._gone = np.append(gone, self._full)[places]
        self._column = np.append(self._column, 0)[places]
        self._rank = np.append(self._rank, 0)[places].astype(self._columns.empty_ranks(0).dtype)

    def of(self, X: np.ndarray) -> np.ndarray:
        """Margins of rows x features, shape (rows,), as `booster.predict(X, raw_score=True)` gives them."""
        margins = np.zeros(len(X))
        for begin in range(0, len(X), _CHUNK):
            part = np.asfortranarray(X[begin : begin + _CHUNK], np.float64)
            ranks = self._columns.empty_ranks(len(part))
            with _ONE_AT_A_TIME:
                self._kernels.fill_ranks(self._columns, part, np.iinfo(ranks.dtype).max, ranks)
            self._kernels.add_margins(
                self._trees, self._column, self._rank, self._gone, self._value, ranks, self._full,
                margins[begin : begin + _CHUNK],
            )  # fmt: skip
        return margins

    def risk(self, X: np.ndarray) -> np.ndarray:
        """Probability of each row, shape (rows,), as `booster.predict(X)` gives it."""
        margins = self.of(X)
        out = np.empty(len(margins))
        self._kernels.logistic(margins, out)
        return out


class NotCovered(Exception):
    """The model is left to LightGBM; the message says why."""


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


@lru_cache(maxsize=64)
def _margins(booster: Any) -> Margins | None:
    try:
        return Margins(booster)
    except NotCovered as why:
        log.warning("%s: scored by LightGBM's own predict, some times slower.", why)
        return None


@cache
def _load_kernels() -> ModuleType:
    try:
        from riskmodel.explain import kernels
    except Exception as error:  # numba fails to load in many ways: missing, wrong numpy, no LLVM for the processor
        raise NotCovered(f"numba cannot be used ({type(error).__name__})") from None
    return kernels


def _in_fours(first_split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each tree's splits filled up to a multiple of four: where they begin, and the split at each place, -1 where none."""
    counts = np.diff(first_split)
    first = np.concatenate([[0], np.cumsum(-(-counts // 4) * 4)])
    places = np.full(first[-1], -1)
    places[np.repeat(first[:-1] - first_split[:-1], counts) + np.arange(first_split[-1])] = np.arange(first_split[-1])
    return first, places


def _left_to_right(forest: Forest, kind: type) -> tuple[np.ndarray, np.ndarray]:
    """For each split the leaves that stay when its left side goes, as bits, and leaf values from left to right."""
    gone = np.zeros(len(forest.feature), kind)
    value = np.empty(len(forest.value))
    every = int(np.iinfo(kind).max)
    for tree in range(forest.trees):
        split_0, leaf_0 = int(forest.first_split[tree]), int(forest.first_leaf[tree])
        children = forest.children[split_0 : forest.first_split[tree + 1]].tolist()
        count = 0
        open_parts: list[tuple[int, int]] = [(0, -1)] if children else [(-1, -1)]
        while open_parts:  # a part is a split or ~leaf; one that comes back with a start has its left side done
            part, start = open_parts.pop()
            if part < 0:
                value[leaf_0 + count] = forest.value[leaf_0 + ~part]
                count += 1
            elif start < 0:
                left, right = children[part]
                open_parts += [(right, -1), (part, count), (left, -1)]
            else:
                gone[split_0 + part] = every ^ ((1 << count) - (1 << start))
    return gone, value
