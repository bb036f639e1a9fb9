"""The truth by intervention: what each return needed.

The same county is lived again with the same random numbers: once with effort at its baseline (no episode of
low effort, hence no refusal or idle land that comes from it), once with all shocks switched off, and once
with each family of shocks switched off alone. An intervention holds for the whole simulated time, from the
burn-in before the first recorded month; what a household brought with it (chronic illness, disability, debt)
stays. A return within (t, t + H] that does not take place within (t, t + H] of the other life has vanished:

- `subjective`: it vanishes only with effort at its baseline
- `objective`: only with the shocks switched off
- `joint`: with either, so that both were needed (low effort that follows a shock is joint)
- `over_determined`: with neither; structure, prices, the line or either of two causes alone carried it

`necessary` names the families whose removal alone lets the return vanish; an objective return may need none
of them alone, where two shocks would each have been enough.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from riskmodel.simulation.dynamics import Course, live
from riskmodel.simulation.founding import quiet_county, unsupported_county
from riskmodel.simulation.households import County
from riskmodel.simulation.identifiers import dates, first_days, text
from riskmodel.simulation.life import FACTUAL, NO_LOW_EFFORT, NO_SHOCKS, Intervention
from riskmodel.simulation.recording import Attention
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import FAMILIES

CAUSES = ("none", "subjective", "objective", "joint", "over_determined")
KINDS = ("below_line", "guarantee_fail", "sudden_difficulty")
_SCARCE_WORK = 0.5  # share of days on which local work is to be had


def fallen(course: Course) -> np.ndarray:
    """Months x households in which what the label counts holds.

    Below the line at two assessments in a row (one in the last month), a guarantee that fails, sudden
    difficulty.
    """
    twice = course.below.copy()
    twice[:-1] &= course.below[1:]
    return twice | course.failing | course.sudden


def first_fall(holds: np.ndarray, horizon: int) -> np.ndarray:
    """Months from t to the first month in (t, t + horizon] in which it holds, 0 where none; of complete
    horizons."""
    complete = max(len(holds) - horizon, 0)
    first = np.zeros((complete, holds.shape[1]), dtype=np.int16)
    for ahead in range(horizon, 0, -1):
        first = np.where(holds[ahead : ahead + complete], ahead, first).astype(np.int16)
    return first


def find_causes(
    county: County,
    streams: Streams,
    course: Course,
    attention: Attention,
    ids: dict[str, np.ndarray],
    horizon: int,
) -> pd.DataFrame:
    """The table `truth`: one row per household and month with a complete horizon, ordered by household and
    month.

    Returns
    -------
    pandas.DataFrame
        `household_id`, `month`; `at_risk` (at the end of the month not below the line, not in open
        monitoring, all guarantees hold, no sudden difficulty); `returned`, `return_month`, `return_kind`;
        `cause`, `necessary` (text, families joined by commas), `low_effort` (at t), `low_effort_12m` (in any
        month from t - 11 to t); `no_able_labour`, `carers`, `scarce_work`, `illness_unrecorded` (of the last
        twelve months), and the groups `lifted`, `relocated`, `remote`, `minority`, `female_head`, `elderly`
        (half of the members at least), `disability`. `returned` is given for households that are not at risk
        as well; keep `at_risk` for rates.
    """
    first = first_fall(fallen(course), horizon)
    complete, n = first.shape
    returned = first > 0
    affected = np.flatnonzero(returned.any(axis=0))
    cause = np.zeros(first.shape, dtype=np.int8)
    necessary = np.zeros(first.shape, dtype=np.int32)
    if len(affected):
        part, same = county.only(affected), streams.only(affected)

        def vanishes(intervention: Intervention) -> np.ndarray:
            other = first_fall(fallen(live(part, same, intervention)), horizon) > 0
            return returned[:, affected] & ~other

        by_effort, by_shocks = vanishes(NO_LOW_EFFORT), vanishes(NO_SHOCKS)
        kinds = np.select([by_effort & by_shocks, by_effort, by_shocks], [3, 1, 2], 4)
        cause[:, affected] = np.where(returned[:, affected], kinds, 0)
        for bit, family in enumerate(FAMILIES):
            necessary[:, affected] |= vanishes(Intervention(off=frozenset({family}))).astype(np.int32) << bit
    return _table(county, course, attention, ids, first, cause, necessary, np.arange(complete), n)


def falls_without(county: County, streams: Streams, month: int, horizon: int) -> dict[str, np.ndarray]:
    """Who falls within (month, month + horizon] where nothing new befalls anybody, or no new help works, after a month.

    What had begun by the end of the month runs its course.

    Parameters
    ----------
    month
        Place of the month among those on record, from 0.

    Returns
    -------
    dict
        `shock` and `help`: whether each household falls in the life without it, shape (households,).
    """
    start = county.burn_in + month + 1
    quiet = live(quiet_county(county, streams, start), streams, Intervention(no_shock_from=start))
    unhelped = live(county, streams, Intervention(no_help_from=start))
    within = slice(month + 1, month + horizon + 1)
    return {name: fallen(course)[within].any(axis=0) for name, course in (("shock", quiet), ("help", unhelped))}


def falls_by_support(
    county: County, streams: Streams, month: int, horizon: int, *, quiet: bool = False
) -> dict[str, np.ndarray]:
    """Who falls within (month, month + horizon] with the policy support of projects, and who where it ends with a month.

    Parameters
    ----------
    month
        Place of the last month with support among those on record, from 0.
    quiet
        Whether in both lives nothing new befalls anybody after that month, so that what falls without support falls through
        its end and what had begun already, and not through what strikes later.

    Returns
    -------
    dict
        `with` and `without`: whether each household falls, shape (households,); the random numbers are the same.
    """
    start = county.burn_in + month + 1
    place = quiet_county(county, streams, start) if quiet else county
    chosen = Intervention(no_shock_from=start) if quiet else FACTUAL
    lives = {"with": place, "without": unsupported_county(place, start)}
    within = slice(month + 1, month + horizon + 1)
    return {name: fallen(live(lived, streams, chosen))[within].any(axis=0) for name, lived in lives.items()}


def _table(
    county: County,
    course: Course,
    attention: Attention,
    ids: dict[str, np.ndarray],
    first: np.ndarray,
    cause: np.ndarray,
    necessary: np.ndarray,
    months: np.ndarray,
    n: int,
) -> pd.DataFrame:
    complete, h = len(months), county.households

    def flat(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values[:complete].T).ravel()

    def each(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, complete)

    at_risk = ~(course.below | course.failing | course.sudden | course.monitored)
    recent_effort = course.low_effort.copy()
    for back in range(1, 12):
        recent_effort[back:] |= course.low_effort[:-back]
    index = months[:, None] + first
    columns = np.arange(n)[None, :]
    kind = np.select([first == 0, course.failing[index, columns], course.sudden[index, columns]], [3, 1, 2], 0)
    names = np.array([_families(code) for code in range(1 << len(FAMILIES))], dtype=object)
    since = months[:, None] + county.burn_in - course.last_illness[:complete]
    onset = np.maximum(course.last_illness[:complete], 0).astype(int)
    hidden = (since < 12) & np.take_along_axis(attention.hidden_illness, onset, axis=0)
    elders = course.state["size"][:complete] <= 2 * county.members.elderly[county.burn_in :][:complete]
    number = np.tile(county.start + months, n)
    return_on = first_days(number + flat(first))
    demand = county.villages.demand[county.burn_in :][:complete][:, h.village]
    return pd.DataFrame(
        {
            "household_id": text(each(ids["household"])),
            "month": dates(first_days(number)),
            "at_risk": flat(at_risk),
            "returned": flat(first) > 0,
            "return_month": dates(return_on, flat(first) == 0),
            "return_kind": text(np.array([*KINDS, None], dtype=object)[flat(kind)]),
            "cause": text(np.array(CAUSES, dtype=object)[flat(cause)]),
            "necessary": text(names[flat(necessary)]),
            "low_effort": flat(course.low_effort),
            "low_effort_12m": flat(recent_effort),
            "no_able_labour": flat(course.no_able),
            "carers": flat(course.state["carers"]) > 0,
            "scarce_work": flat(demand) < _SCARCE_WORK,
            "illness_unrecorded": flat(hidden),
            "lifted": each(h.lifted),
            "relocated": each(h.relocated),
            "remote": each(h.remote),
            "minority": each(h.minority),
            "female_head": each(h.female_head),
            "elderly": flat(elders),
            "disability": flat(course.state["disabled"]) > 0,
        }
    )


def _families(code: int) -> str:
    return ",".join(family for bit, family in enumerate(FAMILIES) if code >> bit & 1)
