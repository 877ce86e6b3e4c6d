"""Queries that show what a method is good and bad at."""

from __future__ import annotations

import numpy as np

from sbka_milvus.evaluation.ranks import Float64Array
from sbka_milvus.types import IntArray

EXAMPLES = 4


def pick_examples(values: Float64Array, labels: IntArray, n: int = EXAMPLES) -> tuple[list[int], list[int]]:
    """The queries with the highest and with the lowest figures, one of each category, so that they show several.

    Args:
        values: shape (Q,), float64: a figure of each query.
        labels: shape (Q,), integer: its category.
        n: how many of each kind, at most.

    Returns:
        Positions of the best, best first, and of the worst, worst first. No query is both; ties go by position.

    >>> pick_examples(np.array([0.9, 0.8, 0.1, 0.5]), np.array([0, 0, 1, 1]), 1)
    ([0], [2])
    """
    order = np.argsort(-values, kind="stable").tolist()
    best = _one_a_category(order, labels, n)
    worst = _one_a_category([query for query in reversed(order) if query not in set(best)], labels, n)
    return best, worst


def _one_a_category(order: list[int], labels: IntArray, n: int) -> list[int]:
    first: dict[int, int] = {}
    for query in order:
        if len(first) == n:
            break
        first.setdefault(int(labels[query]), query)
    return list(first.values())
