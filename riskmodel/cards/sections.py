"""What each section of the model card shows, taken out of the model. The words stand in its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from riskmodel.cards import assessed
from riskmodel.cards.charts import (
    DriverBar,
    LiftBar,
    Series,
    Swarm,
    beeswarm_svg,
    calibration_svg,
    driver_bars_svg,
    icon_array_svg,
    lift_svg,
    over_time_svg,
)
from riskmodel.cards.comparison import Comparison, Figure, compare
from riskmodel.cards.drift import drift
from riskmodel.cards.oversight import oversight
from riskmodel.cards.rendering import Words, percent
from riskmodel.cards.tables import against, results_table, tied_lists
from riskmodel.cards.wording import (
    DRAWN,
    FALLS,
    FEWEST_FALLS,
    HARDLY_ANYBODY_FELL,
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
from riskmodel.cohort.standing import SUDDEN_MONTHS, SUDDEN_SHARE
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
_SWARMS = 8
_LEADING = 4
_TOO_GOOD = 0.9
_MANY_MISSING = 0.05
_FEW_EVENTS = 100


@dataclass(frozen=True)
class Section:
    """One section: `name` is its anchor and template, `facts` fills it; None: it is filled from all the others."""

    name: str
    title: Words
    facts: Callable[[RiskModel], dict[str, Any]] | None


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
        "not_helped": assessed.precision_without_help(model),
        "unknown": assessed.unknown(model),
        "with_floors": assessed.with_floors(model),
        "drawn": DRAWN[model.evidence.get("drawn", "household_id")],
        "pictures": [icon_array_svg(share, title) for share, title in pictures],
    }


def data(model: RiskModel) -> dict[str, Any]:
    facts = model.evidence["data"]
    least = _rows_of_ten(model)
    kinds = _kinds(model)
    missing, *rows = _missing_and_kinds(model)
    mark = disclosure.small_mark(model.run.smallest_cell)
    events = disclosure.shown_together([k["events"] for k in kinds.values()], least, mark)
    return {
        "register": facts["register"],
        "step": step_words(facts["register"]["step_months"]),
        "counties": counties_words(facts["register"]["counties"]),
        "lag": lag_words(facts["register"].get("reporting_lag_days") or 0),
        "months": facts["months"],
        "at_risk": disclosure.shown(facts["at_risk"], least, mark),
        "missing": missing,
        "missing_share": _in_brackets("" if disclosure.withheld(missing) else percent(_missing_share(model))),
        "parts": [(name, _part(model, name)) for name in ("train", TEST)],
        "kinds": [
            {"words": FALLS[kind], "rows": n, "events": fell, "rate": _rate(k, least, n, fell)}
            for (kind, k), n, fell in zip(kinds.items(), rows, events, strict=True)
        ],
        "rows_in": facts["register"].get("rows_in"),
        "quarantined": _quarantined(facts["register"], least, mark),
        "who": model.run.at_risk,
        "sampling": _sampling(model),
        "cell": model.run.smallest_cell,
        "small": mark,
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
    }


def leaks(model: RiskModel) -> dict[str, Any]:
    return {"leaks": _leaks(model), "looks": assessed.looks(model)}


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
        "lift": _lift(model) if told else "",
        "over_time": _over_time(model, simple) if told else "",
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
        "drawn": DRAWN[model.evidence.get("drawn", "household_id")],
        "office_ratio": OFFICE_RATIO,
        "office_months": OFFICE_MONTHS,
        "earlier": [split_words(split) for split in earlier],
        "compact": [METRICS[metric].name for metric in compact],
        "earlier_rows": results_table(results, earlier, compact, chosen, hidden),
    }


def calibration(model: RiskModel) -> dict[str, Any]:
    curve = model.evidence.get("curve") or []
    bins = disclosure.merged_bins(curve, _rows_of_ten_in(model, TEST))
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
        "cell": model.run.smallest_cell,
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
        "swarm": _swarm(model),
        "cell": model.run.smallest_cell,
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
        "reviewed": bool(oversight(model).get("false_subjective")),
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
    events = model.evidence["data"][TEST]["events"]
    return {
        "too_good": auc if auc is not None and auc > _TOO_GOOD else None,
        "missing": _many_missing(model),
        "few_events": _FEW_EVENTS if events < _FEW_EVENTS else None,
        "hardly_anybody_fell": HARDLY_ANYBODY_FELL if events < FEWEST_FALLS else None,
        "lacking": len(model.features_lacking),
        "source": model.evidence["data"]["register"]["source"],
        "not_done": [words for words, done in _open_tasks(model) if not done],
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
        "machine": model.evidence.get("machine"),
        "tuned": "tuning" in model.evidence,
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
    Section("drift", Words("Drift since the training", "训练以来的变化"), drift),
    Section("leaks", Words("Leak gates, and looks at the test months", "泄漏检查与检验期查看记录"), leaks),
    Section("inputs", Words("Inputs, and what the register lacks", "输入指标与缺失指标"), inputs),
    Section("limits", Words("Limits", "局限"), limits),
    Section("oversight", Words("Human oversight and overrides so far", "人工监督与迄今的更改"), oversight),
    Section("reproduce", Words("Versions, and how to reproduce", "版本与复现"), reproduce),
    Section("checklists", Words("Checklists", "核对清单"), None),
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


def _open_tasks(model: RiskModel) -> list[tuple[Words, bool]]:
    """What a card should hold, and whether this one does."""
    fairness = (model.evidence.get("assessment") or {}).get("fairness") or {"none": ""}
    known = (model.evidence.get("oversight") or {}).get("adjudicated") or {}
    behaviour = {d.name for d in model.catalogue.drivers if d.nature == "subjective"}
    return [
        (Words("figures by group of households;", "分群体的检验；"), "none" not in fairness),
        (
            Words("an evaluation on months after the training;", "用训练之后的月份再次检验；"),
            bool(model.evidence.get("later")),
        ),
        (Words("the distribution of the inputs, then and now;", "输入指标分布的前后比较；"), False),
        (
            Words("validation of the cause verdicts on adjudicated cases;", "在已认定案例上验证原因判断；"),
            bool(known.get("alerts")),
        ),
        (
            Words("the same figures without behaviour among the inputs;", "去掉行为指标后的同样检验；"),
            not any(f.driver in behaviour for f in _features(model)),
        ),
        (
            Words("overrides and decisions of reviewers so far.", "审核人员迄今的更正与决定。"),
            bool(model.evidence.get("oversight")),
        ),
    ]


def _quarantined(register: Mapping[str, Any], least: int, mark: str) -> str | None:
    """Rows refused at intake, of a register that tells."""
    return disclosure.shown(register["quarantined"], least, mark) if register.get("rows_in") else None


def _lift(model: RiskModel) -> str:
    """Lift of every model but the base rate at the same list length, the best first."""
    rate = model.evidence["data"][TEST]["rate"]
    bars = []
    for name, words in MODELS.items():
        figure = model.evidence["results"].get(name, {}).get(TEST, {}).get("precision_at_capacity")
        if name != "base_rate" and figure and None not in figure.values():
            value, low, high = (figure[part] / rate for part in ("value", "low", "high"))
            bars.append(LiftBar(words, value, low, high, name == model.run.register_model))
    return lift_svg(sorted(bars, key=lambda bar: -bar.value)) if bars else ""


def _over_time(model: RiskModel, simple: Comparison | None) -> str:
    """Recall of the model, and of the simple rule that does best on the test, fold by fold."""
    folds = [(fold["test_from"], fold["fold"]) for fold in model.evidence["folds"]]
    names = [model.run.register_model, *([simple.rival] if simple else [])]
    lines = [
        Series(
            _model_words(name),
            [model.evidence["results"][name].get(fold, {}).get("recall_at_capacity") for _, fold in folds],
        )
        for name in names
    ]
    if sum(figure is not None for figure in lines[0].figures) < 2:
        return ""
    return over_time_svg([month for month, _ in folds], lines, Words("found, of 100 who fall", "每100户返贫户发现"))


def _swarm(model: RiskModel) -> str:
    """The beeswarm of the strongest drivers, of those points alone that stand for enough households."""
    swarms = []
    for row in model.evidence.get("drivers") or []:
        points = [p for p in row.get("spread", ()) if p["households"] >= model.run.smallest_cell]
        if row["log_odds"] > 0 and points:
            driver = model.catalogue.driver_by_name[row["driver"]]
            swarms.append(Swarm(_words(driver), driver.nature, points))
    return beeswarm_svg(swarms[:_SWARMS]) if swarms else ""


def _splits(model: RiskModel) -> list[str]:
    return list(model.evidence["results"].get(model.run.register_model, {}))


def _test_figures(model: RiskModel) -> Mapping[str, Figure]:
    """Figures of the registered model on the test."""
    return model.evidence["results"].get(model.run.register_model, {}).get(TEST, {})


def _rows_of_ten(model: RiskModel) -> int:
    """Rows that stand for ten households, in training or test, whichever is more."""
    return max(_rows_of_ten_in(model, part) for part in ("train", TEST))


def _rows_of_ten_in(model: RiskModel, part: str) -> int:
    return disclosure.rows_of_ten(model.evidence["data"][part], model.run.smallest_cell)


def _sampling(model: RiskModel) -> dict[str, str] | None:
    """How the final fit was sampled, where it was; without counts, from which a withheld cell could be worked out."""
    drawn = model.evidence.get("sampling")
    if drawn is None:
        return None
    wanted = model.run.sampling.others_per_fall
    return {"wanted": f"{wanted:g}", "share": percent(drawn["others"] / drawn["others_of"])}


def _kinds(model: RiskModel) -> dict[str, Mapping[str, Any]]:
    found = model.evidence["data"].get("fell_as", {})
    return {kind: found[kind] for kind in FALLS if kind in found}


def _missing_and_kinds(model: RiskModel) -> list[str]:
    """Rows without an outcome and rows of each kind, as printed: together they are all rows at risk."""
    kinds = (kind["rows"] for kind in _kinds(model).values())
    mark = disclosure.small_mark(model.run.smallest_cell)
    return disclosure.shown_together([model.evidence["data"]["missing_outcome"], *kinds], _rows_of_ten(model), mark)


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
    return part["events"] > 0 and disclosure.tells(part["events"], part["rows"], _rows_of_ten_in(model, TEST))


def _listed_share(model: RiskModel, precision: Figure, recall: Figure, rate: float) -> float:
    """Share of those at risk that the lists hold: what a list drawn by chance finds of those who fall."""
    if model.run.capacity.share:
        return model.run.capacity.share
    return recall["value"] * rate / precision["value"] if precision["value"] else 0.0


def _part(model: RiskModel, name: str) -> dict[str, str]:
    part, ten, least = model.evidence["data"][name], model.run.smallest_cell, _rows_of_ten_in(model, name)
    mark = disclosure.small_mark(ten)
    rows, events = (disclosure.shown(part[column], least, mark) for column in ("rows", "events"))
    households = disclosure.shown(part["households"], ten, mark)
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
