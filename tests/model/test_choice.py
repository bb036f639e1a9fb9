"""The model that is registered: chosen on folds inside the training months, small where the register is small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from riskmodel.alerts.alerts import explain_alerts
from riskmodel.alerts.scoring import score
from riskmodel.cards.model_card import model_card
from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.cohort.splits import household_parts
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.choice import candidates, divisions
from riskmodel.model.training import Trainer, fit_model
from riskmodel.register import Register, ingest
from riskmodel.settings import MODELS, Choice, Intervals, Label, LeakGates, Run, Split, find_config
from riskmodel.settings import Cohorts as Months
from riskmodel.simulation import simulate
from riskmodel.study import Study, train
from tests.cohort.registers import make_register
from tests.model.test_training import SMALL, panel

THREE = ["one_variable_logit", "logistic_regression", "lightgbm"]
RUN = Run(
    name="small",
    label=Label(horizon_months=3),
    split=Split(folds=2, calibration_months=6, household_disjoint=False),
    intervals=Intervals(replicates=60),
    leak_gates=LeakGates(enabled=False),
    models=["office_rule", *THREE],
    lightgbm=SMALL,
    register_model="auto",
    choice=Choice(fewest_falls=20),
)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    register = make_register(tmp_path_factory.mktemp("data") / "register", records=panel(160))
    return build_cohorts(register, label=RUN.label, at_risk=RUN.at_risk, months=Months(every_months=1))


@pytest.fixture(scope="module")
def study(cohorts: Cohorts) -> Study:
    return train(cohorts, RUN, track=False)


def test_the_chosen_model_is_the_one_that_is_fitted_kept_and_named(study: Study, tmp_path: Path) -> None:
    found = study.evidence["choice"]
    assert study.run.register_model == found["chosen"] == study.model.estimator.name == study.model.run.register_model
    assert found["chosen"] in found["reason"]
    study.model.save(tmp_path / "model")
    back = RiskModel.load(tmp_path / "model")
    assert (back.run.register_model, back.evidence["choice"]) == (found["chosen"], found)


def test_candidates_are_those_that_can_be_kept_and_explained(cohorts: Cohorts, study: Study) -> None:
    assert candidates(Run(models=list(reversed(MODELS))), cohorts.inputs) == THREE
    assert [row["model"] for row in study.evidence["choice"]["candidates"]] == THREE
    assert set(study.results) == {"office_rule", *THREE}, "the others stand in the tables all the same"


def test_rules_and_regrets_are_told_in_plain_json(study: Study) -> None:
    found = json.loads(json.dumps(study.evidence["choice"], allow_nan=False))
    assert found["periods"] == "time"
    assert found["rules"][found["rule"]] == found["chosen"]
    assert {row["rule"] for row in found["regrets"]} == set(found["rules"])
    assert set(found["regrets"][0]) == {"rule", "fold_2", "mean", "worst"}
    for row in found["values"]:
        assert row["fold_2"] == pytest.approx(study.results[row["model"]]["fold_2"][RUN.choice.metric].value, abs=1e-12)


def test_outcomes_of_the_test_months_take_no_part_in_the_choice(cohorts: Cohorts, study: Study) -> None:
    frame = cohorts.frame.copy()
    later = frame["as_of"] >= study.folds[-1].describe()["test_from"]
    frame.loc[later, "outcome"] = 1 - frame.loc[later, "outcome"]
    turned = train(Cohorts(**{**vars(cohorts), "frame": frame}), RUN, track=False)
    assert turned.evidence["choice"] == study.evidence["choice"]


def test_outcomes_reported_after_the_test_began_take_no_part_either(cohorts: Cohorts, study: Study) -> None:
    """Late reports of a validation fold: turned round, they change nothing, for nobody could have known them."""
    known_by = pd.Timestamp(study.folds[-1].known_by)
    fold = study.folds[-2].describe()
    frame = cohorts.frame.copy()
    late = frame["as_of"].between(fold["test_from"], fold["test_to"]) & (frame.index % 4 == 0)
    frame.loc[late, "outcome_known_at"] = known_by + pd.Timedelta(days=1)
    told = train(Cohorts(**{**vars(cohorts), "frame": frame}), RUN, track=False)
    turned = frame.copy()
    turned.loc[late, "outcome"] = 1 - turned.loc[late, "outcome"]
    assert (
        train(Cohorts(**{**vars(cohorts), "frame": turned}), RUN, track=False).evidence["choice"] == told.evidence["choice"]
    )
    assert told.evidence["choice"] != study.evidence["choice"]


def test_without_an_earlier_fold_parts_of_the_households_stand_in(cohorts: Cohorts) -> None:
    run = RUN.model_copy(update={"split": RUN.split.model_copy(update={"folds": 0})})
    found = train(cohorts, run, track=False)
    told = found.evidence["choice"]
    assert (told["periods"], found.run.register_model) == ("households", "one_variable_logit")
    assert len(told["values"][0]) == 1 + 20


def test_a_choice_by_ranks_spares_the_calibration_and_one_by_probabilities_does_not(cohorts: Cohorts) -> None:
    trainer = Trainer(cohorts, RUN, cohorts.inputs)
    assert trainer.enough_for("log_loss") is trainer
    rows = np.flatnonzero(cohorts.frame["outcome"].notna())
    train_rows, test_rows = divisions(cohorts.frame, rows, RUN.seed)[0][0]
    found = [of.fit("lightgbm", train_rows) for of in (trainer, trainer.enough_for("roc_auc"))]
    assert found[0].calibration != Calibration() and found[1].calibration == Calibration()
    calibrated, raw = (fitted.risk(cohorts.inputs_of(test_rows, cohorts.inputs)) for fitted in found)
    assert (
        rankdata(calibrated.round(12)).tolist() == rankdata(raw.round(12)).tolist() and np.abs(calibrated - raw).max() > 0.01
    )


def test_parts_share_no_household_and_hold_every_row_once(cohorts: Cohorts) -> None:
    frame = cohorts.frame
    rows = np.flatnonzero(frame["outcome"].notna())[::2]
    for parts in divisions(frame, rows, seed=3):
        assert sorted(np.concatenate([held for _, held in parts])) == rows.tolist()
        for train_rows, held in parts:
            assert sorted([*train_rows, *held]) == rows.tolist()
            assert not set(frame["household_id"].iloc[train_rows]) & set(frame["household_id"].iloc[held])
            assert frame["outcome"].iloc[held].sum() > 0
    first, second = divisions(frame, rows, seed=3)[:2]
    assert [held.tolist() for _, held in first] != [held.tolist() for _, held in second]
    with pytest.raises(NotEnoughData, match="1 households fell"):
        one = frame.assign(outcome=(frame.index == rows[0]).astype(float))
        divisions(one, rows, seed=3)


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.booleans()), min_size=1), st.integers(2, 5), st.integers(0, 99))
def test_a_household_lies_in_one_part_and_falls_are_spread(seen: list[tuple[str, bool]], parts: int, seed: int) -> None:
    who, fell = np.array([h for h, _ in seen]), np.array([f for _, f in seen], float)
    part = household_parts(who, fell, parts, seed)
    assert all(len(set(part[who == h])) == 1 for h in set(who))
    sizes = [len({h for h, f, p in zip(who, fell, part, strict=True) if f and p == k}) for k in range(parts)]
    assert max(sizes) - min(sizes) <= 1


def test_a_model_named_in_the_run_is_taken_as_it_is(cohorts: Cohorts) -> None:
    run = RUN.model_copy(update={"register_model": "lightgbm"})
    found = train(cohorts, run, track=False)
    assert found.model.estimator.name == "lightgbm"
    assert "choice" not in found.evidence


def test_a_run_that_names_no_model_chooses_where_few_fell_and_boosts_where_many_did(cohorts: Cohorts, study: Study) -> None:
    unnamed = RUN.model_copy(update={"register_model": None, "models": THREE})
    falls = study.evidence["data"]["train"]["events"]
    small = train(
        cohorts, unnamed.model_copy(update={"choice": Choice(fewest_falls=20, small_below=falls + 1)}), track=False
    )
    assert small.run.register_model == small.model.estimator.name == study.run.register_model
    assert small.evidence["choice"] == {**study.evidence["choice"], "small": falls}
    large = train(cohorts, unnamed.model_copy(update={"choice": Choice(small_below=falls)}), track=False)
    assert large.run.register_model == large.model.estimator.name == "lightgbm"
    assert "choice" not in large.evidence
    assert fit_model(cohorts, unnamed).run.register_model == "lightgbm"
    assert "few fell in its training" in model_card(small.model)


def test_what_cannot_be_chosen_says_so(cohorts: Cohorts) -> None:
    with pytest.raises(UsageError, match="picks among one_variable_logit, logistic_regression, lightgbm"):
        train(cohorts, RUN.model_copy(update={"models": ["office_rule", "hist_gradient_boosting"]}), track=False)
    with pytest.raises(UsageError, match="name the model"):
        fit_model(cohorts, RUN)
    only = train(cohorts, RUN.model_copy(update={"models": ["base_rate", "logistic_regression"]}), track=False)
    assert only.evidence["choice"]["reason"] == "logistic_regression: the only candidate."


def test_a_small_county_is_scored_explained_and_carded_with_what_was_chosen(tmp_path: Path) -> None:
    """160 households, 27 falls in training: one variable is not told apart; alerts and card stand on it."""
    simulate(tmp_path / "source", households=160, months=36, seed=4, with_truth=False)
    ingest(find_config("sources/simulated.yaml"), tmp_path / "source", tmp_path / "register")
    register = Register.open(tmp_path / "register")
    run = RUN.model_copy(update={"label": Label(), "cohorts": Months(warm_up_months=3)})
    found = train(build_cohorts(register, label=run.label, months=run.cohorts), run, track=False)
    assert found.evidence["data"]["train"]["events"] < 30
    assert found.evidence["choice"]["periods"] == "households", "its one earlier fold holds too few falls"
    assert found.run.register_model == "one_variable_logit"
    found.model.save(tmp_path / "model")
    model = RiskModel.load(tmp_path / "model")
    alerts = explain_alerts(score(register, model, "2023-06"), 10)
    assert len(alerts.frame) == 10
    assert set(alerts.frame["verdict"]) <= {"subjective", "objective", "mixed", "undetermined"}
    log_odds = alerts.drivers.sum(axis=1) + alerts.base
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), alerts.frame["risk"], atol=1e-6)
    assert "Logit on distance to the line alone" in model_card(model)
