"""Conditions of the catalogue, asked of a table of features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from riskmodel.catalogue import Condition
from riskmodel.catalogue.expressions import Expression
from riskmodel.engine import engine


def holds(expressions: Sequence[Expression], features: pd.DataFrame) -> list[pd.Series]:
    """Whether each expression holds in each row: True, False, or <NA> where it cannot be known.

    Columns that the table lacks read as unknown.
    """
    answer = _asked(expressions, features, "BOOLEAN")
    return [pd.Series(answer[c].to_numpy(), index=features.index, dtype="boolean") for c in answer]


def values(expressions: Sequence[Expression], features: pd.DataFrame) -> list[np.ndarray]:
    """The value of each expression in each row, NaN where it cannot be known."""
    answer = _asked(expressions, features, "DOUBLE")
    return [answer[c].to_numpy(float, na_value=np.nan) for c in answer]


def _asked(expressions: Sequence[Expression], features: pd.DataFrame, kind: str) -> pd.DataFrame:
    """One column per expression, rows as given."""
    if not expressions:
        return pd.DataFrame(index=features.index)
    needed = sorted(set().union(*(e.columns for e in expressions)))
    table = {"row_no": pa.array(np.arange(len(features)))}
    columns = []
    for name in needed:
        given = pa.array(features[name], from_pandas=True) if name in features else pa.nulls(len(features), pa.float64())
        number = pa.types.is_floating(given.type) or pa.types.is_integer(given.type) or pa.types.is_null(given.type)
        table[name] = given
        columns.append(f"CAST({name} AS DOUBLE) AS {name}" if number else name)
    asked = ", ".join(f"CAST(({e.text}) AS {kind}) AS c{i}" for i, e in enumerate(expressions))
    given = ", ".join(["row_no", *columns])
    with engine() as connection:
        connection.register("given", pa.table(table))
        return connection.execute(f"SELECT {asked} FROM (SELECT {given} FROM given) ORDER BY row_no").df()


def ask(conditions: Sequence[Condition], features: pd.DataFrame) -> pd.DataFrame:
    """`holds` for named conditions: one nullable column each."""
    found = holds([c.when for c in conditions], features)
    return pd.DataFrame({c.name: f for c, f in zip(conditions, found, strict=True)}, index=features.index)


def words(template: str, values: dict[str, Any]) -> str:
    """A sentence of the catalogue with a household's figures filled in.

    `{feature}` is filled with a whole number or one decimal, `{feature:%}` with a percentage, `{feature:?words}` with the
    words where the feature is 1, and else with nothing; no month ago is this month.

    >>> words("{n} member(s), {share:%}{doubted:? (not verified)}", {"n": 2.0, "share": 0.314, "doubted": 1.0})
    '2 member(s), 31% (not verified)'
    >>> words("flood {n} month(s) ago", {"n": 0.0}), words("{n}个月前受灾", {"n": 0.0}), words("{n}个月前受灾", {"n": 10.0})
    ('flood this month', '本月受灾', '10个月前受灾')
    """
    parts = (text if name is None else text + _filled(name, form, values) for text, name, form in _parsed(template))
    said = "".join(parts)
    for ago, now in _THIS_MONTH.items():
        said = ago.sub(now, said)
    return said


_THIS_MONTH = {re.compile(r"\b0 month\(s\) ago"): "this month", re.compile(r"(?<![\d.])0个月前"): "本月"}


@cache
def _parsed(template: str) -> list[tuple[str, str | None, str | None]]:
    """The parts of a sentence: text, and the figure that follows it, if any, with its form."""
    return [part[:3] for part in Formatter().parse(template)]


def _filled(name: str, form: str | None, values: dict[str, Any]) -> str:
    if form and form.startswith("?"):
        return form[1:] if values.get(name) == 1 else ""
    value = values[name]
    if value is None or value != value:
        return "?"
    if form == "%":
        return f"{float(value):.0%}"
    number = round(float(value), 1)
    return f"{number:.0f}" if number == int(number) else f"{number:.1f}"
