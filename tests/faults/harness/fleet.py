"""Redis, Milvus, workers and beat as real processes on this machine, and the ways in which they die."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
from own_ports import own_port

from sbka_milvus.errors import BrokerUnavailable, SbkaError
from sbka_milvus.settings import Settings
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.store.lite_server import lite_command
from workers.broker import connect, queue_depths
from workers.services.ports import HOST
from workers.services.processes import ProcessSpec, kill_group, log_tail, spawn
from workers.services.redis import find_redis_server

WORKERS = {"control": "control", "index": "index", "embed-1": "embed", "embed-2": "embed", "train": "train"}
LEASE_S = 3.0
VISIBILITY_S = 30
_DEADLINE_S = 60.0
_MAIN = Path(__file__).parents[1] / "worker_main.py"


def wait_until(true: Callable[[], Any], what: str, deadline_s: float = _DEADLINE_S) -> Any:
    """What a call gives as soon as that is something."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {deadline_s:.0f} s")


class Fleet:
    """All processes of background work.

    Args:
        root: for logs, Milvus' data and the armed faults.
        workspace: of the jobs.
    """

    def __init__(self, root: Path, workspace: Path) -> None:
        self.logs = root / "logs"
        self.faults = root / "faults"
        self.downtimes: list[tuple[float, float]] = []
        self._milvus_data = root / "milvus"
        self._redis_port = own_port()
        self._milvus_port = own_port()
        self.uri = f"http://{HOST}:{self._milvus_port}"
        env = {
            "SBKA_WORKSPACE": str(workspace),
            "SBKA_DEVICE": "cpu",
            "SBKA_BROKER__URL": f"redis://{HOST}:{self._redis_port}/0",
            "SBKA_BROKER__RECONCILE_S": "1",
            "SBKA_BROKER__VISIBILITY_TIMEOUT_S": str(VISIBILITY_S),
            "SBKA_MILVUS__URI": self.uri,
            "SBKA_MILVUS__TIMEOUT_S": "10",
            "SBKA_WORKER__LEASE_S": str(LEASE_S),
            "SBKA_WORKER__CHUNK_SIZE": "20",
            "SBKA_WORKER__THREADS": "1",
            "SBKA_INGEST__BATCH_SIZE": "5",
            "SBKA_TRAINING__CHECKPOINT_EVERY_S": "0.001",
        }
        self._env = env | {"PYTHONUNBUFFERED": "1"}
        self._processes: dict[str, Popen[bytes]] = {}
        self._ours: dict[int, psutil.Process] = {}
        self._killed: set[int] = set()
        self.settings = _settings(env)

    def start(self) -> None:
        """Starts everything, each when what it needs answers."""
        self.start_redis()
        self.start_milvus()
        for name in (*WORKERS, "beat"):
            self._start_program(name)

    def stop(self) -> None:
        """Ends everything at once, and makes sure that nothing is left."""
        self.remember()
        for process in self._processes.values():
            kill_group(process)
            process.wait()
        for process in self._ours.values():
            if _alive(process):
                process.kill()
        wait_until(lambda: not any(map(_alive, self._ours.values())), "the end of all processes")

    def tend(self) -> None:
        """Starts workers again that were killed; one that ended by itself is a fault of the program."""
        self.remember()
        for name in (*WORKERS, "beat"):
            code = self._processes[name].poll()
            if code is not None:
                assert code == -signal.SIGKILL, f"{name} ended by itself: {code}, {log_tail(self.log(name), 30)}"
                self._start_program(name)

    def remember(self) -> None:
        """Notes all processes that there are, so that at the end none is left."""
        for process in self._processes.values():
            try:
                parent = psutil.Process(process.pid)
                found = [parent, *parent.children(recursive=True)]
            except psutil.Error:
                continue
            self._ours |= {one.pid: one for one in found}

    def child(self, name: str) -> psutil.Process | None:
        """The process in which a worker does its work."""
        try:
            children = psutil.Process(self._processes[name].pid).children()
        except psutil.Error:
            return None
        return children[0] if children else None

    def stopped(self) -> list[psutil.Process]:
        """The workers' processes that were stopped and may go on."""
        children = [self.child(name) for name in WORKERS]
        return [child for child in children if child is not None and _is_stopped(child)]

    def said(self, words: str) -> int:
        """How often these words are in the workers' logs."""
        return sum(
            self.log(name).read_text(errors="replace").count(words) for name in WORKERS if self.log(name).exists()
        )

    def worker_of(self, child: psutil.Process) -> str:
        """Whose process it is."""
        return next(name for name in WORKERS if self.child(name) == child)

    def messages_in_hand(self) -> int:
        """Messages that some worker was given and has not answered for."""
        client: Any = connect(self.settings)
        try:
            return int(client.zcard("unacked_index"))
        finally:
            client.close()

    def depths(self) -> dict[str, int]:
        """Messages that wait, by queue."""
        client = connect(self.settings)
        try:
            return queue_depths(client)
        finally:
            client.close()

    def worker_pids(self) -> list[int]:
        """Those of the workers, their children included."""
        found = []
        for name in WORKERS:
            child = self.child(name)
            found += [self._processes[name].pid, *([] if child is None else [child.pid])]
        return found

    def kill_worker(self, name: str) -> None:
        """Kill -9, parent and child."""
        self.remember()
        kill_group(self._processes[name])
        self._processes[name].wait()

    def start_redis(self) -> None:
        """An empty one, always on the same port."""
        options = ("--bind", HOST, "--port", str(self._redis_port), "--save", "", "--appendonly", "no")
        folder = self.logs.parent / "redis"
        folder.mkdir(exist_ok=True)
        self._start("redis", (str(find_redis_server()), *options, "--dir", str(folder)))
        wait_until(self._redis_answers, "an answer of Redis")

    def bounce_redis(self) -> None:
        """Kill -9, then an empty one."""
        self._kill("redis")
        self.start_redis()

    def start_milvus(self) -> None:
        """On the same port, with its data."""
        self._start("milvus", lite_command(self._milvus_data, HOST, self._milvus_port))
        wait_until(self._milvus_answers, "an answer of Milvus")

    def bounce_milvus(self) -> None:
        """Kill -9, then one with the same data."""
        since = time.monotonic()
        self.downtimes.append((since, float("inf")))
        self._kill("milvus")
        self.start_milvus()
        self.downtimes[-1] = (since, time.monotonic())

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self.logs / f"{name}.log"

    def _start_program(self, name: str) -> None:
        arguments = ("beat",) if name == "beat" else ("worker", "--queues", WORKERS[name], "--name", name)
        self._start(name, (sys.executable, str(_MAIN), str(self.faults), *arguments))

    def _start(self, name: str, command: tuple[str, ...]) -> None:
        self._processes[name] = spawn(ProcessSpec(name, command, self._env), self.log(name))

    def _kill(self, name: str) -> None:
        self.remember()
        kill_group(self._processes[name])
        self._processes[name].wait()

    def _redis_answers(self) -> bool:
        try:
            connect(self.settings).close()
        except BrokerUnavailable:
            return False
        return True

    def _milvus_answers(self) -> bool:
        try:
            with MilvusGalleryStore(self.uri, timeout_s=2.0) as store:
                store.versions("nobody")
        except SbkaError:
            return False
        return True


def _settings(env: dict[str, str]) -> Settings:
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        return Settings(_env_file=None)  # type: ignore[call-arg]
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
