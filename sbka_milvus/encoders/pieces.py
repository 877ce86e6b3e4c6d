"""How a batch is cut for the cores of a CPU: in small pieces, each encoded by one core, or whole by all of them.

Cores that share every layer wait for one another at the end of each, and a large batch's activations do not fit the
caches. A small piece that one core encodes alone does, which convolutional networks gain by; on a machine of more cores
than there are pieces, whole batches may be faster. Which pays is seen on the work itself: the first
batches are cut in one way after the other, and the fastest one stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TypeVar

import torch
from PIL import Image

WHOLE = 0
SIZES: tuple[int, ...] = (WHOLE, 4, 8)
"""Pictures of a piece; the ways that are tried, in turns."""
TRIES = 2
"""Batches that each way is judged by, the fastest of them."""
LEAST = 16
"""Batches of fewer pictures tell nothing, and are encoded whole until it is known what pays."""

Batch = TypeVar("Batch", torch.Tensor, Sequence[Image.Image])


class Pieces:
    """Does what is to be done with batches, cut as it pays. Threads may share it.

    Args:
        clock: seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._times: dict[int, list[float]] = {size: [] for size in SIZES}
        self._size: int | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    @property
    def size(self) -> int | None:
        """Pictures of a piece, :data:`WHOLE`, or none while it is not known which is the fastest."""
        return self._size

    def run(self, work: Callable[[Batch], torch.Tensor], batch: Batch, size: int | None = None) -> torch.Tensor:
        """``work(batch)``.

        Args:
            work: what is done with any number of pictures, from which a row each comes; threads call it at once, each
                in inference mode.
            batch: at least one picture.
            size: pictures of a piece, or :data:`WHOLE`; by default what pays, which is found out on the way.
        """
        if size is None:
            size = self._size
        if size is not None:
            return self._cut(work, batch, size)
        if len(batch) < LEAST:
            return self._cut(work, batch, WHOLE)
        size = min(SIZES, key=lambda one: len(self._times[one]))
        start = self._clock()
        found = self._cut(work, batch, size)
        with self._lock:
            self._times[size].append((self._clock() - start) / len(batch))
            # The first of each builds what the others find built.
            if self._size is None and all(len(times) > TRIES for times in self._times.values()):
                self._size = min(SIZES, key=lambda one: min(self._times[one][1:]))
        return found

    def _cut(self, work: Callable[[Batch], torch.Tensor], batch: Batch, size: int) -> torch.Tensor:
        if size == WHOLE or len(batch) <= size:
            return _inferred(work, batch)
        pieces = [batch[start : start + size] for start in range(0, len(batch), size)]
        if torch.get_num_threads() == 1:
            return torch.cat([_inferred(work, piece) for piece in pieces])
        return torch.cat(list(self._threads().map(lambda piece: _inferred(work, piece), pieces)))

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                cores = torch.get_num_threads()
                pool = ThreadPoolExecutor(cores, "sbka-encode", initializer=_be_one_core)
                # All are started at once: what one says of itself torch takes for what any new thread is to do.
                all_there = Barrier(cores)
                list(pool.map(lambda _: all_there.wait(), range(cores)))
                torch.set_num_threads(cores)
                self._pool = pool
            return self._pool


def _be_one_core() -> None:
    torch.set_num_threads(1)
    # A thread that was not asked yet would take the number of all for its own.
    torch.get_num_threads()


def _inferred(work: Callable[[Batch], torch.Tensor], batch: Batch) -> torch.Tensor:
    # Inference mode is a matter of each thread.
    with torch.inference_mode():
        return work(batch)
