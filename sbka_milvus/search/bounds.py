"""How well the members of a cluster can score at best: bounds, which hold, and what float32 costs them."""

from __future__ import annotations

import numpy as np

from sbka_milvus.types import FloatArray

SLACK = 4e-6
"""A cluster is left out only if its bound is lower by more: cosines of unit float32 vectors are known to some 1e-6."""

_COSINE_SLACK = 2e-6


def member_bounds(scores: FloatArray, radii: FloatArray) -> FloatArray:
    """The greatest cosine that a query can have with a member of each cluster.

    By the triangle inequality for angles, a member's angle to the query is at least the centroid's less the radius.

    Args:
        scores: shape (..., K), float32: cosines of queries and the centroids.
        radii: shape (K,), float32, radians: the largest angle from each centroid to a member.

    Returns:
        The shape of ``scores``, float32.

    >>> member_bounds(np.float32([0.5]), np.float32([np.pi / 6])).round(3).tolist()
    [0.8659999966621399]
    >>> member_bounds(np.float32([0.9, -0.5]), np.float32([0.6, np.pi])).tolist()
    [1.0, 1.0]
    """
    return Radii(radii).member_bounds(scores)


class Radii:
    """The radii of clusters, with all that their bounds need and no query changes.

    Args:
        radii: shape (K,), float32, radians.
    """

    def __init__(self, radii: FloatArray) -> None:
        # Of a radius, which came from a cosine in float32; and no less where angles are small and cosines flat.
        widest = np.cos(np.minimum(radii, np.pi).astype(np.float64)) - _COSINE_SLACK
        self._widest = np.clip(widest, -1.0, 1.0)
        self._sines = np.sqrt(1.0 - self._widest**2)

    def member_bounds(self, scores: FloatArray) -> FloatArray:
        """See :func:`member_bounds`."""
        cosines = np.clip(scores.astype(np.float64) + _COSINE_SLACK, -1.0, 1.0)
        apart = cosines * self._widest + np.sqrt(1.0 - cosines**2) * self._sines
        # cos(angle - radius) falls again where the radius is the larger: the query may then be a member itself.
        return np.where(cosines >= self._widest, 1.0, np.minimum(apart, 1.0)).astype(np.float32)
