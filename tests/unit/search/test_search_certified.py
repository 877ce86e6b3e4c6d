"""A result that says it is exact is that of ranking the whole gallery, whatever gallery, query, weight and filter."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sbka_milvus.clusters.codes import ClusterCodes
from sbka_milvus.embeddings.copies import CopyGroups
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.search.looks import Looks
from sbka_milvus.search.probing import Probing
from sbka_milvus.search.served import Served
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import (
    ClusterTable,
    Embeddings,
    FloatArray,
    GalleryRows,
    IntArray,
    MetadataField,
    SearchResult,
    VersionInfo,
    normalise,
)

TIE = 2e-6
YEARS = 5
CODES = [None, "whole", "in halves", "of what is left"]


@dataclass
class Case:
    """A gallery, its true ranking, and what of it is left."""

    uris: tuple[str, ...]
    vectors: FloatArray
    assignments: IntArray
    table: ClusterTable
    queries: FloatArray
    copies: CopyGroups | None
    gone: set[int] = field(default_factory=set)
    scores: dict[str, float] = field(default_factory=dict)  # of the query that was ranked last

    @classmethod
    def drawn(cls, n: int, k: int, dim: int, seed: int, *, spread: float, evenness: float, copied: float) -> Case:
        """Clusters as wide as ``spread``, of sizes as even as ``evenness``, some empty; ``copied``: share of copies."""
        rng = np.random.default_rng(seed)
        centroids = normalise(rng.normal(size=(k, dim)) + rng.normal(size=dim))
        shares = rng.dirichlet(np.full(k, evenness))
        assignments = rng.choice(k, n, p=shares).astype(np.int64)
        vectors = normalise(centroids[assignments] + spread * rng.normal(size=(n, dim)) / np.sqrt(dim))
        groups = np.arange(n)
        for row in np.flatnonzero(rng.random(n) < copied):
            source = int(rng.integers(n))
            vectors[row], assignments[row], groups[row] = vectors[source], assignments[source], groups[source]
        angles = np.arccos(np.clip(np.einsum("nd,nd->n", vectors, centroids[assignments]), -1, 1)).astype(np.float32)
        radii = np.zeros(k, dtype=np.float32)
        np.maximum.at(radii, assignments, angles)
        table = ClusterTable(
            centroids, np.bincount(assignments, minlength=k).astype(np.int64), radii, tuple(() for _ in range(k))
        )
        uris = tuple(f"photos/{row:05d}.jpg" for row in range(n))
        queries = normalise(vectors[rng.integers(n, size=2)] + rng.choice([0, 0.5, 3]) * rng.normal(size=(2, dim)))
        copies = CopyGroups.of({uri: str(groups[row]) for row, uri in enumerate(uris)}) if copied else None
        return cls(uris, vectors, assignments, table, queries, copies if copies else None)

    @property
    def embeddings(self) -> Embeddings:
        return Embeddings(self.uris, self.vectors)

    def serve(self, store: GalleryStore, gone: IntArray) -> VersionInfo:
        info = store.create_version("cats", "model", self.table, (MetadataField("year", "int"),))
        years = tuple({"year": row % YEARS} for row in range(len(self.uris)))
        store.insert(info, GalleryRows(self.embeddings, self.assignments, years))
        store.promote(info)
        store.delete(info, self.embeddings.ids[gone])
        self.gone = set(gone.tolist())
        return info

    def searcher(self, store: GalleryStore, *, codes: str | None, max_limit: int = 16_384) -> GallerySearcher:
        made, ids = None, self.embeddings.ids
        gone = sorted(self.gone) if codes == "of what is left" else []
        left = np.setdiff1d(np.arange(len(ids)), gone)
        if codes and len(left):
            halves = codes == "in halves"
            made = ClusterCodes.fit(
                ids[left], self.vectors[left], self.assignments[left], self.table.centroids, halves=halves
            )
        return GallerySearcher(
            store, "cats", max_limit=max_limit, copies_of=lambda info: self.copies, codes_of=lambda info: made
        )

    def ranked(
        self, query: FloatArray, weight: float, year: int | None, per_cluster: int | None
    ) -> list[tuple[str, float]]:
        """What is left of the gallery, ranked by brute force in float64: equal photos once, ties by id."""
        wide = query.astype(np.float64)
        scores = weight * (self.table.centroids[self.assignments] @ wide) + (1 - weight) * (self.vectors @ wide)
        ids = self.embeddings.ids
        left = [row for row in range(len(ids)) if row not in self.gone and (year is None or row % YEARS == year)]
        self.scores = dict(zip(self.uris, scores.tolist(), strict=True))
        result: list[tuple[str, float]] = []
        groups: set[int] = set()
        shown: dict[int, int] = {}
        of_group = np.full(len(ids), -1) if self.copies is None else self.copies.groups_of(ids)
        for row in sorted(left, key=lambda row: (-scores[row], ids[row])):
            cluster, group = int(self.assignments[row]), int(of_group[row])
            if group in groups or (per_cluster is not None and shown.get(cluster, 0) >= per_cluster):
                continue
            if group >= 0:
                groups.add(group)
            shown[cluster] = shown.get(cluster, 0) + 1
            result.append((self.uris[row], float(scores[row])))
        return result

    def check(self, result: SearchResult, truth: list[tuple[str, float]], first: int, k: int) -> None:
        expected = truth[first : first + k]
        assert len(result) == len(expected)
        assert [hit.rank for hit in result] == list(range(first + 1, first + 1 + len(expected)))
        np.testing.assert_allclose([hit.score for hit in result], [score for _, score in expected], atol=TIE)
        for hit, (uri, score) in zip(result, expected, strict=True):
            names = {hit.uri, *hit.duplicates}
            assert uri in names or any(abs(self.scores[name] - score) <= TIE for name in names)


cases = st.builds(
    Case.drawn,
    n=st.one_of(st.integers(1, 40), st.integers(257, 500)),
    k=st.integers(1, 40),
    dim=st.integers(2, 24),
    seed=st.integers(0, 2**31 - 1),
    spread=st.sampled_from([0.0, 0.05, 0.5, 1.5]),
    evenness=st.sampled_from([0.05, 1.0, 100.0]),
    copied=st.sampled_from([0.0, 0.0, 0.3]),
)


@settings(derandomize=True, deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(
    case=cases,
    data=st.data(),
    k=st.one_of(st.integers(1, 30), st.integers(1, 600)),
    weight=st.one_of(st.sampled_from([0.0, 0.5, 0.8, 1.0]), st.floats(0, 1)),
    year=st.one_of(st.none(), st.none(), st.integers(0, YEARS)),
    offset=st.sampled_from([0, 0, 0, 3, 70]),
    per_cluster=st.sampled_from([None, None, None, 1, 4]),
    codes=st.sampled_from(CODES),
)
def test_exact_results_are_those_of_brute_force(case, data, k, weight, year, offset, per_cluster, codes):
    store = MemoryGalleryStore()
    rng = np.random.default_rng(len(case.uris))
    share = data.draw(st.sampled_from([0.0, 0.0, 0.2, 0.9, 1.0]))
    case.serve(store, np.flatnonzero(rng.random(len(case.uris)) < share))
    where = None if year is None else f"year == {year}"
    options = SearchOptions(None, weight, where=where, exact=True, offset=offset, per_cluster=per_cluster)

    results = case.searcher(store, codes=codes).search(case.queries, k, options)

    for query, result in zip(case.queries, results, strict=True):
        assert result.exact
        case.check(result, case.ranked(query, weight, year, per_cluster), offset, k)


@settings(derandomize=True, deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    case=cases,
    k=st.integers(1, 30),
    weight=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    limits=st.sampled_from(
        [{}, {"n_probe": 1}, {"n_probe": 3}, {"max_probe": 1}, {"max_probe": 5, "exact": True}, {"deadline_ms": 1e-6}]
    ),
    codes=st.sampled_from(CODES),
)
def test_whatever_says_that_it_is_exact_is(case, k, weight, limits, codes):
    store = MemoryGalleryStore()
    case.serve(store, np.empty(0, np.int64))
    results = case.searcher(store, codes=codes).search(case.queries, k, SearchOptions(cluster_weight=weight, **limits))
    for query, result in zip(case.queries, results, strict=True):
        truth = case.ranked(query, weight, None, None)
        held = int((case.table.sizes > 0).sum())
        assert len(result.probes) <= min(held, limits.get("n_probe") or limits.get("max_probe") or held)
        if result.exact:
            case.check(result, truth, 0, k)
        else:
            scores = dict(truth)
            for hit in result:
                near = [scores[name] for name in (hit.uri, *hit.duplicates) if name in scores]
                assert min(abs(hit.score - score) for score in near) <= TIE
            assert [hit.score for hit in result] == sorted((hit.score for hit in result), reverse=True)


@pytest.fixture(scope="module")
def overlapping() -> Case:
    return Case.drawn(4000, 60, 32, 11, spread=1.0, evenness=5.0, copied=0.0)


class TestWork:
    """How little is looked at, on 4,000 photos in 60 clusters that overlap."""

    def test_exact_results_compare_few_photos_by_their_vectors(self, overlapping):
        store = MemoryGalleryStore()
        overlapping.serve(store, np.empty(0, np.int64))
        for result in overlapping.searcher(store, codes=True).search(
            overlapping.queries, 20, SearchOptions(None, 0.8, exact=True)
        ):
            assert result.exact
            assert 20 <= result.rows <= 60
            assert result.codes <= 4000

    def test_codes_spare_most_clusters_that_radii_do_not(self, overlapping):
        store = MemoryGalleryStore()
        overlapping.serve(store, np.empty(0, np.int64))
        with_codes, without = (
            overlapping.searcher(store, codes=codes).search(
                overlapping.queries, 20, SearchOptions(None, 0.8, exact=True)
            )
            for codes in (True, False)
        )
        for one, other in zip(with_codes, without, strict=True):
            assert [hit.uri for hit in one] == [hit.uri for hit in other]
            assert len(one.probes) < len(other.probes) / 2
            assert other.codes == 0

    def test_a_budget_ends_the_search_and_the_result_says_so(self, overlapping):
        store = MemoryGalleryStore()
        overlapping.serve(store, np.empty(0, np.int64))
        for codes in (True, False):
            searcher = overlapping.searcher(store, codes=codes)
            (result,) = searcher.search(overlapping.queries[:1], 20, SearchOptions(None, 0.0, exact=True, max_probe=2))
            assert not result.exact
            assert len(result) > 0
            assert len(result.probes) <= 2
            (late,) = searcher.search(
                overlapping.queries[:1], 20, SearchOptions(None, 0.0, exact=True, deadline_ms=1e-6)
            )
            assert len(late) == 20
            assert codes or not late.exact  # by codes, the first wave is the last one
            (whole,) = searcher.search(overlapping.queries[:1], 20, SearchOptions(None, 0.0, exact=True))
            assert whole.exact

    def test_pages_are_cut_from_one_order(self, overlapping):
        store = MemoryGalleryStore()
        overlapping.serve(store, np.empty(0, np.int64))
        searcher = overlapping.searcher(store, codes=True)
        query = overlapping.queries[:1]
        (whole,) = searcher.search(query, 60, SearchOptions(None, 0.5, exact=True))
        pages = [searcher.search(query, 20, SearchOptions(None, 0.5, offset=20 * page))[0] for page in (1, 2)]
        assert [hit.uri for page in pages for hit in page] == [hit.uri for hit in whole][20:]
        assert [hit.rank for page in pages for hit in page] == list(range(21, 61))
        beyond = searcher.search(query, 20, SearchOptions(None, 0.5, offset=4000))[0]
        assert list(beyond) == []

    def test_a_batch_finds_what_each_query_finds(self, overlapping):
        store = MemoryGalleryStore()
        overlapping.serve(store, np.empty(0, np.int64))
        rng = np.random.default_rng(5)
        queries = normalise(overlapping.vectors[rng.integers(4000, size=20)] + 0.1 * rng.normal(size=(20, 32)))
        for codes in (True, False):
            searcher = overlapping.searcher(store, codes=codes)
            for options in (SearchOptions(None, 0.8), SearchOptions(None, 0.8, exact=True), SearchOptions(3, 0.8)):
                together = searcher.search(queries, 10, options)
                alone = [searcher.search(query[None], 10, options)[0] for query in queries]
                assert [[hit.uri for hit in one] for one in together] == [[hit.uri for hit in one] for one in alone]


@pytest.mark.parametrize("weight", [0.0, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_members_that_codes_put_into_a_wrong_order_are_found_behind_those_that_were_seen(weight, seed):
    rng = np.random.default_rng(seed)
    # Members so near one another that their codes, which must reach some far ones too, are mostly error.
    near = 0.05 * rng.normal(size=(3000, 16))
    far = 3.0 * rng.normal(size=(30, 16))
    centroid = normalise(np.ones((1, 16)))
    vectors = normalise(centroid + np.concatenate([near, far]) / 4)
    angles = np.arccos(np.clip(vectors @ centroid[0], -1, 1))
    table = ClusterTable(centroid, np.array([3030]), np.float32([angles.max()]), ((),))
    queries = normalise(centroid + 0.2 * rng.normal(size=(2, 16)))
    uris = tuple(f"photos/{row:05d}.jpg" for row in range(3030))
    case = Case(uris, vectors, np.zeros(3030, np.int64), table, queries, None)
    store = MemoryGalleryStore()
    case.serve(store, np.empty(0, np.int64))
    searcher = case.searcher(store, codes=True)
    for query in queries:
        (found,) = searcher.search(query[None], 20, SearchOptions(None, weight, exact=True))
        assert found.exact
        assert {hit.uri for hit in found} == {uri for uri, _ in case.ranked(query, weight, None, None)[:20]}


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_what_an_index_may_miss_is_not_called_exact(overlapping, index):
    store = MemoryGalleryStore()
    info = overlapping.serve(store, np.empty(0, np.int64))
    query = overlapping.queries[0]
    looks = Looks(Served(replace(info, index=index), overlapping.table), overlapping.table.centroids @ query, 0.8)
    run = Probing(looks, 20, SearchOptions(exact=True), max_limit=16_384).run()
    asked = next(run)
    with pytest.raises(StopIteration) as done:
        while True:
            asked = run.send(store.search(info, query[None], asked.clusters, asked.limit)[0])
    assert len(done.value.value.order) >= 20
    assert done.value.value.exact is (index == "flat")


@pytest.mark.parametrize("max_partitions", [256, 5])
@pytest.mark.parametrize("codes", CODES)
def test_milvus_gives_what_the_twin_gives(
    tmp_path: Path, max_partitions: int, codes: str | None, overlapping: Any
) -> None:
    memory = MemoryGalleryStore()
    with MilvusGalleryStore(str(tmp_path / "lite"), max_partitions=max_partitions) as milvus:
        gone = np.arange(0, 4000, 7)
        for store in (memory, milvus):
            overlapping.serve(store, gone)
        for weight in (0.0, 0.8):
            for where in (None, "year == 2"):
                options = SearchOptions(None, weight, where=where, exact=True)
                real, exact = (
                    overlapping.searcher(store, codes=codes).search(overlapping.queries, 25, options)
                    for store in (milvus, memory)
                )
                for one, other in zip(real, exact, strict=True):
                    assert one.exact and other.exact
                    truth = overlapping.ranked(
                        overlapping.queries[real.index(one)], weight, None if where is None else 2, None
                    )
                    overlapping.check(one, truth, 0, 25)
                    overlapping.check(other, truth, 0, 25)
