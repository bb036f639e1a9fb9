"""A simulated county of 500 households that was ingested, trained on, promoted and scored once, for many tests."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from riskmodel.model.tracking import promote
from riskmodel.register import ingest
from riskmodel.results import score_and_write, train_and_write
from riskmodel.settings import Cohorts, Intervals, Run, Split, Tracking, find_config
from riskmodel.simulation import simulate

AS_OF = "2023-06"


class County:
    """A simulated county of 500 households, its register, model store and one scored month."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.register = folder / "register"
        self.alerts = folder / "alerts"
        simulate(folder / "source", households=500, months=36, seed=5, with_truth=False)
        ingest(find_config("sources/simulated.yaml"), folder / "source", self.register)
        self.tracking = Tracking(uri=f"sqlite:///{folder / 'mlflow.db'}")
        self.run = Run(
            name="journey",
            cohorts=Cohorts(warm_up_months=3),
            split=Split(folds=1, calibration_months=6),
            intervals=Intervals(replicates=20),
            models=["base_rate", "distance_to_line", "one_variable_logit", "lightgbm"],
            register_model="lightgbm",
            lightgbm={"n_estimators": 40, "min_data_in_leaf": 20},
            tracking=self.tracking,
        )
        self.study = train_and_write(self.run, self.register, folder / "results", lambda what: None)
        promote(self.study.tracking["version"], "first", self.tracking)
        self.manifest = self.score("10")

    def score(self, capacity: str | None, out: Path | None = None, as_of: str = AS_OF) -> dict:
        model = "models:/return-risk@champion"
        return score_and_write(
            self.register, model, as_of, out or self.alerts, capacity, lambda what: None, tracking_uri=self.tracking.uri
        )

    def cut(self, parts: int, folder: Path) -> Path:
        """A register of several counties, `009901` and so on: this one cut by village."""
        source = {p.stem: pd.read_parquet(p) for p in (self.folder / "source").glob("*.parquet")}
        villages = sorted(source["households"]["village_id"].unique())
        of = {village: f"0099{1 + place * parts // len(villages):02}" for place, village in enumerate(villages)}
        source["households"]["county_id"] = source["households"]["village_id"].map(of)
        ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}, source, folder)
        return folder
