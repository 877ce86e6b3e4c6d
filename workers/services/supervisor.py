"""Keeps child processes running: starts them, starts them again when they die, and ends them in order."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sbka_milvus.errors import OutputError
from workers.services.processes import ProcessSpec, kill_group, log_tail, send, spawn

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0

_STEADY_S = 60.0
_QUIT_GRACE_S = 5.0
_POLL_S = 0.1
_MAX_SAID = 200

Tell = Callable[[str, str], None]
"""Told the name of a child and what happened to it, in words."""


class State(StrEnum):
    """What a child is at."""

    RUNNING = "running"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ChildView:
    """A child as the screen shows it.

    Attributes:
        name: of the child.
        state: see :class:`State`; waiting: it died, and will be started again.
        pid: its process; 0: none.
        uptime_s: seconds since it was last started; 0: it is not running.
        restarts: how often it was started again.
        restart_in_s: seconds until it is started again; 0: it is not waiting for that.
        exit_code: of its last process that ended; negative: the signal that ended it.
    """

    name: str
    state: State
    pid: int
    uptime_s: float
    restarts: int
    restart_in_s: float
    exit_code: int | None


class _Child:
    def __init__(self, spec: ProcessSpec, log: Path) -> None:
        self.spec = spec
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.restarts = 0
        self.failures = 0
        self.again_at = 0.0
        self.exit_code: int | None = None


class Supervisor:
    """The children of this process. Use it from the main thread alone.

    Args:
        logs: folder of their logs.
        tell: is told what happens.
        clock: seconds that only go forward.
    """

    def __init__(self, logs: Path, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._logs = logs
        self._tell = tell
        self._clock = clock
        self._children: dict[str, _Child] = {}

    def start(self, spec: ProcessSpec) -> None:
        """Starts a child, and from now on keeps it running; takes the place of one of the same name.

        Raises:
            OutputError: Its log cannot be written.
        """
        self.discard(spec.name)
        child = self._children[spec.name] = _Child(spec, self.log(spec.name))
        self._spawn(child)

    def discard(self, name: str) -> None:
        """Ends a child at once, and forgets it."""
        child = self._children.pop(name, None)
        if child is not None and child.process is not None:
            kill_group(child.process)
            child.process.wait()

    def log(self, name: str) -> Path:
        """Where a child's output goes."""
        return self._logs / f"{name}.log"

    def is_running(self, name: str) -> bool:
        """Whether a child's process runs now."""
        child = self._children.get(name)
        return child is not None and child.process is not None and child.process.poll() is None

    def tick(self) -> None:
        """Notices who died, and starts again whose pause is over. Call it several times a second."""
        now = self._clock()
        for child in self._children.values():
            if child.process is not None:
                code = child.process.poll()
                if code is not None:
                    self._died(child, code, now)
            elif child.again_at and now >= child.again_at:
                self._start_again(child, now)

    def views(self) -> list[ChildView]:
        """All children, in the order in which they were started."""
        now = self._clock()
        return [_view(child, now) for child in self._children.values()]

    def stop(self, order: Sequence[Sequence[str]], hurry: Callable[[], bool]) -> None:
        """Ends all children, group after group; those of one group together.

        Args:
            order: names of children; those it does not name come first.
            hurry: whether not to wait any longer.
        """
        named = {name for group in order for name in group}
        for group in [[name for name in self._children if name not in named], *order]:
            self._stop_group([self._children[name] for name in group if name in self._children], hurry)

    def _stop_group(self, children: list[_Child], hurry: Callable[[], bool]) -> None:
        running = [child for child in children if child.process is not None and child.process.poll() is None]
        for child in children:
            child.again_at = 0.0
        for child in running:
            self._tell(child.spec.name, "is asked to stop")
            _signal(child, child.spec.stop_signal)
        asked = self._clock()
        quitting: set[str] = set()
        while running:
            for child in list(running):
                assert child.process is not None
                waited = self._clock() - asked
                if child.process.poll() is not None:
                    self._tell(child.spec.name, "stopped")
                    running.remove(child)
                elif hurry() or waited > child.spec.grace_s + (_QUIT_GRACE_S if child.spec.quit_first else 0.0):
                    kill_group(child.process)
                    child.process.wait()
                    self._tell(child.spec.name, "killed: it did not stop in time")
                    running.remove(child)
                elif child.spec.quit_first and waited > child.spec.grace_s and child.spec.name not in quitting:
                    self._tell(child.spec.name, "gives its work back")
                    _signal(child, signal.SIGQUIT)
                    quitting.add(child.spec.name)
            if running:
                time.sleep(_POLL_S)
        for child in children:
            if child.process is not None:
                child.exit_code = child.process.wait()
                kill_group(child.process)
                child.process = None

    def _spawn(self, child: _Child) -> None:
        child.process = spawn(child.spec, child.log)
        child.started = self._clock()
        child.again_at = 0.0
        self._tell(child.spec.name, f"started, process {child.process.pid}")

    def _start_again(self, child: _Child, now: float) -> None:
        child.restarts += 1
        try:
            self._spawn(child)
        except (OutputError, OSError) as error:
            # A full disk or too many processes: that may pass, and the other children are still well.
            child.again_at = now + LONGEST_PAUSE_S
            self._tell(child.spec.name, f"cannot be started: {error}")

    def _died(self, child: _Child, code: int, now: float) -> None:
        assert child.process is not None
        # Its own children may have outlived it, and must not work on beside its successor's.
        kill_group(child.process)
        child.process = None
        child.exit_code = code
        child.failures = 1 if now - child.started > _STEADY_S else child.failures + 1
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (child.failures - 1))
        child.again_at = now + pause
        said = log_tail(child.log)[-_MAX_SAID:] if code > 0 else ""
        reason = f" ({said})" if said else ""
        self._tell(child.spec.name, f"{describe_exit(code)}{reason}; starts again in {pause:g} s, see {child.log}")


def describe_exit(code: int) -> str:
    """How a process ended, in words.

    >>> describe_exit(-9), describe_exit(1)
    ('was ended by SIGKILL', 'ended with code 1')
    """
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with code {code}"


def _signal(child: _Child, number: signal.Signals) -> None:
    assert child.process is not None
    send(child.process, number)


def _view(child: _Child, now: float) -> ChildView:
    process = child.process
    resting = State.WAITING if child.again_at else State.STOPPED
    return ChildView(
        name=child.spec.name,
        state=resting if process is None else State.RUNNING,
        pid=0 if process is None else process.pid,
        uptime_s=0.0 if process is None else now - child.started,
        restarts=child.restarts,
        restart_in_s=max(0.0, child.again_at - now) if child.again_at else 0.0,
        exit_code=child.exit_code,
    )
