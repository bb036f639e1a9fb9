"""The inner loops of `riskmodel.cohort.sweep` in numba: aggregates over runs of rows, each run one household's.

Run u holds rows `low[u]` to `high[u]`, of which those count whose `mask` is True. Sums go through a run in the order of its
rows, and means and spreads by the engine's own recurrences, so that each result is the engine's to the last bit.
"""

from __future__ import annotations

import math

import numpy as np

from riskmodel.compiled import compiled


@compiled
def count(mask, low, high):
    """Number of rows."""
    out = np.zeros(len(low), np.int64)
    for u in range(len(low)):
        for row in range(low[u], high[u]):
            out[u] += mask[row]
    return out


@compiled
def total(values, mask, low, high):
    """Sum, and number of rows."""
    out, n = np.zeros(len(low)), np.zeros(len(low), np.int64)
    for u in range(len(low)):
        for row in range(low[u], high[u]):
            if mask[row]:
                out[u] += values[row]
                n[u] += 1
    return out, n


@compiled
def _above(a, b):
    return a > b or (math.isnan(a) and not math.isnan(b))


@compiled
def extreme(values, mask, low, high, largest):
    """Largest or smallest value (NaN is above all numbers), and number of rows."""
    out, n = np.zeros(len(low)), np.zeros(len(low), np.int64)
    for u in range(len(low)):
        for row in range(low[u], high[u]):
            if mask[row]:
                x = values[row]
                if n[u] == 0 or (_above(x, out[u]) if largest else _above(out[u], x)):
                    out[u] = x
                n[u] += 1
    return out, n


@compiled
def spread(values, mask, low, high):
    """Sum of squared deviations from the mean (Welford 1962), and number of rows."""
    out, n = np.zeros(len(low)), np.zeros(len(low), np.int64)
    for u in range(len(low)):
        mean = 0.0
        for row in range(low[u], high[u]):
            if mask[row]:
                n[u] += 1
                gap = values[row] - mean
                mean += gap / n[u]
                out[u] += gap * (values[row] - mean)
    return out, n


@compiled
def slope(y, x, mask, low, high):
    """Co-moment of y and x, squared deviations of x, and number of rows."""
    together, alone, n = np.zeros(len(low)), np.zeros(len(low)), np.zeros(len(low), np.int64)
    for u in range(len(low)):
        mean_x, mean_y = 0.0, 0.0
        for row in range(low[u], high[u]):
            if mask[row]:
                n[u] += 1
                gap = x[row] - mean_x
                mean_x += gap / n[u]
                mean_y += (y[row] - mean_y) / n[u]
                together[u] += gap * (y[row] - mean_y)
                alone[u] += gap * (x[row] - mean_x)
    return together, alone, n


@compiled
def _sort(values):
    """Into ascending order, in place, by insertion: a household has few rows."""
    if len(values) > 64:
        values.sort()
        return
    for i in range(1, len(values)):
        x, place = values[i], i
        while place and _above(values[place - 1], x):
            values[place] = values[place - 1]
            place -= 1
        values[place] = x


@compiled
def quantile(values, mask, low, high, share):
    """Quantile between two neighbours of the sorted values, and number of rows."""
    out, n = np.zeros(len(low)), np.zeros(len(low), np.int64)
    longest = 0
    for u in range(len(low)):
        longest = max(longest, high[u] - low[u])
    held = np.empty(longest)
    for u in range(len(low)):
        m = 0
        for row in range(low[u], high[u]):
            if mask[row]:
                held[m] = values[row]
                m += 1
        n[u] = m
        if m:
            _sort(held[:m])
            place = (m - 1) * share
            below = int(math.floor(place))
            above = int(math.ceil(place))
            part = place - below
            out[u] = held[below] if below == above else held[below] * (1.0 - part) + held[above] * part
    return out, n


@compiled
def distinct(values, mask, low, high):
    """Number of different whole numbers."""
    out = np.zeros(len(low), np.int64)
    longest = 0
    for u in range(len(low)):
        longest = max(longest, high[u] - low[u])
    seen = np.empty(longest, np.int64)
    for u in range(len(low)):
        n = 0
        for row in range(low[u], high[u]):
            if mask[row]:
                known = False
                for k in range(n):
                    known |= seen[k] == values[row]
                if not known:
                    seen[n] = values[row]
                    n += 1
        out[u] = n
    return out


@compiled
def last(mask, low, high):
    """The last row, -1 where there is none."""
    out = np.full(len(low), -1)
    for u in range(len(low)):
        for row in range(high[u] - 1, low[u] - 1, -1):
            if mask[row]:
                out[u] = row
                break
    return out


@compiled
def last_bit(packed, first, low, high):
    """The last row whose bit is set, -1 where there is none; the bit of row 0 is number `first`."""
    out = np.full(len(low), -1)
    for u in range(len(low)):
        for row in range(high[u] - 1, low[u] - 1, -1):
            if packed[(row + first) >> 3] >> ((row + first) & 7) & 1:
                out[u] = row
                break
    return out


@compiled
def together(mask, low, high):
    """Where the rows that count begin and end in each run, and whether they lie side by side in every one."""
    begin, end = low.copy(), low.copy()
    for u in range(len(low)):
        n = 0
        for row in range(low[u], high[u]):
            if mask[row]:
                if n == 0:
                    begin[u] = row
                end[u] = row + 1
                n += 1
        if end[u] - begin[u] != n:
            return begin, end, False
    return begin, end, True


@compiled
def rising(values, low, high):
    """Whether values rise strictly through each run."""
    for u in range(len(low)):
        for row in range(low[u] + 1, high[u]):
            if values[row] <= values[row - 1]:
                return False
    return True


@compiled
def first_extreme(by, mask, low, high, largest):
    """The first row with the largest or smallest `by`, -1 where there is none."""
    out = np.full(len(low), -1)
    for u in range(len(low)):
        for row in range(low[u], high[u]):
            if mask[row]:
                best = out[u]
                if best < 0 or (_above(by[row], by[best]) if largest else _above(by[best], by[row])):
                    out[u] = row
    return out


@compiled
def _logs(x, out):
    for i in range(len(x)):
        out[i] = math.log(x[i])


@compiled
def _logs_to_10(x, out):
    for i in range(len(x)):
        out[i] = math.log10(x[i])


@compiled
def _exponentials(x, out):
    for i in range(len(x)):
        out[i] = math.exp(x[i])


@compiled
def _sines(x, out):
    for i in range(len(x)):
        out[i] = math.sin(x[i])


@compiled
def _cosines(x, out):
    for i in range(len(x)):
        out[i] = math.cos(x[i])


@compiled
def _powers(x, y, out):
    for i in range(len(x)):
        out[i] = math.pow(x[i], y[i])


def _over(loop):
    def function(*given):
        shape = np.broadcast_shapes(*(x.shape for x in given))
        out = np.empty(shape).reshape(-1)
        loop(*(np.ascontiguousarray(np.broadcast_to(x, shape)).reshape(-1) for x in given), out)
        return out.reshape(shape)

    return function


LIBM = {
    "ln": _over(_logs),
    "log": _over(_logs_to_10),
    "exp": _over(_exponentials),
    "sin": _over(_sines),
    "cos": _over(_cosines),
    "pow": _over(_powers),
}
"""Functions of the C library, which the engine uses too; numpy's own differ in the last bit."""
