"""What a version must hold: the one place that says which rows the shards of a gallery come to.

Nothing here holds vectors: a photo is its id and the *mark* of its vector, eight projections onto fixed random
directions. Marks of equal vectors are equal but for rounding; vectors that lie d apart have marks about d apart.
48 bytes a photo, so a million photos need 50 MB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.types import FloatArray, IntArray

MARK_TOLERANCE = 2e-4
"""Marks further apart are of other vectors; float32 rounding moves them by a hundredth of that."""

_DIRECTIONS = 8
_SEED = 20_260_101


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedRows:
    """The rows that a version made of some shards must hold.

    Attributes:
        ids: shape (N,), int64, ascending: photo ids.
        marks: shape (N, 8), float32: of the vectors.
        superseded: rows of the shards that later rows of the same photo replace, or that were taken out.
    """

    ids: IntArray
    marks: FloatArray
    superseded: int

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, ids: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Where photos stand, and whether they are there at all.

        Args:
            ids: shape (n,), int64.
        """
        if len(self.ids) == 0:
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1).astype(np.int64)
        return places, np.asarray(self.ids[places] == ids)


class ExpectedCollector:
    """Is given the rows of shards, oldest shard first, and says what a version of them holds."""

    def __init__(self) -> None:
        self._ids: list[IntArray] = []
        self._marks: list[FloatArray] = []
        self._removed = 0

    def add(self, ids: IntArray, marks: FloatArray) -> None:
        """Takes rows.

        Args:
            ids: shape (N,), int64.
            marks: shape (N, 8), float32.
        """
        self._ids.append(ids)
        self._marks.append(marks)

    def remove(self, ids: IntArray) -> None:
        """Takes photos out that were added before.

        Args:
            ids: shape (N,), int64; may name photos that are not there.
        """
        if len(ids):
            self.add(ids, np.full((len(ids), _DIRECTIONS), np.nan, dtype=np.float32))
            self._removed += len(ids)

    def result(self) -> ExpectedRows:
        """Each photo once: its last row counts, unless it was taken out after it."""
        ids = np.concatenate([np.empty(0, dtype=np.int64), *self._ids])
        marks = np.concatenate([np.empty((0, _DIRECTIONS), dtype=np.float32), *self._marks])
        kept, from_end = np.unique(ids[::-1], return_index=True)
        marks = marks[::-1][from_end]
        held = ~np.isnan(marks).all(axis=1)
        return ExpectedRows(kept[held], marks[held], len(ids) - self._removed - int(held.sum()))


def marks_of(vectors: FloatArray) -> FloatArray:
    """Marks of vectors.

    Args:
        vectors: shape (N, D), float32, of any content.

    Returns:
        shape (N, 8), float32.
    """
    directions = np.random.default_rng(_SEED).normal(size=(vectors.shape[1], _DIRECTIONS)).astype(np.float32)
    with np.errstate(all="ignore"):
        return np.asarray(vectors @ directions, dtype=np.float32)


def differ(marks: FloatArray, others: FloatArray) -> NDArray[np.bool_]:
    """Whether marks are of different vectors, row by row; what is not finite differs from everything."""
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.abs(marks - others).max(axis=1, initial=0.0) <= MARK_TOLERANCE))
