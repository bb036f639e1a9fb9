"""Tables of results: figures with their intervals as printed, the best of a column marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from riskmodel.cards.comparison import Figure, Results
from riskmodel.cards.rendering import Words, decimal, percent
from riskmodel.cards.wording import METRICS, MODELS, Metric
from riskmodel.evaluation.disclosure import Sum, shown_with_sums, small_mark, withheld


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


COUNTED = ("rows", "events", "listed", "caught")


def counted(groups: Sequence[Mapping[str, Any]], columns: Sequence[str], least: int) -> list[dict[str, Any]] | None:
    """Months or counties with counts of their households, so printed that none stands for too few.

    What a reader can work out is protected too: missed, visited in vain, neither, not fallen, not listed, and columns
    that are left out.
    The sums over all groups stand elsewhere on the card.

    Parameters
    ----------
    groups
        `group`, the counts of `COUNTED`, and `expected`, the sum of risks.
    columns
        Counts to print, in this order.
    least
        Rows that stand for the smallest cell; fewer are marked so (`<40`), as what is counted is rows.

    Returns
    -------
    list
        `group`, the printed `cells`, the shares `rate`, `recall`, `precision` where their counts are printed, and
        `expected`, the mean risk; None where the sums themselves are too small.
    """
    values, sums = [], []
    every = [[*(g[name] for name in COUNTED), *_rest(g)] for g in groups]
    whole = [sum(column) for column in zip(*every, strict=True)]
    if not groups or any(0 < n < least for n in whole):
        return None
    for row in (*every, whole):
        at = len(values)
        rows, events, listed, caught, missed, vain, left, not_fallen, not_listed = range(at, at + len(row))
        sums += [(events, (caught, missed)), (listed, (caught, vain)), (rows, (events, not_fallen))]
        sums += [(not_fallen, (vain, left)), (not_listed, (missed, left))]
        values += row
    width, last = len(whole), len(values) - len(whole)
    over_groups: list[Sum] = [(last + c, range(c, last, width)) for c in range(width)]
    places = [COUNTED.index(name) for name in columns]
    printed = {i for i in range(len(values)) if i % width in places}
    cells = shown_with_sums(
        values, [*sums, *over_groups], least, printed=printed, fixed=range(last, len(values)), mark=small_mark(least)
    )
    return [_counted(g, {name: cells[i * width + k] for name, k in zip(columns, places, strict=True)})
            for i, g in enumerate(groups)]  # fmt: skip


def _rest(group: Mapping[str, Any]) -> tuple[int, ...]:
    """Missed, visited in vain, neither, not fallen, not listed."""
    missed, vain = group["events"] - group["caught"], group["listed"] - group["caught"]
    not_fallen, not_listed = group["rows"] - group["events"], group["rows"] - group["listed"]
    return missed, vain, not_fallen - vain, not_fallen, not_listed


def _counted(group: Mapping[str, Any], cells: Mapping[str, str]) -> dict[str, Any]:
    told = {name for name, cell in cells.items() if not withheld(cell)}

    def share(part: str, of: str) -> float | None:
        return group[part] / group[of] if {part, of} <= told and group[of] else None

    return {
        "group": group["group"],
        "cells": list(cells.values()),
        "rate": share("events", "rows"),
        "recall": share("caught", "events"),
        "precision": share("caught", "listed"),
        "expected": group["expected"] / group["rows"] if "rows" in told and group["rows"] else None,
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
