"""Probability calibration on a later slice of time, and its renewal when the rate drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.evaluation.calibration import design_effect, relative

EVENTS_FOR_SLOPE = 100
"""Falls, each household's counted once, from which on a renewed slope is learned (Vergouwe et al. 2005)."""
_EDGE = 1e-12
_LARGEST_EXPONENT = 709.0
_LEVEL_SD, _SLOPE_SD = 0.5, 0.2


def logit(risk: np.ndarray) -> np.ndarray:
    """Log-odds of a probability, cut at 1e-12."""
    risk = np.clip(risk, _EDGE, 1 - _EDGE)
    return np.log(risk) - np.log1p(-risk)


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Probabilities of log-odds, shape (n,): `scipy.special.expit` to the last bit, without the time of its import.

    The exponential is the C library's, as there; numpy's own differs from it in the last bit of some values.
    """
    inverse = np.minimum(-np.asarray(log_odds, float), _LARGEST_EXPONENT)
    return 1 / (1 + np.fromiter(map(math.exp, inverse.tolist()), float, len(inverse)))


@dataclass(frozen=True)
class Calibration:
    """Logistic (Platt) calibration: `log-odds -> slope * log-odds + intercept`, slope > 0, so ranks never change."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> Calibration:
        """Fit on risks of a model that has not seen these outcomes; the level alone where a slope would turn ranks round.

        Parameters
        ----------
        risk, outcome
            Risks and 0/1, shape (n,).
        weight
            How many rows each stands for, above 0, shape (n,), such as those of `cohort.labels.censoring_weights`; by
            default 1.
        """
        if len(np.unique(outcome)) < 2 or np.ptp(logit(risk)) < 1e-9:
            return cls().anchored(risk, outcome, weight)
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8)
        model.fit(logit(risk)[:, None], outcome, sample_weight=weight)
        slope = float(model.coef_[0, 0])
        return cls(slope, float(model.intercept_[0])) if slope > 0.05 else cls().anchored(risk, outcome, weight)

    def anchored(self, risk: np.ndarray, outcome: np.ndarray, weight: np.ndarray | None = None) -> Calibration:
        """The same slope, with the level at which the mean of these risks equals the rate of these outcomes.

        The slope is learned out of time, on a model that stops before the last months. The final model has seen those
        months, so the level that the first one lacked would be counted twice; it is set on the final model instead, or
        on models of other households, which have seen the months too.
        """
        rate = float(np.average(outcome, weights=weight))
        if not 0 < rate < 1:
            return self
        log_odds = self.slope * logit(risk)
        from scipy.optimize import brentq
        from scipy.special import expit

        def above(level: float) -> float:
            return float(np.average(expit(log_odds + level), weights=weight)) - rate

        reach = 20.0
        while above(-reach) > 0 or above(reach) < 0:  # outcomes that a few households tell apart make steep slopes
            reach *= 2
        return Calibration(self.slope, brentq(above, -reach, reach))

    def renewed(
        self,
        risk: np.ndarray,
        outcome: np.ndarray,
        households: pd.Series | np.ndarray | None = None,
        *,
        weight: np.ndarray | None = None,
    ) -> Calibration:
        """This calibration moved to where recent outcomes lie: level, and slope where falls suffice; ranks stay.

        A logistic regression on the log-odds of `risk`, shrunk towards no change (Steyerberg et al. 2004): normal priors
        of 0.5 on the level at the middle of the log-odds and of 0.2 on the slope. So 20 falls move the level five sixths
        of the way, 200 almost all of it. Rows of one household count by their design effect, not by their number.

        Parameters
        ----------
        risk
            Risks as this calibration gives them, shape (n,), for months that the model has not seen.
        outcome
            0/1, shape (n,).
        households
            Household of each row; by default each row is one.
        weight
            See `fit`; only their ratios count.

        >>> risk = np.tile([0.05, 0.1, 0.3], 1000)
        >>> outcome = np.arange(3000) % 20 < np.tile([2, 4, 12], 1000)
        >>> Calibration().renewed(risk, outcome).slope > 0.9
        True
        """
        x, y = logit(risk), np.asarray(outcome, float)
        w = relative(weight, len(y))
        expected = w * risk * (np.dot(w, y) / np.dot(w, risk))
        effect = design_effect(w * y, expected, np.arange(len(y)) if households is None else households)
        information = w * risk * (1 - risk)
        centre = float(np.dot(information, x) / information.sum())
        with_slope = min(y.sum(), len(y) - y.sum()) / effect >= EVENTS_FOR_SLOPE and np.ptp(x) > 1e-9
        level, change = _shrunk_fit(x, y, x - centre, w / effect, with_slope)
        if 1 + change <= 0.05:
            level, change = _shrunk_fit(x, y, x - centre, w / effect, False)
        return Calibration(self.slope * (1 + change), self.intercept * (1 + change) + level - centre * change)

    def after(self, first: Calibration) -> Calibration:
        """Both as one: `first`, then this.

        >>> Calibration(2.0, 1.0).after(Calibration(1.0, -3.0))
        Calibration(slope=2.0, intercept=-5.0)
        """
        return Calibration(self.slope * first.slope, self.slope * first.intercept + self.intercept)

    def apply(self, risk: np.ndarray) -> np.ndarray:
        """Calibrated probabilities."""
        return probability(self.slope * logit(risk) + self.intercept)


def _shrunk_fit(x: np.ndarray, y: np.ndarray, z: np.ndarray, w: np.ndarray, with_slope: bool) -> tuple[float, float]:
    """Level a and change of slope b of `x + a + b z` at the mode of the likelihood of rows that count w times the priors."""
    design = np.column_stack([np.ones(len(x)), z])[:, : 1 + with_slope]
    precision = np.array([_LEVEL_SD**-2, _SLOPE_SD**-2])[: 1 + with_slope]

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        eta = x + design @ beta
        value = np.dot(w, np.logaddexp(0, eta) - y * eta) + 0.5 * np.dot(precision, beta**2)
        return float(value), design.T @ (w * (expit(eta) - y)) + precision * beta

    from scipy.optimize import minimize
    from scipy.special import expit

    found = minimize(loss, np.zeros(len(precision)), jac=True, method="BFGS", options={"gtol": 1e-6 * len(x)}).x
    return float(found[0]), float(found[1]) if with_slope else 0.0
