"""A county whose true causes are known."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pandas as pd

from riskmodel.errors import UsageError
from riskmodel.simulation.world import WORLDS

FIRST_MONTH = "2021-01"


def simulate_tables(
    *,
    world: str = "easy",
    households: int = 5000,
    months: int = 36,
    seed: int = 0,
    low_effort: float | None = None,
    horizon_months: int = 6,
    first_month: str = FIRST_MONTH,
    with_truth: bool = True,
) -> dict[str, pd.DataFrame]:
    """Source tables of a simulated county, and `truth`.

    Parameters
    ----------
    world
        `easy` or `hard`.
    low_effort
        Share of households with able labour that ever enter an episode of low effort; the world's own by default.
    horizon_months
        Horizon of the truth.

    Raises
    ------
    UsageError
        If there is no such world, or a number is out of range.
    """
    from riskmodel.simulation.county import found_county
    from riskmodel.simulation.life import live
    from riskmodel.simulation.office import written_down
    from riskmodel.simulation.streams import Streams
    from riskmodel.simulation.truth import true_causes

    if world not in WORLDS:
        raise UsageError(f"world {world!r}: choose {' or '.join(WORLDS)}.")
    if households < 1 or months < 1:
        raise UsageError("households and months must be positive.")
    place = WORLDS[world]
    if low_effort is not None:
        if not 0 <= low_effort <= 1:
            raise UsageError("low_effort is a share between 0 and 1.")
        place = dataclasses.replace(place, low_effort=low_effort)
    first = pd.Period(first_month, freq="M")
    streams = Streams(seed)
    county = found_county(place, households, months, streams)
    again = partial(live, county, place, months, streams, first_calendar_month=first.month - 1)
    factual = again()
    tables = written_down(county, factual, place, first, streams)
    if with_truth and months > horizon_months + 1:
        tables["truth"] = true_causes(county, factual, again, first, horizon_months)
    return tables


def simulate(
    out: Path,
    *,
    world: str = "easy",
    households: int = 5000,
    months: int = 36,
    seed: int = 0,
    low_effort: float | None = None,
    horizon_months: int = 6,
) -> dict[str, int]:
    """Write the source tables of a simulated county as Parquet, and apart from them `truth.parquet`; gives row counts."""
    from riskmodel.register import commit_directory

    tables = simulate_tables(
        world=world,
        households=households,
        months=months,
        seed=seed,
        low_effort=low_effort,
        horizon_months=horizon_months,
    )

    def write(stage: Path) -> None:
        for name, table in tables.items():
            table.to_parquet(stage / f"{name}.parquet", index=False)

    about = {"world": world, "households": households, "months": months, "seed": seed}
    commit_directory(Path(out), write, kind="simulation", about=about)
    return {name: len(table) for name, table in tables.items()}


__all__ = ["FIRST_MONTH", "WORLDS", "simulate", "simulate_tables"]
