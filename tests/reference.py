"""Reference pages of the docs, made from the definitions: `python -m tests.reference` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from riskmodel.catalogue import load_catalogue
from riskmodel.settings import Run

DOCS = Path(__file__).parents[1] / "docs"
FEATURES_PAGE, SETTINGS_PAGE = "features.md", "settings.md"


def features_page() -> str:
    """Every driver, feature and measure."""
    catalogue = load_catalogue(["features.yaml", "features_eph.yaml"])
    lines = [
        "# Features and drivers",
        "",
        "Made from `configs/` by `python -m tests.reference`; a test holds it to them. A feature whose columns a register",
        "lacks is left out, said once and listed on the model card.",
        "",
        "## Drivers",
        "",
        "| driver | 因素 | nature | code in practice |",
        "|---|---|---|---|",
    ]
    for d in catalogue.drivers:
        nature = f"{d.nature}, {d.kind}" if d.kind else d.nature
        lines.append(f"| `{d.name}` | {d.zh} | {nature} | {d.code or '-'} |")
    for heading, wanted in (("Inputs", True), ("Evidence for causes and wording, never an input", False)):
        lines += ["", f"## {heading}", "", "| feature | what | 名称 | unit | driver |", "|---|---|---|---|---|"]
        for f in catalogue.features:
            if f.input is wanted:
                panel = " (Argentine panel)" if f.place.file == "features_eph.yaml" else ""
                lines.append(f"| `{f.name}` | {f.en}{panel} | {f.zh} | {f.unit} | {f.driver} |")
    lines += ["", "## Measures", "", "| measure | answers | what | 措施 |", "|---|---|---|---|"]
    for m in catalogue.measures:
        lines.append(f"| `{m.name}` | {', '.join(m.drivers)} | {m.en} | {m.zh} |")
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Every key of a run file with its default."""
    lines = [
        "# Settings of a run",
        "",
        "Made from `riskmodel/settings.py` by `python -m tests.reference`; a test holds it to them. A misspelt key is an",
        "error that names its place. `lightgbm` takes any parameter of LightGBM and overrides the package's default.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
        *_rows(Run(), ""),
    ]
    return "\n".join(lines) + "\n"


def _rows(block: BaseModel, prefix: str) -> list[str]:
    rows = []
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, BaseModel):
            rows += _rows(value, f"{prefix}{name}.")
        else:
            rows.append(f"| `{prefix}{name}` | {_shown(value)} | {field.description} |")
    return rows


def _shown(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    return ", ".join(f"`{v}`" for v in value) if isinstance(value, list) else f"`{value}`"


def main() -> None:
    """Write both pages."""
    (DOCS / FEATURES_PAGE).write_text(features_page(), encoding="utf-8")
    (DOCS / SETTINGS_PAGE).write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
