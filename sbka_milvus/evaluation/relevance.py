"""From category labels to relevance: a photo is relevant where its category is the sketch's.

Labels are whole numbers 0, 1, 2, ... A ranking that ends before the gallery does is padded with :data:`NOT_FOUND`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.ranks import BoolArray
from sbka_milvus.types import IntArray

NOT_FOUND = -1

LabelArray = NDArray[np.integer[Any]]
RankedLabels = LabelArray | Sequence[LabelArray] | Sequence[Sequence[int]]


def count_labels(labels: LabelArray, n_categories: int) -> IntArray:
    """Photos of each category.

    Args:
        labels: shape (N,), integer, in [0, n_categories).
        n_categories: C.

    Returns:
        shape (C,), int64.

    Raises:
        InvalidValue: ``labels`` has another shape or dtype, or names a category that does not exist.

    >>> count_labels(np.array([0, 2, 2]), 4).tolist()
    [1, 0, 2, 0]
    """
    _require_labels(labels, "labels", n_categories)
    return np.bincount(labels.astype(np.int64), minlength=n_categories).astype(np.int64)


def relevant_counts(query_labels: LabelArray, gallery_label_counts: LabelArray) -> IntArray:
    """How many photos of the gallery are relevant to each query; 0 where its category has none.

    Args:
        query_labels: shape (Q,), integer, in [0, C).
        gallery_label_counts: shape (C,), integer: photos of each category, as :func:`count_labels` gives them.

    Returns:
        shape (Q,), int64.

    Raises:
        InvalidValue: A query's category is not counted.

    >>> relevant_counts(np.array([2, 0, 1]), np.array([1, 0, 2])).tolist()
    [2, 1, 0]
    """
    _require_labels(gallery_label_counts, "gallery_label_counts", None)
    _require_labels(query_labels, "query_labels", len(gallery_label_counts))
    return np.asarray(gallery_label_counts[query_labels], dtype=np.int64)


def answerable(query_labels: LabelArray, gallery_label_counts: LabelArray) -> BoolArray:
    """Which queries have a relevant photo; average precision is undefined for the others.

    Args and errors are those of :func:`relevant_counts`.

    >>> answerable(np.array([2, 0, 1]), np.array([1, 0, 2])).tolist()
    [True, True, False]
    """
    return relevant_counts(query_labels, gallery_label_counts) > 0


def label_rankings(rankings: LabelArray, gallery_labels: LabelArray) -> LabelArray:
    """The categories of ranked photos.

    Args:
        rankings: shape (Q, N), integer: gallery positions, best first, :data:`NOT_FOUND` where a ranking has ended.
        gallery_labels: shape (M,), integer.

    Returns:
        shape (Q, N), of the dtype of ``gallery_labels`` where that is signed (narrow labels keep a large matrix
        small), else int64.

    Raises:
        InvalidValue: A ranking names a position outside the gallery.

    >>> label_rankings(np.array([[1, 0, -1]]), np.array([7, 5])).tolist()
    [[5, 7, -1]]
    """
    signed = gallery_labels.astype(np.int64) if gallery_labels.dtype.kind == "u" else gallery_labels
    if rankings.size == 0:
        return np.empty(rankings.shape, dtype=signed.dtype)
    lowest, highest = int(rankings.min()), int(rankings.max())
    if lowest < NOT_FOUND or highest >= len(gallery_labels):
        raise InvalidValue(
            f"rankings hold positions from {lowest} to {highest} in a gallery of {len(gallery_labels)} photos."
        )
    if highest == NOT_FOUND:
        return np.full(rankings.shape, NOT_FOUND, dtype=signed.dtype)
    labels = signed[rankings]
    labels[rankings == NOT_FOUND] = NOT_FOUND
    return labels


def relevance_matrix(ranked_labels: RankedLabels, query_labels: LabelArray) -> BoolArray:
    """Whether each ranked photo is of the query's category.

    Args:
        ranked_labels: shape (Q, N), integer, or Q sequences of their own lengths: categories in ranked order.
        query_labels: shape (Q,), integer, at least 0.

    Returns:
        shape (Q, N), bool; N is the longest length where the rankings are ragged.

    Raises:
        InvalidValue: A shape or dtype does not fit, or a query's label is negative.

    >>> relevance_matrix([[3, 1], [2]], np.array([1, 2])).tolist()
    [[False, True], [True, False]]
    """
    _require_queries(ranked_labels, query_labels)
    padded = _padded(ranked_labels)
    return np.asarray(padded == query_labels[:, None], dtype=np.bool_)


def relevance_blocks(
    ranked_labels: RankedLabels, query_labels: LabelArray, block: int = 512
) -> Iterator[tuple[slice, BoolArray]]:
    """:func:`relevance_matrix` for ``block`` queries at a time, so that no full matrix is held.

    Yields:
        The slice of the queries, and their relevance of shape (at most ``block``, N).

    Raises:
        InvalidValue: As :func:`relevance_matrix`.
    """
    _require_queries(ranked_labels, query_labels)
    for start in range(0, len(query_labels), block):
        part = slice(start, min(start + block, len(query_labels)))
        yield part, relevance_matrix(ranked_labels[part], query_labels[part])


def _padded(ranked_labels: RankedLabels) -> LabelArray:
    if isinstance(ranked_labels, np.ndarray):
        if ranked_labels.ndim != 2 or not np.issubdtype(ranked_labels.dtype, np.integer):
            raise InvalidValue(
                "ranked_labels must be integer of shape (Q, N), "
                f"not {ranked_labels.dtype} of shape {ranked_labels.shape}."
            )
        return ranked_labels
    rows = [np.asarray(row) for row in ranked_labels]
    padded = np.full((len(rows), max(map(len, rows), default=0)), NOT_FOUND, dtype=np.int64)
    for target, row in zip(padded, rows, strict=True):
        if len(row):
            _require_labels(row, "a row of ranked_labels", None)
            target[: len(row)] = row
    return padded


def _require_queries(ranked_labels: RankedLabels, query_labels: LabelArray) -> None:
    _require_labels(query_labels, "query_labels", None)
    if len(query_labels) and int(query_labels.min()) < 0:
        raise InvalidValue(f"query_labels hold {int(query_labels.min())}.", "Labels are 0 and above.")
    if len(ranked_labels) != len(query_labels):
        raise InvalidValue(f"There are {len(ranked_labels)} rankings for {len(query_labels)} queries.")


def _require_labels(labels: LabelArray, name: str, n_categories: int | None) -> None:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidValue(f"{name} must be integer of one dimension, not {labels.dtype} of shape {labels.shape}.")
    if n_categories is None or len(labels) == 0:
        return
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= n_categories:
        raise InvalidValue(
            f"{name} run from {lowest} to {highest} where there are {n_categories} categories.",
            "Number the categories from 0 and count all of them, also those with no photo.",
        )
