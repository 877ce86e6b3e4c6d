"""One-to-many matching as SBKA's authors do it: product quantisation, squared distances to codewords.

The gallery's dimensions are cut into M sub-spaces of equal width; k-means makes K codewords in each. The score and its
source: :mod:`sbka_milvus.subspaces`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers.ranker import require_at_least, require_pair, require_share
from sbka_milvus.subspaces import PAPER_WEIGHT, cut, quantised_scores
from sbka_milvus.types import FloatArray


@dataclass(frozen=True, slots=True)
class Quantised:
    """score(q, x) = -(w sum over m of |q_m - codeword_m(x)|^2 + (1 - w) |q - x|).

    Attributes:
        n_subspaces: M; their widths differ by one where M does not divide the vectors' width.
        n_clusters: K codewords in each sub-space; as many as photos where the gallery is smaller.
        weight: w, in [0, 1]; the paper's is 0.8.
        seed: of k-means.
    """

    n_subspaces: int
    n_clusters: int
    weight: float = PAPER_WEIGHT
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self.n_subspaces, 1, "n_subspaces")
        require_at_least(self.n_clusters, 1, "n_clusters")
        require_share(self.weight, "weight")

    @property
    def name(self) -> str:
        """For tables."""
        return f"paper's form M={self.n_subspaces} K={self.n_clusters} w={self.weight:g}"

    def scores(self, queries: FloatArray, gallery: FloatArray) -> FloatArray:
        """See :class:`sbka_milvus.rankers.ranker.Ranker`.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit, or there are more sub-spaces than dimensions.
        """
        require_pair(queries, gallery)
        codebooks = [
            fit_centroids(part, min(self.n_clusters, len(part)), spherical=False, seed=self.seed)
            for part in cut(gallery, self.n_subspaces)
        ]
        return quantised_scores(queries, gallery, codebooks, self.weight)
