"""What the verdict may say of a household, and what it may never say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.conditions import words
from riskmodel.explain.causes import blind_spots, judge_causes, missing_drivers

CATALOGUE = load_catalogue()
DRIVERS = [d.name for d in CATALOGUE.drivers]

# An able household that works a third of the days and leaves most of its land idle, found so at three visits; peers
# do neither, nor would they with one able member less. Nothing else is on record.
IDLE = {
    "able_now": 2.0, "able_known": 2.0, "able_lately": 2.0, "working_age_now": 2.0, "children_now": 1.0,
    "elderly_now": 0.0, "hh_size_now": 3.0, "carers_now": 0.0, "months_since_family_loss": 36.0,
    "months_since_death": 36.0, "able_change_12m": 0.0, "dependants_share": 0.33, "suitable_offers_12m": 2.0,
    "days_available_12m": 40.0, "refused_no_reason_12m": 0.0, "refused_reason_unknown_12m": 0.0,
    "refused_for_burden_12m": 0.0, "months_low_work_12m": 8.0, "months_not_taken_up_12m": 8.0,
    "visits_not_taken_up_span": 6.0, "months_since_taken_up": 9.0,
    "carers_12m": 0.0, "under6_rise_12m": 0.0, "work_intensity_now": 0.33,
    "land_idle_share": 0.8, "land_idle_now": 0.8, "months_land_idle_12m": 8.0, "record_age": 0.0, "visit_age": 1.0,
    "months_since_illness": 36.0, "major_illness_now": 0.0, "major_illness_12m": 0.0, "selfpay_burden": 0.01,
    "selfpay_now": 30.0, "line_now": 1000.0,
    "selfpay_rise_6m": 0.0, "months_since_disability": 36.0, "disabled_now": 0.0, "disabled_rise_12m": 0.0,
    "months_since_accident": 36.0, "months_since_disaster": 36.0, "months_since_house_damage": 36.0,
    "months_since_water_failure": 36.0, "months_since_job_loss": 36.0, "unemployed_now": 0.0, "unemployed_12m": 0.0,
    "working_change": 0.0, "formal_change": 0.0, "months_since_market": 36.0, "price_change_12m": 0.0,
    "months_since_project_stopped": 36.0, "months_since_schooling_cost": 36.0, "higher_students_now": 0.0,
    "schooling_burden": 0.0, "skilled_share": 0.3, "schooling_years": 9.0, "minutes_to_county": 20.0,
    "village_below_share": 0.02, "ended_6m": 0.0, "active_measures": 0.0, "uninsured_share": 0.0, "transfer_share": 0.1,
    "months_since_relocation": 36.0, "destitute_now": 0.0, "appeal_now": 0.0,
}  # fmt: skip
PEERS = {"work_low": 0.7, "work_low_one_less": 0.45, "land_idle": 0.1, "land_idle_one_less": 0.3}


def verdict(features: dict[str, float | None], peers: dict[str, float] | None = None, **pushes: float) -> pd.Series:
    drivers = pd.DataFrame([{d: pushes.get(d, 0.0) for d in DRIVERS}])
    bounds = pd.DataFrame([PEERS if peers is None else peers])
    return judge_causes(CATALOGUE, drivers, pd.DataFrame([features]), bounds).verdicts.iloc[0]


def test_the_reference_household_gives_a_clue_to_be_verified() -> None:
    found = verdict(IDLE, work=1.0, level=0.5)
    assert found["verdict"] == "subjective"
    assert found["subjective_share"] == pytest.approx(1 / 1.5)
    assert found["signs"] == found["strong_signs"] == "work_low, land_idle"
    assert found["failed_gates"] == found["excuses"] == found["protected"] == found["unchecked"] == ""


@pytest.mark.parametrize(
    ("peers", "signs", "strong"),
    [
        ({**PEERS, "land_idle": 0.9, "land_idle_one_less": 0.95}, "work_low", "work_low"),
        ({**PEERS, "land_idle_one_less": 0.9, "work_low_one_less": 0.2}, "work_low, land_idle", ""),
        ({**PEERS, "land_idle_one_less": np.nan, "work_low_one_less": np.nan}, "work_low, land_idle", ""),
        ({}, "", ""),
    ],
    ids=["one sign", "one able member less would explain both", "not known with one member less", "no peers"],
)
def test_two_signs_are_needed_and_one_that_no_unrecorded_illness_explains(peers: dict, signs: str, strong: str) -> None:
    found = verdict(IDLE, peers, work=2.0, land=1.0)
    assert (found["signs"], found["strong_signs"]) == (signs, strong)
    assert found["verdict"] != "subjective"
    assert found["subjective_share"] == 0


def test_a_behaviour_that_does_not_move_the_risk_is_no_cause() -> None:
    drivers = pd.DataFrame([{d: {"work": 1.0}.get(d, 0.0) for d in DRIVERS}] * 2)
    features, bounds = pd.DataFrame([IDLE] * 2), pd.DataFrame([PEERS] * 2)
    effect = np.array([1.0, CATALOGUE.rule.effect - 0.01])
    found = judge_causes(CATALOGUE, drivers, features, bounds, effect).verdicts["verdict"]
    assert list(found) == ["subjective", "undetermined"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"able_known": 0.0}, "no_able_labour"),
        ({"children_now": 3.0}, "only_old_and_young"),
        ({"carers_now": 1.0, "able_known": 1.0}, "sole_carer"),
        ({"months_since_death": 5.0}, "recent_death"),
        ({"months_since_disaster": 11.0}, "recent_disaster"),
        ({"major_illness_12m": 1.0}, "major_illness"),
        ({"destitute_now": 1.0}, "destitute"),
        ({"appeal_now": 1.0}, "appeal"),
        ({"opted_out": True}, "opted_out"),
    ],
)
def test_a_protected_household_is_never_subjective(change: dict, why: str) -> None:
    found = verdict({**IDLE, **change}, work=5.0, land=5.0, refusal=5.0)
    assert why in found["protected"]
    assert found["verdict"] != "subjective"
    assert found["subjective_share"] == 0


def test_who_has_no_able_member_is_not_said_to_be_old_or_young_where_the_books_hold_no_ages() -> None:
    no_ages = {name: np.nan for name in ("children_now", "elderly_now")}
    found = verdict({**IDLE, **no_ages, "able_known": 0.0}, work=5.0)
    assert found["protected"] == "no_able_labour" and "only_old_and_young" in found["unchecked"]
    assert "only_old_and_young" not in verdict({**IDLE, **no_ages}, work=5.0)["unchecked"], "an able member is neither"


def test_no_word_of_blame_reaches_a_household_that_is_not_judged() -> None:
    """The subjective parts move, to the excusing driver or to `activity`; the sum stays."""
    drivers = pd.DataFrame([{d: {"work": 2.0, "land": 1.0, "level": 0.5}.get(d, 0.0) for d in DRIVERS}])
    for change, goes_to in (({"able_known": 0.0}, "activity"), ({"months_since_illness": 2.0}, "illness")):
        features = pd.DataFrame([{**IDLE, **change}])
        moved = judge_causes(CATALOGUE, drivers, features, pd.DataFrame([PEERS])).drivers.iloc[0]
        assert moved[["work", "land", "refusal"]].eq(0).all()
        assert moved[goes_to] == 3.0
        assert moved.sum() == pytest.approx(3.5)
    kept = judge_causes(CATALOGUE, drivers, pd.DataFrame([IDLE]), pd.DataFrame([PEERS])).drivers.iloc[0]
    assert kept["work"] == 2.0


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"suitable_offers_12m": 0.0, "days_available_12m": 5.0}, "offer"),
        ({"months_not_taken_up_12m": 5.0, "visits_not_taken_up_span": 2.0, "months_since_taken_up": 5.0}, "repeated"),
        ({"months_not_taken_up_12m": 2.0, "visits_not_taken_up_span": 2.0}, "repeated"),
        ({"refused_reason_unknown_12m": 1.0}, "reason"),
        ({"work_intensity_now": 0.0}, "not_stopped"),
        ({"record_age": 4.0}, "fresh"),
        ({"visit_age": 4.0}, "fresh"),
    ],
)
def test_one_failed_gate_is_enough(change: dict, gate: str) -> None:
    found = verdict({**IDLE, **change}, work=2.0, refusal=1.0)
    assert found["failed_gates"] == gate
    assert found["verdict"] == "undetermined"


@pytest.mark.parametrize(
    "missing",
    ["able_known", "record_age", "visit_age", "refused_reason_unknown_12m", "refused_for_burden_12m",
     "months_since_illness", "months_since_family_loss"],
)  # fmt: skip
@pytest.mark.parametrize("how", ["null", "no column"])
def test_what_cannot_be_checked_counts_for_the_household(missing: str, how: str) -> None:
    features = {**IDLE, missing: np.nan} if how == "null" else {k: v for k, v in IDLE.items() if k != missing}
    assert verdict(features, work=5.0, refusal=5.0)["verdict"] != "subjective"


@pytest.mark.parametrize(("missing", "gate"), [("visit_age", "fresh"), ("refused_reason_unknown_12m", "reason")])
def test_a_gate_that_cannot_be_checked_is_told_as_one_that_does_not_hold(missing: str, gate: str) -> None:
    found = verdict({**IDLE, missing: np.nan}, work=2.0)
    assert found["failed_gates"] == gate
    assert (found["verdict"], found["verdict_confidence"]) == ("undetermined", 0.0)


def test_a_known_excuse_moves_the_contribution_and_leaves_the_signs_to_the_visit() -> None:
    found = verdict({**IDLE, "months_since_job_loss": 3.0}, work=1.0)
    assert (found["verdict"], found["excuses"], found["subjective_share"]) == ("undetermined", "job", 0)
    quiet = {**IDLE, "months_since_job_loss": 3.0, "work_intensity_now": 0.9, "land_idle_now": 0.05}
    assert verdict(quiet, work=1.0)["verdict"] == "objective"


def test_an_excuse_that_nobody_recorded_is_neither_named_nor_blamed() -> None:
    """It keeps the household from being judged, but no illness is made up for it."""
    drivers = pd.DataFrame([{d: {"work": 2.0}.get(d, 0.0) for d in DRIVERS}])
    features = pd.DataFrame([{**IDLE, "months_since_illness": np.nan}])
    found = judge_causes(CATALOGUE, drivers, features, pd.DataFrame([PEERS]))
    assert found.verdicts.iloc[0][["verdict", "excuses"]].tolist() == ["undetermined", ""]
    assert (found.drivers.iloc[0][["illness", "activity"]] == [0.0, 2.0]).all()


SCHOOLING = {"months_since_schooling_cost": 2.0}
ONE_SIGN = {**PEERS, "land_idle": 0.9, "land_idle_one_less": 0.95}


@pytest.mark.parametrize(
    ("change", "expected"),
    [({}, "undetermined"), ({"months_since_job_loss": 3.0}, "objective"), ({"destitute_now": 1.0}, "objective")],
    ids=["nothing explains it", "a lost job explains it", "destitute"],
)
def test_one_strong_sign_keeps_a_shock_from_being_the_whole_story_unless_something_explains_it(
    change: dict, expected: str
) -> None:
    found = verdict({**IDLE, **SCHOOLING, **change}, ONE_SIGN, schooling=1.0)
    assert (found["strong_signs"], found["verdict"]) == ("work_low", expected)
    assert found["unchecked"] == ""


def test_a_refusal_that_nobody_recorded_is_no_sign() -> None:
    unknown, known = (verdict({**IDLE, "refused_no_reason_12m": n}, ONE_SIGN, work=2.0) for n in (np.nan, 1.0))
    assert (unknown["signs"], unknown["verdict"]) == ("work_low", "undetermined")
    assert (known["signs"], known["verdict"]) == ("work_low, refused", "subjective")


def test_an_objective_cause_beside_a_weak_sign_is_told_with_less_confidence() -> None:
    weak = {**PEERS, "work_low_one_less": 0.2, "land_idle": 0.9, "land_idle_one_less": 0.95}
    quiet, doubted = (verdict({**IDLE, **SCHOOLING}, peers, schooling=1.0) for peers in ({}, weak))
    assert quiet["verdict"] == doubted["verdict"] == "objective" and doubted["signs"] == "work_low"
    sure, less_sure = (CATALOGUE.rule.right[case] for case in ("objective", "objective_with_a_sign"))
    assert (quiet["verdict_confidence"], doubted["verdict_confidence"]) == (sure, less_sure) and sure > less_sure


@pytest.mark.parametrize(
    ("pushes", "expected"),
    [
        ({"schooling": 1.0, "level": 1.0}, "objective"),
        ({"schooling": 0.5 * CATALOGUE.rule.enough_log_odds}, "undetermined"),
        ({"schooling": 1.0, "level": 2.0 / CATALOGUE.rule.enough_share}, "undetermined"),
    ],
    ids=["enough", "hardly any", "next to nothing of what raises the risk"],
)
def test_a_fact_that_hardly_raises_the_risk_is_no_cause(pushes: dict, expected: str) -> None:
    assert verdict({**IDLE, **SCHOOLING}, {}, **pushes)["verdict"] == expected


def test_a_model_without_a_driver_takes_what_is_moved_to_it() -> None:
    """No feature of background activity is in the model: what nobody may be blamed for still has a place to go."""
    less = [d for d in DRIVERS if d not in ("activity", "illness")]
    drivers = pd.DataFrame([{d: {"work": 2.0}.get(d, 0.0) for d in less}] * 2)
    features = pd.DataFrame([{**IDLE, "appeal_now": 1.0}, {**IDLE, "months_since_illness": 1.0}])
    moved = judge_causes(CATALOGUE, drivers, features, pd.DataFrame([PEERS] * 2)).drivers
    assert moved["activity"].tolist() == [2.0, 0.0] and moved["illness"].tolist() == [0.0, 2.0]


def test_a_register_is_blind_where_no_way_to_check_is_left() -> None:
    """Of an offer two columns tell, and either will do; an excuse needs all that it names, a protected case one."""

    def blind(*lacking: str) -> list[str]:
        return [condition.name for condition in blind_spots(CATALOGUE, lacking)]

    assert blind("days_available_12m") == [] and blind("days_available_12m", "suitable_offers_12m") == ["offer"]
    assert blind("unemployed_12m") == ["job"]
    assert blind("appeal_now") == ["appeal"] and blind("working_age_now") == []


def test_a_driver_is_missing_where_the_register_has_none_of_its_features() -> None:
    names = set(CATALOGUE.by_name)
    of_debt = {name for name in names if CATALOGUE.by_name[name].driver == "debt"}
    assert missing_drivers(CATALOGUE, names) == []
    assert missing_drivers(CATALOGUE, names - of_debt) == ["debt"]
    assert missing_drivers(CATALOGUE, names - set(list(of_debt)[1:])) == []


def test_subjective_is_never_a_residual() -> None:
    """Nothing on record and the score high: undetermined, not subjective."""
    quiet = {**IDLE, "work_intensity_now": 0.95, "land_idle_now": 0.0}
    assert verdict(quiet, work=3.0, refusal=3.0, level=1.0)["verdict"] == "undetermined"


def test_background_never_counts() -> None:
    found = verdict(IDLE, level=3.0, volatility=2.0, history=2.0, season=1.0, data_quality=1.0)
    assert (found["objective_share"], found["subjective_share"], found["verdict"]) == (0, 0, "undetermined")


def test_shock_and_low_effort_together_are_not_subjective() -> None:
    assert verdict({**IDLE, "months_since_schooling_cost": 2.0}, work=1.0, schooling=1.0)["verdict"] == "mixed"


@settings(max_examples=25)
@given(
    pushes=st.dictionaries(st.sampled_from(DRIVERS), st.floats(-5, 5), max_size=8),
    changes=st.dictionaries(st.sampled_from(sorted(IDLE)), st.one_of(st.none(), st.floats(0, 40)), max_size=10),
)
def test_shares_are_shares_and_gates_bind_whatever_comes(pushes: dict, changes: dict) -> None:
    found = verdict({**IDLE, **changes}, **pushes)
    assert found["objective_share"] >= 0 and found["subjective_share"] >= 0
    assert found["objective_share"] + found["subjective_share"] <= 1 + 1e-9
    assert 0 <= found["verdict_confidence"] <= 1
    if found["verdict"] == "subjective":
        assert found["failed_gates"] == found["excuses"] == found["protected"] == found["unchecked"] == ""


SHIELDS = (
    {"able_known": 0.0}, {"able_known": np.nan, "children_now": 2.0, "elderly_now": 2.0, "hh_size_now": 4.0},
    {"carers_now": 1.0, "able_known": 1.0}, {"carers_now": 2.0, "able_known": 0.0}, {"months_since_death": 11.0},
    {"months_since_disaster": 0.0}, {"months_since_illness": 11.0}, {"major_illness_12m": 1.0}, {"destitute_now": 1.0},
    {"appeal_now": 1.0}, {"opted_out": True},
)  # fmt: skip
EXCUSES = (
    {"months_since_illness": 3.0}, {"major_illness_12m": 2.0}, {"selfpay_burden": 0.3}, {"selfpay_rise_6m": 0.05},
    {"selfpay_burden": np.nan, "selfpay_now": 900.0, "line_now": 1000.0, "hh_size_now": 3.0},
    {"months_since_disability": 11.0}, {"months_since_accident": 0.0}, {"months_since_family_loss": 6.0},
    {"carers_12m": 1.0}, {"under6_rise_12m": 1.0}, {"disabled_rise_12m": 1.0}, {"refused_for_burden_12m": 1.0},
    {"months_since_house_damage": 2.0}, {"months_since_job_loss": 4.0}, {"unemployed_12m": 1.0},
    {"months_since_project_stopped": 8.0}, {"months_since_relocation": 5.0},
)  # fmt: skip
MANY = 300


def anybody(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Drivers, features and peers of households about which a few things are changed, or are not on record."""
    features = pd.DataFrame([IDLE] * MANY)
    drawn = rng.choice([np.nan, 0.0, 0.2, 1.0, 2.0, 4.0, 12.0, 36.0], features.shape)
    changed = rng.random(features.shape) < rng.choice([0.0, 0.02, 0.1, 0.5], MANY)[:, None]
    pushes = np.where(rng.random((MANY, len(DRIVERS))) < 0.3, rng.normal(0.3, 1, (MANY, len(DRIVERS))), 0.0)
    drivers = pd.DataFrame(pushes, columns=DRIVERS)
    drivers["work"] += 2.0
    peers = pd.DataFrame([PEERS] * MANY)
    return drivers, features.where(~changed, drawn).assign(opted_out=False), peers.where(rng.random(peers.shape) < 0.9, 0.5)


def among(rng: np.random.Generator, features: pd.DataFrame, cases: tuple[dict, ...]) -> pd.DataFrame:
    """The households, each with one of the cases on record besides."""
    changed = features.copy()
    which = rng.integers(0, len(cases), len(features))
    for number, case in enumerate(cases):
        changed.loc[which == number, list(case)] = list(case.values())
    return changed


@settings(max_examples=4)
@given(st.integers(0, 2**32))
def test_whatever_else_is_on_record_a_protected_household_is_never_asked_for_motivation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drivers, features, peers = anybody(rng)
    assert (judge_causes(CATALOGUE, drivers, features, peers).verdicts["verdict"] == "subjective").mean() > 0.1
    found = judge_causes(CATALOGUE, drivers, among(rng, features, SHIELDS), peers)
    assert found.verdicts["verdict"].isin(["objective", "undetermined"]).all()
    assert (found.verdicts["subjective_share"] == 0).all()
    assert found.drivers[["work", "land", "refusal"]].eq(0).all(axis=None)


@settings(max_examples=4)
@given(st.integers(0, 2**32))
def test_one_excuse_more_never_makes_a_household_subjective(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drivers, features, peers = anybody(rng)
    found = judge_causes(CATALOGUE, drivers, among(rng, features, EXCUSES), peers).verdicts
    assert found["verdict"].isin(["objective", "undetermined"]).all()
    assert (found["excuses"] != "").all() and (found["subjective_share"] == 0).all()


@settings(max_examples=6)
@given(st.integers(0, 2**32))
def test_a_register_with_fewer_columns_never_makes_a_household_subjective(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drivers, features, peers = anybody(rng)
    whole = judge_causes(CATALOGUE, drivers, features, peers).verdicts["verdict"]
    lost = rng.choice(features.columns, rng.integers(1, 20), replace=False)
    less = judge_causes(CATALOGUE, drivers, features.drop(columns=lost), peers.where(rng.random(peers.shape) < 0.8))
    assert (whole[less.verdicts["verdict"] == "subjective"] == "subjective").all()


def test_where_the_register_has_no_column_for_an_excuse_or_an_appeal_nobody_is_judged() -> None:
    for name in (
        "major_illness_12m",
        "carers_12m",
        "unemployed_12m",
        "months_since_relocation",
        "destitute_now",
        "appeal_now",
    ):
        less = {k: v for k, v in IDLE.items() if k != name}
        assert verdict(less, work=2.0, land=1.0)["verdict"] == "undetermined", name
    assert verdict(IDLE, work=2.0, land=1.0)["verdict"] == "subjective"


def test_a_shock_that_cannot_be_ruled_out_counts_against_a_subjective_cause() -> None:
    """Schooling raises the risk, and whether it cost anything is not on record: part of the cause may lie there."""
    pushes = {"work": 1.0, "schooling": 1.0}
    assert verdict(IDLE, **pushes)["verdict"] == "subjective"
    open_question = {**IDLE, "higher_students_now": 1.0, "schooling_burden": None}
    assert verdict(open_question, **pushes)["verdict"] == "mixed"
    assert not verdict(open_question, **pushes)["fact_schooling"]
    assert verdict(open_question, **{**pushes, "schooling": 0.8})["verdict"] == "mixed"
    assert verdict(open_question, **{**pushes, "schooling": 0.2})["verdict"] == "subjective", "it would be a small part"


def test_words_are_filled_in_for_readers() -> None:
    assert words("{a} months, {b:%}, {c}", {"a": 3.0, "b": 0.256, "c": float("nan")}) == "3 months, 26%, ?"


def test_every_driver_has_a_measure() -> None:
    answered = {d for m in CATALOGUE.measures for d in m.drivers}
    assert answered == set(DRIVERS)
