"""What is true of queries and gallery: categories, the photo that was drawn, and which photos count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation.drawn import NO_PHOTO
from sbka_milvus.evaluation.ranks import BoolArray
from sbka_milvus.evaluation.relevance import count_labels, relevant_counts
from sbka_milvus.types import IntArray


@dataclass(frozen=True, eq=False)
class Truth:
    """Labels of Q queries and N photos. Photos are named by their position in the gallery.

    Attributes:
        names: C category names; label c has the c-th.
        query_labels: shape (Q,), integer, in [0, C).
        photo_labels: shape (N,), integer, in [0, C).
        drawn: shape (Q,), int64: number of the photo that was drawn, -1 where that is not known.
        numbers: shape (N,), int64: numbers of the photos, as :func:`~sbka_milvus.evaluation.drawn.number_photos` gives
            them.
        counted: shape (N,), bool: photos that are in the gallery that is scored. Others are passed over in a ranking,
            as if they had never been there.
    """

    names: tuple[str, ...]
    query_labels: IntArray
    photo_labels: IntArray
    drawn: IntArray
    numbers: IntArray
    counted: BoolArray

    def __post_init__(self) -> None:
        if self.drawn.shape != self.query_labels.shape:
            raise InvalidValue(f"{len(self.drawn)} photos were drawn by {len(self.query_labels)} queries.")
        if self.numbers.shape != self.photo_labels.shape or self.counted.shape != self.photo_labels.shape:
            raise InvalidValue(f"Not each of the {len(self.photo_labels)} photos has a number and says if it counts.")
        if len(set(self.names)) != len(self.names):
            raise InvalidValue("Two categories have one name.", "Give each category a name of its own.")

    @cached_property
    def photo_counts(self) -> IntArray:
        """shape (C,), int64: photos of each category that count."""
        return count_labels(self.photo_labels[self.counted], len(self.names))

    @cached_property
    def usable(self) -> BoolArray:
        """shape (Q,), bool: queries with a photo of their category; nothing can be said of the others."""
        return relevant_counts(self.query_labels, self.photo_counts) > 0

    @property
    def n_gallery(self) -> int:
        """Photos that count."""
        return int(np.count_nonzero(self.counted))

    @cached_property
    def labels(self) -> IntArray:
        """Shape (U,), int64: categories of the usable queries."""
        return self.query_labels[self.usable].astype(np.int64)

    @cached_property
    def n_relevant(self) -> IntArray:
        """shape (U,), int64: photos relevant to each usable query."""
        return relevant_counts(self.labels, self.photo_counts)

    @cached_property
    def n_drawn(self) -> IntArray:
        """shape (U,), int64: photos in the gallery with the number that each usable query has drawn; 0 for none."""
        copies = np.bincount(self.numbers[self.counted], minlength=int(self.numbers.max(initial=0)) + 1)
        drawn = self.drawn[self.usable]
        return np.where(drawn == NO_PHOTO, 0, copies[np.maximum(drawn, 0)]).astype(np.int64)

    def without(self, doubles: BoolArray) -> Truth:
        """The truth of the gallery without some photos; ``doubles`` is of shape (N,), bool."""
        return replace(self, counted=self.counted & ~doubles)
