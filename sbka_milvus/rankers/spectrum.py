"""How many directions of a gallery are more than noise: from the photos alone, without labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue

Float64Array = NDArray[np.float64]

STRICT_MARGIN = 1.25
"""Times the noise's largest variance: above it a direction is signal. Best where single photos are compared."""

WIDE_MARGIN = 0.7
"""The same for matching that averages over kin, which quietens noise: directions of weaker signal are worth keeping."""


def principal_directions(vectors: NDArray[Any]) -> tuple[Float64Array, Float64Array]:
    """Directions of the greatest variance about the mean, and the variance along each.

    Args:
        vectors: shape (N, D), any float dtype, N at least 2.

    Returns:
        Directions, shape (D, min(N - 1, D)), float64, orthonormal columns; variances, shape (min(N - 1, D),), float64,
        from great to small. The sign of a direction is such that its largest entry is positive.

    Raises:
        InvalidValue: There are fewer than two vectors.
    """
    if vectors.ndim != 2 or len(vectors) < 2:
        raise InvalidValue(f"Vectors of shape {vectors.shape} have no spread.", "At least two rows are needed.")
    centred = np.asarray(vectors, dtype=np.float64) - vectors.mean(axis=0, dtype=np.float64)
    n, dim = centred.shape
    rank = min(n - 1, dim)
    if n > dim:  # the D x D form is small where the gallery is large
        variances, directions = np.linalg.eigh(centred.T @ centred / n)
        variances, directions = variances[::-1][:rank], directions[:, ::-1][:, :rank]
    else:
        _, lengths, rows = np.linalg.svd(centred, full_matrices=False)
        variances, directions = lengths[:rank] ** 2 / n, rows[:rank].T
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(rank)]
    return directions * np.where(largest < 0, -1.0, 1.0), np.maximum(variances, 0.0)


def participation_ratio(variances: Float64Array) -> float:
    """(sum of variances)^2 / sum of squared variances: in how many equal directions the spread would be as even.

    Args:
        variances: shape (R,), float64, not all zero.

    Raises:
        InvalidValue: All are zero.

    >>> participation_ratio(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    squares = float((variances**2).sum())
    if squares == 0.0:
        raise InvalidValue("All variances are zero.", "The vectors are all the same.")
    return float(variances.sum()) ** 2 / squares


def noise_edge(vectors: NDArray[Any], *, seed: int = 0) -> float:
    """The largest variance that a direction of this gallery has by chance.

    Horn's parallel analysis: each column is shuffled by itself, which keeps what every feature is like and undoes
    what the features have to do with one another. (Features after a rectifier are far from the Gaussian of the
    Marchenko-Pastur law, whose edge this replaces.)

    Args:
        vectors: shape (N, D), any float dtype, N at least 2.
        seed: of the shuffles.

    Raises:
        InvalidValue: There are fewer than two vectors.
    """
    shuffled = np.random.default_rng(seed).permuted(np.asarray(vectors, dtype=np.float64), axis=0)
    return float(principal_directions(shuffled)[1][0])


def signal_dimensions(variances: Float64Array, edge: float, margin: float = STRICT_MARGIN) -> int:
    """How many directions stand out from the noise; at least one.

    Args:
        variances: shape (R,), float64: of the gallery's principal directions.
        edge: of :func:`noise_edge`.
        margin: times the edge, above which a direction counts.

    >>> signal_dimensions(np.array([5.0, 2.0, 1.1, 0.5]), edge=1.0)
    2
    """
    return max(1, int(np.count_nonzero(variances > margin * edge)))
