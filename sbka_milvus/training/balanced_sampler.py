"""Batches in which as many pictures of one category stand as of any other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from sbka_milvus.errors import TrainingError
from sbka_milvus.types import IntArray


class BalancedSampler:
    """Draws categories, then some sketches and some photos of each.

    No category repeats before all others were drawn, and no picture of a category before all others of it. An epoch has
    as many steps as one of :class:`~sbka_milvus.training.sampler.RatioSampler`, so it shows as many pictures, though
    not each of them where categories are of different sizes.
    """

    def __init__(self, labels: Sequence[IntArray], categories: int, sketches: int, photos: int, seed: int) -> None:
        """Starts with all pictures undrawn.

        Args:
            labels: the category of each sketch, and that of each photo.
            categories: in a batch.
            sketches: of each of them in a batch.
            photos: of each of them in a batch.
            seed: of the order.

        Raises:
            TrainingError: There are fewer categories than a batch needs, or one lacks sketches or photos.
        """
        present = [np.unique(one) for one in labels]
        if not all(np.array_equal(one, present[0]) for one in present) or len(present[0]) < categories:
            both = np.intersect1d(present[0], present[1])
            raise TrainingError(
                f"A balanced batch needs {categories} categories with both sketches and photos; there are {len(both)}.",
                "Lower --balanced.",
            )
        self._rng = np.random.default_rng(seed)
        self._sizes = [len(one) for one in labels]
        self._each = (sketches, photos)
        self._members = [[np.flatnonzero(one == category) for category in present[0]] for one in labels]
        self._categories = categories
        # Of the categories, then of the sketches of each, then of the photos of each.
        self._queues: list[IntArray] = [np.empty(0, dtype=np.int64) for _ in range(1 + 2 * len(present[0]))]

    def __len__(self) -> int:
        """Steps in an epoch."""
        return max(-(-size // (each * self._categories)) for size, each in zip(self._sizes, self._each, strict=True))

    def epoch(self, done: int = 0) -> Iterator[tuple[IntArray, IntArray]]:
        """Yields (sketch indices, photo indices) of a step, category by category; ``done`` were made before."""
        count = len(self._members[0])
        for _ in range(done, len(self)):
            chosen = self._draw(0, np.arange(count), self._categories)
            yield tuple(  # type: ignore[misc]
                np.concatenate(
                    [
                        self._draw(1 + modality * count + category, self._members[modality][category], each)
                        for category in chosen.tolist()
                    ]
                )
                for modality, each in enumerate(self._each)
            )

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` needs to draw on from here."""
        return {
            "chance": json.dumps(self._rng.bit_generator.state),
            "undrawn": torch.from_numpy(np.concatenate(self._queues)),
            "lengths": [len(queue) for queue in self._queues],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from where :meth:`state` was taken."""
        self._rng.bit_generator.state = json.loads(state["chance"])
        ends = np.cumsum(state["lengths"])[:-1]
        self._queues = [queue.copy() for queue in np.split(state["undrawn"].numpy(), ends)]

    def _draw(self, number: int, whole: IntArray, count: int) -> IntArray:
        """The next ``count`` of a round, none of them twice unless the round is shorter."""
        queue = self._queues[number]
        while len(queue) < count:
            fresh = self._rng.permutation(whole).astype(np.int64)
            if len(queue) > 0:
                # What is still to come of the old round would stand twice in this batch: it goes to the end.
                fresh = np.concatenate([fresh[~np.isin(fresh, queue)], fresh[np.isin(fresh, queue)]])
            queue = np.concatenate([queue, fresh])
        taken, self._queues[number] = np.split(queue, [count])
        return taken
