"""Funds of assistance: planned, paid, reached; what is late, unspent or paid twice; need and help held together.

Help counts as it was known on the day. A **need** is a fact of `drivers.yaml` (a dated illness, a lost job, no able member)
that was known at the beginning of the last `need_months` or at their end; `delivers` of the rules says which kind of help
answers it. Exceptions are rows to be looked at, of a unit's books; they say nothing of anybody's conduct, and no household
loses anything by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue, load_catalogue
from riskmodel.cohort.features import build_features
from riskmodel.engine import engine
from riskmodel.errors import NotEnoughData
from riskmodel.monitoring.counties import by_batch
from riskmodel.monitoring.known import Answers, among, goes_on, needs_on, of_circumstances, only, open_known
from riskmodel.monitoring.part import Asked, Found
from riskmodel.processes import Batch

_WATCHED = ("monitored_now", "below_now")
ALL, RETURN = "*", "return"
EXCEPTIONS = ("paid_twice", "not_paid_yet", "paid_late", "unspent", "above_plan", "amount_out_of_line")
NO_NEED, OTHER_NEED, ANSWERED = "no_need_recorded", "other_need", "answers_a_need"
_MAD = 0.6744897501960817
_MOST_BY = {"kind": "measure", "unit": "responsible_unit", "source": "fund_source"}


def report_funds(asked: Asked) -> Found:
    """Planned, paid and reached by kind of help, unit and source, and the lists of exceptions.

    Returns
    -------
    Found
        Tables `fund_totals` (by kind, unit, source), `fund_sources` (shares and their Herfindahl-Hirschman index),
        `fund_exceptions` (late, unspent, not paid, paid twice, amounts out of line), `help_and_need`, `help_without_need`
        and `need_without_help`; what the register cannot give is left out and said in a note.
    """
    held = set(asked.register.columns("assistance"))
    if "accepted" not in held:
        return Found({}, notes=[_NO_ANSWERS])
    lacks: dict[str, tuple[str, str]] = {}
    notes = [_READING]
    by_need = by_batch(asked, _needs, "needs")
    tables: dict[str, pd.DataFrame] = {}
    if "amount_paid" in held:
        with engine() as connection:
            _open(connection, asked, asked.register.counties)
            tables["fund_totals"] = pd.concat(
                [_totals(connection, by, column) for by, column in _MOST_BY.items() if by == "kind" or column in held],
                ignore_index=True,
            )
            if "fund_source" in held:
                tables["fund_sources"] = _sources(connection)
            else:
                lacks["fund_sources"] = _NO_SOURCES
            tables["fund_exceptions"] = _exceptions(connection, asked)
        notes += [note for column, note in _LACKING.items() if column not in held]
        untold = ["amount_not_recorded", *(["plan_not_recorded"] if "amount_planned" in held else [])]
        if tables["fund_totals"][untold].any(axis=None):
            notes.append(_SOME_UNTOLD)
        if "paid_on" in held and tables["fund_totals"]["paid_without_day"].any():
            notes.append(_SOME_UNDATED)
    else:
        lacks |= dict.fromkeys(("fund_totals", "fund_sources", "fund_exceptions"), _NO_AMOUNTS)
    if needs := [found for found in by_need if found is not None]:
        tables |= _together(needs)
        if "need_without_help" not in tables:
            lacks["need_without_help"] = _NOBODY_WATCHED
    else:
        lacks |= dict.fromkeys(("help_and_need", "help_without_need", "need_without_help"), _NOBODY_SEEN)
    return Found(tables, _figures(tables), [*notes, *dict.fromkeys(lacks.values())], lacks)


def help_costs(asked: Asked, effects: pd.DataFrame) -> pd.DataFrame | None:
    """Cost per household and per return avoided by kind of help (`costs`); None where the register holds no amounts."""
    if not {"accepted", "amount_paid"} <= set(asked.register.columns("assistance")):
        return None
    with engine() as connection:
        _open(connection, asked, asked.register.counties)
        return costs(_totals(connection, "kind", "measure"), effects)


def _open(connection: duckdb.DuckDBPyConnection, asked: Asked, counties: Sequence[str]) -> None:
    """Table `paid`: help that was taken up and offered within the months of the rules, with its days.

    An amount without a day was paid on a day that nobody wrote down; where others have days, a nought without one is
    nothing paid yet. A day without an amount is a payment of an unknown amount (`untold`), a nought on a day is none
    (`payment`).
    """
    rules, day = asked.rules.funds, f"DATE '{asked.day}'"
    since = asked.before(rules.months)
    open_known(connection, asked, "assistance", counties)
    open_known(connection, asked, "households", counties)
    dated = "paid_on" in asked.register.columns("assistance")
    paid = f"if({dated} AND paid_on IS NULL, nullif(amount_paid, 0), amount_paid)"
    connection.execute(
        f"""
        CREATE TABLE paid AS
        SELECT household_id, county_id, measure, offered_on, {asked.begun} AS began,
               began IS NOT NULL AS reached, paid_on, amount_planned AS planned, {paid} AS paid,
               paid_on IS NOT NULL AND amount_paid IS NULL AS untold, untold OR coalesce({paid} > 0, false) AS payment,
               coalesce(fund_source, 'not_recorded') AS fund_source,
               coalesce(responsible_unit, 'not_recorded') AS responsible_unit, {day} - began AS since_days
        FROM sorted_assistance JOIN sorted_households USING (household_id)
        WHERE accepted AND offered_on > DATE '{since}'"""
    )


def _totals(connection: duckdb.DuckDBPyConnection, by: str, column: str) -> pd.DataFrame:
    """Money and households by what a column says; where nothing was paid yet, no yuan was.

    A plan or an amount that is not on record is in no sum, and counted; what was paid is held against the plan of the grants
    of which both are known, and the mean is over households all of whose payments are.
    """
    yuan = "CASE WHEN count(*) FILTER (WHERE paid IS NOT NULL OR untold) = 0 THEN 0 ELSE sum(paid) END"
    of_what = f"coalesce({column}, '{ALL}')"
    also_all = ", (household_id)" if by == "kind" else ""
    return connection.execute(
        f"""
        WITH households AS (
            SELECT {of_what} AS of_what, count(*) FILTER (WHERE reached) AS households_reached,
                   sum(got) FILTER (WHERE told) / nullif(count(got) FILTER (WHERE told), 0) AS paid_per_household
            FROM (SELECT {column}, bool_or(reached) AS reached, NOT bool_or(untold) AS told,
                         sum(paid) FILTER (WHERE paid > 0) AS got
                  FROM paid GROUP BY GROUPING SETS (({column}, household_id){also_all}))
            GROUP BY of_what),
        grants AS (
            SELECT {of_what} AS of_what, count(*) AS grants, sum(planned) AS planned,
                   count(*) FILTER (WHERE planned IS NULL) AS plan_not_recorded, {yuan} AS paid,
                   count(*) FILTER (WHERE untold) AS amount_not_recorded,
                   sum(planned) FILTER (WHERE NOT untold) AS planned_compared,
                   coalesce(sum(paid) FILTER (WHERE planned IS NOT NULL), 0) / nullif(planned_compared, 0) AS paid_share,
                   count(*) FILTER (WHERE planned IS NULL OR untold) AS not_compared,
                   count(*) FILTER (WHERE reached AND paid IS NULL AND NOT untold AND planned IS DISTINCT FROM 0)
                       AS begun_not_paid,
                   count(*) FILTER (WHERE paid > 0 AND paid_on IS NULL) AS paid_without_day,
                   median(paid_on - began) FILTER (WHERE payment) AS days_to_payment
            FROM paid GROUP BY {"ROLLUP " if by == "kind" else ""}({column}))
        SELECT '{by}' AS by, of_what, grants, coalesce(households_reached, 0) AS households_reached,
               grants.* EXCLUDE (of_what, grants), paid_per_household
        FROM grants LEFT JOIN households USING (of_what) ORDER BY paid DESC NULLS LAST, of_what"""
    ).df()


def _sources(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Share of what was paid by source, by county and over all, and its Herfindahl-Hirschman index.

    Payments of unknown amounts are counted, and in no share.
    """
    return connection.execute(
        f"""
        WITH sums AS (SELECT coalesce(county_id, '{ALL}') AS county_id, fund_source, sum(paid) AS paid,
                             count(*) FILTER (WHERE untold) AS amount_not_recorded
                      FROM paid WHERE payment GROUP BY GROUPING SETS ((county_id, fund_source), (fund_source))),
        shares AS (SELECT *, paid / sum(paid) OVER (PARTITION BY county_id) AS source_share FROM sums)
        SELECT *, sum(source_share ** 2) OVER (PARTITION BY county_id) AS hhi FROM shares
        ORDER BY county_id, paid DESC NULLS LAST, fund_source"""
    ).df()


def _exceptions(connection: duckdb.DuckDBPyConnection, asked: Asked) -> pd.DataFrame:
    """Rows of the books to look at, one for each reason: reason by reason, the largest sum in question first.

    The robust z of an amount is 0.6745 (ln amount - median) / median absolute deviation, of what a household was paid
    among all that were paid for the same kind of help, those with a payment of an unknown amount left out (Iglewicz &
    Hoaglin 1993).
    """
    rules = asked.rules.funds
    columns = "household_id, county_id, measure, responsible_unit, fund_source, offered_on, paid_on, planned, paid"
    return connection.execute(
        f"""
        WITH amounts AS MATERIALIZED (
            SELECT household_id, measure, ln(sum(paid)) AS size, bool_or(untold) AS open, count(paid_on) > 1 AS again
            FROM paid WHERE payment GROUP BY household_id, measure),
        middles AS (
            SELECT measure, median(size) AS middle, count(*) AS n FROM amounts WHERE NOT open GROUP BY measure),
        deviations AS (
            SELECT measure, median(abs(size - middle)) AS deviation
            FROM amounts JOIN middles USING (measure) WHERE NOT open GROUP BY measure),
        out_of_line AS (
            SELECT household_id, measure, {_MAD} * (size - middle) / deviation AS z
            FROM amounts JOIN middles USING (measure) JOIN deviations USING (measure)
            WHERE NOT open AND n >= {rules.least_paid} AND deviation > 0 AND abs(z) > {rules.outlier_z}),
        following AS (
            SELECT *, lag(paid_on) OVER (PARTITION BY household_id, measure ORDER BY paid_on, offered_on) AS before
            FROM paid SEMI JOIN (FROM amounts WHERE again) USING (household_id, measure)
            WHERE payment AND paid_on IS NOT NULL)
        SELECT 'paid_late' AS exception, {columns}, CAST(paid_on - began AS DOUBLE) AS extent FROM paid
        WHERE payment AND paid_on - began > {rules.late_days}
        UNION ALL SELECT 'not_paid_yet', {columns}, CAST(since_days AS DOUBLE) FROM paid
        WHERE reached AND paid IS NULL AND NOT untold AND planned > 0 AND since_days > {rules.late_days}
        UNION ALL SELECT 'unspent', {columns}, 1 - paid / planned FROM paid
        WHERE planned > 0 AND paid IS NOT NULL AND paid < (1 - {rules.unspent}) * planned
        UNION ALL SELECT 'above_plan', {columns}, paid / planned - 1 FROM paid
        WHERE planned > 0 AND paid > (1 + {rules.unspent}) * planned
        UNION ALL SELECT 'paid_twice', {columns}, CAST(paid_on - before AS DOUBLE) FROM following
        WHERE paid_on - before <= {rules.twice_days}
        UNION ALL SELECT 'amount_out_of_line', household_id, county_id, measure, max(responsible_unit), max(fund_source),
               max(offered_on), max(paid_on), if(count(planned) = count(*), sum(planned), NULL), sum(paid), any_value(z)
        FROM paid JOIN out_of_line USING (household_id, measure) WHERE payment GROUP BY household_id, county_id, measure
        ORDER BY list_position(?, exception),
                 if(exception IN ('unspent', 'above_plan'), abs(paid - planned), coalesce(paid, planned)) DESC,
                 household_id, offered_on, measure""",
        [list(EXCEPTIONS)],
    ).df()


@dataclass(frozen=True)
class _Needs:
    """Needs and help of some counties: grants by `measure` and `match` (`n`), and the rows of the two lists.

    The second list is None where the register does not tell who is watched.
    """

    counts: pd.DataFrame
    without_need: pd.DataFrame
    without_help: pd.DataFrame | None


def _needs(asked: Asked, batch: Batch) -> _Needs | None:
    """Help without a recorded need that it answers, and needs that no help answers; None where nobody has a record."""
    months = [asked.as_of - asked.rules.funds.need_months, asked.as_of]
    catalogue, standing = _catalogues()
    answers = Answers.of(catalogue, asked.rules.assistance.delivers)
    try:
        seen = build_features(asked.register, months, standing, counties=batch).frame
    except NotEnoughData:
        return None
    told = [c for c in _WATCHED if c in seen]
    seen["watched"] = seen[told].eq(1).any(axis=1)
    watched = seen.groupby("household_id")["watched"].agg(["any", "sum"])
    lasting = watched.index[watched["sum"] == len(months)]
    with engine() as connection:
        _open(connection, asked, batch)
        given = connection.execute(
            f"""
            SELECT household_id, county_id, measure, offered_on, responsible_unit, fund_source, paid_on, paid FROM paid
            WHERE offered_on > DATE '{asked.before(asked.rules.funds.need_months)}' AND list_contains(?, measure)
            ORDER BY county_id, household_id, offered_on, measure""",
            [list(answers.drivers)],
        ).df()
        given = given[among(given["household_id"], watched.index)].reset_index(drop=True)
        objective = [d.name for d in catalogue.drivers]
        asked_of = sorted({*given["household_id"], *lasting})
        facts = needs_on(asked, catalogue, months, batch, households=asked_of).set_index("household_id")
        flags = facts[[f"fact_{d}" for d in objective]].set_axis(objective, axis=1)
        known = flags.groupby(level=0).any().reindex(given["household_id"], fill_value=False)
        answered = np.zeros(len(given), bool)
        for kind, drivers in answers.drivers.items():
            answered |= given["measure"].eq(kind).to_numpy() & known[list(drivers)].any(axis=1).to_numpy()
        some = known.any(axis=1).to_numpy() | watched["any"].reindex(given["household_id"]).to_numpy(bool)
        given["match"] = np.select([answered, some], [ANSWERED, OTHER_NEED], NO_NEED)
        return _Needs(
            given.groupby(["measure", "match"]).size().rename("n").reset_index(),
            given[given["match"] == NO_NEED].drop(columns="match"),
            _unmet(connection, asked, flags[among(flags.index, lasting)], answers) if told else None,
        )


@cache
def _catalogues() -> tuple[Catalogue, Catalogue]:
    """What of the catalogue tells needs, and what of it who is watched."""
    catalogue = load_catalogue()
    return of_circumstances(catalogue), only(catalogue, set(_WATCHED))


def _together(parts: Sequence[_Needs]) -> dict[str, pd.DataFrame]:
    """The tables of all counties."""
    matches = [ANSWERED, OTHER_NEED, NO_NEED]
    counts = pd.concat([pd.DataFrame({"measure": [], "match": [], "n": []}), *(part.counts for part in parts)])
    counted = counts.groupby(["measure", "match"])["n"].sum().astype(int).unstack(fill_value=0)
    counted = counted.reindex(columns=matches, fill_value=0)
    counted = counted.assign(grants=counted.sum(axis=1), answers_share=lambda f: f[ANSWERED] / f["grants"]).reset_index()
    found = {"help_and_need": counted, "help_without_need": _largest_first(_stacked([part.without_need for part in parts]))}
    unmet = [part.without_help for part in parts if part.without_help is not None]
    return found | ({"need_without_help": _neediest_first(_stacked(unmet))} if unmet else {})


def _largest_first(given: pd.DataFrame) -> pd.DataFrame:
    return given.sort_values("paid", ascending=False, kind="stable", ignore_index=True) if len(given) else given


def _neediest_first(unmet: pd.DataFrame) -> pd.DataFrame:
    """Who has no help at all first, then who has more needs that none answers."""
    if not len(unmet):
        return unmet
    order = pd.DataFrame({"helped": unmet["measures"].notna(), "needs": -unmet["unanswered"].str.count(";")})
    return unmet.loc[order.sort_values(["helped", "needs"], kind="stable").index].reset_index(drop=True)


def _stacked(rows: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of all counties; the types are those of parts that have rows."""
    return pd.concat([r for r in rows if len(r)] or rows[:1], ignore_index=True)


def _unmet(connection: duckdb.DuckDBPyConnection, asked: Asked, needs: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """Households with a need known then and now that no help answers; `needs` has those watched on both days."""
    lasting = needs.groupby(level=0).all()
    if not len(lasting):
        return pd.DataFrame(columns=["household_id", "county_id", "township_id", "measures", "unanswered"])
    connection.register("lasting", pd.DataFrame({"household_id": lasting.index}))
    helped = connection.execute(
        f"""
        SELECT household_id, string_agg(DISTINCT measure, '; ' ORDER BY measure) AS measures
        FROM sorted_assistance SEMI JOIN lasting USING (household_id)
        WHERE accepted AND {goes_on(asked, asked.before(asked.rules.funds.need_months))} GROUP BY household_id"""
    ).df()
    homes = connection.execute(
        "SELECT household_id, county_id, township_id FROM sorted_households SEMI JOIN lasting USING (household_id)"
    ).df()
    found = lasting.reset_index().merge(helped, "left", "household_id").merge(homes, "left", "household_id")
    needs = found[list(lasting.columns)]
    found["unanswered"] = answers.unmet(needs, found["measures"])
    found = found[found["unanswered"] != ""].sort_values(["county_id", "household_id"], ignore_index=True)
    return found[["household_id", "county_id", "township_id", "measures", "unanswered"]]


def costs(totals: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """Cost per household and, where an effect on return was told apart from none, per return avoided.

    Parameters
    ----------
    totals
        `fund_totals`: rows with `by` = `kind`.
    effects
        `help_effects`: `help`, `outcome`, `driver`, `reading`, `effect`, `effect_low`, `effect_high`.

    Returns
    -------
    pandas.DataFrame
        Per kind: `paid_per_household`, `reading`, and `per_avoided` with the interval that the effect's interval gives;
        missing where help was not told apart from none, or goes with more returns, or a bound reaches no effect.

    >>> totals = pd.DataFrame({"by": "kind", "of_what": ["training"], "paid_per_household": [1000.0]})
    >>> effects = pd.DataFrame({"help": ["training"], "outcome": "return", "driver": "*", "reading": "stands",
    ...                         "effect": -0.05, "effect_low": -0.1, "effect_high": -0.02})
    >>> costs(totals, effects)[["per_avoided", "per_avoided_low", "per_avoided_high"]].round().to_numpy().tolist()
    [[20000.0, 10000.0, 50000.0]]
    """
    kinds = totals[(totals["by"] == "kind") & (totals["of_what"] != ALL)]
    found = kinds[["of_what", "paid_per_household"]].rename(columns={"of_what": "measure"}).reset_index(drop=True)
    told = ["reading", "effect", "effect_low", "effect_high"]
    if not len(effects):
        return found.assign(reading="too_few", per_avoided=np.nan, per_avoided_low=np.nan, per_avoided_high=np.nan)
    of_return = effects[(effects["outcome"] == RETURN) & (effects["driver"] == ALL)].set_index("help")[told]
    found = found.join(of_return, on="measure")
    found["reading"] = found["reading"].fillna("too_few")
    identified = found["reading"].isin(["stands", "fragile"]) & (found["effect_high"] < 0)
    for name, bound in (("per_avoided", "effect"), ("per_avoided_low", "effect_low"), ("per_avoided_high", "effect_high")):
        found[name] = (found["paid_per_household"] / -found[bound]).where(identified)
    return found.drop(columns=told[1:])


def _figures(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if "fund_totals" in tables:
        whole = tables["fund_totals"].query("by == 'kind' and of_what == @ALL").iloc[0]
        figures |= {name: float(whole[name]) for name in ("planned", "paid", "paid_share", "planned_compared")}
        figures |= {name: int(whole[name]) for name in ("households_reached", "not_compared")}
        figures |= {name: int(n) for name, n in tables["fund_exceptions"]["exception"].value_counts().sort_index().items()}
    figures |= {name: len(tables[name]) for name in ("help_without_need", "need_without_help") if name in tables}
    if "fund_sources" in tables and len(tables["fund_sources"]):
        figures["hhi_of_sources"] = float(tables["fund_sources"].query("county_id == @ALL")["hhi"].iloc[0])
    return {name: value for name, value in figures.items() if pd.notna(value)}


_READING = (
    "Funds: the lists hold rows of the books to be looked at. A row may be right: an instalment looks like a second "
    "payment, a large amount may be a rebuilt house. They say nothing of anybody's conduct, and nothing is recovered, "
    "reduced or ended on their account. Help without a recorded need may answer a need that nobody wrote down: complete "
    "the record first. Help counts by the month in which it was offered; payments after the day of the report are not "
    "known yet. What a return avoided cost stands with the results of assistance.",
    "资金：清单列出需要核对的资金账目，记录本身可能是正确的：分期拨付看起来像重复拨付，大额可能是危房重建。"
    "清单不评价任何人的行为，也不据此追回、减少或停止任何帮扶。未记录需求的帮扶可能对应未被登记的需求，应先补全记录。"
    "帮扶按提供月份统计；报告日之后的拨付尚不知悉。每避免一户返贫的支出见“帮扶成效”。",
)
_NO_ANSWERS = (
    "The register holds no assistance with answers (column accepted): funds cannot be told.",
    "登记数据中没有带答复的帮扶记录（“是否接受”字段），无法统计资金。",
)
_NO_AMOUNTS = (
    "The register holds no amounts paid (column amount_paid of assistance): what was planned and paid, and rows of the "
    "books to be looked at, cannot be told.",
    "登记数据中没有拨付金额（帮扶表的“实付金额”字段），无法统计计划与拨付情况，也无法列出需核对的账目。",
)
_NOBODY_SEEN = (
    "No household has a record by the day of the report: help and needs are not held together.",
    "截至报告日没有农户记录，无法将帮扶与需求对应。",
)
_NOBODY_WATCHED = (
    "The register holds neither monitoring spells nor income with a line: needs without help are not listed.",
    "登记数据中既无监测台账，也无收入和监测线，无法列出有需求而无对应帮扶的农户。",
)
_NO_SOURCES = (
    "The register names no sources of funds: their shares are left out.",
    "登记数据中没有资金来源，未统计来源占比。",
)
_SOME_UNTOLD = (
    "Of some help the books hold no plan, or a day of payment and no amount. What is not on record is in no sum, and "
    "counted beside it; what was paid is held against the plan of the grants of which both are known.",
    "部分帮扶没有计划金额，或只有拨付日期而无金额。未记录的金额不计入合计，其笔数列于合计旁；拨付比例只按计划和拨付金额均已知的帮扶计算。",
)
_SOME_UNDATED = (
    "Of some payments the books hold the amount and no day: they count as paid by the day of the report, and neither as "
    "late nor as not paid; how long they took, and whether they were paid twice, cannot be told.",
    "部分拨付只有金额而无日期：视为报告日前已拨付，不计入逾期或未拨付；其拨付用时及是否重复拨付无法判断。",
)
_LACKING = {
    "amount_planned": (
        "The register holds no plans (column amount_planned): what was paid is held against none, and "
        "nothing is listed as unpaid, unspent or above its plan.",
        "登记数据中没有计划金额（“计划金额”字段）：无法计算拨付比例，也不列出未拨付、结余和超计划的帮扶。",
    ),
    "paid_on": (
        "The register holds no days of payment (column paid_on): every amount paid counts as paid by the day of the report, "
        "and what was paid late or twice cannot be told.",
        "登记数据中没有拨付日期（“拨付日期”字段）：所有实付金额均视为报告日前已拨付，无法识别逾期拨付和重复拨付。",
    ),
    "responsible_unit": (
        "The register names no responsible units: sums by unit are left out.",
        "登记数据中没有责任单位，未按单位汇总。",
    ),
}
"""What is said of a column that the register lacks."""
