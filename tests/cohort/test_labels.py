"""Who is at risk, and what counts as a fall."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from riskmodel.cohort.labels import build_labels, censoring_weights
from riskmodel.errors import UsageError
from riskmodel.months import month_number
from riskmodel.settings import AtRisk, Label
from tests.cohort.registers import make_register, monthly

AS_OF = month_number("2023-06")
BEFORE = [150.0] * 6


def outcome(folder: Path, records: pd.DataFrame, label: Label | None = None, **tables: Any) -> pd.DataFrame:
    at_risk = tables.pop("at_risk", AtRisk())
    register = make_register(folder, records=records, **tables)
    return build_labels(register, [AS_OF], label or Label(), at_risk)


def test_two_months_below_the_line_are_a_return(tmp_path: Path) -> None:
    found = outcome(tmp_path, monthly("001", "2023-01", [*BEFORE, 150, 90, 90, 150, 150, 150, 150]))
    assert found["outcome"].tolist() == [1.0]
    assert found["outcome_month"].tolist() == ["2023-08"]
    assert found["outcome_known_at"].iloc[0] == pd.Timestamp("2023-09-30")


def test_a_single_month_below_the_line_is_none(tmp_path: Path) -> None:
    found = outcome(tmp_path, monthly("001", "2023-01", [*BEFORE, 150, 90, 150, 150, 150, 150, 150]))
    assert found["outcome"].tolist() == [0.0]


def test_a_single_month_suffices_where_one_assessment_is_asked_for(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [*BEFORE, 150, 90, 150, 150, 150, 150, 150])
    assert outcome(tmp_path, records, Label(assessments=1))["outcome"].tolist() == [1.0]


def test_a_single_month_suffices_where_the_panel_has_no_more(tmp_path: Path) -> None:
    assert outcome(tmp_path, monthly("001", "2023-01", [*BEFORE, 150, 150, 90]))["outcome"].tolist() == [1.0]


def test_a_month_whose_income_is_not_on_record_confirms_no_fall(tmp_path: Path) -> None:
    """Below in August, nothing told of September: October decides, and is the month from which the outcome is known."""
    records = monthly("001", "2023-01", [*BEFORE, 150, 90, 90, 150, 150, 150, 150])
    records.loc[records["month"] == "2023-09-01", "welfare"] = None
    assert outcome(tmp_path / "above", records)["outcome"].tolist() == [0.0]
    records.loc[records["month"] == "2023-10-01", "welfare"] = 80
    found = outcome(tmp_path / "below", records)
    assert found["outcome"].tolist() == [1.0]
    assert found["outcome_known_at"].iloc[0] == pd.Timestamp("2023-10-31")


def test_a_fall_after_the_horizon_does_not_count(tmp_path: Path) -> None:
    found = outcome(tmp_path, monthly("001", "2023-01", [*BEFORE, *[150.0] * 6, 90, 90]))
    assert found["outcome"].tolist() == [0.0]


def test_a_household_lost_before_the_horizon_is_missing_never_zero(tmp_path: Path) -> None:
    found = outcome(tmp_path, monthly("001", "2023-01", [*BEFORE, 150, 150, 150]))
    assert np.isnan(found["outcome"].iloc[0])
    assert found["seen_until"].tolist() == [3]


def test_a_gap_is_no_loss_when_the_household_is_seen_again(tmp_path: Path) -> None:
    found = outcome(tmp_path, monthly("001", "2023-01", [*BEFORE, None, None, 150, None, None, 150]))
    assert found["outcome"].tolist() == [0.0]


def test_whoever_is_below_the_line_now_is_not_at_risk(tmp_path: Path) -> None:
    records = pd.concat([monthly("001", "2023-01", [*[150.0] * 5, 90]), monthly("002", "2023-01", [150.0] * 6)])
    assert outcome(tmp_path, records)["household_id"].tolist() == ["002"]


def test_whoever_was_not_seen_lately_is_not_at_risk(tmp_path: Path) -> None:
    records = pd.concat([monthly("001", "2023-01", [150.0] * 2), monthly("002", "2023-01", [150.0] * 3)])
    assert outcome(tmp_path, records)["household_id"].tolist() == ["002"]
    only_now = outcome(tmp_path / "now", monthly("002", "2023-01", [150.0] * 6), at_risk=AtRisk(seen_within_months=0))
    assert len(only_now) == 1


def test_a_record_known_only_later_makes_nobody_at_risk(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", BEFORE)
    records["known_at"] = "2023-07-01"
    assert len(outcome(tmp_path, records)) == 0


def test_a_correction_that_was_known_in_time_decides_who_is_at_risk(tmp_path: Path) -> None:
    """June was first told below the line for 001 and above it for 002; both were put right within the month."""
    records = pd.concat([monthly(h, "2023-01", BEFORE) for h in ("001", "002")], ignore_index=True)
    records["known_at"] = pd.to_datetime(records["month"]) + pd.Timedelta(days=9)
    june = records["month"].eq("2023-06-01")
    records.loc[june, "welfare"] = [90.0, 150.0]
    corrected = records[june].assign(welfare=[150.0, 90.0], known_at=pd.Timestamp("2023-06-20"))
    for order in ([records, corrected], [corrected, records]):
        found = outcome(tmp_path / str(len(order[0])), pd.concat(order))
        assert found["household_id"].tolist() == ["001"]


def test_whose_income_nobody_knows_is_at_risk_of_what_can_be_seen_alone(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002")], ignore_index=True)
    records["housing_ok"] = pd.array([True] * len(records), dtype="boolean")
    records.loc[records["household_id"].eq("001"), "welfare"] = None
    found = outcome(tmp_path / "income", records, Label(name="below_line"))
    assert found["household_id"].tolist() == ["002"]
    found = outcome(tmp_path / "house", records, Label(name="guarantee_fail"))
    assert found["household_id"].tolist() == ["001", "002"]


def test_open_monitoring_is_out_and_eliminated_risk_is_in(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002", "003")])
    spells = pd.DataFrame(
        {
            "household_id": ["001", "002", "003"],
            "identified_on": ["2023-02-10", "2023-02-10", "2023-08-01"],
            "eliminated_on": [None, "2023-05-20", None],
        }
    )
    assert outcome(tmp_path, records, spells=spells)["household_id"].tolist() == ["002", "003"]


def test_elimination_after_the_as_of_day_is_not_known_yet(tmp_path: Path) -> None:
    spells = pd.DataFrame({"household_id": ["001"], "identified_on": ["2023-02-10"], "eliminated_on": ["2023-07-20"]})
    assert len(outcome(tmp_path, monthly("001", "2023-01", [150.0] * 12), spells=spells)) == 0


def test_elimination_that_is_reported_late_is_not_known_yet(tmp_path: Path) -> None:
    """001 left monitoring in April, of which the office knew in May; 002 in June, of which it knew in July."""
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002")])
    spells = pd.DataFrame({"household_id": ["001", "002"], "identified_on": "2023-01-10"})
    spells["eliminated_on"] = ["2023-04-20", "2023-06-05"]
    assert outcome(tmp_path, records, lag_days=31, spells=spells)["household_id"].tolist() == ["001"]


def test_a_guarantee_that_fails_is_a_return_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002", "003")], ignore_index=True)
    records["housing_ok"] = pd.array([True] * len(records), dtype="boolean")
    records["source"] = "visit"
    late = records["month"].eq("2023-09-01")
    records.loc[late & records["household_id"].eq("001"), "housing_ok"] = False
    records.loc[late & records["household_id"].eq("002"), "housing_ok"] = pd.NA
    unverified = late & records["household_id"].eq("003")
    records.loc[unverified, ["housing_ok", "source"]] = [False, "self_report"]
    assert outcome(tmp_path, records)["outcome"].tolist() == [1.0, 0.0, 0.0]


def test_a_guarantee_that_nobody_looked_at_is_missing_never_zero(tmp_path: Path) -> None:
    """The house was seen; nothing was; all was carried forward; all was seen until a month before the horizon."""
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002", "003", "004")], ignore_index=True)
    records["housing_ok"] = records["water_ok"] = pd.array([True] * len(records), dtype="boolean")
    records["source"] = "visit"
    household, later = records["household_id"], records["month"].gt("2023-06-01")
    records.loc[household.eq("001"), "water_ok"] = pd.NA
    records.loc[household.eq("002"), ["housing_ok", "water_ok"]] = pd.NA
    records.loc[household.eq("003") & later, "source"] = "carried_forward"
    records.loc[household.eq("004") & records["month"].eq("2023-12-01"), ["housing_ok", "water_ok"]] = pd.NA
    found = outcome(tmp_path / "one", records, Label(name="guarantee_fail")).set_index("household_id")
    assert np.array_equal(found["outcome"], [0, np.nan, np.nan, np.nan], equal_nan=True)
    assert found["seen_until"].tolist() == [6, 0, 0, 5]
    assert outcome(tmp_path / "return", records)["outcome"].tolist() == [0.0] * 4  # whose income was observed


def test_sudden_difficulty_needs_cost_and_event(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002", "003")], ignore_index=True)
    records["wage_income"], records["selfpay"], records["claims"] = 1000.0, 0.0, 0.0
    after = records["month"].ge("2023-09-01")
    records.loc[after & records["household_id"].isin(["001", "002"]), "selfpay"] = 700.0
    records.loc[after & records["household_id"].eq("003"), ["selfpay", "claims"]] = [700.0, 300.0]
    events = pd.DataFrame(
        {"household_id": ["001", "003"], "kind": "illness", "onset_on": "2023-08-15", "verified": [True, True]}
    )
    found = outcome(tmp_path, records, events=events)
    assert found["outcome"].tolist() == [1.0, 0.0, 0.0]
    assert found["outcome_month"].iloc[0] == "2023-09"


def test_a_missing_wage_is_not_sudden_difficulty(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [150.0] * 12, wage_income=1000.0, transfer_income=100.0, selfpay=300.0)
    records.loc[records["month"].eq("2023-09-01"), "wage_income"] = None
    events = pd.DataFrame({"household_id": ["001"], "kind": "illness", "onset_on": "2023-08-15"})
    assert outcome(tmp_path, records, events=events)["outcome"].tolist() == [0.0]


def test_a_cost_that_nobody_told_is_missing_never_zero(tmp_path: Path) -> None:
    """Told and small; never told; not told of a household that nothing struck; told until a month before the horizon."""
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002", "003", "004")], ignore_index=True)
    records["wage_income"], records["selfpay"] = 1000.0, 10.0
    household, later = records["household_id"], records["month"].gt("2023-06-01")
    records.loc[household.isin(["002", "003"]) & later, "selfpay"] = None
    records.loc[household.eq("004") & records["month"].eq("2023-12-01"), "wage_income"] = None
    events = pd.DataFrame({"household_id": ["001", "002", "003", "004"], "kind": "illness", "onset_on": "2023-05-15"})
    events["verified"] = [None, None, False, True]
    found = outcome(tmp_path / "one", records, Label(name="sudden_difficulty"), events=events).set_index("household_id")
    assert np.array_equal(found["outcome"], [0, np.nan, 0, np.nan], equal_nan=True)
    assert found["seen_until"].tolist() == [6, 0, 6, 5]
    assert outcome(tmp_path / "return", records, events=events)["outcome"].tolist() == [0.0] * 4  # whose income was observed


def test_the_label_asks_for_the_columns_it_counts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="guarantee_fail"):
        outcome(tmp_path, monthly("001", "2023-01", BEFORE), Label(name="guarantee_fail"))


def test_a_horizon_that_is_no_multiple_of_the_step_is_refused(tmp_path: Path) -> None:
    register = make_register(tmp_path, step_months=3, records=monthly("001", "2023-01", [150.0]))
    with pytest.raises(UsageError, match="every 3 months"):
        build_labels(register, [month_number("2023-01")], Label(horizon_months=4), AtRisk())


def test_at_the_horizon_only_that_period_counts(tmp_path: Path) -> None:
    records = pd.DataFrame(
        {
            "household_id": ["001"] * 3 + ["002"] * 2,
            "month": ["2023-01-01", "2023-04-01", "2023-07-01", "2023-01-01", "2023-07-01"],
            "welfare": [150, 90, 150, 150, 90],
            "line": 100,
        }
    )
    register = make_register(tmp_path, step_months=3, records=records)
    label = Label(name="below_line", horizon_months=6, when="at", assessments=1)
    found = build_labels(register, [month_number("2023-01")], label, AtRisk(seen_within_months=0))
    assert found["outcome"].tolist() == [0.0, 1.0]


def test_a_correction_decides_the_outcome_but_not_who_was_at_risk(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [*BEFORE, 90, 90, 150, 150, 150, 150, 150])
    records["known_at"] = pd.to_datetime(records["month"]) + pd.offsets.MonthEnd(0)
    fixed = records[records["month"].isin(["2023-06-01", "2023-07-01", "2023-08-01"])].copy()
    fixed["known_at"], fixed["welfare"] = pd.Timestamp("2024-01-31"), [90.0, 150.0, 150.0]
    found = outcome(tmp_path, pd.concat([records, fixed]))
    assert found["outcome"].tolist() == [0.0]


def costly(household_id: str, months: int = 8) -> pd.DataFrame:
    """Seven months of small cost and then, in August, cost of more than half of net income."""
    records = monthly(household_id, "2023-01", [150.0] * months, wage_income=1000.0, selfpay=10.0)
    records.loc[records["month"] >= "2023-08-01", "selfpay"] = 600.0
    return records


def test_an_event_found_untrue_makes_no_sudden_difficulty_from_then_on(tmp_path: Path) -> None:
    """Reported in August, found untrue in October: at risk as it was known on the day, outcomes as it was last known."""
    records = pd.concat([costly(h, 15) for h in ("001", "002")])
    events = pd.DataFrame({"household_id": ["001", "001", "002"], "kind": "illness", "onset_on": "2023-07-20"})
    events["known_at"], events["verified"] = ["2023-08-05", "2023-10-05", "2023-08-05"], [None, False, None]
    register = make_register(tmp_path, records=records, events=events)
    label = Label(name="sudden_difficulty", horizon_months=3)
    months = [month_number(m) for m in ("2023-06", "2023-09", "2023-10")]
    found = build_labels(register, months, label, AtRisk()).set_index(["household_id", "as_of"])["outcome"]
    assert found.to_dict() == {("001", "2023-06"): 0.0, ("002", "2023-06"): 1.0, ("001", "2023-10"): 0.0}


def test_a_spell_whose_end_was_told_later_is_open_until_then_and_no_longer(tmp_path: Path) -> None:
    spells = pd.DataFrame({"household_id": "001", "identified_on": "2023-02-01", "eliminated_on": [None, "2023-04-15"]})
    spells["known_at"] = ["2023-02-01", "2023-06-10"]
    register = make_register(tmp_path, records=monthly("001", "2023-01", [150.0] * 12), spells=spells)
    found = build_labels(register, [AS_OF - 1, AS_OF], Label(), AtRisk())
    assert found["as_of"].tolist() == ["2023-06"]


def test_entry_into_monitoring_is_known_from_the_first_day_it_was_told(tmp_path: Path) -> None:
    spells = pd.DataFrame({"household_id": "001", "identified_on": "2023-08-01", "eliminated_on": [None, "2023-11-15"]})
    spells["known_at"] = ["2023-08-10", "2023-12-10"]
    found = outcome(tmp_path, monthly("001", "2023-01", [150.0] * 12), Label(name="enter_monitoring"), spells=spells)
    assert found["outcome_known_at"].tolist() == [pd.Timestamp("2023-08-10")]


def test_entry_at_the_horizon_is_entry_in_that_period_alone(tmp_path: Path) -> None:
    spells = pd.DataFrame({"household_id": ["001", "002"], "identified_on": ["2023-08-01", "2023-09-30"]})
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002")])
    label = Label(name="enter_monitoring", horizon_months=3, when="at")
    assert outcome(tmp_path, records, label, spells=spells)["outcome"].tolist() == [0.0, 1.0]


def test_in_a_quarterly_panel_the_horizon_begins_after_the_as_of_day(tmp_path: Path) -> None:
    """As of the second quarter, one quarter ahead: entries of July to September, none of May, all of them told of."""
    days = {"001": "2023-05-20", "002": "2023-07-01", "003": "2023-09-30", "004": "2023-10-01"}
    spells = pd.DataFrame({"household_id": list(days), "identified_on": list(days.values())})
    spells["eliminated_on"] = ["2023-06-10", None, None, None]
    quarters = pd.DataFrame(
        {"month": ["2023-01-01", "2023-04-01", "2023-07-01", "2023-10-01"], "welfare": 150.0, "line": 100.0}
    )
    records = pd.concat([quarters.assign(household_id=h) for h in days])
    register = make_register(tmp_path, step_months=3, records=records, spells=spells)
    label = Label(name="enter_monitoring", horizon_months=3)
    found = build_labels(register, [month_number("2023-04")], label, AtRisk()).set_index("household_id")
    assert found["outcome"].to_dict() == {"001": 0.0, "002": 1.0, "003": 1.0, "004": 0.0}
    assert found["outcome_month"].dropna().tolist() == ["2023-07", "2023-07"]


def test_in_a_quarterly_panel_an_event_of_the_quarter_explains_its_cost(tmp_path: Path) -> None:
    """The event of August stands behind the cost of the third quarter; that of the September before is too old."""
    quarters = pd.DataFrame({"month": ["2023-01-01", "2023-04-01", "2023-07-01"], "welfare": 150.0, "line": 100.0})
    quarters = quarters.assign(wage_income=1000.0, selfpay=[10.0, 10.0, 600.0])
    records = pd.concat([quarters.assign(household_id=h) for h in ("001", "002")])
    events = pd.DataFrame({"household_id": ["001", "002"], "kind": "illness", "onset_on": ["2023-08-20", "2022-09-20"]})
    register = make_register(tmp_path, step_months=3, records=records, events=events)
    label = Label(name="sudden_difficulty", horizon_months=3)
    found = build_labels(register, [month_number("2023-04")], label, AtRisk())
    assert found["outcome"].tolist() == [1.0, 0.0]


def test_an_outcome_is_known_from_the_first_of_its_causes_and_its_refusal_from_the_last(tmp_path: Path) -> None:
    """A guarantee that failed tells August at once; a month below the line that is none is told by the month after it."""
    records = monthly("001", "2023-01", [*BEFORE, 150, 90, 90, 150, 150, 150, 150], housing_ok=True)
    records.loc[records["month"] == "2023-08-01", "housing_ok"] = False
    found = outcome(tmp_path / "both", records, Label(name="return"))
    assert (found["outcome"].tolist(), found["outcome_known_at"].tolist()) == ([1.0], [pd.Timestamp("2023-08-31")])
    records = monthly("001", "2023-01", [*BEFORE, 150, 150, 150, 150, 150, 90, 150])
    records["known_at"] = pd.to_datetime(records["month"]) + pd.offsets.MonthEnd(1)
    records.loc[records["month"] == "2024-01-01", "known_at"] = pd.Timestamp("2024-05-02")
    found = outcome(tmp_path / "none", records)
    assert (found["outcome"].tolist(), found["outcome_known_at"].tolist()) == ([0.0], [pd.Timestamp("2024-05-02")])


def test_a_month_below_the_line_tells_nothing_of_a_guarantee(tmp_path: Path) -> None:
    """Below in December, which the month after refutes, told in May: that no guarantee failed was known in December."""
    records = monthly("001", "2023-01", [*BEFORE, 150, 150, 150, 150, 150, 90, 150])
    records["housing_ok"] = pd.array([True] * len(records), dtype="boolean")
    records["known_at"] = pd.to_datetime(records["month"]) + pd.offsets.MonthEnd(1)
    records.loc[records["month"] == "2024-01-01", "known_at"] = pd.Timestamp("2024-05-02")
    found = outcome(tmp_path, records, Label(name="guarantee_fail"))
    assert (found["outcome"].tolist(), found["outcome_known_at"].tolist()) == ([0.0], [pd.Timestamp("2023-12-31")])


def test_return_and_fall_are_told_apart(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in ("001", "002")])
    households = pd.DataFrame({"household_id": ["001", "002"], "household_type": ["lifted", "ordinary"]})
    assert outcome(tmp_path, records, households=households)["fell_as"].tolist() == ["return", "fall"]


def test_censoring_weights_make_up_for_the_lost(tmp_path: Path) -> None:
    lost = [monthly(f"1{i}", "2023-01", [*BEFORE, 150, 150]) for i in range(5)]
    kept = [monthly(f"2{i}", "2023-01", [150.0] * 13) for i in range(5)]
    found = outcome(tmp_path, pd.concat([*lost, *kept]))
    weight = censoring_weights(found, 6)
    assert weight[found["outcome"].isna()].eq(0).all()
    assert weight.sum() == pytest.approx(10)


def test_households_of_the_last_month_whose_records_have_not_come_are_made_up_for_by_those_of_that_month(
    tmp_path: Path,
) -> None:
    """Of ten households of the later month one fell at once, and of four of the rest the last records have not come."""
    falls = monthly("fell", "2023-01", [*[150.0] * 16, *[50.0] * 6])
    late = [monthly(f"1{i}", "2023-01", [150.0] * 20) for i in range(4)]
    in_time = [monthly(f"2{i}", "2023-01", [150.0] * 22) for i in range(5)]
    register = make_register(tmp_path / "register", records=pd.concat([falls, *late, *in_time]))
    found = build_labels(register, [month_number("2024-01"), month_number("2024-04")], Label(), AtRisk())
    assert found.groupby("as_of")["outcome"].count().to_dict() == {"2024-01": 10, "2024-04": 6}
    weight = censoring_weights(found, 6).groupby([found["as_of"], found["outcome"]]).agg(["min", "max"])
    assert weight.loc[("2024-01", 0.0)].tolist() == weight.loc[("2024-01", 1.0)].tolist() == [1, 1]
    assert weight.loc[("2024-04", 1.0)].tolist() == [1, 1]
    assert weight.loc[("2024-04", 0.0)].tolist() == pytest.approx([9 / 5, 9 / 5])


@pytest.mark.parametrize(("month", "weights"), [("2024-01", [1, 0, 3 / 2, 3 / 2]), (None, [4 / 3, 0, 4 / 3, 4 / 3])])
def test_a_fall_stands_for_those_lost_before_it_and_one_without_a_month_for_all(month: str | None, weights: list) -> None:
    """As of October one fell after three months, over the turn of the year, one was lost after four, two were seen."""
    labels = pd.DataFrame({"as_of": "2023-10", "outcome": [1, np.nan, 0, 0], "seen_until": [6, 4, 6, 6]})
    labels["outcome_month"] = [month, None, None, None]
    assert censoring_weights(labels, 6).tolist() == pytest.approx(weights)


def test_an_outcome_known_after_a_day_counts_as_missing_on_that_day(tmp_path: Path) -> None:
    steady = pd.concat([monthly(f"{i}", "2023-01", [150.0] * 13) for i in range(5)])
    steady["known_at"] = pd.to_datetime(steady["month"]) + pd.offsets.MonthEnd(1)
    slow = steady["household_id"].isin(["0", "1"]) & steady["month"].ge("2023-08-01")
    steady.loc[slow, "known_at"] = pd.Timestamp("2024-05-02")
    found = build_labels(make_register(tmp_path / "register", records=steady), [month_number("2023-02")], Label(), AtRisk())
    assert censoring_weights(found, 6).tolist() == [1] * 5
    assert censoring_weights(found, 6, dt.date(2024, 5, 1)).tolist() == pytest.approx([0, 0, 5 / 3, 5 / 3, 5 / 3])


def test_a_record_without_income_at_the_horizon_is_no_proof_that_nobody_fell(tmp_path: Path) -> None:
    steady = monthly("steady", "2023-01", [150.0] * 8)
    silent = monthly("silent", "2023-01", [150.0] * 8)
    silent.loc[silent["month"] == "2023-08-01", "welfare"] = None
    register = make_register(tmp_path / "register", records=pd.concat([steady, silent]))
    found = build_labels(register, [month_number("2023-02")], Label(), AtRisk()).set_index("household_id")
    assert found.loc["steady", "outcome"] == 0
    assert np.isnan(found.loc["silent", "outcome"])
    assert found.loc["silent", "seen_until"] == 5


def test_a_household_missed_at_the_horizon_and_seen_after_it_was_lost(tmp_path: Path) -> None:
    seen = [monthly(f"1{i}", "2023-01", [150.0] * 13) for i in range(5)]
    missed = [monthly(f"2{i}", "2023-01", [*[150.0] * 11, None, 150]) for i in range(5)]
    found = outcome(tmp_path, pd.concat([*seen, *missed]), Label(name="below_line", when="at", assessments=1))
    assert found["outcome"].notna().sum() == 5
    assert censoring_weights(found, 6).sum() == pytest.approx(10)
