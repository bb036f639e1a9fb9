"""Alert sheets and the notice: what a reviewer reads, never blame, and nothing that cell contents could do."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from riskmodel.alerts.change import SPLIT, Changes
from riskmodel.alerts.history import ScoredMonth, earlier_months
from riskmodel.cards.alert_sheet import Sheet, notice_page, sheets_of, sheets_page
from riskmodel.cards.workbook import COLUMNS, FIRST_ROW, write_workbook
from riskmodel.catalogue import load_catalogue
from riskmodel.display import file_name
from riskmodel.errors import UsageError
from riskmodel.register import verify
from riskmodel.results import explain_household, write_sheets
from riskmodel.review.rules import load_rules
from tests.cards.months import CLUE, FORMULA, HOSTILE, SCRIPT, TEMPLATE, changed_month
from tests.cards.page import CJK, Page
from tests.county import AS_OF, County

BLAME = re.compile(r"lazy|laz|懒|躺平|blame|fault of|不愿|好吃", re.I)


@pytest.fixture(scope="module")
def month(county: County, tmp_path_factory: pytest.TempPathFactory) -> ScoredMonth:
    """The county's list, its first household given a clue to a subjective factor, and an earlier month beside it."""
    beside = tmp_path_factory.mktemp("sheets")
    county.score("10", beside / "2023-03", "2023-03")

    def idle(tables: dict[str, pd.DataFrame]) -> None:
        tables["drivers"]["work"] = 0.9

    return changed_month(county.alerts, beside / AS_OF, alerts={0: CLUE}, edit=idle)


@pytest.fixture(scope="module")
def sheets(month: ScoredMonth) -> list[Sheet]:
    return sheets_of(month, load_catalogue(), earlier_months(month))


@pytest.fixture(scope="module")
def hostile(county: County, tmp_path_factory: pytest.TempPathFactory) -> ScoredMonth:
    return changed_month(county.alerts, tmp_path_factory.mktemp("hostile") / AS_OF, ids=HOSTILE, places=HOSTILE)


def page_of(sheets: list[Sheet], month: ScoredMonth) -> str:
    return sheets_page(sheets, month, load_rules())


def test_each_alert_has_a_sheet_with_all_that_a_visit_needs(month: ScoredMonth, sheets: list[Sheet]) -> None:
    alerts = month.alerts()
    assert [s.rank for s in sheets] == sorted(alerts["rank"])
    before = set(pd.read_parquet(month.folder.parent / "2023-03" / "scores.parquet")["household_id"])
    assert {s.key[1] for s in sheets if s.trend} == before & set(alerts["household_id"])
    for sheet in sheets:
        assert sheet.questions and sheet.measures and sheet.doubts
        assert all(m.department.en and CJK.search(m.department.zh) for m in sheet.measures)
    page = Page(page_of(sheets, month))
    for lang, words in (
        ("en", ("Of 100 such households about", "Facts on record", "Doubts", "To find out on the visit", "Signature")),
        ("zh", ("此类农户每100户约", "记录在案的事实", "存疑之处", "走访核实", "签字", "农户本人意见")),
    ):
        for word in words:
            assert page.text(lang).count(word) >= len(sheets), word


def test_a_page_is_in_both_languages_and_no_english_is_left_in_the_chinese(month: ScoredMonth, sheets: list[Sheet]) -> None:
    page = Page(page_of(sheets, month))
    for text in page.texts["en"]:
        assert not CJK.search(text), text
    for text in page.texts["zh"]:
        assert CJK.search(text) or not re.search("[A-Za-z]{4}", text), text
    assert len(page.texts["en"]) == len(page.texts["zh"])
    assert not any(tag == "script" for tag, _ in page.tags)


def test_a_clue_is_told_as_a_clue_with_its_doubts(sheets: list[Sheet]) -> None:
    clue = sheets[0]
    assert clue.judged and clue.verdict.zh == "主观因素线索，待核实"
    assert [s.en for s in clue.signs]
    doubts = " ".join(d.en for d in clue.doubts)
    for said in ("simulated", "objective alternative", "would change the verdict", "to be ruled out: destitute"):
        assert said in doubts
    assert "work left undone" in clue.waterfall and "出勤不足" in clue.waterfall


def test_nobody_is_blamed_where_the_verdict_judges_no_behaviour(month: ScoredMonth, sheets: list[Sheet]) -> None:
    """The score's part of behaviour is drawn as `activity, not judged`, with no fact, question or measure of blame."""
    catalogue = load_catalogue()
    motives = {q.en for q in catalogue.questions if q.driver in ("work", "land", "refusal")}
    for sheet in sheets[1:]:
        assert not sheet.judged and not sheet.signs
        assert "work left undone" not in sheet.waterfall
        assert not motives & {q.en for q in sheet.questions}
        assert not any("of the days on which work was to be had" in f.en for f in sheet.facts)
    page = Page(page_of(sheets[1:], month))
    assert not BLAME.search(page.text("en") + page.text("zh"))


def test_a_household_without_labour_is_not_asked_about_work(month: ScoredMonth, sheets: list[Sheet]) -> None:
    features = pd.read_parquet(month.folder / "features.parquet").set_index("household_id")
    without = [s for s in sheets if features.loc[s.key[1], "able_known"] == 0]
    assert without
    conditional = {q.en for q in load_catalogue().questions if q.when is not None and "able_known" in q.when.columns}
    for sheet in without:
        assert not conditional & {q.en for q in sheet.questions}


def test_what_changed_stands_on_the_sheet_in_frequencies(month: ScoredMonth) -> None:
    alerts = month.alerts()
    names = [d.name for d in load_catalogue().drivers]
    facts = pd.DataFrame(0.0, index=range(len(alerts)), columns=names)
    facts.loc[0, ["illness", "level"]] = [0.94, -0.3]
    frame = pd.DataFrame({"household_id": alerts["household_id"], "told": SPLIT, "before": -2.2, "after": -1.2})
    frame["model"], frame["calibration"] = 0.36, 0.0
    frame.loc[1, "told"] = "not_scored"
    new_facts = [{"illness": [("illness recorded 1 month(s) ago", "1个月前记录患病")]}] + [{}] * (len(alerts) - 1)
    found = sheets_of(month, load_catalogue(), (), Changes("2023-03", frame, facts, new_facts))
    by_id = {s.key[1]: s.since.line for s in found}
    first, second = (by_id[alerts["household_id"][n]] for n in (0, 1))
    assert first.en == (
        "10 of 100 in 2023-03, 23 now: illness: illness recorded 1 month(s) ago (+0.9); another model (+0.4); "
        "low income (−0.3)"
    )
    assert first.zh.startswith("2023-03每100户10户，现为23户：患病：1个月前记录患病（+0.9）")
    assert "not scored in 2023-03" in second.en


def test_a_page_for_each_village_and_a_workbook_for_each_county(month: ScoredMonth, tmp_path: Path) -> None:
    done = write_sheets(month.folder, tmp_path / "out", level="village")
    alerts = month.alerts()
    villages = pd.read_parquet(month.folder / "features.parquet")["village_id"]
    assert (done.alerts, done.pages, done.workbooks) == (len(alerts), villages.nunique(), 1)
    assert done.earlier == ["2023-03"] and "--register" in done.unsaid
    verify(tmp_path / "out")
    pages = list((tmp_path / "out").glob("*.html"))
    assert len(pages) == villages.nunique()
    together = "".join(p.read_text(encoding="utf-8") for p in pages)
    assert all(together.count(f">{household}<") == 1 for household in alerts["household_id"])


def test_without_a_past_the_sheets_say_so(month: ScoredMonth, tmp_path: Path) -> None:
    alone = changed_month(month.folder, tmp_path / "alone" / AS_OF)
    done = write_sheets(alone.folder, tmp_path / "out")
    assert "No earlier scored month" in done.unsaid
    page = next((tmp_path / "out").glob("*.html")).read_text(encoding="utf-8")
    assert "没有往期评分" in page and "无往期名单" in page


def test_hundreds_of_alerts_take_seconds(county: County, tmp_path: Path) -> None:
    many = changed_month(county.alerts, tmp_path / "many", times=10)
    catalogue, rules = load_catalogue(), load_rules()
    begin = time.process_time()
    found = sheets_of(many, catalogue)
    page = sheets_page(found, many, rules)
    assert len(found) == 100
    assert time.process_time() - begin < 5
    assert len(page) < 100 * 14_000


def test_hostile_contents_stay_text_on_the_page(hostile: ScoredMonth) -> None:
    found = sheets_of(hostile, load_catalogue())
    html = sheets_page(found, hostile, load_rules())
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "input", "div", "label", "header", "h1", "h2", "h3", "dl", "dt",
        "dd", "bdi", "p", "span", "a", "main", "article", "strong", "svg", "defs", "lineargradient", "stop", "pattern",
        "rect", "circle", "text", "path", "polygon", "polyline", "ul", "li", "section", "code",
    }  # fmt: skip
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert SCRIPT in page.text("zh") and TEMPLATE in page.text("zh") and FORMULA in page.text("zh")
    assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", html)
    assert ">49<" not in html


def test_hostile_contents_stay_text_in_excel_and_csv(hostile: ScoredMonth, tmp_path: Path) -> None:
    rules = load_rules()
    found = sheets_of(hostile, load_catalogue())
    write_workbook(tmp_path / "review.xlsx", found, rules)
    book = openpyxl.load_workbook(tmp_path / "review.xlsx")
    cells = [cell for row in book["review"].iter_rows(min_row=FIRST_ROW) for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s", "n"}
    names = [c.name for c in COLUMNS]
    shown = {book["review"].cell(FIRST_ROW + n, names.index("household_id") + 1).value for n in range(len(found))}
    assert {FORMULA, SCRIPT, TEMPLATE} <= shown
    texts = [cell for cell in cells if cell.data_type == "s"]
    assert all(cell.quotePrefix and cell.number_format == "@" for cell in texts)
    with (hostile.folder / "alerts.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.reader(lines))
    for row in rows:
        assert not any(re.match(r"\s*[=+@-]", text) and not re.fullmatch(r"-?[\d.e-]+", text) for text in row), row
    ids = [row[0] for row in rows[1:]]
    assert ids[0] == f"'{FORMULA}" and ids[1] == SCRIPT and ids[3] == "0412"
    assert ids[8:] == hostile.alerts()["household_id"].tolist()[8:], "an ordinary id is written as it is"
    excel = openpyxl.load_workbook(hostile.folder / "alerts.xlsx")["alerts"]
    assert {cell.data_type for row in excel.iter_rows() for cell in row if cell.value is not None} <= {"s", "n"}


def test_hostile_contents_name_no_file_elsewhere(hostile: ScoredMonth, tmp_path: Path) -> None:
    write_sheets(hostile.folder, tmp_path / "in" / "out", level="village")
    assert [p.name for p in tmp_path.iterdir()] == ["in"] and [p.name for p in (tmp_path / "in").iterdir()] == ["out"]
    above = set(hostile.folder.parent.iterdir())
    for household in HOSTILE[4:6]:
        story = explain_household(hostile.folder, household)
        assert story.waterfall.parent == hostile.folder / "explain"
    assert set(hostile.folder.parent.iterdir()) == above


def test_places_with_like_names_have_files_of_their_own() -> None:
    names = [
        ("a", "b"),
        ("a_b",),
        ("a%5Fb",),
        ("a", ""),
        ("..",),
        ("x" * 300,),
        ("x" * 301,),
        ("村",),
        ("村" * 90,),
        ("村" * 91,),
    ]
    files = [file_name(name, ".html") for name in names]
    assert len(set(files)) == len(names)
    assert file_name(("甲县", "一乡/东村"), ".html") == "甲县_一乡%2F东村.html"
    assert all("/" not in f and not f.startswith(".") and len(f.encode()) < 200 for f in files)


def test_the_notice_carries_no_cause_and_no_child_alone(month: ScoredMonth, tmp_path: Path) -> None:
    def children(tables: dict[str, pd.DataFrame]) -> None:
        tables["features"].loc[0, ["hh_size_now", "children_now"]] = 1.0
        tables["features"].loc[1, ["children_now", "able_now"]] = [float("nan"), 0.0]
        tables["features"].loc[2, ["children_now", "able_now"]] = [float("nan"), 1.0]

    copy = changed_month(month.folder, tmp_path / "m", edit=children)
    alerts = copy.alerts()
    keys = list(zip(alerts["county_id"], alerts["household_id"], strict=True))
    html, left_out = notice_page(copy, keys[:4])
    page = Page(html)
    assert left_out == 2
    shown = [household for household in alerts["household_id"] if household in html]
    assert shown == alerts["household_id"].tolist()[2:4]
    catalogue = load_catalogue()
    private = [d.zh for d in catalogue.drivers] + [m.zh for m in catalogue.measures] + ["主观", "客观", "每100户", "排名"]
    assert not any(word in page.text("zh") for word in private)
    assert not re.search(r"illness|objective|subjective|risk|rank|cause", page.text("en"), re.I)
    with pytest.raises(UsageError, match="--decisions"):
        write_sheets(copy.folder, tmp_path / "out", notice=True)
