"""The monthly batch: the county is the unit of work, and many small ones are one.

A county's register goes in, its results come out as files of their own, committed when they are whole; what other counties
hold, how many work at once and where a county's households are cut into blocks changes no figure. Small counties are scored
one by one and explained and kept together, since to ask for reasons costs about as much for ten alerts as for a thousand. A
run that was stopped goes on with the counties that are left.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from riskmodel.alerts.alerts import explain_alerts
from riskmodel.alerts.month import about_month, facts_of, join_tables, write_lists, write_tables
from riskmodel.alerts.scoring import Capacity, joined, score_county
from riskmodel.cohort.cohorts import at_risk_needs, period_within
from riskmodel.cohort.features import BLOCK, available_in
from riskmodel.errors import IntegrityError, NotEnoughData, UsageError
from riskmodel.explain.drivers import ready_to_explain
from riskmodel.model.bundle import RiskModel
from riskmodel.months import month_text
from riskmodel.processes import SCORING, Batch, batches_of, named, pool, said_if_lost, worth
from riskmodel.register import Register, commit_directory, is_finished, read_manifest
from riskmodel.register.commit import MANIFEST, package_version, working_folder
from riskmodel.register.store import as_name

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


Engine = Callable[[Job, list[Batch]], Iterable[Batch]]
"""Where the work on counties is done: `score_batch` for each batch; it gives each batch as that is finished."""


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
        batches = batches_of(register)
        left = [batch for batch in batches if not is_finished(batch_folder(job, batch))]
        done = len(register.counties) - sum(map(len, left))
        if engine is None:
            workers = worth(register, list(chain(*left)), workers)
            engine = partial(on_this_machine, workers=workers, at_hand=(register, model))
        with register.read_whole():
            for number, county in enumerate(chain.from_iterable(engine(job, left)), done + 1):
                if progress:
                    progress(county, number, len(register.counties))
        folders = [batch_folder(job, batch) for batch in batches]
        facts = [read_manifest(folder, kind="counties")["about"] for folder in folders]
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


def score_batch(job: Job, batch: Batch, at_hand: tuple[Register, RiskModel] | None = None) -> Batch:
    """The unit of work: counties from their register to one committed folder of results; gives their names.

    `at_hand` spares reading the register's manifest and the model again where the job was made.
    """
    register, model = at_hand or _opened(job)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(ready_to_explain, model)
        scores = joined(
            score_county(register, model, job.month, county, capacity=job.capacity, block=job.block) for county in batch
        )
    capacity = job.capacity
    if isinstance(capacity, Mapping):
        capacity = {county: capacity.get(county, 0) for county in scores.frame["county_id"].unique()}
    explained = explain_alerts(scores, capacity) if len(scores) else None

    def write(stage: Path) -> None:
        if len(scores) or len(scores.by_hand):
            write_tables(scores, explained, stage)

    commit_directory(batch_folder(job, batch), write, kind="counties", about=facts_of(scores, explained))
    return batch


def keep_batch(job: Job, batch: Batch, files: Mapping[str, bytes]) -> None:
    """Commit counties that `score_batch` finished elsewhere, from the files that it committed there.

    Raises
    ------
    IntegrityError
        If a file does not match the hash that was written down where it was made.
    """
    there = json.loads(files[MANIFEST])

    def write(stage: Path) -> None:
        for name in there["files"]:
            (stage / name).write_bytes(files[name])

    kept = commit_directory(batch_folder(job, batch), write, kind="counties", about=there["about"])
    if kept["files"] != there["files"]:
        shutil.rmtree(batch_folder(job, batch))
        raise IntegrityError(f"{named(batch)}: the results changed on the way here. Run the same command again.")


def on_this_machine(
    job: Job, batches: list[Batch], workers: int = 1, at_hand: tuple[Register, RiskModel] | None = None
) -> Iterator[Batch]:
    """Counties one after the other here, or in a pool of processes.

    Raises
    ------
    WorkerLost
        If a process was ended from outside, as systems do that run out of memory. Finished counties are kept.
    """
    if workers <= 1:
        yield from (score_batch(job, batch, at_hand) for batch in batches)
        return
    kept = ", the counties that are finished are kept; --block and --workers lower what is needed"
    with pool(workers, SCORING) as processes, said_if_lost(kept):
        waiting = [processes.submit(score_batch, job, batch) for batch in batches]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for batch in waiting:
                batch.cancel()


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


def batch_folder(job: Job, batch: Batch) -> Path:
    """Where the results of finished counties lie."""
    return job.work / "counties" / as_name(batch[0])
