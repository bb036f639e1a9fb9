"""Measures of a risk model, each defined here and nowhere else.

All take weights, so that a bootstrap over households is a change of weights: the scores are sorted once, and each
replicate costs a few passes over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from riskmodel.errors import UsageError
from riskmodel.evaluation.bootstrap import Interval, percentile_interval, resample
from riskmodel.settings import Capacity, Intervals

METRICS = (
    "roc_auc", "pr_auc", "brier", "log_loss", "calibration_slope", "calibration_intercept",
    "precision_at_capacity", "recall_at_capacity",
)  # fmt: skip
_CLOSE = 1e-9


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
    told
        Share of the households at risk of a row's list that are among these rows, shape (n,), from `competing`; 1 by
        default. The others hold their part of a number of places: of 20 places for 100 at risk, 10 are for the 50 whose
        outcome is known.
    """

    def __init__(
        self,
        outcome: np.ndarray,
        risk: np.ndarray,
        lists: np.ndarray | None = None,
        capacity: Capacity | None = None,
        told: np.ndarray | None = None,
    ) -> None:
        self.y = np.asarray(outcome, float)
        self.p = np.asarray(risk, float)
        self.capacity = capacity
        order = np.argsort(-self.p, kind="stable")
        self._order = order
        self._blocks = _starts(self.p[order])
        self._bins = ece_bins(self.p)
        if capacity is not None:
            codes = np.unique(np.zeros(len(self.y)) if lists is None else lists, return_inverse=True)[1]
            self._list_order = np.lexsort((-self.p, codes))
            sorted_codes, sorted_p = codes[self._list_order], self.p[self._list_order]
            self._list_blocks = _starts(sorted_codes, sorted_p)
            self._block_list = sorted_codes[self._list_blocks]
            self._list_first = _starts(self._block_list)
            of_row = np.ones(len(self.y)) if told is None else np.asarray(told, float)
            self._told = of_row[self._list_order][self._list_blocks][self._list_first]
        with np.errstate(divide="ignore"):
            clipped = np.clip(self.p, np.finfo(float).eps, 1 - np.finfo(float).eps)
        self._log = np.where(self.y == 1, np.log(clipped), np.log1p(-clipped))
        self._logit = np.log(clipped) - np.log1p(-clipped)
        self._start: np.ndarray | None = None

    def metrics(self, weight: np.ndarray | None = None, names: Collection[str] | None = None) -> dict[str, float]:
        """Every metric by name, or those named, without the cost of the others.

        Parameters
        ----------
        weight
            Non-negative weights, shape (n,); 1 by default.
        names
            Metrics to give; all by default.
        """
        w = np.ones(len(self.y)) if weight is None else np.asarray(weight, float)
        total = w.sum()
        rate, risk = float(np.dot(w, self.y) / total), float(np.dot(w, self.p) / total)
        brier = float(np.dot(w, (self.p - self.y) ** 2) / total)
        blocks = self._by_block(w, self._order, self._blocks)
        told: dict[str, Callable[[], float]] = {
            "roc_auc": lambda: _roc_auc(*blocks),
            "pr_auc": lambda: _pr_auc(*blocks),
            "brier": lambda: brier,
            "brier_skill": lambda: 1 - brier / (rate * (1 - rate)) if 0 < rate < 1 else np.nan,
            "log_loss": lambda: float(-np.dot(w, self._log) / total),
            "calibration_slope": lambda: self._calibration_slope(w),
            "calibration_intercept": lambda: self._calibration_intercept(w),
            "rate_error": lambda: risk - rate,
            "ece": lambda: _ece(w * (self.p - self.y), self._bins, total),
        }
        found = {name: tell() for name, tell in told.items() if names is None or name in names}
        if self.capacity is not None:
            found |= {n: value for n, value in self._at_capacity(w).items() if names is None or n in names}
        return found

    def metric(self, name: str, weight: np.ndarray | None = None) -> float:
        """One of `metrics`."""
        if name.endswith("_at_capacity"):
            return self._at_capacity(np.ones(len(self.y)) if weight is None else np.asarray(weight, float))[name]
        return self.metrics(weight, (name,))[name]

    def _by_block(self, w: np.ndarray, order: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of positives and of all rows in each block of equal scores."""
        w = w[order]
        return np.add.reduceat(w * self.y[order], blocks), np.add.reduceat(w, blocks)

    def _calibration_slope(self, w: np.ndarray) -> float:
        """Slope of a logistic regression of the outcome on the logit of the risk (Cox 1958), by bounded Newton steps."""
        from scipy.special import expit

        events, total, width = np.dot(w, self.y), w.sum(), float(self._logit.std())
        if width < 1e-9 or not 0 < events < total:
            return np.nan
        x = (self._logit - self._logit.mean()) / width
        beta = np.array([np.log(events / (total - events)), 0.0]) if self._start is None else self._start
        for _ in range(200):
            q = expit(beta[0] + beta[1] * x)
            v = w * q * (1 - q)
            vx = v * x
            off = vx.sum()
            hessian = np.array([[v.sum(), off], [off, np.dot(vx, x)]])
            if not np.linalg.det(hessian) > 1e-12 * hessian[0, 0] ** 2:
                return np.nan
            residual = w * (self.y - q)
            change = np.linalg.solve(hessian, np.array([residual.sum(), np.dot(residual, x)]))
            largest = np.abs(change).max()
            beta = beta + change / max(largest, 1.0)
            if largest < _CLOSE:
                break
        else:
            return np.nan
        if self._start is None:
            self._start = beta
        return float(beta[1] / width)

    def _calibration_intercept(self, w: np.ndarray) -> float:
        """Calibration in the large: the shift of all logits that makes the mean risk equal the rate."""
        from scipy.special import expit

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
            np.minimum(self.capacity.number * self._told, in_list)
            if self.capacity.number
            else np.ceil(self.capacity.share * in_list - 1e-9)
        )
        running = np.cumsum(everyone)
        before = running - everyone - np.repeat(running[self._list_first] - everyone[self._list_first], sizes)
        taken = np.clip(np.repeat(room, sizes) - before, 0, everyone)
        share = np.divide(taken, everyone, out=np.zeros(len(taken)), where=everyone > 0)
        listed, hits = taken.sum(), np.dot(share, positive)
        found = figures_of_list(hits, listed, positive.sum(), everyone.sum())
        worst = np.maximum(taken - (everyone - positive), 0).sum()
        best = np.minimum(taken, positive).sum()
        return {
            "precision_at_capacity": found["precision"],
            "recall_at_capacity": found["recall"],
            "lift_at_capacity": found["lift"],
            "precision_at_capacity_worst": float(worst / listed) if listed else np.nan,
            "precision_at_capacity_best": float(best / listed) if listed else np.nan,
        }


def with_intervals(
    scored: Mapping[str, Scored], households: pd.Series | np.ndarray, intervals: Intervals, seed: int
) -> dict[str, dict[str, Interval]]:
    """Metrics of several models on one test set, with percentile intervals from a bootstrap over households.

    All models see the same resamples; `resample` also gives their paired differences.

    Parameters
    ----------
    scored
        Models by name, on the same rows.
    households
        Household of each row, shape (n,).
    """
    return resample({name: s.metrics for name, s in scored.items()}, households, intervals, seed).intervals()


def competing(at_risk: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of some rows the list that each competes in, and the share of those at risk there that is among these rows.

    Parameters
    ----------
    at_risk
        Everybody at risk, outcome known or not: `as_of`, `county_id`.
    rows
        Positions of the rows that are scored.

    Returns
    -------
    tuple of numpy.ndarray
        `lists` and `told` of `Scored`, each as long as `rows`.

    >>> at_risk = pd.DataFrame({"as_of": "2024-01", "county_id": ["a", "a", "b", "b"]})
    >>> competing(at_risk, np.array([0, 2, 3]))[1].tolist()
    [0.5, 1.0, 1.0]
    """
    lists = at_risk.groupby(["as_of", "county_id"], sort=False, dropna=False).ngroup().to_numpy()
    own = lists[rows]
    return own, (np.bincount(own, minlength=lists.max(initial=-1) + 1) / np.bincount(lists))[own]


def figures_of_list(hits: float, listed: float, events: float, rows: float) -> dict[str, float]:
    """Figures of a list from its four counts (weights where rows are weighted); NaN where not defined.

    `precision`: share of the listed that fell. `recall`: share of those that fell which were listed. `lift`: precision
    over the rate of falls, 1 for a list drawn by lot. `missed`: 1 - recall. `false_alerts_per_1000`: listed without a
    fall, per 1,000 households at risk.

    >>> figures_of_list(hits=30, listed=100, events=60, rows=1000)["lift"]
    5.0
    """
    precision = float(hits / listed) if listed else np.nan
    recall = float(hits / events) if events else np.nan
    return {
        "precision": precision,
        "recall": recall,
        "lift": float(precision * rows / events) if events else np.nan,
        "missed": 1 - recall,
        "false_alerts_per_1000": float(1000 * (listed - hits) / rows) if rows else np.nan,
    }


def share_of_known(outcome: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """The share of some households that fell, where it is not known of all, and what it is if none and if all of these fell.

    A fall is known before it is known of others that they did not fall: more fell of those known than of all.

    Parameters
    ----------
    outcome
        0/1, shape (n,); NaN where it is not known.
    weight
        Of the rows of known outcome, such as those of `cohort.labels.censoring_weights`, shape (n,).

    >>> share_of_known(np.array([1, 0, 0, np.nan, np.nan]), np.array([1.0, 2, 2, 0, 0]))
    (0.2, 0.2, 0.6)
    """
    known = ~np.isnan(outcome)
    if not known.any():
        return (np.nan, 0.0, 1.0) if len(outcome) else (np.nan, np.nan, np.nan)
    low, high = outcome[known].sum() / len(outcome), (outcome[known].sum() + (~known).sum()) / len(outcome)
    share = np.average(outcome[known], weights=weight[known])
    return float(np.clip(share, low, high)), float(low), float(high)


def ece_bins(risk: np.ndarray, bins: int = 10) -> np.ndarray:
    """Bin of each row for the expected calibration error, shape (n,): bins of equal size, equal risks never parted.

    The bin is the share of rows with a lower risk, times `bins`, rounded down.

    >>> ece_bins(np.array([0.1, 0.2, 0.2, 0.9]), bins=2).tolist()
    [0, 0, 0, 1]
    """
    risk = np.asarray(risk, float)
    below = np.searchsorted(np.sort(risk), risk, side="left")
    return below * bins // max(len(risk), 1)


def ece_null_band(
    risk: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    bins: int = 10,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The expected calibration error that a perfectly calibrated model with these risks would show, by simulation.

    An ECE is above 0 by chance alone; only one above `high` speaks against the model (Vaicenavicius et al. 2019,
    consistency resampling). Rows are drawn independently: where a household has many rows with the same outcome the
    true band is wider.

    Parameters
    ----------
    risk
        Predicted probabilities, shape (n,).
    weight
        Non-negative weights, shape (n,).

    Returns
    -------
    Interval
        Mean, and the central `level` of the simulated values.
    """
    risk = np.asarray(risk, float)
    w = np.ones(len(risk)) if weight is None else np.asarray(weight, float)
    codes = ece_bins(risk, bins)
    generator = np.random.default_rng(seed)
    draws = [_ece(w * (risk - (generator.random(len(risk)) < risk)), codes, w.sum()) for _ in range(replicates)]
    return percentile_interval(float(np.mean(draws)), draws, level)


def decision_curve(
    outcome: np.ndarray, risk: np.ndarray, thresholds: Sequence[float], weight: np.ndarray | None = None
) -> pd.DataFrame:
    """Net benefit of visiting everybody whose risk reaches a threshold (Vickers & Elkin 2006).

    A threshold t says that one fall found is worth (1 - t) / t visits in vain. The net benefit, per household at risk,
    is the share listed that fell, minus t / (1 - t) times the share listed that did not.

    Parameters
    ----------
    thresholds
        The stated range, each above 0 and below 1, ascending.

    Returns
    -------
    pandas.DataFrame
        `threshold, listed` (share), `net_benefit, treat_all, treat_none` and `gain` over the better of the two.

    Raises
    ------
    UsageError
        If a threshold lies outside (0, 1) or they do not ascend.

    >>> decision_curve(np.array([0, 0, 1, 1.0]), np.array([0.1, 0.6, 0.7, 0.9]), [0.5])["net_benefit"].tolist()
    [0.25]
    """
    t = np.asarray(thresholds, float)
    if not len(t) or t.min() <= 0 or t.max() >= 1 or (np.diff(t) <= 0).any():
        raise UsageError("thresholds of a decision curve ascend and lie between 0 and 1: give for example 0.02, 0.05, 0.1.")
    y = np.asarray(outcome, float)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    reached = np.searchsorted(t, np.asarray(risk, float), side="right")
    total = w.sum()

    def listed(of: np.ndarray) -> np.ndarray:
        by_reached = np.bincount(reached, weights=of, minlength=len(t) + 1)
        return np.cumsum(by_reached[::-1])[::-1][1:] / total

    odds = t / (1 - t)
    true, false = listed(w * y), listed(w * (1 - y))
    rate = np.dot(w, y) / total
    treat_all = rate - odds * (1 - rate)
    net = true - odds * false
    return pd.DataFrame({
        "threshold": t,
        "listed": true + false,
        "net_benefit": net,
        "treat_all": treat_all,
        "treat_none": 0.0,
        "gain": net - np.maximum(treat_all, 0),
    })  # fmt: skip


def calibration_curve(outcome: np.ndarray, risk: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Mean risk and observed rate in the bins of `ece_bins`, with Wilson intervals of the rate.

    Returns
    -------
    pandas.DataFrame
        `households`, `risk`, `rate`, `low`, `high`; one row per bin that holds somebody, by rising risk.
    """
    outcome, risk = np.asarray(outcome, float), np.asarray(risk, float)
    of_row = ece_bins(risk, bins)
    rows = []
    for part in (of_row == number for number in np.unique(of_row)):
        n, rate = int(part.sum()), float(outcome[part].mean())
        low, high = wilson(rate * n, n)
        rows.append({"households": n, "risk": float(risk[part].mean()), "rate": rate, "low": low, "high": high})
    return pd.DataFrame(rows)


def wilson(successes: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval of a share.

    >>> tuple(round(x, 3) for x in wilson(5, 10))
    (0.237, 0.763)
    >>> wilson(0, 86)[0], wilson(86, 86)[1]
    (0.0, 1.0)
    """
    if n == 0:
        return np.nan, np.nan
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(centre - half) if successes > 0 else 0.0, float(centre + half) if successes < n else 1.0


def _roc_auc(positive: np.ndarray, everyone: np.ndarray) -> float:
    negative = everyone - positive
    below = negative.sum() - np.cumsum(negative)
    pairs = positive.sum() * negative.sum()
    return float(np.dot(positive, below + negative / 2) / pairs) if pairs > 0 else np.nan


def _pr_auc(positive: np.ndarray, everyone: np.ndarray) -> float:
    """Average precision, as scikit-learn defines it."""
    listed = np.cumsum(everyone)
    precision = np.divide(np.cumsum(positive), listed, out=np.zeros(len(listed)), where=listed > 0)
    return float(np.dot(precision, positive) / positive.sum()) if positive.sum() > 0 else np.nan


def _ece(excess: np.ndarray, bins: np.ndarray, total: float) -> float:
    """Sum over bins of |mean risk - rate| times the bin's share, from weighted differences of risk and outcome."""
    return float(np.abs(np.bincount(bins, weights=excess)).sum() / total)


def _starts(*keys: np.ndarray) -> np.ndarray:
    """Positions at which sorted keys change, the first included."""
    changed = np.zeros(len(keys[0]), bool)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)
