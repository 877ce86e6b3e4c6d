"""The screen of ``sbka up``: processes, workers, queues and jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sbka_milvus.cli.console import printable
from sbka_milvus.cli.jobs import amount, duration

if TYPE_CHECKING:
    from workers.roster import WorkerView
    from workers.services.scene import Scene
    from workers.services.supervisor import ChildView


_COLOURS = {"running": "cyan", "done": "green", "refused": "yellow", "failed": "red", "cancelled": "yellow"}


class Screen:
    """Shows scenes on a terminal, and nothing elsewhere.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        # No thread of its own: it would draw while the main thread starts processes.
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._next = 0.0

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, read: Callable[[], Scene], *, every_s: float) -> None:
        """Reads a scene and shows it, if the last one is so many seconds old."""
        now = time.monotonic()
        if self._live is not None and now >= self._next:
            self._next = now + every_s
            self._live.update(render(read()), refresh=True)


def render(scene: Scene) -> Group:
    """A scene as tables."""
    return Group(_processes(scene), Text(), _workers(scene), Text(), _queues(scene), _jobs(scene))


def _processes(scene: Scene) -> Table:
    table = _table("process", "state", "pid", "up", "restarts", "memory")
    for child, memory in scene.children:
        table.add_row(
            child.name,
            _state(child),
            str(child.pid or ""),
            duration(child.uptime_s) if child.pid else "",
            str(child.restarts or ""),
            megabytes(memory),
        )
    return table


def _state(child: ChildView) -> Text:
    if child.pid:
        return Text("running", "green")
    if child.restart_in_s:
        return Text(f"starts again in {child.restart_in_s:.0f} s", "yellow")
    return Text("stopped" if child.exit_code is None else f"ended with {child.exit_code}", "red")


def _workers(scene: Scene) -> Table:
    table = _table("worker", "at work on", "since", "images/s", "done", "failed", "last error")
    for view in scene.workers:
        table.add_row(view.state.name, *_work(view, time.time()))
    return table


def _work(view: WorkerView, now: float) -> tuple[str | Text, ...]:
    if view.lost:
        return (Text(f"lost: {view.lost}", "red"), "", "", "", "", "")
    work = view.work
    at = f"{work.job} {work.unit}".strip() if work is not None else ""
    idle = Text("idle", "dim") if view.state.broker_ok else Text("waits for Redis", "yellow")
    if work is None:
        return (idle, "", "", "", "", "")
    return (
        at or idle,
        duration(now - work.since) if at else "",
        f"{work.images_per_s:.1f}" if work.images_per_s else "",
        str(work.units_done),
        str(work.units_failed or ""),
        work.last_error[:60],
    )


def _queues(scene: Scene) -> Text:
    if scene.depths is None:
        return Text("Redis does not answer; work goes on when it does.", "yellow")
    return Text("waiting: " + "  ".join(f"{queue} {depth}" for queue, depth in scene.depths.items()))


def _jobs(scene: Scene) -> Table | Text:
    if not scene.jobs:
        return Text("no jobs yet: `sbka ingest ... --background`", "dim")
    table = _table("job", "state", "stage", "done", "a second", "left", "about")
    for job in scene.jobs:
        table.add_row(
            job.id,
            Text(job.state, _COLOURS.get(job.state, "")),
            job.stage,
            amount(job),
            f"{job.rate:.1f}" if job.rate else "",
            duration(job.eta_s),
            printable(job.message or job.subject),
        )
    return table


def megabytes(size: int) -> str:
    """Bytes as whole mebibytes; nothing for none.

    >>> megabytes(3 << 20), megabytes(0)
    ('3 MiB', '')
    """
    return f"{size / 2**20:.0f} MiB" if size else ""


def _table(*header: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for position, name in enumerate(header):
        table.add_column(name, overflow="fold", no_wrap=position == 0)
    return table
