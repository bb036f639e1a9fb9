"""The register as it should have been on a day: late facts told in time, stale rows refreshed, mistakes put right.

Each step builds on the one before, as the misses are sorted (`monitoring/misses.py`):

- `recorded_late`: every row known by the day of the report counts as known on the day that it is about.
- `not_visited`: a row carried forward, or missing, holds what the next visit or comparison found, up to `reach_months`
  later, unless something befell the household in between.
- `data_wrong`: a value that is missing is the household's last known one, else its next one. An amount that differs by more
  than `mistake` from what stood before and after it, which agree with each other, is a mistake: the mean of the two takes
  its place, and income per person changes with it.

The registers lie in a passing folder; the tables that a step does not change are links.
"""

from __future__ import annotations

import copy
import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.catalogue.compiler import quoted
from riskmodel.cohort.features import engine
from riskmodel.monitoring.rules import MissRules
from riskmodel.register import Register, load_contract
from riskmodel.register.store import table_file

LATE, UNVISITED, WRONG = "recorded_late", "not_visited", "data_wrong"
STEPS = (LATE, UNVISITED, WRONG)
CARRIED = "carried_forward"
_GAINS = ("wage_income", "production_income", "property_income", "transfer_income", "claims")
_COSTS = ("production_cost", "selfpay")
_OTHER_AMOUNTS = ("schooling_cost",)


def steps_of(register: Register) -> list[str]:
    """The steps that a register's columns allow."""
    held = set(register.columns("records"))
    allowed = {
        LATE: True,
        UNVISITED: "source" in held,
        WRONG: {"welfare", "hh_size"} <= held and any(c in held for c in (*_GAINS, *_COSTS)),
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
            manifest["about"]["has_revisions"] = False
            manifest["about"]["counties"] = sorted(counties)
            found[step] = Register(Path(folder) / step, manifest)
        for county in sorted(counties):
            _told_in_time(register, found[LATE], day, county)
            records = _file(found[LATE], "records", county)
            for before, step in zip(steps, steps[1:], strict=False):
                _link_others(found[before], found[step], county)
                target = _file(found[step], "records", county)
                if step == UNVISITED:
                    _refreshed(found[before], records, target, county, rules)
                else:
                    _put_right(records, target, rules)
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
        keys = ", ".join(k for k in contract.key if k in register.columns(table) or k == contract.key[0])
        _copy(
            f"SELECT * REPLACE (least(known_at, CAST({about_day} AS DATE)) AS known_at) FROM ("
            f"FROM read_parquet({quoted(file)}) WHERE known_at <= DATE '{day}' "
            f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY known_at DESC) = 1) ORDER BY {keys}",
            target,
        )


def _refreshed(register: Register, records: Path, target: Path, county: str, rules: MissRules) -> None:
    """Rows carried forward or missing, with what the next refresh found."""
    step, day = register.step_months, np.timedelta64(1, "D")
    table = pq.read_table(records, partitioning=None)
    household, names = pd.factorize(table["household_id"].to_pandas())
    month = _months(table["month"])
    key = household * _WIDE + month
    bounds = pd.Series(month).groupby(household).agg(["min", "max"])
    length = (bounds["max"] - bounds["min"]).to_numpy() // step + 1
    who = np.repeat(bounds.index.to_numpy(), length)
    when = np.repeat(bounds["min"].to_numpy(), length) + step * (
        np.arange(len(who)) - np.repeat(length.cumsum() - length, length)
    )
    wanted = who * _WIDE + when
    own = np.searchsorted(key, wanted)
    missing = key[np.minimum(own, len(key) - 1)] != wanted
    fresh = np.flatnonzero(table["source"].to_pandas().ne(CARRIED).to_numpy(bool))
    place = np.searchsorted(key[fresh], wanted)
    next_fresh = fresh[np.minimum(place, len(fresh) - 1)] if len(fresh) else np.zeros(len(wanted), int)
    carried = table["source"].to_pandas().eq(CARRIED).to_numpy(bool)
    stale = missing | carried[np.minimum(own, len(key) - 1)]
    found = stale & (place < len(fresh)) & (household[next_fresh] == who) & (month[next_fresh] - when <= rules.reach_months)
    ends = _first_day(when + step) - day
    fills = found & ~_struck_between(register, county, names, who, ends, _first_day(month[next_fresh] + step) - day)
    kept = fills | ~missing
    taken = np.where(fills, next_fresh, own)[kept]
    made = table.take(pa.array(taken))
    changed = {"month": _first_day(when)[kept], "known_at": ends[kept]}
    if "visited_on" in table.column_names:
        changed["visited_on"] = np.minimum(made["visited_on"].to_pandas().to_numpy("datetime64[D]"), ends[kept])
    if "line" in table.column_names:
        line = table["line"].to_pandas().to_numpy(float, na_value=np.nan)
        changed["line"] = np.where(missing, line[next_fresh], line[np.minimum(own, len(key) - 1)])[kept]
    for column, values in changed.items():
        kind = table.schema.field(column).type
        made = made.set_column(made.column_names.index(column), column, pa.array(values, from_pandas=True).cast(kind))
    pq.write_table(made, target, compression="zstd")


_WIDE = 100_000
"""More than any number of a month: household codes times this, plus the month, is one ascending key."""


def _months(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_pandas().to_numpy("datetime64[M]").astype(np.int64) + 1970 * 12


def _first_day(month: np.ndarray) -> np.ndarray:
    return (month - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]")


def _struck_between(
    register: Register, county: str, names: pd.Index, who: np.ndarray, after: np.ndarray, until: np.ndarray
) -> np.ndarray:
    """Whether something befell a household, or its village, after a day and up to another."""
    if register.file("events", county) is None:
        return np.zeros(len(who), bool)
    events = register.read("events", county)
    struck = events.dropna(subset="household_id")[["household_id", "onset_on"]]
    homes = register.read("households", county)
    if "village_id" in events and "village_id" in homes:
        of_villages = events[events["household_id"].isna()][["village_id", "onset_on"]]
        struck = pd.concat([struck, homes[["household_id", "village_id"]].merge(of_villages, on="village_id")[[*struck]]])
    code = names.get_indexer(struck["household_id"])
    onset = struck["onset_on"].to_numpy("datetime64[D]").astype(np.int64)
    known = np.sort((code.astype(np.int64) * _WIDE + onset)[code >= 0])
    from_key = who * _WIDE + after.astype("datetime64[D]").astype(np.int64)
    to_key = who * _WIDE + until.astype("datetime64[D]").astype(np.int64)
    return np.searchsorted(known, to_key, side="right") > np.searchsorted(known, from_key, side="right")


def _put_right(records: Path, target: Path, rules: MissRules) -> None:
    """Gaps filled; amounts that stood out from what stood before and after, put right, and income per person with them."""
    table = pq.read_table(records, partitioning=None)
    household = pd.factorize(table["household_id"].to_pandas())[0]
    for place, column in enumerate(table.column_names):
        if table[column].null_count and column not in ("visited_on", "source"):
            nearest = _nearest_known(table[column].is_valid().to_numpy(), household)
            table = table.set_column(place, column, table[column].take(pa.array(nearest, mask=nearest < 0)))
    size = table["hh_size"].to_pandas().to_numpy(float, na_value=np.nan)
    shift = np.zeros(len(household))
    for column in (*_GAINS, *_COSTS, *_OTHER_AMOUNTS):
        if column not in table.column_names:
            continue
        given = table[column].to_pandas().to_numpy(float, na_value=np.nan)
        right = without_mistakes(given, household, rules.mistake)
        sign = 1 if column in _GAINS else -1 if column in _COSTS else 0
        shift += sign * np.nan_to_num(right - given) / size
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.array(right, from_pandas=True).cast(table.schema.field(column).type))
    place = table.column_names.index("welfare")
    welfare = table["welfare"].to_pandas().to_numpy(float, na_value=np.nan) + np.nan_to_num(shift)
    kind = table.schema.field("welfare").type
    table = table.set_column(place, "welfare", pa.array(welfare, from_pandas=True).cast(kind))
    pq.write_table(table, target, compression="zstd")


def _nearest_known(known: np.ndarray, household: np.ndarray) -> np.ndarray:
    """For each row the last known row of its household, else the next one; -1 without any."""
    rows = np.arange(len(known))
    before = np.maximum.accumulate(np.where(known, rows, -1))
    before = np.where((before >= 0) & (household[before] == household), before, -1)
    after = np.minimum.accumulate(np.where(known, rows, len(known))[::-1])[::-1]
    after = np.where((after < len(known)) & (household[np.minimum(after, len(known) - 1)] == household), after, -1)
    return np.where(before >= 0, before, after)


def without_mistakes(values: np.ndarray, household: np.ndarray, mistake: float) -> np.ndarray:
    """Amounts in which a stretch that stands out from the stretches before and after it has their mean.

    A stretch is a run of amounts of one household that differ by no more than 5 %, so that a value carried forward is one
    stretch. It is a mistake if it lasts up to six rows, differs from either neighbour by the factor `1 + mistake` or more in
    the same direction, and the neighbours' nearest values differ from each other by less than half of that.

    Parameters
    ----------
    values, household
        Amounts and codes of their households, in order of household and month, shape (n,).

    >>> without_mistakes(np.array([100.0, 101, 150, 150, 99, 100]), np.zeros(6), 0.2).tolist()
    [100.0, 101.0, 100.0, 100.0, 99.0, 100.0]
    """
    n = len(values)
    if n < 3:
        return values
    logs = np.log(np.maximum(values, 1.0))
    new = np.r_[True, (household[1:] != household[:-1]) | ~(np.abs(np.diff(logs)) <= 0.05)]
    first = np.flatnonzero(new)
    last = np.r_[first[1:], n] - 1
    inner = np.arange(1, len(first) - 1)
    same = (household[first[inner - 1]] == household[first[inner]]) & (
        household[first[inner + 1]] == household[first[inner]]
    )
    before, after = logs[last[inner - 1]], logs[first[inner + 1]]
    up_before, up_after = logs[first[inner]] - before, logs[last[inner]] - after
    bound = np.log1p(mistake)
    apart = (np.sign(up_before) == np.sign(up_after)) & (np.minimum(np.abs(up_before), np.abs(up_after)) >= bound)
    short = last[inner] - first[inner] < 6
    with np.errstate(invalid="ignore"):
        wrong = inner[same & apart & short & (np.abs(before - after) < bound / 2)]
    right = values.copy()
    for stretch in wrong:
        right[first[stretch] : last[stretch] + 1] = (values[last[stretch - 1]] + values[first[stretch + 1]]) / 2
    return right


def _link_others(before: Register, after: Register, county: str) -> None:
    for table in before.tables:
        source = before.file(table, county)
        target = _file(after, table, county)
        if table != "records" and source is not None and not target.exists():
            target.symlink_to(source.resolve())


def _copy(sql: str, target: Path) -> None:
    with engine() as connection:
        connection.execute(f"COPY ({sql}) TO {quoted(target)} (FORMAT parquet, COMPRESSION zstd)")
