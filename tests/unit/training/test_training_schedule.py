"""The learning rate from the first step to the last."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbka_milvus.training.schedule import Schedule


def test_the_paper_s_falls_by_one_factor_an_epoch_and_stands_within_it() -> None:
    schedule = Schedule("exponential", 4, 1e-4)
    assert [schedule.factor(at) for at in (0, 0.75, 1, 2.5, 3.99)] == pytest.approx([1, 1, 0.1, 0.01, 0.001])


def test_a_cosine_falls_slowly_then_fast_then_slowly_to_its_last() -> None:
    schedule = Schedule("cosine", 8, 0.1)
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * at / 8)) / 2 for at in (0, 1.5, 4, 7)]
    assert [schedule.factor(at) for at in (0, 1.5, 4, 7)] == pytest.approx(expected)
    assert schedule.factor(0) == 1
    assert schedule.factor(4) == pytest.approx(0.55)
    assert schedule.factor(8) == pytest.approx(0.1)
    assert schedule.factor(9) == pytest.approx(0.1), "never up again"


def test_it_climbs_in_a_straight_line_and_the_first_step_does_something() -> None:
    schedule = Schedule("cosine", 6, 0.0, warmup=2)
    climb = [schedule.factor(step / 4, 1 / 4) for step in range(8)]
    assert climb == pytest.approx([number / 8 for number in range(1, 9)])
    assert schedule.factor(2, 1 / 4) == 1
    assert schedule.factor(4, 1 / 4) == pytest.approx(0.5), "the cosine runs over what is left"
    assert Schedule("exponential", 4, 1e-4, warmup=2).factor(1, 0.5) == pytest.approx(0.1 * 0.75)


@given(
    st.sampled_from(["exponential", "cosine"]),
    st.integers(1, 50),
    st.floats(1e-6, 1),
    st.floats(0, 0.9),
    st.floats(0, 1),
)
def test_a_factor_lies_between_nothing_and_one(form, epochs: int, last: float, warmup: float, done: float) -> None:
    schedule = Schedule(form, epochs, last, warmup * epochs)
    assert 0 < schedule.factor(done * epochs, 0.1) <= 1
    later = schedule.factor(max(done, warmup) * epochs + 0.2, 0.1)
    assert later <= schedule.factor(max(done, warmup) * epochs, 0.1) + 1e-9
