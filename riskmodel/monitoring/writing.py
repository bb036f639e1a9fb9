"""The tables of the report as files: Parquet, CSV and one workbook for each part."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from riskmodel.errors import CatalogueError
from riskmodel.monitoring.part import Found
from riskmodel.settings import find_config

MOST_IN_A_SHEET = 100_000
"""Rows of a table in the workbook; a longer one is in Parquet and CSV alone, and the sheet says so."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_WORDS = "monitoring_words.yaml"
_LANGS = ("en", "zh")


@dataclass(frozen=True)
class Words:
    """English and Chinese of tables, columns and values of one part; `bulletin`: what the bulletin shows of tables."""

    part: str
    tables: Mapping[str, Mapping[str, str]]
    columns: Mapping[str, Mapping[str, str]]
    values: Mapping[str, Mapping[str, Mapping[str, str]]]
    bulletin: Mapping[str, Sequence[str]]

    def table(self, name: str) -> tuple[str, str]:
        """Title of a table in English and Chinese."""
        return self._both(self.tables, name, f"table {name!r}")

    def column(self, name: str) -> tuple[str, str]:
        """Heading of a column in English and Chinese."""
        return self._both(self.columns, name, f"column {name!r}")

    def value(self, column: str, value: str) -> tuple[str, str]:
        """A value in English and Chinese where the words name it, else as it is; of a list divided by `; `, each item."""
        known = self.values.get(column)
        if not known:
            return value, value
        items = [item.partition(" x") for item in value.split("; ")]
        texts = [
            [known.get(i, {}).get(lang, i) + (f" ×{times}" if times else "") for i, _, times in items] for lang in _LANGS
        ]
        return "; ".join(texts[0]), "；".join(texts[1])

    def _both(self, known: Mapping[str, Mapping[str, str]], name: str, what: str) -> tuple[str, str]:
        if name not in known:
            raise CatalogueError(f"{_WORDS}: {what} of part {self.part!r} has no words: add its en and zh.")
        return known[name]["en"], known[name]["zh"]


@cache
def words_of(part: str) -> Words:
    """The words of a part, with those that all parts share."""
    content = yaml.safe_load(find_config(_WORDS).read_text(encoding="utf-8"))
    common, own = content["common"], content.get(part, {})
    kinds = {kind: {**common.get(kind, {}), **own.get(kind, {})} for kind in ("tables", "columns", "values")}
    defined = {name for name, words in kinds["values"].items() if isinstance(words, str)}
    kinds["values"] |= {name: {**_defined(kinds["values"][name]), "*": _EVERY} for name in defined}
    return Words(part, **kinds, bulletin=own.get("bulletin", {}))


_EVERY = {"en": "all", "zh": "全部"}


def _defined(what: str) -> dict[str, dict[str, str]]:
    """The words that `drivers.yaml`, `measures.yaml` or `features.yaml` have for what they define."""
    from riskmodel.catalogue import load_catalogue

    return {row.name: {"en": row.en, "zh": row.zh} for row in getattr(load_catalogue(), what)}


def write_part(stage: Path, name: str, found: Found) -> None:
    """Write the tables of a part to `stage/NAME/`, its workbook to `stage/NAME.xlsx`."""
    folder = stage / name
    folder.mkdir()
    for table, rows in found.tables.items():
        rows.to_parquet(folder / f"{table}.parquet", index=False)
        _safe(rows).to_csv(folder / f"{table}.csv", index=False, encoding="utf-8-sig", lineterminator="\n")
    _write_workbook(stage / f"{name}.xlsx", words_of(name), found)


def write_summary(stage: Path, about: Mapping[str, Any], found: Mapping[str, Found]) -> None:
    """Write `summary.json`: figures, notes and numbers of rows by part."""
    parts = {
        name: {
            "figures": dict(part.figures),
            "notes": [{"en": en, "zh": zh} for en, zh in part.notes],
            "rows": {table: len(rows) for table, rows in part.tables.items()},
        }
        for name, part in found.items()
    }
    content = json.dumps({**about, "parts": parts}, ensure_ascii=False, indent=1, default=str)
    (stage / "summary.json").write_text(content, encoding="utf-8")


def _safe(rows: pd.DataFrame) -> pd.DataFrame:
    """Texts that a spreadsheet would take for a formula get an apostrophe before them."""
    safe = rows.copy(deep=False)
    for column in rows.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in rows.dtypes]]:
        texts = rows[column]
        risky = texts.map(lambda value: isinstance(value, str) and value.startswith(_FORMULA)).astype(bool)
        if risky.any():
            safe[column] = texts.where(~risky, "'" + texts.astype(str))
    return safe


def _write_workbook(path: Path, words: Words, found: Found) -> None:
    """A sheet of notes, then a sheet a table: text stays text, nothing is a formula or a link."""
    import xlsxwriter

    how = {"strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True, "constant_memory": True}
    with xlsxwriter.Workbook(path, how) as book:
        book.set_properties({"created": dt.datetime(2000, 1, 1)})  # the same tables are the same bytes
        head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        wrap = book.add_format({"text_wrap": True, "valign": "top"})
        formats = {
            "head": head,
            "share": book.add_format({"num_format": "0.0%"}),
            "whole": book.add_format({"num_format": "#,##0"}),
            "number": book.add_format({"num_format": "#,##0.00"}),
        }
        front = book.add_worksheet("notes 说明")
        front.set_column(0, 1, 70, wrap)
        for row, (en, zh) in enumerate([words.table("notes"), *found.notes]):
            front.write_string(row, 0, en, head if row == 0 else wrap)
            front.write_string(row, 1, zh, head if row == 0 else wrap)
        for name, rows in found.tables.items():
            _write_sheet(book.add_worksheet(name[:31]), words, name, rows, formats)


def _write_sheet(sheet: Any, words: Words, name: str, rows: pd.DataFrame, formats: Mapping[str, Any]) -> None:
    sheet.write_string(0, 0, "  ".join(words.table(name)), formats["head"])
    if len(rows) > MOST_IN_A_SHEET:
        sheet.write_string(1, 0, f"{len(rows):,} rows: see {name}.csv / 共{len(rows)}行，见 {name}.csv")
        return
    kinds = {column: _kind(rows[column]) for column in rows}
    for place, column in enumerate(rows):
        sheet.set_column(place, place, 22 if kinds[column] is None else 14)
        sheet.write_string(1, place, "\n".join(words.column(column)), formats["head"])
    for number, row in enumerate(rows.itertuples(index=False), 2):
        for place, (column, value) in enumerate(zip(rows, row, strict=True)):
            if isinstance(value, str):
                sheet.write_string(number, place, " / ".join(dict.fromkeys(words.value(column, value))))
            elif pd.isna(value):
                continue
            elif isinstance(value, bool):
                sheet.write_string(number, place, "yes / 是" if value else "no / 否")
            elif isinstance(value, dt.date):
                sheet.write_string(number, place, value.isoformat()[:10])
            else:
                kind = "share" if column in _SHARES or column.endswith("_share") else kinds[column]
                sheet.write_number(number, place, float(value), formats[kind or "number"])
    sheet.freeze_panes(2, 1)
    sheet.autofilter(1, 0, max(len(rows) + 1, 2), max(len(rows.columns) - 1, 0))
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)


_SHARES = ("share", "share_low", "share_high")
"""Columns that are shares: these, and whatever ends in `_share`."""


def _kind(column: pd.Series) -> str | None:
    if pd.api.types.is_integer_dtype(column.dtype):
        return "whole"
    return "number" if pd.api.types.is_float_dtype(column.dtype) else None
