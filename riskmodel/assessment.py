"""What a model's lists would have found on months it had not seen: the evidence that a committee signs.

Metrics of all models stand in `Study.results`; this page is about the registered model alone, at the lists that the
office would really have drawn. The result is plain JSON: it travels with the model, and the card, MLflow and
`riskmodel evaluate` show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.alerts.alerts import verdicts_of
from riskmodel.alerts.scoring import PLACES
from riskmodel.cohort.audit import audit_columns
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.helped import helped_before_outcome
from riskmodel.cohort.labels import censoring_weights
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.assisted import by_assistance
from riskmodel.evaluation.bootstrap import Interval, drawn_together, resample
from riskmodel.evaluation.calibration import action_coverage, calibration_in_the_large, interval_coverage
from riskmodel.evaluation.capacity import (
    actions,
    churn,
    figures_by_length,
    floors_within,
    lead_time,
    lead_times,
    length_for_recall,
    list_figures,
    nested_lists,
)
from riskmodel.evaluation.fairness import audit, audit_groups, audit_over_time
from riskmodel.evaluation.metrics import decision_curve, ece_null_band, figures_of_list, share_of_known
from riskmodel.evaluation.misfit import misses_by_situation, rules_of_misses, situations
from riskmodel.evaluation.welfare import budget_welfare
from riskmodel.model.bundle import RiskModel
from riskmodel.months import month_number
from riskmodel.register import Register
from riskmodel.settings import Run

RECALLS = (0.5, 0.7, 0.8, 0.9)
LENGTHS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Lists of these shares of those at risk are compared."""
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
TRANSFER = 0.1
"""Welfare of the budget: a tenth of the line per month for each listed household."""
_LEAST_INCOME = 0.05
_QUIET_MONTHS = 3


def assess(model: RiskModel, cohorts: Cohorts, months: Sequence[str], run: Run) -> dict[str, Any]:
    """Everything about the lists of a model on some as-of months.

    The lists are drawn from all households at risk, as an office would; what became of a household is counted where it
    is known. The figures by help are weighted for censoring, so that they stand for those whose outcome is not known too.

    Parameters
    ----------
    model
        A model that has not seen the outcomes of these months.
    cohorts
        Cohorts that hold the months, with the features of the model.
    months
        As-of months, `YYYY-MM`.
    run
        Capacity, intervals, seed and label.

    Returns
    -------
    dict
        `months, rows, known, events, lists, by_length, by_month, by_county, minimum_list, churn, lead_time, ece_null,
        decision, welfare, level, intervals, fairness, helped, misses`, all plain JSON; a part that the register cannot
        give holds `{"none": why}`.

    Raises
    ------
    NotEnoughData
        If no outcome of either kind is known in these months.
    """
    frame = cohorts.at(months).reset_index(drop=True)
    known = frame["outcome"].notna().to_numpy()
    y = frame["outcome"].to_numpy(float)
    if not 0 < np.nansum(y) < known.sum():
        raise NotEnoughData("the months assessed hold no outcome of one kind: choose others, or more of them.")
    places = [p for p in PLACES if p in frame]
    rows = frame[["household_id", "county_id", *places, "as_of", "outcome", "outcome_month"]].assign(risk=model.risk(frame))
    rows["listed_by"] = _list(rows, run)
    rows["listed"] = rows["listed_by"].notna()
    seen, at = rows[known].reset_index(drop=True), np.flatnonzero(known)
    ranges = _ranges(seen, run)
    weight = censoring_weights(frame, run.label.horizon_months).to_numpy()
    return {
        "months": sorted(set(rows["as_of"])),
        "rows": len(rows),
        "known": int(known.sum()),
        "households": int(seen["household_id"].nunique()),
        "events": int(np.nansum(y)),
        "capacity": run.capacity.model_dump(exclude_none=True),
        "lists": {**_lists(rows, run, weight), "intervals": _figures(ranges["lists"])},
        "by_length": _records(figures_by_length(seen["outcome"], seen["risk"], LENGTHS, _list_codes(seen))),
        "by_month": _counts_by(seen, "as_of"),
        "by_county": _counts_by(seen, "county_id"),
        "minimum_list": _ranged(
            length_for_recall(seen["outcome"], seen["risk"], RECALLS, _list_codes(seen)), "length", ranges["minimum_list"]
        ),
        "churn": _churn(rows),
        "lead_time": _lead_time(rows, run),
        "ece_null": ece_null_band(seen["risk"].to_numpy(), seed=run.seed, level=run.intervals.level).as_json(),
        "decision": _ranged(decision_curve(seen["outcome"], seen["risk"], THRESHOLDS), "net_benefit", ranges["decision"]),
        "welfare": _welfare(seen, frame, at, run),
        "level": _level(seen, weight[known]),
        "intervals": _intervals(model, rows, known, run),
        "fairness": _fairness(model, cohorts.origin, seen, frame, at, run),
        "helped": _helped(cohorts, rows, frame, run),
        "misses": _misses(seen, frame, at),
    }


def _list(rows: pd.DataFrame, run: Run) -> pd.Series:
    return nested_lists(rows, run.capacity, **run.capacity.floors)


def _list_codes(rows: pd.DataFrame) -> np.ndarray:
    return (rows["as_of"] + "/" + rows["county_id"]).to_numpy()


def _lists(rows: pd.DataFrame, run: Run, weight: np.ndarray) -> dict[str, Any]:
    """Figures of the lists, counted where the outcome is known, and by the level that listed a household.

    `unknown`: how many listed have no known outcome, and the precision weighted for them, with its bounds.
    """
    room, floors = run.capacity, run.capacity.floors
    found = list_figures(rows, rows["outcome"].to_numpy(), room, **floors)
    by = rows[rows["outcome"].notna()].groupby("listed_by")["outcome"].agg(["size", "mean"])
    kept = floors_within(rows, room, **floors)
    lowered = (kept[list(floors)] < pd.Series(floors)).any(axis=1)
    outcome = rows["outcome"].to_numpy(float)[rows["listed"]]
    share, low, high = share_of_known(outcome, weight[rows["listed"]])
    unknown = {"listed": len(outcome), "not_known": int(np.isnan(outcome).sum())}
    return {
        **{name: _plain(row) for name, row in found.iterrows()},
        "unknown": _plain({**unknown, "precision": share, "low": low, "high": high}),
        "number": len(kept),
        "floors_lowered": int(lowered.sum()),
        "by_level": [{"level": k, "rows": int(r["size"]), "precision": float(r["mean"])} for k, r in by.iterrows()],
    }


def _ranges(seen: pd.DataFrame, run: Run) -> dict[str, dict[str, Interval]]:
    """Intervals of the lists as drawn, of the shortest lists and of the net benefit, all on the same resamples."""
    y, risk = seen["outcome"].to_numpy(float), seen["risk"].to_numpy(float)
    listed = seen["listed"].to_numpy(float)
    codes = np.unique(_list_codes(seen), return_inverse=True)[1]

    def lists(weight: np.ndarray | None) -> dict[str, float]:
        w = np.ones(len(y)) if weight is None else weight
        return figures_of_list(np.dot(w, y * listed), np.dot(w, listed), np.dot(w, y), w.sum())

    def shortest(weight: np.ndarray | None) -> dict[str, float]:
        kept = np.arange(len(y)) if weight is None else np.repeat(np.arange(len(y)), weight.astype(int))
        if not y[kept].any():
            return {str(recall): np.nan for recall in RECALLS}
        found = length_for_recall(y[kept], risk[kept], RECALLS, codes[kept])
        return dict(zip(map(str, RECALLS), found["length"].astype(float), strict=True))

    def net(weight: np.ndarray | None) -> dict[str, float]:
        return dict(zip(map(str, THRESHOLDS), decision_curve(y, risk, THRESHOLDS, weight)["net_benefit"], strict=True))

    measures = {"lists": lists, "minimum_list": shortest, "decision": net}
    return resample(measures, drawn_together(seen, run.intervals), run.intervals, run.seed).intervals()


def _ranged(table: pd.DataFrame, column: str, found: Mapping[str, Interval]) -> list[dict[str, Any]]:
    """Rows as plain JSON, with the interval of one column beside it."""
    ends = list(found.values())
    return _records(table.assign(**{f"{column}_low": [e.low for e in ends], f"{column}_high": [e.high for e in ends]}))


def _counts_by(seen: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """Rows, households, falls, falls expected, listed and falls listed of each month or county."""
    rows = seen.assign(caught=seen["listed"] * seen["outcome"])
    found = rows.groupby(column, sort=True).agg(
        rows=("outcome", "size"), households=("household_id", "nunique"), events=("outcome", "sum"),
        expected=("risk", "sum"), listed=("listed", "sum"), caught=("caught", "sum"),
    )  # fmt: skip
    whole = ["rows", "households", "events", "listed", "caught"]
    return _records(found.astype(dict.fromkeys(whole, int)).reset_index(names="group"))


def _churn(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Lists month by month. Where lists are further apart than the quiet months, one list between counts as quiet."""
    numbers = sorted(month_number(m) for m in set(rows["as_of"]))
    apart = int(np.diff(numbers).min()) if len(numbers) > 1 else 1
    return _records(churn(rows[rows["listed"]], quiet_months=max(_QUIET_MONTHS, apart + 1)).reset_index(names="as_of"))


def _lead_time(rows: pd.DataFrame, run: Run) -> dict[str, Any]:
    alerts, falls = rows[rows["listed"]], rows.dropna(subset="outcome_month")
    within = max(12, run.label.horizon_months)
    found = lead_time(alerts, falls, within_months=within)
    ahead = lead_times(alerts, falls, within_months=within)
    months = ahead.to_numpy(float)

    def measure(weight: np.ndarray | None) -> dict[str, float]:
        kept = months if weight is None else np.repeat(months, weight.astype(int))
        caught = kept[~np.isnan(kept)]
        return {
            "median": float(np.median(caught)) if len(caught) else np.nan,
            "early_share": float((caught >= found.early_months).sum() / len(kept)) if len(kept) else np.nan,
        }

    warned = ahead.index.get_level_values("household_id")
    places = rows.drop_duplicates("household_id").set_index("household_id", drop=False)
    drawn = drawn_together(places.loc[warned], run.intervals)
    ranges = resample({"lead": measure}, drawn, run.intervals, run.seed).intervals()["lead"] if len(drawn) else {}
    return {**{k: v for k, v in _plain(asdict(found)).items() if k != "distribution"},
            "intervals": _figures(ranges),
            "distribution": {str(k): int(v) for k, v in found.distribution.items()}}  # fmt: skip


def _welfare(seen: pd.DataFrame, frame: pd.DataFrame, at: np.ndarray, run: Run) -> dict[str, Any]:
    """The list's transfer against perfect targeting and against an equal split; every household counts once."""
    if "ratio_now" not in frame:
        return {"none": "the features lack ratio_now, the income over the line"}
    income = frame["ratio_now"].to_numpy(float)[at]
    has = ~np.isnan(income)
    income = np.maximum(income[has], _LEAST_INCOME)
    listed = seen["listed"].to_numpy(float)[has]
    if not listed.any():
        return {"none": "no listed household has a known income"}

    def measure(weight: np.ndarray | None) -> Mapping[str, float]:
        w = np.ones(len(income)) if weight is None else weight
        if not np.dot(w, listed):
            return {"welfare_of_perfect": np.nan, "welfare_of_universal": np.nan}
        return budget_welfare(income, listed, TRANSFER * float(np.dot(w, listed)), w).figures()

    found = resample({"list": measure}, drawn_together(seen, run.intervals)[has], run.intervals, run.seed).intervals()[
        "list"
    ]
    return {"transfer": TRANSFER, "rho": 3.0, **_figures(found)}


def _fairness(
    model: RiskModel, register: Register | None, seen: pd.DataFrame, frame: pd.DataFrame, at: np.ndarray, run: Run
) -> dict[str, Any]:
    place = [c for c in PLACES if c in seen]
    rows = seen[["household_id", "county_id", *place, "as_of", "listed", "outcome", "risk"]].copy()
    if model.explains:
        rows["verdict"] = pd.Series(np.nan, index=rows.index, dtype=object)
        rows.loc[rows["listed"], "verdict"] = verdicts_of(model, frame.iloc[at[rows["listed"].to_numpy()]])
    apart = pd.DataFrame(index=frame.index) if register is None else audit_columns(register, frame)
    both = pd.concat([frame, apart[[c for c in apart if c not in frame]]], axis=1)
    groups = audit_groups(both).iloc[at].reset_index(drop=True)
    try:
        whole = audit(rows, groups, run.intervals, run.seed)
        months = audit_over_time(rows, groups, run.intervals, run.seed).spread if rows["as_of"].nunique() > 1 else None
    except UsageError as fault:
        return {"none": str(fault)}
    return {
        "table": _records(whole.table),
        "spread": _records(whole.spread),
        "over_time": [] if months is None else _records(months.dropna(subset="ratio")),
    }


def _level(seen: pd.DataFrame, weight: np.ndarray) -> dict[str, Any]:
    """Calibration in the large, weighted for censoring: falls of the last months are known before the rest."""
    check = calibration_in_the_large(seen["outcome"], seen["risk"], seen["household_id"], weight=weight)
    return check.as_json()


def _intervals(model: RiskModel, rows: pd.DataFrame, known: np.ndarray, run: Run) -> dict[str, Any]:
    """Whether the rate lies within the risks' intervals, over all and by county, and what the three actions reach."""
    found = model.interval_of(rows["risk"].to_numpy())
    if found is None:
        return {"none": "the model has no intervals: its calibration months hold too few falls"}
    scores = rows[["household_id", "county_id", "as_of", "risk"]].assign(risk_low=found["low"], risk_high=found["high"])
    action = actions(scores, nested_lists(scores, run.capacity).notna())[known]
    seen, found = rows[known], found[known]
    y, households = seen["outcome"].to_numpy(float), seen["household_id"]
    return {
        "coverage": _records(interval_coverage(y, found, households=households).reset_index(names="group")),
        "by_county": _records(interval_coverage(y, found, seen["county_id"], households).reset_index(names="group")),
        "actions": _records(action_coverage(y, action).reset_index(names="group")),
    }


def _helped(cohorts: Cohorts, rows: pd.DataFrame, frame: pd.DataFrame, run: Run) -> dict[str, Any]:
    register = cohorts.origin
    if register is None or not register.has("assistance"):
        return {"none": "the register holds no assistance"}
    horizon = run.label.horizon_months
    helped = helped_before_outcome(register, frame, horizon, cohorts.step_months)
    if helped.isna().all():
        return {"none": "the register holds neither answers to help nor days of its start"}
    weight = censoring_weights(frame, horizon).to_numpy()
    try:
        found = by_assistance(rows.assign(helped=helped), run.intervals, run.seed, weight=weight)
    except NotEnoughData as fault:
        return {"none": str(fault)}
    return {
        "results": {group: _figures(figures) for group, figures in found.results.items()},
        "sizes": {group: _plain(sizes) for group, sizes in found.sizes.iterrows()},
        "listed_helped": _plain(found.listed_helped),
        "warning": found.warning,
    }


def _misses(seen: pd.DataFrame, frame: pd.DataFrame, at: np.ndarray) -> dict[str, Any]:
    telling = [c for c in frame if c in ("ratio_now", "record_age", "able_now") or c.startswith("months_since_")]
    features = frame[[*telling, *(c for c in ("household_type",) if c in frame)]].iloc[at].reset_index(drop=True)
    y, listed, ids = (seen[name].to_numpy() for name in ("outcome", "listed", "household_id"))
    table = misses_by_situation(y, seen["risk"].to_numpy(), listed, ids, situations(features))
    try:
        rules = _records(rules_of_misses(features[telling], y, listed, ids)) if telling else []
    except NotEnoughData:
        rules = []
    return {"situations": _records(table), "rules": rules}


def _figures(found: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: figure.as_json() for name, figure in found.items()}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain JSON; null where not defined."""
    return json.loads(table.to_json(orient="records", double_precision=15))


def _plain(value: Any) -> Any:
    """One figure, or figures by name, as plain JSON."""
    if isinstance(value, pd.Series | dict):
        return {str(k): _plain(v) for k, v in dict(value).items()}
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
