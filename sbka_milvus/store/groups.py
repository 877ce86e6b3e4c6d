"""Clusters that lie near one another, put together into groups of about as many photos: the super-clusters.

A search walks all photos of the partitions that it names, so a group should hold what is searched together, and none
should hold much more than the others. k-means over the centroids sees to the first; groups that hold too much are
then halved, and small neighbours joined.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.types import FloatArray, IntArray

MOST_OVER_MEAN = 2.0
"""How many times the mean of the groups one may hold. One cluster alone may hold more: it is never cut."""

_LEFT_FOR_HALVES = 10
"""One in so many of the groups wanted does not come from k-means: halving makes more of them."""

_SEED = 0
_ITERATIONS = 12
_POINTS_OF_A_SAMPLE = 128
"""Centroids a group that k-means looks at, drawn by the seed: it stays within seconds for 100,000 of them."""

_POWER_ITERATIONS = 12


def group_clusters(centroids: FloatArray, sizes: IntArray, n_groups: int) -> IntArray:
    """For each cluster the number of its group, counted from 0 without gaps.

    A group of several clusters holds at most twice the mean of all groups, empty clusters counting as one photo.

    Args:
        centroids: shape (K, D), float32, unit rows.
        sizes: shape (K,), int64: photos of each cluster.
        n_groups: the most groups, below K.

    Returns:
        shape (K,), int64.
    """
    weights = sizes.astype(np.float64) + 1.0
    most = MOST_OVER_MEAN * float(weights.sum()) / n_groups
    first = _near_ones(centroids, n_groups - n_groups // _LEFT_FOR_HALVES)
    order = np.argsort(first, kind="stable")
    parts: list[IntArray] = []
    for members in np.split(order, np.flatnonzero(np.diff(first[order])) + 1):
        parts.extend(_halved(centroids, weights, members, most))
    parts = _more(centroids, weights, parts, n_groups)
    groups = np.empty(len(centroids), dtype=np.int64)
    for number, members in enumerate(_joined(centroids, weights, parts, most, n_groups)):
        groups[members] = number
    return groups


def _near_ones(centroids: FloatArray, n_groups: int) -> IntArray:
    """Spherical k-means of the centroids."""
    import faiss

    kmeans = faiss.Kmeans(
        centroids.shape[1],
        n_groups,
        niter=_ITERATIONS,
        seed=_SEED,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=_POINTS_OF_A_SAMPLE,
    )
    vectors = np.ascontiguousarray(centroids, dtype=np.float32)
    kmeans.train(vectors)
    _, nearest = kmeans.index.search(vectors, 1)
    return np.asarray(nearest[:, 0], dtype=np.int64)


def _halved(centroids: FloatArray, weights: NDArray[np.float64], members: IntArray, most: float) -> list[IntArray]:
    """Clusters in parts that hold at most ``most``, or one cluster each."""
    waiting, done = [members], []
    while waiting:
        part = waiting.pop()
        if len(part) == 1 or weights[part].sum() <= most:
            done.append(part)
        else:
            waiting += _cut(centroids, weights, part)
    return done


def _more(centroids: FloatArray, weights: NDArray[np.float64], parts: list[IntArray], n_groups: int) -> list[IntArray]:
    """The heaviest parts cut in two until there are ``n_groups``."""
    heaviest = [(-float(weights[part].sum()), number) for number, part in enumerate(parts) if len(part) > 1]
    heapify(heaviest)
    cut = list(parts)
    while heaviest and len(cut) < n_groups:
        _, number = heappop(heaviest)
        cut[number], other = _cut(centroids, weights, cut[number])
        cut.append(other)
        for new in (number, len(cut) - 1):
            if len(cut[new]) > 1:
                heappush(heaviest, (-float(weights[cut[new]].sum()), new))
    return cut


def _cut(centroids: FloatArray, weights: NDArray[np.float64], part: IntArray) -> list[IntArray]:
    """Two or more clusters in two parts of about as many photos, across the direction in which they differ most."""
    along = part[np.argsort(_longest_way(centroids[part]), kind="stable")]
    held = np.cumsum(weights[along])
    # Where the halves are nearest to equal; neither is empty.
    cut = int(np.clip(np.searchsorted(held, held[-1] / 2), 1, len(along) - 1))
    return [along[:cut], along[cut:]]


def _longest_way(vectors: FloatArray) -> FloatArray:
    """Where vectors lie along the direction in which they differ most, shape (n,)."""
    centred = vectors - vectors.mean(axis=0)
    direction = centred[int(np.argmax(np.einsum("nd,nd->n", centred, centred)))]
    for _ in range(_POWER_ITERATIONS):
        pulled = (centred @ direction) @ centred
        length = float(np.linalg.norm(pulled))
        if length == 0.0:
            break
        direction = pulled / length
    return np.asarray(centred @ direction, dtype=np.float32)


def _joined(
    centroids: FloatArray, weights: NDArray[np.float64], parts: list[IntArray], most: float, n_groups: int
) -> list[IntArray]:
    """At most ``n_groups`` parts: the lightest joins the nearest one with room for it, again and again.

    There is always one with room: of more parts than groups the two lightest hold at most twice the mean together.
    """
    held = [float(weights[part].sum()) for part in parts]
    sums = np.stack([weights[part] @ centroids[part] for part in parts])
    while len(parts) > n_groups:
        lightest = int(np.argmin(held))
        nearness = sums @ sums[lightest] / np.maximum(np.linalg.norm(sums, axis=1), 1e-12)
        nearness[lightest] = -np.inf
        room = np.array(held) + held[lightest] <= most * (1 + 1e-9)
        partner = int(np.argmax(np.where(room, nearness, -np.inf)))
        parts[partner] = np.concatenate([parts[partner], parts[lightest]])
        held[partner] += held[lightest]
        sums[partner] += sums[lightest]
        sums = np.delete(sums, lightest, axis=0)
        del parts[lightest], held[lightest]
    return parts
