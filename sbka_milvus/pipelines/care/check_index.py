"""The served version in Milvus against the shards: every row is read once, and none is kept."""

from __future__ import annotations

import numpy as np

from sbka_milvus.clusters import assign_clusters
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.newest import ids_of
from sbka_milvus.embeddings.shards import list_shards, read_uris
from sbka_milvus.errors import GalleryError, StoreError, StoreUnavailable
from sbka_milvus.pipelines.care.check_shards import ShardSurvey
from sbka_milvus.pipelines.care.expected import differ, marks_of
from sbka_milvus.pipelines.care.findings import MOST_EXAMPLES, Findings
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import ClusterTable, IntArray, StoredRows, VersionInfo

_NEAREST_TOLERANCE = 1e-4
"""By how much the cosine with another centroid must be larger than with a row's own for its cluster to be wrong."""


def check_index(
    gallery: Gallery,
    store: GalleryStore,
    info: VersionInfo,
    shards: ShardSurvey,
    findings: Findings,
    progress: Progress,
) -> int:
    """Compares every row of a version with what the shards come to.

    Args:
        gallery: whose version.
        store: where it is.
        info: the version.
        shards: of the gallery. Where some of it cannot be used, nothing is called extra: it may be of that part.
        findings: gains what is wrong.
        progress: what shows how far it is.

    Returns:
        The number of rows that Milvus holds.

    Raises:
        CollectionMissing: The version was dropped meanwhile.
        StoreUnavailable: Milvus cannot be reached.
    """
    table = _clusters(store, info, findings)
    check = _Check(shards, table, findings)
    with progress.stage("Checking Milvus", len(shards.expected) or None, "rows") as advance:
        for rows in store.audit(info):
            check.look_at(rows)
            advance(len(rows))
    check.finish()
    missing = shards.expected.ids[~check.seen]
    findings.add("row_missing", _names(gallery, missing[:MOST_EXAMPLES]), len(missing))
    return check.rows


class _Check:
    def __init__(self, shards: ShardSurvey, table: ClusterTable | None, findings: Findings) -> None:
        self.rows = 0
        self.seen = np.zeros(len(shards.expected), dtype=np.bool_)
        self._expected = shards.expected
        self._is_sound = shards.is_sound
        self._table = table
        self._found = findings
        self._sizes = np.zeros(len(table) if table else 0, dtype=np.int64)
        self._extra: list[IntArray] = []

    def look_at(self, rows: StoredRows) -> None:
        self.rows += len(rows)
        places, known = self._expected.places(rows.ids)
        self._tell("row_misplaced", rows, rows.misplaced)
        self._tell("row_misnamed", rows, rows.ids != ids_of(rows.uris))
        if known.any():
            self._tell("row_stale", rows, known & differ(self._expected.marks[places], marks_of(rows.vectors)))
        if self._is_sound:
            self._tell("row_extra", rows, ~known)
        first = np.zeros(len(rows), dtype=np.bool_)
        first[np.unique(rows.ids, return_index=True)[1]] = True
        again = ~first
        again[known] |= self.seen[places[known]]
        if not known.all():
            again |= ~known & np.isin(rows.ids, np.concatenate([np.empty(0, dtype=np.int64), *self._extra]))
            self._extra.append(rows.ids[~known])
        self._tell("row_doubled", rows, again)
        self.seen[places[known]] = True
        if self._table is not None:
            self._look_at_clusters(rows, self._table)

    def finish(self) -> None:
        table = self._table
        if table is not None and not np.array_equal(table.sizes, self._sizes):
            wrong = np.flatnonzero(table.sizes != self._sizes)
            said = (
                f"cluster {one}: {table.sizes[one]} rows by its size, {self._sizes[one]} found" for one in wrong[:5]
            )
            self._found.add("clusters_wrong", said, len(wrong))

    def _look_at_clusters(self, rows: StoredRows, table: ClusterTable) -> None:
        exists = (rows.cluster_ids >= 0) & (rows.cluster_ids < len(table))
        self._sizes += np.bincount(rows.cluster_ids[exists], minlength=len(table))
        wrong = ~exists
        fit = exists & _are_unit(rows)
        if fit.any():
            vectors, own = rows.vectors[fit], rows.cluster_ids[fit]
            nearest = assign_clusters(vectors, table.centroids)
            gain = np.einsum("nd,nd->n", vectors, table.centroids[nearest] - table.centroids[own])
            wrong[np.flatnonzero(fit)] = gain > _NEAREST_TOLERANCE
        self._tell("row_wrong_cluster", rows, wrong)

    def _tell(self, kind: str, rows: StoredRows, wrong: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        places = np.flatnonzero(wrong)
        self._found.add(kind, (rows.uris[row] for row in places[:MOST_EXAMPLES]), len(places))


def _are_unit(rows: StoredRows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(rows.vectors, axis=1)
        return np.asarray(np.abs(norms - 1.0) <= 1e-3)


def _clusters(store: GalleryStore, info: VersionInfo, findings: Findings) -> ClusterTable | None:
    try:
        return store.clusters(info)
    except StoreUnavailable:
        raise
    except StoreError as error:
        findings.add("clusters_wrong", [error.problem])
        return None


def _names(gallery: Gallery, ids: IntArray) -> list[str]:
    """URIs of photos: shards keep no ids, so they are looked through once more."""
    found: dict[int, str] = {}
    wanted = set(ids.tolist())
    paths = list_shards(gallery.shard_folder) if wanted else []
    for path in reversed(paths):
        try:
            uris, _ = read_uris(path)
            found |= {one: uri for one, uri in zip(ids_of(uris).tolist(), uris, strict=True) if one in wanted}
        except GalleryError:
            continue
        if len(found) == len(wanted):
            break
    return [found.get(one, f"photo {one}") for one in ids.tolist()]
