"""Is the risk of an alert subjective or objective?

A behaviour is a sign only beyond what peers in the same circumstances do (`model/peers.py`), a strong sign only beyond
what peers with one able member less do. On that rests the verdict:

- `subjective` needs two signs, one of them strong; every gate known to hold, every excuse known to be absent, no
  protection; a risk that falls when the behaviour is put back to the household's own usual values; and the larger
  part of the attributable log-odds, objective drivers whose facts cannot be checked among them. With a smaller part
  it is `mixed`.
- Signs that are not judged, because a gate fails, an excuse is known or the household is protected, leave it
  `undetermined`: the visit should find out.
- Without such signs it is `objective` where a driver with a dated fact raises the risk, else `undetermined`.

The log-odds of subjective drivers that are not judged move: to the driver of the first known excuse, else to the
background driver `activity`, which judges nobody. Shares are parts of all positive log-odds, so that what cannot be
attributed stays visible. Where a register lacks a feature that an excuse or a protected case asks for, nobody is
judged (`blind_spots`): a column that is not there can never make a household subjective. How much evidence is needed
stands in `configs/verdict.yaml`, with the simulated cases it was set on. The verdict says what the score relies on; it
never lowers or ends support.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue, Condition
from riskmodel.catalogue.signs import VerdictRule
from riskmodel.cohort.conditions import ask, holds

ACTIVITY = "activity"
VERDICTS = ("subjective", "objective", "mixed", "undetermined")
JUDGED = ("subjective", "mixed")
"""Verdicts that rest on signs of behaviour; elsewhere no sign is handed on."""

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
    (0 to 1: of simulated cases like this, the share judged right), `signs`, `strong_signs`, `failed_gates`, `excuses`,
    `protected`, `unchecked` (names, separated by ", "; `unchecked` are protected cases that cannot be ruled out), and
    `fact_<driver>` (whether a fact holds).
    """

    drivers: pd.DataFrame
    verdicts: pd.DataFrame


def judge_causes(
    catalogue: Catalogue,
    drivers: pd.DataFrame,
    features: pd.DataFrame,
    bounds: pd.DataFrame | None = None,
    effect: np.ndarray | None = None,
    rule: VerdictRule | None = None,
) -> Causes:
    """Verdicts of alerts.

    Parameters
    ----------
    catalogue
        Drivers, facts, signs, gates, excuses, protected cases and the rule.
    drivers
        Log-odds per driver, alerts x drivers.
    features
        Features of the same alerts, evidence columns included.
    bounds
        What peers do, from `Peers.bounds`; without it no behaviour is a sign.
    effect
        Fall of the log-odds when the behaviour is put back to the household's own usual values, shape (alerts,); not
        asked for by default.
    rule
        How much evidence is needed; the catalogue's by default.
    """
    rule = rule or catalogue.rule
    nature = {d.name: d.nature for d in catalogue.drivers}
    gates, excuses, protected = (ask(part, features) for part in (catalogue.gates, catalogue.excuses, catalogue.protected))
    blind = blind_spots(catalogue, catalogue.by_name.keys() - set(features))
    half_seen = [e.name for e in catalogue.excuses if e in blind]
    excuses[half_seen] = excuses[half_seen].where(excuses[half_seen].fillna(False).astype(bool))
    needed = [c.name for c in catalogue.protected if c.needed or c in blind]
    shields = protected.fillna(False).astype(bool)
    shields[needed] = protected[needed].fillna(True).astype(bool)
    excused = excuses.fillna(False).astype(bool)
    weak, strong = find_signs(catalogue, features, bounds, rule)
    enough_signs = (weak.sum(axis=1).to_numpy() >= 2) & strong.any(axis=1).to_numpy()
    matters = np.ones(len(drivers), bool) if effect is None else np.asarray(effect) >= rule.effect
    free = (
        gates.fillna(False).astype(bool).all(axis=1) & ~excuses.fillna(True).astype(bool).any(axis=1) & ~shields.any(axis=1)
    )
    judged = free.to_numpy() & enough_signs & matters
    doubtful = strong.any(axis=1).to_numpy() & ~excused.any(axis=1).to_numpy() & ~shields.any(axis=1).to_numpy()
    doubtful = (doubtful | enough_signs) & ~judged

    settled = settle(catalogue, drivers, excused, judged)
    facts, open_facts = facts_by_driver(catalogue, features)
    push = settled.clip(lower=0)
    counted = push.where(facts[push.columns], 0.0)
    objective, subjective = (
        counted[[d for d in counted if nature[d] == side]].sum(axis=1).to_numpy() for side in ("objective", "subjective")
    )
    total = push.sum(axis=1).to_numpy()
    attributable = objective + subjective
    enough = (attributable >= rule.enough_log_odds) & (_part(attributable, total) >= rule.enough_share)
    doubted = push.where(open_facts[push.columns], 0.0)[[d for d in push if nature[d] == "objective"]].sum(axis=1).to_numpy()
    clear = _part(subjective, attributable + doubted) >= rule.clear
    verdict = np.select([~enough | doubtful, ~judged, clear], ["undetermined", "objective", "subjective"], "mixed")
    like = np.where((verdict == "objective") & weak.any(axis=1).to_numpy(), "objective_with_a_sign", verdict)
    verdicts = pd.DataFrame(
        {
            "objective_share": _part(objective, total),
            "subjective_share": _part(subjective, total),
            "verdict": verdict.astype(object),
            "verdict_confidence": [float(rule.right.get(case, 0.0)) for case in like],
            "signs": _names(weak),
            "strong_signs": _names(strong),
            "failed_gates": _names(~gates.fillna(False).astype(bool)),
            "excuses": _names(excused),
            "protected": _names(protected.fillna(False).astype(bool)),
            "unchecked": _names(shields & protected.isna()),
        },
        index=drivers.index,
    )
    return Causes(settled, verdicts.join(facts.add_prefix("fact_")))


def find_signs(
    catalogue: Catalogue, features: pd.DataFrame, bounds: pd.DataFrame | None, rule: VerdictRule
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Signs of behaviour and the strong ones among them: rows x signs, True where one is known to hold."""
    asked = [s.when for s in catalogue.signs if s.when is not None]
    answers = iter(holds(asked, features))
    weak, strong = (pd.DataFrame(index=features.index) for _ in range(2))
    for sign in catalogue.signs:
        if sign.when is not None:
            weak[sign.name] = strong[sign.name] = next(answers).fillna(False).to_numpy(bool)
            continue
        known = bounds is not None and sign.name in bounds and sign.feature in features
        value = features[sign.feature].to_numpy(float) if known else np.full(len(features), np.nan)
        for found, column in ((weak, sign.name), (strong, f"{sign.name}_one_less")):
            bound = bounds[column].to_numpy(float) if known else value
            beyond = value - bound if sign.side == "high" else bound - value
            found[sign.name] = beyond > rule.margin
    return weak, strong


def settle(catalogue: Catalogue, drivers: pd.DataFrame, excused: pd.DataFrame, judged: np.ndarray) -> pd.DataFrame:
    """Log-odds per driver with the subjective parts of households that are not judged moved elsewhere.

    Parameters
    ----------
    drivers
        Log-odds, households x drivers.
    excused
        Whether each excuse of the catalogue is known to hold, households x excuses.
    judged
        Whether the household's behaviour is judged, shape (households,).
    """
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


def facts_by_driver(catalogue: Catalogue, features: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Whether at least one fact of each driver is known to hold, and whether none is but one cannot be checked."""
    answers = ask(catalogue.facts, features)
    of = {d.name: [place for place, f in enumerate(catalogue.facts) if f.driver == d.name] for d in catalogue.drivers}
    held, unknown = (
        pd.DataFrame({d: found[:, facts].any(axis=1) for d, facts in of.items()}, index=features.index)
        for found in (answers.fillna(False).to_numpy(bool), answers.isna().to_numpy())
    )
    return held, unknown & ~held


def blind_spots(catalogue: Catalogue, lacking: Collection[str]) -> tuple[Condition, ...]:
    """Gates, excuses and protected cases that cannot be checked without some features: with any, nobody is judged.

    A gate is one where each of its alternatives lacks a feature, a protected case where it lacks all; an excuse already
    where it lacks one, since what the others tell does not rule it out.
    """
    lacking = set(lacking)
    gates = (g for g in catalogue.gates if all(part & lacking for part in g.when.alternatives))
    excuses = (e for e in catalogue.excuses if e.when.columns & lacking)
    return (*gates, *excuses, *(p for p in catalogue.protected if p.when.columns <= lacking))


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
