"""Is the risk of an alert subjective or objective? The first form of the verdict.

- The contribution of a subjective driver stays with it only if every gate is known to hold, every excuse is known to be
  absent and the household is not protected. Otherwise it moves: to the driver of the first known excuse, else to the
  background driver `activity`, which judges nobody.
- A driver counts only where a dated fact stands behind it, and only with what raises the risk. Background never counts.

Shares are parts of all positive log-odds, so that what cannot be attributed stays visible. The verdict is
`undetermined` where too little is attributable, else the side that holds at least `CLEAR` of it, else `mixed`. It
says what the score relies on; it never lowers or ends support. Thresholds are conventions until they are set on
cases whose cause is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue
from riskmodel.explain.conditions import ask

ACTIVITY = "activity"
ENOUGH_LOG_ODDS = 0.1
ENOUGH_SHARE = 0.1
CLEAR = 0.6

WORDS = {
    "subjective": ("clue to a subjective factor, to be verified", "主观因素线索，待核实"),
    "objective": ("objective", "客观原因"),
    "mixed": ("mixed", "主客观综合"),
    "undetermined": ("undetermined", "原因待查"),
}


@dataclass(frozen=True)
class Causes:
    """Verdicts of alerts, and the log-odds per driver that they rest on (same sums, subjective parts settled).

    `verdicts` has `objective_share`, `subjective_share` (of all positive log-odds), `verdict`, `verdict_confidence`
    (0 to 1), `failed_gates`, `excuses`, `protected`, `unchecked` (names, separated by ", "; `unchecked` are protected
    cases that cannot be ruled out), and `fact_<driver>` (whether a fact holds).
    """

    drivers: pd.DataFrame
    verdicts: pd.DataFrame


def judge_causes(catalogue: Catalogue, drivers: pd.DataFrame, features: pd.DataFrame) -> Causes:
    """Verdicts of alerts.

    Parameters
    ----------
    catalogue
        Drivers, facts, gates, excuses and protected cases.
    drivers
        Log-odds per driver, alerts x drivers.
    features
        Features of the same alerts, evidence columns included.
    """
    nature = {d.name: d.nature for d in catalogue.drivers}
    gates, excuses, protected = (ask(part, features) for part in (catalogue.gates, catalogue.excuses, catalogue.protected))
    needed = [c.name for c in catalogue.protected if c.needed]
    shields = protected.fillna(False).astype(bool)
    shields[needed] = protected[needed].fillna(True).astype(bool)
    excused = excuses.fillna(False).astype(bool)
    judged = (
        gates.fillna(False).astype(bool).all(axis=1) & ~excuses.fillna(True).astype(bool).any(axis=1) & ~shields.any(axis=1)
    ).to_numpy()

    settled = _settled(catalogue, drivers, excused, judged)
    facts = facts_by_driver(catalogue, features)
    push = settled.clip(lower=0)
    counted = push.where(facts[push.columns], 0.0)
    objective, subjective = (
        counted[[d for d in counted if nature[d] == side]].sum(axis=1).to_numpy() for side in ("objective", "subjective")
    )
    total = push.sum(axis=1).to_numpy()
    attributable = objective + subjective
    enough = (attributable >= ENOUGH_LOG_ODDS) & (_part(attributable, total) >= ENOUGH_SHARE)
    lead = _part(np.maximum(objective, subjective), attributable)
    verdict = np.select(
        [~enough, lead < CLEAR, subjective > objective], ["undetermined", "mixed", "subjective"], "objective"
    )
    verdicts = pd.DataFrame(
        {
            "objective_share": _part(objective, total),
            "subjective_share": _part(subjective, total),
            "verdict": verdict.astype(object),
            "verdict_confidence": np.where(enough, lead * (1 - np.exp(-attributable / 0.5)), 0.0),
            "failed_gates": _names(~gates.fillna(False).astype(bool)),
            "excuses": _names(excused),
            "protected": _names(protected.fillna(False).astype(bool)),
            "unchecked": _names(shields & protected.isna()),
        },
        index=drivers.index,
    )
    return Causes(settled, verdicts.join(facts.add_prefix("fact_")))


def _settled(catalogue: Catalogue, drivers: pd.DataFrame, excused: pd.DataFrame, judged: np.ndarray) -> pd.DataFrame:
    """Log-odds per driver with the subjective parts of households that are not judged moved elsewhere."""
    moved = drivers.copy()
    for name in (ACTIVITY, *(e.driver for e in catalogue.excuses)):
        if name not in moved:
            moved[name] = 0.0
    blamed = [d.name for d in catalogue.drivers if d.nature == "subjective" and d.name in moved]
    part = moved[blamed].sum(axis=1).to_numpy() * ~judged
    moved[blamed] = moved[blamed].to_numpy() * judged[:, None]
    left = ~judged
    for excuse in catalogue.excuses:
        here = left & excused[excuse.name].to_numpy()
        moved[excuse.driver] += np.where(here, part, 0.0)
        left &= ~here
    moved[ACTIVITY] += np.where(left, part, 0.0)
    return moved[[d.name for d in catalogue.drivers if d.name in moved]]


def _part(of: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(of, whole, out=np.zeros(len(of)), where=whole > 0)


def facts_by_driver(catalogue: Catalogue, features: pd.DataFrame) -> pd.DataFrame:
    """Whether at least one fact of each driver is known to hold."""
    found = ask(catalogue.facts, features).fillna(False).astype(bool)
    return pd.DataFrame(
        {d.name: found[[f.name for f in catalogue.facts if f.driver == d.name]].any(axis=1) for d in catalogue.drivers},
        index=features.index,
    )


def verdict_words(verdict: str) -> tuple[str, str]:
    """The verdict as a reader sees it, in English and Chinese."""
    return WORDS[verdict]


def missing_drivers(catalogue: Catalogue, available: Mapping[str, object] | set[str]) -> list[str]:
    """Drivers none of whose features the register can give."""
    with_features = {catalogue.by_name[name].driver for name in available}
    asked = {f.driver for f in catalogue.features}
    return [d.name for d in catalogue.drivers if d.name in asked and d.name not in with_features]


def _names(table: pd.DataFrame) -> list[str]:
    names = np.asarray(table.columns, dtype=object)
    return [", ".join(names[row]) for row in table.to_numpy(bool)]
