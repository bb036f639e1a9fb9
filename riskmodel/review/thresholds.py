"""The verdict's margin, set again on cases whose cause people have adjudicated.

The margin that ships was set on simulated counties (`configs/verdict.yaml`). Once enough causes are adjudicated, the same
risk control runs on them: the laxest margin whose false-subjective rate is shown to stay under the bound.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from riskmodel.alerts.alerts import attribute_households
from riskmodel.alerts.history import ScoredMonth
from riskmodel.catalogue.signs import VerdictRule
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.verdicts import clopper_pearson_lower, control_risk
from riskmodel.explain.causes import judge_causes
from riskmodel.model.bundle import RiskModel
from riskmodel.review.decisions import KEY
from riskmodel.review.rules import Adjudication
from riskmodel.review.standing import adjudicated

_FEWEST_FOR_CONFIDENCE = 30
_LIKE = ("objective", "objective_with_a_sign", "subjective", "mixed")


def fewest_cases(bound: float, level: float) -> int:
    """Households with an objective cause that are needed before a rate can be shown to be bounded, without one error.

    From the upper Clopper-Pearson bound of no events, `1 - (1 - level) ** (1 / n)`.

    >>> fewest_cases(0.01, 0.95)
    299
    """
    return math.ceil(math.log(1 - level) / math.log(1 - bound))


def adjudicated_cases(folders: Sequence[Path], decisions: pd.DataFrame, reviewers: int, version: str) -> pd.DataFrame:
    """Features and adjudicated cause of every alert of some scored months whose cause counts as known.

    Raises
    ------
    UsageError
        If a month was scored with another model than the one of this version.
    """
    known = adjudicated(decisions, reviewers)
    parts = []
    for folder in folders:
        month = ScoredMonth.open(folder)
        if month.about["model_version"] != version:
            raise UsageError(
                f"{folder}: scored with version {month.about['model_version']}, the model at hand is version {version}. "
                "Name the version that scored it with --model."
            )
        parts.append(month.read("features").merge(known, on=list(KEY), how="inner"))
    return pd.concat(parts, ignore_index=True)


def set_margin(
    model: RiskModel, cases: pd.DataFrame, asked: Adjudication
) -> tuple[VerdictRule | None, list[dict[str, Any]]]:
    """The rule with the laxest margin that holds the bound on adjudicated cases, and a row per margin tested.

    Parameters
    ----------
    model
        The model that scored the cases.
    cases
        From `adjudicated_cases`.
    asked
        Bound, level and margins.

    Returns
    -------
    tuple
        The rule with its new evidence, or None where not even the strictest margin holds.

    Raises
    ------
    NotEnoughData
        If there are too few households with an objective cause for any rule to be shown to hold the bound.
    """
    truth = cases["adjudicated"].to_numpy(str)
    households = (cases["county_id"] + "/" + cases["household_id"]).to_numpy(str)
    objective = truth == "objective"
    found, needed = len(set(households[objective])), fewest_cases(asked.bound, asked.level)
    if found < needed:
        raise NotEnoughData(
            f"{len(cases)} alerts have an adjudicated cause, {found} households an objective one: not enough. With fewer "
            f"than {needed} no false-subjective rate under {asked.bound:.0%} can be shown; the margin stays as it is."
        )
    attributed = attribute_households(model, cases)
    shipped = model.catalogue.rule

    def judged(rule: VerdictRule) -> pd.DataFrame:
        return judge_causes(
            model.catalogue, attributed.drivers, attributed.features, attributed.bounds, attributed.behaviour, rule
        ).verdicts

    def judge(margin: float) -> tuple[int, int]:
        called = judged(dataclasses.replace(shipped, margin=margin))["verdict"].to_numpy(str) == "subjective"
        return len(set(households[called & objective])), found

    margin, tested = control_risk(asked.margins, judge, asked.bound, asked.level)
    if margin is None:
        return None, tested
    rule = dataclasses.replace(shipped, margin=float(margin))
    return _with_evidence(rule, judged(rule), cases, asked, tested), tested


def rule_text(rule: VerdictRule) -> str:
    """A rule as the content of `verdict.yaml`."""
    content = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    head = "# How much evidence a verdict needs (riskmodel/catalogue/signs.py says what each number means).\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _with_evidence(
    rule: VerdictRule, verdicts: pd.DataFrame, cases: pd.DataFrame, asked: Adjudication, tested: list[dict[str, Any]]
) -> VerdictRule:
    """The rule with where its margin comes from, and how often each verdict was right on these cases."""
    verdict, truth = verdicts["verdict"].to_numpy(str), cases["adjudicated"].to_numpy(str)
    like = np.where((verdict == "objective") & (verdicts["signs"] != "").to_numpy(), "objective_with_a_sign", verdict)
    right = dict(rule.right)
    for case in _LIKE:
        rows = like == case
        hits = truth[rows] == case.removesuffix("_with_a_sign")
        if case == "subjective":
            hits |= truth[rows] == "mixed"
        if rows.sum() >= _FEWEST_FOR_CONFIDENCE:
            right[case] = round(float((hits.sum() + 1) / (rows.sum() + 2)), 3)
    called = verdict == "subjective"
    chosen = next(row for row in tested if row["candidate"] == rule.margin)
    evidence = {
        "adjudicated_alerts": len(cases),
        "hidden_at_first": int(cases["hidden"].sum()),
        "reviewers": asked.reviewers,
        "months": sorted(set(cases["as_of"])),
        "date": dt.date.today().isoformat(),
        "bound": asked.bound,
        "level": asked.level,
        "false_subjective_households": chosen["events"],
        "objective_households": chosen["cases"],
        "upper95": round(chosen["upper"], 5),
        "called_subjective": int(called.sum()),
        "subjective_precision_lower95": round(
            clopper_pearson_lower(int(np.isin(truth[called], ("subjective", "mixed")).sum()), int(called.sum())), 3
        ),
    }
    return dataclasses.replace(rule, right=right, evidence=evidence)
