"""The workers of a workspace, read from the files that they write: who is there, who is lost."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from sbka_milvus.processes import is_running
from workers.jobs import read_json
from workers.vitals import WorkerState, WorkState, work_path

STALE_S = 120.0
"""A beat older than this is that of a lost worker: on another host there is no other way to know."""

FORGET_S = 900.0
"""How long a lost worker stays on the list."""

_State = TypeVar("_State", WorkerState, WorkState)


@dataclass(frozen=True)
class WorkerView:
    """A worker as others see it.

    Attributes:
        state: of its listening process.
        work: of the process that runs its tasks; none before the first, or when that process is gone.
        lost: why it is not believed to be alive; empty: it is.
    """

    state: WorkerState
    work: WorkState | None
    lost: str = ""

    @property
    def alive(self) -> bool:
        """Whether it runs and was heard of lately."""
        return not self.lost


def read_workers(folder: Path, now: float | None = None) -> list[WorkerView]:
    """All workers that have files, by name.

    Args:
        folder: ``<workspace>/workers``.
        now: seconds since 1970; by default the clock's.
    """
    views = []
    now = time.time() if now is None else now
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith(".") or path.name.endswith(".work.json"):
            continue
        state = _read(WorkerState, path)
        if state is not None:
            work = _read(WorkState, work_path(folder, state.name))
            views.append(WorkerView(state, _living(work, state, now), _why_lost(state, now)))
    return views


def forget_lost(folder: Path, now: float | None = None) -> list[str]:
    """Removes the files of workers that were lost :data:`FORGET_S` seconds ago, and says which those were."""
    now = time.time() if now is None else now
    gone = [view.state.name for view in read_workers(folder, now) if view.lost and now - view.state.beat > FORGET_S]
    for name in gone:
        for path in (folder / f"{name}.json", work_path(folder, name)):
            with suppress(OSError):
                path.unlink()
    return gone


def unused_name(folder: Path, wanted: str) -> str:
    """The wanted name, with a number behind it where a living worker of this host has it.

    That of another host is taken over: a container that was killed comes back as another host, and must not be
    called otherwise than before.
    """
    here = socket.gethostname()
    taken = {view.state.name for view in read_workers(folder) if view.alive and view.state.host == here}
    candidates = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in candidates if name not in taken)


def _why_lost(state: WorkerState, now: float) -> str:
    if state.host == socket.gethostname() and not is_running(state.pid, state.started):
        return "its process is gone"
    if now - state.beat > STALE_S:
        return f"not heard of for {now - state.beat:.0f} s"
    return ""


def _living(work: WorkState | None, state: WorkerState, now: float) -> WorkState | None:
    if work is None or (state.host == socket.gethostname() and not is_running(work.pid, work.started)):
        return None
    return work if now - work.beat <= STALE_S else None


def _read(kind: type[_State], path: Path) -> _State | None:
    found: dict[str, Any] | None = read_json(path)
    if found is None:
        return None
    known = {field.name: found[field.name] for field in fields(kind) if field.name in found}
    if "queues" in known:
        known["queues"] = tuple(known["queues"])
    try:
        return kind(**known)
    except TypeError:
        return None
