"""What the chance of re-entry is worth, on simulated counties that it was not made on.

Each county is reported on at its last month, as `riskmodel monitor --parts spells` does. The figures are those that the
report itself gives of its chances: a model that saw what was known on the first test day, on households looked at on the
last third of the days and watched to the end of the horizon, with 95 % intervals over households; against the Kaplan-Meier
curve by months since the exit.

    python benchmarks/reentry.py --worlds easy hard --seeds 92 93 --json figures.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd

from riskmodel.errors import NotEnoughData
from riskmodel.monitoring.part import Asked
from riskmodel.monitoring.reentry import BASE_RATE
from riskmodel.monitoring.rules import load_rules
from riskmodel.monitoring.spells import report_spells
from riskmodel.months import month_number
from riskmodel.register import Register, ingest
from riskmodel.settings import find_config
from riskmodel.simulation import simulate


def evaluated(world: str, seed: int, households: int, months: int, folder: Path) -> pd.DataFrame:
    """The table `reentry_evaluation` of one county.

    Raises
    ------
    NotEnoughData
        If there is too little to test a chance on; the report's own notes say of what.
    """
    simulate(folder / "source", world=world, households=households, months=months, seed=seed, with_truth=False)
    ingest(find_config("sources/simulated.yaml"), folder / "source", folder / "register")
    register = Register.open(folder / "register")
    asked = Asked(register, month_number(register.last_month), load_rules(), [], None)
    report = report_spells(asked)
    if "reentry_evaluation" not in report.tables:
        why = " ".join(english for english, _ in report.notes if english.startswith("Re-entry"))
        raise NotEnoughData(f"{world}, seed {seed}, {households:,} households over {months} months: {why}")
    found = report.tables["reentry_evaluation"]
    return found[found["model"] != BASE_RATE].assign(world=world, seed=seed)


def main() -> None:
    """Simulate the counties, report on each, and print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--worlds", nargs="+", default=["easy", "hard"], choices=["easy", "hard"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[92, 93])
    arguments.add_argument("--households", type=int, default=12_000)
    arguments.add_argument("--months", type=int, default=60)
    arguments.add_argument("--json", type=Path)
    asked = arguments.parse_args()
    parts, untested = [], []
    for world in asked.worlds:
        for seed in asked.seeds:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    parts.append(evaluated(world, seed, asked.households, asked.months, Path(folder)))
                except NotEnoughData as fault:
                    untested.append(str(fault))
    print(*untested, sep="\n", end="\n" if untested else "", file=sys.stderr)
    if not parts:
        sys.exit("Nothing to show: give more --households or --months.")
    rows = pd.concat(parts, ignore_index=True)
    rows["told"] = [f"{r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rows.itertuples()]
    rows["of"] = rows["entered"].map("{:,}".format) + " of " + rows["rows"].map("{:,}".format)
    by = ["kind", "horizon_months", "world", "seed", "of", "model"]
    print(rows.pivot(index=by, columns="metric", values="told").to_string())
    if asked.json:
        asked.json.write_text(rows.drop(columns=["told", "of"]).to_json(orient="records", indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
