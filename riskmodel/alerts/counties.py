"""The monthly batch: the county is the unit of work.

A county's register goes in, its results come out as files of their own, committed when they are whole; what other counties
hold, how many work at once and where a county's households are cut into blocks changes no figure. A run that was stopped
goes on with the counties that are left.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from riskmodel.alerts.alerts import explain_alerts
from riskmodel.alerts.month import about_month, facts_of, join_tables, tables_of, write_lists
from riskmodel.alerts.scoring import Capacity, score_county
from riskmodel.cohort.cohorts import at_risk_needs, period_within
from riskmodel.cohort.features import BLOCK, available_in
from riskmodel.errors import IntegrityError, NotEnoughData, UsageError
from riskmodel.explain.drivers import ready_to_explain
from riskmodel.model.bundle import RiskModel
from riskmodel.months import month_text
from riskmodel.processes import SCORING, pool, said_if_lost, worth
from riskmodel.register import Register, commit_directory, is_finished, read_manifest
from riskmodel.register.commit import MANIFEST, package_version, working_folder

_SOMEBODY = ("scored", "by_hand")


@dataclass(frozen=True)
class Job:
    """What every county of a month is scored with; small, and the same for all.

    `work` holds the model and the finished counties; its name tells them from those of another register, model, month
    or capacity.
    """

    register: Path
    version: str
    month: int
    room: int | float | tuple[tuple[str, int], ...] | None
    block: int
    work: Path

    @property
    def capacity(self) -> Capacity:
        """Visits per county."""
        return dict(self.room) if isinstance(self.room, tuple) else self.room


Engine = Callable[[Job, list[str]], Iterable[str]]
"""Where the work on counties is done: `score_one` for each; it gives each county's name as that county is finished."""


def score_month(
    register: Register,
    model: RiskModel,
    as_of: str,
    out: Path,
    *,
    inputs: Mapping[str, Any],
    capacity: Capacity = None,
    workers: int = 2,
    block: int = BLOCK,
    engine: Engine | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Score every county of a register, raise and explain the alerts, and write the month to a folder at once.

    Parameters
    ----------
    out
        Folder of the month. Beside it lies `.NAME.counties` with the finished counties until all are.
    inputs
        Goes into the manifest.
    capacity
        Visits per county; the run's by default.
    workers
        Counties worked on at once.
    block
        Households of a county in memory at once. It bounds the memory of a worker; no figure depends on it.
    engine
        Where the counties are worked on; processes of this machine by default.
    progress
        Called with each finished county, the number finished and that of all.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    UsageError
        If the month lies outside the register, the capacity names an unknown county or is not positive, or another run
        writes to the same folder.
    NotEnoughData
        If nobody is at risk.
    IntegrityError
        If another register was written in this one's place meanwhile.
    """
    month = period_within(register, as_of)
    if isinstance(capacity, Mapping) and (unknown := sorted(set(capacity) - set(register.counties))):
        raise UsageError(f"capacity names county {unknown[0]!r}, which the register does not hold.")
    beside = out.parent.resolve() / f".{out.name}.counties"
    busy = f"{out}: another run is writing there. Wait until it has ended, or name another folder."
    with working_folder(beside, busy):
        job = _job(register, model, month, capacity, block, beside)
        left = [county for county in register.counties if not is_finished(county_folder(job, county))]
        if engine is None:
            workers = worth(register, left, workers)
            engine = partial(on_this_machine, workers=workers, at_hand=(register, model))
        with register.read_whole():
            for number, county in enumerate(engine(job, left), len(register.counties) - len(left) + 1):
                if progress:
                    progress(county, number, len(register.counties))
        folders = [county_folder(job, county) for county in register.counties]
        facts = [read_manifest(folder, kind="county")["about"] for folder in folders]
        filled = [folder for folder, fact in zip(folders, facts, strict=True) if any(fact["counts"][n] for n in _SOMEBODY)]
        if not filled:
            shutil.rmtree(job.work.parent)
            raise NotEnoughData(f"nobody is at risk at {month_text(month)}: {at_risk_needs(model.run.at_risk)}")

        def write(stage: Path) -> None:
            join_tables(filled, stage)
            write_lists(stage)

        about = about_month(model, month_text(month), *available_in(register, model.catalogue), facts)
        manifest = commit_directory(out, write, kind="scores", about=about | {"inputs": dict(inputs)})
        shutil.rmtree(job.work.parent)
        return manifest


def score_one(job: Job, county: str, at_hand: tuple[Register, RiskModel] | None = None) -> str:
    """The unit of work: one county from its register to a committed folder of results; gives the county's name.

    `at_hand` spares reading the register's manifest and the model again where the job was made.
    """
    register, model = at_hand or _opened(job)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(ready_to_explain, model)
        scores = score_county(register, model, job.month, county, capacity=job.capacity, block=job.block)
    somebody = len(scores) or len(scores.by_hand)
    capacity = {county: job.capacity.get(county, 0)} if isinstance(job.capacity, Mapping) else job.capacity
    explained = explain_alerts(scores, capacity) if len(scores) else None

    def write(stage: Path) -> None:
        for name, table in tables_of(scores, explained).items() if somebody else ():
            table.to_parquet(stage / f"{name}.parquet", index=False)

    commit_directory(county_folder(job, county), write, kind="county", about=facts_of(scores, explained))
    return county


def keep_county(job: Job, county: str, files: Mapping[str, bytes]) -> None:
    """Commit a county that `score_one` finished elsewhere, from the files that it committed there.

    Raises
    ------
    IntegrityError
        If a file does not match the hash that was written down where it was made.
    """
    there = json.loads(files[MANIFEST])

    def write(stage: Path) -> None:
        for name in there["files"]:
            (stage / name).write_bytes(files[name])

    kept = commit_directory(county_folder(job, county), write, kind="county", about=there["about"])
    if kept["files"] != there["files"]:
        shutil.rmtree(county_folder(job, county))
        raise IntegrityError(f"county {county}: its results changed on the way here. Run the same command again.")


def on_this_machine(
    job: Job, counties: list[str], workers: int = 1, at_hand: tuple[Register, RiskModel] | None = None
) -> Iterator[str]:
    """Counties one after the other here, or in a pool of processes.

    Raises
    ------
    WorkerLost
        If a process was ended from outside, as systems do that run out of memory. Finished counties are kept.
    """
    if workers <= 1:
        yield from (score_one(job, county, at_hand) for county in counties)
        return
    size = max(1, min(16, len(counties) // (8 * workers)))
    parts = [counties[start : start + size] for start in range(0, len(counties), size)]
    kept = ", the counties that are finished are kept; --block and --workers lower what is needed"
    with pool(workers, SCORING) as processes, said_if_lost(kept):
        waiting = [processes.submit(_score_some, job, part) for part in parts]
        try:
            for done in as_completed(waiting):
                yield from done.result()
        finally:
            for part in waiting:
                part.cancel()


def _score_some(job: Job, counties: list[str]) -> list[str]:
    return [score_one(job, county) for county in counties]


@lru_cache(maxsize=1)
def _opened(job: Job) -> tuple[Register, RiskModel]:
    return Register.open(job.register), RiskModel.load(job.work / "model", job.version)


def _job(register: Register, model: RiskModel, month: int, capacity: Capacity, block: int, beside: Path) -> Job:
    """The job, with its model on disk; whatever an earlier run left for another job goes."""
    asked = dict(capacity) if isinstance(capacity, Mapping) else capacity
    saved = beside / "model"
    about = [register.manifest["files"], model.save(saved)["files"], model.version, month, asked, package_version()]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    if not (beside / key / "model").is_dir():
        (beside / key).mkdir(exist_ok=True)
        saved.rename(beside / key / "model")
    for other in beside.iterdir():
        if other.name != key:
            shutil.rmtree(other)
    frozen = tuple(sorted(asked.items())) if isinstance(asked, dict) else asked
    return Job(register.path.resolve(), model.version, month, frozen, block, beside / key)


def county_folder(job: Job, county: str) -> Path:
    """Where the results of a finished county lie."""
    return job.work / "counties" / quote(county, safe="").replace(".", "%2E")
