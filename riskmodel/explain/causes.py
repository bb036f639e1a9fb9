"""Is the risk of an alert subjective or objective? The first form of the verdict.

For each alert, the positive log-odds of each driver count as evidence only where a dated fact stands behind them:

- objective drivers with a fact give the objective part;
- subjective drivers with a fact give the subjective part only if every gate is known to hold, every excuse is known
  to be absent and the household is not protected. With a known excuse, their part goes to the excusing driver; else
  to nobody;
- background (level, volatility, history, season, data quality) never counts.

Shares are parts of all positive log-odds, so that what cannot be attributed stays visible. The verdict is
`undetermined` where too little is attributable, else the side that holds at least `CLEAR` of it, else `mixed`. It
says what the score relies on; it never lowers or ends support. Thresholds are conventions until they are set on
cases whose cause is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue
from riskmodel.explain.conditions import ask

VERDICTS = ("subjective", "objective", "mixed", "undetermined")
ENOUGH_LOG_ODDS = 0.1
ENOUGH_SHARE = 0.1
CLEAR = 0.6

WORDS = {
    "subjective": ("clue to a subjective factor, to be verified", "主观因素线索，待核实"),
    "objective": ("objective", "客观原因"),
    "mixed": ("mixed", "主客观综合"),
    "undetermined": ("undetermined", "原因待查"),
}


def cause_verdicts(catalogue: Catalogue, drivers: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Verdict of each alert.

    Parameters
    ----------
    catalogue
        Drivers, facts, gates, excuses and protected cases.
    drivers
        Log-odds per driver, alerts x drivers.
    features
        Features of the same alerts, evidence columns included.

    Returns
    -------
    pandas.DataFrame
        `objective_share`, `subjective_share` (of all positive log-odds), `verdict`, `verdict_confidence` (0 to 1),
        `failed_gates`, `excuses`, `protected` (names, separated by ", "; `unchecked` are protected cases that cannot be
        ruled out), and `fact_<driver>` (whether a fact holds).
    """
    nature = {d.name: d.nature for d in catalogue.drivers}
    push = drivers.clip(lower=0)
    total = push.sum(axis=1).to_numpy()
    facts = facts_by_driver(catalogue, features)
    gates, excuses, protected = (ask(part, features) for part in (catalogue.gates, catalogue.excuses, catalogue.protected))
    needed = [c.name for c in catalogue.protected if c.needed]
    shields = protected.fillna(False).astype(bool)
    shields[needed] = protected[needed].fillna(True).astype(bool)
    excused = excuses.fillna(False).astype(bool)
    open_to_blame = (
        gates.fillna(False).astype(bool).all(axis=1) & ~excuses.fillna(True).astype(bool).any(axis=1) & ~shields.any(axis=1)
    ).to_numpy()

    objective, subjective = np.zeros(len(push)), np.zeros(len(push))
    for driver in push:
        counted = np.where(facts[driver], push[driver].to_numpy(), 0.0)
        if nature[driver] == "objective":
            objective += counted
        elif nature[driver] == "subjective":
            subjective += np.where(open_to_blame, counted, 0.0)
            objective += np.where(~open_to_blame & excused.any(axis=1).to_numpy(), counted, 0.0)

    attributable = objective + subjective
    share = np.divide(attributable, total, out=np.zeros(len(push)), where=total > 0)
    lead = np.divide(np.maximum(objective, subjective), attributable, out=np.zeros(len(push)), where=attributable > 0)
    enough = (attributable >= ENOUGH_LOG_ODDS) & (share >= ENOUGH_SHARE)
    verdict = np.select(
        [~enough, lead < CLEAR, subjective > objective], ["undetermined", "mixed", "subjective"], "objective"
    )
    confidence = np.where(enough, lead * (1 - np.exp(-attributable / 0.5)), 0.0)
    found = pd.DataFrame(
        {
            "objective_share": np.divide(objective, total, out=np.zeros(len(push)), where=total > 0),
            "subjective_share": np.divide(subjective, total, out=np.zeros(len(push)), where=total > 0),
            "verdict": verdict.astype(object),
            "verdict_confidence": confidence,
            "failed_gates": _names(~gates.fillna(False).astype(bool)),
            "excuses": _names(excused),
            "protected": _names(protected.fillna(False).astype(bool)),
            "unchecked": _names(shields & protected.isna()),
        },
        index=drivers.index,
    )
    return found.join(facts.add_prefix("fact_"))


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
