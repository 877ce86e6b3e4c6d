"""What a ranker is: queries and a gallery in, a score for each pair out.

Rankers here are exact, hold the whole gallery in memory and keep nothing between two calls. An evaluation uses them
as they are. A search can serve those that are linear in the query (:class:`LinearRanker`): the score of a photo is
then the dot product of the query and one vector of the photo, which a vector store can hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, IntArray, require_unit_rows

Float64Array = NDArray[np.float64]


class Ranker(Protocol):
    """Scores a gallery for queries; higher is better."""

    @property
    def name(self) -> str:
        """Short, and telling the parameters: the row of a table."""

    def scores(self, queries: FloatArray, gallery: FloatArray) -> FloatArray:
        """The score of each photo for each query.

        Args:
            queries: shape (Q, D), float32, unit rows.
            gallery: shape (N, D), float32, unit rows, N at least 1.

        Returns:
            shape (Q, N), float32.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """


class LinearRanker(Ranker, Protocol):
    """A ranker whose score is the dot product of the query and a photo's *context vector*; subclasses say which."""

    def context(self, gallery: FloatArray) -> Float64Array:
        """The context vectors, from the gallery alone.

        Args:
            gallery: shape (N, D), float32, unit rows, N at least 1.

        Returns:
            shape (N, D), float64; rows are not of unit length.

        Raises:
            InvalidValue: The gallery does not fit.
        """

    def scores(self, queries: FloatArray, gallery: FloatArray) -> FloatArray:
        """See :class:`Ranker`."""
        require_pair(queries, gallery)
        return dot_scores(queries, self.context(gallery))


@runtime_checkable
class Movable(Protocol):
    """A ranker that holds sketches, which must move with the queries into the space of an alignment."""

    def moved(self, move: Callable[[FloatArray], FloatArray]) -> Ranker:
        """The same ranker with its sketches moved.

        Args:
            move: (B, D) float32 unit rows to (B, P) float32 unit rows.
        """


def moved(ranker: Ranker, move: Callable[[FloatArray], FloatArray]) -> Ranker:
    """The ranker in the space that ``move`` takes sketches to; itself where it holds none."""
    return ranker.moved(move) if isinstance(ranker, Movable) else ranker


def rank_positions(scores: FloatArray) -> IntArray:
    """Gallery positions in order of score, highest first, ties by index, as evaluations rank.

    Args:
        scores: shape (Q, N), float32, finite.

    Returns:
        shape (Q, N), int64.

    Raises:
        InvalidValue: The shape or dtype does not fit, or a score is not finite.

    >>> rank_positions(np.array([[0.1, 0.5, 0.1]], dtype=np.float32)).tolist()
    [[1, 0, 2]]
    """
    if scores.ndim != 2 or scores.dtype != np.float32:
        raise InvalidValue(f"scores must be float32 of shape (Q, N), not {scores.dtype} of shape {scores.shape}.")
    if not np.isfinite(scores).all():
        raise InvalidValue("scores hold a value that is not finite, which has no rank.", "Check the vectors.")
    return np.argsort(-scores, axis=1, kind="stable").astype(np.int64)


def dot_scores(queries: FloatArray, targets: NDArray[Any]) -> FloatArray:
    """Dot products summed in float64 and rounded to float32, so that equal photos tie wherever they stand.

    Args:
        queries: shape (Q, D), float32.
        targets: shape (N, D), any float dtype.

    Returns:
        shape (Q, N), float32.
    """
    return np.asarray(queries.astype(np.float64) @ targets.astype(np.float64).T, dtype=np.float32)


def nearest_centroids(photos: FloatArray, centroids: FloatArray) -> IntArray:
    """The centroid with the highest cosine with each photo, the first of several that tie.

    Args:
        photos: shape (N, D), float32, unit rows.
        centroids: shape (K, D), float32, unit rows.

    Returns:
        shape (N,), int64.

    >>> nearest_centroids(np.float32([[0.6, 0.8], [1.0, 0.0]]), np.eye(2, dtype=np.float32)).tolist()
    [1, 0]
    """
    return np.asarray(dot_scores(photos, centroids).argmax(axis=1), dtype=np.int64)


def blended(gallery: FloatArray, kin: NDArray[Any], weight: float) -> Float64Array:
    """Context vectors of photos that are judged together with others: (1 - w) (itself) + w (what stands for its kin).

    Args:
        gallery: shape (N, D), float32.
        kin: shape (N, D), any float dtype.
        weight: w, in [0, 1].

    Returns:
        shape (N, D), float64.

    >>> blended(np.eye(2, dtype=np.float32), np.ones((2, 2)), 0.25).tolist()
    [[1.0, 0.25], [0.25, 1.0]]
    """
    return np.asarray((1.0 - weight) * gallery.astype(np.float64) + weight * kin)


def require_pair(queries: FloatArray, gallery: FloatArray) -> None:
    """Refuses queries and a gallery that do not fit each other.

    Raises:
        InvalidValue: They are not float32 of unit rows and of one width, or the gallery is empty.
    """
    require_unit_rows(queries, "queries")
    require_gallery(gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise InvalidValue(
            f"queries have {queries.shape[1]} dimensions where the gallery has {gallery.shape[1]}.",
            "Encode sketches and photos with one encoder, and align both.",
        )


def require_gallery(gallery: FloatArray) -> None:
    """Refuses a gallery without photos, or whose rows are not float32 unit vectors.

    Raises:
        InvalidValue: As said.
    """
    require_unit_rows(gallery, "gallery")
    if len(gallery) == 0:
        raise InvalidValue("The gallery holds no photo.", "Ingest at least one.")


def require_share(value: float, name: str) -> None:
    """Refuses a value outside [0, 1].

    Raises:
        InvalidValue: Naming ``name``.
    """
    if not 0.0 <= value <= 1.0:
        raise InvalidValue(f"{name} is {value}.", "It must be between 0 and 1.")


def require_at_least(value: float, least: float, name: str) -> None:
    """Refuses a value below ``least``.

    Raises:
        InvalidValue: Naming ``name``.
    """
    if not value >= least:
        raise InvalidValue(f"{name} is {value}.", f"It must be at least {least}.")
