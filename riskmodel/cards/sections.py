"""What each section of the model card shows, taken out of the model. The words stand in its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from riskmodel.cards import assessed
from riskmodel.cards.charts import DriverBar, calibration_svg, driver_bars_svg, icon_array_svg
from riskmodel.cards.comparison import Figure, compare
from riskmodel.cards.rendering import Words, percent
from riskmodel.cards.tables import against, results_table, tied_lists
from riskmodel.cards.wording import (
    FALLS,
    METRICS,
    MODELS,
    NATURES,
    STANDINGS,
    UNITS,
    counties_words,
    lag_words,
    split_words,
    step_words,
    when_words,
)
from riskmodel.catalogue import Condition, Driver, Feature
from riskmodel.cohort.labels import SUDDEN_MONTHS, SUDDEN_SHARE
from riskmodel.evaluation import disclosure
from riskmodel.explain.causes import WORDS, blind_spots, missing_drivers
from riskmodel.model.bundle import RiskModel
from riskmodel.model.estimators import OFFICE_MONTHS, OFFICE_RATIO
from riskmodel.register.blocked import protected_by_name
from riskmodel.settings import SIMPLE

TEST = "test"
DISJOINT = "test_disjoint"
WORLDS = {"easy": "简单", "hard": "困难"}
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
    figures = _test_figures(model)
    precision, recall = figures.get("precision_at_capacity"), figures.get("recall_at_capacity")
    if not _tells(model) or any(f is None or f["value"] is None for f in (precision, recall)):
        return {"ready": False}
    rate = model.evidence["data"][TEST]["rate"]
    rival = compare(model.evidence["results"], model.run.register_model, SIMPLE, "recall_at_capacity")
    pictures = [
        (
            precision["value"],
            Words("Of 100 households on the list, those that fall", "名单上100户中返贫的户"),
        ),
        (rate, Words("Of 100 households drawn by chance, those that fall", "随机抽取的100户中返贫的户")),
        (
            recall["value"],
            Words("Of 100 households that fall, those on the list", "100户返贫户中被名单发现的户"),
        ),
    ]
    return {
        "ready": True,
        "when": when_words(model.run.label),
        "fold": model.evidence["folds"][-1],
        "precision": precision,
        "recall": recall,
        "rate": rate,
        "share": _listed_share(model, precision, recall, rate),
        "capacity": model.run.capacity,
        "level": model.run.intervals.level,
        "rival": rival,
        "rule": MODELS[rival.rival] if rival else None,
        "standing": STANDINGS[rival.standing] if rival else None,
        "pictures": [icon_array_svg(share, title) for share, title in pictures],
    }


def data(model: RiskModel) -> dict[str, Any]:
    facts = model.evidence["data"]
    least = _rows_of_ten(model)
    kinds = _kinds(model)
    missing, *rows = _missing_and_kinds(model)
    events = disclosure.shown_together([k["events"] for k in kinds.values()], least)
    return {
        "register": facts["register"],
        "step": step_words(facts["register"]["step_months"]),
        "counties": counties_words(facts["register"]["counties"]),
        "lag": lag_words(facts["register"].get("reporting_lag_days") or 0),
        "months": facts["months"],
        "at_risk": disclosure.shown(facts["at_risk"], least),
        "missing": missing,
        "missing_share": _in_brackets("" if disclosure.withheld(missing) else percent(_missing_share(model))),
        "parts": [(name, _part(facts[name])) for name in ("train", TEST)],
        "kinds": [
            {"words": FALLS[kind], "rows": n, "events": fell, "rate": _rate(k, least, n, fell)}
            for (kind, k), n, fell in zip(kinds.items(), rows, events, strict=True)
        ],
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
    return {
        "folds": [{"words": split_words(f["fold"]), **f} for f in model.evidence["folds"]],
        "embargo": model.evidence.get("embargo_months"),
        "horizon": model.run.label.horizon_months,
        "disjoint": DISJOINT in _splits(model),
        "leaks": _leaks(model),
        "looks": assessed.looks(model),
    }


def performance(model: RiskModel) -> dict[str, Any]:
    results, chosen, told = model.evidence["results"], model.run.register_model, _tells(model)
    richer = tuple(name for name in model.run.models if name not in (*SIMPLE, chosen))
    hidden = () if told else tuple(m for m in METRICS if m != "roc_auc")
    earlier = [split for split in _splits(model) if split.startswith("fold_")]
    compact = ("roc_auc", "recall_at_capacity")
    simple = compare(results, chosen, SIMPLE, "recall_at_capacity") if told else None
    return {
        "registered": _model_words(chosen),
        "choice": assessed.choice(model),
        "is_simple": chosen in SIMPLE,
        "simple": simple,
        "standing": STANDINGS[simple.standing] if simple else None,
        "apart": compare(results, chosen, SIMPLE, "recall_at_capacity", DISJOINT) if told else None,
        "ranking": compare(results, chosen, SIMPLE, "roc_auc"),
        "richer": compare(results, chosen, richer, "roc_auc"),
        "models": MODELS,
        "metrics": METRICS,
        "tables": [
            (split_words(split), results_table(results, [split], list(METRICS), chosen, hidden))
            for split in (TEST, DISJOINT)
            if split in _splits(model)
        ],
        "ties": tied_lists(results, TEST) if told else [],
        "level": model.run.intervals.level,
        "replicates": model.run.intervals.replicates,
        "drawn": Words("villages", "村") if model.evidence.get("drawn") == "village_id" else Words("households", "农户"),
        "office_ratio": OFFICE_RATIO,
        "office_months": OFFICE_MONTHS,
        "earlier": [split_words(split) for split in earlier],
        "compact": [METRICS[metric].name for metric in compact],
        "earlier_rows": results_table(results, earlier, compact, chosen, hidden),
    }


def calibration(model: RiskModel) -> dict[str, Any]:
    curve = model.evidence.get("curve") or []
    bins = disclosure.merged_bins(curve, disclosure.rows_of_ten(model.evidence["data"][TEST]))
    figures = _test_figures(model)
    rows = sum(b["rows"] for b in bins)
    return {
        "bins": bins,
        "chart": calibration_svg(bins) if bins else "",
        "slope": against(figures.get("calibration_slope"), 1),
        "intercept": against(figures.get("calibration_intercept"), 0),
        "mean_risk": sum(b["risk"] * b["rows"] for b in bins) / rows if rows else None,
        "rate": sum(b["rate"] * b["rows"] for b in bins) / rows if rows else None,
        "joined": len(bins) < len(curve),
        "level": assessed.level(model),
    }


def drivers(model: RiskModel) -> dict[str, Any]:
    catalogue = model.catalogue
    found = [
        (catalogue.driver_by_name[d["driver"]], d["log_odds"], d["features"])
        for d in model.evidence.get("drivers") or []
        if d["log_odds"] > 0
    ]
    total = sum(weight for _, weight, _ in found) or 1
    top = found[:_BARS]
    return {
        "chart": driver_bars_svg([DriverBar(_words(d), d.nature, weight) for d, weight, _ in top]) if top else "",
        "more": len(found) - len(top),
        "by_nature": {n: sum(weight for d, weight, _ in found if d.nature == n) / total for n in NATURES},
        "leading": [
            (
                _words(driver),
                NATURES[driver.nature],
                [_words(catalogue.by_name[f]) for f, weight in list(features.items())[:_LEADING] if weight > 0],
            )
            for driver, _, features in top
        ],
    }


def causes(model: RiskModel) -> dict[str, Any]:
    catalogue, lacking = model.catalogue, model.features_lacking.keys()
    rule = catalogue.rule

    def conditions(rows: tuple[Condition, ...]) -> list[dict[str, Any]]:
        return [
            {
                "words": _words(c),
                "driver": _words(catalogue.driver_by_name[c.driver]) if c.driver else None,
                "needed": c.needed,
                "lacking": [_words(f) for f in catalogue.features if f.name in c.when.columns & lacking],
            }
            for c in rows
        ]

    return {
        "verdicts": {name: Words(*words) for name, words in WORDS.items()},
        "clear": percent(rule.clear, 0),
        "enough": percent(rule.enough_share, 0),
        "margin": percent(rule.margin, 0),
        "signs": [_words(s) for s in catalogue.signs],
        "no_peers": model.peers is None,
        "blind_spots": [_words(c) for c in blind_spots(catalogue, lacking)],
        "proof": {
            **rule.evidence,
            "world": Words(rule.evidence.get("world", ""), WORLDS.get(rule.evidence.get("world", ""), "")),
            "bound": percent(rule.evidence.get("bound"), 0),
            "upper95": percent(rule.evidence.get("upper95"), 2),
            "right": [(Words(*WORDS[v]), percent(rule.right[v], 0)) for v in WORDS if v in rule.right],
        }
        if rule.evidence
        else None,
        "gates": conditions(catalogue.gates),
        "excuses": conditions(catalogue.excuses),
        "protected": conditions(catalogue.protected),
        "natures": [(NATURES[n], n, [_words(d) for d in catalogue.drivers if d.nature == n]) for n in NATURES],
        "behaviour": [_words(f) for f in _features(model) if catalogue.driver_by_name[f.driver].nature == "subjective"],
    }


def inputs(model: RiskModel) -> dict[str, Any]:
    catalogue, lacking = model.catalogue, model.features_lacking
    available = {f.name for f in catalogue.features if f.name not in lacking}
    used = _features(model)
    return {
        "groups": [
            (
                _words(d),
                NATURES[d.nature],
                [(f, _words(f), Words(f.unit, UNITS.get(f.unit, f.unit))) for f in used if f.driver == d.name],
            )
            for d in catalogue.drivers
        ],
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
    auc = _test_figures(model).get("roc_auc", {}).get("value")
    return {
        "too_good": auc if auc is not None and auc > _TOO_GOOD else None,
        "missing": _many_missing(model),
        "few_events": _FEW_EVENTS if model.evidence["data"][TEST]["events"] < _FEW_EVENTS else None,
        "lacking": len(model.features_lacking),
        "source": model.evidence["data"]["register"]["source"],
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
    return {
        "version": model.version,
        "champion": assessed.champion(model) if _tells(model) else None,
        "promotion": model.evidence.get("promotion"),
    }


SECTIONS: tuple[Section, ...] = (
    Section("purpose", Words("What it is for, and what it is not for", "用途与非用途"), purpose),
    Section("answer", Words("The answer on one page", "一页看懂"), answer),
    Section("data", Words("Data and population", "数据与对象"), data),
    Section("label", Words("What counts as a fall", "什么算返贫"), label),
    Section("folds", Words("How it was tested", "如何检验"), folds),
    Section("performance", Words("The model against simple rules", "模型与简单规则的比较"), performance),
    Section("calibration", Words("Are the risks right?", "风险值准不准"), calibration),
    Section("lists", Words("The lists at capacity", "名单效果"), assessed.lists),
    Section("groups", Words("Who it works less well for", "对哪些群体效果较差"), assessed.groups),
    Section("misses", Words("Where it misses", "遗漏在哪里"), assessed.misses),
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


def _leaks(model: RiskModel) -> dict[str, Any] | None:
    """How many leak gates passed, and in words those that did not; None for a model that was trained without them."""
    found = model.evidence.get("leak_gates")
    if not found:
        return None
    open_ = [f for f in found if f["verdict"] != "pass"]
    return {
        "passed": len({f["gate"] for f in found} - {f["gate"] for f in open_}),
        "open": [(Words(f["en"], f["zh"]), f["accepted"]) for f in open_],
    }


def _splits(model: RiskModel) -> list[str]:
    return list(model.evidence["results"].get(model.run.register_model, {}))


def _test_figures(model: RiskModel) -> Mapping[str, Figure]:
    """Figures of the registered model on the test."""
    return model.evidence["results"].get(model.run.register_model, {}).get(TEST, {})


def _rows_of_ten(model: RiskModel) -> int:
    """Rows that stand for ten households, in training or test, whichever is more."""
    return max(disclosure.rows_of_ten(model.evidence["data"][part]) for part in ("train", TEST))


def _kinds(model: RiskModel) -> dict[str, Mapping[str, Any]]:
    found = model.evidence["data"].get("fell_as", {})
    return {kind: found[kind] for kind in FALLS if kind in found}


def _missing_and_kinds(model: RiskModel) -> list[str]:
    """Rows without an outcome and rows of each kind, as printed: together they are all rows at risk."""
    kinds = (kind["rows"] for kind in _kinds(model).values())
    return disclosure.shown_together([model.evidence["data"]["missing_outcome"], *kinds], _rows_of_ten(model))


def _missing_share(model: RiskModel) -> float:
    facts = model.evidence["data"]
    return facts["missing_outcome"] / max(facts["at_risk"], 1)


def _many_missing(model: RiskModel) -> Words | None:
    """The share of rows without an outcome, if it is large; its lower bound where the count is withheld."""
    share, bound = _missing_share(model), percent(_MANY_MISSING, 0)
    if share <= _MANY_MISSING:
        return None
    if disclosure.withheld(_missing_and_kinds(model)[0]):
        return Words(f"More than {bound}", f"超过{bound}")
    return Words(percent(share, 0), percent(share, 0))


def _in_brackets(text: str) -> Words:
    return Words(f" ({text})", f"（{text}）") if text else Words("", "")


def _tells(model: RiskModel) -> bool:
    """Whether figures of the test give away no small group."""
    part = model.evidence["data"][TEST]
    return part["events"] > 0 and disclosure.tells(part["events"], part["rows"], disclosure.rows_of_ten(part))


def _listed_share(model: RiskModel, precision: Figure, recall: Figure, rate: float) -> float:
    """Share of those at risk that the lists hold: what a list drawn by chance finds of those who fall."""
    if model.run.capacity.share:
        return model.run.capacity.share
    return recall["value"] * rate / precision["value"] if precision["value"] else 0.0


def _part(part: Mapping[str, Any]) -> dict[str, str]:
    least = disclosure.rows_of_ten(part)
    rows, events = disclosure.shown(part["rows"], least), disclosure.shown(part["events"], least)
    households = disclosure.shown(part["households"])
    return {
        "rows": rows,
        "households": households,
        "events": events,
        "rate": _rate(part, least, rows, events),
    }


def _rate(part: Mapping[str, Any], least: int, *cells: str) -> str:
    """The rate, unless it or its neighbours give away a small group."""
    if not part["rows"] or any(map(disclosure.withheld, cells)):
        return disclosure.WITHHELD
    if not disclosure.tells(part["events"], part["rows"], least):
        return disclosure.WITHHELD
    return percent(part["events"] / part["rows"])
