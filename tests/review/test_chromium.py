"""The review app in a real browser: it fits, it needs no mouse, and a conflict is seen."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from riskmodel.review.app import create_app
from riskmodel.review.decisions import Decisions
from riskmodel.review.guard import Guard
from riskmodel.review.worklist import Worklist
from tests.review.month import HOSTILE, MONTH, alert, decision, write_month

pytestmark = pytest.mark.slow
_NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (390, 1280)
LONG = "一个名字特别长的乡镇" * 5

_OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && box.left >= 0 && box.right > innerWidth + 1;
}).map(e => e.tagName + "." + e.className)"""
_SMALL = """() => [...document.querySelectorAll("a.button, button.main, .choice, .row, .tabs a, select")].filter(e => {
  const box = e.getBoundingClientRect();
  return box.height && box.height < 38;
}).map(e => e.className + " " + e.textContent.trim().slice(0, 20))"""


class Site:
    """The app on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        import uvicorn

        self.decisions = Decisions.open(folder / "decisions.db")
        alerts = [alert("0412"), alert("0500", verdict="subjective", driver_1="work", signs="work_low, land_idle", risk=0.3)]
        alerts += [alert("0600", protected="no_able_labour, sole_carer", excuses="illness", risk=0.25)]
        alerts += [alert("0700", verdict="undetermined", unchecked="sole_carer", failed_gates="fresh, offer", risk=0.02)]
        alerts += [alert(text, risk=0.01) for text in (*HOSTILE[:3], "0" * 60)]
        folder = write_month(folder / "alerts", alerts, [(LONG, "v" * 40)] * len(alerts))
        app = create_app(Worklist(folder, self.decisions), Guard(frozenset({"127.0.0.1"})))
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, access_log=False, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)
        self.address = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is on the PATH: the app was not opened in a browser")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


def sign_in(page, site: Site, name: str = "Li Na", lang: str = "en") -> None:
    page.goto(f"{site.address}/?lang={lang}")
    page.goto(f"{site.address}/sign-in?lang={lang}")
    page.wait_for_selector("[name=name]:focus")  # the page gives the focus, some time after its load
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.address}/")


def arrived(page, selector: str) -> None:
    """Wait for a page that has what only it has, and for its style: before that a layout says nothing."""
    page.wait_for_selector(selector)
    page.wait_for_load_state("load")


def access_key(page, key: str) -> None:
    """Alt and a key as a keyboard sends them: the browser looks for an access key by what Alt leaves out."""
    session = page.context.new_cdp_session(page)
    for kind in ("rawKeyDown", "char", "keyUp"):
        session.send("Input.dispatchKeyEvent", {"type": kind, "modifiers": 1, "key": key, "unmodifiedText": key})


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_the_console_is_silent(browser, site: Site, lang: str, width: int) -> None:
    site.decisions.record(decision("0412", note="x" * 300, statement="说明" * 200))
    context = browser.new_context(viewport={"width": width, "height": 844})
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda fault: said.append(str(fault)))
    sign_in(page, site, lang=lang)
    addresses = ["/", "/?order=doubt", *page.eval_on_selector_all("a.row", "rows => rows.map(r => r.getAttribute('href'))")]
    assert len(addresses) == 2 + 4 + 3 + 1
    for path in addresses:
        page.goto(site.address + path)
        if page.locator("[value=override_cause]").count():
            page.check("[value=override_cause]")
            assert page.locator(".needs-cause").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(_OUTSIDE) == [], path
        assert page.evaluate(_SMALL) == [], path
        assert page.evaluate("document.querySelectorAll('script').length") == 0
        drawn = page.locator(".waterfall img")
        if width > 1000 and drawn.count():
            assert drawn.evaluate("image => image.complete && image.naturalWidth") == 720
    assert bool(re.search(r"[\u4e00-\u9fff]", page.inner_text("footer"))) is (lang == "zh")
    assert said == []
    context.close()


def test_a_household_is_decided_on_without_a_mouse(browser, site: Site) -> None:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    sign_in(page, site)
    arrived(page, "a.row")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                assert (
                    page.evaluate(
                        "getComputedStyle(document.activeElement.closest('.choice') || document.activeElement).outlineStyle"
                    )
                    == "solid"
                ), f"{selector}: the focus is not seen"
                return
        raise AssertionError(f"{selector} is not reached with the Tab key")

    tab_to("a.row")
    page.keyboard.press("Enter")
    arrived(page, "#decide")
    tab_to("[name=action]")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")  # from confirm to another cause
    assert page.is_checked("[value=override_cause]")
    tab_to("[name=cause]")
    page.keyboard.press("Space")
    tab_to("#reason")
    page.keyboard.type("the record")
    tab_to("#note")
    page.keyboard.type("The hospital bill is from last year.")
    tab_to("button.main")
    page.keyboard.press("Enter")
    page.wait_for_selector(".notice.good")
    [row] = site.decisions.history(MONTH, "k1", "0412")
    assert (row["action"], row["reason"], row["reviewer"]) == ("override_cause", "record_wrong", "Li Na")
    access_key(page, "n")
    page.wait_for_url(lambda url: "recorded" not in url and "/alerts/" in url)
    access_key(page, "1")
    assert page.is_checked("[value=confirm]")
    page.context.close()


def test_two_reviewers_at_once_meet_in_a_conflict(browser, site: Site) -> None:
    pages = [browser.new_context(viewport={"width": 390, "height": 844}).new_page() for _ in range(2)]
    for page, name in zip(pages, ("Li Na", "Wang Wei"), strict=True):
        sign_in(page, site, name)
        page.locator("a.row").first.click()
    first, second = pages
    first.check("[value=confirm]")
    first.click("button.main >> text=Record")
    first.wait_for_selector(".notice.good")
    second.check("[value=reject]")
    second.select_option("#reason", "income_secure")
    second.fill("#note", "They sell pigs.")
    with second.expect_response(lambda answer: answer.request.method == "POST") as told:
        second.click("button.main >> text=Record")
    assert told.value.status == 409
    arrived(second, ".conflict")
    assert "Li Na" in second.inner_text(".conflict") and second.input_value("#note") == "They sell pigs."
    assert second.evaluate("document.documentElement.scrollWidth") <= 390
    second.click("button.main >> text=Record")
    second.wait_for_selector(".notice.good")
    assert [row["reviewer"] for row in site.decisions.history(MONTH, "k1", "0412")] == ["Li Na", "Wang Wei"]
    for page in pages:
        page.context.close()


def test_a_household_prints(browser, site: Site, tmp_path: Path) -> None:
    page = browser.new_context().new_page()
    sign_in(page, site)
    page.locator("a.row").first.click()
    arrived(page, "#decide")
    page.emulate_media(media="print")
    assert not page.locator(".deciding").is_visible() and page.locator(".risk-card").is_visible()
    printed = page.pdf(format="A4")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 3
    page.context.close()
