"""LightGBM's binned dataset, filled by streaming: one pass for the bins, one for the rows, a block in memory at a time.

The bins come from the same sample of rows that LightGBM draws from a matrix in memory, so the booster is the same to the
last bit. Where the cohorts are kept on disk, so is the dataset, in LightGBM's own binary form: a search over settings and a
run that was stopped do not bin the same rows again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from riskmodel.cohort.inputs import Inputs
from riskmodel.register import commit_directory, is_finished

BLOCK = 65_536
_FILE = "dataset.bin"


def binned(inputs: Inputs, outcome: np.ndarray, params: Mapping[str, Any]) -> lightgbm.Dataset:
    """The dataset that LightGBM fits on.

    Parameters
    ----------
    inputs
        Rows in canonical order.
    outcome
        0/1, shape (rows,).
    params
        As for `lightgbm.train`.
    """
    data = _Dataset(_Blocks(inputs), outcome, feature_name=list(inputs.names), params=dict(params), free_raw_data=True)
    if inputs.kept is None:
        return data.construct()
    folder = inputs.kept / _key(inputs, outcome, _that_matter(params))
    if not is_finished(folder):
        data.construct()
        commit_directory(folder, lambda stage: data.save_binary(stage / _FILE), kind="binned", about={"rows": len(inputs)})
        return data
    return lightgbm.Dataset(folder / _FILE, params=dict(params)).construct()


class _Dataset(lightgbm.Dataset):
    """A dataset that is made with all parameters, as one from a matrix is.

    Filled by a `Sequence`, LightGBM hands on those that `get_params` names and no others: not `seed`, from which the sample
    of rows is drawn, and not `min_data_in_leaf`, by which features that cannot be split are left out.
    """

    def get_params(self) -> dict[str, Any]:
        return dict(self.params)


class _Blocks(lightgbm.Sequence):
    """Rows for LightGBM: single ones, in rising order, while it finds the bins, then all in blocks."""

    batch_size = BLOCK

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._start, self._block = -1, np.empty((0, 0))

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, which: int | slice) -> np.ndarray:
        if isinstance(which, slice):
            return self._read(which.start, which.stop)
        start = which // BLOCK * BLOCK
        if start != self._start:
            self._start, self._block = start, self._read(start, start + BLOCK)
        return self._block[which - start].astype(np.float64)

    def _read(self, start: int, stop: int) -> np.ndarray:
        return np.ascontiguousarray(self._inputs.block(start, stop).to_numpy())


def _that_matter(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters on which a binned dataset depends."""
    of_datasets = lightgbm.Dataset(None, params=dict(params)).get_params()
    return {**of_datasets, **{name: params[name] for name in ("seed", "min_data_in_leaf") if name in params}}


def _key(inputs: Inputs, outcome: np.ndarray, params: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([lightgbm.__version__, inputs.names, params], sort_keys=True, default=str).encode())
    digest.update(np.ascontiguousarray(inputs.rows, np.int64))
    digest.update(np.ascontiguousarray(outcome, np.float64))
    return digest.hexdigest()[:16]
