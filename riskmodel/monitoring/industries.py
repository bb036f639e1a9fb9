"""Industries: what rests on them, how far they live on policy support, what would fall without it.

A project's dependence is graded by two figures of its last twelve months: support over revenue, and the margin that is left
once the support booked in revenue is taken out. Why a project stagnates is told apart by what is on record: circumstances (a
disaster, a fall of prices) or administration (help for the industry promised and not paid, support paid on while the project
stands still for no reason on record). Both are said of the project and its unit, never of a household, and a
reason in administration is a clue to be verified.

Concentration is Herfindahl's index of income from production by industry, its inverse the effective number of industries
(Hirschman 1964); homogeneity is the mean cosine of the industry shares of a village and of the others in its township and
county. The support-off test is in `monitoring/support.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from riskmodel.catalogue.compiler import month_no
from riskmodel.engine import engine, rows_of
from riskmodel.monitoring.counties import by_batch
from riskmodel.monitoring.known import not_unverified, read_known
from riskmodel.monitoring.part import LEFT_OUT, Asked, Found
from riskmodel.monitoring.rules import IndustryRules
from riskmodel.monitoring.support import COULD, FALLS, STILL, loss_without_support, support_off, with_property_income
from riskmodel.processes import Batch
from riskmodel.register.contract import INCOME

FULLY, MAINLY, PARTLY, INDEPENDENT, UNRATED = "fully", "mainly", "partly", "independent", "not_rated"
GRADES = (FULLY, MAINLY, PARTLY, INDEPENDENT, UNRATED)
CIRCUMSTANCES, ADMINISTRATION, BOTH, UNKNOWN, NONE = "circumstances", "administration", "both", "unknown", "none"
_STRUCK = ("price_fall", "project_stopped", "disaster")
_STRIKES_PROJECTS = ("price_fall", "disaster")


def report_industries(asked: Asked) -> Found:
    """Industries and projects as known at the end of the period, and with a model the support-off test.

    Returns
    -------
    Found
        Tables `projects` (graded list), `industries` (county and industry), `concentration` (by county, township and
        village), `watched` (households that live on a project that is not independent), `support_off` and
        `support_off_villages`; what the register cannot give is left out and said in a note.
    """
    parts = [part for found in by_batch(asked, _counties, "industries") for part in found]
    tables_of = {name for part in parts for name in part} - {"county", "loss"}
    found = {name: pd.concat([p[name] for p in parts if name in p], ignore_index=True) for name in sorted(tables_of)}
    notes, tables = [_READING], {}
    figures: dict[str, Any] = {}
    lacks: dict[str, tuple[str, str]] = {}
    if "projects" in found:
        order = found["projects"]["dependence"].map(GRADES.index)
        projects = found["projects"].assign(order=order).sort_values(["order", "linked_income"], ascending=[True, False])
        tables["projects"] = projects.drop(columns="order").reset_index(drop=True)
        figures |= {f"projects_{grade}": int(projects["dependence"].eq(grade).sum()) for grade in GRADES}
        figures["projects_stagnating"] = int(projects["stagnation"].ne(NONE).sum())
    else:
        notes.append(_NO_PROJECTS)
        lacks["projects"] = _NO_PROJECTS
    if "industries" in found:
        tables["industries"] = found["industries"]
        counties = found["industries"].drop_duplicates("county_id")[["income_recorded", "income_not_recorded"]].sum()
        if counties["income_not_recorded"] > counties["income_recorded"]:
            notes.append(_INCOME_UNTOLD if "production_income" in asked.register.columns("records") else _NO_PRODUCTION)
    if len(found.get("shares", ())):
        tables["concentration"] = _concentration(found["shares"])
        counties = tables["concentration"].query("level == 'county'")
        weight = counties["income"].fillna(counties["households"]).where(counties["largest_share"].notna())
        if weight.sum() > 0:
            figures["largest_industry_share"] = float((counties["largest_share"] * weight).sum() / weight.sum())
    else:
        notes.append(_NO_INDUSTRY)
        lacks["concentration"] = _NO_INDUSTRY
    if "watched" in found:
        tables["watched"] = found["watched"].sort_values(
            ["income_share", "household_id"], ascending=[False, True], ignore_index=True
        )
        figures["households_watched"] = len(found["watched"])
    losses = {part["county"]: part["loss"] for part in parts if "loss" in part and len(part["loss"])}
    if not losses:
        notes.append(_NOTHING_LINKED)
        lacks["support_off"] = _NOTHING_LINKED
    elif asked.model is None:
        notes.append(_NO_MODEL)
        lacks["support_off"] = _NO_MODEL
    else:
        tables["support_off"], tables["support_off_villages"] = support_off(asked, losses)
        grades = tables["support_off"]["grade"]
        figures |= {f"support_off_{grade}": int(grades.eq(grade).sum()) for grade in (FALLS, COULD)}
        figures["support_off_more_falls"] = float(tables["support_off_villages"]["more_falls"].sum())
        notes.append(_SUPPORT_OFF)
    return Found(tables, figures, notes, lacks)


def _counties(asked: Asked, batch: Batch) -> list[dict[str, Any]]:
    """What is made of each county of a batch, by one connection: to open one takes as long as to read a table."""
    with engine() as connection:
        return [_county(connection, asked, county) for county in batch]


def _county(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str) -> dict[str, Any]:
    register, rules = asked.register, asked.rules.industries
    made: dict[str, Any] = {"county": county}
    people = _households(connection, asked, county)
    links = _links(connection, asked, county)
    events = read_known(connection, asked, "events", county) if register.has("events") else None
    projects = None
    if register.has("projects"):
        projects = _projects(connection, asked, county, links, events)
        made["projects"] = projects.replace([np.inf, -np.inf], np.nan)  # nothing has a share of no revenue
        if links["income"].notna().any():
            made["loss"] = loss_without_support(with_property_income(links, people), projects, people)
            made["watched"] = _watched(people, links, projects, rules, county)
    if "industry" in people:
        made["industries"] = _industries(asked, county, people, links, projects, events)
        made["shares"] = _shares(people, county)
    return {name: value for name, value in made.items() if value is not None}


def _households(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str) -> pd.DataFrame:
    """The last known record of each household within a year: its places, industry, incomes (yuan a year)."""
    register = asked.register
    held = register.columns("records")
    told = [c for c in ("industry", *INCOME, "welfare", "hh_size") if c in held]
    file = register.file("records", county)
    if file is None:
        return pd.DataFrame({"household_id": []})
    places = [c for c in ("township_id", "village_id") if c in register.columns("households")]
    joined = register.file("households", county)
    packed = ", ".join(f"{c} := {c}" for c in told) or "none := 0"
    return connection.execute(
        f"""
        WITH last AS (
            SELECT household_id, max_by(struct_pack({packed}), month_no * 100000 + known_no) AS told FROM (
                SELECT *, {month_no("month")} AS month_no, known_at - DATE '1990-01-01' AS known_no
                FROM {rows_of(file)} WHERE known_at <= DATE '{asked.day}')
            WHERE month_no BETWEEN {asked.as_of - 11} AND {asked.as_of} GROUP BY household_id)
        SELECT {", ".join(["last.household_id", *(f"p.{c}" for c in places), *(f"told.{c} AS {c}" for c in told)])}
        FROM last LEFT JOIN {rows_of(joined)} p ON p.household_id = last.household_id
        ORDER BY last.household_id"""
    ).df()


def _links(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str) -> pd.DataFrame:
    """Links of households and projects that are known: `household_id, project_id, link, income`."""
    columns = ["household_id", "project_id", "link", "income"]
    if asked.register.file("household_projects", county) is None:
        return pd.DataFrame(columns=columns)
    return read_known(connection, asked, "household_projects", county).reindex(columns=columns)


_OF_PROJECT = (
    "project_id", "month", "village_id", "industry", "status", "revenue", "cost", "policy_support", "households_linked",
)  # fmt: skip
_MONEY = ("revenue", "cost", "policy_support")


def _projects(
    connection: duckdb.DuckDBPyConnection, asked: Asked, county: str, links: pd.DataFrame, events: pd.DataFrame | None
) -> pd.DataFrame:
    """One row per project: its figures, grade, stagnation, and the reasons in words.

    Of a project that nobody has told of for long, no figure is of now, nor that it runs; that it stood still or was bankrupt
    stands until another record says otherwise.
    """
    rules = asked.rules.industries
    known = read_known(connection, asked, "projects", county).sort_values(["project_id", "month"], kind="stable")
    known = known.reindex(columns=_OF_PROJECT)
    known = known[known["month"] <= pd.Timestamp(asked.day)]
    number = known["month"].dt.year * 12 + known["month"].dt.month - 1
    last = known.drop_duplicates("project_id", keep="last").reset_index(drop=True)
    year_ago = known.assign(month_no=number + 12)[["project_id", "month_no", "revenue"]]
    at = last["month"].dt.year * 12 + last["month"].dt.month - 1
    last = last.assign(month_no=at).merge(
        year_ago.rename(columns={"revenue": "revenue_year_ago"}), "left", on=["project_id", "month_no"]
    )
    rows = last.astype({c: float for c in (*_MONEY, "revenue_year_ago")})
    rows["last_record"] = rows["month"].dt.strftime("%Y-%m")
    rows["silent"] = rows["month_no"] <= asked.last_month - rules.silent_months
    rows.loc[rows["silent"], list(_MONEY)] = np.nan
    rows["status"] = rows["status"].mask(rows["silent"] & ~rows["status"].isin(STILL))
    with np.errstate(divide="ignore", invalid="ignore"):
        rows["support_share"] = rows["policy_support"] / rows["revenue"]
        own = rows["revenue"] - rules.support_in_revenue * rows["policy_support"]
        rows["margin_without_support"] = (own - rows["cost"]) / rows["revenue"]
        rows["revenue_change"] = rows["revenue"] / rows["revenue_year_ago"] - 1
    rows["dependence"] = grade_dependence(rows, rules)
    linked = links.astype({"income": float}).groupby("project_id")["income"]
    unlinked = 0.0 if len(links) else np.nan  # where no link is known, nobody knows that a project has none
    households = rows["project_id"].map(linked.size()).fillna(rows["households_linked"].astype(float)).fillna(unlinked)
    rows["households"] = households.astype("Int64")
    known_income = rows["project_id"].map(linked.sum(min_count=1)).astype(float)
    rows["linked_income"] = known_income.where(rows["project_id"].isin(links["project_id"]), unlinked)
    rows["links_not_recorded"] = rows["project_id"].map(_blank(links["income"], links["project_id"])).fillna(0).astype(int)
    rows["county_id"] = county
    signs = _signs(connection, asked, county, rows, known, links, events)
    rows = rows.merge(signs, "left", on="project_id")
    rows["stagnation"] = stagnation_of(rows, rules)
    told = [_dependence_words(row) for row in rows.itertuples()]
    why = [_stagnation_words(row, rules) for row in rows.itertuples()]
    for place, lang in enumerate(("en", "zh")):
        rows[f"reason_{lang}"] = [words[place] for words in told]
        rows[f"stagnation_reason_{lang}"] = [words[place] for words in why]
    return rows[[
        "project_id", "county_id", "village_id", "industry", "last_record", "status", "dependence", "reason_en", "reason_zh",
        "stagnation", "stagnation_reason_en", "stagnation_reason_zh", "responsible_unit", "households", "linked_income",
        "links_not_recorded", "revenue", "cost", "policy_support", "support_share", "margin_without_support",
        "revenue_change",
    ]]  # fmt: skip


def grade_dependence(projects: pd.DataFrame, rules: IndustryRules) -> np.ndarray:
    """The grade of each project by `support_share` and `margin_without_support`; thresholds are rows of the rules.

    A project that has no support does not depend on it, whatever it loses.

    >>> share, margin = [0.6, 0.6, 0.1, 0.01, 0.0, np.nan], [-0.1, 0.1, 0.2, 0.2, -0.2, 0]
    >>> projects = pd.DataFrame({"support_share": share, "margin_without_support": margin})
    >>> grade_dependence(projects, IndustryRules()).tolist()
    ['fully', 'mainly', 'partly', 'independent', 'independent', 'not_rated']
    """
    share, margin = projects["support_share"], projects["margin_without_support"]
    short = (margin < 0) & (share > 0)
    return np.select(
        [
            share.isna() | (margin.isna() & np.isfinite(share)),
            (share >= rules.fully_share) & (short | ~np.isfinite(share)),
            short | (share >= rules.mainly_share),
            share >= rules.partly_share,
        ],
        [UNRATED, FULLY, MAINLY, PARTLY],
        INDEPENDENT,
    )


def stagnation_of(projects: pd.DataFrame, rules: IndustryRules) -> np.ndarray:
    """Whether each project stagnates, and through what, by the signs on record.

    Parameters
    ----------
    projects
        `status`, `revenue_change` (share, against the same month last year), `struck` (disasters and falls of prices on
        record at its village, or its price index fallen), `unpaid_share` (of the help for the industry that was
        offered to its households, planned and not paid in time), `paid_while_still` (supported while it stood still).
    """
    stagnates = projects["status"].isin((*STILL, "reduced")) | (projects["revenue_change"] <= -rules.stagnation_fall)
    by_fate = projects["struck"].astype(bool)
    by_office = (projects["unpaid_share"] >= rules.unpaid_share) | (projects["paid_while_still"].astype(bool) & ~by_fate)
    return np.select(
        [~stagnates, by_fate & by_office, by_fate, by_office], [NONE, BOTH, CIRCUMSTANCES, ADMINISTRATION], UNKNOWN
    )


def _signs(
    connection: duckdb.DuckDBPyConnection,
    asked: Asked,
    county: str,
    projects: pd.DataFrame,
    known: pd.DataFrame,
    links: pd.DataFrame,
    events: pd.DataFrame | None,
) -> pd.DataFrame:
    """What bears on stagnation: `struck`, `unpaid_share`, `paid_while_still`, `responsible_unit`, by project."""
    rules, day = asked.rules.industries, pd.Timestamp(asked.day)
    found = projects[["project_id", "village_id"]].copy()
    struck: set[str] = set()
    homes = asked.register.read("households", county)
    if events is not None:
        recent = events["onset_on"] > day - pd.DateOffset(months=rules.circumstance_months)
        events = events[events["kind"].isin(_STRIKES_PROJECTS) & recent & (events["onset_on"] <= day)]
        events = not_unverified(events)
        struck |= set(_of_villages(events))
        if "household_id" in events and "village_id" in homes:
            lived = homes.set_index("household_id")["village_id"]
            many = lived[lived.index.isin(events["household_id"])].value_counts() / lived.value_counts()
            struck |= set(many.index[many >= rules.struck_share])
    struck |= _fallen_prices(connection, asked, county)
    found["struck"] = found["village_id"].isin(struck)
    unpaid, unit = _industry_help(connection, asked, county, links)
    found["unpaid_share"] = found["project_id"].map(unpaid).astype(float)
    found["responsible_unit"] = found["project_id"].map(unit).astype("str")
    long_ago = known[known["month"] > day - pd.DateOffset(months=rules.still_months)]
    stood = long_ago["status"].isin(STILL).groupby(long_ago["project_id"]).agg(["size", "all"])
    still = (stood["size"] * asked.register.step_months >= rules.still_months) & stood["all"]
    paid = projects.set_index("project_id")["policy_support"] > 0
    found["paid_while_still"] = found["project_id"].map(still & paid.reindex(still.index)).eq(True)
    return found.drop(columns="village_id")


def _fallen_prices(connection: duckdb.DuckDBPyConnection, asked: Asked, county: str) -> set[str]:
    """Villages whose price index lies under that of a year ago by the rule's share."""
    if not {"price_index", "village_id"} <= set(asked.register.columns("villages")):
        return set()
    rows = read_known(connection, asked, "villages", county)
    rows = rows[rows["month"] <= pd.Timestamp(asked.day)].sort_values(["village_id", "month"], kind="stable")
    now = rows.drop_duplicates("village_id", keep="last").set_index("village_id")
    before = rows[rows["month"] <= pd.Timestamp(asked.day) - pd.DateOffset(months=12)]
    then = before.drop_duplicates("village_id", keep="last").set_index("village_id")["price_index"].reindex(now.index)
    return set(now.index[(now["price_index"] / then - 1 <= -asked.rules.industries.price_fall).fillna(False)])


def _industry_help(
    connection: duckdb.DuckDBPyConnection, asked: Asked, county: str, links: pd.DataFrame
) -> tuple[pd.Series, pd.Series]:
    """By project: the share of its households' help for the industry not paid in time; the unit that answers for most.

    Help of which an amount was paid on a day that is not on record counts neither as paid in time nor as not; a nought on a
    day is no payment.
    """
    none = pd.Series(dtype=float), pd.Series(dtype=object)
    if asked.register.file("assistance", county) is None or not len(links):
        return none
    help_ = read_known(connection, asked, "assistance", county)
    if not {"amount_planned", "paid_on"} <= set(help_):
        return none
    day, rules = pd.Timestamp(asked.day), asked.rules.industries
    due = help_["offered_on"] + pd.Timedelta(days=rules.unpaid_days)
    since = help_["offered_on"] > day - pd.DateOffset(months=rules.shock_months) - pd.Timedelta(days=rules.unpaid_days)
    help_ = help_[help_["measure"].eq("industry") & (help_["amount_planned"] > 0) & (due <= day) & since]
    if "accepted" in help_:
        help_ = help_[help_["accepted"].fillna(False).astype(bool)]
    amount = help_.reindex(columns=["amount_paid"])["amount_paid"].astype(float)
    in_time = (help_["paid_on"] <= due.reindex(help_.index)) & amount.ne(0)
    late = (~in_time).astype(float).mask(help_["paid_on"].isna() & (amount > 0))
    rows = help_.assign(late=late).merge(links[["household_id", "project_id"]], on="household_id")
    units = pd.Series(dtype=object)
    if "responsible_unit" in rows:
        counted = rows.dropna(subset=["responsible_unit"]).value_counts(["project_id", "responsible_unit"]).reset_index()
        units = counted.drop_duplicates("project_id").set_index("project_id")["responsible_unit"]
    return rows.groupby("project_id")["late"].mean(), units


def _watched(
    people: pd.DataFrame, links: pd.DataFrame, projects: pd.DataFrame, rules: IndustryRules, county: str
) -> pd.DataFrame:
    """Households of which most income comes from a project that lives mainly or fully on support.

    Where a part of income is not on record, income per person times members is the least that the whole can be; where that
    is missing too, nothing is said of the household.
    """
    rows = links.merge(projects[["project_id", "dependence", "village_id"]], on="project_id")
    rows = rows[rows["dependence"].isin((FULLY, MAINLY))]
    parts = people.set_index("household_id").reindex(columns=list(INCOME)).astype(float)
    held = people.set_index("household_id").reindex(columns=["welfare", "hh_size"]).astype(float)
    gross = parts.sum(axis=1).where(
        parts.notna().all(axis=1), np.maximum(parts.sum(axis=1), held.prod(axis=1, skipna=False))
    )
    whole = rows["household_id"].map(gross).astype(float)
    rows = rows.assign(
        income_share=(rows["income"].astype(float) / whole.where(whole > 0)).clip(upper=1.0), county_id=county
    )
    rows = rows[rows["income_share"] > rules.watch_share]
    columns = ["household_id", "county_id", "village_id", "project_id", "dependence", "link", "income", "income_share"]
    return rows[columns]


def _blank(values: pd.Series, by: pd.Series) -> pd.Series:
    """How many values of each group are not on record."""
    return values.isna().groupby(by).sum()


def _production(people: pd.DataFrame) -> pd.Series:
    """Income from production, missing where it is not on record, also where the register holds none."""
    return people.reindex(columns=["production_income"])["production_income"].astype(float)


def _shares(people: pd.DataFrame, county: str) -> pd.DataFrame:
    """Households, their income from production, and those of whom it is not on record, by village and industry.

    `weight` is what concentration is told by: that income, or households where the register holds none.
    """
    rows = people.dropna(subset=["industry"])
    by = [rows[c] for c in ("township_id", "village_id", "industry") if c in rows]
    income = _production(rows)
    told = pd.DataFrame({"households": 1, "income": income, "production_not_recorded": income.isna().astype(int)})
    told["weight"] = income.fillna(0.0) if "production_income" in rows else 1.0
    groups = told.groupby(by, dropna=False)
    found = groups.sum().assign(income=groups["income"].sum(min_count=1)).reset_index()
    return found.assign(county_id=county)


def _industries(
    asked: Asked,
    county: str,
    people: pd.DataFrame,
    links: pd.DataFrame,
    projects: pd.DataFrame | None,
    events: pd.DataFrame | None,
) -> pd.DataFrame:
    """One row per industry: who and what rests on it, its support, and what struck it; beside each what is not on record."""
    rows = people.dropna(subset=["industry"])
    of, production = rows["industry"], _production(rows)
    found = pd.DataFrame({
        "main_households": rows.groupby("industry").size(), "production_income": production.groupby(of).sum(min_count=1),
        "production_not_recorded": _blank(production, of),
    })  # fmt: skip
    struck = _struck(asked, rows, events)
    if struck is not None:
        found["shocked_share"] = struck.groupby(rows["industry"].to_numpy()).mean()
    linked = None
    if projects is not None:
        kind, by_industry = projects["industry"], projects.groupby("industry")
        own = pd.DataFrame({"projects": by_industry.size()})
        own[["revenue", "policy_support"]] = by_industry[["revenue", "policy_support"]].sum(min_count=1)
        known, rated = projects.dropna(subset="status"), projects[projects["dependence"] != UNRATED]
        own["not_running_share"] = known["status"].ne("running").groupby(known["industry"]).mean()
        own["status_not_recorded"] = _blank(projects["status"], kind)
        own["dependent_share"] = rated["dependence"].isin((FULLY, MAINLY)).groupby(rated["industry"]).mean()
        own["not_rated"] = projects["dependence"].eq(UNRATED).groupby(kind).sum()
        both = projects.dropna(subset=["revenue", "policy_support"]).groupby("industry")[["policy_support", "revenue"]].sum()
        own["support_share"] = both["policy_support"] / both["revenue"].where(both["revenue"] > 0)
        own["support_not_recorded"] = _blank(projects["revenue"] + projects["policy_support"], kind)
        linked = links.merge(projects[["project_id", "industry"]], on="project_id").astype({"income": float})
        own["linked_households"] = linked.groupby("industry")["household_id"].nunique()
        own["linked_income"] = linked.groupby("industry")["income"].sum(min_count=1)
        own["links_not_recorded"] = _blank(linked["income"], linked["industry"])
        found = found.join(own, how="outer")
        counts = ["main_households", "projects", "linked_households", *(c for c in found if c.endswith(LEFT_OUT))]
        found[counts] = found[counts].fillna(0).astype(int)
    share, found["income_recorded"] = _resting(people, linked)
    found["income_not_recorded"] = len(people) - found["income_recorded"]
    nobody = found.reindex(columns=["main_households", "linked_households"]).sum(axis=1) == 0
    found["income_share"] = share.reindex(found.index).mask(share.notna().any() & nobody, 0.0)
    return found.rename_axis("industry").reset_index().assign(county_id=county)


def _resting(people: pd.DataFrame, linked: pd.DataFrame | None) -> tuple[pd.Series, int]:
    """Share of the county's income that rests on each industry, of households whose income is on record in every part that
    the register holds, and the number of these.

    A blank part is unknown: it is neither none in what rests on an industry, nor in the whole.
    """
    held = [c for c in INCOME if c in people]
    known = people[held].notna().all(axis=1) & ("production_income" in held)
    told = people.loc[known, ["household_id", "industry", *held]]
    resting = told.groupby("industry")["production_income"].sum().astype(float) if len(told) else pd.Series(dtype=float)
    if linked is not None and len(told):
        at = pd.Index(told["household_id"]).get_indexer(linked["household_id"])
        rows, main = linked[at >= 0], told["industry"].to_numpy()[at[at >= 0]]
        beside = rows[(rows["link"] != "own") | (rows["industry"] != main)]  # else its production holds it already
        resting = resting.add(beside.groupby("industry")["income"].sum(min_count=1), fill_value=0)
    gross = float(told[held].sum().sum())
    return resting / gross if gross > 0 else resting * np.nan, len(told)


def _struck(asked: Asked, people: pd.DataFrame, events: pd.DataFrame | None) -> pd.Series | None:
    """Whether a disaster, a fall of prices or a stopped project struck each household, or its village, within the months."""
    if events is None:
        return None
    day = pd.Timestamp(asked.day)
    recent = (events["onset_on"] > day - pd.DateOffset(months=asked.rules.industries.shock_months)) & (
        events["onset_on"] <= day
    )
    events = not_unverified(events[recent & events["kind"].isin(_STRUCK)])
    struck = people["household_id"].isin(events["household_id"].dropna()) if "household_id" in events else False
    if "village_id" in people:
        struck = struck | people["village_id"].isin(_of_villages(events))
    return pd.Series(np.broadcast_to(struck, len(people)), index=people.index).reset_index(drop=True)


def _of_villages(events: pd.DataFrame) -> pd.Series:
    """The villages that events struck as a whole: those that name no household."""
    whole = events[events["household_id"].isna()] if "household_id" in events else events
    return whole.reindex(columns=["village_id"])["village_id"].dropna()


def _concentration(shares: pd.DataFrame) -> pd.DataFrame:
    """Concentration by county, township and village, and how alike a village is to the others of its area.

    A village whose township is blank is one of its own, and of no township that others are.
    """
    made = []
    by = ["county_id", *(c for c in ("township_id", "village_id") if c in shares)]
    for level in range(1, len(by) + 1):
        keys = by[:level]
        rows = shares[shares[keys[-1]].notna()]
        if not len(rows):  # nobody's village is known
            continue
        table = rows.groupby([*keys, "industry"], dropna=False)["weight"].sum().unstack("industry", fill_value=0.0)
        areas = rows.groupby(keys, dropna=False)
        found = areas[["households", "production_not_recorded"]].sum().join(concentration_of(table))
        found["income"] = areas["income"].sum(min_count=1)
        found["level"] = keys[-1].removesuffix("_id")
        if level > 1:
            for outer in range(1, level):
                name = by[outer - 1].removesuffix("_id")
                area = table.index.droplevel(keys[outer:])  # a township may bear the name of another county's
                known = table.index.get_level_values(keys[outer - 1]).notna()
                found[f"alike_in_{name}"] = np.where(known, likeness(table.to_numpy(float), area), np.nan)
        made.append(found.reset_index())
    found = pd.concat(made, ignore_index=True)
    first = ["level", *by]
    return found.reindex(columns=[*first, *(c for c in found if c not in first)])


def concentration_of(income: pd.DataFrame) -> pd.DataFrame:
    """Herfindahl's index, effective number of industries, the largest and its share, of areas x industries.

    >>> concentration_of(pd.DataFrame({"tea": [3.0], "grain": [1.0]})).iloc[0].to_dict()
    {'income': 4.0, 'hhi': 0.625, 'effective_number': 1.6, 'largest_industry': 'tea', 'largest_share': 0.75}
    """
    values = income.to_numpy(float)
    whole = values.sum(axis=1)
    shares = np.divide(values, whole[:, None], out=np.full_like(values, np.nan), where=whole[:, None] > 0)
    hhi = (shares**2).sum(axis=1)
    largest = np.where(whole > 0, income.columns.to_numpy(object)[values.argmax(axis=1)], None)
    found = {"income": whole, "hhi": hhi, "effective_number": 1 / hhi, "largest_industry": largest}
    return pd.DataFrame({**found, "largest_share": shares.max(axis=1)}, index=income.index)


def likeness(income: np.ndarray, area: Sequence[Any] | pd.Index) -> np.ndarray:
    """Mean cosine of each row's industry shares with those of the other rows of its area; NaN where it is alone.

    >>> likeness(np.array([[1.0, 0], [2, 0], [0, 3]]), ["a", "a", "a"]).tolist()
    [0.5, 0.5, 0.0]
    """
    length = np.linalg.norm(income, axis=1, keepdims=True)
    unit = np.divide(income, length, out=np.zeros_like(income, float), where=length > 0)
    codes, _ = pd.factorize(area if isinstance(area, pd.Index) else np.asarray(area, object))
    there = (length[:, 0] > 0).astype(float)
    number = np.bincount(codes, weights=there)[codes] - there
    sums = np.stack([np.bincount(codes, weights=column) for column in unit.T], axis=1)[codes]
    together = (unit * sums).sum(axis=1) - there
    return np.where((number > 0) & (there > 0), together / np.maximum(number, 1), np.nan).round(12)


def _dependence_words(row: Any) -> tuple[str, str]:
    if row.silent:
        return f"no record after {row.last_record}: not graded", f"{row.last_record}以后无记录，未分级"
    if row.revenue == 0 and row.policy_support == 0:
        return "neither revenue nor support in twelve months: not graded", "近12个月既无经营收入也无政策支持，未分级"
    if row.dependence == UNRATED:
        return "no revenue, cost or support on record: not graded", "缺收入、成本或政策支持记录，未分级"
    if not np.isfinite(row.support_share):
        return "no revenue of its own in twelve months, and supported", "近12个月没有经营收入，仅靠政策支持"
    share, margin = f"{row.support_share:.0%}", f"{abs(row.margin_without_support):.0%}"
    if row.margin_without_support < 0:
        left_en, left_zh = f"without it a loss of {margin} of revenue", f"扣除支持后亏损，相当于收入的{margin}"
    else:
        left_en, left_zh = f"without it a margin of {margin}", f"扣除支持后仍有{margin}的利润率"
    return f"support is {share} of revenue; {left_en}", f"政策支持相当于收入的{share}；{left_zh}"


def _stagnation_words(row: Any, rules: IndustryRules) -> tuple[str, str]:
    if row.stagnation == NONE:
        return "", ""
    en, zh = list(_facts(row, rules, 0)), list(_facts(row, rules, 1))
    if row.stagnation in (ADMINISTRATION, BOTH):
        en.append("a clue about the project's administration, to be verified")
        zh.append("属项目管理方面的线索，待核实")
    if row.stagnation == UNKNOWN:
        en.append("no reason on record: look into it on the spot")
        zh.append("尚无原因记录，需实地了解")
    return "; ".join(en), "；".join(zh)


def _facts(row: Any, rules: IndustryRules, lang: int) -> Iterator[str]:
    if row.status in _STATUS:
        yield _STATUS[row.status][lang]
    if row.revenue_change <= -rules.stagnation_fall:
        yield (f"revenue fell by {-row.revenue_change:.0%} in a year", f"收入较上年同月下降{-row.revenue_change:.0%}")[lang]
    if row.struck:
        yield (
            f"a disaster or a fall of prices at its village within {rules.circumstance_months} months",
            f"近{rules.circumstance_months}个月所在村遭遇自然灾害或价格下跌",
        )[lang]
    if row.unpaid_share >= rules.unpaid_share:
        yield (
            f"{row.unpaid_share:.0%} of the help for its households was not paid within {rules.unpaid_days} days",
            f"所带动户的产业帮扶资金有{row.unpaid_share:.0%}未在{rules.unpaid_days}天内拨付",
        )[lang]
    if row.paid_while_still and not row.struck:
        yield (
            f"supported while it stood still for {rules.still_months} months or more",
            f"停产{rules.still_months}个月以上仍获政策支持",
        )[lang]


_STATUS: Mapping[str, tuple[str, str]] = {
    "reduced": ("works at reduced scale", "减产"),
    "stopped": ("stands still", "停产"),
    "bankrupt": ("bankrupt", "破产"),
}


_READING = (
    "Industries: support is what a project got in twelve months, over its revenue; the margin without support takes out the "
    "support that is booked in revenue. Stagnation is said of projects and units, never of households; "
    "a reason in administration is a clue to be verified.",
    "产业分析：政策支持占比为近12个月政策支持与收入之比，扣除支持后的利润率不计入账的政策支持。产业停滞的原因只针对项目和单位，"
    "不针对任何农户；管理方面的原因仅为线索，须经核实。",
)
_NO_PROJECTS = (
    "The register holds no projects: dependence and stagnation cannot be told.",
    "登记数据中没有产业项目，无法判断产业对政策的依赖程度和停滞原因。",
)
_NO_INDUSTRY = (
    "The records do not name households' main industry: concentration cannot be told.",
    "记录中没有各户主要产业，无法计算产业集中度和同质化程度。",
)
_NO_PRODUCTION = (
    "The records hold no income from production: what share of income rests on an industry cannot be told, and "
    "concentration is told by numbers of households.",
    "记录中没有生产经营性收入：无法计算各产业占收入的比例，产业集中度按户数计算。",
)
_INCOME_UNTOLD = (
    "Of most households some part of income is not on record: the share of income that rests on an industry is told of "
    "the others alone, who may be of another kind. Where the books leave blank what a household has none of, the mapping of "
    "the source should say so: coalesce(number(...), 0).",
    "多数农户的收入有一项或几项未记录：各产业占收入比例只按其余农户计算，这些农户未必有代表性。"
    "账册中空白即表示没有该项收入的，请在数据映射中写明：coalesce(number(...), 0)。",
)
_NOTHING_LINKED = (
    "No household has an income on record from a project that is known to be supported: there is nothing to switch off.",
    "没有农户有来自已知获支持产业项目的收入记录，无法进行停止支持情景测试。",
)
_NO_MODEL = (
    "The support-off test scores the month again: name the model (--model).",
    "停止支持情景测试需要重新评分，请指定模型（--model）。",
)
_SUPPORT_OFF = (
    "Support off is a question to the model, not a forecast and no reason to end support: households are scored as if a "
    "year had passed without income from projects that do not bear their cost without support, and without the supported "
    "share of income from the others. Allowances, pensions and other transfers stay. Who falls by the books comes first, "
    "then who could fall, the surest first; most of those who could fall will not.",
    "停止支持情景只是对模型的提问，既不是预测，也不能作为停止帮扶的依据：近12个月中，不靠支持便入不敷出的项目带来的收入全部扣除；"
    "其他项目按政策支持占比扣除；低保、养老金等转移性收入保持不变。按账面将低于监测线的农户在前，可能返贫的农户在后，"
    "各以把握大的在前；可能返贫的农户大多不会返贫。",
)
