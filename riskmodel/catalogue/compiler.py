"""The catalogue compiled to one SQL query over one county's tables.

Shape of the query: for each table the rows known at each as-of month, with `age`; one GROUP BY household and as-of
month; then derived and context expressions in layers, each seeing the layers below it. Nothing can be read that was
known later: the filter stands in the first step, before any expression.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from riskmodel.catalogue.catalogue import AREAS, HOUSEHOLD_COLUMNS, SEASON_MONTH, Feature
from riskmodel.engine import known_last, rows_of
from riskmodel.places import WITHIN
from riskmodel.register.contract import Contract, Table

HISTORY_MONTHS = 60
"""Rows older than this count no more, but for those of `LASTING` tables: what they tell of may still go on."""
LASTING = ("spells", "assistance")


@dataclass(frozen=True)
class CountyFiles:
    """Parquet files of one county by table, the columns each holds, and the panel they come from.

    `revised` names the tables in which something is told more than once, known on different days.
    """

    files: Mapping[str, str]
    columns: Mapping[str, Sequence[str]]
    step_months: int = 1
    revised: Collection[str] = ()


def month_no(expression: str) -> str:
    """SQL for the number of a date's month, as in `riskmodel.months`."""
    return f"(year({expression}) * 12 + month({expression}) - 1)"


def of_a_day(table: Table) -> bool:
    """Whether the rows of a table are about a day; else they are about a month, or a period of several."""
    return table.dated_by is not None and table.columns[table.dated_by].type == "date"


def compile_features(features: Sequence[Feature], county: CountyFiles, as_of: Sequence[int], contract: Contract) -> str:
    """SQL that gives one row per household and as-of month, in that order, with every feature as FLOAT.

    Parameters
    ----------
    features
        Available features in order of computation (`Catalogue.available`).
    county
        The county's files.
    as_of
        As-of months as numbers, ascending.
    """
    aggregates: dict[str, list[Feature]] = {"records": []}
    for feature in features:
        if feature.kind == "aggregate":
            aggregates.setdefault(feature.table, []).append(feature)
    steps = [_households(county)]
    for table, rows in aggregates.items():
        if table in county.files:
            steps += _table_steps(table, rows, county, as_of, contract.tables[table])
    steps.append(_joined(aggregates, county))
    top = _layers(steps, [f for f in features if f.kind != "aggregate"], county.columns["households"])
    place = [c for c in (*AREAS, *HOUSEHOLD_COLUMNS) if c in county.columns["households"]]
    values = [f"CASE WHEN isfinite({_double(f.name)}) THEN CAST({f.name} AS FLOAT) END AS {f.name}" for f in features]
    columns = ",\n  ".join(["household_id", "as_of_no", *place, *values])
    before = ",\n".join(steps)
    return f"WITH {before}\nSELECT {columns}\nFROM {top}\nORDER BY household_id, as_of_no"


def _double(name: str) -> str:
    return f"CAST({name} AS DOUBLE)"


def _households(county: CountyFiles) -> str:
    kept = [c for c in (*AREAS, *HOUSEHOLD_COLUMNS) if c in county.columns["households"]]
    return f"households AS (SELECT {', '.join(['household_id', *kept])} FROM {rows_of(county.files['households'])})"


def _table_steps(
    table: str, rows: Sequence[Feature], county: CountyFiles, as_of: Sequence[int], definition: Table
) -> list[str]:
    """Two steps: the rows of a table known at each as-of month, and one line per household (or village) of them."""
    unit = "village_id" if table == "villages" else "household_id"
    held = set(county.columns[table])
    dated_by = definition.dated_by
    needed = sorted(set().union(*(f.needs for f in rows)) - {"age"}) if rows else []
    dates = {c.removesuffix("_age") for c in needed if c.endswith("_age") and c not in held}
    columns = [unit] + [_column(c, definition, county) for c in needed if c in held]
    columns += [
        f"CASE WHEN {_revealed(c, county) if _reveal(c, definition) else f'{c} IS NOT NULL'} "
        f"THEN greatest({_last_month(county)} - {month_no(c)}, 0) END AS {c}_age"
        for c in sorted(dates)
    ]
    ahead = county.step_months - 1
    known = f"greatest(month_no{f' - {ahead}' if of_a_day(definition) else ''}, known_no - {ahead})"
    source = _source(table, unit, county, dated_by)
    if len(as_of) == 1:
        opened = f"SELECT *, {as_of[0]} AS as_of_no FROM {source} WHERE {as_of[0]} >= {known}"
    else:
        months = f"[{', '.join(map(str, as_of))}]"
        opened = f"SELECT *, unnest(list_filter({months}, lambda m: m >= {known})) AS as_of_no FROM {source}"
    told = dict.fromkeys([unit, *(c for c in definition.key if c in held), *_shared(table, county), "as_of_no"])
    latest = f" {known_last(*told)}" if table in county.revised else ""
    age = f"{_last_month(county) if of_a_day(definition) else 'as_of_no'} - month_no"
    seen = f"SELECT {', '.join([*columns, 'as_of_no', f'greatest({age}, 0) AS age'])} FROM ({opened})"
    if table not in LASTING:
        seen += f" WHERE {age} < {HISTORY_MONTHS}"
    filed = [unit, "as_of_no", *_shared(table, county), *(c for c in definition.order if c in held or c == "known_at")]
    order = f" ORDER BY {', '.join(dict.fromkeys(filed))}" if latest else ""  # as in the file
    values = "".join(f",\n    {f.expression.text} AS {f.name}" for f in rows)
    return [
        f"{table}_known AS ({seen}{latest}{order})",
        f"{table}_features AS (\n  SELECT {unit}, as_of_no{values}\n  FROM {table}_known GROUP BY {unit}, as_of_no)",
    ]


def _source(table: str, unit: str, county: CountyFiles, dated_by: str) -> str:
    """Rows of a table with the numbers of the month they are about and of the month they were known in."""
    numbers = f"{month_no(dated_by)} AS month_no, {month_no('known_at')} AS known_no"
    file = rows_of(county.files[table])
    if _shared(table, county):
        others = ", ".join(f"e.{c}" for c in county.columns["events"] if c != "household_id")
        own = f"SELECT e.household_id, {others}, false AS of_village FROM {file} e WHERE e.household_id IS NOT NULL"
        shared = (
            f"SELECT h.household_id, {others}, true AS of_village FROM {file} e JOIN households h USING (village_id) "
            "WHERE e.household_id IS NULL"
        )
        return f"(SELECT *, {numbers} FROM ({own} UNION ALL {shared}))"
    return f"(SELECT *, {numbers} FROM {file} WHERE {unit} IS NOT NULL)"


def _shared(table: str, county: CountyFiles) -> list[str]:
    """The column that tells a village's event from a household's own, where there are such events."""
    both = table == "events" and all("village_id" in county.columns[t] for t in ("events", "households"))
    return ["of_village"] if both else []


def _last_month(county: CountyFiles) -> str:
    """SQL for the month that the as-of day lies in: the last of the as-of period."""
    return f"as_of_no + {county.step_months - 1}" if county.step_months > 1 else "as_of_no"


def _reveal(column: str, definition: Table) -> str | None:
    known = definition.columns.get(column)
    return known.revealed_by if known else None


def _revealed(by: str, county: CountyFiles) -> str:
    return f"{month_no(by)} <= {_last_month(county)}"


def _column(column: str, definition: Table, county: CountyFiles) -> str:
    """A column as expressions see it: whole and real numbers as DOUBLE, later facts as NULL until revealed."""
    known = definition.columns.get(column)
    value = f"CAST({column} AS DOUBLE)" if known is None or known.type in ("number", "integer") else column
    by = known.revealed_by if known else None
    return f"CASE WHEN {_revealed(by, county)} THEN {value} END AS {column}" if by else f"{value} AS {column}"


def _joined(aggregates: Mapping[str, Sequence[Feature]], county: CountyFiles) -> str:
    columns = ["h.*", "r.as_of_no", f"r.as_of_no % 12 + 1 AS {SEASON_MONTH}"]
    joins = ""
    for table, rows in aggregates.items():
        short = "r" if table == "records" else table
        for feature in rows:
            found = f"{short}.{feature.name}"
            without = str(feature.empty)
            if feature.empty is None:  # a number also where it is told as true or false
                found, without = f"CAST({found} AS DOUBLE)", "CAST(NULL AS DOUBLE)"
            value = f"CASE WHEN {short}.as_of_no IS NULL THEN {without} ELSE {found} END"
            columns.append(f"{value if table in county.files else without} AS {feature.name}")
        if table not in county.files:
            continue
        if table == "villages":
            joins += " LEFT JOIN villages_features villages ON villages.village_id = h.village_id"
            joins += " AND villages.as_of_no = r.as_of_no"
        elif table != "records":
            joins += f" LEFT JOIN {table}_features {table} USING (household_id, as_of_no)"
    listed = ",\n    ".join(columns)
    return (
        f"layer_0 AS (\n  SELECT {listed}\n  FROM records_features r JOIN households h USING (household_id){joins}\n"
        "  ORDER BY household_id, as_of_no)"
    )


def _layers(steps: list[str], rows: Sequence[Feature], standing: Collection[str]) -> str:
    """Add derived and context features, layer by layer; gives the name of the last layer."""
    number = 0
    waiting = list(rows)
    done: set[str] = set()
    pending = {f.name for f in waiting}
    while waiting:
        ready = [f for f in waiting if not f.needs & (pending - done)]
        contexts = [f for f in ready if f.kind == "context"]
        batch = contexts or ready
        below, number = f"layer_{number}", number + 1
        if contexts:
            over = sorted({f.over for f in contexts})
            joins = ""
            added = ""
            for area in over:
                mine = [f for f in contexts if f.over == area]
                values = ", ".join(f"{f.expression.text} AS {f.name}" for f in mine)
                told_by = [c for c in WITHIN[area] if c in standing]
                by = ", ".join([*told_by, "as_of_no"])
                joins += f" LEFT JOIN (SELECT {by}, {values} FROM {below} GROUP BY {by}) {area}_context"
                joins += f" ON {area}_context.{area} = b.{area} AND {area}_context.as_of_no = b.as_of_no"
                joins += "".join(f" AND {area}_context.{c} IS NOT DISTINCT FROM b.{c}" for c in told_by if c != area)
                added += "".join(f", {area}_context.{f.name}" for f in mine)
            steps.append(f"layer_{number} AS (SELECT b.*{added} FROM {below} b{joins} ORDER BY b.household_id, b.as_of_no)")
        else:
            values = "".join(f",\n    {f.expression.text} AS {f.name}" for f in batch)
            steps.append(f"layer_{number} AS (SELECT *{values} FROM {below})")
        done |= {f.name for f in batch}
        waiting = [f for f in waiting if f.name not in done]
    return f"layer_{number}"
