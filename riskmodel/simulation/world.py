"""The worlds: every number that the simulated county is made from, with its source.

Sources are marked [C] census bulletin and yearbook as cited in the source paper
(`seeds/census_indicators.csv`), [F] figures published by counties, prefectures or ministries, [L] literature,
[A] assumption without evidence. Money is yuan, chances are per household and month, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from riskmodel.errors import UsageError
from riskmodel.simulation.seeds import share

FAMILIES = (
    "illness", "disability", "disaster", "accident", "market", "job", "schooling", "labour", "housing",
    "water",
)  # fmt: skip
"""Families of shocks, named as the objective drivers that they feed. Animal disease counts as a disaster, as
the field's codes have it; death of a worker, separation, birth and care duties are losses of labour."""

INDUSTRIES = ("grain", "vegetables", "fruit", "tea", "livestock")

LINES = {2021: 7000.0, 2022: 7400.0, 2023: 7600.0, 2024: 8000.0}
"""Monitoring line by year, yuan per person. 2023 is Hubei's; the others lie between published ones [F, A]."""
LINE_GROWTH = 0.05  # a year, after the last line of the table [A]


def line_of(year: int) -> float:
    """The simulated line of a year, yuan per person and year.

    >>> line_of(2022), round(line_of(2025))
    (7400.0, 8400)
    """
    first, last = min(LINES), max(LINES)
    if year <= last:
        return LINES[max(year, first)]
    return round(LINES[last] * (1 + LINE_GROWTH) ** (year - last), -1)


LOAN_MONTHS = 36
"""Months in which a debt is paid back in equal parts, as a household can spare them: the longest term of the microcredit for
lifted households [F]."""

NET_INCOME_TARGETS = {2021: 12550.0, 2022: 14342.0}
"""Mean net income per person of lifted people [F]: what the calibration test holds the county against."""


@dataclass(frozen=True)
class People:
    """Who lives in the county."""

    relocated: float = field(default_factory=lambda: share("housing_relocated"))  # [C] 14.01 %
    piped_water: float = field(default_factory=lambda: share("water_piped_home"))  # [C] 93.67 %
    clinic: float = field(default_factory=lambda: share("village_clinic"))  # [C] 96.3 % of villages
    # [C] 95.3 %
    clinic_up_to_standard: float = field(default_factory=lambda: share("village_clinic_up_to_standard"))
    village_school: float = field(default_factory=lambda: share("village_primary_school"))  # [C] 47.7 %
    lifted: float = 0.65  # share of the register's households that were lifted [A]
    households_per_village: int = 50  # on the register [A]
    remote_villages: float = 0.3  # [A]
    minority_remote: float = 0.35  # share of minority households in remote villages [A]
    minority_elsewhere: float = 0.2  # [A]
    female_heads: float = 0.16  # [A]; 0.7 among single adults
    chronic: float = 0.18  # households with long-term illness at the start [A]
    disabled: float = 0.07  # households with a disabled member at the start [A]
    weak_over_50: float = 0.16  # share of members aged 50-59 with weak labour [A]
    age_of_children: float = 0.5  # power of a uniform number: fewer small than big ones, as births have become few [A]
    mortality: float = 0.011  # of those who are 60, a year [A, near life tables]
    mortality_growth: float = 0.10  # of its logarithm, a year of age [A, near life tables]
    high_school: float = 0.75  # of those who turn 16 [A]
    college: float = 0.35  # of those who turn 19 after high school [A]


@dataclass(frozen=True)
class Economy:
    """What work, land and policy bring in."""

    # What a local day of work adds to net income, first month of 2021 [A], set to meet NET_INCOME_TARGETS
    day_wage: float = 49.5
    migrant_premium: float = 1.35  # [A]
    wage_growth: Mapping[int, float] = field(
        default_factory=lambda: {2020: 0.07, 2021: 0.16, 2022: 0.20, 2023: 0.06}
    )  # a year [A], set to meet NET_INCOME_TARGETS; wages carried most of the growth
    growth_after: float = 0.055  # wages, years after the table [A]
    other_growth: float = 0.05  # farm prices, pensions, transfers, a year [A]
    ability_sd: float = 0.12  # of log wages between households [A]
    work_days: float = 22.0  # days a month that an able member can work [A]
    demand: tuple[float, float] = (0.84, 0.98)  # share of these days on which local work is to be had [A]
    demand_remote: tuple[float, float] = (0.78, 0.95)
    migrants: float = 0.4  # chance that an able member works away [A]
    land_mu: float = 4.5  # median per household [A]
    yield_value: Mapping[str, float] = field(
        default_factory=lambda: {
            "grain": 1000.0, "vegetables": 2400.0, "fruit": 2500.0, "tea": 2300.0, "livestock": 2800.0,
        }
    )  # revenue per mu and year [A]  # fmt: skip
    cost_share: float = 0.36  # of normal revenue [A]
    business: float = 0.10  # households with a shop, a workshop or a vehicle [A]
    business_income: float = 1350.0  # a month, before costs [A]
    pension: float = 135.0  # per person from 60 on and month [A, near the rural basic pension]
    public_post: float = 650.0  # a month [A]
    projects: float = 0.6  # villages with a project [A]
    linked: float = 0.3  # of the households there that can be linked to it [A]
    owes: float = 0.3
    """Households in debt at the start [A]: of 28,000 rural families 44 % had borrowed privately (China Household Finance
    Survey 2013), in a township of Kashgar 15 % of lifted households had a microloan, of 16,700 yuan on average [L]."""
    loan: float = 0.0085  # chance of a new loan a month [A], set so that as many stay in debt
    loan_size: float = 9000.0  # median [A], 13,500 on average
    loan_size_sd: float = 0.9  # of its logarithm [A]
    floor: tuple[float, float] = (1.34, 1.80)
    """When lifted, a household was brought to at least this many times the line, by allowance where it has no
    labour, else by transfers and dividends [A]; set so that about 2 % lie below the line [F]."""


@dataclass(frozen=True)
class Hazards:
    """Chance of shocks per household and month, and their size."""

    # Major illness; raised by chronic illness and age [A], half of stated causes [F, L]
    illness: float = 0.0053
    illness_chronic: float = 2.6  # factor with long-term illness [A]
    # Median compliant out-of-pocket of one illness; 5-20 thousand raise a clue [F]
    illness_selfpay: float = 9000.0
    illness_selfpay_sd: float = 0.95  # of its logarithm [A]
    illness_claims: float = 0.22  # of out-of-pocket, paid by insurance three months later [A]
    chronic_ends: float = 0.0085  # a long-term illness is overcome [A], as often as others begin
    disability: float = 0.0004  # [A]
    accident: float = 0.0013  # [A]
    accident_selfpay: float = 5500.0  # median [A]
    death_of_worker: float = 0.00035  # [A], near mortality of ages 16-59
    separation: float = 0.0004  # an able member leaves for good [A]
    birth: float = 0.0036  # with two of working age [A]: about 9 a year per 1,000 people
    care_duty: float = 0.0009  # someone needs care for a year or more; doubled per elder [A]
    laid_off: float = 0.0060  # [A]; less with skills, more near the line, 3 times where a project falters
    wage_arrears: float = 0.0013  # [A]
    business_fails: float = 0.004  # [A]
    project_falters: float = 0.0045  # per village project and month; stops three months later [A]
    disaster: float = 0.0075  # drought or flood per village and month, May to September [A]
    animal_disease: float = 0.003  # per village and month, livestock only [A]
    price_fall: float = 0.008  # per township and industry and month [A]
    # Chance that a parent moves with a child that starts school beyond the compulsory [A]
    accompany: float = 0.25
    drop_out: float = 0.00006  # a school-age child leaves school [A]; all are in school at the start [C]
    house_damage: float = 0.00012  # [A]; all houses are safe at the start [C]
    house_damage_in_flood: float = 0.02  # [A]
    # Longer than a month; 3 times without piped water [A]; all secure at the start [C]
    water_failure: float = 0.00012


@dataclass(frozen=True)
class Effort:
    """Low effort as a process of its own: never caused by sex, ethnicity or place."""

    share: float = 0.10
    """Share of households with able labour that are ever in an episode of low effort (0 to 0.2; unknown, a
    parameter)."""
    months: tuple[int, int] = (6, 18)  # length of an episode [A]
    work: tuple[float, float] = (0.3, 0.6)  # share of available days that able members still work [A]
    idle: tuple[float, float] = (0.5, 0.95)  # share of the land left idle [A]
    refuses: float = 0.88  # chance that a suitable offer of work or training is refused, without a reason [A]
    after_shock: float = 0.0  # share of these households whose episode only follows a shock [A]
    # Chance that such a household meets a shock in 36 months; keeps `share` true
    after_shock_reach: float = 0.62


@dataclass(frozen=True)
class Office:
    """How the monitoring office finds, helps and releases households."""

    found_by_department: float = 0.12  # per month in need [A]; 15 days from clue to recognition [F]
    found_by_visit: float = 0.13  # per month in need, more rarely in remote villages [A]
    found_by_own_report: float = 0.07  # [A]
    remote_visits: float = 0.85  # chance of a visit in remote villages against others [A]
    offers_lifted: float = 0.11  # routine offers per month to lifted households with able labour [A]
    offers_ordinary: float = 0.05  # [A]
    offers_monitored: float = 0.38  # [A]
    suitable: float = 0.92  # share of offers that suit the household [A]
    accepts: float = 0.88  # chance of accepting what suits [A]
    silent: float = 0.04  # refusals whose reason nobody wrote down [A]
    eliminated: float = 0.5  # per month, after half a year above the line [A]; 50-70 % within a year [F]


@dataclass(frozen=True)
class Recording:
    """How the office's records differ from what is."""

    visit_done: float = 0.96  # of planned visits: quarterly, monthly where monitored [F]
    never_visited: float = 0.003  # [A]
    department: float = 0.95  # chance of a refresh by data comparison in a month without a visit [A]
    department_sees_all: bool = True  # it refreshes every column, not only money and health
    row_missing: float = 0.01  # [A]
    left_register: float = 0.0003  # per month; records end [A]
    field_missing: tuple[float, float] = (0.0, 0.01)  # by column [A]
    field_mistaken: float = 0.005  # values that are off by a third or more, until the next refresh [A]
    money_error: float = 0.015  # standard deviation of the logarithm [A]
    late: tuple[float, float] = (0.08, 0.02)  # share of rows late by 3-30 days, by 1-3 months [A]
    event_unrecorded: float = 0.02  # [A]
    illness_unrecorded: float = 0.02  # [A]
    care_unrecorded: float = 0.02  # households whose care duties nobody writes down [A]
    illness_unrecorded_selfpay: float = 0.3  # share of the cost that reaches the records all the same [A]
    event_days: float = 8.0  # mean delay of an event's record, days; clue to recognition 15 days [F]
    remote: float = 1.0  # factor on all of this in remote villages [A]


@dataclass(frozen=True)
class World:
    """A world to simulate; change one with `dataclasses.replace`."""

    name: str
    people: People = field(default_factory=People)
    economy: Economy = field(default_factory=Economy)
    hazards: Hazards = field(default_factory=Hazards)
    effort: Effort = field(default_factory=Effort)
    office: Office = field(default_factory=Office)
    recording: Recording = field(default_factory=Recording)


def _hard() -> World:
    """Care duties, no work to be had, work away, shocks and low effort together, and an office that sees
    little."""
    return World(
        name="hard",
        people=People(minority_remote=0.75, minority_elsewhere=0.12),
        economy=Economy(
            day_wage=49.0, demand=(0.72, 0.98), demand_remote=(0.4, 0.8), migrants=0.5, migrant_premium=1.3
        ),
        hazards=Hazards(care_duty=0.0030, laid_off=0.0063),
        effort=Effort(after_shock=0.4),
        office=Office(
            found_by_visit=0.10, remote_visits=0.55, suitable=0.72, silent=0.10, found_by_department=0.10
        ),
        recording=Recording(
            visit_done=0.82, never_visited=0.03, department=0.6, department_sees_all=False, row_missing=0.05,
            left_register=0.0015, field_missing=(0.10, 0.26), field_mistaken=0.02, money_error=0.04,
            late=(0.15, 0.15), event_unrecorded=0.12, illness_unrecorded=0.30, care_unrecorded=0.25,
            event_days=25.0, remote=1.5,
        ),
    )  # fmt: skip


def world_of(world: str | World) -> World:
    """A world by its name, `easy` or `hard`; a world of your own is handed back.

    Raises
    ------
    UsageError
        If there is no such world.
    """
    if isinstance(world, World):
        return world
    worlds = {"easy": lambda: World(name="easy"), "hard": _hard}
    if world not in worlds:
        raise UsageError(f"world {world!r} is not known: write easy or hard.")
    return worlds[world]()
