"""The searcher finds what brute force finds, and asks the store for no more than it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import InvalidValue
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import Candidates, ClusterTable, Embeddings, FloatArray, GalleryRows, IntArray, VersionInfo


class CountingStore(MemoryGalleryStore):
    """Remembers what it was asked, and refuses more than its limit as Milvus does."""

    def __init__(self, max_limit: int = 16_384) -> None:
        super().__init__()
        self.max_limit = max_limit
        self.asked: list[tuple[tuple[int, ...], int]] = []

    def search(
        self, info: VersionInfo, queries: FloatArray, cluster_ids: IntArray, limit: int, *rest: Any, **how: Any
    ) -> list[Candidates]:
        if limit > self.max_limit:
            raise InvalidValue(f"The limit {limit} is above {self.max_limit}.")
        self.asked.append((tuple(cluster_ids.tolist()), limit))
        return super().search(info, queries, cluster_ids, limit, *rest, **how)

    @property
    def limits(self) -> list[int]:
        return [limit for _, limit in self.asked]


def two_clusters(members: list[list[float]]) -> tuple[ClusterTable, GalleryRows]:
    """Photos in the plane of the query (1, 0, ...), given by their cosine with it; cluster 0 is nearer than 1."""
    dim = 2
    angles = {0: np.arccos(0.9), 1: -np.arccos(0.2)}
    centroids = np.float32([[np.cos(angle), np.sin(angle)] for angle in angles.values()])
    cosines = np.array([cosine for cluster in members for cosine in cluster])
    vectors = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32).reshape(-1, dim)
    clusters = np.repeat(np.arange(2), [len(cluster) for cluster in members])
    uris = tuple(f"{clusters[row]}/{row}" for row in range(len(cosines)))
    sizes = np.array([len(cluster) for cluster in members], dtype=np.int64)
    table = ClusterTable(centroids, sizes, np.full(2, np.pi, np.float32), ((), ()))
    return table, GalleryRows(Embeddings(uris, vectors), clusters.astype(np.int64))


QUERY = np.float32([[1.0, 0.0]])


def serve(store: MemoryGalleryStore, table: ClusterTable, rows: GalleryRows) -> None:
    info = store.create_version("cats", "model-1", table)
    store.insert(info, rows)
    store.promote(info)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    n=st.integers(1, 400),
    share=st.floats(0.01, 1),
    dim=st.integers(2, 24),
    k=st.one_of(st.integers(1, 12), st.integers(1, 450)),
    n_probe=st.one_of(st.none(), st.integers(1, 40)),
    weight=st.one_of(st.sampled_from([0.0, 0.8, 1.0]), st.floats(0, 1)),
    max_limit=st.sampled_from([16_384, 100, 20]),
    seed=st.integers(0, 2**31 - 1),
)
def test_hits_are_those_of_brute_force(make_world, n, share, dim, k, n_probe, weight, max_limit, seed):
    world = make_world(n, max(1, min(n, round(share * n**0.5 * 3))), dim, seed)
    store = CountingStore(max_limit)
    world.serve(store)
    queries = world.queries(2)
    searcher = GallerySearcher(store, "cats", max_limit=max_limit)
    options = SearchOptions(n_probe, weight, exact=n_probe is None)
    sizes = [world.table.sizes[world.probes(query, n_probe)] for query in queries]
    if any(size.sum() > max_limit and min(k, size.max()) > max_limit for size in sizes):
        with pytest.raises(InvalidValue, match=f"k is {k}.*returns at most {max_limit}"):
            searcher.search(queries, k, options)
        return

    results = searcher.search(queries, k, options)

    assert len(results) == 2
    for query, result in zip(queries, results, strict=True):
        world.check(result, query, k, weight, n_probe)
        assert result.exact or n_probe is not None
        assert n_probe is None or result.probes == tuple(world.probes(query, n_probe).tolist())
        assert (result.gallery, result.version) == ("cats", 1)


def test_a_hit_says_all_its_scores(make_world):
    world = make_world(50, 4, 8)
    store = MemoryGalleryStore()
    world.serve(store)
    query = world.queries(1)
    rows = {uri: row for row, uri in enumerate(world.embeddings.uris)}
    for hit in GallerySearcher(store, "cats").search(query, 50, SearchOptions(None, 0.3, exact=True))[0]:
        row = rows[hit.uri]
        assert hit.photo_id == world.embeddings.ids[row]
        assert hit.cluster_id == world.clustering.assignments[row]
        assert hit.member_score == pytest.approx(float(world.embeddings.vectors[row] @ query[0]), abs=1e-6)
        assert hit.cluster_score == pytest.approx(float(world.table.centroids[hit.cluster_id] @ query[0]), abs=1e-6)
        assert hit.cluster_weight == 0.3
        assert hit.score == pytest.approx(0.3 * hit.cluster_score + 0.7 * hit.member_score, abs=1e-6)


def test_more_probes_than_clusters_are_all_clusters(make_world):
    world = make_world(60, 5, 8)
    store = MemoryGalleryStore()
    world.serve(store)
    searcher, query = GallerySearcher(store, "cats"), world.queries(1)
    assert searcher.n_clusters == 5
    assert searcher.count() == 60
    every = searcher.search(query, 60, SearchOptions(exact=True))[0]
    assert list(searcher.search(query, 60, SearchOptions(n_probe=99))[0]) == list(every)
    assert len(every.probes) == 5


def test_no_queries_give_no_results(make_world):
    world = make_world(10, 2, 4)
    store = MemoryGalleryStore()
    world.serve(store)
    assert GallerySearcher(store, "cats").search(np.empty((0, 4), np.float32), 3, SearchOptions()) == []


class TestAsking:
    def test_a_small_gallery_is_asked_for_once_and_whole(self, make_world):
        world = make_world(40, 3, 8)
        store = CountingStore()
        world.serve(store)
        GallerySearcher(store, "cats").search(world.queries(1), 5, SearchOptions(exact=True))
        assert store.limits == [40]

    def test_one_question_is_enough_where_the_best_photos_are_in_the_best_cluster(self):
        store = CountingStore()
        serve(store, *two_clusters([list(np.linspace(0.8, 0.99, 100)), list(np.linspace(0, 0.1, 1000))]))
        result = GallerySearcher(store, "cats").search(QUERY, 10, SearchOptions(None, 0.5, exact=True))[0]
        assert store.limits == [64]
        assert {hit.cluster_id for hit in result} == {0}

    def test_more_is_asked_for_until_no_unseen_photo_can_enter(self):
        # The best cluster's photos lie far behind 300 photos of the other one, and yet win by their cluster.
        store = CountingStore()
        serve(store, *two_clusters([[0.5, 0.4], list(np.linspace(0.9, 0.95, 300)) + list(np.linspace(0, 0.3, 2000))]))
        result = GallerySearcher(store, "cats").search(QUERY, 2, SearchOptions(None, 0.8, exact=True))[0]
        assert [hit.cluster_id for hit in result] == [0, 0]
        assert store.limits == [64, 256, 1024]

    def test_plain_ranking_never_asks_twice(self):
        store = CountingStore()
        serve(store, *two_clusters([list(np.linspace(0.1, 0.2, 500)), list(np.linspace(0.3, 0.9, 500))]))
        GallerySearcher(store, "cats").search(QUERY, 10, SearchOptions(None, 0.0, exact=True))
        assert store.limits == [64]

    def test_only_the_probed_clusters_are_looked_into(self):
        store = CountingStore()
        serve(store, *two_clusters([[0.1] * 3, [0.9] * 3]))
        result = GallerySearcher(store, "cats").search(QUERY, 10, SearchOptions(n_probe=1))[0]
        assert store.asked == [((0,), 3)]
        assert result.probes == (0,)

    def test_photos_that_were_deleted_end_the_asking(self):
        store = CountingStore()
        table, rows = two_clusters([list(np.linspace(0.1, 0.2, 200)), list(np.linspace(0.3, 0.9, 200))])
        serve(store, table, rows)
        store.delete(store.served("cats"), rows.embeddings.ids[50:])
        assert len(GallerySearcher(store, "cats").search(QUERY, 80, SearchOptions(None, 1.0, exact=True))[0]) == 50
        assert store.limits == [320]


class TestLargestLimit:
    def test_what_cannot_be_certain_is_searched_cluster_by_cluster(self):
        store = CountingStore(max_limit=100)
        serve(store, *two_clusters([[0.5, 0.4, 0.3], list(np.linspace(0.8, 0.95, 400))]))
        result = GallerySearcher(store, "cats", max_limit=100).search(QUERY, 2, SearchOptions(None, 0.8, exact=True))[0]
        assert [hit.uri for hit in result] == ["0/0", "0/1"]
        assert [hit.member_score for hit in result] == pytest.approx([0.5, 0.4], abs=1e-6)
        assert store.asked == [((0, 1), 64), ((0, 1), 100), ((0,), 2), ((1,), 2)]

    def test_what_is_certain_within_the_limit_is_not(self):
        store = CountingStore(max_limit=100)
        serve(store, *two_clusters([list(np.linspace(0.8, 0.99, 100)), list(np.linspace(0, 0.1, 1000))]))
        GallerySearcher(store, "cats", max_limit=100).search(QUERY, 10, SearchOptions(None, 0.5, exact=True))
        assert store.asked == [((0, 1), 64)]

    def test_more_hits_than_the_limit_come_cluster_by_cluster(self):
        store = CountingStore(max_limit=100)
        serve(store, *two_clusters([list(np.linspace(0.1, 0.2, 100)), list(np.linspace(0.3, 0.9, 100))]))
        result = GallerySearcher(store, "cats", max_limit=100).search(QUERY, 500, SearchOptions(None, 0.5, exact=True))[
            0
        ]
        assert len({hit.uri for hit in result}) == 200
        assert store.asked == [((0,), 100), ((1,), 100)]

    def test_a_cluster_and_a_k_above_the_limit_are_refused_with_the_way_out(self):
        store = CountingStore(max_limit=100)
        serve(store, *two_clusters([[0.5], list(np.linspace(0.3, 0.9, 101))]))
        searcher = GallerySearcher(store, "cats", max_limit=100)
        with pytest.raises(InvalidValue, match=r"k is 101.*101 photos.*at most 100.*Ask for at most 100 hits"):
            searcher.search(QUERY, 101, SearchOptions(None, 0.5, exact=True))
        assert len(searcher.search(QUERY, 100, SearchOptions(None, 0.5, exact=True))[0]) == 100

    @pytest.mark.parametrize("max_limit", [0, -1])
    def test_a_limit_below_1_is_refused(self, max_limit):
        with pytest.raises(InvalidValue, match=f"max_limit is {max_limit}"):
            GallerySearcher(MemoryGalleryStore(), "cats", max_limit=max_limit)


class TestRefusals:
    @pytest.mark.parametrize("k", [0, -3])
    def test_no_hits_cannot_be_asked_for(self, make_world, k):
        world = make_world(10, 2, 4)
        store = MemoryGalleryStore()
        world.serve(store)
        with pytest.raises(InvalidValue, match=f"k is {k}"):
            GallerySearcher(store, "cats").search(world.queries(1), k, SearchOptions())

    @pytest.mark.parametrize("n_probe", [0, -1])
    def test_no_clusters_cannot_be_probed(self, n_probe):
        with pytest.raises(InvalidValue, match=f"n_probe is {n_probe}"):
            SearchOptions(n_probe=n_probe)

    @pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
    def test_a_weight_outside_0_to_1_is_refused(self, weight):
        with pytest.raises(InvalidValue, match="cluster weight"):
            SearchOptions(cluster_weight=weight)

    @pytest.mark.parametrize(
        "queries", [np.float32([[1, 0, 0]]), np.float32([1, 0]), np.float32([[2, 0]]), np.float32([[np.nan, 0]])]
    )
    def test_queries_of_another_kind_are_refused(self, queries):
        store = MemoryGalleryStore()
        serve(store, *two_clusters([[0.5], [0.5]]))
        with pytest.raises(InvalidValue):
            GallerySearcher(store, "cats").search(queries, 1, SearchOptions())
