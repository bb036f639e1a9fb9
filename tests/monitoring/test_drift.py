"""Drift: errors of units and sources alarm, seasons and chance do not, and each alarm says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import drift_alarms
from benchmarks.drift_alarms import LAST, UNITS, alarms_of, plant, planted, quiet
from benchmarks.national import make_register as make_synthetic
from riskmodel.catalogue import load_catalogue
from riskmodel.cli import app
from riskmodel.cohort.labels import build_labels
from riskmodel.errors import DriftFound, UsageError
from riskmodel.model.tracking import load_model
from riskmodel.monitoring import drift
from riskmodel.monitoring.drift import _calibration, _ratio, _scores_and_features, report_drift
from riskmodel.monitoring.known import no_records_yet
from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.rules import DriftRules, Rules
from riskmodel.monitoring.shifts import beyond, more_than_usual, shares_differ
from riskmodel.monitoring.writing import words_of
from riskmodel.months import month_number
from riskmodel.register import Register, ingest
from riskmodel.settings import find_config
from riskmodel.simulation import simulate
from tests.cohort.registers import make_register
from tests.county import AS_OF, County

HOUSEHOLDS, MONTHS = 400, pd.period_range("2022-01", "2023-12", freq="M")


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("steady") / "register"
    make_synthetic(out, [1500], seed=3, workers=1)
    return out


def records(seed: int = 1) -> pd.DataFrame:
    """Two years of households whose wages follow the season, and whose farm stands in one industry."""
    draw = np.random.default_rng(seed)
    ids = np.repeat([f"{k:03d}" for k in range(HOUSEHOLDS)], len(MONTHS))
    level = np.repeat(draw.lognormal(9, 0.4, HOUSEHOLDS), len(MONTHS))
    season = np.tile(np.where(MONTHS.month == 12, 3.0, 1.0), HOUSEHOLDS)
    return pd.DataFrame({
        "household_id": ids, "month": np.tile(MONTHS.strftime("%Y-%m-01"), HOUSEHOLDS),
        "known_at": np.tile(MONTHS.to_timestamp(how="end").strftime("%Y-%m-%d"), HOUSEHOLDS), "welfare": 9000.0,
        "line": 7600.0, "wage_income": (level * season * draw.lognormal(0, 0.1, len(ids))).round(0),
        "industry": np.repeat(draw.choice(["tea", "grain"], HOUSEHOLDS), len(MONTHS)),
    })  # fmt: skip


def report(folder: Path, rows: pd.DataFrame) -> Found:
    return report_drift(Asked(make_register(folder, records=rows), LAST, Rules()))


def illnesses(until: str) -> pd.DataFrame:
    """Every month two dozen other households report an illness; nothing comes in from `until` on."""
    months = MONTHS[until > MONTHS]
    who = (np.arange(24 * len(months)) * 7) % HOUSEHOLDS
    day = np.repeat(months.strftime("%Y-%m-10"), 24)
    ids = [f"{k:03d}" for k in who]
    return pd.DataFrame({"household_id": ids, "kind": "illness", "onset_on": day, "known_at": day})


def last(rows: pd.DataFrame) -> pd.Series:
    return rows["month"].eq("2023-12-01")


def test_the_same_households_a_year_on_do_not_alarm(steady: Path) -> None:
    found = report_drift(Asked(Register.open(steady), LAST, Rules()))
    assert found.tables["alarms"].empty
    assert found.figures["tests"] > 100


def test_a_season_is_no_drift(tmp_path: Path) -> None:
    found = report(tmp_path, records())
    assert found.figures["alarms"] == 0
    wages = found.tables["comparisons"].query("name == 'wage_income' and check == 'level'").iloc[0]
    assert wages["reference_month"] == "2022-12" and wages["effect"] < 1.1


def test_fen_for_yuan_alarm_also_where_records_come_after_their_month(tmp_path: Path) -> None:
    rows = records().assign(debt=5000.0)
    months = pd.to_datetime(rows["month"])
    rows["known_at"] = months + pd.offsets.MonthEnd() + pd.Timedelta(days=10)
    rows.loc[months.eq("2023-11-01") & rows["household_id"].lt("040"), "debt"] *= 100
    found = report(tmp_path, rows)
    assert found.tables["alarms"][["name", "check", "detail"]].to_numpy().tolist() == [["debt", "units", "x 100"]]
    there = found.tables["comparisons"].query("check == 'rows'").iloc[0]
    assert (there["now"], there["then"], there["reference_month"]) == (HOUSEHOLDS, HOUSEHOLDS, "2022-12")


def test_a_month_of_which_the_register_has_no_record_yet_is_not_held_against_another(tmp_path: Path) -> None:
    rows = records()
    rows.loc[last(rows) & rows["household_id"].lt("004"), "known_at"] = "2024-01-20"
    asked = Asked(make_register(tmp_path, records=rows), LAST + 1, Rules())
    found = report_drift(asked)
    assert found.figures["alarms"] == found.figures["tests"] == 0
    assert no_records_yet(asked) in found.notes


def test_in_the_month_in_which_the_last_records_came_to_be_known_they_are_looked_at(tmp_path: Path) -> None:
    rows = records().drop(columns="known_at")
    rows.loc[last(rows), "wage_income"] *= 100
    register = make_register(tmp_path, lag_days=31, records=rows)
    alarms = {
        month: report_drift(Asked(register, month_number(month), Rules())).tables["alarms"]["name"].tolist()
        for month in (register.last_month, register.last_as_of)
    }
    assert alarms["2023-12"] == [], "nobody knew of December's wages by then"
    assert set(alarms["2024-01"]) == {"wage_income"}


def test_whole_villages_that_have_not_reported_are_no_chance(tmp_path: Path) -> None:
    rows = records()
    number = rows["household_id"].astype(int)
    rows["village_id"] = "v" + (number % 24).astype(str)
    silent = number.mod(24).lt(4) & last(rows)
    found = report(tmp_path, rows[~silent])
    assert found.tables["alarms"][["check", "name"]].to_numpy().tolist() == [["rows", "*"]]
    few = number.mod(24).lt(1) & last(rows)
    assert report(tmp_path / "few", rows[~few]).tables["alarms"].empty, "one village of 24 is no tenth of the households"


def test_a_fixed_sum_that_a_quarter_of_the_households_get_is_no_drift_where_the_sums_of_others_grow(tmp_path: Path) -> None:
    rows = records()
    fixed = rows["household_id"] < "100"
    draw = np.random.default_rng(2)
    rows.loc[fixed, "wage_income"] = (4000 * draw.lognormal(0, 0.01, fixed.sum())).round(0)
    rows.loc[~fixed & rows["month"].ge("2023"), "wage_income"] *= 1.08
    found = report(tmp_path / "grown", rows)
    assert found.figures["alarms"] == 0
    rows.loc[~fixed & last(rows), "wage_income"] **= 1.3
    apart = report(tmp_path / "apart", rows).tables["alarms"]
    assert ["wage_income", "shape"] in apart[["name", "check"]].to_numpy().tolist(), "who earns much earns far more now"


def test_a_median_that_leaps_between_the_cost_of_one_pupil_and_of_two_is_no_change_of_level(tmp_path: Path) -> None:
    rows = records()
    number = rows["household_id"].astype(int)
    rows["schooling_cost"] = np.where(number < np.where(last(rows), 260, 140), 960.0, 480.0)
    level = report(tmp_path / "leaps", rows).tables["comparisons"].query("name == 'schooling_cost' and check == 'level'")
    assert (level["then"].item(), level["now"].item()) == (480, 960) and level["p_value"].item() < 1e-9
    assert level["effect"].item() == 1
    rows.loc[last(rows), "schooling_cost"] *= 2
    moved = report(tmp_path / "doubled", rows).tables["alarms"]
    assert ["schooling_cost", "level"] in moved[["name", "check"]].to_numpy().tolist()


@pytest.mark.parametrize("unit", ["fen_for_yuan", "month_for_year"])
def test_a_twentieth_of_the_rows_in_another_unit_alarms_for_that_column_alone(
    steady: Path, tmp_path: Path, unit: str
) -> None:
    alarms = alarms_of(plant(steady, tmp_path / "copy", "wage_income", UNITS[unit], 1), LAST)
    assert alarms[["name", "check"]].to_numpy().tolist() == [["wage_income", "units"]]
    assert alarms["detail"].item() == {"fen_for_yuan": "x 100", "month_for_year": "/ 12"}[unit]
    assert "Check the unit" in alarms["action_en"].item() and "计量单位" in alarms["action_zh"].item()


def test_four_values_in_fen_of_sixty_alarm_where_all_months_on_record_know_no_such_step(tmp_path: Path) -> None:
    rows = records()
    number, draw = rows["household_id"].astype(int), np.random.default_rng(8)
    rows["claims"] = np.where(number < 60, (500 * draw.lognormal(0, 0.5, len(rows))).round(0), 0.0)
    assert report(tmp_path / "steady", rows).tables["alarms"].empty
    rows.loc[number.lt(4) & last(rows), "claims"] *= 100
    found = report(tmp_path / "fen", rows).tables["alarms"]
    assert found[["name", "check", "detail"]].to_numpy().tolist() == [["claims", "units", "x 100"]]


def test_another_unit_is_found_among_the_households_that_are_drawn_and_it_is_said_how_many(
    steady: Path, tmp_path: Path
) -> None:
    rules = Rules(drift=DriftRules(unit_households=1000))
    found = report_drift(Asked(plant(steady, tmp_path / "copy", "wage_income", 100.0, 1), LAST, rules))
    assert found.tables["alarms"][["name", "check"]].to_numpy().tolist() == [["wage_income", "units"]]
    (told,) = (re.search(r"among ([\d,]+) households", en) for en, _ in found.notes if "drift.unit_households" in en)
    assert 900 < int(told[1].replace(",", "")) < 1100
    everybody = report_drift(Asked(Register.open(tmp_path / "copy"), LAST, Rules()))
    assert not any("drift.unit_households" in en for en, _ in everybody.notes)
    others = [t.tables["comparisons"].query("check != 'units'") for t in (found, everybody)]
    pd.testing.assert_frame_equal(*(rows.sort_values(["name", "check"]).reset_index(drop=True) for rows in others))


def test_the_count_of_all_that_a_register_begins_with_is_no_last_year(tmp_path: Path) -> None:
    """Days of work are counted in the first month, and carried forward for most in all later ones."""
    rows = records()
    draw = np.random.default_rng(4)
    first = rows["month"].eq("2022-01-01")
    rows["days_worked"] = np.where(first, draw.uniform(0, 30, len(rows)), 20 + draw.normal(0, 1, len(rows)).clip(-5, 5))
    register = make_register(tmp_path, records=rows)
    found = {month: report_drift(Asked(register, month_number(month), Rules())) for month in ("2023-01", "2023-02")}
    assert [of.figures["alarms"] for of in found.values()] == [0, 0]
    assert [any("begins with it" in en for en, _ in of.notes) for of in found.values()] == [True, False]
    rows.loc[rows["month"].eq("2022-02-01"), "days_worked"] = draw.uniform(0, 30, HOUSEHOLDS)
    (changed,) = (
        report_drift(Asked(make_register(tmp_path / "later", records=rows), month_number("2023-02"), Rules()))
        .tables["alarms"]
        .itertuples()
    )
    assert (changed.name, changed.check) == ("days_worked", "shape")


def test_a_column_that_is_no_longer_delivered_alarms(tmp_path: Path) -> None:
    rows = records()
    rows.loc[last(rows) & (rows["household_id"] < "200"), "wage_income"] = None
    alarms = report(tmp_path, rows).tables["alarms"]
    assert ["wage_income", "missing"] in alarms[["name", "check"]].to_numpy().tolist()


def test_a_column_that_is_known_for_more_households_is_not_said_to_have_been_dropped(tmp_path: Path) -> None:
    rows = records()
    rows.loc[~last(rows) & (rows["household_id"] < "200"), "wage_income"] = None
    alarms = report(tmp_path, rows).tables["alarms"].set_index("check")
    told = alarms.loc["missing"]
    assert "missing for 0%, in 2022-12 for 50%: it is known for more households" in told["action_en"]
    assert "dropped" not in told["action_en"] and "取消" not in told["action_zh"] and "户数增多" in told["action_zh"]


def test_households_that_have_joined_are_not_said_to_be_missing(tmp_path: Path) -> None:
    rows = records()
    joined = ~last(rows) & (rows["household_id"] < "100")
    alarms = report(tmp_path, rows[~joined]).tables["alarms"]
    assert alarms["check"].tolist() == ["rows"] and "have joined" in alarms["action_en"].item()
    assert "重复上报" in alarms["action_zh"].item()


def falling(years: int, yearly: float = 0.4) -> pd.DataFrame:
    """Debt that is paid off by the same share each month, up to the end of 2023."""
    months = pd.period_range(end="2023-12", periods=12 * years, freq="M")
    draw = np.random.default_rng(3)
    ids = np.repeat([f"{k:03d}" for k in range(HOUSEHOLDS)], len(months))
    owed = np.repeat(draw.lognormal(9, 0.9, HOUSEHOLDS), len(months)) * np.tile(
        yearly ** (np.arange(len(months)) / 12), HOUSEHOLDS
    )
    return pd.DataFrame({
        "household_id": ids, "month": np.tile(months.strftime("%Y-%m-01"), HOUSEHOLDS),
        "known_at": np.tile(months.to_timestamp(how="end").strftime("%Y-%m-%d"), HOUSEHOLDS), "welfare": 9000.0,
        "line": 7600.0, "debt": (owed * draw.lognormal(0, 0.02, len(ids))).round(2),
    })  # fmt: skip


@pytest.mark.parametrize("years", [2, 3])
def test_debt_that_falls_alike_every_year_is_no_drift_and_debt_that_jumps_is(tmp_path: Path, years: int) -> None:
    rows = falling(years)
    assert report(tmp_path / "steady", rows).figures["alarms"] == 0
    rows.loc[rows["month"].ge("2023-09"), "debt"] *= 8
    alarms = report(tmp_path / "jump", rows).tables["alarms"]
    assert ["debt", "level"] in alarms[["name", "check"]].to_numpy().tolist()


def test_shares_that_a_tenth_of_the_households_estimate_anew_are_in_no_other_unit(tmp_path: Path) -> None:
    rows = records()
    rows["income_imputed_share"] = 0.6
    anew = rows["household_id"].lt("040") & last(rows)
    rows.loc[anew, "income_imputed_share"] = 0.05
    found = report(tmp_path, rows).tables["comparisons"].query("check == 'units'")
    assert "wage_income" in set(found["name"]) and "income_imputed_share" not in set(found["name"])


def test_debts_in_another_unit_are_found_though_all_debts_fall(tmp_path: Path) -> None:
    rows = falling(3)
    some = last(rows) & rows["household_id"].str[-1].eq("7") & rows["household_id"].str[0].lt("2")
    rows.loc[some, "debt"] *= 100
    alarms = report(tmp_path, rows).tables["alarms"]
    assert alarms[["name", "check", "detail"]].to_numpy().tolist() == [["debt", "units", "x 100"]]


def test_claims_in_another_unit_are_found_though_no_household_had_one_lately(tmp_path: Path) -> None:
    rows = records()
    claims = pd.factorize(rows["month"])[0] % 5 == rows["household_id"].astype(int) % 5  # none three or twelve months before
    rows["claims"] = np.where(claims, np.random.default_rng(8).lognormal(8, 1, len(rows)), np.nan)
    steady = report(tmp_path / "steady", rows).tables["alarms"]
    assert not len(steady)
    some = np.flatnonzero(last(rows) & claims)[::10]
    rows.loc[some, "claims"] *= 100
    alarms = report(tmp_path / "fen", rows).tables["alarms"]
    assert alarms[["name", "check", "reference", "detail"]].to_numpy().tolist() == [
        ["claims", "units", "all_months", "x 100"]
    ]
    assert "beyond nearly all" in alarms["action_en"].item() and "计量单位" in alarms["action_zh"].item()


def test_a_counter_that_grows_by_a_year_each_year_moves_on_as_it_did() -> None:
    draw = np.random.default_rng(5)
    since = {
        year: np.where(draw.random(4000) < 0.6, 60, draw.integers(0, 12 * year, 4000)).astype(float) for year in (3, 4, 5)
    }
    assert beyond(since[5], since[4], since[3]) < 0.1
    assert beyond(np.full(4000, 60.0), since[4], since[3]) > 1, "nobody is identified any more"


def test_steps_of_a_whole_village_count_as_one() -> None:
    village, rare = np.repeat(np.arange(40), 25), np.zeros(1000, int)
    spread, one = np.where(np.arange(1000) % 20 == 0, 1, 0), np.where(village == 3, 1, 0)
    usual = [rare] * 4
    assert more_than_usual(spread, usual, village, 2)[2][1] < 1e-10 < 0.05 < more_than_usual(one, usual, village, 2)[2][1]


def test_a_word_not_known_before_alarms_with_the_word(tmp_path: Path) -> None:
    rows = records()
    rows.loc[last(rows) & (rows["household_id"] < "040"), "industry"] = "green tea"
    alarms = report(tmp_path, rows).tables["alarms"].set_index("check")
    assert alarms.loc["values", "detail"] == "green tea"


def test_a_township_that_has_not_reported_alarms(tmp_path: Path) -> None:
    rows = records()
    gone = last(rows) & (rows["household_id"] < "100")
    alarms = report(tmp_path, rows[~gone]).tables["alarms"]
    assert alarms["check"].tolist() == ["rows"]
    assert alarms["action_en"].item().startswith("300 households have a record, 400 in 2022-12")


def test_a_row_known_after_its_month_counts_on_neither_side(tmp_path: Path) -> None:
    rows = records()
    late = rows[rows["month"].isin(["2022-12-01", "2023-12-01"])].assign(wage_income=1.0, known_at="2024-03-01")
    before, after = report(tmp_path / "a", rows), report(tmp_path / "b", pd.concat([rows, late]))
    pd.testing.assert_frame_equal(before.tables["comparisons"], after.tables["comparisons"])


def test_chance_is_told_by_villages_where_they_move_together() -> None:
    draw, below = np.random.default_rng(2), 0
    village = np.repeat(np.arange(40), 25)
    for _ in range(300):
        now, then = (np.repeat(draw.random(40) < 0.3, 25).astype(int) for _ in range(2))
        below += shares_differ(now, village, then, village, 2)[2][0] < 0.05
    assert below <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_falls_twice_as_many_as_promised_alarm_and_as_many_do_not(county: County) -> None:
    asked = Asked(Register.open(county.register), LAST, Rules())
    draw = np.random.default_rng(4)
    risk = np.full(4000, 0.05)
    rows = pd.DataFrame({"household_id": np.arange(4000).astype(str), "risk": risk, "weight": 1.0})
    for factor, alarms in ((1.0, False), (2.0, True)):
        rows["outcome"] = (draw.random(4000) < factor * risk).astype(float)
        assert _ratio(asked, LAST, rows, 1e-4).alarms(1e-4) == alarms


def test_falls_that_are_known_before_the_rest_raise_no_rate(county: County, tmp_path: Path) -> None:
    simulate(tmp_path / "source", world="hard", households=900, months=32, seed=5, with_truth=False)
    ingest(find_config("sources/simulated.yaml"), tmp_path / "source", tmp_path / "register")
    register, model = Register.open(tmp_path / "register"), load_model("models:/return-risk@champion", county.tracking.uri)
    model = replace(model, evidence={**model.evidence, "trained_to": "2021-08"})
    raw, told, later = [], [], []
    for as_of in range(month_number("2022-12"), month_number("2023-06")):
        month, rows = _calibration(Asked(register, as_of, Rules(), (), model), [])
        of_all = build_labels(register, [month], model.run.label, model.run.at_risk)["outcome"]
        assert len(rows) < of_all.notna().sum(), "some outcomes are known later"
        raw.append(rows["outcome"].mean())
        told.append(np.average(rows["outcome"], weights=rows["weight"]))
        later.append(of_all.mean())
    assert np.mean(raw) > 1.05 * np.mean(later)
    assert np.mean(told) == pytest.approx(np.mean(later), rel=0.03)


@pytest.mark.parametrize(("until", "alarms"), [("2023-11", 1), ("2023-12", 0), ("2024-01", 0)])
def test_events_that_come_in_no_more_alarm_and_those_of_a_late_month_do_not(tmp_path: Path, until: str, alarms: int) -> None:
    register = make_register(tmp_path, records=records(), events=illnesses(until))
    found = report_drift(Asked(register, LAST, Rules())).tables["alarms"]
    assert len(found) == alarms
    if alarms:
        assert found["check"].item() == "lacking" and found["name"].item() == "events"
        assert found["effect"].item() == 3 and words_of("drift").value("check", "lacking")[0] == "rows of a table"
        assert found["action_en"].item().startswith("event: 24 rows became known in the last three months, 72 in the same")


@pytest.mark.parametrize(("months", "alarms"), [(range(1, 13), 1), ((6, 12), 0)])
def test_a_kind_of_event_that_comes_no_more_alarms_where_it_came_steadily(
    tmp_path: Path, months: Iterable[int], alarms: int
) -> None:
    """Lay-offs come in as ever; illnesses stop, of which as many had come in every month, or half a year at once."""
    days = [month.strftime("%Y-%m-10") for month in MONTHS[MONTHS < "2023-10"] if month.month in months]
    ids = [f"{k:03d}" for k in range(8 * 12 // len(months))]
    ill = pd.DataFrame([(one, "illness", day, day) for day in days for one in ids],
                       columns=["household_id", "kind", "onset_on", "known_at"])  # fmt: skip
    events = pd.concat([ill, illnesses("2024-01").assign(kind="laid_off")])
    found = report_drift(Asked(make_register(tmp_path, records=records(), events=events), LAST, Rules())).tables
    assert len(found["alarms"]) == alarms
    if alarms:
        (alarm,) = found["alarms"].to_dict("records")
        assert (alarm["check"], alarm["name"], alarm["now"], alarm["then"]) == ("kind", "illness", 0, 24)
        assert alarm["action_en"].startswith("Events of the kind illness: 0 became known in the last three months, 24 in")
        assert "因病" in alarm["action_zh"] and words_of("drift").value("check", "kind")[0] == "events of a kind"
    kinds = found["comparisons"].query("check == 'kind'").set_index("name")
    assert kinds.loc["laid_off", "effect"] == 1 and kinds.loc["illness", "effect"] == 24


def test_a_feature_that_moved_alarms_where_the_risks_moved_with_it_or_where_it_moved_far(
    county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("models:/return-risk@champion", county.tracking.uri)
    asked = Asked(Register.open(county.register), month_number(AS_OF), Rules(), (), model)
    feature, risk = "selfpay_burden", "risk"
    households = pd.DataFrame({"household_id": np.arange(2000).astype(str), "cluster": np.arange(2000) // 40})
    draw = np.random.default_rng(7)
    before = households.assign(**{feature: draw.normal(0, 1, 2000), risk: draw.normal(0, 1, 2000)})

    def alarms(by: float, of_risk: float) -> set[str]:
        after = before.assign(**{feature: before[feature] + by, risk: before[risk] + of_risk})
        monkeypatch.setattr(drift, "_scored", lambda asked, month, counties: after if month == asked.as_of else before)
        return set(report_drift(asked).tables["alarms"].query("about in ('features', 'scores')")["name"])

    assert alarms(0.7, 0.0) == set()
    assert alarms(0.7, 0.7) == {feature, risk}
    assert alarms(1.5, 0.0) == {feature}


def told_of(feature: str, then: np.ndarray, now: np.ndarray, first: str = "2021-01") -> list[drift.Comparison]:
    """What is told of a feature that had such values in June 2022, and has these a year later; 40 to a village."""
    whose = pd.DataFrame({"household_id": np.arange(len(now)).astype(str), "cluster": np.arange(len(now)) // 40})
    before, after = (whose.assign(**{"risk": 0.1, feature: values}) for values in (then, now))
    month = month_number("2023-06")
    model = SimpleNamespace(inputs=(feature,), catalogue=load_catalogue())
    asked = Asked(SimpleNamespace(first_month=first, step_months=1), month, Rules(), model=model)
    tests = _scores_and_features(asked, lambda m: after if m == month else before, month - 12, "last_year", (), [])
    return [test for test in tests if test.about == "features"]


def alarming(feature: str, then: np.ndarray, now: np.ndarray) -> bool:
    """Whether it alarms, a year and a half into the register."""
    return any(test.alarms(1e-5) for test in told_of(feature, then, now))


def test_months_since_something_are_told_as_far_back_as_the_register_reached_then() -> None:
    draw, name = np.random.default_rng(5), "months_since_identified"
    then = np.where(draw.random(2000) < 0.7, 60, draw.integers(0, 5, 2000))
    longer = np.where((then == 60) & (draw.random(2000) < 0.8), draw.integers(18, 30, 2000), then)
    assert not alarming(name, then, longer), "what lies before the register's first month was not on record then"
    lately = np.where((then == 60) & (draw.random(2000) < 0.8), draw.integers(0, 5, 2000), then)
    assert alarming(name, then, lately)


@pytest.mark.parametrize(("first", "checks"), [("2021-06", ["missing", "shape"]), ("2021-07", ["not_compared"])])
def test_a_change_over_a_year_is_not_held_against_a_month_in_which_no_year_was_on_record(
    first: str, checks: list[str]
) -> None:
    nothing, change = np.full(2000, np.nan), np.random.default_rng(8).normal(0, 0.1, 2000)
    tests = told_of("log_ratio_change_12m", nothing, change, first)
    assert [test.check for test in tests] == checks
    assert any(test.alarms(1e-5) for test in tests) == (first == "2021-06")


def test_what_rests_on_a_feature_that_looks_back_too_far_is_not_compared_either() -> None:
    then, now = (np.random.default_rng(seed).normal(0.2, 0.1, 2000) for seed in (9, 10))
    assert [test.check for test in told_of("drawdown_24m", then, now)] == ["not_compared"]
    assert "missing" in {test.check for test in told_of("drawdown_24m", then, now, "2020-07")}


@pytest.mark.parametrize(("markets", "alarms"), [(50, True), (13, False), (2, False)])
def test_a_price_that_villages_have_from_one_market_counts_once(markets: int, alarms: bool) -> None:
    draw, market = np.random.default_rng(6), np.arange(2000) // 40 % markets
    then, rise = draw.normal(100, 10, markets), draw.normal(20, 5, markets)
    assert alarming("price_index_now", then[market], (then + rise)[market]) == alarms


def test_features_scores_and_causes_are_compared_where_a_model_is_named(county: County) -> None:
    model = load_model("models:/return-risk@champion", county.tracking.uri)
    found = report_drift(Asked(Register.open(county.register), month_number(AS_OF), Rules(), (), model))
    about = set(found.tables["comparisons"]["about"])
    assert about >= {"inputs", "features", "scores"}
    named = set(found.tables["comparisons"].query("about == 'features'")["name"])
    assert named <= set(model.inputs) and "village_log_ratio" not in named
    assert any("--alerts" in en for en, _ in found.notes)


def test_a_scheduler_is_told_by_the_exit_code_and_the_report_is_there(steady: Path, tmp_path: Path) -> None:
    plant(steady, tmp_path / "copy", "wage_income", 100.0, 1)
    told = ["monitor", str(tmp_path / "copy"), "--as-of", "2023-12", "--parts", "drift", "--fail-on-drift", "--out"]
    run = CliRunner().invoke(app, [*told, str(tmp_path / "out")])
    assert isinstance(run.exception, DriftFound) and run.exception.exit_code == 14
    assert (tmp_path / "out" / "drift.xlsx").is_file()
    told[1] = str(steady)
    assert CliRunner().invoke(app, [*told, str(tmp_path / "calm")]).exit_code == 0
    told[5] = "spells"
    assert isinstance(CliRunner().invoke(app, [*told, str(tmp_path / "none")]).exception, UsageError)


def test_shares_of_no_register_are_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "figures.json"
    monkeypatch.setattr("sys.argv", ["drift_alarms.py", "--quiet", "0", "--planted", "0", "--json", str(file)])
    drift_alarms.main()
    figures = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert figures["months_without_drift"] == figures["planted"] == 0
    assert [figures[name] for name in ("alarmed_share", "low", "high", "found_low")] == [None] * 4


@pytest.mark.slow
def test_no_alarm_without_drift_and_every_planted_unit_found(tmp_path: Path) -> None:
    assert quiet(2, 1500, range(LAST - 11, LAST + 1), tmp_path)[0] == 0
    assert planted(2, 2000, tmp_path)["found"].all()
