"""What a process that scores counties has at hand before its first one; the server of `riskmodel.processes` imports it."""

from __future__ import annotations

import logging

from riskmodel.processes import have_at_hand

have_at_hand("riskmodel.alerts.counties", "riskmodel.cohort.ready")
try:
    have_at_hand("riskmodel.explain.kernels")
except Exception as error:  # a worker says so itself, when it scores
    logging.getLogger(__name__).debug("numba cannot be used: %s", error)
