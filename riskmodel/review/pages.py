"""Pages of the review app: templates filled in one language, everything escaped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from riskmodel import cards
from riskmodel.cards import rendering
from riskmodel.cards.rendering import Language, Words
from riskmodel.cards.wording import NATURES
from riskmodel.display import plain
from riskmodel.explain.causes import VERDICTS, verdict_words

CAUSES = {name: Words(*verdict_words(name)) for name in VERDICTS}
STATUS = {
    "open": Words("to do", "待审核"),
    "deferred": Words("later", "暂缓"),
    "decided": Words("decided once", "已审一次"),
    "agreed": Words("agreed", "意见一致"),
    "differs": Words("views differ", "意见不一"),
}


def page(template: str, lang: Language, **values: object) -> str:
    """A page in one language."""
    return _environment().get_template(template).render(lang=lang, **values)


@pass_context
def _t(context: Context, en: str, zh: str, **values: object) -> Markup:
    """A text in the language of the page, with values filled in and escaped."""
    lang = context["lang"]
    own = {k: getattr(v, lang) if isinstance(v, Words) else plain(v) for k, v in values.items()}
    return Markup(escape(en if lang == "en" else zh).format(**own))


@pass_context
def _w(context: Context, words: Words) -> str:
    """Words in the language of the page."""
    return plain(getattr(words, context["lang"]))


def _local(moment: str) -> str:
    """A time in UTC as the clock on this machine's wall shows it."""
    return dt.datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")


def _in(items: Any, name: str) -> Words:
    """Words of a row of the rules by its name; the name itself where there is no such row."""
    found = next((row for row in items if row.name == name), None)
    return Words(found.en, found.zh) if found else Words(name, name)


@cache
def _environment() -> Environment:
    folders = [Path(__file__).parent / "templates", Path(cards.__file__).parent / "templates"]
    found = Environment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"t": _t, "w": _w, "causes": CAUSES, "statuses": STATUS, "natures": NATURES, "named": _in}
    found.filters |= {f.__name__: f for f in (rendering.count, rendering.percent, rendering.of_100, plain)}
    found.filters["local"] = _local
    return found


def changed_query(query: Mapping[str, str], **changes: str | None) -> dict[str, str]:
    """The query of an address with some parts changed; None takes a part out."""
    found = dict(query) | changes
    return {name: value for name, value in found.items() if value}
