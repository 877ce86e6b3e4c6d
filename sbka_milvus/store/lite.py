"""Directories of Milvus Lite that this process has open.

Milvus Lite runs inside the process and locks its directory against other processes. All stores of one process that
name the same directory share it: the lock is given back when the last of them is closed. Open stores after a fork,
never before it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, RLock

from milvus_lite.exceptions import DataDirLockedError
from milvus_lite.server_manager import server_manager_instance
from pymilvus.client.cache import GlobalCache

from sbka_milvus.errors import StoreError, StoreUnavailable
from sbka_milvus.store.lite_files import remove_unfinished


@dataclass
class LiteDirectory:
    """One open directory.

    Attributes:
        path: the directory.
        address: where its engine listens, on this machine only.
        writing: held by whoever writes: the engine allows one writer at a time.
        users: how many stores have it open.
    """

    path: Path
    address: str
    writing: RLock = field(default_factory=RLock)
    users: int = 0


_open: dict[Path, LiteDirectory] = {}
_lock = Lock()


def acquire(directory: str) -> LiteDirectory:
    """Opens a directory, or shares it where this process has it open; creates it where there is none.

    Raises:
        StoreUnavailable: Another process has it open.
        StoreError: It cannot be opened for another reason.
    """
    path = Path(directory).expanduser().resolve()
    with _lock:
        if path not in _open:
            _open[path] = LiteDirectory(path, _start(path))
        _open[path].users += 1
        return _open[path]


def release(directory: LiteDirectory) -> None:
    """Gives a directory back; the last user frees its lock."""
    with _lock:
        directory.users -= 1
        if directory.users == 0:
            del _open[directory.path]
            server_manager_instance.release_server(str(directory.path))


def _start(path: Path) -> str:
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file, and Milvus Lite needs a directory.", "Name another place for the gallery.")
    try:
        remove_unfinished(path)
    except OSError as error:
        raise _cannot_open(path, error) from error
    # A new engine may get the port of one that is gone, and pymilvus remembers the fields of collections by address.
    GlobalCache.schema.clear()
    with _logged_errors() as errors:
        address: str | None = server_manager_instance.start_and_get_uri(str(path))
    if address is not None:
        return address
    cause = errors[0] if errors else None
    if isinstance(cause, DataDirLockedError):
        raise StoreUnavailable(
            f"Another process has the gallery store {path} open, and Milvus Lite allows one at a time.",
            "Close it there, or let both share it: run `milvus-lite server --data-dir "
            f"{path} --host 127.0.0.1 --port 19530` and use http://127.0.0.1:19530 as the store.",
        ) from cause
    raise _cannot_open(path, cause or "no reason given") from cause


def _cannot_open(path: Path, reason: object) -> StoreError:
    return StoreError(f"Milvus Lite cannot open {path}: {reason}.", "Check that the directory can be written.")


@contextmanager
def _logged_errors() -> Iterator[list[BaseException]]:
    # The manager answers None and tells the reason to its log alone.
    errors: list[BaseException] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                errors.append(record.exc_info[1])

    logger = logging.getLogger("milvus_lite.server_manager")
    keep, propagate = _Keep(), logger.propagate
    logger.addHandler(keep)
    logger.propagate = False
    try:
        yield errors
    finally:
        logger.removeHandler(keep)
        logger.propagate = propagate
