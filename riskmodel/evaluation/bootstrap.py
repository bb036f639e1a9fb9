"""Bootstrap over households or villages: intervals of figures, and paired differences between models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.errors import UsageError
from riskmodel.places import place_codes
from riskmodel.settings import Intervals
from riskmodel.threads import one_thread

_FEWEST_VILLAGES = 30


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Plain numbers; null where not defined."""
        return {k: (float(v) if np.isfinite(v) else None) for k, v in vars(self).items()}


@dataclass(frozen=True)
class Resampled:
    """Metrics of several models, and of each again on the same resamples of households.

    Attributes
    ----------
    point
        `point[model][metric]`, on the test set itself.
    draws
        `draws[model][metric]`, one value per resample, shape (replicates,).
    level
        Level of the intervals.
    """

    point: dict[str, dict[str, float]]
    draws: dict[str, dict[str, np.ndarray]]
    level: float

    def intervals(self) -> dict[str, dict[str, Interval]]:
        """Each metric of each model with its percentile interval."""
        return {
            name: {
                metric: percentile_interval(value, self.draws[name][metric], self.level) for metric, value in found.items()
            }
            for name, found in self.point.items()
        }

    def differences(self, against: str) -> dict[str, dict[str, Interval]]:
        """Each metric of each other model minus that of `against`, paired: both on the same resamples.

        An interval that excludes 0 tells two models apart even where their own intervals overlap.

        Raises
        ------
        UsageError
            If no model of that name was resampled.
        """
        if against not in self.point:
            raise UsageError(f"no model {against!r} to compare with: choose one of {', '.join(self.point)}.")
        base, base_draws = self.point[against], self.draws[against]
        return {
            name: {
                metric: percentile_interval(value - base[metric], self.draws[name][metric] - base_draws[metric], self.level)
                for metric, value in found.items()
                if metric in base
            }
            for name, found in self.point.items()
            if name != against
        }


@one_thread()
def resample(
    measures: Mapping[str, Callable[[np.ndarray | None], Mapping[str, float]]],
    households: pd.Series | np.ndarray,
    intervals: Intervals,
    seed: int,
) -> Resampled:
    """Bootstrap over households: all measures see the same resamples.

    Parameters
    ----------
    measures
        By name, a function from row weights, shape (n,) or None for all 1, to figures by name; `Scored.metrics` is one.
    households
        Household of each row, shape (n,); rows of one household are drawn together.

    >>> from riskmodel.evaluation.metrics import Scored
    >>> y, p = np.array([0, 1, 0, 1.0]), np.array([0.1, 0.8, 0.3, 0.6])
    >>> found = resample({"a": Scored(y, p).metrics, "b": Scored(y, 1 - p).metrics}, list("abcd"), Intervals(), 1)
    >>> found.differences(against="b")["a"]["roc_auc"]
    Interval(value=1.0, low=1.0, high=1.0)
    """
    point = {name: dict(measure(None)) for name, measure in measures.items()}
    draws = {name: {m: np.empty(intervals.replicates) for m in found} for name, found in point.items()}
    codes, count = household_codes(households)
    for i, drawn in enumerate(household_draws(count, intervals.replicates, seed)):
        weight = drawn[codes]
        for name, measure in measures.items():
            for metric, value in measure(weight).items():
                draws[name][metric][i] = value
    return Resampled(point, draws, intervals.level)


def drawn_together(frame: pd.DataFrame, intervals: Intervals) -> pd.Series:
    """What the bootstrap of a run draws as one: each row's village, or its household.

    Villages are drawn where `intervals.over` asks for them, or leaves it open and all are known and at least 30: a drought
    or a closed mine strikes a village, and households alone would make the intervals too narrow. With few villages
    percentile intervals are too narrow themselves.

    Parameters
    ----------
    frame
        `household_id`; `village_id` with the `county_id` and `township_id` that it lies in, where there are several
        (`riskmodel.places`).

    Returns
    -------
    pandas.Series
        Household ids, or numbers of villages; `name` is `household_id` or `village_id`.

    Raises
    ------
    UsageError
        If villages are asked for and not known.

    >>> frame = pd.DataFrame({"household_id": ["a", "b"], "village_id": ["x", "x"]})
    >>> drawn_together(frame, Intervals()).tolist(), drawn_together(frame, Intervals(over="village")).tolist()
    (['a', 'b'], [0, 0])
    """
    known = "village_id" in frame and frame["village_id"].notna().all()
    if intervals.over == "village" and not known:
        raise UsageError("intervals.over asks for villages, and not every household's is known: take household.")
    if intervals.over == "household" or not known:
        return frame["household_id"]
    village = pd.Series(place_codes(frame, "village_id"), index=frame.index, name="village_id")
    return village if intervals.over == "village" or village.nunique() >= _FEWEST_VILLAGES else frame["household_id"]


def household_codes(households: pd.Series | np.ndarray) -> tuple[np.ndarray, int]:
    """A number for each row's household, by sorted id, and how many households there are."""
    codes, names = pd.factorize(np.asarray(households, dtype=object), sort=True)
    return codes, len(names)


def household_draws(count: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample holds each of `count` households, shape (count,); the same for the same seed."""
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        yield np.bincount(generator.integers(0, count, count), minlength=count).astype(float)


def percentile_interval(value: float, draws: Sequence[float] | np.ndarray, level: float) -> Interval:
    """A figure with the central `level` of its draws; no interval where most draws are undefined.

    A draw may be infinite, as a ratio to a share of nobody is: it counts, and the end that it reaches is infinite.

    >>> percentile_interval(2.0, [1.0, 2.0, 3.0, np.inf], 0.95)
    Interval(value=2.0, low=1.0, high=inf)
    """
    tail = (1 - level) / 2
    known = np.asarray(draws)[~np.isnan(draws)]
    if len(known) < len(draws) / 2 or not len(known):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(known, [tail, 1 - tail], method="linear" if np.isfinite(known).all() else "nearest")
    return Interval(value, float(low), float(high))
