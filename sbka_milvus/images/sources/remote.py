"""Files at addresses, through fsspec: bounded in time, size and tries, with typed errors.

Which addresses there are depends on what is installed: ``http`` and ``https`` always, ``s3`` with ``s3fs``, ``gs`` with
``gcsfs``, and so on. Credentials are those of the environment, as these packages take them.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from sbka_milvus.errors import SbkaError, SourceError
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.contents import MAX_MEMBER_BYTES
from sbka_milvus.images.uris import is_web

Result = TypeVar("Result")

_CHUNK = 2**20
_AT_ONCE = 16
_STAMPS = ("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "Last-Modified", "LastModified", "mtime", "updated")
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
)
"""By their names: whose they are need not be installed."""
_FINAL = (400, 401, 403, 404, 405, 410, 414, 451)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an address is waited for.

    Attributes:
        connect_s: seconds until a connection stands.
        read_s: seconds between two pieces of an answer.
        total_s: seconds for one file.
        tries: in all.
        pause_s: seconds before the second try; twice as many before each further one.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 300.0
    tries: int = 3
    pause_s: float = 0.5


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What an address says of a file.

    Attributes:
        uri: the address.
        size: bytes; 0 where it is not told.
        stamp: a number made of its ETag, else of its checksum, else of its time of change; 0 where none is told, and
            then a change that keeps the size goes unseen.
    """

    uri: str
    size: int
    stamp: int


class RemoteFiles:
    """Reads files at addresses. Threads may share it.

    Args:
        patience: how long addresses are waited for.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._shared: dict[tuple[int, str, str], Any] = {}
        self._making = Lock()

    def look(self, uri: str) -> RemoteFile:
        """What an address says of a file.

        Raises:
            SourceError: There is none, or it cannot be asked.
        """
        found = self._try(uri, lambda files, path: files.info(path))
        if found.get("type") == "directory":
            raise SourceError(f"{printable(uri)} is a folder.", "End it with a slash, or name a file.")
        return _as_told(uri, found)

    def look_at_all(self, uris: Iterable[str]) -> Iterator[RemoteFile | SourceError]:
        """:meth:`look` for many, some at once, in their order; what cannot be looked at comes as its error."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sbka-look") as pool:
            batch: list[str] = []
            for uri in uris:
                batch.append(uri)
                if len(batch) == _AT_ONCE * 4:
                    yield from pool.map(self._look_or_error, batch)
                    batch = []
            yield from pool.map(self._look_or_error, batch)

    def read(self, uri: str, max_bytes: int = MAX_MEMBER_BYTES) -> bytes:
        """The bytes of a file.

        Raises:
            SourceError: There is none, it is larger than ``max_bytes``, or it did not come within the time.
        """

        def fetch(files: Any, path: str) -> bytes:
            deadline = time.monotonic() + self.patience.total_s
            with files.open(path, "rb", **_whole(uri)) as file:
                return b"".join(_pieces(uri, file, max_bytes, deadline))

        return self._try(uri, fetch)

    def open(self, uri: str, *, seek: bool = False) -> IO[bytes]:
        """A file, opened at its beginning. What is raised while it is read is a SourceError.

        Args:
            uri: the address.
            seek: read at any place, rather than once from the beginning to the end.

        Raises:
            SourceError: It cannot be opened.
        """
        options = {} if seek else _whole(uri)
        opened = self._try(uri, lambda files, path: files.open(path, "rb", **options))
        if seek and not opened.seekable():
            opened.close()
            raise SourceError(
                f"{printable(uri)} cannot be read in parts: its server sends whole files alone.", "Download it first."
            )
        return _Guarded(uri, opened)  # type: ignore[return-value]

    def find(self, uri: str) -> list[RemoteFile]:
        """The files that a pattern or folder of an object store stands for, sorted; what is said of them comes with the
        list, in one request for a thousand.

        Raises:
            SourceError: The address is one of the web, which has no lists, or cannot be asked.
        """
        if is_web(uri):
            raise SourceError(
                f"{printable(uri)} stands for several files, and a web server cannot be asked for a list.",
                "Use braces such as {000..012}, or a manifest.",
            )

        def listed(files: Any, path: str) -> list[RemoteFile]:
            wild = any(char in path for char in "*?[")
            found = files.glob(path, detail=True) if wild else files.find(path, detail=True)
            # As the user writes them: some stores begin their paths with a slash, others do not.
            names = {f"{urlsplit(uri).scheme}://{str(name).lstrip('/')}": told for name, told in found.items()}
            return [_as_told(name, told) for name, told in sorted(names.items()) if told.get("type") != "directory"]

        return self._try(uri, listed)

    def is_folder(self, uri: str) -> bool:
        """Whether an address of an object store is a folder.

        Raises:
            SourceError: It cannot be asked.
        """
        return not is_web(uri) and bool(self._try(uri, lambda files, path: files.isdir(path)))

    def _look_or_error(self, uri: str) -> RemoteFile | SourceError:
        try:
            return self.look(uri)
        except SourceError as error:
            return error

    def _try(self, uri: str, act: Callable[[Any, str], Result]) -> Result:
        pause = self.patience.pause_s
        for left in reversed(range(self.patience.tries)):
            try:
                return act(*self._place(uri))
            except SbkaError:
                raise
            # Each kind of store raises errors of its own packages.
            except Exception as error:
                if not left or _is_final(_root(error)):
                    raise _unreadable(uri, error, self.patience.tries - left) from error
            time.sleep(pause)
            pause *= 2
        raise AssertionError("there is at least one try")

    def _place(self, uri: str) -> tuple[Any, str]:
        require_plain_address(uri)
        parts = urlsplit(uri)
        # Those of another process are of no use after a fork.
        place = (os.getpid(), parts.scheme, "" if is_web(uri) else parts.netloc)
        with self._making:
            files = self._shared.get(place)
            if files is None:
                files = self._made(uri)
                if files.async_impl:
                    # fsspec would make one for each thread, each with connections of its own, and of an object store
                    # each takes a second to make. What is asked of these goes through one thread anyway.
                    self._shared[place] = files
        # What a listing has said stays true for the process otherwise.
        files.invalidate_cache()
        return files, str(files._strip_protocol(uri))

    def _made(self, uri: str) -> Any:
        from fsspec.core import url_to_fs

        return url_to_fs(uri, **(self._web_options() if is_web(uri) else {}))[0]

    def _web_options(self) -> dict[str, Any]:
        from aiohttp import ClientTimeout

        patience = self.patience
        limits = ClientTimeout(total=patience.total_s, sock_connect=patience.connect_s, sock_read=patience.read_s)
        return {"client_kwargs": {"timeout": limits}}


def _as_told(uri: str, told: Mapping[str, Any]) -> RemoteFile:
    """By one of the stamps alone: a list and a question about one file do not tell times alike."""
    said = next((str(told[name]) for name in _STAMPS if told.get(name)), "")
    stamp = zlib.crc32(said.encode()) << 31 | zlib.adler32(said.encode()) & 0x7FFFFFFF if said else 0
    return RemoteFile(uri, int(told.get("size") or 0), stamp)


def require_plain_address(uri: str) -> None:
    """Refuses an address that holds a password, which would stand in every list and result, or a chain of them.

    Raises:
        SourceError: Without the password.
    """
    if "::" in uri:
        raise SourceError(f"{printable(uri)} is a chain of addresses.", "Name the archive itself, at one address.")
    if "@" in urlsplit(uri).netloc and is_web(uri):
        raise SourceError(
            f"An address of {urlsplit(uri).hostname} holds a user's name or password.",
            "Leave them out: they would be kept with every photo. Use ~/.netrc or a proxy that adds them.",
        )


def _whole(uri: str) -> dict[str, Any]:
    # A web file is then one answer, read from its beginning to its end, and not one request for each block. Its size
    # is not needed for that; any that is given keeps fsspec from asking for it first.
    return {"block_size": 0, "size": 1} if is_web(uri) else {}


def _pieces(uri: str, file: Any, max_bytes: int, deadline: float) -> Iterator[bytes]:
    count = 0
    while piece := file.read(_CHUNK):
        count += len(piece)
        if count > max_bytes:
            raise SourceError(f"{printable(uri)} has more than {max_bytes:,} bytes.", "Make it smaller.")
        if time.monotonic() > deadline:
            raise TimeoutError
        yield piece


def _root(error: BaseException) -> BaseException:
    """What really happened: fsspec calls everything that goes wrong while it looks at a web file "not found"."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_final(error: BaseException) -> bool:
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, ValueError)):
        return True
    return getattr(error, "status", None) in _FINAL or type(error).__name__ in _NO_CREDENTIALS


def _unreadable(uri: str, raised: Exception, tries: int) -> SourceError:
    error = _root(raised)
    name, after = printable(uri), f" ({tries} tries)" if tries > 1 else ""
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return SourceError(f"{name} does not exist.", "Check the address.")
    if isinstance(error, PermissionError) or status in (401, 403):
        return SourceError(f"{name} may not be read.", "Check the credentials of the environment.")
    if type(error).__name__ in _NO_CREDENTIALS:
        return SourceError(f"{name} asks for credentials: {_one_line(error)}.", "Put them into the environment.")
    if isinstance(error, (ImportError, ValueError)):
        return SourceError(f"{name} cannot be read: {_one_line(error)}.", "Check the address, or install its package.")
    if isinstance(error, TimeoutError):
        return SourceError(f"{name} did not come in time{after}.", "Try again later.")
    return SourceError(f"{name} cannot be fetched{after}: {_one_line(error)}.", "Try again later.")


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:200]


class _Guarded:
    """An opened file whose errors are typed."""

    def __init__(self, uri: str, file: Any) -> None:
        self._uri = uri
        self._file = file
        self.tell, self.close = file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        return bytes(self._guard(partial(self._file.read, size)))

    def seek(self, position: int, whence: int = 0) -> int:
        return int(self._guard(partial(self._file.seek, position, whence)))

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def _guard(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:
            raise _unreadable(self._uri, error, 1) from error
