"""The card as PDF: printed by the browser that is there, and a machine without one or without a Chinese font says so."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from riskmodel.cards import printing
from riskmodel.cards.model_card import model_card, write_card
from riskmodel.cards.printing import find_browser, lacks_chinese_font
from riskmodel.cli import app
from riskmodel.errors import NotFound, UsageError
from tests.cards.example import make_model


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)


def test_without_a_browser_nothing_is_written_and_the_reader_knows_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="none of chromium.* is on the PATH.*print it to PDF"):
        find_browser()
    out = tmp_path / "card.html"
    run = CliRunner().invoke(app, ["card", "nowhere", "--out", str(out), "--pdf", str(tmp_path / "card.pdf")])
    assert isinstance(run.exception, NotFound) and not out.exists()


def test_a_machine_without_a_chinese_font_warns_in_the_log_and_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not lacks_chinese_font(), "without fontconfig nothing is claimed"
    program(tmp_path, "fc-list", "exit 0")
    with caplog.at_level(logging.WARNING, "riskmodel"):
        assert lacks_chinese_font()
    assert "no Chinese font" in caplog.text
    program(tmp_path, "fc-list", "echo Noto Sans CJK SC")
    assert not lacks_chinese_font()
    assert "No Chinese font was found" in model_card(make_model(), no_font=True)
    assert "No Chinese font was found" not in model_card(make_model())


def test_a_browser_that_fails_is_named_with_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "chromium", "echo no room on the disk >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="did not print: no room on the disk"):
        write_card(make_model(), tmp_path / "card.html", pdf=tmp_path / "card.pdf")
    assert not (tmp_path / "card.pdf").exists()


@pytest.mark.slow
def test_the_card_is_printed(tmp_path: Path) -> None:
    if not any(map(printing.shutil.which, printing.BROWSERS)):
        pytest.skip("no browser of the Chromium family is on the PATH: nothing was printed")
    write_card(make_model(), tmp_path / "card.html", "en", pdf=tmp_path / "card.pdf")
    assert (tmp_path / "card.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "card.pdf").stat().st_size > 50_000
