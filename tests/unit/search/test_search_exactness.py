"""Milvus answers exactly: with all clusters probed its ranking is that of the store in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.protocols import GalleryStore
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore

TIE = 1e-6
N_PHOTOS, N_CLUSTERS, DIM = 600, 24, 64


@pytest.fixture(scope="module")
def world(make_world: Any) -> Any:
    return make_world(N_PHOTOS, N_CLUSTERS, DIM, seed=7)


@pytest.fixture(scope="module", params=[256, 6], ids=["partition_each", "super_clusters"])
def stores(world: Any, tmp_path_factory: Any, request: Any) -> Iterator[tuple[GalleryStore, GalleryStore]]:
    folder: Path = tmp_path_factory.mktemp("milvus")
    with MilvusGalleryStore(str(folder / "lite"), max_partitions=request.param) as milvus:
        memory = MemoryGalleryStore()
        for store in (milvus, memory):
            world.serve(store)
        yield milvus, memory


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.8, 1.0])
def test_rankings_of_milvus_and_of_memory_are_the_same(world, stores, weight):
    queries = world.queries(4)
    options = SearchOptions(exact=True, cluster_weight=weight)
    milvus, memory = (GallerySearcher(store, "cats").search(queries, N_PHOTOS, options) for store in stores)

    for query, real, exact in zip(queries, milvus, memory, strict=True):
        assert len(real) == len(exact) == N_PHOTOS
        assert real.probes == exact.probes
        np.testing.assert_allclose([hit.score for hit in real], [hit.score for hit in exact], atol=TIE)
        # Photos change places only with photos whose scores tie.
        scores = {hit.uri: hit.score for hit in exact}
        for one, other in zip(real, exact, strict=True):
            assert one.uri == other.uri or abs(scores[one.uri] - other.score) < TIE
        apart = -np.diff([hit.score for hit in exact]) >= TIE
        assert weight == 1.0 or apart.mean() > 0.9  # so that this says something
        world.check(real, query, N_PHOTOS, weight, None)


@pytest.mark.parametrize("weight", [0.0, 0.8])
@pytest.mark.parametrize(("k", "n_probe"), [(10, None), (10, 16), (100, 5), (1, 1)])
def test_the_best_hits_are_those_of_brute_force_on_both(world, stores, weight, k, n_probe):
    queries = world.queries(4)
    for store in stores:
        for query, result in zip(
            queries,
            GallerySearcher(store, "cats").search(queries, k, SearchOptions(n_probe, weight, exact=n_probe is None)),
            strict=True,
        ):
            world.check(result, query, k, weight, n_probe)


def test_the_order_within_a_cluster_by_cluster_search_is_the_same(world, stores):
    queries = world.queries(2)
    options = SearchOptions(exact=True)
    for store in stores:
        whole = GallerySearcher(store, "cats").search(queries, 30, options)
        parts = GallerySearcher(store, "cats", max_limit=40).search(queries, 30, options)
        for query, one, other in zip(queries, whole, parts, strict=True):
            world.check(other, query, 30, 0.8, None)
            assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=TIE)
