"""A gallery store in memory: exact, plain, and the oracle of every other store's tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import RLock
from uuid import uuid4

import numpy as np

from sbka_milvus.errors import InvalidValue, StoreError
from sbka_milvus.store.filters import URI_COLUMN, column_fields, matches, parse_filter
from sbka_milvus.store.filters.columns import require_fields
from sbka_milvus.store.filters.conditions import Condition
from sbka_milvus.store.limits import require_cluster_ids, require_new_version, require_rows, require_search
from sbka_milvus.store.names import require_gallery_name
from sbka_milvus.store.refusals import closed_store, no_longer_served, not_served, served_version, unknown_version
from sbka_milvus.store.uris import encode_uri
from sbka_milvus.types import (
    CANDIDATE_FIELDS,
    CandidateField,
    Candidates,
    ClusterTable,
    Embeddings,
    FloatArray,
    GalleryRows,
    IntArray,
    Metadata,
    MetadataField,
    StoredRows,
    VersionInfo,
)


@dataclass(frozen=True, slots=True)
class _Photo:
    uri: str
    cluster_id: int
    vector: FloatArray
    metadata: Metadata


@dataclass(slots=True)
class _Version:
    info: VersionInfo
    table: ClusterTable
    photos: dict[int, _Photo] = field(default_factory=dict)


@dataclass(slots=True)
class _Gallery:
    versions: dict[int, _Version] = field(default_factory=dict)
    served: int | None = None


class MemoryGalleryStore:
    """A :class:`~sbka_milvus.protocols.GalleryStore` that forgets everything when it is closed.

    It does what Milvus does, limits included, by walking all photos of the named clusters. In one thing it is
    stricter: a photo that moves to another cluster is refused, where Milvus would keep both rows.
    Threads may share it.
    """

    def __init__(self) -> None:
        self._galleries: dict[str, _Gallery] = {}
        self._lock = RLock()
        self._closed = False

    def create_version(
        self,
        gallery: str,
        fingerprint: str,
        table: ClusterTable,
        fields: Sequence[MetadataField] = (),
        *,
        matching: str = "",
    ) -> VersionInfo:
        """A new empty version, numbered one above the highest.

        Raises:
            InvalidValue: The gallery's name, the fingerprint, the table or the fields cannot be stored.
        """
        require_gallery_name(gallery)
        require_new_version(fingerprint, table)
        require_fields(fields)
        with self._open():
            versions = self._galleries.setdefault(gallery, _Gallery()).versions
            number, dim = max(versions, default=0) + 1, int(table.centroids.shape[1])
            info = VersionInfo(
                gallery, number, fingerprint, dim, len(table), uuid4().hex, matching=matching, fields=tuple(fields)
            )
            versions[info.version] = _Version(info, _copy(table))
            return info

    def insert(self, info: VersionInfo, rows: GalleryRows) -> None:
        """Adds photos; those that are already there are replaced.

        Raises:
            InvalidValue: The rows do not fit the version.
            StoreError: A photo is already there in another cluster.
        """
        with self._open():
            photos = self._version(info).photos
            ids = require_rows(info, rows).tolist()
            clusters = rows.cluster_ids.tolist()
            for photo_id, cluster, uri in zip(ids, clusters, rows.embeddings.uris, strict=True):
                if photo_id in photos and photos[photo_id].cluster_id != cluster:
                    raise StoreError(
                        f"{uri!r} moves from cluster {photos[photo_id].cluster_id} to {cluster}.",
                        "Build a new version instead.",
                    )
            vectors = rows.embeddings.vectors.copy()
            said = [dict(one) for one in rows.metadata] or [{} for _ in ids]
            uris = rows.embeddings.uris
            for photo_id, cluster, uri, vector, one in zip(ids, clusters, uris, vectors, said, strict=True):
                photos[photo_id] = _Photo(uri, cluster, vector, one)

    def promote(self, info: VersionInfo) -> None:
        """Serves this version from now on."""
        with self._open():
            self._version(info)
            self._galleries[info.gallery].served = info.version

    def drop_version(self, info: VersionInfo) -> None:
        """Removes a version.

        Raises:
            StoreError: It is being served.
        """
        with self._open():
            self._version(info)
            if self._galleries[info.gallery].served == info.version:
                raise served_version(info)
            del self._galleries[info.gallery].versions[info.version]

    def drop_leftovers(self, gallery: str) -> list[str]:
        """Nothing: no call is interrupted halfway here."""
        require_gallery_name(gallery)
        return []

    def delete(self, info: VersionInfo, ids: IntArray) -> None:
        """Removes photos by id; ids that are not there are ignored."""
        with self._open():
            photos = self._version(info).photos
            for photo_id in ids.tolist():
                photos.pop(photo_id, None)

    def versions(self, gallery: str) -> list[VersionInfo]:
        """All versions, oldest first."""
        require_gallery_name(gallery)
        with self._open():
            found = self._galleries.get(gallery, _Gallery()).versions
            return [found[number].info for number in sorted(found)]

    def served(self, gallery: str) -> VersionInfo:
        """The version that is served.

        Raises:
            CollectionMissing: None is.
        """
        require_gallery_name(gallery)
        with self._open():
            found = self._galleries.get(gallery, _Gallery())
            if found.served is None:
                raise not_served(gallery)
            return found.versions[found.served].info

    def confirm(self, info: VersionInfo) -> None:
        """Asks whether a version is there.

        Raises:
            CollectionMissing: It is not, or another one by now has its number.
        """
        with self._open():
            self._version(info)

    def count(self, info: VersionInfo) -> int:
        """How many photos a version holds."""
        with self._open():
            return len(self._version(info).photos)

    def clusters(self, info: VersionInfo) -> ClusterTable:
        """The clusters as they were given."""
        with self._open():
            return _copy(self._version(info).table)

    def search(
        self,
        info: VersionInfo,
        queries: FloatArray,
        cluster_ids: IntArray,
        limit: int,
        where: str | None = None,
        *,
        unchecked: bool = False,
        fields: Sequence[CandidateField] = CANDIDATE_FIELDS,
    ) -> list[Candidates]:
        """The photos of the named clusters with the highest member scores, for each query.

        Args:
            queries: shape (Q, D), float32, unit rows.
            cluster_ids: shape (P,), int64.
            limit: 1 to :data:`~sbka_milvus.store.limits.MAX_LIMIT`.
            where: a filter: see :mod:`sbka_milvus.store.filters.grammar`.
            unchecked: makes no difference: to look a version up costs nothing here.
            fields: what is needed of each photo beside its id and score.

        Raises:
            InvalidValue: An argument is out of its range.
            FilterError: The filter cannot be read, or names a column that there is not.
        """
        asked = None if where is None else parse_filter(where, column_fields(info.fields))
        with self._open():
            photos = self._version(info).photos
            wanted = set(require_search(info, queries, cluster_ids, limit).tolist())
            near = (photo_id for photo_id, photo in photos.items() if photo.cluster_id in wanted)
            found = [(photo_id, photos[photo_id]) for photo_id in sorted(near) if _meets(photos[photo_id], asked)]
        ids = np.array([photo_id for photo_id, _ in found], dtype=np.int64)
        clusters = np.array([photo.cluster_id for _, photo in found], dtype=np.int64)
        vectors = np.array([photo.vector for _, photo in found], dtype=np.float32).reshape(len(found), info.dim)
        results = []
        for scores in queries @ vectors.T:
            # Stable, and the photos come by id: ties stay in the order of their ids.
            best = np.argsort(-scores, kind="stable")[:limit]
            uris = tuple(found[row][1].uri if "uri" in fields else "" for row in best)
            held = clusters[best] if "cluster_id" in fields else np.full(len(best), -1, dtype=np.int64)
            results.append(Candidates(ids[best], uris, held, scores[best]))
        return results

    def fetch(
        self,
        info: VersionInfo,
        ids: IntArray,
        cluster_ids: IntArray,
        *,
        unchecked: bool = False,
        served: bool = False,
        vectors: bool = True,
    ) -> StoredRows:
        """Photos by their ids; those that are there, in the order of their ids.

        Args:
            info: the version.
            ids: shape (n,), int64, distinct.
            cluster_ids: shape (n,), int64: the cluster of each.
            unchecked: as for :meth:`search`.
            served: tell whether the version is the one that is served, at the time of the call: mostly by that call.
            vectors: whether to read them: most of what such a call costs.

        Raises:
            InvalidValue: A cluster does not exist.
            CollectionMissing: Another version is served than the one that was asked for, or none.
        """
        require_cluster_ids(info, cluster_ids)
        with self._open():
            photos = self._version(info).photos
            if served and self._galleries[info.gallery].served != info.version:
                raise no_longer_served(info)
            wanted = zip(ids.tolist(), cluster_ids.tolist(), strict=True)
            found = sorted((one, photos[one]) for one, cluster in wanted if _lies_in(photos, one, cluster))
        return StoredRows(
            ids=np.array([one for one, _ in found], dtype=np.int64),
            uris=tuple(photo.uri for _, photo in found),
            cluster_ids=np.array([photo.cluster_id for _, photo in found], dtype=np.int64),
            misplaced=np.zeros(len(found), dtype=np.bool_),
            vectors=np.array([photo.vector for _, photo in found if vectors], dtype=np.float32).reshape(
                len(found), info.dim if vectors else 0
            ),
        )

    def scan(self, info: VersionInfo, batch_size: int = 1000) -> Iterator[GalleryRows]:
        """All photos of a version at the time of the call, with their vectors.

        Raises:
            InvalidValue: ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise InvalidValue(f"batch_size must be at least 1, not {batch_size}.")
        with self._open():
            photos = list(self._version(info).photos.values())
        return (
            _rows(photos[start : start + batch_size], bool(info.fields)) for start in range(0, len(photos), batch_size)
        )

    def audit(self, info: VersionInfo, *, vectors: bool = True) -> Iterator[StoredRows]:
        """All photos of a version: there are no partitions here, so none is misplaced."""
        with self._open():
            photos = dict(self._version(info).photos)
        yield StoredRows(
            ids=np.array(list(photos), dtype=np.int64),
            uris=tuple(photo.uri for photo in photos.values()),
            cluster_ids=np.array([photo.cluster_id for photo in photos.values()], dtype=np.int64),
            misplaced=np.zeros(len(photos), dtype=np.bool_),
            vectors=np.array([photo.vector if vectors else () for photo in photos.values()], dtype=np.float32),
        )

    def close(self) -> None:
        """Forgets everything. Calling it twice is allowed."""
        with self._lock:
            self._galleries.clear()
            self._closed = True

    def __enter__(self) -> MemoryGalleryStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> RLock:
        if self._closed:
            raise closed_store()
        return self._lock

    def _version(self, info: VersionInfo) -> _Version:
        found = self._galleries.get(info.gallery, _Gallery()).versions.get(info.version)
        if found is None or found.info != info:
            raise unknown_version(info)
        return found


def _copy(table: ClusterTable) -> ClusterTable:
    return ClusterTable(table.centroids.copy(), table.sizes.copy(), table.radii.copy(), table.exemplars)


def _lies_in(photos: dict[int, _Photo], one: int, cluster: int) -> bool:
    return one in photos and photos[one].cluster_id == cluster


def _meets(photo: _Photo, asked: Condition | None) -> bool:
    return asked is None or matches(asked, {**photo.metadata, URI_COLUMN: encode_uri(photo.uri)})


def _rows(photos: list[_Photo], with_metadata: bool) -> GalleryRows:
    embeddings = Embeddings(tuple(photo.uri for photo in photos), np.array([photo.vector for photo in photos]))
    clusters = np.array([photo.cluster_id for photo in photos], dtype=np.int64)
    return GalleryRows(embeddings, clusters, tuple(photo.metadata for photo in photos) if with_metadata else ())
