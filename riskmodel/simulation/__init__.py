"""A county whose true causes are known: households, shocks, effort, help, and an office that sees part of it.

`world` holds every number with its source; `villages` and `households` make the county; `dynamics` lets it
live month by month (`shocks`, `work`, `income`, `office`); `recording` and `ledgers` write what the office
knows; `truth` lives it again under interventions to learn what each return needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from riskmodel.errors import UsageError
from riskmodel.simulation.identifiers import COUNTY
from riskmodel.simulation.world import World, world_of

__all__ = ["World", "simulate", "simulate_tables", "world_of", "write_tables"]

_MOST_LOW_EFFORT = 0.5


def simulate(
    out: Path,
    *,
    world: str | World = "easy",
    households: int = 5000,
    months: int = 36,
    seed: int = 0,
    low_effort: float | None = None,
    horizon_months: int = 6,
    first_month: str = "2021-01",
    county: str = COUNTY,
    with_truth: bool = True,
    write: Callable[[Path, Mapping[str, pd.DataFrame]], None] | None = None,
) -> dict[str, int]:
    """Write a simulated county: `<table>.parquet` for every source table, apart from them `truth.parquet`.

    Parameters
    ----------
    out
        Folder for the files.
    write
        Called once with the folder and all tables; by default `write_tables`, committed as a whole.

    Other parameters are those of `simulate_tables`.

    Returns
    -------
    dict
        Rows by table.

    Raises
    ------
    UsageError
        If a number is out of range, the world is not known, or the folder is one that `checked_target` refuses: before
        anybody lives.
    """
    from riskmodel.register import checked_target, commit_directory

    if write is None:
        checked_target(out, "simulation")
    tables = simulate_tables(
        world=world, households=households, months=months, seed=seed, low_effort=low_effort,
        horizon_months=horizon_months, first_month=first_month, county=county, with_truth=with_truth,
    )  # fmt: skip
    if write is None:
        chosen = world_of(world)
        about = {
            "world": chosen.name, "households": households, "months": months, "seed": seed,
            "low_effort": chosen.effort.share if low_effort is None else low_effort,
        }  # fmt: skip
        commit_directory(Path(out), lambda stage: write_tables(stage, tables), kind="simulation", about=about)
    else:
        write(Path(out), tables)
    return {name: len(table) for name, table in tables.items()}


def simulate_tables(
    *,
    world: str | World = "easy",
    households: int = 5000,
    months: int = 36,
    seed: int = 0,
    low_effort: float | None = None,
    horizon_months: int = 6,
    first_month: str = "2021-01",
    county: str = COUNTY,
    with_truth: bool = True,
) -> dict[str, pd.DataFrame]:
    """Simulate a county.

    Parameters
    ----------
    world
        `easy`, `hard`, or a world of your own.
    households, months
        Size; months are those on record, a year before them is lived and not recorded.
    seed
        The same seed gives the same county, value by value.
    low_effort
        Share of households with able labour that are ever in an episode of low effort, 0 to 0.5; by default
        the world's own (0.1).
    horizon_months
        Horizon of the truth.
    first_month
        First month on record.
    county
        Id of the county, six digits that begin with 0.
    with_truth
        Whether the county is lived again under interventions; without it there is no `truth`.

    Returns
    -------
    dict of pandas.DataFrame
        The tables of the register contract, with its column names: `records`, `households`, `events`,
        `spells`, `assistance`, `villages`, `visits`, `projects`, `household_projects`, `lines`; and `truth`
        (see `truth`).

    Raises
    ------
    UsageError
        If a number is out of range or the world is not known.

    >>> tables = simulate_tables(households=60, months=14, with_truth=False)
    >>> tables["households"]["household_id"].iloc[0]
    '009901001001000001'
    """
    from riskmodel.simulation.dynamics import live
    from riskmodel.simulation.founding import found_county
    from riskmodel.simulation.identifiers import household_ids, township_ids, village_ids
    from riskmodel.simulation.ledgers import Ledgers
    from riskmodel.simulation.recording import attend, write_records
    from riskmodel.simulation.truth import find_causes

    chosen = _checked(world_of(world), households, months, low_effort, horizon_months, county)
    place, streams = found_county(chosen, households=households, months=months, seed=seed, first_month=first_month)
    course = live(place, streams, written=True)
    streams.forget()
    attention = attend(place, course, streams.passing())

    townships = place.villages.township
    of_village = village_ids(county, townships)
    village = place.households.village
    ids = {
        "county": county,
        "village_of": of_village,
        "village": of_village[village],
        "township": township_ids(county, int(townships.max()) + 1)[townships[village]],
        "household": household_ids(village, of_village),
    }
    books = Ledgers(place, course, attention, streams, ids)
    tables = {
        "records": write_records(place, course, attention, streams.passing(), ids),
        "households": books.households(),
        "events": books.events(),
        "spells": books.spells(),
        "assistance": books.assistance(),
        "villages": books.villages(),
        "visits": books.visits(),
        "projects": books.projects(),
        "household_projects": books.household_projects(),
        "lines": books.lines(),
    }
    if with_truth:
        tables["truth"] = find_causes(place, streams, course, attention, ids, horizon_months)
    return tables


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as `<table>.parquet`; times of day are dropped, as the register knows days only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        content = pa.Table.from_pandas(table, preserve_index=False)
        for place, column in enumerate(content.schema):
            if pa.types.is_timestamp(column.type):
                content = content.set_column(place, column.name, content.column(place).cast(pa.date32()))
        pq.write_table(content.replace_schema_metadata(None), folder / f"{name}.parquet", compression="zstd")


def _checked(
    world: World, households: int, months: int, low_effort: float | None, horizon_months: int, county: str
) -> World:
    """The world to live in; a number out of range is named with what it may be."""
    if households < 10:
        raise UsageError(f"households is {households}: simulate at least 10.")
    if months < 2:
        raise UsageError(f"months is {months}: simulate at least 2.")
    if horizon_months < 1:
        raise UsageError(f"horizon_months is {horizon_months}: the horizon is at least 1.")
    if not (len(county) == 6 and county.isdigit() and county.startswith("0")):
        raise UsageError("county: six digits that begin with 0, so that no real county has it, as 009901.")
    if low_effort is None:
        return world
    if not 0 <= low_effort <= _MOST_LOW_EFFORT:
        raise UsageError(f"low_effort is {low_effort}: a share between 0 and {_MOST_LOW_EFFORT}.")
    return dataclasses.replace(world, effort=dataclasses.replace(world.effort, share=low_effort))
