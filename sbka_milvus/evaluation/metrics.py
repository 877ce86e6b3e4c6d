"""The metrics, as pure functions of what is relevant in ranked order.

A relevance matrix is a bool array of shape (Q, N): entry (q, i) says whether the photo at rank i + 1 of query q
is relevant. A ranking that ends early is padded with False; its photos that were never found then count against it
through ``n_relevant``, the number of relevant photos in the whole gallery.

Average precision is undefined for a query with no relevant photo. The functions here refuse such queries, and say
how many there are; whoever calls them leaves those out (see :func:`sbka_milvus.evaluation.relevance.answerable`)
and reports the number.
"""

from __future__ import annotations

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.ranks import (
    BoolArray,
    CountArray,
    Float64Array,
    hit_precisions,
    hit_ranks,
    hits_within,
    require_cutoff,
)
from sbka_milvus.types import IntArray


def average_precision(
    relevant: BoolArray,
    n_relevant: CountArray | None = None,
    k: int | None = None,
    *,
    interpolated: bool = False,
    lenient: bool = False,
) -> Float64Array:
    """Average precision of each query.

    AP = (sum over the ranks i of relevant photos of the precision at i) / R. AP@k sums the ranks up to k alone; strict,
    it divides by min(R, k), and lenient by the hits among the first k, which forgives whatever was not found.

    Args:
        relevant: shape (Q, N), bool, in ranked order.
        n_relevant: shape (Q,), integer, at least 1: relevant photos in the gallery, found or not. Without it the
            rows are taken to rank the whole gallery.
        k: cut-off rank, at least 1; None for AP over all ranks ("@all").
        interpolated: whether the precision at a rank is the largest at it or any later one, as in the VOC challenge.
        lenient: see above; it needs a cut-off.

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
    >>> average_precision(np.array([[True, False, True, False]]), k=2, lenient=True).tolist()
    [1.0]
    >>> average_precision(np.array([[False, True, True, False]]), interpolated=True).round(4).tolist()
    [0.6667]
    """
    ranks = hit_ranks(relevant)
    counts = hits_within(ranks, None) if n_relevant is None else n_relevant
    return rank_average_precision(ranks, counts, k, interpolated=interpolated, lenient=lenient)


def rank_average_precision(
    ranks: IntArray,
    n_relevant: CountArray,
    k: int | None = None,
    *,
    interpolated: bool = False,
    lenient: bool = False,
) -> Float64Array:
    """:func:`average_precision`, from the ranks of the hits.

    Args:
        ranks: shape (Q, H), int64, as :func:`~sbka_milvus.evaluation.ranks.hit_ranks` gives them.
        n_relevant: shape (Q,), integer, at least 1.
        k: as for :func:`average_precision`, like the other two.
        interpolated: see there.
        lenient: see there.

    Returns:
        shape (Q,), float64, in [0, 1].

    Raises:
        InvalidValue: As :func:`average_precision`.

    >>> rank_average_precision(np.array([[1, 3]]), np.array([2])).round(4).tolist()
    [0.8333]
    """
    require_cutoff(k)
    if lenient and k is None:
        raise InvalidValue("A lenient average precision has no cut-off.", "Give k: over all ranks there is one form.")
    counts = _require_counts(ranks, np.asarray(n_relevant))
    sums = hit_precisions(ranks, k, interpolated=interpolated).sum(axis=1)
    if k is None:
        divisors = counts
    elif lenient:
        divisors = np.maximum(hits_within(ranks, k), 1)
    else:
        divisors = np.minimum(counts, k)
    # A sum of ones over their number is one; a mean of rounded precisions may end a bit above it.
    return np.minimum(np.asarray(sums / divisors, dtype=np.float64), 1.0)


def mean_average_precision(relevant: BoolArray, n_relevant: CountArray | None = None, k: int | None = None) -> float:
    """Mean over the queries of :func:`average_precision`, not interpolated and strict, whose arguments it takes.

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
    require_cutoff(k)
    return np.asarray(hits_within(hit_ranks(relevant[:, :k] if relevant.ndim == 2 else relevant), k) / k)


def _require_counts(ranks: IntArray, counts: CountArray) -> CountArray:
    if counts.shape != (len(ranks),) or not np.issubdtype(counts.dtype, np.integer):
        raise InvalidValue(
            f"n_relevant must be integer of shape ({len(ranks)},), not {counts.dtype} of shape {counts.shape}."
        )
    without = int(np.count_nonzero(counts < 1))
    if without:
        raise InvalidValue(
            f"{without} of {len(counts)} queries have no relevant photo, so their average precision is undefined.",
            "Leave these queries out, and report how many they are.",
        )
    hits = hits_within(ranks, None)
    beyond = np.flatnonzero(hits > counts)
    if len(beyond):
        raise InvalidValue(
            f"Query {beyond[0]} found {hits[beyond[0]]} relevant photos where the gallery holds {counts[beyond[0]]}.",
            "Count the relevant photos in the whole gallery, and rank no photo twice.",
        )
    return counts
