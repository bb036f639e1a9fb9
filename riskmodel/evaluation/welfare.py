"""What a budget does for welfare when it goes to a list, to everybody or to the poorest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from riskmodel.errors import UsageError


@dataclass(frozen=True)
class Welfare:
    """Mean utility of one budget under four ways of spending it, in units of u (incomes over their mean).

    Attributes
    ----------
    nobody, universal, listed, perfect
        Nothing spent; split over everybody; over the listed; over as many of the poorest.
    """

    nobody: float
    universal: float
    listed: float
    perfect: float

    @property
    def of_perfect(self) -> float:
        """Gain of the list as a share of the gain of perfect targeting; 1 is perfect."""
        return _over(self.listed - self.nobody, self.perfect - self.nobody)

    @property
    def of_universal(self) -> float:
        """Gain of the list over the gain of an equal split; above 1 the list does more good than paying everybody."""
        return _over(self.listed - self.nobody, self.universal - self.nobody)

    def figures(self) -> dict[str, float]:
        """Both ratios by name, for `resample`."""
        return {"welfare_of_perfect": self.of_perfect, "welfare_of_universal": self.of_universal}


def budget_welfare(
    income: np.ndarray,
    listed: np.ndarray,
    budget: float,
    weight: np.ndarray | None = None,
    *,
    rho: float = 3.0,
) -> Welfare:
    """Welfare of a fixed budget split equally over the listed, with constant relative risk aversion.

    `u(y) = y^(1 - rho) / (1 - rho)`, log for rho = 1, as Hanna & Olken (2018, Journal of Economic Perspectives 32(4))
    compare targeted with universal transfers.

    Parameters
    ----------
    income
        What a person has without the transfer, in money, above 0, shape (n,).
    listed
        True, False, or the share of a tie that is listed, shape (n,).
    budget
        Money for all together, in the same unit.
    weight
        Persons that each row stands for, shape (n,); the transfer is per person.
    rho
        Relative risk aversion, 0 or more.

    Raises
    ------
    UsageError
        If an income is not above 0, nobody is listed, or the budget or rho is negative.

    >>> welfare = budget_welfare(np.array([1, 2, 4, 8.0]), np.array([1, 0, 0, 0]), budget=1.0)
    >>> welfare.of_perfect
    1.0
    """
    y, share = np.asarray(income, float), np.asarray(listed, float)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    count = float(np.dot(w, share))
    if not (y > 0).all():
        raise UsageError("welfare needs incomes above 0: leave out rows without income, or set a floor on them first.")
    if count <= 0 or budget < 0 or rho < 0:
        raise UsageError("welfare needs somebody on the list, and a budget and a risk aversion that are not negative.")
    mean = float(np.dot(w, y) / w.sum())
    relative, money = y / mean, budget / mean
    poorest = np.argsort(relative, kind="stable")
    before = np.cumsum(w[poorest]) - w[poorest]
    needy = np.zeros(len(y))
    needy[poorest] = np.divide(
        np.clip(count - before, 0, w[poorest]), w[poorest], out=np.zeros(len(y)), where=w[poorest] > 0
    )

    def mean_utility(of: np.ndarray, transfer: float) -> float:
        with_it, without = _crra(relative + transfer, rho), _crra(relative, rho)
        return float(np.dot(w, of * with_it + (1 - of) * without) / w.sum())

    return Welfare(
        nobody=mean_utility(np.zeros(len(y)), 0.0),
        universal=mean_utility(np.ones(len(y)), money / w.sum()),
        listed=mean_utility(share, money / count),
        perfect=mean_utility(needy, money / count),
    )


def _crra(y: np.ndarray, rho: float) -> np.ndarray:
    return np.log(y) if rho == 1 else y ** (1 - rho) / (1 - rho)


def _over(a: float, b: float) -> float:
    return a / b if b else np.nan
