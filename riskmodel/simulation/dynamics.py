"""The county lived month by month, all households at once, as it was or under an intervention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from riskmodel.simulation import income, office, shocks, work
from riskmodel.simulation.households import County
from riskmodel.simulation.life import FACTUAL, FLOWS, Chronicle, Intervention, Life
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import World, line_of

SUDDEN_SHARE = 0.5
"""Sudden severe difficulty: out-of-pocket less claims takes at least this share of net income."""
_SUDDEN_MONTHS = 12
# Of net income: from here on departments pass a household on as a clue [A, near local thresholds]
_CLUE_SHARE = 0.3
_FOOD_SHARE = 0.45  # of the line: without savings and with less, food is not secure [A]
_UNINSURED = 0.05  # chance that an overdue household lets its health cover lapse in January [A]

GUARANTEES = ("food_ok", "clothing_ok", "schooling_ok", "medical_ok", "housing_ok", "water_ok")
STATE = (
    "welfare", "debt", "size", "able", "carers", "ill_since", "ill_worker", "chronic", "disabled",
    "no_labour", "unemployed", "days_worked", "days_available", "land_idle", "lost_workers", "born",
    "training",
)  # fmt: skip
MARKS = (*GUARANTEES, "overdue", "drew_savings", "borrowed")


@dataclass(frozen=True)
class Course:
    """What a life of the county left behind; arrays are months x households, from the first recorded month
    on.

    Attributes
    ----------
    below, failing, sudden
        Below the line; a guarantee does not hold; sudden severe difficulty.
    monitored, low_effort
        In open monitoring at the end of the month; in an episode of low effort.
    no_able
        Nobody able to work.
    last_illness
        Month (from the start of the burn-in) of the latest major illness, -99 without.
    sums
        FLOWS over twelve months, yuan; only of a life that was written down, as the two following.
    state
        STATE and MARKS.
    chronicle
        Dated happenings, with months counted from the start of the burn-in.
    """

    below: np.ndarray
    failing: np.ndarray
    sudden: np.ndarray
    monitored: np.ndarray
    low_effort: np.ndarray
    no_able: np.ndarray
    last_illness: np.ndarray
    sums: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    chronicle: Chronicle | None


def live(county: County, streams: Streams, intervention: Intervention = FACTUAL, *, written: bool = False) -> Course:
    """Let the county live.

    Parameters
    ----------
    county, streams
        Of the same households.
    written
        Whether everything is kept that the office's books are made from.
    """
    months, n, burn_in = len(county.calendar_month), len(county.households), county.burn_in
    kept = months - burn_in
    life = Life(county, streams, intervention, written)
    flags = {name: np.zeros((kept, n), dtype=bool) for name in
             ("below", "failing", "sudden", "monitored", "low_effort", "no_able")}  # fmt: skip
    last_illness = np.full((kept, n), -99, dtype=np.int16)
    sums = {name: np.zeros((kept, n), dtype=np.float32) for name in FLOWS if written}
    state = {name: np.zeros((kept, n), dtype=np.float32) for name in STATE if written}
    state |= {name: np.zeros((kept, n), dtype=bool) for name in MARKS if written}
    wages = _index(county, county.world.economy.wage_growth, county.world)
    for t in range(months):
        line = line_of(int(county.year[t]))
        years = (t - burn_in) / 12
        life.now = {
            "line": line,
            "line_index": line / line_of(int(county.year[0])),
            "wage_index": wages[t],
            "other_index": (1 + county.world.economy.other_growth) ** years,
        }
        life.tick()
        office.work_through(life, t)
        shocks.strike(life, t)
        work.count_labour(life, t)
        work.choose_effort(life, t)
        work.do_work(life, t)
        income.earn(life, t)
        income.spend(life, t)
        totals = income.sum_window(life, t)
        guarantees = _assess(life, t, totals, line)
        if t >= burn_in:
            row = t - burn_in
            for name, rows in flags.items():
                rows[row] = life.able == 0 if name == "no_able" else getattr(life, name)
            last_illness[row] = life.last_shock["illness"]
            if written:
                _write(life, row, totals, guarantees, sums, state)
    return Course(**flags, last_illness=last_illness, sums=sums, state=state, chronicle=life.chronicle)


def _index(county: County, growth: object, world: World) -> np.ndarray:
    """Wages by month against the first recorded month."""
    monthly = np.array([(1 + growth.get(int(y), world.economy.growth_after)) ** (1 / 12) for y in county.year])
    index = np.cumprod(monthly)
    return index / index[county.burn_in]


def _assess(life: Life, t: int, totals: dict[str, np.ndarray], line: float) -> dict[str, np.ndarray]:
    """Hold the household against the line and the guarantees. Before a year has passed, all count as
    secure."""
    gains = totals["wage"] + totals["production"] + totals["property"] + totals["transfer"]
    net = gains - totals["production_cost"]
    cost = totals["selfpay"] - totals["claims"]
    full = t >= life.county.burn_in - 1
    life.now["welfare"] = (net - cost) / life.size
    ratio = life.now["welfare"] / line
    life.ratio = ratio if full else np.full(life.n, 2.0)
    life.below = life.ratio < 1
    struck = [life.last_shock[f] for f in ("illness", "accident", "disability")]
    recent = t - np.maximum.reduce(struck) < _SUDDEN_MONTHS
    life.sudden = (cost >= SUDDEN_SHARE * np.maximum(net, 1)) & recent & full
    life.costly = (cost >= _CLUE_SHARE * np.maximum(net, 1)) & recent & full
    january = life.county.calendar_month[t] == 0
    lapses = life.now["overdue"] & (life.u("cover lapses", t) < _UNINSURED) & january & (t > life.county.burn_in)
    life.start("uninsured_left", lapses, (2 + 3 * life.u("months uninsured", t)).astype(np.int16))
    hungry = (net / life.size < _FOOD_SHARE * line) & (life.savings <= 0) & (t > life.county.burn_in)
    guarantees = {
        "food_ok": ~hungry,
        "clothing_ok": ~(hungry & (net / life.size < 0.75 * _FOOD_SHARE * line)),
        "schooling_ok": life.drop_out_left == 0,
        "medical_ok": life.uninsured_left == 0,
        "housing_ok": life.house_left == 0,
        "water_ok": life.water_left == 0,
    }
    life.failing = ~np.logical_and.reduce(list(guarantees.values()))
    return guarantees


def _write(
    life: Life,
    row: int,
    totals: dict[str, np.ndarray],
    guarantees: dict[str, np.ndarray],
    sums: dict[str, np.ndarray],
    state: dict[str, np.ndarray],
) -> None:
    """Keep a month for the books."""
    for name, total in totals.items():
        sums[name][row] = total
    held = {
        "debt": life.debt,
        "size": life.size,
        "able": life.able,
        "carers": life.carers,
        "ill_since": np.where(life.ill_left > 0, life.ill_since, -1),
        "ill_worker": (life.ill_left > 0) & life.ill_worker,
        "chronic": life.chronic,
        "disabled": life.households.disabled + life.disabled_new,
        "no_labour": life.disabled_workers + ((life.ill_left > 0) & life.ill_worker),
        "lost_workers": life.dead + life.left,
        "born": life.born,
        "training": (life.training_12m_left > 0),
        **{name: life.now[name] for name in
           ("welfare", "unemployed", "days_worked", "days_available", "land_idle", "overdue", "drew_savings",
            "borrowed")},
        **guarantees,
    }  # fmt: skip
    for name, rows in state.items():
        rows[row] = held[name]
