"""An interval around each risk: inductive Venn-Abers prediction from outcomes that the model has not seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd

from riskmodel.errors import NotEnoughData

FILE = "intervals.json"
_WHOLE = 1000
"""Parts of a row in which weights are counted, so that sums stay whole numbers."""


@dataclass(frozen=True)
class VennAbers:
    """Two rising step functions of the risk: what isotonic regression says if this household does not fall, and if it does.

    For a risk r, `low` is the isotonic fit at r over the calibration rows and one more row (r, 0), and `high` the same
    with (r, 1) (Vovk, Petej & Fedorova 2015). Both are kept as steps; nothing else of the calibration rows is.

    **Guaranteed**, where the new row and the calibration rows are exchangeable and the model has seen neither outcome:
    of the two numbers, the one that belongs to what then happens is perfectly calibrated, `P(fall | it) = it`. So on
    average over calibration sets and households, over all and within every group of households that the interval alone
    defines, the rate of falls lies between the means of `low` and `high`.

    **Not guaranteed**: it is no confidence interval of a household's own true probability, and no share of intervals
    holds it. It says how far one outcome more could move the estimate for households of like risk. It is narrow where
    many households were seen, whatever sets them apart. Nothing is promised for a county, a kind of household or an
    outcome by itself (`evaluation.calibration.interval_coverage` and `action_coverage` report them), and nothing once
    the rate drifts away from that of the calibration months (`calibration_in_the_large` warns, `recalibrate` renews).
    In the bundle of a training the calibration rows were scored by fits that have not seen them, and the
    final fit is put on the same scale: there the promise holds as far as both rank alike.

    Attributes
    ----------
    low_from, low
        Risks from which on `low` takes each value, shapes (k,) and (k + 1,); the first value, 0, lies before all.
    high_to, high
        Risks up to which `high` takes each value, shapes (j,) and (j + 1,); the last value, 1, lies after all.
    rows, events, households
        What it rests on.

    >>> risk, outcome = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1, 0, 1])
    >>> VennAbers.fit(risk, outcome).interval(np.array([0.05, 0.2, 0.5])).round(3).to_dict("list")
    {'low': [0.0, 0.333, 0.5], 'high': [0.5, 0.667, 1.0]}
    """

    low_from: np.ndarray
    low: np.ndarray
    high_to: np.ndarray
    high: np.ndarray
    rows: int
    events: int
    households: int

    @classmethod
    def fit(
        cls,
        risk: np.ndarray,
        outcome: np.ndarray,
        households: pd.Series | np.ndarray | None = None,
        *,
        weight: np.ndarray | None = None,
    ) -> VennAbers:
        """Both step functions, exactly, in the time of one sort and two sweeps.

        Parameters
        ----------
        risk, outcome
            Risks of a model that has not seen these outcomes, and 0/1, shape (n,).
        households
            Household of each row. One that has several rows repeats its outcome; the row that is added then counts as
            many times as a household has rows on average, rounded up, which widens the interval. By default once.
        weight
            How many rows each stands for, above 0, shape (n,), such as those of `cohort.labels.censoring_weights`, taken
            to the nearest thousandth; by default 1. The row that is added stands for itself.

        Raises
        ------
        NotEnoughData
            If there is no outcome of either kind.
        """
        outcome = np.asarray(outcome, float)
        if len(np.unique(outcome)) < 2:
            raise NotEnoughData("intervals need households that fell and such that did not: use more months.")
        count = len(outcome) if households is None else len(pd.unique(np.asarray(households, dtype=object)))
        score, code = np.unique(np.asarray(risk, float), return_inverse=True)
        stands_for = np.full(len(outcome), _WHOLE) if weight is None else np.rint(_WHOLE * np.asarray(weight))
        rows = np.bincount(code, weights=stands_for).astype(np.int64)
        falls = np.bincount(code, weights=stands_for * outcome).astype(np.int64)
        extra = -(-len(outcome) // count) * _WHOLE
        high = np.array([*_with_a_fall(rows, falls, extra), 1.0])
        low = np.array([0.0, *(1 - p for p in _with_a_fall(rows[::-1], (rows - falls)[::-1], extra)[::-1])])
        rises, drops = np.diff(low) > 0, np.diff(high) > 0
        return cls(
            low_from=score[rises],
            low=low[np.r_[True, rises]],
            high_to=score[drops],
            high=high[np.r_[drops, True]],
            rows=len(outcome),
            events=int(outcome.sum()),
            households=count,
        )

    def interval(self, risk: np.ndarray) -> pd.DataFrame:
        """`low` and `high` of each risk, float64; both rise with the risk, and `low < high`."""
        risk = np.asarray(risk, float)
        return pd.DataFrame({
            "low": self.low[np.searchsorted(self.low_from, risk, side="right")],
            "high": self.high[np.searchsorted(self.high_to, risk, side="left")],
        })  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write the steps as JSON; numbers come back to the last bit."""
        content = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in vars(self).items()}
        (folder / FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> VennAbers:
        """Read what `save` wrote; the caller has verified its hash."""
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return cls(**{name: np.array(v, float) if isinstance(v, list) else v for name, v in content.items()})


def _with_a_fall(weight: np.ndarray, falls: np.ndarray, extra: int) -> list[float]:
    """Isotonic fit at each distinct score when `extra` rows that fell are added there; k values, rising.

    Algorithms 1 and 2 of Vovk, Petej & Fedorova (2015): the fit is the slope of the greatest convex minorant of the
    cumulative sums. The added rows wander from left to right, and the corners ahead of them are kept on a stack. Sums
    are whole numbers, so that no comparison is rounded.
    """
    x = [-extra, 0, *accumulate(weight.tolist())]
    y = [-extra, 0, *accumulate(falls.tolist())]

    def keeps_left(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
        return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])

    corners: list[tuple[int, int]] = []
    for point in zip(reversed(x), reversed(y), strict=True):
        while len(corners) > 1 and not keeps_left(point, corners[-1], corners[-2]):
            corners.pop()
        corners.append(point)
    found = []
    before = corners[-1]
    for i in range(2, len(x)):
        top, ahead = corners[-1], corners[-2]
        found.append((ahead[1] - top[1]) / (ahead[0] - top[0]))
        before = (before[0] + x[i] - x[i - 1], before[1] + y[i] - y[i - 1])
        if (before[1] - top[1]) * (ahead[0] - top[0]) < (ahead[1] - top[1]) * (before[0] - top[0]):
            corners.pop()
            while len(corners) > 1 and not keeps_left(before, corners[-1], corners[-2]):
                corners.pop()
            corners.append(before)
    return found
