"""Which households are likely to return to poverty, why, and whether help worked, month by month.

This page is the table of contents; everything is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "ingest": "riskmodel.register",
    "Register": "riskmodel.register",
    "simulate": "riskmodel.simulation",
    "load_catalogue": "riskmodel.catalogue",
    "build_cohorts": "riskmodel.cohort.cohorts",
    "censoring_weights": "riskmodel.cohort.labels",
    "Run": "riskmodel.settings",
    "load_run": "riskmodel.settings",
    "find_config": "riskmodel.settings",
    "train": "riskmodel.study",
    "recalibrate": "riskmodel.model.recalibration",
    "promote": "riskmodel.model.tracking",
    "load_model": "riskmodel.model.tracking",
    "score": "riskmodel.alerts.scoring",
    "raise_alerts": "riskmodel.alerts.alerts",
    "explain_alerts": "riskmodel.alerts.alerts",
    "monitor": "riskmodel.monitoring.running",
    "model_card": "riskmodel.cards.model_card",
    "GroupExplainer": "riskmodel.explain.shapley",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("household-riskmodel")
        except PackageNotFoundError:
            return "0+unknown"
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'riskmodel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from riskmodel.alerts.alerts import explain_alerts, raise_alerts
    from riskmodel.alerts.scoring import score
    from riskmodel.cards.model_card import model_card
    from riskmodel.catalogue import load_catalogue
    from riskmodel.cohort.cohorts import build_cohorts
    from riskmodel.cohort.labels import censoring_weights
    from riskmodel.explain.shapley import GroupExplainer
    from riskmodel.model.recalibration import recalibrate
    from riskmodel.model.tracking import load_model, promote
    from riskmodel.monitoring.running import monitor
    from riskmodel.register import Register, ingest
    from riskmodel.settings import Run, find_config, load_run
    from riskmodel.simulation import simulate
    from riskmodel.study import train
