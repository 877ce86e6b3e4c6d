"""Exact rankings straight from vectors: what an evaluation without a store uses, and what a store is checked against.

Scores are summed in float64 and compared as float32. A matrix product may differ in its last bit from one column to
the next; rounding it away lets equal photos tie, whatever their place, so that rankings do not depend on block sizes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray, require_unit_rows

_SCORES_PER_BLOCK = 4_000_000  # 32 MB of float64 a temporary


def rank_one_to_one(queries: FloatArray, gallery: FloatArray) -> IntArray:
    """The gallery in order of cosine with each query, highest first, ties by index.

    Args:
        queries: shape (Q, D), float32, unit rows.
        gallery: shape (N, D), float32, unit rows.

    Returns:
        shape (Q, N), int64: gallery positions. It takes 8 Q N bytes: pass a part of the queries where that is much.

    Raises:
        InvalidValue: A shape, dtype or norm does not fit.

    >>> rank_one_to_one(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)).tolist()
    [[0, 1], [1, 0]]
    """
    _require_vectors(queries, gallery=gallery)
    return _rank(queries, gallery.astype(np.float64))


def rank_one_to_many(
    queries: FloatArray, gallery: FloatArray, centroids: FloatArray, assignments: IntArray, cluster_weight: float
) -> IntArray:
    """The gallery in order of the fused one-to-many score, highest first, ties by index.

    score(q, x) = w cos(q, c(x)) + (1 - w) cos(q, x), with c(x) the centroid of the photo's cluster.

    Args:
        queries: shape (Q, D), float32, unit rows.
        gallery: shape (N, D), float32, unit rows.
        centroids: shape (K, D), float32, unit rows.
        assignments: shape (N,), integer, in [0, K): the cluster of each photo.
        cluster_weight: w, in [0, 1]; 0 gives the order of :func:`rank_one_to_one`.

    Returns:
        shape (Q, N), int64: gallery positions. It takes 8 Q N bytes: pass a part of the queries where that is much.

    Raises:
        InvalidValue: A shape, dtype, norm, assignment or the weight does not fit.
    """
    _require_vectors(queries, gallery=gallery, centroids=centroids)
    if not 0.0 <= cluster_weight <= 1.0:
        raise InvalidValue(f"cluster_weight is {cluster_weight}.", "It must be between 0 and 1.")
    if assignments.shape != (len(gallery),) or not np.issubdtype(assignments.dtype, np.integer):
        raise InvalidValue(
            f"assignments must be integer of shape ({len(gallery)},), "
            f"not {assignments.dtype} of shape {assignments.shape}."
        )
    if len(assignments) and not (assignments.min() >= 0 and assignments.max() < len(centroids)):
        raise InvalidValue(f"assignments name a cluster that is not one of the {len(centroids)}.")
    # The score is linear in the query, so one blended vector for each photo stands for its cluster and itself.
    blended = (1.0 - cluster_weight) * gallery.astype(np.float64)
    blended += cluster_weight * centroids.astype(np.float64)[assignments]
    return _rank(queries, blended)


def _rank(queries: FloatArray, targets: NDArray[np.float64]) -> IntArray:
    order = np.empty((len(queries), len(targets)), dtype=np.int64)
    block = max(1, _SCORES_PER_BLOCK // max(1, len(targets)))
    for start in range(0, len(queries), block):
        scores = (queries[start : start + block].astype(np.float64) @ targets.T).astype(np.float32)
        order[start : start + block] = np.argsort(-scores, axis=1, kind="stable")
    return order


def _require_vectors(queries: FloatArray, **others: FloatArray) -> None:
    require_unit_rows(queries, "queries")
    for name, vectors in others.items():
        require_unit_rows(vectors, name)
        if vectors.shape[1] != queries.shape[1]:
            raise InvalidValue(
                f"{name} have {vectors.shape[1]} dimensions where queries have {queries.shape[1]}.",
                "Encode sketches and photos with one encoder.",
            )
