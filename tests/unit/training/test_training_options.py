"""What may be chosen, and the schedule that follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sbka_milvus.training.options import TrainingOptions


@pytest.mark.parametrize(("epochs", "first"), [(20, 10), (4, 2), (5, 2), (2, 1), (1, 0)])
def test_the_teacher_learns_in_the_second_half_of_a_bidirectional_training(epochs: int, first: int) -> None:
    options = TrainingOptions(epochs=epochs, mode="bidirectional")
    assert [options.teacher_learns(epoch) for epoch in range(epochs)] == [epoch >= first for epoch in range(epochs)]
    for mode in ("ce", "one_way"):
        assert not any(TrainingOptions(epochs=epochs, mode=mode).teacher_learns(epoch) for epoch in range(epochs))


@pytest.mark.parametrize("epochs", [1, 2, 5, 20])
def test_the_last_epoch_may_always_become_the_model(epochs: int) -> None:
    options = TrainingOptions(epochs=epochs)
    assert options.may_select(epochs - 1)
    assert [options.may_select(epoch) for epoch in range(epochs)] == [epoch >= epochs // 2 for epoch in range(epochs)]


def test_the_rate_falls_by_the_same_factor_every_epoch() -> None:
    options = TrainingOptions(epochs=4, final_rate_factor=1e-4)
    assert [options.rate_factor(epoch) for epoch in range(4)] == pytest.approx([1.0, 0.1, 0.01, 0.001])


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "both"},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"final_rate_factor": 1.5},
        {"augment_probability": 1.1},
        {"validation_share": 1.0},
        {"trainable": "some"},
        {"colour": "red"},
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingOptions(**values)
