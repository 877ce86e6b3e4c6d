"""Photos that resemble one another, and means over them: similarities inside a gallery mend those across modalities.

The idea is that of ICFRR (arXiv 2303.17703). A photo's *kin* are those that are among its nearest neighbours and have
it among theirs, and it itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.types import FloatArray, IntArray

Float64Array = NDArray[np.float64]

_BLOCK = 512


def near_pairs(vectors: FloatArray, k: int) -> tuple[IntArray, IntArray]:
    """The k rows nearest to each row by cosine, itself left out (exact, all pairs).

    Rows that tie with the k-th are near as well, so that what is near does not depend on the order of the rows.

    Args:
        vectors: shape (n, D), float32, unit rows; n a few thousand at most, for time goes by its square.
        k: at least 1.

    Returns:
        Positions i and j of the pairs, i in order, each shape (at least n min(k, n - 1),), int64.

    >>> rows = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8]])
    >>> [ends.tolist() for ends in near_pairs(rows, 1)]
    [[0, 1, 2], [1, 2, 1]]
    """
    n = len(vectors)
    k = min(k, n - 1)
    if k < 1:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    wide = vectors.astype(np.float64)
    found: list[tuple[IntArray, IntArray]] = []
    for start in range(0, n, _BLOCK):
        # Summed in float64 and rounded to float32, so that equal photos tie wherever they stand.
        cosines = np.asarray(wide[start : start + _BLOCK] @ wide.T, dtype=np.float32)
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        least = np.partition(cosines, n - k, axis=1)[:, n - k, np.newaxis]
        rows, columns = np.nonzero(cosines >= least)
        found.append((rows + start, columns))
    return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])


def kin_pairs(rows: IntArray, columns: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """The pairs (i, j) that are there as (j, i) too, and every (i, i).

    Args:
        rows: shape (p,), int64, below n: i of each pair; j is near to i.
        columns: shape (p,), int64, below n: j. No pair is there twice.
        n: photos.

    Returns:
        i and j of what is kin, in order.

    >>> [ends.tolist() for ends in kin_pairs(np.array([0, 1, 2]), np.array([1, 2, 1]), 3)]
    [[0, 1, 1, 2, 2], [0, 1, 2, 1, 2]]
    """
    own = np.arange(n, dtype=np.int64)
    mutual = np.isin(rows * n + columns, columns * n + rows) & (rows != columns)
    pairs = np.sort(np.concatenate([rows[mutual] * n + columns[mutual], own * n + own]))
    return pairs // max(n, 1), pairs % max(n, 1)


def kin_shares(rows: IntArray, n: int) -> Float64Array:
    """What each pair counts in the mean over the kin of its i; those of one i sum to 1.

    Args:
        rows: i of :func:`kin_pairs`.
        n: photos.
    """
    return np.asarray(1.0 / np.bincount(rows, minlength=n)[rows])


def kin_means(values: FloatArray, vectors: FloatArray, k: int) -> Float64Array:
    """The mean of the values of each row's kin.

    Args:
        values: shape (n,), float32.
        vectors: shape (n, D), float32, unit rows.
        k: neighbours looked at.

    Returns:
        shape (n,), float64.

    >>> kin_means(np.float32([0, 1, 3]), np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8]]), 1).tolist()
    [0.0, 2.0, 2.0]
    """
    n = len(values)
    rows, columns = kin_pairs(*near_pairs(vectors, k), n)
    weights = kin_shares(rows, n) * values[columns].astype(np.float64)
    return np.asarray(np.bincount(rows, weights=weights, minlength=n), dtype=np.float64)
