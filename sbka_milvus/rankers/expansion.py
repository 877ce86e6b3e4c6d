"""Query expansion: the first hits join the sketch, and the gallery is asked again.

The hits are photos, so the expanded query lies on the photos' side of the modality gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.rankers.ranker import (
    LinearRanker,
    dot_scores,
    rank_positions,
    require_at_least,
    require_pair,
    require_share,
)
from sbka_milvus.types import FloatArray, normalise


@dataclass(frozen=True, slots=True)
class Expanded:
    """Asks again with q' = (1 - w) q + w e, where e is the unit mean of the first hits' context vectors.

    With a fused base a context vector is mostly the centroid of the hit's cluster, so this is expansion over the
    matched clusters; with the plain base it is expansion over the photos.

    Attributes:
        base: what ranks, both times.
        n_hits: how many first hits join; all photos where the gallery is smaller.
        weight: w, in [0, 1].
    """

    base: LinearRanker
    n_hits: int = 10
    weight: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self.n_hits, 1, "n_hits")
        require_share(self.weight, "weight")

    @property
    def name(self) -> str:
        """For tables."""
        return f"expansion by {self.n_hits} w={self.weight:g} of {self.base.name}"

    def scores(self, queries: FloatArray, gallery: FloatArray) -> FloatArray:
        """See :class:`sbka_milvus.rankers.ranker.Ranker`.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        require_pair(queries, gallery)
        context = self.base.context(gallery)
        first = rank_positions(dot_scores(queries, context))[:, : self.n_hits]
        means = context[first].mean(axis=1)
        # Hits that cancel out say nothing: such a query stays as it is.
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        means = np.divide(means, lengths, out=np.zeros_like(means), where=lengths > 1e-9)
        expanded = (1.0 - self.weight) * queries + self.weight * means
        silent = np.linalg.norm(expanded, axis=1) < 1e-9
        expanded[silent] = queries[silent]
        return dot_scores(normalise(expanded), context)
