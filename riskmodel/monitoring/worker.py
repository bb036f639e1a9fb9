"""What a process that reports on counties has at hand before its first one; the server of `riskmodel.processes` imports it.

Beside the parts that go county by county and the compiled kernels of features, what re-entry is estimated with.
"""

from __future__ import annotations

from riskmodel.processes import have_at_hand

have_at_hand(
    "riskmodel.monitoring.funds",
    "riskmodel.monitoring.industries",
    "riskmodel.monitoring.spells",
    "lifelines",
    "sklearn.linear_model",
    "sklearn.preprocessing",
    "riskmodel.cohort.ready",
)
