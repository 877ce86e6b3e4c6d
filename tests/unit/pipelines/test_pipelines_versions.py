"""Versions are built beside, served when they are whole, left again; a kill anywhere is made good."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.index_record import IndexRecord, read_index_record
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.embeddings.versions import read_version_record, remove_version_record, write_version_record
from sbka_milvus.errors import CollectionMissing, GalleryBusy, GalleryError, OutputError, StoreError
from sbka_milvus.pipelines.index import IndexOptions, build_index, build_version
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.version_states import find_version, list_versions
from sbka_milvus.pipelines.versions import follow_served, record_gate, rollback, serve_version
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import normalise


def add(gallery: Gallery, n: int = 20, seed: int = 0, dim: int = 8) -> None:
    numbers = np.arange(n, dtype=np.int64)
    vectors = normalise(np.random.default_rng(seed).normal(size=(n, dim)))
    uris = tuple(f"/p/{seed}-{number:03d}.jpg" for number in range(n))
    records = PhotoRecords(uris, uris, numbers, numbers, numbers, numbers, vectors)
    write_shard(gallery.shard_folder, records, gallery.fingerprint)


def give_model(gallery: Gallery, fingerprint: str) -> Gallery:
    other = gallery.for_model(fingerprint)
    other.model_folder.mkdir(parents=True)
    (other.model_folder / "manifest.json").write_text("{}")
    return other


@pytest.fixture
def store() -> MemoryGalleryStore:
    return MemoryGalleryStore()


@pytest.fixture
def filled(gallery):
    add(gallery)
    return gallery


@pytest.fixture
def other(filled):
    """The same gallery with the shards and the bundle of another model, of another dimension."""
    give_model(filled, "grid-1")
    model = give_model(filled, "grid-2")
    add(model, dim=12)
    return model


def numbers(gallery, store) -> list[int]:
    return [info.version for info in store.versions(gallery.name)]


def record_of(gallery, info):
    return read_version_record(gallery.version_folder, info.token)


class TestBuilding:
    def test_a_version_is_built_beside_the_served_one(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        info = build_version(other, store, IndexOptions(n_clusters=3, seed=7), progress)

        assert (info.version, info.fingerprint, info.dim, info.n_clusters) == (2, "grid-2", 12, 3)
        assert store.served("cats").version == 1
        assert Gallery.open(filled.root) == filled
        record = record_of(filled, info)
        assert (record.photos, record.clusters, record.fingerprint, record.promoted) == (20, 3, "grid-2", None)
        assert record.options == {"n_clusters": 3, "seed": 7}
        assert record.waits
        states = list_versions(filled, store)
        assert [(state.served, state.complete, state.photos) for state in states] == [
            (True, True, 20),
            (False, True, 20),
        ]

    def test_building_it_twice_builds_it_once(self, other, store, progress):
        first = build_version(other, store, IndexOptions(), progress)
        progress.stages.clear()
        assert build_version(other, store, IndexOptions(), progress) == first
        assert progress.stages == []
        assert numbers(other, store) == [1]

    @pytest.mark.parametrize("options", [IndexOptions(n_clusters=2), IndexOptions(seed=1)])
    def test_other_options_are_another_version(self, other, store, progress, options):
        first = build_version(other, store, IndexOptions(), progress)
        assert build_version(other, store, options, progress) != first

    def test_new_shards_are_another_version(self, other, store, progress):
        first = build_version(other, store, IndexOptions(), progress)
        add(other, seed=1, dim=12)
        second = build_version(other, store, IndexOptions(), progress)
        assert (store.count(first), store.count(second)) == (20, 40)

    def test_one_that_served_and_was_left_is_not_taken_again(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        info = build_version(filled, store, IndexOptions(), progress)
        assert info.version == 2

    def test_the_record_is_there_before_the_first_photo(self, other, progress):
        seen = []

        class Watching(MemoryGalleryStore):
            def insert(self, info, rows):
                seen.append(record_of(other, info).photos)
                super().insert(info, rows)

        build_version(other, Watching(), IndexOptions(), progress)
        assert seen == [20]

    def test_what_was_left_half_built_is_dropped(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        kept = build_version(other, store, IndexOptions(), progress)
        table = store.clusters(kept)
        store.create_version("cats", "grid-2", table)  # killed before its record
        short = store.create_version("cats", "grid-2", table)  # killed while it was filled
        write_version_record(filled.version_folder, replace(record_of(filled, kept), token=short.token, version=4))
        build_version(other, store, IndexOptions(seed=1), progress)

        assert kept in store.versions("cats")
        assert all(state.complete for state in list_versions(filled, store))
        assert len(numbers(filled, store)) == len(list(filled.version_folder.glob("*.json"))) == 3

    def test_a_failure_leaves_neither_version_nor_record(self, other, progress):
        class Losing(MemoryGalleryStore):
            def insert(self, info, rows):
                raise StoreError("full")

        store = Losing()
        with pytest.raises(StoreError, match="full"):
            build_version(other, store, IndexOptions(), progress)
        assert store.versions("cats") == []
        assert list(other.version_folder.iterdir()) == []


class TestServing:
    def test_the_gallery_follows_to_the_model(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        info = build_version(other, store, IndexOptions(), progress)
        followed = serve_version(filled, store, info, place="http://milvus:19530")

        assert store.served("cats") == info
        assert followed == other == Gallery.open(filled.root)
        record = record_of(filled, info)
        assert record.promoted is not None
        assert not record.waits
        assert read_index_record(filled.index_file) == IndexRecord(
            2, record.source, 20, info.token, "http://milvus:19530"
        )

    def test_serving_it_again_changes_nothing(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        info = build_version(other, store, IndexOptions(), progress)
        serve_version(other, store, info, place="somewhere")
        before = record_of(filled, info), read_index_record(filled.index_file)
        assert serve_version(filled, store, info) == other
        assert (record_of(filled, info), read_index_record(filled.index_file)) == before
        assert numbers(filled, store) == [1, 2]

    def test_an_incomplete_version_is_refused(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        info = build_version(other, store, IndexOptions(), progress)
        store.delete(info, next(store.scan(info)).embeddings.ids[:3])
        with pytest.raises(GalleryError, match=r"Version 2 .* incomplete: it holds 17 of 20 photos.*sbka ingest"):
            serve_version(filled, store, info)
        remove_version_record(filled.version_folder, info.token)
        with pytest.raises(GalleryError, match="nothing is known"):
            serve_version(filled, store, info)
        assert store.served("cats").version == 1
        assert Gallery.open(filled.root) == filled

    def test_a_version_whose_model_is_not_there_is_refused(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        other = filled.for_model("grid-2")
        add(other)
        info = build_version(other, store, IndexOptions(), progress)
        with pytest.raises(GalleryError, match=rf"its model is not in {other.model_folder}"):
            serve_version(other, store, info)
        assert store.served("cats").version == 1

    def test_a_version_that_is_gone_is_told(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        info = build_version(other, store, IndexOptions(), progress)
        store.drop_version(info)
        with pytest.raises(CollectionMissing):
            serve_version(filled, store, info)
        with pytest.raises(GalleryError, match="has no version 2; it has 1"):
            find_version(filled, store, 2)
        assert find_version(filled, store, 1).version == 1

    def test_a_candidate_stays_while_photos_are_ingested(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        candidate = build_version(other, store, IndexOptions(), progress)
        for seed in (1, 2):
            add(filled, seed=seed)
            build_index(filled, store, IndexOptions(keep_versions=1), progress)
        assert candidate in store.versions("cats")
        serve_version(filled, store, candidate, 1)
        assert store.versions("cats") == [candidate]

    def test_a_candidate_that_was_refused_goes_first(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        first = store.served("cats")
        candidate = build_version(other, store, IndexOptions(), progress)
        record_gate(filled, candidate, {"passed": False, "measure": "mAP@all"})
        assert record_of(filled, candidate).gate == {"passed": False, "measure": "mAP@all"}
        add(filled, seed=1)
        build_index(filled, store, IndexOptions(keep_versions=2), progress)
        assert first in store.versions("cats")
        assert candidate not in store.versions("cats")
        with pytest.raises(GalleryError, match="nothing is known"):
            record_gate(filled, candidate, {"passed": True})

    def test_a_gallery_that_was_switched_does_not_go_back_by_an_ingest(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        serve_version(filled, store, build_version(other, store, IndexOptions(), progress))
        add(filled, seed=1)
        with pytest.raises(GalleryError, match=r"served with the model grid-2.*embedded with grid-1.*again"):
            build_index(filled, store, IndexOptions(), progress)
        assert store.served("cats").fingerprint == "grid-2"


class TestRollingBack:
    def test_the_version_before_serves_again_with_its_model(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        left = build_version(other, store, IndexOptions(), progress)
        serve_version(filled, store, left)
        assert rollback(other, store).version == 1
        assert store.served("cats").version == 1
        assert Gallery.open(filled.root) == filled
        assert read_index_record(filled.index_file).version == 1
        assert left in store.versions("cats"), "what was left stays"

    def test_it_goes_further_back_each_time_and_not_to_what_was_left(self, filled, store, progress):
        for seed in range(3):
            build_index(filled, store, IndexOptions(seed=seed, keep_versions=5), progress)
        assert [rollback(filled, store).version for _ in range(2)] == [2, 1]
        with pytest.raises(GalleryError, match=r"no earlier version to go back to.*sbka gallery versions"):
            rollback(filled, store)
        assert store.served("cats").version == 1

    def test_after_a_roll_back_and_a_new_version_it_comes_back_to_what_served_before(self, filled, store, progress):
        for seed in range(2):
            build_index(filled, store, IndexOptions(seed=seed, keep_versions=5), progress)
        rollback(filled, store)
        build_index(filled, store, IndexOptions(seed=2, keep_versions=5), progress)
        assert store.served("cats").version == 3
        assert rollback(filled, store).version == 1

    def test_the_version_that_was_left_can_be_served_by_name(self, filled, store, progress):
        for seed in range(2):
            build_index(filled, store, IndexOptions(seed=seed), progress)
        left = store.served("cats")
        rollback(filled, store)
        serve_version(filled, store, left)
        assert store.served("cats") == left
        assert record_of(filled, left).rolled_back is None
        assert rollback(filled, store).version == 1

    def test_an_incomplete_version_or_a_candidate_is_none_to_go_back_to(self, filled, other, store, progress):
        for seed in range(2):
            build_index(filled, store, IndexOptions(seed=seed), progress)
        build_version(other, store, IndexOptions(), progress)
        first = store.versions("cats")[0]
        store.delete(first, next(store.scan(first)).embeddings.ids[:1])
        with pytest.raises(GalleryError, match="no earlier version"):
            rollback(filled, store)

    def test_an_unserved_gallery_has_none(self, filled, store):
        with pytest.raises(GalleryError, match="no earlier version"):
            rollback(filled, store)


class TestFollowing:
    def test_the_served_model_decides(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        info = build_version(other, store, IndexOptions(), progress)
        assert follow_served(filled, store) == filled
        store.promote(info)  # killed before anything was written down
        assert follow_served(filled, store) == other == Gallery.open(filled.root)
        assert record_of(filled, info).promoted is not None
        assert read_index_record(filled.index_file).token == info.token
        assert not build_index(other, store, IndexOptions(), progress).rebuilt

    def test_a_model_that_is_not_there_is_not_followed(self, filled, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        store.promote(store.create_version("cats", "elsewhere", store.clusters(store.served("cats"))))
        assert follow_served(filled, store) == filled == Gallery.open(filled.root)

    def test_a_gallery_that_nothing_serves_is_as_it_says(self, filled, store):
        assert follow_served(filled, store) == filled

    def test_while_another_process_indexes_nothing_is_written(self, filled, other, store, progress):
        build_index(filled, store, IndexOptions(), progress)
        store.promote(build_version(other, store, IndexOptions(), progress))
        with held(filled):
            assert follow_served(filled, store) == other
            assert Gallery.open(filled.root) == filled


HOLDER = """
import sys
from pathlib import Path
from sbka_milvus.embeddings import Gallery
from sbka_milvus.pipelines.index_lock import index_lock
with index_lock(Gallery.open(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(gallery: Gallery) -> Iterator[None]:
    """Another process holds the lock; it is ended by kill -9."""
    command = [sys.executable, "-c", HOLDER, str(gallery.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.kill()


class TestLock:
    def test_another_process_is_refused_until_it_is_killed(self, filled, store, progress):
        with held(filled), pytest.raises(GalleryBusy, match="being indexed by another process"):
            build_index(filled, store, IndexOptions(), progress)
        assert store.versions("cats") == []
        assert build_index(filled, store, IndexOptions(), progress).rebuilt

    def test_another_thread_is_refused_and_the_same_one_is_not(self, filled):
        outcomes = []

        def attempt() -> None:
            try:
                with index_lock(filled, timeout_s=0):
                    outcomes.append("taken")
            except GalleryError:
                outcomes.append("refused")

        with index_lock(filled), index_lock(filled.for_model("grid-2"), timeout_s=0):
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
        attempt()
        assert outcomes == ["refused", "taken"]

    def test_it_is_given_back_after_an_error(self, filled, store, progress):
        with pytest.raises(GalleryError):
            build_index(filled.for_model("grid-9"), store, IndexOptions(), progress)
        assert build_index(filled, store, IndexOptions(), progress).rebuilt

    def test_a_folder_that_cannot_be_locked_is_a_typed_error(self, filled):
        filled.lock_file.mkdir()
        with pytest.raises((OutputError, GalleryError)), index_lock(filled, timeout_s=0):
            pass
