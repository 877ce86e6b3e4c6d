"""A gallery store in Milvus: embedded in a directory (Milvus Lite), or on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sbka_milvus.errors import StoreError, StoreUnavailable
from sbka_milvus.store.catalogue import Catalogue, OpenVersion
from sbka_milvus.store.milvus_fetch import fetch_by_alias, fetch_rows, writing_to
from sbka_milvus.store.milvus_search import search_rows
from sbka_milvus.store.partitions import require_max_partitions
from sbka_milvus.store.refusals import no_longer_served
from sbka_milvus.store.rows import audit_rows, count_rows, delete_rows, insert_rows, scan_rows
from sbka_milvus.store.session import MilvusSession
from sbka_milvus.store.tls import NO_TLS, Tls
from sbka_milvus.store.versions import Versions
from sbka_milvus.types import (
    CANDIDATE_FIELDS,
    CandidateField,
    Candidates,
    ClusterTable,
    FloatArray,
    GalleryRows,
    IndexKind,
    IntArray,
    MetadataField,
    StoredRows,
    VersionInfo,
)

_T = TypeVar("_T")


class MilvusGalleryStore:
    """A :class:`~sbka_milvus.protocols.GalleryStore` in Milvus.

    Threads may share it. A directory is open in one process at a time; stores of one process that name the same
    directory share it, and the last one that is closed gives it back. Open a store after a fork, not before it.

    Args:
        uri: a directory, which is created where there is none, or ``http://`` or ``https://`` of a server.
        token: of the server, ``user:password`` or an API key.
        db_name: the server's database; empty for the default one.
        timeout_s: the longest one request may take, in seconds; minutes are allowed for loading a version, counting it
            and searching it for many sketches at once.
        max_partitions: versions with more clusters than this group them into super-cluster partitions; by default 256
            on Milvus Lite and 64 on a server, which takes seconds to load each few of them.
        index: of the vectors of versions that are made here: ``flat``, which alone is exact, or ``hnsw``; by default
            what suits the engine and the sizes of the partitions.
        tls: whom to trust at an ``https://`` address, and who to be there.

    Raises:
        InvalidValue: An argument cannot be used.
        StoreUnavailable: The server cannot be reached, or another process has the directory open.
        StoreError: The server or directory refuses for another reason.
    """

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        db_name: str = "",
        timeout_s: float = 10.0,
        max_partitions: int | None = None,
        index: IndexKind | None = None,
        tls: Tls = NO_TLS,
    ) -> None:
        if max_partitions is not None:
            require_max_partitions(max_partitions)
        self._session = MilvusSession(uri, token, db_name, timeout_s, tls)
        self._catalogue = Catalogue(self._session)
        self._versions = Versions(self._session, self._catalogue, max_partitions, index)

    def create_version(
        self,
        gallery: str,
        fingerprint: str,
        table: ClusterTable,
        fields: Sequence[MetadataField] = (),
        *,
        matching: str = "",
    ) -> VersionInfo:
        """A new empty version, numbered one above the highest, with its clusters and cluster partitions.

        On Milvus Lite this first drops what an interrupted call has left; on a server, where another process may
        be at work, :meth:`drop_leftovers` does it when told to.

        Raises:
            InvalidValue: The gallery's name, the fingerprint, the table or the fields cannot be stored.
            StoreError: Milvus refuses; what was made so far is dropped again.
        """
        return self._versions.create(gallery, fingerprint, table, fields, matching=matching)

    def insert(self, info: VersionInfo, rows: GalleryRows) -> None:
        """Adds photos and returns when Milvus has acknowledged them; those that are already there are replaced.

        Rows of a photo that changed its cluster must not be sent: the old row would stay. Where it fails, some of
        the rows are there, and inserting all of them again is right.

        Raises:
            InvalidValue: The rows do not fit the version.
        """
        version = self._catalogue.open(info)
        with writing_to(self._session, version):
            insert_rows(self._session, version, rows)

    def promote(self, info: VersionInfo) -> None:
        """Serves this version from now on: the alias switches in one step.

        Photos that are inserted into it later are found as well; promoting it again makes them as fast to search on
        Milvus Lite as the others.
        """
        self._versions.promote(info)

    def drop_version(self, info: VersionInfo) -> None:
        """Removes a version.

        Raises:
            StoreError: It is being served.
        """
        self._versions.drop(info)

    def drop_leftovers(self, gallery: str) -> list[str]:
        """Drops what interrupted calls have left of a gallery.

        Not to be called while another process is making a version of the same gallery.

        Returns:
            The names of the dropped collections.
        """
        return self._versions.drop_leftovers(gallery)

    def delete(self, info: VersionInfo, ids: IntArray) -> None:
        """Removes photos by id; ids that are not there are ignored."""
        version = self._catalogue.open(info)
        with writing_to(self._session, version):
            delete_rows(self._session, version, ids)

    def versions(self, gallery: str) -> list[VersionInfo]:
        """All complete versions, oldest first; empty where the gallery is unknown."""
        return self._catalogue.versions(gallery)

    def served(self, gallery: str) -> VersionInfo:
        """The version that is served.

        Raises:
            CollectionMissing: None is.
        """
        return self._catalogue.served(gallery)

    def confirm(self, info: VersionInfo) -> None:
        """Asks whether a version is there, whole: then it was so ever since it was made.

        Raises:
            CollectionMissing: It is not, or another one by now has its number.
        """
        self._catalogue.confirm(info)

    def count(self, info: VersionInfo) -> int:
        """How many photos a version holds, all acknowledged writes included."""
        return count_rows(self._session, self._catalogue.open(info))

    def clusters(self, info: VersionInfo) -> ClusterTable:
        """The clusters as they were given to :meth:`create_version`."""
        return self._catalogue.clusters(info)

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
        """For each query the photos of the named clusters with the highest member scores, ties by id.

        Where more photos tie at the limit than fit, Milvus chooses which of them it returns.

        Args:
            queries: shape (Q, D), float32, unit rows.
            cluster_ids: shape (P,), int64: clusters to look into. None of them: no candidates.
            limit: 1 to :data:`~sbka_milvus.store.limits.MAX_LIMIT`.
            where: a filter: see :mod:`sbka_milvus.store.filters.grammar`.
            unchecked: do not ask first whether the version is there: the caller asks, by :meth:`served` or
                :meth:`confirm`, once for all its searches, and best after the last of them.
            fields: what is needed of each photo beside its id and score.

        Raises:
            InvalidValue: An argument is out of its range.
            FilterError: The filter cannot be read, or names a column that there is not.
        """
        return self._asked(
            info,
            unchecked,
            lambda it: search_rows(self._session, it, queries, cluster_ids, limit, where, fields),
        )

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
        if served:
            return self._fetch_served(info, ids, cluster_ids, vectors=vectors)
        return self._asked(info, unchecked, lambda it: fetch_rows(self._session, it, ids, cluster_ids, vectors=vectors))

    def _fetch_served(self, info: VersionInfo, ids: IntArray, cluster_ids: IntArray, *, vectors: bool) -> StoredRows:
        version = self._catalogue.opened(info)
        try:
            found = fetch_by_alias(self._session, version, ids, cluster_ids, vectors=vectors)
            if found is not None:
                return found
            rows = fetch_rows(self._session, version, ids, cluster_ids, vectors=vectors)
        except StoreUnavailable:
            raise
        except StoreError:
            if self._catalogue.served(info.gallery) == info:
                raise
            raise no_longer_served(info) from None
        if self._catalogue.served(info.gallery) != info:
            raise no_longer_served(info)
        return rows

    def _asked(self, info: VersionInfo, unchecked: bool, ask: Callable[[OpenVersion], _T]) -> _T:
        """Asks a version, which is looked up before or not."""
        if not unchecked:
            return ask(self._catalogue.open(info))
        try:
            return ask(self._catalogue.opened(info))
        except StoreUnavailable:
            raise
        except StoreError:
            # Where the version is gone, that is the reason.
            self._catalogue.confirm(info)
            raise

    def scan(self, info: VersionInfo, batch_size: int = 1000) -> Iterator[GalleryRows]:
        """All photos of a version with their vectors, at most ``batch_size`` at a time.

        Raises:
            InvalidValue: ``batch_size`` is below 1.
        """
        return scan_rows(self._session, self._catalogue.open(info), batch_size)

    def audit(self, info: VersionInfo, *, vectors: bool = True) -> Iterator[StoredRows]:
        """All rows of a version, from every partition, with no value looked at; in no particular order."""
        return audit_rows(self._session, self._catalogue.open(info), vectors=vectors)

    def close(self) -> None:
        """Gives back the connection and, with the last store of a directory, its lock. Twice is allowed."""
        self._session.close()

    def __enter__(self) -> MilvusGalleryStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
