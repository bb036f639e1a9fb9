"""A scored month on disk: the files that an office works with, written county by county and read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from riskmodel.alerts.alerts import Explained
from riskmodel.alerts.scoring import Scores
from riskmodel.alerts.spreadsheet import write_excel
from riskmodel.catalogue import Feature
from riskmodel.display import cells, file_name
from riskmodel.errors import NotFound
from riskmodel.evaluation.capacity import actions
from riskmodel.explain.causes import missing_drivers
from riskmodel.model.bundle import RiskModel
from riskmodel.register import checked_file, commit_directory, read_manifest

TABLES = ("scores", "alerts", "drivers", "features", "by_hand")
MOST_IN_A_WORKBOOK = 20_000
"""Alerts in `alerts.xlsx`; where there are more, each county has its own workbook in `workbooks/`."""


def tables_of(scores: Scores, explained: Explained | None) -> dict[str, pd.DataFrame]:
    """The tables of a month: scores of all, and of each alert the row, log-odds per driver, features.

    Where nobody could be scored, only those who go the manual way.
    """
    if explained is None:
        return {"by_hand": scores.by_hand}
    alerts = explained.frame
    listed = scores.frame["household_id"].isin(alerts["household_id"])
    ids = alerts[["household_id"]]
    return {
        "scores": scores.frame.assign(action=actions(scores.frame, listed)),
        "alerts": alerts,
        "drivers": ids.join(explained.drivers),
        "features": explained.features,
        "by_hand": scores.by_hand,
    }


def facts_of(scores: Scores, explained: Explained | None) -> dict[str, Any]:
    """What the manifest says of some counties."""
    return {
        "base_log_odds": 0.0 if explained is None else explained.base,
        "counts": {
            "scored": len(scores),
            "alerts": 0 if explained is None else len(explained.frame),
            "by_hand": len(scores.by_hand),
            "verdicts": {} if explained is None else explained.frame["verdict"].value_counts().to_dict(),
        },
        "floors_lowered": [] if explained is None else explained.lowered.to_dict("records"),
    }


def about_month(
    model: RiskModel,
    as_of: str,
    available: Iterable[Feature],
    lacking: Mapping[str, list[str]],
    facts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What the manifest says of a month: the counties' facts added up, and what the register lacks."""
    verdicts: dict[str, int] = {}
    for fact in facts:
        for verdict, count in fact["counts"]["verdicts"].items():
            verdicts[verdict] = verdicts.get(verdict, 0) + count
    return {
        "as_of": as_of,
        "horizon_months": model.run.label.horizon_months,
        "model_version": model.version,
        "base_log_odds": next((f["base_log_odds"] for f in facts if f["counts"]["alerts"]), 0.0),
        "catalogue_sha256": model.catalogue.sha256,
        "counts": {
            **{name: sum(f["counts"][name] for f in facts) for name in ("scored", "alerts", "by_hand")},
            "verdicts": dict(sorted(verdicts.items(), key=lambda item: (-item[1], item[0]))),
        },
        "floors_lowered": [county for f in facts for county in f["floors_lowered"]],
        "missing_drivers": missing_drivers(model.catalogue, {f.name for f in available}),
        "missing_features": dict(lacking),
        "inputs_of_model": len(model.inputs),
        "missing_inputs": [name for name in model.inputs if name in lacking],
        "trained_step_months": model.evidence.get("data", {}).get("register", {}).get("step_months"),
    }


def write_month(scores: Scores, explained: Explained, out: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Write scores, alerts (Parquet, CSV, Excel), drivers and their basis to a folder at once; gives the manifest."""

    def write(stage: Path) -> None:
        write_tables(scores, explained, stage)
        write_lists(stage)

    as_of = scores.frame["as_of"].iloc[0] if len(scores) else scores.by_hand["as_of"].iloc[0]
    about = about_month(scores.model, as_of, scores.available, scores.lacking, [facts_of(scores, explained)])
    return commit_directory(out, write, kind="scores", about=about | {"inputs": dict(inputs)})


def write_tables(scores: Scores, explained: Explained | None, stage: Path) -> None:
    """Write the tables of a month, each county as a group of rows of its own."""
    for name, table in tables_of(scores, explained).items():
        county = (explained.frame if explained is not None and name == "drivers" else table)["county_id"].to_numpy()
        begins = np.flatnonzero(np.r_[True, county[1:] != county[:-1]][: len(county)])
        rows = pa.Table.from_pandas(table, preserve_index=False)
        with pq.ParquetWriter(stage / f"{name}.parquet", rows.schema) as writer:
            for begin, end in pairwise([*begins, len(rows)]):
                writer.write_table(rows.slice(begin, end - begin))


def join_tables(folders: Iterable[Path], stage: Path) -> None:
    """Put the tables of counties together, one county after the other, a county in memory at a time."""
    folders = list(folders)
    for name in TABLES:
        files = [file for folder in folders if (file := folder / f"{name}.parquet").is_file()]
        if not files:  # everybody at risk goes the manual way
            continue
        if len(files) == 1:
            copyfile(files[0], stage / f"{name}.parquet")
            continue
        schema = pa.unify_schemas([pq.read_schema(file) for file in files], promote_options="permissive")
        with pq.ParquetWriter(stage / f"{name}.parquet", schema) as writer:
            for parquet in map(pq.ParquetFile, files):
                with parquet:
                    for county in range(parquet.num_row_groups):
                        writer.write_table(parquet.read_row_group(county).select(schema.names).cast(schema))


def write_lists(stage: Path) -> None:
    """Write the alerts of a folder, where it has any, as CSV (texts as `riskmodel.display.cell`) and as Excel."""
    if not (stage / "alerts.parquet").is_file():
        return
    file = pq.ParquetFile(stage / "alerts.parquet")
    with (stage / "alerts.csv").open("w", encoding="utf-8-sig", newline="") as lines:
        file.schema_arrow.empty_table().to_pandas().to_csv(lines, index=False, lineterminator="\n")
        for batch in file.iter_batches():
            cells(batch.to_pandas()).to_csv(lines, index=False, header=False, lineterminator="\n")
    if file.metadata.num_rows <= MOST_IN_A_WORKBOOK:
        write_excel(file.read().to_pandas(), stage / "alerts.xlsx")
        return
    (stage / "workbooks").mkdir()
    alerts = file.read().to_pandas()
    for county, rows in alerts.groupby("county_id", sort=True):
        write_excel(rows, stage / "workbooks" / file_name([str(county)], ".xlsx"))


def has_list(manifest: Mapping[str, Any]) -> bool:
    """Whether anybody was ranked in a scored month: where all at risk opted out it has no list."""
    return "alerts.parquet" in manifest["files"]


def nobody_ranked(folder: Path, as_of: str) -> str:
    """What is said of a month without a list."""
    return (
        f"nobody was ranked in {as_of}: all at risk opted out of automated ranking and go the manual way "
        f"({folder / 'by_hand.parquet'})."
    )


def read_table(
    folder: Path, manifest: Mapping[str, Any], name: str, columns: Sequence[str] | None = None, filters: Any = None
) -> pd.DataFrame:
    """A table of a scored month as it was written, such as `scores`; `filters` as for `pyarrow.parquet.read_table`.

    Raises
    ------
    IntegrityError
        If it is missing or has changed since.
    """
    file = checked_file(folder, manifest, f"{name}.parquet")
    return pq.read_table(file, columns=list(columns) if columns else None, filters=filters, partitioning=None).to_pandas()


def read_alert(folder: Path, household_id: str) -> dict[str, Any]:
    """One alert of a scored month: its row, log-odds per driver, features, base.

    Raises
    ------
    NotFound
        If the folder holds no scores, or the household is not on the list (its rank is told where it was scored).
    IntegrityError
        If a table is missing or has changed since it was written.
    """
    manifest = read_manifest(folder, kind="scores")
    if not has_list(manifest):
        raise NotFound(nobody_ranked(folder, manifest["about"]["as_of"]))
    alerts = read_table(folder, manifest, "alerts")
    where = np.flatnonzero(alerts["household_id"].to_numpy(str) == str(household_id))
    if not len(where):
        scored = read_table(folder, manifest, "scores")
        row = scored[scored["household_id"].to_numpy(str) == str(household_id)]
        if len(row):
            raise NotFound(
                f"the household was scored (rank {int(row['rank'].iloc[0])} of its county) but is not on the list; "
                "raise the capacity to have it explained."
            )
        raise NotFound(f"no such household among the {len(scored)} scored in {folder}.")
    position = int(where[0])
    drivers = read_table(folder, manifest, "drivers").drop(columns="household_id").iloc[position]
    return {
        "alert": alerts.iloc[position].to_dict(),
        "drivers": drivers.astype(float).to_dict(),
        "features": read_table(folder, manifest, "features").iloc[position].to_dict(),
        "base": manifest["about"]["base_log_odds"],
        "about": manifest["about"],
    }
