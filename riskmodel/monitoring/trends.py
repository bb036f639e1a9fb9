"""Event study: income before and after help, against households that were helped later.

Households that took up help for the first time in month g are held against those whose first help came later than the
months looked at: the change of income since the month before g, helped less not yet helped, for each month before and
after (difference in differences with those not yet treated, Callaway & Sant'Anna 2021, Journal of Econometrics 225:200),
months g weighed by households helped. Before g both must move alike: where they do not, the months after say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from riskmodel.monitoring.effects import over_households

_Z = 1.959964


@dataclass(frozen=True)
class Trend:
    """Differences by step from help (-1, the step before help, is the base and left out).

    Attributes
    ----------
    steps
        Steps from the month of help, shape (k,).
    difference, error, helped
        Difference in differences, its standard error over households, and households helped, each shape (k,).
    before_p
        Wald test that all differences before help are nothing; NaN where they cannot be told.
    after, after_error
        Mean of the differences after help, and its standard error.
    """

    steps: np.ndarray
    difference: np.ndarray
    error: np.ndarray
    helped: np.ndarray
    before_p: float
    after: float
    after_error: float

    @property
    def parallel(self) -> bool:
        """Whether nothing speaks against a common course before help."""
        return bool(self.before_p > 0.05)


def event_study(course: np.ndarray, first: np.ndarray, own: np.ndarray, reach: int, least: int) -> Trend | None:
    """Income around the first help, against households helped later.

    Parameters
    ----------
    course
        Income by household and step, NaN where not observed, shape (n, t).
    first
        Step of the first help of any kind, shape (n,).
    own
        Whether that help is of the kind asked about, shape (n,).
    reach
        Steps before and after.
    least
        With fewer households helped, or to compare with, at a step, it is left out.

    Returns
    -------
    Trend | None
        None where no step has enough households.

    >>> course = np.tile(np.arange(12.0), (60, 1)) + np.random.default_rng(1).normal(size=(60, 12)) * 0.01
    >>> first = np.repeat([4, 11], 30)
    >>> course[:30, 4:] += 2
    >>> trend = event_study(course, first, np.full(60, True), 3, 10)
    >>> round(trend.after, 1), trend.parallel
    (2.0, True)
    """
    steps = np.array([k for k in range(-reach, reach + 1) if k != -1])
    total, influence = np.zeros(len(steps)), np.zeros((len(first), len(steps)))
    helped = np.zeros(len(steps))
    for place, treated, others, change in _comparisons(course, first, own, reach, steps):
        n = len(treated)
        means = change[treated].mean(), change[others].mean()
        total[place] += n * (means[0] - means[1])
        helped[place] += n
        influence[treated, place] += change[treated] - means[0]
        influence[others, place] -= n / len(others) * (change[others] - means[1])
    told = helped >= least
    if not told.any() or not (told & (steps >= 0)).any():
        return None
    steps, helped = steps[told], helped[told]
    difference, influence = total[told] / helped, influence[:, told] / helped
    households = np.arange(len(first))
    error = np.array([over_households(influence[:, k], households) for k in range(len(steps))])
    before, after = steps < 0, steps >= 0
    mean_after = influence[:, after].mean(axis=1)
    return Trend(
        steps,
        difference,
        error,
        helped.astype(int),
        _joint(difference[before], influence[:, before]),
        float(difference[after].mean()),
        over_households(mean_after, households),
    )


def _comparisons(
    course: np.ndarray, first: np.ndarray, own: np.ndarray, reach: int, steps: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Per month of help and step: place of the step, rows helped, rows helped later, and the change since the base."""
    length = course.shape[1]
    for month in np.unique(first[own]):
        if not 1 <= month <= length:  # the base, the month before, lies outside the course
            continue
        later = first > month + reach
        for place, step in enumerate(steps):
            if not 0 <= month + step < length:
                continue
            change = course[:, month + step] - course[:, month - 1]
            seen = np.isfinite(change)
            treated, others = np.flatnonzero(own & (first == month) & seen), np.flatnonzero(later & seen)
            if len(treated) and len(others) >= 2:
                yield place, treated, others, change


def _joint(difference: np.ndarray, influence: np.ndarray) -> float:
    if not len(difference):
        return float("nan")
    n = len(influence)
    covariance = influence.T @ influence * n / max(n - 1, 1)
    rank = int(np.linalg.matrix_rank(covariance))
    return float(chi2.sf(difference @ np.linalg.pinv(covariance) @ difference, rank)) if rank else float("nan")


def interval(value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval.

    >>> interval(np.array([1.0]), np.array([0.0]))[0].tolist()
    [1.0]
    """
    return value - _Z * error, value + _Z * error
