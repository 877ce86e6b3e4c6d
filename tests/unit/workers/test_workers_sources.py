"""Background ingest of archives and manifests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import read_known, read_metadata
from sbka_milvus.errors import JobError
from schemas.jobs import IngestJob
from schemas.wire import parse
from workers.submit import submit_ingest

Make = Callable[..., Any]


def pack(photos: Path, path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for photo in sorted(photos.iterdir()):
            header = tarfile.TarInfo(photo.name)
            header.size = photo.stat().st_size
            archive.addfile(header, io.BytesIO(photo.read_bytes()))
        archive.addfile(tarfile.TarInfo("empty.png"))
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.tgz"])
def test_an_archive_is_taken_in_by_chunks(
    context: Any, ingest: Make, gallery: Gallery, photos: Path, tmp_path: Path, name: str
) -> None:
    archive = pack(photos, tmp_path / name, "w:gz" if name == "a.tgz" else "w")
    assert context.finish(ingest(archive)) == ["plan", "embed-000000", "embed-000001", "embed-000002", "index"]
    assert set(read_known(gallery.shard_folder)) == {f"{archive}!/{n}.png" for n in range(8)}
    assert [file.uri for file in read_quarantine(gallery.quarantine_file)] == [f"{archive}!/empty.png"]
    # Again: nothing is encoded.
    before = context.encoded
    assert context.finish(ingest(archive)) == ["plan", "index"]
    assert context.encoded == before == 8


def test_what_a_manifest_says_comes_into_the_index_and_is_renewed(
    context: Any, ingest: Make, gallery: Gallery, photos: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,year\n" + "".join(f"photos/{n}.png,{2000 + n}\n" for n in range(8)) + "gone.png,1\n")
    context.finish(ingest(manifest))
    assert {Path(uri).name: said for uri, said in read_metadata(gallery.shard_folder).items()} == {
        f"{n}.png": {"year": 2000 + n} for n in range(8)
    }
    assert [file.uri for file in read_quarantine(gallery.quarantine_file)] == [f"{tmp_path}/gone.png"]
    assert found(context, "year > 2005") == ["6.png", "7.png"]

    manifest.write_text("path,year\nphotos/0.png,2030\n")
    assert context.finish(ingest(manifest)) == ["plan", "index"]
    assert context.encoded == 8
    assert found(context, "year > 2005") == ["0.png", "6.png", "7.png"]


def test_an_upgrade_keeps_archives_and_metadata(
    context: Any, ingest: Make, upgrade: Make, photos: Path, tmp_path: Path
) -> None:
    archive = pack(photos, tmp_path / "a.tar", "w")
    (tmp_path / "m.csv").write_text("path,year\n" + "".join(f"a.tar!/{n}.png,{2000 + n}\n" for n in range(8)))
    context.finish(ingest(archive, tmp_path / "m.csv"))
    context.finish(upgrade())
    assert context.memory.served("cats").fingerprint == "grid-two"
    assert found(context, "year > 2005") == ["6.png", "7.png"]


def found(context: Any, where: str) -> list[str]:
    info = context.memory.served("cats")
    query = np.eye(1, info.dim, dtype=np.float32)
    (candidates,) = context.memory.search(info, query, np.arange(info.n_clusters), 100, where)
    return sorted(uri.rpartition("/")[2] for uri in candidates.uris)


def test_sources_are_written_down_absolute_and_without_braces(
    settings: Any, gallery: Gallery, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(2):
        pack(photos, tmp_path / f"{n}.tar", "w")
    monkeypatch.chdir(tmp_path)
    job = submit_ingest(["photos", "{0..1}.tar", "0.tar!/3.png"], gallery.root, settings=settings)
    assert job.folder.request.sources == tuple(
        f"{tmp_path}/{name}" for name in ("photos", "0.tar", "1.tar", "0.tar!/3.png")
    )


def test_an_address_is_an_absolute_source_and_a_relative_path_is_none(gallery: Gallery) -> None:
    wish = {"gallery": str(gallery.root), "sources": ["s3://bucket/a.tar", "https://example.org/a.csv", "/photos"]}
    assert parse(IngestJob, wish, "The ingest").sources[0] == "s3://bucket/a.tar"
    with pytest.raises(JobError, match=r"sources\.0.*absolute"):
        parse(IngestJob, wish | {"sources": ["a.tar"]}, "The ingest")
