"""Batches of sketches and photos in a fixed ratio (the paper: 70 sketches and 140 photos)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from sbka_milvus.errors import TrainingError
from sbka_milvus.training.balanced_sampler import BalancedSampler
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.types import IntArray


def make_sampler(
    sketch_labels: IntArray, photo_labels: IntArray, options: TrainingOptions, team: Team
) -> RatioSampler | BalancedSampler:
    """The sampler that the options ask for; its batches are raised so that the team can share them evenly.

    Raises:
        TrainingError: There is not enough to draw from.
    """
    batch = (options.sketches_per_batch, options.photos_per_batch)
    if not options.balanced:
        few, many = (team.whole(count) for count in batch)
        return RatioSampler(len(sketch_labels), len(photo_labels), few, many, options.seed)
    step = team.size // math.gcd(team.size, options.balanced)
    few, many = (-(-(count // options.balanced) // step) * step for count in batch)
    return BalancedSampler((sketch_labels, photo_labels), options.balanced, few, many, options.seed)


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

    def epoch(self, done: int = 0) -> Iterator[tuple[IntArray, IntArray]]:
        """Yields (sketch indices, photo indices) of each step; ``done`` steps of the epoch were made before."""
        for _ in range(done, len(self)):
            yield self._draw(0), self._draw(1)

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` needs to draw on from here: the chance that is left and what is still undrawn."""
        # The generator's state has integers of 128 bits, which JSON keeps and tensors do not.
        return {
            "chance": json.dumps(self._rng.bit_generator.state),
            "undrawn": [torch.from_numpy(queue.copy()) for queue in self._queues],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from where :meth:`state` was taken."""
        self._rng.bit_generator.state = json.loads(state["chance"])
        self._queues = [queue.numpy().copy() for queue in state["undrawn"]]

    def _draw(self, modality: int) -> IntArray:
        while len(self._queues[modality]) < self._batch[modality]:
            fresh = self._rng.permutation(self._sizes[modality]).astype(np.int64)
            self._queues[modality] = np.concatenate([self._queues[modality], fresh])
        taken, self._queues[modality] = np.split(self._queues[modality], [self._batch[modality]])
        return taken
