"""Signs of behaviour, who counts as peers, and how much evidence a verdict needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from riskmodel.catalogue.expressions import Expression, NotPure, parse
from riskmodel.catalogue.reading import LINE, Place, check_keys
from riskmodel.register.contract import meant


@dataclass(frozen=True)
class Sign:
    """One sign of behaviour: a feature beyond what peers show on one side, or a condition that needs no peers.

    `one_less` is a factor on what peers do if one able member less were at work, where circumstances cannot tell.
    """

    name: str
    driver: str
    feature: str | None
    side: str | None
    one_less: Expression | None
    when: Expression | None
    en: str
    zh: str


@dataclass(frozen=True)
class PeerGroup:
    """Features that say what a household's circumstances are, and how they would be with one able member less."""

    circumstances: tuple[str, ...]
    one_able_less: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True)
class VerdictRule:
    """How much evidence a verdict needs; where the numbers come from stands in `evidence`.

    Attributes
    ----------
    margin
        How far beyond the bound of peers a behaviour must lie to be a sign (share of days, share of land).
    clear
        Share of the attributable log-odds that one side must hold; else `mixed`.
    enough_log_odds, enough_share
        Least attributable log-odds, and their least share of all positive ones; else `undetermined`.
    effect
        Least fall of the log-odds when the household's behaviour is put back to its own usual values.
    right
        Of 100 simulated cases with this verdict, how many had it right, by verdict; the confidence starts from it.
    """

    margin: float = 0.0
    clear: float = 0.6
    enough_log_odds: float = 0.1
    enough_share: float = 0.1
    effect: float = 0.0
    right: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)


def read_signs(content: dict, file: str, known: set[str], drivers: Mapping[str, str]) -> tuple[Sign, ...]:
    """The section `signs`; `drivers` gives the nature of each."""
    found = []
    for row in content.get("signs", []):
        place = Place(file, row.get(LINE, 0), f"sign {row.get('name', '(without a name)')!r}")
        check_keys(
            row, ("name", "driver", "feature", "side", "one_less", "when", "en", "zh"), ("name", "driver", "en", "zh"), place
        )
        if drivers.get(row["driver"]) != "subjective":
            raise place.refuse(f"{row['driver']!r} is not a subjective driver")
        if ("feature" in row) == ("when" in row):
            raise place.refuse("give either a feature, which is held against peers, or a condition")
        if "feature" in row and row["feature"] not in known:
            raise place.refuse(f"unknown feature {row['feature']!r}{meant(row['feature'], known)}")
        if "feature" in row and row.get("side") not in ("low", "high"):
            raise place.refuse("side must be low or high")
        found.append(
            Sign(
                row["name"],
                row["driver"],
                row.get("feature"),
                row.get("side"),
                _expression(row.get("one_less"), known, place),
                _expression(row.get("when"), known, place),
                row["en"],
                row["zh"],
            )  # fmt: skip
        )
    return tuple(found)


def read_peers(content: dict, file: str, known: set[str]) -> PeerGroup:
    """The section `peers`."""
    row = content.get("peers", {})
    place = Place(file, row.get(LINE, 0), "peers")
    check_keys(row, ("circumstances", "one_able_less"), (), place)
    circumstances = row.get("circumstances", [])
    less = {k: v for k, v in row.get("one_able_less", {}).items() if k != LINE}
    for name in (*circumstances, *less):
        if name not in known:
            raise place.refuse(f"unknown feature {name!r}{meant(name, known)}")
    return PeerGroup(tuple(circumstances), tuple((n, _expression(v, known, place)) for n, v in less.items()))


def read_rule(content: dict, file: str) -> VerdictRule:
    """The file of the rule."""
    place = Place(file, content.get(LINE, 0), "verdict")
    check_keys(content, [f.name for f in fields(VerdictRule)], (), place)
    numbers = {k: v for k, v in content.items() if k not in (LINE, "right", "evidence")}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise place.refuse(f"{name} must be a number")
    parts = {k: {n: v for n, v in content.get(k, {}).items() if n != LINE} for k in ("right", "evidence")}
    return VerdictRule(**numbers, **parts)


def _expression(text: object, known: Iterable[str], place: Place) -> Expression | None:
    if text is None:
        return None
    try:
        expression = parse(str(text))
    except NotPure as why:
        raise place.refuse(str(why)) from None
    if expression.aggregates:
        raise place.refuse("it has no aggregate")
    for name in sorted(expression.columns - set(known)):
        raise place.refuse(f"unknown feature {name!r}{meant(name, known)}")
    return expression
