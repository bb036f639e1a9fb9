"""Month by month: shocks, effort, work, income. The truth, which no office sees whole."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from riskmodel.simulation.county import County
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import INCOME_GROWTH, INDUSTRIES, LINES, SHOCKS, World

BURN_IN = 12
_DAYS = 22.0
_DAY_WAGE = 98.0
_MU_YIELD = 6400.0
_FLOOR = 1.42  # of the first line: what the allowance tops the expected income up to, as the census found it
_SEASON = {0: (4, 9, 10), 1: (8, 9, 10), 2: (0, 5, 11), 3: (4, 6, 9)}  # months (0-11) in which an industry sells


@dataclass
class Life:
    """What happened: arrays households x months (burn-in first), and the events that did it."""

    flows: dict[str, np.ndarray]
    states: dict[str, np.ndarray]
    price: np.ndarray
    events: dict[str, np.ndarray] = field(default_factory=dict)

    def last_year(self, name: str) -> np.ndarray:
        """Sum of a flow over the twelve months that end with each month after the burn-in."""
        total = np.cumsum(self.flows[name], axis=1)
        return total[:, BURN_IN:] - total[:, : total.shape[1] - BURN_IN]

    def welfare(self, size: np.ndarray) -> np.ndarray:
        """Monitoring reference income per person of the last twelve months, in yuan."""
        net = self.last_year("wage") + self.last_year("farm") + self.last_year("property") + self.last_year("transfer")
        net = net - self.last_year("cost") + self.last_year("claims") - self.last_year("selfpay")
        return net / size[:, None]


def live(
    county: County,
    world: World,
    months: int,
    streams: Streams,
    *,
    first_calendar_month: int = 0,
    without: frozenset[str] = frozenset(),
    steady_effort: bool = False,
) -> Life:
    """Live `months` months after a burn-in year.

    Parameters
    ----------
    without
        Shock families that are switched off (`SHOCKS`).
    steady_effort
        Effort stays at its baseline.
    """
    n, total = len(county), months + BURN_IN
    hits = {k: v & (k not in without) for k, v in _hits(county, world, total, streams).items()}
    season = (np.arange(total) - BURN_IN + first_calendar_month) % 12
    ill = _lasting(hits["illness"], 2 + (10 * streams.uniform("illness_length", n, total)).astype(int))
    accident = _lasting(hits["accident"], np.full((n, total), 4))
    jobless = _lasting(hits["job"], 3 + (9 * streams.uniform("job_length", n, total)).astype(int))
    caring = _lasting(hits["care"], np.full((n, total), 18))
    lost = np.cumsum(hits["death"] | hits["disability"], axis=1)
    drought = _lasting(hits["disaster"], np.full((n, total), 9))
    idle = np.zeros((n, total), bool) if steady_effort else _low_effort(county, world, hits, total, streams)

    price = _prices(world, total, streams, "market" in without)
    sick_hand = (ill | accident) & (streams.uniform("who", n, total) < 0.5)
    able = np.maximum(county.able[:, None] - lost - sick_hand, 0)
    free = np.maximum(able - caring, 0)
    local = np.where(county.no_work[county.village], 0.45, 1.0)[:, None]
    available = free * _DAYS * local * np.where(jobless, 0.45, 1.0)
    effort = np.where(
        idle, 0.30 + 0.25 * streams.uniform("effort", n, total), 0.93 + 0.07 * streams.uniform("care", n, total)
    )
    worked = available * effort

    level = np.exp(county.talent + 0.035 * (county.schooling - 8) + 0.12 * (county.skilled > 0))[:, None]
    growth = (1 + INCOME_GROWTH) ** ((np.arange(total) - BURN_IN) / 12)
    share = county.wage_share[:, None]
    luck = np.exp(0.25 * streams.normal("luck", n, total))
    wage = worked * share * _DAY_WAGE * level * growth * luck
    crop = county.industry[county.village]
    sells = np.stack([np.isin(season, _SEASON[i]) for i in range(len(INDUSTRIES))])[crop]
    hands = np.minimum(free + 0.4 * county.weak[:, None], 3)
    yield_ = county.land[:, None] * _MU_YIELD * (1 - share) * level * (0.35 + 0.3 * hands) * np.where(idle, 0.45, 1.0)
    farm = sells / 3 * yield_ * price[crop] * np.where(drought, 0.35, 1.0) * growth * luck
    cost = np.where(sells, 1 / 3, 0) * yield_ * 0.33 * growth
    bill = 2500 * np.exp(0.8 * streams.normal("bill", n, total))
    selfpay = ill * bill * 0.5 + accident * bill * 0.8 + 60 * county.chronic[:, None]
    claims = 0.35 * selfpay * (selfpay > 1500) + drought * sells * 0.15 * yield_ / 3
    school = _lasting(_at(county.schooling_month, total, "schooling" in without), np.full((n, total), 24))
    expected = _expected_year(county, level[:, 0])
    top_up = np.maximum(_FLOOR * LINES[min(LINES)] * county.size - expected, 0) / 12
    pension = county.elderly * 230 + county.disabled * 150 + 60
    flows = {
        "wage": wage,
        "farm": farm,
        "cost": cost,
        "property": np.repeat(county.land[:, None] * 12, total, axis=1),
        "transfer": np.repeat((pension + top_up)[:, None], total, axis=1) * growth,
        "allowance": np.repeat(top_up[:, None], total, axis=1) * growth,
        "claims": claims,
        "selfpay": selfpay,
        "schooling": np.where(school, np.isin(season, (1, 8)) * 5500.0, 0.0) + 30.0 * county.children[:, None],
    }
    states = {
        "ill": ill, "accident": accident, "jobless": jobless, "caring": caring, "drought": drought, "idle": idle,
        "able": able, "free": free, "available": available, "worked": worked, "lost": lost, "school": school,
    }  # fmt: skip
    return Life(flows, states, price, hits)


def _expected_year(county: County, level: np.ndarray) -> np.ndarray:
    """Income of a year without shocks and with steady effort, before the allowance, in yuan of the first month."""
    local = np.where(county.no_work[county.village], 0.45, 1.0)
    wage = 12 * county.able * _DAYS * local * 0.965 * county.wage_share * _DAY_WAGE * level
    hands = np.minimum(county.able + 0.4 * county.weak, 3)
    farm = county.land * _MU_YIELD * (1 - county.wage_share) * level * (0.35 + 0.3 * hands) * (1 - 0.33)
    return wage + farm + 12 * (county.elderly * 230 + county.disabled * 150 + 60 + county.land * 12)


def _hits(county: County, world: World, total: int, streams: Streams) -> dict[str, np.ndarray]:
    """Months in which each shock begins, households x months."""
    n, v = len(county), county.villages
    frail = np.exp(0.5 * streams.normal("frailty", n) + 0.25 * (county.chronic > 0) - 0.1)[:, None]

    def own(name: str, rate: float | np.ndarray) -> np.ndarray:
        return streams.uniform(name, n, total) < rate

    has_adult = (county.able > 0)[:, None]
    wages = (county.wage_share > 0.4)[:, None] & has_adult
    price = _prices(world, total, streams, False)
    falls = np.zeros((len(INDUSTRIES), total), bool)
    falls[:, 1:] = (price[:, 1:] < 0.8) & (price[:, :-1] >= 0.8)
    return {
        "illness": own("illness", world.illness * frail),
        "disability": own("disability", world.disability) & has_adult,
        "accident": own("accident", world.accident) & has_adult,
        "death": own("death", world.death) & (county.able > 1)[:, None],
        "care": own("care_duty", world.care) & has_adult & ((county.elderly + county.under6) > 0)[:, None],
        "disaster": (streams.uniform("disaster", v, total) < world.disaster)[county.village],
        "market": falls[county.industry][county.village],
        "job": own("job", world.job_loss) & wages,
        "schooling": _at(county.schooling_month, total, False),
    }


def _at(month: np.ndarray, total: int, off: bool) -> np.ndarray:
    return (month[:, None] == np.arange(total)) & (not off)


def _lasting(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Months that lie within `length` months of a start."""
    left = np.zeros(start.shape[0], int)
    found = np.zeros(start.shape, bool)
    for month in range(start.shape[1]):
        left = np.where(start[:, month], np.maximum(left, length[:, month]), left)
        found[:, month] = left > 0
        left = np.maximum(left - 1, 0)
    return found


def _low_effort(county: County, world: World, hits: dict[str, np.ndarray], total: int, streams: Streams) -> np.ndarray:
    """Episodes of 8 to 20 months in households with able labour; in the hard world some follow a shock."""
    n = len(county)
    chosen = (streams.uniform("low_effort", n) < world.low_effort) & (county.able > 0)
    start = streams.generator("effort_start").integers(0, total, n)
    begins = chosen[:, None] & (start[:, None] == np.arange(total))
    if world.effort_after_shock:
        shocked = hits["illness"] | hits["job"] | hits["market"]
        follows = streams.uniform("effort_after", n, total) < world.effort_after_shock
        begins = begins | (np.roll(shocked & follows, 2, axis=1) & (county.able > 0)[:, None])
        begins[:, :2] = False
    length = 8 + (13 * streams.uniform("effort_length", n, total)).astype(int)
    return _lasting(begins, length)


def _prices(world: World, total: int, streams: Streams, off: bool) -> np.ndarray:
    """Price index by industry and month: 1 on average, with falls that fade over a year."""
    price = np.ones((len(INDUSTRIES), total))
    if off:
        return price
    falls = streams.uniform("price_fall", len(INDUSTRIES), total) < world.price_fall
    noise = 0.03 * streams.normal("price", len(INDUSTRIES), total)
    gap = np.zeros(len(INDUSTRIES))
    for month in range(total):
        gap = np.where(falls[:, month], -0.42, gap * 0.88)
        price[:, month] = np.exp(gap + noise[:, month])
    return price


__all__ = ["BURN_IN", "SHOCKS", "Life", "live"]
