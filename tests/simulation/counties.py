"""Counties that several tests look at; each is simulated once."""

from __future__ import annotations

from functools import cache

import pandas as pd

from riskmodel.simulation import simulate_tables, world_of
from riskmodel.simulation.dynamics import Course, live
from riskmodel.simulation.founding import found_county
from riskmodel.simulation.households import County
from riskmodel.simulation.streams import Streams


@cache
def tables_of(
    world: str, households: int = 3000, seed: int = 11, low_effort: float | None = None
) -> dict[str, pd.DataFrame]:
    """Tables of a county over three years."""
    return simulate_tables(world=world, households=households, seed=seed, low_effort=low_effort)


@cache
def lived(world: str, households: int = 3000, seed: int = 11, months: int = 36) -> tuple[County, Streams, Course]:
    """A county, its streams and its course as it was."""
    county, streams = found_county(world_of(world), households=households, months=months, seed=seed)
    return county, streams, live(county, streams, written=True)


def at_risk(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Truth of the households at risk."""
    return tables["truth"][tables["truth"]["at_risk"]]
