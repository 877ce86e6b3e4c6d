"""The codes of a version come with it, serve its searches, and go with it."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from sbka_milvus.embeddings.records import PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.embeddings.versions import codes_file
from sbka_milvus.pipelines.codes import are_whole, codes_finder, read_codes
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import normalise

N = 40


@pytest.fixture
def store() -> MemoryGalleryStore:
    return MemoryGalleryStore()


@pytest.fixture
def filled(gallery):
    vectors = normalise(np.random.default_rng(3).normal(size=(N, 16)))
    names, numbers = tuple(f"/p/{number:03d}.jpg" for number in range(N)), np.arange(N, dtype=np.int64)
    records = PhotoRecords(names, names, numbers, numbers, numbers, numbers, vectors)
    write_shard(gallery.shard_folder, records, gallery.fingerprint)
    return gallery


@pytest.fixture
def built(filled, store, progress):
    build_index(filled, store, IndexOptions(n_clusters=4), progress)
    return filled


def path_of(gallery, store):
    return codes_file(gallery.version_folder, store.served("cats").token)


def search(gallery, store, k=5):
    info = store.served("cats")
    query = next(store.scan(info)).embeddings.vectors[:1]
    searcher = GallerySearcher(store, "cats", codes_of=codes_finder(gallery))
    return searcher.search(query, k, SearchOptions(exact=True))[0]


def test_a_version_has_codes_and_is_searched_by_them(built, store):
    assert path_of(built, store).exists()
    result = search(built, store)
    assert result.exact
    assert result.codes > 0
    assert 5 <= result.rows < store.count(store.served("cats"))


def test_they_go_with_their_version(built, store, progress):
    first = path_of(built, store)
    for seed in (1, 2):
        build_index(built, store, IndexOptions(n_clusters=4, seed=seed, anew=True), progress)
    assert not first.exists()
    tokens = {info.token for info in store.versions("cats")}
    assert {path.stem for path in built.version_folder.glob("*.codes")} == tokens


@pytest.mark.parametrize("content", [None, b"", b"something else", "half"])
def test_without_them_a_search_finds_the_same_and_the_next_ingest_makes_them(built, store, progress, caplog, content):
    path = path_of(built, store)
    whole, before = path.read_bytes(), search(built, store)
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with caplog.at_level(logging.WARNING):
        found = search(built, store)
    assert ("cannot be used" in caplog.text) == (content is not None)
    assert found.codes == 0
    assert [hit.uri for hit in found] == [hit.uri for hit in before]

    report = build_index(built, store, IndexOptions(n_clusters=4), progress)
    assert not report.rebuilt
    assert search(built, store).codes > 0


def test_those_of_another_version_are_not_used(built, store, progress, caplog):
    other = path_of(built, store).read_bytes()
    build_index(built, store, IndexOptions(n_clusters=7, anew=True), progress)
    path_of(built, store).write_bytes(other)
    assert read_codes(built, store.served("cats")) is None
    assert "another version" in caplog.text


def test_a_changed_byte_is_seen_by_the_digest(built, store):
    info, path = store.served("cats"), path_of(built, store)
    assert are_whole(built, info)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    assert not are_whole(built, info)
    path.unlink()
    assert are_whole(built, info)


def test_deleted_photos_are_missed_by_codes_and_not_by_results(built, store):
    info = store.served("cats")
    first = search(built, store)
    store.delete(info, np.array([hit.photo_id for hit in first][1:4]))
    after = search(built, store)
    assert after.exact
    assert len(after) == 5
    assert not {hit.uri for hit in first[1:4]} & {hit.uri for hit in after}
