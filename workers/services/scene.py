"""What the screen of ``sbka up`` shows, read anew each second."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sbka_milvus.errors import SbkaError
from sbka_milvus.settings import Settings
from schemas.reports import JobStatus
from workers.jobs import list_jobs
from workers.roster import WorkerView, forget_lost, read_workers
from workers.services.stack import Stack
from workers.services.supervisor import ChildView
from workers.serving import BrokerProbe
from workers.status import JobWatcher
from workers.vitals import FOLDER, resident_memory

LAST_JOBS = 5


@dataclass(frozen=True)
class Scene:
    """Everything at one moment.

    Attributes:
        children: the processes, each with its memory in bytes, its own children included.
        workers: those that write into the workspace, also those of other hosts.
        depths: messages that wait, by queue; none: Redis does not answer.
        jobs: the last ones, oldest first.
    """

    children: tuple[tuple[ChildView, int], ...]
    workers: tuple[WorkerView, ...]
    depths: dict[str, int] | None
    jobs: tuple[JobStatus, ...]


class SceneReader:
    """Reads scenes of a running stack.

    Args:
        stack: whose processes to show.
        settings: of this process.
    """

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self._stack = stack
        self._lease_s = settings.worker.lease_s
        self._probe = BrokerProbe(settings)
        self._watchers: dict[str, JobWatcher] = {}

    def read(self) -> Scene:
        """The scene now; what cannot be read is left out."""
        folder = self._stack.workspace / FOLDER
        forget_lost(folder)
        children = tuple(
            (view, resident_memory(view.pid, children=True) if view.pid else 0) for view in self._stack.views()
        )
        depths = None
        with suppress(SbkaError):
            depths = self._probe.depths()
        return Scene(children, tuple(read_workers(folder)), depths, tuple(self._jobs()))

    def _jobs(self) -> list[JobStatus]:
        last = list_jobs(self._stack.workspace)[-LAST_JOBS:]
        # A watcher keeps what it has read of a job's finished chunks.
        self._watchers = {job.id: self._watchers.get(job.id) or JobWatcher(job, self._lease_s) for job in last}
        found = []
        for watcher in self._watchers.values():
            with suppress(SbkaError):
                found.append(watcher.status())
        return found
