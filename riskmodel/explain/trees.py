"""A LightGBM model as flat arrays, and its decisions reproduced exactly.

Read from LightGBM's own text, where thresholds and leaf values are exact. Trees are numbered as they were boosted; the
splits and leaves of all trees lie one after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from riskmodel.errors import UsageError

if TYPE_CHECKING:
    import lightgbm

ZERO = float(np.float32(1e-35))
LESS, LESS_OR_NAN, ZERO_LEFT, ZERO_RIGHT, CATEGORY = range(5)
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_NONE, _MISSING_ZERO = 0, 1


@dataclass(frozen=True)
class Forest:
    """All trees of a model, in arrays of splits, leaves and trees.

    Attributes
    ----------
    features
        Names of the inputs, in the order the model takes them.
    outputs
        Margins per row: 1, or the number of classes. Tree `t` adds to margin `t % outputs`.
    first_split, first_leaf
        Where the splits and leaves of each tree begin, trees + 1.
    feature, threshold, rule
        Per split: the input it asks, the number it compares with (the number of its bitset if categorical), and how:
        `LESS` (x <= threshold goes left, missing right), `LESS_OR_NAN` (missing left), `ZERO_LEFT`, `ZERO_RIGHT`
        (missing and zero go to that side) or `CATEGORY` (left if in the bitset).
    children
        Splits x 2, left and right within the tree: a split if not negative, else `~leaf`.
    cover
        Splits x 2: share of the split's training rows that went left and right.
    value, weight
        Per leaf: what it adds to the margin, and its share of the tree's training rows.
    bitset_start, bitsets
        Categories that go left, 32 a word, and where each bitset begins.
    """

    features: tuple[str, ...]
    outputs: int
    first_split: np.ndarray
    first_leaf: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    rule: np.ndarray
    children: np.ndarray
    cover: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    bitset_start: np.ndarray
    bitsets: np.ndarray

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.first_leaf) - 1


def find_booster(model: Any) -> lightgbm.Booster:
    """The booster of a model: itself, or the `booster_` of a fitted scikit-learn model.

    Raises
    ------
    UsageError
        If the model is not LightGBM's, or not fitted.
    """
    booster = getattr(model, "booster_", model)
    if booster is model and hasattr(type(model), "booster_"):
        raise UsageError(f"{type(model).__name__} is not fitted: call fit first.")
    if not (hasattr(booster, "model_to_string") and hasattr(booster, "feature_name")):
        raise UsageError(f"{type(model).__name__} is not a LightGBM model: give a Booster, LGBMClassifier or LGBMRegressor.")
    return booster


def read_forest(booster: lightgbm.Booster) -> Forest:
    """The trees that `booster.predict` uses: up to the best iteration where training stopped early.

    Raises
    ------
    UsageError
        If leaves hold linear models, which are not constant on a leaf.
    """
    return _read(booster.model_to_string(), tuple(booster.feature_name()))


@lru_cache(maxsize=4)
def _read(text: str, features: tuple[str, ...]) -> Forest:
    header, *blocks = text.split("\n\nend of trees")[0].split("\nTree=")
    trees = [_fields(block) for block in blocks]
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise UsageError("the model has linear trees (linear_tree=true), whose leaves are not constants: retrain without.")
    leaves = np.array([int(tree["num_leaves"]) for tree in trees], np.int64)
    first_leaf, first_split = np.cumsum([0, *leaves]), np.cumsum([0, *(leaves - 1)])
    split_trees = [tree for tree, many in zip(trees, leaves, strict=True) if many > 1]

    def numbers(name: str, kind: type, of: Sequence[Mapping[str, str]] = split_trees) -> np.ndarray:
        return np.array(" ".join(tree.get(name, "") for tree in of).split(), kind)

    on_leaf = np.zeros(first_leaf[-1])  # training rows; a tree of one leaf need not tell its own
    on_leaf[np.repeat(leaves > 1, leaves)] = numbers("leaf_count", np.float64)

    children = np.column_stack([numbers("left_child", np.int64), numbers("right_child", np.int64)])
    tree_of = np.repeat(np.arange(len(trees)), leaves - 1)[:, None]
    counts = np.where(
        children >= 0,
        numbers("internal_count", np.float64)[np.where(children >= 0, first_split[tree_of] + children, 0)],
        on_leaf[np.where(children < 0, first_leaf[tree_of] + ~children, 0)],
    )
    total = counts.sum(axis=1, keepdims=True)
    cover = np.divide(counts, total, out=np.full(counts.shape, 0.5), where=total > 0)
    threshold = numbers("threshold", np.float64)
    rule = _rules(threshold, numbers("decision_type", np.int64))
    bounds = [np.array(tree.get("cat_boundaries", "0").split(), np.int64) for tree in trees]
    sets = np.concatenate([[0], *(np.diff(b) for b in bounds)])
    before = np.cumsum([0, *(len(b) - 1 for b in bounds)])
    return Forest(
        features=features,
        outputs=int(_fields(header)["num_tree_per_iteration"]),
        first_split=first_split,
        first_leaf=first_leaf,
        feature=numbers("split_feature", np.int64),
        threshold=threshold + before[tree_of[:, 0]] * (rule == CATEGORY),
        rule=rule,
        children=children,
        cover=cover,
        value=numbers("leaf_value", np.float64, trees),
        weight=_weights(first_split, first_leaf, children, cover),
        bitset_start=np.cumsum(sets),
        bitsets=numbers("cat_threshold", np.uint32),
    )


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _rules(threshold: np.ndarray, decision: np.ndarray) -> np.ndarray:
    """How each split decides; a missing value reads as zero where training saw none, and is never in a category set."""
    missing, left = decision >> 2 & 3, (decision & _DEFAULT_LEFT) > 0
    nan_left = np.where(missing == _MISSING_NONE, threshold >= 0, left)
    return np.select(
        [(decision & _CATEGORICAL) > 0, missing == _MISSING_ZERO],
        [CATEGORY, np.where(left, ZERO_LEFT, ZERO_RIGHT)],
        np.where(nan_left, LESS_OR_NAN, LESS),
    )


def _weights(first_split: np.ndarray, first_leaf: np.ndarray, children: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Share of a tree's training rows on each leaf: of all trees at once, one split of each after the other."""
    weight, reach = np.ones(first_leaf[-1]), np.ones(len(children))
    for place in range(int(np.diff(first_split).max(initial=0))):
        trees = np.flatnonzero(np.diff(first_split) > place)
        splits = first_split[trees] + place
        for side in (0, 1):
            child, share = children[splits, side], reach[splits] * cover[splits, side]
            at_leaf = child < 0
            weight[first_leaf[trees[at_leaf]] + ~child[at_leaf]] = share[at_leaf]
            reach[first_split[trees[~at_leaf]] + child[~at_leaf]] = share[~at_leaf]
    return weight
