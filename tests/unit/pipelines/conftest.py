"""Pictures, and an encoder that needs no network: the mean colours of a grid."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.embeddings import Gallery
from sbka_milvus.images import DecodedPhoto
from sbka_milvus.progress import Advance
from sbka_milvus.types import FloatArray, normalise

GRID = 4


class GridEncoder:
    """Encodes a picture as the mean colours of 4 x 4 cells, and remembers what it was given.

    Args:
        on_batch: is called with the number of batches so far before each is encoded; may raise.
    """

    dim = 3 * GRID * GRID

    def __init__(self, fingerprint: str = "grid-1", on_batch: Callable[[int], None] | None = None) -> None:
        self.fingerprint = fingerprint
        self.sizes: list[tuple[int, int]] = []
        self.batches: list[int] = []
        self.most_alive = 0
        self._on_batch = on_batch

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        self.most_alive = max(self.most_alive, alive())
        if self._on_batch is not None:
            self._on_batch(len(self.batches))
        self.batches.append(len(photos))
        self.sizes.extend(photo.size for photo in photos)
        cells = [np.asarray(photo.resize((GRID, GRID), Image.Resampling.BOX), dtype=np.float64) for photo in photos]
        return normalise(np.stack(cells).reshape(len(photos), -1) + 1)

    encode_sketches = encode_photos


def alive() -> int:
    """Decoded photos that something still holds."""
    return sum(type(one) is DecodedPhoto for one in gc.get_objects())


class RecordingProgress:
    """Remembers stages and how far each came."""

    def __init__(self) -> None:
        self.stages: list[list[Any]] = []

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        entry: list[Any] = [name, total, 0]
        self.stages.append(entry)

        def advance(steps: int = 1, note: str = "") -> None:
            entry[2] += steps

        yield advance

    def say(self, message: str) -> None:
        raise AssertionError(message)


def _draw(path: Path, seed: int, size: tuple[int, int] = (48, 32)) -> Path:
    cells = np.random.default_rng(seed).integers(0, 256, (GRID, GRID, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(cells).resize(size, Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture(scope="session")
def draw() -> Callable[..., Path]:
    """Draws a picture of random cells to a path."""
    return _draw


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of ten pictures."""
    for number in range(10):
        _draw(tmp_path / "photos" / f"{number:02d}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.create_or_open(tmp_path / "gallery", "grid-1", "cats")


@pytest.fixture(scope="session")
def make_encoder() -> type[GridEncoder]:
    return GridEncoder


@pytest.fixture
def count_alive() -> Callable[[], int]:
    gc.collect()  # of what earlier tests left
    return alive


@pytest.fixture
def progress() -> RecordingProgress:
    return RecordingProgress()
