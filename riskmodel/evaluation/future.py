"""Features built again from a sample of the register, with whatever was known later changed, added to or deleted."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.catalogue.catalogue import FEATURE_TABLES
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.features import FeatureTable, build_features
from riskmodel.months import as_of_day, month_text
from riskmodel.register import Register, load_contract
from riskmodel.register.contract import Table
from riskmodel.register.store import as_frame, table_file

Sample = Mapping[tuple[str, str], pa.Table]

_COUNTIES = 3
_MONTHS = 2
_THREADS = 2


def features_that_know_the_future(
    cohorts: Cohorts,
    inputs: Sequence[str],
    households: int = 200,
    seed: int = 0,
    build: Callable[..., FeatureTable] = build_features,
) -> tuple[dict[str, int], dict[str, int]]:
    """Rows of a sample in which a feature differs though nothing differs that was known on the as-of day.

    A sample of households at risk is built at two as-of months from a temporary register, as it stands; and again, for
    each month, from one with another future: of what was known later, every third row deleted and the others changed,
    and every known row repeated with other values under a later `known_at`. A row counts as later by its `known_at`, a
    value by the date that reveals it. The sample is the whole register of both, so that features of villages and
    counties are compared too.

    Parameters
    ----------
    cohorts
        Cohorts with `origin`.
    inputs
        Features to compare.
    households
        Size of the sample, from three counties at most.
    build
        Makes features from a register, as `build_features` does.

    Returns
    -------
    tuple of dict
        For each feature, rows that differ between the two, and rows in which the cohorts hold something else than
        what was known. Context features are left out of the second: they are of whole villages and counties.
    """
    generator = np.random.default_rng(seed)
    picked, months = _picked(cohorts, households, generator)
    whole = _sample(cohorts.origin, picked)
    asked = {household for ids in picked.values() for household in ids}
    future = dict.fromkeys(inputs, 0)
    rebuilt = dict.fromkeys(inputs, 0)
    alone = [f for f in inputs if f not in _contextual(cohorts)]

    with tempfile.TemporaryDirectory(prefix="riskmodel_leak_gates_") as folder, ThreadPoolExecutor(_THREADS) as pool:

        def built(edited: Sample, name: str, as_of: Sequence[int]) -> pd.DataFrame:
            register = _written(cohorts.origin, edited, Path(folder) / name)
            return build(register, as_of, cohorts.catalogue).frame

        standing = pool.submit(built, whole, "standing", months)
        others = [
            pool.submit(built, _with_another_future(whole, as_of_day(m, cohorts.step_months)), month_text(m), [m])
            for m in months
        ]
        for month, other in zip(months, others, strict=True):
            one, two, frame = (_of_month(f, month) for f in (standing.result(), other.result(), cohorts.frame))
            _count(future, one, two, inputs)
            frame = frame[frame.index.isin(asked)]
            _count(rebuilt, frame, one.reindex(frame.index), alone)
    return future, rebuilt


def _picked(cohorts: Cohorts, households: int, generator: np.random.Generator) -> tuple[dict[str, list[str]], list[int]]:
    """Households by county, and as-of months at which they are at risk: the last, and one drawn from those before."""
    *before, last = cohorts.months
    months = [*map(int, generator.choice(before, min(_MONTHS - 1, len(before)), replace=False)), last] if before else [last]
    rows = cohorts.frame.loc[cohorts.frame["as_of"].isin(map(month_text, months)), ["county_id", "household_id", "as_of"]]
    counties = rows["county_id"].unique()
    rows = rows[rows["county_id"].isin(generator.choice(counties, min(_COUNTIES, len(counties)), replace=False))]
    one = rows.drop_duplicates("household_id")
    one = one.iloc[np.sort(generator.choice(len(one), min(households, len(one)), replace=False))]
    seen = set(rows.loc[rows["household_id"].isin(one["household_id"]), "as_of"])
    return one.groupby("county_id")["household_id"].agg(list).to_dict(), [m for m in months if month_text(m) in seen]


def _sample(register: Register, picked: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], pa.Table]:
    """Rows of the sampled households and of their villages, by table and county, in the order on disk."""
    found = {}
    for county, ids in picked.items():
        homes = pq.read_table(register.file("households", county), partitioning=None)
        homes = homes.filter(pc.is_in(homes["household_id"], pa.array(ids)))
        found["households", county] = homes
        villages = homes["village_id"].combine_chunks() if "village_id" in homes.column_names else pa.array([], pa.string())
        for table in FEATURE_TABLES:
            file = register.file(table, county)
            if file is None:
                continue
            rows = pq.read_table(file, partitioning=None)
            mine = []
            if "household_id" in rows.column_names:
                mine.append(pc.is_in(rows["household_id"], pa.array(ids)))
            if "village_id" in rows.column_names:
                own = pc.is_in(rows["village_id"], villages)
                mine.append(pc.and_(own, pc.is_null(rows["household_id"])) if mine else own)
            found[table, county] = rows.filter(mine[0] if len(mine) == 1 else pc.or_(*mine))
    return found


def _with_another_future(sample: Sample, day: dt.date) -> dict[tuple[str, str], pa.Table]:
    """The sample with what was not known on the day changed; types stay those of the register."""
    found = dict(sample)
    for (table, county), rows in sample.items():
        if table != "households":
            frame = _changed(as_frame(rows), load_contract().tables[table], pd.Timestamp(day))
            found[table, county] = pa.Table.from_pandas(frame, schema=rows.schema, preserve_index=False)
    return found


def _changed(frame: pd.DataFrame, table: Table, day: pd.Timestamp) -> pd.DataFrame:
    """The same known facts and another future: later rows and values changed or deleted, later rows added."""
    generator = np.random.default_rng(len(frame))
    facts = [c for c in frame.columns if c not in ("household_id", "village_id", "known_at", table.dated_by)]
    known = frame["known_at"] <= day
    told = frame[known].copy()
    for column, later in _later_values(told, table, day).items():
        reveals = table.columns[column].revealed_by == column
        values = told[column].fillna(day) if reveals else told[column]
        told.loc[later, column] = _other(values, generator, reveals)[later]
    coming = frame[~known].iloc[np.arange((~known).sum()) % 3 > 0].copy()
    repeated = frame[known].assign(known_at=day + pd.Timedelta(days=1))
    for rows in (coming, repeated):
        for column in facts:
            rows[column] = _other(rows[column], generator)
    return pd.concat([told, coming, repeated], ignore_index=True)


def _later_values(frame: pd.DataFrame, table: Table, day: pd.Timestamp) -> dict[str, pd.Series]:
    """For each column that is a later fact than its row, the rows in which it was not yet revealed, or its day is blank."""
    by = {c: table.columns[c].revealed_by for c in frame.columns if c in table.columns}
    return {column: ~(frame[date] <= day) for column, date in by.items() if date and date in frame.columns}


def _other(values: pd.Series, generator: np.random.Generator, furthest: bool = False) -> pd.Series:
    """Other values of the same type, row by row in another way; dates that reveal a fact only move further away."""
    n = len(values)
    if pd.api.types.is_datetime64_any_dtype(values):
        moved = values + pd.to_timedelta(generator.integers(32, 400, n), unit="D")
        return moved if furthest else moved.fillna(pd.Timestamp("2000-01-01"))
    if pd.api.types.is_bool_dtype(values):
        return ~values.fillna(False)
    if pd.api.types.is_numeric_dtype(values):
        moved = values.fillna(0) * generator.uniform(0.1, 5, n) + generator.uniform(1, 20, n)
        return moved.round() if pd.api.types.is_integer_dtype(values) else moved
    return pd.Series(generator.permutation(values.to_numpy()), index=values.index)


def _written(register: Register, tables: Sample, folder: Path) -> Register:
    """A register of these tables, for reading alone; rows in the order of any register."""
    for (table, county), rows in tables.items():
        file = folder / table_file(table, county)
        file.parent.mkdir(parents=True, exist_ok=True)
        order = [name for name in load_contract().tables[table].order if name in rows.column_names]
        pq.write_table(rows.sort_by([(name, "ascending") for name in order]), file)
    counties = sorted({county for _, county in tables})
    files = {table_file(*key): {} for key in tables}
    about = {**register.manifest["about"], "counties": counties}
    return Register(folder, {**register.manifest, "files": files, "about": about})


def _of_month(frame: pd.DataFrame, month: int) -> pd.DataFrame:
    return frame[frame["as_of"] == month_text(month)].drop_duplicates("household_id").set_index("household_id")


def _count(differing: dict[str, int], left: pd.DataFrame, right: pd.DataFrame, features: Sequence[str]) -> None:
    """Add to each feature the households in which it differs in any bit; a column or household missing differs too."""
    index = left.index.union(right.index)
    left, right = left.reindex(index), right.reindex(index)
    for name in features:
        if name not in left or name not in right:
            differing[name] += len(index)
            continue
        one, other = (f[name].to_numpy(np.float32) for f in (left, right))
        same = (one.view(np.int32) == other.view(np.int32)) | (np.isnan(one) & np.isnan(other))
        differing[name] += int((~same).sum())


def _contextual(cohorts: Cohorts) -> set[str]:
    """Features that depend on other households, by themselves or through a feature that they need."""
    found: set[str] = set()
    while True:
        more = {f.name for f in cohorts.features if f.kind == "context" or f.needs & found}
        if more <= found:
            return found
        found |= more
