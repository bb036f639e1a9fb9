"""Errors that a user can act on, each with its exit code.

Messages name file, column, row and rule and say what to do. They never contain a household's values.
"""

import errno
import os
import re


class RiskmodelError(Exception):
    """Base of every error that the package raises on purpose."""

    exit_code = 1


class UsageError(RiskmodelError):
    """A command or a setting is wrong: nothing was read or written."""

    exit_code = 2


class ContractError(RiskmodelError):
    """The data break the register's contract and cannot be taken in."""

    exit_code = 3


class NotFound(RiskmodelError):
    """A register, a model or a result that was named is not there."""

    exit_code = 4


class CatalogueError(RiskmodelError):
    """A row of features.yaml, drivers.yaml or measures.yaml is refused."""

    exit_code = 5


class IntegrityError(RiskmodelError):
    """A file does not match the hash that was written down for it."""

    exit_code = 6


class NotEnoughData(RiskmodelError):
    """Too few households, months or outcomes for what was asked."""

    exit_code = 7


class LeakFound(RiskmodelError):
    """A leak gate stopped the training: a figure of the future or of the outcome reached the inputs."""

    exit_code = 8


class WorkerLost(RiskmodelError):
    """A process that worked on counties was ended from outside; what was finished is kept, and a re-run goes on."""

    exit_code = 9


class DatabaseError(RiskmodelError):
    """A database cannot be reached or refuses; nothing was changed there."""

    exit_code = 10


class TooLarge(RiskmodelError):
    """A training needs more memory or disk than it may take; no feature was computed and nothing fitted.

    Its exit code is also that of a command that met the end of the memory.
    """

    exit_code = 11


class Conflict(RiskmodelError):
    """Somebody else decided on the same alert in the meantime; nothing was recorded.

    `between` holds the decisions that came in between, oldest first.
    """

    exit_code = 12

    def __init__(self, message: str, between: list[dict]) -> None:
        super().__init__(message)
        self.between = between


class Refused(RiskmodelError):
    """A decision breaks a rule of the review; nothing was recorded.

    `faults` holds the field and a sentence in English and Chinese for each rule.
    """

    exit_code = 13

    def __init__(self, faults: list) -> None:
        super().__init__(" ".join(fault.en for fault in faults))
        self.faults = faults


class DriftFound(RiskmodelError):
    """Drift alarmed: the report is written in full, and a scheduler was to be told (`riskmodel monitor --fail-on-drift`)."""

    exit_code = 14


class MachineLacks(RiskmodelError):
    """Something that every command needs does not work on this machine (`riskmodel doctor`)."""

    exit_code = 16


DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR,
    errno.ENAMETOOLONG,
)  # fmt: skip
"""What a disk says that is full, or may not be read or written, where a file lies in the way, or whose names are shorter."""


def refused_by_disk(fault: BaseException) -> OSError | None:
    """What the disk said, where it is behind a fault: full, or not to be read or written; else None.

    DuckDB gives no number of its own: it writes the words of the system into its text, or says that what no longer fits
    into memory cannot be put aside. Nor does SQLite, whose words MLflow and SQLAlchemy pass on.
    """
    if isinstance(fault, OSError):
        if fault.errno in DISK and fault.filename is None and (named := re.search(r"file '([^']+)'", str(fault))):
            fault.filename = named[1]  # Arrow names it in its text alone
        return fault if fault.errno in DISK else None
    if type(fault).__name__ in ("OperationalError", "MlflowException"):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if "database or disk is full" in str(fault) else None
    if type(fault).__name__ not in ("IOException", "OutOfMemoryException"):
        return None
    text = str(fault)
    number = next((number for number in DISK if os.strerror(number) in text), None)
    if number is None and "max_temp_directory_size" in text:
        number = errno.ENOSPC
    named = re.search(r'file \\?"([^"\\]+)', text)
    return None if number is None else OSError(number, os.strerror(number), named[1] if named else None)


def lacks_memory(fault: BaseException) -> bool:
    """Whether there was no memory left: for Python or Arrow, for DuckDB, which has an error of its own, or for a library."""
    not_loaded = isinstance(fault, ImportError) and re.search("failed to map segment|[Cc]annot allocate memory", str(fault))
    return bool(not_loaded) or isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryException"


TOLD_OF_MEMORY = (
    "there is no memory left for this. What was to be written is not there, in whole or in part; free memory or ask for "
    "less at a time (--block and --workers of score, `machine` in a run's settings), and run the same command again."
)


def told_of_disk(refused: OSError) -> str:
    """What a disk refused and what to do, in one sentence: a right that is missing is named with its file or folder."""
    lost = "What was to be written is not there, in whole or in part"
    more = " ".join(["", *getattr(refused, "__notes__", [])])
    if refused.filename and refused.errno in (errno.EACCES, errno.EPERM):
        place, right = _missing_right(os.path.abspath(os.fsdecode(refused.filename)))
        return (
            f"{place}: this account may not {right} ({os.strerror(errno.EACCES)}). {lost}; ask its owner for the right, or "
            f"name another place, and run the same command again.{more}"
        )
    where = f"{os.fsdecode(refused.filename)}: " if refused.filename else ""
    return (
        f"{where}{os.strerror(refused.errno or 0)}. {lost}; free space or name a folder that may be written (--out), and "
        f"run the same command again.{more}"
    )


def _missing_right(path: str) -> tuple[str, str]:
    """The file or folder that an account may not use for a path, and what it may not do there."""
    above = path
    while (above := os.path.dirname(inner := above)) != inner:
        if os.path.isdir(above) and not os.access(above, os.X_OK):
            return above, "enter this folder"
    if os.path.isdir(path) and not os.access(path, os.R_OK):
        return path, "list this folder"
    if os.path.exists(path) and not os.access(path, os.R_OK):
        return path, "read this file"
    if os.path.isfile(path) and not os.access(path, os.W_OK):
        return path, "write this file"
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path, "write in this folder"
