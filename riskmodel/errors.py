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


class DriftFound(RiskmodelError):
    """Drift alarmed: the report is written in full, and a scheduler was to be told (`riskmodel monitor --fail-on-drift`)."""

    exit_code = 11
