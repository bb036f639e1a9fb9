"""Where the model misses: which falls the list does not hold, by situation of the household, and as a few rules."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.metrics import wilson

LINE_BANDS = MappingProxyType({
    0.0: "below the line", 1.0: "up to 1.1 lines", 1.1: "1.1-1.2 lines", 1.2: "1.2-1.5 lines", 1.5: "1.5-2 lines",
    2.0: "2 lines and over",
})  # fmt: skip
RECORD_BANDS = MappingProxyType({0: "this month", 1: "1 month ago", 2: "2-3 months ago", 4: "4 months ago or more"})
_SHOCK = "months_since_"
_NO_SHOCK = ("below", "identified", "eliminated", "taken_up", "project_stopped", "death")
_SHOCK_WINDOW = 12


@dataclass(frozen=True)
class Situation:
    """One row of the table of misses: an aspect, a group in it, and the rows that belong to it, shape (n,)."""

    aspect: str
    group: str
    rows: np.ndarray


def situations(features: pd.DataFrame) -> list[Situation]:
    """Groups of households in which a model may do worse, by the columns that are present.

    Distance to the line in bands (`ratio_now`), kinds of shock in the last 12 months (`months_since_*`; a household may
    have had several), household type (`household_type`) and age of the last record (`record_age`). Missing values are a
    group `unknown`.

    Parameters
    ----------
    features
        Such as `Cohorts.frame`, shape (n, ...).

    >>> [(s.aspect, s.group) for s in situations(pd.DataFrame({"ratio_now": [1.05, 3.0]}))]
    [('distance to the line', 'up to 1.1 lines'), ('distance to the line', '2 lines and over')]
    """
    found = []
    if "ratio_now" in features:
        found += _banded("distance to the line", features["ratio_now"], LINE_BANDS)
    since = [c for c in features if c.startswith(_SHOCK) and c.removeprefix(_SHOCK) not in _NO_SHOCK]
    hit = {c: features[c].lt(_SHOCK_WINDOW).fillna(False).to_numpy(bool) for c in since}
    shocks = {c.removeprefix(_SHOCK).replace("_", " "): rows for c, rows in hit.items()}
    if shocks:
        shocks["none"] = ~np.any(list(shocks.values()), axis=0)
    found += [Situation("shock in 12 months", kind, rows) for kind, rows in shocks.items() if rows.any()]
    if "household_type" in features:
        kinds = features["household_type"].astype(object).fillna("unknown")
        found += [Situation("household type", str(kind), (kinds == kind).to_numpy(bool)) for kind in sorted(kinds.unique())]
    if "record_age" in features:
        found += _banded("last record", features["record_age"], RECORD_BANDS)
    return found


def misses_by_situation(
    outcome: np.ndarray, risk: np.ndarray, listed: np.ndarray, households: pd.Series | np.ndarray, groups: list[Situation]
) -> pd.DataFrame:
    """What the list catches and misses in each situation, and whether the risks are right there.

    Parameters
    ----------
    outcome, risk, listed
        0/1, probabilities and whether listed, shape (n,).
    households
        Household of each row, shape (n,).
    groups
        From `situations`, or of your own.

    Returns
    -------
    pandas.DataFrame
        One row per group: `aspect, group, rows, households, events, caught`; `caught_share` with `caught_low` and
        `caught_high`, `missed_share`, `part_of_missed` (of all falls that were missed); `risk` (mean), `rate` with
        `rate_low` and `rate_high`; `households_caught`, `households_missed`, `households_not_fallen` (in some row).
        Intervals are Wilson's at 95 % over rows: where a household has several they are too narrow.
    """
    y, p, on = np.asarray(outcome, float), np.asarray(risk, float), np.asarray(listed, bool)
    ids = np.asarray(households, dtype=object)
    missed = y.sum() - y[on].sum()
    table = []
    for group in groups:
        rows = group.rows
        n, events, caught = int(rows.sum()), float(y[rows].sum()), float(y[rows & on].sum())
        caught_low, caught_high = wilson(caught, events)
        rate_low, rate_high = wilson(events, n)
        table.append({
            "aspect": group.aspect,
            "group": group.group,
            "rows": n,
            "households": len(set(ids[rows])),
            "events": int(events),
            "caught": int(caught),
            "caught_share": caught / events if events else np.nan,
            "caught_low": caught_low,
            "caught_high": caught_high,
            "missed_share": 1 - caught / events if events else np.nan,
            "part_of_missed": (events - caught) / missed if missed else np.nan,
            "risk": float(p[rows].mean()) if n else np.nan,
            "rate": events / n if n else np.nan,
            "rate_low": rate_low,
            "rate_high": rate_high,
            **_behind(ids, {"caught": rows & (y == 1) & on, "missed": rows & (y == 1) & ~on, "not_fallen": rows & (y == 0)}),
        })  # fmt: skip
    return pd.DataFrame(table)


def rules_of_misses(
    features: pd.DataFrame,
    outcome: np.ndarray,
    listed: np.ndarray,
    households: pd.Series | np.ndarray,
    *,
    depth: int = 3,
    fewest: int = 100,
) -> pd.DataFrame:
    """A small decision tree among those who fell, as rules that say where the list misses them.

    Parameters
    ----------
    features
        Numeric columns that may describe a household, shape (n, ...); missing values are allowed. Give no audit columns.
    outcome, listed
        0/1 and whether listed, shape (n,).
    households
        Household of each row, shape (n,).
    depth
        Most conditions in a rule, 1 to 3.
    fewest
        Fewest falls in a rule.

    Returns
    -------
    pandas.DataFrame
        One row per leaf, most missed first: `rule` in words, `events`, `missed`, `missed_share` with Wilson's `low` and
        `high`; `households_caught` and `households_missed`. The tree was grown on the same falls: its shares are a
        description, not a test.

    Raises
    ------
    UsageError
        If the depth is not 1 to 3, or a column is not numeric.
    NotEnoughData
        If fewer than twice `fewest` fell.

    >>> features = pd.DataFrame({"record_age": [0.0] * 200 + [5.0] * 200})
    >>> found = rules_of_misses(features, np.ones(400), np.arange(400) < 200, np.arange(400) // 2)
    >>> found[["rule", "events", "missed"]]
                     rule  events  missed
    0    record_age > 2.5     200     200
    1   record_age <= 2.5     200       0
    """
    fell = np.asarray(outcome, float) == 1
    if not 1 <= depth <= 3:
        raise UsageError(f"depth {depth} makes no rules that a reader can check: give 1, 2 or 3.")
    text = [c for c in features if not pd.api.types.is_numeric_dtype(features[c])]
    if text:
        raise UsageError(f"rules need numeric columns: leave out {text[0]!r}, or encode it.")
    if fell.sum() < 2 * fewest:
        raise NotEnoughData(
            f"{int(fell.sum())} households fell: rules of misses need {2 * fewest}. Use more months, or the table alone."
        )
    x = features.loc[fell].astype("float32")
    x = x.loc[:, x.notna().any()]
    missed, ids = ~np.asarray(listed, bool)[fell], np.asarray(households, dtype=object)[fell]
    fitted = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=fewest, random_state=0).fit(x, missed)
    leaf = fitted.apply(x)
    gaps = x.isna().any()
    rows = []
    for node, rule in _rules(fitted, list(x.columns), gaps).items():
        here = leaf == node
        events, count = int(here.sum()), int(missed[here].sum())
        low, high = wilson(count, events)
        row = {"rule": rule, "events": events, "missed": count, "missed_share": count / events, "low": low, "high": high}
        rows.append(row | _behind(ids, {"caught": here & ~missed, "missed": here & missed}))
    return pd.DataFrame(rows).sort_values(["missed_share", "rule"], ascending=[False, True], ignore_index=True)


def _behind(households: np.ndarray, cells: dict[str, np.ndarray]) -> dict[str, int]:
    """How many households the rows of each cell are of."""
    return {f"households_{name}": len(set(households[rows])) for name, rows in cells.items()}


def _banded(aspect: str, values: pd.Series, bands: MappingProxyType[float, str]) -> list[Situation]:
    """Situations by bands that each start at their number; the empty ones are left out."""
    numbers = values.to_numpy(float, na_value=np.nan)
    band = np.searchsorted(list(bands), numbers, side="right") - 1
    band[np.isnan(numbers)] = len(bands)
    names = [*bands.values(), "unknown"]
    return [Situation(aspect, name, band == i) for i, name in enumerate(names) if (band == i).any()]


def _rules(fitted: DecisionTreeClassifier, names: list[str], gaps: pd.Series) -> dict[int, str]:
    """The conditions that lead to each leaf, in words; unknown values are named where there are some."""
    tree, found = fitted.tree_, {}

    def walk(node: int, said: list[str]) -> None:
        left, right = tree.children_left[node], tree.children_right[node]
        if left == right:
            found[node] = " and ".join(said) or "all"
            return
        name, threshold = names[tree.feature[node]], tree.threshold[node]
        goes_left = bool(tree.missing_go_to_left[node])
        for child, sign, takes_unknown in ((left, "<=", goes_left), (right, ">", not goes_left)):
            unknown = " or unknown" if takes_unknown and gaps[name] else ""
            walk(child, [*said, f"{name} {sign} {threshold:.4g}{unknown}"])

    walk(0, [])
    return found
