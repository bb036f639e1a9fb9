"""Small counts of the bulletin's tables cannot be worked out from the totals that stand beside them."""

from __future__ import annotations

import pandas as pd

from riskmodel.cards.sums import printed_counts

SPELLS = ["spells", "ended", "open"]


def durations(first: tuple[int, int], again: tuple[int, int]) -> pd.DataFrame:
    rows = [(a + b for a, b in zip(first, again, strict=True)), first, again]
    return pd.DataFrame(
        [(e, sum(r), *r) for e, r in zip(("all", "first", "again"), map(tuple, rows), strict=True)],
        columns=["entry", *SPELLS],
    ).assign(kind="monitoring")


def test_households_back_in_monitoring_are_not_all_spells_less_first_spells() -> None:
    texts, few = printed_counts("duration_summary", durations((229, 106), (1, 400)), SPELLS, 10)
    hidden = {(i, c) for c in SPELLS for i, text in enumerate(texts[c]) if text in ("*", "<10")}
    assert {(2, "ended"), (2, "open")} <= hidden or {(2, "ended"), (2, "spells")} <= hidden
    assert (0, "ended") in hidden or (1, "ended") in hidden, "all less first would be the one household"
    assert few[2]


def test_where_nothing_is_small_nothing_is_withheld() -> None:
    texts, few = printed_counts("duration_summary", durations((259, 45), (71, 13)), SPELLS, 10)
    assert texts["ended"] == ["330", "259", "71"] and texts["open"] == ["58", "45", "13"] and not few.any()


def test_the_total_of_ended_spells_stands_in_another_table() -> None:
    rows = pd.DataFrame({"kind": "poverty", "reason": list("abc"), "spells": [94, 2, 22]})
    texts, few = printed_counts("exits", rows, ["spells"], 10)
    assert texts["spells"] == ["94", "<10", "*"] and few.tolist() == [False, True, True]


def test_help_in_time_keeps_its_rows_where_one_of_them_is_small() -> None:
    rows = pd.DataFrame({"within_days": [15, 30], "needs": [176, 173], "helped": [3, 18], "share": [3 / 176, 18 / 173]})
    texts, few = printed_counts("help_timeliness", rows, ["needs", "helped"], 10)
    assert texts == {"needs": ["176", "173"], "helped": ["<10", "18"]} and few.tolist() == [True, False]


def test_an_industry_of_few_households_is_not_the_households_of_the_county_less_the_others() -> None:
    rows = pd.DataFrame({"county_id": ["A", "A", "B"], "industry": ["tea", "fruit", "tea"], "main_households": [3, 60, 90]})
    assert printed_counts("industries", rows, ["main_households"], 10)[0]["main_households"] == ["<10", "*", "90"]


def test_a_share_of_few_households_hides_with_their_number() -> None:
    rows = pd.DataFrame({"training": ["completed", "not_completed"], "households": [532, 16], "share": [0.077, 0.125]})
    assert printed_counts("training_work", rows, ["households"], 10)[1].tolist() == [False, True]


def test_shares_of_a_total_of_few_are_withheld_though_they_are_nought() -> None:
    rows = pd.DataFrame({"miss": ["missed_return"] * 2 + ["false_alert"] * 2, "miss_class": ["a", "b"] * 2})
    texts, few = printed_counts("miss_classes", rows.assign(misses=[0, 1, 15, 46]), ["misses"], 10)
    assert texts["misses"] == ["0", "<10", "15", "46"]
    assert few.tolist() == [True, True, False, False], "the interval of nought of one tells the one"


def test_rows_that_are_cut_off_protect_what_is_shown() -> None:
    rows = pd.DataFrame({"by": "kind", "of_what": ["*", "health", "water"], "grants": [120, 100, 3]})
    assert printed_counts("fund_totals", rows, ["grants"], 10)[0]["grants"] == ["120", "100", "<10"], "17 are not shown"
    rows["grants"] = [103, 100, 3]
    assert "*" in printed_counts("fund_totals", rows, ["grants"], 10)[0]["grants"]
