"""The photos that the rows of a manifest name."""

# Paths stay text here, as in the module that finds photos on the disk.
# ruff: noqa: PTH116, PTH118, PTH120, PTH100

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from sbka_milvus.errors import SourceError
from sbka_milvus.images.find import PhotoFile, Walk, unusable_name
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.manifest import Row
from sbka_milvus.images.sources.read import open_archives, remote_files
from sbka_milvus.images.sources.remote import RemoteFile, require_plain_address
from sbka_milvus.images.uris import absolute_source, is_remote, member_uri, split_member

_AT_ONCE = 256


class ManifestPhotos:
    """Turns rows into photos, and tells of those that name none.

    Args:
        manifest: its path or address: what rows name is relative to it.
        report: is told of what cannot be used.
        walk: remembers files on the disk, so that no other source brings them again.
        seen: URIs of all other photos so far; grows.
    """

    def __init__(self, manifest: str, report: Callable[[str, str], None], walk: Walk, seen: set[str]) -> None:
        self._manifest = manifest
        self._report = report
        self._walk = walk
        self._seen = seen
        self._rows: dict[str, int] = {}

    def of(self, rows: Iterator[Row]) -> Iterator[PhotoFile]:
        """The photos of rows; those at addresses come in groups behind the others.

        Raises:
            SourceError: The table is damaged.
        """
        waiting: dict[str, Row] = {}
        for row in rows:
            uri = self._uri(row)
            if uri is None:
                continue
            if is_remote(uri) and split_member(uri) is None:
                if self._is_new(uri, row):
                    waiting[uri] = row
                if len(waiting) == _AT_ONCE:
                    yield from self._remote(waiting)
                    waiting = {}
            else:
                photo = self._member(uri, row) if split_member(uri) else self._file(uri, row)
                if photo is not None:
                    yield photo
        yield from self._remote(waiting)

    def _uri(self, row: Row) -> str | None:
        """The URI of what a row names; none where it names nothing that can be used."""
        if row.problem:
            self._report(self._row_uri(row), f"is a row that {row.problem}")
            return None
        try:
            return self._resolved(row.target)
        except SourceError as error:
            self._report(self._row_uri(row), error.problem)
            return None

    def _resolved(self, target: str) -> str:
        if is_remote(target):
            require_plain_address(target)
            return target
        path = absolute_source(target) if "://" in target else target
        if not is_remote(self._manifest):
            return os.path.abspath(os.path.join(os.path.dirname(self._manifest), path))
        if os.path.isabs(path):  # noqa: PTH117
            # Whoever writes a table on a server shall not choose files of this machine.
            raise SourceError(f"{printable(target)} is a file of this machine, named by a manifest at an address.")
        return f"{self._manifest.partition('?')[0].rpartition('/')[0]}/{path}"

    def _is_new(self, uri: str, row: Row) -> bool:
        before = self._rows.setdefault(uri, row.number)
        if before != row.number:
            again = f"is a row that names {printable(uri)} again: row {before} counts"
            self._report(self._row_uri(row), again)
            return False
        if uri in self._seen:
            return False
        self._seen.add(uri)
        return True

    def _file(self, path: str, row: Row) -> PhotoFile | None:
        try:
            problem = unusable_name(path)
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                problem = "is a folder, pipe or device"
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            problem = "does not exist" if missing else f"cannot be looked at ({getattr(error, 'strerror', error)})"
        if problem:
            self._report(path, f"{problem}; row {row.number} of {printable(self._manifest)} names it")
            return None
        if not self._is_new(path, row):
            return None
        self._walk.files.add(os.path.realpath(path))
        return PhotoFile(path, Path(path), found.st_size, found.st_mtime_ns, row.metadata)

    def _member(self, uri: str, row: Row) -> PhotoFile | None:
        archive, name = split_member(uri) or ("", "")
        try:
            contents = open_archives().open(archive).contents
        except SourceError as error:
            self._report(uri, error.problem)
            return None
        entry = contents.members.get(name)
        if entry is None:
            self._report(uri, f"is not in the archive; row {row.number} of {printable(self._manifest)} names it")
            return None
        uri = member_uri(archive, name)
        if not self._is_new(uri, row):
            return None
        metadata = {**contents.metadata.get(name, {}), **row.metadata}
        return PhotoFile(uri, Path(archive), entry.size, entry.stamp, metadata)

    def _remote(self, rows: dict[str, Row]) -> Iterator[PhotoFile]:
        for (uri, row), found in zip(rows.items(), remote_files().look_at_all(rows), strict=True):
            if isinstance(found, RemoteFile):
                yield PhotoFile(uri, Path(uri), found.size, found.stamp, row.metadata)
            else:
                self._report(uri, found.problem)

    def _row_uri(self, row: Row) -> str:
        return f"{self._manifest}#row={row.number}"
