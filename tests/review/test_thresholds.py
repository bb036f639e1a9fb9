"""The verdict's margin on adjudicated causes of a county that was really scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from riskmodel.alerts.alerts import verdicts_of
from riskmodel.catalogue import load_catalogue
from riskmodel.catalogue.reading import read_lined
from riskmodel.catalogue.signs import read_rule
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.model.tracking import load_model
from riskmodel.review.decisions import Decision, Decisions
from riskmodel.review.rules import load_rules
from riskmodel.review.thresholds import adjudicated_cases, rule_text, set_margin
from tests.county import County

pytestmark = pytest.mark.slow
ASKED = replace(load_rules().adjudication, bound=0.4)


@pytest.fixture(scope="module")
def month(county: County, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long list of the county's last months, so that some alerts carry signs of behaviour."""
    folder = tmp_path_factory.mktemp("thresholds") / "alerts"
    county.score("80", folder)
    return folder


def adjudicate(file: Path, month: Path, cause: str) -> pd.DataFrame:
    """Two people who agree on one cause for every alert."""
    store = Decisions.open(file)
    for row in pd.read_parquet(month / "alerts.parquet").to_dict("records"):
        last = None
        for reviewer in ("Li Na", "Wang Wei"):
            action = "confirm" if row["verdict"] == cause else "override_cause"
            why = {} if action == "confirm" else {"reason": "several_causes", "note": "visited"}
            decided = Decision.on(row, action=action, reviewer=reviewer, supersedes=last, **({"cause": cause} | why))
            last = store.record(decided)["seq"]
    return store.table()


def test_the_margin_follows_from_the_households_called_falsely(county: County, month: Path, tmp_path: Path) -> None:
    model = load_model("models:/return-risk@champion", county.tracking.uri)
    decisions = adjudicate(tmp_path / "decisions.db", month, "objective")
    cases = adjudicated_cases([month], decisions, 2, model.version)
    assert len(cases) == 80 and set(cases["adjudicated"]) == {"objective"}
    rule, tested = set_margin(model, cases, ASKED)
    assert rule is not None and rule.margin == next(r["candidate"] for r in reversed(tested) if r["holds"])
    for row in tested:
        other = replace(
            model, catalogue=replace(model.catalogue, rule=replace(model.catalogue.rule, margin=row["candidate"]))
        )
        called = verdicts_of(other, cases) == "subjective"
        assert row["events"] == cases["household_id"][called].nunique() and row["cases"] == 80
    events = next(r["events"] for r in tested if r["candidate"] == rule.margin)
    assert rule.evidence["false_subjective_households"] == events and rule.evidence["adjudicated_alerts"] == 80
    file = tmp_path / "verdict.yaml"
    file.write_text(rule_text(rule), encoding="utf-8")
    assert read_rule(read_lined(file), file.name).margin == rule.margin
    assert load_catalogue().rule.evidence["world"] == "hard"  # nothing has changed by itself


def test_too_few_are_said_to_be_too_few(county: County, month: Path, tmp_path: Path) -> None:
    model = load_model("models:/return-risk@champion", county.tracking.uri)
    cases = adjudicated_cases([month], adjudicate(tmp_path / "decisions.db", month, "objective"), 2, model.version)
    with pytest.raises(NotEnoughData, match="80 households an objective one: not enough.*299"):
        set_margin(model, cases, load_rules().adjudication)
    with pytest.raises(UsageError, match="scored with version"):
        adjudicated_cases([month], pd.DataFrame(columns=[*Decisions.open(tmp_path / "decisions.db").table()]), 2, "99")
