"""Decisions that come back in a workbook: checked row by row, recorded once, what is wrong told with what to do."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from riskmodel.alerts.history import ScoredMonth
from riskmodel.cards.workbook import (
    COLUMNS,
    FIRST_ROW,
    LISTS,
    NAMES,
    SCORED_AT,
    SHEET,
    as_typed,
    options,
    readings,
    row_hash,
)
from riskmodel.display import cell, plain
from riskmodel.errors import Conflict, ContractError, NotFound, Refused, UsageError
from riskmodel.months import first_day, month_number
from riskmodel.register import commit_file
from riskmodel.review.decisions import Decision, Decisions, reviewer_name
from riskmodel.review.rules import ReviewRules

_OPEN = tuple(c.name for c in COLUMNS if c.kind == "open")
_LISTS = {c.name: c.options for c in COLUMNS if c.options}
_YEAR_FIRST = re.compile(
    r"(\d{4})(?:(\d\d)(\d\d)|-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})|\.(\d{1,2})\.(\d{1,2})|年(\d{1,2})月(\d{1,2})日?)(?:[T\s].*)?",
    re.ASCII | re.DOTALL,
)
_KEPT = ("action", "cause", "reason", "note", "statement", "appeal", "ruled_out")


class Faulty(NamedTuple):
    """Why a row was not recorded: where it stands, the rule, and what to do in both languages. No household's values."""

    row: int
    column: str
    rule: str
    en: str
    zh: str


@dataclass(frozen=True)
class Imported:
    """What an import did: rows recorded, found recorded already, left empty, and what is wrong with the others."""

    recorded: int
    again: int
    empty: int
    faulty: tuple[Faulty, ...]


def import_workbook(file: Path, month: ScoredMonth, decisions: Decisions) -> Imported:
    """Record the filled rows of a workbook from `riskmodel sheets`; each stands or falls by itself.

    A decision that is recorded already, with the same reviewer and day, is not recorded again. Where somebody else decided
    on the alert since the workbook was written, nothing is recorded and the conflict is told.

    Parameters
    ----------
    file
        The workbook, filled in.
    month
        The scored month that it was made from.
    decisions
        Where they are recorded.

    Raises
    ------
    NotFound
        If there is no such file.
    ContractError
        If it is no workbook of `riskmodel sheets`.
    """
    alerts = {(row["county_id"], row["household_id"]): row for row in month.alerts().to_dict("records")}
    offered, chosen = options(decisions.rules), readings(decisions.rules)
    recorded = again = empty = 0
    faulty: list[Faulty] = []
    for number, cells in enumerate(_read(file), FIRST_ROW - 1):
        if _is_titles(cells):
            continue
        if not any(cells[name] for name in _OPEN):
            empty += 1
            continue
        alert = alerts.get((cells["county_id"], cells["household_id"]))
        found = _faults_of_row(number, cells, alert, month)
        given = {} if found else _given(number, cells, alert, offered, chosen, found)
        if found:
            faulty += found
            continue
        decision = Decision.on(alert, source="workbook", **given)
        history = decisions.history(decision.as_of, decision.county_id, decision.household_id)
        if any(_same(decision, row) for row in history):
            again += 1
            continue
        try:
            decisions.record(decision)
            recorded += 1
        except Refused as refused:
            faulty += [Faulty(number, f.field, "review rule", f.en, f.zh) for f in refused.faults]
        except Conflict as conflict:
            faulty.append(_conflict(number, conflict, decisions.rules))
        except UsageError as fault:
            faulty.append(Faulty(number, "", "not accepted", str(fault), "该行内容不被接受，请按英文提示更正。"))
    return Imported(recorded, again, empty, tuple(faulty))


def write_quarantine(path: Path, faulty: Sequence[Faulty]) -> None:
    """Write what is wrong as a CSV file: row and column as the spreadsheet shows them, the rule, what to do."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["row 行", "column 列", "rule", "what to do", "处理办法"])
    titles = {c.name: f"{c.title.zh} {c.title.en}" for c in COLUMNS}
    writer.writerows([f.row, titles.get(f.column, f.column), f.rule, cell(f.en), cell(f.zh)] for f in faulty)
    commit_file(path, lines.getvalue().encode("utf-8-sig"))


def scored_month_of(file: Path) -> Path:
    """The folder of the scored month that a workbook was made from.

    Raises
    ------
    NotFound
        If there is no such file, or the folder that it names is not here.
    ContractError
        If it is no workbook of `riskmodel sheets`.
    """
    lists = _sheet(file, LISTS, None)
    folder = str(lists.iloc[0, SCORED_AT]) if lists.shape[1] > SCORED_AT else ""
    if not folder or not Path(folder).is_dir():
        raise NotFound(f"{file.name}: the scored month that it was made from is not here. Give its folder: --alerts DIR.")
    return Path(folder)


def _sheet(file: Path, name: str, header: int | None) -> pd.DataFrame:
    """A sheet of the workbook, all as text."""
    import fastexcel

    if not file.is_file():
        raise NotFound(f"{file}: no such file.")
    file.open("rb").close()  # the reader calls a file that may not be read no workbook
    try:
        return fastexcel.read_excel(file).load_sheet(name, header_row=header, dtypes="string").to_pandas()
    except fastexcel.FastExcelError:
        raise ContractError(
            f"{file.name}: no workbook with a sheet {name!r}. Export it with `riskmodel sheets`, fill it in and save it as "
            "xlsx."
        ) from None


def _read(file: Path) -> list[dict[str, str]]:
    """The rows as texts by column name, empty ones included; a row's place tells its number."""
    table = _sheet(file, SHEET, 0)
    lacking = [name for name in NAMES if name not in table]
    if lacking:
        raise ContractError(
            f"{file.name}: column {lacking[0]!r} is missing. Columns may not be deleted or renamed: export the workbook "
            "again."
        )
    texts = table[list(NAMES)].astype(object).where(lambda t: t.notna(), "")
    rows = texts.to_dict("records")
    return [{k: str(v) if k == "household_id" else str(v).strip() for k, v in row.items()} for row in rows]


def _is_titles(cells: Mapping[str, str]) -> bool:
    """Whether a row is that of the titles, for the most part unchanged, wherever sorting or deleting rows has moved it."""
    same = [cells[c.name].split() == f"{c.title.zh}\n{c.title.en}".split() for c in COLUMNS]
    return 2 * sum(same) > len(same)


def _faults_of_row(
    number: int, cells: Mapping[str, str], alert: Mapping[str, Any] | None, month: ScoredMonth
) -> list[Faulty]:
    """Whether the row is still that of an alert of the month."""
    if row_hash(cells) != cells["row_sha256"]:
        return [
            Faulty(
                number, "", "locked cells unchanged",
                "a locked cell of this row was changed, or the row was moved in part: export the workbook again and fill it "
                "in there",
                "本行锁定单元格被改动：请重新导出后填写",
            )
        ]  # fmt: skip
    if cells["as_of"] != month.as_of or cells["model_version"] != str(month.about["model_version"]):
        return [
            Faulty(
                number, "as_of", "same month and model",
                f"the row is not of this folder, which holds {month.as_of} by version {month.about['model_version']}: give "
                "the folder that the workbook was made from",
                f"该行不属于此目录（{month.as_of}）：请指定生成该工作簿的目录",
            )
        ]  # fmt: skip
    if alert is None:
        return [
            Faulty(
                number, "household_id", "known alert",
                "no alert of this month: give the folder that the workbook was made from",
                "本月名单中没有该户：请指定生成该工作簿的目录",
            )
        ]  # fmt: skip
    return []


def _given(
    number: int,
    cells: Mapping[str, str],
    alert: Mapping[str, Any],
    offered: Mapping[str, Mapping[str, str]],
    chosen: Mapping[str, Mapping[str, str]],
    found: list[Faulty],
) -> dict[str, Any]:
    """The fields of the decision; what cannot be read is added to `found`."""
    given: dict[str, Any] = {name: cells[name] for name in ("note", "statement", "reviewer")}
    for name, of in _LISTS.items():
        typed = as_typed(cells[name])
        if typed and typed not in chosen[of]:
            words = "; ".join(offered[of])
            found.append(
                Faulty(number, name, "choose from the list",
                       f"choose one of the list, in both languages or one of them: {words}",
                       f"请从列表中选择（中英文或其中一种均可）：{words}")
            )  # fmt: skip
        given[name] = chosen[of].get(typed, "")
    if not cells["action"]:
        found.append(
            Faulty(number, "action", "decision present", "choose a decision, or empty the row", "请选择决定，或清空该行")
        )
    if not cells["reviewer"]:
        found.append(Faulty(number, "reviewer", "reviewer present", "write who decided", "请填写审核人"))
    day = _day(cells["decided_on"])
    if day is None:
        found.append(
            Faulty(number, "decided_on", "date present", "write the day of the decision, such as 2024-06-30",
                   "请填写决定日期，如2024-06-30")
        )  # fmt: skip
    elif not first_day(month_number(alert["as_of"])) <= day <= dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1):
        found.append(
            Faulty(number, "decided_on", "date plausible",
                   f"the day lies before {alert['as_of']} or in the future: correct it",
                   f"日期早于{alert['as_of']}或在将来：请更正")
        )  # fmt: skip
    if given["action"] == "confirm" and given["cause"] in ("", alert["verdict"]):
        given["cause"] = alert["verdict"]
    given["appeal"] = given["appeal"] or "none"
    given["ruled_out"] = str(alert["unchecked"]) if given["ruled_out"] == "yes" else ""
    given["supersedes"] = int(cells["supersedes"]) if cells["supersedes"] else None
    given["decided_at"] = None if day is None else f"{day.isoformat()}T00:00:00+00:00"
    return given


def _day(text: str) -> dt.date | None:
    """A day as a spreadsheet or a person writes it, year first; None where it is another text, or could be two days.

    >>> _day("2024年6月30日"), _day("2024-06-30 00:00:00"), _day("5/7/2024"), _day("2024-06")
    (datetime.date(2024, 6, 30), datetime.date(2024, 6, 30), None, None)
    """
    found = _YEAR_FIRST.fullmatch(unicodedata.normalize("NFKC", text).strip())
    try:
        return found and dt.date(*(int(part) for part in found.groups() if part))
    except ValueError:
        return None


def _same(decision: Decision, row: Mapping[str, Any]) -> bool:
    """Whether a recorded row is this decision: same content, reviewer and day."""
    mine = {name: plain(getattr(decision, name)).strip() for name in _KEPT}
    return (
        mine == {name: row[name] for name in _KEPT}
        and reviewer_name(decision.reviewer) == row["reviewer"]
        and decision.decided_at[:10] == row["decided_at"][:10]
    )


def _conflict(number: int, conflict: Conflict, rules: ReviewRules) -> Faulty:
    last = conflict.between[-1]
    action = rules.action(last["action"])
    where = {"app": ("in the app", "在审核网页中")}.get(last["source"], ("elsewhere", "在别处"))
    return Faulty(
        number, "supersedes", "conflict",
        f"{last['reviewer']} decided {where[0]} on {last['decided_at'][:10]}: {action.en}. Look at that decision; to decide "
        "again, export the workbook with --decisions and fill in this row anew",
        f"{last['reviewer']}已于{last['decided_at'][:10]}{where[1]}作出决定：{action.zh}。请先查看；如需重新决定，用--decisions重新导出后填写该行",
    )  # fmt: skip
