"""What a choice of model is worth on small registers: samples of a real panel, and everybody else as the judge.

    python benchmarks/choice.py [--data ../shared/data] [--write benchmarks/choice.md]

From the Argentine panel (not poor now, poor one quarter later) draw a small register of some households; fit the candidates
on its validation folds and choose by each rule and each metric; then fit them on all its training months and hold them
against the test months of all other households. That judge has some 25,000 rows, so a regret is the choice's own and not
the luck of a small test. Takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import riskmodel as rm
from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.splits import rows_of, temporal_folds
from riskmodel.evaluation.metrics import Scored
from riskmodel.evaluation.selection import LOWER_IS_BETTER, RULES, Periods, choose
from riskmodel.model.choice import Period, candidates, divisions, measured, of_parts
from riskmodel.model.training import Trainer
from riskmodel.settings import Choice, Intervals, Run
from riskmodel.threads import one_thread

CHOOSE_BY = ("pr_auc", "roc_auc", "log_loss", "recall_at_capacity")
JUDGE_BY = ("recall_at_capacity", "roc_auc")
SIZES = {300: 16, 1000: 16, 3000: 10, 10_000: 5, 40_000: 2}
HOUSEHOLD_SIZES = {300: 6, 1000: 6, 3000: 3}


def judged(cohorts: Cohorts, run: Run, households: int, seed: int, by_household: bool) -> list[dict]:
    """One small register: a row per rule, metric of choice, with the model chosen and its regrets on all others."""
    frame = cohorts.frame
    ids = frame["household_id"].unique()
    mine = frame["household_id"].isin(np.random.default_rng(seed).choice(ids, households, replace=False)).to_numpy()
    folds = temporal_folds(cohorts.months, cohorts.step_months, run.label, run.split)
    pairs = [rows_of(f, frame["as_of"], frame["outcome"], frame["outcome_known_at"]) for f in folds]
    train, test = pairs[-1][0][mine[pairs[-1][0]]], pairs[-1][1][~mine[pairs[-1][1]]]
    inputs = cohorts.inputs
    names = candidates(run, inputs)
    trainer = Trainer(cohorts, run, inputs)

    def predict(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
        return trainer.predict(parts, names, "", lambda _: None)

    before = None
    if by_household:
        divided = divisions(frame, train, seed)
        found, before = of_parts(divided, [predict(parts) for parts in divided])
    else:
        found = []
        for fold, (early, late) in zip(folds[:-1], pairs[:-1], strict=True):
            early, late = early[mine[early]], late[mine[late]]
            if len(late) and frame["outcome"].to_numpy()[early].any():
                found.append(Period(fold.name, late, predict([(early, late)])))
    risk = predict([(train, test)])
    lists = (frame["as_of"] + "/" + frame["county_id"]).to_numpy()[test]
    outcome = frame["outcome"].to_numpy()
    truth = pd.DataFrame({n: Scored(outcome[test], risk[n].to_numpy(), lists, run.capacity).metrics() for n in names}).T
    about = {
        "households": households,
        "events": int(outcome[train].sum()),
        "periods": "households" if by_household else "time",
    }
    rows = []
    for metric in CHOOSE_BY:
        periods: Periods = measured(frame, run.model_copy(update={"choice": Choice(metric=metric)}), names, found, before)
        for rule in RULES:
            model = choose(periods, rule)
            rows.append({**about, "metric": metric, "rule": rule, "model": model, **regret(truth, model)})
    always = [{**about, "metric": "none", "rule": f"always {m}", "model": m, **regret(truth, m)} for m in names]
    return rows + always


def regret(truth: pd.DataFrame, model: str) -> dict[str, float]:
    """How far a model lies behind the best, in each metric of the judge."""
    best = {m: truth[m].min() if m in LOWER_IS_BETTER else truth[m].max() for m in JUDGE_BY}
    return {f"regret_{m}": float(abs(best[m] - truth[m][model])) for m in JUDGE_BY}


def page(found: pd.DataFrame) -> str:
    """Tables in Markdown: mean and worst regret in recall of the list, by rule, metric and size."""
    lines = [
        "# Which model a small register should keep",
        "",
        f"Made by `python benchmarks/choice.py`. Python {platform.python_version()}, {platform.machine()}.",
        "",
        "Samples of households of the Argentine panel, one quarter ahead; candidates `one_variable_logit`,",
        "`logistic_regression`, `lightgbm`. Regret: the best candidate's figure on the test months of all other households",
        "minus the chosen one's, mean (worst) over samples, in points of a hundred.",
    ]
    for periods, words in (
        ("time", "Two rolling-origin folds"),
        ("households", "Household-disjoint parts, no earlier fold"),
    ):
        part = found[found["periods"] == periods]
        if part.empty:
            continue
        sizes = sorted(part["households"].unique())
        samples = part.groupby("households")["seed"].nunique()
        events = part.groupby("households")["events"].mean()
        heads = [f"{n:,} households ({samples[n]} samples, {events[n]:.0f} falls)" for n in sizes]
        for judge in JUDGE_BY:
            lines += ["", f"## {words}: regret in {judge}", "", f"| rule | metric | {' | '.join(heads)} |"]
            lines.append("|---" * (len(sizes) + 2) + "|")
            for (rule, metric), rows in part.groupby(["rule", "metric"], sort=False):
                cells = []
                for n in sizes:
                    regret = 100 * rows.loc[rows["households"] == n, f"regret_{judge}"]
                    cells.append(f"{regret.mean():.2f} ({regret.max():.2f})")
                lines.append(f"| {rule} | {metric} | {' | '.join(cells)} |")
        lines += ["", f"## {words}: what `simplest_within_one_se` picks", "", f"| metric | {' | '.join(heads)} |"]
        lines.append("|---" * (len(sizes) + 1) + "|")
        for metric, rows in part[part["rule"] == "simplest_within_one_se"].groupby("metric", sort=False):
            cells = []
            for n in sizes:
                counts = rows.loc[rows["households"] == n, "model"].value_counts()
                cells.append(", ".join(f"{model} {count}" for model, count in counts.items()))
            lines.append(f"| {metric} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Draw all samples and print or write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    file = given.data / "eph" / "eph_2009_2015.parquet"
    if not file.is_file():
        sys.exit(f"{file}: not there; give the folder of the panels with --data")
    run = rm.load_run("configs/runs/eph_1q.yaml").model_copy(update={"intervals": Intervals(replicates=100)})
    with tempfile.TemporaryDirectory() as folder:
        rm.ingest(rm.find_config("sources/eph.yaml"), file, Path(folder) / "register")
        cohorts = rm.build_cohorts(
            rm.Register.open(Path(folder) / "register"),
            label=run.label, at_risk=run.at_risk, months=run.cohorts, catalogue=load_catalogue(run.catalogue),
        )  # fmt: skip
    cohorts = replace(cohorts, origin=None)
    jobs = [(n, seed, False) for n, count in SIZES.items() for seed in range(count)]
    jobs += [(n, seed, True) for n, count in HOUSEHOLD_SIZES.items() for seed in range(count)]

    def work(job: tuple[int, int, bool]) -> list[dict]:
        found = [{"seed": job[1], **row} for row in judged(cohorts, run, *job)]
        print(job, found[0]["events"], "falls", file=sys.stderr, flush=True)
        return found

    with one_thread(), ThreadPoolExecutor(2) as pool:
        found = pd.DataFrame([row for rows in pool.map(work, jobs) for row in rows])
    told = page(found)
    print(told)
    if given.write:
        given.write.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
