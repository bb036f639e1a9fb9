"""Results of assistance: what was known before help, who is held against whom, and whose help is to be changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.features import build_features
from riskmodel.monitoring.assistance import (
    _compared,
    change_of_measure,
    covered,
    help_effects,
    help_trends,
    report_assistance,
    study_rows,
)
from riskmodel.monitoring.funds import report_funds
from riskmodel.monitoring.known import Answers, needs_on
from riskmodel.monitoring.part import Asked
from riskmodel.monitoring.rules import Rules
from riskmodel.months import month_number
from riskmodel.register import Register
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_spells import ledger
from tests.county import County

CATALOGUE = load_catalogue()
FEW = {"assistance": {"effects": {"least_households": 10_000}}}


def asked(register: Register, as_of: str = "2023-12", **rules: object) -> Asked:
    return Asked(register, month_number(as_of), Rules(**(rules or FEW)))


def given(*rows: tuple[str, str, str, bool]) -> pd.DataFrame:
    """Help by household, kind, day of the offer, whether taken up; known, answered and begun on that day."""
    frame = pd.DataFrame(rows, columns=["household_id", "measure", "offered_on", "accepted"])
    for column in ("known_at", "answered_on", "started_on"):
        frame[column] = frame["offered_on"]
    dates = ["offered_on", "known_at", "answered_on", "started_on"]
    frame[dates] = frame[dates].apply(pd.to_datetime)
    frame.loc[~frame["accepted"], "started_on"] = pd.NaT
    return frame


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Register:
    """001 helped in March and poor since, 002 helped in March and well, 003 never, 004 refused, 005 helped late."""
    courses = {"001": [110] * 14 + [90] * 10, "002": [90] * 14 + [150] * 10}
    records = pd.concat([
        monthly(h, "2022-01", courses.get(h, [130] * 24), n_able=1, n_major_illness=int(h == "001"), hh_size=2)
        for h in ("001", "002", "003", "004", "005")
    ])  # fmt: skip
    spells = ledger(
        ("001", "2023-02-01", None), ("002", "2023-02-01", None), ("003", "2023-01-05", None),
        ("004", "2023-02-01", None), ("005", "2023-02-01", None),
    )  # fmt: skip
    help_given = given(
        ("001", "employment", "2023-03-10", True), ("002", "health", "2023-03-10", True),
        ("004", "training", "2023-03-10", False), ("005", "health", "2023-11-10", True),
    )  # fmt: skip
    return make_register(tmp_path_factory.mktemp("small"), records=records, spells=spells, assistance=help_given)


def test_help_taken_up_on_a_day_that_nobody_wrote_down_counts_as_taken_up(tmp_path: Path) -> None:
    """001 and 002 took up help and 003 refused it, each on an unknown day; 004 answered after the day of the report."""
    help_given = given(
        ("001", "health", "2023-03-10", True), ("002", "health", "2023-03-10", True), ("003", "health", "2023-03-10", False),
        ("004", "health", "2023-12-10", True),
    ).assign(answered_on=[pd.Timestamp("2023-03-12"), pd.NaT, pd.NaT, pd.Timestamp("2024-01-05")])  # fmt: skip
    records = pd.concat([monthly(h, "2022-01", [130] * 24) for h in ("001", "002", "003", "004")])
    spells = ledger(*((h, "2023-02-01", None) for h in ("001", "002", "003", "004")))
    register = make_register(tmp_path, records=records, assistance=help_given, spells=spells)
    tables = report_assistance(asked(register, assistance={"estimate_effects": False})).tables
    row = tables["help_measures"].iloc[0]
    assert row[["offers", "answered", "taken_up", "refused"]].tolist() == [4, 3, 2, 1]
    within = tables["help_timeliness"].set_index("within_days").loc[90]
    assert (within["needs"], within["helped"]) == (4, 2)


def test_help_that_shows_nothing_after_half_a_year_is_to_be_changed(small: Register) -> None:
    found, untold = change_of_measure(asked(small), CATALOGUE, Answers.of(CATALOGUE, Rules().assistance.delivers))
    assert found["household_id"].tolist() == ["001"], "002 rose, 003 and 004 had no help, that of 005 is too recent"
    assert untold == 0
    row = found.iloc[0]
    assert (row["ratio_then"], row["ratio_now"]) == pytest.approx((1.1, 0.9))
    assert row["unanswered"] == "illness", "work was found for a household whose need on record is an illness"
    assert not row["changed"]


def test_who_was_not_seen_since_help_began_is_not_told_to_have_gained_nothing(small: Register, tmp_path: Path) -> None:
    records = small.read("records")
    seen = records[(records["household_id"] != "001") | (records["month"] < "2023-03-01")]
    register = make_register(tmp_path, records=seen, spells=small.read("spells"), assistance=small.read("assistance"))
    found, untold = change_of_measure(asked(register), CATALOGUE, Answers.of(CATALOGUE, Rules().assistance.delivers))
    assert (len(found), untold) == (0, 1)
    notes = report_assistance(asked(register, assistance={"estimate_effects": False})).notes
    assert any(english.startswith("Of <10 more households in open monitoring") for english, _ in notes)


def test_what_was_taken_back_is_neither_income_nor_work(tmp_path: Path) -> None:
    course = monthly("001", "2022-01", [90] * 14 + [150] * 9 + [80], n_working=[0] * 20 + [1] + [0] * 3, hh_size=2)
    course["known_at"] = course["month"].str[:-2] + "25"
    back = course.iloc[[20, 23]].assign(welfare=[150, None], n_working=[None, 0], known_at="2023-12-28")
    help_given = given(("001", "training", "2023-03-10", True)).assign(ended_on="2023-03-20", completed=True)
    spells = ledger(("001", "2023-02-01", None))
    folders = {"told": course, "taken_back": pd.concat([course, back])}
    found = {}
    for name, records in folders.items():
        register = make_register(tmp_path / name, records=records, spells=spells, assistance=help_given)
        found[name] = report_assistance(asked(register)).tables
    assert found["told"]["change_of_measure"]["household_id"].tolist() == ["001"]
    assert found["taken_back"]["change_of_measure"].empty, "the income of November is the last one told, and it rose"
    work = {name: tables["training_work"].set_index("training").loc["completed", "share"] for name, tables in found.items()}
    assert work == {"told": 1, "taken_back": 0}, "the work of September was taken back, in October there was none"


def test_without_a_line_no_household_is_told_to_have_gained_something(small: Register, tmp_path: Path) -> None:
    records = small.read("records").drop(columns="line")
    register = make_register(tmp_path, records=records, spells=small.read("spells"), assistance=small.read("assistance"))
    found = report_assistance(asked(register, assistance={"estimate_effects": False}))
    assert "change_of_measure" not in found.tables and "change_of_measure" not in found.figures
    assert found.lacks["change_of_measure"] in found.notes and "help_timeliness" in found.tables


def test_a_measure_already_changed_is_said(small: Register, tmp_path: Path) -> None:
    help_given = given(("001", "employment", "2023-03-10", True), ("001", "health", "2023-10-10", True))
    records, spells = small.read("records"), small.read("spells")
    register = make_register(tmp_path, records=records, spells=spells, assistance=help_given)
    row = change_of_measure(asked(register), CATALOGUE, Answers.of(CATALOGUE, Rules().assistance.delivers))[0].iloc[0]
    assert row["changed"] and row["measures"] == "employment; health" and row["unanswered"] == ""


def test_what_was_known_after_the_day_of_the_report_changes_nothing(small: Register, tmp_path: Path) -> None:
    tables = {name: small.read(name) for name in ("records", "spells", "assistance")}
    later = given(("003", "health", "2023-06-01", True)).assign(known_at=pd.Timestamp("2024-02-01"))
    poor = (
        tables["records"]
        .query("household_id == '002' and month == '2023-12-01'")
        .assign(welfare=10.0, known_at=pd.Timestamp("2024-03-01"))
    )
    more = {
        "records": pd.concat([tables["records"], poor]), "assistance": pd.concat([tables["assistance"], later]),
        "spells": tables["spells"],
    }  # fmt: skip
    before, after = report_assistance(asked(small)), report_assistance(asked(make_register(tmp_path, **more)))
    assert before.figures == after.figures
    for name, table in before.tables.items():
        pd.testing.assert_frame_equal(table, after.tables[name])


def test_help_is_compared_by_what_was_known_before_its_offer(small: Register) -> None:
    rows = study_rows(asked(small), CATALOGUE, small.counties).set_index(["household_id", "as_of_no"])
    march = month_number("2022-12"), month_number("2022-12") + 3
    day = next(d for d in rows.index.get_level_values(1).unique() if d < month_number("2023-03") <= d + 3)
    assert march[0] <= day < march[1]
    assert rows.loc[("001", day), "arm"] == "employment"
    assert rows.loc[("004", day), "arm"] == "", "an offer that was refused is no help taken up"
    before = build_features(small, [day], CATALOGUE).frame.set_index("household_id")
    np.testing.assert_allclose(rows.loc[("001", day), "log_ratio_now"], before.loc["001", "log_ratio_now"])
    assert rows.loc[("001", day), "offers_12m"] == 0
    assert rows.loc[("002", day), "income"] == pytest.approx(1.5)
    for d in rows.index.get_level_values(1).unique():
        assert d + 3 + 6 <= month_number("2023-12"), "outcomes are over on the day of the report"


def test_who_left_monitoring_before_help_was_offered_did_not_leave_by_it(tmp_path: Path) -> None:
    """001 left in January, before help in March; 002 left after the window, 003 stays, 004 left one of two spells."""
    names = ["001", "002", "003", "004"]
    records = pd.concat([monthly(h, "2022-01", [130] * 24) for h in names])
    spells = ledger(
        ("001", "2022-11-01", "2023-01-10"), ("002", "2022-11-01", "2023-05-20"), ("003", "2022-11-01", None),
        ("004", "2022-11-01", "2023-05-20"), ("004", "2023-03-05", None),
    )  # fmt: skip
    register = make_register(
        tmp_path, records=records, spells=spells, assistance=given(*((h, "health", "2023-03-10", True) for h in names))
    )
    rows = study_rows(asked(register), CATALOGUE, register.counties)
    december = rows[rows["as_of_no"] == month_number("2022-12")].set_index("household_id")
    assert december["arm"].eq("health").all()
    assert december.loc[["002", "003", "004"], "exit"].tolist() == [1, 0, 0], "spells that overlap are one, open for 004"
    assert np.isnan(december.loc["001", "exit"])


def test_nobody_is_said_to_have_stayed_in_monitoring_before_the_ends_of_these_months_are_known(tmp_path: Path) -> None:
    """001 left in December, which the books tell 45 days later, as they told that 002 left in the year before; 003 stays."""
    records = pd.concat([monthly(h, "2022-01", [130] * 24) for h in ("001", "002", "003")])
    records["known_at"] = pd.to_datetime(records["month"]) + pd.offsets.MonthEnd()
    ends = {"001": "2023-12-10", "002": "2022-06-10", "003": None}
    spells = pd.DataFrame({"household_id": [*ends], "identified_on": "2022-02-01", "eliminated_on": [*ends.values()]})
    help_ = given(("001", "health", "2023-04-10", True))
    register = make_register(tmp_path, lag_days=45, records=records, spells=spells, assistance=help_)
    told = {}
    for day in ("2023-12", "2024-01", "2024-02"):
        rows = study_rows(Asked(register, month_number(day), Rules(**FEW)), CATALOGUE, register.counties)
        told[day] = rows[rows["as_of_no"] == month_number("2023-03")].set_index("household_id")["exit"]
    assert told["2023-12"].isna().all()
    assert told["2024-02"].loc[["001", "003"]].tolist() == [1, 0]


def test_a_return_counts_where_it_would_be_known_too_that_there_was_none(tmp_path: Path) -> None:
    """001 and 003 fell in August, 002 and 004 did not; of the first two the record of December comes in March."""
    names = ["001", "002", "003", "004"]
    incomes = {h: [150.0] * 19 + ([90.0, 90.0, 150.0, 150.0, 150.0] if h in ("001", "003") else [150.0] * 5) for h in names}
    records = pd.concat([monthly(h, "2022-01", incomes[h]) for h in names], ignore_index=True)
    records["known_at"] = pd.to_datetime(records["month"]) + pd.offsets.MonthEnd()
    late = records["month"].eq("2023-12-01") & records["household_id"].isin(["001", "002"])
    records["known_at"] = records["known_at"].mask(late, pd.Timestamp("2024-03-10"))
    register = make_register(tmp_path, records=records, assistance=given(("001", "health", "2023-04-10", True)))
    rows = study_rows(asked(register), CATALOGUE, register.counties)
    march = rows[rows["as_of_no"] == month_number("2023-03")].set_index("household_id")["return"]
    assert march.loc[["003", "004"]].tolist() == [1, 0] and march.loc[["001", "002"]].isna().all()


def test_outcomes_are_told_of_months_whose_records_have_come(tmp_path: Path) -> None:
    """With a lag the record of December is known in January: the last window closes in May, its horizon ends in November."""
    records = pd.concat([monthly(h, "2022-01", [150.0] * 24) for h in ("001", "002")])
    help_ = given(("001", "health", "2023-03-10", True))
    register = make_register(tmp_path, lag_days=31, records=records, assistance=help_)
    rows = study_rows(asked(register), CATALOGUE, register.counties)
    assert rows["as_of_no"].max() == month_number("2023-02") and rows["return"].eq(0).all()


def test_help_that_the_office_knows_of_late_is_waited_for_before_it_counts_as_none_in_time(tmp_path: Path) -> None:
    """Help of 001 began in time in November, which is known in January; that of the others in January, within 30 days."""
    names = [f"{i:03}" for i in range(12)]
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in names])
    spells = pd.DataFrame({"household_id": names, "identified_on": ["2023-01-05", "2023-10-25", *["2023-01-05"] * 10]})
    help_ = given(*((h, "health", "2023-11-05" if h == "001" else "2023-01-20", True) for h in names))
    help_.loc[1, ["answered_on", "started_on"]] = pd.Timestamp("2023-11-24")
    register = make_register(
        tmp_path, lag_days=40, records=records, spells=spells, assistance=help_.drop(columns="known_at")
    )
    soon = report_assistance(asked(register)).tables["help_timeliness"].set_index("within_days")
    assert soon.loc[30, ["needs", "helped"]].tolist() == [11, 11]


def test_the_helped_are_held_against_others_whose_outcome_is_known() -> None:
    """Forty monitored households without help among two thousand of whom nobody is monitored."""
    rows = pd.DataFrame({"household_id": [f"{i:04}" for i in range(2050)], "as_of_no": 24_000, "arm": ""})
    rows.loc[:9, "arm"] = "health"
    rows["exit"] = np.where(rows.index < 50, 0.0, np.nan)
    compared = _compared(rows, "health", "*", "exit", others_per_helped=4)
    assert compared["treated"].value_counts().to_dict() == {0.0: 40, 1.0: 10}
    assert compared["exit"].notna().all()


def test_coverage_timeliness_and_refusal_are_those_of_the_books(small: Register) -> None:
    tables = report_assistance(asked(small)).tables
    by = tables["help_measures"].set_index("measure")
    assert by.loc["health", ["offers", "taken_up", "refused"]].tolist() == [2, 2, 0]
    assert by.loc["training", ["offers", "taken_up", "refused", "refused_share"]].tolist() == [1, 0, 1, 1.0]
    soon = tables["help_timeliness"].set_index("within_days")
    assert soon.loc[30, ["needs", "helped"]].tolist() == [5, 0]
    assert soon.loc[90, ["needs", "helped"]].tolist() == [5, 2], "001 and 002 after 37 days"
    coverage = tables["help_coverage"].set_index("county_id").loc["*"]
    assert coverage["monitored"] == "<10" and np.isnan(coverage["share"]), "fewer than ten households give no share"


def test_help_that_was_taken_up_and_has_not_begun_reaches_nobody_yet(tmp_path: Path) -> None:
    names = [f"{i:03}" for i in range(40)]
    records = pd.concat([monthly(h, "2022-01", [130] * 24) for h in names])
    help_given = given(*((h, "health", "2023-03-10", True) for h in names[:30]))
    help_given.loc[15:, "started_on"] = pd.NaT
    register = make_register(
        tmp_path, records=records, spells=ledger(*((h, "2023-03-01", None) for h in names)), assistance=help_given
    )
    tables = report_assistance(asked(register)).tables
    assert tables["help_timeliness"].set_index("within_days").loc[30, ["needs", "helped"]].tolist() == [40, 15]
    assert tables["help_coverage"].set_index("county_id").loc["*", "share"] == pytest.approx(15 / 40)


def test_help_after_the_end_of_monitoring_is_no_late_help_of_it(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2022-01", [130] * 24) for h in ("001", "002", "003")])
    spells = ledger(
        ("001", "2023-01-01", None), ("002", "2023-01-01", "2023-03-01"), ("003", "2023-01-01", None),
        ("003", "2023-05-01", None),
    )  # fmt: skip
    help_given = given(("001", "health", "2023-01-11", True), ("002", "health", "2023-03-21", True))
    help_given = pd.concat([help_given, given(("003", "health", "2023-01-31", True))])
    tables = report_assistance(asked(make_register(tmp_path, records=records, spells=spells, assistance=help_given))).tables
    soon = tables["help_timeliness"].set_index("within_days")
    assert soon.loc[90, ["needs", "helped"]].tolist() == [3, 2], "003 is one need, entered twice in the book"
    assert soon["median_days"].tolist() == [20, 20, 20]


def test_help_of_thirteen_months_ago_is_none_of_this_year_in_a_register_of_quarters_either(tmp_path: Path) -> None:
    names = [f"{i:03}" for i in range(40)]
    quarters = pd.concat([monthly(h, "2022-01", [130, *[None] * 2] * 8) for h in names])
    days = ["2022-11-20"] * 10 + ["2022-12-31"] * 5 + ["2023-01-02"] * 15
    help_given = given(*((h, "health", day, True) for h, day in zip(names, days, strict=False)))
    help_given["ended_on"] = help_given["offered_on"] + pd.Timedelta(days=5)
    spells = ledger(*((h, "2022-11-01", None) for h in names))
    register = make_register(tmp_path, step_months=3, records=quarters, spells=spells, assistance=help_given)
    tables = report_assistance(asked(register, "2023-10")).tables
    assert tables["help_coverage"].set_index("county_id").loc["*", "share"] == pytest.approx(15 / 40)


def test_help_without_an_end_goes_on_for_two_years_wherever_it_counts(tmp_path: Path) -> None:
    """Forty households with an illness: help of 23 or 25 months ago without an end, and help that ended lately."""
    offered = ["2022-01-20"] * 15 + ["2021-11-20"] * 15 + ["2021-11-20"] * 10
    names = [f"{i:03}" for i in range(40)]
    records = pd.concat([monthly(h, "2021-01", [130] * 36, hh_size=2, n_able=1, n_major_illness=1) for h in names])
    help_given = given(*((h, "health", day, True) for h, day in zip(names, offered, strict=True)))
    help_given["ended_on"] = [pd.NaT] * 30 + [pd.Timestamp("2023-11-30")] * 10
    spells = ledger(*((h, "2022-11-01", None) for h in names))
    register = make_register(tmp_path, records=records, spells=spells, assistance=help_given)
    covered = report_assistance(asked(register)).tables["help_coverage"].set_index("county_id")
    assert covered.loc["*", "share"] == pytest.approx(15 / 40)
    features = build_features(register, [month_number("2023-12")], CATALOGUE).frame.set_index("household_id")
    assert features["active_measures"].tolist() == [1] * 15 + [0] * 25
    unmet = report_funds(asked(register)).tables["need_without_help"]
    assert unmet["household_id"].tolist() == names[15:30]


def test_who_has_a_need_that_no_help_answers_comes_first_then_the_poorest(tmp_path: Path) -> None:
    ratios = {"001": 80, "002": 60, "003": 95, "004": 70}
    records = pd.concat([
        monthly(h, "2022-01", [110] * 14 + [now] * 10, n_able=1, n_major_illness=int(h == "003"), hh_size=2)
        for h, now in ratios.items()
    ])  # fmt: skip
    register = make_register(
        tmp_path, records=records, spells=ledger(*((h, "2023-02-01", None) for h in ratios)),
        assistance=given(*((h, "employment", "2023-03-10", True) for h in ratios)),
    )  # fmt: skip
    found, _ = change_of_measure(asked(register), CATALOGUE, Answers.of(CATALOGUE, Rules().assistance.delivers))
    assert found["household_id"].tolist() == ["003", "002", "004", "001"]


def test_a_county_of_few_monitored_households_is_not_the_total_less_the_others() -> None:
    found = pd.DataFrame({"county_id": ["*", "A", "B", "C"], "n": [145, 100, 40, 5], "helped": [105, 80, 20, 5]})
    told = covered(found).set_index("county_id")
    assert told["monitored"].to_dict() == {"*": "145", "A": "100", "B": "*", "C": "<10"}
    assert told["share"].notna().to_dict() == {"*": True, "A": True, "B": False, "C": False}


def test_the_share_of_one_county_does_not_tell_how_many_were_helped_in_another() -> None:
    """In B 4 of 40 had help: 254 of all less 50 of A and 200 of C would be those 4."""
    found = pd.DataFrame({"county_id": ["*", "A", "B", "C"], "n": [440, 100, 40, 300], "helped": [254, 50, 4, 200]})
    told = covered(found).set_index("county_id")
    assert told["monitored"].tolist() == ["440", "100", "40", "300"]
    assert told["share"].notna().to_dict() == {"*": True, "A": False, "B": False, "C": True}


def test_help_that_was_refused_has_not_ended_and_what_came_of_an_end_may_be_unknown(tmp_path: Path) -> None:
    ids = ("001", "002", "003", "004")
    trained = given(*((h, "training", "2023-03-10", h != "004") for h in ids))
    trained["ended_on"], trained["completed"] = ["2023-04-01", "2023-04-01", None, None], [True, None, None, False]
    records = pd.concat([monthly(h, "2022-01", [130] * 24) for h in ids])
    tables = report_assistance(asked(make_register(tmp_path, records=records, assistance=trained))).tables
    row = tables["help_measures"].iloc[0]
    assert row[["taken_up", "ended", "completion_not_recorded", "completed_share"]].tolist() == [3, 2, 1, 1.0]


def test_a_share_does_not_tell_of_a_few_households_without_help() -> None:
    told = covered(pd.DataFrame({"county_id": ["*"], "n": [12], "helped": [11]}))
    assert told["monitored"].tolist() == ["12"] and told["share"].isna().all() and told["share_high"].isna().all()


def test_training_is_followed_to_the_work_after_it(tmp_path: Path) -> None:
    work = {"001": [0] * 12 + [1] * 12, "002": [1] * 24, "003": [0] * 24}
    records = pd.concat([monthly(h, "2022-01", [130] * 24, n_working=work[h], hh_size=2) for h in work])
    training = given(*((h, "training", "2022-06-05", True) for h in work))
    training["ended_on"], training["completed"] = "2022-08-01", [True, True, False]
    found = report_assistance(asked(make_register(tmp_path, records=records, assistance=training)))
    table = found.tables["training_work"].set_index("training")
    assert table.loc["completed", ["households", "share"]].tolist() == [2, 0.5]
    assert table.loc["not_completed", ["households", "share"]].tolist() == [1, 0.0]
    assert any("spells" in en for en, _ in found.notes), "without spells it is said what is left out"


def test_training_of_which_nobody_wrote_whether_it_was_completed_is_not_said_to_have_been_left(tmp_path: Path) -> None:
    names, work = ("001", "002"), [0] * 12 + [1] * 12
    records = pd.concat([monthly(h, "2022-01", [130] * 24, n_working=work, hh_size=2) for h in names])
    training = given(*((h, "training", "2022-06-05", True) for h in names)).assign(ended_on="2022-08-01")
    told = report_assistance(asked(make_register(tmp_path, records=records, assistance=training))).tables["training_work"]
    assert told.set_index("training")["households"].to_dict() == {"completed": 0, "not_completed": 0, "not_recorded": 2}


def test_who_is_trained_again_since_the_first_training_brought_no_work_counts(tmp_path: Path) -> None:
    """001 found no work and was trained again in October; 002 was trained before the two years that are reported on."""
    work = {"001": 0, "002": [0] * 12 + [1] * 24}
    records = pd.concat([monthly(h, "2021-01", [130] * 36, n_working=work[h], hh_size=2) for h in work])
    offered = ("001", "2022-06-05"), ("001", "2023-10-05"), ("002", "2021-06-05")
    training = given(*((h, "training", day, True) for h, day in offered)).assign(
        ended_on=pd.to_datetime(["2022-08-01", "2023-10-20", "2021-08-01"]), completed=True
    )
    told = report_assistance(asked(make_register(tmp_path, records=records, assistance=training))).tables["training_work"]
    assert told.set_index("training").loc["completed", ["households", "share"]].tolist() == [1, 0.0]


def test_the_record_of_the_month_in_which_help_began_is_none_since_it(small: Register, tmp_path: Path) -> None:
    records = small.read("records")
    seen = records[(records["household_id"] != "001") | (pd.to_datetime(records["month"]) <= "2023-03-01")]
    register = make_register(tmp_path, records=seen, spells=small.read("spells"), assistance=small.read("assistance"))
    found, untold = change_of_measure(asked(register), CATALOGUE, Answers.of(CATALOGUE, Rules().assistance.delivers))
    assert (len(found), untold) == (0, 1), "helped in March, last seen in March"


def test_the_record_of_the_quarter_in_which_help_began_is_none_from_before_it(tmp_path: Path) -> None:
    """001, helped in May 2023, has risen by the end of June; 002, trained in May 2022, is in work by the end of June."""
    rise = sum(([welfare, None, None] for welfare in [70] * 5 + [120] * 3), [])
    courses = {"001": (rise, 0), "002": ([130, None, None] * 8, [0] * 3 + [1] * 21)}
    records = pd.concat([monthly(h, "2022-01", c, n_working=work, hh_size=2) for h, (c, work) in courses.items()])
    help_given = given(("001", "health", "2023-05-10", True), ("002", "training", "2022-05-10", True))
    help_given["ended_on"], help_given["completed"] = help_given["offered_on"] + pd.Timedelta(days=10), True
    spells = ledger(("001", "2023-02-01", None))
    register = make_register(tmp_path, step_months=3, records=records, spells=spells, assistance=help_given)
    tables = report_assistance(asked(register, "2023-10")).tables
    assert tables["change_of_measure"].empty
    assert tables["training_work"].set_index("training").loc["completed", ["households", "share"]].tolist() == [1, 1.0]


def test_without_answers_nothing_is_said_of_results(tmp_path: Path) -> None:
    register = make_register(tmp_path, records=monthly("001", "2022-01", [130] * 24))
    found = report_assistance(asked(register))
    assert not found.tables and "accepted" in found.notes[0][0]


def test_a_household_without_able_member_needs_no_training_and_no_job(tmp_path: Path) -> None:
    records = pd.concat([
        monthly(h, "2022-01", [90] * 24, hh_size=2, n_able=able, n_skilled=0, n_unemployed=1, n_carers=1)
        for h, able in (("001", 0), ("002", 1))
    ])  # fmt: skip
    register = make_register(tmp_path, records=records)
    needs = needs_on(asked(register), CATALOGUE, [month_number("2023-12")], register.counties).set_index("household_id")
    assert needs.loc["002", ["fact_skills", "fact_job", "fact_labour"]].tolist() == [True, True, True]
    assert needs.loc["001", ["fact_skills", "fact_job", "fact_labour"]].tolist() == [False, False, True]


def test_help_answers_objective_needs_only() -> None:
    answers = Answers.of(CATALOGUE, Rules().assistance.delivers).drivers
    natures = {CATALOGUE.driver_by_name[d].nature for drivers in answers.values() for d in drivers}
    assert natures == {"objective"}
    assert "illness" in answers["health"] and "labour" in answers["protection"]


def test_effects_are_left_out_where_the_rules_say_so_and_the_lists_stay(small: Register) -> None:
    rules = Rules(assistance={"estimate_effects": False})
    found = report_assistance(Asked(small, month_number("2023-12"), rules))
    assert "help_effects" not in found.tables and "help_timeliness" in found.tables and "change_of_measure" in found.tables
    assert found.lacks["help_effects"] in found.notes
    assert "estimate_effects" in found.lacks["help_effects"][0]


def test_words_cannot_be_taken_for_proof(small: Register) -> None:
    en, zh = report_assistance(asked(small)).notes[0]
    assert "not drawn by lot" in en and "does not prove" in en and "not" in en.split("Nothing")[0]
    assert "不能证明" in zh and "不得作为停止或减少帮扶的理由" in zh


def test_results_become_features_of_the_month_in_which_they_are_known(tmp_path: Path) -> None:
    help_given = given(("001", "training", "2022-06-05", True), ("002", "training", "2022-06-05", True))
    help_given["ended_on"], help_given["completed"] = ["2023-02-10", "2023-02-10"], [True, False]
    records = pd.concat([monthly("001", "2022-01", [100] * 8 + [200] * 16), monthly("002", "2022-01", [130] * 24)])
    register = make_register(tmp_path, records=records, assistance=help_given)
    catalogue = load_catalogue(["features.yaml", "features_outcomes.yaml"])
    months = [month_number(m) for m in ("2023-01", "2023-02", "2023-03")]
    found = build_features(register, months, catalogue).frame.set_index(["household_id", "as_of"])
    assert found.loc["001", "help_completed_12m"].tolist() == [0, 1, 1]
    assert found.loc["002", "help_given_up_12m"].tolist() == [0, 1, 1]
    assert found.loc[("001", "2023-01"), "change_with_help_12m"] == pytest.approx(np.log(2))
    assert set(catalogue.by_name) - set(CATALOGUE.by_name) == {
        "help_completed_12m", "help_given_up_12m", "months_since_help_began", "help_began_6_to_12m", "change_with_help_12m",
    }  # fmt: skip


@pytest.mark.slow
def test_a_county_is_estimated_once_for_all_its_measures(county: County) -> None:
    pytest.importorskip("doubleml", reason="the extra causal is not installed")
    register = Register.open(county.register)
    question = Asked(register, month_number("2023-12"), Rules())
    answers = Answers.of(CATALOGUE, question.rules.assistance.delivers)
    table = help_effects(question, CATALOGUE, answers, register.counties)
    assert not table.duplicated(["help", "outcome", "driver"]).any()
    told = table[table["effect"].notna()]
    assert table["effect"].notna().is_monotonic_decreasing, "what could be estimated stands first"
    assert len(told) and (told["p_adjusted"] <= 1).all()
    assert told["effect"].between(told["effect_low"], told["effect_high"]).all()
    assert (table.loc[table["reading"] == "refused", ["effect", "p_adjusted"]].isna()).all(axis=None)
    courses = help_trends(question, register.counties)
    if courses is not None:
        apart = courses[1].query("reading == 'not_parallel'")
        assert apart["difference"].isna().all(), "a course that was another before help is not read"
