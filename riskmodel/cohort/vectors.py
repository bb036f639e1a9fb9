"""Columns with missing values, and SQL's arithmetic and logic on them, to the last bit.

Numbers are float64, with infinity and NaN as values of their own (NaN is above everything, as the engine orders it);
missing is a mask beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from riskmodel.catalogue.syntax import Node
from riskmodel.fallback import NotCovered


@dataclass(frozen=True)
class Bits:
    """Truths packed eight to a byte, as a file holds them; of most columns only some are ever looked at."""

    packed: np.ndarray
    first: int
    size: int

    ndim = 1

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Those at some rows."""
        at = rows + self.first
        return (self.packed.take(at >> 3) >> (at & 7).astype(np.uint8) & 1).astype(bool)

    def between(self, first: int, last: int) -> Bits:
        """Those from one row to another."""
        return Bits(self.packed, self.first + first, last - first)

    def unpacked(self) -> np.ndarray:
        """All of them, shape (size,)."""
        begin = self.first // 8
        bits = np.unpackbits(self.packed[begin:], count=self.first % 8 + self.size, bitorder="little")
        return bits[self.first % 8 :].view(bool)


@dataclass(frozen=True)
class Vector:
    """Values of one kind: `number`, `truth`, `text` (codes into `words`) or `day` (days since 1970).

    `valid` is False where missing; None where nothing is. A constant has shape ().
    """

    kind: str
    values: np.ndarray
    mask: np.ndarray | Bits | None = None
    words: tuple[str, ...] = ()

    @property
    def valid(self) -> np.ndarray | None:
        """Where there is a value; None where nothing is missing."""
        return self._unpacked if isinstance(self.mask, Bits) else self.mask

    @cached_property
    def _unpacked(self) -> np.ndarray:
        return self.mask.unpacked()

    def take(self, rows: np.ndarray) -> Vector:
        """The values at some rows."""
        everywhere = self.mask is None or self.mask.ndim == 0
        if self.values.ndim == 0 and everywhere:
            return self
        values = self.values if self.values.ndim == 0 else self.values.take(rows)
        return Vector(self.kind, values, self.mask if everywhere else self.mask.take(rows), self.words)

    def between(self, first: int, last: int) -> Vector:
        """The values from one row to another, as a view; of a column as it lies in a file."""
        mask = self.mask.between(first, last) if isinstance(self.mask, Bits) else self.mask
        mask = mask[first:last] if isinstance(mask, np.ndarray) else mask
        return Vector(self.kind, self.values[first:last], mask, self.words)

    def as_number(self) -> Vector:
        """Numbers of any width as float64; other kinds as they are."""
        if self.kind != "number" or self.values.dtype == np.float64:
            return self
        return Vector("number", self.values.astype(np.float64), self.mask)

    def holds(self, size: int) -> np.ndarray:
        """Where a condition is known to be true, shape (size,)."""
        if self.kind != "truth":
            raise NotCovered(f"a {self.kind} as a condition is left to the engine")
        return _spread(self.values if self.valid is None else self.values & self.valid, size)

    def known(self, size: int) -> np.ndarray:
        """Where there is a value, shape (size,)."""
        return _spread(_TRUE if self.valid is None else self.valid, size)

    def floats(self, size: int) -> np.ndarray:
        """The values as float64, shape (size,); whatever stands where one is missing means nothing."""
        if self.kind not in ("number", "truth"):
            raise NotCovered(f"a {self.kind} as a number is left to the engine")
        return _spread(self.values.astype(np.float64, copy=False), size)


def _spread(values: np.ndarray, size: int | tuple[int, ...]) -> np.ndarray:
    return values if values.ndim and values.shape != (1,) else np.broadcast_to(values, size)


def months_of(days: np.ndarray) -> np.ndarray:
    """Numbers of the months of days since 1970, int32; read off a table of the days between the first and the last."""
    if not len(days):
        return np.zeros(0, np.int32)
    first = int(days.min())
    between = np.arange(first, int(days.max()) + 1).astype("datetime64[D]").astype("datetime64[M]")
    return (between.astype(np.int32) + 1970 * 12).take(days - first)


_TRUE = np.array(True)
MISSING = Vector("missing", np.zeros(()), np.False_)


def constant(value: str | float | bool | None) -> Vector:
    """A constant."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return Vector("truth", np.array(value))
    if isinstance(value, str):
        return Vector("text", np.zeros((), np.int64), None, (value,))
    return Vector("number", np.array(value, np.float64))


def both(*vectors: Vector) -> np.ndarray | None:
    """Where none of some vectors is missing."""
    masks = [v.valid for v in vectors if v.valid is not None]
    if not masks:
        return None
    found = masks[0]
    for mask in masks[1:]:
        found = found & mask
    return found


def apply(node: Node, parts: list[Vector], libm: dict[str, Callable]) -> Vector:
    """A scalar operation on its parts.

    Parameters
    ----------
    node
        Its `op` says which.
    libm
        `ln`, `exp`, `pow`, ... as the engine's own library computes them; numpy's differ in the last bit.

    Raises
    ------
    NotCovered
        If the operation, or a value that it meets, is left to the engine.
    """
    op = node.op
    if op in _ARITHMETIC and len(parts) == 2:
        return _numeric(_ARITHMETIC[op], parts)
    if op == "-" and len(parts) == 1:
        return _numeric(np.negative, parts)
    if op in _COMPARISONS:
        return _compared(op, *parts)
    if op in ("and", "or"):
        return _logic(op, parts)
    if op in _ONE_OF_EACH:
        return _ONE_OF_EACH[op](*parts)
    if op == "coalesce":
        return _coalesced(parts)
    if op == "in":
        return _logic("or", [_compared("=", parts[0], part) for part in parts[1:]])
    if op == "case":
        return _case(parts)
    if op in ("floor_at", "cap_at"):
        return _bounded(op, *parts)
    if op in _ROUNDING and len(parts) == 1:
        return _numeric(_ROUNDING[op], parts)
    if op == "pi":
        return constant(float(np.pi))
    if op in libm:
        if op in ("ln", "log", "log2") and np.any(_known_values(parts[0]) <= 0):
            raise NotCovered("the logarithm of nothing is an error that the engine words")
        return _numeric(libm[op], parts)
    raise NotCovered(f"{op} is left to the engine")


def _known_values(vector: Vector) -> np.ndarray:
    return vector.values if vector.valid is None else vector.values[np.broadcast_to(vector.valid, vector.values.shape)]


def _numeric(function: Callable, parts: list[Vector]) -> Vector:
    if any(p.kind == "missing" for p in parts):
        return MISSING
    if any(p.kind != "number" for p in parts):
        raise NotCovered("arithmetic on what is no number is left to the engine")
    with np.errstate(all="ignore"):
        return Vector("number", np.asarray(function(*(p.values for p in parts)), np.float64), both(*parts))


_ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide}
_ROUNDING = {"abs": np.abs, "floor": np.floor, "ceil": np.ceil, "sqrt": np.sqrt, "sign": np.sign}


def _compared(op: str, left: Vector, right: Vector) -> Vector:
    if op in ("distinct", "same"):
        return _distinct(op, left, right)
    if "missing" in (left.kind, right.kind):
        return Vector("truth", np.zeros((), bool), np.False_)
    if left.kind != right.kind:
        raise NotCovered(f"comparing a {left.kind} with a {right.kind} is left to the engine")
    if left.kind == "text":
        return _same_words(op, left, right)
    a, b = left.values, right.values
    found = _COMPARISONS[op](a, b)
    if left.kind == "number":
        odd_left, odd_right = np.isnan(a), np.isnan(b)
        if odd_left.any() or odd_right.any():  # NaN is above all numbers and equal to itself
            order = np.where(odd_left & odd_right, 0, np.where(odd_left, 1, np.where(odd_right, -1, np.sign(a - b))))
            found = _COMPARISONS[op](order, 0)
    return Vector("truth", found, both(left, right))


_COMPARISONS: dict[str, Callable] = {
    "=": np.equal, "<>": np.not_equal, "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal,
    "distinct": np.not_equal, "same": np.equal,
}  # fmt: skip


def _same_words(op: str, left: Vector, right: Vector) -> Vector:
    if op not in ("=", "<>"):
        raise NotCovered("the order of texts is left to the engine")
    if left.values.ndim == 0:
        left, right = right, left
    if right.values.ndim != 0:
        raise NotCovered("comparing two columns of text is left to the engine")
    word = right.words[0]
    same = left.values == (left.words.index(word) if word in left.words else -1)
    return Vector("truth", same if op == "=" else ~same, both(left, right))


def _distinct(op: str, left: Vector, right: Vector) -> Vector:
    equal = _compared("=", left, right)
    size = np.broadcast_shapes(left.values.shape, right.values.shape)
    here, there = left.known(size), right.known(size)
    same = (here & there & equal.values) | (~here & ~there)
    return Vector("truth", same if op == "same" else ~same)


def _logic(op: str, parts: list[Vector]) -> Vector:
    """Three-valued AND and OR: what decides, decides, whatever is missing beside it."""
    if any(p.kind not in ("truth", "missing") for p in parts):
        raise NotCovered("a number as a truth is left to the engine")
    decisive = op == "or"
    decided, unknown = np.False_, np.False_
    for part in parts:
        truth = part.values.astype(bool, copy=False)
        hits = truth if decisive else ~truth
        if part.valid is None:
            decided = decided | hits
        else:
            decided, unknown = decided | (hits & part.valid), unknown | ~part.valid
    values = decided if decisive else ~decided
    return Vector("truth", np.asarray(values), None if unknown is np.False_ else np.asarray(decided | ~unknown))


def _not(part: Vector) -> Vector:
    if part.kind == "missing":
        return Vector("truth", np.zeros((), bool), np.False_)
    if part.kind != "truth":
        raise NotCovered("the opposite of what is no truth is left to the engine")
    return Vector("truth", ~part.values, part.valid)


def _is_missing(part: Vector) -> Vector:
    return Vector("truth", ~part.known(part.values.shape))


def _is_known(part: Vector) -> Vector:
    return Vector("truth", np.array(part.known(part.values.shape)))


def _nullif(value: Vector, other: Vector) -> Vector:
    equal = _compared("=", value, other)
    struck = equal.values if equal.valid is None else equal.values & equal.valid
    return Vector(value.kind, value.values, ~struck if value.valid is None else value.valid & ~struck, value.words)


def _as_double(part: Vector) -> Vector:
    if part.kind not in ("number", "truth"):
        raise NotCovered(f"a {part.kind} as a number is left to the engine")
    return Vector("number", part.values.astype(np.float64, copy=False), part.valid)


_ONE_OF_EACH: dict[str, Callable[..., Vector]] = {
    "not": _not,
    "is null": _is_missing,
    "is not null": _is_known,
    "nullif": _nullif,
    "double": _as_double,
}


def _merged(choices: list[tuple[np.ndarray | None, Vector]]) -> Vector:
    """The first vector whose condition holds at each place; a condition of None always holds."""
    kinds = {v.kind for _, v in choices} - {"missing"}
    if not kinds:
        return MISSING
    if len(kinds) > 1 or kinds == {"text"}:
        raise NotCovered("a choice among values of several kinds, or texts, is left to the engine")
    values: np.ndarray | None = None
    valid: np.ndarray = np.False_
    for condition, vector in reversed(choices):
        known = np.True_ if vector.valid is None else vector.valid
        if condition is None:
            values, valid = vector.values, known
            continue
        values = vector.values if values is None else np.where(condition, vector.values, values)
        valid = np.where(condition, known, valid)
    (kind,) = kinds
    values = values.astype(bool if kind == "truth" else np.float64 if kind == "number" else np.int64, copy=False)
    return Vector(kind, values, None if np.all(valid) else valid)


def _coalesced(parts: list[Vector]) -> Vector:
    if parts[0].valid is None:
        return parts[0]
    return _merged([(None if p.valid is None else p.valid, p) for p in parts])


def _bounded(op: str, value: Vector, bound: Vector) -> Vector:
    if value.kind == bound.kind == "number" and bound.values.ndim == 0 and bound.valid is None:
        a, b = value.values, bound.values  # NaN is above all numbers
        return Vector("number", np.where(a < b if op == "floor_at" else ~(a <= b), b, a), value.mask)
    beyond = _compared("<" if op == "floor_at" else ">", value, bound)
    return _case([beyond, bound, _is_known(bound), value, MISSING])


def _case(parts: list[Vector]) -> Vector:
    *checks, otherwise = parts
    choices: list[tuple[np.ndarray | None, Vector]] = []
    for when, then in zip(checks[::2], checks[1::2], strict=True):
        choices.append((when.holds(when.values.shape), then))
    return _merged([*choices, (None, otherwise)])
