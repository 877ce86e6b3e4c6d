"""The two plug-in points: what encodes images, and what keeps vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from PIL import Image

from sbka_milvus.types import Candidates, ClusterTable, FloatArray, GalleryRows, IntArray, VersionInfo


class Encoder(Protocol):
    """Turns images into unit vectors of one space that sketches and photos share."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def fingerprint(self) -> str:
        """Names architecture, weights, preprocessing and dimension: equal for encoders that make the same vectors."""

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        """shape (N, dim), float32, unit rows."""

    def encode_sketches(self, sketches: Sequence[Image.Image]) -> FloatArray:
        """shape (N, dim), float32, unit rows; sketches come normalised (dark ink on white)."""


class GalleryStore(Protocol):
    """Keeps versions of galleries: photos in cluster partitions, and the clusters themselves.

    A version is built unseen (:meth:`create_version`, :meth:`insert`), then served (:meth:`promote`).

    Every method that names a gallery or version may raise:
        CollectionMissing: there is none of that name.
        StoreUnavailable: the store cannot be reached now.
        StoreError: the store refused for another reason.
    """

    def create_version(self, gallery: str, fingerprint: str, table: ClusterTable) -> VersionInfo:
        """A new empty version, numbered one above the highest, with its clusters and cluster partitions."""

    def insert(self, info: VersionInfo, rows: GalleryRows) -> None:
        """Adds photos. Returns when they are acknowledged. A photo id that is already there is replaced.

        Rows of a photo that changed its cluster must not be sent: build a new version instead.
        """

    def promote(self, info: VersionInfo) -> None:
        """Serves this version from now on: the alias switches in one step."""

    def drop_version(self, info: VersionInfo) -> None:
        """Removes a version that is not served.

        Raises:
            StoreError: The version is being served.
        """

    def delete(self, info: VersionInfo, ids: IntArray) -> None:
        """Removes photos by id; ids that are not there are ignored."""

    def versions(self, gallery: str) -> list[VersionInfo]:
        """All versions, oldest first; empty where the gallery is unknown."""

    def served(self, gallery: str) -> VersionInfo:
        """The version that is served."""

    def count(self, info: VersionInfo) -> int:
        """How many photos a version holds."""

    def clusters(self, info: VersionInfo) -> ClusterTable:
        """The clusters as they were given to :meth:`create_version`."""

    def search(self, info: VersionInfo, queries: FloatArray, cluster_ids: IntArray, limit: int) -> list[Candidates]:
        """For each query the ``limit`` photos of the named clusters with the highest member scores.

        Args:
            queries: shape (Q, D), float32, unit rows.
            cluster_ids: shape (P,), int64: clusters to look into. None of them: no candidates.
            limit: at least 1; a store may have a largest one (16,384 for Milvus).

        Returns:
            Q results, ordered by member score, highest first, ties by id.
        """

    def scan(self, info: VersionInfo, batch_size: int = 1000) -> Iterator[GalleryRows]:
        """All photos of a version with their vectors, in no particular order."""

    def close(self) -> None:
        """Gives back connections and file locks. Calling it twice is allowed."""
