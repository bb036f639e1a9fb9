"""Expressions of the catalogue: parsed by the engine itself, and pure or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from riskmodel.engine import database

AGGREGATES = frozenset(
    "sum fsum avg favg min max count count_star count_if arg_min arg_max bool_or bool_and median quantile_cont "
    "stddev stddev_samp stddev_pop var_samp var_pop regr_slope regr_r2 corr skewness kurtosis".split()
)
SCALARS = frozenset(
    "+ - * / % ** ^ abs ceil floor round sign sqrt ln log log2 log10 exp pow power sin cos pi floor_at cap_at nullif "
    "isnan isfinite lower upper trim length year month ~~ !~~".split()
)
_INSTEAD = {"greatest": "floor_at(x, lowest)", "least": "cap_at(x, most)"}
_COMMENT = re.compile(r"--|/\*")
_QUOTED = re.compile(r"'[^']*'")
_PURE_NODES = frozenset("FUNCTION CONSTANT COLUMN_REF COMPARISON CONJUNCTION OPERATOR CASE CAST BETWEEN".split())


class NotPure(ValueError):
    """The text is not one pure expression; the message says why."""


@dataclass(frozen=True)
class Expression:
    """A checked expression: its text and what it refers to.

    `columns` are all columns it reads; `bare` are those read outside an aggregate; `alternatives` those of each part that
    an outermost OR joins, and of the whole where there is none.
    """

    text: str
    columns: frozenset[str]
    bare: frozenset[str]
    aggregates: bool
    alternatives: tuple[frozenset[str], ...]


def parse(text: str) -> Expression:
    """Parse one SQL expression and refuse whatever is not pure.

    Raises
    ------
    NotPure
        If it does not parse, is more than one expression, or holds a subquery, a window, a star, a nested
        aggregate, or a function outside the lists above.

    >>> sorted(parse("avg(welfare / line) FILTER (WHERE age < 12)").columns)
    ['age', 'line', 'welfare']
    >>> [sorted(part) for part in parse("offers >= 1 OR (days >= 8 AND able > 0)").alternatives]
    [['offers'], ['able', 'days']]
    >>> parse("(SELECT 1)")
    Traceback (most recent call last):
    ...
    riskmodel.catalogue.expressions.NotPure: a subquery is not allowed
    """
    tree = select_tree(text)
    bare: set[str] = set()
    parts = tree["children"] if tree["type"] == "CONJUNCTION_OR" else [tree]
    alternatives: list[set[str]] = [set() for _ in parts]
    aggregates = [_walk(part, found, bare, inside=False) for part, found in zip(parts, alternatives, strict=True)]
    columns = frozenset().union(*alternatives)
    return Expression(text, columns, frozenset(bare), any(aggregates), tuple(map(frozenset, alternatives)))


def select_tree(text: str) -> dict:
    """The engine's own tree of one expression.

    Raises
    ------
    NotPure
        If it does not parse, is more than one expression, or holds a comment, which would hide what follows it in a query.
    """
    if _COMMENT.search(_QUOTED.sub("", str(text))):
        raise NotPure("a comment is not allowed: write it on a line of its own, after #")
    parsed = json.loads(_serialized(str(text)))
    if parsed["error"] and parsed.get("error_type") != "parser":
        raise NotPure("it must be a single expression")
    if parsed["error"]:
        raise NotPure(f"it does not parse: {parsed['error_message']}")
    statements = parsed["statements"]
    node = statements[0]["node"] if len(statements) == 1 else {}
    clean = (
        node.get("type") == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not any(node.get(part) for part in ("where_clause", "group_expressions", "having", "qualify", "modifiers"))
    )
    if not clean:
        raise NotPure("it must be a single expression")
    return node["select_list"][0]


def read_ahead(texts: Iterable[str]) -> None:
    """Have the engine read many expressions at once, so that each `parse` that follows finds its own: ten times as fast."""
    new = [text for text in dict.fromkeys(texts) if text not in _SERIALIZED]
    if new:
        asked = "SELECT text, json_serialize_sql('SELECT ' || text) FROM (SELECT unnest(?) AS text)"
        _SERIALIZED.update(database().cursor().execute(asked, [new]).fetchall())


_SERIALIZED: dict[str, str] = {}


def _serialized(text: str) -> str:
    read_ahead([text])
    return _SERIALIZED[text]


def _walk(node: object, columns: set[str], bare: set[str], inside: bool) -> bool:
    """Collect columns below `node`; True if an aggregate is found."""
    if isinstance(node, list):
        return any([_walk(item, columns, bare, inside) for item in node])
    if not isinstance(node, dict):
        return False
    kind = node.get("class")
    if kind == "SUBQUERY":
        raise NotPure("a subquery is not allowed")
    if kind == "WINDOW":
        raise NotPure("a window is not allowed: count in months with `age` instead")
    if kind is not None and kind not in _PURE_NODES:
        raise NotPure(f"{kind.lower()} is not allowed")
    if kind == "COLUMN_REF":
        name = ".".join(node["column_names"])
        columns.add(name)
        if not inside:
            bare.add(name)
        return False
    found = False
    if kind == "FUNCTION":
        name = node["function_name"].lower()
        if name in AGGREGATES:
            if inside:
                raise NotPure(f"{name}() stands inside another aggregate")
            found = inside = True
        elif name in _INSTEAD:
            raise NotPure(f"{name}() reads a missing value as the other one: write {_INSTEAD[name]}")
        elif name not in SCALARS:
            raise NotPure(f"function {name}() is not allowed")
    below = [_walk(part, columns, bare, inside) for part in node.values()]
    return found or any(below)
