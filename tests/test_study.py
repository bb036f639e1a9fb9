"""Looks at the test months are counted, lists are assessed, and a champion is not replaced without evidence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import riskmodel as rm
from riskmodel.assessment import assess
from riskmodel.cards.model_card import model_card
from riskmodel.cli import app
from riskmodel.cohort.audit import audit_columns
from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.cohort.helped import helped_before_outcome
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.bootstrap import drawn_together, household_codes, household_draws
from riskmodel.evaluation.capacity import length_for_recall, list_figures
from riskmodel.evaluation.looks import FILE, Look, read_looks, record_look
from riskmodel.model.champion import against_champion
from riskmodel.model.tracking import later_evaluations, load_model, promote, promotion_of, standing_of
from riskmodel.months import month_text
from riskmodel.register import Register, ingest
from riskmodel.results import evaluate_model
from riskmodel.settings import LeakGates, find_config
from riskmodel.simulation import simulate
from riskmodel.study import compare_over_time, evaluate
from riskmodel.telling import assessment_sheets
from tests.cohort.registers import make_register, monthly
from tests.county import County


def look(first: str = "2023-01", last: str = "2023-06", **other: object) -> Look:
    return Look(**{
        "at": "2024-01-01T00:00:00+00:00", "code": "1", "run": "r", "reason": "why", "label": "return",
        "horizon_months": 6, "first": first, "last": last, "register": "s", **other,
    })  # fmt: skip


@pytest.fixture(scope="module")
def cohorts(county: County) -> Cohorts:
    run = county.run
    return build_cohorts(Register.open(county.register), label=run.label, at_risk=run.at_risk, months=run.cohorts)


def test_every_look_at_the_same_months_is_counted_and_none_is_lost(tmp_path: Path) -> None:
    ledger = tmp_path / FILE
    assert record_look(ledger, look()) == []
    assert record_look(ledger, look("2022-01", "2022-06")) == []
    assert record_look(ledger, look(label="below_line")) == []
    assert record_look(ledger, look("2023-06", "2023-12", reason="again")) == [look()]
    assert len(read_looks(ledger)) == 4
    ledger.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1: not a look"):
        record_look(ledger, look())


def test_a_look_that_cannot_be_recorded_stops(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"split\.ledger"):
        record_look(tmp_path / "missing" / FILE, look())


def test_training_records_its_look_and_the_model_carries_it(county: County) -> None:
    found = read_looks(county.register / FILE)[0]
    assert (found.run, found.reason) == ("journey", "training run journey")
    test = county.study.folds[-1].describe()
    assert (found.first, found.last) == (test["test_from"], test["test_to"])
    assert county.study.evidence["looks"]["this"]["at"] == found.at


def test_folds_alone_are_no_look(county: County, cohorts: Cohorts) -> None:
    before = read_looks(county.register / FILE)
    compared = compare_over_time(cohorts, county.run)
    assert {split for splits in compared.results.values() for split in splits} == {"fold_1"}
    assert read_looks(county.register / FILE) == before


def test_the_ledger_survives_a_new_intake(tmp_path: Path) -> None:
    register = tmp_path / "register"
    for income in (150.0, 160.0):
        make_register(register, records=monthly("1", "2023-01", [income] * 6))
        record_look(register / FILE, look())
    assert len(read_looks(register / FILE)) == 2


def test_the_assessment_is_plain_json_and_agrees_with_the_metrics(county: County, cohorts: Cohorts) -> None:
    found = county.study.evidence["assessment"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    test = county.study.evidence["data"]["test"]
    assert (found["known"], found["events"]) == (test["rows"], test["events"])
    figures = county.study.results["lightgbm"]["test"]
    known = county.study.scores.rename(columns={"lightgbm": "risk"})  # metrics draw their lists from these alone
    lists = list_figures(known, known["outcome"].to_numpy(), county.run.capacity)
    assert lists.loc["listed", "recall"] == pytest.approx(figures["recall_at_capacity"].value, abs=1e-12)
    a_place_a_list = len(found["months"]) / found["events"]
    assert found["lists"]["listed"]["recall"] == pytest.approx(lists.loc["listed", "recall"], abs=a_place_a_list)
    assert found["minimum_list"][-1]["recall"] == 0.9
    listed = sum(month["listed"] for month in found["churn"])
    assert listed == sum(np.ceil(0.05 * cohorts.frame["as_of"].eq(m).sum()) for m in found["months"])
    assert {"head_sex", "remote", "relocated", "elderly_members"} <= {row["column"] for row in found["fairness"]["table"]}


def test_intervals_of_the_lists_equal_a_loop_over_resampled_households(county: County) -> None:
    """Households drawn again by hand: the list as drawn, the shortest list and the net benefit of each resample."""
    found, study = county.study.evidence["assessment"], county.study
    rows = study.scores.rename(columns={"lightgbm": "risk"})
    run, y = study.run, rows["outcome"].to_numpy()
    lists = (rows["as_of"] + "/" + rows["county_id"]).to_numpy()
    frame = Register.open(county.register).read("households").set_index("household_id")["village_id"]
    drawn = drawn_together(rows.assign(village_id=rows["household_id"].map(frame)), run.intervals)
    codes, count = household_codes(drawn)
    figures: dict[str, list[float]] = {"length": [], "net": []}
    for weight in household_draws(count, run.intervals.replicates, run.seed):
        kept = [i for i, w in enumerate(weight[codes]) for _ in range(int(w))]
        risk, fell = rows["risk"].to_numpy()[kept], y[kept]
        figures["length"].append(length_for_recall(fell, risk, [0.5], lists[kept])["length"].iloc[0])
        figures["net"].append(((risk >= 0.1) * (fell - (1 - fell) / 9)).mean())
    for name, row in (("length", found["minimum_list"][0]), ("net", found["decision"][2])):
        column = "length" if name == "length" else "net_benefit"
        expected = np.quantile(figures[name], [0.025, 0.975])
        assert (row[f"{column}_low"], row[f"{column}_high"]) == pytest.approx(tuple(expected), abs=1e-12)
    told = found["lists"]["intervals"]
    for figure in ("precision", "recall", "lift", "false_alerts_per_1000"):
        assert told[figure]["value"] == pytest.approx(found["lists"]["listed"][figure], abs=1e-12)
        assert told[figure]["low"] <= told[figure]["value"] <= told[figure]["high"]
    lead = found["lead_time"]
    assert lead["intervals"]["early_share"]["value"] == pytest.approx(lead["early_share"], abs=1e-12)


def test_the_lists_say_of_how_many_nobody_knows_what_became_of_them(county: County, cohorts: Cohorts) -> None:
    """Told of the known alone the share that fell is no smaller than told of all, as falls are known before the rest."""
    found, lists = county.study.evidence["assessment"], county.study.evidence["assessment"]["lists"]
    unknown = lists["unknown"]
    assert unknown["listed"] == sum(month["listed"] for month in found["churn"])
    assert 0 < unknown["not_known"] == unknown["listed"] - lists["listed"]["rows"]
    assert unknown["low"] <= unknown["precision"] <= lists["listed"]["precision"] <= unknown["high"]


def test_months_and_counties_of_the_assessment_add_up_to_the_whole(county: County) -> None:
    found = county.study.evidence["assessment"]
    for part in ("by_month", "by_county"):
        assert sum(row["rows"] for row in found[part]) == found["known"]
        assert sum(row["events"] for row in found[part]) == found["events"]
        assert sum(row["listed"] for row in found[part]) == found["lists"]["listed"]["rows"]
    assert [row["group"] for row in found["by_month"]] == found["months"]
    caught = sum(row["caught"] for row in found["by_month"])
    assert caught / found["events"] == pytest.approx(found["lists"]["listed"]["recall"])
    recalls = [row["recall"] for row in found["by_length"]]
    assert recalls == sorted(recalls)


def test_lists_are_drawn_from_all_at_risk_and_counted_where_the_outcome_is_known(county: County, cohorts: Cohorts) -> None:
    """Of every second household nobody knows what became of it: the lists stay, and their figures hold for the others."""
    months = county.study.evidence["assessment"]["months"]
    hidden = cohorts.frame["household_id"].map(lambda h: int(h[-1]) % 2 == 1)
    frame = cohorts.frame.assign(outcome=cohorts.frame["outcome"].mask(hidden))
    run = county.run.model_copy(update={"capacity": county.run.capacity.model_copy(update={"village_floor": 2})})
    found = assess(county.study.model, dataclasses.replace(cohorts, frame=frame), months, run)
    whole = assess(county.study.model, cohorts, months, run)
    assert [row["listed"] for row in found["churn"]] == [row["listed"] for row in whole["churn"]]
    listed = found["lists"]["listed"]["rows"]
    assert 0 < listed < 0.7 * sum(row["listed"] for row in found["churn"])
    for part, column in (("by_month", "listed"), ("by_county", "listed")):
        assert sum(row[column] for row in found[part]) == listed
    assert sum(row["rows"] for row in found["lists"]["by_level"]) == listed


def test_falls_that_are_known_before_the_rest_are_no_reason_to_recalibrate(county: County, cohorts: Cohorts) -> None:
    """Of three households in five that did not fall nobody knows it yet: the level stays where it was, whoever they are."""
    months, frame = county.study.evidence["assessment"]["months"], cohorts.frame
    whole, ratios = assess(county.study.model, cohorts, months, county.run)["level"], []
    for first in range(0, 10, 2):
        late = frame["household_id"].map(lambda h, first=first: (int(h[-1]) - first) % 10 >= 4) & frame["outcome"].eq(0)
        censored = frame.assign(outcome=frame["outcome"].mask(late), seen_until=frame["seen_until"].mask(late, 5))
        found = assess(county.study.model, dataclasses.replace(cohorts, frame=censored), months, county.run)["level"]
        assert found["events"] == whole["events"] and found["rows"] < 0.6 * whole["rows"]
        assert found["ratio"] == pytest.approx(found["events"] / found["expected"])
        ratios.append(found["ratio"])
    assert np.mean(ratios) == pytest.approx(whole["ratio"], rel=0.15)


def test_warning_time_is_told_over_villages_where_all_other_figures_are(county: County, cohorts: Cohorts) -> None:
    months = county.study.evidence["assessment"]["months"]
    over = {
        unit: assess(
            county.study.model, cohorts, months,
            county.run.model_copy(update={"intervals": county.run.intervals.model_copy(update={"over": unit})}),
        )["lead_time"]["intervals"]["early_share"]
        for unit in ("household", "village")
    }  # fmt: skip
    assert over["household"]["value"] == over["village"]["value"]
    assert over["household"] != over["village"]


def test_a_point_of_a_driver_stands_for_enough_households(county: County) -> None:
    points = [p for driver in county.study.evidence["drivers"] for p in driver["spread"]]
    assert points and min(p["households"] for p in points) >= county.run.smallest_cell


def test_floors_change_who_is_listed_but_not_how_many(county: County, cohorts: Cohorts) -> None:
    months = county.study.evidence["assessment"]["months"]
    room = county.run.capacity.model_copy(update={"village_floor": 1})
    with_floor = assess(county.study.model, cohorts, months, county.run.model_copy(update={"capacity": room}))
    without = county.study.evidence["assessment"]
    assert [m["listed"] for m in with_floor["churn"]] == [m["listed"] for m in without["churn"]]
    assert {row["level"] for row in with_floor["lists"]["by_level"]} == {"village", "county"}
    assert with_floor["lists"]["number"] == len(months) and with_floor["lists"]["floors_lowered"] == 0
    greedy = county.run.capacity.model_copy(update={"village_floor": 50})
    bounded = assess(county.study.model, cohorts, months, county.run.model_copy(update={"capacity": greedy}))
    assert bounded["lists"]["floors_lowered"] == len(months)
    assert [m["listed"] for m in bounded["churn"]] == [m["listed"] for m in without["churn"]]


def test_a_model_is_not_judged_on_months_that_it_was_trained_on(county: County, cohorts: Cohorts) -> None:
    with pytest.raises(NotEnoughData, match="the model was trained on"):
        evaluate(county.study.model, cohorts)


def test_a_model_is_judged_on_a_county_that_it_has_not_seen(county: County, tmp_path: Path) -> None:
    simulate(tmp_path / "source", households=400, months=30, seed=9, with_truth=False)
    for file in (tmp_path / "source").glob("*.parquet"):
        rows = pd.read_parquet(file)
        if "county_id" in rows:
            rows.assign(county_id="elsewhere").to_parquet(file)
    ingest(find_config("sources/simulated.yaml"), tmp_path / "source", tmp_path / "register")
    uri, register, out = "models:/return-risk@champion", str(tmp_path / "register"), str(tmp_path / "out")
    options = ["--tracking-uri", county.tracking.uri, "--look", "another county", "--out", out]
    arguments = ["evaluate", uri, "--register", register, *options]
    run = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert run.exit_code == 0 and "Look 1 at these test months: another county." in run.stdout
    kept = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert {"roc_auc", "recall_at_capacity"} <= set(kept["metrics"])
    later = later_evaluations(uri, county.tracking.uri)
    assert [one["looks"]["this"]["reason"] for one in later] == ["another county"]
    assert "another county" in model_card(load_model(uri, county.tracking.uri), later=later)


def test_a_model_is_judged_on_months_after_the_last_that_its_run_named(county: County, tmp_path: Path) -> None:
    """The run ended its cohorts with September; the register goes on, and nobody has to wait for more of it."""
    run = county.run.model_copy(
        update={
            "cohorts": county.run.cohorts.model_copy(update={"last": "2022-09"}),
            "split": county.run.split.model_copy(update={"ledger": str(tmp_path / "looks.jsonl")}),
        }
    )
    model = dataclasses.replace(county.study.model, run=run, evidence={**county.study.evidence, "trained_to": "2022-09"})
    model.save(tmp_path / "model")
    found = evaluate_model(str(tmp_path / "model"), county.register, "later months", None, None, lambda what: None)
    assert found["assessment"]["months"] == ["2023-06"], "seven months after September at the earliest"


def test_a_run_is_compared_at_several_horizons_in_one_command(county: County, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "models: [base_rate, one_variable_logit]\nregister_model: one_variable_logit\nintervals: {replicates: 20}\n"
        "cohorts: {warm_up_months: 3}\nsplit: {folds: 1}\n",
        encoding="utf-8",
    )
    arguments = ["evaluate", str(file), "--register", str(county.register), "--horizons", "3,6"]
    run = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert run.exit_code == 0
    assert "horizon 3 months" in run.stdout and "horizon 6 months" in run.stdout and "fold_1" in run.stdout
    wrong = CliRunner().invoke(app, [*arguments[:-1], "three"])
    assert isinstance(wrong.exception, UsageError) and "--horizons three" in str(wrong.exception)


def test_a_horizon_that_the_register_is_too_short_for_says_so_beside_the_others(county: County, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "models: [base_rate, one_variable_logit]\nregister_model: one_variable_logit\nintervals: {replicates: 20}\n"
        "cohorts: {warm_up_months: 3}\nsplit: {folds: 1}\n",
        encoding="utf-8",
    )
    arguments = ["evaluate", str(file), "--register", str(county.register), "--horizons"]
    run = CliRunner().invoke(app, [*arguments, "6,12,48", "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert run.exit_code == 0
    assert "horizon 12 months: nothing to compare." in run.stdout and "--look REASON" in run.stdout
    kept = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["horizons"]
    assert [set(found) for found in (kept["12"], kept["48"])] == [{"none"}, {"none"}]
    assert "Shorten the horizon" in kept["48"]["none"]
    assert {f["gate"] for f in kept["6"]["leak_gates"]} >= {"future", "labels"}
    alone = CliRunner().invoke(app, [*arguments, "48"])
    assert isinstance(alone.exception, NotEnoughData)


def test_a_fold_in_which_nobody_fell_is_left_out_and_the_training_goes_on(county: County, cohorts: Cohorts) -> None:
    fold = county.study.folds[0]
    early = cohorts.frame["as_of"].isin([month_text(m) for m in fold.test])
    frame = cohorts.frame.assign(outcome=cohorts.frame["outcome"].where(~early | cohorts.frame["outcome"].isna(), 0.0))
    quiet = dataclasses.replace(cohorts, frame=frame)
    run = county.run.model_copy(update={"leak_gates": LeakGates(enabled=False), "models": ["base_rate", "lightgbm"]})
    found = compare_over_time(quiet, run, look="nobody fell in the fold")
    assert fold.name not in found.splits and [f.name for f in found.folds] == ["test"]
    assert "0 of" in found.evidence["folds_left_out"][fold.name]
    with pytest.raises(NotEnoughData, match="--look REASON"):
        compare_over_time(quiet, run)


def test_the_terminal_tells_what_the_evidence_holds(county: County) -> None:
    found = county.study.evidence["assessment"]
    sheets = {sheet.title: sheet for sheet in assessment_sheets(found)}
    assert all(len(row) == len(sheet.columns) for sheet in sheets.values() for row in sheet.rows)
    drawn = sheets["lists at capacity"].rows[0]
    assert drawn[2] == f"{found['lists']['listed']['recall']:.3f}"
    assert len(sheets["alerts from list to list"].rows) == len(found["months"])
    falls = {row[0]: row[1] for row in sheets["where falls are found and missed"].rows}
    told = [row for row in found["misses"]["situations"] if row["events"] >= 10]
    assert [int(n) for n in falls.values()] == [row["events"] for row in told]
    groups = [title for title in sheets if title.startswith("groups")]
    assert groups and any(row[0] == "All" for row in sheets[groups[0]].rows)


def test_the_card_says_how_the_model_became_champion_and_why(county: County) -> None:
    uri = "models:/return-risk/1"
    promotion = promotion_of(uri, county.tracking.uri)
    assert promotion is not None and promotion["reason"] == "first"
    model = load_model(uri, county.tracking.uri)
    html = model_card(model, "en", promotion=promotion | {"reason": "the committee of <May> asked for it"})
    assert "Reason given: the committee of &lt;May&gt; asked for it" in html
    assert ("not shown to be better" in html) == (not standing_of(model.evidence, "")[0])


def test_the_champion_stays_what_it_is_with_the_reason_for_which_it_was_promoted(county: County) -> None:
    said = promote("champion", "another reason", county.tracking)
    assert said.standing == "it is the champion already, and nothing was changed"
    assert promotion_of("models:/return-risk/1", county.tracking.uri)["reason"] == "first"


def test_the_champion_is_compared_with_itself_to_nothing(county: County, cohorts: Cohorts) -> None:
    """The same recipe on the same months gains exactly nothing."""
    split = compare_over_time(cohorts, county.run).splits["test"][0]
    risk = county.study.scores["lightgbm"].to_numpy()
    found = against_champion(cohorts, county.run, *split, risk)
    assert (found["version"], found["how"]) == ("1", "recipe")
    assert found["differences"]["recall_at_capacity"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_version_that_is_not_better_is_promoted_for_a_reason_alone() -> None:
    def gain(low: float) -> dict[str, dict[str, float]]:
        return {"recall_at_capacity": {"value": low + 0.05, "low": low, "high": low + 0.1}}

    rules = {"office_rule": gain(0.02), "distance_to_line": gain(-0.01)}
    assert standing_of({"differences": rules}, "")[0] is False
    assert "distance to line" in standing_of({"differences": rules}, "")[1]
    assert standing_of({"differences": {"office_rule": gain(0.02)}}, "")[0] is True
    assert standing_of({}, "")[0] is False
    champion = {"version": "2", "how": "as it is", "differences": gain(0.01)}
    assert standing_of({"champion": champion}, "2")[0] is True
    assert standing_of({"champion": champion}, "3")[0] is False
    assert standing_of({"champion": {**champion, "differences": gain(-0.01)}}, "2")[0] is False
    assert standing_of({"champion": {"version": "2", "none": "another outcome"}}, "2")[0] is False


def test_a_refused_promotion_says_why_and_moves_nothing(county: County) -> None:
    client = mlflow.MlflowClient(county.tracking.uri)
    first = client.get_model_version(county.tracking.registered_model, "1")
    other = client.create_model_version(first.name, first.source, first.run_id).version
    client.set_registered_model_alias(first.name, "champion", other)
    for reason in (None, "  "):
        with pytest.raises(UsageError, match=f"never compared with champion {other}.*--reason"):
            promote("1", reason, county.tracking)
    assert str(client.get_model_version_by_alias(first.name, "champion").version) == str(other)
    client.delete_model_version(first.name, other)
    done = promote("1", "first", county.tracking)
    assert (done.before, done.now) == ("", "1")


def test_help_counts_that_began_between_the_day_and_the_outcome(tmp_path: Path) -> None:
    given = pd.DataFrame(
        [
            ("before", "2023-05-10", True, "2023-06-30"),
            ("after", "2023-05-10", True, "2023-07-01"),
            ("refused", "2023-07-10", False, None),
            ("not begun", "2023-07-10", True, None),
            ("unanswered", "2023-07-10", None, None),
            ("late", "2023-08-10", True, "2023-09-01"),
        ],
        columns=["household_id", "offered_on", "accepted", "started_on"],
    ).assign(measure="training", answered_on=lambda d: d["offered_on"])
    ids = [*given["household_id"], "nothing"]
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ids])
    register = make_register(tmp_path / "register", records=records, assistance=given)
    county_id = register.counties[0]
    rows = pd.DataFrame({"household_id": ids, "county_id": county_id, "as_of": "2023-06", "outcome_month": None})
    rows.loc[rows["household_id"] == "late", "outcome_month"] = "2023-08"
    found = helped_before_outcome(register, rows, horizon_months=6)
    assert dict(zip(ids, found, strict=True)) == {
        "before": False, "after": True, "refused": False, "not begun": False, "unanswered": False, "late": False,
        "nothing": False,
    }  # fmt: skip


def test_where_no_day_of_start_is_held_help_begins_with_its_answer_as_in_monitoring(tmp_path: Path) -> None:
    offers = pd.DataFrame(
        {"household_id": ["001", "002"], "offered_on": ["2023-06-10", "2023-06-11"], "measure": "training"}
    )
    answered = offers.assign(accepted=True, answered_on=["2023-07-02", "2023-06-20"])
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002")])
    rows = pd.DataFrame({"household_id": ["001", "002"], "as_of": "2023-06", "outcome_month": None})

    def helped(folder: str, given: dict[str, pd.DataFrame]) -> pd.Series:
        register = make_register(tmp_path / folder, records=records, **given)
        return helped_before_outcome(register, rows.assign(county_id=register.counties[0]), horizon_months=6)

    assert helped("answered", {"assistance": answered}).tolist() == [True, False]
    assert helped("offered", {"assistance": offers}).isna().all(), "whether anybody took it up is not on record"
    assert helped("without", {}).isna().all()


def test_columns_for_audit_are_joined_and_are_no_features(county: County, cohorts: Cohorts) -> None:
    found = audit_columns(Register.open(county.register), cohorts.frame)
    assert list(found.columns) == ["head_sex", "head_ethnic_minority", "remote"]
    assert not set(found.columns) & set(cohorts.frame.columns)
    people = pd.read_parquet(county.folder / "source" / "households.parquet").set_index("household_id")
    expected = cohorts.frame["household_id"].map(people["head_sex"])
    assert (found["head_sex"].to_numpy(str) == expected.to_numpy(str)).all()


def test_the_card_shows_lists_groups_misses_and_looks(county: County) -> None:
    html = rm.model_card(county.study.model, lang="en")
    for words in ("The lists at capacity", "Who it works less well for", "Where it misses", "it was look number 1"):
        assert words in html
