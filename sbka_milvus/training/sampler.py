"""Batches of sketches and photos in a fixed ratio (the paper: 70 sketches and 140 photos)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sbka_milvus.errors import TrainingError
from sbka_milvus.types import IntArray


class RatioSampler:
    """Draws index batches; an epoch passes once over whichever modality lasts longer, and the other goes round again.

    Neither modality repeats a picture before all its others were drawn.
    """

    def __init__(
        self, n_sketches: int, n_photos: int, sketches_per_batch: int, photos_per_batch: int, seed: int
    ) -> None:
        """Starts with all pictures undrawn.

        Raises:
            TrainingError: A modality has no pictures.
        """
        if min(n_sketches, n_photos) < 1:
            raise TrainingError(
                f"There are {n_sketches} sketches and {n_photos} photos to train on.", "At least one of each is needed."
            )
        self._rng = np.random.default_rng(seed)
        self._sizes = (n_sketches, n_photos)
        self._batch = (sketches_per_batch, photos_per_batch)
        self._queues: list[IntArray] = [np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)]

    def __len__(self) -> int:
        """Steps in an epoch."""
        return max(-(-size // batch) for size, batch in zip(self._sizes, self._batch, strict=True))

    def epoch(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Yields (sketch indices, photo indices) of each step."""
        for _ in range(len(self)):
            yield self._draw(0), self._draw(1)

    def _draw(self, modality: int) -> IntArray:
        while len(self._queues[modality]) < self._batch[modality]:
            fresh = self._rng.permutation(self._sizes[modality]).astype(np.int64)
            self._queues[modality] = np.concatenate([self._queues[modality], fresh])
        taken, self._queues[modality] = np.split(self._queues[modality], [self._batch[modality]])
        return taken
