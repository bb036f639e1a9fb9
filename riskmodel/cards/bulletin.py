"""The monitoring bulletin: one page for the head of a county, then the details behind it, in Chinese and English.

It is made of what `riskmodel.monitoring` found and of nothing else: `front_page` picks what stands first, `details` lays out
every part, `templates/bulletin.html.j2` is the page. It is for the office: its lists name households, the counts beside them
do not. No count of a breakdown stands for fewer households than the rule `bulletin.smallest_cell`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from riskmodel.cards.details import details
from riskmodel.cards.findings import Findings
from riskmodel.cards.front_page import alarms, changes, compared_months, lists, not_told, numbers
from riskmodel.cards.rendering import Language, render, shortened
from riskmodel.cards.wording import counties_words
from riskmodel.errors import UsageError
from riskmodel.monitoring.part import Asked, Found
from riskmodel.months import month_text
from riskmodel.register import read_manifest


def bulletin(
    asked: Asked,
    found: Mapping[str, Found],
    before: Mapping[str, Any] | None = None,
    lang: Language = "zh",
    *,
    no_font: bool = False,
) -> str:
    """The bulletin as one self-contained page; the same findings give the same bytes.

    Parameters
    ----------
    asked
        What every part was given.
    found
        From `riskmodel.monitoring.running.run_parts`.
    before
        From `earlier_report`: the totals of the lists are held against it.
    lang
        Language in which the page opens; a switch shows the other one.
    no_font
        Whether the page is to be printed where no Chinese font is known.
    """
    report = Findings(asked, found, before)
    return render(
        "bulletin.html.j2",
        as_of=month_text(asked.as_of),
        day=asked.day.isoformat(),
        source=shortened(asked.register.manifest["about"]["source"]),
        counties=counties_words(len(asked.register.counties)),
        months=[month_text(month) for month in compared_months(report)],
        least=report.least,
        table_rows=asked.rules.bulletin.table_rows,
        before=before,
        alarms=alarms(report),
        changes=changes(report),
        not_told=not_told(report),
        numbers=numbers(report),
        lists=lists(report),
        details=list(details(report)),
        lang=lang,
        no_font=no_font,
    )


def earlier_report(folder: Path, asked: Asked) -> dict[str, Any]:
    """What the manifest of an earlier report says of it.

    Raises
    ------
    NotFound
        If the folder holds no report.
    UsageError
        If it is not of an earlier month, or of another register.
    """
    about = read_manifest(folder, kind="monitoring")["about"]
    month, source = month_text(asked.as_of), asked.register.manifest["about"]["source"]
    if about["as_of"] >= month:
        raise UsageError(f"{folder}: a report of {about['as_of']}, which is not before {month}. Name an earlier one.")
    other = about["inputs"]["register"]["source"]
    if other != source:
        raise UsageError(f"{folder}: a report on register {other!r}, not on {source!r}. Name one of the same register.")
    return about
