"""Features in one pass over a county's sorted rows, equal to the compiled query to the last bit, several times faster.

The register keeps rows sorted by household and month. So a household's rows are one run, a window in months is a part of
the run, and "the last value known" is mostly its last row: most features look at a handful of rows, where a query that
groups by household visits them all. Households are taken in blocks, so that memory does not grow with the county.

The expressions are those of the catalogue, read as trees (`catalogue/syntax.py`). What is not covered here, a function, a
column's type, an unsorted file, raises `NotCovered` before anything is given, and the query does the work
(`cohort/features.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.catalogue.catalogue import AREAS, HOUSEHOLD_COLUMNS, SEASON_MONTH, Feature, columns_behind
from riskmodel.catalogue.compiler import HISTORY_MONTHS, LASTING, CountyFiles, of_a_day
from riskmodel.catalogue.syntax import Node, bound_of, conjuncts, node, tree
from riskmodel.cohort import kernels
from riskmodel.cohort.vectors import MISSING, Bits, Vector, apply, both, constant, months_of
from riskmodel.fallback import NotCovered
from riskmodel.places import WITHIN, place_codes
from riskmodel.register.contract import Contract

_DAY_ONE, _DAY_AFTER = np.datetime64("1900-01-01", "D").astype(int), 80_000
_MOST_PICKED = 5_000
"""Households picked from among others in one block: their rows are copied together, not seen where they lie."""


def sweep(
    county: CountyFiles,
    features: Sequence[Feature],
    as_of: Sequence[int],
    contract: Contract,
    block: int,
    households: pa.Array | None = None,
) -> Iterator[pd.DataFrame]:
    """Features of one county, block by block of households.

    Parameters
    ----------
    county
        The county's files.
    features
        Available features in order of computation (`Catalogue.available`).
    as_of
        As-of months as numbers, ascending.
    block
        Households in memory at once. No value depends on it.
    households
        Ids of the households to give; all by default. What an area is like is told by all of its households.

    Yields
    ------
    pandas.DataFrame
        As the query gives it: `household_id`, `as_of_no`, standing columns, features as float32; ordered by household
        and month.

    Raises
    ------
    NotCovered
        If an expression or a file is left to the query.
    """
    books = _Books(county, contract, _columns_read(features))
    contexts = [f for f in features if f.kind == "context"]
    chosen = None if households is None else books.places_of(households)
    blocks = books.blocks(block)
    ahead: dict[int, dict[str, Vector]] = {}
    if contexts and (len(blocks) > 1 or chosen is not None):
        ahead = _contexts_ahead(books, features, as_of, block)
    if chosen is not None:
        ahead = {month: {name: found.take(chosen) for name, found in values.items()} for month, values in ahead.items()}
        books = books.only(chosen)
        blocks = books.blocks(block)
    for start, stop in blocks:
        frames = []
        for month in as_of:
            rows, found = _block(books, features, month, start, stop, ahead.get(month, {}))
            frames.append(_frame(books, features, month, rows, found))
        frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
        books.forget()
        yield frame.sort_values(["household_id", "as_of_no"], kind="stable", ignore_index=True) if len(frames) > 1 else frame


def _columns_read(features: Sequence[Feature]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"records": set()}
    for feature in features:
        if feature.kind == "aggregate":
            found.setdefault(feature.table, set()).update(feature.needs - {"age"})
    return found


def _contexts_ahead(
    books: _Books, features: Sequence[Feature], as_of: Sequence[int], block: int
) -> dict[int, dict[str, Vector]]:
    """Context features of every household of the county at each month, and the aggregates that they are made of."""
    by_name = {f.name: f for f in features}
    wanted = {f.name for f in features if f.kind == "context"}
    while more := {n for name in wanted for n in by_name[name].needs if n in by_name} - wanted:
        wanted |= more
    needed = [f for f in features if f.name in wanted]
    base = [f for f in needed if f.kind == "aggregate"]
    books = books.narrowed(_columns_read(base))
    parts: dict[int, list[tuple[np.ndarray, dict[str, Vector]]]] = {month: [] for month in as_of}
    for start in range(0, books.size, block):  # few columns: whatever the groups of rows
        for month in as_of:
            parts[month].append(_block(books, base, month, start, min(start + block, books.size), {}))
        books.forget()
    found = {}
    for month, of_blocks in parts.items():
        rows = np.concatenate([r for r, _ in of_blocks])
        values = {f.name: _joined([v[f.name] for _, v in of_blocks], [len(r) for r, _ in of_blocks]) for f in base}
        _add_layers(books, needed, month, rows, values, {})
        everywhere = np.zeros(books.size, bool)
        everywhere[rows] = True
        place = np.cumsum(everywhere) - 1
        given = [f.name for f in needed if f.kind != "derived"]
        found[month] = {name: values[name].take(np.maximum(place, 0)) if len(rows) else MISSING for name in given}
    return found


def _joined(vectors: Sequence[Vector], sizes: Sequence[int]) -> Vector:
    values = np.concatenate([np.broadcast_to(v.values, n) for v, n in zip(vectors, sizes, strict=True)])
    valid = np.concatenate([v.known(n) for v, n in zip(vectors, sizes, strict=True)])
    return Vector(next((v.kind for v in vectors if v.kind != "missing"), "number"), values, valid)


def _block(
    books: _Books, features: Sequence[Feature], month: int, start: int, stop: int, ahead: Mapping[str, Vector]
) -> tuple[np.ndarray, dict[str, Vector]]:
    """Households of a block with a record known at the month, as positions in the county, and their features."""
    runs = books.runs("records", month, start, stop)
    present = np.flatnonzero(runs.high > runs.low)
    rows = start + present
    values: dict[str, Vector] = {}
    for feature in features:
        if feature.kind != "aggregate":
            continue
        if feature.name in ahead:
            values[feature.name] = ahead[feature.name].take(rows)
            continue
        found, there = MISSING, np.zeros(len(rows), bool)
        if feature.table == "villages" and feature.table in books.county.files:
            villages = books.villages_at(month)
            of = books.village_of[rows]
            if villages.size:
                found = villages.evaluate(tree(feature.expression.text)).take(np.maximum(of, 0))
                there = (of >= 0) & (villages.high > villages.low).take(np.maximum(of, 0))
        elif feature.table in books.county.files:
            mine = books.runs(feature.table, month, start, stop)
            found = mine.evaluate(tree(feature.expression.text)).take(present)
            there = (mine.high > mine.low)[present]
        if not there.all():
            without = MISSING if feature.empty is None else constant(float(feature.empty))
            found = apply(CASE, [Vector("truth", there), found, without], kernels.LIBM)
        values[feature.name] = found
    _add_layers(books, [f for f in features if f.kind != "aggregate"], month, rows, values, ahead)
    return rows, values


def _add_layers(
    books: _Books,
    features: Sequence[Feature],
    month: int,
    rows: np.ndarray,
    values: dict[str, Vector],
    ahead: Mapping[str, Vector],
) -> None:
    """Add derived and context features to those of some households."""

    def column(name: str) -> Vector:
        if name == SEASON_MONTH:
            return constant(float(month % 12 + 1))
        return values[name] if name in values else books.standing(name).take(rows)

    scope = Scope(len(rows), column)
    for feature in features:
        if feature.kind == "derived":
            values[feature.name] = scope.of(tree(feature.expression.text))
        elif feature.kind == "context" and feature.name in ahead:
            values[feature.name] = ahead[feature.name].take(rows)
        elif feature.kind == "context":
            area = books.area(feature.over)[rows]
            order = np.argsort(area, kind="stable")
            order = order[np.count_nonzero(area < 0) :]
            edges = np.searchsorted(area[order], np.arange(area.max(initial=-1) + 2))
            groups = Runs(scope.take(order), edges[:-1], edges[1:], ordered=False)
            found = groups.evaluate(tree(feature.expression.text))
            mine = found.take(np.maximum(area, 0)) if groups.size else MISSING
            values[feature.name] = Vector(mine.kind, mine.values, (area >= 0) & mine.known(len(rows)))


def _frame(
    books: _Books, features: Sequence[Feature], month: int, rows: np.ndarray, values: Mapping[str, Vector]
) -> pd.DataFrame:
    table = np.empty((len(features), len(rows)), np.float32)
    with np.errstate(over="ignore"):
        for position, feature in enumerate(features):
            found = values[feature.name]
            table[position] = np.nan if found.kind == "missing" else found.floats(len(rows))
            if found.valid is not None:
                table[position][~found.known(len(rows))] = np.nan
    for position in np.flatnonzero(np.isinf(table).any(axis=1)):
        endless = np.isinf(table[position])
        if np.isfinite(values[features[position].name].floats(len(rows))[endless]).any():
            raise NotCovered(f"{features[position].name} is beyond the numbers of a float")
        table[position][endless] = np.nan
    frame = pd.DataFrame(table.T, columns=[f.name for f in features], copy=False)
    head = books.places.iloc[rows].reset_index(drop=True)
    head.insert(1, "as_of_no", np.int64(month))
    return pd.concat([head, frame], axis=1)


class Scope:
    """Expressions over the rows of one table; equal parts are computed once."""

    def __init__(self, size: int, column: Callable[[str], Vector]) -> None:
        self.size = size
        self._column = column
        self._columns: dict[str, Vector] = {}
        self._memo: dict[Node, Vector] = {}

    def raw(self, name: str) -> Vector:
        """A column as it lies in the file, or as computed."""
        if name not in self._columns:
            self._columns[name] = self._column(name)
        return self._columns[name]

    def of(self, node: Node) -> Vector:
        """The value of an expression without aggregates at each row."""
        if node.op == "constant":
            return constant(node.value)
        if node not in self._memo:
            if node.op == "column":
                self._memo[node] = self.raw(str(node.value)).as_number()
            elif node.aggregate:
                raise NotCovered("an aggregate within an aggregate is left to the engine")
            else:
                self._memo[node] = apply(node, [self.of(part) for part in node.parts], kernels.LIBM)
        return self._memo[node]

    def take(self, rows: np.ndarray) -> Scope:
        """The same expressions over some of the rows."""
        return Scope(len(rows), lambda name: self.raw(name).take(rows).as_number())


class Runs:
    """Rows in runs, one a household (or village): run u holds rows `low[u]` to `high[u]` of the scope.

    `ordered` says that months rise strictly through each run.
    """

    def __init__(self, scope: Scope, low: np.ndarray, high: np.ndarray, *, ordered: bool) -> None:
        self.scope, self.low, self.high, self.ordered = scope, low, high, ordered
        self.size = len(low)
        self._memo: dict[Node, Vector] = {}
        self._older: dict[int, np.ndarray] = {}
        self._lasts: dict[tuple[int, int | None], Scope] = {}

    def evaluate(self, node: Node) -> Vector:
        """An expression over aggregates, one value a run."""
        if node.op == "constant":
            return constant(node.value)
        if node not in self._memo:
            if node.aggregate:
                self._memo[node] = self._aggregate(node)
            elif node.op == "column":
                raise NotCovered("a column outside an aggregate is left to the engine")
            else:
                self._memo[node] = apply(node, [self.evaluate(part) for part in node.parts], kernels.LIBM)
        return self._memo[node]

    def _aggregate(self, node: Node) -> Vector:
        op = node.op
        since, before, rest = self._window(node.where)
        if op == "arg_min" and self.ordered and node.parts[1] == AGE:
            return self._latest(node.parts[0], since, before, rest)
        low, high = self._part(since, before)
        scope = self.scope
        mask = np.ones(scope.size, bool)
        for condition in rest:
            mask = mask & scope.of(condition).holds(scope.size)
        if op == "count_star":
            return _number(kernels.count(mask, low, high))
        arguments = [scope.of(part) for part in node.parts]
        first = arguments[0]
        known = both(*arguments)
        if known is not None:
            mask = mask & known
        if op == "count" and node.distinct:
            if first.kind == "number":
                raise NotCovered("different numbers are left to the engine")
            return _number(kernels.distinct(np.broadcast_to(first.values, scope.size).astype(np.int64), mask, low, high))
        if node.distinct:
            raise NotCovered(f"{op} of different values is left to the engine")
        if op == "count":
            return _number(kernels.count(mask, low, high))
        if op in ("arg_min", "arg_max"):
            by = arguments[1].floats(scope.size)
            return _picked(first, kernels.first_extreme(by, mask, low, high, op == "arg_max"))
        if first.kind != "number":
            raise NotCovered(f"{op} of what is no number is left to the engine")
        values = first.floats(scope.size)
        if op in ("sum", "avg"):
            found, n = kernels.total(values, mask, low, high)
            with np.errstate(all="ignore"):
                return Vector("number", found / n if op == "avg" else found, n > 0)
        if op in ("min", "max"):
            found, n = kernels.extreme(values, mask, low, high, op == "max")
            return Vector("number", found, n > 0)
        if op in ("stddev", "stddev_samp"):
            found, n = kernels.spread(values, mask, low, high)
            return Vector("number", np.sqrt(found / np.maximum(n - 1, 1)), n > 1)
        if op == "regr_slope":
            together, alone, n = kernels.slope(values, arguments[1].floats(scope.size), mask, low, high)
            n = np.maximum(n, 1)
            with np.errstate(all="ignore"):
                return Vector("number", (together / n) / (alone / n), alone > 0)
        if op in ("quantile_cont", "median"):
            share = 0.5 if op == "median" else node.parts[1].value
            if not isinstance(share, float):
                raise NotCovered("several quantiles are left to the engine")
            found, n = kernels.quantile(values, mask, low, high, share)
            return Vector("number", found, n > 0)
        raise NotCovered(f"{op} is left to the engine")

    def _window(self, where: Node | None) -> tuple[int, int | None, list[Node]]:
        """The ages that a filter allows, from and before, and its other conditions."""
        since, before, rest = 0, None, []
        for condition in conjuncts(where):
            bound = bound_of(AGE, condition) if self.ordered else None
            if bound is None:
                rest.append(condition)
            elif bound[0] == "since":
                since = max(since, bound[1])
            else:
                before = bound[1] if before is None else min(before, bound[1])
        return since, before, rest

    def _part(self, since: int, before: int | None) -> tuple[np.ndarray, np.ndarray]:
        low = self.low if before is None else self.low + self._at_least(before)
        high = self.high if since <= 0 else self.low + self._at_least(since)
        return low, np.maximum(low, high)

    def _at_least(self, age: int) -> np.ndarray:
        """Rows of each run of that age or older; they stand first."""
        if age not in self._older:
            self._older[age] = kernels.count(self.scope.of(AGE).values >= age, self.low, self.high)
        return self._older[age]

    def _latest(self, wanted: Node, since: int, before: int | None, rest: list[Node]) -> Vector:
        """The value of the latest row in a window that has one."""
        if not self.scope.size:
            return MISSING
        low, high = self._part(since, before)
        if wanted.op == "column" and not [c for c in rest if c != node("is not null", (wanted,))]:
            column = self.scope.raw(str(wanted.value))
            return _picked(column, _last_known(column, low, high)).as_number()
        rows = np.where(high > low, high - 1, -1)
        if (since, before) not in self._lasts:
            self._lasts[since, before] = self.scope.take(np.maximum(rows, 0))
        first, held = _held(self._lasts[since, before], wanted, rest)
        found = np.array(np.broadcast_to(first.values, self.size))
        valid = held & (rows >= 0)
        left = np.flatnonzero(~held & (rows > low))
        for back in range(1, _TRIED):  # mostly the row before will do
            earlier, held = _held(self.scope.take(rows[left] - back), wanted, rest)
            hit = left[held]
            found[hit], valid[hit] = np.broadcast_to(earlier.values, len(left))[held], True
            left = left[~held]
            left = left[rows[left] - back > low[left]]
            if not len(left):
                break
        if len(left):
            lengths = rows[left] - _TRIED + 1 - low[left]
            ends = np.cumsum(lengths)
            every = np.arange(ends[-1]) + np.repeat(low[left] - (ends - lengths), lengths)
            earlier, held = _held(self.scope.take(every), wanted, rest)
            picked = kernels.last(np.ascontiguousarray(held), ends - lengths, ends)
            hit = picked >= 0
            found[left[hit]] = np.broadcast_to(earlier.values, len(every))[picked[hit]]
            valid[left[hit]] = True
        return Vector(first.kind, found, valid, first.words)


_TRIED = 3
"""Latest rows of a run that are looked at one by one before all the earlier ones are."""
AGE = node("column", value="age")
CASE = node("case")


def _last_known(column: Vector, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The last row of each run with a value, -1 where there is none."""
    mask = column.mask
    if isinstance(mask, Bits):
        return kernels.last_bit(mask.packed, mask.first, low, high)
    if mask is not None and mask.ndim:
        return kernels.last(np.ascontiguousarray(mask), low, high)
    return np.where((high > low) & (mask is None), high - 1, -1)


def _held(scope: Scope, wanted: Node, rest: list[Node]) -> tuple[Vector, np.ndarray]:
    found = scope.of(wanted)
    held = found.known(scope.size)
    for condition in rest:
        held = held & scope.of(condition).holds(scope.size)
    return found, held


def _number(counts: np.ndarray) -> Vector:
    return Vector("number", counts.astype(np.float64))


def _picked(vector: Vector, rows: np.ndarray) -> Vector:
    values = np.broadcast_to(vector.values, rows.max(initial=0) + 1) if vector.values.ndim == 0 else vector.values
    return Vector(vector.kind, values.take(np.maximum(rows, 0)), rows >= 0, vector.words)


@dataclass
class _Held:
    """A table's rows in runs: columns, month and day numbers, what tells versions apart, and where each run lies.

    Of rows of one run with the same `told` the one known last counts; `told` is None where no row is told again.
    """

    columns: dict[str, Vector]
    month: np.ndarray
    known_on: np.ndarray
    told: np.ndarray | None
    low: np.ndarray
    high: np.ndarray


class _Books:
    """The files of one county, read as far as they are asked for.

    `size` households have records; they are numbered in the order of their ids.
    """

    def __init__(self, county: CountyFiles, contract: Contract, read: Mapping[str, set[str]]) -> None:
        self.county, self._contract, self._read = county, contract, read
        self._records = _Groups(county.files["records"], self._columns("records"))
        ids, self._starts = self._records.ids()
        kept = ["household_id", *(c for c in (*AREAS, *HOUSEHOLD_COLUMNS) if c in county.columns["households"])]
        listed = pq.read_table(county.files["households"], columns=kept, partitioning=None, use_threads=False)
        mine = pc.index_in(ids, listed["household_id"].combine_chunks())
        if mine.null_count:
            raise NotCovered("records of households that `households` does not list are left to the engine")
        self._listed = listed.take(mine)
        self.size = len(self._listed)
        self._standing: dict[str, Vector] = {}
        self._areas: dict[str, np.ndarray] = {}
        self._whole: dict[str, _Held] = {}
        self._runs: dict[tuple[str, int, int, int], Runs] = {}
        self._rows: tuple[int, int, _Held] | None = None
        self.places = _places(self._listed)
        self._chosen: np.ndarray | None = None

    def narrowed(self, read: Mapping[str, set[str]]) -> _Books:
        """The same books, with fewer columns to read."""
        other = copy(self)
        other._read = read
        other._records = _Groups(self.county.files["records"], other._columns("records"))
        other._whole, other._runs, other._rows = {}, {}, None
        return other

    def places_of(self, households: pa.Array) -> np.ndarray:
        """Where households lie among all, ascending; those without records are left out."""
        return np.flatnonzero(pc.is_in(self._listed["household_id"], households).to_numpy(zero_copy_only=False))

    def only(self, chosen: np.ndarray) -> _Books:
        """The same books with some of the households, numbered anew."""
        other = copy(self)
        other._chosen, other.size = chosen, len(chosen)
        other._listed = self._listed.take(pa.array(chosen))
        other.places = self.places.iloc[chosen].reset_index(drop=True)
        other._standing, other._areas, other._whole, other._runs, other._rows = {}, {}, {}, {}, None
        return other

    def blocks(self, most: int) -> list[tuple[int, int]]:
        """Households in blocks of at most so many, those whose rows begin in one row group together."""
        if self._chosen is not None:
            most = min(most, _MOST_PICKED)
            return [(start, min(start + most, self.size)) for start in range(0, self.size, most)]
        edges = np.searchsorted(self._starts[:-1], self._records.edges)
        return [
            (start, min(start + most, stop))
            for first, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
            for start in range(first, stop, most)
        ]

    def forget(self) -> None:
        """Let go of the rows of a block."""
        self._runs.clear()
        self._rows = None

    def standing(self, name: str) -> Vector:
        """A column of `households`."""
        if name not in self._standing:
            self._standing[name] = _vector(self._listed[name]).as_number()
        return self._standing[name]

    def area(self, name: str) -> np.ndarray:
        """Number of each household's area, -1 where unknown."""
        if name not in self._areas:
            told_by = [c for c in WITHIN[name] if c in self.places]
            self._areas[name] = place_codes(self.places[told_by], name)
        return self._areas[name]

    @property
    def village_of(self) -> np.ndarray:
        """Run of each household's village in `villages`, -1 where it has none."""
        self._table("villages")
        return self._village_of

    def villages_at(self, month: int) -> Runs:
        """Rows of all villages known at a month."""
        key = ("villages", month, 0, 0)
        if key not in self._runs:
            self._runs[key] = self._known("villages", self._table("villages"), month)
        return self._runs[key]

    def runs(self, table: str, month: int, start: int, stop: int) -> Runs:
        """Rows of a table known at a month, a run for each household of a block."""
        key = (table, month, start, stop)
        if key not in self._runs:
            held = self._record_rows(start, stop) if table == "records" else _cut(self._table(table), start, stop)
            self._runs[key] = self._known(table, held, month)
        return self._runs[key]

    def _record_rows(self, start: int, stop: int) -> _Held:
        if self._rows is None or self._rows[:2] != (start, stop):
            if self._chosen is None:
                first, last = int(self._starts[start]), int(self._starts[stop])
                held = self._held(self._records.rows(first, last), "records")
                held.low, held.high = self._starts[start:stop] - first, self._starts[start + 1 : stop + 1] - first
            else:
                mine = self._chosen[start:stop]
                many = self._starts[mine + 1] - self._starts[mine]
                ends = np.cumsum(many)
                places = np.arange(ends[-1]) + np.repeat(self._starts[mine] - (ends - many), many)
                held = self._held(self._records.picked(places), "records")
                held.low, held.high = ends - many, ends
            self._rows = (start, stop, held)
        return self._rows[2]

    def _columns(self, table: str) -> list[str]:
        """Columns to read: what features need, and what says when a row was known."""
        definition, held = self._contract.tables[table], set(self.county.columns[table])
        behind = columns_behind(self._read.get(table, ()), held, definition.columns)
        told = set(definition.key[1:]) & held if table in self.county.revised else set()
        return sorted(behind | told | {definition.dated_by, "known_at"})

    def _table(self, table: str) -> _Held:
        """All rows of a smaller table, sorted by household (or village)."""
        if table not in self._whole:
            unit = "village_id" if table == "villages" else "household_id"
            shared = table == "events" and "village_id" in self.county.columns[table]
            columns = [unit, *self._columns(table), *(["village_id"] if shared else [])]
            rows = pq.read_table(
                self.county.files[table], columns=list(dict.fromkeys(columns)), partitioning=None, use_threads=False
            )
            if table == "villages":
                names = pc.unique(rows[unit].drop_null().combine_chunks())
                names = names.take(pc.sort_indices(names))
                self._village_of = _codes(self._listed["village_id"], names)
                of, size = _codes(rows[unit], names), len(names)
                source = np.arange(len(of))
            else:
                of, size = _codes(rows[unit], self._listed["household_id"].combine_chunks()), self.size
                source = np.arange(len(of))
                if shared and "village_id" in self._listed.column_names:
                    of, source = self._struck(rows, of)
            source, of = source[of >= 0], of[of >= 0]
            order = np.argsort(of, kind="stable")
            edges = np.searchsorted(of[order], np.arange(size + 1))
            held = self._held(rows.take(pa.array(source[order])), table)
            held.low, held.high = edges[:-1], edges[1:]
            if held.told is not None and shared:  # a village's event is another than a household's own
                own = np.asarray(pc.is_valid(rows["household_id"]))[source[order]]
                held.told = held.told * 2 + own
            self._whole[table] = held
        return self._whole[table]

    def _struck(self, rows: pa.Table, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Events with those of a village given to each of its households; own events first."""
        named = self.standing("village_id")  # an event names no township
        villages = np.where(named.known(self.size), named.values, -1)
        homes = np.argsort(villages, kind="stable")
        homes = homes[np.count_nonzero(villages < 0) :]
        words = pa.array(named.words, pa.string())
        event = np.flatnonzero(np.asarray(pc.is_null(rows["household_id"])))
        where = _codes(rows["village_id"].take(pa.array(event)), words)
        event, where = event[where >= 0], where[where >= 0]
        first = np.searchsorted(villages[homes], where)
        many = np.searchsorted(villages[homes], where, side="right") - first
        ends = np.cumsum(many)
        places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - many), many)
        own = np.flatnonzero(of >= 0)
        return np.concatenate([of[own], homes[places]]), np.concatenate([own, np.repeat(event, many)])

    def _held(self, rows: pa.Table, table: str) -> _Held:
        definition = self._contract.tables[table]
        columns = {name: _vector(rows[name]) for name in rows.column_names}
        days = columns[definition.dated_by], columns["known_at"]
        if any(d.kind != "day" or d.mask is not None for d in days):
            raise NotCovered(f"{table} without days of each row are left to the engine")
        for name in columns.keys() & self._read.get(table, set()):
            known = definition.columns.get(name)
            if (known is None or known.type in ("number", "integer")) and columns[name].kind != "number":
                raise NotCovered(f"{table}.{name}, which is no number, is left to the engine")
        nothing = np.zeros(0, np.int64)
        told = None
        if table in self.county.revised:
            key = [c for c in definition.key[1:] if c in columns and c != definition.dated_by]
            told = _told(days[0].values, [columns[c] for c in key])
        return _Held(columns, _month(days[0].values), days[1].values, told, nothing, nothing)

    def _known(self, table: str, held: _Held, month: int) -> Runs:
        """The rows known at a month: nothing of what was known later passes."""
        ahead = self.county.step_months - 1
        now = self._now(table, month)
        known = (held.month <= now) & (_month(held.known_on) <= month + ahead)
        if table not in LASTING:
            known &= now - held.month < HISTORY_MONTHS
        low, high = held.low, held.high
        rows: np.ndarray | None = None
        monthly = table in ("records", "villages")
        if held.told is not None:
            run = np.repeat(np.arange(len(low)), high - low)
            rows = np.flatnonzero(known)  # the runs of a block lie side by side
            order = np.lexsort((held.known_on[rows], held.told[rows], run[rows]))
            rows = rows[order]
            newest = np.ones(len(rows), bool)
            newest[:-1] = (run[rows][1:] != run[rows][:-1]) | (held.told[rows][1:] != held.told[rows][:-1])
            rows = np.sort(rows[newest])
            edges = np.searchsorted(run[rows], np.arange(len(low) + 1))
            low, high = edges[:-1], edges[1:]
        elif not known.all():
            begin, end, together = kernels.together(known, low, high)
            if together:
                low, high = begin, end
            else:
                rows = np.flatnonzero(known)
                before = np.concatenate([[0], np.cumsum(known)])
                low, high = before[low], before[high]
        months = held.month if rows is None else held.month[rows]
        ordered = monthly and kernels.rising(months, low, high)
        if monthly and not ordered:
            raise NotCovered(f"{table} whose months do not rise are left to the engine")
        size = len(months)
        return Runs(Scope(size, self._column(table, held, rows, months, month)), low, high, ordered=ordered)

    def _now(self, table: str, month: int) -> int:
        """The month from which the ages of a table's rows count: of rows about a day, that of the as-of day."""
        return month + self.county.step_months - 1 if of_a_day(self._contract.tables[table]) else month

    def _column(
        self, table: str, held: _Held, rows: np.ndarray | None, months: np.ndarray, month: int
    ) -> Callable[[str], Vector]:
        definition, last = self._contract.tables[table], month + self.county.step_months - 1
        now = self._now(table, month)

        def raw(name: str) -> Vector:
            return held.columns[name] if rows is None else held.columns[name].take(rows)

        def revealed(by: str, valid: np.ndarray | None) -> np.ndarray:
            day = raw(by)
            shown = day.known(len(months)) & (_month(day.values) <= last)
            return shown if valid is None else shown & valid

        def column(name: str) -> Vector:
            if name == "age":
                return Vector("number", np.maximum(now - months, 0).astype(np.float64))
            if name not in held.columns:
                date = raw(name.removesuffix("_age"))
                if date.kind != "day":
                    raise NotCovered(f"{name} of what is no day is left to the engine")
                known = definition.columns.get(name.removesuffix("_age"))
                age = np.maximum(last - _month(date.values), 0).astype(np.float64)
                return Vector("number", age, revealed(name.removesuffix("_age"), None) if _late(known) else date.mask)
            found = raw(name)
            by = definition.columns[name].revealed_by if name in definition.columns else None
            return Vector(found.kind, found.values, revealed(by, found.valid), found.words) if by else found

        return column


def _told(days: np.ndarray, key: Sequence[Vector]) -> np.ndarray:
    """A number for each row, the same where a row tells of the same: its day and the other columns of the key."""
    told = days.astype(np.int64)
    for column in key:
        codes = np.where(column.known(len(days)), column.values, -1).astype(np.int64)
        codes = np.unique(codes, return_inverse=True)[1]
        told = np.unique(told * (codes.max(initial=0) + 1) + codes, return_inverse=True)[1]
    return told


def _places(listed: pa.Table) -> pd.DataFrame:
    """Standing columns in the types that the engine gives them."""
    found = {}
    for field in listed.schema:
        column = listed[field.name]
        if pa.types.is_date(field.type):
            column = column.cast(pa.timestamp("us"))
        masked = _MASKED.get(field.type) if column.null_count else None
        found[field.name] = column.to_pandas(types_mapper={field.type: masked}.get if masked else None)
        if pa.types.is_string(field.type) and column.null_count == len(column):
            found[field.name] = np.full(len(column), None, object)
    return pd.DataFrame(found)


_MASKED = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def _late(column: Any) -> bool:
    return column is not None and column.revealed_by is not None


def _month(days: np.ndarray) -> np.ndarray:
    """Numbers of the months of days since 1970."""
    if len(days) and (days.min() < _DAY_ONE or days.max() >= _DAY_AFTER):
        raise NotCovered("days before 1900 or after 2188 are left to the engine")
    return months_of(days)


def _cut(held: _Held, start: int, stop: int) -> _Held:
    """The rows of some runs, as views."""
    first, last = (int(held.low[start]), int(held.high[stop - 1])) if stop > start else (0, 0)
    columns = {name: vector.between(first, last) for name, vector in held.columns.items()}
    low, high = held.low[start:stop] - first, held.high[start:stop] - first
    told = None if held.told is None else held.told[first:last]
    return _Held(columns, held.month[first:last], held.known_on[first:last], told, low, high)


class _Groups:
    """The row groups of a file sorted by household; the last ones read are kept, for blocks that begin within one.

    While the rows of one group are worked on, the next one is read; not in a worker of a pool, beside which no core is idle.
    """

    def __init__(self, path: str, columns: Sequence[str]) -> None:
        texts = [f.name for f in pq.read_schema(path) if pa.types.is_string(f.type) and f.name != "household_id"]
        self._file = pq.ParquetFile(path, memory_map=True, read_dictionary=texts)
        self._path, self._columns = path, list(columns)
        self._kept: dict[int, pa.Table] = {}
        self._reader = ThreadPoolExecutor(1)
        self._coming: dict[int, Future[pa.Table]] = {}
        sizes = [self._file.metadata.row_group(g).num_rows for g in range(self._file.num_row_groups)]
        self.edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def ids(self) -> tuple[pa.Array, np.ndarray]:
        """Household ids in the order of the file, and where the rows of each begin; one more at the end."""
        file = pq.ParquetFile(self._path, memory_map=True, read_dictionary=["household_id"])
        ids, starts = [], []
        for group in range(len(self.edges) - 1):
            column = file.read_row_group(group, columns=["household_id"], use_threads=False)["household_id"]
            coded = _whole(column.unify_dictionaries())
            codes = coded.indices.to_numpy(zero_copy_only=False)
            begins = np.flatnonzero(np.diff(codes, prepend=-1))
            values = coded.dictionary.take(pa.array(codes[begins]))
            begins = begins + self.edges[group]
            if ids and len(values) and ids[-1][-1].as_py() == values[0].as_py():
                values, begins = values[1:], begins[1:]
            if len(values):
                ids.append(values)
                starts.append(begins)
        found = pa.concat_arrays(ids) if ids else pa.array([], pa.string())
        if found.null_count or (len(found) > 1 and not pc.all(pc.less(found[:-1], found[1:])).as_py()):
            raise NotCovered("records that are not sorted by household are left to the engine")
        return found, np.concatenate([*starts, self.edges[-1:]]).astype(np.int64)

    def rows(self, first: int, last: int) -> pa.Table:
        """Rows `first` to `last`."""
        wanted = [g for g in range(len(self.edges) - 1) if self.edges[g] < last and self.edges[g + 1] > first]
        self._kept = {g: self._kept[g] if g in self._kept else self._read(g) for g in wanted}
        if wanted and (after := wanted[-1] + 1) + 1 < len(self.edges) and parent_process() is None:
            self._coming = {after: self._coming.get(after) or self._reader.submit(self._read_now, after)}
        parts = [self._kept[g].slice(max(first - self.edges[g], 0), last - max(first, self.edges[g])) for g in wanted]
        return pa.concat_tables(parts) if parts else self._file.schema_arrow.empty_table().select(self._columns)

    def picked(self, places: np.ndarray) -> pa.Table:
        """Some rows, ascending; a group of rows is let go before the next one is read."""
        cuts, parts = np.searchsorted(places, self.edges), []
        for group in np.flatnonzero(np.diff(cuts)).tolist():
            self._kept = {group: self._kept[group] if group in self._kept else self._read(group)}
            parts.append(self._kept[group].take(pa.array(places[cuts[group] : cuts[group + 1]] - self.edges[group])))
        return pa.concat_tables(parts) if parts else self._file.schema_arrow.empty_table().select(self._columns)

    def _read(self, group: int) -> pa.Table:
        coming = self._coming.pop(group, None)
        return self._read_now(group) if coming is None else coming.result()

    def _read_now(self, group: int) -> pa.Table:
        return self._file.read_row_group(group, columns=self._columns, use_threads=False)


def _codes(column: pa.ChunkedArray, names: pa.Array) -> np.ndarray:
    """Place of each text among names, -1 where missing or not among them."""
    coded = _whole(pc.dictionary_encode(column))
    places = np.append(pc.fill_null(pc.index_in(coded.dictionary, names), -1).to_numpy(zero_copy_only=False), -1)
    return places[pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece, as it lies where it is one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _vector(column: pa.ChunkedArray) -> Vector:
    """A column of a table as a vector."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
        coded = _whole(column.unify_dictionaries() if pa.types.is_dictionary(kind) else pc.dictionary_encode(column))
        words = tuple(coded.dictionary.to_pylist())
        return Vector("text", pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False), _missing(coded), words)
    flat = _whole(column)
    if pa.types.is_boolean(kind):
        bits = Bits(np.frombuffer(flat.buffers()[1], np.uint8), flat.offset, len(flat)) if len(flat) else None
        return Vector("truth", np.zeros(0, bool) if bits is None else bits.unpacked(), _missing(flat))
    if pa.types.is_date32(kind):
        return Vector("day", _buffer(flat, np.int32), _missing(flat))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Vector("number", _buffer(flat, kind.to_pandas_dtype()), _missing(flat))
    raise NotCovered(f"columns of type {kind} are left to the engine")


def _missing(column: pa.Array) -> Bits | None:
    """Where a column has a value, None where nothing is missing."""
    if column.null_count == 0:
        return None
    return Bits(np.frombuffer(column.buffers()[0], np.uint8), column.offset, len(column))


def _buffer(column: pa.Array, kind: type) -> np.ndarray:
    """The numbers of a column where they lie; anything may stand where one is missing."""
    if not len(column):
        return np.zeros(0, kind)
    return np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]
