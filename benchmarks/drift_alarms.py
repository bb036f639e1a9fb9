"""How often drift alarms without drift, and how surely it finds unit errors, on synthetic registers and simulated counties.

**Without drift**: registers of `benchmarks/national.py` (40 columns, no trend) are reported on in each month of the second
year, and the months with any alarm are counted. **Planted**: in copies of a register, on 5 % of the rows of one month one
column of money is written in another unit (fen, thousand yuan, ten thousand yuan, the month for the year, and back), or has
a digit too many or too few; found is an alarm `units` on that column, `alone` where no other column alarms. A value of
nothing stays nothing in any unit.

**Simulated counties** (`--counties`), of both worlds, are reported on in each month that has one of the year before, and the
errors are planted in the last one, every unit in every column of money: rare amounts are found more rarely.

**Under a model** (`--models`), counties of five years are reported on every third month (`--every`) with a model of their
first two and a half years; in copies, events, help or visits, or events of one kind, have not come in for a year before the
last of these months. The economy of the shipped worlds is not steady: wages grow by 7, 16, 20 and 6 % a year from 2020 to
2023, as published incomes did, the line by 5.7 and 2.7 %. In a still one (`--still`) wages, prices and the line stay as
they are: what alarms there alarms without drift.

    python benchmarks/drift_alarms.py --quiet 40 --planted 40 --households 3000 --json figures.json
    python benchmarks/drift_alarms.py --quiet 0 --planted 0 --counties 4 --json figures.json
    python benchmarks/drift_alarms.py --quiet 0 --planted 0 --models 2 [--every 1] [--still] --json figures.json
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.figures import tell
from benchmarks.national import MONEY, make_register
from riskmodel import Run, build_cohorts, train
from riskmodel.evaluation.metrics import wilson
from riskmodel.monitoring.drift import is_amount, report_drift
from riskmodel.monitoring.part import Asked
from riskmodel.monitoring.rules import Rules
from riskmodel.months import first_day, month_number, month_text
from riskmodel.register import Register, ingest, read_manifest
from riskmodel.settings import find_config
from riskmodel.simulation import World, simulate, world_of

LAST = month_number("2023-12")
UNITS = {
    "fen_for_yuan": 100.0, "yuan_for_fen": 0.01, "yuan_for_thousand": 1000.0, "thousand_for_yuan": 0.001,
    "ten_thousand_for_yuan": 0.0001, "month_for_year": 1 / 12, "year_for_month": 12.0, "digit_more": 10.0, "digit_less": 0.1,
}  # fmt: skip
SHARE = 0.05
WORLDS = ("easy", "hard")
KINDS = ("illness", "laid_off")


def alarms_of(register: Register, month: int) -> pd.DataFrame:
    """Alarms of a month."""
    return report_drift(Asked(register, month, Rules())).tables["alarms"]


def quiet(
    registers: int, households: int, months: Iterable[int], folder: Path, first: int = 0
) -> tuple[int, int, list[str]]:
    """Months with an alarm, months, and what alarmed, where nothing changed."""
    alarmed, looked, what = 0, 0, []
    for seed in range(first, first + registers):
        out = folder / f"quiet{seed}"
        make_register(out, [households], seed=1000 + seed, workers=1)
        for month in months:
            found = alarms_of(Register.open(out), month)
            alarmed, looked = alarmed + bool(len(found)), looked + 1
            what += (found["check"] + " " + found["name"]).tolist()
        shutil.rmtree(out)
    return alarmed, looked, what


def plant(register: Path, copy: Path, column: str, factor: float, seed: int, month: int = LAST) -> Register:
    """A copy of a register in which a column of `SHARE` of a month's rows is in another unit."""

    def change(rows: pa.Table) -> pa.Table:
        here = pc.equal(rows["month"], pa.scalar(first_day(month), pa.date32())).to_numpy()
        hit = here & (np.random.default_rng(seed).random(len(rows)) < SHARE)
        changed = pc.if_else(pa.array(hit), pc.multiply(rows[column], factor), rows[column])
        return rows.set_column(rows.column_names.index(column), column, changed)

    return rewritten(register, copy, "records", change)


def rewritten(register: Path, copy: Path, table: str, change: Callable[[pa.Table], pa.Table]) -> Register:
    """A copy of a register with a table changed, which is not held against its hashes as `Register.open` does."""
    shutil.copytree(register, copy)
    for file in sorted((copy / "tables" / table).glob("*.parquet")):
        changed = change(pq.read_table(file, partitioning=None))
        pq.write_table(changed, file, compression="zstd", row_group_size=122_880)
    return Register(copy, read_manifest(copy, kind="register"))


def planted(registers: int, households: int, folder: Path, first: int = 0) -> pd.DataFrame:
    """One row per planted error: column, unit, `found` and `alone`."""
    rows = []
    draw = np.random.default_rng([7, first])
    for seed in range(first, first + registers):
        out = folder / f"planted{seed}"
        make_register(out, [households], seed=5000 + seed, workers=1)
        for unit, factor in UNITS.items():
            column = draw.choice(list(MONEY))
            made = plant(out, folder / "copy", column, factor, seed)
            found = alarms_of(made, LAST)
            units = found[found["check"] == "units"]
            rows.append({
                "column": column, "unit": unit, "found": column in set(units["name"]),
                "alone": set(found["name"]) == {column},
            })  # fmt: skip
            shutil.rmtree(folder / "copy")
        shutil.rmtree(out)
    return pd.DataFrame(rows, columns=["column", "unit", "found", "alone"])


def make_county(
    out: Path, world: str | World, households: int, seed: int, months: int = 36, begin: str = "2021-01"
) -> Register:
    """The register of a simulated county."""
    with tempfile.TemporaryDirectory() as source:
        lived = {"world": world, "households": households, "months": months, "seed": seed, "first_month": begin}
        simulate(Path(source) / "tables", **lived, with_truth=False)
        ingest(find_config("sources/simulated.yaml"), Path(source) / "tables", out)
    return Register.open(out)


def make_still_county(out: Path, world: str, households: int, seed: int, months: int) -> Register:
    """The same where nothing grows; the line, which the simulator takes by the year, stays the same before 2021."""
    moving = world_of(world)
    still = replace(moving, economy=replace(moving.economy, wage_growth={}, growth_after=0.0, other_growth=0.0))
    return make_county(out, still, households, seed, months, begin="2014-01")


def in_counties(
    counties: int, households: int, folder: Path, first: int = 0, units: Iterable[str] = tuple(UNITS)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per quiet month with what alarmed, and one per planted error: as `planted`, with the values more than 0."""
    months, errors = [], []
    for world, seed in product(WORLDS, range(first, first + counties)):
        out = folder / f"{world}{seed}"
        register = make_county(out, world, households, seed)
        last = month_number(register.last_month)
        whose = {"world": world, "county": seed}
        for month in range(month_number(register.first_month) + 12, last + 1):
            found = alarms_of(register, month)
            months.append({**whose, "month": month_text(month), "alarms": "; ".join(found["check"] + " " + found["name"])})
        records = pq.read_table(next((out / "tables" / "records").glob("*.parquet")), partitioning=None)
        now = records.filter(pc.equal(records["month"], pa.scalar(first_day(last), pa.date32())))
        for column, unit in product(filter(is_amount, register.columns("records")), units):
            made = plant(out, folder / "copy", column, UNITS[unit], seed, last)
            found = alarms_of(made, last)
            errors.append({
                **whose, "column": column, "unit": unit, "values": pc.sum(pc.greater(now[column], 0)).as_py(),
                "found": column in set(found.loc[found["check"] == "units", "name"]),
                "alone": set(found["name"]) == {column},
            })  # fmt: skip
            shutil.rmtree(folder / "copy")
        shutil.rmtree(out)
    return pd.DataFrame(months), pd.DataFrame(errors)


def under_models(
    counties: int, households: int, folder: Path, first: int = 0, every: int = 3, still: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per quiet month with what alarmed, and one per table that came in no more, with whether it is named."""
    months, lacking = [], []
    for world, seed in product(WORLDS, range(first, first + counties)):
        out = folder / f"{world}{seed}"
        register = (make_still_county if still else make_county)(out, world, households, seed, months=60)
        begin, last = month_number(register.first_month), month_number(register.last_month)
        known = build_cohorts(register, [month_text(m) for m in range(begin + 6, begin + 30, 3)], 6)
        model = train(known, Run(label=known.label, split={"folds": 0}, models=["lightgbm"])).model
        whose = {"world": world, "county": seed}
        for month in range(begin + 33, last + 1, every):
            found = report_drift(Asked(register, month, Rules(), model=model)).tables["alarms"]
            told = found["about"] + " " + found["check"] + " " + found["name"] + " " + found["reference"]
            months.append({**whose, "month": month_text(month), "alarms": "; ".join(told)})
        for table, kind in (("events", None), ("assistance", None), ("visits", None), *(("events", kind) for kind in KINDS)):
            late = without_lately(out, folder / "copy", table, last - 12, kind)
            found = report_drift(Asked(late, last, Rules(), model=model)).tables["alarms"]
            named = set(found.loc[found["check"].isin(["lacking", "kind"]), "name"])
            what = kind or table
            lacking.append({**whose, "table": what, "found": what in named, "alone": named == {what}})
            shutil.rmtree(folder / "copy")
        shutil.rmtree(out)
    return pd.DataFrame(months), pd.DataFrame(lacking)


def without_lately(register: Path, copy: Path, table: str, month: int, kind: str | None = None) -> Register:
    """A copy of a register in which no row of a table, or none of a kind, became known after a month."""

    def change(rows: pa.Table) -> pa.Table:
        kept = pc.less(rows["known_at"], pa.scalar(first_day(month + 1), pa.date32()))
        return rows.filter(kept if kind is None else pc.or_(kept, pc.not_equal(rows["kind"], kind)))

    return rewritten(register, copy, table, change)


def told_of_models(months: pd.DataFrame, lacking: pd.DataFrame) -> dict[str, Any]:
    """Counts with Wilson intervals: months with an alarm, those without any of debt, and tables that were missed."""
    other = months["alarms"].str.replace(r"inputs level debt\w* \w+(; )?", "", regex=True)
    found: dict[str, Any] = {"months": len(months), "tables": len(lacking), "tables_found": int(lacking["found"].sum())}
    for name, alarms in (("alarmed", months["alarms"]), ("alarmed_but_for_debt", other)):
        low, high = wilson(int(alarms.ne("").sum()), len(months))
        found |= {name: int(alarms.ne("").sum()), f"{name}_low": low, f"{name}_high": high}
    found |= {"tables_alone": int(lacking["alone"].sum())}
    found |= {"tables_missed": lacking.loc[~lacking["found"], ["world", "county", "table"]].to_dict("records")}
    return found | {"what": months.loc[months["alarms"].ne("")].to_dict("records")}


def told_of_counties(months: pd.DataFrame, errors: pd.DataFrame) -> dict[str, Any]:
    """Counts with Wilson intervals: months with an alarm, and errors found by world and column."""
    alarmed = int(months["alarms"].ne("").sum())
    low, high = wilson(alarmed, len(months))
    by_column = errors.groupby(["world", "column"]).agg(
        values=("values", "mean"), planted=("found", "size"), found=("found", "sum"), alone=("alone", "sum")
    )
    return {
        "county_months": len(months), "county_months_alarmed": alarmed, "low": low, "high": high,
        "what": months.loc[months["alarms"].ne(""), ["world", "county", "month", "alarms"]].to_dict("records"),
        "planted_in_counties": len(errors), "found": int(errors["found"].sum()), "alone": int(errors["alone"].sum()),
        "by_column": by_column.reset_index().to_dict("records"),
        "by_unit": errors.groupby("unit")["found"].mean().to_dict(),
    }  # fmt: skip


def main() -> None:
    """Print counts with Wilson intervals."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--quiet", type=int, default=40, help="registers without drift, twelve months each")
    arguments.add_argument("--planted", type=int, default=40, help="registers with planted errors, nine each")
    arguments.add_argument("--counties", type=int, default=0, help="simulated counties of each world")
    arguments.add_argument("--models", type=int, default=0, help="simulated counties of each world with a model")
    arguments.add_argument("--every", type=int, default=3, help="with --models: months from one report to the next")
    arguments.add_argument("--still", action="store_true", help="with --models: nothing grows")
    arguments.add_argument("--households", type=int, default=3000)
    arguments.add_argument("--first", type=int, default=0, help="first seed")
    arguments.add_argument("--json", type=Path)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alarmed, months, what = quiet(asked.quiet, asked.households, range(LAST - 11, LAST + 1), Path(folder), asked.first)
        rows = planted(asked.planted, asked.households, Path(folder), asked.first)
        counties = in_counties(asked.counties, asked.households, Path(folder), asked.first) if asked.counties else None
        models = (
            under_models(asked.models, asked.households, Path(folder), asked.first, asked.every, asked.still)
            if asked.models
            else None
        )
    low, high = wilson(alarmed, months)
    figures = {"households": asked.households, "first": asked.first, "months_without_drift": months, "alarmed": alarmed}
    figures |= {"alarmed_share": alarmed / months if months else float("nan"), "low": low, "high": high, "what": what[:20]}
    found_low, found_high = wilson(int(rows["found"].sum()), len(rows))
    figures |= {
        "planted": len(rows), "found": int(rows["found"].sum()), "found_low": found_low, "found_high": found_high,
        "alone": int(rows["alone"].sum()), "by_unit": rows.groupby("unit")["found"].mean().to_dict(),
        "missed": rows.loc[~rows["found"], ["column", "unit"]].to_dict("records"),
    }  # fmt: skip
    figures |= {"counties": told_of_counties(*counties)} if counties else {}
    tell(figures | ({"models": told_of_models(*models)} if models else {}), asked.json)


if __name__ == "__main__":
    main()
