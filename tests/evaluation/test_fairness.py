"""The bias audit finds what was planted, stays silent on small groups, and raises the alarm of the safeguards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.errors import UsageError
from riskmodel.evaluation.fairness import audit, audit_groups, audit_over_time
from riskmodel.settings import Intervals

FEW = Intervals(replicates=40)


def county(n: int = 3000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A register of which a tenth falls; the list misses half of the women who fall and judges them more often."""
    generator = np.random.default_rng(seed)
    female = generator.random(n) < 0.4
    risk = generator.beta(1, 6, n)
    outcome = (generator.random(n) < risk).astype(float)
    listed = (risk > 0.25) & ~(female & (generator.random(n) < 0.5))
    subjective = generator.random(n) < np.where(female, 0.3, 0.1)
    verdict = pd.Series(np.where(subjective, "subjective", "objective"), dtype=object).where(listed)
    rows = pd.DataFrame(
        {
            "household_id": [f"h{i // 2}" for i in range(n)],
            "as_of": np.where(np.arange(n) < n // 2, "2023-01", "2023-07"),
            "outcome": outcome,
            "risk": risk,
            "listed": listed,
            "verdict": verdict,
        }
    )
    return rows, pd.DataFrame({"head_sex": np.where(female, "female", "male")})


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_measures_equal_counts_by_hand(seed: int) -> None:
    rows, groups = county(400, seed)
    table = audit(rows, groups, Intervals(replicates=20), 1, fewest_households=1, fewest_events=1).table
    for sex in ("female", "male"):
        own = rows[(groups["head_sex"] == sex).to_numpy()]
        fell, listed = own[own["outcome"] == 1], own[own["listed"]]
        expected = {
            "selection_rate": len(listed) / len(own),
            "recall": fell["listed"].mean(),
            "precision": listed["outcome"].mean(),
            "observed_over_expected": own["outcome"].sum() / own["risk"].sum(),
            "subjective_share": (listed["verdict"] == "subjective").mean(),
        }
        found = table[table["group"] == sex].set_index("measure")["value"]
        for measure, value in expected.items():
            assert found[measure] == pytest.approx(value, abs=1e-12), measure


def test_intervals_equal_a_loop_that_repeats_the_households() -> None:
    rows, groups = county(600)
    table = audit(rows, groups, Intervals(replicates=20), 4, fewest_households=1, fewest_events=1).table
    by_household = rows.assign(sex=groups["head_sex"]).groupby("household_id").indices
    ids = sorted(by_household)
    generator, drawn = np.random.default_rng(4), []
    for _ in range(20):
        taken = rows.iloc[np.concatenate([by_household[ids[h]] for h in generator.integers(0, len(ids), len(ids))])]
        women = taken[groups.loc[taken.index, "head_sex"] == "female"]
        drawn.append(women.loc[women["outcome"] == 1, "listed"].mean())
    found = table[(table["group"] == "female") & (table["measure"] == "recall")].iloc[0]
    assert (found["low"], found["high"]) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1e-12)


@pytest.mark.parametrize("listed", [False, True])
def test_a_group_of_whom_nobody_or_everybody_is_listed_has_an_interval_by_its_households(listed: bool) -> None:
    """300 households a group, twice each: of none or all of 300 Wilson's interval holds 1.26 % of the other kind."""
    rows = pd.DataFrame({"household_id": [f"h{i % 600}" for i in range(1200)], "listed": np.arange(1200) % 2 == 0})
    groups = pd.DataFrame({"head_sex": np.where(np.arange(1200) % 600 < 300, "female", "male")})
    rows.loc[groups["head_sex"] == "female", "listed"] = listed
    found = audit(rows, groups, FEW, 1).table.set_index(["group", "measure"]).loc[("female", "selection_rate")]
    ends = (1 - 0.0126, 1.0) if listed else (0.0, 0.0126)
    assert (found["low"], found["high"]) == pytest.approx(ends, abs=1e-4)


def test_women_whom_the_list_misses_are_found() -> None:
    found = audit(*county(), FEW, 1)
    recall = found.spread.set_index("measure").loc["recall"]
    assert (recall["lowest"], recall["highest"]) == ("female", "male")
    assert recall["low"] > 1.3
    women = found.table.query("group == 'female' and measure == 'recall'").iloc[0]
    assert women["of_best"] < 0.8
    assert women["of_overall"] < 1


def test_the_alarm_sounds_for_subjective_verdicts_alone() -> None:
    found = audit(*county(), FEW, 1)
    assert found.alarms["measure"].tolist() == ["subjective_share"]
    assert found.alarms["highest"].tolist() == ["female"]
    assert found.alarms["ratio"].iloc[0] > 1.25


def test_no_alarm_where_all_are_judged_alike() -> None:
    rows, groups = county()
    place = rows[rows["listed"]].groupby(groups["head_sex"]).cumcount()
    rows["verdict"] = place.mod(4).eq(0).map({True: "subjective", False: "objective"})
    assert not len(audit(rows, groups, FEW, 1).alarms)


def test_one_group_never_judged_subjective_against_another_raises_the_alarm() -> None:
    rows, groups = county()
    rows.loc[groups["head_sex"] == "male", "verdict"] = rows["verdict"].replace("subjective", "objective")
    alarm = audit(rows, groups, FEW, 1).alarms.iloc[0]
    assert np.isinf(alarm["ratio"])


@pytest.mark.parametrize(("households", "events", "estimable"), [(199, 25, False), (200, 19, False), (200, 20, True)])
def test_a_group_below_200_households_or_20_events_is_not_estimable(households: int, events: int, estimable: bool) -> None:
    n = 600
    rows = pd.DataFrame({"household_id": [f"h{i}" for i in range(n)], "risk": 0.1, "listed": True})
    small = np.arange(n) < households
    rows["outcome"] = (np.where(small, np.arange(n), np.arange(n) - households) < events).astype(float)
    table = audit(rows, pd.DataFrame({"remote": np.where(small, "yes", "no")}), FEW, 1).table
    own = table[(table["group"] == "yes")]
    assert own["estimable"].all() == own["estimable"].any() == estimable
    assert own[["value", "low", "high", "of_best"]].notna().to_numpy().any() == estimable


def test_a_household_seen_often_counts_once_against_the_guard() -> None:
    rows, groups = county(3000)
    rows["household_id"] = [f"h{i % 150}" for i in range(len(rows))]
    assert not audit(rows, groups, FEW, 1).table["estimable"].any()


def test_a_share_of_three_verdicts_is_not_estimable() -> None:
    rows, groups = county()
    women = np.flatnonzero((groups["head_sex"] == "female") & rows["listed"])
    rows.loc[rows.index[women[3:]], "verdict"] = None
    found = audit(rows, groups, FEW, 1)
    assert found.table.query("group == 'female' and measure == 'subjective_share'")["value"].isna().all()
    assert not len(found.alarms)


def test_this_months_alerts_are_audited_without_outcomes() -> None:
    rows, groups = county()
    found = audit(rows.drop(columns=["outcome", "risk"]), groups, FEW, 1)
    assert set(found.table["measure"]) == {"selection_rate", "subjective_share"}
    assert len(found.alarms) == 1


def test_each_month_is_audited_alone() -> None:
    rows, groups = county()
    found = audit_over_time(rows, groups, FEW, 1, fewest_events=10)
    second = (rows["as_of"] == "2023-07").to_numpy()
    alone = audit(rows[second], groups[second], FEW, 1, fewest_events=10)
    of_july = found.table[found.table["as_of"] == "2023-07"].drop(columns="as_of").reset_index(drop=True)
    pd.testing.assert_frame_equal(of_july, alone.table)
    assert found.spread.columns[0] == "as_of"


def test_groups_are_those_that_the_register_holds() -> None:
    frame = pd.DataFrame(
        {
            "head_sex": ["female", None],
            "head_ethnic_minority": pd.array([True, None], dtype="boolean"),
            "head_age": [59.0, np.nan],
            "disabled_now": np.array([1, np.nan], dtype="float32"),
            "income": [1.0, 2.0],
        },
        index=[7, 9],
    )
    found = audit_groups(frame)
    assert found.loc[7].to_dict() == {
        "head_sex": "female",
        "head_ethnic_minority": "yes",
        "head_age": "45-59",
        "disabled_member": "yes",
    }
    assert set(found.loc[9]) == {"unknown"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r, g: (r.drop(columns="listed"), g), "listed"),
        (lambda r, g: (r, g[[]]), "no audit column"),
        (lambda r, g: (r, g.iloc[::-1]), "same index"),
        (lambda r, g: (r.assign(outcome=np.nan), g), "known outcomes"),
    ],
)
def test_an_audit_that_cannot_be_made_says_why(change: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        audit(*change(*county(50)), FEW, 1)


@pytest.mark.parametrize(("called", "alarm"), [("yes", True), ("no", False)])
def test_those_whom_the_rules_protect_raise_the_alarm_only_if_called_more_often(called: str, alarm: bool) -> None:
    rows, groups = county()
    disabled = np.where(groups["head_sex"] == "female", called, "no" if called == "yes" else "yes")
    found = audit(rows, pd.DataFrame({"disabled_member": disabled}), FEW, 1).spread.set_index("measure")
    assert found.loc["subjective_share", "ratio"] > 1.25
    assert bool(found.loc["subjective_share", "alarm"]) is alarm


def test_a_village_that_is_struck_as_a_whole_widens_the_intervals() -> None:
    """Forty villages of which whole ones fall: households drawn one by one would make as if these had been chance."""
    rows, groups = county(4000)
    village = np.arange(4000) // 100
    struck = np.random.default_rng(3).random(40)[village] < 0.2
    rows = rows.assign(household_id=[f"h{i}" for i in range(4000)], outcome=struck.astype(float), listed=rows["risk"] > 0.2)
    apart = audit(rows, groups, FEW, 1).table
    together = audit(rows.assign(village_id=village), groups, FEW, 1).table
    width = [(t["high"] - t["low"])[t["measure"] == "precision"].iloc[0] for t in (apart, together)]
    assert width[1] > 2 * width[0]


def test_a_ratio_has_no_upper_end_where_resamples_hold_nobody_in_the_lower_group() -> None:
    """One man of forty is called subjective: drawn again he is often missing, and those draws are not forgotten."""
    n = 440
    female = np.arange(n) < 400
    verdict = np.where(female, np.where(np.arange(n) % 4 == 0, "subjective", "objective"), "objective").astype(object)
    verdict[-1] = "subjective"
    rows = pd.DataFrame({"household_id": [f"h{i}" for i in range(n)], "listed": True, "verdict": verdict})
    groups = pd.DataFrame({"head_sex": np.where(female, "female", "male")})
    spread = audit(rows, groups, Intervals(replicates=200), 1, fewest_households=20).spread
    row = spread.set_index("measure").loc["subjective_share"]
    assert row["ratio"] == pytest.approx(10)
    assert row["low"] > 1 and row["high"] == np.inf
