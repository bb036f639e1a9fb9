"""Points in time become days by the clock of the zone that their file names, never by that of the machine.

Parquet keeps a point in time in UTC, and the zone in which it was written beside it, or not at all (Spark, DuckDB). UTC is
therefore the name of no zone: such times are taken only where every one is midnight, and are days then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    import pyarrow as pa

_WRITTEN_BESIDE = b"ARROW:schema"
_OF_NO_PLACE = ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Zulu", "Z", "+00:00", "-00:00")


@dataclass(frozen=True)
class Clock:
    """How a column of points in time is read.

    `sql` is its clock time; `in_doubt` the condition of a row whose day nobody has told.
    """

    sql: str
    in_doubt: str


def is_moment(duckdb_type: str) -> bool:
    """Whether values are points in time, whose day depends on where one stands.

    >>> is_moment("TIMESTAMP WITH TIME ZONE"), is_moment("TIMESTAMPTZ_NS"), is_moment("TIMESTAMP_NS"), is_moment("DATE")
    (True, True, False, False)
    """
    return duckdb_type.startswith(("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"))


def zones_of(schema: pa.Schema) -> dict[str, str | None]:
    """The zone of each column of points in time; None where the schema names none.

    >>> import pyarrow as pa
    >>> zones_of(pa.schema({"day": pa.timestamp("us", "Asia/Shanghai"), "seen": pa.timestamp("us", "UTC")}))
    {'day': 'Asia/Shanghai', 'seen': None}
    """
    import pyarrow as pa

    kinds = {column.name: column.type for column in schema}
    return {name: _known(kind.tz) for name, kind in kinds.items() if pa.types.is_timestamp(kind) and kind.tz}


def zones_in(path: Path) -> dict[str, str | None]:
    """`zones_of` a Parquet file."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        found = zones_of(file.schema_arrow)
        named = _WRITTEN_BESIDE in (file.metadata.metadata or {})
    return found if named else dict.fromkeys(found)


def clock_of(column: str, file: str, zones: Mapping[str, str | None]) -> Clock:
    """How a column is read whose files, by their labels, name these zones.

    Parameters
    ----------
    column, file
        SQL of the column and of the label of its file. A file that is not among `zones` holds clock times, or nothing.
    """
    quoted = {label: "'" + label.replace("'", "''") + "'" for label in zones}
    cases = "".join(f" WHEN {quoted[label]} THEN '{zone}'" for label, zone in zones.items() if zone)
    zone = f"CASE {file}{cases} ELSE 'UTC' END" if cases else "'UTC'"
    unnamed = ", ".join(quoted[label] for label, zone in zones.items() if not zone)
    midnight = f"date_trunc('day', timezone('UTC', {column}))"
    in_doubt = f"{file} IN ({unnamed}) AND timezone('UTC', {column}) <> {midnight}" if unnamed else "false"
    return Clock(f"timezone({zone}, {column})", in_doubt)


def _known(zone: str) -> str | None:
    """A zone as DuckDB calls it; None for one that it does not know."""
    if zone in _OF_NO_PLACE:
        return None
    name = f"GMT{zone}" if zone[0] in "+-" else zone
    try:
        duckdb.execute("SELECT timezone(?, TIMESTAMPTZ '2000-01-01 00:00:00+00')", [name]).fetchall()
    except duckdb.Error:
        return None
    return name
