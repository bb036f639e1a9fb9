"""Reading a card as a person sees it: the text of one language."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

CJK = re.compile(r"[\u4e00-\u9fff]")
_WHOLE = re.compile(r'<span class="whole">(.*?)</span>')
_VOID = {"meta", "input", "br", "img", "link", "hr"}
_LITERAL = {"code", "pre", "bdi", "style", "title", "label"}


def read(path: Path) -> str:
    """A page as it lies, but for the marks that hold a month or an interval together at the end of a line."""
    return _WHOLE.sub(r"\1", path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Texts of a page: by language, outside any language, and all tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {"en": [], "zh": []}
        self.neutral: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.shown: dict[str, list[str]] = {"en": [], "zh": []}
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in _VOID:
            return
        lang = dict(attrs).get("lang") if tag != "html" else None
        self._open.append((tag, lang))
        if lang:
            self.texts[lang].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        lang = next((lang for _, lang in reversed(self._open) if lang), None)
        literal = any(tag in _LITERAL for tag, _ in self._open)
        if lang:
            self.texts[lang][-1] += data
        elif not literal and data.strip():
            self.neutral.append(data.strip())
        for each in ("en", "zh"):
            if lang in (None, each) and not any(tag in ("style", "title") for tag, _ in self._open):
                self.shown[each].append(data)

    def text(self, lang: str) -> str:
        """What a reader of one language sees, white space collapsed."""
        return " ".join("".join(self.shown[lang]).split())
