"""Registers that lack tables or columns: every household is scored and reported on by what there is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from riskmodel.monitoring.rules import AssistanceRules, Rules
from riskmodel.register import ingest, verify
from riskmodel.results import monitor_and_write, score_and_write
from riskmodel.settings import find_config
from tests.county import County

EARLIER, LATER, LAST = "2022-12", "2023-06", "2023-12"


@pytest.mark.slow
@pytest.mark.parametrize(
    "lacks",
    [
        "lines", "events", "spells", "assistance", "villages", "projects", "assistance.answered_on", "records.n_working_age",
        "records.hh_size", "households.village_id township_id",
    ],
)  # fmt: skip
def test_a_register_that_lacks_something_is_scored_and_reported_on(county: County, lacks: str, tmp_path: Path) -> None:
    table, _, columns = lacks.partition(".")
    source = {file.stem: pd.read_parquet(file) for file in (county.folder / "source").glob("*.parquet")}
    some = source["households"]["household_id"].iloc[::3]
    source = {t: rows[rows["household_id"].isin(some)] if "household_id" in rows else rows for t, rows in source.items()}
    if columns:
        source[table] = source[table].drop(columns=columns.split())
    else:
        del source[table]
    ingest(find_config("sources/simulated.yaml"), source, tmp_path / "register")
    model, uri = "models:/return-risk@champion", county.tracking.uri
    for month in (EARLIER, LATER):
        score_and_write(tmp_path / "register", model, month, tmp_path / month, "10", lambda what: None, tracking_uri=uri)
    manifest = monitor_and_write(
        tmp_path / "register",
        LAST,
        tmp_path / "report",
        lambda what: None,
        alerts=[tmp_path / EARLIER, tmp_path / LATER],
        model_uri=model,
        tracking_uri=uri,
        rules=Rules(assistance=AssistanceRules(estimate_effects=False)),
    )
    assert verify(tmp_path / "report")["files"] == manifest["files"]
    assert "bulletin.html" in manifest["files"]
