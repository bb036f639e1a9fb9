"""Agreement of reviewers with each other and the model, what the sight of a proposal does, which overrides were right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import cohen_kappa_score

from riskmodel.explain.causes import VERDICTS
from riskmodel.review.agreement import agreement_figures, anchoring, between_reviewers, share_interval, with_model
from riskmodel.review.decisions import Decisions, in_blind_half
from riskmodel.review.outcomes import outcomes_of, oversight
from riskmodel.review.rules import load_rules
from riskmodel.settings import AtRisk, Label
from tests.cohort.registers import make_register, monthly
from tests.review.month import decision
from tests.review.test_standing import table

_RATINGS = st.lists(
    st.tuples(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS), st.integers(1, 3)), min_size=1, max_size=30
)


def ac1_by_pairs(first: list[str], second: list[str], categories: tuple[str, ...]) -> float:
    """AC1 written out over categories (Gwet 2008, equations 5 and 6)."""
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    shares = [(first.count(c) + second.count(c)) / (2 * n) for c in categories]
    chance = sum(p * (1 - p) for p in shares) / (len(categories) - 1)
    return (observed - chance) / (1 - chance)


@settings(max_examples=25)
@given(_RATINGS)
def test_kappa_and_ac1_are_those_of_their_papers_and_weights_are_repeated_cases(ratings: list[tuple[str, str, int]]) -> None:
    weighted = agreement_figures(
        [a for a, _, _ in ratings], [b for _, b, _ in ratings], VERDICTS, np.array([float(n) for _, _, n in ratings])
    )
    first, second = ([row[i] for row in ratings for _ in range(row[2])] for i in (0, 1))
    plain = agreement_figures(first, second, VERDICTS)
    assert plain == pytest.approx(weighted, nan_ok=True)
    assert plain["ac1"] == pytest.approx(ac1_by_pairs(first, second, VERDICTS))
    if len({*first, *second}) > 1:
        assert plain["kappa"] == pytest.approx(cohen_kappa_score(first, second, labels=list(VERDICTS)))


def test_where_nearly_all_is_objective_kappa_falls_and_ac1_does_not() -> None:
    first, second = ["objective"] * 97 + ["mixed"] * 3, ["objective"] * 94 + ["mixed"] * 3 + ["objective"] * 3
    found = agreement_figures(first, second, VERDICTS)
    assert found["agreement"] == 0.94 and found["kappa"] < 0 and found["ac1"] > 0.9


def reviewed(households: int, anchored: float, seed: int = 1) -> pd.DataFrame:
    """Reviewers who find the cause wrong in a third of cases; when they see a proposal they follow it so often anyway."""
    generator = np.random.default_rng(seed)
    rows = []
    for n in range(households):
        hidden = in_blind_half("2024-06", "k", str(n))
        differs = generator.random() < 1 / 3 and (hidden or generator.random() > anchored)
        rows.append((str(n), "Li", "mixed" if differs else "objective"))
    found = table(*rows)
    return found.assign(hidden=[in_blind_half("2024-06", "k", h) for h in found["household_id"]])


def test_anchoring_is_found_where_there_is_some_and_only_there() -> None:
    free, anchored = anchoring(reviewed(500, 0.0)), anchoring(reviewed(500, 0.9))
    assert free["shown"] + free["hidden"] == 500
    assert free["difference"]["agreement"]["low"] < 0 < free["difference"]["agreement"]["high"]
    assert anchored["difference"]["agreement"]["low"] > 0.15
    assert anchoring(table(("h", "Li", "mixed"))) == {"shown": 0, "hidden": 0, "difference": None}


def test_two_reviewers_are_held_against_each_other_by_their_first_views() -> None:
    decided = [(str(n), "Li", "objective") for n in range(20)] + [(str(n), "Wang", "objective") for n in range(15)]
    decided += [("15", "Wang", "rejected"), ("15", "Wang", "objective"), ("0", "Zhao", "mixed"), ("16", "Wang", "deferred")]
    found = between_reviewers(table(*decided))
    assert found["alerts"] == 16 and found["agreement"]["value"] == 15 / 16
    assert found["agreement"]["low"] < 15 / 16 < found["agreement"]["high"] < 1


def test_rejected_alerts_say_nothing_of_the_cause() -> None:
    found = with_model(
        table(("1", "Li", "objective"), ("2", "Li", "rejected"), ("3", "Li", "mixed"), ("3", "Li", "objective"))
    )
    assert found["alerts"] == 2 and found["agreement"]["value"] == 0.5


def test_oversight_counts_what_was_decided_and_is_json() -> None:
    decided = table(
        ("1", "Li", "subjective"), ("1", "Wang", "objective"), ("1", "Zhao", "objective"),
        ("2", "Li", "mixed"), ("2", "Wang", "mixed"),
        ("3", "Li", "rejected"), ("4", "Li", "objective"), ("4", "Wang", "objective"), ("5", "Li", "deferred"),
    )  # fmt: skip
    outcomes = pd.DataFrame({
        "as_of": "2024-06", "county_id": "k", "household_id": ["1", "2", "3", "4", "5"],
        "outcome": [1.0, 0.0, 1.0, np.nan, 0.0],
    })  # fmt: skip
    found = oversight(decided, load_rules(), outcomes)
    assert (found["decisions"], found["alerts"], found["reviewers"]) == (9, 5, 3)
    assert found["actions"] == {"confirm": 2, "override_cause": 1, "reject": 1, "defer": 1}
    assert found["status"] == {"agreed": 2, "decided": 1, "deferred": 1, "differs": 1}
    assert found["overridden"]["value"] == 0.5 and found["rejected"]["value"] == 0.25
    assert found["adjudicated"]["causes"] == {"mixed": 1, "objective": 2}
    # household 1: called subjective by the first, objective by two others
    assert found["false_subjective"]["alerts"] == 2 and found["false_subjective"]["reviewers"]["value"] == 0.5
    assert found["false_subjective"]["model"]["value"] == 0
    assert found["regret"]["cause"]["alerts"] == 2 and found["regret"]["cause"]["wrong"]["value"] == 0.5
    assert found["regret"]["return"]["rejected_alerts"] == 1 and found["regret"]["return"]["rejected_returned"]["value"] == 1
    assert found["regret"]["return"]["kept_alerts"] == 2 and found["regret"]["return"]["kept_returned"]["value"] == 0.5
    assert found["regret"]["return"]["not_known_yet"] == 1
    text = json.dumps(found)
    assert "Wang" not in text and "NaN" not in text  # no reviewer is named


def test_no_case_among_few_is_no_proof_of_none() -> None:
    few = share_interval(pd.Series([False] * 10), pd.Series(list("abcdefghij")))
    assert (few.value, few.low) == (0, 0) and few.high == pytest.approx(1 - 0.025 ** (1 / 10))
    same = share_interval(pd.Series([True] * 10), pd.Series(["a"] * 10))  # one household is one case
    assert (same.value, same.high) == (1, 1) and same.low == pytest.approx(0.025)


def test_one_case_that_agrees_is_no_proof_that_reviewers_agree() -> None:
    alone = with_model(table(("1", "Li", "objective")))
    assert alone["ac1"] == alone["agreement"] and alone["ac1"]["low"] == pytest.approx(0.025)
    many = with_model(table(*((str(n), "Li", "objective") for n in range(50))))
    assert many["ac1"]["value"] == 1 and many["ac1"]["low"] == pytest.approx(0.025 ** (1 / 50))


def test_oversight_of_nothing_is_told_too(tmp_path: Path) -> None:
    found = oversight(Decisions.open(tmp_path / "decisions.db").table(), load_rules())
    assert found["decisions"] == 0 and found["with_model"]["agreement"] is None and found["overridden"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_a_rejected_household_that_fell_is_a_regret_once_the_register_knows(tmp_path: Path) -> None:
    """A falls in August; B stays above the line; of C nothing is known after the summer."""
    fell, secure, lost = [150.0] * 8 + [50.0] * 7, [150.0] * 15, [150.0] * 9
    records = pd.concat(
        [monthly(h, "2024-01", welfare) for h, welfare in (("A", fell), ("B", secure), ("C", lost))], ignore_index=True
    )
    register = make_register(tmp_path / "register", records=records)
    [county] = register.counties
    store = Decisions.open(tmp_path / "decisions.db")
    for household in "ABC":
        reject = {"action": "reject", "reason": "income_secure", "note": "sold a cow"}
        store.record(decision(household, county_id=county, **reject))
    store.record(decision("D", county_id="elsewhere"))
    outcomes = outcomes_of(register, store.table(), Label(name="below_line"), AtRisk())
    by_household = outcomes.set_index("household_id")["outcome"]
    assert by_household["A"] == 1 and by_household["B"] == 0 and by_household[["C", "D"]].isna().all()
    regret = oversight(store.table(), store.rules, outcomes)["regret"]["return"]
    assert regret["rejected_alerts"] == 2 and regret["rejected_returned"]["value"] == 0.5
    assert regret["not_known_yet"] == 2 and regret["kept_alerts"] == 0


def test_before_the_horizon_of_an_alert_has_passed_no_rejected_household_is_a_regret(tmp_path: Path) -> None:
    """The books of one county end in August; A fell in July, B and C have not, and nobody knows yet whether they will. Of
    the other county all is known, and of a third nobody is at risk."""
    records = {"A": [150.0] * 6 + [50.0] * 2, "B": [150.0] * 8, "C": [150.0] * 8, "D": [150.0] * 15, "E": [50.0] * 15}
    homes = pd.DataFrame({"household_id": list(records), "county_id": ["late"] * 3 + ["told", "poor"]})
    register = make_register(
        tmp_path / "register",
        records=pd.concat([monthly(h, "2024-01", welfare) for h, welfare in records.items()], ignore_index=True),
        households=homes,
    )
    store = Decisions.open(tmp_path / "decisions.db")
    for household, county in homes.itertuples(index=False):
        store.record(decision(household, county_id=county, action="reject", reason="income_secure", note="sold a cow"))
    outcomes = outcomes_of(register, store.table(), Label(name="below_line"), AtRisk())
    regret = oversight(store.table(), store.rules, outcomes)["regret"]["return"]
    assert (regret["rejected_alerts"], regret["not_known_yet"]) == (1, 4)
    assert regret["rejected_returned"]["value"] == 0


def test_one_falsely_called_subjective_bounds_the_rate_no_closer_than_none_does() -> None:
    households = pd.Series([str(n) for n in range(28)])
    none, one = (share_interval(pd.Series(range(28)) < few, households) for few in (0, 1))
    assert one.high > none.high
    assert (one.low, one.high) == pytest.approx((beta.ppf(0.025, 1, 28), beta.ppf(0.975, 2, 27)))
    twice = pd.concat([households, households])
    again = share_interval(pd.concat([pd.Series(range(28)) < 1] * 2), twice)
    assert (again.low, again.high) == pytest.approx((one.low, one.high)), "the same household twice is one case"


def test_the_interval_of_a_rare_share_holds_it_where_households_have_two_alerts() -> None:
    generator, held = np.random.default_rng(1), []
    households = pd.Series(np.repeat([str(n) for n in range(30)], 2))
    for _ in range(300):
        drawn = np.where(generator.random(60) < 0.5, np.repeat(generator.random(30), 2), generator.random(60))
        found = share_interval(pd.Series(drawn < 0.06), households)
        held.append(found.low <= 0.06 <= found.high)
    assert np.mean(held) >= 0.94
