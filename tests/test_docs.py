"""The docs cannot drift: every command, exit code, setting, feature, driver, measure and metric is documented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from riskmodel import errors
from riskmodel.catalogue import load_catalogue
from riskmodel.cli import app
from riskmodel.evaluation.metrics import METRICS, Scored
from riskmodel.monitoring.running import PARTS
from riskmodel.monitoring.writing import words_of
from riskmodel.settings import Capacity, Run
from tests.county import County
from tests.reference import FEATURES_PAGE, SETTINGS_PAGE, features_page, settings_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_command_and_option_is_documented() -> None:
    rows = [row for row in text("commands.md").splitlines() if row.startswith("| `riskmodel ")]

    def seen(command: Any, path: str) -> int:
        if hasattr(command, "commands"):
            return sum(seen(each, f"{path} {name}") for name, each in command.commands.items())
        said = "\n".join(row for row in rows if re.match(rf"\| `{path}[ `]", row))
        options = {option for given in command.params for option in given.opts if option.startswith("--")}
        for option in options:
            assert re.search(rf"{option}(?![\w-])", said), f"{path} {option}"
        assert said, path
        return len(options)

    assert seen(typer.main.get_command(app), "riskmodel") > 50


def test_every_exit_code_is_documented() -> None:
    page = text("commands.md")
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.RiskmodelError)]
    assert len({e.exit_code for e in kinds}) == len(kinds)
    for kind in kinds:
        assert f"| {kind.exit_code} |" in page


def test_every_metric_is_documented() -> None:
    told = Scored([0, 1, 0, 1], [0.1, 0.4, 0.3, 0.8], np.zeros(4, int), Capacity(number=1)).metrics()
    assert set(METRICS) < set(told)
    for metric in told:
        assert f"`{metric}`" in text("method.md")


def test_every_table_of_monitoring_is_documented() -> None:
    page = text("monitoring.md")
    tables = [table for part in PARTS for table in words_of(part.name).tables if table != "notes"]
    assert len(tables) > 40
    for table in tables:
        assert f"`{table}`" in page, table


def test_every_part_of_monitoring_is_listed_for_python() -> None:
    listed = text("monitoring.md").split("## In Python")[1].split("\n## ")[0]
    for part in PARTS:
        assert f"\n| `{part.name}` |" in listed, part.name


@pytest.mark.slow
def test_monitoring_in_python_runs_as_it_stands(county: County, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(county.folder)
    (code,) = re.findall(r"```python\n(.*?)```", text("monitoring.md"), re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    assert set(made["report"]) == {"spells", "misses"}
    assert made["report"]["spells"].tables["long_stays"]["household_id"].is_unique


@pytest.mark.parametrize(
    ("page", "made"), [(FEATURES_PAGE, features_page), (SETTINGS_PAGE, settings_page)], ids=["features", "settings"]
)
def test_reference_pages_are_those_of_the_definitions(page: str, made: object) -> None:
    """After a change of configs/ or settings: python -m tests.reference"""
    assert (DOCS / page).read_text(encoding="utf-8") == made()


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_page_names_a_registry_host_or_a_machine_path() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "Makefile", ROOT / "constraints.txt"]:
        found = re.search(r"https?://[\w.]*(pypi|npm)|/root/|/work/|/home/", page.read_text(encoding="utf-8"))
        assert found is None, f"{page.name}: {found}"


def test_the_catalogue_reads_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_catalogue().inputs
    assert Run().models
