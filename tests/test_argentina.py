"""The real panel: the split named for it, ahead of a plain script, alerts with what its columns allow."""

from __future__ import annotations

from pathlib import Path

import pytest

import riskmodel as rm
from riskmodel.catalogue import load_catalogue
from riskmodel.settings import Intervals

PANEL = Path(__file__).parents[1] / ".." / "shared" / "data" / "eph" / "eph_2009_2015.parquet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PANEL.is_file(), reason="the Argentine panel (../shared/data/eph) is not here"),
]


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> rm.Register:
    out = tmp_path_factory.mktemp("eph") / "register"
    report = rm.ingest(rm.find_config("sources/eph.yaml"), PANEL, out)
    assert (report.tables["records"].accepted, report.quarantined) == (464_578, 0)
    return rm.Register.open(out)


@pytest.fixture(scope="module")
def study(register: rm.Register) -> rm.Run:
    run = rm.load_run("configs/runs/eph_1q.yaml").model_copy(
        update={"models": ["one_variable_logit", "lightgbm"], "intervals": Intervals(replicates=40)}
    )
    run = run.model_copy(update={"split": run.split.model_copy(update={"folds": 0, "household_disjoint": False})})
    cohorts = rm.build_cohorts(
        register, label=run.label, at_risk=run.at_risk, months=run.cohorts, catalogue=load_catalogue(run.catalogue)
    )
    return rm.train(cohorts, run, track=False)


def test_the_split_is_the_one_named_for_the_panel(study: rm.Run) -> None:
    facts = study.evidence["data"]
    assert (facts["train"]["rows"], facts["test"]["rows"]) == (126_195, 25_571)


def test_lightgbm_is_ahead_of_the_plain_script_and_calibrated(study: rm.Run) -> None:
    found = study.results["lightgbm"]["test"]
    assert found["roc_auc"].value > 0.845
    assert found["pr_auc"].value > 0.421
    assert found["brier"].value < 0.0765
    assert 0.9 < found["calibration_slope"].value < 1.1
    assert found["roc_auc"].low > study.results["one_variable_logit"]["test"]["roc_auc"].high


def test_sex_and_age_of_the_head_are_no_inputs(study: rm.Run) -> None:
    assert not [f for f in study.model.inputs if "sex" in f or "female" in f or "head_age" in f or "marital" in f]


def test_the_last_quarter_gives_alerts_as_far_as_columns_allow(register: rm.Register, study: rm.Run) -> None:
    scores = rm.score(register, study.model, "2015-06")
    assert scores.frame["as_of"].unique().tolist() == ["2015-04"]
    alerts = rm.raise_alerts(scores, 10)
    assert len(alerts) == 10 * scores.frame["county_id"].nunique()
    assert not alerts["verdict"].eq("subjective").any(), "the panel knows no offers and no visits: no gate can hold"
    assert {"illness", "disaster", "work", "land", "refusal"} <= set(d.name for d in study.model.catalogue.drivers) - {
        study.model.catalogue.by_name[f.name].driver for f in scores.available
    }
