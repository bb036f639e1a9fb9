"""A study: every model and baseline on folds in time, one look at the test months, one final model."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.assessment import assess
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.splits import Fold, embargo_months, rows_of, temporal_folds, told_rows
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.bootstrap import Interval, drawn_together
from riskmodel.evaluation.leakage import Finding, find_leaks, leak_table, stop_on
from riskmodel.evaluation.looks import FILE as LEDGER
from riskmodel.evaluation.looks import Look, looks_table, record_look
from riskmodel.evaluation.metrics import Scored, calibration_curve, competing, with_intervals
from riskmodel.explain.drivers import driver_contributions, spread
from riskmodel.model.bundle import RiskModel
from riskmodel.model.champion import against_champion
from riskmodel.model.choice import Parts, Period, candidates, choose_model, settled
from riskmodel.model.memory import refuse_what_does_not_fit
from riskmodel.model.tracking import checked_store, log_study
from riskmodel.model.training import Compared, Trainer, enough_outcomes, model_inputs
from riskmodel.months import month_number, month_text
from riskmodel.settings import AUTO, Run
from riskmodel.threads import one_thread

TEST, DISJOINT = "test", "test_disjoint"
Say = Callable[[str], None]
Results = dict[str, dict[str, dict[str, Interval]]]


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
    results: Results
    scores: pd.DataFrame
    model: RiskModel
    evidence: dict[str, Any]
    tracking: dict[str, str] = field(default_factory=dict)

    def results_json(self) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
        """`results` as plain numbers."""
        return {
            model: {split: _figures(metrics) for split, metrics in splits.items()} for model, splits in self.results.items()
        }

    def table(self, split: str = TEST) -> pd.DataFrame:
        """Metrics of all models on one split, one row per model, intervals in words."""
        rows = {
            model: {m: f"{i.value:.4f} [{i.low:.4f}, {i.high:.4f}]" for m, i in splits[split].items()}
            for model, splits in self.results.items()
            if split in splits
        }
        return pd.DataFrame.from_dict(rows, orient="index")


@dataclass(frozen=True)
class Comparison:
    """Models compared over time.

    Attributes
    ----------
    splits
        For each split, row positions for training and for testing, part by part.
    found
        Models on each split.
    run
        The run, with the model that was chosen and the settings that were found.
    looks
        This look at the test months and the earlier ones; empty without one.
    evidence
        How the model was chosen (`choice`) and LightGBM's settings were found (`tuning`), where they were; folds that
        hold too few outcomes, and why (`folds_left_out`).
    """

    run: Run
    inputs: list[str]
    folds: tuple[Fold, ...]
    splits: dict[str, list[tuple[np.ndarray, np.ndarray]]]
    found: dict[str, Compared]
    leaks: list[Finding]
    looks: dict[str, Any]
    evidence: dict[str, Any]

    @property
    def results(self) -> Results:
        """`results[model][split][metric]`."""
        results: Results = {}
        for split, one in self.found.items():
            for model, metrics in one.resampled.intervals().items():
                results.setdefault(model, {})[split] = metrics
        return results


@one_thread()
def train(
    cohorts: Cohorts,
    run: Run | None = None,
    *,
    track: bool = True,
    reason: str | None = None,
    progress: Say | None = None,
) -> Study:
    """Fit and compare the models of a run on temporal folds, fit the final one, and log it all to MLflow.

    The comparison ends with a look at the test months, which is recorded in the ledger of looks.

    Parameters
    ----------
    cohorts
        As `build_cohorts` gives them; label and population must be those of the run.
    run
        Settings; the defaults by default. With `register_model: auto`, or where the run names none and the training holds
        few falls, the model is chosen, and with `tune` LightGBM's
        settings are searched for, on what was known when the test began; the study's run names what came of it.
    track
        Log to MLflow and register the model as `challenger`.
    reason
        Why the test months are looked at; by default, that it is a training run.
    progress
        Called with a word on each step.

    Raises
    ------
    NotEnoughData
        If the test has no outcome of either kind, or the months do not suffice.
    LeakFound
        If a leak gate stops the training; nothing has been fitted then.
    TooLarge
        If the training needs more memory than `machine.memory_gib`.
    UsageError
        If the look cannot be recorded, or `track` is asked for and there is no store that could be written.
    """
    run = run or Run(label=cohorts.label, at_risk=cohorts.at_risk)
    say = progress or (lambda _: None)
    if track:
        checked_store(run.tracking)
    need = refuse_what_does_not_fit(
        cohorts.labels, cohorts.features, run, cohorts.step_months, mapped=cohorts.mapped is not None
    )
    compared = compare_over_time(cohorts, run, look=reason or f"training run {run.name}", progress=say)
    run, frame = compared.run, cohorts.frame
    trainer = Trainer(cohorts, run, compared.inputs)
    (train_rows, test_rows) = compared.splits[TEST][0]
    test = compared.found[TEST]
    scores = test.scores

    say("final model")
    final_rows = np.flatnonzero(told_rows(frame))
    model = trainer.final(final_rows)
    say("lists, fairness, misses")
    tested = trainer.bundled(test.fitted[run.register_model], train_rows)
    months = [month_text(m) for m in compared.folds[-1].test]
    assessed = assess(tested, cohorts, months, run)
    evidence = {
        **compared.evidence,
        "data": _data_facts(cohorts, train_rows, test_rows),
        "folds": [f.describe() for f in compared.folds],
        "embargo_months": embargo_months(run.label, cohorts.step_months),
        "looks": compared.looks,
        "differences": {
            other: {metric: _turned(figure) for metric, figure in figures.items()}
            for other, figures in test.resampled.differences(against=run.register_model).items()
        },
        "curve": calibration_curve(scores["outcome"].to_numpy(), scores[run.register_model].to_numpy()).to_dict("records"),
        "assessment": assessed,
        "drivers": _driver_summary(cohorts, model, test_rows),
        "lacking": cohorts.lacking,
        "leak_gates": leak_table(compared.leaks).to_dict("records"),
        "inputs": len(compared.inputs),
        "drawn": drawn_together(cohorts.labels.iloc[test_rows], run.intervals).name,
        "trained_to": frame["as_of"].iloc[final_rows].max(),
        "versions": versions(),
        "need": need.as_json(),
        "machine": {"system": platform.system(), "processor": platform.machine(), "cpus": os.cpu_count()},
    }
    if run.sampling.others_per_fall is not None:
        evidence["sampling"] = trainer.drawn(final_rows).describe(cohorts.y, final_rows)
    if track:
        say("champion")
        evidence["champion"] = against_champion(cohorts, run, train_rows, test_rows, scores[run.register_model].to_numpy())
    model = replace(model, evidence=evidence)
    study = Study(run, compared.folds, compared.results, scores, model, evidence)
    evidence["results"] = study.results_json()
    if not track:
        return study
    say("MLflow")
    return log_study(study, cohorts, run.tracking)


@one_thread()
def compare_over_time(cohorts: Cohorts, run: Run, *, look: str | None = None, progress: Say | None = None) -> Comparison:
    """All models and baselines on rolling-origin folds inside the training months; on the test only with a reason.

    Parameters
    ----------
    cohorts, run
        As for `train`.
    look
        Why the test months are looked at too; recorded in the ledger before they are. None leaves them alone.

    Raises
    ------
    NotEnoughData
        If the test has no outcome of either kind, the months do not suffice, or no fold is left and no look is asked for.
    LeakFound
        If a leak gate stops the comparison; nothing has been fitted then.
    UsageError
        If the look cannot be recorded.
    """
    say = progress or (lambda _: None)
    frame = cohorts.frame
    inputs = model_inputs(cohorts, run)
    folds = temporal_folds(cohorts.months, cohorts.step_months, run.label, run.split)
    splits = {f.name: [rows_of(f, frame["as_of"], frame["outcome"], frame["outcome_known_at"])] for f in folds}
    evidence: dict[str, Any] = {}
    for name, [(train_rows, test_rows)] in list(splits.items()):
        try:
            enough_outcomes(frame["outcome"].to_numpy()[train_rows], "training" if name == TEST else f"{name}: training")
            enough_outcomes(frame["outcome"].to_numpy()[test_rows], "test" if name == TEST else f"{name}: test")
        except NotEnoughData as fault:
            if name == TEST:
                raise
            del splits[name]
            evidence.setdefault("folds_left_out", {})[name] = str(fault)
    folds = [_told(f, frame["as_of"], *splits[f.name][0]) for f in folds if f.name in splits]
    falls = int(frame["outcome"].to_numpy()[splits[TEST][0][0]].sum())
    small = run.register_model is None and falls < run.choice.small_below
    run = run.model_copy(update={"register_model": settled(run, falls)})
    names = candidates(run, inputs) if run.register_model == AUTO else []
    if len(folds) < 2 and not look:
        raise NotEnoughData(_no_fold(folds[-1], run, evidence.get("folds_left_out", {})))
    if run.split.household_disjoint:
        apart = _disjoint(frame["household_id"], *splits[TEST][0])
        if all(0 < np.nansum(frame["outcome"].to_numpy()[rows]) < len(rows) for rows, _ in apart):
            splits[DISJOINT] = apart
    say("leak gates")
    leaks = find_leaks(cohorts, inputs, folds, splits, run.leak_gates, seed=run.seed)
    stop_on(leaks)
    ends = (month_text(folds[-1].test[0]), month_text(folds[-1].test[-1]))
    looks = _look(cohorts, run, ends, look) if look else {}
    wanted = [name for name in splits if look or name not in (TEST, DISJOINT)]
    trainer = Trainer(cohorts, run, inputs)
    earlier = {f.name: splits[f.name][0] for f in folds[:-1]}
    before_test = splits[TEST][0][0]
    with ThreadPoolExecutor(run.threads) as pool:
        if run.tune.trials:
            within = {name: (train, np.intersect1d(rows, before_test)) for name, (train, rows) in earlier.items()}
            tuned = trainer.tuned(within, say)
            run = run.model_copy(update={"lightgbm": tuned.lightgbm})
            trainer, evidence["tuning"] = replace(trainer, run=run), tuned.evidence
        compared = pool.map(lambda split: trainer.compare(splits[split], split, say), wanted)
        found = dict(zip(wanted, compared, strict=True))

        def predict(divided: Sequence[Parts], of: Sequence[str]) -> list[pd.DataFrame]:
            enough = trainer.enough_for(run.choice.metric)
            return list(pool.map(lambda parts: enough.predict(parts, of, "choice", say), divided))

        if names:
            periods = [Period(name, rows, found[name].scores[names]) for name, (_, rows) in earlier.items()]
            chosen = choose_model(frame, run, names, periods, before_test, predict)
            say(chosen.evidence["reason"])
            run = run.model_copy(update={"register_model": chosen.model})
            evidence["choice"] = {**chosen.evidence, "small": falls if small else None}
    return Comparison(run, inputs, tuple(folds), splits, found, leaks, looks, evidence)


@one_thread()
def evaluate(model: RiskModel, cohorts: Cohorts, look: str | None = None) -> dict[str, Any]:
    """A model on months after all that it was trained on, or on counties that its training did not hold.

    Parameters
    ----------
    model
        A trained model.
    cohorts
        Cohorts of the same label with the model's catalogue; of any register and any months.
    look
        Why it is looked at; recorded in the ledger.

    Returns
    -------
    dict
        `version`, `looks`, `metrics` with intervals, and `assessment` as `assess` gives it; plain JSON.

    Raises
    ------
    NotEnoughData
        If the cohorts hold nothing that the model has not seen, or no outcome of either kind there.
    UsageError
        If the label is another one, or the look cannot be recorded.
    """
    run = model.run
    if (cohorts.label, cohorts.at_risk) != (run.label, run.at_risk):
        raise UsageError("these cohorts ask for another outcome or population than the model predicts.")
    first = month_number(model.evidence["trained_to"]) + embargo_months(run.label, cohorts.step_months)
    frame = cohorts.frame
    elsewhere = ~frame["county_id"].isin(model.evidence["data"].get("counties", frame["county_id"].unique()))
    told = frame["as_of"].isin(frame["as_of"][told_rows(frame)].unique())
    unseen = frame[((frame["as_of"] >= month_text(first)) | elsewhere) & told].reset_index(drop=True)
    known = unseen[unseen["outcome"].notna()].reset_index(drop=True)
    if not 0 < known["outcome"].sum() < len(known):
        raise NotEnoughData(
            f"the model was trained on outcomes of as-of months up to {model.evidence['trained_to']}: this register holds "
            f"{len(known)} known outcomes from {month_text(first)} on or in other counties, and both kinds are needed. "
            "Wait for more months, give another register, or evaluate the run file: riskmodel evaluate RUN.yaml."
        )
    months = sorted(unseen["as_of"].unique())
    seen = replace(cohorts, frame=unseen)
    looks = _look(cohorts, run, (months[0], months[-1]), look or f"evaluation of version {model.version}")
    lists, told = competing(unseen, np.flatnonzero(unseen["outcome"].notna()))
    scored = Scored(known["outcome"].to_numpy(), model.risk(known), lists, run.capacity, told)
    metrics = with_intervals({"model": scored}, drawn_together(known, run.intervals), run.intervals, run.seed)["model"]
    return {
        "version": model.version,
        "looks": looks,
        "metrics": _figures(metrics),
        "assessment": assess(model, seen, months, run),
    }


def _told(fold: Fold, as_of: pd.Series, train: np.ndarray, test: np.ndarray) -> Fold:
    """The fold with the months that its rows are of: those that were not told by then have none."""
    of_train, of_test = (set(as_of.iloc[rows].unique()) for rows in (train, test))
    return replace(
        fold,
        train=tuple(m for m in fold.train if month_text(m) in of_train),
        test=tuple(m for m in fold.test if month_text(m) in of_test),
    )


def _no_fold(test: Fold, run: Run, left_out: Mapping[str, str]) -> str:
    """Why there is nothing to compare inside the training months, and what to do."""
    why = " ".join(left_out.values()) or (
        f"{len(test.train)} as-of months before the test leave no fold with a horizon of {run.label.horizon_months} months."
        if run.split.folds
        else "the run asks for no fold (split.folds)."
    )
    return f"{why} Add months, take as-of months closer together (cohorts.every_months), or look at the test: --look REASON."


def _look(cohorts: Cohorts, run: Run, months: tuple[str, str], reason: str) -> dict[str, Any]:
    """Record a look at the test months; this one and the earlier ones as plain rows."""
    label = run.label
    look = Look.now(run.name, reason, label.name, label.horizon_months, *months, cohorts.register["sha256"])
    if run.split.ledger:
        ledger = Path(run.split.ledger)
    elif cohorts.origin is not None:
        ledger = cohorts.origin.path / LEDGER
    else:
        return {"this": looks_table([look])[0], "earlier": [], "kept": False}
    return {"this": looks_table([look])[0], "earlier": looks_table(record_look(ledger, look)), "kept": True}


def _figures(found: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: figure.as_json() for name, figure in found.items()}


def _turned(figure: Interval) -> dict[str, float | None]:
    """The registered model minus another, from the other minus it."""
    return Interval(-figure.value, -figure.high, -figure.low).as_json()


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    names = ("household-riskmodel", "lightgbm", "scikit-learn", "duckdb", "numba", "numpy", "pandas", "pyarrow")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def _disjoint(
    households: pd.Series, train: np.ndarray, test: np.ndarray, parts: int = 2
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The test in parts by household, each with the training rows of the other households.

    Parts are drawn by a hash of the household. To drop the test's households from training instead would leave only
    those that were not at risk later: mostly the ones that fell.
    """
    part = np.array([zlib.crc32(str(h).encode()) % parts for h in households])
    return [(train[part[train] != k], test[part[test] == k]) for k in range(parts)]


def _data_facts(cohorts: Cohorts, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    frame = cohorts.labels
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
        "counties": sorted(frame["county_id"].unique()),
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
    """Mean absolute log-odds per driver, its leading features and its spread, on a sample of the test rows."""
    if not model.explains:
        return []
    picked = np.random.default_rng(model.run.seed).choice(rows, min(len(rows), 2000), replace=False)
    sample = cohorts.frame.iloc[np.sort(picked)]
    by_feature, _ = model.contributions(sample)
    by_driver = driver_contributions(model, sample)[0]
    weight = by_driver.abs().mean().sort_values(ascending=False)
    feature_weight = by_feature.abs().mean().sort_values(ascending=False)
    of = {
        d: {f: float(v) for f, v in feature_weight.items() if cohorts.catalogue.by_name[f].driver == d} for d in weight.index
    }
    once = ~sample["household_id"].duplicated().to_numpy()
    return [
        {
            "driver": driver,
            "log_odds": float(value),
            "features": of[driver],
            "spread": spread(
                by_driver.loc[once, driver].to_numpy(),
                model.matrix(sample[once])[next(iter(of[driver]))].to_numpy(float),
                model.run.smallest_cell,
            ),
        }
        for driver, value in weight.items()
    ]
