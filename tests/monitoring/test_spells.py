"""The report of spells: curves, lists by rule, chronic and transient poverty, early exits, the chance of re-entry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from riskmodel.cards.findings import Findings
from riskmodel.cards.front_page import numbers
from riskmodel.errors import UsageError
from riskmodel.monitoring.known import sight
from riskmodel.monitoring.part import Asked, Found, scored_months
from riskmodel.monitoring.rules import Rules, load_rules
from riskmodel.monitoring.spells import report_spells
from riskmodel.months import month_number
from riskmodel.register import Register, ingest
from riskmodel.settings import find_config
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_spells import ledger
from tests.county import AS_OF, County

PANEL = Path(__file__).parents[2] / ".." / "shared" / "data" / "eph" / "eph_2009_2015.parquet"


def report(register: Register, as_of: str = "2023-12", rules: dict[str, Any] | None = None) -> Found:
    return report_spells(Asked(register, month_number(as_of), Rules(**rules or {})))


def kept(table: pd.DataFrame, **where: Any) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    return table.reset_index(drop=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Three households over two years: 001 poor in between twice, 002 hardly ever, 003 mostly."""
    records = pd.concat([
        monthly("001", "2022-01", [150] * 6 + [90] * 2 + [150] * 4 + [80] * 3 + [150] * 9),
        monthly("002", "2022-01", [150] * 20 + [95] + [150] * 3),
        monthly("003", "2022-01", [70] * 12 + [110] * 2 + [60] * 10),
    ])  # fmt: skip
    spells = ledger(
        ("001", "2022-02-01", "2022-03-05"), ("001", "2022-08-01", "2023-01-20"), ("001", "2023-11-01", None),
        ("002", "2023-10-02", "2023-12-20"), ("003", "2022-03-01", None),
    )  # fmt: skip
    help_given = pd.DataFrame({
        "household_id": ["002", "001"], "measure": ["health", "employment"], "offered_on": ["2023-11-20", "2022-09-01"],
        "known_at": ["2023-11-21", "2022-09-01"], "accepted": True, "answered_on": ["2023-11-22", "2022-09-02"],
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("small")
    return report(make_register(folder, records=records, spells=spells, assistance=help_given))


def test_the_curve_starts_where_starts_are_known(small: Found) -> None:
    whole = kept(small.tables["duration_summary"], kind="poverty", entry="all")
    assert whole[["spells", "ended", "open", "start_unknown"]].to_numpy().tolist() == [[5, 4, 1, 1]]
    curve = kept(small.tables["durations"], kind="poverty", entry="all")
    assert curve[["months", "at_risk", "ended"]].to_numpy().tolist() == [[1, 4, 1], [2, 3, 1], [3, 2, 1], [9, 1, 0]]
    np.testing.assert_allclose(curve["share"], [3 / 4, 2 / 4, 1 / 4, 1 / 4])


def test_the_share_that_is_back_has_an_interval_around_it(small: Found) -> None:
    back = kept(small.tables["reentry_by_month"], kind="poverty", entry="all")
    inside = back["back_share"].gt(0) & back["back_share"].lt(1)
    assert inside.any()
    held = back[inside]
    assert (held["back_share_low"] < held["back_share"]).all() and (held["back_share"] < held["back_share_high"]).all()
    assert held["back_share_low"].ge(0).all() and held["back_share_high"].le(1).all()


def test_first_and_repeated_entry_are_counted_apart(small: Found) -> None:
    rates = kept(small.tables["entry_rates"], kind="poverty").set_index("entry")
    assert rates.loc["first", ["at_risk", "entered"]].tolist() == [6 + 20, 2]
    assert rates.loc["again", ["at_risk", "entered"]].tolist() == [4 + 8 + 2 + 2, 2]


def test_who_was_monitored_before_the_register_begins_enters_again(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2022-01", [150] * 24) for h in ("001", "002", "003")])
    spells = ledger(
        ("001", "2021-02-01", "2021-06-01"), ("001", "2022-07-01", "2022-10-01"), ("002", "2021-02-01", "2021-06-01"),
        ("003", "2022-05-01", None),
    )  # fmt: skip
    found = report(make_register(tmp_path, records=records, spells=spells))
    rates = kept(found.tables["entry_rates"], kind="monitoring").set_index("entry")
    assert rates.loc["first", ["households", "at_risk", "entered"]].tolist() == [1, 4, 1]
    assert rates.loc["again", ["households", "at_risk", "entered"]].tolist() == [2, 6 + 14 + 23, 1]


def test_an_entry_that_ended_before_the_register_begins_is_one_of_frequent_entries(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2022-01", [150] * 24) for h in ("001", "002", "003")])
    spells = ledger(
        ("001", "2021-02-01", "2021-06-01"), ("001", "2022-07-01", "2022-10-01"), ("002", "2020-11-01", "2021-06-01"),
        ("002", "2022-07-01", None), ("003", "2022-05-01", None),
    )  # fmt: skip
    often = report(make_register(tmp_path, records=records, spells=spells)).tables["frequent_entries"]
    assert often[["household_id", "entries"]].to_numpy().tolist() == [["001", 2]], "of 002 the first lies 37 months back"


def test_entries_that_overlap_are_held_against_the_check_rules_at_the_end_of_the_last(tmp_path: Path) -> None:
    """001 was below the line when its first entry ended and not when it left; 002 the other way round."""
    records = pd.concat([
        monthly("001", "2022-01", [150, 150, 90] + [150] * 21), monthly("002", "2022-01", [150] * 8 + [90] + [150] * 15)
    ])  # fmt: skip
    spells = ledger(
        ("001", "2022-01-10", "2022-03-31"), ("001", "2022-03-20", "2022-09-30"), ("002", "2022-01-10", "2022-03-31"),
        ("002", "2022-03-31", "2022-09-30"),
    )  # fmt: skip
    rules = {"spells": {"early_exit_checks": ["removed_below_line"]}}
    found = report(make_register(tmp_path, records=records, spells=spells), rules=rules).tables["removed_early"]
    assert found["household_id"].tolist() == ["002"]
    assert found[["identified_on", "eliminated_on"]].astype(str).to_numpy().tolist() == [["2022-01-10", "2022-09-30"]]


def test_the_share_left_is_told_by_those_at_risk_beside_it_where_spells_began_before_the_register(tmp_path: Path) -> None:
    """001 and 002 are known from their third month on; 003 ended in its third month, 001 in its fourth."""
    records = pd.concat([monthly(h, "2022-01", [150] * 24) for h in ("001", "002", "003", "004")])
    spells = ledger(
        ("001", "2021-10-01", "2022-02-01"), ("002", "2021-10-01", "2022-09-01"), ("003", "2022-03-01", "2022-06-01"),
        ("004", "2022-03-01", None),
    )  # fmt: skip
    found = report(make_register(tmp_path, records=records, spells=spells)).tables["durations"]
    curve = kept(found, kind="monitoring", entry="all").set_index("months")
    assert curve.loc[[3, 4], ["at_risk", "ended"]].to_numpy().tolist() == [[2, 1], [3, 1]]
    share = (1 - curve["ended"] / curve["at_risk"]).cumprod()
    np.testing.assert_allclose(share[curve["at_risk"] > 0], curve["share"][curve["at_risk"] > 0])


@pytest.mark.parametrize("step", [1, 3])
def test_who_stays_out_is_followed_as_long_as_who_comes_back(tmp_path: Path, step: int) -> None:
    """001 to 003 left in October, 003 came back in December; no record of November or December is known yet."""
    days = [150.0 if not month % step else None for month in range(22)]
    lost = monthly("004", "2022-01", days[:13])
    records = pd.concat([*(monthly(h, "2022-01", days) for h in ("001", "002", "003")), lost])
    records["known_at"] = records["month"]
    spells = ledger(
        *((h, "2022-05-02", "2023-10-20") for h in ("001", "002", "003")), ("003", "2023-12-11", None),
        ("004", "2022-05-02", "2022-12-20"),
    )  # fmt: skip
    register = make_register(tmp_path, step_months=step, records=records, spells=spells)
    found = report(register, "2023-12" if step == 1 else "2023-10")
    back = kept(found.tables["reentry_by_month"], kind="monitoring", entry="all", months=2)
    assert back[["at_risk", "entered", "share"]].to_numpy().tolist() == [[3 + (step == 3), 1, 1 / (3 + (step == 3))]]
    rates = kept(found.tables["entry_rates"], kind="monitoring").set_index("entry")
    seen = {1: 1, 3: 3}[step]  # months of 004 after it left: to the end of the period of its last record
    assert rates.loc["again", ["households", "at_risk", "entered"]].tolist() == [4, 3 * 2 + seen, 1]


def books_of_forty(seed: int = 4) -> dict[str, pd.DataFrame]:
    """Households that come below the line and into monitoring again and again, some recorded no longer."""
    draw = np.random.default_rng(seed)
    records, rows = [], []
    for i in range(40):
        name, day = f"{i:03d}", pd.Timestamp("2021-06-05") + pd.Timedelta(days=int(draw.integers(0, 500)))
        months = 24 if i % 8 else 14
        records.append(monthly(name, "2022-01", list(draw.choice([80.0, 90.0, 130.0, 150.0], months))))
        while day < pd.Timestamp("2023-12-20"):
            end = day + pd.Timedelta(days=int(draw.integers(20, 200)))
            rows.append((name, day, end if end < pd.Timestamp("2023-12-31") else None))
            day = end + pd.Timedelta(days=int(draw.integers(10, 250)))
    spells = pd.DataFrame(rows, columns=["household_id", "identified_on", "eliminated_on"])
    return {"records": pd.concat(records), "spells": spells}


CURVES = ("durations", "reentry_by_month", "entry_rates")


@pytest.mark.parametrize(("lag", "told"), [(28, "2023-11"), (60, "2023-10"), (90, "2023-09"), (200, "2023-05")])
def test_households_are_followed_as_far_as_the_books_are_told(tmp_path: Path, lag: int, told: str) -> None:
    """With a lag, a report tells durations and shares back as one on the last month told would without it."""
    books = books_of_forty()
    late = report(make_register(tmp_path / "late", lag_days=lag, **books))
    then = report(make_register(tmp_path / "then", **books), told)
    for name in CURVES:
        pd.testing.assert_frame_equal(late.tables[name], then.tables[name])
    assert kept(late.tables["durations"], kind="monitoring")["ended"].sum() > 0
    assert any(f"to the end of {told} and no further" in en for en, _ in late.notes)
    assert not any("no further" in en for en, _ in then.notes)
    counts = ["spells", "ended", "open", "lost"]
    late_counts, then_counts = (kept(f.tables["duration_summary"], kind="poverty")[counts] for f in (late, then))
    pd.testing.assert_frame_equal(late_counts, then_counts)


def test_who_is_in_monitoring_as_far_as_told_stays_on_the_list(tmp_path: Path) -> None:
    """001 left in November, which is told in January; both stand in the book of monitoring on the day of the report."""
    records = pd.concat([monthly(h, "2022-01", [150] * 24) for h in ("001", "002")])
    spells = ledger(("001", "2022-03-01", "2023-11-20"), ("002", "2022-03-01", None)).drop(columns="known_at")
    found = report(make_register(tmp_path, lag_days=60, records=records, spells=spells))
    assert found.tables["long_stays"][["household_id", "months"]].to_numpy().tolist() == [["001", 21], ["002", 21]]
    assert any("list of long stays may have left since" in en for en, _ in found.notes)


def test_what_is_known_beyond_the_last_month_told_ends_no_spell_of_the_curves(tmp_path: Path) -> None:
    """Nine ends in ten come to be known two months late: the one told at once is no more than the others."""
    ids = [f"{i:03d}" for i in range(20)]
    records = pd.concat([monthly(h, "2022-01", [150] * 24) for h in ids])
    spells = ledger(*((h, "2022-03-01", f"2023-{i % 10 + 1:02d}-10") for i, h in enumerate(ids)))
    told = spells.assign(known_at=pd.to_datetime(spells["eliminated_on"]) + pd.Timedelta(days=60))
    begun = spells.assign(eliminated_on=None)
    quick = ledger(("000", "2022-03-01", "2023-12-05")).assign(known_at="2023-12-05")
    book = pd.concat([begun, told[told["household_id"] != "000"], quick])
    found = report(make_register(tmp_path, records=records, spells=book))
    curve = kept(found.tables["durations"], kind="monitoring", entry="all")
    assert curve["months"].max() == 19 and curve["ended"].sum() == 19, "to October, of which 000 was still in it"
    whole = kept(found.tables["duration_summary"], kind="monitoring", entry="all")
    assert whole[["spells", "ended", "open"]].to_numpy().tolist() == [[20, 20, 0]]


def test_books_taken_over_all_at_once_do_not_say_how_late_an_office_tells(tmp_path: Path) -> None:
    """Of 500 spells 300 came from an older book, known when the register began; since then it takes nine days."""
    records = pd.concat([monthly(f"{i:03d}", "2022-01", [150] * 24) for i in range(500)])
    old = ledger(*((f"{i:03d}", f"2019-{i % 12 + 1:02d}-01", None) for i in range(300))).assign(known_at="2022-01-05")
    new = ledger(*((f"{i:03d}", f"2023-{i % 11 + 1:02d}-11", None) for i in range(300, 500)))
    new["known_at"] = pd.to_datetime(new["identified_on"]) + pd.Timedelta(days=9)
    register = make_register(tmp_path, records=records, spells=pd.concat([old, new]))
    assert sight(Asked(register, month_number("2023-12"), Rules())).book_late == 9


@pytest.mark.parametrize("taken_over", ["2022-01-05", "2023-06-01"])
def test_an_older_book_makes_no_rule_in_a_small_county_either(tmp_path: Path, taken_over: str) -> None:
    """Of 30 spells 20 began before the register and came from an older book; the others were told after nine days."""
    records = pd.concat([monthly(f"{i:03d}", "2022-01", [150] * 24) for i in range(30)])
    old = ledger(*((f"{i:03d}", f"2019-{i % 12 + 1:02d}-01", None) for i in range(20))).assign(known_at=taken_over)
    new = ledger(*((f"{i:03d}", f"2023-{i % 11 + 1:02d}-11", None) for i in range(20, 30)))
    new["known_at"] = pd.to_datetime(new["identified_on"]) + pd.Timedelta(days=9)
    both = make_register(tmp_path / "both", records=records, spells=pd.concat([old, new]))
    assert sight(Asked(both, month_number("2023-12"), Rules())).book_late == 9
    nobody_since = make_register(tmp_path / "old", records=records, spells=old)
    assert sight(Asked(nobody_since, month_number("2023-12"), Rules())).book_late == 0


def test_two_spells_that_begin_in_one_month_are_told_apart_by_their_days(tmp_path: Path) -> None:
    records = monthly("001", "2022-01", [150] * 24)
    spells = ledger(("001", "2022-03-02", "2022-03-10"), ("001", "2022-03-20", None)).assign(elimination_mode="assisted")
    spells.loc[1, "elimination_mode"] = None
    tables = report(make_register(tmp_path, records=records, spells=spells)).tables
    assert tables["long_stays"][["household_id", "months"]].to_numpy().tolist() == [["001", 21]]
    assert tables["removed_early"]["came_back"].astype(bool).tolist() == [True]


def test_a_curve_ends_at_the_age_that_nobody_seen_from_before_has_passed(tmp_path: Path) -> None:
    """001 left after two months; 002 had been in monitoring for ten when the register began."""
    records = pd.concat([monthly(h, "2022-01", [150] * 24) for h in ("001", "002")])
    spells = ledger(("001", "2022-03-01", "2022-05-10"), ("002", "2021-03-01", "2022-09-10"))
    found = report(make_register(tmp_path, records=records, spells=spells))
    curve = kept(found.tables["durations"], kind="monitoring", entry="all")
    assert curve[["months", "at_risk", "ended"]].to_numpy().tolist() == [[2, 1, 1]]
    whole = kept(found.tables["duration_summary"], kind="monitoring", entry="all")
    assert whole[["spells", "ended", "entered_later"]].to_numpy().tolist() == [[2, 2, 1]]


def test_who_left_in_the_first_month_of_the_register_was_never_at_risk_of_it(tmp_path: Path) -> None:
    """001 and 002 came in June 2021; the register begins in January, in which 001 left. 003 was seen from the beginning."""
    records = pd.concat([monthly(h, "2022-01", [150] * 24) for h in ("001", "002", "003")])
    spells = ledger(("001", "2021-06-05", "2022-01-20"), ("002", "2021-06-05", "2022-03-20"), ("003", "2022-02-01", None))
    found = report(make_register(tmp_path, records=records, spells=spells))
    curve = kept(found.tables["durations"], kind="monitoring", entry="all")
    assert curve.loc[curve["ended"] > 0, ["months", "at_risk", "ended"]].to_numpy().tolist() == [[9, 2, 1]]
    np.testing.assert_allclose(curve.loc[curve["months"] >= 9, "share"], 1 / 2)


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        ("income", "no income or no line"),
        ("ends", "nobody is known to have left"),
        ("entries", "nobody is known to be monitored"),
    ],
)
def test_what_a_register_lacks_of_spells_is_said(tmp_path: Path, lacking: str, says: str) -> None:
    records = pd.concat([monthly("001", "2022-01", [150, 90, 120] + [150] * 21), monthly("002", "2022-01", [150] * 24)])
    spells = ledger(("001", "2022-03-01", "2022-08-10"), ("002", "2023-03-01", None))
    whole = report(make_register(tmp_path / "whole", records=records, spells=spells))
    assert not any(says in en for en, _ in whole.notes)
    match lacking:
        case "income":
            records = records.drop(columns="line")
        case "ends":
            spells = spells.drop(columns="eliminated_on")
        case "entries":
            spells["known_at"] = "2023-12-31"
    found = report(make_register(tmp_path / "lacking", records=records, spells=spells), "2023-11")
    assert any(says in en for en, _ in found.notes)
    assert ("poverty_kinds" in found.tables) == (lacking != "income") == ("poverty_kinds" not in found.lacks)
    assert set(found.lacks.values()) <= set(found.notes)


def test_who_was_monitored_often_before_the_register_is_listed_and_nobody_is_monitored_now(tmp_path: Path) -> None:
    """The lists go back further than a short register does: no note may say that they are empty."""
    records = monthly("001", "2023-01", [150] * 12)
    spells = ledger(("001", "2022-03-01", "2022-04-10"), ("001", "2022-09-01", "2022-10-10"))
    found = report(make_register(tmp_path, records=records, spells=spells))
    assert found.tables["frequent_entries"][["household_id", "entries"]].to_numpy().tolist() == [["001", 2]]
    assert any("nobody is known to be monitored" in en for en, _ in found.notes)
    assert not any("on the lists" in en for en, _ in found.notes)


@pytest.mark.parametrize("lag", [0, 40])
def test_where_no_spell_was_seen_from_its_beginning_no_length_is_told_and_why(tmp_path: Path, lag: int) -> None:
    """Both were monitored before the register begins: nobody says how many left before it did."""
    records = pd.concat([monthly(h, "2023-01", [150] * 12) for h in ("001", "002")])
    spells = ledger(("001", "2022-03-01", "2023-04-10"), ("002", "2022-06-01", None)).drop(columns="known_at")
    found = report(make_register(tmp_path, lag_days=lag, records=records, spells=spells))
    assert found.tables["durations"].empty and "from its beginning" in found.lacks["durations"][0]
    begun = pd.concat([spells, ledger(("001", "2023-06-01", "2023-09-01")).drop(columns="known_at")])
    seen = report(make_register(tmp_path / "seen", lag_days=lag, records=records, spells=begun))
    assert len(seen.tables["durations"]) and "durations" not in seen.lacks


def test_a_long_stay_is_listed_by_the_rule_with_what_was_tried(small: Found) -> None:
    found = small.tables["long_stays"]
    assert found[["household_id", "since", "months"]].to_numpy().tolist() == [["003", "2022-03", 21]]
    assert found["measures"].isna().all()


def test_lists_begin_with_the_longest_stay_the_most_entries_and_who_came_back(tmp_path: Path) -> None:
    ids = ["001", "002", "003", "004"]
    records = pd.concat([monthly(h, "2021-01", [150] * 36) for h in ids])
    spells = ledger(
        ("001", "2022-05-01", None), ("002", "2021-06-01", "2021-09-01"), ("002", "2021-12-01", None),
        ("003", "2021-02-01", "2021-03-01"), ("003", "2021-05-01", "2021-07-01"), ("003", "2023-05-01", None),
        ("004", "2023-02-01", "2023-03-01"),
    )  # fmt: skip
    spells.loc[spells["eliminated_on"].notna(), "elimination_mode"] = "assisted"
    tables = report(make_register(tmp_path, records=records, spells=spells)).tables
    assert tables["long_stays"]["household_id"].tolist() == ["002", "001"]
    assert tables["frequent_entries"]["household_id"].tolist() == ["003", "002"]
    early = tables["removed_early"]
    assert early["came_back"].astype(bool).is_monotonic_decreasing and early["household_id"].iloc[-1] == "004"


def test_a_frequent_entry_is_listed_with_the_help_that_it_had(small: Found) -> None:
    found = small.tables["frequent_entries"]
    assert found[["household_id", "entries", "measures"]].to_numpy().tolist() == [["001", 3, "employment x1"]]


def test_rules_of_the_county_change_the_lists(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [150] * 12)
    register = make_register(tmp_path, records=records, spells=ledger(("001", "2023-06-01", None)))
    assert len(report(register).tables["long_stays"]) == 0
    assert len(report(register, rules={"spells": {"long_stay_months": 6}}).tables["long_stays"]) == 1
    assert len(report(register, rules={"spells": {"long_stay_months": 7}}).tables["long_stays"]) == 0


def test_poverty_is_chronic_where_the_mean_lies_below_the_line(small: Found) -> None:
    kinds = small.tables["poverty_kinds"].iloc[0]
    assert kinds[["households", "never_poor", "transient_poor", "chronic_poor"]].tolist() == [3, 0, 2, 1]
    gaps = [(2 * 0.1**2 + 3 * 0.2**2) / 24, 0.05**2 / 24, (12 * 0.3**2 + 10 * 0.4**2) / 24]
    chronic = (1 - (12 * 0.7 + 2 * 1.1 + 10 * 0.6) / 24) ** 2
    assert kinds["squared_gap"] == pytest.approx(sum(gaps) / 3)
    assert kinds["chronic_gap"] == pytest.approx(chronic / 3)
    assert kinds["transient_gap"] == pytest.approx((sum(gaps) - chronic) / 3)


def test_whoever_left_in_the_month_after_the_first_help_is_listed_and_whoever_had_time_is_not(small: Found) -> None:
    found = small.tables["removed_early"].set_index("household_id")
    assert found.loc["002", "reasons"] == "soon_after_help"
    assert found.loc["001", "reasons"] == "removed_below_line", "help had worked for months, income lay below the line"
    assert found["came_back"].astype(bool).to_dict() == {"001": True, "002": False}


def test_check_rules_are_asked_as_known_on_the_day(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [150] * 5 + [90] * 7)
    spells = ledger(("001", "2023-02-01", "2023-07-10")).assign(elimination_mode="assisted")
    register = make_register(tmp_path, records=records, spells=spells)
    found = report(register, rules={"spells": {"early_exit_checks": ["removed_below_line"]}}).tables["removed_early"]
    assert found["reasons"].tolist() == ["removed_below_line"]
    assert len(report(register, "2023-06").tables["removed_early"]) == 0
    with pytest.raises(UsageError, match="did you mean 'removed_below_line'"):
        report(register, rules={"spells": {"early_exit_checks": ["removed_below_lin"]}})


def test_what_raised_income_over_the_line_is_named(tmp_path: Path) -> None:
    parts = {"wage_income": 80.0, "transfer_income": 10.0, "selfpay": 0.0, "claims": 0.0, "hh_size": 1}
    records = pd.concat([
        monthly("001", "2023-01", [150.0, 90, 120], **{**parts, "wage_income": [150, 80, 112]}),
        monthly("002", "2023-01", [150.0, 90, 120], **{**parts, "transfer_income": [60, 10, 41]}),
        monthly("003", "2023-01", [150.0, 90, 120], **{**parts, "selfpay": [0, 60, 30], "hh_size": 2}),
    ])  # fmt: skip
    found = report(make_register(tmp_path, records=records)).tables["exits"].set_index("reason")["spells"]
    assert found.to_dict() == {"medical_cost": 1, "transfers": 1, "wages": 1}


def test_a_cost_that_is_blank_on_one_side_raised_no_income_and_blank_claims_are_none(tmp_path: Path) -> None:
    parts = {"wage_income": [150.0, 80, 112], "selfpay": 0.0, "claims": 0.0, "hh_size": 1}
    records = pd.concat([
        monthly("001", "2023-01", [150.0, 90, 120], **{**parts, "selfpay": [0, 60, None]}),
        monthly("003", "2023-01", [150.0, 90, 120], **{**parts, "selfpay": [0, 60, None]}),
        monthly("002", "2023-01", [150.0, 90, 120], **{**parts, "selfpay": [0, 60, 10], "claims": [0, None, None]}),
    ])  # fmt: skip
    found = report(make_register(tmp_path, records=records)).tables["exits"].set_index("reason")["spells"]
    assert found.to_dict() == {"medical_cost": 1, "wages": 2}


def test_income_of_more_than_a_year_before_the_exit_does_not_speak_against_it(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2021-01", [150, 90]) for h in ("001", "002")] + [monthly("003", "2021-01", [150] * 36)])
    spells = ledger(("001", "2021-03-01", "2022-01-10"), ("002", "2021-03-01", "2022-03-10"))
    found = report(make_register(tmp_path, records=records, spells=spells)).tables["removed_early"]
    assert found["household_id"].tolist() == ["001"], "the last record of 002 was thirteen months old"


def test_a_county_in_which_nobody_was_helped_removed_without_a_measure(tmp_path: Path) -> None:
    """Two counties, spells alike: 001 had help in time, in the county of 002 nobody had any."""
    help_given = pd.DataFrame({
        "household_id": ["001"], "measure": "health", "offered_on": "2023-02-02", "known_at": "2023-02-02", "accepted": True,
        "started_on": "2023-02-02",
    })  # fmt: skip
    records = pd.concat([monthly(h, "2023-01", [150] * 12) for h in ("001", "002")])
    homes = pd.DataFrame({"household_id": ["001", "002"], "county_id": ["A", "B"]})
    spells = ledger(("001", "2023-02-01", "2023-06-10"), ("002", "2023-02-01", "2023-06-10")).assign(
        elimination_mode="assisted"
    )
    register = make_register(tmp_path, records=records, households=homes, spells=spells, assistance=help_given)
    early = report(register).tables["removed_early"].set_index("household_id")["reasons"]
    assert early.to_dict() == {"002": "removed_by_help_without_measure"}


def test_help_that_has_not_begun_makes_no_early_exit(tmp_path: Path) -> None:
    help_given = pd.DataFrame({
        "household_id": ["001", "002"], "measure": "health", "offered_on": "2023-05-02", "known_at": "2023-05-02",
        "accepted": True, "answered_on": "2023-05-02", "started_on": ["2023-05-20", None],
    })  # fmt: skip
    records = pd.concat([monthly(h, "2023-01", [150] * 12) for h in ("001", "002")])
    spells = ledger(("001", "2023-02-01", "2023-06-10"), ("002", "2023-02-01", "2023-06-10"))
    register = make_register(tmp_path, records=records, spells=spells, assistance=help_given)
    assert report(register).tables["removed_early"]["household_id"].tolist() == ["001"]


def test_without_spells_the_lists_are_of_those_below_the_line_and_it_is_said(tmp_path: Path) -> None:
    records = pd.concat([monthly("001", "2022-01", [150] + [90] * 23), monthly("002", "2022-01", [90] * 12)])
    found = report(make_register(tmp_path, records=records))
    assert found.tables["long_stays"]["household_id"].tolist() == ["001"], "002 was not seen for a year"
    assert any("no monitoring spells" in en for en, _ in found.notes)


def test_who_is_poor_on_both_sides_of_a_gap_has_not_entered_again(tmp_path: Path) -> None:
    """As in a rotating panel: seen, out of sight for a year, seen again."""
    records = pd.concat([
        monthly("001", "2021-01", [90] * 3), monthly("001", "2022-03", [90] * 3),
        monthly("002", "2021-01", [150, 90, 90]), monthly("002", "2022-03", [150, 90, 90]),
        monthly("003", "2021-01", [90] * 2 + [150]), monthly("003", "2022-03", [90] * 3),
        monthly("004", "2021-01", [150] * 3), monthly("004", "2022-03", [150] * 22),
    ])  # fmt: skip
    found = report(make_register(tmp_path, records=records), "2022-05")
    often = found.tables["frequent_entries"]
    assert often[["household_id", "entries"]].to_numpy().tolist() == [["002", 2]]
    whole = kept(found.tables["duration_summary"], kind="poverty", entry="all")
    assert whole[["spells", "ended", "open", "lost"]].to_numpy().tolist() == [[6, 1, 3, 2]]
    later = report(make_register(tmp_path / "later", records=records), "2023-12").tables["duration_summary"]
    assert kept(later, kind="poverty", entry="all")[["open", "lost"]].to_numpy().tolist() == [[0, 5]], (
        "nobody saw them since"
    )


def test_households_visited_in_turns_are_out_of_sight_and_not_too_few(tmp_path: Path) -> None:
    turns = pd.concat([monthly(f"{i:03}", start, [150, 90]) for i in range(30) for start in ("2021-01", "2022-01")])
    register = make_register(tmp_path / "turns", records=turns)
    asked = Asked(register, month_number("2022-12"), Rules())
    found = report_spells(asked)
    assert not len(found.tables["reentry_by_month"])
    (said,) = (note for note in found.notes if "out of sight" in note[0])
    back = numbers(Findings(asked, {"spells": found}))[1]
    assert back.why is not None and tuple(back.why) == said
    seen = report(make_register(tmp_path / "seen", records=monthly("001", "2022-01", [150, 90] + [150] * 10)), "2022-12")
    assert len(seen.tables["reentry_by_month"])
    assert not any("out of sight" in en for en, _ in seen.notes)


def test_a_register_without_a_line_or_spells_gives_no_tables_and_says_so(tmp_path: Path) -> None:
    found = report(make_register(tmp_path, records=monthly("001", "2023-01", [150.0, 90]).drop(columns="line")))
    assert found.tables == {}
    assert "neither" in found.notes[0][0]


def test_lists_carry_the_causes_of_their_alerts(county: County) -> None:
    register = Register.open(county.register)
    as_of = month_number("2023-12")
    rules = Rules(spells={"long_stay_months": 2, "frequent_entries": 2})
    found = report_spells(Asked(register, as_of, rules, scored_months([county.alerts], as_of)))
    alerts = pd.read_parquet(county.alerts / "alerts.parquet")
    listed = found.tables["long_stays"]
    mine = alerts[alerts["household_id"].isin(listed["household_id"])]
    assert len(mine) > 0
    assert listed["alerts"].sum() == len(mine)
    makeup = kept(found.tables["list_makeup"], list="long_stays").set_index("verdict")["alerts"]
    assert makeup.to_dict() == {**dict.fromkeys(makeup.index, 0), **mine["verdict"].value_counts().to_dict()}
    assert kept(found.tables["list_makeup"], list="all")["alerts"].sum() == len(alerts)
    assert not any("who is in open monitoring is not ranked" in en for en, _ in found.notes)
    stayed = report_spells(Asked(register, as_of, Rules(), scored_months([county.alerts], as_of)))
    assert len(stayed.tables["long_stays"]) and not stayed.tables["long_stays"]["alerts"].any()
    assert any("who is in open monitoring is not ranked" in en for en, _ in stayed.notes)
    silent = report_spells(Asked(register, as_of, rules))
    assert "list_makeup" not in silent.tables
    assert any("--alerts" in en for en, _ in silent.notes)


def test_who_was_below_the_line_when_lists_were_drawn_is_not_said_to_have_been_monitored(
    county: County, tmp_path: Path
) -> None:
    known, as_of = Register.open(county.register), month_number("2023-12")
    register = make_register(tmp_path, records=known.read("records"), households=known.read("households"))
    found = report_spells(
        Asked(register, as_of, Rules(spells={"long_stay_months": 12}), scored_months([county.alerts], as_of))
    )
    assert len(found.tables["long_stays"])
    assert any("who is below the line already is not ranked" in en for en, _ in found.notes)
    assert not any("in open monitoring is not ranked" in en for en, _ in found.notes)


def test_a_month_after_the_report_is_refused(county: County) -> None:
    with pytest.raises(UsageError, match=f"scored for {AS_OF}"):
        scored_months([county.alerts], month_number("2023-05"))
    with pytest.raises(UsageError, match="same month"):
        scored_months([county.alerts, county.alerts], month_number("2023-12"))


def register_of_returns(folder: Path, months: int = 42, households: int = 160) -> Register:
    """Half of the households that left stay near the line and come back within months, half rise far above and do not."""
    draw = np.random.default_rng(5)
    frames = []
    for i in range(households):
        near = i % 2 == 0
        level = [130.0] * int(draw.integers(2, 20))
        while len(level) < months:
            level += [90.0] * int(draw.integers(2, 5))
            level += [108.0] * int(draw.integers(3, 16)) if near else [200.0] * months
        frames.append(monthly(f"{i:03d}", "2020-07", level[:months]))
    return make_register(folder, records=pd.concat(frames))


def test_the_chance_of_re_entry_ranks_those_near_the_line_first(tmp_path: Path) -> None:
    register = register_of_returns(tmp_path)
    rules = {"reentry": {"intervals": {"replicates": 40}}, "spells": {}}
    found = report(register, rules=rules)
    figures = found.tables["reentry_evaluation"]
    auc = kept(figures, horizon_months=12, metric="roc_auc").set_index("model")
    assert auc.loc["hazard_logit", "low"] > 0.9
    assert auc.loc["base_rate", "value"] == 0.5
    assert auc.loc["hazard_logit", "gain_low"] > 0
    brier = kept(figures, horizon_months=6, metric="brier").set_index("model")["value"]
    assert brier["hazard_logit"] < brier["kaplan_meier"]
    risks = found.tables["reentry_risks"]
    near = risks["household_id"].astype(int) % 2 == 0
    assert risks.loc[near, "chance_12m_share"].min() > risks.loc[~near, "chance_12m_share"].max()
    assert (risks["chance_6m_share"] <= risks["chance_12m_share"]).all()
    assert set(found.tables["reentry_terms"]["term"]) >= {"log_ratio", "earlier_spells", "log_last_spell"}


def test_who_left_and_is_out_of_sight_has_no_chance_of_re_entry_and_is_counted(tmp_path: Path) -> None:
    """Of 120 households that enter monitoring again and again, twelve have no record of the last ten months."""
    draw = np.random.default_rng(5)
    rows, frames = [], []
    for i in range(120):
        name, month = f"{i:03d}", int(draw.integers(1, 12))
        frames.append(monthly(name, "2020-07", [130.0] * (32 if i < 12 else 42)))
        while month < (28 if i < 12 else 36):
            until = month + int(draw.integers(2, 5))
            days = [str(pd.Period("2020-07", "M") + m) + "-10" for m in (month, until)]
            rows.append((name, *days))
            month = until + int(draw.integers(3, 14))
    register = make_register(tmp_path, records=pd.concat(frames), spells=ledger(*rows))
    found = report(register, rules={"reentry": {"intervals": {"replicates": 20}}, "spells": {}})
    risks = kept(found.tables["reentry_risks"], kind="monitoring")
    assert len(risks) == 108 and risks["household_id"].min() == "012"
    said = [en for en, _ in found.notes if "without a record" in en]
    assert len(said) == 1 and "monitoring: 12 household(s)" in said[0]


def test_too_few_re_entries_give_no_chance_and_a_note(small: Found) -> None:
    assert "reentry_risks" not in small.tables
    assert any("too few" in en for en, _ in small.notes)


def test_the_shipped_rules_are_the_defaults() -> None:
    assert load_rules() == Rules()


def test_a_file_that_only_lies_in_the_working_folder_is_no_rule(tmp_path: Path) -> None:
    """A county's `monitoring.yaml` counts where it is named, and may leave out what it does not change."""
    (tmp_path / "monitoring.yaml").write_text("spells: {long_stay_months: 12}", encoding="utf-8")
    said = (
        "from riskmodel.monitoring.rules import load_rules; rules, named = load_rules(), load_rules('monitoring.yaml'); "
        "print(rules.spells.long_stay_months, named.spells.long_stay_months, named.assistance == rules.assistance)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", said], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["18", "12", "True"], told.stderr


def test_a_misspelt_rule_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("spells: {long_stay_month: 12}", encoding="utf-8")
    with pytest.raises(UsageError, match="spells.long_stay_month"):
        load_rules(tmp_path / "mine.yaml")


@pytest.mark.slow
@pytest.mark.skipif(not PANEL.is_file(), reason="the Argentine panel (../shared/data/eph) is not here")
def test_on_the_argentine_panel_re_entry_is_three_times_as_frequent_as_first_entry(tmp_path: Path) -> None:
    ingest(find_config("sources/eph.yaml"), PANEL, tmp_path / "register")
    found = report(Register.open(tmp_path / "register"), "2015-06")
    rates = found.tables["entry_rates"].set_index("entry")
    assert rates.loc["again", "share"] == pytest.approx(0.31, abs=0.005)
    assert rates.loc["first", "share"] == pytest.approx(0.09, abs=0.005)
    assert rates.loc["again", "share_low"] > 3 * rates.loc["first", "share_high"]
    assert rates["at_risk"].sum() == 151_766, "pairs of quarters in a row of households not poor, as the panel's page counts"
    assert "reentry_risks" not in found.tables, "the rotation leaves half a year unwatched: no chance can be told"
