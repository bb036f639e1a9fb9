"""The one way in which the package writes.

Everything goes through `commit_directory` or `commit_file`: into a stage beside the target, flushed to the
disk, opened again and counted, hashed, and only then given its name in one step. A job that is killed at any
moment leaves the old result or the new one.
"""

from __future__ import annotations

import csv
import datetime as dt
import errno
import hashlib
import importlib.metadata
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from riskmodel.errors import IntegrityError, NotFound, UsageError
from riskmodel.register.exchange import exchange

MANIFEST = "manifest.json"
_MOST_FOREIGN_FILES = 10_000
_STAGING, _PREVIOUS = ".staging-", ".previous-"


def commit_directory(
    target: Path | str, write: Callable[[Path], None], *, kind: str, about: dict[str, Any]
) -> dict[str, Any]:
    """Write a directory of results so that it appears whole or not at all.

    Files in an existing target that the package did not write are carried over.

    Parameters
    ----------
    target
        The directory to make or to replace.
    write
        Fills the empty directory that it is given; whatever it raises leaves the target as it was.
    kind
        What the directory holds, such as `register` or `scores`.
    about
        Goes into `manifest.json`, must be JSON; `write` may still fill it.

    Returns
    -------
    dict
        The manifest: kind, about, version, created_at, files (by relative path: sha256, bytes, rows; rows is
        None for files that have none).

    Raises
    ------
    UsageError
        If the target is a file, the working directory or above it, holds results of another kind, more than 10,000 files
        of the user, or a file of the user under a name that is now written.
    IntegrityError
        If a written file cannot be opened again.
    """
    target = _target(target, kind)
    with staging(target) as stage:
        _recover(target)
        write(stage)
        ours = _files(stage)
        manifest = {
            "kind": kind,
            "about": about,
            "version": package_version(),
            "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "files": {name: _described(stage / name) for name in ours},
        }
        if target.exists():
            _refuse_clashes(target, ours)
            _carry_over(target, stage)
            shutil.copymode(target, stage)
        _flush_tree(stage)
        # The manifest comes last: a directory with a manifest is complete.
        _write_flushed(stage / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1).encode())
        _flush(stage)
        _publish(stage, target)
    return manifest


def commit_file(path: Path | str, data: bytes) -> None:
    """Write one file so that it appears whole or not at all.

    Raises
    ------
    UsageError
        If the path is a directory, or a device or pipe, which the new file would replace.
    """
    path = Path(path).resolve()
    if path.is_dir():
        raise UsageError(f"{path}: it is a directory, a file is to be written there.")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: it is a device or a pipe, a file is to be written there. Choose another name.")
    with staging(path) as stage:
        _write_flushed(stage / path.name, data)
        os.replace(stage / path.name, path)
        _flush(path.parent)


def read_manifest(target: Path | str, kind: str | None = None) -> dict[str, Any]:
    """The manifest of a committed directory.

    Raises
    ------
    NotFound
        If there is none, or if it is of another kind than asked for.
    IntegrityError
        If it is not readable.
    """
    target = Path(target)
    wanted = kind or "result"
    _recover(target.resolve())
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        found, _, _ = manifest["kind"], manifest["about"], manifest["files"]
    except (FileNotFoundError, NotADirectoryError):
        missing = "it holds no manifest.json" if target.exists() else "no such directory"
        raise NotFound(f"{target}: no {wanted} here ({missing}). Check the path, or make it first.") from None
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(f"{target / MANIFEST}: not readable. Make the {wanted} again.") from None
    if kind is not None and found != kind:
        raise NotFound(f"{target}: it holds {found!r}, not {kind!r}. Check the path.")
    return manifest


def verify(target: Path | str) -> dict[str, Any]:
    """Check every file of a committed directory against its hash; returns the manifest.

    Raises
    ------
    IntegrityError
        Names the first file that is missing or has changed.
    """
    manifest = read_manifest(target)
    for name in manifest["files"]:
        checked_file(target, manifest, name)
    return manifest


def is_finished(folder: Path) -> bool:
    """Whether a part of unfinished work lies whole in a folder of ours; a damaged one goes, to be made again."""
    try:
        verify(folder)
    except NotFound:
        return False
    except IntegrityError:
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def checked_file(target: Path | str, manifest: dict[str, Any], name: str) -> Path:
    """A file of a committed directory, as it was written.

    Raises
    ------
    IntegrityError
        If it is missing or has changed.
    """
    file = Path(target) / name
    if name not in manifest["files"] or not file.is_file():
        raise IntegrityError(f"{file}: the file is gone. Make the {manifest['kind']} again.")
    if sha256_of(file) != manifest["files"][name]["sha256"]:
        raise IntegrityError(f"{file}: the file has changed since it was written. Make the {manifest['kind']} again.")
    return file


def checked_target(target: Path | str, kind: str) -> Path:
    """Where a directory of results of a kind is to be written, before anything is computed for it.

    Raises
    ------
    UsageError
        If it is a file, the working directory or above it, holds results of another kind, which would be lost, or lies
        where no folder can be made.
    OSError
        If this account may not write there.
    """
    path = _target(target, kind)
    with staging(path):
        return path


def _target(target: Path | str, kind: str) -> Path:
    """A target, resolved, if what lies there may be replaced."""
    path = Path(target).resolve()
    if path.exists() and not path.is_dir():
        raise UsageError(f"{target}: it is a file, a directory is to be written there. Choose another name.")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if Path.cwd().is_relative_to(path):
        raise UsageError(f"{target}: it is the working directory or above it. Choose a directory of its own.")
    with suppress(NotFound, IntegrityError):
        if (held := read_manifest(path)["kind"]) != kind:
            raise UsageError(f"{target}: it holds {held!r}, which {kind!r} would replace. Choose a directory of its own.")
    return path


def sha256_of(path: Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_version() -> str:
    """Version of the installed package."""
    try:
        return importlib.metadata.version("household-riskmodel")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """An empty directory beside the target, removed at the end; what dead jobs left there goes first."""
    with _folder(target.parent):
        _clear_abandoned(target)
        stage = target.with_name(f".{target.name}{_STAGING}{os.getpid()}-{secrets.token_hex(4)}")
        _make(stage)
        lock = _lock(stage)
        try:
            yield stage
        finally:
            if lock is not None:
                os.close(lock)
            shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def working_folder(directory: Path, otherwise: str) -> Iterator[None]:
    """A folder for unfinished work, made where it is missing, that one job at a time works in.

    What it holds stays, also of a job that was killed, until a job removes it; an empty one goes.

    Raises
    ------
    UsageError
        If another job works in it; says `otherwise`.
    """
    with _folder(directory):
        lock = _lock_still_there(directory, otherwise)
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)


def _lock_still_there(directory: Path, otherwise: str) -> int | None:
    """The lock of a folder that has its name still, and was not just removed by the job that held it before."""
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            lock = _lock(directory)
        except BlockingIOError:
            raise UsageError(otherwise) from None
        except FileNotFoundError:
            continue
        if lock is None:
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), directory.stat()):
                return lock
        os.close(lock)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as fault:  # what /proc says of a new folder
        where = f"{directory.parent}: no folder can be made there ({fault.strerror})"
        raise UsageError(f"{where}. Choose another place.") from None


@contextmanager
def _folder(directory: Path) -> Iterator[None]:
    """A folder, made where it is missing with those above it; of these, what is empty at the end goes."""
    created = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    _make(directory)
    try:
        yield
    finally:
        for folder in created:
            with suppress(OSError):  # not empty: something was written
                folder.rmdir()


def _files(directory: Path) -> list[str]:
    """Files and symbolic links below a directory, as sorted relative POSIX paths."""
    found = []
    for folder, folders, names in os.walk(directory):
        links = [f for f in folders if (Path(folder) / f).is_symlink()]
        found += [(Path(folder) / n).relative_to(directory).as_posix() for n in (*names, *links)]
    return sorted(found)


def _described(file: Path) -> dict[str, Any]:
    try:
        rows = _count_rows(file)
    except Exception as fault:  # whatever a reader raises, the file is not what was meant to be written
        raise IntegrityError(f"{file.name}: written, but not readable ({type(fault).__name__}).") from None
    return {"sha256": sha256_of(file), "bytes": file.stat().st_size, "rows": rows}


def _count_rows(file: Path) -> int | None:
    match file.suffix:
        case ".parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(file) as parquet:
                return parquet.metadata.num_rows
        case ".csv":
            csv.field_size_limit(sys.maxsize)
            with file.open(encoding="utf-8-sig", newline="") as lines:
                return max(sum(1 for _ in csv.reader(lines)) - 1, 0)
        case ".json":
            content = json.loads(file.read_text(encoding="utf-8"))
            return len(content) if isinstance(content, list) else None
    return None


def _foreign(target: Path) -> list[str]:
    """Files in a committed or other directory that the package did not write."""
    try:
        listed = json.loads((target / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, KeyError, TypeError):
        return _files(target)
    return [name for name in _files(target) if name not in listed and name != MANIFEST]


def _refuse_clashes(target: Path, ours: list[str]) -> None:
    foreign = _foreign(target)
    if len(foreign) > _MOST_FOREIGN_FILES:
        raise UsageError(
            f"{target}: it holds more than {_MOST_FOREIGN_FILES:,} files that are not results. "
            "Choose a directory of its own."
        )
    taken = {*ours, MANIFEST}
    folders = {parent.as_posix() for name in taken for parent in Path(name).parents}
    for name in foreign:
        above = {parent.as_posix() for parent in Path(name).parents}
        if name in taken or name in folders or above & taken:
            raise UsageError(
                f"{target}: it holds a file {name!r} that the package did not write and would now replace. "
                "Move it away, or choose another directory."
            )


def _carry_over(old: Path, new: Path) -> None:
    """Link the user's own files of `old` into `new`; those that are there already stay."""
    for name in _foreign(old):
        _link(old / name, new / name)


def _link(source: Path, place: Path) -> None:
    if os.path.lexists(place):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        os.symlink(os.readlink(source), place)
        return
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)


def _publish(stage: Path, target: Path) -> None:
    if not target.exists():
        os.rename(stage, target)
    elif exchange(stage, target):
        _flush(target.parent)
        # A file that the user added between the carrying over and the exchange lies in the stage now.
        _carry_over(stage, target)
        shutil.rmtree(stage)
    else:
        previous = stage.with_name(stage.name.replace(_STAGING, _PREVIOUS))
        os.rename(target, previous)
        os.rename(stage, target)
        _flush(target.parent)
        _carry_over(previous, target)
        shutil.rmtree(previous)
    _flush(target.parent)


def _recover(target: Path) -> None:
    """Give a directory its name back if a job died between the two renames of the fallback."""
    if target.exists():
        return
    for previous in sorted(target.parent.glob(f".{_escaped(target.name)}{_PREVIOUS}*")):
        if _abandoned(previous):
            with suppress(OSError):
                os.rename(previous, target)
            return


def _clear_abandoned(target: Path) -> None:
    for stage in target.parent.glob(f".{_escaped(target.name)}{_STAGING}*"):
        if _abandoned(stage):
            shutil.rmtree(stage, ignore_errors=True)
    if target.exists():
        for previous in target.parent.glob(f".{_escaped(target.name)}{_PREVIOUS}*"):
            if _abandoned(previous):
                shutil.rmtree(previous, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _abandoned(stage: Path) -> bool:
    """Whether the job that made a stage is dead: its process is gone, and nobody holds its lock."""
    number = stage.name.rsplit("-", 2)[-2]
    if not number.isdigit() or _alive(int(number)):
        return False
    try:
        lock = _lock(stage)
    except OSError:
        return False
    if lock is not None:
        os.close(lock)
    return True


def _alive(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _lock(directory: Path) -> int | None:
    """Hold a directory until the descriptor is closed or the process ends; None without such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_tree(directory: Path) -> None:
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            if not (Path(folder) / name).is_symlink():
                _flush(Path(folder) / name)
        _flush(Path(folder))


def _flush(path: Path) -> None:
    """fsync of a file or a directory."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
