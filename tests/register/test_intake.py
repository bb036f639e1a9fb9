"""What a county hands in arrives as it was meant: names, units, codes, ids, dates, duplicates."""

import gzip
import json
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riskmodel.errors import ContractError
from riskmodel.register import Register, ingest, verify

CHINESE = """\
户编号,监测月份,县,家庭人口数,工资性收入(万元),理赔收入,合规自付支出,户类型,饮水安全,普通劳动力,技能劳动力,最近走访日期
0012,2023年1月,甲县,3,1.2,0,"3,000",脱贫户,是,1,1,2023/1/5
123456789012345678,202301,甲县,4,0.8,,,一般农户,否,2,0,
0012,2023-02,甲县,3,1.25,500,3000.5,脱贫户,有,1,1,20230210
"""
CHINESE_SOURCE = {
    "source": "chinese",
    "tables": {
        "records": {
            "file": "records.csv",
            "columns": {
                "household_id": "户编号",
                "month": "监测月份",
                "county_id": "县",
                "hh_size": "家庭人口数",
                "wage_income": {"from": "工资性收入(万元)", "unit": "10k_yuan"},
                "claims": "理赔收入",
                "selfpay": "合规自付支出",
                "household_type": "户类型",
                "water_ok": "饮水安全",
                "n_able": {"sql": "number(普通劳动力) + number(技能劳动力)"},
                "n_skilled": "技能劳动力",
                "visited_on": "最近走访日期",
            },
        }
    },
}
PLAIN = {"source": "plain", "tables": {"records": {}}}


def register_of(tmp_path: Path, source: dict, data) -> Register:
    ingest(source, data, tmp_path / "register")
    verify(tmp_path / "register")
    return Register.open(tmp_path / "register")


def quarantine(register: Register) -> list[dict]:
    return pq.read_table(register.path / "quarantine.parquet").to_pylist()


def records(*rows: tuple, columns: str = "household_id month welfare") -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def check_chinese(register: Register) -> None:
    rows = register.read("records")
    assert list(rows.household_id) == ["0012", "0012", "123456789012345678"]
    assert [d.strftime("%Y-%m-%d") for d in rows.month] == ["2023-01-01", "2023-02-01", "2023-01-01"]
    assert list(rows.wage_income) == [12000, 12500, 8000]
    assert list(rows.welfare) == [(12000 - 3000) / 3, (12500 + 500 - 3000.5) / 3, 2000]
    assert list(rows.n_able) == [2, 2, 2] and list(rows.n_skilled) == [1, 1, 0]
    assert list(rows.water_ok) == [True, True, False]
    assert list(rows.visited_on.dt.strftime("%Y-%m-%d").fillna("")) == ["2023-01-05", "2023-02-10", ""]
    households = register.read("households")
    assert list(households.household_type) == ["lifted", "ordinary"]
    assert register.counties == ["甲县"] and quarantine(register) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_a_chinese_csv_in_any_usual_encoding(tmp_path, encoding):
    (tmp_path / "records.csv").write_bytes(CHINESE.encode(encoding))
    check_chinese(register_of(tmp_path, CHINESE_SOURCE, tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("named", ["records.csv.gz", None])
def test_a_packed_csv_is_the_csv(tmp_path, encoding, named):
    (tmp_path / "records.csv.gz").write_bytes(gzip.compress(CHINESE.encode(encoding)))
    table = {name: value for name, value in CHINESE_SOURCE["tables"]["records"].items() if name != "file"}
    table |= {"file": named} if named else {}
    check_chinese(register_of(tmp_path, {**CHINESE_SOURCE, "tables": {"records": table}}, tmp_path))


@pytest.mark.parametrize("separator", ["\t", ";"])
def test_other_separators(tmp_path, separator):
    text = CHINESE.replace('"3,000"', "3000").replace(",", separator)
    (tmp_path / "records.csv").write_text(text, encoding="utf-8")
    check_chinese(register_of(tmp_path, CHINESE_SOURCE, str(tmp_path / "records.csv")))


def test_excel_with_chinese_headers_under_a_title(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "说明"
    sheet = book.create_sheet("月度记录")
    sheet.append(["某县监测表"])
    lines = [line.replace('"3,000"', "3000").split(",") for line in CHINESE.splitlines()]
    sheet.append(lines[0])
    for line in lines[1:]:
        sheet.append([line[0], line[1], line[2], int(line[3]), float(line[4]), *line[5:]])
    sheet.append([None] * 12)
    book.save(tmp_path / "monthly.xlsx")
    table = {**CHINESE_SOURCE["tables"]["records"], "file": "*.xlsx", "sheet": "月度记录", "header_row": 2}
    check_chinese(register_of(tmp_path, {**CHINESE_SOURCE, "tables": {"records": table}}, tmp_path))


def test_an_old_workbook_of_excel_is_read_with_its_errors(tmp_path):
    columns = {"household_id": "户编号", "month": "月份", "welfare": "人均收入", "visited_on": "走访日期", "hh_size": "人口"}
    table = {"file": "*.xls", "sheet": "月度记录", "header_row": 2, "columns": columns}
    source = {"source": "t", "max_quarantined_share": 0.7, "tables": {"records": table}}
    register = register_of(tmp_path, source, Path(__file__).parent)
    assert [(row["file"], row["row"], row["reasons"]) for row in quarantine(register)] == [
        ("errors.xls", 4, ["spreadsheet_error:welfare"]),
        ("errors.xls", 5, ["spreadsheet_error:hh_size"]),
    ]
    kept = register.read("records")
    assert kept[["household_id", "welfare", "hh_size"]].to_numpy().tolist() == [["007", 1000.5, 3]]
    assert list(kept.visited_on.dt.strftime("%Y-%m-%d")) == ["2023-01-05"]


def test_a_data_frame_with_contract_names_or_chinese_labels(tmp_path):
    frame = pd.DataFrame(
        {
            "户编号": ["0012"],
            "month": [pd.Timestamp("2023-01-15")],
            "家庭人口数": [2],
            "工资性收入": [9000.0],
            "不愁吃": [True],
            "备注": ["x"],
        }
    )
    rows = register_of(tmp_path, PLAIN, frame).read("records")
    assert rows.loc[0, ["household_id", "hh_size", "wage_income", "welfare"]].tolist() == [
        "0012",
        2,
        9000,
        4500,
    ]
    assert list(rows.food_ok) == [True]
    assert str(rows.month[0].date()) == "2023-01-01" and str(rows.known_at[0].date()) == "2023-01-31"


def test_numeric_ids_of_a_data_frame_become_text_without_a_fraction(tmp_path):
    frame = records((12, "2023-01", 1.0), (None, "2023-01", 1.0), (13, "2023-01", 1.0))
    register = register_of(tmp_path, PLAIN, frame)
    assert list(register.read("records").household_id) == ["12", "13"]
    assert [row["reasons"] for row in quarantine(register)] == [["missing:household_id"]]


def test_units_codes_and_extra_columns(tmp_path):
    frame = pd.DataFrame(
        {
            "id": ["a", "b"],
            "m": ["2023-01", "2023-01"],
            "w": [12345.0, 100.0],
            "kind": [1.0, 2.0],
            "poor": ["J", "N"],
            "rooms": [3.0, None],
            "land": [0.2, 0.0],
        }
    )
    source = {
        "source": "codes",
        "step_months": 3,
        "reporting_lag_days": 10,
        "tables": {
            "records": {
                "columns": {
                    "household_id": "id",
                    "month": "m",
                    "welfare": {"from": "w", "unit": "fen"},
                    "land_mu": {"from": "land", "unit": "hectare"},
                    "destitute_support": {"from": "poor", "codes": {"J": True, "N": False}},
                    "head_sex": {"from": "kind", "codes": {1: "male", 2: "female"}},
                },
                "extra": {"rooms": {"from": "rooms", "type": "number", "en": "rooms", "zh": "房间数"}},
            }
        },
    }
    register = register_of(tmp_path, source, frame)
    rows = register.read("records")
    assert list(rows.welfare) == [123.45, 1.0] and list(rows.land_mu) == [3, 0]
    assert list(rows.destitute_support) == [True, False]
    assert register.extra_columns == {"records": {"rooms": {"type": "number", "en": "rooms", "zh": "房间数"}}}
    assert "rooms" in register.columns("records") and "head_sex" not in register.columns("records")
    assert list(register.read("households").head_sex) == ["male", "female"]
    assert str(rows.known_at[0].date()) == "2023-04-10"


def test_later_facts_are_known_the_reporting_lag_after_their_own_day(tmp_path):
    """a: answered at once, ended later. b: entered at once, says its row. c: told otherwise before its end was known."""
    help_ = pd.DataFrame(
        [
            ("a", None, "2023-01-05", True, "2023-02-10", True, 9.0),
            ("b", "2023-01-05", "2023-01-20", False, None, None, 9.0),
            ("c", None, "2023-01-05", True, "2023-03-20", True, 9.0),
            ("c", "2023-04-01", "2023-01-05", True, None, None, 8.0),
        ],
        columns=["household_id", "known_at", "answered_on", "accepted", "ended_on", "completed", "amount_planned"],
    ).assign(measure="training", offered_on="2023-01-05")
    tables = {"records": {}, "assistance": {}}
    data = {"records": records(*((h, "2023-01", 1.0) for h in "abc")), "assistance": help_}
    source = {**PLAIN, "reporting_lag_days": 31, "tables": tables}
    report = ingest(source, data, tmp_path / "register")
    assert report.tables["assistance"].accepted == 4 and report.quarantined == 0
    told = Register.open(tmp_path / "register").read("assistance").sort_values(["household_id", "known_at"])
    found = told.astype({"known_at": str})[["household_id", "known_at", "accepted", "completed", "amount_planned"]]
    assert found.astype(object).where(found.notna(), None).to_numpy().tolist() == [
        ["a", "2023-02-05", True, None, 9.0],
        ["a", "2023-03-13", True, True, 9.0],
        ["b", "2023-01-05", False, None, 9.0],
        ["c", "2023-02-05", True, None, 9.0],
        ["c", "2023-04-01", True, None, 8.0],
    ]


@pytest.mark.parametrize("march", ["2023-03", "2023年3月31日", pd.Timestamp("2023-03-31")])
def test_a_quarter_that_is_named_by_its_end_is_looked_at_on_its_last_day(tmp_path, march):
    frame = records(("a", march, 1.0), ("b", march, 2.0))
    quarterly = {**PLAIN, "step_months": 3}
    with pytest.raises(ContractError, match="whether that is the period that ends with 2023-03 .*`period_named_by: last`"):
        ingest(quarterly, frame, tmp_path / "register")
    ends = register_of(tmp_path, {**quarterly, "period_named_by": "last"}, frame)
    assert (ends.first_month, ends.last_month) == ("2023-01", "2023-01")
    assert {str(day.date()) for day in ends.read("records").known_at} == {"2023-03-31"}
    begins = register_of(tmp_path, {**quarterly, "period_named_by": "first"}, frame)
    assert {str(day.date()) for day in begins.read("records").known_at} == {"2023-05-31"}


@pytest.mark.parametrize("named_by", ["first", "last"])
def test_a_quarter_or_a_year_may_be_named_as_such(tmp_path, named_by):
    quarters = ["2023Q2", "2023-q2", "2023年第二季度", "2023年2季度"]
    frame = records(*((str(number), quarter, 1.0) for number, quarter in enumerate(quarters)))
    rows = register_of(tmp_path, {**PLAIN, "step_months": 3, "period_named_by": named_by}, frame).read("records")
    assert {str(month.date()) for month in rows.month} == {"2023-04-01"}
    assert {str(day.date()) for day in rows.known_at} == {"2023-06-30"}
    frame = records(("a", "2022", 1.0), ("b", "2022年", 1.0))
    rows = register_of(tmp_path, {**PLAIN, "step_months": 12, "period_named_by": named_by}, frame).read("records")
    assert {str(day.date()) for day in rows.known_at} == {"2022-12-31"}
    with pytest.raises(ContractError, match="column month: not a date"):
        ingest(PLAIN, frame, tmp_path / "monthly")


def test_one_record_between_the_quarters_moves_no_other(tmp_path):
    frame = records(("a", "2022-12", 1.0), ("a", "2023-01", 1.0), ("a", "2023-04", 1.0), ("b", "2023-01", 2.0))
    register = register_of(tmp_path, {**PLAIN, "step_months": 3}, frame)
    assert [(row["row"], row["reasons"]) for row in quarantine(register)] == [(1, ["between_periods:month"])]
    assert (register.first_month, register.last_month) == ("2023-01", "2023-04")


def test_a_column_that_is_nowhere_mapped_and_has_no_name_of_the_contract_is_told(tmp_path):
    frame = records(("a", "2023-01", 1.0, "2023-03-09"), columns="household_id month welfare 录入日期")
    assert ingest(PLAIN, frame, tmp_path / "r").unused == {"records": ["录入日期"]}
    columns = {"household_id": "household_id", "month": "month", "welfare": "welfare"}
    chosen = {"source": "chosen", "tables": {"records": {"columns": columns}}}
    assert ingest(chosen, frame, tmp_path / "r").unused == {}, "who maps columns has chosen"


def test_the_area_of_a_line_may_bear_its_plain_chinese_name(tmp_path):
    lines = pd.DataFrame({"地区": ["*"], "生效日期": ["2020-01-01"], "标准": [6600]})
    data = {"records": records(("a", "2023-01", 1.0)), "lines": lines}
    register = register_of(tmp_path, {"source": "t", "tables": {"records": {}, "lines": {}}}, data)
    assert register.read("records").line.tolist() == [6600]


def test_an_all_blank_column_counts_as_missing(tmp_path):
    frame = records(("a", "2023-01", 1.0, None), columns="household_id month welfare debt")
    report = ingest(PLAIN, frame, tmp_path / "r")
    assert "debt" in report.missing["records"] and "welfare" not in report.missing["records"]
    assert "debt" not in Register.open(tmp_path / "r").columns("records")


def test_welfare_is_the_monitoring_reference_and_null_only_without_any_income(tmp_path):
    frame = records(
        ("a", "2023-01", 4, 10000.0, None, 2000.0, 500.0, 1500.0),
        ("b", "2023-01", 4, None, None, 2000.0, None, None),
        ("c", "2023-01", None, 10000.0, None, None, None, None),
        columns="household_id month hh_size wage_income transfer_income production_cost claims selfpay",
    )
    rows = register_of(tmp_path, PLAIN, frame).read("records")
    assert rows.welfare[0] == (10000 - 2000 + 500 - 1500) / 4
    assert rows.welfare[1:].isna().all()


def test_an_income_that_was_made_without_some_part_is_listed(tmp_path):
    """Told in full but for claims, written only where some were paid; without cost; without wages; without any income."""
    columns = "household_id month hh_size wage_income transfer_income production_cost claims"
    frame = records(
        ("a", "2023-01", 4, 10000.0, 0.0, 2000.0, None),
        ("b", "2023-01", 4, 10000.0, 0.0, None, 500.0),
        ("c", "2023-01", 4, None, 3000.0, 0.0, 500.0),
        ("d", "2023-01", 4, None, None, 2000.0, 500.0),
        columns=columns,
    )
    report = ingest(PLAIN, frame, tmp_path / "made")
    assert report.warnings["income_without_some_part"] == 2
    listed = pd.read_parquet(tmp_path / "made" / "warnings.parquet").query("rule == 'income_without_some_part'")
    assert listed["household_id"].tolist() == ["b", "c"]
    given = ingest(PLAIN, frame.assign(welfare=2500.0), tmp_path / "given")
    assert "income_without_some_part" not in given.warnings, "the source gave the income itself"


def test_the_line_of_the_county_goes_before_the_line_for_all(tmp_path):
    rows = records(
        *[(h, m, 1.0, c) for h, c in [("a", "X"), ("b", "Y")] for m in ["2022-12", "2023-01", "2025-01"]],
        columns="household_id month welfare county_id",
    )
    lines = pd.DataFrame(
        [
            ("*", "2022-01-01", "2022-12-31", 7000),
            ("*", "2023-01-01", "2023-12-31", 7600),
            ("X", "2023-01-01", "2023-12-31", 8050),
        ],
        columns=["area", "valid_from", "valid_to", "amount"],
    )
    source = {"source": "t", "tables": {"records": {}, "lines": {}}}
    report = ingest(source, {"records": rows, "lines": lines}, tmp_path / "r")
    register = Register.open(tmp_path / "r")
    assert list(register.read("records").line.fillna(-1)) == [7000, 8050, -1, 7000, 7600, -1]
    assert report.warnings["without_line"] == 2
    assert register.file("lines", "X") == register.file("lines", "Y")
    assert len(register.read("lines")) == 3


def test_identical_rows_are_collapsed_and_conflicting_rows_all_quarantined(tmp_path):
    frame = records(
        ("a", "2023-01", 1.0),
        ("a", "2023-01", 1.0),
        ("a", "2023-01", 1.0),
        ("b", "2023-01", 1.0),
        ("b", "2023-01", 1.0),
        ("b", "2023-01", 2.0),
        ("c", "2023-01", 1.0),
        ("c", "2023-02", None),
        ("c", "2023-02", None),
        ("d", "2023-01", 3.0),
    )
    report = ingest(PLAIN, frame, tmp_path / "r").tables["records"]
    assert (report.rows_in, report.accepted, report.quarantined, report.collapsed) == (10, 4, 3, 3)
    assert report.reasons == {"conflicting_duplicate:household_id+month": 3}
    refused = quarantine(Register.open(tmp_path / "r"))
    assert [(row["file"], row["row"], row["household_id"]) for row in refused] == [
        ("DataFrame records", number, "b") for number in (4, 5, 6)
    ]
    assert json.loads(refused[2]["raw"]) == {"household_id": "b", "month": "2023-01", "welfare": "2.0"}


def test_a_village_event_reported_twice_is_collapsed_although_it_names_no_household(tmp_path):
    tables = {
        "records": records(("a", "2023-01", 1.0, "v1"), columns="household_id month welfare village_id"),
        "events": records(
            ("v1", "disaster", "2023-01-06"),
            ("v1", "自然灾害", "2023-01-06"),
            columns="village_id kind onset_on",
        ),
    }
    report = ingest({"source": "t", "tables": {"records": {}, "events": {}}}, tables, tmp_path / "r")
    assert (report.tables["events"].accepted, report.tables["events"].collapsed) == (1, 1)


def test_a_row_known_again_later_is_a_revision(tmp_path):
    columns = "household_id month welfare known_at"
    frame = records(("a", "2023-01", 1.0, "2023-02-05"), ("a", "2023-01", 2.0, "2023-03-05"), columns=columns)
    register = register_of(tmp_path, PLAIN, frame)
    assert register.has_revisions and list(register.read("records").welfare) == [1.0, 2.0]
    assert not register_of(tmp_path, PLAIN, frame.head(1)).has_revisions


def test_tables_are_kept_with_the_county_of_their_household_or_village(tmp_path):
    tables = {
        "records": records(
            ("a", "2023-01", 1.0, "X", "v1"),
            ("b", "2023-01", 1.0, "Y", "v2"),
            columns="household_id month welfare county_id village_id",
        ),
        "events": records(
            ("a", None, "illness", "2023-01-05"),
            (None, "v2", "自然灾害", "2023-01-06"),
            ("z", None, "illness", "2023-01-07"),
            (None, "v9", "disaster", "2023-01-08"),
            (None, None, "birth", "2023-01-09"),
            columns="household_id village_id kind onset_on",
        ),
        "villages": records(("v1", "2023-01", True), ("v2", "2023-01", False), columns="village_id month clinic_ok"),
        "spells": records(
            ("b", "2023-01-10", "2023-01-05"),
            ("b", "2023-02-10", None),
            columns="household_id identified_on eliminated_on",
        ),
        "household_projects": records(("b", "p1", "分红"), columns="household_id project_id link"),
        "projects": records(("p1", "2023-01", "停产"), columns="project_id month status"),
    }
    source = {
        "source": "t",
        "max_quarantined_share": 0.9,
        "tables": {name: {} for name in [*tables, "visits"]},
    }
    report = ingest(source, tables, tmp_path / "r")
    register = Register.open(tmp_path / "r")
    assert report.absent == ["visits"]
    assert report.tables["events"].reasons == {
        "missing:household_id_or_village_id": 1,
        "unknown_household:household_id": 1,
        "unknown_village:village_id": 1,
    }
    assert list(register.read("events", "Y").kind) == ["disaster"]
    assert report.tables["spells"].reasons == {"before_identified_on:eliminated_on": 1}
    assert list(register.read("spells", "Y").identified_on.dt.strftime("%m-%d")) == ["02-10"]
    assert register.file("villages", "X").exists() and list(register.read("villages", "Y").clinic_ok) == [False]
    assert list(register.read("projects", "Y").status) == ["stopped"] and register.file("projects", "X") is None
    assert [row["reasons"] for row in quarantine(register) if row["table"] == "spells"] == [
        ["before_identified_on:eliminated_on"]
    ]


def test_a_household_is_taken_from_its_file_and_completed_from_its_latest_records(tmp_path):
    tables = {
        "records": records(
            ("a", "2023-01", 1.0, "X", "v0"),
            ("a", "2023-02", 1.0, "Y", "v1"),
            ("a", "2023-03", 1.0, "Y", None),
            ("b", "2023-01", 1.0, "X", "v2"),
            columns="household_id month welfare county_id village_id",
        ),
        "households": records(("b", "Z", "脱贫户"), ("c", "X", "一般户"), columns="household_id county_id household_type"),
    }
    report = ingest({"source": "t", "tables": {"records": {}, "households": {}}}, tables, tmp_path / "r")
    households = Register.open(tmp_path / "r").read("households").set_index("household_id").sort_index()
    assert list(households.county_id) == ["Y", "Z", "X"] and list(households.village_id[:2]) == ["v1", "v2"]
    assert list(households.household_type[1:]) == ["lifted", "ordinary"]
    assert (report.tables["households"].accepted, report.tables["households"].added) == (2, 1)
    assert report.warnings["more_than_one_county"] == 1
    assert Register.open(tmp_path / "r").read("records", "Y").month.dt.month.tolist() == [1, 2, 3]


def test_households_of_no_county_beside_others_are_warned_of(tmp_path):
    frame = records(("a", "2023-01", 1.0, "X"), ("b", "2023-01", 1.0, None), columns="household_id month welfare county_id")
    assert ingest(PLAIN, frame, tmp_path / "some").warnings["without_county_beside_others"] == 1
    alone = ingest(PLAIN, frame.assign(county_id=None), tmp_path / "none").warnings
    assert "without_county_beside_others" not in alone


@pytest.mark.parametrize("place", ["township_id", "county_id", "household_type"])
@pytest.mark.parametrize(
    ("table", "rows", "columns"),
    [
        ("villages", ("2023-01", True), "village_id month clinic_ok"),
        ("events", ("disaster", "2023-01-06"), "village_id kind onset_on"),
        ("projects", ("p", "2023-01"), "village_id project_id month"),
        ("events", ("a", "disaster", "2023-01-06"), "village_id household_id kind onset_on"),
    ],
)
def test_a_village_in_two_townships_or_counties_is_warned_of_where_rows_name_it_alone(tmp_path, place, table, rows, columns):
    """Once, however many households live in one of the name: its prices are told of both. A household's event is its own."""
    lived = zip("abcd", ["01"] * 3 + [None], "一一二二", strict=True)
    homes = [(h, "2023-01", 1.0, village, of) for h, village, of in lived]
    frame = records(*homes, columns=f"household_id month welfare village_id {place}")
    if place == "household_type":
        frame[place] = frame[place].map({"一": "lifted", "二": "ordinary"})
    tables = {"records": frame, table: records(("01", *rows), columns=columns)}
    report = ingest({"source": "t", "tables": {name: {} for name in tables}}, tables, tmp_path / "r")
    both = place != "household_type" and "household_id" not in columns
    assert report.warnings.get("village_in_several_places", 0) == both
    listed = pd.read_parquet(tmp_path / "r" / "warnings.parquet").query("rule == 'village_in_several_places'")
    assert listed["village_id"].tolist() == ["01"] * both and listed["household_id"].isna().all()
    alone = ingest(PLAIN, frame, tmp_path / "alone").warnings
    assert "village_in_several_places" not in alone, "their households are told apart"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("t", "x"), ("u", "y")], ("u", "y")),  # moved
        ([("t", "x"), ("u", "x")], ("u", "x")),  # put right, or moved to the village of that name
        ([("t", "x"), (None, "x")], ("t", "x")),  # left blank: as last told
        ([("t", "x"), (None, None)], ("t", "x")),
        ([("t", "x"), (None, "y")], ("u", "y")),  # moved, and where to is told by the village
        ([("t", "x"), (None, "z")], (None, "z")),  # moved, and of z nobody knows the township
        ([(None, "x")], (None, "x")),  # in t or in u
        ([("t", None)], ("t", None)),
    ],
)
@pytest.mark.parametrize("of_households", [False, True])
def test_a_household_lives_in_the_township_of_its_village(tmp_path, told, expected, of_households):
    """There is a village x in each of two townships, and y in one of them; of z no township was ever told."""
    others = [("b", "t", "x"), ("c", "u", "x"), ("d", "u", "y"), ("e", None, "z")]
    rows = [(h, "2023-01", 1.0, township, village) for h, township, village in others]
    rows += [("a", f"2023-0{month}", 1.0, *place) for month, place in enumerate(told, 1)]
    tables = {"records": records(*rows, columns="household_id month welfare township_id village_id")}
    if of_households:  # a file of its own that knows the village of now, and no township
        tables["households"] = records(("a", told[-1][1]), columns="household_id village_id")
    ingest({"source": "t", "tables": {name: {} for name in tables}}, tables, tmp_path / "r")
    homes = Register.open(tmp_path / "r").read("households").set_index("household_id")[["township_id", "village_id"]]
    assert tuple(homes.loc["a"].astype(object).where(homes.loc["a"].notna(), None)) == expected
    assert homes.loc[["b", "c", "d"]].to_numpy().tolist() == [["t", "x"], ["u", "x"], ["u", "y"]]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("k", "t", "x"), ("l", None, "x")], ("l", "v", "x")),  # there is a village x in both counties
        ([("k", "t", "x"), ("l", None, None)], ("l", None, None)),
        ([("k", "t", None), ("l", None, "y")], ("l", "v", "y")),
        ([("k", "t", "x"), (None, None, None)], ("k", "t", "x")),
        ([(None, "t", "x"), ("k", None, None)], ("k", "t", "x")),
    ],
)
def test_a_household_that_moved_to_another_county_left_its_village_and_township(tmp_path, told, expected):
    rows = [("b", "2023-01", 1.0, "l", "v", "x"), ("c", "2023-01", 1.0, "l", "v", "y")]
    rows += [("a", f"2023-0{month}", 1.0, *place) for month, place in enumerate(told, 1)]
    frame = records(*rows, columns="household_id month welfare county_id township_id village_id")
    homes = register_of(tmp_path, PLAIN, frame).read("households").set_index("household_id")
    home = homes.loc["a", ["county_id", "township_id", "village_id"]].astype(object)
    assert tuple(home.where(home.notna(), None)) == expected


def test_a_township_that_is_filled_in_is_said(tmp_path):
    """Of a no township was told, of b it was; of c's village nobody knows it."""
    frame = records(
        ("a", "2023-01", 1.0, None, "x"), ("b", "2023-01", 1.0, "t", "x"), ("c", "2023-01", 1.0, None, "y"),
        columns="household_id month welfare township_id village_id",
    )  # fmt: skip
    assert ingest(PLAIN, frame, tmp_path / "r").warnings["township_from_its_village"] == 1
    listed = pd.read_parquet(tmp_path / "r" / "warnings.parquet").query("rule == 'township_from_its_village'")
    assert listed[["household_id", "village_id"]].to_numpy().tolist() == [["a", "x"]]
    told = ingest(PLAIN, frame.assign(township_id=["t", "t", "u"]), tmp_path / "told")
    assert "township_from_its_village" not in told.warnings


def test_a_township_that_is_put_right_later_counts_as_last_known(tmp_path):
    frame = records(
        ("a", "2023-01", 1.0, "t", "x", "2023-02-01"),
        ("a", "2023-01", 1.0, "u", "x", "2023-05-01"),
        columns="household_id month welfare township_id village_id known_at",
    )
    assert register_of(tmp_path, PLAIN, frame).read("households")["township_id"].tolist() == ["u"]


def test_households_from_the_file_of_records(tmp_path):
    CSV = "户,月,收入,类型\n1,2023-01,1,一般户\n1,2023-02,1,脱贫户\n2,2023-01,1,\n"
    (tmp_path / "all.csv").write_text(CSV, encoding="utf-8")
    source = {
        "source": "t",
        "tables": {
            "records": {"columns": {"household_id": "户", "month": "月", "welfare": "收入"}},
            "households": {"same_as": "records", "columns": {"household_id": "户", "household_type": "类型"}},
        },
    }
    households = register_of(tmp_path, source, tmp_path / "all.csv").read("households")
    assert list(households.household_type.fillna("")) == ["lifted", ""]
    assert list(households.county_id) == ["all", "all"]


def test_several_files_and_a_row_filter(tmp_path):
    (tmp_path / "m1.csv").write_text("household_id,month,welfare\na,2022-01,1\na,2023-01,1\n", encoding="utf-8")
    (tmp_path / "m2.csv").write_bytes("household_id,welfare,month\n甲,1,2023-01\n乙,x,2023-01\n".encode("gb18030"))
    source = {
        "source": "t",
        "tables": {"records": {"file": "m*.csv", "where": "as_date(month || '-01') >= '2023-01-01'"}},
    }
    report = ingest(source, tmp_path, tmp_path / "r")
    counts = report.tables["records"]
    assert (counts.rows_in, counts.filtered, counts.accepted, counts.quarantined) == (3, 1, 2, 1)
    (refused,) = quarantine(Register.open(tmp_path / "r"))
    assert (refused["file"], refused["row"], refused["reasons"]) == ("m2.csv", 3, ["not_a_number:welfare"])
    assert set(Register.open(tmp_path / "r").manifest["about"]["inputs"]) == {"m1.csv", "m2.csv"}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_is_read_by_its_own_name_and_its_own_columns(tmp_path, kind):
    folder = tmp_path / "month=2020-01" / "taken [1]"
    folder.mkdir(parents=True)
    (tmp_path / "month=2020-01" / "taken 1").mkdir()
    for place, household in ((folder, "meant"), (folder.with_name("taken 1"), "other")):
        rows = records((household, "2023-05", 100.0))
        rows.to_parquet(place / "records.parquet") if kind == "parquet" else rows.to_csv(place / "records.csv", index=False)
    register = register_of(tmp_path, PLAIN, folder)
    rows = register.read("records")
    assert list(rows.household_id) == ["meant"] and list(rows.month.dt.strftime("%Y-%m")) == ["2023-05"]


def workbook(file: Path, *rows: list) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(file)


def test_workbooks_of_one_name_from_two_townships_are_both_read(tmp_path):
    for town, household in (("东镇", "e1"), ("西镇", "w1")):
        workbook(tmp_path / town / "监测.xlsx", ["household_id", "month", "welfare"], [household, "2023-01", 100])
    workbook(tmp_path / "东镇" / "~$监测.xlsx", ["open in Excel"])
    source = {"source": "t", "tables": {"records": {"file": "*/*监测.xlsx"}}}
    rows = register_of(tmp_path, source, tmp_path).read("records")
    assert list(rows.household_id) == ["e1", "w1"]


def test_blanks_around_the_headers_of_a_workbook_do_not_count(tmp_path):
    workbook(
        tmp_path / "records.xlsx", ["户编号 ", "\n月份", "收入\n(元)", "备注", "备注"], ["007", "2023-01", 100, "a", "b"]
    )
    columns = {"household_id": "户编号", "month": "月份", "welfare": "收入\n(元)"}
    rows = register_of(tmp_path, {"source": "t", "tables": {"records": {"columns": columns}}}, tmp_path).read("records")
    assert list(rows.household_id) == ["007"] and list(rows.welfare) == [100]


def test_a_header_may_go_over_lines_and_stand_under_a_title_that_does(tmp_path):
    text = '"Monitoring\nof 2023",,\nhousehold_id,month,"wel\nfare"\nh1,2023-01,1\nh2,2023-01,2\n'
    (tmp_path / "records.csv").write_text(text, encoding="utf-8")
    table = {"header_row": 2, "columns": {"household_id": "household_id", "month": "month", "welfare": "wel\nfare"}}
    rows = register_of(tmp_path, {"source": "t", "tables": {"records": table}}, tmp_path).read("records")
    assert dict(zip(rows.household_id, rows.welfare, strict=True)) == {"h1": 1, "h2": 2}


@pytest.mark.parametrize(
    ("text", "header_row"),
    [
        ('household_id,month,welfare\r\nh1,2023-01,1\r\n"h2",2023-01,2\nh3,2023-01,3\r\n', 1),
        ("title\nhousehold_id,month,welfare\r\nh1,2023-01,1\r\nh2,2023-01,2\r\nh3,2023-01,3\r\n", 2),
        ('household_id,month,welfare,"a\nb"\r\nh1,2023-01,1,\r\nh2,2023-01,2,\r\nh3,2023-01,3,\r\n', 1),
        ('\ufeff"note\n(if any)",household_id,month,welfare\n,h1,2023-01,1\n,h2,2023-01,2\n,h3,2023-01,3\n', 1),
        ('household_id,month,welfare,note\r\nh1,2023-01,1,"a\nb"\r\nh2,2023-01,2,\r\nh3,2023-01,3,\r\n', 1),
    ],
)
def test_no_row_is_lost_where_lines_end_in_several_ways(tmp_path, text, header_row):
    (tmp_path / "records.csv").write_bytes(text.encode())
    rows = register_of(tmp_path, {"source": "t", "tables": {"records": {"header_row": header_row}}}, tmp_path).read(
        "records"
    )
    assert dict(zip(rows.household_id, rows.welfare, strict=True)) == {"h1": 1, "h2": 2, "h3": 3}


def test_a_month_that_may_be_january_or_october_is_taken_for_neither(tmp_path):
    given = ("2023.10", "2023.1", "2023.01", "2023.5", "2023年1月", "202301")
    frame = records(*((f"h{n}", month, 1.0) for n, month in enumerate(given)))
    register = register_of(tmp_path, PLAIN, frame)
    rows = register.read("records")
    months = dict(zip(rows.household_id, rows.month.dt.strftime("%m"), strict=True))
    assert months == {"h0": "10", "h2": "01", "h3": "05", "h4": "01", "h5": "01"}
    assert [row["reasons"] for row in quarantine(register)] == [["not_a_date:month"]]


def test_a_data_frame_of_periods_and_of_ids_of_several_types(tmp_path):
    frame = records(("001", "2023-01", 1.0), (2.0, "2023-02", 2.0), (float("nan"), "2023-03", 3.0))
    frame["month"] = pd.PeriodIndex(frame["month"], freq="M")
    register = register_of(tmp_path, PLAIN, frame)
    rows = register.read("records")
    assert list(rows.household_id) == ["001", "2"] and list(rows.month.dt.month) == [1, 2]
    assert [row["reasons"] for row in quarantine(register)] == [["missing:household_id"]]


def test_quarantine_keeps_only_columns_that_the_source_maps(tmp_path):
    (tmp_path / "records.csv").write_text(
        "household_id,month,welfare,姓名,手机\n1,2023-01,5,张三,13800000000\n2,2023-01,many,李四,13900000000\n",
        encoding="utf-8",
    )
    register = register_of(tmp_path, {"source": "t", "tables": {"records": {"file": "records.csv"}}}, tmp_path)
    assert [json.loads(row["raw"]) for row in quarantine(register)] == [
        {"household_id": "2", "month": "2023-01", "welfare": "many"}
    ]


def test_eighteen_digit_ids_that_are_no_identity_numbers_are_welcome(tmp_path):
    frame = records(*[(f"1234567890123456{n:02d}", "2023-01", 1.0) for n in range(20)])
    assert len(register_of(tmp_path, PLAIN, frame).read("records")) == 20


def test_published_check_rules_warn_and_refuse_nothing(tmp_path):
    tables = {
        "records": records(
            ("a", "2023-01", 5000.0, 50.0, 0, 3.0, 0.0, 9000.0),
            ("b", "2023-06", 9000.0, 5000.0, 2, 3.0, 0.0, 8000.0),
            columns="household_id month welfare wage_income n_able migrant_months selfpay line",
        ),
        "spells": records(
            ("a", "2023-02-10", "因病", "2023-03-15", "帮扶消除"),
            ("b", "2023-02-10", "因残", None, None),
            columns="household_id identified_on risk_1 eliminated_on elimination_mode",
        ),
        "assistance": records(("b", "健康帮扶", "2023-02-20"), columns="household_id measure offered_on"),
    }
    source = {"source": "t", "tables": {name: {} for name in tables}}
    report = ingest(source, tables, tmp_path / "r")
    assert report.quarantined == 0
    assert report.warnings == {
        "illness_risk_without_cost": 1,
        "migrant_worker_without_labour": 1,
        "monitored_without_measure": 1,
        "removed_below_line": 1,
        "removed_by_help_within_two_months": 1,
        "removed_by_help_without_measure": 1,
        "wage_between_0_and_100_yuan": 1,
    }
    listed = pq.read_table(tmp_path / "r" / "warnings.parquet").to_pylist()
    assert {row["household_id"] for row in listed} == {"a"} and len(listed) == 7


@pytest.mark.parametrize(("known", "warned"), [("2023-01-01", 1), ("2023-01-02", 0), (None, 0)])
def test_a_day_of_knowing_that_is_the_month_itself_is_named(tmp_path, known, warned):
    frame = records(("a", "2023-01", 5000.0, known), columns="household_id month welfare known_at")
    report = ingest({"source": "t", "tables": {"records": {}}}, {"records": frame}, tmp_path / "r")
    assert report.warnings.get("known_before_the_month_it_is_about", 0) == warned


ROW = st.tuples(
    st.sampled_from(["01", "1", "2", "户3"]),
    st.sampled_from(["2023-01", "2023-02"]),
    st.sampled_from([None, 1.5, 2.0]),
    st.sampled_from(["X", "Y"]),
    st.sampled_from([None, 1, 2]),
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=3, max_size=12), data=st.data())
def test_row_and_column_order_change_no_byte(tmp_path, rows, data):
    frame = records(("0", "2023-01", 1.0, "X", 1), *rows, columns="household_id month welfare county_id n_able")
    columns = data.draw(st.permutations(list(frame.columns)))
    order = data.draw(st.permutations(range(len(frame))))
    lenient = {**PLAIN, "max_quarantined_share": 1.0}
    hashes = []
    for version in (frame, frame.iloc[list(order)][columns]):
        ingest(lenient, version, tmp_path / "r")
        files = Register.open(tmp_path / "r").manifest["files"]
        hashes.append({name: facts["sha256"] for name, facts in files.items() if name.startswith("tables/")})
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_a_large_table_is_written_the_same_whatever_the_row_order(tmp_path):
    """More than one row group in a file."""
    months = [f"{2000 + m // 12}-{m % 12 + 1:02d}" for m in range(100)]
    frame = pd.DataFrame([(str(h), m) for h in range(1250) for m in months], columns=["household_id", "month"])
    frame["welfare"] = range(len(frame))
    hashes = set()
    for version in (frame, frame.sample(frac=1, random_state=3)):
        ingest(PLAIN, version, tmp_path / "r")
        hashes.add(Register.open(tmp_path / "r").manifest["files"]["tables/records/all.parquet"]["sha256"])
    assert len(hashes) == 1
    assert pq.ParquetFile(tmp_path / "r/tables/records/all.parquet").num_row_groups > 1
