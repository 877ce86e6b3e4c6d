"""``up.json`` and the address of Redis."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_ports import own_port

from sbka_milvus.errors import BrokerUnavailable, SettingsError
from sbka_milvus.processes import is_running, started_at
from sbka_milvus.settings import BrokerSettings, Settings
from workers.broker import QUEUES, broker_url, connect, queue_depths, redis_incarnation
from workers.services.ports import is_free
from workers.services.redis import find_redis_server, redis_config
from workers.services.state import UpState, live_up, remove_up, write_up

REDIS = "redis://:se%cret@127.0.0.1:20001/0"


def own_state(started: float | None = None) -> UpState:
    since = started_at(os.getpid()) if started is None else started
    return UpState(os.getpid(), since, "http://127.0.0.1:20000", REDIS, {"redis": 20001})


def settings(workspace: Path, url: str = "") -> Settings:
    return Settings(workspace=workspace, broker=BrokerSettings.model_validate({"url": url}))


def test_a_running_up_is_found_and_its_file_is_for_the_owner_alone(tmp_path: Path) -> None:
    write_up(tmp_path, own_state())
    assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600
    assert live_up(tmp_path) == own_state()
    remove_up(tmp_path)
    assert live_up(tmp_path) is None


def test_an_up_that_was_killed_is_none_even_where_another_process_has_its_id(tmp_path: Path) -> None:
    write_up(tmp_path, own_state(started_at(os.getpid()) - 5.0))
    assert live_up(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x"}', '{"pid": 1, "started": 0, "ports": 3}'])
def test_a_damaged_file_is_no_up(tmp_path: Path, content: str) -> None:
    (tmp_path / "up.json").write_text(content)
    assert live_up(tmp_path) is None


def test_a_zombie_does_not_run() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    started = started_at(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid, started)
    process.wait()


def test_the_password_is_in_no_text_about_the_state() -> None:
    assert "cret" not in repr(own_state())


def test_the_address_of_redis_is_the_settings_or_that_of_up(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailable, match="Start `sbka up`, or set SBKA_BROKER__URL"):
        broker_url(settings(tmp_path))
    write_up(tmp_path, own_state())
    assert broker_url(settings(tmp_path)) == REDIS
    assert broker_url(settings(tmp_path, "redis://elsewhere:1/0")) == "redis://elsewhere:1/0"


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "redis://127.0.0.1:port/0"])
def test_what_is_no_address_of_redis_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="SBKA_BROKER__URL"):
        connect(settings(tmp_path, url))


def test_a_redis_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailable, match="cannot be reached") as caught:
        connect(settings(tmp_path, f"redis://:hush@127.0.0.1:{own_port()}/0"))
    assert "hush" not in str(caught.value) and caught.value.retryable


def test_depths_and_incarnation_of_a_real_redis(
    tmp_path: Path, start: Callable[..., Any], wait_for: Callable[..., Any]
) -> None:
    port = own_port()
    config = tmp_path / 'folder with "quotes"' / "redis.conf"
    config.parent.mkdir()
    config.write_text(redis_config(config.parent, port, "hush"))
    known = settings(tmp_path, f"redis://:hush@127.0.0.1:{port}/0")

    def run() -> tuple[Any, Any]:
        process = start("redis", find_redis_server(), config)
        return process, wait_for(lambda: try_connect(known), "an answer of Redis")

    process, client = run()
    assert not is_free(port)
    assert queue_depths(client) == dict.fromkeys(QUEUES, 0)
    client.rpush("embed", "a", "b")
    assert queue_depths(client) == {"train": 0, "embed": 2, "index": 0, "control": 0}
    first = redis_incarnation(client)
    assert first == redis_incarnation(client)
    with pytest.raises(BrokerUnavailable) as caught:
        connect(settings(tmp_path, f"redis://:wrong@127.0.0.1:{port}/0"))
    assert "wrong" not in str(caught.value)

    process.terminate()
    process.wait(30)
    with pytest.raises(BrokerUnavailable):
        queue_depths(client)
    _, again = run()
    # Kept over a restart, and yet another life.
    assert queue_depths(again)["embed"] == 2 and redis_incarnation(again) != first
    client.close()
    again.close()


def try_connect(known: Settings) -> Any:
    try:
        return connect(known)
    except BrokerUnavailable:
        return None
