"""Scores the rankings of one method, a block of queries at a time, and keeps what reports are made of.

A block of b queries takes about 30 b N bytes while it is scored (positions, labels, relevance); what stays is a few
hundred bytes a query. In the blocks of 32 MB of positions that the pipelines give, a gallery of 17,101 photos needs
about 120 MB whatever the number of queries; the whole ranking of 15,229 queries would take 2.1 GB a method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.plan import RECALL_KS, EvaluationPlan, metric_names
from sbka_milvus.evaluation.ranks import BoolArray, Float64Array, hit_precisions, hit_ranks
from sbka_milvus.evaluation.truth import Truth
from sbka_milvus.types import IntArray

RECALL_LEVELS = tuple(level / 20 for level in range(21))
"""Recall at the points of a precision-recall curve."""

SHOWN_HITS = 7


@dataclass(frozen=True, slots=True, eq=False)
class QueryScores:
    """What one method scored, query by query; U queries are usable.

    Attributes:
        method: its name.
        values: metric to shape (U,), float64.
        curves: shape (U, 21), float64: interpolated precision at :data:`RECALL_LEVELS`.
        drawn_ranks: shape (U,), int64: rank of the photo that was drawn; 0 where that is not known.
        drawn_ranks_in_category: shape (U,), int64: its rank among the photos of the category, likewise.
        first: shape (U, at most 7), int64: gallery positions of the first hits.
    """

    method: str
    values: Mapping[str, Float64Array]
    curves: Float64Array
    drawn_ranks: IntArray
    drawn_ranks_in_category: IntArray
    first: IntArray

    def recalls(self) -> dict[str, Float64Array]:
        """R@k over the gallery and within the category, of the queries whose drawn photo is known: shape (V,) each."""
        known = self.drawn_ranks > 0
        places = {"": self.drawn_ranks[known], " in category": self.drawn_ranks_in_category[known]}
        return {f"R@{k}{where}": (ranks <= k).astype(np.float64) for where, ranks in places.items() for k in RECALL_KS}


class Tally:
    """Collects the scores of one method.

    Args:
        method: its name in the report.
        truth: what is true of queries and gallery.
        plan: what to measure.
    """

    def __init__(self, method: str, truth: Truth, plan: EvaluationPlan) -> None:
        self._method, self._truth, self._plan = method, truth, plan
        n_usable = int(np.count_nonzero(truth.usable))
        self._place = np.cumsum(truth.usable) - 1  # of a query among the usable ones
        self._values = {name: np.full(n_usable, np.nan) for name in metric_names(plan.ks, plan.map_ks)}
        self._curves = np.zeros((n_usable, len(RECALL_LEVELS)))
        self._ranks = np.zeros((2, n_usable), dtype=np.int64)
        self._first = np.zeros((n_usable, min(SHOWN_HITS, truth.n_gallery)), dtype=np.int64)
        self._photo_labels = truth.photo_labels.astype(np.int32)
        self._done = np.zeros(len(truth.query_labels), dtype=np.bool_)

    def add(self, part: slice, positions: IntArray) -> None:
        """Scores a block.

        Args:
            part: the queries of the block, out of all Q.
            positions: shape (queries of the block, N), integer: the whole gallery in ranked order, each position once.

        Raises:
            InvalidValue: The shape or a position does not fit, or a photo is ranked twice.
        """
        truth = self._truth
        usable = truth.usable[part]
        if positions.shape != (len(usable), len(truth.photo_labels)) or not np.issubdtype(positions.dtype, np.integer):
            raise InvalidValue(
                f"The rankings of {self._method!r} are {positions.dtype} of shape {positions.shape}.",
                f"They must be integer of shape ({len(usable)}, {len(truth.photo_labels)}).",
            )
        _require_permutations(positions, self._method)
        self._done[part] = True
        positions = positions[usable]
        if not truth.counted.all():
            positions = positions[truth.counted[positions]].reshape(len(positions), truth.n_gallery)
        rows = self._place[part][usable]
        relevant = self._photo_labels[positions] == truth.labels[rows, None]
        self._score(rows, relevant)
        self._find_drawn(rows, relevant, positions, truth.drawn[part][usable])
        self._first[rows] = positions[:, : self._first.shape[1]]

    def finish(self) -> QueryScores:
        """The scores of all queries.

        Raises:
            InvalidValue: A query was never added.
        """
        if not self._done.all():
            raise InvalidValue(f"{int((~self._done).sum())} queries of {self._method!r} were not ranked.", "Rank all.")
        ranks, in_category = self._ranks
        return QueryScores(self._method, self._values, self._curves, ranks, in_category, self._first)

    def _score(self, rows: IntArray, relevant: BoolArray) -> None:
        rules, n_relevant = self._plan.rules, self._truth.n_relevant[rows]
        ranks = hit_ranks(relevant)
        self._values["mAP@all"][rows] = rules.average_precision(ranks, n_relevant)
        for k in self._plan.map_ks:
            self._values[f"mAP@{k}"][rows] = rules.average_precision(ranks, n_relevant, k)
            self._values[f"mAP@{k} lenient"][rows] = rules.average_precision(ranks, n_relevant, k, lenient=True)
        for k in self._plan.ks:
            self._values[f"P@{k}"][rows] = rules.precision(ranks, k, n_relevant, self._truth.n_gallery)
        self._curves[rows] = recall_curves(ranks, n_relevant)

    def _find_drawn(self, rows: IntArray, relevant: BoolArray, positions: IntArray, drawn: IntArray) -> None:
        known = self._truth.n_drawn[rows] > 0
        if not known.any():
            return
        found = np.argmax(self._truth.numbers[positions[known]] == drawn[known, None], axis=1)
        above = np.cumsum(relevant[known], axis=1, dtype=np.int32)
        self._ranks[0, rows[known]] = found + 1
        self._ranks[1, rows[known]] = above[np.arange(len(found)), found]


def recall_curves(ranks: IntArray, n_relevant: IntArray) -> Float64Array:
    """Interpolated precision at each of :data:`RECALL_LEVELS`: the largest at any rank where recall is that high.

    Args:
        ranks: shape (Q, H), int64, as :func:`~sbka_milvus.evaluation.ranks.hit_ranks` gives them.
        n_relevant: shape (Q,), integer, at least 1.

    Returns:
        shape (Q, 21), float64, falling along each row; 0 where recall never comes that far.

    >>> recall_curves(np.array([[1, 4]]), np.array([2]))[0, [0, 10, 11, 20]].tolist()
    [1.0, 1.0, 0.5, 0.5]
    """
    if ranks.shape[1] == 0:
        return np.zeros((len(ranks), len(RECALL_LEVELS)))
    precisions = hit_precisions(ranks, interpolated=True)
    # The margin keeps 0.15 x 20 = 3.0000000000000004 from asking for a fourth hit.
    needed = np.ceil(np.multiply.outer(n_relevant, RECALL_LEVELS) - 1e-9).astype(np.int64)
    index = np.maximum(needed, 1) - 1
    found = np.take_along_axis(precisions, np.minimum(index, ranks.shape[1] - 1), axis=1)
    return np.asarray(np.where(index < ranks.shape[1], found, 0.0), dtype=np.float64)


def _require_permutations(positions: IntArray, method: str) -> None:
    n_photos = positions.shape[1]
    if positions.size and (positions.min() < 0 or positions.max() >= n_photos):
        raise InvalidValue(
            f"The rankings of {method!r} hold positions from {positions.min()} to {positions.max()}.",
            f"The gallery's photos are 0 to {n_photos - 1}.",
        )
    seen = np.zeros(positions.shape, dtype=np.bool_)
    np.put_along_axis(seen, positions, True, axis=1)
    if not seen.all():
        raise InvalidValue(f"A ranking of {method!r} holds a photo twice.", "Rank each photo of the gallery once.")
