"""What `riskmodel monitor` costs on a large register: time and memory on a million households over 36 months.

    python benchmarks/monitoring.py --households 1000000 --register FOLDER --json figures.json

The register is made once, from simulated counties (`county_copies.py`). Each part runs as `riskmodel monitor --parts PART`
runs it, everything written, in a process of its own; with `--together` all parts in one run as well. Without `--model` there
is no support-off test and drift is of the register's columns alone; with one, both score households again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from county_copies import make_register
from figures import tell

from riskmodel.register import Register

PARTS = ("spells", "industries", "funds", "drift")


def cost(register: Register, parts: str, out: Path, model: str | None) -> dict[str, float]:
    """Seconds, CPU seconds and memory of a run: peaks added (its own, the largest worker's twice), and held at once."""
    told = out.with_suffix(".cost.json")
    command = [sys.executable, __file__, "--run", register.path, register.last_month, out, parts, model or "", told]
    start = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command])
    together = held_at_once(process)
    seconds = round(time.perf_counter() - start, 1)
    if process.returncode:
        raise SystemExit(f"{parts}: the run ended with code {process.returncode}")
    found = {"seconds": seconds, **json.loads(told.read_text(encoding="utf-8")), "at_once_gib": round(together, 2)}
    print(parts, found, file=sys.stderr, flush=True)
    return found


def held_at_once(process: subprocess.Popen) -> float:
    """GiB that a process and those below it hold at one time, the most seen: a page that n share counts 1/n for each."""
    most = 0
    while process.poll() is None:
        with suppress(psutil.Error):  # one may end while it is looked at
            top = psutil.Process(process.pid)
            most = max(most, sum(each.memory_full_info().pss for each in (top, *top.children(recursive=True))))
        time.sleep(0.5)
    return most / 2**30


def run(register: str, as_of: str, out: str, parts: str, model: str, told: str) -> None:
    """One run in this process, as the command makes it; its CPU and memory go into a file."""
    import resource
    from multiprocessing import forkserver

    from scale_job import peak_of_this_process

    from riskmodel.results import monitor_and_write

    chosen = parts.split(",")
    monitor_and_write(Path(register), as_of, Path(out), lambda what: None, parts=chosen, model_uri=model or None)
    forkserver._forkserver._stop()  # workers are its children: what they took is known here once it has ended
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = sum(used.ru_utime + used.ru_stime for used in (own, workers))
    peak = (peak_of_this_process() + 2 * workers.ru_maxrss) / 2**20
    Path(told).write_text(json.dumps({"cpu_seconds": round(cpu, 1), "peak_gib": round(peak, 2)}), encoding="utf-8")


def main() -> None:
    """Make the register, run the parts, and print what each took."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--households", type=int, default=1_000_000)
    arguments.add_argument("--months", type=int, default=36)
    arguments.add_argument("--register", type=Path, help="where the register lies, or is made; default: a passing folder")
    arguments.add_argument("--parts", default=",".join(PARTS))
    arguments.add_argument("--model", help="a model, as `riskmodel monitor --model` takes it")
    arguments.add_argument("--together", action="store_true", help="all parts in one run as well")
    arguments.add_argument("--json", type=Path)
    asked = arguments.parse_args()
    figures: dict[str, float | str] = {"load_before": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as folder:
        path = asked.register or Path(folder) / "register"
        if not (path / "manifest.json").is_file():
            make_register(path, Path(folder), asked.households, asked.months)
        register = Register.open(path)
        for table in ("households", "records"):
            figures[table] = sum(register.rows(table, county) for county in register.counties)
        figures |= {"months": asked.months, "model": asked.model or ""}
        parts = asked.parts.split(",")
        for part in parts:
            for name, value in cost(register, part, Path(folder) / part, asked.model).items():
                figures[f"{part}_{name}"] = value
        for name in ("seconds", "cpu_seconds"):
            figures[f"sum_{name}"] = round(sum(float(figures[f"{part}_{name}"]) for part in parts), 1)
        if asked.together:
            for name, value in cost(register, asked.parts, Path(folder) / "together", asked.model).items():
                figures[f"together_{name}"] = value
    tell(figures, asked.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(*sys.argv[2:])
    else:
        main()
