"""The register as it should have been on a day: late facts told in time, mistakes put right, stale values refreshed.

Each step builds on the one before, as the misses are sorted (`monitoring/misses.py`):

- `recorded_late`: every row known by the day of the report counts as known on the day that it is about.
- `data_wrong`: an amount that differs by more than `mistake` from what was found before and after it, which agree with each
  other, is a mistake; smaller scatter is evened out over the months around (a local line); a value that is missing lies
  between the two around it, or follows from income per person where it is the only part that is missing. Income per person
  changes with its parts. A value carried forward is put right with the look that it was carried from.
- `not_visited`: a value carried forward, or a row that is missing, lies between the last look and the next one, which came
  up to `reach_months` later; where something befell the household in between, the change begins with it.

Which looks bring a column up to date is told by the books themselves (`_Books.fresh`): comparison between departments
refreshes money and leaves housing as it was, say, so that housing in its rows is as old as the last visit.

The registers lie in a passing folder; the tables that a step does not change are links.
"""

from __future__ import annotations

import copy
import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.engine import engine, known_last, literal, rows_of
from riskmodel.monitoring.rules import MissRules
from riskmodel.register import Register, load_contract
from riskmodel.register.contract import COSTS, INCOME
from riskmodel.register.store import table_file

LATE, WRONG, UNVISITED = "recorded_late", "data_wrong", "not_visited"
STEPS = (LATE, WRONG, UNVISITED)
CARRIED = "carried_forward"
_GAINS = (*INCOME, "claims")
_AMOUNTS = (
    *_GAINS, *COSTS, "public_post_income", "allowance_income", "schooling_cost", "debt", "debt_service", "days_worked",
    "days_available",
)  # fmt: skip
_BETWEEN = (*_AMOUNTS, "migrant_months")
"""Columns that pass gradually from one value to the next."""
_APART = ("household_id", "month", "known_at", "county_id", "township_id", "village_id", "line", "visited_on", "source")


def steps_of(register: Register) -> list[str]:
    """The steps that a register's columns allow."""
    held = set(register.columns("records"))
    allowed = {
        LATE: True,
        UNVISITED: "source" in held,
        WRONG: {"welfare", "hh_size"} <= held and any(c in held for c in (*_GAINS, *COSTS)),
    }
    return [step for step in STEPS if allowed[step]]


@contextmanager
def in_hindsight(
    register: Register, day: dt.date, counties: Iterable[str], rules: MissRules
) -> Iterator[dict[str, Register]]:
    """Registers of some counties after each step, as known on the day of the report.

    Parameters
    ----------
    day
        Nothing known later counts.
    """
    steps = steps_of(register)
    with tempfile.TemporaryDirectory(prefix="riskmodel-") as folder:
        found = {}
        for step in steps:
            manifest = copy.deepcopy(register.manifest)
            manifest["about"]["revised"] = []
            manifest["about"]["counties"] = sorted(counties)
            found[step] = Register(Path(folder) / step, manifest)
        for county in sorted(counties):
            _told_in_time(register, found[LATE], day, county)
            records = _file(found[LATE], "records", county)
            for before, step in zip(steps, steps[1:], strict=False):
                _link_others(found[before], found[step], county)
                target = _file(found[step], "records", county)
                if step == WRONG:
                    _put_right(records, target, rules)
                else:
                    _refreshed(found[before], records, target, county, rules)
                records = target
        yield found


def _file(register: Register, table: str, county: str) -> Path:
    file = register.path / table_file(table, county)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _told_in_time(register: Register, told: Register, day: dt.date, county: str) -> None:
    """Every dated row known on the day, known as of the day it is about; of several versions the last one."""
    for table in register.tables:
        file = register.file(table, county)
        if file is None:
            continue
        target = _file(told, table, county)
        if target.exists():  # `lines`, one file for all counties
            continue
        contract = load_contract().tables[table]
        if "known_at" not in contract.columns or contract.dated_by is None:
            target.symlink_to(file.resolve())
            continue
        about = contract.dated_by
        monthly = contract.columns[about].type == "month"
        about_day = f"last_day({about} + INTERVAL {register.step_months - 1} MONTH)" if monthly else about
        keys = [k for k in contract.key if k in register.columns(table) or k == contract.key[0]]
        _copy(
            f"SELECT * REPLACE (least(known_at, CAST({about_day} AS DATE)) AS known_at) FROM ("
            f"FROM {rows_of(file)} WHERE known_at <= DATE '{day}' "
            f"{known_last(*keys)}) ORDER BY {', '.join(keys)}",
            target,
        )


@dataclass(frozen=True)
class _Books:
    """Records in order of household and month, and which of their values were looked at anew; arrays of shape (rows,)."""

    names: pd.Index
    household: np.ndarray
    month: np.ndarray
    source: np.ndarray

    @classmethod
    def of(cls, table: pa.Table) -> _Books:
        household, names = pd.factorize(table["household_id"].to_pandas())
        held = "source" in table.column_names
        source = table["source"].to_pandas().fillna("").to_numpy(str) if held else np.full(len(household), "")
        return cls(names, household, _months(table["month"]), source)

    def fresh(self, column: pa.ChunkedArray) -> np.ndarray:
        """Where a column was looked at: its value changed, or the source is one that changes it often.

        A source brings a column up to date if the column changes in its rows a quarter as often as in those of the source
        in which it changes most; values carried forward are never looked at.
        """
        codes = pd.factorize(column.to_pandas())[0]
        valid = codes >= 0
        known = np.flatnonzero(valid)
        changed = np.zeros(len(codes), bool)
        same = self.household[known][1:] == self.household[known][:-1]
        changed[known[1:]] = same & (codes[known][1:] != codes[known][:-1])
        first = np.zeros(len(codes), bool)
        first[known] = np.r_[True, ~same][: len(known)]
        sources = [s for s in np.unique(self.source) if s not in ("", CARRIED)]
        often = {s: changed[valid & (self.source == s)].mean() for s in sources if (valid & (self.source == s)).any()}
        least = 0.25 * max(often.values(), default=np.inf)
        return changed | first | np.isin(self.source, [s for s, rate in often.items() if rate >= least])


@dataclass(frozen=True)
class _Between:
    """For households at months, the last and the next of their known points; `before`, `after`: whether there is one."""

    last: np.ndarray
    next: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, household: np.ndarray, month: np.ndarray, who: np.ndarray, when: np.ndarray) -> _Between:
        keys, wanted = household * _WIDE + month, who * _WIDE + when
        last = np.maximum(np.searchsorted(keys, wanted, side="right") - 1, 0)
        following = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        before = (household[last] == who) & (month[last] <= when)
        after = (household[following] == who) & (month[following] >= when)
        return cls(last, following, before, after)

    def value(self, values: np.ndarray, month: np.ndarray, when: np.ndarray) -> np.ndarray:
        """Values on the line between the two points; the one point where there is but one, else missing."""
        last, following = values[self.last], values[self.next]
        share = (when - month[self.last]) / np.maximum(month[self.next] - month[self.last], 1)
        both = last + np.clip(share, 0, 1) * (following - last)
        return np.select([self.before & self.after, self.before, self.after], [both, last, following], np.nan)

    def nearest(self, month: np.ndarray, when: np.ndarray) -> np.ndarray:
        """The point nearer in time, the earlier of two as near; -1 without any."""
        later = self.after & (~self.before | (month[self.next] - when < when - month[self.last]))
        return np.where(later, self.next, np.where(self.before, self.last, -1))


def _put_right(records: Path, target: Path, rules: MissRules) -> None:
    """Gaps filled; amounts put right at the look that found them, and income per person with them."""
    table = pq.read_table(records, partitioning=None)
    books = _Books.of(table)
    household, month = books.household, books.month
    adds_up = _adds_up(table)
    if adds_up:
        table = _told_by_the_sum(table)
    shift = np.zeros(len(household))
    for column in table.column_names:
        if column in _APART or column == "welfare":
            continue
        valid = table[column].is_valid().to_numpy()
        if column in _AMOUNTS:
            fresh = books.fresh(table[column])
            known = np.flatnonzero(fresh & valid)
            if not len(known):
                continue
            given = _numbers(table[column])
            clean = put_right(given[known], household[known], month[known], rules.mistake)
            seen = np.flatnonzero(fresh)
            looked = month[seen][_Between.of(household[seen], month[seen], household, month).last]
            looked = np.where(looked <= month, looked, month)
            right = _Between.of(household[known], month[known], household, looked).value(clean, month[known], looked)
            shift += _sign(column) * np.nan_to_num(right - given)
            table = _replaced(table, column, pa.array(right, from_pandas=True))
        elif not valid.all() and valid.any():
            known = np.flatnonzero(valid)
            near = _Between.of(household[known], month[known], household, month).nearest(month[known], month)
            taken = np.where(valid, np.arange(len(valid)), np.where(near >= 0, known[near], -1))
            table = table.set_column(
                table.column_names.index(column), column, table[column].take(pa.array(taken, mask=taken < 0))
            )
    if _has_parts(table):
        welfare = _numbers(table["welfare"]) + shift / _size(table)
        if adds_up:
            sums = _signed_parts(table).sum(axis=1)
            welfare = np.where(np.isnan(sums), welfare, sums / _size(table))
        known = np.flatnonzero(~np.isnan(welfare))
        if len(known):
            between = _Between.of(household[known], month[known], household, month)
            welfare = np.where(np.isnan(welfare), between.value(welfare[known], month[known], month), welfare)
        table = _replaced(table, "welfare", pa.array(welfare, from_pandas=True))
    pq.write_table(table, target, compression="zstd")


def _signed_parts(table: pa.Table) -> np.ndarray:
    """The parts of income, costs below zero; shape (rows, parts)."""
    return np.column_stack([_sign(c) * _numbers(table[c]) for c in (*_GAINS, *COSTS) if c in table.column_names])


def _adds_up(table: pa.Table) -> bool:
    """Whether the parts on record add up to income per person, in most rows to the hundredth."""
    if not _has_parts(table):
        return False
    parts, total = _signed_parts(table), _numbers(table["welfare"]) * _size(table)
    off = np.abs(parts.sum(axis=1) - total) / np.abs(parts).sum(axis=1).clip(min=1.0)
    off = off[~np.isnan(off)]
    return len(off) > 0 and bool(np.mean(off <= 0.01) > 0.9)


def _told_by_the_sum(table: pa.Table) -> pa.Table:
    """The one part of income that is missing in a row, told by income per person and the other parts."""
    values = _signed_parts(table)
    lacking = np.isnan(values)
    rest = _numbers(table["welfare"]) * _size(table) - np.nansum(values, axis=1)
    alone = (lacking.sum(axis=1) == 1) & ~np.isnan(rest)
    for place, column in enumerate(c for c in (*_GAINS, *COSTS) if c in table.column_names):
        told = np.where(alone & lacking[:, place], np.maximum(_sign(column) * rest, 0), _numbers(table[column]))
        table = _replaced(table, column, pa.array(told, from_pandas=True))
    return table


def put_right(values: np.ndarray, household: np.ndarray, month: np.ndarray, mistake: float) -> np.ndarray:
    """Amounts without what stood out from the looks before and after, and with scatter evened out.

    An amount is a mistake if it differs from both neighbours in the same direction, from the line between them by the factor
    `1 + mistake` or more, and the neighbours differ by less than half of that; that line takes its place. Other amounts move
    to a local line over the six months around (weights normal with a deviation of three months), where that is no further
    than the scatter of the column, measured by the median deviation from neighbours; a jump stays. Of fewer than a hundred
    looks no scatter is measured.

    Parameters
    ----------
    values, household, month
        Amounts of looks, codes of their households, months as numbers, in order of household and month, shape (n,).

    >>> put_right(np.array([100.0, 100, 150, 100, 100]), np.zeros(5), np.arange(5), 0.2).tolist()
    [100.0, 100.0, 100.0, 100.0, 100.0]
    """
    n = len(values)
    if n < 3:
        return values
    right = values.astype(float)
    inner, line, off, steps = _against_neighbours(right, household, month)
    wrong = (np.abs(off) >= np.log1p(mistake)) & (steps[0] * steps[1] < 0) & (np.abs(steps.sum(axis=0)) < np.abs(off) / 2)
    right[inner[wrong]] = line[wrong]
    off = _against_neighbours(right, household, month)[2]
    moved = np.abs(off[~wrong & (right[inner] > 0)])
    scatter = _DEVIATION * np.median(moved) / np.sqrt(1.5) if len(moved) >= _LEAST_LOOKS else 0.0
    if scatter == 0:
        return right
    logs = np.log(np.maximum(right, 1.0))
    sums = np.zeros((5, n))
    for step in range(-6, 7):
        here = np.arange(max(0, -step), min(n, n - step))
        there = here + step
        apart = month[there] - month[here]
        near = (household[there] == household[here]) & (np.abs(apart) <= 6)
        near &= np.abs(logs[there] - logs[here]) <= np.maximum(4 * scatter, 0.05 * np.abs(apart))
        weight = np.where(near, np.exp(-((apart / 3) ** 2) / 2), 0.0)
        for row, part in enumerate((1.0, apart, apart**2, right[there], apart * right[there])):
            sums[row][here] += weight * part
    s0, s1, s2, t0, t1 = sums
    ridge = s2 + 4.0
    fit = (t0 * ridge - t1 * s1) / (s0 * ridge - s1**2)
    small = np.abs(np.log(np.maximum(fit, 1.0)) - logs) <= 2.5 * scatter
    return np.where(small & (fit > 0), fit, right)


_DEVIATION = 1.4826
"""Standard deviation over median deviation of what is normal; a value less the mean of two scatters 1.5 ** 0.5 as much."""
_LEAST_LOOKS = 100


def _against_neighbours(
    values: np.ndarray, household: np.ndarray, month: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a row of their household before and after; the line between those; in logarithms, how far off the value is,
    and the steps to it and from it, shape (2, rows)."""
    inner = 1 + np.flatnonzero(household[2:] == household[:-2])
    share = (month[inner] - month[inner - 1]) / (month[inner + 1] - month[inner - 1])
    line = values[inner - 1] + share * (values[inner + 1] - values[inner - 1])
    logs = np.log(np.maximum(values, 1.0))
    off = logs[inner] - np.log(np.maximum(line, 1.0))
    return inner, line, off, np.stack([logs[inner] - logs[inner - 1], logs[inner + 1] - logs[inner]])


def _refreshed(register: Register, records: Path, target: Path, county: str, rules: MissRules) -> None:
    """Values carried forward, and rows that are missing, as they were between the looks around them."""
    table = pq.read_table(records, partitioning=None)
    books, step = _Books.of(table), register.step_months
    household, month = books.household, books.month
    struck = _Struck.of(register, county, books.names)
    who, when = _every_month(household, month, step)
    rows = _Between.of(household, month, who, when)
    missing = month[rows.last] != when
    seen = np.flatnonzero(books.source != CARRIED)
    if not len(seen):
        seen = np.arange(len(month))
    looks = _Between.of(household[seen], month[seen], who, when)
    after = seen[looks.next]
    told = looks.after & (month[after] - when <= rules.reach_months)
    kept = told | ~missing
    who, when, missing, told, after, own = who[kept], when[kept], missing[kept], told[kept], after[kept], rows.last[kept]
    made = table.take(pa.array(own))
    size_before, shift = _size(made), np.zeros(len(who))
    for column in table.column_names:
        if column in _APART or (column == "welfare" and _has_parts(table)):
            continue
        known = np.flatnonzero(books.fresh(table[column]) & table[column].is_valid().to_numpy())
        if not len(known):
            continue
        at = month[known]
        between = _Between.of(household[known], at, who, when)
        last, following = at[between.last], at[between.next]
        tells = between.before & between.after & (following - when <= rules.reach_months)
        onset = struck.first(who, last, following)
        if column in (*_BETWEEN, "welfare"):
            values, given = _numbers(table[column]), _numbers(made[column])
            start = np.where(onset > 0, np.maximum(onset - step, last), last)
            share = np.clip((when - start) / np.maximum(following - start, 1), 0, 1)
            first = values[known[between.last]]
            right = np.where(tells, first + share * (values[known[between.next]] - first), given)
            shift += _sign(column) * np.nan_to_num(right - given)
            made = _replaced(made, column, pa.array(right, from_pandas=True))
        else:
            later = np.where(onset > 0, when >= onset, following - when <= when - last)
            taken = np.where(tells, known[np.where(later, between.next, between.last)], own)
            made = made.set_column(made.column_names.index(column), column, table[column].take(pa.array(taken)))
    if _has_parts(table):
        welfare = (_numbers(made["welfare"]) * size_before + shift) / _size(made)
        made = _replaced(made, "welfare", pa.array(welfare, from_pandas=True))
    ends = _first_day(when + step) - np.timedelta64(1, "D")
    looked = told & (missing | (books.source[own] == CARRIED))
    for column in ("visited_on", "source", "line"):
        if column in table.column_names:
            from_next = looked if column != "line" else missing & (month[after] // 12 == when // 12)
            made = made.set_column(
                made.column_names.index(column), column, table[column].take(pa.array(np.where(from_next, after, own)))
            )
    if "visited_on" in table.column_names:
        visited = np.minimum(made["visited_on"].to_pandas().to_numpy("datetime64[D]"), ends)
        made = _replaced(made, "visited_on", pa.array(visited, from_pandas=True))
    made = _replaced(made, "month", pa.array(_first_day(when)))
    made = _replaced(made, "known_at", pa.array(ends))
    pq.write_table(made, target, compression="zstd")


@dataclass(frozen=True)
class _Struck:
    """Months in which something befell a household or its village, as ascending keys."""

    keys: np.ndarray

    @classmethod
    def of(cls, register: Register, county: str, names: pd.Index) -> _Struck:
        if register.file("events", county) is None:
            return cls(np.zeros(0, int))
        events = register.read("events", county)
        struck = events.dropna(subset="household_id")[["household_id", "onset_on"]]
        homes = register.read("households", county)
        if "village_id" in events and "village_id" in homes:
            of_villages = events[events["household_id"].isna()][["village_id", "onset_on"]]
            lived = homes[["household_id", "village_id"]].merge(of_villages, on="village_id")
            struck = pd.concat([struck, lived[[*struck]]])
        code = names.get_indexer(struck["household_id"]).astype(np.int64)
        month = struck["onset_on"].to_numpy("datetime64[M]").astype(np.int64) + 1970 * 12
        return cls(np.sort((code * _WIDE + month)[code >= 0]))

    def first(self, who: np.ndarray, after: np.ndarray, until: np.ndarray) -> np.ndarray:
        """The first month after one and up to another in which something befell a household, 0 without any."""
        if not len(self.keys):
            return np.zeros(len(who), int)
        found = self.keys[np.minimum(np.searchsorted(self.keys, who * _WIDE + after, side="right"), len(self.keys) - 1)]
        return np.where((found > who * _WIDE + after) & (found <= who * _WIDE + until), found - who * _WIDE, 0)


def _every_month(household: np.ndarray, month: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Household and month of every period from a household's first to its last."""
    bounds = pd.Series(month).groupby(household).agg(["min", "max"])
    length = (bounds["max"] - bounds["min"]).to_numpy() // step + 1
    in_order = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
    return np.repeat(bounds.index.to_numpy(), length), np.repeat(bounds["min"].to_numpy(), length) + step * in_order


_WIDE = 100_000
"""More than any number of a month: household codes times this, plus the month, is one ascending key."""


def _months(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_pandas().to_numpy("datetime64[M]").astype(np.int64) + 1970 * 12


def _first_day(month: np.ndarray) -> np.ndarray:
    return (month - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]")


def _sign(column: str) -> int:
    """What one yuan more does to income."""
    return 1 if column in _GAINS else -1 if column in COSTS else 0


def _has_parts(table: pa.Table) -> bool:
    return {"welfare", "hh_size"} <= set(table.column_names) and any(c in table.column_names for c in (*_GAINS, *COSTS))


def _size(table: pa.Table) -> np.ndarray:
    """Members, at least one."""
    if "hh_size" not in table.column_names:
        return np.ones(len(table))
    return np.maximum(np.nan_to_num(_numbers(table["hh_size"]), nan=1.0), 1.0)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_pandas().to_numpy(float, na_value=np.nan)


def _replaced(table: pa.Table, column: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    place = table.column_names.index(column)
    return table.set_column(place, column, values.cast(table.schema.field(column).type))


def _link_others(before: Register, after: Register, county: str) -> None:
    for table in before.tables:
        source = before.file(table, county)
        target = _file(after, table, county)
        if table != "records" and source is not None and not target.exists():
            target.symlink_to(source.resolve())


def _copy(sql: str, target: Path) -> None:
    with engine() as connection:
        connection.execute(f"COPY ({sql}) TO {literal(str(target))} (FORMAT parquet, COMPRESSION zstd)")
