"""Expressions as trees, for whoever computes them without the engine that parsed them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from riskmodel.catalogue.expressions import AGGREGATES, select_tree
from riskmodel.fallback import NotCovered

COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "distinct",
    "COMPARE_NOT_DISTINCT_FROM": "same",
}
OPERATORS = {
    "OPERATOR_NOT": "not",
    "OPERATOR_IS_NULL": "is null",
    "OPERATOR_IS_NOT_NULL": "is not null",
    "OPERATOR_COALESCE": "coalesce",
    "COMPARE_IN": "in",
    "CONJUNCTION_AND": "and",
    "CONJUNCTION_OR": "or",
}
SAME_AS = {"**": "pow", "^": "pow", "power": "pow", "log10": "log"}


@dataclass(frozen=True, eq=False)
class Node:
    """A part of an expression. Make it with `node`: equal parts are one object, so that they are found by identity.

    `op` is `column`, `constant`, an operator, a scalar function or an aggregate; `value` the name of a column or a
    constant (None, a number, a truth or a text); `where` the filter of an aggregate.
    """

    op: str
    parts: tuple[Node, ...] = ()
    value: str | float | bool | None = None
    where: Node | None = None
    distinct: bool = False

    @property
    def aggregate(self) -> bool:
        """Whether this very node is an aggregate."""
        return self.op in AGGREGATES


@cache
def node(
    op: str,
    parts: tuple[Node, ...] = (),
    value: str | float | bool | None = None,
    where: Node | None = None,
    distinct: bool = False,
    *,
    kind: type | None = None,
) -> Node:
    """The one node of these properties; `kind` keeps a truth from a number that equals it."""
    return Node(op, parts, value, where, distinct)


@cache
def tree(text: str) -> Node:
    """The tree of a checked expression.

    Raises
    ------
    NotCovered
        If it holds a part that has no node here.

    >>> tree("a + 1").op, tree("a + 1") is tree("a+1")
    ('+', True)
    """
    return _node(select_tree(text))


def conjuncts(node: Node | None) -> list[Node]:
    """The parts that a condition asks for together."""
    if node is None:
        return []
    return [part for below in node.parts for part in conjuncts(below)] if node.op == "and" else [node]


def bound_of(age: Node, condition: Node) -> tuple[str, int] | None:
    """Between which whole months a condition holds an age: `before` so many, or `since` so many; None where it holds none.

    >>> age = node("column", value="age")
    >>> bound_of(age, tree("age < 12")), bound_of(age, tree("age > 12")), bound_of(age, tree("loans < 12"))
    (('before', 12), ('since', 13), None)
    """
    if condition.op not in ("<", "<=", ">", ">=") or condition.parts[0] != age or condition.parts[1].op != "constant":
        return None
    months = condition.parts[1].value
    if not isinstance(months, float) or months != int(months):
        return None
    step = 1 if condition.op in ("<=", ">") else 0
    return ("before" if condition.op in ("<", "<=") else "since"), int(months) + step


def parts_of(whole: Node) -> Iterator[Node]:
    """A node and all below it, filters of aggregates among them."""
    yield whole
    for part in (*whole.parts, *([whole.where] if whole.where else [])):
        yield from parts_of(part)


def _node(raw: dict) -> Node:
    kind, name = raw["class"], raw["type"]
    if kind == "COLUMN_REF":
        return node("column", value=".".join(raw["column_names"]))
    if kind == "CONSTANT":
        return _constant(raw["literal"])
    if kind == "COMPARISON":
        return node(COMPARISONS[name], (_node(raw["left"]), _node(raw["right"])))
    if kind in ("OPERATOR", "CONJUNCTION") and name in OPERATORS:
        return node(OPERATORS[name], tuple(_node(child) for child in raw["children"]))
    if kind == "BETWEEN":
        asked = _node(raw["input"])
        return node("and", (node(">=", (asked, _node(raw["lower"]))), node("<=", (asked, _node(raw["upper"])))))
    if kind == "CASE":
        checks = [part for check in raw["case_checks"] for part in (_node(check["when_expr"]), _node(check["then_expr"]))]
        return node("case", (*checks, _node(raw["else_expr"])))
    if kind == "CAST" and not raw["try_cast"] and raw.get("type_expr", {}).get("type_name") == "DOUBLE":
        return node("double", (_node(raw["child"]),))
    if kind == "FUNCTION" and not raw["order_bys"]["orders"]:
        function = raw["function_name"].lower()
        parts = tuple(_node(argument["expression"]) for argument in raw["arguments"])
        where = _node(raw["filter"]) if raw["filter"] else None
        return node(SAME_AS.get(function, function), parts, where=where, distinct=bool(raw["distinct"]))
    raise NotCovered(f"{name} is left to the engine")


def _constant(literal: dict) -> Node:
    kind, text = literal["kind"], literal["text"]
    if kind == "NULL_LITERAL":
        return node("constant")
    if kind == "BOOLEAN":
        return node("constant", value=text == "true", kind=bool)
    if kind in ("INTEGER", "NUMERIC"):
        return node("constant", value=float(text), kind=float)
    if kind == "STRING":
        return node("constant", value=text, kind=str)
    raise NotCovered(f"a constant of kind {kind} is left to the engine")
