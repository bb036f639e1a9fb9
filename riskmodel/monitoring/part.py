"""What a part of the monitoring report is asked, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from riskmodel.errors import UsageError
from riskmodel.monitoring.rules import Rules
from riskmodel.months import as_of_day, month_number, month_text
from riskmodel.register import Register, read_manifest

if TYPE_CHECKING:
    import datetime as dt
    from concurrent.futures import Executor

    import pandas as pd

    from riskmodel.model.bundle import RiskModel


@dataclass(frozen=True)
class ScoredMonth:
    """A folder from `riskmodel score`; `as_of` is the number of its month."""

    folder: Path
    as_of: int

    def read(self, table: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One of its tables, such as `scores` or `alerts`."""
        import pandas as pd

        return pd.read_parquet(self.folder / f"{table}.parquet", columns=list(columns) if columns else None)


@dataclass(frozen=True)
class Asked:
    """What every part is given.

    Attributes
    ----------
    register
        An open register.
    as_of
        First month of the period that is reported on, as a number; nothing known after `day` may count.
    rules
        `configs/monitoring.yaml`, or a county's own.
    scored
        Scored months not after `as_of`, the oldest first; empty where none were named.
    model
        A model, where one was named.
    progress
        Called with what is being done.
    pool
        Processes that counties are worked on in; without it two threads do (`monitoring/counties.py`).
    unlisted
        Scored months that were named and have no list, as numbers.
    """

    register: Register
    as_of: int
    rules: Rules
    scored: tuple[ScoredMonth, ...] = ()
    model: RiskModel | None = None
    progress: Callable[[str], None] = lambda what: None
    pool: Executor | None = None
    unlisted: tuple[int, ...] = ()

    @property
    def counties(self) -> list[str]:
        """Counties with records, sorted."""
        return [county for county in self.register.counties if self.register.file("records", county)]

    @property
    def day(self) -> dt.date:
        """The last day that counts as known."""
        return as_of_day(self.as_of, self.register.step_months)


@dataclass(frozen=True)
class Found:
    """What a part gives.

    Attributes
    ----------
    tables
        By name; every column has its words in `configs/monitoring_words.yaml`.
    figures
        A few numbers for the front page, plain JSON.
    notes
        What could not be said and why, or how a figure is to be read: pairs of English and Chinese.
    lacks
        By table or column that was left out: which of the notes says why. Not needed where the only note says it of all.
    """

    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[tuple[str, str]] = ()
    lacks: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One part of the report: its name, its words, the function that makes it, and whether that reads the scored months."""

    name: str
    en: str
    zh: str
    run: Callable[[Asked], Found]
    reads_lists: bool = False


def scored_months(folders: Sequence[Path], as_of: int) -> tuple[ScoredMonth, ...]:
    """Folders from `riskmodel score`, the oldest first; a month in which nobody was ranked has no list and is left out.

    Raises
    ------
    NotFound
        If one holds no scores.
    UsageError
        If one is of a month after `as_of`, or two are of the same month.
    """
    found = sorted((month for month, listed in _named(folders, as_of) if listed), key=lambda scored: scored.as_of)
    for earlier, later in zip(found, found[1:], strict=False):
        if earlier.as_of == later.as_of:
            raise UsageError(f"{later.folder}: {earlier.folder} is of the same month {month_text(later.as_of)}: name one.")
    return tuple(found)


def unlisted_months(folders: Sequence[Path], as_of: int) -> tuple[int, ...]:
    """The months that `scored_months` leaves out, as numbers, the oldest first; raises what it raises."""
    return tuple(sorted({month.as_of for month, listed in _named(folders, as_of) if not listed}))


def _named(folders: Sequence[Path], as_of: int) -> Iterator[tuple[ScoredMonth, bool]]:
    """Each folder with its month, and whether it has a list."""
    from riskmodel.alerts.month import has_list

    for folder in folders:
        manifest = read_manifest(folder, kind="scores")
        month = month_number(manifest["about"]["as_of"])
        if month > as_of:
            raise UsageError(f"{folder}: scored for {month_text(month)}, after the month of the report {month_text(as_of)}.")
        yield ScoredMonth(Path(folder), month), has_list(manifest)


def without_list(asked: Asked) -> tuple[str, str] | None:
    """Which of the months that were named have no list, in English and Chinese; None where all have one."""
    if not asked.unlisted:
        return None
    months = [month_text(month) for month in asked.unlisted]
    return (
        f"Scored months in which nobody was ranked, left out as they have no list: {', '.join(months)}; by_hand.parquet in "
        "their folders names who goes the manual way.",
        f"以下评分月份无人参与排序、没有名单，未计入：{'、'.join(months)}；须人工处理的农户见其目录中的 by_hand.parquet。",
    )
