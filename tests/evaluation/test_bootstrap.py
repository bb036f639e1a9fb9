"""Intervals and paired differences from one set of resamples of households."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from riskmodel.errors import UsageError
from riskmodel.evaluation.bootstrap import drawn_together, resample
from riskmodel.evaluation.metrics import Scored, with_intervals
from riskmodel.settings import Capacity, Intervals


def two_models(households: int = 150) -> tuple[dict[str, Scored], pd.Series]:
    """Two nearly equal models on three months of each household."""
    generator = np.random.default_rng(2)
    n = 3 * households
    p = generator.beta(1, 4, n)
    y = (generator.random(n) < p).astype(float)
    noisy = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + 0.4 * generator.normal(size=n))))
    capacity = Capacity(share=0.1)
    scored = {"good": Scored(y, p, capacity=capacity), "noisy": Scored(y, noisy, capacity=capacity)}
    return scored, pd.Series(np.repeat([f"h{i:03d}" for i in range(households)], 3))


def test_differences_equal_a_loop_that_repeats_the_households() -> None:
    scored, ids = two_models()
    measures = {name: s.metrics for name, s in scored.items()}
    found = resample(measures, ids, Intervals(replicates=30), 7).differences(against="noisy")["good"]
    generator, expected = np.random.default_rng(7), []
    for _ in range(30):
        drawn = generator.integers(0, 150, 150)
        rows = np.concatenate([np.arange(3 * h, 3 * h + 3) for h in drawn])
        good, noisy = (Scored(s.y[rows], s.p[rows]).metrics() for s in scored.values())
        expected.append(good["roc_auc"] - noisy["roc_auc"])
    assert (found["roc_auc"].low, found["roc_auc"].high) == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=1e-12)


def test_intervals_are_those_of_the_same_seed() -> None:
    scored, ids = two_models()
    intervals = Intervals(replicates=20)
    both = resample({name: s.metrics for name, s in scored.items()}, ids, intervals, 3).intervals()
    alone = with_intervals({"good": scored["good"]}, ids, intervals, 3)
    assert both["good"] == alone["good"]


def test_a_paired_difference_is_surer_than_two_separate_intervals() -> None:
    scored, ids = two_models()
    found = resample({name: s.metrics for name, s in scored.items()}, ids, Intervals(replicates=100), 3)
    paired = found.differences(against="noisy")["good"]["brier"]
    single = found.intervals()["good"]["brier"]
    assert paired.high - paired.low < 0.5 * (single.high - single.low)


def test_a_model_does_not_differ_from_itself() -> None:
    scored, ids = two_models()
    found = resample({"a": scored["good"].metrics, "b": scored["good"].metrics}, ids, Intervals(replicates=20), 3)
    assert all((i.value, i.low, i.high) == (0, 0, 0) for i in found.differences(against="a")["b"].values())


def test_an_unknown_model_to_compare_with_is_named() -> None:
    scored, ids = two_models()
    found = resample({name: s.metrics for name, s in scored.items()}, ids, Intervals(replicates=20), 3)
    with pytest.raises(UsageError, match="good, noisy"):
        found.differences(against="lightgbm")


@pytest.mark.slow
def test_500_resamples_of_25000_rows_take_less_than_a_minute() -> None:
    generator = np.random.default_rng(0)
    p = generator.beta(1, 9, 25_000)
    scored = Scored((generator.random(25_000) < p) * 1.0, p, generator.integers(0, 20, 25_000), Capacity(share=0.05))
    start = time.perf_counter()
    resample({"m": scored.metrics}, generator.integers(0, 9000, 25_000), Intervals(replicates=500), 1)
    assert time.perf_counter() - start < 60


def test_villages_of_one_name_in_two_townships_are_drawn_apart() -> None:
    """Ten names in each of four townships are forty villages, enough to draw; ten would not be."""
    rows = pd.DataFrame({"household_id": [f"{i:03}" for i in range(80)], "county_id": "k"})
    rows = rows.assign(township_id=[f"t{i % 4}" for i in range(80)], village_id=[f"v{i // 4 % 10}" for i in range(80)])
    drawn = drawn_together(rows, Intervals())
    assert (drawn.name, drawn.nunique()) == ("village_id", 40)
    assert rows.groupby(drawn)[["township_id", "village_id"]].nunique().eq(1).all(axis=None)
    assert drawn_together(rows.drop(columns="township_id"), Intervals()).name == "household_id"
