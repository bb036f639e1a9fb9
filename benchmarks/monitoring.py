"""What `riskmodel monitor` costs on a large register: time and memory on a million households over 36 months.

    python benchmarks/monitoring.py --households 1000000 --json figures.json

The register is made by SQL straight into its layout, county by county, with figures drawn from hashes of the id:
incomes that wander about the line, so that about one household in ten is ever below it, and monitoring spells and help.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from riskmodel.months import first_day, last_day, month_number
from riskmodel.register import Register, commit_directory
from riskmodel.register.store import table_file

FIRST = month_number("2021-01")
PER_COUNTY = 50_000


def build_register(out: Path, households: int, months: int) -> Register:
    """A synthetic register of counties of 50,000 households."""
    counties = [f"{k:06d}" for k in range(1, -(-households // PER_COUNTY) + 1)]
    columns: dict[str, list[str]] = {}

    def write(stage: Path) -> None:
        left = households
        for county in counties:
            n = min(PER_COUNTY, left)
            left -= n
            for table, sql in _tables(county, n, months).items():
                file = stage / table_file(table, county)
                file.parent.mkdir(parents=True, exist_ok=True)
                with duckdb.connect() as connection:
                    connection.execute("SET threads = 2; SET preserve_insertion_order = true")
                    connection.execute(f"COPY ({sql}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
                    if table not in columns:
                        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{file}')")
                        columns[table] = [row[0] for row in described.fetchall()]
        about["columns"] = columns

    about = {
        "source": "synthetic", "step_months": 1, "reporting_lag_days": 0, "counties": counties, "has_revisions": False,
        "first_month": str(first_day(FIRST))[:7], "last_month": str(last_day(FIRST + months - 1))[:7], "extra_columns": {},
    }  # fmt: skip
    commit_directory(out, write, kind="register", about=about)
    return Register.open(out)


def _uniform(key: str) -> str:
    """SQL for a number in (0, 1) that hangs on a text alone."""
    return f"((hash({key}) % 1000003 + 0.5) / 1000003)"


def _normal(key: str) -> str:
    other = key + " || '~'"
    return f"(sqrt(-2 * ln({_uniform(key)})) * cos(6.283185307 * {_uniform(other)}))"


def _of_household(salt: str) -> str:
    return _uniform(f"household_id || '{salt}'")


def _tables(county: str, n: int, months: int) -> dict[str, str]:
    """SQL for each table of one county."""
    ids = f"(SELECT '{county}' || lpad(i::VARCHAR, 8, '0') AS household_id, i FROM range({n}) AS r(i))"
    phase = f"CAST(6 * {_of_household('p')} AS INTEGER)"
    months_of = (
        f"SELECT *, {phase} AS phase, 0.85 + 0.35 * {_normal('household_id')} AS level FROM {ids}, range({months}) AS t(m)"
    )
    wave = _normal("household_id || ((m + phase) // 6)::VARCHAR")
    seen = _uniform("household_id || m::VARCHAR")

    def day(month: str) -> str:
        return f"(DATE '{first_day(FIRST)}' + to_months(({month})::INTEGER))::DATE"

    poor = f"""(SELECT *, 2 + CAST(28 * {_of_household("s")} AS INTEGER) AS found,
                       CAST(6 + 24 * {_of_household("e")} AS INTEGER) AS stay
                FROM {ids} WHERE {_of_household("m")} < 0.06)"""
    kinds = "list_value('employment', 'industry', 'health', 'protection')[1 + (hash(household_id || k) % 4)::INTEGER]"
    return {
        "households": f"""
            SELECT household_id, '{county}' AS county_id, '{county}' || lpad((i // 2500)::VARCHAR, 3, '0') AS township_id,
                   '{county}' || lpad((i // 100)::VARCHAR, 6, '0') AS village_id,
                   CASE WHEN hash(household_id || 't') % 3 > 0 THEN 'lifted' ELSE 'ordinary' END AS household_type
            FROM {ids} ORDER BY household_id""",
        "records": f"""
            SELECT household_id, month, last_day(month) AS known_at, 7600 * ratio AS welfare, 7600.0::DOUBLE AS line,
                   7600 * ratio * hh_size * 0.6 AS wage_income, 7600 * ratio * hh_size * 0.3 AS production_income,
                   100.0::DOUBLE AS property_income, 7600 * ratio * hh_size * 0.2 AS transfer_income,
                   7600 * ratio * hh_size * 0.1 AS production_cost, 500.0::DOUBLE AS selfpay, 400.0::DOUBLE AS claims,
                   hh_size
            FROM (SELECT household_id, {day("m")} AS month, exp(level + 0.28 * {wave}) AS ratio,
                         CAST(2 + hash(household_id || 'z') % 4 AS INTEGER) AS hh_size
                  FROM ({months_of}) WHERE {seen} > 0.01)
            ORDER BY household_id, month, known_at""",
        "spells": f"""
            SELECT household_id, {day("found")} + 9 AS identified_on, {day("found")} + 14 AS known_at,
                   'unstable_lifted' AS category, 'illness' AS risk_1, 'cadre' AS channel,
                   CASE WHEN found + stay < {months} THEN ({day("found + stay")} + 19) END AS eliminated_on,
                   CASE WHEN found + stay < {months} THEN 'assisted' END AS elimination_mode
            FROM (FROM {poor} UNION ALL
                  SELECT * REPLACE (found + stay + 2 + (hash(household_id || 'w') % 8)::INTEGER AS found, 40 AS stay)
                  FROM {poor}
                  WHERE found + stay + 9 < {months - 1} AND hash(household_id || 'r') % 4 = 0)
            ORDER BY household_id, identified_on""",
        "assistance": f"""
            SELECT household_id, {kinds} AS measure, offered_on, offered_on AS known_at, true AS suitable,
                   offered_on + 7 AS answered_on, hash(household_id || k) % 10 > 1 AS accepted,
                   offered_on + 20 AS started_on, 3000.0::DOUBLE AS amount_planned,
                   offered_on + 40 + (hash(household_id || k) % 90)::INTEGER AS paid_on,
                   (2000 + hash(household_id || k) % 1001)::DOUBLE AS amount_paid,
                   list_value('central', 'provincial', 'county')[1 + (hash(household_id || k) % 3)::INTEGER] AS fund_source,
                   'unit ' || (hash(household_id || k) % 8)::VARCHAR AS responsible_unit
            FROM (SELECT household_id, k, {day("found + 3 * k")} + 4 AS offered_on FROM {poor}, range(3) AS o(k))
            WHERE offered_on <= DATE '{last_day(FIRST + months - 2)}' ORDER BY household_id, offered_on""",
    }


def main() -> None:
    """Make the register, run the report in a process of its own, and print its time and memory."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--households", type=int, default=1_000_000)
    arguments.add_argument("--months", type=int, default=36)
    arguments.add_argument("--register", type=Path, help="where the register lies, or is made; default: a passing folder")
    arguments.add_argument("--parts", default="spells")
    arguments.add_argument("--json", type=Path)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = asked.register or Path(folder) / "register"
        if not (path / "manifest.json").is_file():
            build_register(path, asked.households, asked.months)
        register = Register.open(path)
        command = [sys.executable, "-m", "riskmodel.cli", "monitor", str(path), "--as-of", register.last_month]
        command += ["--out", str(Path(folder) / "out"), "--parts", asked.parts]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {"households": asked.households, "months": asked.months, "parts": asked.parts}
    figures |= {"seconds": round(seconds, 1), "cpu_seconds": round(used.ru_utime + used.ru_stime, 1)}
    figures["peak_gib"] = round(used.ru_maxrss / 2**20, 2)
    print(json.dumps(figures))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
