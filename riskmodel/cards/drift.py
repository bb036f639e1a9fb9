"""Facts of the section on drift: month by month, and what later evaluations found beside the test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from riskmodel.cards.assessed import tells
from riskmodel.cards.charts import Series, over_time_svg
from riskmodel.cards.rendering import Words
from riskmodel.cards.tables import counted
from riskmodel.evaluation.metrics import wilson
from riskmodel.model.bundle import RiskModel

_COMPARED = ("roc_auc", "precision_at_capacity", "recall_at_capacity", "calibration_slope")
_OBSERVED = Words("fell, of 100 households at risk", "每100户评估对象中返贫")
_EXPECTED = Words("predicted", "预测")


def drift(model: RiskModel) -> dict[str, Any]:
    tested, later = model.evidence.get("assessment"), model.evidence.get("later", ())
    told = bool(tested) and tells(model, tested)
    seen = [found for found in (tested, *(one["assessment"] for one in later)) if found and found.get("by_month")]
    tables = [table for found in seen if (table := _months(model, found))]
    months = [row for table in tables for row in table]
    return {
        "chart": _chart(months) if len({row["group"] for row in months}) > 1 else "",
        "tables": tables,
        "test": model.evidence["results"].get(model.run.register_model, {}).get("test", {}) if told else {},
        "later": [_evaluation(model, one) for one in later],
        "compared": _COMPARED,
    }


def _months(model: RiskModel, found: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The months of an assessment; within one month a household has one row."""
    ten = model.run.smallest_cell
    table = counted(found["by_month"], ("rows", "events"), ten) if tells(model, found) else None
    return table and [
        {**row, "rows": group["rows"], "events": group["events"]}
        for row, group in zip(table, found["by_month"], strict=True)
    ]


def _chart(months: list[dict[str, Any]]) -> str:
    """Observed against predicted risk by month, of the months whose rate is printed."""
    told = [row["rate"] is not None and row["expected"] is not None for row in months]
    if sum(told) < 2:
        return ""
    observed = [
        dict(zip(("low", "high"), wilson(r["events"], r["rows"]), strict=True), value=r["rate"]) if open_ else None
        for r, open_ in zip(months, told, strict=True)
    ]
    expected = [
        {"value": r["expected"], "low": None, "high": None} if open_ else None for r, open_ in zip(months, told, strict=True)
    ]
    return over_time_svg([r["group"] for r in months], [Series(_OBSERVED, observed), Series(_EXPECTED, expected)], _OBSERVED)


def _evaluation(model: RiskModel, one: Mapping[str, Any]) -> dict[str, Any]:
    level, told = one["assessment"]["level"], tells(model, one["assessment"])
    return {
        "look": one["looks"]["this"],
        "figures": one["metrics"] if told else {name: one["metrics"][name] for name in ("roc_auc",)},
        "warning": Words(level["warning_en"], level["warning_zh"]) if told and level["warning_en"] else None,
    }
