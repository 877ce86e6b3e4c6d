"""Equal photos of a gallery's versions: found when one is built, listed beside its record, read by searches.

Every photo keeps its row in the index, so that a filter finds it by what is said of any of its copies, and an
evaluation counts what there is; a search shows equal ones once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.contents import read_hashes
from sbka_milvus.embeddings.copies import CopyGroups, copies_file
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.embeddings.versions import read_version_record, write_version_record
from sbka_milvus.errors import InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.protocols import CopiesOf
from sbka_milvus.types import VersionInfo

_log = logging.getLogger(__name__)


def find_copies(gallery: Gallery, uris: Sequence[str]) -> CopyGroups:
    """Which photos of a gallery have the same content.

    Args:
        gallery: whose photos they are.
        uris: those that are looked at.

    Raises:
        GalleryError: A shard is damaged.
    """
    hashes = read_hashes(gallery.shard_folder)
    return CopyGroups.of({uri: hashes[uri] for uri in uris if uri in hashes})


def write_copies(gallery: Gallery, info: VersionInfo, copies: CopyGroups) -> None:
    """Lists the equal photos of a version beside where its record will be; nothing where there are none.

    Raises:
        OutputError: The folder cannot be written.
    """
    if len(copies):
        with replacing(copies_file(gallery.version_folder, info.token)) as file:
            file.write(copies.pack())


def ensure_copies(gallery: Gallery, info: VersionInfo) -> None:
    """Lists the equal photos of a version that an earlier release has built, or whose list is gone.

    Args:
        gallery: with the model of the version.
        info: a version that holds just what the shards hold.

    Raises:
        GalleryError: A shard is damaged.
        OutputError: The folder cannot be written.
    """
    record = read_version_record(gallery.version_folder, info.token)
    if record is None or has_copies(gallery, info):
        return
    copies = find_copies(gallery, list(read_known(gallery.shard_folder)))
    write_copies(gallery, info, copies)
    write_version_record(gallery.version_folder, replace(record, distinct=record.photos - copies.spare))


def has_copies(gallery: Gallery, info: VersionInfo) -> bool:
    """Whether it is known which photos of a version are equal."""
    record = read_version_record(gallery.version_folder, info.token)
    if record is None or record.distinct is None:
        return False
    return record.distinct == record.photos or read_copies(gallery, info) is not None


def copies_finder(gallery: Gallery) -> CopiesOf:
    """Finds the equal photos of versions of a gallery, whichever model they are of."""
    return lambda info: read_copies(gallery, info)


def read_copies(gallery: Gallery, info: VersionInfo) -> CopyGroups | None:
    """The equal photos of a version; none where there are none or nothing is known of them.

    A list that is damaged is told of in the log: a search without it is right but for showing equal photos.
    """
    path = copies_file(gallery.version_folder, info.token)
    try:
        return CopyGroups.unpack(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, InvalidValue) as error:
        _log.warning("%s cannot be used, so equal photos are shown each; `sbka ingest` makes it anew: %s", path, error)
        return None
