"""The effect of a kind of help on households that were not drawn by lot: looked for with care, never proven.

First the **overlap**: the chance of being helped, by logistic regression on what was known before, told across folds.
Where the helped have no like households among the others there is nothing to compare, and no effect is estimated.
Then the **doubly robust** estimate with cross-fitting (Robins & Rotnitzky 1995; Chernozhukov et al. 2018, Econometrics
Journal 21:C1, by DoubleML): it holds where either the model of who is helped or the model of the outcome is right, and
nothing that matters to both is missing from the covariates. Both models bend with their covariates as far as the rows can
carry it: what is straight in neither would otherwise be taken for an effect. Among few households the estimate depends on
how the folds fall, so they are drawn several times: the median counts, and its error holds what the draws differ by. That
nothing is missing cannot be tested. How far it would have to fail is told by the **robustness value** (Chernozhukov,
Cinelli, Newey, Sharma & Syrgkanis 2022, arXiv:2112.13398) and by the interval under a hidden cause that misleads as much as
the strongest known covariate does when it is left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from riskmodel.errors import UsageError
from riskmodel.monitoring.rules import EffectRules
from riskmodel.threads import one_thread

ESTIMATED, NO_OVERLAP, TOO_FEW, PLAIN = "estimated", "no_overlap", "too_few", "plain_only"
HELPED, EVERYBODY = "helped", "everybody"
_Z = 1.959964
_TAIL = 0.01
_EXTREME = 0.01
"""Chances of help, and of none, count as no smaller: weights are bounded."""
SQUARES, PRODUCTS = "squares", "products"
_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
_MOST_MULTIPLIED = 20
"""Columns up to which products are taken: those of more would take minutes for each estimate."""


@dataclass(frozen=True)
class Overlap:
    """Whether the helped have like households among the others.

    Attributes
    ----------
    outside_share
        Share of the rows that the effect speaks of whose chance of being helped lies outside the bounds: they are left
        out. Of the helped only the upper bound counts, since a low chance leaves plenty of others to compare with.
    effective_helped, effective_others
        Kish's effective numbers of rows under the weights that make both alike, (sum w)^2 / sum w^2.
    imbalance
        Largest standardised difference of a covariate's means between both under these weights; what is left the model
        of the outcome has to make good.
    holds
        Whether few enough lie outside, and enough effective rows are left on both sides.
    """

    outside_share: float
    effective_helped: float
    effective_others: float
    imbalance: float
    holds: bool


@dataclass(frozen=True)
class Effect:
    """What the data say about the effect of one kind of help on one outcome.

    Attributes
    ----------
    status
        `estimated`; `no_overlap` (nothing to compare: refused); `too_few`; `plain_only` (DoubleML is not installed).
    rows, helped
        Rows with a known outcome, and those of them helped.
    plain, plain_low, plain_high
        Difference of the means and its 95 % interval over households: no effect, whoever was helped differs otherwise.
    effect, low, high, p
        Doubly robust estimate, 95 % interval over households (Student's t), and p against no effect; missing unless
        `estimated`.
    robustness
        Share of what is left of both treatment and outcome that a hidden cause would have to explain to bring the
        estimate to nothing; `robustness_interval` to bring zero into its interval.
    strongest, hidden_low, hidden_high
        The strongest known covariate, and the interval widened by what leaving it out would do to the estimate.
    """

    status: str
    rows: int
    helped: int
    plain: float = np.nan
    plain_low: float = np.nan
    plain_high: float = np.nan
    overlap: Overlap | None = None
    effect: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    robustness: float = np.nan
    robustness_interval: float = np.nan
    strongest: str | None = None
    hidden_low: float = np.nan
    hidden_high: float = np.nan

    @property
    def fragile(self) -> bool:
        """Whether a hidden cause that misleads as much as the strongest known one brings zero into the interval."""
        return bool(self.hidden_low <= 0 <= self.hidden_high)


@one_thread()
def estimate_effect(
    rows: pd.DataFrame,
    treatment: str,
    outcome: str,
    covariates: Sequence[str],
    *,
    household: str = "household_id",
    of: str = HELPED,
    rules: EffectRules | None = None,
    seed: int = 1,
) -> Effect:
    """The effect of a treatment on an outcome, with its overlap, its interval and its sensitivity.

    Parameters
    ----------
    rows
        One row per household, or several over time; rows without treatment or outcome are left out.
    treatment, outcome
        Columns: 0/1, and a number or 0/1.
    covariates
        Numeric columns known **before** the treatment. Missing values become the median with a mark; the highest and the
        lowest hundredth count as the value at their edge.
    household
        Column that says which rows belong together: folds and intervals are over households.
    of
        Whom the effect speaks of: `helped` (effect on the treated) or `everybody` (average effect).

    Raises
    ------
    UsageError
        If a column is missing, the treatment is not 0/1, or `of` is neither.

    >>> generator = np.random.default_rng(1)
    >>> rows = pd.DataFrame({"household_id": np.arange(400), "poverty": generator.normal(size=400)})
    >>> rows["helped"] = (generator.random(400) < 1 / (1 + np.exp(-5 * rows["poverty"]))) * 1
    >>> rows["income"] = rows["helped"] - rows["poverty"]
    >>> estimate_effect(rows, "helped", "income", ["poverty"]).status
    'no_overlap'
    """
    rules = rules or EffectRules()
    missing = [c for c in (treatment, outcome, household, *covariates) if c not in rows]
    if missing:
        raise UsageError(f"the effect of {treatment!r} lacks the column {missing[0]!r}: name columns of the table.")
    if not covariates:
        raise UsageError(
            f"the effect of {treatment!r} needs covariates known before it: without any, all is plain difference."
        )
    if of not in (HELPED, EVERYBODY):
        raise UsageError(f"an effect is of {HELPED!r} or {EVERYBODY!r}, not {of!r}.")
    known = rows[rows[treatment].notna() & rows[outcome].notna()]
    d, y = known[treatment].to_numpy(float), known[outcome].to_numpy(float)
    if not np.isin(d, (0.0, 1.0)).all():
        raise UsageError(f"the treatment {treatment!r} holds other values than 0 and 1.")
    groups = pd.factorize(known[household])[0]
    counts = {"rows": len(d), "helped": int(d.sum())}
    arms = [len(np.unique(groups[d == side])) for side in (0.0, 1.0)]
    if min(arms) < rules.least_households or np.ptp(y) == 0:
        return Effect(TOO_FEW, **counts)
    x, owner = _filled(known[list(covariates)])
    if not x.shape[1]:
        return Effect(TOO_FEW, **counts)
    plain, error = plain_difference(d, y, groups)
    found = Effect(PLAIN, **counts, plain=plain, plain_low=plain - _Z * error, plain_high=plain + _Z * error)
    splits = _splits(d, groups, rules, seed)
    overlap, within = check_overlap(x, d, splits[0], of, rules)
    found = replace(found, overlap=overlap)
    if not overlap.holds:
        return replace(found, status=NO_OVERLAP)
    if not within.all():
        x, d, y, groups = x[within], d[within], y[within], groups[within]
        x, owner = x[:, np.ptp(x, axis=0) > 0], owner[np.ptp(x, axis=0) > 0]
        groups = pd.factorize(groups)[0]
        splits = _splits(d, groups, rules, seed)
    if not x.shape[1] or not _may_be_learned(d, y, splits, of, rules):
        return replace(found, status=TOO_FEW)
    with warnings.catch_warnings():
        # DoubleML says so and then takes its other estimator of the same figure
        warnings.filterwarnings("ignore", message="The estimated nu2 for d is not positive")
        warnings.filterwarnings("ignore", message="Propensity predictions")  # the overlap was looked at before
        fitted = _fitted(x, d, y, splits, of, rules)
        if fitted is None:
            return found
        strongest = _strongest(x, owner, d, y)
        kept = owner != strongest
        # where the strongest covariate is the only one, leaving it out leaves the plain difference
        without = _fitted(x[:, kept], d, y, splits[:1], of, rules).all_coef[0, 0] if kept.any() else plain
        told = _told(found, fitted, strongest, float(without), groups)
    return replace(found, status=TOO_FEW) if _two_valued(y) and _says_nothing(told) else told


def plain_difference(d: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Difference of the means of the helped and the others, and its standard error over households.

    >>> plain_difference(np.array([1.0, 1, 0, 0]), np.array([3.0, 1, 1, 1]), np.arange(4))[0]
    1.0
    """
    means = {side: y[d == side].mean() for side in (0.0, 1.0)}
    shares = {side: (d == side).sum() for side in (0.0, 1.0)}
    influence = np.where(d == 1, (y - means[1.0]) / shares[1.0], -(y - means[0.0]) / shares[0.0])
    return float(means[1.0] - means[0.0]), over_households(influence, groups)


def over_households(influence: np.ndarray, groups: np.ndarray) -> float:
    """Standard error from each row's influence, rows of one household taken together (Liang & Zeger 1986)."""
    sums = np.bincount(groups, weights=influence)
    n = len(sums)
    return float(np.sqrt((sums**2).sum() * n / max(n - 1, 1)))


def freedom(influence: np.ndarray, groups: np.ndarray) -> float:
    """Degrees of freedom of that standard error: the fewer, the more a few households decide it.

    A variance from n values of kurtosis k is known as well as one from 2n / (k - (n - 3) / (n - 1)) degrees of freedom
    (O'Neill 2014, American Statistician 68(4)); n - 1 where the values are normal.

    >>> even, few = np.tile([1.0, -1], 50), np.r_[9.0, -9, np.zeros(98)]
    >>> freedom(few, np.arange(100)) < 5 < 99 < freedom(even, np.arange(100))
    True
    """
    sums = np.bincount(groups, weights=influence)
    n = len(sums)
    kurtosis = n * (sums**4).sum() / (sums**2).sum() ** 2 if sums.any() else 3.0
    return float(2 * n / max(kurtosis - (n - 3) / max(n - 1, 1), 1 / n))


def check_overlap(
    x: np.ndarray, d: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], of: str, rules: EffectRules
) -> tuple[Overlap, np.ndarray]:
    """Who has like households on the other side, by the cross-fitted chance of being helped.

    Returns
    -------
    tuple
        The overlap, and which rows lie within the bounds, shape (n,): the effect is estimated on these (Crump, Hotz,
        Imbens & Mitnik 2009, Biometrika 96(1)).
    """
    chance = _chance_of_help(x, d, folds, rules)
    low, high = rules.chances
    within = (chance <= high) & ((chance >= low) | (of == HELPED))
    outside = float(1 - (within[d == 1] if of == HELPED else within).mean())
    if min(within[d == 1].sum(), within[d == 0].sum()) < 2:
        return Overlap(outside, 0.0, 0.0, np.nan, False), within
    weight = np.where(d == 1, 1.0, chance / (1 - chance)) if of == HELPED else 1 / np.where(d == 1, chance, 1 - chance)
    sides = [within & (d == side) for side in (0.0, 1.0)]
    effective = [float(weight[side].sum() ** 2 / (weight[side] ** 2).sum()) for side in sides]
    means = [np.average(x[side], axis=0, weights=weight[side]) for side in sides]
    spread = np.sqrt((x[sides[0]].var(axis=0) + x[sides[1]].var(axis=0)) / 2)
    apart = np.abs(means[1] - means[0]) / np.where(spread > 0, spread, np.inf)
    holds = outside <= rules.most_outside and min(effective) >= rules.least_effective
    return Overlap(outside, effective[1], effective[0], float(apart.max(initial=0.0)), bool(holds)), within


def adjusted(p: pd.Series) -> pd.Series:
    """P-values with the share of false discoveries held over all that are known (Benjamini & Hochberg 1995).

    >>> adjusted(pd.Series([0.01, 0.04, np.nan])).tolist()
    [0.02, 0.04, nan]
    """
    found = pd.Series(np.nan, index=p.index, dtype=float)
    known = p.notna()
    if known.any():
        found[known] = false_discovery_control(p[known].to_numpy(float))
    return found


def with_doubleml() -> bool:
    """Whether DoubleML (extra `causal`) is installed."""
    from importlib.util import find_spec

    return find_spec("doubleml") is not None


def _chance_of_help(
    x: np.ndarray, d: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], rules: EffectRules
) -> np.ndarray:
    """Of each row, shape (n,), told by the other folds."""
    chance, learner = np.full(len(d), np.nan), _help_model(x, d, rules)
    for train, test in folds:
        chance[test] = learner.fit(x[train], d[train]).predict_proba(x[test])[:, 1]
    return chance


def _weighing_alike(chance: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Chances with which the others, weighted by their odds of help, count for as many rows as the helped (Hajek 1971).

    Where few rows tell of many covariates the odds are too wild: they add up to far more than the helped, and what the
    model of the outcome leaves over counts as often.

    >>> d = np.array([1.0, 1, 0, 0, 0])
    >>> made = _weighing_alike(np.array([0.9, 0.9, 0.9, 0.5, 0.5]), d)
    >>> float((made / (1 - made))[d == 0].sum().round(9))
    2.0
    """
    odds = chance / (1 - chance)
    odds = odds * (d.sum() / odds[d == 0].sum())
    return odds / (1 + odds)


def _help_model(x: np.ndarray, d: np.ndarray, rules: EffectRules) -> Any:
    """Who is helped, from the covariates and, with twice the rows for each term, their squares.

    Every further term makes the weights wilder: with products, or with squares among 300 households, intervals got wider
    by a tenth to a half where nothing bends.
    """
    return _learner(_bends(x.shape[1], min(d.sum(), (1 - d).sum()) / 2, rules)[:1], _logistic())


def _outcome_model(x: np.ndarray, d: np.ndarray, y: np.ndarray, of: str, rules: EffectRules) -> Any:
    """The outcome, among those whose outcome the effect needs foretold."""
    sides = [y[d == side] for side in _foretold(of)]
    if not _two_valued(y):
        return _learner(_bends(x.shape[1], min(map(len, sides)), rules), _ridge())
    return _learner(_bends(x.shape[1], min(min(side.sum(), (1 - side).sum()) for side in sides), rules), _logistic())


def _bends(columns: int, rows: float, rules: EffectRules) -> tuple[str, ...]:
    """How far a model may bend: its terms are held to one for so many rows, or cases where it foretells yes or no."""
    most = rows / rules.rows_per_term
    if 2 * columns > most:
        return ()
    all_terms = columns + columns * (columns + 1) // 2
    return (SQUARES, PRODUCTS) if all_terms <= most and columns <= _MOST_MULTIPLIED else (SQUARES,)


def _learner(bends: tuple[str, ...], last: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

    if not bends:
        return make_pipeline(StandardScaler(), last)
    bent = PolynomialFeatures(2, include_bias=False) if PRODUCTS in bends else FunctionTransformer(_with_squares)
    return make_pipeline(StandardScaler(), bent, StandardScaler(), last)


def _with_squares(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, x**2])


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(_PENALTIES)


def _may_be_learned(d: np.ndarray, y: np.ndarray, splits: list[Split], of: str, rules: EffectRules) -> bool:
    """Whether enough differ in their outcome: where it is yes or no, some of either in all that it is learned from.

    Rows of one household share a fold, so that few households may take every yes with them.
    """
    if np.ptp(y) == 0:
        return False
    if np.unique(y).size > 2:
        return True
    cases = np.bincount(((y == y.max()) + 2 * (d == 1)).astype(int), minlength=4)
    learned_from = (y[train][d[train] == side] for split in splits for train, _ in split for side in _foretold(of))
    return bool(cases.min() >= rules.folds) and all(np.ptp(part) > 0 for part in learned_from)


def _foretold(of: str) -> tuple[float, ...]:
    """The sides whose outcome the effect needs foretold: the others, for an effect on everybody both."""
    return (0.0,) if of == HELPED else (0.0, 1.0)


def _two_valued(y: np.ndarray) -> bool:
    return bool(np.isin(y, (0.0, 1.0)).all())


def _filled(given: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Covariates without gaps, shape (n, k), and whose each column is; what does not vary is left out."""
    columns, owner = [], []
    for name in given:
        value = given[name].to_numpy(float, na_value=np.nan)
        gap = ~np.isfinite(value)
        if gap.all():
            continue
        held = np.clip(value, *np.quantile(value[~gap], [_TAIL, 1 - _TAIL]))
        if np.ptp(held[~gap]) == 0:
            held = value  # rarer than the tail, such as a shock: it counts as it is
        for part in (np.where(gap, np.median(value[~gap]), held), gap.astype(float)):
            if np.ptp(part) > 0:
                columns.append(part)
                owner.append(name)
    x = np.column_stack(columns) if columns else np.zeros((len(given), 0))
    return x, np.array(owner, dtype=object)


Split = list[tuple[np.ndarray, np.ndarray]]


def _splits(d: np.ndarray, groups: np.ndarray, rules: EffectRules, seed: int) -> list[Split]:
    """Folds over households, alike in how often their households were helped; drawn several times among few households."""
    generator = np.random.default_rng(seed)
    helped = np.bincount(groups, weights=d)
    splits = []
    for _ in range(rules.splits if len(helped) < rules.split_below else 1):
        order = generator.permutation(len(helped))
        fold = np.empty(len(helped), dtype=int)
        fold[order[np.argsort(helped[order], kind="stable")]] = np.arange(len(helped)) % rules.folds
        own = fold[groups]
        splits.append([(np.flatnonzero(own != k), np.flatnonzero(own == k)) for k in range(rules.folds)])
    return splits


def _fitted(x: np.ndarray, d: np.ndarray, y: np.ndarray, splits: list[Split], of: str, rules: EffectRules) -> Any:
    """A fitted DoubleMLIRM; None without DoubleML."""
    if not with_doubleml():
        return None
    import doubleml
    from doubleml.utils import DMLDummyClassifier, PSProcessorConfig

    chances = [np.clip(_chance_of_help(x, d, folds, rules), _EXTREME, 1 - _EXTREME) for folds in splits]
    if of == HELPED:
        chances = [_weighing_alike(chance, d) for chance in chances]
    data = doubleml.DoubleMLData.from_arrays(x, y, d)
    how = {"score": "ATTE" if of == HELPED else "ATE", "draw_sample_splitting": False}
    how |= {"n_folds": rules.folds, "n_rep": len(splits), "ps_processor_config": PSProcessorConfig(clipping_threshold=1e-6)}
    model = doubleml.DoubleMLIRM(data, _outcome_model(x, d, y, of, rules), DMLDummyClassifier(), **how)
    return model.set_sample_splitting(splits).fit(external_predictions={"d": {"ml_m": np.column_stack(chances)}})


def _told(found: Effect, fitted: Any, strongest: str, without: float, groups: np.ndarray) -> Effect:
    """Estimate, interval over households, and what a hidden cause would do to it.

    `without` is the estimate that leaves the strongest covariate out, on the first draw of the folds.
    """
    estimates, influences = _of_effect(fitted, groups)
    effect, error, known_by = _over_splits(estimates, influences, groups)
    reach = _reach(error, known_by)
    misled = abs(float(fitted.all_coef[0, 0]) - without)
    robustness, robustness_interval = _withstood(fitted, groups)
    return replace(
        found,
        status=ESTIMATED,
        effect=effect,
        low=effect - reach,
        high=effect + reach,
        p=float(2 * student.sf(abs(effect) / error, known_by)) if error > 0 else np.nan,
        robustness=robustness,
        robustness_interval=robustness_interval,
        strongest=strongest,
        hidden_low=effect - misled - reach,
        hidden_high=effect + misled + reach,
    )


def _says_nothing(told: Effect) -> bool:
    """Whether an estimate is none that two shares can differ by, or its interval holds all of these, -1 to 1."""
    return abs(told.effect) > 1 or (told.low < -1 and told.high > 1)


def _of_effect(fitted: Any, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each draw of the folds the estimate, shape (draws,), and each row's influence on it, shape (draws, n)."""
    return fitted.all_coef[0], (-fitted.psi[:, :, 0] / fitted.psi_deriv[:, :, 0].mean(axis=0) / len(groups)).T


def _over_splits(estimates: np.ndarray, influences: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Median estimate, its standard error, and the error's degrees of freedom.

    The variance is the median of what each draw of the folds gives, and of how far its estimate lies from the median
    (Chernozhukov et al. 2018, definition 3.3).
    """
    effect = float(np.median(estimates))
    variances = [over_households(i, groups) ** 2 + (e - effect) ** 2 for i, e in zip(influences, estimates, strict=True)]
    return effect, float(np.sqrt(np.median(variances))), float(np.median([freedom(i, groups) for i in influences]))


def _reach(error: float, known_by: float) -> float:
    """Half of a 95 % interval."""
    return float(student.ppf(0.975, known_by)) * error


def _withstood(fitted: Any, groups: np.ndarray) -> tuple[float, float]:
    """Share that a hidden cause must explain to bring the estimate to nothing, and to bring zero into its interval.

    A cause that explains the share s of what is left of help and of outcome moves the estimate by s / sqrt(1 - s) times a
    bias that the data bound (Chernozhukov et al. 2024, "Long story short"). The interval of what is left is the one of the
    estimate itself, over households.
    """
    estimates, influences = _of_effect(fitted, groups)
    of = {name: part[:, :, 0].T for name, part in fitted.sensitivity_elements.items() if name in _BIAS_PARTS}
    bias = np.sqrt(of["sigma2"] * of["nu2"])
    on_bias = (of["sigma2"] * of["psi_nu2"] + of["nu2"] * of["psi_sigma2"]) / (2 * bias) / len(groups)
    side = np.sign(np.median(estimates))

    def left(share: float) -> tuple[float, float, float]:
        moved = share / np.sqrt(1 - share)
        return _over_splits(side * estimates - moved * bias[:, 0], side * influences - moved * on_bias, groups)

    def end(share: float) -> float:
        effect, error, known_by = left(share)
        return effect - _reach(error, known_by)

    return _share_to_zero(lambda share: left(share)[0]), _share_to_zero(end)


_BIAS_PARTS = ("sigma2", "nu2", "psi_sigma2", "psi_nu2")
_MOST_EXPLAINED = 0.9999


def _share_to_zero(left: Callable[[float], float]) -> float:
    """The least share with which nothing is left.

    >>> round(_share_to_zero(lambda share: 0.25 - share), 6), _share_to_zero(lambda share: -1 - share)
    (0.25, 0.0)
    """
    if not left(0.0) > 0:
        return 0.0
    return float(brentq(left, 0.0, _MOST_EXPLAINED)) if left(_MOST_EXPLAINED) < 0 else _MOST_EXPLAINED


def _strongest(x: np.ndarray, owner: np.ndarray, d: np.ndarray, y: np.ndarray) -> str:
    """The covariate that, beyond all others, goes most with both treatment and outcome."""
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    of_help = np.abs(_logistic().fit(scaled, d).coef_[0])
    design = np.column_stack([np.ones(len(d)), d, scaled])
    of_outcome = np.abs(np.linalg.lstsq(design, y, rcond=None)[0][2:])
    return str(max(dict.fromkeys(owner), key=lambda name: (of_help * of_outcome)[owner == name].sum()))


def by_strength(effects: Sequence[Effect]) -> Iterator[str]:
    """What may be said of each, the number of estimates held against them.

    `refused`, `too_few` and `plain_only` say that nothing was estimated; `not_told_apart`: from no effect; `fragile`: a
    hidden cause as strong as the strongest known one would do away with it; `stands`: it would not. None of them proves
    that help worked.
    """
    p = adjusted(pd.Series([e.p for e in effects], dtype=float))
    words = {NO_OVERLAP: "refused", TOO_FEW: "too_few", PLAIN: "plain_only"}
    for effect, chance in zip(effects, p, strict=True):
        if effect.status != ESTIMATED:
            yield words[effect.status]
        elif not chance <= 0.05:
            yield "not_told_apart"
        else:
            yield "fragile" if effect.fragile else "stands"
