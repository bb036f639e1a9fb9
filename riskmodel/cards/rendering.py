"""How templates become documents: two languages side by side, all escaped, one notation per number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from riskmodel.display import plain

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
ABSENT = "–"
_BETWEEN_SENTENCES = re.compile(r'</span>\s+<span lang="en">')
_WHOLE = re.compile(r"<[^>]*>|(?<![\w-])(?P<whole>\d{4}-\d\d(?:-\d\d)?(?![\w-])|\d[\d.,]*–\d[\d.,]*%?|--[a-z-]+)", re.ASCII)
"""A month, a day, an interval, an option of the command line: what no line may end within. Tags are passed over."""


class Words(NamedTuple):
    """The same words in English and Chinese."""

    en: str
    zh: str


def t(en: str, zh: str, **values: object) -> Markup:
    """Both languages of a text, with the same values filled in; the style sheet shows the chosen one.

    Texts and values are escaped. A value may be `Words`, of which each language takes its own. Months, days, intervals
    and options are not broken at the end of a line.

    >>> t("{n} households", "{n}户", n=3)
    Markup('<span lang="en">3 households</span><span lang="zh">3户</span>')
    >>> t("{m}", "{m}", m="2023-05")[:57]
    Markup('<span lang="en"><span class="whole">2023-05</span></span>')
    """
    return Markup("").join(
        Markup('<span lang="{}">{}</span>').format(lang, _filled(text, lang, values))
        for lang, text in zip(LANGUAGES, (en, zh), strict=True)
    )


def w(words: Words) -> Markup:
    """Words from data in both languages, braces left as they are."""
    return t("{words}", "{words}", words=words)


def listed(items: Iterable[Words]) -> Words:
    """Words one after the other, divided as each language does.

    >>> listed([Words("illness", "患病"), Words("season", "季节")]).zh
    '患病、季节'
    """
    parts = list(items)
    return Words("; ".join(p.en for p in parts), "、".join(p.zh for p in parts))


def shortened(text: object, longest: int = 36) -> str:
    """Plain text that is cut where it is longer than a page has room for.

    >>> shortened("Blue River", 6)
    'Blue …'
    """
    text = plain(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def count(n: int) -> str:
    """A whole number with thousands marked."""
    return f"{n:,}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in per cent; none of nothing, as support of a project that earned nothing.

    >>> percent(0.1084), percent(0.00004), percent(None), percent(math.inf)
    ('10.8%', '<0.1%', '–', '–')
    """
    if share is None or not math.isfinite(share):
        return ABSENT
    least = 10**-digits
    return f"<{least:g}%" if 0 < 100 * share < least / 2 else f"{100 * share:.{digits}f}%"


def of_100(share: float | None) -> str:
    """A share as a natural frequency out of 100: whole from 10 on, else with one decimal.

    >>> of_100(0.437), of_100(0.0284), of_100(0.0001)
    ('44', '2.8', '<0.1')
    """
    if share is None or math.isnan(share):
        return ABSENT
    number = 100 * share
    if round(number, 1) >= 10:
        return f"{number:.0f}"
    return "<0.1" if 0 < number < 0.05 else f"{number:.1f}".removesuffix(".0")


def decimal(value: float | None, digits: int) -> str:
    """A number with fixed decimals and a true minus sign; a dash where it is not defined.

    >>> decimal(-0.0304, 2), decimal(-0.0001, 2)
    ('−0.03', '0.00')
    """
    if value is None or math.isnan(value):
        return ABSENT
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def over_line(ratio: float) -> str:
    """Income over the line with two decimals; what lies below the line is never printed as if it reached it.

    >>> over_line(0.9974), over_line(0.954), over_line(1.0026)
    ('0.99', '0.95', '1.00')
    """
    return decimal(min(ratio, 0.99) if ratio < 1 else ratio, 2)


def interval(figure: Mapping[str, float | None], digits: int | None = None) -> str:
    """Ends of a figure's interval, out of 100 or with fixed decimals.

    >>> interval({"low": 0.31, "high": 0.42}), interval({"low": 0.31, "high": 0.42}, 2)
    ('31–42', '0.31–0.42')
    """
    ends = (figure["low"], figure["high"])
    return "–".join(of_100(end) if digits is None else decimal(end, digits) for end in ends)


@cache
def environment() -> Environment:
    """The template engine: autoescape on, a misspelt name is an error."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"t": t, "w": w, "listed": listed, "ABSENT": ABSENT}
    found.filters |= {f.__name__: f for f in (count, percent, of_100, decimal, interval, plain)}
    return found


def render(template: str, **values: object) -> str:
    """A template filled in. White space between two texts goes to the English one: Chinese has none there."""
    text = environment().get_template(template).render(values)
    return _BETWEEN_SENTENCES.sub('</span><span lang="en"> ', text)


def _filled(text: str, lang: Language, values: Mapping[str, object]) -> Markup:
    own = {k: getattr(v, lang) if isinstance(v, Words) else v for k, v in values.items()}
    filled = escape(text).format(**own)
    return Markup(_WHOLE.sub(_held_together, str(filled)))


def _held_together(found: re.Match[str]) -> str:
    return f'<span class="whole">{found[0]}</span>' if found["whole"] else found[0]
