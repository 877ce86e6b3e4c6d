"""Levelling: some photos are near to every sketch ("hubs"); what they owe to that is taken off.

The idea is that of querybank normalisation and of CSLS: a photo's level is how well it does with sketches that are
known to mean something else. Those are at hand without labels: the training's sketches, none of which is of an unseen
category. The correction is one number a photo, so it can be served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.ranker import (
    Float64Array,
    LinearRanker,
    dot_scores,
    require_pair,
    require_share,
)
from sbka_milvus.types import FloatArray, require_unit_rows

_SCORES_PER_BLOCK = 4_000_000  # 32 MB of float64


@dataclass(frozen=True, slots=True, eq=False)
class Levelled:
    """score(q, x) = base score(q, x) - h level(x), level(x) = mean of the best scores of training sketches with x.

    Attributes:
        base: a ranker that is linear in the query.
        sketches: shape (B, D), float32, unit rows: of the training. They are moved into the space of an alignment
            together with the queries.
        weight: h, in [0, 1].
        share: which share of the training's sketches counts as the best for a photo; at least one does.
    """

    base: LinearRanker
    sketches: FloatArray
    weight: float = 0.4
    share: float = 0.05

    def __post_init__(self) -> None:
        require_unit_rows(self.sketches, "sketches")
        if len(self.sketches) == 0:
            raise InvalidValue("There is no training sketch to level photos with.", "Pass at least one.")
        require_share(self.weight, "weight")
        require_share(self.share, "share")

    @property
    def name(self) -> str:
        """For tables."""
        return f"levelled {self.weight:g} {self.base.name}"

    def moved(self, move: Callable[[FloatArray], FloatArray]) -> Levelled:
        """The same with the training's sketches in another space."""
        return replace(self, sketches=move(self.sketches))

    def levels(self, context: Float64Array) -> Float64Array:
        """The level of each photo.

        Args:
            context: shape (N, D), float64: the base's vectors of the photos.

        Returns:
            shape (N,), float64.
        """
        return levels_of(context, self.sketches, self.share)

    def scores(self, queries: FloatArray, gallery: FloatArray) -> FloatArray:
        """See :class:`sbka_milvus.rankers.ranker.Ranker`.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        require_pair(queries, gallery)
        if self.sketches.shape[1] != gallery.shape[1]:
            raise InvalidValue(
                f"Training sketches of {self.sketches.shape[1]} dimensions do not fit a gallery of {gallery.shape[1]}.",
                "Encode, and align, both in one way.",
            )
        context = self.base.context(gallery)
        return np.asarray(dot_scores(queries, context) - self.weight * self.levels(context), dtype=np.float32)


def levels_of(context: Float64Array, sketches: FloatArray, share: float) -> Float64Array:
    """Mean of the best scores that training sketches have with each photo.

    Args:
        context: shape (N, D), float64: vectors of the photos.
        sketches: shape (B, D), float32, unit rows, B at least 1.
        share: which share of the sketches counts as the best; at least one does.

    Returns:
        shape (N,), float64.

    >>> levels_of(np.array([[1.0, 0.5]]), np.eye(2, dtype=np.float32), 0.5).tolist()
    [1.0]
    """
    count = max(1, round(share * len(sketches)))
    wide = sketches.astype(np.float64)
    block = max(1, _SCORES_PER_BLOCK // len(wide))
    levels = np.empty(len(context))
    for start in range(0, len(context), block):
        scores = context[start : start + block] @ wide.T
        levels[start : start + block] = np.partition(scores, -count, axis=1)[:, -count:].mean(axis=1)
    return levels
