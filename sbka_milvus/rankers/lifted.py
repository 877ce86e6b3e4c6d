"""A linear ranker as a search by cosine: what Milvus holds in place of the photos' own vectors.

The ranker is that of :func:`sbka_milvus.rankers.systems.linear_system`: score(q, x) = q . v(x) - h level(x), with the
sketch q and the photo x aligned, v(x) = w (mean of the photo's centroids) + (1 - w) x, which is no unit vector. A store
that knows cosines ranks by it all the same once both sides are *lifted*, which is the reduction of inner products to
nearest neighbours (Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using a Euclidean Transformation for
Inner-Product Spaces"; Neyshabur and Srebro 2015, "On Symmetric and Asymmetric LSHs for Inner Product Search"):

    photo = [v, -h level, sqrt(R^2 - |v|^2 - (h level)^2)] / R,    sketch = [q, 1, 0] / sqrt(2)

Both are unit vectors, and their cosine times R sqrt(2) is the score. R^2 = 1 + h^2 is enough for any photo, so also for
one that joins later: v is a mean of unit vectors, and a level is a mean of dot products of v and unit vectors, so
neither |v| nor |level| is above 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.alignment import ModalityAlignment
from sbka_milvus.rankers.levelled import levels_of
from sbka_milvus.rankers.ranker import Float64Array, blended, nearest_centroids, require_share
from sbka_milvus.types import FloatArray, IntArray, require_unit_rows

MOST_WEIGHT = 0.99
"""Above it the photo itself hardly counts, and its own part of a score could not be told from rounding."""

_BLOCK = 4096
"""Photos that are worked on at once, so that a large gallery needs no second copy in float64."""


@dataclass(frozen=True, slots=True, eq=False)
class LiftedPhotos:
    """Photos as a store holds them, and what their vectors were made of.

    Attributes:
        rows: shape (N, P + 2), float32, unit rows.
        clusters: shape (N, M), int64: the photo's cluster in each clustering.
        levels: shape (N,), float64.
    """

    rows: FloatArray
    clusters: IntArray
    levels: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class LiftedMatching:
    """How sketches and photos of one gallery are matched, fitted and frozen.

    Attributes:
        alignment: what is done to vectors first.
        tables: M at least 1 clusterings of the aligned photos, each of shape (K, P), float32, unit rows.
        weight: w, of the cluster scores, 0 to 0.99.
        sketches: shape (B, P), float32, unit rows: of the training, aligned; they say how high a photo's level is.
        level_weight: h, in [0, 1].
        share: which share of those sketches counts as the best for a photo.

    Raises:
        InvalidValue: The parts do not fit one another, or a number is out of range.
    """

    alignment: ModalityAlignment
    tables: tuple[FloatArray, ...]
    weight: float
    sketches: FloatArray
    level_weight: float = 0.4
    share: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight <= MOST_WEIGHT:
            raise InvalidValue(f"The cluster weight is {self.weight}.", f"It must be between 0 and {MOST_WEIGHT}.")
        require_share(self.level_weight, "level_weight")
        require_share(self.share, "share")
        named = [(f"tables[{number}]", table) for number, table in enumerate(self.tables)]
        for name, rows in [*named, ("sketches", self.sketches)]:
            require_unit_rows(rows, name)
            if len(rows) == 0 or rows.shape[1] != self.alignment.dims:
                raise InvalidValue(f"{name} of shape {rows.shape} do not fit {self.alignment.dims} dimensions.")
        if not self.tables:
            raise InvalidValue("There is no clustering to match with.", "Pass at least one.")

    @property
    def name(self) -> str:
        """In a few words, for people."""
        wide = f"{len(self.tables)} clusterings of {max(map(len, self.tables))}, weight {self.weight:g}"
        return f"linear: {self.alignment.dims} directions, {wide}, levelled {self.level_weight:g}"

    @property
    def dim(self) -> int:
        """Length of a lifted vector."""
        return self.alignment.dims + 2

    @property
    def radius(self) -> float:
        """R: what no photo's vector is longer than."""
        return math.sqrt(1.0 + self.level_weight**2)

    def queries(self, vectors: FloatArray) -> FloatArray:
        """Sketches, lifted.

        Args:
            vectors: shape (Q, D), float32, unit rows, as encoded.

        Returns:
            shape (Q, P + 2), float32, unit rows.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        aligned = self.alignment.sketches(vectors)
        one = np.ones((len(aligned), 1), dtype=np.float32)
        return np.asarray(np.hstack([aligned, one, 0.0 * one]) / np.float32(math.sqrt(2.0)), dtype=np.float32)

    def photos(self, vectors: FloatArray) -> LiftedPhotos:
        """Photos, lifted: those of the gallery that this was fitted to, or any that join it later.

        Args:
            vectors: shape (N, D), float32, unit rows, as encoded.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        lifted = LiftedPhotos(
            np.empty((len(vectors), self.dim), dtype=np.float32),
            np.empty((len(vectors), len(self.tables)), dtype=np.int64),
            np.empty(len(vectors)),
        )
        for rows in _blocks(len(vectors)):
            context, lifted.clusters[rows] = self.context(self.alignment.photos(vectors[rows]))
            lifted.levels[rows] = levels_of(context, self.sketches, self.share)
            lifted.rows[rows] = self._lift(context, lifted.levels[rows])
        return lifted

    def context(self, aligned: FloatArray) -> tuple[Float64Array, IntArray]:
        """v(x) of aligned photos, and the clusters that they are in.

        Args:
            aligned: shape (N, P), float32, unit rows.

        Returns:
            shape (N, P), float64; shape (N, M), int64.
        """
        clusters = np.empty((len(aligned), len(self.tables)), dtype=np.int64)
        kin = np.zeros(aligned.shape)
        for number, table in enumerate(self.tables):
            clusters[:, number] = nearest_centroids(aligned, table)
            kin += table[clusters[:, number]]
        return blended(aligned, kin / len(self.tables), self.weight), clusters

    def scores(self, cosines: FloatArray) -> FloatArray:
        """The scores that cosines of lifted vectors stand for.

        Args:
            cosines: any shape, float32.

        Returns:
            The same shape, float32.
        """
        return np.asarray(cosines.astype(np.float64) * (self.radius * math.sqrt(2.0)), dtype=np.float32)

    def _lift(self, context: Float64Array, levels: Float64Array) -> FloatArray:
        taken_off = -self.level_weight * levels[:, None]
        squares = (context**2).sum(axis=1, keepdims=True) + taken_off**2
        rest = np.sqrt(np.maximum(self.radius**2 - squares, 0.0))
        return np.asarray(np.hstack([context, taken_off, rest]) / self.radius, dtype=np.float32)


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, _BLOCK):
        yield slice(start, min(start + _BLOCK, count))
