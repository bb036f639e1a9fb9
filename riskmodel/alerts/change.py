"""Why a household is new on the list: what changed between two scored months, for each alert.

Features of a household that was not on the earlier list are kept nowhere. They are computed again from the register as it
was known at the earlier month, and count only if the old model gives the risk that was written down then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.alerts.alerts import settled
from riskmodel.alerts.history import ScoredMonth
from riskmodel.catalogue import Catalogue
from riskmodel.cohort.cohorts import period_within
from riskmodel.cohort.conditions import ask, words
from riskmodel.cohort.features import available_in, county_blocks
from riskmodel.errors import IntegrityError
from riskmodel.explain.causes import JUDGED
from riskmodel.explain.change import split_change
from riskmodel.explain.margins import log_odds
from riskmodel.model.bundle import RiskModel
from riskmodel.model.calibration import logit
from riskmodel.months import month_number
from riskmodel.register import Register

TOLERANCE = 1e-9
_SAME = 1e-6
SPLIT, NOT_SCORED, REWRITTEN = "split", "not_scored", "rewritten"


@dataclass(frozen=True)
class Changes:
    """What changed for each alert since an earlier month.

    Attributes
    ----------
    since
        The earlier month, `YYYY-MM`.
    frame
        One row per alert: `household_id`; `told`: `split`, `not_scored` (not at risk or not on record then) or
        `rewritten` (the register no longer gives the risk of then); `before`, `after` (log-odds), `model`, `calibration`,
        missing unless split.
    facts
        What new facts add, alerts x drivers, log-odds, subjective parts settled as in `alerts.settled`: with `model`
        and `calibration` they add up to `after - before`.
    new_facts
        Facts by driver that hold now and did not hold then, or not with these figures, in English and Chinese, for each
        alert; that time has gone by since an event is no new fact.
    """

    since: str
    frame: pd.DataFrame
    facts: pd.DataFrame
    new_facts: list[Mapping[str, list[tuple[str, str]]]]


def changes_since(
    register: Register,
    month: ScoredMonth,
    earlier: ScoredMonth,
    models: tuple[RiskModel, RiskModel],
    households: Sequence[str] | None = None,
) -> Changes:
    """What changed between two scored months for the alerts of the later one.

    Parameters
    ----------
    register
        The register that both were scored from.
    month, earlier
        The later and the earlier month.
    models
        The model of the earlier month and that of the later one.
    households
        Alerts to take, all by default.

    Raises
    ------
    IntegrityError
        If a model is not the one that a folder was scored with.
    """
    old, new = models
    for scored, model in ((earlier, old), (month, new)):
        if scored.about["model_version"] != model.version:
            raise IntegrityError(
                f"{scored.folder} was scored with version {scored.about['model_version']}, not with {model.version}: "
                "give the tracking store that holds that version."
            )
    alerts = month.alerts()
    seen = month.read("features")
    if households is not None:
        chosen = alerts["household_id"].isin(list(households)).to_numpy()
        alerts, seen = alerts[chosen].reset_index(drop=True), seen[chosen].reset_index(drop=True)
    if np.abs(log_odds(new, seen) - logit(alerts["risk"].to_numpy(float))).max(initial=0) > TOLERANCE:
        raise IntegrityError(f"version {new.version} does not give the risks of {month.folder}.")
    ids = alerts["household_id"].tolist()
    then = earlier.scores_of(ids, ["county_id", "risk"]).reindex(ids)
    before = _features_then(register, old, earlier.as_of, then["county_id"].dropna())
    known = np.array([household in before.index for household in ids], bool) & then["risk"].notna().to_numpy()
    rows = np.flatnonzero(known)
    ids_known = [ids[row] for row in rows]
    before = before.reindex(ids_known).reset_index()
    given = log_odds(old, before) if len(rows) else np.zeros(0)
    same = np.abs(given - logit(then["risk"].to_numpy(float)[rows])) <= TOLERANCE
    rows, before = rows[same], before[same].reset_index(drop=True)
    after = seen_by_new = seen.iloc[rows].reset_index(drop=True)
    if old.catalogue.sha256 != new.catalogue.sha256:
        after = _features_then(register, old, month.as_of, alerts.iloc[rows].set_index("household_id")["county_id"])
        after = after.reindex(before["household_id"]).reset_index()
    told = np.where(then["risk"].notna(), REWRITTEN, NOT_SCORED).astype(object)
    told[rows] = SPLIT
    frame = pd.DataFrame({"household_id": ids, "told": told})
    for part in ("before", "after", "model", "calibration"):
        frame[part] = np.nan
    judged = alerts["verdict"].isin(JUDGED).to_numpy()
    found = split_change(old, new, before, after, seen_by_new)
    for part in ("before", "after", "model", "calibration"):
        frame.loc[rows, part] = getattr(found, part)
    parts = settled(new.catalogue, found.facts, alerts.iloc[rows])
    facts = pd.DataFrame(np.nan, index=range(len(ids)), columns=parts.columns)
    facts.iloc[rows] = parts.to_numpy()
    new_facts: list[Mapping[str, list[tuple[str, str]]]] = [{} for _ in ids]
    passed = month_number(month.as_of) - month_number(earlier.as_of)
    held_now = _new_facts(new.catalogue, before, seen_by_new, judged[rows], passed)
    for row, held in zip(rows, held_now, strict=True):
        new_facts[row] = held
    return Changes(earlier.as_of, frame, facts, new_facts)


def _features_then(register: Register, model: RiskModel, as_of: str, counties: pd.Series) -> pd.DataFrame:
    """Features as known at a month, by household id; `counties` has the county of each household."""
    features, _ = available_in(register, model.catalogue)
    month = period_within(register, as_of)
    parts = []
    for county in sorted(set(counties) & set(register.counties)):
        wanted = set(counties.index[counties == county])
        for block in county_blocks(register, county, [month], features):
            parts.append(block[block["household_id"].isin(wanted)].assign(county_id=county))
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"household_id": []})
    return found.set_index("household_id")


def _new_facts(
    catalogue: Catalogue, before: pd.DataFrame, now: pd.DataFrame, judged: np.ndarray, months: int
) -> list[dict[str, list[tuple[str, str]]]]:
    """Facts that are new or whose figures are; those of behaviour only where it is judged.

    A figure that grew by just the months that went by, such as the months since an illness, is not new.
    """
    held, held_then = (ask(catalogue.facts, features).fillna(False).to_numpy(bool) for features in (now, before))
    blamed = {d.name for d in catalogue.drivers if d.nature == "subjective"}
    shown = [[c for c in now if f"{{{c}" in fact.en + fact.zh] for fact in catalogue.facts]
    told_by = sorted({c for columns in shown for c in columns})
    moved = now[told_by].to_numpy(float) - before.reindex(columns=told_by).to_numpy(float)
    other = pd.DataFrame(~np.isnan(moved) & (np.abs(moved) > _SAME) & (np.abs(moved - months) > _SAME), columns=told_by)
    changed = np.column_stack([other[columns].any(axis=1) for columns in shown])
    found = []
    for row, values in enumerate(now[told_by].to_dict("records")):
        told: dict[str, list[tuple[str, str]]] = {}
        for number in np.flatnonzero(held[row] & (~held_then[row] | changed[row])):
            fact = catalogue.facts[number]
            if judged[row] or fact.driver not in blamed:
                told.setdefault(fact.driver, []).append((words(fact.en, values), words(fact.zh, values)))
        found.append(told)
    return found
