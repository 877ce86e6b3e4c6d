"""Zip archives."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from threading import Lock
from typing import IO

from sbka_milvus.errors import SbkaError, SourceError
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.contents import (
    MAX_RATIO,
    RATIO_FROM,
    Contents,
    Entry,
    Kind,
    is_sidecar,
    sort_out,
)
from sbka_milvus.images.sources.tars import stamp_of

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class ZipArchive:
    """A zip archive, on the disk or at an address that sends parts of files.

    A member's stamp is made of its time and its checksum, both from the archive's own list.

    Args:
        uri: of the archive.
        open_file: opens it; the file can be read at any place.
        tries: how often a member is read where that fails; each time on a newly opened file.
    """

    def __init__(self, uri: str, open_file: Callable[[], IO[bytes]], tries: int = 1) -> None:
        self._uri = uri
        self._open_file = open_file
        self._tries = tries
        self._lock = Lock()
        self._zip: zipfile.ZipFile | None = None
        self.contents: Contents = sort_out(uri, self._entries())

    def read(self, entry: Entry) -> bytes:
        """The bytes of a member.

        Raises:
            SourceError: It is damaged, or the archive is gone.
        """
        for left in reversed(range(self._tries)):
            try:
                # No more than the list says comes out of it, and that was found to be little enough.
                content = self._opened().read(entry.place)
                if len(content) != entry.size:
                    raise EOFError(f"{len(content)} bytes came out in place of {entry.size}")
                return content
            except SbkaError:
                if not left:
                    raise
            except Exception as error:
                if not left:
                    raise SourceError(
                        f"{printable(entry.name)} in {printable(self._uri)} is damaged ({_reason(error)}).",
                        "Download or make the archive again.",
                    ) from error
            with self._lock:
                self._zip = None
        raise AssertionError("there is at least one try")

    def _opened(self) -> zipfile.ZipFile:
        with self._lock:
            if self._zip is None:
                # Closed when nobody reads from it any more.
                self._zip = zipfile.ZipFile(_Owned(self._open_file()))
            return self._zip

    def _entries(self) -> Iterator[Entry]:
        try:
            infos = self._opened().infolist()
        except SbkaError:
            raise
        except Exception as error:
            raise SourceError(
                f"{printable(self._uri)} is no zip archive, damaged or cut short ({_reason(error)}).",
                "Download or make it again.",
            ) from error
        for info in infos:
            data = None
            if _kind_of(info) == "file" and not _fault_of(info) and is_sidecar(info.filename, info.file_size):
                data = self.read(Entry(info.filename, "file", info.file_size, 0, info))
            stamp = stamp_of(info.CRC, zlib.crc32(repr(info.date_time).encode()))
            yield Entry(info.filename, _kind_of(info), info.file_size, stamp, info, _fault_of(info), data)


def _kind_of(info: zipfile.ZipInfo) -> Kind:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir() or kind == stat.S_IFDIR:
        return "folder"
    if kind == stat.S_IFLNK:
        return "link"
    return "file" if kind in (0, stat.S_IFREG) else "special"


def _fault_of(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted: unpack the archive with its password"
    if info.compress_type not in _METHODS:
        return f"is packed in a way that cannot be read (method {info.compress_type})"
    if info.file_size > RATIO_FROM and info.file_size > MAX_RATIO * info.compress_size:
        return f"unpacks to {info.file_size:,} bytes, more than {MAX_RATIO} times its size in the archive"
    return ""


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class _Owned:
    """A file that is closed with whoever holds it last: ``zipfile`` does not close what it was given."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.seekable = file.seekable

    def __del__(self) -> None:
        self._file.close()
