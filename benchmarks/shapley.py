"""Rows explained per second: values of 8 drivers against TreeSHAP, LightGBM's pred_contrib and WOODELF, in one run.

    python benchmarks/shapley.py [--json FILE] [--write benchmarks/shapley.md] [--woodelf PYTHON] [--model FILE]

500 trees x 63 leaves x 80 features with missing values; best of a few repetitions, compiling excluded. WOODELF is run by
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


def seconds(task: Callable[[], Any], repeats: int = 3) -> float:
    """Best time of a task."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(file: Path, threads: int, woodelf: str | None) -> dict[str, float]:
    """All figures, flat: rows per second, ratios, largest differences."""
    import numba
    import shap

    from riskmodel.explain.shapley import GroupExplainer

    numba.set_num_threads(threads)
    model = lightgbm.Booster(model_file=file, params={"num_threads": threads})
    drivers = {name: f"driver {i % DRIVERS}" for i, name in enumerate(model.feature_name())}
    X, many, background = inputs(300, 1), inputs(40_000, 2), inputs(10_000, 3)
    found: dict[str, float] = {"threads": threads}

    found["compile_or_load_s"] = seconds(lambda: GroupExplainer(model, drivers, inputs(5, 4)).shap_values(X[:1]), 1)
    start = time.perf_counter()
    explainer = GroupExplainer(model, drivers)
    found["build_s"] = time.perf_counter() - start
    found["pred_contrib_rows_per_s"] = len(X) / seconds(lambda: model.predict(X, pred_contrib=True))
    tree = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    found["shap_rows_per_s"] = len(X) / seconds(lambda: tree.shap_values(X))
    found["drivers_rows_per_s"] = len(many) / seconds(lambda: explainer.shap_values(many))
    found["additivity_difference"] = float(
        np.abs(explainer.expected_value + explainer.shap_values(X).sum(axis=1) - model.predict(X, raw_score=True)).max()
    )
    for rows in (100, 10_000):
        start = time.perf_counter()
        against = GroupExplainer(model, drivers, background[:rows])
        found[f"interventional_{rows}_build_s"] = time.perf_counter() - start
        found[f"interventional_{rows}_rows_per_s"] = len(many) / seconds(lambda e=against: e.shap_values(many))
    tree = shap.TreeExplainer(model, data=background[:100], feature_perturbation="interventional")
    few = X[:20]
    found["shap_interventional_100_rows_per_s"] = len(few) / seconds(
        lambda: tree.shap_values(few, check_additivity=False), 1
    )
    single = GroupExplainer(model)
    found["features_rows_per_s"] = 2000 / seconds(lambda: single.shap_values(many[:2000]), 1)
    found["pred_contrib_difference"] = float(
        np.abs(single.shap_values(X) - model.predict(X, pred_contrib=True)[:, :-1]).max()
    )
    found["ratio_to_shap"] = found["drivers_rows_per_s"] / found["shap_rows_per_s"]
    found["ratio_to_pred_contrib"] = found["drivers_rows_per_s"] / found["pred_contrib_rows_per_s"]
    found["ratio_to_shap_interventional_100"] = (
        found["interventional_100_rows_per_s"] / found["shap_interventional_100_rows_per_s"]
    )
    if woodelf:
        command = [woodelf, __file__, "--peer", str(file)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found |= json.loads(run.stdout.splitlines()[-1])
        found["ratio_to_woodelf"] = found["drivers_rows_per_s"] / found["woodelf_rows_per_s"]
    return found


def measure_woodelf(file: Path) -> dict[str, float]:
    """WOODELF on 40,000 rows, path-dependent, one value per feature."""
    import pandas as pd
    from woodelf import WoodelfExplainer

    model = lightgbm.Booster(model_file=file)
    X = pd.DataFrame(inputs(40_000, 2).astype(np.float64), columns=model.feature_name())
    explainer = WoodelfExplainer(model, feature_perturbation="tree_path_dependent")
    start = time.perf_counter()
    values = np.asarray(explainer.shap_values(X, verbose=False))
    took = time.perf_counter() - start
    theirs = model.predict(X[:200].to_numpy(), pred_contrib=True)[:, :-1]
    return {"woodelf_rows_per_s": len(X) / took, "woodelf_difference": float(np.abs(values[:200] - theirs).max())}


SHOWN = (
    ("ours, 8 drivers, path-dependent", "drivers_rows_per_s"),
    ("ours, 8 drivers, background of 100", "interventional_100_rows_per_s"),
    ("ours, 8 drivers, background of 10,000", "interventional_10000_rows_per_s"),
    ("ours, 80 features, path-dependent", "features_rows_per_s"),
    ("LightGBM pred_contrib, 80 features", "pred_contrib_rows_per_s"),
    ("shap.TreeExplainer, 80 features, path-dependent", "shap_rows_per_s"),
    ("shap.TreeExplainer, 80 features, background of 100", "shap_interventional_100_rows_per_s"),
    ("WOODELF, 80 features, path-dependent, 40,000 rows", "woodelf_rows_per_s"),
)


def page(found: dict[str, float]) -> str:
    """The figures in Markdown."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("lightgbm", "numba", "numpy", "shap"))
    lines = [
        "# Shapley values of drivers",
        "",
        f"{TREES} trees x {LEAVES} leaves x {FEATURES} features, {DRIVERS} drivers, {found['threads']} threads; "
        f"`python benchmarks/shapley.py` makes this page. {processor()}, {os.cpu_count()} cores "
        f"(load {found['load']:.1f} at the start), Python {platform.python_version()}, {versions}.",
        "",
        "| | rows per second | drivers, path-dependent, are faster by |",
        "|---|---|---|",
    ]
    for what, key in SHOWN:
        if key in found:
            lines.append(f"| {what} | {found[key]:,.0f} | {found['drivers_rows_per_s'] / found[key]:,.1f} |")
    lines += [
        "",
        f"Building the tables takes {found['build_s']:.1f} s path-dependent, {found['interventional_100_build_s']:.1f} s "
        f"for a background of 100 rows and {found['interventional_10000_build_s']:.1f} s for 10,000. Compiling, or loading "
        f"what numba has kept, is excluded: {found['compile_or_load_s']:.0f} s before the first values in this run.",
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
