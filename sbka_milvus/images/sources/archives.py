"""Archives by their URIs, the latest ones kept open."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import IO, Any

from sbka_milvus.errors import SourceError
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.contents import Archive
from sbka_milvus.images.sources.remote import RemoteFiles
from sbka_milvus.images.sources.streams import StreamedTar
from sbka_milvus.images.sources.tars import PlainTar
from sbka_milvus.images.sources.zips import ZipArchive
from sbka_milvus.images.uris import has_suffix, is_remote

_MOST_OPEN = 16


class Archives:
    """Opens archives, and remembers the latest few: to list one costs a walk through it.

    Threads may share it.

    Args:
        remote: what reads those at an address.
    """

    def __init__(self, remote: RemoteFiles) -> None:
        self._remote = remote
        self._opened: OrderedDict[tuple[Any, ...], Archive] = OrderedDict()
        self._lock = Lock()

    def open(self, uri: str, *, fresh: bool = False) -> Archive:
        """An archive, listed.

        Args:
            uri: a path or an address.
            fresh: look at one at an address anew; one on the disk is looked at anew where it has changed.

        Raises:
            SourceError: It is not there.
        """
        key = (uri,) if is_remote(uri) else _local_key(uri)
        with self._lock:
            if key in self._opened and not (fresh and is_remote(uri)):
                self._opened.move_to_end(key)
                return self._opened[key]
            archive = self._opened[key] = self._list(uri)
            self._opened.move_to_end(key)
            while len(self._opened) > _MOST_OPEN:
                self._opened.popitem(last=False)
            return archive

    def _list(self, uri: str) -> Archive:
        zipped = has_suffix(uri, (".zip",))
        if not is_remote(uri):
            if zipped:
                return ZipArchive(uri, lambda: _open_local(uri))
            return PlainTar(uri) if has_suffix(uri, (".tar",)) else StreamedTar(uri, lambda: _open_local(uri))
        tries = self._remote.patience.tries
        if zipped:
            return ZipArchive(uri, lambda: self._remote.open(uri, seek=True), tries)
        return StreamedTar(uri, lambda: self._remote.open(uri), tries)


def _local_key(path: str) -> tuple[str, int, int]:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise SourceError(f"{printable(path)} cannot be read: {error.strerror}.", "Check the path.") from error
    return path, found.st_size, found.st_mtime_ns


def _open_local(path: str) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise SourceError(f"{printable(path)} cannot be read: {error.strerror}.", "Check the path.") from error
