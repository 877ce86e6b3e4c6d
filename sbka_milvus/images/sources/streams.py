"""Tar archives that can only be read from their beginning: compressed ones, and those at an address."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from threading import Lock
from typing import IO, Any

from sbka_milvus.errors import SourceError
from sbka_milvus.images.find import has_image_suffix
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.contents import (
    MAX_MEMBER_BYTES,
    MAX_RATIO,
    RATIO_FROM,
    Contents,
    Entry,
    is_sidecar,
    sort_out,
)
from sbka_milvus.images.sources.tars import ForwardFile, kind_of, stamp_of, tar_headers
from sbka_milvus.images.uris import has_suffix

OpenFile = Callable[[], IO[bytes]]

_KEPT_BYTES = 64 * 2**20
"""Members that were passed on the way to another one: threads ask for neighbours a little out of order."""

_MOST_FAILURES = 3

_READERS: tuple[tuple[tuple[str, ...], Callable[[Any], Any]], ...] = (
    ((".gz", ".tgz"), lambda file: gzip.GzipFile(fileobj=file, mode="rb")),
    ((".bz2", ".tbz2"), bz2.BZ2File),
    ((".xz", ".txz"), lzma.LZMAFile),
)


class StreamedTar:
    """A tar archive that is read in order.

    It is read once to list it, and again for its members, in one go as long as they are asked for in its order.
    A member's stamp is made of its time and the checksum of all of it.

    Args:
        uri: of the archive; its suffix says how it is compressed.
        open_file: opens it at its beginning; may raise SourceError, also while it is read.
        tries: how often it is listed where that raises.
    """

    def __init__(self, uri: str, open_file: OpenFile, tries: int = 1) -> None:
        self._uri = uri
        self._open_file = open_file
        self._lock = Lock()
        self._going: Iterator[tuple[int, str, bytes]] | None = None
        self._next = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._failed_at = 0
        self._failures = 0
        for _ in range(tries):
            self.contents: Contents = sort_out(uri, self._entries())
            if not any(subject == uri for subject, _ in self.contents.problems):
                break

    def read(self, entry: Entry) -> bytes:
        """The bytes of a member.

        Raises:
            SourceError: The archive cannot be read as far as that, or is another one by now.
        """
        with self._lock:
            if entry.place in self._kept:
                data = self._kept.pop(entry.place)
                self._kept_bytes -= len(data)
                return data
            if self._failures >= _MOST_FAILURES and entry.place >= self._failed_at:
                raise self._unreachable(entry)
            try:
                return self._advance(entry)
            except SourceError:
                self._going = None
                self._failures += 1
                self._failed_at = self._next
                raise

    def _advance(self, entry: Entry) -> bytes:
        if self._going is None or entry.place < self._next:
            self._going, self._next = self._members(), 0
        for number, name, data in self._going:
            self._next = number + 1
            if number == entry.place:
                if name != entry.name or len(data) != entry.size:
                    raise SourceError(f"{printable(self._uri)} changed while it was read.", "Ingest it again.")
                return data
            self._keep(number, data)
        raise self._unreachable(entry)

    def _keep(self, number: int, data: bytes) -> None:
        if number in self._kept:
            return
        self._kept[number] = data
        self._kept_bytes += len(data)
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _unreachable(self, entry: Entry) -> SourceError:
        return SourceError(f"{printable(self._uri)} cannot be read as far as {printable(entry.name)}.", "Check it.")

    def _entries(self) -> Iterator[Entry]:
        with closing(self._headers()) as headers:
            for number, (header, file) in enumerate(headers):
                kind, size = kind_of(header), header.size
                stamp, data = 0, None
                if kind == "file" and has_image_suffix(header.name):
                    stamp = stamp_of(file.checksum(header.offset_data, size), header.mtime)
                elif kind == "file" and is_sidecar(header.name, size):
                    data = file.data(header.offset_data, size)
                yield Entry(header.name, kind, size, stamp, number, data=data)

    def _members(self) -> Iterator[tuple[int, str, bytes]]:
        with closing(self._headers()) as headers:
            for number, (header, file) in enumerate(headers):
                fits = header.size <= MAX_MEMBER_BYTES
                if fits and kind_of(header) == "file" and has_image_suffix(header.name):
                    yield number, header.name, file.data(header.offset_data, header.size)

    def _headers(self) -> Generator[tuple[Any, ForwardFile], None, None]:
        with ExitStack() as stack:
            packed = _Counted(stack.enter_context(closing(self._open_file())))
            reader = next((make for suffixes, make in _READERS if has_suffix(self._uri, suffixes)), None)
            unpacked: Any = packed if reader is None else _Limited(stack.enter_context(reader(packed)), packed)
            forward = ForwardFile(unpacked, printable(self._uri), can_seek=False)
            for header in tar_headers(forward, printable(self._uri)):
                yield header, forward


class _Counted:
    """A file that counts what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return False


class _Limited:
    """What a file unpacks to, as long as that is not absurdly more than there was of it."""

    def __init__(self, unpacked: Any, packed: _Counted) -> None:
        self._unpacked = unpacked
        self._packed = packed
        self._count = 0

    def read(self, size: int) -> bytes:
        data: bytes = self._unpacked.read(size)
        self._count += len(data)
        if self._count > RATIO_FROM and self._count > MAX_RATIO * self._packed.count:
            raise OSError(f"it unpacks to more than {MAX_RATIO} times its size")
        return data
