"""What the vectors of a version's photos were made of, photo by photo: so that a hit can tell its score's parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.lifted import LiftedPhotos
from sbka_milvus.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class PhotoParts:
    """Clusters and levels by photo id: 32 bytes a photo with five clusterings.

    Attributes:
        ids: shape (N,), int64, ascending.
        clusters: shape (N, M), int32: the photo's cluster in each clustering.
        levels: shape (N,), float32.

    Raises:
        InvalidValue: The shapes do not fit, or the ids do not ascend.
    """

    ids: IntArray
    clusters: NDArray[np.int32]
    levels: FloatArray

    def __post_init__(self) -> None:
        count = len(self.ids)
        if self.ids.shape != (count,) or self.levels.shape != (count,) or self.clusters.shape[:1] != (count,):
            raise InvalidValue(f"The parts of {count} photos do not fit one another.")
        if self.clusters.ndim != 2 or (count > 1 and not (np.diff(self.ids) > 0).all()):
            raise InvalidValue("The ids of photos must ascend, with a row of clusters each.")

    @classmethod
    def of(cls, ids: IntArray, photos: LiftedPhotos) -> PhotoParts:
        """Those of photos that were lifted.

        Args:
            ids: shape (N,), int64, distinct, in the order of ``photos``.
            photos: what they were lifted to.
        """
        order = np.argsort(ids, kind="stable")
        return cls(ids[order], photos.clusters[order].astype(np.int32), photos.levels[order].astype(np.float32))

    def rows(self, ids: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Where photos stand.

        Args:
            ids: shape (n,), int64.

        Returns:
            shape (n,), int64: rows; shape (n,), bool: whether the photo is there at all, and its row means something.
        """
        if len(self.ids) == 0:
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1).astype(np.int64)
        return places, np.asarray(self.ids[places] == ids)
