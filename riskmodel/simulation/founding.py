"""A county and its random numbers, from a world and a seed."""

from __future__ import annotations

import dataclasses

import numpy as np

from riskmodel.months import month_number
from riskmodel.simulation.households import County, people_county
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.villages import settle
from riskmodel.simulation.world import World

BURN_IN_MONTHS = 12
"""Months that are lived before the first on record, so that sums over twelve months are complete."""


def found_county(
    world: World, *, households: int, months: int, seed: int, first_month: str = "2021-01"
) -> tuple[County, Streams]:
    """Lay out a county at its start, and draw the streams that it will live by.

    Parameters
    ----------
    months
        Months on record, from `first_month` on.
    """
    start = month_number(first_month)
    lived = BURN_IN_MONTHS + months
    streams = Streams(seed, lived, households)
    villages = settle(world, streams, (start - BURN_IN_MONTHS + np.arange(lived)) % 12)
    return people_county(world, streams, villages, start, BURN_IN_MONTHS), streams


def quiet_county(county: County, streams: Streams, quiet_from: int) -> County:
    """The same county in which no new disaster, disease, fall of prices or trouble of a project comes to a place from a
    month on, counted from the start of the burn-in."""
    villages = settle(county.world, streams, county.calendar_month, quiet_from)
    return dataclasses.replace(county, villages=villages)
