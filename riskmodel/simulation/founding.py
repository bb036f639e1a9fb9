"""A county and its random numbers, from a world and a seed."""

from __future__ import annotations

import dataclasses

import numpy as np

from riskmodel.months import month_number
from riskmodel.simulation.households import County, people_county
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.villages import STATUSES, settle
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


def unsupported_county(county: County, support_to: int) -> County:
    """The same county in which the policy support of projects ends: its first month without, from the start of the burn-in.

    A project whose margin is smaller than the support in its revenue stops for good, as any project stops: those who work
    in it look for other work, dividends and rents end. One that bears its cost goes on, keeps its workers, and pays
    dividends and rents without the share that was support. Everything else is as it was.
    """
    villages = county.villages
    there = villages.project_status[0] >= 0
    falls = there & (villages.project_margin < villages.project_support)
    status, pays = villages.project_status.copy(), villages.project_pays.copy()
    status[support_to:, falls] = STATUSES.index("stopped")
    pays[support_to:] *= np.where(there & ~falls, 1 - villages.project_support, 1.0)
    return dataclasses.replace(county, villages=dataclasses.replace(villages, project_status=status, project_pays=pays))
