"""Households of a register, a few months of each: what drift holds months against each other by.

Of a large register groups of rows are drawn, evenly from all counties. Every month is as it was known on its own as-of day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.monitoring.known import drawn
from riskmodel.monitoring.part import Asked
from riskmodel.months import as_of_day, first_day, month_number
from riskmodel.places import WITHIN, place_codes
from riskmodel.register import Register, load_contract

LEAST_CLUSTERS = 12
"""Villages that a spread can be told from; where there are fewer, it is that between households."""
_TYPES = frozenset({"number", "integer", "boolean", "category"})
_NOT_COMPARED = {"household_id", "month", "known_at", "county_id", "township_id", "village_id", "visited_on"}


@dataclass(frozen=True)
class Month:
    """Rows of one month as they were known at its end, household by household of the sample.

    Attributes
    ----------
    there
        Whether a household has a row, shape (households,).
    columns
        Numbers as float64 with NaN; other columns as objects with None; shape (households,) each.
    """

    there: np.ndarray
    columns: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Columns(Mapping[str, np.ndarray]):
    """Columns of a month, each made when it is asked for: all of all months would be held twice.

    `rows`: rows of each county, which of them are of the month, and whose; `size` households.
    """

    rows: tuple[tuple[Mapping[str, np.ndarray], np.ndarray, np.ndarray], ...]
    kinds: Mapping[str, str]
    size: int

    def __getitem__(self, name: str) -> np.ndarray:
        number = self.kinds[name] == "number"
        values = np.full(self.size, np.nan) if number else np.full(self.size, None, object)
        for part, at, whose in self.rows:
            values[whose] = part[name][at]
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass(frozen=True)
class Sample:
    """Households of the sample by their id, their clusters and counties, and their rows by month.

    `for_units`: places of those whose single values are looked at; other months than those held against each other have rows
    of these alone.
    """

    months: dict[int, Month]
    households: np.ndarray
    cluster: np.ndarray
    county: np.ndarray
    counties: list[str]
    kinds: dict[str, str]
    drawn: bool
    for_units: np.ndarray


def sampled(asked: Asked, months: Sequence[int], of_units: Sequence[int], late: int = 0) -> Sample:
    """Read the columns of some months, and of those that units are told by for the households that are drawn for it.

    The rows of a month are of the period so many months before (`late`), each as known at the end of the month.

    Of a larger register every k-th group of rows of each county is read, so that about as many households are seen as the
    rules say.
    """
    register, rules = asked.register, asked.rules.drift
    contract = load_contract().tables["records"].columns
    held = [c for c in register.columns("records") if c in contract and c not in _NOT_COMPARED]
    kinds = {}
    for name in held:
        kind = contract[name].type
        if kind in _TYPES:
            kinds[name] = "category" if kind == "category" else "number"
    files = {county: file for county in register.counties if (file := register.file("records", county))}
    inside = {file: pq.read_metadata(file) for file in files.values()}
    rows = sum(of.num_rows for of in inside.values())
    span = (month_number(register.last_month) - month_number(register.first_month)) // register.step_months + 1
    every = max(1, int(rows / span / rules.households))
    groups = {file: range(0, of.num_row_groups, every) for file, of in inside.items()}
    seen = sum(inside[file].row_group(group).num_rows for file, of in groups.items() for group in of) / span
    share = min(1.0, rules.unit_households / max(seen, 1.0))

    def one(file: Path) -> dict[str, np.ndarray]:
        return _rows_of(register, file, groups[file], months, of_units, share, list(kinds), late)

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(one, groups))
    sizes = [len(part["household_id"]) for part in parts]
    household, ids = pd.factorize(np.concatenate([part["household_id"] for part in parts]))
    of_county = np.repeat(np.arange(len(parts)), sizes)
    county = np.zeros(len(ids), int)
    county[household] = of_county
    mine = np.split(household, np.cumsum(sizes)[:-1])
    found = {}
    for month in sorted({*months, *of_units}):
        at = [np.flatnonzero(part["month_no"] == month) for part in parts]
        whose = [households[rows] for households, rows in zip(mine, at, strict=True)]
        there = np.zeros(len(ids), bool)
        there[np.concatenate(whose)] = True
        found[month] = Month(there, _Columns(tuple(zip(parts, at, whose, strict=True)), kinds, len(ids)))
    counties = list(files)
    cluster = _clusters(register, counties, ids, county)
    return Sample(found, ids, cluster, county, counties, kinds, every > 1, np.flatnonzero(drawn(ids, share)))


def _rows_of(
    register: Register,
    file: Path,
    groups: Iterable[int],
    months: Sequence[int],
    of_units: Sequence[int],
    share: float,
    columns: list[str],
    late: int,
) -> dict[str, np.ndarray]:
    """Columns of the rows of the months in some groups of rows, each as known at the end of its month, its last version.

    Of months that are `of_units` alone, a share of the households. A month has the rows of the period so many months before.
    """
    source = pq.ParquetFile(file)
    known = ["known_at"] if "known_at" in source.schema_arrow.names else []
    pieces = []
    for group in groups:
        piece = source.read_row_group(group, columns=["household_id", "month", *known], use_threads=False)
        ids = pc.dictionary_encode(piece["household_id"].combine_chunks())
        some = pa.array(drawn(ids.dictionary.to_pylist(), share)).take(ids.indices)
        keep = None
        for month in sorted({*months, *of_units}):
            this = pc.equal(piece["month"], pa.scalar(first_day(month - late), pa.date32()))
            if known:
                day = pa.scalar(as_of_day(month, register.step_months), pa.date32())
                this = pc.and_(this, pc.less_equal(piece["known_at"], day))
            if month not in months:
                this = pc.and_(this, some)
            keep = this if keep is None else pc.or_(keep, this)
        piece = piece.filter(keep)
        for name in columns:  # one at a time: of a group of rows a tenth is kept
            piece = piece.append_column(name, source.read_row_group(group, [name], use_threads=False).filter(keep)[name])
        pieces.append(piece)
    table = pa.concat_tables(pieces)
    del pieces
    day = pd.to_datetime(table["month"].to_pandas())
    month_no = (day.dt.year * 12 + day.dt.month - 1 + late).to_numpy()
    if known:
        order = np.argsort(table["known_at"].cast(pa.int32()).to_numpy(), kind="stable")
        ordered = pd.DataFrame({"household_id": table["household_id"].to_pandas(), "month_no": month_no}).iloc[order]
        rows = order[~ordered.duplicated(keep="last").to_numpy()]
        table, month_no = table.take(pa.array(rows)), month_no[rows]
    found = {"household_id": table["household_id"].to_numpy(), "month_no": month_no}
    for name in columns:  # each is let go as it is turned into an array
        values, table = table[name], table.drop_columns([name])
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_dictionary(values.type):
            found[name] = values.to_pandas().astype(object).where(pc.is_valid(values).to_pandas(), None).to_numpy()
        else:
            found[name] = values.cast(pa.float64()).to_numpy()
    return found


def _clusters(register: Register, counties: Sequence[str], ids: np.ndarray, county: np.ndarray) -> np.ndarray:
    """Village of each household; the household itself where villages are fewer than a spread can be told from."""
    own = np.arange(len(ids))
    if "village_id" not in register.columns("households"):
        return own
    cluster = np.full(len(ids), -1)
    before = 0
    for number, name in enumerate(counties):
        file = register.file("households", name)
        here = np.flatnonzero(county == number)
        if file is None or not len(here):
            continue
        columns = [c for c in ("household_id", *WITHIN["village_id"]) if c in register.columns("households")]
        homes = pq.read_table(file, columns=columns, partitioning=None).to_pandas()
        code = place_codes(homes, "village_id")
        lived = pd.Series(code, index=homes["household_id"]).reindex(ids[here]).fillna(-1).to_numpy(int)
        cluster[here] = np.where(lived >= 0, lived + before, -1)
        before += int(code.max(initial=-1)) + 1
    lost = cluster < 0
    cluster[lost] = before + np.arange(lost.sum())
    code, found = pd.factorize(cluster)
    return code if len(found) >= LEAST_CLUSTERS else own
