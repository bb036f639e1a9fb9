"""The house: what users see on one screen, how fast it opens, and that rooms use only the rooms above them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import riskmodel

ROOT = Path(__file__).parents[1]
ORDER = [
    "errors", "months", "places", "display", "fallback", "settings", "engine", "register", "processes", "threads",
    "compiled", "catalogue",
    "cohort", "evaluation", "model", "explain", "alerts", "assessment", "study", "monitoring", "cards", "review",
    "simulation", "telling", "results", "demo", "doctor", "stopping", "cli",
]  # fmt: skip


def test_every_public_name_exists() -> None:
    for name in riskmodel.__all__:
        assert getattr(riskmodel, name) is not None, name


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, riskmodel, riskmodel.cli; print([m for m in ('mlflow', 'shap', 'pandas') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_month_is_scored_without_importing_what_only_training_needs() -> None:
    needless = (
        "mlflow",
        "shap",
        "scipy",
        "sklearn",
        "lightgbm",
        "matplotlib",
        "charset_normalizer",
        "riskmodel.register.intake",
    )
    code = f"import sys, riskmodel.alerts.counties; print([m for m in {needless} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("file", sorted(str(p.relative_to(ROOT)) for p in (ROOT / "riskmodel").rglob("*.py")))
def test_a_room_uses_only_the_rooms_above_it(file: str) -> None:
    parts = Path(file).with_suffix("").parts
    room = parts[1] if parts[1] != "__init__" else None
    if room is None:
        return
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    typing_only = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and getattr(test.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if node in typing_only or not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        for name in names:
            if name and name.startswith("riskmodel."):
                used = name.split(".")[1]
                assert ORDER.index(used) <= ORDER.index(room), f"{file} uses {name}"
