"""The register: records come in, are checked, and lie by county. The intake is imported when it is first used."""

from typing import TYPE_CHECKING, Any

from riskmodel.register.commit import (
    checked_file,
    checked_target,
    commit_directory,
    commit_file,
    is_finished,
    read_manifest,
    verify,
)
from riskmodel.register.contract import load_contract
from riskmodel.register.store import Register

if TYPE_CHECKING:
    from riskmodel.register.intake import IntakeReport, ingest

__all__ = [
    "IntakeReport", "Register", "checked_file", "checked_target", "commit_directory", "commit_file", "ingest",
    "is_finished", "load_contract", "read_manifest", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("IntakeReport", "ingest"):
        from riskmodel.register import intake

        return getattr(intake, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
