"""Training on a small register: deterministic, honest about time, and kept without pickling."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.errors import IntegrityError, NotEnoughData, NotFound, UsageError
from riskmodel.explain.drivers import driver_contributions
from riskmodel.model.bundle import RiskModel, check_additive
from riskmodel.model.calibration import Calibration, logit
from riskmodel.model.estimators import make_estimator
from riskmodel.model.training import Trainer, model_inputs, raw_risk
from riskmodel.months import month_number, month_text
from riskmodel.register import commit_directory
from riskmodel.settings import Intervals, Label, LeakGates, Run, Split, Tracking
from riskmodel.study import Study, train
from tests.cohort.registers import make_register

SMALL = {"n_estimators": 30, "min_data_in_leaf": 10}


def panel(households: int = 160, months: int = 36, seed: int = 0) -> pd.DataFrame:
    """Incomes that wander around their own mean; low means fall below the line more often."""
    generator = np.random.default_rng(seed)
    mean = generator.uniform(-0.1, 0.8, households)[:, None]
    noise = generator.normal(0, 0.25, (households, months)).cumsum(axis=1) * 0.35
    welfare = 100 * np.exp(mean + noise - noise.mean(axis=1, keepdims=True))
    month = pd.period_range("2020-01", periods=months, freq="M").strftime("%Y-%m-01")
    return pd.DataFrame(
        {
            "household_id": np.repeat([f"{i:04d}" for i in range(households)], months),
            "county_id": np.repeat([f"c{i % 2}" for i in range(households)], months),
            "month": np.tile(month, households),
            "welfare": welfare.ravel(),
            "line": 100.0,
            "hh_size": 4,
        }
    )


def late_books(cohorts: Cohorts, now: str) -> Cohorts:
    """The same households, of whom in the last month before `now` that has an outcome every other lacks the last record."""
    frame = cohorts.frame.copy()
    last = frame.loc[frame["outcome"].notna() & (frame["as_of"] <= now), "as_of"].max()
    confirmed = frame["outcome_month"] < month_text(month_number(last) + cohorts.label.horizon_months - 1)
    missing = (frame["as_of"] == last) & (frame["household_id"].astype(int) % 2 > 0) & ~confirmed
    frame.loc[missing, "outcome"] = np.nan
    frame.loc[missing, "outcome_known_at"] = pd.NaT
    frame.loc[missing, "seen_until"] = cohorts.label.horizon_months - 1
    return dataclasses.replace(cohorts, frame=frame)


RUN = Run(
    name="small",
    label=Label(horizon_months=3),
    split=Split(folds=1, calibration_months=6),
    intervals=Intervals(replicates=30),
    register_model="lightgbm",
    lightgbm=SMALL,
)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    register = make_register(tmp_path_factory.mktemp("data") / "register", records=panel())
    return build_cohorts(register, label=RUN.label, at_risk=RUN.at_risk, months=RUN.cohorts)


@pytest.fixture(scope="module")
def study(cohorts: Cohorts) -> Study:
    return train(cohorts, RUN, track=False)


def test_all_baselines_stand_in_the_same_table(study: Study) -> None:
    assert set(study.results) == {
        "base_rate", "last_status", "distance_to_line", "office_rule", "one_variable_logit", "logistic_regression",
        "hist_gradient_boosting", "lightgbm",
    }  # fmt: skip
    assert {"fold_1", "test", "test_disjoint"} == set(study.results["lightgbm"])
    assert study.results["one_variable_logit"]["test"]["roc_auc"].value > 0.6
    figure = study.results_json()["lightgbm"]["test"]["roc_auc"]
    assert set(figure) == {"value", "low", "high"}
    assert figure["low"] < figure["value"] < figure["high"]


def test_training_twice_gives_the_same_model_to_the_last_bit(cohorts: Cohorts, study: Study) -> None:
    again = train(cohorts, RUN, track=False)
    assert again.model.estimator.booster_.model_to_string() == study.model.estimator.booster_.model_to_string()
    pd.testing.assert_frame_equal(again.scores, study.scores, check_exact=True)
    assert again.results_json() == study.results_json()


def test_training_twice_gives_the_same_version_and_each_keeps_when_it_looked(
    tmp_path: Path, cohorts: Cohorts, study: Study
) -> None:
    elsewhere = RUN.model_copy(update={"tracking": Tracking(uri="sqlite:///elsewhere.db")})
    again = train(cohorts, elsewhere, track=False, reason="once more")
    other = train(cohorts, RUN.model_copy(update={"seed": 8}), track=False)
    for name, made in (("first", study), ("again", again), ("other", other)):
        made.model.save(tmp_path / name)
    first, second, third = (RiskModel.load(tmp_path / name) for name in ("first", "again", "other"))
    assert first.version == second.version != third.version
    assert second.evidence == again.evidence and second.evidence["looks"]["earlier"]
    assert (first.run, second.run) == (RUN, elsewhere)


def test_a_bundle_of_before_holds_all_in_its_spec_and_keeps_its_version(tmp_path: Path, study: Study) -> None:
    study.model.save(tmp_path / "model")
    folder = tmp_path / "model"
    spec, aside = (json.loads((folder / name).read_text("utf-8")) for name in ("spec.json", "circumstances.json"))
    spec = {**spec, "run": spec["run"] | aside["run"], "evidence": spec["evidence"] | aside["evidence"]}

    def write(stage: Path) -> None:
        shutil.copytree(
            folder, stage, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json", "circumstances.json")
        )
        (stage / "spec.json").write_text(json.dumps(spec), encoding="utf-8")

    manifest = commit_directory(tmp_path / "old", write, kind="model", about={})
    back = RiskModel.load(tmp_path / "old")
    assert back.version == manifest["files"]["spec.json"]["sha256"][:12]
    assert back.evidence == study.evidence and back.run == RUN


def test_outcomes_of_the_test_months_cannot_reach_the_test_models(cohorts: Cohorts, study: Study) -> None:
    """Turning every outcome of the test months round leaves all test risks as they were (the gates would stop it)."""
    test_from = study.folds[-1].describe()["test_from"]
    frame = cohorts.frame.copy()
    later = frame["as_of"] >= test_from
    frame.loc[later, "outcome"] = 1 - frame.loc[later, "outcome"]
    turned = Cohorts(**{**vars(cohorts), "frame": frame})
    found = train(turned, RUN.model_copy(update={"leak_gates": LeakGates(enabled=False)}), track=False).scores
    models = [c for c in found.columns if c in study.results]
    pd.testing.assert_frame_equal(found[models], study.scores[models], check_exact=True)


def test_a_bundle_comes_back_with_the_same_risks(tmp_path: Path, cohorts: Cohorts, study: Study) -> None:
    study.model.save(tmp_path / "model")
    names = {p.name for p in (tmp_path / "model").rglob("*") if p.is_file()}
    assert {"model.txt", "spec.json", "manifest.json", "features.yaml"} <= names
    assert not {n for n in names if n.endswith((".pkl", ".joblib", ".skops"))}
    back = RiskModel.load(tmp_path / "model")
    np.testing.assert_array_equal(back.risk(cohorts.frame), study.model.risk(cohorts.frame))
    assert back.catalogue.sha256 == study.model.catalogue.sha256


def test_a_changed_booster_is_refused_before_it_is_loaded(tmp_path: Path, study: Study) -> None:
    study.model.save(tmp_path / "model")
    text = tmp_path / "model" / "model.txt"
    text.write_text(text.read_text(encoding="utf-8").replace("num_leaves=15", "num_leaves=99", 1), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"model\.txt"):
        RiskModel.load(tmp_path / "model")


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        RiskModel.load(tmp_path)


@pytest.mark.parametrize("name", ["lightgbm", "logistic_regression", "one_variable_logit"])
def test_contributions_add_up_to_the_risk(cohorts: Cohorts, name: str) -> None:
    rows = cohorts.frame[cohorts.frame["outcome"].notna()]
    fitted = make_estimator(name, lightgbm=SMALL).fit(rows[cohorts.inputs], rows["outcome"].to_numpy())
    model = RiskModel(fitted, Calibration(0.9, 0.1), RUN, cohorts.catalogue)
    check_additive(model.contributions(rows), model.risk(rows))
    by_driver, base = driver_contributions(model, rows)
    np.testing.assert_allclose(expit(by_driver.sum(axis=1) + base), model.risk(rows), atol=1e-9)


def test_contributions_are_those_of_the_shap_library(cohorts: Cohorts, study: Study) -> None:
    import shap

    rows = cohorts.frame.head(50)
    found = RiskModel(study.model.estimator, Calibration(), RUN, cohorts.catalogue).explanation(rows)
    expected = shap.TreeExplainer(study.model.estimator.booster_)(study.model.matrix(rows).to_numpy())
    np.testing.assert_allclose(found.values, expected.values, atol=1e-9)
    np.testing.assert_allclose(found.base_values, expected.base_values, atol=1e-9)
    assert found.feature_names == study.model.inputs


def test_logit_is_kept_and_comes_back(tmp_path: Path, cohorts: Cohorts) -> None:
    study = train(cohorts, RUN.model_copy(update={"register_model": "logistic_regression"}), track=False)
    study.model.save(tmp_path / "m")
    np.testing.assert_allclose(
        RiskModel.load(tmp_path / "m").risk(cohorts.frame), study.model.risk(cohorts.frame), rtol=1e-12
    )


def test_gradient_boosting_of_scikit_learn_is_only_compared(tmp_path: Path, cohorts: Cohorts) -> None:
    study = train(cohorts, RUN.model_copy(update={"register_model": "hist_gradient_boosting"}), track=False)
    with pytest.raises(UsageError, match="cannot be registered"):
        study.model.save(tmp_path / "m")


def test_calibration_never_turns_ranks_round() -> None:
    generator = np.random.default_rng(1)
    risk = generator.uniform(0.01, 0.9, 500)
    against = (generator.random(500) > risk).astype(float)
    level = Calibration.fit(risk, against)
    assert level.slope == 1 and level.apply(risk).mean() == pytest.approx(against.mean())
    known = (generator.random(500) < expit(0.5 * logit(risk) - 1)).astype(float)
    found = Calibration.fit(risk, known)
    assert 0.2 < found.slope < 0.9
    assert np.all(np.argsort(found.apply(risk), kind="stable") == np.argsort(risk, kind="stable"))


def test_where_no_months_can_be_held_back_households_judge_one_another(cohorts: Cohorts) -> None:
    """A model that knows its own households too well is put right by those that it did not see."""
    eager = {"n_estimators": 150, "num_leaves": 31, "min_data_in_leaf": 2, "learning_rate": 0.2}
    run = RUN.model_copy(update={"split": Split(folds=1, calibration_months=99), "lightgbm": eager})
    known, outcome = cohorts.frame["outcome"].notna().to_numpy(), cohorts.frame["outcome"].to_numpy()
    half = (cohorts.frame["household_id"].astype(int) % 4 < 2).to_numpy()
    trainer = Trainer(cohorts, run, model_inputs(cohorts, run))
    fitted = trainer.fit("lightgbm", np.flatnonzero(known & half))
    others = np.flatnonzero(known & ~half)
    raw, told = raw_risk(fitted.estimator, trainer.inputs_of(others)), fitted.risk(trainer.inputs_of(others))
    assert fitted.calibration.slope < 1 and fitted.intervals is not None
    assert log_loss(outcome[others], told) < log_loss(outcome[others], raw)
    rate = outcome[others].mean()
    assert abs(told.mean() - rate) < abs(raw.mean() - rate)


def test_a_last_month_in_which_falls_are_known_first_does_not_raise_the_level(tmp_path: Path) -> None:
    """Without weights all risks would be a tenth higher where half of that month's books are late."""
    cohorts = build_cohorts(make_register(tmp_path / "r", records=panel(1500)), label=RUN.label)
    promised = []
    for c in (cohorts, late_books(cohorts, cohorts.frame["as_of"].max())):
        trainer = Trainer(c, RUN, model_inputs(c, RUN))
        fitted = trainer.fit("lightgbm", np.flatnonzero(c.frame["outcome"].notna()))
        promised.append(fitted.risk(trainer.inputs_of(np.arange(len(c.frame)))).mean())
    assert promised[1] == pytest.approx(promised[0], rel=0.03)


def test_no_fall_at_all_is_told_not_fitted(tmp_path: Path) -> None:
    records = panel(40, 30)
    records["welfare"] = 500.0
    register = make_register(tmp_path / "r", records=records)
    with pytest.raises(NotEnoughData, match="0 of"):
        train(build_cohorts(register, label=RUN.label), RUN, track=False)
