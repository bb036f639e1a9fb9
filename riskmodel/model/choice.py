"""The choice of the model to register, from periods inside the training months; the test takes no part in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.cohort.splits import household_parts
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.bootstrap import resample
from riskmodel.evaluation.metrics import Scored, competing
from riskmodel.evaluation.selection import RULES, Periods, choose, regrets
from riskmodel.model.estimators import can_register, make_estimator
from riskmodel.settings import AUTO, MODELS, RICH, Run

PARTS = 5
DIVISIONS = 4
_MANY_EVENTS = 200

Parts = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Period:
    """Rows of one period, as positions in the cohorts, ascending, and the risk that each candidate gave them."""

    name: str
    rows: np.ndarray
    risk: pd.DataFrame


@dataclass(frozen=True)
class Chosen:
    """The chosen model's name, and as plain JSON why: rule, figures of the candidates, regret of every rule."""

    model: str
    evidence: dict[str, Any]


def settled(run: Run, falls: int) -> str:
    """The model that a run registers, or `auto` where it is to be chosen.

    A run that names none registers LightGBM; with fewer than `choice.small_below` falls in training, or without LightGBM
    among its models, it chooses.

    Parameters
    ----------
    falls
        Falls in the training rows of the test.

    >>> settled(Run(), falls=67), settled(Run(), falls=180), settled(Run(register_model="lightgbm"), falls=67)
    ('auto', 'lightgbm', 'lightgbm')
    """
    if run.register_model is not None:
        return run.register_model
    return RICH if RICH in run.models and falls >= run.choice.small_below else AUTO


def candidates(run: Run, inputs: Sequence[str]) -> list[str]:
    """Models of a run that can be registered with these inputs, from the simplest to the richest.

    Raises
    ------
    UsageError
        If there is none.
    """
    found = [m for m in MODELS if m in run.models and can_register(m) and make_estimator(m).can(inputs)]
    if not found:
        raise UsageError(f"register_model: auto picks among {', '.join(filter(can_register, MODELS))}: name one in models.")
    return found


def divisions(frame: pd.DataFrame, rows: np.ndarray, seed: int) -> list[Parts]:
    """Household-disjoint parts of the training rows, several times over: for each part, training rows and its own.

    The way out where the months leave no earlier fold, or folds with too few falls (`choice.fewest_falls`). Each part's
    models have seen none of its households, but they have seen its months: what changes with time is not in these
    figures, and they flatter the richer models where something does. A division is repeated where falls are few, since
    the luck of the draw is then as large as what parts the models; the repeats hold the same households and narrow no
    standard error over them.

    Raises
    ------
    NotEnoughData
        If fewer than two households fell, or did not.
    """
    households = frame["household_id"].to_numpy()[rows]
    outcome = frame["outcome"].to_numpy()[rows]
    fell = len(np.unique(households[outcome == 1]))
    parts = min(PARTS, fell, len(np.unique(households)) - fell)
    if parts < 2:
        raise NotEnoughData(f"{fell} households fell in training: too few to choose a model. Name one: register_model.")
    found = []
    for division in range(DIVISIONS if outcome.sum() < _MANY_EVENTS else 1):
        part = household_parts(households, outcome, parts, [seed, division])
        found.append([(rows[part != k], rows[part == k]) for k in range(parts)])
    return found


def of_parts(divided: Sequence[Parts], risks: Sequence[pd.DataFrame]) -> tuple[list[Period], tuple[tuple[int, ...], ...]]:
    """Parts of all divisions as periods, and for each the other parts of its division, on which a rule may look."""
    periods, before = [], []
    for number, (parts, risk) in enumerate(zip(divided, risks, strict=True)):
        everyone = np.sort(np.concatenate([rows for _, rows in parts]))
        first = len(periods)
        for k, (_, rows) in enumerate(parts):
            here = risk.iloc[np.searchsorted(everyone, rows)]
            periods.append(Period(f"division_{number + 1}_part_{k + 1}", rows, here))
            before.append(tuple(first + other for other in range(len(parts)) if other != k))
    return periods, tuple(before)


def measured(
    frame: pd.DataFrame, run: Run, names: Sequence[str], found: Sequence[Period], before: tuple[tuple[int, ...], ...] | None
) -> Periods:
    """The metric of each candidate in each period, and on resamples that draw a household in all its periods at once."""
    metric = run.choice.metric
    where = np.cumsum([0, *(len(p.rows) for p in found)])
    lists = [competing(frame, p.rows) for p in found]
    outcome = frame["outcome"].to_numpy()

    def measure(name: str) -> Callable[[np.ndarray | None], dict[str, float]]:
        scored = [
            Scored(outcome[p.rows], p.risk[name].to_numpy(), own, run.capacity, told)
            for p, (own, told) in zip(found, lists, strict=True)
        ]

        def figures(weight: np.ndarray | None) -> dict[str, float]:
            weights = [None if weight is None else weight[a:b] for a, b in zip(where, where[1:], strict=False)]
            return {
                p.name: s.metric(metric, w) if w is None or w.any() else np.nan
                for p, s, w in zip(found, scored, weights, strict=True)
            }

        return figures

    households = frame["household_id"].to_numpy()[np.concatenate([p.rows for p in found])]
    drawn = resample({name: measure(name) for name in names}, households, run.intervals, run.seed)
    value = pd.DataFrame.from_dict(drawn.point, orient="index").loc[list(names)]
    draws = np.array([[drawn.draws[name][p.name] for p in found] for name in names])
    return Periods(metric, value, draws, before, timed=before is None)


def choose_model(
    frame: pd.DataFrame,
    run: Run,
    names: Sequence[str],
    folds: Sequence[Period],
    train_rows: np.ndarray,
    predict: Callable[[Sequence[Parts], Sequence[str]], Sequence[pd.DataFrame]],
) -> Chosen:
    """Pick one of the candidates by the run's rule.

    Parameters
    ----------
    frame
        The cohorts' rows.
    names
        As `candidates` gives them.
    folds
        Earlier folds in the order of time, with risks of all candidates. Rows that are not among `train_rows`, because
        their outcome was not known when the test began, are left out.
    train_rows
        Positions of the training rows of the test.
    predict
        Gives, for parts and names, the risks of all their test rows by ascending position; called where earlier folds
        are missing or hold too few falls (see `divisions`).
    """
    within = [np.isin(p.rows, train_rows) for p in folds]
    found = [Period(p.name, p.rows[keep], p.risk[keep]) for p, keep in zip(folds, within, strict=True) if keep.any()]
    before = None
    if len(names) == 1:
        return Chosen(names[0], {"chosen": names[0], "reason": f"{names[0]}: the only candidate."})
    falls = sum(frame["outcome"].to_numpy()[p.rows].sum() for p in found)
    if not found or falls < run.choice.fewest_falls:
        divided = divisions(frame, train_rows, run.seed)
        found, before = of_parts(divided, predict(divided, names))
    periods = measured(frame, run, names, found, before)
    model = choose(periods, run.choice.rule)
    behind = periods.part(range(len(found))).behind()
    return Chosen(model, _evidence(run, model, periods, behind, len(found)))


def _evidence(run: Run, model: str, periods: Periods, behind: pd.DataFrame, count: int) -> dict[str, Any]:
    metric, best = periods.metric, str(behind["behind"].idxmin())
    here = behind.loc[model]
    over = f"{count} earlier fold{'s' * (count > 1)}" if periods.timed else f"{count} parts of the training households"
    distance = "the best" if model == best else (
        f"{here['behind']:.4f} behind {best} (standard error of the paired difference {here['standard_error']:.4f})"
    )  # fmt: skip
    return {
        "rule": run.choice.rule,
        "metric": metric,
        "chosen": model,
        "reason": f"{model} by {run.choice.rule}: {metric} {here['value']:.4f} over {over}, {distance}.",
        "periods": "time" if periods.timed else "households",
        "candidates": _records(behind.rename_axis("model")),
        "values": _records(periods.value.rename_axis("model")),
        "rules": {rule: choose(periods, rule) for rule in RULES},
        "regrets": _records(regrets(periods).rename_axis("rule")),
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    plain = table.reset_index().astype(object)
    return plain.where(plain.notna() & ~plain.isin([np.inf]), None).to_dict("records")
