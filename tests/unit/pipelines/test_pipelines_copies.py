"""Equal photos are listed with each version, and the list comes back where it is lost."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import pytest

from sbka_milvus.embeddings.copies import copies_file
from sbka_milvus.embeddings.versions import read_version_record, write_version_record
from sbka_milvus.images import load_photo
from sbka_milvus.pipelines.copies import copies_finder, has_copies, read_copies
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore

SMALL = EmbedOptions(batch_size=4, decode_size=32)


@pytest.fixture
def store():
    with MemoryGalleryStore() as opened:
        yield opened


@pytest.fixture
def ingest(gallery, photos, make_encoder, store):
    def run(keep_versions: int = 2):
        embed_photos([photos], gallery, make_encoder(), SMALL, SilentProgress())
        return build_index(gallery, store, IndexOptions(keep_versions=keep_versions), SilentProgress())

    return run


@pytest.fixture
def copied(photos):
    for name in ("a.png", "z.png"):
        shutil.copy(photos / "03.png", photos / name)
    return photos


def test_a_version_says_how_many_photos_are_distinct(ingest, gallery, store, copied):
    report = ingest()
    assert (report.photos, report.distinct) == (12, 10)
    info = store.served("cats")
    assert store.count(info) == 12
    groups = read_copies(gallery, info)
    assert groups is not None
    assert groups.uris(0) == tuple(str(copied / name) for name in ("03.png", "a.png", "z.png"))


def test_without_copies_there_is_no_list(ingest, gallery, store):
    report = ingest()
    assert (report.photos, report.distinct) == (10, 10)
    assert not copies_file(gallery.version_folder, store.served("cats").token).exists()
    assert has_copies(gallery, store.served("cats"))


def test_a_search_shows_them_once(ingest, gallery, store, copied, make_encoder):
    ingest()
    searcher = GallerySearcher(store, "cats", copies_of=copies_finder(gallery))
    query = make_encoder().encode_photos([load_photo(copied / "03.png")])
    (result,) = searcher.search(query, 12, SearchOptions(None, 0.0, exact=True))
    assert len(result) == 10
    assert result[0].uri == str(copied / "03.png")
    assert result[0].duplicates == (str(copied / "a.png"), str(copied / "z.png"))


def test_a_copy_that_goes_leaves_the_others(ingest, gallery, store, copied):
    ingest()
    (copied / "a.png").write_bytes((copied / "04.png").read_bytes())
    report = ingest()
    assert (report.photos, report.distinct) == (12, 10)
    groups = read_copies(gallery, store.served("cats"))
    assert groups is not None and len(groups) == 2
    assert [len(groups.uris(number)) for number in range(2)] == [2, 2]


@pytest.mark.parametrize("loss", ["gone", "damaged", "earlier release"])
def test_a_lost_list_is_made_anew_without_another_version(ingest, gallery, store, copied, loss, caplog):
    ingest()
    info = store.served("cats")
    path = copies_file(gallery.version_folder, info.token)
    whole = path.read_bytes()
    if loss == "damaged":
        path.write_bytes(whole[:-30])
    else:
        path.unlink()
    if loss == "earlier release":
        record = read_version_record(gallery.version_folder, info.token)
        assert record is not None
        write_version_record(gallery.version_folder, replace(record, distinct=None))
    assert read_copies(gallery, info) is None
    assert (path.name in caplog.text) == (loss == "damaged")
    report = ingest()
    assert (report.rebuilt, report.distinct, store.served("cats")) == (False, 10, info)
    assert read_copies(gallery, info) is not None


def test_a_version_that_is_dropped_takes_its_list_with_it(ingest, gallery, store, copied, draw, caplog):
    caplog.set_level(logging.WARNING)
    for number in range(3):
        draw(copied / f"more{number}.png", 200 + number)
        ingest(keep_versions=1)
    tokens = {info.token for info in store.versions("cats")}
    assert len(tokens) == 1
    assert {path.stem for path in gallery.version_folder.iterdir()} == tokens
