"""Fitting: every model of a run on given rows, calibration on later months, what peers do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.inputs import Inputs
from riskmodel.cohort.labels import censoring_weights
from riskmodel.cohort.splits import embargo_months, household_parts, told_rows
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.bootstrap import Resampled, drawn_together, resample
from riskmodel.evaluation.metrics import Scored, competing
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.choice import Parts
from riskmodel.model.estimators import Estimator, make_estimator
from riskmodel.model.intervals import VennAbers
from riskmodel.model.peers import Peers
from riskmodel.model.sampling import Drawn, draw_rows, household_lots
from riskmodel.model.tuning import Tuned, tune_lightgbm
from riskmodel.settings import AUTO, RICH, Run
from riskmodel.threads import one_thread

_FEWEST_EVENTS = 20
_FEW_EVENTS = 2000
"""Falls in training below which a fit is too sure of rows that it has learned from to set their level (decision 3)."""
_HOUSEHOLD_PARTS = 3
"""Parts of the households that are judged by fits on the other two, where no months or few falls are there to judge by."""


@one_thread()
def fit_model(cohorts: Cohorts, run: Run | None = None) -> RiskModel:
    """The model of a run, LightGBM where it names none, fitted on all outcomes of the cohorts: no comparison, no evidence.

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
    run = run.model_copy(update={"register_model": run.register_model or RICH})
    rows = np.flatnonzero(told_rows(cohorts.frame))
    enough_outcomes(cohorts.frame["outcome"].to_numpy()[rows], "training")
    return Trainer(cohorts, run, model_inputs(cohorts, run)).final(rows)


@dataclass(frozen=True)
class Fitted:
    """A fitted model, calibrated, with intervals where later months hold enough falls."""

    estimator: Estimator
    calibration: Calibration = Calibration()
    intervals: VennAbers | None = None

    def risk(self, inputs: Inputs) -> np.ndarray:
        """Calibrated risk of each row."""
        return self.calibration.apply(raw_risk(self.estimator, inputs))


@dataclass(frozen=True)
class Compared:
    """Models on one split.

    Attributes
    ----------
    resampled
        Metrics of each model, and again on resamples of the test's households.
    scores
        Test rows: `household_id, county_id, as_of, outcome`, one column of risks per model.
    fitted
        The models, where the split has one part.
    """

    resampled: Resampled
    scores: pd.DataFrame
    fitted: dict[str, Fitted]


@dataclass(frozen=True)
class Trainer:
    """Fits the models of a run on rows of its cohorts."""

    cohorts: Cohorts
    run: Run
    inputs: Sequence[str]

    def compare(self, parts: Parts, split: str, say: Callable[[str], None]) -> Compared:
        """All models, fitted on the training rows of each part, with metrics and risks on the test rows of all."""
        test = _test_rows(parts)
        tested = self.cohorts.labels.iloc[test]
        outcome = tested["outcome"].to_numpy()
        lists, told = competing(self.cohorts.frame, test)
        scores = tested[["household_id", "county_id", "as_of", "outcome"]].reset_index(drop=True)
        names = [m for m in self.run.models if make_estimator(m).can(self.inputs)]
        risks, fitted = self._fitted(parts, names, split, say)
        scored = {name: Scored(outcome, risks[name].to_numpy(), lists, self.run.capacity, told) for name in names}
        say(f"{split}: intervals")
        measures = {name: s.metrics for name, s in scored.items()}
        resampled = resample(measures, drawn_together(tested, self.run.intervals), self.run.intervals, self.run.seed)
        return Compared(resampled, scores.join(risks), fitted if len(parts) == 1 else {})

    def predict(self, parts: Parts, names: Sequence[str], split: str, say: Callable[[str], None]) -> pd.DataFrame:
        """Risks of the test rows of all parts, by ascending position, from models fitted on each part's training rows."""
        return self._fitted(parts, names, split, say)[0]

    def _fitted(
        self, parts: Parts, names: Sequence[str], split: str, say: Callable[[str], None]
    ) -> tuple[pd.DataFrame, dict[str, Fitted]]:
        """The risks of `predict`, and the models of the last part."""
        test = _test_rows(parts)
        risks, fitted = {}, {}
        for name in names:
            say(f"{split}: {name}")
            risks[name] = np.empty(len(test))
            for train, rows in parts:
                fitted[name] = self.fit(name, train)
                risks[name][np.searchsorted(test, rows)] = fitted[name].risk(self.inputs_of(rows))
        return pd.DataFrame(risks), fitted

    def enough_for(self, metric: str) -> Trainer:
        """What fits models for a metric: without calibration for one of ranks, which a calibration never changes."""
        if not metric.endswith(("_auc", "_at_capacity")):
            return self
        split = self.run.split.model_copy(update={"calibration_months": 0})
        return replace(self, run=self.run.model_copy(update={"split": split}))

    def tuned(self, folds: Mapping[str, tuple[np.ndarray, np.ndarray]], say: Callable[[str], None]) -> Tuned:
        """LightGBM's settings, searched for on folds (rows to train on, rows to measure on) and on nothing else."""
        frame, run, metric = self.cohorts.frame, self.run, self.run.tune.metric
        outcome = frame["outcome"].to_numpy()
        enough = self.enough_for(metric)

        def score(parameters: Mapping[str, Any], fold: str) -> float:
            train, rows = folds[fold]
            trial = replace(enough, run=enough.run.model_copy(update={"lightgbm": dict(parameters)}))
            risk = trial.predict([(train, rows)], ["lightgbm"], fold, lambda _: None)["lightgbm"].to_numpy()
            lists, told = competing(frame, rows)
            return Scored(outcome[rows], risk, lists, run.capacity, told).metric(metric)

        seen = np.unique([row for fold in folds.values() for rows in fold for row in rows]).astype(int)
        blocks = Inputs(frame, (*self.inputs, "outcome"), seen).blocks()
        data = b"".join(pd.util.hash_pandas_object(b, index=False).to_numpy().tobytes() for b in blocks)
        return tune_lightgbm(score, list(folds), run, data, say)

    def inputs_of(self, rows: np.ndarray) -> Inputs:
        """What the models may know of some rows."""
        return self.cohorts.inputs_of(rows, self.inputs)

    def drawn(self, rows: np.ndarray) -> Drawn:
        """The rows of a fit: all, or those that case-control sampling keeps."""
        wanted = self.run.sampling.others_per_fall
        return draw_rows(rows, self.cohorts.y, self._lots, wanted) if wanted else Drawn(rows)

    @cached_property
    def _lots(self) -> np.ndarray:
        return household_lots(self.cohorts.frame["household_id"], self.run.seed)

    def fit(self, name: str, rows: np.ndarray) -> Fitted:
        """A model fitted on `rows`, with calibration and intervals from their last months, as models see them that have not.

        A first fit that stops before these months gives the slope, the final fit the level: where falls are few, fits on
        the other households in its stead, and both where nothing is left before these months. Intervals stand on the
        calibrated scale, which all of them share: each gives these months their rate.
        """
        outcome = self.cohorts.frame["outcome"].to_numpy()
        drawn = self.drawn(rows)
        model = self._make(name).fit(self.inputs_of(drawn.rows), outcome[drawn.rows])
        uncalibrated = Fitted(model, drawn.then(Calibration()))
        if not (model.calibrated and self.run.split.calibration_months):
            return uncalibrated
        early, late = self._calibration_rows(rows)
        if outcome[late].sum() < _FEWEST_EVENTS:
            return uncalibrated
        households = self.cohorts.frame["household_id"].iloc[late]
        early_enough = len(np.unique(outcome[early])) == 2
        if early_enough and outcome[rows].sum() >= _FEW_EVENTS:
            told = drawn.corrected(raw_risk(model, self.inputs_of(late)))
        else:
            told = self._crossed(name, rows, late)
        raw = self._foreseen(name, early, late) if early_enough else told
        weight = self._stands_for(rows, late)
        found = Calibration.fit(raw, outcome[late], weight)
        level = found.anchored(told, outcome[late], weight)
        intervals = VennAbers.fit(found.apply(raw), outcome[late], households, weight=weight)
        return Fitted(model, drawn.then(level), intervals)

    def _stands_for(self, rows: np.ndarray, late: np.ndarray) -> np.ndarray:
        """Censoring weights of the late rows on the day by which the outcomes of all rows were known.

        Where records come late, falls of the last months are known before the rest, and their rate would read too high.
        """
        labels = self.cohorts.labels
        day = labels["outcome_known_at"].iloc[rows].max()
        months = labels["as_of"].isin(labels["as_of"].iloc[late].unique())
        return censoring_weights(labels[months], self.run.label.horizon_months, day)[labels.index[late]].to_numpy()

    def _foreseen(self, name: str, seen: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What a model fitted on some rows says of others, before calibration."""
        drawn = self.drawn(seen)
        model = self._make(name).fit(self.inputs_of(drawn.rows), self.cohorts.frame["outcome"].to_numpy()[drawn.rows])
        return drawn.corrected(raw_risk(model, self.inputs_of(rows)))

    def _crossed(self, name: str, rows: np.ndarray, late: np.ndarray) -> np.ndarray:
        """What models fitted on the other households' rows say of each of the late rows, before calibration."""
        households, outcome = (self.cohorts.frame[column].to_numpy()[rows] for column in ("household_id", "outcome"))
        part = household_parts(households, outcome, _HOUSEHOLD_PARTS, self.run.seed)
        asked, risk = part[np.isin(rows, late)], np.empty(len(late))
        for number in range(_HOUSEHOLD_PARTS):
            risk[asked == number] = self._foreseen(name, rows[part != number], late[asked == number])
        return risk

    def final(self, rows: np.ndarray) -> RiskModel:
        """The registered model and what peers do, fitted on `rows`."""
        return self.bundled(self.fit(self.run.register_model, rows), rows)

    def bundled(self, fitted: Fitted, rows: np.ndarray) -> RiskModel:
        """A fitted model with what peers do, learned from the same rows."""
        catalogue, frame = self.cohorts.catalogue, self.cohorts.frame
        everything = self.cohorts.inputs_of(rows, frame.columns)
        peers = Peers.fit(catalogue, everything, frame["household_id"].to_numpy()[rows], self.run.seed)
        kept = peers if peers.boosters else None
        return RiskModel(fitted.estimator, fitted.calibration, self.run, catalogue, peers=kept, intervals=fitted.intervals)

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


def raw_risk(estimator: Estimator, inputs: Inputs) -> np.ndarray:
    """What a model says before calibration, block by block."""
    return np.concatenate([estimator.predict_proba(block)[:, 1] for block in inputs.blocks()])


def _test_rows(parts: Parts) -> np.ndarray:
    return np.sort(np.concatenate([rows for _, rows in parts]))


def model_inputs(cohorts: Cohorts, run: Run) -> list[str]:
    """Names of the features that the models of a run may use; NotEnoughData if none is left."""
    out = set(run.leave_out)
    inputs = [f.name for f in cohorts.features if f.input and f.name not in out and f.driver not in out]
    if not inputs:
        raise NotEnoughData("no feature is left as an input: the register lacks their columns, or leave_out names all.")
    return inputs


def enough_outcomes(outcome: np.ndarray, where: str) -> None:
    """Raise NotEnoughData unless there are outcomes of both kinds."""
    events = int(np.nansum(outcome))
    if events == 0 or events == len(outcome):
        raise NotEnoughData(
            f"{where}: {events} of {len(outcome)} households at risk fell. Both kinds are needed: use more months, "
            "fewer folds, or a longer horizon."
        )
