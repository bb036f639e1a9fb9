"""What adds up in the tables of the bulletin, and so what a small count needs withheld beside it.

A reader works a withheld count out from a total: of its row, of the rows below a row for all, or of another table. Each such
sum is a row of `_ADDS`; `riskmodel.evaluation.disclosure` says what to withhold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from riskmodel.cards.rendering import ABSENT
from riskmodel.evaluation.disclosure import Sum, open_groups, shown_with_sums, small_mark, tells, withheld
from riskmodel.monitoring.part import LEFT_OUT

Place = tuple[object, ...]
"""A count: row and column, or the name of one that is not shown."""


@dataclass(frozen=True)
class Adds:
    """How the counts of a table add up.

    Attributes
    ----------
    across
        Columns that are a total of others in their row. What is left of the total is protected as well.
    shares
        Columns that are a share of a count of their row, by the count.
    within
        Columns whose values divide the rows into groups that have a total of their own.
    whole
        Column and value that mark the row that holds a group's total; without it the total of a group stands elsewhere.
    down
        Columns that add up over the rows; households that may be in several rows do not.
    behind
        Sums and shares by the counts that they are of, columns that add up, less those of what is left out (`LEFT_OUT`).
    rates
        Shares of a count of their row that alone are withheld where one part of it is small.
    """

    across: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shares: Mapping[str, str] = field(default_factory=dict)
    within: Sequence[str] = ()
    whole: tuple[str, str] | None = None
    down: Sequence[str] = ()
    behind: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    rates: Mapping[str, str] = field(default_factory=dict)


_OF_PRODUCTION = (("households", "production_not_recorded"),)
_ADDS = {
    "duration_summary": Adds(
        {"spells": ("ended", "open", "lost")}, within=("kind",), whole=("entry", "all"),
        down=("spells", "ended", "open", "lost"),
    ),
    "exits": Adds(within=("kind",), down=("spells",)),
    "poverty_kinds": Adds(
        {"households": ("never_poor", "transient_poor", "chronic_poor")}, whole=("county_id", "*"),
        down=("households", "never_poor", "transient_poor", "chronic_poor"),
    ),
    "list_makeup": Adds(within=("list",), down=("alerts",)),
    "help_timeliness": Adds({"needs": ("helped",)}),
    "help_measures": Adds(
        {"offers": ("taken_up",)}, behind={"completed_share": (("ended", "completion_not_recorded"),)},
        rates={"refused_share": "answered"},
    ),
    "training_work": Adds(shares={"households": "share"}),
    "fund_totals": Adds(
        whole=("of_what", "*"), down=("grants",),
        behind={"planned": (("grants", "plan_not_recorded"),), "paid": (("grants", "amount_not_recorded"),),
                "paid_share": (("grants", "not_compared"),)},
    ),
    "industries": Adds(
        within=("county_id",), down=("main_households",),
        behind={"income_share": (("income_recorded",), ("main_households", "linked_households"))},
        rates={"shocked_share": "main_households"},
    ),
    "concentration": Adds(
        behind=dict.fromkeys(("effective_number", "largest_industry", "largest_share"), _OF_PRODUCTION),
    ),
    "miss_months": Adds(
        {"returned": ("found", "missed_return"), "listed": ("found", "false_alert", "listed_not_known"),
         "not_known": ("listed_not_known",)},
    ),
    "miss_classes": Adds(within=("miss",), down=("misses",)),
    "support_off_villages": Adds({"touched": ("falls_by_books", "could_fall")}),
}  # fmt: skip


def printed_counts(
    name: str, rows: pd.DataFrame, counts: Sequence[str], least: int
) -> tuple[dict[str, list[str]], np.ndarray]:
    """Counts of the rows that are shown as printed, and the rows whose shares and sums are withheld as well.

    Parameters
    ----------
    name
        The table.
    rows
        Its rows that are shown.
    counts
        Its columns that hold counts.
    least
        Fewest households that a printed count may stand for.

    Returns
    -------
    tuple
        Texts by column, and for each row whether one of its counts, or the total that it is a share of, is withheld.
    """
    adds = _ADDS.get(name, Adds())
    known = {c: rows[c].astype("Float64").to_numpy(float, na_value=np.nan) for c in counts}
    places: dict[Place, int] = {
        (i, c): int(known[c][i]) for c in counts for i in range(len(rows)) if not np.isnan(known[c][i])
    }
    sums: list[tuple[Place, list[Place]]] = []
    unseen: dict[Place, int] = {}
    shared = np.zeros(len(rows), bool)
    for i in range(len(rows)):
        for whole, columns in adds.across.items():
            here: list[Place] = [(i, c) for c in columns if (i, c) in places]
            if (i, whole) in places and here:
                sums.append(((i, whole), [*here, *_rest((i, whole, "rest"), places[i, whole], here, places, unseen)]))
        for whole, share in adds.shares.items():
            if (i, whole) in places and not pd.isna(rows[share].iloc[i]):
                part = round(rows[share].iloc[i] * places[i, whole])
                unseen |= {(i, share): part, (i, share, "rest"): places[i, whole] - part}
                sums.append(((i, whole), [(i, share), (i, share, "rest")]))
                shared[i] |= any(0 < n < least for n in (part, places[i, whole] - part))
    fixed: set[Place] = set()
    for c in adds.down:
        for of, at in _groups(adds, rows):
            parts: list[Place] = [(i, c) for i in at if (i, c) in places]
            if not parts:
                continue
            n = sum(places[p] for p in parts)
            total: Place = (of, c) if of is not None and (of, c) in places else ("elsewhere", c, at)
            if total in places:
                sums.append((total, [*parts, *_rest((total, at), places[total], parts, places, unseen)]))
            else:
                unseen[total] = n
                fixed.add(total)
                sums.append((total, parts))
                shared[list(at)] |= 0 < n < least
    printed = _printed(places, unseen, sums, fixed, least)
    texts = {c: [printed.get((i, c), ABSENT) for i in range(len(rows))] for c in counts}
    hidden = np.array([[withheld(texts[c][i]) for c in counts] for i in range(len(rows))], bool).reshape(
        len(rows), len(counts)
    )
    return texts, hidden.any(axis=1) | shared


def few_behind(name: str, rows: pd.DataFrame, column: str, least: int) -> np.ndarray:
    """Rows of which a sum or share is of few households or rows of the books, or would tell of them with the total of all.

    Parameters
    ----------
    name, rows, least
        As in `printed_counts`.
    column
        The sum or share.

    >>> rows = pd.DataFrame({"by": "kind", "of_what": ["*", "a", "b", "c"], "grants": [220, 100, 80, 40],
    ...                      "amount_not_recorded": [34, 0, 0, 34]})
    >>> few_behind("fund_totals", rows, "paid", 10).tolist()
    [False, False, True, True]
    """
    adds, few = _ADDS.get(name, Adds()), np.zeros(len(rows), bool)

    def numbers(named: str) -> np.ndarray:
        return rows[named].astype("Float64").to_numpy(float, na_value=0.0)

    for made_of in adds.behind.get(column, ()):
        held = [c for c in made_of if c in rows]
        told = sum((-numbers(c) if c.endswith(LEFT_OUT) else numbers(c) for c in held), np.zeros(len(rows)))
        few |= (told > 0) & (told < least)
        for _, at in _groups(adds, rows) if adds.whole else ():
            few[list(at)] |= [not open_ for open_ in open_groups([[int(told[i])] for i in at], least)]
    if adds.rates.get(column) in rows:
        whole = numbers(adds.rates[column])
        few |= [not tells(round(part), int(n), least) for part, n in zip(numbers(column) * whole, whole, strict=True)]
    return few


def _rest(
    name: Place, total: int, parts: Sequence[Place], places: Mapping[Place, int], unseen: dict[Place, int]
) -> list[Place]:
    """What is left of a total beyond its parts that are shown, where anything is."""
    if left := total - sum(places[p] for p in parts):
        unseen[name] = left
        return [name]
    return []


def _groups(adds: Adds, rows: pd.DataFrame) -> list[tuple[int | None, tuple[int, ...]]]:
    """Rows that add up: the row of their total, or None where it stands elsewhere, and their own."""
    of = list(rows[list(adds.within)].itertuples(index=False, name=None)) if adds.within else [()] * len(rows)
    whole = [adds.whole is not None and rows[adds.whole[0]].iloc[i] == adds.whole[1] for i in range(len(rows))]
    by = rows["by"].tolist() if "by" in rows else [None] * len(rows)  # one total, divided in several ways
    found: list[tuple[int | None, tuple[int, ...]]] = []
    for key, way in dict.fromkeys(zip(of, by, strict=True)):
        at = tuple(i for i in range(len(rows)) if of[i] == key and by[i] == way and not whole[i])
        total = next((i for i in range(len(rows)) if of[i] == key and whole[i]), None)
        if at and (total is not None or adds.whole is None):
            found.append((total, at))
    return found


def _printed(
    places: Mapping[Place, int], unseen: Mapping[Place, int], sums: Sequence[tuple[Place, list[Place]]],
    fixed: set[Place], least: int,
) -> dict[Place, str]:  # fmt: skip
    """Texts of all places, those that are bound to each other by sums together."""
    values = {**places, **unseen}
    group = {place: place for place in values}

    def root(place: Place) -> Place:
        while group[place] != place:
            place = group[place]
        return place

    for total, parts in sums:
        for part in parts:
            group[root(part)] = root(total)
    bound: dict[Place, list[Place]] = {}
    for place in values:
        bound.setdefault(root(place), []).append(place)
    found: dict[Place, str] = {}
    for together in bound.values():
        number = {place: i for i, place in enumerate(together)}
        held: list[Sum] = [(number[t], [number[p] for p in parts]) for t, parts in sums if t in number]
        texts = shown_with_sums(
            [values[p] for p in together], held, least, printed={number[p] for p in together if p in places or p in fixed},
            fixed={number[p] for p in together if p in fixed}, mark=small_mark(least),
        )  # fmt: skip
        found |= dict(zip(together, texts, strict=True))
    return found
