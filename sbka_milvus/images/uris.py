"""How photos are named, wherever they are: the grammar of URIs.

======================================= ==================================================================
``/photos/cat.jpg``                     a file: its absolute path, as it is
``/photos/shard.tar!/cats/1.jpg``       a member of an archive: the archive, ``!/``, the member's escaped name
``https://example.org/cat.jpg``         an address, as the user wrote it
``s3://bucket/shard.tar!/cats/1.jpg``   a member of an archive at an address
======================================= ==================================================================

A member's name is escaped by percent signs where it must be: the percent sign itself, ``#``, control characters and
bytes that are not UTF-8. The first ``!/`` that follows an archive's suffix ends the archive's name, so the rest may
hold anything. ``#2`` behind a member's name is the second of several members of that name, and ``#row=7`` behind a
manifest's name its seventh row; both only name what could not be used.
"""

# Paths stay text here, as in the module that finds photos.
# ruff: noqa: PTH100

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
"""What counts as an archive by its name, in lower case."""

MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
"""What counts as a manifest by its name, in lower case."""

_MEMBER = re.compile(
    rf"(?P<archive>.*?(?:{'|'.join(re.escape(suffix) for suffix in ARCHIVE_SUFFIXES)})(?:\?[^!]*)?)!/(?P<name>.*)",
    re.IGNORECASE | re.DOTALL,
)
_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://")
_HERE = ("file", "local")
_ESCAPED = re.compile(r"[%#\x00-\x1f\x7f\udc80-\udcff]")


def is_remote(text: str) -> bool:
    """Whether a source or URI is an address.

    >>> is_remote("https://example.org/a.jpg"), is_remote("/photos/a.jpg"), is_remote("file:///photos/a.jpg")
    (True, False, False)
    """
    found = _SCHEME.match(text)
    return found is not None and found["scheme"].lower() not in _HERE


def is_web(text: str) -> bool:
    """Whether an address is one of the web, where ``?`` begins a query and folders cannot be listed."""
    return text.lower().startswith(("http://", "https://"))


def has_suffix(text: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a path or address ends in one of some suffixes; the query of an address does not count.

    >>> has_suffix("https://example.org/A.TAR?token=1", ARCHIVE_SUFFIXES), has_suffix("a.tar.txt", ARCHIVE_SUFFIXES)
    (True, False)
    """
    return _name_of(text).lower().endswith(suffixes)


def is_archive(text: str) -> bool:
    """Whether a path or address is an archive by its name."""
    return has_suffix(text, ARCHIVE_SUFFIXES)


def is_manifest(text: str) -> bool:
    """Whether a path or address is a manifest by its name."""
    return has_suffix(text, MANIFEST_SUFFIXES)


def member_uri(archive: str, name: str) -> str:
    """The URI of an archive's member.

    >>> member_uri("/photos/a.zip", "100% cats/#1.jpg")
    '/photos/a.zip!/100%25 cats/%231.jpg'
    """
    return f"{archive}!/{escape(name)}"


def split_member(uri: str) -> tuple[str, str] | None:
    """The archive and the name of its member; none where the URI is no member's.

    >>> split_member("/photos/a.zip!/100%25 cats/%231.jpg")
    ('/photos/a.zip', '100% cats/#1.jpg')
    >>> split_member("/photos/a.jpg") is None
    True
    """
    found = _MEMBER.fullmatch(uri)
    return None if found is None else (found["archive"], unquote(found["name"], errors="surrogateescape"))


def escape(name: str) -> str:
    """A member's name as it stands in a URI; :func:`split_member` gives it back."""
    return _ESCAPED.sub(lambda found: "".join(f"%{byte:02X}" for byte in os.fsencode(found[0])), name)


def absolute_source(source: str) -> str:
    """A source that means the same in another working folder; addresses stay as they are.

    >>> absolute_source("s3://bucket/cats"), absolute_source("file:///photos/my%20cats")
    ('s3://bucket/cats', '/photos/my cats')
    """
    if is_remote(source):
        return source
    found = _SCHEME.match(source)
    return os.path.abspath(source if found is None else unquote(source[found.end() :]))


def belongs_to(uri: str, source: str) -> bool:
    """Whether what a URI names comes from an absolute source: is it, or lies in it.

    >>> belongs_to("/p/a.zip!/1.jpg", "/p"), belongs_to("/p/a.zip!/1.jpg", "/p/a.zip"), belongs_to("/p/a.jpg", "/p/a")
    (True, True, False)
    """
    root = source.rstrip("/")
    return uri == source or uri.startswith((f"{root}/", f"{source}!/", f"{source}#"))


def still_there(uri: str) -> bool:
    """Whether what a URI names is not known to be gone; what lies at an address is not asked for."""
    if is_remote(uri) or os.path.lexists(uri):
        return True
    member = split_member(uri)
    holder = member[0] if member else uri.rpartition("#row=")[0]
    return bool(holder) and os.path.lexists(holder)


def _name_of(text: str) -> str:
    return urlsplit(text).path if is_web(text) else text
