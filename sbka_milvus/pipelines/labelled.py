"""Labelled pictures, encoded: what evaluations rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbka_milvus.errors import DatasetError, ImageError
from sbka_milvus.images import LabelledImage, load_photo, load_sketch
from sbka_milvus.memory import keeping_freed_memory
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.types import FloatArray

_BATCH = 64


@dataclass(frozen=True, slots=True)
class LabelledVectors:
    """Encoded pictures with their categories.

    Attributes:
        vectors: shape (N, D), float32, unit rows.
        categories: N names.
        paths: N files.
        notes: what could not be used.
    """

    vectors: FloatArray
    categories: tuple[str, ...]
    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def encode_images(
    images: Sequence[LabelledImage], encoder: Encoder, *, sketches: bool, size: int, progress: Progress
) -> LabelledVectors:
    """Encodes labelled pictures; those that cannot be used are left out and named in the notes.

    Args:
        images: the pictures.
        encoder: what encodes them.
        sketches: whether they are sketches, or photos.
        size: side in pixels of the encoder's input: sketches are normalised to it, and photos decoded for it as ingest
            does.
        progress: what shows how far it is.

    Raises:
        DatasetError: None can be used.
    """
    vectors: list[FloatArray] = []
    used: list[LabelledImage] = []
    notes: list[str] = []
    stage = progress.stage(f"Encoding {'sketches' if sketches else 'photos'}", len(images), "images")
    with keeping_freed_memory(), stage as advance:
        for start in range(0, len(images), _BATCH):
            chunk = images[start : start + _BATCH]
            pictures = []
            for image in chunk:
                try:
                    pictures.append(
                        load_sketch(image.path, size=size) if sketches else load_photo(image.path, target_size=size)
                    )
                    used.append(image)
                except ImageError as error:
                    notes.append(f"Left out: {error.problem}")
            if pictures:
                vectors.append(encoder.encode_sketches(pictures) if sketches else encoder.encode_photos(pictures))
            advance(len(chunk))
    if not used:
        raise DatasetError(f"None of the {len(images)} pictures can be used.", notes[0] if notes else "Give some.")
    return LabelledVectors(
        np.concatenate(vectors), tuple(i.category for i in used), tuple(i.path for i in used), tuple(notes)
    )
