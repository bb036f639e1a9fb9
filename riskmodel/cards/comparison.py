"""Is the registered model better than the best simple rule at the same list length? Said from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from riskmodel.settings import MODELS

Figure = Mapping[str, float | None]
Results = Mapping[str, Mapping[str, Mapping[str, Figure]]]
Standing = Literal["beats", "ahead", "not_better"]


@dataclass(frozen=True)
class Comparison:
    """A model against its best rival on one split and metric (higher is better).

    Attributes
    ----------
    standing
        `beats`: the intervals lie apart. `ahead`: the model's interval lies above the rival's figure, but the
        intervals overlap. `not_better`: anything else.
    """

    model: str
    figure: Figure
    rival: str
    rival_figure: Figure
    standing: Standing


def compare(results: Results, model: str, rivals: tuple[str, ...], metric: str, split: str = "test") -> Comparison | None:
    """The model against the best of `rivals`; None where there is nothing to compare.

    Parameters
    ----------
    results
        `results[model][split][metric]`, each with `value`, `low`, `high`.
    """
    found = {
        name: results[name][split][metric]
        for name in MODELS
        if name in (model, *rivals) and _defined(results.get(name, {}).get(split, {}).get(metric))
    }
    figure = found.pop(model, None)
    if figure is None or not found:
        return None
    rival = max(found, key=lambda name: found[name]["value"])
    return Comparison(model, figure, rival, found[rival], _standing(figure, found[rival]))


def _defined(figure: Figure | None) -> bool:
    return figure is not None and all(figure.get(part) is not None for part in ("value", "low", "high"))


def _standing(figure: Figure, rival: Figure) -> Standing:
    if figure["low"] > rival["high"]:
        return "beats"
    return "ahead" if figure["low"] > rival["value"] else "not_better"
