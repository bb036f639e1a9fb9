"""What the commands do between reading their arguments and printing: open, compute, write at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from riskmodel.settings import Run

Step = Callable[[str], None]


def train_and_write(run: Run, register_path: Path, out: Path, step: Step, reason: str | None = None) -> Any:
    """Cohorts, study and results of a run; gives the `Study`.

    `out` then holds `results.json` (model, split, metric: value, low, high), `study.json` (everything the card shows),
    `test_scores.parquet` and the model as a bundle in `model/`.
    """
    from riskmodel.register import Register, commit_directory
    from riskmodel.study import train

    study = train(_cohorts_of(run, Register.open(register_path), step), run, reason=reason, progress=step)

    def write(stage: Path) -> None:
        _json(stage / "results.json", study.results_json())
        _json(stage / "study.json", {**study.evidence, "tracking": study.tracking, "run": run.model_dump(mode="json")})
        study.scores.to_parquet(stage / "test_scores.parquet", index=False)
        study.model.save(stage / "model")

    commit_directory(out, write, kind="study", about={"run": run.name, "tracking": study.tracking})
    return study


def evaluate_run(
    run: Run, register_path: Path, horizons: Sequence[int], look: str | None, out: Path | None, step: Step
) -> dict[str, Any]:
    """The models of a run compared over time, for each horizon; `out` then holds `evaluation.json`.

    Only the folds inside the training months are looked at, unless `look` says why the test months are too.
    """
    from riskmodel.register import Register
    from riskmodel.study import compare_over_time

    register = Register.open(register_path)
    found = {}
    for horizon in horizons or [run.label.horizon_months]:
        asked = run.model_copy(update={"label": run.label.model_copy(update={"horizon_months": horizon})})
        compared = compare_over_time(_cohorts_of(asked, register, step), asked, look=look, progress=step)
        found[str(horizon)] = {
            "folds": [f.describe() for f in compared.folds if f.name in compared.found],
            "results": {
                model: {split: {m: i.as_json() for m, i in figures.items()} for split, figures in splits.items()}
                for model, splits in compared.results.items()
            },
            "looks": compared.looks,
        }
    evaluation = {"run": run.model_dump(mode="json"), "horizons": found}
    _keep_evaluation(evaluation, out)
    return evaluation


def evaluate_model(
    uri: str, register_path: Path, look: str | None, out: Path | None, tracking_uri: str | None, step: Step
) -> dict[str, Any]:
    """A model on what it has not seen; the look is recorded, and kept with the model where a registry holds it."""
    from riskmodel.model.tracking import keep_evaluation, load_model
    from riskmodel.register import Register
    from riskmodel.study import evaluate

    step("model")
    model = load_model(uri, tracking_uri)
    cohorts = _cohorts_of(model.run, Register.open(register_path), step, model.catalogue)
    step("lists, fairness, misses")
    evaluation = {"model": uri, **evaluate(model, cohorts, look)}
    _keep_evaluation(evaluation, out)
    keep_evaluation(uri, evaluation, tracking_uri)
    return evaluation


def _cohorts_of(run: Run, register: Any, step: Step, catalogue: Any = None) -> Any:
    from riskmodel.catalogue import load_catalogue
    from riskmodel.cohort.cohorts import build_cohorts

    return build_cohorts(
        register,
        label=run.label,
        at_risk=run.at_risk,
        months=run.cohorts,
        catalogue=catalogue or load_catalogue(run.catalogue),
        workers=run.threads,
        progress=lambda county: step(f"features of {county}"),
    )


def _keep_evaluation(evaluation: dict[str, Any], out: Path | None) -> None:
    from riskmodel.register import commit_directory

    if out is not None:
        commit_directory(out, lambda stage: _json(stage / "evaluation.json", evaluation), kind="evaluation", about={})


def score_and_write(
    register_path: Path,
    model_uri: str,
    as_of: str,
    out: Path,
    capacity: str | None,
    step: Step,
    *,
    tracking_uri: str | None = None,
    **how: int,
) -> dict[str, Any]:
    """Scores and alerts of a month in `out`; gives the manifest. `how`: `workers` and `block` of `score_month`."""
    from riskmodel.alerts.alerts import read_capacity
    from riskmodel.alerts.counties import score_month
    from riskmodel.cohort.cohorts import register_facts
    from riskmodel.model.tracking import load_model
    from riskmodel.register import Register

    room = read_capacity(capacity)
    facts = register_facts(Register.open(register_path))
    step("model")
    model = load_model(model_uri, tracking_uri)
    asked = capacity if capacity is not None else model.run.capacity.model_dump(exclude_none=True)
    return score_month(
        register_path,
        model,
        as_of,
        out,
        inputs={"register": facts, "model": model_uri, "capacity": asked},
        capacity=room,
        progress=lambda county, done, of: step(f"{done:,} of {of:,} counties"),
        **how,
    )


@dataclass(frozen=True)
class Story:
    """One household's story: lines to print, drivers (name, nature, log-odds) by size, and its picture."""

    lines: list[str]
    drivers: list[tuple[str, str, float]]
    waterfall: Path


def explain_household(folder: Path, household_id: str, lang: Literal["en", "zh"] = "en") -> Story:
    """The story of a household on the list; its waterfall is saved in `DIR/explain/`."""
    from riskmodel.alerts.month import read_alert
    from riskmodel.cards.charts import waterfall_svg
    from riskmodel.catalogue import load_catalogue
    from riskmodel.explain.causes import verdict_words
    from riskmodel.register import commit_file

    found = read_alert(folder, household_id)
    alert = found["alert"]
    catalogue = load_catalogue()
    labels = {d.name: (d.en, d.zh) for d in catalogue.drivers}
    natures = {d.name: d.nature for d in catalogue.drivers}
    number = 0 if lang == "en" else 1
    picture = folder / "explain" / f"{household_id}_{lang}.svg"
    picture.parent.mkdir(exist_ok=True)
    title = f"{household_id}, {alert['as_of']}"
    drawn = waterfall_svg(found["base"], found["drivers"], labels, natures, lang, title)
    commit_file(picture, drawn.encode("utf-8"))
    said = {
        "en": ("household", "county", "as of", "risk", "rank", "verdict", "confidence"),
        "zh": ("户编号", "县", "月份", "风险", "排名", "原因判断", "把握"),
    }[lang]
    values = (
        household_id, alert["county_id"], alert["as_of"], f"{alert['risk']:.0%}", alert["rank"],
        verdict_words(alert["verdict"])[number], f"{alert['verdict_confidence']:.0%}",
    )  # fmt: skip
    lines = [f"{name:<12}{value}" for name, value in zip(said, values, strict=True)]
    lines += ["", alert[f"reason_{lang}"], ""]
    drivers = sorted(found["drivers"].items(), key=lambda item: -abs(item[1]))
    return Story(lines, [(labels[d][number], natures[d], v) for d, v in drivers if abs(v) >= 0.005], picture)


def report_review(
    decisions: str, register_path: Path | None, model_uri: str, out: Path | None, tracking_uri: str | None = None
) -> dict[str, Any]:
    """Human oversight so far (`review/outcomes.py`); `out` then holds it as JSON. The chain is checked first."""
    from riskmodel.model.tracking import load_model
    from riskmodel.register import Register, commit_file
    from riskmodel.review.decisions import Decisions
    from riskmodel.review.outcomes import outcomes_of, oversight

    store = Decisions.open(decisions, create=False)
    store.verify()
    table, outcomes = store.table(), None
    if register_path is not None:
        run = load_model(model_uri, tracking_uri).run
        outcomes = outcomes_of(Register.open(register_path), table, run.label, run.at_risk)
    found = oversight(table, store.rules, outcomes)
    if out is not None:
        commit_file(out, json.dumps(found, ensure_ascii=False, indent=1).encode("utf-8"))
    return found


def set_thresholds(
    folders: Sequence[Path], decisions: str, model_uri: str | None, out: Path | None, tracking_uri: str | None = None
) -> tuple[float | None, list[dict[str, Any]], float]:
    """The margin that adjudicated cases allow (None: none), a row per margin tested, and the margin of the model.

    `out` then holds the rule as a `verdict.yaml`, where there is one.
    """
    from riskmodel.model.tracking import load_model
    from riskmodel.register import commit_file, read_manifest
    from riskmodel.review.decisions import Decisions
    from riskmodel.review.thresholds import adjudicated_cases, rule_text, set_margin

    store = Decisions.open(decisions, create=False)
    store.verify()
    uri = model_uri or read_manifest(folders[0], kind="scores")["about"]["inputs"]["model"]
    model, asked = load_model(uri, tracking_uri), store.rules.adjudication
    cases = adjudicated_cases(folders, store.table(), asked.reviewers, model.version)
    rule, tested = set_margin(model, cases, asked)
    if rule is not None and out is not None:
        commit_file(out, rule_text(rule).encode("utf-8"))
    return None if rule is None else rule.margin, tested, model.catalogue.rule.margin


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, default=str), encoding="utf-8")
