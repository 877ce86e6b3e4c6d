"""Which galleries and versions a Milvus holds, and the versions made ready for use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sbka_milvus.errors import CollectionMissing, StoreError
from sbka_milvus.store.names import (
    CollectionName,
    clusters_collection,
    parse_collection,
    photos_collection,
    require_gallery_name,
)
from sbka_milvus.store.pages import LITE_PAGE, READ_BYTES, Record, page_rows, read_pages
from sbka_milvus.store.partitions import PartitionLayout
from sbka_milvus.store.refusals import not_served, unknown_version
from sbka_milvus.store.schema import is_complete, is_grouped, owner_of, read_clusters, read_info
from sbka_milvus.store.session import Session
from sbka_milvus.types import ClusterTable, VersionInfo

_CLUSTER_FIELDS = ["cluster_id", "centroid", "size", "radius", "exemplars"]
_EXEMPLARS_BYTES = 1024


@dataclass(frozen=True, slots=True)
class OpenVersion:
    """A version that was found to be there, and is loaded.

    Attributes:
        info: what it says of itself.
        photos: the name of its photos collection.
        layout: its partitions.
    """

    info: VersionInfo
    photos: str
    layout: PartitionLayout


class Catalogue:
    """Looks galleries and versions up; changes none."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._opened: dict[str, OpenVersion] = {}

    def open(self, info: VersionInfo) -> OpenVersion:
        """The version, made ready for reading and writing.

        It is looked up each time, for about 0.7 ms: another process may have dropped it or built another one of
        its number, and a search by the partitions of the old one would be wrong without a word.

        Raises:
            CollectionMissing: It is not there, or another one by now has its number.
        """
        photos = photos_collection(info.gallery, info.version)
        properties = self._confirmed(info, photos)
        known = self._opened.get(photos)
        if known is None or known.info != info:
            self._session.call("load_collection", photos, long=True)
            if is_grouped(properties):
                layout = self._read_layout(info)
            else:
                layout = PartitionLayout.one_each(info.n_clusters, owner_of(properties))
            known = self._opened[photos] = OpenVersion(info, photos, layout)
        return known

    def opened(self, info: VersionInfo) -> OpenVersion:
        """The version as it was made ready before; looked up only where it was not.

        For those who look it up themselves: whoever uses it may find another one in its place, and not notice.

        Raises:
            CollectionMissing: It was looked up, and is not there.
        """
        known = self._opened.get(photos_collection(info.gallery, info.version))
        return known if known is not None and known.info == info else self.open(info)

    def confirm(self, info: VersionInfo) -> None:
        """Looks a version up. A token comes but once, so one that is there was there ever since it was made.

        Raises:
            CollectionMissing: It is not there, or another one by now has its number.
        """
        self._confirmed(info, photos_collection(info.gallery, info.version))

    def versions(self, gallery: str) -> list[VersionInfo]:
        """All complete versions, oldest first."""
        names = self.names(gallery)
        with_clusters = {name.version for name in names if name.holds_clusters}
        found = []
        for version in sorted(name.version for name in names if not name.holds_clusters):
            properties = self.properties(photos_collection(gallery, version))
            if version in with_clusters and is_complete(properties):
                found.append(read_info(gallery, version, properties))
        return found

    def served(self, gallery: str) -> VersionInfo:
        """The version that the alias names: one look-up tells which it is and that it is whole.

        Raises:
            CollectionMissing: There is no alias.
            StoreError: The name is that of something else.
        """
        target, properties = self._describe(require_gallery_name(gallery))
        if target is None:
            raise not_served(gallery)
        name = parse_collection(target)
        if name is None or name.gallery != gallery or name.holds_clusters or not is_complete(properties):
            raise StoreError(
                f"'{gallery}' names the collection '{target}', which is not a complete version of this gallery.",
                "Choose another name for the gallery, or promote one of its versions.",
            )
        return read_info(gallery, name.version, properties)

    def clusters(self, info: VersionInfo) -> ClusterTable:
        """The clusters as they were given when the version was made.

        Raises:
            StoreError: Some are missing.
        """
        self.open(info)
        ids: list[int] = []
        tables: list[ClusterTable] = []
        for page in self._cluster_pages(info, _CLUSTER_FIELDS, 4 * info.dim + _EXEMPLARS_BYTES):
            # Page by page: as objects of Python, the numbers of 100,000 centroids take gigabytes.
            ids += [int(record["cluster_id"]) for record in page]
            tables.append(read_clusters(page))
        self._require_all(info, ids)
        order = np.argsort(ids, kind="stable")
        exemplars = [one for table in tables for one in table.exemplars]
        return ClusterTable(
            centroids=np.concatenate([table.centroids for table in tables])[order],
            sizes=np.concatenate([table.sizes for table in tables])[order],
            radii=np.concatenate([table.radii for table in tables])[order],
            exemplars=tuple(exemplars[row] for row in order),
        )

    def names(self, gallery: str) -> list[CollectionName]:
        """The collections that are called like one of the gallery's, complete or not, ours or not."""
        require_gallery_name(gallery)
        found = (parse_collection(name) for name in self._session.call("list_collections"))
        return sorted(name for name in found if name is not None and name.gallery == gallery)

    def target(self, gallery: str) -> str | None:
        """The collection that the gallery's alias names."""
        return self._describe(require_gallery_name(gallery))[0]

    def properties(self, collection: str) -> dict[str, str]:
        """What a collection says of itself; nothing where it is not there."""
        return self._describe(collection)[1]

    def _describe(self, name: str) -> tuple[str | None, dict[str, str]]:
        """The collection of a name or alias, none where it is not there, and what it says of itself."""
        # Not by describe_alias, which servers before 2.3.6 do not have.
        try:
            described = self._session.call("describe_collection", name)
        except CollectionMissing:
            return None, {}
        return str(described["collection_name"]), dict(described.get("properties") or {})

    def _confirmed(self, info: VersionInfo, photos: str) -> dict[str, str]:
        properties = self.properties(photos)
        if not is_complete(properties) or read_info(info.gallery, info.version, properties) != info:
            self._opened.pop(photos, None)
            raise unknown_version(info)
        return properties

    def _read_layout(self, info: VersionInfo) -> PartitionLayout:
        pages = self._cluster_pages(info, ["cluster_id", "partition"], 64)
        names = {int(record["cluster_id"]): sys.intern(record["partition"]) for page in pages for record in page}
        self._require_all(info, list(names))
        return PartitionLayout(tuple(names[cluster] for cluster in range(info.n_clusters)))

    def _cluster_pages(self, info: VersionInfo, fields: list[str], row_bytes: int) -> Iterator[list[Record]]:
        collection = clusters_collection(info.gallery, info.version)
        self._session.call("load_collection", collection, long=True)
        lite = self._session.is_lite
        page = page_rows(row_bytes, READ_BYTES, LITE_PAGE) if lite else page_rows(row_bytes)
        return read_pages(self._session, collection, fields, page)

    def _require_all(self, info: VersionInfo, ids: list[int]) -> None:
        if sorted(ids) != list(range(info.n_clusters)):
            raise StoreError(
                f"'{clusters_collection(info.gallery, info.version)}' holds {len(ids)} rows where {info.n_clusters} "
                "clusters are needed.",
                "Build a new version.",
            )
