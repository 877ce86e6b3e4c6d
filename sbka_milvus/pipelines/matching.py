"""What the vectors of a gallery's versions were lifted by: kept beside their records, read by searches."""

from __future__ import annotations

import hashlib

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import matching_file
from sbka_milvus.errors import InvalidValue, MatchingError
from sbka_milvus.files import replacing
from sbka_milvus.protocols import Matching, MatchingOf
from sbka_milvus.types import VersionInfo


def matching_digest(content: bytes) -> str:
    """What a version's index says of its file, so that no other can stand in for it."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write_matching(gallery: Gallery, info: VersionInfo, content: bytes) -> None:
    """Puts a version's file beside where its record will be.

    Raises:
        OutputError: The folder cannot be written.
    """
    with replacing(matching_file(gallery.version_folder, info.token)) as file:
        file.write(content)


def matching_finder(gallery: Gallery) -> MatchingOf:
    """Finds what versions of a gallery were lifted by, whichever model they are of."""
    return lambda info: read_matching(gallery, info)


def read_matching(gallery: Gallery, info: VersionInfo) -> Matching | None:
    """What a version was lifted by; none where its vectors are the photos' own.

    Raises:
        MatchingError: It was lifted, and the file is missing, damaged or of another version.
    """
    if not info.matching:
        return None
    from sbka_milvus.rankers import unpack_matching

    path = matching_file(gallery.version_folder, info.token)
    remedy = "Run `sbka ingest` again, which builds the version anew, or serve another one."
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MatchingError(
            f"Version {info.version} of the gallery {gallery.root} cannot be searched: {path} is missing.", remedy
        ) from error
    except OSError as error:
        raise MatchingError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    if matching_digest(content) != info.matching:
        raise MatchingError(f"{path} is damaged, or of another version than {info.version}.", remedy)
    try:
        found = unpack_matching(content)
    except InvalidValue as error:
        raise MatchingError(f"{path} cannot be used: {error.problem}", error.remedy or remedy) from error
    if found.lifted.dim != info.dim:
        raise MatchingError(f"{path} is for vectors of {found.lifted.dim}, not of {info.dim} dimensions.", remedy)
    return found


def is_matched(gallery: Gallery, info: VersionInfo) -> bool:
    """Whether a version can be searched, as far as this file goes."""
    try:
        read_matching(gallery, info)
    except MatchingError:
        return False
    return True
