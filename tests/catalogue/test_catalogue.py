"""What the catalogue makes of its rows: features that a register can give."""

from __future__ import annotations

from pathlib import Path

import pytest

from riskmodel.catalogue import Catalogue, load_catalogue

ROWS = """
features:
  - {{name: told, aggregate: "arg_min(welfare, age)", unit: x, driver: level, en: e, zh: z}}
  - {{name: owed, aggregate: "arg_min(debt, age)", unit: x, driver: level, en: e, zh: z}}
  - {{name: either, derived: "{derived}", unit: x, driver: level, en: e, zh: z}}
"""
RECORDS = {"records": ["household_id", "month", "welfare"]}


def of_either(folder: Path, derived: str) -> Catalogue:
    (folder / "mine.yaml").write_text(ROWS.format(derived=derived), encoding="utf-8")
    return load_catalogue(["features.yaml", folder / "mine.yaml"])


@pytest.mark.parametrize("derived", ["coalesce(owed, told)", "COALESCE( (owed),told )", "coalesce(owed, (told))"])
def test_the_first_one_known_is_made_of_those_that_a_register_can_give(tmp_path: Path, derived: str) -> None:
    given, lacking = of_either(tmp_path, derived).available(RECORDS)
    either = next(feature for feature in given if feature.name == "either")
    assert either.needs == {"told"} and lacking["owed"] == ["records.debt"]


@pytest.mark.parametrize("derived", ["coalesce(owed, told, 0)", "coalesce(owed, told) + 1", "coalesce(owed + told, told)"])
def test_what_is_more_than_the_first_one_known_lacks_what_it_lacks(tmp_path: Path, derived: str) -> None:
    given, lacking = of_either(tmp_path, derived).available(RECORDS)
    assert "either" not in {feature.name for feature in given}
    assert lacking["either"] == ["records.debt"]
