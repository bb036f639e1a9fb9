"""How far two samples lie apart, and how likely that is by chance: the arithmetic of drift, on arrays alone.

Chance is told by the spread between clusters, the same on both sides (cluster-robust t, Liang & Zeger 1986). A change of
distribution is measured by the population stability index (Siddiqi 2006) and the Kolmogorov-Smirnov distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special, stats

_FEW_VALUES = 12
_OWN_BIN = 0.1
_RARE = 0.002
"""Share of values on each side beyond which lies what is hardly ever seen."""


def shares_differ(
    now: np.ndarray, of_now: np.ndarray, then: np.ndarray, of_then: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of each bin in two samples, and the chance of a difference so large, by the spread between clusters.

    Parameters
    ----------
    now, then
        Bin of each row, 0 to bins - 1; -1 is left out.
    of_now, of_then
        Cluster of each row; the same numbers mean the same clusters.

    Returns
    -------
    tuple of numpy.ndarray
        Shares now, shares then, two-sided p-values, shape (bins,) each. Without two clusters the p-values are 1.

    >>> a, b = np.repeat([0, 1], [90, 10]), np.repeat([0, 1], [50, 50])
    >>> share, before, p = shares_differ(a, np.arange(100), b, np.arange(100), 2)
    >>> share.tolist(), before.tolist(), bool(p[0] < 1e-6)
    ([0.9, 0.1], [0.5, 0.5], True)
    """
    number = int(max(of_now.max(initial=-1), of_then.max(initial=-1))) + 1
    a, b = _counted(now, of_now, number, bins), _counted(then, of_then, number, bins)
    totals = [max(c.sum(), 1.0) for c in (a, b)]
    there = (a.sum(axis=1) + b.sum(axis=1)) > 0
    a, b = a[there], b[there]
    pooled = (a.sum(axis=0) + b.sum(axis=0)) / max(a.sum() + b.sum(), 1.0)
    excess = (a - a.sum(axis=1, keepdims=True) * pooled) / totals[0] - (b - b.sum(axis=1, keepdims=True) * pooled) / totals[
        1
    ]
    return a.sum(axis=0) / totals[0], b.sum(axis=0) / totals[1], chance_of(excess)


def _counted(code: np.ndarray, cluster: np.ndarray, number: int, bins: int) -> np.ndarray:
    """Rows of each cluster in each bin, shape (number, bins); a row in bin -1 is left out."""
    known = code >= 0
    cells = cluster[known].astype(np.int64) * bins + code[known]
    return np.bincount(cells, minlength=number * bins).reshape(number, bins).astype(float)


def chance_of(excess: np.ndarray) -> np.ndarray:
    """Two-sided p-value of the sum of each column over clusters being 0, shape (bins,)."""
    clusters = len(excess)
    if clusters < 2:
        return np.ones(excess.shape[1])
    whole, error = excess.sum(axis=0), np.sqrt(clusters) * excess.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(np.abs(whole) > 1e-12, np.abs(whole) / error, 0.0)
    return 2 * stats.t.sf(t, clusters - 1)


def stability_index(now: np.ndarray, then: np.ndarray, rows_now: int, rows_then: int) -> float:
    """Population stability index of two sets of shares; an empty bin counts as half a row.

    >>> round(stability_index(np.array([0.5, 0.5]), np.array([0.9, 0.1]), 100, 100), 3)
    0.879
    """
    a, b = np.maximum(now, 0.5 / max(rows_now, 1)), np.maximum(then, 0.5 / max(rows_then, 1))
    return float(((a - b) * np.log(a / b)).sum())


def ks_distance(now: np.ndarray, then: np.ndarray) -> float:
    """Largest distance of two distribution functions (Kolmogorov-Smirnov).

    >>> ks_distance(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6]))
    0.5
    """
    if not len(now) or not len(then):
        return np.nan
    a, b = np.sort(now), np.sort(then)
    at = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max())


def bins_of(then: np.ndarray, *others: np.ndarray) -> tuple[int, list[np.ndarray]]:
    """Bins by the reference: each value where they are few, else tenths, with a value that many hold in a bin of its own.

    Returns
    -------
    tuple
        The number of bins, and for the reference and each other sample the bin of each value, -1 where it is NaN.
    """
    known = then[np.isfinite(then)]
    values, counts = np.unique(known, return_counts=True)
    if len(values) <= _FEW_VALUES:
        edges = (values[1:] + values[:-1]) / 2
        return len(edges) + 1, [_binned(sample, edges) for sample in (then, *others)]
    most = counts.argmax()
    held = values[most] if counts[most] >= _OWN_BIN * len(known) else None
    rest = known if held is None else known[known != held]
    edges = np.unique(np.quantile(rest, np.linspace(0.1, 0.9, 9)))
    found = [_binned(sample, edges) for sample in (then, *others)]
    if held is None:
        return len(edges) + 1, found
    own = len(edges) + 1
    return own + 1, [np.where(sample == held, own, code) for sample, code in zip((then, *others), found, strict=True)]


def _binned(sample: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(sample), np.searchsorted(edges, sample, side="left"), -1)


def unit_steps(now: np.ndarray, then: np.ndarray, factors: Sequence[float], window: float) -> np.ndarray:
    """Which step of a unit each value made: bin 0 for none, then each factor up, then each down; -1 where not compared.

    The usual step of the column, its median, is taken out: where all values grow or shrink, those in another unit stand out
    from them. A median as large as half the least factor is no growth and stays.

    Parameters
    ----------
    now, then
        Values of the same households, shape (n,).
    window
        Half-width, in logarithms, of what counts as the factor: a household's own change comes on top.

    >>> unit_steps(np.array([10000.0, 110, 1, 0, 90]), np.array([100.0, 100, 100, 5, 90]), [12, 100], 0.6).tolist()
    [2, 0, 4, -1, 0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.log(now / then)
    compared = (now > 0) & (then > 0) & np.isfinite(step)
    steps = np.log(np.asarray(factors, float))
    usual = float(np.median(step[compared])) if compared.any() else 0.0
    step = np.where(compared, step - (usual if abs(usual) < steps.min() / 2 else 0.0), 0.0)
    code = np.zeros(len(now), int)
    large = np.flatnonzero(np.abs(step) >= steps.min() - window)
    away = np.abs(step[large, None] - np.concatenate([steps, -steps]))
    nearest = away.argmin(axis=1)
    code[large] = np.where(away[np.arange(len(large)), nearest] <= window, nearest + 1, 0)
    return np.where(compared, code, -1)


def out_of_range(values: Sequence[np.ndarray], usual: np.ndarray, window: float) -> list[np.ndarray]:
    """Which values lie far beyond those of all households: bin 1 above, 2 below, 0 within; -1 where there is none above 0.

    Parameters
    ----------
    values
        Values of households, shape (n,) each.
    usual
        Values that say what is usual, any shape; of each side the most extreme of 500 are left out.
    window
        How far beyond them, in logarithms.

    >>> usual = np.arange(1.0, 1001)
    >>> [codes] = out_of_range([np.array([500.0, 50_000, 0.05, 0, np.nan, 1500])], usual, 0.6)
    >>> codes.tolist()
    [0, 1, 2, -1, -1, 0]
    """
    low, high = np.quantile(usual[usual > 0], [_RARE, 1 - _RARE]) * np.exp([-window, window])
    return [np.where(x > 0, np.select([x > high, x < low], [1, 2], 0), -1) for x in values]


def more_than_usual(
    now: np.ndarray, usual: Sequence[np.ndarray], cluster: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of each bin now and in the usual months, and the chance of so many more now.

    Rare steps are counts: of all made now and in the usual months together, those now are binomial where nothing changed
    (Przyborowski & Wilenski 1940). Where they come in bunches, of villages or of months, a bunch counts as one
    (quasi-Poisson).

    Parameters
    ----------
    now, usual
        Bin of each household's value, -1 where not compared, shape (households,) each.
    cluster
        Cluster of each household, shape (households,).

    Returns
    -------
    tuple of numpy.ndarray
        Share now, share in the usual months, one-sided p-values, shape (bins,) each.

    >>> rare = np.zeros(300, int)
    >>> hit = np.where(np.arange(300) % 20 == 0, 1, 0)
    >>> share, before, p = more_than_usual(hit, [rare, rare, rare], np.arange(300) // 10, 2)
    >>> float(share[1]), float(before[1]), bool(p[1] < 1e-8)
    (0.05, 0.0, True)
    """
    number = int(cluster.max(initial=-1)) + 1
    cells = [_counted(code, cluster, number, bins) for code in (now, *usual)]
    of = [cell.sum(axis=1, keepdims=True) for cell in cells]
    here, there = cells[0].sum(axis=0), sum(cell.sum(axis=0) for cell in cells[1:])
    n_here, n_there = max(of[0].sum(), 1.0), max(sum(n.sum() for n in of[1:]), 1.0)
    share, before = here / n_here, there / n_there
    by_month = [(cell.sum(axis=0), n.sum() * before) for cell, n in zip(cells[1:], of[1:], strict=True)]
    bunched = [
        _bunching(cells[0], of[0] * share),
        _bunching(np.vstack(cells[1:]), np.vstack(of[1:]) * before),
        _bunching(*(np.vstack(side) for side in zip(*by_month, strict=True))),
    ]
    count_as = np.maximum(np.max(bunched, axis=0), 1.0)
    made = np.maximum(here, 1e-9) / count_as
    return share, before, special.betainc(made, there / count_as + 1, n_here / (n_here + n_there))


def fewer_than_usual(now: float, usual: np.ndarray) -> float:
    """Chance of so few now, where as many came in the usual stretches of time.

    Of all counted now and then, those now are binomial where nothing changed (Przyborowski & Wilenski 1940). Where the
    stretches differ more among themselves than counts do by chance (quasi-Poisson), so many count as one; of that spread,
    which few stretches tell badly, the one-sided upper bound at 95 % is taken.

    Parameters
    ----------
    now
        Count of the stretch of time that is looked at.
    usual
        Counts of the others, shape (stretches,); of one alone nothing is told, and the chance is 1.

    >>> steady, uneven = np.array([52, 47, 55, 49, 51, 46]), np.array([0, 190, 8, 0, 97, 5])
    >>> fewer_than_usual(0, steady) < 1e-6, fewer_than_usual(0, uneven) > 0.2, fewer_than_usual(44, steady) > 0.2
    (True, True, True)
    """
    times, mean = len(usual), float(np.mean(usual)) if len(usual) else 0.0
    if times < 2 or mean <= 0:
        return 1.0
    count_as = max(float(((usual - mean) ** 2).sum() / mean / stats.chi2.ppf(0.05, times - 1)), 1.0)
    return float(special.betainc(times * mean / count_as, now / count_as + 1, times / (times + 1)))


def _bunching(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Variance of the counts of cells over that of independent ones, shape (bins,); 0 where it cannot be told."""
    cells, whole = int((expected.sum(axis=1) > 0).sum()), expected.sum(axis=0)
    if cells < 2:
        return np.zeros(counts.shape[1])
    spread = ((counts - expected) ** 2).sum(axis=0)
    return np.divide(spread, whole, out=np.zeros_like(whole), where=whole > 0) * cells / (cells - 1)


def stretches(now: int, then: int, first: int, step: int) -> tuple[int, ...]:
    """Months, latest first, that cut the past into equal stretches, by which a steady trend is told; () where none can be.

    The stretch from `then` to now and the one before it; where the register begins too late for that, the years in between,
    or of a single year its quarters, which no season makes all alike.

    >>> stretches(36, 24, 0, 1), stretches(36, 12, 0, 1), stretches(36, 24, 20, 1), stretches(60, 24, 20, 1)
    ((36, 24, 12), (36, 24, 12), (36, 33, 30, 27, 24), ())
    """
    gap = now - then
    if then - gap >= first:
        return now, then, then - gap
    if gap % 24 == 0:
        return now, now - gap // 2, then
    return tuple(range(now, then - 1, -3)) if gap == 12 and 3 % step == 0 else ()


def beyond(now: np.ndarray, middle: np.ndarray, early: np.ndarray) -> float:
    """Stability index of now against the middle sample, moved on as that came from the early one.

    Each step is told in tenths of where it began: what a counter gains in a year is alike in those of each year. Infinite
    where a sample is empty.
    """
    if not len(now) or not len(middle) or not len(early):
        return np.inf
    values, counts = np.unique(middle, return_counts=True)
    held = values[counts >= _OWN_BIN * len(middle)]

    def shares(then: np.ndarray, later: np.ndarray) -> list[np.ndarray]:
        if len(values) <= _FEW_VALUES:
            edges, own = (values[1:] + values[:-1]) / 2, values[:0]
        else:
            rest = then[~np.isin(then, held)]
            edges, own = np.quantile(rest if len(rest) else then, np.linspace(0.1, 0.9, 9)), held
        return [_shares(x, edges, own) for x in (then, later)]

    (at, reached), (came, to) = shares(middle, now), shares(early, middle)
    expected = np.maximum(at + to - came, 0.0)
    return stability_index(reached, expected / expected.sum(), len(now), len(middle))


def _shares(sample: np.ndarray, edges: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Shares of a sample between the edges, then of each value with a bin of its own."""
    apart = np.isin(sample, own)
    between = np.bincount(np.searchsorted(edges, sample[~apart], side="left"), minlength=len(edges) + 1)
    return np.append(between, [(sample == value).sum() for value in own]) / len(sample)


def middling(values: np.ndarray) -> np.ndarray:
    """Median over the rows of those that are known, shape (columns,); of two the smaller."""
    order = np.sort(values, axis=0)  # NaN last
    known = np.isfinite(values).sum(axis=0)
    return order[np.maximum(known - 1, 0) // 2, np.arange(values.shape[1])]
