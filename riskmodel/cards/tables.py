"""Tables of results: figures with their intervals as printed, the best of a column marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from riskmodel.cards.comparison import Figure, Results
from riskmodel.cards.disclosure import Sum, shown_with_sums, small_mark, withheld
from riskmodel.cards.rendering import Words, decimal, percent
from riskmodel.cards.wording import METRICS, MODELS, Metric


def results_table(
    results: Results,
    splits: Sequence[str],
    metrics: Sequence[str],
    registered: str,
    hidden: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """One row per model, in the order of the settings; one cell per split and metric.

    Parameters
    ----------
    results
        `results[model][split][metric]`, each with `value`, `low`, `high`.
    registered
        The model whose row is marked.
    hidden
        Metrics whose cells stay empty.
    """
    columns = [(split, metric) for split in splits for metric in metrics]
    names = [name for name in MODELS if any(split in results.get(name, {}) for split in splits)]

    def figure(name: str, column: tuple[str, str]) -> Figure | None:
        split, metric = column
        return None if metric in hidden else results[name].get(split, {}).get(metric)

    best = {c: _best(METRICS[c[1]], {name: figure(name, c) for name in names}) for c in columns}
    return [
        {
            "words": MODELS[name],
            "registered": name == registered,
            "cells": [{**_cell(METRICS[c[1]], figure(name, c)), "best": name in best[c]} for c in columns],
        }
        for name in names
    ]


def tied_lists(results: Results, split: str) -> list[Words]:
    """Models whose lists end in equal scores, with the worst and best precision that this leaves open."""
    found = []
    for name, words in MODELS.items():
        figures = results.get(name, {}).get(split, {})
        ends = [figures.get(f"precision_at_capacity_{end}", {}).get("value") for end in ("worst", "best")]
        if name == "base_rate" or None in ends:
            continue
        worst, best = (percent(end) for end in ends)
        if worst != best:
            found.append(Words(f"{words.en} {worst} – {best}", f"{words.zh}{worst} – {best}"))
    return found


_COUNTED = ("rows", "events", "listed", "caught")


def counted(groups: Sequence[Mapping[str, Any]], least: int, households: int) -> list[dict[str, Any]] | None:
    """Months or counties with their households at risk, falls, listed and found, so that none stands for too few.

    Missed, visited in vain and neither are protected too, as a reader can work them out. The sums over all groups
    stand elsewhere on the card.

    Parameters
    ----------
    groups
        `group, rows, events, listed, caught`, and `expected`, the sum of risks.
    least
        Rows that stand for the smallest cell.
    households
        Households of the smallest cell, for its mark.

    Returns
    -------
    list
        `group`, the printed `cells`, and the shares `rate`, `recall`, `precision` where their counts are printed; None
        where the sums themselves are too small.
    """
    values, sums = [], []
    every = [[*(g[name] for name in _COUNTED), *_rest(g)] for g in groups]
    whole = [sum(column) for column in zip(*every, strict=True)]
    if not groups or any(0 < n < least for n in whole):
        return None
    for row in (*every, whole):
        at = len(values)
        rows, events, listed, caught, missed, vain, left = range(at, at + len(row))
        sums += [(events, (caught, missed)), (listed, (caught, vain)), (rows, (events, vain, left))]
        values += row
    width, last = len(whole), len(values) - len(whole)
    columns: list[Sum] = [(last + c, range(c, last, width)) for c in range(width)]
    printed = {i for i in range(len(values)) if i % width < len(_COUNTED)}
    cells = shown_with_sums(
        values, [*sums, *columns], least, printed=printed, fixed=range(last, len(values)), mark=small_mark(households)
    )
    return [_counted(g, cells[i * width : i * width + len(_COUNTED)]) for i, g in enumerate(groups)]


def _rest(group: Mapping[str, Any]) -> tuple[int, int, int]:
    """Missed, visited in vain, and neither."""
    missed, vain = group["events"] - group["caught"], group["listed"] - group["caught"]
    return missed, vain, group["rows"] - group["events"] - vain


def _counted(group: Mapping[str, Any], cells: Sequence[str]) -> dict[str, Any]:
    hidden = dict(zip(_COUNTED, map(withheld, cells), strict=True))

    def share(part: str, of: str) -> float | None:
        return None if hidden[part] or hidden[of] or not group[of] else group[part] / group[of]

    return {
        "group": group["group"],
        "cells": list(cells),
        "rate": share("events", "rows"),
        "recall": share("caught", "events"),
        "precision": share("caught", "listed"),
        "expected": None if hidden["rows"] or not group["rows"] else group["expected"] / group["rows"],
    }


def against(figure: Figure | None, ideal: float) -> dict[str, str] | None:
    """A calibration figure and whether its interval lies below, around or above the ideal."""
    if figure is None or None in (figure["value"], figure["low"], figure["high"]):
        return None
    side = "above" if figure["low"] > ideal else "below" if figure["high"] < ideal else "around"
    return {
        "value": decimal(figure["value"], 2),
        "range": f"{decimal(figure['low'], 2)} – {decimal(figure['high'], 2)}",
        "side": side,
    }


def _cell(metric: Metric, figure: Figure | None) -> dict[str, str]:
    def show(value: float | None) -> str:
        return percent(value, metric.digits) if metric.percent else decimal(value, metric.digits)

    if figure is None or figure["value"] is None or figure["low"] is None:
        return {"value": show(figure["value"] if figure else None), "range": ""}
    return {"value": show(figure["value"]), "range": f"{show(figure['low'])} – {show(figure['high'])}"}


def _best(metric: Metric, figures: Mapping[str, Figure | None]) -> set[str]:
    """Names whose value, as printed, is nearest to the ideal."""
    away = {
        name: round(abs(figure["value"] - metric.best), metric.digits + 2 * metric.percent)
        for name, figure in figures.items()
        if figure is not None and figure["value"] is not None
    }
    return {name for name, distance in away.items() if distance == min(away.values())}
