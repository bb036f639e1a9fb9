"""The month and the months before it: each as it was known then, counted once, and honest about what is not on record."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.monitoring.known import late_records, no_records_yet
from riskmodel.monitoring.month import report_month
from riskmodel.monitoring.part import Asked, Found, scored_months
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.running import monitor
from riskmodel.months import month_number
from riskmodel.register import Register, read_manifest
from riskmodel.results import monitor_and_write
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_spells import ledger
from tests.county import AS_OF, County

NO_EFFECTS = Rules(assistance={"estimate_effects": False})


def report(register: Register, as_of: str = "2023-12") -> Found:
    return report_month(Asked(register, month_number(as_of), Rules()))


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    """Four households in two villages; 004 has its records of the last month a month late."""
    records = pd.concat([
        monthly("001", "2022-01", [150] * 22 + [90, 80]), monthly("002", "2022-01", [70] * 24),
        monthly("003", "2022-01", [150] * 24),
        monthly("004", "2022-01", [150] * 23 + [60]),
    ])  # fmt: skip
    months = pd.to_datetime(records["month"])
    late = (records["household_id"] == "004") & (months == "2023-12-01")
    records["known_at"] = (months + pd.offsets.MonthEnd()).mask(late, pd.Timestamp("2024-01-20"))
    households = pd.DataFrame({"household_id": ["001", "002", "003", "004"], "village_id": ["v1", "v1", "v2", "v2"]})
    spells = ledger(("001", "2023-12-05", None), ("002", "2022-03-01", "2023-12-20"), ("003", "2022-06-01", "2023-11-10"))
    spells.loc[spells["household_id"] == "001", "known_at"] = "2023-12-28"
    events = pd.DataFrame({
        "household_id": ["001", None, "001", "002"], "village_id": [None, "v2", None, None],
        "kind": ["illness", "disaster", "illness", "illness"],
        "onset_on": ["2023-10-03", "2023-12-01", "2023-12-02", "2023-12-04"],
        "known_at": ["2023-12-10", "2023-12-03", "2024-01-08", "2023-12-10"], "verified": [True, None, True, False],
    })  # fmt: skip
    help_given = pd.DataFrame({
        "household_id": ["001", "002", "002"], "measure": ["health", "training", "health"], "accepted": [True, True, False],
        "offered_on": ["2023-11-20", "2023-12-01", "2023-12-01"], "known_at": ["2023-11-21", "2023-12-02", "2023-12-02"],
        "answered_on": ["2023-11-25", "2023-12-06", "2023-12-06"], "started_on": ["2023-12-04", "2024-01-05", None],
        "paid_on": ["2023-12-30", None, None], "amount_planned": [900.0, 500.0, 100.0], "amount_paid": [900.0, None, None],
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("month")
    return make_register(folder, records=records, households=households, spells=spells, events=events, assistance=help_given)


def test_the_month_counts_as_it_was_known_on_its_last_day(register: Register) -> None:
    now = report(register).tables["month_course"].set_index("as_of").loc["2023-12"]
    assert now["recorded"] == 3, "the record of 004 came in January"
    assert now["below_line"] == 2
    assert now[["monitored", "entered", "left"]].tolist() == [1, 1, 1]
    assert now["struck"] == 3, "001 by an illness that began in October, 003 and 004 by the disaster of their village"
    assert now["helped"] == 1, "001; 002 accepted help that had not begun on that day"
    assert now["paid"] == 900.0


def test_an_event_that_is_put_right_strikes_in_the_month_in_which_it_first_came_to_be_known(tmp_path: Path) -> None:
    """001's loss is put right twice; 002's disaster is found not to be one in November; 003's is verified only then."""
    told = [
        ("001", "2023-09-20", 100.0, True), ("001", "2023-10-20", 900.0, True), ("001", "2023-12-20", 800.0, None),
        ("002", "2023-09-20", 100.0, None), ("002", "2023-11-20", 100.0, False),
        ("003", "2023-09-20", 100.0, False), ("003", "2023-11-20", 100.0, True), ("003", "2023-12-20", 50.0, True),
        ("004", "2023-10-03", 100.0, True), ("004", "2023-10-20", 100.0, False),
    ]  # fmt: skip
    events = pd.DataFrame(told, columns=["household_id", "known_at", "loss", "verified"])
    events = events.assign(kind="disaster", onset_on="2023-09-10")
    records = pd.concat([monthly(h, "2023-01", [150] * 12) for h in ("001", "002", "003", "004")])
    course = report(make_register(tmp_path, records=records, events=events)).tables["month_course"].set_index("as_of")
    struck = course["struck"]["2023-08":].tolist()
    assert struck == [0, 2, 0, 1, 0], "001 and 002 in September, 003 in November; 004's was none when October ended"


def test_help_that_is_accepted_after_the_last_day_has_not_begun(tmp_path: Path) -> None:
    help_given = pd.DataFrame({
        "household_id": ["001", "002", "003"], "measure": "health", "offered_on": "2023-11-20", "known_at": "2023-11-20",
        "answered_on": ["2023-11-25", "2023-12-05", None], "accepted": True,
    })  # fmt: skip
    records = pd.concat([monthly(h, "2022-12", [150] * 13) for h in ("001", "002", "003")])
    course = report(make_register(tmp_path, records=records, assistance=help_given)).tables["month_course"]
    helped = course.set_index("as_of")["helped"]
    assert helped["2023-11"] == 2, "002 had not answered; 003 took it up on a day that nobody wrote down, after the offer"
    assert helped["2023-12"] == 1


def of_help(*rows: tuple[str, str, str | None, str | None, bool | None]) -> pd.DataFrame:
    """Help offered on 1 March: household, day of knowing, of the answer, of the start and the payment, whether accepted."""
    told = pd.DataFrame(rows, columns=["household_id", "known_at", "answered_on", "started_on", "accepted"])
    paid = told["started_on"].where(told["accepted"].eq(True))
    return told.assign(
        measure="health", offered_on="2023-03-01", paid_on=paid, amount_paid=np.where(paid.notna(), 100.0, None)
    )


@pytest.mark.parametrize("corrected", [False, True])
def test_help_counts_once_in_the_month_in_which_it_was_first_known_to_have_begun(tmp_path: Path, corrected: bool) -> None:
    """001's March was told in March, 002's in April; 003 began before its answer; 004 refused; 005's is told to have begun
    only by a correction; 006's start was taken back in the month in which it was told, 007's later."""
    told = [
        ("001", "2023-03-25", "2023-03-05", "2023-03-20", True),
        ("002", "2023-04-10", "2023-03-05", "2023-03-20", True),
        ("003", "2023-03-25", "2023-05-05", "2023-03-20", True),
        ("004", "2023-04-10", "2023-03-05", None, False),
    ]  # fmt: skip
    again = [
        ("001", "2023-04-25", "2023-03-05", "2023-03-22", True),
        ("005", "2023-03-25", None, None, None),
        ("005", "2023-06-25", "2023-03-05", "2023-03-20", True),
        ("006", "2023-04-10", "2023-03-05", "2023-03-20", True),
        ("006", "2023-04-20", "2023-03-05", None, False),
        ("007", "2023-04-10", "2023-03-05", "2023-03-20", True),
        ("007", "2023-05-20", "2023-03-05", None, False),
    ]  # fmt: skip
    records = pd.concat([monthly(f"00{h}", "2022-08", [150] * 12) for h in range(1, 8)])
    register = make_register(tmp_path, records=records, assistance=of_help(*told, *(again if corrected else [])))
    assert ("assistance" in register.revised) == corrected
    counts = {m: report(register, m).tables["month_course"].iloc[-1] for m in ("2023-03", "2023-04", "2023-05", "2023-06")}
    assert [now["helped"] for now in counts.values()] == ([1, 2, 1, 1] if corrected else [1, 1, 1, 0])
    assert [now["paid"] for now in counts.values()] == [100.0 * now["helped"] for now in counts.values()]
    course = report(register, "2023-06").tables["month_course"].set_index("as_of")
    assert course["helped"][list(counts)].tolist() == [now["helped"] for now in counts.values()]


def test_who_came_and_left_counts_in_the_month_in_which_the_book_first_told_it(tmp_path: Path) -> None:
    """001 came in March and left in May, each told a month later; 002 in time; 003 came and left, told in May."""
    book = ledger(
        ("001", "2023-03-20", None), ("001", "2023-03-20", "2023-05-20"), ("002", "2023-03-20", "2023-05-20"),
        ("003", "2023-02-20", "2023-03-20"),
    )  # fmt: skip
    book["known_at"] = ["2023-04-10", "2023-06-10", "2023-03-20", "2023-05-10"]
    records = pd.concat([monthly(h, "2022-08", [150] * 12) for h in ("001", "002", "003")])
    course = report(make_register(tmp_path, records=records, spells=book), "2023-07").tables["month_course"]
    course = course.set_index("as_of").loc["2023-02":]
    assert course["entered"].tolist() == [0, 1, 1, 1, 0, 0]
    assert course["left"].tolist() == [0, 0, 0, 2, 1, 0]
    assert course["monitored"].diff().dropna().tolist() == (course["entered"] - course["left"]).tolist()[1:]


def test_a_household_whose_income_was_taken_back_is_not_below_the_line(tmp_path: Path) -> None:
    records = monthly("001", "2022-12", [150] * 12 + [80]).assign(known_at=lambda f: f["month"].str[:-2] + "25")
    back = records.iloc[[-1]].assign(welfare=None, known_at="2023-12-28")
    now = report(make_register(tmp_path, records=pd.concat([records, back]))).tables["month_course"].iloc[-1]
    assert now[["recorded", "below_line"]].tolist() == [1, 0]


def test_who_is_entered_twice_in_the_book_comes_once_and_leaves_with_the_last_entry(tmp_path: Path) -> None:
    twice = ledger(("001", "2023-06-01", "2023-12-10"), ("001", "2023-11-05", None), ("002", "2023-11-05", None))
    records = pd.concat([monthly(h, "2022-12", [150] * 13) for h in ("001", "002")])
    course = report(make_register(tmp_path, records=records, spells=twice)).tables["month_course"].set_index("as_of")
    assert course.loc["2023-11", ["monitored", "entered", "left"]].tolist() == [2, 1, 0]
    assert course.loc["2023-12", ["monitored", "entered", "left"]].tolist() == [2, 0, 0]


def test_a_month_in_which_nothing_was_paid_is_one_of_no_yuan(register: Register) -> None:
    paid = report(register).tables["month_course"].set_index("as_of")["paid"]
    assert paid["2023-11"] == 0 and paid["2023-12"] == 900


def test_what_a_figure_of_the_month_leaves_out_is_counted_beside_it(tmp_path: Path) -> None:
    """001 is below the line and of 002 no income is on record; of 001's two payments one is of an unknown amount."""
    records = pd.concat([monthly(h, "2023-01", [90] * 12) for h in ("001", "002")])
    records["welfare"] = records["welfare"].mask(records["household_id"].eq("002"))
    help_given = pd.DataFrame({
        "household_id": "001", "measure": ["health", "water"], "offered_on": "2023-11-20", "known_at": "2023-11-20",
        "accepted": True, "paid_on": "2023-12-05", "amount_paid": [900.0, None],
    })  # fmt: skip
    now = report(make_register(tmp_path, records=records, assistance=help_given)).tables["month_course"].iloc[-1]
    assert now[["recorded", "below_line", "income_not_recorded"]].tolist() == [2, 1, 1]
    assert now[["paid", "amount_not_recorded"]].tolist() == [900.0, 1]


def test_the_months_before_stand_a_year_back_as_they_were_known_then(register: Register) -> None:
    table = report(register).tables["month_course"]
    assert table["as_of"].tolist() == [f"2022-{m:02}" for m in (12,)] + [f"2023-{m:02}" for m in range(1, 13)]
    before = table.set_index("as_of")
    assert before["monitored"].tolist() == [2] * 11 + [1, 1]
    assert before.loc["2023-11", ["recorded", "below_line", "left", "paid"]].tolist()[:3] == [4, 2, 1]
    assert report(register, "2023-11").tables["month_course"].iloc[-1].to_dict() == pytest.approx(
        table.iloc[-2].to_dict(), nan_ok=True
    ), "what came to be known later changes no month before"


def test_a_short_register_has_the_months_that_it_has(register: Register) -> None:
    assert report(register, "2022-03").tables["month_course"]["as_of"].tolist() == ["2022-01", "2022-02", "2022-03"]


def test_what_the_register_does_not_hold_has_no_column_and_a_reason(tmp_path: Path) -> None:
    found = report(make_register(tmp_path, records=monthly("001", "2022-01", [130] * 24)))
    assert list(found.tables["month_course"]) == ["as_of", "recorded", "below_line", "income_not_recorded"]
    assert set(found.lacks) == {"monitored", "struck", "helped", "paid", "listed"}
    assert all(note in found.notes for note in found.lacks.values())
    assert found.figures == {"recorded": 1, "below_line": 0, "income_not_recorded": 0}


def test_where_records_come_after_their_month_each_month_is_told_by_the_month_before(tmp_path: Path) -> None:
    records = pd.concat([monthly("001", "2022-01", [150] * 22 + [80, 80]), monthly("002", "2022-01", [150] * 23 + [70])])
    register = make_register(tmp_path, lag_days=10, records=records)
    found = report(register)
    told = {"recorded": 2, "below_line": 1, "income_not_recorded": 0, "records_late_months": 1}
    assert found.figures == told, "nobody knows of December yet"
    assert found.tables["month_course"].set_index("as_of")["below_line"].tolist()[-3:] == [0, 0, 1]
    assert late_records(1) in found.notes


def test_in_the_month_in_which_the_last_records_came_to_be_known_they_tell_it(tmp_path: Path) -> None:
    records = pd.concat([monthly("001", "2022-01", [150] * 22 + [80, 80]), monthly("002", "2022-01", [150] * 23 + [70])])
    register = make_register(tmp_path, lag_days=31, records=records)
    found = report(register, register.last_as_of)
    assert found.figures == {"recorded": 2, "below_line": 2, "income_not_recorded": 0, "records_late_months": 1}
    assert found.tables["month_course"]["as_of"].iloc[-1] == "2024-01"


def test_a_month_of_which_the_register_has_no_record_yet_is_not_one_that_nobody_recorded(register: Register) -> None:
    """004 had one record a month late, so that January can be asked about; all others come within their month."""
    found = report(register, "2024-01")
    course = found.tables["month_course"].set_index("as_of")
    assert course.loc["2024-01", ["recorded", "below_line"]].isna().all()
    assert course.loc["2023-12", ["recorded", "below_line"]].tolist() == [3, 2]
    assert course.loc["2024-01", ["monitored", "struck", "helped"]].tolist() == [1, 1, 1], "other books tell it all the same"
    assert found.figures["recorded"] is None
    assert found.notes[1] == no_records_yet(Asked(register, month_number("2024-01"), Rules()))


def test_before_any_record_is_known_nobody_can_say_who_is_below_the_line(tmp_path: Path) -> None:
    found = report(make_register(tmp_path, lag_days=10, records=monthly("001", "2022-01", [80, 80])), "2022-01")
    assert found.figures == {"recorded": 0, "below_line": None, "income_not_recorded": None}
    assert any("who is below the line cannot be told" in english for english, _ in found.notes)


def test_a_report_reads_the_manifest_of_a_scored_month_once(
    county: County, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(folder: Path, kind: str) -> dict:
        read.append(folder)
        return read_manifest(folder, kind)

    monkeypatch.setattr("riskmodel.alerts.history.read_manifest", counted)
    about = {"alerts": [county.alerts], "parts": ["month"]}
    monitor_and_write(county.register, AS_OF, tmp_path / "report", lambda done: None, **about)
    assert read == [county.alerts]


def test_new_on_the_list_are_those_that_the_list_before_did_not_hold(county: County, tmp_path: Path) -> None:
    county.score("10", tmp_path / "before", "2023-03")
    months = scored_months([county.alerts, tmp_path / "before"], month_number(AS_OF))
    asked = Asked(Register.open(county.register), month_number(AS_OF), Rules(), months)
    table = report_month(asked).tables["month_course"].set_index("as_of")
    lists = {m.number: set(m.read("alerts", ["household_id"])["household_id"]) for m in months}
    march, june = lists[month_number("2023-03")], lists[month_number(AS_OF)]
    assert table.loc[AS_OF, ["listed", "new_on_list"]].tolist() == [len(june), len(june - march)]
    assert table.loc["2023-03", "listed"] == len(march) and table.loc["2023-03", "new_on_list"] is pd.NA
    assert np.isnan(table["listed"].astype(float)["2023-04"]), "a month that was not scored has no list"


def test_the_name_of_the_folder_of_a_register_changes_no_figure(register: Register, tmp_path: Path) -> None:
    moved = tmp_path / "month=2020-01" / "county_id=elsewhere" / "kept [1]"
    shutil.copytree(register.path, moved)
    tables = [monitor_and_write(path, "2023-12", tmp_path / name, lambda what: None)["files"]
              for name, path in (("as it was", register.path), ("moved", moved))]  # fmt: skip
    first, second = ({n: f["sha256"] for n, f in files.items() if n.endswith(".parquet")} for files in tables)
    assert first == second and len(first) > 20


def test_a_county_without_records_counts_by_its_books_and_is_named(tmp_path: Path) -> None:
    """County A is recorded each month; of B there are households, monitoring and help, and no record."""
    households = pd.DataFrame({"household_id": ["001", "101", "102"], "county_id": ["A", "B", "B"]})
    spells = ledger(("001", "2023-02-01", None), ("101", "2022-02-01", None), ("102", "2022-02-01", "2022-12-01"))
    spells = pd.concat([spells, ledger(("102", "2023-12-03", None))])
    help_given = pd.DataFrame({"household_id": ["101"], "measure": ["health"], "accepted": [True]})
    help_given = help_given.assign(**dict.fromkeys(("offered_on", "known_at", "answered_on", "started_on"), "2023-12-05"))
    register = make_register(
        tmp_path, records=monthly("001", "2022-01", [150] * 24, county_id="A"), households=households, spells=spells,
        assistance=help_given,
    )  # fmt: skip
    told = monitor(register, "2023-12", parts=["month", "spells", "assistance"], rules=NO_EFFECTS)
    now = told["month"].tables["month_course"].set_index("as_of").loc["2023-12"]
    assert now[["recorded", "monitored", "entered", "helped"]].tolist() == [1, 3, 1, 1]
    tables = told["spells"].tables
    assert tables["long_stays"][["county_id", "household_id"]].values.tolist() == [["B", "101"]]
    assert tables["frequent_entries"]["household_id"].tolist() == ["102"]
    summary = tables["duration_summary"].set_index(["kind", "entry"])
    assert summary.loc[("monitoring", "all"), "open"] == 3, "as many as are in open monitoring on the first page"
    assert tables["poverty_kinds"]["households"].max() == 1, "nobody knows the income of B"
    for name, part in told.items():
        assert any("no record: B." in english for english, _ in part.notes), name
