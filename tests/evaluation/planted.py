"""Cohorts without a leak, and leaks planted into them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.splits import Fold, rows_of
from riskmodel.evaluation.leakage import Finding, Parts, find_leaks
from riskmodel.months import as_of_day, month_number, month_text
from riskmodel.settings import AtRisk, Label, LeakGates

TRAIN = tuple(month_number(m) for m in ("2021-03", "2021-06", "2021-09", "2021-12"))
TEST = tuple(month_number(m) for m in ("2022-06", "2022-09"))
FOLD = Fold("test", TRAIN, TEST, as_of_day(TEST[0], 1))
LABEL = Label(horizon_months=5, assessments=1)
UNITS = {"distance": "log ratio"}
CLEAN = (
    "distance", "amount", "share", "count", "flag", "months_since", "often_missing", "missing_when_poor", "village_share",
    "season", "noise", "change",
)  # fmt: skip


@dataclass
class Study:
    """What the gates are given: cohorts, inputs and splits, and the bounds."""

    frame: pd.DataFrame
    inputs: list[str]
    splits: dict[str, Parts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.splits:
            train, test = rows_of(FOLD, *(self.frame[c] for c in ("as_of", "outcome", "outcome_known_at")))
            part = self.frame["household_id"].str[-1].isin(list("02468")).to_numpy()
            apart = [(train[part[train] != k], test[part[test] == k]) for k in (True, False)]
            self.splits = {"test": [(train, test)], "test_disjoint": apart}

    def with_feature(self, values: Any, name: str = "planted") -> Study:
        """The same study with one more input."""
        return replace(self, frame=self.frame.assign(**{name: values}), inputs=[*self.inputs, name])

    def cohorts(self) -> Cohorts:
        features = tuple(SimpleNamespace(name=n, unit=UNITS.get(n, "yuan"), input=True) for n in self.inputs)
        return Cohorts(self.frame, features, {}, None, LABEL, AtRisk(), 1, {})  # type: ignore[arg-type]

    def findings(self, **gates: Any) -> list[Finding]:
        """Findings that are no pass. These cohorts have no register, so the as-of gates have nothing to say."""
        found = find_leaks(self.cohorts(), self.inputs, [FOLD], self.splits, LeakGates(**gates))
        return [f for f in found if f.verdict != "pass" and f.gate != "future"]


@cache
def clean_study(seed: int, households: int = 500, rate: float = 0.12) -> Study:
    """Households seen at six as-of months, with twelve honest features: weak, strong, sparse, of areas, of the calendar."""
    generator = np.random.default_rng(seed)
    months = [*TRAIN, *TEST]
    n = households * len(months)
    who = np.tile(np.arange(households), len(months))
    when = np.repeat(months, households)
    standing = generator.normal(size=households)[who]
    village = (np.arange(households) % 20)[who]
    distance = 0.6 * standing + 0.4 * generator.normal(size=n)
    logit = np.log(rate / (1 - rate)) - 0.4 - 1.5 * distance + 0.3 * generator.normal(size=20)[village]
    outcome = (generator.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    outcome[generator.random(n) < 0.05] = np.nan
    frame = pd.DataFrame(
        {
            "household_id": [f"h{i:05d}" for i in generator.permutation(households)[who]],
            "county_id": "a",
            "as_of": pd.Series(when).map(month_text),
            "outcome": outcome,
            "outcome_known_at": pd.Series(when).map({m: pd.Timestamp(as_of_day(m + 5, 1)) for m in months}),
            "village": village,
            "distance": distance,
            "amount": np.exp(8 - distance + 0.8 * generator.normal(size=n)),
            "share": generator.beta(2, 5, n),
            "count": generator.poisson(np.exp(-1 - 0.3 * distance)),
            "flag": generator.random(n) < 0.05,
            "months_since": np.minimum(generator.geometric(0.05, n), 36),
            "often_missing": np.where(generator.random(n) < 0.4, np.nan, generator.normal(size=n)),
            "missing_when_poor": np.where(generator.random(n) < 0.1 + 0.1 * (distance < 0), np.nan, standing),
            "village_share": generator.beta(2, 8, (20, len(months)))[village, np.searchsorted(months, when)],
            "season": np.sin(when % 12 / 12 * 2 * np.pi),
            "noise": generator.normal(size=n),
            "change": generator.standard_t(3, n) - 0.2 * distance,
        }
    )
    frame[list(CLEAN)] = frame[list(CLEAN)].astype(np.float32)
    return Study(frame, list(CLEAN))
