"""Welfare of a budget equals a plain loop, and its order is that of economics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.errors import UsageError
from riskmodel.evaluation.welfare import budget_welfare


@st.composite
def villages(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Incomes with ties, who is listed, persons per household."""
    n = draw(st.integers(2, 30))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    income = np.round(generator.lognormal(9, 0.6, n), -3) + 1000
    listed = generator.random(n) < 0.4
    listed[0] = True
    return income, listed, generator.integers(1, 6, n).astype(float)


@given(villages(), st.sampled_from([0.0, 1.0, 2.0, 3.0]))
def test_welfare_equals_a_loop_over_persons(village: tuple, rho: float) -> None:
    income, listed, persons = village
    budget = 0.05 * np.dot(income, persons)
    mean = np.dot(income, persons) / persons.sum()
    everybody = [(y, bool(on)) for y, on, k in zip(income, listed, persons, strict=True) for _ in range(int(k))]

    def utility(y: float) -> float:
        return math.log(y / mean) if rho == 1 else (y / mean) ** (1 - rho) / (1 - rho)

    def spent(chosen: list[bool]) -> float:
        each = budget / max(sum(chosen), 1)
        return sum(utility(y + each * on) for (y, _), on in zip(everybody, chosen, strict=True)) / len(everybody)

    on_list = [on for _, on in everybody]
    order = sorted(range(len(everybody)), key=lambda i: everybody[i][0])
    poorest = set(order[: sum(on_list)])
    found = budget_welfare(income, listed, budget, persons, rho=rho)
    assert found.nobody == pytest.approx(spent([False] * len(everybody)), abs=1e-12)
    assert found.universal == pytest.approx(spent([True] * len(everybody)), abs=1e-12)
    assert found.listed == pytest.approx(spent(on_list), abs=1e-12)
    assert found.perfect == pytest.approx(spent([i in poorest for i in range(len(everybody))]), abs=1e-12)
    gain = found.listed - found.nobody
    expected = {
        "welfare_of_perfect": gain / (found.perfect - found.nobody),
        "welfare_of_universal": gain / (found.universal - found.nobody),
    }
    assert found.figures() == pytest.approx(expected, abs=1e-12)


@given(villages())
def test_no_list_does_better_than_perfect_targeting_or_worse_than_nothing(village: tuple) -> None:
    income, listed, persons = village
    found = budget_welfare(income, listed, 1000.0, persons)
    assert 0 <= found.of_perfect <= 1 + 1e-12


def test_paying_the_poor_does_more_good_than_paying_everybody_and_the_rich_less() -> None:
    income = np.array([2000.0, 3000.0, 20_000.0, 30_000.0])
    assert budget_welfare(income, np.array([1, 1, 0, 0]), 4000).of_universal > 1
    assert budget_welfare(income, np.array([0, 0, 1, 1]), 4000).of_universal < 1
    assert budget_welfare(income, np.ones(4), 4000).of_universal == pytest.approx(1, abs=1e-12)


def test_without_risk_aversion_it_does_not_matter_who_is_paid() -> None:
    income = np.array([2000.0, 3000.0, 20_000.0])
    assert budget_welfare(income, np.array([0, 0, 1]), 500, rho=0).of_perfect == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("income", "listed", "budget", "says"),
    [([0.0, 1], [1, 0], 1, "above 0"), ([1.0, 2], [0, 0], 1, "somebody"), ([1.0, 2], [1, 0], -1, "not negative")],
)
def test_welfare_that_is_not_defined_is_refused(income: list, listed: list, budget: float, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        budget_welfare(np.array(income), np.array(listed), budget)
