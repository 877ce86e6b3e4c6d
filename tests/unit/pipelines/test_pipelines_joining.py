"""New photos join the clusters that a gallery has, and what is served stays exact whatever comes and goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import list_shards, write_shard
from sbka_milvus.embeddings.versions import read_version_record, write_version_record
from sbka_milvus.pipelines.fits import fit_file, read_fit
from sbka_milvus.pipelines.index import IndexOptions, build_index, build_version
from sbka_milvus.pipelines.matching import matching_finder, read_matching
from sbka_milvus.pipelines.origin import ClusterOrigin
from sbka_milvus.pipelines.versions import record_gate, rollback
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import FloatArray, normalise

N = 60
DIM = 16
FUSED = IndexOptions(matching="fused")


@pytest.fixture
def store() -> MemoryGalleryStore:
    return MemoryGalleryStore()


def add(gallery: Gallery, names: list[str], vectors: FloatArray) -> Path:
    numbers = np.arange(len(names), dtype=np.int64)
    records = PhotoRecords(tuple(names), ("0",) * len(names), numbers, numbers, numbers, numbers, vectors)
    return write_shard(gallery.shard_folder, records, gallery.fingerprint)


def some(n: int, seed: int = 0) -> FloatArray:
    return normalise(np.random.default_rng(seed).normal(size=(n, DIM)))


def names(n: int, prefix: str = "a") -> list[str]:
    return [f"/p/{prefix}{number:03d}.jpg" for number in range(n)]


def clusters_of(store, gallery) -> dict[str, int]:
    rows = list(store.scan(store.served(gallery.name)))
    return {uri: cluster for part in rows for uri, cluster in zip(part.embeddings.uris, part.cluster_ids, strict=True)}


def origin_of(store, gallery) -> ClusterOrigin:
    found = ClusterOrigin.of(read_version_record(gallery.version_folder, store.served(gallery.name).token))
    assert found is not None
    return found


@pytest.fixture
def fitted(gallery, store, progress):
    """A gallery of sixty photos, version 1."""
    add(gallery, names(N), some(N))
    build_index(gallery, store, FUSED, progress)
    progress.stages.clear()
    return gallery


class TestJoining:
    def test_new_photos_join_and_the_others_stay(self, fitted, store, progress):
        before, table = clusters_of(store, fitted), store.clusters(store.served("cats"))
        add(fitted, names(5, "b"), some(5, seed=1))
        report = build_index(fitted, store, FUSED, progress)

        assert (report.version, report.photos, report.clusters, report.rebuilt) == (2, N + 5, 10, True)
        assert [stage for stage, *_ in progress.stages] == ["Joining clusters", "Indexing"]
        after = clusters_of(store, fitted)
        assert {uri: after[uri] for uri in before} == before
        joined = store.clusters(store.served("cats"))
        np.testing.assert_array_equal(joined.centroids, table.centroids)
        assert joined.sizes.sum() == N + 5 and (joined.sizes >= table.sizes).all() and (joined.radii > 0).any()
        told = report.clustering
        assert (told["how"], told["base"], told["fit_version"]) == ("joined", 1, 1)
        assert (told["fitted"], told["joined"], told["gone"]) == (N, 5, 0)
        assert (report.drifted, told["drift"]["n_new"], told["drift"]["enough"]) == ("", 5, False)

    def test_the_fit_is_remembered_when_its_version_is_gone(self, fitted, store, progress):
        first = store.served("cats")
        for number in range(4):
            add(fitted, names(3, "bcde"[number]), some(3, seed=number + 1))
            build_index(fitted, store, FUSED, progress)
        origin = origin_of(store, fitted)
        assert [info.version for info in store.versions("cats")] == [4, 5]
        assert (origin.base, origin.fit, origin.fit_version, origin.joined) == (4, first.token, 1, 12)
        assert [path.stem for path in fitted.fit_folder.iterdir()] == [first.token]

    def test_fits_that_no_version_has_are_swept(self, fitted, store, progress):
        first = store.served("cats")
        for seed in (1, 2):
            build_index(fitted, store, replace(FUSED, seed=seed), progress)
        tokens = {info.token for info in store.versions("cats")}
        assert {path.stem for path in fitted.fit_folder.iterdir()} == tokens
        assert first.token not in tokens

    def test_a_changed_photo_may_move_and_is_not_new(self, fitted, store, progress):
        before = clusters_of(store, fitted)
        target = store.clusters(store.served("cats")).centroids[(before["/p/a000.jpg"] + 1) % 10]
        add(fitted, ["/p/a000.jpg"], target[None])
        report = build_index(fitted, store, FUSED, progress)
        after = clusters_of(store, fitted)
        assert {uri for uri in after if after[uri] != before[uri]} == {"/p/a000.jpg"}
        assert (report.clustering["joined"], report.clustering["gone"]) == (0, 0)

    def test_photos_that_are_gone_drop_out_and_an_emptied_cluster_keeps_its_id(self, gallery, store, progress):
        vectors = some(N)
        add(gallery, names(N), vectors)
        build_index(gallery, store, FUSED, progress)
        before = clusters_of(store, gallery)
        emptied = before["/p/a000.jpg"]
        kept = [row for row, uri in enumerate(names(N)) if before[uri] != emptied]
        for shard in list_shards(gallery.shard_folder):
            shard.unlink()
        add(gallery, [names(N)[row] for row in kept], vectors[kept])
        report = build_index(gallery, store, FUSED, progress)

        assert (report.clustering["how"], report.clustering["gone"]) == ("joined", N - len(kept))
        after, table = clusters_of(store, gallery), store.clusters(store.served("cats"))
        assert after == {uri: cluster for uri, cluster in before.items() if cluster != emptied}
        assert (table.sizes[emptied], table.radii[emptied], table.exemplars[emptied]) == (0, 0.0, ())
        searcher = GallerySearcher(store, "cats")
        found = searcher.search(vectors[:1], 5, SearchOptions(n_probe=1))[0]
        assert emptied not in found.probes and len(found) > 0
        assert emptied not in searcher.search(vectors[:1], 5, SearchOptions(exact=True))[0].probes

        # What comes to lie there again joins it.
        add(gallery, ["/p/back.jpg"], table.centroids[emptied][None])
        build_index(gallery, store, FUSED, progress)
        assert clusters_of(store, gallery)["/p/back.jpg"] == emptied

    def test_the_linear_form_joins_with_the_lifting_of_the_fit(self, gallery, store, progress, pictures):
        pictures.teach(gallery)
        pictures.add(gallery, N)
        build_index(gallery, store, IndexOptions(n_clusters=6), progress)
        first = store.served("cats")
        lifted, before = read_matching(gallery, first).lifted, clusters_of(store, gallery)
        pictures.add(gallery, 9, "more")
        progress.stages.clear()
        report = build_index(gallery, store, IndexOptions(n_clusters=6), progress)

        assert [stage for stage, *_ in progress.stages] == ["Joining clusters", "Indexing"]
        assert (report.clustering["how"], report.matching) == ("joined", lifted.name)
        matching = read_matching(gallery, store.served("cats"))
        for old, new in zip(lifted.tables, matching.lifted.tables, strict=True):
            np.testing.assert_array_equal(old, new)
        np.testing.assert_array_equal(lifted.alignment.photo_mean, matching.lifted.alignment.photo_mean)
        assert len(matching.photos.ids) == N + 9
        after = clusters_of(store, gallery)
        assert {uri: after[uri] for uri in before} == before
        # A photo that joined tells the parts of its score like any other.
        searcher = GallerySearcher(store, "cats", matching_of=matching_finder(gallery))
        hits = searcher.search(pictures.sketches(1), N + 9, SearchOptions(exact=True))[0]
        assert len(hits) == N + 9 and all(hit.level != 0 for hit in hits)


class TestFittingAnew:
    """Where no earlier version will do."""

    def next_report(self, gallery, store, progress, options=FUSED):
        add(gallery, names(3, "z"), some(3, seed=9))
        report = build_index(gallery, store, options, progress)
        assert report.photos == N + 3
        return report.clustering["how"]

    @pytest.mark.parametrize("changed", [{"seed": 1}, {"n_clusters": 4}, {"anew": True}])
    def test_other_wishes(self, fitted, store, progress, changed):
        assert self.next_report(fitted, store, progress, replace(FUSED, **changed)) == "fitted"

    def test_a_model_that_has_learned_of_sketches_since(self, fitted, store, progress, pictures):
        pictures.teach(fitted)
        assert self.next_report(fitted, store, progress, IndexOptions()) == "fitted"

    def test_a_record_of_a_release_that_always_fitted(self, fitted, store, progress):
        record = read_version_record(fitted.version_folder, store.served("cats").token)
        write_version_record(fitted.version_folder, replace(record, clustering=None))
        assert self.next_report(fitted, store, progress) == "fitted"

    @pytest.mark.parametrize("clustering", [{}, {"how": "joined"}, {"how": 1, "drift": 2}, {"how": "odd", "drift": {}}])
    def test_a_record_that_cannot_be_understood(self, fitted, store, progress, clustering):
        record = read_version_record(fitted.version_folder, store.served("cats").token)
        write_version_record(fitted.version_folder, replace(record, clustering=clustering))
        assert ClusterOrigin.of(read_version_record(fitted.version_folder, record.token)) is None
        assert self.next_report(fitted, store, progress) == "fitted"

    @pytest.mark.parametrize("content", [None, b"", b"damaged"])
    def test_a_fit_that_is_lost_or_damaged(self, fitted, store, progress, content):
        path = fit_file(fitted, store.served("cats").token)
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        assert self.next_report(fitted, store, progress) == "fitted"
        assert read_fit(fitted, store.served("cats").token) is not None

    def test_another_store(self, fitted, progress):
        assert self.next_report(fitted, MemoryGalleryStore(), progress) == "fitted"

    def test_a_version_that_lost_photos(self, fitted, store, progress):
        info = store.served("cats")
        store.delete(info, next(store.scan(info)).embeddings.ids[:3])
        assert self.next_report(fitted, store, progress) == "fitted"

    def test_a_file_of_lifting_that_is_damaged(self, gallery, store, progress, pictures):
        pictures.teach(gallery)
        pictures.add(gallery, N)
        build_index(gallery, store, IndexOptions(n_clusters=6), progress)
        for path in gallery.version_folder.glob("*.npz"):
            path.write_bytes(b"damaged")
        assert build_index(gallery, store, IndexOptions(n_clusters=6), progress).clustering["how"] == "fitted"

    def test_a_handful_of_photos_is_no_fit_once_the_gallery_has_doubled(self, gallery, store, progress):
        add(gallery, names(10), some(10))
        build_index(gallery, store, FUSED, progress)
        add(gallery, names(9, "b"), some(9, seed=1))
        assert build_index(gallery, store, FUSED, progress).clustering["how"] == "joined"
        add(gallery, names(1, "c"), some(1, seed=2))
        report = build_index(gallery, store, FUSED, progress)
        assert (report.clustering["how"], report.clustering["fitted"]) == ("fitted", 20)


class TestWhichVersion:
    def test_the_served_one_before_a_newer_one(self, fitted, store, progress):
        build_index(fitted, store, replace(FUSED, seed=1), progress)
        rollback(fitted, store)
        add(fitted, names(3, "b"), some(3, seed=1))
        assert build_index(fitted, store, FUSED, progress).clustering["base"] == 1

    def test_the_newest_where_the_served_one_was_made_otherwise(self, fitted, store, progress):
        build_index(fitted, store, replace(FUSED, seed=1), progress)
        add(fitted, names(3, "b"), some(3, seed=1))
        report = build_index(fitted, store, FUSED, progress)
        assert (report.version, report.clustering["how"], report.clustering["base"]) == (3, "joined", 1)

    def test_not_one_that_the_gate_refused_nor_one_that_was_rolled_back_from(self, fitted, store, progress):
        other = fitted.for_model("grid-2")
        add(other, names(N), some(N, seed=5))
        refused = build_version(other, store, FUSED, progress)
        record_gate(other, refused, {"passed": False})
        add(other, names(3, "b"), some(3, seed=1))
        again = build_version(other, store, FUSED, progress)
        assert ClusterOrigin.of(read_version_record(other.version_folder, again.token)).how == "fitted"

    def test_a_candidate_of_the_same_model(self, fitted, store, progress):
        other = fitted.for_model("grid-2")
        add(other, names(N), some(N, seed=5))
        first = build_version(other, store, FUSED, progress)
        add(other, names(3, "b"), some(3, seed=1))
        again = build_version(other, store, FUSED, progress)
        origin = ClusterOrigin.of(read_version_record(other.version_folder, again.token))
        assert (origin.how, origin.base) == ("joined", first.version)


@st.composite
def happenings(draw):
    """Ingests of new, changed and removed photos, one after the other."""
    steps = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4), st.integers(0, 25)), min_size=1, max_size=5))
    return draw(st.integers(0, 2**31 - 1)), draw(st.integers(8, 45)), steps


@settings(derandomize=True, deadline=None, max_examples=30)
@given(what=happenings(), linear=st.booleans())
def test_whatever_comes_and_goes_what_is_served_is_whole_and_exact(tmp_path_factory, make_pictures, what, linear):
    seed, first, steps = what
    pictures, rng = make_pictures(seed % 1000), np.random.default_rng(seed)
    gallery, store = Gallery.create_or_open(tmp_path_factory.mktemp("any") / "gallery", "grid-1", "cats"), None
    pictures.teach(gallery)
    store = MemoryGalleryStore()
    options = IndexOptions(n_clusters=5, matching="linear" if linear else "fused")
    twin = dict(zip(names(first), pictures.photos(first), strict=True))
    add(gallery, list(twin), np.stack(list(twin.values())))
    build_index(gallery, store, options, SilentProgress())
    for number, (n_new, n_changed, n_gone) in enumerate(steps):
        before, old = clusters_of(store, gallery), dict(twin)
        for uri in rng.permutation(sorted(twin))[: min(n_gone, len(twin) - 2)]:
            del twin[str(uri)]
        twin |= dict(zip(names(n_new, f"s{number}-"), pictures.photos(n_new), strict=True)) if n_new else {}
        changed = [str(uri) for uri in rng.permutation(sorted(twin))[:n_changed]]
        twin |= dict(zip(changed, pictures.photos(len(changed)), strict=True)) if changed else {}
        for shard in list_shards(gallery.shard_folder):
            shard.unlink()
        add(gallery, list(twin), np.stack(list(twin.values())))
        report = build_index(gallery, store, options, SilentProgress())

        after, table = clusters_of(store, gallery), store.clusters(store.served("cats"))
        assert after.keys() == twin.keys() and report.photos == len(twin) == table.sizes.sum()
        np.testing.assert_array_equal(np.bincount(list(after.values()), minlength=len(table)), table.sizes)
        origin = origin_of(store, gallery)
        assert origin.photos == len(twin)
        if origin.how == "joined":
            unchanged = [uri for uri in before if uri in twin and twin[uri] is old[uri]]
            assert [after[uri] for uri in unchanged] == [before[uri] for uri in unchanged]

        query = pictures.sketches(1)
        searcher = GallerySearcher(store, "cats", matching_of=matching_finder(gallery))
        result = searcher.search(query, len(twin), SearchOptions(exact=True, default_weight=0.8))[0]
        rows = next(store.scan(store.served("cats"), batch_size=10_000))
        if linear:
            matching = read_matching(gallery, store.served("cats"))
            exact = matching.lifted.scores(matching.queries(query) @ rows.embeddings.vectors.T)[0]
        else:
            exact = (
                0.8 * (query @ table.centroids.T)[0, rows.cluster_ids] + 0.2 * (query @ rows.embeddings.vectors.T)[0]
            )
        scores = dict(zip(rows.embeddings.uris, exact.tolist(), strict=True))
        assert [hit.score for hit in result] == pytest.approx(sorted(scores.values(), reverse=True), abs=2e-6)
        assert {hit.uri for hit in result} == twin.keys()
