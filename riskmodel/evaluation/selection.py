"""Which model to keep, from how candidates did in earlier periods, and what each rule of choice would have cost.

A figure of one period is an accident of its households and its season. So a choice is a **rule** over periods, and rules
are compared by **regret**: how far the model that a rule picks from earlier periods lies behind the best one in the next
(the audition of Ackermann et al. 2018, Deploying machine learning models for public policy, KDD). The default is the one
standard error rule of Breiman et al. (1984): the simplest model that cannot be told apart from the best, with the standard
error of the *paired* difference over households, which is far smaller than that of either figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.errors import NotEnoughData

LOWER_IS_BETTER = ("brier", "log_loss")
HALF_LIFE = 2.0


@dataclass(frozen=True)
class Periods:
    """One metric of each candidate in each period, and the same again on resamples of households.

    Attributes
    ----------
    metric
        Name of the metric; those in `LOWER_IS_BETTER` are better when low.
    value
        Candidates, from the simplest to the richest, x periods, in the order of time; NaN where not defined.
    draws
        The metric on resamples of households, shape (candidates, periods, resamples). One resample draws the same
        households for all candidates and periods, so that differences are paired.
    before
        For each period, the positions of those that a choice for it may look at; by default all earlier ones.
    timed
        Whether the order of the periods is one of time. If not, the rules that favour late periods favour none.
    """

    metric: str
    value: pd.DataFrame
    draws: np.ndarray
    before: tuple[tuple[int, ...], ...] | None = None
    timed: bool = True

    @property
    def sign(self) -> int:
        """1 where a high figure is good, -1 where a low one is."""
        return -1 if self.metric in LOWER_IS_BETTER else 1

    @property
    def history(self) -> tuple[tuple[int, ...], ...]:
        """`before`, or all earlier periods of each."""
        return self.before if self.before is not None else tuple(tuple(range(k)) for k in range(self.value.shape[1]))

    def part(self, positions: Sequence[int]) -> Periods:
        """Some of the periods, those left out in which the metric is not defined."""
        defined = [k for k in positions if self.value.iloc[:, k].notna().all()]
        return Periods(self.metric, self.value.iloc[:, defined], self.draws[:, defined], timed=self.timed)

    def behind(self) -> pd.DataFrame:
        """How far each candidate's average lies behind the best one's.

        Returns
        -------
        pandas.DataFrame
            One row per candidate: `value` (average over periods), `behind` (the best average minus it, not negative,
            in units of the metric) and `standard_error` of that difference over households: 0 for the best, infinite
            where most resamples leave it undefined.
        """
        score = self.sign * self.value.to_numpy(float)
        average = score.mean(axis=1)
        best = int(np.argmax(average))
        apart = self.sign * (self.draws[best] - self.draws)
        defined = np.isfinite(apart)
        count = defined.sum(axis=1)
        apart = np.divide(np.where(defined, apart, 0).sum(axis=1), count, out=np.full(count.shape, np.nan), where=count > 0)
        error = np.array([_deviation(d) for d in apart])
        error[best] = 0.0
        columns = {"value": self.value.mean(axis=1), "behind": average[best] - average, "standard_error": error}
        return pd.DataFrame(columns, index=self.value.index)


def best_last(periods: Periods) -> int:
    """The best in the last period (on average, where periods are not in time)."""
    return _best(periods, _weights(periods, lambda age: age == 0))


def best_average(periods: Periods) -> int:
    """The best on average."""
    return _best(periods, np.ones(periods.value.shape[1]))


def recency_weighted(periods: Periods) -> int:
    """The best on an average in which a period counts half as much as one that is two periods later."""
    return _best(periods, _weights(periods, lambda age: 0.5 ** (age / HALF_LIFE)))


def least_variance(periods: Periods) -> int:
    """The one whose distance to the best of each period varies least; the best on average where there is one period.

    A model that is always equally bad varies little too: the rule is here to be compared.
    """
    score = periods.sign * periods.value.to_numpy(float)
    if score.shape[1] < 2:
        return best_average(periods)
    spread = np.round((score.max(axis=0) - score).var(axis=1), 15)
    return int(np.lexsort((-score.mean(axis=1), spread))[0])


def simplest_within_one_se(periods: Periods) -> int:
    """The simplest whose average lies within one standard error of the best's; see `Periods.behind`."""
    found = periods.behind()
    return int(np.argmax((found["behind"] <= found["standard_error"]).to_numpy()))


RULES: dict[str, Callable[[Periods], int]] = {
    rule.__name__: rule for rule in (simplest_within_one_se, best_average, best_last, recency_weighted, least_variance)
}


def choose(periods: Periods, rule: str = "simplest_within_one_se") -> str:
    """The candidate that a rule picks from periods.

    Parameters
    ----------
    periods
        What is known when the choice is made: nothing of the period it is made for.
    rule
        One of `RULES`. A rule that cannot part two candidates takes the simpler.

    Raises
    ------
    NotEnoughData
        If the metric is defined in no period.

    >>> value = pd.DataFrame({"2021": [0.30, 0.31], "2022": [0.29, 0.30]}, index=["one_variable_logit", "lightgbm"])
    >>> noise = np.random.default_rng(0).normal(0, 0.02, (2, 2, 200))
    >>> periods = Periods("pr_auc", value, value.to_numpy()[:, :, None] + noise)
    >>> choose(periods), choose(periods, "best_average")
    ('one_variable_logit', 'lightgbm')
    """
    known = periods.part(range(periods.value.shape[1]))
    if not known.value.shape[1]:
        raise NotEnoughData(f"{periods.metric} is not defined in any period: nobody fell. Name the model: register_model.")
    return str(known.value.index[RULES[rule](known)])


def regrets(periods: Periods) -> pd.DataFrame:
    """What each rule would have cost: the best candidate of a period minus the one chosen from those before it.

    Returns
    -------
    pandas.DataFrame
        One row per rule, in units of the metric, not negative; one column per period that has others before it, then
        `mean` and `worst`, NaN where there is none.

    >>> value = pd.DataFrame({"2021": [0.2, 0.3], "2022": [0.4, 0.3]}, index=["one_variable_logit", "lightgbm"])
    >>> found = regrets(Periods("pr_auc", value, value.to_numpy()[:, :, None] + np.zeros((2, 2, 50))))
    >>> found.loc["best_last"].round(3).to_dict()
    {'2022': 0.1, 'mean': 0.1, 'worst': 0.1}
    """
    score = periods.sign * periods.value
    found: dict[str, dict[Any, float]] = {rule: {} for rule in RULES}
    for position, earlier in enumerate(periods.history):
        here, known = score.iloc[:, position], periods.part(earlier)
        if not known.value.shape[1] or here.isna().any():
            continue
        for rule in RULES:
            found[rule][score.columns[position]] = float(here.max() - here[choose(known, rule)])
    table = pd.DataFrame.from_dict(found, orient="index")
    return table.assign(mean=table.mean(axis=1), worst=table.max(axis=1))


def _weights(periods: Periods, of_age: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    count = periods.value.shape[1]
    return np.asarray(of_age(np.arange(count)[::-1]), float) if periods.timed else np.ones(count)


def _best(periods: Periods, weight: np.ndarray) -> int:
    return int(np.argmax(periods.sign * periods.value.to_numpy(float) @ weight))


def _deviation(draws: np.ndarray) -> float:
    finite = draws[np.isfinite(draws)]
    return float(finite.std()) if len(finite) * 2 >= max(len(draws), 2) else np.inf
