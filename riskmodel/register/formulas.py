"""Formulas of a workbook that no spreadsheet has computed: a reader of values takes such a cell for a blank one.

A program that writes a workbook writes its formulas and leaves it to the spreadsheet to compute them when it is opened. Some
write no value (openpyxl), some a 0 (XlsxWriter) and, in the workbook, that all is to be computed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

_BOOK, _LINKS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
_CHUNK = 1 << 22


def uncomputed(path: Path, sheet: str) -> Iterator[tuple[int, int]]:
    """Cells of a sheet of an .xlsx or .xlsm workbook with a formula that was never computed.

    The sheet is searched as bytes, in pieces, so that a large one costs little beside its reading.

    Yields
    ------
    tuple[int, int]
        Column, from 0, and row, from 1, as the spreadsheet shows it.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as book:
        part, asks = _part_of(book, sheet)
        if part not in book.namelist():
            return
        with book.open(part) as file:
            held = file.read(_CHUNK)
            root = re.search(rb"<(\w+:)?worksheet", held)
            mark = root[1] or b"" if root else b""
            cell, formula = b"<" + mark + b"c ", _formula(mark, asks)
            while held:
                more = file.read(_CHUNK)
                end = held.rfind(cell) if more else len(held)  # the last cell may go on in the next piece
                whole = held[: max(end, 0)]
                if b"<" + mark + b"f" in whole:
                    for found in formula.finditer(whole):
                        yield _column(found[1]), int(found[2])
                held = held[max(end, 0) :] + more


def _part_of(book: zipfile.ZipFile, sheet: str) -> tuple[str, bool]:
    """Where in the file a sheet lies ('' if nowhere), and whether the workbook asks to be computed when it is opened."""
    if not {_BOOK, _LINKS} <= set(book.namelist()):
        return "", False
    names, targets, asks = {}, {}, False
    for element in ElementTree.fromstring(book.read(_BOOK)).iter():
        kind = element.tag.rpartition("}")[2]
        if kind == "sheet":
            links = [value for name, value in element.attrib.items() if name.endswith("}id")]
            names[element.get("name")] = links[0] if links else None
        asks |= kind == "calcPr" and element.get("fullCalcOnLoad") in ("1", "true")
    for element in ElementTree.fromstring(book.read(_LINKS)):
        targets[element.get("Id")] = element.get("Target", "")
    part = PurePosixPath("/xl") / targets.get(names.get(sheet), "")
    return str(part).removeprefix("/"), asks


def _formula(mark: bytes, asks: bool) -> re.Pattern[bytes]:
    """A cell with a formula and without a figure; a text may be empty because its formula says so."""
    computed = rb"(?!0(?:\.0)?<)[^<]" if asks else b"[^<]"
    begin = rb"<MARKc (?![^>]*\bt=\"str\")[^>]*\br=\"([A-Z]+)(\d+)\"[^>]*>\s*<MARKf\b[^>]*(?:(?<=/)>|>[^<]*</MARKf>)"
    figure = rb"\s*<MARKv\b[^>]*>" + computed
    return re.compile((begin + b"(?!" + figure + b")").replace(b"MARK", mark))


def _column(letters: bytes) -> int:
    """Place of a column, from 0.

    >>> _column(b"A"), _column(b"AB")
    (0, 27)
    """
    place = 0
    for letter in letters:
        place = place * 26 + letter - 64
    return place - 1
