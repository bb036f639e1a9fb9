"""From a county's files to a register: read, check, quarantine, complete, keep by county."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import duckdb

from riskmodel.errors import ContractError, refused_by_disk
from riskmodel.months import month_number, month_text
from riskmodel.register.blocked import LOOKS_LIKE
from riskmodel.register.checks import (
    BY_LAG,
    MACROS,
    SQL_TYPES,
    Compiler,
    as_text,
    expression,
    first_doubtful,
    in_words,
    kind_of,
    reading_numbers,
    texts_of,
)  # fmt: skip
from riskmodel.register.clocks import is_moment
from riskmodel.register.commit import commit_directory, sha256_of
from riskmodel.register.completing import add_welfare_and_line, complete_households, place, tell_when_known
from riskmodel.register.contract import Table, load_contract, meant
from riskmodel.register.postgres import Database, names_database
from riskmodel.register.reading import FILE, MOST_EXACT, ROW, Raw, Reader, identifier
from riskmodel.register.source import Field, Source, TableSource, columns_read, load_source
from riskmodel.register.validators import warn
from riskmodel.register.writing import (
    columns_of,
    sort_table,
    write_quarantine,
    write_tables,
    write_warnings,
)  # fmt: skip

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]

# Records come first: households are completed from them, and all else is placed by household or village.
_ORDER = (
    "lines", "records", "households", "villages", "household_projects", "projects", "events", "spells",
    "assistance", "visits",
)  # fmt: skip
_CALENDAR = (3, 6, 12)  # quarters, half-years and years, which books name by their beginning or by their end
_ONE_COLUMN = " It has a single column: fields are told apart by commas, tabs or semicolons."


@dataclass
class TableReport:
    """What became of the rows of one table: `rows_in == accepted + quarantined + collapsed`, always.

    `filtered` rows were left out by the source's `where` and are not among `rows_in`; `added` households were
    made from their records. `reasons` counts refused rows by `rule:column`; a row may have several.
    """

    rows_in: int = 0
    accepted: int = 0
    quarantined: int = 0
    collapsed: int = 0
    filtered: int = 0
    added: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass
class IntakeReport:
    """The result of `ingest`.

    Attributes
    ----------
    path
        Where the register lies.
    tables
        Counts by table.
    warnings
        Rows to look at, by rule (of `village_in_several_places` villages); they are in the register all the same. Listed in
        `warnings.parquet`.
    absent
        Tables that the source names and the data do not hold.
    not_found
        For each table, mapped columns that the files, or some of them, do not have.
    unused
        For each table without a mapping of columns, those of its files that bear no name of the contract.
    missing
        For each table of the register, contract columns without values: features that need them are left out.
    told_in
        `YYYY-MM`, month in which the first record of the last period came to be known, if that is after the period.
    """

    path: Path
    tables: dict[str, TableReport] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    not_found: dict[str, list[str]] = field(default_factory=dict)
    unused: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    told_in: str | None = None

    @property
    def quarantined(self) -> int:
        """Rows in `quarantine.parquet`."""
        return sum(table.quarantined for table in self.tables.values())


def ingest(
    source: Path | str | Mapping[str, Any],
    data: Path | str | pd.DataFrame | Mapping[str, pd.DataFrame] | None,
    out: Path | str,
    progress: Progress | None = None,
) -> IntakeReport:
    """Take a county's data into a register.

    Parameters
    ----------
    source
        Source file (see `configs/sources/template.yaml`), or its content.
    data
        A folder, one file, a DataFrame of records, DataFrames by table, the URL of a PostgreSQL database or `env:NAME`
        for the environment variable that holds it, or None for files beside the source.
    out
        Directory of the register; replaced as a whole, or left as it is when the data are refused.
    progress
        Called with what is being done, how much is done and how much there is.

    Raises
    ------
    ContractError
        If the data cannot be taken in. The message names file, row, column and rule, never a value.
    NotFound
        If `data` is not there.
    UsageError
        If `out` cannot be written, or the URL of a database is malformed.
    DatabaseError
        If the database cannot be reached or read.
    OSError
        If the disk is full, or a file or folder may not be read or written.
    """
    checked = load_source(source)
    if isinstance(data, str):
        data = Database.named(data) if names_database(data) else Path(data)
    elif data is not None and not isinstance(data, Path | Mapping | Database):
        data = {"records": data}
    intake = _Intake(checked, data, Path(out), progress or (lambda what, done, total: None))
    about: dict[str, Any] = {}
    try:
        commit_directory(out, lambda stage: about.update(intake.run(stage)), kind="register", about=about)
    except duckdb.Error as fault:  # its own text may quote values
        if disk := refused_by_disk(fault):
            raise disk from None
        raise ContractError(
            f"{checked.label}: the data could not be taken in ({type(fault).__name__}). Nothing was written."
        ) from None
    return intake.report


class _Intake:
    """One run: the connection, and what is known so far."""

    def __init__(
        self, source: Source, data: Path | Mapping[str, pd.DataFrame] | Database | None, out: Path, progress: Progress
    ) -> None:
        self.source = source
        self.data = data
        self.progress = progress
        self.report = IntakeReport(out)
        self.contract = load_contract()
        self.inputs: dict[str, Path] = {}
        self.raw: dict[str, Raw] = {}
        self.fields: dict[str, list[Field]] = {}
        self.decimal = "point"
        self.income_made_of: list[str] = []

    def run(self, stage: Path) -> dict[str, Any]:
        """Fill the stage; returns what the manifest says about the register."""
        work = stage / ".work"
        work.mkdir()
        config = {
            "temp_directory": str(work),  # what does not fit into memory goes there
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        opened = self.data.snapshot() if isinstance(self.data, Database) else nullcontext(self.data)
        with duckdb.connect(config=config) as self.connection:
            self.connection.execute(MACROS)
            self.connection.execute("SET TimeZone = 'UTC'")  # an expression gives the same on every machine
            steps = [name for name in _ORDER if name in self.source.tables or name == "households"]
            with opened as data:
                reader = Reader(self.connection, self.source, data, work)
                for done, name in enumerate(steps):
                    self.progress(f"reading {name}", done, len(steps) + 2)
                    if name in self.source.tables:
                        self._take(name, reader)
                    if name == "households":
                        self._complete_households()
            for name in steps:
                if name in self.report.tables:
                    linked = "household_projects" in self.report.tables
                    place(self.connection, self.contract.tables[name], self.counties, linked)
            self._complete_records()
            self.progress("checking", len(steps), len(steps) + 2)
            for name in self.report.tables:
                sort_table(self.connection, self.contract.tables[name])
            self._settle()
            self.connection.execute("DROP TABLE read_records")
            self.report.warnings = warn(self.connection, self.report.tables, self.income_made_of)
            for name in self.raw if self.source.reporting_lag_days else ():
                tell_when_known(self.connection, self.contract.tables[name], self.source.reporting_lag_days)
            self.progress("writing", len(steps) + 1, len(steps) + 2)
            about = self._write(stage)
        rmtree(work)
        self.progress("done", len(steps) + 2, len(steps) + 2)
        return about

    # --- reading and checking the rows of one table

    def _take(self, name: str, reader: Reader) -> None:
        table, origin = self.contract.tables[name], self.source.tables[name]
        raw = reader.open(origin, origin.ids)
        if raw is None:
            if name == "records":
                where = origin.file or origin.table or f"{name}, as {name}.csv, .xlsx or .parquet"
                raise ContractError(f"{self.source.label}, tables.records: the data hold no such file or table: {where}.")
            self.report.absent.append(name)
            return
        self.inputs |= dict(zip(raw.labels, raw.files, strict=True))
        try:
            self._read(table, origin, raw)
        except duckdb.Error:
            reader.refuse_unreadable(raw)
            raise

    def _read(self, table: Table, origin: TableSource, raw: Raw) -> None:
        name = table.name
        fields = self._found_fields(table, origin, raw)
        self.raw[name], self.fields[name] = raw, fields
        if (origin.decimal or "point") != self.decimal:
            self.decimal = origin.decimal or "point"
            self.connection.execute(reading_numbers(self.decimal))
        kinds = self._kinds(name, raw, fields)
        self._refuse_doubtful_marks(origin, raw, fields)
        self._refuse_identities(name, raw, fields, kinds)
        compiler = Compiler(
            table, fields, kinds, not raw.text, texts_of(raw), self.source.step_months, self.source.reporting_lag_days,
            self.source.date_format, self.source.data_until or dt.date.today(), self.source.period_named_by == "last",
        )  # fmt: skip
        self._refuse_unknown_filter(origin, raw)
        select = f"CREATE TABLE read_{name} AS {compiler.select(raw.view, origin.where)}"
        self._with_expressions(select, name, raw, fields)
        rows = self._number(f"SELECT count(*) FROM read_{name}")
        everything = self._number(f"SELECT count(*) FROM {raw.view}") if origin.where else rows
        self.report.tables[name] = TableReport(rows_in=rows, filtered=everything - rows)
        if rows == 0 and name == "records":
            raise ContractError(f"{self._files(name)}: there are no rows to take in.")
        if name == "records":
            self._hold_to_periods(raw)
        self._accept(table, fields)

    def _found_fields(self, table: Table, origin: TableSource, raw: Raw) -> list[Field]:
        fields = origin.resolved(raw.columns)
        found = [f for f in fields if all(name in raw.columns for name in f.reads)]
        names = {f.name for f in found}
        for required in table.required:
            if required not in names:
                mapped = next((f for f in fields if f.name == required), None)
                column = table.columns[required]
                wanted = mapped.reads if mapped else (required, column.zh)
                lacks = next((w for w in wanted if w not in raw.columns), required)
                raise ContractError(
                    f"{self._labels(raw, table.name)}: no column {lacks!r} for the required {required} "
                    f"({column.zh}){meant(lacks, raw.columns)}. Map it in {self.source.label}, "
                    f"tables.{table.name}.columns.{_ONE_COLUMN * (raw.text and len(raw.columns) == 1)}"
                )
        if table.one_of and not names & set(table.one_of):
            raise ContractError(
                f"{self._labels(raw, table.name)}: no column for {' or '.join(table.one_of)}. "
                f"Map one in {self.source.label}, tables.{table.name}.columns."
            )
        lost = [f"{f.name} ({', '.join(n for n in f.reads if n not in raw.columns)})" for f in fields if f not in found]
        lost += self._in_some_files(table, found, raw)
        if lost:
            self.report.not_found[table.name] = lost
        read = {name for f in found for name in f.reads} | set(columns_read(origin.where) if origin.where else ())
        if origin.fields is None and (unused := [name for name in raw.columns if name not in read]):
            self.report.unused[table.name] = unused
        return [self._on_its_clock(f, table.name, raw) for f in found]

    def _in_some_files(self, table: Table, found: Sequence[Field], raw: Raw) -> list[str]:
        """Mapped columns that only some of a table's files have; each file must have those without which no row is taken."""
        lost: dict[str, list[str]] = {}
        for label, columns in raw.held.items() if len(raw.held) > 1 else ():
            held = {name.casefold() for name in columns}
            for mapped in found:
                lacks = next((name for name in mapped.reads if name.casefold() not in held), None)
                if lacks is not None and mapped.name in table.required:
                    raise ContractError(
                        f"{label}: no column {lacks!r} for the required {mapped.name} ({mapped.column.zh})"
                        f"{meant(lacks, columns)}. The other files of the table {table.name} have it."
                    )
                if lacks is not None:
                    lost.setdefault(mapped.name, []).append(f"{lacks} in {label}")
        return [f"{name} ({', '.join(places)})" for name, places in lost.items()]

    def _on_its_clock(self, mapped: Field, name: str, raw: Raw) -> Field:
        """A field that reads points in time by the clock of the zone that their file names."""
        clock = raw.clocks.get(mapped.raw or "")
        if clock is None:
            return mapped
        doubtful = f"SELECT {FILE}, {ROW} FROM {raw.view} WHERE {clock.in_doubt} ORDER BY ALL LIMIT 1"
        for file, row in self.connection.execute(doubtful).fetchall():
            zoned = f"{mapped.name}: {{sql: {mapped.raw} AT TIME ZONE 'Asia/Shanghai'}}"
            raise ContractError(
                f"{file}, row {row:,}, column {mapped.raw}: a time of UTC that is not midnight, and the file names no other "
                f"zone: nobody has told its day. Say whose clock counts, in {self.source.label}, tables.{name}.columns, "
                f"such as {zoned}; or store days."
            )
        return replace(mapped, clock=clock.sql)

    def _kinds(self, name: str, raw: Raw, fields: Sequence[Field]) -> dict[str, str]:
        kinds = {}
        for f in fields:
            try:
                row = self.connection.execute(f"DESCRIBE SELECT {expression(f)} AS x FROM {raw.view}").fetchall()[0]
            except duckdb.Error as fault:
                hint = " Columns of a CSV or Excel file are text: write number(column) to calculate." if raw.text else ""
                why = str(fault).splitlines()[0].split(": ", 1)[-1].rstrip(".")
                raise ContractError(
                    f"{self.source.label}, tables.{name}.columns.{f.name}: the expression cannot be computed ({why}).{hint}"
                ) from None
            if is_moment(row[1]):
                raise ContractError(
                    f"{self.source.label}, tables.{name}.columns.{f.name}: the expression gives a point in time, whose day "
                    "depends on the zone. Name it: (...) AT TIME ZONE 'Asia/Shanghai'."
                )
            kinds[f.name] = kind_of(row[1])
        return kinds

    def _refuse_identities(self, name: str, raw: Raw, fields: Sequence[Field], kinds: Mapping[str, str]) -> None:
        """Refuse text that has the shape of identity or telephone numbers, and ids that lost digits."""
        for f in fields:
            if f.column.type != "text" and not f.extra and (f.column.type != "category" or f.column.values):
                continue
            where = f"{self._labels(raw, name)}, column {f.raw or f.name}"
            if f.column.type == "text" and kinds[f.name] == "float":
                beyond = f"SELECT count(*) FROM {raw.view} WHERE abs({expression(f)}) >= {MOST_EXACT}"
                if self._number(beyond):
                    raise ContractError(
                        f"{where}: ids of more than 15 digits are stored as numbers, and the last digits are "
                        "lost. Store the column as text."
                    )
            if self.source.pseudonymised:
                continue
            shapes = ", ".join(f"count(*) FILTER (WHERE {shape.format(x='x')})" for shape in LOOKS_LIKE.values())
            value = f"trim({as_text(expression(f), kinds[f.name])})"
            sql = f"SELECT count(x), {shapes} FROM (SELECT {value} AS x FROM {raw.view})"
            filled, *alike = self._with_expressions(sql, name, raw, fields)[0]
            for what, count in zip(LOOKS_LIKE, alike, strict=True):
                if count * 2 > filled:
                    raise ContractError(
                        f"{where}: more than half of the values have the shape of {what}. Replace them by "
                        f"pseudonyms and write `pseudonymised: true` in {self.source.label}, or leave the "
                        "column out."
                    )

    def _refuse_doubtful_marks(self, origin: TableSource, raw: Raw, fields: Sequence[Field]) -> None:
        """Refuse numbers whose comma or point may be the decimal mark or stand between thousands.

        Only who saves files apart by semicolons or tabs may write the comma as decimal mark: a semicolon stands there since
        the comma is taken. Until the source says it, a comma is in doubt after a semicolon, as are points that are all
        followed by three digits; after a tab, a comma that stands before none between thousands.
        """
        if origin.decimal == "comma" and (kept := set(raw.labels or [f"DataFrame {origin.name}"]) - raw.separators.keys()):
            raise ContractError(
                f"{self.source.label}, tables.{origin.name}.decimal: {min(kept)} is no CSV file, its numbers are read as "
                "they are stored. Leave decimal out, or store the file as CSV."
            )
        doubtful = [label for label, separator in raw.separators.items() if separator != ","]
        if origin.decimal is not None or not doubtful:
            return
        numbers = [f for f in fields if f.column.type in ("number", "integer")]
        for column in dict.fromkeys(name for f in numbers for name in f.reads):
            for label in doubtful:
                row = self.connection.execute(first_doubtful(raw.view, column, label, raw.separators[label])).fetchall()
                if row:
                    raise ContractError(
                        f"{label}, row {row[0][0]:,}, column {column}: a comma or point of which nobody has told whether it "
                        "is the decimal mark or stands between thousands, in a file told apart by "
                        f"{'tabs' if raw.separators[label] == chr(9) else 'semicolons'}. Write which mark is decimal in "
                        f"{self.source.label}, tables.{origin.name}: `decimal: comma` or `decimal: point`."
                    )

    def _refuse_unknown_filter(self, origin: TableSource, raw: Raw) -> None:
        held = {name.casefold() for name in raw.columns}
        for name in columns_read(origin.where) if origin.where else ():
            if name.casefold() not in held:
                raise ContractError(
                    f"{self.source.label}, tables.{origin.name}.where: no column {name!r} in "
                    f"{self._labels(raw, origin.name)}{meant(name, raw.columns)}."
                )

    def _hold_to_periods(self, raw: Raw) -> None:
        """Refuse records between the periods of most; also periods named by the ends of quarters, until that is said.

        A period is looked at on its last day, and a wrong name or a stray first month would make every such day wrong.
        """
        step = self.source.step_months
        number = "year(month) * 12 + month(month) - 1"
        good = "FROM read_records WHERE len(__reasons) = 0"
        usual = self.connection.execute(
            f"SELECT ({number}) % {step} AS place, min(month) {good} GROUP BY place ORDER BY count(*) DESC, place LIMIT 1"
        ).fetchall()
        if step == 1 or not usual:
            return
        place, first = usual[0]
        if self.source.period_named_by is None and step in _CALENDAR and place == step - 1:
            name = f"{first:%Y-%m}"
            after = month_text(month_number(first) + step - 1)
            raise ContractError(
                f"{self._labels(raw, 'records')}: the periods of {step} months are named by months in which a calendar "
                f"period ends, such as {name}, and nobody has told whether that is the period that ends with {name} or the "
                f"one that begins with it (up to {after}). Write `period_named_by: last` or `period_named_by: first` in "
                f"{self.source.label}."
            )
        self.connection.execute(f"""
            UPDATE read_records SET __reasons = list_append(__reasons, 'between_periods:month')
            WHERE ({number}) % {step} <> {place}""")

    def _with_expressions(self, sql: str, name: str, raw: Raw, fields: Sequence[Field]) -> list[tuple]:
        """Run SQL with the source's own expressions in it; a failure names the expression, not the value."""
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error:
            where = self.source.tables[name].where
            own = {f"columns.{f.name}": f.sql for f in fields if f.sql} | ({"where": where} if where else {})
            for place, text in own.items():
                try:
                    asked = f"({text})::BOOLEAN" if place == "where" else text
                    self.connection.execute(f"SELECT max(hash({asked})) FROM {raw.view}").fetchall()
                except duckdb.Error as fault:
                    raise ContractError(
                        f"{self.source.label}, tables.{name}.{place}: the expression fails on a row "
                        f"({type(fault).__name__}). Columns of a CSV or Excel file are text: write "
                        "number(column)."
                    ) from None
            raise

    def _accept(self, table: Table, fields: Sequence[Field]) -> None:
        """Split rows into accepted, refused and collapsed."""
        name = table.name
        extras = [f.column for f in fields if f.extra]
        household = [f.column for f in fields if f.table != name and f.name not in table.columns]
        columns = [*table.columns.values(), *extras, *household]
        keys = [*table.key, *(["known_at"] if "known_at" in table.columns else [])]
        key = ", ".join(keys)
        same = " AND ".join(f"one.{k} IS NOT DISTINCT FROM more.{k}" for k in keys)
        content = ", ".join(identifier(c.name) for c in columns)
        good = f"(FROM read_{name} WHERE len(__reasons) = 0)"
        known = "household_id" if "household_id" in table.columns else "NULL::VARCHAR AS household_id"
        kept = f"{FILE}, {ROW}{f', {BY_LAG}' if table.later_facts else ''}"
        self.connection.execute(f"""
            CREATE TABLE refused_{name} AS
            SELECT {FILE}, {ROW}, {known}, __reasons AS reasons FROM read_{name} WHERE len(__reasons) > 0""")
        cast = ", ".join(f"CAST({identifier(c.name)} AS {SQL_TYPES[c.type]}) AS {identifier(c.name)}" for c in columns)
        accepted = f"CREATE VIEW accepted_{name} AS SELECT {kept}, {cast} FROM {good}"
        if not self._number(f"SELECT count(*) FROM (SELECT {key} FROM {good} GROUP BY {key} HAVING count(*) > 1)"):
            self.connection.execute(accepted)
            return
        self.connection.execute(f"""
            CREATE TABLE twice_{name} AS
            SELECT {FILE}, {ROW}, count(DISTINCT row({content})) OVER twin > 1 AS conflicting,
                row_number() OVER (twin ORDER BY {FILE}, {ROW}) > 1 AS again
            FROM {good} AS one
            SEMI JOIN (SELECT {key} FROM {good} GROUP BY {key} HAVING count(*) > 1) AS more ON {same}
            WINDOW twin AS (PARTITION BY {key})""")
        self.connection.execute(f"""
            INSERT INTO refused_{name}
            SELECT {FILE}, {ROW}, {known}, ['conflicting_duplicate:{"+".join(table.key)}']
            FROM read_{name} JOIN twice_{name} USING ({FILE}, {ROW}) WHERE conflicting""")
        once = f"ANTI JOIN (FROM twice_{name} WHERE conflicting OR again) USING ({FILE}, {ROW})"
        self.connection.execute(f"{accepted} {once}")
        self.report.tables[name].collapsed = self._number(
            f"SELECT count(*) FROM twice_{name} WHERE again AND NOT conflicting"
        )

    # --- completing what the files leave open

    def _complete_households(self) -> None:
        own = [f.name for f in self.fields["households"] if f.extra] if "households" in self.raw else None
        said = {f.name for f in self.fields["records"] if f.table == "households"}
        self.counties = complete_households(self.connection, said, own)
        report = self.report.tables.setdefault("households", TableReport())
        known = self._number("SELECT count(*) FROM accepted_households") if own is not None else 0
        report.added = self._number("SELECT count(*) FROM all_households") - known

    def _complete_records(self) -> None:
        with_lines = "lines" in self.report.tables
        try:
            self.income_made_of = add_welfare_and_line(
                self.connection, self.fields["records"], self.source.step_months, with_lines
            )
        except ValueError:
            raise ContractError(
                f"{self.source.label}, tables.records.columns: there is neither welfare (income per person) "
                "nor hh_size with a part of income to derive it from. Map one of them."
            ) from None

    def _revised(self, written: Iterable[Table]) -> list[str]:
        """Tables in which something is told more than once, known on different days."""
        twice = "SELECT count(*) - count(DISTINCT ({key})) FROM sorted_{name}"
        dated = [t for t in written if "known_at" in t.columns]
        return [t.name for t in dated if self._number(twice.format(key=", ".join(t.key), name=t.name))]

    # --- counting, warning, writing

    def _settle(self) -> None:
        """Count; refuse the data if a table loses too many rows."""
        for name, report in self.report.tables.items():
            if name not in self.raw:
                continue
            report.quarantined = self._number(f"SELECT count(*) FROM refused_{name}")
            kept = f"SELECT count(*) FROM {'accepted' if name == 'households' else 'sorted'}_{name}"
            report.accepted = self._number(kept)
            assert report.rows_in == report.accepted + report.quarantined + report.collapsed, name
            counted = f"""
                SELECT reason, count(*) AS n,
                    arg_min({FILE}, ({FILE}, {ROW})), arg_min({ROW}, ({FILE}, {ROW}))
                FROM (SELECT {FILE}, {ROW}, unnest(reasons) AS reason FROM refused_{name})
                GROUP BY reason ORDER BY n DESC, reason"""
            reasons = self.connection.execute(counted).fetchall() if report.quarantined else []
            report.reasons = {reason: count for reason, count, _, _ in reasons}
            too_many = report.quarantined > self.source.max_quarantined_share * report.rows_in
            if too_many or (name == "records" and report.accepted == 0):
                allowed = f"{self.source.max_quarantined_share:.0%}"
                examples = "; ".join(
                    f"{file}, row {row:,}, column {reason.split(':')[1]}: {in_words(reason)} ({count:,} rows)"
                    for reason, count, file, row in reasons[:3]
                )
                raise ContractError(
                    f"{name}: {report.quarantined:,} of {report.rows_in:,} rows are refused, more than the "
                    f"allowed {allowed}. {examples}. Correct the rows, or map units and codes in "
                    f"{self.source.label}. Nothing was written."
                )

    def _write(self, stage: Path) -> dict[str, Any]:
        holding: dict[str, list[str]] = {}
        written: list[tuple[Table, list[str]]] = []
        extras = {name: {f.name: f.column for f in fields if f.extra} for name, fields in self.fields.items()}
        for name, table in self.contract.tables.items():
            if name in self.report.tables:
                mapped = {f.name for f in self.fields.get(name, ())}
                columns, filled, empty = columns_of(self.connection, table, list(extras.get(name, {})), mapped)
                self.report.missing[name] = empty
                if filled:
                    holding[name] = filled
                    written.append((table, columns))
        write_tables(self.connection, stage, written)
        write_quarantine(self.connection, stage, self.raw, self.fields)
        write_warnings(self.connection, stage)
        newest = "(SELECT max(month) FROM sorted_records)"
        first, last, known, told = (
            month_number(day)
            for day in self.connection.execute(
                f"SELECT min(month), {newest}, max(known_at), min(known_at) FILTER (month = {newest}) FROM sorted_records"
            ).fetchall()[0]
        )
        if told >= last + self.source.step_months:
            self.report.told_in = month_text(told)
        return {
            "source": self.source.name,
            "source_sha256": self.source.sha256,
            **({"database": self.data.label} if isinstance(self.data, Database) else {}),
            "inputs": {label: sha256_of(path) for label, path in sorted(self.inputs.items())},
            "step_months": self.source.step_months,
            "reporting_lag_days": self.source.reporting_lag_days,
            "counties": self.counties,
            "first_month": month_text(first),
            "last_month": month_text(last),
            "last_known_month": month_text(known),
            "revised": self._revised(table for table, _ in written),
            "columns": holding,
            "extra_columns": {
                name: {c.name: {"type": c.type, "en": c.en, "zh": c.zh} for _, c in sorted(columns.items())}
                for name, columns in extras.items()
                if columns
            },
            "counts": {name: asdict(report) for name, report in self.report.tables.items()},
            "warnings": self.report.warnings,
        }

    def _number(self, sql: str) -> int:
        return self.connection.execute(sql).fetchall()[0][0]

    def _files(self, name: str) -> str:
        return self._labels(self.raw[name], name)

    def _labels(self, raw: Raw, name: str) -> str:
        return ", ".join(raw.labels[:3]) or f"DataFrame {name}"
