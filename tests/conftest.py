"""What all tests share: single-threaded arithmetic, no waiting for the disk, and hypothesis that does not time out."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from sqlalchemy import Engine, event  # noqa: E402

from tests.county import County  # noqa: E402
from tests.server import Server, binaries  # noqa: E402

settings.register_profile("house", deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
settings.load_profile("house")

os.fsync = lambda descriptor: None  # nothing that a test writes is to outlive a power cut


@event.listens_for(Engine, "connect")
def _nor_waits_sqlite(connection: object, record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


FEW_BUT_LONG = {"test_notebooks", "test_choice", "test_features", "test_standing", "test_study", "test_training"}
"""Modules of few tests that take long: they begin first, so that none is still running when all others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules first, then those of many tests; the order within a module stays."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.stem not in FEW_BUT_LONG, -tests[item.path], str(item.path)))


@pytest.fixture(scope="session")
def county(tmp_path_factory: pytest.TempPathFactory) -> County:
    return County(tmp_path_factory.mktemp("county"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    pytest.importorskip("adbc_driver_postgresql", reason="the extra postgres is not installed")
    found = binaries()
    if found is None:
        pytest.skip("no PostgreSQL server on this machine: neither initdb nor pg_ctl is found")
    server = Server(found)
    yield server
    server.stop()
