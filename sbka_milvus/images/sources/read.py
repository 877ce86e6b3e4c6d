"""Reads a photo by its URI alone, wherever it is: so lists of photos need hold nothing else."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from sbka_milvus.errors import SourceError
from sbka_milvus.images.source import MAX_PIXELS, printable, read_image_file
from sbka_milvus.images.sources.archives import Archives
from sbka_milvus.images.sources.remote import RemoteFiles
from sbka_milvus.images.uris import is_remote, split_member


@cache
def remote_files() -> RemoteFiles:
    """What this process reads addresses with."""
    return RemoteFiles()


@cache
def open_archives() -> Archives:
    """The archives that this process has open."""
    return Archives(remote_files())


def read_photo(uri: str, max_pixels: int = MAX_PIXELS) -> bytes:
    """The bytes of a photo.

    Args:
        uri: as :mod:`sbka_milvus.images.uris` has it.
        max_pixels: the pixel limit, from which a limit of a file's size is made.

    Raises:
        ImageError: It is missing, empty, too large, or cannot be read.
    """
    member = split_member(uri)
    if member is not None:
        return _read_member(uri, *member)
    return remote_files().read(uri) if is_remote(uri) else read_image_file(Path(uri), max_pixels)


def is_gone(uri: str) -> bool:
    """Whether a photo is known to be there no more; what lies at an address is not asked for.

    An archive that is damaged, or cannot be looked into now, says nothing of its members.
    """
    if is_remote(uri) or os.path.lexists(uri):
        return False
    member = split_member(uri)
    if member is None or not os.path.lexists(member[0]):
        return True
    try:
        contents = open_archives().open(member[0]).contents
    except SourceError:
        return False
    told = {subject for subject, _ in contents.problems}
    return member[1] not in contents.members and not told & {uri, member[0]}


def _read_member(uri: str, archive_uri: str, name: str) -> bytes:
    archive = open_archives().open(archive_uri)
    entry = archive.contents.members.get(name)
    if entry is None:
        # Why it is not among the photos, if that is known.
        reasons = [reason for subject, reason in archive.contents.problems if subject in (uri, archive_uri)]
        why = reasons[0] if reasons else "is not in the archive any more"
        raise SourceError(why if uri in why else f"{printable(uri)} {why.rstrip('.')}.", "Check the archive.")
    return archive.read(entry)
