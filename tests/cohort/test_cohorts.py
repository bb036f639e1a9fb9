"""Which months can be as-of: as far as the office came to know anything of the records, and no further."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from riskmodel.cli import app
from riskmodel.cohort.cohorts import build_cohorts, period_within
from riskmodel.cohort.features import available_in
from riskmodel.errors import UsageError
from riskmodel.monitoring.part import Asked
from riskmodel.months import month_number, month_text
from riskmodel.register import Register, ingest
from riskmodel.settings import Label
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_features import CATALOGUE
from tests.cohort.test_standing import assert_same
from tests.cohort.test_sweep import by_both

BELOW_LINE = Label(name="below_line", horizon_months=3)


def books(**tables: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """001 fell below the line in December, 002 did not; both were ill in November."""
    records = pd.concat([monthly("001", "2022-01", [150] * 23 + [80]), monthly("002", "2022-01", [150] * 24)])
    events = pd.DataFrame({"household_id": ["001", "002"], "kind": "illness", "onset_on": "2023-11-20"})
    return {"records": records, "events": events, **tables}


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    """Records come to be known 31 days after the month: those of December on the last of January."""
    return make_register(tmp_path_factory.mktemp("late"), lag_days=31, **books())


def test_the_month_in_which_the_last_record_came_to_be_known_can_be_as_of_and_none_after_it(register: Register) -> None:
    assert (register.last_month, register.last_as_of) == ("2023-12", "2024-01")
    assert period_within(register, "2024-01") == month_number("2024-01")
    assert Asked.about(register, "2024-01").as_of == month_number("2024-01")
    with pytest.raises(UsageError, match="2024-02 .*records of 2022-01 to 2023-12, the last of .* known by 2024-01"):
        period_within(register, "2024-02")


def test_the_newest_records_serve_in_the_month_in_which_they_came_to_be_known(register: Register) -> None:
    found = build_cohorts(register, ["2023-12", "2024-01"], label=BELOW_LINE, catalogue=CATALOGUE).frame
    at_risk = found.groupby("as_of")["household_id"].agg(list).to_dict()
    assert at_risk == {"2023-12": ["001", "002"], "2024-01": ["002"]}, "001's December was known in January"
    assert found["outcome"].isna().all(), "no horizon is over"


def test_who_is_at_risk_and_features_are_told_alike_by_pass_and_query_after_the_last_record(register: Register) -> None:
    last = month_number(register.last_as_of)
    assert assert_same(register, [last - 1, last], BELOW_LINE) == [2, 1]
    features, _ = available_in(register, CATALOGUE)
    one_pass, query = by_both(register, features, [last - 1, last])
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)


def test_a_register_whose_records_come_within_their_month_ends_with_them(tmp_path: Path) -> None:
    register = make_register(tmp_path, **books())
    assert register.last_as_of == register.last_month == "2023-12"
    with pytest.raises(UsageError, match="2024-01 lies outside the register, which holds records of 2022-01 to 2023-12[.]"):
        period_within(register, "2024-01")


def test_a_register_that_an_earlier_version_wrote_ends_with_its_last_record(register: Register, tmp_path: Path) -> None:
    about = {key: value for key, value in register.manifest["about"].items() if key != "last_known_month"}
    earlier = Register(tmp_path, {**register.manifest, "about": about})
    assert earlier.last_as_of == "2023-12"
    with pytest.raises(UsageError, match="outside the register"):
        period_within(earlier, "2024-01")


def test_so_in_a_panel_of_quarters(tmp_path: Path) -> None:
    records = pd.DataFrame({"household_id": "001", "month": ["2023-01", "2023-04"], "welfare": 150.0, "line": 100.0})
    register = make_register(tmp_path, step_months=3, lag_days=20, records=records)
    assert (register.last_month, register.last_as_of) == ("2023-04", "2023-07")
    assert [month_text(period_within(register, m)) for m in ("2023-06", "2023-09")] == ["2023-04", "2023-07"]
    with pytest.raises(UsageError, match="records of 2023-01 to 2023-06, .* known by 2023-09"):
        period_within(register, "2023-10")


def test_whoever_takes_in_late_books_is_told_the_month_that_counts_the_newest(tmp_path: Path) -> None:
    source = {"source": "t", "pseudonymised": True, "reporting_lag_days": 31, "tables": {"records": {}}}
    assert ingest(source, books()["records"], tmp_path / "register").told_in == "2024-01"
    (tmp_path / "source.yaml").write_text(json.dumps(source), encoding="utf-8")
    books()["records"].to_csv(tmp_path / "records.csv", index=False)
    given = ["ingest", str(tmp_path / "source.yaml"), "--data", str(tmp_path), "--out", str(tmp_path / "register")]
    assert "--as-of 2024-01" in CliRunner().invoke(app, given).output


def test_a_stray_late_record_makes_no_rule_of_it(tmp_path: Path) -> None:
    records = books()["records"].assign(known_at=lambda f: pd.to_datetime(f["month"]) + pd.offsets.MonthEnd())
    records["known_at"] = records["known_at"].mask(np.arange(len(records)) == 40, pd.Timestamp("2024-02-10"))
    source = {"source": "t", "pseudonymised": True, "tables": {"records": {}}}
    assert ingest(source, records, tmp_path / "register").told_in is None
    assert Register.open(tmp_path / "register").last_as_of == "2024-02"


@pytest.mark.parametrize(("mapped", "known"), [({}, "2024-01-05"), ({"known_at": "offered_on"}, "2023-12-05")])
def test_help_without_a_day_of_knowing_waits_as_records_do_unless_the_source_says_otherwise(
    tmp_path: Path, mapped: dict[str, str], known: str
) -> None:
    given = pd.DataFrame({"household_id": ["001"], "measure": ["health"], "offered_on": ["2023-12-05"]})
    columns = {**{name: name for name in given}, **mapped}
    tables = {"records": {}, "assistance": {"columns": columns}}
    source = {"source": "t", "pseudonymised": True, "reporting_lag_days": 31, "tables": tables}
    ingest(source, {"records": books()["records"], "assistance": given}, tmp_path / "register")
    assert str(Register.open(tmp_path / "register").read("assistance")["known_at"][0].date()) == known
