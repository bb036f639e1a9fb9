"""Spells: what covers which months, what is not known of them, and that nothing known later reaches them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.cohort.spells import monitoring_spells, poverty_spells
from riskmodel.errors import UsageError
from riskmodel.months import month_number, month_text
from riskmodel.register import Register, ingest
from riskmodel.settings import find_config
from riskmodel.simulation import simulate, world_of
from riskmodel.simulation.dynamics import live
from riskmodel.simulation.founding import found_county
from riskmodel.simulation.identifiers import household_ids, village_ids
from riskmodel.simulation.world import Recording
from tests.cohort.registers import make_register, monthly

AS_OF = month_number("2023-12")
PERFECT = Recording(
    visit_done=1.0, never_visited=0.0, department=1.0, row_missing=0.0, left_register=0.0, field_missing=(0.0, 0.0),
    field_mistaken=0.0, money_error=0.0, late=(0.0, 0.0), event_unrecorded=0.0, illness_unrecorded=0.0, care_unrecorded=0.0,
)  # fmt: skip


def told(spells: pd.DataFrame) -> list[tuple[str, str | None, bool]]:
    """First month, month after, whether the start is known."""
    ends = [None if pd.isna(n) else month_text(int(n)) for n in spells["until_no"]]
    return list(zip(spells["from_no"].map(lambda n: month_text(int(n))), ends, spells["start_known"], strict=True))


def slow_spells(records: pd.DataFrame, as_of: int, bridge: int) -> list[tuple]:
    """The same by loops: household, first, last and next month, assessments, whether the start is known."""
    found = []
    known = records[(records["known_at"] <= "2023-12-31") & records["welfare"].notna()]
    for household, rows in known.groupby("household_id"):
        months = {month_number(str(m)[:7]): w < 100 for m, w in zip(rows["month"], rows["welfare"], strict=True)}
        runs: list[dict] = []
        for month in sorted(m for m in months if m <= as_of):
            near = bool(runs) and month - runs[-1]["last"] <= 1 + bridge
            if near and runs[-1]["below"] == months[month]:
                runs[-1].update(last=month, n=runs[-1]["n"] + 1)
                continue
            if near:
                runs[-1]["until"] = month
            runs.append({"below": months[month], "from": month, "last": month, "until": None, "n": 1, "known": near})
        found += [(household, r["from"], r["last"], r["until"], r["n"], r["known"]) for r in runs if r["below"]]
    return found


def as_rows(spells: pd.DataFrame) -> list[tuple]:
    return [
        (r.household_id, r.from_no, r.last_no, None if pd.isna(r.until_no) else r.until_no, r.assessments, r.start_known)
        for r in spells.itertuples()
    ]


def test_a_spell_goes_from_the_first_month_below_to_the_first_above(tmp_path: Path) -> None:
    register = make_register(tmp_path, records=monthly("001", "2023-01", [150, 90, 90, 120, 120]))
    assert told(poverty_spells(register, AS_OF)) == [("2023-02", "2023-04", True)]


def test_the_start_of_a_spell_under_way_when_first_seen_is_not_known(tmp_path: Path) -> None:
    register = make_register(tmp_path, records=monthly("001", "2023-01", [90, 90, 120]))
    assert told(poverty_spells(register, AS_OF)) == [("2023-01", "2023-03", False)]


def test_a_spell_that_is_not_seen_to_end_is_open(tmp_path: Path) -> None:
    register = make_register(tmp_path, records=monthly("001", "2023-01", [150, 90, 90]))
    assert told(poverty_spells(register, AS_OF)) == [("2023-02", None, True)]


def test_a_spell_reaches_across_a_short_gap_and_no_further(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [150, 90, None, None, 90, 120, None, None, None, None, 90, 120])
    register = make_register(tmp_path, records=records)
    assert told(poverty_spells(register, AS_OF)) == [("2023-02", "2023-06", True), ("2023-11", "2023-12", False)]
    assert told(poverty_spells(register, AS_OF, bridge_months=1)) == [
        ("2023-02", None, True), ("2023-05", "2023-06", False), ("2023-11", "2023-12", False),
    ]  # fmt: skip


def test_what_was_known_on_the_day_counts_and_no_more(tmp_path: Path) -> None:
    records = pd.concat([
        monthly("001", "2023-01", [150, 90, 90, 120], known_at="2023-05-02"),
        monthly("001", "2023-02", [130, 130], known_at="2023-08-01"),
    ])  # fmt: skip
    register = make_register(tmp_path, records=records)
    assert told(poverty_spells(register, month_number("2023-07"))) == [("2023-02", "2023-04", True)]
    assert len(poverty_spells(register, AS_OF)) == 0


def test_a_register_without_a_line_has_no_poverty_spells(tmp_path: Path) -> None:
    register = make_register(tmp_path, records=monthly("001", "2023-01", [150.0, 90]).drop(columns="line"))
    with pytest.raises(UsageError, match="line"):
        poverty_spells(register, AS_OF)


histories = st.lists(
    st.lists(st.sampled_from([None, 60.0, 90.0, 110.0, 150.0]), min_size=3, max_size=16).filter(any), min_size=2, max_size=14
)


@settings(max_examples=5)
@given(histories=histories, bridge=st.integers(0, 4), seed=st.integers(0, 99))
def test_spells_cover_the_months_below_the_line_whatever_the_order_and_what_comes_later(
    tmp_path_factory: pytest.TempPathFactory, histories: list, bridge: int, seed: int
) -> None:
    records = pd.concat([monthly(f"{i:03d}", "2022-06", h) for i, h in enumerate(histories)], ignore_index=True)
    records["known_at"] = "2023-11-30"
    later = records.assign(welfare=250 - records["welfare"], known_at="2024-01-01")
    folder = tmp_path_factory.mktemp("spells")
    register = make_register(folder / "a", records=records)
    shuffled = pd.concat([records, later]).sample(frac=1, random_state=seed)
    found = poverty_spells(register, AS_OF, bridge_months=bridge)
    assert as_rows(found) == slow_spells(records, AS_OF, bridge)
    pd.testing.assert_frame_equal(
        found, poverty_spells(make_register(folder / "b", records=shuffled), AS_OF, bridge_months=bridge)
    )
    for household, rows in records.groupby("household_id"):
        spells = found[found["household_id"] == household]
        months = rows["month"].map(lambda m: month_number(m[:7])).to_numpy()
        inside = np.zeros(len(months), bool)
        for spell in spells.itertuples():
            inside |= (months >= spell.from_no) & (months <= spell.last_no)
        assert (inside == (rows["welfare"] < 100).to_numpy()).all()


def lived_spells(state: np.ndarray, households: np.ndarray, start: int) -> set[tuple[str, int, int | None]]:
    """Household, first month and month after of every run of a state; its rows are months from `start` on."""
    found = set()
    for column, household in zip(state.T, households, strict=True):
        edges = np.diff(column.astype(int), prepend=0)
        ends = [*np.nonzero(edges == -1)[0], None]
        for begun, ended in zip(np.nonzero(edges == 1)[0], ends, strict=False):
            found.add((household, start + int(begun), None if ended is None else start + int(ended)))
    return found


@pytest.mark.parametrize("name", ["easy", "hard"])
def test_spells_of_a_perfectly_kept_register_are_those_that_were_lived(name: str, tmp_path: Path) -> None:
    world = replace(world_of(name), recording=PERFECT)
    simulate(tmp_path / "source", world=world, households=300, months=30, seed=8801, with_truth=False)
    ingest(find_config("sources/simulated.yaml"), tmp_path / "source", tmp_path / "register")
    register = Register.open(tmp_path / "register")
    place, streams = found_county(world, households=300, months=30, seed=8801)
    course, last = live(place, streams), month_number(register.last_month)
    village = place.households.village
    households = household_ids(village, village_ids(register.counties[0], place.villages.township))

    def known(spells: pd.DataFrame) -> set[tuple[str, int, int | None]]:
        rows = spells.assign(from_no=spells["from_no"].clip(lower=place.start))
        return {(r.household_id, r.from_no, None if pd.isna(r.until_no) else r.until_no) for r in rows.itertuples()}

    poor = lived_spells(course.below, households, place.start)
    assert known(poverty_spells(register, last)) == poor and len(poor) > 30
    assert poverty_spells(register, last)["assessments"].sum() == course.below.sum()
    watched = {spell for spell in lived_spells(course.monitored, households, place.start) if spell[1] < last}
    told = {spell for spell in known(monitoring_spells(register, last)) if spell[1] < last}
    assert told == watched and len(watched) > 30, "those of the last month may not be known yet"


def ledger(*rows: tuple[str, str, str | None]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["household_id", "identified_on", "eliminated_on"])
    return frame.assign(
        known_at=frame["identified_on"], elimination_mode=frame["eliminated_on"].map(lambda d: d and "natural")
    )


def monitored(folder: Path, *rows: tuple[str, str, str | None], as_of: str = "2023-12") -> pd.DataFrame:
    register = make_register(folder, records=monthly("001", "2023-01", [150] * 12), spells=ledger(*rows))
    return monitoring_spells(register, month_number(as_of))


def test_elimination_ahead_of_the_day_leaves_the_spell_open(tmp_path: Path) -> None:
    found = monitored(tmp_path, ("001", "2023-02-10", "2023-09-05"), as_of="2023-08")
    assert found["until_no"].isna().tolist() == [True]
    assert found["mode"].isna().tolist() == [True]


def test_a_spell_whose_end_was_told_later_is_open_until_then_and_no_longer(tmp_path: Path) -> None:
    spells = ledger(("001", "2023-02-10", None), ("001", "2023-02-10", "2023-06-05"))
    spells["known_at"] = ["2023-02-10", "2023-08-20"]
    register = make_register(tmp_path, records=monthly("001", "2023-01", [150] * 12), spells=spells)
    ends = [monitoring_spells(register, month_number(m))["until_no"] for m in ("2023-07", "2023-08")]
    assert [list(e.map(lambda n: month_text(int(n)), na_action="ignore").dropna()) for e in ends] == [[], ["2023-06"]]


def test_a_spell_from_before_the_register_counts_from_its_first_month(tmp_path: Path) -> None:
    found = monitored(tmp_path, ("001", "2022-08-10", "2023-03-05"), ("001", "2021-02-01", "2021-09-01"))
    assert found[["spell_no", "entry"]].to_numpy().tolist() == [[2, 5]]


def test_of_overlapping_spells_the_last_end_says_how_monitoring_ended(tmp_path: Path) -> None:
    spells = ledger(("001", "2023-02-10", "2023-06-05"), ("001", "2023-04-01", "2023-09-30"))
    spells["elimination_mode"] = ["assisted", None]
    register = make_register(tmp_path, records=monthly("001", "2023-01", [150] * 12), spells=spells)
    assert monitoring_spells(register, month_number("2023-12"))["mode"].tolist() == ["not_recorded"]


def test_overlapping_spells_are_one(tmp_path: Path) -> None:
    found = monitored(
        tmp_path, ("001", "2023-02-10", "2023-06-05"), ("001", "2023-04-01", "2023-09-30"), ("001", "2023-11-01", None)
    )
    assert found["from_no"].map(lambda n: month_text(int(n))).tolist() == ["2023-02", "2023-11"]
    assert found["until_no"].map(lambda n: month_text(int(n)), na_action="ignore").tolist()[0] == "2023-09"
