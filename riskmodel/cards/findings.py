"""What the bulletin reads: the findings of the monitoring report, in words, with small counts withheld."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.cards.rendering import ABSENT, Words, count, percent, shortened
from riskmodel.evaluation.disclosure import WITHHELD, shown, small_mark
from riskmodel.monitoring import writing
from riskmodel.monitoring.part import Asked, Found
from riskmodel.months import month_text

ALL = "*"
KEY, NUMBER, TEXT = "key", "number", "text"
"""Kinds of columns: what is not broken, what stands to the right, all others."""
_LEAVES_OUT = {"below_line": "income_not_recorded", "paid": "amount_not_recorded"}
AT_LEAST = "≥"
_FLOWS = ("entered", "left")
_LONGEST_ID = 28
_SUMS = ("paid",)


@dataclass(frozen=True)
class Findings:
    """What the bulletin is made of.

    Attributes
    ----------
    asked
        What every part was given.
    found
        What every part gave, by name.
    before
        `about` of the manifest of an earlier report, where one was named.
    """

    asked: Asked
    found: Mapping[str, Found]
    before: Mapping[str, Any] | None = None

    @property
    def least(self) -> int:
        """Fewest households that a printed count may stand for."""
        return self.asked.rules.bulletin.smallest_cell

    @property
    def list_rows(self) -> int:
        """Rows of a list on the first page."""
        return self.asked.rules.bulletin.list_rows

    @cached_property
    def course(self) -> Course | None:
        """The month and the year before it, where the part was run."""
        table = self.table("month", "month_course")
        return None if table is None else Course(table, self.least)

    def table(self, part: str, name: str) -> pd.DataFrame | None:
        """A table of a part, or None."""
        return self.found[part].tables.get(name) if part in self.found else None

    def why(self, part: str, name: str = "") -> Words:
        """Why a table, or a column of the month, is not there: one sentence."""
        if part not in self.found:
            return Words(f"The part {part} was not asked for (--parts).", f"本次未运行“{part}”部分（--parts）。")
        found = self.found[part]
        if name in found.lacks:
            return Words(*found.lacks[name])
        if not found.tables and found.notes:
            return Words(*found.notes[0])
        return Words("There are no cases, or too few.", "没有符合条件的情况，或数量过少。")

    def earlier(self, part: str, *figures: str) -> Words:
        """The sum of figures in the earlier report, to stand behind a total; nothing where it is not known."""
        known = (self.before or {}).get("parts", {}).get(part, {})
        if self.before is None or any(known.get(name) is None for name in figures):
            return Words("", "")
        n = count(sum(int(known[name]) for name in figures))
        return Words(f" (in {self.before['as_of']}: {n})", f"（{self.before['as_of']}：{n}）")

    def said(self, part: str, column: str, value: object, longest: int = 40) -> Words:
        """A value of a table in words."""
        return Words(*(shortened(text, longest) for text in writing.words_of(part).value(column, str(value))))

    def kinds(self, part: str, column: str, value: object, most: int = 2) -> Words:
        """The first items of a list divided by `; `, and how many more there are."""
        if not isinstance(value, str) or not value:
            return same(ABSENT)
        items = value.split("; ")
        first = self.said(part, column, "; ".join(items[:most]), 60)
        more = len(items) - most
        return Words(f"{first.en}; +{more}", f"{first.zh}等{len(items)}项") if more > 0 else first

    def few(self, n: int) -> str:
        """A count as printed: none stands for too few households."""
        return shown(n, self.least, small_mark(self.least))


@dataclass(frozen=True)
class Course:
    """The month and the periods of the year before it, as printed: small counts and what gives them away are withheld.

    Who entered and who left monitoring give each other away by the change of those monitored: of a period in which one of
    the two is small neither is printed.
    """

    table: pd.DataFrame
    least: int

    @property
    def columns(self) -> list[str]:
        """The figures of a period."""
        return [c for c in self.table if c != "as_of"]

    def values(self, column: str) -> list[float | None]:
        """A figure over the periods, none withheld."""
        return [None if pd.isna(value) else float(value) for value in self.table[column]]

    def drawn(self, column: str) -> list[float | None] | None:
        """The same for a line: None where a value is withheld, or fewer than three are known."""
        values = self.values(column)
        known = sum(value is not None for value in values)
        return None if any(self._hidden(column)) or known < 3 else values

    def printed(self, column: str) -> list[str]:
        """A figure over the periods as printed."""
        return [
            ABSENT if value is None else WITHHELD if hidden else count(round(value))
            for value, hidden in zip(self.values(column), self._hidden(column), strict=True)
        ]

    def at_least(self, column: str) -> list[str]:
        """A figure over the periods as printed, `≥` before it where something that it counts is not on record."""
        if (left_out := _LEAVES_OUT.get(column)) not in self.table:
            return self.printed(column)
        return [
            f"{AT_LEAST}{cell}" if n and cell not in (ABSENT, WITHHELD) else cell
            for cell, n in zip(self.printed(column), self.values(left_out), strict=True)
        ]

    def place(self, month: int) -> int | None:
        """The row of a month, given as a number."""
        months = self.table["as_of"].tolist()
        return months.index(month_text(month)) if month_text(month) in months else None

    def _hidden(self, column: str) -> Sequence[bool]:
        if column in _SUMS:
            return [False] * len(self.table)
        together = [c for c in _FLOWS if c in self.table] if column in _FLOWS else [column]
        small = [self.table[c].between(1, self.least - 1).fillna(False).to_numpy(bool) for c in together]
        return np.any(small, axis=0).tolist()


def same(text: str) -> Words:
    """A text that both languages share."""
    return Words(text, text)


def household(value: object) -> Words:
    """An id of a household, a place or a project."""
    return same(shortened(value, _LONGEST_ID))


def money(yuan: float) -> Words:
    """Yuan, in Chinese by the ten thousand where they are many.

    >>> money(5_101_797)
    Words(en='5,101,797', zh='510.2万')
    """
    whole = count(round(yuan))
    return Words(whole, f"{yuan / 10_000:,.1f}万" if yuan >= 100_000 else whole)


def between(share: float, low: float, high: float) -> str:
    """A share with its interval.

    >>> between(0.25, 0.2, 0.304)
    '25% (20–30)'
    """
    return f"{percent(share, 0)} ({percent(low, 0).removesuffix('%')}–{percent(high, 0).removesuffix('%')})"
