"""How often misses are sorted into their true class, on simulated counties.

The true class is found without the sorter and without its rules: the same county is recorded again by an office that is
never late, then also makes no mistake, then also visits everybody; the same model scores these registers. The first office
with which list and outcome agree names the class. Mistakes come before visits, because a visit that was never made would
have brought mistakes of its own: an office that visits everybody and still errs draws new ones, and whether they put the
list right or wrong is luck. For what is left the county lives again with nothing new befalling anybody after the scored
month (a return that vanishes: shock after the score), or with no new help working (a return that appears: help worked); the
rest is model error.

A mistake is what stands in the books and is wrong or missing. What nobody ever wrote down (an illness, a care duty, an
event) no register can tell: `never_written` is the share of misses for which list and outcome agree only once it is.
`sure_right` is the share right among those that the sorter calls sure, `commonest_class` what naming the commonest true
class of missed returns and of false alerts would get right.

    python benchmarks/misses.py --world hard --seeds 1 2 --households 1500 --json figures.json
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import riskmodel as rm
from benchmarks.figures import asked_of_counties, tell
from riskmodel.alerts.alerts import explain_alerts
from riskmodel.alerts.month import write_month
from riskmodel.alerts.scoring import score
from riskmodel.cohort.labels import build_labels
from riskmodel.evaluation.metrics import wilson
from riskmodel.model.bundle import RiskModel
from riskmodel.model.training import fit_model
from riskmodel.monitoring.misses import CLASSES, FALSE, MISSED, agrees, report_misses
from riskmodel.monitoring.part import Asked, scored_months
from riskmodel.monitoring.rules import load_rules
from riskmodel.months import month_number, month_text
from riskmodel.register import Register, ingest
from riskmodel.settings import Capacity, Cohorts, Run, Split, find_config
from riskmodel.simulation import simulate
from riskmodel.simulation.founding import found_county
from riskmodel.simulation.truth import falls_without
from riskmodel.simulation.world import Recording, World, world_of

MONTHS, TRAINED_TO = 48, 24
SCORED = (30, 34, 38)
"""Months that are scored, counted from the first; each is after all training outcomes."""
OFFICES, COMPLETE = ("recorded_late", "data_wrong", "not_visited"), "complete"
RUN = Run(
    cohorts=Cohorts(warm_up_months=6),
    split=Split(calibration_months=9),
    capacity=Capacity(share=0.05),
    lightgbm={"n_estimators": 80, "learning_rate": 0.08, "min_data_in_leaf": 30},
)


def offices(recording: Recording) -> dict[str, Recording]:
    """The office as it is, and put right step by step."""
    punctual = replace(recording, late=(0.0, 0.0), event_days=0.0)
    exact = replace(punctual, field_missing=(0.0, 0.0), field_mistaken=0.0, money_error=0.0)
    visiting = replace(
        exact, visit_done=1.0, never_visited=0.0, department=1.0, department_sees_all=True, row_missing=0.0,
        left_register=0.0,
    )  # fmt: skip
    complete = replace(visiting, event_unrecorded=0.0, illness_unrecorded=0.0, care_unrecorded=0.0)
    return dict(zip(("as_it_is", *OFFICES, COMPLETE), (recording, punctual, exact, visiting, complete), strict=True))


def sorted_and_true(world: str, seed: int, households: int, folder: Path, low_effort: float | None = None) -> pd.DataFrame:
    """Every miss of the scored months with the class it was sorted into (`miss_class`) and the true one (`true_class`)."""
    chosen = world_of(world)
    if low_effort is not None:
        chosen = replace(chosen, effort=replace(chosen.effort, share=low_effort))
    registers = {}
    for name, recording in offices(chosen.recording).items():
        recorded = replace(chosen, recording=recording)
        simulate(folder / name / "source", world=recorded, households=households, months=MONTHS, seed=seed, with_truth=False)
        ingest(find_config("sources/simulated.yaml"), folder / name / "source", folder / name / "register")
        registers[name] = Register.open(folder / name / "register")
    register = registers["as_it_is"]
    first = month_number(register.first_month)
    cohorts = rm.build_cohorts(register, as_of=[month_text(first + m) for m in range(6, TRAINED_TO - 6, 3)], label=RUN.label)
    model = replace(fit_model(cohorts, RUN), version="benchmark")
    months = [first + m for m in SCORED]
    for month in months:
        scores = score(register, model, month_text(month))
        write_month(scores, explain_alerts(scores), folder / month_text(month), {})
    last = month_number(register.last_month)
    scored = scored_months([folder / month_text(m) for m in months], last)
    found = report_misses(Asked(register, last, load_rules(), scored, model)).tables["misses"]
    parts = [_true_classes(chosen, seed, households, registers, model, month, found) for month in months]
    return pd.concat(parts, ignore_index=True)


def _true_classes(
    world: World,
    seed: int,
    households: int,
    registers: dict[str, Register],
    model: RiskModel,
    month: int,
    found: pd.DataFrame,
) -> pd.DataFrame:
    misses = found[found["as_of"] == month_text(month)].reset_index(drop=True)
    scores = score(registers["as_it_is"], model, month_text(month)).frame
    least = scores[scores["rank"] <= np.ceil(RUN.capacity.share * len(scores))]["risk"].min()
    true = np.full(len(misses), "", dtype=object)
    for name in (*OFFICES, COMPLETE):
        risks = score(registers[name], model, month_text(month)).frame.set_index("household_id")["risk"]
        labels = build_labels(registers[name], [month], RUN.label, RUN.at_risk).set_index("household_id")["outcome"]
        risk, outcome = misses["household_id"].map(risks), misses["household_id"].map(labels)
        right = agrees(misses.assign(list_end=least), risk, outcome, load_rules().misses.material_odds)
        if name == COMPLETE:
            misses["never_written"] = (true == "") & right
        else:
            true[(true == "") & right] = name
    place, streams = found_county(world, households=households, months=MONTHS, seed=seed)
    falls = falls_without(place, streams, month - place.start, RUN.label.horizon_months)
    homes = registers["as_it_is"].read("households")["household_id"].sort_values(ignore_index=True)
    at = homes.searchsorted(misses["household_id"])
    missed = misses["miss"].eq(MISSED).to_numpy()
    true[(true == "") & missed & ~falls["shock"][at]] = "shock_after_score"
    true[(true == "") & ~missed & falls["help"][at]] = "help_worked"
    true[true == ""] = "model_error"
    return misses.assign(true_class=true)


def figures_of(pairs: pd.DataFrame) -> dict[str, float]:
    """Shares sorted into the true class, over all and by class, with Wilson intervals."""
    right = pairs["miss_class"].eq(pairs["true_class"])
    low, high = wilson(right.sum(), len(pairs))
    figures: dict[str, float] = {"misses": len(pairs), "right": float(right.mean()), "right_low": low, "right_high": high}
    figures["sure"] = int(pairs["sure"].sum())
    figures["sure_right"] = float(right[pairs["sure"]].mean())
    figures["sure_right_low"], figures["sure_right_high"] = wilson(right[pairs["sure"]].sum(), figures["sure"])
    figures["never_written"] = float(pairs["never_written"].mean())
    commonest = pairs.groupby("miss")["true_class"].agg(lambda names: names.value_counts().max())
    figures["commonest_class"] = float(commonest.sum() / len(pairs))
    for miss in (MISSED, FALSE):
        figures[f"{miss}_right"] = float(right[pairs["miss"] == miss].mean())
        figures[f"{miss}s"] = int(pairs["miss"].eq(miss).sum())
    for name in CLASSES:
        true, said = pairs["true_class"].eq(name), pairs["miss_class"].eq(name)
        figures[f"{name}_true"] = int(true.sum())
        figures[f"{name}_recall"] = float(right[true].mean()) if true.any() else float("nan")
        figures[f"{name}_precision"] = float(right[said].mean()) if said.any() else float("nan")
    return figures


def main() -> None:
    """Print the figures over all counties, and the table of true against sorted classes."""
    asked = asked_of_counties(__doc__, world="hard", seeds=[1], households=4000)
    parts = []
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as folder:
            parts.append(sorted_and_true(asked.world, seed, asked.households, Path(folder)).assign(seed=seed))
    pairs = pd.concat(parts, ignore_index=True)
    figures = {"world": asked.world, "seeds": asked.seeds, "households": asked.households, **figures_of(pairs)}
    print(pd.crosstab([pairs["miss"], pairs["true_class"]], pairs["miss_class"], margins=True).to_string())
    tell(figures, asked.json)


if __name__ == "__main__":
    main()
