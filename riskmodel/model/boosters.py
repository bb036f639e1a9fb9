"""A kept booster as its text. LightGBM, which takes two seconds to import, reads it when it is asked to predict; the
kernels of `riskmodel.explain` read the text themselves."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import lightgbm


class KeptBooster:
    """What `lightgbm.Booster(model_str=text)` is, as far as it is used here."""

    pandas_categorical = None

    def __init__(self, text: str) -> None:
        self._text = text

    def model_to_string(self) -> str:
        """The text."""
        return self._text

    def feature_name(self) -> list[str]:
        """Names of the inputs, in the model's order."""
        (line,) = [line for line in self._text[:1_000_000].splitlines() if line.startswith("feature_names=")][:1]
        return line.removeprefix("feature_names=").split(" ")

    def predict(self, X: np.ndarray, **how: Any) -> np.ndarray:
        """As LightGBM's own."""
        return self._booster.predict(X, **how)

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        import lightgbm

        return lightgbm.Booster(model_str=self._text)
