"""The compiled kernels of features, loaded where they can be: the first one that a process loads costs it half a second."""

from __future__ import annotations

import logging
from importlib import import_module

import numpy as np

try:
    rows = np.zeros(0, np.int64)
    import_module("riskmodel.cohort.kernels").count(rows.astype(bool), rows, rows)
    import_module("riskmodel.cohort.sweep")
except Exception as error:  # a worker says so itself, when it needs them
    logging.getLogger(__name__).debug("numba cannot be used: %s", error)
