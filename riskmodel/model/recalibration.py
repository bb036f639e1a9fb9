"""A model whose rate has drifted, put right on recent months: new level, new slope, new intervals, same ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.labels import censoring_weights
from riskmodel.cohort.splits import embargo_months, told_rows
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.calibration import calibration_in_the_large
from riskmodel.model.bundle import RiskModel
from riskmodel.model.intervals import VennAbers
from riskmodel.months import as_of_day, month_number, month_text
from riskmodel.threads import one_thread


@one_thread()
def recalibrate(
    model: RiskModel,
    cohorts: Cohorts,
    *,
    as_of: str | None = None,
    from_month: str | None = None,
    months: int = 12,
    margin: float = 0.1,
) -> RiskModel:
    """The same model with a calibration and intervals from recent months whose outcome is known.

    Only months that training has not seen count, apart from it by the embargo, and only those whose whole horizon lies
    before the as-of day: in a month still open, falls are known before the rest, and the rate would read too high.
    Where records come late that holds of the last of these too; rows stand for those whose outcome has not come
    (`censoring_weights`).
    Whether to recalibrate is for the caller to judge: see `before` in the evidence, or `calibration_in_the_large`.

    Parameters
    ----------
    model
        A model from `load_model` or `Study.model`.
    cohorts
        As `build_cohorts` gives them for the model's label, population and catalogue.
    as_of
        Month (`YYYY-MM`) by whose last day outcomes must be known; by default the register's last that can be as-of. No
        horizon is over that ends after its last record.
    from_month
        First as-of month used; by default the first that training has not seen. Needed for a model without evidence.
    months
        How far back from the last usable as-of month to go.
    margin
        Of the warning, see `calibration_in_the_large`.

    Returns
    -------
    RiskModel
        With `evidence["recalibrated"]`: `months` (first and last), `rows`, `households`, `events`, `calibration` (slope
        and intercept, old and new) and the checks `before` and `after`. `after` is on the rows that it was fitted on:
        only later months prove it. The version says up to which month it was recalibrated.

    Raises
    ------
    UsageError
        If the cohorts ask another question than the model, or it is not known which months training has seen.
    NotEnoughData
        If no month is usable, or in those none or all fell.
    """
    if (cohorts.label, cohorts.at_risk) != (model.run.label, model.run.at_risk):
        raise UsageError("the cohorts' label or at_risk is not the model's: build them with model.run.label and .at_risk.")
    rows, weight, first, last = _usable(model, cohorts, as_of, from_month, months)
    outcome, households = rows["outcome"].to_numpy(float), rows["household_id"]
    if len(np.unique(outcome)) < 2:
        raise NotEnoughData(
            f"{first} to {last}: {int(outcome.sum())} of {len(rows)} households at risk fell. Both kinds are needed: check "
            "that outcomes of these months have arrived, or go further back (months)."
        )
    risk = model.risk(rows)
    calibration = model.calibration.renewed(risk, outcome, households, weight=weight)
    renewed = replace(model, calibration=calibration, version=f"{model.version}+{last}")
    after = renewed.risk(rows)
    found = {
        "months": [first, last],
        "rows": len(rows),
        "households": int(households.nunique()),
        "events": int(outcome.sum()),
        "calibration": {"before": vars(model.calibration), "after": vars(calibration)},
        "before": calibration_in_the_large(outcome, risk, households, weight=weight, margin=margin).as_json(),
        "after": calibration_in_the_large(outcome, after, households, weight=weight, margin=margin).as_json(),
    }
    intervals = VennAbers.fit(after, outcome, households, weight=weight)
    return replace(renewed, intervals=intervals, evidence={**model.evidence, "recalibrated": found})


def _usable(
    model: RiskModel, cohorts: Cohorts, as_of: str | None, from_month: str | None, months: int
) -> tuple[pd.DataFrame, np.ndarray, str, str]:
    """Rows of recent months with a known outcome, how many each stands for, and their first and last month."""
    step, label = cohorts.step_months, model.run.label
    gap = embargo_months(label, step)
    if from_month is None and "trained_to" not in model.evidence:
        raise UsageError("the model does not say which months it was trained on: give from_month, a month after them.")
    first = month_number(from_month) if from_month else month_number(model.evidence["trained_to"]) + gap
    recorded = cohorts.register["last_month"]
    now = month_number(as_of or cohorts.register.get("last_as_of", recorded))
    frame = cohorts.frame
    number = frame["as_of"].map({m: month_number(m) for m in frame["as_of"].unique()}).to_numpy()
    day = as_of_day(now, step)
    weight = censoring_weights(cohorts.labels, label.horizon_months, day).to_numpy()
    usable = told_rows(frame, day) & (number >= first) & (number + gap <= min(now, month_number(recorded)))
    if not usable.any():
        raise NotEnoughData(
            f"no month from {month_text(first)} on has a whole horizon known by {month_text(now)}: wait, or give "
            "from_month if training has not seen the months before."
        )
    last = number[usable].max()
    usable &= number > last - months
    return frame[usable], weight[usable], month_text(number[usable].min()), month_text(last)
