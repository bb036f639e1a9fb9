"""From checked tables in DuckDB to the files of a register: Parquet by county, rows in a fixed order."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb

from riskmodel.engine import literal
from riskmodel.register.contract import Table
from riskmodel.register.reading import FILE, ROW, Raw, identifier
from riskmodel.register.source import Field, destinations
from riskmodel.register.store import table_file


def sort_table(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Make `sorted_<name>` from `final_<name>`: rows in a fixed order, whatever that of the input."""
    order = ", ".join(["__county", *table.order])
    connection.execute(f"CREATE TABLE sorted_{table.name} AS FROM final_{table.name} ORDER BY {order}")


def columns_of(
    connection: duckdb.DuckDBPyConnection, table: Table, extras: Sequence[str], mapped: Container[str]
) -> tuple[list[str], list[str], list[str]]:
    """Columns to write (keys, and all that hold a value), those that hold a value, and those that hold none.

    A blank day on which something ends, is answered or paid says that it has not come yet: where the source has such a
    column, it holds that, even if all of it is blank. What a record says of its household is kept in `households` alone.
    """
    own = [name for name, (home, _) in destinations(table.name).items() if home == table.name]
    names = [*own, *sorted(extras)]
    counts = ", ".join(f"count({identifier(name)})" for name in names)
    filled = connection.execute(f"SELECT {counts} FROM sorted_{table.name}").fetchall()[0]
    yet_to_come = {c.name for c in table.columns.values() if c.revealed_by == c.name and c.name in mapped and any(filled)}
    holding = [name for name, count in zip(names, filled, strict=True) if count or name in yet_to_come]
    written = [name for name in names if name in holding or name in table.key]
    return written, holding, [name for name in own if name not in holding]


def write_tables(connection: duckdb.DuckDBPyConnection, stage: Path, columns: Sequence[tuple[Table, Sequence[str]]]) -> None:
    """Write `sorted_<name>` of each table, one file a county.

    Each file is written by one thread, because its bytes must not depend on how threads were scheduled.
    """
    copies = []
    for table, written in columns:
        (stage / "tables" / table.name).mkdir(parents=True)
        counties = connection.execute(f"SELECT DISTINCT __county FROM sorted_{table.name}").fetchall()
        select, order = ", ".join(identifier(name) for name in written), ", ".join(table.order)
        copies += [
            f"COPY (SELECT {select} FROM sorted_{table.name} WHERE __county = {literal(county)} "
            f"ORDER BY {order}) TO {parquet(stage / table_file(table.name, county))}"
            for (county,) in sorted(counties)
        ]
    connection.execute("SET threads = 1")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda sql: connection.cursor().execute(sql), copies))


def write_quarantine(
    connection: duckdb.DuckDBPyConnection,
    stage: Path,
    raw: Mapping[str, Raw],
    fields: Mapping[str, Sequence[Field]],
) -> None:
    """Write the rows of `refused_<name>`: reasons, and the raw values that the source maps, no others."""
    text, none = "NULL::VARCHAR", "[]::VARCHAR[]"
    parts = [f"SELECT {text}, {text}, NULL::BIGINT, {text}, {none}, {text} LIMIT 0"]
    for name, rows in raw.items():
        reads = sorted({read for f in fields[name] for read in f.reads})
        values = ", ".join(f"{literal(read)}, CAST({identifier(read)} AS VARCHAR)" for read in reads)
        parts.append(f"""
            SELECT '{name}', {FILE}, {ROW}, household_id, reasons, raw FROM refused_{name}
            LEFT JOIN (SELECT {FILE}, {ROW}, CAST(json_object({values}) AS VARCHAR) AS raw FROM {rows.view}
                SEMI JOIN refused_{name} USING ({FILE}, {ROW})) USING ({FILE}, {ROW})""")
    selects = " UNION ALL ".join(
        f'(FROM ({part}) AS part("table", file, row, household_id, reasons, raw))' for part in parts
    )
    connection.execute(f'COPY (FROM ({selects}) ORDER BY "table", file, row) TO {parquet(stage / "quarantine.parquet")}')


def write_warnings(connection: duckdb.DuckDBPyConnection, stage: Path) -> None:
    """Write the table `warnings`."""
    order = '"table", household_id, village_id, month, rule'
    connection.execute(f"COPY (FROM warnings ORDER BY {order}) TO {parquet(stage / 'warnings.parquet')}")


def parquet(path: Path) -> str:
    """The target of a COPY."""
    return f"{literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
