"""Is the evaluation itself honest? Shuffled outcomes through the whole pipeline, and what bootstrap intervals cover.

    python benchmarks/honesty.py [--shuffles 100] [--simulations 1000] [--write benchmarks/honesty.md]

About twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

import riskmodel as rm
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.errors import LeakFound
from riskmodel.evaluation.metrics import Scored, wilson, with_intervals
from riskmodel.settings import Capacity, Intervals
from riskmodel.study import compare_over_time

OUTCOME = ["outcome", "outcome_month", "outcome_known_at"]
SHUFFLED = ("one_variable_logit", "logistic_regression", "lightgbm")
COVERED = (
    "roc_auc", "pr_auc", "brier", "log_loss", "calibration_slope", "calibration_intercept", "rate_error",
    "precision_at_capacity", "recall_at_capacity", "lift_at_capacity",
)  # fmt: skip
HOUSEHOLDS, ROWS_EACH = 1000, 2
CAPACITY = Capacity(share=0.1)


def shuffled(cohorts: Cohorts, seed: int) -> Cohorts:
    """The same households with each other's outcomes, month by month."""
    generator = np.random.default_rng(seed)
    frame = cohorts.frame.copy()
    known = frame["outcome"].notna()
    for rows in frame[known].groupby("as_of").groups.values():
        frame.loc[rows, OUTCOME] = frame.loc[generator.permutation(rows), OUTCOME].to_numpy()
    return dataclasses.replace(cohorts, frame=frame)


def shuffles(count: int) -> str:
    """Mean test AUC of models that learned nothing, against its standard error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rm.simulate(folder / "source", world="hard", households=3000, months=36, seed=70)
        rm.ingest(rm.find_config("sources/simulated.yaml"), folder / "source", folder / "register")
        run = rm.load_run("runs/default.yaml")
        run = run.model_copy(update={
            "models": list(SHUFFLED), "intervals": Intervals(replicates=20),
            "split": run.split.model_copy(update={"folds": 0, "household_disjoint": False}),
        })  # fmt: skip
        cohorts = rm.build_cohorts(
            rm.Register.open(folder / "register"), label=run.label, at_risk=run.at_risk, months=run.cohorts
        )
        found, stopped = [], 0
        for seed in range(count):
            try:
                compared = compare_over_time(shuffled(cohorts, seed), run, look=f"shuffle {seed}")
            except LeakFound:
                stopped += 1
                continue
            found.append({model: splits["test"]["roc_auc"].value for model, splits in compared.results.items()})
    table = pd.DataFrame(found)
    lines = ["| model | shuffles | mean ROC-AUC | standard error | standard errors from 0.5 |", "|---|---|---|---|---|"]
    for model in table:
        error = table[model].std(ddof=1) / np.sqrt(len(table))
        away = (table[model].mean() - 0.5) / error
        lines.append(f"| {model} | {len(table)} | {table[model].mean():.4f} | {error:.4f} | {away:+.1f} |")
    return "\n".join([*lines, "", f"Stopped by a leak gate: {stopped} of {count}."])


def population(generator: np.random.Generator, households: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, risks and households: two rows each, alike in what the model does not see; risks a little too extreme."""
    own = np.repeat(generator.normal(0, 0.7, households), ROWS_EACH)
    seen = np.repeat(generator.normal(0, 1.0, households), ROWS_EACH) + generator.normal(0, 0.5, ROWS_EACH * households)
    fell = generator.random(len(own)) < expit(-2.4 + 1.1 * seen + own)
    return fell.astype(float), expit(-2.2 + 1.3 * seen), np.repeat(np.arange(households), ROWS_EACH)


def truth() -> dict[str, float]:
    """Each metric on a population of a million households."""
    y, p, _ = population(np.random.default_rng(10**6), 10**6)
    found = Scored(y, p, capacity=CAPACITY).metrics()
    return {metric: found[metric] for metric in COVERED}


def covered(seed: int) -> dict[str, tuple[float, float]]:
    """Ends of each interval in one small sample."""
    y, p, household = population(np.random.default_rng(seed), HOUSEHOLDS)
    found = with_intervals({"m": Scored(y, p, capacity=CAPACITY)}, household, Intervals(replicates=400), seed)["m"]
    return {metric: (found[metric].low, found[metric].high) for metric in COVERED}


def coverage(simulations: int) -> str:
    """Share of intervals that hold the truth."""
    true = truth()
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(covered, range(simulations), chunksize=10))
    lines = ["| metric | truth | covered | 95 % interval of that | below, above |", "|---|---|---|---|---|"]
    for metric in COVERED:
        ends = np.array([one[metric] for one in found])
        below, above = (ends[:, 0] > true[metric]).sum(), (ends[:, 1] < true[metric]).sum()
        inside = simulations - below - above
        low, high = wilson(inside, simulations)
        lines.append(
            f"| {metric} | {true[metric]:.4f} | {inside / simulations:.1%} | {low:.1%} - {high:.1%} | {above}, {below} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Both studies as one page."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shuffles", type=int, default=100)
    arguments.add_argument("--simulations", type=int, default=1000)
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    page = f"""# Is the evaluation itself honest?

Made by `python benchmarks/honesty.py`.

## Shuffled outcomes through the whole pipeline

{given.shuffles} times the outcomes of a simulated county (hard world, 3,000 households, seed 70) were dealt out anew within
each month, and leak gates, fitting, calibration and test run as ever. Whatever the models then find is a leak.

{shuffles(given.shuffles)}

## What the intervals cover

{given.simulations:,} samples of {HOUSEHOLDS:,} households with {ROWS_EACH} rows each that share what the model does not see;
about 15 % fall; the list holds a tenth. The truth is that of a million households. Bootstrap over households, 400 resamples,
percentile intervals at 95 %. "Below, above": samples whose whole interval lies below or above the truth.

{coverage(given.simulations)}
"""
    print(page)
    if given.write:
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
