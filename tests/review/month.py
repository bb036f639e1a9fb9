"""A scored month written out by hand: a few households, some with names that no page, sheet or file may run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from riskmodel.catalogue import Catalogue, load_catalogue
from riskmodel.register import commit_directory
from riskmodel.review.decisions import Decision

MONTH = "2024-06"
HOSTILE = (
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "{{1234*1234}}${1234*1234}",
    "\u202egnp.exe\u202c",
    "' OR 1=1 --",
    "\"><img src=x onerror=alert(1)>",
    "+1@SUM(A1)",
)  # fmt: skip


@cache
def catalogue() -> Catalogue:
    """The shipped catalogue, read once."""
    return load_catalogue()


def alert(household_id: str = "0412", **changes: Any) -> dict[str, Any]:
    """One row of an alert table."""
    row = {
        "household_id": household_id, "county_id": "k1", "as_of": MONTH, "risk": 0.31, "rank": 1, "model_version": "3",
        "driver_1": "illness", "driver_2": "level", "driver_3": "", "objective_share": 0.6, "subjective_share": 0.0,
        "verdict": "objective", "verdict_confidence": 0.976, "measures": "health_help; temporary_relief",
        "reason_en": "Of 100 such households about 31 fall.", "reason_zh": "此类农户每100户约31户返贫致贫。",
        "signs": "", "strong_signs": "", "failed_gates": "repeated", "excuses": "", "protected": "", "unchecked": "",
    }  # fmt: skip
    return row | changes


def write_month(folder: Path, alerts: list[dict[str, Any]], places: list[tuple[str, str]] | None = None) -> Path:
    """A folder as `riskmodel score` writes it, as far as the review reads it."""
    frame = pd.DataFrame(alerts)
    frame["rank"] = range(1, len(frame) + 1)
    places = places or [("t1", "v1")] * len(frame)
    drivers = pd.DataFrame(0.0, index=frame.index, columns=[d.name for d in catalogue().drivers])
    drivers["illness"], drivers["level"] = 0.9, 0.5
    drivers.loc[frame["verdict"] == "subjective", ["work", "land"]] = 0.7
    features = frame[["household_id", "as_of", "county_id"]].assign(
        township_id=[t for t, _ in places],
        village_id=[v for _, v in places],
        months_since_illness=4.0,
        work_intensity_now=0.3,
        months_low_work_12m=7.0,
    )
    scores = frame[["household_id", "county_id", "as_of", "risk", "rank", "model_version"]].assign(
        risk_low=frame["risk"] - 0.05, risk_high=frame["risk"] + 0.05, action="list"
    )
    scores.loc[scores.index[-1:], "action"] = "visit"

    def write(stage: Path) -> None:
        frame.to_parquet(stage / "alerts.parquet", index=False)
        scores.to_parquet(stage / "scores.parquet", index=False)
        frame[["household_id"]].join(drivers).to_parquet(stage / "drivers.parquet", index=False)
        features.to_parquet(stage / "features.parquet", index=False)

    about = {"as_of": MONTH, "model_version": "3", "base_log_odds": -2.0, "counts": {"by_hand": 2}}
    commit_directory(folder, write, kind="scores", about=about)
    return folder


def decision(household_id: str = "0412", **given: Any) -> Decision:
    """A decision on an alert; fields of the alert by the names that the alert has."""
    own = {name: given.pop(name) for name in list(given) if name in alert()}
    given = {"action": "confirm", "reviewer": "Li Na"} | given
    return Decision.on(alert(household_id, **own), **given)


def override(household_id: str = "0412", cause: str = "undetermined", **given: Any) -> Decision:
    """A decision that changes the cause, with all that it needs."""
    needed = {"action": "override_cause", "cause": cause, "reason": "record_wrong", "note": "seen on the visit"}
    return decision(household_id, **(needed | given))
