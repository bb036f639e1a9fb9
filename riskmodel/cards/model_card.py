"""The model card: one HTML file in Chinese and English, made from what the model carries with it.

A section is one entry of `SECTIONS` in `sections.py`: a title, a function that takes its facts out of the
model, and the template `templates/sections/<name>.html.j2` that holds its texts. The page around them is
`templates/card.html.j2`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from riskmodel.cards.rendering import Language, render
from riskmodel.cards.sections import SECTIONS, headline
from riskmodel.errors import UsageError
from riskmodel.model.bundle import RiskModel
from riskmodel.register import commit_file

_NEEDED = ("data", "folds", "results")


def model_card(
    model: RiskModel,
    lang: Language = "zh",
    later: Sequence[Mapping[str, Any]] = (),
    promotion: Mapping[str, str] | None = None,
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
    model = replace(model, evidence={**model.evidence, "later": list(later), "promotion": promotion})
    shown = [(section, SimpleNamespace(**section.facts(model))) for section in SECTIONS]
    number = {section.name: i for i, section in enumerate(SECTIONS, 1)}
    return render("card.html.j2", sections=shown, number=number, lang=lang, **headline(model))


def write_card(
    model: RiskModel,
    out: Path,
    lang: Language = "zh",
    later: Sequence[Mapping[str, Any]] = (),
    promotion: Mapping[str, str] | None = None,
) -> None:
    """Write the model card to a file, whole or not at all."""
    commit_file(out, model_card(model, lang, later, promotion).encode("utf-8"))
