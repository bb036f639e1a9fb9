"""Income beside wages, costs, savings and debt of a month."""

from __future__ import annotations

import numpy as np

from riskmodel.simulation.life import FLOWS, WINDOW, Life
from riskmodel.simulation.world import LOAN_MONTHS

_HARVEST = np.array(
    [
        [0, 0, 0, 0, 0.05, 0.3, 0.1, 0, 0.3, 0.25, 0, 0],  # grain
        [0.07, 0.05, 0.06, 0.08, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.08, 0.06],  # vegetables
        [0, 0, 0, 0, 0.05, 0.1, 0.15, 0.25, 0.25, 0.15, 0.05, 0],  # fruit
        [0, 0, 0.2, 0.35, 0.15, 0.05, 0.05, 0.05, 0.1, 0.05, 0, 0],  # tea
        [0.2, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06, 0.08, 0.08, 0.08, 0.14],  # livestock
    ]
)
"""Share of the year's revenue by industry and calendar month [A]."""
_SPENDING = np.array([0.02, 0.08, 0.2, 0.2, 0.12, 0.08, 0.08, 0.06, 0.06, 0.05, 0.03, 0.02])
"""Share of the year's production cost by calendar month [A]."""
_FAMILY_SUPPORT = 60.0  # a month to households of elders, from children who live apart [A]
_INTEREST = 0.005  # of debt, a month [A]
_SMALL_COST, _CHRONIC_COST = 14.0, 95.0  # out-of-pocket a month: per member, and of long-term illness [A]


def earn(life: Life, t: int) -> None:
    """Farm, business, property and transfers of the month, and what production costs."""
    _produce(life, t)
    _receive(life, t)


def _produce(life: Life, t: int) -> None:
    economy, villages, households = life.world.economy, life.county.villages, life.households
    calendar = life.county.calendar_month[t]
    growth = life.now["other_index"]
    price = villages.price_noise[t, villages.township[life.village], households.industry]
    if life.on("market"):
        price = price * villages.price_fall[t, villages.township[life.village], households.industry]
    own_land = households.land * (1 - households.leased)
    tended = np.minimum(1.0, 0.25 + 0.4 * (life.able + 0.3 * life.carers))
    low, high = life.world.effort.idle
    left_idle = np.where(life.low_effort, low + (high - low) * life.streams.once("low idle"), 0.0)
    worked = tended * (1 - left_idle)
    indebted = 1 - 0.15 * np.clip(life.debt / (life.now["line"] * life.size), 0, 1)
    season = _HARVEST[households.industry, calendar]
    year_began = max(t - calendar, 0)
    luck = np.exp(0.14 * life.z("harvest", year_began))
    loss = np.where(life.yield_left > 0, life.yield_loss, 0.0)
    helped = 1 + 0.12 * (life.industry_left > 0)
    normal = own_land * life.yield_value * growth
    farm = normal * season * price * worked * luck * (1 - loss) * indebted * helped
    open_shop = households.business & (life.business_left == 0)
    shop = np.where(open_shop, economy.business_income * growth * life.now["work_share"], 0.0)
    life.now["production"] = farm + shop
    cost_now = economy.cost_share * normal * _SPENDING[calendar] * np.where(left_idle > 0, 1 - 0.7 * left_idle, tended)
    life.now["production_cost"] = cost_now + 0.3 * shop
    for_want_of_labour = 0.7 * np.maximum(1 - tended, 0)
    idle = np.maximum(left_idle, for_want_of_labour) * (1 - households.leased)
    life.now["land_idle"] = np.where(households.land > 0, idle, 0.0) * households.land


def _receive(life: Life, t: int) -> None:
    economy, villages, households = life.world.economy, life.county.villages, life.households
    members, calendar = life.county.members, life.county.calendar_month[t]
    growth = life.now["other_index"]
    stopped = (villages.project_status[t, life.village] == 2) & (households.link >= 0) & life.on("market")
    pays_out = 1.0 * (calendar == 11)
    rent = 300 * households.leased * households.land / 12
    pays = np.where(stopped, 0.0, np.where(households.link >= 0, villages.project_pays[t, life.village], 1.0))
    rent = np.where(households.link == 2, pays * rent, rent)
    life.now["property"] = rent + pays * households.dividend * pays_out
    helped = np.where(life.protection_left > 0, 110.0 * life.size, 0.0)
    allowance = households.floor_allowance * life.now["line_index"] + helped
    subsidy = households.land * (90 + villages.eco_compensation[life.village]) * (calendar == 3)
    pension = economy.pension * members.elderly[t] * growth
    disability = 80.0 * (households.disabled + life.disabled_new)
    family = np.where((members.working_age[t] == 0) & (members.elderly[t] > 0), _FAMILY_SUPPORT, 0.0)
    support = households.floor_support * (1 + 0.6 * (growth - 1))
    life.now["allowance"] = allowance
    life.now["transfer"] = allowance + subsidy + pension + disability + family + support


def spend(life: Life, t: int) -> None:
    """Medical and schooling cost, claims, and what is saved or borrowed in the end."""
    households = life.households
    growth = life.now["other_index"]
    small = growth * (_SMALL_COST * life.size + _CHRONIC_COST * life.chronic) * np.exp(0.4 * life.z("small cost", t))
    life.now["selfpay"] = small + life.now["illness_selfpay"] + life.now["accident_selfpay"]
    due = life.claims_due[t % len(life.claims_due)]
    life.now["claims"] = due.copy()
    due[:] = 0
    aid = np.where(life.school_aid_left > 0, 250.0, 0.0)
    pupils = life.county.members.students[t] - life.county.members.higher_students[t]
    life.now["schooling_cost"] = 40.0 * pupils + np.maximum(life.schooling_month - aid, 0)
    spare = np.maximum(life.savings - 3 * households.consumption * growth, 0)
    repaid = np.minimum(np.minimum(life.owed / LOAN_MONTHS, life.debt), 0.5 * spare)
    life.now["debt_service"] = _INTEREST * life.debt + repaid
    income = sum(life.now[name] for name in ("wage", "production", "property", "transfer", "claims"))
    outgo = sum(life.now[name] for name in ("production_cost", "selfpay", "schooling_cost", "debt_service"))
    consumption = households.consumption * growth
    left = income - outgo - consumption
    # Below its usual means a household first cuts consumption by a third, then draws on savings, then
    # borrows.
    short = np.minimum(left + 0.33 * consumption, 0)
    left = np.where(left < 0, short, left)
    savings = life.savings + left
    borrowed = np.maximum(-savings, 0)
    life.now["drew_savings"] = (left < -0.1 * consumption) & (life.savings > 0)
    life.now["borrowed"] = borrowed > 400
    life.savings = np.maximum(savings, 0)
    life.now["overdue"] = (life.savings <= 0) & (life.debt > 0.9 * life.now["line"] * life.size)
    life.debt = life.debt - repaid + borrowed + _lent(life, t)
    life.owed = np.where(life.debt > 0, np.maximum(life.owed, life.debt), 0.0)


def _lent(life: Life, t: int) -> np.ndarray:
    """New loans of the month, spent at once on a house, a wedding, stock: what they pay for is not income."""
    economy = life.world.economy
    size = economy.loan_size * np.exp(economy.loan_size_sd * life.z("loan size", t)) * life.now["other_index"]
    return np.where((life.u("loan", t) < economy.loan) & ~life.now["overdue"], size, 0.0)


def sum_window(life: Life, t: int) -> dict[str, np.ndarray]:
    """Sums over the last twelve months of every flow."""
    for place, name in enumerate(FLOWS):
        life.flows[place, t % WINDOW] = life.now[name]
    return dict(zip(FLOWS, life.flows.sum(axis=1), strict=True))
