"""A command that is told to stop does so in order, or soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")

PROGRAM = """
import sys, threading, time
from riskmodel import stopping

stopping.SECONDS = float(sys.argv[1])
stopping.stop_when_told()
beside = threading.Thread(target=time.sleep, args=(float(sys.argv[2]),))
beside.start()
try:
    print("begun", flush=True)
    time.sleep(300)
finally:
    print("in order", flush=True)
"""


def told(number: signal.Signals, seconds: float, beside: float, times: int = 1) -> tuple[int, bytes, float]:
    """Exit code, what was said, and seconds until the end, of a program with so many seconds of work in a thread."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds), str(beside)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    assert command.stdout is not None and command.stdout.readline() == b"begun\n"
    start = time.monotonic()
    for _ in range(times):
        command.send_signal(number)
        time.sleep(0.5)
    said, _ = command.communicate(timeout=120)
    return command.returncode, said, time.monotonic() - start


def test_a_command_that_is_told_to_stop_clears_up_and_says_so_by_its_exit_code() -> None:
    code, said, _ = told(signal.SIGTERM, seconds=60, beside=0)
    assert (code, said) == (143, b"in order\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_is_under_way_beside_does_not_keep_it_for_long(number: signal.Signals, code: int) -> None:
    found, said, seconds = told(number, seconds=1, beside=200)
    assert (found, said) == (code, b"in order\n") and seconds < 60


def test_a_second_signal_ends_it_at_once() -> None:
    code, _, seconds = told(signal.SIGINT, seconds=200, beside=200, times=2)
    assert code in (130, -signal.SIGINT) and seconds < 60  # a shell calls both 130


IN_A_QUERY = """
import duckdb
from riskmodel import cli

def work():
    print("begun", flush=True)
    endless = "SELECT count(*) FROM range(3000000) a, range(100000) b WHERE a.range * b.range % 7 = 3"
    duckdb.connect().execute(endless).fetchall()

cli.app = work
cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_query_that_ends_with_an_error_of_its_own_when_told_is_no_fault(number: signal.Signals, code: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = subprocess.Popen(
        [sys.executable, "-c", IN_A_QUERY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert command.stdout is not None and command.stdout.readline() == b"begun\n"
    time.sleep(0.5)
    command.send_signal(number)
    _, said = command.communicate(timeout=120)
    assert command.returncode in (code, -number) and b"Traceback" not in said  # a shell calls both the same
