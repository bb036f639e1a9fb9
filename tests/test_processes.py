"""Processes that counties are shared out to: what is said when one is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CALL = """
from riskmodel import processes

{guard}
    with processes.said_if_lost(), processes.pool(1, processes.SCORING) as pool:
        print(pool.submit(len, "abc").result())
"""


def ran(folder: Path, guard: str) -> subprocess.CompletedProcess:
    script = folder / "monthly.py"
    script.write_text(CALL.format(guard=guard), encoding="utf-8")
    return subprocess.run([sys.executable, script], capture_output=True, text=True, encoding="utf-8", timeout=120)


def test_a_script_that_every_process_would_run_again_is_told_how_to_guard_its_call(tmp_path: Path) -> None:
    found = ran(tmp_path, "if True:")
    assert found.returncode != 0
    assert 'below `if __name__ == "__main__":`' in found.stderr.splitlines()[-1]


def test_a_guarded_script_uses_processes(tmp_path: Path) -> None:
    found = ran(tmp_path, 'if __name__ == "__main__":')
    assert (found.returncode, found.stdout.strip()) == (0, "3"), found.stderr
