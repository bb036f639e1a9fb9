"""What a household's records say on a month of what labels count, and who is at risk by it.

At risk is who was seen lately and whom nothing that the label counts holds already: not below the line, not in open
monitoring, guarantees not known to fail, no sudden difficulty. Of each month the newest record known decides; what it does
not tell, of each guarantee by itself, is told by the month before it. Labels ask by SQL for many months at once
(`cohort/labels.py`); scoring asks here, in the same pass over the county that its features take.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from riskmodel.catalogue.catalogue import Feature
from riskmodel.catalogue.compiler import month_no
from riskmodel.catalogue.expressions import parse
from riskmodel.catalogue.reading import Place
from riskmodel.engine import engine, rows_of
from riskmodel.errors import UsageError
from riskmodel.register import Register, load_contract
from riskmodel.register.contract import INCOME
from riskmodel.settings import AtRisk, Label

SUDDEN_SHARE = 0.5
SUDDEN_MONTHS = 12
FELL_AS = {"lifted": "return", "ordinary": "fall"}
"""What an outcome is, by the household's type."""
NOT_UNVERIFIED = "coalesce(verified, true)"
"""Of an event, in SQL: it is not known to be unverified."""
_BY_A_LOOK = "source IS NULL OR source IN ('visit', 'department')"
_BELOW, _COSTLY, _COSTED, _SEEN = (f"standing_{name}" for name in ("below", "costly", "costed", "seen"))


@dataclass(frozen=True)
class Standing:
    """Who is at risk in a county at one as-of month, told block by block from columns beside the features.

    Attributes
    ----------
    columns
        What to compute beside the features, in the same pass.
    """

    columns: tuple[Feature, ...]
    _guarantees: tuple[str, ...]
    _last: int
    _below_counts: bool
    _population: str
    _monitored: np.ndarray
    _struck: np.ndarray
    _onset: np.ndarray

    @classmethod
    def of(cls, register: Register, county: str, as_of: int, label: Label, at_risk: AtRisk) -> Standing:
        """Read what beside the records says who is at risk.

        Raises
        ------
        UsageError
            If the register lacks what the label is made of, or the households' type that `at_risk` asks for.
        """
        counted = parts_of(register, label)
        check_population(register, at_risk)
        seen = f"FILTER (WHERE age <= {at_risk.seen_within_months})"
        guarantees = guarantees_told(register)
        told = {name: text for name, text in told_by_records(register).items() if text != "NULL" and name != "failing"}
        told |= guarantees
        texts = {f"standing_{name}": f"arg_min({text}, age) {seen}" for name, text in told.items()}
        texts[_SEEN] = f"min(age) {seen}"
        if "costly" in told:
            texts[_COSTED] = f"min(CASE WHEN {told['costly']} IS NOT NULL THEN age END) {seen}"
        last = as_of + register.step_months - 1
        with engine() as connection:
            open_others(connection, register, county)
            monitored = connection.execute(
                f"SELECT DISTINCT household_id FROM monitored WHERE from_no <= {last} AND {told_at(str(last), 'monitored')} "
                f"AND (until_no IS NULL OR until_no > {last}) ORDER BY household_id"
            ).fetchnumpy()
            first = as_of - at_risk.seen_within_months - SUDDEN_MONTHS
            struck = connection.execute(
                f"SELECT household_id, onset_no FROM struck WHERE {told_at(str(last), 'struck')} "
                f"AND onset_no > {first} AND onset_no <= {last} ORDER BY household_id"
            ).fetchnumpy()
        return cls(
            columns=tuple(_column(name, text) for name, text in texts.items()),
            _guarantees=tuple(f"standing_{name}" for name in guarantees),
            _last=last,
            _below_counts="below_line" in counted,
            _population=at_risk.population,
            _monitored=monitored["household_id"],
            _struck=struck["household_id"],
            _onset=struck["onset_no"],
        )

    def at_risk(self, features: pd.DataFrame) -> np.ndarray:
        """Whether each household of a block of features, these columns among them, is at risk, shape (n,)."""
        below, costly, costed, seen = (self._told(name, features) for name in (_BELOW, _COSTLY, _COSTED, _SEEN))
        found = (below == 0) if self._below_counts else (below != 1)
        found &= ~np.isnan(seen)
        for name in self._guarantees:
            found &= self._told(name, features) != 0
        if self._population != "all":
            found &= (features["household_type"] == self._population).fillna(False).to_numpy(bool)
        if len(features):
            households = pd.Index(features["household_id"])
            monitored = households.get_indexer(self._monitored[_within(self._monitored, households)])
            found[monitored[monitored >= 0]] = False
            here = _within(self._struck, households)
            struck, since = households.get_indexer(self._struck[here]), self._last - self._onset[here]
            since = since - costed[struck]  # months from the event to the end of the last record that tells the cost
            found[struck[(struck >= 0) & (costly[struck] == 1) & (since >= 0) & (since < SUDDEN_MONTHS)]] = False
        return found

    @staticmethod
    def _told(name: str, features: pd.DataFrame) -> np.ndarray:
        return features[name].to_numpy() if name in features else np.full(len(features), np.nan)


def _within(households: np.ndarray, block: pd.Index) -> slice:
    """Of ascending ids those between the first and the last of a block."""
    return slice(np.searchsorted(households, block[0]), np.searchsorted(households, block[-1], side="right"))


def fell_as(features: pd.DataFrame) -> np.ndarray:
    """What an outcome would be: a `return` to poverty, a `fall` into it, or `unknown`; by the household's type."""
    if "household_type" not in features:
        return np.full(len(features), "unknown", object)
    return features["household_type"].map(FELL_AS).fillna("unknown").to_numpy(object)


def parts_of(register: Register, label: Label) -> list[str]:
    """The single causes that a label counts and the register can show.

    Raises
    ------
    UsageError
        If there is none.
    """
    held = set(register.columns("records"))
    possible = {
        "below_line": {"welfare", "line"} <= held,
        "guarantee_fail": bool(guarantees_told(register)),
        "sudden_difficulty": "selfpay" in held and any(c in held for c in INCOME) and register.has("events"),
        "enter_monitoring": register.has("spells"),
    }
    wanted = ["below_line", "guarantee_fail", "sudden_difficulty"] if label.name == "return" else [label.name]
    parts = [p for p in wanted if possible[p]]
    if not parts or (label.name != "return" and not possible[label.name]):
        raise UsageError(f"label {label.name!r} cannot be made: the register lacks the columns that it counts.")
    return parts


def check_population(register: Register, at_risk: AtRisk) -> None:
    """Raise UsageError if the population is told by a column that the register does not hold."""
    if at_risk.population != "all" and "household_type" not in register.columns("households"):
        raise UsageError("at_risk.population asks for household_type, which the register does not hold.")


def told_by_records(register: Register) -> dict[str, str]:
    """SQL over a record for what it tells: `below` the line, a guarantee `failing`, `costly` beyond income; or NULL.

    Where cost or a part of net income is blank, it is not told whether a record is costly; blank claims are none, as many
    books write only those that were paid.
    """
    held = set(register.columns("records"))
    failing = " OR ".join(f"NOT {text}" for text in guarantees_told(register).values())
    net = " + ".join(c for c in INCOME if c in held)
    cost = f"selfpay - {'coalesce(claims, 0)' if 'claims' in held else '0'}"
    less = " - production_cost" if "production_cost" in held else ""
    found = f"(CASE WHEN {net}{less} IS NOT NULL THEN ({cost}) >= {SUDDEN_SHARE} * floor_at({net}{less}, 1) END)"
    return {
        "below": "(welfare < line)" if {"welfare", "line"} <= held else "NULL",
        "failing": f"({failing})" if failing else "NULL",
        "costly": found if net and "selfpay" in held else "NULL",
    }


def guarantees_told(register: Register) -> dict[str, str]:
    """SQL over a record for each guarantee as a visit, a department or an unknown source tells it; else NULL."""
    held = register.columns("records")
    names = [c.name for c in load_contract().tables["records"].columns.values() if c.guarantee and c.name in held]
    return {name: f"(CASE WHEN {_BY_A_LOOK} THEN {name} END)" if "source" in held else name for name in names}


def looked_at(register: Register) -> str:
    """SQL over a record for whether a visit, a department or an unknown source tells of any guarantee in it."""
    return f"(coalesce({', '.join(['NULL', *guarantees_told(register).values()])}) IS NOT NULL)"


def told_at(month: str, row: str) -> str:
    """SQL for whether a row of `struck` or `monitored` was known at the end of a month, and not yet told otherwise."""
    until = f"({row}.replaced_at IS NULL OR {month_no(f'{row}.replaced_at')} > {month})"
    return f"{month_no(f'{row}.known_at')} <= {month} AND {until}"


def open_others(
    connection: duckdb.DuckDBPyConnection, register: Register, county: str, known_by: dt.date | None = None
) -> None:
    """Tables of a county beside its records: `households`, `struck` (events), `monitored` (spells).

    They hold what was known by a day, and what was told again in all its versions, which count from `known_at` until
    `replaced_at`.
    """
    files = {table: register.file(table, county) for table in ("households", "events", "spells")}
    connection.execute(f"CREATE VIEW households AS FROM {rows_of(files['households'])}")
    for table in ("events", "spells"):
        if files[table] is not None:
            connection.execute(f"CREATE VIEW told_{table} AS {_versions(register, table, files[table], known_by)}")
    connection.execute(f"CREATE TABLE struck AS {_struck(register, files['events'])}")
    connection.execute(f"CREATE TABLE monitored AS {_monitored(register, files['spells'])}")


def _versions(register: Register, table: str, file: object, known_by: dt.date | None) -> str:
    """The rows of a table, each with the day on which it was told otherwise."""
    known = rows_of(file) + (f" WHERE known_at <= DATE '{known_by}'" if known_by else "")
    if table not in register.revised:
        return f"SELECT *, CAST(NULL AS DATE) AS replaced_at FROM {known}"
    key = ", ".join(c for c in load_contract().tables[table].key if c in register.columns(table))
    return f"SELECT *, lead(known_at) OVER (PARTITION BY {key} ORDER BY known_at) AS replaced_at FROM {known}"


def _struck(register: Register, file: object) -> str:
    """Events that are not known to be unverified; those of a village strike each of its households."""
    if file is None:
        return (
            "SELECT '' AS household_id, 0 AS onset_no, DATE '2000-01-01' AS known_at, DATE '2000-01-01' AS replaced_at "
            "WHERE false"
        )
    held = set(register.columns("events"))
    verified = NOT_UNVERIFIED if "verified" in held else "true"
    columns = f"{month_no('onset_on')} AS onset_no, known_at, replaced_at FROM told_events"
    own = f"SELECT household_id, {columns} WHERE household_id IS NOT NULL AND {verified}"
    if "village_id" not in held & set(register.columns("households")):
        return own
    return (
        f"{own} UNION ALL SELECT households.household_id, onset_no, known_at, replaced_at FROM households JOIN "
        f"(SELECT village_id, {columns} WHERE household_id IS NULL AND {verified}) USING (village_id)"
    )


def _monitored(register: Register, file: object) -> str:
    """Spells of monitoring by month number."""
    if file is None:
        return (
            "SELECT '' AS household_id, 0 AS from_no, 0 AS until_no, DATE '2000-01-01' AS known_at, "
            "DATE '2000-01-01' AS replaced_at WHERE false"
        )
    ended = month_no("eliminated_on") if "eliminated_on" in register.columns("spells") else "NULL"
    return (
        f"SELECT household_id, {month_no('identified_on')} AS from_no, {ended} AS until_no, known_at, replaced_at "
        "FROM told_spells"
    )


def _column(name: str, text: str) -> Feature:
    return Feature(
        name, "aggregate", parse(text), "records", None, None, "", "", 0, None, False, "", "", Place(__name__, 0, name)
    )
