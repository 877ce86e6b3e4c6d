"""Writing a file so that a reader, or a crash, sees the old content or the new one and never a part."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from sbka_milvus.errors import OutputError

_DRAFT = re.compile(r"\.[0-9a-f]{32}\.tmp")


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Opens a temporary file that takes the place of ``path`` when the block ends well.

    Args:
        path: the file.
        durable: whether it must have reached the disk by then; a live figure need not.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    # Not tempfile: its files are readable by their owner alone, whatever the umask says.
    draft = path.parent / f".{uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Check free space and permissions, then run again: finished work is kept.",
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def is_draft(path: Path) -> bool:
    """Whether a file is one that a killed process was about to put in the place of another."""
    return _DRAFT.fullmatch(path.name) is not None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
