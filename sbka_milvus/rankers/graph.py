"""The graph of a gallery's nearest neighbours: sparse, so that it fits tens of thousands of photos."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from sbka_milvus.kin import kin_pairs, kin_shares
from sbka_milvus.rankers.ranker import Float64Array, require_at_least, require_gallery
from sbka_milvus.types import FloatArray, IntArray


def nearest_neighbours(gallery: FloatArray, k: int) -> tuple[IntArray, Float64Array]:
    """The k photos nearest to each photo, itself left out (exact, faiss).

    Args:
        gallery: shape (N, D), float32, unit rows.
        k: at least 1; N - 1 where the gallery is smaller.

    Returns:
        Positions, shape (N, k), int64, and cosines, shape (N, k), float64, nearest first.

    Raises:
        InvalidValue: The gallery does not fit, or k is below 1.
    """
    require_gallery(gallery)
    require_at_least(k, 1, "k")
    k = min(k, len(gallery) - 1)
    if k == 0:
        return np.empty((len(gallery), 0), dtype=np.int64), np.empty((len(gallery), 0))
    import faiss

    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(np.ascontiguousarray(gallery))
    cosines, found = index.search(np.ascontiguousarray(gallery), k + 1)
    own = found == np.arange(len(gallery))[:, None]
    # Where more than k + 1 photos coincide, a photo may miss itself; then its last neighbour goes in its place.
    own[~own.any(axis=1), -1] = True
    shape = (len(gallery), k)
    return found[~own].reshape(shape).astype(np.int64), cosines[~own].reshape(shape).astype(np.float64)


def neighbour_graph(gallery: FloatArray, k: int, power: float = 1.0) -> sparse.csr_array:
    """The symmetric affinity of a gallery: (W + W^T) / 2 with W_ij = max(cos(i, j), 0)^power where j is near i.

    Args:
        gallery: shape (N, D), float32, unit rows.
        k: neighbours of each photo.
        power: at least 0; above 1 it lets near neighbours count more.

    Returns:
        shape (N, N), float64, sparse, no diagonal.

    Raises:
        InvalidValue: As :func:`nearest_neighbours`, or the power is negative.
    """
    require_at_least(power, 0.0, "power")
    found, cosines = nearest_neighbours(gallery, k)
    weights = _matrix(found, np.maximum(cosines, 0.0) ** power)
    return sparse.csr_array((weights + weights.T) / 2.0)


def reciprocal_means(gallery: FloatArray, k: int) -> sparse.csr_array:
    """Averages over the photos that are among a photo's k nearest and have it among theirs, the photo itself included.

    See :mod:`sbka_milvus.kin`.

    Args:
        gallery: shape (N, D), float32, unit rows.
        k: neighbours of each photo.

    Returns:
        shape (N, N), float64, sparse, rows that sum to 1.

    Raises:
        InvalidValue: As :func:`nearest_neighbours`.
    """
    found, _ = nearest_neighbours(gallery, k)
    n = len(gallery)
    rows, columns = kin_pairs(np.repeat(np.arange(n, dtype=np.int64), found.shape[1]), found.ravel(), n)
    return sparse.csr_array((kin_shares(rows, n), (rows, columns)), shape=(n, n))


def _matrix(found: IntArray, values: Float64Array) -> sparse.csr_array:
    n, k = found.shape
    return sparse.csr_array(
        (values.ravel(), found.ravel(), np.arange(0, n * k + 1, k) if k else np.zeros(n + 1, int)), shape=(n, n)
    )
