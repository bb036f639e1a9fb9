"""What drivers do to the risk: their contributions, and the counterfactual check."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.cohort.conditions import values
from riskmodel.explain.margins import log_odds, margins
from riskmodel.explain.shapley import GroupExplainer
from riskmodel.model.bundle import RiskModel
from riskmodel.model.estimators import LightGBM


def driver_contributions(model: RiskModel, features: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Log-odds per driver on the calibrated scale, and the base: their sum is the log-odds of `RiskModel.risk`.

    Of LightGBM the exact Shapley values of the drivers as players, path-dependent (`riskmodel.explain.shapley`); of a
    logit the sum of the driver's terms, which is the same thing where terms add up.

    Parameters
    ----------
    features
        Feature table, rows x features.

    Returns
    -------
    tuple
        Rows x drivers, those with an input, in the catalogue's order; and the base.
    """
    groups, order = drivers_of(model)
    explainer = ready_to_explain(model)
    if explainer is None:
        found, base = model.contributions(features)
        return found.T.groupby(groups).sum().T[order], base
    values = explainer.shap_values(model.matrix(features).to_numpy())
    frame = pd.DataFrame(values * model.calibration.slope, columns=explainer.group_names, index=features.index)
    return frame[order], explainer.expected_value * model.calibration.slope + model.calibration.intercept


def ready_to_explain(model: RiskModel) -> GroupExplainer | None:
    """What explains the drivers of a model, made once; None where their terms add up. May be called ahead of its use."""
    if not isinstance(model.estimator, LightGBM):
        return None
    groups, _ = drivers_of(model)
    return _explainer(model.estimator.booster_, tuple(groups.items()))


def drivers_of(model: RiskModel) -> tuple[dict[str, str], list[str]]:
    """The driver of each input, and the drivers that have one, in the catalogue's order."""
    groups = {name: model.catalogue.by_name[name].driver for name in model.inputs}
    return groups, [d.name for d in model.catalogue.drivers if d.name in set(groups.values())]


def spread(contribution: np.ndarray, feature: np.ndarray, least: int, most: int = 40) -> list[dict[str, Any]]:
    """One driver's contributions as points that each stand for `least` households or more, for a beeswarm.

    Parameters
    ----------
    contribution
        Log-odds of the driver, one per household, shape (n,).
    feature
        Values of its leading feature, shape (n,); missing values have no standing.
    least
        Fewest households in a point.
    most
        Most points.

    Returns
    -------
    list
        `log_odds`, the mean of the point's households; `standing`, how high their feature stands among all, from 0
        to 1, null where none is known; `households`. By rising log-odds; empty with fewer than `least` households.

    >>> spread(np.array([0.3, -0.1, 0.1, 0.5]), np.array([3.0, 1.0, 2.0, 4.0]), least=2)[0]
    {'log_odds': 0.0, 'standing': 0.375, 'households': 2}
    """
    points = min(most, len(contribution) // least)
    if not points:
        return []
    rank = pd.Series(feature).rank(pct=True).to_numpy()
    found = []
    for rows in np.array_split(np.argsort(contribution, kind="stable"), points):
        known = rank[rows][~np.isnan(rank[rows])]
        found.append(
            {
                "log_odds": round(float(contribution[rows].mean()), 4),
                "standing": round(float(known.mean()), 3) if len(known) else None,
                "households": len(rows),
            }
        )
    return found


@lru_cache(maxsize=4)
def _explainer(booster: Any, groups: tuple[tuple[str, str], ...]) -> GroupExplainer:
    return GroupExplainer(booster, dict(groups))


def peer_bounds(model: RiskModel, features: pd.DataFrame) -> pd.DataFrame | None:
    """What peers of each household do (`Peers.bounds`); None where the model knows no behaviour."""
    if model.peers is None:
        return None
    return model.peers.bounds(model.catalogue, features, features["household_id"].to_numpy(), margins)


def effects(model: RiskModel, features: pd.DataFrame, groups: dict[str, Collection[str]]) -> pd.DataFrame:
    """Fall of the log-odds when the features of some drivers are put back to the household's own usual values.

    Parameters
    ----------
    features
        Feature table, rows x features, evidence columns included.
    groups
        Drivers that are put back together, by the name of the group.

    Returns
    -------
    pandas.DataFrame
        Rows x groups, log-odds; 0 where the usual value is not known, NaN where no feature of the group has one.
    """
    rows = [model.catalogue.by_name[name] for name in model.inputs]
    rows = [f for f in rows if f.stable is not None]
    usual = dict(zip([f.name for f in rows], values([f.stable for f in rows], features), strict=True))
    before, given = log_odds(model, features), model.matrix(features)
    found = pd.DataFrame(index=features.index)
    for group, drivers in groups.items():
        changed = [f.name for f in rows if f.driver in drivers and f.name in features]
        if not changed:
            found[group] = np.nan
            continue
        other = given[changed].to_numpy(np.float64)
        back = np.column_stack([usual[name] for name in changed])
        back = np.where(np.isnan(back) | np.isnan(other), other, back.astype(np.float32))
        moved = np.flatnonzero(((back != other) & ~np.isnan(other)).any(axis=1))
        put_back = given.iloc[moved].copy()
        put_back[changed] = back[moved]
        effect = np.zeros(len(features))
        effect[moved] = before[moved] - log_odds(model, put_back)
        found[group] = effect
    return found
