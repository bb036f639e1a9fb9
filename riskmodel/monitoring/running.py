"""All parts of the monitoring report, one after the other, or three at a time where counties are worked on in processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from riskmodel.errors import UsageError
from riskmodel.monitoring import assistance, drift, funds, industries, misses, month, spells
from riskmodel.monitoring.counties import WORKERS, with_workers
from riskmodel.monitoring.part import Asked, Found, Part, without_list, without_records
from riskmodel.monitoring.rules import Rules
from riskmodel.processes import give_back
from riskmodel.register import Register
from riskmodel.threads import one_thread

if TYPE_CHECKING:
    from riskmodel.model.bundle import RiskModel

PARTS = (
    Part(
        "month",
        "the month and the months before it",
        "本月与此前各月",
        month.report_month,
        reads_lists=True,
        by_records=True,
    ),
    Part(
        "spells", "long stays and re-entries", "长期监测与再次进入", spells.report_spells, reads_lists=True, by_records=True
    ),
    Part("assistance", "results of assistance", "帮扶成效", assistance.report_assistance, by_records=True),
    Part("funds", "funds of assistance", "帮扶资金", funds.report_funds),
    Part("misses", "misses sorted", "偏差分类", misses.report_misses, reads_lists=True),
    Part("industries", "industries and policy support", "产业与政策支持", industries.report_industries, by_records=True),
    Part("drift", "drift", "漂移监测", drift.report_drift, reads_lists=True, alone=True),
)
"""The parts of the report, in order. A part is added here and nowhere else."""
AT_ONCE = WORKERS + 1
"""Parts at a time: while one is written the workers have counties of two others."""


def monitor(
    register: Register,
    as_of: str,
    *,
    parts: Sequence[str] = (),
    model: RiskModel | None = None,
    alerts: Sequence[str | Path] = (),
    rules: Rules | str | Path | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, Found]:
    """The tables of the monitoring report of a month, as `riskmodel monitor` writes them; nothing is written.

    Parameters
    ----------
    register
        An open register.
    as_of
        Month, `YYYY-MM`; nothing known after it counts.
    parts
        Parts to run, of `month`, `spells`, `assistance`, `funds`, `misses`, `industries` and `drift`; all by default.
        Effects of help, in `assistance`, take minutes; `Rules(assistance={"estimate_effects": False})` leaves them out.
    model
        A model from `load_model`, for what scores: misses, the support-off test, drift of features and scores.
    alerts
        Folders of scored months, for what reads lists: causes of long stays, misses, drift of causes.
    rules
        `riskmodel.monitoring.rules.Rules`, or a file of them; by default `configs/monitoring.yaml`.
    progress
        Called with what is being done.

    Returns
    -------
    dict
        By part what was found: `tables` (DataFrames by name), `figures`, and `notes` (English, Chinese) on what could not be
        told.

    Raises
    ------
    UsageError
        If the month lies outside the register, a scored month after it, there is no part of a name, or a file of rules is
        missing or wrong.
    NotFound
        If a folder holds no scores.
    """
    asked = Asked.about(register, as_of, alerts=alerts, model=model, rules=rules, progress=progress)
    with register.read_whole():
        return run_parts(asked, parts)


def run_parts(
    asked: Asked, names: Sequence[str] = (), found: Callable[[str, Found], None] = lambda name, part: None
) -> dict[str, Found]:
    """Run the parts of the report, all or those named.

    Parameters
    ----------
    found
        Called with each part as soon as it is there, while others are still made; of two parts perhaps at once.

    Raises
    ------
    UsageError
        If there is no part of a name.
    """
    known = {part.name: part for part in PARTS}
    for name in names:
        if name not in known:
            raise UsageError(f"no part {name!r}: choose from {', '.join(known)}.")
    wanted = [part for part in PARTS if not names or part.name in names]
    with one_thread(), with_workers(asked) as asked, ThreadPoolExecutor(1 if asked.pool is None else AT_ONCE) as at_once:
        first = sorted(wanted, key=lambda part: not part.alone)  # while the workers hold little yet
        made = dict(zip((part.name for part in first), at_once.map(partial(_run, asked, found), first), strict=True))
    return {part.name: made[part.name] for part in wanted}


def _run(asked: Asked, found: Callable[[str, Found], None], part: Part) -> Found:
    asked.progress(part.en)
    made = part.run(asked)
    if part.reads_lists and (note := without_list(asked)):
        made = replace(made, notes=[*made.notes, note])
    if part.by_records and made.tables and (note := without_records(asked)):
        made = replace(made, notes=[*made.notes, note])
    found(part.name, made)
    give_back()
    return made
