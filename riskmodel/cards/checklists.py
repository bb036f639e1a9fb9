"""The checklists of the card: rows of `configs/checklists.yaml`, each answered by a section or openly not done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from riskmodel.cards.rendering import Words
from riskmodel.catalogue.reading import LINE, Place, check_keys, read_lined
from riskmodel.register.contract import meant
from riskmodel.settings import find_config

FILE = "checklists.yaml"
Facts = Mapping[str, Any]


def _always(facts: Facts) -> bool:
    return True


def _has(name: str) -> Callable[[Facts], bool]:
    return lambda facts: bool(facts[name])


EVIDENCE: dict[str, tuple[str, Callable[[Facts], bool]]] = {
    "answer": ("answer", _has("ready")),
    "baselines": ("performance", _has("ranking")),
    "calibration": ("calibration", _has("bins")),
    "causes": ("causes", _always),
    "choice": ("performance", _has("choice")),
    "counties": ("lists", lambda f: f["ready"] and len(f["counties"] or ()) > 1),
    "counts": ("data", _always),
    "disjoint": ("folds", _has("disjoint")),
    "drivers": ("drivers", _has("chart")),
    "folds": ("folds", _has("folds")),
    "groups": ("groups", _has("ready")),
    "helped": ("misses", lambda f: f["ready"] and bool(f["helped"])),
    "inputs": ("inputs", _has("count")),
    "intervals": ("performance", _has("simple")),
    "kinds": ("data", _has("kinds")),
    "lacking": ("inputs", _always),
    "later": ("drift", _has("later")),
    "leak_gates": ("leaks", _has("leaks")),
    "left_out": ("data", _always),
    "limits": ("limits", _always),
    "lists": ("lists", _has("ready")),
    "looks": ("leaks", _has("looks")),
    "machine": ("reproduce", _has("machine")),
    "misses": ("misses", _has("ready")),
    "missing_outcomes": ("data", _always),
    "months": ("drift", _has("tables")),
    "outcome": ("label", _always),
    "oversight": ("oversight", _has("ready")),
    "population": ("data", _always),
    "purpose": ("purpose", _always),
    "quarantine": ("data", _has("rows_in")),
    "register_hash": ("reproduce", _has("register_sha256")),
    "results": ("performance", _has("tables")),
    "settings": ("reproduce", _has("settings")),
    "tuning": ("reproduce", _has("tuned")),
    "versions": ("reproduce", _has("versions")),
}
"""What can answer an item: its section, and whether that section's facts hold it."""


@dataclass(frozen=True)
class Item:
    """One item of a checklist; without evidence, only people can answer it."""

    list: str
    ref: str
    words: Words
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Checklist:
    """One checklist: its name, its title and its source."""

    name: str
    words: Words
    source: str


@cache
def read_checklists() -> tuple[tuple[Checklist, ...], tuple[Item, ...]]:
    """The checklists and their items.

    Raises
    ------
    CatalogueError
        If a row is refused; the message names file, line and row.
    """
    content = read_lined(find_config(FILE))
    lists = []
    for row in content.get("lists", []):
        check_keys(row, columns := ("name", "en", "zh", "source"), columns, Place(FILE, row[LINE], str(row.get("name"))))
        lists.append(Checklist(row["name"], Words(row["en"], row["zh"]), row["source"]))
    known = [one.name for one in lists]
    items = []
    for row in content.get("items", []):
        place = Place(FILE, row[LINE], f"{row.get('list')} {row.get('ref')}")
        check_keys(row, ("list", "ref", "en", "zh", "evidence"), ("list", "ref", "en", "zh"), place)
        if row["list"] not in known:
            raise place.refuse(f"there is no list {row['list']!r}{meant(row['list'], known)}")
        evidence = tuple(row.get("evidence") or ())
        for name in evidence:
            if name not in EVIDENCE:
                raise place.refuse(f"there is no evidence {name!r}{meant(name, list(EVIDENCE))}")
        items.append(Item(row["list"], str(row["ref"]), Words(row["en"], row["zh"]), evidence))
    return tuple(lists), tuple(items)


def checklists(facts: Mapping[str, Facts]) -> dict[str, Any]:
    """The checklists answered from the facts of the other sections: done only where all of an item's evidence is there.

    Parameters
    ----------
    facts
        Facts of each section, by its name.
    """
    lists, items = read_checklists()
    found = []
    for one in lists:
        rows = [
            {
                "item": item,
                "done": bool(item.evidence) and not any(lacks(name, facts) for name in item.evidence),
                "sections": list(dict.fromkeys(EVIDENCE[name][0] for name in item.evidence)),
            }
            for item in items
            if item.list == one.name
        ]
        not_done = [row["item"].ref for row in rows if not row["done"]]
        found.append({"list": one, "rows": rows, "done": len(rows) - len(not_done), "not_done": not_done})
    return {"lists": found}


def lacks(evidence: str, facts: Mapping[str, Facts]) -> bool:
    """Whether the card does not hold a piece of evidence."""
    section, holds = EVIDENCE[evidence]
    return not holds(facts[section])
