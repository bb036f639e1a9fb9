"""`riskmodel init`: an analyst with the county's own files gets a mapping to read, not one to trust."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from riskmodel.cli import app
from riskmodel.errors import ContractError, NotFound, UsageError
from riskmodel.register import Register, ingest, load_contract
from riskmodel.register.proposal import names, propose_source
from riskmodel.register.source import load_source

MONTHS = [f"2023-{month:02d}" for month in range(1, 13)]


@pytest.fixture
def monthly() -> pd.DataFrame:
    """Three households over a year, as a county's sheet names things."""
    return pd.DataFrame(
        [
            {
                "户编码": f"00{h}", "监测年月": month, "所在县": "甲县", "所在乡镇": "乙乡", "行政村": "丙村",
                "家庭人口": 4, "工资性收入（万元）": 1.2, "生产经营性收入（万元）": 0.8, "耕地面积/亩": 3.5,
                "是否饮水安全": "是", "户主身份证号": "保密", "户主民族": "汉", "备注": "独此一家的备注",
            }
            for h in (1, 2, 3)
            for month in MONTHS
        ]
    )  # fmt: skip


@pytest.fixture
def workbook(monthly: pd.DataFrame, tmp_path: Path) -> Path:
    """A workbook with a title above the header, and the shocks on a sheet of their own."""
    events = pd.DataFrame({"户编码": ["001"], "风险类型": ["因病"], "发生时间": ["2023-05-06"], "损失额（元）": [3000]})
    file = tmp_path / "县里" / "台账.xlsx"
    file.parent.mkdir()
    with pd.ExcelWriter(file, engine="xlsxwriter") as writer:
        monthly.to_excel(writer, sheet_name="月度监测", index=False, startrow=2)
        writer.sheets["月度监测"].write(0, 0, "甲县2023年监测台账")
        events.to_excel(writer, sheet_name="风险事件", index=False)
        pd.DataFrame().to_excel(writer, sheet_name="空表", index=False)
    return file


def test_a_county_s_workbook_is_taken_in_by_what_is_proposed(workbook: Path, tmp_path: Path) -> None:
    proposal = propose_source([workbook], tmp_path / "mine")
    assert [(s.table, s.sheet, s.header_row) for s in proposal.proposed] == [
        ("records", "月度监测", 3), ("events", "风险事件", 1),
    ]  # fmt: skip
    assert proposal.trial is not None and not proposal.refused and proposal.step_months == 1
    report = ingest(proposal.path, proposal.data, tmp_path / "register")
    assert report.tables["records"].accepted == 36 and report.tables["events"].accepted == 1
    register = Register.open(tmp_path / "register")
    records = pd.read_parquet(register.file("records", "甲县"))
    assert set(records["household_id"]) == {"001", "002", "003"}
    assert set(records["wage_income"]) == {12000.0}  # 万元 stands in the name of the column
    assert set(records["land_mu"]) == {3.5} and records["water_ok"].all()
    assert set(pd.read_parquet(register.file("events", "甲县"))["kind"]) == {"illness"}


def test_identity_numbers_and_protected_attributes_are_left_out_with_the_reason(workbook: Path, tmp_path: Path) -> None:
    proposal = propose_source([workbook], tmp_path / "mine")
    left = proposal.sheets[0].left
    assert "an identity number" in left["户主身份证号"] and "audit" in left["户主民族"] and left["备注"] == ""
    text = proposal.path.read_text(encoding="utf-8")
    mapped = {f.raw for f in load_source(proposal.path).tables["records"].fields or ()}
    assert "户主身份证号" in text and not mapped & {"户主身份证号", "户主民族", "备注"}


def test_what_is_proposed_holds_no_household_s_value(workbook: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["init", str(tmp_path / "mine"), "--from", str(workbook)])
    assert run.exit_code == 0, run.output
    for text in (run.output, (tmp_path / "mine" / "source.yaml").read_text(encoding="utf-8")):
        assert "独此一家的备注" not in text and "保密" not in text and "001" not in text


def test_quarterly_files_in_gb18030_become_one_table_by_a_pattern(monthly: pd.DataFrame, tmp_path: Path) -> None:
    quarters = monthly[monthly["监测年月"].isin(["2023-01", "2023-04", "2023-07", "2023-10"])]
    for quarter, rows in quarters.groupby("监测年月"):
        rows.to_csv(tmp_path / f"监测{quarter}.csv", index=False, encoding="gb18030")
    (tmp_path / "说明.md").write_text("not data", encoding="utf-8")
    (tmp_path / "照片.tar.gz").write_bytes(b"not data")
    proposal = propose_source([tmp_path], tmp_path / "mine")
    assert [sheet.pattern for sheet in proposal.proposed] == ["监测2023-*.csv"]
    assert proposal.step_months == 3
    assert [doubt for doubt in proposal.doubts if "照片" in doubt] == [
        "left out: 照片.tar.gz: unknown kind of file. Use csv, tsv (also .gz), parquet, xlsx or xls."
    ]
    with pytest.raises(ContractError, match="unknown kind of file"):
        propose_source([tmp_path / "照片.tar.gz"], tmp_path / "other")
    assert proposal.trial is not None and proposal.trial.tables["records"].accepted == 12


def test_a_pattern_never_takes_a_file_that_was_not_given(monthly: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("监测1.csv", "监测2.csv", "监测3.csv"):
        monthly.to_csv(tmp_path / name, index=False)
    proposal = propose_source([tmp_path / "监测1.csv", tmp_path / "监测2.csv"], tmp_path / "mine")
    assert [sheet.pattern for sheet in proposal.proposed] == ["监测1.csv"]
    assert any(doubt.startswith("监测2.csv: it looks like records too") for doubt in proposal.doubts)


def test_amounts_that_are_hardly_in_yuan_are_a_doubt(monthly: pd.DataFrame, tmp_path: Path) -> None:
    monthly.rename(columns={"工资性收入（万元）": "工资性收入"}).to_csv(tmp_path / "月报.csv", index=False)
    proposal = propose_source([tmp_path / "月报.csv"], tmp_path / "mine")
    (doubt,) = [doubt for doubt in proposal.doubts if "unit" in doubt]
    assert doubt.startswith("wage_income from 工资性收入: half of the amounts are below 100 yuan a year")


def test_a_name_that_is_nearly_known_is_asked_about_and_not_mapped(monthly: pd.DataFrame, tmp_path: Path) -> None:
    monthly.assign(大病人数统计=0).to_csv(tmp_path / "月报.csv", index=False)
    (sheet,) = propose_source([tmp_path / "月报.csv"], tmp_path / "mine").sheets
    assert sheet.left["大病人数统计"] == "perhaps n_major_illness 大病人数?"


def test_a_sheet_without_a_column_that_is_required_is_not_proposed(monthly: pd.DataFrame, tmp_path: Path) -> None:
    monthly.drop(columns="监测年月").drop_duplicates("户编码").to_csv(tmp_path / "农户信息.csv", index=False)
    proposal = propose_source([tmp_path / "农户信息.csv"], tmp_path / "mine")
    assert [sheet.table for sheet in proposal.proposed] == ["households"]  # nothing tells a month
    assert "there are no records" in proposal.refused and proposal.path.is_file()


def test_a_mapping_that_somebody_worked_on_is_not_written_over(workbook: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "source.yaml").write_text("source: my own", encoding="utf-8")
    with pytest.raises(UsageError, match="may hold your own work"):
        propose_source([workbook], mine)
    assert (mine / "source.yaml").read_text(encoding="utf-8") == "source: my own"


def test_files_that_tell_of_no_household_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "天气.csv").write_text("日期,温度\n2023-01-01,3\n", encoding="utf-8")
    with pytest.raises(ContractError, match=r"天气\.csv: no table of the register"):
        propose_source([tmp_path / "天气.csv"], tmp_path / "mine")
    with pytest.raises(NotFound, match="no such file"):
        propose_source([tmp_path / "没有.csv"], tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_every_other_name_means_one_column_of_a_table() -> None:
    known = names()  # refuses a name that means two
    assert set(known.tables.values()) == set(load_contract().tables)


def test_the_template_s_own_names_are_known(tmp_path: Path) -> None:
    source = load_source("configs/sources/template.yaml")
    for table in source.tables.values():
        if table.name in ("households", "spells", "assistance", "lines", "events"):
            raw = [str(f.raw) for f in table.fields or () if f.raw]
            pd.DataFrame({name: ["1"] for name in raw}).to_csv(tmp_path / f"{table.name}.csv", index=False)
            (sheet,) = propose_source([tmp_path / f"{table.name}.csv"], tmp_path / table.name).sheets
            wanted = {f.name for f in table.fields or ()}
            assert sheet.table == table.name and {g.column.name for g in sheet.mapped} == wanted
