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

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.encoders.manifest import MANIFEST_FILE, Manifest
from sbka_milvus.encoders.statistics import ModelStatistics, write_statistics
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


class Pictures:
    """Vectors of photos and sketches of six kinds; photos lie on one side, sketches on another.

    Args:
        seed: of the kinds and sides.
        dim: length of a vector.
    """

    n_kinds = 6

    def __init__(self, seed: int = 0, dim: int = 16) -> None:
        self._rng = np.random.default_rng(seed)
        self.dim = dim
        self._centres = self._rng.normal(size=(self.n_kinds, dim)) / 2
        self._sides = self._rng.normal(size=(2, dim)) / 2

    def photos(self, n: int) -> FloatArray:
        return self._near(n, 0)

    def sketches(self, n: int) -> FloatArray:
        return self._near(n, 1)

    def give_bundle(self, gallery: Gallery) -> None:
        """A manifest, which is all that indexing reads of a bundle beside its statistics."""
        manifest = Manifest(
            name="none",
            backbone="none",
            preprocessing={},
            dim=self.dim,
            fingerprint=gallery.fingerprint,
            weights_digest="",
        )
        gallery.model_folder.mkdir(parents=True, exist_ok=True)
        (gallery.model_folder / MANIFEST_FILE).write_text(manifest.model_dump_json())

    def teach(self, gallery: Gallery, n: int = 40) -> None:
        """The gallery's model knows sketches from now on."""
        self.give_bundle(gallery)
        write_statistics(gallery.model_folder, ModelStatistics(self.sketches(n), self.photos(n)))

    def add(self, gallery: Gallery, n: int, name: str = "p") -> FloatArray:
        """A shard of photos in folders of their kinds, named in the order in which they are indexed."""
        vectors = self.photos(n)
        kinds = [f"/{name}/kind{number % self.n_kinds}/{number:04d}.jpg" for number in range(n)]
        order = np.argsort(kinds)
        numbers = np.arange(n, dtype=np.int64)
        records = PhotoRecords(
            tuple(kinds[row] for row in order),
            tuple(kinds[row] for row in order),
            numbers,
            numbers,
            numbers,
            numbers,
            vectors[order],
        )
        write_shard(gallery.shard_folder, records, gallery.fingerprint)
        return vectors[order]

    def _near(self, n: int, side: int) -> FloatArray:
        centres = self._centres[np.arange(n) % self.n_kinds]
        return normalise(centres + self._sides[side] + self._rng.normal(size=centres.shape) / 4)


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


@pytest.fixture
def pictures() -> Pictures:
    return Pictures()


@pytest.fixture(scope="session")
def make_pictures() -> type[Pictures]:
    return Pictures


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
