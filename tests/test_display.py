"""Text that others wrote, where people read it."""

from __future__ import annotations

import sys
import unicodedata

from riskmodel.display import plain

TURNS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""The marks of Unicode's bidirectional algorithm (UAX 9)."""


def test_whatever_a_village_is_called_no_control_character_reaches_a_page() -> None:
    every = [chr(number) for number in range(sys.maxunicode + 1)]
    kept = [c for c in every if c in "\n\t" or (unicodedata.category(c) not in ("Cc", "Cs") and c not in TURNS)]
    assert plain("".join(every)) == "".join(kept)
