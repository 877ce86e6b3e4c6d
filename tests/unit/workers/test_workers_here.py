"""A job done in this process: without Redis, without workers, or together with those that come by."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.errors import GalleryError, JobError
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings
from schemas.jobs import IngestJob
from schemas.tasks import UnitMessage
from workers import here as here_module
from workers.here import do_here
from workers.jobs import JobFolder, create_job, list_jobs
from workers.runner import run_unit

Make = Callable[..., JobFolder]


@pytest.fixture
def alone(settings: Settings, context: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings without a Redis; what is done here is done with the pictures and the memory of the test."""
    monkeypatch.setattr(here_module, "Context", lambda _: context)
    return settings.model_copy(update={"broker": Settings().broker})


@pytest.fixture
def wish(photos: Path, gallery: Gallery) -> IngestJob:
    return IngestJob(sources=(str(photos),), gallery=str(gallery.root))


def test_a_job_is_done_to_its_end(alone: Settings, context: Any, wish: IngestJob) -> None:
    job = do_here(wish, alone, SilentProgress())
    status = job.status()
    assert status.state == "done" and status.report is not None
    assert (status.report["index"]["photos"], context.encoded) == (8, 8)
    assert job.folder.names("leases") == set()


def test_one_that_is_at_work_already_is_refused(alone: Settings, workspace: Path, wish: IngestJob) -> None:
    other = create_job(workspace, wish)
    with pytest.raises(JobError, match=other.id):
        do_here(wish, alone, SilentProgress())
    assert len(list_jobs(workspace)) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GalleryError("It is gone.")])
def test_one_that_is_stopped_counts_as_cancelled_and_can_be_asked_again(
    alone: Settings, context: Any, workspace: Path, wish: IngestJob, gallery: Gallery, error: BaseException
) -> None:
    def stop(_: Any) -> None:
        if context.encoded >= 3:
            raise error

    context.on_batch = stop
    with pytest.raises(type(error)):
        do_here(wish, alone, SilentProgress())
    (stopped,) = list_jobs(workspace)
    assert stopped.is_cancelled and not stopped.is_open
    context.on_batch = lambda _: None
    assert do_here(wish, alone, SilentProgress()).status().state == "done"
    # What was embedded before it was stopped was not embedded again.
    assert context.encoded == 8 and len(read_known(gallery.shard_folder)) == 8


def test_workers_that_see_the_job_help_and_nobody_fails(
    alone: Settings, context: Any, workspace: Path, wish: IngestJob, gallery: Gallery, wait_for: Callable[..., Any]
) -> None:
    """Beat hands every open job out: a worker may have a unit in hand that this process wanted."""
    met, go_on = threading.Event(), threading.Event()

    def hold_up(_: Any) -> None:
        if threading.current_thread().name == "worker":
            met.set()
            assert go_on.wait(60)

    def work() -> None:
        (job,) = wait_for(lambda: [one for one in list_jobs(workspace) if "plan" in one.names("done")], "a plan")
        run_unit(UnitMessage(job=job.id, unit="embed-000002"), context)

    def first(batch: Any) -> None:
        # The process itself waits in its first chunk until the worker is in its own.
        if threading.current_thread().name != "worker":
            assert met.wait(60)
            threading.Timer(1.0, go_on.set).start()
        hold_up(batch)

    context.on_batch = first
    worker = threading.Thread(target=work, name="worker")
    worker.start()
    job = do_here(wish, alone, SilentProgress())
    worker.join()
    assert job.status().state == "done"
    assert context.encoded == 8 and len(read_known(gallery.shard_folder)) == 8


def test_one_that_is_cancelled_from_elsewhere_stops(
    alone: Settings, context: Any, workspace: Path, wish: IngestJob
) -> None:
    context.on_batch = lambda _: list_jobs(workspace)[0].end("cancel", {})
    assert do_here(wish, alone, SilentProgress()).status().state == "cancelled"
    assert context.encoded == 3
