"""Behaviour against peers: what all but one in twenty households in the same circumstances do.

For each behaviour, quantile regression on objective circumstances alone (gradient boosting on the pinball loss, Koenker &
Bassett 1978), cross-fitted: a household is held against a model that was fitted on other households. Each bound is
given twice, for the household as recorded and as if one able member less were there, so that an illness or a care
duty that nobody wrote down does not read as behaviour.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue
from riskmodel.catalogue.signs import Sign
from riskmodel.cohort.conditions import values
from riskmodel.cohort.inputs import Inputs
from riskmodel.model.boosters import KeptBooster

if TYPE_CHECKING:
    import lightgbm

    Booster = lightgbm.Booster | KeptBooster
    Predict = Callable[[Booster, np.ndarray], np.ndarray]

FILE = "peers.json"
PARTS = 2
BEYOND = 0.05
_FEWEST, _MOST = 500, 30_000
_PARAMS = {
    "objective": "quantile", "num_leaves": 15, "learning_rate": 0.08, "min_data_in_leaf": 100, "num_threads": 1,
    "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip
_ROUNDS = 120


@dataclass(frozen=True)
class Peers:
    """Fitted bounds, by sign and part of the households; empty where the register knows no behaviour."""

    circumstances: tuple[str, ...]
    boosters: Mapping[str, tuple[Booster, ...]]

    @classmethod
    def fit(cls, catalogue: Catalogue, features: pd.DataFrame | Inputs, households: Sequence[str], seed: int = 0) -> Peers:
        """Fit on households at risk.

        Parameters
        ----------
        features
            Feature table, rows x features, evidence columns included, in canonical order.
        households
            Household of each row, shape (rows,).
        """
        import lightgbm

        features = Inputs.of(features)
        circumstances = tuple(c for c in catalogue.peers.circumstances if c in features)
        part = _parts(households)
        found = {}
        for sign in _held_against_peers(catalogue, features):
            behaviour = features[sign.feature].to_numpy(float)
            boosters = []
            for k in range(PARTS):
                learn = np.flatnonzero((part != k) & np.isfinite(behaviour))
                if len(learn) < _FEWEST:
                    break
                learn = learn[:: -(-len(learn) // _MOST)]
                design = Inputs(features.frame, circumstances, features.rows[learn]).block(0, len(learn)).to_numpy()
                data = lightgbm.Dataset(design, behaviour[learn], feature_name=list(circumstances))
                params = {**_PARAMS, "alpha": BEYOND if sign.side == "low" else 1 - BEYOND, "seed": seed}
                boosters.append(lightgbm.train(params, data, num_boost_round=_ROUNDS))
            if len(boosters) == PARTS:
                found[sign.name] = tuple(boosters)
        return cls(circumstances, found)

    def bounds(
        self, catalogue: Catalogue, features: pd.DataFrame, households: Sequence[str], predict: Predict | None = None
    ) -> pd.DataFrame:
        """What peers do at most (or least), two columns a sign: `<sign>` and `<sign>_one_less`; NaN where unknown.

        Parameters
        ----------
        predict
            How a booster is asked, such as `riskmodel.explain.margins.margins`; by LightGBM by default.

        Returns
        -------
        pandas.DataFrame
            Rows as given, in units of the behaviour.
        """
        as_is = features.reindex(columns=list(self.circumstances)).astype(float)
        less = as_is.copy()
        changed = [(n, e) for n, e in catalogue.peers.one_able_less if n in less]
        for (name, _), value in zip(changed, values([e for _, e in changed], features), strict=True):
            less[name] = value
        unknown = less[[n for n, _ in changed[:1]]].isna().any(axis=1).to_numpy()
        part = _parts(households)
        found = pd.DataFrame(index=features.index)
        for sign in catalogue.signs:
            if sign.name not in self.boosters:
                continue
            ask = predict or _by_lightgbm
            bound, beside = self._predict(sign, as_is, part, ask), self._predict(sign, less, part, ask)
            if sign.one_less is not None:
                beside = beside * values([sign.one_less], features)[0]
            wider = np.maximum(bound, beside) if sign.side == "high" else np.minimum(bound, beside)
            found[sign.name] = bound
            found[f"{sign.name}_one_less"] = np.where(unknown, np.nan, wider)
        return found

    def _predict(self, sign: Sign, design: pd.DataFrame, part: np.ndarray, ask: Predict) -> np.ndarray:
        bound = np.full(len(design), np.nan)
        matrix = design.to_numpy(np.float32)
        for k, booster in enumerate(self.boosters[sign.name]):
            if (part == k).any():
                bound[part == k] = ask(booster, matrix[part == k])
        return bound

    def save(self, folder: Path) -> None:
        """Write the boosters as LightGBM's own text, in one JSON file."""
        texts = {name: [b.model_to_string() for b in boosters] for name, boosters in self.boosters.items()}
        content = {"circumstances": self.circumstances, "boosters": texts}
        (folder / FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Peers:
        """Read what `save` wrote; the caller has verified its hash."""
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        boosters = {name: tuple(KeptBooster(text) for text in texts) for name, texts in content["boosters"].items()}
        return cls(tuple(content["circumstances"]), boosters)


def _by_lightgbm(booster: Booster, X: np.ndarray) -> np.ndarray:
    return booster.predict(X, num_threads=1)


def _held_against_peers(catalogue: Catalogue, features: Inputs) -> list[Sign]:
    return [s for s in catalogue.signs if s.feature is not None and s.feature in features]


def _parts(households: Sequence[str]) -> np.ndarray:
    """The part of each household, by a hash of its id: the same in every month."""
    return np.array([zlib.crc32(str(h).encode()) % PARTS for h in households], dtype=int)
