"""Where numba or its cache cannot be used, households get the same figures."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from numba.core import caching

from riskmodel.cohort import kernels
from tests.county import AS_OF, County

SUMS = """
from riskmodel.compiled import compiled

@compiled
def total(incomes):
    found = 0.0
    for income in incomes:
        found += income
    return found
"""
INCOMES = np.array([1.5, 2.0, 4.0])


def imported(file: Path) -> ModuleType:
    """A module as a new process sees it."""
    spec = importlib.util.spec_from_file_location("fresh_kernels", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of one loop, whose cache lies in a folder of its own."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "sums.py"
    file.write_text(SUMS, encoding="utf-8")
    return file


def test_a_month_is_the_same_where_numba_may_not_compile(county: County, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "riskmodel.cli", "score", str(county.register), "--as-of", AS_OF, "--capacity", "10",
        "--model", str(county.folder / "results"), "--out", str(tmp_path / "plain"),
    ]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "numba cannot be used" in line]
    assert len(said) == 3  # features, scores and drivers, once each
    usual, plain = (pd.read_parquet(folder / "alerts.parquet") for folder in (county.alerts, tmp_path / "plain"))
    pd.testing.assert_frame_equal(plain.drop(columns="model_version"), usual.drop(columns="model_version"), check_exact=True)
    drivers = [pd.read_parquet(folder / "drivers.parquet").iloc[:, 1:] for folder in (county.alerts, tmp_path / "plain")]
    pd.testing.assert_frame_equal(*drivers, check_exact=False, rtol=0, atol=1e-12)


def test_without_a_place_for_the_cache_features_are_still_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    counted = imported(Path(kernels.__file__)).count(np.array([True, False, True]), np.array([0]), np.array([3]))
    assert counted.tolist() == [2]


@pytest.mark.parametrize("harm", [lambda content: b"", lambda content: content[:60]], ids=["empty", "cut short"])
@pytest.mark.parametrize("kind", [".nbi", ".nbc"])
def test_a_cache_that_a_power_cut_damaged_is_made_anew(
    sums: Path, tmp_path: Path, kind: str, harm: Callable[[bytes], bytes]
) -> None:
    assert imported(sums).total(INCOMES) == 7.5
    (kept,) = (tmp_path / "cache").rglob(f"*{kind}")
    whole = kept.read_bytes()
    kept.write_bytes(harm(whole))
    assert imported(sums).total(INCOMES) == 7.5
    (again,) = (tmp_path / "cache").rglob(f"*{kind}")
    assert len(again.read_bytes()) > len(harm(whole))


def test_a_full_disk_under_the_cache_stops_nobody(sums: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, file: str) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", full)
    assert imported(sums).total(INCOMES) == 7.5
