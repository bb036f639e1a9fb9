"""Facts of the sections that `riskmodel.assessment` fills: lists, groups, misses, looks at the test months."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from riskmodel.cards.charts import by_length_svg
from riskmodel.cards.rendering import Words, decimal, percent
from riskmodel.cards.tables import counted
from riskmodel.cards.wording import DRAWN, GROUPS, MEASURES, METRICS, MODELS, RULES, SITUATIONS
from riskmodel.evaluation import disclosure
from riskmodel.model.bundle import RiskModel
from riskmodel.settings import CAPACITY_METRIC

_MOST_RULES = 5
_MOST_COUNTIES = 40


def lists(model: RiskModel) -> dict[str, Any]:
    found = model.evidence.get("assessment")
    if not found:
        return {"ready": False}
    if not tells(model, found):
        return {"ready": False}
    ten, least = model.run.smallest_cell, _rows_of_ten(model, found)
    listed = found["lists"]["listed"]
    lead = found["lead_time"]
    return {
        "ready": True,
        "months": found["months"],
        "listed": listed,
        "unknown": unknown(model),
        "tied": found["lists"]["worst"]["precision"] != found["lists"]["best"]["precision"],
        "worst": found["lists"]["worst"],
        "best": found["lists"]["best"],
        "floors": [found["capacity"].get("village_floor", 0), found["capacity"].get("township_floor", 0)],
        "lowered": [found["lists"].get("floors_lowered", 0), found["lists"].get("number")],
        "minimum": found["minimum_list"],
        "churn": [_month_of_list(row, ten) for row in found["churn"]],
        "lead": lead if lead["falls"] >= ten and lead["caught"] >= ten else None,
        "lead_range": _brackets(lead.get("intervals", {}).get("early_share")),
        "decision": [row for row in found["decision"] if row["listed"] * found["known"] >= least],
        "welfare": found["welfare"] if "none" not in found["welfare"] else None,
        "ece": (model.evidence["results"].get(model.run.register_model, {}).get("test", {}).get("ece")),
        "ece_null": found["ece_null"],
        "chart": _by_length(found, least),
        **_counties(found, least, ten),
        "cell": ten,
        "rows_of_cell": least,
    }


def unknown(model: RiskModel) -> Mapping[str, Any] | None:
    """How many of the lists have no known outcome, and what that does to their precision, where it may be told."""
    found = model.evidence.get("assessment")
    if not found or not tells(model, found):
        return None
    told = found["lists"].get("unknown")
    if not told or told["precision"] is None or not told["not_known"]:
        return None
    least = model.run.smallest_cell * len(found["months"])
    return told if disclosure.tells(told["not_known"], told["listed"], least) else None


def level(model: RiskModel) -> dict[str, Any]:
    """Calibration in the large and the intervals of risks, for the section on calibration."""
    found = model.evidence.get("assessment")
    if not found or "level" not in found:
        return {"warning": None, "covered": None}
    if not tells(model, found):
        return {"warning": None, "covered": None}
    large, intervals = found["level"], found["intervals"]
    rows = [] if "none" in intervals else intervals["by_county"]
    actions = None if "none" in intervals else intervals["actions"][0]
    return {
        "warning": Words(large["warning_en"], large["warning_zh"]) if large["warning_en"] else None,
        "covered": intervals["coverage"][0] if rows else None,
        "counties": len(rows),
        "apart": sum(not row["holds"] for row in rows),
        "actions": actions if actions and actions["events"] >= _rows_of_ten(model, found) else None,
    }


def groups(model: RiskModel) -> dict[str, Any]:
    found = (model.evidence.get("assessment") or {}).get("fairness")
    if not found:
        return {"ready": False, "none": None}
    if "none" in found:
        return {"ready": False, "none": True}
    cells = {(r["column"], r["group"], r["measure"]): r for r in found["table"]}
    measures = [m for m in MEASURES if any(r["measure"] == m for r in found["table"])]
    kinds = dict.fromkeys((r["column"], r["group"]) for r in found["table"])
    shown = [kind for kind in kinds if any(cells.get((*kind, m), {}).get("estimable") for m in measures)]
    rows = [
        {
            "column": _word(column),
            "group": _word(group),
            "first": column != previous,
            "cells": [_cell(cells.get((column, group, measure)), measure) for measure in measures],
        }
        for (column, group), previous in zip(shown, [None, *(column for column, _ in shown)], strict=False)
    ]
    return {
        "ready": True,
        "drawn": DRAWN[model.evidence.get("drawn", "household_id")],
        "measures": [MEASURES[m] for m in measures],
        "rows": rows,
        "over_time": _over_time(found),
        "several_months": len(model.evidence["assessment"]["months"]) > 1,
        "small": sum(kind not in shown and kind[0] != "all" for kind in kinds),
        "alarms": [
            {
                "column": GROUPS.get(r["column"], Words(r["column"], r["column"])),
                "highest": GROUPS.get(r["highest"], Words(r["highest"], r["highest"])),
                "lowest": GROUPS.get(r["lowest"], Words(r["lowest"], r["lowest"])),
                "ratio": decimal(r["ratio"], 1) if r["ratio"] is not None else "∞",
                "sure": r["low"] is not None and r["low"] > 1,
            }
            for r in found["spread"]
            if r["alarm"]
        ],
    }


def misses(model: RiskModel) -> dict[str, Any]:
    found = model.evidence.get("assessment")
    if not found:
        return {"ready": False}
    table, ten, least = found["misses"]["situations"], model.run.smallest_cell, _rows_of_ten(model, found)
    aspects = [list(groups) for _, groups in groupby(table, key=itemgetter("aspect"))]
    shown = [row for groups in aspects for row in _open(groups, ten, least) if row["events"]]
    helped = found["helped"]
    return {
        "ready": True,
        "rows": [
            {
                "aspect": SITUATIONS.get(r["aspect"], Words(r["aspect"], r["aspect"])),
                "first": i == 0 or shown[i - 1]["aspect"] != r["aspect"],
                "group": SITUATIONS.get(r["group"], Words(r["group"], r["group"])),
                "events": r["events"],
                "caught": percent(r["caught_share"]),
                "range": f"{percent(r['caught_low'])} – {percent(r['caught_high'])}",
                "part": percent(r["part_of_missed"]),
                "risk": percent(r["risk"]),
                "rate": percent(r["rate"]),
            }
            for i, r in enumerate(shown)
        ],
        "small": len(table) - len(shown),
        "rules": _open(found["misses"]["rules"], ten, least)[:_MOST_RULES],
        "helped": None if "none" in helped else _by_help(helped, least),
        "cell": ten,
    }


def _open(groups: Sequence[Mapping[str, Any]], ten: int, least: int) -> list[Mapping[str, Any]]:
    """Those of the groups of all falls that give no small group of households away.

    Older assessments do not tell the households of each cell: there its rows are counted.
    """
    told = [[n for name, n in row.items() if name.startswith("households_")] for row in groups]
    if not all(told):
        told, ten = [_rows_of_cells(row) for row in groups], least
    return [row for row, may in zip(groups, disclosure.open_groups(told, ten), strict=True) if may]


def _rows_of_cells(row: Mapping[str, Any]) -> list[int]:
    if "caught" not in row:
        return [row["events"] - row["missed"], row["missed"]]
    return [row["caught"], row["events"] - row["caught"], row["rows"] - row["events"]]


def with_floors(model: RiskModel) -> Mapping[str, float] | None:
    """Figures of the lists as drawn, where villages or townships are guaranteed visits and figures may be shown."""
    found = lists(model)
    return found["listed"] if found["ready"] and any(found["floors"]) else None


def precision_without_help(model: RiskModel) -> Mapping[str, float | None] | None:
    """Of those listed who got no help, the share that fell; None where it is not known or tells too much."""
    found = model.evidence.get("assessment") or {}
    helped = found.get("helped") or {"none": ""}
    if "none" in helped or "not_helped" not in helped["results"]:
        return None
    figure, sizes = helped["results"]["not_helped"].get("precision"), helped["sizes"]["not_helped"]
    if not figure or None in figure.values():
        return None
    return figure if disclosure.tells(sizes["events"], sizes["rows"], _rows_of_ten(model, found)) else None


def looks(model: RiskModel) -> dict[str, Any] | None:
    """This look at the test months and the earlier ones; None for a model of an earlier version."""
    return model.evidence.get("looks")


def choice(model: RiskModel) -> dict[str, Any] | None:
    """How the model was chosen, with the regret of each rule; None where the run names it."""
    found = model.evidence.get("choice")
    if not found or "candidates" not in found:
        return None
    return {
        "rule": RULES.get(found["rule"], Words(found["rule"], found["rule"])),
        "metric": METRICS[found["metric"]].name,
        "in_time": found["periods"] == "time",
        "small": found.get("small") is not None,
        "candidates": [
            {
                "words": MODELS[row["model"]],
                "value": decimal(row["value"], 3),
                "behind": decimal(row["behind"], 4),
                "error": decimal(row["standard_error"], 4),
            }
            for row in found["candidates"]
        ],
        "regrets": [
            {"words": RULES[row["rule"]], "mean": decimal(row["mean"], 4), "worst": decimal(row["worst"], 4)}
            for row in found["regrets"]
        ],
    }


def champion(model: RiskModel) -> dict[str, Any] | None:
    """What the model gained at capacity over the champion of its day; None where there was none to hold it against."""
    found = model.evidence.get("champion") or {}
    if "differences" not in found or found["events"] < model.run.smallest_cell:
        return None
    gain = found["differences"][CAPACITY_METRIC]
    told = {part: "–" if gain[part] is None else f"{gain[part]:+.3f}".replace("-", "−") for part in ("value", "low", "high")}
    months = found["months"]
    return {"version": found["version"], "recipe": found["how"] == "recipe", "first": months[0], "last": months[-1], **told}


def _over_time(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind of group and measure, month by month how many times the highest figure is the lowest."""
    months = sorted({row["as_of"] for row in found["over_time"]})
    if len(months) < 2:
        return []
    cells = {(row["column"], row["measure"], row["as_of"]): row for row in found["over_time"]}
    kinds = dict.fromkeys((row["column"], row["measure"]) for row in found["over_time"])
    return [
        {
            "column": _word(column),
            "measure": MEASURES[measure],
            "months": [(month, _ratio_of(cells.get((column, measure, month)))) for month in months],
        }
        for column, measure in kinds
    ]


def _ratio_of(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if row is None or row["ratio"] is None:
        return None
    high = "∞" if row["high"] is None else decimal(row["high"], 1)
    ends = "" if row["low"] is None else f"{decimal(row['low'], 1)} – {high}"
    return {"ratio": decimal(row["ratio"], 1), "range": ends, "highest": _word(row["highest"])}


def _brackets(figure: Mapping[str, float | None] | None) -> Words:
    """The interval of a share in brackets, of a hundred; nothing where there is none."""
    if figure is None or figure["low"] is None or figure["high"] is None:
        return Words("", "")
    ends = f"{100 * figure['low']:.0f} – {100 * figure['high']:.0f}"
    return Words(f" ({ends})", f"（{ends}）")


def _word(name: str) -> Words:
    return GROUPS.get(name, Words(name, name))


def tells(model: RiskModel, found: Mapping[str, Any]) -> bool:
    """Whether enough households fell, and enough did not, for figures of all months of an assessment together."""
    return disclosure.tells(found["events"], found["known"], _rows_of_ten(model, found))


def _rows_of_ten(model: RiskModel, found: Mapping[str, Any]) -> int:
    """The most rows of known outcome that ten households can have: one a month each, and one at least has each other one.

    Older assessments do not tell of how many households they are.
    """
    ten, every = model.run.smallest_cell, model.run.smallest_cell * len(found["months"])
    return min(every, found["known"] - found["households"] + ten) if "households" in found else every


def _month_of_list(row: Mapping[str, Any], ten: int) -> dict[str, Any]:
    """A month's list, with no count below ten, nor one that could be worked out."""
    mark = disclosure.small_mark(ten)
    cells = disclosure.shown_together([row["new"], row["continuing"], row["returned"]], ten, mark)
    return {"as_of": row["as_of"], "listed": disclosure.shown(row["listed"], ten, mark), "cells": cells}


def _by_length(found: Mapping[str, Any], least: int) -> str:
    """The chart of list lengths, of those lengths alone that give no small group away."""
    points = [
        row
        for row in found.get("by_length", [])
        if disclosure.tells(row["caught"], row["listed"], least)
        and disclosure.tells(row["caught"], found["events"], least)
        and disclosure.tells(row["listed"], found["known"], least)
    ]
    capacity = found["capacity"].get("share") or found["lists"]["listed"]["rows"] / found["known"]
    return by_length_svg(points, capacity if capacity <= points[-1]["share"] else None) if len(points) > 1 else ""


def _counties(found: Mapping[str, Any], least: int, ten: int) -> dict[str, Any]:
    """The table of counties, where there are several.

    The table of changes counts all households of the lists, this one those whose outcome is known: where the two are few
    apart, the lists are left out here, or the difference would tell of those who have no outcome.
    """
    counties = found.get("by_county", [])
    unknown = sum(row["listed"] for row in found["churn"]) - sum(row["listed"] for row in counties)
    few = 0 < unknown < ten * len(found["months"])
    columns = ("rows", "events", "caught") if few else ("rows", "events", "listed", "caught")
    shown = counted(_largest(counties), columns, least) if len(counties) > 1 else None
    return {"counties": shown, "with_lists": "listed" in columns}


def _largest(counties: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The largest counties, and all others as one with an empty name."""
    ordered = sorted(counties, key=lambda row: -row["rows"])
    rest = ordered[_MOST_COUNTIES:]
    if not rest:
        return list(counties)
    together = {name: sum(row[name] for row in rest) for name in rest[0] if name != "group"}
    return [*ordered[:_MOST_COUNTIES], {**together, "group": ""}]


def _cell(row: Mapping[str, Any] | None, measure: str) -> dict[str, str] | None:
    if row is None or not row["estimable"] or row["value"] is None:
        return None

    def show(value: float | None) -> str:
        return decimal(value, 2) if measure == "observed_over_expected" else percent(value)

    return {"value": show(row["value"]), "range": f"{show(row['low'])} – {show(row['high'])}"}


def _by_help(found: Mapping[str, Any], least: int) -> dict[str, Any]:
    metrics: Sequence[str] = ("roc_auc", "precision", "recall", "rate_error")
    return {
        "warning": found["warning"],
        "listed_helped": found["listed_helped"],
        "rows": [
            {"group": GROUPS[group], "figures": [figures.get(m) for m in metrics]}
            for group, figures in found["results"].items()
            if disclosure.tells(found["sizes"][group]["events"], found["sizes"][group]["rows"], least)
        ],
    }
