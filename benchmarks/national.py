"""Registers of any size in seconds, for measuring: a county a file, 24 months, 40 columns of records, and events.

Households are drawn with a level, a size and a mix of incomes of their own, months move them a little, fields are carried
forward between visits and go missing, as in registers. Nothing is to be learned from them; `riskmodel.simulation` is the
place for that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.register import commit_directory, load_contract
from riskmodel.register.store import table_file

FIRST_YEAR, MONTHS, LINE = 2022, 24, 8_000.0
PER_COUNTY = 100_000
MISSING = 0.05
MONEY = {  # share of a household's income, and how much of it moves from month to month
    "wage_income": (0.5, 0.1), "production_income": (0.25, 0.1), "property_income": (0.02, 0.02),
    "transfer_income": (0.2, 0.05), "production_cost": (0.08, 0.1), "claims": (0.02, 0.5), "selfpay": (0.06, 0.4),
    "schooling_cost": (0.05, 0.2), "debt": (0.6, 0.1), "debt_service": (0.05, 0.1),
}  # fmt: skip
PEOPLE = {  # members, as a share of the household
    "n_children": 0.2, "n_elderly": 0.2, "n_working_age": 0.6, "n_able": 0.5, "n_weak_labour": 0.1, "n_no_labour": 0.05,
    "n_skilled": 0.1, "n_students": 0.2, "n_major_illness": 0.04, "n_chronic": 0.1, "n_disabled": 0.05, "n_carers": 0.04,
    "n_working": 0.45, "n_unemployed": 0.04,
}  # fmt: skip
EVENTS = ("illness", "accident", "disaster", "price_fall", "laid_off", "care_duty")


def make_register(out: Path, households: int | Sequence[int], seed: int = 0, workers: int = 2) -> None:
    """Write a register of so many households in counties of `PER_COUNTY`, or of so many in each county."""
    sizes = households
    if isinstance(households, int):
        sizes = [min(PER_COUNTY, households - start) for start in range(0, households, PER_COUNTY)]
    counties = [f"c{number:05d}" for number in range(len(sizes))]

    def write(stage: Path) -> None:
        for table in ("records", "households", "events", "villages"):
            (stage / "tables" / table).mkdir(parents=True)
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(partial(_write_county, stage, seed), range(len(sizes)), counties, sizes))

    about = {
        "source": "national", "source_sha256": "", "inputs": {}, "step_months": 1, "reporting_lag_days": 0,
        "counties": counties, "first_month": f"{FIRST_YEAR}-01", "last_month": f"{FIRST_YEAR + MONTHS // 12 - 1}-12",
        "revised": [], "columns": _columns(seed), "extra_columns": {}, "counts": {}, "warnings": {},
    }  # fmt: skip
    commit_directory(out, write, kind="register", about=about)


def _columns(seed: int) -> dict[str, list[str]]:
    return {name: table.column_names for name, table in county_tables("c", 10, seed).items()}


def _write_county(stage: Path, seed: int, number: int, county: str, households: int) -> None:
    for name, table in county_tables(county, households, seed + number).items():
        pq.write_table(
            table, stage / table_file(name, county), compression="zstd", row_group_size=122_880, use_dictionary=True
        )


def county_tables(county: str, households: int, seed: int) -> Mapping[str, pa.Table]:
    """The tables of one county, rows in the register's order."""
    rng = np.random.default_rng(seed)
    types = {name: table.columns for name, table in load_contract().tables.items()}
    ids = pa.array([f"{county}{n:07d}" for n in range(households)])
    villages = np.sort(rng.integers(0, max(1, households // 400), households))
    village = pa.array([f"{county}v{v:04d}" for v in range(villages.max() + 1)])
    people = {
        "household_id": ids,
        "county_id": pa.array(np.repeat(county, households)),
        "township_id": pa.array([f"{county}t{v // 15:03d}" for v in villages]),
        "village_id": village.take(pa.array(villages)),
        "household_type": pa.array(np.where(rng.random(households) < 0.4, "lifted", "ordinary")),
        "relocated": pa.array(rng.random(households) < 0.1),
        "opted_out": pa.array(np.arange(households) % 1000 == 7),
    }
    records = _records(rng, households)
    months = np.array([dt.date(FIRST_YEAR + m // 12, m % 12 + 1, 1) for m in range(MONTHS)], "datetime64[D]")
    ends = (months.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
    which = pa.array(np.repeat(np.arange(households, dtype=np.int32), MONTHS))
    rows: dict[str, pa.Array] = {
        "household_id": ids.take(which),
        "month": pa.array(np.tile(months, households)),
        "known_at": pa.array(np.tile(ends, households)),
    }
    for name, values in records.items():
        whole = types["records"][name].type == "integer"
        gone = rng.random(len(values), np.float32) < (0 if name in ("hh_size", "line") else MISSING)
        kept = values if values.dtype == bool else values.astype(np.int32 if whole else np.float64)
        rows[name] = pa.array(kept, mask=gone)
    return {
        "records": pa.table(rows),
        "households": pa.table(people),
        "events": _events(rng, ids, months, households),
        "villages": _villages(rng, village, months, ends),
    }


def _records(rng: np.random.Generator, households: int) -> dict[str, np.ndarray]:
    """Columns, households x months as rows."""
    shape = (households, MONTHS)
    level = LINE * 1.6 * np.exp(0.45 * rng.standard_normal(households, np.float32))
    size = 1 + rng.binomial(6, 0.42, households).astype(np.float32)
    walk = np.cumsum(0.06 * rng.standard_normal(shape, np.float32), axis=1)
    welfare = level[:, None] * np.exp(walk)
    income = welfare * size[:, None]
    found = {"welfare": welfare.round(0), "line": np.full(shape, LINE), "hh_size": np.repeat(size[:, None], MONTHS, axis=1)}
    for name, (share, moves) in MONEY.items():
        own = share * np.exp(0.5 * rng.standard_normal((households, 1), np.float32))
        quarterly = np.exp(moves * rng.standard_normal((households, MONTHS // 3), np.float32)).repeat(3, axis=1)
        found[name] = (income * own * quarterly).round(-1)
    for name, share in PEOPLE.items():
        members = rng.binomial(size.astype(int), share)[:, None].astype(np.float32)
        changed = rng.random(shape, np.float32) < 0.01
        found[name] = np.clip(members + changed * rng.integers(-1, 2, shape), 0, size[:, None])
    able = found["n_able"]
    found["n_working"] = np.minimum(found["n_working"], able)
    found["days_available"] = (able * rng.integers(16, 26, shape)).astype(np.float32)
    found["days_worked"] = (found["days_available"] * rng.random(shape, np.float32)).round(0)
    found["migrant_months"] = (able * rng.integers(0, 12, (households, 1))).astype(np.float32)
    found["land_mu"] = np.repeat(rng.gamma(2, 2, (households, 1)).astype(np.float32).round(1), MONTHS, axis=1)
    found["land_idle_mu"] = (found["land_mu"] * (rng.random(shape, np.float32) < 0.1)).astype(np.float32)
    found["schooling_years_max"] = np.repeat(rng.integers(3, 16, (households, 1)), MONTHS, axis=1).astype(np.float32)
    found["training_done"] = (rng.random(shape, np.float32) < 0.03).astype(np.float32)
    for name in ("debt_overdue", "housing_ok", "water_ok", "medical_ok", "schooling_ok"):
        found[name] = rng.random(shape, np.float32) < (0.03 if name == "debt_overdue" else 0.999)
    return {name: values.reshape(-1) for name, values in found.items()}


def _events(rng: np.random.Generator, ids: pa.Array, months: np.ndarray, households: int) -> pa.Table:
    struck = np.sort(rng.integers(0, households, max(1, households // 5)))
    onset = months[rng.integers(0, MONTHS, len(struck))]
    order = np.lexsort((onset, struck))
    return pa.table(
        {
            "household_id": ids.take(pa.array(struck[order])),
            "kind": pa.array(np.array(EVENTS)[rng.integers(0, len(EVENTS), len(struck))]),
            "onset_on": pa.array(onset[order]),
            "known_at": pa.array(onset[order] + rng.integers(1, 60, len(struck)).astype("timedelta64[D]")),
            "loss": pa.array(rng.gamma(2, 2_000, len(struck)).round(0)),
        }
    )


def _villages(rng: np.random.Generator, village: pa.Array, months: np.ndarray, ends: np.ndarray) -> pa.Table:
    n = len(village)
    return pa.table(
        {
            "village_id": village.take(pa.array(np.repeat(np.arange(n), MONTHS))),
            "month": pa.array(np.tile(months, n)),
            "known_at": pa.array(np.tile(ends, n)),
            "minutes_to_county": pa.array(np.repeat(rng.integers(10, 120, n), MONTHS).astype(float)),
            "price_index": pa.array(100 * np.exp(0.05 * rng.standard_normal(n * MONTHS))),
        }
    )


def describe(register: Path) -> dict[str, Any]:
    """Size of a register on disk."""
    files = list((register / "tables").rglob("*.parquet"))
    return {"gib_on_disk": sum(f.stat().st_size for f in files) / 2**30, "files": len(files)}
