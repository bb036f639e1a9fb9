"""The scored months before a month: which alerts are new, and how each risk went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from riskmodel.alerts.month import has_list, nobody_ranked, read_table
from riskmodel.errors import IntegrityError, NotFound, UsageError
from riskmodel.evaluation.capacity import alert_states
from riskmodel.months import month_number, month_text
from riskmodel.register import read_manifest


@dataclass(frozen=True)
class ScoredMonth:
    """A folder of `riskmodel score` and what its manifest says."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> ScoredMonth:
        """A folder, its manifest read.

        Raises
        ------
        NotFound
            If it holds no scores.
        """
        return cls(folder, read_manifest(folder, kind="scores"))

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says of the month."""
        return self.manifest["about"]

    @property
    def as_of(self) -> str:
        """Month, `YYYY-MM`."""
        return self.about["as_of"]

    @property
    def number(self) -> int:
        """The month as a number (`riskmodel.months`)."""
        return month_number(self.as_of)

    @property
    def source(self) -> str | None:
        """Name of the register's source."""
        return self.about.get("inputs", {}).get("register", {}).get("source")

    @property
    def ranked(self) -> bool:
        """Whether anybody was ranked (`has_list`)."""
        return has_list(self.manifest)

    def read(self, table: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One of its tables, such as `scores`; errors as `read_table`."""
        return read_table(self.folder, self.manifest, table, columns)

    def alerts(self) -> pd.DataFrame:
        """The alerts, ids as text.

        Raises
        ------
        NotFound
            If nobody was ranked in the month.
        """
        if not self.ranked:
            raise NotFound(nobody_ranked(self.folder, self.as_of))
        table = self.read("alerts")
        return table.assign(household_id=table["household_id"].astype(str))

    def scores_of(self, households: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
        """Columns of the scores of some households, by household id; those that were not scored have no row."""
        wanted = [("household_id", "in", households)]
        return read_table(self.folder, self.manifest, "scores", ["household_id", *columns], wanted).set_index("household_id")


def earlier_months(month: ScoredMonth, given: Sequence[Path] = ()) -> list[ScoredMonth]:
    """Scored months before a month, first to last.

    Parameters
    ----------
    month
        The month.
    given
        Folders to take. By default those beside the month's folder that hold scores of the same source; where several
        hold the same month, the one written last.

    Raises
    ------
    NotFound
        If a given folder holds no scores.
    UsageError
        If a given folder is not earlier, or two hold the same month.
    """
    found: dict[str, ScoredMonth] = {}
    for folder in given:
        other = ScoredMonth.open(folder)
        if other.as_of >= month.as_of:
            raise UsageError(f"{folder} holds {other.as_of}, which is not before {month.as_of}.")
        if other.as_of in found:
            raise UsageError(f"{folder} and {found[other.as_of].folder} both hold {other.as_of}: give one of them.")
        found[other.as_of] = other
    if not given:
        for folder in sorted(p for p in month.folder.resolve().parent.iterdir() if p.is_dir()):
            try:
                other = ScoredMonth.open(folder)
            except (NotFound, IntegrityError):
                continue
            last = found.get(other.as_of)
            later = last is None or other.manifest["created_at"] >= last.manifest["created_at"]
            if other.ranked and other.as_of < month.as_of and other.source == month.source and later:
                found[other.as_of] = other
    return [found[as_of] for as_of in sorted(found)]


def month_named(month: ScoredMonth, name: str) -> ScoredMonth:
    """An earlier month by its folder, or by its name (`YYYY-MM`) among the folders beside the month's.

    Raises
    ------
    NotFound
        If there is none.
    UsageError
        If it is not earlier.
    """
    if Path(name).is_dir():
        return earlier_months(month, [Path(name)])[0]
    beside = {other.as_of: other for other in earlier_months(month)}
    asked = month_text(month_number(name))
    if asked not in beside:
        known = ", ".join(beside) or "none"
        raise NotFound(f"no scores of {asked} beside {month.folder} (there: {known}); give their folder.")
    return beside[asked]


def states(month: ScoredMonth, earlier: Sequence[ScoredMonth]) -> pd.Series:
    """`new`, `returned` or `continuing` of each alert (`alert_states`), in the order of the alerts; empty without a past."""
    if not earlier:
        return pd.Series(dtype=object)
    columns = ["household_id", "as_of", "driver_1"]
    now = month.alerts()[columns]
    lists = [other.alerts()[columns] for other in earlier]
    every = pd.concat([*lists, now], ignore_index=True)
    return alert_states(every).iloc[len(every) - len(now) :].reset_index(drop=True)


@dataclass(frozen=True)
class Point:
    """A household's risk at one month, and whether the present model gave it."""

    as_of: str
    risk: float
    same_model: bool


def trends(month: ScoredMonth, earlier: Sequence[ScoredMonth]) -> dict[str, list[Point]]:
    """The risks of each alert's household, first month to last; months in which it was not scored are left out."""
    alerts = month.alerts()
    found: dict[str, list[Point]] = {household: [] for household in alerts["household_id"]}
    version = month.about["model_version"]
    for other in earlier:
        same = other.about["model_version"] == version
        for household, risk in other.scores_of(list(found), ["risk"])["risk"].items():
            found[household].append(Point(other.as_of, float(risk), same))
    for household, risk in zip(alerts["household_id"], alerts["risk"], strict=True):
        found[household].append(Point(month.as_of, float(risk), True))
    return found
