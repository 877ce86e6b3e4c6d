"""Versions of galleries in Milvus: made, served, dropped.

A version is made in this order: photos collection (its properties say what it will be), partitions, index, clusters
collection and its rows, and last the commit mark on the photos collection. Whatever stops it in between leaves
collections without the mark: they are never listed, and numbers go on above them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from sbka_milvus.errors import CollectionMissing, StoreError
from sbka_milvus.store.catalogue import Catalogue
from sbka_milvus.store.filters.columns import require_fields
from sbka_milvus.store.indexes import choose_index, index_params
from sbka_milvus.store.limits import require_new_version
from sbka_milvus.store.names import clusters_collection, partition_owner, photos_collection, require_gallery_name
from sbka_milvus.store.pages import page_rows
from sbka_milvus.store.partitions import (
    DEFAULT_MAX_PARTITIONS,
    DEFAULT_MAX_PARTITIONS_SERVER,
    PartitionLayout,
    require_max_partitions,
)
from sbka_milvus.store.refusals import served_version
from sbka_milvus.store.schema import (
    COMPLETE,
    cluster_records,
    clusters_schema,
    is_ours,
    keeps_missing_values,
    photos_schema,
    token_of,
    version_properties,
)
from sbka_milvus.store.session import Session
from sbka_milvus.types import ClusterTable, IndexKind, MetadataField, VersionInfo

_TRIES = 8


class Versions:
    """Makes, serves and drops the versions of the galleries of one Milvus.

    Args:
        session: the connection.
        catalogue: looks versions up over the same connection.
        max_partitions: the most partitions of a version that is made here; none: as suits the engine.
        index: of the vectors of versions that are made here; none: as suits the engine and the partitions.

    Raises:
        InvalidValue: ``max_partitions`` is out of range.
    """

    def __init__(
        self, session: Session, catalogue: Catalogue, max_partitions: int | None = None, index: IndexKind | None = None
    ) -> None:
        self._session = session
        self._catalogue = catalogue
        self._index = index
        self._max_partitions = max_partitions if max_partitions is None else require_max_partitions(max_partitions)

    def create(
        self,
        gallery: str,
        fingerprint: str,
        table: ClusterTable,
        fields: Sequence[MetadataField] = (),
        *,
        matching: str = "",
    ) -> VersionInfo:
        """A new empty version with its clusters and partitions.

        Raises:
            InvalidValue: The name, the fingerprint, the table or the fields cannot be stored.
            StoreError: Milvus refuses; what was made so far is dropped again.
        """
        require_gallery_name(gallery)
        require_new_version(fingerprint, table)
        require_fields(fields)
        token = uuid4().hex
        layout = PartitionLayout.plan(table.centroids, self._most_partitions(), table.sizes, partition_owner(token))
        records = cluster_records(table, layout)
        with self._session.defining:
            if self._session.is_lite:
                # Nobody else can be making a version: what is incomplete will stay so.
                self.drop_leftovers(gallery)
            dim = int(table.centroids.shape[1])
            wanted = VersionInfo(
                gallery,
                0,
                fingerprint,
                dim,
                len(table),
                token,
                matching=matching,
                fields=tuple(fields),
                index=self._index or self._suitable_index(table, layout),
            )
            info = self._begin(wanted, layout)
            try:
                self._finish(info, layout, records)
            except BaseException:
                with suppress(StoreError):
                    self._drop_collections(info)
                raise
        return info

    def _suitable_index(self, table: ClusterTable, layout: PartitionLayout) -> IndexKind:
        return choose_index(int(table.sizes.sum()), len(layout.partitions), is_server=self._session.is_server)

    def _most_partitions(self) -> int:
        if self._max_partitions is not None:
            return self._max_partitions
        return DEFAULT_MAX_PARTITIONS_SERVER if self._session.is_server else DEFAULT_MAX_PARTITIONS

    def promote(self, info: VersionInfo) -> None:
        """Points the gallery's alias at a version.

        Raises:
            CollectionMissing: There is no such version.
        """
        with self._session.defining:
            photos = self._catalogue.open(info).photos
            if self._session.is_lite:
                # Searching rows that Milvus Lite has not written out yet was measured to take about ten times longer.
                self._session.call("flush", photos, long=True)
            if self._catalogue.target(info.gallery) is None:
                try:
                    self._session.call("create_alias", photos, info.gallery)
                    return
                except StoreError:
                    if self._catalogue.target(info.gallery) is None:
                        raise
                    # Another process was first to serve this gallery.
            self._session.call("alter_alias", photos, info.gallery)

    def drop(self, info: VersionInfo) -> None:
        """Removes a version that is not served.

        Raises:
            CollectionMissing: There is no such version.
            StoreError: It is served.
        """
        with self._session.defining:
            photos = self._catalogue.open(info).photos
            if self._catalogue.target(info.gallery) == photos:
                raise served_version(info)
            # A drop that is cut short must leave something that nobody takes for a version.
            self._session.call("alter_collection_properties", photos, {COMPLETE: "0"})
            self._drop_collections(info)

    def drop_leftovers(self, gallery: str) -> list[str]:
        """Drops what interrupted making and dropping has left of a gallery, and nothing that is not ours.

        Not to be called while another process is making a version of the same gallery.

        Returns:
            The names of the dropped collections.
        """
        with self._session.defining:
            whole = {info.version for info in self._catalogue.versions(gallery)}
            dropped = []
            for name in self._catalogue.names(gallery):
                collection = (clusters_collection if name.holds_clusters else photos_collection)(gallery, name.version)
                if name.version not in whole and is_ours(self._catalogue.properties(collection)):
                    self._session.call("drop_collection", collection)
                    dropped.append(collection)
            return dropped

    def _begin(self, wanted: VersionInfo, layout: PartitionLayout) -> VersionInfo:
        """Makes the photos collection of the first free number."""
        number = max((name.version for name in self._catalogue.names(wanted.gallery)), default=0)
        for _ in range(_TRIES):
            number += 1
            info = replace(wanted, version=number)
            if self._claim(info, layout):
                return info
        raise StoreError(f"No free version number was found for gallery '{wanted.gallery}'.", "Try again.")

    def _claim(self, info: VersionInfo, layout: PartitionLayout) -> bool:
        """Makes the photos collection, unless its name is taken."""
        photos = photos_collection(info.gallery, info.version)
        try:
            self._session.call(
                "create_collection",
                photos,
                schema=photos_schema(info.dim, info.fields),
                properties=version_properties(info, layout),
                consistency_level="Strong",
            )
        except StoreError as error:
            if not isinstance(error, CollectionMissing) and _says_taken(error.problem):
                return False
            raise
        # A server answers that all is well where there is a collection of the same name and fields.
        return token_of(self._catalogue.properties(photos)) == info.token

    def _finish(self, info: VersionInfo, layout: PartitionLayout, records: list[dict[str, Any]]) -> None:
        call = self._session.call
        photos = photos_collection(info.gallery, info.version)
        clusters = clusters_collection(info.gallery, info.version)
        if info.fields:
            self._require_missing_values(photos)
        for partition in layout.partitions:
            call("create_partition", photos, partition)
        # sync=False: there are no rows yet to wait for, and pymilvus would first sleep for half a second.
        call("create_index", photos, index_params("vector", info.index), sync=False)
        # A server takes seconds to load even what is empty: both are loaded at once, and waited for in the end.
        call("load_collection", photos, long=True, _async=True)
        call(
            "create_collection",
            clusters,
            schema=clusters_schema(info.dim),
            properties=version_properties(info, layout),
            consistency_level="Strong",
        )
        call("create_index", clusters, index_params("centroid"), sync=False)
        call("load_collection", clusters, long=True, _async=True)
        step = page_rows(4 * info.dim + max(len(record["exemplars"].encode()) for record in records))
        for start in range(0, len(records), step):
            call("insert", clusters, records[start : start + step])
        for collection in (photos, clusters):
            call("load_collection", collection, long=True)
        call("alter_collection_properties", photos, {COMPLETE: "1"})

    def _require_missing_values(self, photos: str) -> None:
        described = self._session.call("describe_collection", photos)
        if keeps_missing_values(described["fields"]):
            return
        version = self._session.call("get_server_version")
        raise StoreError(
            f"The Milvus at {self._session.place}, of version {version}, has no columns in which a photo may have no "
            "value, and these photos have metadata.",
            "Upgrade it to version 2.5 or newer, or ingest from folders or from manifests that say nothing but where "
            "the photos are.",
        )

    def _drop_collections(self, info: VersionInfo) -> None:
        for name in (photos_collection, clusters_collection):
            self._session.call("drop_collection", name(info.gallery, info.version))


def _says_taken(problem: str) -> bool:
    return any(word in problem.lower() for word in ("exist", "duplicate"))
