"""Funds: every yuan of the books once, exceptions in neutral words, needs and help held together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.monitoring.funds import costs, report_funds
from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.writing import words_of
from riskmodel.months import month_number
from riskmodel.register import Register
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_spells import ledger
from tests.county import County

COLUMNS = [
    "household_id",
    "measure",
    "offered_on",
    "paid_on",
    "amount_planned",
    "amount_paid",
    "fund_source",
    "responsible_unit",
]


def books(*rows: tuple) -> pd.DataFrame:
    """Help taken up, known and begun on the day of its offer."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    for column in ("known_at", "answered_on", "started_on"):
        frame[column] = frame["offered_on"]
    return frame.assign(accepted=True)


def report(folder: Path, *rows: tuple, as_of: str = "2023-12", **tables: pd.DataFrame) -> Found:
    ids = sorted({row[0] for row in rows} | {"001", "002"})
    records = pd.concat([monthly(h, "2022-01", [130] * 24, hh_size=2, n_major_illness=int(h == "002")) for h in ids])
    register = make_register(folder, records=records, assistance=books(*rows), **tables)
    return report_funds(Asked(register, month_number(as_of), Rules()))


USUAL = ("001", "health", "2023-08-01", "2023-09-01", 1000.0, 1000.0, "county fund", "health security")


def exceptions(found: Found) -> list[tuple[str, str]]:
    return list(found.tables["fund_exceptions"][["household_id", "exception"]].itertuples(index=False, name=None))


def test_totals_by_kind_unit_and_source_hold_the_same_money(tmp_path: Path) -> None:
    other = ("002", "industry", "2023-08-01", "2023-09-01", 3000.0, 3000.0, "provincial fund", "agriculture")
    found = report(tmp_path, USUAL, other)
    totals = found.tables["fund_totals"]
    assert totals.query("of_what != '*'").groupby("by")["paid"].sum().to_dict() == dict.fromkeys(
        ["kind", "source", "unit"], 4000.0
    )
    whole = totals.query("by == 'kind' and of_what == '*'").iloc[0]
    assert whole[["grants", "households_reached", "planned", "paid", "paid_share"]].tolist() == [2, 2, 4000, 4000, 1]
    assert found.figures["hhi_of_sources"] == pytest.approx(0.25**2 + 0.75**2)
    assert exceptions(found) == []


def test_a_payment_that_was_told_again_is_one_payment_as_it_was_told_last(tmp_path: Path) -> None:
    help_ = books(USUAL, (*USUAL[:5], 900.0, *USUAL[6:]))
    help_["known_at"] = ["2023-08-01", "2023-10-05"]
    records = monthly("001", "2022-01", [130] * 24, hh_size=2, n_major_illness=0)
    register = make_register(tmp_path, records=records, assistance=help_)
    for month, paid in (("2023-09", 1000.0), ("2023-12", 900.0)):
        found = report_funds(Asked(register, month_number(month), Rules()))
        whole = found.tables["fund_totals"].query("by == 'kind' and of_what == '*'").iloc[0]
        assert whole[["grants", "paid"]].tolist() == [1, paid]
        assert "paid_twice" not in set(found.tables["fund_exceptions"]["exception"])


def test_late_unspent_unpaid_and_twice_paid_are_each_listed_for_their_reason(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        USUAL,
        ("002", "health", "2023-02-01", "2023-08-01", 1000.0, 1000.0, "county fund", "health security"),
        ("003", "health", "2023-08-01", "2023-09-01", 1000.0, 500.0, "county fund", "health security"),
        ("004", "health", "2023-08-01", None, 1000.0, None, "county fund", "health security"),
        ("005", "health", "2023-07-01", "2023-08-01", 1000.0, 1000.0, "county fund", "health security"),
        ("005", "health", "2023-08-01", "2023-09-01", 1000.0, 1000.0, "county fund", "health security"),
        ("006", "health", "2023-08-01", "2023-09-01", 1000.0, 1500.0, "county fund", "health security"),
    )
    assert sorted(exceptions(found)) == [
        ("002", "paid_late"), ("003", "unspent"), ("004", "not_paid_yet"), ("005", "paid_twice"), ("006", "above_plan"),
    ]  # fmt: skip


def test_rows_of_the_books_come_by_reason_with_the_largest_sum_in_question_first(tmp_path: Path) -> None:
    paid = "2023-08-01", "2023-09-01"
    unit = "county fund", "health security"
    found = report(
        tmp_path,
        ("001", "health", *paid, 1000.0, 800.0, *unit),
        ("002", "health", *paid, 9000.0, 6000.0, *unit),
        ("003", "health", *paid, 1000.0, 4000.0, *unit),
        ("004", "health", "2023-08-01", None, 1000.0, None, *unit),
        ("005", "health", "2023-09-01", None, 2000.0, None, *unit),
        ("006", "health", "2023-07-01", "2023-08-01", 500.0, 500.0, *unit),
        ("006", "health", *paid, 500.0, 500.0, *unit),
    )
    assert exceptions(found) == [
        ("006", "paid_twice"), ("005", "not_paid_yet"), ("004", "not_paid_yet"), ("002", "unspent"), ("001", "unspent"),
        ("003", "above_plan"),
    ]  # fmt: skip


def test_the_largest_help_without_a_need_and_the_neediest_without_help_come_first(tmp_path: Path) -> None:
    help_given = [
        (h, "health", "2023-08-01", "2023-09-01", sum_, sum_, "county fund", "health security")
        for h, sum_ in (("003", 100.0), ("004", 900.0))
    ]
    spells = ledger(("003", "2022-02-01", "2022-06-01"), ("002", "2023-02-01", None), ("005", "2023-02-01", None))
    other = ("002", "water", "2023-08-01", "2023-09-01", 10.0, 10.0, "county fund", "water")
    ids = ["002", "003", "004", "005"]
    records = pd.concat([monthly(h, "2022-01", [130] * 24, hh_size=2, n_major_illness=int(h in "002 005")) for h in ids])
    register = make_register(tmp_path, records=records, assistance=books(*help_given, other), spells=spells)
    tables = report_funds(Asked(register, month_number("2023-12"), Rules())).tables
    assert tables["help_without_need"]["household_id"].tolist() == ["004", "003"]
    assert tables["need_without_help"]["household_id"].tolist() == ["005", "002"], "nothing at all was done for 005"


def test_a_year_of_funds_is_twelve_months_in_a_register_of_quarters_too(tmp_path: Path) -> None:
    quarters = monthly("001", "2022-01", [130, None, None] * 8)
    unit = "county fund", "health security"
    rows = [("001", "health", day, day, 100.0, 100.0, *unit) for day in ("2022-11-20", "2022-12-31", "2023-01-02")]
    register = make_register(tmp_path, step_months=3, records=quarters, assistance=books(*rows))
    assert report_funds(Asked(register, month_number("2023-10"), Rules())).figures["paid"] == 100


def test_two_kinds_of_help_or_a_year_apart_are_not_paid_twice(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        USUAL,
        ("001", "industry", "2023-08-01", "2023-09-01", 1000.0, 1000.0, "county fund", "agriculture"),
        ("002", "health", "2023-01-05", "2023-01-20", 1000.0, 1000.0, "county fund", "health security"),
        ("002", "health", "2023-11-01", "2023-11-20", 1000.0, 1000.0, "county fund", "health security"),
    )
    assert exceptions(found) == []


def test_an_amount_far_from_its_kind_is_to_be_looked_at_and_a_wide_spread_is_not(tmp_path: Path) -> None:
    amounts = np.exp(np.random.default_rng(1).normal(7, 0.1, 40)).round()
    rows = [
        (f"{i:03d}", "health", "2023-08-01", "2023-09-01", a, a, "county fund", "health security")
        for i, a in enumerate([*amounts, 9000.0])
    ]
    found = report(tmp_path, *rows)
    z = 0.6745 * (np.log([*amounts, 9000.0]) - np.median(np.log([*amounts, 9000.0])))
    z /= np.median(np.abs(np.log([*amounts, 9000.0]) - np.median(np.log([*amounts, 9000.0]))))
    expected = [(f"{i:03d}", "amount_out_of_line") for i in np.flatnonzero(np.abs(z) > 3.5)]
    assert sorted(exceptions(found)) == expected and ("040", "amount_out_of_line") in expected


def test_a_payment_after_the_day_of_the_report_is_not_known(tmp_path: Path) -> None:
    late = ("002", "health", "2023-11-01", "2024-02-01", 1000.0, 1000.0, "county fund", "health security")
    found = report(tmp_path, USUAL, late)
    assert found.figures["paid"] == 1000 and found.figures["households_reached"] == 2


def test_help_is_held_against_the_needs_on_record(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        USUAL,
        ("002", "health", "2023-08-01", "2023-09-01", 1000.0, 1000.0, "county fund", "health security"),
        ("002", "water", "2023-08-01", "2023-09-01", 1000.0, 1000.0, "county fund", "water"),
    )
    table = found.tables["help_and_need"].set_index("measure")
    assert table.loc["health", ["answers_a_need", "other_need", "no_need_recorded"]].tolist() == [1, 0, 1]
    assert table.loc["water", "other_need"] == 1
    assert found.tables["help_without_need"]["household_id"].tolist() == ["001"]


def test_a_lasting_need_of_a_monitored_household_without_help_for_it_is_listed(tmp_path: Path) -> None:
    spells = ledger(("001", "2022-02-01", "2022-06-01"), ("002", "2023-02-01", None))
    water = ("002", "water", "2023-08-01", "2023-09-01", 1000.0, 1000.0, "county fund", "water")
    unmet = report(tmp_path / "a", USUAL, water, spells=spells).tables["need_without_help"]
    assert unmet[["household_id", "measures", "unanswered"]].to_numpy().tolist() == [["002", "water", "illness"]]
    health = ("002", "health", "2023-08-01", "2023-09-01", 1000.0, 1000.0, "county fund", "health security")
    assert not len(report(tmp_path / "b", USUAL, water, health, spells=spells).tables["need_without_help"])


def without(folder: Path, column: str, *rows: tuple, **tables: pd.DataFrame) -> Found:
    """The report of a register whose books lack a column."""
    records = pd.concat(
        [monthly(h, "2022-01", [130] * 24, hh_size=2, n_major_illness=int(h == "002")) for h in ("001", "002")]
    )
    register = make_register(folder, records=records, assistance=books(*rows).drop(columns=column), **tables)
    return report_funds(Asked(register, month_number("2023-12"), Rules()))


def test_without_days_of_start_help_begins_with_its_answer(tmp_path: Path) -> None:
    unpaid = ("002", "health", "2023-08-01", None, 1000.0, None, "county fund", "health security")
    found = without(tmp_path, "started_on", USUAL, unpaid)
    whole = found.tables["fund_totals"].query("by == 'kind' and of_what == '*'").iloc[0]
    assert whole[["households_reached", "begun_not_paid"]].tolist() == [2, 1]
    assert exceptions(found) == [("002", "not_paid_yet")]


def test_help_that_was_taken_up_and_not_begun_is_not_paid_late(tmp_path: Path) -> None:
    help_ = books(("001", "health", "2023-02-01", "2023-08-01", 1000.0, 1000.0, "county fund", "health security"), USUAL)
    help_.loc[0, "started_on"] = None
    register = make_register(tmp_path, records=monthly("001", "2022-01", [130] * 24), assistance=help_)
    found = report_funds(Asked(register, month_number("2023-12"), Rules()))
    assert "paid_late" not in {reason for _, reason in exceptions(found)}


def test_a_payment_of_an_unknown_amount_is_no_help_that_waits_for_its_payment(tmp_path: Path) -> None:
    found = report(tmp_path, USUAL, ("002", "health", "2023-08-01", "2023-09-01", 1000.0, None, "county fund", "health"))
    assert found.tables["fund_totals"]["begun_not_paid"].eq(0).all()


def test_an_amount_paid_on_a_day_that_nobody_wrote_down_is_neither_unpaid_nor_late(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        USUAL,
        ("002", "health", "2023-02-01", None, 1000.0, 950.0, "county fund", "health security"),
        ("003", "health", "2023-02-01", None, 1000.0, 0.0, "county fund", "health security"),
        ("004", "health", "2023-08-01", "2024-02-01", 1000.0, 1000.0, "county fund", "health security"),
    )
    whole = found.tables["fund_totals"].query("by == 'kind' and of_what == '*'").iloc[0]
    assert whole[["paid", "paid_without_day", "begun_not_paid", "days_to_payment"]].tolist() == [1950, 1, 2, 31]
    assert sorted(exceptions(found)) == [("003", "not_paid_yet"), ("004", "not_paid_yet")], "a nought pays nothing"
    assert any("the amount and no day" in english for english, _ in found.notes)
    assert not any("the amount and no day" in english for english, _ in report(tmp_path / "dated", USUAL).notes)


def test_where_nothing_was_paid_yet_no_yuan_was_and_where_the_amount_is_unknown_nobody_knows(tmp_path: Path) -> None:
    waiting = ("002", "water", "2023-11-20", None, 3000.0, None, "county fund", "water")
    unknown = ("002", "housing", "2023-08-01", "2023-09-01", 3000.0, None, "county fund", "housing")
    totals = report(tmp_path, USUAL, waiting, unknown).tables["fund_totals"].query("by == 'kind'").set_index("of_what")
    assert totals.loc["water", ["planned", "paid", "paid_share"]].tolist() == [3000, 0, 0]
    assert totals.loc["housing", ["paid", "paid_share"]].isna().all()


def whole_of(found: Found) -> pd.Series:
    return found.tables["fund_totals"].query("by == 'kind' and of_what == '*'").iloc[0]


def test_where_all_help_is_of_long_ago_nobody_was_reached_and_nothing_paid(tmp_path: Path) -> None:
    whole = whole_of(
        report(tmp_path, ("001", "health", "2022-01-10", "2022-02-01", 1000.0, 1000.0, "county fund", "health"))
    )
    assert whole[["grants", "households_reached", "paid", "begun_not_paid"]].tolist() == [0, 0, 0, 0]


def test_a_household_counts_once_in_a_kind_and_once_in_all_kinds(tmp_path: Path) -> None:
    again = ("001", "health", "2023-05-01", "2023-06-01", 500.0, 500.0, "county fund", "health security")
    other = ("001", "water", "2023-05-01", "2023-06-01", 2000.0, 2000.0, "county fund", "water")
    neighbour = ("002", "water", "2023-05-01", "2023-06-01", 100.0, 100.0, "county fund", "water")
    totals = (
        report(tmp_path, USUAL, again, other, neighbour).tables["fund_totals"].query("by == 'kind'").set_index("of_what")
    )
    assert totals["households_reached"].to_dict() == {"*": 2, "health": 1, "water": 2}
    assert totals["paid_per_household"].to_dict() == {"*": 1800, "health": 1500, "water": 1050}


UNTOLD = ("002", "health", "2023-08-01", "2023-09-01", 3000.0, None, "provincial fund", "health security")
"""Paid on a day, and nobody wrote down how much."""


def test_a_payment_of_an_unknown_amount_is_not_nought_in_what_was_paid_of_the_plan(tmp_path: Path) -> None:
    unplanned = ("003", "health", "2023-08-01", "2023-09-01", None, 500.0, "county fund", "health security")
    found = report(tmp_path, USUAL, UNTOLD, unplanned)
    whole = whole_of(found)
    assert whole[["planned", "plan_not_recorded", "paid", "amount_not_recorded"]].tolist() == [4000, 1, 1500, 1]
    assert whole[["paid_share", "planned_compared", "not_compared"]].tolist() == [1, 1000, 2]
    assert (found.figures["paid_share"], found.figures["not_compared"]) == (1, 2)
    assert any("a day of payment and no amount" in english for english, _ in found.notes)
    assert not any("a day of payment and no amount" in english for english, _ in report(tmp_path / "told", USUAL).notes)


def test_a_register_that_holds_no_plans_says_so_and_not_that_some_are_missing(tmp_path: Path) -> None:
    records = monthly("001", "2022-01", [130] * 24, hh_size=2)
    unplanned = make_register(tmp_path, records=records, assistance=books(USUAL).drop(columns="amount_planned"))
    found = report_funds(Asked(unplanned, month_number("2023-12"), Rules()))
    said = [english for english, _ in found.notes]
    assert any("holds no plans" in english for english in said)
    assert not any("Of some help the books hold no plan" in english for english in said)
    assert whole_of(found)[["paid", "amount_not_recorded"]].tolist() == [1000, 0] and "paid_share" not in found.figures


def test_what_a_household_was_paid_is_not_told_of_one_with_a_payment_of_an_unknown_amount(tmp_path: Path) -> None:
    known = ("002", "water", "2023-08-01", "2023-09-01", 3000.0, 3000.0, "county fund", "water")
    totals = report(tmp_path, USUAL, UNTOLD, known).tables["fund_totals"].query("by == 'kind'").set_index("of_what")
    assert totals["paid_per_household"].to_dict() == {"*": 1000, "health": 1000, "water": 3000}


def test_sources_say_how_many_payments_their_shares_leave_out(tmp_path: Path) -> None:
    sources = report(tmp_path, USUAL, UNTOLD).tables["fund_sources"].query("county_id == '*'").set_index("fund_source")
    assert sources["amount_not_recorded"].to_dict() == {"county fund": 0, "provincial fund": 1}
    assert sources["source_share"].isna().to_dict() == {"county fund": False, "provincial fund": True}


def test_two_payments_are_two_though_the_amount_of_one_is_not_on_record(tmp_path: Path) -> None:
    first = ("002", "health", "2023-07-01", "2023-08-01", 1000.0, 1000.0, "county fund", "health security")
    assert exceptions(report(tmp_path, first, UNTOLD)) == [("002", "paid_twice")]


def test_a_sum_of_which_a_part_is_not_on_record_is_not_held_against_those_of_others(tmp_path: Path) -> None:
    rows = [(f"{i:03d}", *USUAL[1:4], 1000.0, 1000.0 + i, *USUAL[6:]) for i in range(30)]
    little = ("030", "health", "2023-02-01", "2023-03-01", 10.0, 10.0, "county fund", "health security")
    assert exceptions(report(tmp_path / "told", *rows, little)) == [("030", "amount_out_of_line")]
    rest = ("030", "health", "2023-08-01", "2023-09-01", None, None, "county fund", "health security")
    assert exceptions(report(tmp_path / "untold", *rows, little, rest)) == []


def test_nothing_is_late_where_nothing_was_to_be_paid(tmp_path: Path) -> None:
    free = ("002", "health", "2023-02-01", None, 0.0, None, "county fund", "health security")
    nought = ("003", "health", "2023-02-01", "2023-08-01", 0.0, 0.0, "county fund", "health security")
    found = report(tmp_path, USUAL, free, nought)
    assert exceptions(found) == []
    assert whole_of(found)[["begun_not_paid", "days_to_payment"]].tolist() == [0, 31]


def test_help_taken_up_on_a_day_that_nobody_wrote_down_counts(tmp_path: Path) -> None:
    help_ = books(USUAL, ("002", *USUAL[1:]))
    help_.loc[1, "answered_on"] = None
    records = pd.concat([monthly(h, "2022-01", [130] * 24, hh_size=2, n_major_illness=0) for h in ("001", "002")])
    register = make_register(tmp_path, records=records, assistance=help_)
    totals = report_funds(Asked(register, month_number("2023-12"), Rules())).tables["fund_totals"]
    assert totals.query("of_what == '*'")[["grants", "paid"]].to_numpy().tolist() == [[2, 2000]]


def test_a_register_without_amounts_still_holds_help_against_needs(tmp_path: Path) -> None:
    water = ("002", "water", "2023-08-01", None, None, None, "county fund", "water")
    found = without(tmp_path, "amount_paid", USUAL, water, spells=ledger(("002", "2023-02-01", None)))
    assert set(found.tables) == {"help_and_need", "help_without_need", "need_without_help"}
    assert found.tables["need_without_help"]["household_id"].tolist() == ["002"]
    assert found.figures == {"help_without_need": 1, "need_without_help": 1}
    assert found.lacks["fund_totals"] in found.notes


def test_where_nobody_is_known_to_be_watched_no_needs_are_said_to_be_met(tmp_path: Path) -> None:
    records = monthly("002", "2022-01", [130] * 24, hh_size=2, n_major_illness=1).drop(columns="line")
    register = make_register(tmp_path, records=records, assistance=books(USUAL, ("002", *USUAL[1:])))
    found = report_funds(Asked(register, month_number("2023-12"), Rules()))
    assert "need_without_help" not in found.tables and "need_without_help" not in found.figures
    assert found.lacks["need_without_help"] in found.notes


def test_before_anybody_has_a_record_help_is_not_held_against_needs(tmp_path: Path) -> None:
    records = monthly("001", "2023-08-01", [130] * 4).assign(known_at="2024-01-20")
    register = make_register(tmp_path / "register", records=records, assistance=books(USUAL))
    found = report_funds(Asked(register, month_number("2023-08"), Rules()))
    assert all(len(rows.columns) for rows in found.tables.values()) and "help_and_need" not in found.tables
    assert found.lacks["help_without_need"] in found.notes


LACKING = {"paid_on": "days of payment", "responsible_unit": "responsible units", "fund_source": "sources of funds"}


@pytest.mark.parametrize("column", LACKING)
def test_what_the_books_lack_is_said(tmp_path: Path, column: str) -> None:
    assert any(LACKING[column] in english for english, _ in without(tmp_path / "a", column, USUAL).notes)
    assert not any(LACKING[column] in english for english, _ in report(tmp_path / "b", USUAL).notes)


def test_a_return_avoided_has_a_price_only_where_a_difference_was_told_apart() -> None:
    totals = pd.DataFrame({"by": "kind", "of_what": ["training", "health", "*"], "paid_per_household": [1000.0, 2000, 1500]})
    effects = pd.DataFrame({
        "help": ["training", "health"], "outcome": "return", "driver": "*", "reading": ["fragile", "not_told_apart"],
        "effect": [-0.1, -0.1], "effect_low": [-0.15, -0.3], "effect_high": [-0.05, 0.1],
    })  # fmt: skip
    found = costs(totals, effects).set_index("measure")
    assert found.loc["training", ["per_avoided_low", "per_avoided", "per_avoided_high"]].round().tolist() == [
        6667,
        10000,
        20000,
    ]
    assert found.loc["health", ["per_avoided_low", "per_avoided", "per_avoided_high"]].isna().all()
    assert costs(totals, pd.DataFrame())["per_avoided"].isna().all()


def test_no_word_accuses() -> None:
    words = words_of("funds")
    said = " ".join(w for row in (*words.tables.values(), *words.values["exception"].values()) for w in row.values()).lower()
    for accusing in ("fraud", "abuse", "misuse", "embezzl", "violat", "违规", "违纪", "贪", "套取", "挪用", "骗"):
        assert accusing not in said


def test_without_answers_it_is_said(tmp_path: Path) -> None:
    register = make_register(tmp_path, records=monthly("001", "2022-01", [130] * 24))
    found = report_funds(Asked(register, month_number("2023-12"), Rules()))
    assert not found.tables and "accepted" in found.notes[0][0]


def test_the_books_of_a_county_add_up(county: County) -> None:
    register = Register.open(county.register)
    found = report_funds(Asked(register, month_number("2023-12"), Rules()))
    given = register.read("assistance")
    taken = given[given["accepted"].fillna(False).astype(bool) & (given["offered_on"] > "2022-12-31")]
    taken = taken[taken["known_at"] <= "2023-12-31"]
    assert found.figures["paid"] == pytest.approx(taken.loc[taken["paid_on"] <= "2023-12-31", "amount_paid"].sum())
    assert found.figures["planned"] == pytest.approx(taken["amount_planned"].sum())
