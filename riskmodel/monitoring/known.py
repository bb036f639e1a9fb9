"""The register as it was known on the day of the report, and what households needed then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import md5
from statistics import median_low
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel.catalogue import Catalogue
from riskmodel.cohort.conditions import holds
from riskmodel.cohort.features import build_features
from riskmodel.cohort.spells import Sight, open_monitoring
from riskmodel.engine import engine, known_last, rows_of
from riskmodel.explain.causes import facts_by_driver
from riskmodel.monitoring.part import Asked
from riskmodel.months import as_of_day, month_number
from riskmodel.register import Register, load_contract
from riskmodel.register.store import as_frame

if TYPE_CHECKING:
    import datetime as dt


def open_known(
    connection: duckdb.DuckDBPyConnection,
    asked: Asked,
    table: str,
    counties: Iterable[str],
    where: str = "true",
    versions: bool = False,
) -> None:
    """View `sorted_<table>`: all columns of the contract as known on the day; what was a later fact is unknown.

    A later fact whose day is not on record is known with its row, as in the books of today: help that was taken up on such a
    day was taken up. (Features, which are asked for of days long past too, leave it out.)
    Of what was told again the version known last is there, and on request all `versions`; what it takes back is unknown.
    `where` is a condition over the key, which all versions share. Without a file of these counties the view holds no row;
    columns that the register lacks are NULL.
    """
    definition = load_contract().tables[table]
    held = set(asked.register.columns(table)) | set(definition.key) | ({"known_at"} & set(definition.columns))
    files = [str(file) for county in counties if (file := asked.register.file(table, county)) is not None]
    day = f"DATE '{asked.day}'"
    columns = []
    for name, column in definition.columns.items():
        value = name if files and name in held else f"CAST(NULL AS {_SQL.get(column.type, 'VARCHAR')})"
        if files and name in held and column.revealed_by in held:
            value = f"CASE WHEN {column.revealed_by} > {day} THEN NULL ELSE {name} END"
        columns.append(f"{value} AS {name}")
    source = rows_of(*files) if files else "(SELECT 1)"
    known = f"known_at <= {day} AND ({where})" if "known_at" in definition.columns else where
    if files and not versions and table in asked.register.revised:
        source, known = f"(FROM {source} WHERE {known} {known_last(*definition.key)})", "true"
    connection.execute(
        f"CREATE OR REPLACE VIEW sorted_{table} AS SELECT {', '.join(columns)} FROM {source} "
        f"WHERE {known if files else 'false'}"
    )


def read_known(connection: duckdb.DuckDBPyConnection, asked: Asked, table: str, county: str) -> pd.DataFrame:
    """Rows of a county as `open_known` tells them, in the order on disk; columns of the contract that the register holds."""
    definition, held = load_contract().tables[table], asked.register.columns(table)
    columns = [c for c in definition.columns if c in held or c in (*definition.key, "known_at")]
    open_known(connection, asked, table, [county])
    rows = f"SELECT {', '.join(columns)} FROM sorted_{table} ORDER BY {', '.join(definition.order)}"
    return as_frame(connection.sql(rows).to_arrow_table())


def reported_late(asked: Asked) -> int:
    """Months by which the newest period with known records lags behind, as a rule: 0 where they come within their period.

    The median over the periods up to that of the report: one in which nothing came makes no rule.
    """
    files = [str(file) for county in asked.counties if (file := asked.register.file("records", county)) is not None]
    with engine() as connection:
        found = connection.execute(f"SELECT month, min(known_at) FROM {rows_of(*files)} GROUP BY month").fetchall()
    came = {month_number(month): known for month, known in found}
    step = asked.register.step_months
    behind = []
    for period in range(asked.as_of, month_number(asked.register.first_month) - 1, -step):
        day = as_of_day(period, step)
        known = [month for month, known_at in came.items() if month <= period and known_at <= day]
        behind += [period - max(known)] if known else []
    return median_low(behind) if behind else 0


def newest_told(asked: Asked, late: int) -> int:
    """The newest period whose records are on hand as a rule, so many months before that of the report (`reported_late`).

    Of a month after the register's last record none are: nobody has failed to record it.
    """
    return min(asked.as_of - late, month_number(asked.register.last_month))


def told_until(asked: Asked, table: str, fact: str, counties: Sequence[str]) -> dt.date:
    """The last day of whose later facts nine in ten are known on the day of the report, as a rule.

    Facts of the past tell by how many days they are known late; one in a row that was known before it counts from its day.
    Those that came to be known within a year count, where they are a hundred. What an office took over from older books all
    at once makes no rule: facts from before the register begins count nowhere.

    Parameters
    ----------
    fact
        SQL for the day of the fact, over the columns of the table.
    """
    with engine() as connection:
        open_known(connection, asked, table, counties, versions=True)
        key = ", ".join(load_contract().tables[table].key)
        behind = connection.execute(
            f"""
            SELECT CASE WHEN count(*) FILTER (recent) >= {_A_RULE} THEN quantile_disc(late, 0.9) FILTER (recent)
                        ELSE quantile_disc(late, 0.9) END
            FROM (SELECT greatest(told - happened, 0) AS late, told > DATE '{asked.before(12)}' AS recent
                  FROM (SELECT min(known_at) AS told, arg_min(happened, known_at) AS happened
                        FROM (SELECT *, {fact} AS happened FROM sorted_{table})
                        WHERE happened >= DATE '{asked.register.first_month}-01' GROUP BY {key}))"""
        ).fetchall()[0][0]
    return asked.day - timedelta(days=behind or 0)


_A_RULE = 100
"""Facts that came to be known within a year, from which on they alone tell how late such facts are known."""


def sight(asked: Asked) -> Sight:
    """How far households can be followed, as records and the book of monitoring come to be known."""
    told, counties = asked.day, asked.register.counties
    if asked.register.has("spells"):
        held = asked.register.columns("spells")
        facts = [fact for fact in ("identified_on", "eliminated_on") if fact in held]
        told = min(told_until(asked, "spells", fact, counties) for fact in facts)
    bridge = asked.rules.spells.bridge_months
    return Sight(asked.register.step_months, bridge, reported_late(asked), (asked.day - told).days)


def not_recorded_yet(asked: Asked, late: int) -> bool:
    """Whether the register ends before the period whose records would tell the month as a rule."""
    return newest_told(asked, late) < asked.as_of - late


def no_records_yet(asked: Asked) -> tuple[str, str]:
    """That the register holds no record yet of the month of the report, in English and Chinese."""
    last = asked.register.last_month
    return (
        f"The records of the register end with {last}, before the month of the report: what they would tell is left out.",
        f"登记数据的记录截至{last}，尚无报告月的记录：须由当月记录说明的情况不予统计。",
    )


def late_records(months: int) -> tuple[str, str]:
    """That each month is told by the records of so many months before, in English and Chinese."""
    return (
        "Records come to be known after the last day of their period: each month is told by the records of the period that "
        f"began {months} month(s) before it.",
        f"记录在期末之后才报送：各期均以{months}个月前的一期记录统计。",
    )


def open_spells(
    connection: duckdb.DuckDBPyConnection, asked: Asked, as_of: Sequence[int], counties: Sequence[str] | None = None
) -> None:
    """Table `spells`: every spell of monitoring (`open_monitoring`) of all counties, or of some, as known at the end of each
    period."""
    for number, county in enumerate(asked.register.counties if counties is None else counties):
        open_monitoring(connection, asked.register, county, as_of)
        connection.execute("INSERT INTO spells FROM every_spell" if number else "CREATE TABLE spells AS FROM every_spell")


UNDER_WAY_MONTHS = 24
"""Months from its offer for which help without an end on record goes on, as in the feature `active_measures`: many books
never write an end."""


def goes_on(asked: Asked, after: dt.date) -> str:
    """SQL for whether help of `sorted_assistance` had not ended by a day: it ended later, or nobody wrote an end and it was
    offered within `UNDER_WAY_MONTHS` of the report."""
    return f"coalesce(ended_on > DATE '{after}', offered_on > DATE '{asked.before(UNDER_WAY_MONTHS)}')"


_SQL = {"date": "DATE", "month": "DATE", "number": "DOUBLE", "integer": "BIGINT", "boolean": "BOOLEAN"}


@dataclass(frozen=True)
class Answers:
    """Which drivers each kind of help of the register answers, through the measures of `measures.yaml`.

    >>> from riskmodel.catalogue import load_catalogue
    >>> Answers.of(load_catalogue(), {"health_help": ["health"], "land_trust": ["industry"]}).drivers
    {'health': ('illness', 'accident')}
    """

    drivers: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, catalogue: Catalogue, delivers: Mapping[str, Sequence[str]]) -> Answers:
        """Objective drivers only: help answers a need, never a way of living."""
        found: dict[str, dict[str, None]] = {}
        for measure in catalogue.measures:
            for kind in delivers.get(measure.name, ()):
                wanted = [d for d in measure.drivers if catalogue.driver_by_name[d].nature == "objective"]
                found.setdefault(kind, {}).update(dict.fromkeys(wanted))
        return cls({kind: tuple(drivers) for kind, drivers in found.items() if drivers})

    def unmet(self, needs: pd.DataFrame, given: pd.Series) -> pd.Series:
        """The drivers of each household that no kind of help given to it answers, as text.

        Parameters
        ----------
        needs
            One column a driver, booleans.
        given
            Kinds of help, divided by `; `; index of `needs`.
        """
        answered = {driver for drivers in self.drivers.values() for driver in drivers}
        kinds = given.fillna("").str.get_dummies("; ").astype(bool)
        open_needs = {}
        for driver in (d for d in needs if d in answered):
            by = [k for k in kinds if driver in self.drivers.get(k, ())]
            open_needs[driver] = needs[driver] & ~kinds[by].any(axis=1)
        return named(pd.DataFrame(open_needs, index=needs.index))


def named(flags: pd.DataFrame) -> pd.Series:
    """Names of the columns that hold in each row, divided by `; `.

    >>> named(pd.DataFrame({"illness": [True, False], "job": [True, False]})).tolist()
    ['illness; job', '']
    """
    texts = pd.Series("", index=flags.index, dtype=object)
    for name in flags:
        texts = texts + flags[name].map({True: f"{name}; ", False: ""}).astype(object)
    return texts.str.removesuffix("; ")


def among(ids: Any, chosen: Any) -> np.ndarray:
    """Whether each id is one of those chosen, shape (n,).

    >>> among(["a", "b", None], ["b", "c"]).tolist()
    [False, True, False]
    """
    told, wanted = (x if isinstance(x, pa.Array) else pa.array(x, pa.string()) for x in (ids, chosen))
    return pc.is_in(told, wanted).to_numpy(zero_copy_only=False)


def drawn(ids: Collection[str], share: float) -> np.ndarray:
    """Whether each id is among a share of all ids, drawn by the id alone, shape (n,).

    >>> drawn(["a", "b", "c"], 0.5).tolist()
    [True, False, True]
    """
    if share >= 1:
        return np.ones(len(ids), bool)
    limit = int(share * 2**32)
    return np.array([_lot(i) < limit for i in ids], bool)


def drawn_counties(register: Register, households: int) -> list[str]:
    """Counties drawn by their id alone until they hold so many households, sorted."""
    found, held = [], 0
    for county in sorted(register.counties, key=_lot):
        if held >= households:
            break
        if here := register.rows("households", county):
            found.append(county)
            held += here
    return sorted(found)


def _lot(name: str) -> int:
    """A number below 2^32 that a name always draws, by chance as far as its order goes."""
    return int(md5(name.encode(), usedforsecurity=False).hexdigest()[:8], 16)


def needs_on(
    asked: Asked,
    catalogue: Catalogue,
    months: Sequence[int],
    counties: Sequence[str],
    further: Sequence[str] = (),
    households: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What was known of households at these months: their needs, and some features.

    A need is a driver with a fact behind it that some measure of `measures.yaml` may answer: a household without an able
    member has no need of training or of a job.

    Parameters
    ----------
    households
        Ids; all households by default.

    Returns
    -------
    pandas.DataFrame
        `household_id`, `as_of` (text), the `further` features that the register can give, and `fact_<driver>`, booleans.
    """
    limits = [e for m in catalogue.measures for e in (m.when, m.never) if e is not None]
    read = {column for e in (*limits, *(fact.when for fact in catalogue.facts)) for column in e.columns}
    catalogue = only(catalogue, read | set(further))
    found = build_features(asked.register, months, catalogue, counties=counties, households=households).frame
    by_driver = (facts_by_driver(catalogue, found)[0] & _may_be_answered(catalogue, found)).add_prefix("fact_")
    kept = dict.fromkeys(c for c in ("household_id", "as_of", *further) if c in found)
    return pd.concat([found[[*kept]], by_driver], axis=1)


def _may_be_answered(catalogue: Catalogue, features: pd.DataFrame) -> pd.DataFrame:
    """Whether at least one measure that answers a driver may be suggested; a condition that is not known keeps none away."""
    limits = [e for m in catalogue.measures for e in (m.when, m.never) if e is not None]
    known = dict(zip(map(id, limits), holds(limits, features), strict=True))
    found = pd.DataFrame(False, index=features.index, columns=[d.name for d in catalogue.drivers])
    for measure in catalogue.measures:
        suits = pd.Series(True, index=features.index)
        if measure.when is not None:
            suits &= known[id(measure.when)].fillna(True).astype(bool)
        if measure.never is not None:
            suits &= ~known[id(measure.never)].fillna(False).astype(bool)
        for driver in measure.drivers:
            found[driver] |= suits
    return found


def of_circumstances(catalogue: Catalogue) -> Catalogue:
    """The catalogue without its subjective drivers, their facts, and measures that answer no other: less is read for it."""
    drivers = tuple(d for d in catalogue.drivers if d.nature == "objective")
    names = {d.name for d in drivers}
    kept = ((m, tuple(d for d in m.drivers if d in names)) for m in catalogue.measures)
    return replace(
        catalogue,
        drivers=drivers,
        facts=tuple(fact for fact in catalogue.facts if fact.driver in names),
        measures=tuple(replace(measure, drivers=answered) for measure, answered in kept if answered),
    )


def only(catalogue: Catalogue, names: set[str]) -> Catalogue:
    """The catalogue with these features and those that they need."""
    wanted, waiting = set(), {n for n in names if n in catalogue.by_name}
    while waiting:
        wanted |= waiting
        needs = {need for name in waiting for need in catalogue.by_name[name].needs}
        waiting = {n for n in needs if n in catalogue.by_name} - wanted
    return replace(catalogue, features=tuple(f for f in catalogue.features if f.name in wanted))


def not_unverified(events: pd.DataFrame) -> pd.DataFrame:
    """Events without those that are known to be unverified."""
    return events[events["verified"].fillna(True).astype(bool)] if "verified" in events else events
