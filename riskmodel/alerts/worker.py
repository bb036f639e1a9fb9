"""What a process that scores counties has at hand before its first county; the server of `riskmodel.processes` imports it.

The first compiled kernel that a process loads costs it half a second. Here that is paid once for all of them.
"""

from __future__ import annotations

import logging
from importlib import import_module

import numpy as np

import_module("riskmodel.alerts.counties")
try:
    import_module("riskmodel.explain.kernels")
    rows = np.zeros(0, np.int64)
    import_module("riskmodel.cohort.kernels").count(rows.astype(bool), rows, rows)
except Exception as error:  # a worker says so itself, when it scores
    logging.getLogger(__name__).debug("numba cannot be used: %s", error)
else:
    import_module("riskmodel.cohort.sweep")
