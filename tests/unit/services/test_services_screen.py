"""The screen of ``sbka up``, and what a worker is given before it starts."""

from __future__ import annotations

import io
import os
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from sbka_milvus.cli.up_screen import Screen, render
from sbka_milvus.errors import SettingsError
from schemas.reports import JobStatus
from workers.pools import choose_pool
from workers.roster import WorkerView
from workers.services.scene import Scene
from workers.services.supervisor import ChildView, State
from workers.serving import require_queues, set_threads
from workers.vitals import WorkerState, WorkState


def scene() -> Scene:
    now = time.time()
    worker = WorkerState("embed-1", "h", 1, ("embed",), "solo", now, now, 1 << 20, True)
    work = WorkState(
        1, now, now, "ingest-1", "embed-000003", now - 65.0, 640, 12.5, 4, 2, "StoreUnavailable: gone", now
    )
    return Scene(
        children=(
            (ChildView("redis", State.RUNNING, 77, 125.0, 2, 0.0, None), 5 << 20),
            (ChildView("milvus", State.WAITING, 0, 0.0, 1, 4.0, 1), 0),
        ),
        workers=(
            WorkerView(worker, work),
            WorkerView(WorkerState("far", "x", 1, ("train",), "solo", now), None, "not heard of for 200 s"),
            WorkerView(WorkerState("dry", "x", 1, ("index",), "solo", now), None),
        ),
        depths={"train": 0, "embed": 7, "index": 0, "control": 0},
        jobs=(
            JobStatus(
                id="ingest-1",
                kind="ingest",
                state="running",
                created=datetime.now(UTC),
                subject="/g",
                stage="embed",
                done=640,
                total=1000,
                rate=12.5,
                eta_s=29.0,
            ),
        ),
    )


def drawn(value: object) -> list[str]:
    console = Console(file=io.StringIO(), width=160)
    console.print(value)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_all_that_matters_is_on_the_screen() -> None:
    lines = drawn(render(scene()))
    assert "redis running 77 2 min 05 s 2 5 MiB" in lines
    assert "milvus starts again in 4 s 1" in lines
    assert "embed-1 ingest-1 embed-000003 1 min 05 s 12.5 4 2 StoreUnavailable: gone" in lines
    assert "far lost: not heard of for 200 s" in lines
    assert "dry waits for Redis" in lines
    assert "waiting: train 0 embed 7 index 0 control 0" in lines
    assert "ingest-1 running embed 640/1000 12.5 29 s /g" in lines


def test_a_redis_that_is_gone_is_said() -> None:
    shown = scene()
    lines = drawn(render(Scene(shown.children, shown.workers, None, ())))
    assert "Redis does not answer; work goes on when it does." in lines
    assert not any(line.startswith("waiting:") for line in lines)


def test_nothing_is_read_or_drawn_where_there_is_no_terminal() -> None:
    def read() -> Scene:
        raise AssertionError("read in vain")

    console = Console(file=io.StringIO())
    with Screen(console) as screen:
        screen.show(read, every_s=0.0)
    assert isinstance(console.file, io.StringIO) and console.file.getvalue() == ""


@pytest.mark.parametrize(
    ("wanted", "device", "queues", "pool"),
    [
        ("auto", "cpu", ["embed"], "prefork"),
        ("auto", "cuda:1", ["embed", "index"], "solo"),
        ("auto", "cuda", ["index", "control"], "prefork"),
        ("prefork", "cuda", ["train"], "prefork"),
        ("solo", "cpu", ["control"], "solo"),
    ],
)
def test_the_pool_fits_the_device(wanted: str, device: str, queues: list[str], pool: str) -> None:
    assert choose_pool(wanted, device, queues) == pool


@pytest.mark.parametrize("text", ["", " , ", "embed,paint", "Embed"])
def test_unknown_queues_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="train, embed, index, control"):
        require_queues(text)


def test_threads_are_limited_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "7")
    set_threads(0)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    set_threads(3)
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "3"
