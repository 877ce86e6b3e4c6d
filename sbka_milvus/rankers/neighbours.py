"""Neighbour re-ranking: a photo is judged together with the photos that it resembles; no clusters and no K.

The idea is that of ICFRR (arXiv 2303.17703): similarities inside the gallery mend those across the modalities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.rankers.graph import reciprocal_means
from sbka_milvus.rankers.ranker import (
    Float64Array,
    LinearRanker,
    blended,
    require_at_least,
    require_gallery,
    require_share,
)
from sbka_milvus.types import FloatArray


@dataclass(frozen=True, slots=True)
class NeighbourReranker(LinearRanker):
    """score(q, x) = (1 - w) cos(q, x) + w mean of cos(q, y) over x and its reciprocal k nearest neighbours y.

    Linear in the query: the context of a photo is (1 - w) x + w (mean of those neighbours).

    Attributes:
        k: neighbours looked at.
        weight: w, in [0, 1].
    """

    k: int = 20
    weight: float = 0.8

    def __post_init__(self) -> None:
        require_at_least(self.k, 1, "k")
        require_share(self.weight, "weight")

    @property
    def name(self) -> str:
        """For tables."""
        return f"neighbours k={self.k} w={self.weight:g}"

    def context(self, gallery: FloatArray) -> Float64Array:
        """Photos blended with their neighbours; see :class:`sbka_milvus.rankers.ranker.LinearRanker`.

        Raises:
            InvalidValue: The gallery does not fit.
        """
        require_gallery(gallery)
        return blended(gallery, reciprocal_means(gallery, self.k) @ gallery.astype(np.float64), self.weight)
