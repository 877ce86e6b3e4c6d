"""A re-ranked search is the re-ranking of the best candidates of the exact one, in both stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.clusters import fit_clusters
from sbka_milvus.clusters.codes import ClusterCodes
from sbka_milvus.embeddings.copies import CopyGroups
from sbka_milvus.errors import InvalidValue, RerankerError
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.rankers import LiftedOptions, PhotoParts, ServedMatching, fit_lifted
from sbka_milvus.search import GallerySearcher, NeighbourReranker, SearchOptions
from sbka_milvus.search.rerankers import NAMES, as_reranker
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import (
    Embeddings,
    GalleryRows,
    Hit,
    IntArray,
    MetadataField,
    SearchResult,
    Shortlist,
    StoredRows,
    VersionInfo,
    normalise,
)

EXACT = SearchOptions(exact=True)
N, DIM, CLUSTERS, COPIED = 300, 12, 10, 30


class Gallery:
    """Photos around ten centres, the last thirty of them copies of the first; each has a year."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        centres = normalise(rng.normal(size=(CLUSTERS, DIM)))
        vectors = normalise(centres[rng.integers(CLUSTERS, size=N)] + 0.25 * rng.normal(size=(N, DIM)))
        vectors[-COPIED:] = vectors[:COPIED]
        uris = tuple(f"photos/{row:04d}.jpg" for row in range(N))
        self.embeddings = Embeddings(uris, vectors)
        self.clustering = fit_clusters(self.embeddings, CLUSTERS)
        self.copies = CopyGroups.of({uri: str(row % (N - COPIED)) for row, uri in enumerate(uris)})
        self.codes = ClusterCodes.fit(
            self.embeddings.ids, vectors, self.clustering.assignments, self.clustering.table.centroids
        )
        self.vector_of = dict(zip(uris, vectors, strict=True))
        self.queries = normalise(vectors[[3, 99, 200]] + 0.2 * rng.normal(size=(3, DIM)))

    def serve(self, store: GalleryStore) -> VersionInfo:
        info = store.create_version("cats", "model-1", self.clustering.table, (MetadataField("year", "int"),))
        years = tuple({"year": 2000 + row % 7} for row in range(N))
        store.insert(info, GalleryRows(self.embeddings, self.clustering.assignments, years))
        store.promote(info)
        return info

    def searcher(self, store: GalleryStore, *, codes: bool = True) -> GallerySearcher:
        return GallerySearcher(
            store, "cats", copies_of=lambda _: self.copies, codes_of=lambda _: self.codes if codes else None
        )

    def expected(self, query: Any, plain: Sequence[Hit], reranker: Any) -> list[tuple[str, float]]:
        """The hits of a plain search, re-ranked by hand: URIs and scores, best first."""
        table = self.clustering.table
        vectors = np.stack([self.vector_of[hit.uri] for hit in plain])
        photos = Shortlist(
            np.array([hit.photo_id for hit in plain]),
            tuple(hit.uri for hit in plain),
            np.array([hit.cluster_id for hit in plain]),
            vectors,
            *(
                np.array([getattr(hit, name) for hit in plain], np.float32)
                for name in ("score", "cluster_score", "member_score")
            ),
        )
        scores = np.asarray(as_reranker(reranker).scores(query, photos, table))
        return [(plain[row].uri, float(scores[row])) for row in np.argsort(-scores, kind="stable")]


def check(result: SearchResult, expected: Sequence[tuple[str, float]], first: int = 0) -> None:
    assert [hit.rank for hit in result] == list(range(first + 1, first + 1 + len(expected)))
    assert [hit.uri for hit in result] == [uri for uri, _ in expected]
    np.testing.assert_allclose([hit.score for hit in result], [score for _, score in expected], atol=2e-6)


def crooked(query: Any, photos: Shortlist, table: Any) -> Any:
    """A user's own: by one coordinate of the vectors, which no other score resembles."""
    return photos.vectors[:, 3]


RERANKERS = [*NAMES, NeighbourReranker(3, 1.0), crooked]


def name_of(reranker: Any) -> str:
    return as_reranker(reranker).name


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    return Gallery()


@pytest.fixture(scope="module", params=["memory", "milvus", "super_clusters"])
def store(gallery: Gallery, request: Any, tmp_path_factory: Any) -> Iterator[GalleryStore]:
    made: Any = MemoryGalleryStore()
    if request.param != "memory":
        folder: Path = tmp_path_factory.mktemp("milvus")
        made = MilvusGalleryStore(str(folder / "lite"), max_partitions=256 if request.param == "milvus" else 3)
    with made:
        gallery.serve(made)
        yield made


class TestBothStores:
    @pytest.mark.parametrize("reranker", RERANKERS, ids=name_of)
    @pytest.mark.parametrize(
        "how", [{}, {"where": "year > 2003"}, {"per_cluster": 4}, {"cluster_weight": 0.3}], ids=str
    )
    @pytest.mark.parametrize("codes", [True, False], ids=["codes", "no codes"])
    def test_the_best_candidates_are_re_ranked(self, gallery, store, reranker, how, codes):
        searcher, depth = gallery.searcher(store, codes=codes), 40
        plain = searcher.search(gallery.queries, depth, SearchOptions(exact=True, **how))
        options = SearchOptions(exact=True, reranker=reranker, rerank_depth=depth, **how)
        found = searcher.search(gallery.queries, 12, options)
        assert [len(one) for one in plain] == [depth] * 3
        for query, result, before in zip(gallery.queries, found, plain, strict=True):
            expected = gallery.expected(query, before, reranker)
            check(result, expected[:12])
            assert result.exact
            assert result.reranker == as_reranker(reranker).name
            was = {hit.uri: hit for hit in before}
            for hit in result:
                assert hit == replace(was[hit.uri], rank=hit.rank, score=hit.score)

    def test_equal_photos_are_one_candidate_and_one_hit(self, gallery, store):
        options = SearchOptions(exact=True, reranker=crooked, rerank_depth=N)
        result = gallery.searcher(store).search(gallery.queries[:1], N, options)[0]
        assert len(result) == N - COPIED
        assert sum(len(hit.duplicates) for hit in result) == COPIED

    @pytest.mark.parametrize("reranker", [*NAMES, crooked], ids=name_of)
    def test_pages_are_cut_from_one_order(self, gallery, store, reranker):
        searcher = gallery.searcher(store)
        options = SearchOptions(exact=True, reranker=reranker, rerank_depth=47)
        whole = searcher.search(gallery.queries, 47, options)
        pages = [searcher.search(gallery.queries, 10, replace(options, offset=first)) for first in range(0, 47, 10)]
        for row, result in enumerate(whole):
            assert [hit for page in pages for hit in page[row]] == list(result)
        assert [len(page[0]) for page in pages] == [10, 10, 10, 10, 7]

    def test_a_batch_finds_what_each_of_its_queries_does(self, gallery, store):
        searcher, options = gallery.searcher(store), replace(EXACT, reranker="neighbours")
        together = searcher.search(gallery.queries, 9, options)
        for row, result in enumerate(together):
            (alone,) = searcher.search(gallery.queries[row : row + 1], 9, options)
            check(result, [(hit.uri, hit.score) for hit in alone])


@pytest.fixture(scope="module")
def lifted(gallery: Gallery, store: GalleryStore) -> GallerySearcher:
    rng = np.random.default_rng(8)
    fitted = fit_lifted(gallery.embeddings.vectors, normalise(rng.normal(size=(50, DIM))), LiftedOptions(CLUSTERS, 0.6))
    photos = fitted.photos(gallery.embeddings.vectors)
    matching = ServedMatching(fitted, PhotoParts.of(gallery.embeddings.ids, photos))
    rows = Embeddings(gallery.embeddings.uris, photos.rows)
    clustering = fit_clusters(rows, CLUSTERS)
    info = store.create_version("lifted", "model-1", clustering.table, matching="digest")
    store.insert(info, GalleryRows(rows, clustering.assignments))
    store.promote(info)
    return GallerySearcher(store, "lifted", matching_of=lambda _: matching, copies_of=lambda _: gallery.copies)


class TestLifted:
    def test_the_fused_one_changes_nothing(self, gallery, lifted):
        plain = lifted.search(gallery.queries, 30, EXACT)
        fused = lifted.search(gallery.queries, 30, replace(EXACT, reranker="fused"))
        assert [list(one) for one in fused] == [list(one) for one in plain]

    def test_others_see_the_vectors_of_the_version(self, gallery, lifted):
        seen: list[tuple[Any, Shortlist]] = []

        def look(query: Any, photos: Shortlist, table: Any) -> Any:
            seen.append((query, photos))
            return -photos.scores

        found = lifted.search(gallery.queries, 30, replace(EXACT, reranker=look, rerank_depth=30))
        plain = lifted.search(gallery.queries, 30, EXACT)
        scale = float(plain[0][0].score) / float(seen[0][1].vectors[0] @ seen[0][0])
        for (query, photos), result, before in zip(seen, found, plain, strict=True):
            assert photos.vectors.shape[1] == lifted.info.dim != DIM
            np.testing.assert_allclose(photos.vectors @ query * scale, photos.scores, atol=1e-5)
            assert [hit.uri for hit in result] == [hit.uri for hit in before][::-1]
            assert [hit.member_score for hit in result] == [hit.member_score for hit in before][::-1]

    def test_neighbours_are_sought_among_lifted_photos(self, gallery, lifted):
        plain = lifted.search(gallery.queries, 100, EXACT)
        found = lifted.search(gallery.queries, 100, replace(EXACT, reranker="neighbours", rerank_depth=100))
        for result, before in zip(found, plain, strict=True):
            assert [hit.uri for hit in result] != [hit.uri for hit in before]
            assert {hit.uri for hit in result} == {hit.uri for hit in before}
            assert max(hit.score for hit in result) <= before[0].score + 1e-6


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    n=st.integers(1, 400),
    k=st.integers(1, 60),
    depth=st.integers(60, 500),
    weight=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    offset=st.sampled_from([0, 7, 59]),
    seed=st.integers(0, 2**31 - 1),
)
def test_the_fused_one_never_changes_the_order(make_world, n, k, depth, weight, offset, seed):
    world = make_world(n, max(1, min(n, 12)), 6, seed)
    store = MemoryGalleryStore()
    world.serve(store)
    searcher, queries = GallerySearcher(store, "cats"), world.queries(2)
    options = SearchOptions(cluster_weight=weight, exact=True, offset=offset)
    plain = searcher.search(queries, k, options)
    fused = searcher.search(queries, k, replace(options, reranker="fused", rerank_depth=depth))
    for one, other in zip(plain, fused, strict=True):
        assert list(other) == list(one)[: depth - offset]


class ForgetfulStore(MemoryGalleryStore):
    """Some photos are deleted after they were found and before their vectors are fetched; counts the fetched ones."""

    def __init__(self, gone: Sequence[int] = ()) -> None:
        super().__init__()
        self.gone = np.array(gone, dtype=np.int64)
        self.fetched: list[int] = []

    def fetch(self, info: VersionInfo, ids: IntArray, cluster_ids: IntArray, **options: bool) -> StoredRows:
        self.delete(info, self.gone)
        self.fetched.append(len(ids))
        return super().fetch(info, ids, cluster_ids, **options)


class TestFetching:
    def test_photos_that_were_deleted_meanwhile_are_no_hits(self, gallery):
        gone = gallery.embeddings.ids[:200]
        store = ForgetfulStore(gone.tolist())
        gallery.serve(store)
        options = replace(EXACT, reranker="neighbours", rerank_depth=60)
        result = GallerySearcher(store, "cats").search(gallery.queries, 60, options)[0]
        assert 0 < len(result) < 60
        assert not {hit.photo_id for hit in result} & set(gone.tolist())

    def test_where_all_are_gone_nothing_is_asked_of_the_re_ranker(self, gallery):
        store = ForgetfulStore(gallery.embeddings.ids.tolist())
        gallery.serve(store)
        searcher = gallery.searcher(store, codes=False)
        assert len(searcher.search(gallery.queries, 5, replace(EXACT, reranker=lambda *_: 1 / 0))[0]) == 0

    def test_vectors_are_fetched_once_for_a_batch_and_not_again_where_they_are_at_hand(self, gallery):
        store = ForgetfulStore()
        gallery.serve(store)
        options = replace(EXACT, reranker="neighbours", rerank_depth=20)
        gallery.searcher(store, codes=False).search(gallery.queries[[0, 0, 1]], 5, options)
        assert len(store.fetched) == 1
        assert 20 < store.fetched[0] <= 40

        plain, again = ForgetfulStore(), ForgetfulStore()
        for one, how in ((plain, replace(EXACT)), (again, options)):
            gallery.serve(one)
            gallery.searcher(one).search(gallery.queries, 20, how)
        assert again.fetched == plain.fetched

    def test_a_search_without_one_fetches_nothing_for_it(self, gallery):
        store = ForgetfulStore()
        gallery.serve(store)
        gallery.searcher(store, codes=False).search(gallery.queries, 5, EXACT)
        assert store.fetched == []

    def test_a_gallery_without_photos_has_none_to_re_rank(self, gallery):
        store = MemoryGalleryStore()
        table = replace(gallery.clustering.table, sizes=np.zeros(CLUSTERS, np.int64))
        store.promote(store.create_version("cats", "model-1", table))
        result = GallerySearcher(store, "cats").search(gallery.queries, 5, replace(EXACT, reranker="quantised"))[0]
        assert (len(result), result.reranker) == (0, "quantised")


@pytest.fixture(scope="module")
def searcher(gallery: Gallery) -> GallerySearcher:
    store = MemoryGalleryStore()
    gallery.serve(store)
    return gallery.searcher(store)


class TestRefusals:
    def test_more_hits_than_candidates(self, gallery, searcher):
        with pytest.raises(InvalidValue, match=r"k is 31, and 30 candidates.*rerank_depth of at least 31"):
            searcher.search(gallery.queries, 31, SearchOptions(reranker="fused", rerank_depth=30))

    @pytest.mark.parametrize("offset", [30, 31])
    def test_a_page_behind_the_candidates(self, gallery, searcher, offset):
        with pytest.raises(InvalidValue, match=f"offset is {offset}, and 30 candidates.*above {offset}"):
            searcher.search(gallery.queries, 5, SearchOptions(reranker="fused", rerank_depth=30, offset=offset))

    def test_a_function_that_fails_is_named(self, gallery, searcher):
        def broken(query: Any, photos: Any, table: Any) -> Any:
            return photos.missing

        with pytest.raises(RerankerError, match=r"broken' failed: AttributeError"):
            searcher.search(gallery.queries, 5, SearchOptions(reranker=broken))

    def test_a_function_cannot_spoil_the_query_of_others(self, gallery, searcher):
        def spoils(query: Any, photos: Any, table: Any) -> Any:
            query[:] = 0
            return photos.scores

        before = gallery.queries.copy()
        searcher.search(gallery.queries, 5, SearchOptions(reranker=spoils))
        assert np.array_equal(gallery.queries, before)


class TestConfidence:
    def test_the_judge_sees_the_order_before_and_the_result_keeps_the_one_after(self, gallery):
        store = MemoryGalleryStore()
        gallery.serve(store)
        searcher, shown = gallery.searcher(store), []

        def judge(queries: Any, table: Any, results: Any, matching: Any) -> list[SearchResult]:
            shown.extend(results)
            return [replace(result, confidence=0.25) for result in results]

        options = replace(EXACT, reranker=crooked, rerank_depth=15, offset=3)
        found = searcher.search(gallery.queries, 4, options, judge=judge, judged=20)
        plain = searcher.search(gallery.queries, 20, EXACT)
        assert [list(one) for one in shown] == [list(one) for one in plain]
        assert [result.confidence for result in found] == [0.25] * 3
        for result, alike in zip(found, searcher.search(gallery.queries, 4, options), strict=True):
            assert replace(result, confidence=None).hits == alike.hits
