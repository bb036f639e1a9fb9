"""How far reviewers agree with each other and with the model, with intervals over households.

Cohen's kappa takes chance agreement from both raters' margins (Cohen 1960); it falls where one category is common, even if
raters hardly ever differ. Gwet's AC1 does not (Gwet 2008), so both are told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.evaluation.bootstrap import Interval, percentile_interval, resample
from riskmodel.evaluation.calibration import design_effect
from riskmodel.evaluation.verdicts import clopper_pearson_lower, clopper_pearson_upper
from riskmodel.explain.causes import VERDICTS
from riskmodel.review.decisions import KEY
from riskmodel.review.standing import REJECTED, first_judgements
from riskmodel.settings import Intervals

FIGURES = ("agreement", "kappa", "ac1")
VIEWS = (*VERDICTS, REJECTED)
_SEED = 20260101
_INTERVALS = Intervals(over="household", replicates=1000)


def agreement_figures(
    first: Sequence[str], second: Sequence[str], categories: Sequence[str], weight: np.ndarray | None = None
) -> dict[str, float]:
    """Observed agreement, Cohen's kappa and Gwet's AC1 of two raters.

    Parameters
    ----------
    first, second
        One category per case, shape (n,).
    categories
        All that could have been given: AC1 depends on their number.
    weight
        Weight of each case, shape (n,); 1 by default.

    Returns
    -------
    dict
        `agreement`, `kappa`, `ac1`; NaN where not defined, as kappa is where both raters give one category alone.

    >>> a = ["yes"] * 118 + ["yes"] * 5 + ["no"] * 2  # Gwet's 125 cases
    >>> b = ["yes"] * 118 + ["no"] * 5 + ["yes"] * 2
    >>> {name: round(value, 3) for name, value in agreement_figures(a, b, ["yes", "no"]).items()}
    {'agreement': 0.944, 'kappa': -0.023, 'ac1': 0.941}
    """
    return _figures(_tables(first, second, categories)(weight))


def _figures(table: np.ndarray) -> dict[str, float]:
    """The figures of a table of the first rater's categories by the second's."""
    total = table.sum()
    if total == 0:
        return dict.fromkeys(FIGURES, float("nan"))
    return _beyond_chance(float(np.trace(table) / total), _by_chance(table / total))


def _by_chance(share: np.ndarray) -> dict[str, float]:
    """Agreement that each figure takes for chance, given the shares of a table."""
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    mean = (rows + columns) / 2
    return {
        "agreement": 0.0,
        "kappa": float(rows @ columns),
        "ac1": float((mean * (1 - mean)).sum() / (len(share) - 1)),
    }


def _beyond_chance(observed: float, chance: dict[str, float]) -> dict[str, float]:
    return {name: (observed - c) / (1 - c) if c < 1 else float("nan") for name, c in chance.items()}


def between_reviewers(decisions: pd.DataFrame) -> dict[str, Any]:
    """How far the second reviewer of an alert agrees with the first, each by the first view they gave.

    The second one saw what the first had decided, so that this is agreement after a look, not of independent raters.

    Returns
    -------
    dict
        `alerts`, and an interval for each of `FIGURES`.
    """
    judged = decisions[decisions["action"] != "defer"].drop_duplicates([*KEY, "reviewer"], keep="first")
    view = judged["cause"].where(judged["action"] != "reject", REJECTED)
    judged = judged.assign(view=view, turn=judged.groupby(list(KEY)).cumcount())
    first, second = (judged[judged["turn"] == turn][[*KEY, "view"]] for turn in (0, 1))
    pairs = first.merge(second, on=list(KEY), suffixes=("", "_second"))
    return _told(pairs, pairs["view"], pairs["view_second"], VIEWS)


def with_model(decisions: pd.DataFrame) -> dict[str, Any]:
    """How far the first judgement of each alert's cause agrees with the proposed verdict.

    Returns
    -------
    dict
        `alerts`, and an interval for each of `FIGURES`.
    """
    judged = _causes(decisions)
    return _told(judged, judged["proposed"], judged["view"], VERDICTS)


def anchoring(decisions: pd.DataFrame) -> dict[str, Any]:
    """What the sight of the proposal does: agreement with it where it was shown less agreement where it was hidden.

    Half of the alerts are hidden by the household's and the month's hash (`--blind-half`), so that the difference is due
    to the sight alone. Months in which nothing was hidden are left out.

    Returns
    -------
    dict
        `shown` and `hidden`, the numbers of alerts, and `difference`, the interval of the difference in agreement and
        in AC1; no figures where one of the two is empty.
    """
    judged = _causes(decisions)
    judged = judged[judged["as_of"].isin(judged.loc[judged["hidden"], "as_of"])]
    hidden = judged["hidden"].to_numpy(bool)
    counts = {"shown": int((~hidden).sum()), "hidden": int(hidden.sum())}
    if not all(counts.values()):
        return {**counts, "difference": None}
    parts = [(_tables(judged["proposed"], judged["view"], VERDICTS), rows) for rows in (~hidden, hidden)]

    def measure(weight: np.ndarray | None) -> dict[str, float]:
        shown, unseen = (_figures(table(rows if weight is None else rows * weight)) for table, rows in parts)
        return {name: shown[name] - unseen[name] for name in ("agreement", "ac1")}

    return {**counts, "difference": _intervals(measure, judged)}


def share_interval(event: pd.Series, households: pd.Series) -> Interval:
    """A share with its interval over households; not defined where there are no cases.

    That of Clopper and Pearson (1934), with the count of cases divided by the design effect of households (Rao & Scott
    1992): it holds with a handful of cases that have it, and with none, where resamples of the households say too little.

    Parameters
    ----------
    event
        Whether each case has it, shape (n,).
    households
        Household of each case, shape (n,).
    """
    if event.empty:
        return percentile_interval(float("nan"), [], _INTERVALS.level)
    values, level = event.to_numpy(float), (1 + _INTERVALS.level) / 2
    share = float(values.mean())
    cases = len(values) / design_effect(values, np.full(len(values), share), households)
    had = share * cases
    return Interval(share, clopper_pearson_lower(had, cases, level), clopper_pearson_upper(had, cases, level))


def _causes(decisions: pd.DataFrame) -> pd.DataFrame:
    """First judgements that name a cause."""
    judged = first_judgements(decisions)
    return judged[judged["view"] != REJECTED].reset_index(drop=True)


def _tables(first: Sequence[str], second: Sequence[str], categories: Sequence[str]) -> Callable[[Any], np.ndarray]:
    """The table of two raters as a function of row weights, None for 1 each."""
    index = pd.Index(categories)
    size = len(index)
    cell = index.get_indexer(pd.Index(first)) * size + index.get_indexer(pd.Index(second))
    return lambda weight: np.bincount(cell, weights=weight, minlength=size * size).reshape(size, size)


def _told(cases: pd.DataFrame, first: pd.Series, second: pd.Series, categories: Sequence[str]) -> dict[str, Any]:
    """The figures with intervals; where all agree every resample would, and the bounds are those of so many who agree."""
    if cases.empty:
        return {"alerts": 0, **dict.fromkeys(FIGURES)}
    agreed = share_interval(first == second, cases["county_id"] + "/" + cases["household_id"])
    table = _tables(first, second, categories)
    found = _intervals(lambda weight: _figures(table(weight)), cases) | {"agreement": agreed.as_json()}
    if agreed.value == 1:
        lowest = _beyond_chance(agreed.low, _by_chance(table(None) / len(cases)))
        found |= {name: Interval(1.0, low, 1.0).as_json() for name, low in lowest.items() if not np.isnan(low)}
    return {"alerts": len(cases), **found}


def _intervals(measure: Callable[[np.ndarray | None], dict[str, float]], cases: pd.DataFrame) -> dict[str, Any]:
    households = cases["county_id"] + "/" + cases["household_id"]
    found = resample({"": measure}, households, _INTERVALS, _SEED).intervals()[""]
    return {name: interval.as_json() for name, interval in found.items()}
