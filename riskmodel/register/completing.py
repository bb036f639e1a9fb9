"""What the files leave open: a row for every household, the county of every row, welfare and the line."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import duckdb

from riskmodel.engine import literal
from riskmodel.errors import ContractError
from riskmodel.register.checks import BY_LAG, SQL_TYPES
from riskmodel.register.contract import COSTS, INCOME, Table, load_contract
from riskmodel.register.reading import FILE, ROW, identifier
from riskmodel.register.source import Field
from riskmodel.register.store import table_file

ONLY_COUNTY = "all"
_TOLD_WITH = {"village_id": ("county_id",), "township_id": ("county_id", "village_id")}
"""What a household's village and township are told with in its records: where that is another one now, it has moved."""
_LONGEST_FILE_NAME = 200
_OF_HOUSEHOLD = "LEFT JOIN county_of_household h USING (household_id)"
_OF_VILLAGE = "LEFT JOIN county_of_village v USING (village_id)"


def complete_households(
    connection: duckdb.DuckDBPyConnection, from_records: Collection[str], own_extras: Sequence[str] | None
) -> list[str]:
    """Make `all_households`: a row for each household, as its own file says, else as its records say.

    A township that the records tell goes with the village and county that they tell with it, a village with the county: of
    who has moved since they say nothing. Where a household's township is blank and its village stands in one township of the
    county alone, it is that one.

    Parameters
    ----------
    connection
        Holds `accepted_records` and, where there is a file of households, `accepted_households`.
    from_records
        Household columns that the records fill; the latest known value counts.
    own_extras
        Extra columns of the file of households; None without such a file.

    Returns
    -------
    list of str
        The counties, sorted. `county_of_household` and `county_of_village` are made too, and `told_households`: the same
        rows before townships were filled in.
    """
    beside = {name: [of for of in told_with if {name, of} <= set(from_records)] for name, told_with in _TOLD_WITH.items()}

    def told(name: str) -> list[str]:
        """What the household's own file says, and what its records do."""
        from_record = f"said.{name}"
        if others := beside.get(name):
            now = {"county_id": "said.county_id"}
            if "village_id" in others:
                now["village_id"] = f"coalesce({', '.join(told('village_id'))})"
            moved = " OR ".join(f"said.__{of}_of_{name} <> {now[of]}" for of in others)
            from_record = f"CASE WHEN {moved} THEN NULL ELSE {from_record} END"
        return [f"own.{name}"] * (own_extras is not None) + [from_record] * (name in from_records)

    origin = "said" if own_extras is None else "accepted_households AS own FULL JOIN said USING (household_id)"
    epoch = "DATE '1900-01-01'"
    latest = f"datediff('day', {epoch}, month) * 100000 + datediff('day', {epoch}, known_at)"
    said = "".join(
        f", arg_max({name}, {latest}) FILTER (WHERE {name} IS NOT NULL) AS {name}" for name in sorted(from_records)
    )
    said += "".join(
        f", arg_max_null({of}, {latest}) FILTER (WHERE {name} IS NOT NULL) AS __{of}_of_{name}"
        for name, others in beside.items()
        for of in others
    )
    parts = []
    for name, column in load_contract().tables["households"].columns.items():
        if name != "household_id":
            nothing = literal(ONLY_COUNTY) if name == "county_id" else f"NULL::{SQL_TYPES[column.type]}"
            parts.append(f"coalesce({', '.join([*told(name), nothing])}) AS {name}")
    parts += [f"own.{identifier(name)}" for name in own_extras or ()]
    connection.execute(f"""
        CREATE TABLE said AS SELECT household_id{said} FROM accepted_records GROUP BY household_id;
        CREATE TABLE told_households AS SELECT household_id, {", ".join(parts)} FROM {origin};
        CREATE TABLE all_households AS
        WITH lies_in AS (
            SELECT county_id, village_id, min(township_id) AS __township FROM told_households WHERE village_id IS NOT NULL
            GROUP BY ALL HAVING count(DISTINCT township_id) = 1)
        SELECT t.* REPLACE (coalesce(township_id, __township) AS township_id)
        FROM told_households t LEFT JOIN lies_in USING (county_id, village_id);
        CREATE TABLE county_of_household AS SELECT household_id, county_id AS county FROM all_households;
        CREATE TABLE county_of_village AS
        SELECT village_id, arg_max(county_id, n ORDER BY county_id) AS county FROM (
            SELECT village_id, county_id, count(*) AS n FROM all_households
            WHERE village_id IS NOT NULL GROUP BY ALL)
        GROUP BY village_id""")
    found = connection.execute("SELECT DISTINCT county FROM county_of_household").fetchall()
    counties = sorted(county for (county,) in found)
    if any(len(table_file("", county)) > _LONGEST_FILE_NAME for county in counties):
        raise ContractError("county_id: the name of a county is too long for a file name. Use a code.")
    return counties


def place(connection: duckdb.DuckDBPyConnection, table: Table, counties: Sequence[str], linked: bool) -> None:
    """Make `final_<name>` with `__county`; rows of an unknown household or village join `refused_<name>`.

    Records become `placed_records`, for `add_welfare_and_line` to finish. `linked` says that there are
    household_projects, through which a project without a village finds its county.
    """
    name = table.name
    if name == "households":
        connection.execute("CREATE VIEW final_households AS SELECT *, county_id AS __county FROM all_households")
        return
    only = literal(counties[0]) if len(counties) == 1 else "NULL"
    reason = "'unknown_household:household_id'"
    match name:
        case "lines":
            county, joins = literal(ONLY_COUNTY), ""
        case "villages":
            county, joins, reason = f"coalesce(v.county, {only})", _OF_VILLAGE, "'unknown_village:village_id'"
        case "projects":
            links = (
                "SELECT project_id, min(__county) AS county FROM final_household_projects GROUP BY project_id"
                if linked
                else "SELECT NULL::VARCHAR AS project_id, NULL::VARCHAR AS county"
            )
            county, reason = f"coalesce(v.county, p.county, {only})", "'unknown_village:village_id'"
            joins = f"{_OF_VILLAGE} LEFT JOIN ({links}) p USING (project_id)"
        case "events":
            county = "CASE WHEN household_id IS NULL THEN v.county ELSE h.county END"
            joins = f"{_OF_HOUSEHOLD} {_OF_VILLAGE}"
            reason = f"CASE WHEN household_id IS NULL THEN 'unknown_village:village_id' ELSE {reason} END"
        case _:
            county, joins = "h.county", _OF_HOUSEHOLD
    placed = f"SELECT t.*, {county} AS __county FROM accepted_{name} t {joins}"
    view = "placed_records" if name == "records" else f"final_{name}"
    household = "household_id" if "household_id" in table.columns else "NULL"
    connection.execute(f"""
        CREATE VIEW {view} AS FROM ({placed}) WHERE __county IS NOT NULL;
        INSERT INTO refused_{name}
        SELECT {FILE}, {ROW}, {household}, [{reason}] FROM ({placed}) WHERE __county IS NULL""")


def tell_when_known(connection: duckdb.DuckDBPyConnection, table: Table, lag_days: int) -> None:
    """In `sorted_<name>`, tell later facts in further versions of their row, each known the lag after its day.

    This is of rows whose own day of knowing is that of the lag (`BY_LAG`): the office that writes down an offer so many days
    later writes down its answer and its end as late. A later fact without a day stays with its row. Where the same was told
    otherwise in between, by a row that says when it was known, that row stands.
    """
    if not table.later_facts:
        return
    facts = [
        f"CASE WHEN {day} + {lag_days} > __told THEN NULL ELSE {identifier(column)} END AS {identifier(column)}"
        for column, day in table.later_facts.items()
    ]
    days = ", ".join(f"greatest({day} + {lag_days}, known_at)" for day in dict.fromkeys(table.later_facts.values()))
    key, order = ", ".join(table.key), ", ".join(["__county", *table.order])
    connection.execute(f"""
        CREATE OR REPLACE TABLE sorted_{table.name} AS
        WITH rows AS (
            SELECT *, lead(known_at) OVER (PARTITION BY {key} ORDER BY known_at) AS __next FROM sorted_{table.name}),
        versions AS (
            SELECT *, unnest(list_distinct(CASE WHEN {BY_LAG} THEN [known_at, {days}] ELSE [known_at] END)) AS __told
            FROM rows),
        told AS (
            SELECT * REPLACE (__told AS known_at, {", ".join(facts)}) FROM versions
            WHERE {BY_LAG} AND (__told = known_at OR __next IS NULL OR __told < __next)
            UNION ALL FROM versions WHERE NOT {BY_LAG})
        SELECT * EXCLUDE (__next, __told) FROM told ORDER BY {order}""")


def add_welfare_and_line(
    connection: duckdb.DuckDBPyConnection, fields: Sequence[Field], step_months: int, with_lines: bool
) -> list[str]:
    """Make `final_records`: `welfare` from its parts where not mapped, `line` from `lines` where null.

    Welfare is the monitoring reference per person, (net income + claims - compliant out-of-pocket) / members;
    a part that is null counts as 0 beside another part of income, and all null is null. The line in force on
    the last day of the period counts, that of the county before that of all, the later before the earlier.

    Returns
    -------
    list of str
        The mapped parts that welfare was made of, none where it is mapped itself. Claims are not among them: many books
        write only those that were paid.

    Raises
    ------
    ValueError
        If neither welfare nor its parts are mapped.
    """
    mapped = {f.name for f in fields}
    parts = [name for name in INCOME if name in mapped]
    changes, join, amount = [], "", ""
    if "welfare" not in mapped:
        if not parts or "hh_size" not in mapped:
            raise ValueError("no welfare")
        total = " + ".join(f"coalesce({name}, 0)" for name in (*INCOME, "claims"))
        spent = " - ".join(f"coalesce({name}, 0)" for name in COSTS)
        some = f"coalesce({', '.join(parts)}) IS NOT NULL"
        changes.append(f"CASE WHEN {some} THEN ({total} - {spent}) / hh_size END AS welfare")
    if with_lines:
        period_end = f"last_day(month + INTERVAL {step_months - 1} MONTH)"
        rank = "(area <> '*')::INTEGER * 1000000 + datediff('day', DATE '1900-01-01', valid_from)"
        connection.execute(f"""
            CREATE TABLE line_in_force AS
            SELECT __county, month, arg_max(amount, {rank}) AS __amount
            FROM (SELECT DISTINCT __county, month FROM placed_records)
            JOIN (SELECT area, valid_from, valid_to, amount FROM final_lines) ON area IN (__county, '*')
                AND valid_from <= {period_end} AND coalesce(valid_to, DATE '9999-12-31') >= {period_end}
            GROUP BY ALL""")
        join, amount = "LEFT JOIN line_in_force USING (__county, month)", "EXCLUDE (__amount)"
        changes.append("coalesce(line, __amount) AS line")
    replaced = f"REPLACE ({', '.join(changes)})" if changes else ""
    connection.execute(f"CREATE VIEW final_records AS SELECT * {amount} {replaced} FROM placed_records {join}")
    return [] if "welfare" in mapped else [name for name in (*INCOME, *COSTS) if name in mapped]
