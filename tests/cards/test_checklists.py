"""The checklists: every item answered from the card or openly not done."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from riskmodel.cards import checklists as room
from riskmodel.cards.checklists import EVIDENCE, checklists, read_checklists
from riskmodel.cards.model_card import model_card
from riskmodel.cards.sections import SECTIONS
from riskmodel.errors import CatalogueError
from tests.cards.example import evidence, make_model
from tests.cards.page import CJK, Page


def answers(**changes: Any) -> dict[tuple[str, str], bool]:
    """Whether each item is done, by list and number."""
    model = make_model(evidence(**changes))
    model.evidence.setdefault("later", [])
    found = checklists({s.name: s.facts(model) for s in SECTIONS if s.facts})
    return {(one["list"].name, row["item"].ref): row["done"] for one in found["lists"] for row in one["rows"]}


def test_lists_are_whole_and_in_both_languages() -> None:
    lists, items = read_checklists()
    assert {one.name for one in lists} == {"reforms", "tripod_ai", "ai_act"}
    assert Counter(item.list for item in items) == {"reforms": 32, "tripod_ai": 52, "ai_act": 16}
    assert len({(item.list, item.ref) for item in items}) == len(items)
    assert all(CJK.search(item.words.zh) and not CJK.search(item.words.en) for item in items)


def test_every_kind_of_evidence_answers_something_and_lies_in_a_section() -> None:
    assert {name for item in read_checklists()[1] for name in item.evidence} == set(EVIDENCE)
    assert {section for section, _ in EVIDENCE.values()} <= {section.name for section in SECTIONS}


def test_what_the_model_lacks_is_not_done() -> None:
    without = answers()
    assert not without["reforms", "6c"] and not without["reforms", "8a"] and not without["ai_act", "9"]
    gate = {"gate": "missing", "verdict": "pass", "en": "", "zh": "", "accepted": ""}
    assert answers(leak_gates=[gate])["reforms", "6c"]
    assert without["reforms", "7b"] and without["tripod_ai", "11"]


def test_all_evidence_of_an_item_is_needed() -> None:
    assert not answers()["tripod_ai", "23a"], "groups were not examined"


def test_what_only_people_can_know_is_never_done() -> None:
    done = answers()
    people = [item for item in read_checklists()[1] if not item.evidence]
    assert len(people) > 10 and not any(done[item.list, item.ref] for item in people)


def test_the_card_links_to_its_own_sections_and_says_what_is_not_done() -> None:
    html = model_card(make_model())
    part = html[html.index('<section id="checklists">') : html.index('<section id="sign_off">')]
    assert set(re.findall(r'href="#(\w+)"', part)) <= {section.name for section in SECTIONS}
    page = Page(html)
    assert "not done: for people to answer" in page.text("en") and "未完成：须由人填写" in page.text("zh")
    assert re.search(r"REFORMS: science with machine learning ?\d+ of 32 done. Not done: .*6c.*8a\.", page.text("en"))


def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "checklists.yaml"
    file.write_text(
        "lists:\n  - {name: a, en: A, zh: 甲, source: s}\nitems:\n  - {list: a, ref: 1, en: x, zh: 乙, evidence: [foldz]}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(room, "find_config", lambda name: file)
    read_checklists.cache_clear()
    with pytest.raises(CatalogueError, match=r"checklists.yaml, line 4, a 1: there is no evidence 'foldz'.*folds"):
        read_checklists()
    read_checklists.cache_clear()
