"""Who is at risk on an as-of month, and what happened next.

At as-of month t with horizon H, a household is at risk if it was seen lately, and nothing of what the label counts
already holds: not below the line, not in open monitoring, guarantees not known to fail, no sudden difficulty. An
outcome that was not observed through t + H is missing, never 0.

- `below_line`: income per person below the line at u in (t, t+H], and at the next assessment where two are asked
  for and the household has one. A record without income is no assessment: the one after it decides.
- `guarantee_fail`: a guarantee fails at u, recorded by a visit or a department where the source is known. Unknown is
  not a failure; where none of them told of any guarantee from t + H on, the outcome was not observed.
- `sudden_difficulty`: `(selfpay - claims) / net >= 0.5` at u, after an event of the twelve months to the end of u that
  is not known to be unverified. A record that lacks the cost or a part of net income does not tell: unknown is not
  nothing; blank claims are none. Where none tells from t + H on, the outcome was not observed, unless no event was there.
- `return`: any of the three.
- `enter_monitoring`: identified in (t, t+H] (administrative: it depends on who was visited).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import duckdb
import numpy as np
import pandas as pd

from riskmodel.catalogue.compiler import month_no
from riskmodel.cohort.standing import (
    FELL_AS,
    SUDDEN_MONTHS,
    check_population,
    guarantees_told,
    looked_at,
    open_others,
    parts_of,
    told_at,
    told_by_records,
)
from riskmodel.engine import engine, known_last, rows_of
from riskmodel.errors import UsageError
from riskmodel.months import month_text
from riskmodel.register import Register
from riskmodel.settings import AtRisk, Label


def build_labels(
    register: Register,
    as_of: Sequence[int],
    label: Label,
    at_risk: AtRisk,
    *,
    counties: Iterable[str] | None = None,
    known_by: dt.date | None = None,
) -> pd.DataFrame:
    """Households at risk at each as-of month, with their outcome.

    Parameters
    ----------
    known_by
        The day on which the outcomes are told; what was known later counts nowhere. By default all is told.

    Returns
    -------
    pandas.DataFrame
        One row per household at risk and as-of month, ordered by county, household and month: `household_id`,
        `county_id`, `as_of`, `outcome` (1.0, 0.0 or NaN where not observed), `outcome_month` (first month of it),
        `outcome_known_at` (day on which the outcome was known; NaT where missing), `seen_until` (months after the
        as-of month through which the household was observed) and `fell_as` (return, fall or unknown).

    Raises
    ------
    UsageError
        If the register lacks what the label is made of, or the horizon is no multiple of the panel's step.
    """
    step = register.step_months
    if label.horizon_months % step:
        raise UsageError(
            f"label.horizon_months is {label.horizon_months}, but the register has one record every {step} months: "
            "choose a multiple."
        )
    parts = parts_of(register, label)
    frames = []
    for county in counties if counties is not None else register.counties:
        if register.file("records", county) is None:
            continue
        with engine() as connection:
            _open(connection, register, county, known_by=known_by)
            connection.execute(_ASSESSMENTS)
            frame = connection.execute(_query(register, as_of, label, at_risk, parts)).df()
        frame.insert(1, "county_id", county)
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if len(frame):
        frame["as_of"] = frame.pop("as_of_no").map(month_text)
        frame["outcome_month"] = frame.pop("outcome_no").map(lambda n: month_text(int(n)), na_action="ignore")
        frame["outcome_known_at"] = pd.to_datetime(frame["outcome_known_at"])
    return frame


def censoring_weights(labels: pd.DataFrame, horizon_months: int, known_by: dt.date | None = None) -> pd.Series:
    """Inverse-probability-of-censoring weights (Vock et al. 2016), one per row; 0 where the outcome is missing.

    The censoring time of a row is `seen_until` where the outcome is missing. The weight is `1 / G(min(T, H)-)`, with
    G the Kaplan-Meier curve of censoring over the rows of the same as-of month, cut at the 99th percentile of all
    weights. By month, as the last months lose most: falls are known in them before the rest is. A fall without a month
    counts at the horizon.

    Parameters
    ----------
    labels
        As given by `build_labels`.
    horizon_months
        The label's horizon.
    known_by
        Outcomes that were known only after this day count as missing, and as seen until the month before the horizon.
    """
    known = labels["outcome"].notna().to_numpy()
    if known_by is not None:
        known = known & (labels["outcome_known_at"] <= pd.Timestamp(known_by)).to_numpy()
    event = known & (labels["outcome"].eq(1) & labels["outcome_month"].notna()).to_numpy()
    to_event = _months_between(labels["as_of"], labels["outcome_month"])
    latest = np.where(known, horizon_months, horizon_months - 1)  # missing: not seen at the horizon, if perhaps after it
    time = np.where(event, to_event, np.minimum(labels["seen_until"].to_numpy(float), latest))
    weight = np.zeros(len(labels))
    for rows in labels.groupby("as_of").indices.values():
        uncensored = np.ones(horizon_months + 2)
        for month in range(horizon_months + 1):
            at_risk = np.sum(time[rows] >= month)
            lost = np.sum((time[rows] == month) & ~known[rows])
            uncensored[month + 1] = uncensored[month] * (1 - lost / at_risk if at_risk else 1)
        until = np.where(event[rows], time[rows], horizon_months)
        before = uncensored[np.clip(until, 0, horizon_months).astype(int)]
        weight[rows] = np.where(known[rows], 1 / np.maximum(before, 1e-6), 0.0)
    cap = np.quantile(weight[known], 0.99) if known.any() else 1.0
    return pd.Series(np.minimum(weight, cap), index=labels.index, name="censoring_weight")


def _months_between(start: pd.Series, end: pd.Series) -> np.ndarray:
    begin = pd.PeriodIndex(start, freq="M").year * 12 + pd.PeriodIndex(start, freq="M").month
    finish = pd.PeriodIndex(end, freq="M")
    return np.where(end.notna(), finish.year * 12 + finish.month - begin, np.nan)


_ASSESSMENTS = f"""
    CREATE TABLE assessments AS
    SELECT *, lead(below IGNORE NULLS) OVER ahead AS next_below,
           lead(CASE WHEN below IS NOT NULL THEN known_at END IGNORE NULLS) OVER ahead AS next_known_at
    FROM (FROM versions {known_last("household_id", "month_no")})
    WINDOW ahead AS (PARTITION BY household_id ORDER BY month_no)
    """
"""The last version of each month's record, which decides outcomes."""


def _open(connection: duckdb.DuckDBPyConnection, register: Register, county: str, known_by: dt.date | None = None) -> None:
    """Tables of one county: `households`, `struck` (events), `monitored` (spells), `versions`, `sudden`.

    `versions` holds every version of every record that was known by a day. A version says whether income was below the
    line, a guarantee failed, and whether cost after an event was sudden difficulty (with the day on which that was known).
    `sudden` holds each version that was, with each version of such an event.
    """
    open_others(connection, register, county, known_by)
    told = told_by_records(register)
    kept = {**{name: f"CAST({text} AS BOOLEAN)" for name, text in told.items()}, **guarantees_told(register)}
    connection.execute(
        f"""
        CREATE TABLE found AS
        SELECT household_id, {month_no("month")} AS month_no, known_at, {month_no("known_at")} AS known_no,
               {", ".join(f"{text} AS {name}" for name, text in kept.items())},
               {looked_at(register)} AS looked
        FROM {rows_of(register.file("records", county))}
        {f"WHERE known_at <= DATE '{known_by}'" if known_by else ""};
        CREATE TABLE sudden AS
        SELECT f.household_id, f.month_no, f.known_at AS version, s.known_at, s.replaced_at
        FROM found f JOIN struck s USING (household_id)
        WHERE f.costly AND {_stands_behind(register, "f.month_no")};
        CREATE TABLE versions AS
        SELECT f.* EXCLUDE (costly), costly IS NOT NULL AS costed,
               CASE WHEN c.known_at IS NOT NULL THEN greatest(c.known_at, f.known_at) END AS sudden_known_at
        FROM found f LEFT JOIN (
            SELECT household_id, month_no, version, min(known_at) AS known_at FROM sudden WHERE replaced_at IS NULL
            GROUP BY household_id, month_no, version) c
        ON c.household_id = f.household_id AND c.month_no = f.month_no AND c.version = f.known_at;
        DROP TABLE found
        """
    )


def _stands_behind(register: Register, month: str) -> str:
    """SQL for whether an event of `struck` began within the months before the end of a record's period."""
    return f"{month} + {register.step_months - 1} - onset_no BETWEEN 0 AND {SUDDEN_MONTHS - 1}"


def _members(register: Register, as_of: Sequence[int], at_risk: AtRisk, parts: Sequence[str]) -> str:
    """SQL steps that end with `members`: who is at risk at each as-of month."""
    seen, ahead = at_risk.seen_within_months, register.step_months - 1
    check_population(register, at_risk)
    population = f"AND household_type = '{at_risk.population}'" if at_risk.population != "all" else ""
    failing = " OR ".join(f"coalesce(NOT arg_max({name}, month_no), false)" for name in guarantees_told(register)) or "false"
    kinds = " ".join(f"WHEN '{kind}' THEN '{outcome}'" for kind, outcome in FELL_AS.items())
    fell_as = (
        f"CASE household_type {kinds} ELSE 'unknown' END"
        if "household_type" in register.columns("households")
        else "'unknown'"
    )
    return f"""
    WITH months(as_of_no) AS (VALUES {", ".join(f"({m})" for m in sorted(as_of))}),
    standing AS (
        SELECT household_id, as_of_no, arg_max(below, month_no) AS below, arg_max(sudden, month_no) AS sudden,
               {failing} AS failing
        FROM (SELECT *, CASE WHEN costed THEN EXISTS (
                  SELECT 1 FROM sudden s WHERE s.household_id = v.household_id AND s.month_no = v.month_no
                  AND s.version = v.known_at AND {told_at(f"as_of_no + {ahead}", "s")}) END AS sudden
              FROM versions v JOIN months
              ON month_no BETWEEN as_of_no - {seen} AND as_of_no AND known_no <= as_of_no + {ahead}
              {known_last("household_id", "as_of_no", "month_no") if register.has_revisions else ""})
        GROUP BY household_id, as_of_no),
    members AS (
        SELECT household_id, as_of_no, {fell_as} AS fell_as
        FROM standing s JOIN households USING (household_id)
        WHERE {"NOT below" if "below_line" in parts else "below IS DISTINCT FROM true"}
        AND NOT failing AND sudden IS DISTINCT FROM true {population}
        AND NOT EXISTS (
            SELECT 1 FROM monitored m WHERE m.household_id = s.household_id AND from_no <= as_of_no + {ahead}
            AND {told_at(f"as_of_no + {ahead}", "m")} AND (until_no IS NULL OR until_no > as_of_no + {ahead})))
    """


def _query(register: Register, as_of: Sequence[int], label: Label, at_risk: AtRisk, parts: Sequence[str]) -> str:
    """SQL for the households at risk and their outcome."""
    horizon, seen = label.horizon_months, at_risk.seen_within_months
    at_horizon = label.when == "at"
    window = f"= as_of_no + {horizon}" if at_horizon else f"BETWEEN as_of_no + 1 AND as_of_no + {horizon}"
    in_window, period = f"month_no {window}", f"from_no - (from_no - as_of_no) % {register.step_months}"
    through = f"month_no {'=' if at_horizon else '>='} as_of_no + {horizon}"
    stands = _stands_behind(register, "assessments.month_no")
    struck = f"household_id = assessments.household_id AND {stands} AND replaced_at IS NULL"
    assesses = {
        "below_line": "below IS NOT NULL",
        "guarantee_fail": "looked",
        "sudden_difficulty": f"(costed OR NOT EXISTS (FROM struck WHERE struck.{struck}))",
    }
    assessed = next((sql for part, sql in assesses.items() if part in parts), "true")
    twice = label.assessments == 2
    refuted = in_window if twice and "below_line" in parts else "false"
    found = {
        "below_line": "below AND coalesce(next_below, true)" if twice else "below",
        "guarantee_fail": "failing",
        "sudden_difficulty": "sudden_known_at IS NOT NULL",
    }
    found_known_at = {
        "below_line": "greatest(known_at, next_known_at)" if twice else "known_at",
        "guarantee_fail": "known_at",
        "sudden_difficulty": "sudden_known_at",
    }
    events = "\n        UNION ALL ".join(
        f"SELECT household_id, as_of_no, month_no, {found_known_at[part]} AS event_known_at "
        f"FROM members JOIN assessments USING (household_id) WHERE {in_window} AND {found[part]}"
        if part in found
        else f"SELECT household_id, as_of_no, {period} AS month_no, known_at AS event_known_at "
        f"FROM members JOIN monitored USING (household_id) WHERE from_no > as_of_no AND {period} {window}"
        for part in parts
    )
    return f"""
    {_members(register, as_of, at_risk, parts)},
    events AS (
        {events}),
    outcomes AS (
        SELECT household_id, as_of_no, min(month_no) AS outcome_no, arg_min(event_known_at, month_no) AS event_known_at
        FROM (SELECT household_id, as_of_no, month_no, min(event_known_at) AS event_known_at FROM events GROUP BY ALL)
        GROUP BY household_id, as_of_no),
    observed AS (
        SELECT household_id, as_of_no, min(known_at) FILTER (WHERE {through}) AS through_known_at,
               max(next_known_at) FILTER (WHERE below AND {refuted}) AS refuted_at,
               max(month_no) - as_of_no AS seen_until
        FROM members JOIN assessments USING (household_id) WHERE month_no >= as_of_no - {seen} AND {assessed}
        GROUP BY household_id, as_of_no)
    SELECT household_id, as_of_no,
           CASE WHEN outcome_no IS NOT NULL THEN 1.0 WHEN through_known_at IS NOT NULL THEN 0.0 END AS outcome,
           outcome_no,
           CASE WHEN outcome_no IS NOT NULL THEN event_known_at
                WHEN through_known_at IS NOT NULL THEN greatest(through_known_at, refuted_at) END AS outcome_known_at,
           greatest(coalesce(seen_until, 0), 0) AS seen_until, fell_as
    FROM members LEFT JOIN outcomes USING (household_id, as_of_no) LEFT JOIN observed USING (household_id, as_of_no)
    ORDER BY household_id, as_of_no
    """
