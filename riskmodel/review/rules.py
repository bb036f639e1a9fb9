"""What a reviewer may decide: the rows of `configs/review.yaml`, and the rules that hold whatever a county writes there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from riskmodel.catalogue import load_catalogue
from riskmodel.catalogue.reading import LINE, Place, check_keys, read_lined
from riskmodel.explain.causes import JUDGED, VERDICTS
from riskmodel.settings import find_config

if TYPE_CHECKING:
    from riskmodel.review.decisions import Decision

ACTIONS = ("confirm", "override_cause", "reject", "defer")
APPEALS = ("none", "open", "closed")
APPEAL = "appeal"
"""The protected case that a decision itself brings about: an appeal that is open."""
UNSEEN = "judged_unseen"
"""The reason code of a cause that was judged without sight of the proposal; the app fills it in."""
_NEEDS = ("reason", "note")


class Choice(NamedTuple):
    """Something to choose from, in both languages."""

    name: str
    en: str
    zh: str


@dataclass(frozen=True)
class Action:
    """One of the four decisions: its words, and what must be filled in with it."""

    name: str
    en: str
    zh: str
    help_en: str
    help_zh: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Reason:
    """A reason code, and the actions that it is offered for."""

    name: str
    en: str
    zh: str
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Adjudication:
    """When a cause counts as known, and what adjudicated cases must show before they set a verdict's margin."""

    reviewers: int
    bound: float
    level: float
    margins: tuple[float, ...]


@dataclass(frozen=True)
class ReviewRules:
    """The content of `configs/review.yaml`."""

    actions: tuple[Action, ...]
    reasons: tuple[Reason, ...]
    appeal: tuple[Choice, ...]
    adjudication: Adjudication
    protected: Mapping[str, Choice]
    """Words of the catalogue for protected cases, by name."""

    def action(self, name: str) -> Action:
        """An action by name."""
        return next(a for a in self.actions if a.name == name)

    @property
    def offered(self) -> list[Reason]:
        """The reason codes that a reviewer can choose."""
        return [r for r in self.reasons if r.name != UNSEEN]

    def reasons_for(self, action: str) -> list[Reason]:
        """Those of them that go with an action."""
        return [r for r in self.offered if action in r.actions]


class Fault(NamedTuple):
    """Why a decision cannot be taken as it is: the field that is wrong, and a sentence in both languages."""

    field: str
    en: str
    zh: str


@lru_cache(maxsize=4)
def load_rules(file: str | Path = "review.yaml") -> ReviewRules:
    """Read the rules of the review.

    Raises
    ------
    CatalogueError
        If a row is refused; the message names the file, the line and the row.
    """
    path = find_config(file)
    content, name = read_lined(path), path.name
    top = Place(name, content.get(LINE, 0), "review")
    check_keys(
        content, ("actions", "reasons", "appeal", "adjudication"), ("actions", "reasons", "appeal", "adjudication"), top
    )
    actions = []
    for row in content["actions"]:
        place = _place(name, row, "action")
        keys = ("name", "en", "zh", "help_en", "help_zh")
        check_keys(row, (*keys, "needs"), keys, place)
        _all_known(row.get("needs", []), _NEEDS, place)
        actions.append(Action(*(row[k] for k in keys), tuple(row.get("needs", []))))
    _exactly([a.name for a in actions], ACTIONS, top)
    reasons = []
    for row in content["reasons"]:
        place = _place(name, row, "reason")
        check_keys(row, ("name", "actions", "en", "zh"), ("name", "actions", "en", "zh"), place)
        _all_known(row["actions"], ACTIONS, place)
        reasons.append(Reason(row["name"], row["en"], row["zh"], tuple(row["actions"])))
    if len({r.name for r in reasons}) < len(reasons):
        raise top.refuse("a reason is written twice")
    if UNSEEN not in (r.name for r in reasons if {"confirm", "override_cause"} <= set(r.actions)):
        raise top.refuse(f"the reason {UNSEEN} for confirm and override_cause is needed by --blind-half")
    for action in actions:
        if "reason" in action.needs and not any(action.name in r.actions for r in reasons):
            raise top.refuse(f"{action.name} needs a reason, and none is offered for it")
    if "override_cause" in (a.name for a in actions if set(a.needs) < set(_NEEDS)):
        raise top.refuse("override_cause needs a reason and a note, whatever else a county asks for")
    appeal = []
    for row in content["appeal"]:
        check_keys(row, Choice._fields, Choice._fields, _place(name, row, "appeal"))
        appeal.append(Choice(*(row[k] for k in Choice._fields)))
    _exactly([a.name for a in appeal], APPEALS, top)
    adjudication = _adjudication(content["adjudication"], name)
    shields = {c.name: Choice(c.name, c.en, c.zh) for c in load_catalogue().protected}
    return ReviewRules(tuple(actions), tuple(reasons), tuple(appeal), adjudication, shields)


def faults(decision: Decision, rules: ReviewRules, protected: str) -> list[Fault]:
    """What stands against a decision; nothing where it can be recorded.

    Parameters
    ----------
    decision
        As the reviewer gave it.
    rules
        From `load_rules`.
    protected
        Protected cases that hold for the household, names separated by ", ": those of the alert, and an open appeal.
    """
    found = []
    if not decision.reviewer.strip():
        found.append(Fault("reviewer", "A decision needs a reviewer.", "须填写审核人。"))
    if decision.action not in ACTIONS:
        found.append(Fault("action", "Choose one of the four decisions.", "请选择一项决定。"))
        return found
    action = rules.action(decision.action)
    noted = bool(decision.note.strip())
    if decision.appeal not in APPEALS:
        found.append(Fault("appeal", f"appeal must be one of {', '.join(APPEALS)}.", "申诉状态无效。"))
    if decision.hidden and decision.action in ("confirm", "override_cause"):
        # One sentence for both: which of the two it is would tell the proposal.
        if not noted:
            found.append(Fault("note", "Say in your own words what your judgement rests on.", "请用自己的话说明判断依据。"))
        if decision.reason != UNSEEN:
            found.append(
                Fault("reason", f"A judgement without the proposal has the reason {UNSEEN}.", "独立判断的理由代码不符。")
            )
        return found + _cause_faults(decision, rules, protected)
    if "reason" in action.needs and not decision.reason:
        found.append(Fault("reason", f"“{action.en}” needs a reason.", f"“{action.zh}”须选择理由。"))
    elif decision.reason and decision.reason not in [r.name for r in rules.reasons_for(decision.action)]:
        found.append(Fault("reason", f"This reason does not go with “{action.en}”.", f"该理由不适用于“{action.zh}”。"))
    if "note" in action.needs and not noted:
        found.append(Fault("note", f"“{action.en}” needs a note in your own words.", f"“{action.zh}”须填写说明。"))
    elif decision.reason == "other" and not noted:
        found.append(Fault("note", "Another reason needs a note that says which.", "选择“其他”须在备注中说明。"))
    return found + _cause_faults(decision, rules, protected)


def _cause_faults(decision: Decision, rules: ReviewRules, protected: str) -> list[Fault]:
    if decision.action in ("reject", "defer"):
        return [Fault("cause", "No cause goes with this decision.", "此项决定不填原因。")] if decision.cause else []
    if decision.cause not in VERDICTS:
        return [Fault("cause", "Choose a cause.", "请选择原因。")]
    if decision.action == "confirm" and decision.cause != decision.proposed:
        return [
            Fault("cause", "This is not the proposed cause: change the cause instead.", "与原判断不同，请选择“更改原因”。")
        ]
    if decision.action == "override_cause" and decision.cause == decision.proposed:
        return [Fault("cause", "This is the proposed cause: confirm it instead.", "与原判断相同，请选择“确认”。")]
    if decision.cause not in JUDGED:
        return []
    if protected:
        en, zh = _shields(_names(protected), rules)
        return [
            Fault(
                "cause",
                f"This household is protected ({en}): its risk is never put down to a subjective factor.",
                f"该户属受保护情形（{zh}），任何情况下不得认定为主观原因。",
            )
        ]
    left = [name for name in _names(decision.unchecked) if name not in _names(decision.ruled_out)]
    if left:
        en, zh = _shields(left, rules)
        return [
            Fault(
                "ruled_out",
                f"The record cannot rule out a protected case ({en}). Rule it out on a visit and say so, or choose another "
                "cause.",
                f"现有记录无法排除受保护情形（{zh}）。请走访排除并注明，或选择其他原因。",
            )
        ]
    return []


def _shields(names: list[str], rules: ReviewRules) -> tuple[str, str]:
    """Protected cases in words, English and Chinese."""
    found = [rules.protected.get(name, Choice(name, name, name)) for name in names]
    return "; ".join(c.en for c in found), "、".join(c.zh for c in found)


def _names(text: str) -> list[str]:
    return [name for name in text.split(", ") if name]


def _place(file: str, row: Mapping[str, object], kind: str) -> Place:
    return Place(file, int(row.get(LINE, 0)), f"{kind} {row.get('name', '(without a name)')!r}")


def _all_known(given: object, known: tuple[str, ...], place: Place) -> None:
    if not isinstance(given, list) or not set(given) <= set(known):
        raise place.refuse(f"choose from {', '.join(known)}")


def _exactly(given: list[str], wanted: tuple[str, ...], place: Place) -> None:
    if sorted(given) != sorted(wanted):
        raise place.refuse(f"exactly these rows are needed: {', '.join(wanted)}")


def _adjudication(row: Mapping[str, object], file: str) -> Adjudication:
    place = _place(file, row, "adjudication")
    keys = ("reviewers", "bound", "level", "margins")
    check_keys(row, keys, keys, place)
    found = Adjudication(row["reviewers"], row["bound"], row["level"], tuple(row["margins"]))
    if not (isinstance(found.reviewers, int) and found.reviewers >= 2):
        raise place.refuse("at least two reviewers must agree")
    if not (0 < found.bound < 1 and 0.5 < found.level < 1):
        raise place.refuse("bound and level are shares")
    if list(found.margins) != sorted(found.margins, reverse=True) or not found.margins:
        raise place.refuse("margins go from the strictest, the largest, down")
    return found
