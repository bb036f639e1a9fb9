"""Shocks: what befalls a household from outside, and what it costs and takes for how long."""

from __future__ import annotations

import numpy as np

from riskmodel.simulation.life import Life

CLAIMS_AFTER = 3  # months from cost to claim
_FIRST_COST = 0.5  # of an illness's out-of-pocket, in its first month [A]
_LARGEST_COST = 150_000.0  # yuan; beyond lies the ceiling of the critical-illness insurance [A]


def strike(life: Life, t: int) -> None:
    """All shocks of a month; a month's chances are those of `world.Hazards`."""
    _illness(life, t)
    _disability_and_accident(life, t)
    _labour(life, t)
    _disaster(life, t)
    _market(life, t)
    _job(life, t)
    _schooling(life, t)
    _house_and_water(life, t)


def _onset(life: Life, family: str, process: str, t: int, chance: np.ndarray | float) -> np.ndarray:
    if not life.on(family) or life.quiet(t):
        return np.zeros(life.n, dtype=bool)
    return life.u(process, t) < chance


def _pay_claims_later(life: Life, t: int, where: np.ndarray, amount: np.ndarray) -> None:
    life.claims_due[(t + CLAIMS_AFTER) % len(life.claims_due)] += np.where(where, amount, 0.0)


def _illness(life: Life, t: int) -> None:
    """Major illness: a lump of cost, then a monthly cost; it may take a worker and a carer, and leave a
    chronic one."""
    hazards, members = life.world.hazards, life.county.members
    ended = (life.ill_left == 0) & (life.ill_since >= 0)
    life.chronic -= (life.chronic > 0) & (life.u("chronic ends", t) < hazards.chronic_ends)
    life.chronic += ended & life.ill_leaves_chronic
    life.ill_since[ended] = -1
    chance = hazards.illness * np.where(life.chronic > 0, hazards.illness_chronic, 0.75) * (0.85 + 0.2 * members.elderly[t])
    onset = _onset(life, "illness", "illness", t, chance) & (life.ill_left == 0)
    months = (4 + 14 * life.u("illness months", t)).astype(np.int16)
    size = hazards.illness_selfpay * np.exp(hazards.illness_selfpay_sd * life.z("illness size", t))
    size = np.minimum(size * life.now["other_index"], _LARGEST_COST)
    life.start("ill_left", onset, months)
    life.ill_since[onset] = t
    patient = life.u("illness patient", t) < 0.35 + 0.12 * members.able[t]
    life.ill_worker = np.where(onset, patient & (life.able > 0), life.ill_worker)
    life.ill_carer = np.where(onset, life.u("illness carer", t) < 0.3, life.ill_carer)
    life.ill_leaves_chronic = np.where(onset, life.u("illness stays", t) < 0.35, life.ill_leaves_chronic)
    life.ill_size = np.where(onset, size, life.ill_size)
    life.ill_month = np.where(onset, size * (1 - _FIRST_COST) / months, life.ill_month)
    cost = np.where(life.ill_left > 0, life.ill_month, 0.0) + np.where(onset, _FIRST_COST * size, 0.0)
    life.now["illness_selfpay"] = cost
    _pay_claims_later(life, t, cost > 0, hazards.illness_claims * cost)
    life.shock(t, "illness", "illness", onset, size)


def _disability_and_accident(life: Life, t: int) -> None:
    hazards, members = life.world.hazards, life.county.members
    worker = life.u("who is hurt", t) < 0.65
    disabled = _onset(life, "disability", "disability", t, hazards.disability) & (members.size[t] > 0)
    life.disabled_new += disabled
    life.disabled_workers += disabled & worker & (life.able > 0)
    cost = np.where(disabled, 3000.0, 0.0)
    life.shock(t, "disability", "disability", disabled)

    hurt = _onset(life, "accident", "accident", t, hazards.accident)
    size = hazards.accident_selfpay * np.exp(0.8 * life.z("accident size", t)) * life.now["other_index"]
    size = np.minimum(size, _LARGEST_COST)
    life.start("injured_left", hurt & worker, (2 + 6 * life.u("accident months", t)).astype(np.int16))
    cost = cost + np.where(hurt, size, 0.0)
    _pay_claims_later(life, t, hurt, 0.3 * size)
    life.now["accident_selfpay"] = cost
    life.shock(t, "accident", "accident", hurt, size)


def _labour(life: Life, t: int) -> None:
    """Death of a worker, a member who leaves for good, a birth, someone who needs care."""
    hazards, members = life.world.hazards, life.county.members
    workers = life.able > 0
    spare = members.size[t] - life.dead - life.left > 1
    died = _onset(life, "labour", "death", t, hazards.death_of_worker) & workers & spare
    life.dead += died
    life.debt += np.where(died, 8000.0, 0.0)
    life.shock(t, "labour", "death_of_worker", died)
    left = _onset(life, "labour", "separation", t, hazards.separation) & (life.able > 1) & spare & ~died
    life.left += left
    life.shock(t, "labour", "separation", left)
    born = _onset(life, "labour", "birth", t, hazards.birth) & (members.working_age[t] >= 2) & (life.born < 2)
    life.born += born
    life.start("infant_left", born & (members.elderly[t] == 0), 10)  # else a grandparent looks after it
    life.shock(t, "labour", "birth", born)
    needs = hazards.care_duty * (0.3 + 0.85 * members.elderly[t])
    care = _onset(life, "labour", "care", t, needs) & (life.care_left == 0) & workers
    life.start("care_left", care, (9 + 16 * life.u("care months", t)).astype(np.int16))
    life.shock(t, "labour", "care_duty", care)


def _disaster(life: Life, t: int) -> None:
    """Drought, flood and animal disease by village: what the next half year yields, and houses in a flood."""
    villages = life.county.villages
    if not life.on("disaster"):
        return
    hit = villages.disaster[t, life.village]
    life.start("yield_left", hit, 8)
    loss = 0.45 + 0.5 * life.u("disaster loss", t)
    sick = villages.animal_disease[t, life.village] & (life.households.industry == 4)
    life.start("yield_left", sick, 10)
    life.yield_loss = np.where(hit | sick, loss, np.where(life.yield_left > 0, life.yield_loss, 0.0))
    value = life.households.land * (1 - life.households.leased) * life.yield_value
    life.shock(t, "disaster", "disaster", hit, told=False)  # an event of the village
    life.shock(t, "disaster", "disaster", sick, np.round(0.5 * value * loss))
    flooded = villages.flood[t, life.village] & (t > life.county.burn_in)
    damaged = flooded & (life.u("house in flood", t) < life.world.hazards.house_damage_in_flood)
    _damage_house(life, t, "disaster", damaged)


def _market(life: Life, t: int) -> None:
    """Price falls by township and industry, village projects that stop, businesses that fail."""
    if not life.on("market"):
        return
    villages, households = life.county.villages, life.households
    fall = villages.price_fall[:, villages.township[life.village], households.industry]
    begins = (fall[t] < 1) & (fall[t - 1] == 1 if t else True)
    life.shock(t, "market", "price_fall", begins & (households.land * (1 - households.leased) > 1.5))
    status = villages.project_status[:, life.village]
    stops = (status[t] == 2) & (status[t - 1] != 2 if t else False) & (households.link >= 0)
    worker = stops & (households.link == 0) & (life.able > 0)
    life.start("project_jobless_left", worker, (3 + 7 * life.u("project jobless", t)).astype(np.int16))
    life.shock(t, "market", "project_stopped", stops)
    fails = _onset(life, "market", "business fails", t, life.world.hazards.business_fails)
    fails &= households.business & (life.business_left == 0)
    life.start("business_left", fails, (6 + 8 * life.u("business months", t)).astype(np.int16))
    life.debt += np.where(fails, 4000.0, 0.0)
    life.shock(t, "market", "project_stopped", fails & ~stops)


def _job(life: Life, t: int) -> None:
    """A worker is laid off, or wages stay unpaid."""
    hazards, households = life.world.hazards, life.households
    status = life.county.villages.project_status[t, life.village]
    faltering = (status == 1) & (households.link == 0) & life.on("market")
    chance = hazards.laid_off * np.where(households.skilled > 0, 0.5, 1.25) * np.where(faltering, 3.0, 1.0)
    chance = chance * np.where(life.ratio < 1.5, 1.35, 0.85)
    free = (life.jobless_left == 0) & (life.able > 0)
    laid_off = _onset(life, "job", "laid off", t, chance) & free
    life.start("jobless_left", laid_off, (3 + 8 * life.u("jobless months", t)).astype(np.int16))
    life.shock(t, "job", "laid_off", laid_off)
    unpaid = _onset(life, "job", "arrears", t, hazards.wage_arrears) & (life.able > 0) & ~laid_off
    life.start("arrears_left", unpaid, (2 + 4 * life.u("arrears months", t)).astype(np.int16))
    life.shock(t, "job", "wage_arrears", unpaid)


def _schooling(life: Life, t: int) -> None:
    """A member starts school beyond the compulsory: yearly cost, and perhaps a parent who moves along; or
    drops out."""
    if not life.on("schooling"):
        life.schooling_month[:] = 0
        return
    members, hazards = life.county.members, life.world.hazards
    starts = members.school_starts[t] & (not life.quiet(t))
    cost = 450 + 700 * life.u("schooling cost", t)
    life.schooling_month = np.where(starts, cost, np.where(members.higher_students[t] > 0, life.schooling_month, 0.0))
    along = starts & (life.u("parent goes along", t) < hazards.accompany) & (life.able > 1)
    life.start("accompany_left", along, 20)
    life.shock(t, "schooling", "schooling_cost", starts, np.round(12 * cost))
    pupils = members.students[t] - members.higher_students[t] > 0
    chance = hazards.drop_out * np.where(life.ratio < 1.3, 3.0, 1.0)
    drops = _onset(life, "schooling", "drops out", t, chance) & pupils & (t > life.county.burn_in)
    life.start("drop_out_left", drops, (2 + 4 * life.u("months out", t)).astype(np.int16))
    life.shock(t, "schooling", "schooling_cost", drops, told=False)


def _house_and_water(life: Life, t: int) -> None:
    hazards, households = life.world.hazards, life.households
    later = t > life.county.burn_in  # all guarantees hold at the start
    damaged = _onset(life, "housing", "house", t, hazards.house_damage * np.where(households.relocated, 0.4, 1.1))
    _damage_house(life, t, "housing", damaged & later & (life.house_left == 0))
    chance = hazards.water_failure * np.where(households.piped, 0.87, 3.0)
    fails = _onset(life, "water", "water", t, chance) & later
    life.start("water_left", fails, (2 + 3 * life.u("water months", t)).astype(np.int16))
    life.shock(t, "water", "water_failure", fails)


def _damage_house(life: Life, t: int, family: str, where: np.ndarray) -> None:
    cost = np.round(4000 + 16000 * life.u("house cost", t))
    life.start("house_left", where, (4 + 6 * life.u("house months", t)).astype(np.int16))
    life.debt += np.where(where, 0.5 * cost, 0.0)
    life.shock(t, family, "house_damage", where, cost)
