"""The engine that a process keeps: what a question held is gone with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from riskmodel.engine import engine

LARGE = "CREATE TABLE large AS SELECT i, random() AS welfare, md5(CAST(i AS VARCHAR)) AS note FROM range(4000000) numbers(i)"


def held() -> int:
    """MiB of memory that this process holds and shares with nobody's file."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("Anonymous:"))


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_memory_of_a_question_goes_back_to_the_system_with_its_answer() -> None:
    with engine():
        before = held()
    with engine() as connection:
        connection.execute(LARGE)
        taken = held() - before
    assert taken > 100
    assert held() - before < taken / 4
