"""The review as an Excel workbook: a row an alert, what is proposed locked, what is decided open.

`COLUMNS` says what stands where; `riskmodel/review/importing.py` reads the same columns back. The first row, hidden, holds
their names. Each row carries a hash over what is locked, so that an edited row is noticed when it comes back.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from riskmodel.alerts.spreadsheet import row_height
from riskmodel.cards.alert_sheet import Sheet
from riskmodel.cards.rendering import Language, Words
from riskmodel.display import plain
from riskmodel.explain.causes import VERDICTS, verdict_words

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

    from riskmodel.review.rules import ReviewRules

SHEET, HELP, LISTS = "review", "说明 How to", "lists"
FIRST_ROW = 3
"""Row of the first alert, as a spreadsheet counts: names of the columns and their titles stand above."""
RULED_OUT = Words("all ruled out on the visit", "走访已全部排除")
SCORED_AT = 10
"""Column of the lists in which the folder of the scored month stands."""
_MOST_TEXT = 32_000


@dataclass(frozen=True)
class Column:
    """A column of the workbook. `kind`: locked, open or hidden; `options` names the list that a cell is chosen from."""

    name: str
    title: Words
    width: int
    kind: Literal["locked", "open", "hidden"]
    options: str | None = None


COLUMNS = (
    Column("rank", Words("rank", "排名"), 6, "locked"),
    Column("household", Words("household", "户编号"), 22, "locked"),
    Column("county", Words("county", "县"), 10, "locked"),
    Column("township", Words("township", "乡镇"), 13, "locked"),
    Column("village", Words("village", "村"), 15, "locked"),
    Column("risk", Words("of 100 such households fall", "每100户返贫户数"), 9, "locked"),
    Column("state", Words("on the list", "名单状态"), 12, "locked"),
    Column("changed", Words("what changed", "变化"), 30, "locked"),
    Column("facts", Words("facts on record", "记录在案的事实"), 34, "locked"),
    Column("verdict", Words("proposed cause", "原因判断"), 16, "locked"),
    Column("doubts", Words("doubts", "存疑之处"), 36, "locked"),
    Column("questions", Words("to find out on the visit", "走访核实"), 40, "locked"),
    Column("measures", Words("to consider – who is responsible", "建议措施 – 责任部门"), 34, "locked"),
    Column("so_far", Words("decided so far", "已有决定"), 14, "locked"),
    Column("action", Words("decision", "决定"), 18, "open", "actions"),
    Column("cause", Words("cause, where it was changed", "原因（更改时填）"), 22, "open", "causes"),
    Column("reason", Words("reason", "理由"), 26, "open", "reasons"),
    Column("note", Words("note", "说明"), 36, "open"),
    Column("statement", Words("what the household says", "农户本人意见"), 30, "open"),
    Column("appeal", Words("appeal", "申诉"), 12, "open", "appeal"),
    Column("ruled_out", Words("cases to be ruled out", "须排除的情形"), 18, "open", "ruled_out"),
    Column("reviewer", Words("reviewer", "审核人"), 14, "open"),
    Column("decided_on", Words("date of the decision", "决定日期"), 13, "open"),
    Column("as_of", Words("month", "月份"), 9, "hidden"),
    Column("county_id", Words("county", "县"), 9, "hidden"),
    Column("household_id", Words("household id", "户编号"), 9, "hidden"),
    Column("model_version", Words("model version", "模型版本"), 9, "hidden"),
    Column("supersedes", Words("last decision seen", "已见决定序号"), 9, "hidden"),
    Column("row_sha256", Words("hash of the row", "本行校验码"), 9, "hidden"),
)
NAMES = tuple(c.name for c in COLUMNS)
_NUMBERS = ("rank", "risk")
_IDS = ("county_id", "household_id")


def options(rules: ReviewRules) -> dict[str, dict[str, str]]:
    """What can be chosen in each list: the text of the cell, and the name that it stands for."""
    return {name: {f"{zh} {en}": value for value, en, zh in given} for name, given in _offered(rules).items()}


def readings(rules: ReviewRules) -> dict[str, dict[str, str]]:
    """What a cell of each list is read as, by its text `as_typed`: what was chosen, either language alone, or the name.

    A text that would stand for two is none.
    """
    found = {}
    for name, given in _offered(rules).items():
        pairs = {(as_typed(text), value) for value, en, zh in given for text in (f"{zh} {en}", zh, en, value)}
        texts = [text for text, _ in pairs]
        found[name] = {text: value for text, value in pairs if texts.count(text) == 1}
    return found


def as_typed(text: str) -> str:
    """A text without what an input method makes of it: full width, spaces, capitals.

    >>> as_typed("　确认 Ｃｏｎｆｉｒｍ ")
    '确认confirm'
    """
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _offered(rules: ReviewRules) -> dict[str, list[tuple[str, str, str]]]:
    """Name, English and Chinese of what each list offers."""
    return {
        "actions": [(a.name, a.en, a.zh) for a in rules.actions],
        "causes": [(v, *verdict_words(v)) for v in VERDICTS],
        "reasons": [(r.name, r.en, r.zh) for r in rules.offered],
        "appeal": [(a.name, a.en, a.zh) for a in rules.appeal],
        "ruled_out": [("yes", *RULED_OUT)],
    }


def row_hash(cells: Mapping[str, Any]) -> str:
    """Hash over the locked and hidden cells of a row, whoever saved it: numbers to six decimals, texts stripped.

    What stands in the place of a number and is none counts as text, and makes another hash.
    """
    parts = []
    for column in COLUMNS:
        if column.kind == "open" or column.name == "row_sha256":
            continue
        value = cells.get(column.name)
        text = "" if value is None or value != value else str(value)
        parts.append(_six_decimals(text) if column.name in _NUMBERS else " ".join(text.split()))
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _six_decimals(text: str) -> str:
    try:
        return f"{float(text):.6f}"
    except ValueError:
        return " ".join(text.split())


def write_workbook(
    path: Path,
    sheets: Sequence[Sheet],
    rules: ReviewRules,
    lang: Language = "zh",
    decided: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    scored: Path | None = None,
) -> None:
    """Write a workbook for some alerts.

    Parameters
    ----------
    sheets
        From `sheets_of`.
    rules
        What a reviewer may decide.
    lang
        Language of the contents; titles are in both.
    decided
        The last decision on an alert, by county and household, as the store of decisions gives it.
    scored
        The folder of the scored month; an import looks there where it is not told another place.
    """
    import xlsxwriter

    quiet = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(path, quiet) as book:
        book.set_properties({"created": dt.datetime(2000, 1, 1)})  # the same alerts are the same bytes
        page = book.add_worksheet(SHEET)
        how = book.add_worksheet(HELP)
        ranges = _write_lists(book, options(rules), "" if scored is None else str(scored.resolve()))
        _write_rows(book, page, sheets, rules, lang, decided or {})
        _let_choose(page, ranges, len(sheets))
        _lay_out(page, len(sheets))
        _write_help(book, how, rules)


def cells_of(sheet: Sheet, rules: ReviewRules, lang: Language, last: Mapping[str, Any] | None) -> dict[str, Any]:
    """What stands in the locked and hidden cells of an alert's row."""

    def say(words: Words) -> str:
        return words.zh if lang == "zh" else words.en

    def lines(rows: Sequence[Words]) -> str:
        return "\n".join(f"• {say(row)}" for row in rows)

    measures = [Words(f"{m.words.en} – {m.department.en}", f"{m.words.zh} – {m.department.zh}") for m in sheet.measures]
    seen = "" if last is None else f"{_action(rules, last['action'], lang)} {last['reviewer']} {last['decided_at'][:10]}"
    cells = {
        "rank": sheet.rank,
        "household": sheet.household,
        "county": sheet.county,
        "township": sheet.township,
        "village": sheet.village,
        "risk": round(100 * sheet.risk, 1),
        "state": say(sheet.state),
        "changed": "" if sheet.since is None else say(sheet.since.line),
        "facts": lines(sheet.facts),
        "verdict": say(sheet.verdict),
        "doubts": lines(sheet.doubts),
        "questions": lines(sheet.questions),
        "measures": lines(measures),
        "so_far": seen,
        "as_of": sheet.as_of,
        "county_id": sheet.key[0],
        "household_id": sheet.key[1],
        "model_version": sheet.model_version,
        "supersedes": "" if last is None else str(last["seq"]),
    }
    cells |= {name: plain(text)[:_MOST_TEXT] for name, text in cells.items() if name not in (*_NUMBERS, *_IDS)}
    return cells | {"row_sha256": row_hash(cells)}


def _action(rules: ReviewRules, name: str, lang: Language) -> str:
    action = rules.action(name)
    return action.zh if lang == "zh" else action.en


def _formats(book: Workbook) -> dict[str, Format]:
    """Text cells are text for good (`@`, quote prefix), whatever is typed over them."""
    text = {
        "text_wrap": True,
        "valign": "top",
        "num_format": "@",
        "quote_prefix": True,
        "border": 1,
        "border_color": "#cfcfcf",
    }
    return {
        "locked": book.add_format({**text, "bg_color": "#f4f6f8"}),
        "number": book.add_format({"valign": "top", "bg_color": "#f4f6f8", "border": 1, "border_color": "#cfcfcf"}),
        "hidden": book.add_format({"num_format": "@", "quote_prefix": True, "hidden": True}),
        "open": book.add_format({**text, "quote_prefix": False, "locked": False}),
        "date": book.add_format({"num_format": "yyyy-mm-dd", "valign": "top", "locked": False, "border": 1}),
        "title": book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 2, "bg_color": "#e3eef6"}),
        "title_open": book.add_format(
            {"bold": True, "text_wrap": True, "valign": "top", "bottom": 2, "bg_color": "#fff2cc"}
        ),
        "name": book.add_format({"font_color": "#999999"}),
        "wrap": book.add_format({"text_wrap": True, "valign": "top"}),
        "head": book.add_format({"bold": True, "font_size": 14}),
        "bold": book.add_format({"bold": True}),
    }


def _write_rows(
    book: Workbook,
    page: Worksheet,
    sheets: Sequence[Sheet],
    rules: ReviewRules,
    lang: Language,
    decided: Mapping[tuple[str, str], Mapping[str, Any]],
) -> None:
    looks = _formats(book)
    for place, column in enumerate(COLUMNS):
        page.write_string(0, place, column.name, looks["name"])
        title = looks["title_open" if column.kind == "open" else "title"]
        page.write_string(1, place, f"{column.title.zh}\n{column.title.en}", title)
    for number, sheet in enumerate(sheets, FIRST_ROW - 1):
        cells = cells_of(sheet, rules, lang, decided.get(sheet.key))
        for place, column in enumerate(COLUMNS):
            value = cells.get(column.name)
            if column.kind == "open":
                page.write_blank(number, place, None, looks["date" if column.name == "decided_on" else "open"])
            elif column.name in _NUMBERS:
                page.write_number(number, place, value, looks["number"])
            else:
                page.write_string(number, place, value, looks[column.kind])
        shown = [column for column in COLUMNS if column.kind == "locked" and column.name not in _NUMBERS]
        page.set_row(number, row_height((cells[column.name], column.width) for column in shown))


def _write_lists(book: Workbook, lists: Mapping[str, Mapping[str, str]], scored: str) -> dict[str, str]:
    """The lists, and the folder of the month, on a sheet that cannot be shown; gives the range of each list."""
    page = book.add_worksheet(LISTS)
    page.very_hidden()
    page.protect()
    page.write_string(0, SCORED_AT, scored)
    ranges = {}
    for place, (name, given) in enumerate(lists.items()):
        for row, text in enumerate(given):
            page.write_string(row, place, text)
        column = chr(ord("A") + place)
        ranges[name] = f"={LISTS}!${column}$1:${column}${len(given)}"
    return ranges


def _let_choose(page: Worksheet, ranges: Mapping[str, str], rows: int) -> None:
    last = FIRST_ROW - 2 + max(rows, 1)
    for place, column in enumerate(COLUMNS):
        if column.options:
            page.data_validation(
                FIRST_ROW - 1, place, last, place,
                {
                    "validate": "list", "source": ranges[column.options], "ignore_blank": True,
                    "error_title": "请从列表中选择 Choose from the list",
                    "error_message": "单元格只能从列表中选择。Choose one of the list, or leave the cell empty.",
                },
            )  # fmt: skip
        elif column.name == "decided_on":
            page.data_validation(
                FIRST_ROW - 1, place, last, place,
                {
                    "validate": "date", "criteria": "between",
                    "minimum": dt.date(2015, 1, 1), "maximum": dt.date(2099, 12, 31),
                    "error_title": "日期 Date",
                    "error_message": "请填写日期，如2024-06-30。Write a date, such as 2024-06-30.",
                },
            )  # fmt: skip


def _lay_out(page: Worksheet, rows: int) -> None:
    for place, column in enumerate(COLUMNS):
        page.set_column(place, place, column.width, None, {"hidden": column.kind == "hidden"})
    page.set_row(0, None, None, {"hidden": True})
    page.set_row(1, 48)
    page.freeze_panes(FIRST_ROW - 1, 2)
    page.autofilter(1, 0, max(rows, 1) + 1, len([c for c in COLUMNS if c.kind != "hidden"]) - 1)
    page.protect("", {"autofilter": True, "sort": False, "format_columns": True, "format_rows": True})
    page.set_landscape()
    page.set_paper(8)  # A3
    page.fit_to_pages(1, 0)
    page.repeat_rows(1)


def _write_help(book: Workbook, page: Worksheet, rules: ReviewRules) -> None:
    looks = _formats(book)
    page.set_column(0, 0, 26)
    page.set_column(1, 2, 70)
    page.protect()
    page.write_string(0, 0, "说明 How to fill in this workbook", looks["head"])
    told = [
        ("请只填写黄色标题的列；其他列已锁定，改动过的行在导入时会被退回。",
         "Fill in the columns with yellow titles only. The others are locked; a row that was changed there is sent back."),
        ("每个决定都须填写审核人和日期；更改原因、认定不属风险户须选择理由并写明说明。",
         "Every decision needs a reviewer and a date; to change the cause or to say that a household is not at risk needs a "
         "reason and a note."),
        ("“主观因素线索”仅为线索，须走访核实；受保护农户和无劳动力农户不得认定为主观原因。",
         "A clue to a subjective factor is only a clue, to be verified on a visit. A protected household, or one without "
         "labour, is never given a subjective cause."),
        ("不得据此减少、拒绝或终止任何帮扶。没有决定的行留空即可。",
         "No support is reduced, refused or ended by this list. Leave a row empty where nothing is decided."),
        ("填写后保存为xlsx，用 riskmodel review import 导入；重复导入只记录一次。",
         "Save as xlsx and bring it back with `riskmodel review import`; importing twice records once."),
    ]  # fmt: skip
    row = 2
    for zh, en in told:
        page.set_row(row, row_height([(zh, 70), (en, 70)]))
        page.write_string(row, 1, zh, looks["wrap"])
        page.write_string(row, 2, en, looks["wrap"])
        row += 1
    for title, given in (
        ("决定 Decisions", [(a.name, f"{a.zh}：{a.help_zh}", f"{a.en}: {a.help_en}") for a in rules.actions]),
        ("理由 Reasons", [(r.name, r.zh, r.en) for r in rules.offered]),
    ):
        row += 1
        page.write_string(row, 0, title, looks["bold"])
        for name, zh, en in given:
            row += 1
            page.set_row(row, row_height([(zh, 70), (en, 70)]))
            page.write_string(row, 0, name)
            page.write_string(row, 1, zh, looks["wrap"])
            page.write_string(row, 2, en, looks["wrap"])
        row += 1
