"""In which space a search compares, so that its confidence is computed, and was fitted, in the very same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from sbka_milvus.rankers.alignment import ModalityAlignment
from sbka_milvus.rankers.ranker import dot_scores, require_pair
from sbka_milvus.rankers.served_features import N_FIRST, SearchEvidence
from sbka_milvus.types import FloatArray, IntArray

ServedForm = Literal["fused", "linear"]
"""``fused``: one-to-many on the vectors as encoded. ``linear``: that of
:func:`~sbka_milvus.rankers.systems.linear_system`, on aligned vectors. Their scores are not on one scale."""

SERVED_FORMS: tuple[ServedForm, ...] = ("fused", "linear")


class SearchSpace(Protocol):
    """Where sketches, centroids and the cohort are compared."""

    @property
    def form(self) -> ServedForm:
        """Which confidence fits."""

    @property
    def centroids(self) -> FloatArray:
        """shape (K, P), float32, unit rows, in this space."""

    def sketches(self, vectors: FloatArray) -> FloatArray:
        """shape (Q, D), float32, unit rows, as encoded -> shape (Q, P), in this space."""

    def photos(self, vectors: FloatArray) -> FloatArray:
        """The same for photos."""


@dataclass(frozen=True, slots=True, eq=False)
class FusedSpace:
    """The vectors as encoded.

    Attributes:
        centroids: shape (K, D), float32, unit rows.
    """

    centroids: FloatArray

    @property
    def form(self) -> ServedForm:
        """See :class:`SearchSpace`."""
        return "fused"

    def sketches(self, vectors: FloatArray) -> FloatArray:
        """Themselves."""
        return vectors

    def photos(self, vectors: FloatArray) -> FloatArray:
        """Themselves."""
        return vectors


@dataclass(frozen=True, slots=True, eq=False)
class LinearSpace:
    """Aligned vectors.

    Attributes:
        alignment: of the gallery.
        centroids: shape (K, P), float32, unit rows: of the gallery's aligned photos.
    """

    alignment: ModalityAlignment
    centroids: FloatArray

    @property
    def form(self) -> ServedForm:
        """See :class:`SearchSpace`."""
        return "linear"

    def sketches(self, vectors: FloatArray) -> FloatArray:
        """Aligned."""
        return self.alignment.sketches(vectors)

    def photos(self, vectors: FloatArray) -> FloatArray:
        """Aligned by the gallery's mean and directions, whatever set they are of."""
        return self.alignment.photos(vectors)


def search_evidence(
    space: SearchSpace, sketches: FloatArray, hits: FloatArray, hit_clusters: IntArray, cohort: FloatArray
) -> SearchEvidence:
    """The evidence of searches that were made in a space.

    Args:
        space: of the search.
        sketches: shape (Q, D), float32, unit rows, as encoded.
        hits: shape (Q, H), float32: scores of the first hits, highest first; those beyond the tenth are left out.
        hit_clusters: shape (Q, H), int64.
        cohort: shape (C, P), float32, unit rows: photos of the training, in the space.

    Raises:
        InvalidValue: A shape, dtype or norm does not fit.
    """
    moved = space.sketches(sketches)
    require_pair(moved, space.centroids)
    require_pair(moved, cohort)
    return SearchEvidence(
        dot_scores(moved, space.centroids), hits[:, :N_FIRST], hit_clusters[:, :N_FIRST], dot_scores(moved, cohort)
    )
