"""Industries: projects are graded by what they live on, stagnation is theirs and never a household's, support off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.industries import figures_of, leaning_world, listed_and_true
from riskmodel.alerts.scoring import score
from riskmodel.engine import engine
from riskmodel.model.tracking import load_model
from riskmodel.monitoring.industries import _concentration, likeness, report_industries, stagnation_of
from riskmodel.monitoring.known import read_known
from riskmodel.monitoring.part import Asked, Found, scored_months
from riskmodel.monitoring.rules import IndustryRules, Rules
from riskmodel.monitoring.support import loss_without_support, support_off, with_property_income, without_support
from riskmodel.months import month_number
from riskmodel.register import Register
from tests.cohort.registers import make_register, monthly
from tests.county import AS_OF, County

DAY = month_number("2023-12")
PEOPLE = {"001": ("v1", "tea"), "002": ("v1", "tea"), "003": ("v2", "grain"), "004": ("v2", "grain")}


def project(name: str, village: str, revenue: list[float], support: float, cost: float, status: str) -> pd.DataFrame:
    """A project's rows for the same month of some years."""
    months = [f"{2024 - len(revenue) + k}-12-01" for k in range(len(revenue))]
    return pd.DataFrame({
        "project_id": name, "month": months, "known_at": [m[:8] + "31" for m in months], "village_id": village,
        "industry": PEOPLE["001" if village == "v1" else "003"][1], "status": status, "revenue": revenue, "cost": cost,
        "policy_support": support,
    })  # fmt: skip


def tables(**changed: pd.DataFrame) -> dict[str, pd.DataFrame]:
    parts = {"hh_size": 2, "wage_income": 8000.0, "production_income": 6000.0}
    records = [monthly(h, "2023-01", [150.0] * 12, industry=kind, **parts) for h, (_, kind) in PEOPLE.items()]
    made = {
        "records": pd.concat(records),
        "households": pd.DataFrame({
            "household_id": list(PEOPLE), "township_id": "t", "village_id": [v for v, _ in PEOPLE.values()],
        }),
        "projects": pd.concat([
            project("lives on support", "v1", [100_000.0, 100_000.0], 60_000.0, 90_000.0, "running"),
            project("bears itself", "v2", [100_000.0, 100_000.0], 2_000.0, 60_000.0, "running"),
        ]),
        "household_projects": pd.DataFrame({
            "household_id": ["001", "003"], "project_id": ["lives on support", "bears itself"], "link": ["job", "own"],
            "income": [8000.0, 6000.0], "known_at": "2023-01-01",
        }),
    }  # fmt: skip
    return {**made, **changed}


def report(folder: Path, **changed: pd.DataFrame) -> Found:
    return report_industries(Asked(make_register(folder, **tables(**changed)), DAY, Rules()))


def test_a_project_that_loses_without_support_is_fully_dependent_and_its_household_watched(tmp_path: Path) -> None:
    found = report(tmp_path)
    projects = found.tables["projects"].set_index("project_id")
    assert projects["dependence"].to_dict() == {"lives on support": "fully", "bears itself": "independent"}
    assert projects.loc["lives on support", "reason_en"] == "support is 60% of revenue; without it a loss of 50% of revenue"
    assert found.tables["watched"]["household_id"].tolist() == ["001"]
    assert found.tables["watched"]["income_share"].item() == pytest.approx(8000 / 14000)


def test_a_part_of_income_that_is_not_on_record_makes_no_household_live_on_a_project(tmp_path: Path) -> None:
    """8,000 from the project: of 6,000 on record it would be all, of 15,000 a head for two it is a quarter."""
    records = tables()["records"].assign(welfare=15_000.0)
    records.loc[records["month"] == "2023-12-01", "wage_income"] = None
    assert report(tmp_path / "known", records=records).tables["watched"]["household_id"].tolist() == []
    records.loc[records["month"] == "2023-12-01", "welfare"] = None
    assert report(tmp_path / "untold", records=records).tables["watched"]["household_id"].tolist() == []
    records = records.drop(columns="hh_size")
    assert report(tmp_path / "unsized", records=records).tables["watched"]["household_id"].tolist() == []


def test_income_from_a_business_of_ones_own_is_not_counted_beside_the_production_that_holds_it(tmp_path: Path) -> None:
    shares = report(tmp_path).tables["industries"].set_index("industry")["income_share"]
    assert shares["grain"] == pytest.approx(2 * 6000 / (4 * 14_000)), "003 lives on grain, and 6,000 of it are its own"
    assert shares["tea"] == pytest.approx((2 * 6000 + 8000) / (4 * 14_000)), "the wage is no production"


def test_an_event_of_one_household_does_not_strike_its_village(tmp_path: Path) -> None:
    event = {"kind": "disaster", "onset_on": "2023-07-02", "known_at": "2023-07-09", "village_id": "v1"}
    events = pd.DataFrame([event | {"household_id": "001"}])
    struck = report(tmp_path / "one", events=events).tables["industries"].set_index("industry")["shocked_share"]
    assert struck.to_dict() == {"tea": 0.5, "grain": 0.0}
    whole = report(tmp_path / "all", events=events.assign(household_id=None)).tables["industries"]
    assert whole.set_index("industry")["shocked_share"].to_dict() == {"tea": 1.0, "grain": 0.0}


def test_stagnation_is_never_said_of_a_household(tmp_path: Path) -> None:
    found = report(tmp_path)
    for name, table in found.tables.items():
        assert not ({"stagnation", "responsible_unit"} & set(table) and "household_id" in table), name
    assert any("stagnation" in table for table in found.tables.values())


def test_what_is_known_after_the_day_changes_nothing(tmp_path: Path) -> None:
    later = project("lives on support", "v1", [1.0], 0.0, 5.0, "bankrupt").assign(month="2023-11-01", known_at="2024-02-01")
    links = tables()["household_projects"]
    new = links.iloc[[0]].assign(household_id="002", known_at="2024-01-01")
    before = report(tmp_path / "a").tables
    after = report(
        tmp_path / "b",
        projects=pd.concat([tables()["projects"], later]),
        household_projects=pd.concat([links, new]),
    ).tables
    assert before.keys() == after.keys()
    for name in before:
        pd.testing.assert_frame_equal(before[name], after[name])


def test_circumstances_and_administration_are_kept_apart() -> None:
    facts = pd.DataFrame({
        "status": ["running", "stopped", "stopped", "reduced", "running", "stopped"],
        "revenue_change": [0.1, -0.9, -0.9, -0.1, -0.3, -0.9],
        "struck": [True, True, False, True, False, False],
        "unpaid_share": [0.9, np.nan, 0.5, 0.5, 0.0, np.nan],
        "paid_while_still": [False, True, False, False, False, True],
    })  # fmt: skip
    expected = ["none", "circumstances", "administration", "both", "unknown", "administration"]
    assert stagnation_of(facts, IndustryRules()).tolist() == expected


def test_a_stopped_project_in_a_struck_village_stagnates_through_circumstances(tmp_path: Path) -> None:
    stopped = project("bears itself", "v2", [100_000.0, 10_000.0], 0.0, 9_000.0, "stopped")
    events = pd.DataFrame({"village_id": ["v2"], "kind": "disaster", "onset_on": "2023-07-02", "known_at": "2023-07-09"})
    told = report(tmp_path / "a", projects=stopped, events=events).tables["projects"].iloc[0]
    assert told["stagnation"] == "circumstances"
    assert told["stagnation_reason_en"].startswith("stands still; revenue fell by 90% in a year; a disaster")
    untold = report(tmp_path / "b", projects=stopped).tables["projects"].iloc[0]
    assert untold["stagnation"] == "unknown"
    assert untold["stagnation_reason_zh"].endswith("尚无原因记录，需实地了解")


def test_help_promised_to_a_projects_households_and_not_paid_is_a_clue_about_its_administration(tmp_path: Path) -> None:
    falling = project("lives on support", "v1", [100_000.0, 70_000.0], 50_000.0, 60_000.0, "reduced")
    offer = {"household_id": "001", "measure": "industry", "offered_on": "2023-05-01", "known_at": "2023-05-02"}
    offer |= {"answered_on": "2023-05-03", "accepted": True, "amount_planned": 3000.0, "responsible_unit": "agriculture"}
    late = pd.DataFrame([offer | {"paid_on": "2023-12-20", "amount_paid": 3000.0}])
    told = report(tmp_path / "a", projects=falling, assistance=late).tables["projects"].iloc[0]
    assert (told["stagnation"], told["responsible_unit"]) == ("administration", "agriculture")
    assert "to be verified" in told["stagnation_reason_en"]
    in_time = late.assign(paid_on="2023-06-20")
    assert report(tmp_path / "b", projects=falling, assistance=in_time).tables["projects"]["stagnation"].item() == "unknown"
    nothing = report(tmp_path / "e", projects=falling, assistance=in_time.assign(amount_paid=0.0)).tables["projects"]
    assert nothing["stagnation"].item() == "administration", "a nought on a day pays nothing"
    on_some_day = pd.concat([late.assign(paid_on=None), in_time.assign(offered_on="2023-05-02")])
    told = report(tmp_path / "c", projects=falling, assistance=on_some_day).tables["projects"].iloc[0]
    assert (told["stagnation"], told["responsible_unit"]) == ("unknown", "agriculture"), "nobody knows that it came late"
    taken_later = report(tmp_path / "d", projects=falling, assistance=late.assign(answered_on="2024-06-30"))
    assert taken_later.tables["projects"]["stagnation"].item() == "unknown"


def test_what_is_told_of_help_after_the_day_of_the_report_is_not_known(tmp_path: Path) -> None:
    """Answer, start, end and payment of one offer came in 2024; of the other the days were not written down."""
    days = {"answered_on": "2024-01-05", "started_on": "2024-02-01", "ended_on": "2024-05-01", "paid_on": "2024-03-01"}
    told = {"accepted": True, "completed": True, "amount_paid": 900.0}
    offers = pd.DataFrame([days | told, dict.fromkeys(days) | told]).assign(
        household_id=["001", "003"], measure="industry", offered_on="2023-05-01", known_at="2023-05-02", amount_planned=900.0
    )
    asked = Asked(make_register(tmp_path, **tables(assistance=offers)), DAY, Rules())
    with engine() as connection:
        known = read_known(connection, asked, "assistance", asked.register.counties[0])
    later, undated = (row for _, row in known.iterrows())
    assert later[[*days, *told]].isna().all() and later["amount_planned"] == 900.0
    assert undated[[*told]].tolist() == [True, True, 900.0] and undated[[*days]].isna().all()


def test_villages_with_one_industry_each_are_not_alike(tmp_path: Path) -> None:
    areas = report(tmp_path).tables["concentration"].set_index("level")
    assert areas.loc["county", ["hhi", "effective_number", "largest_share"]].tolist() == [0.5, 2.0, 0.5]
    assert areas.loc["village", "alike_in_township"].tolist() == [0.0, 0.0]
    assert areas.loc["village", "hhi"].tolist() == [1.0, 1.0]


def test_a_village_is_held_against_those_of_its_own_countys_township_of_that_name() -> None:
    shares = pd.DataFrame({
        "county_id": ["A", "A", "B", "B"], "township_id": "Chengguan", "village_id": ["v1", "v2", "v3", "v4"],
        "industry": ["tea", "tea", "grain", "grain"], "income": 1.0, "weight": 1.0, "households": 1,
        "production_not_recorded": 0,
    })  # fmt: skip
    villages = _concentration(shares).query("level == 'village'")
    assert villages["alike_in_township"].tolist() == villages["alike_in_county"].tolist() == [1.0] * 4


def test_a_household_of_no_known_village_counts_in_its_county(tmp_path: Path) -> None:
    homes = tables()["households"].assign(village_id=["v1", None, "v2", "v2"], township_id=["t", None, "t", "t"])
    areas = report(tmp_path, households=homes).tables["concentration"].groupby("level")["income"].sum()
    assert areas.to_dict() == {"county": 24_000.0, "township": 18_000.0, "village": 18_000.0}


def test_a_county_without_events_or_projects_has_none_beside_one_that_has_them(tmp_path: Path) -> None:
    homes = tables()["households"].assign(county_id=["A", "A", "B", "B"])
    events = pd.DataFrame({"household_id": ["001"], "kind": "disaster", "onset_on": "2023-07-02", "known_at": "2023-07-09"})
    projects = project("lives on support", "v1", [100_000.0, 100_000.0], 60_000.0, 90_000.0, "running")
    links = tables()["household_projects"][:1]
    found = report(tmp_path, households=homes, events=events, projects=projects, household_projects=links)
    industries = found.tables["industries"].set_index("county_id")
    assert industries["shocked_share"].to_dict() == {"A": 0.5, "B": 0.0}
    assert industries[["projects", "linked_households"]].to_dict("list") == {"projects": [1, 0], "linked_households": [1, 0]}
    assert industries["projects"].dtype == int


def test_where_no_household_of_an_industry_has_a_known_village_its_county_stands_alone(tmp_path: Path) -> None:
    records = tables()["records"]
    records.loc[records["household_id"] != "001", "industry"] = None
    homes = tables()["households"].assign(village_id=[None, "v1", "v2", "v2"])
    found = report(tmp_path / "a", records=records, households=homes).tables["concentration"]
    assert found["level"].tolist() == ["county", "township"] and found["village_id"].isna().all()
    late = report(tmp_path / "b", records=tables()["records"].assign(known_at="2024-02-01"))
    assert "concentration" not in late.tables and late.lacks["concentration"] in late.notes, "nobody is known yet"


def test_where_nobody_produces_no_industry_has_a_largest_share(tmp_path: Path) -> None:
    found = report(tmp_path, records=tables()["records"].assign(production_income=0.0))
    assert "largest_industry_share" not in found.figures
    assert found.tables["concentration"]["largest_share"].isna().all()


def test_what_projects_do_not_report_is_unknown_and_not_nothing(tmp_path: Path) -> None:
    silent = project("lives on support", "v1", [np.nan], np.nan, np.nan, "running")
    alone = report(tmp_path / "alone", projects=silent).tables["industries"].set_index("industry").loc["tea"]
    assert alone[["revenue", "policy_support", "support_share", "dependent_share"]].isna().all()
    other = project("told in full", "v1", [100_000.0], 10_000.0, 60_000.0, "running")
    half = project("told in part", "v1", [np.nan], 50_000.0, np.nan, None)
    both = (
        report(tmp_path / "both", projects=pd.concat([silent, other, half]))
        .tables["industries"]
        .set_index("industry")
        .loc["tea"]
    )
    assert both["support_share"] == pytest.approx(0.1), "the support of a project counts over its own revenue"
    assert both[["projects", "policy_support", "not_running_share", "dependent_share"]].tolist() == [3, 60_000.0, 0.0, 0.0]


def test_an_income_from_a_project_that_is_not_on_record_is_unknown(tmp_path: Path) -> None:
    links = tables()["household_projects"].assign(income=[np.nan, 6000.0])
    found = report(tmp_path, household_projects=links).tables
    assert found["projects"].set_index("project_id")["linked_income"].isna().to_dict() == {
        "lives on support": True, "bears itself": False,
    }  # fmt: skip
    assert found["industries"].set_index("industry")["linked_income"].isna().to_dict() == {"tea": True, "grain": False}


def test_a_part_of_income_that_is_not_on_record_is_nought_neither_in_what_rests_on_an_industry_nor_in_the_whole(
    tmp_path: Path,
) -> None:
    """Of 001 nobody knows the production, of 003 the wages: 002 lives on tea and 004 on grain, each by 6,000 of 14,000."""
    records = tables()["records"]
    records["production_income"] = records["production_income"].mask(records["household_id"].eq("001"))
    records["wage_income"] = records["wage_income"].mask(records["household_id"].eq("003"))
    found = report(tmp_path, records=records).tables
    told = found["industries"].set_index("industry")
    assert told["income_share"].to_dict() == pytest.approx({"tea": 6000 / 28_000, "grain": 6000 / 28_000})
    assert told["income_not_recorded"].to_dict() == {"tea": 2, "grain": 2}
    assert told["production_income"].to_dict() == {"tea": 6000, "grain": 12_000}
    assert told["production_not_recorded"].to_dict() == {"tea": 1, "grain": 0}
    areas = found["concentration"].set_index("level")
    assert areas.loc["county", ["income", "households", "production_not_recorded"]].tolist() == [18_000, 4, 1]


def test_links_whose_income_is_not_on_record_bring_no_share_of_nought(tmp_path: Path) -> None:
    """001 lives on tea and is linked to fruit, and nobody wrote down what that brings."""
    fruit = project("orchard", "v1", [100_000.0], 1000.0, 60_000.0, "running").assign(industry="fruit")
    links = tables()["household_projects"][:1].assign(project_id="orchard", income=None)
    told = report(tmp_path, projects=fruit, household_projects=links).tables["industries"].set_index("industry")
    assert pd.isna(told.loc["fruit", "income_share"]) and told.loc["tea", "income_share"] > 0
    assert told.loc["fruit", ["linked_households", "links_not_recorded"]].tolist() == [1, 1]


def test_where_most_households_leave_a_part_of_income_blank_it_is_said_whose_share_is_told(tmp_path: Path) -> None:
    def said(name: str, blank: list[str]) -> bool:
        records = tables()["records"]
        records["wage_income"] = records["wage_income"].mask(records["household_id"].isin(blank))
        found = report(tmp_path / name, records=records)
        told = found.tables["industries"][["income_recorded", "income_not_recorded"]].drop_duplicates()
        assert told.to_numpy().tolist() == [[4 - len(blank), len(blank)]]
        return any("leave blank what a household has none of" in english for english, _ in found.notes)

    assert not said("half", ["001", "003"]) and said("most", ["001", "003", "004"])


def test_income_that_no_household_of_an_industry_has_on_record_is_unknown(tmp_path: Path) -> None:
    records = tables()["records"]
    records["production_income"] = records["production_income"].mask(records["industry"].eq("tea"))
    found = report(tmp_path, records=records, household_projects=tables()["household_projects"][1:]).tables
    told = found["industries"].set_index("industry").loc["tea"]
    assert told[["production_income", "income_share"]].isna().all()
    villages = found["concentration"].query("level == 'village'").set_index("village_id")
    assert villages.loc["v1", ["income", "hhi", "largest_share"]].isna().all()


def test_a_village_whose_township_is_blank_is_told_beside_one_of_that_name() -> None:
    """x lies in t, and another x and a z nobody knows where: both are villages of the county, and alike in no township."""
    shares = pd.DataFrame({
        "county_id": "k", "township_id": ["t", "t", None, None, None], "village_id": ["x", "y", "x", "z", None],
        "industry": ["tea", "tea", "grain", "grain", "tea"], "households": 20, "income": 100.0, "weight": 100.0,
        "production_not_recorded": 0,
    })  # fmt: skip
    found = _concentration(shares)
    villages = found.query("level == 'village'")
    assert villages[["village_id", "largest_industry"]].to_numpy().tolist() == [
        ["x", "tea"], ["y", "tea"], ["x", "grain"], ["z", "grain"],
    ]  # fmt: skip
    assert villages["township_id"].isna().tolist() == [False, False, True, True]
    np.testing.assert_allclose(villages["alike_in_township"], [1, 1, np.nan, np.nan])
    np.testing.assert_allclose(villages["alike_in_county"], [1 / 3] * 4)
    assert found.query("level == 'township'")["township_id"].tolist() == ["t"]


def test_households_tell_concentration_where_no_production_is_held_and_are_no_yuan(tmp_path: Path) -> None:
    found = report(tmp_path, records=tables()["records"].drop(columns="production_income"))
    areas = found.tables["concentration"].set_index("level")
    assert areas.loc["county", "hhi"] == 0.5 and areas["income"].isna().all()
    assert found.figures["largest_industry_share"] == 0.5
    assert found.tables["industries"][["production_income", "income_share"]].isna().all(axis=None)
    assert any("told by numbers of households" in english for english, _ in found.notes)


def test_a_project_without_support_does_not_rest_on_it_though_it_makes_a_loss(tmp_path: Path) -> None:
    failing = project("failing", "v1", [100_000.0, 100_000.0], 0.0, 130_000.0, "running")
    links = tables()["household_projects"].assign(project_id="failing")
    found = report(tmp_path, projects=failing, household_projects=links).tables
    assert found["projects"]["dependence"].tolist() == ["independent"] and not len(found["watched"])
    rated = found["projects"].assign(project_id="failing")
    people = pd.DataFrame({"household_id": ["001", "003"], "wage_income": 8000.0, "production_income": 6000.0})
    assert not len(loss_without_support(links, rated, people)), "there is no support to switch off"


def test_what_the_figures_of_an_industry_leave_out_is_counted_beside_them(tmp_path: Path) -> None:
    silent = project("silent", "v1", [np.nan], 1000.0, np.nan, None)
    links = tables()["household_projects"].assign(project_id="silent", income=[np.nan, 500.0])
    both = pd.concat([tables()["projects"], silent])
    tea = report(tmp_path, projects=both, household_projects=links).tables["industries"].set_index("industry").loc["tea"]
    left_out = ["support_not_recorded", "not_rated", "status_not_recorded", "links_not_recorded"]
    assert tea[["projects", *left_out]].tolist() == [2, 1, 1, 1, 1]


def test_where_no_link_is_on_record_nobody_knows_that_a_project_has_none(tmp_path: Path) -> None:
    unlinked = {name: rows for name, rows in tables().items() if name != "household_projects"}
    found = report_industries(Asked(make_register(tmp_path / "a", **unlinked), DAY, Rules())).tables["projects"]
    assert found[["households", "linked_income"]].isna().all(axis=None)
    linked = report(tmp_path / "b", household_projects=tables()["household_projects"][:1]).tables["projects"]
    assert linked.set_index("project_id").loc["bears itself", ["households", "linked_income"]].tolist() == [0, 0]


def test_a_project_that_lives_on_support_alone_has_no_share_of_revenue_to_show(tmp_path: Path) -> None:
    alone = project("lives on support", "v1", [0.0, 0.0], 60_000.0, 90_000.0, "running")
    found = report(tmp_path, projects=alone).tables
    told = found["projects"].iloc[0]
    assert told["dependence"] == "fully" and told["reason_en"].startswith("no revenue of its own")
    assert told[["support_share", "margin_without_support", "revenue_change"]].isna().all()
    assert found["watched"]["dependence"].tolist() == ["fully"]


def test_a_project_with_neither_revenue_nor_support_is_told_as_that(tmp_path: Path) -> None:
    asleep = project("asleep", "v1", [0.0], 0.0, 0.0, "stopped")
    told = report(tmp_path, projects=asleep).tables["projects"].iloc[0]
    assert told["dependence"] == "not_rated" and told["reason_en"].startswith("neither revenue nor support")


def test_a_project_that_nobody_has_told_of_for_long_is_not_known_to_run_nor_to_feed_anybody(tmp_path: Path) -> None:
    def of_now(folder: str, month: str, status: str) -> Found:
        old = project("lives on support", "v1", [100_000.0], 60_000.0, 90_000.0, status).assign(month=month, known_at=month)
        return report(tmp_path / folder, projects=old)

    long_ago, late = of_now("long ago", "2022-06-01", "running"), of_now("late", "2022-07-01", "running")
    silent, heard = (found.tables["projects"].iloc[0] for found in (long_ago, late))
    assert silent["reason_en"] == "no record after 2022-06: not graded"
    assert (silent["dependence"], silent["stagnation"]) == ("not_rated", "none") and pd.isna(silent["status"])
    assert (heard["last_record"], heard["status"], heard["dependence"]) == ("2022-07", "running", "fully")
    assert not len(long_ago.tables["watched"]) and late.tables["watched"]["household_id"].tolist() == ["001"]
    tea = long_ago.tables["industries"].set_index("industry").loc["tea"]
    assert tea["projects"] == 1 and tea[["revenue", "support_share", "not_running_share"]].isna().all()
    assert any("nothing to switch off" in english for english, _ in long_ago.notes)
    assert not any("nothing to switch off" in english for english, _ in late.notes)
    over = of_now("over", "2020-06-01", "bankrupt").tables["projects"].iloc[0]
    assert (over["status"], over["stagnation"], over["dependence"]) == ("bankrupt", "unknown", "not_rated")


def test_a_year_of_standing_still_is_four_quarters(tmp_path: Path) -> None:
    quarters = ["2023-01-01", "2023-04-01", "2023-07-01", "2023-10-01"]
    still = pd.concat([project("p", "v1", [9.0], 5.0, 1.0, "stopped").assign(month=m, known_at=m) for m in quarters])
    records = tables()["records"]
    records = records[records["month"].isin(quarters)]

    def stagnation(folder: Path, projects: pd.DataFrame) -> str:
        made = tables(records=records, projects=projects) | {"household_projects": tables()["household_projects"][:0]}
        register = make_register(folder, step_months=3, **made)
        return report_industries(Asked(register, month_number("2023-10"), Rules())).tables["projects"]["stagnation"].item()

    assert stagnation(tmp_path / "year", still) == "administration"
    assert stagnation(tmp_path / "less", still[1:]) == "unknown"


def test_one_household_struck_twice_is_not_two_of_its_village(tmp_path: Path) -> None:
    stopped = project("lives on support", "v1", [100_000.0, 10_000.0], 0.0, 9_000.0, "stopped")
    names = [f"{i:03}" for i in range(1, 9)]
    people = {
        "records": pd.concat([monthly(h, "2023-01", [150.0] * 12) for h in names]),
        "households": pd.DataFrame({"household_id": names, "village_id": "v1"}),
    }
    days = ["2023-06-01", "2023-08-01"]
    once = pd.DataFrame({"household_id": "001", "kind": "disaster", "onset_on": days, "known_at": days})

    def stagnation(folder: Path, events: pd.DataFrame) -> str:
        return report(folder, projects=stopped, events=events, **people).tables["projects"]["stagnation"].item()

    assert stagnation(tmp_path / "one", once) == "unknown"
    assert stagnation(tmp_path / "two", once.assign(household_id=["001", "002"])) == "circumstances"


def test_an_event_that_is_known_to_be_unverified_strikes_nobody(tmp_path: Path) -> None:
    event = {"household_id": "001", "kind": "disaster", "onset_on": "2023-07-02", "known_at": "2023-07-09"}
    events = pd.DataFrame([event | {"verified": False}, event | {"household_id": "003", "verified": None}])
    struck = report(tmp_path, events=events).tables["industries"].set_index("industry")["shocked_share"]
    assert struck.to_dict() == {"tea": 0.0, "grain": 0.5}


def test_likeness_is_the_mean_over_pairs() -> None:
    income = np.random.default_rng(1).gamma(1.0, 1.0, (7, 4))
    area = ["a"] * 4 + ["b"] * 3
    unit = income / np.linalg.norm(income, axis=1, keepdims=True)
    for k, value in enumerate(likeness(income, area)):
        others = [j for j in range(7) if j != k and area[j] == area[k]]
        assert value == pytest.approx(np.mean([unit[k] @ unit[j] for j in others]))


def test_a_project_that_stands_still_already_takes_nothing_more() -> None:
    projects = pd.DataFrame({
        "project_id": ["p"], "status": ["stopped"], "support_share": [0.9], "margin_without_support": [-1.0],
    })  # fmt: skip
    links = pd.DataFrame({"household_id": ["a"], "project_id": ["p"], "link": ["job"], "income": [9000.0]})
    assert not len(loss_without_support(links, projects, pd.DataFrame({"household_id": ["a"]})))


def test_without_support_nobody_becomes_safer_and_only_linked_households_are_named(county: County) -> None:
    register, month = Register.open(county.register), month_number(AS_OF)
    model = load_model("models:/return-risk@champion", county.tracking.uri)
    before = score(register, model, AS_OF).frame
    found = report_industries(Asked(register, month, Rules(), (), model))
    households, villages = found.tables["support_off"], found.tables["support_off_villages"]
    linked = set(register.read("household_projects")["household_id"])
    assert len(households) and set(households["household_id"]) <= linked
    assert households["loss"].gt(0).all()
    assert not households.query("crosses == 'capacity_line'")["listed"].any()
    assert villages[["falls_by_books", "could_fall"]].sum().sum() == len(households)
    pd.testing.assert_frame_equal(before, score(register, model, AS_OF).frame)


@pytest.mark.parametrize("all_of_b", ["monitored", "not known yet"])
def test_a_county_in_which_nobody_is_scored_has_nobody_who_could_fall_for_want_of_support(
    county: County, tmp_path: Path, all_of_b: str
) -> None:
    homes = tables()["households"].assign(county_id=["A", "A", "B", "B"])
    spells = pd.DataFrame({"household_id": ["003", "004"], "identified_on": "2023-02-01", "known_at": "2023-02-01"})
    records = tables()["records"].assign(known_at=lambda rows: rows["month"])
    if all_of_b == "not known yet":
        spells = spells.assign(household_id=["001", "002"], eliminated_on="2023-03-01")
        records["known_at"] = records["known_at"].where(records["household_id"] < "003", "2024-02-01")
    made = tables(records=records, households=homes, spells=spells)
    register = make_register(tmp_path, **made)
    model = load_model("models:/return-risk@champion", county.tracking.uri)
    found = report_industries(Asked(register, DAY, Rules(), (), model)).tables
    assert found["support_off_villages"].set_index("county_id")["touched"].to_dict() == {"A": 1}
    assert found["support_off_villages"]["touched"].dtype == int
    assert set(found["support_off"]["household_id"]) <= {"001"}


def without_wages(county: County, **rules: float) -> pd.DataFrame:
    """The list where every third household of a county would lose its wages, and every other third a little of them."""
    register = Register.open(county.register)
    asked = Asked(
        register,
        month_number(AS_OF),
        Rules(industries=rules),
        (),
        load_model("models:/return-risk@champion", county.tracking.uri),
    )
    homes = register.read("households", register.counties[0])["household_id"].sort_values(ignore_index=True)
    wages = homes.index.to_series().mod(3).map({0: 0.0, 1: 2000.0, 2: 1e6}).to_numpy()
    loss = pd.DataFrame({"household_id": homes, "wage_income": wages, "production_income": 0.0, "property_income": 0.0})
    return support_off(asked, {register.counties[0]: loss[loss["wage_income"] > 0]})[0]


def test_who_falls_by_the_books_stands_first_and_would_lie_below_the_line(county: County) -> None:
    households = without_wages(county)
    falls = households["grade"].eq("falls_by_books")
    assert 10 < falls.sum() < len(households) - 10
    assert falls.is_monotonic_decreasing
    assert households.loc[falls, "crosses"].eq("line").all()
    assert households.loc[falls, "ratio_without_support"].max() < 1 <= households.loc[~falls, "ratio_without_support"].min()
    assert households.loc[falls, "ratio_without_support"].is_monotonic_increasing
    could = households[~falls]
    assert (could["risk_without_support"] * could["loss_share"]).is_monotonic_decreasing
    assert households["loss_share"].between(0, 1, inclusive="right").all()


def test_a_wider_second_grade_leaves_the_first_as_it_is(county: County) -> None:
    narrow = without_wages(county, near_line=1.0, loss_times=0.0).groupby("grade")["household_id"].agg(set)
    wide = without_wages(county, near_line=3.0, least_loss=0.0).groupby("grade")["household_id"].agg(set)
    assert narrow["falls_by_books"] == wide["falls_by_books"]
    assert narrow["could_fall"] < wide["could_fall"]


def test_a_rent_without_an_amount_brings_the_property_income_on_record() -> None:
    people = pd.DataFrame({"household_id": ["a", "b", "c"], "property_income": [1200.0, 900.0, np.nan]})
    links = pd.DataFrame(
        [("a", "land_rent", 0.0), ("a", "dividend", np.nan), ("b", "land_rent", 0.0), ("b", "dividend", 300.0),
         ("c", "dividend", np.nan), ("c", "job", np.nan)],
        columns=["household_id", "link", "income"],
    ).assign(project_id="p")  # fmt: skip
    projects = pd.DataFrame({"project_id": ["p"], "status": "running", "support_share": 0.4, "margin_without_support": -0.2})
    lost = loss_without_support(with_property_income(links, people), projects, people).set_index("household_id")
    assert lost["property_income"].to_dict() == {"a": 1200.0, "b": 300.0}


def test_no_household_is_told_to_lose_more_than_its_record_holds() -> None:
    people = pd.DataFrame({"household_id": ["a", "b", "c"], "wage_income": [7000.0, np.nan, 20000.0]})
    links = pd.DataFrame(
        [("a", "p", 5000.0), ("a", "q", 4000.0), ("b", "p", 5000.0), ("c", "p", 5000.0)],
        columns=["household_id", "project_id", "income"],
    ).assign(link="job")  # fmt: skip
    projects = pd.DataFrame({
        "project_id": ["p", "q"], "status": "running", "support_share": 0.4, "margin_without_support": -0.2,
    })  # fmt: skip
    lost = loss_without_support(links, projects, people).set_index("household_id")
    assert lost["wage_income"].to_dict() == {"a": 7000.0, "b": 5000.0, "c": 5000.0}, "the wage of b is not known"


def test_a_loss_is_taken_from_income_also_where_the_wage_itself_is_missing(tmp_path: Path) -> None:
    parts = {"hh_size": 2, "wage_income": 300.0}
    records = pd.concat([monthly(name, "2023-12", [150.0], **parts) for name in ("001", "002", "003")], ignore_index=True)
    records["wage_income"] = [300.0, np.nan, 40.0]
    register = make_register(tmp_path, records=records)
    loss = pd.DataFrame(
        {"household_id": ["001", "002", "003"], "wage_income": 100.0, "production_income": 0.0, "property_income": 0.0}
    )
    with without_support(Asked(register, DAY, Rules()), register.counties[0], loss) as off:
        left = off.read("records").set_index("household_id")
    assert left["welfare"].tolist() == [100, 100, 130]
    assert left["wage_income"].fillna(-1).tolist() == [200, -1, 0]


@pytest.mark.parametrize("months", [1, 12])
@pytest.mark.parametrize("named", [2, 60])
def test_records_without_support_lie_in_the_order_of_the_register(tmp_path: Path, months: int, named: int) -> None:
    names = [f"{n:03}" for n in range(60)]
    parts = {"hh_size": 2, "wage_income": 300.0}
    records = pd.concat([monthly(n, f"2023-{13 - months:02}", [150.0] * months, **parts) for n in names], ignore_index=True)
    register = make_register(tmp_path, records=records)
    loss = pd.DataFrame({"household_id": names[:named][::-1], "wage_income": 100.0})
    loss = loss.assign(production_income=0.0, property_income=0.0)
    with without_support(Asked(register, DAY, Rules()), register.counties[0], loss) as off:
        left, whole = off.read("records"), register.read("records")
    assert left[["household_id", "month"]].equals(whole[["household_id", "month"]])
    assert (left["wage_income"] < whole["wage_income"]).groupby(left["household_id"]).all().sum() == named


def test_the_line_of_the_list_is_that_of_the_list_as_drawn(county: County) -> None:
    register, month = Register.open(county.register), month_number(AS_OF)
    model = load_model("models:/return-risk@champion", county.tracking.uri)
    drawn = set(pd.read_parquet(county.alerts / "alerts.parquet")["household_id"])
    asked = Asked(register, month, Rules(), scored_months([county.alerts], month), model)
    households = report_industries(asked).tables["support_off"]
    assert set(households.loc[households["listed"], "household_id"]) == set(households["household_id"]) & drawn


def test_without_a_model_or_projects_it_is_said(tmp_path: Path) -> None:
    assert any("--model" in en for en, _ in report(tmp_path / "a").notes)
    bare = make_register(tmp_path / "b", records=monthly("001", "2023-01", [150.0] * 12))
    found = report_industries(Asked(bare, DAY, Rules()))
    assert found.tables == {}
    assert len(found.notes) == 4


@pytest.mark.slow
def test_the_support_off_list_finds_those_who_fall_when_support_ends(tmp_path: Path) -> None:
    figures = figures_of(listed_and_true(leaning_world("easy"), 21, 3000, tmp_path))
    assert figures["alone"] >= 15
    assert figures["alone_share"] >= 0.8  # of 20 to 40 households; the benchmark measures it over counties
