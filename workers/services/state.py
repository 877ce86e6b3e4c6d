"""``up.json``: where the Redis and the Milvus of a running ``sbka up`` are."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sbka_milvus.processes import is_running
from workers.jobs import read_json
from workers.services.files import write_secret

UP_FILE = "up.json"


@dataclass(frozen=True)
class UpState:
    """What clients need of a running ``sbka up``.

    Attributes:
        pid: of the supervisor.
        started: when it was started, seconds since 1970; tells it from a later process of the same id.
        milvus: address of Milvus.
        redis: address of Redis, its password included.
        ports: of what was started here, by name: redis, milvus, metrics.
    """

    pid: int
    started: float
    milvus: str
    redis: str
    ports: dict[str, int]

    def __repr__(self) -> str:
        return f"UpState(pid={self.pid}, started={self.started}, milvus={self.milvus!r}, ports={self.ports})"


def write_up(workspace: Path, state: UpState) -> None:
    """Says where everything is; only the owner may read it.

    Raises:
        OutputError: The workspace cannot be written.
    """
    write_secret(workspace / UP_FILE, json.dumps(asdict(state), indent=2) + "\n")


def live_up(workspace: Path) -> UpState | None:
    """The running ``sbka up`` of a workspace; none where it is not running, whatever an old file says."""
    found = read_json(workspace / UP_FILE)
    if found is None:
        return None
    try:
        state = UpState(
            int(found["pid"]), float(found["started"]), str(found["milvus"]), str(found["redis"]), dict(found["ports"])
        )
    except (KeyError, TypeError, ValueError):
        return None
    return state if is_running(state.pid, state.started) else None


def remove_up(workspace: Path) -> None:
    """Forgets where everything was."""
    with suppress(OSError):
        (workspace / UP_FILE).unlink()
