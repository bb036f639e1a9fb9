"""How good a model looks when it is tested dishonestly: the same panel, the same model, two common faults.

    python benchmarks/leaky.py [--data ../shared/data] [--figure benchmarks/leaky.svg]

Argentina, one quarter ahead. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import riskmodel as rm
from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.features import build_features
from riskmodel.cohort.splits import rows_of, temporal_folds
from riskmodel.evaluation.bootstrap import Interval, resample
from riskmodel.evaluation.metrics import Scored
from riskmodel.model.estimators import make_estimator
from riskmodel.months import month_text
from riskmodel.settings import Run

WORDS = {
    "honest": "honest: later quarters, features as known then",
    "random rows": "fault 1: training rows from all quarters at random",
    "later features": "fault 2: work, help and housing of the next visit",
    "both": "both faults",
}


def not_about_income(cohorts: Cohorts) -> list[str]:
    """Inputs that no figure of income enters, however far down."""
    tainted = {"welfare", "line", "welfare_ratio", "n_times_poor_before"}
    while True:
        more = {f.name for f in cohorts.catalogue.features if f.needs & tainted} - tainted
        if not more:
            return [name for name in cohorts.inputs if name not in tainted]
        tainted |= more


def one_visit_later(cohorts: Cohorts) -> pd.DataFrame:
    """The inputs, with all that is not about income read one quarter later, as an export of today's state would hold it."""
    later = not_about_income(cohorts)
    months = [m + cohorts.step_months for m in cohorts.months]
    table = build_features(cohorts.origin, months, cohorts.catalogue).frame[["household_id", "as_of", *later]]
    back = {month_text(m): month_text(m - cohorts.step_months) for m in months}
    table = table.assign(as_of=table["as_of"].map(back)).set_index(["household_id", "as_of"])
    keys = pd.MultiIndex.from_frame(cohorts.frame[["household_id", "as_of"]])
    return cohorts.X().assign(**table.reindex(keys).reset_index(drop=True))


def at_random(known: np.ndarray, test: np.ndarray, size: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The test rows in halves, each with training rows drawn from all other rows, whatever their household or quarter."""
    generator = np.random.default_rng(seed)
    halves = np.array_split(generator.permutation(test), 2)
    return [(np.sort(generator.choice(np.setdiff1d(known, half), size, replace=False)), np.sort(half)) for half in halves]


def figures(cohorts: Cohorts, run: Run) -> dict[str, Interval]:
    """ROC-AUC of LightGBM on the same test rows and from as many training rows, honest and with the faults."""
    frame = cohorts.frame
    fold = temporal_folds(cohorts.months, cohorts.step_months, run.label, run.split)[-1]
    train, test = rows_of(fold, frame["as_of"], frame["outcome"], frame["outcome_known_at"])
    drawn = at_random(np.flatnonzero(frame["outcome"].notna()), test, len(train), run.seed)
    now, later = cohorts.X(), one_visit_later(cohorts)
    ways = {
        "honest": (now, [(train, test)]),
        "random rows": (now, drawn),
        "later features": (later, [(train, test)]),
        "both": (later, drawn),
    }
    monotone = {f.name: f.monotone for f in cohorts.features if f.monotone and f.input}
    outcome = frame["outcome"].to_numpy()
    measures = {}
    for name, (x, parts) in ways.items():
        print(name, file=sys.stderr)
        risk = np.empty(len(test))
        for given, asked in parts:
            model = make_estimator("lightgbm", monotone=monotone, seed=run.seed).fit(x.iloc[given], outcome[given])
            risk[np.searchsorted(test, asked)] = model.predict_proba(x.iloc[asked])[:, 1]
        measures[name] = Scored(outcome[test], risk).metrics
    found = resample(measures, frame["household_id"].iloc[test], run.intervals, run.seed)
    gains = found.differences(against="honest")
    for name, gain in gains.items():
        one = gain["roc_auc"]
        print(f"{WORDS[name]} claims {one.value:+.4f} ({one.low:+.4f} to {one.high:+.4f}) more", file=sys.stderr)
    return {name: metrics["roc_auc"] for name, metrics in found.intervals().items()}


def draw(found: dict[str, Interval], out: Path) -> None:
    """Bars with intervals; the honest one filled, the others hatched, so that it reads in grey."""
    mpl.rcParams |= {"svg.fonttype": "path", "svg.hashsalt": "leaky", "font.size": 10}
    figure, axes = plt.subplots(figsize=(7.2, 2.6), layout="constrained")
    for place, (name, auc) in enumerate(found.items()):
        good = name == "honest"
        axes.barh(
            place, auc.value - 0.5, left=0.5, height=0.62, color="#0072b2" if good else "#ffffff",
            edgecolor="#0072b2" if good else "#d55e00", hatch=None if good else "///",
        )  # fmt: skip
        axes.plot([auc.low, auc.high], [place, place], color="#222222", linewidth=2)
        axes.text(auc.high + 0.006, place, f"{auc.value:.3f}", va="center")
    axes.axvline(found["honest"].value, color="#0072b2", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(found)), [WORDS[name] for name in found])
    axes.invert_yaxis()
    axes.set_xlim(0.5, 1.0)
    axes.set_xlabel("ROC-AUC the test reports (0.5: chance)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    """Measure, print and draw."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments.add_argument("--figure", type=Path)
    given = arguments.parse_args()
    run = rm.load_run("runs/eph_1q.yaml")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "register"
        rm.ingest(rm.find_config("sources/eph.yaml"), given.data / "eph" / "eph_2009_2015.parquet", out)
        register = rm.Register.open(out)
        cohorts = rm.build_cohorts(
            register, label=run.label, at_risk=run.at_risk, months=run.cohorts, catalogue=load_catalogue(run.catalogue)
        )
        found = figures(cohorts, run)
    for name, auc in found.items():
        print(f"{WORDS[name]}: {auc.value:.4f} ({auc.low:.4f}-{auc.high:.4f})")
    if given.figure:
        draw(found, given.figure)


if __name__ == "__main__":
    main()
