"""How much memory a process has taken at most."""

from __future__ import annotations

import re
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """The most memory of this process that was in RAM at once since it began, in bytes."""
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


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
