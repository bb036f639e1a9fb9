"""A card as PDF, by the browser that is there: headless Chromium prints it as a reader would."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from riskmodel.errors import NotFound, UsageError
from riskmodel.register import commit_file

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
NO_FONT = (
    "no Chinese font was found on this machine: Chinese text in the PDF will be empty boxes. Install one, such as Noto "
    "Sans CJK (Debian and Ubuntu: apt install fonts-noto-cjk), and print again."
)
_QUIET = (
    "--headless --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --no-pdf-header-footer"
).split()
_SECONDS = 180


def find_browser() -> str:
    """The browser on the PATH that prints.

    Raises
    ------
    NotFound
        If there is none.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise NotFound(
            f"a PDF needs a browser of the Chromium family, and none of {', '.join(BROWSERS)} is on the PATH. Install one "
            "(Debian: apt install chromium), or open the HTML file in any browser and print it to PDF: it is made for A4."
        )
    return found


def lacks_chinese_font() -> bool:
    """Whether fontconfig is used here and knows no font for Chinese; the log then warns."""
    listing = shutil.which("fc-list")
    if listing is None:
        return False
    found = subprocess.run([listing, ":lang=zh", "family"], capture_output=True, text=True, timeout=60, check=False)
    if found.returncode or found.stdout.strip():
        return False
    logging.getLogger("riskmodel").warning(NO_FONT)
    return True


def write_pdf(html: str, out: Path) -> None:
    """Print a self-contained page to a PDF file, whole or not at all.

    Raises
    ------
    NotFound
        If no browser is on the PATH.
    UsageError
        If the browser does not print.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        page, printed = Path(folder) / "card.html", Path(folder) / "card.pdf"
        page.write_text(html, encoding="utf-8")
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        profile = f"--user-data-dir={Path(folder) / 'profile'}"
        command = [browser, *_QUIET, *root, profile, f"--print-to-pdf={printed}", page.as_uri()]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise UsageError(f"{browser} did not print within {_SECONDS} seconds. Print the HTML file by hand.") from None
        if run.returncode or not printed.is_file() or not printed.read_bytes().startswith(b"%PDF"):
            last = (run.stderr.strip().splitlines() or ["no message"])[-1]
            raise UsageError(f"{browser} did not print: {last}. Print the HTML file by hand.")
        commit_file(out, printed.read_bytes())
