"""Bad input: what it is, where it is and what to do, never a value; exit code 3 and nothing half-written."""

import datetime as dt
import gzip
import json
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from typer.testing import CliRunner

from riskmodel.cli import app
from riskmodel.errors import ContractError, NotFound, UsageError
from riskmodel.register import Register, ingest

SOURCE = {"source": "county", "tables": {"records": {"file": "records.csv"}}}
GOOD = "household_id,month,welfare,hh_size\nh1,2023-01,1000,3\nh2,2023-01,2000,4\nh3,2023-01,2500,5\n"
SECRET = "31415"


def refused(tmp_path: Path, text: str | bytes, source: dict = SOURCE, name: str = "records.csv") -> str:
    """The message with which a file is refused; what was there before is still there, and nothing else."""
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(ContractError) as refusal:
        ingest(source, tmp_path, tmp_path / "new" / "register")
    assert refusal.value.exit_code == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    chain = refusal.value.__cause__, refusal.value.__suppress_context__ or refusal.value.__context__
    assert chain in [(None, True), (None, None)]
    return str(refusal.value)


def reasons(tmp_path: Path, rows: str, header: str = "household_id,month,welfare,hh_size", source: dict = SOURCE) -> dict:
    """Reasons for which rows go to quarantine, besides five good rows."""
    fill = header.count(",") - 1
    good = "".join(f"g{n},2023-01{',' * fill}\n" for n in range(5))
    (tmp_path / "records.csv").write_text(f"{header}\n{good}{rows}", encoding="utf-8")
    report = ingest(source, tmp_path, tmp_path / "register").tables["records"]
    assert report.rows_in == report.accepted + report.quarantined + report.collapsed
    return report.reasons


def test_a_missing_required_column_is_named_with_the_nearest(tmp_path):
    source = {
        "source": "t",
        "tables": {
            "records": {
                "file": "records.csv",
                "columns": {"household_id": "户编号", "month": "月份", "welfare": "收入"},
            }
        },
    }
    message = refused(tmp_path, "户编码,月份,收入\n1,2023-01,1\n", source)
    assert "records.csv: no column '户编号' for the required household_id" in message and "did you mean '户编码'" in message
    assert "no column 'month'" in refused(tmp_path, "household_id,welfare\n1,1\n")


@pytest.mark.parametrize(("records", "looked_for"), [({"file": "月度*.csv"}, "月度*.csv"), ({}, "records.csv")])
def test_where_no_records_lie_it_is_said_what_was_looked_for(tmp_path, records, looked_for):
    assert looked_for in refused(tmp_path, GOOD, {"tables": {"records": records}}, "记录.csv")


@pytest.mark.parametrize("text", ["", "\n\n", "household_id,month,welfare\n", "household_id,month,welfare\n,,\n"])
def test_an_empty_file(tmp_path, text):
    message = refused(tmp_path, text)
    assert "records.csv" in message and ("empty" in message or "no rows" in message)


def test_an_empty_sheet_a_missing_sheet_and_a_file_that_is_no_workbook(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "空"
    book.save(tmp_path / "records.xlsx")
    content = (tmp_path / "records.xlsx").read_bytes()
    source = {"source": "t", "tables": {"records": {"file": "records.xlsx"}}}
    assert "empty" in refused(tmp_path, content, source, "records.xlsx")
    sheet = {"source": "t", "tables": {"records": {"file": "records.xlsx", "sheet": "月度"}}}
    assert "no sheet '月度'. Its sheets: 空" in refused(tmp_path, content, sheet, "records.xlsx")
    assert "not a readable Excel" in refused(tmp_path, b"nonsense", source, "records.xlsx")
    parquet = {"source": "t", "tables": {"records": {"file": "records.parquet"}}}
    assert "not a readable Parquet" in refused(tmp_path, b"nonsense", parquet, "records.parquet")


def test_bytes_in_no_known_encoding(tmp_path):
    assert "not UTF-8 or GB18030" in refused(tmp_path, GOOD.encode() + b"\xff\xff\xff,2023-01,1,1\n")
    strict = {**SOURCE, "encoding": "utf-8"}
    assert "not UTF-8" in refused(tmp_path, GOOD.encode() + "户,2023-01,1,1\n".encode("gb18030"), strict)


def test_a_packed_file_that_is_cut_short_or_holds_another_kind(tmp_path):
    source = {"source": "t", "tables": {"records": {"file": "records.csv.gz"}}}
    for content in (b"nonsense", gzip.compress(GOOD.encode())[:-9]):
        assert "records.csv.gz: not a readable gzip" in refused(tmp_path, content, source, "records.csv.gz")
    (tmp_path / "records.csv.gz").unlink()
    packed = {"source": "t", "tables": {"records": {"file": "records.parquet.gz"}}}
    assert "unknown kind" in refused(tmp_path, gzip.compress(b"PAR1"), packed, "records.parquet.gz")


def test_a_torn_row_is_named_and_not_shown(tmp_path):
    message = refused(tmp_path, GOOD + f"h4,2023-01\nh5,{SECRET},1,1\n")
    assert "records.csv, row 5" in message and "more or fewer fields" in message and "h4" not in message


def test_two_columns_of_one_name(tmp_path):
    assert "two columns are called 'welfare'" in refused(tmp_path, "household_id,month,welfare,welfare\n1,2023-01,1,1\n")


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet", "frame"])
def test_a_column_that_is_read_must_be_there_once_in_whatever_case(tmp_path, kind):
    row = {"household_id": ["h1"], "month": ["2023-01"], "welfare": [1.0], "Welfare": [2.0]}
    data, source = tmp_path, {"source": "t", "tables": {"records": {}}}
    match kind:
        case "csv":
            pd.DataFrame(row).to_csv(tmp_path / "records.csv", index=False)
        case "xlsx":
            pd.DataFrame(row).to_excel(tmp_path / "records.xlsx", index=False)
        case "parquet":
            pd.DataFrame(row).to_parquet(tmp_path / "records.parquet")
        case "frame":
            data = pd.DataFrame(row)
    with pytest.raises(ContractError, match="'welfare' and 'Welfare' differ in case alone. Rename one"):
        ingest(source, data, tmp_path / "register")
    mapped = {"household_id": "household_id", "month": "month", "welfare": {"sql": "1.0"}}
    ingest({"source": "t", "tables": {"records": {"columns": mapped}}}, data, tmp_path / "register")


def test_two_columns_of_a_workbook_are_twins_only_if_both_bear_the_name(tmp_path):
    header = ["household_id", "month", "welfare", "welfare_1"]
    pd.DataFrame([["h1", "2023-01", 1.0, 2.0]], columns=header).to_excel(tmp_path / "records.xlsx", index=False)
    ingest({"source": "t", "tables": {"records": {}}}, tmp_path, tmp_path / "register")
    book = openpyxl.load_workbook(tmp_path / "records.xlsx")
    book.active["D1"] = "welfare"
    book.save(tmp_path / "records.xlsx")
    with pytest.raises(ContractError, match="two columns are called 'welfare'"):
        ingest({"source": "t", "tables": {"records": {}}}, tmp_path, tmp_path / "register")


def test_zero_bytes_are_no_text(tmp_path):
    assert "it holds zero bytes" in refused(tmp_path, GOOD.encode("utf-16-le"))
    assert "it holds zero bytes" in refused(tmp_path, GOOD.replace("h2", "h\0"))


def test_a_file_of_one_column_is_told_what_separates_fields(tmp_path):
    assert "fields are told apart by commas, tabs or semicolons" in refused(tmp_path, GOOD.replace(",", "|"))


def test_each_file_of_a_table_has_what_no_row_can_do_without(tmp_path):
    source = {"source": "t", "tables": {"records": {"file": "part*.csv"}}}
    (tmp_path / "part1.csv").write_text(GOOD, encoding="utf-8")
    message = refused(tmp_path, GOOD.split("\n", 1)[1], source, "part2.csv")
    assert "part2.csv: no column 'household_id'" in message and "h1" not in message
    (tmp_path / "part2.csv").write_text("household_id,month,welfare,size\nh9,2023-01,1,2\n", encoding="utf-8")
    report = ingest(source, tmp_path, tmp_path / "register")
    assert report.not_found == {"records": ["hh_size (hh_size in part2.csv)"]}


def test_a_damaged_parquet_file_is_named(tmp_path):
    for part in (1, 2):
        rows = {"household_id": [f"h{part}{n}" for n in range(900)], "month": "2023-01", "welfare": float(part)}
        pd.DataFrame(rows).to_parquet(tmp_path / f"part{part}.parquet", compression=None)
    file = tmp_path / "part2.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:400] + b"\xff" * 400 + content[800:])
    with pytest.raises(ContractError, match="part2.parquet: the file is damaged"):
        ingest({"source": "t", "tables": {"records": {"file": "part*"}}}, tmp_path, tmp_path / "register")


def test_files_that_hold_a_column_as_types_that_do_not_go_together(tmp_path):
    rows = pd.DataFrame({"household_id": ["h1"], "month": [202301], "welfare": [1.0]})
    rows.to_parquet(tmp_path / "part1.parquet")
    rows.assign(month=pd.Timestamp("2023-02-01")).to_parquet(tmp_path / "part2.parquet")
    with pytest.raises(ContractError, match="part2.parquet, column month: the files hold it as BIGINT and as"):
        ingest({"source": "t", "tables": {"records": {"file": "part*"}}}, tmp_path, tmp_path / "register")


@pytest.mark.parametrize("pattern", ["", "**records.csv/"])
def test_a_pattern_that_is_none(tmp_path, pattern):
    with pytest.raises(ContractError, match="tables.records"):
        ingest({"source": "t", "tables": {"records": {"file": pattern}}}, tmp_path, tmp_path / "register")


def test_a_filter_names_columns_that_are_there_and_says_yes_or_no(tmp_path):
    def source(where):
        return {"source": "t", "tables": {"records": {"file": "records.csv", "where": where}}}

    message = refused(tmp_path, GOOD, source("number(welfar) > 0"))
    assert "where: no column 'welfar' in records.csv; did you mean 'welfare'?" in message
    assert "records.where: the expression fails" in refused(tmp_path, GOOD, source("household_id"))


def test_what_is_no_data_frame(tmp_path):
    with pytest.raises(UsageError, match="DataFrame records: the data are a list"):
        ingest({"source": "t", "tables": {"records": {}}}, {"records": [1]}, tmp_path / "register")


def test_columns_that_are_mapped_and_not_there_are_told_on_the_command_line(tmp_path):
    (tmp_path / "records.csv").write_text(GOOD, encoding="utf-8")
    columns = "household_id: household_id, month: month, welfare: welfare, debt: owed"
    (tmp_path / "mine.yaml").write_text(f"tables: {{records: {{columns: {{{columns}}}}}}}\n", encoding="utf-8")
    told = CliRunner().invoke(app, ["ingest", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "register")])
    assert told.exit_code == 0 and "Columns mapped and not in the data: records: debt (owed)." in told.stdout


def test_data_that_are_not_there(tmp_path):
    with pytest.raises(NotFound):
        ingest(SOURCE, tmp_path / "nowhere", tmp_path / "register")
    with pytest.raises(ContractError, match="hold no such file"):
        ingest(SOURCE, tmp_path, tmp_path / "register")


BAD_ROWS = [
    (",2023-01,1,1", "missing:household_id"),
    ("h,,1,1", "missing:month"),
    ("h,2023-13,1,1", "not_a_date:month"),
    ("h,2023-02-30,1,1", "not_a_date:month"),
    ("h,5/1/2023,1,1", "not_a_date:month"),
    ("h,1023-01,1,1", "not_a_date:month"),
    ("h,2999-01,1,1", "in_the_future:month"),
    ("h,2023-01,many,1", "not_a_number:welfare"),
    ('h,2023-01,"3,5",1', "not_a_number:welfare"),
    ("h,2023-01,inf,1", "not_a_number:welfare"),
    ("h,2023-01,1e999,1", "not_a_number:welfare"),
    ("h,2023-01,1,-2", "below_minimum:hh_size"),
    ("h,2023-01,1,0", "below_minimum:hh_size"),
    ("h,2023-01,1,61", "above_maximum:hh_size"),
    ("h,2023-01,1,2.5", "not_whole:hh_size"),
    (f"{'h' * 65},2023-01,1,1", "too_long:household_id"),
]


def test_each_bad_value_goes_to_quarantine_with_its_reason(tmp_path):
    text = "household_id,month,welfare,hh_size\nok,2023-01,1,1\n" + "\n".join(row for row, _ in BAD_ROWS)
    (tmp_path / "records.csv").write_text(text, encoding="utf-8")
    report = ingest({**SOURCE, "max_quarantined_share": 1}, tmp_path, tmp_path / "register").tables["records"]
    assert (report.rows_in, report.accepted, report.quarantined) == (len(BAD_ROWS) + 1, 1, len(BAD_ROWS))
    kept = pq.read_table(tmp_path / "register" / "quarantine.parquet").to_pylist()
    found = [(row["file"], row["row"], row["reasons"]) for row in kept]
    assert found == [("records.csv", line, [reason]) for line, (_, reason) in enumerate(BAD_ROWS, 3)]
    assert {tuple(json.loads(row["raw"])) for row in kept} == {("hh_size", "household_id", "month", "welfare")}


BAD_OPTIONAL = [
    ("source", "hearsay", "unknown_category:source"),
    ("food_ok", "perhaps", "not_a_boolean:food_ok"),
    ("visited_on", "2023-02-01", "in_the_future:visited_on"),
    ("visited_on", "soon", "not_a_date:visited_on"),
    ("known_at", "2022-12-31", "in_the_future:month"),
    ("known_at", "2999-01-01", "in_the_future:known_at"),
    ("industry", "x" * 65, "too_long:industry"),
    ("household_type", "贫困", "unknown_category:household_type"),
]


def test_bad_values_of_optional_columns(tmp_path):
    columns = list(dict.fromkeys(column for column, _, _ in BAD_OPTIONAL))
    rows = [
        {"household_id": f"h{n}", "month": "2023-01", "welfare": 1, column: value}
        for n, (column, value, _) in enumerate(BAD_OPTIONAL)
    ]
    frame = pd.DataFrame([*rows, {"household_id": "ok", "month": "2023-01", "welfare": 1}])
    assert set(columns) <= set(frame.columns)
    frame.to_csv(tmp_path / "records.csv", index=False)
    report = ingest({**SOURCE, "max_quarantined_share": 1}, tmp_path, tmp_path / "register").tables["records"]
    assert report.accepted == 1
    kept = pq.read_table(tmp_path / "register" / "quarantine.parquet").to_pylist()
    assert [row["reasons"] for row in kept] == [[reason] for _, _, reason in BAD_OPTIONAL]


@pytest.mark.parametrize(
    ("columns", "values", "reason"),
    [
        ("hh_size,n_able", "2,3", "more_than_hh_size:n_able"),
        ("wage_income,public_post_income", "100,101", "more_than_wage_income:public_post_income"),
        ("land_mu,land_idle_mu,land_leased_mu", "3,2,1.5", "idle_and_leased_land_exceed_land:land_idle_mu"),
    ],
)
def test_columns_that_contradict_each_other(tmp_path, columns, values, reason):
    assert reasons(tmp_path, f"h,2023-01,1,{values}\n", f"household_id,month,welfare,{columns}") == {reason: 1}


def test_what_fits_exactly_is_accepted(tmp_path):
    header = "household_id,month,welfare,hh_size,n_able,wage_income,public_post_income"
    header += ",land_mu,land_idle_mu,land_leased_mu"
    assert reasons(tmp_path, "h,2023-01,1,2,2,100,100,3,2,1\n", header) == {}


def test_a_day_of_knowing_that_cannot_be_read_is_not_taken_for_the_end_of_the_month(tmp_path):
    found = reasons(
        tmp_path, "h1,2023-01,1,someday\nh2,2023-01,1,2023-02-05\nh3,2023-01,1,\n", "household_id,month,welfare,known_at"
    )
    assert found == {"not_a_date:known_at": 1}


def test_figures_so_large_that_a_sum_of_them_is_no_number(tmp_path):
    found = reasons(tmp_path, "h1,2023-01,1e308,1e308,1\n", "household_id,month,wage_income,transfer_income,hh_size")
    assert found == {"above_maximum:wage_income": 1, "above_maximum:transfer_income": 1}
    assert reasons(tmp_path, "h1,2023-01,-1e200,1\n") == {"below_minimum:welfare": 1}


WITH_ERRORS = (
    ["household_id", "month", "welfare", "hh_size", "note"],
    ["h1", "2023-01", 1000, 3, "#N/A"],
    ["h2", "2023-01", "#DIV/0!", 3, None],
    [None, None, None, None, None],
    ["h3", "2023-01", 1000, "#N/A", None],
    ["#REF!", "2023-01", 1000, 3, None],
    [None, None, "#VALUE!", None, None],
    ["h4", "2023-01", 1000, None, None],
)
FOUND = {
    3: ["spreadsheet_error:welfare"],
    5: ["spreadsheet_error:hh_size"],
    6: ["spreadsheet_error:household_id"],
    7: ["missing:household_id", "missing:month", "spreadsheet_error:welfare"],
}


@pytest.mark.parametrize("kind", ["xlsx", "csv", "parquet"])
def test_an_error_of_a_spreadsheet_is_no_unknown_value(tmp_path, kind):
    file = tmp_path / f"records.{kind}"
    if kind == "xlsx":
        book = openpyxl.Workbook()
        for row in WITH_ERRORS:
            book.active.append(row)
        book.save(file)
    else:
        frame = pd.DataFrame(WITH_ERRORS[1:], columns=WITH_ERRORS[0]).astype("string")
        frame.to_csv(file, index=False) if kind == "csv" else frame.to_parquet(file, index=False)
    source = {"source": "county", "max_quarantined_share": 0.8, "tables": {"records": {"file": file.name}}}
    report = ingest(source, tmp_path, tmp_path / "register")
    header = 0 if kind == "parquet" else 1  # which has no row for it, and holds blank rows as rows
    blank = {} if header else {4: ["missing:household_id", "missing:month"]}
    kept = pq.read_table(tmp_path / "register" / "quarantine.parquet").to_pylist()
    assert {row["row"] + 1 - header: row["reasons"] for row in kept} == FOUND | blank
    assert {row["file"] for row in kept} == {file.name} and report.tables["records"].accepted == 2


MAPPED = {
    "source": "county",
    "tables": {
        "records": {
            "file": "records.xlsx",
            "sheet": "台账",
            "columns": {"household_id": "户编号", "month": "月份", "welfare": "人均收入", "hh_size": "人口"},
        }
    },
}
HEADER = ["户编号", "月份", "人均收入", "人口", "备注"]


def written_by(program: str, file: Path, formulas: dict[str, object]) -> None:
    """A sheet of two households in columns B to F, with formulas at some cells; XlsxWriter is told what they give."""
    rows = [HEADER, ["h1", "2023-01", 1000, 3, None], ["h2", "2023-01", 2000, 4, None]]
    if program == "openpyxl":
        book = openpyxl.Workbook()
        book.create_sheet("台账", 1)
        for row in rows:
            book["台账"].append([None, *row])
        for cell in formulas:
            book["台账"][cell] = "=IF(1>0,12000/4,0)"
        book.save(file)
        return
    with xlsxwriter.Workbook(file) as book:
        book.add_worksheet("说明")
        sheet = book.add_worksheet("台账")
        for place, row in enumerate(rows):
            sheet.write_row(place, 1, row)
        for cell, value in formulas.items():
            sheet.write_formula(cell, "=IF(1>0,12000/4,0)", None, value)


@pytest.mark.parametrize("program", ["openpyxl", "xlsxwriter"])
def test_a_formula_that_no_spreadsheet_has_computed_is_no_figure(tmp_path, program):
    """openpyxl leaves its value out, XlsxWriter writes a 0; the note beside is no column of the source."""
    written_by(program, tmp_path / "records.xlsx", {"F2": 0, "D3": 0})
    with pytest.raises(ContractError) as refusal:
        ingest(MAPPED, tmp_path, tmp_path / "register")
    assert "records.xlsx, sheet 台账, column 人均收入, row 3: a formula that was never computed" in str(refusal.value)
    assert "Open the workbook in Excel, WPS or LibreOffice, save it" in str(refusal.value)
    assert not (tmp_path / "register").exists()


@pytest.mark.parametrize("program", ["openpyxl", "xlsxwriter"])
def test_a_formula_in_a_column_that_nobody_maps_stops_nothing(tmp_path, program):
    written_by(program, tmp_path / "records.xlsx", {"F2": 0, "D1": HEADER[2]} if program == "xlsxwriter" else {"F2": 0})
    assert ingest(MAPPED, tmp_path, tmp_path / "register").tables["records"].accepted == 2


def test_a_formula_that_a_spreadsheet_has_computed_is_its_value_also_none_and_0(tmp_path):
    """Once saved by a spreadsheet, a workbook no longer asks to be computed: a 0 is a 0."""
    written_by("xlsxwriter", tmp_path / "given.xlsx", {"D2": 3000, "D3": 0, "E2": "blank"})
    with zipfile.ZipFile(tmp_path / "given.xlsx") as given, zipfile.ZipFile(tmp_path / "records.xlsx", "w") as saved:
        for name in given.namelist():
            part = given.read(name).replace(b' fullCalcOnLoad="1"', b"").replace(b"<v>blank</v>", b"<v></v>")
            saved.writestr(name, part)
    ingest(MAPPED, tmp_path, tmp_path / "register")
    rows = Register.open(tmp_path / "register").read("records")
    assert rows["welfare"].tolist() == [3000, 0] and rows["hh_size"].isna().tolist() == [True, False]


def test_errors_of_any_spreadsheet_are_known_as_text(tmp_path):
    texts = "#N/A ＃N/A #DIV/0！ #NAME? #NULL! #NUM! #名称? #SPILL! Err:502 错误:508 ########".split()
    columns = ["household_id", "welfare", "hh_size", "county_id", "visited_on", "housing_ok"]
    good = {"household_id": "#12", "month": "2023-01", "welfare": "1", "county_id": "E502"}
    rows = [good | {column: text} for text in texts for column in columns] + [good]
    pd.DataFrame(rows).to_csv(tmp_path / "records.csv", index=False)
    ingest({**SOURCE, "max_quarantined_share": 1}, tmp_path, tmp_path / "register")
    kept = pq.read_table(tmp_path / "register" / "quarantine.parquet").to_pylist()
    assert [row["reasons"] for row in kept] == [[f"spreadsheet_error:{column}"] for _ in texts for column in columns]


def test_a_source_may_say_what_an_error_means(tmp_path):
    columns = {"household_id": "id", "month": "m", "welfare": "w"}
    table = {"file": "records.csv", "columns": {**columns, "hh_size": {"from": "n", "codes": {"#N/A": None}}}}
    (tmp_path / "records.csv").write_text("id,m,w,n\n1,2023-01,1,#N/A\n2,2023-01,1,#REF!\n3,2023-01,1,4\n", encoding="utf-8")
    report = ingest({"source": "t", "tables": {"records": table}}, tmp_path, tmp_path / "register")
    assert report.tables["records"].reasons == {"spreadsheet_error:hh_size": 1}
    table["columns"]["hh_size"] = {"sql": "number(CASE WHEN n <> '#N/A' THEN n END)"}
    report = ingest({"source": "t", "tables": {"records": table}}, tmp_path, tmp_path / "register")
    assert report.tables["records"].reasons == {"not_a_number:hh_size": 1}


def test_an_error_decides_no_computed_column_and_no_filter(tmp_path):
    columns = {"household_id": "id", "month": "m", "welfare": "w", "housing_ok": {"sql": "house = '危房' OR house = '是'"}}
    table = {"file": "records.csv", "columns": columns, "where": "kept = '在册'"}
    rows = [
        "1,2023-01,1,是,在册",
        "2,2023-01,1,#N/A,在册",
        "3,2023-01,1,是,#N/A",
        "4,2023-01,1,是,注销",
        "5,2023-01,1,是,在册",
    ]
    (tmp_path / "records.csv").write_text("\n".join(["id,m,w,house,kept", *rows]), encoding="utf-8")
    report = ingest({"source": "t", "tables": {"records": table}}, tmp_path, tmp_path / "register").tables["records"]
    assert report.reasons == {"spreadsheet_error:housing_ok": 1, "spreadsheet_error:kept": 1}
    assert (report.rows_in, report.filtered, report.accepted) == (4, 1, 2)


def test_an_error_is_that_of_the_column_it_stands_in_though_the_filter_reads_one_of_the_computed_columns_name(tmp_path):
    columns = {"household_id": "id", "month": "m", "welfare": {"sql": "number(w) / 2"}}
    table = {"file": "records.csv", "columns": columns, "where": "number(welfare) > 0"}
    rows = ["1,2023-01,200,1", "2,2023-01,#N/A,1", "3,2023-01,200,#N/A", "4,2023-01,200,1"]
    (tmp_path / "records.csv").write_text("\n".join(["id,m,w,welfare", *rows]), encoding="utf-8")
    report = ingest({"source": "t", "tables": {"records": table}}, tmp_path, tmp_path / "register").tables["records"]
    assert report.reasons == {"spreadsheet_error:welfare": 2} and report.accepted == 2


@pytest.mark.parametrize(
    ("text", "header_row", "expected"),
    [
        ("household_id,month,welfare\n\nh1,2023-01,1\n\n\nh2,never,1\n", 1, 6),
        ("household_id,month,welfare\r\n\r\nh1,2023-01,1\r\nh2,never,1\r\n\r\n", 1, 4),
        ('household_id,month,welfare,note\nh1,2023-01,1,"a\nb\n\nc"\nh2,never,1,\n', 1, 6),
        ('household_id,month,welfare,"note\n(if any)"\nh1,2023-01,1,\nh2,never,1,\n', 1, 4),
        ('"title\nof the table"\n\nhousehold_id,month,welfare\nh1,2023-01,1\nh2,never,1\n', 3, 6),
        ("\n\nhousehold_id,month,welfare\nh1,2023-01,1\nh2,never,1\n", 3, 5),
        ("household_id,month,welfare\n,,\nh1,2023-01,1\n,,\n\nh2,never,1", 1, 6),
        ('household_id,month,welfare,note\r\nh1,2023-01,1,"a\nb"\r\nh2,never,1,\r\n', 1, 4),
    ],
)
def test_a_refused_row_is_named_by_its_line_in_the_file(tmp_path, text, header_row, expected):
    (tmp_path / "records.csv").write_bytes(text.encode())
    source = {"source": "t", "tables": {"records": {"file": "records.csv", "header_row": header_row}}}
    ingest(source, tmp_path, tmp_path / "register")
    kept = pq.read_table(tmp_path / "register" / "quarantine.parquet").to_pylist()
    assert [(row["household_id"], row["row"]) for row in kept] == [("h2", expected)]


def test_a_torn_row_is_named_by_its_line_in_the_file(tmp_path):
    header = "household_id,month,welfare\n"
    assert "row 6: the row has more" in refused(tmp_path, header + '"h\n1",2023-01,1\n\n\nh2,2023-01,1,9\n')
    assert "row 3: the row has more" in refused(tmp_path, header + '\nh1,"2023-01,1\nh2,2023-01,1\n')


def european(tmp_path: Path, *amounts: str, separator: str = ";", **table: str) -> list[float]:
    """Incomes that are read from a file as it is saved where the comma is the decimal mark."""
    rows = [separator.join(["household_id", "month", "welfare"])]
    rows += [separator.join([f"h{n}", "2023-01", amount]) for n, amount in enumerate(amounts)]
    (tmp_path / "records.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    source = {"source": "t", "max_quarantined_share": 0.9, "tables": {"records": {"file": "records.csv", **table}}}
    ingest(source, tmp_path, tmp_path / "register")
    return list(Register.open(tmp_path / "register").read("records").welfare)


def test_a_decimal_comma_is_read_where_the_source_says_it(tmp_path):
    amounts = ("1234,50", "1.234,5", "1,234", "12.500", "-1.234.567,25", "7", "1234.50", "1,234.5")
    assert european(tmp_path, *amounts, decimal="comma") == [1234.5, 1234.5, 1.234, 12500, -1234567.25, 7]
    assert european(tmp_path, "1,234", "12.500", "1234.50", "12,50", decimal="point") == [1234, 12.5, 1234.5]


@pytest.mark.parametrize("amounts", [("1,234",), ("1234.5", "1234,50"), ("100", "1.234,5"), ("12.500", "7", "1.250")])
def test_a_mark_after_semicolons_of_which_nobody_told_its_meaning_is_refused(tmp_path, amounts):
    with pytest.raises(ContractError, match=r"records.csv, row \d, column welfare: .*semicolons.*`decimal: comma`"):
        european(tmp_path, *amounts)


def test_numbers_without_doubt_need_no_word_on_marks(tmp_path):
    assert european(tmp_path, "1234.5", "12.500", "7") == [1234.5, 12.5, 7]
    assert european(tmp_path, "1,234.5", "1,234", separator="\t") == [1234.5, 1234]
    with pytest.raises(ContractError, match="row 3, column welfare: .*tabs"):
        european(tmp_path, "1,234", "1234,5", separator="\t")


def test_marks_in_expressions_and_a_decimal_for_a_workbook(tmp_path):
    (tmp_path / "records.csv").write_text("household_id;month;a;b\nh1;2023-01;1.000,5;2\n", encoding="utf-8")
    columns = {"household_id": "household_id", "month": "month", "welfare": {"sql": "number(a) + number(b)"}}
    table = {"file": "records.csv", "columns": columns}
    with pytest.raises(ContractError, match="row 2, column a"):
        ingest({"source": "t", "tables": {"records": table}}, tmp_path, tmp_path / "register")
    ingest({"source": "t", "tables": {"records": {**table, "decimal": "comma"}}}, tmp_path, tmp_path / "register")
    assert list(Register.open(tmp_path / "register").read("records").welfare) == [1002.5]
    frame = pd.DataFrame({"household_id": ["h1"], "month": ["2023-01"], "welfare": ["1,5"]})
    with pytest.raises(ContractError, match=r"tables.records.decimal: DataFrame records is no CSV file"):
        ingest({"source": "t", "tables": {"records": {"decimal": "comma"}}}, frame, tmp_path / "register")
    with pytest.raises(ContractError, match="decimal must be point"):
        ingest({"source": "t", "tables": {"records": {"decimal": ","}}}, frame, tmp_path / "register")


@pytest.mark.parametrize("name", ["records.ods", "records.et", "records.xlsb"])
def test_a_spreadsheet_of_another_kind_is_to_be_saved_as_xlsx(tmp_path, name):
    message = refused(tmp_path, b"PK", {"source": "t", "tables": {"records": {"file": name}}}, name)
    assert message == f"{name}: a spreadsheet of a kind that is not read. Save it as .xlsx."


def test_the_data_end_may_be_stated(tmp_path):
    assert reasons(tmp_path, "h,2023-03,1,1\n", source={**SOURCE, "data_until": dt.date(2023, 2, 28)}) == {
        "in_the_future:month": 1
    }


def test_a_computed_column_does_not_hide_what_cannot_be_read(tmp_path):
    table = {
        "file": "records.csv",
        "columns": {"household_id": "id", "month": "m", "welfare": {"sql": "number(a) + number(b)"}},
    }
    (tmp_path / "records.csv").write_text("id,m,a,b\n1,2023-01,1,2\n2,2023-01,1,?\n3,2023-01,,2\n", encoding="utf-8")
    report = ingest({"source": "t", "tables": {"records": table}}, tmp_path, tmp_path / "register")
    assert report.tables["records"].reasons == {"not_a_number:welfare": 1}
    assert list(Register.open(tmp_path / "register").read("records").welfare.fillna(-1)) == [3, -1]


def test_too_many_refused_rows_are_explained_by_file_row_column_and_rule(tmp_path):
    rows = "".join(f"h{n},2023-01,1,{'-' if n % 4 else ''}{SECRET}\n" for n in range(8))
    message = refused(tmp_path, "household_id,month,welfare,hh_size\n" + rows)
    assert message.startswith("records: 8 of 8 rows are refused, more than the allowed 50%.")
    assert "records.csv, row 3, column hh_size: below the smallest allowed value (6 rows)" in message
    assert "records.csv, row 2, column hh_size: above the largest allowed value (2 rows)" in message
    assert "the source" in message and SECRET not in message


def test_a_register_that_was_there_survives_a_refusal(tmp_path):
    (tmp_path / "records.csv").write_text(GOOD, encoding="utf-8")
    ingest(SOURCE, tmp_path, tmp_path / "register")
    before = Register.open(tmp_path / "register").manifest
    (tmp_path / "records.csv").write_text("household_id,month,welfare\nh,never,1\n", encoding="utf-8")
    with pytest.raises(ContractError):
        ingest(SOURCE, tmp_path, tmp_path / "register")
    assert Register.open(tmp_path / "register").manifest == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["records.csv", "register"]


def test_no_income_at_all(tmp_path):
    assert "neither welfare" in refused(tmp_path, "household_id,month,hh_size\n1,2023-01,2\n")


def test_expressions_that_fail_name_themselves_and_no_value(tmp_path):
    def source(sql, **more):
        columns = {"household_id": "id", "month": "m", "welfare": {"sql": sql}}
        return {"source": "t", "tables": {"records": {"file": "records.csv", "columns": columns, **more}}}

    text = f"id,m,a,b\n1,2023-01,1,2\n2,2023-01,x{SECRET},2\n"
    assert "write number(column) to calculate" in refused(tmp_path, text, source("a + b"))
    message = refused(tmp_path, text, source("CAST(a AS DOUBLE)"))
    assert "columns.welfare: the expression fails on a row" in message and SECRET not in message
    message = refused(tmp_path, text, source("number(a)", where="CAST(a AS INTEGER) > 0"))
    assert "records.where: the expression fails" in message and SECRET not in message
    report_only = source("number(a)")
    report_only["tables"]["records"]["columns"]["debt"] = "owed"
    (tmp_path / "records.csv").write_text(text, encoding="utf-8")
    assert ingest(report_only, tmp_path, tmp_path / "r").not_found == {"records": ["debt (owed)"]}


def identity_number(n: int) -> str:
    digits = f"1101011990{n % 12 + 1:02d}{n % 28 + 1:02d}{n:03d}"
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return digits + "10X98765432"[sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11]


@pytest.mark.parametrize(
    ("make", "what"),
    [(identity_number, "identity numbers"), (lambda n: f"138{n:08d}", "mobile telephone numbers")],
)
def test_identity_and_telephone_numbers_are_refused_unless_pseudonymised(tmp_path, make, what):
    ids = [make(n) for n in range(6)] + [f"h{n}" for n in range(4)]
    text = "household_id,month,welfare\n" + "".join(f"{i},2023-01,1\n" for i in ids)
    message = refused(tmp_path, text)
    assert f"column household_id: more than half of the values have the shape of {what}" in message
    assert not any(i in message for i in ids)
    report = ingest({**SOURCE, "pseudonymised": True}, tmp_path, tmp_path / "register")
    assert report.tables["records"].accepted == 10


def test_unmapped_identity_columns_are_ignored(tmp_path):
    columns = {"household_id": "id", "month": "m", "welfare": "w"}
    source = {"source": "t", "tables": {"records": {"file": "records.csv", "columns": columns}}}
    (tmp_path / "records.csv").write_text(f"id,m,w,身份证号\na,2023-01,1,{identity_number(3)}\n", encoding="utf-8")
    ingest(source, tmp_path, tmp_path / "register")
    found = b"".join(p.read_bytes() for p in (tmp_path / "register").rglob("*") if p.is_file())
    assert identity_number(3).encode() not in found


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([123456789012345678, 123456789012345679], "more than 15 digits"),
        (["0012", 13], "some ids are stored as numbers and some as text"),
    ],
)
def test_excel_ids_stored_as_numbers(tmp_path, ids, says):
    book = openpyxl.Workbook()
    book.active.append(["household_id", "month", "welfare"])
    for i in ids:
        book.active.append([i, "2023-01", 1])
    book.save(tmp_path / "records.xlsx")
    content = (tmp_path / "records.xlsx").read_bytes()
    message = refused(tmp_path, content, {"source": "t", "tables": {"records": {"file": "records.xlsx"}}}, "records.xlsx")
    assert "records.xlsx, column household_id" in message and says in message and "as text" in message


def test_ids_that_a_data_frame_holds_as_large_floats(tmp_path):
    frame = pd.DataFrame({"household_id": [1.2345678901234567e17, 1.0], "month": ["2023-01"] * 2, "welfare": [1.0, 1.0]})
    with pytest.raises(ContractError, match="last digits are lost"):
        ingest({"source": "t", "tables": {"records": {}}}, frame, tmp_path / "register")
    assert list(tmp_path.iterdir()) == []
