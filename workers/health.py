"""What workers say of themselves, in ``<workspace>/workers``: small files, so that it is known when Redis is gone.

``<name>.json`` comes from the process that listens to Redis, ``<name>.work.json`` from the one that runs the tasks.
They differ in a prefork pool, and either can die alone.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event, Lock, Thread

import psutil

from sbka_milvus.errors import SbkaError
from sbka_milvus.processes import started_at
from workers.jobs import write_json
from workers.vitals import RATE_WINDOW_S, WorkerState, WorkState, resident_memory, work_path

BEAT_S = 5.0

_MIN_WRITE_S = 1.0
_MAX_ERROR = 500

_log = logging.getLogger(__name__)


class _Beating:
    """Writes a state from a thread of its own: soon after a change, at most once a second, and again as a beat."""

    def __init__(self, path: Path, compose: Callable[[], WorkerState | WorkState], beat_s: float) -> None:
        self._path = path
        self._compose = compose
        self._beat_s = beat_s
        self._changed = Event()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        self._write()
        self._thread.start()

    def changed(self) -> None:
        self._changed.set()

    def stop(self) -> None:
        self._stopping.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_MIN_WRITE_S + self._beat_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.wait(self._beat_s)
            self._changed.clear()
            if not self._stopping.is_set():
                self._write()
                self._stopping.wait(_MIN_WRITE_S)

    def _write(self) -> None:
        try:
            write_json(self._path, asdict(self._compose()), durable=False)
        except (SbkaError, psutil.Error) as error:
            # Work goes on where its health cannot be told: on a full disk it is the work's own error that counts.
            _log.warning("health of this worker cannot be written: %s", error)


class WorkerBeat:
    """The heartbeat of a worker's listening process.

    Args:
        folder: ``<workspace>/workers``.
        state: what does not change.
        ask_broker: whether Redis answers; called in the heartbeat's thread.
        beat_s: seconds between two beats.
    """

    def __init__(
        self, folder: Path, state: WorkerState, ask_broker: Callable[[], bool], beat_s: float = BEAT_S
    ) -> None:
        self._state = state
        self._ask_broker = ask_broker
        self._path = folder / f"{state.name}.json"
        self._beating = _Beating(self._path, self._compose, beat_s)

    def start(self) -> None:
        """Writes the first beat, and from now on the next ones."""
        self._beating.start()

    def stop(self) -> None:
        """Ends the heartbeat and takes the worker off the list: it ended well."""
        self._beating.stop()
        for path in (self._path, work_path(self._path.parent, self._state.name)):
            with suppress(OSError):
                path.unlink()

    def _compose(self) -> WorkerState:
        broker_ok = self._ask_broker()
        return replace(self._state, beat=time.time(), rss_bytes=resident_memory(children=True), broker_ok=broker_ok)


class Work:
    """What this process is at; says nothing to anybody until :meth:`start`.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._state = WorkState(0, 0.0)
        self._recent: deque[tuple[float, int]] = deque()
        self._beating: _Beating | None = None

    def start(self, folder: Path, name: str, beat_s: float = BEAT_S) -> None:
        """Tells it in ``<folder>/<name>.work.json`` from now on. Call it after the fork: threads stay behind there."""
        self.stop()
        pid = os.getpid()
        with self._lock:
            self._state = WorkState(pid, started_at(pid))
            self._recent.clear()
        self._beating = _Beating(work_path(folder, name), self.state, beat_s)
        self._beating.start()

    def stop(self) -> None:
        """Tells no more."""
        if self._beating is not None:
            self._beating.stop()
            self._beating = None

    def begin(self, job: str, unit: str) -> None:
        """A unit is begun."""
        self._update(job=job, unit=unit, since=self._clock())

    def images(self, count: int) -> None:
        """So many more pictures are done."""
        now = self._clock()
        with self._lock:
            self._recent.append((now, count))
            self._state = replace(self._state, images_total=self._state.images_total + count)

    def end(self, error: str | None = None) -> None:
        """The unit is ended.

        Args:
            error: why it failed, best as ``Kind: message``: the kind goes into the metrics; none when it did not.
        """
        state = self._state
        if error is None:
            self._update(job="", unit="", since=0.0, units_done=state.units_done + 1)
        else:
            self._update(
                job="",
                unit="",
                since=0.0,
                units_failed=state.units_failed + 1,
                last_error=error[:_MAX_ERROR],
                last_error_at=self._clock(),
            )

    def state(self) -> WorkState:
        """What it would tell now."""
        now = self._clock()
        with self._lock:
            while self._recent and self._recent[0][0] <= now - RATE_WINDOW_S:
                self._recent.popleft()
            rate = sum(count for _, count in self._recent) / RATE_WINDOW_S
            return replace(
                self._state, beat=now, images_per_s=round(rate, 3), rss_bytes=resident_memory(children=False)
            )

    def _update(self, **changes: object) -> None:
        with self._lock:
            self._state = replace(self._state, **changes)  # type: ignore[arg-type]
        if self._beating is not None:
            self._beating.changed()


_work = Work()


def current_work() -> Work:
    """What this process is at; there is one a process."""
    return _work


def start_work(folder: Path, name: str) -> None:
    """Lets this process tell what it is at, as the worker ``name``; ``folder`` is ``<workspace>/workers``."""
    _work.start(folder, name)
