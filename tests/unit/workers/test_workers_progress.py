"""How far a unit is stands in its file, and it learns there that it should stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sbka_milvus.errors import JobCancelled
from workers import progress as progress_module
from workers.jobs import read_json
from workers.progress import FileProgress


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes every step."""
    monkeypatch.setattr(progress_module, "_EVERY_S", 0.0)


def test_every_stage_and_step_is_in_the_file(tmp_path: Path, at_once: None) -> None:
    path = tmp_path / "progress" / "plan.json"
    photos: list[int] = []
    told = FileProgress(path, "plan", lambda: None, photos.append)
    with told.stage("Finding", unit="files") as advance:
        found = read_json(path)
        assert found is not None and (found["stage"], found["done"], found["total"]) == ("Finding", 0, None)
        advance(3)
    with told.stage("Embedding", 10, "photos") as advance:
        advance(2, "note")
        found = read_json(path)
        assert found is not None
        assert (found["unit"], found["stage"], found["done"], found["total"]) == ("plan", "Embedding", 2, 10)
        assert (found["steps"], found["note"], found["pid"]) == ("photos", "note", os.getpid())
        assert found["rate"] > 0
        advance(4)
    assert photos == [2, 4]
    told.say("a line")
    assert told.said == ["a line"]


def test_it_stops_where_it_should_at_a_step_and_at_the_end_of_a_stage(tmp_path: Path, at_once: None) -> None:
    stopped = [False]

    def check() -> None:
        if stopped[0]:
            raise JobCancelled("Stop.")

    told = FileProgress(tmp_path / "plan.json", "plan", check, lambda _: None)
    with told.stage("one") as advance:
        advance()
    with pytest.raises(JobCancelled), told.stage("two") as advance:
        stopped[0] = True
        advance()
        raise AssertionError("went on")
    with pytest.raises(JobCancelled), told.stage("three"):
        pass


def test_many_steps_are_few_writes(tmp_path: Path) -> None:
    looks: list[None] = []
    told = FileProgress(tmp_path / "plan.json", "plan", lambda: looks.append(None), lambda _: None)
    with told.stage("Embedding", 1000, "photos") as advance:
        told._last += 3600
        for _ in range(1000):
            advance()
    assert looks == [None]


def test_a_full_disk_does_not_stop_the_work(
    tmp_path: Path, at_once: None, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    done: list[int] = []
    told = FileProgress(tmp_path / "plan.json", "plan", lambda: None, done.append)
    with full_disk(), told.stage("Embedding", 5, "photos") as advance:
        advance(5)
    assert done == [5]
    assert list(tmp_path.iterdir()) == []
