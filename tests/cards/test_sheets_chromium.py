"""Alert sheets in a real browser: phone, desk and paper, both languages, hostile contents."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

import pandas as pd
import pytest

from riskmodel.alerts.history import ScoredMonth
from riskmodel.cards.alert_sheet import sheets_of, sheets_page
from riskmodel.catalogue import load_catalogue
from riskmodel.review.rules import load_rules
from tests.cards.months import CLUE, HOSTILE, changed_month
from tests.cards.test_chromium import _MEASURE, WIDTHS, browser, opened_quietly, run  # noqa: F401
from tests.county import AS_OF, County

pytestmark = pytest.mark.slow
PAPER = 718  # 190 mm, the width between the margins


@pytest.fixture(scope="module")
def month(county: County, tmp_path_factory: pytest.TempPathFactory) -> ScoredMonth:
    """A list with hostile ids and places, clues to subjective factors on the first four."""
    folder = tmp_path_factory.mktemp("paper") / AS_OF

    def idle(tables: dict[str, pd.DataFrame]) -> None:
        tables["drivers"].loc[:3, ["work", "refusal"]] = 0.8

    return changed_month(county.alerts, folder, ids=HOSTILE, places=HOSTILE, alerts={n: CLUE for n in range(4)}, edit=idle)


def page_of(month: ScoredMonth, lang: str = "zh") -> str:
    return sheets_page(sheets_of(month, load_catalogue()), month, load_rules(), lang)


def measured(browser: str, folder: Path, html: str, widths: tuple[int, ...]) -> list[dict]:  # noqa: F811
    frames = "".join(f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{escape(html)}"></iframe>' for w in widths)
    page = folder / "measure.html"
    page.write_text(f'<!doctype html><meta charset="utf-8"><body>{frames}{_MEASURE}', encoding="utf-8")
    dumped = run(browser, folder, "--virtual-time-budget=5000", "--dump-dom", page.as_uri())
    return json.loads(re.search(r"<body>(\[.*\])</body>", dumped, re.S)[1].replace("&gt;", ">"))


def test_sheets_fit_phone_and_desk_in_both_languages(browser: str, tmp_path: Path, month: ScoredMonth) -> None:  # noqa: F811
    found = measured(browser, tmp_path, page_of(month), WIDTHS)
    assert {(m["width"], m["lang"]) for m in found} == {(w, lang) for w in WIDTHS for lang in ("en", "zh")}
    for one in found:
        assert one["scroll"] <= one["width"] and not one["outside"] and not one["cut"], one
        assert one["shown"] > 200 and one["other"] == 0, one


def test_sheets_open_without_an_error(browser: str, tmp_path: Path, month: ScoredMonth) -> None:  # noqa: F811
    page = tmp_path / "sheets.html"
    page.write_text(page_of(month), encoding="utf-8")
    assert "<script" not in opened_quietly(browser, page)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_two_households_are_printed_on_each_page_and_none_is_split(
    browser: str,  # noqa: F811
    tmp_path: Path,
    month: ScoredMonth,
    lang: str,
) -> None:
    html = page_of(month, lang)
    alerts = len(month.alerts())
    page, printed = tmp_path / "sheets.html", tmp_path / "sheets.pdf"
    page.write_text(html, encoding="utf-8")
    run(browser, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri())
    assert len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) == (alerts + 1) // 2 + 1
    on_paper = html.replace("@media print", "@media all").replace("@media (max-width: 40rem)", "@media (max-width: 1px)")
    for one in measured(browser, tmp_path, on_paper, (PAPER,)):
        assert one["scroll"] <= PAPER and not one["outside"], one
