"""The contract as SQL: reading a raw value as its type, and the reasons for which a row is refused.

A reason is written `rule:column`. The rules:

=====================  =========================================================================
missing                a required value is not there
not_a_number           a number or count cannot be read, or is infinite
not_whole              a count with a fraction
not_a_date             no date (or month), one before 1900, or a month such as 2023.1: a spreadsheet makes it of 2023.10
not_a_boolean          neither yes nor no
spreadsheet_error      a cell holds an error, such as #N/A or #DIV/0!, also as text in a CSV file
unknown_category       not among the contract's values, their Chinese names or the source's codes
too_long               a code or id of more than 64 characters: free text is not kept
below_minimum          less than the contract's lower bound, or less than any figure of a household
above_maximum          more than the contract's upper bound, or more than any figure of a household
in_the_future          after the day on which the row was known, or after the data end
more_than_<column>     a part that exceeds its whole
before_<column>        an end before its beginning
between_periods        a month in which no period begins: the periods are those of most rows
conflicting_duplicate  the same key, known on the same day, with different values
unknown_household      the household has no record
unknown_village        no household lives in the village
=====================  =========================================================================

and the names under `rules` in `contract.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from riskmodel.engine import literal
from riskmodel.register.contract import Column, Table
from riskmodel.register.reading import FILE, MOST_EXACT, ROW, Raw, identifier
from riskmodel.register.source import Field, code_text, columns_read

LONGEST_TEXT = 64
BY_LAG = "__by_lag"
"""Of rows that carry later facts: whether the source does not say on which day they were known, so that the lag does."""
_LARGEST_INTEGER = 2_000_000_000
_LARGEST_NUMBER = 1e100  # whatever a sum or a ratio makes of it is still a number
_ROUNDING = 0.01
SQL_TYPES = {
    "text": "VARCHAR", "category": "VARCHAR", "date": "DATE", "month": "DATE", "number": "DOUBLE",
    "integer": "INTEGER", "boolean": "BOOLEAN",
}  # fmt: skip
IN_WORDS = {
    "missing": "the value is missing",
    "not_a_number": "not a number",
    "not_whole": "not a whole number",
    "not_a_date": "not a date",
    "not_a_boolean": "neither yes nor no",
    "spreadsheet_error": "an error of the spreadsheet, such as #N/A, in place of a value",
    "unknown_category": "a category that the contract does not know",
    "too_long": f"more than {LONGEST_TEXT} characters",
    "below_minimum": "below the smallest allowed value",
    "above_maximum": "above the largest allowed value",
    "in_the_future": "a date in the future",
    "between_periods": "a month between two periods",
    "conflicting_duplicate": "the same key again with different values",
    "unknown_household": "a household without any record",
    "unknown_village": "a village in which no household lives",
}

_BLANK = "('', 'null', 'na', 'n/a', 'nan', 'none', '-', '--', '—', '/', '\\n')"
_SPACES = "\t\r\n\u00a0\ufeff"
_TRUE = "('true', 't', 'yes', 'y', '1', '是', '有', '已', '对', '√')"
_FALSE = "('false', 'f', 'no', 'n', '0', '否', '无', '未', '没有', '错', '×')"
_WIDTH = "'０１２３４５６７８９．－，／：', '0123456789.-,/:'"
_POINT, _COMMA = "[.]", ","
# Excel, WPS and LibreOffice, whose Chinese version translates them: 22 characters at most, but for the #### of a column that
# is too narrow for its day.
_BEGINS_AN_ERROR = ", ".join(str(ord(letter)) for letter in "#＃Ee错")
_ERROR = r"[#＃](N/A|NV|[^#＃\s]+[!?！？]|[#＃]+)|(ERR|错误)[:：][0-9]{3}"
_COMPACT_DAY = r"'^([0-9]{4})([0-9]{2})([0-9]{2})$', '\1-\2-\3'"
_DAY = r"'^([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?$', '\1-\2-\3'"
_MONTH = r"'^([0-9]{4})(?:[-/年]([0-9]{1,2})月?|[.]([0-9]{2}|[2-9])|([0-9]{2}))$', '\1-\2\3\4-01'"
_QUARTER = "[0-9]{4}(?:-?[Qq]|年第?)([1-4一二三四])(?:季度?)?"

# A quarter or a year that is named as such, in a register of quarters or of years.
_WHOLE_PERIODS = {
    3: "quarter_month({x})",
    12: "CASE WHEN regexp_full_match({x}, '[0-9]{{4}}年?') THEN try_cast(left({x}, 4) || '-01-01' AS DATE) END",
}


def reading_numbers(decimal: str) -> str:
    """The macro that reads a table's numbers: a point or a comma is the decimal mark, the other stands between thousands.

    Parameters
    ----------
    decimal
        `point` or `comma`.
    """
    mark, thousands = (_COMMA, _POINT) if decimal == "comma" else (_POINT, _COMMA)
    number = f"[+-]?([0-9]+|[0-9]{{1,3}}({thousands}[0-9]{{3}})+)({mark}[0-9]*)?([eE][+-]?[0-9]+)?|[+-]?{mark}[0-9]+"
    digits = "replace(replace(x, '.', ''), ',', '.')" if decimal == "comma" else "replace(x, ',', '')"
    return f"""
        CREATE OR REPLACE MACRO plain_number(x) AS CASE WHEN x IS NULL THEN NULL WHEN regexp_full_match(x, '{number}')
        THEN coalesce(try_cast({digits} AS DOUBLE), 'nan'::DOUBLE) ELSE 'nan'::DOUBLE END"""


# `number`, `yes` and `as_date` may be used in a source's expressions. What `number` cannot read becomes NaN,
# which goes through any arithmetic and is refused at its end, where NULL would pass for unknown.
MACROS = f"""{reading_numbers("point")};
CREATE MACRO trimmed(x) AS trim(CAST(x AS VARCHAR), ' 　{_SPACES}');
CREATE MACRO plain(x) AS CASE WHEN lower(x) IN {_BLANK} THEN NULL ELSE translate(x, {_WIDTH}) END;
CREATE MACRO is_error(x) AS CASE WHEN unicode(x) IN ({_BEGINS_AN_ERROR}) AND (length(x) <= 22 OR x[2] IN ('#', '＃'))
    THEN regexp_full_match(upper(translate(x, '／', '/')), '{_ERROR}') ELSE false END;
CREATE MACRO plain_yes(x) AS CASE WHEN lower(x) IN {_TRUE} THEN true WHEN lower(x) IN {_FALSE} THEN false END;
CREATE MACRO without_time(x) AS regexp_replace(x, '[ T][0-9]{{1,2}}:.*$', '');
CREATE MACRO iso_day(x) AS CASE WHEN regexp_full_match(x, '[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}')
    THEN try_cast(x AS DATE) END;
CREATE MACRO plain_date(x) AS
    iso_day(regexp_replace(regexp_replace(without_time(x), {_COMPACT_DAY}), {_DAY}));
CREATE MACRO plain_month(x) AS coalesce(plain_date(x), iso_day(regexp_replace(without_time(x), {_MONTH})));
CREATE MACRO quarter_of(x) AS translate(regexp_extract(x, '{_QUARTER}', 1), '一二三四', '1234')::INTEGER;
CREATE MACRO quarter_month(x) AS CASE WHEN regexp_full_match(x, '{_QUARTER}')
    THEN iso_day(concat(left(x, 4), '-', 3 * quarter_of(x) - 2, '-01')) END;
CREATE MACRO number(x) AS plain_number(plain(trimmed(x)));
CREATE MACRO yes(x) AS plain_yes(plain(trimmed(x)));
CREATE MACRO as_date(x) AS plain_date(plain(trimmed(x)));
"""


def first_doubtful(view: str, column: str, file: str, separator: str) -> str:
    """SQL of the first row of a file in which a number's comma or point may be either mark; none where there is no doubt.

    Parameters
    ----------
    view, column, file
        Raw rows, a column that numbers are read from, and the label of the file.
    separator
        What stands between its fields: a semicolon or a tab.
    """
    values = f"(SELECT {ROW}, plain(trimmed({identifier(column)})) AS x FROM {view} WHERE {FILE} = {literal(file)})"
    comma = r"[+-]?[0-9.]*,[0-9]+" if separator == ";" else r"[+-]?[0-9.]*(,[0-9]{1,2}|,[0-9]{4,}|[.][0-9]{3},[0-9]+)"
    with_comma = f"SELECT min({ROW}) AS row FROM {values} WHERE regexp_full_match(x, '{comma}')"
    if separator == ";":
        of_three = "regexp_full_match(x, '[+-]?[1-9][0-9]{0,2}[.][0-9]{3}')"
        all_alike = f"HAVING count(*) = count(*) FILTER ({of_three})"
        with_comma += f" UNION ALL SELECT min({ROW}) FROM {values} WHERE contains(x, '.') {all_alike}"
    return f"SELECT min(row) AS row FROM ({with_comma}) HAVING min(row) IS NOT NULL"


def kind_of(duckdb_type: str) -> str:
    """integer, float, boolean, temporal or text.

    >>> kind_of("TIMESTAMP WITH TIME ZONE"), kind_of("DECIMAL(18,3)"), kind_of("UTINYINT"), kind_of("VARCHAR")
    ('temporal', 'float', 'integer', 'text')
    """
    if duckdb_type.startswith(("DATE", "TIMESTAMP")):
        return "temporal"
    if duckdb_type == "BOOLEAN":
        return "boolean"
    if duckdb_type.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
        return "float"
    return "integer" if duckdb_type.endswith("INT") or duckdb_type == "INTEGER" else "text"


def texts_of(raw: Raw) -> frozenset[str]:
    """Columns of text, in small letters: they can hold the error of a spreadsheet as such."""
    return frozenset(name.casefold() for name, kind in raw.columns.items() if kind_of(kind) == "text")


def in_words(reason: str) -> str:
    """What a reason says, without its column.

    >>> in_words("more_than_hh_size:n_able")
    'more than hh_size'
    """
    rule = reason.split(":")[0]
    return IN_WORDS.get(rule, rule.replace("_", " ", 2) if rule.startswith("more_than_") else rule.replace("_", " "))


@dataclass(frozen=True)
class Compiler:
    """SQL that reads one table.

    Parameters
    ----------
    table
        The contract's table.
    fields
        What the source maps; fields of `households` are read and checked along with a record.
    kinds
        For each field, the kind of its raw value: integer, float, boolean, temporal or text.
    typed
        Whether the file has types (Parquet, DataFrame) or is all text.
    texts
        The raw columns that are text, and can hold the error of a spreadsheet as such.
    step_months, lag_days
        For the day on which a row was known, where the source does not say it.
    date_format
        `auto`, or a strptime format.
    data_until
        Last day on which anything can have happened.
    named_by_last
        Whether a month in a file is the last of its period; a register names a period by its first.
    """

    table: Table
    fields: Sequence[Field]
    kinds: Mapping[str, str]
    typed: bool
    texts: frozenset[str]
    step_months: int
    lag_days: int
    date_format: str
    data_until: date
    named_by_last: bool = False

    def select(self, view: str, where: str | None) -> str:
        """SELECT of each row as `__file, __row, <column> ..., __reasons`, with `BY_LAG` where rows carry later facts.

        All columns of the table are there, NULL where nothing is mapped; a good row has no reasons. Whether `where` holds
        is not known of a row with an error in a column that it reads: such a row is refused.
        """
        mapped = {f.name for f in self.fields}
        absent = [c for c in self.table.columns.values() if c.name not in mapped]
        raw = ", ".join(f"{self._raw(f)} AS {_g(f.name)}" for f in self.fields)
        in_filter = {name: self._error_in([name]) for name in self._texts_in(where)}
        errors = {_e(f.name): self._error_in(self._texts_in(f.sql)) for f in self.fields if f.sql}
        errors |= {_in_filter(name): found for name, found in in_filter.items()}
        raw += "".join(f", {found} AS {name}" for name, found in errors.items())
        kept = f"WHERE {' OR '.join([f'({where})', *in_filter.values()])}" if where else ""
        texts = [f for f in self.fields if not self._native(f)]
        # One layer a step, so that no step is computed again for each place that uses its result.
        trimmed = _replace(f"trimmed({_g(f.name)}) AS {_g(f.name)}" for f in texts)
        given = _replace(f"{self._given(f)} AS {_g(f.name)}" for f in texts)
        values = [f"{self._value(f)} AS {identifier(f.name)}" for f in self.fields]
        values += [f"is_error({_g(f.name)}) AS {_e(f.name)}" for f in texts if not f.sql]
        values += [f"NULL::{SQL_TYPES[c.type]} AS {identifier(c.name)}" for c in absent]
        known = _replace([f"{self._known_at()} AS known_at"] * ("known_at" in self.table.columns))
        known += f", known_at IS NULL AS {BY_LAG}" if self.table.later_facts else ""
        reasons = [*self._reasons(), *((f"spreadsheet_error:{name}", _in_filter(name)) for name in in_filter)]
        held = [identifier(f"reason {number}") for number in range(len(reasons))]
        judged = ", ".join(f"{condition} AS {name}" for name, (_, condition) in zip(held, reasons, strict=True))
        cases = [f"CASE WHEN {name} THEN {literal(rule)} END" for name, (rule, _) in zip(held, reasons, strict=True)]
        used = [*(_g(f.name) for f in self.fields), *errors, *(_e(f.name) for f in texts if not f.sql), *held]
        return f"""
            WITH raw AS (SELECT {FILE}, {ROW}, {raw} FROM {view} {kept}),
            trimmed AS (SELECT * {trimmed} FROM raw),
            given AS (SELECT * {given} FROM trimmed),
            valued AS (SELECT *, {", ".join(values)} FROM given),
            dated AS (SELECT * {known} FROM valued),
            judged AS (SELECT *, {judged} FROM dated)
            SELECT * EXCLUDE ({", ".join(used)}),
                CASE WHEN {" OR ".join(held)} THEN list_filter([{", ".join(cases)}], lambda reason: reason IS NOT NULL)
                ELSE []::VARCHAR[] END AS __reasons
            FROM judged"""

    def _texts_in(self, sql: str | None) -> list[str]:
        """Columns of text that an expression reads; none where it speaks of errors (`'#N/A'`) and sees to them itself."""
        return [] if sql is None or "#" in sql else [name for name in columns_read(sql) if name.casefold() in self.texts]

    def _error_in(self, columns: Iterable[str]) -> str:
        """Whether one of some raw columns of text holds the error of a spreadsheet."""
        return " OR ".join(["false", *(f"coalesce(is_error(trimmed({identifier(name)})), false)" for name in columns)])

    def _native(self, field: Field) -> bool:
        """Whether the raw value already has a type from which the contract's follows without reading text."""
        if field.codes:
            return False
        match field.column.type, self.kinds[field.name]:
            case ("number" | "integer" | "boolean", "integer" | "float") | ("boolean", "boolean"):
                return True
            case "date" | "month", "temporal":
                return True
        return False

    def _raw(self, field: Field) -> str:
        """The raw value in its own type, or as text."""
        value, kind = expression(field), self.kinds[field.name]
        if not self._native(field):
            return as_text(value, kind)
        if kind == "temporal":
            return f"CAST({value} AS DATE)"
        if kind == "boolean":
            return value
        # In a typed file NaN means unknown; in a text file it is what number() made of an unreadable value.
        number = f"CAST({value} AS DOUBLE)"
        return f"CASE WHEN NOT isnan({number}) THEN {number} END" if self.typed else number

    def _given(self, field: Field) -> str:
        """A trimmed text with blanks as NULL and codes replaced."""
        g = _g(field.name)
        if field.column.type == "text":
            return f"nullif({g}, '')"
        if not field.codes:
            return f"plain({g})"
        cases = " ".join(
            f"WHEN {literal(code)} THEN {'NULL' if to is None else literal(code_text(to))}"
            for code, to in field.codes.items()
        )
        return f"CASE {g} {cases} ELSE plain({g}) END"

    def _value(self, field: Field) -> str:
        """The value in the contract's type; NULL where it cannot be read."""
        g, column, native = _g(field.name), field.column, self._native(field)
        match column.type:
            case "text":
                return g
            case "category":
                return _category(g, column)
            case "boolean" if native and self.kinds[field.name] == "boolean":
                return g
            case "boolean":
                return f"CASE {g} WHEN 1 THEN true WHEN 0 THEN false END" if native else f"plain_yes({g})"
            case "date" | "month":
                return self._day(g, column, native)
        number = g if native else f"plain_number({g})"
        return f"CASE WHEN isfinite({number}) THEN ({number}) {_scale(field.factor)} END"

    def _day(self, g: str, column: Column, native: bool) -> str:
        if native:
            day = g
        elif self.date_format != "auto":
            day = f"CAST(try_strptime({g}, {literal(self.date_format)}) AS DATE)"
        else:
            day = f"plain_month({g})" if column.type == "month" else f"plain_date({g})"
        day = f"CASE WHEN {day} >= DATE '1900-01-01' THEN {day} END"
        if column.type != "month":
            return day
        before = f" - INTERVAL {self.step_months - 1} MONTH" if self.named_by_last else ""
        month = f"CAST(date_trunc('month', {day}){before} AS DATE)"
        if native or self.date_format != "auto" or self.step_months not in _WHOLE_PERIODS:
            return month
        return f"coalesce({_WHOLE_PERIODS[self.step_months].format(x=g)}, {month})"

    def _known_at(self) -> str:
        about = self.table.dated_by
        if about is None:
            return "known_at"
        day = about
        if self.table.columns[about].type == "month":
            day = f"last_day({about} + INTERVAL {self.step_months - 1} MONTH)"
        return f"coalesce(known_at, CAST({day} + INTERVAL {self.lag_days} DAY AS DATE))"

    def _reasons(self) -> list[tuple[str, str]]:
        """Each reason with the condition under which a row has it."""
        mapped = {f.name for f in self.fields}
        found = [(f"missing:{name}", f"{_g(name)} IS NULL") for name in self.table.required]
        if self.table.one_of:
            found.append(
                (
                    f"missing:{'_or_'.join(self.table.one_of)}",
                    f"coalesce({', '.join(self.table.one_of)}) IS NULL",
                )
            )
        for field in self.fields:
            found += [(f"{rule}:{field.name}", condition) for rule, condition in self._of_field(field)]
        for rule in self.table.rules:
            if mapped & set(rule.columns):
                found.append((f"{rule.name}:{rule.columns[0]}", rule.sql))
        return found

    def _of_field(self, field: Field) -> list[tuple[str, str]]:
        column, value = field.column, identifier(field.name)
        read = f"({self._value(field)})" if field.name == "known_at" else value  # where it is null, a day was put in
        unreadable = f"{_g(field.name)} IS NOT NULL AND {read} IS NULL"
        if self._native(field) and not field.sql:  # no text, and so no error written as one
            return self._of_type(column, value, unreadable)
        error = _e(field.name)
        return [("spreadsheet_error", error), *self._of_type(column, value, f"{unreadable} AND NOT {error}")]

    def _of_type(self, column: Column, value: str, unreadable: str) -> list[tuple[str, str]]:
        match column.type:
            case "number" | "integer":
                return [("not_a_number", unreadable), *_of_number(column, value)]
            case "date" | "month":
                return [("not_a_date", unreadable), *self._of_day(column, value)]
            case "boolean":
                return [("not_a_boolean", unreadable)]
            case "category" if column.values:
                return [("unknown_category", unreadable)]
        return [("too_long", f"length({value}) > {LONGEST_TEXT}")]

    def _of_day(self, column: Column, value: str) -> list[tuple[str, str]]:
        found = []
        if not column.ahead:
            late = f"{value} > DATE '{self.data_until}'"
            has_known_at = "known_at" in self.table.columns and column.name != "known_at"
            if has_known_at and not column.revealed_by:
                late += f" OR {value} > known_at"
            found.append(("in_the_future", late))
        if column.not_before:
            found.append((f"before_{column.not_before}", f"{value} < {column.not_before}"))
        return found


def _of_number(column: Column, value: str) -> list[tuple[str, str]]:
    whole = column.type == "integer"
    largest = _LARGEST_INTEGER if whole else _LARGEST_NUMBER
    found = [("not_whole", f"{value} <> round({value})")] if whole else []
    found.append(("below_minimum", f"{value} < {-largest if column.min is None else column.min}"))
    found.append(("above_maximum", f"{value} > {largest if column.max is None else column.max}"))
    if column.at_most:
        found.append((f"more_than_{column.at_most}", f"{value} > {column.at_most} + {0 if whole else _ROUNDING}"))
    return found


def _category(g: str, column: Column) -> str:
    if not column.values:
        return g
    names = " ".join(f"WHEN {literal(zh)} THEN {literal(en)}" for zh, en in column.zh_values.items())
    known = f"CASE WHEN lower({g}) IN ({', '.join(map(literal, column.values))}) THEN lower({g}) END"
    return f"CASE {g} {names} ELSE {known} END" if names else known


def expression(field: Field) -> str:
    """The raw value of a field, before anything is made of it; of a point in time, what the clock showed."""
    if field.clock is not None:
        return field.clock
    return identifier(field.raw) if field.raw is not None else f"({field.sql})"


def as_text(value: str, kind: str) -> str:
    """A raw value as the text that a person would have typed: `3`, not `3.0`."""
    if kind != "float":
        return f"CAST({value} AS VARCHAR)"
    number = f"CAST({value} AS DOUBLE)"
    return (
        f"CASE WHEN isnan({number}) THEN NULL "
        f"WHEN {number} = trunc({number}) AND abs({number}) < {MOST_EXACT} "
        f"THEN CAST(CAST({number} AS BIGINT) AS VARCHAR) ELSE CAST({number} AS VARCHAR) END"
    )


def _scale(factor: float) -> str:
    """Division where the unit is a fraction, so that 12345 fen are 123.45 yuan to the last bit."""
    return f"* {factor}" if factor >= 1 else f"/ {round(1 / factor)}"


def _replace(items: Iterable[str]) -> str:
    listed = ", ".join(items)
    return f"REPLACE ({listed})" if listed else ""


def _g(name: str) -> str:
    return identifier(f"given {name}")


def _e(name: str) -> str:
    return identifier(f"error in {name}")


def _in_filter(column: str) -> str:
    return identifier(f"error in the filter's {column}")
