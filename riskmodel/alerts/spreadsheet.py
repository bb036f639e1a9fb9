"""Tables as a workbook: text stays text, nothing is a formula or a link.

xlsxwriter makes the workbook: titles, looks, widths, filter, print layout. The rows are put into its sheets as XML
(ECMA-376, part 1, 18.3.1: `sheetData`), a column at a time: cell by cell they would take as long as all figures in them.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from math import ceil, isfinite
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pandas as pd

from riskmodel.display import plain

_SHARES = ("risk", "objective_share", "subjective_share", "verdict_confidence")
_LONG, _WIDE = ("reason",), ("measures", "household_id")
_LINE, _HIGHEST = 15, 405
"""Height of a line of text, and of the highest row that Excel takes, points."""
_ROOM = 1.1
"""Characters of text in the room of a digit, by which columns are measured."""
_MOST_TEXT = 32_767
"""Characters that a cell holds."""
_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_WRITTEN = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\ufffe", ""), ("\uffff", ""))


def write_excel(alerts: pd.DataFrame, path: Path) -> None:
    """Write a table as a workbook; missing values are empty cells. The same table gives the same bytes."""
    write_filled(_without_rows(alerts), path, {1: (2, alerts)}, {1: _heights(alerts)})


def row_height(cells: Iterable[tuple[str, float]]) -> float:
    """Height of a row, points, that shows wrapped texts whole, each with the width of its column.

    Excel would find it by itself where a file says nothing; other programs put the lines over the next rows.

    >>> row_height([("one line", 20), ("两行中的第一行，很长很长很长\\n第二行", 30)])
    30
    """
    return min(_LINE * max((_lines(text, width) for text, width in cells), default=1), _HIGHEST)


def text_width(text: str) -> int:
    """Characters that a text takes in one line; a wide one takes the room of two, as it does in bytes of GB 18030.

    >>> text_width("3户")
    3
    """
    return len(text.encode("gb18030", "replace"))


def _lines(text: str, width: float) -> int:
    if "\n" in text:
        return sum(_lines(part, width) for part in text.split("\n"))
    return max(1, ceil(text_width(text) / (width * _ROOM)))


def _width(name: str) -> int:
    return 70 if name.startswith(_LONG) else 24 if name in _WIDE else max(14, len(name) + 2)


def _heights(alerts: pd.DataFrame) -> list[float]:
    """The height of each row of the alerts."""
    lines = np.ones(len(alerts))
    for name in alerts.select_dtypes(exclude=["number", "bool"]):
        known = {text: _lines(text, _width(name)) for text in alerts[name].dropna().unique() if isinstance(text, str)}
        lines = np.maximum(lines, alerts[name].map(known).fillna(1).to_numpy(float))
    return np.minimum(_LINE * lines, _HIGHEST).tolist()


def write_filled(
    empty: io.BytesIO,
    path: Path,
    tables: Mapping[int, tuple[int, pd.DataFrame]],
    heights: Mapping[int, Sequence[float]] | None = None,
) -> None:
    """Write a workbook with the rows of tables in it; missing values are empty cells.

    Parameters
    ----------
    empty
        The workbook as xlsxwriter makes it. In each sheet to be filled a row of blanks, one a column, shows the looks.
    tables
        By the sheet's number, from 1: the number of its row of blanks, where the table begins, and the table. What stands
        below that row is replaced.
    heights
        By the sheet's number, the height of each row of its table, points; where there is none, a line of text.
    """
    filled = {f"xl/worksheets/sheet{n}.xml": (*table, (heights or {}).get(n)) for n, table in tables.items()}
    with ZipFile(empty) as parts, ZipFile(path, "w", ZIP_DEFLATED) as book:
        for part in parts.infolist():
            content = parts.read(part)
            if part.filename in filled:
                content = _filled(content.decode(), *filled[part.filename]).encode()
            book.writestr(part, content)


def _without_rows(alerts: pd.DataFrame) -> io.BytesIO:
    """The workbook with its titles; a row of blanks shows the look of each column, and one blank how far the table goes."""
    import xlsxwriter

    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        book.set_properties({"created": dt.datetime(2000, 1, 1)})
        sheet = book.add_worksheet("alerts")
        head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        wrap = book.add_format({"text_wrap": True, "valign": "top"})
        share = book.add_format({"num_format": "0%", "valign": "top"})
        last = max(len(alerts), 1), len(alerts.columns) - 1
        sheet.write_blank(*last, None, wrap)
        for column, name in enumerate(alerts.columns):
            sheet.set_column(column, column, _width(name))
            sheet.write_string(0, column, name, head)
            sheet.write_blank(1, column, None, share if name in _SHARES else wrap)
        sheet.set_row(0, row_height((name, _width(name)) for name in alerts))
        sheet.freeze_panes(1, 1)
        sheet.autofilter(0, 0, *last)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0)
    return made


def _filled(sheet: str, first: int, rows: pd.DataFrame, heights: Sequence[float] | None) -> str:
    """The sheet's XML with the rows of the table in place of its rows of blanks."""
    above, blanks, below = re.split(rf'(?=<row r="{first}")|(?=</sheetData>)', sheet)
    looks = re.findall(rf'<c r="([A-Z]+){first}"((?: s="\d+")?)/>', blanks)
    columns = [_cells(rows[name], *look, first) for name, look in zip(rows, looks, strict=True)]
    high = repeat("") if heights is None else (f' ht="{height:g}" customHeight="1"' for height in heights)
    made = (
        f'<row r="{number}"{height}>{"".join(cells)}</row>'
        for number, (height, cells) in enumerate(zip(high, zip(*columns, strict=True), strict=False), first)
    )
    return "".join((above, *made, below))


def _cells(values: pd.Series, column: str, style: str, first: int) -> Iterator[str]:
    """The cells of a column, from the first row of the table on."""
    known: dict[str, str] = {}
    for row, (value, missing) in enumerate(zip(values.tolist(), values.isna().tolist(), strict=True), first):
        place = f'<c r="{column}{row}"{style}'
        if missing:
            yield ""
        elif isinstance(value, str):
            if (text := known.get(value)) is None:
                text = known[value] = _text(value)
            yield f'{place} t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
        elif isfinite(value):
            yield f"{place}><v>{float(value):.16G}</v></c>"
        else:
            yield f'{place} t="e"><v>#DIV/0!</v></c>'


def _text(value: str) -> str:
    """Harmless text as XML; what would read as an escaped character is kept as it is written."""
    text = plain(value)[:_MOST_TEXT]
    if text.isalnum():
        return text
    if "_x" in text:
        text = _ESCAPED.sub("_x005F_", text)
    for character, written in _WRITTEN:
        text = text.replace(character, written)
    return text
