"""Training: temporal folds, every model and baseline on each, calibration on later months, one final model."""

from __future__ import annotations

import importlib.metadata
import platform
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.splits import Fold, embargo_months, rows_of, temporal_folds
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.leakage import find_leaks, leak_table, stop_on
from riskmodel.evaluation.metrics import Interval, Scored, calibration_curve, with_intervals
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.choice import Parts, Period, candidates, choose_model
from riskmodel.model.estimators import Estimator, make_estimator
from riskmodel.model.peers import Peers
from riskmodel.model.tuning import Tuned, tune_lightgbm
from riskmodel.months import month_text
from riskmodel.settings import AUTO, Run

DISJOINT = "test_disjoint"
_FEWEST_EVENTS = 20


@dataclass(frozen=True)
class Study:
    """What a training run found.

    Attributes
    ----------
    results
        `results[model][split][metric]`, an `Interval` each; splits are `fold_1` ... , `test` and `test_disjoint`.
    scores
        Test rows with each model's risk: `household_id, county_id, as_of, outcome`, one column per model.
    model
        The final model, fitted on all months whose outcome is known.
    evidence
        Everything the card shows, as plain JSON; it travels with the model.
    """

    run: Run
    folds: tuple[Fold, ...]
    results: dict[str, dict[str, dict[str, Interval]]]
    scores: pd.DataFrame
    model: RiskModel
    evidence: dict[str, Any]
    tracking: dict[str, str] = field(default_factory=dict)

    def results_json(self) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
        """`results` as plain numbers."""
        return {
            model: {
                split: {metric: figure.as_json() for metric, figure in metrics.items()} for split, metrics in splits.items()
            }
            for model, splits in self.results.items()
        }

    def table(self, split: str = "test") -> pd.DataFrame:
        """Metrics of all models on one split, one row per model, intervals in words."""
        rows = {
            model: {m: f"{i.value:.4f} [{i.low:.4f}, {i.high:.4f}]" for m, i in splits[split].items()}
            for model, splits in self.results.items()
            if split in splits
        }
        return pd.DataFrame.from_dict(rows, orient="index")


def train(
    cohorts: Cohorts, run: Run | None = None, *, track: bool = True, progress: Callable[[str], None] | None = None
) -> Study:
    """Fit and compare the models of a run on temporal folds, fit the final one, and log it all to MLflow.

    Parameters
    ----------
    cohorts
        As `build_cohorts` gives them; label and population must be those of the run.
    run
        Settings; the defaults by default. With `register_model: auto` the model is chosen, and with `tune` LightGBM's
        settings are searched for, on what was known when the test began; the study's run names what came of it.
    track
        Log to MLflow and register the model as `challenger`.
    progress
        Called with a word on each step.

    Raises
    ------
    NotEnoughData
        If a fold has no outcome of either kind, or the months do not suffice.
    LeakFound
        If a leak gate stops the training; nothing has been fitted then.
    """
    run = run or Run(label=cohorts.label, at_risk=cohorts.at_risk)
    say = progress or (lambda _: None)
    inputs = _inputs(cohorts, run)
    names = candidates(run, inputs) if run.register_model == AUTO else []
    frame = cohorts.frame
    folds = temporal_folds(cohorts.months, cohorts.step_months, run.label, run.split)

    splits = {f.name: [rows_of(f, frame["as_of"], frame["outcome"], frame["outcome_known_at"])] for f in folds}
    for name, [(train_rows, test_rows)] in splits.items():
        _enough(frame["outcome"].to_numpy()[train_rows], f"{name}: training")
        _enough(frame["outcome"].to_numpy()[test_rows], f"{name}: test")
    train_rows, test_rows = splits["test"][0]
    if run.split.household_disjoint:
        apart = _disjoint(frame["household_id"], train_rows, test_rows)
        if all(0 < np.nansum(frame["outcome"].to_numpy()[rows]) < len(rows) for rows, _ in apart):
            splits[DISJOINT] = apart
    say("leak gates")
    leaks = find_leaks(cohorts, inputs, folds, splits, run.leak_gates, seed=run.seed)
    stop_on(leaks)
    trainer = _Trainer(cohorts, run, inputs)
    earlier = {f.name: splits[f.name][0] for f in folds[:-1]}
    evidence: dict[str, Any] = {}
    with threadpool_limits(1), ThreadPoolExecutor(run.threads) as pool:
        if run.tune.trials:
            within = {name: (train, np.intersect1d(rows, train_rows)) for name, (train, rows) in earlier.items()}
            tuned = trainer.tuned(within, say)
            run = run.model_copy(update={"lightgbm": tuned.lightgbm})
            trainer, evidence["tuning"] = replace(trainer, run=run), tuned.evidence
        compared = pool.map(lambda split: trainer.compare(splits[split], split, say), splits)
        found = dict(zip(splits, compared, strict=True))

        def predict(divided: Sequence[Parts], of: Sequence[str]) -> list[pd.DataFrame]:
            return list(pool.map(lambda parts: trainer.predict(parts, of, "choice", say), divided))

        if names:
            periods = [Period(name, rows, found[name].scores[names]) for name, (_, rows) in earlier.items()]
            chosen = choose_model(frame, run, names, periods, train_rows, predict)
            say(chosen.evidence["reason"])
            run = run.model_copy(update={"register_model": chosen.model})
            trainer, evidence["choice"] = replace(trainer, run=run), chosen.evidence
    results: dict[str, dict[str, dict[str, Interval]]] = {}
    for split, one in found.items():
        for model, metrics in one.metrics.items():
            results.setdefault(model, {})[split] = metrics
    scores = found["test"].scores

    say("final model")
    final_rows = np.flatnonzero(frame["outcome"].notna())
    model = trainer.final(final_rows)
    evidence |= {
        "data": _data_facts(cohorts, train_rows, test_rows),
        "folds": [f.describe() for f in folds],
        "embargo_months": embargo_months(run.label, cohorts.step_months),
        "curve": calibration_curve(scores["outcome"].to_numpy(), scores[run.register_model].to_numpy()).to_dict("records"),
        "drivers": _driver_summary(cohorts, model, test_rows),
        "lacking": cohorts.lacking,
        "leak_gates": leak_table(leaks).to_dict("records"),
        "inputs": len(inputs),
        "trained_to": frame["as_of"].iloc[final_rows].max(),
        "versions": versions(),
    }
    model = replace(model, evidence=evidence)
    study = Study(run, tuple(folds), results, scores, model, evidence)
    evidence["results"] = study.results_json()
    if not track:
        return study
    from riskmodel.model.tracking import log_study

    say("MLflow")
    return log_study(study, cohorts, run.tracking)


def fit_model(cohorts: Cohorts, run: Run | None = None) -> RiskModel:
    """The model of a run, fitted on all outcomes of the cohorts, without comparison, search or evidence.

    Raises
    ------
    NotEnoughData
        If there is no outcome of either kind.
    UsageError
        If the run leaves the model to be chosen.
    """
    run = run or Run(label=cohorts.label, at_risk=cohorts.at_risk)
    if run.register_model == AUTO:
        raise UsageError("fit_model compares nothing, so it cannot choose: name the model (register_model), or use train.")
    rows = np.flatnonzero(cohorts.frame["outcome"].notna())
    _enough(cohorts.frame["outcome"].to_numpy()[rows], "training")
    with threadpool_limits(1):
        return _Trainer(cohorts, run, _inputs(cohorts, run)).final(rows)


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    names = ("household-riskmodel", "lightgbm", "scikit-learn", "duckdb", "numpy", "pandas")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


@dataclass(frozen=True)
class _Compared:
    metrics: dict[str, dict[str, Interval]]
    scores: pd.DataFrame


@dataclass(frozen=True)
class _Trainer:
    cohorts: Cohorts
    run: Run
    inputs: Sequence[str]

    def compare(self, parts: Parts, split: str, say: Callable[[str], None]) -> _Compared:
        """All models, fitted on the training rows of each part, with metrics and risks on the test rows of all."""
        frame = self.cohorts.frame
        test = np.sort(np.concatenate([rows for _, rows in parts]))
        outcome = frame["outcome"].to_numpy()[test]
        lists = (frame["as_of"].iloc[test] + "/" + frame["county_id"].iloc[test]).to_numpy()
        scores = frame.iloc[test][["household_id", "county_id", "as_of", "outcome"]].reset_index(drop=True)
        risks = self.predict(parts, [m for m in self.run.models if make_estimator(m).can(self.inputs)], split, say)
        scored = {name: Scored(outcome, risk.to_numpy(), lists, self.run.capacity) for name, risk in risks.items()}
        say(f"{split}: intervals")
        metrics = with_intervals(scored, scores["household_id"], self.run.intervals, self.run.seed)
        return _Compared(metrics, scores.join(risks))

    def predict(self, parts: Parts, names: Sequence[str], split: str, say: Callable[[str], None]) -> pd.DataFrame:
        """Risks of the test rows of all parts, by ascending position, from models fitted on each part's training rows."""
        test = np.sort(np.concatenate([rows for _, rows in parts]))
        risks = {}
        for name in names:
            say(f"{split}: {name}")
            risks[name] = np.empty(len(test))
            for train, rows in parts:
                estimator, calibration = self.fit(name, train)
                risk = estimator.predict_proba(self.matrix(rows))[:, 1]
                risks[name][np.searchsorted(test, rows)] = calibration.apply(risk)
        return pd.DataFrame(risks)

    def tuned(self, folds: Mapping[str, tuple[np.ndarray, np.ndarray]], say: Callable[[str], None]) -> Tuned:
        """LightGBM's settings, searched for on folds (rows to train on, rows to measure on) and on nothing else."""
        frame, run, metric = self.cohorts.frame, self.run, self.run.tune.metric
        outcome, lists = frame["outcome"].to_numpy(), (frame["as_of"] + "/" + frame["county_id"]).to_numpy()
        ranks = metric.endswith(("_auc", "_at_capacity"))  # a calibration changes no rank
        split = run.split.model_copy(update={"calibration_months": 0}) if ranks else run.split

        def score(parameters: Mapping[str, Any], fold: str) -> float:
            train, rows = folds[fold]
            trial = replace(self, run=run.model_copy(update={"lightgbm": dict(parameters), "split": split}))
            risk = trial.predict([(train, rows)], ["lightgbm"], fold, lambda _: None)["lightgbm"].to_numpy()
            return Scored(outcome[rows], risk, lists[rows], run.capacity).metric(metric)

        seen = np.unique([row for fold in folds.values() for rows in fold for row in rows]).astype(int)
        data = pd.util.hash_pandas_object(frame[[*self.inputs, "outcome"]].iloc[seen], index=False).to_numpy().tobytes()
        return tune_lightgbm(score, list(folds), run, data, say)

    def matrix(self, rows: np.ndarray) -> pd.DataFrame:
        return self.cohorts.frame[list(self.inputs)].iloc[rows]

    def fit(self, name: str, rows: np.ndarray) -> tuple[Estimator, Calibration]:
        """A model fitted on `rows`, with a calibration from their last months, which a first fit has not seen."""
        outcome = self.cohorts.frame["outcome"].to_numpy()
        model = self._make(name).fit(self.matrix(rows), outcome[rows])
        if not (model.calibrated and self.run.split.calibration_months):
            return model, Calibration()
        early, late = self._calibration_rows(rows)
        if len(np.unique(outcome[early])) < 2 or outcome[late].sum() < _FEWEST_EVENTS:
            return model, Calibration()
        first = self._make(name).fit(self.matrix(early), outcome[early])
        found = Calibration.fit(first.predict_proba(self.matrix(late))[:, 1], outcome[late])
        return model, found.anchored(model.predict_proba(self.matrix(late))[:, 1], outcome[late])

    def final(self, rows: np.ndarray) -> RiskModel:
        """The registered model and what peers do, fitted on `rows`."""
        estimator, calibration = self.fit(self.run.register_model, rows)
        frame = self.cohorts.frame.iloc[rows]
        peers = Peers.fit(self.cohorts.catalogue, frame, frame["household_id"].to_numpy(), self.run.seed)
        kept = peers if peers.boosters else None
        return RiskModel(estimator, calibration, self.run, self.cohorts.catalogue, peers=kept)

    def _calibration_rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Early rows, and late rows of the last calibration months, apart by the embargo."""
        months = pd.PeriodIndex(self.cohorts.frame["as_of"].iloc[rows], freq="M")
        number = np.asarray(months.year * 12 + months.month - 1)
        late = number > number.max() - self.run.split.calibration_months
        gap = embargo_months(self.run.label, self.cohorts.step_months)
        early = number <= number[late].min() - gap
        return rows[early], rows[late]

    def _make(self, name: str) -> Estimator:
        monotone = {f.name: f.monotone for f in self.cohorts.features if f.monotone and f.name in self.inputs}
        run = self.run
        return make_estimator(name, monotone=monotone, seed=run.seed, lightgbm=run.lightgbm)


def _inputs(cohorts: Cohorts, run: Run) -> list[str]:
    out = set(run.leave_out)
    inputs = [f.name for f in cohorts.features if f.input and f.name not in out and f.driver not in out]
    if not inputs:
        raise NotEnoughData("no feature is left as an input: the register lacks their columns, or leave_out names all.")
    return inputs


def _disjoint(
    households: pd.Series, train: np.ndarray, test: np.ndarray, parts: int = 2
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The test in parts by household, each with the training rows of the other households.

    Parts are drawn by a hash of the household. To drop the test's households from training instead would leave only
    those that were not at risk later: mostly the ones that fell.
    """
    part = np.array([zlib.crc32(str(h).encode()) % parts for h in households])
    return [(train[part[train] != k], test[part[test] == k]) for k in range(parts)]


def _enough(outcome: np.ndarray, where: str) -> None:
    events = int(np.nansum(outcome))
    if events == 0 or events == len(outcome):
        raise NotEnoughData(
            f"{where}: {events} of {len(outcome)} households at risk fell. Both kinds are needed: use more months, "
            "fewer folds, or a longer horizon."
        )


def _data_facts(cohorts: Cohorts, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    frame = cohorts.frame
    outcome = frame["outcome"]

    def part(rows: np.ndarray) -> dict[str, Any]:
        here = frame.iloc[rows]
        return {
            "rows": len(here),
            "households": int(here["household_id"].nunique()),
            "events": int(here["outcome"].sum()),
            "rate": float(here["outcome"].mean()),
        }

    return {
        "register": cohorts.register,
        "months": [month_text(m) for m in cohorts.months],
        "at_risk": len(frame),
        "missing_outcome": int(outcome.isna().sum()),
        "train": part(train),
        "test": part(test),
        "fell_as": {
            str(kind): {"rows": len(rows), "events": int(rows["outcome"].sum())}
            for kind, rows in frame[outcome.notna()].groupby("fell_as")
        },
    }


def _driver_summary(cohorts: Cohorts, model: RiskModel, rows: np.ndarray) -> list[dict[str, Any]]:
    """Mean absolute log-odds per driver and its leading features, on a sample of the test rows."""
    if not model.explains:
        return []
    picked = np.random.default_rng(model.run.seed).choice(rows, min(len(rows), 2000), replace=False)
    by_feature, _ = model.contributions(cohorts.frame.iloc[np.sort(picked)])
    weight = model.sum_by_driver(by_feature).abs().mean().sort_values(ascending=False)
    feature_weight = by_feature.abs().mean()
    return [
        {
            "driver": driver,
            "log_odds": float(value),
            "features": {
                f: float(feature_weight[f])
                for f in feature_weight.sort_values(ascending=False).index
                if cohorts.catalogue.by_name[f].driver == driver
            },
        }
        for driver, value in weight.items()
    ]
