"""The same county lived again: what an intervention changes, and what it must leave alone, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from riskmodel.simulation.dynamics import Course, live
from riskmodel.simulation.founding import quiet_county, unsupported_county
from riskmodel.simulation.life import NO_LOW_EFFORT, NO_SHOCKS, Intervention
from riskmodel.simulation.truth import fallen, falls_by_support
from riskmodel.simulation.world import FAMILIES
from tests.simulation.counties import lived

SMALL = {"households": 800, "seed": 4, "months": 30}


def struck(course: Course, households: int, *kinds: str) -> np.ndarray:
    """Households with an event of the given kinds, the burn-in included."""
    hit = np.zeros(households, dtype=bool)
    for happening in course.chronicle.events:
        if happening.facts["kind"] in kinds:
            hit[happening.households] = True
    return hit


def same(one: Course, other: Course, households: np.ndarray) -> bool:
    """Whether everything that is written down about some households is equal to the last bit."""
    flags = ("below", "failing", "sudden", "monitored", "low_effort", "no_able", "last_illness")
    pairs = [(getattr(one, name), getattr(other, name)) for name in flags]
    pairs += [(one.sums[name], other.sums[name]) for name in one.sums]
    pairs += [(one.state[name], other.state[name]) for name in one.state]
    return all(np.array_equal(a[:, households], b[:, households]) for a, b in pairs)


@pytest.mark.parametrize("world", ["easy", "hard"])
@pytest.mark.parametrize(
    ("family", "kinds"),
    [
        ("illness", ("illness",)),
        ("accident", ("accident",)),
        ("disability", ("disability",)),
        ("job", ("laid_off", "wage_arrears")),
        ("labour", ("death_of_worker", "separation", "birth", "care_duty")),
        ("housing", ("house_damage",)),
        ("water", ("water_failure",)),
    ],
)
def test_a_household_without_a_shock_does_not_notice_that_it_is_switched_off(world, family, kinds):
    county, streams, factual = lived(world, **SMALL)
    other = live(county, streams, Intervention(off=frozenset({family})), written=True)
    untouched = ~struck(factual, len(county.households), *kinds)
    assert 0 < untouched.sum() < len(county.households)
    assert same(factual, other, np.flatnonzero(untouched))
    assert not struck(other, len(county.households), *kinds)[untouched].any()
    assert not same(factual, other, np.flatnonzero(~untouched))


@pytest.mark.parametrize("world", ["easy", "hard"])
def test_a_household_without_low_effort_does_not_notice_the_baseline(world):
    county, streams, factual = lived(world, **SMALL)
    other = live(county, streams, NO_LOW_EFFORT, written=True)
    prone = county.households.effort_prone
    assert same(factual, other, np.flatnonzero(~prone))
    assert not other.low_effort.any() and factual.low_effort[:, prone].any()


def test_some_households_live_as_they_do_among_all():
    county, streams, factual = lived("hard", **SMALL)
    chosen = np.arange(0, len(county.households), 7)
    part = live(county.only(chosen), streams.only(chosen), written=True)
    for name in factual.sums:
        assert np.array_equal(part.sums[name], factual.sums[name][:, chosen]), name
    assert np.array_equal(part.monitored, factual.monitored[:, chosen])


def test_without_shocks_there_are_no_events():
    county, streams, _ = lived("hard", **SMALL)
    calm = live(county, streams, NO_SHOCKS, written=True)
    assert calm.chronicle.events == []
    assert (calm.last_illness < 0).all() and not calm.sudden.any()


def test_shocks_and_low_effort_lower_income_on_the_whole():
    county, streams, factual = lived("easy", **SMALL)
    mean = factual.state["welfare"].mean()
    for intervention in (NO_LOW_EFFORT, NO_SHOCKS, *(Intervention(off=frozenset({f})) for f in FAMILIES)):
        assert live(county, streams, intervention, written=True).state["welfare"].mean() >= mean - 5


def test_households_without_able_members_are_never_in_low_effort():
    for world in ("easy", "hard"):
        _, _, course = lived(world)
        assert not (course.low_effort & course.no_able).any()


def test_low_effort_has_nothing_to_do_with_sex_ethnicity_or_place():
    county, _, _ = lived("hard")
    households = county.households
    able = county.members.able[0] > 0
    prone = households.effort_prone[able]
    for group in (households.minority, households.female_head, households.remote):
        inside, outside = prone[group[able]].mean(), prone[~group[able]].mean()
        assert abs(inside - outside) < 0.035


@pytest.mark.parametrize("world", ["easy", "hard"])
def test_from_a_quiet_month_on_nothing_new_strikes_and_what_came_before_stays(world):
    county, streams, factual = lived(world, **SMALL)
    start = county.burn_in + 12
    other = live(quiet_county(county, streams, start), streams, Intervention(no_shock_from=start), written=True)
    for name in ("below", "failing", "sudden", "monitored", "low_effort"):
        assert np.array_equal(getattr(other, name)[:12], getattr(factual, name)[:12]), name
    assert max(h.month for h in factual.chronicle.events) >= start
    assert max(h.month for h in other.chronicle.events) < start
    assert other.below[12:].sum() < factual.below[12:].sum()


def test_without_new_help_the_months_before_stay_and_more_fall_later():
    county, streams, factual = lived("easy", **SMALL)
    start = county.burn_in + 12
    other = live(county, streams, Intervention(no_help_from=start), written=True)
    assert np.array_equal(other.below[:13], factual.below[:13]), "help works from the next month on"
    assert other.below[13:].sum() > factual.below[13:].sum()


def test_only_households_linked_to_a_project_notice_that_its_support_ends():
    county, streams, factual = lived("easy", **SMALL)
    ends = county.burn_in + 12
    place = unsupported_county(county, ends)
    other = live(place, streams, written=True)
    linked = county.households.link >= 0
    assert same(factual, other, np.flatnonzero(~linked))
    dependent = (county.villages.project_margin < county.villages.project_support)[county.households.village]
    lost = (factual.state["welfare"] - other.state["welfare"])[12:]
    assert np.array_equal(factual.state["welfare"][:12], other.state["welfare"][:12])
    assert lost[:, linked & dependent].mean() > 3 * lost[:, linked & ~dependent].mean() > 0


def test_falls_by_support_are_of_the_same_lives():
    county, streams, factual = lived("easy", **SMALL)
    falls = falls_by_support(county, streams, 12, 6)
    assert np.array_equal(falls["with"], fallen(factual)[13:19].any(axis=0))
    assert not (falls["without"] != falls["with"])[county.households.link < 0].any()
    quiet = falls_by_support(county, streams, 12, 6, quiet=True)
    assert quiet["with"].sum() < falls["with"].sum()
