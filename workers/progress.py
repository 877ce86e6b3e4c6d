"""How far a unit is, in a file that anybody may read; and where it learns that it should stop."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sbka_milvus.errors import OutputError
from sbka_milvus.progress import Advance
from workers.jobs import write_json

_EVERY_S = 0.5
_RATE_OVER_S = 10.0


class FileProgress:
    """A :class:`~sbka_milvus.progress.Progress` that others read.

    Args:
        path: the unit's progress file.
        unit: its name.
        check: called at most twice a second; raises where the work should stop.
        on_photos: is told of every photo that is done.
    """

    def __init__(self, path: Path, unit: str, check: Callable[[], None], on_photos: Callable[[int], None]) -> None:
        self._path = path
        self._unit = unit
        self._check = check
        self._on_photos = on_photos
        self._last = 0.0
        self.said: list[str] = []

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[Advance]:
        """Shows a stage while the block runs."""
        done = 0
        recent: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._write(name, 0, total, unit, "", 0.0)

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done
            done += steps
            if unit == "photos":
                self._on_photos(steps)
            now = time.monotonic()
            if now - self._last < _EVERY_S:
                return
            self._check()
            recent.append((now, done))
            while len(recent) > 2 and now - recent[0][0] > _RATE_OVER_S:
                recent.popleft()
            since, before = recent[0]
            self._write(name, done, total, unit, note, (done - before) / max(now - since, 1e-6))

        yield advance
        self._check()

    def say(self, message: str) -> None:
        """Keeps a line for the job's report."""
        self.said.append(message)

    def _write(self, stage: str, done: int, total: int | None, steps: str, note: str, rate: float) -> None:
        self._last = time.monotonic()
        content = {
            "unit": self._unit,
            "stage": stage,
            "done": done,
            "total": total,
            "steps": steps,
            "note": note,
            "rate": rate,
            "updated": time.time(),
            "pid": os.getpid(),
        }
        # Not vital: a full disk shows where something is lost by it.
        with suppress(OutputError):
            write_json(self._path, content, durable=False)
