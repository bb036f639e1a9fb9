"""Case-control sampling: all falls, a sample of the households that did not fall, and probabilities corrected for it.

Falls are rare and tell most; of the others a sample tells nearly as much (Prentice & Pyke 1979, Biometrika 66:403). In the
sample the odds of a fall are those among all divided by the share of the others that was kept; multiplied by it they are
right again. This is the prior correction of King & Zeng (2001, "Logistic Regression in Rare Events Data", Political Analysis
9:137, eq. 7); it holds for every model of a probability. Only fits are sampled: calibration, intervals, peers, leak gates
and every test stand on all households.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.model.calibration import Calibration


@dataclass(frozen=True)
class Drawn:
    """Rows to fit on, ascending, and what puts their probabilities right; `correction` is None where all rows are kept."""

    rows: np.ndarray
    correction: Calibration | None = None

    def corrected(self, risk: np.ndarray) -> np.ndarray:
        """Probabilities of a model fitted on `rows`, as they hold among all."""
        return risk if self.correction is None else self.correction.apply(risk)

    def then(self, calibration: Calibration) -> Calibration:
        """A calibration of corrected probabilities as one of those that the model gives."""
        return calibration if self.correction is None else calibration.after(self.correction)

    def describe(self, outcome: np.ndarray, of: np.ndarray) -> dict[str, int | float]:
        """What was drawn, as plain JSON: falls, others, the others it was drawn `of`, and the correction in log-odds."""
        falls, every = int(outcome[self.rows].sum()), int(outcome[of].sum())
        return {
            "falls": falls,
            "others": len(self.rows) - falls,
            "others_of": len(of) - every,
            "log_odds": 0.0 if self.correction is None else self.correction.intercept,
        }


def draw_rows(rows: np.ndarray, outcome: np.ndarray, lots: np.ndarray, others_per_fall: float | None) -> Drawn:
    """All falls among some rows, and the others of households whose lot falls below the share that is wanted.

    Parameters
    ----------
    rows
        Positions, ascending.
    outcome, lots
        0/1 and `household_lots` of all rows, by position.
    others_per_fall
        Rows without a fall for each one with it, on average; None keeps all.

    >>> outcome, lots = np.repeat([1.0, 0.0], [1, 4]), np.array([0.9, 0.1, 0.4, 0.6, 0.8])
    >>> found = draw_rows(np.arange(5), outcome, lots, 2)
    >>> found.rows.tolist(), bool(found.correction.intercept == np.log(2 / 4))
    ([0, 1, 2], True)
    """
    if others_per_fall is None:
        return Drawn(rows)
    fell = outcome[rows] == 1
    others = len(rows) - int(fell.sum())
    below = lots[rows] < others_per_fall * fell.sum() / max(others, 1)
    kept = int((below & ~fell).sum())
    if kept in (0, others):
        return Drawn(rows)
    return Drawn(rows[below | fell], Calibration(1.0, float(np.log(kept / others))))


def household_lots(households: Sequence[str] | pd.Series, seed: int) -> np.ndarray:
    """A number in [0, 1) for each row, by a keyed hash of its household: the same in all months, runs and registers.

    >>> household_lots(["a", "b", "a"], seed=1).round(3).tolist()
    [0.217, 0.253, 0.217]
    """
    codes, names = pd.factorize(np.asarray(households, dtype=object))
    key = str(seed).encode()[:64]
    digests = (hashlib.blake2b(str(name).encode(), digest_size=8, key=key).digest() for name in names)
    lots = np.frombuffer(b"".join(digests), np.dtype("<u8")) / 2.0**64
    return np.minimum(lots, np.nextafter(1.0, 0.0))[codes]
