"""Neighbour re-ranking: a candidate is judged together with the candidates that it resembles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kin import kin_means
from sbka_milvus.search.rerankers.depth import usual_depth
from sbka_milvus.types import ClusterTable, FloatArray, Shortlist


@dataclass(frozen=True, slots=True)
class NeighbourReranker:
    """score(q, x) = (1 - w) s(q, x) + w mean of s(q, y) over x and its reciprocal k nearest neighbours y.

    s is the one-to-many score, and neighbours are sought among the candidates alone. The idea is that of ICFRR
    (arXiv 2303.17703), the mean is that of :mod:`sbka_milvus.kin`. Defaults are those of the ranker of the same form
    (:class:`sbka_milvus.rankers.NeighbourReranker`), which looks at the whole gallery and at no clusters.

    Attributes:
        k: neighbours looked at.
        weight: w, in [0, 1].

    Raises:
        InvalidValue: A number is out of range.
    """

    k: int = 20
    weight: float = 0.8

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidValue(f"k is {self.k}.", "It must be at least 1.")
        if not 0.0 <= self.weight <= 1.0:
            raise InvalidValue(f"weight is {self.weight}.", "It must be between 0 and 1.")

    @property
    def name(self) -> str:
        """``neighbours``."""
        return "neighbours"

    def depth(self, k: int) -> int:
        """max(4 k, 100)."""
        return usual_depth(k)

    def scores(self, query: FloatArray, photos: Shortlist, table: ClusterTable) -> FloatArray:
        """See :class:`~sbka_milvus.protocols.Reranker`. Time goes by the square of the candidates."""
        means = kin_means(photos.scores, photos.vectors, self.k)
        return np.asarray((1.0 - self.weight) * photos.scores + self.weight * means, dtype=np.float32)
