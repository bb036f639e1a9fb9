"""Features as they were known, county by county: by one pass over the sorted rows, or by one query on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import pandas as pd
import pyarrow as pa

from riskmodel.catalogue.catalogue import FEATURE_TABLES, Catalogue, Feature
from riskmodel.catalogue.compiler import CountyFiles, compile_features
from riskmodel.engine import engine, rows_of
from riskmodel.errors import NotEnoughData
from riskmodel.fallback import NotCovered, say_once
from riskmodel.months import month_text
from riskmodel.register import Register, load_contract

BLOCK = 20_000
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


def available_in(register: Register, catalogue: Catalogue) -> tuple[list[Feature], dict[str, list[str]]]:
    """Features that a register can give, in order of computation, and for each other one the columns that it lacks."""
    tables = [table for table in (*FEATURE_TABLES, "households") if register.has(table)]
    return catalogue.available({table: register.columns(table) for table in tables})


def build_features(
    register: Register,
    as_of: Sequence[int],
    catalogue: Catalogue,
    *,
    counties: Iterable[str] | None = None,
    households: Iterable[str] | None = None,
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
    households
        Households to give; all by default. The table is empty where none of them has a known record.
    workers
        Counties worked on at once. The result does not depend on it.
    progress
        Called with each county that is done.

    Raises
    ------
    NotEnoughData
        If no household has a known record at any of these months.
    """
    features, lacking = available_in(register, catalogue)
    order = {f.name: i for i, f in enumerate(catalogue.features)}
    chosen = None if households is None else pa.array(list(households), pa.string())

    def one(county: str) -> pd.DataFrame:
        frames = list(county_blocks(register, county, as_of, features, households=chosen))
        frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0] if frames else pd.DataFrame()
        if progress:
            progress(county)
        return frame

    wanted = list(register.counties if counties is None else counties)
    with ThreadPoolExecutor(max_workers=workers) as pool:  # a thread has a store of memory of its own: none for one county
        frames = list((pool.map if len(wanted) > 1 else map)(one, wanted))
    frames = [f for f in frames if len(f)]
    if not frames and chosen is not None:
        none = pd.DataFrame({"household_id": [], "as_of": []}, dtype=object)
        frames = [none.reindex(columns=[*none, *(f.name for f in features)])]
    if not frames:
        months = ", ".join(month_text(m) for m in sorted(as_of)[:3])
        raise NotEnoughData(
            f"no household has a record known at {months}. The register runs from {register.first_month} to "
            f"{register.last_month}."
        )
    return FeatureTable(pd.concat(frames, ignore_index=True), tuple(sorted(features, key=lambda f: order[f.name])), lacking)


def county_blocks(
    register: Register,
    county: str,
    as_of: Sequence[int],
    features: Sequence[Feature],
    block: int = BLOCK,
    households: pa.Array | None = None,
) -> Iterator[pd.DataFrame]:
    """Features of one county, block by block of households, in the order of their ids; rows as in `FeatureTable`.

    Parameters
    ----------
    features
        Available features in order of computation (`Catalogue.available`).
    block
        Households in memory at once. No value depends on it.
    households
        Ids of the households to give; all by default.

    Raises
    ------
    IntegrityError
        At the end, or in place of an error of reading, if a file of the county has changed since it was written.
    """
    files = {t: str(f) for t in (*FEATURE_TABLES, "households") if (f := register.file(t, county)) is not None}
    if "records" not in files:
        return
    unit = CountyFiles(
        files=files,
        columns={t: register.columns(t) for t in files},
        step_months=register.step_months,
        revised=register.revised,
    )
    with register.as_written(county):
        for frame in _blocks(unit, features, sorted(as_of), block, households):
            frame.insert(1, "as_of", frame.pop("as_of_no").map({month: month_text(month) for month in as_of}))
            yield frame


def _blocks(
    unit: CountyFiles, features: Sequence[Feature], as_of: Sequence[int], block: int, households: pa.Array | None
) -> Iterator[pd.DataFrame]:
    """One pass over the sorted rows where it covers the catalogue and the files, the query elsewhere: the same bits."""
    given = 0
    try:
        for frame in _sweep()(unit, features, as_of, load_contract(), block, households):
            given += 1
            yield frame
    except NotCovered as why:
        say_once(f"features are computed by the query, some times slower: {why}.")
        whole = _queried(unit, features, as_of)
        if households is not None:
            whole = whole[whole["household_id"].isin(households.to_pylist())].reset_index(drop=True)
        if given:  # what the pass gave before it met something it leaves to the query is given again by nobody
            edges = whole["household_id"].searchsorted(frame["household_id"].iloc[-1], side="right")
            whole = whole.iloc[edges:].reset_index(drop=True)
        yield whole


@cache
def _sweep() -> Callable[..., Iterator[pd.DataFrame]]:
    try:
        from riskmodel.cohort.sweep import sweep
    except Exception as error:  # numba fails to load in many ways: missing, wrong numpy, no LLVM for the processor
        why = f"numba cannot be used ({type(error).__name__})"

        def sweep(*given: object) -> Iterator[pd.DataFrame]:
            raise NotCovered(why)
            yield

    return sweep


def _queried(unit: CountyFiles, features: Sequence[Feature], as_of: Sequence[int]) -> pd.DataFrame:
    """Features by the compiled query."""
    with engine() as connection:
        households = connection.execute(
            f"SELECT count(DISTINCT household_id) FROM {rows_of(unit.files['households'])}"
        ).fetchone()[0]
        at_once = max(1, _GROUPS_AT_ONCE // max(households, 1))
        frames = [
            connection.execute(compile_features(features, unit, as_of[i : i + at_once], load_contract())).df()
            for i in range(0, len(as_of), at_once)
        ]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return frame.sort_values(["household_id", "as_of_no"], kind="stable", ignore_index=True)
