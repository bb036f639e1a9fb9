"""The bias audit: whom the list reaches, finds and judges, by sex of the head, age, disability, ethnicity and place.

Measures by group are fairlearn's tables (Weerts et al. 2023, JMLR 24), taken **at the list**, never at a risk of 0.5.
Their intervals come from the bootstrap over households or villages that all other figures use; where nobody of a group has a
trait, or everybody, and no resample can differ, the other end is Wilson's over households.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from scipy import sparse
from scipy.stats import norm

from riskmodel.errors import UsageError
from riskmodel.evaluation.bootstrap import Interval, drawn_together, household_codes, household_draws, percentile_interval
from riskmodel.evaluation.metrics import wilson
from riskmodel.settings import Intervals

SUBJECTIVE = "subjective"
UNKNOWN = "unknown"
CALIBRATION = "observed_over_expected"
ALARM_RATIO = 1.25
CARED_FOR = MappingProxyType({
    "disabled_member": ("yes",), "elderly_members": ("some", "all"), "head_age": ("60 and over",),
})  # fmt: skip
"""Groups that the rules protect: there an alarm sounds only if they are called subjective more often, not less."""
_AS_GIVEN = ("head_sex", "head_ethnic_minority", "head_religion", "remote", "relocated", "household_type")
_AGE_BANDS = MappingProxyType({0: "under 30", 30: "30-44", 45: "45-59", 60: "60 and over"})


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Attributes
    ----------
    table
        One row per audit column, group and measure: `column, group, measure, value, low, high, of_overall, of_best`
        (ratios to the figure of all and of the best group), `rows, households, events, estimable`. Figures that are not
        estimable are missing. The group `all` of the column `all` stands first.
    spread
        One row per audit column and measure: the `lowest` and `highest` group that are estimable, their `ratio` with
        `low` and `high`, and `alarm`. With few verdicts the alarm also sounds by chance; `low` above 1 makes chance
        unlikely.
    """

    table: pd.DataFrame
    spread: pd.DataFrame

    @property
    def alarms(self) -> pd.DataFrame:
        """Rows of `spread` that raise an alarm."""
        return self.spread[self.spread["alarm"]].reset_index(drop=True)


def audit_groups(frame: pd.DataFrame) -> pd.DataFrame:
    """Groups of each household by every audit column that is present, as text; unknown where missing.

    Parameters
    ----------
    frame
        Standing columns and features, such as `Cohorts.frame`. Read are sex, ethnicity and religion of the head, `remote`,
        `relocated`, `household_type`, `head_age` (years, in four bands), `disabled_now` (members), and `elderly_now` with
        `hh_size_now` (members: none, some or all of them elderly).

    >>> audit_groups(pd.DataFrame({"head_age": [28, 61], "relocated": [True, None], "disabled_now": [0, 2]}))
      relocated  head_age disabled_member
    0       yes     under 30           no
    1   unknown  60 and over          yes
    """
    found = {name: _text(frame[name]) for name in _AS_GIVEN if name in frame}
    if "head_age" in frame:
        edges = [*_AGE_BANDS, np.inf]
        bands = pd.cut(frame["head_age"].astype(float), edges, right=False, labels=list(_AGE_BANDS.values()))
        found["head_age"] = _text(bands.astype(object))
    if "disabled_now" in frame:
        members = frame["disabled_now"].astype(float)
        found["disabled_member"] = _text(members.gt(0).astype(object).where(members.notna()))
    if {"elderly_now", "hh_size_now"} <= set(frame.columns):
        elderly, size = frame["elderly_now"].astype(float), frame["hh_size_now"].astype(float)
        bands = np.select([elderly <= 0, elderly < size, elderly >= size], ["none", "some", "all"], UNKNOWN)
        found["elderly_members"] = pd.Series(bands, index=frame.index)
    return pd.DataFrame(found, index=frame.index)


def audit(
    rows: pd.DataFrame,
    groups: pd.DataFrame,
    intervals: Intervals,
    seed: int,
    *,
    fewest_households: int = 200,
    fewest_events: int = 20,
    alarm_ratio: float = ALARM_RATIO,
) -> Audit:
    """Compare groups at the list.

    Parameters
    ----------
    rows
        `household_id`, `listed` (bool); `outcome` (0/1) and `risk` where the outcome is known; `verdict` on alerts where
        causes were judged, missing elsewhere; `village_id` where villages may be drawn (`bootstrap.drawn_together`).
    groups
        One column per audit column, same index; from `audit_groups`.
    fewest_households, fewest_events
        A smaller group is not estimable, nor a measure with fewer than `fewest_events` rows to count among (events for
        recall, listed for precision, verdicts for the share of subjective).
    alarm_ratio
        Ratio of the highest to the lowest share of subjective verdicts beyond which the alarm is raised; among groups
        that the rules protect (`CARED_FOR`) only where these have the highest share.

    Returns
    -------
    Audit
        Measures: `selection_rate` (share listed); with outcomes `recall`, `precision` and `observed_over_expected`
        (calibration in the large, 1 is right, above 1 risks are too low); with verdicts `subjective_share`.

    Raises
    ------
    UsageError
        If a column is missing, an outcome is not known, or there is no audit column.

    >>> rows = pd.DataFrame({"household_id": [f"h{i}" for i in range(800)], "listed": [True] * 100 + [False] * 700})
    >>> groups = pd.DataFrame({"head_sex": ["female", "male"] * 50 + ["female"] * 300 + ["male"] * 400})
    >>> audit(rows, groups, Intervals(replicates=50), seed=1).table[["group", "measure", "value", "of_best"]].round(3)
        group         measure  value  of_best
    0     all  selection_rate  0.125      NaN
    1  female  selection_rate  0.143    1.000
    2    male  selection_rate  0.111    0.778
    """
    _check(rows, groups)
    rows = rows.reset_index(drop=True)
    groups = pd.concat([pd.Series("all", index=groups.index, name="all"), groups], axis=1).reset_index(drop=True)
    parts = _parts(rows)
    codes, count = household_codes(drawn_together(rows, intervals))
    values = _by_group(rows, groups, parts)
    tables, spreads = [], []
    overall: pd.Series | None = None
    for column in groups:
        names, group = np.unique(groups[column].to_numpy(str), return_inverse=True)
        value = values.loc[column].loc[names]
        draws = _draws(parts, group, len(names), codes, count, intervals.replicates, seed)
        sizes = _sizes(rows, groups[column], parts).loc[names]
        large = sizes["households"] >= fewest_households
        if "outcome" in rows:
            large &= sizes["events"] >= fewest_events
        for j, measure in enumerate(parts):
            estimable = (large & (sizes[measure] >= fewest_events)).to_numpy()
            figure = value[measure].where(estimable)
            if overall is not None:
                spreads.append(_spread(column, measure, figure, draws[:, :, j], intervals.level, alarm_ratio))
            ends = [percentile_interval(0, draws[:, i, j], intervals.level) for i in range(len(names))]
            if measure != CALIBRATION:
                counted = rows["household_id"].where(parts[measure].among > 0).groupby(group).nunique()
                ends = [
                    _open_end(share, end, n, intervals.level) for share, end, n in zip(figure, ends, counted, strict=True)
                ]
            tables.append(
                pd.DataFrame({
                    "column": column,
                    "group": names,
                    "measure": measure,
                    "value": figure.to_numpy(),
                    "low": np.where(estimable, [e.low for e in ends], np.nan),
                    "high": np.where(estimable, [e.high for e in ends], np.nan),
                    "of_overall": np.nan if overall is None else figure.to_numpy() / (overall[measure] or np.nan),
                    "of_best": np.nan if overall is None else figure.to_numpy() / (_best(measure, figure) or np.nan),
                    "rows": sizes["rows"].to_numpy(),
                    "households": sizes["households"].to_numpy(),
                    "events": sizes["events"].to_numpy(),
                    "estimable": estimable,
                })
            )  # fmt: skip
        if overall is None:
            overall = value.loc["all"]
    return Audit(pd.concat(tables, ignore_index=True), pd.DataFrame(spreads))


def audit_over_time(rows: pd.DataFrame, groups: pd.DataFrame, intervals: Intervals, seed: int, **guards: float) -> Audit:
    """`audit` for each as-of month apart; both tables start with `as_of`.

    Parameters
    ----------
    rows
        As for `audit`, with `as_of`.
    guards
        `fewest_households`, `fewest_events` and `alarm_ratio`, as for `audit`.
    """
    _check(rows, groups)
    if "as_of" not in rows:
        raise UsageError("an audit over time needs the column as_of.")
    found = {
        month: audit(rows.loc[own], groups.loc[own], intervals, seed, **guards)
        for month, own in rows.groupby("as_of").groups.items()
    }

    def joined(part: str) -> pd.DataFrame:
        frames = [getattr(one, part).assign(as_of=month) for month, one in found.items()]
        table = pd.concat(frames, ignore_index=True)
        return table[["as_of", *[c for c in table if c != "as_of"]]]

    return Audit(joined("table"), joined("spread"))


@dataclass(frozen=True)
class _Part:
    """A measure as a ratio of two sums over rows; `among` says which rows count."""

    above: np.ndarray
    below: np.ndarray
    among: np.ndarray


def _parts(rows: pd.DataFrame) -> dict[str, _Part]:
    listed = rows["listed"].to_numpy(float)
    one = np.ones(len(rows))
    parts = {"selection_rate": _Part(listed, one, one)}
    if "outcome" in rows:
        y, p = rows["outcome"].to_numpy(float), rows["risk"].to_numpy(float)
        parts["recall"] = _Part(y * listed, y, y)
        parts["precision"] = _Part(y * listed, listed, listed)
        parts[CALIBRATION] = _Part(y, p, one)
    if "verdict" in rows:
        judged = rows["verdict"].notna().to_numpy(float)
        subjective = rows["verdict"].eq(SUBJECTIVE).fillna(False).to_numpy(float)
        parts["subjective_share"] = _Part(subjective, judged, judged)
    return parts


def _open_end(share: float, drawn: Interval, households: int, level: float) -> Interval:
    """The interval of a share; where nobody or everybody has the trait no resample differs, and one end is Wilson's."""
    if share not in (0, 1) or np.isnan(drawn.low):
        return drawn
    low, high = wilson(share * households, households, float(norm.ppf((1 + level) / 2)))
    return replace(drawn, low=min(drawn.low, low), high=max(drawn.high, high))


def _by_group(rows: pd.DataFrame, groups: pd.DataFrame, parts: Mapping[str, _Part]) -> pd.DataFrame:
    """fairlearn's table of all audit columns at once: column and group x measures.

    Rows alike in group, outcome and list go in as one with their sums.
    """
    sums = pd.DataFrame({(name, side): getattr(part, side) for name, part in parts.items() for side in ("above", "below")})
    alike = [rows["outcome"].to_numpy(int) if "outcome" in rows else np.zeros(len(rows), int), rows["listed"].to_numpy(int)]
    cells = pd.concat({column: sums.groupby([groups[column].to_numpy(str), *alike]).sum() for column in groups})
    number, names = pd.factorize(cells.index.droplevel([2, 3]))
    frame = MetricFrame(
        metrics=dict.fromkeys(parts, _share),
        y_true=cells.index.get_level_values(2),
        y_pred=cells.index.get_level_values(3),
        sensitive_features=number,
        sample_params={name: {side: cells[name, side].to_numpy() for side in ("above", "below")} for name in parts},
    )
    return frame.by_group.astype(float).set_axis(names)


def _draws(
    parts: Mapping[str, _Part], group: np.ndarray, groups: int, codes: np.ndarray, count: int, replicates: int, seed: int
) -> np.ndarray:
    """Measures of each group on each resample, shape (replicates, groups, measures), from sums per household."""
    sums = np.stack([side for part in parts.values() for side in (part.above, part.below)], axis=1)
    width = sums.shape[1]
    columns = group[:, None] * width + np.arange(width)
    entries = (sums.ravel(), (columns.ravel(), np.repeat(codes, width)))
    by_household = sparse.coo_matrix(entries, shape=(groups * width, count)).tocsr()
    drawn = np.stack([by_household @ weight for weight in household_draws(count, replicates, seed)])
    above, below = np.moveaxis(drawn.reshape(replicates, groups, len(parts), 2), -1, 0)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _sizes(rows: pd.DataFrame, group: pd.Series, parts: Mapping[str, _Part]) -> pd.DataFrame:
    """Rows, households, events of each group, and the rows that each measure counts among."""
    frame = pd.DataFrame({name: part.among for name, part in parts.items()})
    frame["rows"] = 1
    frame["events"] = rows["outcome"].to_numpy(float) if "outcome" in rows else 0
    by = group.to_numpy(str)
    found = frame.groupby(by).sum()
    found["households"] = rows["household_id"].groupby(by).nunique()
    return found.astype(int)


def _spread(
    column: str, measure: str, figure: pd.Series, draws: np.ndarray, level: float, alarm_ratio: float
) -> dict[str, object]:
    """The lowest and the highest group, their ratio, and whether it raises the alarm."""
    row = {"column": column, "measure": measure, "lowest": None, "highest": None, "ratio": np.nan, "low": np.nan,
           "high": np.nan, "alarm": False}  # fmt: skip
    if figure.notna().sum() < 2:
        return row
    low, high = (figure.index.get_loc(name) for name in (figure.idxmin(), figure.idxmax()))
    ratio = _ratio(figure.iloc[high], figure.iloc[low])
    drawn = [_ratio(a, b) for a, b in zip(draws[:, high], draws[:, low], strict=True)]
    ends = percentile_interval(ratio, drawn, level)
    by_rule = figure.idxmax() not in CARED_FOR.get(column, figure.index)
    alarm = measure == "subjective_share" and ratio > alarm_ratio and not by_rule
    return row | {"lowest": figure.idxmin(), "highest": figure.idxmax(), "ratio": ratio, "low": ends.low,
                  "high": ends.high, "alarm": bool(alarm)}  # fmt: skip


def _best(measure: str, figure: pd.Series) -> float:
    """The figure of the best group: nearest to right, fewest subjective, most reached."""
    if figure.isna().all():
        return np.nan
    if measure == "observed_over_expected":
        return float(figure[(np.log(figure.clip(lower=1e-12))).abs().idxmin()])
    return float(figure.min() if measure == "subjective_share" else figure.max())


def _share(y_true: np.ndarray, y_pred: np.ndarray, above: np.ndarray, below: np.ndarray) -> float:
    """A measure from its two sums; outcome and list, which fairlearn hands over too, are in them already."""
    return float(above.sum() / below.sum()) if below.sum() else np.nan


def _ratio(a: float, b: float) -> float:
    """a / b; infinite where b alone is 0, 1 where both are, NaN where one is not defined."""
    if b or np.isnan(a):
        return float(a / b)
    return np.inf if a else 1.0


def _text(values: pd.Series) -> pd.Series:
    words = {True: "yes", False: "no"} if set(values.dropna().unique()) <= {True, False} else {}
    text = values.astype(object).map(lambda v: words.get(v, str(v)))
    return text.where(values.notna(), UNKNOWN).astype(str)


def _check(rows: pd.DataFrame, groups: pd.DataFrame) -> None:
    needed = ["household_id", "listed", *(["risk"] if "outcome" in rows else [])]
    missing = [c for c in needed if c not in rows]
    if missing:
        raise UsageError(f"the audit lacks the column {missing[0]!r}: it needs {', '.join(needed)}.")
    if not len(rows) or not groups.shape[1]:
        raise UsageError("nothing to audit: no household, or no audit column such as head_sex. Map one in the source file.")
    if not rows.index.equals(groups.index):
        raise UsageError("rows and groups of an audit have the same index: make the groups from the same table.")
    if "outcome" in rows and rows["outcome"].isna().any():
        raise UsageError("the audit needs known outcomes: leave out the rows without one, or the column outcome.")
