"""k-means (faiss): the centroids of any vectors, on the sphere or in the plain Euclidean sense."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray, normalise

_ITERATIONS = 25
_MOST_RESTARTS = 10
_RESTART_BUDGET = 2e10  # multiplications, less than a second on two cores; a large gallery gets a single start
_MAX_POINTS_PER_CENTROID = 1024
_LARGE = 100_000
"""Vectors above which the centroids are those of a sample: k-means over a million would take most of an hour ..."""
_POINTS_OF_A_SAMPLE = 256
"""... of so many a centroid, drawn by the seed, which faiss recommends at most."""


def fit_centroids(
    vectors: NDArray[Any], n_clusters: int, *, spherical: bool = True, seed: int = 0, n_restarts: int | None = None
) -> FloatArray:
    """The centroids of k-means; of a sample of the vectors where there are more than 100,000.

    Centroids to which no vector is nearest may be among them.

    Args:
        vectors: shape (N, D), any float dtype; unit rows where ``spherical``.
        n_clusters: K, between 1 and N.
        spherical: whether centroids are unit vectors and nearness is the cosine, or nearness is the L2 distance.
        seed: of the starts.
        n_restarts: how many starts, of which the tightest is kept; as many as are cheap by default.

    Returns:
        shape (K, D), float32; unit rows where ``spherical``.

    Raises:
        InvalidValue: There are no vectors, or fewer than clusters, or no start.
    """
    if vectors.ndim != 2 or not 1 <= n_clusters <= len(vectors):
        raise InvalidValue(
            f"{n_clusters} clusters cannot be made of vectors of shape {vectors.shape}.",
            "Choose between 1 and as many as there are vectors.",
        )
    if n_restarts is not None and n_restarts < 1:
        raise InvalidValue(f"n_restarts is {n_restarts}.", "k-means needs at least one start.")
    import faiss

    kmeans = faiss.Kmeans(
        vectors.shape[1],
        n_clusters,
        niter=_ITERATIONS,
        nredo=n_restarts or restarts(len(vectors), n_clusters, vectors.shape[1]),
        spherical=spherical,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=_POINTS_OF_A_SAMPLE if len(vectors) > _LARGE else _MAX_POINTS_PER_CENTROID,
    )
    kmeans.train(np.ascontiguousarray(vectors, dtype=np.float32))
    centroids = np.array(kmeans.centroids)
    if not spherical:
        return centroids
    # Vectors that point in opposite directions have a mean of zero, which is no direction: one of them stands for it.
    centroids[np.linalg.norm(centroids, axis=1) == 0] = vectors[0]
    return normalise(centroids)


def restarts(n_vectors: int, n_clusters: int, dim: int) -> int:
    """How often k-means starts anew, to keep the tightest clusters: as often as is cheap, at most ten times.

    One start leaves much to chance in a small gallery.

    >>> restarts(625, 31, 1280), restarts(100_000, 395, 512)
    (10, 1)
    """
    multiplications = n_vectors * n_clusters * dim * _ITERATIONS
    return int(max(1, min(_MOST_RESTARTS, _RESTART_BUDGET // multiplications)))


def member_sums(vectors: NDArray[Any], clusters: IntArray, n_clusters: int) -> NDArray[np.float64]:
    """The sum of the members of each cluster; zeros where there are none.

    Args:
        vectors: shape (N, D), any float dtype.
        clusters: shape (N,), int64: the cluster of each, from 0 up to ``n_clusters`` - 1.
        n_clusters: K.

    Returns:
        shape (K, D), float64.
    """
    sums = np.zeros((n_clusters, vectors.shape[1]))
    order = np.argsort(clusters, kind="stable")
    # Cluster by cluster: `np.add.at` takes ten times as long.
    for rows in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
        if len(rows):
            sums[clusters[rows[0]]] = vectors[rows].sum(axis=0, dtype=np.float64)
    return sums
