"""Peak memory of training from cohorts on disk against cohorts in memory and an analyst's script, in one run.

    python benchmarks/training.py [--rows 1000000 2000000] [--json FILE] [--write benchmarks/training.md]

Synthetic cohorts (80 features, 5 % missing, 4 % falls, 12 as-of months, 20 counties); every figure is of a process of its
own. `matrix` is what an analyst writes: a table in memory, `DataFrame[features].to_numpy()`, `lightgbm.Dataset`; `memory`
and `disk` are `Trainer.fit` on cohorts in memory and on disk, `sampled` is `disk` with five others per fall, `study` and
`study_sampled` are the whole of `riskmodel.train` from disk. `peak` is `ru_maxrss`; `own` is the largest RssAnon, which
leaves out pages of mapped files that the system takes back when it wants to. `--write` leaves what stands below the first
heading of a section. About ten minutes on two busy cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.cohorts import LABEL_COLUMNS, Cohorts
from riskmodel.cohort.kept import ORDER, keep_cohorts
from riskmodel.model.memory import needed
from riskmodel.months import month_number, month_text
from riskmodel.settings import AtRisk, Choice, Intervals, Label, LeakGates, Run, Sampling, Split
from riskmodel.study import train

FEATURES, MONTHS, COUNTIES, ROUNDS = 80, 12, 20, 5
MODES = ("matrix", "memory", "disk", "sampled", "study", "study_sampled")
CATALOGUE = load_catalogue()
PICKED = tuple(f for f in CATALOGUE.features if f.input)[:FEATURES]
NAMES = [f.name for f in PICKED]


def run_of(mode: str) -> Run:
    """Few trees: memory does not depend on their number."""
    return Run(
        name="benchmark",
        label=Label(assessments=1),
        models=["base_rate", "distance_to_line", "lightgbm"],
        lightgbm={"n_estimators": ROUNDS},
        split=Split(folds=1, calibration_months=0 if not mode.startswith("study") else 3, household_disjoint=False),
        sampling=Sampling(others_per_fall=5.0 if mode.endswith("sampled") else None),
        intervals=Intervals(replicates=20),
        leak_gates=LeakGates(scale_jump=100.0),
        choice=Choice(),
    )


def county_rows(county: str, rows: int) -> Iterator[pd.DataFrame]:
    """Rows of a county: households that are seen in all months, in blocks, some of whom fall."""
    rng = np.random.default_rng(int(county))
    months = [month_text(month_number("2020-01") + 2 * m) for m in range(MONTHS)]
    households = rows // COUNTIES // MONTHS
    weight = np.random.default_rng(0).normal(size=FEATURES) * np.exp(-np.arange(FEATURES) / 10) / 2
    for start in range(0, households, 2000):
        ids = [f"{county}{h:08d}" for h in range(start, min(start + 2000, households))]
        n = len(ids) * MONTHS
        X = rng.standard_normal((n, FEATURES), np.float32)
        fell = rng.random(n) < 1 / (1 + np.exp(3.9 - X @ weight))
        X[rng.random(X.shape, np.float32) < 0.05] = np.nan
        as_of = np.repeat(months, len(ids))
        known = np.repeat([f"{month_text(month_number(m) + 7)}-01" for m in months], len(ids))
        front = pd.DataFrame({"household_id": np.tile(ids, MONTHS), "county_id": county, "as_of": as_of})
        back = pd.DataFrame(
            {
                "outcome": fell.astype(float), "outcome_month": pd.Series(pd.NA, range(n), "str"),
                "outcome_known_at": pd.to_datetime(known), "seen_until": 6, "fell_as": "unknown",
            }
        )  # fmt: skip
        yield pd.concat([front, pd.DataFrame(X, columns=NAMES), back[list(LABEL_COLUMNS)]], axis=1)


def cohorts_of(rows: int, folder: Path | None) -> Cohorts:
    """The cohorts, in memory as `build_cohorts` holds them, or on disk."""
    counties, mapped = [f"{c:02d}" for c in range(COUNTIES)], None
    if folder is None:
        frames = [frame for county in counties for frame in county_rows(county, rows)]
        frame = pd.concat(frames, ignore_index=True)
        del frames
        frame = frame.sort_values(ORDER, kind="stable", ignore_index=True)
    else:
        frame, mapped = keep_cohorts(folder, counties, lambda c: county_rows(c, rows), NAMES, LABEL_COLUMNS, 1)
    facts = {"source": "synthetic", "sha256": "0", "first_month": "2019-01", "last_month": "2022-12", "step_months": 1}
    return Cohorts(frame, PICKED, {}, CATALOGUE, Label(assessments=1), AtRisk(), 1, facts, mapped=mapped)


def one(mode: str, rows: int, folder: Path) -> dict[str, Any]:
    """One way of training, measured in this process."""
    from riskmodel.model.training import Trainer

    largest, done = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(largest, done))
    watcher.start()
    run, began = run_of(mode), time.perf_counter()
    in_memory = mode in ("matrix", "memory")
    cohorts = cohorts_of(rows, None if in_memory else folder)
    need = needed(cohorts.labels, PICKED, run, 1, mapped=not in_memory)
    opened = time.perf_counter()
    positions = np.arange(len(cohorts.frame))
    if mode == "matrix":
        import lightgbm

        from riskmodel.model.estimators import LightGBM

        params = LightGBM(seed=run.seed, overrides=run.lightgbm).get_params()
        constraints = [f.monotone or 0 for f in PICKED]
        params |= {"monotone_constraints": constraints} if any(constraints) else {}
        params.pop("n_estimators")
        X, y = cohorts.frame[NAMES].iloc[positions], cohorts.y
        booster = lightgbm.train(params, lightgbm.Dataset(X.to_numpy(np.float32), y, feature_name=NAMES), ROUNDS)
    elif mode.startswith("study"):
        booster = train(cohorts, run, track=False).model.estimator.booster_
    else:
        booster = Trainer(cohorts, run, NAMES).fit("lightgbm", positions).estimator.booster_
    seconds = time.perf_counter() - opened
    done.set()
    watcher.join()
    return {
        "mode": mode,
        "rows": len(positions),
        "open_seconds": round(opened - began, 1),
        "seconds": round(seconds, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "own_gib": round(largest[0] / 2**20, 3),
        "stated_gib": round(need.peak / 2**30, 3),
        "model": hashlib.sha256(booster.model_to_string().encode()).hexdigest()[:12],
    }


def _watch(largest: list[int], done: threading.Event) -> None:
    while not done.wait(0.02):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon"):
                largest[0] = max(largest[0], int(line.split()[1]))


def measure(rows: list[int], modes: list[str], scratch: Path) -> list[dict[str, Any]]:
    """Every way at every size, each in its own process; cohorts on disk are made beforehand by another one."""
    found = []
    for size in rows:
        folder = scratch / str(size)
        _alone("make", size, folder)
        for mode in modes:
            found.append(_alone(mode, size, folder))
            print(found[-1], file=sys.stderr, flush=True)
    return found


def _alone(mode: str, rows: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", mode, "--rows", str(rows), "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def page(found: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("lightgbm", "pandas", "numpy"))
    lines = [
        "# Memory of training",
        "",
        f"{FEATURES} features, {ROUNDS} trees, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}. "
        "Ratios are to `matrix` of the same run.",
        "",
        f"    python benchmarks/training.py --modes {' '.join(dict.fromkeys(row['mode'] for row in found))}",
        "",
        "| rows | way | peak GiB | of it own GiB | peak / matrix | own / matrix | stated GiB | seconds | model |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        base = next((r for r in found if r["rows"] == row["rows"] and r["mode"] == "matrix"), row)
        ratios = (row[k] / base[k] for k in ("peak_gib", "own_gib"))
        lines.append(
            f"| {row['rows']:,} | {row['mode']} | {row['peak_gib']:.2f} | {row['own_gib']:.2f} | "
            + " | ".join(f"{r:.2f}" for r in ratios)
            + f" | {row['stated_gib']:.2f} | {row['seconds']:.0f} | `{row['model']}` |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 2_000_000])
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one == "make":
        print(json.dumps({"rows": len(cohorts_of(given.rows[0], given.folder).frame)}))
        return
    if given.one:
        print(json.dumps(one(given.one, given.rows[0], given.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="riskmodel_training_") as scratch:
        found = measure(given.rows, given.modes, Path(scratch))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if given.write:
        kept = given.write.read_text(encoding="utf-8").partition("\n## ")[1:] if given.write.exists() else ()
        given.write.write_text("".join((page(found), *kept)), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
