"""Temporal folds: training months, an embargo, test months. Pure functions of months.

A row may train a model that is tested from month T on only if its outcome lies at or before T and was known by the
end of T. Both are checked: the first by arithmetic (as-of month + horizon, one step more where two assessments are
asked for), the second row by row. A month of which hardly anything but the falls was known by then trains nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.errors import NotEnoughData
from riskmodel.months import as_of_day, month_number, month_text
from riskmodel.settings import Cohorts, Label, Split

LEAST_TOLD = 0.1
"""Share of those not known to have fallen who are known not to have, from which on an as-of month counts."""


@dataclass(frozen=True)
class Fold:
    """One split in time. Months are numbers; `known_by` is the day on which a training outcome must be known."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]
    known_by: dt.date

    def describe(self) -> dict[str, str | int]:
        """The fold in words, for tables and logs."""
        return {
            "fold": self.name,
            "train_from": month_text(self.train[0]),
            "train_to": month_text(self.train[-1]),
            "test_from": month_text(self.test[0]),
            "test_to": month_text(self.test[-1]),
            "known_by": self.known_by.isoformat(),
        }


def as_of_months(first_month: int, last_month: int, step: int, label: Label, cohorts: Cohorts) -> list[int]:
    """As-of months of a run over a register that spans `first_month` to `last_month`.

    Left open, they start after the warm-up and end where the horizon is complete.

    Raises
    ------
    NotEnoughData
        If no month is left.
    """
    every = max(cohorts.every_months or max(3, step), step)
    start = month_number(cohorts.first) if cohorts.first else first_month + cohorts.warm_up_months
    start = first_month + -(-(start - first_month) // step) * step
    stop = month_number(cohorts.last) if cohorts.last else last_month - label.horizon_months
    if cohorts.first:
        months = [m for m in range(start, stop + 1, every)]
    else:
        months = [m for m in range(stop - (stop - first_month) % step, start - 1, -every)][::-1]
    if not months:
        begins = f"from {cohorts.first} on (cohorts.first)" if cohorts.first else ""
        raise NotEnoughData(
            f"the register runs from {month_text(first_month)} to {month_text(last_month)}: "
            f"{begins or f'after {cohorts.warm_up_months} months of warm-up'} no as-of month has a complete horizon of "
            f"{label.horizon_months} months. Shorten the horizon{', begin earlier' if begins else ' or the warm-up'}, "
            "or add months."
        )
    return months


def embargo_months(label: Label, step: int) -> int:
    """Months between a training as-of month and the first test as-of month, at least."""
    confirmation = step if label.assessments == 2 and label.name in ("return", "below_line") else 0
    return label.horizon_months + confirmation


def temporal_folds(months: Sequence[int], step: int, label: Label, split: Split) -> list[Fold]:
    """Rolling-origin validation folds, each half as long as the test, then the test: the last element.

    Parameters
    ----------
    months
        As-of months, ascending.
    step
        The panel's step in months.

    Raises
    ------
    NotEnoughData
        If the test or its training would be empty.

    >>> months = list(range(month_number("2012-01"), month_number("2014-12"), 3))
    >>> label = Label(name="below_line", horizon_months=3, when="at", assessments=1)
    >>> test = temporal_folds(months, 3, label, Split(test_from="2014-04", folds=1))[-1]
    >>> month_text(test.train[-1]), month_text(test.test[0])
    ('2014-01', '2014-04')
    """
    months = sorted(months)
    last = month_number(split.test_to) if split.test_to else months[-1]
    last_third = months[len(months) - max(1, len(months) // 3)]
    first_test = month_number(split.test_from) if split.test_from else last_third
    test = [m for m in months if first_test <= m <= last]
    gap = embargo_months(label, step)
    train = [m for m in months if m + gap <= first_test]
    if not test or not train:
        raise NotEnoughData(
            f"{len(months)} as-of months from {month_text(months[0])} to {month_text(months[-1])} leave "
            f"{len(train)} for training before a test from {month_text(first_test)} with an embargo of {gap} months, and "
            f"{len(test)} for the test. Shorten the horizon (label.horizon_months), move the test (split.test_from), begin "
            "earlier (cohorts.first, cohorts.warm_up_months), or add months."
        )
    folds = []
    width = max(1, len(test) // 2)
    for number in range(split.folds, 0, -1):
        end = len(train) - (number - 1) * width
        block = train[max(end - width, 0) : max(end, 0)]
        before = [m for m in train if block and m + gap <= block[0]]
        if block and before:
            folds.append(Fold(f"fold_{len(folds) + 1}", tuple(before), tuple(block), as_of_day(block[0], step)))
    folds.append(Fold("test", tuple(train), tuple(test), as_of_day(first_test, step)))
    return folds


def rows_of(fold: Fold, as_of: pd.Series, outcome: pd.Series, known_at: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Row positions for training and for testing; rows without an outcome belong to neither, nor do those of months that
    were not told (`told_rows`).

    Parameters
    ----------
    fold
        A fold.
    as_of, outcome, known_at
        Columns of the labels: as-of month (`YYYY-MM`), outcome, and the day on which it was known.
    """
    labels = pd.DataFrame({"as_of": as_of, "outcome": outcome, "outcome_known_at": known_at})
    in_train = as_of.isin([month_text(m) for m in fold.train]).to_numpy()
    in_test = as_of.isin([month_text(m) for m in fold.test]).to_numpy()
    return np.flatnonzero(in_train & told_rows(labels, fold.known_by)), np.flatnonzero(in_test & told_rows(labels))


def told_rows(labels: pd.DataFrame, known_by: dt.date | None = None) -> np.ndarray:
    """Whether the outcome of each row was known by a day, in a month that told more than its falls, shape (n,).

    A fall is known with its record; that nobody fell, with the last record of the horizon. Before that has come all whose
    outcome is known fell, and no weight can let them stand for the others (`censoring_weights`). So a month counts once it
    is known of `LEAST_TOLD` of the others that they did not fall.

    Parameters
    ----------
    labels
        `as_of`, `outcome`, `outcome_known_at`, as given by `build_labels`.
    known_by
        By default all is known that ever will be.

    >>> labels = pd.DataFrame({"as_of": ["2024-01"] * 2 + ["2024-07"] * 2, "outcome": [1.0, 0.0, 1.0, np.nan]})
    >>> told_rows(labels).tolist()
    [True, True, False, False]
    """
    known = labels["outcome"].notna()
    if known_by is not None:
        known &= labels["outcome_known_at"] <= pd.Timestamp(known_by)
    fell = known & labels["outcome"].eq(1)
    stayed, others = (rows.groupby(labels["as_of"]).transform("sum") for rows in (known & ~fell, ~fell))
    return (known & (stayed >= LEAST_TOLD * others)).to_numpy(bool)


def household_parts(households: np.ndarray, outcome: np.ndarray, parts: int, seed: int | Sequence[int]) -> np.ndarray:
    """A part (0 to `parts` - 1) for each row: all rows of a household in one, households that fell in all alike.

    Parameters
    ----------
    households, outcome
        Household and 0/1 outcome of each row, shape (n,).

    >>> household_parts(np.array(["a", "a", "b", "c", "d"]), np.array([0, 1, 1, 0, 0]), 2, seed=1).tolist()
    [0, 0, 1, 0, 1]
    """
    codes, names = pd.factorize(np.asarray(households, dtype=object), sort=True)
    fell = np.bincount(codes, weights=outcome, minlength=len(names)) > 0
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(names))
    part = np.empty(len(names), int)
    part[np.concatenate([shuffled[fell[shuffled]], shuffled[~fell[shuffled]]])] = np.arange(len(names)) % parts
    return part[codes]
