"""The month itself, against the months before it: who is monitored, who came and went, who was struck, what help brought.

Every month counts as it was known on its own last day: rows of this month that come late are not held against months
long filled in. What happened in one month and came to be known in a later one counts in the later one, so that reports
that follow each other count it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pandas as pd

from riskmodel.cohort.standing import NOT_UNVERIFIED
from riskmodel.engine import engine
from riskmodel.monitoring.known import (
    late_records,
    no_records_yet,
    not_recorded_yet,
    open_known,
    open_spells,
    reported_late,
)
from riskmodel.monitoring.part import Asked, Found
from riskmodel.months import as_of_day, first_day, month_number, month_text
from riskmodel.register import load_contract

_BACK = 12
"""Months that the course reaches back: the same month of last year is in it."""


def report_month(asked: Asked) -> Found:
    """The figures of the month, and of each period of the year before it.

    Returns
    -------
    Found
        Table `month_course`: one row a period, the first one first; `as_of`, `recorded` and `below_line` (households with a
        record of the period, or of the newest that is known by then as a rule, and of these below the line; missing where
        the register ends before that period), `income_not_recorded` (of how many with a record that cannot be told),
        `monitored` (in open monitoring on the last day), `entered` and `left`
        (monitoring), `struck` (households with an event that first came to be known, leaving out what was known to be
        unverified), `helped` (help begun), `paid` (yuan),
        `amount_not_recorded` (payments that it leaves out), `listed` and `new_on_list` (scored months: on the list, and of
        these not on the list scored before). Figure `records_late_months` where records come after their period. What the
        register cannot give has no column and a note.
    """
    step = asked.register.step_months
    first = max(month_number(asked.register.first_month), asked.as_of - _BACK)
    periods = [*range(asked.as_of, first - 1, -step)][::-1]
    table = pd.DataFrame({"as_of": [month_text(period) for period in periods]})
    lacks: dict[str, tuple[str, str]] = {}
    with engine() as connection:
        late, monitored = reported_late(asked), _monitored(connection, asked, periods)
        counted = [dict(_counts(connection, replace(asked, as_of=p), monitored.loc[p], late)) for p in periods]
    table = pd.concat([table, pd.DataFrame(counted, dtype=object)], axis=1)
    if asked.scored:
        table = table.merge(_lists(asked), "left", on="as_of")
    for column, note in _LACKING.items():
        if column not in table:
            lacks[column] = note
    for column in table.columns.drop("as_of"):
        table[column] = table[column].astype("Float64" if column == "paid" else "Int64")
    now = table.iloc[-1].drop("as_of")
    figures = {
        name: None if pd.isna(value) else float(value) if name == "paid" else int(value) for name, value in now.items()
    }
    if late:
        figures["records_late_months"] = late
    notes = [_READING, *([late_records(late)] if late else [])]
    if not_recorded_yet(asked, late):
        notes.append(no_records_yet(asked))
    elif not now["recorded"]:
        notes.append(_NO_RECORDS)
    return Found({"month_course": table}, figures, [*notes, *dict.fromkeys(lacks.values())], lacks)


def _counts(
    connection: duckdb.DuckDBPyConnection, asked: Asked, monitored: pd.Series, late: int
) -> Iterator[tuple[str, Any]]:
    """The figures of one period as known on its last day, by the records of so many months before it."""
    register, counties = asked.register, asked.register.counties
    since = as_of_day(asked.as_of - register.step_months, register.step_months)
    within = f"> DATE '{since}' AND {{0}} <= DATE '{asked.day}'"
    key = {table: ", ".join(load_contract().tables[table].key) for table in ("events", "assistance")}

    def count(sql: str) -> Any:
        return connection.execute(sql).fetchone()[0]

    open_known(connection, asked, "records", counties, f"month = DATE '{first_day(asked.as_of - late)}'")
    recorded = count("SELECT count(DISTINCT household_id) FROM sorted_records")
    yield "recorded", None if not_recorded_yet(asked, late) else recorded
    if {"welfare", "line"} <= set(register.columns("records")):
        for name, which in (("below_line", "welfare < line"), ("income_not_recorded", "welfare IS NULL OR line IS NULL")):
            yield name, count(f"SELECT count(*) FILTER (WHERE {which}) FROM sorted_records") if recorded else None
    yield from monitored.items()
    if register.has("events"):
        told = "true" if "events" in register.revised else f"known_at {within.format('known_at')}"  # in one row each
        open_known(connection, asked, "events", counties, told, versions=True)
        open_known(connection, asked, "households", counties)
        first = f"min(known_at) FILTER ({NOT_UNVERIFIED})"
        yield (
            "struck",
            count(
                f"""
                WITH new AS (SELECT household_id, village_id FROM sorted_events GROUP BY {key["events"]}
                             HAVING {first} {within.format(first)}
                             AND arg_max({NOT_UNVERIFIED}, known_at))
                SELECT count(*) FROM (
                    SELECT household_id FROM new WHERE household_id IS NOT NULL
                    UNION SELECT h.household_id FROM new JOIN sorted_households h USING (village_id)
                    WHERE new.household_id IS NULL)"""
            ),
        )
    held = set(register.columns("assistance"))
    if "accepted" in held:
        open_known(connection, asked, "assistance", counties, versions=True)

        def told_first(day: str, total: str) -> Any:
            """A total over the help of which it first came to be known in the period that this day had come."""
            here = "true" if "assistance" in register.revised else f"told_on {within.format('told_on')}"  # in one row each
            return count(
                f"""
                WITH versions AS (
                    SELECT {key["assistance"]}, known_at, amount_paid, greatest({day}, answered_on, known_at) AS told_on,
                           coalesce(accepted AND {day} IS NOT NULL, false) AS holds FROM sorted_assistance),
                new AS (
                    SELECT household_id, arg_max_null(amount_paid, known_at) AS amount_paid FROM versions WHERE {here}
                    GROUP BY {key["assistance"]} HAVING arg_max(holds, known_at)
                    AND min(told_on) FILTER (holds) {within.format("min(told_on) FILTER (holds)")})
                SELECT {total} FROM new"""
            )

        yield "helped", told_first(asked.begun, "count(DISTINCT household_id)")
        if {"amount_paid", "paid_on"} <= held:
            yield "paid", told_first("paid_on", "CASE WHEN count(*) = 0 THEN 0 ELSE sum(amount_paid) END")
            yield "amount_not_recorded", told_first("paid_on", "count(*) FILTER (WHERE amount_paid IS NULL)")


def _monitored(connection: duckdb.DuckDBPyConnection, asked: Asked, periods: list[int]) -> pd.DataFrame:
    """Households in open monitoring at the end of each period, and who came and went in it; no columns without spells.

    Who came is on no spell of the book as it was known at the end of the period before, who left on none that had ended.
    """
    if not asked.register.has("spells"):
        return pd.DataFrame(index=periods)
    step = asked.register.step_months
    open_spells(connection, asked, [periods[0] - step, *periods])
    before = (
        f"FROM spells b WHERE b.household_id = s.household_id AND b.as_of_no = s.as_of_no - {step} "
        "AND b.identified_on <= coalesce(s.eliminated_on, b.identified_on) "
        "AND s.identified_on <= coalesce(b.eliminated_on, s.identified_on)"
    )
    found = connection.execute(
        f"""
        SELECT as_of_no, count(DISTINCT household_id) FILTER (until_no IS NULL) AS monitored,
               count(DISTINCT household_id) FILTER (NOT began) AS entered,
               count(DISTINCT household_id) FILTER (until_no IS NOT NULL AND NOT ended) AS left
        FROM (SELECT *, EXISTS ({before}) AS began, EXISTS ({before} AND b.until_no IS NOT NULL) AS ended FROM spells s)
        GROUP BY as_of_no"""
    ).df()
    return found.set_index("as_of_no").reindex(periods, fill_value=0)


def _lists(asked: Asked) -> pd.DataFrame:
    """By scored month: households on its list, and of these those that the list scored before did not hold."""
    rows: list[dict[str, Any]] = []
    before: set[tuple[str, str]] | None = None
    for month in asked.scored:
        alerts = month.read("alerts", ["county_id", "household_id"])
        now = set(alerts.itertuples(index=False, name=None))
        rows.append(
            {
                "as_of": month.as_of,
                "listed": len(now),
                "new_on_list": None if before is None else len(now - before),
            }
        )
        before = now
    return pd.DataFrame(rows)


_READING = (
    "The month: every month counts as it was known on its own last day. Households below the line are of those with a "
    "record of the month. Struck are households with an event that first came to be known in the month, whenever it "
    "began: its corrections count no second time, and what was known to be unverified does not count. Who came into "
    "monitoring or left it, help begun and what was paid count in the month in which they first came to be known, where "
    "that is later, and in no other. A household new on the list was not on the list scored before, which may be months "
    "older.",
    "本月：各月均按当月最后一天已知的情况统计。低于监测线的户数以当月有记录的农户为限。"
    "遭遇突发事件的农户按当月首次知悉的事件统计，不论事件何时发生；更正不重复计算，已知未核实的不计。"
    "纳入、退出监测及帮扶开始、资金拨付在次月或更晚才知悉的，计入首次知悉的月份，且只计一次。"
    "名单新增户指不在上一次评分名单中的农户，上一次评分可能相隔数月。",
)

_NO_RECORDS = (
    "No record of the month was known on its last day: who is below the line cannot be told.",
    "截至期末没有已知的当期记录，无法统计低于监测线的户数。",
)
_NO_SPELLS = (
    "The register holds no monitoring spells: who is monitored, who came and who left cannot be told.",
    "登记数据中没有监测台账，无法统计监测户数及进出情况。",
)
_NO_LINE = (
    "The records hold no income or no line: who is below the line cannot be told.",
    "记录中没有收入或监测线，无法统计低于监测线的户数。",
)
_NO_EVENTS = (
    "The register holds no events: who was struck cannot be told.",
    "登记数据中没有突发事件，无法统计遭遇突发事件的农户。",
)
_NO_HELP = (
    "The register holds no assistance with answers (column accepted): help begun cannot be told.",
    "登记数据中没有带答复的帮扶记录（“是否接受”字段），无法统计新开始的帮扶。",
)
_NO_AMOUNTS = (
    "The register holds no amounts paid with their days: what was paid cannot be told.",
    "登记数据中没有拨付金额及其日期，无法统计拨付情况。",
)
_NO_SCORES = (
    "No scored month with a list was named (--alerts DIR): the list and who is new on it are not shown.",
    "未提供有名单的评分月份（--alerts 目录）：名单及新增户无法显示。",
)
_LACKING = {
    "below_line": _NO_LINE,
    "monitored": _NO_SPELLS,
    "struck": _NO_EVENTS,
    "helped": _NO_HELP,
    "paid": _NO_AMOUNTS,
    "listed": _NO_SCORES,
}
