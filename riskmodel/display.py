"""Text that others wrote, made harmless where people read it: on a page, in a workbook, in a CSV file, as a file's name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote

import pandas as pd

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_LONE_SURROGATES = r"\ud800-\udfff"
_TURNS_TEXT = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HARMFUL = re.compile(f"[{_CONTROLS}{_LONE_SURROGATES}{_TURNS_TEXT}]")
_LONGEST_FILE, _KEPT_OF_IT = 120, 80
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def plain(text: object) -> str:
    r"""Text without control characters, lone surrogates and marks that turn the direction of what follows.

    >>> plain("Li\u202e\u0000 village")
    'Li village'
    """
    text = str(text)
    return text if text.isprintable() else _HARMFUL.sub("", text)


def cell(text: str) -> str:
    """Plain text for a file that a spreadsheet opens: what it would take for a formula gets an apostrophe in front.

    >>> cell("0412"), cell("=cmd|'/c calc'!A0"), cell(" +1")
    ('0412', "'=cmd|'/c calc'!A0", "' +1")
    """
    text = plain(text)
    return f"'{text}" if text.lstrip().startswith(_STARTS_A_FORMULA) or text.startswith("\t") else text


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table with `cell` done to its texts; the others stay as they are."""
    texts = [c for c in table if not pd.api.types.is_numeric_dtype(table[c]) and not pd.api.types.is_bool_dtype(table[c])]
    changed = {c: {v: safe for v in table[c].unique() if isinstance(v, str) and (safe := cell(v)) != v} for c in texts}
    safe = {c: table[c].map(lambda v, c=c: changed[c].get(v, v)) for c in texts if changed[c]}
    return table.assign(**safe)


def file_name(parts: Sequence[str], ending: str) -> str:
    """A file name for a place or household, safe on every system and another one for each; 中文 stays as it is.

    >>> file_name(("330100", "a/b"), ".html"), file_name(("甲县", ""), ".html")
    ('330100_a%2Fb.html', '甲县_-.html')
    """
    name = "_".join("".join(map(_in_file_name, part)) or "-" for part in parts)
    if len(name.encode()) > _LONGEST_FILE:
        start = name.encode()[:_KEPT_OF_IT].decode(errors="ignore")
        name = f"{start}~{sha256(name.encode()).hexdigest()[:16]}"
    return name + ending


def _in_file_name(letter: str) -> str:
    """A letter that no system folds into another (no case, no accent) stays; all but plain digits and letters are quoted."""
    if unicodedata.category(letter) == "Lo" and unicodedata.normalize("NFKD", letter) == letter:
        return letter
    return quote(letter, safe="").replace("_", "%5F").replace(".", "%2E")
