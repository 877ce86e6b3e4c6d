"""Photos' files against the shards: gone, another one, or other bytes."""

# Paths stay text here, as in the rooms that find photos.
# ruff: noqa: PTH116

from __future__ import annotations

import os
from dataclasses import dataclass

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import columns_of, list_shards
from sbka_milvus.errors import GalleryError, ImageError
from sbka_milvus.images import archive_members, content_hash, is_on_disk, read_photo
from sbka_milvus.pipelines.care.findings import Findings
from sbka_milvus.progress import Progress

UNKNOWN = -1
"""Size and time of a photo whose file was never seen: its vector came from elsewhere."""


@dataclass(frozen=True, slots=True)
class FileSurvey:
    """What was looked at.

    Attributes:
        checked: photos whose file was compared with the shards.
        unchecked: photos at addresses, and those whose vectors came from elsewhere: nothing is known of their files.
    """

    checked: int
    unchecked: int


@dataclass(frozen=True, slots=True)
class _Known:
    size: int
    mtime_ns: int
    content_hash: str


def check_files(gallery: Gallery, findings: Findings, progress: Progress, *, by_content: bool = False) -> FileSurvey:
    """Looks at the file of every photo by size and time, and at its bytes where that is wanted.

    Files on the disk and members of archives on the disk are looked at. Shards that cannot be read are passed over.

    Args:
        gallery: whose photos.
        findings: gains what is wrong.
        progress: what shows how far it is.
        by_content: whether every file is read and its hash compared.
    """
    known = _newest(gallery, progress)
    members: dict[str, dict[str, tuple[int, int]]] = {}
    unchecked = 0
    with progress.stage("Checking files", len(known), "files") as advance:
        for uri, photo in known.items():
            advance(1)
            if photo.mtime_ns == UNKNOWN or not is_on_disk(uri):
                unchecked += 1
                continue
            fault = _fault(uri, photo, members, by_content)
            if fault:
                findings.add(fault, [uri])
    return FileSurvey(len(known) - unchecked, unchecked)


def _fault(uri: str, photo: _Known, members: dict[str, dict[str, tuple[int, int]]], by_content: bool) -> str:
    found = _now(uri, members)
    if found is None:
        return "file_missing"
    if found != (photo.size, photo.mtime_ns):
        return "file_changed"
    if by_content and photo.content_hash:
        try:
            if content_hash(read_photo(uri)) != photo.content_hash:
                return "file_changed"
        except ImageError:
            return "file_unreadable"
    return ""


def _now(uri: str, members: dict[str, dict[str, tuple[int, int]]]) -> tuple[int, int] | None:
    """Size and time of a photo's file now; none where it is gone."""
    held = archive_members(uri, members)
    if held is not None:
        return held.get(uri)
    try:
        found = os.stat(uri)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _newest(gallery: Gallery, progress: Progress) -> dict[str, _Known]:
    known: dict[str, _Known] = {}
    paths = list_shards(gallery.shard_folder)
    with progress.stage("Listing photos", len(paths), "shards") as advance:
        for path in paths:
            advance(1)
            try:
                columns, removed = columns_of(path, ("uri", "size", "mtime_ns", "content_hash"))
            except GalleryError:
                continue
            for uri in removed:
                known.pop(uri, None)
            rows = zip(*columns, strict=True)
            known.update({uri: _Known(size, mtime, said) for uri, size, mtime, said in rows})
    return known
