"""How many clusters a gallery gets, from its size alone."""

from __future__ import annotations

import math

from sbka_milvus.errors import InvalidValue

CLUSTERS_PER_ROOT = 1.25
"""Clusters for each square root of the gallery's size."""


def default_n_clusters(n_photos: int) -> int:
    """1.25 times the square root of the gallery's size, at least 1 and at most one a photo.

    A query then compares as many centroids as it compares photos in a cluster, up to a constant, so its work grows
    with the square root of the gallery. Too few clusters hurt one-to-many ranking much more than too many do, which is
    why the constant is above 1. It looks at no label.

    Raises:
        InvalidValue: There are no photos.

    >>> [default_n_clusters(n) for n in (1, 100, 625, 1_000_000)]
    [1, 12, 31, 1250]
    """
    if n_photos < 1:
        raise InvalidValue("A gallery without photos has no clusters.", "Ingest at least one photo.")
    return max(1, min(n_photos, round(CLUSTERS_PER_ROOT * math.sqrt(n_photos))))
