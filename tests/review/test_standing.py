"""Where decisions on an alert stand, and when a cause counts as known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.review.decisions import COLUMNS, Decisions
from riskmodel.review.standing import adjudicated, first_judgements, standing
from tests.review.month import decision, override


def table(*decided: tuple[str, str, str]) -> pd.DataFrame:
    """Decisions without a database: household, reviewer, and the cause, `rejected` or `deferred`; proposed: objective."""
    rows: list[dict[str, Any]] = []
    for seq, (household, reviewer, view) in enumerate(decided, 1):
        action = {"rejected": "reject", "deferred": "defer", "objective": "confirm"}.get(view, "override_cause")
        row = dict.fromkeys(COLUMNS, "") | {"seq": seq, "as_of": "2024-06", "county_id": "k", "household_id": household}
        row |= {"reviewer": reviewer, "action": action, "cause": "" if action in ("reject", "defer") else view}
        rows.append(row | {"proposed": "objective", "hidden": False, "appeal": "none", "hash": str(seq)})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"hidden": bool})


def status(*decided: tuple[str, str]) -> str:
    return standing(table(*(("h", reviewer, view) for reviewer, view in decided)))["status"].item()


def test_where_an_alert_stands() -> None:
    assert status(("Li", "deferred")) == "deferred"
    assert status(("Li", "objective")) == "decided"
    assert status(("Li", "objective"), ("Li", "mixed")) == "decided"  # one person changed their mind
    assert status(("Li", "objective"), ("Wang", "objective")) == "agreed"
    assert status(("Li", "objective"), ("Wang", "rejected")) == "differs"
    assert status(("Li", "objective"), ("Wang", "rejected"), ("Wang", "objective")) == "agreed"
    assert status(("Li", "objective"), ("Wang", "deferred")) == "decided"


def test_the_last_appeal_and_the_last_decision_are_told(tmp_path: Path) -> None:
    store = Decisions.open(tmp_path / "decisions.db")
    store.record(decision(appeal="open"))
    store.record(override(reviewer="Wang Wei", supersedes=1))
    row = standing(store.table()).iloc[0]
    assert (row["appeal"], row["last_reviewer"], row["last_action"], row["last_seq"]) == (
        "open",
        "Wang Wei",
        "override_cause",
        2,
    )
    assert (row["decisions"], row["reviewers"]) == (2, 2)


@pytest.mark.parametrize(
    ("views", "known"),
    [
        (["mixed"], None),
        (["mixed", "mixed"], "mixed"),
        (["mixed", "subjective"], None),
        (["mixed", "subjective", "mixed"], "mixed"),
        (["mixed", "mixed", "subjective", "subjective"], None),
        (["undetermined", "undetermined"], None),
        (["rejected", "rejected", "objective"], None),
    ],
)
def test_a_cause_is_adjudicated_where_two_people_hold_it_and_more_than_hold_another(
    views: list[str], known: str | None
) -> None:
    found = adjudicated(table(*(("h", f"reviewer {n}", view) for n, view in enumerate(views))), reviewers=2)
    assert found["adjudicated"].tolist() == ([known] if known else [])


def test_one_person_twice_is_one_person() -> None:
    assert adjudicated(table(("h", "Li", "mixed"), ("h", "Li", "mixed")), 2).empty


def test_what_is_deferred_is_no_judgement() -> None:
    first = first_judgements(table(("h", "Li", "deferred"), ("h", "Wang", "mixed"), ("h", "Li", "rejected")))
    assert first["reviewer"].tolist() == ["Wang"]


_VIEWS = st.sampled_from(["objective", "subjective", "mixed", "undetermined", "rejected", "deferred"])


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), _VIEWS), min_size=1, max_size=14))
def test_standing_is_that_of_plain_loops(decided: list[tuple[str, str, str]]) -> None:
    frame = table(*decided)
    found = standing(frame).set_index("household_id")
    known = adjudicated(frame, 2).set_index("household_id")["adjudicated"].to_dict()
    for household in {h for h, _, _ in decided}:
        last = {reviewer: view for h, reviewer, view in decided if h == household}
        views = [view for view in last.values() if view != "deferred"]
        expected = (
            "deferred" if not views else "decided" if len(views) == 1 else "agreed" if len(set(views)) == 1 else "differs"
        )
        assert found.loc[household, "status"] == expected
        assert found.loc[household, "reviewers"] == len(last)
        counts = sorted(((views.count(v), v) for v in set(views)), reverse=True)
        clear = counts and counts[0][0] >= 2 and (len(counts) == 1 or counts[0][0] > counts[1][0])
        cause = counts[0][1] if clear and counts[0][1] not in ("rejected", "undetermined") else None
        assert known.get(household) == cause
