"""The simulated county against the published figures that it starts from; tolerances are stated with each."""

from __future__ import annotations

import numpy as np
import pytest

from riskmodel.simulation.seeds import census, share
from riskmodel.simulation.world import NET_INCOME_TARGETS
from tests.simulation.counties import at_risk, lived, tables_of

WORLDS = ("easy", "hard")


@pytest.mark.parametrize("world", WORLDS)
def test_household_size_is_within_3_percent_of_the_census(world):
    size = tables_of(world)["records"]["hh_size"].astype(float).mean()
    assert size == pytest.approx(census("household_size"), rel=0.03)


def test_relocated_households_are_within_2_points_of_the_census():
    assert tables_of("easy")["households"]["relocated"].mean() == pytest.approx(share("housing_relocated"), abs=0.02)


def test_piped_water_and_clinics_follow_the_census():
    county = lived("easy")[0]
    assert county.households.piped.mean() == pytest.approx(share("water_piped_home"), abs=0.015)
    expected = share("village_clinic") * share("village_clinic_up_to_standard")
    assert county.villages.clinic_ok.mean() == pytest.approx(expected, abs=0.08)
    assert county.villages.school_ok.mean() == pytest.approx(share("village_primary_school"), abs=0.15)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("year", "month"), [(2021, 11), (2022, 23)])
def test_net_income_per_person_of_lifted_people_is_within_8_percent(world, year, month):
    county, _, course = lived(world)
    lifted = county.households.lifted
    sums = course.sums
    net = sums["wage"] + sums["production"] + sums["property"] + sums["transfer"] - sums["production_cost"]
    mean = net[month, lifted].sum() / course.state["size"][month, lifted].sum()
    assert mean == pytest.approx(NET_INCOME_TARGETS[year], rel=0.08)


@pytest.mark.parametrize("world", WORLDS)
def test_income_is_about_log_normal_with_2_to_4_percent_below_the_line(world):
    _, _, course = lived(world)
    welfare = course.state["welfare"][11]
    log = np.log(welfare[welfare > 1000])
    assert 0.2 < log.std() < 0.45
    assert abs(np.median(log) - log.mean()) < 0.1
    assert 0.01 < course.below[6:].mean() < 0.04


@pytest.mark.parametrize("world", WORLDS)
def test_all_guarantees_hold_at_the_start_and_fail_only_later(world):
    _, _, course = lived(world)
    assert not course.failing[0].any()
    assert 0 < course.failing[1:].mean() < 0.01


@pytest.mark.parametrize("world", WORLDS)
def test_about_half_of_the_stated_risks_are_illness(world):
    stated = tables_of(world)["spells"]["risk_1"]
    assert 0.38 < (stated[stated != "other"] == "illness").mean() < 0.62


@pytest.mark.parametrize("world", WORLDS)
def test_a_third_to_two_thirds_of_the_risks_are_eliminated_within_a_year(world):
    spells = tables_of(world)["spells"]
    early = spells[(spells["identified_on"] >= "2021-01-01") & (spells["identified_on"] < "2022-12-01")]
    stay = (early["eliminated_on"] - early["identified_on"]).dt.days
    assert 0.33 < (stay <= 365).mean() < 0.7
    assert 0.4 < (stay <= 548).mean() < 0.85


@pytest.mark.parametrize("world", WORLDS)
def test_2_percent_or_so_of_those_at_risk_return_within_six_months(world):
    assert 0.015 < at_risk(tables_of(world))["returned"].mean() < 0.04


@pytest.mark.parametrize("world", WORLDS)
def test_the_share_ever_in_low_effort_is_the_parameter(world):
    county, _, course = lived(world)
    able = county.members.able[county.burn_in] > 0
    assert course.low_effort.any(axis=0)[able].mean() == pytest.approx(0.10, abs=0.025)
