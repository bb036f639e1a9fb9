"""Small registers written out in the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from riskmodel.register import Register, ingest

EMPTY = Path("empty")


def make_register(folder: Path, *, step_months: int = 1, lag_days: int = 0, **tables: pd.DataFrame) -> Register:
    """A register of frames whose columns bear the contract's names."""
    source: dict[str, Any] = {
        "source": "test",
        "step_months": step_months,
        "reporting_lag_days": lag_days,
        "pseudonymised": True,
        "tables": {name: {} for name in tables},
    }
    ingest(source, dict(tables), folder)
    return Register.open(folder)


def monthly(household_id: str, start: str, welfare: list[float | None], line: float = 100.0, **columns: Any) -> pd.DataFrame:
    """A household's monthly records from `start` on; None leaves the month out."""
    months = pd.period_range(start, periods=len(welfare), freq="M")
    frame = pd.DataFrame({"household_id": household_id, "month": months.strftime("%Y-%m-01"), "welfare": welfare})
    frame["line"] = line
    for name, value in columns.items():
        frame[name] = value
    return frame[frame["welfare"].notna()].reset_index(drop=True)
