"""A unit is in one pair of hands, and no dead or silent process keeps it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from sbka_milvus.errors import LeaseLost, OutputError
from workers.jobs import read_json, write_json
from workers.leases import LeaseTaken, hold, is_held

ROOT = Path(__file__).parents[3]

HOLDER = """
import sys, time
from pathlib import Path
from sbka_milvus.errors import LeaseLost
from workers.leases import hold
with hold(Path(sys.argv[1]), float(sys.argv[2])) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.require()
        print("still mine", flush=True)
    except LeaseLost as error:
        print(error.problem, flush=True)
"""

RIVAL = """
import os, sys
from pathlib import Path
from workers.leases import LeaseTaken, hold
path, log = Path(sys.argv[1]), os.open(sys.argv[2], os.O_APPEND | os.O_WRONLY | os.O_CREAT)
had = 0
while had < 25:
    try:
        with hold(path, 30.0):
            os.write(log, b"+%d\\n" % os.getpid())
            had += 1
            os.write(log, b"-%d\\n" % os.getpid())
    except LeaseTaken:
        pass
"""


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(program: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_lease_is_held_by_one_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "plan.json"
    with hold(path, 30.0) as lease:
        lease.require()
        assert is_held(path, 30.0)
        with pytest.raises(LeaseTaken), hold(path, 30.0):
            pass
        lease.require()
    assert not path.exists() and not is_held(path, 30.0)


def test_it_is_given_back_after_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(ZeroDivisionError), hold(path, 30.0):
        _ = 1 / 0
    assert not path.exists()


def test_processes_that_want_one_lease_have_it_one_after_the_other(tmp_path: Path, spawn: Any) -> None:
    path, log = tmp_path / "plan.json", tmp_path / "log"
    rivals = [spawn(RIVAL, path, log) for _ in range(3)]
    assert [rival.wait(120) for rival in rivals] == [0, 0, 0]
    steps = log.read_text().split()
    assert len(steps) == 3 * 25 * 2
    for entered, left in zip(steps[::2], steps[1::2], strict=True):
        assert (entered[0], left[0], entered[1:]) == ("+", "-", left[1:])
    assert len({step[1:] for step in steps}) == 3


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path, spawn: Any) -> None:
    path = tmp_path / "plan.json"
    holder = spawn(HOLDER, path, 3600)
    assert told(holder) == "held"
    assert is_held(path, 3600.0)
    holder.kill()
    # Also before anybody has waited for it: a zombie works no more.
    deadline = time.monotonic() + 30
    while is_held(path, 3600.0) and time.monotonic() < deadline:
        time.sleep(0.01)
    with hold(path, 3600.0) as lease:
        lease.require()


def test_the_lease_of_a_stopped_process_is_taken_over_and_it_notices(tmp_path: Path, spawn: Any) -> None:
    path = tmp_path / "plan.json"
    holder = spawn(HOLDER, path, 1.0)
    assert told(holder) == "held"
    holder.send_signal(signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 30
        while is_held(path, 1.0) and time.monotonic() < deadline:
            time.sleep(0.02)
        with hold(path, 1.0) as lease:
            holder.send_signal(signal.SIGCONT)
            tell(holder)
            assert told(holder).startswith("Another worker has taken over plan")
            assert holder.wait(30) == 0
            # It gave back nothing that was not its own.
            lease.require()
    finally:
        holder.send_signal(signal.SIGCONT)


def test_a_process_that_has_the_number_of_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with hold(path, 30.0):
        mine = read_json(path)
    assert mine is not None and mine["pid"] == os.getpid()
    write_json(path, mine)
    assert is_held(path, 30.0)
    write_json(path, mine | {"started": mine["started"] - 100.0})
    assert not is_held(path, 30.0)
    assert psutil.pid_exists(mine["pid"])


def test_a_process_of_another_machine_is_believed_until_it_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_json(path, {"owner": "x", "place": "elsewhere", "pid": 2**22, "started": 0.0})
    assert is_held(path, 30.0)
    with pytest.raises(LeaseTaken), hold(path, 30.0):
        pass
    past = time.time() - 31.0
    os.utime(path, (past, past))
    with hold(path, 30.0) as lease:
        lease.require()


def test_an_owner_that_works_is_never_silent(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with hold(path, 0.4) as lease:
        before = path.stat().st_mtime
        deadline = time.monotonic() + 30
        while path.stat().st_mtime < before + 0.5 and time.monotonic() < deadline:
            time.sleep(0.02)
        lease.require()
        assert path.stat().st_mtime >= before + 0.5
    assert not [thread for thread in threading.enumerate() if thread.name == "sbka-lease"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"place": 3}'])
def test_a_damaged_lease_is_nobodys(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    if content in (b"{}", b'{"place": 3}'):
        past = time.time() - 31.0
        os.utime(path, (past, past))
    with hold(path, 30.0) as lease:
        lease.require()


def test_whose_lease_is_gone_must_stop(tmp_path: Path) -> None:
    path = tmp_path / "job" / "leases" / "embed-000001.json"
    with hold(path, 30.0) as lease:
        path.unlink()
        with pytest.raises(LeaseLost, match="embed-000001"):
            lease.require()
        write_json(path, {"owner": "another"})
        with pytest.raises(LeaseLost):
            lease.require()
    assert read_json(path) == {"owner": "another"}


def test_a_disk_that_takes_nothing_is_an_error_of_ours(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    with full_disk(), pytest.raises(OutputError), hold(tmp_path / "plan.json", 30.0):
        pass
    (tmp_path / "leases").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="leases"), hold(tmp_path / "leases" / "plan.json", 30.0):
        pass
    with hold(tmp_path / "plan.json", 30.0) as lease:
        lease.require()


def test_a_full_disk_does_not_silence_an_owner(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "plan.json"
    with hold(path, 0.4) as lease, full_disk():
        before = path.stat().st_mtime
        deadline = time.monotonic() + 30
        while path.stat().st_mtime < before + 0.2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime >= before + 0.2
        lease.require()
