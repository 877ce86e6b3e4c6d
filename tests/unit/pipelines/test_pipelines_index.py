"""Indexing serves exactly the shards' photos, or goes on serving what it served."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.embeddings import PhotoRecords
from sbka_milvus.embeddings.index_record import read_index_record
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.errors import CollectionMissing, EncoderMismatch, GalleryError, StoreError, StoreUnavailable
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import GalleryRows, VersionInfo, normalise


class FaultyStore(MemoryGalleryStore):
    """Does what it is told to at some calls, instead of what it should."""

    def __init__(self) -> None:
        super().__init__()
        self.on_insert: Callable[[int], None] = lambda number: None
        self.on_drop: Callable[[], None] = lambda: None
        self.lost = 0
        self._inserts = 0

    def insert(self, info: VersionInfo, rows: GalleryRows) -> None:
        self.on_insert(self._inserts)
        self._inserts += 1
        super().insert(info, rows)

    def count(self, info: VersionInfo) -> int:
        return super().count(info) - self.lost

    def drop_version(self, info: VersionInfo) -> None:
        self.on_drop()
        super().drop_version(info)


def add(gallery, names: list[str], seed: int = 0, fingerprint: str = "grid-1") -> Path:
    n = len(names)
    numbers = np.arange(n, dtype=np.int64)
    vectors = normalise(np.random.default_rng(seed).normal(size=(n, 8)))
    records = PhotoRecords(tuple(names), tuple(names), numbers, numbers, numbers, numbers, vectors)
    return write_shard(gallery.shard_folder, records, fingerprint)


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def filled(gallery):
    add(gallery, [f"/p/{number:03d}.jpg" for number in range(40)])
    return gallery


def held(store, info: VersionInfo) -> dict[str, tuple[float, ...]]:
    return {
        uri: tuple(vector.tolist())
        for rows in store.scan(info)
        for uri, vector in zip(rows.embeddings.uris, rows.embeddings.vectors, strict=True)
    }


class TestBuilding:
    def test_all_photos_are_served_in_their_clusters(self, filled, store, progress):
        report = build_index(filled, store, IndexOptions(), progress)

        assert (report.version, report.photos, report.clusters, report.rebuilt) == (1, 40, 8, True)
        assert report.seconds > 0
        info = store.served("cats")
        assert (info.version, info.fingerprint, info.n_clusters) == (1, "grid-1", 8)
        table = store.clusters(info)
        for rows in store.scan(info):
            nearest = np.argmax(rows.embeddings.vectors @ table.centroids.T, axis=1)
            np.testing.assert_array_equal(rows.cluster_ids, nearest)
        assert set(held(store, info)) == {f"/p/{number:03d}.jpg" for number in range(40)}
        assert progress.stages == [["Clustering", None, 0], ["Indexing", 40, 40]]

    def test_many_photos_are_sent_in_several_batches(self, gallery, store, progress):
        add(gallery, [f"/p/{number}.jpg" for number in range(2500)])
        batches = []
        store.on_insert = batches.append
        assert build_index(gallery, store, IndexOptions(n_clusters=5), progress).photos == 2500
        assert batches == [0, 1]

    def test_a_second_run_changes_nothing(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        progress.stages.clear()
        report = build_index(filled, store, IndexOptions(), progress)

        assert (report.version, report.photos, report.clusters, report.rebuilt) == (1, 40, 8, False)
        assert [info.version for info in store.versions("cats")] == [1]
        assert progress.stages == []

    @pytest.mark.parametrize("options", [IndexOptions(n_clusters=3), IndexOptions(seed=1)])
    def test_other_options_build_anew(self, filled, store, progress, options):
        build_index(filled, store, IndexOptions(), progress)
        report = build_index(filled, store, options, progress)
        assert (report.version, report.rebuilt) == (2, True)
        assert options.n_clusters in (0, report.clusters)

    def test_new_shards_build_anew_with_the_newest_vectors(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        before = held(store, store.served("cats"))
        add(filled, ["/p/003.jpg", "/p/new.jpg"], seed=1)
        report = build_index(filled, store, IndexOptions(), progress)

        assert (report.version, report.photos, report.rebuilt) == (2, 41, True)
        after = held(store, store.served("cats"))
        assert {uri for uri in after if after[uri] != before.get(uri)} == {"/p/003.jpg", "/p/new.jpg"}

    def test_more_clusters_than_photos_are_as_many_as_photos(self, gallery, store, progress):
        add(gallery, ["/p/a", "/p/b", "/p/c"])
        assert build_index(gallery, store, IndexOptions(n_clusters=50), progress).clusters == 3

    def test_one_photo_is_a_gallery(self, gallery, store, progress):
        add(gallery, ["/p/a"])
        report = build_index(gallery, store, IndexOptions(), progress)
        assert (report.photos, report.clusters) == (1, 1)


class TestNoticing:
    """The record of what was built is checked against what is there."""

    @pytest.fixture
    def built(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        return filled

    @pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff", b"{}"])
    def test_a_version_whose_record_is_lost_is_built_anew(self, built, store, progress, content):
        (record,) = built.version_folder.glob("*.json")
        record.unlink()
        if content is not None:
            record.write_bytes(content)
        assert build_index(built, store, IndexOptions(), progress).rebuilt
        assert not build_index(built, store, IndexOptions(), progress).rebuilt

    @pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff", b"{}"])
    def test_what_says_which_version_is_served_is_written_again(self, built, store, progress, content):
        before = read_index_record(built.index_file)
        built.index_file.unlink()
        if content is not None:
            built.index_file.write_bytes(content)
        assert not build_index(built, store, IndexOptions(), progress).rebuilt
        assert read_index_record(built.index_file) == before

    def test_a_version_of_a_release_without_records_is_taken_over(self, built, store, progress):
        (path,) = built.version_folder.glob("*.json")
        before = json.loads(path.read_text())
        path.unlink()
        legacy = {"version": 1, "source": before["source"], "photos": 40}
        built.index_file.write_text(json.dumps(legacy))
        assert not build_index(built, store, IndexOptions(), progress).rebuilt
        assert json.loads(path.read_text())["photos"] == 40

    def test_a_version_of_such_a_release_that_lost_photos_is_not(self, built, store, progress):
        (path,) = built.version_folder.glob("*.json")
        before = json.loads(path.read_text())
        path.unlink()
        built.index_file.write_text(json.dumps({"version": 1, "source": before["source"], "photos": 40}))
        info = store.served("cats")
        store.delete(info, next(store.scan(info)).embeddings.ids[:3])
        assert build_index(built, store, IndexOptions(), progress).rebuilt

    def test_a_version_that_was_rolled_back_to_is_built_anew(self, built, store, progress):
        first = store.served("cats")
        add(built, ["/p/new.jpg"], seed=1)
        build_index(built, store, IndexOptions(), progress)
        store.promote(first)
        report = build_index(built, store, IndexOptions(), progress)
        assert (report.version, report.photos, report.rebuilt) == (3, 41, True)

    def test_photos_that_the_store_has_lost_are_brought_back(self, built, store, progress):
        info = store.served("cats")
        store.delete(info, next(store.scan(info)).embeddings.ids[:3])
        report = build_index(built, store, IndexOptions(), progress)
        assert (report.version, report.photos, report.rebuilt) == (2, 40, True)

    def test_another_store_is_filled(self, built, progress):
        other = MemoryGalleryStore()
        assert build_index(built, other, IndexOptions(), progress).rebuilt
        assert other.count(other.served("cats")) == 40

    def test_another_store_that_serves_somebody_elses_photos_is_not_taken_for_ours(self, built, store, progress):
        ours, theirs = store.served("cats"), MemoryGalleryStore()
        info = theirs.create_version("cats", "grid-2", store.clusters(ours))
        for rows in store.scan(ours):
            theirs.insert(info, rows)
        theirs.promote(info)
        report = build_index(built, theirs, IndexOptions(), progress)
        assert (report.version, report.rebuilt) == (2, True)
        assert theirs.served("cats").fingerprint == "grid-1"


class TestFailing:
    @pytest.fixture
    def built(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        add(filled, [f"/p/new-{number}.jpg" for number in range(2500)], seed=1)
        return filled

    def still_serves_the_first(self, gallery, store, progress) -> None:
        assert [info.version for info in store.versions("cats")] == [1]
        assert store.served("cats").version == 1
        store.lost, store.on_insert = 0, lambda number: None
        report = build_index(gallery, store, IndexOptions(), progress)
        assert (report.photos, report.rebuilt) == (2540, True)

    def test_a_store_that_lies_about_its_count_is_not_served(self, built, store, progress):
        store.lost = 1
        with pytest.raises(StoreError, match=r"holds 2539 of the 2540 photos sent to version 2 of 'cats'.*again"):
            build_index(built, store, IndexOptions(), progress)
        self.still_serves_the_first(built, store, progress)

    @pytest.mark.parametrize("failure", [StoreUnavailable("gone"), KeyboardInterrupt()])
    def test_a_half_filled_version_is_not_left_behind(self, built, store, progress, failure):
        def fail(number: int) -> None:
            if number == 2:
                raise failure

        store.on_insert = fail
        with pytest.raises(type(failure)):
            build_index(built, store, IndexOptions(), progress)
        self.still_serves_the_first(built, store, progress)

    def test_a_failure_to_clear_up_does_not_hide_the_failure(self, built, store, progress):
        def refuse() -> None:
            raise StoreUnavailable("cannot be reached")

        store.lost, store.on_drop = 1, refuse
        with pytest.raises(StoreError, match="2539 of the 2540"):
            build_index(built, store, IndexOptions(), progress)

    def test_a_gallery_without_photos_makes_no_version(self, gallery, store, progress):
        with pytest.raises(GalleryError, match=f"{gallery.root} holds no photos"):
            build_index(gallery, store, IndexOptions(), progress)
        assert store.versions("cats") == []
        with pytest.raises(CollectionMissing):
            store.served("cats")

    def test_a_shard_of_another_encoder_makes_no_version(self, built, store, progress):
        add(built, ["/p/other.jpg"], fingerprint="grid-2")
        with pytest.raises(EncoderMismatch, match="grid-2"):
            build_index(built, store, IndexOptions(), progress)
        assert [info.version for info in store.versions("cats")] == [1]


class TestKeeping:
    @pytest.mark.parametrize(("keep", "expected"), [(1, [4]), (2, [3, 4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4])])
    def test_the_last_versions_are_kept(self, filled, store, progress, keep, expected):
        for seed in range(4):
            build_index(filled, store, IndexOptions(seed=seed, keep_versions=keep), progress)
        assert [info.version for info in store.versions("cats")] == expected
        assert store.served("cats").version == 4

    def test_what_a_killed_run_left_does_not_take_the_place_of_the_version_before(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        first = store.served("cats")
        store.create_version("cats", "grid-1", store.clusters(first))
        build_index(filled, store, IndexOptions(seed=1), progress)
        assert [store.count(info) for info in store.versions("cats")] == [40, 40]
        assert store.versions("cats")[0] == first

    def test_other_galleries_are_left_alone(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        table = store.clusters(store.served("cats"))
        dogs = [store.create_version("dogs", "grid-1", table) for _ in range(3)]
        build_index(filled, store, IndexOptions(seed=1, keep_versions=1), progress)
        assert store.versions("dogs") == dogs
