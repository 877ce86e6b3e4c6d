"""The one-to-many score of a photo: its cluster's score and its own, fused.

The authors add 0.8 x cluster distance + 0.2 x plain distance, the first squared and the second not (METHOD of
arXiv 2312.10320, published scripts). Here both parts are cosines of unit vectors, on one scale.
"""

from __future__ import annotations

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import Candidates, FloatArray, IntArray

DEFAULT_CLUSTER_WEIGHT = 0.8


def fuse_scores(cluster_scores: FloatArray, member_scores: FloatArray, cluster_weight: float) -> FloatArray:
    """cluster_weight * cluster_scores + (1 - cluster_weight) * member_scores.

    Args:
        cluster_scores: shape (n,), float32: of each photo's cluster.
        member_scores: shape (n,), float32: of each photo.
        cluster_weight: in [0, 1]; 0 is plain one-to-one ranking.

    Returns:
        shape (n,), float32.

    Raises:
        InvalidValue: The weight is outside [0, 1], or the shapes differ.

    >>> fuse_scores(np.float32([0.5]), np.float32([1.0]), 0.8).round(2).tolist()
    [0.6000000238418579]
    """
    if not 0.0 <= cluster_weight <= 1.0:
        raise InvalidValue(f"The cluster weight is {cluster_weight}; it must lie in [0, 1].")
    if cluster_scores.shape != member_scores.shape:
        raise InvalidValue(f"Cluster scores of shape {cluster_scores.shape} do not fit members' {member_scores.shape}.")
    return np.asarray(cluster_weight * cluster_scores + (1.0 - cluster_weight) * member_scores, dtype=np.float32)


def rerank(candidates: Candidates, cluster_scores: FloatArray, cluster_weight: float) -> tuple[IntArray, FloatArray]:
    """Orders candidates by their fused score, highest first, ties by photo id.

    Args:
        candidates: n photos of the probed clusters.
        cluster_scores: shape (K,), float32: of all clusters.
        cluster_weight: see :func:`fuse_scores`.

    Returns:
        Positions in ``candidates``, shape (n,), int64; and their fused scores in that order, shape (n,), float32.
    """
    fused = fuse_scores(cluster_scores[candidates.cluster_ids], candidates.member_scores, cluster_weight)
    order = np.lexsort((candidates.ids, -fused)).astype(np.int64)
    return order, fused[order]
