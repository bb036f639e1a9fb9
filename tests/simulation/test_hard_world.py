"""What the hard world has that the easy one has not."""

from __future__ import annotations

import numpy as np

from tests.simulation.counties import at_risk, lived, tables_of

FIELDS = ("wage_income", "selfpay", "n_able", "n_carers", "days_worked", "land_idle_mu", "housing_ok")


def test_10_to_30_percent_of_fields_are_missing():
    hard, easy = tables_of("hard")["records"], tables_of("easy")["records"]
    for field in FIELDS:
        assert 0.05 < hard[field].isna().mean() < 0.35, field
        assert easy[field].isna().mean() < 0.03, field
    assert 0.1 < hard[list(FIELDS)].isna().mean().mean() < 0.3


def test_10_to_30_percent_of_figures_are_off_by_a_tenth_or_more():
    """Mistaken, rounded off by memory, or carried forward from before they changed."""
    off = {}
    for world in ("easy", "hard"):
        course, tables = lived(world)[2], tables_of(world)
        records, ids = tables["records"], tables["households"]["household_id"]
        who = records["household_id"].map(dict(zip(ids, range(len(ids)), strict=True))).to_numpy()
        when = (records["month"].dt.year - 2021).to_numpy() * 12 + records["month"].dt.month.to_numpy() - 1
        kept = {"selfpay": course.sums["selfpay"], "production_income": course.sums["production"],
                "days_worked": course.state["days_worked"]}  # fmt: skip
        for field, all_true in kept.items():
            true, held = all_true[when, who], records[field].astype(float).to_numpy()
            known = ~np.isnan(held)
            off[world, field] = (np.abs(held - true) > 0.1 * np.abs(true) + 0.05)[known].mean()
    for field in ("selfpay", "production_income", "days_worked"):
        assert off["easy", field] < 0.03 and 0.1 < off["hard", field] < 0.4, (field, off)


def test_some_households_are_never_visited():
    for world, least, most in (("easy", 0, 0.01), ("hard", 0.02, 0.06)):
        visits, households = tables_of(world)["visits"], tables_of(world)["households"]
        seen = households["household_id"].isin(visits.loc[visits["done"], "household_id"])
        assert least <= 1 - seen.mean() < most, world
        records = tables_of(world)["records"]
        assert records.loc[records["household_id"].isin(households.loc[~seen, "household_id"]), "visited_on"].isna().all()


def test_shocks_and_low_effort_come_together_and_either_may_be_needed():
    truth = at_risk(tables_of("hard"))
    by_effort = truth[truth["low_effort_12m"] & truth["returned"]]
    assert {"subjective", "joint", "objective"} <= set(by_effort["cause"])
    assert (by_effort.loc[by_effort["cause"] == "joint", "necessary"] != "").mean() > 0.75


def test_many_illnesses_are_never_recorded_or_late():
    shares, delays = {}, {}
    for world in ("easy", "hard"):
        course = lived(world)[2]
        struck = sum(len(h.households) for h in course.chronicle.events if h.facts["kind"] == "illness" and h.month < 42)
        events = tables_of(world)["events"].query("kind == 'illness'")
        shares[world] = (events["onset_on"] < "2023-07-01").sum() / struck
        delays[world] = (events["known_at"] - events["onset_on"]).dt.days.mean()
    assert shares["easy"] > 0.95
    assert 0.55 < shares["hard"] < 0.8
    assert delays["hard"] > 2 * delays["easy"]


def test_rows_come_late_and_are_carried_forward():
    for world, least, most in (("easy", 0.0, 0.15), ("hard", 0.2, 0.5)):
        records = tables_of(world)["records"]
        late = (records["known_at"] > records["month"] + np.timedelta64(31, "D")).mean()
        assert least <= late <= most
        carried = (records["source"] == "carried_forward").mean()
        assert (carried < 0.06) if world == "easy" else (carried > 0.15)


def test_remote_villages_have_less_work_fewer_visits_and_more_minority_households():
    tables = tables_of("hard")
    households = tables["households"].set_index("household_id")
    remote = households["remote"]
    assert households["head_ethnic_minority"][remote].mean() > 0.5
    assert households["head_ethnic_minority"][~remote].mean() < 0.25
    visits = tables["visits"].merge(remote.reset_index(), on="household_id")
    done = visits.groupby("remote")["done"].mean()
    assert done[True] < done[False] - 0.05
    truth = tables["truth"]
    assert truth.loc[truth["remote"], "scarce_work"].mean() > 0.1
    assert truth.loc[~truth["remote"], "scarce_work"].mean() < 0.02


def test_care_duties_keep_able_members_from_work():
    assert lived("hard")[2].state["carers"].mean() > 1.4 * lived("easy")[2].state["carers"].mean()


def test_members_work_away_by_season():
    away = lived("hard")[2].state["days_worked"].mean(axis=1)
    assert away[[1, 13, 25]].mean() < 0.8 * away[[5, 17, 29]].mean()


def test_more_offers_do_not_fit_and_more_refusals_have_a_good_reason():
    for world, most in (("easy", 0.9), ("hard", 0.82)):
        refused = tables_of(world)["assistance"].query("accepted == False")
        assert (refused["refusal_reason"] != "none_given").mean() > 0.75
        suitable = tables_of(world)["assistance"]["suitable"].mean()
        assert suitable > 0.9 if world == "easy" else suitable < most
    reasons = set(tables_of("hard")["assistance"]["refusal_reason"].dropna())
    assert {"suitability", "caring", "health", "distance", "none_given"} <= reasons


def test_low_effort_follows_a_shock_only_in_the_hard_world_and_the_shock_counts_as_necessary():
    easy, hard = lived("easy")[0].households, lived("hard")[0].households
    assert not easy.effort_after_shock.any() and hard.effort_after_shock.any()
    truth = at_risk(tables_of("hard"))
    after_shock = hard.effort_after_shock[truth["household_id"].str[-6:].astype(int).to_numpy() - 1]
    by_effort = truth["cause"].isin(["subjective", "joint"]).to_numpy() & after_shock
    assert by_effort.any()
    assert (truth.loc[by_effort, "cause"] == "joint").mean() > 0.9


def test_an_illness_without_a_record_looks_like_work_left_undone():
    records = tables_of("hard")["records"].merge(
        tables_of("hard")["truth"][["household_id", "month", "illness_unrecorded", "low_effort"]]
    )
    share = records["days_worked"] / records["days_available"].where(records["days_available"] > 0)
    usual = share[~records["illness_unrecorded"] & ~records["low_effort"]].mean()
    assert share[records["illness_unrecorded"] & ~records["low_effort"]].mean() < usual - 0.05
