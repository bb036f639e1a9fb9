"""The households of the county at the start: members, labour, health, skill, land, work, means; and their
ageing.

Sex and ethnicity of the head may go with the place, through which they meet other jobs; nothing else depends
on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from riskmodel.simulation.streams import Streams
from riskmodel.simulation.villages import Villages
from riskmodel.simulation.world import INDUSTRIES, People, World, line_of

_HEAD, _SPOUSE, _ADULT, _ELDERS, _CHILDREN = 0, 1, slice(2, 4), slice(4, 6), slice(6, 9)
_SLOTS = 9
_ELDERLY_ONLY, _FAMILY, _GROWN, _SINGLE = range(4)
_KINDS = np.cumsum([0.10, 0.56, 0.26, 0.08])  # kinds of household [A], set to meet the census household size
_LINKS = ("job", "dividend", "land_rent", "own")
ELDERLY, WORKING_FROM, SCHOOL_FROM = 60, 16, 6


@dataclass(frozen=True)
class Households:
    """Households at the start, arrays over households; `Members` holds what ageing alone changes.

    Money is yuan. `floor_allowance` and `floor_support` are what lifts the household above the line at the
    start, by month: subsistence allowance where it has no labour, else other transfers. `link` indexes the
    links to a project, -1 without.
    """

    village: np.ndarray
    lifted: np.ndarray
    lifted_year: np.ndarray
    relocated: np.ndarray
    minority: np.ndarray
    female_head: np.ndarray
    opted_out: np.ndarray
    remote: np.ndarray
    industry: np.ndarray
    land: np.ndarray
    leased: np.ndarray
    skilled: np.ndarray
    schooling_years: np.ndarray
    day_wage: np.ndarray
    diligence: np.ndarray
    migrants: np.ndarray
    business: np.ndarray
    chronic: np.ndarray
    disabled: np.ndarray
    piped: np.ndarray
    link: np.ndarray
    dividend: np.ndarray
    savings: np.ndarray
    owed: np.ndarray
    debt: np.ndarray
    floor_allowance: np.ndarray
    floor_support: np.ndarray
    consumption: np.ndarray
    destitute: np.ndarray
    effort_prone: np.ndarray
    effort_after_shock: np.ndarray

    def __len__(self) -> int:
        return len(self.village)

    def only(self, households: np.ndarray) -> Households:
        """Some of the households, by position."""
        return Households(**{name: values[households] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Members:
    """Counts of members by month and household, as ageing and schooling alone would have them."""

    size: np.ndarray
    under6: np.ndarray
    children: np.ndarray
    elderly: np.ndarray
    working_age: np.ndarray
    students: np.ndarray
    higher_students: np.ndarray
    able: np.ndarray
    weak: np.ndarray
    no_labour: np.ndarray
    school_starts: np.ndarray

    def only(self, households: np.ndarray) -> Members:
        """Some of the households, by position."""
        return Members(**{name: counts[:, households] for name, counts in vars(self).items()})


@dataclass(frozen=True)
class County:
    """A county at the start of the simulation, with everything that happens to its places."""

    world: World
    start: int
    burn_in: int
    villages: Villages
    households: Households
    members: Members

    @property
    def calendar_month(self) -> np.ndarray:
        """0 to 11, by simulated month; the first `burn_in` months are not recorded."""
        return (self.start - self.burn_in + np.arange(len(self.members.size))) % 12

    @property
    def year(self) -> np.ndarray:
        """Calendar year, by simulated month."""
        return (self.start - self.burn_in + np.arange(len(self.members.size))) // 12

    def only(self, households: np.ndarray) -> County:
        """The same county with some of its households, by position."""
        return County(
            self.world, self.start, self.burn_in, self.villages, self.households.only(households),
            self.members.only(households),
        )  # fmt: skip


def people_county(world: World, streams: Streams, villages: Villages, start: int, burn_in: int) -> County:
    """Give the villages their households.

    Parameters
    ----------
    start
        Month number of the first recorded month.
    burn_in
        Months that are lived before it, so that sums over twelve months are complete.
    """
    n = streams.households
    village = np.arange(n) * len(villages) // n
    kind = np.searchsorted(_KINDS[:-1], streams.once("kind"), side="right")
    age, present = _ages(world.people, streams, kind)
    health = _Health(world, streams, age, present)
    members = _ageing(world, streams, age, present, health, streams.months)
    households = _means(world, streams, villages, village, kind, members, health, (start - burn_in) // 12)
    return County(world, start, burn_in, villages, households, members)


def _ages(people: People, streams: Streams, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ages at the start in months, and who is there; slots x households."""
    n = len(kind)
    age = np.zeros((_SLOTS, n))
    present = np.zeros((_SLOTS, n), dtype=bool)
    u = streams.once("age of head")
    age[_HEAD] = np.choose(kind, [62 + 22 * u, 27 + 22 * u, 46 + 13 * u, 25 + 33 * u])
    present[_HEAD] = True
    age[_SPOUSE] = age[_HEAD] - 4 + 6 * streams.once("age of spouse")
    present[_SPOUSE] = np.choose(kind, [0.62, 1.0, 0.92, 0.0]) > streams.once("spouse")
    for place, slot in enumerate(range(*_ADULT.indices(_SLOTS))):
        age[slot] = np.clip(age[_HEAD] - 22 - 6 * streams.once(f"age of adult {place}"), 19, None)
        present[slot] = (kind == _GROWN) & (streams.once(f"adult {place}") < (0.95, 0.45)[place])
    for place, slot in enumerate(range(*_ELDERS.indices(_SLOTS))):
        age[slot] = np.clip(age[_HEAD] + 22 + 8 * streams.once(f"age of elder {place}"), 60, 92)
        chance = np.choose(kind, [0.0, (0.31, 0.2)[place], (0.24, 0.14)[place], (0.2, 0.05)[place]])
        present[slot] = streams.once(f"elder {place}") < chance
    for place, slot in enumerate(range(*_CHILDREN.indices(_SLOTS))):
        oldest = np.clip(age[_HEAD] - 22, 0.2, 18)
        age[slot] = oldest * streams.once(f"age of child {place}") ** people.age_of_children
        chance = np.choose(kind, [0.06, (0.85, 0.47, 0.09)[place], (0.3, 0.1, 0.0)[place], (0.55, 0.2, 0.0)[place]])
        present[slot] = streams.once(f"child {place}") < chance
    return np.floor(age * 12), present


class _Health:
    """Weak labour, disability and schooling of members (slots x households), chronic illness of
    households."""

    def __init__(self, world: World, streams: Streams, age: np.ndarray, present: np.ndarray) -> None:
        people, n = world.people, age.shape[1]
        self.weak = np.zeros(age.shape, dtype=bool)
        for slot in range(_CHILDREN.start):
            over_50 = age[slot] >= 50 * 12
            self.weak[slot] = streams.once(f"weak {slot}") < np.where(over_50, people.weak_over_50, 0.02)
        adults = present[: _CHILDREN.start]
        which = np.argmax(adults * (0.3 + np.stack([streams.once(f"disabled {s}") for s in range(len(adults))])), 0)
        self.disabled = np.zeros(age.shape, dtype=bool)
        self.disabled[which, np.arange(n)] = streams.once("disabled") < people.disabled
        elders = (present & (age >= ELDERLY * 12)).any(0)
        self.chronic = streams.once("chronic") < people.chronic * np.where(elders, 1.5, 0.72)


def _last_months(people: People, streams: Streams, age: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Months until each member dies of old age, slots x households (Gompertz); the last of a household lives on."""
    growth = people.mortality_growth
    old = np.exp(growth * np.maximum(age / 12 - ELDERLY, 0))
    drawn = np.stack([-np.log1p(-streams.once(f"life of {slot}")) for slot in range(len(age))])
    months = 12 * (ELDERLY + np.log(old + drawn * growth / people.mortality) / growth) - age
    longest = np.where(present, months, -np.inf).argmax(0)
    months[longest, np.arange(age.shape[1])] = np.inf
    return months


def _ageing(world: World, streams: Streams, age: np.ndarray, present: np.ndarray, health: _Health, months: int) -> Members:
    """Count members month by month."""
    n = age.shape[1]
    counts = {name: np.zeros((months, n), dtype=np.int8) for name in Members.__dataclass_fields__}
    counts["school_starts"] = counts["school_starts"].astype(bool)
    people = world.people
    last = _last_months(people, streams, age, present)
    for slot in range(_SLOTS):
        to_high = streams.once(f"high school {slot}") < people.high_school
        to_college = to_high & (streams.once(f"college {slot}") < people.college)
        for t in range(months):
            years = (age[slot] + t) // 12
            here = present[slot] & (t < last[slot])
            pupil = here & (years >= SCHOOL_FROM) & (years < WORKING_FROM)
            higher = here & (((years >= 16) & (years < 19) & to_high) | ((years >= 19) & (years < 22) & to_college))
            working_age = here & (years >= WORKING_FROM) & (years < ELDERLY)
            out = health.disabled[slot]
            weak = working_age & ~higher & ~out & health.weak[slot]
            counts["size"][t] += here
            counts["under6"][t] += here & (years < SCHOOL_FROM)
            counts["children"][t] += here & (years < WORKING_FROM)
            counts["elderly"][t] += here & (years >= ELDERLY)
            counts["working_age"][t] += working_age
            counts["students"][t] += pupil | higher
            counts["higher_students"][t] += higher
            counts["weak"][t] += weak
            counts["no_labour"][t] += working_age & out
            counts["able"][t] += working_age & ~higher & ~out & ~weak
            month_old = (age[slot] + t) % 12 == 0
            counts["school_starts"][t] |= higher & month_old & ((years == 16) | (years == 19))
    return Members(**counts)


def _means(
    world: World,
    streams: Streams,
    villages: Villages,
    village: np.ndarray,
    kind: np.ndarray,
    members: Members,
    health: _Health,
    first_year: int,
) -> Households:
    """Place, work and means of the households, and what lifted them above the line."""
    people, economy = world.people, world.economy
    remote = villages.remote[village]
    able, size = members.able[0].astype(float), members.size[0].astype(float)
    schooling = np.round(np.clip(8.2 + 2.6 * streams.once_normal("schooling") - 0.8 * remote, 0, 16))
    skilled = np.minimum(
        able, (streams.once("skilled") < 0.12 + 0.03 * schooling) * (1 + (streams.once("two skilled") < 0.2))
    )
    ability = np.exp(economy.ability_sd * streams.once_normal("ability"))
    day_wage = economy.day_wage * ability * np.exp(0.03 * (schooling - 8)) * (1 + 0.22 * (skilled > 0))
    own_industry = (streams.once("other industry") * len(INDUSTRIES)).astype(np.int8)
    industry = np.where(streams.once("follows village") < 0.75, villages.industry[village], own_industry)
    land = economy.land_mu * np.exp(0.5 * streams.once_normal("land")) * np.where(remote, 1.15, 1.0)
    leased = np.where((able == 0) & (streams.once("leases") < 0.6), 0.8, np.where(streams.once("leases") < 0.15, 0.4, 0.0))
    chance = np.where(able > 0, economy.migrants, 0)
    migrants = sum((streams.once(f"migrant {k}") < chance) & (able > k) for k in range(4)).astype(float)
    business = (streams.once("business") < economy.business) & (able > 0)
    with_project = villages.project_status[0, village] >= 0
    kind_of_link = np.searchsorted([0.3, 0.6, 0.8], streams.once("kind of link"), side="right")
    linked = with_project & (streams.once("linked") < economy.linked) & ((able > 0) | (kind_of_link > 0))
    dividend = np.where(linked, 500 + 1500 * streams.once("dividend"), 300 * (streams.once("share") < 0.4))
    diligence = 0.88 + 0.11 * streams.once("diligence")

    work_days = economy.work_days * diligence * villages.demand[:12, village].mean(0)
    wages = 12 * day_wage * work_days * ((able - migrants) * 0.93 + migrants * 0.95 * economy.migrant_premium)
    value = np.array([economy.yield_value[name] for name in INDUSTRIES])[industry]
    farm = land * (1 - leased) * value * (1 - economy.cost_share) * np.minimum(1, 0.25 + 0.4 * able)
    other = 12 * (economy.pension * members.elderly[0]) + land * (90 + 300 * leased) + dividend
    expected = wages + farm + other + 12 * business * economy.business_income * 0.7
    line = line_of(first_year)
    low, high = economy.floor
    floor = line * size * (low + (high - low) * streams.once("floor") ** 1.2)
    missing = np.maximum(floor - expected, 0) / 12
    no_labour = able == 0
    per_person = (expected + 12 * missing) / size
    lifted = streams.once("lifted") < np.where(missing > 0, 0.85, people.lifted - 0.06)
    owes = streams.once("owes") < economy.owes
    owed = np.where(owes, economy.loan_size * np.exp(economy.loan_size_sd * streams.once_normal("debt")), 0.0)
    prone, after_shock = _effort(world, streams, able)
    return Households(
        village=village,
        lifted=lifted,
        lifted_year=np.where(lifted, 2014 + (streams.once("lifted year") * 7).astype(int), 0),
        relocated=streams.once("relocated") < people.relocated,
        minority=streams.once("minority") < np.where(remote, people.minority_remote, people.minority_elsewhere),
        female_head=streams.once("female head") < np.where(kind == _SINGLE, 0.7, people.female_heads - 0.04),
        opted_out=streams.once("opted out") < 0.002,
        remote=remote,
        industry=industry.astype(np.int8),
        land=np.round(land, 1),
        leased=leased,
        skilled=skilled,
        schooling_years=schooling,
        day_wage=day_wage,
        diligence=diligence,
        migrants=migrants,
        business=business,
        chronic=health.chronic,
        disabled=(health.disabled.any(0)),
        piped=streams.once("piped") < people.piped_water,
        link=np.where(linked, kind_of_link, -1).astype(np.int8),
        dividend=dividend,
        savings=per_person * size * np.exp(0.7 * streams.once_normal("savings")) * 0.25,
        owed=owed,
        debt=owed * streams.once("debt still to pay"),
        floor_allowance=np.where(no_labour, missing, 0.0),
        floor_support=np.where(no_labour, 0.0, missing),
        consumption=0.82 * per_person * size / 12,
        destitute=no_labour & (kind == _ELDERLY_ONLY) & (streams.once("destitute") < 0.15),
        effort_prone=prone,
        effort_after_shock=after_shock,
    )


def _effort(world: World, streams: Streams, able: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who is ever in an episode of low effort, and for whom it only follows a shock.

    A smaller share keeps the households of the larger one, so that counties compare across shares.
    """
    effort = world.effort
    reach = 1 - effort.after_shock * (1 - effort.after_shock_reach)
    prone = (streams.once("low effort") < effort.share / reach) & (able > 0)
    return prone, prone & (streams.once("low effort after a shock") < effort.after_shock)


def link_names(link: np.ndarray) -> np.ndarray:
    """Names of the links between household and project."""
    return np.array(_LINKS, dtype=object)[link]
