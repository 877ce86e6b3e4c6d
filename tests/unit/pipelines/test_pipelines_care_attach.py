"""A gallery beside somebody else's collection follows it row by row, and the collection stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.attached import (
    AttachedKeysReader,
    AttachedRecord,
    read_attached,
    read_attached_keys,
)
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_metadata
from sbka_milvus.errors import EncoderMismatch, GalleryError, StoreError
from sbka_milvus.pipelines.care.attach import KEY_COLUMN, AttachOptions, AttachReport, attach_rows, require_dim
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.progress import SilentProgress
from sbka_milvus.store.foreign import ForeignRows
from sbka_milvus.types import normalise, photo_id

RECORD = AttachedRecord("products", "http://milvus:19530", "pk", "emb", "path", "")


@dataclass
class Collection:
    """What is read, three rows at a time."""

    rows: dict[str | int, tuple[str, Any]] = field(default_factory=dict)
    fails_after: int | None = None

    def __call__(self, *, vectors: bool) -> Iterator[ForeignRows]:
        keys = list(self.rows)
        for start in range(0, len(keys), 3):
            if vectors and self.fails_after is not None and start >= self.fails_after:
                raise StoreError("gone away")
            part = keys[start : start + 3]
            yield ForeignRows(
                part,
                [self.rows[key][0] for key in part],
                np.array([self.rows[key][1] if vectors else () for key in part], dtype=np.float32),
            )


def vector(seed: int, dim: int = 48) -> Any:
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


@pytest.fixture
def collection() -> Collection:
    return Collection({number: (f"/p/{number}.jpg", vector(number)) for number in range(10)})


def attach(collection: Collection, gallery: Gallery, record: AttachedRecord = RECORD, **options: Any) -> AttachReport:
    encoder = options.pop("encoder", None)
    return attach_rows(collection, record, gallery, encoder, AttachOptions(shard_size=4, **options), SilentProgress())


def held(gallery: Gallery) -> dict[str, Any]:
    found = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    return {} if found is None else dict(zip(found.uris, found.vectors, strict=True))


def key_of(gallery: Gallery, uri: str) -> str | int | None:
    keys = read_attached_keys(gallery.root)
    assert keys is not None
    return keys.of(photo_id(uri))


def test_rows_become_photos_with_their_keys(collection, gallery):
    report = attach(collection, gallery)
    assert (report.rows, report.added, report.unchanged, report.removed) == (10, 10, 0, 0)
    found = held(gallery)
    np.testing.assert_allclose(found["/p/3.jpg"], normalise(vector(3)), atol=1e-7)
    assert key_of(gallery, "/p/3.jpg") == 3
    assert key_of(gallery, "/p/99.jpg") is None
    assert read_metadata(gallery.shard_folder)["/p/3.jpg"] == {KEY_COLUMN: 3}
    assert read_attached(gallery.root).photos == 10


def test_again_changes_nothing(collection, gallery):
    attach(collection, gallery)
    before = list_shards(gallery.shard_folder)
    report = attach(collection, gallery)
    assert (report.added, report.unchanged, report.removed) == (0, 10, 0)
    assert list_shards(gallery.shard_folder) == before


def test_again_follows_what_came_went_and_changed(collection, gallery):
    attach(collection, gallery)
    del collection.rows[2], collection.rows[9]
    collection.rows[5] = ("/p/5.jpg", vector(55))
    collection.rows[6] = ("/p/six.jpg", vector(6))
    collection.rows[11] = ("/p/11.jpg", vector(11))
    report = attach(collection, gallery)
    assert (report.rows, report.added, report.unchanged, report.removed) == (9, 3, 6, 3)
    found = held(gallery)
    assert sorted(found) == sorted(uri for uri, _ in collection.rows.values())
    np.testing.assert_allclose(found["/p/5.jpg"], normalise(vector(55)), atol=1e-7)
    assert key_of(gallery, "/p/six.jpg") == 6
    assert key_of(gallery, "/p/6.jpg") is None
    assert attach(collection, gallery).unchanged == 9


def test_a_collection_that_fails_halfway_takes_nothing_away(collection, gallery):
    attach(collection, gallery)
    collection.fails_after = 6
    with pytest.raises(StoreError, match="gone away"):
        attach(collection, gallery)
    assert len(held(gallery)) == 10
    collection.fails_after = None
    assert attach(collection, gallery).unchanged == 10


def test_photos_that_were_ingested_beside_it_stay(collection, gallery, photos, make_encoder):
    attach(collection, gallery)
    embed_photos([photos], gallery, make_encoder(), EmbedOptions(), SilentProgress())
    del collection.rows[0]
    assert attach(collection, gallery).removed == 1
    assert len(held(gallery)) == 9 + 10


def test_rows_of_one_uri_are_told_apart_by_their_keys(gallery):
    same = {key: ("/p/same.jpg", vector(key)) for key in (1, 2)} | {3: ("/p/other.jpg", vector(3))}
    attach(Collection(same), gallery)
    assert sorted(held(gallery)) == ["/p/other.jpg", "/p/same.jpg#key=1", "/p/same.jpg#key=2"]
    assert key_of(gallery, "/p/same.jpg#key=2") == 2


def test_rows_without_a_uri_are_called_by_their_keys(gallery):
    rows: dict[str | int, tuple[str, Any]] = {"a b": ("", vector(1)), "ü": ("", vector(2))}
    attach(Collection(rows), gallery)
    assert sorted(held(gallery)) == ["milvus:products/a b", "milvus:products/ü"]
    assert key_of(gallery, "milvus:products/ü") == "ü"


class TestRefusals:
    def test_a_gallery_of_its_own_photos(self, collection, gallery, photos, make_encoder):
        embed_photos([photos], gallery, make_encoder(), EmbedOptions(), SilentProgress())
        with pytest.raises(GalleryError, match="photos of its own"):
            attach(collection, gallery)
        assert read_attached(gallery.root) is None

    def test_another_collection(self, collection, gallery):
        attach(collection, gallery)
        other = AttachedRecord("articles", RECORD.place, "pk", "emb", "path", "")
        with pytest.raises(GalleryError, match="attached to the collection 'products'"):
            attach(collection, gallery, other)

    def test_no_rows_and_nothing_is_taken_away(self, collection, gallery):
        attach(collection, gallery)
        collection.rows.clear()
        with pytest.raises(GalleryError, match="no rows"):
            attach(collection, gallery)
        assert len(held(gallery)) == 10

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_a_vector_without_direction(self, collection, gallery, value):
        collection.rows[7] = ("/p/7.jpg", np.full(48, value, np.float32))
        with pytest.raises(StoreError, match="The row 7 of 'products'"):
            attach(collection, gallery)

    def test_another_length(self):
        require_dim("products", "emb", 512, 512)
        with pytest.raises(EncoderMismatch, match="768"):
            require_dim("products", "emb", 512, 768)


class TestChecking:
    @pytest.fixture
    def theirs(self, photos: Any, make_encoder: Any) -> Collection:
        """The vectors of real photos, as another program with the same encoder made them."""
        from PIL import Image

        rows: dict[str | int, tuple[str, Any]] = {}
        for key, path in enumerate(sorted(photos.iterdir())):
            with Image.open(path) as image:
                rows[key] = (str(path), 3 * make_encoder().encode_photos([image.convert("RGB")])[0])
        return Collection(rows)

    def test_vectors_of_the_same_encoder_pass(self, theirs, gallery, make_encoder):
        report = attach(theirs, gallery, encoder=make_encoder(), check=3)
        assert (report.checked, report.added) == (3, 10)
        assert report.worst_cosine > 0.99

    def test_vectors_of_another_are_refused_before_any_is_written(self, theirs, gallery, make_encoder):
        theirs.rows = {key: (uri, np.roll(found, 1)) for key, (uri, found) in theirs.rows.items()}
        with pytest.raises(EncoderMismatch, match="cosine"):
            attach(theirs, gallery, encoder=make_encoder(), check=3)
        assert list_shards(gallery.shard_folder) == []


def test_keys_are_read_again_when_they_change(collection, gallery):
    reader = AttachedKeysReader(gallery.root)
    assert reader.read() is None
    attach(collection, gallery)
    first = reader.read()
    assert first is not None
    assert reader.read() is first
    collection.rows[11] = ("/p/11.jpg", vector(11))
    attach(collection, gallery)
    assert reader.read().of(photo_id("/p/11.jpg")) == 11


@pytest.mark.parametrize("name", ["attached.json", "attached.npz"])
def test_damaged_files_are_named(gallery, name):
    (gallery.root / name).write_text("{")
    read = read_attached if name.endswith("json") else read_attached_keys
    with pytest.raises(GalleryError, match=name):
        read(gallery.root)
