"""Who is at risk on an as-of month, and what happened next.

At as-of month t with horizon H, a household is at risk if it was seen lately, and nothing of what the label counts
already holds: not below the line, not in open monitoring, guarantees not known to fail, no sudden difficulty. An
outcome that was not observed through t + H is missing, never 0.

- `below_line`: income per person below the line at u in (t, t+H], and at the next assessment where two are asked
  for and the household has one.
- `guarantee_fail`: a guarantee fails at u, recorded by a visit or a department where the source is known. Unknown is
  not a failure.
- `sudden_difficulty`: `(selfpay - claims) / net >= 0.5` at u, after an event of the twelve months before u that is
  not known to be unverified. A record that lacks a part of net income shows none: unknown is not nothing.
- `return`: any of the three.
- `enter_monitoring`: identified in (t, t+H] (administrative: it depends on who was visited).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import duckdb
import numpy as np
import pandas as pd

from riskmodel.catalogue.compiler import month_no, quoted
from riskmodel.cohort.features import engine
from riskmodel.errors import UsageError
from riskmodel.months import first_day, month_text
from riskmodel.register import Register, load_contract
from riskmodel.settings import AtRisk, Label

SUDDEN_SHARE = 0.5
SUDDEN_MONTHS = 12
_NET = ("wage_income", "production_income", "property_income", "transfer_income")


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
    parts = _parts(register, label)
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


def build_members(register: Register, county: str, as_of: int, label: Label, at_risk: AtRisk) -> pd.DataFrame:
    """Who is at risk in a county at one as-of month, without a look at what happened next.

    Returns
    -------
    pandas.DataFrame
        `household_id` and `fell_as`, ordered by household.

    Raises
    ------
    UsageError
        As `build_labels`.
    """
    with engine() as connection:
        _open(connection, register, county, since=as_of - at_risk.seen_within_months)
        return connection.execute(
            f"{_members(register, [as_of], at_risk, _parts(register, label))} "
            "SELECT household_id, fell_as FROM members ORDER BY household_id"
        ).df()


def censoring_weights(labels: pd.DataFrame, horizon_months: int) -> pd.Series:
    """Inverse-probability-of-censoring weights (Vock et al. 2016), one per row; 0 where the outcome is missing.

    The censoring time of a row is `seen_until` where the outcome is missing. The weight is `1 / G(min(T, H)-)`, with
    G the Kaplan-Meier curve of censoring over all rows, cut at its 99th percentile.

    Parameters
    ----------
    labels
        As given by `build_labels`.
    horizon_months
        The label's horizon.
    """
    known = labels["outcome"].notna().to_numpy()
    event = labels["outcome"].eq(1).to_numpy()
    to_event = _months_between(labels["as_of"], labels["outcome_month"])
    latest = np.where(known, horizon_months, horizon_months - 1)  # missing: not seen at the horizon, if perhaps after it
    time = np.where(event, to_event, np.minimum(labels["seen_until"].to_numpy(float), latest))
    uncensored = np.ones(horizon_months + 2)
    for month in range(horizon_months + 1):
        at_risk = np.sum(time >= month)
        lost = np.sum((time == month) & ~known)
        uncensored[month + 1] = uncensored[month] * (1 - lost / at_risk if at_risk else 1)
    before = uncensored[np.clip(np.where(event, time, horizon_months), 0, horizon_months).astype(int)]
    weight = np.where(known, 1 / np.maximum(before, 1e-6), 0.0)
    cap = np.quantile(weight[known], 0.99) if known.any() else 1.0
    return pd.Series(np.minimum(weight, cap), index=labels.index, name="censoring_weight")


def _months_between(start: pd.Series, end: pd.Series) -> np.ndarray:
    begin = pd.PeriodIndex(start, freq="M").year * 12 + pd.PeriodIndex(start, freq="M").month
    finish = pd.PeriodIndex(end, freq="M")
    return np.where(end.notna(), finish.year * 12 + finish.month - begin, np.nan)


def _parts(register: Register, label: Label) -> list[str]:
    """The single causes that the label counts and the register can show."""
    held = set(register.columns("records"))
    guarantees = [c.name for c in load_contract().tables["records"].columns.values() if c.guarantee]
    possible = {
        "below_line": {"welfare", "line"} <= held,
        "guarantee_fail": any(g in held for g in guarantees),
        "sudden_difficulty": "selfpay" in held and any(c in held for c in _NET) and register.has("events"),
        "enter_monitoring": register.has("spells"),
    }
    wanted = ["below_line", "guarantee_fail", "sudden_difficulty"] if label.name == "return" else [label.name]
    parts = [p for p in wanted if possible[p]]
    if not parts or (label.name != "return" and not possible[label.name]):
        raise UsageError(f"label {label.name!r} cannot be made: the register lacks the columns that it counts.")
    return parts


_ASSESSMENTS = """
    CREATE TABLE assessments AS
    SELECT *, lead(below) OVER ahead AS next_below, lead(known_at) OVER ahead AS next_known_at
    FROM (FROM versions QUALIFY row_number() OVER (PARTITION BY household_id, month_no ORDER BY known_at DESC) = 1)
    WINDOW ahead AS (PARTITION BY household_id ORDER BY month_no)
    """
"""The last version of each month's record, which decides outcomes."""


def _open(
    connection: duckdb.DuckDBPyConnection,
    register: Register,
    county: str,
    since: int | None = None,
    known_by: dt.date | None = None,
) -> None:
    """Tables of one county: `households`, `struck` (events), `monitored` (spells), `versions`.

    `versions` holds every version of every record, from the month `since` on and known by a day. A version says whether
    income was below the line, a guarantee failed, and whether cost after a known event was sudden difficulty (with the day
    on which that event was known).
    """
    files = {table: register.file(table, county) for table in ("households", "records", "events", "spells")}
    held = set(register.columns("records"))
    connection.execute(f"CREATE TABLE households AS FROM read_parquet({quoted(files['households'])})")
    connection.execute(f"CREATE TABLE struck AS {_struck(register, files['events'])}")
    connection.execute(f"CREATE TABLE monitored AS {_monitored(register, files['spells'])}")
    for table in ("struck", "monitored") if known_by else ():
        connection.execute(f"DELETE FROM {table} WHERE known_at > DATE '{known_by}'")

    guarantees = [c.name for c in load_contract().tables["records"].columns.values() if c.guarantee and c.name in held]
    failing = " OR ".join(f"NOT {g}" for g in guarantees) or "NULL"
    if "source" in held:
        failing = f"CASE WHEN source IS NULL OR source IN ('visit', 'department') THEN ({failing}) END"
    net = " + ".join(c for c in _NET if c in held) or "NULL"
    net += " - production_cost" if "production_cost" in held else ""
    wanted = [f"month >= DATE '{first_day(since)}'"] if since else []
    wanted += [f"known_at <= DATE '{known_by}'"] if known_by else []
    cost = f"selfpay - {'coalesce(claims, 0)' if 'claims' in held else '0'}" if "selfpay" in held else "NULL"
    below = "welfare < line" if {"welfare", "line"} <= held else "NULL"
    connection.execute(
        f"""
        CREATE TABLE versions AS
        WITH found AS (
            SELECT household_id, {month_no("month")} AS month_no, known_at, {month_no("known_at")} AS known_no,
                   CAST({below} AS BOOLEAN) AS below, CAST({failing} AS BOOLEAN) AS failing,
                   CASE WHEN {net} IS NOT NULL THEN ({cost}) >= {SUDDEN_SHARE} * greatest({net}, 1) END AS costly
            FROM read_parquet({quoted(files["records"])}) {f"WHERE {' AND '.join(wanted)}" if wanted else ""}),
        costly AS (
            SELECT f.household_id, f.month_no, f.known_at, min(s.known_at) AS struck_known_at
            FROM found f JOIN struck s USING (household_id)
            WHERE f.costly AND f.month_no - s.onset_no BETWEEN 0 AND {SUDDEN_MONTHS - 1}
            GROUP BY f.household_id, f.month_no, f.known_at)
        SELECT f.* EXCLUDE (costly),
               CASE WHEN c.struck_known_at IS NOT NULL THEN greatest(c.struck_known_at, f.known_at) END AS sudden_known_at
        FROM found f LEFT JOIN costly c USING (household_id, month_no, known_at)
        """
    )


def _struck(register: Register, file: object) -> str:
    """Events that are not known to be unverified; those of a village strike each of its households."""
    if file is None:
        return "SELECT '' AS household_id, 0 AS onset_no, DATE '2000-01-01' AS known_at WHERE false"
    held = set(register.columns("events"))
    verified = "coalesce(verified, true)" if "verified" in held else "true"
    columns = f"{month_no('onset_on')} AS onset_no, known_at FROM read_parquet({quoted(file)})"
    own = f"SELECT household_id, {columns} WHERE household_id IS NOT NULL AND {verified}"
    if "village_id" not in held & set(register.columns("households")):
        return own
    return (
        f"{own} UNION ALL SELECT households.household_id, onset_no, known_at FROM households JOIN "
        f"(SELECT village_id, {columns} WHERE household_id IS NULL AND {verified}) USING (village_id)"
    )


def _monitored(register: Register, file: object) -> str:
    """Spells of monitoring by month number."""
    if file is None:
        return "SELECT '' AS household_id, 0 AS from_no, 0 AS until_no, DATE '2000-01-01' AS known_at WHERE false"
    ended = month_no("eliminated_on") if "eliminated_on" in register.columns("spells") else "NULL"
    return (
        f"SELECT household_id, {month_no('identified_on')} AS from_no, {ended} AS until_no, known_at "
        f"FROM read_parquet({quoted(file)})"
    )


def _members(register: Register, as_of: Sequence[int], at_risk: AtRisk, parts: Sequence[str]) -> str:
    """SQL steps that end with `members`: who is at risk at each as-of month."""
    seen, ahead = at_risk.seen_within_months, register.step_months - 1
    held = set(register.columns("households"))
    if at_risk.population != "all" and "household_type" not in held:
        raise UsageError("at_risk.population asks for household_type, which the register does not hold.")
    population = f"AND household_type = '{at_risk.population}'" if at_risk.population != "all" else ""
    fell_as = (
        "CASE household_type WHEN 'lifted' THEN 'return' WHEN 'ordinary' THEN 'fall' ELSE 'unknown' END"
        if "household_type" in held
        else "'unknown'"
    )
    version = "month_no * 1000000 + date_diff('day', DATE '1900-01-01', known_at)"
    return f"""
    WITH months(as_of_no) AS (VALUES {", ".join(f"({m})" for m in sorted(as_of))}),
    standing AS (
        SELECT household_id, as_of_no, arg_max(below, {version}) AS below, arg_max(failing, {version}) AS failing,
               arg_max(sudden_known_at IS NOT NULL AND {month_no("sudden_known_at")} <= as_of_no + {ahead}, {version})
                   AS sudden
        FROM versions JOIN months
        ON month_no BETWEEN as_of_no - {seen} AND as_of_no AND known_no <= as_of_no + {ahead}
        GROUP BY household_id, as_of_no),
    members AS (
        SELECT household_id, as_of_no, {fell_as} AS fell_as
        FROM standing s JOIN households USING (household_id)
        WHERE {"NOT below" if "below_line" in parts else "below IS DISTINCT FROM true"}
        AND failing IS DISTINCT FROM true AND sudden IS DISTINCT FROM true {population}
        AND NOT EXISTS (
            SELECT 1 FROM monitored m WHERE m.household_id = s.household_id AND from_no <= as_of_no + {ahead}
            AND {month_no("m.known_at")} <= as_of_no + {ahead} AND (until_no IS NULL OR until_no > as_of_no + {ahead})))
    """


def _query(register: Register, as_of: Sequence[int], label: Label, at_risk: AtRisk, parts: Sequence[str]) -> str:
    """SQL for the households at risk and their outcome."""
    horizon, seen = label.horizon_months, at_risk.seen_within_months
    at_horizon = label.when == "at"
    in_window = (
        f"month_no = as_of_no + {horizon}" if at_horizon else f"month_no > as_of_no AND month_no <= as_of_no + {horizon}"
    )
    through = f"month_no {'=' if at_horizon else '>='} as_of_no + {horizon}"
    told = " AND below IS NOT NULL" if "below_line" in parts else ""
    twice = label.assessments == 2
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
        else "SELECT household_id, as_of_no, from_no AS month_no, known_at AS event_known_at "
        f"FROM members JOIN monitored USING (household_id) WHERE from_no > as_of_no AND from_no <= as_of_no + {horizon}"
        for part in parts
    )
    return f"""
    {_members(register, as_of, at_risk, parts)},
    events AS (
        {events}),
    outcomes AS (
        SELECT household_id, as_of_no, min(month_no) AS outcome_no, arg_min(event_known_at, month_no) AS event_known_at
        FROM events GROUP BY household_id, as_of_no),
    observed AS (
        SELECT household_id, as_of_no, min(known_at) FILTER (WHERE {through}) AS through_known_at,
               max(month_no) - as_of_no AS seen_until
        FROM members JOIN assessments USING (household_id) WHERE month_no >= as_of_no - {seen}{told}
        GROUP BY household_id, as_of_no)
    SELECT household_id, as_of_no,
           CASE WHEN outcome_no IS NOT NULL THEN 1.0 WHEN through_known_at IS NOT NULL THEN 0.0 END AS outcome,
           outcome_no, coalesce(event_known_at, through_known_at) AS outcome_known_at,
           greatest(coalesce(seen_until, 0), 0) AS seen_until, fell_as
    FROM members LEFT JOIN outcomes USING (household_id, as_of_no) LEFT JOIN observed USING (household_id, as_of_no)
    ORDER BY household_id, as_of_no
    """
