"""How verdicts are counted where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score

from riskmodel.evaluation.verdicts import (
    augrc,
    clopper_pearson_lower,
    clopper_pearson_upper,
    control_risk,
    risk_coverage,
    verdict_figures,
)


def test_figures_of_a_small_list_counted_by_hand() -> None:
    truth = ["objective"] * 5 + ["over_determined", "subjective", "subjective", "joint", "joint"]
    verdict = ["objective"] * 3 + [
        "subjective",
        "undetermined",
        "objective",
        "subjective",
        "undetermined",
        "subjective",
        "mixed",
    ]
    found = verdict_figures(truth, verdict, np.linspace(1, 0.1, 10), [f"h{i}" for i in range(10)], replicates=50)
    assert found["false_subjective_rate"].value == pytest.approx(1 / 6)
    assert found["subjective_precision"].value == pytest.approx(2 / 3)
    assert found["subjective_recall"].value == pytest.approx(1 / 2)
    assert found["coverage"].value == pytest.approx(8 / 10)
    assert found["balanced_accuracy"].value == pytest.approx((1 / 1 + 3 / 4) / 2)
    assert found["false_subjective"] == 1 and found["called_subjective"] == 3


def test_macro_f1_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice(["subjective", "objective", "joint"], 300)
    verdict = rng.choice(["subjective", "objective", "mixed", "undetermined"], 300)
    wanted = np.where(truth == "joint", "mixed", truth)
    labels = ["subjective", "objective", "mixed"]
    expected = f1_score(wanted, verdict, labels=labels, average="macro", zero_division=0)
    found = verdict_figures(truth, verdict, np.ones(300), np.arange(300).astype(str), replicates=2)
    assert found["macro_f1"].value == pytest.approx(expected, abs=1e-12)


def test_a_household_on_four_lists_counts_once_in_the_bound() -> None:
    """Four wrong verdicts on one household among 200 are one household, and 200 households, not 800 alerts."""
    households = [f"h{i}" for i in range(200)] * 4
    verdict = ["subjective" if h == "h0" else "objective" for h in households]
    found = verdict_figures(["objective"] * 800, verdict, np.ones(800), households, replicates=2)
    assert found["false_subjective_upper95"] == pytest.approx(clopper_pearson_upper(1, 200))


def test_the_bounds_are_exact() -> None:
    upper, lower = clopper_pearson_upper(3, 400), clopper_pearson_lower(90, 100)
    assert binom.cdf(3, 400, upper) == pytest.approx(0.05)
    assert binom.sf(89, 100, lower) == pytest.approx(0.05)
    assert (clopper_pearson_upper(5, 5), clopper_pearson_lower(0, 5)) == (1.0, 0.0)


def test_the_area_is_the_mean_of_the_curve_and_ties_come_in_at_once() -> None:
    rng = np.random.default_rng(2)
    wrong, confidence = rng.random(50) < 0.3, rng.permutation(50) / 50
    order = np.argsort(-confidence)
    steps = np.r_[0, np.cumsum(wrong[order])] / 50
    assert augrc(wrong, confidence) == pytest.approx(np.mean((steps[1:] + steps[:-1]) / 2), abs=1e-12)
    assert augrc([True, False], [0.5, 0.5]) == augrc([False, True], [0.5, 0.5])
    assert augrc([False] * 9, np.arange(9)) == 0
    curve = risk_coverage(wrong, confidence)
    assert curve["risk"].iloc[-1] == pytest.approx(wrong.mean())


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Where the strictest rule is too lax already, it is let through in at most one of twenty trials."""
    rng = np.random.default_rng(4)
    passed = [control_risk(["only"], lambda _: (rng.binomial(600, 0.0101), 600))[0] is not None for _ in range(2000)]
    assert np.mean(passed) < 0.06


def test_the_sequence_ends_at_the_first_rule_that_cannot_be_shown_to_hold() -> None:
    counts = {"strict": (0, 1000), "middle": (30, 1000), "lax": (0, 1000)}
    chosen, table = control_risk(list(counts), counts.__getitem__)
    assert chosen == "strict"
    assert [row["candidate"] for row in table] == ["strict", "middle"]
