"""What the simulated county is like: figures with their sources, and what is assumed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pandas as pd

from riskmodel.settings import packaged

# Monitoring line by year, yuan per person. Simulated, of the size that provinces published for 2023-2024.
LINES = {year: 6800.0 + 400.0 * (year - 2021) for year in range(2021, 2041)}
INCOME_GROWTH = 0.06
INDUSTRIES = ("crop", "fruit", "livestock", "tourism")
SHOCKS = ("illness", "disability", "accident", "death", "care", "disaster", "market", "job", "schooling")


@dataclass(frozen=True)
class World:
    """Rates are per household and month unless said otherwise; assumptions where no source is named.

    `low_effort` is the share of households with able labour that ever enter an episode of low effort.
    """

    name: str
    illness: float = 0.0060
    disability: float = 0.0006
    accident: float = 0.0020
    death: float = 0.0006
    care: float = 0.0015
    disaster: float = 0.0060  # per village
    price_fall: float = 0.020  # per industry
    job_loss: float = 0.0060  # per household with wage workers
    schooling: float = 0.25  # share of households with a child that enters paid schooling within three years
    low_effort: float = 0.10
    late: float = 0.08
    missing_rows: float = 0.03
    missing_fields: float = 0.02
    mistaken: float = 0.005
    unrecorded_illness: float = 0.02
    late_illness: float = 0.10
    effort_after_shock: float = 0.0
    no_work_villages: float = 0.05
    good_refusals: float = 0.10


WORLDS = {
    "easy": World("easy"),
    "hard": World(
        "hard",
        care=0.004,
        late=0.20,
        missing_rows=0.10,
        missing_fields=0.15,
        mistaken=0.03,
        unrecorded_illness=0.25,
        late_illness=0.35,
        effort_after_shock=0.10,
        no_work_villages=0.25,
        good_refusals=0.30,
    ),
}


@cache
def census(indicator: str, population: str = "formerly designated poor counties") -> float:
    """A figure of `seeds/census_indicators.csv`.

    >>> census("household_size")
    3.58
    """
    rows = pd.read_csv(packaged("seeds") / "census_indicators.csv")
    found = rows[(rows["indicator"] == indicator) & rows["population"].str.contains(population, regex=False)]
    return float(found["value"].iloc[0])
