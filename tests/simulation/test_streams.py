"""Random numbers belong to one process and one household."""

from __future__ import annotations

import numpy as np

from riskmodel.simulation.streams import Streams, _normal


def test_the_same_seed_and_process_give_the_same_numbers_whatever_was_drawn_before():
    first, second = Streams(5, 24, 100), Streams(5, 24, 100)
    second.monthly("something else")
    second.places("weather", 24, 3)
    assert np.array_equal(first.monthly("illness"), second.monthly("illness"))
    assert not np.array_equal(first.monthly("illness"), Streams(6, 24, 100).monthly("illness"))


def test_processes_do_not_share_numbers():
    streams = Streams(5, 24, 2000)
    one, other = streams.monthly("illness").ravel(), streams.monthly("accident").ravel()
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert abs(one.mean() - 0.5) < 0.01


def test_some_households_keep_their_numbers():
    streams = Streams(5, 24, 100)
    chosen = np.array([3, 17, 98])
    part = streams.only(chosen)
    assert np.array_equal(part.monthly("illness"), streams.monthly("illness")[:, chosen])
    assert np.array_equal(part.once_normal("ability"), streams.once_normal("ability")[chosen])
    assert np.array_equal(part.places("weather", 4, 2), streams.places("weather", 4, 2))


def test_numbers_that_were_let_go_come_back_the_same():
    streams = Streams(5, 24, 100)
    before = streams.monthly_normal("wage").copy()
    streams.forget()
    assert np.array_equal(before, streams.monthly_normal("wage"))
    assert np.array_equal(before, streams.passing().monthly_normal("wage"))


def test_normal_numbers_are_finite_and_standard():
    normal = Streams(5, 60, 2000).monthly_normal("wage")
    assert np.isfinite(normal).all()
    assert abs(normal.mean()) < 0.01 and abs(normal.std() - 1) < 0.01


def test_the_rarest_draw_is_still_a_number() -> None:
    """Of a million households one draws the largest uniform number below one."""
    assert np.isfinite(_normal(np.array([0, 1 - 2**-24], dtype=np.float32))).all()
