"""How often a verdict on causes is right, where the truth is known.

The truth of a return (`simulation/truth.py`, or adjudicated cases) is `subjective`, `objective`, `joint` or
`over_determined`; the verdict `subjective`, `objective`, `mixed` or `undetermined`. The headline is the
false-subjective rate: a wrong "subjective" can cost a family its help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import beta

from riskmodel.evaluation.metrics import Interval

OBJECTIVE_TRUTHS = ("objective", "over_determined")
RIGHT = {"subjective": "subjective", "objective": "objective", "over_determined": "objective", "joint": "mixed"}
FIGURES = (
    "false_subjective_rate", "subjective_precision", "subjective_recall", "coverage", "balanced_accuracy", "macro_f1",
    "augrc",
)  # fmt: skip


def clopper_pearson_upper(events: float, n: float, level: float = 0.95) -> float:
    """One-sided upper bound of a share (Clopper & Pearson 1934); counts may be effective ones, and no whole numbers.

    >>> round(clopper_pearson_upper(0, 300), 4)
    0.0099
    """
    return 1.0 if events >= n else float(beta.ppf(level, events + 1, n - events))


def clopper_pearson_lower(events: float, n: float, level: float = 0.95) -> float:
    """One-sided lower bound of a share.

    >>> round(clopper_pearson_lower(95, 100), 3)
    0.898
    """
    return 0.0 if events <= 0 else float(beta.ppf(1 - level, events, n - events + 1))


def verdict_figures(
    truth: Sequence[str],
    verdict: Sequence[str],
    confidence: Sequence[float],
    households: Sequence[str],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Interval | float | int]:
    """Figures of verdicts on returns whose cause is known, with bootstrap intervals over households.

    Parameters
    ----------
    truth, verdict, confidence, households
        One entry per alert that returned, shape (alerts,).

    Returns
    -------
    dict
        An `Interval` for each of `FIGURES`; `false_subjective_upper95` and `subjective_precision_lower95`, one-sided
        Clopper-Pearson bounds that count each household once (falsely called if called so in any month); and
        `alerts`, `false_subjective`, `called_subjective`, `objective_truths`, `subjective_truths`.
    """
    frame = pd.DataFrame({"truth": truth, "verdict": verdict, "confidence": confidence, "household": households})
    wrong = np.asarray(frame["verdict"].map(_leaning) != frame["truth"].map(RIGHT))
    frame["wrong"] = wrong
    figures = _figures(frame)
    draws = {name: np.empty(replicates) for name in FIGURES}
    codes, names = pd.factorize(frame["household"])
    columns = {c: frame[c].to_numpy() for c in ("truth", "verdict", "confidence", "wrong")}
    of = [np.flatnonzero(codes == k) for k in range(len(names))]
    generator = np.random.default_rng(seed)
    for i in range(replicates):
        rows = np.concatenate([of[k] for k in generator.integers(0, len(names), len(names))]) if len(names) else []
        again = _figures(pd.DataFrame({c: v[rows] for c, v in columns.items()}))
        for name in FIGURES:
            draws[name][i] = again[name]
    found: dict[str, Interval | float | int] = {}
    for name in FIGURES:
        known = draws[name][np.isfinite(draws[name])]
        low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
        found[name] = Interval(figures[name], float(low), float(high))
    called = frame["verdict"] == "subjective"
    objective, partly = frame["truth"].isin(OBJECTIVE_TRUTHS), frame["truth"].isin(("subjective", "joint"))
    false, n_objective = _by_household(frame, called & objective, objective)
    right_always, n_called = _by_household(frame, called & ~partly, called)
    found["false_subjective_upper95"] = clopper_pearson_upper(false, n_objective)
    found["subjective_precision_lower95"] = clopper_pearson_lower(n_called - right_always, n_called)
    found |= {
        "alerts": len(frame), "called_subjective": int(called.sum()), "false_subjective": int((called & objective).sum()),
        "objective_truths": int(objective.sum()), "subjective_truths": int((frame["truth"] == "subjective").sum()),
    }  # fmt: skip
    return found


def _by_household(frame: pd.DataFrame, event: pd.Series, among: pd.Series) -> tuple[int, int]:
    """Households with the event in any of their alerts, and households among whom it can be."""
    return int(frame.loc[event, "household"].nunique()), int(frame.loc[among, "household"].nunique())


def _figures(frame: pd.DataFrame) -> dict[str, float]:
    truth, verdict = frame["truth"].to_numpy(str), frame["verdict"].to_numpy(str)
    called, covered = verdict == "subjective", verdict != "undetermined"
    objective = np.isin(truth, OBJECTIVE_TRUTHS)
    partly = np.isin(truth, ("subjective", "joint"))
    subjective = truth == "subjective"
    plain = truth == "objective"
    return {
        "false_subjective_rate": _share(called, objective),
        "subjective_precision": _share(partly, called),
        "subjective_recall": _share(called, subjective),
        "coverage": float(covered.mean()) if len(frame) else np.nan,
        "balanced_accuracy": (
            _share(called, subjective & covered) + _share(verdict == "objective", plain & covered)
        ) / 2,
        "macro_f1": _macro_f1(truth, verdict),
        "augrc": augrc(frame["wrong"].to_numpy(bool), frame["confidence"].to_numpy(float)),
    }  # fmt: skip


def _share(of: np.ndarray, among: np.ndarray) -> float:
    return float(of[among].mean()) if among.any() else np.nan


def _macro_f1(truth: np.ndarray, verdict: np.ndarray) -> float:
    """Mean F1 of the three causes; what is undetermined is missed."""
    wanted = np.array([RIGHT[t] for t in truth])
    scores = []
    for cause in ("subjective", "objective", "mixed"):
        hit = float(((wanted == cause) & (verdict == cause)).sum())
        given, due = float((verdict == cause).sum()), float((wanted == cause).sum())
        if due:
            scores.append(2 * hit / (given + due))
    return float(np.mean(scores)) if scores else np.nan


def augrc(wrong: Sequence[bool], confidence: Sequence[float]) -> float:
    """Area under the generalised risk-coverage curve (Traub et al. 2024): lower is better, 0 the least.

    The mean, over all lengths of the list by falling confidence, of the wrong cases in it as a share of all cases;
    cases of equal confidence come in at once.

    >>> augrc([False, False, True, True], [0.9, 0.8, 0.2, 0.1])
    0.125
    """
    wrong, confidence = np.asarray(wrong, float), np.asarray(confidence, float)
    n = len(wrong)
    if not n:
        return float("nan")
    order = np.argsort(-confidence, kind="stable")
    levels = np.flatnonzero(np.r_[True, np.diff(confidence[order]) != 0])
    reached = np.add.reduceat(wrong[order], levels).cumsum()
    size = np.diff(np.r_[levels, n])
    before = np.r_[0.0, reached[:-1]]
    return float(((before + reached) / 2 * size).sum() / n**2)


def _leaning(verdict: str) -> str:
    """What an undetermined case is taken for where every case must be decided: objective, as most are."""
    return "objective" if verdict == "undetermined" else verdict


def risk_coverage(wrong: Sequence[bool], confidence: Sequence[float]) -> pd.DataFrame:
    """Wrong cases among those decided, by share decided: `coverage`, `risk`."""
    order = np.argsort(-np.asarray(confidence, float), kind="stable")
    decided = np.arange(1, len(order) + 1)
    mistakes = np.cumsum(np.asarray(wrong, float)[order])
    return pd.DataFrame({"coverage": decided / len(order), "risk": mistakes / decided})


def control_risk(
    candidates: Sequence[object],
    judge: Callable[[object], tuple[int, int]],
    bound: float = 0.01,
    level: float = 0.95,
) -> tuple[object | None, list[dict[str, object]]]:
    """The laxest candidate whose risk is bounded, by fixed-sequence testing (Learn then Test, Angelopoulos et al. 2021).

    Candidates are tested from the strictest on, and the first that cannot be shown to hold the bound ends the sequence,
    so that no correction for their number is needed.

    Parameters
    ----------
    candidates
        From the strictest to the laxest.
    judge
        Gives events and cases of a candidate on cases that served for nothing else.

    Returns
    -------
    tuple
        The candidate, or None where not even the first holds; and one row per candidate tested.

    >>> control_risk([3, 2, 1], lambda strictness: (12 // strictness - 4, 1000))[0]
    2
    """
    chosen, table = None, []
    for candidate in candidates:
        events, n = judge(candidate)
        upper = clopper_pearson_upper(events, n, level)
        table.append({"candidate": candidate, "events": events, "cases": n, "upper": upper, "holds": upper <= bound})
        if upper > bound:
            break
        chosen = candidate
    return chosen, table
