"""What a process that scores counties has at hand before its first one; the server of `riskmodel.processes` imports it."""

from __future__ import annotations

import logging
from importlib import import_module

import_module("riskmodel.alerts.counties")
import_module("riskmodel.cohort.ready")
try:
    import_module("riskmodel.explain.kernels")
except Exception as error:  # a worker says so itself, when it scores
    logging.getLogger(__name__).debug("numba cannot be used: %s", error)
