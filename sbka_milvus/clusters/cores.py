"""Work on many rows, shared among the cores by threads that sleep when they have nothing to do.

The threads of OpenMP wait for more work busily, for milliseconds: what comes after a parallel call, such as an answer
of Milvus Lite in the same process, is held up by them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Lock
from typing import TypeVar

import numpy as np

from sbka_milvus.types import IntArray

T = TypeVar("T")

_LEAST = 16_384
"""Rows from which another thread pays."""


class _Threads:
    """Of this process: a forked one has none of those of the process that it comes from, whose lock may be held."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._count = 0

    def pool(self, count: int) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._count != count:
                # One that is at work for another thread is left to that.
                self._pool, self._count = ThreadPoolExecutor(count, "sbka-codes"), count
            return self._pool


_threads = _Threads()
os.register_at_fork(after_in_child=_threads.__init__)  # type: ignore[misc]


def shared(work: Callable[[slice], T], rows: IntArray) -> list[T]:
    """What ``work`` makes of some items that lie beside each other, for all items, in their order.

    Args:
        work: what is done with some items by one core; it lets go of the interpreter, as faiss does.
        rows: shape (n,), int64: how much each item is. None of them: no work.
    """
    if len(rows) == 0:
        return []
    ends = np.cumsum(rows)
    n_cores = 1 if ends[-1] < _LEAST else _cores()
    if n_cores == 1 or len(rows) == 1:
        return [_alone(work, slice(0, len(rows)))]
    places = np.searchsorted(ends, ends[-1] * np.arange(1, n_cores) / n_cores) + 1
    bounds = [0, *np.minimum(places, len(rows)).tolist(), len(rows)]
    parts = [slice(start, end) for start, end in pairwise(bounds) if start < end]
    # This thread has its part too: a core that it waited on would have been the nearest for another one to wake up on.
    others = [_threads.pool(n_cores - 1).submit(_alone, work, part) for part in parts[1:]]
    return [_alone(work, parts[0]), *(other.result() for other in others)]


def _cores() -> int:
    import faiss

    return int(faiss.omp_get_max_threads())


def _alone(work: Callable[[slice], T], part: slice) -> T:
    """By one core; what the thread was told to compute on it keeps to afterwards."""
    import faiss

    before = faiss.omp_get_max_threads()
    if before == 1:
        return work(part)
    faiss.omp_set_num_threads(1)
    try:
        return work(part)
    finally:
        faiss.omp_set_num_threads(before)
