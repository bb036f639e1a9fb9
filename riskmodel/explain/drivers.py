"""What a driver does to the risk: the counterfactual check."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from riskmodel.cohort.conditions import values
from riskmodel.model.bundle import RiskModel


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
    before = model.log_odds(features)
    found = pd.DataFrame(index=features.index)
    for group, drivers in groups.items():
        changed = [f.name for f in rows if f.driver in drivers]
        if not changed:
            found[group] = np.nan
            continue
        other = features.copy()
        for name in changed:
            given = other[name].to_numpy(float)
            other[name] = np.where(np.isnan(usual[name]) | np.isnan(given), given, usual[name])
        found[group] = before - model.log_odds(other)
    return found
