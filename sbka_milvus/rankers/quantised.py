"""One-to-many matching as SBKA's authors do it: product quantisation, squared distances to codewords.

Source: the published scripts of SBKA (arXiv 2312.10320) and its relative ClusterRetri (arXiv 2301.06685). The gallery's
dimensions are cut into M sub-spaces of equal width; k-means makes K codewords in each; the *cluster distance* of a
query and a photo is the squared L2 distance from the query to the photo's codewords, summed over the sub-spaces. Their
score, lower is better, is 0.8 x cluster distance + 0.2 x plain (not squared) Euclidean distance; here it is negated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers.ranker import Float64Array, require_at_least, require_pair, require_share
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
    weight: float = 0.8
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
        if self.n_subspaces > gallery.shape[1]:
            raise InvalidValue(
                f"{gallery.shape[1]} dimensions cannot be cut into {self.n_subspaces} sub-spaces.",
                "Choose at most as many as there are dimensions.",
            )
        clusters = np.zeros((len(queries), len(gallery)))
        for columns in np.array_split(np.arange(gallery.shape[1]), self.n_subspaces):
            part = np.ascontiguousarray(gallery[:, columns])
            codewords = fit_centroids(part, min(self.n_clusters, len(part)), spherical=False, seed=self.seed)
            nearest = squared_distances(part, codewords).argmin(axis=1)
            clusters += squared_distances(queries[:, columns], codewords)[:, nearest]
        plain = np.sqrt(squared_distances(queries, gallery))
        return np.asarray(-(self.weight * clusters + (1.0 - self.weight) * plain), dtype=np.float32)


def squared_distances(one: FloatArray, other: FloatArray) -> Float64Array:
    """Squared L2 distance of each pair of rows.

    Args:
        one: shape (A, D).
        other: shape (B, D).

    Returns:
        shape (A, B), float64, never negative.

    >>> squared_distances(np.float32([[0, 0]]), np.float32([[3, 4]])).tolist()
    [[25.0]]
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2.0 * a @ b.T, 0.0))
