"""The contract is consistent, and a source that names what it does not know is refused with a suggestion."""

import pytest

from riskmodel.errors import ContractError, UsageError
from riskmodel.monitoring.rules import load_rules
from riskmodel.register import load_contract
from riskmodel.register.blocked import blocked_by_name, protected_by_name
from riskmodel.register.checks import SQL_TYPES
from riskmodel.register.source import load_source
from riskmodel.settings import load_run, packaged

COLUMNS = [(table, column) for table in load_contract().tables.values() for column in table.columns.values()]


def source(**records):
    return {"source": "test", "tables": {"records": {"file": "records.csv", **records}}}


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{t.name}.{c.name}" for t, c in COLUMNS])
def test_a_column_refers_only_to_what_exists(table, column):
    assert column.type in SQL_TYPES
    assert column.en and column.zh
    assert {column.revealed_by, column.at_most, column.not_before} - {None} <= set(table.columns)
    assert set(column.zh_values.values()) <= set(column.values)
    assert not column.values or column.type == "category"


def test_keys_required_columns_and_rules_are_columns():
    for table in load_contract().tables.values():
        named = {
            *table.key,
            *table.required,
            *table.one_of,
            *(c for rule in table.rules for c in rule.columns),
        }
        assert named <= set(table.columns), table.name
        assert table.dated_by is None or table.columns[table.dated_by].type in ("date", "month")


def test_chinese_labels_are_unique_within_a_table():
    for table in load_contract().tables.values():
        labels = [column.zh for column in table.columns.values()]
        assert len(labels) == len(set(labels)), table.name


@pytest.mark.parametrize("file", sorted(packaged("configs").glob("sources/*.yaml")), ids=lambda f: f.name)
def test_shipped_sources_are_accepted(file):
    assert "records" in load_source(file).tables


def test_the_survey_source_keeps_protected_attributes_out_of_the_inputs():
    records = load_source("sources/eph.yaml").tables["records"]
    read = {raw for field in records.extra for raw in field.reads}
    assert not read & {"head_sex", "n_female", "head_age", "head_marital"}
    assert [f.table for f in records.fields if f.name == "head_sex"] == ["households"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tables": {"record": {}}}, "no table 'records'"),
        ({"tables": {"records": {}, "event": {}}}, "unknown table 'event'; did you mean 'events'?"),
        (source(columns={"wage_incom": "x"}), "no such column in records; did you mean 'wage_income'?"),
        (source(colums={}), "unknown key 'colums'; did you mean 'columns'?"),
        (source(columns={"wage_income": {"from": "x", "unit": "10k_yuen"}}), "did you mean '10k_yuan'?"),
        (source(columns={"hh_size": {"from": "x", "unit": "yuan"}}), "hh_size has one unit only"),
        (
            source(columns={"household_type": {"from": "x", "codes": {"a": "lifte"}}}),
            "did you mean 'lifted'?",
        ),
        (source(columns={"hh_size": {"from": "x", "sql": "x"}}), "give either from"),
        (source(columns={"hh_size": {"sql": "(SELECT 1)"}}), "without a query inside"),
        (source(columns={"hh_size": {"sql": "1 FROM x; DROP TABLE y"}}), "expression"),
        (source(where="1 +"), "records.where: it is not an SQL expression"),
        (source(extra={"rooms": {"from": "x", "type": "text"}}), "never text"),
        (source(extra={"sex": {"from": "x"}}), "protected attribute"),
        (source(extra={"rooms": {"from": "户主民族"}}), "protected attribute"),
        (source(extra={"hh_size": {"from": "x"}}), "map it under columns"),
        ({**source(), "step_months": 0}, "step_months"),
        ({**source(), "period_named_by": "end"}, "period_named_by must be first or last"),
        ({**source(), "encoding": "utf-99"}, "encoding"),
        ({**source(), "pseudonymised": "yes"}, "pseudonymised must be bool"),
        ({**source(), "encoding": "rot13"}, "encoding"),
        ({**source(), "reporting_lag_days": 99_999}, "reporting_lag_days must lie between 0 and 3,660"),
        (source(header_row=0), "header_row must lie between 1 and 1,000"),
        (source(columns={"hh_size": {"sql": "unnest([1, 2])"}}), "one value a row"),
        (source(extra={"__row": {"from": "x"}}), "begins with a letter"),
    ],
)
def test_a_wrong_source_is_refused_by_name(given, says):
    with pytest.raises(ContractError) as refusal:
        load_source(given)
    assert says in str(refusal.value)


def test_a_source_that_is_not_yaml_is_refused_with_its_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tables:\n  records: {file: [}\n", encoding="utf-8")
    with pytest.raises(ContractError, match="mine.yaml, line 2"):
        load_source(file)


def test_a_key_that_is_written_twice_is_refused_with_its_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("tables:\n  records:\n    columns:\n      debt: 债务\n      debt: 债务余额\n", encoding="utf-8")
    with pytest.raises(ContractError, match="mine.yaml, line 5: 'debt' is written twice"):
        load_source(file)


def test_settings_that_are_not_utf8_are_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes("tables: {records: {file: 监测.csv}}\n".encode("gb18030"))
    for load in (load_source, load_run, load_rules):
        with pytest.raises(UsageError, match=r"mine.yaml: its text is not UTF-8\. Save it as UTF-8"):
            load(file)


@pytest.mark.parametrize(
    "name",
    [
        "身份证号",
        "户主身份证号码",
        "证件号码",
        "id_card",
        "national_id",
        "手机号",
        "联系电话",
        "phone",
        "mobile",
        "银行卡号",
        "bank_account",
        "一卡通账号",
        "passport",
    ],
)
def test_columns_blocked_by_name(name):
    assert blocked_by_name(name)
    with pytest.raises(ContractError, match="pseudonym"):
        load_source(source(columns={"household_id": name}))
    assert load_source({**source(columns={"household_id": name}), "pseudonymised": True})


@pytest.mark.parametrize("name", ["household_id", "village_id", "cope_borrowed_bank", "telecottage", "户编号", "债务余额"])
def test_harmless_names_are_not_blocked(name):
    assert blocked_by_name(name) is None
    assert not protected_by_name(name)
