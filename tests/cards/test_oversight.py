"""What reviewers decided so far, as the card shows it: all of it, and no small group."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from riskmodel.cards.model_card import model_card
from riskmodel.cards.oversight import read_oversight
from riskmodel.errors import NotFound, UsageError
from tests.cards.example import figure, make_model
from tests.cards.page import Page

REPORT: dict[str, Any] = {
    "decisions": 460,
    "alerts": 400,
    "reviewers": 6,
    "months": ["2023-06", "2023-12"],
    "head": "9f2c",
    "actions": {"confirm": 280, "override_cause": 60, "reject": 40, "defer": 20},
    "status": {"agreed": 30, "decided": 338, "deferred": 20, "differs": 12},
    "appeals": {"open": 3, "closed": 12},
    "overridden": figure(0.15, 0.03),
    "rejected": figure(0.1, 0.03),
    "reasons": {"illness_unrecorded": 40, "record_wrong": 20},
    "words": {"record_wrong": ["the record is wrong", "记录有误"]},
    "changes": [
        {"proposed": "subjective", "decided": "objective", "alerts": 30},
        {"proposed": "undetermined", "decided": "objective", "alerts": 27},
        {"proposed": "objective", "decided": "mixed", "alerts": 3},
    ],
    "between_reviewers": {"alerts": 42, "agreement": figure(0.71), "kappa": figure(0.4), "ac1": figure(0.62)},
    "with_model": {"alerts": 340, "agreement": figure(0.85), "kappa": figure(None), "ac1": figure(0.8)},
    "anchoring": {"shown": 180, "hidden": 172, "difference": {"agreement": figure(0.09), "ac1": figure(0.1)}},
    "adjudicated": {"reviewers_needed": 2, "alerts": 300},
    "false_subjective": {"alerts": 250, "reviewers": figure(0.008), "model": figure(0.08)},
    "regret": {
        "cause": {"alerts": 28, "wrong": figure(0.5), "neither": figure(0.0)},
        "return": {
            "rejected_alerts": 38,
            "kept_alerts": 300,
            "rejected_returned": figure(0.05),
            "kept_returned": figure(0.3),
        },
    },
}


def report(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(REPORT) | changes


def text(found: dict[str, Any] | None, lang: str = "en") -> str:
    shown = Page(model_card(make_model(), oversight=found)).text(lang)
    start = {"en": "17. Human oversight and overrides so far", "zh": "17. 人工监督与迄今的更改"}[lang]
    end = {"en": "18. Versions", "zh": "18. 版本"}[lang]
    return shown[shown.index(start) : shown.index(end)]


def test_without_a_report_the_card_says_that_there_are_no_decisions_yet() -> None:
    assert "No decisions yet" in text(None)
    assert "尚无决定" in text(None, "zh")
    assert "No decisions yet" in text(report(decisions=0, alerts=0))


def test_figures_are_those_of_the_report() -> None:
    said = text(report())
    for words in (
        "460 decisions on 400 alerts by 6 reviewers",
        "confirmed280",
        "cause changed60",
        "changed the cause: 15.0% (12.0% – 18.0%)",
        "Of the changed causes that were settled since, the proposal had been right: 50.0%",
        "two or more agree30",
        "is 9 points of 100 higher where it was shown (180 alerts)",
        "called subjective by the model: 8.0% (7.0% – 9.0%); by the first reviewer: fewer than 10 of 250.",
        "the first judgement with the model’s verdict34085.0%84.0% – 86.0%–0.80",
    ):
        assert words in said, words
    assert "记录有误" in text(report(), "zh") and "illness_unrecorded" in said


def test_small_groups_of_decisions_are_withheld_also_where_a_share_would_tell() -> None:
    said = text(report(actions={"confirm": 300, "override_cause": 52, "reject": 40, "defer": 8}))
    assert "put off<10" in said and "held not to be at risk*" in said
    assert "“not at risk”: " not in said, "10% of 400 would tell that 8 were put off"
    assert "changed the cause: 15.0%" in said
    assert "Appeals: <10 open, 12 closed." in said
    assert "fell within the horizon: fewer than 10 of 38" in said


def test_changes_of_few_causes_cannot_be_worked_out() -> None:
    said = text(report())
    assert "to be verifiedobjective30" in said
    assert "undeterminedobjective*" in said
    assert re.search(r"objectivem[a-z ]+<10", said)


def test_a_name_in_a_report_does_no_harm() -> None:
    html = model_card(make_model(), oversight=report(reasons={"<script>alert(1)</script>": 40, "x": 20}))
    assert "<script" not in html


def test_another_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="riskmodel review report --out none.json"):
        read_oversight(tmp_path / "none.json")
    with pytest.raises(NotFound, match="riskmodel review report"):
        read_oversight(tmp_path)
    other = tmp_path / "other.json"
    for content in ("[]", '{"decisions": 3}', "{"):
        other.write_text(content, encoding="utf-8")
        with pytest.raises(UsageError, match="riskmodel review report"):
            read_oversight(other)
    other.write_text(json.dumps(REPORT), encoding="utf-8")
    assert read_oversight(other)["alerts"] == 400
