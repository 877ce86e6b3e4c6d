"""Product quantisation: dimensions cut into sub-spaces, and distances to the codewords of each.

Source: the published scripts of SBKA (arXiv 2312.10320) and its relative ClusterRetri (arXiv 2301.06685). The *cluster
distance* of a query and a photo is the squared L2 distance from the query to the photo's codewords, summed over the
sub-spaces. Their score, lower is better, is 0.8 x cluster distance + 0.2 x plain (not squared) Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray

Float64Array = NDArray[np.float64]

PAPER_WEIGHT = 0.8
"""Of the cluster distance, in the authors' scripts."""


def cut(vectors: FloatArray, n_subspaces: int) -> list[FloatArray]:
    """Vectors in parts of equal width; widths differ by one where M does not divide the vectors' width.

    Args:
        vectors: shape (N, D), float32.
        n_subspaces: M, at least 1.

    Returns:
        M arrays of N rows, whose widths sum up to D.

    Raises:
        InvalidValue: There are more sub-spaces than dimensions.

    >>> [part.shape for part in cut(np.zeros((3, 5), dtype=np.float32), 2)]
    [(3, 3), (3, 2)]
    """
    if n_subspaces > vectors.shape[1]:
        raise InvalidValue(
            f"{vectors.shape[1]} dimensions cannot be cut into {n_subspaces} sub-spaces.",
            "Choose at most as many as there are dimensions.",
        )
    return [np.ascontiguousarray(part) for part in np.array_split(vectors, n_subspaces, axis=1)]


def quantised_scores(
    queries: FloatArray, photos: FloatArray, codebooks: Sequence[FloatArray], weight: float = PAPER_WEIGHT
) -> FloatArray:
    """-(w sum over m of |q_m - codeword_m(x)|^2 + (1 - w) |q - x|), a codeword being the nearest one of its sub-space.

    Args:
        queries: shape (Q, D), float32.
        photos: shape (N, D), float32.
        codebooks: of each sub-space the codewords, shape (K_m, width of the sub-space), float32, K_m at least 1.
        weight: w, in [0, 1].

    Returns:
        shape (Q, N), float32; never above 0, higher is better.

    Raises:
        InvalidValue: There are more codebooks than dimensions.
    """
    clusters = np.zeros((len(queries), len(photos)))
    for asked, part, codewords in zip(
        cut(queries, len(codebooks)), cut(photos, len(codebooks)), codebooks, strict=True
    ):
        nearest = squared_distances(part, codewords).argmin(axis=1)
        clusters += squared_distances(asked, codewords)[:, nearest]
    plain = np.sqrt(squared_distances(queries, photos))
    return np.asarray(-(weight * clusters + (1.0 - weight) * plain), dtype=np.float32)


def squared_distances(one: FloatArray, other: FloatArray) -> Float64Array:
    """Squared L2 distance of each pair of rows.

    Args:
        one: shape (A, D).
        other: shape (B, D).

    Returns:
        shape (A, B), float64, never negative.

    >>> squared_distances(np.float32([[0, 0]]), np.float32([[3, 4]])).tolist()
    [[25.0]]
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2.0 * a @ b.T, 0.0))
