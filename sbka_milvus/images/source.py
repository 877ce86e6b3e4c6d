"""Reads image files into memory: regular files of a plausible size, and nothing that could block or lie."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from sbka_milvus.errors import ImageError

MAX_PIXELS = 178_956_970
"""The most pixels that are decoded unless a caller says otherwise: half a gigabyte of RGB."""

# The deepest form read here (RGBA of 16 bits) has eight bytes a pixel, so a larger file is no single photo.
_BYTES_PER_PIXEL = 8
_ROOM_FOR_METADATA = 64 * 2**20


def printable(path: str | Path) -> str:
    r"""The path as text that every terminal and log can take.

    >>> printable("caf\udce9.png")
    'caf\\udce9.png'
    """
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def content_hash(data: bytes) -> str:
    """BLAKE2b of the bytes of a file, 16 bytes as 32 hex digits.

    >>> content_hash(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_image_file(path: str | Path, max_pixels: int = MAX_PIXELS, max_bytes: int | None = None) -> bytes:
    """The bytes of an image file.

    Args:
        path: a regular file; symbolic links are followed.
        max_pixels: the pixel limit, from which a limit of the file's size is made.
        max_bytes: the limit of the file's size, where it is to be a smaller one.

    Raises:
        ImageError: It is missing, a folder, a pipe or device, empty, too big, or not to be read.
    """
    name = printable(path)
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer that may never come.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist.", "Check the path.") from None
    except IsADirectoryError:
        raise _folder(name) from None
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    try:
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            _refuse_odd_file(name, found, max_pixels)
            refuse_many_bytes(name, found.st_size, max_bytes)
            # No more than it was found to have: it may be growing, and may not stop.
            return file.read(found.st_size)
    except OSError as error:
        # fdopen refuses a folder by itself, before its kind can be looked at.
        raise (_folder(name) if isinstance(error, IsADirectoryError) else _unreadable(name, error)) from error


def refuse_many_bytes(name: str, size: int, max_bytes: int | None) -> None:
    """Refuses a file of too many bytes.

    Raises:
        ImageError: It has more than ``max_bytes``.
    """
    if max_bytes is not None and size > max_bytes:
        raise ImageError(
            f"{name} has {size:,} bytes, more than the limit of {max_bytes:,} (SBKA_INGEST__MAX_BYTES).",
            "Make the image smaller, or raise max_bytes.",
        )


def _refuse_odd_file(name: str, found: os.stat_result, max_pixels: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{name} is a pipe, socket or device, not a file.", "Save the image to a file first.")
    if found.st_size == 0:
        raise ImageError(f"{name} is empty (0 bytes).", "Download or export it again.")
    limit = max_pixels * _BYTES_PER_PIXEL + _ROOM_FOR_METADATA
    if found.st_size > limit:
        raise ImageError(
            f"{name} has {found.st_size:,} bytes, more than an image of {max_pixels:,} pixels can need ({limit:,}).",
            "Make the image smaller, or raise max_pixels.",
        )


def _folder(name: str) -> ImageError:
    return ImageError(f"{name} is a folder, not an image.", "Name an image in it.")


def _unreadable(name: str, error: OSError | ValueError) -> ImageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ImageError(f"{name} cannot be read: {reason}.", "Check the file's name and permissions.")
