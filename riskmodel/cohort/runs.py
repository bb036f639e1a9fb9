"""Assessments and runs of one county in one pass over its sorted rows; what they are is said in `cohort/spells.py`.

The register keeps rows sorted by household and month, so that the row before is the assessment before, and a run is a slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from riskmodel.cohort.vectors import months_of
from riskmodel.months import as_of_day

_COLUMNS = ("household_id", "month", "known_at", "welfare", "line")


@dataclass(frozen=True)
class Assessments:
    """Income and line in the rows of one county, ordered by household and month.

    Attributes
    ----------
    ids
        Household ids, shape (households,).
    household, month_no, day, known_on
        Of each row: its household's place in `ids`, its month, and in days since 1970 the first day of that month and the
        day on which it was known; shape (rows,).
    welfare, line
        NaN where unknown, shape (rows,).
    step
        Months of one period.
    has_revisions
        Whether a month may be there in several versions, which then lie in the order in which they became known.
    """

    ids: pa.Array
    household: np.ndarray
    month_no: np.ndarray
    day: np.ndarray
    known_on: np.ndarray
    welfare: np.ndarray
    line: np.ndarray
    step: int
    has_revisions: bool

    @classmethod
    def read(cls, file: Path | None, step: int, has_revisions: bool) -> Assessments:
        """The assessments of a county's file of records; none where there is no file."""
        if file is None:
            none, days = np.zeros(0), np.zeros(0, np.int32)
            return cls(pa.array([], pa.string()), days, days, days, days, none, none, step, has_revisions)
        rows = pq.read_table(
            file, columns=list(_COLUMNS), read_dictionary=["household_id"], partitioning=None, use_threads=False
        )
        coded = rows["household_id"].unify_dictionaries().combine_chunks()
        ids, household = coded.dictionary.cast(pa.string()), coded.indices.to_numpy()
        day, known_on = (_days(rows[name]) for name in ("month", "known_at"))
        if len(ids) > 1 and not pc.all(pc.less(ids[:-1], ids[1:])).as_py():
            order = pc.sort_indices(ids).to_numpy()
            place = np.empty(len(ids), household.dtype)
            place[order] = np.arange(len(ids))
            ids, household = ids.take(pa.array(order)), place[household]
        month_no, welfare, line = months_of(day), _numbers(rows["welfare"]), _numbers(rows["line"])
        found = cls(ids, household, month_no, day, known_on, welfare, line, step, has_revisions)
        return found if found._sorted() else found._in_order(np.lexsort((known_on, day, household)))

    def _sorted(self) -> bool:
        gaps = np.diff(self.household.astype(np.int64) << 32 | self.day)
        return bool((gaps > 0).all() or ((gaps >= 0).all() and (np.diff(self.known_on)[gaps == 0] >= 0).all()))

    def _of(self, rows: np.ndarray) -> Assessments:
        """The same households with some of the rows."""
        return self if len(rows) == len(self.household) else self._in_order(rows)

    def _in_order(self, rows: np.ndarray) -> Assessments:
        parts = (self.household, self.month_no, self.day, self.known_on, self.welfare, self.line)
        return Assessments(self.ids, *(part[rows] for part in parts), self.step, self.has_revisions)

    def ever_below(self) -> np.ndarray:
        """Whether any row of a household, known or not, lies below the line, shape (households,)."""
        found = np.zeros(len(self.ids), bool)
        found[self.household[self.welfare < self.line]] = True
        return found

    def of_households(self, chosen: np.ndarray) -> Assessments:
        """The rows of some households, chosen by a boolean for each id."""
        return self._of(np.flatnonzero(chosen[self.household]))

    def known_by(self, as_of: int) -> Assessments:
        """What was known at the end of a period: of several versions of a month the last one, where it is an assessment."""
        day = (as_of_day(as_of, self.step) - np.datetime64("1970-01-01", "D").item()).days
        kept = np.flatnonzero((self.known_on <= day) & (self.day <= day))
        if self.has_revisions and len(kept):
            household, month = self.household[kept], self.day[kept]
            kept = kept[np.append((household[1:] != household[:-1]) | (month[1:] != month[:-1]), True)]
        assessed = ~(np.isnan(self.welfare[kept]) | np.isnan(self.line[kept]))
        return self._of(kept[assessed])

    def table(self, as_of: int) -> pa.Table:
        """Columns `as_of_no, household_id, month_no, below, ratio` (income over the line)."""
        return pa.table({
            "as_of_no": np.full(len(self.household), as_of, np.int32),
            "household_id": pa.DictionaryArray.from_arrays(pa.array(self.household), self.ids),
            "month_no": self.month_no.astype(np.int64),
            "below": self.welfare < self.line,
            "ratio": pa.array(self._ratio, from_pandas=True),
        })  # fmt: skip

    @cached_property
    def _ratio(self) -> np.ndarray:
        return np.divide(self.welfare, self.line, out=np.full(len(self.line), np.nan), where=self.line != 0)

    def standing(self, as_of: int, low_months: int) -> pa.Table:
        """How each household stands: `as_of_no, household_id`, month and ratio of the last assessment, lowest ratio.

        Columns `watched_no`, `ratio` (the last one known) and `low_ratio` (of the last `low_months`, missing where none is).
        """
        household, ratio, rows = self.household, self._ratio, np.arange(len(self.household))
        last = np.flatnonzero(np.append(household[1:] != household[:-1], True)) if len(rows) else rows
        first = np.append(0, last[:-1] + 1)[: len(last)]
        told = np.maximum.accumulate(np.where(np.isnan(ratio), -1, rows))[last] if len(rows) else last
        recent = np.where((self.month_no > as_of - low_months) & ~np.isnan(ratio), ratio, np.inf)
        low = np.minimum.reduceat(recent, first) if len(rows) else recent
        return pa.table({
            "as_of_no": np.full(len(last), as_of, np.int32),
            "household_id": pa.DictionaryArray.from_arrays(pa.array(household[last]), self.ids),
            "watched_no": self.month_no[last].astype(np.int64),
            "ratio": pa.array(np.where(told >= first, ratio[told] if len(rows) else ratio, np.nan), from_pandas=True),
            "low_ratio": pa.array(np.where(np.isinf(low), np.nan, low), from_pandas=True),
        })  # fmt: skip

    def runs(self, as_of: int, bridge_months: int, number_from: int = 0) -> pa.Table:
        """The runs of these rows, as `open_runs` says; they are numbered on from `number_from`."""
        household, month, below, ratio = self.household, self.month_no, self.welfare < self.line, self._ratio
        size = len(household)
        joins, goes_on, next_step = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, bool)
        if size:
            gap = month[1:] - month[:-1]
            joins[1:] = (household[1:] == household[:-1]) & (gap <= self.step + bridge_months)
            goes_on[1:] = joins[1:] & (below[1:] == below[:-1])
            next_step[1:] = goes_on[1:] & (gap == self.step)
        first = np.flatnonzero(~goes_on)
        last = np.append(first[1:], size)[: len(first)] - 1
        whose, under, started = household[first], below[first], joins[first]
        ended = np.zeros(len(first), bool)
        ended[:-1] = (whose[1:] == whose[:-1]) & started[1:]
        told = np.maximum.accumulate(np.where(np.isnan(ratio), -1, np.arange(size))) if size else first
        told = told[last]
        last_ratio = np.where(told >= first, ratio[np.maximum(told, 0)] if size else np.zeros(0), np.nan)
        before = np.cumsum(under) - under
        fresh = np.append(True, whose[1:] != whose[:-1])[: len(first)]
        own = np.maximum.accumulate(np.where(fresh, np.arange(len(first)), 0)) if len(first) else first
        following = np.append(month[first][1:], 0)[: len(first)].astype(np.int64)
        return pa.table({
            "as_of_no": np.full(len(first), as_of, np.int32),
            "household_id": pa.DictionaryArray.from_arrays(pa.array(whose), self.ids),
            "below": under,
            "from_no": month[first].astype(np.int64),
            "last_no": month[last].astype(np.int64),
            "until_no": pa.array(following, mask=~ended),
            "assessments": (last - first + 1).astype(np.int64),
            "start_known": started,
            "run_no": np.arange(number_from + 1, number_from + len(first) + 1),
            "last_ratio": pa.array(last_ratio, from_pandas=True),
            "inner_steps": (np.add.reduceat(next_step, first, dtype=np.int64) if size else np.zeros(0, np.int64)),
            "seen_below": before > before[own],
        })  # fmt: skip


def _days(column: pa.ChunkedArray) -> np.ndarray:
    """Days since 1970; a missing day lies beyond all others."""
    return pc.fill_null(column.cast(pa.date32()).cast(pa.int32()), np.iinfo(np.int32).max).to_numpy()


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.float64()).to_numpy()
