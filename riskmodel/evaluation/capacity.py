"""Lists at the real visiting capacity: who is on them, how long they must be, how they change, how early they warn."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.errors import UsageError
from riskmodel.evaluation.metrics import Scored, figures_of_list
from riskmodel.months import month_number
from riskmodel.places import place_codes
from riskmodel.settings import Capacity

LEVELS = ("village", "township", "county")
REASONS = ("tier", "driver_1", "last_event")
Room = Capacity | Mapping[str, int]
"""Visits per county and month: one rule for all counties, or a number by county; a county that is not named has none."""


def nested_lists(
    scores: pd.DataFrame,
    capacity: Room,
    *,
    township_floor: int = 0,
    village_floor: int = 0,
    first: np.ndarray | None = None,
) -> pd.Series:
    """Who is listed when every township and village is guaranteed some visits and the county has a total.

    Each village first gets its floor from its highest risks, then each township is filled up to its floor, then the
    county to its total. Of all lists that keep floors and total this one holds the highest sum of risks. A place with
    fewer households than its floor is listed whole, and its spare visits go to the county. Equal risks are taken in the
    order of household ids. Where the floors need more visits than the county has, they are lowered there
    (`floors_within`). A household whose village or township is not known competes for the visits that no floor of it takes.

    Parameters
    ----------
    scores
        One row per household and as-of month: `household_id, county_id, risk`; `township_id` and `village_id` where
        their floor is above 0; `as_of` where there are several months. A list per county and month.
    capacity
        Total per county and month: a number, a share of those at risk (rounded up), or a number by county.
    township_floor, village_floor
        Visits guaranteed to each township and each village with somebody at risk.
    first
        Order among equal risks, shape (n,), larger first, before household ids.

    Returns
    -------
    pandas.Series
        Why a household is listed: `village`, `township` or `county`; missing where it is not. Index of `scores`.

    Raises
    ------
    UsageError
        If a column is missing or a risk is unknown.

    >>> scores = pd.DataFrame({"household_id": list("abcd"), "county_id": "k", "village_id": list("xxxy"),
    ...                        "risk": [0.9, 0.8, 0.7, 0.1]})
    >>> nested_lists(scores, Capacity(number=3), village_floor=1).tolist()
    ['village', 'county', nan, 'village']
    """
    lists = _Lists.of(scores, capacity, {"village": village_floor, "township": township_floor})
    if scores["risk"].isna().any():
        raise UsageError("a list needs the risk of every household.")
    key = np.zeros(len(scores)) if first is None else -np.asarray(first, float)
    order = np.lexsort((scores["household_id"].to_numpy(str), key, -scores["risk"].to_numpy(float)))
    level = np.full(len(scores), -1)
    for number, name in enumerate(LEVELS):
        if name == "county":
            group, room = lists.county, lists.room
        elif name in lists.places:
            place = lists.places[name]
            group, room = place.group, lists.floors[name][place.county]
        else:
            continue
        known, listed = group >= 0, level >= 0
        room = room - np.bincount(group[known & listed], minlength=len(room))
        level[_highest(order[(known & ~listed)[order]], group, room)] = number
    return pd.Series(np.array([*LEVELS, None], dtype=object)[level], index=scores.index, name="listed_by", dtype="str")


def floors_within(scores: pd.DataFrame, capacity: Room, *, township_floor: int = 0, village_floor: int = 0) -> pd.DataFrame:
    """The floors that each list can keep: lowered where they need more visits than its county has.

    Villages come first, as they do on the list: their floor is the largest, up to the one asked for, that the visits of the
    county suffice for, and that of townships the largest beside it.

    Parameters
    ----------
    scores, capacity, township_floor, village_floor
        As for `nested_lists`; no risk is looked at.

    Returns
    -------
    pandas.DataFrame
        A row a list: its `county_id` and, where there are several months, `as_of`; `visits` of the list; `village_floor`
        and `township_floor`.

    >>> scores = pd.DataFrame({"household_id": list("abcd"), "county_id": list("kkkl"), "village_id": list("xxyz")})
    >>> floors_within(scores, Capacity(number=1), village_floor=1).to_numpy().tolist()
    [['k', 1, 0, 0], ['l', 1, 1, 0]]
    """
    lists = _Lists.of(scores, capacity, {"village": village_floor, "township": township_floor})
    first = np.unique(lists.county, return_index=True)[1]
    found = scores[_list_keys(scores)].iloc[first].reset_index(drop=True).assign(visits=lists.room)
    return found.assign(**{f"{name}_floor": lists.floors.get(name, 0) for name in ("village", "township")})


@dataclass(frozen=True)
class _Places:
    """Villages or townships: of each row its place, -1 where not known; of each place its list and households."""

    group: np.ndarray
    county: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class _Lists:
    """Lists by county and month: of each row its list; of each list its visits, and the floors that these suffice for."""

    county: np.ndarray
    room: np.ndarray
    places: dict[str, _Places]
    floors: dict[str, np.ndarray]

    @classmethod
    def of(cls, scores: pd.DataFrame, capacity: Room, floors: dict[str, int]) -> _Lists:
        asked = {name: floor for name, floor in floors.items() if floor}
        _need(scores, ["household_id", "county_id", *(f"{name}_id" for name in asked)])
        if min(floors.values()) < 0:
            raise UsageError("a floor is a number of visits: 0 or more.")
        keys = _list_keys(scores)
        county = scores.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
        size = np.bincount(county)
        if isinstance(capacity, Mapping):
            one = scores["county_id"].iloc[np.unique(county, return_index=True)[1]]
            room = np.minimum([capacity.get(name, 0) for name in one], size)
        else:
            asked_for = capacity.number or np.ceil(capacity.share * size - 1e-9).astype(int)
            room = np.minimum(asked_for, size)
        places = {name: _places(scores, county, name) for name in asked}
        return cls(county, room, places, _lowered(places, asked, room))


def _list_keys(scores: pd.DataFrame) -> list[str]:
    return [c for c in ("as_of", "county_id") if c in scores]


def _places(scores: pd.DataFrame, county: np.ndarray, name: str) -> _Places:
    group = place_codes(scores, f"{name}_id", [c for c in _list_keys(scores) if c != "county_id"])
    known = np.flatnonzero(group >= 0)
    _, first, size = np.unique(group[known], return_index=True, return_counts=True)
    return _Places(group, county[known[first]], size)


def _lowered(places: dict[str, _Places], asked: dict[str, int], room: np.ndarray) -> dict[str, np.ndarray]:
    """The floor of each kind of place on each list, as `floors_within` says."""
    held: dict[str, np.ndarray] = {}
    inner = None  # the smaller places, and the visits that each of them takes
    for name, place in places.items():
        within, beside = np.zeros(len(place.size), np.int64), np.zeros(len(room))
        if inner is not None:
            smaller, visits = inner
            lies_in = np.full(len(smaller.size), -1)
            lies_in[smaller.group[smaller.group >= 0]] = place.group[smaller.group >= 0]
            inside = lies_in >= 0
            within = np.bincount(lies_in[inside], visits[inside], len(place.size)).astype(np.int64)
            beside = np.bincount(smaller.county[~inside], visits[~inside], len(room))
        most = min(asked[name], place.size.max(initial=0))
        floor = np.full(len(room), most)
        while True:
            taken = np.maximum(within, np.minimum(place.size, floor[place.county]))
            over = np.bincount(place.county, taken, len(room)) + beside > room
            if not over.any():
                break
            floor[over] -= 1
        held[name] = np.where(floor < most, floor, asked[name])
        inner = place, taken
    return held


def list_ends(scores: pd.DataFrame, listed: np.ndarray | pd.Series, capacity: Capacity) -> pd.Series:
    """The risk from which on each household is on its list, or would come onto it, if nothing else changed.

    A list without floors has one end, the lowest risk on it. With floors each village and township has an end of its own,
    below the county's: for a household beyond the list the lowest risk that its place, or the county, listed; for one that a
    floor listed the highest in its place that no floor did.

    Parameters
    ----------
    scores
        As for `nested_lists`, one month.
    listed
        Whether a household is on its list, shape (n,).
    capacity
        The run's, for its floors. They count where lists of this length with them are this very list; else it was drawn
        without floors.

    Returns
    -------
    pandas.Series
        Infinite where a list has no room for anybody, 0 where a place lists all that it has; index of `scores`.

    >>> scores = pd.DataFrame({"household_id": list("abcde"), "county_id": "k", "village_id": list("xxxyy"),
    ...                        "risk": [0.9, 0.8, 0.7, 0.2, 0.1]})
    >>> room = Capacity(number=3, village_floor=1)
    >>> list_ends(scores, [True, True, False, True, False], room).tolist()
    [0.8, 0.8, 0.8, 0.1, 0.2]
    """
    listed, risk = np.asarray(listed, bool), scores["risk"].astype(float)
    by = pd.Series(np.where(listed, "county", None), index=scores.index, dtype="str")
    if any(capacity.floors.values()):
        with contextlib.suppress(UsageError):  # no places to draw it by
            length = pd.Series(listed).groupby(scores["county_id"].to_numpy(object)).sum().to_dict()
            drawn = nested_lists(scores, length, **capacity.floors)
            by = drawn if np.array_equal(drawn.notna(), listed) else by
    ends = np.full(len(scores), np.inf)
    for number, level in enumerate(LEVELS):
        here = by.eq(level)
        if not here.any():
            continue
        area = place_codes(scores, f"{level}_id")
        end = risk.where(here).groupby(area).transform("min")
        if level != "county":
            others = risk.where(~by.isin(LEVELS[: number + 1])).groupby(area).transform("max")
            end = end.mask(here, others.fillna(0.0))
        ends = np.fmin(ends, end.to_numpy(float))
    return pd.Series(ends, index=scores.index, name="list_end")


def actions(scores: pd.DataFrame, listed: np.ndarray | pd.Series) -> pd.Series:
    """What to do with each household, from the interval of its risk and the threshold of its list.

    The threshold is the risk of the last household on the list, as the intervals tell it: `high / (1 - low + high)`, the
    one probability nearest to both ends (Vovk, Petej & Fedorova 2015). `list`: the whole interval lies above it.
    `visit`: the interval holds it, so a visit is to verify. `leave`: the whole interval lies below. Of a list with floors
    the threshold is that of a list by risk of the same length. A household on the list is never left and one beyond it
    never listed outright: whom a floor lists below the threshold, and whom it displaces above it, is to be visited. Where
    nobody is beyond, all are listed.

    Parameters
    ----------
    scores
        One row per household and as-of month: `county_id, risk, risk_low, risk_high`; `as_of` where there are several
        months. A list per county and month.
    listed
        Whether a household is on its list, shape (n,).

    Returns
    -------
    pandas.Series
        `list`, `visit` or `leave`; missing where the model gives no interval. Index of `scores`.

    Raises
    ------
    UsageError
        If a column is missing.

    >>> scores = pd.DataFrame({"county_id": "k", "risk": [0.9, 0.5, 0.4, 0.1],
    ...                        "risk_low": [0.8, 0.4, 0.4, 0.0], "risk_high": [0.9, 0.6, 0.6, 0.2]})
    >>> actions(scores, np.array([True, True, False, False])).tolist()
    ['list', 'visit', 'visit', 'leave']
    """
    _need(scores, ["county_id", "risk", "risk_low", "risk_high"])
    listed = np.asarray(listed, bool)
    keys = [scores[c] for c in ("as_of", "county_id") if c in scores]
    length = pd.Series(listed, index=scores.index).groupby(keys, dropna=False).transform("sum")
    highest = scores["risk"].groupby(keys, dropna=False).rank(ascending=False, method="first") <= length
    merged = (scores["risk_high"] / (1 - scores["risk_low"] + scores["risk_high"])).where(highest)
    threshold = merged.groupby(keys, dropna=False).transform("min")
    beyond = (~highest).groupby(keys, dropna=False).transform("any")
    threshold = threshold.mask(length == 0, np.inf).mask(~beyond, -np.inf)
    found = np.select([scores["risk_low"] > threshold, scores["risk_high"] < threshold], ["list", "leave"], "visit")
    found = np.where(found == np.where(listed, "leave", "list"), "visit", found)
    return pd.Series(found, index=scores.index, name="action", dtype="str").where(scores["risk_low"].notna())


def list_figures(
    scores: pd.DataFrame,
    outcome: np.ndarray,
    capacity: Capacity,
    *,
    township_floor: int = 0,
    village_floor: int = 0,
) -> pd.DataFrame:
    """Figures of nested lists, with equal risks in the order of household ids, and with every tie lost or won.

    Parameters
    ----------
    scores, capacity, township_floor, village_floor
        As for `nested_lists`.
    outcome
        0/1, shape (n,); NaN where it is not known. Such a household takes its place on a list, and counts in no figure.

    Returns
    -------
    pandas.DataFrame
        Rows `listed`, `worst`, `best`; columns `rows` (listed, outcome known) and those of `metrics.figures_of_list`.
    """
    y = np.asarray(outcome, float)
    known = ~np.isnan(y)
    favour = np.where(known, y, 0.5)
    floors = {"township_floor": township_floor, "village_floor": village_floor}
    found = {}
    for name, first in {"listed": None, "worst": -favour, "best": favour}.items():
        listed = nested_lists(scores, capacity, first=first, **floors).notna().to_numpy() & known
        figures = figures_of_list(y[listed].sum(), listed.sum(), y[known].sum(), known.sum())
        found[name] = {"rows": int(listed.sum()), **figures}
    return pd.DataFrame.from_dict(found, orient="index")


def figures_by_length(
    outcome: np.ndarray, risk: np.ndarray, shares: Sequence[float], lists: np.ndarray | None = None
) -> pd.DataFrame:
    """Precision and recall of lists of several lengths; households with equal risks share the last places.

    Parameters
    ----------
    outcome, risk
        0/1 and probabilities, shape (n,).
    shares
        Lengths, as shares of those at risk, above 0, at most 1.
    lists
        Codes of the list that each row competes in (county and month), shape (n,).

    Returns
    -------
    pandas.DataFrame
        `share`; `listed` and `caught`, the rows on the lists and the expected falls among them; `precision`, `recall`.

    >>> found = figures_by_length(np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.1]), [0.5, 1])
    >>> found[["share", "precision", "recall"]].to_numpy().tolist()
    [[0.5, 0.5, 0.5], [1.0, 0.5, 1.0]]
    """
    y = np.asarray(outcome, float)
    sizes = np.unique(np.zeros(len(y)) if lists is None else lists, return_counts=True)[1]
    rows = []
    for share in shares:
        scored = Scored(y, np.asarray(risk, float), lists, Capacity(share=share))
        precision, recall = (scored.metric(f"{name}_at_capacity") for name in ("precision", "recall"))
        listed = int(np.ceil(share * sizes - 1e-9).sum())
        rows.append(
            {"share": share, "listed": listed, "caught": precision * listed, "precision": precision, "recall": recall}
        )
    return pd.DataFrame(rows)


def length_for_recall(
    outcome: np.ndarray, risk: np.ndarray, recalls: Sequence[float], lists: np.ndarray | None = None
) -> pd.DataFrame:
    """The shortest lists that find a given share of the households that fall.

    Parameters
    ----------
    outcome, risk
        0/1 and probabilities, shape (n,).
    recalls
        Shares of those who fall, above 0, at most 1.
    lists
        Codes of the list that each row competes in (county and month), shape (n,); all lists are equally long.

    Returns
    -------
    pandas.DataFrame
        `recall`; `length` per list with every tie lost, `length_best` with every tie won; `share`: part of those at
        risk that lists of `length` hold.

    Raises
    ------
    UsageError
        If a recall lies outside (0, 1] or nobody fell.

    >>> length_for_recall(np.array([1, 0, 1, 0]), np.array([0.9, 0.5, 0.5, 0.1]), [0.5, 1.0])["length"].tolist()
    [1, 3]
    """
    y, p = np.asarray(outcome, float), np.asarray(risk, float)
    target = np.asarray(recalls, float)
    if not y.sum() or not ((target > 0) & (target <= 1)).all():
        raise UsageError("a length for a recall needs somebody who fell, and recalls above 0 and at most 1.")
    codes = np.unique(np.zeros(len(y)) if lists is None else lists, return_inverse=True)[1]
    needed = np.ceil(target * y.sum() - 1e-9).astype(int)

    def length(first: np.ndarray) -> np.ndarray:
        rank = _rank(np.lexsort((first, -p)), codes)
        return np.sort(rank[y == 1])[needed - 1] + 1

    worst, best = length(y), length(-y)
    sizes = np.bincount(codes)
    share = [np.minimum(n, sizes).sum() / len(y) for n in worst]
    return pd.DataFrame({"recall": target, "length": worst, "length_best": best, "share": share})


def alert_states(alerts: pd.DataFrame, *, quiet_months: int = 3, reasons: Sequence[str] | None = None) -> pd.Series:
    """Whether each alert is new, returned or continuing, against the household's last alert.

    `new`: the first one, or a reason changed to another known value. `returned`: the last one lies `quiet_months` or more
    back. `continuing`: neither, a repeat that asks for no second visit.

    Parameters
    ----------
    alerts
        Any number of months: `household_id`, `as_of` (`YYYY-MM`), one row per household and month, and columns of
        reasons.
    quiet_months
        Months after which the same alert counts again.
    reasons
        Columns that say why; by default those of `REASONS` that are there. A value that is no longer known is no change.

    Returns
    -------
    pandas.Series
        `new`, `returned` or `continuing`; index of `alerts`.

    Raises
    ------
    UsageError
        If a column is missing or a household has two alerts in a month.

    >>> alerts = pd.DataFrame({"household_id": ["a"] * 4, "as_of": ["2023-01", "2023-02", "2023-03", "2023-06"],
    ...                        "driver_1": ["illness", "illness", "job", "job"]})
    >>> alert_states(alerts).tolist()
    ['new', 'continuing', 'new', 'returned']
    """
    reasons = [c for c in REASONS if c in alerts] if reasons is None else list(reasons)
    _need(alerts, ["household_id", "as_of", *reasons])
    if alerts.duplicated(["household_id", "as_of"]).any():
        raise UsageError("a household has two alerts in one month: give one row per household_id and as_of.")
    frame = alerts[["household_id", *reasons]].reset_index(drop=True).assign(month=_months(alerts["as_of"]))
    frame = frame.sort_values(["household_id", "month"], kind="stable")
    last = frame.groupby("household_id", sort=False).shift()
    gap = frame["month"] - last["month"]
    changed = np.zeros(len(frame), bool)
    for reason in reasons:
        now, before = frame[reason], last[reason]
        changed |= (now.notna() & ~(now == before).fillna(False)).to_numpy(bool)
    state = np.select([gap.isna(), gap >= quiet_months, changed], ["new", "returned", "new"], "continuing")
    return pd.Series(state[np.argsort(frame.index)], index=alerts.index, name="state")


def churn(alerts: pd.DataFrame, *, quiet_months: int = 3, reasons: Sequence[str] | None = None) -> pd.DataFrame:
    """How the list changes from month to month.

    Parameters
    ----------
    alerts, quiet_months, reasons
        As for `alert_states`.

    Returns
    -------
    pandas.DataFrame
        By `as_of`: `listed`; `new`, `continuing`, `returned`; `joined` and `left` against the list before;
        `repeat_share` (continuing) and `turnover` (joined, as a share of the listed), missing for the first list, before
        which nothing is known.
    """
    states = alert_states(alerts, quiet_months=quiet_months, reasons=reasons)
    counts = pd.crosstab(alerts["as_of"], states).reindex(columns=["new", "continuing", "returned"], fill_value=0)
    counts = counts.rename_axis(columns=None)
    counts.insert(0, "listed", counts.sum(axis=1))
    members = alerts.groupby("as_of")["household_id"].agg(set)
    before = members.shift()
    joined = [len(now - then) if isinstance(then, set) else np.nan for now, then in zip(members, before, strict=True)]
    left = [len(then - now) if isinstance(then, set) else np.nan for now, then in zip(members, before, strict=True)]
    counts["joined"], counts["left"] = joined, left
    counts["repeat_share"] = (counts["continuing"] / counts["listed"]).where(before.notna())
    counts["turnover"] = counts["joined"] / counts["listed"]
    return counts


@dataclass(frozen=True)
class LeadTime:
    """How early the lists warned.

    Attributes
    ----------
    falls
        Falls that a list could have warned of: at least one list lies in the window before them.
    caught, never_listed
        Falls with and without an alert in the window before them.
    median
        Months of warning among those caught; NaN where none was.
    early_share
        Share of all falls, those never listed included, with at least `early_months` of warning.
    distribution
        Falls caught by months of warning.
    """

    falls: int
    caught: int
    never_listed: int
    median: float
    early_share: float
    early_months: int
    distribution: pd.Series


def lead_times(alerts: pd.DataFrame, falls: pd.DataFrame, *, within_months: int = 12) -> pd.Series:
    """Months from a household's first alert in the window before its fall to the fall; missing where never listed.

    Parameters
    ----------
    alerts
        Lists of any number of months: `household_id`, `as_of` (`YYYY-MM`).
    falls
        One row per household and fall: `household_id`, `outcome_month` (`YYYY-MM`). Cohort rows that share a fall count
        once.
    within_months
        Length of the window; the month of the fall itself is no warning.

    Returns
    -------
    pandas.Series
        One value per fall that has a list in its window, by `household_id` and `outcome_month`.

    >>> alerts = pd.DataFrame({"household_id": ["a", "a"], "as_of": ["2023-01", "2023-03"]})
    >>> falls = pd.DataFrame({"household_id": ["a", "b"], "outcome_month": ["2023-05", "2023-05"]})
    >>> lead_times(alerts, falls).tolist()
    [4.0, nan]
    """
    _need(alerts, ["household_id", "as_of"])
    _need(falls, ["household_id", "outcome_month"])
    keys = ["household_id", "outcome_month"]
    falls = falls[keys].dropna().drop_duplicates(ignore_index=True)
    month = _months(falls["outcome_month"])
    lists = np.unique(_months(alerts["as_of"]))
    latest = np.searchsorted(lists, month) - 1
    could = latest >= 0
    could[could] = month[could] - lists[latest[could]] <= within_months
    falls = falls[could].assign(fell=month[could])
    if not len(falls):
        return pd.Series([], pd.MultiIndex.from_frame(falls[keys]), dtype=float, name="lead_months")
    pairs = falls.merge(alerts[["household_id"]].assign(month=_months(alerts["as_of"])), on="household_id")
    lead = pairs["fell"] - pairs["month"]
    first = pairs[(lead > 0) & (lead <= within_months)].assign(lead_months=lead).groupby(keys)["lead_months"].max()
    return first.reindex(pd.MultiIndex.from_frame(falls[keys])).astype(float)


def lead_time(alerts: pd.DataFrame, falls: pd.DataFrame, *, within_months: int = 12, early_months: int = 3) -> LeadTime:
    """`lead_times` in a few figures."""
    lead = lead_times(alerts, falls, within_months=within_months)
    caught = lead.dropna()
    return LeadTime(
        falls=len(lead),
        caught=len(caught),
        never_listed=len(lead) - len(caught),
        median=float(caught.median()) if len(caught) else np.nan,
        early_share=float((caught >= early_months).sum() / len(lead)) if len(lead) else np.nan,
        early_months=early_months,
        distribution=caught.astype(int).value_counts().sort_index().rename("falls"),
    )


def _highest(order: np.ndarray, group: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Rows, given from the highest risk down, that find room in their group."""
    return order[_rank(order, group)[order] < room[group[order]]]


def _rank(order: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Place of each row in its group, 0 first, by the given order; rows not in it have none (-1)."""
    by_group = order[np.argsort(group[order], kind="stable")]
    codes = group[by_group]
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, int)
    rank = np.full(len(group), -1)
    rank[by_group] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return rank


def _months(months: pd.Series) -> np.ndarray:
    """Month numbers; each distinct month is read once."""
    codes, names = pd.factorize(months)
    return np.array([month_number(m) for m in names], dtype=int)[codes]


def _need(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [c for c in columns if c not in frame]
    if missing:
        raise UsageError(f"the table lacks the column {missing[0]!r}: it needs {', '.join(columns)}.")
