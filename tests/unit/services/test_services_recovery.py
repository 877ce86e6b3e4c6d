"""Worker and beat outlive their Redis: a real one, killed and started again with nothing in it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_ports import own_port

from sbka_milvus.errors import BrokerUnavailable
from workers.broker import connect_url
from workers.roster import WorkerView, read_workers
from workers.services.redis import find_redis_server

SCRIPT = Path(__file__).with_name("tiny_celery.py")


def answers(port: int) -> bool:
    try:
        connect_url(f"redis://127.0.0.1:{port}/0").close()
    except BrokerUnavailable:
        return False
    return True


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_worker_and_beat_go_on_after_redis_was_killed_and_came_back_empty(
    tmp_path: Path, pool: str, start: Callable[..., subprocess.Popen[bytes]], wait_for: Callable[..., Any]
) -> None:
    marks, workspace, port = tmp_path / "marks", tmp_path / "workspace", own_port()
    marks.mkdir()
    env = {"SBKA_WORKSPACE": str(workspace), "SBKA_BROKER__URL": f"redis://127.0.0.1:{port}/0"}

    def count() -> int:
        return len(list(marks.iterdir()))

    def empty_redis() -> subprocess.Popen[bytes]:
        options = ("--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", tmp_path)
        process = start("redis", find_redis_server(), *options)
        wait_for(lambda: answers(port), "an answer of Redis")
        return process

    def view(fits: Callable[[WorkerView], bool]) -> WorkerView | None:
        return next((view for view in read_workers(workspace / "workers") if fits(view)), None)

    # They are started before their Redis: that must not matter either.
    worker = start("worker", sys.executable, SCRIPT, "worker", marks, pool, **env)
    beat = start("beat", sys.executable, SCRIPT, "beat", marks, pool, **env)
    lonely = wait_for(lambda: view(lambda found: not found.state.broker_ok), "a heartbeat without Redis")
    assert lonely.alive and lonely.state.pid == worker.pid

    redis = empty_redis()
    wait_for(count, "work")
    redis.kill()
    redis.wait()
    wait_for(lambda: view(lambda found: not found.state.broker_ok), "a heartbeat that misses Redis")
    before = count()

    empty_redis()
    wait_for(lambda: count() > before, "work with the new Redis")
    busy = wait_for(
        lambda: view(lambda found: found.state.broker_ok and found.work is not None and found.work.units_done > 0),
        "a heartbeat that has Redis again",
    )
    assert busy.work.images_total >= 3 * busy.work.units_done and busy.work.units_failed == 0
    assert (busy.work.pid == worker.pid) is (pool == "solo")

    for process in (beat, worker):
        process.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    beat.wait(60)
    assert read_workers(workspace / "workers") == []
