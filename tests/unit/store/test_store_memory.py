"""Where the twin is stricter than the stores it stands for; all else is in the contract."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import StoreError
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import ClusterTable, Embeddings, GalleryRows


def table() -> ClusterTable:
    return ClusterTable(np.eye(4, dtype=np.float32)[:2], np.zeros(2, np.int64), np.zeros(2, np.float32), ((), ()))


def photo(cluster: int, vector: np.ndarray) -> GalleryRows:
    return GalleryRows(Embeddings(("a.jpg",), vector[None]), np.array([cluster]))


def test_a_photo_that_moves_to_another_cluster_is_refused():
    store = MemoryGalleryStore()
    info = store.create_version("cats", "f", table())
    store.insert(info, photo(0, np.eye(4, dtype=np.float32)[0]))
    with pytest.raises(StoreError, match=r"'a\.jpg' moves from cluster 0 to 1"):
        store.insert(info, photo(1, np.eye(4, dtype=np.float32)[0]))
    assert next(store.scan(info)).cluster_ids.tolist() == [0]


def test_arrays_of_the_caller_are_not_kept():
    store, vector, clusters = MemoryGalleryStore(), np.eye(4, dtype=np.float32)[0], table()
    info = store.create_version("cats", "f", clusters)
    rows = photo(0, vector)
    store.insert(info, rows)
    rows.embeddings.vectors[:] = 0
    clusters.centroids[:] = 0
    assert next(store.scan(info)).embeddings.vectors[0].tolist() == [1, 0, 0, 0]
    assert store.clusters(info).centroids[0].tolist() == [1, 0, 0, 0]


def test_a_scan_is_of_the_moment_it_was_asked_for():
    store = MemoryGalleryStore()
    info = store.create_version("cats", "f", table())
    store.insert(info, photo(0, np.eye(4, dtype=np.float32)[0]))
    found = store.scan(info)
    store.delete(info, next(store.scan(info)).embeddings.ids)
    assert [len(rows) for rows in found] == [1]


def test_both_stores_are_gallery_stores(tmp_path):
    stores: list[GalleryStore] = [MemoryGalleryStore(), MilvusGalleryStore(str(tmp_path / "lite"))]
    for store in stores:
        for name in (name for name in vars(GalleryStore) if not name.startswith("_")):
            assert callable(getattr(store, name))
        store.close()


def test_a_store_closes_itself():
    with MemoryGalleryStore() as store:
        assert store.versions("cats") == []
    with pytest.raises(StoreError, match="closed"):
        store.versions("cats")
