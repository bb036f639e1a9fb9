"""Settings by name: what is used is told where the working folder holds another file of a shipped name."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from riskmodel.fallback import say_once
from riskmodel.settings import find_config, load_run, packaged


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    say_once.cache_clear()
    caplog.set_level(logging.WARNING)
    return tmp_path


def test_a_run_of_the_working_folder_that_bears_a_shipped_name_is_used_and_said_once(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "runs" / "default.yaml").write_text("name: ours", encoding="utf-8")
    assert [load_run("runs/default.yaml").name for _ in range(2)] == ["ours", "ours"]
    assert len(caplog.records) == 1
    assert "runs/default.yaml: the file of the working folder is used" in caplog.text
    assert "(configs/runs/default.yaml)" in caplog.text and str(here) not in caplog.text


@pytest.mark.parametrize("given", ["./runs/default.yaml", "{here}/runs/default.yaml", "../{name}/runs/default.yaml"])
def test_a_path_is_what_it_says(here: Path, caplog: pytest.LogCaptureFixture, given: str) -> None:
    (here / "runs" / "default.yaml").write_text("name: ours", encoding="utf-8")
    assert load_run(given.format(here=here, name=here.name)).name == "ours"
    assert not caplog.records


def test_the_same_text_and_a_name_of_ones_own_need_no_word(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    shipped = packaged("configs") / "runs" / "default.yaml"
    (here / "runs" / "default.yaml").write_bytes(shipped.read_bytes())
    (here / "runs" / "ours.yaml").write_text("name: ours", encoding="utf-8")
    assert load_run("runs/default.yaml") == load_run(shipped) and load_run("runs/ours.yaml").name == "ours"
    assert find_config("configs/runs/default.yaml") == shipped, "not in the working folder"
    assert not caplog.records
