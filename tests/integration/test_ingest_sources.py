"""From archives, manifests and addresses to filtered hits, through shards and a real Milvus Lite."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import list_shards, read_metadata
from sbka_milvus.errors import FilterError
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions
from sbka_milvus.pipelines.ingest import IngestOptions, IngestReport, ingest_photos
from sbka_milvus.pipelines.sheet import thumbnail
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import FloatArray, Hit, normalise

EMBED = EmbedOptions(batch_size=4, shard_size=12, decode_size=32)


class GridEncoder:
    """The mean colours of 4 x 4 cells."""

    dim = 48
    fingerprint = "grid-1"

    def __init__(self) -> None:
        self.photos = 0

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        self.photos += len(photos)
        cells = [np.asarray(photo.resize((4, 4), Image.Resampling.BOX), dtype=np.float64) for photo in photos]
        return normalise(np.stack(cells).reshape(len(photos), -1) + 1)

    encode_sketches = encode_photos


def picture(seed: int) -> Image.Image:
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((40, 40), Image.Resampling.NEAREST)


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_tar(path: Path, numbers: Sequence[int], mode: str = "w", **more: bytes) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in {**{f"{n:03d}.jpg": jpeg(n) for n in numbers}, **more}.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


@pytest.fixture
def ingest(gallery: Gallery, store: MilvusGalleryStore) -> Callable[..., tuple[IngestReport, int]]:
    """Takes sources in; also gives how many photos were encoded."""

    def run(*sources: str | Path) -> tuple[IngestReport, int]:
        encoder = GridEncoder()
        named = [str(source) for source in sources]
        return ingest_photos(
            named, gallery, encoder, store, IngestOptions(EMBED, IndexOptions()), SilentProgress()
        ), encoder.photos

    return run


@pytest.fixture
def search(gallery: Gallery, store: MilvusGalleryStore) -> Callable[..., list[Hit]]:
    """Looks for a picture."""
    searcher = GallerySearcher(store, gallery.name)

    def look(seed: int, k: int = 3, where: str | None = None) -> list[Hit]:
        query = GridEncoder().encode_photos([picture(seed)])
        return list(searcher.search(query, k, SearchOptions(exact=True, cluster_weight=0.0, where=where))[0])

    return look


def test_photos_of_every_kind_of_source_are_found(ingest: Any, search: Any, gallery: Gallery, tmp_path: Path) -> None:
    write_tar(tmp_path / "a-000.tar", range(5))
    write_tar(tmp_path / "a-001.tar", range(5, 10))
    write_tar(tmp_path / "b.tar.gz", range(10, 15), "w:gz")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as zipped:
        for n in range(15, 20):
            zipped.writestr(f"d/{n:03d}.jpg", jpeg(n))
    (tmp_path / "e").mkdir()
    for n in range(20, 25):
        (tmp_path / "e" / f"{n:03d}.jpg").write_bytes(jpeg(n))
    objects = fsspec.filesystem("memory")
    objects.store.clear()
    for n in range(25, 30):
        objects.pipe(f"/bucket/{n:03d}.jpg", jpeg(n))
    rows = [{"path": f"e/{n:03d}.jpg", "year": 2000 + n} for n in range(20, 25)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sources = [tmp_path / name for name in ("a-{000..001}.tar", "b.tar.gz", "c.zip", "e", "m.jsonl")]

    report, encoded = ingest(*sources, "memory://bucket/")
    assert (report.embed.found, encoded, report.embed.quarantined, report.index.photos) == (30, 30, (), 30)
    uris = [search(n)[0].uri for n in range(30)]
    assert uris == [
        *(f"{tmp_path}/a-{n // 5:03d}.tar!/{n:03d}.jpg" for n in range(10)),
        *(f"{tmp_path}/b.tar.gz!/{n:03d}.jpg" for n in range(10, 15)),
        *(f"{tmp_path}/c.zip!/d/{n:03d}.jpg" for n in range(15, 20)),
        *(f"{tmp_path}/e/{n:03d}.jpg" for n in range(20, 25)),
        *(f"memory://bucket/{n:03d}.jpg" for n in range(25, 30)),
    ]
    # Those that meet a filter come in the order that they have among all.
    late = set(uris[22:25])
    assert [hit.uri for hit in search(0, 9, "year >= 2022")] == [hit.uri for hit in search(0, 30) if hit.uri in late]
    # A contact sheet shows them, wherever they are.
    for n in (0, 12, 17, 22, 27):
        assert np.abs(np.asarray(thumbnail(uris[n]), dtype=float) - np.asarray(picture(n), dtype=float)).mean() < 20

    report, encoded = ingest(*sources, "memory://bucket/")
    assert (encoded, report.embed.unchanged, report.embed.renewed, report.index.rebuilt) == (0, 30, 0, False)


def test_other_metadata_is_served_without_embedding_again(
    ingest: Any, search: Any, gallery: Gallery, tmp_path: Path
) -> None:
    write_tar(tmp_path / "a.tar", range(6))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,year,place\n" + "".join(f"a.tar!/{n:03d}.jpg,{2000 + n},Rome\n" for n in range(6)))
    assert ingest(manifest)[1] == 6
    assert [hit.uri[-7:] for hit in search(0, 6, "year > 2004")] == ["005.jpg"]

    manifest.write_text("path,year\n" + "".join(f"a.tar!/{n:03d}.jpg,{3000 + n}\n" for n in range(3)))
    report, encoded = ingest(manifest)
    assert (encoded, report.embed.renewed, report.embed.unchanged) == (0, 3, 0)
    assert (report.index.rebuilt, report.index.photos) == (True, 6)
    assert sorted(hit.uri[-7:] for hit in search(0, 6, "year > 2004")) == ["000.jpg", "001.jpg", "002.jpg", "005.jpg"]
    assert sorted(hit.uri[-7:] for hit in search(0, 6, "place is null")) == ["000.jpg", "001.jpg", "002.jpg"]
    for n in range(6):
        assert search(n)[0].uri.endswith(f"{n:03d}.jpg")

    # The archive alone says nothing of its photos, and so takes nothing away.
    report, encoded = ingest(tmp_path / "a.tar")
    assert (encoded, report.embed.renewed, report.embed.unchanged, report.index.rebuilt) == (0, 0, 6, False)
    # A changed photo keeps what was said of it.
    before = (tmp_path / "a.tar").stat().st_mtime_ns
    write_tar(tmp_path / "a.tar", [50, 1, 2, 3, 4, 5][1:], **{"000.jpg": jpeg(50)})
    os.utime(tmp_path / "a.tar", ns=(before, before + 10**10))
    report, encoded = ingest(tmp_path / "a.tar")
    assert (encoded, report.embed.unchanged) == (1, 5)
    assert search(50, 1, "year == 3000")[0].uri.endswith("000.jpg")
    assert len(read_metadata(gallery.shard_folder)) == 6


def test_kinds_of_columns_grow_with_the_gallery(ingest: Any, search: Any, tmp_path: Path) -> None:
    for n in range(4):
        (tmp_path / f"{n}.jpg").write_bytes(jpeg(n))
    (tmp_path / "a.csv").write_text("path,score,grade\n0.jpg,1,1\n1.jpg,2,2\n")
    ingest(tmp_path / "a.csv")
    assert [hit.uri[-5:] for hit in search(0, 4, "score == 2 and grade == 2")] == ["1.jpg"]
    (tmp_path / "b.csv").write_text("path,score,grade\n2.jpg,1.5,good\n3.jpg,2.5,bad\n")
    ingest(tmp_path / "b.csv")
    assert sorted(hit.uri[-5:] for hit in search(0, 4, "score >= 1.5 and grade in ['2', 'good']")) == ["1.jpg", "2.jpg"]
    with pytest.raises(FilterError, match="'grade' is a text"):
        search(0, 4, "grade == 2")
    with pytest.raises(FilterError, match=r"There are: uri \(text\), grade \(text\), score \(float\)"):
        search(0, 4, "year > 1")


def test_what_cannot_be_used_is_in_quarantine_until_it_can(ingest: Any, gallery: Gallery, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", range(4), **{"bad.jpg": b"no picture", "../up.jpg": jpeg(9)})
    (tmp_path / "m.csv").write_text("path\n7.jpg\n")
    (tmp_path / "cut.tgz").write_bytes(write_tar(tmp_path / "whole.tgz", range(4, 9), "w:gz").read_bytes()[:-40])
    report, _ = ingest(tmp_path / "a.tar", tmp_path / "m.csv", tmp_path / "cut.tgz")
    reasons = {file.uri.removeprefix(f"{tmp_path}/"): file.reason for file in read_quarantine(gallery.quarantine_file)}
    assert set(reasons) == {"a.tar!/bad.jpg", "a.tar!/../up.jpg", "7.jpg", "cut.tgz"}
    assert "known kind" in reasons["a.tar!/bad.jpg"] and f"{tmp_path}/a.tar!/bad.jpg" in reasons["a.tar!/bad.jpg"]
    assert report.index.photos == 9

    write_tar(tmp_path / "a.tar", range(4))
    (tmp_path / "7.jpg").write_bytes(jpeg(70))
    (tmp_path / "whole.tgz").rename(tmp_path / "cut.tgz")
    report, encoded = ingest(tmp_path / "a.tar", tmp_path / "m.csv")
    assert encoded == 1
    # Of another source, and still there.
    assert [file.uri for file in read_quarantine(gallery.quarantine_file)] == [f"{tmp_path}/cut.tgz"]
    ingest(tmp_path / "cut.tgz")
    assert read_quarantine(gallery.quarantine_file) == []


def test_a_gallery_of_an_earlier_release_goes_on(ingest: Any, search: Any, gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(jpeg(0))
    ingest(tmp_path / "0.jpg")
    import pyarrow.parquet as pq

    (shard,) = list_shards(gallery.shard_folder)
    assert "metadata" not in pq.read_schema(shard).names, "a shard without metadata is as it always was"
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    (tmp_path / "m.csv").write_text("path,year\n0.jpg,2020\n1.jpg,2021\n")
    report, encoded = ingest(tmp_path / "m.csv")
    assert (encoded, report.embed.renewed) == (1, 1)
    assert [hit.uri[-5:] for hit in search(0, 2, "year == 2020")] == ["0.jpg"]
