"""A LightGBM model as flat arrays, and its decisions reproduced exactly.

Read from LightGBM's own text, where thresholds and leaf values are exact. Trees are numbered as they were boosted; the
splits and leaves of all trees lie one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    header, *blocks = booster.model_to_string().split("\n\nend of trees")[0].split("\nTree=")
    about = _fields(header)
    outputs = int(about["num_tree_per_iteration"])
    trees = [_tree(_fields(block)) for block in blocks]
    words = [len(w) for t in trees for w in t["bitsets"]]
    before = np.cumsum([0, *(len(t["bitsets"]) for t in trees)])
    for tree, shift in zip(trees, before, strict=False):
        tree["threshold"] = tree["threshold"] + shift * (tree["rule"] == CATEGORY)

    def joined(name: str, kind: type, empty: tuple[int, ...] = (0,)) -> np.ndarray:
        return np.concatenate([np.zeros(empty), *(t[name] for t in trees)]).astype(kind)

    return Forest(
        features=tuple(booster.feature_name()),
        outputs=outputs,
        first_split=np.cumsum([0, *(len(t["feature"]) for t in trees)]),
        first_leaf=np.cumsum([0, *(len(t["value"]) for t in trees)]),
        feature=joined("feature", np.int64),
        threshold=joined("threshold", np.float64),
        rule=joined("rule", np.int64),
        children=joined("children", np.int64, (0, 2)),
        cover=joined("cover", np.float64, (0, 2)),
        value=joined("value", np.float64),
        weight=joined("weight", np.float64),
        bitset_start=np.cumsum([0, *words]),
        bitsets=np.concatenate([np.zeros(0, np.uint32), *(w for t in trees for w in t["bitsets"])]).astype(np.uint32),
    )


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _tree(fields: dict[str, str]) -> dict[str, Any]:
    def numbers(name: str, kind: type = np.float64) -> np.ndarray:
        return np.array(fields.get(name, "").split(), dtype=kind)

    if fields.get("is_linear", "0") != "0":
        raise UsageError("the model has linear trees (linear_tree=true), whose leaves are not constants: retrain without.")
    leaves = int(fields["num_leaves"])
    value = numbers("leaf_value")[:leaves]
    if leaves == 1:
        nothing = {"feature": [], "threshold": np.zeros(0), "rule": np.zeros(0), "children": np.zeros((0, 2))}
        return nothing | {"cover": np.zeros((0, 2)), "value": value, "weight": np.ones(1), "bitsets": []}
    children = np.column_stack([numbers("left_child", np.int64), numbers("right_child", np.int64)])
    inner, outer = numbers("internal_count"), numbers("leaf_count")
    counts = np.where(children >= 0, inner[np.maximum(children, 0)], outer[np.maximum(~children, 0)])
    total = counts.sum(axis=1, keepdims=True)
    cover = np.divide(counts, total, out=np.full(counts.shape, 0.5), where=total > 0)
    threshold, decision = numbers("threshold"), numbers("decision_type", np.int64)
    starts, words = numbers("cat_boundaries", np.int64), numbers("cat_threshold", np.uint32)
    return {
        "feature": numbers("split_feature", np.int64),
        "threshold": threshold,
        "rule": _rules(threshold, decision),
        "children": children,
        "cover": cover,
        "value": value,
        "weight": _weights(children, cover, leaves),
        "bitsets": [words[a:b] for a, b in zip(starts[:-1], starts[1:], strict=True)],
    }


def _rules(threshold: np.ndarray, decision: np.ndarray) -> np.ndarray:
    """How each split decides; a missing value reads as zero where training saw none, and is never in a category set."""
    missing, left = decision >> 2 & 3, (decision & _DEFAULT_LEFT) > 0
    nan_left = np.where(missing == _MISSING_NONE, threshold >= 0, left)
    return np.select(
        [(decision & _CATEGORICAL) > 0, missing == _MISSING_ZERO],
        [CATEGORY, np.where(left, ZERO_LEFT, ZERO_RIGHT)],
        np.where(nan_left, LESS_OR_NAN, LESS),
    )


def _weights(children: np.ndarray, cover: np.ndarray, leaves: int) -> np.ndarray:
    reach, weight = np.ones(len(children)), np.zeros(leaves)
    open_splits = [0]
    while open_splits:
        split = open_splits.pop()
        for side in (0, 1):
            child, share = children[split, side], reach[split] * cover[split, side]
            if child < 0:
                weight[~child] = share
            else:
                reach[child] = share
                open_splits.append(child)
    return weight
