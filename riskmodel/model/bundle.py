"""A model on disk: estimator as text or JSON, a JSON spec, the catalogue it was trained with, and hashes of it all."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue, load_catalogue
from riskmodel.cohort.inputs import BLOCK
from riskmodel.errors import IntegrityError
from riskmodel.model.calibration import Calibration, logit, probability
from riskmodel.model.estimators import Estimator, load_estimator, save_estimator
from riskmodel.model.intervals import FILE as INTERVALS
from riskmodel.model.intervals import VennAbers
from riskmodel.model.peers import FILE as PEERS
from riskmodel.model.peers import Peers
from riskmodel.register import commit_directory, read_manifest, verify
from riskmodel.register.commit import sha256_of
from riskmodel.settings import Run

if TYPE_CHECKING:
    import shap

FORMAT = 1
_CIRCUMSTANCES = "circumstances.json"
_ONCE = ("looks", "champion", "need", "machine")
"""What evidence tells of one training alone: when it looked at the test months, beside which champion, on what machine."""
_PLACES = ("machine", "tracking")
"""Settings of a run that move no figure."""


@dataclass(frozen=True)
class RiskModel:
    """A fitted, calibrated model with everything that scoring, explaining and the card need.

    Attributes
    ----------
    estimator
        The fitted model.
    calibration
        Map of its log-odds.
    run
        The settings it was trained with.
    catalogue
        The definitions it was trained with; scoring computes features from these.
    evidence
        What the training found, as JSON: data, folds, results, curve, drivers, features left out.
    version
        Version in the registry, or the first letters of the hash.
    peers
        What peers do; None where the register tells no behaviour.
    intervals
        Interval of each risk; None where too few later falls were there to learn it from.
    """

    estimator: Estimator
    calibration: Calibration
    run: Run
    catalogue: Catalogue
    evidence: Mapping[str, Any] = field(default_factory=dict)
    version: str = "unregistered"
    peers: Peers | None = None
    intervals: VennAbers | None = None

    @property
    def inputs(self) -> list[str]:
        """Feature names in the order the estimator takes them."""
        return [str(f) for f in self.estimator.feature_names_in_]

    @property
    def explains(self) -> bool:
        """Whether the estimator gives contributions."""
        return hasattr(self.estimator, "contributions")

    def matrix(self, features: pd.DataFrame) -> pd.DataFrame:
        """The inputs as float32, missing columns as NaN."""
        return features.reindex(columns=self.inputs).astype(np.float32)

    def risk(self, features: pd.DataFrame) -> np.ndarray:
        """Calibrated risk of each row."""
        starts = range(0, max(len(features), 1), BLOCK)
        blocks = (self.matrix(features.iloc[start : start + BLOCK]) for start in starts)
        return self.calibration.apply(np.concatenate([self.estimator.predict_proba(block)[:, 1] for block in blocks]))

    def interval(self, features: pd.DataFrame) -> pd.DataFrame | None:
        """Venn-Abers interval of each risk, `low` and `high`; what it promises and what not: `VennAbers`."""
        found = self.interval_of(self.risk(features))
        return None if found is None else found.set_index(features.index)

    def interval_of(self, risk: np.ndarray) -> pd.DataFrame | None:
        """`interval` of risks that are known already, shape (n,).

        Calibration by two numbers may put a risk beside the isotonic steps of its own interval. The interval then reaches
        to the risk, so that everybody who shows both says the same; what is promised of the steps holds of wider ends too.
        """
        if self.intervals is None:
            return None
        steps = self.intervals.interval(risk)
        return pd.DataFrame({"low": np.minimum(steps["low"], risk), "high": np.maximum(steps["high"], risk)})

    def log_odds(self, features: pd.DataFrame) -> np.ndarray:
        """Log-odds of the calibrated risk."""
        return logit(self.risk(features))

    def contributions(self, features: pd.DataFrame) -> tuple[pd.DataFrame, float]:
        """Log-odds per feature on the calibrated scale, and the base: their sum is the log-odds of `risk`."""
        values, base = self.estimator.contributions(self.matrix(features))
        frame = pd.DataFrame(values * self.calibration.slope, columns=self.inputs, index=features.index)
        return frame, base * self.calibration.slope + self.calibration.intercept

    def explanation(self, features: pd.DataFrame) -> shap.Explanation:
        """`contributions` as `shap.Explanation`, for the plots of the shap library: rows x features, log-odds."""
        import shap

        values, base = self.contributions(features)
        data = self.matrix(features).to_numpy()
        return shap.Explanation(values.to_numpy(), np.full(len(values), base), data, feature_names=self.inputs)

    @property
    def features_lacking(self) -> dict[str, list[str]]:
        """Features that the training register could not give, with the columns it lacked."""
        return dict(self.evidence.get("lacking", {}))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the bundle to `folder`; gives its manifest.

        `spec.json` holds the hashes of all that the model is made of, and its own hash is the version of a folder: the same
        training on the same data by the same code gives the same. What one training was beside that, such as the moment of
        its look at the test months, lies in `circumstances.json`.
        """

        def write(stage: Path) -> None:
            save_estimator(self.estimator, stage)
            if self.peers is not None:
                self.peers.save(stage)
            if self.intervals is not None:
                self.intervals.save(stage)
            evidence, once = _parted(self.evidence, _ONCE)
            run, places = _parted(self.run.model_dump(mode="json"), _PLACES)
            spec = {
                "format": FORMAT,
                "estimator": self.estimator.name,
                "inputs": self.inputs,
                "calibration": dataclasses.asdict(self.calibration),
                "run": run,
                "files": {path.name: sha256_of(path) for path in sorted(stage.iterdir())},
                "catalogue_sha256": self.catalogue.sha256,
                "evidence": evidence,
            }
            for name, content in (("spec.json", spec), (_CIRCUMSTANCES, {"evidence": once, "run": places})):
                (stage / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
            (stage / "catalogue").mkdir()
            for name, text in self.catalogue.sources:
                (stage / "catalogue" / name).write_text(text, encoding="utf-8")

        return commit_directory(folder, write, kind="model", about={"estimator": self.estimator.name})

    @classmethod
    def load(cls, folder: Path, version: str | None = None) -> RiskModel:
        """Read a bundle, every file held against its hash first.

        Raises
        ------
        NotFound
            If there is no bundle.
        IntegrityError
            If a file was changed, or the bundle is of another format.
        """
        manifest = read_manifest(folder, kind="model")
        verify(folder)
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        if spec.get("format") != FORMAT:
            raise IntegrityError(f"{folder}: bundle format {spec.get('format')}, this version reads {FORMAT}.")
        aside = folder / _CIRCUMSTANCES  # bundles of before this file have all in their spec
        once = json.loads(aside.read_text(encoding="utf-8")) if aside.is_file() else {"evidence": {}, "run": {}}
        files = folder / "catalogue"
        names = [p.name for p in sorted(files.glob("*.yaml"))]
        order = {Path(n).name: i for i, n in enumerate(spec["run"]["catalogue"])}
        features = sorted((n for n in names if n in order), key=order.__getitem__)
        return cls(
            estimator=load_estimator(spec["estimator"], folder),
            calibration=Calibration(**spec["calibration"]),
            run=Run(**spec["run"], **once["run"]),
            catalogue=load_catalogue(
                [files / n for n in features], files / "drivers.yaml", files / "measures.yaml", files / "verdict.yaml"
            ),
            evidence={**spec["evidence"], **once["evidence"]},
            peers=Peers.load(folder) if (folder / PEERS).is_file() else None,
            intervals=VennAbers.load(folder) if (folder / INTERVALS).is_file() else None,
            version=version or manifest["files"]["spec.json"]["sha256"][:12],
        )


def _parted(content: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a mapping holds but for some names, and what it holds under these."""
    return {k: v for k, v in content.items() if k not in names}, {k: content[k] for k in names if k in content}


class _PyFunc:
    """What MLflow serves: features in, risk out."""

    def __init__(self, model: RiskModel) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> np.ndarray:
        return self._model.risk(model_input)


def _load_pyfunc(path: str) -> _PyFunc:
    """Entry point of MLflow's pyfunc flavour."""
    return _PyFunc(RiskModel.load(Path(path)))


def example_rows(model: RiskModel, medians: Mapping[str, float]) -> pd.DataFrame:
    """An input example that is nobody: the medians of the training rows."""
    return pd.DataFrame([{f: medians.get(f, np.nan) for f in model.inputs}]).astype(float).fillna(0)


def check_additive(contributions: tuple[pd.DataFrame, float], risk: np.ndarray, tolerance: float = 1e-6) -> None:
    """Raise IntegrityError unless contributions, rows x parts, and their base add up to the log-odds of the risk."""
    values, base = contributions
    gap = np.abs(probability(values.sum(axis=1).to_numpy() + base) - risk)
    if len(gap) and gap.max() > tolerance:
        raise IntegrityError(f"contributions miss the risk by up to {gap.max():.2g}: the explanation is not this model's.")


def temporary_bundle(model: RiskModel) -> tempfile.TemporaryDirectory:
    """A bundle in a temporary folder, for a registry that copies it."""
    folder = tempfile.TemporaryDirectory(prefix="riskmodel-")
    model.save(Path(folder.name) / "bundle")
    return folder
