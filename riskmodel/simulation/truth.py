"""The true cause of each return, by intervention: the same county and random numbers, lived again with a cause removed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from riskmodel.simulation.county import County
from riskmodel.simulation.life import BURN_IN, Life
from riskmodel.simulation.office import truth_ids
from riskmodel.simulation.world import LINES, SHOCKS


def returns(welfare: np.ndarray, line: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At risk at t, returned within (t, t + horizon] by two months below the line, and the month of it (-1: none)."""
    below = welfare < line
    twice = below[:, :-1] & below[:, 1:]
    n, t = below.shape
    known = t - horizon - 1
    fell = np.zeros((n, known), bool)
    when = np.full((n, known), -1)
    for ahead in range(horizon, 0, -1):
        hit = twice[:, ahead : ahead + known]
        fell |= hit
        when = np.where(hit, np.arange(known) + ahead, when)
    return ~below[:, :known], fell, when


def true_causes(
    county: County, factual: Life, again: Callable[..., Life], first_month: pd.Period, horizon: int
) -> pd.DataFrame:
    """One row per household and month at risk: whether it returned, and because of what.

    A cause counts as necessary where the return vanishes without it, over the whole path from the same first day.
    `cause`: subjective (vanishes only with steady effort), objective (only without shocks), joint (with each of
    both), over_determined (with neither alone), none (no return).
    """
    months = pd.period_range(first_month, periods=factual.last_year("wage").shape[1], freq="M")
    line = np.array([LINES[m.year] for m in months])

    def fell(life: Life) -> np.ndarray:
        return returns(life.welfare(county.size), line, horizon)[1]

    at_risk, returned, when = returns(factual.welfare(county.size), line, horizon)
    without_idleness = ~fell(again(steady_effort=True))
    without_shocks = ~fell(again(without=frozenset(SHOCKS)))
    needed = {shock: returned & ~fell(again(without=frozenset([shock]))) for shock in SHOCKS}
    cause = np.select(
        [
            ~returned,
            without_idleness & without_shocks,
            without_idleness,
            without_shocks,
        ],
        ["none", "joint", "subjective", "objective"],
        "over_determined",
    )
    n, t = returned.shape
    necessary = np.full((n, t), "", dtype=object)
    for shock, hit in needed.items():
        necessary[hit] = [f"{text},{shock}" if text else shock for text in necessary[hit]]
    index = months.strftime("%Y-%m").to_numpy()
    frame = pd.DataFrame(
        {
            **{name: np.repeat(values, t) for name, values in truth_ids(county).items()},
            "month": np.tile(index[:t], n),
            "returned": returned.ravel(),
            "return_month": np.where(when.ravel() >= 0, index[np.maximum(when.ravel(), 0)], None),
            "cause": cause.ravel(),
            "necessary": necessary.ravel(),
            "low_effort": factual.states["idle"][:, BURN_IN : BURN_IN + t].ravel(),
        }
    )
    return frame[at_risk.ravel()].reset_index(drop=True)
