"""`riskmodel doctor`: what a machine lacks is said before a month is lost to it."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from typer.testing import CliRunner

from riskmodel import doctor
from riskmodel.cli import app
from riskmodel.errors import IntegrityError, MachineLacks


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Work in an empty folder, and run the command without the start of a process, which takes its time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(doctor, "_processes", lambda: "")
    return lambda *given: CliRunner().invoke(app, ["doctor", *given])


def test_a_machine_that_lacks_only_what_some_commands_need_is_well(only, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    run = only()
    assert run.exit_code == 0, run.output
    assert "What every command needs works. Not here:" in run.output
    said = {line.split(":")[0]: line for line in run.output.splitlines()}
    assert "riskmodel train" in said["not here  model store"]  # what to do
    assert "apt install chromium" in said["not here  PDF"]
    assert "not here  Spark" in said


def test_a_library_that_does_not_load_is_named_with_what_to_install(only, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_libgomp(name: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", without_libgomp)
    run = only()
    assert isinstance(run.exception, MachineLacks) and "LightGBM" in str(run.exception)
    assert "BROKEN    LightGBM" in run.output and "apt install libgomp1" in run.output
    assert "not here  compiled loops" in run.output  # which only take longer


def test_a_package_that_is_missing_or_too_old_is_named(only, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name == "lifelines":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "pyarrow" else installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    run = only()
    assert isinstance(run.exception, MachineLacks)
    (line,) = [line for line in run.output.splitlines() if line.startswith("BROKEN    packages")]
    assert "lifelines is not installed" in line and "pyarrow is 0.0.1, not >=17" in line


def test_a_disk_that_is_nearly_full_is_told_before_a_month_is_begun(only, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**20, 2**20))
    run = only()
    assert isinstance(run.exception, MachineLacks)
    assert "make room" in run.output


def test_every_extra_is_looked_at() -> None:
    offered = importlib.metadata.metadata(doctor.NAME).get_all("Provides-Extra")
    assert set(doctor._EXTRAS) == set(offered) - {"test"}


def test_a_folder_that_was_looked_at_holds_nothing_new(only, tmp_path: Path) -> None:
    only()
    assert not list(tmp_path.iterdir())


def test_a_damaged_champion_is_no_small_matter(only, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*given: object) -> None:
        raise IntegrityError("booster.txt does not match its hash")

    monkeypatch.setattr("riskmodel.model.tracking.load_model", damaged)
    run = only()
    assert isinstance(run.exception, MachineLacks)
    assert "BROKEN    model store: booster.txt does not match its hash" in run.output


def test_a_process_takes_a_county_on_this_machine() -> None:
    if sys.platform == "win32":
        pytest.skip("processes are not forked from a server here")
    assert "--workers" in doctor._processes()
