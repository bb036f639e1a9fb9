"""Which households were helped between an as-of day and their outcome."""

from __future__ import annotations

import pandas as pd

from riskmodel.months import as_of_day, month_number, month_text
from riskmodel.register import Register


def helped_before_outcome(register: Register, rows: pd.DataFrame, horizon_months: int, step_months: int = 1) -> pd.Series:
    """Whether a measure began after the as-of day and not after the outcome, or the end of the horizon without one.

    A measure that ran on the as-of day already is no new help: the features know it. One whose start is not recorded
    counts from the day on which it was offered, if it was not refused.

    Parameters
    ----------
    rows
        `household_id`, `county_id`, `as_of`, and `outcome_month` (missing without a fall), such as `Cohorts.frame`.
    horizon_months
        The label's horizon.
    step_months
        The panel's step.

    Returns
    -------
    pandas.Series
        Nullable booleans, index of `rows`; missing throughout where the register holds no assistance.
    """
    if not register.has("assistance"):
        return pd.Series(pd.NA, index=rows.index, dtype="boolean", name="helped")
    months = {m: month_number(m) for m in rows["as_of"].unique()}
    since = rows["as_of"].map({m: pd.Timestamp(as_of_day(n, step_months)) for m, n in months.items()})
    ends = {month_text(n + horizon_months) for n in months.values()} | set(rows["outcome_month"].dropna())
    last = {m: pd.Timestamp(as_of_day(month_number(m), step_months)) for m in ends}
    latest = rows["as_of"].map({m: month_text(n + horizon_months) for m, n in months.items()})
    until = rows["outcome_month"].fillna(latest).map(last)
    wanted = pd.DataFrame({"household_id": rows["household_id"], "since": since, "until": until, "row": range(len(rows))})
    found: set[int] = set()
    for county in rows["county_id"].unique():
        begun = _begun(register, county)
        pairs = wanted[(rows["county_id"] == county).to_numpy()].merge(begun, on="household_id")
        within = (pairs["began"] > pairs["since"]) & (pairs["began"] <= pairs["until"])
        found.update(pairs.loc[within, "row"])
    return pd.Series([i in found for i in range(len(rows))], index=rows.index, dtype="boolean", name="helped")


def _begun(register: Register, county: str) -> pd.DataFrame:
    """Measures of a county that began, by household and day."""
    given = register.read_last("assistance", county)
    started = given["started_on"] if "started_on" in given else pd.Series(pd.NaT, index=given.index)
    accepted = given["accepted"] if "accepted" in given else pd.Series(pd.NA, index=given.index, dtype="boolean")
    offered = given["offered_on"].where(accepted.fillna(True).astype(bool))
    began = started.fillna(offered)
    return given[["household_id"]].assign(began=began).dropna()
