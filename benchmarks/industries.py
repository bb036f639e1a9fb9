"""Does the support-off list find the households that fall when support is switched off, on simulated counties?

A household **truly falls** for want of support when it is at risk at the end of a month, falls within twelve months in the
life of the county in which the policy support of projects ends with that month (`simulation.founding.unsupported_county`),
and does not fall in the life with support; both lives draw the same random numbers. What falls is the label's: below the
line twice, a guarantee lost, sudden difficulty. Two kinds are told: `alone`, where in both lives nothing new befalls
anybody after the month, so that support and what had begun decide; and `with_luck`, where illness, weather and work go on:
some of those households fall only because the end of support and a later shock came together, which no list of that month
can know.

A household is found if it stands on the support-off list or on the ordinary list of the month; `new` counts those that the
ordinary list does not hold. Both is told of the first grade of the list alone (`by_books`) and of the whole, and of each
grade how many of it truly fall, and how many fall in the life without support at all, whether or not they fall with it
(`in_the_end`). The lists see only the register as known in that month. The counties lean on projects more than the
shipped worlds do (a project in nine villages of ten, four households of five linked, less above the line to begin
with): in those a county of 3,000 has about two such households, too few to measure a share by.

    python benchmarks/industries.py --seeds 1 2 3 4 --households 3000 --json figures.json
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

import riskmodel as rm
from benchmarks.figures import asked_of_counties, tell
from riskmodel.alerts.scoring import score
from riskmodel.evaluation.metrics import wilson
from riskmodel.model.training import fit_model
from riskmodel.monitoring.industries import report_industries
from riskmodel.monitoring.part import Asked
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.support import COULD, FALLS
from riskmodel.months import month_number, month_text
from riskmodel.register import Register, ingest
from riskmodel.settings import Capacity, Cohorts, Label, Run, find_config
from riskmodel.simulation import simulate
from riskmodel.simulation.founding import found_county
from riskmodel.simulation.truth import falls_by_support
from riskmodel.simulation.world import World, world_of

MONTHS, TRAINED_TO, AT = 42, 22, 29
RUN = Run(
    label=Label(horizon_months=12),
    cohorts=Cohorts(warm_up_months=3),
    capacity=Capacity(share=0.1),
    lightgbm={"n_estimators": 80, "learning_rate": 0.08, "min_data_in_leaf": 30},
)


KINDS = {"alone": True, "with_luck": False}


def leaning_world(name: str) -> World:
    """A shipped world whose households lean on projects."""
    world = world_of(name)
    return replace(world, economy=replace(world.economy, projects=0.9, linked=0.8, floor=(1.1, 1.6)))


def listed_and_true(world: World, seed: int, households: int, folder: Path) -> pd.DataFrame:
    """One row per household at risk: `listed` (with support), `grade` and place (`nth`) on the support-off list, and whether
    it truly falls, by kind, and falls at all (`in_the_end`)."""
    simulate(folder / "source", world=world, households=households, months=MONTHS, seed=seed, with_truth=False)
    ingest(find_config("sources/simulated.yaml"), folder / "source", folder / "register")
    register = Register.open(folder / "register")
    first = month_number(register.first_month)
    months = [month_text(first + m) for m in range(3, TRAINED_TO - RUN.label.horizon_months, 2)]
    model = replace(fit_model(rm.build_cohorts(register, as_of=months, label=RUN.label), RUN), version="benchmark")
    found = report_industries(Asked(register, first + AT, Rules(), (), model)).tables["support_off"]
    rows = score(register, model, month_text(first + AT)).frame
    place, streams = found_county(world, households=households, months=MONTHS, seed=seed)
    homes = register.read("households")["household_id"].sort_values(ignore_index=True)
    at = homes.searchsorted(rows["household_id"])
    for kind, quiet in KINDS.items():
        falls = falls_by_support(place, streams, AT, RUN.label.horizon_months, quiet=quiet)
        rows[kind] = (falls["without"] & ~falls["with"])[at]
        rows[f"{kind}_in_the_end"] = falls["without"][at]
    rows["listed"] = rows["rank"] <= RUN.capacity.share * len(rows)
    grades = found.assign(nth=range(1, len(found) + 1)).set_index("household_id")[["grade", "nth"]]
    return rows.join(grades, on="household_id").assign(seed=seed)


def figures_of(rows: pd.DataFrame) -> dict[str, float]:
    """Shares found of those that truly fall, with Wilson intervals, and what each grade of the list holds beside them."""
    whole, first = rows["grade"].notna(), rows["grade"].eq(FALLS)
    figures: dict[str, float] = {"at_risk": len(rows), "support_off_list": int(whole.sum()), FALLS: int(first.sum())}

    def share(name: str, hits: pd.Series) -> None:
        figures.update({name: len(hits), f"{name}_found": int(hits.sum()), f"{name}_share": float(hits.mean())})
        figures[f"{name}_low"], figures[f"{name}_high"] = wilson(int(hits.sum()), len(hits))

    for kind in KINDS:
        true, new = rows[kind], rows[kind] & ~rows["listed"]
        for name, on in (("", whole), ("_by_books", first)):
            share(f"{kind}{name}", (on | rows["listed"])[true])
            share(f"{kind}_new{name}", on[new])
        for grade in (FALLS, COULD):
            share(f"{grade}_{kind}", true[rows["grade"].eq(grade)])
            share(f"{grade}_{kind}_in_the_end", rows.loc[rows["grade"].eq(grade), f"{kind}_in_the_end"])
    return figures


def by_length(rows: pd.DataFrame, lengths: tuple[int, ...] = (25, 50, 100, 200, 400)) -> list[dict[str, float]]:
    """What the first names of each county's list hold: how many of those that truly fall are on them or the month's list."""
    return [
        {
            "names": length,
            "alone_share": float((rows["nth"].le(length) | rows["listed"])[rows["alone"]].mean()),
            "truly_fall": float(rows.loc[rows["nth"].le(length), "alone"].mean()),
        }
        for length in lengths
    ]


def main() -> None:
    """Print the figures over all counties."""
    asked = asked_of_counties(__doc__, world="easy", seeds=[1, 2, 3], households=3000)
    parts = []
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as folder:
            parts.append(listed_and_true(leaning_world(asked.world), seed, asked.households, Path(folder)))
    figures: dict[str, Any] = {"world": asked.world, "seeds": asked.seeds, "households": asked.households}
    rows = pd.concat(parts, ignore_index=True)
    figures |= {**figures_of(rows), "by_length": by_length(rows)}
    tell(figures, asked.json)


if __name__ == "__main__":
    main()
