"""Hold a machine against what the commands need, each by trying it, with what to do where it is not there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from packaging.requirements import Requirement

from riskmodel.errors import IntegrityError, RiskmodelError

NAME = "household-riskmodel"
LEAST_FREE = 1.0
"""GiB below which a disk is told as too full: a register of a county with its results takes less."""
_EXTRAS = {
    "causal": "estimates of what help does",
    "notebook": "notebooks",
    "postgres": "PostgreSQL",
    "review": "the review app",
    "spark": "Spark",
    "tune": "tuning",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    about
        What it is.
    works
        Whether it can be used.
    needed
        Whether every command needs it; what only some need may be missing, but not damaged.
    said
        What was found, and where it does not work what to do.
    """

    about: str
    works: bool
    needed: bool
    said: str


class Lacking(Exception):
    """Something does not work; the text says what to do."""


def look(tracking_uri: str | None = None) -> Iterator[Finding]:
    """Look at everything, one thing after the other; nothing is written but an empty file that is taken away again.

    Parameters
    ----------
    tracking_uri
        MLflow store; as the commands take it.
    """
    tried: Sequence[tuple[str, bool, Callable[[], str]]] = (
        ("machine", True, _machine),
        ("packages", True, _packages),
        ("engine", True, _engine),
        ("LightGBM", True, _lightgbm),
        ("this folder", True, lambda: _room(Path.cwd())),
        ("temporary files", True, lambda: _room(Path(tempfile.gettempdir()))),
        ("compiled loops", False, _compiled),
        ("processes", False, _processes),
        ("model store", False, lambda: _store(tracking_uri)),
        ("PDF", False, _pdf),
        *((what, False, lambda extra=extra: _extra(extra)) for extra, what in _EXTRAS.items()),
    )
    for about, needed, attempt in tried:
        try:
            yield Finding(about, True, needed, attempt())
        except (Lacking, RiskmodelError) as fault:
            yield Finding(about, False, needed or isinstance(fault, IntegrityError), str(fault))
        except Exception as fault:  # what a broken installation raises is of no one kind
            yield Finding(about, False, needed, f"{type(fault).__name__}: {fault}")


def _machine() -> str:
    encoding = os.fsencode("县") == "县".encode()
    told = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {_cores()} cores{_memory()}"
    if not encoding:
        raise Lacking(f"{told}; names of files are not UTF-8, and counties have Chinese names: set PYTHONUTF8=1")
    return told


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    """Memory of the machine, and what a container leaves of it, where the system tells."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return ""
    own = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")]
    allowed = [int(text) for file in limits if file.is_file() and (text := file.read_text().strip()).isdigit()]
    return f", {min([own, *allowed]) / 2**30:.1f} GiB of memory"


def _packages() -> str:
    wrong = _missing("")
    if wrong:
        raise Lacking(f"{', '.join(wrong)}. Install again: pip install {NAME}")
    return f"{NAME} {importlib.metadata.version(NAME)} and what it needs"


def _extra(extra: str) -> str:
    if wrong := _missing(extra):
        raise Lacking(f"{', '.join(wrong)}. Where it is wanted: pip install '{NAME}[{extra}]'")
    if extra == "spark":
        from riskmodel.alerts.spark import needs_spark

        needs_spark()
    return "installed"


def _missing(extra: str) -> list[str]:
    """Packages of the distribution, or of one of its extras, that are not installed or of another version than it takes."""
    try:
        given = importlib.metadata.requires(NAME) or []
    except importlib.metadata.PackageNotFoundError:
        raise Lacking(f"{NAME} is not installed: pip install {NAME}, or in a copy of its repository: make env") from None
    wrong = []
    for requirement in map(Requirement, given):
        if not _asked_by(requirement, extra) or (extra and _asked_by(requirement, "")):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} is {found}, not {requirement.specifier}")
    return wrong


def _asked_by(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _engine() -> str:
    from riskmodel.engine import engine

    with engine() as connection:
        connection.execute("SELECT count(*) FROM range(1000)").fetchall()
    return f"DuckDB {importlib.metadata.version('duckdb')}"


def _lightgbm() -> str:
    try:
        import_module("lightgbm")
    except OSError as fault:
        raise Lacking(f"its library does not load ({fault}): on Debian and Ubuntu, apt install libgomp1") from None
    return importlib.metadata.version("lightgbm")


def _room(folder: Path) -> str:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".riskmodel-doctor-"):
        free = shutil.disk_usage(folder).free / 2**30
    if free < LEAST_FREE:
        raise Lacking(f"{folder} has {free:.1f} GiB free: make room, or work elsewhere")
    return f"{folder} can be written, {free:,.0f} GiB free"


def _compiled() -> str:
    try:
        kernels = import_module("riskmodel.cohort.kernels")
        import_module("riskmodel.explain.kernels")
    except Exception as fault:  # numba fails to load in many ways: missing, wrong numpy, no LLVM for the processor
        raise Lacking(f"numba cannot be used ({fault}): the same figures take several times as long") from None
    place = kernels.count.stats.cache_path
    if place is None:
        raise Lacking("there is no place for numba's cache: each process compiles for itself. Set NUMBA_CACHE_DIR")
    return f"numba {importlib.metadata.version('numba')}, kept in {place}"


def _processes() -> str:
    from riskmodel.processes import SCORING, pool

    with pool(1, SCORING) as processes:
        processes.submit(os.getpid).result()
    return f"counties can be shared out: --workers {_cores()} uses every core"


def _store(uri: str | None) -> str:
    from riskmodel.model.tracking import CHAMPION, load_model
    from riskmodel.settings import Tracking

    model = load_model(f"models:/{Tracking().registered_model}@{CHAMPION}", uri)
    return f"version {model.version} is {CHAMPION}, and every file of it is as it was written"


def _pdf() -> str:
    from riskmodel.cards.printing import NO_FONT, find_browser, lacks_chinese_font

    browser = find_browser()
    if lacks_chinese_font():
        raise Lacking(NO_FONT)
    return browser
