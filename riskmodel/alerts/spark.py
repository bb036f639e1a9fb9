"""Counties on a Spark cluster: the only module that knows Spark.

Spark carries everything, both ways. A county's files, held against their hashes when they arrive, and the model reach the
executor; there `score_batch` does what it does on one machine, in a folder of the task; the files of finished counties come
back as rows, and the driver alone writes and commits. Executors need no file system in common with the driver, and a task
that is lost or runs twice leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from riskmodel import errors
from riskmodel.alerts.counties import Engine, Job, batch_folder, keep_batch, score_batch
from riskmodel.errors import IntegrityError, NotFound, RiskmodelError, UsageError, WorkerLost
from riskmodel.model.bundle import RiskModel
from riskmodel.processes import Batch, named
from riskmodel.register import Register, read_manifest
from riskmodel.register.commit import MANIFEST
from riskmodel.register.store import table_file

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import Broadcast, SparkContext
    from pyspark.sql import SparkSession

_LEAST_JAVA = 17
_MUST_AGREE = ("household-riskmodel", "duckdb", "lightgbm", "numba", "numpy", "pandas", "pyarrow", "scipy")
"""Packages on whose versions a bit of a result can depend."""
_ROWS = "fault string, file string, content binary"
_MOST_IN_FLIGHT = 1024
_LOOK, _LONGEST_WAIT = 5.0, 600.0
"""Seconds between two looks at whether anybody works, and after which it is given up that somebody will."""
_at_hand: dict[str, tuple[dict[str, Any], RiskModel]] = {}
"""In a Python worker of an executor: manifest of the register and the model of the job at hand, by the job's hash."""


def needs_spark() -> None:
    """Hold this machine against what a Spark driver needs.

    Raises
    ------
    UsageError
        If PySpark 4 is not installed, or Java is missing or too old.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            import pyspark
    except ImportError:
        raise UsageError("--engine spark needs PySpark: pip install 'household-riskmodel[spark]'.") from None
    if int(pyspark.__version__.split(".")[0]) < 4:
        raise UsageError(f"PySpark {pyspark.__version__} is too old: pip install 'household-riskmodel[spark]'.")
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    wanted = f"install Java {_LEAST_JAVA} or newer, such as openjdk-{_LEAST_JAVA}-jre-headless, or set JAVA_HOME to it"
    if java is None:
        where = f"JAVA_HOME={home} holds no bin/java" if home else "no java is on the PATH"
        raise UsageError(f"--engine spark needs Java, and {where}: {wanted}.")
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found is None or int(found[1]) < _LEAST_JAVA:
        which = f"Java {found[1]}" if found else "no Java that tells its version"
        raise UsageError(f"--engine spark: {java} is {which}: {wanted}.")


@contextmanager
def spark_session(master: str) -> Iterator[SparkSession]:
    """A Spark session on a master, ended with the block; `spark-defaults.conf` holds for everything else.

    Parameters
    ----------
    master
        `spark://HOST:PORT`, `yarn`, `k8s://...`, or `local[N]` for processes of this machine.

    Raises
    ------
    UsageError
        If PySpark or Java is missing, or Spark does not start there.
    """
    if master.startswith("sc://"):
        raise UsageError(f"--master {master}: Spark Connect cannot carry a county's files; give the cluster's own master.")
    needs_spark()
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("riskmodel score").config("spark.ui.showConsoleProgress", "false")
    try:
        spark = builder.master(master).getOrCreate()
    except (Py4JError, PySparkException) as fault:
        raise UsageError(
            f"--master {master}: Spark did not start there ({_first_line(fault)}). Check the address, and that a master "
            "listens there."
        ) from None
    try:
        yield spark
    finally:
        spark.stop()


@contextmanager
def spark_engine(master: str, register: str) -> Iterator[tuple[Path, Engine]]:
    """Where a register's manifest lies on this machine, and the engine that scores its counties on a cluster.

    Parameters
    ----------
    master
        As for `spark_session`.
    register
        A folder of this machine, whose files are sent to executors, or an address such as `hdfs://...`, `s3a://...` or
        `file:///shared/...`, whose files executors read themselves.

    Raises
    ------
    UsageError
        As `spark_session`, or if Spark cannot read at that address.
    NotFound
        If there is no register.
    """
    with spark_session(master) as spark:
        if "://" not in register:
            yield Path(register), partial(on_spark, spark=spark)
            return
        with tempfile.TemporaryDirectory(prefix="riskmodel-") as folder:
            (Path(folder) / MANIFEST).write_bytes(_manifest_at(spark, register))
            yield Path(folder), partial(on_spark, spark=spark, register_url=register)


def _manifest_at(spark: SparkSession, url: str) -> bytes:
    from py4j.protocol import Py4JError
    from pyspark.errors import AnalysisException, PySparkException

    try:
        found = spark.read.format("binaryFile").load(f"{url.rstrip('/')}/{MANIFEST}").select("content").toArrow()
    except AnalysisException as fault:
        raise NotFound(f"{url}: no register there ({_first_line(fault)}). Check the path.") from None
    except (Py4JError, PySparkException) as fault:
        raise UsageError(
            f"{url}: Spark cannot read there ({_first_line(fault)}). Check the address, and that spark-defaults.conf names "
            "what Spark needs for it: for s3a:// hadoop-aws in spark.jars.packages, and the credentials."
        ) from None
    return found["content"][0].as_py()


def on_spark(job: Job, batches: list[Batch], spark: SparkSession, register_url: str | None = None) -> Iterator[Batch]:
    """Counties on the executors of a session; an `Engine` of `score_month` once the session is bound.

    Twice as many jobs as the cluster has cores are under way, each a batch of counties, which is committed here as soon as
    it comes back. What an executor had in hand when it was lost goes to another one.

    Parameters
    ----------
    spark
        A session that is not a Spark Connect one.
    register_url
        Where executors read the register's files themselves; by default this machine sends them.

    Raises
    ------
    UsageError
        If the executors' Python lacks this package, or has it or what results depend on in another version.
    WorkerLost
        If Spark gave a job up, or no executor worked for ten minutes. Finished counties are kept.
    """
    context = spark.sparkContext
    at_work = time.monotonic()
    register = Register.open(job.register)
    shared = context.broadcast(_shared(job, register))
    run = partial(_on_an_executor, spark, job, register, shared=shared, url=register_url)
    to_do = iter(batches)
    waiting: dict[Future[pa.Table], Batch] = {}
    try:
        with ThreadPoolExecutor(_MOST_IN_FLIGHT) as pool:
            try:
                while True:
                    room = min(2 * context.defaultParallelism, _MOST_IN_FLIGHT) - len(waiting)
                    waiting |= {pool.submit(run, batch): batch for batch in islice(to_do, room)}
                    if not waiting:
                        break
                    done, _ = wait(waiting, _LOOK, FIRST_COMPLETED)
                    if done or _anybody_works(context):
                        at_work = time.monotonic()
                    elif time.monotonic() - at_work > _LONGEST_WAIT:
                        raise WorkerLost(_nobody_works(context))
                    for finished in done:
                        yield _kept(job, waiting.pop(finished), finished.result())
            finally:
                context.cancelJobsWithTag(job.work.name)
    finally:
        shared.destroy()


def _anybody_works(context: SparkContext) -> bool:
    """Whether an executor has a task in hand."""
    tracker = context.statusTracker()
    stages = (tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds())
    return any(stage is not None and stage.numActiveTasks > 0 for stage in stages)


def _nobody_works(context: SparkContext) -> str:
    return (
        f"--master {context.master}: for {_LONGEST_WAIT / 60:.0f} minutes no executor took up any work. See on the master's "
        "web page that it has workers with free cores and as much memory as an executor asks for (spark.executor.memory), "
        "and that they reach this machine (SPARK_LOCAL_IP); then run the same command again, the counties that are finished "
        "are kept."
    )


def _shared(job: Job, register: Register) -> dict[str, bytes]:
    """What every executor needs once: the model, and what the register's manifest says."""
    names = read_manifest(job.work / "model")["files"]
    files = {f"model/{name}": (job.work / "model" / name).read_bytes() for name in (*names, MANIFEST)}
    return files | {f"register/{MANIFEST}": (register.path / MANIFEST).read_bytes()}


def _on_an_executor(
    spark: SparkSession, job: Job, register: Register, batch: Batch, *, shared: Broadcast, url: str | None
) -> pa.Table:
    """Run a Spark job of one task on some counties; gives the rows that came back."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException, PythonException

    context = spark.sparkContext
    context.addJobTag(job.work.name)
    tables = [table_file(table, county) for table in register.tables for county in batch]
    names = list(dict.fromkeys(name for name in tables if name in register.manifest["files"]))
    sent = None
    if url is None:
        sent = context.broadcast({name: (register.path / name).read_bytes() for name in names})
        task = spark.range(0, 1, 1, 1)
    else:
        places = [f"{url.rstrip('/')}/{name}" for name in names]
        task = spark.read.format("binaryFile").load(places).select("path", "content").coalesce(1)
    work = partial(_in_the_task, job=job, batch=batch, shared=shared, sent=sent, versions=_versions())
    try:
        return task.mapInArrow(work, _ROWS).toArrow()
    except PythonException as fault:
        if lacking := re.search(r"No module named '([\w.]+)|PYTHON_VERSION_MISMATCH", str(fault)):
            what = f"has no {lacking[1]}" if lacking[1] else "is of another version than this one"
            raise UsageError(
                f"the Python of the executors {what}: install this version of household-riskmodel there, on Python "
                f"{_versions()['Python']}, and name that Python in PYSPARK_PYTHON."
            ) from None
        raise
    except (Py4JError, PySparkException) as fault:
        raise WorkerLost(
            f"Spark gave up on {named(batch)} ({_first_line(fault)}): run the same command again, the counties that "
            "are finished are kept; --block lowers what an executor needs."
        ) from None
    finally:
        if sent is not None:
            sent.destroy()


def _kept(job: Job, batch: Batch, rows: pa.Table) -> Batch:
    """Commit the counties that came back."""
    files: dict[str, bytes] = {}
    for row in rows.to_pylist():
        if row["fault"] is not None:
            raise getattr(errors, row["fault"])(row["content"].decode())
        files[row["file"]] = row["content"]
    keep_batch(job, batch, files)
    return batch


def _in_the_task(
    batches: Iterable[pa.RecordBatch],
    *,
    job: Job,
    batch: Batch,
    shared: Broadcast,
    sent: Broadcast | None,
    versions: dict[str, str],
) -> Iterator[pa.RecordBatch]:
    """On an executor: score counties in a folder that goes with the task; a row for each file that was committed there.

    An error that was raised on purpose is a row too, since to try again would not help.
    """
    files = _read(batches) if sent is None else sent.value.items()
    if sent is not None:
        deque(batches, maxlen=0)  # a process that leaves input unread is not used for the next task
    scratch = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None
    try:
        _check_versions(versions)
        with tempfile.TemporaryDirectory(prefix="riskmodel-", dir=scratch) as home:
            manifest, model = _opened(job, shared, Path(home) / "model")
            there = replace(job, register=Path(home) / "register", work=Path(home) / "work")
            _write_checked(files, there.register, manifest)
            score_batch(there, batch, (Register(there.register, manifest), model))
            for file in sorted(batch_folder(there, batch).iterdir()):
                yield _row(None, file.name, file.read_bytes())
    except RiskmodelError as fault:
        yield _row(type(fault).__name__, None, str(fault).encode())


def _row(fault: str | None, file: str | None, content: bytes) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [pa.array([fault], pa.string()), pa.array([file], pa.string()), pa.array([content], pa.binary())]
    return pa.RecordBatch.from_arrays(columns, ["fault", "file", "content"])


def _read(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, bytes]]:
    for batch in batches:
        for path, content in zip(batch["path"], batch["content"], strict=True):
            yield "/".join(path.as_py().split("/")[-3:]), content.as_py()


def _write_checked(files: Iterable[tuple[str, bytes]], register: Path, manifest: dict[str, Any]) -> None:
    """Write files of the register to a folder, each held against its hash."""
    for name, content in files:
        if hashlib.sha256(content).hexdigest() != manifest["files"][name]["sha256"]:
            raise IntegrityError(f"register, {name}: the file has changed since it was written. Make the register again.")
        (register / name).parent.mkdir(parents=True, exist_ok=True)
        (register / name).write_bytes(content)


def _opened(job: Job, shared: Broadcast, folder: Path) -> tuple[dict[str, Any], RiskModel]:
    """The register's manifest and the model, read once by each Python worker."""
    key = job.work.name
    if key not in _at_hand:
        import json

        _at_hand.clear()
        for name, content in shared.value.items():
            if name.startswith("model/"):
                place = folder / name.removeprefix("model/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        _at_hand[key] = json.loads(shared.value[f"register/{MANIFEST}"]), RiskModel.load(folder, job.version)
    return _at_hand[key]


def _versions() -> dict[str, str]:
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in _MUST_AGREE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _check_versions(wanted: dict[str, str]) -> None:
    for name, here in _versions().items():
        if here != wanted[name]:
            raise UsageError(
                f"{platform.node()}: the executor has {name} {here}, the driver {wanted[name]}, so figures could differ. "
                "Install the same versions on both (constraints.txt)."
            )


def _first_line(fault: Exception) -> str:
    lines = [line for line in str(fault).strip().split("\n") if not line.startswith("An error occurred while calling")]
    return lines[0].removeprefix(": ")[:300] if lines else type(fault).__name__
