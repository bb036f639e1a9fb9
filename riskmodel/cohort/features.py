"""Features as they were known: one county, one query, one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import duckdb
import pandas as pd

from riskmodel.catalogue.catalogue import FEATURE_TABLES, Catalogue, Feature
from riskmodel.catalogue.compiler import CountyFiles, compile_features
from riskmodel.catalogue.expressions import BOUNDS
from riskmodel.errors import NotEnoughData
from riskmodel.months import month_text
from riskmodel.register import Register, load_contract

_GROUPS_AT_ONCE = 300_000


@dataclass(frozen=True)
class FeatureTable:
    """Features of a register.

    Attributes
    ----------
    frame
        One row per household and as-of month, ordered by county, household and month: `household_id`, `as_of`
        (`YYYY-MM`), area and standing columns, then every available feature as float32, NaN where unknown.
    features
        The available features, in the catalogue's order.
    lacking
        For each feature left out, the columns that the register lacks.
    """

    frame: pd.DataFrame
    features: tuple[Feature, ...]
    lacking: dict[str, list[str]]

    @property
    def inputs(self) -> list[str]:
        """Names of the features that models may use."""
        return [f.name for f in self.features if f.input]


def engine() -> duckdb.DuckDBPyConnection:
    """A single-threaded engine, so that sums run in a fixed order."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1; SET preserve_insertion_order = true; " + "; ".join(BOUNDS.values()))
    return connection


def build_features(
    register: Register,
    as_of: Sequence[int],
    catalogue: Catalogue,
    *,
    counties: Iterable[str] | None = None,
    workers: int = 2,
    progress: Callable[[str], None] | None = None,
) -> FeatureTable:
    """Features of all households with a record known at each as-of month.

    Parameters
    ----------
    register
        An open register.
    as_of
        As-of months as numbers (`riskmodel.months`), each the first month of a period.
    counties
        Counties to take; all by default.
    workers
        Counties worked on at once. The result does not depend on it.
    progress
        Called with each county that is done.

    Raises
    ------
    NotEnoughData
        If no household has a known record at any of these months.
    """
    columns = {table: register.columns(table) for table in (*FEATURE_TABLES, "households") if register.has(table)}
    features, lacking = catalogue.available(columns)
    order = {f.name: i for i, f in enumerate(catalogue.features)}

    def one(county: str) -> pd.DataFrame:
        frame = _county_features(register, county, sorted(as_of), features)
        if progress:
            progress(county)
        return frame

    with ThreadPoolExecutor(max_workers=workers) as pool:
        frames = list(pool.map(one, counties if counties is not None else register.counties))
    frames = [f for f in frames if len(f)]
    if not frames:
        months = ", ".join(month_text(m) for m in sorted(as_of)[:3])
        raise NotEnoughData(
            f"no household has a record known at {months}. The register runs from {register.first_month} to "
            f"{register.last_month}."
        )
    return FeatureTable(pd.concat(frames, ignore_index=True), tuple(sorted(features, key=lambda f: order[f.name])), lacking)


def _county_features(register: Register, county: str, as_of: Sequence[int], features: Sequence[Feature]) -> pd.DataFrame:
    files = {t: str(f) for t in (*FEATURE_TABLES, "households") if (f := register.file(t, county)) is not None}
    if "records" not in files:
        return pd.DataFrame()
    unit = CountyFiles(
        files=files,
        columns={t: register.columns(t) for t in files},
        step_months=register.step_months,
        has_revisions=register.has_revisions,
    )
    with engine() as connection:
        households = connection.execute(
            "SELECT count(DISTINCT household_id) FROM read_parquet(?)", [files["households"]]
        ).fetchone()[0]
        at_once = max(1, _GROUPS_AT_ONCE // max(households, 1))
        frames = [
            connection.execute(compile_features(features, unit, as_of[i : i + at_once], load_contract())).df()
            for i in range(0, len(as_of), at_once)
        ]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame = frame.sort_values(["household_id", "as_of_no"], kind="stable", ignore_index=True)
    frame.insert(1, "as_of", frame.pop("as_of_no").map(month_text))
    return frame
