"""All processes of ``sbka up``: what is started, in which order, and how the cores are shared."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from filelock import FileLock, Timeout

from sbka_milvus.errors import SettingsError
from sbka_milvus.processes import started_at
from sbka_milvus.settings import Settings
from workers.broker import connect
from workers.metrics import MetricsServer, WorkersCollector, serve_metrics
from workers.services import milvus, redis
from workers.services.processes import ProcessSpec
from workers.services.state import UpState, live_up, remove_up, write_up
from workers.services.supervisor import ChildView, Supervisor, Tell
from workers.serving import BrokerProbe
from workers.vitals import FOLDER

BEAT = "beat"
WORKER_PREFIX = "worker-"

_WORKER_GRACE_S = 20.0


@dataclass(frozen=True)
class UpOptions:
    """What to start.

    Attributes:
        embed_workers: workers that embed photos, at least 1.
        train: whether a worker trains models.
        metrics_port: where metrics of all workers are shown; 0: nowhere.
    """

    embed_workers: int = 1
    train: bool = True
    metrics_port: int = 0

    def __post_init__(self) -> None:
        if self.embed_workers < 1:
            raise SettingsError(f"{self.embed_workers} workers cannot embed photos.", "Give --embed-workers 1 or more.")


class Stack:
    """Redis, Milvus, workers and beat of one workspace. Use it from the main thread alone.

    Args:
        settings: of this process; where they name a Redis or a Milvus that one is used, and none is started.
        options: what to start.
        tell: is told what happens to each process.
    """

    def __init__(self, settings: Settings, options: UpOptions, tell: Tell) -> None:
        self._settings = settings
        self._options = options
        self.workspace = settings.workspace.resolve()
        self._supervisor = Supervisor(self.workspace / "logs", tell)
        self._lock = FileLock(self.workspace / "up.lock")
        self._metrics: MetricsServer | None = None
        self.state: UpState | None = None

    def start(self) -> UpState:
        """Starts everything, each when what it needs answers. Where this fails, :meth:`stop` ends what was started.

        Raises:
            SettingsError: It is running already, or a setting cannot be used, or the metrics' port is taken.
            BrokerUnavailable: Redis cannot be reached, or does not start.
            StoreError: Milvus cannot be reached, or does not start.
            OutputError: The workspace cannot be written.
        """
        self._take_lock()
        ports: dict[str, int] = {}
        redis_url = self._settings.broker.url.get_secret_value()
        milvus_url = self._settings.milvus.uri
        # What others run is asked first: nothing need be started where it does not answer.
        if redis_url:
            connect(self._settings).close()
        if milvus_url:
            milvus.check_milvus(self._settings.milvus)
        if not redis_url:
            redis_url, ports[redis.NAME] = redis.start_redis(self._supervisor, self.workspace)
        if not milvus_url:
            milvus_url, ports[milvus.NAME] = milvus.start_milvus(self._supervisor, self.workspace)
        if self._options.metrics_port:
            self._metrics = self._show_metrics()
            ports["metrics"] = self._metrics.server_port
        self.state = UpState(os.getpid(), started_at(os.getpid()), milvus_url, redis_url, ports)
        # Before the workers: it is there that they read where Redis and Milvus are.
        write_up(self.workspace, self.state)
        for spec in self._own_specs():
            self._supervisor.start(spec)
        return self.state

    def tick(self) -> None:
        """Starts again what died. Call it several times a second."""
        self._supervisor.tick()

    def views(self) -> list[ChildView]:
        """All processes."""
        return self._supervisor.views()

    def stop(self, hurry: Callable[[], bool]) -> None:
        """Ends all processes in order: nobody loses what it is talking to.

        Args:
            hurry: whether not to wait for anybody any longer.
        """
        if not self._lock.is_locked:
            return
        workers = [view.name for view in self.views() if view.name.startswith(WORKER_PREFIX)]
        try:
            self._supervisor.stop([[BEAT], workers, [milvus.NAME], [redis.NAME]], hurry)
        finally:
            if self._metrics is not None:
                self._metrics.shutdown()
                self._metrics.server_close()
            remove_up(self.workspace)
            self._lock.release()

    def _show_metrics(self) -> MetricsServer:
        collector = WorkersCollector(self.workspace / FOLDER, BrokerProbe(self._settings).depths)
        return serve_metrics(collector, self._settings.worker.metrics_host, self._options.metrics_port)

    def _take_lock(self) -> None:
        with suppress(OSError):
            self.workspace.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            running = live_up(self.workspace)
            raise SettingsError(
                f"`sbka up` already runs for {self.workspace}{f', process {running.pid}' if running else ''}.",
                "Use that one, or name another folder with SBKA_WORKSPACE.",
            ) from error
        except OSError as error:
            raise SettingsError(
                f"The workspace {self.workspace} cannot be written: {error.strerror or error}.",
                "Name another folder with SBKA_WORKSPACE.",
            ) from error

    def _own_specs(self) -> list[ProcessSpec]:
        sbka = (sys.executable, "-m", "sbka_milvus")
        env = {
            "SBKA_WORKSPACE": str(self.workspace),
            "SBKA_WORKER__THREADS": str(self._settings.worker.threads or self._share_of_cores()),
            # One port cannot serve them all: this process shows everybody's.
            "SBKA_WORKER__METRICS_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }
        queues = {"control": "control", "index": "index"}
        queues |= {f"embed-{number}": "embed" for number in range(1, self._options.embed_workers + 1)}
        if self._options.train:
            queues["train"] = "train"
        specs = [
            ProcessSpec(
                WORKER_PREFIX + name,
                (*sbka, "worker", "--queues", queue, "--name", name),
                env,
                grace_s=_WORKER_GRACE_S,
                quit_first=True,
            )
            for name, queue in queues.items()
        ]
        return [*specs, ProcessSpec(BEAT, (*sbka, "beat"), env)]

    def _share_of_cores(self) -> int:
        # Clustering and serving a version are short: they may take cores from the others.
        return max(1, core_count() // (self._options.embed_workers + self._options.train))


def core_count() -> int:
    """Cores that this process may use; on Linux fewer than there are where it was given fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
