"""A county that begins to record every fall: risks are put right on the months known by then, and ranks stay."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.calibration import CalibrationCheck, action_coverage, calibration_in_the_large, interval_coverage
from riskmodel.evaluation.capacity import actions
from riskmodel.evaluation.metrics import Scored, ece_null_band
from riskmodel.model.bundle import RiskModel, check_additive
from riskmodel.model.calibration import Calibration, logit, probability
from riskmodel.model.recalibration import recalibrate
from riskmodel.model.training import fit_model
from riskmodel.settings import Cohorts as Months
from riskmodel.settings import Label, Run, Split
from riskmodel.simulation import simulate_tables
from tests.cohort.registers import make_register
from tests.model.test_training import RUN, late_books, panel

TRAINED_TO, DRIFT_FROM, NOW, LATER = "2022-06", "2022-10", "2023-12", "2024-01"


def rows_of_counties(
    generator: np.random.Generator, rows: int, drift: float, slope: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Risks, and falls whose log-odds are `slope` times theirs, and `drift` more."""
    log_odds = -2.5 + generator.normal(size=rows)
    fell = generator.random(rows) < expit(slope * (log_odds + 2.5) - 2.5 + drift)
    return expit(log_odds), fell.astype(float)


def test_a_probability_is_scipys_to_the_last_bit() -> None:
    log_odds = np.r_[np.random.default_rng(0).normal(0, 8, 100_000), 0.0, -0.0, np.nan, np.inf, 708, -708]
    assert np.array_equal(probability(log_odds), expit(log_odds), equal_nan=True)
    assert probability(np.array([-1e6, 1e6])) == pytest.approx([0, 1]), "and none is beyond what can be computed"


def test_a_doubled_rate_comes_back_into_its_interval_and_its_ece_into_the_null_band() -> None:
    """On months after those it was learned from; 60 counties of their own."""
    generator = np.random.default_rng(1)
    warned, quiet, bands, covered = [], [], [], []
    for seed in range(60):
        risk, outcome = rows_of_counties(generator, 3000, np.log(2))
        later, fell = rows_of_counties(generator, 3000, np.log(2))
        new = Calibration().renewed(risk, outcome)
        after = calibration_in_the_large(fell, new.apply(later))
        warned.append(calibration_in_the_large(fell, later).warns)
        quiet.append(not after.warns)
        covered.append(after.low / 1.1 <= 1 <= after.high * 1.1)
        figures = [Scored(fell, r).metrics()["ece"] for r in (later, new.apply(later))]
        high = [ece_null_band(r, replicates=100, seed=seed).high for r in (later, new.apply(later))]
        bands.append([e <= h for e, h in zip(figures, high, strict=True)])
    before, now = np.mean(bands, axis=0)
    assert np.mean(warned) == 1
    assert np.mean(quiet) >= 0.95
    assert np.mean(covered) >= 0.95
    assert before == 0
    assert now >= 0.85


def test_few_falls_move_the_level_alone_and_not_all_the_way() -> None:
    risk, outcome = np.full(400, 0.05), np.r_[np.ones(40), np.zeros(360)]
    few = Calibration(1.2, 0.3).renewed(risk[:100], outcome[::4])
    assert few.slope == 1.2
    many = Calibration().renewed(np.tile(risk, 10), np.tile(outcome, 10))
    assert 0.05 < few.intercept - 0.3 + 0.05 < logit(np.array([0.1]))[0] - logit(np.array([0.05]))[0]
    assert many.apply(risk).mean() == pytest.approx(0.1, rel=0.02)


def test_many_falls_move_the_slope_too_and_never_turn_ranks_round() -> None:
    generator = np.random.default_rng(2)
    risk, outcome = rows_of_counties(generator, 20_000, 0.5, slope=0.5)
    new = Calibration(2.0, -1.0).renewed(risk, outcome)
    assert new.slope == pytest.approx(1.0, abs=0.1)
    later, fell = rows_of_counties(generator, 20_000, 0.5, slope=0.5)
    raw = expit((logit(later) + 1.0) / 2.0)
    assert Scored(fell, new.apply(raw)).metrics()["calibration_slope"] == pytest.approx(1, abs=0.1)
    against = (generator.random(20_000) > risk).astype(float)
    assert Calibration().renewed(risk, against).slope > 0.05


def test_without_drift_little_changes() -> None:
    generator = np.random.default_rng(3)
    moved = []
    for _ in range(20):
        risk, outcome = rows_of_counties(generator, 4000, 0.0)
        moved.append(np.abs(logit(Calibration().renewed(risk, outcome).apply(risk)) - logit(risk)).mean())
    assert np.mean(moved) < 0.1


def test_a_household_seen_four_times_counts_about_once() -> None:
    generator = np.random.default_rng(4)
    risk, outcome = rows_of_counties(generator, 400, 1.0)
    once = Calibration().renewed(risk, outcome)
    again = Calibration().renewed(np.repeat(risk, 4), np.repeat(outcome, 4), np.repeat(np.arange(400), 4))
    as_rows = Calibration().renewed(np.repeat(risk, 4), np.repeat(outcome, 4))
    assert again.slope == once.slope == 1
    assert again.intercept == pytest.approx(once.intercept, abs=0.03)
    assert as_rows.slope != 1


def test_rows_that_stand_for_others_move_slope_and_level_as_the_others_would() -> None:
    generator = np.random.default_rng(5)
    risk, outcome = rows_of_counties(generator, 4000, 0.5, slope=0.7)
    times = np.where(outcome == 1, 1, 2)
    everybody = np.repeat(risk, times), np.repeat(outcome, times)
    for found, expected in (
        (Calibration.fit(risk, outcome, times), Calibration.fit(*everybody)),
        (Calibration(0.8).anchored(risk, outcome, times), Calibration(0.8).anchored(*everybody)),
    ):
        assert found.slope == pytest.approx(expected.slope, rel=1e-3)
        assert found.apply(risk) == pytest.approx(expected.apply(risk), rel=1e-3)
    renewed, of_everybody = Calibration().renewed(risk, outcome, weight=times), Calibration().renewed(*everybody)
    assert renewed.slope == pytest.approx(of_everybody.slope, rel=0.05)
    assert renewed.apply(risk).mean() == pytest.approx(of_everybody.apply(risk).mean(), rel=0.02)
    assert Calibration().renewed(risk, outcome).apply(risk).mean() > 1.5 * renewed.apply(risk).mean()


def steady_incomes(households: int, months: int) -> pd.DataFrame:
    """Incomes that return to their own mean within months; the county's rate of falls stays what it is."""
    generator = np.random.default_rng(0)
    own = generator.uniform(-0.05, 0.8, (households, 1))
    noise = np.zeros((households, months))
    for month in range(1, months):
        noise[:, month] = 0.8 * noise[:, month - 1] + generator.normal(0, 0.15, households)
    records = panel(households, months)
    records["welfare"] = (100 * np.exp(own + noise)).ravel()
    return records


def half_recorded(cohorts: Cohorts) -> Cohorts:
    """The same households, where until `DRIFT_FROM` every other fall was not recorded."""
    frame = cohorts.frame.copy()
    fall = frame["household_id"] + frame["outcome_month"].fillna("")
    unseen = fall.map(lambda key: zlib.crc32(key.encode()) % 2).eq(1) & (frame["as_of"] < DRIFT_FROM)
    frame.loc[unseen & frame["outcome"].eq(1), "outcome"] = 0.0
    return dataclasses.replace(cohorts, frame=frame)


def trained(cohorts: Cohorts, run: Run) -> RiskModel:
    """The model of what was known when `TRAINED_TO` was the last month with an outcome."""
    rows = cohorts.frame[cohorts.frame["as_of"] <= TRAINED_TO].reset_index(drop=True)
    model = fit_model(dataclasses.replace(cohorts, frame=rows), run)
    return dataclasses.replace(model, evidence={"trained_to": TRAINED_TO})


def checked(model: RiskModel, rows: pd.DataFrame) -> CalibrationCheck:
    return calibration_in_the_large(rows["outcome"].to_numpy(), model.risk(rows), rows["household_id"])


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    register = make_register(tmp_path_factory.mktemp("data") / "register", records=steady_incomes(500, 60))
    return half_recorded(build_cohorts(register, label=RUN.label, at_risk=RUN.at_risk, months=RUN.cohorts))


@pytest.fixture(scope="module")
def model(cohorts: Cohorts) -> RiskModel:
    return trained(cohorts, RUN)


def test_a_county_that_begins_to_record_all_falls_is_warned_and_put_right(cohorts: Cohorts, model: RiskModel) -> None:
    new = recalibrate(model, cohorts, as_of=NOW)
    later = cohorts.frame[(cohorts.frame["as_of"] >= LATER) & cohorts.frame["outcome"].notna()]
    assert checked(model, later).warns
    assert not checked(new, later).warns
    found = new.evidence["recalibrated"]
    assert found["before"]["warning_en"]
    assert not found["after"]["warning_en"]
    order = np.argsort(model.risk(later), kind="stable")
    assert (np.diff(new.risk(later)[order]) >= 0).all()
    check_additive(new.contributions(later), new.risk(later))
    assert new.version.startswith(model.version + "+")
    assert new.intervals.rows == found["rows"]
    ends = new.interval(later)
    assert interval_coverage(later["outcome"], ends, households=later["household_id"])["holds"].all()


def test_only_closed_months_that_training_has_not_seen_count(cohorts: Cohorts, model: RiskModel) -> None:
    """Horizon 3 and one month to confirm: the first month is four after training's last, the last four before now."""
    first, last = recalibrate(model, cohorts, as_of=NOW).evidence["recalibrated"]["months"]
    frame = cohorts.frame
    assert first == frame.loc[frame["as_of"] >= "2022-10", "as_of"].min()
    assert last == frame.loc[frame["as_of"] <= "2023-08", "as_of"].max()


def test_what_is_known_later_changes_nothing(cohorts: Cohorts, model: RiskModel) -> None:
    frame = cohorts.frame.copy()
    unknown = frame["outcome_known_at"] > pd.Timestamp("2023-12-31")
    frame.loc[unknown, "outcome"] = 1 - frame.loc[unknown, "outcome"]
    turned = dataclasses.replace(cohorts, frame=frame)
    assert recalibrate(model, turned, as_of=NOW).calibration == recalibrate(model, cohorts, as_of=NOW).calibration


def test_a_last_month_in_which_falls_are_known_first_does_not_raise_the_level(cohorts: Cohorts, model: RiskModel) -> None:
    cases = cohorts, late_books(cohorts, "2023-08")
    expected, found = (recalibrate(model, c, as_of=NOW).risk(cohorts.frame).mean() for c in cases)
    assert found == pytest.approx(expected, rel=0.03)


def test_where_books_come_late_nobody_of_the_last_closed_horizon_is_left_out(tmp_path: Path, model: RiskModel) -> None:
    """Every record 40 days late: the last horizon, to November, and what confirms it are known in February."""
    register = make_register(tmp_path, lag_days=40, records=steady_incomes(500, 60))
    months = Months(every_months=1, first="2024-01")
    late = build_cohorts(register, label=RUN.label, at_risk=RUN.at_risk, months=months)
    assert (register.last_month, register.last_as_of) == ("2024-12", "2025-02")
    found = recalibrate(model, late).evidence["recalibrated"]
    closed = late.frame[late.frame["as_of"].le("2024-08") & late.frame["outcome"].notna()]
    assert found["months"] == ["2024-01", "2024-08"]
    assert (found["rows"], found["events"]) == (len(closed), closed["outcome"].sum())


def test_a_closed_horizon_of_which_only_the_falls_are_known_yet_does_not_count(tmp_path: Path, model: RiskModel) -> None:
    """One assessment, every record twenty days late: in December those that end the horizon of September are not in."""
    register = make_register(tmp_path, lag_days=20, records=steady_incomes(500, 60))
    once = RUN.model_copy(update={"label": Label(horizon_months=3, assessments=1)})
    months = Months(every_months=1, first="2023-01", last="2024-06")
    cohorts = build_cohorts(register, label=once.label, at_risk=once.at_risk, months=months)
    asked = dataclasses.replace(model, run=once)
    found = recalibrate(asked, cohorts, as_of="2023-12").evidence["recalibrated"]
    assert found["months"] == ["2023-01", "2023-08"]
    closed = cohorts.frame[cohorts.frame["as_of"] <= "2023-08"]
    assert (found["rows"], found["events"]) == (closed["outcome"].count(), closed["outcome"].sum())
    at_once = make_register(tmp_path / "at_once", records=steady_incomes(500, 60))
    cohorts = build_cohorts(at_once, label=once.label, at_risk=once.at_risk, months=months)
    assert recalibrate(asked, cohorts, as_of="2023-12").evidence["recalibrated"]["months"] == ["2023-01", "2023-09"]


def test_a_recalibrated_model_comes_back_from_disk(tmp_path: Path, cohorts: Cohorts, model: RiskModel) -> None:
    new = recalibrate(model, cohorts, as_of=NOW)
    new.save(tmp_path / "model")
    back = RiskModel.load(tmp_path / "model")
    np.testing.assert_array_equal(back.risk(cohorts.frame), new.risk(cohorts.frame))
    np.testing.assert_array_equal(back.interval(cohorts.frame), new.interval(cohorts.frame))
    assert back.evidence["recalibrated"] == new.evidence["recalibrated"]


def test_what_cannot_be_recalibrated_says_why(cohorts: Cohorts, model: RiskModel) -> None:
    with pytest.raises(NotEnoughData, match="whole horizon"):
        recalibrate(model, cohorts, as_of="2022-12")
    with pytest.raises(UsageError, match="from_month"):
        recalibrate(dataclasses.replace(model, evidence={}), cohorts)
    with pytest.raises(UsageError, match="label"):
        recalibrate(model, dataclasses.replace(cohorts, label=Label(horizon_months=6)))
    frame = cohorts.frame.assign(outcome=cohorts.frame["outcome"] * 0)
    with pytest.raises(NotEnoughData, match="0 of"):
        recalibrate(model, dataclasses.replace(cohorts, frame=frame), as_of=NOW)


@pytest.mark.slow
def test_simulated_counties_that_begin_to_record_all_falls(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Three counties in one register, each with its own households; coverage over all, by county and by outcome."""
    parts = [
        simulate_tables(households=900, months=60, seed=seed, first_month="2020-01", county=county, with_truth=False)
        for seed, county in enumerate(("009901", "009902", "009903"))
    ]
    tables = {name: pd.concat([p[name] for p in parts], ignore_index=True) for name in parts[0]}
    tables["lines"] = parts[0]["lines"]
    run = Run(
        cohorts=Months(warm_up_months=3),
        split=Split(calibration_months=12),
        lightgbm={"n_estimators": 60, "learning_rate": 0.1, "min_data_in_leaf": 40},
    )
    register = make_register(tmp_path_factory.mktemp("data") / "register", **tables)
    steady = build_cohorts(register, label=run.label, at_risk=run.at_risk, months=run.cohorts)
    drifted = half_recorded(steady)
    model = trained(drifted, run)
    later = drifted.frame[(drifted.frame["as_of"] >= LATER) & drifted.frame["outcome"].notna()]
    new = recalibrate(model, drifted, as_of="2024-01")
    assert checked(model, later).warns
    after = checked(new, later)
    assert after.low <= 1 <= after.high
    assert not after.warns
    apart = later[later["as_of"] == later["as_of"].max()]
    outcome = apart["outcome"].to_numpy()
    errors = {name: Scored(outcome, m.risk(apart)).metrics()["ece"] for name, m in {"old": model, "new": new}.items()}
    assert errors["new"] <= ece_null_band(new.risk(apart)).high
    assert errors["old"] > ece_null_band(model.risk(apart)).high

    outcome, ends = later["outcome"].to_numpy(), new.interval(later)
    scores = later[["household_id", "county_id", "as_of"]].assign(
        risk=new.risk(later), risk_low=ends["low"], risk_high=ends["high"]
    )
    assert interval_coverage(outcome, ends, households=later["household_id"])["holds"].all()
    assert interval_coverage(outcome, ends, later["county_id"], later["household_id"])["holds"].sum() >= 2
    lists = scores.groupby(["as_of", "county_id"])["risk"]
    listed = lists.rank(ascending=False, method="first") <= np.ceil(0.05 * lists.transform("size"))
    figures = action_coverage(outcome, actions(scores, listed)).loc["all"]
    assert figures["reached"] >= outcome[listed].sum() / outcome.sum()
    assert figures["spared"] > 0.95

    quiet = trained(steady, run)
    assert not checked(quiet, later.assign(outcome=steady.frame.loc[later.index, "outcome"])).warns


def test_the_level_is_found_where_risks_of_a_few_households_are_steep() -> None:
    risk, outcome = np.array([1e-12, 1e-12, 1 - 1e-9, 1 - 1e-9]), np.array([0.0, 0.0, 1.0, 0.0])
    found = Calibration(slope=3.0).anchored(risk, outcome)
    assert found.slope == 3.0
    assert found.apply(risk).mean() == pytest.approx(outcome.mean(), abs=1e-6)
