"""A source: how the files of one county, survey or simulator map to the contract, from its YAML file."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import yaml

from riskmodel.engine import database
from riskmodel.errors import ContractError
from riskmodel.register.blocked import blocked_by_name, protected_by_name
from riskmodel.register.contract import Column, Contract, load_contract, meant
from riskmodel.settings import Loader, find_config, read_config

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NULLS = (None, "", "null")


@dataclass(frozen=True)
class Field:
    """How one column of the register is made: from one raw column, or by an expression over several.

    `table` is where the value ends up: what a record says of its household goes to `households`. `codes` maps
    the text of a raw value to a value of the contract, or to None for unknown. `clock` is the SQL that reads a raw column
    of points in time, once its file is known.
    """

    table: str
    column: Column
    raw: str | None = None
    sql: str | None = None
    factor: float = 1
    codes: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    extra: bool = False
    clock: str | None = None

    @property
    def name(self) -> str:
        """Name of the column in the register."""
        return self.column.name

    @property
    def reads(self) -> tuple[str, ...]:
        """The raw columns that it needs."""
        return (self.raw,) if self.raw is not None else columns_read(self.sql or "")


@dataclass(frozen=True)
class TableSource:
    """Where the rows of one table come from. `fields` is None where raw columns bear contract names.

    `table` and `query` say where they lie in a database; without either, the table has the contract's name there.
    `decimal` is the decimal mark of numbers in CSV files, `point` or `comma`, or None where the source does not say it.
    """

    name: str
    file: str | None = None
    table: str | None = None
    query: str | None = None
    sheet: str | None = None
    header_row: int = 1
    decimal: str | None = None
    where: str | None = None
    fields: tuple[Field, ...] | None = None
    extra: tuple[Field, ...] = ()
    of_household: tuple[Field, ...] = ()

    def resolved(self, raw_columns: Iterable[str]) -> tuple[Field, ...]:
        """All fields for a file: those mapped, or else those whose columns bear contract names or labels."""
        fields = self.fields
        if fields is None:
            raw = set(raw_columns)
            fields = tuple(
                Field(table, column, raw=label)
                for name, (table, column) in destinations(self.name).items()
                if (label := next((label for label in (name, column.zh, column.zh.split("(")[0]) if label in raw), None))
            )
        return tuple({(f.table, f.name): f for f in (*fields, *self.extra, *self.of_household)}.values())

    def ids(self, raw_columns: Iterable[str]) -> list[str]:
        """The columns of a file that hold ids, whose zeros and digits all count."""
        columns = list(raw_columns)
        ids = (f for f in self.resolved(columns) if f.column.type == "text" and f.raw in columns)
        return [str(f.raw) for f in ids if f.name.endswith("_id") or f.name == "area"]


@dataclass(frozen=True)
class Source:
    """A source file, checked. `label` is how messages call it, `folder` where its own files lie."""

    name: str
    label: str
    folder: Path
    sha256: str
    tables: Mapping[str, TableSource]
    step_months: int = 1
    period_named_by: str | None = None
    reporting_lag_days: int = 0
    pseudonymised: bool = False
    encoding: str = "auto"
    date_format: str = "auto"
    max_quarantined_share: float = 0.5
    data_until: dt.date | None = None


_LONGEST_LAG_DAYS = 3660
_MOST_ROWS_ABOVE = 1000
_SOURCE_KEYS = {
    "source": str, "step_months": int, "period_named_by": str, "reporting_lag_days": int, "pseudonymised": bool,
    "encoding": str, "date_format": str, "max_quarantined_share": (int, float), "data_until": dt.date, "tables": dict,
}  # fmt: skip
_TABLE_KEYS = {
    "file": str, "sheet": str, "header_row": int, "decimal": str, "table": str, "query": str, "where": str, "same_as": str,
    "columns": dict, "extra": dict,
}  # fmt: skip
_FIELD_KEYS = {"from": str, "sql": str, "unit": str, "codes": dict}
_EXTRA_KEYS = {**_FIELD_KEYS, "type": str, "en": str, "zh": str}


def load_source(source: Path | str | Mapping[str, Any]) -> Source:
    """Read and check a source.

    Parameters
    ----------
    source
        Path of a YAML file, the name of a shipped one, or its content.

    Raises
    ------
    ContractError
        Names what is wrong and where: an unknown table, column, unit, code or key (with the nearest known
        one), an expression that is none, a column that must not enter a register.
    UsageError
        If there is no such file, or it is not UTF-8.
    """
    if isinstance(source, Mapping):
        text, label, folder, content = json.dumps(source, default=str), "the source", Path(), dict(source)
    else:
        file = find_config(source)
        text, label, folder = read_config(file), file.name, file.parent
        try:
            content = yaml.load(text, Loader)
        except yaml.YAMLError as fault:
            mark = getattr(fault, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            raise ContractError(f"{label}{where}: {getattr(fault, 'problem', 'not YAML')}.") from None
    return _Reader(label).source(content, text, folder)


def columns_read(sql: str) -> tuple[str, ...]:
    """Names of the columns that an expression reads.

    Raises
    ------
    ValueError
        If it is not one plain expression.

    >>> columns_read("greatest(n_full, 0) + n_skilled")
    ('n_full', 'n_skilled')
    """
    answer = database().cursor().execute("SELECT json_serialize_sql(?)", [f"SELECT ({sql})"]).fetchall()
    tree = json.loads(answer[0][0])
    if tree["error"] or len(tree["statements"]) != 1:
        raise ValueError("it is not an SQL expression")
    names: dict[str, None] = {}

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for part in node:
                walk(part)
        elif isinstance(node, dict):
            if node.get("class") in ("SUBQUERY", "WINDOW"):
                raise ValueError("it must read one row only, without a query inside")
            if node.get("function_name") == "unnest":
                raise ValueError("it must give one value a row")
            if node.get("class") == "COLUMN_REF":
                names.setdefault(node["column_names"][-1])
            for part in node.values():
                walk(part)

    statement = tree["statements"][0]["node"]
    if len(statement["select_list"]) != 1 or statement["from_table"]["type"] != "EMPTY":
        raise ValueError("it must be one expression over the columns of the file")
    walk(statement["select_list"])
    return tuple(names)


class _Reader:
    """Checks the parts of a source; `label` names the file in every message."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.contract: Contract = load_contract()
        self.pseudonymised = False

    def refuse(self, place: str, why: str) -> ContractError:
        return ContractError(f"{self.label}, {place}: {why}.")

    def keys(self, row: Any, allowed: Mapping[str, Any], place: str) -> dict[str, Any]:
        if not isinstance(row, dict):
            raise self.refuse(place, "it must be a mapping of keys and values")
        for key, value in row.items():
            if key not in allowed:
                raise self.refuse(place, f"unknown key {key!r}{meant(key, allowed)}")
            wanted = allowed[key]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                kinds = wanted if isinstance(wanted, tuple) else (wanted,)
                raise self.refuse(place, f"{key} must be {' or '.join(k.__name__ for k in kinds)}")
        return row

    def source(self, content: Any, text: str, folder: Path) -> Source:
        content = self.keys(content, _SOURCE_KEYS, "top level")
        self.pseudonymised = content.get("pseudonymised", False)
        rows = content.get("tables") or {}
        if "records" not in rows:
            raise self.refuse("tables", "there is no table 'records', the one that a register cannot do without")
        if not 1 <= content.get("step_months", 1) <= 12:
            raise self.refuse("top level", "step_months must lie between 1 and 12")
        if content.get("period_named_by", "first") not in ("first", "last"):
            raise self.refuse("top level", "period_named_by must be first or last, the month that names a period")
        if not 0 <= content.get("max_quarantined_share", 0.5) <= 1:
            raise self.refuse("top level", "max_quarantined_share must lie between 0 and 1")
        if not 0 <= content.get("reporting_lag_days", 0) <= _LONGEST_LAG_DAYS:
            raise self.refuse("top level", f"reporting_lag_days must lie between 0 and {_LONGEST_LAG_DAYS:,}")
        try:
            with suppress(UnicodeError):
                b"0".decode(content["encoding"] if content.get("encoding", "auto") != "auto" else "utf-8")
            if content.get("date_format", "auto") != "auto":
                database().cursor().execute("SELECT try_strptime('', ?)", [content["date_format"]]).fetchall()
            if re.search("%[zZ]", content.get("date_format", "")):
                why = 'a day counts as it is written, whatever its zone: cut the time off, such as {sql: "left(day, 10)"}'
                raise self.refuse("top level, date_format", f"%z and %Z are not read; {why}")
        except LookupError:
            raise self.refuse("top level", "encoding must be auto, utf-8, gb18030 or another name") from None
        except duckdb.Error:
            raise self.refuse("top level", "date_format must be auto or a format such as %d/%m/%Y") from None
        given = {k: v for k, v in content.items() if k not in ("source", "tables")}
        return Source(
            name=content.get("source") or Path(self.label).stem,
            label=self.label,
            folder=folder,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            tables=MappingProxyType(self.tables(rows)),
            **given,
        )

    def tables(self, rows: dict[str, Any]) -> dict[str, TableSource]:
        for name, row in rows.items():
            if name not in self.contract.tables:
                raise self.refuse("tables", f"unknown table {name!r}{meant(name, self.contract.tables)}")
            self.keys(row or {}, _TABLE_KEYS, f"tables.{name}")
        found = {name: self.table(name, row or {}, rows) for name, row in rows.items()}
        households = rows.get("households") or {}
        if "same_as" in households:
            # One reading of the file serves both: a household is taken from its accepted records.
            columns = found.pop("households").fields or ()
            about = tuple(f for f in columns if f.name != "household_id")
            found["records"] = replace(found["records"], of_household=about)
        return found

    def table(self, name: str, row: dict[str, Any], rows: dict[str, Any]) -> TableSource:
        place = f"tables.{name}"
        origin = row
        if "same_as" in row:
            other = row["same_as"]
            if other not in rows or other == name or "same_as" in (rows[other] or {}):
                raise self.refuse(place, f"same_as names no table with a file of its own{meant(other, rows)}")
            if name == "households" and (other != "records" or row.keys() & {"where", "extra"}):
                raise self.refuse(place, "households can be same_as records, with columns and nothing else")
            origin = {**(rows[other] or {}), **row}
        fields = None
        if "columns" in row or (name == "households" and "same_as" in row):
            fields = tuple(self.field(name, c, r, place) for c, r in row.get("columns", {}).items())
        if "table" in origin and "query" in origin:
            raise self.refuse(place, "give either table (a table of a database) or query (an SQL query), not both")
        if not 1 <= origin.get("header_row", 1) <= _MOST_ROWS_ABOVE:
            raise self.refuse(place, f"header_row must lie between 1 and {_MOST_ROWS_ABOVE:,}: the first row is 1")
        if origin.get("decimal", "point") not in ("point", "comma"):
            raise self.refuse(place, "decimal must be point (1,234.50) or comma (1.234,50)")
        if "where" in row:
            self.expression(row["where"], f"{place}.where")
        return TableSource(
            name=name,
            file=origin.get("file"),
            table=origin.get("table"),
            query=origin.get("query"),
            sheet=origin.get("sheet"),
            header_row=origin.get("header_row", 1),
            decimal=origin.get("decimal"),
            where=row.get("where"),
            fields=fields,
            extra=tuple(self.extra(name, c, r, place) for c, r in row.get("extra", {}).items()),
        )

    def field(self, table: str, name: str, row: Any, place: str) -> Field:
        place = f"{place}.columns.{name}"
        columns = destinations(table)
        if name not in columns:
            raise self.refuse(place, f"the contract has no such column in {table}{meant(name, columns)}")
        goes_to, column = columns[name]
        row = self.keys({"from": row} if isinstance(row, str) else row, _FIELD_KEYS, place)
        return self.made(goes_to, column, row, place)

    def extra(self, table: str, name: str, row: Any, place: str) -> Field:
        place = f"{place}.extra.{name}"
        row = self.keys({"from": row} if isinstance(row, str) else row, _EXTRA_KEYS, place)
        if not str(name).isidentifier() or name != name.lower() or name.startswith("_"):
            raise self.refuse(place, "a name is lower-case letters, digits and _, and begins with a letter")
        if name in self.contract.tables[table].columns or name in self.contract.tables["households"].columns:
            raise self.refuse(place, "the contract has a column of that name: map it under columns")
        if row.get("type", "number") not in ("number", "boolean"):
            raise self.refuse(place, "an extra column is a number or a boolean, never text")
        column = Column(name, row.get("type", "number"), row.get("en", name), row.get("zh", name))
        made = self.made(table, column, {k: v for k, v in row.items() if k in _FIELD_KEYS}, place, extra=True)
        for word in (name, *made.reads):
            if protected_by_name(word):
                raise self.refuse(place, f"{word!r} is a protected attribute: it can only be an audit column")
            if what := blocked_by_name(word):
                raise self.refuse(place, f"{word!r} is {what} by its name, and is no input")
        return made

    def made(self, table: str, column: Column, row: dict, place: str, extra: bool = False) -> Field:
        if ("from" in row) == ("sql" in row):
            raise self.refuse(place, "give either from (a column of the file) or sql (an expression)")
        if "sql" in row:
            self.expression(row["sql"], place)
        codes = {code_text(k): (None if v in _NULLS else v) for k, v in row.get("codes", {}).items()}
        if column.type not in ("category", "boolean", "number", "integer") and codes:
            raise self.refuse(place, f"codes are for categories, booleans and numbers, not for a {column.type}")
        for value in codes.values():
            if value is not None and not self.fits(value, column):
                known = ", ".join(column.values) or f"a {column.type}"
                raise self.refuse(place, f"the code {value!r} is not allowed{meant(value, column.values)} ({known})")
        made = Field(
            table, column, row.get("from"), row.get("sql"), self.factor(column, row.get("unit"), place),
            MappingProxyType(codes), extra,
        )  # fmt: skip
        for raw in made.reads:
            what = blocked_by_name(raw)
            if what and not self.pseudonymised:
                raise self.refuse(
                    place,
                    f"{raw!r} is {what} by its name. Replace it by a pseudonym in the file and write "
                    "`pseudonymised: true`, or leave the column out",
                )
        return made

    def fits(self, value: Any, column: Column) -> bool:
        match column.type:
            case "boolean":
                return isinstance(value, bool)
            case "category":
                return value in column.values if column.values else isinstance(value, str)
        return isinstance(value, int | float) and not isinstance(value, bool)

    def factor(self, column: Column, unit: str | None, place: str) -> float:
        if unit is None:
            return 1
        known = self.contract.units.get(column.dimension or "", {})
        if unit not in known:
            allowed = f"one of {', '.join(known)}" if known else f"left out: {column.name} has one unit only"
            raise self.refuse(place, f"unit {unit!r} must be {allowed}{meant(unit, known)}")
        return known[unit]

    def expression(self, sql: str, place: str) -> None:
        try:
            columns_read(sql)
        except ValueError as why:
            raise self.refuse(place, str(why)) from None


def destinations(table: str) -> dict[str, tuple[str, Column]]:
    """The columns that rows of a table may fill, each with the table where the value ends up.

    A record may say what belongs to its household: where it lives, its type, audit columns.

    >>> destinations("records")["county_id"][0], destinations("records")["hh_size"][0]
    ('households', 'records')
    """
    tables = {**load_contract().tables, **load_contract().beside}
    columns = {name: (table, column) for name, column in tables[table].columns.items()}
    if table == "records":
        household = tables["households"].columns
        columns |= {name: ("households", column) for name, column in household.items() if name != "household_id"}
    return columns


def code_text(code: Any) -> str:
    """A code of a YAML file as the text that a data file would hold.

    >>> code_text(1.0), code_text(True), code_text("脱贫户")
    ('1', 'true', '脱贫户')
    """
    if isinstance(code, bool):
        return str(code).lower()
    return f"{code:g}" if isinstance(code, float) else str(code).strip()
