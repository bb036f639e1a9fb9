"""Townships and villages: where they lie, their markets, weather, work and projects, month by month.

Nothing here depends on a household, so that no household's fate can reach another's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import INDUSTRIES, World

STATUSES = ("running", "reduced", "stopped")
_PRICE_FALL_MONTHS = 12
_REDUCED_MONTHS, _STOPPED_MONTHS = 3, 12
_SEASON_OF_WORK = np.array([0.85, 0.7, 0.95, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9])
"""Local demand by calendar month: low around the Spring Festival [A]."""


@dataclass(frozen=True)
class Villages:
    """Places of one county; arrays over villages, or months x villages.

    `price_noise` and `price_fall` are months x townships x industries: `price_noise * price_fall` is the
    price against its trend, `price_fall` is 1 where no fall is on. `project_status` indexes STATUSES, -1
    without a project; `project_pays` is the share of its usual dividends and rents that it pays.
    """

    township: np.ndarray
    remote: np.ndarray
    minutes_to_county: np.ndarray
    clinic_ok: np.ndarray
    school_ok: np.ndarray
    road_ok: np.ndarray
    industry: np.ndarray
    industry_share: np.ndarray
    eco_compensation: np.ndarray
    demand: np.ndarray
    price_noise: np.ndarray
    price_fall: np.ndarray
    disaster: np.ndarray
    flood: np.ndarray
    animal_disease: np.ndarray
    project_status: np.ndarray
    project_pays: np.ndarray
    project_support: np.ndarray
    project_margin: np.ndarray

    def __len__(self) -> int:
        return len(self.township)

    def index_of_price(self, prices: np.ndarray) -> np.ndarray:
        """Price of each village's main industry, months x villages, of prices by township and industry."""
        return prices[:, self.township, self.industry]


def settle(world: World, streams: Streams, calendar_month: np.ndarray, quiet_from: int | None = None) -> Villages:
    """Lay out the villages of a county and what happens to them.

    Parameters
    ----------
    calendar_month
        0 (January) to 11, by simulated month.
    quiet_from
        Simulated month from which on nothing new happens to a place; what has begun runs its course.
    """
    people, economy, hazards = world.people, world.economy, world.hazards
    n = max(4, streams.households // people.households_per_village)
    townships = max(2, n // 10)
    months = len(calendar_month)
    industries = len(INDUSTRIES)

    def draw(name: str) -> np.ndarray:
        return streams.places(name, n)

    remote = draw("remote") < people.remote_villages
    remote[:2] = [True, False]
    low, high = np.where(remote[:, None], economy.demand_remote, economy.demand).T
    level = low + (high - low) * draw("demand")
    wobble = 1 + 0.06 * (2 * streams.places("demand wobble", months, n) - 1)
    demand = np.clip(level * _SEASON_OF_WORK[calendar_month][:, None] * wobble, 0.05, 1.0)

    falls = streams.places("price fall", months, townships, industries) < hazards.price_fall
    depth = 0.3 + 0.3 * streams.places("price fall depth", months, townships, industries)
    growing = np.isin(calendar_month, [4, 5, 6, 7, 8])[:, None]
    struck = (streams.places("disaster", months, n) < hazards.disaster) & growing
    project = draw("project") < economy.projects
    faltering = streams.places("project falters", months, n) < hazards.project_falters
    disease = streams.places("animal disease", months, n) < hazards.animal_disease
    if quiet_from is not None:
        for starts in (falls, struck, faltering, disease):
            starts[quiet_from:] = False
    return Villages(
        township=np.arange(n) * townships // n,
        remote=remote,
        minutes_to_county=np.round(np.where(remote, 65 + 65 * draw("minutes"), 10 + 50 * draw("minutes"))),
        clinic_ok=draw("clinic") < people.clinic * people.clinic_up_to_standard,
        school_ok=draw("school") < people.village_school,
        road_ok=draw("road") < np.where(remote, 0.95, 0.995),
        industry=(draw("industry") * industries).astype(np.int8),
        industry_share=0.35 + 0.4 * draw("industry share"),
        eco_compensation=np.where(remote, 40.0, 15.0) * draw("eco compensation"),
        demand=demand,
        price_noise=_price_noise(streams.places("price", months, townships, industries)),
        price_fall=_price_falls(falls, depth),
        disaster=struck,
        flood=struck & (streams.places("flood", months, n) < 0.5),
        animal_disease=disease,
        project_status=np.where(project, _project_status(faltering), -1).astype(np.int8),
        project_pays=np.ones((months, n)),
        project_support=0.05 + 0.5 * draw("project support") ** 2,
        project_margin=0.05 + 0.25 * draw("project margin"),
    )


def _price_noise(uniform: np.ndarray) -> np.ndarray:
    """Autoregressive noise around 1, about 5 % wide."""
    level = np.zeros(uniform.shape[1:])
    noise = np.empty(uniform.shape)
    for t, step in enumerate(uniform):
        level = 0.85 * level + 0.05 * (2 * step - 1)
        noise[t] = 1 + level
    return noise


def _price_falls(start: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Price falls to `1 - depth` over three months, stays, and recovers over the last three of twelve."""
    shape = np.minimum(np.arange(1, _PRICE_FALL_MONTHS + 1), np.arange(_PRICE_FALL_MONTHS, 0, -1)) / 3
    shape = np.minimum(shape, 1.0)
    factor = np.ones(start.shape)
    for t in range(len(start)):
        ahead = min(_PRICE_FALL_MONTHS, len(start) - t)
        fallen = 1 - np.where(start[t], depth[t], 0.0) * shape[:ahead].reshape(-1, *[1] * (start.ndim - 1))
        factor[t : t + ahead] = np.minimum(factor[t : t + ahead], fallen)
    return factor


def _project_status(faltering: np.ndarray) -> np.ndarray:
    """Status by month: three months reduced, then a year stopped, then running again."""
    status = np.zeros(faltering.shape, dtype=np.int8)
    since = np.full(faltering.shape[1], 999)
    for t, falters in enumerate(faltering):
        free = since >= _REDUCED_MONTHS + _STOPPED_MONTHS
        since = np.where(free & falters, 0, since + 1)
        status[t] = np.select([since < _REDUCED_MONTHS, since < _REDUCED_MONTHS + _STOPPED_MONTHS], [1, 2], 0)
    return status
