"""A version's matching as a search uses it: queries are lifted, and scores are told with their parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.lifted import LiftedMatching
from sbka_milvus.rankers.photo_parts import PhotoParts
from sbka_milvus.rankers.ranker import Float64Array
from sbka_milvus.types import FloatArray, IntArray, ScoreParts


@dataclass(frozen=True, slots=True, eq=False)
class ServedMatching:
    """A :class:`~sbka_milvus.protocols.Matching`.

    Attributes:
        lifted: how vectors are lifted.
        photos: what those of the version's photos were made of.

    Raises:
        InvalidValue: A photo is in a cluster that does not exist.
    """

    lifted: LiftedMatching
    photos: PhotoParts

    def __post_init__(self) -> None:
        clusters, sizes = self.photos.clusters, [len(table) for table in self.lifted.tables]
        if clusters.shape[1] != len(sizes):
            raise InvalidValue(f"Photos in {clusters.shape[1]} clusterings do not fit {len(sizes)}.")
        if len(clusters) and ((clusters < 0).any() or (clusters.max(axis=0) >= sizes).any()):
            raise InvalidValue("A photo is in a cluster that does not exist.")

    @property
    def name(self) -> str:
        """In a few words, for people."""
        return self.lifted.name

    @property
    def cluster_weight(self) -> float:
        """w, which lies in the vectors."""
        return self.lifted.weight

    def queries(self, vectors: FloatArray) -> FloatArray:
        """See :meth:`LiftedMatching.queries`.

        Raises:
            InvalidValue: A shape, dtype or norm does not fit.
        """
        return self.lifted.queries(vectors)

    def parts(self, query: FloatArray, ids: IntArray, cosines: FloatArray) -> ScoreParts:
        """What scores are made of. The score and the cluster part are exact; the photo's own part is what is left.

        A photo that joined the version after this was fitted has no known parts: both of its are its score.

        Args:
            query: shape (P + 2,), float32: one row of :meth:`queries`.
            ids: shape (n,), int64.
            cosines: shape (n,), float32.
        """
        lifted = self.lifted
        scores = lifted.scores(cosines)
        rows, known = self.photos.rows(ids)
        sketch = query[: lifted.alignment.dims].astype(np.float64) * math.sqrt(2.0)
        clusters, levels = np.zeros(len(ids)), np.zeros(len(ids))
        for number, table in enumerate(lifted.tables):
            of_all = table.astype(np.float64) @ sketch
            clusters[known] += of_all[self.photos.clusters[rows[known], number]] / len(lifted.tables)
        levels[known] = lifted.level_weight * self.photos.levels[rows[known]]
        members = (scores.astype(np.float64) + levels - lifted.weight * clusters) / (1.0 - lifted.weight)
        members[~known] = clusters[~known] = scores[~known]
        return ScoreParts(scores, _cosines(clusters), _cosines(members), levels.astype(np.float32), lifted.weight)


def _cosines(values: Float64Array) -> FloatArray:
    return np.clip(values, -1.0, 1.0).astype(np.float32)
