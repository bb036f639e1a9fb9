"""What the catalogue makes of its rows: features that a register can give, conditions that several share."""

from __future__ import annotations

from pathlib import Path

import pytest

from riskmodel.catalogue import Catalogue, load_catalogue
from riskmodel.catalogue.syntax import Node, conjuncts, node, tree

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


SHARING = """
conditions:
  trouble: "kind = 'illness' OR kind = 'accident'"
features:
  - {name: trouble_12m, table: events, aggregate: "count(*) FILTER (WHERE {trouble} AND age < 12)", unit: x, driver: level,
     en: e, zh: z}
"""


def test_a_condition_is_written_once_and_stands_whole_in_each_aggregate_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SHARING, encoding="utf-8")
    more = 'features:\n  - {name: trouble_ever, table: events, aggregate: "count(*) FILTER (WHERE {trouble})", unit: x, '
    (tmp_path / "more.yaml").write_text(f"{more}driver: level, en: e, zh: z}}\n", encoding="utf-8")
    catalogue = load_catalogue(["features.yaml", tmp_path / "mine.yaml", tmp_path / "more.yaml"])
    written_out = "count(*) FILTER (WHERE (kind = 'illness' OR kind = 'accident') AND age < 12)"
    assert tree(catalogue.by_name["trouble_12m"].expression.text) is tree(written_out)
    assert catalogue.by_name["trouble_ever"].needs == {"kind"}


def test_a_context_asks_of_households_what_a_condition_says(tmp_path: Path) -> None:
    row = 'features:\n  - {name: heard_of, context: "count(*) FILTER (WHERE {recorded_lately})", over: county_id, unit: x, '
    (tmp_path / "mine.yaml").write_text(f"{row}driver: level, en: e, zh: z}}\n", encoding="utf-8")
    mine = load_catalogue(["features.yaml", tmp_path / "mine.yaml"]).by_name["heard_of"]
    assert mine.needs == {"record_age"} and tree(mine.expression.text) is tree("count(*) FILTER (WHERE record_age <= 12)")


def test_what_a_household_is_told_not_to_be_verified_is_of_the_kinds_that_the_months_are_counted_from() -> None:
    features = load_catalogue().by_name
    unverified = [name for name in features if name.endswith("_unverified")]
    assert len(unverified) == 11
    for name in unverified:
        since = features[f"months_since_{name.removesuffix('_unverified')}"]
        assert kinds(features[name].expression.text) == kinds(since.expression.text) != set(), name


def kinds(expression: str) -> set[Node]:
    """What an expression asks of the kind of an event."""
    found, waiting = set(), [tree(expression)]
    while waiting:
        here = waiting.pop()
        waiting += [*here.parts, *conjuncts(here.where)]
        if here.op in ("=", "in") and here.parts[0] is node("column", value="kind"):
            found.add(here)
    return found
