"""The verdict on simulated counties whose causes are known: the promise that must hold before anything else."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from riskmodel.register import Register
from tests.county import AS_OF, County

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

pytestmark = pytest.mark.slow


def test_in_the_hard_world_hardly_a_family_is_wrongly_blamed() -> None:
    from causes import report, simulated_cases

    plain, table = report(simulated_cases("hard", 900, 12_000))
    assert plain["false_subjective_rate"] <= 0.01
    assert plain["subjective_precision"] >= 0.85
    assert plain["subjective_recall"] >= 0.3
    assert plain["coverage"] >= 0.75
    assert plain["augrc"] < min(value for name, value in plain.items() if name.startswith("baseline_augrc_"))
    assert set(table.index) > {"majority", "event flags", "sign of summed SHAP", "share of summed SHAP"}


def test_where_nobody_is_of_low_effort_hardly_an_alert_is_called_subjective() -> None:
    from causes import simulated_cases

    verdicts = simulated_cases("hard", 901, 12_000, 0.0).judged().verdicts["verdict"]
    assert (verdicts == "subjective").mean() <= 0.005


def test_figures_are_flat_json_and_null_where_too_few_cases_are_there() -> None:
    from causes import report, simulated_cases

    from benchmarks.figures import as_json

    plain, _ = report(simulated_cases("hard", 904, 300, 0.0))
    read = json.loads(as_json(plain), parse_constant=pytest.fail)
    assert {type(value) for value in read.values()} <= {int, float, type(None)}
    assert read["subjective_recall"] is None and read["subjective_truths"] == 0
    wanted = {"false_subjective_rate", "false_subjective_upper95", "subjective_precision", "subjective_precision_lower95"}
    wanted |= {"subjective_recall", "coverage", "balanced_accuracy", "macro_f1", "augrc", "group_elderly_rate"}
    assert wanted <= read.keys()


def test_a_register_that_knows_of_no_major_illness_calls_nobody_subjective(tmp_path: Path) -> None:
    from causes import cases_of, simulate_county

    from riskmodel.register import ingest
    from riskmodel.settings import find_config

    simulate_county(tmp_path, "easy", 1500, 905, 0.4)
    assert (cases_of(tmp_path, "0").judged().verdicts["verdict"] == "subjective").any()
    records = pd.read_parquet(tmp_path / "source" / "records.parquet").drop(columns="n_major_illness")
    records.to_parquet(tmp_path / "source" / "records.parquet", index=False)
    ingest(find_config("configs/sources/simulated.yaml"), tmp_path / "source", tmp_path / "register")
    verdicts = cases_of(tmp_path, "0").judged().verdicts
    assert not verdicts["verdict"].isin(["subjective", "mixed"]).any()
    assert (verdicts["subjective_share"] == 0).all()


def test_ethnicity_and_sex_change_no_verdict(tmp_path: Path) -> None:
    from causes import cases_of, simulate_county

    simulate_county(tmp_path, "hard", 2500, 902, None)
    before = cases_of(tmp_path, "0").judged().verdicts
    households = pd.read_parquet(tmp_path / "source" / "households.parquet")
    protected = [c for c in ("ethnicity", "head_sex", "head_ethnicity", "sex") if c in households]
    assert protected
    generator = np.random.default_rng(0)
    for column in protected:
        households[column] = generator.permutation(households[column].to_numpy())
    households.to_parquet(tmp_path / "source" / "households.parquet", index=False)
    from riskmodel.register import ingest
    from riskmodel.settings import find_config

    ingest(find_config("configs/sources/simulated.yaml"), tmp_path / "source", tmp_path / "register")
    after = cases_of(tmp_path, "0").judged().verdicts
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_shuffled_records_change_no_verdict(tmp_path: Path) -> None:
    from causes import cases_of, simulate_county

    simulate_county(tmp_path, "hard", 2500, 903, None)
    before = cases_of(tmp_path, "0").judged().verdicts
    for name in ("records", "events", "assistance", "households"):
        file = tmp_path / "source" / f"{name}.parquet"
        pd.read_parquet(file).sample(frac=1, random_state=1).to_parquet(file, index=False)
    from riskmodel.register import ingest
    from riskmodel.settings import find_config

    ingest(find_config("configs/sources/simulated.yaml"), tmp_path / "source", tmp_path / "register")
    pd.testing.assert_frame_equal(before, cases_of(tmp_path, "0").judged().verdicts, check_exact=True)


def test_a_list_may_be_explained_by_another_model_than_the_one_that_ranked_it(county: County) -> None:
    from causes import CAPACITY, explained_by

    from riskmodel.alerts.alerts import attribute
    from riskmodel.alerts.scoring import score

    model = county.study.model
    scores = score(Register.open(county.register), model, AS_OF)
    other = dataclasses.replace(model, calibration=dataclasses.replace(model.calibration, slope=2 * model.calibration.slope))
    own, its = (attribute(explained_by(scores, of), CAPACITY) for of in (model, other))
    assert own.alerts["household_id"].tolist() == its.alerts["household_id"].tolist() and "risk" in own.alerts
    np.testing.assert_allclose(its.drivers, 2 * own.drivers)
