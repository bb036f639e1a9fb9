"""The inner loops of `riskmodel.explain.shapley` in numba; compiled at first use and kept in numba's cache.

Rows are taken in blocks. Each row's sums run over trees, leaves and groups in one fixed order, so that values are equal to
the last bit whichever rows are explained together. None of them holds Python's lock: rows may be shared out to threads.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from riskmodel.compiled import compiled
from riskmodel.explain.trees import CATEGORY, LESS_OR_NAN, ZERO, ZERO_LEFT

BLOCK = 256
_MANY = 256
"""Thresholds of a column from which on a search among them is worth it."""
_WORDS = 32
"""Rows that are scored together, in words of 64."""


@compiled
def _count_below(x, thresholds, below):
    """Number of ascending thresholds below each x; none is below NaN."""
    if len(thresholds) > _MANY:
        for row in range(len(x)):
            below[row] = 0 if np.isnan(x[row]) else np.searchsorted(thresholds, x[row])
        return
    below[:] = 0
    in_fours = len(thresholds) // 4 * 4
    for i in range(0, in_fours, 4):  # comparing with every one is a vector's work; halving is not
        a, b, c, d = thresholds[i], thresholds[i + 1], thresholds[i + 2], thresholds[i + 3]
        for row in range(len(x)):
            below[row] += np.int32(a < x[row]) + np.int32(b < x[row]) + np.int32(c < x[row]) + np.int32(d < x[row])
    for i in range(in_fours, len(thresholds)):
        for row in range(len(x)):
            below[row] += np.int32(thresholds[i] < x[row])


@compiled
def _is_category(x, words):
    """Whether x, cut to a whole number as LightGBM does, is in the set; missing and negative are not."""
    if not -1 < x < 32 * len(words):
        return False
    code = int(x)
    return words[code // 32] >> np.uint32(code % 32) & np.uint32(1) > 0


@compiled
def fill_ranks(columns, X, top, ranks):
    """Rank of each value of rows x features among the thresholds of each column, columns x rows."""
    held, counted = np.empty(BLOCK, X.dtype), np.empty(BLOCK, np.int32)
    for begin in range(0, len(X), BLOCK):
        rows = min(BLOCK, len(X) - begin)
        x, below = held[:rows], counted[:rows]
        for column in range(len(columns.feature)):
            rule, found = columns.rule[column], ranks[column, begin : begin + rows]
            x[:] = X[begin : begin + rows, columns.feature[column]]
            if rule == CATEGORY:
                words = columns.bitsets[columns.bitset_start[column] : columns.bitset_start[column + 1]]
                for row in range(rows):
                    found[row] = 0 if _is_category(x[row], words) else top
                continue
            _count_below(x, columns.thresholds[columns.start[column] : columns.start[column + 1]], below)
            by_default = 0 if rule in (LESS_OR_NAN, ZERO_LEFT) else top
            nothing = ZERO if rule >= ZERO_LEFT else -1.0
            for row in range(rows):
                found[row] = by_default if np.isnan(x[row]) | (abs(x[row]) <= nothing) else below[row] + 1


@compiled
def _decide(here, x, rank, unmet, to_left, to_right):
    for row in range(len(x)):
        left, pattern = x[row] <= rank, here[row]
        missed = pattern | unmet
        to_left[row] = pattern if left else missed
        to_right[row] = missed if left else pattern


@compiled
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


@compiled
def _most_leaves(first_leaf):
    most = 1
    for tree in range(len(first_leaf) - 1):
        most = max(most, first_leaf[tree + 1] - first_leaf[tree])
    return most


@compiled
def _scratch(layout):
    most = _most_leaves(layout.first_leaf)
    return np.zeros((most, BLOCK), np.uint16), np.zeros((most, BLOCK), np.uint16)


@compiled
def count_patterns(layout, ranks, counts):
    """Number of background rows with each pattern of unmet groups, per leaf with a table."""
    rows = ranks.shape[1]
    for tree in range(len(layout.first_leaf) - 1):
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


@compiled
def shares_of_training(layout, ratio, shares):
    """share(path without S) for every S: the product of the ratios of the groups that are absent."""
    for leaf in range(len(layout.group_start) - 1):
        table = shares[layout.table_start[leaf] : layout.table_start[leaf + 1]]
        if len(table):
            groups = layout.group_start[leaf + 1] - layout.group_start[leaf]
            for present in range(len(table)):
                share = 1.0
                for place in range(groups):
                    if not present >> place & 1:
                        share *= ratio[layout.group_start[leaf] + place]
                table[present] = share


@compiled
def shares_of_background(layout, rows, counts):
    """share(path without S) for every S, in place of the counts: a row counts if all that it does not meet is in S."""
    for leaf in range(len(layout.group_start) - 1):
        table = counts[layout.table_start[leaf] : layout.table_start[leaf + 1]]
        _sum_over_subsets(table)
        for present in range(len(table)):
            table[present] /= rows


@compiled
def _sum_over_subsets(table):
    step = 1
    while step < len(table):
        for subset in range(len(table)):
            if subset & step:
                table[subset] += table[subset ^ step]
        step *= 2


@compiled
def tables_of_shares(layout, value, weights, shares, B, E):
    """Fill B and E of every leaf (see `riskmodel.explain.games`), by pattern of unmet groups."""
    for leaf in range(len(layout.group_start) - 1):
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


@compiled
def join_tables(layout, joined, pairs, table):
    """The tables of the joined layout (`games.join_siblings`) from those of single leaves."""
    out = np.empty(joined.table_start[-1])
    for leaf in range(len(layout.group_start) - 1):
        old, new = layout.table_start[leaf], joined.table_start[leaf]
        entries = layout.table_start[leaf + 1] - old
        if joined.table_start[leaf + 1] - new == entries:
            out[new : new + entries] = table[old : old + entries]
    for left, right, place in pairs:
        new, entries = joined.table_start[left], layout.table_start[left + 1] - layout.table_start[left]
        to_left, to_right = table[layout.table_start[left] :], table[layout.table_start[right] :]
        for pattern in range(entries):
            missed = pattern | 1 << place
            out[new + pattern] = to_left[pattern] + to_right[missed]
            out[new + entries + pattern] = to_left[missed] + to_right[pattern]
    return out


@compiled
def _look_up(table, pattern, found):
    for row in range(len(pattern)):
        found[row] = table[pattern[row]]


@compiled
def _add_difference(table, pattern, bit, common, total):
    for row in range(len(pattern)):
        total[row] += common[row] - table[pattern[row] | bit]


@compiled
def add_tables(layout, ranks, trees, B, E, values):
    """Add the contributions of all leaves with a table to `values`, rows x groups."""
    rows, groups = values.shape
    for block in range((rows + BLOCK - 1) // BLOCK):
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


@compiled(inline="always")
def _meets(layout, ranks, row, splits, left, place, met):
    met[:] = True
    for i in range(len(splits)):
        if (ranks[layout.column[splits[i]], row] <= layout.rank[splits[i]]) != left[i]:
            met[place[i]] = False


@compiled
def add_long_path(layout, ranks, route, groups, ratio, value, nodes, node_weights, values):
    """Add a leaf without table, path-dependent: the integral of a polynomial, exact by Gauss-Legendre quadrature."""
    splits, left, place = route
    m = len(groups)
    for row in range(len(values)):
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


@compiled
def add_long_background(layout, ranks, route, groups, references, shares, value, weights, values):
    """Add a leaf without table, interventional: one closed form for each distinct pattern of the background."""
    splits, left, place = route
    m = len(groups)
    for row in range(len(values)):
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


@intrinsic
def _at_most(typing, ranks, first, rank):
    """Which of the 64 values from place `first` on are at most `rank`, as bits; one comparison of vectors."""
    kind = ranks.dtype

    def build(context, builder, signature, given):
        lanes, numbers = ir.VectorType(ir.IntType(kind.bitwidth), 64), ir.VectorType(ir.IntType(32), 64)
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        here = builder.bitcast(builder.gep(data, [given[1]]), lanes.as_pointer())
        values = builder.load(here)
        values.align = kind.bitwidth // 8
        nothing = ir.Constant(lanes, ir.Undefined)
        once = builder.insert_element(nothing, given[2], ir.Constant(ir.IntType(32), 0))
        everywhere = builder.shuffle_vector(once, nothing, ir.Constant(numbers, [0] * 64))
        return builder.bitcast(builder.icmp_unsigned("<=", values, everywhere), ir.IntType(64))

    return types.uint64(ranks, types.intp, kind), build


@compiled
def add_margins(forest, column, rank, ranks, margins):
    """Add each tree's leaf value to the margins, tree by tree as LightGBM does; rows are a multiple of 64.

    A word holds one bit for each of 64 rows. At a split the rows that are there are parted in two words by one comparison
    of 64 ranks, as in V-QuickScorer (Lucchese et al. 2016) but down the tree; what reaches the leaves spells each row's
    leaf, one word for each binary digit.

    `forest` is where the splits and the leaves of each tree begin, the children of each split and the value of each leaf.
    """
    first_split, first_leaf, children, value = forest
    most = _most_leaves(first_leaf)
    there = np.empty((2 * most, _WORDS), np.uint64)  # at splits, then at leaves
    digits = np.zeros((8, _WORDS), np.uint64)
    spelled = np.zeros(8 * _WORDS, np.uint64)
    for begin in range(0, ranks.shape[1], 64 * _WORDS):
        words = min(_WORDS, (ranks.shape[1] - begin) // 64)
        for tree in range(len(first_leaf) - 1):
            split_0, leaf_0, leaves = first_split[tree], first_leaf[tree], first_leaf[tree + 1] - first_leaf[tree]
            there[0] = ~np.uint64(0)
            for split in range(split_0, first_split[tree + 1]):
                left, right = children[split]
                to_left, to_right = there[left if left >= 0 else most + ~left], there[right if right >= 0 else most + ~right]
                _part(there[split - split_0], ranks[column[split]], begin, rank[split], to_left, to_right, words)
            count = 0
            while 1 << count < leaves:
                digits[count] = 0
                for leaf in range(leaves):
                    if leaf >> count & 1:
                        _unite(digits[count], there[most + leaf], words)
                count += 1
            _spell(digits, count, words, spelled)
            _pay(margins[begin : begin + 64 * words], spelled.view(np.uint8), value[leaf_0 : leaf_0 + leaves])


@compiled
def _part(here, ranks, begin, rank, to_left, to_right, words):
    for word in range(words):
        low, rows = _at_most(ranks, begin + 64 * word, rank), here[word]
        to_left[word] = rows & low
        to_right[word] = rows & ~low


@compiled
def _unite(rows, more, words):
    for word in range(words):
        rows[word] |= more[word]


@compiled
def _spell(digits, count, words, spelled):
    """The number of each row's leaf from its binary digits, eight rows at a time, a byte each."""
    for word in range(words):
        for part in range(8):
            numbers = np.uint64(0)
            for digit in range(count):
                eight = digits[digit, word] >> np.uint64(8 * part) & np.uint64(255)
                numbers |= _SPREAD[eight] << np.uint64(digit)
            spelled[8 * word + part] = numbers


@compiled
def _pay(margins, leaf, value):
    for row in range(len(margins)):
        margins[row] += value[leaf[row]]


@compiled
def logistic(margins, out):
    """Probabilities of margins, as LightGBM turns them."""
    for row in range(len(margins)):
        out[row] = 1.0 / (1.0 + math.exp(-margins[row]))


_SPREAD = np.array([sum(1 << 8 * bit for bit in range(8) if byte >> bit & 1) for byte in range(256)], np.uint64)
"""The bits of a byte, each in a byte of its own."""
