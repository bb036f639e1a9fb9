"""The model card: one HTML file in Chinese and English, made from what the model carries with it.

A section is one entry of `SECTIONS` in `sections.py`: a title, a function that takes its facts out of the
model (the checklists take theirs from all other sections), and the template `templates/sections/<name>.html.j2`
that holds its texts. The page around them is `templates/card.html.j2`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from riskmodel.cards.checklists import checklists
from riskmodel.cards.printing import lacks_chinese_font, write_pdf
from riskmodel.cards.rendering import Language, render
from riskmodel.cards.sections import SECTIONS, headline
from riskmodel.errors import UsageError
from riskmodel.model.bundle import RiskModel
from riskmodel.register import commit_file
from riskmodel.settings import Run

_NEEDED = ("data", "folds", "results")


def model_card(
    model: RiskModel,
    lang: Language = "zh",
    later: Sequence[Mapping[str, Any]] = (),
    promotion: Mapping[str, str] | None = None,
    oversight: Mapping[str, Any] | None = None,
    *,
    no_font: bool = False,
) -> str:
    """The model card as self-contained HTML: no script, nothing loaded from elsewhere.

    Parameters
    ----------
    model
        A trained model; its evidence fills the card.
    lang
        Language in which the card opens; a switch on the page shows the other one.
    later
        Evaluations after the training, from `later_evaluations`.
    promotion
        How it became champion, from `promotion_of`.
    oversight
        Reviewers' decisions so far, from `read_oversight`.
    no_font
        Say on the card that the machine which prints it has no Chinese font.

    Raises
    ------
    UsageError
        If the model carries no evidence of its training.
    """
    lacking = [part for part in _NEEDED if not model.evidence.get(part)]
    if lacking:
        raise UsageError(
            f"model {model.version} carries no {' and no '.join(lacking)} from its training, so there is "
            "nothing to show. Train it with `riskmodel train`."
        )
    model = replace(model, evidence={**model.evidence, "later": list(later), "promotion": promotion, "oversight": oversight})
    facts = {section.name: section.facts(model) for section in SECTIONS if section.facts}
    filled = {section.name: checklists(facts) for section in SECTIONS if not section.facts}
    shown = [(section, SimpleNamespace(**{**facts, **filled}[section.name])) for section in SECTIONS]
    number = {section.name: i for i, section in enumerate(SECTIONS, 1)}
    return render("card.html.j2", sections=shown, number=number, lang=lang, no_font=no_font, **headline(model))


def write_card(
    model: RiskModel,
    out: Path,
    lang: Language = "zh",
    later: Sequence[Mapping[str, Any]] = (),
    promotion: Mapping[str, str] | None = None,
    oversight: Mapping[str, Any] | None = None,
    *,
    pdf: Path | None = None,
    smallest_cell: int | None = None,
) -> None:
    """Write the model card to a file, whole or not at all, and print it.

    Parameters
    ----------
    pdf
        PDF file to print to, in the language `lang`.
    smallest_cell
        Fewest households that a cell may stand for, at least 5; by default as the run's settings say.
    """
    if smallest_cell is not None:
        model = replace(model, run=Run(**{**model.run.model_dump(), "smallest_cell": smallest_cell}))
    commit_file(out, model_card(model, lang, later, promotion, oversight).encode("utf-8"))
    if pdf is not None:
        write_pdf(model_card(model, lang, later, promotion, oversight, no_font=lacks_chinese_font()), pdf)
