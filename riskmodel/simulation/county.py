"""The county on its first day: townships, villages, households."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import INDUSTRIES, World, census

HOUSEHOLDS_PER_VILLAGE = 60
VILLAGES_PER_TOWNSHIP = 8
COUNTY = "990101"


@dataclass(frozen=True)
class County:
    """Households and villages before the first month. Arrays over households (n,) or villages (v,)."""

    village: np.ndarray
    remote: np.ndarray
    minutes: np.ndarray
    industry: np.ndarray
    no_work: np.ndarray
    minority: np.ndarray
    female_head: np.ndarray
    lifted: np.ndarray
    relocated: np.ndarray
    size: np.ndarray
    children: np.ndarray
    under6: np.ndarray
    elderly: np.ndarray
    able: np.ndarray
    weak: np.ndarray
    skilled: np.ndarray
    schooling: np.ndarray
    disabled: np.ndarray
    chronic: np.ndarray
    land: np.ndarray
    debt: np.ndarray
    talent: np.ndarray
    wage_share: np.ndarray
    schooling_month: np.ndarray

    def __len__(self) -> int:
        return len(self.size)

    @property
    def villages(self) -> int:
        """Number of villages."""
        return len(self.remote)


def found_county(world: World, households: int, months: int, streams: Streams) -> County:
    """Draw a county. Household size, relocation and schooling start from the census figures in `seeds/`."""
    n = households
    v = max(2, -(-n // HOUSEHOLDS_PER_VILLAGE))
    village = np.arange(n) % v
    remote = streams.uniform("remote", v) < 0.25
    minutes = np.where(remote, 70, 25) + 30 * streams.uniform("minutes", v)
    minority = streams.uniform("minority", n) < np.where(remote[village], 0.6, 0.2)
    size = 1 + streams.generator("size").binomial(8, (census("household_size") + 0.14 - 1) / 8, n)
    kind = streams.uniform("kind", n)
    old_only = kind < 0.07
    size = np.where(old_only, np.minimum(size, 2), size)
    children = np.where(old_only, 0, streams.generator("children").binomial(np.maximum(size - 2, 0), 0.45))
    under6 = streams.generator("under6").binomial(children, 0.3)
    elderly = np.where(old_only, size, streams.generator("elderly").binomial(np.maximum(size - 1 - children, 0), 0.30))
    adults = size - children - elderly
    disabled = streams.generator("disabled").binomial(adults, 0.04)
    weak = streams.generator("weak").binomial(adults - disabled, 0.05)
    able = adults - disabled - weak
    school_age = (children > 0) & (streams.uniform("paid_schooling", n) < world.schooling)
    return County(
        village=village,
        remote=remote,
        minutes=minutes,
        industry=streams.generator("industry").choice(len(INDUSTRIES), v, p=[0.45, 0.25, 0.2, 0.1]),
        no_work=streams.uniform("no_work", v) < world.no_work_villages * np.where(remote, 2, 0.7),
        minority=minority,
        female_head=streams.uniform("female_head", n) < 0.17,
        lifted=streams.uniform("lifted", n) < 0.6,
        relocated=streams.uniform("relocated", n) < census("housing_relocated") / 100,
        size=size,
        children=children,
        under6=under6,
        elderly=elderly,
        able=able,
        weak=weak,
        skilled=streams.generator("skilled").binomial(able, 0.2),
        schooling=np.clip(np.round(8 + 2.5 * streams.normal("schooling", n)), 0, 16),
        disabled=disabled,
        chronic=streams.generator("chronic").binomial(size, 0.08),
        land=np.exp(np.log(1.3 * size) + 0.5 * streams.normal("land", n)),
        debt=np.where(streams.uniform("in_debt", n) < 0.35, np.exp(9.2 + 0.8 * streams.normal("debt", n)), 0.0),
        talent=0.24 * streams.normal("talent", n),
        wage_share=streams.generator("wage_share").beta(4, 2, n),
        schooling_month=np.where(school_age, streams.generator("school_month").integers(0, months + 12, n), -99),
    )
