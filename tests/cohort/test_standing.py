"""Scoring, which asks who is at risk in one pass, and labels, which ask by a query, have the same households."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.cohort.features import county_blocks
from riskmodel.cohort.labels import build_labels
from riskmodel.cohort.standing import Standing, fell_as
from riskmodel.months import month_number, month_text
from riskmodel.register import Register
from riskmodel.settings import AtRisk, Label
from tests.cohort.registers import make_register, monthly
from tests.county import County

AS_OF = month_number("2023-06")


def at_risk_while_scoring(register: Register, month: int, label: Label, at_risk: AtRisk, block: int = 7) -> pd.DataFrame:
    found = []
    for county in register.counties:
        standing = Standing.of(register, county, month, label, at_risk)
        for frame in county_blocks(register, county, [month], standing.columns, block):
            frame["fell_as"] = fell_as(frame)
            found.append(frame.loc[standing.at_risk(frame), ["household_id", "fell_as"]])
    return pd.concat(found, ignore_index=True)


def assert_same(
    register: Register, months: list[int], label: Label | None = None, at_risk: AtRisk | None = None
) -> list[int]:
    """Whether both have the same households in each month; gives their numbers."""
    label, at_risk = label or Label(), at_risk or AtRisk()
    labels = build_labels(register, months, label, at_risk)
    sizes = []
    for month in months:
        scored = at_risk_while_scoring(register, month, label, at_risk)
        labelled = labels.loc[labels["as_of"] == month_text(month), list(scored)].reset_index(drop=True)
        pd.testing.assert_frame_equal(scored, labelled, check_dtype=False)
        sizes.append(len(scored))
    return sizes


def troubled(seed: int, households: int = 60, step_months: int = 1) -> dict[str, pd.DataFrame]:
    """Records with gaps and holes, costs, failing guarantees, events of households and villages, spells, all corrected."""
    rng = np.random.default_rng(seed)
    names = [f"{n:03d}" for n in range(households)]
    months = pd.period_range("2022-07", "2023-09", freq="M")[::step_months]
    rows = pd.MultiIndex.from_product([names, months]).to_frame(index=False, name=["household_id", "month"])
    rows = rows[rng.random(len(rows)) < 0.8]
    again = rows[rng.random(len(rows)) < 0.1]
    known_after = np.r_[np.zeros(len(rows)), rng.integers(1, 70, len(again))]
    rows = pd.concat([rows, again], ignore_index=True)
    n = len(rows)

    def with_holes(values: np.ndarray, share: float = 0.15) -> np.ndarray:
        return np.where(rng.random(n) < share, np.nan, values)

    ends = rows["month"].dt.end_time.dt.normalize() + pd.to_timedelta(known_after + rng.integers(0, 20, n), "D")
    records = pd.DataFrame(
        {
            "household_id": rows["household_id"],
            "month": rows["month"].dt.strftime("%Y-%m-01"),
            "known_at": ends.dt.strftime("%Y-%m-%d"),
            "welfare": with_holes(rng.normal(180, 45, n)),
            "line": 100.0,
            "wage_income": with_holes(rng.integers(0, 900, n), 0.05),
            "production_cost": rng.integers(0, 100, n),
            "selfpay": with_holes(rng.integers(0, 500, n)),
            "claims": with_holes(rng.integers(0, 100, n)),
            "housing_ok": pd.array(rng.choice([*[True] * 20, False, None], n), "boolean"),
            "water_ok": pd.array(rng.choice([*[True] * 10, False, *[None] * 10], n), "boolean"),
            "source": rng.choice(["visit", "department", "imputed", None], n),
        }
    ).drop_duplicates(["household_id", "month", "known_at"])
    homes = pd.DataFrame({"household_id": names, "village_id": [f"v{int(h) % 5}" for h in names]})
    homes["household_type"] = rng.choice(["lifted", "ordinary", None], households)
    struck = pd.DataFrame({"household_id": rng.choice([*names, None], 60), "village_id": None, "kind": "illness"})
    struck.loc[struck["household_id"].isna(), "village_id"] = "v1"
    struck["onset_on"] = pd.to_datetime("2021-10-01") + pd.to_timedelta(rng.integers(0, 700, 60), "D")
    struck["known_at"] = struck["onset_on"] + pd.to_timedelta(rng.integers(0, 90, 60), "D")
    struck["verified"] = pd.array(rng.choice([True, False, None], 60), "boolean")
    spells = pd.DataFrame({"household_id": rng.choice(names, 25)})
    spells["identified_on"] = pd.to_datetime("2022-08-01") + pd.to_timedelta(rng.integers(0, 360, 25), "D")
    spells["eliminated_on"] = spells["identified_on"] + pd.to_timedelta(rng.integers(20, 300, 25), "D")
    spells.loc[::3, "eliminated_on"] = pd.NaT
    spells = spells.drop_duplicates(["household_id", "identified_on"])
    spells["known_at"] = spells["identified_on"] + pd.to_timedelta(rng.integers(0, 40, len(spells)), "D")
    put_right = struck.sample(20, random_state=seed)
    put_right["known_at"] += pd.to_timedelta(rng.integers(1, 120, 20), "D")
    put_right["verified"] = pd.array(rng.choice([True, False], 20), "boolean")
    ended = spells[spells["eliminated_on"].isna()].copy()
    ended["eliminated_on"] = ended["identified_on"] + pd.to_timedelta(rng.integers(5, 60, len(ended)), "D")
    ended["known_at"] += pd.to_timedelta(rng.integers(30, 200, len(ended)), "D")
    struck = pd.concat([struck, put_right]).drop_duplicates(["household_id", "village_id", "onset_on", "known_at"])
    return {"records": records, "households": homes, "events": struck, "spells": pd.concat([spells, ended])}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_county_writes_the_same_households_are_at_risk(tmp_path: Path, seed: int) -> None:
    register = make_register(tmp_path, **troubled(seed))
    assert register.revised == {"records", "events", "spells"}
    asked = [
        (Label(), AtRisk()),
        (Label(name="sudden_difficulty"), AtRisk(seen_within_months=5)),
        (Label(name="below_line"), AtRisk(seen_within_months=2, population="lifted")),
    ]
    for label, at_risk in asked:
        sizes = assert_same(register, list(range(AS_OF - 4, AS_OF + 2)), label, at_risk)
        assert sum(sizes) > 20 and max(sizes) < 60


@pytest.mark.parametrize("seed", range(2))
def test_so_in_a_panel_of_quarters(tmp_path: Path, seed: int) -> None:
    register = make_register(tmp_path, step_months=3, **troubled(seed, step_months=3))
    label = Label(horizon_months=6)
    assert sum(assert_same(register, [AS_OF - 5, AS_OF - 2], label, AtRisk(seen_within_months=6))) > 5


def test_so_in_the_simulated_county(county: County) -> None:
    register = Register.open(county.register)
    first, last = month_number(register.first_month), month_number(register.last_month)
    assert min(assert_same(register, list(range(first + 2, last + 1, 5)))) > 0


def test_a_month_that_does_not_tell_the_cost_ends_no_sudden_difficulty(tmp_path: Path) -> None:
    """In difficulty in May, June is silent: of 001 and 002 for want of the cost or the wage, 003 was told to have little."""
    records = pd.concat([monthly(h, "2023-01", [150.0] * 6) for h in ("001", "002", "003")], ignore_index=True)
    records["wage_income"], records["selfpay"] = 1000.0, 10.0
    june = records["month"].eq("2023-06-01")
    records.loc[records["month"].eq("2023-05-01"), "selfpay"] = 600.0
    records.loc[june & records["household_id"].eq("001"), "selfpay"] = None
    records.loc[june & records["household_id"].eq("002"), "wage_income"] = None
    events = pd.DataFrame({"household_id": ["001", "002", "003"], "kind": "illness", "onset_on": "2023-05-02"})
    assert assert_same(make_register(tmp_path, records=records, events=events), [AS_OF]) == [1]


def test_a_correction_without_income_takes_the_month_back(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [150.0] * 5 + [90.0])
    records["known_at"] = pd.to_datetime(records["month"]) + pd.offsets.MonthEnd(1)
    empty = records.iloc[-1:].assign(welfare=np.nan, known_at=pd.Timestamp("2023-06-30"))
    records.loc[records.index[-1], "known_at"] = pd.Timestamp("2023-06-20")
    register = make_register(tmp_path, records=pd.concat([records, empty]).assign(hh_size=3))
    assert assert_same(register, [AS_OF]) == [1]


def test_a_guarantee_that_holds_again_keeps_nobody_out_whatever_is_not_told_of_the_others(tmp_path: Path) -> None:
    """Housing failed in May. June tells that it holds again of 001, nothing of it of 002; of water it tells of neither."""
    households = ("001", "002", "003")
    records = pd.concat([monthly(h, "2023-01", [150.0] * 6, source="visit") for h in households], ignore_index=True)
    months, who = records["month"], records["household_id"]
    records["housing_ok"] = pd.array(months.ne("2023-05-01") | who.eq("003"), "boolean")
    records["water_ok"] = pd.array([True] * len(records), "boolean")
    records.loc[months.eq("2023-06-01"), "water_ok"] = pd.NA
    records.loc[months.eq("2023-06-01") & who.eq("002"), "housing_ok"] = pd.NA
    assert assert_same(make_register(tmp_path, records=records), [AS_OF - 1, AS_OF]) == [1, 2]
