"""The monitoring office at work: who is found, what is offered, whether it is taken up, when a risk counts as
gone.

It works household by household with chances of its own, so that a visit here never costs a visit there.
"""

from __future__ import annotations

import numpy as np

from riskmodel.simulation.life import Life

CATEGORIES = ("unstable_lifted", "marginal", "sudden_difficulty")
CHANNELS = ("department", "cadre", "self_report")
MEASURES = (
    "employment", "training", "public_post", "industry", "health", "protection", "housing", "water",
    "other_education",
)  # fmt: skip
WORK_MEASURES = 4  # the first so many need someone who can work
REASONS = ("suitability", "health", "caring", "distance", "information", "other", "none_given")
RISKS = (
    "illness", "disability", "disaster", "accident", "market", "job", "schooling", "labour", "housing",
    "water", "other",
)  # fmt: skip
_KNOWN_SHOCK_MONTHS = 12
_SECURE_MONTHS, _LEAST_SPELL = 6, 6  # stable for half a year before a risk is eliminated [F]


def work_through(life: Life, t: int) -> None:
    """A month of the office, which sees the household as it stood at the end of the month before."""
    _find(life, t)
    _release(life, t)
    _offer(life, t)


def _find(life: Life, t: int) -> None:
    """New spells: a household in need is found by data comparison, by a visit or by its own report."""
    office = life.world.office
    shaken = life.recently(t, 4) & (life.ratio < 1.12)
    need = (life.below | life.failing | life.sudden | life.costly | shaken) & ~life.monitored
    by_department = office.found_by_department * np.where(life.sudden | life.failing | life.costly, 2.5, 1.0)
    by_visit = office.found_by_visit * np.where(life.households.remote, office.remote_visits, 1.0)
    u = life.u("found", t)
    found = need & (u < by_department + by_visit + office.found_by_own_report)
    channel = (u >= by_department).astype(np.int8) + (u >= by_department + by_visit)
    low = life.ratio < 1
    category = np.where(low, np.where(life.households.lifted, 0, 1), 2).astype(np.int8)
    life.monitored |= found
    life.since = np.where(found, t, life.since).astype(np.int16)
    life.helped &= ~found
    life.secure_months[found] = 0
    if life.chronicle is None:
        return
    first, second = _stated_risks(life, t)
    life.tell("found", t, found, category=category, channel=channel, risk_1=first, risk_2=second)


def _stated_risks(life: Life, t: int) -> tuple[np.ndarray, np.ndarray]:
    """The two latest shocks, as codes of RISKS; without any, no labour or other (11 = none)."""
    ages = np.stack([t - life.last_shock[family] for family in RISKS[:-1]])
    ages = np.where(ages < _KNOWN_SHOCK_MONTHS, ages, 999)
    ages[1] = np.where((life.households.disabled + life.disabled_new > 0) & (ages[1] < 999), ages[1], 999)
    order = np.argsort(ages, axis=0, kind="stable")
    columns = np.arange(life.n)
    none = np.where(life.able == 0, RISKS.index("labour"), RISKS.index("other"))
    first = np.where(ages[order[0], columns] < 999, order[0], none)
    second = np.where(ages[order[1], columns] < 999, order[1], len(RISKS))
    return first.astype(np.int8), second.astype(np.int8)


def _release(life: Life, t: int) -> None:
    """Spells that end after half a year of stable income; those without labour stay tracked."""
    secure = ~life.below & ~life.failing & ~life.sudden
    life.secure_months = np.where(secure, life.secure_months + 1, 0).astype(np.int16)
    chance = life.world.office.eliminated * np.where(life.able > 0, 1.0, 0.15)
    ready = life.monitored & (life.secure_months >= _SECURE_MONTHS) & (t - life.since >= _LEAST_SPELL)
    gone = ready & (life.u("released", t) < chance)
    life.tell("eliminated", t, gone, since=life.since, helped=life.helped)
    life.monitored &= ~gone


def _offer(life: Life, t: int) -> None:
    """One offer a month at most: what the need calls for, else work, training, a post or help with
    production."""
    office, households = life.world.office, life.households
    able = life.able > 0
    routine = np.where(households.lifted, office.offers_lifted, office.offers_ordinary)
    chance = np.where(life.monitored, office.offers_monitored, np.where(able, routine, 0.3 * routine))
    made = life.u("offer", t) < chance
    u = life.u("offer kind", t)
    measure = np.searchsorted([0.38, 0.68, 0.86], u, side="right")
    needs = [life.house_left > 0, life.water_left > 0, life.ill_left > 0, ~able, life.schooling_month > 0]
    meets = [MEASURES.index(m) for m in ("housing", "water", "health", "protection", "other_education")]
    urgent = np.array([1.0, 1.0, 0.6, 1.1, 0.35])[:, None]
    open_needs = np.stack(needs) & (life.u("offer meets need", t) < urgent)
    measure = np.select(list(open_needs), meets, np.where(able, measure, MEASURES.index("protection")))
    for_work = measure < WORK_MEASURES
    placed = (life.post_left > 0) & (measure == 2)
    made &= ~placed & (for_work | np.any(open_needs, axis=0) | ~able)

    fits = life.u("offer fits", t) < np.where(for_work, office.suitable, 0.97)
    burdened = (life.carers > 0) | (life.ill_left > 0)
    fits &= ~(for_work & burdened & (life.u("offer ignores burden", t) < 0.5))
    unwilling = life.low_effort & for_work
    willing = np.where(fits, office.accepts, 0.25)
    willing = np.where(~for_work & fits, 0.97, willing)
    willing = np.where(unwilling, np.where(fits, 1 - life.world.effort.refuses, 0.05), willing)
    accepted = life.u("accepts", t) < willing
    if life.chronicle is not None:
        reason = _reasons(life, t, fits, unwilling)
        kind = measure.astype(np.int8)
        life.tell("offers", t, made, measure=kind, suitable=fits, accepted=accepted, reason=reason)
    _take_effect(life, t, made & accepted, measure, fits)


def _reasons(life: Life, t: int, fits: np.ndarray, unwilling: np.ndarray) -> np.ndarray:
    """Why an offer would be refused, as codes of REASONS."""
    u = life.u("reason", t)
    codes = {name: place for place, name in enumerate(REASONS)}
    other = np.where(u < 0.4, codes["information"], codes["other"])
    good = np.select(
        [life.carers > 0, life.ill_left > 0, ~fits, life.households.remote & (u < 0.6)],
        [codes["caring"], codes["health"], codes["suitability"], codes["distance"]],
        other,
    )
    silent = life.u("reason given", t) < np.where(unwilling & fits, 0.92, life.world.office.silent)
    return np.where(silent, codes["none_given"], good).astype(np.int8)


def _take_effect(life: Life, t: int, taken: np.ndarray, measure: np.ndarray, fits: np.ndarray) -> None:
    """Help works from the next month on; what does not fit does nothing."""
    ends = life.intervention.no_help_from
    if ends is not None and t >= ends:
        return
    life.helped |= taken & life.monitored
    kinds = {name: taken & (measure == place) & fits for place, name in enumerate(MEASURES)}
    life.start("placed_left", kinds["employment"], 12)
    for counter in (life.jobless_left, life.project_jobless_left):
        counter[:] = np.where(kinds["employment"], np.minimum(counter, 1), counter)
    life.trained = np.minimum(life.trained + kinds["training"], 2).astype(np.int16)
    life.start("training_12m_left", kinds["training"], 12)
    life.start("post_left", kinds["public_post"], 13)
    life.start("industry_left", kinds["industry"], 13)
    relief = np.where(kinds["health"], 0.35 * life.ill_size, 0.0)
    life.claims_due[(t + 1) % len(life.claims_due)] += relief
    life.start("protection_left", kinds["protection"], 13)
    life.start("school_aid_left", kinds["other_education"], 13)
    for counter, kind in ((life.house_left, "housing"), (life.water_left, "water")):
        counter[:] = np.where(kinds[kind], np.minimum(counter, 2), counter)
