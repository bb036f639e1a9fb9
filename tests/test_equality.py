"""The comparison of the equality benchmark: it finds what differs by a bit, and what is cut from a register is whole."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.register import Register

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))


def column(*values: object, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"risk": pa.array(list(values), kind)})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (column(0.1), column(np.nextafter(0.1, 1))),
        (column(0.0), column(-0.0)),
        (column(1.0, None), column(1.0, float("nan"))),
        (column("c", None), column("c", "")),
        (column(1.0), column(1.0, kind=pa.float32())),
        (column(1, 2), column(1)),
        (column(1), pa.table({"rank": [1]})),
    ],
    ids=["last bit", "sign of zero", "null or NaN", "null or empty", "type", "length", "name"],
)
def test_a_household_that_differs_by_a_bit_is_found(one: pa.Table, other: pa.Table) -> None:
    from equality import differences

    assert sum(differences(one, other).values()) >= 1


def test_equal_households_do_not_differ_whatever_the_bits_of_a_nan() -> None:
    from equality import differences

    odd = np.array([0x7FF8000000000001, 0x3FF0000000000000], np.uint64).view(float)
    assert differences(column(float("nan"), 1.0), pa.table({"risk": odd})) == {"risk": 0}
    assert differences(column(None, "a", kind=pa.string()), column(None, "a", kind=pa.string())) == {"risk": 0}


def test_a_household_alone_in_its_register_has_its_records_events_and_village(tmp_path: Path) -> None:
    from equality import cut, features_of, reaching_over
    from national import make_register

    make_register(tmp_path / "register", [1200], workers=1)
    register = Register.open(tmp_path / "register")
    events = pq.read_table(register.file("events", "c00000"))
    struck = events["household_id"][0].as_py()
    lonely = cut(register, tmp_path / "lonely", {struck: ("c00000", [struck])})
    assert lonely.counties == [struck]
    rows = {table: pq.read_table(lonely.file(table, struck)).num_rows for table in lonely.tables}
    assert rows["households"] == 1 and rows["records"] == rows["villages"] == 24 and rows["events"] >= 1
    catalogue = load_catalogue()
    alone = features_of(lonely, struck, catalogue).to_pylist()
    among = [row for row in features_of(register, "c00000", catalogue).to_pylist() if row["household_id"] == struck]
    differing = {name for name, value in alone[0].items() if not same(value, among[0][name])}
    assert differing and differing <= reaching_over(catalogue.features, {"county_id", "village_id"})


@pytest.mark.slow
def test_a_household_alone_keeps_its_help_visits_projects_and_corrections(tmp_path: Path) -> None:
    from county_copies import copied, pieces
    from equality import cut, features_of, reaching_over

    parts = pieces(tmp_path, 24, households=200, number=1, first_month="2022-01")
    register = copied(tmp_path / "register", parts, [2], revised=1 / 10)
    assert register.has_revisions and register.rows("households", "000001") == 400
    ids = {table: register.read(table)["household_id"] for table in ("assistance", "visits", "household_projects")}
    twice = register.read("records").groupby(["household_id", "month"]).size().loc[lambda n: n > 1].index.get_level_values(0)
    household = min(set(twice).intersection(*ids.values()))
    lonely = cut(register, tmp_path / "lonely", {household: ("000001", [household])})
    for table in ("records", "assistance", "visits", "household_projects"):
        there = register.read(table)
        own = there[there["household_id"] == household].reset_index(drop=True)
        pd.testing.assert_frame_equal(lonely.read(table), own)
    links = lonely.read("household_projects")["project_id"]
    assert lonely.has("projects") and set(links) <= set(lonely.read("projects")["project_id"])
    catalogue = load_catalogue()
    alone = features_of(lonely, household, catalogue).to_pylist()
    among = [row for row in features_of(register, "000001", catalogue).to_pylist() if row["household_id"] == household]
    differing = {name for name, value in alone[0].items() if not same(value, among[0][name])}
    assert differing <= reaching_over(catalogue.features, {"county_id", "village_id"})


def same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)
