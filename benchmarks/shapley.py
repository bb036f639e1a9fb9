"""Rows explained per second: values of 8 drivers against TreeSHAP, LightGBM's pred_contrib and WOODELF, in one run.

    python benchmarks/shapley.py [--json FILE] [--write benchmarks/shapley.md] [--woodelf PYTHON] [--model FILE]

500 trees x 63 leaves x 80 features with missing values; best of three turns each, compiling excluded. WOODELF is run by
another interpreter that has `woodelf_explainer`, so that it is no dependency. About five minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

FEATURES, DRIVERS, LEAVES, TREES = 80, 8, 63, 500


def inputs(rows: int, seed: int) -> np.ndarray:
    """Rows x features, 5 % missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def train(file: Path, threads: int) -> None:
    """A model of rare outcomes that depend on many inputs and some interactions."""
    rng = np.random.default_rng(0)
    X = inputs(15_000, 0)
    Z = np.nan_to_num(X)
    score = Z @ (rng.normal(size=FEATURES) * np.exp(-np.arange(FEATURES) / 15)) / 2
    score += Z[:, 0] * Z[:, 1] + np.sin(3 * Z[:, 2]) * (Z[:, 3] > 0) - 2
    y = rng.random(len(X)) < 1 / (1 + np.exp(-score))
    params = {
        "objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05, "feature_fraction": 0.5,
        "min_data_in_leaf": 20, "num_threads": threads, "seed": 1, "verbosity": -1,
    }  # fmt: skip
    lightgbm.train(params, lightgbm.Dataset(X, y.astype(int)), TREES).save_model(file)


def wall_and_cpu(task: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock, and of all cores together."""
    wall, cpu = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(file: Path, threads: int, woodelf: str | None) -> dict[str, Any]:
    """All figures, flat: rows per second, ratios, largest differences.

    Contenders take turns and the best turn of each counts, so that other work on the machine harms all alike.
    """
    import numba
    import shap

    from riskmodel.explain.shapley import GroupExplainer

    numba.set_num_threads(threads)
    model = lightgbm.Booster(model_file=file)
    drivers = {name: f"driver {i % DRIVERS}" for i, name in enumerate(model.feature_name())}
    few, some, many, background = inputs(20, 4), inputs(150, 1), inputs(40_000, 2), inputs(10_000, 3)
    found: dict[str, Any] = {"threads": threads}

    found["compile_or_load_s"], _ = wall_and_cpu(lambda: GroupExplainer(model, drivers, few).shap_values(few))
    explainers = {}
    for name, data in (("drivers", None), ("interventional_100", background[:100]), ("interventional_10000", background)):
        start = time.perf_counter()
        explainers[name] = GroupExplainer(model, drivers, data)
        found[f"{name}_build_s"] = time.perf_counter() - start
    single = GroupExplainer(model)
    tree = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    against = shap.TreeExplainer(model, data=background[:100], feature_perturbation="interventional")
    tasks = {name: (many, e.shap_values) for name, e in explainers.items()} | {
        "features": (many[:5000], single.shap_values),
        "pred_contrib": (some, lambda X: model.predict(X, pred_contrib=True, num_threads=threads)),
        "shap": (some, tree.shap_values),
        "shap_interventional_100": (few, lambda X: against.shap_values(X, check_additivity=False)),
    }
    for turn in range(3):
        for name, (X, explain) in tasks.items():
            wall, cpu = wall_and_cpu(lambda X=X, explain=explain: explain(X))
            _keep_best(found, name, len(X), wall, cpu)
        if woodelf and turn < 2:
            run = subprocess.run([woodelf, __file__, "--peer", str(file)], capture_output=True, text=True, check=True)
            theirs = json.loads(run.stdout.splitlines()[-1])
            _keep_best(found, "woodelf", theirs.pop("rows"), theirs.pop("wall"), theirs.pop("cpu"))
            found |= theirs
    found["additivity_difference"] = float(
        np.abs(
            explainers["drivers"].expected_value
            + explainers["drivers"].shap_values(some).sum(axis=1)
            - model.predict(some, raw_score=True)
        ).max()
    )
    found["pred_contrib_difference"] = float(
        np.abs(single.shap_values(some) - model.predict(some, pred_contrib=True)[:, :-1]).max()
    )
    for name in ("shap", "pred_contrib", "woodelf"):
        if f"{name}_rows_per_s" in found:
            found[f"ratio_to_{name}"] = found["drivers_rows_per_s"] / found[f"{name}_rows_per_s"]
            found[f"cpu_ratio_to_{name}"] = found[f"{name}_cpu_us_per_row"] / found["drivers_cpu_us_per_row"]
    found["ratio_to_shap_interventional_100"] = (
        found["interventional_100_rows_per_s"] / found["shap_interventional_100_rows_per_s"]
    )
    return found


def _keep_best(found: dict[str, Any], name: str, rows: int, wall: float, cpu: float) -> None:
    found[f"{name}_rows_per_s"] = max(rows / wall, found.get(f"{name}_rows_per_s", 0.0))
    found[f"{name}_cpu_us_per_row"] = min(cpu / rows * 1e6, found.get(f"{name}_cpu_us_per_row", np.inf))


def measure_woodelf(file: Path) -> dict[str, Any]:
    """WOODELF on 40,000 rows, path-dependent, one value per feature."""
    import pandas as pd
    from woodelf import WoodelfExplainer

    model = lightgbm.Booster(model_file=file)
    X = pd.DataFrame(inputs(40_000, 2).astype(np.float64), columns=model.feature_name())
    explainer = WoodelfExplainer(model, feature_perturbation="tree_path_dependent")
    answer = []
    wall, cpu = wall_and_cpu(lambda: answer.append(explainer.shap_values(X, verbose=False)))
    values = np.asarray(answer[0])
    theirs = model.predict(X[:200].to_numpy(), pred_contrib=True)[:, :-1]
    return {"rows": len(X), "wall": wall, "cpu": cpu, "woodelf_difference": float(np.abs(values[:200] - theirs).max())}


SHOWN = (
    ("ours, 8 drivers, path-dependent, 40,000 rows", "drivers"),
    ("ours, 8 drivers, background of 100, 40,000 rows", "interventional_100"),
    ("ours, 8 drivers, background of 10,000, 40,000 rows", "interventional_10000"),
    ("ours, 80 features, path-dependent, 5,000 rows", "features"),
    ("LightGBM pred_contrib, 80 features, 150 rows", "pred_contrib"),
    ("shap.TreeExplainer, 80 features, path-dependent, 150 rows", "shap"),
    ("shap.TreeExplainer, 80 features, background of 100, 20 rows", "shap_interventional_100"),
    ("WOODELF, 80 features, path-dependent, 40,000 rows", "woodelf"),
)


def page(found: dict[str, Any]) -> str:
    """The figures in Markdown."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("lightgbm", "numba", "numpy", "shap"))
    lines = [
        "# Shapley values of drivers",
        "",
        f"{TREES} trees x {LEAVES} leaves x {FEATURES} features, {DRIVERS} drivers, {found['threads']} threads; "
        f"`python benchmarks/shapley.py` makes this page. {processor()}, {os.cpu_count()} cores "
        f"(load {found['load']:.1f} at the start), Python {platform.python_version()}, {versions}.",
        "",
        "| | rows per second | drivers, path-dependent, are faster by | CPU microseconds per row, all cores |",
        "|---|---|---|---|",
    ]
    for what, name in SHOWN:
        if f"{name}_rows_per_s" in found:
            rate, cpu = found[f"{name}_rows_per_s"], found[f"{name}_cpu_us_per_row"]
            lines.append(f"| {what} | {rate:,.0f} | {found['drivers_rows_per_s'] / rate:,.1f} | {cpu:,.0f} |")
    lines += [
        "",
        f"Building the tables takes {found['drivers_build_s']:.1f} s path-dependent, "
        f"{found['interventional_100_build_s']:.1f} s for a background of 100 rows and "
        f"{found['interventional_10000_build_s']:.1f} s for 10,000. Compiling, or loading what numba has kept, is excluded: "
        f"{found['compile_or_load_s']:.0f} s before the first values in this run.",
        "",
        f"Base and values differ from the margin by at most {found['additivity_difference']:.0e}; with one feature a group, "
        f"values differ from pred_contrib by at most {found['pred_contrib_difference']:.0e}.",
    ]
    if "woodelf_difference" in found:
        lines += [
            "",
            f"WOODELF (woodelf_explainer {found['woodelf_version']}) differs from pred_contrib by at most "
            f"{found['woodelf_difference']:.0e} on these rows.",
        ]
    return "\n".join(lines) + "\n"


def processor() -> str:
    """Name of the processor, where the system tells."""
    about = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in about.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure, print the page, and write what was asked for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--model", type=Path, help="where the trained model is kept, so that a second run need not train")
    arguments.add_argument("--woodelf", metavar="PYTHON", help="interpreter that has woodelf_explainer")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--write", type=Path)
    arguments.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.peer:
        print(json.dumps(measure_woodelf(given.peer) | {"woodelf_version": version("woodelf_explainer")}))
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        file = given.model or Path(folder) / "model.txt"
        if not file.exists():
            print("training the model", file=sys.stderr)
            train(file, given.threads)
        found = measure(file, given.threads, given.woodelf) | {"load": load}
    print(page(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    if given.write:
        given.write.write_text(page(found))


if __name__ == "__main__":
    main()
