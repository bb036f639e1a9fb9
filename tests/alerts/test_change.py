"""Why a household is new on the list: against its own past, from the register as it was known then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.alerts.change import NOT_SCORED, REWRITTEN, SPLIT, Changes, changes_since
from riskmodel.alerts.history import ScoredMonth, earlier_months, month_named, states, trends
from riskmodel.errors import IntegrityError, NotFound, UsageError
from riskmodel.explain.causes import JUDGED
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.tracking import load_model
from riskmodel.register import Register, ingest
from riskmodel.results import explain_household
from tests.cards.months import CLUE, changed_month
from tests.county import AS_OF, County

MONTHS = ("2023-02", "2023-05", AS_OF)


@pytest.fixture(scope="module")
def folders(county: County, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three scored months side by side."""
    beside = tmp_path_factory.mktemp("months")
    for month in MONTHS:
        county.score("25", beside / month, month)
    return {month: beside / month for month in MONTHS}


@pytest.fixture(scope="module")
def model(county: County) -> RiskModel:
    return load_model("models:/return-risk@champion", county.tracking.uri)


@pytest.fixture(scope="module")
def since_february(county: County, folders: dict[str, Path], model: RiskModel) -> Changes:
    month, earlier = ScoredMonth.open(folders[AS_OF]), ScoredMonth.open(folders["2023-02"])
    return changes_since(Register.open(county.register), month, earlier, (model, model))


def log_odds(risk: pd.Series) -> np.ndarray:
    return np.log(risk / (1 - risk)).to_numpy(float)


def test_the_parts_add_up_to_the_difference_of_the_scores_that_were_written(
    folders: dict[str, Path], since_february: Changes
) -> None:
    alerts = pd.read_parquet(folders[AS_OF] / "alerts.parquet")
    then = pd.read_parquet(folders["2023-02"] / "scores.parquet").set_index("household_id")["risk"]
    split = (since_february.frame["told"] == SPLIT).to_numpy()
    frame = since_february.frame[split]
    parts = since_february.facts[split].sum(axis=1) + frame["model"] + frame["calibration"]
    before, after = alerts["household_id"][split].map(then), alerts["risk"][split]
    assert split.sum() >= 15
    np.testing.assert_allclose(parts, log_odds(after) - log_odds(before), atol=1e-9)
    assert (frame["model"] == 0).all() and (frame["calibration"] == 0).all()


def test_a_household_that_was_not_scored_then_is_said_to_be(folders: dict[str, Path], since_february: Changes) -> None:
    then = set(pd.read_parquet(folders["2023-02"] / "scores.parquet")["household_id"])
    told = since_february.frame.set_index("household_id")["told"]
    assert {household for household, what in told.items() if what == NOT_SCORED} == set(told.index) - then


def test_behaviour_has_no_part_where_it_is_not_judged(folders: dict[str, Path], since_february: Changes) -> None:
    unjudged = ~pd.read_parquet(folders[AS_OF] / "alerts.parquet")["verdict"].isin(JUDGED)
    assert unjudged.any()
    blamed = since_february.facts.loc[unjudged.to_numpy(), ["work", "land", "refusal"]]
    assert (blamed.fillna(0) == 0).to_numpy().all()
    for told, free in zip(since_february.new_facts, unjudged, strict=True):
        assert not free or not {"work", "land", "refusal"} & set(told)


def test_a_new_illness_is_told_as_a_new_fact(folders: dict[str, Path], since_february: Changes) -> None:
    features = pd.read_parquet(folders[AS_OF] / "features.parquet")
    split = (since_february.frame["told"] == SPLIT).to_numpy()
    recent = split & (features["months_since_illness"] < 4).to_numpy()
    assert recent.any()
    for row in np.flatnonzero(recent):
        assert any("illness recorded" in en for en, zh in since_february.new_facts[row]["illness"])


def test_an_event_that_only_grew_older_is_no_new_fact(county: County, folders: dict[str, Path], model: RiskModel) -> None:
    month, earlier = ScoredMonth.open(folders[AS_OF]), ScoredMonth.open(folders["2023-05"])
    changes = changes_since(Register.open(county.register), month, earlier, (model, model))
    features = pd.read_parquet(folders[AS_OF] / "features.parquet")
    old = (features["months_since_illness"].between(1, 11)).to_numpy() & (changes.frame["told"] == SPLIT).to_numpy()
    assert old.any()
    for row in np.flatnonzero(old):
        assert not any("illness recorded" in en for en, zh in changes.new_facts[row].get("illness", []))


def test_a_register_that_was_rewritten_is_told_and_not_explained(
    county: County, folders: dict[str, Path], model: RiskModel, tmp_path: Path
) -> None:
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet") if p.stem != "truth"}
    household = pd.read_parquet(folders[AS_OF] / "alerts.parquet")["household_id"].iloc[0]
    records = source["records"]
    old = (records["household_id"] == household) & (pd.to_datetime(records["month"]) <= "2023-02-01")
    records.loc[old, "transfer_income"] = records.loc[old, "transfer_income"].fillna(0) + 30_000
    ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}, source, tmp_path / "r")
    month, earlier = ScoredMonth.open(folders[AS_OF]), ScoredMonth.open(folders["2023-02"])
    told = changes_since(Register.open(tmp_path / "r"), month, earlier, (model, model), [household]).frame
    assert told["told"].tolist() == [REWRITTEN]
    assert told[["before", "after", "model", "calibration"]].isna().all(axis=None)


def test_a_model_that_did_not_score_the_month_is_refused(county: County, folders: dict[str, Path], model: RiskModel) -> None:
    month, earlier = ScoredMonth.open(folders[AS_OF]), ScoredMonth.open(folders["2023-02"])
    with pytest.raises(IntegrityError, match="not with 99"):
        changes_since(Register.open(county.register), month, earlier, (model, replace(model, version="99")))


def test_a_recalibrated_version_with_other_definitions_shows_in_the_calibration_part(
    county: County, folders: dict[str, Path], model: RiskModel, since_february: Changes, tmp_path: Path
) -> None:
    """What the old definitions see at the later month is computed from the register as well."""
    catalogue = replace(model.catalogue, sources=(*model.catalogue.sources, ("note.yaml", "")))
    new = replace(model, calibration=Calibration(0.8, 0.5), catalogue=catalogue, version="2")
    risks = new.risk(pd.read_parquet(folders[AS_OF] / "features.parquet"))
    rows = {n: {"risk": risk} for n, risk in enumerate(risks)}
    month = changed_month(folders[AS_OF], tmp_path / AS_OF, alerts=rows, model_version="2")
    found = changes_since(Register.open(county.register), month, ScoredMonth.open(folders["2023-02"]), (model, new))
    split = (found.frame["told"] == SPLIT).to_numpy()
    assert found.frame["told"].tolist() == since_february.frame["told"].tolist()
    pd.testing.assert_frame_equal(found.facts, since_february.facts)
    assert (found.frame["model"][split] == 0).all() and (found.frame["calibration"][split].abs() > 0.05).any()
    parts = found.facts.sum(axis=1) + found.frame["model"] + found.frame["calibration"]
    np.testing.assert_allclose(parts[split], (found.frame["after"] - found.frame["before"])[split], atol=1e-9)


def test_new_and_continuing_alerts_are_told_apart(folders: dict[str, Path]) -> None:
    month = ScoredMonth.open(folders[AS_OF])
    earlier = earlier_months(month)
    assert [other.as_of for other in earlier] == ["2023-02", "2023-05"]
    found = states(month, earlier)
    lists = {m: pd.read_parquet(folders[m] / "alerts.parquet").set_index("household_id")["driver_1"] for m in MONTHS}
    for (household, driver), state in zip(lists[AS_OF].items(), found, strict=True):
        last = lists["2023-05"].get(household)
        if last is None:
            assert state == ("returned" if household in lists["2023-02"] else "new")
        else:
            assert state == ("continuing" if last == driver else "new")
    assert set(found) >= {"new", "continuing"}
    assert states(month, []).empty


def test_the_trend_holds_every_month_in_which_a_household_was_scored(folders: dict[str, Path]) -> None:
    month = ScoredMonth.open(folders[AS_OF])
    scores = {m: pd.read_parquet(folders[m] / "scores.parquet").set_index("household_id")["risk"] for m in MONTHS}
    for household, points in trends(month, earlier_months(month)).items():
        assert [p.as_of for p in points] == [m for m in MONTHS if household in scores[m]]
        assert [p.risk for p in points] == [scores[p.as_of][household] for p in points]
        assert all(p.same_model for p in points)


def test_folders_of_another_register_or_a_later_month_are_no_past(folders: dict[str, Path], tmp_path: Path) -> None:
    month = ScoredMonth.open(folders["2023-05"])
    assert [other.as_of for other in earlier_months(month)] == ["2023-02"]
    with pytest.raises(UsageError, match="not before 2023-05"):
        earlier_months(month, [folders[AS_OF]])
    other = changed_month(folders[AS_OF], tmp_path / "now", inputs={"register": {"source": "elsewhere"}, "model": "m"})
    changed_month(folders["2023-02"], tmp_path / "then")
    assert earlier_months(other) == []
    with pytest.raises(NotFound, match="no scores of 2022-01"):
        month_named(month, "2022-01")


def test_one_household_is_told_what_changed(county: County, folders: dict[str, Path], since_february: Changes) -> None:
    row = int(np.flatnonzero(since_february.frame["told"] == SPLIT)[0])
    household = since_february.frame["household_id"].iloc[row]
    how = {"register_path": county.register, "tracking_uri": county.tracking.uri}
    story = explain_household(folders[AS_OF], household, since="2023-02", **how)
    total = since_february.frame["after"].iloc[row] - since_february.frame["before"].iloc[row]
    assert story.since == "2023-02"
    assert sum(value for _, value, _ in story.changed) == pytest.approx(total, abs=0.05)
    assert any("of 100 in 2023-02" in line for line in story.lines)
    told = explain_household(folders[AS_OF], household, "zh", **how)
    assert told.since == "2023-05" and any("2023-05" in line for line in told.lines)
    with pytest.raises(UsageError, match="--register"):
        explain_household(folders[AS_OF], household, since="2023-02")


def test_a_clue_stays_with_the_driver_that_it_belongs_to(
    county: County, folders: dict[str, Path], model: RiskModel, tmp_path: Path
) -> None:
    """Where the verdict judges behaviour, its part is told; the parts still add up."""
    month = changed_month(folders[AS_OF], tmp_path / AS_OF, alerts={row: CLUE for row in range(25)})
    earlier = ScoredMonth.open(folders["2023-02"])
    changes = changes_since(Register.open(county.register), month, earlier, (model, model))
    split = (changes.frame["told"] == SPLIT).to_numpy()
    assert (changes.facts.loc[split, ["work", "land", "refusal"]] != 0).to_numpy().any()
    parts = changes.facts[split].sum(axis=1)
    np.testing.assert_allclose(parts, (changes.frame["after"] - changes.frame["before"])[split], atol=1e-9)
