"""One-to-many matching: a photo's score is that of its cluster and its own, fused.

One clustering is a coarse and partly accidental cut of the gallery. Averaging the cluster scores of several, or letting
a photo belong to several clusters of one, makes the cut soft. All of it is linear in the query: each photo gets one
context vector, w (mean of its centroids) + (1 - w) (itself).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.rankers.ranker import (
    Float64Array,
    LinearRanker,
    blended,
    nearest_centroids,
    require_at_least,
    require_gallery,
    require_share,
)
from sbka_milvus.types import FloatArray

DEFAULT_WEIGHT = 0.8


@dataclass(frozen=True, slots=True)
class Fused(LinearRanker):
    """score(q, x) = w mean over clusterings of cos(q, centroid of x) + (1 - w) cos(q, x).

    Attributes:
        n_clusters: K of each clustering; as many as there are photos where the gallery is smaller.
        weight: w, in [0, 1]; 0 is plain ranking.
        n_clusterings: how many clusterings, which differ by the seed of their starts.
        temperature: 0 gives each photo to its nearest centroid; above 0 it belongs to all, in the measure of
            softmax(cos(x, centroid) / temperature).
        seed: of the first clustering; the others follow.
    """

    n_clusters: int
    weight: float = DEFAULT_WEIGHT
    n_clusterings: int = 1
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self.n_clusters, 1, "n_clusters")
        require_at_least(self.n_clusterings, 1, "n_clusterings")
        require_at_least(self.temperature, 0.0, "temperature")
        require_share(self.weight, "weight")

    @property
    def name(self) -> str:
        """For tables."""
        several = f" x{self.n_clusterings}" if self.n_clusterings > 1 else ""
        soft = f" soft {self.temperature:g}" if self.temperature else ""
        return f"one-to-many K={self.n_clusters}{several}{soft} w={self.weight:g}"

    def context(self, gallery: FloatArray) -> Float64Array:
        """Blends of photos and centroids; see :class:`sbka_milvus.rankers.ranker.LinearRanker`.

        Raises:
            InvalidValue: The gallery does not fit.
        """
        require_gallery(gallery)
        if self.weight == 0.0:
            return gallery.astype(np.float64)
        kin = np.zeros(gallery.shape)
        for centroids in self.tables(gallery):
            kin += memberships(gallery, centroids, self.temperature)
        return blended(gallery, kin / self.n_clusterings, self.weight)

    def tables(self, gallery: FloatArray) -> Iterator[FloatArray]:
        """The centroids of each clustering, one after another.

        Args:
            gallery: shape (N, D), float32, unit rows, N at least 1.

        Returns:
            ``n_clusterings`` arrays of shape (min(K, N), D), float32, unit rows.
        """
        # Unlike starts make unlike clusterings only where each has few of them: the best of many is the same one.
        restarts = None if self.n_clusterings == 1 else 1
        for number in range(self.n_clusterings):
            yield fit_centroids(
                gallery, min(self.n_clusters, len(gallery)), seed=self.seed + number, n_restarts=restarts
            )


def memberships(gallery: FloatArray, centroids: FloatArray, temperature: float = 0.0) -> Float64Array:
    """What stands for each photo's cluster: its nearest centroid, or the softmax mean of all.

    Args:
        gallery: shape (N, D), float32, unit rows.
        centroids: shape (K, D), float32, unit rows.
        temperature: 0, or that of the softmax over cosines.

    Returns:
        shape (N, D), float64.

    >>> two = np.eye(2, dtype=np.float32)
    >>> memberships(two[:1], two).tolist(), memberships(two[:1], two, 1.0).round(2).tolist()
    ([[1.0, 0.0]], [[0.73, 0.27]])
    """
    if temperature == 0.0:
        return np.asarray(centroids[nearest_centroids(gallery, centroids)], dtype=np.float64)
    cosines = gallery.astype(np.float64) @ centroids.astype(np.float64).T
    shares = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares @ centroids.astype(np.float64))
