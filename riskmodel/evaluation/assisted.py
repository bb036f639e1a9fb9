"""A model that is acted upon looks worse than it is: figures for the helped and those not helped, apart.

Help between the as-of month and the outcome prevents falls that the model foresaw, so a good list shows false alerts
(Lenert, Matheny & Walsh 2019, JAMIA 26(12)). Those not helped show the model; those helped show
model and help together. Neither group is drawn by lot, so their difference is no effect of help.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.bootstrap import Interval, drawn_together, resample
from riskmodel.evaluation.metrics import Scored, figures_of_list
from riskmodel.settings import Intervals

GROUPS = ("all", "helped", "not_helped")
MOST = 0.5


@dataclass(frozen=True)
class Assisted:
    """Figures by help.

    Attributes
    ----------
    results
        `results[group][metric]` for `all`, `helped` and `not_helped`; a group with outcomes of one kind only is left out.
    sizes
        Per group `rows`, `households`, `events`, all with a known outcome.
    listed_helped
        Share of the listed, help known, that was helped; NaN where nobody was listed.
    warning
        A sentence where most of the list was helped, else None.
    """

    results: dict[str, dict[str, Interval]]
    sizes: pd.DataFrame
    listed_helped: float
    warning: str | None


def by_assistance(
    rows: pd.DataFrame, intervals: Intervals, seed: int, *, weight: np.ndarray | None = None, most: float = MOST
) -> Assisted:
    """Metrics for all households, the helped and those not helped, weighted for censoring.

    Parameters
    ----------
    rows
        `household_id`, `outcome` (0/1, missing where not observed), `risk`, `listed` (bool, the list of all households,
        not of the group), `helped` (bool: a measure began between the as-of month and the outcome; missing where not
        known, and then in `all` alone); `village_id` where villages may be drawn (`bootstrap.drawn_together`).
    weight
        Inverse-probability-of-censoring weights, shape (n,), from `cohort.labels.censoring_weights`; 1 by default. They
        weigh rows with a known outcome so that they stand for those without.
    most
        Share of the listed that was helped above which the warning is given.

    Returns
    -------
    Assisted
        Metrics of `Scored` and, at the list, of `figures_of_list`, with intervals over households or villages.

    Raises
    ------
    UsageError
        If a column is missing or a weight is not a finite number of 0 or more.
    NotEnoughData
        If no outcome is known or all are of one kind.

    >>> rows = pd.DataFrame({"household_id": list("abcd"), "outcome": [1, 0, 1, 0], "risk": [0.9, 0.8, 0.2, 0.1],
    ...                      "listed": [True, True, False, False], "helped": [False, True, False, False]})
    >>> found = by_assistance(rows, Intervals(replicates=20), seed=1)
    >>> found.results["all"]["precision"].value, found.results["not_helped"]["precision"].value
    (0.5, 1.0)
    """
    needed = ["household_id", "outcome", "risk", "listed", "helped"]
    missing = [c for c in needed if c not in rows]
    if missing:
        raise UsageError(f"figures by help lack the column {missing[0]!r}: they need {', '.join(needed)}.")
    w = np.ones(len(rows)) if weight is None else np.asarray(weight, float)
    if w.shape != (len(rows),) or not np.isfinite(w).all() or (w < 0).any():
        raise UsageError("censoring weights are one finite number of 0 or more per row: take those of censoring_weights.")
    known = rows["outcome"].notna().to_numpy() & (w > 0)
    helped = rows["helped"].astype("boolean")
    yes, no = (helped.eq(side).fillna(False).to_numpy(bool) for side in (True, False))
    members = {"all": known, "helped": known & yes, "not_helped": known & no}
    results, sizes = {}, {}
    for group, own in members.items():
        part = rows[own]
        y = part["outcome"].to_numpy(float)
        sizes[group] = {"rows": len(part), "households": part["household_id"].nunique(), "events": int(y.sum())}
        if 0 < y.sum() < len(y):
            results[group] = _figures(part, w[own], intervals, seed)
    if "all" not in results:
        raise NotEnoughData(
            "no figures by help: outcomes are unknown or all of one kind. Use more months or a longer horizon."
        )
    listed = rows["listed"].to_numpy(bool)
    counted = (listed & (yes | no)).sum()
    share = float((listed & yes).sum() / counted) if counted else np.nan
    return Assisted(results, pd.DataFrame.from_dict(sizes, orient="index"), share, _warning(share, most))


def _figures(part: pd.DataFrame, weight: np.ndarray, intervals: Intervals, seed: int) -> dict[str, Interval]:
    """Metrics of one group of rows with known outcomes, under weights."""
    y, listed = part["outcome"].to_numpy(float), part["listed"].to_numpy(float)
    scored = Scored(y, part["risk"].to_numpy(float))

    def measure(drawn: np.ndarray | None) -> dict[str, float]:
        w = weight if drawn is None else weight * drawn
        of_list = figures_of_list(np.dot(w, y * listed), np.dot(w, listed), np.dot(w, y), w.sum())
        return {**scored.metrics(w), **of_list}

    return resample({"model": measure}, drawn_together(part, intervals), intervals, seed).intervals()["model"]


def _warning(share: float, most: float) -> str | None:
    if not share > most:
        return None
    return (
        f"{share:.0%} of the listed households were helped before their outcome: precision and calibration show the model "
        "and the help together. Judge the model on those not helped, and on months before help began."
    )
