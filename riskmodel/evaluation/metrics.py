"""Measures of a risk model, each defined here and nowhere else.

All take weights, so that a bootstrap over households is a change of weights: the scores are sorted once, and each
replicate costs a few passes over the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from threadpoolctl import threadpool_limits

from riskmodel.settings import Capacity, Intervals

METRICS = (
    "roc_auc", "pr_auc", "brier", "log_loss", "calibration_slope", "calibration_intercept",
    "precision_at_capacity", "recall_at_capacity",
)  # fmt: skip
_CLOSE = 1e-9
TIES = ("precision_at_capacity_worst", "precision_at_capacity_best")


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Plain numbers; null where not defined."""
        return {k: (float(v) if np.isfinite(v) else None) for k, v in vars(self).items()}


class Scored:
    """Outcomes and risks of one test set, sorted once.

    Parameters
    ----------
    outcome
        0/1, shape (n,).
    risk
        Predicted probabilities, shape (n,).
    lists
        Codes of the list that each row competes in (county and month), shape (n,).
    capacity
        Length of each list: a number of households, or a share of those at risk (rounded up).
    """

    def __init__(
        self,
        outcome: np.ndarray,
        risk: np.ndarray,
        lists: np.ndarray | None = None,
        capacity: Capacity | None = None,
    ) -> None:
        self.y = np.asarray(outcome, float)
        self.p = np.asarray(risk, float)
        self.capacity = capacity
        order = np.argsort(-self.p, kind="stable")
        self._order = order
        self._blocks = _starts(self.p[order])
        if capacity is not None:
            codes = np.unique(np.zeros(len(self.y)) if lists is None else lists, return_inverse=True)[1]
            self._list_order = np.lexsort((-self.p, codes))
            sorted_codes, sorted_p = codes[self._list_order], self.p[self._list_order]
            self._list_blocks = _starts(sorted_codes, sorted_p)
            self._block_list = sorted_codes[self._list_blocks]
            self._list_first = _starts(self._block_list)
        with np.errstate(divide="ignore"):
            clipped = np.clip(self.p, np.finfo(float).eps, 1 - np.finfo(float).eps)
        self._log = np.where(self.y == 1, np.log(clipped), np.log1p(-clipped))
        self._logit = np.log(clipped) - np.log1p(-clipped)
        self._start: np.ndarray | None = None

    def metrics(self, weight: np.ndarray | None = None) -> dict[str, float]:
        """Every metric, by name.

        Parameters
        ----------
        weight
            Non-negative weights, shape (n,); 1 by default.
        """
        w = np.ones(len(self.y)) if weight is None else np.asarray(weight, float)
        total = w.sum()
        found = {
            "roc_auc": self._roc_auc(w),
            "pr_auc": self._pr_auc(w),
            "brier": float(np.dot(w, (self.p - self.y) ** 2) / total),
            "log_loss": float(-np.dot(w, self._log) / total),
            "calibration_slope": self._calibration_slope(w),
            "calibration_intercept": self._calibration_intercept(w),
        }
        if self.capacity is not None:
            found |= self._at_capacity(w)
        return found

    def _by_block(self, w: np.ndarray, order: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of positives and of all rows in each block of equal scores."""
        w = w[order]
        return np.add.reduceat(w * self.y[order], blocks), np.add.reduceat(w, blocks)

    def _roc_auc(self, w: np.ndarray) -> float:
        positive, everyone = self._by_block(w, self._order, self._blocks)
        negative = everyone - positive
        below = negative.sum() - np.cumsum(negative)
        pairs = positive.sum() * negative.sum()
        return float(np.dot(positive, below + negative / 2) / pairs) if pairs > 0 else np.nan

    def _pr_auc(self, w: np.ndarray) -> float:
        """Average precision, as scikit-learn defines it."""
        positive, everyone = self._by_block(w, self._order, self._blocks)
        listed = np.cumsum(everyone)
        precision = np.divide(np.cumsum(positive), listed, out=np.zeros(len(listed)), where=listed > 0)
        return float(np.dot(precision, positive) / positive.sum()) if positive.sum() > 0 else np.nan

    def _calibration_slope(self, w: np.ndarray) -> float:
        """Slope of a logistic regression of the outcome on the logit of the risk (Cox 1958)."""
        if np.ptp(self._logit) < 1e-9:
            return np.nan
        beta = np.array([0.0, 1.0]) if self._start is None else self._start
        x = self._logit
        for _ in range(50):
            q = expit(beta[0] + beta[1] * x)
            v = w * q * (1 - q)
            gradient = np.array([np.dot(w, self.y - q), np.dot(w * x, self.y - q)])
            vx = v * x
            off = vx.sum()
            hessian = np.array([[v.sum(), off], [off, np.dot(vx, x)]])
            if not np.isfinite(hessian).all() or abs(np.linalg.det(hessian)) < 1e-12:
                return np.nan
            change = np.linalg.solve(hessian, gradient)
            beta = beta + change
            if np.abs(change).max() < _CLOSE:
                break
        if self._start is None:
            self._start = beta
        return float(beta[1])

    def _calibration_intercept(self, w: np.ndarray) -> float:
        """Calibration in the large: the shift of all logits that makes the mean risk equal the rate."""
        target = np.dot(w, self.y)
        if not 0 < target < w.sum():
            return np.nan
        shift = 0.0
        for _ in range(50):
            q = expit(shift + self._logit)
            change = (target - np.dot(w, q)) / max(np.dot(w, q * (1 - q)), 1e-300)
            shift += float(np.clip(change, -2, 2))
            if abs(change) < _CLOSE:
                break
        return shift

    def _at_capacity(self, w: np.ndarray) -> dict[str, float]:
        """Precision and recall of the lists; a tie at the end of a list is shared out, lost or won."""
        positive, everyone = self._by_block(w, self._list_order, self._list_blocks)
        in_list = np.add.reduceat(everyone, self._list_first)
        sizes = np.diff(np.append(self._list_first, len(self._block_list)))
        room = (
            np.minimum(float(self.capacity.number), in_list)
            if self.capacity.number
            else np.ceil(self.capacity.share * in_list - 1e-9)
        )
        running = np.cumsum(everyone)
        before = running - everyone - np.repeat(running[self._list_first] - everyone[self._list_first], sizes)
        taken = np.clip(np.repeat(room, sizes) - before, 0, everyone)
        share = np.divide(taken, everyone, out=np.zeros(len(taken)), where=everyone > 0)
        listed, hits = taken.sum(), np.dot(share, positive)
        worst = np.maximum(taken - (everyone - positive), 0).sum()
        best = np.minimum(taken, positive).sum()
        return {
            "precision_at_capacity": float(hits / listed) if listed else np.nan,
            "recall_at_capacity": float(hits / positive.sum()) if positive.sum() else np.nan,
            "precision_at_capacity_worst": float(worst / listed) if listed else np.nan,
            "precision_at_capacity_best": float(best / listed) if listed else np.nan,
        }


def with_intervals(
    scored: Mapping[str, Scored], households: pd.Series | np.ndarray, intervals: Intervals, seed: int
) -> dict[str, dict[str, Interval]]:
    """Metrics of several models on one test set, with percentile intervals from a bootstrap over households.

    All models see the same resamples, so that their differences can be compared.

    Parameters
    ----------
    scored
        Models by name, on the same rows.
    households
        Household of each row, shape (n,).
    """
    codes, count = _codes(households)
    point = {name: s.metrics() for name, s in scored.items()}
    draws = {name: {m: [] for m in found} for name, found in point.items()}
    generator = np.random.default_rng(seed)
    with threadpool_limits(1):
        for _ in range(intervals.replicates):
            weight = np.bincount(generator.integers(0, count, count), minlength=count)[codes].astype(float)
            for name, s in scored.items():
                for metric, value in s.metrics(weight).items():
                    draws[name][metric].append(value)
    tail = (1 - intervals.level) / 2
    return {
        name: {metric: Interval(value, *_quantiles(draws[name][metric], tail)) for metric, value in found.items()}
        for name, found in point.items()
    }


def calibration_curve(outcome: np.ndarray, risk: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Mean risk and observed rate in bins of equal size, with Wilson intervals of the rate.

    Returns
    -------
    pandas.DataFrame
        `households`, `risk`, `rate`, `low`, `high`; one row per bin, by rising risk.
    """
    order = np.argsort(risk, kind="stable")
    rows = []
    for part in np.array_split(order, min(bins, len(order))):
        n, rate = len(part), float(np.mean(outcome[part]))
        low, high = wilson(rate * n, n)
        rows.append({"households": n, "risk": float(np.mean(risk[part])), "rate": rate, "low": low, "high": high})
    return pd.DataFrame(rows)


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a share.

    >>> tuple(round(x, 3) for x in wilson(5, 10))
    (0.237, 0.763)
    """
    if n == 0:
        return np.nan, np.nan
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(centre - half), float(centre + half)


def _starts(*keys: np.ndarray) -> np.ndarray:
    """Positions at which sorted keys change, the first included."""
    changed = np.zeros(len(keys[0]), bool)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def _codes(households: pd.Series | np.ndarray) -> tuple[np.ndarray, int]:
    codes, names = pd.factorize(np.asarray(households, dtype=object), sort=True)
    return codes, len(names)


def _quantiles(values: list[float], tail: float) -> tuple[float, float]:
    finite = np.asarray(values)[np.isfinite(values)]
    if len(finite) < len(values) / 2 or not len(finite):
        return np.nan, np.nan
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)
