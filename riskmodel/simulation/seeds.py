"""Figures of the census and the yearbook that the simulated county starts from."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from riskmodel.errors import NotFound

_PACKAGE = Path(__file__).resolve().parents[1]
CENSUS_FILE = "census_indicators.csv"
DESIGNATED = "formerly designated poor counties"


def seeds_folder() -> Path:
    """Folder of the seeds: inside the installed package, or beside it in a checkout.

    Raises
    ------
    NotFound
        If the file of census figures lies in neither place.
    """
    for folder in (_PACKAGE / "seeds", _PACKAGE.parent / "seeds"):
        if (folder / CENSUS_FILE).is_file():
            return folder
    raise NotFound(f"seeds/{CENSUS_FILE} is not shipped with this installation. Install the package again.")


@cache
def census(indicator: str, population: str = DESIGNATED) -> float:
    """One census figure, in the unit of its row.

    Parameters
    ----------
    indicator
        Name in the column `indicator`.
    population
        Part of the text in the column `population`; the first row that contains it counts.

    Raises
    ------
    NotFound
        If there is no such figure.

    >>> census("household_size")
    3.58
    """
    with (seeds_folder() / CENSUS_FILE).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["indicator"] == indicator and population in row["population"]:
                return float(row["value"])
    raise NotFound(f"{CENSUS_FILE}: no figure {indicator!r} for {population!r}. Check the name in the file.")


def share(indicator: str, population: str = DESIGNATED) -> float:
    """A census percentage as a share between 0 and 1.

    >>> share("housing_relocated")
    0.1401
    """
    return round(census(indicator, population) / 100, 6)
