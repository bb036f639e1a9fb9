"""Cohorts on disk: by county while they are made, then as one file of features that is mapped into memory, not read.

A county is committed when it is finished, so that a stopped build goes on where it was. The features of all then lie in one
file, feature by feature, in the order of the cohorts' rows. A table over that file is an ordinary table whose features the
system reads where they are used, and drops when memory is wanted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.register import commit_directory, is_finished
from riskmodel.register.store import as_name

ORDER = ["as_of", "county_id", "household_id"]
_FEATURES, _ROWS, _ROW = "features.npy", "rows.parquet", "row"
Frames = Callable[[str], Iterable[pd.DataFrame]]


@dataclass(frozen=True)
class Mapped:
    """Features on disk: `values` is features x rows, float32, mapped from `folder`."""

    folder: Path
    names: tuple[str, ...]
    values: np.ndarray

    def holds(self, frame: pd.DataFrame, names: Iterable[str]) -> bool:
        """Whether these columns of a table are those of the file, all rows of them, untouched."""
        where = dict(zip(self.names, self.values, strict=True))
        return all(
            name in where and len(frame) == len(where[name]) and _address(frame[name].to_numpy()) == _address(where[name])
            for name in names
        )


def keep_cohorts(
    folder: Path, counties: Sequence[str], frames: Frames, features: Sequence[str], outcomes: Sequence[str], workers: int
) -> tuple[pd.DataFrame, Mapped]:
    """Cohorts of all counties in a folder; what is finished there already is kept.

    Parameters
    ----------
    folder
        A folder that holds these cohorts and no others.
    counties
        Counties with somebody at risk.
    frames
        Gives the rows of a county, block by block of households: keys, standing columns, features, outcomes.
    features, outcomes
        Names of the features, and of the columns that stand after them.
    workers
        Counties worked on at once.

    Returns
    -------
    pandas.DataFrame
        All rows, ordered by month, county and household, with the features mapped.
    Mapped
        Where they lie.
    """
    whole = folder / "cohorts"
    if not is_finished(whole):

        def one(county: str) -> None:
            if not is_finished(_place(folder, county)):
                _keep_county(_place(folder, county), county, frames(county), features)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, counties))
        commit_directory(
            whole, lambda stage: _join(stage, [_place(folder, c) for c in counties], features), kind="cohorts", about={}
        )
        shutil.rmtree(folder / "counties", ignore_errors=True)
    values = np.load(whole / _FEATURES, mmap_mode="r")
    rows = pq.read_table(whole / _ROWS).to_pandas()
    mapped = pd.DataFrame(values.T, columns=list(features), copy=False)
    outcomes = list(outcomes)
    frame = pd.concat([rows.drop(columns=outcomes), mapped, rows[outcomes]], axis=1)
    return frame, Mapped(folder, tuple(features), values)


def _place(folder: Path, county: str) -> Path:
    return folder / "counties" / as_name(county)


def _keep_county(target: Path, county: str, frames: Iterable[pd.DataFrame], features: Sequence[str]) -> None:
    """A county's features as Parquet, a row group for each block, and beside them its rows, to which `row` points."""
    schema = pa.schema([(_ROW, pa.int32()), *((name, pa.float32()) for name in features)])

    def write(stage: Path) -> None:
        others: list[pd.DataFrame] = []
        first = 0
        with pq.ParquetWriter(stage / "features.parquet", schema) as file:
            for frame in frames:
                columns = [frame[name].to_numpy(np.float32) for name in features]
                number = np.arange(first, first + len(frame), dtype=np.int32)
                file.write_table(
                    pa.Table.from_arrays([pa.array(c, from_pandas=False) for c in (number, *columns)], schema=schema)
                )
                others.append(frame.drop(columns=list(features)))
                first += len(frame)
        if others:
            pd.concat(others, ignore_index=True).to_parquet(stage / _ROWS, index=False)

    commit_directory(target, write, kind="cohort county", about={"county": county})


def _join(stage: Path, counties: Sequence[Path], features: Sequence[str]) -> None:
    """All counties in the order of the cohorts' rows."""
    counties = [county for county in counties if (county / _ROWS).is_file()]
    parts = [pq.read_table(county / _ROWS).to_pandas() for county in counties]
    sizes = [len(part) for part in parts]
    rows = pd.concat(parts, ignore_index=True).sort_values(ORDER, kind="stable")
    target = np.empty(len(rows), np.int64)
    target[rows.index.to_numpy()] = np.arange(len(rows))
    rows.to_parquet(stage / _ROWS, index=False)
    del rows, parts
    values = np.lib.format.open_memmap(stage / _FEATURES, "w+", np.float32, (len(features), len(target)))
    for county, first in zip(counties, np.cumsum([0, *sizes]), strict=False):
        with pq.ParquetFile(county / "features.parquet") as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                at = target[first + table[_ROW].to_numpy()]
                for into, name in zip(values, features, strict=True):
                    into[at] = table[name].to_numpy()
    values.flush()


def _address(column: np.ndarray) -> int:
    return column.__array_interface__["data"][0]
