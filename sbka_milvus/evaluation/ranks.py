"""Where the relevant photos stand in a ranking: all that the metrics need to know of it.

The ranks of the hits take memory for the relevant photos alone, not for the whole gallery: 8 bytes a relevant photo
and query, where a ranking takes 8 bytes a photo and query.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import IntArray

BoolArray = NDArray[np.bool_]
CountArray = NDArray[np.integer[Any]]
Float64Array = NDArray[np.float64]


def hit_ranks(relevant: BoolArray) -> IntArray:
    """The ranks of the relevant photos, from 1, ascending; 0 fills a row up after its last one.

    Args:
        relevant: shape (Q, N), bool, in ranked order.

    Returns:
        shape (Q, H), int64, with H the most hits of a row.

    Raises:
        InvalidValue: ``relevant`` has another shape or dtype.

    >>> hit_ranks(np.array([[True, False, True], [False, True, False]])).tolist()
    [[1, 3], [2, 0]]
    """
    if relevant.ndim != 2 or relevant.dtype != np.bool_:
        raise InvalidValue(f"relevant must be bool of shape (Q, N), not {relevant.dtype} of shape {relevant.shape}.")
    rows, columns = np.nonzero(relevant)
    first_hit = np.searchsorted(rows, np.arange(len(relevant)))
    counts = np.bincount(rows, minlength=len(relevant))
    ranks = np.zeros((len(relevant), int(counts.max(initial=0))), dtype=np.int64)
    ranks[rows, np.arange(len(rows)) - first_hit[rows]] = columns + 1
    return ranks


def hits_within(ranks: IntArray, k: int | None) -> IntArray:
    """How many hits stand at ranks up to k, or at all.

    Args:
        ranks: shape (Q, H), as :func:`hit_ranks` gives them.
        k: at least 1; None for all ranks.

    Returns:
        shape (Q,), int64.

    >>> hits_within(np.array([[1, 3], [2, 0]]), 2).tolist()
    [1, 1]
    """
    return np.asarray(np.count_nonzero(_counted(ranks, k), axis=1), dtype=np.int64)


def hit_precisions(ranks: IntArray, k: int | None = None, *, interpolated: bool = False) -> Float64Array:
    """The precision at the rank of each hit, 0 where there is none or it stands below k.

    Not interpolated, that of the h-th hit at rank i is h / i. Interpolated, as the VOC challenge has it, it is the
    largest precision at this rank or any later one up to k: precision falls between hits, so the later hits suffice.

    Args:
        ranks: shape (Q, H), as :func:`hit_ranks` gives them.
        k: cut-off rank, at least 1; None for all ranks.
        interpolated: whether to take the largest one from there on.

    Returns:
        shape (Q, H), float64, in [0, 1].

    >>> hit_precisions(np.array([[2, 3]])).round(3).tolist()
    [[0.5, 0.667]]
    >>> hit_precisions(np.array([[2, 3]]), interpolated=True).round(3).tolist()
    [[0.667, 0.667]]
    >>> hit_precisions(np.array([[2, 3]]), 2, interpolated=True).round(3).tolist()
    [[0.5, 0.0]]
    """
    counted = _counted(ranks, k)
    numbers = np.broadcast_to(np.arange(1, ranks.shape[1] + 1, dtype=np.float64), ranks.shape)
    precisions = np.divide(numbers, ranks, out=np.zeros(ranks.shape), where=counted)
    if interpolated:
        # The zeros behind the last hit are below every precision, so they lift nothing.
        precisions = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(precisions, dtype=np.float64)


def _counted(ranks: IntArray, k: int | None) -> BoolArray:
    require_cutoff(k)
    return np.asarray(ranks > 0 if k is None else (ranks > 0) & (ranks <= k), dtype=np.bool_)


def require_cutoff(k: int | None) -> None:
    """Refuses a cut-off rank below 1.

    Raises:
        InvalidValue: Naming it.
    """
    if k is not None and k < 1:
        raise InvalidValue(f"The cut-off k is {k}.", "It must be at least 1.")
