"""The ledger of looks: every evaluation on the test months is written down, so that their use can be counted.

A test is honest once. Whoever changes the model after seeing its result and looks again fits to the test, a little more
with each look (Dwork et al. 2015, "The reusable holdout", Science 349). A ledger cannot prevent it; it makes it seen.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from riskmodel.errors import UsageError, refused_by_disk
from riskmodel.register.commit import package_version

FILE = "looks.jsonl"


@dataclass(frozen=True)
class Look:
    """One evaluation on test months.

    Attributes
    ----------
    at
        Moment, ISO 8601, UTC.
    code
        Version of the package, with the commit in a checkout.
    run
        Name of the run.
    reason
        Why it was looked.
    label, horizon_months
        What was predicted.
    first, last
        Test as-of months, `YYYY-MM`.
    register
        Hash of the register's manifest.
    """

    at: str
    code: str
    run: str
    reason: str
    label: str
    horizon_months: int
    first: str
    last: str
    register: str

    @classmethod
    def now(cls, run: str, reason: str, label: str, horizon_months: int, first: str, last: str, register: str) -> Look:
        """A look at this moment, by this code."""
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        return cls(at, code_version(), run, reason.strip(), label, horizon_months, first, last, register)

    def shares_months(self, other: Look) -> bool:
        """Whether both looked at outcomes of the same label in months that overlap."""
        return self.label == other.label and self.first <= other.last and other.first <= self.last


def record_look(ledger: Path, look: Look) -> list[Look]:
    """Append a look and give the earlier ones that saw some of the same months, oldest first.

    The line is appended in one write and flushed to the disk before it returns; nothing is ever taken out.

    Raises
    ------
    UsageError
        If the ledger lies where none can be, or holds a line that is no look.
    OSError
        If the disk is full, or the ledger may not be read or written.
    """
    earlier = [found for found in read_looks(ledger) if found.shares_months(look)]
    line = json.dumps(asdict(look), ensure_ascii=False) + "\n"
    try:
        with ledger.open("ab") as file:
            file.write(line.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        hint = "Name a place for it under split.ledger."
        if refused_by_disk(fault):
            fault.add_note(f"It is the ledger of looks. {hint}")
            raise
        raise UsageError(f"{ledger}: the ledger of looks cannot be written ({fault.strerror}). {hint}") from None
    return earlier


def read_looks(ledger: Path) -> list[Look]:
    """All looks in a ledger, oldest first; none where there is no ledger yet.

    Raises
    ------
    UsageError
        If a line is no look; file and line are named.
    """
    if not ledger.is_file():
        return []
    found = []
    for number, line in enumerate(ledger.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(Look(**json.loads(line)))
        except (ValueError, TypeError):
            raise UsageError(
                f"{ledger}, line {number}: not a look. Lines are only ever appended; restore the file."
            ) from None
    return found


def looks_table(looks: Iterable[Look]) -> list[dict[str, str | int]]:
    """Looks as plain rows, for evidence and cards."""
    return [asdict(look) for look in looks]


def code_version() -> str:
    """Version of the package; in a checkout with the short commit, and `+` where files were changed since."""
    version, root = package_version(), Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return version
    try:
        told = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version} ({told.stdout.strip()})"
