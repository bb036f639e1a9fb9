"""Which model to keep: the simplest that households cannot tell from the best, and what other rules would have cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.errors import NotEnoughData
from riskmodel.evaluation.selection import RULES, Periods, choose, regrets
from riskmodel.settings import Choice

MODELS = ["one_variable_logit", "logistic_regression", "lightgbm"]


def periods(values: dict[str, list[float]], own: float = 0.0, shared: float = 0.05, **how: object) -> Periods:
    """Figures per period and model, with draws whose spread is `shared` by all models and `own` to each."""
    value = pd.DataFrame(values, index=MODELS[: len(next(iter(values.values())))])
    generator = np.random.default_rng(0)
    draws = value.to_numpy()[:, :, None] + shared * generator.normal(size=(1, value.shape[1], 400))
    draws = draws + own * generator.normal(size=(*value.shape, 400))
    return Periods(how.pop("metric", "pr_auc"), value, draws, **how)


def test_luck_of_the_households_that_all_models_share_tells_them_apart_all_the_same() -> None:
    """Each figure wavers by 0.05, their difference not at all: 0.02 is then a difference."""
    found = periods({"2021": [0.30, 0.32, 0.31], "2022": [0.30, 0.32, 0.31]})
    assert choose(found) == "logistic_regression"


def test_what_households_cannot_tell_apart_goes_to_the_simplest() -> None:
    close = {"2021": [0.30, 0.32, 0.33], "2022": [0.30, 0.32, 0.33]}
    assert choose(periods(close, own=0.05)) == "one_variable_logit"
    assert choose(periods(close, own=0.01)) == "logistic_regression"
    assert choose(periods(close, own=0.0001)) == "lightgbm"
    assert choose(periods(close, own=0.05), "best_average") == "lightgbm"


def test_the_standard_error_is_that_of_the_average_over_periods() -> None:
    one = periods({"2021": [0.3, 0.4]}, own=0.1).behind()
    four = periods({str(y): [0.3, 0.4] for y in range(2021, 2025)}, own=0.1).behind()
    assert one["standard_error"].iloc[0] == pytest.approx(0.1 * 2**0.5, rel=0.1)
    assert four["standard_error"].iloc[0] == pytest.approx(0.1 * 2**0.5 / 2, rel=0.1)
    assert one["standard_error"].iloc[1] == 0


def test_a_low_log_loss_is_the_good_one() -> None:
    found = periods({"2021": [0.31, 0.29], "2022": [0.31, 0.30]}, metric="log_loss")
    assert {choose(found, rule) for rule in RULES} == {"logistic_regression"}
    assert found.behind()["behind"].round(3).tolist() == [0.015, 0]
    assert (regrets(found) >= 0).all().all()


def test_late_periods_count_as_each_rule_says() -> None:
    found = periods({"2020": [0.30, 0.40], "2021": [0.30, 0.35], "2022": [0.34, 0.30], "2023": [0.34, 0.31]})
    assert choose(found, "best_last") == "one_variable_logit"
    assert choose(found, "best_average") == "logistic_regression"
    assert choose(found, "recency_weighted") == "logistic_regression"
    later = periods({"2020": [0.30, 0.36], "2021": [0.30, 0.32], "2022": [0.34, 0.30], "2023": [0.34, 0.31]})
    assert (choose(later, "best_average"), choose(later, "recency_weighted")) == (
        "logistic_regression",
        "one_variable_logit",
    )


def test_where_periods_are_parts_of_the_households_none_is_the_last() -> None:
    found = periods({"part_1": [0.30, 0.40], "part_2": [0.33, 0.30]}, timed=False)
    assert {choose(found, r) for r in ("best_last", "recency_weighted", "best_average")} == {"logistic_regression"}


def test_the_steadiest_is_the_one_whose_distance_to_the_best_varies_least() -> None:
    """A bad harvest pulls both figures down alike: that is not the model's unsteadiness."""
    found = periods({"2021": [0.40, 0.41, 0.30], "2022": [0.20, 0.21, 0.22], "2023": [0.30, 0.31, 0.38]})
    assert choose(found, "least_variance") == "logistic_regression"
    assert choose(periods({"2021": [0.3, 0.4]}), "least_variance") == "logistic_regression"


def test_regret_is_taken_on_the_next_period_from_earlier_ones_alone() -> None:
    """Until 2022 the logit is best, then the boosted trees: only the rule of the last period follows in 2023."""
    found = periods({"2020": [0.40, 0.30], "2021": [0.40, 0.30], "2022": [0.30, 0.34], "2023": [0.30, 0.35]})
    table = regrets(found)
    assert list(table.columns) == ["2021", "2022", "2023", "mean", "worst"]
    assert table.loc["best_last", ["2021", "2022", "2023"]].round(3).tolist() == [0, 0.04, 0]
    assert table.loc["best_average", ["2021", "2022", "2023"]].round(3).tolist() == [0, 0.04, 0.05]
    assert table.loc["best_average", ["mean", "worst"]].round(3).tolist() == [0.03, 0.05]
    only = regrets(periods({"2021": [0.3, 0.4]}))
    assert only[["mean", "worst"]].isna().all().all()


def test_parts_of_one_division_are_chosen_for_from_its_other_parts() -> None:
    found = periods(
        {"1a": [0.4, 0.3], "1b": [0.4, 0.3], "2a": [0.3, 0.4], "2b": [0.3, 0.4]},
        before=((1,), (0,), (3,), (2,)),
        timed=False,
    )
    assert (regrets(found) == 0).all().all()


def test_a_period_in_which_nobody_fell_takes_no_part() -> None:
    found = periods({"2020": [0.3, 0.4], "2021": [np.nan, np.nan], "2022": [0.4, 0.3], "2023": [0.4, 0.3]})
    assert choose(found, "best_average") == "one_variable_logit"
    assert list(regrets(found).columns) == ["2022", "2023", "mean", "worst"]
    with pytest.raises(NotEnoughData, match="nobody fell"):
        choose(periods({"2020": [np.nan, np.nan]}))


def test_where_hardly_any_resample_has_a_fall_nothing_is_told_apart() -> None:
    found = periods({"2020": [0.1, 0.9]})
    found.draws[:, :, 20:] = np.nan
    assert choose(found) == "one_variable_logit"


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5), st.floats(0, 0.5))
def test_no_rule_prefers_what_is_nowhere_better(figures: list[list[float]], own: float) -> None:
    """Put first, a simpler twin of the best is taken by every rule; regret is never negative."""
    twin = {str(k): [max(row), *row[:2]] for k, row in enumerate(figures)}
    found = periods(twin, own=own)
    for rule in RULES:
        assert choose(found, rule) == "one_variable_logit"
    assert (regrets(found).fillna(0) >= 0).all().all()


def test_every_rule_of_the_settings_is_one_that_exists() -> None:
    assert set(Choice.model_json_schema()["properties"]["rule"]["enum"]) == set(RULES)
