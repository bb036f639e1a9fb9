"""Leak gates: what a model may not know, checked in every training.

Leakage is information about the outcome that will not be there when the model is used (Kaufman, Rosset, Perlich &
Stitelman 2012, "Leakage in data mining", TKDD 6:15). It is the commonest reason why published models do not hold up
(Kapoor & Narayanan 2023, "Leakage and the reproducibility crisis in machine-learning-based science", Patterns 4:100804).
Exact gates allow no exception: what was known later must change no bit of a feature (`riskmodel.evaluation.future`), no
label of training may reach into the test, no household may stand on both sides of a test that is disjoint by household.
Statistical gates alarm only where a confidence limit, corrected for the number of figures looked at (Bonferroni) and
for households seen several times, passes a bound that honest features do not reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri

from riskmodel.cohort.cohorts import Cohorts
from riskmodel.cohort.features import FeatureTable, build_features
from riskmodel.cohort.splits import Fold, embargo_months
from riskmodel.errors import LeakFound
from riskmodel.evaluation.future import features_that_know_the_future
from riskmodel.months import month_number
from riskmodel.settings import LeakGates

Verdict = Literal["stop", "warn", "pass"]
Parts = Sequence[tuple[np.ndarray, np.ndarray]]
Builder = Callable[..., FeatureTable]

_ROWS_AT_MOST = 60_000
_FEWEST = 50
_GROUPS = 5
_TELLING_VALUES = 0.5
_FEWEST_TELLING = 3
_ENCODED = 0.99999
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Finding:
    """What one gate found about one subject.

    Attributes
    ----------
    gate
        Name of the gate, a key of `GATES`.
    subject
        A feature, a split, or `household_id`; empty where a gate passed as a whole.
    figure, bound
        What was measured (for statistical gates the confidence limit), and what it may not pass.
    verdict
        `stop`, `warn` or `pass`.
    en, zh
        The finding as a sentence. It holds no household's value.
    accepted
        Why a stop was let pass as a warning; empty otherwise.
    """

    gate: str
    subject: str
    figure: float
    bound: float
    verdict: Verdict
    en: str
    zh: str
    accepted: str = ""


@dataclass(frozen=True)
class Gate:
    """A gate in words; `en` and `zh` are completed with `subject`, `figure` and `bound`, `fix` says what to do."""

    name_en: str
    name_zh: str
    en: str
    zh: str
    fix: str


GATES: dict[str, Gate] = {
    "future": Gate(
        "no feature knows the future",
        "指标不含未来信息",
        "{subject} changes when records known after the as-of day are changed ({figure:.0f} rows)",
        "{subject}随观察日之后才知晓的记录而变化（{figure:.0f}行）",
        "read it through the catalogue, whose as-of filter comes first, or leave it out (leave_out)",
    ),
    "rebuilt": Gate(
        "features are those of the register as known",
        "指标与当时登记一致",
        "{subject} is not what the register as known on the as-of day gives ({figure:.0f} rows differ)",
        "{subject}与观察日当时已知登记数据所得不一致（{figure:.0f}行不同）",
        "define it in the catalogue instead of changing the cohorts, or leave it out (leave_out)",
    ),
    "labels": Gate(
        "training outcomes end before the test",
        "训练结果早于检验期",
        "{subject}: {figure:.0f} training rows reach into the test months",
        "{subject}：{figure:.0f}行训练数据伸入检验期",
        "build folds with temporal_folds and rows_of, which keep the embargo",
    ),
    "households": Gate(
        "nobody on both sides of a disjoint test",
        "分户检验两侧无同一户",
        "{subject}: {figure:.0f} households or household-months stand twice",
        "{subject}：{figure:.0f}户（户月）重复出现",
        "split by household_id, and keep one row per household and month",
    ),
    "twins": Gate(
        "no household under two ids",
        "同一户不重复编号",
        "{figure:.2%} of the households have the same figures as a household under another id (bound {bound:.2%})",
        "{figure:.2%}的户与另一编号的户数据完全相同（界限{bound:.2%}）",
        "look for households registered twice, and give them one id before ingest",
    ),
    "single_feature": Gate(
        "no feature separates alone",
        "单项指标不能独自区分",
        "{subject} alone separates those who fell from the others with an AUC of at least {figure:.3f} (bound {bound:.3f})",
        "仅凭{subject}区分是否返贫的AUC至少为{figure:.3f}（界限{bound:.3f}）",
        "find out when its source columns are written; if after the outcome, leave it out (leave_out)",
    ),
    "certain": Gate(
        "no value foretells with certainty",
        "无取值预示必然返贫",
        "at one end of {subject} at least {figure:.1%} of the households fell (bound {bound:.1%})",
        "{subject}一端取值的户中至少{figure:.1%}返贫（界限{bound:.1%}）",
        "find out whether the value is written because a household fell; if so, leave it out (leave_out)",
    ),
    "missing": Gate(
        "missing values do not tell",
        "缺失不透露结果",
        "whether {subject} is missing tells who fell with an AUC of at least {figure:.3f} (bound {bound:.3f})",
        "{subject}是否缺失即可判断返贫，AUC至少为{figure:.3f}（界限{bound:.3f}）",
        "find out why it is missing; if because a household fell, leave it out (leave_out)",
    ),
    "encoded": Gate(
        "no feature is a mean of outcomes",
        "指标不是结果的均值",
        "{subject} equals the share that fell among the rows with the same value (R2 {figure:.4f}, bound {bound:.4f})",
        "{subject}等于同值各行的返贫比例（R2 {figure:.4f}，界限{bound:.4f}）",
        "encode areas from outcomes known before the as-of day only, or leave it out (leave_out)",
    ),
    "id_order": Gate(
        "ids are not in order of the outcome",
        "编号次序与结果无关",
        "the order of {subject} separates those who ever fell with an AUC of at least {figure:.3f} (bound {bound:.3f})",
        "{subject}的次序区分是否返贫的AUC至少为{figure:.3f}（界限{bound:.3f}）",
        "look at how the source was sorted or numbered, and whether households were added after they fell",
    ),
    "sign": Gate(
        "features keep their direction",
        "指标方向不变",
        "{subject} points one way in training, the other way in the test, by {figure:.3f} AUC at least (bound {bound:.3f})",
        "{subject}在训练期与检验期方向相反，AUC偏离均至少{figure:.3f}（界限{bound:.3f}）",
        "look for codes or definitions that changed between the months, and map them in the source",
    ),
    "scale": Gate(
        "features keep their unit",
        "指标单位不变",
        "{subject} becomes {figure:.3g} times larger or smaller from one as-of month to the next (bound {bound:.3g})",
        "{subject}在相邻观察月之间放大或缩小{figure:.3g}倍（界限{bound:.3g}）",
        "look for a change of unit (yuan and 10,000 yuan, months and years), and map it in the source",
    ),
    "shift": Gate(
        "features keep their distribution",
        "指标分布不变",
        "{subject} is distributed otherwise in the test than in training (KS at least {figure:.2f}, bound {bound:.2f})",
        "{subject}在检验期与训练期分布不同（KS至少{figure:.2f}，界限{bound:.2f}）",
        "check that it means the same in all months",
    ),
}


def find_leaks(
    cohorts: Cohorts,
    inputs: Sequence[str],
    folds: Sequence[Fold],
    splits: Mapping[str, Parts],
    gates: LeakGates | None = None,
    *,
    seed: int = 0,
    build: Builder = build_features,
) -> list[Finding]:
    """Every gate on one study, before anything is fitted.

    Parameters
    ----------
    cohorts
        As `build_cohorts` gives them. The as-of gates need `cohorts.origin`, the register they come from.
    inputs
        Features that models may use.
    folds
        Splits in time; the last one is the test.
    splits
        For each split, row positions for training and for testing, part by part. Splits that are no fold are disjoint
        by household.
    gates
        Bounds and accepted features.
    seed
        Seed of the samples of households.
    build
        Makes features from a register, as `build_features` does.

    Returns
    -------
    list of Finding
        Every stop and warning, and one line for each gate that passed.
    """
    gates = gates or LeakGates()
    if not gates.enabled:
        return [Finding("all", "", 0, 0, "warn", "The leak gates were switched off.", "泄漏检查已关闭。")]
    train, test = splits[folds[-1].name][0]
    found = [
        *_as_of(cohorts, inputs, gates, seed, build),
        *_labels(cohorts, folds, splits),
        *_households(cohorts, folds, splits),
        *_twins(cohorts, inputs, gates),
        *_statistical(cohorts.frame, inputs, train, test, gates),
        *_units(cohorts, inputs, np.sort(np.concatenate([train, test])), gates),
    ]
    return [_accepted(f, gates, inputs) for f in found]


def stop_on(findings: Iterable[Finding]) -> None:
    """Nothing, if no finding says `stop`.

    Raises
    ------
    LeakFound
        Naming the first stops with figure, bound and what to do, and how many more there are.

    >>> stop_on([Finding("missing", "visit_age", 0.6, 0.7, "pass", "", "")])
    """
    stops = [f for f in findings if f.verdict == "stop"]
    if stops:
        said = " ".join(f"[{f.gate}] {f.en} {_capital(GATES[f.gate].fix)}." for f in stops[:3])
        more = f" {len(stops) - 3} more of this kind." if len(stops) > 3 else ""
        raise LeakFound(
            f"training stopped by {len(stops)} leak finding{'s' * (len(stops) > 1)}: {said}{more} A feature that is no leak "
            "can be let pass with its reason under leak_gates.accept."
        )


def leak_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Findings as a table, one row each, with the fields of `Finding` as columns.

    >>> leak_table([Finding("missing", "visit_age", 0.6, 0.7, "pass", "", "")])[["gate", "verdict"]].values.tolist()
    [['missing', 'pass']]
    """
    return pd.DataFrame([asdict(f) for f in findings], columns=list(Finding.__dataclass_fields__))


@dataclass(frozen=True)
class Separation:
    """How well figures separate those who fell (`y == 1`) from the others, with a standard error."""

    auc: float
    error: float

    def limits(self, z: float) -> tuple[float, float]:
        """Confidence limits of the AUC, `z` standard errors to each side."""
        return self.auc - z * self.error, self.auc + z * self.error

    def deviation(self, z: float) -> float:
        """AUC in the direction in which it separates, less `z` standard errors; 0.5 at least."""
        return max(0.5, 0.5 + abs(self.auc - 0.5) - z * self.error)


NO_SEPARATION = Separation(0.5, 0.5)


def separation(x: np.ndarray, y: np.ndarray, household: np.ndarray, order: np.ndarray | None = None) -> Separation:
    """AUC of `x` for `y`, with the larger of two standard errors.

    One is that of DeLong, DeLong & Clarke-Pearson (1988), summed over the rows of each household (Obuchowski 1997);
    the other that of Hanley & McNeil (1982) at the AUC less one event in a hundred, counting households, which does not
    vanish where few households separate perfectly.

    Parameters
    ----------
    x
        Values without NaN, shape (n,).
    y
        0/1, shape (n,).
    household
        Household of each row as a whole number, shape (n,).
    order
        Positions that sort `x`, if known.

    >>> x, y = np.arange(200.0), np.arange(200) >= 100
    >>> separation(x, y, np.arange(200)).auc
    1.0
    """
    events = int(y.sum())
    others = len(y) - events
    if not events or not others:
        return NO_SEPARATION
    order = np.argsort(x, kind="stable") if order is None else order
    ends = _ends(x[order])
    fell = np.cumsum(y[order])[ends]
    every = ends + 1
    fell_here, every_here = np.diff(fell, prepend=0), np.diff(every, prepend=0)
    rest_here = every_here - fell_here
    above = ((every - fell) - rest_here / 2) / others
    below = (events - fell + fell_here / 2) / events
    auc = float(np.dot(fell_here, above) / events)
    block = np.repeat(np.arange(len(ends)), every_here)
    here = y[order]
    influence = np.where(here, (above[block] - auc) / events, (below[block] - auc) / others)
    return Separation(auc, _error(auc, influence, here, household[order]))


def _error(auc: float, influence: np.ndarray, y: np.ndarray, household: np.ndarray) -> float:
    sums = np.bincount(household, influence)
    seen = np.bincount(household) > 0
    fell = np.bincount(household, y)
    count, events = int(seen.sum()), int((fell > 0).sum())
    clustered = np.sqrt(np.dot(sums, sums) * count / max(count - 1, 1))
    others = max(count - events, 1)
    a = 0.5 + max(abs(auc - 0.5) - 0.01, 0)
    one, two = a / (2 - a), 2 * a * a / (1 + a)
    floor = (a * (1 - a) + (events - 1) * (one - a * a) + (others - 1) * (two - a * a)) / (events * others)
    return float(max(clustered, np.sqrt(max(floor, 0))))


def certain_share(fell: np.ndarray, every: np.ndarray, z: float) -> float:
    """Largest lower limit (Wilson 1927) of the share that fell among the first 1, 2, ... values.

    Parameters
    ----------
    fell, every
        Households that fell, and all of them, counted up to and including each value.
    z
        Standard errors.

    >>> round(certain_share(np.array([90, 100]), np.array([90, 300]), 3.0), 2)
    0.91
    """
    share = fell / every
    centre = share + z * z / (2 * every)
    half = z * np.sqrt(share * (1 - share) / every + z * z / (4 * every * every))
    return float(((centre - half) / (1 + z * z / every)).max())


def encoding_fit(x: np.ndarray, y: np.ndarray, order: np.ndarray | None = None) -> float:
    """R2 of a straight line through the share that fell, value by value of `x`.

    A mean of outcomes over the rows of an area equals, value by value, the share that fell among the rows with that
    value: R2 is 1. It is 0 where fewer than five values have both kinds of outcome, or most rows have their own value.

    >>> area = np.repeat(np.arange(6), 50)
    >>> y = np.tile(np.arange(50), 6) < 3 + 4 * area
    >>> round(encoding_fit(np.bincount(area, y)[area] / 50, y), 6)
    1.0
    """
    order = np.argsort(x, kind="stable") if order is None else order
    ends = _ends(x[order])
    if len(ends) > len(x) / 2:
        return 0.0
    fell, every = np.diff(np.cumsum(y[order])[ends], prepend=0), np.diff(ends + 1, prepend=0)
    if len(np.unique((fell / every)[(fell > 0) & (fell < every)])) < _GROUPS:
        return 0.0
    return float(np.corrcoef(x[order][ends].astype(float), fell / every)[0, 1] ** 2)


def scale_jump(months: Sequence[np.ndarray]) -> float:
    """Largest factor by which all of a feature's size (five quantiles of |x|) changes from one month to the next.

    Months with fewer than 50 values other than zero are passed over.

    Parameters
    ----------
    months
        Values other than zero of each month, in order of time.

    >>> x = np.linspace(1, 9, 60)
    >>> round(scale_jump([x, x, 12 * x]), 6)
    12.0
    """
    sizes = [np.log(np.quantile(np.abs(m), _QUANTILES)) for m in months if len(m) >= _FEWEST]
    if len(sizes) < 2:
        return 1.0
    steps = np.diff(np.array(sizes), axis=0)
    same = np.abs(np.sign(steps).sum(axis=1)) == len(_QUANTILES)
    return float(np.exp((np.abs(steps).min(axis=1) * same).max()))


def _statistical(
    frame: pd.DataFrame, inputs: Sequence[str], train: np.ndarray, test: np.ndarray, gates: LeakGates
) -> list[Finding]:
    """Gates on one feature at a time, in training and in test months apart, each figure with its limit."""
    z = float(-ndtri(gates.false_alarm / (2 * max(len(inputs), 1))))
    parts = [_Part.of(frame, rows) for rows in (train, test)]
    known = _Part.of(frame, np.flatnonzero(frame["outcome"].notna()), at_most=None)
    alone, certain, missing, encoded, sign, shift = ({} for _ in range(6))
    patterns: dict[tuple[int, bytes], float] = {}
    month = pd.factorize(frame["as_of"])[0]
    for name in inputs:
        column = frame[name].to_numpy()
        looks = [part.look(column, z) for part in parts]
        alone[name] = max(look.separation.deviation(z) for look in looks)
        certain[name] = max(look.certain for look in looks)
        missing[name] = max(part.missing(column, z, patterns) for part in parts)
        encoded[name] = max(part.encoding(column) for part in (known, *parts[:1]))
        sign[name] = _flip(looks, z)
        if sign[name] > gates.sign_flip:
            sign[name] = min(sign[name], _flip([part.look(_centred(column, month), z) for part in parts], z))
        shift[name] = _shift(looks[0], looks[1], z)
    order = _id_order(frame[["household_id", "outcome"]].iloc[np.concatenate([train, test])], z)
    return [
        *_compared("single_feature", alone, gates.single_feature_auc),
        *_compared("certain", certain, max(gates.certain_share, *(_raised(part.y.mean()) for part in parts))),
        *_compared("missing", missing, gates.missing_auc),
        *_compared("encoded", encoded, _ENCODED),
        *_compared("id_order", {"household_id": order}, gates.id_order_auc),
        *_compared("sign", sign, gates.sign_flip),
        *_compared("shift", shift, gates.shift, "warn"),
    ]


def _raised(rate: float) -> float:
    """The share at which the odds are ten times those of a rate: where most fall, an end where nearly all do is no leak."""
    return 10 * rate / (1 + 9 * rate)


def _id_order(rows: pd.DataFrame, z: float) -> float:
    """Lower limit of the AUC of the order of ids, shorter ones first, for having ever fallen."""
    fell = rows.groupby("household_id")["outcome"].max() == 1
    ids = pd.Series(fell.index.astype(str))
    place = np.lexsort((ids, ids.str.len()))
    return separation(np.argsort(place).astype(float), fell.to_numpy(), np.arange(len(fell))).deviation(z)


@dataclass(frozen=True)
class _Look:
    """What one feature shows in one part: sorted values, their separation, the surest end, independent values."""

    values: np.ndarray
    separation: Separation
    certain: float
    independent: int


@dataclass(frozen=True)
class _Part:
    """Rows of training or of test: positions in the frame, outcomes, households as whole numbers."""

    rows: np.ndarray
    y: np.ndarray
    household: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame, rows: np.ndarray, at_most: int | None = _ROWS_AT_MOST) -> _Part:
        """At most `at_most` of the rows, evenly spread: the frame is in order of months and counties."""
        if at_most and len(rows) > at_most:
            rows = rows[np.linspace(0, len(rows) - 1, at_most).astype(int)]
        codes = pd.factorize(frame["household_id"].iloc[rows])[0]
        return cls(rows, frame["outcome"].to_numpy()[rows] == 1, codes)

    def look(self, column: np.ndarray, z: float) -> _Look:
        """Values in order, separation and the surest end of a column among rows where it is known."""
        x = column[self.rows]
        known = np.isfinite(x)
        x, y, household = x[known], self.y[known], self.household[known]
        if not len(x):
            return _Look(x, NO_SEPARATION, 0.0, 0)
        order = np.argsort(x, kind="stable")
        values = x[order]
        found = separation(x, y, household, order)
        ends = _ends(values)
        # Values of areas repeat over households: there are no more independent ones than distinct ones.
        independent = min(_count(household), len(ends))
        if len(ends) == 1 or not y.any():
            return _Look(values, found, 0.0, independent)
        # Rows of one household are one event: counts shrink by the rows that a household that fell has.
        one = _count(household[y]) / y.sum()
        fell, every = np.cumsum(y[order])[ends] * one, (ends + 1) * one
        down = fell[-1] - fell[:-1], every[-1] - every[:-1]
        surest = max(certain_share(fell[:-1], every[:-1], z), certain_share(*down, z))
        return _Look(values, found, surest, independent)

    def missing(self, column: np.ndarray, z: float, patterns: dict[tuple[int, bytes], float]) -> float:
        """Lower limit of the AUC of being missing; columns with the same gaps share one figure."""
        gaps = np.isnan(column[self.rows])
        if not gaps.any() or gaps.all():
            return 0.5
        key = int(self.rows[0]), np.packbits(gaps).tobytes()
        if key not in patterns:
            patterns[key] = separation(gaps, self.y, self.household).deviation(z)
        return patterns[key]

    def encoding(self, column: np.ndarray) -> float:
        """R2 of the column as a mean of outcomes."""
        x = column[self.rows]
        known = np.isfinite(x)
        few = len(np.unique(x[:: max(len(x) // 500, 1)])) < 400
        return encoding_fit(x[known], self.y[known]) if few and known.any() else 0.0


def _count(codes: np.ndarray) -> int:
    """Distinct codes among whole numbers from 0."""
    return int(np.count_nonzero(np.bincount(codes)))


def _flip(looks: Sequence[_Look], z: float) -> float:
    """How far the limits in training and in the test lie on opposite sides of 0.5; 0 where they do not."""
    train, test = (look.separation.limits(z) for look in looks)
    up, down = min(train[0] - 0.5, 0.5 - test[1]), min(0.5 - train[1], test[0] - 0.5)
    return max(up, down, 0.0)


def _centred(column: np.ndarray, month: np.ndarray) -> np.ndarray:
    """A column less its median of the month: what a whole county shares in a month has no direction of its own."""
    return column - pd.Series(column).groupby(month).transform("median").to_numpy()


def _shift(train: _Look, test: _Look, z: float) -> float:
    """Kolmogorov-Smirnov distance less `z` standard errors; 0 where most rows of a side share one value (calendar)."""
    a, b = train.values, test.values
    if min(len(a), len(b)) < _FEWEST or max(_most(a), _most(b)) > 0.5:
        return 0.0
    at = np.concatenate([a, b])
    apart = np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max()
    return float(max(apart - z * np.sqrt(0.25 / train.independent + 0.25 / test.independent), 0))


def _most(values: np.ndarray) -> float:
    """Share of the commonest of sorted values."""
    return np.diff(_ends(values), prepend=-1).max() / len(values)


def _units(cohorts: Cohorts, inputs: Sequence[str], rows: np.ndarray, gates: LeakGates) -> list[Finding]:
    """Factor by which the size of a feature jumps between neighbouring as-of months; logarithms are raised first.

    A month in which all rows have the same value is passed over: such a feature is of the calendar or of the county.
    """
    frame = cohorts.frame
    units = {f.name: f.unit for f in cohorts.features}
    month = frame["as_of"].to_numpy()[rows]
    of_month = [rows[month == m] for m in sorted(set(month))]
    jumps = {}
    for name in inputs:
        column = frame[name].to_numpy()
        if units.get(name, "").startswith("log"):
            column = np.exp(np.clip(column, -80, 80))
        known = (values[np.isfinite(values)] for values in (column[part] for part in of_month))
        jumps[name] = scale_jump([v[v != 0] for v in known if len(v) and v.min() < v.max()])
    return _compared("scale", jumps, gates.scale_jump)


def _labels(cohorts: Cohorts, folds: Sequence[Fold], splits: Mapping[str, Parts]) -> list[Finding]:
    """Training rows whose months or outcomes reach into the test, and rows that stand on both sides."""
    frame = cohorts.frame
    month = frame["as_of"].map({m: month_number(m) for m in frame["as_of"].unique()}).to_numpy()
    known = frame["outcome_known_at"]
    gap = embargo_months(cohorts.label, cohorts.step_months)
    of = {f.name: f for f in folds}
    reach = {}
    for name, parts in splits.items():
        fold = of.get(name, folds[-1])
        late = known.to_numpy() > np.datetime64(fold.known_by)
        reach[name] = 0
        for train, test in parts:
            first = month[test].min()
            wrong = late[train] | (month[train] + gap > first) | np.isin(train, test)
            reach[name] += int(wrong.sum())
    return _compared("labels", reach, 0)


def _households(cohorts: Cohorts, folds: Sequence[Fold], splits: Mapping[str, Parts]) -> list[Finding]:
    """Households on both sides of a split that is disjoint by household, and household-months that stand twice."""
    household = cohorts.frame["household_id"].to_numpy()
    temporal = {f.name for f in folds}
    twice = {
        name: sum(len(set(household[train]) & set(household[test])) for train, test in parts)
        for name, parts in splits.items()
        if name not in temporal
    }
    twice["cohorts"] = int(cohorts.frame.duplicated(["household_id", "as_of"]).sum())
    return _compared("households", twice, 0)


def _twins(cohorts: Cohorts, inputs: Sequence[str], gates: LeakGates) -> list[Finding]:
    """Households whose inputs all equal those of another household of the same month.

    Only rows with three known features that tell count: at least half of the values of such a feature in a sample are
    its own. A register without three of them cannot show twins.
    """
    frame = cohorts.frame
    sample = frame.iloc[:: max(len(frame) // 2000, 1)]
    counts = [(name, sample[name].nunique(), sample[name].count()) for name in inputs]
    telling = [name for name, values, known in counts if values >= max(_TELLING_VALUES * known, _FEWEST)]
    share = 0.0
    if len(telling) >= _FEWEST_TELLING:
        alike = frame.iloc[_perhaps_alike(frame, ["as_of", *telling])]
        alike = alike[alike.duplicated(["as_of", *telling], keep=False)]
        alike = alike[alike[telling].notna().sum(axis=1) >= _FEWEST_TELLING].drop_duplicates(["household_id", "as_of"])
        twins = alike.loc[alike.duplicated(["as_of", *inputs], keep=False), "household_id"].nunique()
        share = twins / max(frame["household_id"].nunique(), 1)
    return _compared("twins", {"": share}, gates.twins, "warn")


def _perhaps_alike(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Positions of all rows that equal another one in these columns, and of few others: rows whose hash occurs twice."""
    digest = np.full(len(frame), 0xCBF29CE484222325, np.uint64)
    for name in columns:
        column = frame[name].to_numpy()
        numbers = column + 0.0 if column.dtype.kind == "f" else pd.factorize(frame[name])[0].astype(float)
        numbers = np.where(np.isnan(numbers), np.nan, numbers).astype(np.float64)
        digest = (digest ^ numbers.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        digest ^= digest >> np.uint64(29)
    return np.flatnonzero(pd.Series(digest).duplicated(keep=False))


def _as_of(cohorts: Cohorts, inputs: Sequence[str], gates: LeakGates, seed: int, build: Builder) -> list[Finding]:
    """The exact gates: features built again for a sample of households, with what was known later changed or gone."""
    if cohorts.origin is None or not cohorts.origin.path.is_dir():
        en = "What was known later could not be checked: the register of these cohorts is not at hand."
        return [Finding("future", "", 0, 0, "warn", en, "无法检查未来信息：样本所用登记数据不在手边。")]
    future, rebuilt = features_that_know_the_future(cohorts, inputs, gates.households, seed, build)
    return [*_compared("future", future, 0), *_compared("rebuilt", rebuilt, 0)]


def _compared(gate: str, figures: Mapping[str, float], bound: float, verdict: Verdict = "stop") -> list[Finding]:
    """A finding for each figure beyond its bound; if none is, one line with the largest."""
    beyond = {subject: figure for subject, figure in figures.items() if figure > bound}
    if beyond:
        worst_first = sorted(beyond, key=lambda subject: -beyond[subject])
        return [_finding(gate, subject, beyond[subject], bound, verdict) for subject in worst_first]
    figure = float(max(figures.values(), default=0))
    named = GATES[gate]
    return [Finding(gate, "", figure, float(bound), "pass", f"{_capital(named.name_en)}.", f"{named.name_zh}。")]


def _finding(gate: str, subject: str, figure: float, bound: float, verdict: Verdict) -> Finding:
    said = {"subject": subject, "figure": figure, "bound": bound}
    named = GATES[gate]
    en = _capital(named.en.format(**said)) if not subject else named.en.format(**said)
    return Finding(gate, subject, float(figure), float(bound), verdict, f"{en}.", f"{named.zh.format(**said)}。")


def _accepted(finding: Finding, gates: LeakGates, inputs: Sequence[str]) -> Finding:
    """A stop of an accepted feature as a warning with its reason."""
    reason = next((a.reason for a in gates.accept if a.feature == finding.subject), "")
    if finding.verdict != "stop" or not reason or finding.subject not in inputs:
        return finding
    return replace(finding, verdict="warn", accepted=reason)


def _ends(values: np.ndarray) -> np.ndarray:
    """Last position of each run of equal values."""
    return np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
