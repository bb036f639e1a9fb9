"""The command line. Heavy imports stand inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from riskmodel.errors import TOLD_OF_MEMORY, RiskmodelError, TooLarge, lacks_memory, refused_by_disk, told_of_disk
from riskmodel.stopping import end_after, exit_code, stop_when_told

if TYPE_CHECKING:
    from riskmodel.register import IntakeReport
    from riskmodel.register.proposal import Proposal
    from riskmodel.study import Study

app = typer.Typer(
    name="riskmodel",
    help="Which households are likely to return to poverty, why, and whether help worked: month by month.",
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 data break the contract, 4 not found, 5 catalogue refused, "
    "6 hash mismatch, 7 not enough data, 8 leak found, 9 worker lost, 10 database, 11 too large, 12 conflict, "
    "13 decision refused, 14 drift, 15 disk, 16 machine, 130 Ctrl-C, 143 SIGTERM.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    add_completion=False,
)


Option, Argument = partial(typer.Option, readable=False), partial(typer.Argument, readable=False)
"""What a command is given. Whether a file may be read shows where it is opened, and has an exit code of its own."""


class Engine(StrEnum):
    """Where counties are worked on."""

    local = "local"
    spark = "spark"


class Language(StrEnum):
    """Languages of what people read."""

    en = "en"
    zh = "zh"


class Area(StrEnum):
    """Places that a page of alert sheets is made for."""

    county = "county"
    township = "township"
    village = "village"


Out = Annotated[Path, Option("--out", help="Folder to write.")]
TrackingUri = Annotated[
    str | None,
    Option("--tracking-uri", help="MLflow store; default $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."),
]


def main() -> None:
    """Entry point: errors that were raised on purpose become one sentence and an exit code."""
    stop_when_told()
    end_after(_run)


def _run() -> None:
    try:
        app()
    except Exception as fault:
        if (code := exit_code()) is not None:
            sys.exit(code)
        if isinstance(fault, RiskmodelError):
            typer.echo(f"error: {fault}", err=True)
            sys.exit(fault.exit_code)
        if disk := refused_by_disk(fault):
            typer.echo(f"error: {told_of_disk(disk)}", err=True)
            sys.exit(_DISK_REFUSES)
        if lacks_memory(fault):
            typer.echo(f"error: {TOLD_OF_MEMORY}", err=True)
            sys.exit(TooLarge.exit_code)
        raise


_DISK_REFUSES = 15


@contextmanager
def _progress(title: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr; the function given advances it and says what is being done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=not console.is_terminal, disable=None) as bar:
        task = bar.add_task(title, total=total)

        def step(what: str = "") -> None:
            bar.update(task, description=f"{title}: {what}" if what else title, advance=1)

        yield step
        bar.update(task, description=title, total=total or 1, completed=total or 1)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=max(console.width, 118) if not console.is_terminal else None).print(table)


@app.command()
def demo(
    out: Out = Path("riskmodel-demo"),
    households: Annotated[int, Option(min=200, help="Households to simulate.")] = 5000,
    months: Annotated[int, Option(min=24, help="Months to simulate.")] = 36,
    seed: Annotated[int, Option(help="Seed of the simulation.")] = 1,
) -> None:
    """Run everything on a simulated county. That is all commands from simulate to card, sheets and monitor."""
    from riskmodel.demo import run_demo

    with _progress("demo") as step:
        found = run_demo(out, households, months, seed, step)
    _print_study(found.study)
    _table(
        f"{found.as_of}: first alerts of {len(found.alerts)}",
        ["household", "risk", "driver", "verdict", "measures"],
        [
            [a.household_id, f"{a.risk:.0%}", a.driver_1, a.verdict, a.measures.replace("; ", "\n")]
            for a in found.alerts.head(5).itertuples()
        ],
    )
    typer.echo("\nOpen:")
    for what, path in found.paths.items():
        typer.echo(f"  {what:<12} {path}")


@app.command()
def simulate(
    out: Annotated[Path, Argument(help="Folder for the source tables.")],
    world: Annotated[str, Option(help="easy or hard.")] = "easy",
    households: Annotated[int, Option(min=50, help="Households.")] = 5000,
    months: Annotated[int, Option(min=13, help="Months.")] = 36,
    seed: Annotated[int, Option(help="Seed.")] = 0,
    low_effort: Annotated[
        float | None,
        Option(min=0, max=0.5, help="Share of able households ever in an episode of low effort; 0.1 in both worlds."),
    ] = None,
) -> None:
    """Write the source tables of a simulated county. The truth lies apart from them (truth.parquet)."""
    from riskmodel.simulation import simulate as run

    with _progress("simulating"):
        rows = run(out, world=world, households=households, months=months, seed=seed, low_effort=low_effort)
    _table(f"{out}", ["table", "rows"], [[name, f"{count:,}"] for name, count in rows.items()])


@app.command()
def init(
    folder: Annotated[Path, Argument(metavar="DIR", help="Folder to write source.yaml in.")],
    files: Annotated[list[Path], Option("--from", help="A county's own file, or a folder; may be given several times.")],
) -> None:
    """Propose a source mapping for a county's files, and try it. Columns are told by their names."""
    from riskmodel.register.proposal import propose_source

    with _progress("init"):
        proposal = propose_source(files, folder)
    _print_proposal(proposal)


@app.command()
def ingest(
    source: Annotated[str, Argument(help="Source mapping, such as configs/sources/simulated.yaml.")],
    out: Annotated[Path, Option("--out", help="Register to write.")],
    data: Annotated[
        str | None,
        Option(help="Data folder or file, or postgresql://... or env:NAME; default: beside the mapping."),
    ] = None,
) -> None:
    """Check a county's data and keep them by county. What breaks the contract is quarantined, with reasons."""
    from riskmodel.register import ingest as run
    from riskmodel.settings import find_config

    with _progress("ingest") as step:
        report = run(find_config(source), data, out, progress=lambda what, done, total: step(what))
    _print_intake(report, out)


@app.command()
def train(
    run_file: Annotated[str, Argument(metavar="RUN.yaml", help="Settings, such as configs/runs/default.yaml.")],
    register: Annotated[Path, Option(help="Register from `riskmodel ingest`.")],
    out: Annotated[Path | None, Option("--out", help="Results; default results/<run name>.")] = None,
    tracking_uri: TrackingUri = None,
    reason: Annotated[str | None, Option(help="Why the test months are looked at; kept in the ledger.")] = None,
) -> None:
    """Fit and compare models, and register one as challenger. They are compared in time, beside baselines."""
    from riskmodel.results import train_and_write
    from riskmodel.settings import load_run

    run = load_run(run_file)
    if tracking_uri:
        run = run.model_copy(update={"tracking": run.tracking.model_copy(update={"uri": tracking_uri})})
    folder = out or Path("results") / run.name
    with _progress(f"train {run.name}") as step:
        study = train_and_write(run, register, folder, step, reason, _say)
    _print_study(study)
    _print_assessment(study.evidence["assessment"])
    _print_looks(study.evidence["looks"])
    _print_champion(study.evidence["champion"])
    typer.echo(f"\nRegistered {study.tracking['model_uri']} as challenger in {study.tracking['uri']}.")
    typer.echo(f"Results: {folder / 'results.json'}; model: {folder / 'model'}.")
    typer.echo(f"Next: riskmodel promote {study.tracking['version']}")


@app.command()
def evaluate(
    what: Annotated[
        str, Argument(metavar="RUN_OR_MODEL", help="A run file (RUN.yaml), or MLflow URI or folder of a model.")
    ],
    register: Annotated[Path, Option(help="Register from `riskmodel ingest`.")],
    horizons: Annotated[
        str | None, Option(help="Of a run: horizons in months to compare, such as 3,6,12.", metavar="M,M,...")
    ] = None,
    look: Annotated[
        str | None,
        Option(help="Why the test months are looked at too; kept in the ledger. A run without it shows folds only."),
    ] = None,
    out: Annotated[Path | None, Option("--out", help="Folder for evaluation.json.")] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Compare a run's models over time, or judge a model. A model is judged on months or counties that it has not seen."""
    from riskmodel.results import evaluate_model, evaluate_run
    from riskmodel.settings import load_run

    with _progress("evaluate") as step:
        if not what.endswith((".yaml", ".yml")):
            found = evaluate_model(what, register, look, out, tracking_uri, step)
        else:
            found = evaluate_run(load_run(what), register, _months(horizons), look, out, step, _say)
    if "horizons" in found:
        for horizon, compared in found["horizons"].items():
            _print_folds(horizon, compared)
    else:
        _print_metrics(f"version {found['version']} on {_span(found['assessment']['months'])}", found["metrics"])
        _print_assessment(found["assessment"])
        _print_looks(found["looks"])
    if out:
        typer.echo(f"\n{out / 'evaluation.json'}")


@app.command()
def promote(
    version: Annotated[str, Argument(help="Version number, or challenger.")],
    reason: Annotated[
        str | None, Option(help="Why, where the version was not found better; it is stored with the version.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Make a version the champion. It has to be better at capacity than the one before, or there is a reason."""
    from riskmodel.model.tracking import promote as run
    from riskmodel.settings import Tracking

    done = run(version, reason, Tracking(uri=tracking_uri))
    typer.echo(f"champion: {done.before or 'none'} -> {done.now}; {done.standing}.")


@app.command()
def score(
    register: Annotated[
        str, Argument(help="Register from `riskmodel ingest`; for Spark also hdfs://..., s3a://..., file:///...")
    ],
    as_of: Annotated[str, Option(help="Month, YYYY-MM; what was known on its last day counts.")],
    out: Out,
    model: Annotated[str, Option(help="MLflow URI or folder of a model.")] = "models:/return-risk@champion",
    capacity: Annotated[
        str | None, Option(help="Visits per county: a number, a share such as 5%, or a file of county_id and capacity.")
    ] = None,
    engine: Annotated[Engine, Option(help="Processes of this machine, or a Spark cluster.")] = Engine.local,
    master: Annotated[
        str | None, Option(help="Spark master, such as spark://HOST:7077 or yarn; local[*] by default.")
    ] = None,
    workers: Annotated[int, Option(min=1, help="Counties worked on at once on this machine.")] = 2,
    block: Annotated[
        int, Option(min=1, help="Households of a county in memory at once; it changes memory, and no figure.")
    ] = 20_000,
    to: Annotated[
        str | None,
        Option(help="Write the month to PostgreSQL too: postgresql://..., or env:NAME for a variable that holds it."),
    ] = None,
    schema: Annotated[str, Option(help="Schema in that database.")] = "riskmodel",
    tracking_uri: TrackingUri = None,
) -> None:
    """Score a month and write its alerts. They come with drivers, causes and measures."""
    from riskmodel.register.postgres import Database
    from riskmodel.results import score_and_write

    database = Database.named(to) if to else None
    with _progress("score") as step:
        manifest = score_and_write(
            register, model, as_of, out, capacity, step,
            tracking_uri=tracking_uri, database=database, schema=schema, engine=engine.value, master=master,
            workers=workers, block=block,
        )  # fmt: skip
    about = manifest["about"]
    counts = about["counts"]
    verdicts = ", ".join(f"{n} {v}" for v, n in counts["verdicts"].items())
    of_them = f" ({verdicts})" if verdicts else ""
    typer.echo(f"{about['as_of']}: {counts['scored']:,} households scored, {counts['alerts']:,} alerts{of_them}.")
    if counts["by_hand"]:
        typer.echo(f"{counts['by_hand']:,} opted out of automated ranking: by_hand.parquet.")
    if lowered := about["floors_lowered"]:
        some = ", ".join(county["county_id"] for county in lowered[:5]) + (" ..." if len(lowered) > 5 else "")
        typer.echo(
            f"warning: {len(lowered):,} of the counties have fewer visits than their floors need, which are lowered there: "
            f"{some} (floors_lowered in manifest.json)."
        )
    for caution in _cautions(about):
        typer.echo(f"warning: {caution}")
    if about["missing_drivers"]:
        typer.echo(f"Drivers without columns in this register: {', '.join(about['missing_drivers'])}.")
    if database:
        typer.echo(f"In {database.label}, schema {schema}: scores, alerts, drivers, by_hand.")
    if counts["alerts"]:
        typer.echo(f"Open {out / 'alerts.xlsx'}, or: riskmodel explain {out} --household ID")


def _cautions(about: dict[str, Any]) -> Iterator[str]:
    """In what the register is another than the one that the model was trained on."""
    before = "Judge the model on this register first: riskmodel evaluate MODEL --register REGISTER."
    if missing := about["missing_inputs"]:
        yield (
            f"{len(missing):,} of the model's {about['inputs_of_model']:,} inputs cannot be computed from this register and "
            f"count as unknown of everybody (missing_inputs in manifest.json): {', '.join(missing[:5])}"
            f"{' ...' if len(missing) > 5 else ''}. {before}"
        )
    step, trained = about["inputs"]["register"]["step_months"], about["trained_step_months"]
    if trained not in (None, step):
        yield (
            f"the model was trained on periods of {trained} month(s), and this register has periods of {step}: counts of "
            f"records and spans of time mean another thing. {before}"
        )


@app.command()
def explain(
    folder: Annotated[Path, Argument(metavar="DIR", help="Folder from `riskmodel score`.")],
    household: Annotated[str, Option(help="Household id.")],
    lang: Annotated[Language, Option(help="Language.")] = Language.en,
    since: Annotated[
        str | None,
        Option(help="Earlier month, YYYY-MM or a folder; default: the last beside DIR.", show_default=False),
    ] = None,
    register: Annotated[
        Path | None, Option(help="Register that both were scored from: tells what changed.", show_default=False)
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Print one household's story and save its waterfall. With --register also what changed since an earlier month."""
    from riskmodel.results import explain_household

    story = explain_household(folder, household, lang.value, since=since, register_path=register, tracking_uri=tracking_uri)
    for line in story.lines:
        typer.echo(line)
    title, *columns = {
        Language.en: ("log-odds by driver", "driver", "nature", "log-odds"),
        Language.zh: ("各因素对数几率", "因素", "性质", "对数几率"),
    }[lang]
    _table(title, columns, [[name, nature, f"{value:+.2f}"] for name, nature, value in story.drivers])
    if story.changed:
        title, *columns = {
            Language.en: (f"change of the log-odds since {story.since}", "part", "log-odds", "new facts"),
            Language.zh: (f"与{story.since}相比对数几率的变化", "组成", "对数几率", "新事实"),
        }[lang]
        _table(title, columns, [[name, f"{value:+.2f}", facts] for name, value, facts in story.changed])
    typer.echo(f"\n{story.waterfall}")


@app.command()
def monitor(
    register: Annotated[Path, Argument(help="Register from `riskmodel ingest`.")],
    as_of: Annotated[str, Option(help="Month, YYYY-MM; what was known on its last day counts.")],
    out: Out,
    alerts: Annotated[
        list[Path] | None, Option(help="Folder from `riskmodel score`; may be given for several months.")
    ] = None,
    model: Annotated[str | None, Option(help="MLflow URI or folder of a model, for the parts that score.")] = None,
    rules: Annotated[str | None, Option(help="Rules, by default configs/monitoring.yaml.")] = None,
    parts: Annotated[
        str | None,
        Option(
            help="Parts to run, of month, spells, assistance, funds, misses, industries, drift; default: all.",
            metavar="PART,PART,...",
        ),
    ] = None,
    before: Annotated[
        Path | None, Option(help="An earlier report of this command, to hold the totals of the lists against.")
    ] = None,
    lang: Annotated[Language, Option(help="Language that the bulletin shows first; the reader can switch.")] = Language.zh,
    pdf: Annotated[Path | None, Option(help="Print the bulletin to this PDF file too; needs Chromium on the PATH.")] = None,
    fail_on_drift: Annotated[
        bool, Option("--fail-on-drift", help="End with exit code 14 where drift alarms; the report is written.")
    ] = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Report on the monitoring itself. A bulletin and tables: stays, re-entries, help, funds, misses, industries, drift."""
    from riskmodel.cards.printing import find_browser
    from riskmodel.errors import DriftFound, UsageError
    from riskmodel.results import monitor_and_write

    chosen = [name.strip() for name in parts.split(",")] if parts else []
    if fail_on_drift and chosen and "drift" not in chosen:
        raise UsageError("--fail-on-drift needs the part drift: add it to --parts.")
    if pdf:
        find_browser()
    with _progress("monitor") as step:
        manifest = monitor_and_write(
            register, as_of, out, step,
            alerts=alerts or [], model_uri=model, rules=rules, parts=chosen, before=before, lang=lang.value, pdf=pdf,
            tracking_uri=tracking_uri,
        )  # fmt: skip
    for name, figures in manifest["about"]["parts"].items():
        rows = [[key.replace("_", " "), _number(value)] for key, value in figures.items()]
        if rows:
            _table(f"{manifest['about']['as_of']}: {name}", ["figure", "value"], rows)
        for note in manifest["about"]["notes"][name]:
            typer.echo(f"{name}: {note}", err=True)
    books = ", ".join(str(out / f"{name}.xlsx") for name in manifest["about"]["parts"])
    typer.echo(f"\nOpen {out / 'bulletin.html'}; the tables: {books}")
    if pdf:
        typer.echo(str(pdf))
    alarms = manifest["about"]["parts"].get("drift", {}).get("alarms", 0)
    if fail_on_drift and alarms:
        found = "1 alarm" if alarms == 1 else f"{alarms} alarms"
        raise DriftFound(f"drift: {found} in {out / 'drift.xlsx'}; each says what to do before the next scoring.")


@app.command()
def card(
    model: Annotated[str, Argument(help="MLflow URI or folder of a model.")],
    out: Annotated[Path, Option("--out", help="HTML file to write.")],
    lang: Annotated[Language, Option(help="Language shown first; the reader can switch.")] = Language.zh,
    oversight: Annotated[
        Path | None, Option(help="Reviewers' decisions so far, from `riskmodel review report --out FILE.json`.")
    ] = None,
    pdf: Annotated[Path | None, Option(help="Print to this PDF file too; needs Chromium on the PATH.")] = None,
    smallest_cell: Annotated[
        int | None, Option(min=5, help="Fewest households a cell may stand for; default: the run's setting.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write the model card, one HTML file in Chinese and English."""
    from riskmodel.cards.model_card import write_card
    from riskmodel.cards.oversight import read_oversight
    from riskmodel.cards.printing import find_browser
    from riskmodel.model.tracking import later_evaluations, load_model, promotion_of

    if pdf:
        find_browser()
    decided = read_oversight(oversight) if oversight else None
    found, later = load_model(model, tracking_uri), later_evaluations(model, tracking_uri)
    promoted = promotion_of(model, tracking_uri)
    write_card(found, out, lang.value, later, promoted, decided, pdf=pdf, smallest_cell=smallest_cell)
    for path in filter(None, (out, pdf)):
        typer.echo(str(path))


review = typer.Typer(help="Decisions of people on alerts.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(review, name="review")
DecisionsAt = Annotated[
    str, Option("--decisions", help="SQLite file, or URL such as postgresql://user@host/database.", metavar="FILE|URL")
]
Scored = Annotated[Path, Argument(metavar="DIR", help="Folder from `riskmodel score`.")]


@review.command()
def serve(
    folder: Scored,
    decisions: DecisionsAt,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    user_header: Annotated[
        str | None, Option(help="Header in which a reverse proxy names the reviewer, such as X-Remote-User.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, Option(help="Address of that proxy; repeatable. Default: this machine.")
    ] = None,
    allow_host: Annotated[list[str] | None, Option(help="Host name under which it is reached; repeatable.")] = None,
    blind_half: Annotated[
        bool, Option("--blind-half", help="Hide half of the proposed causes until somebody has judged them.")
    ] = False,
) -> None:
    """Serve the review app: a queue, a page per household, a form."""
    from riskmodel.review.serving import serve as run

    run(
        folder,
        decisions,
        lambda text: typer.echo(text, err=text.startswith("warning")),
        host=host,
        port=port,
        user_header=user_header,
        proxies=trusted_proxy or (),
        hosts=allow_host or (),
        blind_half=blind_half,
    )


@review.command()
def export(
    folder: Scored,
    decisions: DecisionsAt,
    out: Annotated[Path, Option("--out", help="File to write: .csv, .parquet or .xlsx.")],
) -> None:
    """Write the alerts of a month with the decisions on them. The chain is checked first."""
    from riskmodel.review.decisions import Decisions
    from riskmodel.review.export import decisions_with_alerts, write_decisions

    store = Decisions.open(decisions, create=False)
    chain = store.verify()
    frame = decisions_with_alerts(folder, store.table())
    write_decisions(frame, out)
    typer.echo(f"{out}: {len(frame):,} rows, {int(frame['decision_seq'].notna().sum()):,} decisions.")
    typer.echo(f"Chain of {chain.rows:,} decisions is whole; its head, to be kept elsewhere: {chain.head}")


@review.command(name="import")
def import_(
    files: Annotated[list[Path], Argument(metavar="FILE...", help="Workbooks from `riskmodel sheets`, filled in.")],
    decisions: DecisionsAt,
    alerts: Annotated[
        Path | None,
        Option(help="Folder from `riskmodel score`; default: the one the workbook names.", show_default=False),
    ] = None,
) -> None:
    """Record the decisions of filled workbooks. Rows that break a rule go to FILE.quarantine.csv with what to do."""
    from riskmodel.alerts.history import ScoredMonth
    from riskmodel.review.decisions import Decisions
    from riskmodel.review.importing import import_workbook, scored_month_of, write_quarantine

    months = [ScoredMonth.open(alerts or scored_month_of(file)) for file in files]
    store = Decisions.open(decisions)
    for file, month in zip(files, months, strict=True):
        done = import_workbook(file, month, store)
        typer.echo(
            f"{file.name}: {done.recorded:,} decisions recorded, {done.again:,} were there already, {done.empty:,} rows "
            "empty."
        )
        quarantine = file.with_name(f"{file.stem}.quarantine.csv")
        if done.faulty or quarantine.exists():
            write_quarantine(quarantine, done.faulty)
        if done.faulty:
            rows = len({fault.row for fault in done.faulty})
            typer.echo(f"{rows:,} rows were not recorded: {quarantine}")


@review.command()
def verify(
    decisions: DecisionsAt,
    head: Annotated[str | None, Option(help="Head from an earlier export: it must still be in the chain.")] = None,
) -> None:
    """Check that no decision was changed, put in or removed."""
    from riskmodel.review.decisions import Decisions

    chain = Decisions.open(decisions, create=False).verify(head)
    typer.echo(f"Chain of {chain.rows:,} decisions is whole; its head, to be kept elsewhere: {chain.head}")


@review.command()
def report(
    decisions: DecisionsAt,
    register: Annotated[Path | None, Option(help="Register, for what happened after the horizon.")] = None,
    model: Annotated[
        str, Option(help="With --register: model whose label says what a return is.")
    ] = "models:/return-risk@champion",
    out: Annotated[Path | None, Option("--out", help="JSON file to write.")] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Report how reviewers and model agree. Also overrides, whether they were right, and anchoring."""
    from riskmodel.results import report_review

    found = report_review(decisions, register, model, out, tracking_uri)
    _print_oversight(found)
    if out:
        typer.echo(f"\n{out}")


@review.command()
def thresholds(
    folders: Annotated[list[Path], Argument(metavar="DIR...", help="Folders from `riskmodel score`.")],
    decisions: DecisionsAt,
    model: Annotated[
        str | None, Option(help="Model that scored them; default: the one that the first folder names.")
    ] = None,
    out: Annotated[Path | None, Option("--out", help="File to write: a verdict.yaml with the new margin.")] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Set the verdict's margin on adjudicated causes. There have to be enough of them."""
    from riskmodel.results import set_thresholds

    margin, tested, before = set_thresholds(folders, decisions, model, out, tracking_uri)
    _table(
        "false-subjective rate on adjudicated cases, strictest margin first",
        ["margin", "called subjective", "objective households", "upper bound", "holds"],
        [
            [f"{r['candidate']:g}", f"{r['events']}", f"{r['cases']}", f"{r['upper']:.4f}", "yes" if r["holds"] else "no"]
            for r in tested
        ],
    )
    if margin is None:
        typer.echo("\nNot even the strictest margin holds the bound: nothing was written. Call no household subjective.")
    else:
        typer.echo(f"\nMargin {margin:g} (now {before:g}).")
        if out:
            typer.echo(f"{out}: put it in place of configs/verdict.yaml, and train.")


@app.command()
def sheets(
    folder: Annotated[Path, Argument(metavar="DIR", help="Folder from `riskmodel score`.")],
    out: Out,
    by: Annotated[Area, Option(help="A page for each of these.")] = Area.county,
    lang: Annotated[Language, Option(help="Language shown first, and that of the workbooks.")] = Language.zh,
    earlier: Annotated[
        list[Path] | None, Option(help="Earlier scored months; default: the folders beside DIR.", show_default=False)
    ] = None,
    register: Annotated[
        Path | None, Option(help="Register that DIR was scored from: the sheets then say what changed.")
    ] = None,
    decisions: Annotated[str | None, Option(help="Decisions so far: a file, or postgresql://...")] = None,
    public_notice: Annotated[
        bool, Option("--public-notice", help="Also a public notice of what people confirmed; needs --decisions.")
    ] = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write alert sheets for the visit and review workbooks. The sheets are HTML for A4, two households a page."""
    from riskmodel.results import write_sheets

    with _progress("sheets") as step:
        done = write_sheets(
            folder, out, level=by.value, lang=lang.value, earlier=earlier or (), register_path=register,
            decisions_at=decisions, notice=public_notice, tracking_uri=tracking_uri, step=step,
        )  # fmt: skip
    typer.echo(f"Alerts: {done.alerts:,}, files to print: {done.pages:,}, workbooks: {done.workbooks:,}. Open {out}")
    if done.earlier:
        typer.echo(f"Earlier months: {', '.join(done.earlier)}.")
    if done.unsaid:
        typer.echo(done.unsaid)
    if done.left_out:
        typer.echo(f"{done.left_out:,} confirmed households are not on the notice: no adult is known to live there.")


@app.command()
def doctor(tracking_uri: TrackingUri = None) -> None:
    """Check the machine: what commands need, each tried, and what to do."""
    from riskmodel.doctor import look
    from riskmodel.errors import MachineLacks

    broken, absent = [], []
    for found in look(tracking_uri):
        if not found.works:
            (broken if found.needed else absent).append(found.about)
        mark = "works" if found.works else "BROKEN" if found.needed else "not here"
        typer.echo(f"{mark:9} {found.about}: {found.said}")
    if broken:
        raise MachineLacks(f"to be mended first: {', '.join(broken)}.")
    typer.echo("\nWhat every command needs works." + (f" Not here: {', '.join(absent)}." if absent else ""))


@app.command()
def version() -> None:
    """Print the versions that results depend on."""
    from riskmodel.study import versions

    typer.echo(json.dumps(versions(), indent=1))


def _print_proposal(proposal: Proposal) -> None:
    rows = []
    tried = proposal.trial.tables if proposal.trial else {}
    for sheet in proposal.sheets:
        of = tried.get(sheet.table or "") if sheet in proposal.proposed else None
        counts = [f"{of.rows_in:,}", f"{of.accepted:,}", f"{of.quarantined:,}"] if of else ["", "", ""]
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in of.reasons.items()) if of else ""
        named = f"{len(sheet.mapped)} of {len(sheet.mapped) + len(sheet.left)}"
        rows.append([sheet.place, sheet.table if of or sheet in proposal.proposed else "-", named, *counts, reasons])
    _table(str(proposal.path), ["file", "table", "columns mapped", "rows in", "accepted", "quarantined", "reasons"], rows)
    for doubt in proposal.doubts:
        typer.echo(f"Look at: {doubt}")
    if proposal.refused:
        typer.echo(f"Not taken in yet: {proposal.refused}")
    here = Path.cwd()
    data = proposal.data.relative_to(here) if proposal.data.is_relative_to(here) else proposal.data
    then = shlex.join(["riskmodel", "ingest", str(proposal.path), "--data", str(data), "--out", "register"])
    typer.echo(f"\nRead {proposal.path} line by line, then: {then}")


def _print_intake(report: IntakeReport, out: Path) -> None:
    rows = []
    for name, table in report.tables.items():
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in table.reasons.items())
        rows.append(
            [
                name,
                f"{table.rows_in:,}",
                f"{table.accepted:,}",
                f"{table.quarantined:,}",
                f"{table.collapsed:,}",
                reasons,
            ]
        )
    _table(str(out), ["table", "rows in", "accepted", "quarantined", "collapsed", "reasons"], rows)
    if report.quarantined:
        typer.echo(f"{report.quarantined:,} rows with their reasons: {out / 'quarantine.parquet'}")
    for rule, count in report.warnings.items():
        typer.echo(f"warning: {rule}: {count:,} rows (kept; {out / 'warnings.parquet'})")
    for name, lost in report.not_found.items():
        typer.echo(f"Columns mapped and not in the data: {name}: {', '.join(lost)}.")
    for name, unused in report.unused.items():
        typer.echo(f"Columns left out, with no name of the contract and no mapping: {name}: {', '.join(unused)}.")
    if report.absent:
        typer.echo(f"Tables not in the data: {', '.join(report.absent)}.")
    if report.told_in:
        typer.echo(
            f"No record of the last period was known by its end, the first in {report.told_in}: `--as-of {report.told_in}` "
            "counts it, an earlier month does not."
        )


def _print_study(study: Study) -> None:
    from riskmodel.cards.wording import FEWEST_FALLS, HARDLY_ANYBODY_FELL

    shown = ("roc_auc", "pr_auc", "brier", "calibration_slope", "precision_at_capacity", "recall_at_capacity")
    rows = []
    for model, splits in study.results.items():
        figures = splits["test"]
        rows.append([model, *(_figure(figures[m]) for m in shown)])
    _print_care(study.evidence)
    if drawn := study.evidence.get("sampling"):
        typer.echo(
            f"Fitted on all {drawn['falls']:,} falls and {drawn['others']:,} of {drawn['others_of']:,} other rows, risks "
            "corrected for it; test and calibration are of all rows."
        )
    facts: dict[str, Any] = study.evidence["data"]["test"]
    _table(
        f"test from {study.folds[-1].describe()['test_from']}: {facts['rows']:,} rows, {facts['events']:,} falls",
        ["model", *(m.replace("_", " ") for m in shown)],
        rows,
    )
    if facts["events"] < FEWEST_FALLS:
        typer.echo(f"warning: {HARDLY_ANYBODY_FELL.en}")
    apart = study.results[study.run.register_model].get("test_disjoint")
    if apart:
        told = ", ".join(f"{m.replace('_', ' ')} {_figure(apart[m], ' ')}" for m in ("roc_auc", "recall_at_capacity"))
        typer.echo(f"Of households that the model has never seen: {told}.")


def _print_care(evidence: dict[str, Any]) -> None:
    """What was found before and beside the figures: leaks, folds that could not be used, how the model was chosen."""
    from riskmodel.telling import choice_sheets, leak_lines

    for line in leak_lines(evidence["leak_gates"]):
        typer.echo(line)
    for name, why in evidence.get("folds_left_out", {}).items():
        typer.echo(f"{name} left out: {why}")
    if "choice" in evidence:
        if evidence["choice"]["small"] is not None:
            typer.echo(
                f"A small register, {evidence['choice']['small']} falls in training: the model is chosen "
                "(register_model names one, choice.small_below moves the bound)."
            )
        typer.echo(f"Chosen: {evidence['choice']['reason']}")
        for sheet in choice_sheets(evidence["choice"]):
            _table(sheet.title, sheet.columns, sheet.rows)


def _print_champion(found: dict[str, Any]) -> None:
    if "version" not in found:
        return
    from riskmodel.model.tracking import standing_of

    typer.echo(f"Champion {found['version']}: {standing_of({'champion': found}, found['version'])[1]}.")


def _print_metrics(title: str, figures: dict[str, dict[str, float | None]]) -> None:
    rows = [[metric.replace("_", " "), _plain_figure(figure)] for metric, figure in figures.items()]
    _table(title, ["metric", "value and interval"], rows)


def _print_folds(horizon: str, compared: dict[str, Any]) -> None:
    """Models by fold, at one horizon."""
    if "none" in compared:
        typer.echo(f"horizon {horizon} months: nothing to compare. {compared['none']}")
        return
    shown = ("roc_auc", "pr_auc", "brier", "calibration_slope", "recall_at_capacity")
    rows = [
        [model, split, *(_plain_figure(figures[m], "\n") for m in shown)]
        for model, splits in compared["results"].items()
        for split, figures in splits.items()
    ]
    _table(f"horizon {horizon} months", ["model", "split", *(m.replace("_", " ") for m in shown)], rows)
    for fold in compared["folds"]:
        typer.echo(f"{fold['fold']}: trained to {fold['train_to']}, tested {fold['test_from']} to {fold['test_to']}")
    _print_care(compared)
    if compared["looks"]:
        _print_looks(compared["looks"])


def _print_assessment(found: dict[str, Any]) -> None:
    """The lists in a few lines, then part by part."""
    from riskmodel.telling import assessment_sheets

    lists_of, lead = found["lists"], found["lead_time"]
    lists = lists_of["listed"]
    typer.echo(
        f"\nLists on {_span(found['months'])}: of 100 listed {100 * lists['precision']:.0f} fell; of 100 who fell "
        f"{100 * lists['recall']:.0f} were listed."
    )
    if (unknown := lists_of.get("unknown")) and unknown["not_known"] and unknown["precision"] is not None:
        fell, low, high = (f"{100 * unknown[figure]:.0f}" for figure in ("precision", "low", "high"))
        typer.echo(
            f"Of {unknown['listed']:,} listed the outcome of {unknown['not_known']:,} is not known: weighted for it, of 100 "
            f"listed {fell} fell ({low} if none of those did, {high} if all)."
        )
    if lowered := lists_of.get("floors_lowered"):
        typer.echo(
            f"warning: of {lists_of['number']:,} lists {lowered:,} have fewer visits than the floors of villages and "
            "townships need; these are lowered there."
        )
    if lead.get("median") is not None:
        early = _plain_figure(lead["intervals"]["early_share"])
        typer.echo(
            f"Warning time: {lead['median']:.0f} months at the median among falls that were listed before; share of all "
            f"falls listed {lead['early_months']} months ahead {early}."
        )
    for alarm in (row for row in found["fairness"].get("spread", []) if row["alarm"]):
        typer.echo(f"warning: {_apart(alarm)}")
    if found["level"]["warning_en"]:
        typer.echo(f"warning: {found['level']['warning_en']}")
    if found["helped"].get("warning"):
        typer.echo(f"warning: {found['helped']['warning']}")
    for sheet in assessment_sheets(found):
        typer.echo("")
        _table(sheet.title, sheet.columns, sheet.rows)


def _print_oversight(found: dict[str, Any]) -> None:
    """Human oversight in a few lines; all of it stands in the JSON."""
    typer.echo(f"{found['decisions']:,} decisions on {found['alerts']:,} alerts by {found['reviewers']} reviewers.")
    regret = found["regret"]
    rows = {
        "cause changed by the first reviewer": found["overridden"],
        "rejected as not at risk": found["rejected"],
        "agreement with the proposed cause": found["with_model"]["agreement"],
        "AC1 with the proposed cause": found["with_model"]["ac1"],
        "kappa with the proposed cause": found["with_model"]["kappa"],
        "agreement of two reviewers": found["between_reviewers"]["agreement"],
        "AC1 of two reviewers": found["between_reviewers"]["ac1"],
        "kappa of two reviewers": found["between_reviewers"]["kappa"],
        "anchoring: agreement shown less hidden": (found["anchoring"]["difference"] or {}).get("agreement"),
        "reviewers: objective called subjective": found["false_subjective"]["reviewers"],
        "model: objective called subjective": found["false_subjective"]["model"],
        "changed causes where the proposal was right": regret["cause"]["wrong"],
    }
    if regret["return"] is not None:
        rows |= {
            "rejected, and returned": regret["return"]["rejected_returned"],
            "kept, and returned": regret["return"]["kept_returned"],
        }
    _table(
        "share or figure",
        ["what", "value and interval"],
        [[n, "-" if f is None else _plain_figure(f)] for n, f in rows.items()],
    )


def _apart(row: dict[str, Any]) -> str:
    """How far two groups lie apart in verdicts; where the one has none there is no ratio."""
    of, other = f"{row['column']} = {row['highest']}", row["lowest"]
    if row["ratio"] is None:
        return f"'subjective' is called for {of}, and for nobody with {other}."
    return f"'subjective' is called {_ratio(row)} times as often for {of} as for {other}."


def _ratio(row: dict[str, Any]) -> str:
    """A ratio with its interval, which has no upper end where resamples have nobody in the lower group."""
    told = "-" if row["ratio"] is None else f"{row['ratio']:.1f}"
    if row["low"] is None:
        return told
    return f"{told} ({row['low']:.1f} or more)" if row["high"] is None else f"{told} ({row['low']:.1f}-{row['high']:.1f})"


def _print_looks(looks: dict[str, Any]) -> None:
    if looks:
        typer.echo(f"Look {len(looks['earlier']) + 1} at these test months: {looks['this']['reason']}.")


def _span(months: list[str]) -> str:
    return months[0] if len(months) == 1 else f"{months[0]} to {months[-1]}"


def _months(text: str | None) -> list[int]:
    from riskmodel.errors import UsageError

    try:
        found = [int(part) for part in (text or "").split(",") if part.strip()]
    except ValueError:
        found = [0]
    if any(months < 1 for months in found):
        raise UsageError(f"--horizons {text}: give whole months apart by commas, such as 3,6,12.")
    return found


def _plain_figure(figure: dict[str, float | None], between: str = " ") -> str:
    if figure["value"] is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f}{between}{figure['low']:.3f}-{figure['high']:.3f}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _figure(interval: Any, between: str = "\n") -> str:
    if interval.value != interval.value:
        return "-"
    return f"{interval.value:.3f}{between}{interval.low:.3f}-{interval.high:.3f}"


if __name__ == "__main__":
    main()
