"""Temporal folds: no training label ever overlaps a test window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.cohort.splits import as_of_months, embargo_months, rows_of, temporal_folds
from riskmodel.errors import NotEnoughData
from riskmodel.months import as_of_day, month_number, month_text
from riskmodel.settings import Cohorts, Label, Split

START = month_number("2015-01")


@given(
    count=st.integers(2, 40),
    step=st.sampled_from([1, 3]),
    every=st.integers(1, 6),
    horizon=st.integers(1, 4),
    assessments=st.sampled_from([1, 2]),
    folds=st.integers(0, 4),
)
def test_a_training_label_never_overlaps_a_test_window(
    count: int, step: int, every: int, horizon: int, assessments: int, folds: int
) -> None:
    label = Label(horizon_months=horizon * step, assessments=assessments)
    months = [START + i * every * step for i in range(count)]
    try:
        found = temporal_folds(months, step, label, Split(folds=folds))
    except NotEnoughData:
        return
    for fold in found:
        last_month_of_a_label = max(fold.train) + embargo_months(label, step)
        assert last_month_of_a_label <= min(fold.test)
        assert fold.known_by == as_of_day(min(fold.test), step)
        assert set(fold.train).isdisjoint(fold.test)
    assert found[-1].name == "test"
    for earlier in found[:-1]:
        assert max(earlier.test) + embargo_months(label, step) <= min(found[-1].test)


def test_the_split_named_for_the_argentine_panel() -> None:
    label = Label(name="below_line", horizon_months=3, when="at", assessments=1)
    months = as_of_months(month_number("2009-01"), month_number("2015-04"), 3, label, Cohorts(warm_up_months=0))
    assert (month_text(months[0]), month_text(months[-1]), len(months)) == ("2009-01", "2015-01", 25)
    test = temporal_folds(months, 3, label, Split(test_from="2014-04", folds=0))[-1]
    assert month_text(test.train[-1] + 3) == "2014-04"
    assert [month_text(m) for m in test.test] == ["2014-04", "2014-07", "2014-10", "2015-01"]


def test_an_outcome_known_too_late_does_not_train() -> None:
    label = Label(horizon_months=1, assessments=1)
    fold = temporal_folds([START, START + 1, START + 2], 1, label, Split(test_from=month_text(START + 2), folds=0))[-1]
    as_of = pd.Series([month_text(START), month_text(START + 1), month_text(START + 2)])
    on_time, too_late = pd.Timestamp(as_of_day(START + 2, 1)), pd.Timestamp(as_of_day(START + 3, 1))
    train, test = rows_of(fold, as_of, pd.Series([1.0, 0.0, 0.0]), pd.Series([on_time, too_late, too_late]))
    assert train.tolist() == [0]
    assert test.tolist() == [2]


def test_a_missing_outcome_neither_trains_nor_tests() -> None:
    fold = temporal_folds([START, START + 12], 1, Label(), Split(folds=0))[-1]
    as_of = pd.Series([month_text(START)] * 2 + [month_text(START + 12)] * 2)
    known = pd.Series([pd.Timestamp("2015-09-01"), pd.NaT, pd.Timestamp("2016-09-01"), pd.NaT])
    train, test = rows_of(fold, as_of, pd.Series([0.0, np.nan, 0.0, np.nan]), known)
    assert (train.tolist(), test.tolist()) == ([0], [2])


def test_a_month_of_which_only_the_falls_were_known_in_time_does_not_train() -> None:
    """The horizon ends in the month in which the test begins, and its records come in the month after it."""
    label, month = Label(horizon_months=6, assessments=1), month_text
    fold = temporal_folds([START, START + 3, START + 9], 1, label, Split(folds=0))[-1]
    as_of = pd.Series([month(START)] * 3 + [month(START + 3)] * 3 + [month(START + 9)] * 2)
    known = pd.to_datetime(["2015-06-20", "2015-08-20", "2015-08-20", "2015-09-20", "2015-11-20", "2015-11-20",
                            "2016-01-20", "2016-05-20"])  # fmt: skip
    train, test = rows_of(fold, as_of, pd.Series([1.0, 0, 0, 1, 0, 0, 1, 0]), pd.Series(known))
    assert (train.tolist(), test.tolist()) == ([0, 1, 2], [6, 7])


def test_a_month_whose_horizon_is_not_over_does_not_test() -> None:
    fold = temporal_folds([START, START + 12, START + 18], 1, Label(), Split(test_from="2016-01", folds=0))[-1]
    as_of = pd.Series([month_text(START + 12)] * 2 + [month_text(START + 18)] * 2)
    test = rows_of(fold, as_of, pd.Series([1.0, 0.0, 1.0, np.nan]), pd.Series(pd.NaT, range(4)))[1]
    assert test.tolist() == [0, 1], "who fell is known before the others are, and alone would make a list of falls"


def test_a_register_that_is_too_short_says_so() -> None:
    with pytest.raises(NotEnoughData, match="Shorten the horizon or the warm-up"):
        as_of_months(START, START + 10, 1, Label(), Cohorts())
    with pytest.raises(NotEnoughData, match=r"from 2023-03 on \(cohorts.first\) no as-of month .* begin earlier"):
        as_of_months(month_number("2020-01"), month_number("2023-05"), 1, Label(), Cohorts(first="2023-03"))
    with pytest.raises(NotEnoughData, match="embargo of 7 months"):
        temporal_folds([START, START + 1], 1, Label(), Split())
