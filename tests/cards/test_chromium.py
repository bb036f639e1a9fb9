"""The card and the waterfall in a real browser: nothing overflows, and the language switch works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from riskmodel.cards.charts import waterfall_svg
from riskmodel.cards.model_card import model_card
from tests.cards.example import ASSESSMENT, evidence, make_model
from tests.cards.test_oversight import REPORT
from tests.county import County

pytestmark = pytest.mark.slow
WIDTHS = (390, 1280)
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()

# The card has no script; the page around it has one, which measures the card in frames of exact width.
_MEASURE = """
<script>
onload = () => {
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument;
    for (const lang of ["zh", "en"]) {
      page.querySelector(`label[for=${lang}]`).click();
      for (const details of page.querySelectorAll("details")) details.open = true;
      const width = frame.clientWidth;
      const outside = [...page.querySelectorAll("body *")].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width && box.right > width + 1 && !e.closest(".scroll");
      });
      const visible = e => e.getClientRects().length > 0;
      found.push({
        width, lang,
        scroll: page.documentElement.scrollWidth,
        outside: outside.map(e => e.tagName + "." + e.className).slice(0, 5),
        shown: [...page.querySelectorAll(`.page [lang=${lang}]`)].filter(visible).length,
        cut: [...page.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1).length,
        tallest: Math.max(0, ...[...page.querySelectorAll(".households tbody tr")].map(e => e.offsetHeight)),
        other: [...page.querySelectorAll(`.page [lang]:not([lang=${lang}])`)].filter(visible).length,
      });
    }
  }
  document.body.textContent = JSON.stringify(found);
};
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is on the PATH: the card was not opened in a browser")
    return found


def fits(browser: str, folder: Path, html: str, least: int = 200) -> None:
    """At a phone's and a desk's width, in both languages and with all details open, nothing lies outside the page."""
    card = escape(html, quote=True)
    frames = "".join(f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{card}"></iframe>' for w in WIDTHS)
    page = folder / "measure.html"
    page.write_text(f'<!doctype html><meta charset="utf-8"><body>{frames}{_MEASURE}', encoding="utf-8")
    dumped = run(browser, folder, "--virtual-time-budget=5000", "--dump-dom", page.as_uri())
    measured = json.loads(re.search(r"<body>(\[.*\])</body>", dumped, re.S)[1].replace("&gt;", ">"))
    assert {(m["width"], m["lang"]) for m in measured} == {(w, lang) for w in WIDTHS for lang in ("en", "zh")}
    for found in measured:
        assert found["scroll"] <= found["width"], found
        assert not found["outside"], found
        assert found["width"] < 1000 or not found["cut"], found
        assert found["tallest"] < 120, found
        assert found["shown"] > least and found["other"] == 0, found


def pages(browser: str, folder: Path, html: str) -> int:
    """Pages of A4 that a page takes in print."""
    page, printed = folder / "print.html", folder / "print.pdf"
    page.write_text(html, encoding="utf-8")
    run(browser, folder, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri())
    return len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))


def run(browser: str, folder: Path, *arguments: str) -> str:
    command = [browser, *_QUIET, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("trained", [False, True], ids=["written", "trained"])
def test_card_fits_phone_and_desk_in_both_languages(browser: str, tmp_path: Path, trained: bool, county: County) -> None:
    model, oversight = (county.study.model, None) if trained else (make_model(evidence(assessment=ASSESSMENT)), REPORT)
    fits(browser, tmp_path, model_card(model, oversight=oversight))


def opened_quietly(browser: str, page: Path) -> str:
    """The page as the browser holds it, after it had nothing to say on its console."""
    arguments = [browser, *_QUIET, f"--user-data-dir={page.parent / 'profile'}", "--enable-logging=stderr", "--v=0"]
    told = subprocess.run([*arguments, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in told.stderr
    return told.stdout


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_card_opens_without_an_error(browser: str, tmp_path: Path, county: County, lang: str) -> None:
    page = tmp_path / "card.html"
    page.write_text(model_card(county.study.model, lang), encoding="utf-8")
    assert "<script" not in opened_quietly(browser, page)


def test_card_prints(browser: str, tmp_path: Path) -> None:
    assert 4 <= pages(browser, tmp_path, model_card(make_model(), "en")) <= 12


def test_waterfall_opens(browser: str, tmp_path: Path) -> None:
    picture, shot = tmp_path / "waterfall.svg", tmp_path / "waterfall.png"
    labels, natures = {"illness": ("illness", "患病")}, {"illness": "objective"}
    picture.write_text(waterfall_svg(-2.0, {"illness": 1.0}, labels, natures, "zh", "0412"), encoding="utf-8")
    run(browser, tmp_path, "--window-size=720,300", f"--screenshot={shot}", picture.as_uri())
    assert shot.stat().st_size > 5_000
    assert "parsererror" not in run(browser, tmp_path, "--dump-dom", picture.as_uri())
