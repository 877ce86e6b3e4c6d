"""Centroids that k-means left without photos are put where photos lie farthest from theirs."""

from __future__ import annotations

import numpy as np

from sbka_milvus.types import FloatArray, IntArray

_APART = 1e-5
"""1 - cosine up to which a photo counts as lying on its centroid; float32 tells no better."""


def reseed_empty(vectors: FloatArray, centroids: FloatArray, assignments: IntArray) -> FloatArray:
    """The centroids, those without members moved to the photos that lie farthest from their own.

    Args:
        vectors: shape (N, D), float32, unit rows.
        centroids: shape (K, D), float32, unit rows.
        assignments: shape (N,), int64: the nearest centroid of each.

    Returns:
        shape (K, D), float32, unit rows; ``centroids`` itself where there is nothing to move, or nowhere to move it to.
    """
    empty = np.setdiff1d(np.arange(len(centroids)), assignments)
    if len(empty) == 0:
        return centroids
    apart = 1.0 - np.einsum("nd,nd->n", vectors, centroids[assignments])
    if apart.max() <= _APART:
        return centroids
    moved = centroids.copy()
    for cluster in empty:
        farthest = int(np.argmax(apart))
        if apart[farthest] <= _APART:
            break
        moved[cluster] = vectors[farthest]
        # What lies nearer to the new centroid need not have another one.
        apart = np.minimum(apart, 1.0 - vectors @ vectors[farthest])
    return moved
