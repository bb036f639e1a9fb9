"""Errors that a user can act on, each with its exit code.

Messages name file, column, row and rule and say what to do. They never contain a household's values.
"""


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
    """A training needs more memory or disk than it may take; no feature was computed and nothing fitted."""

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
