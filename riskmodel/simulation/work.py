"""Work: who is able, on how many days work is to be had, and on how many it is done."""

from __future__ import annotations

import numpy as np

from riskmodel.simulation.life import Life
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import Effort

MIGRANT_SEASON = np.array([0.5, 0.35, 0.95, 1, 1, 1, 1, 1, 1, 1, 1, 0.85])
"""Share of a month spent at work away from home, by calendar month: home at the Spring Festival [A]."""
_MIGRANT_DAYS = 24.0
_ODD_JOBS = 0.22  # share of days on which someone laid off still finds work [A]


def episodes(effort: Effort, streams: Streams, months: int, burn_in: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last month of the episode of low effort that comes by itself, by household.

    It overlaps the recorded months by three at least.
    """
    shortest, longest = effort.months
    length = (shortest + (longest - shortest + 1) * streams.once("episode length")).astype(np.int16)
    earliest = burn_in + 3 - length
    begin = (earliest + (months - 3 - earliest) * streams.once("episode start")).astype(np.int16)
    return begin, begin + length


def count_labour(life: Life, t: int) -> None:
    """Able members and carers of the month."""
    members = life.county.members
    taken = life.dead + life.left + life.disabled_workers + ((life.ill_left > 0) & life.ill_worker)
    fit = np.maximum(members.able[t] - taken - (life.injured_left > 0), 0)
    duties = ((life.ill_left > 0) & life.ill_carer).astype(np.int16)
    for counter in (life.care_left, life.infant_left, life.accompany_left):
        duties += counter > 0
    life.carers = np.minimum(fit, np.minimum(duties, 2))
    life.able = fit - life.carers
    life.size = np.maximum(members.size[t] - life.dead - life.left + life.born, 1)


def choose_effort(life: Life, t: int) -> None:
    """Who is in an episode of low effort this month: by itself, or after a shock. Never without able
    members."""
    households, effort = life.households, life.world.effort
    if life.intervention.effort_at_baseline:
        life.low_effort = np.zeros(life.n, dtype=bool)
        return
    by_itself = households.effort_prone & ~households.effort_after_shock
    begin, end = episodes(effort, life.streams, life.streams.months, life.county.burn_in)
    active = by_itself & (begin <= t) & (t < end)
    struck = np.any(
        [life.last_shock[f] == t for f in ("illness", "accident", "disaster", "market", "job", "labour")],
        axis=0,
    )
    follows = households.effort_after_shock & struck & (life.effort_from == 999) & (life.u("gives up", t) < 0.8)
    lag = 1 + (3 * life.streams.once("gives up after")).astype(np.int16)
    life.effort_from = np.where(follows, t + lag, life.effort_from).astype(np.int16)
    life.effort_until = np.where(follows, life.effort_from + end - begin, life.effort_until).astype(np.int16)
    active |= (life.effort_from <= t) & (t < life.effort_until)
    life.low_effort = active & (life.able > 0)


def do_work(life: Life, t: int) -> None:
    """Days on which work was to be had and on which it was done, and the wages for them."""
    economy, effort = life.world.economy, life.world.effort
    calendar = life.county.calendar_month[t]
    jobless = np.minimum((life.jobless_left > 0) + (life.project_jobless_left > 0).astype(np.int16), life.able)
    away = np.minimum(life.households.migrants, life.able)
    home = life.able - away
    jobless_away = np.minimum(jobless, away)
    jobless_home = jobless - jobless_away
    demand = life.county.villages.demand[t, life.village]
    placed = np.minimum((life.placed_left > 0).astype(float), home - jobless_home)
    local = economy.work_days * (
        demand * (home - jobless_home - placed) + np.maximum(demand, 0.9) * placed + _ODD_JOBS * demand * jobless
    )
    distant = _MIGRANT_DAYS * MIGRANT_SEASON[calendar] * (away - jobless_away)
    share = np.clip(life.households.diligence + 0.05 * life.z("days", t), 0.5, 1.0)
    low, high = effort.work
    share = np.where(life.low_effort, share * (low + (high - low) * life.streams.once("low work")), share)
    wage = life.households.day_wage * (1 + 0.05 * life.trained) * life.now["wage_index"]
    earned = share * wage * (local + economy.migrant_premium * distant) * np.exp(0.1 * life.z("wage", t))
    life.now["public_post"] = np.where(life.post_left > 0, economy.public_post, 0.0)
    unpaid = np.where(life.arrears_left > 0, 0.85, 0.0)
    life.now["wage"] = earned * (1 - unpaid) + life.now["public_post"]
    life.now["migrant_months"] = MIGRANT_SEASON[calendar] * (away - jobless_away)
    life.now["days_available"] = local + distant
    life.now["days_worked"] = share * (local + distant)
    life.now["unemployed"] = jobless
    life.now["work_share"] = share
