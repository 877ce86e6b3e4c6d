"""One-to-one matching: the cosine of the sketch and the photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.rankers.ranker import Float64Array, LinearRanker, require_gallery
from sbka_milvus.types import FloatArray


@dataclass(frozen=True, slots=True)
class Plain(LinearRanker):
    """score(q, x) = cos(q, x).

    >>> Plain().scores(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    @property
    def name(self) -> str:
        """For tables."""
        return "one-to-one"

    def context(self, gallery: FloatArray) -> Float64Array:
        """The photos themselves; see :class:`sbka_milvus.rankers.ranker.LinearRanker`.

        Raises:
            InvalidValue: The gallery does not fit.
        """
        require_gallery(gallery)
        return gallery.astype(np.float64)
