"""Processes that counties are shared out to: what they have at hand, and what is said where one is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from riskmodel.processes import MONITORING, SCORING

PROGRAM = """
import gc, sys

def has_kernels_and_collects(_):
    return "riskmodel.cohort.sweep" in sys.modules and gc.isenabled()

if __name__ == "__main__":
    from riskmodel.processes import get_ready, pool
    get_ready(sys.argv[1])
    with pool(2, sys.argv[1]) as processes:
        print(list(processes.map(has_kernels_and_collects, range(2))))
"""

ENDED = """
import os, sys, time

def work(_):
    print("working", flush=True)
    time.sleep(300)

if __name__ == "__main__":
    from riskmodel.processes import SCORING, pool
    with pool(2, SCORING) as processes:
        list(processes.map(work, range(2)))
"""

UNGUARDED = """
from riskmodel.processes import SCORING, pool, said_if_lost

with said_if_lost(), pool(1, SCORING) as processes:
    processes.submit(len, "abc").result()
"""


def run(folder: Path, temporary: Path, at_hand: str = SCORING) -> str:
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[1])}
    found = subprocess.run([sys.executable, program, at_hand], capture_output=True, text=True, env=environment, timeout=120)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process may import for itself")
@pytest.mark.parametrize("at_hand", [SCORING, MONITORING])
def test_a_worker_has_its_kernels_before_its_first_county(at_hand: str, tmp_path: Path) -> None:
    short = Path("/tmp")
    assert run(tmp_path, short, at_hand) == "[True, True]"


def test_without_room_for_the_servers_socket_each_process_imports_for_itself(tmp_path: Path) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    assert run(tmp_path, long) == "[False, False]"


def test_a_script_that_every_process_would_run_again_is_told_how_to_guard_its_call(tmp_path: Path) -> None:
    script = tmp_path / "monthly.py"
    script.write_text(UNGUARDED, encoding="utf-8")
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert found.returncode != 0
    assert 'below `if __name__ == "__main__":`' in found.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signal")
def test_no_worker_goes_on_beside_the_next_run_when_the_command_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "monthly.py"
    script.write_text(ENDED, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONWARNINGS": "ignore"}
    command = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment, start_new_session=True)
    try:
        assert command.stdout is not None
        assert [command.stdout.readline() for _ in range(2)] == [b"working\n"] * 2
        os.kill(command.pid, signal.SIGKILL)
        command.communicate(timeout=60)  # whoever works still holds the other end
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
