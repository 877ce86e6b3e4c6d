"""Files of Milvus Lite that a kill left unfinished.

Milvus Lite 3.2 has its data take their place when they are whole, but writes the index of a segment where it stays:
killed meanwhile, it can never load that collection again. An index is made from the data, so that one that was cut off
may go: the engine makes it anew.
"""

from __future__ import annotations

import fcntl
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

_LOCK = "LOCK"
_INDEXES = "collections/*/partitions/*/indexes/*.idx"
_NPY = b"\x93NUMPY"


def remove_unfinished(directory: Path) -> list[Path]:
    """Removes indexes that were cut off, unless a process has the directory open.

    Args:
        directory: of Milvus Lite; there need not be one.

    Returns:
        What was removed.

    Raises:
        OSError: A file cannot be read or removed.
    """
    if not (directory / _LOCK).is_file():
        return []
    with (directory / _LOCK).open("ab") as lock:
        try:
            # The engine's own lock: what it is writing now is not yet whole either.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        found = [path for path in directory.glob(_INDEXES) if not is_whole(path)]
        for path in found:
            path.unlink()
        return found


def is_whole(path: Path) -> bool:
    """Whether a FLAT index, which is an array of numpy, was written to its end; of other kinds, whether it was begun.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(_NPY))
        if start != _NPY:
            return not _NPY.startswith(start)
        file.seek(0)
        try:
            end = _end_of(file)
        except ValueError:
            return False
    return path.stat().st_size >= end


def _end_of(file: BinaryIO) -> int:
    """Where the array of a file ends, in bytes."""
    if np.lib.format.read_magic(file) != (1, 0):
        return 0
    shape, _, kind = np.lib.format.read_array_header_1_0(file)
    return file.tell() + math.prod(shape) * kind.itemsize
