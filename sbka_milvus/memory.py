"""How much memory a process has taken at most, and what it does with memory that is free again."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT = 2**30
_OWN_MMAP_THRESHOLD = 2**25
_LOCK = threading.Lock()
_KEEPING: list[None] = []
"""As many as are in :func:`keeping_freed_memory`."""


def peak_memory() -> int:
    """The most memory of this process that was in RAM at once since it began, in bytes."""
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


@contextmanager
def keeping_freed_memory() -> Iterator[bool]:
    """Within it this process keeps up to 1 GiB of freed memory, for work that takes and frees large blocks.

    A network gives its activations back after each layer. Blocks of over 32 MiB, and what is free at the end of the
    heap, glibc by default gives back to the system at once, which clears every page of it when it is taken again: up to
    half of the processor time of encoding, or a third of training, with large batches (``benchmarks/encoding.py``).

    Behind it what was kept is given back. It concerns all threads; where several are in it, the last one ends it.

    Yields:
        Whether the C library knows of it; only glibc does.
    """
    with _LOCK:
        _KEEPING.append(None)
        known = _tell_malloc(_KEPT, _KEPT)
    try:
        yield known
    finally:
        with _LOCK:
            _KEEPING.pop()
            if known and not _KEEPING:
                # What glibc comes to by itself once large blocks were freed.
                _tell_malloc(_OWN_MMAP_THRESHOLD, 2 * _OWN_MMAP_THRESHOLD)
                ctypes.CDLL(None).malloc_trim(0)


def _tell_malloc(mmap_threshold: int, trim_threshold: int) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return all([mallopt(_M_MMAP_THRESHOLD, mmap_threshold), mallopt(_M_TRIM_THRESHOLD, trim_threshold)])


def address_space() -> int:
    """The addresses that this process has taken, in bytes, whether they are in RAM or not; 0 where it is not told."""
    return _status("VmSize") or 0


def _status(name: str) -> int | None:
    with suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024
    return None


class PeakMemory:
    """:func:`peak_memory` for who asks often: a peak does not go away, so an answer may be a little old.

    Args:
        every_s: seconds for which an answer is good enough.
    """

    def __init__(self, every_s: float = 0.05) -> None:
        self._every_s = every_s
        self._looked = float("-inf")
        self._peak = 0

    def __call__(self) -> int:
        """Bytes."""
        now = time.monotonic()
        if now - self._looked >= self._every_s:
            self._looked, self._peak = now, peak_memory()
        return self._peak
