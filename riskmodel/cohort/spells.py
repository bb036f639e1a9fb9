"""Spells of poverty and of monitoring, as they were known on a day.

A record is an **assessment** if it holds income and a line; of several versions of a month the last one known on the day
counts. Assessments of a household are cut into **runs** below the line and above it. A month without an assessment is
neither: a run reaches across a gap of up to `bridge_months`, and a longer gap cuts it.

- A run **begins** where the assessment before it (no further back than the gap allows) was on the other side. Without
  one its start is not known (`start_known` is false): it began before the household was watched, and how long it lasts
  cannot be told. It is left out of durations, and counted.
- A run **ends** in the month of the first assessment on the other side. Without one it is right-censored: it lasted at
  least until `last_no`, the last month in which it was seen.

A **poverty spell** is a run below the line. A **monitoring spell** goes from its day of identification to its day of
elimination, open where that day lies ahead; spells of a household that overlap or touch are one. One that
began before the first month of the register is known only because it was still open then, so it counts from that month
on (`entry`, left truncation).

Months are numbers (`riskmodel.months`); the months that a run lasted are `until_no - from_no`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pandas as pd
import pyarrow as pa

from riskmodel.catalogue.compiler import month_no
from riskmodel.cohort.runs import Assessments
from riskmodel.engine import engine, known_last, rows_of
from riskmodel.errors import UsageError
from riskmodel.months import as_of_day, month_number
from riskmodel.register import Register

BRIDGE_MONTHS = 3
LOW_MONTHS = 12


def poverty_spells(
    register: Register, as_of: int, *, bridge_months: int = BRIDGE_MONTHS, counties: Iterable[str] | None = None
) -> pd.DataFrame:
    """Spells below the line as known at the end of a period.

    Parameters
    ----------
    as_of
        First month of the period, as a number.
    bridge_months
        Months without an assessment that a spell reaches across.

    Returns
    -------
    pandas.DataFrame
        One row per spell, ordered by county, household and month: `household_id`, `county_id`, `spell_no` (1 for the
        first one seen), `from_no`, `last_no` (last month seen below the line), `until_no` (first month above it; missing
        where the end is not known), `assessments` (months seen below the line), `start_known`.

    Raises
    ------
    UsageError
        If the register lacks income or a line.
    """

    def one(connection: duckdb.DuckDBPyConnection, county: str) -> pd.DataFrame:
        open_runs(connection, assessments(register, county), [as_of], bridge_months)
        return connection.execute(
            "SELECT household_id, row_number() OVER (PARTITION BY household_id ORDER BY from_no) AS spell_no, from_no, "
            "last_no, until_no, assessments, start_known FROM runs WHERE below ORDER BY household_id, from_no"
        ).df()

    return _by_county(register, counties, one)


def monitoring_spells(register: Register, as_of: int, *, counties: Iterable[str] | None = None) -> pd.DataFrame:
    """Spells of monitoring as known at the end of a period.

    Returns
    -------
    pandas.DataFrame
        One row per spell, ordered by county, household and month: `household_id`, `county_id`, `spell_no`, `from_no`,
        `until_no` (month of elimination, missing where open), `mode` (of elimination), `entry` (months after its start
        from which it is known, 0 where it began within the register).

    Raises
    ------
    UsageError
        If the register holds no spells.
    """

    def one(connection: duckdb.DuckDBPyConnection, county: str) -> pd.DataFrame:
        open_monitoring(connection, register, county, [as_of])
        return connection.execute(
            "SELECT household_id, spell_no, from_no, until_no, mode, entry FROM monitoring ORDER BY household_id, from_no"
        ).df()

    return _by_county(register, counties, one)


def has_assessments(register: Register) -> bool:
    """Whether a register holds income and a line."""
    return {"welfare", "line"} <= set(register.columns("records"))


def assessments(register: Register, county: str) -> Assessments:
    """All assessments of a county, whenever they became known.

    Raises
    ------
    UsageError
        If the register lacks income or a line.
    """
    if not has_assessments(register):
        raise UsageError("poverty spells need income and a line, which the register does not hold.")
    return Assessments.read(register.file("records", county), register.step_months, register.has_revisions)


def open_runs(connection: duckdb.DuckDBPyConnection, held: Assessments, as_of: Sequence[int], bridge_months: int) -> None:
    """Views `assessed` and `standing` and table `runs` of some assessments, as known at the end of each period.

    `assessed`: `as_of_no, household_id, month_no, below, ratio` (income over the line).

    `standing`: `as_of_no, household_id, watched_no` (month of the last assessment), `ratio` (the last one), `low_ratio` (the
    lowest in the last `LOW_MONTHS`).

    `runs`: `as_of_no, household_id, below, from_no, last_no, until_no, assessments, start_known, run_no, seen_below`
    (whether an earlier run of the household was below the line), `last_ratio`, `inner_steps` (assessments that follow one of
    the same run by a single step).
    """
    assessed, standing, runs, number = [], [], [], 0
    for month in sorted(as_of):
        known = held.known_by(month)
        assessed.append(known.table(month))
        standing.append(known.standing(month, LOW_MONTHS))
        runs.append(known.runs(month, bridge_months, number))
        number += len(runs[-1])
    connection.register("assessed", pa.concat_tables(assessed))
    connection.register("standing", pa.concat_tables(standing))
    connection.register("made", pa.concat_tables(runs))
    connection.execute("CREATE OR REPLACE TABLE runs AS FROM made")
    connection.unregister("made")


def open_monitoring(connection: duckdb.DuckDBPyConnection, register: Register, county: str, as_of: Sequence[int]) -> None:
    """Tables `every_spell`, `monitoring` and `left_before` of one county, as known at the end of each period.

    `every_spell`: `as_of_no, household_id, spell_no, from_no, until_no, identified_on, eliminated_on, mode, entry`.

    `monitoring`: of these what did not end before the register begins.

    `left_before`: `as_of_no, household_id` of those who had a spell that ended before the register begins.

    Raises
    ------
    UsageError
        If the register holds no spells.
    """
    if not register.has("spells"):
        raise UsageError("the register holds no monitoring spells (table `spells`).")
    held, file = set(register.columns("spells")), register.file("spells", county)
    if file is None:
        connection.execute(
            "CREATE OR REPLACE TABLE every_spell AS SELECT 0 AS as_of_no, '' AS household_id, 0 AS spell_no, 0 AS from_no, "
            "0 AS until_no, DATE '2000-01-01' AS identified_on, DATE '2000-01-01' AS eliminated_on, '' AS mode, 0 AS entry "
            "WHERE false; CREATE OR REPLACE TABLE monitoring AS FROM every_spell; "
            "CREATE OR REPLACE TABLE left_before AS SELECT as_of_no, household_id FROM every_spell"
        )
        return
    months = ", ".join(f"({m}, DATE '{as_of_day(m, register.step_months)}')" for m in as_of)
    ended = "eliminated_on" if "eliminated_on" in held else "CAST(NULL AS DATE)"
    mode = "elimination_mode" if "elimination_mode" in held else "CAST(NULL AS VARCHAR)"
    first = month_number(register.first_month)
    latest = known_last("as_of_no", "household_id", "identified_on") if "spells" in register.revised else ""
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE every_spell AS
        WITH known AS (
            SELECT as_of_no, household_id, identified_on, {month_no("identified_on")} AS from_no,
                   CASE WHEN {ended} <= day THEN {ended} END AS eliminated_on,
                   CASE WHEN {ended} <= day THEN {mode} END AS mode
            FROM {rows_of(file)} JOIN (VALUES {months}) AS asked(as_of_no, day)
            ON known_at <= day AND identified_on <= day {latest}),
        ordered AS (
            SELECT *, CASE WHEN identified_on <= max(coalesce(eliminated_on, DATE '9999-12-31')) OVER (
                          PARTITION BY as_of_no, household_id ORDER BY identified_on, eliminated_on NULLS LAST
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS fresh
            FROM known),
        numbered AS (
            SELECT *, sum(fresh) OVER (PARTITION BY as_of_no, household_id
                                       ORDER BY identified_on, eliminated_on NULLS LAST) AS spell_no
            FROM ordered),
        joined AS (
            SELECT as_of_no, household_id, spell_no, min(identified_on) AS identified_on, min(from_no) AS from_no,
                   CASE WHEN count(*) = count(eliminated_on) THEN max(eliminated_on) END AS eliminated_on,
                   arg_max_null(mode, (eliminated_on, identified_on)) AS mode
            FROM numbered GROUP BY as_of_no, household_id, spell_no)
        SELECT as_of_no, household_id, spell_no, from_no, {month_no("eliminated_on")} AS until_no, identified_on,
               eliminated_on, CASE WHEN eliminated_on IS NOT NULL THEN coalesce(mode, 'not_recorded') END AS mode,
               greatest({first} - from_no, 0) AS entry
        FROM joined;
        CREATE OR REPLACE TABLE left_before AS
        SELECT DISTINCT as_of_no, household_id FROM every_spell WHERE until_no < {first};
        CREATE OR REPLACE TABLE monitoring AS FROM every_spell WHERE until_no IS NULL OR until_no >= {first}
        """
    )


@dataclass(frozen=True)
class Sight:
    """How far households can be followed by what is known at the end of a period.

    Attributes
    ----------
    step
        Months of one period.
    bridge_months
        Months without a record that a spell reaches across.
    records_late
        Months by which the newest period with known records lags behind, as a rule.
    book_late
        Days until the book of monitoring tells of entries and ends, as a rule.
    """

    step: int
    bridge_months: int = BRIDGE_MONTHS
    records_late: int = 0
    book_late: int = 0

    def told_no(self, as_of: int) -> int:
        """The last whole month of whose entries and ends the book of monitoring tells at the end of a period.

        >>> Sight(step=1, book_late=28).told_no(month_number("2024-09")) == month_number("2024-08")
        True
        """
        return month_number(as_of_day(as_of, self.step) - timedelta(days=self.book_late - 1)) - 1

    def in_sight(self, seen: str, as_of: int | str) -> str:
        """SQL for whether a last record is no older than a spell reaches across, held against the newest that are told.

        Parameters
        ----------
        seen, as_of
            The first month of the period of the last record and of the period at whose end is asked, numbers or SQL.

        >>> Sight(step=1, records_late=2).in_sight("seen_no", 24276)
        'seen_no >= 24276 - 6'
        """
        return f"{seen} >= {as_of} - {self.step + self.bridge_months + self.records_late}"

    def followed_no(self, seen: str, as_of: int) -> str:
        """SQL for the last month in which an entry into monitoring would be on record, as known at the end of a period.

        The book of monitoring tells it as far as it is told, of a household in sight; of one that is out of sight, no
        further than to the end of the period of its last record. No later entry counts: whoever came back is followed no
        longer than whoever did not. A household of which there is no record is followed as far as the book is told.
        """
        told = self.told_no(as_of)
        of_last_record = f"least({seen} + {self.step - 1}, {told})"
        return f"CASE WHEN coalesce({self.in_sight(seen, as_of)}, true) THEN {told} ELSE {of_last_record} END"

    def stays_out(self, seen: str, as_of: int) -> str:
        """SQL for the months out after each spell of `monitoring`, as known at the end of a period.

        Columns `household_id, spell_no, from_no` (month in which the spell ended), `until_no` (month of re-entry, missing
        where none was seen), `last_no` (last month in which one would have been).

        Parameters
        ----------
        seen
            SQL of a table `household_id, seen_no` (first month of the period of the last record).
        """
        return f"""
            SELECT household_id, spell_no, from_no, CASE WHEN next_no <= end_no THEN next_no END AS until_no,
                   least(coalesce(next_no, end_no), end_no) AS last_no
            FROM (SELECT household_id, spell_no, until_no AS from_no, {self.followed_no("seen_no", as_of)} AS end_no,
                         lead(from_no) OVER (PARTITION BY household_id ORDER BY spell_no) AS next_no
                  FROM monitoring LEFT JOIN ({seen}) USING (household_id) WHERE as_of_no = {as_of})
            WHERE from_no <= end_no"""


def _by_county(register: Register, counties: Iterable[str] | None, one: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    frames = []
    for county in register.counties if counties is None else counties:
        with engine() as connection:
            frame = one(connection, county)
        frame.insert(1, "county_id", county)
        frames.append(frame)
    found = pd.concat(frames, ignore_index=True)
    return found.astype({c: "Int64" for c in found if c.endswith("_no")})
