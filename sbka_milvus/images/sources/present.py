"""Whether photos are still where they were, and how they are now: for galleries that look after theirs."""

# Paths stay text here, as in the module that finds photos on the disk.
# ruff: noqa: PTH117

from __future__ import annotations

import os

from sbka_milvus.errors import SourceError
from sbka_milvus.images.sources.read import open_archives
from sbka_milvus.images.uris import is_remote, member_uri, split_member


def is_on_disk(uri: str) -> bool:
    """Whether a URI names a file of this machine, or a member of an archive on it.

    >>> is_on_disk("/p/a.jpg"), is_on_disk("/p/a.zip!/1.jpg"), is_on_disk("s3://b/a.jpg"), is_on_disk("product 7")
    (True, True, False, False)
    """
    return not is_remote(uri) and os.path.isabs(uri)


def archive_members(uri: str, known: dict[str, dict[str, tuple[int, int]]]) -> dict[str, tuple[int, int]] | None:
    """Size and stamp of all photos of the archive that a URI is of; none where it is of no archive.

    Args:
        uri: of a photo on the disk.
        known: what was found for archives before; grows. An archive that cannot be read has no photos.
    """
    member = split_member(uri)
    if member is None or os.path.lexists(uri):
        return None
    archive = member[0]
    if archive not in known:
        try:
            contents = open_archives().open(archive).contents
        except SourceError:
            known[archive] = {}
        else:
            entries = contents.members.items()
            known[archive] = {member_uri(archive, name): (entry.size, entry.stamp) for name, entry in entries}
    return known[archive]
