"""What the commands do between reading their arguments and printing: open, compute, write at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from riskmodel.settings import Run

if TYPE_CHECKING:
    from riskmodel.register.postgres import Database

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

    Only the folds inside the training months are looked at, unless `look` says why the test months are too. A horizon for
    which the register is too short holds `{"none": why}`; if all are, the first one's error is raised.
    """
    from riskmodel.errors import NotEnoughData
    from riskmodel.evaluation.leakage import leak_table
    from riskmodel.register import Register
    from riskmodel.study import compare_over_time

    register = Register.open(register_path)
    found: dict[str, dict[str, Any]] = {}
    faults = []
    for horizon in horizons or [run.label.horizon_months]:
        asked = run.model_copy(update={"label": run.label.model_copy(update={"horizon_months": horizon})})
        try:
            compared = compare_over_time(_cohorts_of(asked, register, step), asked, look=look, progress=step)
        except NotEnoughData as fault:
            found[str(horizon)] = {"none": str(fault)}
            faults.append(fault)
            continue
        found[str(horizon)] = {
            "folds": [f.describe() for f in compared.folds if f.name in compared.found],
            "results": {
                model: {split: {m: i.as_json() for m, i in figures.items()} for split, figures in splits.items()}
                for model, splits in compared.results.items()
            },
            **compared.evidence,
            "leak_gates": leak_table(compared.leaks).to_dict("records"),
            "looks": compared.looks,
        }
    if len(faults) == len(found):
        raise faults[0]
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
    database: Database | None = None,
    schema: str = "riskmodel",
    **how: int,
) -> dict[str, Any]:
    """Scores and alerts of a month in `out`; gives the manifest. `how`: `workers` and `block` of `score_month`.

    With a database they are in its `schema` too, once the folder is committed; that it answers is seen first.
    """
    from riskmodel.alerts.alerts import read_capacity
    from riskmodel.alerts.counties import score_month
    from riskmodel.cohort.cohorts import register_facts
    from riskmodel.model.tracking import load_model
    from riskmodel.register import Register

    if database is not None:
        step(f"reaching {database.label}")
        database.reach()
    room = read_capacity(capacity)
    facts = register_facts(Register.open(register_path))
    step("model")
    model = load_model(model_uri, tracking_uri)
    asked = capacity if capacity is not None else model.run.capacity.model_dump(exclude_none=True)
    manifest = score_month(
        register_path,
        model,
        as_of,
        out,
        inputs={"register": facts, "model": model_uri, "capacity": asked},
        capacity=room,
        progress=lambda county, done, of: step(f"{done:,} of {of:,} counties"),
        **how,
    )
    if database is not None:
        from riskmodel.alerts.database import write_to_database

        step(f"writing to {database.label}")
        write_to_database(out, database, schema)
    return manifest


def monitor_and_write(
    register_path: Path,
    as_of: str,
    out: Path,
    step: Step,
    *,
    alerts: Sequence[Path] = (),
    model_uri: str | None = None,
    rules: str | None = None,
    parts: Sequence[str] = (),
    tracking_uri: str | None = None,
) -> dict[str, Any]:
    """The monitoring report of a month in `out`; gives the manifest.

    `out` then holds, for each part, a folder of tables (Parquet, CSV) and a workbook, and `summary.json`.
    """
    from riskmodel.cohort.cohorts import period_within, register_facts
    from riskmodel.model.tracking import load_model
    from riskmodel.monitoring.part import Asked, scored_months
    from riskmodel.monitoring.rules import load_rules
    from riskmodel.monitoring.running import run_parts
    from riskmodel.monitoring.writing import write_part, write_summary
    from riskmodel.months import month_text
    from riskmodel.register import Register, commit_directory

    register = Register.open(register_path)
    month = period_within(register, as_of)
    asked = Asked(
        register=register,
        as_of=month,
        rules=load_rules(rules or "monitoring.yaml"),
        scored=scored_months(alerts, month),
        model=load_model(model_uri, tracking_uri) if model_uri else None,
        progress=step,
    )
    found = run_parts(asked, parts)
    about = {
        "as_of": month_text(month),
        "inputs": {
            "register": register_facts(register),
            "alerts": [str(s.folder) for s in asked.scored],
            "model": model_uri,
        },
        "rules": asked.rules.model_dump(mode="json"),
    }

    def write(stage: Path) -> None:
        for name, part in found.items():
            write_part(stage, name, part)
        write_summary(stage, about, found)

    about["parts"] = {name: dict(part.figures) for name, part in found.items()}
    return commit_directory(out, write, kind="monitoring", about=about)


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


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, default=str), encoding="utf-8")
