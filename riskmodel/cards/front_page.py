"""The first page of the bulletin: whether the data can be trusted, what changed, five numbers, five lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from riskmodel.cards.charts import course_svg, icon_array_svg
from riskmodel.cards.findings import ALL, AT_LEAST, KEY, NUMBER, TEXT, Findings, between, household, money, same
from riskmodel.cards.rendering import ABSENT, Words, count, of_100, over_line, percent, shortened
from riskmodel.evaluation.disclosure import shown_together, small_mark, tells, withheld
from riskmodel.evaluation.metrics import wilson
from riskmodel.monitoring import writing
from riskmodel.monitoring.drift import INPUTS
from riskmodel.monitoring.funds import EXCEPTIONS
from riskmodel.monitoring.known import late_records
from riskmodel.monitoring.part import LEFT_OUT, without_list
from riskmodel.monitoring.support import COULD, FALLS
from riskmodel.months import month_text

OFFICE = ("recorded_late", "not_visited", "data_wrong")
"""Classes of misses that the office can mend."""
DEPENDENT = ("fully", "mainly")
_MOST_ALARMS = 2
_YEAR = 12
_TOO_FEW = Words("Too few cases to give a share.", "数量过少，不给出比例。")


@dataclass(frozen=True)
class Change:
    """A figure of the month at the months of the table's head, and its course over the year where it may be drawn."""

    words: Words
    cells: Sequence[str]
    course: Markup | None


@dataclass(frozen=True)
class Number:
    """One of the five numbers; without `value` the sentence `why` stands in its place."""

    title: Words
    value: str = ""
    reading: Words | None = None
    picture: Markup | None = None
    why: Words | None = None


@dataclass(frozen=True)
class Listing:
    """One of the five lists: what to do, columns with their kind, rows, totals, and the tables that hold all of it.

    Without rows because nothing could be told, `why` says so.
    """

    title: Words
    action: Words
    columns: Sequence[tuple[Words, str]] = ()
    rows: Sequence[Sequence[Words]] = ()
    total: Words | None = None
    files: Sequence[str] = ()
    why: Words | None = None


def alarms(report: Findings) -> dict[str, Any]:
    """Drift: the gravest alarms with what to do, those of the register's own columns first, and how many there are."""
    found = report.table("drift", "alarms")
    if found is None:
        return {"why": report.why("drift")}
    drift = report.found["drift"]
    if not drift.figures["tests"] and len(drift.notes) > 1:
        return {"why": Words(*drift.notes[1])}  # nothing was checked: that nothing alarmed would say nothing
    of_data = found["about"].eq(INPUTS)  # what the features, scores and causes rest on: mended first
    gravest = pd.concat([found[of_data], found[~of_data]]).head(_MOST_ALARMS)
    first = [Words(shortened(r.action_en, 320), shortened(r.action_zh, 160)) for r in gravest.itertuples()]
    return {
        "why": None,
        "n": len(found),
        "of_data": int(of_data.sum()),
        "tests": drift.figures["tests"],
        "first": first,
        "earlier": report.earlier("drift", "alarms"),
    }


def compared_months(report: Findings) -> list[int]:
    """The month, the one before it, and the same month of last year."""
    as_of, step = report.asked.as_of, report.asked.register.step_months
    return list(dict.fromkeys((as_of, as_of - step, as_of - _YEAR)))


def changes(report: Findings) -> list[Change]:
    """What the month brought, a row a figure that the register can give."""
    course = report.course
    if course is None:
        return []
    words = writing.words_of("month")
    places = [course.place(month) for month in compared_months(report)]
    found = []
    for column in words.bulletin["month_course"]:
        if column in course.columns and column not in _SIZE and not column.endswith(LEFT_OUT):
            printed, drawn = course.at_least(column), course.drawn(column)
            cells = [ABSENT if place is None else printed[place] for place in places]
            found.append(Change(Words(*words.column(column)), cells, course_svg(drawn) if drawn else None))
    return found


_SIZE = ("recorded",)
"""Figures of the month that say how much is on record, not what changed."""


def not_told(report: Findings) -> list[Words]:
    """Why figures of the month are missing or older, each reason once, and which scored months have no list."""
    unlisted = [Words(*note)] if (note := without_list(report.asked)) else []
    if "month" not in report.found:
        return [report.why("month"), *unlisted]
    if late := report.found["month"].figures.get("records_late_months"):
        unlisted.append(Words(*late_records(late)))
    return [*(Words(*note) for note in dict.fromkeys(report.found["month"].lacks.values())), *unlisted]


def numbers(report: Findings) -> list[Number]:
    """The five numbers."""
    return [_watched(report), _back(report), _in_time(report), _paid(report), _seen_coming(report)]


def lists(report: Findings) -> list[Listing]:
    """The five lists."""
    return [_stays(report), _no_rise(report), _books(report), _dependent(report), _to_mend(report)]


# --- the five numbers


def _watched(report: Findings) -> Number:
    """How many are in monitoring, or below the line where nobody is monitored."""
    titles = {
        "monitored": Words("Households in open monitoring", "风险未消除户"),
        "below_line": Words("Households below the line", "低于监测线户数"),
    }
    course = report.course
    column = next((c for c in titles if course is not None and c in course.columns), None)
    if course is None or column is None:
        return Number(titles["monitored"], why=report.why("month", "monitored"))
    values, drawn, first = course.values(column), course.drawn(column), course.table["as_of"].iloc[0]
    end = month_text(report.asked.last_month)
    reading = Words(f"at the end of {end}", f"{end}末")
    if drawn is not None and values[-1] is not None and values[-2] is not None:
        moved = round(values[-1] - values[-2])
        by = f"{'+' if moved > 0 else '−' if moved < 0 else '±'}{count(abs(moved))}"
        before = month_text(report.asked.as_of - report.asked.register.step_months)
        reading = Words(f"{by} against {before}; course since {first}", f"较{before} {by}；走势自{first}起")
    return Number(titles[column], course.at_least(column)[-1], reading, course_svg(drawn, tall=True) if drawn else None)


def _back(report: Findings) -> Number:
    """Of those that left monitoring (or rose above the line), those back within a year."""
    titles = {
        "monitoring": Words("Back in monitoring within {m} months", "{m}个月内再次纳入监测"),
        "poverty": Words("Below the line again within {m} months", "{m}个月内再次低于监测线"),
    }
    of = {
        "monitoring": Words("of 100 that left monitoring", "每100户风险消除户中"),
        "poverty": Words("of 100 that rose above it", "每100户升至线上的农户中"),
    }
    general = Words("Back within a year of leaving", "退出后一年内再次进入")
    told = report.table("spells", "reentry_by_month")
    if told is None or not len(told):
        return Number(general, why=report.why("spells", "reentry_by_month"))
    kind = "monitoring" if (told["kind"] == "monitoring").any() else "poverty"
    curve = told[(told["kind"] == kind) & (told["entry"] == "all")].sort_values("months")
    rows = curve[curve["months"] <= _YEAR]
    months = min(_YEAR, int(curve["months"].max())) if len(rows) else 0  # the curve stays where nothing happens
    followed = curve.loc[curve["months"] >= months, "at_risk"]
    if not len(rows) or min(rows["entered"].sum(), followed.iloc[0]) < report.least:
        return Number(general, why=_TOO_FEW)
    row = rows.iloc[-1]
    title = Words(*(text.format(m=months) for text in titles[kind]))
    return _of_hundred(title, row["back_share"], row["back_share_low"], row["back_share_high"], of[kind])


def _in_time(report: Findings) -> Number:
    title = Words("Help begun within 30 days of the need", "识别后30天内开始帮扶")
    told = report.table("assistance", "help_timeliness")
    if told is None:
        return Number(title, why=report.why("assistance", "help_timeliness"))
    row = told[told["within_days"] == 30].iloc[0]
    if not row["needs"] or not tells(int(row["helped"]), int(row["needs"]), report.least):
        return Number(title, why=_TOO_FEW)
    more = Words("", "")
    if not pd.isna(days := row["median_days"]):
        more = Words(f"; of those helped half within {days:.0f} days", f"；已受助户中位{days:.0f}天")
    of = Words("of 100 newly identified", "每100户新识别监测对象中")
    return _of_hundred(title, row["share"], row["share_low"], row["share_high"], of, more)


def _paid(report: Findings) -> Number:
    title = Words("Paid of what was planned", "资金拨付比例")
    figures = report.found["funds"].figures if "funds" in report.found else {}
    share = figures.get("paid_share")
    if share is None or pd.isna(share):
        return Number(title, why=report.why("funds", "fund_totals"))
    totals = report.found["funds"].tables["fund_totals"]
    whole = totals[totals["of_what"] == ALL].iloc[0]
    unknown = int(whole["not_compared"])
    if withheld(report.few(int(whole["grants"]) - unknown)):
        return Number(title, why=_TOO_FEW)
    compared, months = figures["planned_compared"], report.asked.rules.funds.months
    planned, paid = money(compared), money(share * compared)  # what was paid without a plan is no part
    more = Words("", "")
    if unknown:
        few = report.few(unknown)
        more = Words(f"; {few} incomplete grants left out", f"；另有{few}笔记录不全、未计入")
    reading = Words(
        f"{paid.en} of {planned.en} yuan for help offered in {months} months{more.en}",
        f"近{months}个月提供的帮扶：计划{planned.zh}元，已拨{paid.zh}元{more.zh}",
    )
    if any(withheld(report.few(unknown - int(whole[c]))) for c in ("plan_not_recorded", "amount_not_recorded")):
        reading = Words(  # with the sums of all in the details, yuan would tell those of a few grants
            f"for help offered in {months} months{more.en}", f"近{months}个月提供的帮扶{more.zh}"
        )
    picture = icon_array_svg(min(share, 1.0), Words("Of 100 yuan planned, those paid", "每100元计划资金中已拨付"))
    return Number(title, percent(share, 0), reading, picture)


def _seen_coming(report: Findings) -> Number:
    """Of those that returned, those on the list; of the last scored month of whose horizon the model had learned nothing."""
    title = Words("Returns that the list had seen", "返贫致贫前已在名单")
    told = report.table("misses", "miss_months")
    if told is None:
        return Number(title, why=report.why("misses"))
    news = told[~told["had_learned"].astype(bool)]
    if not len(news):
        return Number(title, why=report.why("misses", "seen_coming"))
    row = news.iloc[-1]
    found, returned = int(row["found"]), int(row["returned"])
    if not returned or not tells(found, returned, report.least):
        return Number(title, why=_TOO_FEW)
    low, high = wilson(found, returned)
    more = Words(f"; list of {row['as_of']}", f"；{row['as_of']}名单")
    if unknown := int(row["not_known"]):
        few, scored = report.few(unknown), count(int(row["scored"]))
        more = Words(f"{more.en}; of {scored} the outcome of {few} is not known", f"{more.zh}；{scored}户中{few}户结果未知")
    return _of_hundred(title, found / returned, low, high, Words("of 100 that returned", "每100户返贫致贫户中"), more)


def _of_hundred(title: Words, share: float, low: float, high: float, of: Words, more: Words | None = None) -> Number:
    more = more or Words("", "")
    ends = f"{of_100(low)}–{of_100(high)}"
    reading = Words(f"{of.en} (95% interval {ends}){more.en}", f"{of.zh}（95%区间{ends}）{more.zh}")
    return Number(title, of_100(share), reading, icon_array_svg(share, title))


# --- the five lists


def _stays(report: Findings) -> Listing:
    """The longest stays, then the most frequent entries that are not among them."""
    title = Words("Long or again in monitoring", "长时间监测与频繁进入")
    action = Words("Change the help; check what is due by right", "调整帮扶，核查应享保障")
    long, often = (report.table("spells", name) for name in ("long_stays", "frequent_entries"))
    if long is None or often is None:
        return Listing(title, action, why=report.why("spells"))
    if "poverty" in {*long["kind"], *often["kind"]}:
        title = Words("Long or again below the line", "长期低于监测线与多次跌落")
    most, rules = report.list_rows, report.asked.rules.spells
    first = max(most - len(often), -(-most // 2))
    longest = long.head(first)
    again = often[~often["household_id"].isin(longest["household_id"])]
    rows = [(r, Words(f"{r.months} months", f"{r.months}个月")) for r in longest.itertuples()]
    rows += [(r, Words(f"{r.entries} entries", f"进入{r.entries}次")) for r in again.head(most - len(rows)).itertuples()]
    before = [report.earlier("spells", f"{name}_households") for name in ("long_stays", "frequent_entries")]
    total = Words(
        f"{rules.long_stay_months} months or more: {count(len(long))}{before[0].en}; {rules.frequent_entries} entries or "
        f"more in {rules.frequent_window_months} months: {count(len(often))}{before[1].en}",
        f"满{rules.long_stay_months}个月：{count(len(long))}户{before[0].zh}；{rules.frequent_window_months}个月内进入"
        f"{rules.frequent_entries}次及以上：{count(len(often))}户{before[1].zh}",
    )
    helped = Words("help taken up", "已接受帮扶")
    columns = [(Words("household", "户编号"), KEY), (Words("why", "情形"), KEY), (helped, TEXT)]
    cells = [
        [household(r.household_id), why, report.kinds("spells", "measures", getattr(r, "measures", None))] for r, why in rows
    ]
    return Listing(title, action, columns, cells, total, ["spells/long_stays", "spells/frequent_entries"])


def _no_rise(report: Findings) -> Listing:
    """Households whose help has not raised income: those with a need that no help answers first, then the poorest."""
    months = report.asked.rules.assistance.review_months
    title = Words(f"No rise of income after {months} months of help", f"帮扶满{months}个月收入未升")
    action = Words(
        "Ask the household; change or add help, never end it for this", "入户了解，调整或增加帮扶，不得据此停止帮扶"
    )
    rows = report.table("assistance", "change_of_measure")
    if rows is None:
        return Listing(title, action, why=report.why("assistance", "change_of_measure"))
    before = report.earlier("assistance", "change_of_measure")
    columns = [
        (Words("household", "户编号"), KEY),
        (Words("income over the line", "收入/监测线"), KEY),
        (Words("needs not met", "未对应的需求"), TEXT),
    ]
    cells = [
        [
            household(r.household_id),
            same(f"{over_line(r.ratio_then)} → {over_line(r.ratio_now)}"),
            report.kinds("assistance", "unanswered", r.unanswered),
        ]
        for r in rows.head(report.list_rows).itertuples()
    ]
    total = Words(f"In all {count(len(rows))}{before.en}", f"共{count(len(rows))}户{before.zh}")
    return Listing(title, action, columns, cells, total, ["assistance/change_of_measure"])


def _books(report: Findings) -> Listing:
    """Rows of the books to look at by reason, with their sum and the unit that has most of them."""
    title = Words("Funds to look at", "需核对的资金")
    action = Words("Look into the books; a row may be right", "核对资金账目；所列记录未必有误")
    rows, files = report.table("funds", "fund_exceptions"), ("fund_exceptions", "help_without_need", "need_without_help")
    held = [f"funds/{name}" for name in files if report.table("funds", name) is not None]
    if not held:
        return Listing(title, action, why=report.why("funds"))
    reasons = {
        name: (report.said("funds", "exception", name), None if rows is None else rows[rows["exception"] == name])
        for name in EXCEPTIONS
    }
    reasons["without_need"] = (
        Words("help without a need on record", "未见需求记录的帮扶"),
        report.table("funds", "help_without_need"),
    )
    reasons["without_help"] = (
        Words("need on record without help (households)", "有需求而无对应帮扶（户）"),
        report.table("funds", "need_without_help"),
    )
    cells = []
    for words, of in (reasons[name] for name in _ORDER):
        if of is None or not len(of):
            continue
        small = withheld(report.few(len(of)))
        units = of["responsible_unit"].dropna().value_counts() if "responsible_unit" in of else pd.Series(dtype=int)
        most = sorted(units[units == units.max()].index)[:1]
        yuan, told, untold = _in_question(of)
        if small or not told or withheld(report.few(told)):
            said = same(ABSENT)
        else:
            said = Words(*(f"{AT_LEAST}{text}" if untold else text for text in money(yuan)))
        cells.append([
            words,
            same(report.few(len(of))),
            said,
            same(ABSENT) if small or not most else report.said("funds", "responsible_unit", most[0]),
        ])  # fmt: skip
    columns = [
        (Words("reason", "原因"), TEXT),
        (Words("rows", "笔数"), NUMBER),
        (Words("yuan", "金额（元）"), NUMBER),
        (Words("most at", "最多的单位"), TEXT),
    ]
    rules = report.asked.rules.funds
    total = Words(
        f"Help offered in {rules.months} months, held against needs in {rules.need_months}",
        f"近{rules.months}个月提供的帮扶；与需求对应的为近{rules.need_months}个月",
    )
    return Listing(title, action, columns, cells[: report.list_rows + 1], total, held)


def _in_question(rows: pd.DataFrame) -> tuple[float, int, int]:
    """Yuan that rows of the books are about, of how many they are, and of how many the amount is not on record.

    What was paid counts; where nothing was paid yet, what was planned, and no yuan where the rows hold no plans. A day
    without an amount is a payment of an unknown amount, whatever was planned.
    """
    if "paid" not in rows:
        return float("nan"), 0, 0
    untold = rows["paid"].isna() & (rows["paid_on"].notna() if "paid_on" in rows else False)
    yuan = rows["paid"].astype(float)
    if "planned" in rows:
        yuan = yuan.fillna(rows["planned"].astype(float)).mask(untold)
        untold |= yuan.isna()
    return yuan.sum(min_count=1), int(yuan.notna().sum()), int(untold.sum())


_ORDER = (*EXCEPTIONS[:3], "without_need", "without_help", *EXCEPTIONS[3:])


def _dependent(report: Findings) -> Listing:
    """The projects that rest on support, and who would cross a line without it."""
    title = Words("Projects that rest on support", "依赖政策支持的产业项目")
    action = Words("Look for what bears itself; keep support until then", "寻找可自立的产业，此前不撤支持")
    rows = report.table("industries", "projects")
    if rows is None:
        return Listing(title, action, why=report.why("industries", "projects"))
    rows = rows[rows["dependence"].isin(DEPENDENT)]
    off = report.table("industries", "support_off")
    if off is None:
        told = report.why("industries", "support_off")
    else:
        falls, could = (report.few(int(off["grade"].eq(grade).sum())) for grade in (FALLS, COULD))
        told = Words(
            f"With support off {falls} households fall below the line by the books and {could} more could fall: a question "
            "to the model, no forecast",
            f"停止支持情景：按账面{falls}户将低于监测线，另有{could}户可能返贫；这是对模型的提问，不是预测",
        )
    before = report.earlier("industries", *(f"projects_{grade}" for grade in DEPENDENT))
    total = Words(
        f"Fully or mainly dependent: {count(len(rows))}{before.en}. {told.en.removesuffix('.')}",
        f"完全或主要依赖：{count(len(rows))}个{before.zh}。{told.zh.removesuffix('。')}",
    )
    columns = [
        (Words("project", "项目"), TEXT),
        (Words("depends", "依赖程度"), KEY),
        (Words("support / revenue", "支持/收入"), NUMBER),
        (Words("households", "户数"), NUMBER),
    ]
    cells = [
        [
            Words(*(f"{household(r.project_id).en} {text}" for text in report.said("industries", "industry", r.industry))),
            report.said("industries", "dependence", r.dependence),
            same(percent(r.support_share, 0)),
            same(ABSENT if pd.isna(r.households) else report.few(int(r.households))),
        ]
        for r in rows.head(report.list_rows).itertuples()
    ]
    files = ["industries/projects", *(["industries/support_off"] if off is not None else [])]
    return Listing(title, action, columns, cells, total, files)


def _to_mend(report: Findings) -> Listing:
    """The misses that lie with the process, most frequent first."""
    title = Words("Misses that the office can mend", "可由工作部门改进的偏差")
    action = Words("Mend the process: record in time, visit, check the data", "改进流程：及时录入、走访、核对数据")
    rows = report.table("misses", "miss_classes")
    if rows is None:
        return Listing(title, action, why=report.why("misses"))
    n = [report.few(int(rows.loc[rows["miss"] == miss, "misses"].sum())) for miss in ("missed_return", "false_alert")]
    mark = small_mark(report.least)
    printed = [shown_together(of["misses"].tolist(), report.least, mark) for _, of in rows.groupby("miss", sort=False)]
    rows = rows.assign(printed=[cell for group in printed for cell in group])
    rows = rows[rows["miss_class"].isin(OFFICE)].sort_values("misses", ascending=False, kind="stable")
    columns = [
        (Words("class", "类别"), KEY),
        (Words("kind of miss", "偏差"), KEY),
        (Words("number", "数量"), NUMBER),
        (Words("share (interval)", "比例（区间）"), NUMBER),
    ]
    cells = [
        [
            report.said("misses", "miss_class", r.miss_class),
            report.said("misses", "miss", r.miss),
            same(r.printed),
            same(ABSENT if withheld(r.printed) else between(r.share, r.share_low, r.share_high)),
        ]
        for r in rows[rows["misses"] > 0].head(report.list_rows).itertuples()
    ]
    total = Words(
        f"Of {n[0]} missed returns and {n[1]} alerts that did not return (95% intervals); most alerts do not return "
        "even where the risk is right",
        f"遗漏{n[0]}例，预警后未返贫{n[1]}例（95%区间）；即使风险判断正确，多数预警户也不会返贫",
    )
    return Listing(title, action, columns, cells, total, ["misses/misses", "misses/miss_townships"])
