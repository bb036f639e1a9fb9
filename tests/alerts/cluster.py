"""A Spark standalone cluster on loopback, from the processes that the PySpark package brings."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Cluster:
    """One master and its workers, each a process group that `kill` ends at once."""

    def __init__(self, folder: Path) -> None:
        import pyspark

        self.folder = folder
        self._home = Path(pyspark.__file__).parent
        self._running: dict[str, subprocess.Popen] = {}
        port = _free_port()
        self.master = f"spark://127.0.0.1:{port}"
        self._start("master", "master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", _free_port())
        self._said("master", "I have been elected leader")

    def add_workers(self, *names: str) -> None:
        """Start workers of one core each, and wait until the master knows them."""
        for name in names:
            self._start(
                name, "worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", _free_port(),
                "--work-dir", str(self.folder / f"work-{name}"), self.master,
            )  # fmt: skip
        for name in names:
            self._said(name, "Successfully registered with master")

    def kill(self, name: str) -> None:
        """End a worker and its executors at once, as when a machine goes down."""
        process = self._running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End every process that was started."""
        for name in list(self._running):
            self.kill(name)

    def log(self, name: str) -> str:
        """What a process has said."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _start(self, name: str, kind: str, *arguments: str) -> None:
        command = [str(self._home / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", *arguments]
        with (self.folder / f"{name}.log").open("w") as log:
            self._running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=environment(self.folder), start_new_session=True
            )

    def _said(self, name: str, what: str) -> None:
        wait_for(lambda: what in self.log(name), f"{name} never said {what!r}")


def environment(folder: Path) -> dict[str, str]:
    """Environment of a process of the cluster or of its driver, on loopback, with this package and this Python."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return os.environ | {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster with workers `w1`, `w2`, ... of one core each; every process is ended at the end."""
    made = Cluster(folder)
    try:
        made.add_workers(*(f"w{number}" for number in range(1, workers + 1)))
        yield made
    finally:
        made.stop()


def wait_for(holds: Callable[[], bool], otherwise: str, seconds: float = 600) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(0.1)


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
