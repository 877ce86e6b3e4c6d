"""Running a Celery worker or beat in this process, with its heartbeat, its metrics and its threads."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery, signals
from filelock import FileLock, Timeout

from sbka_milvus.errors import SbkaError, SettingsError
from sbka_milvus.settings import Settings
from workers.broker import QUEUES, broker_url, connect_url, queue_depths
from workers.health import WorkerBeat, current_work, start_work
from workers.metrics import WorkersCollector, serve_metrics
from workers.pools import Pool
from workers.roster import unused_name
from workers.vitals import FOLDER, new_worker_state


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker runs.

    Attributes:
        queues: what it takes work from.
        name: as files and metrics show it, so each of a workspace needs its own; one that a living worker of this host
            has gets a number.
        pool: prefork: tasks run in a child, which may die without harm; solo: in this process.
        metrics_port: where its metrics are shown; 0: nowhere.
        loglevel: of Celery's log.
    """

    queues: tuple[str, ...]
    name: str
    pool: Pool = "prefork"
    metrics_port: int = 0
    loglevel: str = "INFO"


def run_worker(app: Celery, settings: Settings, options: WorkerOptions) -> int:
    """Runs a worker until it is asked to end: SIGTERM lets it finish its task, SIGQUIT gives the task back.

    Args:
        app: the Celery application, configured.
        settings: of this process.
        options: how it runs.

    Returns:
        Its exit code.

    Raises:
        SettingsError: The metrics' port is taken.
    """
    folder = settings.workspace.resolve() / FOLDER
    name = unused_name(folder, options.name)
    probe = BrokerProbe(settings)
    beat = WorkerBeat(folder, new_worker_state(name, options.queues, options.pool), probe.answers)
    with _metrics(folder, name, settings, options.metrics_port, probe), _work_told(folder, name, options.pool):
        beat.start()
        try:
            worker: Any = app.Worker(
                hostname=f"{name}@{socket.gethostname()}",
                queues=list(options.queues),
                pool=options.pool,
                # One task at a time: networks use all the threads they are given, and memory is that of one model.
                concurrency=1,
                prefetch_multiplier=1,
                loglevel=options.loglevel,
                # They talk to other workers through Redis; nothing here needs it, and each can wait for an answer.
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
            )
            worker.start()
            return int(worker.exitcode or 0)
        finally:
            beat.stop()


def run_beat(app: Celery, settings: Settings, loglevel: str = "INFO") -> None:
    """Runs beat until it is asked to end; its schedule is kept in the workspace.

    Raises:
        SettingsError: Beat runs already for this workspace.
    """
    folder = settings.workspace.resolve() / "beat"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "beat.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise SettingsError(
            f"`sbka beat` already runs for {settings.workspace}.", "One is enough: `sbka up` brings its own."
        ) from error
    try:
        app.Beat(schedule=str(folder / "schedule"), loglevel=loglevel).run()
    finally:
        lock.release()


class BrokerProbe:
    """Asks Redis, each time in a new connection: an old one could hang where the new one would not.

    Args:
        settings: of this process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def depths(self) -> dict[str, int]:
        """Messages that wait, by queue.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        client = connect_url(broker_url(self._settings))
        try:
            return queue_depths(client)
        finally:
            client.close()

    def answers(self) -> bool:
        """Whether Redis answers now."""
        try:
            connect_url(broker_url(self._settings)).close()
        except SbkaError:
            return False
        return True


def require_queues(text: str) -> tuple[str, ...]:
    """The queues of ``embed,index``.

    Raises:
        SettingsError: One is unknown, or there is none.

    >>> require_queues("embed, index")
    ('embed', 'index')
    """
    queues = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [queue for queue in queues if queue not in QUEUES]
    if unknown or not queues:
        raise SettingsError(
            f"There is no queue {unknown[0]!r}." if unknown else "No queue is named.",
            f"Name some of {', '.join(QUEUES)}.",
        )
    return queues


def set_threads(threads: int) -> None:
    """Limits the threads of networks and clustering. Call it before torch and faiss are imported; 0: no limit."""
    if threads:
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = str(threads)


@contextmanager
def _metrics(folder: Path, name: str, settings: Settings, port: int, probe: BrokerProbe) -> Iterator[None]:
    if not port:
        yield
        return
    collector = WorkersCollector(folder, probe.depths, only=name)
    server = serve_metrics(collector, settings.worker.metrics_host, port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _work_told(folder: Path, name: str, pool: Pool) -> Iterator[None]:
    # After the fork: a thread does not come along.
    signal = signals.worker_process_init if pool == "prefork" else signals.worker_init

    def tell(**_: Any) -> None:
        start_work(folder, name)

    stop: Callable[[], None] = current_work().stop
    signal.connect(tell, weak=False)
    try:
        yield
    finally:
        signal.disconnect(tell)
        with suppress(OSError):
            stop()
