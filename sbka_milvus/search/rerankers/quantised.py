"""One-to-many matching over sub-codes, as SBKA's authors do it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search.rerankers.depth import usual_depth
from sbka_milvus.subspaces import PAPER_WEIGHT, cut, quantised_scores
from sbka_milvus.types import ClusterTable, FloatArray, Shortlist


@dataclass(frozen=True, slots=True)
class QuantisedReranker:
    """score(q, x) = -(w sum over m of |q_m - codeword_m(x)|^2 + (1 - w) |q - x|): negative, and 0 is the best.

    The score and its source: :mod:`sbka_milvus.subspaces`. The codewords of a sub-space are the parts of the gallery's
    centroids that lie in it, and a photo's is the nearest of them: so they are of the whole gallery, cost no fit, and
    make the cluster that a photo is in the case of M = 1. The authors fit k-means in each sub-space;
    :class:`sbka_milvus.rankers.Quantised` does that, for the whole gallery in memory.

    Attributes:
        n_subspaces: M; the authors try 2 and 4.
        weight: w, in [0, 1]; the authors' is 0.8.

    Raises:
        InvalidValue: A number is out of range.
    """

    n_subspaces: int = 4
    weight: float = PAPER_WEIGHT

    def __post_init__(self) -> None:
        if self.n_subspaces < 1:
            raise InvalidValue(f"n_subspaces is {self.n_subspaces}.", "It must be at least 1.")
        if not 0.0 <= self.weight <= 1.0:
            raise InvalidValue(f"weight is {self.weight}.", "It must be between 0 and 1.")

    @property
    def name(self) -> str:
        """``quantised``."""
        return "quantised"

    def depth(self, k: int) -> int:
        """max(4 k, 100)."""
        return usual_depth(k)

    def scores(self, query: FloatArray, photos: Shortlist, table: ClusterTable) -> FloatArray:
        """See :class:`~sbka_milvus.protocols.Reranker`.

        Raises:
            InvalidValue: There are more sub-spaces than dimensions.
        """
        held = table.sizes > 0
        codebooks = cut(table.centroids[held] if held.any() else table.centroids, self.n_subspaces)
        return quantised_scores(query[np.newaxis], photos.vectors, codebooks, self.weight).reshape(-1)
