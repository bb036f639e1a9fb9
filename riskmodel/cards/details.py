"""The details of the bulletin: every part of the report with its charts, tables, notes and what it could not tell."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from riskmodel.cards.charts import Series, ShareBar, over_time_svg, share_bars_svg
from riskmodel.cards.findings import ALL, KEY, NUMBER, TEXT, Findings, household, same
from riskmodel.cards.rendering import ABSENT, Words, count, decimal, over_line, percent, shortened
from riskmodel.cards.sums import few_behind, printed_counts
from riskmodel.evaluation.disclosure import WITHHELD, shown_together, tells, withheld
from riskmodel.monitoring import writing
from riskmodel.monitoring.part import LEFT_OUT
from riskmodel.monitoring.running import PARTS

_LONGEST_TEXT, _LONGEST_REASON = 120, 400
_AT_MONTHS = (3, 6, 9, 12, 18, 24)
_MOST_BARS = 8
_IN_FULL = ("month_course",)
"""Tables that are shown to their end."""
_KEYS = ("_id", "_on", "as_of", "since")
"""Endings of columns whose values are not broken."""
_YUAN = "(yuan"
"""What the heading of a sum of money says."""
_SHARES = ("share", "risk", "risk_without_support")
_FINE = ("effect", "plain")
"""Differences of shares: a hundredth of them is one household in a hundred."""
_DAYS = ("median_", "days_")
"""Beginnings of columns of days and months, which are no counts."""
_PRINTED = rf"[\d,]+|<\d+|{re.escape(WITHHELD)}"
_NOT_COUNTS = ("months", "within_days", "since", "earlier", "entries")

Cell = tuple[Words, Words | None]
Drawing = tuple[Words, Markup]


@dataclass(frozen=True)
class Table:
    """A table: heads with the kind of their column, the rows that are shown, how many there are, where all are."""

    title: Words
    columns: Sequence[tuple[Words, str]]
    rows: Sequence[Sequence[Cell]]
    total: int
    file: str
    households: bool


@dataclass(frozen=True)
class Detail:
    """A part of the report; `why` where it found no table."""

    name: str
    title: Words
    notes: Sequence[Words]
    charts: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    others: Sequence[tuple[Words, str]] = ()
    why: Words | None = None


def details(report: Findings) -> Iterator[Detail]:
    """Every part of the report, those that were not asked for included."""
    for part in PARTS:
        title = Words(part.en[:1].upper() + part.en[1:], part.zh)
        found = report.found.get(part.name)
        if found is None or not found.tables:
            yield Detail(
                part.name, title, [Words(*note) for note in found.notes[1:]] if found else [], why=report.why(part.name)
            )
            continue
        words = writing.words_of(part.name)
        here = [name for name in words.bulletin if name in found.tables]
        yield Detail(
            part.name,
            title,
            [Words(*note) for note in found.notes],
            [drawing for chart in _CHARTS.get(part.name, ()) if (drawing := chart(report)) is not None],
            [_table(report, part.name, name) for name in here],
            [(Words(*words.table(name)), f"{part.name}/{name}") for name in found.tables if name not in here],
        )


# --- tables


def _table(report: Findings, part: str, name: str) -> Table:
    whole, words = report.found[part].tables[name], writing.words_of(part)
    columns = [c for c in words.bulletin[name] if c in whole or f"{c}_en" in whole]
    columns = [c for c in columns if not c.endswith(LEFT_OUT) or whole[c].any()]
    named = "household_id" in whole
    most = report.asked.rules.bulletin.table_rows
    rows = whole if name in _IN_FULL else whole.groupby("by").head(most) if "by" in whole else whole.head(most)
    printed: dict[str, list[str]] = {}
    few = np.zeros(len(rows), bool)
    if name == "month_course" and report.course is not None:
        printed = {c: report.course.printed(c) for c in report.course.columns}
    elif not named:
        counts = [c for c in columns if c in whole and _counts(whole[c]) and _YUAN not in words.column(c)[0]]
        printed, few = printed_counts(name, rows, counts, report.least)
        if "households" in whole and "households" not in columns:
            few |= rows["households"].between(1, report.least - 1).to_numpy(bool)
    held = {c: few_behind(name, rows, c, report.least) for c in columns if c in whole and not named}

    def hides(at: int, column: str, value: Any) -> bool:
        if few[at] and column not in _NOT_COUNTS and isinstance(value, int | float | np.number):
            return True
        return column in held and bool(held[column][at]) and not _absent(value)

    cells = [
        [
            (same(printed[c][at]), None)
            if c in printed
            else (same(WITHHELD), None)
            if hides(at, c, row.get(c))
            else _cell(part, c, row)
            for c in columns
        ]
        for at, row in enumerate(rows.to_dict("records"))
    ]
    numbers = {c for c in columns if c in printed or c in whole and (_is_number(whole[c]) or _is_printed(whole[c]))}
    heads = [(Words(*words.column(c)), NUMBER if c in numbers else KEY if c.endswith(_KEYS) else TEXT) for c in columns]
    return Table(Words(*words.table(name)), heads, cells, len(whole), f"{part}/{name}", named)


def _counts(column: pd.Series) -> bool:
    """Whether a column holds counts, also where some are missing: whole numbers that are no time."""
    name = str(column.name)
    if name in _NOT_COUNTS or name.startswith(_DAYS) or name.endswith(LEFT_OUT) or not _is_number(column):
        return False
    known = column.dropna().astype(float)
    return pd.api.types.is_integer_dtype(column.dtype) or bool(len(known) and (known % 1 == 0).all() and (known > 1).any())


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _is_printed(column: pd.Series) -> bool:
    """Whether a column holds counts as they are printed, small ones withheld."""
    texts = column.astype(str)
    return len(texts) > 0 and not str(column.name).endswith(_KEYS) and bool(texts.str.fullmatch(_PRINTED).all())


def _cell(part: str, column: str, row: Mapping[str, Any]) -> Cell:
    """A value in words, and its interval where it has one."""
    if f"{column}_en" in row:
        return Words(*(shortened(row[f"{column}_{lang}"], _LONGEST_REASON) for lang in Words._fields)), None
    value = row[column]
    if isinstance(value, str) and value:
        if column.endswith("_id") and value != ALL:
            return household(value), None
        words = writing.words_of(part)
        return Words(*(shortened(text, _LONGEST_TEXT) for text in words.value(words.naming(column, row), value))), None
    if _absent(value):
        return same(ABSENT), None
    if isinstance(value, bool | np.bool_):
        return Words("yes", "是") if value else Words("no", "否"), None
    if isinstance(value, dt.date):
        return same(value.isoformat()[:10]), None
    stems = (column, column.removesuffix("_months"))
    ends = next(((row[f"{s}_low"], row[f"{s}_high"]) for s in stems if f"{s}_low" in row), None)
    known = ends is not None and not any(pd.isna(end) for end in ends)
    return same(_number(column, value)), same(" – ".join(_number(column, end) for end in ends)) if known and ends else None


def _absent(value: Any) -> bool:
    return value is None or value == "" or bool(pd.isna(value))


def _number(column: str, value: float) -> str:
    if column in _SHARES or column.endswith("_share"):
        return percent(float(value))
    if column in writing.OVER_LINE:
        return over_line(float(value))
    if column.endswith("_p") and value < 0.005:
        return "<0.01"
    whole = isinstance(value, int | np.integer) or float(value).is_integer() and abs(value) >= 1 or abs(value) >= 100
    digits = 3 if column in _FINE else 1 if column.startswith(_DAYS) else 2
    return count(round(value)).replace("-", "−") if whole else decimal(float(value), digits)


# --- charts, none without enough behind it


def _stay_curve(report: Findings) -> Drawing | None:
    titles = {
        "monitoring": Words("Still in monitoring: of 100 spells, by months", "每100次监测中仍在监测的次数（按月数）"),
        "poverty": Words("Still below the line: of 100 spells, by months", "每100次低于监测线中仍在线下的次数（按月数）"),
    }
    return _curve(report, "durations", "share", ("first", "again"), titles)


def _back_curve(report: Findings) -> Drawing | None:
    titles = {
        "monitoring": Words("Back in monitoring: of 100 that left, by months", "每100户风险消除户中再次纳入监测（按月数）"),
        "poverty": Words(
            "Below the line again: of 100 that rose, by months", "每100户升至线上的农户中再次低于监测线（按月数）"
        ),
    }
    return _curve(report, "reentry_by_month", "back_share", ("all",), titles)


def _curve(report: Findings, table: str, column: str, entries: Sequence[str], titles: Mapping[str, Words]) -> Drawing | None:
    """Shares by months in or out, of monitoring where there are such spells, else of poverty."""
    rows = report.table("spells", table)
    if rows is None or not len(rows):
        return None
    kind = "monitoring" if (rows["kind"] == "monitoring").any() else "poverty"
    rows = rows[(rows["kind"] == kind) & (rows["at_risk"] >= report.least)]
    lines = {entry: rows[rows["entry"] == entry].drop_duplicates("months").set_index("months") for entry in entries}
    seen = rows["months"]
    periods = sorted({int(seen[seen <= m].max()) for m in _AT_MONTHS if (seen <= m).any()})
    series = []
    for entry, line in lines.items():
        figures = [_figure(line, month, column) for month in periods]
        if sum(figure is not None for figure in figures) > 1:
            series.append(Series(Words(*writing.words_of("spells").value("entry", entry)), figures))
    return (titles[kind], over_time_svg([str(p) for p in periods], series, titles[kind])) if series else None


def _figure(line: pd.DataFrame, month: int, column: str) -> dict[str, float | None] | None:
    """A curve at a month: it stays as it was since the last month in which something happened, as far as it reaches."""
    before = line.index[line.index <= month]
    if not len(before) or month > line.index.max():
        return None
    row = line.loc[before.max()]
    ends = [float(row[f"{column}_{end}"]) for end in ("low", "high")]
    known = not any(map(np.isnan, ends))
    return {"value": float(row[column]), "low": ends[0] if known else None, "high": ends[1] if known else None}


def _help_in_time(report: Findings) -> Drawing | None:
    rows = report.table("assistance", "help_timeliness")
    if rows is None:
        return None
    rows = rows[[bool(r.needs) and tells(int(r.helped), int(r.needs), report.least) for r in rows.itertuples()]]
    bars = [
        ShareBar(Words(f"within {r.within_days} days", f"{r.within_days}天以内"), r.share, r.share_low, r.share_high)
        for r in rows.itertuples()
    ]
    return _bars(
        Words("Help begun once a need was known: of 100 newly identified", "识别后开始帮扶：每100户新识别监测对象"), bars
    )


def _paid_by_kind(report: Findings) -> Drawing | None:
    rows = report.table("funds", "fund_totals")
    if rows is None:
        return None
    few = few_behind("fund_totals", rows, "paid_share", report.least)
    rows = rows[(rows["by"] == "kind") & (rows["of_what"] != ALL) & (rows["grants"] >= report.least) & ~few]
    rows = rows.dropna(subset="paid_share")
    bars = [
        ShareBar(report.said("funds", "measure", r.of_what), min(r.paid_share, 1.0))
        for r in rows.head(_MOST_BARS).itertuples()
    ]
    return _bars(Words("Paid of 100 yuan planned, by kind of help", "各类帮扶每100元计划资金中已拨付"), bars)


def _classes(report: Findings) -> Drawing | None:
    rows = report.table("misses", "miss_classes")
    if rows is None:
        return None
    rows = rows[rows["miss"] == "missed_return"]
    told = [not withheld(cell) for cell in shown_together(rows["misses"].tolist(), report.least)]
    rows = rows[np.array(told, bool) & (rows["misses"] > 0)]  # else the share that is left would tell a small class
    bars = [
        ShareBar(report.said("misses", "miss_class", r.miss_class), r.share, r.share_low, r.share_high)
        for r in rows.itertuples()
    ]
    return _bars(Words("Missed returns by class: of 100", "遗漏的返贫致贫：每100例中各类"), bars)


def _support_by_industry(report: Findings) -> Drawing | None:
    rows = report.table("industries", "industries")
    if rows is None or "support_share" not in rows:
        return None
    rows = rows.dropna(subset="support_share").sort_values(["support_share", "industry"], ascending=[False, True])
    several = rows["county_id"].nunique() > 1

    def named(row: Any) -> Words:
        said = report.said("industries", "industry", row.industry)
        return Words(*(f"{household(row.county_id).en} {text}" for text in said)) if several else said

    bars = [ShareBar(named(r), min(r.support_share, 1.0)) for r in rows.head(_MOST_BARS).itertuples()]
    return _bars(Words("Policy support over 100 yuan of revenue, by industry", "各产业每100元收入中的政策支持"), bars)


def _bars(title: Words, bars: Sequence[ShareBar]) -> Drawing | None:
    return (title, share_bars_svg(bars, title)) if bars else None


_CHARTS: Mapping[str, Sequence[Callable[[Findings], Drawing | None]]] = {
    "spells": (_stay_curve, _back_curve),
    "assistance": (_help_in_time,),
    "funds": (_paid_by_kind,),
    "misses": (_classes,),
    "industries": (_support_by_industry,),
}
