"""Ports that belong to this process until it ends, so that no test takes one that another was about to use."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from pathlib import Path
from typing import IO

from workers.services.ports import is_free

_PORTS = range(10_000, 20_000)
"""Neither the system nor the program itself chooses one of these."""
_HELD: list[IO[bytes]] = []


def own_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other caller is given, here or in another process."""
    folder = Path(tempfile.gettempdir()) / f"sbka-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        lock = (folder / str(port)).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if is_free(port):
            _HELD.append(lock)
            return port
        lock.close()
    raise AssertionError("no port is free")
