"""What a part of the monitoring report is asked, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from riskmodel.cohort.helped import begun_by
from riskmodel.errors import UsageError
from riskmodel.monitoring.rules import Rules, load_rules
from riskmodel.months import last_day, month_text
from riskmodel.register import Register

if TYPE_CHECKING:
    import datetime as dt
    from concurrent.futures import Executor

    import pandas as pd

    from riskmodel.alerts.history import ScoredMonth
    from riskmodel.model.bundle import RiskModel

LEFT_OUT = ("_not_recorded", "not_rated", "not_compared")
"""Endings of columns that say how many a figure leaves out, as something is not on record."""


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
    named
        Scored months not after `as_of`, the oldest first; empty where none were named.
    model
        A model, where one was named.
    progress
        Called with what is being done.
    pool
        Processes that counties are worked on in; without it two threads do (`monitoring/counties.py`).
    """

    register: Register
    as_of: int
    rules: Rules
    named: tuple[ScoredMonth, ...] = ()
    model: RiskModel | None = None
    progress: Callable[[str], None] = lambda what: None
    pool: Executor | None = None

    @classmethod
    def about(
        cls,
        register: Register,
        as_of: str,
        *,
        alerts: Sequence[str | Path] = (),
        model: RiskModel | None = None,
        rules: Rules | str | Path | None = None,
        progress: Callable[[str], None] = lambda what: None,
    ) -> Asked:
        """What is asked about a month, `YYYY-MM`; `alerts` are folders of scored months, `rules` may be a file.

        Raises
        ------
        UsageError
            If the month lies outside the register, a scored month after it, or a file of rules is missing or wrong.
        NotFound
            If a folder holds no scores.
        """
        from riskmodel.cohort.cohorts import period_within

        month = period_within(register, as_of)
        if not isinstance(rules, Rules):
            rules = load_rules(rules)
        return cls(register, month, rules, scored_months(alerts, month), model, progress)

    @property
    def scored(self) -> list[ScoredMonth]:
        """The named months that have a list: where nobody was ranked there is none."""
        return [month for month in self.named if month.ranked]

    @property
    def unlisted(self) -> list[ScoredMonth]:
        """The named months that have none."""
        return [month for month in self.named if not month.ranked]

    @property
    def counties(self) -> list[str]:
        """Counties with records, sorted."""
        return [county for county in self.register.counties if self.register.file("records", county)]

    @property
    def begun(self) -> str:
        """The day on which help began, in SQL (`begun_by`)."""
        return f"coalesce({', '.join(begun_by(self.register))})"

    @property
    def day(self) -> dt.date:
        """The last day that counts as known."""
        return last_day(self.last_month)

    @property
    def last_month(self) -> int:
        """The month of that day, as a number: the last one of the period."""
        return self.as_of + self.register.step_months - 1

    def before(self, months: int) -> dt.date:
        """The last day before the last so many months, of which `day` is the end."""
        return last_day(self.last_month - months)


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
    """One part of the report: its name, its words, and the function that makes it.

    Attributes
    ----------
    reads_lists
        Whether it reads the scored months.
    by_records
        Whether it tells by records what it tells of a county, so that one without any is to be named.
    alone
        Whether it does without the processes that counties are worked on in.
    """

    name: str
    en: str
    zh: str
    run: Callable[[Asked], Found]
    reads_lists: bool = False
    by_records: bool = False
    alone: bool = False


def scored_months(folders: Sequence[str | Path], as_of: int) -> tuple[ScoredMonth, ...]:
    """Folders from `riskmodel score`, the oldest first.

    Raises
    ------
    NotFound
        If one holds no scores.
    UsageError
        If one is of a month after `as_of`, or two with a list are of the same month.
    """
    from riskmodel.alerts.history import ScoredMonth

    found = sorted((ScoredMonth.open(Path(folder)) for folder in folders), key=lambda month: month.as_of)
    for month in found:
        if month.number > as_of:
            raise UsageError(f"{month.folder}: scored for {month.as_of}, after the month of the report {month_text(as_of)}.")
    listed = [month for month in found if month.ranked]
    for earlier, later in zip(listed, listed[1:], strict=False):
        if earlier.as_of == later.as_of:
            raise UsageError(f"{later.folder}: {earlier.folder} is of the same month {later.as_of}: name one.")
    return tuple(found)


def without_list(asked: Asked) -> tuple[str, str] | None:
    """Which of the months that were named have no list, in English and Chinese; None where all have one."""
    if not asked.unlisted:
        return None
    months = list(dict.fromkeys(month.as_of for month in asked.unlisted))
    return (
        f"Scored months in which nobody was ranked, left out as they have no list: {', '.join(months)}; by_hand.parquet in "
        "their folders names who goes the manual way.",
        f"以下评分月份无人参与排序、没有名单，未计入：{'、'.join(months)}；须人工处理的农户见其目录中的 by_hand.parquet。",
    )


def without_records(asked: Asked) -> tuple[str, str] | None:
    """Which counties of the register have no record at all, in English and Chinese; None where all have some."""
    if not (named := sorted(set(asked.register.counties) - set(asked.counties))):
        return None
    en, zh = ", ".join(named[:_NAMED]), "、".join(named[:_NAMED])
    if len(named) > _NAMED:
        en, zh = f"{en} and {len(named) - _NAMED} more", f"{zh}等{len(named)}个"
    return (
        f"Counties of which the register holds no record: {en}. Of their households nothing is told by records, neither "
        "income nor industry: they count where the books of monitoring, events, help or projects tell of them, and in no "
        "other figure and on no other list. That is no sign that nobody there is in need.",
        f"以下县在登记数据中没有任何月度记录：{zh}。这些县的农户没有收入、产业等记录可依，仅在监测、事件、帮扶或项目台账有登记时计入，"
        "其他数字和名单均不含这些农户。这并不表示当地没有困难农户。",
    )


_NAMED = 20
"""Counties that a note names; of more it says how many."""
