"""The studies behind `causes.md`: thresholds, prevalence, worsening records, stability, controls, attributions.

    python benchmarks/causes_studies.py choose --households 80000     sets the thresholds, writes configs/verdict.yaml
    python benchmarks/causes_studies.py prevalence                    0, 5, 10 and 20 % low effort
    python benchmarks/causes_studies.py worsening                     illness unrecorded, fields missing, noise
    python benchmarks/causes_studies.py stability                     bootstrap retrainings, month to month
    python benchmarks/causes_studies.py controls                      shuffled labels
    python benchmarks/causes_studies.py attributions                  three kinds of Shapley values
    python benchmarks/causes_studies.py behaviour                     a risk score that behaviour never touches
    python benchmarks/causes_studies.py gates                         the frontier: one gate left out at a time

Each prints its table in Markdown, and writes it to --out where given.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from causes import (
    CAPACITY,
    SCORED,
    Cases,
    cases_on_list,
    default_run,
    explained_by,
    figures,
    joined,
    simulate_county,
    simulated_cases,
    training_cohorts,
    truth_of,
)
from sklearn.metrics import average_precision_score, roc_auc_score

import riskmodel as rm
from riskmodel.alerts.alerts import attribute
from riskmodel.alerts.scoring import Scores
from riskmodel.catalogue.signs import VerdictRule
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.evaluation.metrics import Interval
from riskmodel.evaluation.verdicts import OBJECTIVE_TRUTHS, RIGHT, clopper_pearson_upper, control_risk
from riskmodel.explain.causes import VERDICTS, judge_causes
from riskmodel.model.bundle import RiskModel
from riskmodel.model.training import fit_model
from riskmodel.register import Register
from riskmodel.settings import find_config
from riskmodel.simulation import World, world_of

MARGINS = (0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
BOUND = 0.01
SHOWN = ("false_subjective_rate", "subjective_precision", "subjective_recall", "coverage", "balanced_accuracy")


def choose(seed: int, households: int) -> str:
    """The laxest margin whose false-subjective rate is bounded, and what the verdicts are worth on the same cases."""
    cases = simulated_cases("hard", seed, households)
    shipped = cases.catalogue.rule

    def judge(margin: float) -> tuple[int, int]:
        verdict = cases.judged(dataclasses.replace(shipped, margin=margin)).verdicts["verdict"].to_numpy()
        return _false_households(cases, verdict)

    margin, tested = control_risk(MARGINS, judge, BOUND)
    if margin is None:
        return "No margin holds the bound: nothing was written.\n" + _markdown(pd.DataFrame(tested))
    rule = dataclasses.replace(shipped, margin=margin)
    verdicts = cases.judged(rule).verdicts
    like = np.where(
        (verdicts["verdict"] == "objective") & (verdicts["signs"] != ""), "objective_with_a_sign", verdicts["verdict"]
    )
    right = {}
    for case in ("objective", "objective_with_a_sign", "subjective", "mixed"):
        rows = cases.returned & (like == case)
        hits = cases.truth["cause"][rows].map(RIGHT) == case.removesuffix("_with_a_sign")
        if case == "subjective":
            hits |= cases.truth["cause"][rows] == "joint"
        right[case] = round(float((hits.sum() + 1) / (rows.sum() + 2)), 3)
    chosen = next(row for row in tested if row["candidate"] == margin)
    evidence = {
        "world": "hard", "seed": seed, "households": households, "date": dt.date.today().isoformat(),
        "returned_alerts": int(cases.returned.sum()), "bound": BOUND, "level": 0.95,
        "false_subjective_households": chosen["events"], "objective_households": chosen["cases"],
        "upper95": round(chosen["upper"], 5),
    }  # fmt: skip
    file = find_config("verdict.yaml")
    head = "".join(line for line in file.read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    numbers = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule) if f.name not in ("right", "evidence")}
    content = yaml.safe_dump({**numbers, "right": right, "evidence": evidence}, sort_keys=False, allow_unicode=True)
    file.write_text(head + content, encoding="utf-8")
    return _markdown(pd.DataFrame(tested)) + f"\nmargin {margin}; right: {right}\n"


def prevalence(seed: int, households: int) -> str:
    """The figures as low effort becomes more common, from nobody on."""
    rows = []
    for share in (0.0, 0.05, 0.1, 0.2):
        cases = simulated_cases("hard", seed, households, share)
        rows.append({"low effort": f"{share:.0%}", **_row(cases)})
    return _markdown(pd.DataFrame(rows))


def worsening(seed: int, households: int) -> str:
    """The figures as the office sees less."""
    hard = world_of("hard")
    recording = hard.recording
    worlds = {
        f"illness unrecorded {share:.0%}": _recording(hard, illness_unrecorded=share, care_unrecorded=min(0.95, share))
        for share in (0.0, 0.3, 0.6, 0.9)
    }
    for factor in (0.0, 2.0):
        low, high = (min(0.6, factor * x) for x in recording.field_missing)
        worlds[f"fields missing {low:.0%} to {high:.0%}"] = _recording(hard, field_missing=(low, high))
    for factor in (3.0, 6.0):
        worlds[f"values mistaken {factor * recording.field_mistaken:.0%}, noise {factor * recording.money_error:.0%}"] = (
            _recording(hard, field_mistaken=factor * recording.field_mistaken, money_error=factor * recording.money_error)
        )
    rows = [{"records": name, **_row(simulated_cases(world, seed, households))} for name, world in worlds.items()]
    return _markdown(pd.DataFrame(rows))


@contextmanager
def hard_county(run: rm.Run, seed: int, households: int) -> Iterator[tuple[Register, pd.DataFrame, Cohorts, RiskModel]]:
    """A county of the hard world, while it lasts: its register, its truth, its cohorts and the model of the run."""
    with tempfile.TemporaryDirectory(prefix="causes-") as name:
        folder = Path(name)
        simulate_county(folder, "hard", households, seed, None)
        register = Register.open(folder / "register")
        cohorts = training_cohorts(register, run)
        yield register, truth_of(folder), cohorts, fit_model(cohorts, run)


def stability(seed: int, households: int, retrainings: int = 20) -> str:
    """How many verdicts stay when the model is trained again on a bootstrap sample, and from month to month."""
    run = default_run()
    with hard_county(run, seed, households) as (register, _, cohorts, model):
        scores = rm.score(register, model, SCORED[1])
        first = _verdicts(scores)
        covered = (first["verdict"] != "undetermined").to_numpy()
        generator = np.random.default_rng(seed)
        ids = cohorts.frame["household_id"].to_numpy()
        names = np.unique(ids)
        same = []
        for _ in range(retrainings):
            drawn = pd.Series(generator.choice(names, len(names))).value_counts()
            rows = np.repeat(np.arange(len(ids)), drawn.reindex(ids).fillna(0).to_numpy(int))
            again = fit_model(dataclasses.replace(cohorts, frame=cohorts.frame.iloc[rows].reset_index(drop=True)), run)
            verdict = _verdicts(explained_by(scores, again))["verdict"]
            same.append(float((verdict == first["verdict"])[covered].mean()))
        later = _verdicts(rm.score(register, model, _next_month(SCORED[1])))
    both = first.merge(later, on="household_id", suffixes=("", "_later"))
    basis = ["signs", "strong_signs", "failed_gates", "excuses", "protected", *(c for c in first if c.startswith("fact_"))]
    still = np.logical_and.reduce([both[c] == both[f"{c}_later"] for c in basis])
    changed = (both["verdict"] != both["verdict_later"])[still]
    table = pd.DataFrame(
        [
            {
                "what": f"{retrainings} retrainings on bootstrap samples of households",
                "alerts": int(covered.sum()),
                "share that agrees": f"{np.mean(same):.3f} (least {min(same):.3f})",
            },
            {
                "what": "from one month to the next, no sign, fact, gate or excuse changed",
                "alerts": int(still.sum()),
                "share that agrees": f"{1 - changed.mean():.3f}",
            },
        ]
    )
    return _markdown(table)


def controls(seed: int, households: int) -> str:
    """A model that learned nothing must name nobody."""
    run = default_run()
    rows = []
    with hard_county(run, seed, households) as (register, truth, cohorts, real):
        scores = rm.score(register, real, SCORED[1])
        generator = np.random.default_rng(seed)
        frame = cohorts.frame.copy()
        frame["outcome"] = frame.groupby("as_of")["outcome"].transform(lambda s: generator.permutation(s.to_numpy()))
        shuffled = fit_model(dataclasses.replace(cohorts, frame=frame), run)
        for label, model in (("trained on outcomes", real), ("trained on shuffled outcomes", shuffled)):
            cases = cases_on_list(scores, model, truth, "0")
            verdict = cases.judged().verdicts["verdict"]
            rows.append({"model": label, "alerts": len(verdict), **{v: int((verdict == v).sum()) for v in VERDICTS}})
    return _markdown(pd.DataFrame(rows))


def attributions(seed: int, households: int) -> str:
    """Which Shapley values part subjective from objective returns best, and name a shock that was needed."""
    from riskmodel.explain.shapley import GroupExplainer

    run = default_run()
    parts: dict[str, list[Cases]] = {}
    with hard_county(run, seed, households) as (register, truth, cohorts, model):
        groups = {f: model.catalogue.by_name[f].driver for f in model.inputs}
        background = model.matrix(cohorts.frame.iloc[:: max(1, len(cohorts.frame) // 1000)])
        booster = model.estimator.booster_
        explainers = {
            "interventional groups": GroupExplainer(booster, groups, background, feature_perturbation="interventional"),
        }
        for as_of in SCORED:
            cases = cases_on_list(rm.score(register, model, as_of), model, truth, "0")
            parts.setdefault("path-dependent groups", []).append(cases)
            by_feature, _ = model.contributions(cases.features)
            summed = by_feature.T.groupby(groups).sum().T[list(cases.drivers.columns)]
            parts.setdefault("sum of feature SHAP", []).append(dataclasses.replace(cases, drivers=summed))
            for kind, explainer in explainers.items():
                found = explainer(model.matrix(cases.features))
                drivers = pd.DataFrame(found.values, columns=found.feature_names, index=cases.drivers.index)
                drivers = drivers[list(cases.drivers.columns)] * model.calibration.slope
                parts.setdefault(kind, []).append(dataclasses.replace(cases, drivers=drivers))
    rows = []
    for kind, of_kind in parts.items():
        cases = joined(of_kind)
        rows.append({"log-odds per driver": kind, **_separation(cases), **_row(cases)})
    return _markdown(pd.DataFrame(rows))


def behaviour(seed: int, households: int) -> str:
    """One model, or a risk score without behaviour beside an attribution model with it."""
    run = default_run()
    rows = []
    with hard_county(run, seed, households) as (register, truth, cohorts, full):
        without = fit_model(cohorts, run.model_copy(update={"leave_out": ["work", "land", "refusal"]}))
        for label, ranks in (("behaviour in the score", full), ("behaviour in the attribution only", without)):
            parts, risks = [], []
            for as_of in SCORED:
                scores = rm.score(register, ranks, as_of)
                parts.append(cases_on_list(scores, full, truth, "0"))
                risks.append(scores.frame.merge(truth[["household_id", "as_of", "returned"]], on=["household_id", "as_of"]))
            risk = pd.concat(risks)
            rows.append(
                {
                    "model": label,
                    "ROC-AUC": f"{roc_auc_score(risk['returned'], risk['risk']):.3f}",
                    "PR-AUC": f"{average_precision_score(risk['returned'], risk['risk']):.3f}",
                    **_row(joined(parts)),
                }
            )
    return _markdown(pd.DataFrame(rows))


def gates(seed: int, households: int) -> str:
    """What each gate and excuse costs in recall and saves in false verdicts: the frontier."""
    cases = simulated_cases("hard", seed, households)
    catalogue = cases.catalogue
    rows = [{"left out": "nothing", **_row(cases)}]
    for part in ("gates", "excuses"):
        for condition in getattr(catalogue, part):
            kept = tuple(c for c in getattr(catalogue, part) if c is not condition)
            other = dataclasses.replace(cases, catalogue=dataclasses.replace(catalogue, **{part: kept}))
            rows.append({"left out": f"{part.removesuffix('s')} {condition.name}", **_row(other)})
    for margin in MARGINS:
        rule = dataclasses.replace(catalogue.rule, margin=margin)
        rows.append({"left out": f"margin {margin}", **_row(cases, rule)})
    return _markdown(pd.DataFrame(rows))


def _recording(world: World, **changes: object) -> World:
    return dataclasses.replace(world, recording=dataclasses.replace(world.recording, **changes))


def _verdicts(scores: Scores) -> pd.DataFrame:
    found = attribute(scores, CAPACITY)
    causes = judge_causes(scores.model.catalogue, found.drivers, found.features, found.bounds, found.behaviour)
    return causes.verdicts.assign(household_id=found.alerts["household_id"])


def _next_month(month: str) -> str:
    return str(pd.Period(month, freq="M") + 1)


def _false_households(cases: Cases, verdict: np.ndarray) -> tuple[int, int]:
    """Households called subjective though their return was objective, and households with an objective return."""
    objective = cases.returned & cases.truth["cause"].isin(OBJECTIVE_TRUTHS).to_numpy()
    false = objective & (verdict == "subjective")
    return len(set(cases.households[false])), len(set(cases.households[objective]))


def _separation(cases: Cases) -> dict[str, str]:
    """AUC of the subjective share, and how often the largest objective shock driver was a shock that was needed."""
    catalogue, rows = cases.catalogue, cases.returned
    sides = {
        s: [d.name for d in catalogue.drivers if d.nature == s and d.name in cases.drivers]
        for s in ("objective", "subjective")
    }
    push = {s: cases.drivers[names].clip(lower=0).sum(axis=1) for s, names in sides.items()}
    share = (push["subjective"] / (push["subjective"] + push["objective"]).clip(lower=1e-9))[rows]
    truth = cases.truth["cause"][rows]
    clear = truth.isin(("subjective", "objective"))
    shocks = [d.name for d in catalogue.drivers if d.kind == "shock" and d.name in cases.drivers]
    needed = cases.truth["necessary"][rows].fillna("")
    asked = needed != ""
    top = cases.drivers.loc[rows, shocks].idxmax(axis=1)
    hit = [t in n.split(",") for t, n in zip(top[asked], needed[asked], strict=True)]
    return {
        "AUC of subjective share": f"{roc_auc_score(truth[clear] == 'subjective', share[clear]):.3f}",
        "largest shock was needed": f"{np.mean(hit):.3f}",
    }


def _row(cases: Cases, rule: VerdictRule | None = None) -> dict[str, str]:
    """The figures in words."""
    verdicts = cases.judged(rule).verdicts
    found = figures(cases, verdicts["verdict"].to_numpy(), verdicts["verdict_confidence"].to_numpy(), replicates=100)
    row = {"returned": str(found["alerts"]), "called subjective": str(found["called_subjective"])}
    for name in SHOWN:
        value = found[name]
        assert isinstance(value, Interval)
        row[name.replace("_", " ")] = (
            "" if np.isnan(value.value) else f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
        )
    row["upper 95"] = f"{found['false_subjective_upper95']:.4f}"
    everyone = verdicts["verdict"].to_numpy() == "subjective"
    row["per 1,000 alerts"] = (
        f"{1000 * everyone.mean():.1f} (<= {1000 * clopper_pearson_upper(int(everyone.sum()), len(everyone)):.1f})"
    )
    return row


def _markdown(table: pd.DataFrame) -> str:
    head = "| " + " | ".join(map(str, table.columns)) + " |\n|" + " --- |" * len(table.columns)
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, *lines]) + "\n"


STUDIES = {f.__name__: f for f in (choose, prevalence, worsening, stability, controls, attributions, behaviour, gates)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--seed", type=int, default=40)
    parser.add_argument("--households", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = STUDIES[given.study](given.seed, given.households)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
