"""Does the level of the risks hold, and what do intervals and actions cover: over all, by county and by outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.errors import UsageError
from riskmodel.evaluation.metrics import wilson

ACTIONS = ("list", "visit", "leave")


@dataclass(frozen=True)
class CalibrationCheck:
    """Calibration in the large: falls observed over falls expected.

    Attributes
    ----------
    rows, households, events
        What it rests on; `events` are the rows that fell.
    expected
        Sum of the risks; under weights `events / ratio`, the falls that would be seen among these rows if the risks held.
    ratio, low, high
        `events / expected`, falls weighted alike, with its interval at `level`, over households.
    margin
        How far from 1 the whole interval must lie for a warning: above `1 + margin` or below `1 / (1 + margin)`.
    """

    rows: int
    households: int
    events: int
    expected: float
    ratio: float
    low: float
    high: float
    margin: float
    level: float

    @property
    def warns(self) -> bool:
        """Whether the interval excludes 1 by more than the margin."""
        return self.low > 1 + self.margin or self.high < 1 / (1 + self.margin)

    @property
    def warning(self) -> tuple[str, str]:
        """A sentence in English and in Chinese; two empty ones where there is nothing to warn of."""
        if not self.warns:
            return "", ""
        found = f"{self.ratio:.2f}", f"{self.level:.0%}", f"{self.low:.2f}", f"{self.high:.2f}"
        much, little = ("low", "偏低") if self.ratio > 1 else ("high", "偏高")
        ratio, level, low, high = found
        return (
            f"Risks are too {much}: {self.events:,} falls observed, {self.expected:,.0f} expected, ratio {ratio} "
            f"({level} interval {low} to {high}). Recalibrate on recent months before using them.",
            f"风险整体{little}：实际返贫{self.events:,}户次，模型预期{self.expected:,.0f}户次，比值{ratio}"
            f"（{level}区间{low}至{high}）。使用前请用近月已知结果重新校准。",
        )

    def as_json(self) -> dict[str, float | int | str]:
        """All figures, and the warning as `warning_en` and `warning_zh`."""
        english, chinese = self.warning
        return {**vars(self), "warning_en": english, "warning_zh": chinese}


def calibration_in_the_large(
    outcome: np.ndarray,
    risk: np.ndarray,
    households: pd.Series | np.ndarray | None = None,
    *,
    weight: np.ndarray | None = None,
    margin: float = 0.1,
    level: float = 0.95,
) -> CalibrationCheck:
    """Falls observed over falls expected, with an interval over households.

    The interval is the exact one of a Poisson count (Garwood 1936), with the count divided by the design effect (Rao & Scott
    1992): a household that falls shows in several rows and counts about once. Unlike a bootstrap it holds with a handful
    of falls, and with none. It is too wide where risks are high. What strikes many households at once, such as a drought,
    is not in it.

    Parameters
    ----------
    outcome, risk
        0/1 and probabilities, shape (n,); only months after the model's own say something.
    households
        Household of each row, shape (n,). Give villages where falls come village by village. By default each row is one.
    weight
        Above 0, shape (n,), such as those of `cohort.labels.censoring_weights`, by which rows stand for those whose outcome
        is not known yet; only their ratios count. By default 1.
    margin
        See `CalibrationCheck`.

    Raises
    ------
    UsageError
        If there are no rows, an outcome or a risk is missing, or all risks are 0.

    >>> risk = np.full(1000, 0.05)
    >>> check = calibration_in_the_large(np.arange(1000) < 100, risk)
    >>> round(check.ratio, 2), round(check.low, 2), round(check.high, 2), check.warns
    (2.0, 1.63, 2.43, True)
    """
    from scipy.special import gammaincinv

    y, p = np.asarray(outcome, float), np.asarray(risk, float)
    if not len(y) or not np.isfinite(y + p).all() or p.sum() <= 0:
        raise UsageError("observed over expected needs rows whose outcome and risk are known; leave out the others.")
    codes, count = (np.arange(len(y)), len(y)) if households is None else _codes(households)
    w = relative(weight, len(y))
    events, expected = (w * y).sum(), (w * p).sum()
    effect = design_effect(w * y, w * p * (events / expected), codes)
    effect *= (w * w * y).sum() / events if events else float(np.mean(w * w))  # how many of the count a fall stands for
    tail = (1 - level) / 2
    low = gammaincinv(events / effect, tail) if events else 0.0
    high = gammaincinv(events / effect + 1, 1 - tail)
    scale = effect / expected
    seen = expected if weight is None or not events else y.sum() * expected / events
    return CalibrationCheck(
        len(y), count, int(y.sum()), float(seen), float(events / expected), float(low * scale), float(high * scale),
        margin, level,
    )  # fmt: skip


def relative(weight: np.ndarray | None, rows: int) -> np.ndarray:
    """Weights of which only the ratios count, their mean 1, shape (rows,); all 1 where none are given.

    >>> relative(np.array([1.0, 3.0]), 2).tolist()
    [0.5, 1.5]
    """
    return np.ones(rows) if weight is None else np.asarray(weight, float) / np.mean(weight)


def design_effect(outcome: np.ndarray, risk: np.ndarray, households: pd.Series | np.ndarray) -> float:
    """How many rows of one household count as one: at least 1, and 4 where a household is there in four equal rows.

    Squares of observed minus expected summed by household, over those of the rows. Where nobody fell it is the mean
    number of rows of a household.
    """
    codes, count = _codes(households)
    excess = np.asarray(outcome, float) - risk
    of_rows = float(excess @ excess)
    if not np.sum(outcome) or not of_rows:
        return max(len(codes) / max(count, 1), 1.0)
    by_household = np.bincount(codes, weights=excess)
    return max(float(by_household @ by_household) / of_rows, 1.0)


def interval_coverage(
    outcome: np.ndarray,
    intervals: pd.DataFrame,
    groups: pd.Series | np.ndarray | None = None,
    households: pd.Series | np.ndarray | None = None,
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """Whether the rate of falls lies between the mean ends of the intervals, group by group.

    Venn-Abers promises this over all households alike, not within a county: a county that fails it differs in what the
    features do not hold.

    Parameters
    ----------
    outcome
        0/1, shape (n,).
    intervals
        `low` and `high`, n rows; from `RiskModel.interval`.
    groups
        Group of each row, such as its county; one group `all` by default.
    households
        Household of each row; by default each row is one.

    Returns
    -------
    pandas.DataFrame
        By group: `rows, events, rate, rate_low, rate_high` (Wilson interval over households), `low, high` (means), and
        `holds`: no contradiction, the interval of the rate meets that of the risk.

    >>> intervals = pd.DataFrame({"low": [0.4, 0.4], "high": [0.6, 0.6]})
    >>> interval_coverage(np.array([0, 1]), intervals, ["a", "a"])[["rate", "low", "high", "holds"]].values.tolist()
    [[0.5, 0.4, 0.6, True]]
    """
    from scipy.special import gammaincinv

    y = np.asarray(outcome, float)
    low, high = intervals["low"].to_numpy(float), intervals["high"].to_numpy(float)
    group = np.full(len(y), "all") if groups is None else np.asarray(groups)
    household = np.arange(len(y)) if households is None else np.asarray(households)
    z = float(np.sqrt(2 * gammaincinv(0.5, level)))
    found = {}
    for name in pd.unique(group):
        here = group == name
        rate, n = y[here].mean(), int(here.sum())
        effect = design_effect(y[here], np.full(n, rate), household[here])
        rate_low, rate_high = wilson(rate * n / effect, n / effect, z)
        ends = float(low[here].mean()), float(high[here].mean())
        found[name] = {
            "rows": n, "events": int(y[here].sum()), "rate": float(rate), "rate_low": rate_low, "rate_high": rate_high,
            "low": ends[0], "high": ends[1], "holds": bool(rate_low <= ends[1] and ends[0] <= rate_high),
        }  # fmt: skip
    return pd.DataFrame.from_dict(found, orient="index").sort_index()


def action_coverage(
    outcome: np.ndarray, action: pd.Series | np.ndarray, groups: pd.Series | np.ndarray | None = None
) -> pd.DataFrame:
    """What the three actions do to those who fall and to those who do not, group by group.

    Read as sets, `list` says falls, `leave` says does not, `visit` says either: `reached` and `spared` are then the
    coverage conditional on the outcome.

    Parameters
    ----------
    outcome
        0/1, shape (n,).
    action
        `list`, `visit` or `leave`, from `evaluation.capacity.actions`.
    groups
        Group of each row, such as its county; one group `all` by default.

    Returns
    -------
    pandas.DataFrame
        By group: `rows, events`; shares `list, visit, leave`; `reached`: share of those who fell that are listed or
        visited; `spared`: share of those who did not fall that are not listed outright. NaN where there is nobody.

    >>> action_coverage(np.array([1, 1, 0, 0]), np.array(["list", "leave", "visit", "leave"]))[["reached", "spared"]].values
    array([[0.5, 1. ]])
    """
    y, action = np.asarray(outcome, float) == 1, np.asarray(action, dtype=object)
    group = np.full(len(y), "all") if groups is None else np.asarray(groups)

    def share(of: np.ndarray) -> float:
        return float(of.mean()) if len(of) else np.nan

    found = {
        name: {
            "rows": int((group == name).sum()),
            "events": int((y & (group == name)).sum()),
            **{a: share(action[group == name] == a) for a in ACTIONS},
            "reached": share(action[y & (group == name)] != "leave"),
            "spared": share(action[~y & (group == name)] != "list"),
        }
        for name in pd.unique(group)
    }
    return pd.DataFrame.from_dict(found, orient="index").sort_index()


def _codes(households: pd.Series | np.ndarray) -> tuple[np.ndarray, int]:
    codes, names = pd.factorize(np.asarray(households, dtype=object))
    return codes, len(names)
