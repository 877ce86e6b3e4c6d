"""Leases: who is working on a unit. A dead owner's lease is free at once, a silent one's after a while.

A lease is a file with its owner; the owner's sign of life is the file's modification time, so that a full disk cannot
silence it. On the owner's own machine the process itself is looked at. Machines that share a workspace must agree about
the time to within a few seconds.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from sbka_milvus.errors import LeaseLost, OutputError
from sbka_milvus.processes import is_running, started_at
from workers.jobs import read_json, write_json

_GUARD_S = 10.0


class LeaseTaken(Exception):
    """Another living process holds the lease."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken.

    Attributes:
        path: its file.
        owner: this holder and no other.
    """

    path: Path
    owner: str

    def require(self) -> None:
        """Makes sure that nobody has taken over: to be called before anything is written that others see.

        Raises:
            LeaseLost: Somebody has.
        """
        held = read_json(self.path)
        if held is None or held.get("owner") != self.owner:
            raise LeaseLost(
                f"Another worker has taken over {self.path.stem}: this one was silent for too long.",
                "Nothing is lost; raise SBKA_WORKER__LEASE_S if it happens often.",
            )


@contextmanager
def hold(path: Path, lease_s: float) -> Iterator[Lease]:
    """Holds a lease while the block runs, and gives it back.

    Args:
        path: its file.
        lease_s: seconds of silence after which others may take over.

    Raises:
        LeaseTaken: Somebody else holds it.
        OutputError: The workspace cannot be written.
    """
    lease = Lease(path, uuid4().hex)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _guard(path):
            if is_held(path, lease_s):
                raise LeaseTaken
            write_json(path, {"owner": lease.owner, "place": _place(), **_myself()}, durable=False)
    except Timeout as error:
        raise LeaseTaken from error
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}.", "Check free space and permissions."
        ) from error
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(lease, stop, lease_s / 4), daemon=True, name="sbka-lease")
    beat.start()
    try:
        yield lease
    finally:
        stop.set()
        beat.join()
        with suppress(LeaseLost, Timeout, OSError), _guard(path):
            lease.require()
            path.unlink()


def is_held(path: Path, lease_s: float) -> bool:
    """Whether a living process holds a lease."""
    held = read_json(path)
    try:
        silent = time.time() - path.stat().st_mtime
    except OSError:
        return False
    if held is None or silent > lease_s:
        return False
    return held.get("place") != _place() or _is_alive(held)


def _guard(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"), timeout=_GUARD_S)


def _beat(lease: Lease, stop: threading.Event, every_s: float) -> None:
    while not stop.wait(every_s):
        with suppress(OSError, Timeout), _guard(lease.path):
            held = read_json(lease.path)
            if held is not None and held.get("owner") == lease.owner:
                now = time.time()
                os.utime(lease.path, (now, now))


@cache
def _place() -> str:
    """This machine or container: process ids mean the same in all of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot = space = ""
    return f"{socket.gethostname()}:{boot}:{space}"


def _myself() -> dict[str, float | int]:
    return {"pid": os.getpid(), "started": started_at(os.getpid())}


def _is_alive(held: dict[str, object]) -> bool:
    """A process of that number which is not another that came later."""
    pid, started = held.get("pid"), held.get("started")
    if not isinstance(pid, int) or not isinstance(started, (int, float)):
        return False
    return is_running(pid, started)
