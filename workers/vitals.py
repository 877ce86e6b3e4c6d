"""What a worker says of itself, as values."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sbka_milvus.processes import started_at

FOLDER = "workers"
"""Where in a workspace the workers' files are."""

RATE_WINDOW_S = 10.0
"""Seconds over which pictures a second are counted."""


@dataclass(frozen=True)
class WorkerState:
    """A worker's listening process.

    Attributes:
        name: of the worker.
        host: where it runs.
        pid: its process there.
        queues: what it takes work from.
        pool: prefork or solo.
        started: when the process was started, seconds since 1970.
        beat: when it last wrote this, seconds since 1970.
        rss_bytes: memory of it and its children that is in RAM.
        broker_ok: whether Redis answered it just now.
    """

    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    pool: str
    started: float
    beat: float = 0.0
    rss_bytes: int = 0
    broker_ok: bool = False


@dataclass(frozen=True)
class WorkState:
    """What a worker's process that runs tasks is at.

    Attributes:
        pid: its process.
        started: when the process was started, seconds since 1970.
        beat: when it last wrote this, seconds since 1970.
        job: whose unit it is at; empty: none.
        unit: what it is at.
        since: when it began that, seconds since 1970.
        images_total: pictures since the process was started.
        images_per_s: over the last :data:`RATE_WINDOW_S` seconds.
        units_done: units it has finished.
        units_failed: units it has failed at.
        last_error: of the last of those, as ``Kind: message``.
        last_error_at: when that was, seconds since 1970.
        rss_bytes: its memory that is in RAM.
    """

    pid: int
    started: float
    beat: float = 0.0
    job: str = ""
    unit: str = ""
    since: float = 0.0
    images_total: int = 0
    images_per_s: float = 0.0
    units_done: int = 0
    units_failed: int = 0
    last_error: str = ""
    last_error_at: float = 0.0
    rss_bytes: int = 0


def new_worker_state(name: str, queues: tuple[str, ...], pool: str) -> WorkerState:
    """The state of a worker that listens in this process."""
    pid = os.getpid()
    return WorkerState(name, socket.gethostname(), pid, queues, pool, started_at(pid))


def work_path(folder: Path, name: str) -> Path:
    """Where the process that runs a worker's tasks tells what it is at."""
    return folder / f"{name}.work.json"


def resident_memory(pid: int | None = None, *, children: bool) -> int:
    """Memory of a process that is in RAM, in bytes; with that of its children if wanted; 0: it is gone.

    Args:
        pid: of the process; by default this one's.
        children: whether to add that of its children, and theirs.
    """
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in [process, *(process.children(recursive=True) if children else ())]:
            with suppress(psutil.Error):
                total += int(member.memory_info().rss)
    return total
