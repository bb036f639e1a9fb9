"""Exact Shapley values of groups of features, for any LightGBM model.

Groups are the players (Shapley 1953; Jullum et al. 2021): the value of a group is not the sum of its features' values.
With one group a feature they are those of TreeSHAP (Lundberg et al. 2020). How the leaves become tables that make a row
cheap: `riskmodel.explain.games`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from riskmodel.errors import UsageError
from riskmodel.explain.games import Paths, find_paths, join_siblings, shapley_weights
from riskmodel.explain.trees import find_booster, read_forest
from riskmodel.fallback import say_once

if TYPE_CHECKING:
    import pandas as pd
    import shap

Groups = Mapping[str, str] | Mapping[str, Sequence[str]]
Perturbation = Literal["auto", "tree_path_dependent", "interventional"]

_CHUNK, _LEAST = 2**15, 1000


class GroupExplainer:
    """Explains the margin of a LightGBM model by groups of features.

    The margin is what `booster.predict(X, raw_score=True)` gives: log-odds for a binary model, and for a random forest
    the sum of its trees, of which the prediction is the mean.

    Parameters
    ----------
    model
        A Booster, a fitted LightGBM scikit-learn model, or anything whose `booster_` is a Booster.
    groups
        Group of each feature, or features of each group; without it, each feature is a group.
    data
        Background for "interventional", rows x features. Its size does not change the time per row.
    feature_perturbation
        What an absent group is replaced by: "tree_path_dependent", the training rows at each split; "interventional",
        the rows of `data`. "auto" is interventional where `data` is given.
    threads
        Threads that explain a thousand rows or more each; by default one for each core. No value depends on it.

    Attributes
    ----------
    group_names
        Groups in the order of the values.
    expected_value
        The margin with all groups absent: a number, or one per class. It and a row's values add up to its margin.

    Raises
    ------
    UsageError
        If the model is not LightGBM's or has linear trees, if groups and features do not match, or if the background
        is missing, empty or not wanted.

    Examples
    --------
    >>> import lightgbm, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> data = lightgbm.Dataset(X, X[:, 0] + X[:, 1] * X[:, 2], feature_name=["debt", "pay", "work"])
    >>> booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, data, 20)
    >>> explainer = GroupExplainer(booster, {"debt": ["debt"], "job": ["pay", "work"]})
    >>> values = explainer.shap_values(X)
    >>> values.shape
    (500, 2)
    >>> bool(np.allclose(explainer.expected_value + values.sum(axis=1), booster.predict(X, raw_score=True)))
    True
    """

    def __init__(
        self,
        model: Any,
        groups: Groups | None = None,
        data: pd.DataFrame | np.ndarray | None = None,
        feature_perturbation: Perturbation = "auto",
        threads: int | None = None,
    ) -> None:
        booster = find_booster(model)
        self._forest = read_forest(booster)
        self._levels = booster.pandas_categorical or []
        self._threads = threads or os.cpu_count() or 1
        self.group_names, self._group_of = number_groups(groups, self._forest.features)
        self.feature_perturbation = _perturbation(feature_perturbation, data)
        self._paths = find_paths(self._forest, self._group_of)
        self._kernels = _load_kernels()
        shares, reach = self._from_training() if data is None else self._from_background(self._matrix(data))
        layout = self._paths.layout
        self._weights = shapley_weights(int(np.diff(layout.group_start).max(initial=1)))
        B, E = np.empty(len(shares)), np.empty(len(shares))
        self._kernels.tables_of_shares(layout, self._forest.value, self._weights, shares, B, E)
        self._joined, pairs = join_siblings(layout)
        self._B, self._E = (self._kernels.join_tables(layout, self._joined, pairs, table) for table in (B, E))
        margin = self._forest.value * reach
        output = np.repeat(np.arange(self._forest.trees) % self._forest.outputs, np.diff(self._forest.first_leaf))
        base = np.array([margin[output == k].sum() for k in range(self._forest.outputs)])
        self.expected_value = float(base[0]) if len(base) == 1 else base

    def __call__(self, X: pd.DataFrame | np.ndarray) -> shap.Explanation:
        """Values as `shap.Explanation`: rows x groups, or rows x groups x classes.

        `data` are the features' values where each group is one feature, else None: a group has no single value.
        """
        import shap

        matrix = self._matrix(X)
        values = self._values(matrix)
        single = len(self.group_names) == len(self._group_of)
        data = matrix[:, np.argsort(self._group_of)] if single else None
        base = np.broadcast_to(self.expected_value, (len(matrix), *np.shape(self.expected_value))).copy()
        return shap.Explanation(values, base, data, feature_names=list(self.group_names))

    def shap_values(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Values of each row: rows x groups, or rows x groups x classes, in the margin's unit.

        Parameters
        ----------
        X
            Rows x features; columns of a DataFrame are found by name, those of an array are in the model's order.

        Raises
        ------
        UsageError
            If columns are missing or not numbers.
        """
        return self._values(self._matrix(X))

    def _values(self, matrix: np.ndarray) -> np.ndarray:
        outputs = self._forest.outputs
        values = np.zeros((outputs, len(matrix), len(self.group_names)))
        size = min(_CHUNK, max(_LEAST, -(-len(matrix) // self._threads)))

        def explain(begin: int) -> None:
            ranks = self._ranks(matrix[begin : begin + size])
            for output in range(outputs):
                self._add(ranks, output, values[output, begin : begin + size])

        parts = range(0, len(matrix), size)
        if len(parts) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(explain, parts))
        else:
            list(map(explain, parts))
        return values[0] if outputs == 1 else np.moveaxis(values, 0, 2)

    def _ranks(self, matrix: np.ndarray) -> np.ndarray:
        ranks = self._paths.columns.empty_ranks(len(matrix))
        self._kernels.fill_ranks(self._paths.columns, matrix, np.iinfo(ranks.dtype).max, ranks)
        return ranks

    def _add(self, ranks: np.ndarray, output: int, values: np.ndarray) -> None:
        layout, outputs = self._paths.layout, self._forest.outputs
        trees = np.arange(output, self._forest.trees, outputs)
        self._kernels.add_tables(self._joined, ranks, trees, self._B, self._E, values)
        for leaf, route in self._paths.long.items():
            if (np.searchsorted(self._forest.first_leaf, leaf, side="right") - 1) % outputs != output:
                continue
            part = slice(layout.group_start[leaf], layout.group_start[leaf + 1])
            groups, value = layout.groups[part], self._forest.value[leaf]
            if leaf in self._references:
                told = *self._references[leaf], value, self._weights
                self._kernels.add_long_background(layout, ranks, route, groups, *told, values)
            else:
                nodes, weights = np.polynomial.legendre.leggauss((len(groups) + 1) // 2)
                told = self._paths.ratio[part], value, (nodes + 1) / 2, weights / 2
                self._kernels.add_long_path(layout, ranks, route, groups, *told, values)

    def _from_training(self) -> tuple[np.ndarray, np.ndarray]:
        """share(path without S) of all tables, and the share of training rows on each leaf."""
        self._references: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        shares = np.empty(self._paths.layout.table_start[-1])
        self._kernels.shares_of_training(self._paths.layout, self._paths.ratio, shares)
        return shares, self._forest.weight

    def _from_background(self, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """share(path without S) of all tables, and the share of the background on each leaf."""
        if not len(background):
            raise UsageError("the background has no rows: give data with at least one row.")
        layout, rows = self._paths.layout, len(background)
        shares = np.zeros(layout.table_start[-1])
        ranks = self._ranks(background)
        self._kernels.count_patterns(layout, ranks, shares)
        self._kernels.shares_of_background(layout, rows, shares)
        starts = layout.table_start
        reach = np.zeros(len(self._forest.value))
        with_table = np.diff(starts) > 0
        reach[with_table] = shares[starts[:-1][with_table]]
        self._references = {leaf: _references(self._paths, ranks, leaf) for leaf in self._paths.long}
        for leaf, (met, share) in self._references.items():
            reach[leaf] = share[met.all(axis=1)].sum()
        return shares, reach

    def _matrix(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Rows x features of float64 in the model's order."""
        features = self._forest.features
        if hasattr(X, "columns"):
            return self._from_frame(X)
        matrix = np.asarray(X)
        if matrix.ndim != 2 or matrix.shape[1] != len(features):
            raise UsageError(f"rows have shape {matrix.shape}; expected (rows, {len(features)}), the model's features.")
        return _numbers(matrix, "the array")

    def _from_frame(self, X: pd.DataFrame) -> np.ndarray:
        names = {str(c).replace(" ", "_"): c for c in X.columns} | {str(c): c for c in X.columns}
        missing = [f for f in self._forest.features if f not in names]
        if missing:
            raise UsageError(f"columns are missing: {_listed(missing)}. {_suggestion(missing[0], list(names))}".rstrip())
        matrix, level = np.empty((len(X), len(self._forest.features))), 0
        for position, feature in enumerate(self._forest.features):
            column = X[names[feature]]
            if column.dtype == "category":
                if level >= len(self._levels):
                    raise UsageError(f"column {feature} is categorical, but the model was trained without its categories.")
                codes = np.asarray(column.cat.set_categories(self._levels[level]).cat.codes, float)
                matrix[:, position], level = np.where(codes < 0, np.nan, codes), level + 1
            else:
                matrix[:, position] = _numbers(column.to_numpy(dtype=None, na_value=np.nan), f"column {feature}")
        return matrix


def number_groups(groups: Groups | None, features: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the groups as they first appear, and the number of the group of each feature.

    Raises
    ------
    UsageError
        If a group is empty, a feature is unknown, in no group or in two.

    >>> number_groups({"pay": "job", "debt": "debt", "work": "job"}, ["debt", "pay", "work"])
    (('job', 'debt'), array([1, 0, 0]))
    """
    if groups is None:
        return tuple(features), np.arange(len(features))
    if not groups:
        raise UsageError("groups are empty: give the group of each feature, or the features of each group.")
    kinds = {isinstance(v, str) for v in groups.values()}
    if len(kinds) > 1:
        raise UsageError("groups mix two forms: give either the group of each feature or a list of features per group.")
    if kinds == {True}:
        pairs = [(str(f), str(g)) for f, g in groups.items()]
    else:
        empty = [str(g) for g, members in groups.items() if not len(members)]
        if empty:
            raise UsageError(f"groups without features: {_listed(empty)}.")
        pairs = [(str(f), str(g)) for g, members in groups.items() for f in members]
    known = set(features)
    unknown = [f for f, _ in pairs if f not in known]
    if unknown:
        raise UsageError(f"the model has no features {_listed(unknown)}. {_suggestion(unknown[0], features)}".rstrip())
    of: dict[str, str] = {}
    for feature, group in pairs:
        if of.setdefault(feature, group) != group:
            raise UsageError(f"feature {feature} is in two groups: {of[feature]} and {group}.")
    without = [f for f in features if f not in of]
    if without:
        raise UsageError(f"features without a group: {_listed(without)}.")
    names = tuple(dict.fromkeys(g for _, g in pairs))
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[of[f]] for f in features], dtype=np.int64)


def _perturbation(asked: str, data: object) -> str:
    if asked == "auto":
        return "tree_path_dependent" if data is None else "interventional"
    if asked not in ("tree_path_dependent", "interventional"):
        raise UsageError(f"feature_perturbation is {asked!r}; known: auto, tree_path_dependent, interventional.")
    if (asked == "interventional") != (data is not None):
        wrong = "needs a background: give data" if data is None else "takes no background: leave data out"
        raise UsageError(f"feature_perturbation={asked!r} {wrong}.")
    return asked


def _references(paths: Paths, ranks: np.ndarray, leaf: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct patterns of met groups in a background (patterns x groups) and the share of each."""
    splits, left, place = paths.long[leaf]
    goes_left = ranks[paths.layout.column[splits]] <= paths.layout.rank[splits][:, None]
    met = np.ones((place.max() + 1, ranks.shape[1]), bool)
    for decision, side, group in zip(goes_left, left, place, strict=True):
        met[group] &= decision == side
    patterns, counts = np.unique(met.T, axis=0, return_counts=True)
    return np.ascontiguousarray(patterns), counts / ranks.shape[1]


def _numbers(values: np.ndarray, where: str) -> np.ndarray:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where} holds values that are not numbers.") from error


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, 1)
    return f"Did you mean {close[0]}?" if close else ""


@cache
def _load_kernels() -> ModuleType:
    try:
        return import_module("riskmodel.explain.kernels")
    except Exception as error:  # numba fails to load in many ways: missing, wrong numpy, no LLVM for the processor
        from riskmodel.explain import plain

        say_once(f"numba cannot be used ({error}): driver values are computed with numpy, many times slower.")
        return plain
