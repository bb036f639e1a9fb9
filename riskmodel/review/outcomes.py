"""What became of decisions: were overrides right, how often are causes called subjective falsely; all of it for the card.

An override of the list (`reject`) is judged by the register, once the horizon has passed; an override of a cause only by
adjudication, because no register holds causes. Alerts that were confirmed may have been helped, so that fewer of them
return: the two shares of returns are told side by side, and neither is the effect of the decision.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from riskmodel.cohort.labels import build_labels
from riskmodel.cohort.splits import told_rows
from riskmodel.months import month_number
from riskmodel.register import Register
from riskmodel.review.agreement import anchoring, between_reviewers, share_interval, with_model
from riskmodel.review.decisions import KEY
from riskmodel.review.rules import ACTIONS, ReviewRules
from riskmodel.review.standing import REJECTED, adjudicated, first_judgements, standing
from riskmodel.settings import AtRisk, Label

_BY = list(KEY)


def outcomes_of(register: Register, decisions: pd.DataFrame, label: Label, at_risk: AtRisk) -> pd.DataFrame:
    """What happened to the households that were decided on: `as_of, county_id, household_id, outcome`.

    `outcome` is 1.0 where the household returned within the horizon, 0.0 where it was seen through it and did not, and
    missing where that is not known yet, and of months of which hardly anything but the falls is in its county (`told_rows`).
    """
    asked = decisions[_BY].drop_duplicates()
    counties = sorted(set(asked["county_id"]) & set(register.counties))
    months = sorted({month_number(text) for text in asked["as_of"]})
    by_county = [build_labels(register, months, label, at_risk, counties=[county]) for county in counties]
    told = [labels.loc[told_rows(labels), [*_BY, "outcome"]] for labels in by_county if len(labels)]
    outcomes = pd.concat(told) if told else asked.iloc[:0].assign(outcome=float("nan"))
    return asked.merge(outcomes, on=_BY, how="left").reset_index(drop=True)


def oversight(decisions: pd.DataFrame, rules: ReviewRules, outcomes: pd.DataFrame | None = None) -> dict[str, Any]:
    """Human oversight so far, as the model card and an audit show it.

    Parameters
    ----------
    decisions
        From `Decisions.table`.
    rules
        From `load_rules`.
    outcomes
        From `outcomes_of`; without it nothing is said of returns.

    Returns
    -------
    dict
        JSON: counts of decisions, alerts, reviewers, `actions`, `status`, `appeals`, `statements`; `overridden` and
        `rejected`, shares of the alerts judged, by their first judgement; `reasons`, and in `words` what each means in
        English and Chinese; `changes` (proposed and decided
        causes with their number); `between_reviewers`, `with_model` and `anchoring` (`review/agreement.py`);
        `adjudicated`, `false_subjective`, `regret`. Each share is `{value, low, high}` with a 95 % interval over
        households. Reviewers are counted, never listed.
    """
    stood, judged = standing(decisions), first_judgements(decisions)
    known = adjudicated(decisions, rules.adjudication.reviewers)
    changed = judged[(judged["action"] == "override_cause")]
    latest = decisions.drop_duplicates(_BY, keep="last")
    return {
        "decisions": len(decisions),
        "alerts": len(stood),
        "reviewers": int(decisions["reviewer"].nunique()),
        "months": sorted(set(decisions["as_of"])),
        "head": decisions["hash"].iloc[-1] if len(decisions) else None,
        "actions": {name: int((latest["action"] == name).sum()) for name in ACTIONS},
        "status": {str(k): int(v) for k, v in stood["status"].value_counts().sort_index().items()},
        "appeals": {state: int((stood["appeal"] == state).sum()) for state in ("open", "closed")},
        "statements": int((decisions["statement"] != "").sum()),
        "overridden": _share(judged["action"] == "override_cause", judged),
        "rejected": _share(judged["action"] == "reject", judged),
        "reasons": {str(k): int(v) for k, v in decisions.loc[decisions["reason"] != "", "reason"].value_counts().items()},
        "words": {r.name: [r.en, r.zh] for r in rules.reasons if (decisions["reason"] == r.name).any()},
        "changes": [
            {"proposed": proposed, "decided": cause, "alerts": int(n)}
            for (proposed, cause), n in changed.groupby(["proposed", "cause"]).size().items()
        ],
        "between_reviewers": between_reviewers(decisions),
        "with_model": with_model(decisions),
        "anchoring": anchoring(decisions),
        "adjudicated": {
            "reviewers_needed": rules.adjudication.reviewers,
            "alerts": len(known),
            "hidden_at_first": int(known["hidden"].sum()),
            "causes": {str(k): int(v) for k, v in known["adjudicated"].value_counts().sort_index().items()},
        },
        "false_subjective": false_subjective(judged, known),
        "regret": {
            "cause": regret_of_causes(judged, known),
            "return": None if outcomes is None else regret_of_rejections(judged, outcomes),
        },
    }


def false_subjective(judged: pd.DataFrame, known: pd.DataFrame) -> dict[str, Any]:
    """Of the alerts whose adjudicated cause is objective, the share called subjective: by first reviewers, by the model.

    Parameters
    ----------
    judged
        From `first_judgements`.
    known
        From `adjudicated`.
    """
    cases = judged.merge(known[[*_BY, "adjudicated"]], on=_BY)
    cases = cases[cases["adjudicated"] == "objective"]
    return {
        "alerts": len(cases),
        "reviewers": _share(cases["view"] == "subjective", cases),
        "model": _share(cases["proposed"] == "subjective", cases),
    }


def regret_of_causes(judged: pd.DataFrame, known: pd.DataFrame) -> dict[str, Any]:
    """Of the causes that a first reviewer changed and that were adjudicated, the share where the proposal was right.

    `neither`: the share where the adjudicated cause is neither the proposed nor the changed one. Parameters as
    `false_subjective`.
    """
    cases = judged[judged["action"] == "override_cause"].merge(known[[*_BY, "adjudicated"]], on=_BY)
    wrong, right = cases["adjudicated"] == cases["proposed"], cases["adjudicated"] == cases["view"]
    return {"alerts": len(cases), "wrong": _share(wrong, cases), "neither": _share(~wrong & ~right, cases)}


def regret_of_rejections(judged: pd.DataFrame, outcomes: pd.DataFrame) -> dict[str, Any]:
    """Of the alerts rejected as not at risk, the share that returned within the horizon; beside it that of those kept.

    Parameters
    ----------
    judged
        From `first_judgements`.
    outcomes
        From `outcomes_of`.
    """
    cases = judged.merge(outcomes, on=_BY)
    told = cases[cases["outcome"].notna()]
    rejected = told["view"] == REJECTED
    parts = {"rejected": told[rejected], "kept": told[~rejected]}
    return {
        **{f"{name}_alerts": len(part) for name, part in parts.items()},
        **{f"{name}_returned": _share(part["outcome"] == 1, part) for name, part in parts.items()},
        "not_known_yet": len(cases) - len(told),
    }


def _share(event: pd.Series, cases: pd.DataFrame) -> dict[str, float | None]:
    return share_interval(event, cases["county_id"] + "/" + cases["household_id"]).as_json()
