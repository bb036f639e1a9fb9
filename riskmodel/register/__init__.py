"""The register: records come in, are checked, and lie by county."""

from riskmodel.register.commit import commit_directory, commit_file, read_manifest, verify
from riskmodel.register.contract import load_contract
from riskmodel.register.intake import IntakeReport, ingest
from riskmodel.register.store import Register

__all__ = [
    "IntakeReport", "Register", "commit_directory", "commit_file", "ingest", "load_contract", "read_manifest",
    "verify",
]  # fmt: skip
