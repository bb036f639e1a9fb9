"""Alerts: the top of each county's list, explained, and written for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from riskmodel.alerts.scoring import SCORE_COLUMNS, Capacity, Scores, room
from riskmodel.catalogue import Catalogue, Condition, Measure
from riskmodel.cohort.conditions import ask, holds, words
from riskmodel.errors import ContractError, UsageError
from riskmodel.evaluation.capacity import floors_within, nested_lists
from riskmodel.explain.causes import JUDGED, judge_causes, settle, verdict_words
from riskmodel.explain.drivers import driver_contributions, effects, peer_bounds
from riskmodel.explain.margins import risks
from riskmodel.model.bundle import RiskModel, check_additive

ALERT_COLUMNS = (
    *SCORE_COLUMNS, "driver_1", "driver_2", "driver_3", "objective_share", "subjective_share", "verdict",
    "verdict_confidence", "measures", "reason_en", "reason_zh",
)  # fmt: skip
BASIS = ("signs", "strong_signs", "failed_gates", "excuses", "protected", "unchecked")
_NUMBERS = ["risk", "rank", "objective_share", "subjective_share", "verdict_confidence"]
BEHAVIOUR = "behaviour"
_LEAST = 0.01
_FACTS_SHOWN = 4


@dataclass(frozen=True)
class Explained:
    """Alerts with what stands behind them; all tables have the same rows.

    Attributes
    ----------
    frame
        The alert table, `ALERT_COLUMNS` and the basis of the verdict.
    drivers
        Log-odds per driver, behaviour only where the verdict judges it (`settled`).
    features
        Feature values, evidence columns included.
    base
        Log-odds that the contributions add to.
    lowered
        Counties whose visits do not suffice for the floors of the run, with the floors that their list keeps; columns as
        `evaluation.capacity.floors_within` gives them. This table has rows of its own.
    """

    frame: pd.DataFrame
    drivers: pd.DataFrame
    features: pd.DataFrame
    base: float
    lowered: pd.DataFrame = field(default_factory=pd.DataFrame)


def raise_alerts(scores: Scores, capacity: Capacity = None) -> pd.DataFrame:
    """The households to visit first, each with drivers, verdict, measures and reasons.

    Parameters
    ----------
    scores
        From `score`.
    capacity
        Visits per county: a number, a share of those at risk (below 1), or a number by county id. By default the
        capacity of the run that trained the model.

    Returns
    -------
    pandas.DataFrame
        Ordered by county and rank; columns as in `ALERT_COLUMNS`, and what the verdict rests on.

    Raises
    ------
    UsageError
        If the capacity is not positive, or the model gives no contributions.
    """
    return explain_alerts(scores, capacity).frame


def explain_alerts(scores: Scores, capacity: Capacity = None) -> Explained:
    """`raise_alerts` with all tables behind it."""
    found = in_words(scores.model.catalogue, attribute(scores, capacity))
    return replace(found, lowered=lowered_floors(scores, capacity))


def in_words(catalogue: Catalogue, found: Attributed) -> Explained:
    """Alerts as people are told them: verdict, leading drivers, measures and reasons from what each risk is attributed to.

    Behaviour is named, and has a share, only where the verdict judges it.
    """
    features = found.features
    causes = judge_causes(catalogue, found.drivers, features, found.bounds, found.behaviour)
    verdicts = causes.verdicts
    judged = verdicts["verdict"].isin(JUDGED)
    verdicts["subjective_share"] = verdicts["subjective_share"].where(judged, 0.0)
    drivers = settled(catalogue, causes.drivers, verdicts)
    frame = found.alerts.join(_leading(drivers, found.effects)).join(verdicts.loc[:, "objective_share":"verdict_confidence"])
    counting = _counting(drivers, verdicts)
    measures = _measures(catalogue, counting, features)
    frame["measures"] = ["; ".join(m.name for m in row) for row in measures]
    reasons = _reasons(catalogue, frame, counting, verdicts, measures, features)
    frame["reason_en"], frame["reason_zh"] = [r[0] for r in reasons], [r[1] for r in reasons]
    frame = frame[list(ALERT_COLUMNS)].join(verdicts[list(BASIS)])
    frame.loc[~judged, ["signs", "strong_signs"]] = ""
    if frame.empty:  # a list of nobody has the columns of any other, text as text
        frame = frame.astype(dict.fromkeys(frame.columns.drop(_NUMBERS), "str"))
    return Explained(frame, drivers, features, found.base)


def settled(catalogue: Catalogue, drivers: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Log-odds per driver, behaviour's part moved elsewhere (`explain.causes.settle`) where the verdict does not judge it.

    So too where all gates hold and there is too little evidence for a verdict: a driver that nobody is blamed for by the
    verdict is not named beside it.

    Parameters
    ----------
    drivers
        Log-odds, alerts x drivers.
    verdicts
        `verdict` and `excuses` of the same alerts.
    """
    held = [set(names.split(", ")) for names in verdicts["excuses"]]
    excused = pd.DataFrame({e.name: [e.name in row for row in held] for e in catalogue.excuses}, dtype=bool)
    return settle(catalogue, drivers, excused, verdicts["verdict"].isin(JUDGED).to_numpy())


@dataclass(frozen=True)
class Attributed:
    """The households on the lists with what a verdict rests on; all tables have the same rows.

    Attributes
    ----------
    alerts
        Their rows of the scores, by county and rank.
    drivers, base
        Log-odds per driver as the model gives them, and what they add to.
    features, bounds
        Feature values, and what peers do (None where the model knows no behaviour).
    effects
        Fall of the log-odds when a driver's features are put back to the household's own usual values, a column a
        driver, and `behaviour` for all subjective drivers together (`explain/drivers.py`).
    """

    alerts: pd.DataFrame
    drivers: pd.DataFrame
    base: float
    features: pd.DataFrame
    bounds: pd.DataFrame | None
    effects: pd.DataFrame

    @property
    def behaviour(self) -> np.ndarray:
        """What putting the behaviour back does, log-odds, shape (alerts,)."""
        return self.effects[BEHAVIOUR].to_numpy()


def attribute(scores: Scores, capacity: Capacity = None) -> Attributed:
    """Pick the households of each county's list and attribute their risk; parameters and errors as `raise_alerts`."""
    listed = np.flatnonzero(on_list(scores, capacity))
    county, _ = pd.factorize(scores.frame["county_id"].iloc[listed], sort=True)
    order = np.lexsort((scores.frame["rank"].to_numpy()[listed], county))
    rows = listed[order]
    alerts = scores.frame.iloc[rows].reset_index(drop=True)
    return _attributed(scores.model, alerts, scores.features_of(rows))


def verdicts_of(model: RiskModel, features: pd.DataFrame) -> np.ndarray:
    """The verdict on the causes of each of some households' risk, as an alert would carry it.

    Parameters
    ----------
    features
        Features of the households, evidence columns included, shape (n, ...), such as rows of `Cohorts.frame`.

    Returns
    -------
    numpy.ndarray
        `subjective`, `objective`, `mixed` or `undetermined`, shape (n,).

    Raises
    ------
    UsageError
        If the model gives no contributions.
    """
    found = attribute_households(model, features)
    causes = judge_causes(model.catalogue, found.drivers, found.features, found.bounds, found.behaviour)
    return causes.verdicts["verdict"].to_numpy(str)


def attribute_households(model: RiskModel, features: pd.DataFrame) -> Attributed:
    """Attribute the risk of some households, wherever their features come from; parameters and errors as `verdicts_of`."""
    features = features.reset_index(drop=True)
    return _attributed(model, features[["household_id"]], features)


def _attributed(model: RiskModel, alerts: pd.DataFrame, features: pd.DataFrame) -> Attributed:
    if not model.explains:
        raise UsageError(f"{model.estimator.name} gives no contributions: alerts need lightgbm or a logit.")
    drivers, base = driver_contributions(model, features)
    check_additive((drivers, base), alerts["risk"].to_numpy() if "risk" in alerts else risks(model, features))
    groups = {d.name: [d.name] for d in model.catalogue.drivers if d.nature == "objective"}
    groups[BEHAVIOUR] = [d.name for d in model.catalogue.drivers if d.nature == "subjective"]
    return Attributed(
        alerts=alerts,
        drivers=drivers,
        base=base,
        features=features,
        bounds=peer_bounds(model, features),
        effects=effects(model, features, groups),
    )


def read_capacity(text: str | Path | int | None) -> Capacity:
    """Capacity as written on the command line: a number, a share such as `5%`, or a file of `county_id` and `capacity`.

    Raises
    ------
    UsageError
        If it is none of these, or the file cannot be read (`register.beside.read_beside`), has a county twice, or visits
        for none.
    """
    if text is None:
        return None
    text = str(text)
    try:
        number = float(text.removesuffix("%")) / 100 if text.endswith("%") else int(text)
    except ValueError:
        number = math.nan
    if not math.isnan(number):
        return number
    file = Path(text)
    if not file.is_file():
        raise UsageError(f"--capacity {text}: give a number, a share such as 5%, or a file of county_id and capacity.")
    from riskmodel.register.beside import read_beside

    try:
        rows = read_beside(file, "capacity")
    except ContractError as fault:
        raise UsageError(str(fault)) from None
    found: dict[str, int] = {}
    for row in rows:
        if row["county_id"] in found:
            raise UsageError(f"{file.name}, row {row['row']:,}: this county stands above already.")
        found[row["county_id"]] = row["capacity"]
    if not any(found.values()):
        raise UsageError(f"{file.name}: no county has a visit. Give capacities above zero.")
    return found


def on_list(scores: Scores, capacity: Capacity = None) -> np.ndarray:
    """Who is on a list: the highest risks of each county, with the floors of the run."""
    rooms = _rooms(scores, capacity)
    floors = scores.model.run.capacity.floors
    if not any(floors.values()):
        return scores.frame["rank"].to_numpy() <= scores.frame["county_id"].map(rooms).to_numpy(float)
    return nested_lists(scores.frame.join(scores.places), rooms, **floors).notna().to_numpy()


def lowered_floors(scores: Scores, capacity: Capacity = None) -> pd.DataFrame:
    """Counties whose visits do not suffice for the floors of the run, with the floors that their list keeps; a county
    without visits has no list."""
    floors = scores.model.run.capacity.floors
    if not any(floors.values()):
        return pd.DataFrame()
    rows = scores.frame[["household_id", "county_id"]].join(scores.places)
    kept = floors_within(rows, _rooms(scores, capacity), **floors)
    lower = (kept[list(floors)] < pd.Series(floors)).any(axis=1) & kept["visits"].gt(0)
    return kept[lower].reset_index(drop=True)


def _rooms(scores: Scores, capacity: Capacity) -> dict[str, int]:
    """Visits of each county with somebody at risk."""
    at_risk = scores.frame["county_id"].value_counts()
    if isinstance(capacity, Mapping) and (unknown := sorted(set(capacity) - set(at_risk.index))):
        raise UsageError(f"capacity names county {unknown[0]!r}, which has nobody at risk in the register.")
    return {county: int(room(capacity, scores.model, county, size)) for county, size in at_risk.items()}


def _leading(drivers: pd.DataFrame, effect: pd.DataFrame) -> pd.DataFrame:
    """The three drivers that raise the risk most; empty where fewer do.

    A driver whose usual values would not lower the risk is not named.
    """
    matters = effect.reindex(columns=drivers.columns).fillna(np.inf) >= _LEAST
    values = drivers.where(matters, 0.0).to_numpy()
    order = np.argsort(-values, axis=1, kind="stable")[:, :3]
    names = np.asarray(drivers.columns, dtype=object)[order].astype(object)
    names[np.take_along_axis(values, order, axis=1) < _LEAST] = ""
    return pd.DataFrame(names, columns=["driver_1", "driver_2", "driver_3"], index=drivers.index)


def _counting(drivers: pd.DataFrame, verdicts: pd.DataFrame) -> list[list[str]]:
    """For each alert, the drivers that raise the risk and have a fact behind them, strongest first."""
    names, values = list(drivers.columns), drivers.to_numpy()
    counts = (values >= _LEAST) & verdicts[[f"fact_{name}" for name in names]].to_numpy(bool)
    order = np.argsort(-values, axis=1, kind="stable")
    return [[names[d] for d in row if counts[i, d]] for i, row in enumerate(order)]


def _measures(catalogue: Catalogue, counting: list[list[str]], features: pd.DataFrame) -> list[list[Measure]]:
    """Measures that answer the counting drivers; the safety net comes first for a household without able labour."""
    rows = catalogue.measures
    asked = [condition for m in rows for condition in (m.when, m.never) if condition]
    answers = iter(answer.fillna(False).to_numpy(bool) for answer in holds(asked, features))
    when, never = zip(*((next(answers) if m.when else None, next(answers) if m.never else None) for m in rows), strict=True)
    no_labour = features["able_now"].eq(0).to_numpy() if "able_now" in features else np.zeros(len(features), bool)
    found = []
    for i, drivers in enumerate(counting):
        wanted = [*(["labour"] if no_labour[i] and "labour" not in drivers else []), *drivers]
        picked: list[Measure] = []
        for driver in wanted or ["level"]:
            for number, measure in enumerate(rows):
                applies = when[number] is None or when[number][i]
                barred = never[number] is not None and never[number][i]
                if driver in measure.drivers and applies and not barred and measure not in picked:
                    picked.append(measure)
        found.append(picked or [m for m in rows if "level" in m.drivers])
    return found


def _reasons(
    catalogue: Catalogue,
    frame: pd.DataFrame,
    counting: list[list[str]],
    verdicts: pd.DataFrame,
    measures: list[list[Measure]],
    features: pd.DataFrame,
) -> list[tuple[str, str]]:
    """The reasons in plain words, English and Chinese."""
    facts = ask(catalogue.facts, features).fillna(False).to_numpy(bool).tolist()
    by_driver: dict[str, list[tuple[int, Condition]]] = {}
    for number, fact in enumerate(catalogue.facts):
        by_driver.setdefault(fact.driver, []).append((number, fact))
    excuses = {e.name: e for e in catalogue.excuses}
    shields = {p.name: p for p in catalogue.protected}
    signs = {s.name: s for s in catalogue.signs}
    asked = [c for c in features if any(f"{{{c}" in f.en + f.zh for f in catalogue.facts)]
    values = features[asked].to_dict("records")
    risks, verdict_names = frame["risk"].tolist(), verdicts["verdict"].tolist()
    excuse_names, shield_names, sign_names = (verdicts[c].tolist() for c in ("excuses", "protected", "signs"))
    leading_names = frame[["driver_1", "driver_2", "driver_3"]].to_numpy(object).tolist()
    found = []
    for i, verdict in enumerate(verdict_names):
        held = [fact for driver in counting[i] for number, fact in by_driver.get(driver, ()) if facts[i][number]]
        held = held[:_FACTS_SHOWN]
        leading = [catalogue.driver_by_name[d] for d in leading_names[i] if d]
        why = [n for n in excuse_names[i].split(", ") if n]
        guarded = [n for n in shield_names[i].split(", ") if n]
        texts = []
        for lang, said in (("en", _EN), ("zh", _ZH)):
            of = round(risks[i] * 100)
            parts = [said["risk"].format(of=of) if of else said["small_risk"]]
            if leading:
                parts.append(said["drivers"] + said["sep"].join(getattr(d, lang) for d in leading))
            told = [words(getattr(f, lang), values[i]) for f in held]
            parts.append(said["facts"] + said["sep"].join(told) if told else said["no_fact"])
            parts.append(said["verdict"] + verdict_words(verdict)[0 if lang == "en" else 1])
            if verdict in JUDGED:
                named = [signs[n] for n in sign_names[i].split(", ")]
                parts.append(said["signs"] + said["sep"].join(getattr(s, lang) for s in named))
            if verdict == "subjective":
                parts += [said["alternative"], said["change"]]
            if why:
                parts.append(said["excuse"] + said["sep"].join(getattr(excuses[n], lang) for n in why))
            if guarded:
                parts.append(said["protected"] + said["sep"].join(getattr(shields[n], lang) for n in guarded))
            parts.append(said["measures"] + said["sep"].join(getattr(m, lang) for m in measures[i]))
            texts.append(said["end"].join(parts) + said["end"].strip())
        found.append((texts[0], texts[1]))
    return found


_EN = {
    "risk": "Of 100 such households about {of} fall",
    "small_risk": "Of 100 such households fewer than one falls",
    "drivers": "The score relies on: ",
    "facts": "Facts on record: ",
    "no_fact": "No dated fact on record: the visit should find out",
    "verdict": "Cause: ",
    "signs": "Signs, against households in the same circumstances: ",
    "alternative": "An objective cause that is not on record, such as illness or a care duty, is possible",
    "change": "A recorded illness, care duty or lack of work would change this",
    "excuse": "Known circumstances: ",
    "protected": "Protected case: ",
    "measures": "To consider: ",
    "sep": "; ",
    "end": ". ",
}
_ZH = {
    "risk": "此类农户每100户约{of}户返贫致贫",
    "small_risk": "此类农户每100户返贫致贫不足1户",
    "drivers": "评分依据：",
    "facts": "记录在案的事实：",
    "no_fact": "无有日期的事实记录，请走访查明",
    "verdict": "原因判断：",
    "signs": "与同等条件农户相比的迹象：",
    "alternative": "可能存在未记录的客观原因，如患病或照料负担",
    "change": "如有患病、照料或无工可务的记录，判断将改变",
    "excuse": "已知情形：",
    "protected": "受保护情形：",
    "measures": "可考虑：",
    "sep": "；",
    "end": "。",
}
