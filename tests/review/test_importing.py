"""A filled workbook comes back: good rows are recorded once, bad ones told with row, column and what to do."""

from __future__ import annotations

import csv
import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from typer.testing import CliRunner

from riskmodel.alerts.history import ScoredMonth
from riskmodel.cards.workbook import COLUMNS, FIRST_ROW, as_typed, options, readings
from riskmodel.cli import app
from riskmodel.errors import ContractError, NotFound
from riskmodel.results import write_sheets
from riskmodel.review.decisions import Decision, Decisions
from riskmodel.review.importing import Faulty, import_workbook, write_quarantine
from riskmodel.review.rules import load_rules
from tests.county import County

PLACE = {column.name: number for number, column in enumerate(COLUMNS, 1)}
DAY = dt.date(2023, 7, 3)
OBJECTIVE = 3
"""An alert of the county, by its place on the list, whose verdict is objective."""
CHOICES = {name: {value: text for text, value in given.items()} for name, given in options(load_rules()).items()}


@pytest.fixture(scope="module")
def exported(county: County, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "sheets"
    write_sheets(county.alerts, out)
    return next(out.glob("review_*.xlsx"))


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions.open(tmp_path / "decisions.db")


def filled(exported: Path, out: Path, rows: dict[int, dict[str, Any]]) -> Path:
    """The workbook with cells of some alerts filled in, by place on the list."""
    book = openpyxl.load_workbook(exported)
    for row, cells in rows.items():
        for name, value in cells.items():
            cell = book["review"].cell(FIRST_ROW + row, PLACE[name])
            cell.value = value
            if isinstance(value, str):
                cell.data_type = "s"
    book.save(out)
    return out


def confirm(**more: Any) -> dict[str, Any]:
    return {"action": CHOICES["actions"]["confirm"], "reviewer": "李娜", "decided_on": DAY} | more


def override(cause: str = "undetermined", **more: Any) -> dict[str, Any]:
    chosen = {
        "action": CHOICES["actions"]["override_cause"], "cause": CHOICES["causes"][cause],
        "reason": CHOICES["reasons"]["illness_unrecorded"], "note": "住院，票据已看",
    }  # fmt: skip
    return confirm(**chosen) | more


def test_good_rows_are_recorded_with_all_that_was_filled_in(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path
) -> None:
    rows = {0: confirm(), 2: override(statement="母亲患病", appeal=CHOICES["appeal"]["open"])}
    month = ScoredMonth.open(county.alerts)
    done = import_workbook(filled(exported, tmp_path / "f.xlsx", rows), month, decisions)
    alerts = month.alerts()
    assert (done.recorded, done.again, done.empty, done.faulty) == (2, 0, len(alerts) - 2, ())
    first, second = decisions.table().to_dict("records")
    assert first["household_id"] == alerts["household_id"][0] and second["household_id"] == alerts["household_id"][2]
    assert (first["action"], first["cause"]) == ("confirm", alerts["verdict"][0])
    assert (second["cause"], second["reason"], second["note"]) == ("undetermined", "illness_unrecorded", "住院，票据已看")
    assert (second["statement"], second["appeal"], second["source"]) == ("母亲患病", "open", "workbook")
    assert first["decided_at"].startswith("2023-07-03") and first["risk"] == alerts["risk"][0]
    decisions.verify()


@pytest.mark.parametrize(
    ("action", "cause", "reason", "appeal"),
    [
        ("更改原因", "原因待查", "患病、残疾或照料负担未记录", "申诉未结"),
        ("Change the cause", "Undetermined", "illness, disability or care that was not on record", "appeal open"),
        (" 更改原因　", "原因待查 ", "患病、残疾或照料负担未记录\n", "申诉未结Appeal open"),
        (
            "Ｃｈａｎｇｅ　ｔｈｅ　ｃａｕｓｅ",
            "UNDETERMINED",
            "ＩＬＬＮＥＳＳ， disability or care that was not on record",
            "Ａppeal  open",
        ),
        ("override_cause", "undetermined", "illness_unrecorded", "open"),
    ],
)
def test_a_choice_is_read_in_either_language_however_it_was_typed(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path, action: str, cause: str, reason: str, appeal: str
) -> None:
    cells = confirm(action=action, cause=cause, reason=reason, appeal=appeal, note="住院")
    done = import_workbook(
        filled(exported, tmp_path / "f.xlsx", {OBJECTIVE: cells}), ScoredMonth.open(county.alerts), decisions
    )
    assert done.faulty == () and done.recorded == 1
    row = decisions.table().iloc[0]
    assert row[["action", "cause", "reason", "appeal"]].tolist() == [
        "override_cause", "undetermined", "illness_unrecorded", "open",
    ]  # fmt: skip


def test_every_word_that_a_list_offers_is_read_alone() -> None:
    rules = load_rules()
    read = readings(rules)
    for action in rules.actions:
        assert {read["actions"][as_typed(w)] for w in (action.zh, action.en, f"{action.zh} {action.en}")} == {action.name}
    for reason in rules.offered:
        assert {read["reasons"][as_typed(w)] for w in (reason.zh, reason.en)} == {reason.name}
    for name, given in options(rules).items():
        assert {read[name][as_typed(text)] for text in given} == set(given.values()) == set(read[name].values())


def test_a_word_that_two_choices_share_is_none() -> None:
    rules = load_rules()
    later = [replace(a, zh="确认") if a.name == "defer" else a for a in rules.actions]
    read = readings(replace(rules, actions=tuple(later)))["actions"]
    assert as_typed("确认") not in read
    assert (read[as_typed("Later")], read[as_typed("确认 Confirm")]) == ("defer", "confirm")


def test_importing_twice_records_once(county: County, exported: Path, decisions: Decisions, tmp_path: Path) -> None:
    month = ScoredMonth.open(county.alerts)
    file = filled(exported, tmp_path / "f.xlsx", {0: confirm(reviewer=" 李娜 "), OBJECTIVE: override()})
    import_workbook(file, month, decisions)
    again = import_workbook(file, month, decisions)
    assert (again.recorded, again.again, again.faulty) == (0, 2, ())
    assert len(decisions.table()) == 2


@pytest.mark.parametrize(
    ("cells", "column", "says"),
    [
        (confirm(reviewer=None), "reviewer", "write who decided"),
        (confirm(decided_on=None), "decided_on", "the day of the decision"),
        (confirm(decided_on="soon"), "decided_on", "the day of the decision"),
        (confirm(decided_on="today"), "decided_on", "the day of the decision"),
        (confirm(decided_on="5/7/2023"), "decided_on", "the day of the decision"),
        (confirm(decided_on="2023-07"), "decided_on", "the day of the decision"),
        (confirm(decided_on="2023-06-31"), "decided_on", "the day of the decision"),
        (confirm(decided_on=dt.date(2020, 1, 1)), "decided_on", "before 2023-06"),
        (confirm(decided_on=dt.date(2199, 1, 1)), "decided_on", "in the future"),
        (confirm(action=None), "action", "choose a decision"),
        (confirm(action="maybe"), "action", "choose one of the list, in both languages or one of them: 确认 Confirm; "),
        (confirm(action="确"), "action", "choose one of the list"),
        (confirm(action="确认 更改原因"), "action", "choose one of the list"),
        (override(note=None), "note", "needs a note"),
        (override(reason=None), "reason", "needs a reason"),
        (override(reason="someone said so"), "reason", "choose one of the list"),
        (override(reason=CHOICES["reasons"]["income_secure"]), "reason", "does not go with"),
        (override("objective"), "cause", "confirm it instead"),
        (confirm(rank=9), "", "locked cell"),
        (confirm(rank="ninth"), "", "locked cell"),
        (confirm(household_id="0000"), "", "locked cell"),
    ],
)
def test_a_faulty_row_is_told_and_not_recorded(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path, cells: dict[str, Any], column: str, says: str
) -> None:
    month = ScoredMonth.open(county.alerts)
    assert month.alerts()["verdict"][OBJECTIVE] == "objective"
    done = import_workbook(filled(exported, tmp_path / "f.xlsx", {0: confirm(), OBJECTIVE: cells}), month, decisions)
    assert done.recorded == 1 and len(decisions.table()) == 1
    assert {f.row for f in done.faulty} == {FIRST_ROW + OBJECTIVE}
    assert any(f.column == column and says in f.en and f.zh for f in done.faulty), done.faulty


def test_a_protected_household_is_never_given_a_subjective_cause(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path
) -> None:
    month = ScoredMonth.open(county.alerts)
    protected = [n for n, names in enumerate(month.alerts()["protected"]) if names]
    assert protected
    file = filled(exported, tmp_path / "f.xlsx", {n: override("subjective") for n in protected})
    done = import_workbook(file, month, decisions)
    assert done.recorded == 0 and {f.row for f in done.faulty} == {FIRST_ROW + n for n in protected}
    assert all("protected" in f.en for f in done.faulty)


@pytest.mark.parametrize("day", ["2023-07-03", "2023/7/3", "2023.07.03", "2023年7月3日", "20230703", "２０２３-07-03"])
def test_a_day_that_is_typed_as_text_is_read_as_it_is_written_in_china(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path, day: str
) -> None:
    file = filled(exported, tmp_path / "f.xlsx", {0: confirm(decided_on=day)})
    assert import_workbook(file, ScoredMonth.open(county.alerts), decisions).recorded == 1
    assert decisions.table()["decided_at"][0].startswith("2023-07-03")


def test_no_decision_is_lost_where_the_row_of_titles_was_deleted_or_sorted_away(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path
) -> None:
    month = ScoredMonth.open(county.alerts)
    book = openpyxl.load_workbook(filled(exported, tmp_path / "f.xlsx", {0: confirm(), 1: confirm()}))
    titles = [cell.value for cell in book["review"][FIRST_ROW - 1]]
    book["review"].delete_rows(FIRST_ROW - 1)
    book.save(tmp_path / "deleted.xlsx")
    book["review"].append(titles)
    book.save(tmp_path / "sorted.xlsx")
    done = import_workbook(tmp_path / "deleted.xlsx", month, decisions)
    assert (done.recorded, done.faulty) == (2, ())
    again = import_workbook(tmp_path / "sorted.xlsx", month, decisions)
    assert (again.again, again.faulty) == (2, ())


def test_a_decision_taken_in_the_app_meanwhile_is_a_conflict(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path
) -> None:
    month = ScoredMonth.open(county.alerts)
    alert = month.alerts().iloc[0].to_dict()
    decisions.record(Decision.on(alert, action="confirm", reviewer="王芳", source="app"))
    file = filled(exported, tmp_path / "f.xlsx", {0: override()})
    done = import_workbook(file, month, decisions)
    assert done.recorded == 0
    assert done.faulty[0].rule == "conflict" and "王芳" in done.faulty[0].en and "in the app" in done.faulty[0].en
    write_sheets(county.alerts, tmp_path / "again", decisions_at=str(tmp_path / "decisions.db"))
    newer = filled(next((tmp_path / "again").glob("review_*.xlsx")), tmp_path / "g.xlsx", {0: override()})
    assert import_workbook(newer, month, decisions).recorded == 1
    assert decisions.table()["supersedes"].tolist()[1] == 1


def test_a_workbook_of_another_month_or_no_workbook_is_refused(
    county: County, exported: Path, decisions: Decisions, tmp_path: Path
) -> None:
    county.score("10", tmp_path / "other", "2023-05")
    done = import_workbook(
        filled(exported, tmp_path / "f.xlsx", {0: confirm()}), ScoredMonth.open(tmp_path / "other"), decisions
    )
    assert done.recorded == 0 and "2023-05" in done.faulty[0].en
    month = ScoredMonth.open(county.alerts)
    with pytest.raises(ContractError, match="no workbook"):
        import_workbook(county.alerts / "alerts.xlsx", month, decisions)
    with pytest.raises(NotFound):
        import_workbook(tmp_path / "nowhere.xlsx", month, decisions)


def test_a_reviewers_name_is_no_formula_in_the_quarantine(tmp_path: Path) -> None:
    told = Faulty(4, "supersedes", "conflict", "=cmd|'/c calc'!A0 decided elsewhere", "+1已作出决定")
    write_quarantine(tmp_path / "q.csv", [told])
    [_, row] = csv.reader((tmp_path / "q.csv").read_text(encoding="utf-8-sig").splitlines())
    assert row[3].startswith("'=") and row[4].startswith("'+")


def test_what_is_decided_is_open_and_all_else_locked(exported: Path) -> None:
    book = openpyxl.load_workbook(exported)
    page = book["review"]
    assert page.protection.sheet and page.freeze_panes == f"C{FIRST_ROW}"
    assert page.row_dimensions[1].hidden and book["lists"].sheet_state == "veryHidden"
    hidden = {n for d in page.column_dimensions.values() if d.hidden for n in range(d.min, d.max + 1)}
    assert hidden == {PLACE[column.name] for column in COLUMNS if column.kind == "hidden"}
    for column in COLUMNS:
        locked = page.cell(FIRST_ROW, PLACE[column.name]).protection.locked
        assert locked is (column.kind != "open"), column.name
    chosen = {str(v.sqref).split(":")[0].rstrip("0123456789") for v in page.data_validations.dataValidation}
    wanted = {
        page.cell(1, PLACE[n]).column_letter for n in ("action", "cause", "reason", "appeal", "ruled_out", "decided_on")
    }
    assert chosen == wanted


def test_the_command_writes_a_quarantine_beside_the_workbook(county: County, exported: Path, tmp_path: Path) -> None:
    file = filled(exported, tmp_path / "f.xlsx", {0: confirm(), 1: confirm(reviewer=None), 2: confirm(rank=99)})
    told = CliRunner().invoke(app, ["review", "import", str(file), "--decisions", str(tmp_path / "d.db")])
    assert told.exit_code == 0, told.output
    assert "1 decisions recorded" in told.output and "2 rows were not recorded" in told.output
    with (tmp_path / "f.quarantine.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.reader(lines))
    assert [row[0] for row in rows[1:]] == [str(FIRST_ROW + 1), str(FIRST_ROW + 2)]
    assert "审核人 reviewer" in rows[1][1]
