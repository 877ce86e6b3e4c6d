"""A search of a lifted version ranks as the linear system, in memory and in Milvus, and no switch mixes two forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.clusters import fit_clusters
from sbka_milvus.errors import InvalidValue, MatchingError
from sbka_milvus.protocols import GalleryStore, Matching
from sbka_milvus.rankers import LiftedOptions, PhotoParts, ServedMatching, fit_lifted, linear_system
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore, MilvusGalleryStore
from sbka_milvus.types import Candidates, Embeddings, FloatArray, GalleryRows, IntArray, VersionInfo, normalise

TIE = 2e-6
N_PHOTOS, N_CLUSTERS = 400, 20
EVERYTHING = SearchOptions(exact=True)


@dataclass
class LiftedWorld:
    """A gallery with kin, sketches beside it, and what it is lifted by."""

    embeddings: Embeddings
    training: FloatArray
    sketches: FloatArray
    matching: ServedMatching
    rows: FloatArray

    @classmethod
    def make(cls, seed: int = 0, weight: float = 0.8, n: int = N_PHOTOS, name: str = "photos") -> LiftedWorld:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(N_CLUSTERS, 24)) / 5
        shift = rng.normal(size=(2, 24)) / 4

        def near(count: int, moved: FloatArray) -> FloatArray:
            return normalise(centres[rng.integers(N_CLUSTERS, size=count)] + moved + rng.normal(size=(count, 24)) / 8)

        vectors, training, sketches = near(n, shift[0]), near(60, shift[1]), near(6, shift[1])
        embeddings = Embeddings(tuple(f"{name}/{number:04d}.jpg" for number in range(n)), vectors)
        lifted = fit_lifted(vectors, training, LiftedOptions(N_CLUSTERS, weight))
        photos = lifted.photos(vectors)
        served = ServedMatching(lifted, PhotoParts.of(embeddings.ids, photos))
        return cls(embeddings, training, sketches, served, photos.rows)

    def insert(self, store: GalleryStore) -> VersionInfo:
        lifted = Embeddings(self.embeddings.uris, self.rows)
        clustering = fit_clusters(lifted, N_CLUSTERS)
        info = store.create_version("cats", "model-1", clustering.table, matching="digest")
        store.insert(info, GalleryRows(lifted, clustering.assignments))
        return info

    def serve(self, store: GalleryStore) -> VersionInfo:
        info = self.insert(store)
        store.promote(info)
        return info

    def exact(self) -> FloatArray:
        system = linear_system(self.training, N_CLUSTERS, self.matching.cluster_weight)
        return system.scores(self.sketches, self.embeddings.vectors)

    def check(self, result: Any, row: int, k: int) -> None:
        """The hits are the k best by the linear system; photos whose scores tie may change places."""
        scores = dict(zip(self.embeddings.uris, self.exact()[row].tolist(), strict=True))
        assert [hit.rank for hit in result] == list(range(1, k + 1))
        np.testing.assert_allclose([hit.score for hit in result], sorted(scores.values())[::-1][:k], atol=TIE)
        for hit in result:
            assert hit.score == pytest.approx(scores[hit.uri], abs=TIE)
            made = hit.cluster_weight * hit.cluster_score + (1 - hit.cluster_weight) * hit.member_score - hit.level
            assert made == pytest.approx(hit.score, abs=TIE)
            assert hit.cluster_weight == self.matching.cluster_weight


def finder(*known: tuple[VersionInfo, Matching]) -> Callable[[VersionInfo], Matching | None]:
    """Finds the matchings of these versions, and refuses others."""

    def find(info: VersionInfo) -> Matching | None:
        for one, matching in known:
            if one == info:
                return matching
        raise MatchingError(f"The file of version {info.version} is gone.")

    return find


@pytest.fixture(scope="module")
def world() -> LiftedWorld:
    return LiftedWorld.make()


@pytest.fixture(scope="module", params=["memory", "milvus", "super_clusters"])
def served(world: LiftedWorld, tmp_path_factory: Any, request: Any) -> Iterator[tuple[GalleryStore, VersionInfo]]:
    store: Any = MemoryGalleryStore()
    if request.param != "memory":
        folder: Path = tmp_path_factory.mktemp("milvus")
        store = MilvusGalleryStore(str(folder / "lite"), max_partitions=256 if request.param == "milvus" else 5)
    with store:
        yield store, world.serve(store)


class TestRanking:
    @pytest.mark.parametrize("k", [1, 10, N_PHOTOS])
    def test_it_is_that_of_the_linear_system(self, world, served, k):
        store, info = served
        searcher = GallerySearcher(store, "cats", matching_of=finder((info, world.matching)))
        for row, result in enumerate(searcher.search(world.sketches, k, EVERYTHING, fingerprint="model-1")):
            world.check(result, row, k)
            assert result.exact
            assert len(result.probes) == N_CLUSTERS or k < N_PHOTOS

    def test_with_few_probes_hits_are_those_of_the_probed_clusters(self, world, served):
        store, info = served
        searcher = GallerySearcher(store, "cats", matching_of=finder((info, world.matching)))
        whole = searcher.search(world.sketches, N_PHOTOS, EVERYTHING)
        part = searcher.search(world.sketches, 20, SearchOptions(n_probe=5))
        for few, all_of_them in zip(part, whole, strict=True):
            probed = [hit for hit in all_of_them if hit.cluster_id in few.probes][:20]
            np.testing.assert_allclose([hit.score for hit in few], [hit.score for hit in probed], atol=TIE)
            assert few.probes == all_of_them.probes[:5]
        # A quarter of the clusters holds almost all of the best.
        best = [{hit.uri for hit in all_of_them.hits[:10]} for all_of_them in whole]
        found = [{hit.uri for hit in few} for few in part]
        assert np.mean([len(a & b) / 10 for a, b in zip(best, found, strict=True)]) > 0.9

    def test_cluster_by_cluster_it_is_the_same(self, world, served):
        store, info = served
        find = finder((info, world.matching))
        whole = GallerySearcher(store, "cats", matching_of=find).search(world.sketches, 50, EVERYTHING)
        parts = GallerySearcher(store, "cats", matching_of=find, max_limit=45).search(world.sketches, 50, EVERYTHING)
        for row, (one, other) in enumerate(zip(whole, parts, strict=True)):
            world.check(other, row, 50)
            assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=TIE)

    def test_the_store_is_asked_once(self, world):
        class Counting(MemoryGalleryStore):
            searches = 0

            def search(
                self, info: VersionInfo, queries: FloatArray, ids: IntArray, limit: int, *rest: Any, **how: Any
            ) -> list[Candidates]:
                self.searches += 1
                return super().search(info, queries, ids, limit, *rest, **how)

        store = Counting()
        info = world.serve(store)
        searcher = GallerySearcher(store, "cats", matching_of=finder((info, world.matching)))
        searcher.search(world.sketches[:1], 60, SearchOptions(n_probe=N_CLUSTERS))
        assert store.searches == 1  # its own order is that of the scores, so nothing need be made sure of

    def test_without_weight_clusters_are_told_and_do_not_count(self):
        world = LiftedWorld.make(seed=3, weight=0.0)
        store = MemoryGalleryStore()
        info = world.serve(store)
        hits = GallerySearcher(store, "cats", matching_of=finder((info, world.matching))).search(
            world.sketches[:1], 10, EVERYTHING
        )[0]
        for hit in hits:
            assert hit.score == pytest.approx(hit.member_score - hit.level, abs=TIE)
            assert hit.cluster_score != 0


class TestOptions:
    def test_a_weight_of_ones_own_is_refused_and_that_of_the_version_is_not(self, world):
        store = MemoryGalleryStore()
        info = world.serve(store)
        searcher = GallerySearcher(store, "cats", matching_of=finder((info, world.matching)))
        with pytest.raises(InvalidValue, match=r"cluster weight 0.8 in its vectors.*cannot be searched with 0.3"):
            searcher.search(world.sketches, 5, SearchOptions(None, 0.3, exact=True))
        for options in (SearchOptions(None, 0.8, exact=True), SearchOptions(None, default_weight=0.3, exact=True)):
            world.check(searcher.search(world.sketches, 5, options)[2], 2, 5)

    def test_queries_of_another_length_are_refused(self, world):
        store = MemoryGalleryStore()
        info = world.serve(store)
        searcher = GallerySearcher(store, "cats", matching_of=finder((info, world.matching)))
        with pytest.raises(InvalidValue, match="dimensions"):
            searcher.search(np.eye(25, dtype=np.float32)[:1], 5, EVERYTHING)
        # Those of a lifted vector's own length are none either: sketches come as they were encoded.
        with pytest.raises(InvalidValue, match="dimensions"):
            searcher.search(world.matching.queries(world.sketches), 5, EVERYTHING)

    def test_no_queries_have_no_results(self, world):
        store = MemoryGalleryStore()
        info = world.serve(store)
        searcher = GallerySearcher(store, "cats", matching_of=finder((info, world.matching)))
        assert searcher.search(world.sketches[:0], 5, EVERYTHING) == []
        assert searcher.matching is world.matching


class TestSwitching:
    def test_from_fused_to_lifted_and_back_under_one_searcher(self, make_world, world):
        store = MemoryGalleryStore()
        fused = make_world(60, 5, 24, name="fused")
        first = fused.serve(store)
        second = world.insert(store)
        searcher = GallerySearcher(store, "cats", matching_of=finder((second, world.matching)))
        for served in (first, second, first, second):
            store.promote(served)
            results = searcher.search(world.sketches, 10, EVERYTHING)
            assert {result.version for result in results} == {served.version}
            for row, result in enumerate(results):
                if served is second:
                    world.check(result, row, 10)
                else:
                    fused.check(result, world.sketches[row], 10, 0.8, None)
                    assert {hit.level for hit in result} == {0.0}

    def test_a_switch_during_a_search_never_mixes_the_forms(self, make_world, world):
        class Busy(MemoryGalleryStore):
            act: Callable[[], None] | None = None

            def search(
                self, info: VersionInfo, queries: FloatArray, ids: IntArray, limit: int, *rest: Any, **how: Any
            ) -> list[Candidates]:
                if (act := self.act) is not None:
                    self.act = None
                    act()
                return super().search(info, queries, ids, limit, *rest, **how)

        store = Busy()
        fused = make_world(60, 5, 24, name="fused")
        first = fused.serve(store)
        second = world.insert(store)
        searcher = GallerySearcher(store, "cats", matching_of=finder((second, world.matching)))
        store.act = lambda: store.promote(second)
        for row, result in enumerate(searcher.search(world.sketches, 10, EVERYTHING)):
            assert result.version == 2
            world.check(result, row, 10)

        def drop() -> None:
            store.promote(first)
            store.drop_version(second)

        store.act = drop
        for row, result in enumerate(searcher.search(world.sketches, 10, EVERYTHING)):
            assert result.version == 1
            fused.check(result, world.sketches[row], 10, 0.8, None)

    def test_a_version_dropped_before_its_matching_is_read_is_passed_over(self, make_world, world):
        store = MemoryGalleryStore()
        first = world.serve(store)
        fused = make_world(60, 5, 24, name="fused")

        def find(info: VersionInfo) -> Matching | None:
            fused.serve(store)
            store.drop_version(first)
            raise MatchingError("Its file went with it.")

        result = GallerySearcher(store, "cats", matching_of=find).search(world.sketches, 5, EVERYTHING)[0]
        fused.check(result, world.sketches[0], 5, 0.8, None)

    def test_a_matching_that_is_gone_is_told_and_not_looked_for_for_ever(self, world):
        store = MemoryGalleryStore()
        world.serve(store)
        for find, says in ((finder(), "is gone"), (None, "Open the gallery from its folder")):
            searcher = GallerySearcher(store, "cats", matching_of=find)
            with pytest.raises(MatchingError, match=says):
                searcher.search(world.sketches, 5, EVERYTHING)
            with pytest.raises(MatchingError, match=says):
                _ = searcher.matching
            searcher.require_encoder("model-1")  # which asks for the model alone

    def test_a_matching_is_read_once_while_the_version_stays(self, world):
        store = MemoryGalleryStore()
        info = world.serve(store)
        reads: list[VersionInfo] = []

        def find(wanted: VersionInfo) -> Matching | None:
            reads.append(wanted)
            return world.matching

        searcher = GallerySearcher(store, "cats", matching_of=find)
        for _ in range(3):
            searcher.search(world.sketches, 5, EVERYTHING)
        assert reads == [info]
