"""A disk that is full: a small file system of its own where that may be mounted, else a quota on what workers write."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

_MEGABYTES = 96
_FILLER = "filler"


class Disk(Protocol):
    """Where the jobs and the galleries are."""

    kind: str
    folder: Path
    full: bool

    def fill(self) -> None:
        """From now on nothing can be written."""

    def free(self) -> None:
        """From now on it can."""


@contextmanager
def small_disk(folder: Path, pids: Callable[[], list[int]]) -> Iterator[Disk]:
    """A disk in a folder.

    Args:
        folder: a new one.
        pids: the workers' processes, for the quota.
    """
    folder.mkdir()
    size = f"size={_MEGABYTES}m"
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=False, capture_output=True
        )
    except OSError:
        yield _Quota(folder, pids)
        return
    if mounted.returncode:
        yield _Quota(folder, pids)
        return
    try:
        yield _SmallFileSystem(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class _SmallFileSystem:
    kind = "small file system"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.full = False

    def fill(self) -> None:
        with (self.folder / _FILLER).open("ab", buffering=0) as file:
            for size in (2**20, 4096, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue
        self.full = True

    def free(self) -> None:
        self.full = False
        (self.folder / _FILLER).unlink(missing_ok=True)


class _Quota:
    kind = "quota"

    def __init__(self, folder: Path, pids: Callable[[], list[int]]) -> None:
        self.folder = folder
        self._pids = pids
        self._limited: dict[int, tuple[int, int]] = {}
        self.full = False

    def fill(self) -> None:
        self.full = True
        for pid in set(self._pids()) - self._limited.keys():
            before = self._limited[pid] = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))

    def free(self) -> None:
        self.full = False
        # Children that were made meanwhile have the limit from their parents.
        usual = next(iter(self._limited.values()), resource.getrlimit(resource.RLIMIT_FSIZE))
        for pid in {*self._pids(), *self._limited}:
            try:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)
            except ProcessLookupError:
                continue
        self._limited.clear()
