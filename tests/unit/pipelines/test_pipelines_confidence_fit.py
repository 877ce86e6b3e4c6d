"""The confidence of a model, fitted on its own training's vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sbka_milvus.pipelines.confidence_fit import LEAST_HELD, LEAST_TRAINED, fit_confidence, rows_of
from sbka_milvus.progress import SilentProgress
from sbka_milvus.rankers.confidence import Labelled
from sbka_milvus.rankers.served_confidence import ServedConfidence
from sbka_milvus.types import normalise


def pictures(n_categories: int, prefix: str, spread: float = 0.5, each: int = 8) -> tuple[Labelled, Labelled]:
    """Sketches and photos of some categories: sketches lie beside their photos."""
    rng = np.random.default_rng([ord(prefix), n_categories])
    centres, shift = rng.normal(size=(n_categories, 32)), rng.normal(size=32)
    labels = np.arange(n_categories * each) % n_categories
    names = [f"{prefix}{label}" for label in labels]

    def draw(moved: np.ndarray | float) -> Labelled:
        return Labelled(normalise(centres[labels] + moved + spread * rng.normal(size=(len(labels), 32))), names)

    return draw(shift), draw(0.0)


def test_each_form_of_search_gets_its_own(progress: Any) -> None:
    values, notes = fit_confidence(pictures(LEAST_TRAINED, "t"), pictures(LEAST_HELD, "h", 1.0), progress)
    assert values is not None
    assert notes == ()
    assert values["trained_categories"] == LEAST_TRAINED
    assert values["scaled_on"] == LEAST_HELD
    fitted = {form: ServedConfidence.from_dict(stored) for form, stored in values["forms"].items()}
    assert set(fitted) == {"fused", "linear"}
    assert fitted["fused"] != fitted["linear"]
    assert progress.stages[0][1] == progress.stages[0][2] > 0


def test_the_same_vectors_give_the_same_numbers() -> None:
    one, again = (fit_confidence(pictures(10, "t"), pictures(6, "h"), SilentProgress()) for _ in range(2))
    assert one == again


@pytest.mark.parametrize("n_held", [0, LEAST_HELD - 1])
def test_without_enough_pseudo_unseen_categories_it_says_that_it_is_too_sure(n_held: int) -> None:
    held = pictures(n_held, "h") if n_held else None
    values, notes = fit_confidence(pictures(LEAST_TRAINED, "t"), held, SilentProgress())
    assert values is not None
    assert values["scaled_on"] == 0
    assert all(form["scaling"] is None for form in values["forms"].values())
    assert "too sure" in notes[0]
    assert str(n_held) in notes[0]


def test_too_few_trained_categories_give_none_and_a_note() -> None:
    values, notes = fit_confidence(pictures(LEAST_TRAINED - 1, "t"), pictures(8, "h"), SilentProgress())
    assert values is None
    assert "7 trained categories are too few" in notes[0]


def test_the_rows_that_are_chosen() -> None:
    chosen = rows_of(Labelled(np.eye(3, dtype=np.float32), ["a", "b", "c"]), np.array([True, False, True]))
    assert list(chosen.categories) == ["a", "c"]
    assert chosen.vectors.tolist() == [[1, 0, 0], [0, 0, 1]]
