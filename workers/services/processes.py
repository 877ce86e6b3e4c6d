"""One child process: started in a session of its own, tied to its parent's life, its output in a log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sbka_milvus.errors import OutputError
from workers.services import tether

MAX_LOG_BYTES = 10 * 2**20

_TAIL_BYTES = 4096


@dataclass(frozen=True)
class ProcessSpec:
    """What to run.

    Attributes:
        name: as the screen and the log's name show it.
        command: the program and its arguments; no secrets, anybody on this machine can see them.
        env: variables beside those of this process.
        grace_s: seconds that it may take to end when it is asked to.
        stop_signal: what asks it to end in good order.
        quit_first: whether SIGQUIT asks once more, before it is killed: Celery gives its work back then.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM
    quit_first: bool = False


def spawn(spec: ProcessSpec, log: Path) -> subprocess.Popen[bytes]:
    """Starts a child. Call it from the main thread: on Linux the child ends with the thread that made it.

    Args:
        spec: what to run.
        log: where its output goes; set aside as ``<name>.1`` first where it has grown above :data:`MAX_LOG_BYTES`.

    Raises:
        OutputError: The log cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_name(log.name + ".1"))
        output = log.open("ab")
    except OSError as error:
        raise OutputError(f"{log} cannot be written: {error.strerror}.", "Check free space and permissions.") from error
    # -S: the tether needs the standard library alone, and starts three times as fast.
    command = [sys.executable, "-S", str(tether.__file__), str(os.getpid()), *spec.command]
    with output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **spec.env},
            # Ctrl-C is for the supervisor, which then ends its children in their order.
            start_new_session=True,
        )


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends a signal to the child itself, if it is still there."""
    with suppress(ProcessLookupError):
        process.send_signal(number)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of a child and its own children, at once."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def log_tail(log: Path, lines: int = 1) -> str:
    """The last lines of a log that are not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])
