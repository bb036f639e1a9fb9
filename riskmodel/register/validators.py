"""The published check rules of `validators.yaml`: they warn, and refuse nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import duckdb
import yaml

from riskmodel.engine import known_last
from riskmodel.errors import UsageError
from riskmodel.register.completing import ONLY_COUNTY
from riskmodel.register.contract import SAFE_LOADER, load_contract, meant

_RECORD_MONTHS = 12
"""A record from further back says nothing of a spell's first or last day: its amounts cover no month of these twelve."""
_NAMING = {"villages": "true", "events": "household_id IS NULL", "projects": "true"}
"""Rows that name a village without its township: what they tell is told of all villages of that name."""
_MONTH = {"records": "month", "spells": "CAST(date_trunc('month', identified_on) AS DATE)"}


def warn(connection: duckdb.DuckDBPyConnection, tables: Collection[str], made_of: Sequence[str] = ()) -> dict[str, int]:
    """Fill the table `warnings` (table, household_id, village_id, month, rule) from the tables `sorted_<name>`.

    Parameters
    ----------
    connection
        Holds `sorted_records` and the other `tables` of the register, and `told_households` (`complete_households`).
    tables
        Names of the tables that the register has.
    made_of
        The parts that income was made of, none where the source gave it: where one is blank, it counted as nothing.

    Returns
    -------
    dict
        Number of rows by rule, rules without any left out.
    """
    rules = _rules()
    connection.execute(
        'CREATE TABLE warnings ("table" VARCHAR, household_id VARCHAR, village_id VARCHAR, month DATE, rule VARCHAR)'
    )
    views = {"records": "sorted_records"}
    if "spells" in tables:
        _spells_in_context(connection, rules, "assistance" in tables)
        views["spells"] = "spells_in_context"
    for rule in rules:
        over = rule["over"]
        if over in views:
            connection.execute(
                f"INSERT INTO warnings SELECT '{over}', household_id, NULL, {_MONTH[over]}, '{rule['name']}' "
                f"FROM {views[over]} WHERE {rule['sql']}"
            )
    connection.execute("""
        INSERT INTO warnings SELECT 'households', household_id, NULL, NULL, 'more_than_one_county'
        FROM sorted_records GROUP BY household_id HAVING count(DISTINCT county_id) > 1""")
    connection.execute(f"""
        INSERT INTO warnings SELECT 'households', household_id, NULL, NULL, 'without_county_beside_others'
        FROM sorted_households WHERE county_id = '{ONLY_COUNTY}'
        AND EXISTS (FROM sorted_households WHERE county_id <> '{ONLY_COUNTY}')""")
    connection.execute("""
        INSERT INTO warnings SELECT 'households', household_id, h.village_id, NULL, 'township_from_its_village'
        FROM sorted_households h JOIN told_households t USING (household_id)
        WHERE t.township_id IS NULL AND h.township_id IS NOT NULL""")
    naming = [f"SELECT village_id FROM sorted_{name} WHERE {rows}" for name, rows in _NAMING.items() if name in tables]
    if naming:
        connection.execute(f"""
            INSERT INTO warnings SELECT 'households', NULL, village_id, NULL, 'village_in_several_places'
            FROM sorted_households WHERE village_id IN ({" UNION ".join(naming)}) GROUP BY village_id
            HAVING count(DISTINCT county_id) > 1 OR count(DISTINCT township_id) > 1""")
    if made_of:
        some_blank = " OR ".join(f"{part} IS NULL" for part in made_of)
        connection.execute(f"""
            INSERT INTO warnings SELECT 'records', household_id, NULL, month, 'income_without_some_part'
            FROM sorted_records WHERE welfare IS NOT NULL AND ({some_blank})""")
    counts = connection.execute("SELECT rule, count(*) FROM warnings GROUP BY rule ORDER BY rule")
    return dict(counts.fetchall())


def spells_against(connection: duckdb.DuckDBPyConnection, names: Collection[str], with_assistance: bool) -> str:
    """SQL for the spells that go against some of the check rules: `household_id, identified_on, rule`.

    Parameters
    ----------
    connection
        Holds `sorted_records` (each month of a household once), `sorted_spells` and, where `with_assistance`,
        `sorted_assistance`.
    names
        Names of rules over spells.

    Raises
    ------
    UsageError
        If there is no such rule.
    """
    known = {rule["name"]: rule for rule in _rules() if rule["over"] == "spells"}
    for name in names:
        if name not in known:
            raise UsageError(f"no check rule {name!r} over spells in validators.yaml{meant(name, known)}")
    chosen = [known[name] for name in names]
    _spells_in_context(connection, chosen, with_assistance, revised=False)
    return " UNION ALL ".join(
        f"SELECT household_id, identified_on, '{rule['name']}' AS rule FROM spells_in_context WHERE {rule['sql']}"
        for rule in chosen
    )


def _rules() -> list[dict[str, str]]:
    return yaml.load(Path(__file__).with_name("validators.yaml").read_text(encoding="utf-8"), SAFE_LOADER)["validators"]


def _spells_in_context(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Mapping[str, str]], with_assistance: bool, revised: bool = True
) -> None:
    """Each spell beside what the rules ask of the household's records at its beginning and end, and its measures."""
    asked = " ".join(rule["sql"] for rule in rules)
    columns = [n for n in load_contract().tables["records"].columns if n not in ("household_id", "month")]
    beside = {side: [n for n in columns if re.search(rf"\b{side}_{n}\b", asked)] for side in ("in", "out")}
    names = [n for n in columns if any(n in held for held in beside.values())]
    offered_until = (
        "(SELECT count(*) FROM sorted_assistance a "
        "WHERE a.household_id = s.household_id AND a.offered_on <= {} "
        "AND coalesce(a.ended_on, s.identified_on) >= s.identified_on)"
        if with_assistance
        else "NULL"
    )
    context = {
        "measures": offered_until.format("s.identified_on + INTERVAL 1 MONTH"),
        "measures_by_exit": offered_until.format("s.eliminated_on"),
        "data_end": "(SELECT last_day(max(month)) FROM latest)",
    }
    shown = [f"{sql} AS {name}" for name, sql in context.items() if re.search(rf"\b{name}\b", asked)]
    days = {"in": "identified_on", "out": "eliminated_on"}
    lately = f"latest_{{side}}.month >= date_trunc('month', s.{{day}}) - INTERVAL {_RECORD_MONTHS} MONTH"
    shown += [
        f"CASE WHEN {lately.format(side=side, day=days[side])} THEN latest_{side}.{name} END AS {side}_{name}"
        for side, held in beside.items()
        for name in held
    ]
    joins = " ".join(
        f"ASOF LEFT JOIN latest latest_{side} "
        f"ON s.household_id = latest_{side}.household_id AND s.{day} >= latest_{side}.month"
        for side, day in days.items()
        if beside[side]
    )
    newest = known_last("household_id", "month") if revised else ""
    latest = f"SELECT {', '.join(['household_id', 'month', *names])} FROM sorted_records {newest}"
    connection.execute(f"""
        CREATE OR REPLACE TABLE spells_in_context AS
        WITH latest AS ({latest}) SELECT {", ".join(["s.*", *shown])} FROM sorted_spells s {joins}""")
