"""Scored months that a test has changed: hostile ids and places, a verdict that judges behaviour, many alerts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from riskmodel.alerts.history import ScoredMonth
from riskmodel.alerts.month import TABLES, write_lists
from riskmodel.register import commit_directory, read_manifest

FORMULA, SCRIPT, TEMPLATE, TURNED = "=cmd|'/c calc'!A0", "<script>alert(1)</script>", "{{7*7}}", "\u202e0412\u202c"
HOSTILE = (FORMULA, SCRIPT, TEMPLATE, TURNED, '"><img src=x onerror=alert(2)>', "../../above", "'+1\t", "a" * 64)
CLUE = {
    "verdict": "subjective", "verdict_confidence": 0.975, "signs": "work_low, refused", "strong_signs": "work_low",
    "excuses": "", "protected": "", "unchecked": "destitute", "failed_gates": "",
    "objective_share": 0.1, "subjective_share": 0.4,
}  # fmt: skip


def changed_month(
    source: Path,
    out: Path,
    *,
    ids: tuple[str, ...] = (),
    places: tuple[str, ...] = (),
    alerts: dict[int, dict[str, Any]] | None = None,
    times: int = 1,
    edit: Callable[[dict[str, pd.DataFrame]], None] = lambda tables: None,
    **about: Any,
) -> ScoredMonth:
    """A copy of a scored month with its first ids and places replaced, some alerts changed, or all of them several times.

    `edit` changes further tables in place.
    """
    tables = {name: pd.read_parquet(source / f"{name}.parquet") for name in TABLES}
    first = tables["alerts"]["household_id"].tolist()
    renamed = dict(zip(first, ids, strict=False))
    for name, table in tables.items():
        if "household_id" in table:
            tables[name] = table.assign(household_id=table["household_id"].replace(renamed))
    features = tables["features"]
    for column in ("township_id", "village_id"):
        features.loc[features.index[: len(places)], column] = list(places)
    for row, values in (alerts or {}).items():
        for column, value in values.items():
            tables["alerts"].loc[row, column] = value
    edit(tables)
    for name in ("scores", "alerts", "drivers", "features"):
        copies = [tables[name]]
        for n in range(1, times):
            copies.append(tables[name].assign(household_id=tables[name]["household_id"] + f"-{n}"))
        tables[name] = pd.concat(copies, ignore_index=True)

    def write(stage: Path) -> None:
        for name, table in tables.items():
            table.to_parquet(stage / f"{name}.parquet", index=False)
        write_lists(stage)

    commit_directory(out, write, kind="scores", about=read_manifest(source)["about"] | about)
    return ScoredMonth.open(out)
