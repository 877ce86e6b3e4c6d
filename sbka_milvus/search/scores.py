"""How near a sketch is to each cluster, and which clusters to look into."""

from __future__ import annotations

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray, products


def score_clusters(queries: FloatArray, centroids: FloatArray) -> FloatArray:
    """Cosine of each sketch and each centroid.

    Args:
        queries: shape (Q, D), float32, unit rows.
        centroids: shape (K, D), float32, unit rows.

    Returns:
        shape (Q, K), float32.

    Raises:
        InvalidValue: ``queries`` is not of two dimensions, or its vectors are not as long as the centroids.

    >>> score_clusters(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if queries.ndim != 2:
        raise InvalidValue(f"Queries must have the shape (Q, D), not {queries.shape}.", "Pass one row a sketch.")
    if queries.shape[1] != centroids.shape[1]:
        raise InvalidValue(f"Queries of dimension {queries.shape[1]} do not fit centroids of {centroids.shape[1]}.")
    return products(queries, centroids)


def select_probes(cluster_scores: FloatArray, n_probe: int, sizes: IntArray | None = None) -> IntArray:
    """The clusters to look into: those with the highest scores, best first, ties by id.

    Args:
        cluster_scores: shape (K,), float32.
        n_probe: how many, at least 1; all where there are fewer.
        sizes: shape (K,), int64: members of the clusters, those without any being passed over; none: all have some.

    Returns:
        shape (min(n_probe, clusters that have members),), int64.

    Raises:
        InvalidValue: ``n_probe`` is below 1.

    >>> select_probes(np.array([0.1, 0.9, 0.5], dtype=np.float32), 2).tolist()
    [1, 2]
    >>> select_probes(np.array([0.1, 0.9, 0.5], dtype=np.float32), 2, np.array([4, 0, 7])).tolist()
    [2, 0]
    """
    if n_probe < 1:
        raise InvalidValue(f"n_probe is {n_probe}; at least one cluster must be probed.")
    order = np.argsort(-cluster_scores, kind="stable")
    held = order if sizes is None else order[sizes[order] > 0]
    return held[:n_probe].astype(np.int64)
