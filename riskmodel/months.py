"""Months as whole numbers: the only arithmetic on time in the package.

A month is counted from year 0 (`2024-06` is `2024 * 12 + 5`), so that a window is a difference of integers.
A panel with a step of several months names each period by its first month.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re

from riskmodel.errors import UsageError

_MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])(?:-\d{2})?$")


def month_number(month: str | dt.date) -> int:
    """Number of a month given as `YYYY-MM`, `YYYY-MM-DD` or a date.

    Raises
    ------
    UsageError
        If the text is not a month.

    >>> month_number("2024-06") - month_number("2023-12")
    6
    """
    if isinstance(month, dt.date):
        return month.year * 12 + month.month - 1
    match = _MONTH.match(str(month))
    if match is None:
        raise UsageError(f"{month!r} is not a month: write YYYY-MM, for example 2024-06.")
    return int(match[1]) * 12 + int(match[2]) - 1


def month_text(number: int) -> str:
    """`YYYY-MM` of a month number.

    >>> month_text(month_number("2024-12") + 1)
    '2025-01'
    """
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def first_day(number: int) -> dt.date:
    """First day of a month.

    >>> first_day(month_number("2024-02"))
    datetime.date(2024, 2, 1)
    """
    return dt.date(number // 12, number % 12 + 1, 1)


def last_day(number: int) -> dt.date:
    """Last day of a month.

    >>> last_day(month_number("2024-02"))
    datetime.date(2024, 2, 29)
    """
    year, month = number // 12, number % 12 + 1
    return dt.date(year, month, calendar.monthrange(year, month)[1])


def period_of(number: int, anchor: int, step: int) -> int:
    """First month of the period that holds a month, for a panel whose periods start at `anchor` every `step`.

    >>> month_text(period_of(month_number("2015-06"), month_number("2009-01"), 3))
    '2015-04'
    """
    return number - (number - anchor) % step


def as_of_day(period: int, step: int) -> dt.date:
    """The day on which a period is looked at: its last day.

    >>> as_of_day(month_number("2015-04"), 3)
    datetime.date(2015, 6, 30)
    """
    return last_day(period + step - 1)


def month_range(first: int, last: int, step: int = 1) -> list[int]:
    """Month numbers from `first` to `last`, both included.

    >>> [month_text(m) for m in month_range(month_number("2024-01"), month_number("2024-07"), 3)]
    ['2024-01', '2024-04', '2024-07']
    """
    return list(range(first, last + 1, step))
