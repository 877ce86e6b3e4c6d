"""From ranked labels to the scores of one method, block by block of queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.metrics import (
    Float64Array,
    average_precision,
    expected_random_average_precision,
    expected_random_precision_at_k,
    precision_at_k,
)
from sbka_milvus.evaluation.relevance import LabelArray, RankedLabels, relevance_blocks, relevant_counts
from sbka_milvus.evaluation.report import MethodScores

DEFAULT_PRECISION_KS = (10, 25, 100)
DEFAULT_MAP_KS = (200,)


def score_rankings(
    method: str,
    ranked_labels: RankedLabels,
    query_labels: LabelArray,
    gallery_label_counts: LabelArray,
    ks: Sequence[int] = DEFAULT_PRECISION_KS,
    *,
    map_ks: Sequence[int] = DEFAULT_MAP_KS,
) -> MethodScores:
    """mAP@all, mAP@k (strict) and P@k of one method, each the mean over the queries.

    Args:
        method: its name in the report, such as "one-to-many".
        ranked_labels: shape (Q, N), integer, or Q sequences of their own lengths: categories in ranked order. Photos
            that a short ranking leaves out count as never found, so mAP@all of a cut ranking is a lower bound.
        query_labels: shape (Q,), integer, in [0, C).
        gallery_label_counts: shape (C,), integer: photos of each category in the whole gallery.
        ks: cut-offs of P@k.
        map_ks: cut-offs of mAP@k.

    Raises:
        InvalidValue: There is no query, a query has no relevant photo, or a shape does not fit.

    >>> scores = score_rankings("one-to-one", [[0, 1], [0, 1]], np.array([0, 1]), np.array([1, 1]), (1,), map_ks=())
    >>> scores.values
    {'mAP@all': 0.75, 'P@1': 0.5}
    """
    counts = _answerable_counts(query_labels, gallery_label_counts)
    sums = dict.fromkeys(_metric_names(ks, map_ks), 0.0)
    for part, relevant in relevance_blocks(ranked_labels, query_labels):
        sums["mAP@all"] += float(average_precision(relevant, counts[part]).sum())
        for k in map_ks:
            sums[f"mAP@{k}"] += float(average_precision(relevant, counts[part], k).sum())
        for k in ks:
            sums[f"P@{k}"] += float(precision_at_k(relevant, k).sum())
    return MethodScores(method, {name: total / len(counts) for name, total in sums.items()})


def score_chance(
    query_labels: LabelArray,
    gallery_label_counts: LabelArray,
    ks: Sequence[int] = DEFAULT_PRECISION_KS,
    *,
    map_ks: Sequence[int] = DEFAULT_MAP_KS,
    method: str = "chance",
) -> MethodScores:
    """What :func:`score_rankings` is expected to give for rankings drawn at random; exact, nothing is drawn.

    Args and errors are those of :func:`score_rankings`.

    >>> score_chance(np.array([0]), np.array([1, 1]), (1,), map_ks=()).values
    {'mAP@all': 0.75, 'P@1': 0.5}
    """
    counts = _answerable_counts(query_labels, gallery_label_counts)
    n_gallery = int(gallery_label_counts.sum())
    values = {"mAP@all": expected_random_average_precision(counts, n_gallery)}
    values |= {f"mAP@{k}": expected_random_average_precision(counts, n_gallery, k) for k in map_ks}
    values |= {f"P@{k}": expected_random_precision_at_k(counts, n_gallery, k) for k in ks}
    return MethodScores(method, {name: float(value.mean()) for name, value in values.items()})


def score_categories(
    ranked_labels: RankedLabels,
    query_labels: LabelArray,
    gallery_label_counts: LabelArray,
    category_names: Sequence[str],
) -> dict[str, float]:
    """Mean AP (over all ranks) of each category's queries, in the order of the labels.

    Args:
        ranked_labels: as for :func:`score_rankings`.
        query_labels: as for :func:`score_rankings`.
        gallery_label_counts: shape (C,), integer.
        category_names: C distinct names; label c has the c-th.

    Returns:
        One entry for each category that has a query.

    Raises:
        InvalidValue: As :func:`score_rankings`; also where names and counts differ in number or a name comes twice.

    >>> score_categories([[0, 1], [0, 1]], np.array([0, 1]), np.array([1, 1]), ("ant", "bee"))
    {'ant': 1.0, 'bee': 0.5}
    """
    if len(category_names) != len(gallery_label_counts) or len(set(category_names)) != len(category_names):
        raise InvalidValue(
            f"There are {len(category_names)} category names ({len(set(category_names))} of them distinct) "
            f"for {len(gallery_label_counts)} categories.",
            "Give each category one name of its own.",
        )
    precisions = _average_precisions(ranked_labels, query_labels, gallery_label_counts)
    sums = np.bincount(query_labels, weights=precisions, minlength=len(category_names))
    queries = np.bincount(query_labels, minlength=len(category_names))
    return {category_names[label]: float(sums[label] / queries[label]) for label in np.flatnonzero(queries).tolist()}


def _average_precisions(
    ranked_labels: RankedLabels, query_labels: LabelArray, gallery_label_counts: LabelArray
) -> Float64Array:
    counts = _answerable_counts(query_labels, gallery_label_counts)
    parts = [
        average_precision(relevant, counts[part]) for part, relevant in relevance_blocks(ranked_labels, query_labels)
    ]
    return np.concatenate(parts)


def _answerable_counts(query_labels: LabelArray, gallery_label_counts: LabelArray) -> LabelArray:
    counts = relevant_counts(query_labels, gallery_label_counts)
    if len(counts) == 0:
        raise InvalidValue("There is no query to score.", "Pass at least one.")
    without = int(np.count_nonzero(counts == 0))
    if without:
        raise InvalidValue(
            f"{without} of {len(counts)} queries have no photo of their category in the gallery.",
            "Leave these queries out (answerable() names them), and say so in the report's notes.",
        )
    return counts


def _metric_names(ks: Sequence[int], map_ks: Sequence[int]) -> list[str]:
    return ["mAP@all", *(f"mAP@{k}" for k in map_ks), *(f"P@{k}" for k in ks)]
