"""Decisions leave as a table, and no cell of it is a formula."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from riskmodel.errors import UsageError
from riskmodel.review.decisions import Decisions
from riskmodel.review.export import decisions_with_alerts, write_decisions
from tests.review.month import HOSTILE, alert, decision, write_month


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    folder = write_month(tmp_path / "alerts", [alert(text) for text in HOSTILE] + [alert("0412"), alert("0413")])
    store = Decisions.open(tmp_path / "decisions.db")
    for text in HOSTILE:
        store.record(decision(text, note=text, statement=text, reviewer=f"{text} Li"))
    first = store.record(decision("0412"))
    store.record(decision("0412", reviewer="Wang Wei", supersedes=first["seq"]))
    store.record(decision("0412", as_of="2024-05"))
    store.record(decision("not on the list"))
    return decisions_with_alerts(folder, store.table())


def test_every_alert_and_every_decision_of_the_month_is_there(frame: pd.DataFrame) -> None:
    assert len(frame) == len(HOSTILE) + 2 + 1 + 1
    assert frame.loc[frame["household_id"] == "0412", "decision_reviewer"].tolist() == ["Li Na", "Wang Wei"]
    assert frame.loc[frame["household_id"] == "0413", "decision_seq"].isna().all()
    assert frame.loc[frame["household_id"] == "not on the list", "risk"].isna().all()
    assert set(frame["as_of"]) == {"2024-06"}


def test_no_cell_of_a_csv_begins_as_a_formula(frame: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "decisions.csv"
    write_decisions(frame, file)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(frame)
    for row in rows:
        for name, cell in row.items():
            assert not cell.startswith(("=", "+", "@", "\t", "\r")), name
    assert "'=cmd|' /C calc'!A0" in {row["household_id"] for row in rows}


def test_a_workbook_holds_words_and_no_formula_or_link(frame: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "decisions.xlsx"
    write_decisions(frame, file)
    sheet = openpyxl.load_workbook(file).active
    cells = [cell for row in sheet.iter_rows() for cell in row]
    assert not [cell.coordinate for cell in cells if cell.data_type == "f" or cell.hyperlink]
    assert {"=cmd|' /C calc'!A0", "<script>alert(1)</script>"} <= {cell.value for cell in cells}
    with zipfile.ZipFile(file) as parts:
        text = parts.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in text and "<script>" not in text


def test_parquet_keeps_the_words_as_they_are(frame: pd.DataFrame, tmp_path: Path) -> None:
    write_decisions(frame, tmp_path / "decisions.parquet")
    read = pd.read_parquet(tmp_path / "decisions.parquet")
    assert read["decision_note"].dropna().tolist() == frame["decision_note"].dropna().tolist()
    assert read["household_id"].tolist() == frame["household_id"].tolist()


def test_another_ending_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=".csv, .parquet, .xlsx"):
        write_decisions(frame, tmp_path / "decisions.txt")
