"""The report as files: bilingual headings, formula-safe cells, whole or not at all; and the command that writes it."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from riskmodel.cli import app
from riskmodel.errors import CatalogueError, UsageError
from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.running import PARTS, monitor, run_parts
from riskmodel.monitoring.writing import words_of, write_csv, write_part
from riskmodel.months import month_number
from riskmodel.register import Register, verify
from tests.cards.page import CJK, read
from tests.county import AS_OF, County

LAST = "2023-12"


@pytest.fixture(scope="module")
def written(county: County, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("monitor") / "out"
    rules = out.parent / "rules.yaml"  # no effect is estimated here: tests/monitoring/test_assistance.py does
    rules.write_text("assistance: {effects: {least_households: 400}}", encoding="utf-8")
    run = CliRunner().invoke(
        app,
        ["monitor", str(county.register), "--as-of", LAST, "--out", str(out), "--alerts", str(county.alerts)]
        + ["--rules", str(rules), "--model", "models:/return-risk@champion", "--tracking-uri", county.tracking.uri],
        catch_exceptions=False,
    )
    assert run.exit_code == 0, run.output
    assert "missed returns" in run.output
    assert re.search(r"│ \d{3},\d{3}\n", run.output) and not re.search(r"\de\+", run.output), "sums are told in full"
    return out


def test_every_part_is_written_in_three_formats_and_hashed(written: Path) -> None:
    manifest = verify(written)
    assert manifest["kind"] == "monitoring"
    for part in PARTS:
        tables = {Path(name).stem for name in manifest["files"] if name.startswith(f"{part.name}/")}
        for table in tables:
            parquet, csv = (written / part.name / f"{table}.{kind}" for kind in ("parquet", "csv"))
            assert len(pd.read_parquet(parquet)) == len(pd.read_csv(csv, encoding="utf-8-sig"))
        assert (written / f"{part.name}.xlsx").is_file()
    summary = json.loads((written / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["parts"]) == {part.name for part in PARTS}
    assert summary["rules"]["spells"]["long_stay_months"] == 18


def test_the_bulletin_is_committed_with_the_tables_and_printed_among_what_to_open(written: Path) -> None:
    manifest = verify(written)
    assert "bulletin.html" in manifest["files"] and manifest["about"]["inputs"]["before"] is None
    html = read(written / "bulletin.html")
    assert f"监测简报 {LAST}" in html and "<script" not in html
    for part in PARTS:
        assert f'<summary id="{part.name}">' in html


def test_a_later_report_holds_its_totals_against_an_earlier_one_and_is_the_same_twice(
    county: County, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def monitor(month: str, *more: str, out: str = "out") -> Result:
        command = [
            "monitor",
            str(county.register),
            "--as-of",
            month,
            "--out",
            str(tmp_path / out),
            "--parts",
            "month,spells",
        ]
        return CliRunner().invoke(app, [*command, "--lang", "en", *more])

    assert monitor("2023-11", out="november").exit_code == 0
    assert monitor(LAST, "--before", str(tmp_path / "november")).exit_code == 0
    first = (tmp_path / "out" / "bulletin.html").read_bytes()
    said = read(tmp_path / "out" / "bulletin.html")
    assert "Totals in brackets are those of the report of 2023-11." in said
    assert re.search(r"18 months or more: \d+ \(in 2023-11: \d+\)", said)
    assert "The part drift was not asked for (--parts)." in said
    run = monitor(LAST, "--before", str(tmp_path / "november"))
    assert (tmp_path / "out" / "bulletin.html").read_bytes() == first
    assert f"Open {tmp_path / 'out' / 'bulletin.html'}" in run.output.replace("\n", "")
    monkeypatch.setattr("riskmodel.cards.bulletin.render", lambda *_, **__: 1 / 0)
    assert monitor(LAST).exit_code != 0
    assert (tmp_path / "out" / "bulletin.html").read_bytes() == first, "a report that fails leaves the old one whole"
    late = monitor("2023-10", "--before", str(tmp_path / "november"), out="october")
    assert isinstance(late.exception, UsageError) and "not before 2023-10" in str(late.exception)
    assert not (tmp_path / "october").exists()


def test_sheets_are_read_in_both_languages(written: Path) -> None:
    book = openpyxl.load_workbook(written / "spells.xlsx")
    sheet = book["long_stays"]
    assert "长时间监测名单" in sheet["A1"].value
    assert sheet["A2"].value == "household\n户编号"
    kinds = {row[0].value for row in book["duration_summary"].iter_rows(min_row=3, max_col=1)}
    assert kinds <= {"below the line / 低于监测线", "in monitoring / 监测中"}
    notes = [cell.value for cell in book.worksheets[0]["B"]]
    assert any("删失" in note for note in notes)


def test_a_village_that_the_bulletin_tells_of_is_named_with_its_township() -> None:
    """Two townships may each have a village of one name; a household is known by its own number."""
    told = {name: columns for part in PARTS for name, columns in words_of(part.name).bulletin.items()}
    of_villages = {name: c for name, c in told.items() if "village_id" in c and "household_id" not in c}
    assert {"concentration", "support_off_villages"} <= set(of_villages)
    for columns in of_villages.values():
        assert "township_id" in columns[: columns.index("village_id")]


def test_words_of_every_part_are_natural_in_both_languages_and_complete() -> None:
    for part in PARTS:
        words = words_of(part.name)
        for known in (words.tables, words.columns, *words.values.values()):
            for name, said in known.items():
                assert said["en"] and said["zh"], name


def test_units_and_funds_of_a_simulated_county_have_words_and_others_are_written_as_they_are(county: County) -> None:
    help_given = pd.read_parquet(county.folder / "source" / "assistance.parquet")
    for part, column in (("funds", "responsible_unit"), ("funds", "fund_source"), ("industries", "responsible_unit")):
        for value in help_given[column].dropna().unique():
            en, zh = words_of(part).value(column, value)
            assert en == value and CJK.search(zh), (part, column, value)
    assert words_of("funds").value("responsible_unit", "county office") == ("county office", "county office")


def test_a_unit_that_is_named_like_a_kind_of_help_is_told_as_the_unit(tmp_path: Path) -> None:
    totals = pd.DataFrame({"by": ["kind", "kind", "unit", "unit", "source"],
                           "of_what": ["*", "water", "water", "housing", "county fund"], "paid": 1.0})  # fmt: skip
    write_part(tmp_path, "funds", Found({"fund_totals": totals}), 20)
    sheet = openpyxl.load_workbook(tmp_path / "funds.xlsx")["fund_totals"]
    assert [sheet.cell(row, 2).value for row in range(3, 8)] == [
        "all / 全部", "safe water / 饮水安全保障", "water / 水利部门", "housing / 住房城乡建设部门",
        "county fund / 县级资金",
    ]  # fmt: skip
    assert pd.read_parquet(tmp_path / "funds" / "fund_totals.parquet").equals(totals), "the files hold the books"


def test_a_column_without_words_is_refused(tmp_path: Path) -> None:
    found = Found({"long_stays": pd.DataFrame({"household_id": ["1"], "shoe_size": [44]})})
    with pytest.raises(CatalogueError, match="'shoe_size' of part 'spells'"):
        write_part(tmp_path, "spells", found, 20)


def test_no_cell_is_taken_for_a_formula_or_a_link(tmp_path: Path) -> None:
    bad = ["=1+1", "@SUM(A1)", "+2", "-3", "https://example.org"]
    found = Found({"long_stays": pd.DataFrame({"household_id": bad, "months": [18, 19, -20, 21, 22]})})
    write_part(tmp_path, "spells", found, 20)
    sheet = openpyxl.load_workbook(tmp_path / "spells.xlsx")["long_stays"]
    cells = [row[0] for row in sheet.iter_rows(min_row=3, max_col=1)]
    assert [c.value for c in cells] == bad
    assert {c.data_type for c in cells} == {"s"}
    assert not any(c.hyperlink for c in cells)
    csv = pd.read_csv(tmp_path / "spells" / "long_stays.csv", dtype=str, encoding="utf-8-sig")
    assert csv["household_id"].tolist() == ["'=1+1", "'@SUM(A1)", "'+2", "'-3", "https://example.org"]
    assert csv["months"].tolist() == ["18", "19", "-20", "21", "22"], "a number below zero is no formula"
    assert pd.read_parquet(tmp_path / "spells" / "long_stays.parquet")["household_id"].tolist() == bad


def test_a_sheet_keeps_income_below_the_line_as_it_is_and_never_shows_it_as_one(tmp_path: Path) -> None:
    rows = pd.DataFrame({"household_id": ["h1", "h2"], "ratio_without_support": [0.9974, 1.0026]})
    write_part(tmp_path, "industries", Found({"support_off": rows}), 10)
    sheet = openpyxl.load_workbook(tmp_path / "industries.xlsx")["support_off"]
    assert [sheet.cell(row, 2).value for row in (3, 4)] == [0.9974, 1.0026]
    (area,) = sheet.conditional_formatting
    (rule,) = area.rules
    low, high = (float(bound) for bound in rule.formula)
    assert str(area.sqref) == "B3:B4" and rule.dxf.numFmt.formatCode == '"0.99"'
    assert low <= 0.9974 < high < 1 and low == 0.995, "all else has two decimals, rounded"


def test_notes_headings_and_texts_have_the_room_that_they_need(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"household_id": ["h1"], "measures": ["comprehensive protection; compulsory schooling"], "months": [18]}
    )
    write_part(tmp_path, "spells", Found({"long_stays": rows}, notes=[("A note. " * 60, "说明。" * 60)]), 20)
    book = openpyxl.load_workbook(tmp_path / "spells.xlsx")
    front, sheet = book.worksheets
    assert front.row_dimensions[2].height == 105 and front.page_setup.fitToHeight == 0
    assert sheet.row_dimensions[2].height >= 30, "English over Chinese"
    assert [sheet.column_dimensions[c].width > least for c, least in (("A", 14), ("B", 45), ("C", 14))] == [True] * 3
    assert not sheet["A1"].alignment.wrap_text, "the title runs on over the columns beside it"


def test_what_is_not_known_is_an_empty_cell(tmp_path: Path) -> None:
    gaps = {"household_id": ["1", None], "helped_on": pd.to_datetime(["2023-01-05", None]), "months": [None, 3]}
    write_part(tmp_path, "spells", Found({"removed_early": pd.DataFrame(gaps)}), 20)
    sheet = openpyxl.load_workbook(tmp_path / "spells.xlsx")["removed_early"]
    rows = [row for row in sheet.iter_rows(min_row=3, values_only=True)]
    assert rows == [("1", dt.datetime(2023, 1, 5), None), (None, None, 3)], "a day is a day, to be sorted and filtered by"


def test_a_sheet_holds_the_first_rows_of_a_long_list_and_says_where_all_households_are(tmp_path: Path) -> None:
    ids = [f"{i:02}" for i in range(30)]
    write_part(tmp_path, "spells", Found({"long_stays": pd.DataFrame({"household_id": ids})}), 20)
    sheet = openpyxl.load_workbook(tmp_path / "spells.xlsx")["long_stays"]
    assert "20 of 30 rows, all in long_stays.csv" in sheet["A1"].value
    assert [cell.value for cell in sheet["A"][2:]] == ids[:20]
    for kept in (pd.read_parquet(tmp_path / "spells" / "long_stays.parquet"), _csv(tmp_path / "spells" / "long_stays.csv")):
        assert kept["household_id"].tolist() == ids


def _csv(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, encoding="utf-8-sig")


def test_a_sheet_of_no_rows_keeps_its_headings_and_every_kind_of_value_its_look(tmp_path: Path) -> None:
    rows = pd.DataFrame({
        "household_id": ["1", "2"], "identified_on": pd.to_datetime(["2023-01-05", "2023-02-01"]),
        "came_back": [True, False], "months": [1200, 3], "ratio": [1.5, float("inf")], "chance_6m_share": [0.25, None],
    })  # fmt: skip
    write_part(tmp_path, "spells", Found({"removed_early": rows, "long_stays": rows[:0]}), 20)
    book = openpyxl.load_workbook(tmp_path / "spells.xlsx")
    assert [tuple(row) for row in book["removed_early"].iter_rows(min_row=3, values_only=True)] == [
        ("1", dt.datetime(2023, 1, 5), "yes / 是", 1200, 1.5, 0.25),
        ("2", dt.datetime(2023, 2, 1), "no / 否", 3, "#DIV/0!", None),
    ]
    assert [c.number_format for c in book["removed_early"][3]] == [
        "General",
        "yyyy-mm-dd",
        "General",
        "#,##0",
        "#,##0.00",
        "0.0%",
    ]
    assert book["long_stays"].max_row == 2 and book["long_stays"]["A2"].value == "household\n户编号"


@pytest.mark.slow
def test_a_month_of_which_little_is_to_be_told_has_files_of_the_same_types_as_any_other(
    county: County, tmp_path: Path
) -> None:
    rules = Rules(assistance={"estimate_effects": False})
    types: dict[tuple[str, ...], set[str]] = {}
    for month in ("2021-01", "2021-02", LAST):
        for part, found in monitor(Register.open(county.register), month, rules=rules).items():
            stage = tmp_path / month
            stage.mkdir(exist_ok=True)
            write_part(stage, part, found, sheet_rows=10)
            for file in (stage / part).glob("*.parquet"):
                for column in pq.read_schema(file):
                    kind = str(column.type).removeprefix("large_")
                    types.setdefault((part, file.stem, column.name), set()).add(kind)
    assert ("drift", "alarms", "p_value") in types and ("spells", "long_stays", "since") in types
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1 or "null" in kinds} == {}


def test_only_the_parts_that_were_named_are_run(county: County) -> None:
    asked = Asked(Register.open(county.register), month_number(AS_OF), Rules())
    assert list(run_parts(asked, ["misses"])) == ["misses"]
    with pytest.raises(UsageError, match="no part 'mises': choose from month, spells, assistance, funds, misses"):
        run_parts(asked, ["mises"])


@pytest.mark.parametrize("told", ["plain", "0412", 'Li "the elder"', "a, b", "two\nlines", None])
def test_a_file_of_values_is_the_file_that_pandas_writes(told: str | None, tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "household_id": ["001", "002", told],
            "paid": [1234.5, 1e-5, None],
            "planned": [1e16, 3.0, -0.0],
            "extent": [12345678901.25, float("inf"), 0.00012],
            "on": pd.to_datetime(["2023-05-01", None, "2024-02-29"]),
            "months": pd.array([3, None, 12], "Int64"),
        }
    )
    rows.to_csv(tmp_path / "pandas.csv", index=False, encoding="utf-8-sig", lineterminator="\n")
    write_csv(rows, tmp_path / "ours.csv")
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()


def test_a_list_whose_first_county_has_nobody_is_the_file_that_pandas_writes(tmp_path: Path) -> None:
    counties = [pd.DataFrame({"household_id": ids, "kind": ["x"] * len(ids)}, dtype="str") for ids in ([], ["007", "008"])]
    write_csv(pd.concat(counties, ignore_index=True), tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_text(encoding="utf-8-sig") == "household_id,kind\n007,x\n008,x\n"


@pytest.mark.parametrize("odd", [[True, False], ["a", 1.5], [pd.Timestamp("2023-05-01 12:00"), None]])
def test_a_file_with_values_of_another_kind_is_the_file_that_pandas_writes(odd: list[object], tmp_path: Path) -> None:
    rows = pd.DataFrame({"household_id": ["001", "002"], "told": odd, "share": [0.5, 1.0]})
    rows.to_csv(tmp_path / "pandas.csv", index=False, encoding="utf-8-sig", lineterminator="\n")
    write_csv(rows, tmp_path / "ours.csv")
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()
