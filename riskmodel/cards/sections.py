"""What each section of the model card shows, taken out of the model. The words stand in its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from riskmodel.cards.charts import DriverBar, calibration_svg, driver_bars_svg, icon_array_svg
from riskmodel.cards.comparison import SIMPLE, Figure, compare
from riskmodel.cards.disclosure import merged_bins, rows_of_ten, shown, shown_together, tells
from riskmodel.cards.rendering import Words, decimal, percent
from riskmodel.cards.wording import FALLS, METRICS, MODELS, NATURES, Metric, split_words, when_words
from riskmodel.catalogue import Condition, Driver, Feature
from riskmodel.catalogue.catalogue import HOUSEHOLD_COLUMNS
from riskmodel.cohort.labels import SUDDEN_MONTHS, SUDDEN_SHARE
from riskmodel.explain.causes import CLEAR, ENOUGH_SHARE, WORDS, missing_drivers
from riskmodel.model.bundle import RiskModel
from riskmodel.model.estimators import OFFICE_RATIO
from riskmodel.register.blocked import protected_by_name

TEST = "test"
DISJOINT = "test_disjoint"
_BARS = 14
_LEADING = 4
_TOO_GOOD = 0.9
_MANY_MISSING = 0.05
_FEW_EVENTS = 100


@dataclass(frozen=True)
class Section:
    """One section: `name` is its anchor and template, `facts` fills it."""

    name: str
    title: Words
    facts: Callable[[RiskModel], dict[str, Any]]


def headline(model: RiskModel) -> dict[str, Any]:
    """What stands above the sections."""
    return {
        "name": model.run.tracking.registered_model,
        "version": model.version,
        "estimator": _model_words(model.run.register_model),
        "run": model.run.name,
        "source": model.evidence["data"]["register"]["source"],
        "trained_to": model.evidence.get("trained_to"),
    }


def purpose(model: RiskModel) -> dict[str, Any]:
    return {"when": when_words(model.run.label)}


def answer(model: RiskModel) -> dict[str, Any]:
    found = _test_figures(model)
    figures = found.get(model.run.register_model, {})
    precision, recall = figures.get("precision_at_capacity"), figures.get("recall_at_capacity")
    ready = _tells(model) and all(f and f["value"] is not None for f in (precision, recall))
    facts: dict[str, Any] = {"ready": ready, "when": when_words(model.run.label), "fold": model.evidence["folds"][-1]}
    if not ready:
        return facts
    rate = model.evidence["data"][TEST]["rate"]
    share = _listed_share(model, precision, recall, rate)
    return facts | {
        "precision": precision,
        "recall": recall,
        "rate": rate,
        "share": share,
        "capacity": model.run.capacity,
        "level": model.run.intervals.level,
        "rival": compare(model.evidence["results"], model.run.register_model, SIMPLE, "recall_at_capacity"),
        "models": MODELS,
        "arrays": [
            icon_array_svg(precision["value"], Words("Of 100 households on the list, those that fall", "名单上100户中返贫的户")),
            icon_array_svg(rate, Words("Of 100 households drawn by chance, those that fall", "随机抽取100户中返贫的户")),
            icon_array_svg(recall["value"], Words("Of 100 households that fall, those on the list", "100户返贫户中被名单发现的户")),
        ],
    }


def data(model: RiskModel) -> dict[str, Any]:
    facts = model.evidence["data"]
    least = max(rows_of_ten(facts[part]) for part in ("train", TEST))
    kinds = {kind: facts["fell_as"][kind] for kind in FALLS if kind in facts.get("fell_as", {})}
    rows = shown_together([facts["missing_outcome"], *(k["rows"] for k in kinds.values())], least)
    events = shown_together([k["events"] for k in kinds.values()], least)
    return {
        "register": facts["register"],
        "months": facts["months"],
        "at_risk": shown(facts["at_risk"], least),
        "missing": rows[0],
        "missing_share": facts["missing_outcome"] / max(facts["at_risk"], 1) if rows[0][0].isdigit() else None,
        "parts": [(name, _part(facts[name])) for name in ("train", TEST)],
        "kinds": [
            {"words": FALLS[kind], "rows": n, "events": e, "rate": _rate(k, least) if (n + e).isascii() and n[0].isdigit() and e[0].isdigit() else None}
            for (kind, k), n, e in zip(kinds.items(), rows[1:], events, strict=True)
        ],
        "label": model.run.label.name,
        "who": model.run.at_risk,
    }


def label(model: RiskModel) -> dict[str, Any]:
    return {
        "label": model.run.label,
        "when": when_words(model.run.label),
        "sudden": percent(SUDDEN_SHARE, 0),
        "sudden_months": SUDDEN_MONTHS,
        "rate": model.evidence["data"][TEST]["rate"] if _tells(model) else None,
    }


def folds(model: RiskModel) -> dict[str, Any]:
    found = model.evidence["folds"]
    return {
        "folds": [{"words": split_words(f["fold"]), **f} for f in found],
        "embargo": model.evidence.get("embargo_months"),
        "horizon": model.run.label.horizon_months,
        "disjoint": DISJOINT in _splits(model),
    }


def performance(model: RiskModel) -> dict[str, Any]:
    results, chosen = model.evidence["results"], model.run.register_model
    richer = tuple(name for name in model.run.models if name not in (*SIMPLE, chosen))
    at_list = "recall_at_capacity"
    return {
        "tables": [
            {"words": split_words(split), "rows": _table(model, split)} for split in (TEST, DISJOINT) if split in _splits(model)
        ],
        "metrics": METRICS,
        "tells": _tells(model),
        "level": model.run.intervals.level,
        "replicates": model.run.intervals.replicates,
        "simple": compare(results, chosen, SIMPLE, at_list) if _tells(model) else None,
        "is_simple": chosen in SIMPLE,
        "ranking": compare(results, chosen, SIMPLE, "roc_auc"),
        "richer": compare(results, chosen, richer, "roc_auc"),
        "models": MODELS,
        "earlier": _earlier(model),
        "office_ratio": OFFICE_RATIO,
    }


def calibration(model: RiskModel) -> dict[str, Any]:
    curve = model.evidence.get("curve") or []
    bins = merged_bins(curve, rows_of_ten(model.evidence["data"][TEST]))
    figures = _test_figures(model).get(model.run.register_model, {})
    rows = sum(b["rows"] for b in bins)
    return {
        "bins": bins,
        "chart": calibration_svg(bins) if bins else "",
        "slope": _against(figures.get("calibration_slope"), 1),
        "intercept": _against(figures.get("calibration_intercept"), 0),
        "mean_risk": sum(b["risk"] * b["rows"] for b in bins) / rows if rows else None,
        "rate": sum(b["rate"] * b["rows"] for b in bins) / rows if rows else None,
        "joined": len(bins) < len(curve),
    }


def drivers(model: RiskModel) -> dict[str, Any]:
    found = [d for d in model.evidence.get("drivers") or [] if d["log_odds"] > 0]
    known = model.catalogue.driver_by_name
    total = sum(d["log_odds"] for d in found)
    by_nature = {
        nature: sum(d["log_odds"] for d in found if known[d["driver"]].nature == nature) / total if total else 0
        for nature in NATURES
    }
    top = found[:_BARS]
    return {
        "chart": driver_bars_svg([DriverBar(_words(known[d["driver"]]), known[d["driver"]].nature, d["log_odds"]) for d in top])
        if top
        else "",
        "more": len(found) - len(top),
        "natures": NATURES,
        "by_nature": by_nature,
        "leading": [
            {
                "driver": _words(known[d["driver"]]),
                "nature": NATURES[known[d["driver"]].nature],
                "features": [_words(model.catalogue.by_name[f]) for f, v in list(d["features"].items())[:_LEADING] if v > 0],
            }
            for d in top
        ],
    }


def causes(model: RiskModel) -> dict[str, Any]:
    catalogue = model.catalogue
    standing = {name for name in HOUSEHOLD_COLUMNS}

    def conditions(rows: tuple[Condition, ...]) -> list[dict[str, Any]]:
        return [
            {
                "words": _words(c),
                "driver": _words(catalogue.driver_by_name[c.driver]) if c.driver else None,
                "needed": c.needed,
                "lacking": sorted((c.when.columns - standing) & model.features_lacking.keys()),
            }
            for c in rows
        ]

    return {
        "verdicts": {name: Words(*words) for name, words in WORDS.items()},
        "clear": percent(CLEAR, 0),
        "enough": percent(ENOUGH_SHARE, 0),
        "gates": conditions(catalogue.gates),
        "excuses": conditions(catalogue.excuses),
        "protected": conditions(catalogue.protected),
        "natures": [(NATURES[n], n, [_words(d) for d in catalogue.drivers if d.nature == n]) for n in NATURES],
        "behaviour": [
            _words(f) for f in _features(model) if catalogue.driver_by_name[f.driver].nature == "subjective"
        ],
    }


def inputs(model: RiskModel) -> dict[str, Any]:
    catalogue, lacking = model.catalogue, model.features_lacking
    available = {f.name for f in catalogue.features if f.name not in lacking}
    used = _features(model)
    return {
        "groups": [(d, _words(d), NATURES[d.nature], [f for f in used if f.driver == d.name]) for d in catalogue.drivers],
        "count": len(used),
        "missing_drivers": [_words(catalogue.driver_by_name[d]) for d in missing_drivers(catalogue, available)],
        "lacking": [
            {"feature": catalogue.by_name[f], "words": _words(catalogue.by_name[f]), "columns": columns}
            for f, columns in sorted(lacking.items())
            if f in catalogue.by_name
        ],
        "left_out": [_left_out_words(model, name) for name in model.run.leave_out],
        "protected": sorted({c for f in used for c in (f.name, *f.needs) if protected_by_name(c)}),
    }


def limits(model: RiskModel) -> dict[str, Any]:
    facts, figures = model.evidence["data"], _test_figures(model).get(model.run.register_model, {})
    auc = figures.get("roc_auc", {}).get("value")
    missing = facts["missing_outcome"] / max(facts["at_risk"], 1)
    return {
        "too_good": auc if auc is not None and auc > _TOO_GOOD else None,
        "missing": missing if missing > _MANY_MISSING else None,
        "few_events": facts[TEST]["events"] < _FEW_EVENTS,
        "lacking": len(model.features_lacking),
        "counties": facts["register"].get("counties"),
        "source": facts["register"]["source"],
    }


def reproduce(model: RiskModel) -> dict[str, Any]:
    run = model.run.model_dump(mode="json", exclude={"tracking": {"uri"}})
    run["catalogue"] = [Path(name).name for name in run["catalogue"]]
    return {
        "version": model.version,
        "run_name": model.run.name,
        "trained_to": model.evidence.get("trained_to"),
        "seed": model.run.seed,
        "catalogue_sha256": model.catalogue.sha256,
        "register_sha256": model.evidence["data"]["register"].get("sha256"),
        "versions": model.evidence.get("versions", {}),
        "settings": yaml.safe_dump(run, allow_unicode=True, sort_keys=False),
    }


def sign_off(model: RiskModel) -> dict[str, Any]:
    return {"version": model.version}


SECTIONS: tuple[Section, ...] = (
    Section("purpose", Words("What it is for, and what it is not for", "用途与非用途"), purpose),
    Section("answer", Words("The answer on one page", "一页看懂"), answer),
    Section("data", Words("Data and population", "数据与对象"), data),
    Section("label", Words("What counts as a fall", "什么算返贫"), label),
    Section("folds", Words("How it was tested", "如何检验"), folds),
    Section("performance", Words("The model against simple rules", "模型与简单规则的比较"), performance),
    Section("calibration", Words("Are the risks right?", "风险值准不准"), calibration),
    Section("drivers", Words("What the score relies on", "评分依据"), drivers),
    Section("causes", Words("How causes are judged", "原因如何判断"), causes),
    Section("inputs", Words("Inputs, and what the register lacks", "输入指标与缺失指标"), inputs),
    Section("limits", Words("Limits", "局限"), limits),
    Section("reproduce", Words("Versions, and how to reproduce", "版本与复现"), reproduce),
    Section("sign_off", Words("Sign-off", "审核签字"), sign_off),
)


def _words(row: Driver | Feature | Condition) -> Words:
    return Words(row.en, row.zh)


def _model_words(name: str) -> Words:
    return MODELS.get(name, Words(name, name))


def _features(model: RiskModel) -> list[Feature]:
    """The inputs in the catalogue's order."""
    used = set(model.inputs)
    return [f for f in model.catalogue.features if f.name in used]


def _left_out_words(model: RiskModel, name: str) -> Words:
    found = model.catalogue.driver_by_name.get(name) or model.catalogue.by_name.get(name)
    return _words(found) if found else Words(name, name)


def _splits(model: RiskModel) -> list[str]:
    return list(model.evidence["results"].get(model.run.register_model, {}))


def _test_figures(model: RiskModel) -> dict[str, Mapping[str, Figure]]:
    return {name: splits[TEST] for name, splits in model.evidence["results"].items() if TEST in splits}


def _tells(model: RiskModel) -> bool:
    """Whether figures of the test give away no small group."""
    part = model.evidence["data"][TEST]
    return part["events"] > 0 and tells(part["events"], part["rows"], rows_of_ten(part))


def _listed_share(model: RiskModel, precision: Figure, recall: Figure, rate: float) -> float:
    """Share of those at risk that the lists hold together: what a list drawn by chance finds of those who fall."""
    if model.run.capacity.share:
        return model.run.capacity.share
    return recall["value"] * rate / precision["value"] if precision["value"] else 0.0


def _part(part: Mapping[str, Any]) -> dict[str, str]:
    least = rows_of_ten(part)
    return {
        "rows": shown(part["rows"], least),
        "households": shown(part["households"]),
        "events": shown(part["events"], least),
        "rate": _rate(part, least),
    }


def _rate(part: Mapping[str, Any], least: int) -> str:
    if not (part["rows"] and tells(part["events"], part["rows"], least)):
        return "*"
    return percent(part["events"] / part["rows"])


def _table(model: RiskModel, split: str) -> list[dict[str, Any]]:
    """Rows of a results table: models in the order of the settings, the best of each metric marked."""
    found = {name: splits[split] for name, splits in model.evidence["results"].items() if split in splits}
    names = [name for name in MODELS if name in found]
    best = {key: _best(metric, {name: found[name].get(key) for name in names}) for key, metric in METRICS.items()}
    hidden = () if _tells(model) else ("precision_at_capacity", "recall_at_capacity")
    return [
        {
            "words": _model_words(name),
            "registered": name == model.run.register_model,
            "cells": [
                {"words": metric.name, **_cell(metric, None if key in hidden else found[name].get(key)), "best": name in best[key]}
                for key, metric in METRICS.items()
            ],
            "ties": None if hidden else _ties(found[name]),
        }
        for name in names
    ]


def _cell(metric: Metric, figure: Figure | None) -> dict[str, str]:
    def show(value: float | None) -> str:
        return percent(value, metric.digits) if metric.percent else decimal(value, metric.digits)

    if figure is None or figure["value"] is None:
        return {"value": show(None), "range": ""}
    if figure["low"] is None:
        return {"value": show(figure["value"]), "range": ""}
    return {"value": show(figure["value"]), "range": f"{show(figure['low'])} – {show(figure['high'])}"}


def _best(metric: Metric, figures: Mapping[str, Figure | None]) -> set[str]:
    """Names whose value, as printed, is nearest to the ideal."""
    away = {
        name: round(abs(figure["value"] - metric.best), metric.digits + 2 * metric.percent)
        for name, figure in figures.items()
        if figure is not None and figure["value"] is not None
    }
    return {name for name, distance in away.items() if distance == min(away.values())}


def _ties(figures: Mapping[str, Figure]) -> str | None:
    """Worst and best precision where equal scores at the end of the list leave it open."""
    ends = [figures.get(f"precision_at_capacity_{end}") for end in ("worst", "best")]
    if any(end is None or end["value"] is None for end in ends):
        return None
    worst, best = (percent(end["value"]) for end in ends)
    return None if worst == best else f"{worst} – {best}"


def _earlier(model: RiskModel) -> dict[str, Any]:
    """ROC-AUC and recall at capacity on the validation folds."""
    splits = [s for s in _splits(model) if s.startswith("fold_")]
    results = model.evidence["results"]
    shown_metrics = [METRICS["roc_auc"], METRICS["recall_at_capacity"]]
    return {
        "splits": [split_words(s) for s in splits],
        "metrics": [m.name for m in shown_metrics],
        "rows": [
            {
                "words": _model_words(name),
                "registered": name == model.run.register_model,
                "cells": [
                    _cell(METRICS[key], results[name].get(split, {}).get(key))
                    for split in splits
                    for key in ("roc_auc", "recall_at_capacity")
                ],
            }
            for name in MODELS
            if name in results
        ],
    }


def _against(figure: Figure | None, ideal: float) -> dict[str, Any] | None:
    """A calibration figure and whether its interval lies below, around or above the ideal."""
    if figure is None or any(figure.get(part) is None for part in ("value", "low", "high")):
        return None
    side = "above" if figure["low"] > ideal else "below" if figure["high"] < ideal else "around"
    return {
        "value": decimal(figure["value"], 2),
        "range": f"{decimal(figure['low'], 2)} – {decimal(figure['high'], 2)}",
        "side": side,
    }
