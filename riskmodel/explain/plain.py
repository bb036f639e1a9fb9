"""`riskmodel.explain.kernels` in numpy, for machines where numba does not run: the same functions, many times slower."""

from __future__ import annotations

import numpy as np

from riskmodel.explain.games import Columns, Layout
from riskmodel.explain.trees import CATEGORY, LESS_OR_NAN, ZERO, ZERO_LEFT

Route = tuple[np.ndarray, np.ndarray, np.ndarray]


def fill_ranks(columns: Columns, X: np.ndarray, top: int, ranks: np.ndarray) -> None:
    """Rank of each value of rows x features among the thresholds of each column, columns x rows."""
    for column, (feature, rule) in enumerate(zip(columns.feature, columns.rule, strict=True)):
        x = X[:, feature]
        if rule == CATEGORY:
            words = columns.bitsets[columns.bitset_start[column] : columns.bitset_start[column + 1]]
            ranks[column] = np.where(_is_category(x, words), 0, top)
            continue
        rank = np.searchsorted(columns.thresholds[columns.start[column] : columns.start[column + 1]], x) + 1
        default = np.isnan(x) | ((np.abs(x) <= ZERO) & (rule >= ZERO_LEFT))
        rank[default] = 0 if rule in (LESS_OR_NAN, ZERO_LEFT) else top
        ranks[column] = rank


def count_patterns(layout: Layout, ranks: np.ndarray, counts: np.ndarray) -> None:
    """Number of background rows with each pattern of unmet groups, per leaf with a table."""
    for tree in range(len(layout.first_leaf) - 1):
        patterns = leaf_patterns(layout, ranks, tree)
        for leaf in range(layout.first_leaf[tree], layout.first_leaf[tree + 1]):
            table = _table(layout, leaf, counts)
            if len(table):
                table += np.bincount(patterns[leaf - layout.first_leaf[tree]], minlength=len(table))


def shares_of_training(layout: Layout, ratio: np.ndarray, shares: np.ndarray) -> None:
    """share(path without S) for every S: the product of the ratios of the groups that are absent."""
    for leaf in range(len(layout.group_start) - 1):
        table = _table(layout, leaf, shares)
        if len(table):
            product = np.ones(1)
            for one in ratio[layout.group_start[leaf] : layout.group_start[leaf + 1]]:
                product = np.concatenate([product * one, product])
            table[:] = product


def shares_of_background(layout: Layout, rows: int, counts: np.ndarray) -> None:
    """share(path without S) for every S, in place of the counts: a row counts if all that it does not meet is in S."""
    for leaf in range(len(layout.group_start) - 1):
        table = _table(layout, leaf, counts)
        table[:] = _summed_over_subsets(table) / rows


def tables_of_shares(
    layout: Layout, value: np.ndarray, weights: np.ndarray, shares: np.ndarray, B: np.ndarray, E: np.ndarray
) -> None:
    """Fill B and E of every leaf (see `riskmodel.explain.games`), by pattern of unmet groups."""
    for leaf in range(len(layout.group_start) - 1):
        share = _table(layout, leaf, shares) * value[leaf]
        if len(share):
            groups = layout.group_start[leaf + 1] - layout.group_start[leaf]
            size = np.bitwise_count(np.arange(len(share))).astype(int)
            b = _summed_over_subsets(np.where(size > 0, share * weights[groups, size - 1], 0.0))
            e = _summed_over_subsets(np.where(size < groups, share * weights[groups, size], 0.0))
            _table(layout, leaf, B)[:] = b[::-1]
            _table(layout, leaf, E)[:] = (b + e)[::-1]


def join_tables(layout: Layout, joined: Layout, pairs: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The tables of the joined layout (`games.join_siblings`) from those of single leaves."""
    out = np.empty(joined.table_start[-1])
    for leaf in np.flatnonzero(np.diff(joined.table_start) == np.diff(layout.table_start)):
        _table(joined, leaf, out)[:] = _table(layout, leaf, table)
    for left, right, place in pairs:
        one, two = _table(layout, left, table), _table(layout, right, table)
        pattern = np.arange(len(one))
        missed = pattern | 1 << place
        _table(joined, left, out)[:] = np.concatenate([one[pattern] + two[missed], one[missed] + two[pattern]])
    return out


def add_tables(
    layout: Layout, ranks: np.ndarray, trees: np.ndarray, B: np.ndarray, E: np.ndarray, values: np.ndarray
) -> None:
    """Add the contributions of all leaves with a table to `values`, rows x groups."""
    for tree in trees:
        patterns = leaf_patterns(layout, ranks, tree)
        for leaf in range(layout.first_leaf[tree], layout.first_leaf[tree + 1]):
            b, e = _table(layout, leaf, B), _table(layout, leaf, E)
            if len(b):
                pattern = patterns[leaf - layout.first_leaf[tree]]
                for place, group in enumerate(layout.groups[layout.group_start[leaf] : layout.group_start[leaf + 1]]):
                    values[:, group] += b[pattern] - e[pattern | (1 << place)]


def add_long_path(
    layout: Layout,
    ranks: np.ndarray,
    route: Route,
    groups: np.ndarray,
    ratio: np.ndarray,
    value: float,
    nodes: np.ndarray,
    node_weights: np.ndarray,
    values: np.ndarray,
) -> None:
    """Add a leaf without table, path-dependent: the integral of a polynomial, exact by Gauss-Legendre quadrature."""
    met = _met(layout, ranks, route, len(groups))
    for y, weight in zip(nodes, node_weights, strict=True):
        factor = ratio * (1 - y) + y * met
        before = np.cumprod(np.column_stack([np.ones(len(met)), factor[:, :-1]]), axis=1)
        after = np.cumprod(np.column_stack([np.ones(len(met)), factor[:, :0:-1]]), axis=1)[:, ::-1]
        values[:, groups] += value * weight * before * after * (met - ratio)


def add_long_background(
    layout: Layout,
    ranks: np.ndarray,
    route: Route,
    groups: np.ndarray,
    references: np.ndarray,
    shares: np.ndarray,
    value: float,
    weights: np.ndarray,
    values: np.ndarray,
) -> None:
    """Add a leaf without table, interventional: one closed form for each distinct pattern of the background."""
    met = _met(layout, ranks, route, len(groups))
    for reference, share in zip(references, shares, strict=True):
        needed, harmful = met & ~reference, ~met & reference
        possible = (met | reference).all(axis=1)
        a, b = needed.sum(axis=1), harmful.sum(axis=1)
        gain = np.where(possible & (a > 0), weights[a + b, a - 1], 0.0)
        loss = np.where(possible & (b > 0), weights[a + b, a], 0.0)
        values[:, groups] += value * share * (needed * gain[:, None] - harmful * loss[:, None])


def _is_category(x: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Whether each value, cut to a whole number as LightGBM does, is in the set; missing and negative are not."""
    possible = (x > -1) & (x < 32 * len(words))
    code = np.where(possible, x, 0).astype(np.int64)
    return possible & ((words[code // 32] >> (code % 32).astype(np.uint32) & 1) > 0)


def _table(layout: Layout, leaf: int, entries: np.ndarray) -> np.ndarray:
    return entries[layout.table_start[leaf] : layout.table_start[leaf + 1]]


def leaf_patterns(layout: Layout, ranks: np.ndarray, tree: int) -> list[np.ndarray]:
    """Pattern of unmet groups of each row at each leaf of a tree."""
    first, rows = layout.first_split[tree], ranks.shape[1]
    at_leaf = [np.zeros(rows, np.int64)] * (layout.first_leaf[tree + 1] - layout.first_leaf[tree])
    at_split = {0: np.zeros(rows, np.int64)}
    for split in range(first, layout.first_split[tree + 1]):
        here, goes_left = at_split.pop(split - first), ranks[layout.column[split]] <= layout.rank[split]
        unmet = 1 << min(int(layout.bit[split]), 62)
        for child, met in zip(layout.children[split], (goes_left, ~goes_left), strict=True):
            pattern = np.where(met, here, here | unmet)
            if child < 0:
                at_leaf[~child] = pattern
            else:
                at_split[int(child)] = pattern
    return at_leaf


def _met(layout: Layout, ranks: np.ndarray, route: Route, groups: int) -> np.ndarray:
    """Whether each row meets each group on a leaf's path, rows x groups."""
    met = np.ones((ranks.shape[1], groups), bool)
    for split, left, place in zip(*route, strict=True):
        met[:, place] &= (ranks[layout.column[split]] <= layout.rank[split]) == left
    return met


def _summed_over_subsets(table: np.ndarray) -> np.ndarray:
    summed, step = table.copy(), 1
    while step < len(table):
        pairs = summed.reshape(-1, 2, step)
        pairs[:, 1] += pairs[:, 0]
        step *= 2
    return summed
