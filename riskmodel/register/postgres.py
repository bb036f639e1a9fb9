"""PostgreSQL through ADBC: the only module that knows it.

A database is named by a URL, `postgresql://user:password@host:port/name`, or by `env:NAME`, the environment variable that
holds one. What libpq knows is known here too: PGHOST, PGPASSWORD, PGSERVICE, ~/.pgpass. No message, manifest or log shows
more of a URL than host, port and name, and none repeats what the server says of a row's values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, unquote

from riskmodel.errors import DatabaseError, UsageError
from riskmodel.register.reading import identifier

if TYPE_CHECKING:
    import pyarrow as pa

_URL = re.compile(r"postgres(?:ql)?://(?:[^@/]*@)?(?P<hosts>[^@/?]*)(?:/(?P<name>[^@/?]*))?(?:\?(?P<query>[^@]*))?")
_SECONDS_TO_CONNECT = 10
_WAIT_FOR_OTHERS = "10min"
_LONGEST_NAME = 63
_MOST_DIGITS = 38  # of a decimal of Arrow's and Parquet's

_AS_IT_IS = ("bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "numeric")
_FINITE = {"date": "", "timestamp": "", "timestamptz": "::timestamp"}
_REASONS = {
    "authentication failed": "the server refuses the user name or the password",
    "no password supplied": "the server asks for a password: give it in the URL, in PGPASSWORD or in ~/.pgpass",
    "Connection refused": "nothing answers there; check host and port, and that the server runs",
    "could not translate host name": "there is no host of that name",
    "timeout expired": f"no answer within {_SECONDS_TO_CONNECT} seconds",
    "No such file or directory": "no server listens on that socket",
    "does not exist": "the server has no such database or user",
    "no pg_hba.conf entry": "the server does not admit this user from this machine",
    "too many": "the server has no connection left",
    "starting up": "the server is still starting",
    "percent-encod": "the URL is malformed: write special characters of a user name or password as %XX",
    "SSL": "no encrypted connection could be made; see sslmode",
    "certificate": "no encrypted connection could be made; see sslmode",
}
_REFUSALS = {
    "42501": "the user lacks the right to do this; ask the administrator",
    "22P05": "its encoding lacks a character that is to be written or read; a database in UTF8 has all",
    "25006": "the database can only be read",
    "53100": "its disk is full",
    "55P03": f"another run has been writing there for {_WAIT_FOR_OTHERS}",
    "57014": "the statement was cancelled, perhaps by a time limit of the server",
}


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database; `label` is host, port and name, fit to be shown and kept.

    >>> Database.named("postgresql://office:secret@db.example:5432/county?password=secret")
    Database(label='db.example:5432/county')
    """

    url: str = field(repr=False)
    label: str

    @classmethod
    def named(cls, given: str) -> Self:
        """The database of a URL, or of `env:NAME`.

        Raises
        ------
        UsageError
            If it is neither, or the variable is not set. The message does not repeat the URL.
        """
        said, url = "the URL of the database", given
        if given.startswith("env:"):
            said = f"the environment variable {given[4:]}"
            url = os.environ.get(given[4:], "")
            if not url:
                raise UsageError(f"{said} is not set; it should hold the URL of a database.")
        found = _URL.fullmatch(url)
        if found is None:
            raise UsageError(
                f"{said} is not of the form postgresql://user:password@host:port/name. Write @ as %40, / as %2F, ? as %3F "
                "and # as %23 in a user name or password."
            )
        options = dict(parse_qsl(found["query"] or ""))
        host = options.get("host") or unquote(found["hosts"]) or os.environ.get("PGHOST", "localhost")
        name = options.get("dbname") or unquote(found["name"] or "") or os.environ.get("PGDATABASE", "")
        return cls(url, f"{host}/{name}".rstrip("/"))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Everything as of one moment: one transaction, read-only and repeatable."""
        with self._transaction("REPEATABLE READ, READ ONLY") as cursor:
            # Rows come in the order in which they lie, so that the same table gives the same row numbers.
            cursor.execute("SET LOCAL synchronize_seqscans = off")
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            yield Snapshot(self, cursor)

    def reach(self, schema: str) -> None:
        """Open a connection and close it again, for somebody who is to write to a schema.

        Raises
        ------
        UsageError
            If no schema can bear that name.
        DatabaseError
            If there is no connection to be had; says why.
        """
        _check_schema(schema)
        with self._transaction("READ COMMITTED") as cursor:
            cursor.execute("SELECT 1")

    def replace(
        self, schema: str, of: Mapping[str, str], tables: Sequence[Kept], without: Sequence[str] = ()
    ) -> dict[str, int]:
        """Make the rows of one key those given, in one transaction; rows that are the same already stay untouched.

        Runs that write to the same schema wait for one another. Schema and tables are made where they are missing.

        Parameters
        ----------
        schema
            Where the tables lie.
        of
            Columns that every table has and their values: the rows that are replaced.
        tables
            What is to be there then.
        without
            Tables that are to hold no such row, where there are any of these names.

        Returns
        -------
        dict
            Rows by table.

        Raises
        ------
        UsageError
            If no schema can bear that name.
        DatabaseError
            If the server cannot be reached or refuses, or a table there has other columns. Nothing has changed then.
        """
        _check_schema(schema)
        with self._transaction("READ COMMITTED") as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{_WAIT_FOR_OTHERS}'")
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"riskmodel {schema}",))
            cursor.execute("SELECT to_regnamespace($1) IS NULL", (identifier(schema),))
            if cursor.fetchone()[0]:
                cursor.execute(f"CREATE SCHEMA {identifier(schema)}")
            for table in tables:
                self._provide(cursor, schema, table)
            for name in without:
                _take_away(cursor, schema, of, name)
            return {table.name: _replace(cursor, schema, of, table) for table in tables} | dict.fromkeys(without, 0)

    def _provide(self, cursor: Any, schema: str, table: Kept) -> None:
        """Make a table where there is none; refuse one with other columns."""
        place = f"{identifier(schema)}.{identifier(table.name)}"
        cursor.execute(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            (place,),
        )
        there, wanted = dict(cursor.fetchall()), table.types
        if not there:
            rows = [f"{identifier(name)} {kind}" for name, kind in wanted.items()]
            rows.append(f"PRIMARY KEY ({_names(table.key)})")
            cursor.execute(f"CREATE TABLE {place} ({', '.join(rows)})")
            if table.index:
                cursor.execute(f"CREATE INDEX ON {place} ({_names(table.index)})")
        elif there != wanted:
            wrong = [f"no {name} {kind}" for name, kind in wanted.items() if name not in there]
            other = [name for name, kind in wanted.items() if there.get(name, kind) != kind]
            wrong += [f"{name} is {there[name]}, not {wanted[name]}" for name in other]
            wrong += [f"{name}, which is not written" for name in there if name not in wanted]
            raise DatabaseError(
                f"{self.label}: the table {schema}.{table.name} there has other columns than are to be written "
                f"({'; '.join(wrong)}). Alter it, or choose another schema. Nothing was written there."
            )

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[Any]:
        """A cursor inside one transaction, committed at the end and undone on any error."""
        try:
            import adbc_driver_postgresql.dbapi as driver
        except ImportError:
            raise UsageError("PostgreSQL needs its driver: pip install 'household-riskmodel[postgres]'.") from None
        try:
            connection = driver.connect(self._with_options())
        except driver.Error as fault:
            raise DatabaseError(f"{self.label}: the database cannot be reached: {_why_not(fault)}.") from None
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {mode}")
                yield cursor
            connection.commit()
        except driver.Error as fault:
            raise DatabaseError(f"{self.label}: {_refusal(fault)}. The transaction was undone.") from None
        finally:
            connection.close()

    def _with_options(self) -> str:
        # Arrow's texts are UTF-8: the server converts, whatever PGCLIENTENCODING and the database's own encoding are.
        options = {"fallback_application_name": "riskmodel", "client_encoding": "UTF8"}
        if "connect_timeout=" not in self.url and "PGCONNECT_TIMEOUT" not in os.environ:
            options["connect_timeout"] = str(_SECONDS_TO_CONNECT)
        told = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{self.url}{'&' if '?' in self.url else '?'}{told}"


@dataclass(frozen=True)
class Kept:
    """A table to keep in a database: its columns as Arrow types, its key, a further index, and its rows."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    index: tuple[str, ...]
    batches: Iterable[pa.RecordBatch]

    @property
    def types(self) -> dict[str, str]:
        """PostgreSQL's type of each column."""
        return {column.name: _type_of(column.type) for column in self.schema}


class Snapshot:
    """A database as of one moment; made by `Database.snapshot`."""

    def __init__(self, database: Database, cursor: Any) -> None:
        self.database = database
        self._cursor = cursor

    def columns(self, table: str | None, query: str | None) -> dict[str, str] | None:
        """Columns of a table (`name` or `schema.name`, spelt as in the database) or query, with PostgreSQL's types.

        None where there is no such table.
        """
        if query is None:
            self._cursor.execute("SELECT to_regclass($1) IS NULL", (_quoted(table or ""),))
            if self._cursor.fetchone()[0]:
                return None
        with self._rows(f"SELECT * FROM {_relation(table, query)} LIMIT 0") as rows:
            return {column.name: _metadata(column, "type") for column in rows.schema}

    def copy(self, table: str | None, query: str | None, columns: Mapping[str, str], path: Path) -> None:
        """Copy some columns (name, PostgreSQL's type) to a Parquet file, a batch in memory at a time.

        Decimals of a stated length stay decimals, others become floating point; a point in time becomes the clock time of
        the session's time zone; infinite days are unknown; what Parquet has no type for becomes text.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        select = ", ".join(f"{_value(name, kind)} AS {identifier(name)}" for name, kind in columns.items())
        with self._rows(f"SELECT {select} FROM {_relation(table, query)}") as rows:
            kinds = [_decimal(column) if columns[column.name] == "numeric" else None for column in rows.schema]
            written = pa.schema(
                [pa.field(column.name, kind or column.type) for column, kind in zip(rows.schema, kinds, strict=True)]
            )
            with pq.ParquetWriter(path, written) as writer:
                for batch in self._batches(rows):
                    values = [_numbers(v, kind) if kind else v for v, kind in zip(batch.columns, kinds, strict=True)]
                    writer.write_batch(pa.record_batch(values, schema=written))

    def _batches(self, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """Batches as they arrive. What fails on the way comes as an error of Arrow's, with the value in its text."""
        import pyarrow as pa

        while True:
            try:
                batch = rows.read_next_batch()
            except StopIteration:
                return
            except (OSError, pa.ArrowException):
                raise DatabaseError(
                    f"{self.database.label}: reading stopped midway: the query fails on a row, or the connection was lost. "
                    "Nothing was written."
                ) from None
            yield batch

    @contextmanager
    def _rows(self, sql: str) -> Iterator[pa.RecordBatchReader]:
        self._cursor.execute(sql)
        with self._cursor.fetch_record_batch() as rows:
            yield rows


def _check_schema(name: str) -> None:
    """Refuse names that the server refuses, and longer ones, which it cuts: two schemas could become one."""
    if not name or name.startswith("pg_"):
        raise UsageError(f"--schema {name or repr(name)}: PostgreSQL has no schema of that name. Choose another one.")
    if len(name.encode()) > _LONGEST_NAME:
        raise UsageError(
            f"--schema {name}: PostgreSQL cuts names after {_LONGEST_NAME} bytes ({_LONGEST_NAME // 3} Chinese characters). "
            "Choose a shorter one."
        )


def names_database(given: str) -> bool:
    """Whether a text names a database (a URL, or `env:NAME`) and not a file.

    >>> names_database("postgresql:///county"), names_database("env:COUNTY_DB"), names_database("data/2024.csv")
    (True, True, False)
    """
    return re.match(r"env:|[A-Za-z][\w+.-]+://", given) is not None


def _replace(cursor: Any, schema: str, of: Mapping[str, str], table: Kept) -> int:
    """Write the rows where there are none yet; else stage them, and write and take away only what differs."""
    import pyarrow as pa

    place, staged = f"{identifier(schema)}.{identifier(table.name)}", f"incoming_{table.name}"
    batches = pa.RecordBatchReader.from_batches(table.schema, table.batches)
    where = _where(of)
    cursor.execute(f"SELECT EXISTS (SELECT FROM {place} AS kept WHERE {where})", tuple(of.values()))
    if not cursor.fetchone()[0]:
        return cursor.adbc_ingest(table.name, batches, mode="append", db_schema_name=schema)
    cursor.execute(f"CREATE TEMPORARY TABLE {identifier(staged)} (LIKE {place}) ON COMMIT DROP")
    count = cursor.adbc_ingest(staged, batches, mode="append", temporary=True)
    cursor.execute(f"ANALYZE pg_temp.{identifier(staged)}")
    same = " AND ".join(f"kept.{identifier(name)} = incoming.{identifier(name)}" for name in table.key)
    cursor.execute(
        f"DELETE FROM {place} AS kept WHERE {where} AND NOT EXISTS "
        f"(SELECT FROM pg_temp.{identifier(staged)} AS incoming WHERE {same})",
        tuple(of.values()),
    )
    names = _names(table.schema.names)
    values = [identifier(name) for name in table.schema.names if name not in table.key]
    sets = ", ".join(f"{name} = excluded.{name}" for name in values)
    changed = " OR ".join(f"kept.{name} IS DISTINCT FROM excluded.{name}" for name in values)
    clash = f"DO UPDATE SET {sets} WHERE {changed}" if values else "DO NOTHING"
    cursor.execute(
        f"INSERT INTO {place} AS kept ({names}) SELECT {names} FROM pg_temp.{identifier(staged)} "
        f"ON CONFLICT ({_names(table.key)}) {clash}"
    )
    return count


def _take_away(cursor: Any, schema: str, of: Mapping[str, str], name: str) -> None:
    place = f"{identifier(schema)}.{identifier(name)}"
    cursor.execute("SELECT to_regclass($1) IS NOT NULL", (place,))
    if cursor.fetchone()[0]:
        cursor.execute(f"DELETE FROM {place} AS kept WHERE {_where(of)}", tuple(of.values()))


def _where(of: Mapping[str, str]) -> str:
    return " AND ".join(f"kept.{identifier(name)} = ${number}" for number, name in enumerate(of, 1))


def _names(names: Iterable[str]) -> str:
    return ", ".join(identifier(name) for name in names)


def _type_of(kind: pa.DataType) -> str:
    import pyarrow as pa

    for fits, name in (
        (pa.types.is_float64, "double precision"),
        (pa.types.is_float32, "real"),
        (pa.types.is_int64, "bigint"),
        (pa.types.is_integer, "integer"),
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_date, "date"),
        (pa.types.is_timestamp, "timestamp without time zone"),
    ):
        if fits(kind):
            return name
    return "text"


def _quoted(table: str) -> str:
    """
    >>> _quoted("监测.月度监测")
    '"监测"."月度监测"'
    """
    return ".".join(identifier(part) for part in table.split(".", 1))


def _relation(table: str | None, query: str | None) -> str:
    if query is None:
        return _quoted(table or "")
    return f"({query.strip().rstrip(';')}\n) AS source"


def _metadata(column: pa.Field, what: str) -> str:
    return (column.metadata or {}).get(f"POSTGRESQL:{what}".encode(), b"").decode()


def _value(name: str, kind: str) -> str:
    column = identifier(name)
    if kind in _AS_IT_IS:
        return column
    if kind in _FINITE:
        return f"CASE WHEN isfinite({column}) THEN {column}{_FINITE[kind]} END"
    return f"{column}::text"


def _decimal(column: pa.Field) -> pa.DataType:
    """The type of a numeric column: its own digits and scale where it states them and Parquet can hold them."""
    import pyarrow as pa

    modifier = int(_metadata(column, "typmod") or -1) - 4
    digits, scale = modifier >> 16 & 0xFFFF, modifier & 0x7FF  # as PostgreSQL packs numeric(digits, scale)
    if modifier < 0 or digits > _MOST_DIGITS or scale > digits:
        return pa.float64()
    return pa.decimal128(digits, scale)


def _numbers(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(texts, pa.ExtensionArray):
        texts = texts.storage
    if pa.types.is_decimal(kind):
        texts = pc.if_else(pc.equal(texts, "nan"), pa.scalar(None, texts.type), texts)
    return texts.cast(kind)


def _why_not(fault: Exception) -> str:
    """Why no connection was made, in words of our own: libpq may repeat parts of a URL."""
    told = str(fault)
    return next((words for sign, words in _REASONS.items() if sign in told), "the connection failed")


def _refusal(fault: Any) -> str:
    """What the server refused, without the values that its messages may hold."""
    state = getattr(fault, "sqlstate", None) or ""
    told = {key.decode(): value.decode(errors="replace") for key, value in getattr(fault, "details", None) or ()}
    if state in _REFUSALS:
        return _REFUSALS[state]
    if state.startswith("42"):  # of names and syntax, never of values
        return f"the database cannot do this: {told.get('PG_DIAG_MESSAGE_PRIMARY', state)}"
    if state.startswith(("08", "57")) or not state:
        return "the connection was lost, or the driver could not go on"
    names = [told[key] for key in ("PG_DIAG_TABLE_NAME", "PG_DIAG_CONSTRAINT_NAME") if key in told]
    about = f" rows of {', '.join(names)}" if names else " a statement"
    return f"the database refuses{about} (SQLSTATE {state})"
