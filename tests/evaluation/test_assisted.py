"""Help hides what a list foresaw; weights stand in for households whose outcome is not seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.evaluation.assisted import by_assistance
from riskmodel.settings import Intervals

FEW = Intervals(replicates=30)


def county(n: int = 3000, helped_of_listed: float = 0.7) -> pd.DataFrame:
    """Help goes to most of the list and prevents four falls of five."""
    generator = np.random.default_rng(1)
    risk = generator.beta(1, 5, n)
    listed = risk > 0.3
    helped = listed & (generator.random(n) < helped_of_listed)
    fell = (generator.random(n) < risk * np.where(helped, 0.2, 1.0)).astype(float)
    ids = [f"h{i // 2}" for i in range(n)]
    return pd.DataFrame({"household_id": ids, "outcome": fell, "risk": risk, "listed": listed, "helped": helped})


def test_figures_of_each_group_equal_scikit_learn_with_weights() -> None:
    rows = county()
    weight = np.random.default_rng(2).uniform(1, 3, len(rows))
    found = by_assistance(rows, FEW, 1, weight=weight).results
    for group, own in {"all": rows["risk"] >= 0, "helped": rows["helped"], "not_helped": ~rows["helped"]}.items():
        y, p, on, w = (rows.loc[own, "outcome"], rows.loc[own, "risk"], rows.loc[own, "listed"], weight[own])
        assert found[group]["roc_auc"].value == pytest.approx(roc_auc_score(y, p, sample_weight=w), abs=1e-12)
        assert found[group]["brier"].value == pytest.approx(brier_score_loss(y, p, sample_weight=w), abs=1e-12)
        assert found[group]["precision"].value == pytest.approx(precision_score(y, on, sample_weight=w), abs=1e-12)
        assert found[group]["recall"].value == pytest.approx(recall_score(y, on, sample_weight=w), abs=1e-12)


def test_those_not_helped_show_that_the_risks_were_right() -> None:
    found = by_assistance(county(), FEW, 1).results
    assert abs(found["not_helped"]["rate_error"].value) < 0.02
    assert found["helped"]["rate_error"].low > 0.2
    assert found["not_helped"]["precision"].low > found["helped"]["precision"].high


def test_a_list_that_was_mostly_helped_gets_a_warning() -> None:
    found = by_assistance(county(), FEW, 1)
    assert found.listed_helped == pytest.approx(0.7, abs=0.05)
    assert "not helped" in found.warning
    assert by_assistance(county(helped_of_listed=0.3), FEW, 1).warning is None


def test_households_of_unknown_help_are_in_neither_group() -> None:
    rows = county()
    rows["helped"] = rows["helped"].astype("boolean")
    rows.loc[:99, "helped"] = pd.NA
    sizes = by_assistance(rows, FEW, 1).sizes["rows"]
    assert sizes["helped"] + sizes["not_helped"] == sizes["all"] - 100


def test_weights_stand_for_households_that_were_lost() -> None:
    """Those at high risk are seen half as often; weights of 2 bring the rate back."""
    rows = county(helped_of_listed=0.0)
    truth = rows["outcome"].mean()
    lost = (rows["risk"] > 0.2) & (np.arange(len(rows)) % 2 == 0)
    rows.loc[lost, "outcome"] = np.nan
    weight = np.where(rows["risk"] > 0.2, 2.0, 1.0) * rows["outcome"].notna()

    def rate(weight: np.ndarray | None) -> float:
        found = by_assistance(rows, FEW, 1, weight=weight).results["all"]
        known = rows["outcome"].notna()
        mean_risk = np.average(rows.loc[known, "risk"], weights=None if weight is None else weight[known])
        return mean_risk - found["rate_error"].value

    assert abs(rate(weight) - truth) < 0.015 < abs(rate(None) - truth)


def test_a_group_without_falls_is_left_out_and_counted() -> None:
    rows = county()
    rows.loc[rows["helped"], "outcome"] = 0
    found = by_assistance(rows, FEW, 1)
    assert set(found.results) == {"all", "not_helped"}
    assert found.sizes.loc["helped", "events"] == 0


def test_figures_by_help_that_cannot_be_made_say_why() -> None:
    with pytest.raises(UsageError, match="helped"):
        by_assistance(county().drop(columns="helped"), FEW, 1)
    with pytest.raises(UsageError, match="censoring_weights"):
        by_assistance(county(), FEW, 1, weight=np.full(3000, np.nan))
    with pytest.raises(NotEnoughData, match="longer horizon"):
        by_assistance(county().assign(outcome=np.nan), FEW, 1)


def test_intervals_by_help_draw_villages_where_there_are_enough() -> None:
    rows = county().assign(village_id=np.arange(3000) // 75)
    one = by_assistance(rows, FEW, 1).results["all"]["roc_auc"]
    named = by_assistance(rows.assign(household_id=rows["village_id"]), Intervals(replicates=30, over="household"), 1)
    assert one == named.results["all"]["roc_auc"]
