"""A register of any size from a few simulated counties, for measuring: all tables, hard world, late and missing records.

A few counties of `PIECE` households are simulated with different seeds and ingested; every county of the register is made of
all of them, under ids of its own and with each household's amounts multiplied by a factor of its own (0.9 to 1.1), so that
no two households are alike. Made in seconds by SQL; the distributions, gaps and delays are the simulator's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from riskmodel.register import Register, commit_directory, ingest, load_contract
from riskmodel.register.store import table_file
from riskmodel.settings import find_config
from riskmodel.simulation import simulate

PIECE, PIECES = 12_500, 4
_IDS = ("household_id", "village_id", "township_id", "project_id")


def pieces(
    folder: Path, months: int, households: int = PIECE, number: int = PIECES, first_month: str = "2021-01"
) -> list[Register]:
    """Registers of simulated counties, made where they are not there yet."""
    found = []
    for seed in range(number):
        register = folder / f"piece-{households}-{months}-{seed}"
        if not (register / "manifest.json").is_file():
            source = folder / f"source-{seed}"
            simulate(
                source, world="hard", households=households, months=months, seed=seed, first_month=first_month,
                with_truth=False,
            )  # fmt: skip
            ingest(find_config("sources/simulated.yaml"), source, register)
        found.append(Register.open(register))
    return found


def make_register(out: Path, folder: Path, households: int, months: int) -> Register:
    """Write a register of so many households, in counties of at most `PIECE * PIECES`."""
    whole = PIECE * PIECES
    parts = pieces(folder, months) if households >= whole else pieces(folder, months, max(households // PIECES, 50))
    size = sum(count(part) for part in parts)
    return copied(out, parts, [len(parts)] * max(1, round(households / size)))


def copied(out: Path, parts: Sequence[Register], copies: Sequence[int], revised: float = 0.0) -> Register:
    """Write a register of one county for each number of copies; the pieces are taken in turn.

    `revised` is the share of records that a later row corrects, known 10 to 130 days after: with another income, or none.
    """
    counties = {f"{k:06d}": number for k, number in enumerate(copies, 1)}
    columns = {table: parts[0].columns(table) for table in parts[0].tables}
    columns = {t: [c for c in held if all(c in part.columns(t) for part in parts)] for t, held in columns.items()}

    def write(stage: Path) -> None:
        for county in counties:
            for table in columns:
                file = stage / table_file(table, county)
                file.parent.mkdir(parents=True, exist_ok=True)
                if not file.is_file():
                    taken = [parts[number % len(parts)] for number in range(counties[county])]
                    _write(file, table, county, taken, len(parts), revised if table == "records" else 0.0)

    about = parts[0].manifest["about"] | {
        "source": "copies", "counties": list(counties), "columns": columns, "counts": {},
        "revised": ["records"] * (revised > 0),
    }  # fmt: skip
    commit_directory(out, write, kind="register", about=about)
    return Register.open(out)


def count(register: Register) -> int:
    """Households of a register."""
    return sum(duckdb.read_parquet(str(file)).count("*").fetchall()[0][0] for file in register.files("households"))


def _write(file: Path, table: str, county: str, parts: list[Register], different: int, revised: float) -> None:
    """One table of one county, of pieces of which so many are different."""
    definition = load_contract().tables[table]
    selects, digits = [], len(str(len(parts) - 1))
    for number, part in enumerate(parts):
        (source,) = part.files(table)[:1]
        names = duckdb.read_parquet(str(source)).columns
        prefix, again = f"{county}{number:0{digits}d}", county + f"{number // different or ''}"
        selects.append(", ".join(_copied(name, definition.columns.get(name), county, prefix, again) for name in names))
    order = [name for name in definition.order if name in names]
    if table == "lines":
        sql = f"FROM read_parquet('{parts[0].files(table)[0]}')"
    else:
        each = (
            f"SELECT {select} FROM read_parquet('{part.files(table)[0]}')"
            for select, part in zip(selects, parts, strict=True)
        )
        rows = " UNION ALL BY NAME ".join(each)
        if revised:
            rows = f"WITH rows AS ({rows}) FROM rows UNION ALL BY NAME {_CORRECTED.format(below=round(10_000 * revised))}"
        sql = f"FROM ({rows}) ORDER BY {', '.join(order)}"
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET preserve_insertion_order = true")
        connection.execute(f"COPY ({sql}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")


_CORRECTED = """
    SELECT * EXCLUDE (lot) REPLACE (
        CAST(known_at + INTERVAL (10 + lot % 121) DAY AS DATE) AS known_at,
        CASE WHEN lot % 4 > 0 THEN welfare * (0.6 + lot % 7 / 10.0) END AS welfare)
    FROM (SELECT *, hash(household_id, month) % 10000 AS lot FROM rows) WHERE lot < {below}"""


def _copied(name: str, column: Any, county: str, prefix: str, again: str) -> str:
    """A column of a copy: ids get a prefix, amounts the factor of the household in that copy of its piece."""
    if name in _IDS:
        return f"'{prefix}' || {name} AS {name}"
    if name == "county_id":
        return f"'{county}' AS county_id"
    amount = column is not None and column.type == "number" and str(column.unit or "").startswith("yuan")
    if amount and name not in ("line", "amount", "revenue", "cost", "policy_support"):
        return f"{name} * (0.9 + 0.2 * (hash('{again}' || household_id) % 1000003) / 1000003.0) AS {name}"
    return name
