"""What could be seen before the first photo is seen before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import BundleError, InvalidValue, OutputError
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions
from sbka_milvus.pipelines.ingest import IngestOptions, ingest_photos
from sbka_milvus.pipelines.preflight import MARGIN, bytes_needed, require_encoding, require_room, require_writable
from sbka_milvus.store import MemoryGalleryStore


def test_a_gallery_that_can_be_written_is_left_as_it_was(gallery: Gallery) -> None:
    require_writable(gallery)
    assert not [path for path in gallery.root.rglob("*") if path.name.endswith(".tmp")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    gallery = Gallery(tmp_path / "file" / "gallery", "g", "f")
    with pytest.raises(OutputError, match=r"file/gallery cannot be written: Not a directory") as caught:
        require_writable(gallery)
    assert "--gallery" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(gallery: Gallery) -> None:
    gallery.root.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            require_writable(gallery)
    finally:
        gallery.root.chmod(0o700)


def test_room_is_asked_for_all_copies_of_a_vector(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bytes_needed(10, 512) > 10 * 3 * 4 * 512
    needed = bytes_needed(1000, 512) + MARGIN
    for free in (needed, needed - 1):
        usage = shutil.disk_usage(gallery.root)._replace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _folder, usage=usage: usage)
        if free >= needed:
            require_room(gallery, 1000, 512)
            continue
        with pytest.raises(OutputError, match=r"1,000 photos need up to 70 MiB in .* and 70 MiB are free"):
            require_room(gallery, 1000, 512)
    require_room(Gallery(gallery.root / "not" / "there", "g", "f"), 10, 8)


def test_nothing_is_decoded_where_there_is_no_room(
    photos: Path, gallery: Gallery, make_encoder: Callable[..., Any], progress: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(gallery.root)._replace(free=MARGIN)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    encoder = make_encoder()
    with pytest.raises(OutputError, match="10 photos need"):
        embed_photos([photos], gallery, encoder, EmbedOptions(), progress)
    assert encoder.batches == []


class Odd:
    dim = 4
    fingerprint = "odd-1"

    def __init__(self, made: object) -> None:
        self.made = made

    def encode_photos(self, photos: object) -> Any:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made

    encode_sketches = encode_photos


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (np.ones((1, 3), np.float32), r"shape \(1, 3\), not \(1, 4\)"),
        (np.full((1, 4), np.nan, np.float32), "makes vectors"),
        (InvalidValue("without direction"), "without direction"),
        (RuntimeError("mat1 and mat2"), "mat1 and mat2"),
    ],
)
def test_an_encoder_that_makes_no_vectors_is_named(made: object, said: str) -> None:
    with pytest.raises(BundleError, match=said) as caught:
        require_encoding(Odd(made))
    assert "odd-1" in caught.value.problem
    require_encoding(Odd(np.full((1, 4), 0.5, np.float32)))


def test_an_ingest_looks_before_it_opens_a_photo(
    photos: Path, gallery: Gallery, make_encoder: Callable[..., Any], progress: Any
) -> None:
    (gallery.root / "shards").write_text("in the way")
    with pytest.raises(OutputError, match="shards/grid-1 cannot be written"):
        ingest_photos(
            [photos],
            gallery,
            make_encoder(),
            MemoryGalleryStore(),
            IngestOptions(EmbedOptions(), IndexOptions()),
            progress,
        )
    assert progress.stages == []
