"""Decisions are added and never lost: the chain, the guards of the database, reviewers at the same time."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.errors import Conflict, DatabaseError, IntegrityError, NotFound, Refused, UsageError
from riskmodel.explain.causes import JUDGED, VERDICTS
from riskmodel.review.decisions import COLUMNS, GENESIS, Decisions
from riskmodel.review.rules import ACTIONS, UNSEEN, faults, load_rules
from tests.review.month import HOSTILE, alert, decision, override
from tests.review.servers import postgres

_MANY = """
import sys
from riskmodel.errors import Conflict
from riskmodel.review.decisions import Decisions
from tests.review.month import decision
store, name = Decisions.open(sys.argv[1]), sys.argv[2]
won = 0
for n in range(8):
    try:
        store.record(decision(f"shared {n}", reviewer=name))
        won += 1
    except Conflict:
        pass
    store.record(decision(f"{name} {n}", reviewer=name))
print(won)
"""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "postgresql":
        with postgres() as url:
            yield url
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield str(Path(folder) / "decisions.db")


@pytest.fixture
def store(place: str) -> Iterator[Decisions]:
    """An empty store: the table of the test before is dropped, which only an owner of the database can do."""
    opened = Decisions.open(place)
    with opened._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE decisions")
        if opened._engine.dialect.name == "postgresql":
            connection.exec_driver_sql("DROP FUNCTION decisions_refuse, decisions_chain")
    opened.close()
    opened = Decisions.open(place)
    yield opened
    opened.close()


def by_hand(store: Decisions, statement: str, /, **values: object) -> None:
    """What somebody with the database's password could write."""
    with store._engine.begin() as connection:
        connection.execute(sa.text(statement), values)


def test_a_decision_is_read_back_as_it_was_recorded(store: Decisions) -> None:
    row = store.record(override(cause="mixed", statement="we both were ill", risk=0.123456789012345678, verdict="objective"))
    table = store.table()
    assert list(table.columns) == list(COLUMNS)
    kept = table.iloc[0].to_dict()
    assert {k: v for k, v in kept.items() if k != "supersedes"} == {k: v for k, v in row.items() if k != "supersedes"}
    assert pd.isna(kept["supersedes"]) and row["previous_hash"] == GENESIS
    assert store.history("2024-06", "k1", "0412") == [row]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_are_only_words(store: Decisions, text: str) -> None:
    row = store.record(decision(text, note=text, statement=text, reviewer=text))
    assert store.history("2024-06", "k1", text)[0]["hash"] == row["hash"]
    assert "\u202e" not in row["note"] + row["statement"] + row["reviewer"]
    assert store.verify().rows == 1


@pytest.mark.parametrize(
    "statement",
    ["UPDATE decisions SET cause = 'subjective'", "DELETE FROM decisions", "DELETE FROM decisions WHERE seq = 2"],
)
def test_the_database_refuses_to_change_or_remove_a_decision(store: Decisions, statement: str) -> None:
    for n in range(3):
        store.record(decision(str(n)))
    with pytest.raises(sa.exc.DBAPIError, match="never"):
        by_hand(store, statement)
    assert store.verify().rows == 3


def test_a_full_database_is_told_without_what_the_household_said(tmp_path: Path) -> None:
    store = Decisions.open(tmp_path / "decisions.db")
    by_hand(store, "CREATE TRIGGER full BEFORE INSERT ON decisions BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    household, said = "04" + "12", "the son " + "drinks"
    with pytest.raises(DatabaseError, match="refuses .disk is full.") as caught:
        store.record(decision(household, note=said))
    shown = "".join(traceback.format_exception(caught.value))
    assert said not in shown and household not in shown
    assert len(store.table()) == 0


def test_the_database_refuses_a_row_that_does_not_follow_the_last(store: Decisions) -> None:
    first, second = store.record(decision("1")), store.record(decision("2"))
    names = ", ".join(COLUMNS)
    forks = {
        "a second child of the first": {"seq": 3, "previous_hash": first["hash"]},
        "a gap": {"seq": 5, "previous_hash": second["hash"]},
        "a second beginning": {"seq": 3, "previous_hash": GENESIS},
    }
    for changes in forks.values():
        row = second | {"hash": "f" * 64} | changes
        with pytest.raises(sa.exc.DBAPIError, match="follow"):
            by_hand(store, f"INSERT INTO decisions ({names}) VALUES ({', '.join(f':{c}' for c in COLUMNS)})", **row)
    if store._engine.dialect.name == "sqlite":  # REPLACE removes rows without asking the trigger of removals
        for row in (
            second | {"hash": "e" * 64},
            second | {"seq": 3, "previous_hash": second["hash"], "hash": first["hash"]},
        ):
            with pytest.raises(sa.exc.DBAPIError, match="follow"):
                by_hand(store, f"REPLACE INTO decisions ({names}) VALUES ({', '.join(f':{c}' for c in COLUMNS)})", **row)
    assert store.verify().rows == 2


def test_a_decision_on_something_that_has_changed_is_a_conflict_that_shows_what_came_between(store: Decisions) -> None:
    first = store.record(decision())
    second = store.record(override(reviewer="Wang Wei", supersedes=first["seq"]))
    with pytest.raises(Conflict) as told:
        store.record(decision(reviewer="Zhao Min", supersedes=first["seq"]))
    assert [row["reviewer"] for row in told.value.between] == ["Wang Wei"]
    with pytest.raises(Conflict) as told:
        store.record(decision(reviewer="Zhao Min"))
    assert [row["seq"] for row in told.value.between] == [first["seq"], second["seq"]]
    store.record(decision("another household"))
    assert store.record(decision(reviewer="Zhao Min", supersedes=second["seq"]))["seq"] == 4
    with pytest.raises(UsageError, match="no decision on this alert"):
        store.record(decision("another household", supersedes=1))


def test_several_decisions_are_recorded_all_or_none(store: Decisions) -> None:
    with pytest.raises(Refused):
        store.record_all([decision("1"), decision("2"), override("3", note=" ")])
    assert store.head().rows == 0
    assert [row["seq"] for row in store.record_all([decision("1"), decision("2")])] == [1, 2]


def test_reviewers_at_the_same_time_make_one_chain_and_one_first_decision_per_alert(place: str, store: Decisions) -> None:
    def review(name: str) -> int:
        own, won = Decisions.open(place), 0
        for n in range(6):
            try:
                own.record(decision(f"shared {n}", reviewer=name))
                won += 1
            except Conflict:
                continue
        own.close()
        return won

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(review, [f"reviewer {n}" for n in range(6)]))
    assert sum(won) == 6
    assert store.verify().rows == 6
    assert store.table()["household_id"].nunique() == 6


@pytest.mark.slow
def test_processes_at_the_same_time_make_one_chain(place: str, store: Decisions) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", _MANY, place, f"process {n}"], stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    won = [int(process.communicate(timeout=120)[0]) for process in running]
    assert sum(won) == 8
    assert store.verify().rows == 8 + 2 * 8


@settings(max_examples=8)
@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("xyz"), st.booleans()), max_size=12))
def test_whatever_the_order_each_decision_has_seen_the_one_before(steps: list[tuple[str, str, bool]]) -> None:
    """Reviewers look again or do not before they decide; who did not look is told of the conflict, and nothing is lost."""
    with tempfile.TemporaryDirectory() as folder:
        store = Decisions.open(Path(folder) / "decisions.db")
        seen: dict[tuple[str, str], int | None] = {}
        last: dict[str, int] = {}
        recorded = 0
        for reviewer, household, looks in steps:
            if looks:
                seen[reviewer, household] = last.get(household)
            known = seen.get((reviewer, household))
            given_ = decision(household, reviewer=f"reviewer {reviewer}", supersedes=known)
            if known == last.get(household):
                last[household] = store.record(given_)["seq"]
                recorded += 1
            else:
                with pytest.raises(Conflict):
                    store.record(given_)
        assert store.verify().rows == recorded
        for _, chain in store.table().groupby("household_id"):
            assert chain["supersedes"].tolist()[1:] == chain["seq"].tolist()[:-1]
        store.close()


def open_by_hand(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file)
    for trigger in ("decisions_kept", "decisions_unchanged", "decisions_follow"):
        connection.execute(f"DROP TRIGGER {trigger}")
    return connection


@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        ("UPDATE decisions SET cause = 'subjective' WHERE seq = 2", "decision 2 was changed"),
        ("UPDATE decisions SET note = 'x', hash = '{}' WHERE seq = 2".format("0" * 64), "decision 2 was changed"),
        ("UPDATE decisions SET recorded_at = '2020' WHERE seq = 4", "decision 4 was changed"),
        ("DELETE FROM decisions WHERE seq = 3", "decision 3 is gone"),
        ("UPDATE decisions SET seq = 9 WHERE seq = 4", "decision 4 is gone"),
        ("UPDATE decisions SET previous_hash = 'x' WHERE seq = 3", "decision 3 does not follow decision 2"),
    ],
)
def test_a_file_edited_from_outside_is_found_down_to_the_row(tmp_path: Path, tampering: str, told: str) -> None:
    file = tmp_path / "decisions.db"
    store = Decisions.open(file)
    store.record_all([decision(str(n)) for n in range(4)])
    with open_by_hand(file) as connection:
        connection.execute(tampering)
    with pytest.raises(IntegrityError, match=told):
        store.verify()


def test_a_shortened_chain_is_found_by_the_head_of_an_earlier_export(tmp_path: Path) -> None:
    file = tmp_path / "decisions.db"
    store = Decisions.open(file)
    store.record_all([decision(str(n)) for n in range(4)])
    head = store.verify().head
    with open_by_hand(file) as connection:
        connection.execute("DELETE FROM decisions WHERE seq = 4")
    assert store.verify().rows == 3
    with pytest.raises(IntegrityError, match="removed from its end"):
        store.verify(head)


def test_only_the_owner_can_read_a_new_file(tmp_path: Path) -> None:
    Decisions.open(tmp_path / "deep" / "decisions.db")
    assert stat.S_IMODE((tmp_path / "deep" / "decisions.db").stat().st_mode) == 0o600


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no decisions here"):
        Decisions.open(tmp_path / "missing.db", create=False)
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "text.db").write_text("not a database " * 100)
    with pytest.raises(UsageError, match="not a database"):
        Decisions.open(tmp_path / "text.db")
    with pytest.raises(UsageError, match="mysql is not supported"):
        Decisions.open("mysql://me:secret@host/x")
    with pytest.raises(UsageError) as told:
        Decisions.open("postgresql://me:secret@127.0.0.1:1/x?connect_timeout=2")
    assert "secret" not in str(told.value)


def test_an_override_needs_a_reason_and_a_note_in_both_languages(tmp_path: Path) -> None:
    store = Decisions.open(tmp_path / "decisions.db")
    with pytest.raises(Refused) as told:
        store.record(override(reason="", note=""))
    assert [fault.field for fault in told.value.faults] == ["reason", "note"]
    assert "须选择理由" in told.value.faults[0].zh and "needs a reason" in told.value.faults[0].en
    for wrong, field in (
        (override(reason="income_secure"), "reason"),
        (override(reason="judged_unseen"), "reason"),
        (override(cause="objective"), "cause"),
        (override(cause=""), "cause"),
        (decision(cause="mixed"), "cause"),
        (decision(reviewer=" \u202e "), "reviewer"),
        (decision(action="reduce_support"), "action"),
        (decision(action="reject", reason="other", note=""), "note"),
        (decision(action="defer", cause="objective", reason="not_met"), "cause"),
        (decision(appeal="lost"), "appeal"),
    ):
        with pytest.raises(Refused) as told:
            store.record(wrong)
        assert field in [fault.field for fault in told.value.faults], wrong
    assert store.head().rows == 0


@given(
    st.sampled_from(VERDICTS),
    st.sampled_from(ACTIONS),
    st.sampled_from(VERDICTS),
    st.sampled_from(["", "no_able_labour", "major_illness, sole_carer"]),
    st.sampled_from(["", "no_able_labour", "sole_carer, recent_death"]),
    st.sampled_from(["", "sole_carer", "no_able_labour, sole_carer, recent_death"]),
)
def test_a_protected_household_is_never_put_down_to_a_subjective_factor(
    proposed: str, action: str, cause: str, protected: str, unchecked: str, ruled_out: str
) -> None:
    given_ = decision(
        verdict=proposed, action=action, cause=cause, protected=protected, unchecked=unchecked, ruled_out=ruled_out,
        reason={"override_cause": "other", "reject": "other", "defer": "other"}.get(action, ""), note="why",
    )  # fmt: skip
    taken = not faults(given_, load_rules(), given_.protected)
    open_question = set(unchecked.split(", ")) - set(ruled_out.split(", ")) - {""}
    if taken and given_.cause in JUDGED:
        assert not protected and not open_question


def test_an_open_appeal_protects_in_later_months_too_until_it_is_closed(tmp_path: Path) -> None:
    store = Decisions.open(tmp_path / "decisions.db")
    store.record(decision(action="defer", reason="appeal_open", appeal="open"))
    subjective = override(cause="subjective", as_of="2024-09")
    with pytest.raises(Refused, match="appeal open"):
        store.record(subjective)
    store.record(decision(as_of="2024-08", appeal="closed"))
    assert store.record(subjective)["cause"] == "subjective"
    with pytest.raises(Refused, match="appeal open"):
        store.record(override("0413", cause="subjective", appeal="open"))


@pytest.mark.parametrize(
    ("given_", "wrong"),
    [
        ({}, []),
        ({"note": " "}, ["note"]),
        ({"reason": "other"}, ["reason"]),
        ({"protected": "sole_carer"}, ["cause"]),
        ({"unchecked": "sole_carer"}, ["ruled_out"]),
        ({"unchecked": "sole_carer", "ruled_out": "sole_carer"}, []),
        ({"action": "confirm", "verdict": "subjective"}, []),
        ({"action": "confirm", "verdict": "subjective", "protected": "sole_carer"}, ["cause"]),
    ],
)
def test_a_cause_judged_without_sight_of_the_proposal_protects_the_household_as_any_other(
    given_: dict[str, str], wrong: list[str]
) -> None:
    judged = {"action": "override_cause", "cause": "subjective", "reason": UNSEEN, "note": "why", "hidden": True}
    taken = decision(**(judged | given_))
    assert [fault.field for fault in faults(taken, load_rules(), taken.protected)] == wrong


def test_another_reason_is_taken_with_a_note_that_says_which() -> None:
    for note, wrong in (("moved to her son", []), ("", ["note"])):
        taken = decision(action="reject", reason="other", note=note)
        assert [fault.field for fault in faults(taken, load_rules(), "")] == wrong


def test_an_appeal_is_that_of_one_household_of_one_county(tmp_path: Path) -> None:
    store = Decisions.open(tmp_path / "decisions.db")
    store.record(decision("0413", action="defer", reason="appeal_open", appeal="open"))
    store.record(decision("0412", action="defer", reason="appeal_open", appeal="open", county_id="k2"))
    assert store.record(override(cause="subjective"))["cause"] == "subjective"
    store.record(decision("0413", action="defer", reason="not_met", as_of="2024-07"))
    with pytest.raises(Refused, match="appeal open"):
        store.record(override("0413", cause="subjective", as_of="2024-08"))


def test_no_choice_of_a_reviewer_lowers_or_ends_support() -> None:
    rules = load_rules()
    assert {a.name for a in rules.actions} == set(ACTIONS)
    words = " ".join(f"{r.en} {r.zh}" for r in (*rules.actions, *rules.reasons))
    for forbidden in ("reduce", "withdraw", "stop help", "end support", "取消帮扶", "降低", "停发", "终止"):
        assert forbidden not in words


def test_a_decision_takes_the_alert_as_it_stands() -> None:
    taken = decision(protected="sole_carer", verdict="undetermined")
    assert (taken.cause, taken.proposed, taken.protected, taken.risk) == (
        "undetermined",
        "undetermined",
        "sole_carer",
        alert()["risk"],
    )
