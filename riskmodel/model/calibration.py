"""Probability calibration on a later slice of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

_EDGE = 1e-12


def logit(risk: np.ndarray) -> np.ndarray:
    """Log-odds of a probability, cut at 1e-12."""
    risk = np.clip(risk, _EDGE, 1 - _EDGE)
    return np.log(risk) - np.log1p(-risk)


@dataclass(frozen=True)
class Calibration:
    """Logistic (Platt) calibration: `log-odds -> slope * log-odds + intercept`, slope > 0, so ranks never change."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, risk: np.ndarray, outcome: np.ndarray) -> Calibration:
        """Fit on risks of a model that has not seen these outcomes; none where that would turn ranks round."""
        if len(np.unique(outcome)) < 2 or np.ptp(logit(risk)) < 1e-9:
            return cls()
        model = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(logit(risk)[:, None], outcome)
        slope = float(model.coef_[0, 0])
        return cls(slope, float(model.intercept_[0])) if slope > 0.05 else cls()

    def anchored(self, risk: np.ndarray, outcome: np.ndarray) -> Calibration:
        """The same slope, with the level at which the mean of these risks equals the rate of these outcomes.

        The slope is learned out of time, on a model that stops before the last months. The final model has seen those
        months, so the level that the first one lacked would be counted twice; it is set on the final model instead.
        """
        rate = float(np.mean(outcome))
        if not 0 < rate < 1:
            return self
        log_odds = self.slope * logit(risk)
        intercept = brentq(lambda level: float(np.mean(expit(log_odds + level))) - rate, -20, 20)
        return Calibration(self.slope, intercept)

    def apply(self, risk: np.ndarray) -> np.ndarray:
        """Calibrated probabilities."""
        return expit(self.slope * logit(risk) + self.intercept)
