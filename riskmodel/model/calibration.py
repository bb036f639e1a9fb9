"""Probability calibration on a later slice of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

_EDGE = 1e-6


def logit(risk: np.ndarray) -> np.ndarray:
    """Log-odds of a probability, cut at one in a million."""
    risk = np.clip(risk, _EDGE, 1 - _EDGE)
    return np.log(risk) - np.log1p(-risk)


def expit(log_odds: np.ndarray) -> np.ndarray:
    """Probability of log-odds."""
    return 1 / (1 + np.exp(-np.asarray(log_odds, float)))


@dataclass(frozen=True)
class Calibration:
    """Logistic (Platt) calibration: `log-odds -> slope * log-odds + intercept`, slope > 0, so ranks never change."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, risk: np.ndarray, outcome: np.ndarray) -> Calibration:
        """Fit on risks of a model that has not seen these outcomes; unchanged where that would turn ranks round."""
        if len(np.unique(outcome)) < 2 or np.ptp(logit(risk)) < 1e-9:
            return cls()
        model = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(logit(risk)[:, None], outcome)
        slope = float(model.coef_[0, 0])
        return cls(slope, float(model.intercept_[0])) if slope > 0.05 else cls()

    def apply(self, risk: np.ndarray) -> np.ndarray:
        """Calibrated probabilities."""
        return expit(self.slope * logit(risk) + self.intercept)
