"""The hazard of re-entry: the same as scikit-learn's pipeline on one thread, whatever the machine has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks import reentry
from riskmodel.cohort.spells import Sight
from riskmodel.engine import engine
from riskmodel.errors import NotEnoughData
from riskmodel.monitoring.part import Asked
from riskmodel.monitoring.reentry import (
    _TERMS,
    MONITORING,
    _edges,
    _Hazard,
    _held,
    _known,
    _longest_out,
    _Look,
    _looked_back,
    _matrix,
    _outcomes,
)
from riskmodel.monitoring.rules import Rules
from riskmodel.months import month_number
from tests.cohort.registers import make_register, monthly
from tests.cohort.test_spells import ledger

LONGEST, STEP, MONTH = 12, 3, 24_000


def households_that_left(number: int, seed: int = 7) -> pd.DataFrame:
    """Landmarks; of some the last spell and the lowest income are not known, help is known of none."""
    draw = np.random.default_rng(seed)
    ratio = draw.uniform(0.9, 2.5, number)
    stays = draw.geometric(0.03 + 0.1 * (ratio < 1.3)) * STEP
    until = MONTH + STEP - 1 + stays
    back = draw.random(number) < 0.7
    return pd.DataFrame({
        "household_id": np.arange(number).astype(str),
        "as_of_no": MONTH,
        "since": draw.integers(0, 30, number),
        "earlier": draw.integers(1, 4, number),
        "last_spell": np.where(draw.random(number) < 0.3, np.nan, draw.integers(1, 20, number)),
        "start_known": draw.random(number) < 0.5,
        "ratio": ratio,
        "low_ratio": np.where(draw.random(number) < 0.1, np.nan, ratio * 0.8),
        "assisted": np.nan,
        "event_last": np.where(back, until, np.nan),
        "seen_last": until,
    })  # fmt: skip


@pytest.fixture(scope="module")
def left() -> pd.DataFrame:
    return households_that_left(60_000)


def of_scikit_learn(frame: pd.DataFrame) -> Pipeline:
    known = _known(_held(frame, _edges(frame)))
    start = frame["as_of_no"].to_numpy() + STEP - 1
    event, seen = frame["event_last"].to_numpy() - start, frame["seen_last"].to_numpy() - start
    longest_out = _longest_out(frame, event, LONGEST)
    rows, outcomes = [], []
    for lead in range(STEP, LONGEST + 1, STEP):
        still = np.where(np.isnan(event), seen >= lead, event > lead - STEP)
        rows.append(pd.DataFrame(_matrix(known, lead, longest_out)[still], columns=list(_TERMS)))
        outcomes.append((event[still] <= lead).astype(int))
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(max_iter=500),
    )
    return pipeline.fit(pd.concat(rows, ignore_index=True), np.concatenate(outcomes))


def test_the_hazard_is_that_of_scikit_learn(left: pd.DataFrame) -> None:
    few = left[:2_000]
    found = _Hazard.fit(few, "last", LONGEST, STEP)
    expected = of_scikit_learn(few)
    terms = found.terms()
    assert terms["term"].tolist() == expected[0].get_feature_names_out().tolist()
    np.testing.assert_allclose(terms["log_odds"], expected[-1].coef_[0], rtol=1e-6)
    first = pd.DataFrame(_matrix(_known(_held(few, found.edges)), STEP, found.longest_out), columns=list(_TERMS))
    np.testing.assert_allclose(found.chance(few, STEP), expected.predict_proba(first)[:, 1], rtol=1e-6)


def test_the_chance_of_a_household_does_not_depend_on_the_threads_of_the_machine(left: pd.DataFrame) -> None:
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(_Hazard.fit(left, "last", LONGEST, STEP).chance(left, LONGEST))
    np.testing.assert_array_equal(*found)


def test_a_household_far_below_the_line_has_the_chance_of_the_poorest_that_were_seen() -> None:
    seen = households_that_left(4_000)
    hazard = _Hazard.fit(seen, "last", LONGEST, STEP)
    alike = seen.head(3).assign(since=3, earlier=3, last_spell=12.0, start_known=True)
    edge = alike.assign(ratio=hazard.edges["ratio"][0], low_ratio=hazard.edges["low_ratio"][0])
    beyond = alike.assign(ratio=[0.5, 0.1, -3.0], low_ratio=-1.0)
    np.testing.assert_array_equal(hazard.chance(beyond, LONGEST), hazard.chance(edge, LONGEST))
    assert hazard.edges["ratio"][0] == np.sort(seen["ratio"])[9], "ten households were seen as far below"


def test_a_household_out_for_longer_than_anybody_who_came_back_has_the_chance_of_the_longest_that_were_seen() -> None:
    seen = households_that_left(4_000).assign(since=lambda f: np.where(np.arange(len(f)) < 3_000, f["since"], 60))
    seen.loc[seen["since"] == 60, "event_last"] = np.nan
    hazard = _Hazard.fit(seen, "last", LONGEST, STEP)
    assert 29 < hazard.longest_out < 29 + LONGEST + STEP, "out for five years and seen, but nobody of them came back"
    alike = seen.head(2).assign(earlier=1, last_spell=12.0, start_known=True, ratio=1.1, low_ratio=1.0)
    longest, beyond = (hazard.chance(alike.assign(since=since), LONGEST) for since in (hazard.longest_out, 60))
    np.testing.assert_array_equal(longest, beyond)
    assert (hazard.chance(alike.assign(since=6), LONGEST) != longest).all()


def test_where_hardly_anybody_came_back_the_months_since_the_exit_tell_nothing() -> None:
    seen = households_that_left(4_000)
    back = seen.index[seen["event_last"] <= MONTH + STEP - 1 + LONGEST]
    seen.loc[back[9:], "event_last"] = np.nan
    hazard = _Hazard.fit(seen, "last", LONGEST, STEP)
    alike = seen.head(1).assign(earlier=1, last_spell=12.0, start_known=True, ratio=1.1, low_ratio=1.0)
    chances = {float(hazard.chance(alike.assign(since=since), LONGEST)[0]) for since in (0, 6, 30)}
    assert len(chances) == 1


def test_a_chance_has_an_interval_that_widens_where_few_were_seen() -> None:
    seen = households_that_left(4_000)
    chance, low, high = _Hazard.fit(seen, "last", LONGEST, STEP).interval(seen, LONGEST)
    assert ((low > 0) & (low < chance) & (chance < high) & (high < 1)).all()
    fewer = _Hazard.fit(seen.head(500), "last", LONGEST, STEP).interval(seen, LONGEST)
    assert ((fewer[2] - fewer[1]) / (high - low)).mean() > 2, "an eighth of the households: about 2.8 times as wide"


def test_an_interval_is_as_wide_as_the_chances_from_other_households_differ() -> None:
    asked = households_that_left(50)
    fits = [_Hazard.fit(households_that_left(800, seed), "last", LONGEST, STEP) for seed in range(24)]
    told = np.array([fit.interval(asked, LONGEST) for fit in fits])
    out = np.log(-np.log1p(-told))  # the scale on which intervals are even
    spread, reach = out[:, 0].std(axis=0, ddof=1), ((out[:, 2] - out[:, 1]) / 2).mean(axis=0)
    assert 0.75 < np.median(reach / (1.96 * spread)) < 1.33


def test_landmarks_of_one_household_are_no_further_evidence() -> None:
    seen = households_that_left(1_000)
    once, often = (_Hazard.fit(pd.concat([seen] * times), "last", LONGEST, STEP) for times in (1, 4))
    width = [np.subtract(*hazard.interval(seen, LONGEST)[:0:-1]).mean() for hazard in (once, often)]
    assert width[1] == pytest.approx(width[0], rel=0.05)


def test_what_re_entries_of_a_small_county_are_worth_is_not_told_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 60 households over 18 months too few left and came back."""
    with pytest.raises(NotEnoughData, match="easy, seed 92, 60 households over 18 months: Re-entry into .*too few"):
        reentry.evaluated("easy", 92, 60, 18, tmp_path)
    asked = ["reentry.py", "--worlds", "easy", "--seeds", "92", "--households", "60", "--months", "18"]
    monkeypatch.setattr("sys.argv", asked)
    with pytest.raises(SystemExit, match="more --households or --months"):
        reentry.main()
    assert "60 households over 18 months" in capsys.readouterr().err


def test_who_was_back_on_the_day_and_not_told_yet_is_not_said_to_have_stayed_out(tmp_path: Path) -> None:
    """At the end of June 001 and 002 are known to have left in March; the books of June and July come two months late.

    001 was back in May. 002 came back in August, which the report of October does not say yet; its June to August do.
    """
    records = pd.concat([monthly(h, "2022-01", [150] * 12) for h in ("001", "002")])
    spells = ledger(
        ("001", "2022-01-05", "2022-03-10"), ("001", "2022-05-20", "2022-09-01"), ("002", "2022-01-05", "2022-03-10"),
        ("002", "2022-08-25", None),
    ).drop(columns="known_at")  # fmt: skip
    register = make_register(tmp_path, lag_days=60, records=records, spells=spells)
    june, october = month_number("2022-06"), month_number("2022-10")
    sees = Sight(step=1, records_late=2, book_late=60)
    look = _Look((june,), (june,), (june, october), 1.0)
    with engine() as connection:
        asked = Asked(register, october, Rules())
        frame, _ = _looked_back(connection, asked, register.counties[0], MONITORING, sees, look, None)
    then = frame[frame["as_of_no"] == june].set_index("household_id")
    assert then["since"].to_dict() == {"001": 3, "002": 3}
    assert then["event_last"].isna().to_dict() == {"001": True, "002": False}
    assert (then["seen_last"] - june).to_dict() == {"001": -1, "002": 2}, "of August it is told in October, of May too"
    fell, watched = _outcomes(then, "last", 2, 1)
    assert fell.tolist() == [False, True] and watched.tolist() == [False, True]
    fell, watched = _outcomes(then, "last", 4, 1)
    assert not watched.any(), "of October nothing is told"


def test_who_had_not_left_after_all_is_not_said_to_have_stayed_out(tmp_path: Path) -> None:
    """At the end of June all three were known to have left in March, of which 001's end is taken back in August.

    002 was identified again on the day on which it left, told in August too. 003 left in April, not in March, and is out.
    """
    records = pd.concat([monthly(h, "2022-01", [150] * 12) for h in ("001", "002", "003")])
    left = [(h, "2022-01-05", "2022-03-10") for h in ("001", "002", "003")]
    later = ledger(("001", "2022-01-05", None), ("002", "2022-03-10", None), ("003", "2022-01-05", "2022-04-20"))
    spells = pd.concat([ledger(*left).assign(known_at="2022-03-10"), later.assign(known_at="2022-08-05")])
    register = make_register(tmp_path, records=records, spells=spells)
    june, october = month_number("2022-06"), month_number("2022-10")
    look = _Look((june,), (june,), (june, october), 1.0)
    with engine() as connection:
        asked = Asked(register, october, Rules())
        frame, _ = _looked_back(connection, asked, register.counties[0], MONITORING, Sight(step=1), look, None)
    then = frame[frame["as_of_no"] == june].set_index("household_id")
    assert then["since"].to_dict() == {"001": 3, "002": 3, "003": 3}
    fell, watched = _outcomes(then, "last", 3, 1)
    assert not fell.any() and watched.tolist() == [False, False, True]
    assert (then["seen_last"] > june).tolist() == [False, False, True]
    assert then["event_last"].isna().all()


def test_days_looked_back_on_have_a_horizon_that_is_told(tmp_path: Path) -> None:
    records = monthly("001", "2020-01", [150] * 48)
    asked = Asked(make_register(tmp_path, records=records), month_number("2023-12"), Rules())
    last = {lag: _Look.at(asked, Sight(step=1, book_late=lag), MONITORING, 1).days[-1] for lag in (0, 28, 60)}
    assert last == {0: month_number("2022-12"), 28: month_number("2022-11"), 60: month_number("2022-10")}
