"""A scored month in a database: the same rows as in the folder, by as-of month and version of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.register import read_manifest
from riskmodel.register.postgres import Database, Kept

_MONTH = ("as_of", "model_version")
_ROWS = 50_000


@dataclass(frozen=True)
class _Table:
    """A table of the month: what tells its rows apart within it, what else it is looked up by, and its rows."""

    key: tuple[str, ...]
    index: tuple[str, ...]
    rows: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch


def _by_driver(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A row a household and driver, so that models with other drivers fit into the same table."""
    ids, *values = batch.columns
    drivers = batch.schema.names[1:]
    return pa.record_batch(
        {
            "household_id": pa.concat_arrays([ids] * len(drivers)),
            "driver": pa.array([driver for driver in drivers for _ in range(len(ids))], pa.string()),
            "log_odds": pa.concat_arrays([value.cast(pa.float64()) for value in values]),
        }
    )


TABLES = {
    "scores": _Table(key=("household_id",), index=("household_id",)),
    "alerts": _Table(key=("household_id",), index=("county_id", *_MONTH, "rank")),
    "drivers": _Table(key=("household_id", "driver"), index=(), rows=_by_driver),
    "by_hand": _Table(key=("household_id",), index=()),
}


def write_to_database(folder: Path, database: Database, schema: str = "riskmodel") -> dict[str, int]:
    """Make a database hold a scored month as it lies in a folder: all of it, in one transaction.

    What the database holds of the same as-of month and model version is replaced; other months and versions stay.

    Parameters
    ----------
    folder
        Folder from `riskmodel score`.
    database
        Where to write; see `Database.named`.
    schema
        Its schema, made where it is missing.

    Returns
    -------
    dict
        Rows by table: `scores`, `alerts`, `drivers` (a row a household and driver), `by_hand`.

    Raises
    ------
    NotFound
        If the folder holds no scores.
    DatabaseError
        If the database cannot be reached or refuses; nothing has changed there.
    """
    manifest = read_manifest(folder, kind="scores")
    month = {name: manifest["about"][name] for name in _MONTH}
    there = [name for name in TABLES if f"{name}.parquet" in manifest["files"]]  # where nobody was ranked, one alone
    kept = [_kept(folder, name, month) for name in there]
    return database.replace(schema, month, kept, without=[name for name in TABLES if name not in there])


def _kept(folder: Path, name: str, month: dict[str, str]) -> Kept:
    table, file = TABLES[name], pq.ParquetFile(folder / f"{name}.parquet")

    def as_kept(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = table.rows(batch)
        for column, value in month.items():
            if column not in rows.schema.names:
                rows = rows.append_column(column, pa.array([value] * len(rows), pa.string()))
        return _texts(rows)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in file.iter_batches(_ROWS):
            yield as_kept(batch)

    empty = pa.RecordBatch.from_pylist([], schema=file.schema_arrow)
    return Kept(name, as_kept(empty).schema, (*_MONTH, *table.key), table.index, batches())


def _texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Columns without any value as text, so that their type does not depend on the month."""
    kinds = [pa.string() if pa.types.is_null(f.type) else f.type for f in batch.schema]
    return batch.cast(pa.schema([pa.field(f.name, kind) for f, kind in zip(batch.schema, kinds, strict=True)]))
