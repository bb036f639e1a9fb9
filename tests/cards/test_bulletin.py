"""The bulletin: true to the findings, honest about what is not there, and no count tells of a few households."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.cards.bulletin import bulletin, earlier_report
from riskmodel.cards.details import _figure, details
from riskmodel.cards.findings import Findings
from riskmodel.cards.front_page import Number, changes, lists, numbers
from riskmodel.cards.rendering import Words
from riskmodel.errors import NotFound, UsageError
from riskmodel.explain.causes import VERDICTS, verdict_words
from riskmodel.monitoring.part import Found
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.running import PARTS
from riskmodel.monitoring.writing import words_of
from riskmodel.register import commit_directory
from tests.cards.findings import ACTIONS, AS_OF, NEEDS, READING, asked, course, found, listed
from tests.cards.months import HOSTILE
from tests.cards.page import CJK, Page

HOUSEHOLD = re.compile(r"\b[HFCBWNMO]\d\d\b")


@pytest.fixture(scope="module")
def html() -> str:
    return bulletin(asked(), found())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def front(page: Page, lang: str = "en") -> str:
    return page.text(lang).split("The details behind" if lang == "en" else "详细内容")[0]


def test_the_five_numbers_are_those_of_the_findings_with_their_intervals() -> None:
    made = numbers(Findings(asked(), found()))
    assert [n.value for n in made] == ["189", "7.5", "12", "73%", "75"]
    assert made[0].reading.en == "+9 against 2024-05; course since 2023-06"
    assert made[1].reading.en == "of 100 that left monitoring (95% interval 5.5–10)"
    assert "95% interval 8.7–17" in made[2].reading.en
    assert made[3].reading.zh == "近12个月提供的帮扶：计划700.0万元，已拨510.0万元"
    assert "list of 2023-12" in made[4].reading.en


def test_what_changed_stands_against_last_month_and_last_year(page: Page) -> None:
    rows = {c.words.en: list(c.cells) for c in changes(Findings(asked(), found()))}
    assert rows["in open monitoring"] == ["189", "180", "150"]
    assert rows["entered monitoring"] == ["31", "20", "20"]
    assert rows["new on the visiting list"] == ["30", "45", "–"]
    assert rows["paid (yuan)"] == ["655,922", "600,000", "600,000"]
    assert "2024-06 2024-05 2023-06" in front(page).replace("2024-062024-052023-06", "2024-06 2024-05 2023-06")


def test_the_five_lists_are_short_and_name_the_tables_that_hold_the_rest(page: Page) -> None:
    made = lists(Findings(asked(), found()))
    assert [len(listing.rows) for listing in made] == [4, 4, 4, 2, 4]
    stays, no_rise, books, projects, misses = ([[cell.en for cell in row] for row in listing.rows] for listing in made)
    assert [row[:2] for row in stays] == [
        ["H01", "33 months"],
        ["H02", "32 months"],
        ["F01", "2 entries"],
        ["F02", "2 entries"],
    ]
    assert stays[2][2] == "health ×1; industry ×2; +1"
    assert [row[0] for row in no_rise] == ["C01", "C02", "C03", "C04"], "in the order of the table"
    assert books[0] == ["same kind paid twice within the period", "12", "12,000", "office of labour"]
    assert projects[0] == ["P1 tea", "fully dependent", "52%", "16"]
    assert misses[0] == ["not visited", "alert that did not return", "34", "39% (30–50)"]
    text = front(page)
    for file in ("spells/long_stays", "assistance/change_of_measure", "funds/fund_exceptions", "industries/projects"):
        assert file in text
    assert "18 months or more: 14; 2 entries or more in 36 months: 12" in text
    assert "With support off 14 households fall below the line by the books and 11 more could fall" in text


def test_a_drift_alarm_comes_with_what_to_do_about_it(page: Page) -> None:
    assert "1 alarm of drift in 155 checks" in front(page)
    assert ACTIONS[0] in front(page) and ACTIONS[1] in front(page, "zh")
    quiet = found()["drift"]
    none = Found({"alarms": quiet.tables["alarms"].head(0)}, {"alarms": 0, "tests": 155})
    assert "No alarm in 155 checks" in front(Page(bulletin(asked(), found(drift=none))))


def test_an_alarm_of_the_data_stands_on_the_first_page_before_those_of_features_however_many() -> None:
    data = found()["drift"].tables["alarms"]
    features = [data.assign(about="features", action_en=f"Feature {k}.", action_zh=f"特征{k}。") for k in range(5)]
    many = Found({"alarms": pd.concat([*features, data], ignore_index=True)}, {"alarms": 6, "tests": 400})
    page = Page(bulletin(asked(), found(drift=many)))
    assert "6 alarms of drift in 400 checks, in the columns of the register: 1" in front(page)
    assert "400项漂移检查中6项报警，其中登记数据字段1项" in front(page, "zh")
    assert ACTIONS[0] in front(page) and ACTIONS[1] in front(page, "zh")
    assert "Feature 0." in front(page) and "Feature 1." not in front(page)


def test_a_month_without_any_check_of_drift_does_not_say_that_none_alarmed() -> None:
    short = ("The register does not reach back to the same month of last year.", "登记数据不足一年。")
    nothing = Found({"alarms": found()["drift"].tables["alarms"].head(0)}, {"alarms": 0, "tests": 0}, [READING, short])
    page = Page(bulletin(asked(), found(drift=nothing)))
    assert short[0] in front(page) and short[1] in front(page, "zh")
    assert "No alarm in 0" not in front(page)


def test_totals_are_held_against_an_earlier_report_where_one_is_named() -> None:
    before = {"as_of": "2024-03", "parts": {"spells": {"long_stays_households": 9, "frequent_entries_households": 11},
                                            "industries": {"projects_fully": 2, "projects_mainly": 3}}}  # fmt: skip
    text = front(Page(bulletin(asked(), found(), before)))
    assert "18 months or more: 14 (in 2024-03: 9)" in text
    assert "Fully or mainly dependent: 2 (in 2024-03: 5)" in text
    assert "In all 11." in text, "what the earlier report does not hold is not made up"
    assert "No earlier report was named" not in text
    assert "No earlier report was named" in front(Page(bulletin(asked(), found())))


def test_a_part_that_could_not_run_says_why_and_draws_nothing() -> None:
    silent = {part.name: Found({}, notes=[(f"{part.name} cannot be told.", f"{part.name}无法统计。")]) for part in PARTS}
    html = bulletin(asked(), silent)
    page = Page(html)
    assert not [tag for tag, attributes in page.tags if tag == "svg"]
    for part in PARTS:
        assert f"{part.name} cannot be told." in page.text("en") and f"{part.name}无法统计。" in page.text("zh")
    assert "month cannot be told." in front(page)
    some = bulletin(asked(), {"spells": found()["spells"]})
    assert "The part funds was not asked for (--parts)." in front(Page(some))


def test_a_table_that_is_missing_is_explained_by_its_own_note() -> None:
    lacking = found()["assistance"]
    tables = {name: table for name, table in lacking.tables.items() if name == "help_effects"}
    reason = ("No monitoring spells are held.", "没有监测台账。")
    part = Found(tables, {}, [READING, reason], dict.fromkeys(("help_timeliness", "change_of_measure"), reason))
    report = Findings(asked(), found(assistance=part, misses=Found({}, notes=[NEEDS])))
    assert numbers(report)[2].why == reason and lists(report)[1].why == reason
    assert numbers(report)[4].why == NEEDS and lists(report)[4].why == NEEDS


def test_without_monitoring_the_numbers_are_those_of_the_line() -> None:
    spells = found()["spells"]
    poor = {name: table.assign(kind="poverty") for name, table in spells.tables.items()}
    month = course().drop(columns=["monitored", "entered", "left"])
    part = Found({"month_course": month}, lacks={"monitored": ("Nobody is monitored.", "无监测户。")})
    report = Findings(asked(), found(spells=Found(poor), month=part))
    assert [n.title.en for n in numbers(report)[:2]] == [
        "Households below the line",
        "Below the line again within 12 months",
    ]
    assert lists(report)[0].title.en == "Long or again below the line"
    assert "Nobody is monitored." in front(Page(bulletin(asked(), report.found)))


def test_the_first_page_says_that_the_line_is_told_by_the_month_before_where_records_come_late() -> None:
    late = Found({"month_course": course()}, {"monitored": 189, "records_late_months": 1}, [])
    said = front(Page(bulletin(asked(), found(month=late))))
    assert "Records come to be known after the last day of their period" in said


def test_a_list_that_the_model_had_learned_from_is_no_number_of_the_first_page() -> None:
    misses = found()["misses"]
    months = pd.concat(
        [misses.tables["miss_months"], misses.tables["miss_months"].assign(as_of="2024-03", had_learned=True)]
    )
    assert numbers(Findings(asked(), found(misses=replace(misses, tables={"miss_months": months}))))[4].value == "75"
    reason = ("The model had learned from them.", "模型训练时已用到。")
    learned = replace(misses, tables={"miss_months": months.iloc[1:]}, lacks={"seen_coming": reason})
    assert numbers(Findings(asked(), found(misses=learned)))[4].why == reason


@pytest.mark.parametrize(
    ("unknown", "said"),
    [(310, "of 2,600 the outcome of 310 is not known"), (4, "of 2,600 the outcome of <10 is not known"), (0, "")],
)
def test_the_first_page_says_of_how_many_the_outcome_is_not_known_yet(unknown: int, said: str) -> None:
    told = found()
    told["misses"].tables["miss_months"]["not_known"] = unknown
    reading = numbers(Findings(asked(), told))[4].reading.en
    assert said in reading and ("not known" in reading) == bool(unknown)


def test_no_number_speaks_for_a_few_households() -> None:
    few = found()
    few["assistance"].tables["help_timeliness"].loc[0, ["needs", "helped"]] = [255, 4]
    few["misses"].tables["miss_months"].loc[0, "found"] = 55
    few["spells"].tables["reentry_by_month"]["entered"] = 2
    few["funds"].tables["fund_totals"].loc[0, "grants"] = 9
    made = numbers(Findings(asked(), few))
    assert [bool(n.value) for n in made] == [True, False, False, False, False]
    assert made[2].why.en == "Too few cases to give a share."


def test_entries_and_exits_that_give_each_other_away_are_withheld_together_in_the_table_and_the_details() -> None:
    part = Found({"month_course": course(entered=[20, 14], left=[12, 5])})
    report = Findings(asked(), found(month=part))
    rows = {c.words.en: c for c in changes(report)}
    assert rows["entered monitoring"].cells[0] == rows["left monitoring"].cells[0] == "*"
    assert rows["entered monitoring"].cells[1] == "20"
    assert rows["entered monitoring"].course is None, "a line would show what the figure withholds"
    assert rows["in open monitoring"].course is not None
    table = next(d for d in details(report) if d.name == "month").tables[0]
    last = [cell.en for cell, _ in table.rows[-1]]
    assert "14" not in last and "5" not in last and last.count("*") == 2


def test_small_counts_of_a_breakdown_are_withheld_with_what_would_give_them_away(page: Page) -> None:
    report = Findings(asked(), found())
    books = [[cell.en for cell in row] for row in lists(report)[2].rows]
    assert "paid late" not in {row[0] for row in books[:1]}
    late = next(row for row in books if row[0] == "paid late")
    assert late[1:] == ["<10", "–", "–"]
    assert lists(report)[3].rows[1][3].en == "<10"
    recorded_late = next(row for row in lists(report)[4].rows if row[0].en == "recorded late" and "return not" in row[1].en)
    assert recorded_late[2].en == "<10" and recorded_late[3].en == "–"
    totals = next(t for d in details(report) for t in d.tables if t.file == "funds/fund_totals")
    water = [cell.en for cell, _ in totals.rows[2]]
    assert water[1:4] == ["safe water", "<10", "<10"] and set(water[4:]) == {"*"}, "its sums and shares are withheld as well"
    exits = next(t for d in details(report) for t in d.tables if t.file == "spells/exits")
    shown = [[cell.en for cell, _ in row] for row in exits.rows]
    assert shown[0][2] == "*", "with the total it would give the other away"
    assert shown[1][2] == "<10"


def test_needs_are_listed_where_the_books_hold_no_amounts() -> None:
    books, why = found(), ("no amounts", "没有金额")
    tables = {name: rows for name, rows in books["funds"].tables.items() if "need" in name}
    made = Findings(asked(), {**books, "funds": Found(tables, lacks={"fund_totals": why})})
    listing = lists(made)[2]
    assert [row[0].en for row in listing.rows] == [
        "help without a need on record",
        "need on record without help (households)",
    ]
    assert listing.files == ["funds/help_without_need", "funds/need_without_help"]
    tables["help_without_need"]["paid"] = np.nan
    assert lists(made)[2].rows[0][2].en == "–", "a sum that nobody knows is not nought"
    assert numbers(made)[3].why == why


def test_what_was_paid_without_a_plan_is_no_part_of_what_was_planned() -> None:
    assert paid_of([15, 10, 25]).reading.en.startswith("800 of 1,000 yuan"), "of the other 500 nobody knows what was paid"
    assert paid_of([15, 10, 25]).reading.en.endswith("; 25 incomplete grants left out")


def paid_of(left_out: list[int]) -> Number:
    """What the first page says of 260 grants, of which so many have no plan, no amount, or not both."""
    books = found()
    columns = dict(zip(("plan_not_recorded", "amount_not_recorded", "not_compared"), left_out, strict=True))
    totals = books["funds"].tables["fund_totals"].assign(**{name: [n, n, 0] for name, n in columns.items()})
    told = {"planned": 1500.0, "paid": 9000.0, "paid_share": 0.8, "planned_compared": 1000.0}
    return numbers(Findings(asked(), {**books, "funds": Found({"fund_totals": totals}, told)}))[3]


def test_a_share_of_the_plan_is_not_told_by_a_few_grants() -> None:
    """Of 260 grants 251 have no amount on record: nine are not told."""
    assert paid_of([0, 251, 251]).why is not None and paid_of([0, 250, 250]).why is None


def test_the_yuan_of_a_few_grants_are_not_those_of_all_less_those_compared() -> None:
    assert paid_of([0, 4, 4]).reading == Words(
        "for help offered in 12 months; <10 incomplete grants left out", "近12个月提供的帮扶；另有<10笔记录不全、未计入"
    )
    assert paid_of([20, 20, 25]).reading.en.startswith("for help"), "five have a plan and a payment of an unknown amount"


def in_question(rows: pd.DataFrame) -> str:
    parts = found()
    parts["funds"].tables["fund_exceptions"] = rows
    listing = lists(Findings(asked(), parts))[2]
    return listing.rows[0][2].en


def test_a_sum_in_question_says_that_it_is_not_the_whole() -> None:
    """Of 25 payments the amount of 5, and of 20, is not on record; what was planned is not what was paid."""
    rows = listed(25, "B", exception="paid_twice", measure="training", paid_on=pd.Timestamp("2024-03-05"), planned=900.0)
    assert in_question(rows.assign(paid=1000.0)) == "25,000"
    assert in_question(rows.assign(paid=[np.nan] * 5 + [1000.0] * 20)) == "≥20,000"
    assert in_question(rows.assign(paid=[np.nan] * 20 + [1000.0] * 5)) == "–", "the sum of five is no sum of many"
    unpaid = rows.assign(exception="not_paid_yet", paid=np.nan, paid_on=pd.NaT)
    assert in_question(unpaid) == "22,500", "what waits to be paid is what was planned"


def test_what_was_paid_of_help_without_a_need_is_no_sum_of_a_few_rows() -> None:
    """Of 25 grants without a need on record one was paid, and the others wait for their payment."""
    parts = found()
    paid = [553.0] + [np.nan] * 24
    rows = listed(25, "W", measure="training", paid_on=pd.NaT, paid=paid, responsible_unit="office of labour")
    parts["funds"].tables["help_without_need"] = rows
    listing = next(row for row in lists(Findings(asked(), parts))[2].rows if row[0].en.startswith("help without"))
    assert [cell.en for cell in listing[1:3]] == ["25", "–"]


def shown_of(part: str, name: str, table: pd.DataFrame, *heads: str) -> list[list[str]]:
    """What the details show of a table under some heads, row by row."""
    parts = {**found(), part: Found({name: table})}
    made = next(t for d in details(Findings(asked(), parts)) for t in d.tables if t.file == f"{part}/{name}")
    at = [[head.en for head, _ in made.columns].index(head) for head in heads]
    return [[row[i][0].en for i in at] for row in made.rows]


def test_sums_of_grants_of_which_few_are_on_record_are_withheld_with_what_would_give_them_away() -> None:
    """Of 40 grants for water the plan of all and the amount of six is known; training is all but water."""
    totals = found()["funds"].tables["fund_totals"].assign(
        grants=[240, 200, 40], households_reached=[230, 195, 35], planned=[7e6, 6e6, 1e6],
        amount_not_recorded=[34, 0, 34], not_compared=[34, 0, 34],
    )  # fmt: skip
    heads = ("grants", "planned (yuan)", "paid (yuan)", "paid of planned")
    assert shown_of("funds", "fund_totals", totals, *heads) == [
        ["240", "7,000,000", "5,100,000", "72.9%"], ["200", "6,000,000", "*", "*"], ["40", "1,000,000", "*", "*"],
    ]  # fmt: skip
    drawn = {**found(), "funds": Found({"fund_totals": totals})}
    assert all("water" not in svg for d in details(Findings(asked(), drawn)) for _, svg in d.charts if d.name == "funds")


def test_what_industries_bring_is_not_told_by_a_few_households() -> None:
    industries = pd.DataFrame({
        "county_id": ["A", "A", "B"], "industry": ["tea", "fruit", "tea"], "main_households": [90, 0, 80],
        "linked_households": [0, 3, 30], "income_recorded": [170, 170, 9], "income_not_recorded": [0, 0, 71],
        "income_share": [0.4, 0.1, 0.3], "shocked_share": [0.5, np.nan, 2 / 80],
    })  # fmt: skip
    assert shown_of("industries", "industries", industries, "share of income", "share struck in a year") == [
        ["40.0%", "50.0%"], ["*", "–"], ["*", "*"],
    ]  # fmt: skip


def test_what_a_village_lives_on_is_not_told_by_the_few_whose_production_is_on_record() -> None:
    areas = pd.DataFrame({"level": "village", "county_id": "A", "township_id": "t", "village_id": ["v1", "v2"],
                          "households": 40, "production_not_recorded": [37, 12], "effective_number": [1.4, 2.2],
                          "largest_industry": "tea", "largest_share": [0.83, 0.5]})  # fmt: skip
    heads = ("effective number of industries", "largest industry", "its share")
    assert shown_of("industries", "concentration", areas, *heads) == [["*", "*", "*"], ["2.20", "tea", "50.0%"]]


def test_help_of_which_few_are_known_to_be_completed_has_no_share() -> None:
    measures = pd.DataFrame({
        "measure": ["health", "water"], "offers": 60, "answered": 60, "taken_up": [60, 40], "refused_share": [0.0, 1 / 3],
        "days_to_start": 30.0, "ended": [50, 50], "completion_not_recorded": [47, 30], "completed_share": [2 / 3, 0.75],
    })  # fmt: skip
    told = shown_of("assistance", "help_measures", measures, "refused share", "completed share, of those known")
    assert told == [["0.0%", "*"], ["33.3%", "75.0%"]]
    few = measures.assign(offers=80, answered=62, taken_up=60, refused_share=2 / 62)
    assert shown_of("assistance", "help_measures", few, "refused share") == [["*"], ["*"]], "two refused, 18 said nothing"


def test_what_a_sum_leaves_out_stands_beside_it_where_anything_is_left_out() -> None:
    def columns(totals: pd.DataFrame) -> list[str]:
        parts = found()
        parts["funds"].tables["fund_totals"] = totals
        table = next(t for d in details(Findings(asked(), parts)) for t in d.tables if t.file == "funds/fund_totals")
        return [head.en for head, _ in table.columns] + [cell.en for cell, _ in table.rows[0]]

    totals = found()["funds"].tables["fund_totals"].assign(amount_not_recorded=0, plan_not_recorded=[4, 4, 0])
    assert "grants, plan not on record" in columns(totals) and "paid, amount not on record" not in columns(totals)
    assert columns(totals)[-4:] == ["4", "5,100,000", "72.9%", "60"], "four rows of the books are not four households"


def test_the_first_page_says_at_least_where_amounts_or_incomes_of_a_month_are_not_on_record() -> None:
    told = found(month=Found({"month_course": course(amount_not_recorded=[0, 3], income_not_recorded=[0])}))
    rows = {c.words.en: c.cells[:2] for c in changes(Findings(asked(), told))}
    assert rows["paid (yuan)"] == ["≥655,922", "600,000"] and rows["below the line"] == ["70", "60"]
    assert not [name for name in rows if "not on record" in name], "how many stands in the details"
    table = next(d for d in details(Findings(asked(), told)) if d.name == "month").tables[0]
    assert table.columns[-2][0].en == "paid, amount not on record"


def test_every_way_in_which_funds_are_divided_is_shown() -> None:
    parts = found()
    grants = [18] * 13 + [26]
    by = [pd.DataFrame({"by": b, "of_what": [f"{b} {i}" for i in range(14)], "grants": grants}) for b in ("unit", "source")]
    totals = pd.concat([parts["funds"].tables["fund_totals"], *by], ignore_index=True)
    parts["funds"].tables["fund_totals"] = totals
    tables = {t.file: t for d in details(Findings(asked(), parts)) for t in d.tables}
    shown = [row[0][0].en for row in tables["funds/fund_totals"].rows]
    assert [shown.count(way) for way in ("kind of help", "responsible unit", "fund source")] == [3, 12, 12]


def test_the_shares_of_sources_do_not_tell_what_the_sums_of_sources_withhold() -> None:
    parts = found()
    sources = {"county_id": "*", "fund_source": ["a", "b"], "paid": [3.0, 90.0], "source_share": [0.03, 0.97], "hhi": 0.9}
    parts["funds"].tables["fund_sources"] = pd.DataFrame(sources)
    funds = next(d for d in details(Findings(asked(), parts)) if d.name == "funds")
    assert "funds/fund_sources" not in [t.file for t in funds.tables]
    assert "funds/fund_sources" in [file for _, file in funds.others]


def test_the_industries_of_a_few_households_are_not_told_by_their_shares() -> None:
    areas = pd.DataFrame({"level": "village", "county_id": "A", "township_id": "t", "village_id": ["v1", "v2"],
                          "households": [3, 40], "effective_number": [1.4, 2.2], "largest_industry": "tea",
                          "largest_share": [0.83, 0.5]})  # fmt: skip
    parts = {**found(), "industries": Found({"concentration": areas})}
    (table,) = next(d for d in details(Findings(asked(), parts)) if d.name == "industries").tables
    assert [[row[4][0].en, row[6][0].en] for row in table.rows] == [["*", "*"], ["2.20", "50.0%"]]


def test_a_unit_that_is_named_like_a_kind_of_help_is_told_as_the_unit() -> None:
    books = found()
    totals = books["funds"].tables["fund_totals"]
    books["funds"].tables["fund_totals"] = pd.concat([totals, totals[1:].assign(by="unit", of_what=["water", "housing"])])
    table = next(t for d in details(Findings(asked(), books)) for t in d.tables if t.file == "funds/fund_totals")
    assert [row[1][0] for row in table.rows] == [
        ("all", "全部"), ("training", "技能培训"), ("safe water", "饮水安全保障"),
        ("water", "水利部门"), ("housing", "住房城乡建设部门"),
    ]  # fmt: skip


def test_counts_that_are_printed_as_text_stand_on_the_right_like_numbers() -> None:
    townships = pd.DataFrame({"township_id": ["101"], "miss": "missed_return", "not_visited": "<10", "model_error": "1,204"})
    parts = found(misses=Found({"miss_townships": townships}))
    (table,) = next(d for d in details(Findings(asked(), parts)) if d.name == "misses").tables
    assert [kind for _, kind in table.columns] == ["key", "text", "number", "number"]


def test_days_are_told_to_a_tenth() -> None:
    parts = found()
    parts["assistance"].tables["help_timeliness"]["median_days"] = [61.5, 78.0]
    tables = next(d for d in details(Findings(asked(), parts)) if d.name == "assistance").tables
    (timeliness,) = [t for t in tables if t.file == "assistance/help_timeliness"]
    assert [row[-1][0].en for row in timeliness.rows] == ["61.5", "78"]


def test_the_number_of_misses_is_withheld_where_it_is_small() -> None:
    few = found()
    few["misses"].tables["miss_classes"]["misses"] = [0, 1, 0, 14, 34, 40]
    report = Findings(asked(), few)
    assert "Of <10 missed returns and 88 alerts" in lists(report)[4].total.en
    table = next(t for d in details(report) for t in d.tables if t.file == "misses/miss_classes")
    assert [row[3][0].en for row in table.rows[:3]] == ["*"] * 3, "the interval of nought of one tells the one"


def test_a_curve_stays_as_it_was_in_months_in_which_nobody_left_or_came_back() -> None:
    """Who left is followed to the thirteenth month; nobody came back, and nobody was lost, in the twelfth."""
    parts = found()
    parts["spells"].tables["reentry_by_month"]["months"] = [3, 6, 11, 13]
    back = numbers(Findings(asked(), parts))[1]
    assert back.title.en == "Back in monitoring within 12 months" and back.value == "5"
    line = pd.DataFrame({"share": [0.9, 0.7], "share_low": 0.5, "share_high": 0.95}, index=[2, 7])
    assert [_figure(line, month, "share") and _figure(line, month, "share")["value"] for month in (1, 2, 6, 7, 9)] == [
        None, 0.9, 0.9, 0.7, None,
    ]  # fmt: skip


def test_the_chart_of_the_classes_leaves_out_what_would_tell_a_small_one() -> None:
    """Of 35 missed returns 3 were recorded late, 12 not visited, 20 the model's: the shares of two tell the third."""
    ((_, drawn),) = next(d for d in details(Findings(asked(), found())) if d.name == "misses").charts
    assert "model error" in drawn and "not visited" not in drawn and "recorded late" not in drawn


def test_help_in_time_keeps_its_days_where_few_were_helped_by_then() -> None:
    few = found()
    few["assistance"].tables["help_timeliness"].loc[0, ["helped", "share"]] = [4, 4 / 255]
    table = next(t for d in details(Findings(asked(), few)) for t in d.tables if t.file == "assistance/help_timeliness")
    shown = [[cell.en for cell, _ in row] for row in table.rows]
    assert shown[0][:4] == ["30", "255", "<10", "*"] and shown[1][:3] == ["90", "235", "119"]


def test_the_smallest_cell_is_a_rule_of_the_county() -> None:
    rules = Rules(bulletin={"smallest_cell": 20})
    report = Findings(asked(rules=rules), found())
    assert lists(report)[3].rows[0][3].en == "<20"
    assert "a count below 20 households" in front(Page(bulletin(report.asked, report.found)))
    with pytest.raises(ValueError, match="smallest_cell"):
        Rules(bulletin={"smallest_cell": 4})


def test_households_are_named_in_lists_alone_and_no_list_is_longer_than_it_says(html: str) -> None:
    undrawn = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
    assert len(HOUSEHOLD.findall(undrawn)) > 100
    for shown in HOUSEHOLD.finditer(undrawn):
        before = undrawn[: shown.start()]
        assert before.rindex("<td") > before.rindex("</td"), "an id stands in a cell of a table"
    report = Findings(asked(), found())
    for detail in details(report):
        for table in detail.tables:
            if table.households:
                assert len(table.rows) <= report.asked.rules.bulletin.table_rows
    text = Page(html).text("en")
    assert "12 of 14 rows; all of them: spells/long_stays" in text
    assert "H12" in text and "H13" not in text and "B13" not in text


def test_results_of_help_are_never_told_as_proof(page: Page) -> None:
    for lang, said in (("en", "No figure here proves that help worked or failed"), ("zh", "不能证明帮扶有效或无效")):
        assert said in front(page, lang)
    text = page.text("en")
    assert READING[0] in text and READING[1] in page.text("zh")
    assert text.index(READING[0]) < text.index("Differences that go with help, as far as they can be told (no proof)")
    assert "difference that a hidden factor of that kind would not do away with (no proof)" in text
    assert "−0.050−0.080 – −0.020" in text
    assert not re.search(r"help (works|worked|caused|saved|prevented)\b(?! or failed)", text)


def test_both_languages_are_complete(page: Page) -> None:
    assert len(page.texts["en"]) == len(page.texts["zh"]) > 300
    assert not [text for text in page.texts["en"] if CJK.search(text)]
    left = {text for text in page.texts["zh"] if re.search("[a-z]{4}", text) and not CJK.search(text)}
    assert left <= {"office of labour", "agriculture"}, "only names of the register stay as they are"


def test_no_name_of_the_register_is_taken_for_code() -> None:
    parts = found()
    n = len(HOSTILE)
    parts["spells"].tables["long_stays"].loc[: n - 1, "household_id"] = list(HOSTILE)
    parts["spells"].tables["long_stays"].loc[: n - 1, "measures"] = list(HOSTILE)
    parts["funds"].tables["fund_exceptions"]["responsible_unit"] = HOSTILE[1]
    parts["industries"].tables["projects"]["reason_en"] = HOSTILE[4]
    html = bulletin(asked(source=HOSTILE[1]), parts)
    page = Page(html)
    assert "<script" not in html and not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "{{7*7}}" in html and "\u202e" not in html
    assert HOSTILE[1] in page.text("en")


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert not {"src", "onload", "onclick"} & set(attributes)
        assert tag != "a" or attributes["href"].startswith("#")


def test_links_lead_to_parts_of_the_page(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"} <= set(ids)


def test_the_same_findings_are_the_same_bytes() -> None:
    assert bulletin(asked(), found()) == bulletin(asked(), found())


def test_a_machine_without_a_chinese_font_says_so_on_the_page() -> None:
    assert "No Chinese font was found" in bulletin(asked(), found(), no_font=True)
    assert "No Chinese font was found" not in bulletin(asked(), found())


def test_a_register_of_years_is_compared_with_the_year_before_once() -> None:
    assert len(changes(Findings(asked(step_months=12), found()))[0].cells) == 2


def test_what_the_bulletin_shows_of_a_table_has_its_words() -> None:
    for part in PARTS:
        words = words_of(part.name)
        assert words.bulletin, part.name
        for table, columns in words.bulletin.items():
            assert all(words.table(table))
            assert all(all(words.column(column)) for column in columns)


def test_an_earlier_report_must_be_earlier_and_of_the_same_register(tmp_path: Path) -> None:
    def report(name: str, as_of: str, source: str) -> Path:
        about = {"as_of": as_of, "inputs": {"register": {"source": source}}, "parts": {}}
        commit_directory(
            tmp_path / name,
            lambda stage: (stage / "summary.json").write_text(json.dumps({})),
            kind="monitoring",
            about=about,
        )
        return tmp_path / name

    assert earlier_report(report("may", "2024-05", "Blue River"), asked())["as_of"] == "2024-05"
    with pytest.raises(UsageError, match=f"of {AS_OF}, which is not before {AS_OF}"):
        earlier_report(report("june", AS_OF, "Blue River"), asked())
    with pytest.raises(UsageError, match="'Red River', not on 'Blue River'"):
        earlier_report(report("other", "2024-05", "Red River"), asked())
    with pytest.raises(NotFound):
        earlier_report(tmp_path / "nothing", asked())


def test_income_below_the_line_is_never_printed_as_if_it_reached_it() -> None:
    poor = listed(11, "O", village_id="v1", grade="falls_by_books", crosses="line", risk=0.1, risk_without_support=None,
                  loss=900.0, loss_share=0.1, ratio_without_support=0.9974)  # fmt: skip
    helped = listed(11, "C", helped_on=pd.Timestamp("2023-05-01"), measures="training", ratio_then=1.0026, ratio_now=0.9974,
                    unanswered="")  # fmt: skip
    page = Page(bulletin(asked(), found(industries=Found({"support_off": poor}),
                                        assistance=Found({"change_of_measure": helped}))))  # fmt: skip
    behind = page.text("en").split("Project support off: households")[1].split("File:")[0]
    assert "0.99" in behind and "1.00" not in behind
    assert "1.00 → 0.99" in front(page)


def test_a_month_an_interval_and_a_share_stay_on_one_line_in_both_languages(html: str) -> None:
    assert "white-space: nowrap" in re.search(r"\.whole \{[^}]*\}", html)[0]
    whole = set(re.findall(r'<span class="whole">([^<]*)</span>', html))
    assert {"2024-06", "5.5–10", "--before"} <= whole
    texts = re.sub(r'<span class="whole">[^<]*</span>', "", html[html.index("<body>") :])
    spans = re.findall(r'<span lang="(?:en|zh)">([^<]*)', texts)
    assert not [text for text in spans if re.search(r"\d{4}-\d\d(?![\w-])|\d %|\d–\d|--[a-z]", text)]


def test_months_since_an_exit_are_not_headed_as_a_month_of_entry() -> None:
    left = listed(12, "H", kind="monitoring", months_since_exit=7, earlier=1, ratio=1.1, chance_6m_share=0.1,
                  chance_12m_share=0.2)  # fmt: skip
    page = Page(bulletin(asked(), found(spells=Found({"reentry_risks": left}))))
    assert "months since the exit" in page.text("en") and "退出后月数" in page.text("zh")


def test_villages_of_a_table_can_be_told_apart() -> None:
    rows = pd.DataFrame({"level": "village", "county_id": "c", "township_id": "t", "village_id": ["v1", "v2"],
                         "effective_number": 1.5, "largest_industry": "tea", "largest_share": 0.8})  # fmt: skip
    shown = Page(bulletin(asked(), found(industries=Found({"concentration": rows})))).text("en")
    assert "v1" in shown and "v2" in shown


def test_small_chances_and_sums_of_money_are_printed_as_what_they_are() -> None:
    tests = pd.DataFrame({"help": ["health"], "helped": [57], "reading": ["not_parallel"], "before_p": [0.0004],
                          "difference": [np.nan]})  # fmt: skip
    costs = pd.DataFrame({"measure": ["employment"], "paid_per_household": [668.34], "reading": ["too_few"],
                          "per_avoided": [np.nan]})  # fmt: skip
    part = Found({"help_trend_tests": tests, "help_costs": costs})
    shown = Page(bulletin(asked(), found(assistance=part))).text("en")
    assert "moved apart before help: not read<0.01" in shown and "employment668not estimated" in shown


def test_causes_bear_the_names_that_sheets_and_card_give_them() -> None:
    words = words_of("spells")
    assert {name: words.value("verdict", name) for name in VERDICTS} == {name: verdict_words(name) for name in VERDICTS}


def test_lists_without_anybody_say_so() -> None:
    parts = found()
    empty = parts["assistance"].tables["change_of_measure"].head(0)
    part = Found({**parts["assistance"].tables, "change_of_measure": empty})
    text = front(Page(bulletin(asked(), found(assistance=part))))
    assert "Nobody and nothing to list this time. In all 0." in text
    gone = Found({"projects": pd.DataFrame(columns=parts["industries"].tables["projects"].columns)})
    assert "Fully or mainly dependent: 0" in front(Page(bulletin(asked(), found(industries=gone))))
    assert listed(0).empty
