"""Starting a server on a port that is free: another one where somebody was faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.errors import SbkaError
from workers.services.ports import free_port
from workers.services.processes import ProcessSpec, log_tail
from workers.services.supervisor import Supervisor

_TRIES = 4
_POLL_S = 0.1


@dataclass(frozen=True)
class Server:
    """A server to start.

    Attributes:
        name: as the screen shows it.
        spec: what to run for a port.
        answers: whether it answers on a port and is ours.
        timeout_s: how long it may take until then.
        error: what its failure is called: StoreUnavailable or the like.
    """

    name: str
    spec: Callable[[int], ProcessSpec]
    answers: Callable[[int], bool]
    timeout_s: float
    error: type[SbkaError]


def start_server(server: Server, supervisor: Supervisor, pick: Callable[[frozenset[int]], int] = free_port) -> int:
    """Starts a server under a supervisor, and waits until it answers.

    Args:
        server: what to start.
        supervisor: keeps it running from now on.
        pick: gives a port that is none of those that were tried.

    Returns:
        Its port.

    Raises:
        SbkaError: ``server.error``: it ends by itself on every port, or does not answer in time.
        SettingsError: No port is free.
    """
    tried: frozenset[int] = frozenset()
    while len(tried) < _TRIES:
        port = pick(tried)
        tried |= {port}
        supervisor.start(server.spec(port))
        deadline = time.monotonic() + server.timeout_s
        while supervisor.is_running(server.name):
            if server.answers(port):
                return port
            if time.monotonic() > deadline:
                supervisor.discard(server.name)
                raise _failure(server, f"does not answer after {server.timeout_s:.0f} s", supervisor.log(server.name))
            time.sleep(_POLL_S)
        supervisor.discard(server.name)
    raise _failure(server, "ends as soon as it is started", supervisor.log(server.name))


def _failure(server: Server, what: str, log: Path) -> SbkaError:
    said = log_tail(log)
    return server.error(
        f"The {server.name} of `sbka up` {what}{f': {said[:300]}' if said else ''}.", f"Read {log}, then try again."
    )
