"""What may be chosen, and the schedule that follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sbka_milvus.errors import SettingsError
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


def test_nothing_of_sketches_changes_unless_asked() -> None:
    options = TrainingOptions()
    assert (options.stroke_augmentation, options.pseudo_sketches) == (0.0, False)


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
        {"ema_decay": 1.0},
        {"schedule": "linear"},
        {"optimiser": "sgd"},
        {"head": "deep"},
        {"head_temperature": 0.0},
        {"balanced": 16, "sketches_per_batch": 32, "photos_per_batch": 40},
        {"balanced": 16, "sketches_per_batch": 30, "photos_per_batch": 48},
        {"warmup_epochs": 3, "epochs": 3},
        {"label_smoothing": 0.6, "semantics_weight": 0.4},
        {"stroke_augmentation": 1.1},
        {"pseudo_share": 0.0},
        {"pseudo_share": 1.0},
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingOptions(**values)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"epochs": 0}, "epochs: Input should be greater than or equal to 1"),
        ({"balanced": 16}, "sketches_per_batch must be a multiple of the 16 categories"),
        ({"warmup_epochs": 20.0}, "warmup_epochs must be less than the 20 epochs"),
    ],
)
def test_a_user_s_mistake_is_named(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        TrainingOptions.make(**values)
    assert caught.value.remedy


def test_what_makes_sense_is_taken() -> None:
    options = TrainingOptions.make(balanced=16, sketches_per_batch=32, photos_per_batch=64, head="cosine")
    assert options.temperature == 0.07
    assert TrainingOptions().temperature is None


def test_the_rate_of_a_cosine_falls_within_an_epoch() -> None:
    options = TrainingOptions(epochs=4, schedule="cosine", final_rate_factor=1e-4, warmup_epochs=1)
    assert options.rate_factor(0, 0.5, 0.25) == pytest.approx(0.75)
    assert options.rate_factor(2, 0.5) == pytest.approx(0.5, abs=1e-3)


def test_every_option_is_described() -> None:
    described = {line.strip().partition(":")[0] for line in (TrainingOptions.__doc__ or "").splitlines()}
    assert set(TrainingOptions.model_fields) <= described


@pytest.mark.parametrize("weight", ["relation_weight", "embedding_weight"])
def test_what_is_learned_from_features_says_which_pictures_the_teacher_sees(weight: str) -> None:
    assert not TrainingOptions(relation_pictures="both").learns_features
    assert not TrainingOptions(relation_pictures="both").shows_sketches
    assert TrainingOptions(**{weight: 0.1}).learns_features
    assert not TrainingOptions(**{weight: 0.1}).shows_sketches
    assert TrainingOptions(**{weight: 0.1}, relation_pictures="both").shows_sketches
