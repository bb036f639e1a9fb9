"""The game that each leaf of a forest is, and its Shapley values as a table.

A leaf pays its value if every split on its path decides towards it. The splits are met or unmet per *group* of features,
so the leaf is a game between the groups on its path: with the groups S present,

    v(S) = value * [the row meets S] * share(path without S)

where `share(T)` is the part of the reference that meets all groups of T: of the training rows at each split, multiplied
along the path (path-dependent), or of the rows of a background (interventional). With m groups on the path and weights
w(s) = s! (m - s - 1)! / m!, let for every set M of groups that a row may meet

    B(M) = sum over S in M, S not empty, of w(|S| - 1) share(path without S)
    E(M) = B(M) + sum over S in M of w(|S|) share(path without S)

Then the Shapley value (Shapley 1953) of every group g on the path is `value * (B(M) - E(M without g))`: two numbers for
each of the 2^m patterns explain every row, whatever the size of the background.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np

from riskmodel.explain.trees import CATEGORY, LESS, LESS_OR_NAN, ZERO, ZERO_LEFT, Forest

TABLE_BITS = 16
TABLE_ENTRIES = 2**25


class Layout(NamedTuple):
    """Splits as comparisons of whole numbers, and the groups on the path of each leaf; what the kernels read.

    A row goes left at a split if `ranks[column, row] <= rank`. `bit` is the place of the split's group on its path;
    `groups[group_start[l]:group_start[l + 1]]` are the groups on the path of leaf l, in order of appearance, and
    `table_start[l]` where its 2^m patterns begin. A pattern has a bit for each group that the row does *not* meet.
    """

    first_split: np.ndarray
    first_leaf: np.ndarray
    children: np.ndarray
    column: np.ndarray
    rank: np.ndarray
    bit: np.ndarray
    group_start: np.ndarray
    groups: np.ndarray
    table_start: np.ndarray


@dataclass(frozen=True)
class Column:
    """What the splits of one feature and one rule ask: which of their thresholds a value passes."""

    feature: int
    rule: int
    thresholds: np.ndarray
    categories: np.ndarray

    def ranks(self, x: np.ndarray, top: int) -> np.ndarray:
        """Number of thresholds below each value; 0 always goes left and `top` always right."""
        if self.rule == CATEGORY:
            return np.where(_in_bitset(x, self.categories), 0, top)
        rank = np.searchsorted(self.thresholds, x) + 1
        rank[np.isnan(x)] = top if self.rule == LESS else 0
        if self.rule not in (LESS, LESS_OR_NAN):
            rank[np.isnan(x) | (np.abs(x) <= ZERO)] = 0 if self.rule == ZERO_LEFT else top
        return rank


@dataclass(frozen=True)
class Paths:
    """A forest seen by groups of features.

    Attributes
    ----------
    layout
        What the kernels read.
    columns
        Comparisons, in the order of `Layout.column`.
    ratio
        Per group on a path: share of training rows that its splits send towards the leaf, laid out as `Layout.groups`.
    long
        Leaves with too many groups on their path for a table: each with its splits, the side that leads to the leaf (True
        is left) and the place of the split's group.
    """

    layout: Layout
    columns: tuple[Column, ...]
    ratio: np.ndarray
    long: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]

    def ranks(self, X: np.ndarray) -> np.ndarray:
        """Columns x rows, for rows x features of float64."""
        most = max((len(c.thresholds) for c in self.columns), default=0)
        kind = np.uint16 if most < 2**16 - 2 else np.uint32
        top = np.iinfo(kind).max
        ranks = np.empty((len(self.columns), len(X)), kind)
        for row, column in zip(ranks, self.columns, strict=True):
            row[:] = column.ranks(X[:, column.feature], top)
        return ranks


def find_paths(forest: Forest, group_of: np.ndarray, entries: int = TABLE_ENTRIES) -> Paths:
    """The paths of a forest by groups; `group_of` has the group of each feature.

    Leaves get a table, shortest paths first, while all patterns together stay within `entries` (16 bytes each).
    """
    columns, column, rank = _columns(forest)
    bit = np.zeros(len(forest.feature), np.int64)
    met: list[dict[int, float]] = [{}] * len(forest.value)
    parent = np.full(len(forest.value), -1)
    above = np.full(len(forest.feature), -1)
    for tree in range(forest.trees):
        split_0, leaf_0 = forest.first_split[tree], forest.first_leaf[tree]
        splits = slice(split_0, forest.first_split[tree + 1])
        groups, children = group_of[forest.feature[splits]].tolist(), forest.children[splits].tolist()
        open_paths: dict[int, dict[int, float]] = {0: {}}
        for split, cover in enumerate(forest.cover[splits].tolist()):
            path, group = open_paths.pop(split), groups[split]
            bit[split_0 + split] = list(path).index(group) if group in path else len(path)
            for child, share in zip(children[split], cover, strict=True):
                longer = path | {group: path.get(group, 1.0) * share}
                if child < 0:
                    met[leaf_0 + ~child], parent[leaf_0 + ~child] = longer, split_0 + split
                else:
                    open_paths[child], above[split_0 + child] = longer, split_0 + split
    lengths = np.array([len(p) for p in met])
    most = _longest_table(lengths, entries)
    patterns = np.where(lengths <= most, 2**lengths, 0)
    layout = Layout(
        first_split=forest.first_split,
        first_leaf=forest.first_leaf,
        children=forest.children,
        column=column,
        rank=rank,
        bit=bit,
        group_start=np.cumsum([0, *lengths]),
        groups=np.array([g for p in met for g in p], dtype=np.int64),
        table_start=np.cumsum([0, *patterns]),
    )
    ratio = np.array([share for p in met for share in p.values()], dtype=float)
    tree_of = np.repeat(np.arange(forest.trees), np.diff(forest.first_leaf))
    long = {int(i): _route(forest, int(i), int(tree_of[i]), parent, above, bit) for i in np.flatnonzero(lengths > most)}
    return Paths(layout, columns, ratio, long)


def shapley_weights(most: int) -> np.ndarray:
    """w(m, s) = s! (m - s - 1)! / m! for m up to `most`; 0 where s >= m."""
    weights = np.zeros((most + 1, most + 1))
    for m in range(1, most + 1):
        weights[m, :m] = [1 / (m * comb(m - 1, s)) for s in range(m)]
    return weights


def _columns(forest: Forest) -> tuple[tuple[Column, ...], np.ndarray, np.ndarray]:
    """Distinct comparisons, the comparison of each split, and its threshold's rank."""
    categorical = forest.rule == CATEGORY
    bitset = np.where(categorical, forest.threshold, -1)
    keys, column = np.unique(np.column_stack([forest.feature, forest.rule, bitset]), axis=0, return_inverse=True)
    column = column.ravel()
    columns, rank = [], np.zeros(len(column), np.int64)
    order = np.argsort(column, kind="stable")
    bounds = np.searchsorted(column[order], np.arange(len(keys) + 1))
    for number, (feature, rule, which) in enumerate(keys.astype(int).tolist()):
        mine = order[bounds[number] : bounds[number + 1]]
        if rule == CATEGORY:
            words = forest.bitsets[forest.bitset_start[which] : forest.bitset_start[which + 1]]
            columns.append(Column(feature, rule, np.zeros(0), words))
            continue
        thresholds, place = np.unique(forest.threshold[mine], return_inverse=True)
        rank[mine] = place + 1
        columns.append(Column(feature, rule, thresholds, np.zeros(0, np.uint32)))
    return tuple(columns), column, rank


def _in_bitset(x: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Whether each value, cut to a whole number as LightGBM does, is in the set; missing and negative are not."""
    possible = (x > -1) & (x < 32 * len(words))
    code = np.where(possible, x, 0).astype(np.int64)
    return possible & ((words[code // 32] >> (code % 32) & 1) > 0)


def _longest_table(lengths: np.ndarray, entries: int) -> int:
    per_length = np.bincount(lengths, minlength=TABLE_BITS + 1)[: TABLE_BITS + 1]
    needed = np.cumsum(per_length * 2.0 ** np.arange(TABLE_BITS + 1))
    return int(np.searchsorted(needed, entries, side="right")) - 1


def _route(
    forest: Forest, leaf: int, tree: int, parent: np.ndarray, above: np.ndarray, bit: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    splits, left = [], []
    child, split = ~(leaf - forest.first_leaf[tree]), parent[leaf]
    while split >= 0:
        splits.append(split)
        left.append(forest.children[split, 0] == child)
        child, split = split - forest.first_split[tree], above[split]
    return np.array(splits, np.int64), np.array(left, bool), bit[splits]
