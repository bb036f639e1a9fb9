"""The published check rules of `validators.yaml`: they warn, and refuse nothing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import duckdb
import yaml

from riskmodel.register.contract import load_contract

_MONTH = {"records": "month", "spells": "CAST(date_trunc('month', identified_on) AS DATE)"}


def warn(connection: duckdb.DuckDBPyConnection, tables: Collection[str]) -> dict[str, int]:
    """Fill the table `warnings` (table, household_id, month, rule) from the tables `sorted_<name>`.

    Parameters
    ----------
    connection
        Holds `sorted_records` and the other `tables` of the register.
    tables
        Names of the tables that the register has.

    Returns
    -------
    dict
        Number of rows by rule, rules without any left out.
    """
    rules = yaml.safe_load(Path(__file__).with_name("validators.yaml").read_text(encoding="utf-8"))
    connection.execute('CREATE TABLE warnings ("table" VARCHAR, household_id VARCHAR, month DATE, rule VARCHAR)')
    views = {"records": "sorted_records"}
    if "spells" in tables:
        _spells_in_context(connection, "assistance" in tables)
        views["spells"] = "spells_in_context"
    for rule in rules["validators"]:
        over = rule["over"]
        if over in views:
            connection.execute(
                f"INSERT INTO warnings SELECT '{over}', household_id, {_MONTH[over]}, '{rule['name']}' "
                f"FROM {views[over]} WHERE {rule['sql']}"
            )
    connection.execute("""
        INSERT INTO warnings SELECT 'households', household_id, NULL, 'more_than_one_county'
        FROM sorted_records GROUP BY household_id HAVING count(DISTINCT county_id) > 1""")
    counts = connection.execute("SELECT rule, count(*) FROM warnings GROUP BY rule ORDER BY rule")
    return dict(counts.fetchall())


def _spells_in_context(connection: duckdb.DuckDBPyConnection, with_assistance: bool) -> None:
    """Each spell beside the household's records at its beginning and end, with the measures offered."""
    names = load_contract().tables["records"].columns
    entered = ", ".join(f"entry.{name} AS in_{name}" for name in names)
    left = ", ".join(f"departure.{name} AS out_{name}" for name in names)
    offered_until = (
        "(SELECT count(*) FROM sorted_assistance a "
        "WHERE a.household_id = s.household_id AND a.offered_on <= {} "
        "AND coalesce(a.ended_on, s.identified_on) >= s.identified_on)"
        if with_assistance
        else "NULL"
    )
    connection.execute(f"""
        CREATE TABLE latest AS SELECT * FROM sorted_records
        QUALIFY row_number() OVER (PARTITION BY household_id, month ORDER BY known_at DESC) = 1;
        CREATE TABLE spells_in_context AS
        SELECT s.*, {entered}, {left},
            {offered_until.format("s.identified_on + INTERVAL 1 MONTH")} AS measures,
            {offered_until.format("s.eliminated_on")} AS measures_by_exit,
            (SELECT last_day(max(month)) FROM sorted_records) AS data_end
        FROM sorted_spells s
        ASOF LEFT JOIN latest entry ON s.household_id = entry.household_id AND s.identified_on >= entry.month
        ASOF LEFT JOIN latest departure
            ON s.household_id = departure.household_id AND s.eliminated_on >= departure.month""")
