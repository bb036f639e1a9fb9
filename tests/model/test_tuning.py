"""The search for LightGBM's settings: its own first, on training folds alone, and a killed search goes on."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.cohort.splits import embargo_months
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.model import training, tuning
from riskmodel.model.estimators import LIGHTGBM_DEFAULTS
from riskmodel.model.tuning import SPACE, Tuned, tune_lightgbm
from riskmodel.months import month_number
from riskmodel.settings import Intervals, Label, LeakGates, Run, Split, Tracking, Tune
from riskmodel.study import train
from tests.cohort.registers import make_register
from tests.model.test_training import SMALL, panel

FOLDS = ["fold_1", "fold_2"]


def figure(parameters: Mapping[str, Any], fold: str) -> float:
    """A figure that is best at a rate of 0.05 with many leaves, and a little better on the second fold."""
    found = {**LIGHTGBM_DEFAULTS, **parameters}
    return 0.5 - abs(math.log(found["learning_rate"] / 0.05)) / 10 + found["num_leaves"] / 1000 + (fold == "fold_2") / 50


def search(
    score: Callable[[Mapping[str, Any], str], float] = figure,
    folds: list[str] = FOLDS,
    data: bytes = b"county",
    lightgbm: Mapping[str, Any] | None = None,
    **tune: Any,
) -> Tuned:
    run = Run(tune=Tune(**{"trials": 12, **tune}), lightgbm=dict(lightgbm or {}))
    return tune_lightgbm(score, folds, run, data)


class Killed(BaseException):
    """The process ends in the middle of a trial."""


def killed_at(fit: int) -> Callable[[Mapping[str, Any], str], float]:
    """`figure`, until the fit of that number."""
    seen = []

    def score(parameters: Mapping[str, Any], fold: str) -> float:
        seen.append(fold)
        if len(seen) == fit:
            raise Killed
        return figure(parameters, fold)

    return score


@pytest.mark.parametrize("given", [{}, {"n_estimators": 30, "learning_rate": 0.3, "max_bin": 31}])
def test_the_first_trial_is_the_runs_own_settings(given: dict[str, Any]) -> None:
    """Also where they lie outside the range that is searched."""
    asked = []

    def score(parameters: Mapping[str, Any], fold: str) -> float:
        asked.append(dict(parameters))
        return figure(parameters, fold)

    found = search(score, lightgbm=given)
    assert asked[:2] == [given, given]
    first = found.evidence["trials"][0]
    assert {name: first[name] for name in SPACE} == {name: {**LIGHTGBM_DEFAULTS, **given}[name] for name in SPACE}
    assert all(set(given) - set(SPACE) <= set(parameters) for parameters in asked)


def test_what_is_found_is_never_worse_on_the_folds() -> None:
    found = search(trials=20)
    assert found.evidence["best_value"] >= found.evidence["own_value"]
    assert np.mean([figure(found.lightgbm, f) for f in FOLDS]) == pytest.approx(found.evidence["best_value"])
    assert found.evidence["best_value"] > found.evidence["own_value"], "this one is easy to better"
    best_already = search(lambda parameters, fold: 1.0 if not parameters else 0.5)
    assert (best_already.lightgbm, best_already.evidence["best"]) == ({}, 1)


def test_a_low_log_loss_is_searched_for() -> None:
    found = search(lambda parameters, fold: 1 - figure(parameters, fold), metric="log_loss")
    assert found.evidence["best_value"] < found.evidence["own_value"]


def test_the_same_search_finds_the_same() -> None:
    assert search() == search()


@pytest.mark.parametrize("fit", [1, 2, 8, 17])
def test_a_killed_search_goes_on_as_if_it_had_run_through(fit: int, tmp_path: Path) -> None:
    """Killed in its first trial or later, between folds or at the start of one: the same trials in the end."""
    with pytest.raises(Killed):
        search(killed_at(fit), storage=str(tmp_path / "kept" / "trials.log"))
    fits = []

    def score(parameters: Mapping[str, Any], fold: str) -> float:
        fits.append(fold)
        return figure(parameters, fold)

    through = search()
    found = search(score, storage=str(tmp_path / "kept" / "trials.log"))
    assert found == through
    cut = sum(t["state"] == "pruned" for t in through.evidence["trials"])
    assert len(fits) <= 24 - cut - (fit - 1) + 1, "finished trials are not done again"
    assert search(killed_at(1), storage=str(tmp_path / "kept" / "trials.log")) == through, "nothing is left to try"


def test_other_data_or_settings_start_a_search_of_their_own(tmp_path: Path) -> None:
    kept = str(tmp_path / "trials.log")
    search(storage=kept)
    for other in ({"data": b"another county"}, {"lightgbm": {"max_bin": 31}}, {"metric": "roc_auc"}, {"folds": ["fold_1"]}):
        with pytest.raises(Killed):
            search(killed_at(1), storage=kept, **other)
    assert len(search(killed_at(1000), storage=kept, trials=14).evidence["trials"]) == 14


def test_a_trial_behind_the_others_ends_after_its_first_fold() -> None:
    seen: list[int] = []

    def score(parameters: Mapping[str, Any], fold: str) -> float:
        seen.append(len(seen))
        return figure(parameters, fold)

    found = search(score, trials=30)
    pruned = [t for t in found.evidence["trials"] if t["state"] == "pruned"]
    assert pruned
    assert len(seen) == 60 - len(pruned)
    assert found.evidence["trials"][0]["state"] == "complete"


def test_time_is_a_budget_over_all_that_a_storage_has_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds a fold, 70 in all: three trials, the fourth is cut short, and a second run has nothing left."""
    now = [0.0]
    monkeypatch.setattr(tuning, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def score(parameters: Mapping[str, Any], fold: str) -> float:
        now[0] += 10
        return figure(parameters, fold)

    kept = str(tmp_path / "trials.log")
    found = search(score, timeout_seconds=70, storage=kept)
    assert (now[0], len(found.evidence["trials"])) == (70, 3)
    assert search(score, timeout_seconds=70, storage=kept) == found
    assert now[0] == 70
    assert len(search(score, timeout_seconds=5).evidence["trials"]) == 1, "the run's own settings are always tried"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotEnoughData, match=r"split\.folds"):
        search(folds=[])
    with pytest.raises(NotEnoughData, match="pr_auc is not defined"):
        search(lambda parameters, fold: math.nan)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"household-riskmodel\[tune\]"):
        search()


RUN = Run(
    name="small",
    label=Label(horizon_months=3),
    split=Split(folds=2, calibration_months=6, household_disjoint=False),
    intervals=Intervals(replicates=20),
    leak_gates=LeakGates(enabled=False),
    models=["one_variable_logit", "lightgbm"],
    register_model="lightgbm",
    lightgbm=SMALL,
    tune=Tune(trials=4),
)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    register = make_register(tmp_path_factory.mktemp("data") / "register", records=panel(120))
    return build_cohorts(register, label=RUN.label, at_risk=RUN.at_risk, months=RUN.cohorts)


def test_no_trial_sees_a_row_of_the_test(cohorts: Cohorts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row that reaches a fit or a prediction of a trial ended, and was known, before the test began."""
    seen: list[np.ndarray] = []
    within = [False]
    matrix, tune = training.Trainer.matrix, training.tune_lightgbm

    def watched(trainer: Any, rows: np.ndarray) -> pd.DataFrame:
        if within[0]:
            seen.append(np.asarray(rows))
        return matrix(trainer, rows)

    def searching(*given: Any) -> Tuned:
        within[0] = True
        found = tune(*given)
        within[0] = False
        return found

    monkeypatch.setattr(training.Trainer, "matrix", watched)
    monkeypatch.setattr(training, "tune_lightgbm", searching)
    study = train(cohorts, RUN, track=False)

    rows = cohorts.frame.iloc[np.unique(np.concatenate(seen))]
    test = study.folds[-1]
    assert len(seen) >= 4 * 2
    assert not set(zip(rows["household_id"], rows["as_of"], strict=True)) & set(
        zip(study.scores["household_id"], study.scores["as_of"], strict=True)
    )
    assert rows["as_of"].map(month_number).max() + embargo_months(RUN.label, 1) <= test.test[0]
    assert rows["outcome_known_at"].max() <= pd.Timestamp(test.known_by)
    assert study.run.lightgbm == {**SMALL, **study.evidence["tuning"]["params"]}
    assert study.model.estimator.get_params()["num_leaves"] == {**LIGHTGBM_DEFAULTS, **study.run.lightgbm}["num_leaves"]


@pytest.mark.slow
def test_the_search_stands_in_mlflow_trial_by_trial(cohorts: Cohorts, tmp_path: Path) -> None:
    import mlflow

    tracking = Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = train(cohorts, RUN.model_copy(update={"tracking": tracking})).evidence["tuning"]
    client = mlflow.MlflowClient(tracking.uri, tracking.uri)
    runs = client.search_runs([client.get_experiment_by_name("riskmodel").experiment_id])
    nested = next(r for r in runs if r.info.run_name == "tuning")
    values = [m.value for m in client.get_metric_history(nested.info.run_id, "pr_auc")]
    assert values == [t["value"] for t in found["trials"]]
    assert len(values) == 4
    assert {"best", "metric"} <= set(nested.data.params)
