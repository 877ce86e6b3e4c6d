"""From a folder of pictures to hits, through shards and a real Milvus Lite."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import list_shards
from sbka_milvus.errors import InvalidValue, StoreError
from sbka_milvus.images import load_photo
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions
from sbka_milvus.pipelines.ingest import IngestOptions, IngestReport, ingest_photos
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import FloatArray, Hit, VersionInfo, normalise

EMBED = EmbedOptions(batch_size=4, shard_size=12, decode_size=32)


class GridEncoder:
    """The mean colours of 4 x 4 cells; stops where it is told to."""

    dim = 48
    fingerprint = "grid-1"

    def __init__(self, stop_after: int | None = None) -> None:
        self.photos = 0
        self._batches_left = stop_after

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        if self._batches_left is not None:
            if self._batches_left == 0:
                raise KeyboardInterrupt
            self._batches_left -= 1
        self.photos += len(photos)
        cells = [np.asarray(photo.resize((4, 4), Image.Resampling.BOX), dtype=np.float64) for photo in photos]
        return normalise(np.stack(cells).reshape(len(photos), -1) + 1)

    encode_sketches = encode_photos


def draw(path: Path, seed: int) -> Path:
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(cells).resize((40, 40), Image.Resampling.NEAREST).save(path)
    return path


def redraw(path: Path, seed: int) -> None:
    """Another picture in its place, written a minute later."""
    before = path.stat().st_mtime_ns
    draw(path, seed)
    os.utime(path, ns=(before, before + 60 * 10**9))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(30):
        draw(tmp_path / "photos" / f"{number:02d}.png", number)
    return tmp_path / "photos"


Ingest = Callable[..., IngestReport]


@pytest.fixture
def ingest(photos: Path, gallery: Gallery, store: MilvusGalleryStore) -> Ingest:
    def run(*, encoder: GridEncoder | None = None, into: MilvusGalleryStore = store, **options: int) -> IngestReport:
        encoder = encoder or GridEncoder()
        index = IndexOptions(**options)
        return ingest_photos([photos], gallery, encoder, into, IngestOptions(EMBED, index), SilentProgress())

    return run


@pytest.fixture
def best(gallery: Gallery, store: MilvusGalleryStore) -> Callable[[Path], Hit]:
    """The best hit of a picture that is looked for with itself."""
    searcher = GallerySearcher(store, gallery.name)

    def search(path: Path) -> Hit:
        query = GridEncoder().encode_photos([load_photo(path)])
        return searcher.search(query, 3, SearchOptions(exact=True, cluster_weight=0.0))[0][0]

    return search


def test_photos_are_found_by_what_they_show(photos, gallery, store, ingest, best):
    report = ingest()
    assert (report.embed.found, report.embed.embedded, report.embed.quarantined) == (30, 30, ())
    assert (report.index.version, report.index.photos, report.index.clusters) == (1, 30, 7)
    assert len(list_shards(gallery.shard_folder)) == 3
    for path in photos.iterdir():
        hit = best(path)
        assert hit.uri == str(path)
        assert hit.member_score == pytest.approx(1, abs=1e-5)


def test_a_second_run_does_nothing(gallery, store, ingest):
    ingest()
    shards, encoder = list_shards(gallery.shard_folder), GridEncoder()
    report = ingest(encoder=encoder)
    assert encoder.photos == 0
    assert (report.embed.embedded, report.embed.unchanged) == (0, 30)
    assert (report.index.rebuilt, report.index.version, report.index.photos) == (False, 1, 30)
    assert list_shards(gallery.shard_folder) == shards
    assert [info.version for info in store.versions(gallery.name)] == [1]


def test_changed_and_new_files_are_served_as_they_are_now(photos, ingest, best):
    ingest()
    redraw(photos / "07.png", 107)
    draw(photos / "new.png", 200)
    encoder = GridEncoder()
    report = ingest(encoder=encoder)

    assert encoder.photos == 2
    assert (report.index.version, report.index.photos) == (2, 31)
    for name in ("07.png", "new.png"):
        hit = best(photos / name)
        assert hit.uri == str(photos / name)
        assert hit.member_score == pytest.approx(1, abs=1e-5)
    # The old picture of 07 is found no more.
    old = draw(photos.parent / "elsewhere" / "07.png", 7)
    assert best(old).member_score < 0.999


def test_bad_files_are_quarantined_until_they_are_repaired(photos, gallery, ingest, best):
    (photos / "03.png").write_bytes((photos / "03.png").read_bytes()[:60])
    (photos / "04.png").write_bytes(b"")
    report = ingest()
    assert report.index.photos == 28
    listed = read_quarantine(gallery.quarantine_file)
    assert [Path(file.uri).name for file in listed] == ["03.png", "04.png"]
    assert "empty" in listed[1].reason

    redraw(photos / "03.png", 3)
    report = ingest()
    assert report.index.photos == 29
    assert best(photos / "03.png").uri == str(photos / "03.png")
    assert [Path(file.uri).name for file in read_quarantine(gallery.quarantine_file)] == ["04.png"]


def test_an_interrupted_run_keeps_what_it_finished_and_goes_on(gallery, store, ingest):
    with pytest.raises(KeyboardInterrupt):
        ingest(encoder=GridEncoder(stop_after=5))
    assert store.versions(gallery.name) == []

    encoder = GridEncoder()
    report = ingest(encoder=encoder)
    assert encoder.photos == 10
    assert (report.embed.unchanged, report.index.photos) == (20, 30)


def test_a_crash_between_shards_and_index_is_made_good_by_the_next_run(photos, gallery, ingest, best):
    ingest()
    draw(photos / "new.png", 200)
    embed_photos([photos], gallery, GridEncoder(), EMBED, SilentProgress())
    assert best(photos / "new.png").uri != str(photos / "new.png")

    encoder = GridEncoder()
    report = ingest(encoder=encoder)
    assert encoder.photos == 0
    assert (report.index.rebuilt, report.index.photos) == (True, 31)
    assert best(photos / "new.png").uri == str(photos / "new.png")


class LosingStore(MilvusGalleryStore):
    """Loses a photo of each version but the first."""

    def count(self, info: VersionInfo) -> int:
        return super().count(info) - (info.version > 1)


def test_a_store_that_loses_photos_goes_on_serving_what_it_served(photos, gallery, store, ingest, best):
    ingest()
    draw(photos / "new.png", 200)
    losing = LosingStore(str(gallery.milvus_folder))
    with losing, pytest.raises(StoreError, match="holds 30 of the 31 photos sent to version 2"):
        ingest(into=losing)
    assert store.served(gallery.name).version == 1
    assert [info.version for info in store.versions(gallery.name)] == [1]
    assert best(photos / "05.png").uri == str(photos / "05.png")

    assert ingest().index.photos == 31
    assert best(photos / "new.png").uri == str(photos / "new.png")


@pytest.mark.parametrize(("keep", "expected"), [(1, [3]), (2, [2, 3])])
def test_old_versions_are_dropped_beyond_those_to_keep(photos, gallery, store, ingest, keep, expected):
    for number in range(3):
        draw(photos / f"new-{number}.png", 200 + number)
        ingest(keep_versions=keep)
    assert [info.version for info in store.versions(gallery.name)] == expected
    assert store.served(gallery.name).version == 3
    assert [store.count(info) for info in store.versions(gallery.name)] == [30 + version for version in expected]


def test_the_index_can_be_built_again_from_the_shards_alone(photos, gallery, ingest, tmp_path):
    ingest()
    encoder = GridEncoder()
    with MilvusGalleryStore(str(tmp_path / "another")) as another:
        report = ingest(encoder=encoder, into=another)
        assert (encoder.photos, report.index.rebuilt, report.index.version) == (0, True, 1)
        assert another.count(another.served(gallery.name)) == 30


def test_a_name_that_milvus_cannot_take_shows_before_anything_is_embedded(photos, store, tmp_path):
    gallery = Gallery.create_or_open(tmp_path / "other", "grid-1", "my cats")
    encoder = GridEncoder()
    with pytest.raises(InvalidValue, match=re.escape("'my cats'")):
        ingest_photos([photos], gallery, encoder, store, IngestOptions(EMBED, IndexOptions()), SilentProgress())
    assert encoder.photos == 0
    assert list_shards(gallery.shard_folder) == []
