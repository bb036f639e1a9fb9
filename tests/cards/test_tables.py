"""Months and counties of the card: counts add up, and none that is small can be worked out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.cards.assessed import lists, misses
from riskmodel.cards.drift import drift
from riskmodel.cards.model_card import model_card, write_card
from riskmodel.cards.tables import COUNTED, counted
from riskmodel.evaluation.disclosure import LEAST, withheld
from riskmodel.settings import Run
from tests.cards.example import ASSESSMENT, counts, evidence, make_model
from tests.cards.page import Page

LARGE = counts("a", 30, 20, 40, 900)


def test_large_counts_are_shown_with_their_shares() -> None:
    row, _ = counted([LARGE, counts("b", 20, 30, 40, 800)], COUNTED, LEAST)
    assert row["cells"] == ["990", "50", "70", "30"]
    assert row["rate"] == pytest.approx(50 / 990)
    assert row["recall"] == pytest.approx(0.6) and row["precision"] == pytest.approx(3 / 7)
    assert row["expected"] == pytest.approx(0.05)


def test_a_small_difference_of_two_large_counts_is_protected_and_its_share_with_it() -> None:
    few_missed = counts("b", 30, 3, 40, 900)
    _, row, _ = counted([LARGE, few_missed, counts("c", 30, 25, 40, 900)], COUNTED, LEAST)
    fell, found = row["cells"][1], row["cells"][3]
    assert withheld(fell) or withheld(found)
    assert row["recall"] is None


def test_sums_that_are_too_small_give_no_table() -> None:
    assert counted([counts("a", 4, 20, 40, 900), counts("b", 0, 30, 40, 900)], COUNTED, LEAST) is None
    assert counted([], COUNTED, LEAST) is None


CELLS = st.lists(st.one_of(st.integers(0, 12), st.integers(10, 300)), min_size=4, max_size=4)


@settings(max_examples=8, deadline=None)
@given(st.lists(CELLS, min_size=2, max_size=2))
def test_no_small_count_is_printed_nor_left_as_a_difference(cells: list[list[int]]) -> None:
    table = counted([counts(str(i), *row) for i, row in enumerate(cells)], COUNTED, LEAST)
    for row in table or []:
        printed = zip(COUNTED, row["cells"], strict=True)
        told = {name: int(cell.replace(",", "")) for name, cell in printed if not withheld(cell)}
        assert all(n == 0 or n >= LEAST for n in told.values())
        for whole, part in (("events", "caught"), ("listed", "caught"), ("rows", "events"), ("rows", "listed")):
            if {whole, part} <= told.keys():
                assert told[whole] == told[part] or told[whole] - told[part] >= LEAST


def test_lists_show_counties_and_lengths() -> None:
    found = lists(make_model(evidence(assessment=ASSESSMENT)))
    assert [row["cells"] for row in found["counties"]] == [["1,080", "130", "95", "50"], ["830", "80", "75", "35"]]
    drawn = found["chart"].count('class="mark-0"') - 1
    assert drawn == len(ASSESSMENT["by_length"]) - 1, "of the shortest list, hardly anybody did not fall"
    text = Page(model_card(make_model(evidence(assessment=ASSESSMENT)))).text("zh")
    assert "分县情况" in text and "k1" in text


@pytest.mark.parametrize(("households", "caught", "least"), [(2257, "12", 10), (2254, "*", 13), (1200, "<20", 20)])
def test_a_county_tells_of_ten_households_however_many_rows_ten_can_have(households: int, caught: str, least: int) -> None:
    """Two months: ten households have twenty rows at most, and ten where each is there once."""
    counties = [*ASSESSMENT["by_county"], counts("k3", 12, 20, 15, 300), counts("k4", 12, 20, 15, 300)]
    whole = {"known": 1910 + 2 * 347, "events": 210 + 2 * 32, "households": households + 347}
    model = make_model(evidence(assessment={**ASSESSMENT, **whole, "by_county": counties}))
    assert [row["cells"][3] for row in lists(model)["counties"]][2:] == [caught, caught]
    assert (f"“<{least}” says fewer than" in Page(model_card(model)).text("en")) == (least > 10)


def test_few_listed_households_without_an_outcome_are_no_difference_of_two_tables() -> None:
    churn = [ASSESSMENT["churn"][0], {**ASSESSMENT["churn"][1], "listed": 88}]
    found = lists(make_model(evidence(assessment={**ASSESSMENT, "churn": churn})))
    assert not found["with_lists"]
    assert [row["cells"] for row in found["counties"]] == [["1,080", "130", "50"], ["830", "80", "35"]]
    assert all(row["precision"] is None for row in found["counties"])


def test_one_county_and_lengths_that_find_few_are_not_shown() -> None:
    few = [{**row, "caught": 5.0} for row in ASSESSMENT["by_length"]]
    changed = {**ASSESSMENT, "by_county": ASSESSMENT["by_county"][:1], "by_length": few}
    found = lists(make_model(evidence(assessment=changed)))
    assert found["counties"] is None and not found["chart"]


def situation(group: str, caught: int, missed: int) -> dict[str, Any]:
    """A row of the table of misses; each row of a cell is another household's."""
    rows = {"caught": caught, "missed": missed, "not_fallen": 300}
    shares = {"caught_share": caught / (caught + missed), "caught_low": 0.1, "caught_high": 0.9, "part_of_missed": 0.3}
    return {
        "aspect": "last record",
        "group": group,
        "rows": sum(rows.values()),
        "events": caught + missed,
        "caught": caught,
        **shares,
        "risk": 0.1,
        "rate": 0.1,
        **{f"households_{name}": n for name, n in rows.items()},
    }


def test_twelve_falls_of_four_households_are_not_told_nor_left_as_the_rest() -> None:
    groups = [situation("this month", 30, 40), situation("1 month ago", 20, 25), situation("unknown", 12, 30)]
    groups[2]["households_caught"] = 4
    found = misses(make_model(evidence(assessment={**ASSESSMENT, "misses": {"situations": groups, "rules": []}})))
    assert [row["group"].en for row in found["rows"]] == ["this month"] and found["small"] == 2
    groups[2] |= {"households_caught": 12}
    found = misses(make_model(evidence(assessment={**ASSESSMENT, "misses": {"situations": groups, "rules": []}})))
    assert len(found["rows"]) == 3


def test_an_assessment_that_tells_no_households_is_held_against_the_rows_that_ten_can_have() -> None:
    """Two months: twenty rows may be of ten households."""
    groups = [situation(name, n, 50) for name, n in (("this month", 19), ("1 month ago", 20), ("unknown", 90))]
    older = [{k: v for k, v in row.items() if not k.startswith("households_")} for row in groups]
    found = misses(make_model(evidence(assessment={**ASSESSMENT, "misses": {"situations": older, "rules": []}})))
    assert [row["group"].en for row in found["rows"]] == ["unknown"]


def months(*rows: tuple[str, int, int]) -> dict[str, Any]:
    by_month = [counts(name, fell // 2, fell - fell // 2, 40, at_risk - fell - 40) for name, at_risk, fell in rows]
    return {
        "months": [row["group"] for row in by_month],
        "known": sum(row["rows"] for row in by_month),
        "events": sum(row["events"] for row in by_month),
        "by_month": by_month,
        "level": {"warning_en": "Too low.", "warning_zh": "偏低。"},
    }


def test_drift_shows_the_test_and_what_came_later_or_says_that_nothing_did() -> None:
    tested, later = months(("2023-01", 900, 60), ("2023-02", 950, 70)), months(("2024-01", 980, 90))
    model = make_model(evidence())
    model.evidence["later"] = [
        {
            "assessment": later,
            "metrics": model.evidence["results"]["lightgbm"]["test"],
            "looks": {"this": {"at": "2024-09-01T00:00", "first": "2024-01", "last": "2024-01", "reason": "yearly"}},
        }
    ]
    model.evidence["assessment"] = tested
    found = drift(model)
    assert [[row["group"] for row in table] for table in found["tables"]] == [["2023-01", "2023-02"], ["2024-01"]]
    assert "<polyline" in found["chart"] and found["later"][0]["warning"].zh == "偏低。"
    assert found["test"]["roc_auc"]["value"] == 0.853
    assert "nobody has evaluated this version on months after its training" in Page(model_card(make_model())).text("en")


def test_a_later_month_with_few_falls_tells_no_rate() -> None:
    model = make_model(evidence(assessment=months(("2023-01", 900, 60), ("2023-02", 950, 70))))
    model.evidence["later"] = [
        {
            "assessment": months(("2024-01", 980, 6)),
            "metrics": model.evidence["results"]["lightgbm"]["test"],
            "looks": {"this": {"at": "2024-09-01T00:00", "first": "2024-01", "last": "2024-01", "reason": "yearly"}},
        }
    ]
    found = drift(model)
    assert len(found["tables"]) == 1
    assert set(found["later"][0]["figures"]) == {"roc_auc"} and found["later"][0]["warning"] is None


def test_the_smallest_cell_is_a_setting_and_never_under_five(tmp_path) -> None:
    strict = make_model(run=Run(name="blue_river", smallest_cell=30))
    assert "“<30” stands for fewer than 30 households" in Page(model_card(strict)).text("en")
    write_card(make_model(), tmp_path / "card.html", smallest_cell=30)
    assert "“<30” stands for fewer than 30 households" in Page((tmp_path / "card.html").read_text("utf-8")).text("en")
    with pytest.raises(ValueError, match="greater than or equal to 5"):
        Run(smallest_cell=4)
