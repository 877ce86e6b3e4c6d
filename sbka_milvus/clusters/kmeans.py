"""A gallery clustered: centroids are unit vectors, nearness is the cosine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from sbka_milvus.clusters.balance import reseed_empty
from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import fit_centroids
from sbka_milvus.types import Clustering, ClusterTable, Embeddings, FloatArray, IntArray, require_unit_rows

N_EXEMPLARS = 4
_ROWS_PER_BLOCK = 65_536
_SCORES_PER_BLOCK = 16_777_216  # 64 MB of float32
_ROUNDING = 1e-6
_RESEEDS = 8
"""A centroid that is moved may take the last photo of another one."""


def fit_clusters(embeddings: Embeddings, n_clusters: int, *, seed: int = 0) -> Clustering:
    """Clusters a gallery. No cluster is empty.

    A centroid to which no photo is nearest is put on the photo that lies farthest from its own; it is left out where
    all photos lie on theirs.

    Args:
        embeddings: N photos.
        n_clusters: wanted number of clusters, at most N; fewer come back where photos coincide.
        seed: of the k-means.

    Raises:
        InvalidValue: There are no photos, or fewer than clusters.
    """
    if not 1 <= n_clusters <= len(embeddings):
        raise InvalidValue(
            f"{n_clusters} clusters cannot be made of {len(embeddings)} photos.",
            f"Choose between 1 and {len(embeddings)}.",
        )
    centroids = fit_centroids(embeddings.vectors, n_clusters, seed=seed)
    assignments = assign_clusters(embeddings.vectors, centroids)
    for _ in range(_RESEEDS):
        seeded = reseed_empty(embeddings.vectors, centroids, assignments)
        if seeded is centroids:
            break
        centroids, assignments = seeded, assign_clusters(embeddings.vectors, seeded)
    used, assignments = np.unique(assignments, return_inverse=True)
    return describe_clusters(embeddings, centroids[used], assignments.astype(np.int64))


def assign_clusters(vectors: FloatArray, centroids: FloatArray) -> IntArray:
    """The nearest centroid of each vector by cosine; the lowest id where several are equally near, up to rounding.

    So a vector goes to the same centroid in whichever company it comes.

    Args:
        vectors: shape (N, D), float32, unit rows.
        centroids: shape (K, D), float32, unit rows.

    Returns:
        shape (N,), int64.

    Raises:
        InvalidValue: The shapes do not fit, or rows are not unit vectors.
    """
    require_unit_rows(vectors, "vectors")
    require_unit_rows(centroids, "centroids")
    if vectors.shape[1] != centroids.shape[1] or len(centroids) == 0:
        raise InvalidValue(f"Vectors of shape {vectors.shape} do not fit centroids of shape {centroids.shape}.")
    step = max(1, _SCORES_PER_BLOCK // len(centroids))
    blocks = [_first_best(vectors[start : start + step] @ centroids.T) for start in range(0, len(vectors), step)]
    return np.concatenate(blocks).astype(np.int64) if blocks else np.empty(0, dtype=np.int64)


def describe_clusters(embeddings: Embeddings, centroids: FloatArray, assignments: IntArray) -> Clustering:
    """Sizes, radii and exemplars of clusters whose centroids and members are known; a cluster may have none.

    Args:
        embeddings: N photos.
        centroids: shape (K, D), float32, unit rows.
        assignments: shape (N,), int64: the cluster of each photo.
    """
    cosines = np.empty(len(embeddings), dtype=np.float32)
    for start in range(0, len(embeddings), _ROWS_PER_BLOCK):
        block = slice(start, start + _ROWS_PER_BLOCK)  # the centroids of all photos would be a second gallery in memory
        cosines[block] = np.einsum("nd,nd->n", embeddings.vectors[block], centroids[assignments[block]])
    angles = np.arccos(np.clip(cosines, -1.0, 1.0)).astype(np.float32)
    radii = np.zeros(len(centroids), dtype=np.float32)
    np.maximum.at(radii, assignments, angles)
    table = ClusterTable(
        centroids=centroids,
        sizes=np.bincount(assignments, minlength=len(centroids)).astype(np.int64),
        radii=radii,
        exemplars=_exemplars(embeddings.uris, assignments, angles, len(centroids)),
    )
    return Clustering(table, assignments)


def _first_best(scores: FloatArray) -> IntArray:
    """For each row the first column whose score is the highest up to rounding, which depends on the block's shape."""
    return np.asarray(np.argmax(scores >= scores.max(axis=1, keepdims=True) - _ROUNDING, axis=1), dtype=np.int64)


def _exemplars(
    uris: Sequence[str], assignments: IntArray, angles: FloatArray, n_clusters: int
) -> tuple[tuple[str, ...], ...]:
    order = np.lexsort((angles, assignments))
    starts = np.searchsorted(assignments[order], np.arange(n_clusters + 1))
    return tuple(
        tuple(uris[index] for index in order[start : min(start + N_EXEMPLARS, end)])
        for start, end in itertools.pairwise(starts)
    )
