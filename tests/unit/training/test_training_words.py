"""Word vectors of seen categories."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sbka_milvus.errors import DatasetError
from sbka_milvus.images import Split
from sbka_milvus.training.words import load_nearness

# Cosines: cat and dog 0.6, cat and hot-air balloon 0, dog and hot-air balloon 0.8.
VECTORS = np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 7.0], [np.nan, 1.0]])
NAMES = np.array(["cat", "dog", "hot-air_balloon", "unseen"])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_npz(**arrays: Any) -> Path:
        path = tmp_path / "words.npz"
        np.savez(path, **{"names": NAMES, "vecs": VECTORS, **arrays})
        return path

    return write_npz


def test_rows_are_softmaxes_over_the_others_by_hand(write: Callable[..., Path]) -> None:
    table, unknown = load_nearness(write(), ("Hot air balloon", "cat", "dog"), 0.2)
    assert unknown == ()
    assert table.dtype == torch.float32
    cat = math.exp(0 / 0.2), math.exp(0.6 / 0.2)
    dog = math.exp(0.8 / 0.2), math.exp(0.6 / 0.2)
    air = math.exp(0 / 0.2), math.exp(0.8 / 0.2)
    by_hand = [
        [0, air[0] / sum(air), air[1] / sum(air)],
        [cat[0] / sum(cat), 0, cat[1] / sum(cat)],
        [dog[0] / sum(dog), dog[1] / sum(dog), 0],
    ]
    assert torch.allclose(table, torch.tensor(by_hand, dtype=torch.float32), atol=1e-6)


def test_an_unknown_category_stands_for_itself_alone(write: Callable[..., Path]) -> None:
    table, unknown = load_nearness(write(), ("cat", "unicorn", "dog"), 0.2)
    assert unknown == ("unicorn",)
    assert table.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_vectors_of_other_categories_are_not_looked_at(write: Callable[..., Path]) -> None:
    path = write()
    before, _ = load_nearness(path, ("cat", "dog"), 0.1)
    changed = VECTORS.copy()
    changed[2:] = [[5.0, -1.0], [0.0, 0.0]]
    after, _ = load_nearness(write(vecs=changed), ("cat", "dog"), 0.1)
    assert torch.equal(before, after)
    with pytest.raises(DatasetError, match="without direction"):
        load_nearness(path, ("cat", "unseen"), 0.1)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"vecs": VECTORS[:1]}, "cannot be read"),
        ({"vecs": VECTORS[:, 0]}, "two are needed"),
        ({"names": NAMES[2:], "vecs": VECTORS[2:]}, "vectors for 0 of 2 seen categories"),
        ({"names": NAMES[:1], "vecs": VECTORS[:1]}, "vectors for 1 of 2 seen categories"),
        ({"vecs": np.array([["a"], ["b"], ["c"], ["d"]])}, "cannot be read"),
        ({"vecs": np.array([{}, {}, {}, {}], dtype=object)}, "cannot be read"),
        ({"vecs": np.zeros((4, 2))}, "without direction"),
    ],
)
def test_a_file_of_another_form_is_refused(arrays: dict[str, Any], problem: str, write: Callable[..., Path]) -> None:
    path = write(**arrays)
    with pytest.raises(DatasetError, match=problem) as caught:
        load_nearness(path, ("cat", "dog"), 0.1)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.npz cannot be read"):
        load_nearness(tmp_path / "none.npz", ("cat", "dog"), 0.1)


@pytest.mark.real_data
def test_the_real_file_knows_the_seen_categories_and_what_is_like_what(real_data: Path) -> None:
    seen = Split.load(real_data / "splits" / "sketchy_ext_25.json").seen
    table, unknown = load_nearness(real_data / "semantics" / "sketchy_glove300.npz", seen, 0.1)
    assert unknown == ()
    assert torch.allclose(table.sum(dim=1), torch.ones(len(seen)))
    for category, likes in (("cat", {"dog", "rabbit"}), ("trumpet", {"saxophone", "violin", "guitar"})):
        if category in seen:
            assert seen[int(table[seen.index(category)].argmax())] in likes, category
