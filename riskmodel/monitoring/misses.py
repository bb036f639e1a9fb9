"""Misses sorted: returns that were not on the list, and alerts that did not return.

A **missed return** was scored, not listed, and returned within the horizon; a **false alert** was listed and did not.
Outcomes are told as known on the day of the report. A return is known with the record that tells it, that there was none
only with a record of the last month: where records come late, the newest lists have their returns and lack many of their
false alerts. `found_share`, of the listed those that returned, is therefore weighted for censoring as levels are everywhere
(`cohort/labels.py`), and lies between what it is if none of those not known returned, and if all did. Each miss goes to the
first class that holds:

1. `recorded_late`, 2. `data_wrong`, 3. `not_visited`: with the register put right so far (`monitoring/hindsight.py`), list
   and outcome agree: the model, scoring the month again, puts the household above the end of its list (or finds
   it fallen already, so that no list was needed), or below it, and by a material step (`material_odds`), or the outcome was
   another. These are human deviations: of the process, never of a person.
4. `shock_after_score` (missed returns): an event with its onset after the month that was scored, without which the household
   would not have fallen: a guarantee or sudden difficulty after it, or income that lies above the line once what the event
   took is added back. A natural deviation: nobody could know.
   `help_worked` (false alerts): help began after the month that was scored, and without the income that it brought the
   household would have been below the line for as long as the label asks.
5. `model_error`: what is left. It is the model's to mend.

A class is `sure` if it stays the same though the odds told in hindsight (steps 2 and 3, which are estimates) were off by the
factor `sure_odds` either way: values that were never seen stay unknown.

What an event took is the fall since the score of the income that it bears on, per member: wages for the loss of work or of a
worker, production for disasters and markets; medical cost above claims counts whether or not an event was written down,
because a bill is a fact of itself. What help brought is the rise of post wages, allowances, wages, production and claims.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from riskmodel.alerts.history import ScoredMonth
from riskmodel.alerts.scoring import score_county
from riskmodel.cohort.helped import began_on
from riskmodel.cohort.labels import build_labels, censoring_weights
from riskmodel.errors import UsageError
from riskmodel.evaluation.capacity import list_ends
from riskmodel.evaluation.disclosure import WITHHELD, shown, shown_in_table, withheld
from riskmodel.evaluation.metrics import share_of_known, wilson
from riskmodel.model.bundle import RiskModel
from riskmodel.monitoring.hindsight import LATE, UNVISITED, WRONG, in_hindsight, steps_of
from riskmodel.monitoring.known import newest_told, not_unverified, reported_late
from riskmodel.monitoring.part import Asked, Found
from riskmodel.months import as_of_day, month_number
from riskmodel.register import Register

MISSED, FALSE = "missed_return", "false_alert"
SHOCK, HELPED, MODEL = "shock_after_score", "help_worked", "model_error"
CLASSES = (LATE, WRONG, UNVISITED, SHOCK, HELPED, MODEL)
"""The classes, in order of precedence."""
HUMAN = (LATE, WRONG, UNVISITED)

_WORK = (
    "laid_off", "wage_arrears", "death_of_worker", "separation", "care_duty", "birth", "disability", "accident", "illness",
    "project_stopped", "left_work",
)  # fmt: skip
_FARM = ("disaster", "price_fall", "project_stopped")
_TAKES = {"wage_income": _WORK, "production_income": (*_FARM, "death_of_worker", "illness", "accident", "care_duty")}
_BRINGS = {
    "public_post_income": ("public_post",),
    "allowance_income": ("protection", "social"),
    "wage_income": ("employment", "training"),
    "production_income": ("industry",),
    "claims": ("health",),
}


def report_misses(asked: Asked) -> Found:
    """Sort the misses of every scored month whose horizon is over; where records come late, with those of its last period.

    Returns
    -------
    Found
        Tables `misses` (one row a miss, with its `miss_class`), `miss_classes`, `miss_months` (`had_learned`: the model knew
        of outcomes after the month, so that its list is no test; `not_known`, `listed_not_known`: households of all and of
        the list whose outcome is not known; `found_share` with its bounds) and `miss_townships` (counts
        in texts, none below ten); without scored months, without a model or before any horizon is over, none and a note.

    Raises
    ------
    UsageError
        If the model is not the one that scored a month.
    """
    if not asked.scored or asked.model is None:
        return Found({}, notes=[_NEEDS])
    until = newest_told(asked, reported_late(asked)) - asked.model.run.label.horizon_months
    over = [month for month in asked.scored if month.number <= until]
    if not over:
        return Found({}, notes=[_TOO_EARLY])
    notes = [_READING]
    lacking = [name for name in HUMAN if name not in steps_of(asked.register)]
    if lacking:
        notes.append(_lacking(lacking))
    if foreseen := [month.as_of for month in over if _had_learned(asked.model, month)]:
        notes.append(_learned(foreseen))
    pairs = [_month(asked, asked.model, month) for month in over]
    misses = _worst_first(pd.concat([found for found, _ in pairs], ignore_index=True))
    months = pd.DataFrame([counts for _, counts in pairs])
    unknown, listed = int(months["listed_not_known"].sum()), int(months["listed"].sum())
    if unknown:
        notes.append(_not_known(unknown, listed))
    tables = {
        "miss_months": months,
        "miss_classes": count_classes(misses),
        "miss_townships": _by_township(misses),
        "misses": misses,
    }
    lacks = {"seen_coming": _learned(foreseen)} if len(foreseen) == len(over) else {}
    shares = misses["miss_class"].value_counts(normalize=True)
    figures: dict[str, Any] = {"missed_returns": int(misses["miss"].eq(MISSED).sum())}
    figures |= {"false_alerts": int(misses["miss"].eq(FALSE).sum()), "listed_not_known": unknown}
    if len(misses):
        figures["sure_share"] = float(misses["sure"].mean())
        figures |= {f"{name}_share": float(shares.get(name, 0.0)) for name in CLASSES}
    return Found(tables, figures, notes, lacks)


def _had_learned(model: RiskModel, month: ScoredMonth) -> bool:
    """Whether the training of the model knew of outcomes after the month that it scored."""
    trained_to = model.evidence.get("trained_to")
    return trained_to is not None and month.number < month_number(trained_to) + model.run.label.horizon_months


def _worst_first(misses: pd.DataFrame) -> pd.DataFrame:
    """Missed returns before alerts that did not return, the last month first, in it the risks that were furthest off."""
    missed = misses["miss"].eq(MISSED)
    off = misses["risk"].where(missed, -misses["risk"])
    order = pd.DataFrame({"missed": missed, "as_of": misses["as_of"], "off": off})
    order = order.sort_values(list(order), ascending=[False, False, True], kind="stable")
    return misses.loc[order.index].reset_index(drop=True)


def _month(asked: Asked, model: RiskModel, month: ScoredMonth) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Misses of one scored month, sorted, and the counts of the month."""
    asked.progress(f"misses of {month.as_of}")
    scores = month.read("scores")
    versions = scores["model_version"].unique().tolist()
    if versions != [model.version]:
        raise UsageError(
            f"{month.folder}: scored by version {', '.join(map(str, versions))}, but --model is version {model.version}: "
            "name the model that scored the month."
        )
    alerts = month.read("alerts", ["household_id"])
    scores["listed"] = scores["household_id"].isin(alerts["household_id"])
    outcomes = _outcomes(asked.register, asked, model, month.number, scores["county_id"].unique())
    scores = scores.merge(outcomes, "left", "household_id")
    known = scores["outcome"].notna()
    returned = scores["outcome"].eq(1)
    on_list = scores[scores["listed"]]
    share, low, high = share_of_known(on_list["outcome"].to_numpy(float), on_list["weight"].to_numpy(float))
    scores["miss"] = np.select(
        [known & returned & ~scores["listed"], known & ~returned & scores["listed"]], [MISSED, FALSE], ""
    )
    counts = {
        "as_of": month.as_of,
        "had_learned": _had_learned(model, month),
        "scored": len(scores),
        "listed": len(on_list),
        "not_known": int((~known).sum()),
        "listed_not_known": int(on_list["outcome"].isna().sum()),
        "returned": int(returned.sum()),
        "found": int(on_list["outcome"].eq(1).sum()),
        MISSED: int(scores["miss"].eq(MISSED).sum()),
        FALSE: int(scores["miss"].eq(FALSE).sum()),
        "found_share": share,
        "found_share_low": low,
        "found_share_high": high,
    }
    places = _places(asked.register, scores["county_id"].unique())
    scores = scores.merge(places, "left", "household_id")
    scores["list_end"] = list_ends(scores, scores["listed"], model.run.capacity)
    misses = scores[scores["miss"].ne("")].reset_index(drop=True)
    misses["miss_class"], misses["sure"] = _sorted(asked, model, month.number, misses)
    columns = ["household_id", "county_id", "as_of", "miss", "miss_class", "sure", "risk", "rank", "outcome_month"]
    return misses[[*columns, *places.columns.drop("household_id")]], counts


def _outcomes(register: Register, asked: Asked, model: RiskModel, month: int, counties: np.ndarray) -> pd.DataFrame:
    """What became of those at risk, as known on the day of the report, and for how many each outcome stands (`weight`)."""
    found = build_labels(register, [month], model.run.label, model.run.at_risk, counties=list(counties), known_by=asked.day)
    if not len(found):
        return pd.DataFrame({"household_id": pd.Series(dtype=str), "outcome": [], "outcome_month": [], "weight": []})
    found["weight"] = censoring_weights(found, model.run.label.horizon_months)
    return found[["household_id", "outcome", "outcome_month", "weight"]]


def _sorted(asked: Asked, model: RiskModel, month: int, misses: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The class of each miss, and whether it is sure, shape (n,)."""
    rules = asked.rules.misses
    shifts = np.log([1.0, rules.sure_odds, 1 / rules.sure_odds])
    classes = np.full((len(shifts), len(misses)), "", dtype=object)
    if not len(misses):
        return classes[0], np.zeros(0, bool)
    counties = sorted(misses["county_id"].unique())
    with in_hindsight(asked.register, asked.day, counties, rules) as registers:
        for step, register in registers.items():
            risk, outcome = _in_step(asked, model, register, month, misses)
            for row, shift in zip(classes, shifts, strict=True):
                told = risk if step == LATE else expit(logit(risk) + shift)
                row[(row == "") & agrees(misses, told, outcome, rules.material_odds)] = step
        known = list(registers.values())[-1]
        for county in counties:
            here = ((classes == "").any(axis=0) & misses["county_id"].eq(county)).to_numpy()
            if here.any():
                natural = _natural(asked, model, known, month, county, misses[here])
                classes[:, here] = np.where(classes[:, here] == "", natural, classes[:, here])
    return classes[0], (classes == classes[0]).all(axis=0)


def _in_step(
    asked: Asked, model: RiskModel, register: Register, month: int, misses: pd.DataFrame
) -> tuple[pd.Series, pd.Series]:
    """Risk and outcome of each miss with the register of a step; missing where the household is then not at risk."""
    counties = sorted(misses["county_id"].unique())
    risks = pd.concat([score_county(register, model, month, county).frame for county in counties], ignore_index=True)
    outcomes = _outcomes(register, asked, model, month, np.array(counties)).set_index("household_id")["outcome"]
    return misses["household_id"].map(risks.set_index("household_id")["risk"]), misses["household_id"].map(outcomes)


def agrees(misses: pd.DataFrame, risk: pd.Series, outcome: pd.Series, material_odds: float) -> np.ndarray:
    """Whether list and outcome agree once the register is put right.

    Parameters
    ----------
    misses
        `risk` as it was, `list_end` (the risk from which on it is listed, `evaluation.capacity.list_ends`), and `miss`.
    risk, outcome
        With the register put right; the risk is missing where the household is then not at risk.
    material_odds
        Factor of the odds by which a correction must move a risk for the list to count as another; a household at the very
        end of the list changes places for the smallest reason.

    >>> miss = pd.DataFrame({"miss": [MISSED] * 3, "risk": [0.1, 0.1, 0.19], "list_end": 0.2})
    >>> agrees(miss, pd.Series([0.3, 0.15, 0.21]), pd.Series([1.0, 1.0, 1.0]), 1.5).tolist()
    [True, False, False]
    """
    returned = misses["miss"].eq(MISSED)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.abs(logit(risk.to_numpy(float)) - logit(misses["risk"].to_numpy(float))) >= np.log(material_odds)
    relisted = (risk >= misses["list_end"]).eq(returned) & moved
    other_outcome = outcome.notna() & outcome.eq(1).ne(returned)
    return (risk.isna() | (relisted & ~other_outcome) | (other_outcome & ~relisted)).to_numpy()


def _natural(
    asked: Asked, model: RiskModel, register: Register, month: int, county: str, misses: pd.DataFrame
) -> np.ndarray:
    """What is not the office's: a shock after the score, help that worked, or the model."""
    label, step = model.run.label, register.step_months
    records = register.read("records", county)
    records = records[records["household_id"].isin(misses["household_id"])]
    number = records["month"].dt.year * 12 + records["month"].dt.month - 1
    over = month + label.horizon_months
    records = records.assign(month_no=number)[(number >= month - 3) & (number <= over + step)]
    start = records[number.loc[records.index] <= month].groupby("household_id").last()
    later = records[records["month_no"] > month].set_index("household_id")
    base = start.reindex(later.index)
    since = pd.Timestamp(as_of_day(month, step))
    struck = _events(register, county, misses, since)
    begun = _help(asked, register, county, misses, since)

    def change(column: str) -> pd.Series:
        if column not in later:
            return pd.Series(0.0, index=later.index)
        return (later[column].astype(float) - base[column].astype(float)).fillna(0.0)

    ends = later["month"] + pd.offsets.MonthEnd(step)

    def after(dated: pd.DataFrame, kinds: tuple[str, ...]) -> np.ndarray:
        """Whether one of these came upon the household by the end of each month."""
        first = dated[dated["kind"].isin(kinds)].groupby("household_id")["day"].min().reindex(later.index)
        return (first.to_numpy() <= ends.to_numpy()) & first.notna().to_numpy()

    def told(column: str, otherwise: float) -> pd.Series:
        return later[column].astype(float) if column in later else pd.Series(otherwise, index=later.index)

    size, welfare, line = told("hh_size", 1.0), told("welfare", np.nan), told("line", np.nan)
    taken = (change("selfpay") - change("claims")).clip(lower=0)
    for column, kinds in _TAKES.items():
        taken += np.where(after(struck, kinds), (-change(column)).clip(lower=0), 0.0)
    brought = pd.Series(0.0, index=later.index)
    for column, measures in _BRINGS.items():
        brought += np.where(after(begun, measures), change(column).clip(lower=0), 0.0)
    frame = pd.DataFrame({"month_no": later["month_no"], "below": welfare < line})
    frame["without_shock"] = (welfare + taken / size) < line
    frame["without_help"] = (welfare - brought / size) < line
    frame["struck"] = after(struck, tuple(struck["kind"].unique()))
    fell = misses.set_index("household_id")["outcome_month"].map(lambda m: month_number(m) if isinstance(m, str) else -1)
    at_fall = frame[frame["month_no"] == fell.reindex(frame.index).to_numpy()]
    shocked = at_fall[(at_fall["below"] & ~at_fall["without_shock"]) | (~at_fall["below"] & at_fall["struck"])].index
    twice = frame["without_help"] & frame["without_help"].groupby(level=0).shift(-1).fillna(frame["without_help"])
    kept = frame["without_help"] & ~frame["below"]
    needed = kept if label.assessments == 1 else twice & (kept | kept.groupby(level=0).shift(-1, fill_value=False))
    helped = frame.index[(needed & (frame["month_no"] <= over)).to_numpy(bool)]
    missed = misses["miss"].eq(MISSED).to_numpy()
    household = misses["household_id"]
    return np.select(
        [missed & household.isin(shocked).to_numpy(), ~missed & household.isin(helped).to_numpy()], [SHOCK, HELPED], MODEL
    )


def _events(register: Register, county: str, misses: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
    """What befell these households or their villages after a day: `household_id`, `kind`, `day`."""
    if register.file("events", county) is None:
        return pd.DataFrame({"household_id": [], "kind": [], "day": pd.to_datetime([])})
    events = register.read("events", county)
    events = not_unverified(events[events["onset_on"] > since])
    own = events[events["household_id"].isin(misses["household_id"])]
    homes = register.read("households", county)
    if "village_id" in homes and "village_id" in events:
        lived = homes[homes["household_id"].isin(misses["household_id"])][["household_id", "village_id"]]
        shared = events[events["household_id"].isna()].drop(columns="household_id").merge(lived, on="village_id")
        own = pd.concat([own, shared])
    return own.rename(columns={"onset_on": "day"})[["household_id", "kind", "day"]]


def _help(asked: Asked, register: Register, county: str, misses: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
    """Help that these households took up and that began after a day: `household_id`, `kind`, `day`."""
    if register.file("assistance", county) is None or "accepted" not in register.columns("assistance"):
        return pd.DataFrame({"household_id": [], "kind": [], "day": pd.to_datetime([])})
    given = register.read("assistance", county)
    given = given[given["household_id"].isin(misses["household_id"]) & given["accepted"].fillna(False).astype(bool)]
    given = given.assign(day=began_on(asked.register, given))
    given = given[given["day"] > since]
    return given.rename(columns={"measure": "kind"})[["household_id", "kind", "day"]]


def _places(register: Register, counties: np.ndarray) -> pd.DataFrame:
    frames = [register.read("households", county) for county in counties] or [pd.DataFrame({"household_id": []})]
    homes = pd.concat(frames, ignore_index=True)
    return homes[["household_id", *(c for c in ("township_id", "village_id") if c in homes)]]


def count_classes(misses: pd.DataFrame) -> pd.DataFrame:
    """Misses by kind and class, with Wilson intervals of the shares."""
    rows = []
    for miss in (MISSED, FALSE):
        of = misses[misses["miss"] == miss]
        for name in CLASSES:
            n = int(of["miss_class"].eq(name).sum())
            low, high = wilson(n, len(of))
            share = n / len(of) if len(of) else np.nan
            row = {"miss": miss, "miss_class": name, "misses": n, "share": share, "share_low": low, "share_high": high}
            if not (name == HELPED and miss == MISSED) and not (name == SHOCK and miss == FALSE):
                rows.append(row)
    return pd.DataFrame(rows)


def _by_township(misses: pd.DataFrame) -> pd.DataFrame:
    """Households by township and class, and their sum, as texts: none below ten, nor any that a total would give away.

    A household in two classes, in two months, counts in both.
    """
    places = ["county_id", "township_id"]
    misses = misses.assign(township_id=misses["township_id"].fillna("?") if "township_id" in misses else misses["county_id"])
    rows = []
    for miss in (MISSED, FALSE):
        of = misses[misses["miss"] == miss].drop_duplicates(["household_id", "miss_class"])
        counts = of.groupby(places)["miss_class"].value_counts().unstack(fill_value=0)
        counts = counts.reindex(columns=list(CLASSES), fill_value=0).astype(int)
        cells = pd.DataFrame(shown_in_table(counts.to_numpy()), columns=list(CLASSES), index=counts.index)
        cells["misses"] = _row_totals(counts.sum(axis=1).to_numpy(int), cells.map(withheld).any(axis=1).to_numpy(bool))
        rows.append(cells.reset_index().assign(miss=miss))
    found = pd.concat(rows, ignore_index=True)
    return found[[*places, "miss", *CLASSES, "misses"]]


def _row_totals(totals: np.ndarray, hides: np.ndarray) -> list[str]:
    """Totals of the rows of a table, as texts: beside small ones the smallest other that its cells do not tell.

    How many misses there are in all stands elsewhere: the others would tell the small ones.

    >>> _row_totals(np.array([120, 3, 90]), np.array([True, True, True]))
    ['120', '<10', '*']
    """
    texts = [shown(int(n)) for n in totals]
    small = np.array([withheld(text) for text in texts], bool)
    if small.any() and (others := np.flatnonzero(hides & ~small & (totals > 0))).size:
        texts[others[totals[others].argmin()]] = WITHHELD
    return texts


def _lacking(lacking: list[str]) -> tuple[str, str]:
    return (
        f"The register's columns do not tell these classes: {', '.join(_SAID[name][0] for name in lacking)}. "
        "Such misses go to a later class.",
        f"登记数据的字段不足以判断下列类别：{'、'.join(_SAID[name][1] for name in lacking)}，此类偏差归入其后的类别。",
    )


def _learned(months: list[str]) -> tuple[str, str]:
    return (
        "The model that scored these months had learned from what became known after them, so that their lists look better "
        f"than any drawn beforehand: {', '.join(months)}. Lists of months after its training tell what it is worth.",
        f"对以下月份评分的模型，训练时已用到其后的结果，名单效果好于事先所能做到的：{'、'.join(months)}。"
        "实际效果须看训练之后月份的名单。",
    )


def _not_known(unknown: int, listed: int) -> tuple[str, str]:
    return (
        f"Of {listed:,} households on these lists the outcome of {unknown:,} is not known. A return is known at once, that "
        "there was none only with a record of the last month: most of them will turn out not to have returned, and until "
        "their records have come such alerts are counted too low. The share of the listed that returned is weighted for it.",
        f"名单所列{listed:,}户中，{unknown:,}户结果尚不明。返贫致贫一经记录即知，未返贫须待末月记录方知：其中未返贫者居多，"
        "记录到齐之前未返贫的预警户数偏低。名单返贫占比已就此加权。",
    )


_SAID = {LATE: ("recorded late", "录入滞后"), UNVISITED: ("not visited", "未走访"), WRONG: ("data wrong", "数据有误")}
_READING = (
    "Misses: the first three classes are human deviations of the process, for the office to mend; a shock after the score "
    "is nobody's fault; model error is the model's. They speak of processes and units of work, never of a person. "
    "Most alerts do not return even when the risk is right: of 100 listed at 30 %, 70 do not.",
    "偏差分类：前三类属工作过程中的人为偏差，由工作部门改进；评分后发生的冲击不归责于任何人；模型误差由模型改进。"
    "分类只针对流程和工作环节，不用于评价任何个人。即使风险估计准确，多数预警户也不会返贫：风险为30%的100户中，约70户不返贫。",
)
_NEEDS = (
    "Misses need scored months (--alerts DIR) and the model that scored them (--model).",
    "偏差分类需要评分月份（--alerts 目录）以及当时使用的模型（--model）。",
)
_TOO_EARLY = (
    "No scored month's horizon is over, with its records, on the day of the report: misses cannot be told yet.",
    "截至报告日，所有评分月份的预测期均未结束，或期内记录尚未报送，尚不能判断偏差。",
)
