"""What the commands do between reading their arguments and printing: open, compute, write at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from riskmodel.settings import Machine, Run

if TYPE_CHECKING:
    from riskmodel.alerts.history import ScoredMonth
    from riskmodel.cards.rendering import Words
    from riskmodel.monitoring.part import Found
    from riskmodel.monitoring.rules import Rules
    from riskmodel.register.postgres import Database
    from riskmodel.review.rules import ReviewRules

Step = Callable[[str], None]


def train_and_write(
    run: Run, register_path: Path, out: Path, step: Step, reason: str | None = None, say: Step | None = None
) -> Any:
    """Cohorts, study and results of a run; gives the `Study`. `say` is told beforehand what the training will need.

    `out` then holds `results.json` (model, split, metric: value, low, high), `study.json` (everything the card shows),
    `test_scores.parquet` and the model as a bundle in `model/`.
    """
    from riskmodel.model.tracking import checked_store
    from riskmodel.register import Register, checked_target, commit_directory
    from riskmodel.study import train

    checked_target(out, "study")
    checked_store(run.tracking)
    study = train(
        _cohorts_of(run, Register.open(register_path), step, say or (lambda _: None)), run, reason=reason, progress=step
    )

    def write(stage: Path) -> None:
        _json(stage / "results.json", study.results_json())
        _json(stage / "study.json", {**study.evidence, "tracking": study.tracking, "run": run.model_dump(mode="json")})
        study.scores.to_parquet(stage / "test_scores.parquet", index=False)
        study.model.save(stage / "model")

    commit_directory(out, write, kind="study", about={"run": run.name, "tracking": study.tracking})
    return study


def evaluate_run(
    run: Run,
    register_path: Path,
    horizons: Sequence[int],
    look: str | None,
    out: Path | None,
    step: Step,
    say: Step | None = None,
) -> dict[str, Any]:
    """The models of a run compared over time, for each horizon; `out` then holds `evaluation.json`. `say`: as for `train`.

    Only the folds inside the training months are looked at, unless `look` says why the test months are too. A horizon for
    which the register is too short holds `{"none": why}`; if all are, the first one's error is raised.
    """
    from riskmodel.errors import NotEnoughData
    from riskmodel.evaluation.leakage import leak_table
    from riskmodel.register import Register
    from riskmodel.study import compare_over_time

    _check_evaluation(out)
    register = Register.open(register_path)
    found: dict[str, dict[str, Any]] = {}
    faults = []
    for horizon in horizons or [run.label.horizon_months]:
        asked = run.model_copy(update={"label": run.label.model_copy(update={"horizon_months": horizon})})
        try:
            compared = compare_over_time(
                _cohorts_of(asked, register, step, say or (lambda _: None)), asked, look=look, progress=step
            )
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
    from riskmodel.model.tracking import checked_to_keep, keep_evaluation, load_model
    from riskmodel.register import Register
    from riskmodel.study import evaluate

    _check_evaluation(out)
    step("model")
    model = load_model(uri, tracking_uri)
    checked_to_keep(uri, tracking_uri)
    to_the_end = model.run.cohorts.model_copy(update={"last": None})  # which ended the months of the training, not these
    here = model.run.model_copy(update={"machine": Machine(), "cohorts": to_the_end})
    cohorts = _cohorts_of(here, Register.open(register_path), step, catalogue=model.catalogue)
    step("lists, fairness, misses")
    evaluation = {"model": uri, **evaluate(model, cohorts, look)}
    _keep_evaluation(evaluation, out)
    keep_evaluation(uri, evaluation, tracking_uri)
    return evaluation


def _cohorts_of(run: Run, register: Any, step: Step, say: Step | None = None, catalogue: Any = None) -> Any:
    """The cohorts of a run; with `say`, only if they fit into what the run may take."""
    from riskmodel.catalogue import load_catalogue
    from riskmodel.cohort.cohorts import build_cohorts
    from riskmodel.model.memory import refuse_what_does_not_fit

    folder = Path(run.machine.cohorts) if run.machine.cohorts else None

    def counted(labels: Any, features: Sequence[Any]) -> None:
        if say is not None:
            mapped = folder is not None
            need = refuse_what_does_not_fit(labels, features, run, register.step_months, mapped=mapped, folder=folder)
            say(f"Needed: {need}.")

    with register.read_whole():
        return build_cohorts(
            register,
            label=run.label,
            at_risk=run.at_risk,
            months=run.cohorts,
            catalogue=catalogue or load_catalogue(run.catalogue),
            workers=run.threads,
            progress=lambda county: step(f"features of {county}"),
            folder=folder,
            counted=counted,
        )


def _check_evaluation(out: Path | None) -> None:
    from riskmodel.register import checked_target

    if out is not None:
        checked_target(out, "evaluation")


def _keep_evaluation(evaluation: dict[str, Any], out: Path | None) -> None:
    from riskmodel.register import commit_directory

    if out is not None:
        commit_directory(out, lambda stage: _json(stage / "evaluation.json", evaluation), kind="evaluation", about={})


def score_and_write(
    register: Path | str,
    model_uri: str,
    as_of: str,
    out: Path,
    capacity: str | None,
    step: Step,
    *,
    tracking_uri: str | None = None,
    database: Database | None = None,
    schema: str = "riskmodel",
    engine: Literal["local", "spark"] = "local",
    master: str | None = None,
    **how: int,
) -> dict[str, Any]:
    """Scores and alerts of a month in `out`; gives the manifest. `how`: `workers` and `block` of `score_month`.

    With a database they are in its `schema` too, once the folder is committed; that it answers is seen first.
    """
    from riskmodel.processes import SCORING, get_ready, worth
    from riskmodel.register import Register, checked_target

    checked_target(out, "scores")
    if database is not None:
        step(f"reaching {database.label}")
        database.reach(schema)
    place = _engine(engine, master, str(register))
    here = Register.open(register) if engine == "local" else None
    if here is not None and worth(here, here.counties, how.get("workers", 2)) > 1:
        get_ready(SCORING)  # before this process imports what its workers import too

    from riskmodel.alerts.alerts import read_capacity
    from riskmodel.alerts.counties import score_month
    from riskmodel.cohort.cohorts import register_facts
    from riskmodel.model.tracking import load_model

    room = read_capacity(capacity)
    with place as (register_path, counties):
        opened = here or Register.open(register_path)
        step("model")
        model = load_model(model_uri, tracking_uri)
        asked = capacity if capacity is not None else model.run.capacity.model_dump(exclude_none=True)
        manifest = score_month(
            opened,
            model,
            as_of,
            out,
            inputs={"register": register_facts(opened), "model": model_uri, "capacity": asked},
            capacity=room,
            engine=counties,
            progress=lambda county, done, of: step(f"{done:,} of {of:,} counties"),
            **how,
        )
    if database is not None:
        from riskmodel.alerts.database import write_to_database

        step(f"writing to {database.label}")
        write_to_database(out, database, schema)
    return manifest


def _engine(engine: str, master: str | None, register: str) -> AbstractContextManager[tuple[Path, Any]]:
    """The register's folder on this machine, and where its counties are worked on (None: here)."""
    from riskmodel.errors import UsageError

    if engine == "spark":
        from riskmodel.alerts.spark import spark_engine

        return spark_engine(master or "local[*]", register)
    if master is not None:
        raise UsageError("--master names a Spark cluster: add --engine spark.")
    if "://" in register:
        raise UsageError(f"{register}: only --engine spark reads a register that is not a folder of this machine.")
    return nullcontext((Path(register), None))


def monitor_and_write(
    register_path: Path,
    as_of: str,
    out: Path,
    step: Step,
    *,
    alerts: Sequence[Path] = (),
    model_uri: str | None = None,
    rules: str | Rules | None = None,
    parts: Sequence[str] = (),
    before: Path | None = None,
    lang: Literal["en", "zh"] = "zh",
    pdf: Path | None = None,
    tracking_uri: str | None = None,
) -> dict[str, Any]:
    """The monitoring report of a month in `out`; gives the manifest.

    `out` then holds `bulletin.html`, for each part a folder of tables (Parquet, CSV) and a workbook, and `summary.json`.

    Parameters
    ----------
    rules
        Rules, or a file of them; by default those that are shipped.
    before
        An earlier report, against which the bulletin holds the totals of its lists.
    lang
        Language in which the bulletin opens.
    pdf
        File to print the bulletin to, in that language.
    """
    from riskmodel.monitoring.counties import get_ready
    from riskmodel.register import Register, commit_directory

    register = Register.open(register_path)
    get_ready(register)  # beside the imports of this process

    from riskmodel.cards.bulletin import bulletin, earlier_report
    from riskmodel.cards.printing import lacks_chinese_font, write_pdf
    from riskmodel.cohort.cohorts import register_facts
    from riskmodel.model.tracking import load_model
    from riskmodel.monitoring.part import Asked
    from riskmodel.monitoring.running import run_parts
    from riskmodel.monitoring.writing import write_part, write_summary
    from riskmodel.months import month_text

    asked = Asked.about(register, as_of, alerts=alerts, rules=rules, progress=step)
    if model_uri:
        asked = replace(asked, model=load_model(model_uri, tracking_uri))
    earlier = earlier_report(before, asked) if before else None
    about: dict[str, Any] = {
        "as_of": month_text(asked.as_of),
        "inputs": {
            "register": register_facts(register),
            "alerts": [str(s.folder) for s in asked.scored],
            "model": model_uri,
            "before": str(before) if before else None,
        },
        "rules": asked.rules.model_dump(mode="json"),
    }

    found: dict[str, Found] = {}

    def write(stage: Path) -> None:
        rows = asked.rules.workbook.sheet_rows
        with register.read_whole():
            found.update(run_parts(asked, parts, lambda name, part: write_part(stage, name, part, rows)))
        about["parts"] = {name: dict(part.figures) for name, part in found.items()}
        about["notes"] = {name: [en for en, _ in part.notes] for name, part in found.items()}
        write_summary(stage, about, found)
        (stage / "bulletin.html").write_text(bulletin(asked, found, earlier, lang), encoding="utf-8", newline="\n")

    manifest = commit_directory(out, write, kind="monitoring", about=about)
    if pdf:
        write_pdf(bulletin(asked, found, earlier, lang, no_font=lacks_chinese_font()), pdf)
    return manifest


@dataclass(frozen=True)
class Story:
    """One household's story: lines to print, drivers (name, nature, log-odds) by size, its picture, what changed.

    `changed` has the parts of the change since `since`, largest first, which add up to it: name, log-odds, new facts.
    """

    lines: list[str]
    drivers: list[tuple[str, str, float]]
    waterfall: Path
    since: str = ""
    changed: tuple[tuple[str, float, str], ...] = ()


def explain_household(
    folder: Path,
    household_id: str,
    lang: Literal["en", "zh"] = "en",
    *,
    since: str | None = None,
    register_path: Path | None = None,
    tracking_uri: str | None = None,
) -> Story:
    """The story of a household on the list; its waterfall is saved in `DIR/explain/`.

    Parameters
    ----------
    folder
        A folder of `riskmodel score`.
    since
        What changed since an earlier scored month: its folder, or its month (`YYYY-MM`) among the folders beside; needs
        `register_path`.
    register_path
        The register that both were scored from; without `since` the last month beside is taken.

    Raises
    ------
    UsageError
        If `since` is given without a register.
    NotFound
        If the household is not on the list, or there is no such month.
    """
    from riskmodel.alerts.month import read_alert
    from riskmodel.cards.charts import waterfall_svg
    from riskmodel.cards.rendering import ABSENT, percent
    from riskmodel.cards.wording import NATURES
    from riskmodel.catalogue import load_catalogue
    from riskmodel.display import file_name
    from riskmodel.errors import UsageError
    from riskmodel.explain.causes import verdict_words
    from riskmodel.register import commit_file

    if since and not register_path:
        raise UsageError("--since needs the register that the months were scored from: --register REGISTER.")
    found = read_alert(folder, household_id)
    alert = found["alert"]
    catalogue = load_catalogue()
    labels = {d.name: (d.en, d.zh) for d in catalogue.drivers}
    natures = {d.name: d.nature for d in catalogue.drivers}
    number = 0 if lang == "en" else 1
    picture = folder / "explain" / file_name((household_id, lang), ".svg")
    picture.parent.mkdir(exist_ok=True)
    title = f"{household_id}, {alert['as_of']}"
    drawn = waterfall_svg(found["base"], found["drivers"], labels, natures, lang, title)
    commit_file(picture, drawn.encode("utf-8"))
    said = {
        "en": ("household", "county", "as of", "risk", "rank", "verdict", "confidence"),
        "zh": ("户编号", "县", "月份", "风险", "排名", "原因判断", "把握"),
    }[lang]
    sure = alert["verdict_confidence"]
    values = (
        household_id, alert["county_id"], alert["as_of"], percent(alert["risk"], 0), alert["rank"],
        verdict_words(alert["verdict"])[number], percent(sure, 0) if sure else ABSENT,
    )  # fmt: skip
    lines = [f"{name:<12}{value}" for name, value in zip(said, values, strict=True)]
    lines += ["", alert[f"reason_{lang}"], ""]
    drivers = sorted(found["drivers"].items(), key=lambda item: -abs(item[1]))
    told = [(labels[d][number], NATURES[natures[d]][number], v) for d, v in drivers if abs(v) >= 0.005]
    if register_path is None:
        return Story(lines, told, picture)
    earlier, said, parts = _story_of_change(folder, household_id, labels, number, since, register_path, tracking_uri)
    return Story([*lines, *said], told, picture, earlier, parts)


def _story_of_change(
    folder: Path,
    household_id: str,
    labels: dict[str, tuple[str, str]],
    number: int,
    since: str | None,
    register_path: Path,
    tracking_uri: str | None,
) -> tuple[str, list[str], tuple[tuple[str, float, str], ...]]:
    """The earlier month, what to say of the change, and its parts, largest first."""
    from riskmodel.alerts.history import ScoredMonth, earlier_months, month_named, states
    from riskmodel.cards.alert_sheet import STATES, since_of
    from riskmodel.errors import NotFound

    month = ScoredMonth.open(folder)
    before = earlier_months(month)
    if since is None and not before:
        raise NotFound(f"no earlier scored month beside {folder}: name one with --since.")
    earlier = month_named(month, since) if since else before[-1]
    changes = _changes(month, earlier, register_path, tracking_uri, [household_id])
    state = states(month, before or [earlier])[list(month.alerts()["household_id"]).index(household_id)]
    line = since_of(changes, 0, labels)
    said = [(("change: ", "变化：")[number] + STATES[state][number]), line.line[number], ""]
    parts = tuple((w[number], v, f[number] if f else "") for w, v, f in line.all_parts if abs(v) >= 0.005)
    return earlier.as_of, said, parts


@dataclass(frozen=True)
class SheetsWritten:
    """What `write_sheets` wrote: alerts, files by kind, what it could not tell, households left out of the notice."""

    alerts: int
    pages: int
    workbooks: int
    earlier: list[str]
    unsaid: str
    left_out: int | None


def write_sheets(
    folder: Path,
    out: Path,
    *,
    level: Literal["county", "township", "village"] = "county",
    lang: Literal["en", "zh"] = "zh",
    earlier: Sequence[Path] = (),
    register_path: Path | None = None,
    decisions_at: str | None = None,
    notice: bool = False,
    tracking_uri: str | None = None,
    step: Step = lambda what: None,
) -> SheetsWritten:
    """Alert sheets of a scored month (a page a place) and workbooks for the review (one a county, one of all), at once.

    Parameters
    ----------
    folder
        A folder of `riskmodel score`.
    level
        A page for each county, township or village.
    earlier
        Scored months before it; those beside it by default.
    register_path
        The register it was scored from; with it the sheets say what changed since the last earlier month.
    decisions_at
        Decisions so far, shown in the workbooks; a decision made later than the workbook is then told as a conflict.
    notice
        Also write a public notice of the households that were confirmed.
    """
    from collections import defaultdict

    from riskmodel.alerts.history import ScoredMonth, earlier_months
    from riskmodel.cards.alert_sheet import notice_page, sheets_of, sheets_page
    from riskmodel.cards.workbook import write_workbook
    from riskmodel.catalogue import load_catalogue
    from riskmodel.display import file_name
    from riskmodel.errors import UsageError
    from riskmodel.register import checked_target, commit_directory
    from riskmodel.review.rules import load_rules

    checked_target(out, "sheets")
    if notice and decisions_at is None:
        raise UsageError("--public-notice lists what people confirmed: give their decisions with --decisions.")
    rules = load_rules()
    month = ScoredMonth.open(folder)
    before = earlier_months(month, earlier)
    changes, unsaid = _what_changed(month, before, register_path, tracking_uri, step)
    decided, confirmed = _decided(month, decisions_at, rules) if decisions_at is not None else ({}, [])
    step("sheets")
    sheets = sheets_of(month, load_catalogue(), before, changes, level)
    by_area, by_county = defaultdict(list), defaultdict(list)
    for sheet in sheets:
        by_area[sheet.area].append(sheet)
    ranked = sorted(sheets, key=lambda sheet: (sheet.key[0], sheet.rank))
    for sheet in ranked:
        by_county[sheet.key[0]].append(sheet)
    public = notice_page(month, confirmed, lang) if notice else None

    def write(stage: Path) -> None:
        for area, rows in by_area.items():
            page = sheets_page(rows, month, rules, lang, unsaid)
            (stage / file_name(area, ".html")).write_text(page, encoding="utf-8")
        step("workbooks")
        for county, rows in by_county.items():
            write_workbook(stage / file_name(["review", county], ".xlsx"), rows, rules, lang, decided, folder)
        if len(by_county) > 1:
            write_workbook(stage / "review.xlsx", ranked, rules, lang, decided, folder)
        if public is not None:
            (stage / "public_notice.html").write_text(public[0], encoding="utf-8")

    commit_directory(out, write, kind="sheets", about={"as_of": month.as_of, "level": level, "scores": str(folder)})
    return SheetsWritten(
        alerts=len(sheets),
        pages=len(by_area),
        workbooks=len(by_county) + (len(by_county) > 1),
        earlier=[other.as_of for other in before],
        unsaid=unsaid.en if unsaid else "",
        left_out=public[1] if public else None,
    )


def _what_changed(
    month: ScoredMonth, before: Sequence[ScoredMonth], register_path: Path | None, tracking_uri: str | None, step: Step
) -> tuple[Any, Words | None]:
    """What changed since the last month before, or why it cannot be said."""
    from riskmodel.cards.rendering import Words

    if not before:
        return None, Words(
            "No earlier scored month is at hand: it is not known who is new.", "没有往期评分，无法判断哪些户为新增。"
        )
    if register_path is None:
        return None, Words(
            "What changed is told where the register is given (--register).", "提供登记数据（--register）后可说明变化原因。"
        )
    step("what changed")
    return _changes(month, before[-1], register_path, tracking_uri), None


def _decided(
    month: ScoredMonth, decisions_at: str, rules: ReviewRules
) -> tuple[dict[tuple[str, str], dict[str, Any]], list[tuple[str, str]]]:
    """The last decision on each household of a month, and the households that people have confirmed for good."""
    from riskmodel.review.decisions import Decisions
    from riskmodel.review.standing import standing

    table = Decisions.open(decisions_at, create=False, rules=rules).table()
    table = table[table["as_of"] == month.as_of]
    decided = {(row["county_id"], row["household_id"]): row for row in table.to_dict("records")}
    held = standing(table)
    held = held[held["status"].isin(["decided", "agreed"]) & (held["appeal"] != "open")]
    held = held[held["last_action"].isin(["confirm", "override_cause"])]
    return decided, list(zip(held["county_id"], held["household_id"], strict=True))


def _changes(
    month: Any, earlier: Any, register_path: Path, tracking_uri: str | None, households: Sequence[str] | None = None
) -> Any:
    from riskmodel.alerts.change import changes_since
    from riskmodel.model.tracking import load_model
    from riskmodel.register import Register

    uris = [_version_uri(scored) for scored in (earlier, month)]
    loaded = {uri: load_model(uri, tracking_uri) for uri in dict.fromkeys(uris)}
    return changes_since(Register.open(register_path), month, earlier, tuple(loaded[uri] for uri in uris), households)


def _version_uri(scored: Any) -> str:
    """The version that a month was scored with, wherever an alias points now."""
    uri = scored.about["inputs"]["model"]
    return f"{uri.partition('@')[0]}/{scored.about['model_version']}" if uri.startswith("models:/") and "@" in uri else uri


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
