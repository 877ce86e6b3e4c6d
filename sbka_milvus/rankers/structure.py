"""How much a clustering says about a gallery: how well apart its clusters are, and whether another start finds them."""

from __future__ import annotations

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.kmeans import member_sums
from sbka_milvus.rankers.ranker import require_gallery
from sbka_milvus.types import FloatArray, IntArray


def silhouette(gallery: FloatArray, assignments: IntArray) -> float:
    """Mean silhouette of the photos, with 1 - cosine as the distance (Rousseeuw 1987).

    s(x) = (b - a) / max(a, b), a: mean distance to the others of its cluster, b: to those of the nearest other cluster;
    0 where x is alone. Mean distances come from the clusters' sums, so the cost is N K D, not N^2 D.

    Args:
        gallery: shape (N, D), float32, unit rows.
        assignments: shape (N,), int64, at least 0; between 2 and N clusters are used.

    Returns:
        In [-1, 1].

    Raises:
        InvalidValue: The shapes do not fit, or there is only one cluster.
    """
    require_gallery(gallery)
    if assignments.shape != (len(gallery),):
        raise InvalidValue(f"Assignments of shape {assignments.shape} do not fit {len(gallery)} photos.")
    used, clusters = np.unique(assignments, return_inverse=True)
    if len(used) < 2:
        raise InvalidValue("One cluster alone has no silhouette.", "Make at least two.")
    wide = gallery.astype(np.float64)
    sums = member_sums(wide, clusters, len(used))
    sizes = np.bincount(clusters).astype(np.float64)
    cosines = wide @ sums.T
    rows = np.arange(len(wide))
    own = sizes[clusters]
    # A photo is as near to itself as can be, which must not count.
    others = (cosines[rows, clusters] - (wide**2).sum(axis=1)) / np.maximum(own - 1.0, 1.0)
    within = 1.0 - others
    distances = 1.0 - cosines / sizes
    distances[rows, clusters] = np.inf
    nearest = distances.min(axis=1)
    scale = np.maximum(np.maximum(within, nearest), 1e-12)
    return float(np.where(own > 1, (nearest - within) / scale, 0.0).mean())


def adjusted_rand(one: IntArray, other: IntArray) -> float:
    """Agreement of two clusterings of the same photos: 1 where they are equal, 0 on average by chance.

    Hubert and Arabie (1985), by counting pairs of photos.

    Args:
        one: shape (N,), int64, at least 0.
        other: shape (N,), int64, at least 0.

    Raises:
        InvalidValue: The shapes differ, or there are fewer than two photos.

    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
    1.0
    """
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise InvalidValue(f"Clusterings of shapes {one.shape} and {other.shape} cannot be compared.")
    first, second = np.unique(one, return_inverse=True)[1], np.unique(other, return_inverse=True)[1]
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1.0)
    together = _pairs(table)
    in_one, in_other = _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    by_chance = in_one * in_other / _pairs(np.array([len(one)]))
    most = (in_one + in_other) / 2.0
    return 1.0 if most == by_chance else float((together - by_chance) / (most - by_chance))


def _pairs(counts: np.ndarray) -> float:
    return float((counts * (counts - 1.0) / 2.0).sum())
