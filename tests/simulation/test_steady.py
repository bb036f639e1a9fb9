"""A county in which nothing is planted stays as it is over five years, so that a warning of drift there is a false one."""

from __future__ import annotations

import numpy as np
import pytest

from riskmodel.simulation.world import line_of
from tests.simulation.counties import lived

FIRST, LAST = slice(0, 12), slice(48, 60)


@pytest.mark.parametrize("world", ["easy", "hard"])
def test_debts_births_and_illness_are_after_five_years_what_they_were(world: str) -> None:
    county, _, course = lived(world, households=1500, months=60)
    rows = slice(county.burn_in, None)
    state, members = course.state, county.members
    line = np.array([line_of(year) for year in county.year[rows]])[:, None]
    courses = {
        "households in debt": (state["debt"] > 500, 0.15),
        "debt against the line": (state["debt"] / line, 0.2),
        "members below six": (members.under6[rows] + state["born"], 0.25),
        "members of sixty and more": (members.elderly[rows], 0.15),
        "members": (state["size"], 0.03),
        "members with a long-term illness": (state["chronic"], 0.2),
        "medical cost against the line": (course.sums["selfpay"] / line, 0.2),
        "able members": (state["able"], 0.05),
    }
    for what, (values, tolerance) in courses.items():
        assert values[LAST].mean() == pytest.approx(values[FIRST].mean(), rel=tolerance), what


def test_the_last_of_a_household_does_not_die_of_old_age() -> None:
    county, _, _ = lived("easy", households=1500, months=60)
    size = county.members.size
    assert size.min() == 1 and (np.diff(size.astype(int), axis=0) <= 0).all() and (size[-1] < size[0]).any()


def test_debts_are_paid_back_in_three_years_by_those_who_can() -> None:
    _, _, course = lived("easy", households=1500, months=60)
    debt = course.state["debt"]
    owed_at_first = debt[0] > 500
    assert (debt[36:, owed_at_first].min(axis=0) == 0).mean() > 0.6
    assert (debt == 0).mean() > 0.6, "a debt that is paid back is gone"
