"""What workers say of themselves, and what others make of it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.processes import started_at
from workers.health import Work, WorkerBeat, current_work
from workers.jobs import write_json
from workers.roster import FORGET_S, STALE_S, forget_lost, read_workers, unused_name
from workers.vitals import WorkerState, WorkState, new_worker_state, work_path

NOW = 1_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def state(name: str = "embed-1", **changes: Any) -> WorkerState:
    """Of a worker on another host, where only its beat tells that it lives."""
    return replace(WorkerState(name, "elsewhere", 1, ("embed",), "prefork", NOW - 60.0, NOW), **changes)


def put(folder: Path, worker: WorkerState, work: WorkState | None = None) -> None:
    write_json(folder / f"{worker.name}.json", asdict(worker))
    if work is not None:
        write_json(work_path(folder, worker.name), asdict(work))


def test_work_counts_units_pictures_and_errors() -> None:
    clock = Clock()
    work = Work(clock)
    work.begin("job-1", "embed-000003")
    clock.now += 2.0
    work.images(30)
    found = work.state()
    assert (found.job, found.unit, found.since) == ("job-1", "embed-000003", NOW)
    assert (found.images_total, found.images_per_s) == (30, 3.0)
    work.end("StoreUnavailable: gone")
    work.begin("job-1", "embed-000003")
    work.end()
    found = work.state()
    assert (found.job, found.units_done, found.units_failed) == ("", 1, 1)
    # The last error stays to be seen after a success.
    assert (found.last_error, found.last_error_at) == ("StoreUnavailable: gone", NOW + 2.0)


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    clock = Clock()
    work = Work(clock)
    work.images(100)
    clock.now += 9.9
    assert work.state().images_per_s == 10.0
    work.images(50)
    clock.now += 0.2
    assert work.state().images_per_s == 5.0
    clock.now += 60.0
    assert work.state().images_per_s == 0.0
    assert work.state().images_total == 150


def test_work_that_was_never_started_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    current_work().begin("job", "unit")
    current_work().end()
    assert list(tmp_path.iterdir()) == []


def test_a_change_of_work_is_soon_in_its_file(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    work = Work()
    work.start(tmp_path, "embed-1", beat_s=3600.0)
    try:
        work.begin("job-1", "plan")
        path = tmp_path / "embed-1.work.json"
        found = wait_for(lambda: _if(json.loads(path.read_bytes()), unit="plan"), "the unit in the file")
        assert found["pid"] == os.getpid() and found["rss_bytes"] > 2**20
    finally:
        work.stop()


def test_a_worker_is_seen_with_its_work_until_it_ends_well(tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    redis = [True]
    worker = WorkerBeat(tmp_path, new_worker_state("a", ("embed", "index"), "solo"), lambda: redis[0], beat_s=0.05)
    work = Work()
    worker.start()
    work.start(tmp_path, "a")
    try:
        (view,) = read_workers(tmp_path)
        assert view.alive and view.work is not None and view.work.pid == os.getpid()
        assert view.state.queues == ("embed", "index") and view.state.broker_ok
        redis[0] = False
        later = wait_for(lambda: [seen for seen in read_workers(tmp_path) if not seen.state.broker_ok], "another beat")
        assert later[0].state.beat > view.state.beat
    finally:
        work.stop()
        worker.stop()
    assert list(tmp_path.iterdir()) == []


def test_health_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("a file where the folder should be")
    work = Work()
    work.start(tmp_path / "workers", "a")
    work.begin("job", "unit")
    work.end()
    work.stop()
    assert work.state().units_done == 1


def test_a_worker_of_another_host_is_lost_when_it_is_silent(tmp_path: Path) -> None:
    put(tmp_path, state(), WorkState(1, NOW, NOW))
    (view,) = read_workers(tmp_path, NOW + STALE_S)
    assert view.alive and view.work is not None
    (view,) = read_workers(tmp_path, NOW + STALE_S + 1)
    assert view.lost == f"not heard of for {STALE_S + 1:.0f} s" and view.work is None


def test_a_worker_of_this_host_is_lost_as_soon_as_its_process_is_gone(tmp_path: Path) -> None:
    here = socket.gethostname()
    put(tmp_path, state("alive", host=here, pid=os.getpid(), started=started_at(os.getpid())))
    # The same id, but of a process that was started at another time.
    put(tmp_path, state("gone", host=here, pid=os.getpid(), started=NOW), WorkState(os.getpid(), NOW, NOW))
    views = {view.state.name: view for view in read_workers(tmp_path, NOW)}
    assert views["alive"].alive
    assert views["gone"].lost == "its process is gone" and views["gone"].work is None


def test_lost_workers_are_forgotten_after_a_while(tmp_path: Path) -> None:
    put(tmp_path, state("old"), WorkState(1, NOW, NOW))
    put(tmp_path, state("new", beat=NOW + FORGET_S))
    assert forget_lost(tmp_path, NOW + FORGET_S) == []
    assert forget_lost(tmp_path, NOW + FORGET_S + 1) == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.json"]


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"name": "x"}'])
def test_damaged_files_are_no_workers(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert read_workers(tmp_path) == []
    assert read_workers(tmp_path / "nowhere") == []


def test_a_name_that_a_living_worker_of_this_host_has_is_not_given_twice(tmp_path: Path) -> None:
    now, own = time.time(), {"host": socket.gethostname(), "pid": os.getpid(), "started": started_at(os.getpid())}
    assert unused_name(tmp_path, "embed") == "embed"
    put(tmp_path, state("embed", beat=now))
    assert unused_name(tmp_path, "embed") == "embed"
    put(tmp_path, state("embed", beat=now, **own))
    assert unused_name(tmp_path, "embed") == "embed-2"
    put(tmp_path, state("embed-2", beat=now, **own))
    assert unused_name(tmp_path, "embed") == "embed-3"
    put(tmp_path, state("embed", beat=now, **own | {"started": 1.0}))
    assert unused_name(tmp_path, "embed") == "embed"


def _if(found: dict[str, Any], **wanted: Any) -> dict[str, Any] | None:
    return found if wanted.items() <= found.items() else None
