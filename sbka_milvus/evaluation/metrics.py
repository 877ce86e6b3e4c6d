"""The metrics of the ``plain`` protocol, as pure functions of what is relevant in ranked order.

``plain`` means: non-interpolated average precision, averaged over queries; P@K is hits / K.

A relevance matrix is a bool array of shape (Q, N): entry (q, i) says whether the photo at rank i + 1 of query q
is relevant. A ranking that ends early is padded with False; its photos that were never found then count against it
through ``n_relevant``, the number of relevant photos in the whole gallery.

Average precision is undefined for a query with no relevant photo. The functions here refuse such queries, and say
how many there are; whoever calls them leaves those out (see :func:`sbka_milvus.evaluation.relevance.answerable`)
and reports the number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue

BoolArray = NDArray[np.bool_]
CountArray = NDArray[np.integer[Any]]
Float64Array = NDArray[np.float64]


def average_precision(relevant: BoolArray, n_relevant: CountArray | None = None, k: int | None = None) -> Float64Array:
    """Non-interpolated average precision of each query.

    AP = (sum over the ranks i of relevant photos of hits(i) / i) / R, where hits(i) counts the relevant photos at
    ranks 1..i. AP@k is the strict form: only ranks up to k are summed, and R becomes min(R, k).

    Args:
        relevant: shape (Q, N), bool, in ranked order.
        n_relevant: shape (Q,), integer, at least 1: relevant photos in the gallery, found or not. Without it the
            rows are taken to rank the whole gallery.
        k: cut-off rank, at least 1; None for AP over all ranks ("@all").

    Returns:
        shape (Q,), float64, in [0, 1].

    Raises:
        InvalidValue: A shape, dtype or cut-off does not fit, a query has no relevant photo, or more hits than photos.

    >>> average_precision(np.array([[True, False, True, False]])).round(4).tolist()
    [0.8333]
    >>> average_precision(np.array([[True, False, True, False]]), np.array([4])).round(4).tolist()
    [0.4167]
    >>> average_precision(np.array([[True, False, True, False]]), k=2).tolist()
    [0.5]
    """
    _require_matrix(relevant)
    _require_cutoff(k)
    counts = _relevant_in_gallery(relevant, n_relevant)
    # Working on the positions of the hits alone needs memory for the hits, not for the whole matrix.
    rows, columns = np.nonzero(relevant[:, :k])
    first_hit = np.searchsorted(rows, np.arange(len(relevant)))
    hits = np.arange(len(rows)) - first_hit[rows] + 1
    sums = np.bincount(rows, weights=hits / (columns + 1), minlength=len(relevant))
    return np.asarray(sums / (counts if k is None else np.minimum(counts, k)), dtype=np.float64)


def mean_average_precision(relevant: BoolArray, n_relevant: CountArray | None = None, k: int | None = None) -> float:
    """Mean over the queries of :func:`average_precision`, whose arguments it takes.

    Raises:
        InvalidValue: As :func:`average_precision`; also where there is no query at all.

    >>> mean_average_precision(np.array([[True, False], [False, True]]))
    0.75
    """
    if len(relevant) == 0:
        raise InvalidValue("There is no query to average over.", "Pass at least one row.")
    return float(average_precision(relevant, n_relevant, k).mean())


def precision_at_k(relevant: BoolArray, k: int) -> Float64Array:
    """Hits among the first k, divided by k also where fewer than k photos were found or are relevant.

    Args:
        relevant: shape (Q, N), bool, in ranked order.
        k: at least 1.

    Returns:
        shape (Q,), float64, in [0, 1].

    Raises:
        InvalidValue: A shape, dtype or cut-off does not fit.

    >>> precision_at_k(np.array([[True, False, True]]), 4).tolist()
    [0.5]
    """
    _require_matrix(relevant)
    _require_cutoff(k)
    return np.asarray(np.count_nonzero(relevant[:, :k], axis=1) / k, dtype=np.float64)


def expected_random_average_precision(
    n_relevant: CountArray | int, n_gallery: int, k: int | None = None
) -> Float64Array:
    """Expectation of :func:`average_precision` over all rankings of the gallery, each as likely: the level of chance.

    A rank holds a relevant photo with probability R / N, and then each rank above it holds one with probability
    (R - 1) / (N - 1). By linearity, with H_n the n-th harmonic number and n = N, or min(k, N) for AP@k:
    E[AP] = R / (N D) * (H_n + (R - 1) / (N - 1) * (n - H_n)), with D = R, or min(R, k) for AP@k.

    Args:
        n_relevant: any shape, integer, in [1, n_gallery].
        n_gallery: N, photos in the gallery.
        k: cut-off rank, at least 1; None for AP over all ranks.

    Returns:
        float64 of the shape of ``n_relevant``.

    Raises:
        InvalidValue: A count or the cut-off is out of range.

    >>> expected_random_average_precision(np.array([1, 2]), 2).tolist()
    [0.75, 1.0]
    """
    counts = _counts_in_range(n_relevant, n_gallery)
    _require_cutoff(k)
    depth = n_gallery if k is None else min(k, n_gallery)
    harmonic = float((1.0 / np.arange(1, depth + 1)).sum())
    another = (counts - 1) / max(n_gallery - 1, 1)
    summed = counts / n_gallery * (harmonic + another * (depth - harmonic))
    return np.asarray(summed / (counts if k is None else np.minimum(counts, k)), dtype=np.float64)


def expected_random_precision_at_k(n_relevant: CountArray | int, n_gallery: int, k: int) -> Float64Array:
    """Expectation of :func:`precision_at_k` over all rankings: R / N, scaled by N / k where k exceeds the gallery.

    Args:
        n_relevant: any shape, integer, in [1, n_gallery].
        n_gallery: N, photos in the gallery.
        k: at least 1.

    Returns:
        float64 of the shape of ``n_relevant``.

    Raises:
        InvalidValue: A count or the cut-off is out of range.

    >>> expected_random_precision_at_k(np.array([25]), 625, 10).tolist()
    [0.04]
    """
    counts = _counts_in_range(n_relevant, n_gallery)
    _require_cutoff(k)
    return np.asarray(counts / n_gallery * (min(k, n_gallery) / k), dtype=np.float64)


def _require_matrix(relevant: BoolArray) -> None:
    if relevant.ndim != 2 or relevant.dtype != np.bool_:
        raise InvalidValue(f"relevant must be bool of shape (Q, N), not {relevant.dtype} of shape {relevant.shape}.")


def _require_cutoff(k: int | None) -> None:
    if k is not None and k < 1:
        raise InvalidValue(f"The cut-off k is {k}.", "It must be at least 1.")


def _relevant_in_gallery(relevant: BoolArray, n_relevant: CountArray | None) -> CountArray:
    hits = np.count_nonzero(relevant, axis=1)
    counts = hits if n_relevant is None else np.asarray(n_relevant)
    if counts.shape != (len(relevant),) or not np.issubdtype(counts.dtype, np.integer):
        raise InvalidValue(
            f"n_relevant must be integer of shape ({len(relevant)},), not {counts.dtype} of shape {counts.shape}."
        )
    without = int(np.count_nonzero(counts < 1))
    if without:
        raise InvalidValue(
            f"{without} of {len(counts)} queries have no relevant photo, so their average precision is undefined.",
            "Leave these queries out, and report how many they are.",
        )
    beyond = np.flatnonzero(hits > counts)
    if len(beyond):
        raise InvalidValue(
            f"Query {beyond[0]} found {hits[beyond[0]]} relevant photos where the gallery holds {counts[beyond[0]]}.",
            "Count the relevant photos in the whole gallery, and rank no photo twice.",
        )
    return counts


def _counts_in_range(n_relevant: CountArray | int, n_gallery: int) -> CountArray:
    counts = np.asarray(n_relevant)
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 1).any() or (counts > n_gallery).any():
        raise InvalidValue(
            f"n_relevant must hold whole numbers between 1 and n_gallery, which is {n_gallery}.",
            "Leave out queries with no relevant photo.",
        )
    return counts
