"""Real panels: every model and baseline with intervals, as `riskmodel train` finds them, from one command.

    python benchmarks/panels.py [--data ../shared/data] [--write benchmarks/panels.md] [--work FOLDER] [--panel NAME ...]

Reads the panels in place. The smaller ones take a minute each, the Argentine ones about ten on two cores. What a panel
gave is kept in FOLDER, so that the page can be made again from the parts.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

import riskmodel as rm
from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.splits import rows_of
from riskmodel.evaluation.bootstrap import resample
from riskmodel.evaluation.looks import code_version
from riskmodel.evaluation.metrics import METRICS, Scored
from riskmodel.model.estimators import make_estimator
from riskmodel.study import Study

COMPARED = ("roc_auc", "pr_auc", "brier", "recall_at_capacity")
EPH = "eph/eph_2009_2015.parquet"
PANELS = {
    "eph_1q": (EPH, "Argentina, one quarter ahead: training outcomes up to 2014Q2, test origins from 2014Q2"),
    "eph_4q": (EPH, "Argentina, four quarters ahead: training outcomes up to 2013Q4, test origins from 2013Q4"),
    "pakistan": (
        "pakistan_graduation/pakistan_graduation_long.csv.gz",
        "Pakistan, graduation of the ultra-poor: trained from the baseline to wave 1, tested from wave 1 to wave 2",
    ),
    "hfps": (
        "hfps/hfps_long.parquet",
        "Phone surveys, food insecurity: trained on outcomes up to August 2020, tested on origins from August 2020",
    ),
}
NOT_INPUTS = ("household_id", "period_date", "wave", "weight", "poor_scale", "as_of")
PLAIN = {"n_estimators": 400, "learning_rate": 0.05, "num_leaves": 31}
TUNED = {"n_estimators": 700, "learning_rate": 0.025, "num_leaves": 31, "colsample_bytree": 0.4}

HEAD = """# Real panels

What `riskmodel train` finds with `configs/runs/*.yaml`, made by `python benchmarks/panels.py`. Version {version}, Python
{python}.

`plain_script`: LightGBM, 400 trees of 31 leaves at rate .05, the survey's columns of the same quarter, no history.
`plain_script_tuned`: 700 trees at rate .025, columns sampled at .4, with the visits before. Both are fitted here, on the
same rows.

Settings and features of the Argentine panel were worked out on its validation folds; its test was looked at more than once
on the way, so its last digits are not to be leant on. Pakistan had a part in the choice of a metric to choose by, the phone
surveys in nothing ([decision 7](../docs/decisions/007-choice-of-model.md))."""


def panel(name: str, data: Path) -> dict[str, Any]:
    """One panel's figures."""
    file = data / PANELS[name][0]
    run = rm.load_run(f"runs/{name}.yaml")
    source = rm.find_config(f"sources/{name.split('_')[0]}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "register"
        rm.ingest(source, file, out)
        cohorts = rm.build_cohorts(
            rm.Register.open(out), label=run.label, at_risk=run.at_risk, months=run.cohorts,
            catalogue=load_catalogue(run.catalogue),
        )  # fmt: skip
        study = rm.train(cohorts, run, track=False, progress=lambda what: print(f"{name}: {what}", file=sys.stderr))
    facts = study.evidence["data"]
    found = {
        "registered": study.run.register_model,
        "choice": study.evidence.get("choice", {}).get("reason"),
        "train": facts["train"],
        "test": facts["test"],
        "at_risk": cohorts.frame.groupby("as_of")["outcome"].agg(["size", "count", "sum"]).reset_index().to_dict("records"),
        "results": study.results_json(),
        "leaks": [f["en"] for f in study.evidence["leak_gates"] if f["verdict"] != "pass"],
        "level": study.evidence["assessment"]["level"],
    }
    if name.startswith("eph"):
        found["plain"] = plain_scripts(study, cohorts, file)
    if name == "hfps":
        found["weighted"] = weighted_for_attrition(study, cohorts)
    return found


def plain_scripts(study: Study, cohorts: Cohorts, file: Path) -> dict[str, Any]:
    """What an analyst's script would reach on the same rows, and the paired differences of the registered model."""
    raw = pd.read_parquet(file)
    raw["household_id"] = raw["household_id"].astype(str)
    raw["as_of"] = pd.to_datetime(raw["period_date"]).dt.strftime("%Y-%m")
    now = [c for c in raw if c not in NOT_INPUTS and pd.api.types.is_numeric_dtype(raw[c])]
    raw = raw.sort_values(["household_id", "wave"])
    visits = raw.groupby("household_id")
    earlier = ["welfare_ratio_scale", "n_occ", "n_formal", "hh_size", "n_unemp"]
    before = pd.DataFrame({f"{c}_before": visits[c].shift() for c in earlier})
    before["mean_before"] = visits["welfare_ratio_scale"].transform(lambda s: s.shift().expanding().mean())
    raw = raw.join(before).set_index(["household_id", "as_of"])
    frame = cohorts.frame
    keys = pd.MultiIndex.from_frame(frame[["household_id", "as_of"]])
    fold = study.folds[-1]
    train, test = rows_of(fold, frame["as_of"], frame["outcome"], frame["outcome_known_at"])
    outcome = frame["outcome"].to_numpy()
    risks = {"lightgbm": study.scores["lightgbm"].to_numpy()}
    for script, columns, params in (
        ("plain_script", now, PLAIN),
        ("plain_script_tuned", [*now, *before], TUNED),
    ):
        x = raw.loc[keys, columns].to_numpy(np.float32)
        model = lightgbm.LGBMClassifier(**params, random_state=0, n_jobs=1, verbosity=-1).fit(x[train], outcome[train])
        risks[script] = model.predict_proba(x[test])[:, 1]
    picked = frame.iloc[test]
    lists = (picked["as_of"] + "/" + picked["county_id"]).to_numpy()
    measures = {n: Scored(outcome[test], p, lists, study.run.capacity).metrics for n, p in risks.items()}
    drawn = resample(measures, picked["household_id"], study.run.intervals, study.run.seed)
    return {
        "results": {n: {m: i.as_json() for m, i in f.items()} for n, f in drawn.intervals().items() if n != "lightgbm"},
        "differences": {
            script: {m: drawn.differences(against=script)["lightgbm"][m].as_json() for m in COMPARED}
            for script in risks
            if script != "lightgbm"
        },
    }


def weighted_for_attrition(study: Study, cohorts: Cohorts) -> dict[str, Any]:
    """Figures on the test weighted by the chance of being reached, from a logistic regression on the inputs."""
    months = {fold for fold in study.scores["as_of"]}
    frame = cohorts.frame[cohorts.frame["as_of"].isin(months)].reset_index(drop=True)
    asked = frame.groupby(["county_id", "as_of"])["outcome"].transform(lambda o: o.notna().any()).to_numpy(bool)
    frame = frame[asked].reset_index(drop=True)
    known = frame["outcome"].notna().to_numpy()
    x = frame[cohorts.inputs]
    reached = make_estimator("logistic_regression").fit(x, known.astype(float)).predict_proba(x)[:, 1]
    weight = (known.mean() / np.clip(reached, 0.05, 1))[known]
    scores = study.scores[study.run.register_model].to_numpy()
    scored = Scored(study.scores["outcome"].to_numpy(), scores)
    measures: dict[str, Callable[[np.ndarray | None], dict[str, float]]] = {
        "as reached": scored.metrics,
        "weighted": lambda drawn: scored.metrics(weight if drawn is None else weight * drawn),
    }
    found = resample(measures, study.scores["household_id"], study.run.intervals, study.run.seed).intervals()
    rate = {"as reached": study.scores["outcome"].mean(), "weighted": np.average(study.scores["outcome"], weights=weight)}
    return {
        "asked": len(frame),
        "reached": int(known.sum()),
        "not_asked": int((~asked).sum()),
        "rows": {n: {"rate": float(rate[n]), **{m: f[m].as_json() for m in COMPARED[:3]}} for n, f in found.items()},
    }


def cell(figure: dict[str, float | None]) -> str:
    """A figure with its interval."""
    if figure["value"] is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.4f}"
    return f"{figure['value']:.4f} ({figure['low']:.4f}-{figure['high']:.4f})"


def chapter(name: str, found: dict[str, Any]) -> str:
    """One panel in Markdown."""
    train, test = found["train"], found["test"]
    lines = [
        f"## {PANELS[name][1]}",
        "",
        f"{train['rows']:,} training rows, {train['rate']:.1%} fell; {test['rows']:,} test rows, {test['rate']:.1%} fell. "
        f"Registered: {found['registered']}.",
    ]
    if found["choice"]:
        lines += ["", f"Chosen inside the training months: {found['choice']}"]
    level = found["level"]
    lines += ["", f"Falls observed over expected: {level['ratio']:.3f} ({level['low']:.3f}-{level['high']:.3f})."]
    if any(row["size"] > row["count"] for row in found["at_risk"]):
        size, known = (sum(r[of] for r in found["at_risk"]) for of in ("size", "count"))
        shares = [1 - r["count"] / r["size"] for r in found["at_risk"]]
        lines += [
            "",
            f"At risk without an outcome (counted, never 0): {size - known:,.0f} of {size:,} rows; by month, "
            f"{min(shares):.0%} to {max(shares):.0%}.",
        ]
    lines += [line for finding in found["leaks"] for line in ("", f"Leak gates: {finding}")]
    for split in ("test", "test_disjoint"):
        rows = {m: s[split] for m, s in found["results"].items() if split in s}
        if not rows:
            continue
        if split == "test" and "plain" in found:
            rows |= found["plain"]["results"]
        lines += ["", f"### {split}", "", f"| model | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 1) + "|"]
        lines += [f"| {model} | {' | '.join(cell(figures[m]) for m in METRICS)} |" for model, figures in rows.items()]
    if "plain" in found:
        lines += ["", "Our `lightgbm` minus the script, paired on the same resamples of households:", ""]
        lines += [f"| script | {' | '.join(COMPARED)} |", "|---" * (len(COMPARED) + 1) + "|"]
        for script, gains in found["plain"]["differences"].items():
            lines.append(f"| {script} | {' | '.join(signed(gains[m]) for m in COMPARED)} |")
    if "weighted" in found:
        w = found["weighted"]
        lines += [
            "",
            f"Of {w['asked']:,} households at risk that were to be asked again, {w['reached']:,} were reached; "
            f"{w['not_asked']:,} live where the question was not put again. Weighted by the chance of being reached "
            "(logistic regression on the inputs), figures of the registered model:",
            "",
            "| | rate | roc_auc | pr_auc | brier |",
            "|---|---|---|---|---|",
        ]
        for row, figures in w["rows"].items():
            lines.append(f"| {row} | {figures['rate']:.4f} | {' | '.join(cell(figures[m]) for m in COMPARED[:3])} |")
    return "\n".join(lines)


def signed(figure: dict[str, float | None]) -> str:
    """A difference with its interval."""
    return f"{figure['value']:+.4f} ({figure['low']:+.4f} to {figure['high']:+.4f})"


def main() -> None:
    """Run the panels asked for, and print or write the page from all that are there."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments.add_argument("--write", type=Path)
    arguments.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "riskmodel-panels")
    arguments.add_argument("--panel", nargs="*", choices=list(PANELS), default=list(reversed(PANELS)))
    given = arguments.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    for name in given.panel:
        if not (given.data / PANELS[name][0]).is_file():
            sys.exit(f"{given.data / PANELS[name][0]}: not there; give the folder of the panels with --data")
        (given.work / f"{name}.json").write_text(json.dumps(panel(name, given.data)), encoding="utf-8")
    there = [name for name in PANELS if (given.work / f"{name}.json").is_file()]
    chapters = [chapter(name, json.loads((given.work / f"{name}.json").read_text(encoding="utf-8"))) for name in there]
    page = "\n\n".join([HEAD.format(version=code_version(), python=platform.python_version()), *chapters]) + "\n"
    print(page)
    if given.write:
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
