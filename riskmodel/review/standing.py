"""Where the decisions on each alert stand: open, decided, agreed or in dispute, and which causes are adjudicated."""

from __future__ import annotations

import numpy as np
import pandas as pd

from riskmodel.review.decisions import KEY

STATUSES = ("open", "deferred", "decided", "agreed", "differs")
REJECTED = "rejected"
_BY = list(KEY)


def held_views(decisions: pd.DataFrame) -> pd.DataFrame:
    """What each reviewer holds of each alert: the last decision of each, with `view`.

    `view` is the cause, `rejected` where the household is held not to be at risk, or missing where the decision is
    deferred.

    Parameters
    ----------
    decisions
        From `Decisions.table`.
    """
    last = decisions.drop_duplicates([*_BY, "reviewer"], keep="last")
    return last.assign(view=_view(last))


def first_judgements(decisions: pd.DataFrame) -> pd.DataFrame:
    """The first decision on each alert that says what the reviewer holds of it, with `view`; deferred ones do not."""
    judged = decisions.assign(view=_view(decisions)).dropna(subset="view")
    return judged.drop_duplicates(_BY, keep="first")


def standing(decisions: pd.DataFrame) -> pd.DataFrame:
    """One row per alert that was decided on.

    Returns
    -------
    pandas.DataFrame
        The alert's `as_of, county_id, household_id`; `decisions` and `reviewers`; `last_seq`, `last_action`,
        `last_cause`, `last_reviewer`; `appeal` (the last one that was told); `status`: `deferred` (nobody holds a
        view), `decided` (one reviewer does), `agreed` (several, the same), `differs` (several, not the same).
    """
    views = held_views(decisions).groupby(_BY, sort=True)["view"]
    found = pd.DataFrame({"holders": views.count(), "views": views.nunique(), "reviewers": views.size()})
    conditions = [found["holders"] == 0, found["holders"] == 1, found["views"] == 1]
    found["status"] = np.select(conditions, ["deferred", "decided", "agreed"], "differs")
    told = decisions[decisions["appeal"] != "none"].drop_duplicates(_BY, keep="last").set_index(_BY)["appeal"]
    found["appeal"] = told.reindex(found.index).fillna("none")
    found["decisions"] = decisions.groupby(_BY).size()
    last = decisions.drop_duplicates(_BY, keep="last").set_index(_BY)
    for column in ("seq", "action", "cause", "reviewer"):
        found[f"last_{column}"] = last[column].reindex(found.index)
    return found.drop(columns=["holders", "views"]).reset_index()


def adjudicated(decisions: pd.DataFrame, reviewers: int) -> pd.DataFrame:
    """Alerts whose cause counts as known.

    A cause is adjudicated where at least `reviewers` different people hold it, and more than hold any other view.
    `undetermined` is no known cause.

    Returns
    -------
    pandas.DataFrame
        `as_of, county_id, household_id`; `adjudicated`, the cause; `proposed`, the verdict of the alert; `hidden`,
        whether the first who judged it did so without sight of the proposal.
    """
    views = held_views(decisions).dropna(subset="view").groupby([*_BY, "view"]).size().rename("holders").reset_index()
    most = views.groupby(_BY)["holders"].transform("max")
    leading = views[(views["holders"] == most) & (most >= reviewers)]
    alone = leading[~leading.duplicated(_BY, keep=False)]
    known = alone[~alone["view"].isin((REJECTED, "undetermined"))].rename(columns={"view": "adjudicated"})
    first = first_judgements(decisions)[[*_BY, "proposed", "hidden"]]
    return known.drop(columns="holders").merge(first, on=_BY).reset_index(drop=True)


def _view(decisions: pd.DataFrame) -> pd.Series:
    view = decisions["cause"].where(decisions["action"] != "reject", REJECTED)
    return view.where(decisions["action"] != "defer")
