"""Fine codes: what the codes of photos lost, in two bytes a dimension more; little of a float32 is lost then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.types import FloatArray, IntArray

ROUNDING = 2e-6
"""What float32 sums of a few thousand products may be wrong by, at lengths of 1."""
DTYPE = np.dtype("<u2")
_MOST = 65_535
_SMALLEST = np.float32(1e-12)
"""A step, where all codes of a dimension are the same."""


@dataclass(frozen=True, slots=True)
class FineCodes:
    """Of N photos, in the order of their ids.

    Attributes:
        ids: shape (N,), int64, ascending.
        rows: shape (N, D), uint16, little-endian: 0 to 65,535 for what was lost, from half a step too little to half a
            step too much.
        errors: shape (N,), float32: the length of what is lost still.
        steps: shape (D,), float32: of the codes.
    """

    ids: IntArray
    rows: NDArray[np.uint16]
    errors: FloatArray
    steps: FloatArray

    @classmethod
    def empty(cls, ids: IntArray, steps: FloatArray) -> FineCodes:
        """Of photos with these ids, which :meth:`put` fills.

        Args:
            ids: shape (N,), int64, distinct, in any order.
            steps: shape (D,), float32.
        """
        rows = np.zeros((len(ids), len(steps)), dtype=DTYPE)
        return cls(np.sort(ids), rows, np.zeros(len(ids), dtype=np.float32), steps)

    def put(self, ids: IntArray, lost: FloatArray) -> IntArray:
        """Codes what some photos lost.

        Args:
            ids: shape (n,), int64.
            lost: shape (n, D), float32.

        Returns:
            Their rows, shape (n,), int64.
        """
        steps = np.maximum(self.steps, _SMALLEST)
        rows = np.clip(np.rint((lost / steps + 0.5) * _MOST), 0, _MOST).astype(DTYPE)
        left = lost - (rows.astype(np.float32) / _MOST - np.float32(0.5)) * steps
        at = np.searchsorted(self.ids, ids)
        self.rows[at] = rows
        self.errors[at] = np.sqrt(np.einsum("nd,nd->n", left, left)) + np.float32(ROUNDING)
        return at

    def finer(self, query: FloatArray, ids: IntArray, cosines: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`~sbka_milvus.clusters.codes.ClusterCodes.finer`."""
        at = np.searchsorted(self.ids, ids)
        weights = query * np.maximum(self.steps, _SMALLEST)
        lost = np.vecdot(self.rows[at].astype(np.float32), weights / _MOST) - weights.sum() / 2
        return np.asarray(cosines + lost, dtype=np.float32), self.errors[at]
