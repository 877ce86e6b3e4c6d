"""Whether photos are where they were."""

from __future__ import annotations

import zipfile
from pathlib import Path

from sbka_milvus.images import archive_members, is_on_disk, source_photos
from sbka_milvus.images.sources.read import open_archives


def archive_of(folder: Path) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.png", b"one")
        archive.writestr("b/2.png", b"two!")
    return path


def test_members_are_listed_as_an_ingest_finds_them(tmp_path):
    path = archive_of(tmp_path)
    known: dict[str, dict[str, tuple[int, int]]] = {}
    found = archive_members(f"{path}!/1.png", known)
    assert found == {photo.uri: (photo.size, photo.mtime_ns) for photo in source_photos([path])}
    # Once an archive, not once a member.
    assert archive_members(f"{path}!/b/2.png", known) is found


def test_an_archive_that_is_gone_has_no_members(tmp_path):
    open_archives.cache_clear()
    assert archive_members(f"{tmp_path}/gone.zip!/1.png", {}) == {}


def test_a_plain_file_is_of_no_archive(tmp_path):
    assert archive_members(str(tmp_path / "1.png"), {}) is None
    assert not is_on_disk("https://example.org/a.zip!/1.png")
