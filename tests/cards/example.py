"""A model with evidence written out by hand, so that the reader sees every figure that a card must show."""

from __future__ import annotations

import copy
from functools import cache
from types import SimpleNamespace
from typing import Any

from riskmodel.catalogue import Catalogue, load_catalogue
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import Calibration
from riskmodel.model.peers import Peers
from riskmodel.settings import Run

LACKING = {"visit_age": ["visits"], "land_idle_share": ["records.land_idle"]}
INPUTS = ("log_ratio_now", "log_ratio_sd_12m", "selfpay_burden", "work_intensity_3m", "wage_share")


def figure(value: float | None, half: float = 0.01) -> dict[str, float | None]:
    """A figure with an interval of `half` to either side."""
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - half, "high": value + half}


def figures(auc: float, recall: float, slope: float | None = 1.02) -> dict[str, dict[str, float | None]]:
    """Every metric of one model on one split."""
    return {
        "roc_auc": figure(auc),
        "pr_auc": figure(auc / 2),
        "brier": figure(0.1 - auc / 20, 0.002),
        "log_loss": figure(0.4 - auc / 5, 0.004),
        "calibration_slope": figure(slope, 0.05),
        "calibration_intercept": figure(0.03, 0.05),
        "precision_at_capacity": figure(recall * 1.2, 0.02),
        "recall_at_capacity": figure(recall, 0.02),
        "precision_at_capacity_worst": figure(recall * 1.2 - 0.05, 0.02),
        "precision_at_capacity_best": figure(recall * 1.2 + 0.05, 0.02),
    }


def results(model_recall: float = 0.351) -> dict[str, Any]:
    """Results of four models; the best simple rule finds 0.243 of those who fall."""
    quality = {
        "base_rate": (0.5, 0.05, None),
        "office_rule": (0.628, 0.172, 1.02),
        "one_variable_logit": (0.784, 0.243, 1.09),
        "lightgbm": (0.853, model_recall, 1.02),
    }
    return {name: {split: figures(*quality[name]) for split in ("fold_1", "test", "test_disjoint")} for name in quality}


def curve(rows: int = 400) -> list[dict[str, float]]:
    """Ten bins of a calibration curve; in the lowest ones nobody or hardly anybody fell."""
    rates = [0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4]
    return [{"households": rows, "risk": r * 1.1 + 0.001, "rate": r, "low": 0.0, "high": 1.0} for r in rates]


EVIDENCE: dict[str, Any] = {
    "data": {
        "register": {
            "source": "Blue River",
            "first_month": "2020-01",
            "last_month": "2023-12",
            "step_months": 1,
            "reporting_lag_days": 20,
            "counties": 3,
            "sha256": "ab" * 32,
        },
        "months": ["2021-01", "2021-04", "2022-01", "2023-01"],
        "at_risk": 12345,
        "missing_outcome": 1111,
        "train": {"rows": 7234, "households": 5017, "events": 512, "rate": 512 / 7234},
        "test": {"rows": 4000, "households": 3987, "events": 365, "rate": 365 / 4000},
        "fell_as": {
            "return": {"rows": 9226, "events": 807},
            "fall": {"rows": 2000, "events": 70},
            "unknown": {"rows": 8, "events": 3},
        },
    },
    "folds": [
        {
            "fold": name,
            "train_from": "2021-01",
            "train_to": "2021-04",
            "test_from": "2022-01",
            "test_to": "2023-01",
            "known_by": "2022-01-31",
        }
        for name in ("fold_1", "test")
    ],
    "embargo_months": 7,
    "curve": curve(),
    "drivers": [
        {"driver": "level", "log_odds": 0.812, "features": {"log_ratio_now": 0.7, "wage_share": 0.2}},
        {"driver": "illness", "log_odds": 0.311, "features": {"selfpay_burden": 0.311}},
        {"driver": "work", "log_odds": 0.104, "features": {"work_intensity_3m": 0.104}},
    ],
    "lacking": LACKING,
    "inputs": len(INPUTS),
    "trained_to": "2023-04",
    "versions": {"python": "3.11.7", "lightgbm": "4.6.0"},
    "results": results(),
}


def evidence(**changes: Any) -> dict[str, Any]:
    """The evidence with parts replaced; parts are copies."""
    return copy.deepcopy(EVIDENCE) | changes


@cache
def _catalogue() -> Catalogue:
    return load_catalogue()


def make_model(found: dict[str, Any] | None = None, run: Run | None = None, inputs: tuple[str, ...] = INPUTS) -> RiskModel:
    """A model that has only a name, inputs and evidence."""
    estimator = SimpleNamespace(name="lightgbm", feature_names_in_=list(inputs))
    return RiskModel(
        estimator=estimator,
        calibration=Calibration(),
        run=(run or Run(name="blue_river")).model_copy(
            update={"register_model": (run and run.register_model) or "lightgbm"}
        ),
        catalogue=_catalogue(),
        evidence=evidence() if found is None else found,
        version="7",
        peers=Peers((), {}),
    )
