"""``sbka up`` as its users run it: real Redis, real Milvus, real workers."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from own_ports import own_port

from sbka_milvus.errors import SettingsError
from sbka_milvus.settings import MilvusSettings, Settings
from workers.broker import broker_url, connect
from workers.roster import WorkerView, read_workers
from workers.services.milvus import check_milvus
from workers.services.redis import find_redis_server
from workers.services.state import UpState, live_up

Start = Callable[..., subprocess.Popen[bytes]]
WaitFor = Callable[..., Any]

UP = (sys.executable, "-m", "sbka_milvus", "up")


def living(workspace: Path) -> dict[str, WorkerView]:
    return {view.state.name: view for view in read_workers(workspace / "workers") if view.alive and view.work}


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def over(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in _known(processes))


def _known(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if psutil.pid_exists(process.pid)]


@pytest.mark.slow
def test_up_runs_everything_mends_what_dies_and_ends_cleanly(tmp_path: Path, start: Start, wait_for: WaitFor) -> None:
    workspace = tmp_path / "work space"
    env = {"SBKA_WORKSPACE": str(workspace)}
    up = start("up", *UP, "--no-train", **env)
    state: UpState = wait_for(lambda: live_up(workspace), "an up")
    assert state.pid == up.pid
    assert stat.S_IMODE((workspace / "up.json").stat().st_mode) == 0o600
    wait_for(lambda: set(living(workspace)) == {"control", "embed-1", "index"}, "the workers")

    # Clients find both by the workspace alone, and no password is where others can read it.
    settings = Settings(workspace=workspace)
    client = connect(settings)
    assert client.ping()
    client.close()
    assert check_milvus(MilvusSettings(uri=state.milvus)) == state.milvus
    password = broker_url(settings).split("@")[0].rpartition(":")[2]
    processes = descendants(up.pid)
    assert not any(password in part for process in processes for part in process.cmdline())
    assert not any(password in log.read_text() for log in (workspace / "logs").iterdir())

    # The second one of a workspace is refused, and leaves the first alone.
    second = start("second", *UP, **env)
    assert second.wait(60) == 1
    told = (tmp_path / "second.txt").read_text()
    assert "already runs" in told and str(up.pid) in told and "Traceback" not in told
    assert live_up(workspace) == state

    # Redis and a worker die; both come back, Redis at its address.
    first = living(workspace)["embed-1"]
    redis = next(process for process in processes if "redis-server" in process.name())
    children = descendants(first.state.pid)
    redis.kill()
    os.kill(first.state.pid, signal.SIGKILL)
    wait_for(lambda: _pid_of(living(workspace), "embed-1") not in (0, first.state.pid), "another worker")
    wait_for(lambda: living(workspace)["embed-1"].state.broker_ok, "its Redis")
    wait_for(lambda: over(children), "the end of what it had in hand")

    processes = descendants(up.pid)
    up.send_signal(signal.SIGINT)
    assert up.wait(90) == 0
    assert over(processes)
    assert live_up(workspace) is None and not (workspace / "up.json").exists()
    assert list((workspace / "workers").glob("*.json")) == []
    lines = (tmp_path / "up.txt").read_text().splitlines()
    stopped = [line.split()[1] for line in lines if line.endswith(" stopped")]
    assert stopped[0] == "beat" and stopped[-2:] == ["milvus", "redis"]
    assert set(stopped[1:-2]) == {"worker-control", "worker-embed-1", "worker-index"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_an_up_that_is_killed_leaves_nothing_behind_and_can_be_started_again(
    tmp_path: Path, start: Start, wait_for: WaitFor
) -> None:
    env = {"SBKA_WORKSPACE": str(tmp_path)}
    for _ in range(2):
        up = start("up", *UP, "--no-train", **env)
        wait_for(lambda: live_up(tmp_path), "an up")
        wait_for(lambda: len(living(tmp_path)) == 3, "the workers")
        processes = descendants(up.pid)
        assert len(processes) == 9
        up.kill()
        up.wait()
        wait_for(lambda found=processes: over(found), "the end of all")
        assert live_up(tmp_path) is None


def test_up_uses_the_redis_that_the_settings_name_and_says_when_it_is_not_there(
    tmp_path: Path, start: Start, wait_for: WaitFor
) -> None:
    port = own_port()
    env = {"SBKA_WORKSPACE": str(tmp_path / "w"), "SBKA_BROKER__URL": f"redis://:hush@127.0.0.1:{port}/0"}
    alone = start("alone", *UP, **env)
    assert alone.wait(60) == 1
    told = (tmp_path / "alone.txt").read_text()
    assert f"127.0.0.1:{port}" in told and "hush" not in told and "Traceback" not in told

    start("redis", find_redis_server(), "--bind", "127.0.0.1", "--port", port, "--requirepass", "hush", "--save", "")
    metrics = own_port()
    up = start("up", *UP, "--no-train", "--metrics-port", metrics, **env)
    state = wait_for(lambda: live_up(tmp_path / "w"), "an up")
    assert state.ports == {"milvus": state.ports["milvus"], "metrics": metrics}
    assert not any("redis-server" in process.name() for process in descendants(up.pid))
    up.terminate()
    assert up.wait(90) == 0


def test_up_refuses_a_milvus_in_a_directory(tmp_path: Path, start: Start) -> None:
    with pytest.raises(SettingsError, match="directory"):
        check_milvus(MilvusSettings(uri=str(tmp_path)))
    up = start("up", *UP, SBKA_WORKSPACE=str(tmp_path), SBKA_MILVUS__URI=str(tmp_path / "milvus"))
    assert up.wait(60) == 1
    told = (tmp_path / "up.txt").read_text()
    assert "SBKA_MILVUS__URI" in told and "redis started" not in told and "Traceback" not in told


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("worker", "--queues", "embed"), "Start `sbka up`, or set SBKA_BROKER__URL"),
        (("worker", "--queues", "paint"), "no queue 'paint'"),
        (("beat",), "Start `sbka up`, or set SBKA_BROKER__URL"),
    ],
)
def test_a_worker_that_cannot_work_says_why(tmp_path: Path, start: Start, command: tuple[str, ...], said: str) -> None:
    process = start("worker", sys.executable, "-m", "sbka_milvus", *command, SBKA_WORKSPACE=str(tmp_path))
    assert process.wait(60) == 1
    told = " ".join((tmp_path / "worker.txt").read_text().split())
    assert said in told and "Traceback" not in told


def _pid_of(views: dict[str, WorkerView], name: str) -> int:
    return views[name].state.pid if name in views else 0
