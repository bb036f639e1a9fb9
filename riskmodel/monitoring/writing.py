"""The tables of the report as files: Parquet, CSV and one workbook for each part."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pyarrow import csv as arrow_csv

from riskmodel.alerts.spreadsheet import row_height, text_width, write_filled
from riskmodel.display import cells, plain
from riskmodel.errors import CatalogueError
from riskmodel.monitoring.part import Found
from riskmodel.register.contract import SAFE_LOADER
from riskmodel.settings import find_config

_WORDS = "monitoring_words.yaml"
_LANGS = ("en", "zh")


@dataclass(frozen=True)
class Words:
    """English and Chinese of tables, columns and values of one part.

    `named_by`: by column, which other column says whose words hold for its values; `bulletin`: what the bulletin shows.
    """

    part: str
    tables: Mapping[str, Mapping[str, str]]
    columns: Mapping[str, Mapping[str, str]]
    values: Mapping[str, Mapping[str, Mapping[str, str]]]
    named_by: Mapping[str, Mapping[str, Mapping[str, str]]]
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

    def naming(self, column: str, row: Mapping[str, Any]) -> str:
        """The column whose words hold for a value in its row: the same word may be a kind of help and a unit."""
        for by, names in self.named_by.get(column, {}).items():
            return names[row[by]]
        return column

    def _both(self, known: Mapping[str, Mapping[str, str]], name: str, what: str) -> tuple[str, str]:
        if name not in known:
            raise CatalogueError(f"{_WORDS}: {what} of part {self.part!r} has no words: add its en and zh.")
        return known[name]["en"], known[name]["zh"]


@cache
def words_of(part: str) -> Words:
    """The words of a part, with those that all parts share."""
    content = _all_words()
    common, own = content["common"], content.get(part, {})
    kinds = {kind: {**common.get(kind, {}), **own.get(kind, {})} for kind in ("tables", "columns", "values")}
    defined = {name for name, words in kinds["values"].items() if isinstance(words, str)}
    kinds["values"] |= {name: {**_defined(kinds["values"][name]), "*": _EVERY} for name in defined}
    return Words(part, **kinds, named_by=own.get("named_by", {}), bulletin=own.get("bulletin", {}))


@cache
def _all_words() -> dict[str, Any]:
    return yaml.load(find_config(_WORDS).read_text(encoding="utf-8"), SAFE_LOADER)


_EVERY = {"en": "all", "zh": "全部"}


def _defined(what: str) -> dict[str, dict[str, str]]:
    """The words that `drivers.yaml`, `measures.yaml` or `features.yaml` have for what they define."""
    from riskmodel.catalogue import load_catalogue

    return {row.name: {"en": row.en, "zh": row.zh} for row in getattr(load_catalogue(), what)}


def write_part(stage: Path, name: str, found: Found, sheet_rows: int) -> None:
    """Write the tables of a part to `stage/NAME/`, its workbook with the first rows of each to `stage/NAME.xlsx`."""
    folder = stage / name
    folder.mkdir()
    for table, rows in found.tables.items():
        _typed(rows).to_parquet(folder / f"{table}.parquet", index=False)
        write_csv(cells(rows), folder / f"{table}.csv")
    _write_workbook(stage / f"{name}.xlsx", words_of(name), found, sheet_rows)


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, a column of no type that holds no value as text: the files of a month are of the types of any other."""
    return rows.astype({name: "str" for name in rows if rows[name].dtype == object and rows[name].isna().all()})


def write_csv(rows: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV for a spreadsheet (UTF-8 with a mark), the same bytes as pandas writes, in a third of the time.

    Where a value would have to be quoted, or is of another kind than text, number and day, pandas writes the file.

    >>> import tempfile
    >>> rows = pd.DataFrame({"id": ["a", None], "share": [1e-5, 2.0], "on": pd.to_datetime(["2023-05-01", None])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(rows, Path(folder) / "rows.csv")
    ...     (Path(folder) / "rows.csv").read_text(encoding="utf-8-sig")
    'id,share,on\\na,1e-05,2023-05-01\\n,2.0,\\n'
    """
    columns = [_as_text(rows[name]) for name in rows]
    if len(columns) < 2 or any(column is None for column in columns) or any(map(_QUOTED.search, rows)):
        rows.to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\n")
        return
    table = pa.table(columns, names=list(rows)).combine_chunks()  # an empty first chunk is written as garbage (pyarrow 25)
    with path.open("wb") as file:
        file.write(("\ufeff" + ",".join(rows) + "\n").encode())
        arrow_csv.write_csv(table, file, arrow_csv.WriteOptions(include_header=False, quoting_style="none"))


_QUOTED = re.compile(r'[,"\r\n]')


def _as_text(column: pd.Series) -> pa.Array | pa.ChunkedArray | None:
    """The values of a column as pandas writes them; None where one would be quoted, or is of another kind."""
    try:
        values = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # values of several kinds
        return None
    kind = values.type
    if pa.types.is_float64(kind):
        return _told(values)
    if pa.types.is_integer(kind):
        return values.cast(pa.string())
    if pa.types.is_timestamp(kind) and kind.tz is None and (column.dropna() == column.dropna().dt.normalize()).all():
        return values.cast(pa.date32()).cast(pa.string())
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return values if texts and not pc.any(pc.match_substring_regex(values, _QUOTED.pattern)).as_py() else None


def _told(numbers: pa.Array) -> pa.Array:
    """Numbers as Python writes them: as Arrow does, but for whole, very large and very small ones."""
    values = numbers.to_numpy(zero_copy_only=False)
    size = np.abs(values)
    other = np.flatnonzero((size < 1e-4) | (size >= 1e10) | (values == np.trunc(values)))
    texts = numbers.cast(pa.string())
    if not len(other):
        return texts
    mask = np.zeros(len(values), bool)
    mask[other] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.array([repr(value) for value in values[other].tolist()]))


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


def _write_workbook(path: Path, words: Words, found: Found, sheet_rows: int) -> None:
    """A sheet of notes, then a sheet a table: text stays text, nothing is a formula or a link."""
    import xlsxwriter

    empty, tables = io.BytesIO(), {}
    with xlsxwriter.Workbook(empty, {"in_memory": True}) as book:
        book.set_properties({"created": dt.datetime(2000, 1, 1)})  # the same tables are the same bytes
        head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        wrap = book.add_format({"text_wrap": True, "valign": "top"})
        formats = {
            "title": book.add_format({"bold": True}),
            "head": head,
            "share": book.add_format({"num_format": "0.0%"}),
            "whole": book.add_format({"num_format": "#,##0"}),
            "number": book.add_format({"num_format": "#,##0.00"}),
            "text": book.add_format(),
            "day": book.add_format({"num_format": "yyyy-mm-dd"}),
            "short": book.add_format({"num_format": '"0.99"'}),
        }
        front = book.add_worksheet("notes 说明")
        front.set_column(0, 1, _NOTE, wrap)
        front.set_landscape()
        front.fit_to_pages(1, 0)
        for row, (en, zh) in enumerate([words.table("notes"), *found.notes]):
            front.set_row(row, row_height([(en, _NOTE), (zh, _NOTE)]))
            front.write_string(row, 0, plain(en), head if row == 0 else wrap)
            front.write_string(row, 1, plain(zh), head if row == 0 else wrap)
        for name, rows in found.tables.items():
            title = "  ".join(words.table(name))
            if len(rows) > sheet_rows:
                title += f"  ({sheet_rows:,} of {len(rows):,} rows, all in {name}.csv / 共{len(rows)}行，全部见 {name}.csv)"
            shown = rows[:sheet_rows]
            told = pd.DataFrame({c: _in_words(shown, c, words) for c in shown})
            _write_titles(book.add_worksheet(name[:31]), words, title, shown, told, formats)
            tables[len(tables) + 2] = (_FIRST, told)
    write_filled(empty, path, tables)


_NOTE, _NARROW, _WIDEST = 70, 14, 48
"""Widths of columns, characters: of a note, of a number, and most of a text."""
_BOLD = 0.75
"""Room that is left where letters are bold and lines break between words."""
_FIRST = 3
"""Row of a sheet at which its table begins: the title and the headings stand above."""


def _write_titles(
    sheet: Any, words: Words, title: str, rows: pd.DataFrame, told: pd.DataFrame, formats: Mapping[str, Any]
) -> None:
    """All of a sheet but its rows as they are `told`, in whose place a row of blanks shows the look of each column."""
    last = max(len(rows) + 1, _FIRST - 1), max(len(rows.columns) - 1, 0)
    sheet.write_string(0, 0, title, formats["title"])
    heads: list[tuple[str, float]] = []
    sheet.write_blank(*last, None, formats["text"])
    for place, column in enumerate(rows):
        kind = _kind(rows[column])
        width = min(max(_NARROW, *(text_width(text) + 2 for text in _texts(told[column]))), _WIDEST)
        head = "\n".join(words.column(column))
        heads.append((head, width * _BOLD))
        sheet.set_column(place, place, width)
        sheet.write_string(1, place, head, formats["head"])
        sheet.write_blank(_FIRST - 1, place, None, formats[kind])
        if column in OVER_LINE:
            short = {
                "type": "cell",
                "criteria": "between",
                "minimum": 0.995,
                "maximum": 1 - 1e-12,
                "format": formats["short"],
            }
            sheet.conditional_format(_FIRST - 1, place, last[0], place, short)
    sheet.set_row(1, row_height(heads))
    sheet.freeze_panes(_FIRST - 1, 1)
    sheet.autofilter(1, 0, *last)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(1)


def _texts(column: pd.Series) -> list[str]:
    """The texts of a column, each once, and an empty one."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return [""]
    return ["", *(text for text in column.dropna().unique() if isinstance(text, str))]


def _in_words(rows: pd.DataFrame, name: str, words: Words) -> pd.Series:
    """The values of a column as a sheet shows them: numbers as they are, days counted, else text in both languages."""
    column = rows[name]
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return (column - _DAY_NOUGHT) / pd.Timedelta(days=1)
    if name in words.named_by:
        said = [_said(row[name], words.naming(name, row), words) for row in rows.to_dict("records")]
        return pd.Series(said, rows.index, object)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column
    if isinstance(column.dtype, pd.StringDtype) and not words.values.get(name):
        return column  # an id is said as it is
    said = {value: _said(value, name, words) for value in column.dropna().unique()}
    return column.astype(object).map(said)


def _said(value: Any, column: str, words: Words) -> Any:
    if isinstance(value, str):
        return " / ".join(dict.fromkeys(words.value(column, value)))
    if isinstance(value, bool | np.bool_):
        return "yes / 是" if value else "no / 否"
    return str(value)[:10] if isinstance(value, dt.date | np.datetime64) else value


OVER_LINE = ("ratio", "ratio_then", "ratio_now", "ratio_without_support")
"""Columns of income over the line: what lies below the line is never shown as 1.00."""
_SHARES = ("share", "share_low", "share_high")
"""Endings of columns that are shares."""


_DAY_NOUGHT = pd.Timestamp("1899-12-30")
"""Spreadsheets count days from here."""


def _kind(column: pd.Series) -> str:
    """The look of a column: `share`, `day`, `whole`, `number` or `text`."""
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return "day"
    if column.name.endswith(_SHARES):
        return "share"
    if pd.api.types.is_integer_dtype(column.dtype):
        return "whole"
    return "number" if pd.api.types.is_float_dtype(column.dtype) or column.dtype == object else "text"
