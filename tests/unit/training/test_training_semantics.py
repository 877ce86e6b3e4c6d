"""The affinity file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sbka_milvus.errors import DatasetError
from sbka_milvus.images import Split
from sbka_milvus.training.semantics import load_affinity

VALUES = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_npz(**arrays: Any) -> Path:
        path = tmp_path / "affinity.npz"
        np.savez(path, **{"categories": np.array(["cat", "hot-air_balloon"]), "affinity": VALUES, **arrays})
        return path

    return write_npz


def test_rows_come_in_the_order_asked_for_however_names_are_spelt(write: Callable[..., Path]) -> None:
    table, unknown = load_affinity(write(), ("Hot air balloon", "cat"), 3)
    assert table.dtype == torch.float32
    assert np.allclose(table, VALUES[[1, 0]])
    assert unknown == ()


def test_unknown_categories_have_no_affinity_and_are_named(write: Callable[..., Path]) -> None:
    table, unknown = load_affinity(write(), ("unicorn", "cat", "dragon"), 3)
    assert unknown == ("unicorn", "dragon")
    assert np.allclose(table, np.stack([np.zeros(3), VALUES[0], np.zeros(3)]))


@pytest.mark.parametrize(
    "arrays",
    [
        {"affinity": VALUES[:, :2]},
        {"affinity": VALUES[:1]},
        {"affinity": VALUES[0]},
        {"categories": np.array(["cat"])},
    ],
)
def test_another_shape_is_refused_with_the_one_needed(arrays: dict[str, Any], write: Callable[..., Path]) -> None:
    path = write(**arrays)
    with pytest.raises(DatasetError, match=r"\((1|2), 3\) is needed") as caught:
        load_affinity(path, ("cat",), 3)
    assert str(path) in caught.value.problem
    assert "classes of the knowledge head" in caught.value.remedy


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_entries_that_are_not_finite_are_refused(value: float, write: Callable[..., Path]) -> None:
    with pytest.raises(DatasetError, match="not finite"):
        load_affinity(write(affinity=np.where(VALUES == 0.5, value, VALUES)), ("cat",), 3)


class RunsCode:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("key", ["categories", "affinity"])
def test_pickled_arrays_are_refused_and_do_not_run(key: str, write: Callable[..., Path], tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    path = write(**{key: np.array([RunsCode(touched)], dtype=object)})
    with pytest.raises(DatasetError, match="cannot be read"):
        load_affinity(path, ("cat",), 3)
    assert not touched.exists()
    with np.load(path, allow_pickle=True) as archive:
        assert archive[key] is not None
    assert touched.exists(), "the file would have run its code"


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, VALUES)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04 cut"),
        lambda path: path.write_text("text"),
        npy,
        lambda path: np.savez(path, categories=np.array(["cat"])),
        lambda path: np.savez(path, categories=np.array("cat"), affinity=VALUES[:1]),
        lambda path: np.savez(path, categories=np.array(["cat"]), affinity=np.array([["a", "b", "c"]])),
    ],
)
def test_a_file_of_another_form_is_refused(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "affinity.npz"
    make(path)
    with pytest.raises(DatasetError, match="cannot be read") as caught:
        load_affinity(path, ("cat",), 3)
    assert str(path) in caught.value.problem
    assert "'categories' and 'affinity'" in caught.value.remedy


def test_any_damage_to_the_bytes_is_refused_or_harmless(write: Callable[..., Path]) -> None:
    path = write()
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 9):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            table, _ = load_affinity(path, ("cat",), 3)
        except DatasetError:
            refused += 1
        else:
            assert table.shape == (1, 3)
    assert refused > 10


@pytest.mark.real_data
def test_the_real_file_knows_every_seen_category(real_data: Path) -> None:
    seen = Split.load(real_data / "splits" / "sketchy_ext_25.json").seen
    table, unknown = load_affinity(real_data / "semantics" / "sketchy_imagenet_affinity.npz", seen, 1000)
    assert table.shape == (100, 1000)
    assert unknown == ()
    assert 0 <= table.min() < table.max() <= 1
    for category, known in (("banana", 954), ("zebra", 340), ("teapot", 849)):
        assert table[seen.index(category)].argmax() == known, category
