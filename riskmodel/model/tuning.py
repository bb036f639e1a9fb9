"""Settings of LightGBM, searched for with Optuna on folds inside the training months; the test takes no part in it.

Trials are drawn by the tree-structured Parzen estimator (Bergstra et al. 2011); one whose average over the folds so far
lies behind the median of the trials before it ends there. Each trial's draw depends on the seed and on the trials finished
before it alone, so that a run that was killed and goes on finds what one that ran through finds.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.selection import LOWER_IS_BETTER
from riskmodel.model.estimators import LIGHTGBM_DEFAULTS
from riskmodel.settings import Run

if TYPE_CHECKING:
    import optuna

SPACE: dict[str, tuple[float, float, bool]] = {  # lowest, highest, on a logarithmic scale; whole numbers stay whole
    "n_estimators": (100, 1500, True),
    "learning_rate": (0.01, 0.1, True),
    "num_leaves": (4, 63, True),
    "min_data_in_leaf": (20, 1000, True),
    "feature_fraction": (0.1, 1.0, False),
    "bagging_fraction": (0.5, 1.0, False),
    "lambda_l2": (0.1, 100.0, True),
}
_BEFORE_PRUNING = 5


@dataclass(frozen=True)
class Tuned:
    """Parameters that take the place of the run's `lightgbm`, and as plain JSON how they were found."""

    lightgbm: dict[str, Any]
    evidence: dict[str, Any]


def tune_lightgbm(
    score: Callable[[Mapping[str, Any], str], float],
    folds: Sequence[str],
    run: Run,
    data: bytes,
    say: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Search for settings of LightGBM that do best on average over folds.

    The first trial is the run's own settings, so what is found is never worse than they are on these folds. That says
    nothing of other months: the best of many trials owes part of its figure to luck.

    Parameters
    ----------
    score
        Gives the run's `tune.metric` of LightGBM with these parameters on this fold.
    folds
        Names of the folds, all inside the training months.
    run
        `tune`, `lightgbm` and `seed` are read. Trials and time are a budget over all runs that share a storage.
    data
        What stands for the data and the folds: only trials on the same data and settings are gone on with.

    Raises
    ------
    UsageError
        If Optuna is not installed.
    NotEnoughData
        If there is no fold, or the metric is not defined on one.
    """
    optuna = _optuna()
    tune = run.tune
    if not folds:
        raise NotEnoughData("tune needs a fold inside the training months: set split.folds to 1 or more, or add months.")
    started = time.monotonic()
    given = {**LIGHTGBM_DEFAULTS, **run.lightgbm}
    study = optuna.create_study(
        study_name=_name(run, folds, data),
        storage=_storage(optuna, tune.storage),
        direction="minimize" if tune.metric in LOWER_IS_BETTER else "maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_BEFORE_PRUNING, n_warmup_steps=0),
        load_if_exists=True,
    )
    states = optuna.trial.TrialState
    for stale in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        study.tell(stale.number, state=states.FAIL)
    space = {name: _distribution(optuna, name, given[name]) for name in SPACE}
    spent = sum(t.user_attrs.get("seconds", 0.0) for t in study.trials)

    def out_of_time() -> bool:
        return tune.timeout_seconds is not None and spent + time.monotonic() - started >= tune.timeout_seconds

    while (done := len(_finished(study))) < tune.trials and not (done and out_of_time()):
        if not done and not study.get_trials(deepcopy=False, states=(states.WAITING,)):
            study.enqueue_trial({name: given[name] for name in SPACE})
        study.sampler = optuna.samplers.TPESampler(seed=(run.seed + done) % 2**32)
        trial = study.ask(space)
        say(f"tuning: trial {done + 1} of {tune.trials}")
        begun, values, state = time.monotonic(), [], states.COMPLETE
        for number, fold in enumerate(folds):
            values.append(score(run.lightgbm if not done else {**run.lightgbm, **trial.params}, fold))
            trial.report(float(np.mean(values)), number)
            if done and number + 1 < len(folds):
                state = states.PRUNED if trial.should_prune() else states.FAIL if out_of_time() else states.COMPLETE
                if state != states.COMPLETE:
                    break
        trial.set_user_attr("seconds", time.monotonic() - begun)
        figure = float(np.mean(values))
        if not np.isfinite(figure):
            raise NotEnoughData(f"tune: {tune.metric} is not defined on the folds: nobody fell, or everybody.")
        study.tell(trial, figure if state == states.COMPLETE else None, state=state)

    trials = _finished(study)
    own, best = trials[0], study.best_trial
    better = best.number != own.number and best.value != own.value
    return Tuned(
        {**run.lightgbm, **best.params} if better else dict(run.lightgbm),
        {
            "metric": tune.metric,
            "folds": list(folds),
            "asked": tune.trials,
            "best": trials.index(best) + 1 if better else 1,
            "own_value": own.value,
            "best_value": best.value,
            "params": best.params if better else {},
            "trials": [
                {"trial": n, "state": t.state.name.lower(), "value": t.value, **t.params} for n, t in enumerate(trials, 1)
            ],
        },
    )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UsageError("tune needs Optuna: pip install 'household-riskmodel[tune]', or leave tune.trials at 0.") from None
    logging.getLogger("optuna").setLevel(logging.ERROR)
    return optuna


def _storage(optuna: Any, path: str | None) -> optuna.storages.BaseStorage | None:
    if path is None:
        return None
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(file))
    return optuna.storages.JournalStorage(backend)


def _name(run: Run, folds: Sequence[str], data: bytes) -> str:
    """Name of the study: another one for other data, folds, settings, metric, seed or space."""
    told = run.model_dump_json(include={"leave_out", "label", "split", "capacity", "lightgbm", "seed"})
    key = f"{told}{run.tune.metric}{list(folds)}{SPACE}".encode() + data
    return f"{run.name}-{hashlib.sha256(key).hexdigest()[:16]}"


def _distribution(optuna: Any, name: str, given: Any) -> optuna.distributions.BaseDistribution:
    """The range of a parameter, widened to hold the run's own value."""
    low, high, log = SPACE[name]
    kind = optuna.distributions.IntDistribution if isinstance(low, int) else optuna.distributions.FloatDistribution
    return kind(min(low, given), max(high, given), log=log)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that count, in order: those that an end of time or a kill cut short do not."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
