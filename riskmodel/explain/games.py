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

from riskmodel.explain.trees import CATEGORY, Forest

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


class Columns(NamedTuple):
    """The comparisons of a forest: one for each feature and rule, or feature and set of categories.

    The thresholds of column c are `thresholds[start[c]:start[c + 1]]`, ascending; the words of its bitset
    `bitsets[bitset_start[c]:bitset_start[c + 1]]`. Rank 0 always goes left and `top` always right.
    """

    feature: np.ndarray
    rule: np.ndarray
    start: np.ndarray
    thresholds: np.ndarray
    bitset_start: np.ndarray
    bitsets: np.ndarray

    def empty_ranks(self, rows: int) -> np.ndarray:
        """Columns x rows, of the smallest type that holds all ranks."""
        most = np.diff(self.start).max(initial=0)
        kinds = (kind for kind in (np.uint8, np.uint16, np.uint32) if most < np.iinfo(kind).max - 1)
        return np.empty((len(self.feature), rows), next(kinds))


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
    columns: Columns
    ratio: np.ndarray
    long: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]


def find_paths(forest: Forest, group_of: np.ndarray, entries: int = TABLE_ENTRIES) -> Paths:
    """The paths of a forest by groups; `group_of` has the group of each feature.

    Leaves get a table, shortest paths first, while all patterns together stay within `entries` (16 bytes each).
    """
    columns, column, rank = columns_of(forest)
    bit, parent, above, groups, ratio, lengths = _walk(forest, group_of)
    most = _longest_table(lengths, entries)
    patterns = np.where(lengths <= most, 2**lengths, 0)
    on_path = np.arange(groups.shape[1]) < lengths[:, None]
    layout = Layout(
        first_split=forest.first_split,
        first_leaf=forest.first_leaf,
        children=forest.children,
        column=column,
        rank=rank,
        bit=bit,
        group_start=np.cumsum([0, *lengths]),
        groups=groups[on_path],
        table_start=np.cumsum([0, *patterns]),
    )
    tree_of = np.repeat(np.arange(forest.trees), np.diff(forest.first_leaf))
    long = {int(i): _route(forest, int(i), int(tree_of[i]), parent, above, bit) for i in np.flatnonzero(lengths > most)}
    return Paths(layout, columns, ratio[on_path], long)


def _walk(forest: Forest, group_of: np.ndarray) -> tuple[np.ndarray, ...]:
    """Down all trees at once, one split of each after the other; a split stands after the one above it.

    Gives the place of each split's group on its path; the split above each leaf and each split, -1 at the top; and per leaf
    the groups on its path, leaves x places, what their splits send towards it, and how many they are.
    """
    splits, leaves = len(forest.feature), len(forest.value)
    bit, above, parent = np.zeros(splits, np.int64), np.full(splits, -1), np.full(leaves, -1)
    lengths = np.zeros(splits + leaves, np.int64)  # of splits, then of leaves; so the other two
    groups, ratio = np.full((splits + leaves, 8), -1), np.zeros((splits + leaves, 8))
    in_tree = np.diff(forest.first_split)
    for place in range(int(in_tree.max(initial=0))):
        trees = np.flatnonzero(in_tree > place)
        here = forest.first_split[trees] + place
        if lengths[here].max() == groups.shape[1]:
            groups = np.pad(groups, ((0, 0), (0, groups.shape[1])), constant_values=-1)
            ratio = np.pad(ratio, ((0, 0), (0, ratio.shape[1])))
        group, rows = group_of[forest.feature[here]], np.arange(len(here))
        same = groups[here] == group[:, None]
        met = same.any(axis=1)
        bit[here] = np.where(met, same.argmax(axis=1), lengths[here])
        for side in (0, 1):
            child = forest.children[here, side]
            to = np.where(child >= 0, forest.first_split[trees] + child, splits + forest.first_leaf[trees] + ~child)
            above[to[child >= 0]] = here[child >= 0]
            parent[to[child < 0] - splits] = here[child < 0]
            path, shares = groups[here], ratio[here]
            shares[rows, bit[here]] = np.where(met, shares[rows, bit[here]], 1.0) * forest.cover[here, side]
            path[rows, bit[here]] = group
            groups[to], ratio[to], lengths[to] = path, shares, lengths[here] + ~met
    return bit, parent, above, groups[splits:], ratio[splits:], lengths[splits:]


def join_siblings(layout: Layout) -> tuple[Layout, np.ndarray]:
    """One table for two leaves under the same split, which saves every second look-up there.

    Their paths have the same m groups. The pattern is the split's own with one bit more, m, set if the row goes right;
    the table is kept as the left leaf's, and the right leaf has none. Gives the layout of the joined tables, which
    `join_tables` of the kernels fills, and the pairs: left leaf, right leaf and place of the split's group, pairs x 3.
    """
    groups, entries = np.diff(layout.group_start), np.diff(layout.table_start)
    tree = np.repeat(np.arange(len(layout.first_split) - 1), np.diff(layout.first_split))
    pairs = layout.first_leaf[tree][:, None] + ~layout.children
    joined = (layout.children < 0).all(axis=1)
    joined[joined] = (entries[pairs[joined]] > 0).all(axis=1) & (groups[pairs[joined, 0]] < TABLE_BITS)
    left, right = pairs[joined].T
    entries[left], entries[right] = 2 * entries[left], 0
    bit = layout.bit.copy()
    bit[joined] = groups[left]
    found = np.column_stack([left, right, layout.bit[joined]])
    return layout._replace(bit=bit, table_start=np.cumsum([0, *entries])), found


def shapley_weights(most: int) -> np.ndarray:
    """w(m, s) = s! (m - s - 1)! / m! for m up to `most`; 0 where s >= m."""
    weights = np.zeros((most + 1, most + 1))
    for m in range(1, most + 1):
        weights[m, :m] = [1 / (m * comb(m - 1, s)) for s in range(m)]
    return weights


def columns_of(forest: Forest) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Distinct comparisons, the comparison of each split, and its threshold's rank."""
    categorical = forest.rule == CATEGORY
    bitset = np.where(categorical, forest.threshold, -1)
    keys, column = np.unique(np.column_stack([forest.feature, forest.rule, bitset]), axis=0, return_inverse=True)
    column = column.ravel()
    thresholds, words = [], []
    rank = np.zeros(len(column), np.int64)
    order = np.argsort(column, kind="stable")
    bounds = np.searchsorted(column[order], np.arange(len(keys) + 1))
    for number, which in enumerate(keys[:, 2].astype(int)):
        mine = order[bounds[number] : bounds[number + 1]]
        found, place = np.unique(forest.threshold[mine], return_inverse=True)
        rank[mine] = 0 if which >= 0 else place + 1
        thresholds.append(found[: 0 if which >= 0 else None])
        words.append(
            forest.bitsets[slice(*forest.bitset_start[which : which + 2])] if which >= 0 else np.zeros(0, np.uint32)
        )
    columns = Columns(
        feature=keys[:, 0].astype(np.int64),
        rule=keys[:, 1].astype(np.int64),
        start=np.cumsum([0, *map(len, thresholds)]),
        thresholds=np.concatenate([np.zeros(0), *thresholds]),
        bitset_start=np.cumsum([0, *map(len, words)]),
        bitsets=np.concatenate([np.zeros(0, np.uint32), *words]),
    )
    return columns, column, rank


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
