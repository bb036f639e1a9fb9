"""Training at scale: from disk as from memory, from a sample as from all, and never more than is allowed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from typer.testing import CliRunner

from riskmodel.cards.model_card import model_card
from riskmodel.cli import app
from riskmodel.cohort import cohorts as building
from riskmodel.cohort.cohorts import Cohorts, build_cohorts
from riskmodel.cohort.inputs import Inputs
from riskmodel.errors import TooLarge
from riskmodel.evaluation.leakage import _perhaps_alike
from riskmodel.model import training
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.estimators import make_estimator
from riskmodel.model.memory import needed
from riskmodel.model.sampling import draw_rows, household_lots
from riskmodel.model.training import Trainer
from riskmodel.register import Register
from riskmodel.settings import Label, LeakGates, Machine, Run, Sampling, Split
from riskmodel.study import Study, train
from tests.cohort.registers import make_register
from tests.model.test_training import RUN, panel

LIGHT = RUN.model_copy(
    update={
        "models": ["base_rate", "one_variable_logit", "logistic_regression", "lightgbm"],
        "leak_gates": LeakGates(households=10),
    }
)
SAMPLED = LIGHT.model_copy(update={"sampling": Sampling(others_per_fall=2.0)})


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    return make_register(tmp_path_factory.mktemp("data") / "register", records=panel())


def cohorts_of(register: Register, folder: Path | None = None, **more: object) -> Cohorts:
    return build_cohorts(register, label=RUN.label, at_risk=RUN.at_risk, months=RUN.cohorts, folder=folder, **more)


@pytest.fixture(scope="module")
def held(register: Register) -> Cohorts:
    return cohorts_of(register)


@pytest.fixture(scope="module")
def on_disk(register: Register, tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    return cohorts_of(register, tmp_path_factory.mktemp("cohorts"))


@pytest.fixture(scope="module")
def whole(held: Cohorts) -> Study:
    return train(held, LIGHT, track=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Register:
    """Two counties of a few households."""
    return make_register(tmp_path_factory.mktemp("small") / "register", records=panel(20, 20))


def people(count: int = 30_000, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Households with three figures, gaps among them, and whether they fell: about one in twenty-five does."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(count, 3)), columns=["log_ratio_now", "wage_share", "selfpay_burden"]).astype(
        np.float32
    )
    fell = (rng.random(count) < expit(-3.9 - X["log_ratio_now"] + 0.7 * X["wage_share"])).astype(float)
    return X.mask(rng.random(X.shape) < 0.05), fell.to_numpy()


def made_of(held: Cohorts, X: pd.DataFrame, fell: np.ndarray) -> Cohorts:
    """Cohorts of one as-of month with these figures."""
    ids = [f"{i:06d}" for i in range(len(X))]
    keys = {"household_id": ids, "county_id": "c", "as_of": "2022-01", "outcome": fell}
    keys |= {"outcome_month": None, "outcome_known_at": pd.Timestamp("2023-01-31"), "seen_until": held.label.horizon_months}
    features = tuple(f for f in held.catalogue.features if f.name in X)
    return dataclasses.replace(held, frame=X.assign(**keys), features=features, mapped=None)


def test_cohorts_on_disk_are_those_in_memory_to_the_last_bit(held: Cohorts, on_disk: Cohorts) -> None:
    pd.testing.assert_frame_equal(on_disk.frame, held.frame, check_exact=True)
    where = on_disk.mapped.values
    assert all(np.shares_memory(on_disk.frame[name].to_numpy(), where) for name in on_disk.inputs)
    last = on_disk.at(sorted(on_disk.frame["as_of"].unique())[-3:])
    assert np.shares_memory(last[on_disk.inputs[0]].to_numpy(), where)


def test_a_stopped_build_goes_on_with_the_counties_that_are_missing(
    small: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = cohorts_of(small).frame
    asked: list[str] = []
    given_blocks = building.county_blocks

    def blocks(register: Register, county: str, *given: object) -> object:
        asked.append(county)
        if county == "c1" and asked.count("c1") == 1:
            raise KeyboardInterrupt
        return given_blocks(register, county, *given)

    monkeypatch.setattr(building, "county_blocks", blocks)
    with pytest.raises(KeyboardInterrupt):
        cohorts_of(small, tmp_path, workers=1)
    found = cohorts_of(small, tmp_path, workers=1)
    assert asked == ["c0", "c1", "c1"]
    pd.testing.assert_frame_equal(found.frame, expected, check_exact=True)
    assert not list(tmp_path.rglob("counties"))
    cohorts_of(small, tmp_path)
    assert asked == ["c0", "c1", "c1"]


@pytest.mark.parametrize("harmed", ["features.npy", "manifest.json"])
def test_a_changed_file_of_cohorts_is_not_trained_on(small: Register, tmp_path: Path, harmed: str) -> None:
    first = cohorts_of(small, tmp_path)
    expected, file = first.frame.copy(), first.mapped.folder / "cohorts" / harmed
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    pd.testing.assert_frame_equal(cohorts_of(small, tmp_path).frame, expected, check_exact=True)


@pytest.mark.parametrize("changed", [{}, {"min_data_in_leaf": 1500}, {"bin_construct_sample_cnt": 5000, "seed": 7}])
def test_the_streamed_dataset_gives_the_booster_of_the_matrix(
    tmp_path: Path, changed: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks smaller than the rows, and again from the saved dataset: the same model text as from a matrix in memory.

    With 1,500 rows to a leaf the flag, which 300 households have, cannot be split on: LightGBM then leaves it out.
    """
    monkeypatch.setattr("riskmodel.model.binned.BLOCK", 1000)
    monkeypatch.setattr("riskmodel.model.binned._Blocks.batch_size", 1000)
    X, fell = people(12_000)
    X["able_now"] = (np.arange(len(X)) % 40 == 0).astype(np.float32)
    rows = np.flatnonzero(np.arange(len(X)) % 7)
    model = make_estimator("lightgbm", lightgbm={"n_estimators": 15, **changed})
    params = {**model.get_params(), "min_data_in_leaf": min(model.get_params()["min_data_in_leaf"], len(rows) // 100)}
    rounds = params.pop("n_estimators")
    matrix = lightgbm.Dataset(X.iloc[rows].to_numpy(np.float32), fell[rows], feature_name=list(X.columns))
    expected = lightgbm.train(params, matrix, rounds).model_to_string()
    streamed = Inputs(X, tuple(X.columns), rows, tmp_path / "binned")
    assert (
        make_estimator("lightgbm", lightgbm={"n_estimators": 15, **changed})
        .fit(Inputs(X, tuple(X.columns), rows), fell[rows])
        .booster_.model_to_string()
        == expected
    )
    for _ in range(2):
        assert model.fit(streamed, fell[rows]).booster_.model_to_string() == expected
    assert len(list((tmp_path / "binned").iterdir())) == 1


def test_a_study_from_disk_is_the_study_from_memory(whole: Study, on_disk: Cohorts) -> None:
    one, other = whole, train(on_disk, LIGHT, track=False)
    assert other.results_json() == one.results_json()
    pd.testing.assert_frame_equal(other.scores, one.scores, check_exact=True)
    assert other.model.estimator.booster_.model_to_string() == one.model.estimator.booster_.model_to_string()
    assert {**other.evidence, "looks": 0, "need": 0} == {**one.evidence, "looks": 0, "need": 0}


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(0.01, 20), st.integers(0, 5))
def test_every_fall_is_kept_and_households_stay_or_go_as_a_whole(fell: list[bool], wanted: float, seed: int) -> None:
    outcome = np.array(fell, float)
    households = [f"h{i // 3}" for i in range(len(fell))]
    rows = np.arange(0, len(fell), 2)
    drawn = draw_rows(rows, outcome, household_lots(households, seed), wanted)
    assert set(rows[outcome[rows] == 1]) <= set(drawn.rows) <= set(rows)
    assert (np.diff(drawn.rows) > 0).all()
    kept = {i: i in drawn.rows for i in rows if outcome[i] == 0}
    assert all(kept[i] == kept[j] for i in kept for j in kept if households[i] == households[j])


def test_a_households_lot_is_its_own() -> None:
    """Whatever other households and months a register holds; another seed draws others."""
    ids = [f"{i:018d}" for i in range(4000)]
    lots = household_lots(ids, 1)
    np.testing.assert_array_equal(household_lots([*ids[2000:], *ids[:10]], 1), np.r_[lots[2000:], lots[:10]])
    assert abs((lots < 0.25).mean() - 0.25) < 0.03
    assert abs(np.corrcoef(lots, household_lots(ids, 2))[0, 1]) < 0.05


@pytest.mark.parametrize("name", ["base_rate", "distance_to_line", "one_variable_logit", "lightgbm"])
def test_corrected_risks_are_right_on_the_whole(held: Cohorts, name: str) -> None:
    """Two others per fall: uncorrected risks are seven times the rate; corrected ones of all later households meet it."""
    X, fell = people()
    cohorts = made_of(held, X, fell)
    update = {"split": Split(calibration_months=0), "lightgbm": {"n_estimators": 120}}
    trainer = Trainer(cohorts, SAMPLED.model_copy(update=update), list(X.columns))
    learned, judged = np.arange(20_000), np.arange(20_000, 30_000)
    fitted = trainer.fit(name, learned)
    drawn = trainer.drawn(learned)
    assert len(drawn.rows) == pytest.approx(3 * fell[learned].sum(), rel=0.1)
    rate = fell[judged].mean()
    raw = fitted.estimator.predict_proba(X.iloc[judged])[:, 1]
    assert raw.mean() > 6 * rate
    assert fitted.risk(trainer.inputs_of(judged)).mean() == pytest.approx(
        rate, rel=0.12
    )  # 3 standard errors of the rate: 0.13


@pytest.mark.parametrize(("few", "exact"), [(0, 1e-6), (2000, 0.01)], ids=["falls enough", "few falls"])
def test_calibration_and_intervals_rest_on_everybody(
    held: Cohorts, monkeypatch: pytest.MonkeyPatch, few: int, exact: float
) -> None:
    """The level is that of the fit to the last digit where it is set on it, and near it where other households set it."""
    monkeypatch.setattr(training, "_FEW_EVENTS", few)
    X, fell = people()
    months = np.repeat(["2021-01", "2022-01"], [20_000, 10_000])
    cohorts = made_of(held, X, fell)
    cohorts = dataclasses.replace(cohorts, frame=cohorts.frame.assign(as_of=months))
    update = {"split": Split(calibration_months=6), "lightgbm": {"n_estimators": 60}}
    trainer = Trainer(cohorts, SAMPLED.model_copy(update=update), list(X.columns))
    fitted = trainer.fit("lightgbm", np.arange(30_000))
    late = np.arange(20_000, 30_000)
    assert fitted.intervals.rows == 10_000 and fitted.intervals.events == fell[late].sum()
    assert fitted.risk(trainer.inputs_of(late)).mean() == pytest.approx(fell[late].mean(), rel=exact)


class ByHeart:
    """Sure of every row that it has learned, and of nothing else."""

    calibrated = True

    def fit(self, X: Inputs, y: np.ndarray) -> ByHeart:
        rows = pd.concat(list(X.blocks())).to_numpy()
        self.known = {row.tobytes(): 0.99 if fell else 0.001 for row, fell in zip(rows, y, strict=True)}
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        risk = np.array([self.known.get(row.tobytes(), 0.2) for row in X.to_numpy()])
        return np.column_stack([1 - risk, risk])


@pytest.mark.parametrize("early", [3_000, 0])
def test_where_falls_are_few_the_level_is_not_set_on_what_a_fit_has_learned(
    held: Cohorts, monkeypatch: pytest.MonkeyPatch, early: int
) -> None:
    """Households that it has not met are said to fall as often as those of the last months did."""
    monkeypatch.setattr(training, "make_estimator", lambda *_, **__: ByHeart())
    X, fell = people(6_000)
    months = np.repeat(["2021-01", "2022-01", "2023-01"], [early, 4_000 - early, 2_000])
    cohorts = made_of(held, X, fell)
    cohorts = dataclasses.replace(cohorts, frame=cohorts.frame.assign(as_of=months))
    trainer = Trainer(cohorts, LIGHT.model_copy(update={"split": Split(calibration_months=6)}), list(X.columns))
    fitted = trainer.fit("lightgbm", np.arange(4_000))
    unmet = fitted.risk(trainer.inputs_of(np.arange(4_000, 6_000)))
    rate = fell[early:4_000].mean()
    assert unmet == pytest.approx(rate)
    assert (fitted.intervals.interval(unmet) - rate).abs().max(axis=None) < 0.002, "intervals stand on the same scale"


def test_the_correction_is_that_of_king_and_zeng() -> None:
    """Their equation 7 from the rates before and after: the log-odds of the first less those of the second."""
    outcome = np.repeat([1.0, 0.0], [40, 960])
    drawn = draw_rows(np.arange(1000), outcome, household_lots([str(i) for i in range(1000)], 3), 4)
    before, after = outcome.mean(), outcome[drawn.rows].mean()
    assert drawn.correction.intercept == pytest.approx(-np.log((1 - before) / before * after / (1 - after)))
    assert drawn.corrected(np.array([after]))[0] == pytest.approx(before)
    assert drawn.then(Calibration(2.0, 1.0)) == Calibration(2.0, 2 * drawn.correction.intercept + 1.0)


def test_a_study_on_a_sample_is_tested_on_everybody(held: Cohorts, whole: Study, tmp_path: Path) -> None:
    sampled = train(held, SAMPLED, track=False)
    keys = ["household_id", "as_of", "outcome"]
    pd.testing.assert_frame_equal(sampled.scores[keys], whole.scores[keys])
    assert sampled.evidence["data"] == whole.evidence["data"]
    facts = sampled.evidence["sampling"]
    assert facts["falls"] == held.frame["outcome"].sum() and facts["others"] < facts["others_of"]
    assert facts["log_odds"] == pytest.approx(np.log(facts["others"] / facts["others_of"]))
    assert "sampling" not in whole.evidence
    sampled.model.save(tmp_path / "model")
    np.testing.assert_array_equal(RiskModel.load(tmp_path / "model").risk(held.frame), sampled.model.risk(held.frame))
    assert "case-control sample" in model_card(sampled.model, lang="en")
    assert "case-control sample" not in model_card(whole.model, lang="en")


def test_a_training_that_is_too_large_is_refused_before_any_feature_is_computed(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_features(*given: object) -> object:
        raise AssertionError("features were computed")

    monkeypatch.setattr(building, "county_blocks", no_features)
    file = tmp_path / "run.yaml"
    file.write_text("label: {horizon_months: 3}\nmachine: {memory_gib: 0.1}\n", encoding="utf-8")
    run = CliRunner().invoke(app, ["train", str(file), "--register", str(register.path), "--out", str(tmp_path / "out")])
    assert isinstance(run.exception, TooLarge)
    said = str(run.exception)
    for words in ("machine.memory_gib, 0.1 GiB", "rows at risk x", "machine.cohorts: FOLDER", "sampling.others_per_fall"):
        assert words in said
    assert not (tmp_path / "out").exists()


def test_what_is_needed_falls_with_what_a_refusal_proposes(held: Cohorts) -> None:
    def peak(run: Run, mapped: bool) -> int:
        return needed(many, held.features, run, held.step_months, mapped=mapped).peak

    many = pd.concat([held.labels] * 2000, ignore_index=True)
    lean = SAMPLED.model_copy(update={"models": ["base_rate", "lightgbm"]})
    peaks = [peak(RUN, False), peak(RUN, True), peak(SAMPLED, True), peak(lean, True)]
    assert peaks == sorted(peaks, reverse=True) and len(set(peaks)) == 4


@pytest.mark.parametrize(("every", "threads", "measured"), [(1, 2, 1.92), (1, 1, 1.19), (3, 2, 1.03)])
def test_what_is_stated_holds_the_counties_that_are_built_side_by_side(
    held: Cohorts, every: int, threads: int, measured: float
) -> None:
    """GiB measured on two counties of 20,000 households, 15 or 5 as-of months, 113 features (`benchmarks/training.md`)."""
    months = [*(f"2022-{m:02}" for m in range(4, 13)), *(f"2023-{m:02}" for m in range(1, 7))][::every]
    homes = [f"c0000{county}{home:07}" for county in (0, 1) for home in range(16_500)]
    labels = held.labels.loc[np.zeros(len(homes) * len(months), int)].reset_index(drop=True)
    labels["household_id"] = np.repeat(homes, len(months))
    labels["county_id"] = labels["household_id"].str[:6]
    labels["as_of"] = np.tile(months, len(homes))
    run = RUN.model_copy(update={"threads": threads, "models": ["base_rate", "lightgbm"], "label": Label(horizon_months=6)})
    peak = needed(labels, held.features[:1] * 113, run, 1, mapped=True).peak / 2**30
    assert measured < peak < 1.25 * measured


def test_a_training_is_not_begun_where_the_disk_is_too_small(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from riskmodel.results import train_and_write

    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 1000}))
    run = RUN.model_copy(update={"machine": Machine(cohorts=str(tmp_path / "deep" / "cohorts"))})
    with pytest.raises(TooLarge, match="more disk than is free"):
        train_and_write(run, register.path, tmp_path / "out", lambda step: None)


def test_rows_that_may_be_twins_hold_all_that_are() -> None:
    frame = pd.DataFrame({"as_of": list("aabbb"), "x": [0.0, -0.0, np.nan, np.nan, 1.0], "y": [1.0, 1.0, 2.0, 2.0, 2.0]})
    assert _perhaps_alike(frame, ["as_of", "x", "y"]).tolist() == [0, 1, 2, 3]
