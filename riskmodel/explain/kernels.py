"""The inner loops of `riskmodel.explain.shapley` in numba; compiled at first use and kept in numba's cache.

Rows are taken in blocks. Each row's sums run over trees, leaves and groups in one fixed order, so that values are equal to
the last bit whatever the number of threads and whichever rows are explained together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, prange

from riskmodel.explain.trees import CATEGORY, LESS_OR_NAN, ZERO, ZERO_LEFT

BLOCK = 256
SCORED = 1024


def _compiled(**options: Any) -> Callable[[Callable], Callable]:
    def decorate(function: Callable) -> Callable:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no place to keep the cache can be written to
            return njit(**options)(function)

    return decorate


@_compiled()
def _count_below(x, thresholds):
    """Number of ascending thresholds below x."""
    low, left = 0, len(thresholds)
    while left > 1:
        half = left // 2
        low += half if thresholds[low + half - 1] < x else 0
        left -= half
    return low + (1 if left and thresholds[low] < x else 0)


@_compiled()
def _is_category(x, words):
    """Whether x, cut to a whole number as LightGBM does, is in the set; missing and negative are not."""
    if not -1 < x < 32 * len(words):
        return False
    code = int(x)
    return words[code // 32] >> np.uint32(code % 32) & np.uint32(1) > 0


@_compiled(parallel=True)
def fill_ranks(columns, X, top, ranks):
    """Rank of each value of rows x features among the thresholds of each column, columns x rows."""
    for block in prange((len(X) + BLOCK - 1) // BLOCK):
        for column in range(len(columns.feature)):
            rule = columns.rule[column]
            thresholds = columns.thresholds[columns.start[column] : columns.start[column + 1]]
            words = columns.bitsets[columns.bitset_start[column] : columns.bitset_start[column + 1]]
            for row in range(block * BLOCK, min(block * BLOCK + BLOCK, len(X))):
                x = X[row, columns.feature[column]]
                if rule == CATEGORY:
                    ranks[column, row] = 0 if _is_category(x, words) else top
                elif np.isnan(x):
                    ranks[column, row] = 0 if rule in (LESS_OR_NAN, ZERO_LEFT) else top
                elif rule >= ZERO_LEFT and abs(x) <= ZERO:
                    ranks[column, row] = 0 if rule == ZERO_LEFT else top
                else:
                    ranks[column, row] = _count_below(x, thresholds) + 1


@_compiled()
def _decide(here, x, rank, unmet, to_left, to_right):
    for row in range(len(x)):
        left, pattern = x[row] <= rank, here[row]
        missed = pattern | unmet
        to_left[row] = pattern if left else missed
        to_right[row] = missed if left else pattern


@_compiled()
def _patterns(tree, layout, ranks, begin, rows, at_split, at_leaf):
    """Pattern of unmet groups of each row at each split and leaf of a tree."""
    first = layout.first_split[tree]
    at_split[0, :rows] = 0
    if layout.first_split[tree + 1] == first:
        at_leaf[0, :rows] = 0
    for split in range(first, layout.first_split[tree + 1]):
        left, right = layout.children[split]
        place = layout.bit[split]
        _decide(
            at_split[split - first],
            ranks[layout.column[split], begin : begin + rows],
            ranks.dtype.type(layout.rank[split]),
            np.uint16(1 << place if place < 16 else 0),
            at_split[left] if left >= 0 else at_leaf[~left],
            at_split[right] if right >= 0 else at_leaf[~right],
        )


@_compiled()
def _scratch(layout):
    most = 1
    for tree in range(len(layout.first_leaf) - 1):
        most = max(most, layout.first_leaf[tree + 1] - layout.first_leaf[tree])
    return np.zeros((most, BLOCK), np.uint16), np.zeros((most, BLOCK), np.uint16)


@_compiled(parallel=True)
def count_patterns(layout, ranks, counts):
    """Number of background rows with each pattern of unmet groups, per leaf with a table."""
    rows = ranks.shape[1]
    for tree in prange(len(layout.first_leaf) - 1):
        at_split, at_leaf = _scratch(layout)
        for begin in range(0, rows, BLOCK):
            size = min(BLOCK, rows - begin)
            _patterns(tree, layout, ranks, begin, size, at_split, at_leaf)
            for leaf in range(layout.first_leaf[tree], layout.first_leaf[tree + 1]):
                table = counts[layout.table_start[leaf] : layout.table_start[leaf + 1]]
                if len(table):
                    pattern = at_leaf[leaf - layout.first_leaf[tree]]
                    for row in range(size):
                        table[pattern[row]] += 1.0


@_compiled(parallel=True)
def shares_of_training(layout, ratio, shares):
    """share(path without S) for every S: the product of the ratios of the groups that are absent."""
    for leaf in prange(len(layout.group_start) - 1):
        table = shares[layout.table_start[leaf] : layout.table_start[leaf + 1]]
        if len(table):
            groups = layout.group_start[leaf + 1] - layout.group_start[leaf]
            for present in range(len(table)):
                share = 1.0
                for place in range(groups):
                    if not present >> place & 1:
                        share *= ratio[layout.group_start[leaf] + place]
                table[present] = share


@_compiled(parallel=True)
def shares_of_background(layout, rows, counts):
    """share(path without S) for every S, in place of the counts: a row counts if all that it does not meet is in S."""
    for leaf in prange(len(layout.group_start) - 1):
        table = counts[layout.table_start[leaf] : layout.table_start[leaf + 1]]
        _sum_over_subsets(table)
        for present in range(len(table)):
            table[present] /= rows


@_compiled()
def _sum_over_subsets(table):
    step = 1
    while step < len(table):
        for subset in range(len(table)):
            if subset & step:
                table[subset] += table[subset ^ step]
        step *= 2


@_compiled(parallel=True)
def tables_of_shares(layout, value, weights, shares, B, E):
    """Fill B and E of every leaf (see `riskmodel.explain.games`), by pattern of unmet groups."""
    for leaf in prange(len(layout.group_start) - 1):
        begin, end = layout.table_start[leaf], layout.table_start[leaf + 1]
        if end > begin:
            groups = layout.group_start[leaf + 1] - layout.group_start[leaf]
            b, e = np.zeros(end - begin), np.zeros(end - begin)
            for present in range(end - begin):
                size = 0
                for place in range(groups):
                    size += present >> place & 1
                share = value[leaf] * shares[begin + present]
                if size > 0:
                    b[present] = share * weights[groups, size - 1]
                if size < groups:
                    e[present] = share * weights[groups, size]
            _sum_over_subsets(b)
            _sum_over_subsets(e)
            B[begin:end] = b[::-1]
            E[begin:end] = (b + e)[::-1]


@_compiled()
def _look_up(table, pattern, found):
    for row in range(len(pattern)):
        found[row] = table[pattern[row]]


@_compiled()
def _add_difference(table, pattern, bit, common, total):
    for row in range(len(pattern)):
        total[row] += common[row] - table[pattern[row] | bit]


@_compiled(parallel=True)
def add_tables(layout, ranks, trees, B, E, values):
    """Add the contributions of all leaves with a table to `values`, rows x groups."""
    rows, groups = values.shape
    for block in prange((rows + BLOCK - 1) // BLOCK):
        begin = block * BLOCK
        size = min(BLOCK, rows - begin)
        at_split, at_leaf = _scratch(layout)
        total, common = np.zeros((groups, BLOCK)), np.zeros(BLOCK)
        for tree in trees:
            _patterns(tree, layout, ranks, begin, size, at_split, at_leaf)
            for leaf in range(layout.first_leaf[tree], layout.first_leaf[tree + 1]):
                table = slice(layout.table_start[leaf], layout.table_start[leaf + 1])
                if table.stop > table.start:
                    pattern, e = at_leaf[leaf - layout.first_leaf[tree], :size], E[table]
                    _look_up(B[table], pattern, common)
                    for place in range(layout.group_start[leaf + 1] - layout.group_start[leaf]):
                        group = layout.groups[layout.group_start[leaf] + place]
                        _add_difference(e, pattern, np.uint16(1 << place), common, total[group])
        for row in range(size):
            for group in range(groups):
                values[begin + row, group] += total[group, row]


@_compiled(inline="always")
def _meets(layout, ranks, row, splits, left, place, met):
    met[:] = True
    for i in range(len(splits)):
        if (ranks[layout.column[splits[i]], row] <= layout.rank[splits[i]]) != left[i]:
            met[place[i]] = False


@_compiled(parallel=True)
def add_long_path(layout, ranks, route, groups, ratio, value, nodes, node_weights, values):
    """Add a leaf without table, path-dependent: the integral of a polynomial, exact by Gauss-Legendre quadrature."""
    splits, left, place = route
    m = len(groups)
    for row in prange(len(values)):
        met, before, part = np.empty(m, np.bool_), np.empty(m), np.zeros(m)
        _meets(layout, ranks, row, splits, left, place, met)
        for node in range(len(nodes)):
            y, product = nodes[node], node_weights[node]
            for j in range(m):
                before[j] = product
                product *= (ratio[j] * (1 - y) + y) if met[j] else ratio[j] * (1 - y)
            product = 1.0
            for j in range(m - 1, -1, -1):
                part[j] += before[j] * product * ((1 - ratio[j]) if met[j] else -ratio[j])
                product *= (ratio[j] * (1 - y) + y) if met[j] else ratio[j] * (1 - y)
        for j in range(m):
            values[row, groups[j]] += value * part[j]


@_compiled(parallel=True)
def add_long_background(layout, ranks, route, groups, references, shares, value, weights, values):
    """Add a leaf without table, interventional: one closed form for each distinct pattern of the background."""
    splits, left, place = route
    m = len(groups)
    for row in prange(len(values)):
        met, part = np.empty(m, np.bool_), np.zeros(m)
        _meets(layout, ranks, row, splits, left, place, met)
        for reference in range(len(references)):
            needed, harmful = 0, 0
            possible = True
            for j in range(m):
                other = references[reference, j]
                if met[j] and not other:
                    needed += 1
                elif other and not met[j]:
                    harmful += 1
                elif not other:
                    possible = False
                    break
            if possible and needed + harmful > 0:
                gain = shares[reference] * weights[needed + harmful, needed - 1] if needed else 0.0
                loss = shares[reference] * weights[needed + harmful, needed] if harmful else 0.0
                for j in range(m):
                    if met[j] != references[reference, j]:
                        part[j] += gain if met[j] else -loss
        for j in range(m):
            values[row, groups[j]] += value * part[j]


@_compiled(nogil=True)
def add_margins(trees, column, rank, left_gone, value, ranks, full, margins):
    """Add each tree's leaf value to the margins, tree by tree as LightGBM does.

    Each split that a row leaves to the right takes the leaves on its left from the row's set (QuickScorer, Lucchese et al.
    2015); the first leaf that is left is the row's. `trees` has where splits and leaves of each tree begin, 2 x trees + 1;
    a tree's splits are a multiple of four, filled up with splits that take nothing.
    """
    rows = ranks.shape[1]
    sets = np.empty(SCORED, full.dtype)
    for begin in range(0, rows, SCORED):
        end = min(begin + SCORED, rows)
        here = sets[: end - begin]
        for tree in range(trees.shape[1] - 1):
            here[:] = full[0]
            for i in range(trees[0, tree], trees[0, tree + 1], 4):
                _leave_four(
                    here,
                    ranks[column[i], begin:end],
                    ranks[column[i + 1], begin:end],
                    ranks[column[i + 2], begin:end],
                    ranks[column[i + 3], begin:end],
                    rank[i : i + 4],
                    left_gone[i : i + 4],
                    full[0],
                )
            first = trees[1, tree]
            for row in range(end - begin):
                left = np.uint64(here[row])
                leaf = _PLACE[((left & (~left + np.uint64(1))) * _DE_BRUIJN) >> np.uint64(58)]
                margins[begin + row] += value[first + leaf]


@_compiled(nogil=True)
def _leave_four(here, a, b, c, d, rank, gone, full):
    rank_a, rank_b, rank_c, rank_d = rank[0], rank[1], rank[2], rank[3]
    gone_a, gone_b, gone_c, gone_d = gone[0], gone[1], gone[2], gone[3]
    for row in range(len(here)):
        left = (full if a[row] <= rank_a else gone_a) & (full if b[row] <= rank_b else gone_b)
        here[row] &= left & (full if c[row] <= rank_c else gone_c) & (full if d[row] <= rank_d else gone_d)


@_compiled(nogil=True)
def logistic(margins, out):
    """Probabilities of margins, as LightGBM turns them."""
    for row in range(len(margins)):
        out[row] = 1.0 / (1.0 + math.exp(-margins[row]))


_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACE = np.zeros(64, np.int64)
for _bit in range(64):
    _PLACE[((1 << _bit) * 0x03F79D71B4CB0A89 % 2**64) >> 58] = _bit
