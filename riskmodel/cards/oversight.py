"""Facts of the section on human oversight, from what `riskmodel review report` writes about decisions so far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from riskmodel.cards.rendering import Words, decimal, percent
from riskmodel.cards.wording import AGREEMENT, DECISIONS, STATUSES
from riskmodel.errors import NotFound, UsageError
from riskmodel.evaluation import disclosure
from riskmodel.explain.causes import WORDS
from riskmodel.model.bundle import RiskModel

_NEEDED = ("decisions", "alerts", "reviewers", "actions")
_RATERS = {
    "with_model": Words("the first judgement with the model’s verdict", "首次判断与模型判断"),
    "between_reviewers": Words(
        "the second reviewer with the first, whose decision was seen", "复核人与首位审核人（复核时可见其决定）"
    ),
}


def read_oversight(path: Path) -> dict[str, Any]:
    """Human oversight as `riskmodel review report` wrote it.

    Raises
    ------
    NotFound
        If there is no such file.
    UsageError
        If it is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"{path}: no such file. Make it with `riskmodel review report --out {path.name}`.") from None
    except ValueError:
        raise UsageError(f"{path}: not JSON. Make it with `riskmodel review report --out {path.name}`.") from None
    lacking = [name for name in _NEEDED if not isinstance(found, dict) or name not in found]
    if lacking:
        raise UsageError(
            f"{path}: no {', no '.join(lacking)} in it. Make it with `riskmodel review report --out {path.name}`."
        )
    return found


def oversight(model: RiskModel) -> dict[str, Any]:
    found = model.evidence.get("oversight")
    if not found or not found["decisions"]:
        return {"ready": False}
    ten, alerts = model.run.smallest_cell, found["alerts"]
    mark, actions = disclosure.small_mark(ten), _together(found["actions"], DECISIONS, ten)
    wrong = found.get("false_subjective") or {}
    regret = found.get("regret") or {}
    cause, back = regret.get("cause") or {}, regret.get("return") or {}
    return {
        "ready": True,
        "decisions": disclosure.shown(found["decisions"], ten, mark),
        "alerts": disclosure.shown(alerts, ten, mark),
        "reviewers": found["reviewers"],
        "months": found.get("months", []),
        "head": found.get("head"),
        "actions": list(actions.values()),
        "status": list(_together(found.get("status", {}), STATUSES, ten).values()),
        "shares": {
            name: None if disclosure.withheld(actions.get(action, (None, "0"))[1]) else _share(found.get(name), alerts, ten)
            for name, action in (("overridden", "override_cause"), ("rejected", "reject"))
        },
        "changes": _changes(found.get("changes", []), ten),
        "reasons": _reasons(found, ten),
        "agreement": [row for name, words in _RATERS.items() if (row := _agreement(words, found.get(name), ten))],
        "anchoring": _anchoring(found.get("anchoring"), ten),
        "appeals": {state: disclosure.shown(n, ten, mark) for state, n in found.get("appeals", {}).items()},
        "false_subjective": {
            "alerts": wrong["alerts"],
            "model": _share(wrong["model"], wrong["alerts"], ten),
            "reviewers": _share(wrong["reviewers"], wrong["alerts"], ten),
        }
        if wrong.get("alerts", 0) >= ten
        else None,
        "needed": (found.get("adjudicated") or {}).get("reviewers_needed", 2),
        "cause": _share(cause.get("wrong"), cause.get("alerts", 0), ten),
        "returned": [
            _share(back.get(f"{name}_returned"), back.get(f"{name}_alerts", 0), ten) for name in ("rejected", "kept")
        ],
        "measures": list(AGREEMENT.values()),
        "small": mark,
        "cell": ten,
    }


def _together(counts: Mapping[str, int], names: Mapping[str, Words], ten: int) -> dict[str, tuple[Words, str]]:
    """Counts that add up to all alerts, with their names."""
    present = [name for name in (*names, *(n for n in counts if n not in names)) if counts.get(name)]
    cells = disclosure.shown_together([counts[name] for name in present], ten, disclosure.small_mark(ten))
    return {name: (names.get(name, Words(name, name)), cell) for name, cell in zip(present, cells, strict=True)}


def _changes(changes: list[Mapping[str, Any]], ten: int) -> list[dict[str, Any]]:
    """From which cause to which; together they are all changes."""
    cells = disclosure.shown_together([row["alerts"] for row in changes], ten, disclosure.small_mark(ten))
    return [
        {"proposed": _cause(row["proposed"]), "decided": _cause(row["decided"]), "alerts": cell}
        for row, cell in zip(changes, cells, strict=True)
    ]


def _cause(name: str) -> Words:
    return Words(*WORDS.get(name, (name, name)))


def _reasons(found: Mapping[str, Any], ten: int) -> list[tuple[Words, str]]:
    """Reason codes with their number; in words where the report gives them."""
    counts, words = found.get("reasons", {}), found.get("words", {})
    cells = disclosure.shown_together(list(counts.values()), ten, disclosure.small_mark(ten))
    return [(Words(*words.get(name, (name, name))), cell) for name, cell in zip(counts, cells, strict=True)]


def _share(figure: Mapping[str, float | None] | None, of: int, ten: int) -> Words | None:
    """A share in words; where it stands for too few households, only that it does."""
    if not figure or figure["value"] is None or of < ten:
        return None
    n = round(figure["value"] * of)
    if 0 < n < ten:
        return Words(f"fewer than {ten} of {of:,}", f"{of:,}户中不足{ten}户")
    if 0 < of - n < ten:
        return Words(f"all but fewer than {ten} of {of:,}", f"{of:,}户中除不足{ten}户外均是")
    ends = f"{percent(figure['low'])} – {percent(figure['high'])}"
    return Words(f"{percent(figure['value'])} ({ends})", f"{percent(figure['value'])}（{ends}）")


def _agreement(words: Words, found: Mapping[str, Any] | None, ten: int) -> dict[str, Any] | None:
    if not found or found["alerts"] < ten:
        return None

    def said(name: str, value: float | None) -> str:
        return percent(value) if name == "agreement" else decimal(value, 2)

    figures = [
        {
            "value": said(name, figure["value"]),
            "range": "" if figure["low"] is None else f"{said(name, figure['low'])} – {said(name, figure['high'])}",
        }
        for name in AGREEMENT
        if (figure := found[name])
    ]
    return {"words": words, "alerts": found["alerts"], "figures": figures}


def _anchoring(found: Mapping[str, Any] | None, ten: int) -> dict[str, Any] | None:
    """What the sight of the proposal does, where enough alerts of either kind were judged."""
    if not found or not found.get("difference") or min(found["shown"], found["hidden"]) < ten:
        return None
    return {"shown": found["shown"], "hidden": found["hidden"], **found["difference"]["agreement"]}
