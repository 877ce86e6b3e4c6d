"""Tar archives: their headers, read by ``tarfile`` from a file that only goes forward, and plain ones at any place."""

from __future__ import annotations

import math
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sbka_milvus.errors import SbkaError, SourceError
from sbka_milvus.images.find import has_image_suffix
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.contents import Contents, Entry, Kind, is_sidecar, sort_out

_BLOCK = 512
_CHUNK = 2**18
_TAIL = 4096
_MAX_HEADER = 2**20
_MAX_PADDING = 64 * 2**20
_AGAIN = "Download or make it again."
_KINDS: dict[bytes, Kind] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.LNKTYPE: "link",
    tarfile.SYMTYPE: "link",
}


class ForwardFile:
    """A file as ``tarfile`` needs it, that goes forward alone.

    A header that leads backwards would be read for ever, and one that claims a name of gigabytes would be read into
    memory: both are refused here.

    Args:
        file: with ``read`` alone, or with ``seek`` too.
        name: of the archive, for messages.
        can_seek: whether bytes may be passed over instead of read.
    """

    def __init__(self, file: Any, name: str, *, can_seek: bool) -> None:
        self._file = file
        self._name = name
        self._can_seek = can_seek
        self._at = 0
        self.last = b""

    def tell(self) -> int:
        """Bytes so far."""
        return self._at

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, as one header has them."""
        if not 0 <= size <= _MAX_HEADER:
            raise self._refused(f"a header of {size:,} bytes")
        self.last = self._all(size)
        return self.last

    def seek(self, position: int) -> None:
        """Goes forward to a place."""
        if position < self._at:
            raise self._refused("a header that leads backwards")
        if self._can_seek:
            self._file.seek(position)
            self._at = position
        while self._at < position:
            if not self._all(min(_CHUNK, position - self._at)):
                raise self._refused("unexpected end of data")

    def data(self, position: int, size: int) -> bytes:
        """The bytes of a member, which must be small enough to hold.

        Raises:
            SourceError: The archive is damaged or ends before.
        """
        return b"".join(self._pieces(position, size))

    def checksum(self, position: int, size: int) -> int:
        """CRC-32 of a member, read in pieces.

        Raises:
            SourceError: The archive is damaged or ends before.
        """
        sum_ = 0
        for piece in self._pieces(position, size):
            sum_ = zlib.crc32(piece, sum_)
        return sum_

    def has_more(self) -> bool:
        """Whether anything but zeros follows; also brings to light what a decompressor knows at the end alone.

        Raises:
            SourceError: The archive is damaged.
        """
        left = _MAX_PADDING
        while left > 0 and (piece := self._all(_CHUNK)):
            if piece.count(0) < len(piece):
                return True
            left -= len(piece)
        return False

    def _refused(self, why: str) -> SourceError:
        # Not an error of tarfile's own, which it might take for the end of the archive.
        return _damaged(self._name, "", tarfile.ReadError(why))

    def _pieces(self, position: int, size: int) -> Iterator[bytes]:
        self.seek(position)
        while size:
            piece = self._all(min(_CHUNK, size))
            if not piece:
                raise SourceError(f"{self._name} is cut short in the middle of a member.", _AGAIN)
            yield piece
            size -= len(piece)

    def _all(self, size: int) -> bytes:
        parts, left = [], size
        try:
            while left and (piece := self._file.read(left)):
                parts.append(piece)
                left -= len(piece)
        except SbkaError:
            raise
        # There is no end to what the decompressors raise over broken files.
        except Exception as error:
            raise _damaged(self._name, "", error) from error
        self._at += size - left
        return b"".join(parts)


def tar_headers(file: ForwardFile, name: str) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar archive, one by one. Between two of them the file may be read as far as the next.

    Raises:
        SourceError: The archive is no tar, damaged or cut short; names what was read before.
    """
    count = 0
    try:
        # As a plain file, whatever it comes from: the streams of tarfile say nothing of how an archive ends.
        archive = tarfile.TarFile(fileobj=file)  # type: ignore[arg-type]
        while (header := archive.next()) is not None:
            count += 1
            if header.size < 0 or not math.isfinite(header.mtime):
                raise tarfile.ReadError("a member of negative size, or of no time")
            yield header
            archive.members = []  # type: ignore[attr-defined]  # else it keeps every header it has seen
        _require_end(file.last)
        if file.has_more():
            raise tarfile.ReadError("something follows its end mark, as where two archives were joined")
    except (SbkaError, GeneratorExit):
        raise
    # There is no end to what tarfile raises over broken files.
    except Exception as error:
        raise _damaged(name, f" after {count} entries", error) from error


def kind_of(header: tarfile.TarInfo) -> Kind:
    """What an entry is; a file with holes is none that is read here."""
    return "special" if header.issparse() else _KINDS.get(header.type, "special")


def stamp_of(checksum: int, mtime: float) -> int:
    """A number of 63 bits from a checksum and a time in seconds.

    >>> stamp_of(1, 2) == (1 << 31) + 2
    True
    """
    return (checksum & 0xFFFFFFFF) << 31 | int(mtime) & 0x7FFFFFFF


def _damaged(name: str, where: str, error: Exception) -> SourceError:
    reason = str(error).rstrip(".") or type(error).__name__
    return SourceError(f"{name} is damaged or cut short{where} ({reason}).", _AGAIN)


def _require_end(last: bytes) -> None:
    # tarfile takes whatever is no header for the end.
    if not last:
        raise tarfile.ReadError("there is no end mark")
    if len(last) < _BLOCK or any(last):
        raise tarfile.ReadError("there is no header where one should be")


class PlainTar:
    """A tar archive on the disk that is not compressed: each member is read at its place, by any thread.

    A member's stamp is made of its time and the checksum of its last 4 KiB, which tells pictures apart and costs no
    reading of all of them.

    Args:
        path: of the archive.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.contents: Contents
        try:
            with self._path.open("rb") as file:
                end = file.seek(0, 2)
                file.seek(0)
                self.contents = sort_out(path, self._entries(file, end))
        except OSError as error:
            self.contents = Contents(problems=[(path, f"cannot be read: {error.strerror}")])

    def _entries(self, file: IO[bytes], end: int) -> Iterator[Entry]:
        forward = ForwardFile(file, printable(self._path), can_seek=True)
        for header in tar_headers(forward, printable(self._path)):
            place, size, kind = header.offset_data, header.size, kind_of(header)
            if kind == "file" and place + size > end:
                cut = f"is cut short: {max(0, end - place):,} of its {size:,} bytes are there"
                yield Entry(header.name, kind, size, 0, None, fault=cut)
                continue
            stamp, data = 0, None
            if kind == "file" and has_image_suffix(header.name):
                begin = max(place, place + size - _TAIL)
                stamp = stamp_of(forward.checksum(begin, place + size - begin), header.mtime)
            elif kind == "file" and is_sidecar(header.name, size):
                data = forward.data(place, size)
            yield Entry(header.name, kind, size, stamp, place, data=data)

    def read(self, entry: Entry) -> bytes:
        """The bytes of a member.

        Raises:
            SourceError: The archive is gone or was cut short meanwhile.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(entry.place)
                data = file.read(entry.size)
        except OSError as error:
            raise SourceError(
                f"{printable(self._path)} cannot be read: {error.strerror}.", "Check that it is still there."
            ) from error
        if len(data) < entry.size:
            raise SourceError(f"{printable(self._path)} was cut short while it was read.", "Ingest it again.")
        return data
