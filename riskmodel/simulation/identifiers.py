"""Identifiers and dates of the simulated county. They are text and begin with 0, as no real place or person
does."""

from __future__ import annotations

import numpy as np
import pandas as pd

COUNTY = "009901"


def township_ids(county: str, count: int) -> np.ndarray:
    """Nine digits, below the county."""
    return np.array([f"{county}{k + 1:03d}" for k in range(count)], dtype=object)


def village_ids(county: str, township: np.ndarray) -> np.ndarray:
    """Twelve digits, below the township; numbered through the county."""
    return np.array([f"{county}{k + 1:03d}{v + 1:03d}" for v, k in enumerate(township)], dtype=object)


def household_ids(village: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Eighteen digits, below the village; the leading 0 keeps them from being identity numbers."""
    return np.array([f"{ids[v]}{i + 1:06d}" for i, v in enumerate(village)], dtype=object)


def first_days(numbers: np.ndarray) -> np.ndarray:
    """First day of months given by their number (months since year 0)."""
    return (np.asarray(numbers, dtype=np.int64) - 1970 * 12).astype("datetime64[M]").astype("datetime64[D]")


def last_days(numbers: np.ndarray) -> np.ndarray:
    """Last day of months given by their number."""
    return first_days(np.asarray(numbers) + 1) - np.timedelta64(1, "D")


def within(numbers: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """A day within each month: `uniform` 0 is the first, close to 1 the last."""
    first = first_days(numbers)
    length = (first_days(np.asarray(numbers) + 1) - first).astype(int)
    return first + (uniform * length).astype("timedelta64[D]")


def later(days: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """Days moved on by a number of days."""
    return days + np.asarray(delay).astype("timedelta64[D]")


def text(values: np.ndarray) -> pd.Series:
    """A column of text."""
    return pd.Series(values, dtype="str")


def dates(days: np.ndarray, missing: np.ndarray | None = None) -> pd.Series:
    """A column of days; NaT where `missing` holds."""
    column = np.asarray(days).astype("datetime64[s]")
    if missing is not None:
        column = np.where(missing, np.datetime64("NaT", "s"), column)
    return pd.Series(column)
