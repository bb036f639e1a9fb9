"""When help begins, and which households were helped between an as-of day and their outcome."""

from __future__ import annotations

import pandas as pd

from riskmodel.months import as_of_day, month_number, month_text
from riskmodel.register import Register


def begun_by(register: Register) -> list[str]:
    """Columns whose first known day is that on which help began.

    Accepted help has not begun as long as the register holds the day of its start and it is blank. Where it holds none, that
    of the answer stands in, else of the offer.
    """
    return ["started_on"] if "started_on" in register.columns("assistance") else ["answered_on", "offered_on"]


def began_on(register: Register, given: pd.DataFrame) -> pd.Series:
    """The day on which help began, missing where it has not (`begun_by`); `given` are rows of the register's help."""
    day, *others = (given[c] for c in begun_by(register) if c in given)
    for other in others:
        day = day.fillna(other)
    return day


def helped_before_outcome(register: Register, rows: pd.DataFrame, horizon_months: int, step_months: int = 1) -> pd.Series:
    """Whether a measure began after the as-of day and not after the outcome, or the end of the horizon without one.

    A measure that ran on the as-of day already is no new help: the features know it. It was taken up, where the register
    holds answers, and begins as `begun_by` says.

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
        Nullable booleans, index of `rows`; missing throughout where the register holds no assistance, or neither answers
        nor days of start.
    """
    if not {"accepted", "started_on"} & set(register.columns("assistance")):
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
        given = register.read_last("assistance", county)
        if "accepted" in given:
            given = given[given["accepted"].fillna(False).astype(bool)]
        begun = given[["household_id"]].assign(began=began_on(register, given)).dropna()
        pairs = wanted[(rows["county_id"] == county).to_numpy()].merge(begun, on="household_id")
        within = (pairs["began"] > pairs["since"]) & (pairs["began"] <= pairs["until"])
        found.update(pairs.loc[within, "row"])
    return pd.Series([i in found for i in range(len(rows))], index=rows.index, dtype="boolean", name="helped")
