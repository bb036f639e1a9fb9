"""A register of any size from a few simulated counties, for measuring: all tables, hard world, late and missing records.

A few counties of `PIECE` households are simulated with different seeds and ingested; every county of the register is made of
all of them, under ids of its own and with each household's amounts multiplied by a factor of its own (0.9 to 1.1), so that
no two households are alike. Made in seconds by SQL; the distributions, gaps and delays are the simulator's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from riskmodel.register import Register, commit_directory, ingest, load_contract
from riskmodel.register.store import table_file
from riskmodel.settings import find_config
from riskmodel.simulation import simulate

PIECE, PIECES = 12_500, 4
_IDS = ("household_id", "village_id", "township_id", "project_id")


def pieces(folder: Path, months: int, households: int = PIECE, number: int = PIECES) -> list[Register]:
    """Registers of simulated counties, made where they are not there yet."""
    found = []
    for seed in range(number):
        register = folder / f"piece-{households}-{months}-{seed}"
        if not (register / "manifest.json").is_file():
            source = folder / f"source-{seed}"
            simulate(source, world="hard", households=households, months=months, seed=seed, with_truth=False)
            ingest(find_config("sources/simulated.yaml"), source, register)
        found.append(Register.open(register))
    return found


def make_register(out: Path, folder: Path, households: int, months: int) -> Register:
    """Write a register of so many households, in counties of at most `PIECE * PIECES`."""
    whole = PIECE * PIECES
    parts = pieces(folder, months) if households >= whole else pieces(folder, months, max(households // PIECES, 50))
    size = sum(count(part) for part in parts)
    counties = [f"{k:06d}" for k in range(1, max(1, round(households / size)) + 1)]
    columns = {table: parts[0].columns(table) for table in parts[0].tables}
    columns = {t: [c for c in held if all(c in part.columns(t) for part in parts)] for t, held in columns.items()}

    def write(stage: Path) -> None:
        for county in counties:
            for table in columns:
                file = stage / table_file(table, county)
                file.parent.mkdir(parents=True, exist_ok=True)
                if not file.is_file():
                    _write(file, table, county, parts)

    about = parts[0].manifest["about"] | {"source": "copies", "counties": counties, "columns": columns, "counts": {}}
    commit_directory(out, write, kind="register", about=about)
    return Register.open(out)


def count(register: Register) -> int:
    """Households of a register."""
    return sum(duckdb.read_parquet(str(file)).count("*").fetchall()[0][0] for file in register.files("households"))


def _write(file: Path, table: str, county: str, parts: list[Register]) -> None:
    """One table of one county."""
    definition = load_contract().tables[table]
    selects = []
    for number, part in enumerate(parts):
        (source,) = part.files(table)[:1]
        names = duckdb.read_parquet(str(source)).columns
        selects.append(", ".join(_copied(name, definition.columns.get(name), county, number) for name in names))
    order = [name for name in definition.order if name in names]
    if table == "lines":
        sql = f"FROM read_parquet('{parts[0].files(table)[0]}')"
    else:
        each = (
            f"SELECT {select} FROM read_parquet('{part.files(table)[0]}')"
            for select, part in zip(selects, parts, strict=True)
        )
        sql = f"FROM ({' UNION ALL BY NAME '.join(each)}) ORDER BY {', '.join(order)}"
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET preserve_insertion_order = true")
        connection.execute(f"COPY ({sql}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")


def _copied(name: str, column: Any, county: str, number: int) -> str:
    if name in _IDS:
        return f"'{county}{number}' || {name} AS {name}"
    if name == "county_id":
        return f"'{county}' AS county_id"
    amount = column is not None and column.type == "number" and str(column.unit or "").startswith("yuan")
    if amount and name not in ("line", "amount", "revenue", "cost", "policy_support"):
        return f"{name} * (0.9 + 0.2 * (hash('{county}' || household_id) % 1000003) / 1000003.0) AS {name}"
    return name
