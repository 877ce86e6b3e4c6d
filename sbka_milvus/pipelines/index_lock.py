"""One process at a time indexes a gallery; the lock of one that is killed is free at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import GalleryBusy, OutputError

LOCK_TIMEOUT_S = 2.0
"""Serving a version takes less; building one takes longer, and then waiting helps nobody."""


@contextmanager
def index_lock(gallery: Gallery, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Held while versions of a gallery are built, served or dropped. The thread that holds it may take it again.

    Args:
        gallery: whose versions.
        timeout_s: how long to wait for another process.

    Raises:
        GalleryBusy: Another process or thread holds it.
        OutputError: The gallery's folder cannot be written.
    """
    # A singleton for each path and thread: what is called inside the block meets the same lock again.
    lock = FileLock(gallery.lock_file.resolve(), is_singleton=True)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        raise GalleryBusy(
            f"The gallery {gallery.root} is being indexed by another process.", "Wait for it to end, then try again."
        ) from None
    except OSError as error:
        raise OutputError(
            f"The gallery {gallery.root} cannot be locked: {error.strerror or error}.",
            "Check free space and permissions.",
        ) from error
    try:
        yield
    finally:
        lock.release()
