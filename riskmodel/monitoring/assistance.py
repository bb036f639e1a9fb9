"""Results of assistance: who was reached, how soon, what came of it, and where help should be changed.

An effect is looked for among households as they stood on days in the past (Hernan & Robins 2016, American Journal of
Epidemiology 183(8)). Helped are those who took up help offered in the months after a day; the others took up none
offered then. What both are made alike by was known on the day, before the offer; outcomes follow the window. Each measure,
and each frequent combination, is held for itself against no new help. `monitoring/effects.py` holds the estimate,
`monitoring/trends.py` the course of income before and after.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue, load_catalogue
from riskmodel.catalogue.compiler import month_no
from riskmodel.cohort.labels import build_labels
from riskmodel.cohort.spells import has_assessments
from riskmodel.engine import engine
from riskmodel.errors import UsageError
from riskmodel.evaluation.disclosure import shown, shown_in_table, tells, withheld
from riskmodel.evaluation.metrics import wilson
from riskmodel.monitoring.effects import Effect, adjusted, by_strength, estimate_effect, with_doubleml
from riskmodel.monitoring.funds import ALL, RETURN, help_costs
from riskmodel.monitoring.known import (
    Answers,
    drawn_counties,
    goes_on,
    named,
    needs_on,
    newest_told,
    open_known,
    open_spells,
    reported_late,
    told_until,
)
from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.trends import Trend, event_study, interval
from riskmodel.months import month_number
from riskmodel.settings import AtRisk, Label

EXIT, INCOME = "exit", "income"
OUTCOMES = (RETURN, EXIT, INCOME)
_COLUMNS = (
    "help", "outcome", "driver", "reading", "rows", "helped", "effect", "effect_low", "effect_high", "p_adjusted",
    "strongest", "hidden_low", "hidden_high", "robustness_share", "robustness_interval_share", "plain", "plain_low",
    "plain_high", "outside_share", "effective_helped", "effective_others", "imbalance",
)  # fmt: skip
_MOST_TOLD = ("stands", "fragile", "not_told_apart", "refused", "plain_only", "too_few")
"""Readings of an effect, what is told first."""
_TOLD_DAYS = (15, 30, 90)
_WORK_SHOWN_BY = ("n_working", "migrant_months", "days_worked", "wage_income")


def report_assistance(asked: Asked) -> Found:
    """Indicators of help, effects by measure, combination and driver, and households whose help is to be changed.

    Returns
    -------
    Found
        Tables `help_measures`, `help_coverage`, `help_timeliness`, `training_work`, `help_effects`, `help_costs`,
        `help_trends`, `help_trend_tests` and `change_of_measure`; what the register cannot give is left out and said in a
        note.
    """
    if not {"accepted"} <= set(asked.register.columns("assistance")):
        return Found({}, notes=[_NO_ASSISTANCE])
    catalogue = load_catalogue()
    answers = Answers.of(catalogue, asked.rules.assistance.delivers)
    counties = drawn_counties(asked.register, asked.rules.assistance.households)
    tables, notes = _indicators(asked), [_READING]
    lacks: dict[str, tuple[str, str]] = {}
    wanted = asked.rules.assistance.estimate_effects
    effects = help_effects(asked, catalogue, answers, counties) if wanted else pd.DataFrame()
    if not wanted:
        notes.append(_NOT_WANTED)
        lacks["help_effects"] = _NOT_WANTED
    elif len(effects):
        tables["help_effects"] = effects
        notes.append(_family(effects, len(counties), len(asked.register.counties)))
        if (spent := help_costs(asked, effects)) is not None:
            tables["help_costs"] = spent
            notes.append(_COST_READING)
        if not with_doubleml():
            notes.append(_NO_DOUBLEML)
    else:
        notes.append(_TOO_FEW)
        lacks["help_effects"] = _TOO_FEW
    if (trends := help_trends(asked, counties)) is not None:
        tables["help_trends"], tables["help_trend_tests"] = trends
    else:
        notes.append(_NO_TRENDS)
    if asked.register.has("spells"):
        if has_assessments(asked.register):
            tables["change_of_measure"], untold = change_of_measure(asked, catalogue, answers)
            if untold:
                notes.append(_income_untold(untold))
        else:
            notes.append(_NO_INCOME)
            lacks["change_of_measure"] = _NO_INCOME
    else:
        notes.append(_NO_SPELLS)
        lacks |= dict.fromkeys(("help_coverage", "help_timeliness", "change_of_measure"), _NO_SPELLS)
    return Found(tables, _figures(tables), notes, lacks)


def _indicators(asked: Asked) -> dict[str, pd.DataFrame]:
    day, since = f"DATE '{asked.day}'", f"DATE '{asked.before(asked.rules.assistance.months)}'"
    counties = asked.register.counties
    with engine() as connection:
        open_known(connection, asked, "assistance", counties)
        connection.execute(
            "CREATE TABLE taken AS SELECT household_id, measure, offered_on, "
            f"{asked.begun} AS began, ended_on FROM sorted_assistance WHERE accepted"
        )
        tables = {
            "help_measures": connection.execute(
                f"""
                SELECT measure, count(*) AS offers, count(accepted) AS answered,
                       count(*) FILTER (WHERE accepted) AS taken_up, count(*) FILTER (WHERE NOT accepted) AS refused,
                       refused / nullif(answered, 0) AS refused_share,
                       count(*) FILTER (WHERE NOT accepted AND coalesce(refusal_reason, 'none_given') <> 'none_given')
                           AS refused_with_reason,
                       median(started_on - offered_on) FILTER (WHERE accepted) AS days_to_start,
                       count(*) FILTER (WHERE accepted AND (completed IS NOT NULL OR ended_on IS NOT NULL)) AS ended,
                       count(*) FILTER (WHERE accepted AND completed IS NULL AND ended_on IS NOT NULL)
                           AS completion_not_recorded,
                       count(*) FILTER (WHERE accepted AND completed) / nullif(ended - completion_not_recorded, 0)
                           AS completed_share
                FROM sorted_assistance WHERE offered_on > {since} GROUP BY measure ORDER BY offers DESC, measure"""
            ).df()
        }
        if asked.register.has("spells"):
            open_spells(connection, asked, [asked.as_of])
            known = connection.execute(
                f"""
                SELECT s.household_id, identified_on, min(began) - identified_on AS days,
                       DATE '{told_until(asked, "assistance", asked.begun, counties)}' - identified_on AS watched
                FROM spells s LEFT JOIN taken t ON t.household_id = s.household_id
                AND began BETWEEN identified_on AND coalesce(eliminated_on, {day})
                WHERE identified_on > {since} GROUP BY s.household_id, identified_on"""
            ).df()
            tables["help_timeliness"] = _timeliness(known)
            tables["help_coverage"] = _coverage(connection, asked, day)
        tables["training_work"] = _training(connection, asked)
    return {name: rows for name, rows in tables.items() if len(rows)}


def _timeliness(known: pd.DataFrame) -> pd.DataFrame:
    """Of the spells identified at least so many days ago, the share with help begun by then, and before their end."""
    rows, middle = [], known["days"].dropna().astype(float).median()
    for days in _TOLD_DAYS:
        watched = known[known["watched"] >= days]
        n, soon = len(watched), int((watched["days"] <= days).sum())
        low, high = wilson(soon, n)
        row = {"within_days": days, "needs": n, "helped": soon, "share": soon / n if n else np.nan}
        rows.append(row | {"share_low": low, "share_high": high, "median_days": middle})
    return pd.DataFrame(rows)


def _coverage(connection: Any, asked: Asked, day: str) -> pd.DataFrame:
    """Households in open monitoring, and those of them with help under way or begun within twelve months."""
    open_known(connection, asked, "households", asked.register.counties)
    year = f"DATE '{asked.before(12)}'"
    found = connection.execute(
        f"""
        WITH monitored AS (SELECT household_id FROM spells WHERE eliminated_on IS NULL),
        with_help AS (SELECT DISTINCT household_id FROM taken
                      WHERE began <= {day} AND (began > {year} OR {goes_on(asked, asked.day)}))
        SELECT coalesce(county_id, '{ALL}') AS county_id, count(*) AS n, count(w.household_id) AS helped
        FROM monitored m JOIN sorted_households h USING (household_id) LEFT JOIN with_help w USING (household_id)
        GROUP BY ROLLUP (county_id) ORDER BY county_id"""
    ).df()
    return covered(found)


def covered(found: pd.DataFrame) -> pd.DataFrame:
    """Shares of monitored households with help, as they may be printed.

    Parameters
    ----------
    found
        `county_id` (`*` for all), `n` monitored, `helped` of them.

    Returns
    -------
    pandas.DataFrame
        `county_id`, `monitored` (text; no county that the total would give away), `share` with its Wilson interval; no
        share that tells of fewer than ten households with help or without, nor one that would tell them with the others'.
    """
    bounds = [wilson(r.helped, r.n) for r in found.itertuples()]
    told = np.array([r.n > 0 and tells(int(r.helped), int(r.n)) for r in found.itertuples()], bool)
    monitored = np.array([shown(int(n)) for n in found["n"]], object)
    one = (found["county_id"] != ALL).to_numpy()
    if one.any():
        monitored[one] = shown_in_table(found.loc[one, ["n"]].to_numpy(int))[:, 0]
    printed = np.array([not withheld(m) for m in monitored], bool)
    sides = np.c_[found["helped"], found["n"] - found["helped"]].astype(int)
    rest = sides[one & ~printed].sum(axis=0)  # known together, as what the others leave of the total
    cells = shown_in_table(np.vstack([sides[one & printed], rest]))[:-1]
    told &= printed
    told[one & printed] &= np.array([not any(map(withheld, row)) for row in cells], bool)
    share = (found["helped"] / found["n"].where(told)).astype(float)
    return pd.DataFrame(
        {
            "county_id": found["county_id"],
            "monitored": monitored,
            "share": share,
            "share_low": np.where(share.notna(), [low for low, _ in bounds], np.nan),
            "share_high": np.where(share.notna(), [high for _, high in bounds], np.nan),
        }
    )


def _training(connection: Any, asked: Asked) -> pd.DataFrame:
    """Training that ended at least half a year ago: whether more work is recorded then than before it began."""
    held = [c for c in _WORK_SHOWN_BY if c in asked.register.columns("records")]
    if not held:
        return pd.DataFrame()
    open_known(connection, asked, "records", asked.register.counties, "household_id IN (SELECT household_id FROM taken)")
    sign, step = held[0], asked.register.step_months
    since, half_a_year_ago = asked.before(asked.rules.assistance.months), asked.before(6)
    found = connection.execute(
        f"""
        WITH ended AS (
            SELECT household_id, {month_no("min(coalesce(started_on, offered_on))")} AS from_no,
                   {month_no("max(ended_on)")} AS to_no,
                   CASE WHEN bool_or(completed) THEN 'completed' WHEN count(completed) = count(*) THEN 'not_completed'
                        ELSE 'not_recorded' END AS training
            FROM sorted_assistance WHERE measure = 'training' AND accepted AND offered_on > DATE '{since}'
            AND ended_on <= DATE '{half_a_year_ago}' GROUP BY household_id),
        work AS (SELECT household_id, {month_no("month")} AS month_no, {sign} AS work
                 FROM sorted_records WHERE household_id IN (SELECT household_id FROM ended))
        SELECT training, after > before AS more
        FROM (SELECT e.household_id, training,
                     arg_max(work, month_no) FILTER (WHERE month_no + {step} <= from_no) AS before,
                     arg_min(work, month_no) FILTER (WHERE month_no >= to_no + 6) AS after
              FROM ended e JOIN work USING (household_id) GROUP BY ALL)
        WHERE before IS NOT NULL AND after IS NOT NULL"""
    ).df()
    rows = []
    for training in ("completed", "not_completed", "not_recorded"):
        of = found[found["training"] == training]
        if not len(of) and training == "not_recorded":
            continue
        low, high = wilson(int(of["more"].sum()), len(of))
        row = {"training": training, "shown_by": sign, "households": len(of)}
        rows.append(row | {"share": of["more"].mean() if len(of) else np.nan, "share_low": low, "share_high": high})
    return pd.DataFrame(rows) if len(found) else pd.DataFrame()


def help_effects(asked: Asked, catalogue: Catalogue, answers: Answers, counties: list[str]) -> pd.DataFrame:
    """One row an estimate: arm, outcome, driver, what was found, and what may be said; those of which most is told first."""
    rows = study_rows(asked, catalogue, counties)
    if rows is None:
        return pd.DataFrame()
    rules = asked.rules.assistance
    covariates = [c for c in rules.covariates if c in rows]
    kinds = rows.loc[rows["arm"] != "", "arm"].value_counts()
    single = [k for k in kinds.index if ";" not in k]
    arms = sorted(single) + sorted([k for k in kinds.index if ";" in k][: rules.combinations])
    asked_for = [(arm, driver) for arm in arms for driver in (ALL, *answers.drivers.get(arm, ()))]
    told, effects = [], []
    for arm, driver in asked_for:
        for outcome in OUTCOMES:
            compared = _compared(rows, arm, driver, outcome, rules.others_per_helped)
            asked.progress(f"effect of {arm} on {outcome}, {driver}")
            effect = estimate_effect(compared, "treated", outcome, covariates, rules=rules.effects)
            if driver != ALL and effect.status == "too_few":
                continue  # said once, for the measure as a whole
            told.append({"help": arm, "outcome": outcome, "driver": driver})
            effects.append(effect)
    if not effects:
        return pd.DataFrame()
    table = pd.concat([pd.DataFrame(told), pd.DataFrame([_row(e) for e in effects])], axis=1)
    table["p_adjusted"] = adjusted(table.pop("p"))
    table["reading"] = list(by_strength(effects))
    most_told = table["reading"].map(_MOST_TOLD.index).argsort(kind="stable")
    return table.iloc[most_told].reset_index(drop=True)[list(_COLUMNS)]


def _row(effect: Effect) -> dict[str, Any]:
    told = asdict(effect)
    overlap = told.pop("overlap") or {}
    names = ("outside_share", "effective_helped", "effective_others", "imbalance")
    renamed = {"effect_low": told.pop("low"), "effect_high": told.pop("high")}
    renamed |= {f"{name}_share": told.pop(name) for name in ("robustness", "robustness_interval")}
    told.pop("status")
    return {**told, **renamed, **{name: overlap.get(name, np.nan) for name in names}}


def study_rows(asked: Asked, catalogue: Catalogue, counties: list[str]) -> pd.DataFrame | None:
    """Households on days in the past: covariates and drivers of the day, help taken up after it, outcomes after that.

    Returns
    -------
    pandas.DataFrame | None
        `household_id`, `as_of_no`, the covariates, `fact_<driver>`, `arm` (kinds of help taken up that were offered within
        the window, `; ` between them; empty: none), and the outcomes `return` and `exit` (0/1, of those at risk and those
        monitored when the window closes: who came out before help was offered did not come out by it) and `income` (income
        over the line); missing where it does not apply or is not known. None where the register is too short.
    """
    rules, step = asked.rules.assistance, asked.register.step_months
    window = -(-rules.window_months // step) * step
    horizon = -(-rules.horizon_months // step) * step
    last = newest_told(asked, reported_late(asked)) - window - horizon
    earliest = max(month_number(asked.register.first_month) + step, last - rules.months + window)
    days = list(range(last, earliest - 1, -window))[::-1]
    if not days or not counties:
        return None
    rows = needs_on(asked, catalogue, days, counties, ["monitored_now", *rules.covariates])
    rows["as_of_no"] = rows.pop("as_of").map(month_number)
    on = ["household_id", "as_of_no"]
    with engine() as connection:
        for table in ("assistance", "records"):
            open_known(connection, asked, table, counties)
        connection.execute("CREATE TABLE days AS SELECT unnest(?) AS as_of_no", [days])
        last_step = step - 1
        arms = connection.execute(
            f"""
            SELECT household_id, as_of_no, string_agg(DISTINCT measure, '; ' ORDER BY measure) AS arm
            FROM sorted_assistance JOIN days ON {month_no("offered_on")} > as_of_no + {last_step}
            AND {month_no("offered_on")} <= as_of_no + {window + last_step} WHERE accepted GROUP BY ALL"""
        ).df()
        income = connection.execute(
            f"""
            SELECT household_id, as_of_no, arg_max(welfare / nullif(line, 0), month_no) AS income
            FROM (SELECT household_id, {month_no("month")} AS month_no, welfare, line FROM sorted_records)
            JOIN days ON month_no > as_of_no + {window} + {horizon} - {max(step, 3)}
            AND month_no <= as_of_no + {window + horizon} GROUP BY ALL"""
        ).df()
        left = _exits(connection, asked, window + last_step, horizon, counties)
    returned = _returns(asked, [day + window for day in days], horizon, counties)
    returned["as_of_no"] -= window
    for more in (arms, income, left, returned):
        rows = rows.merge(more, "left", on=on)
    rows["arm"] = rows["arm"].fillna("")
    rows[INCOME] = rows[INCOME].clip(upper=rows[INCOME].quantile(0.99))
    return rows.drop_duplicates(on, ignore_index=True)


def _exits(connection: Any, asked: Asked, closes: int, horizon: int, counties: list[str]) -> pd.DataFrame:
    """Of those monitored on each of `days` and still when its window closes, whether they left within the horizon.

    Nobody is said to have stayed before the ends of that horizon are known as a rule.
    """
    if not asked.register.has("spells"):
        return _of_nobody(EXIT)
    until = told_until(asked, "spells", "eliminated_on", counties)
    open_spells(connection, asked, [asked.as_of], counties)
    return connection.execute(
        f"""
        SELECT household_id, days.as_of_no,
               CAST(coalesce(until_no <= days.as_of_no + {closes + horizon}, false) AS INTEGER) AS exit
        FROM spells JOIN days ON from_no <= days.as_of_no + {asked.register.step_months - 1}
        AND coalesce(until_no > days.as_of_no + {closes}, true)
        WHERE days.as_of_no + {closes + horizon} < {month_no(f"(DATE '{until}' + 1)")}"""
    ).df()


def _returns(asked: Asked, days: list[int], horizon: int, counties: list[str]) -> pd.DataFrame:
    """The label of the main model, told on the day of the report, of those at risk when the window closed.

    A return is known before it is known of others that there was none: both count of those alone who were seen to the end.
    """
    try:
        label = Label(horizon_months=horizon, assessments=2 if asked.register.step_months < horizon else 1)
        found = build_labels(asked.register, days, label, AtRisk(), counties=counties, known_by=asked.day)
    except UsageError:
        return _of_nobody(RETURN)
    if not len(found):
        return _of_nobody(RETURN)
    found["as_of_no"] = found["as_of"].map(month_number)
    found["outcome"] = found["outcome"].where(found["seen_until"] >= horizon)
    return found.rename(columns={"outcome": RETURN})[["household_id", "as_of_no", RETURN]]


def _of_nobody(outcome: str) -> pd.DataFrame:
    """An outcome by household and day, where none can be told."""
    return pd.DataFrame({"household_id": pd.Series(dtype=object), "as_of_no": pd.Series(dtype=int), outcome: []})


def _compared(rows: pd.DataFrame, arm: str, driver: str, outcome: str, others_per_helped: int) -> pd.DataFrame:
    """One arm and, from the same days, households without new help, drawn by their id; of both those of known outcome."""
    asked = rows[rows[outcome].notna()]
    asked = asked if driver == ALL else asked[asked[f"fact_{driver}"]]
    helped, others = asked[asked["arm"] == arm], asked[asked["arm"] == ""]
    order = pd.util.hash_pandas_object(others[["household_id", "as_of_no"]], index=False)
    place = order.sort_values(kind="stable").to_frame("h").join(others["as_of_no"]).groupby("as_of_no").cumcount()
    most = others["as_of_no"].map(helped["as_of_no"].value_counts()).fillna(0) * others_per_helped
    drawn = others[place.reindex(others.index) < most]
    return pd.concat([helped, drawn], ignore_index=True).assign(treated=lambda f: (f["arm"] == arm).astype(float))


def help_trends(asked: Asked, counties: list[str]) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The course of income around the first help by kind, and whether it may be read."""
    rules, step = asked.rules.assistance, asked.register.step_months
    reach = rules.trend_months // step
    if reach < 2 or not {"welfare", "line"} <= set(asked.register.columns("records")):
        return None
    with engine() as connection:
        open_known(connection, asked, "assistance", counties)
        open_known(connection, asked, "records", counties)
        first = connection.execute(
            f"""
            SELECT household_id, arg_min(measure, (offered_on, measure)) AS measure,
                   min({month_no("offered_on")}) AS month_no
            FROM sorted_assistance WHERE accepted GROUP BY household_id ORDER BY household_id"""
        ).df()
        connection.execute("CREATE TABLE helped AS SELECT household_id FROM first")
        incomes = connection.execute(
            f"""
            SELECT household_id, {month_no("month")} AS month_no, welfare / nullif(line, 0) AS ratio
            FROM sorted_records WHERE welfare IS NOT NULL AND household_id IN (SELECT household_id FROM helped)"""
        ).df()
    if not len(incomes):
        return None
    incomes["ratio"] = incomes["ratio"].clip(upper=incomes["ratio"].quantile(0.99))
    start = int(incomes["month_no"].min())
    at = pd.Index(first["household_id"]).get_indexer(incomes["household_id"])
    course = np.full((len(first), (int(incomes["month_no"].max()) - start) // step + 1), np.nan)
    course[at, (incomes["month_no"] - start) // step] = incomes["ratio"]
    begun = ((first["month_no"] - start) // step).to_numpy()
    months, tests = [], []
    for kind in sorted(first["measure"].unique()):
        trend = event_study(course, begun, first["measure"].eq(kind).to_numpy(), reach, rules.effects.least_households)
        if trend is not None:
            months.append(_course(kind, trend, step))
            tests.append(_test(kind, trend))
    return (pd.concat(months, ignore_index=True), pd.DataFrame(tests)) if months else None


def _course(kind: str, trend: Trend, step: int) -> pd.DataFrame:
    low, high = interval(trend.difference, trend.error)
    columns = {"help": kind, "months_from_help": trend.steps * step, "difference": trend.difference}
    return pd.DataFrame({**columns, "difference_low": low, "difference_high": high, "helped": trend.helped})


def _test(kind: str, trend: Trend) -> dict[str, Any]:
    """The mean after help; withheld where helped and not yet helped moved apart before it."""
    low, high = interval(np.array(trend.after), np.array(trend.after_error))
    told = (trend.after, float(low), float(high)) if trend.parallel else (np.nan,) * 3
    row = {"help": kind, "helped": int(trend.helped.max()), "before_p": trend.before_p}
    row |= {"reading": "parallel" if trend.parallel else "not_parallel"}
    return row | dict(zip(("difference", "difference_low", "difference_high"), told, strict=True))


def change_of_measure(asked: Asked, catalogue: Catalogue, answers: Answers) -> tuple[pd.DataFrame, int]:
    """Households still monitored half a year after their help began, whose income over the line has not risen since.

    Returns
    -------
    tuple
        One row a household: `identified_on`, `helped_on` (the first help of the spell), `measures` (taken up in it),
        `ratio_then` and `ratio_now` (income over the line in the last record before help, and in the last one since; the
        period in which help began is neither), the objective `needs_now` that a fact speaks for, those `unanswered` by any
        of these measures, and `changed` (whether another kind began within the last months). Those with a need that no
        help answers come first, then the poorest.
        And of how many more it cannot be told: their income before help, or since, is not on record.
    """
    rules = asked.rules.assistance
    review = asked.last_month - rules.review_months
    with engine() as connection:
        for table in ("assistance", "households"):
            open_known(connection, asked, table, asked.register.counties)
        open_spells(connection, asked, [asked.as_of])
        connection.execute(
            f"""
            CREATE TABLE due AS
            SELECT household_id, identified_on, min(began) AS helped_on,
                   string_agg(DISTINCT measure, '; ' ORDER BY measure) AS measures,
                   bool_or({month_no("began")} > {review} AND NOT list_contains(before, measure)) AS changed
            FROM (SELECT *, list(measure) FILTER (WHERE {month_no("began")} <= {review})
                             OVER (PARTITION BY household_id) AS before
                  FROM (SELECT household_id, identified_on FROM spells WHERE eliminated_on IS NULL)
                  JOIN (SELECT household_id, measure, {asked.begun} AS began
                        FROM sorted_assistance WHERE accepted) USING (household_id)
                  WHERE began >= identified_on AND began <= DATE '{asked.day}')
            GROUP BY household_id, identified_on HAVING min({month_no("began")}) <= {review};
            """
        )
        open_known(connection, asked, "records", asked.register.counties, "household_id IN (SELECT household_id FROM due)")
        found = connection.execute(
            f"""
            WITH incomes AS (SELECT household_id, {month_no("month")} AS month_no, welfare, line FROM sorted_records)
            SELECT d.household_id, county_id, township_id, d.identified_on, d.helped_on, measures, changed,
                   arg_max(welfare / nullif(line, 0), month_no)
                       FILTER (WHERE month_no + {asked.register.step_months} <= {month_no("helped_on")}) AS ratio_then,
                   arg_max(welfare / nullif(line, 0), month_no) FILTER (WHERE month_no > {month_no("helped_on")})
                       AS ratio_now
            FROM due d JOIN sorted_households USING (household_id) LEFT JOIN incomes USING (household_id)
            GROUP BY ALL HAVING coalesce(ratio_now - ratio_then < {rules.improved}, true)
            ORDER BY ratio_now, d.household_id"""
        ).df()
    told = found[["ratio_then", "ratio_now"]].notna().all(axis=1)
    found, untold = found[told].reset_index(drop=True), int((~told).sum())
    if not len(found):
        return found.assign(needs_now="", unanswered=""), untold
    needs = needs_on(asked, catalogue, [asked.as_of], sorted(found["county_id"].unique())).set_index("household_id")
    objective = [d.name for d in catalogue.drivers if d.nature == "objective"]
    facts = needs[[f"fact_{d}" for d in objective]].set_axis(objective, axis=1)
    facts = facts.reindex(found["household_id"], fill_value=False).reset_index(drop=True)
    found = found.assign(needs_now=named(facts), unanswered=answers.unmet(facts, found["measures"]))
    return found.sort_values("unanswered", key=lambda needs: needs.eq(""), kind="stable", ignore_index=True), untold


def _figures(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if "help_coverage" in tables:
        whole = tables["help_coverage"].query("county_id == @ALL")
        figures["monitored_with_help_share"] = float(whole["share"].iloc[0])
    if "help_timeliness" in tables:
        figures["helped_within_30_days_share"] = float(tables["help_timeliness"].query("within_days == 30")["share"].iloc[0])
    if "help_effects" in tables:
        effects = tables["help_effects"]
        figures |= {
            "estimates": int(effects["effect"].notna().sum()),
            "refused": int(effects["reading"].eq("refused").sum()),
        }
        figures |= {name: int(effects["reading"].eq(name).sum()) for name in ("stands", "fragile", "not_told_apart")}
    if "change_of_measure" in tables:
        figures["change_of_measure"] = len(tables["change_of_measure"])
    return {name: value for name, value in figures.items() if pd.notna(value)}


def _family(effects: pd.DataFrame, drawn: int, counties: int) -> tuple[str, str]:
    estimated, refused = int(effects["effect"].notna().sum()), int(effects["reading"].eq("refused").sum())
    few = int(effects["reading"].eq("too_few").sum())
    return (
        f"{len(effects)} effects were looked for: {estimated} estimated, {refused} refused because those helped have no "
        f"like households among the others, {few} without enough households helped, not helped, or with the outcome. On "
        f"{drawn} of {counties} counties. P-values are adjusted over all estimates together (Benjamini-Hochberg): of those "
        "called told apart about one in twenty may be chance.",
        f"共考察{len(effects)}项效果：已估计{estimated}项；因受助户缺少可比农户而不予估计{refused}项；"
        f"因受助户、未受助户或出现该结果的农户过少而不予估计{few}项。"
        f"使用{counties}个县中的{drawn}个县。P值按全部估计统一校正（Benjamini-Hochberg）：被判为有差异的，约二十分之一可能出于偶然。",
    )


def _income_untold(households: int) -> tuple[str, str]:
    few = shown(households)
    return (
        f"Of {few} more households in open monitoring with half a year of help, income before help or since is not on "
        "record: whether it rose cannot be told, and they are not on the list for a change of measure.",
        f"另有{few}户监测对象帮扶已满半年，但帮扶前或帮扶后的收入未记录，无法判断收入是否上升，未列入帮扶调整名单。",
    )


_READING = (
    "Help was not drawn by lot. A figure here is a difference that is left between households with and without help after "
    "what was known before the offer has been allowed for. It does not prove that help worked or failed: whoever takes help "
    "up may differ in ways that nobody wrote down. Nothing here is a reason to end or reduce help for anybody. Read the "
    "plain difference as a description only. Where a difference is found, it is said whether a hidden factor that misleads "
    "as much as the strongest known one could do away with it; a factor more misleading than that always could. Households "
    "that refused an offer count among those without help, and so do those whose help was offered only after the months "
    "looked at.",
    "帮扶并非随机分配。表中数字是在扣除提供帮扶之前已知情况的差别后，受助户与未受助户之间仍存在的差异，"
    "不能证明帮扶有效或无效：接受帮扶的农户可能在未被记录的方面有所不同。任何数字都不得作为停止或减少帮扶的理由。"
    "“直接差异”只作描述。对每项差异都注明：若存在与已知最强因素误导程度相当的隐藏因素，差异是否会消失；"
    "误导程度更大的隐藏因素总能使其消失。"
    "未接受帮扶（含拒绝）以及在考察月份之后才获得帮扶的农户计入未受助户。",
)
_COST_READING = (
    "Cost per avoided return is what was paid per household over the difference in returns, where that difference was "
    "told apart from none. It inherits every doubt of that difference and ranks no measures: help also does what no return "
    "shows.",
    "“每避免一户返贫的支出”等于户均拨付除以返贫率差异，仅在差异可与零区分时给出。它带有该差异的全部不确定性，"
    "不能用于对帮扶措施排序：帮扶还有返贫率无法体现的作用。",
)
_NO_ASSISTANCE = (
    "The register holds no assistance with answers (column accepted): results of help cannot be told.",
    "登记数据中没有带答复的帮扶记录（“是否接受”字段），无法评估帮扶成效。",
)
_NO_DOUBLEML = (
    "DoubleML is not installed (pip install 'household-riskmodel[causal]'): only plain differences are shown. They are no "
    "effects: those helped differed from the others before.",
    "未安装 DoubleML（pip install 'household-riskmodel[causal]'）：仅列出直接差异。"
    "直接差异不是帮扶效果，因为受助户事前就与其他农户不同。",
)
_NOT_WANTED = (
    "Effects of help were not looked for, as the rules say (assistance.estimate_effects: false).",
    "按规则未考察帮扶效果（assistance.estimate_effects: false）。",
)
_TOO_FEW = (
    "The months or households with help are too few to look for effects.",
    "有帮扶记录的月份或农户过少，无法考察效果。",
)
_NO_TRENDS = (
    "The course of income before and after help is not shown: no income over a line on record, too few households whose "
    "first help can be held against a later one, or steps too long.",
    "无法显示帮扶前后的收入走势：记录中没有收入或监测线，可与较晚受助户比较的农户过少，或数据间隔过长。",
)
_NO_INCOME = (
    "The records hold no income or no line: the list for a change of measure is left out.",
    "记录中没有收入或监测线：帮扶调整名单从略。",
)
_NO_SPELLS = (
    "The register holds no monitoring spells: exit, coverage, timeliness and the list for a change of measure are left out.",
    "登记数据中没有监测台账：消除风险、覆盖、及时性和帮扶调整名单从略。",
)
