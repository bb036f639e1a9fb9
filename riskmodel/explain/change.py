"""Why a risk changed between two scorings: new facts by driver, another model, another calibration.

The log-odds go from the old score to the new one in three steps, so that the parts add up and a part is 0 where nothing of
its kind changed: the old model sees the new facts; the new model takes the old one's place, under the old calibration; the
new calibration takes the old one's place.

The first step is given to drivers by the Shapley value (Shapley 1953) of the game in which a driver moves from its old
facts to its new ones, the other drivers being there or not yet: for every household its own past is the reference, so a
driver without new facts gets exactly 0. A difference of two SHAP values does not have that property. (Sundararajan and
Najmi 2020 call it baseline Shapley.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from riskmodel.errors import IntegrityError, UsageError
from riskmodel.explain.drivers import driver_contributions, drivers_of
from riskmodel.explain.games import find_paths, shapley_weights
from riskmodel.explain.margins import log_odds
from riskmodel.explain.plain import fill_ranks, leaf_patterns
from riskmodel.explain.shapley import number_groups
from riskmodel.explain.trees import Forest, read_forest
from riskmodel.model.bundle import RiskModel
from riskmodel.model.estimators import LightGBM

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Change:
    """Change of the log-odds of some households' risk; all parts have the same rows, in log-odds.

    Attributes
    ----------
    before, after
        Log-odds of the old and of the new score, shape (n,).
    facts
        What new facts add, rows x drivers, in the order of the old model's drivers.
    model, calibration
        What the other model and the other calibration add, shape (n,); exactly 0 where they are the same.
    """

    before: np.ndarray
    after: np.ndarray
    facts: pd.DataFrame
    model: np.ndarray
    calibration: np.ndarray


def split_change(
    old: RiskModel, new: RiskModel, before: pd.DataFrame, after: pd.DataFrame, seen_by_new: pd.DataFrame | None = None
) -> Change:
    """Split the change of a score exactly: `after - before = facts + model + calibration`.

    Parameters
    ----------
    old, new
        The models of the earlier and of the later score; often the same.
    before, after
        Features of the same households in the same order at the earlier and the later month, by the old model's
        definitions, shape (n, ...).
    seen_by_new
        Features at the later month by the new model's definitions; `after` by default.

    Raises
    ------
    UsageError
        If the tables differ in length, or the old model gives no contributions.
    IntegrityError
        If the parts of the drivers do not add up.
    """
    seen_by_new = after if seen_by_new is None else seen_by_new
    if not len(before) == len(after) == len(seen_by_new):
        raise UsageError(f"the change of {len(before)} households was asked with features of {len(after)}.")
    first, moved = log_odds(old, before), log_odds(old, after)
    replaced = log_odds(replace(new, calibration=old.calibration), seen_by_new)
    last = log_odds(new, seen_by_new)
    facts = facts_change(old, before, after)
    gap = np.abs(facts.sum(axis=1).to_numpy() - (moved - first))
    if len(gap) and gap.max() > _TOLERANCE:
        raise IntegrityError(f"the drivers' parts miss the change by up to {gap.max():.2g}: the split is not this model's.")
    return Change(first, last, facts, replaced - moved, last - replaced)


def facts_change(model: RiskModel, before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """What each driver's new facts add to the log-odds under one model, rows x drivers; errors as `split_change`."""
    if not isinstance(model.estimator, LightGBM):
        if not model.explains:
            raise UsageError(f"{model.estimator.name} gives no contributions: its changes cannot be told by driver.")
        then, now = (driver_contributions(model, features.reset_index(drop=True))[0] for features in (before, after))
        return now - then
    forest = read_forest(model.estimator.booster_)
    groups, order = drivers_of(model)
    names, group_of = number_groups(groups, forest.features)
    rows = [model.matrix(features).to_numpy(np.float64) for features in (before, after)]
    values = _baseline_shapley(forest, group_of, len(names), *rows)
    return pd.DataFrame(values * model.calibration.slope, columns=list(names))[order]


def _baseline_shapley(
    forest: Forest, group_of: np.ndarray, groups: int, before: np.ndarray, after: np.ndarray
) -> np.ndarray:
    """Values of going from each row of `before` to the same row of `after`, rows x groups, in the margin's unit.

    A leaf is reached from a mix of both rows if every group on its path is met by the row that it comes from. With a
    groups met only by the new row and b only by the old one, each of the former gets (a - 1)! b! / (a + b)! of the leaf's
    value, and each of the latter loses a! (b - 1)! / (a + b)!; where a group is met by neither, nobody gets anything.
    """
    paths = find_paths(forest, group_of)
    layout = paths.layout
    if np.diff(layout.group_start).max(initial=0) > 62:
        raise UsageError("more than 62 drivers lie on one path of a tree: a change cannot be told by driver.")
    weights = shapley_weights(int(np.diff(layout.group_start).max(initial=1)))
    ranks = []
    for rows in (before, after):
        found = paths.columns.empty_ranks(len(rows))
        fill_ranks(paths.columns, rows, np.iinfo(found.dtype).max, found)
        ranks.append(found)
    values = np.zeros((len(after), groups))
    for tree in range(forest.trees):
        missed_then, missed_now = (leaf_patterns(layout, part, tree) for part in ranks)
        first = layout.first_leaf[tree]
        for leaf, (then, now) in enumerate(zip(missed_then, missed_now, strict=True), first):
            rows = np.flatnonzero((then != now) & (then & now == 0))
            if not len(rows):
                continue
            path = layout.groups[layout.group_start[leaf] : layout.group_start[leaf + 1]]
            place = np.arange(len(path))
            gained = (then[rows, None] & ~now[rows, None]) >> place & 1
            lost = (now[rows, None] & ~then[rows, None]) >> place & 1
            a, b = gained.sum(axis=1), lost.sum(axis=1)
            each_gains = np.where(a > 0, weights[a + b, a - 1], 0.0)
            each_loses = np.where(b > 0, weights[a + b, a], 0.0)
            shares = gained * each_gains[:, None] - lost * each_loses[:, None]
            values[rows[:, None], path] += forest.value[leaf] * shares
    return values
