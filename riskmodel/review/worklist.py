"""The alerts of a scored month as reviewers go through them, and what stands behind each, in words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from riskmodel.alerts.alerts import BASIS
from riskmodel.alerts.history import ScoredMonth
from riskmodel.cards.alert_sheet import questions_that_apply, visit_questions
from riskmodel.cards.rendering import Words
from riskmodel.catalogue import Catalogue, load_catalogue
from riskmodel.cohort.conditions import ask, words
from riskmodel.errors import NotFound
from riskmodel.explain.causes import ACTIVITY, JUDGED
from riskmodel.review.decisions import KEY, Decisions, in_blind_half
from riskmodel.review.standing import standing

ORDERS = ("risk", "doubt")


class Driver(NamedTuple):
    """A driver of one household's risk: its words, nature, log-odds, and the facts on record."""

    name: str
    words: Words
    nature: str
    log_odds: float
    facts: tuple[Words, ...]


@dataclass(frozen=True)
class Household:
    """Everything that a reviewer is shown of one alert; `hidden`: the proposed verdict and its basis are not.

    `leading` are the drivers that the score relies on most; `basis` holds, by column of the alert table, the words of
    signs, gates, excuses and protected cases; `checks` are questions for the visit.
    """

    key: str
    alert: Mapping[str, Any]
    leading: tuple[Driver, ...]
    drivers: Mapping[str, float]
    base: float
    basis: Mapping[str, tuple[Words, ...]]
    measures: tuple[tuple[Words, Words], ...]
    checks: tuple[Words, ...]
    hidden: bool


class Selection(NamedTuple):
    """What a reviewer chose to look at; empty texts choose everything."""

    county: str = ""
    township: str = ""
    status: str = ""
    order: str = "risk"


class Worklist:
    """The alerts of a folder from `riskmodel score`, with the decisions taken on them so far.

    Attributes
    ----------
    alerts
        The alert table and `key, township_id, village_id, risk_low, risk_high, straddles` (the interval of the risk
        holds the threshold of the list), `hidden_first` (in the blind half), `rank_of_doubt`.
    """

    def __init__(
        self, folder: Path, decisions: Decisions, blind_half: bool = False, catalogue: Catalogue | None = None
    ) -> None:
        month = ScoredMonth.open(folder)
        self.manifest = month.manifest
        alerts = month.alerts()
        if not len(alerts):
            raise NotFound(f"{folder}: this month has no alerts to review.")
        self.decisions = decisions
        self.catalogue = catalogue or load_catalogue()
        self._words = _catalogue_words(self.catalogue)
        self._judging = [d.name for d in self.catalogue.drivers if d.nature == "subjective"]
        self._answers_behaviour = {m.name for m in self.catalogue.measures if set(m.drivers) <= set(self._judging)}
        self._features = month.read("features")
        self._facts = ask(self.catalogue.facts, self._features).fillna(False).to_numpy(bool)
        self._asked = questions_that_apply(self.catalogue, self._features)
        self._drivers = month.read("drivers").drop(columns="household_id")
        self.alerts = _alerts(alerts, month, self._features, blind_half)
        self._at = {key: row for row, key in enumerate(self.alerts["key"])}
        self._standing: tuple[int, pd.DataFrame] | None = None

    def __len__(self) -> int:
        return len(self.alerts)

    def queue(self, chosen: Selection) -> pd.DataFrame:
        """The chosen alerts in order, with where their decisions stand."""
        frame = self.stand()
        for column, wanted in (("county_id", chosen.county), ("township_id", chosen.township), ("status", chosen.status)):
            if wanted:
                frame = frame[frame[column] == wanted]
        if chosen.order == "doubt":
            return frame.assign(doubt=_doubt(frame)).sort_values(["doubt", "risk"], ascending=False, kind="stable")
        return frame.sort_values("risk", ascending=False, kind="stable")

    def stand(self) -> pd.DataFrame:
        """All alerts, each with `status` and the last decision; `hidden` while the verdict is not to be shown."""
        rows = self.decisions.head().rows
        if self._standing is None or self._standing[0] != rows:
            stood = standing(self.decisions.table())
            frame = self.alerts.merge(stood, on=list(KEY), how="left", sort=False)
            frame["status"] = frame["status"].fillna("open")
            frame["appeal"] = frame["appeal"].fillna("none")
            frame["hidden"] = frame["hidden_first"] & frame["status"].isin(("open", "deferred"))
            self._standing = rows, frame
        return self._standing[1]

    def beside(self, chosen: Selection, key: str) -> tuple[str | None, str | None]:
        """The alert before and the one after in a queue, also where this one has just left it."""
        ordered = self.queue(chosen._replace(status=""))
        keep = (ordered["status"] == chosen.status) | (ordered["key"] == key) if chosen.status else ordered["key"] != ""
        keys = ordered.loc[keep, "key"].tolist()
        if key not in keys:
            return None, None
        place = keys.index(key)
        return (keys[place - 1] if place else None), (keys[place + 1] if place + 1 < len(keys) else None)

    def alert(self, key: str) -> dict[str, Any]:
        """The row of an alert.

        Raises
        ------
        NotFound
            If there is no such alert.
        """
        if key not in self._at:
            raise NotFound("no such alert in this month.")
        return self.alerts.iloc[self._at[key]].to_dict()

    def household(self, key: str) -> Household:
        """Everything that a reviewer is shown of one alert; errors as `alert`."""
        alert = self.alert(key)
        place = self._at[key]
        values = self._features.iloc[place].to_dict()
        log_odds = self._drivers.iloc[place].astype(float).to_dict()
        facts = [f for f, holds in zip(self.catalogue.facts, self._facts[place], strict=True) if holds]
        told: dict[str, list[Words]] = {}
        for fact in facts:
            told.setdefault(fact.driver, []).append(Words(words(fact.en, values), words(fact.zh, values)))
        names = [alert[f"driver_{i}"] for i in (1, 2, 3) if alert[f"driver_{i}"]]
        basis = {column: tuple(self._named(column, n) for n in _split(alert[column])) for column in BASIS}
        hidden = bool(alert["hidden_first"]) and not self._judged(alert)
        if hidden:
            names, log_odds, told = self._unjudged(names, log_odds, told, guarded=bool(basis["protected"]))
        names += [d for d in told if d not in names and log_odds.get(d, 0.0) > 0]
        suggested = [n for n in str(alert["measures"]).split("; ") if n and not (hidden and n in self._answers_behaviour)]
        leading = tuple(self._driver(name, log_odds, told) for name in names)
        return Household(
            key=key,
            alert=alert,
            leading=leading,
            drivers=log_odds,
            base=self.manifest["about"]["base_log_odds"],
            basis=basis,
            measures=tuple(self._measure(name) for name in suggested),
            checks=(
                *visit_questions(self.catalogue, [d.name for d in leading if d.log_odds > 0], self._asked[place]),
                *_doubts_to_settle(alert, basis, hidden),
            ),
            hidden=hidden,
        )

    def driver_words(self, name: str, hidden: bool = False) -> Words:
        """A driver in words; where the verdict is hidden, without what tells whether behaviour was judged."""
        if hidden and name in self._judging:
            name = ACTIVITY
        known = self.catalogue.driver_by_name.get(name)
        return Words(known.en, known.zh) if known else Words(name, name)

    def driver_labels(self, hidden: bool = False) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
        """Words and nature of every driver, for a chart; where the verdict is hidden, without natures."""
        drivers = self.catalogue.drivers
        return {d.name: (d.en, d.zh) for d in drivers}, {} if hidden else {d.name: d.nature for d in drivers}

    def _unjudged(
        self, names: list[str], log_odds: Mapping[str, float], told: Mapping[str, list[Words]], guarded: bool
    ) -> tuple[list[str], dict[str, float], dict[str, list[Words]]]:
        """The same without what tells whether behaviour was judged: subjective drivers count as `activity`."""
        judging = self._judging
        kept = {d: v for d, v in log_odds.items() if d not in judging}
        kept[ACTIVITY] = kept.get(ACTIVITY, 0.0) + sum(log_odds.get(d, 0.0) for d in judging)
        facts = {d: f for d, f in told.items() if d not in judging}
        seen = [] if guarded else [fact for d in judging for fact in told.get(d, [])]
        if seen:
            facts[ACTIVITY] = seen
        renamed = [ACTIVITY if name in judging else name for name in names]
        return list(dict.fromkeys(renamed + ([ACTIVITY] if seen else []))), kept, facts

    def _judged(self, alert: Mapping[str, Any]) -> bool:
        return any(row["action"] != "defer" for row in self.decisions.history(*(alert[name] for name in KEY)))

    def _driver(self, name: str, log_odds: Mapping[str, float], told: Mapping[str, list[Words]]) -> Driver:
        known = self.catalogue.driver_by_name.get(name)
        nature = known.nature if known else ""
        return Driver(name, self.driver_words(name), nature, log_odds.get(name, 0.0), tuple(told.get(name, ())))

    def _named(self, column: str, name: str) -> Words:
        return self._words[column].get(name, Words(name, name))

    def _measure(self, name: str) -> tuple[Words, Words]:
        known = next((m for m in self.catalogue.measures if m.name == name), None)
        if known is None:
            return Words(name, name), Words("", "")
        return Words(known.en, known.zh), Words(known.department_en, known.department_zh)


def alert_key(as_of: str, county_id: str, household_id: str) -> str:
    """A name for an alert in addresses: it shows no household's number, and stays when the month is scored again."""
    return hashlib.sha256("\0".join((as_of, county_id, household_id)).encode("utf-8")).hexdigest()[:20]


def _alerts(alerts: pd.DataFrame, month: ScoredMonth, features: pd.DataFrame, blind_half: bool) -> pd.DataFrame:
    scores = month.read("scores", [*KEY, "risk_low", "risk_high", "action"])
    frame = alerts.merge(scores, on=list(KEY), how="left", sort=False)
    for place in ("township_id", "village_id"):
        given = features[place] if place in features else pd.Series("", index=frame.index)
        frame[place] = given.fillna("").astype(str).to_numpy(object)
    frame["straddles"] = (frame.pop("action") == "visit").to_numpy(bool)
    keys = frame[list(KEY)].astype(str).to_numpy(object)
    frame["key"] = [alert_key(*key) for key in keys]
    frame["hidden_first"] = [blind_half and in_blind_half(*key) for key in keys]
    return frame


def _doubt(frame: pd.DataFrame) -> np.ndarray:
    """How much there is to find out: no cause found, an interval that holds the threshold, little confidence.

    Where the verdict is hidden, the order does not tell it either.
    """
    seen = ~frame["hidden"].to_numpy(bool)
    undetermined = (frame["verdict"] == "undetermined").to_numpy() & seen
    unsure = np.where(seen, 1 - frame["verdict_confidence"].to_numpy(float), 0.0)
    return 2.0 * undetermined + frame["straddles"].to_numpy(float) + np.where(undetermined, 0.0, unsure)


def _catalogue_words(catalogue: Catalogue) -> dict[str, dict[str, Words]]:
    """Words of signs, gates, excuses and protected cases, by column of the alert table."""
    parts = {
        "signs": catalogue.signs, "strong_signs": catalogue.signs, "failed_gates": catalogue.gates,
        "excuses": catalogue.excuses, "protected": catalogue.protected, "unchecked": catalogue.protected,
    }  # fmt: skip
    return {column: {row.name: Words(row.en, row.zh) for row in rows} for column, rows in parts.items()}


def _doubts_to_settle(alert: Mapping[str, Any], basis: Mapping[str, tuple[Words, ...]], hidden: bool) -> list[Words]:
    """What the visit should find out beside the questions of the drivers."""
    found = [Words(f"Can this be ruled out: {w.en}?", f"能否排除：{w.zh}？") for w in basis["unchecked"]]
    if not hidden and alert["verdict"] in (*JUDGED, "undetermined"):
        found.append(
            Words(
                "Ask for what nobody wrote down: illness, care for somebody, no work to be had, unpaid wages.",
                "询问未记录的情况：患病、照料家人、无工可务、拖欠工资。",
            )
        )
    if "fresh" in _split(alert["failed_gates"]):
        found.append(Words("The record is older than three months: bring it up to date.", "记录已超过三个月，请更新。"))
    return found


def _split(names: object) -> list[str]:
    return [name for name in str(names).split(", ") if name]
