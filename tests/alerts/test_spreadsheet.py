"""The list of alerts as a workbook."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import openpyxl
import pandas as pd
import pytest

from riskmodel.alerts.spreadsheet import write_excel

HOUSEHOLDS = [
    "0412",
    "=1+1",
    "http://a.b",
    "<r>&amp;</r>",
    " a\nb ",
    "甲\U00020000",
    "a" * 40_000,
    "b\x07\ufffe\u202ec",
]


@pytest.fixture(scope="module")
def listed() -> pd.DataFrame:
    count = len(HOUSEHOLDS)
    return pd.DataFrame({
        "household_id": HOUSEHOLDS,
        "risk": [0.1 + 0.2, 1e-12, None, *[0.5] * (count - 3)],
        "rank": range(1, count + 1),
        "driver_1": ["illness", "", None, *["job"] * (count - 3)],
        "verdict_confidence": [0.9] * count,
    })  # fmt: skip


def test_a_household_is_called_in_the_workbook_as_in_the_register(listed: pd.DataFrame, tmp_path: Path) -> None:
    write_excel(listed, tmp_path / "alerts.xlsx")
    read = pd.read_excel(tmp_path / "alerts.xlsx", dtype={"household_id": str}, keep_default_na=False)
    names = [*HOUSEHOLDS[:-2], HOUSEHOLDS[-2][:32_767], "bc"]
    assert read["household_id"].tolist() == names, "whole, as far as a cell holds it, and without what does harm"
    assert read["risk"].tolist()[:2] == [pytest.approx(0.3, abs=1e-15), 1e-12]
    assert read["risk"].tolist()[2] == "" and read["driver_1"].tolist()[:4] == ["illness", "", "", "job"]


def test_a_name_that_reads_as_an_escaped_character_stays_a_name(tmp_path: Path) -> None:
    write_excel(pd.DataFrame({"household_id": ["_x0041_"]}), tmp_path / "alerts.xlsx")
    with ZipFile(tmp_path / "alerts.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert ">_x005F_x0041_</t>" in sheet, "as ECMA-376, part 1, 22.9.2.19 writes it"


def test_every_row_of_the_workbook_has_the_look_of_its_column(listed: pd.DataFrame, tmp_path: Path) -> None:
    for rows in (listed, listed[:1], listed[:0]):
        write_excel(rows, tmp_path / "alerts.xlsx")
        sheet = openpyxl.load_workbook(tmp_path / "alerts.xlsx")["alerts"]
        assert sheet.max_row == len(rows) + 1
        assert sheet.auto_filter.ref == f"A1:E{max(len(rows), 1) + 1}" and sheet.freeze_panes == "B2"
        for row in sheet.iter_rows(min_row=2, max_row=len(rows) + 1):
            for title, cell in zip(rows.columns, row, strict=True):
                share = title in ("risk", "verdict_confidence")
                if cell.value is not None:
                    assert cell.number_format == ("0%" if share else "General") and cell.data_type in "sn"


def test_a_row_is_as_high_as_its_longest_text(tmp_path: Path) -> None:
    rows = pd.DataFrame({"household_id": ["h1", "h2", "h3"], "reason_en": ["short", "ten letters " * 50, None],
                         "reason_zh": ["短", "短", "原因" * 150]})  # fmt: skip
    write_excel(rows, tmp_path / "alerts.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "alerts.xlsx")["alerts"]
    assert [sheet.row_dimensions[row].height for row in (2, 3, 4)] == [15, 120, 120], (
        "600 letters, or half as many wide ones"
    )
    assert all(sheet.row_dimensions[row].customHeight for row in (2, 3, 4))


def test_the_same_alerts_are_the_same_workbook(listed: pd.DataFrame, tmp_path: Path) -> None:
    write_excel(listed, tmp_path / "a.xlsx")
    write_excel(listed.copy(), tmp_path / "b.xlsx")
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
