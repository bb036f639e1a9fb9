"""One pass over the sorted rows gives what the query gives, to the last bit, or leaves the work to it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from riskmodel.catalogue.expressions import parse
from riskmodel.cohort import features as features_room
from riskmodel.cohort.features import available_in, county_blocks
from riskmodel.cohort.standing import Standing
from riskmodel.fallback import NotCovered, say_once
from riskmodel.months import month_number, month_text
from riskmodel.register import Register
from riskmodel.settings import AtRisk, Label
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_features import CATALOGUE, small_registers
from tests.county import County

AS_OF = [month_number("2022-09"), month_number("2023-06")]


def by_one_pass(register: Register, features: list, months: list[int], block: int) -> pd.DataFrame:
    """Features by one pass in blocks of so many households."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features_room, "_queried", lambda *given: pytest.fail("the pass left it to the query"))
        return pd.concat(list(county_blocks(register, register.counties[0], months, features, block)), ignore_index=True)


def by_the_query(register: Register, features: list, months: list[int]) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features_room, "_sweep", lambda: left_to_the_query)
        return pd.concat(list(county_blocks(register, register.counties[0], months, features)), ignore_index=True)


def by_both(register: Register, features: list, months: list[int], block: int = 20_000) -> tuple[pd.DataFrame, pd.DataFrame]:
    return by_one_pass(register, features, months, block), by_the_query(register, features, months)


def left_to_the_query(*given: object):
    raise NotCovered("asked to")
    yield


@settings(max_examples=8)
@given(tables=small_registers())
def test_one_pass_equals_the_query(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pd.DataFrame]) -> None:
    register = make_register(tmp_path_factory.mktemp("r") / "register", **tables)
    features, _ = available_in(register, CATALOGUE)
    query = by_the_query(register, features, AS_OF)
    for block in (1, 2, 20_000):
        pd.testing.assert_frame_equal(by_one_pass(register, features, AS_OF, block), query, check_exact=True)


@pytest.mark.parametrize("block", [7, 20_000])
def test_a_county_in_blocks_equals_the_query_on_the_whole(county: County, block: int) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    one_pass, query = by_both(register, features, AS_OF, block)
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)


def test_who_is_at_risk_is_told_by_the_query_as_by_the_pass(county: County) -> None:
    register = Register.open(county.register)
    standing = Standing.of(register, register.counties[0], AS_OF[1], Label(), AtRisk())
    one_pass, query = by_both(register, list(standing.columns), AS_OF[1:])
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)
    at_risk = standing.at_risk(query)
    assert 0 < at_risk.sum() < len(at_risk) and (standing.at_risk(one_pass) == at_risk).all()


@pytest.mark.parametrize("block", [7, 20_000])
def test_some_households_get_what_they_get_among_all(county: County, block: int) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    assert any(f.kind == "context" for f in features)
    whole = pd.concat(list(county_blocks(register, register.counties[0], AS_OF, features)), ignore_index=True)
    ids = whole["household_id"].drop_duplicates()
    some = pa.array([*ids[::3], "nobody"], pa.string())
    found = pd.concat(list(county_blocks(register, register.counties[0], AS_OF, features, block, some)), ignore_index=True)
    expected = whole[whole["household_id"].isin(ids[::3])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features_room, "_sweep", lambda: left_to_the_query)
        (query,) = county_blocks(register, register.counties[0], AS_OF, features, block, some)
    pd.testing.assert_frame_equal(query, expected, check_exact=True)


def test_a_county_of_which_no_village_is_known_may_be_larger_than_a_block(tmp_path: Path) -> None:
    records = pd.concat([monthly(name, "2023-01", [150.0, 90.0 + 20 * int(name), 130.0]) for name in "12345"])
    people = pd.DataFrame(
        {"household_id": list("12345"), "county_id": list("aaabb"), "village_id": [None, None, None, "v", "v"]}
    )
    register = make_register(tmp_path / "r", records=records, households=people)
    features, _ = available_in(register, CATALOGUE)
    assert any(f.kind == "context" for f in features)
    months = [month_number("2023-03")]
    whole, query = by_both(register, features, months)
    pd.testing.assert_frame_equal(whole, query, check_exact=True)
    for block in (1, 2):
        pd.testing.assert_frame_equal(by_one_pass(register, features, months, block), whole, check_exact=True)
    asked = county_blocks(register, "a", months, features, households=pa.array(["2"], pa.string()))
    pd.testing.assert_frame_equal(next(iter(asked)), whole.iloc[[1]].reset_index(drop=True), check_exact=True)


def test_a_revised_record_replaces_the_first_from_the_day_it_is_known(tmp_path: Path) -> None:
    records = monthly("1", "2023-01", [150.0, 140.0, 130.0]).assign(known_at=lambda r: pd.to_datetime(r["month"]))
    revised = records.iloc[[1]].assign(welfare=90.0, known_at=pd.Timestamp("2023-05-10"))
    register = make_register(tmp_path / "r", records=pd.concat([records, revised]))
    features, _ = available_in(register, CATALOGUE)
    months = [month_number("2023-04"), month_number("2023-05")]
    one_pass, query = by_both(register, features, months)
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)
    assert one_pass["months_since_below"].tolist() == [36.0, 3.0]


@pytest.mark.parametrize("elsewhere", ["w", None])
@pytest.mark.parametrize(
    ("townships", "expected"),
    [
        ("ttuu", [0, 0, 0.5, 0.5]),  # two villages of one name
        ("ttttt", [0.2, 0.2, 0.2, 0.2, 0.2]),
        ("tt--", [0.25, 0.25, 0.25, 0.25]),  # a blank township is that of the others of the village
        ("ttu-", [0, 0, 0, 1]),  # or is not known to be either of the two
        ("----", [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_what_a_village_is_like_is_told_by_those_of_its_township_alone(
    tmp_path: Path, townships: str, expected: list[float], elsewhere: str | None
) -> None:
    """All live in a village x; 4 alone lies below the line. In another county townships are told, or nowhere else."""
    ids = [str(number) for number in range(1, len(townships) + 1)]
    records = pd.concat([monthly(h, "2023-01", [150.0, 90.0 if h == "4" else 150.0]) for h in ids])
    homes = pd.DataFrame({"household_id": ids, "township_id": [t.replace("-", "") or None for t in townships]})
    homes = pd.concat([homes.assign(county_id="k"), pd.DataFrame({"household_id": ["9"], "county_id": "l"})])
    homes.loc[homes["household_id"].eq("9"), "township_id"] = elsewhere
    register = make_register(tmp_path / "r", records=records, households=homes.assign(village_id="x"))
    assert ("township_id" in register.columns("households")) == bool(elsewhere or set(townships) - {"-"})
    features, _ = available_in(register, CATALOGUE)
    months = [month_number("2023-02")]
    whole, query = by_both(register, features, months)
    assert whole["village_below_share"].tolist() == pytest.approx(expected)
    for blocks in (query, by_one_pass(register, features, months, 1)):
        pd.testing.assert_frame_equal(blocks, whole, check_exact=True)
    asked = county_blocks(register, "k", months, features, households=pa.array(["4"], pa.string()))
    pd.testing.assert_frame_equal(next(iter(asked)), whole.iloc[[3]].reset_index(drop=True), check_exact=True)


def known(register: Register, months: list[str]) -> pd.DataFrame:
    """Features at some months by the pass, once the query is found to say the same."""
    features, _ = available_in(register, CATALOGUE)
    one_pass, query = by_both(register, features, [month_number(m) for m in months])
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)
    return one_pass


def test_what_is_told_again_counts_once_as_it_was_last_known(tmp_path: Path) -> None:
    """A disaster's loss put right, a spell whose end was reported later, an offer that suited after all."""
    told = {"known_at": ["2023-02-10", "2023-04-10"]}
    register = make_register(
        tmp_path / "r",
        records=monthly("1", "2023-01", [150.0] * 4, hh_size=1),
        events=pd.DataFrame({"household_id": "1", "kind": "disaster", "onset_on": "2023-02-05", "loss": [50, 80], **told}),
        spells=pd.DataFrame(
            {"household_id": "1", "identified_on": "2023-02-01", "eliminated_on": [None, "2023-03-15"], **told}
        ),
        assistance=pd.DataFrame(
            {"household_id": "1", "measure": "health", "offered_on": "2023-02-02", "suitable": [False, True], **told}
        ),
    )
    assert register.revised == {"events", "spells", "assistance"} and not register.has_revisions
    found = known(register, ["2023-03", "2023-04"])
    assert found["disaster_events_12m"].tolist() == [1, 1] and found["disaster_loss_12m"].tolist() == [50, 80]
    assert found["monitored_now"].tolist() == [1, 0] and found["spells_36m"].tolist() == [1, 1]
    assert found["offers_12m"].tolist() == [1, 1] and found["suitable_offers_12m"].tolist() == [0, 1]


def test_an_answer_given_after_the_as_of_day_less_the_reporting_lag_is_not_known_yet(tmp_path: Path) -> None:
    """An offer of 2 January is written down in February, its answer of March in April, its end of May in June."""
    help_ = pd.DataFrame({
        "household_id": "1", "measure": "health", "offered_on": "2023-01-02", "suitable": True, "accepted": True,
        "answered_on": ["2023-03-20"], "started_on": "2023-03-20", "ended_on": "2023-05-10", "completed": True,
    })  # fmt: skip
    spells = pd.DataFrame({"household_id": "1", "identified_on": "2023-01-02", "eliminated_on": ["2023-03-15"]})
    records = monthly("1", "2023-01", [150.0] * 6)
    register = make_register(tmp_path / "r", lag_days=31, records=records, assistance=help_, spells=spells)
    found = known(register, ["2023-03", "2023-04", "2023-05", "2023-06"])
    assert found["offers_12m"].tolist() == [1] * 4 and found["spells_36m"].tolist() == [1] * 4
    assert found["accepted_12m"].tolist() == [0, 1, 1, 1]
    assert found["active_measures"].tolist() == [0, 1, 1, 0]
    assert found["monitored_now"].tolist() == [1, 0, 0, 0]


def test_an_answer_whose_day_nobody_wrote_down_speaks_neither_for_a_household_nor_against_it(tmp_path: Path) -> None:
    """Of two offers taken up and one refused only the first answer has a day; the others may have come after it."""
    help_ = pd.DataFrame({
        "household_id": "1", "measure": ["health", "training", "employment"], "offered_on": "2023-02-02",
        "known_at": "2023-02-03", "suitable": True, "accepted": [True, True, False],
        "answered_on": ["2023-04-05", None, None], "refusal_reason": [None, None, "none_given"],
    })  # fmt: skip
    register = make_register(tmp_path / "r", records=monthly("1", "2023-01", [150.0] * 4), assistance=help_)
    found = known(register, ["2023-01", "2023-02", "2023-03", "2023-04"])
    assert found["accepted_12m"].tolist() == [0, 0, 0, 1]
    assert found["refused_no_reason_12m"].tolist() == [0, 0, 0, 0]


def test_an_event_of_a_household_and_one_of_its_village_are_two(tmp_path: Path) -> None:
    """The village's price fall is told again later; the household's own, of the same day, is another event."""
    events = pd.DataFrame({"household_id": [None, None, "1"], "village_id": "v", "kind": "price_fall"})
    events["onset_on"], events["known_at"] = "2023-02-05", ["2023-02-10", "2023-03-10", "2023-02-20"]
    records = monthly("1", "2023-01", [150.0] * 4, village_id="v")
    register = make_register(tmp_path / "r", records=records, events=events)
    assert known(register, ["2023-02", "2023-04"])["market_events_12m"].tolist() == [2, 2]


def test_a_villages_price_that_was_put_right_is_the_last_one_known(tmp_path: Path) -> None:
    """The records themselves were never revised."""
    villages = pd.DataFrame({"village_id": "v", "month": "2023-03-01", "price_index": [1.0, 0.75]})
    villages["known_at"] = ["2023-03-31", "2023-04-20"]
    records = monthly("1", "2023-01", [150.0] * 4, village_id="v")
    register = make_register(tmp_path / "r", records=records, villages=villages)
    found = known(register, ["2023-03", "2023-04"])["price_index_now"]
    assert found.tolist() == [1.0, 0.75]


def test_monitoring_and_help_that_go_on_count_however_long_ago_they_began(tmp_path: Path) -> None:
    spells = pd.DataFrame({"household_id": ["1", "2"], "identified_on": "2017-01-10", "eliminated_on": [None, "2023-01-20"]})
    help_ = pd.DataFrame(
        {"household_id": ["2"], "measure": "health", "offered_on": "2017-01-12", "started_on": "2017-02-01"}
    )
    help_["ended_on"] = "2023-02-03"
    records = pd.concat([monthly(h, "2023-01", [150.0] * 4) for h in "12"])
    register = make_register(tmp_path / "r", records=records, spells=spells, assistance=help_)
    found = known(register, ["2023-03"])
    assert found["monitored_now"].tolist() == [1, 0] and found["months_since_eliminated"].tolist() == [60, 2]
    assert found["ended_6m"].tolist() == [0, 1]


def test_in_a_quarterly_panel_all_that_was_known_by_the_as_of_day_counts(tmp_path: Path) -> None:
    """As of the first quarter: what happened in February and March, and nothing known in April. Ages end with March."""
    records = pd.DataFrame({"household_id": "1", "month": ["2022-10-01", "2023-01-01"], "welfare": 150.0, "line": 100.0})
    records["visited_on"] = ["2022-12-01", "2023-02-10"]
    events = pd.DataFrame(
        {"household_id": "1", "kind": "illness", "onset_on": ["2022-03-31", "2022-04-01", "2023-02-05", "2023-03-30"]}
    )
    events["known_at"] = ["2022-03-31", "2022-04-01", "2023-02-05", "2023-04-01"]
    spells = pd.DataFrame({"household_id": "1", "identified_on": ["2022-05-02", "2023-03-02"]})
    spells["eliminated_on"] = ["2023-02-20", None]
    register = make_register(tmp_path / "r", step_months=3, records=records, events=events, spells=spells)
    found = known(register, ["2023-01"]).iloc[0]
    assert (found["illness_events_12m"], found["months_since_illness"]) == (2, 1)
    assert (found["monitored_now"], found["months_since_identified"], found["months_since_eliminated"]) == (1, 0, 1)
    assert (found["record_age"], found["visit_age"]) == (0, 1)


def test_a_loss_that_nobody_wrote_down_is_unknown_not_nothing(tmp_path: Path) -> None:
    """Of those struck by a disaster; who had another event, or none, lost nothing by one. Of two losses one is not both."""
    events = pd.DataFrame({"household_id": [*"122355"], "kind": [*["disaster"] * 3, "illness", *["disaster"] * 2]})
    events["onset_on"] = ["2023-02-01", "2023-02-01", "2023-03-01", "2023-02-01", "2023-02-01", "2023-03-01"]
    events["loss"] = [None, None, 70, None, 40, 70]
    records = pd.concat([monthly(h, "2023-01", [150.0] * 4) for h in "12345"])
    register = make_register(tmp_path / "r", records=records, events=events)
    found = known(register, ["2023-03"])["disaster_loss_12m"]
    assert np.array_equal(found, [np.nan, np.nan, 0, 0, 110], equal_nan=True)


def test_a_line_of_nothing_is_none_and_the_last_month_with_one_answers(tmp_path: Path) -> None:
    records = monthly("1", "2023-01", [150.0, 180.0], line=[100.0, 0.0])
    assert known(make_register(tmp_path / "r", records=records), ["2023-02"])["ratio_now"].tolist() == [1.5]


def test_without_a_known_line_nothing_is_told_against_it(tmp_path: Path) -> None:
    """Neither medical cost against an income that counts as a quarter of the line at least, nor below it, nor near it."""
    parts = {"production_income": 0.0, "property_income": 0.0, "transfer_income": 0.0, "production_cost": 0.0}
    year = {"wage_income": 900.0, "selfpay": 90.0, "hh_size": 1, **parts}
    records = pd.concat(
        [monthly("1", "2023-01", [150.0] * 3, **year), monthly("2", "2023-01", [150.0] * 3, line=np.nan, **year)]
    )
    found = known(make_register(tmp_path / "r", records=records), ["2023-03"])
    told = found[["selfpay_burden", "below_now", "below_before", "below_share_24m", "near_line_share_12m"]].to_numpy()
    assert told[0] == pytest.approx([0.1, 0, 0, 0, 0]) and np.isnan(told[1]).all()


def test_a_share_of_what_there_is_no_more_is_not_told_from_an_earlier_month(tmp_path: Path) -> None:
    """Wages, claims, workers and land of a year ago, gone in the months after; a blank month leaves the last one told."""
    gone = [0.0] * 3
    records = monthly("1", "2022-12", [150.0] * 4, hh_size=2).assign(
        wage_income=[900.0, *gone], public_post_income=[450.0, *gone], transfer_income=[200.0, *gone],
        allowance_income=[100.0, *gone], selfpay=[30.0, *gone], claims=[30.0, *gone], production_income=[80.0, *gone],
        production_cost=[40.0, *gone], n_working=[2, 0, 0, 0], n_self_employed=[1, 0, 0, 0], land_mu=[4.0, *gone],
        land_idle_mu=[2.0, *gone], land_leased_mu=[2.0, *gone],
    )  # fmt: skip
    shares = [
        "public_post_share", "allowance_share", "claims_share", "production_cost_ratio", "self_employed_share",
        "land_idle_share", "land_leased_share",
    ]  # fmt: skip
    blank = records.drop(columns=["household_id", "month", "welfare", "line", "hh_size"]).columns
    records = pd.concat([records, records.assign(household_id="2")], ignore_index=True)
    records.loc[records["household_id"].eq("2") & records["month"].gt("2023"), blank] = None
    found = known(make_register(tmp_path / "r", records=records), ["2022-12", "2023-03"])
    told = found.set_index(["household_id", "as_of"])[shares]
    assert (told.loc[[("1", "2022-12"), ("2", "2022-12"), ("2", "2023-03")]] == 0.5).all(axis=None)
    assert told.loc[("1", "2023-03")].isna().all()


def test_a_change_is_unknown_where_nothing_is_told_since(tmp_path: Path) -> None:
    """The last values lie before the months over which it is asked: the same values twice are no change of nothing."""
    records = monthly("1", "2022-01", [150.0] * 15, hh_size=2).assign(
        wage_income=900.0, production_income=80.0, selfpay=30.0, n_working=2, n_formal=1, migrant_months=3.0, n_able=2
    )
    changes = {
        3: ["log_ratio_change_3m", "wage_change_3m", "working_change", "formal_change"],
        6: ["selfpay_rise_6m"],
        12: ["log_ratio_change_12m", "wage_change_12m", "production_change_12m", "migrant_change_12m", "able_change_12m"],
    }
    months = {"2023-03": 0, "2023-05": 2, "2023-06": 3, "2023-09": 6, "2024-03": 12}
    found = known(make_register(tmp_path / "r", records=records), list(months)).set_index("as_of")
    for window, names in changes.items():
        for month, age in months.items():
            told = found.loc[month, names]
            assert told.isna().all() if age >= window else (told == 0).all(), (month, window)


def test_a_month_that_tells_one_kind_of_days_alone_says_nothing_of_the_share_worked(tmp_path: Path) -> None:
    """In May nobody wrote down of 1 the days worked, though work was to be had, and of 2 the days on which it was."""
    records = pd.concat([monthly(h, "2023-03", [150.0] * 4, days_worked=16.0, days_available=20.0) for h in "12"])
    for household, blank in (("1", "days_worked"), ("2", "days_available")):
        records.loc[records["household_id"].eq(household) & records["month"].eq("2023-05-01"), blank] = None
    found = known(make_register(tmp_path / "r", records=records), ["2023-06"])
    assert found[["work_intensity_3m", "work_intensity_12m"]].to_numpy() == pytest.approx(np.full((2, 2), 0.8))


@pytest.mark.parametrize(("lag", "as_of", "age"), [(0, "2023-03", 0), (40, "2023-05", 2), (80, "2023-06", 3)])
def test_who_fell_below_the_line_with_the_last_record_is_told_whenever_records_come(
    tmp_path: Path, lag: int, as_of: str, age: int
) -> None:
    """1 fell with its last record, 2 one before, 3 never; the last that is known of 4 is older than three months."""
    last = {"1": [150.0, 150.0, 90.0], "2": [150.0, 90.0, 90.0], "3": [150.0] * 3, "4": [150.0, 90.0]}
    first = {"4": "2022-10"}
    records = pd.concat([monthly(h, first.get(h, "2023-01"), income) for h, income in last.items()])
    found = known(make_register(tmp_path / "r", lag_days=lag, records=records), [as_of])
    assert found["record_age"].tolist()[:3] == [age] * 3
    assert np.array_equal(found["entered_now"], [1, np.nan, 0, np.nan], equal_nan=True)
    assert found["county_entry_share"].tolist() == [0.5] * 4


def test_income_is_unknown_while_one_of_its_parts_was_never_told(tmp_path: Path) -> None:
    """A part that is blank this month counts as last told; rent that nobody ever wrote down is not known to be nothing."""
    parts = ["wage_income", "production_income", "property_income", "transfer_income", "production_cost"]
    records = pd.concat([monthly(h, "2023-01", [150.0] * 3, hh_size=2, selfpay=90.0) for h in "12"], ignore_index=True)
    records[[*parts, "n_weak_labour", "n_no_labour"]] = [700.0, 200.0, 50.0, 50.0, 100.0, 1.0, 0.0]
    records["coped_savings"] = pd.Series(False, records.index, "boolean")
    records.loc[records["household_id"].eq("1") & records["month"].gt("2023-02"), parts[:1]] = None
    records.loc[records["household_id"].eq("2"), ["property_income", "n_no_labour", "coped_savings"]] = None
    register = make_register(tmp_path / "r", records=records)
    found = known(register, ["2023-03"])
    told = found[["net_income_now", "selfpay_burden", "wage_share", "weak_labour_share", "coped_savings_6m"]].to_numpy()
    assert told[0] == pytest.approx([900, 0.1, 0.7, 0.5, 0]) and np.isnan(told[1]).all()
    never = make_register(tmp_path / "never", records=records.drop(columns="property_income"))
    assert available_in(never, CATALOGUE)[1]["net_income_now"] == ["records.property_income"]


@pytest.mark.parametrize(
    "expression",
    [
        "sum(wage_income)",
        "max(welfare) FILTER (WHERE age BETWEEN 2 AND 7)",
        "avg(welfare / nullif(hh_size - 2, 0))",
        "count(welfare) + count(*) FILTER (WHERE NOT (welfare < 200 OR wage_income > 600))",
        "arg_max(welfare, age) - arg_min(welfare, age) FILTER (WHERE age > 1 AND welfare > 100)",
        "quantile_cont(welfare, 0.3) FILTER (WHERE age < 12)",
        "median(transfer_income)",
        "stddev(welfare)",
        "regr_slope(transfer_income, -age)",
        "count(DISTINCT visited_on)",
        "min(visited_on_age) FILTER (WHERE n_able = 0)",
        "sum(CASE WHEN welfare IS NULL THEN 1 WHEN welfare > 200 THEN 2 ELSE 0 END)",
        "max(cap_at(floor_at(welfare, 120), 300))",
        "sum(floor_at(welfare, wage_income)) - sum(cap_at(transfer_income, days_worked))",
        "coalesce(sum(wage_income) FILTER (WHERE welfare IN (100, 200)), -1)",
        "avg(ln(floor_at(welfare, 1))) + exp(avg(days_worked) / 10) - abs(min(transfer_income) - 200)",
        "sum(sqrt(days_worked)) / sum(pow(days_available, 1.5))",
        "avg(CASE WHEN wage_income IS DISTINCT FROM 500 THEN 1.0 ELSE 0.0 END)",
        "sum(welfare / days_worked)",
    ],
)
def test_whatever_a_county_may_write_equals_the_query(county: County, expression: str) -> None:
    register = Register.open(county.register)
    asked = dataclasses.replace(CATALOGUE.by_name["ratio_now"], name="asked", expression=parse(expression))
    one_pass, query = by_both(register, [asked], AS_OF)
    pd.testing.assert_frame_equal(one_pass, query, check_exact=True)
    assert np.isfinite(one_pass["asked"]).any()


def test_what_the_pass_does_not_know_is_left_to_the_query(county: County, caplog: pytest.LogCaptureFixture) -> None:
    register = Register.open(county.register)
    asked = dataclasses.replace(CATALOGUE.by_name["ratio_now"], name="asked", expression=parse("skewness(welfare)"))
    say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            (frame,) = county_blocks(register, register.counties[0], AS_OF, [asked])
    assert frame["asked"].notna().any()
    assert len(caplog.records) == 1 and "skewness is left to the engine" in caplog.text


def test_a_machine_without_numba_says_so_once_and_gives_the_same(
    county: County, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    (expected,) = county_blocks(register, register.counties[0], AS_OF, features)
    monkeypatch.setitem(__import__("sys").modules, "riskmodel.cohort.sweep", None)
    features_room._sweep.cache_clear()
    say_once.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                (found,) = county_blocks(register, register.counties[0], AS_OF, features)
    finally:
        features_room._sweep.cache_clear()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len(caplog.records) == 1 and "numba cannot be used" in caplog.text


def test_months_are_told_as_text(county: County) -> None:
    register = Register.open(county.register)
    features, _ = available_in(register, CATALOGUE)
    (frame,) = county_blocks(register, register.counties[0], AS_OF, features)
    assert set(frame["as_of"]) == {month_text(m) for m in AS_OF}
