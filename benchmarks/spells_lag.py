"""What spells of monitoring are worth where their books come late, on simulated counties whose books are known in full.

Each county is taken in without the days on which its office knew things: once without a lag, which is the truth of the day
of the report, and once for each lag. The figures of the report with a lag are held against the truth of the same day.

    python benchmarks/spells_lag.py --worlds easy hard --seeds 311 312 313 --lags 28 60 90
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.rules import load_rules
from riskmodel.monitoring.spells import report_spells
from riskmodel.months import month_number
from riskmodel.register import Register, ingest
from riskmodel.simulation import simulate_tables


def reported(tables: dict[str, pd.DataFrame], lag_days: int, as_of: str, folder: Path) -> Found:
    """The report on spells of a county whose books come so many days late."""
    source = {
        "source": "lag",
        "pseudonymised": True,
        "reporting_lag_days": lag_days,
        "tables": {name: {} for name in tables},
    }
    ingest(source, tables, folder)
    return report_spells(Asked(Register.open(folder), month_number(as_of), load_rules()))


def undated(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables with the last version of each record, without the day on which it was known."""
    records = tables["records"].sort_values("known_at").drop_duplicates(["household_id", "month"], keep="last")
    kept = {name: rows for name, rows in tables.items() if name != "truth"} | {"records": records}
    return {name: rows.drop(columns="known_at", errors="ignore") for name, rows in kept.items()}


def figures(found: Found) -> dict[str, float]:
    """Figures of monitoring: shares still in it, shares back, rate of repeated entry."""
    summary, back, rates = (
        found.tables[name].query("kind == 'monitoring'") for name in ("duration_summary", "reentry_by_month", "entry_rates")
    )
    whole = summary.query("entry == 'all'").iloc[0]
    curve = back.query("entry == 'all'")
    return {
        **{f"beyond {m} months": whole[f"beyond_{m}_share"] for m in (12, 24)},
        **{f"back within {m} months": curve.query("months <= @m")["back_share"].iloc[-1] for m in (12, 24)},
        "repeated entry": rates.query("entry == 'again'")["share"].iloc[0],
    }


def main() -> None:
    """Simulate the counties, report on each with every lag, and print by how much the figures are off."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--worlds", nargs="+", default=["easy", "hard"], choices=["easy", "hard"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[311, 312, 313])
    arguments.add_argument("--lags", type=int, nargs="+", default=[28, 60, 90])
    arguments.add_argument("--households", type=int, default=4_000)
    arguments.add_argument("--months", type=int, default=48)
    arguments.add_argument("--as-of", default="2024-09", help="the month of the report; the first month is 2021-01")
    asked = arguments.parse_args()
    rows = []
    for world in asked.worlds:
        for seed in asked.seeds:
            tables = undated(simulate_tables(world=world, households=asked.households, months=asked.months, seed=seed,
                                             with_truth=False))  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                truth, *late = (reported(tables, lag, asked.as_of, Path(folder) / str(lag)) for lag in (0, *asked.lags))
            stay = set(truth.tables["long_stays"]["household_id"])
            for lag, found in zip(asked.lags, late, strict=True):
                off = pd.Series(figures(found)) / pd.Series(figures(truth)) - 1
                left = 1 - found.tables["long_stays"]["household_id"].isin(stay).mean()
                rows.append({"world": world, "seed": seed, "lag": lag, **off, "of long stays have left": left})
    told = pd.DataFrame(rows).set_index(["world", "seed", "lag"])
    print(f"Off the truth of {asked.as_of}, mean over {told.groupby('lag').size().iloc[0]} counties (least to most), in %:")
    by_lag = (told * 100).groupby("lag").agg(["mean", "min", "max"])
    shown = {
        name: [f"{r['mean']:.1f} ({r['min']:.1f} to {r['max']:.1f})" for _, r in by_lag[name].iterrows()] for name in told
    }
    print(pd.DataFrame(shown, index=by_lag.index).T.to_string())


if __name__ == "__main__":
    main()
