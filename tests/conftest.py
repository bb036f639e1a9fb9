"""What all tests share: single-threaded arithmetic, and hypothesis that does not time out on busy machines."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.county import County  # noqa: E402
from tests.server import Server, binaries  # noqa: E402

settings.register_profile("house", deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
settings.load_profile("house")


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
