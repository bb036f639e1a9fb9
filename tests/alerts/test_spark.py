"""The Spark engine: what it needs is named, and a cluster changes no byte, not even one that loses a machine."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from riskmodel.alerts import spark as engine
from riskmodel.alerts.counties import Job, score_batch, score_month
from riskmodel.alerts.scoring import score
from riskmodel.cli import app
from riskmodel.errors import IntegrityError, NotFound, RiskmodelError, UsageError, WorkerLost
from riskmodel.explain.margins import risks
from riskmodel.model.bundle import RiskModel
from riskmodel.model.tracking import load_model
from riskmodel.processes import Batch
from riskmodel.register import Register, read_manifest
from tests.alerts.cluster import Cluster, cluster, environment, wait_for
from tests.county import AS_OF, County

CAPACITY = "2"


@pytest.fixture(scope="module")
def district(county: County, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RiskModel]:
    """The simulated county cut into as many as it has villages, and its model."""
    return county.cut(50, tmp_path_factory.mktemp("district") / "register"), load_model(county.folder / "results")


def refusal(*arguments: str) -> str:
    """What `riskmodel score` says when it refuses its arguments."""
    found = CliRunner().invoke(app, ["score", "register", "--as-of", AS_OF, "--out", "out", *arguments]).exception
    assert isinstance(found, UsageError)
    return str(found)


def java_that_says(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "java").write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    (folder / "bin" / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(folder))


@pytest.fixture
def with_pyspark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """PySpark as far as its version goes."""
    package = ModuleType("pyspark")
    package.__version__ = "4.3.0"
    monkeypatch.setitem(sys.modules, "pyspark", package)
    return package


def test_without_pyspark_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    assert "pip install 'household-riskmodel[spark]'" in refusal("--engine", "spark")


def test_an_old_pyspark_is_refused(with_pyspark: ModuleType) -> None:
    with_pyspark.__version__ = "3.5.4"
    assert "PySpark 3.5.4 is too old" in refusal("--engine", "spark")


def test_without_java_it_is_said_what_to_install(
    with_pyspark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no java is on the PATH: install Java 17 or newer" in refusal("--engine", "spark", "--master", "spark://h:7077")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert "gone holds no bin/java" in refusal("--engine", "spark")


@pytest.mark.parametrize(("version", "named"), [("1.8.0_312", "Java 8"), ("11.0.2", "Java 11")])
def test_an_old_java_is_refused(
    version: str, named: str, with_pyspark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that_says(f'openjdk version "{version}"', tmp_path, monkeypatch)
    assert f"is {named}: install Java 17 or newer" in refusal("--engine", "spark")


def test_java_17_and_newer_will_do(with_pyspark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java_that_says('openjdk version "21" 2023-09-19', tmp_path, monkeypatch)
    engine.needs_spark()


def test_options_that_do_not_go_together_are_refused() -> None:
    assert "add --engine spark" in refusal("--master", "spark://h:7077")
    assert "Spark Connect" in refusal("--engine", "spark", "--master", "sc://h:15002")
    found = CliRunner().invoke(app, ["score", "hdfs://h/register", "--as-of", AS_OF, "--out", "out"]).exception
    assert "only --engine spark reads" in str(found)


@pytest.fixture(scope="module")
def sent(district: tuple[Path, RiskModel], tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Batch, dict, dict]:
    """A job, two of its counties, and what an executor gets for them: the model and the manifest, the counties' files."""
    path, model = district
    register = Register.open(path)
    jobs: list[Job] = []
    folder = tmp_path_factory.mktemp("sent")

    def only_asks(job: Job, batches: list[Batch]) -> Iterator[Batch]:
        jobs.append(job)
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        score_month(register, model, AS_OF, folder / "out", inputs={}, capacity=2, engine=only_asks)
    batch = tuple(register.counties[:2])
    files = {name: (path / name).read_bytes() for name in register.manifest["files"] if Path(name).stem in (*batch, "all")}
    return jobs[0], batch, engine._shared(jobs[0], register), files


def in_a_task(job: Job, batch: Batch, shared: dict, files: dict, versions: dict | None = None) -> dict[str, bytes]:
    """The files that a task gives back, or its fault; no file of the register or of the job is at hand there.

    Spark uses a Python process for another task only if it has read its input to the end.
    """
    elsewhere = replace(job, register=Path("/nowhere"), work=Path("/nowhere") / job.work.name)
    given = iter([pa.RecordBatch.from_pydict({"id": [0]})])
    batches = engine._in_the_task(
        given, job=elsewhere, batch=batch, shared=SimpleNamespace(value=shared), sent=SimpleNamespace(value=files),
        versions=versions or engine._versions(),
    )  # fmt: skip
    rows = [row for part in batches for row in part.to_pylist()]
    assert next(given, None) is None
    return {row["fault"] or row["file"]: row["content"] for row in rows}


def test_a_task_needs_nothing_but_what_it_is_sent(sent: tuple[Job, Batch, dict, dict], tmp_path: Path) -> None:
    job, batch, shared, files = sent
    there = in_a_task(*sent)
    score_batch(job, batch)
    here = engine.batch_folder(job, batch)
    assert {f.name: f.read_bytes() for f in here.glob("*.parquet")} == {n: c for n, c in there.items() if n[-4:] != "json"}
    kept = replace(job, work=tmp_path)
    engine.keep_batch(kept, batch, there)
    assert read_manifest(engine.batch_folder(kept, batch))["files"] == read_manifest(here)["files"]


def test_a_county_that_changed_on_the_way_is_not_kept(sent: tuple[Job, Batch, dict, dict], tmp_path: Path) -> None:
    job, batch, shared, files = sent
    there = in_a_task(*sent)
    there["scores.parquet"] = there["alerts.parquet"]
    kept = replace(job, work=tmp_path)
    with pytest.raises(IntegrityError, match="changed on the way"):
        engine.keep_batch(kept, batch, there)
    assert not engine.batch_folder(kept, batch).exists()


def test_a_register_or_a_model_that_changed_on_the_way_is_refused(
    sent: tuple[Job, Batch, dict, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, batch, shared, files = sent
    records = f"tables/records/{batch[1]}.parquet"
    found = in_a_task(job, batch, shared, files | {records: files[records] + b" "})
    assert list(found) == ["IntegrityError"] and records in found["IntegrityError"].decode()
    monkeypatch.setattr(engine, "_at_hand", {})
    found = in_a_task(job, batch, shared | {"model/model.txt": b"tree"}, files)
    assert list(found) == ["IntegrityError"] and b"model.txt" in found["IntegrityError"]


def test_an_executor_with_other_versions_is_refused(sent: tuple[Job, Batch, dict, dict]) -> None:
    found = in_a_task(*sent, versions=engine._versions() | {"pandas": "1.5.3"})
    assert b"the driver 1.5.3" in found["UsageError"]


def test_a_cluster_on_which_nobody_works_is_given_up(
    sent: tuple[Job, Batch, dict, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master without workers, or one whose last worker went: jobs wait for ever, until they are cancelled."""
    cancelled = threading.Event()
    tasks = iter([1, 1, 0])
    tracker = SimpleNamespace(
        getActiveStageIds=lambda: [7], getStageInfo=lambda stage: SimpleNamespace(numActiveTasks=next(tasks, 0))
    )
    context = SimpleNamespace(
        defaultParallelism=2, master="spark://h:7077", statusTracker=lambda: tracker,
        broadcast=lambda value: SimpleNamespace(destroy=lambda: None), cancelJobsWithTag=lambda tag: cancelled.set(),
    )  # fmt: skip
    monkeypatch.setattr(engine, "_on_an_executor", lambda *_, **__: cancelled.wait(60))
    monkeypatch.setattr(engine, "_LOOK", 0.02)
    monkeypatch.setattr(engine, "_LONGEST_WAIT", 0.1)
    with pytest.raises(WorkerLost, match="spark://h:7077: for .* no executor took up any work"):
        list(engine.on_spark(sent[0], [sent[1]], SimpleNamespace(sparkContext=context)))
    assert cancelled.is_set() and next(tasks, None) is None, "a task at work is waited for"


def test_the_model_is_read_once_by_a_worker(sent: tuple[Job, Batch, dict, dict], monkeypatch: pytest.MonkeyPatch) -> None:
    job, *_ = sent
    monkeypatch.setattr(engine, "_at_hand", {})
    for _ in range(3):
        in_a_task(*sent)
    read = engine._at_hand[job.work.name]
    in_a_task(*sent)
    assert engine._at_hand == {job.work.name: read} and engine._at_hand[job.work.name][1] is read[1]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("pyspark", reason="needs PySpark: pip install 'household-riskmodel[spark]'")
    try:
        engine.needs_spark()
    except RiskmodelError as lacking:
        pytest.skip(str(lacking))
    with cluster(tmp_path_factory.mktemp("cluster"), workers=2) as found:
        yield found


@pytest.fixture(scope="module")
def local(county: County, district: tuple[Path, RiskModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The month as this machine alone makes it."""
    out = tmp_path_factory.mktemp("local") / "out"
    subprocess.run(command(county, district[0], out), check=True)
    return out


EACH_ALONE = "from riskmodel import cli, processes; processes._TOGETHER = 0; cli.main()"


def command(county: County, register: Path | str, out: Path, master: str | None = None) -> list[str]:
    """The month by this machine, all counties together; or by a cluster, each county a task."""
    model = str(county.folder / "results")
    how = ["-m", "riskmodel.cli"] if master is None else ["-c", EACH_ALONE]
    asked = ["score", str(register), "--model", model, "--as-of", AS_OF, "--out", str(out), "--capacity", CAPACITY]
    return [sys.executable, *how, *asked, *(["--engine", "spark", "--master", master] if master else [])]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}


def same_month(one: Path, other: Path) -> bool:
    """Whether two folders hold the same bytes and the same manifest but for the time."""
    manifests = [read_manifest(folder) | {"created_at": ""} for folder in (one, other)]
    assert contents(one) == contents(other)
    return manifests[0] == manifests[1]


@pytest.mark.slow
@pytest.mark.parametrize("address", [None, "file://{}", "viewfs://office/books"], ids=["sent", "read there", "mounted"])
def test_a_cluster_writes_the_bytes_that_one_machine_writes(
    address: str | None, county: County, district: tuple[Path, RiskModel], local: Path, two_workers: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "conf").mkdir()
    mount = f"spark.hadoop.fs.viewfs.mounttable.office.link./books {district[0].as_uri()}"
    (tmp_path / "conf" / "spark-defaults.conf").write_text(mount)
    register = address.format(district[0]) if address else district[0]
    there = command(county, register, tmp_path / "out", two_workers.master)
    subprocess.run(there, check=True, env=environment(two_workers.folder) | {"SPARK_CONF_DIR": str(tmp_path / "conf")})
    assert len(contents(local)) >= 7 and same_month(local, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["conf", "out"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("s3a://bucket/register", UsageError.exit_code, "hadoop-aws"),
        ("hdfs://127.0.0.1:9/register", UsageError.exit_code, "Connection refused"),
        ("file:///nowhere/register", NotFound.exit_code, "no register there"),
    ],
)
def test_an_address_where_spark_cannot_read_is_told_in_a_sentence(
    address: str, code: int, said: str, county: County, two_workers: Cluster, tmp_path: Path
) -> None:
    there = command(county, address, tmp_path / "out", two_workers.master)
    found = subprocess.run(there, capture_output=True, text=True, env=environment(two_workers.folder))
    told = found.stderr[found.stderr.rindex("error: ") :]
    assert found.returncode == code and said in told and "\tat " not in told


@pytest.mark.slow
def test_a_machine_that_goes_down_loses_nothing(
    county: County, district: tuple[Path, RiskModel], local: Path, two_workers: Cluster, tmp_path: Path
) -> None:
    there = command(county, district[0], tmp_path / "out", two_workers.master)
    with (tmp_path / "driver.log").open("w") as log:
        driver = subprocess.Popen(there, stderr=log, env=environment(two_workers.folder))
    finished = lambda: list(tmp_path.glob(".out.counties/*/counties/0*"))  # noqa: E731
    try:
        wait_for(lambda: finished() or driver.poll() is not None, "no county was ever finished")
        assert len(finished()) < len(Register.open(district[0]).counties), "the counties are too few to lose a worker among"
        two_workers.kill("w1")
        two_workers.add_workers("w3")
        assert driver.wait(timeout=900) == 0
    finally:
        driver.kill()
    assert "Lost executor" in (tmp_path / "driver.log").read_text()
    assert same_month(local, tmp_path / "out")


@pytest.mark.slow
def test_the_registered_model_gives_the_same_risks_in_spark(
    county: County, two_workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from pyspark.sql.functions import struct

    for name, value in environment(two_workers.folder).items():
        monkeypatch.setenv(name, value)
    uri = county.study.tracking["model_uri"]
    model = load_model(uri, county.tracking.uri)
    scores = score(Register.open(county.register), model, AS_OF)
    inputs = model.matrix(scores.features).astype(np.float64)
    assert inputs.isna().to_numpy().any(), "missing values must be among what is compared"
    with engine.spark_session(two_workers.master) as spark:
        risk = mlflow.pyfunc.spark_udf(spark, uri, result_type="double", env_manager="local")
        rows = spark.createDataFrame(inputs.assign(household_id=scores.features["household_id"].astype(str)))
        found = rows.select("household_id", risk(struct(*model.inputs)).alias("risk")).toPandas()
    expected = dict(zip(scores.features["household_id"].astype(str), risks(model, scores.features), strict=True))
    assert len(found) == len(expected) > 100
    assert dict(zip(found["household_id"], found["risk"], strict=True)) == expected
