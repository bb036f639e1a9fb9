"""Decisions of people on alerts: rows that are only ever added, each holding the hash of the one before.

SQLite by default, PostgreSQL by URL. The database itself refuses to change or remove a row, and to add one that does not
follow the last; two reviewers at once wait for each other. What the database cannot see, such as a file edited from
outside, `verify` finds, down to the row; a shortened chain it finds where the head of an earlier export is given.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from riskmodel.display import plain
from riskmodel.errors import Conflict, DatabaseError, IntegrityError, NotFound, Refused, UsageError
from riskmodel.review.rules import APPEAL, ReviewRules, faults, load_rules

GENESIS = "0" * 64
KEY = ("as_of", "county_id", "household_id")
"""What names an alert: the month and the household."""
_LOCK = 7_102_391_115
_FREE_TEXT = ("note", "statement")
LONGEST_TEXT = 4_000
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Decision:
    """What one reviewer decides on one alert.

    Attributes
    ----------
    as_of, county_id, household_id, model_version, risk
        The alert.
    proposed, hidden
        The verdict that was proposed, and whether the reviewer decided without seeing it.
    protected, unchecked
        Protected cases that hold, and those that the record cannot rule out, names separated by ", ".
    action
        `confirm`, `override_cause`, `reject` (not at risk now) or `defer`.
    reviewer
        Who decides.
    cause
        The cause decided on: that of the proposal to confirm, another one to override, else empty.
    reason, note
        A code of `configs/review.yaml`, and the reviewer's own words.
    statement, appeal
        What the household itself says, and its appeal: `none`, `open`, `closed`.
    ruled_out
        Of the unchecked protected cases, those that the reviewer ruled out on a visit.
    supersedes
        `seq` of the last decision on this alert that the reviewer saw; None where there was none.
    identity
        `proxy` where a reverse proxy vouched for the reviewer, else `stated`.
    source
        Where it was made: `app`, `workbook` or `python`.
    decided_at
        When, UTC in ISO 8601; by default when it is recorded.
    """

    as_of: str
    county_id: str
    household_id: str
    model_version: str
    risk: float
    proposed: str
    action: str
    reviewer: str
    cause: str = ""
    reason: str = ""
    note: str = ""
    statement: str = ""
    appeal: str = "none"
    hidden: bool = False
    protected: str = ""
    unchecked: str = ""
    ruled_out: str = ""
    supersedes: int | None = None
    identity: str = "stated"
    source: str = "python"
    decided_at: str | None = None

    @classmethod
    def on(cls, alert: Mapping[str, Any], *, action: str, reviewer: str, **given: Any) -> Decision:
        """A decision on a row of `alerts.parquet`; a confirmation takes the proposed verdict as its cause.

        Parameters
        ----------
        alert
            A row of the alert table, as a mapping.
        given
            Further fields of the decision.
        """
        if action == "confirm":
            given = {"cause": alert["verdict"]} | given
        return cls(
            **{name: str(alert[name]) for name in (*KEY, "model_version", "protected", "unchecked")},
            risk=float(alert["risk"]),
            proposed=str(alert["verdict"]),
            action=action,
            reviewer=reviewer,
            **given,
        )


def in_blind_half(as_of: str, county_id: str, household_id: str) -> bool:
    """Whether an alert is in the half whose proposed verdict is hidden from the first reviewer (`--blind-half`).

    It depends on the household and the month alone, so that everybody is asked in the same way.

    >>> sum(in_blind_half("2024-06", "k", str(n)) for n in range(10_000))
    4951
    """
    return hashlib.sha256("\0".join((as_of, county_id, household_id)).encode("utf-8")).digest()[0] % 2 == 0


class Chain(NamedTuple):
    """A chain that was found whole: its length, and the hash of its last row."""

    rows: int
    head: str


_METADATA = sa.MetaData()
_TABLE = sa.Table(
    "decisions",
    _METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    *(
        sa.Column(name, kind, nullable=name == "supersedes")
        for name, kind in {
            **dict.fromkeys((*KEY, "model_version"), sa.Text()),
            "risk": sa.Double(),
            "proposed": sa.Text(),
            "hidden": sa.Boolean(),
            **dict.fromkeys(
                ("protected", "unchecked", "ruled_out", "action", "cause", "reason", "note", "statement", "appeal"),
                sa.Text(),
            ),
            **dict.fromkeys(("reviewer", "identity", "source", "decided_at", "recorded_at"), sa.Text()),
            "supersedes": sa.Integer(),
        }.items()
    ),
    sa.Column("previous_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Index("decisions_by_household", "county_id", "household_id", "as_of"),
)
COLUMNS = tuple(c.name for c in _TABLE.columns)

_GUARDS = {
    "sqlite": (
        "CREATE TRIGGER decisions_kept BEFORE DELETE ON decisions "
        "BEGIN SELECT RAISE(ABORT, 'decisions are never removed'); END",
        "CREATE TRIGGER decisions_unchanged BEFORE UPDATE ON decisions "
        "BEGIN SELECT RAISE(ABORT, 'decisions are never changed'); END",
        "CREATE TRIGGER decisions_follow BEFORE INSERT ON decisions "
        "WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM decisions) "
        f"OR NEW.previous_hash IS NOT coalesce((SELECT hash FROM decisions ORDER BY seq DESC LIMIT 1), '{GENESIS}') "
        "OR EXISTS (SELECT 1 FROM decisions WHERE hash = NEW.hash OR previous_hash = NEW.previous_hash) "
        "BEGIN SELECT RAISE(ABORT, 'a decision must follow the last one'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION decisions_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'decisions are never changed or removed'; END $$",
        "CREATE TRIGGER decisions_unchanged BEFORE UPDATE OR DELETE ON decisions "
        "FOR EACH ROW EXECUTE FUNCTION decisions_refuse()",
        "CREATE TRIGGER decisions_kept BEFORE TRUNCATE ON decisions FOR EACH STATEMENT EXECUTE FUNCTION decisions_refuse()",
        "CREATE FUNCTION decisions_chain() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "DECLARE last record; BEGIN "
        f"PERFORM pg_advisory_xact_lock({_LOCK}); "
        "SELECT seq, hash INTO last FROM decisions ORDER BY seq DESC LIMIT 1; "
        "IF NEW.seq IS DISTINCT FROM coalesce(last.seq, 0) + 1 "
        f"OR NEW.previous_hash IS DISTINCT FROM coalesce(last.hash, '{GENESIS}') "
        "THEN RAISE EXCEPTION 'a decision must follow the last one'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER decisions_follow BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION decisions_chain()",
    ),
}
"""What the database itself refuses, whoever writes to it."""


class Decisions:
    """The decisions of an office, in a database.

    >>> import tempfile
    >>> decisions = Decisions.open(Path(tempfile.mkdtemp()) / "decisions.db")
    >>> alert = {"as_of": "2024-06", "county_id": "k", "household_id": "0412", "model_version": "3", "risk": 0.3,
    ...          "verdict": "objective", "protected": "", "unchecked": ""}
    >>> row = decisions.record(Decision.on(alert, action="confirm", reviewer="Li Na"))
    >>> row["seq"], row["cause"], decisions.verify().rows
    (1, 'objective', 1)
    """

    def __init__(self, engine: sa.Engine, rules: ReviewRules, where: str = "the decisions") -> None:
        self._engine = engine
        self._where = where
        self.rules = rules

    @classmethod
    def open(cls, where: str | Path, *, create: bool = True, rules: ReviewRules | None = None) -> Decisions:
        """Open the decisions in a file or a database; an empty one is made where there is none.

        Parameters
        ----------
        where
            Path of an SQLite file, or a URL such as `postgresql://user@host/database`.
        create
            Whether a missing file or table is made.
        rules
            From `load_rules`; those of `configs/review.yaml` by default.

        Raises
        ------
        NotFound
            If there are none and none are to be made.
        UsageError
            If the database cannot be reached, is none, or its driver is not installed.
        """
        url = _url(where)
        shown = url.database if url.drivername == "sqlite" else url.render_as_string(hide_password=True)
        if url.drivername == "sqlite":
            _make_private(Path(str(url.database)), create)
        try:
            waits = {"timeout": 60} if url.drivername == "sqlite" else {}
            engine = sa.create_engine(url, connect_args=waits, hide_parameters=True)
        except ModuleNotFoundError:
            raise UsageError("the driver of PostgreSQL is missing: pip install 'household-riskmodel[review]'.") from None
        if url.drivername == "sqlite":
            event.listen(engine, "connect", _own_transactions)
            event.listen(engine, "begin", _begin)
        found = cls(engine, rules or load_rules(), shown)
        try:
            with found._reading() as connection:
                there = sa.inspect(connection).has_table(_TABLE.name)
            if not there:
                if not create:
                    raise NotFound(f"{shown}: no decisions here. Check the name.")
                found._make()
        except DatabaseError as fault:
            raise UsageError(f"{fault} Give the file or database of the decisions: --decisions.") from None
        return found

    def record(self, decision: Decision) -> dict[str, Any]:
        """Add a decision; gives its row.

        Raises
        ------
        Refused
            If it breaks a rule of the review, each told in both languages.
        Conflict
            If somebody decided on the same alert since `supersedes`.
        DatabaseError
            If the database cannot be reached or written; nothing was recorded.
        """
        return self.record_all([decision])[0]

    def record_all(self, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
        """Add several decisions, all or none; errors as `record`."""
        rows = []
        with self._writing() as connection:
            for decision in decisions:
                rows.append(self._add(connection, decision))
        return rows

    def table(self) -> pd.DataFrame:
        """All decisions in the order in which they were recorded, one row each, columns as in `COLUMNS`."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_TABLE).order_by(_TABLE.c.seq)).all()
        frame = pd.DataFrame([tuple(row) for row in rows], columns=list(COLUMNS))
        return frame.astype({"seq": "int64", "risk": "float64", "hidden": "bool", "supersedes": "Int64"})

    def history(self, as_of: str, county_id: str, household_id: str) -> list[dict[str, Any]]:
        """Decisions on one alert, oldest first."""
        with self._reading() as connection:
            return _history(connection, {"as_of": as_of, "county_id": county_id, "household_id": household_id})

    def head(self) -> Chain:
        """Length and last hash, as they are written; `verify` checks them."""
        with self._reading() as connection:
            return _head(connection)

    def verify(self, head: str | None = None) -> Chain:
        """Follow the chain from its first row to its last.

        Parameters
        ----------
        head
            Hash of a row that was once the last, from an export: it must still be in the chain.

        Raises
        ------
        IntegrityError
            If a row was changed, added or removed; it names the first row at which that shows.
        """
        rows, last, seen = 0, GENESIS, head in (None, GENESIS)
        with self._reading() as connection:
            for row in connection.execute(sa.select(_TABLE).order_by(_TABLE.c.seq)).mappings():
                rows += 1
                if row["seq"] != rows:
                    raise IntegrityError(f"decision {rows} is gone: the next row that is there is {row['seq']}.")
                if row["previous_hash"] != last:
                    raise IntegrityError(
                        f"decision {rows} does not follow decision {rows - 1}: a row was put in or replaced."
                    )
                if row["hash"] != _hash(row):
                    raise IntegrityError(f"decision {rows} was changed after it was recorded.")
                last = row["hash"]
                seen = seen or last == head
        if not seen:
            raise IntegrityError(f"the chain of {rows} decisions no longer holds {head}: rows were removed from its end.")
        return Chain(rows, last)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _add(self, connection: sa.Connection, decision: Decision) -> dict[str, Any]:
        decision = _cleaned(decision)
        key = {name: getattr(decision, name) for name in KEY}
        found = faults(decision, self.rules, _shields(connection, decision))
        if found:
            raise Refused(found)
        history = _history(connection, key)
        between = [row for row in history if row["seq"] > (decision.supersedes or 0)]
        known = {row["seq"] for row in history}
        if decision.supersedes is not None and decision.supersedes not in known:
            raise UsageError(f"supersedes is {decision.supersedes}, which is no decision on this alert.")
        if between:
            raise Conflict(
                "somebody decided on this alert in the meantime. Look at that decision, then decide again.", between
            )
        now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        chain = _head(connection)
        row = asdict(decision) | {"decided_at": decision.decided_at or now, "recorded_at": now}
        row |= {"seq": chain.rows + 1, "previous_hash": chain.head}
        row["hash"] = _hash(row)
        connection.execute(sa.insert(_TABLE), row)
        return {name: row[name] for name in COLUMNS}

    def _make(self) -> None:
        with self._writing() as connection:
            if sa.inspect(connection).has_table(_TABLE.name):
                return
            _METADATA.create_all(connection)
            for statement in _GUARDS[connection.dialect.name]:
                connection.exec_driver_sql(statement)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the database says, without the values that were to be written."""
        try:
            yield
        except DBAPIError as fault:
            said = str(fault.orig).partition("\n")[0]
            raise DatabaseError(f"{self._where}: the database refuses ({said}).") from None

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._told(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that nobody else's overlaps."""
        with self._told(), self._engine.connect().execution_options(alone=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection


def _cleaned(decision: Decision) -> Decision:
    """Texts without control characters and marks that turn their direction, times in UTC; too long ones are refused."""
    texts = {name: plain(getattr(decision, name)).strip() for name in _FREE_TEXT}
    texts["reviewer"] = reviewer_name(decision.reviewer)
    for name, text in texts.items():
        longest = LONGEST_TEXT if name in _FREE_TEXT else _LONGEST_NAME
        if len(text) > longest:
            raise UsageError(f"{name} is longer than {longest:,} characters: shorten it.")
    if decision.decided_at is not None:
        try:
            moment = dt.datetime.fromisoformat(decision.decided_at)
        except ValueError:
            raise UsageError("decided_at is no time in ISO 8601, such as 2024-06-30T09:15:00+00:00.") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        if moment > dt.datetime.now(dt.UTC) + dt.timedelta(days=1):
            raise UsageError("decided_at lies in the future.")
        texts["decided_at"] = moment.astimezone(dt.UTC).isoformat(timespec="microseconds")
    return replace(decision, **texts)


def reviewer_name(text: str) -> str:
    """A name as it is kept: one person is not two because of a space or a wide letter.

    >>> reviewer_name(" Li\u3000 Ｎa ")
    'Li Na'
    """
    return " ".join(unicodedata.normalize("NFKC", plain(text)).split())


def _shields(connection: sa.Connection, decision: Decision) -> str:
    """Protected cases that hold: those of the alert, and an appeal that this or an earlier decision opened."""
    names = [name for name in decision.protected.split(", ") if name]
    here = (_TABLE.c.county_id == decision.county_id) & (_TABLE.c.household_id == decision.household_id)
    asked = sa.select(_TABLE.c.appeal).where(here & (_TABLE.c.appeal != "none")).order_by(_TABLE.c.seq.desc()).limit(1)
    earlier = connection.execute(asked).scalar()
    if APPEAL not in names and "open" in (decision.appeal, earlier if decision.appeal == "none" else None):
        names.append(APPEAL)
    return ", ".join(names)


def _history(connection: sa.Connection, key: Mapping[str, str]) -> list[dict[str, Any]]:
    here = sa.and_(*(_TABLE.c[name] == value for name, value in key.items()))
    return [dict(row) for row in connection.execute(sa.select(_TABLE).where(here).order_by(_TABLE.c.seq)).mappings()]


def _head(connection: sa.Connection) -> Chain:
    row = connection.execute(sa.select(_TABLE.c.seq, _TABLE.c.hash).order_by(_TABLE.c.seq.desc()).limit(1)).first()
    return Chain(0, GENESIS) if row is None else Chain(row.seq, row.hash)


def _hash(row: Mapping[str, Any]) -> str:
    """Hash of a row: SHA-256 of all its other columns as JSON with sorted keys."""
    content = {name: row[name] for name in COLUMNS if name != "hash"} | {"hidden": bool(row["hidden"])}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _url(where: str | Path) -> sa.URL:
    text = str(where)
    if "://" not in text:
        return sa.URL.create("sqlite", database=str(Path(text).resolve()))
    try:
        url = sa.make_url(text)
    except SQLAlchemyError:
        raise UsageError("--decisions: this URL cannot be read, such as postgresql://user@host/database.") from None
    kind = url.drivername.split("+")[0]
    if kind == "sqlite" and url.database:
        return url.set(drivername="sqlite", database=str(Path(url.database).resolve()))
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise UsageError(f"--decisions: {kind} is not supported; give a file, or postgresql://user@host/database.")


def _make_private(file: Path, create: bool) -> None:
    """A new file that only its owner can read: it holds what households say."""
    if file.is_dir():
        raise UsageError(f"{file}: it is a directory, a file is needed.")
    if create:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    elif not file.is_file():
        raise NotFound(f"{file}: no decisions here. Check the name.")
    else:
        file.open("rb").close()  # SQLite calls a file that may not be read no database


def _own_transactions(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 itself would begin a transaction only before the first write


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("alone") else "BEGIN")
