"""The supervisor, over real processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from own_ports import own_port

from sbka_milvus.errors import StoreUnavailable
from workers.services import processes
from workers.services.ports import is_free
from workers.services.processes import ProcessSpec
from workers.services.starting import Server, start_server
from workers.services.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, State, Supervisor

WaitFor = Callable[..., Any]

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)"
STUBBORN = f"import signal\nfor n in (2, 3, 15): signal.signal(n, signal.SIG_IGN)\n{SLEEPER}"
LISTENER = (
    "import socket, sys, time\ns = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "s.bind(('127.0.0.1', int(sys.argv[1])))\ns.listen()\ntime.sleep(600)"
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A supervisor with a clock of its own, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.told: list[tuple[str, str]] = []
        self.folder = folder
        self.supervisor = Supervisor(folder, lambda name, what: self.told.append((name, what)), self.clock)

    def start(self, name: str, program: str, **options: Any) -> psutil.Process:
        self.supervisor.start(ProcessSpec(name, (sys.executable, "-S", "-c", program), **options))
        return psutil.Process(self.view(name).pid)

    def view(self, name: str) -> Any:
        return next(view for view in self.supervisor.views() if view.name == name)

    def ticked(self, name: str, state: State) -> bool:
        self.supervisor.tick()
        return bool(self.view(name).state == state)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.supervisor.stop([], lambda: True)


def test_a_child_that_is_killed_is_started_again_after_longer_and_longer_pauses(
    bench: Bench, wait_for: WaitFor
) -> None:
    bench.start("a", SLEEPER)
    pauses = []
    for _ in range(9):
        os.kill(bench.view("a").pid, signal.SIGKILL)
        wait_for(lambda: bench.ticked("a", State.WAITING), "its end")
        view = bench.view("a")
        assert (view.pid, view.uptime_s, view.exit_code) == (0, 0.0, -signal.SIGKILL)
        pauses.append(view.restart_in_s)
        bench.clock.now += view.restart_in_s - 0.01
        assert not bench.ticked("a", State.RUNNING)
        bench.clock.now += 0.02
        assert bench.ticked("a", State.RUNNING)
    assert pauses == pytest.approx([min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number) for number in range(9)])
    assert bench.view("a").restarts == 9
    assert ("a", f"was ended by SIGKILL; starts again in 1 s, see {bench.folder / 'a.log'}") in bench.told


def test_the_pauses_are_short_again_for_one_that_ran_well(bench: Bench, wait_for: WaitFor) -> None:
    bench.start("a", SLEEPER)
    for _ in range(3):
        bench.clock.now += 3600.0
        os.kill(bench.view("a").pid, signal.SIGKILL)
        wait_for(lambda: bench.ticked("a", State.WAITING), "its end")
        assert bench.view("a").restart_in_s == FIRST_PAUSE_S
        bench.clock.now += FIRST_PAUSE_S
        bench.supervisor.tick()


def test_why_a_child_fails_is_told(bench: Bench, wait_for: WaitFor) -> None:
    bench.start("a", "import sys\nprint('no such thing')\nsys.exit(3)")
    wait_for(lambda: bench.ticked("a", State.WAITING), "its end")
    assert bench.told[-1][1].startswith("ended with code 3 (no such thing); starts again in 0.5 s")


def test_children_of_a_child_that_died_are_ended_with_it(bench: Bench, wait_for: WaitFor) -> None:
    program = f"import subprocess, sys\np = subprocess.Popen([sys.executable, '-S', '-c', {SLEEPER!r}])\np.wait()"
    parent = bench.start("a", program)
    (child,) = wait_for(parent.children, "a grandchild")
    parent.kill()
    wait_for(lambda: bench.ticked("a", State.WAITING), "its end")
    wait_for(lambda: not alive(child), "the grandchild's end")


def test_children_are_stopped_in_order(bench: Bench) -> None:
    for name in ("redis", "milvus", "beat", "worker"):
        bench.start(name, SLEEPER)
    bench.told.clear()
    bench.supervisor.stop([["beat"], ["worker"], ["milvus"], ["redis"]], lambda: False)
    told = [name for name, what in bench.told if what == "stopped"]
    assert told == ["beat", "worker", "milvus", "redis"]
    assert {view.state for view in bench.supervisor.views()} == {State.STOPPED}
    bench.clock.now += 3600.0
    bench.supervisor.tick()
    assert {view.state for view in bench.supervisor.views()} == {State.STOPPED}


def test_a_child_that_does_not_stop_is_killed(bench: Bench, wait_for: WaitFor) -> None:
    process = bench.start("a", STUBBORN, quit_first=True)
    wait_for(lambda: "up" in (bench.folder / "a.log").read_text(), "its handlers")

    def asked() -> bool:
        bench.clock.now += 4.0
        return False

    bench.supervisor.stop([], asked)
    assert [what for _, what in bench.told[1:]] == [
        "is asked to stop",
        "gives its work back",
        "killed: it did not stop in time",
    ]
    assert not alive(process)


def test_who_asks_twice_does_not_wait(bench: Bench, wait_for: WaitFor) -> None:
    process = bench.start("a", STUBBORN, grace_s=3600.0)
    wait_for(lambda: "up" in (bench.folder / "a.log").read_text(), "its handlers")
    bench.supervisor.stop([], lambda: True)
    assert not alive(process)


def test_children_are_in_sessions_of_their_own(bench: Bench) -> None:
    process = bench.start("a", SLEEPER)
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path, start: Any, wait_for: WaitFor) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom workers.services.processes import ProcessSpec\n"
        "from workers.services.supervisor import Supervisor\n"
        f"s = Supervisor(Path({str(tmp_path)!r}), lambda *_: None)\n"
        f"s.start(ProcessSpec('a', (sys.executable, '-S', '-c', {STUBBORN!r})))\ntime.sleep(600)"
    )
    parent = start("supervisor", sys.executable, "-c", program)
    (child,) = wait_for(psutil.Process(parent.pid).children, "a child")
    wait_for(lambda: "up" in _text(tmp_path / "a.log"), "its start")
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(child), "the child's end")


def test_a_log_that_has_grown_is_set_aside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MAX_LOG_BYTES", 10)
    log = bench.supervisor.log("a")
    log.write_text("a short" + " and a longer line\n")
    bench.start("a", SLEEPER)
    assert (bench.folder / "a.log.1").read_text() == "a short and a longer line\n"


def test_a_server_takes_another_port_where_somebody_was_faster(
    bench: Bench, tmp_path: Path, start: Any, wait_for: WaitFor
) -> None:
    taken = own_port()
    start("first", sys.executable, "-S", "-c", LISTENER, taken)
    wait_for(lambda: not is_free(taken), "the first listener")
    offered = iter([taken, own_port()])
    server = listener(lambda port: port != taken and not is_free(port))
    port = start_server(server, bench.supervisor, lambda _tried: next(offered))
    assert port != taken and bench.supervisor.is_running("listener")


def test_a_server_that_cannot_start_says_why_and_where(bench: Bench) -> None:
    program = "raise SystemExit('no disk')"
    server = Server("broken", lambda port: spec("broken", program, port), lambda _: False, 30.0, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match=r"broken.*no disk.*broken\.log"):
        start_server(server, bench.supervisor)
    assert bench.supervisor.views() == []


def test_a_server_that_never_answers_is_given_up_and_ended(bench: Bench) -> None:
    server = Server("mute", lambda port: spec("mute", SLEEPER, port), lambda _: False, 0.2, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        start_server(server, bench.supervisor)
    assert bench.supervisor.views() == []


def listener(answers: Callable[[int], bool]) -> Server:
    return Server("listener", lambda port: spec("listener", LISTENER, port), answers, 30.0, StoreUnavailable)


def spec(name: str, program: str, port: int) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-S", "-c", program, str(port)))


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
