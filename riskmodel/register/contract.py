"""The register's contract, as read from `contract.yaml`: its tables and columns, and what they hold."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads YAML by libyaml where it is there, ten times as fast."""

INCOME = ("wage_income", "production_income", "property_income", "transfer_income")
"""Columns of records that make up gross income."""
COSTS = ("production_cost", "selfpay")
"""Columns of records that are taken from it."""


@dataclass(frozen=True)
class Column:
    """One column of a table; the header of `contract.yaml` explains each property.

    `min` and `max` are inclusive, in the column's unit. `values` is empty where any short code is allowed.
    """

    name: str
    type: str
    en: str
    zh: str
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] = ()
    zh_values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    audit: bool = False
    guarantee: bool = False
    revealed_by: str | None = None
    at_most: str | None = None
    not_before: str | None = None
    ahead: bool = False

    @property
    def dimension(self) -> str | None:
        """The part of the unit that a source may state otherwise: `yuan` of `yuan/12m`."""
        return self.unit.split("/")[0] if self.unit else None


@dataclass(frozen=True)
class Rule:
    """A condition over one row that must not be true. `columns` are those it reads."""

    name: str
    columns: tuple[str, ...]
    sql: str
    en: str
    zh: str


@dataclass(frozen=True)
class Table:
    """One table. `one_of`: one of these must be filled. `dated_by`: the day or month a row is about."""

    name: str
    en: str
    zh: str
    key: tuple[str, ...]
    required: tuple[str, ...]
    columns: Mapping[str, Column]
    one_of: tuple[str, ...] = ()
    dated_by: str | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def order(self) -> tuple[str, ...]:
        """Columns that rows are sorted by: household (or what else comes first in the key), date, day of knowing, key."""
        known = ["known_at"] if "known_at" in self.columns else []
        return tuple(dict.fromkeys([self.key[0], *filter(None, [self.dated_by]), *known, *self.key]))

    @property
    def later_facts(self) -> dict[str, str]:
        """Columns that are later facts than their row, each with the day that reveals it."""
        return {name: column.revealed_by for name, column in self.columns.items() if column.revealed_by}


@dataclass(frozen=True)
class Contract:
    """All tables, the units that a source may use (`units[dimension][unit]` is the factor), and what the files hold that are
    given to a command `beside` the register."""

    tables: Mapping[str, Table]
    units: Mapping[str, Mapping[str, float]]
    beside: Mapping[str, Table]


@cache
def load_contract() -> Contract:
    """The contract that ships with the package.

    >>> load_contract().tables["records"].columns["wage_income"].zh
    '工资性收入'
    """
    content = yaml.load(Path(__file__).with_name("contract.yaml").read_text(encoding="utf-8"), SAFE_LOADER)
    tables, beside = ({name: _table(name, row) for name, row in content[kind].items()} for kind in ("tables", "beside"))
    units = {name: MappingProxyType(dict(factors)) for name, factors in content["units"].items()}
    return Contract(MappingProxyType(tables), MappingProxyType(units), MappingProxyType(beside))


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known name is close, else nothing.

    >>> meant("wage_incom", ["wage_income", "line"])
    "; did you mean 'wage_income'?"
    """
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _table(name: str, row: dict[str, Any]) -> Table:
    return Table(
        name=name,
        en=row["label"]["en"],
        zh=row["label"]["zh"],
        key=tuple(row["key"]),
        required=tuple(row["required"]),
        columns=MappingProxyType({c: _column(c, properties) for c, properties in row["columns"].items()}),
        one_of=tuple(row.get("one_of", ())),
        dated_by=row.get("dated_by"),
        rules=tuple(Rule(**{**r, "columns": tuple(r["columns"])}) for r in row.get("rules", ())),
    )


def _column(name: str, properties: dict[str, Any]) -> Column:
    return Column(
        name=name,
        **{
            **properties,
            "values": tuple(properties.get("values", ())),
            "zh_values": MappingProxyType(properties.get("zh_values", {})),
        },
    )
