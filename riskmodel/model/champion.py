"""Challenger against champion: the same months, the same households, one paired difference at the list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.cohort.splits import embargo_months
from riskmodel.errors import NotFound, RiskmodelError
from riskmodel.evaluation.bootstrap import drawn_together, resample
from riskmodel.evaluation.metrics import Scored, competing
from riskmodel.model.bundle import RiskModel
from riskmodel.model.tracking import CHAMPION, load_model
from riskmodel.model.training import Trainer, model_inputs
from riskmodel.months import month_number, month_text
from riskmodel.settings import Run
from riskmodel.threads import one_thread

_FEWEST_EVENTS = 20


@one_thread()
def against_champion(
    cohorts: Cohorts, run: Run, train_rows: np.ndarray, test_rows: np.ndarray, risk: np.ndarray
) -> dict[str, Any]:
    """What the challenger gains over the champion on test rows that neither has seen.

    The champion is held against it as it is, on test months after all that it was trained on. Where these hold fewer
    than 20 falls, its recipe (settings and catalogue) is fitted again on the challenger's training months and held
    against it on all test months: then recipes are compared, not models.

    Parameters
    ----------
    cohorts, run
        Of the challenger.
    train_rows, test_rows
        Row positions of its test split.
    risk
        Its risks on the test rows, shape (test rows,), from the fit on `train_rows`.

    Returns
    -------
    dict
        `version` of the champion, `how` (`as it is` or `recipe`), `months`, `rows`, `events`, and `differences`:
        challenger minus champion, per metric, paired over resamples of households. `{"none": why}` where there is no
        champion or the two cannot be compared.
    """
    name = run.tracking.registered_model
    try:
        champion = load_model(f"models:/{name}@{CHAMPION}", run.tracking.uri)
    except NotFound:
        return {"none": "there is no champion yet"}
    except RiskmodelError as fault:
        return {"none": f"the champion cannot be read: {fault}"}
    found = {"version": champion.version}
    if (champion.run.label, champion.run.at_risk) != (run.label, run.at_risk):
        return {**found, "none": "the champion predicts another outcome, or for others at risk"}
    try:
        theirs = _in_their_features(champion, cohorts)
    except RiskmodelError as fault:
        return {**found, "none": f"the champion's features cannot be built on this register: {fault}"}
    frame = cohorts.frame
    trained_to = champion.evidence.get("trained_to")
    unseen = np.zeros(len(test_rows), bool)
    if trained_to:
        first = month_text(month_number(trained_to) + embargo_months(run.label, cohorts.step_months))
        unseen = (frame["as_of"].to_numpy(str)[test_rows]) >= first
    outcome = frame["outcome"].to_numpy(float)[test_rows]
    if outcome[unseen].sum() >= _FEWEST_EVENTS:
        how, rows = "as it is", unseen
        seen = theirs.inputs_of(test_rows[rows], [f for f in champion.inputs if f in theirs.frame])
        their_risk = np.concatenate([champion.risk(block) for block in seen.blocks()])
    else:
        how, rows = "recipe", np.ones(len(test_rows), bool)
        again = Trainer(theirs, champion.run, model_inputs(theirs, champion.run))
        their_risk = again.fit(champion.run.register_model, train_rows).risk(again.inputs_of(test_rows))
    picked = cohorts.labels.iloc[test_rows[rows]]
    lists, told = competing(frame, test_rows[rows])
    measures = {
        who: Scored(outcome[rows], p, lists, run.capacity, told).metrics
        for who, p in (("challenger", risk[rows]), (CHAMPION, their_risk))
    }
    resampled = resample(measures, drawn_together(picked, run.intervals), run.intervals, run.seed)
    differences = resampled.differences(against=CHAMPION)["challenger"]
    return {
        **found,
        "how": how,
        "months": sorted(set(picked["as_of"])),
        "rows": len(picked),
        "events": int(outcome[rows].sum()),
        "differences": {metric: figure.as_json() for metric, figure in differences.items()},
    }


def _in_their_features(champion: RiskModel, cohorts: Cohorts) -> Cohorts:
    """The same cohorts with the champion's catalogue; the same object where that is the same."""
    if champion.catalogue.sha256 == cohorts.catalogue.sha256 or cohorts.origin is None:
        return cohorts
    months = [month_text(m) for m in cohorts.months]
    built = build_cohorts(
        cohorts.origin, months, label=cohorts.label, at_risk=cohorts.at_risk, catalogue=champion.catalogue,
        folder=cohorts.mapped.folder.parent if cohorts.mapped else None,
    )  # fmt: skip
    keys = ["household_id", "as_of"]
    if not pd.DataFrame.equals(built.frame[keys], cohorts.frame[keys]):
        raise NotFound("its households at risk are others")
    return built
