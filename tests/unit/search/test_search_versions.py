"""A search is of one version, the one that is served now, and of one encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sbka_milvus.clusters.codes import ClusterCodes
from sbka_milvus.errors import CollectionMissing, EncoderMismatch
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import Candidates, ClusterTable, FloatArray, IntArray, StoredRows, VersionInfo

EVERYTHING = SearchOptions(exact=True)


class BusyStore(MemoryGalleryStore):
    """Something else happens once, just before a call is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.before_search: Callable[[], None] | None = None
        self.before_clusters: Callable[[], None] | None = None
        self.cluster_reads: list[VersionInfo] = []
        self.look_ups = 0

    def search(
        self, info: VersionInfo, queries: FloatArray, cluster_ids: IntArray, limit: int, *rest: Any, **how: Any
    ) -> list[Candidates]:
        if (act := self.before_search) is not None:
            self.before_search = None
            act()
        return super().search(info, queries, cluster_ids, limit, *rest, **how)

    def fetch(self, info: VersionInfo, ids: IntArray, cluster_ids: IntArray, **how: bool) -> StoredRows:
        if (act := self.before_search) is not None:
            self.before_search = None
            act()
        return super().fetch(info, ids, cluster_ids, **how)

    def served(self, gallery: str) -> VersionInfo:
        self.look_ups += 1
        return super().served(gallery)

    def clusters(self, info: VersionInfo) -> ClusterTable:
        if (act := self.before_clusters) is not None:
            self.before_clusters = None
            act()
        self.cluster_reads.append(info)
        return super().clusters(info)


@pytest.fixture
def store() -> BusyStore:
    return BusyStore()


@pytest.fixture(params=["codes", "no codes"])
def searching(request: pytest.FixtureRequest) -> Callable[[MemoryGalleryStore], GallerySearcher]:
    """Opens a searcher, with codes or without."""

    def opened(store: MemoryGalleryStore) -> GallerySearcher:
        def codes(info: VersionInfo) -> ClusterCodes | None:
            if request.param == "no codes":
                return None
            rows = list(MemoryGalleryStore.scan(store, info))
            return ClusterCodes.fit(
                np.concatenate([one.embeddings.ids for one in rows]),
                np.concatenate([one.embeddings.vectors for one in rows]),
                np.concatenate([one.cluster_ids for one in rows]),
                MemoryGalleryStore.clusters(store, info).centroids,
            )

        return GallerySearcher(store, "cats", codes_of=codes)

    return opened


def test_an_answer_tells_of_which_version_it_is(store, make_world, searching, request):
    world = make_world(60, 5, 8)
    world.serve(store)
    searcher = searching(store)
    searcher.search(world.queries(1), 5, EVERYTHING)
    store.look_ups = 0
    for _ in range(3):
        searcher.search(world.queries(1), 5, EVERYTHING)
    # With codes the store is asked for photos by their ids, and says whether their version is served.
    assert store.look_ups == (0 if request.node.callspec.params["searching"] == "codes" else 3)


def test_clusters_are_read_once_while_the_version_stays(store, make_world, searching):
    world = make_world(60, 5, 8)
    info = world.serve(store)
    searcher = searching(store)
    for _ in range(3):
        searcher.search(world.queries(2), 5, EVERYTHING)
    searcher.require_encoder("model-1")
    assert store.cluster_reads == [info]


def test_a_switch_between_two_searches_is_noticed(store, make_world, searching):
    old, new = make_world(60, 5, 8), make_world(80, 9, 8, seed=1, name="new")
    old.serve(store)
    searcher = searching(store)
    query = old.queries(1)
    before = searcher.search(query, 10, EVERYTHING)[0]
    new.serve(store)
    after = searcher.search(query, 10, EVERYTHING)[0]

    assert (before.version, after.version) == (1, 2)
    old.check(before, query[0], 10, 0.8, None)
    new.check(after, query[0], 10, 0.8, None)
    assert searcher.n_clusters == 9
    assert searcher.count() == 80


def test_a_switch_during_a_search_never_mixes_versions(store, make_world, searching):
    old, new = make_world(60, 5, 8), make_world(60, 5, 8, seed=1)
    old.serve(store)
    searcher = searching(store)
    second = new.insert(store)
    store.before_search = lambda: store.promote(second)
    queries = old.queries(3)

    for query, result in zip(queries, searcher.search(queries, 10, EVERYTHING), strict=True):
        assert result.version == 2
        new.check(result, query, 10, 0.8, None)


def test_a_switch_to_another_model_is_told_though_the_version_before_is_still_there(store, make_world, searching):
    old, new = make_world(60, 5, 8), make_world(60, 5, 12, seed=1)
    old.serve(store, fingerprint="model-1")
    searcher = searching(store)
    queries = old.queries(3)
    assert searcher.search(queries, 10, EVERYTHING, fingerprint="model-1")[0].version == 1
    second = new.insert(store, fingerprint="model-2")
    store.before_search = lambda: store.promote(second)  # in the middle of a search
    for _ in range(2):  # and before one
        with pytest.raises(EncoderMismatch, match=r"model-2.*model-1"):
            searcher.search(queries, 10, EVERYTHING, fingerprint="model-1")
    assert searcher.search(new.queries(1), 10, EVERYTHING, fingerprint="model-2")[0].version == 2


def test_a_gallery_that_is_switched_all_the_time_is_answered_by_one_version(store, make_world, searching):
    world, other = make_world(60, 5, 8), make_world(60, 5, 8, seed=1)
    infos = [world.serve(store), other.insert(store)]
    searcher = searching(store)
    switches = iter([1, 0] * 20)

    def switch() -> None:
        store.promote(infos[next(switches)])
        store.before_search = switch

    switch()
    queries = world.queries(2)
    results = searcher.search(queries, 10, EVERYTHING)
    version = results[0].version
    for query, result in zip(queries, results, strict=True):
        assert result.version == version
        (world if version == 1 else other).check(result, query, 10, 0.8, None)
    assert next(switches) is not None  # it gave up following


def test_a_version_that_is_dropped_while_it_is_searched_is_searched_anew(store, make_world, searching):
    old, new = make_world(60, 5, 8), make_world(60, 7, 8, seed=1)
    first = old.serve(store)
    searcher = searching(store)
    queries = old.queries(3)
    searcher.search(queries, 10, EVERYTHING)

    def replace() -> None:
        new.serve(store)
        store.drop_version(first)

    store.before_search = replace
    for query, result in zip(queries, searcher.search(queries, 10, EVERYTHING), strict=True):
        assert result.version == 2
        new.check(result, query, 10, 0.8, None)


def test_a_version_that_is_dropped_before_its_clusters_are_read_is_passed_over(store, make_world, searching):
    old, new = make_world(60, 5, 8), make_world(60, 7, 8, seed=1)
    first = old.serve(store)

    def replace() -> None:
        new.serve(store)
        store.drop_version(first)

    store.before_clusters = replace
    query = old.queries(1)
    result = searching(store).search(query, 10, EVERYTHING)[0]
    assert result.version == 2
    new.check(result, query[0], 10, 0.8, None)


class EmptiedStore(MemoryGalleryStore):
    """Names a version as served whose collections are gone."""

    def search(
        self, info: VersionInfo, queries: FloatArray, cluster_ids: IntArray, limit: int, *rest: Any, **how: Any
    ) -> list[Candidates]:
        raise CollectionMissing("The photos are gone.")

    def fetch(self, info: VersionInfo, ids: IntArray, cluster_ids: IntArray, **how: bool) -> StoredRows:
        raise CollectionMissing("The photos are gone.")


class EmptiedOfClusters(MemoryGalleryStore):
    """Likewise, and already its clusters are gone."""

    def clusters(self, info: VersionInfo) -> ClusterTable:
        raise CollectionMissing("The clusters are gone.")


@pytest.mark.parametrize("kind", [EmptiedStore, EmptiedOfClusters])
def test_a_served_version_that_is_gone_is_told_and_not_retried_for_ever(kind, make_world, searching):
    world = make_world(10, 2, 4)
    store = kind()
    world.serve(store)
    with pytest.raises(CollectionMissing, match="are gone"):
        searching(store).search(world.queries(1), 1, EVERYTHING)


def test_an_unknown_gallery_is_told(store, make_world, searching):
    world = make_world(10, 2, 4)
    with pytest.raises(CollectionMissing, match="'cats'"):
        searching(store).search(world.queries(1), 1, EVERYTHING)
    with pytest.raises(CollectionMissing, match="'cats'"):
        searching(store).require_encoder("model-1")


def test_another_encoder_is_refused_with_both_fingerprints(store, make_world, searching):
    make_world(10, 2, 4).serve(store, fingerprint="model-1")
    searcher = searching(store)
    searcher.require_encoder("model-1")
    with pytest.raises(EncoderMismatch, match=r"'cats' was embedded with the model model-1.*model-2.*ingest"):
        searcher.require_encoder("model-2")

    make_world(10, 2, 4, seed=1).serve(store, fingerprint="model-2")
    searcher.require_encoder("model-2")
    with pytest.raises(EncoderMismatch):
        searcher.require_encoder("model-1")


def test_results_name_the_model_of_their_version(store, make_world, searching):
    world = make_world(10, 2, 4)
    world.serve(store, fingerprint="model-1")
    searcher = searching(store)
    assert searcher.fingerprint == "model-1"
    assert searcher.search(world.queries(1), 1, EVERYTHING)[0].fingerprint == "model-1"


def test_a_query_of_another_encoder_is_refused_and_nothing_is_searched(store, make_world, searching):
    world = make_world(10, 2, 4)
    world.serve(store, fingerprint="model-1")
    searcher = searching(store)
    assert len(searcher.search(world.queries(1), 3, EVERYTHING, fingerprint="model-1")[0]) == 3

    def fail() -> None:
        raise AssertionError("it was searched")

    store.before_search = fail
    with pytest.raises(EncoderMismatch, match=r"model-1.*model-2"):
        searcher.search(world.queries(1), 3, EVERYTHING, fingerprint="model-2")


def test_a_switch_to_another_model_during_a_search_is_told_and_never_answered(store, make_world, searching):
    old, new = make_world(60, 5, 8), make_world(60, 5, 12, seed=1)
    first = old.serve(store, fingerprint="model-1")
    searcher = searching(store)

    def replace() -> None:
        new.serve(store, fingerprint="model-2")
        store.drop_version(first)

    store.before_search = replace
    with pytest.raises(EncoderMismatch, match=r"model-2.*model-1"):
        searcher.search(old.queries(3), 10, EVERYTHING, fingerprint="model-1")
    assert searcher.fingerprint == "model-2"
    assert searcher.search(new.queries(1), 10, EVERYTHING, fingerprint="model-2")[0].version == 2


class TestPinned:
    """A searcher can be pinned to a version that nobody else sees yet."""

    def test_it_searches_its_version_whatever_is_served(self, store, make_world):
        old, new = make_world(60, 5, 8), make_world(80, 9, 12, seed=1, name="new")
        first = old.serve(store, fingerprint="model-1")
        second = new.insert(store, fingerprint="model-2")
        for version, world in ((first, old), (second, new)):
            searcher = GallerySearcher(store, "cats", version=version)
            assert (searcher.fingerprint, searcher.n_clusters) == (version.fingerprint, len(world.table))
            assert searcher.count() == len(world.embeddings)
            query = world.queries(1)
            result = searcher.search(query, 10, EVERYTHING)[0]
            assert result.version == version.version
            world.check(result, query[0], 10, 0.8, None)
        store.promote(second)
        assert GallerySearcher(store, "cats", version=first).search(old.queries(1), 1, EVERYTHING)[0].version == 1

    def test_a_version_that_is_dropped_is_told_and_not_replaced(self, store, make_world):
        old, new = make_world(60, 5, 8), make_world(60, 5, 8, seed=1)
        first = old.serve(store)
        searcher = GallerySearcher(store, "cats", version=first)
        searcher.search(old.queries(1), 1, EVERYTHING)
        new.serve(store)
        store.drop_version(first)
        with pytest.raises(CollectionMissing):
            searcher.search(old.queries(1), 1, EVERYTHING)
        with pytest.raises(CollectionMissing):
            GallerySearcher(store, "cats", version=first).search(old.queries(1), 1, EVERYTHING)
