"""From a county's files to a register: read, check, quarantine, complete, keep by county."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import duckdb
import yaml

from riskmodel.errors import ContractError, UsageError
from riskmodel.months import month_number, month_text
from riskmodel.register.blocked import LOOKS_LIKE
from riskmodel.register.checks import MACROS, SQL_TYPES, Compiler, as_text, expression, in_words, kind_of
from riskmodel.register.commit import commit_directory, sha256_of
from riskmodel.register.contract import Table, load_contract, meant
from riskmodel.register.reading import FILE, MOST_EXACT, ROW, Raw, Reader, identifier, literal
from riskmodel.register.source import Field, Source, TableSource, load_source
from riskmodel.register.store import table_file

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]

# Lines and records come first: households are completed from records, and all else is placed by household or village.
_ORDER = (
    "lines", "records", "households", "villages", "household_projects", "projects", "events", "spells", "assistance",
    "visits",
)  # fmt: skip
_INCOME = ("wage_income", "production_income", "property_income", "transfer_income")
_ONLY_COUNTY = "all"
_LONGEST_FILE_NAME = 200


@dataclass
class TableReport:
    """What became of the rows of one table: `rows_in == accepted + quarantined + collapsed`, always.

    `filtered` rows were left out by the source's `where` and are not among `rows_in`; `added` households were made
    from their records. `reasons` counts refused rows by `rule:column`; a row may have several.
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
        Rows to look at, by rule; they are in the register all the same. Listed in `warnings.parquet`.
    absent
        Tables that the source names and the data do not hold.
    not_found
        For each table, mapped columns that the files do not have.
    missing
        For each table of the register, contract columns that hold no values: features that need them are left out.
    """

    path: Path
    tables: dict[str, TableReport] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    not_found: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)

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
        A folder, one file, a DataFrame of records, DataFrames by table, or None for files beside the source.
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
        If `out` cannot be written.
    """
    import pandas as pd

    checked = load_source(source)
    if isinstance(data, pd.DataFrame):
        data = {"records": data}
    elif isinstance(data, str):
        data = Path(data)
    intake = _Intake(checked, data, Path(out), progress or (lambda what, done, total: None))
    about: dict[str, Any] = {}
    try:
        commit_directory(out, lambda stage: about.update(intake.run(stage)), kind="register", about=about)
    except duckdb.Error as fault:  # its own text may quote values
        raise ContractError(
            f"{checked.label}: the data could not be taken in ({type(fault).__name__}). Nothing was written."
        ) from None
    return intake.report


class _Intake:
    """One run: the connection, and what is known so far."""

    def __init__(
        self, source: Source, data: Path | Mapping[str, pd.DataFrame] | None, out: Path, progress: Progress
    ) -> None:
        self.source = source
        self.data = data
        self.progress = progress
        self.report = IntakeReport(out)
        self.contract = load_contract()
        self.inputs: dict[str, Path] = {}
        self.raw: dict[str, Raw] = {}
        self.fields: dict[str, list[Field]] = {}
        self.has_revisions = False

    def run(self, stage: Path) -> dict[str, Any]:
        """Fill the stage; returns what the manifest says about the register."""
        work = stage / ".work"
        work.mkdir()
        config = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        with duckdb.connect(work / "intake.duckdb", config=config) as self.connection:
            self.connection.execute(MACROS)
            reader = Reader(self.connection, self.source, self.data, work)
            steps = [name for name in _ORDER if name in self.source.tables or name == "households"]
            for done, name in enumerate(steps):
                self.progress(f"reading {name}", done, len(steps) + 2)
                if name in self.source.tables:
                    self._take(name, reader)
                if name == "households":
                    self._complete_households()
            for name in steps:
                if name in self.report.tables:
                    self._place(name)
            self._add_line()
            self.progress("checking", len(steps), len(steps) + 2)
            self._settle()
            for name in self.report.tables:
                self._sort(self.contract.tables[name])
            self._warn()
            self.progress("writing", len(steps) + 1, len(steps) + 2)
            about = self._write(stage)
        rmtree(work)
        self.progress("done", len(steps) + 2, len(steps) + 2)
        return about

    # --- reading and checking the rows of one table

    def _take(self, name: str, reader: Reader) -> None:
        table, origin = self.contract.tables[name], self.source.tables[name]
        raw = reader.open(origin, lambda columns: self._id_columns(origin, columns))
        if raw is None:
            if name == "records":
                raise ContractError(f"{self.source.label}, tables.records: the data hold no such file.")
            self.report.absent.append(name)
            return
        fields = self._found_fields(table, origin, raw)
        self.raw[name], self.fields[name] = raw, fields
        self.inputs |= dict(zip(raw.labels, raw.files, strict=True))
        kinds = self._kinds(name, raw, fields)
        self._refuse_identities(name, raw, fields, kinds)
        compiler = Compiler(
            table, fields, kinds, not raw.text, self.source.step_months, self.source.reporting_lag_days,
            self.source.date_format, self.source.data_until or dt.date.today(),
        )  # fmt: skip
        select = f"CREATE TABLE read_{name} AS {compiler.select(raw.view, origin.where)}"
        self._with_expressions(select, name, raw, fields)
        rows = self._number(f"SELECT count(*) FROM read_{name}")
        everything = self._number(f"SELECT count(*) FROM {raw.view}") if origin.where else rows
        self.report.tables[name] = TableReport(rows_in=rows, filtered=everything - rows)
        if rows == 0 and name == "records":
            raise ContractError(f"{self._files(name)}: there are no rows to take in.")
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
                    f"{self._labels(raw, table.name)}: no column {lacks!r} for the required {required} ({column.zh})"
                    f"{meant(lacks, raw.columns)}. Map it in {self.source.label}, tables.{table.name}.columns."
                )
        if table.one_of and not names & set(table.one_of):
            raise ContractError(
                f"{self._labels(raw, table.name)}: no column for {' or '.join(table.one_of)}. "
                f"Map one in {self.source.label}, tables.{table.name}.columns."
            )
        lost = [f"{f.name} ({', '.join(n for n in f.reads if n not in raw.columns)})" for f in fields if f not in found]
        if lost:
            self.report.not_found[table.name] = lost
        return found

    def _id_columns(self, origin: TableSource, columns: list[str]) -> list[str]:
        ids = [f for f in origin.resolved(columns) if f.column.type == "text" and f.raw in columns]
        return [f.raw for f in ids if f.name.endswith("_id") or f.name == "area"]

    def _kinds(self, name: str, raw: Raw, fields: Sequence[Field]) -> dict[str, str]:
        kinds = {}
        for f in fields:
            try:
                row = self.connection.execute(f"DESCRIBE SELECT {expression(f)} AS x FROM {raw.view}").fetchone()
            except duckdb.Error as fault:
                hint = " Columns of a CSV or Excel file are text: write number(column) to calculate." if raw.text else ""
                why = str(fault).splitlines()[0].split(": ", 1)[-1].rstrip(".")
                raise ContractError(
                    f"{self.source.label}, tables.{name}.columns.{f.name}: the expression cannot be computed "
                    f"({why}).{hint}"
                ) from None
            kinds[f.name] = kind_of(row[1])
        return kinds

    def _refuse_identities(
        self, name: str, raw: Raw, fields: Sequence[Field], kinds: Mapping[str, str]
    ) -> None:
        """Refuse text whose values have the shape of identity or telephone numbers, and ids that lost digits."""
        for f in fields:
            if f.column.type != "text" and not f.extra and (f.column.type != "category" or f.column.values):
                continue
            where = f"{self._labels(raw, name)}, column {f.raw or f.name}"
            if f.column.type == "text" and kinds[f.name] == "float":
                beyond = f"SELECT count(*) FROM {raw.view} WHERE abs({expression(f)}) >= {MOST_EXACT}"
                if self._number(beyond):
                    raise ContractError(
                        f"{where}: ids of more than 15 digits are stored as numbers, and the last digits are lost. "
                        "Store the column as text."
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
                        f"pseudonyms and write `pseudonymised: true` in {self.source.label}, or leave the column out."
                    )

    def _with_expressions(self, sql: str, name: str, raw: Raw, fields: Sequence[Field]) -> list[tuple]:
        """Run SQL that contains the source's own expressions; a failure names the expression, not the value."""
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error:
            where = self.source.tables[name].where
            own = {f"columns.{f.name}": f.sql for f in fields if f.sql} | ({"where": where} if where else {})
            for place, text in own.items():
                try:
                    self.connection.execute(f"SELECT max(hash({text})) FROM {raw.view}")
                except duckdb.Error as fault:
                    raise ContractError(
                        f"{self.source.label}, tables.{name}.{place}: the expression fails on a row "
                        f"({type(fault).__name__}). Columns of a CSV or Excel file are text: write number(column)."
                    ) from None
            raise

    def _accept(self, table: Table, fields: Sequence[Field]) -> None:
        """Split rows into accepted, refused and collapsed."""
        name = table.name
        extras = [f.column for f in fields if f.extra]
        household = [f.column for f in fields if f.table != name and f.name not in table.columns]
        columns = [*table.columns.values(), *extras, *household]
        key = ", ".join(dict.fromkeys([*table.key, *(["known_at"] if "known_at" in table.columns else [])]))
        content = ", ".join(identifier(c.name) for c in columns)
        good = f"(FROM read_{name} WHERE len(__reasons) = 0)"
        self.connection.execute(f"""
            CREATE TABLE twice_{name} AS
            SELECT {FILE}, {ROW}, count(DISTINCT row({content})) OVER twin > 1 AS conflicting,
                row_number() OVER (twin ORDER BY {FILE}, {ROW}) > 1 AS again
            FROM {good} AS one
            WHERE row({key}) IN (SELECT row({key}) FROM {good} GROUP BY {key} HAVING count(*) > 1)
            WINDOW twin AS (PARTITION BY {key})""")
        has_household = "household_id" in table.columns
        self.connection.execute(f"""
            CREATE TABLE refused_{name} AS
            SELECT {FILE}, {ROW}, {"household_id" if has_household else "NULL::VARCHAR AS household_id"},
                __reasons AS reasons FROM read_{name} WHERE len(__reasons) > 0
            UNION ALL
            SELECT {FILE}, {ROW}, {"household_id" if has_household else "NULL::VARCHAR"},
                ['conflicting_duplicate:{"+".join(table.key)}']
            FROM read_{name} JOIN twice_{name} USING ({FILE}, {ROW}) WHERE conflicting""")
        cast = ", ".join(f"CAST({identifier(c.name)} AS {SQL_TYPES[c.type]}) AS {identifier(c.name)}" for c in columns)
        once = f"ANTI JOIN (FROM twice_{name} WHERE conflicting OR again) USING ({FILE}, {ROW})"
        alone = self._number(f"SELECT count(*) FROM twice_{name}") == 0
        self.connection.execute(
            f"CREATE VIEW accepted_{name} AS SELECT {FILE}, {ROW}, {cast} FROM {good} {'' if alone else once}"
        )
        self.report.tables[name].collapsed = self._number(
            f"SELECT count(*) FROM twice_{name} WHERE again AND NOT conflicting"
        )

    # --- completing what the files leave open

    def _complete_households(self) -> None:
        """Every household with a record has a row: as its own file says, else as its latest records say."""
        columns = self.contract.tables["households"].columns
        said = {f.name for f in self.fields["records"] if f.table == "households"}
        order = "datediff('day', DATE '1900-01-01', month) * 100000 + datediff('day', DATE '1900-01-01', known_at)"
        aggregates = "".join(
            f", arg_max({name}, {order}) FILTER (WHERE {name} IS NOT NULL) AS {name}" for name in sorted(said)
        )
        self.connection.execute(
            f"CREATE TABLE said AS SELECT household_id{aggregates} FROM accepted_records GROUP BY household_id"
        )
        own = "households" in self.report.tables
        extras = [f.name for f in self.fields.get("households", []) if f.extra]
        parts = []
        for name, column in columns.items():
            if name == "household_id":
                continue
            given = [f"own.{name}"] * own + [f"said.{name}"] * (name in said)
            nothing = f"'{_ONLY_COUNTY}'" if name == "county_id" else f"NULL::{SQL_TYPES[column.type]}"
            parts.append(f"coalesce({', '.join([*given, nothing])}) AS {name}")
        parts += [f"own.{identifier(name)}" for name in extras]
        origin = "accepted_households AS own FULL JOIN said USING (household_id)" if own else "said"
        self.connection.execute(
            f"CREATE TABLE all_households AS SELECT household_id, {', '.join(parts)} FROM {origin}"
        )
        report = self.report.tables.setdefault("households", TableReport())
        known = self._number("SELECT count(*) FROM accepted_households") if own else 0
        report.added = self._number("SELECT count(*) FROM all_households") - known
        self.connection.execute("""
            CREATE TABLE county_of_household AS SELECT household_id, county_id AS county FROM all_households;
            CREATE TABLE county_of_village AS
            SELECT village_id, arg_max(county_id, n ORDER BY county_id) AS county FROM (
                SELECT village_id, county_id, count(*) AS n FROM all_households
                WHERE village_id IS NOT NULL GROUP BY ALL)
            GROUP BY village_id""")
        counties = [c for (c,) in self.connection.execute("SELECT DISTINCT county FROM county_of_household").fetchall()]
        self.counties = sorted(counties)
        for county in self.counties:
            if len(Path(table_file("records", county)).name) > _LONGEST_FILE_NAME:
                raise ContractError("county_id: the name of a county is too long for a file. Use a code.")

    def _place(self, name: str) -> None:
        """Give each accepted row its county; refuse rows whose household or village nobody knows."""
        if name == "households":
            self.connection.execute("CREATE VIEW final_households AS SELECT *, county_id AS __county FROM all_households")
            return
        table = self.contract.tables[name]
        only = literal(self.counties[0]) if len(self.counties) == 1 else "NULL"
        if name == "lines":
            county, joins, unknown = f"'{_ONLY_COUNTY}'", "", None
        elif name == "projects":
            county = f"coalesce(v.county, p.county, {only})"
            joins = f"LEFT JOIN county_of_village v USING (village_id) LEFT JOIN ({self._projects()}) p USING (project_id)"
            unknown = "unknown_village:village_id"
        elif name == "villages":
            county, joins = f"coalesce(v.county, {only})", "LEFT JOIN county_of_village v USING (village_id)"
            unknown = "unknown_village:village_id"
        elif "village_id" in table.columns and name != "records":
            county = "CASE WHEN t.household_id IS NULL THEN v.county ELSE h.county END"
            joins = (
                "LEFT JOIN county_of_household h USING (household_id) LEFT JOIN county_of_village v USING (village_id)"
            )
            unknown = "unknown_household:household_id"
        else:
            county, joins = "h.county", "LEFT JOIN county_of_household h USING (household_id)"
            unknown = "unknown_household:household_id"
        placed = f"SELECT t.*, {county} AS __county FROM accepted_{name} t {joins}"
        self.connection.execute(f"CREATE VIEW final_{name} AS FROM ({placed}) WHERE __county IS NOT NULL")
        if unknown:
            household = "household_id" if "household_id" in table.columns else "NULL"
            reason = literal(unknown)
            if name == "events":
                reason = f"CASE WHEN household_id IS NULL THEN 'unknown_village:village_id' ELSE {reason} END"
            self.connection.execute(
                f"INSERT INTO refused_{name} SELECT {FILE}, {ROW}, {household}, [{reason}] "
                f"FROM ({placed}) WHERE __county IS NULL"
            )

    def _projects(self) -> str:
        if "household_projects" not in self.report.tables:
            return "SELECT NULL::VARCHAR AS project_id, NULL::VARCHAR AS county"
        return "SELECT project_id, min(__county) AS county FROM final_household_projects GROUP BY project_id"

    def _add_line(self) -> None:
        """`welfare` from its parts, where it is not mapped, and `line` from the table of lines, where it is null."""
        mapped = {f.name for f in self.fields["records"]}
        parts = [name for name in _INCOME if name in mapped]
        if "welfare" not in mapped and not (parts and "hh_size" in mapped):
            raise ContractError(
                f"{self.source.label}, tables.records.columns: there is neither welfare (income per person) nor "
                "hh_size with a part of income to derive it from. Map one of them."
            )
        changes = []
        if "welfare" not in mapped:
            total = " + ".join(f"coalesce({name}, 0)" for name in (*_INCOME, "claims"))
            spent = " - ".join(f"coalesce({name}, 0)" for name in ("production_cost", "selfpay"))
            some = f"coalesce({', '.join(parts)}) IS NOT NULL"
            changes.append(f"CASE WHEN {some} THEN ({total} - {spent}) / hh_size END AS welfare")
        join = ""
        if "lines" in self.report.tables:
            period_end = f"last_day(month + INTERVAL {self.source.step_months - 1} MONTH)"
            self.connection.execute(f"""
                CREATE TABLE line_in_force AS
                SELECT __county, month, arg_max(amount,
                    (area <> '*')::INTEGER * 1000000 + datediff('day', DATE '1900-01-01', valid_from)) AS amount
                FROM (SELECT DISTINCT __county, month FROM final_records)
                JOIN (SELECT area, valid_from, valid_to, amount FROM final_lines) ON area IN (__county, '*')
                    AND valid_from <= {period_end} AND coalesce(valid_to, DATE '9999-12-31') >= {period_end}
                GROUP BY ALL""")
            join = "LEFT JOIN line_in_force USING (__county, month)"
            changes.append("coalesce(line, amount) AS line")
        if changes:
            amount = "EXCLUDE (amount)" if join else ""
            self.connection.execute(f"""
                ALTER VIEW final_records RENAME TO placed_records;
                CREATE VIEW final_records AS
                SELECT * {amount} REPLACE ({", ".join(changes)}) FROM placed_records {join}""")
        self.has_revisions = bool(
            self._number("SELECT count(*) - count(DISTINCT (household_id, month)) FROM final_records")
        )

    # --- counting, warning, writing

    def _settle(self) -> None:
        """Count; refuse the data if a table loses too many rows."""
        for name, report in self.report.tables.items():
            if name not in self.raw:
                continue
            report.quarantined = self._number(f"SELECT count(*) FROM refused_{name}")
            kept = f"SELECT count(*) FROM {'accepted' if name == 'households' else 'final'}_{name}"
            report.accepted = self._number(kept)
            assert report.rows_in == report.accepted + report.quarantined + report.collapsed, name
            reasons = self.connection.execute(f"""
                SELECT reason, count(*) AS n, min(({FILE}, {ROW})) AS first
                FROM (SELECT {FILE}, {ROW}, unnest(reasons) AS reason FROM refused_{name})
                GROUP BY reason ORDER BY n DESC, reason""").fetchall()
            report.reasons = {reason: count for reason, count, _ in reasons}
            too_many = report.quarantined > self.source.max_quarantined_share * report.rows_in
            if too_many or (name == "records" and report.accepted == 0):
                allowed = f"more than the allowed {self.source.max_quarantined_share:.0%}"
                examples = "; ".join(
                    f"{first[0]}, row {first[1]:,}, column {reason.split(':')[1]}: {in_words(reason)} ({count:,} rows)"
                    for reason, count, first in (
                        (r, n, tuple(f.values()) if isinstance(f, dict) else f) for r, n, f in reasons[:3]
                    )
                )
                raise ContractError(
                    f"{name}: {report.quarantined:,} of {report.rows_in:,} rows are refused, {allowed}. {examples}. "
                    f"Correct the rows, or map units and codes in {self.source.label}. Nothing was written."
                )

    def _warn(self) -> None:
        """Rows that the published check rules find worth a look."""
        rules = yaml.safe_load(Path(__file__).with_name("validators.yaml").read_text(encoding="utf-8"))["validators"]
        self.connection.execute(
            'CREATE TABLE warnings ("table" VARCHAR, household_id VARCHAR, month DATE, rule VARCHAR)'
        )
        views = {"records": "sorted_records"}
        if "spells" in self.report.tables:
            views["spells"] = self._spells_in_context()
        for rule in rules:
            if rule["over"] in views:
                month = "month" if rule["over"] == "records" else "CAST(date_trunc('month', identified_on) AS DATE)"
                self.connection.execute(
                    f"INSERT INTO warnings SELECT '{rule['over']}', household_id, {month}, '{rule['name']}' "
                    f"FROM {views[rule['over']]} WHERE {rule['sql']}"
                )
        if any(f.name == "county_id" for f in self.fields["records"]):
            self.connection.execute("""
                INSERT INTO warnings SELECT 'households', household_id, NULL, 'more_than_one_county'
                FROM sorted_records GROUP BY household_id HAVING count(DISTINCT county_id) > 1""")
        counts = self.connection.execute("SELECT rule, count(*) FROM warnings GROUP BY rule ORDER BY rule").fetchall()
        self.report.warnings = dict(counts)

    def _spells_in_context(self) -> str:
        names = self.contract.tables["records"].columns
        entered = ", ".join(f"entry.{name} AS in_{name}" for name in names)
        left = ", ".join(f"departure.{name} AS out_{name}" for name in names)
        measures = "NULL"
        by_exit = "NULL"
        if "assistance" in self.report.tables:
            count = "(SELECT count(*) FROM sorted_assistance a WHERE a.household_id = s.household_id AND a.offered_on {})"
            measures = count.format("<= s.identified_on + INTERVAL 1 MONTH AND coalesce(a.ended_on, s.identified_on) "
                                    ">= s.identified_on")
            by_exit = count.format("<= s.eliminated_on AND coalesce(a.ended_on, s.identified_on) >= s.identified_on")
        self.connection.execute(f"""
            CREATE TABLE latest AS SELECT * FROM sorted_records
            QUALIFY row_number() OVER (PARTITION BY household_id, month ORDER BY known_at DESC) = 1;
            CREATE TABLE spells_in_context AS
            SELECT s.*, {entered}, {left}, {measures} AS measures, {by_exit} AS measures_by_exit,
                (SELECT last_day(max(month)) FROM sorted_records) AS data_end
            FROM sorted_spells s
            ASOF LEFT JOIN latest entry ON s.household_id = entry.household_id AND s.identified_on >= entry.month
            ASOF LEFT JOIN latest departure
                ON s.household_id = departure.household_id AND s.eliminated_on >= departure.month""")
        return "spells_in_context"

    def _write(self, stage: Path) -> dict[str, Any]:
        columns: dict[str, list[str]] = {}
        copies: list[str] = []
        for name, table in self.contract.tables.items():
            if name not in self.report.tables:
                continue
            kept, holding = self._columns_to_keep(table)
            if holding:
                columns[name] = holding
                copies += self._copies(stage, table, kept)
            empty = [c for c in table.columns if c not in holding and not (name == "records" and c in _PLACE)]
            self.report.missing[name] = empty
        # One thread a file: the bytes of a Parquet file must not depend on how threads were scheduled.
        self.connection.execute("SET threads = 1")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda sql: self.connection.cursor().execute(sql), copies))
        self._copy_quarantine(stage)
        order = 'ORDER BY "table", household_id, month, rule'
        self.connection.execute(f"COPY (FROM warnings {order}) TO {_parquet(stage / 'warnings.parquet')}")
        first, last = self.connection.execute("SELECT min(month), max(month) FROM sorted_records").fetchone()
        return {
            "source": self.source.name,
            "source_sha256": self.source.sha256,
            "inputs": {label: sha256_of(path) for label, path in sorted(self.inputs.items())},
            "step_months": self.source.step_months,
            "reporting_lag_days": self.source.reporting_lag_days,
            "counties": self.counties,
            "first_month": month_text(month_number(first)),
            "last_month": month_text(month_number(last)),
            "has_revisions": self.has_revisions,
            "columns": columns,
            "extra_columns": {
                name: {
                    f.name: {"type": f.column.type, "en": f.column.en, "zh": f.column.zh}
                    for f in sorted(fields, key=lambda f: f.name)
                    if f.extra
                }
                for name, fields in self.fields.items()
                if any(f.extra for f in fields)
            },
            "counts": {name: asdict(report) for name, report in self.report.tables.items()},
            "warnings": self.report.warnings,
        }

    def _columns_to_keep(self, table: Table) -> tuple[list[str], list[str]]:
        """Columns to write: keys, and all that hold a value; and those that hold a value."""
        extras = sorted(f.name for f in self.fields.get(table.name, []) if f.extra)
        about = [c for c in table.columns if not (table.name == "records" and c in _PLACE)]
        names = [*about, *extras]
        counts = ", ".join(f"count({identifier(name)})" for name in names)
        filled = self.connection.execute(f"SELECT {counts} FROM sorted_{table.name}").fetchone()
        holding = [name for name, count in zip(names, filled, strict=True) if count]
        return [name for name in names if name in holding or name in table.key], holding

    def _sort(self, table: Table) -> None:
        """The table `sorted_<name>`: rows by county in a fixed order, whatever that of the input."""
        self.connection.execute(
            f"CREATE TABLE sorted_{table.name} AS FROM final_{table.name} ORDER BY __county, {_order(table)}"
        )

    def _copies(self, stage: Path, table: Table, kept: list[str]) -> list[str]:
        """COPY statements, one a county."""
        name = table.name
        counties = self.connection.execute(f"SELECT DISTINCT __county FROM sorted_{name} ORDER BY 1").fetchall()
        (stage / "tables" / name).mkdir(parents=True)
        select = ", ".join(identifier(c) for c in kept)
        return [
            f"COPY (SELECT {select} FROM sorted_{name} WHERE __county = {literal(county)} ORDER BY {_order(table)}) "
            f"TO {_parquet(stage / table_file(name, county))}"
            for (county,) in counties
        ]

    def _copy_quarantine(self, stage: Path) -> None:
        """Refused rows with their reasons and the raw values that the source maps, and no others."""
        parts = ["SELECT NULL::VARCHAR, NULL::VARCHAR, NULL::BIGINT, NULL::VARCHAR, NULL::VARCHAR[], NULL::VARCHAR LIMIT 0"]
        for name, raw in self.raw.items():
            reads = sorted({read for f in self.fields[name] for read in f.reads})
            values = ", ".join(f"{literal(read)}, CAST({identifier(read)} AS VARCHAR)" for read in reads)
            parts.append(f"""
                SELECT '{name}', {FILE}, {ROW}, household_id, reasons, raw FROM refused_{name}
                LEFT JOIN (SELECT {FILE}, {ROW}, CAST(json_object({values}) AS VARCHAR) AS raw FROM {raw.view}
                    SEMI JOIN refused_{name} USING ({FILE}, {ROW})) USING ({FILE}, {ROW})""")
        selects = " UNION ALL ".join(f"(FROM ({part}) AS part(\"table\", file, row, household_id, reasons, raw))" for part in parts)
        self.connection.execute(
            f'COPY (FROM ({selects}) ORDER BY "table", file, row) TO {_parquet(stage / "quarantine.parquet")}'
        )

    def _number(self, sql: str) -> int:
        return self.connection.execute(sql).fetchone()[0]

    def _files(self, name: str) -> str:
        return self._labels(self.raw[name], name)

    def _labels(self, raw: Raw, name: str) -> str:
        return ", ".join(raw.labels[:3]) or f"DataFrame {name}"


_PLACE = ("county_id", "township_id", "village_id")


def _order(table: Table) -> str:
    """Household (or whatever comes first in the key), date, day of knowing, then what else tells rows apart."""
    known = ["known_at"] if "known_at" in table.columns else []
    return ", ".join(dict.fromkeys([table.key[0], *filter(None, [table.dated_by]), *known, *table.key]))


def _parquet(path: Path) -> str:
    return f"{literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
