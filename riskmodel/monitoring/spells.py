"""Spells reported: how long they last, how they end, who comes back, who stays long, who enters often, who left too early.

Durations are Kaplan-Meier curves (Kaplan & Meier 1958) with log-log intervals, delayed entry for spells that began before
the register (left truncation), open spells censored. Chronic and transient poverty are told apart as Jalan & Ravallion
(2000) do: by the squared gap of a household's mean income, and what its months show beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from riskmodel.catalogue.compiler import month_no
from riskmodel.cohort.spells import Sight, assessments, has_assessments, open_monitoring, open_runs
from riskmodel.engine import engine, known_last, rows_of
from riskmodel.monitoring.counties import by_county
from riskmodel.monitoring.known import open_known, sight
from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.reentry import MONITORING, POVERTY, landmarks, no_assessments, report_reentry
from riskmodel.months import month_text
from riskmodel.register.validators import spells_against

SOON_AFTER_HELP = "soon_after_help"
VERDICTS = ("objective", "mixed", "subjective", "undetermined")
PLACES = ("township_id", "village_id", "household_type")
_TOLD_BY = (6, 12, 24)
_Z = 1.959964


def report_spells(asked: Asked) -> Found:
    """Spells of poverty and of monitoring as known at the end of the period.

    Returns
    -------
    Found
        Tables `durations`, `duration_summary`, `exits`, `reentry_by_month`, `entry_rates`, `poverty_kinds`, `long_stays`,
        `frequent_entries`, `list_makeup`, `removed_early`, and those of `report_reentry`; what the register cannot give is
        left out and said in a note.
    """
    kinds = kinds_of(asked)
    if not kinds:
        return Found({}, notes=[_NOTHING])
    sees = sight(asked)
    told = [c for c in asked.register.counties if _kinds_in(asked, c)]
    parts = list(by_county(asked, partial(_county, sees=sees), "spells", told))
    found = {
        name: pd.concat([p[name] for p in parts if name in p], ignore_index=True) for name in sorted(set().union(*parts))
    }
    notes = [_READING]
    told_late = _told_late(asked, sees) if sees.told_no(asked.as_of) < asked.last_month else None
    if told_late is not None:
        notes.append(told_late)
    lacks: dict[str, tuple[str, str]] = {}
    if MONITORING not in kinds:
        lacks["removed_early"] = _NO_SPELLS
    elif not (found["spells"]["kind"] == MONITORING).any():
        notes.append(_NOBODY_MONITORED)
    elif "eliminated_on" not in asked.register.columns("spells"):
        notes.append(_NO_ENDS)
    if POVERTY not in kinds:
        lacks["poverty_kinds"] = _NO_INCOME
    tables = {
        "durations": _curves(found["spells"]),
        "duration_summary": _summary(found["spells"]),
        "exits": _exits(found["ends"]),
        "reentry_by_month": _curves(found["outs"], hazard=True),
        "entry_rates": _rates(found["entries"]),
    }
    if "gaps" in found:
        tables["poverty_kinds"] = _poverty_kinds(found["gaps"])
    listed = {
        "long_stays": _dated(_first("months", found["long_stays"])),
        "frequent_entries": _dated(_first("entries", found["frequent_entries"])),
    }
    alerts = _alerts(asked)
    if alerts is None:
        lacks["list_makeup"] = _NO_ALERTS
    else:
        listed = {name: rows.merge(_verdicts(alerts), "left", "household_id") for name, rows in listed.items()}
        for rows in listed.values():
            rows[["alerts", *VERDICTS]] = rows[["alerts", *VERDICTS]].fillna(0).astype(int)
        tables["list_makeup"] = _makeup(listed, alerts)
        if len(listed["long_stays"]) and not listed["long_stays"]["alerts"].any():
            below = listed["long_stays"]["kind"].eq(POVERTY).all()
            notes.append(_STAYED_BELOW if below else _STAYED_UNRANKED)
    tables |= listed
    if "removed" in found:
        tables["removed_early"] = _dated(_first("came_back", _first("eliminated_on", found["removed"])))
    why = _OUT_OF_SIGHT if tables["duration_summary"]["lost"].sum() > 0 else told_late
    lacks |= {name: why for name in ("durations", "reentry_by_month") if why is not None and not len(tables[name])}
    if len(tables["duration_summary"]) and not len(tables["durations"]) and why is not _OUT_OF_SIGHT:
        lacks["durations"] = _NEVER_FROM_THE_BEGINNING
    risk = report_reentry(asked, sees, found["current"])
    notes = list(dict.fromkeys([*notes, *lacks.values(), *risk.notes]))
    return Found({**tables, **risk.tables}, {**_figures(tables), **risk.figures}, notes, lacks)


def kinds_of(asked: Asked) -> list[str]:
    """The kinds of spells that the register can show."""
    shown = {POVERTY: has_assessments(asked.register), MONITORING: asked.register.has("spells")}
    return [kind for kind, there in shown.items() if there]


def _kinds_in(asked: Asked, county: str) -> list[str]:
    """The kinds of spells that are told of a county: without records those in the book of monitoring alone."""
    with_records = asked.register.file("records", county) is not None
    with_book = with_records or asked.register.file("spells", county) is not None
    return [kind for kind in kinds_of(asked) if (with_records if kind == POVERTY else with_book)]


def _county(asked: Asked, county: str, *, sees: Sight) -> dict[str, pd.DataFrame]:
    """The small tables of one county from which the report is put together."""
    kinds = _kinds_in(asked, county)
    with engine() as connection:
        _households(connection, asked, county)
        made: dict[str, list[pd.DataFrame]] = {}
        for kind in kinds:
            steps = _of_poverty if kind == POVERTY else _of_monitoring
            for name, rows in steps(connection, asked, county, sees).items():
                made.setdefault(name, []).append(rows.assign(kind=kind))
        lists_of = MONITORING if MONITORING in kinds else POVERTY
        for name, sql in _lists(asked).items():
            made[name] = [_placed(connection, asked, county, lists_of, sql)]
        if lists_of == MONITORING and asked.register.file("spells", county) is not None:
            made["removed"] = [_removed_early(connection, asked, county)]
        return {name: pd.concat(rows, ignore_index=True).assign(county_id=county) for name, rows in made.items()}


def _households(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str) -> None:
    held = asked.register.columns("households")
    columns = ", ".join(["household_id", *(c for c in PLACES if c in held)])
    file = asked.register.file("households", county)
    connection.execute(f"CREATE TABLE households AS SELECT {columns} FROM {rows_of(file)}")


_ENTRY = "CASE WHEN {} THEN 'again' ELSE 'first' END"


def _of_poverty(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str, sees: Sight) -> dict[str, pd.DataFrame]:
    rules, step = asked.rules.spells, asked.register.step_months
    open_runs(connection, assessments(asked.register, county), [asked.as_of], rules.bridge_months)
    seen = sees.in_sight("last_no", asked.as_of)
    stands = f"CASE WHEN until_no IS NOT NULL THEN 'ended' WHEN {seen} THEN 'open' ELSE 'lost' END"
    connection.execute(
        f"""CREATE TABLE listed AS
            SELECT household_id, run_no AS spell_no, from_no, {stands} = 'open' AS open, seen_above AS came
            FROM (SELECT *, coalesce(NOT lag(below) OVER (PARTITION BY household_id ORDER BY run_no), false) AS seen_above
                  FROM runs) WHERE below"""
    )
    found = {
        "spells": f"""
            SELECT {_ENTRY.format("seen_below")} AS entry, {stands} AS stands, start_known AS counted,
                   until_no IS NOT NULL AS ended, 0 AS entered,
                   CAST(coalesce(until_no, last_no) - from_no AS INTEGER) AS months, count(*) AS n
            FROM runs WHERE below GROUP BY ALL ORDER BY ALL""",
        "outs": f"""
            SELECT {_ENTRY.format("before > 1")} AS entry, true AS counted, until_no IS NOT NULL AS ended, 0 AS entered,
                   CAST(coalesce(until_no, last_no) - from_no AS INTEGER) AS months, count(*) AS n
            FROM (SELECT *, count(*) FILTER (WHERE below) OVER (PARTITION BY household_id ORDER BY run_no) AS before
                  FROM runs) WHERE NOT below AND start_known GROUP BY ALL ORDER BY ALL""",
        "entries": _entries(
            f"""SELECT household_id, {_ENTRY.format("seen_below")} AS entry,
                       sum(inner_steps) + count(*) FILTER (WHERE until_no = last_no + {step}) AS n,
                       count(*) FILTER (WHERE until_no = last_no + {step}) AS e
                FROM runs WHERE NOT below GROUP BY ALL"""
        ),
        "gaps": f"""
            SELECT {"household_type" if "household_type" in asked.register.columns("households") else "'all'"}
                   AS household_type, count(*) AS households, count(*) FILTER (WHERE poor = 0) AS never_poor,
                   count(*) FILTER (WHERE poor > 0 AND mean_ratio >= 1) AS transient_poor,
                   count(*) FILTER (WHERE poor > 0 AND mean_ratio < 1) AS chronic_poor, sum(total) AS total,
                   sum(CASE WHEN mean_ratio < 1 THEN (1 - mean_ratio) ** 2 ELSE 0 END) AS chronic
            FROM (SELECT household_id, count(*) FILTER (WHERE below) AS poor, avg(ratio) AS mean_ratio,
                         avg(CASE WHEN ratio < 1 THEN (1 - ratio) ** 2 ELSE 0 END) AS total
                  FROM assessed WHERE month_no > {asked.as_of - rules.poverty_window_months} GROUP BY household_id
                  HAVING count(ratio) >= {rules.least_assessments}) JOIN households USING (household_id)
            GROUP BY household_type ORDER BY household_type""",
    }  # fmt: skip
    tables = {name: connection.execute(sql).df() for name, sql in found.items()}
    current = landmarks(connection, POVERTY, sees)
    return {**tables, "ends": _poverty_ends(connection, asked, county), "current": current}


def _entries(per_household: str) -> str:
    """Sums from which a rate and its error over households follow."""
    return f"""
        SELECT entry, count(*) AS households, sum(n) AS n, sum(e) AS e, sum(e * e) AS ee, sum(e * n) AS en, sum(n * n) AS nn
        FROM ({per_household}) WHERE n > 0 GROUP BY entry ORDER BY entry"""


_PARTS = {
    "wages": ("wage_income", None),
    "production": ("production_income", "production_cost"),
    "property": ("property_income", None),
    "transfers": ("transfer_income", None),
    "medical_cost": ("claims", "selfpay"),
}


def _poverty_ends(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str) -> pd.DataFrame:
    """What rose most when income crossed the line: each part of income per person, the number of members, or the line.

    A product of income and 1/members changes by each factor's change at the mean of the other, so the parts add up. A cost
    that is blank on one side tells no change, and blank claims are none: many books write only those that were paid.
    """
    held = set(asked.register.columns("records"))
    sides = {
        side: {
            name: " + ".join(
                [f"coalesce({side}.{c}, 0)" if c == "claims" else f"{side}.{c}" for c in [gain] if c in held]
                + [f"(CASE WHEN {other}.{c} IS NULL THEN 0 ELSE -coalesce({side}.{c}, 0) END)" for c in [cost] if c in held]
            )
            for name, (gain, cost) in _PARTS.items()
        }
        for side, other in (("a", "b"), ("b", "a"))
    }
    parts = [name for name, sql in sides["a"].items() if sql] if "hh_size" in held else []
    money = sorted({c for name in parts for c in _PARTS[name] if c in held})
    then, now = ({name: f"({sides[side][name]})" for name in parts} for side in "ab")
    shares = {name: f"({now[name]} - {then[name]}) * (1.0 / a.hh_size + 1.0 / b.hh_size) / 2" for name in parts}
    if parts:
        both = " + ".join(f"coalesce({then[n]} + {now[n]}, 0)" for n in parts)
        shares["members"] = f"({both}) / 2 * (1.0 / b.hh_size - 1.0 / a.hh_size)"
    shares["line"] = "a.line - b.line"
    most = "greatest(" + ", ".join(shares.values()) + ")"
    reason = " ".join(f"WHEN {sql} = {most} THEN '{name}'" for name, sql in shares.items())
    columns = ", ".join(["line", *(["hh_size"] if parts else []), *money])
    file = asked.register.file("records", county)
    if file is None:
        return pd.DataFrame(columns=["reason", "months", "n"])
    return connection.execute(
        f"""
        WITH ends AS (SELECT household_id, from_no, last_no, until_no, start_known FROM runs
                      WHERE below AND until_no IS NOT NULL),
        told AS (
            SELECT household_id, {month_no("month")} AS month_no, {columns} FROM {rows_of(file)}
            WHERE known_at <= DATE '{asked.day}' AND household_id IN (SELECT household_id FROM ends)
            {known_last("household_id", "month") if asked.register.has_revisions else ""})
        SELECT CASE WHEN {f"NOT coalesce({most} > 0, false)" if parts else "true"} THEN 'not_known' {reason} END AS reason,
               CASE WHEN start_known THEN CAST(until_no - from_no AS INTEGER) END AS months, count(*) AS n
        FROM ends JOIN told a ON a.household_id = ends.household_id AND a.month_no = last_no
        JOIN told b ON b.household_id = ends.household_id AND b.month_no = until_no GROUP BY ALL ORDER BY ALL
        """
    ).df()


def _of_monitoring(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str, sees: Sight) -> dict[str, pd.DataFrame]:
    open_monitoring(connection, asked.register, county, [asked.as_of])
    open_known(connection, asked, "records", [county], versions=True)
    told = sees.told_no(asked.as_of)
    connection.execute(
        f"""
        CREATE TABLE watched AS
        SELECT household_id, min({month_no("month")}) AS first_no, max({month_no("month")}) AS seen_no
        FROM sorted_records GROUP BY household_id;
        CREATE TABLE outs AS {sees.stays_out("SELECT household_id, seen_no FROM watched", asked.as_of)};
        CREATE OR REPLACE TABLE listed AS
        SELECT household_id, spell_no, from_no, until_no IS NULL AS open, true AS came FROM every_spell
        """
    )
    found = {
        "spells": f"""
            SELECT {_ENTRY.format("spell_no > 1")} AS entry, if(until_no IS NULL, 'open', 'ended') AS stands,
                   true AS counted, coalesce(until_no <= {told}, false) AS ended, CAST(entry AS INTEGER) AS entered,
                   CAST(least(coalesce(until_no, {told}), {told}) - from_no AS INTEGER) AS months, count(*) AS n
            FROM monitoring GROUP BY ALL ORDER BY ALL""",
        "outs": f"""
            SELECT {_ENTRY.format("spell_no > 1")} AS entry, true AS counted, until_no IS NOT NULL AS ended, 0 AS entered,
                   CAST(coalesce(until_no, last_no) - from_no AS INTEGER) AS months, count(*) AS n
            FROM outs GROUP BY ALL ORDER BY ALL""",
        "entries": _entries(
            f"""WITH since_seen AS (
                    SELECT household_id, {_ENTRY.format("household_id IN (SELECT household_id FROM left_before)")} AS entry,
                           greatest(least(coalesce(came_no, end_no), end_no) - first_no, 0) AS n,
                           CAST(coalesce(came_no > first_no AND came_no <= end_no, false) AS INTEGER) AS e
                    FROM (SELECT household_id, first_no, {sees.followed_no("seen_no", asked.as_of)} AS end_no FROM watched)
                    LEFT JOIN (SELECT household_id, min(from_no) AS came_no FROM monitoring GROUP BY household_id)
                    USING (household_id)),
                since_left AS (
                    SELECT household_id, 'again' AS entry, coalesce(until_no, last_no) - from_no AS n,
                           CAST(until_no IS NOT NULL AS INTEGER) AS e FROM outs)
                SELECT household_id, entry, sum(n) AS n, sum(e) AS e FROM (FROM since_seen UNION ALL FROM since_left)
                GROUP BY household_id, entry"""
        ),
        "ends": """
            SELECT mode AS reason, CASE WHEN entry = 0 THEN CAST(until_no - from_no AS INTEGER) END AS months, count(*) AS n
            FROM monitoring WHERE until_no IS NOT NULL GROUP BY ALL ORDER BY ALL""",
    }
    if "standing" not in {name for (name,) in connection.execute("SHOW TABLES").fetchall()}:
        no_assessments(connection)
    tables = {name: connection.execute(sql).df() for name, sql in found.items()}
    return {**tables, "current": landmarks(connection, MONITORING, sees)}


def _lists(asked: Asked) -> dict[str, str]:
    """SQL over `listed` (spells) for the two lists.

    An entry is a spell whose household was seen to come (`came`): who is below the line on both sides of a gap, or when
    first seen, has not entered again.
    """
    rules, last = asked.rules.spells, asked.last_month
    since = last - rules.frequent_window_months
    recent = f"count(*) FILTER (WHERE came AND from_no > {since})"
    return {
        "long_stays": f"""
            SELECT household_id, max(from_no) AS since_no, {last} - max(from_no) AS months,
                   {recent} AS entries FROM listed GROUP BY household_id
            HAVING arg_max(open, spell_no) AND {last} - max(from_no) >= {rules.long_stay_months}""",
        "frequent_entries": f"""
            SELECT household_id, max(from_no) AS since_no,
                   CASE WHEN arg_max(open, spell_no) THEN {last} - max(from_no) END AS months,
                   {recent} AS entries FROM listed GROUP BY household_id HAVING {recent} >= {rules.frequent_entries}""",
    }


def _placed(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str, kind: str, sql: str) -> pd.DataFrame:
    """A list with where its households live, and the help that they took up since the window began."""
    taken = "NULL AS measures"
    if asked.register.file("assistance", county) is not None and "accepted" in asked.register.columns("assistance"):
        open_known(connection, asked, "assistance", [county])
        since = asked.last_month - asked.rules.spells.frequent_window_months
        taken = (
            "(SELECT string_agg(measure || ' x' || times, '; ' ORDER BY times DESC, measure) FROM (SELECT measure, "
            "count(*) AS times FROM sorted_assistance a WHERE a.household_id = l.household_id AND accepted "
            f"AND {month_no('offered_on')} > {since} GROUP BY measure)) AS measures"
        )
    return connection.execute(
        f"SELECT l.household_id, h.* EXCLUDE (household_id), '{kind}' AS kind, since_no, months, entries, {taken} "
        f"FROM ({sql}) l JOIN households h ON h.household_id = l.household_id ORDER BY l.household_id"
    ).df()


def _removed_early(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str) -> pd.DataFrame:
    """Spells that ended too early, each with all that speaks for it; entries that overlap or touch end with the last."""
    open_known(connection, asked, "records", [county], "household_id IN (SELECT household_id FROM monitoring)")
    open_known(connection, asked, "spells", [county])
    connection.execute(
        """
        CREATE TABLE whole_spells AS
        SELECT s.* REPLACE (m.eliminated_on AS eliminated_on, m.mode AS elimination_mode)
        FROM sorted_spells s JOIN monitoring m USING (household_id, identified_on);
        CREATE OR REPLACE VIEW sorted_spells AS FROM whole_spells
        """
    )
    helped = asked.register.has("assistance")
    rules, soon = asked.rules.spells, "SELECT NULL, NULL, NULL WHERE false"
    first_help = "SELECT '' AS household_id, DATE '2000-01-01' AS identified_on, DATE '2000-01-01' AS began WHERE false"
    if helped:
        open_known(connection, asked, "assistance", [county])
        first_help = f"""
            SELECT household_id, s.identified_on, min(began) AS began FROM monitoring s
            JOIN (SELECT household_id, {asked.begun} AS began FROM sorted_assistance
                  WHERE accepted) USING (household_id)
            WHERE began BETWEEN s.identified_on AND s.eliminated_on GROUP BY household_id, s.identified_on"""
        soon = (
            f"SELECT household_id, identified_on, '{SOON_AFTER_HELP}' FROM monitoring JOIN first_help "
            f"USING (household_id, identified_on) WHERE until_no - {month_no('began')} <= {rules.early_exit_months}"
        )
    checks = rules.early_exit_checks
    against = spells_against(connection, checks, helped) if checks else soon
    return connection.execute(
        f"""
        WITH first_help AS ({first_help}), against AS ({against} UNION ALL {soon})
        SELECT s.household_id, h.* EXCLUDE (household_id), s.identified_on, s.eliminated_on, mode,
               any_value(began) AS helped_on, string_agg(DISTINCT rule, '; ' ORDER BY rule) AS reasons,
               any_value(s.spell_no < (SELECT max(spell_no) FROM monitoring m WHERE m.household_id = s.household_id))
                   AS came_back
        FROM monitoring s JOIN against USING (household_id, identified_on) JOIN households h USING (household_id)
        LEFT JOIN first_help f ON f.household_id = s.household_id AND f.identified_on = s.identified_on
        WHERE s.until_no IS NOT NULL GROUP BY ALL ORDER BY s.household_id, s.identified_on
        """
    ).df()


_SPELL_KEYS = ("kind", "entry")


def _curves(counts: pd.DataFrame, hazard: bool = False) -> pd.DataFrame:
    """Kaplan-Meier by kind and entry: at risk, ended and still in it by months, with intervals; or the hazard by month."""
    from riskmodel.evaluation.metrics import wilson

    rows = []
    for key, group in _by_kind(counts):
        curve = kaplan_meier(group)
        if curve is None:
            continue
        table = curve.event_table
        table = table[(table.index > 0) | (table["observed"] > 0)]
        low, high = (curve.confidence_interval_.iloc[:, i].reindex(table.index) for i in (0, 1))
        survival = curve.survival_function_.iloc[:, 0].reindex(table.index)
        in_it = table["at_risk"] - table["entrance"].where(table.index > 0, 0)  # who enters at an age is at risk after it
        made = pd.DataFrame({"months": table.index.astype(int), "at_risk": in_it.to_numpy(int)})
        made["ended" if not hazard else "entered"] = table["observed"].to_numpy(int)
        if hazard:
            made["share"] = made["entered"] / made["at_risk"]
            limits = [wilson(e, n) for e, n in zip(made["entered"], made["at_risk"], strict=True)]
            made["share_low"], made["share_high"] = [x[0] for x in limits], [x[1] for x in limits]
            made["back_share"] = 1 - survival.to_numpy()
            made["back_share_low"], made["back_share_high"] = 1 - high.to_numpy(), 1 - low.to_numpy()
        else:
            made["share"], made["share_low"], made["share_high"] = survival.to_numpy(), low.to_numpy(), high.to_numpy()
        rows.append(made.assign(**dict(zip(_SPELL_KEYS, key, strict=True))))
    return _joined(rows, [*_SPELL_KEYS])


def kaplan_meier(counts: pd.DataFrame) -> Any:
    """A fitted lifelines curve of counted spells (`months, ended, entered, n`), or None where nothing can be learned.

    Spells that come into sight at an age that none of those before has passed say nothing of the way there: the curve ends
    at that age. One that ended in the month in which it came into sight was never at risk of it.
    """
    from lifelines import KaplanMeierFitter

    seen = (counts["months"] > counts["entered"]) | (counts["months"].eq(0) & counts["entered"].eq(0))
    kept = counts[counts["counted"].astype(bool) & seen]
    kept = kept.groupby(["entered", "months", "ended"], as_index=False)["n"].sum()
    reached = kept["months"].cummax().shift(fill_value=0)
    kept = kept[((kept["entered"] == 0) | (kept["entered"] < reached)).cummin()]
    if not (kept["months"] > 0).any():
        return None
    return KaplanMeierFitter().fit(
        kept["months"].to_numpy(float),
        kept["ended"].to_numpy(bool),
        entry=kept["entered"].to_numpy(float),
        weights=kept["n"].to_numpy(float),
    )


def _by_kind(counts: pd.DataFrame) -> Iterable[tuple[tuple[str, str], pd.DataFrame]]:
    """Counts by kind, all entries together and then first and repeated ones."""
    for kind, group in counts.groupby("kind", sort=True):
        yield (kind, "all"), group
        for entry, part in group.groupby("entry", sort=True, observed=True):
            yield (kind, entry), part


def _summary(counts: pd.DataFrame) -> pd.DataFrame:
    """How many spells, how they stand, the median and the shares that last beyond 6, 12 and 24 months."""
    from lifelines.utils import median_survival_times

    rows = []
    for key, group in _by_kind(counts):
        n, counted = group["n"], group["counted"].astype(bool)
        row = dict(zip(_SPELL_KEYS, key, strict=True)) | {
            "spells": int(n.sum()),
            **{stands: int(n[group["stands"] == stands].sum()) for stands in ("ended", "open", "lost")},
            "start_unknown": int(n[~counted].sum()),
            "entered_later": int(n[group["entered"] > 0].sum()),
        }
        curve = kaplan_meier(group)
        if curve is not None:
            limits = median_survival_times(curve.confidence_interval_).iloc[0]
            row |= {
                "median_months": curve.median_survival_time_,
                "median_low": limits.iloc[0],
                "median_high": limits.iloc[1],
            }
            last = float(curve.survival_function_.index.max())
            for months in _TOLD_BY:
                row[f"beyond_{months}_share"] = float(curve.predict(months)) if last >= months else np.nan
        rows.append(row)
    shown = ["median_months", "median_low", "median_high", *(f"beyond_{m}_share" for m in _TOLD_BY)]
    names = [*_SPELL_KEYS, "spells", "ended", "open", "lost", "start_unknown", "entered_later", *shown]
    return pd.DataFrame(rows, columns=names).replace({np.inf: np.nan})


def _exits(ends: pd.DataFrame) -> pd.DataFrame:
    """Ended spells by what ended them, with the median of those whose start is known."""
    rows = []
    for (kind, reason), group in ends.groupby(["kind", "reason"], sort=True):
        known = group.dropna(subset="months").sort_values("months")
        upto = known["n"].cumsum()
        total = ends.loc[ends["kind"] == kind, "n"].sum()
        rows.append({
            "kind": kind,
            "reason": reason,
            "spells": int(group["n"].sum()),
            "share": float(group["n"].sum() / total),
            "median_months": float(known["months"][upto >= upto.iloc[-1] / 2].iloc[0]) if len(known) else np.nan,
        })  # fmt: skip
    names = {"kind": str, "reason": str, "spells": int, "share": float, "median_months": float}
    return pd.DataFrame(rows, columns=list(names)).astype(names)


def _rates(sums: pd.DataFrame) -> pd.DataFrame:
    """Entries per step at risk, first and repeated, with an interval over households (ratio estimator)."""
    rows = []
    for (kind, entry), s in sums.drop(columns="county_id").groupby(["kind", "entry"], sort=True).sum().iterrows():
        rate = s["e"] / s["n"]
        error = np.sqrt(max(s["ee"] - 2 * rate * s["en"] + rate**2 * s["nn"], 0)) / s["n"]
        rows.append({
            "kind": kind,
            "entry": entry,
            "households": int(s["households"]),
            "at_risk": int(s["n"]),
            "entered": int(s["e"]),
            "share": rate,
            "share_low": max(rate - _Z * error, 0.0),
            "share_high": rate + _Z * error,
        })  # fmt: skip
    counts, shares = ["households", "at_risk", "entered"], ["share", "share_low", "share_high"]
    types = {"kind": str, "entry": str, **dict.fromkeys(counts, int), **dict.fromkeys(shares, float)}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _poverty_kinds(gaps: pd.DataFrame) -> pd.DataFrame:
    """Chronic and transient poverty by county and household type, and over all."""
    counts = ["households", "never_poor", "transient_poor", "chronic_poor", "total", "chronic"]
    every = gaps[counts].sum().to_frame().T.assign(county_id="*", household_type="*")
    found = pd.concat([every, gaps], ignore_index=True)
    found["squared_gap"] = found["total"] / found["households"]
    found["chronic_gap"] = found["chronic"] / found["households"]
    found["transient_gap"] = found["squared_gap"] - found["chronic_gap"]
    found["transient_gap_share"] = found["transient_gap"] / found["squared_gap"].where(found["squared_gap"] > 0)
    found[counts[:4]] = found[counts[:4]].astype(int)
    return found[
        ["county_id", "household_type", *counts[:4], "squared_gap", "chronic_gap", "transient_gap", "transient_gap_share"]
    ]


def _alerts(asked: Asked) -> pd.DataFrame | None:
    """Alerts of the scored months within the window, with their verdicts; None where no month was named."""
    since = asked.as_of - asked.rules.spells.frequent_window_months
    wanted = ["household_id", "as_of", "verdict"]
    found = [month.read("alerts", wanted) for month in asked.scored if month.number > since]
    return pd.concat(found, ignore_index=True) if found else None


def _verdicts(alerts: pd.DataFrame) -> pd.DataFrame:
    """For each household its alerts by verdict, and the last verdict."""
    counts = pd.crosstab(alerts["household_id"], alerts["verdict"]).reindex(columns=list(VERDICTS), fill_value=0)
    last = alerts.sort_values("as_of", kind="stable").groupby("household_id")["verdict"].last()
    return counts.assign(alerts=counts.sum(axis=1), last_verdict=last).reset_index()


def _makeup(listed: dict[str, pd.DataFrame], alerts: pd.DataFrame) -> pd.DataFrame:
    """The alerts behind each list by verdict, beside those of all households."""
    rows = []
    everyone = {name: set(rows["household_id"]) for name, rows in listed.items()}
    for name, chosen in [*((n, alerts[alerts["household_id"].isin(ids)]) for n, ids in everyone.items()), ("all", alerts)]:
        for verdict in VERDICTS:
            of = chosen[chosen["verdict"] == verdict]
            rows.append({
                "list": name,
                "verdict": verdict,
                "alerts": len(of),
                "share": len(of) / len(chosen) if len(chosen) else np.nan,
                "households": of["household_id"].nunique(),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _dated(rows: pd.DataFrame) -> pd.DataFrame:
    """Month numbers as text, the county first."""
    rows = rows.copy()
    if "since_no" in rows:
        since = pd.Series([month_text(int(n)) for n in rows["since_no"]], rows.index, "str")
        rows.insert(rows.columns.get_loc("since_no"), "since", since)
        del rows["since_no"]
        rows["months"] = rows["months"].astype("Int64")
    first = ["household_id", "county_id", *(c for c in PLACES if c in rows)]
    return rows[[*first, *(c for c in rows if c not in first)]]


def _first(most: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with most of a column first, else in their order."""
    return rows.sort_values(most, ascending=False, kind="stable", ignore_index=True)


def _joined(rows: list[pd.DataFrame], first: list[str]) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame(columns=first)
    found = pd.concat(rows, ignore_index=True)
    return found[[*first, *(c for c in found if c not in first)]]


def _figures(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The numbers of the front page."""
    found: dict[str, Any] = {f"{name}_households": len(tables[name]) for name in ("long_stays", "frequent_entries")}
    for row in tables["entry_rates"].itertuples():
        found[f"{row.kind}_entry_rate_{row.entry}"] = row.share
    for row in tables["duration_summary"].itertuples():
        if row.entry == "all":
            found[f"{row.kind}_median_months"] = None if pd.isna(row.median_months) else row.median_months
    if "removed_early" in tables:
        found["removed_early_spells"] = len(tables["removed_early"])
    return found


_READING = (
    "Spells: a record known after the day of the report counts nowhere. A spell that was under way when its household was "
    "first seen has no known start: it is counted, and left out of durations. Open spells are censored. Durations: "
    "Kaplan-Meier, each spell counted for itself. Rates of entry: intervals over households.",
    "历次：报告日之后才知悉的记录一律不计。首次观察时已在进行中的，起点不明，只计数、不计入时长。尚未结束的按删失处理。"
    "时长采用 Kaplan-Meier 估计，每次单独计算；进入率的区间按户计算。",
)


def _told_late(asked: Asked, sees: Sight) -> tuple[str, str]:
    """That the book of monitoring is told late, and how far, in English and Chinese."""
    until, month = asked.day - timedelta(days=sees.book_late), month_text(sees.told_no(asked.as_of))
    return (
        f"The book of monitoring is told late: of its entries and ends up to {until} nine in ten are known, as a rule. "
        "Durations of monitoring, shares that are back in it, rates of entry and chances of re-entry follow households "
        f"to the end of {month} and no further. Lists and numbers of spells stand as known on the day of the report: "
        "who is on the list of long stays may have left since, and who left may have come back.",
        f"监测台账报送滞后：截至{until}的纳入和退出，一般已知悉十分之九。监测时长、再次纳入比例、纳入率和再次纳入概率"
        f"统计截至{month}（含当月）。名单和次数按报告日已知情况列出：长时间监测名单上的农户可能已经退出，已退出的也可能已再次纳入。",
    )


_NOTHING = (
    "The register holds neither monitoring spells nor income with a line: there are no spells to report.",
    "登记数据中既无监测台账，也无收入和监测线，无法统计历次情况。",
)
_NO_SPELLS = (
    "The register holds no monitoring spells: long stays and frequent entries are those below the line.",
    "登记数据中没有监测台账：长时间与频繁名单按低于监测线的情况统计。",
)
_NO_INCOME = (
    "The register holds no income or no line: spells below the line, chronic and transient poverty cannot be told.",
    "登记数据中没有收入或监测线，无法统计低于监测线的历次情况及长期、暂时贫困。",
)
_NOBODY_MONITORED = (
    "No spell of monitoring that reaches into the months of the register is known on the day of the report: how long "
    "monitoring lasts, and who comes back, cannot be told, and nobody is known to be monitored.",
    "截至报告日，监测台账中没有已知悉的、延续到登记数据期内的监测记录：无法统计监测时长和再次进入情况，也没有已知的在监测农户。",
)
_NO_ENDS = (
    "The book of monitoring holds no days on which monitoring ended: nobody is known to have left, every spell counts as "
    "open, and who stays long cannot be told from who left.",
    "监测台账中没有风险消除时间：无法得知何户已退出，各次监测均按尚未结束计，长期监测与已退出无法区分。",
)
_OUT_OF_SIGHT = (
    "Households are out of sight too soon, as where they are visited in turns: how long a spell lasts, or who is back "
    "within a year of its end, cannot be seen.",
    "农户很快失去观察（如轮换调查），无法看到每次持续多久、结束后一年内是否再次进入。",
)
_NEVER_FROM_THE_BEGINNING = (
    "No spell was seen from its beginning for as long as a month: they began before the register does, or only just. How "
    "long spells last cannot be told.",
    "没有任何一次从开始起被观察满一个月（均在登记数据期之前已开始，或刚刚开始），无法统计持续时长。",
)
_STAYED_UNRANKED = (
    "Nobody who stays long was on a list of the scored months named: who is in open monitoring is not ranked, so that only "
    "months from before they came into monitoring know their causes. Name those months too (--alerts DIR).",
    "长期监测户均不在所提供评分月份的名单上：正在监测的农户不参与排序，只有其纳入监测之前的评分月份才有原因判定。"
    "请一并提供这些月份（--alerts 目录）。",
)
_STAYED_BELOW = (
    "Nobody who stays long was on a list of the scored months named: who is below the line already is not ranked, so that "
    "only months from before they fell know their causes. Name those months too (--alerts DIR).",
    "长期低于监测线的农户均不在所提供评分月份的名单上：已低于监测线的农户不参与排序，只有其跌落之前的评分月份才有原因判定。"
    "请一并提供这些月份（--alerts 目录）。",
)
_NO_ALERTS = (
    "No scored month with a list was named (--alerts DIR): the causes behind the two lists, objective or subjective, are "
    "not shown.",
    "未提供有名单的评分月份（--alerts 目录）：两份名单的主客观原因构成无法显示。",
)
