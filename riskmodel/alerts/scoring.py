"""Scores of every household at risk on an as-of month, county by county."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.catalogue import Feature
from riskmodel.cohort.cohorts import at_risk_needs, period_within
from riskmodel.cohort.features import BLOCK, available_in, county_blocks
from riskmodel.cohort.standing import Standing, fell_as
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.explain.margins import risks
from riskmodel.model.bundle import RiskModel
from riskmodel.months import month_text
from riskmodel.places import place_codes
from riskmodel.register import Register

KEYS = ("household_id", "county_id", "as_of")
SCORE_COLUMNS = (*KEYS, "risk", "rank", "model_version")
INTERVAL_COLUMNS = ("risk_low", "risk_high")
PLACES = ("township_id", "village_id")

Capacity = int | float | Mapping[str, int] | None
"""Visits per county: a number, a share of those at risk (below 1), or a number by county id; None is the run's."""


@dataclass(frozen=True)
class Scores:
    """Risks of one as-of month.

    Attributes
    ----------
    frame
        `household_id, county_id, as_of, risk, rank, model_version`; rank 1 is the highest risk of its county, ties in
        the order of household ids. `risk_low, risk_high`: interval of the risk (`RiskModel.interval`), missing where the
        model gives none.
    features
        Features, evidence columns included, of the rows of `frame` that `kept` numbers: all, or those that can be on
        a list.
    kept
        Rows of `frame` whose features are at hand, ascending.
    places
        Township and village of each row of `frame`, as far as the register knows them.
    by_hand
        Households at risk that refuse automated ranking: they are left out and go the manual way.
    available, lacking
        The features that the register could give, and for each other one the columns that it lacks.
    """

    frame: pd.DataFrame
    features: pd.DataFrame
    kept: np.ndarray
    places: pd.DataFrame
    by_hand: pd.DataFrame
    model: RiskModel
    available: tuple[Feature, ...]
    lacking: Mapping[str, list[str]]

    def __len__(self) -> int:
        return len(self.frame)

    def features_of(self, rows: np.ndarray) -> pd.DataFrame:
        """Features of some rows of `frame`."""
        return self.features.iloc[np.searchsorted(self.kept, rows)].reset_index(drop=True)


def score(
    register: Register,
    model: RiskModel,
    as_of: str,
    *,
    counties: Iterable[str] | None = None,
    workers: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Scores:
    """Score all households at risk on a month, by the definitions that the model was trained with.

    Parameters
    ----------
    register
        An open register.
    model
        A model from `load_model` or `Study.model`.
    as_of
        Month, `YYYY-MM`.
    counties
        Counties to score; all by default.
    workers
        Counties worked on at once. The result does not depend on it.

    Raises
    ------
    UsageError
        If the month lies outside the register.
    NotEnoughData
        If nobody is at risk then.
    """
    month = period_within(register, as_of)

    def one(county: str) -> Scores:
        found = score_county(register, model, month, county, capacity=1.0)
        if progress:
            progress(county)
        return found

    with ThreadPoolExecutor(max_workers=workers) as pool:
        found = list(pool.map(one, register.counties if counties is None else counties))
    if not any(len(part) or len(part.by_hand) for part in found):
        raise NotEnoughData(f"nobody is at risk at {month_text(month)}: {at_risk_needs(model.run.at_risk)}")
    return joined(found)


def joined(parts: Iterable[Scores]) -> Scores:
    """Scores of several counties as one."""
    parts = list(parts)
    before = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return Scores(
        frame=_together([part.frame for part in parts]),
        features=_together([part.features for part in parts]),
        kept=np.concatenate([part.kept + first for part, first in zip(parts, before, strict=True)]),
        places=_together([part.places for part in parts]),
        by_hand=_together([part.by_hand for part in parts]),
        model=parts[0].model,
        available=parts[0].available,
        lacking=parts[0].lacking,
    )


def score_county(
    register: Register,
    model: RiskModel,
    month: int,
    county: str,
    *,
    capacity: Capacity = None,
    block: int = BLOCK,
) -> Scores:
    """Scores of one county, with the features of those who can be on its list.

    Households pass in blocks, so that memory does not grow with the county; no figure depends on their size.

    Parameters
    ----------
    month
        As-of month as a number, the first of a period.
    capacity
        Visits that the list has room for.
    block
        Households in memory at once.
    """
    features, lacking = available_in(register, model.catalogue)
    order = {f.name: i for i, f in enumerate(model.catalogue.features)}
    standing = Standing.of(register, county, month, model.run.label, model.run.at_risk)
    scored, kept, by_hand, tables = [], [], [], []

    def at_risk() -> Iterator[pd.DataFrame]:
        """Blocks of those who are at risk and want to be ranked."""
        for frame in county_blocks(register, county, [month], [*features, *standing.columns], block):
            found = standing.at_risk(frame)
            out = frame["opted_out"].fillna(False).to_numpy(bool) if "opted_out" in frame else np.zeros(len(frame), bool)
            by_hand.append(frame.loc[found & out, ["household_id", "as_of"]])
            yield frame.iloc[np.flatnonzero(found & ~out)]

    most = int(room(capacity, model, county, register.rows("households", county)))
    done, highest = 0, np.zeros(0)
    with ThreadPoolExecutor(1) as beside:
        for frame, risk in _with_risks(model, at_risk(), beside):
            highest = np.sort(np.r_[highest, risk])[::-1][:most]
            rows = _can_be_listed(frame, risk, highest[-1] if len(highest) else np.inf, model.run.capacity.floors)
            scored.append(frame[["household_id", "as_of", *(c for c in PLACES if c in frame)]].assign(risk=risk))
            kept.append(rows + done)
            tables.append(frame.iloc[rows])
            done += len(frame)
    listed = _together(tables, ["household_id"]).drop(columns=[c.name for c in standing.columns], errors="ignore")
    scores = _together(scored, ["household_id", "as_of", "risk"]).assign(county_id=county)
    scores["rank"] = _rank(scores)
    scores["model_version"] = model.version
    interval = model.interval_of(scores["risk"].to_numpy(float))
    scores[list(INTERVAL_COLUMNS)] = np.nan if interval is None else interval.to_numpy()
    return Scores(
        frame=scores[[*SCORE_COLUMNS, *INTERVAL_COLUMNS]],
        features=listed.assign(county_id=county, fell_as=fell_as(listed)),
        kept=np.concatenate(kept) if kept else np.zeros(0, np.int64),
        places=scores[[c for c in PLACES if c in scores]],
        by_hand=_together(by_hand, ["household_id", "as_of"]).assign(county_id=county)[list(KEYS)],
        model=model,
        available=tuple(sorted(features, key=lambda f: order[f.name])),
        lacking=lacking,
    )


def _with_risks(
    model: RiskModel, blocks: Iterator[pd.DataFrame], beside: Executor
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Each block with its risks, which are computed beside while the next block is read."""
    before = None
    for frame in blocks:
        now = frame, beside.submit(risks, model, frame)
        if before is not None:
            yield before[0], before[1].result()
        before = now
    if before is not None:
        yield before[0], before[1].result()


def room(capacity: Capacity, model: RiskModel, county: str, at_risk: int) -> float:
    """Length of a county's list.

    Raises
    ------
    UsageError
        If the capacity is not positive, or a share above 1.
    """
    if capacity is None:
        default = model.run.capacity
        capacity = default.number or default.share
    if isinstance(capacity, Mapping):
        return capacity.get(county, 0)
    if capacity <= 0:
        raise UsageError("capacity must be above zero.")
    if isinstance(capacity, float):
        if capacity > 1:
            raise UsageError("a share as capacity lies between 0 and 1.")
        return np.ceil(at_risk * capacity - 1e-9)
    return int(capacity)


def _can_be_listed(frame: pd.DataFrame, risk: np.ndarray, least: float, floors: Mapping[str, int]) -> np.ndarray:
    """Rows that the list can still reach, from the least risk on it so far, or a floor of their township or village."""
    wanted = risk >= least
    for name in ("township", "village"):
        floor = floors[f"{name}_floor"]
        if floor and f"{name}_id" in frame:
            area = place_codes(frame, f"{name}_id")
            scores = pd.DataFrame({"household_id": frame["household_id"].to_numpy(), "county_id": area, "risk": risk})
            wanted |= (area >= 0) & (_rank(scores) <= floor)
    return np.flatnonzero(wanted)


def _together(frames: list[pd.DataFrame], columns: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of all; a column that is text in one of them is text, also where all of it is missing in another."""
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    texts = {name for frame in filled for name in frame.columns[frame.dtypes == "str"]}
    filled = [frame.assign(**{c: frame[c].astype("str") for c in texts if frame[c].dtype == object}) for frame in filled]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))


def _rank(scores: pd.DataFrame) -> np.ndarray:
    """Rank within the county, 1 first; equal risks in the order of household ids."""
    county, _ = pd.factorize(scores["county_id"], sort=True)
    name, _ = pd.factorize(scores["household_id"], sort=True)
    order = np.lexsort((name, -scores["risk"].to_numpy(float), county))
    rank = np.empty(len(scores), dtype=np.int64)
    county = county[order]
    first = np.flatnonzero(np.r_[True, county[1:] != county[:-1]]) if len(order) else np.array([], int)
    starts = np.repeat(first, np.diff(np.r_[first, len(order)]))
    rank[order] = np.arange(len(order)) - starts + 1
    return rank
