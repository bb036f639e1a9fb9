"""Drift on simulated counties: does the warning fire, and does recalibration put the next months right.

Until late 2022 every other fall goes unrecorded, then all are recorded: the rate doubles and the features stay. A model
trained to 2022-06 is recalibrated in 2024-01 on what is known by then, and both are held against 2024.

    python benchmarks/drift.py [counties] [households] [first seed]
"""

from __future__ import annotations

import sys
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import pandas as pd

from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.evaluation.calibration import calibration_in_the_large, interval_coverage
from riskmodel.evaluation.metrics import Scored, ece_null_band
from riskmodel.model.recalibration import recalibrate
from riskmodel.model.training import fit_model
from riskmodel.register import Register, ingest
from riskmodel.settings import Cohorts as Months
from riskmodel.settings import Run, Split, find_config
from riskmodel.simulation import simulate

TRAINED_TO, DRIFT_FROM, NOW, LATER = "2022-06", "2022-10", "2024-01", "2024-01"
RUN = Run(
    cohorts=Months(warm_up_months=3),
    split=Split(calibration_months=12),
    lightgbm={"n_estimators": 60, "learning_rate": 0.1, "min_data_in_leaf": 40},
)


def county(seed: int, households: int) -> Cohorts:
    """Cohorts of five years of a simulated county."""
    with tempfile.TemporaryDirectory() as folder:
        source, register = Path(folder) / "source", Path(folder) / "register"
        simulate(source, households=households, months=60, seed=seed, first_month="2020-01", with_truth=False)
        ingest(find_config("sources/simulated.yaml"), source, register)
        return build_cohorts(Register.open(register), label=RUN.label, at_risk=RUN.at_risk, months=RUN.cohorts)


def half_recorded(cohorts: Cohorts) -> Cohorts:
    """The same households, where until `DRIFT_FROM` every other fall was not recorded."""
    frame = cohorts.frame.copy()
    fall = frame["household_id"] + frame["outcome_month"].fillna("")
    unseen = fall.map(lambda key: zlib.crc32(key.encode()) % 2).eq(1) & (frame["as_of"] < DRIFT_FROM)
    frame.loc[unseen & frame["outcome"].eq(1), "outcome"] = 0.0
    return replace(cohorts, frame=frame)


def held_against_later(cohorts: Cohorts) -> list[dict[str, float | str | bool]]:
    """Figures before and after recalibration: the warning on recent months, the rest on later ones."""
    frame = cohorts.frame
    rows = frame[frame["as_of"] <= TRAINED_TO].reset_index(drop=True)
    model = replace(fit_model(replace(cohorts, frame=rows), RUN), evidence={"trained_to": TRAINED_TO})
    new = recalibrate(model, cohorts, as_of=NOW)
    found = new.evidence["recalibrated"]
    later = frame[(frame["as_of"] >= LATER) & frame["outcome"].notna()]
    last = later[later["as_of"] == later["as_of"].max()]
    figures = []
    for when, one in (("before", model), ("after", new)):
        check = calibration_in_the_large(later["outcome"].to_numpy(), one.risk(later), later["household_id"])
        ends, risk = one.interval(later), one.risk(last)
        ece = Scored(last["outcome"].to_numpy(), risk).metrics()["ece"]
        covers = (
            ends is not None and interval_coverage(later["outcome"], ends, households=later["household_id"])["holds"].all()
        )
        figures.append({
            "when": when, "recent_falls": found["events"], "warned": bool(found[when]["warning_en"]), "ratio": check.ratio,
            "holds_1": check.low <= 1 <= check.high, "warns_later": check.warns, "ece": ece,
            "ece_in_band": ece <= ece_null_band(risk, replicates=200).high, "interval_covers": covers,
        })  # fmt: skip
    return figures


def main(counties: int = 24, households: int = 1000, first: int = 100) -> None:
    """Print means over the counties."""
    found = []
    for seed in range(first, first + counties):
        steady = county(seed, households)
        for kind, cohorts in (("steady", steady), ("doubled", half_recorded(steady))):
            found += [{"county": kind, **row} for row in held_against_later(cohorts)]
    print(pd.DataFrame(found).groupby(["county", "when"], sort=False).mean().round(3).to_string())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
