"""Free ports of this machine."""

from __future__ import annotations

import random
import socket

from sbka_milvus.errors import SettingsError

HOST = "127.0.0.1"

# Below the ports that Linux gives to outgoing connections. A client that keeps trying to reach a dead server on one
# of those can be given the server's own port and connect to itself, and the server then cannot come back.
_PORTS = range(20_000, 32_000)
_TRIES = 200


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A port of 127.0.0.1 that nobody listens on now; somebody may take it before it is used.

    Args:
        avoid: ports that are not wanted.

    Raises:
        SettingsError: None was found.
    """
    for port in random.SystemRandom().sample(_PORTS, _TRIES):
        if port not in avoid and is_free(port):
            return port
    raise SettingsError(f"No port between {_PORTS.start} and {_PORTS.stop} is free.", "End what uses them.")


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of 127.0.0.1."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are just closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
