"""The whole way from files to alerts, as a user walks it on the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException
from typer.testing import CliRunner

from riskmodel.alerts.alerts import ALERT_COLUMNS, explain_alerts, read_capacity
from riskmodel.alerts.history import ScoredMonth
from riskmodel.alerts.month import read_alert, write_month
from riskmodel.alerts.scoring import score
from riskmodel.cards.wording import NATURES
from riskmodel.cli import _apart, app
from riskmodel.errors import NotFound, RiskmodelError, UsageError, refused_by_disk
from riskmodel.model.tracking import load_model, promote, promotion_of
from riskmodel.monitoring.part import Asked, scored_months
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.running import PARTS
from riskmodel.months import month_number
from riskmodel.register import Register, ingest, verify
from riskmodel.results import explain_household, monitor_and_write, score_and_write
from riskmodel.settings import Capacity, load_run
from tests.cards.page import read
from tests.county import AS_OF, County
from tests.server import PASSWORD, Server


def test_results_are_written_per_model_and_split(county: County) -> None:
    found = json.loads((county.folder / "results" / "results.json").read_text(encoding="utf-8"))
    assert set(found) == set(county.run.models)
    assert set(found["lightgbm"]) == {"fold_1", "test", "test_disjoint"}
    assert {"roc_auc", "pr_auc", "brier", "log_loss", "calibration_slope", "calibration_intercept",
            "precision_at_capacity", "recall_at_capacity"} <= set(found["lightgbm"]["test"])  # fmt: skip
    assert set(found["lightgbm"]["test"]["brier"]) == {"value", "low", "high"}
    verify(county.folder / "results")


def test_runs_and_model_lie_in_mlflow(county: County) -> None:
    import mlflow

    client = mlflow.MlflowClient(county.tracking.uri, county.tracking.uri)
    runs = client.search_runs([client.get_experiment_by_name("riskmodel").experiment_id])
    parent = next(r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    nested = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {r.data.tags["fold"] for r in nested} >= {"fold_1", "test"}
    assert parent.data.params["label.horizon_months"] == "6"
    assert len(parent.data.tags["register_sha256"]) == 64
    version = client.get_model_version_by_alias("return-risk", "challenger")
    assert client.get_model_version_by_alias("return-risk", "champion").version == version.version
    assert client.get_model_version("return-risk", version.version).tags["promotion_reason"] == "first"


def test_the_logged_model_answers_as_the_package_does(county: County) -> None:
    import mlflow

    uri = county.study.tracking["model_uri"]
    model = load_model(uri, county.tracking.uri)
    served = mlflow.pyfunc.load_model(uri)
    rows = model.matrix(score(Register.open(county.register), model, AS_OF).features)
    np.testing.assert_allclose(served.predict(rows.astype(np.float64)), model.risk(rows))
    assert served.metadata.signature is not None
    example = served.input_example
    assert list(example.columns) == model.inputs
    assert len(example) == 1


def test_the_champion_stays_what_it_is(county: County) -> None:
    for asked, reason in (("champion", None), ("1", "  "), ("v1", "again")):
        done = promote(asked, reason, county.tracking)
        assert (done.before, done.now) == ("1", "1") and "champion already, and nothing was changed" in done.standing
    assert promotion_of("models:/return-risk@champion", county.tracking.uri)["reason"] == "first"


def test_a_promotion_needs_a_version(county: County) -> None:
    with pytest.raises(NotFound, match="no version 99"):
        promote("99", "why not", county.tracking)
    with pytest.raises(NotFound, match="promote one first"):
        load_model("models:/other@champion", county.tracking.uri)
    with pytest.raises(NotFound, match="Name the store .* with --tracking-uri"):
        load_model("models:/other/1", county.tracking.uri)


def test_scores_and_alerts_bear_the_promised_columns(county: County) -> None:
    scores = pd.read_parquet(county.alerts / "scores.parquet")
    alerts = pd.read_parquet(county.alerts / "alerts.parquet")
    assert list(scores.columns) == [
        "household_id", "county_id", "as_of", "risk", "rank", "model_version", "risk_low", "risk_high", "action",
    ]  # fmt: skip
    assert list(alerts.columns[: len(ALERT_COLUMNS)]) == list(ALERT_COLUMNS)
    assert (scores["risk_low"] < scores["risk_high"]).all()
    listed = scores["household_id"].isin(alerts["household_id"])
    assert set(scores.loc[listed, "action"]) <= {"list", "visit"}
    assert set(scores.loc[~listed, "action"]) <= {"visit", "leave"}
    assert len(alerts) == 10
    assert alerts["rank"].tolist() == list(range(1, 11))
    assert alerts["risk"].is_monotonic_decreasing
    assert sorted(scores["rank"]) == list(range(1, len(scores) + 1))
    assert set(alerts["verdict"]) <= {"subjective", "objective", "mixed", "undetermined"}
    assert alerts["measures"].ne("").all()
    assert alerts["reason_zh"].str.contains("原因判断").all()
    counts = county.manifest["about"]["counts"]
    assert (counts["scored"], counts["alerts"]) == (len(scores), 10)


def test_csv_and_excel_hold_the_same_alerts_and_ids_stay_text(county: County) -> None:
    alerts = pd.read_parquet(county.alerts / "alerts.parquet")
    csv = pd.read_csv(county.alerts / "alerts.csv", dtype={"household_id": str, "county_id": str})
    excel = pd.read_excel(county.alerts / "alerts.xlsx", dtype={"household_id": str, "county_id": str})
    for other in (csv, excel):
        assert other["household_id"].tolist() == alerts["household_id"].tolist()
        assert other["reason_zh"].tolist() == alerts["reason_zh"].tolist()
    np.testing.assert_allclose(excel["risk"], alerts["risk"], rtol=1e-12)


def test_drivers_add_up_to_the_risk(county: County) -> None:
    alerts = pd.read_parquet(county.alerts / "alerts.parquet")
    drivers = pd.read_parquet(county.alerts / "drivers.parquet")
    assert drivers["household_id"].tolist() == alerts["household_id"].tolist()
    base = county.manifest["about"]["base_log_odds"]
    log_odds = drivers.drop(columns="household_id").sum(axis=1) + base
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), alerts["risk"], atol=1e-6)


def test_scoring_twice_is_scoring_once(county: County, tmp_path: Path) -> None:
    again = county.score("10", tmp_path / "again")
    assert again["files"] == county.manifest["files"]
    over = county.score("10", tmp_path / "again")
    assert over["files"] == county.manifest["files"]


def test_a_scored_month_goes_to_a_database_as_it_lies_in_the_folder(
    county: County, tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTY_DB", postgres.url())
    arguments = ["score", str(county.register), "--as-of", AS_OF, "--out", str(tmp_path / "out"), "--capacity", "10",
                 "--tracking-uri", county.tracking.uri, "--to", "env:COUNTY_DB", "--schema", "返贫监测"]  # fmt: skip
    found = {}
    for _ in range(2):
        run = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert run.exit_code == 0 and f"In {postgres.label()}, schema 返贫监测" in run.output
        rows = 'SELECT t.*, t.xmin::text FROM "返贫监测".{} AS t ORDER BY county_id, rank'
        found[len(found)] = {name: postgres.run("postgres", rows.format(name)) for name in ("scores", "alerts")}
    assert found[0] == found[1]
    for name, rows in found[0].items():
        frame = pd.read_parquet(tmp_path / "out" / f"{name}.parquet").sort_values(["county_id", "rank"])
        frame = frame.astype(object).where(frame.notna(), None)
        assert [row[:-1] for row in rows] == list(frame.itertuples(index=False, name=None))
    secret = PASSWORD.encode()
    assert not any(secret in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_whoever_opted_out_is_not_ranked(tmp_path: Path, county: County) -> None:
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet") if p.stem != "truth"}
    first = pd.read_parquet(county.alerts / "alerts.parquet")["household_id"].iloc[0]
    chosen = source["households"]["household_id"] == first
    source["households"].loc[chosen, "opted_out"] = True
    ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}, source, tmp_path / "r")
    scores = score(Register.open(tmp_path / "r"), load_model(county.folder / "results"), AS_OF)
    assert first not in set(scores.frame["household_id"])
    assert first in set(scores.by_hand["household_id"])


def test_where_everybody_opted_out_the_month_names_them_and_no_list(tmp_path: Path, county: County) -> None:
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet") if p.stem != "truth"}
    source["households"]["opted_out"] = True
    ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}, source, tmp_path / "r")
    model = str(county.folder / "results" / "model")
    found = score_and_write(tmp_path / "r", model, AS_OF, tmp_path / "month", None, lambda done: None)
    assert found["about"]["counts"]["scored"] == found["about"]["counts"]["alerts"] == 0
    assert len(pd.read_parquet(tmp_path / "month" / "by_hand.parquet")) == found["about"]["counts"]["by_hand"] > 300
    assert not (tmp_path / "month" / "alerts.csv").exists()
    someone = pd.read_parquet(tmp_path / "month" / "by_hand.parquet")["household_id"].iloc[0]
    with pytest.raises(NotFound, match="nobody was ranked.*by_hand.parquet"):
        read_alert(tmp_path / "month", someone)
    with pytest.raises(NotFound, match="nobody was ranked"):
        ScoredMonth.open(tmp_path / "month").alerts()
    asked = Asked(
        Register.open(tmp_path / "r"), month_number(AS_OF), Rules(), scored_months([tmp_path / "month"], month_number(AS_OF))
    )
    assert not asked.scored and [month.as_of for month in asked.unlisted] == [AS_OF], "no list, nothing to report on"
    report = tmp_path / "report"
    about = monitor_and_write(
        tmp_path / "r", AS_OF, report, lambda done: None, alerts=[tmp_path / "month"], parts=["month", "funds"]
    )["about"]
    assert [AS_OF in note for note in about["notes"]["month"]].count(True) == 1
    assert not any("nobody was ranked" in note for note in about["notes"]["funds"]), "the funds read no list"
    page = read(report / "bulletin.html")
    front, behind = page.split('<div class="behind">')
    for said in (f"left out as they have no list: {AS_OF};", f"没有名单，未计入：{AS_OF}；"):
        assert said in front and said in behind


def test_a_group_without_a_subjective_verdict_has_no_ratio_to_print() -> None:
    row = {"column": "head_sex", "highest": "male", "lowest": "female", "ratio": None, "low": None, "high": None}
    assert _apart(row) == "'subjective' is called for head_sex = male, and for nobody with female."
    assert "1.6 (0.4-6.6) times as often" in _apart(row | {"ratio": 1.6, "low": 0.4, "high": 6.6})


def _with_files_of(most: int, *command: str) -> subprocess.CompletedProcess[str]:
    """A command run where no file may be longer than so many bytes: the system says so as it says that a disk is full."""
    small = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); "
    asked = [sys.executable, "-c", f"{small}from riskmodel.cli import main; main()", *command]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path: Path, county: County) -> None:
    simulated = _with_files_of(4096, "simulate", str(tmp_path / "county"), "--households", "50", "--months", "13")
    source = str(county.folder / "source")
    taken_in = _with_files_of(
        4096, "ingest", "sources/simulated.yaml", "--data", source, "--out", str(tmp_path / "register")
    )
    for done in (simulated, taken_in):
        assert done.returncode == 15, done.stderr
        assert "Traceback" not in done.stderr and "run the same command again" in done.stderr
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "raised",
    [
        "MemoryError()",
        "duckdb.OutOfMemoryException('failed to allocate block (bad allocation)')",
        "ImportError('libarrow.so: failed to map segment from shared object')",
    ],
)
def test_a_memory_that_does_not_suffice_is_one_sentence(raised: str) -> None:
    program = f"import duckdb, riskmodel.cli as cli\ndef app(): raise {raised}\ncli.app = app\ncli.main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 11 and "Traceback" not in done.stderr, done.stderr
    assert "no memory left" in done.stderr and "run the same command again" in done.stderr


@pytest.mark.parametrize(
    ("last", "code", "told"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(5)", 5, ""),
        ("sys.exit('text')", 1, "text\n"),
        ("raise KeyboardInterrupt", 130, None),
        ("raise ValueError", 1, None),
    ],
)
def test_a_command_that_is_done_says_nothing_of_its_own_about_libraries(last: str, code: int, told: str | None) -> None:
    """What a thread still has to say is said, and the engine's library does not list what it holds."""
    program = f"""
import atexit, sys, threading, time, duckdb, riskmodel.cli as cli
def app():
    print(duckdb.sql("SELECT 1").fetchall())
    atexit.register(print, "the end")
    threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
    {last}
cli.app = app
cli.main()"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code and done.stdout == "[(1,)]\na thread\nthe end\n"
    assert told is None or done.stderr == told
    assert "leaked" not in done.stderr


def test_a_store_of_models_on_a_full_disk_is_told_as_one() -> None:
    full = "sqlite3.OperationalError('database or disk is full')"
    program = f"import sqlite3, riskmodel.cli as cli\ndef app(): raise {full}\ncli.app = app\ncli.main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 15 and "Traceback" not in done.stderr, done.stderr
    assert "No space left on device" in done.stderr and "run the same command again" in done.stderr
    assert refused_by_disk(MlflowException(f"(sqlite3.OperationalError) {full}"))
    assert refused_by_disk(MlflowException("no such run")) is None


_OBEY_MODES = """
import ctypes, os, sys
if os.geteuid() == 0:  # root reads whatever it likes, until it has given up the two rights to do so, and begun anew
    for right in (1, 2):
        ctypes.CDLL(None).prctl(24, right, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "riskmodel.cli", *sys.argv[1:]])
"""


def _as_anybody(*command: object) -> subprocess.CompletedProcess[str]:
    """A command run by an account that has to obey the modes of files."""
    asked = [sys.executable, "-c", _OBEY_MODES, *map(str, command)]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("closed", ["records.parquet", "records.csv", "records.xlsx", "", "own.yaml"])
def test_a_file_or_folder_that_may_not_be_read_is_no_damaged_file(tmp_path: Path, closed: str) -> None:
    rows = pd.DataFrame({"household_id": ["7"], "month": ["2023-01-01"]})
    folder = tmp_path / "data"
    folder.mkdir()
    if closed.endswith("parquet"):
        rows.to_parquet(folder / closed)
    elif closed.endswith("xlsx"):
        rows.to_excel(folder / closed, index=False)
    else:
        rows.to_csv(folder / ("records.csv" if closed == "own.yaml" else closed or "records.csv"), index=False)
    source = tmp_path / "own.yaml"
    source.write_text("source: own\ntables: {records: {file: 'records.*'}}\n", encoding="utf-8")
    place = source if closed == "own.yaml" else folder / closed
    place.chmod(0)
    try:
        done = _as_anybody("ingest", source, "--data", folder, "--out", tmp_path / "register")
    finally:
        place.chmod(0o700)
    assert done.returncode == 15, done.stderr
    assert f"{place}: this account may not" in done.stderr and "Permission denied" in done.stderr
    assert "ask its owner for the right" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "register").exists()


def test_a_place_that_may_not_be_written_is_named_with_what_to_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        done = _as_anybody("simulate", tmp_path / "county", "--households", 50, "--months", 13)
    finally:
        tmp_path.chmod(0o700)
    assert done.returncode == 15, done.stderr
    assert f"{tmp_path}: this account may not write in this folder" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("closed", "what"), [("spec.json", "read this file"), ("", "enter this folder")])
def test_a_model_that_may_not_be_read_is_no_damaged_model(tmp_path: Path, county: County, closed: str, what: str) -> None:
    load_model("models:/return-risk@champion", county.tracking.uri).save(tmp_path / "model")
    place = tmp_path / "model" / closed
    place.chmod(0)
    try:
        done = _as_anybody("card", tmp_path / "model", "--out", tmp_path / "card.html")
    finally:
        place.chmod(0o700)
    assert done.returncode == 15, done.stderr
    assert f"{place}: this account may not {what}" in done.stderr


def test_a_store_of_models_that_may_not_be_read_is_said_at_once(tmp_path: Path) -> None:
    store = tmp_path / "mlflow.db"
    store.touch()
    store.chmod(0)
    done = _as_anybody("card", "models:/x/1", "--tracking-uri", f"sqlite:///{store}", "--out", tmp_path / "card.html")
    assert done.returncode == 15, done.stderr
    assert f"{store}: this account may not read this file" in done.stderr


@pytest.mark.parametrize(
    ("closed", "what"),
    [("", "write in this folder"), ("mlflow.db", "write this file"), ("mlartifacts/riskmodel", "write in this folder")],
)
def test_a_store_of_models_that_may_not_be_written_is_said_before_the_test_months_are_looked_at(
    tmp_path: Path, county: County, closed: str, what: str
) -> None:
    store, looks = tmp_path / "store", (county.register / "looks.jsonl").read_bytes()
    store.mkdir()
    if closed:
        shutil.copy(county.folder / "mlflow.db", store)
        with sqlite3.connect(store / "mlflow.db") as books:
            books.execute("UPDATE experiments SET artifact_location = ?", [(store / "mlartifacts" / "riskmodel").as_uri()])
        (store / "mlartifacts" / "riskmodel").mkdir(parents=True)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(county.run.model_dump(mode="json")), encoding="utf-8")
    asked = ["train", tmp_path / "run.yaml", "--register", county.register, "--out", tmp_path / "results"]
    (store / closed).chmod(0o500)
    try:
        done = _as_anybody(*asked, "--tracking-uri", f"sqlite:///{store / 'mlflow.db'}")
    finally:
        (store / closed).chmod(0o700)
    assert done.returncode == 15, done.stderr
    assert f"{store / closed}: this account may not {what}" in done.stderr
    assert (county.register / "looks.jsonl").read_bytes() == looks
    assert not (tmp_path / "results").exists()


def test_an_evaluation_that_cannot_be_kept_with_its_model_is_refused_before_the_test_months_are_looked_at(
    tmp_path: Path, county: County
) -> None:
    store, looks = tmp_path / "mlflow.db", (county.register / "looks.jsonl").read_bytes()
    shutil.copy(county.folder / "mlflow.db", store)
    shutil.copytree(county.folder / "mlartifacts", tmp_path / "mlartifacts")
    with sqlite3.connect(store) as books:
        version = county.study.tracking["version"]
        (run,) = books.execute("SELECT run_id FROM model_versions WHERE version = ?", [version]).fetchone()
        files = tmp_path / "mlartifacts" / "riskmodel" / run / "artifacts"
        books.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", [files.as_uri(), run])
    shutil.rmtree(files / "evaluations", ignore_errors=True)  # of other tests, where it could be written
    asked = ["evaluate", f"models:/return-risk/{version}", "--register", county.register, "--out", tmp_path / "evaluation"]
    files.chmod(0o500)
    try:
        done = _as_anybody(*asked, "--look", "a committee asked", "--tracking-uri", f"sqlite:///{store}")
    finally:
        files.chmod(0o700)
    assert done.returncode == 15, done.stderr
    assert f"{files}: this account may not write in this folder" in done.stderr
    assert (county.register / "looks.jsonl").read_bytes() == looks
    assert not (tmp_path / "evaluation").exists()


def test_a_results_folder_that_may_not_be_written_is_said_before_all_else(tmp_path: Path, county: County) -> None:
    out = tmp_path / "alerts"
    shutil.copytree(county.alerts, out)
    before = (out / "manifest.json").read_bytes()
    out.chmod(0o500)
    try:
        done = _as_anybody("score", tmp_path / "no-register", "--as-of", AS_OF, "--out", out)
    finally:
        out.chmod(0o700)
    assert done.returncode == 15, done.stderr
    assert f"{out}: this account may not write in this folder" in done.stderr
    assert (out / "manifest.json").read_bytes() == before


def test_decisions_and_filled_workbooks_that_may_not_be_read_are_no_damaged_ones(tmp_path: Path) -> None:
    for command, name in ((["review", "verify", "--decisions"], "decisions.db"), (["review", "import"], "filled.xlsx")):
        file = tmp_path / name
        file.write_bytes(b"x")
        file.chmod(0)
        done = _as_anybody(*command, file, *(["--decisions", tmp_path / "new.db"] if "import" in command else []))
        assert done.returncode == 15, done.stderr
        assert f"{file}: this account may not read this file" in done.stderr


def test_a_register_that_may_not_be_read_is_named_by_every_command_that_asks_for_it(tmp_path: Path, county: County) -> None:
    county.register.chmod(0)
    try:
        done = _as_anybody("monitor", county.register, "--as-of", AS_OF, "--out", tmp_path / "monitoring")
    finally:
        county.register.chmod(0o700)
    assert done.returncode == 15, done.stderr
    assert f"{county.register}: this account may not enter this folder" in done.stderr


def test_what_duckdb_says_of_a_full_disk_is_told_from_what_it_says_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(duckdb.IOException) as no_file:
        duckdb.execute(f"SELECT * FROM read_parquet('{tmp_path}/none.parquet')")
    assert refused_by_disk(no_file.value) is None
    spilled = duckdb.OutOfMemoryException("failed to offload data block ... set by the 'max_temp_directory_size' setting")
    full = duckdb.IOException('{"exception_message":"Could not write file \\"x.parquet\\": No space left on device"}')
    known = [refused_by_disk(fault) for fault in (spilled, full)]
    assert [(fault.errno, fault.filename) for fault in known if fault] == [(errno.ENOSPC, None), (errno.ENOSPC, "x.parquet")]
    assert refused_by_disk(duckdb.ConversionException("'No space left on device' is no number")) is None, "a value of a row"


def test_capacity_by_county_share_and_file(tmp_path: Path, county: County) -> None:
    scores = score(Register.open(county.register), load_model(county.folder / "results"), AS_OF)
    name = scores.frame["county_id"].iloc[0]
    assert len(explain_alerts(scores, 7).frame) == 7
    assert len(explain_alerts(scores, 0.1).frame) == int(np.ceil(len(scores) * 0.1))
    file = tmp_path / "capacity.csv"
    file.write_text(f"county_id,capacity\n{name},3\n", encoding="utf-8")
    assert len(explain_alerts(scores, read_capacity(file)).frame) == 3
    file.write_text(f"county_id,capacity\n {name} ,3\n", encoding="utf-8")
    assert len(explain_alerts(scores, read_capacity(file)).frame) == 3, "spaces are no part of an id, as at the intake"
    file.write_text("county_id,capacity\nelsewhere,3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="elsewhere"):
        explain_alerts(scores, read_capacity(file))
    file.write_text(f"county_id,capacity\n{name},many\n", encoding="utf-8")
    with pytest.raises(UsageError, match="row 2, column capacity"):
        read_capacity(file)
    for wrong in ("many", "0", "-3", "150%", "nan%", "inf%"):
        with pytest.raises(UsageError):
            explain_alerts(scores, read_capacity(wrong))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("county_id,capacity\nk1,5\nk2,-1\n", "row 3, column capacity: below the smallest"),
        ("county_id,capacity\nk1,5\n,7\n", "row 3, column county_id: the value is missing"),
        ("county_id,capacity\nk1,5\nk2,\n", "row 3, column capacity: the value is missing"),
        ("county_id,capacity\nk1,5\nk2,2.5\n", "row 3, column capacity: not a whole number"),
        ("县,名额\nk1,5\nk2,若干\n", "row 3, column 名额: not a number"),
        ("county_id,capacity\nk1,5\nk2,7,8\n", "row 3: the row has more or fewer fields"),
        ("county_id,capacity\nk1,5\nk1,7\n", "row 3: this county stands above"),
        ("county_id,capacity\nk1,0\n", "no county has a visit"),
        ("县,户数\nk1,5\n", r"no column capacity \(名额\)"),
        ("", "empty"),
    ],
)
def test_a_capacity_file_that_would_drop_a_county_unseen_is_refused(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "capacity.csv"
    file.write_bytes(content.encode("gb18030"))
    with pytest.raises(UsageError, match=says):
        read_capacity(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("header", ["county_id,capacity,name", "县,名额,名称", "名称;县;名额"])
def test_a_capacity_file_is_read_as_the_intake_reads_a_countys_own(tmp_path: Path, header: str, encoding: str) -> None:
    rows = "某县;049;５\n邻县;50;1200\n" if ";" in header else '049,５,某县\n50,"1,200",邻县\n'
    file = tmp_path / "走访.csv"
    file.write_bytes(f"{header}\n{rows}".encode(encoding))
    assert read_capacity(file) == {"049": 5, "50": 1200}


def test_a_capacity_file_may_be_a_workbook_or_parquet(tmp_path: Path) -> None:
    visits = pd.DataFrame({"县": ["049", "50"], "名额": [5, 1200]})
    visits.to_excel(tmp_path / "visits.xlsx", index=False)
    visits.to_parquet(tmp_path / "visits.parquet")
    assert [read_capacity(tmp_path / f"visits.{kind}") for kind in ("xlsx", "parquet")] == [{"049": 5, "50": 1200}] * 2


def test_every_village_gets_its_floor_of_visits(county: County, tmp_path: Path) -> None:
    model = load_model(county.folder / "results")
    room = Capacity(number=40, village_floor=1)
    scores = score(
        Register.open(county.register), replace(model, run=model.run.model_copy(update={"capacity": room})), AS_OF
    )
    explained = explain_alerts(scores)
    villages = scores.features.set_index("household_id")["village_id"]
    assert len(explained.frame) == 40
    assert set(explained.frame["household_id"].map(villages)) == set(villages)
    write_month(scores, explained, tmp_path / "out", {})
    assert pd.read_parquet(tmp_path / "out" / "scores.parquet")["action"].notna().any()


def test_swapping_protected_attributes_changes_no_alert(tmp_path: Path, county: County) -> None:
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet") if p.stem != "truth"}
    people = source["households"]
    people["head_sex"] = people["head_sex"].map({"male": "female", "female": "male"})
    people["head_ethnic_minority"] = ~people["head_ethnic_minority"]
    ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}, source, tmp_path / "r")
    scores = score(Register.open(tmp_path / "r"), load_model(county.folder / "results"), AS_OF)
    found = explain_alerts(scores, 10).frame.drop(columns="model_version")
    straight = pd.read_parquet(county.alerts / "alerts.parquet").drop(columns="model_version")
    pd.testing.assert_frame_equal(found, straight, check_dtype=False)


def test_units_of_money_change_no_alert(tmp_path: Path, county: County) -> None:
    """The same county kept in fen: the same ranks, risks and verdicts."""
    money = ("wage_income", "production_income", "property_income", "transfer_income", "allowance_income",
             "production_cost", "claims", "selfpay", "schooling_cost", "debt")  # fmt: skip
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet") if p.stem != "truth"}
    records = source["records"]
    fen = [c for c in money if c in records]
    records[fen] = records[fen] * 100
    columns = {c: c for c in records.columns if c not in fen} | {c: {"from": c, "unit": "fen"} for c in fen}
    mapping = {"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}
    mapping["tables"]["records"] = {"columns": columns}
    ingest(mapping, source, tmp_path / "fen")
    model = load_model(county.folder / "results")
    found = explain_alerts(score(Register.open(tmp_path / "fen"), model, AS_OF), 10).frame
    straight = pd.read_parquet(county.alerts / "alerts.parquet")
    assert found["household_id"].tolist() == straight["household_id"].tolist()
    assert found["verdict"].tolist() == straight["verdict"].tolist()


def test_a_register_that_lacks_what_the_model_learned_from_is_told_when_it_is_scored(county: County, tmp_path: Path) -> None:
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet")}
    some = {name: {} for name in source if name != "events"}
    quarters = source["records"][pd.to_datetime(source["records"]["month"]).dt.month % 3 == 1]
    ingest({"source": "s", "pseudonymised": True, "tables": some}, {n: source[n] for n in some}, tmp_path / "some")
    thinned = {**source, "records": quarters}
    quarterly = {"source": "s", "step_months": 3, "pseudonymised": True, "tables": {n: {} for n in source}}
    ingest(quarterly, thinned, tmp_path / "quarters")

    def said(register: Path) -> str:
        out = tmp_path / f"scores of {register.name}"
        arguments = ["score", register, "--as-of", AS_OF, "--out", out, "--model", "models:/return-risk@champion"]
        run = CliRunner().invoke(app, [*map(str, arguments), "--tracking-uri", county.tracking.uri], catch_exceptions=False)
        return " ".join(run.output.split())

    assert "warning" not in said(county.register)
    told = said(tmp_path / "some")
    assert "inputs cannot be computed from this register" in told and "months_since_illness" in told
    assert "the model was trained on periods of 1 month(s), and this register has periods of 3" in said(
        tmp_path / "quarters"
    )


def test_one_households_story(county: County) -> None:
    alerts = pd.read_parquet(county.alerts / "alerts.parquet")
    household = alerts["household_id"].iloc[0]
    for lang, word in (("en", "risk"), ("zh", "风险")):
        story = explain_household(county.alerts, household, lang)
        assert any(line.startswith(word) for line in story.lines)
        assert story.waterfall.read_text(encoding="utf-8").startswith("<?xml")
        assert {nature for _, nature, _ in story.drivers} <= {words._asdict()[lang] for words in NATURES.values()}
    scores = pd.read_parquet(county.alerts / "scores.parquet")
    last = scores.sort_values("rank")["household_id"].iloc[-1]
    with pytest.raises(NotFound, match="is not on the list"):
        explain_household(county.alerts, last)
    for nobody in ("nobody", os.fsdecode("户1".encode("gb18030"))):  # as a terminal of another encoding gives it
        with pytest.raises(NotFound, match="no such household"):
            explain_household(county.alerts, nobody)
    assert county.score("10")["files"] == county.manifest["files"]
    assert (county.alerts / "explain").is_dir(), "what a user made in the folder survives the next scoring"


def test_help_answers_in_well_under_a_second() -> None:
    command = [sys.executable, "-m", "riskmodel.cli", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "demo" in run.stdout and "Exit codes" in run.stdout


@pytest.mark.parametrize("group", [[], ["review"]], ids=["riskmodel", "review"])
def test_help_says_of_each_command_what_it_does_in_a_whole_sentence(group: list[str]) -> None:
    said = CliRunner().invoke(app, [*group, "--help"], terminal_width=80).output
    rows = said.split("Commands:")[1].split("Exit codes")[0].strip().splitlines()
    assert len(rows) > 5 and all(row.endswith(".") and not row.endswith("...") for row in rows), said


def test_help_names_the_parts_of_monitoring_and_the_folder_of_the_demo() -> None:
    said = " ".join(CliRunner().invoke(app, ["monitor", "--help"]).output.split())
    assert f"of {', '.join(part.name for part in PARTS)};" in said
    assert "[default: riskmodel-demo]" in CliRunner().invoke(app, ["demo", "--help"]).output


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["ingest", "nowhere.yaml", "--out", "r"], 2, "nowhere.yaml"),
        (["train", "nothing.yaml", "--register", "r"], 2, "Shipped in that folder"),
        (["train", "configs/runs/default.yaml", "--register", "nowhere"], 4, "nowhere"),
        (["score", "nowhere", "--as-of", "2023-06", "--out", "o"], 4, "nowhere"),
        (["explain", "nowhere", "--household", "1"], 4, "nowhere"),
        (["card", "nowhere", "--out", "card.html"], 4, "no model there"),
        (["sheets", "nowhere", "--out", "o"], 4, "nowhere"),
        (["review", "import", "nowhere.xlsx", "--decisions", "d.db"], 4, "no such file"),
        (["simulate", "s", "--world", "flat"], 2, "easy or hard"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, arguments)
    assert isinstance(run.exception, RiskmodelError)
    assert run.exception.exit_code == code
    assert says in str(run.exception)
    assert not list(tmp_path.iterdir())


def test_a_misspelt_setting_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("label: {horizon_month: 6}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"run\.yaml: label\.horizon_month"):
        load_run(file)
    file.write_text("models: [lightgmb]\n", encoding="utf-8")
    with pytest.raises(UsageError, match="unknown model 'lightgmb'"):
        load_run(file)


def test_a_month_outside_the_register_is_named(county: County) -> None:
    with pytest.raises(UsageError, match="2030-01 lies outside the register"):
        score(Register.open(county.register), load_model(county.folder / "results"), "2030-01")
