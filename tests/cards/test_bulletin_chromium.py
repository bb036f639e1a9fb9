"""The bulletin in a real browser: it fits phone, desk and paper, and its first page is one page."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from riskmodel.cards.bulletin import bulletin
from riskmodel.monitoring.part import Found
from riskmodel.monitoring.rules import Rules
from riskmodel.monitoring.running import PARTS
from tests.cards.findings import asked, course, found, listed
from tests.cards.test_chromium import browser, fits, opened_quietly, pages

__all__ = ["browser"]
pytestmark = pytest.mark.slow
SILENT = {part.name: Found({}, notes=[(f"{part.name} cannot be told.", f"{part.name}无法统计。")]) for part in PARTS}
_BEHIND = re.compile(r'<div class="behind">.*(?=</div>\s*</body>)', re.DOTALL)


def crowded() -> dict[str, Found]:
    """All that the rules allow on the first page, with long ids and names."""
    parts = found()
    for part, table in (("spells", "long_stays"), ("spells", "frequent_entries"), ("assistance", "change_of_measure")):
        rows = parts[part].tables[table]
        rows["household_id"] = "3301000010010000" + rows["household_id"]
    parts["spells"].tables["long_stays"]["measures"] = "protection x12; public_post x11; living_conditions x3"
    early = listed(5, "3301000010010000R", identified_on=pd.Timestamp("2023-01-05"))
    early["eliminated_on"] = pd.Timestamp("2024-03-05")
    why = "soon_after_help; removed_by_help_within_two_months"
    parts["spells"].tables["removed_early"] = early.assign(reasons=why, came_back=True)
    parts["assistance"].tables["change_of_measure"]["unanswered"] = "schooling; housing; disability; labour"
    parts["month"].tables["month_course"] = course(income_not_recorded=[31, 33], amount_not_recorded=[12, 15])
    books = parts["funds"].tables["fund_exceptions"]
    books["responsible_unit"] = "office for human resources of the county"
    books.loc[:1, "paid"] = None
    left_out = dict.fromkeys(("plan_not_recorded", "amount_not_recorded"), [100, 100, 0])
    totals = parts["funds"].tables["fund_totals"].assign(**left_out, not_compared=[178, 178, 0])
    parts["funds"].tables["fund_totals"] = totals
    alarms = parts["drift"].tables["alarms"]
    long = alarms.assign(
        action_en="The median of this column is another one. " * 6, action_zh="该字段的中位数发生变化。" * 12
    )
    parts["drift"] = Found({"alarms": long.loc[[0, 0, 0]]}, {"alarms": 3, "tests": 155})
    projects = parts["industries"].tables["projects"]
    parts["industries"].tables["projects"] = projects.loc[[0, 1, 0, 1, 0, 1]].assign(project_id="P330100001001")
    return parts


@pytest.mark.parametrize("findings", [found(), crowded(), SILENT], ids=["told", "crowded", "silent"])
def test_the_bulletin_fits_phone_and_desk_in_both_languages(
    browser: str, tmp_path: Path, findings: dict[str, Found]
) -> None:
    silent = findings is SILENT
    fits(browser, tmp_path, bulletin(asked(), findings), least=60 if silent else 200)


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("findings", [found(), crowded(), SILENT], ids=["told", "crowded", "silent"])
def test_the_first_page_is_one_page_of_paper(browser: str, tmp_path: Path, lang: str, findings: dict[str, Found]) -> None:
    whole = bulletin(asked(rules=Rules(bulletin={"list_rows": 5})), findings, lang=lang)
    first = _BEHIND.sub("", whole)
    assert len(first) < len(whole)
    assert pages(browser, tmp_path, first) == 1


def test_details_are_printed_though_they_are_closed_on_the_screen(browser: str, tmp_path: Path) -> None:
    whole = bulletin(asked(), found(), lang="en")
    closed = pages(browser, tmp_path, whole)
    assert "<details open" not in whole
    assert closed == pages(browser, tmp_path, whole.replace("<details>", "<details open>")) > 4


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_bulletin_opens_without_an_error(browser: str, tmp_path: Path, lang: str) -> None:
    page = tmp_path / "bulletin.html"
    page.write_text(bulletin(asked(), found(), lang=lang), encoding="utf-8")
    assert "<script" not in opened_quietly(browser, page)
