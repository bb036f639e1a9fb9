"""Scores of every household at risk on an as-of month."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.model.bundle import RiskModel
from riskmodel.register import Register

SCORE_COLUMNS = ("household_id", "county_id", "as_of", "risk", "rank", "model_version")
INTERVAL_COLUMNS = ("risk_low", "risk_high")


@dataclass(frozen=True)
class Scores:
    """Risks of one as-of month.

    Attributes
    ----------
    frame
        `household_id, county_id, as_of, risk, rank, model_version`; rank 1 is the highest risk of its county, ties in
        the order of household ids. `risk_low, risk_high`: interval of the risk (`RiskModel.interval`), missing where the
        model gives none.
    features
        Features of the same rows, evidence columns included.
    by_hand
        Households at risk that refuse automated ranking: they are left out and go the manual way.
    """

    frame: pd.DataFrame
    features: pd.DataFrame
    by_hand: pd.DataFrame
    model: RiskModel
    cohorts: Cohorts

    def __len__(self) -> int:
        return len(self.frame)


def score(
    register: Register,
    model: RiskModel,
    as_of: str,
    *,
    workers: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Scores:
    """Score all households at risk on a month, by the definitions that the model was trained with.

    Parameters
    ----------
    register
        An open register.
    model
        A model from `load_model` or `Study.model`.
    as_of
        Month, `YYYY-MM`.

    Raises
    ------
    UsageError
        If the month lies outside the register.
    NotEnoughData
        If nobody is at risk then.
    """
    cohorts = build_cohorts(
        register,
        [as_of],
        label=model.run.label,
        at_risk=model.run.at_risk,
        catalogue=model.catalogue,
        workers=workers,
        progress=progress,
    )
    frame = cohorts.frame.sort_values(["county_id", "household_id"], kind="stable", ignore_index=True)
    out = frame["opted_out"].fillna(False).astype(bool) if "opted_out" in frame else pd.Series(False, index=frame.index)
    by_hand = frame.loc[out, ["household_id", "county_id", "as_of"]].reset_index(drop=True)
    frame = frame[~out].reset_index(drop=True)
    scores = frame[["household_id", "county_id", "as_of"]].copy()
    scores["risk"] = model.risk(frame)
    scores["rank"] = _rank(scores)
    scores["model_version"] = model.version
    interval = model.interval(frame)
    scores[list(INTERVAL_COLUMNS)] = np.nan if interval is None else interval.to_numpy()
    return Scores(scores[[*SCORE_COLUMNS, *INTERVAL_COLUMNS]], frame, by_hand, model, cohorts)


def _rank(scores: pd.DataFrame) -> np.ndarray:
    """Rank within the county, 1 first; equal risks in the order of household ids."""
    order = np.lexsort((scores["household_id"].to_numpy(str), -scores["risk"].to_numpy(), scores["county_id"].to_numpy(str)))
    rank = np.empty(len(scores), dtype=np.int64)
    county = scores["county_id"].to_numpy(str)[order]
    first = np.flatnonzero(np.r_[True, county[1:] != county[:-1]]) if len(order) else np.array([], int)
    starts = np.repeat(first, np.diff(np.r_[first, len(order)]))
    rank[order] = np.arange(len(order)) - starts + 1
    return rank
