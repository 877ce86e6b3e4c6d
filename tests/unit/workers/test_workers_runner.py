"""A unit is done once, its failures are counted and told, and whatever stops it, the job goes on to the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_known
from sbka_milvus.errors import GalleryBusy, OutputError, StoreUnavailable
from schemas.tasks import UnitMessage
from workers.jobs import JobFolder
from workers.leases import hold, is_held
from workers.runner import run_unit
from workers.status import JobWatcher
from workers.steps import Plan, missing_units
from workers.tries import MAX_DEATHS, deaths

Make = Callable[..., JobFolder]


def rest(job: JobFolder) -> None:
    """As if the time until the next try were over."""
    for unit in job.names("tries"):
        job.write("tries", unit, (job.read("tries", unit) or {}) | {"not_before": 0.0})


def raising(error: BaseException) -> Callable[[Any], None]:
    def on_batch(_: Any) -> None:
        raise error

    return on_batch


def test_an_ingest_goes_from_plan_to_a_served_version(context: Any, ingest: Make, gallery: Gallery) -> None:
    job = ingest()
    ran = context.finish(job)
    assert ran == ["plan", "embed-000000", "embed-000001", "embed-000002", "index"]
    report = job.ending("report")
    assert report is not None
    assert (report["embed"]["found"], report["embed"]["embedded"], report["embed"]["unchanged"]) == (8, 8, 0)
    assert (report["index"]["photos"], report["index"]["version"]) == (8, 1)
    assert context.memory.count(context.memory.served("cats")) == 8
    assert len(list_shards(gallery.shard_folder)) == 3
    assert job.names("leases") == job.names("tries") == job.names("progress") == job.names("queued") == set()


def test_a_second_ingest_embeds_only_what_is_new(
    context: Any, ingest: Make, photos: Path, draw_photo: Callable[..., Path]
) -> None:
    context.finish(ingest())
    draw_photo(photos / "new.png", 99)
    job = ingest()
    assert context.finish(job) == ["plan", "embed-000000", "index"]
    assert context.encoded == 9
    job = ingest()
    assert context.finish(job) == ["plan", "index"]
    report = job.ending("report")
    assert report is not None and report["index"]["rebuilt"] is False


def test_a_message_that_comes_twice_is_done_once(context: Any, ingest: Make) -> None:
    job = ingest()
    for unit in ("plan", "embed-000000", "embed-000000", "plan", "index", "embed-000009", "gate"):
        context.do(job, unit)
    assert job.names("done") == {"plan", "embed-000000"}
    assert context.encoded == 3


def test_a_unit_in_other_hands_is_left_to_them(context: Any, ingest: Make) -> None:
    job = ingest()
    job.write("queued", "plan", {"at": 1.0})
    with hold(job.path("leases", "plan"), 30.0) as lease:
        context.do(job, "plan")
        lease.require()
    assert job.names("done") == job.names("tries") == job.names("queued") == set()
    context.do(job, "plan")
    assert job.names("done") == {"plan"}


def test_a_message_of_a_job_that_is_gone_is_dropped(
    context: Any, ingest: Make, remove: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = ingest()
    remove(job)
    context.do(job, "plan")
    assert "There is no job" in caplog.text
    assert not job.root.exists()


def test_a_damaged_job_is_dropped_too(context: Any, ingest: Make, caplog: pytest.LogCaptureFixture) -> None:
    job = ingest()
    (job.root / "job.json").write_text("{")
    context.do(job, "plan")
    assert "job.json does not fit" in caplog.text


def test_a_job_that_is_removed_while_a_unit_runs_stops_it(
    context: Any, ingest: Make, gallery: Gallery, remove: Any
) -> None:
    job = ingest()
    context.do(job, "plan")
    context.on_batch = lambda _: remove(job) if job.exists else None
    context.do(job, "embed-000000")
    assert not job.exists and not job.is_open
    assert job.names("done") == job.names("tries") == job.names("queued") == set()
    # The shard is whole or not there at all.
    assert len(read_known(gallery.shard_folder)) in (0, 3)


def test_cancelling_stops_a_unit_that_runs_and_a_retry_goes_on(context: Any, ingest: Make, gallery: Gallery) -> None:
    job = ingest()
    context.do(job, "plan")
    context.do(job, "embed-000000")
    context.on_batch = lambda _: job.end("cancel", {})
    context.do(job, "embed-000001")
    assert job.names("done") == {"plan", "embed-000000"}
    assert job.names("tries") == set()
    assert len(read_known(gallery.shard_folder)) == 3
    context.do(job, "embed-000002")
    assert context.encoded == 3 + 3
    job.reopen()
    context.on_batch = lambda _: None
    assert context.finish(job) == ["embed-000001", "embed-000002", "index"]


def test_who_was_taken_for_dead_writes_nothing_more(context: Any, ingest: Make, gallery: Gallery) -> None:
    job = ingest()
    context.do(job, "plan")

    def taken_over(_: Any) -> None:
        job.write("leases", "embed-000000", {"owner": "another", "place": "elsewhere"})
        job.write("tries", "embed-000000", {"starts": 2, "ends": 0, "failures": 0, "waits": 0})

    context.on_batch = taken_over
    context.do(job, "embed-000000")
    assert "embed-000000" not in job.names("done")
    # What the other one counts is left to it.
    assert (job.read("tries", "embed-000000") or {})["starts"] == 2
    assert is_held(job.path("leases", "embed-000000"), 30.0)


def test_who_was_taken_for_dead_at_the_very_end_does_not_say_that_it_is_done(context: Any, ingest: Make) -> None:
    job = ingest()
    for unit in ("plan", "embed-000000", "embed-000001", "embed-000002"):
        context.do(job, unit)
    promote = context.memory.promote

    def taken_over(info: Any) -> None:
        promote(info)
        job.write("leases", "index", {"owner": "another", "place": "elsewhere"})

    context.memory.promote = taken_over
    context.do(job, "index")
    assert "index" not in job.names("done") and job.is_open
    context.memory.promote = promote
    job.remove("leases", "index")
    # Whoever has it now finds that there is nothing left to do.
    assert context.finish(job) == ["index"]
    report = job.ending("report")
    assert report is not None and report["index"]["rebuilt"] is False


@pytest.mark.parametrize("error", [StoreUnavailable("Milvus is away."), GalleryBusy("Somebody indexes.")])
def test_what_is_away_is_waited_for_as_long_as_it_takes(context: Any, ingest: Make, error: Exception) -> None:
    job = ingest()
    for unit in ("plan", "embed-000000", "embed-000001", "embed-000002"):
        context.do(job, unit)

    def away() -> None:
        raise error

    context.on_store = away
    waits = []
    for _ in range(12):
        context.do(job, "index")
        tries = job.read("tries", "index") or {}
        waits.append(tries["not_before"])
        assert job.is_open
    assert tries["waits"] == 12 and tries["failures"] == 0
    status = JobWatcher(job, 30.0).status()
    assert status.state == "waiting" and str(error) in status.message and status.tries == 12
    context.on_store = lambda: None
    rest(job)
    assert context.finish(job) == ["index"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OutputError("The disk is full.", "Make room."), "The disk is full. Make room."),
        (RuntimeError("boom"), "RuntimeError: boom"),
        (MemoryError(), "MemoryError"),
        (SoftTimeLimitExceeded(), "took longer than its time limit"),
    ],
)
def test_what_may_pass_is_tried_some_times_and_then_ends_the_job(
    context: Any, ingest: Make, error: Exception, says: str
) -> None:
    job = ingest()
    context.do(job, "plan")
    context.on_batch = raising(error)
    rests = []
    for number in range(context.settings.worker.max_tries):
        assert job.is_open, number
        context.do(job, "embed-000001")
        rests.append((job.read("tries", "embed-000001") or {})["not_before"])
    failed = job.ending("failed")
    assert (
        failed is not None and failed["unit"] == "embed-000001" and says in failed["problem"] + " " + failed["remedy"]
    )
    assert rests == sorted(rests)
    assert JobWatcher(job, 30.0).status().state == "failed"
    assert says in JobWatcher(job, 30.0).status().message
    # A retry begins to count anew, and keeps what was done.
    job.reopen()
    context.on_batch = lambda _: None
    context.finish(job)
    assert JobWatcher(job, 30.0).status().state == "done"


def test_an_error_that_will_not_go_away_ends_the_job_at_once(
    context: Any, ingest: Make, photos: Path, tmp_path: Path
) -> None:
    job = ingest()
    photos.rename(tmp_path / "elsewhere")
    context.do(job, "plan")
    failed = job.ending("failed")
    assert failed is not None and failed["type"] == "ImageError" and str(photos) in failed["problem"]
    (tmp_path / "elsewhere").rename(photos)
    job.reopen()
    context.finish(job)


def test_a_worker_that_dies_counts_and_too_many_deaths_end_the_job(
    context: Any, ingest: Make, killed: type[BaseException]
) -> None:
    job = ingest()
    context.do(job, "plan")
    context.on_batch = raising(killed())
    for number in range(MAX_DEATHS + 1):
        assert job.is_open, number
        with pytest.raises(killed):
            context.do(job, "embed-000000")
        # Every photo is a suspect by turns, so none of them is convicted.
        job.remove("suspects", "embed-000000")
    context.do(job, "embed-000000")
    failed = job.ending("failed")
    assert failed is not None
    assert f"workers died over embed-000000 of {job.id}" in failed["problem"] and "jobs retry" in failed["remedy"]
    job.reopen()
    context.on_batch = lambda _: None
    context.finish(job)


def test_deaths_before_a_success_are_forgotten(context: Any, ingest: Make, killed: type[BaseException]) -> None:
    job = ingest()
    context.do(job, "plan")
    context.on_batch = raising(killed())
    for _ in range(2):
        with pytest.raises(killed):
            context.do(job, "embed-000000")
    assert (job.read("tries", "embed-000000") or {})["starts"] == 2
    context.on_batch = lambda _: None
    context.do(job, "embed-000000")
    assert job.names("tries") == set() and deaths(job, "embed-000000") == 0


def test_a_full_disk_ends_nothing_and_loses_nothing(
    context: Any, ingest: Make, gallery: Gallery, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    job = ingest()
    context.do(job, "plan")
    with full_disk():
        for _ in range(10):
            context.do(job, "embed-000000")
            context.do(job, "embed-000001")
    assert job.is_open and job.names("done") == {"plan"}
    assert list_shards(gallery.shard_folder) == []
    rest(job)
    context.finish(job)
    assert len(read_known(gallery.shard_folder)) == 8


def test_a_chunk_whose_worker_died_before_it_could_say_so_is_done_again(
    context: Any, ingest: Make, gallery: Gallery
) -> None:
    job = ingest()
    context.do(job, "plan")
    context.do(job, "embed-000000")
    job.remove("done", "embed-000000")
    assert context.finish(job) == ["embed-000000", "embed-000001", "embed-000002", "index"]
    # The same shard was written twice.
    assert len(list_shards(gallery.shard_folder)) == 3
    assert len(read_known(gallery.shard_folder)) == 8


def test_a_shard_that_vanished_is_embedded_again(context: Any, ingest: Make, gallery: Gallery) -> None:
    job = ingest()
    for unit in ("plan", "embed-000000", "embed-000001", "embed-000002"):
        context.do(job, unit)
    watcher = JobWatcher(job, 30.0)
    assert watcher.status().total == 8
    list_shards(gallery.shard_folder)[1].unlink()
    context.do(job, "index")
    assert missing_units(job) == ["embed-000001"]
    assert watcher.status().done == 5
    assert context.finish(job) == ["embed-000001", "index"]
    assert context.memory.count(context.memory.served("cats")) == 8


@pytest.mark.parametrize("content", ["", "{}", '{"fingerprint": "grid-1"}', "[]"])
def test_a_damaged_plan_is_made_anew_and_no_photo_is_lost(
    context: Any, ingest: Make, gallery: Gallery, content: str
) -> None:
    job = ingest()
    context.do(job, "plan")
    context.do(job, "embed-000001")
    job.path("done", "plan").write_text(content)
    assert JobWatcher(job, 30.0).status().state == "waiting"
    assert missing_units(job) == ["plan"]
    ran = context.finish(job)
    # The new plan gives numbers that were not given to chunks that are done.
    assert ran == ["plan", "embed-000002", "embed-000003", "index"]
    assert len(read_known(gallery.shard_folder)) == 8
    assert context.memory.count(context.memory.served("cats")) == 8


def test_files_that_are_no_photos_are_listed_with_the_gallery(
    context: Any, ingest: Make, photos: Path, gallery: Gallery
) -> None:
    (photos / "bad.png").write_bytes(b"no photo")
    (photos / "link.png").symlink_to(photos / "nowhere.png")
    job = ingest()
    context.finish(job)
    assert {Path(file.uri).name for file in read_quarantine(gallery.quarantine_file)} == {"bad.png", "link.png"}
    report = job.ending("report")
    assert report is not None and len(report["embed"]["quarantined"]) == 2
    assert JobWatcher(job, 30.0).status().quarantined == 2
    (photos / "bad.png").unlink()
    (photos / "link.png").unlink()
    context.finish(ingest())
    assert read_quarantine(gallery.quarantine_file) == []


def test_an_ingest_whose_gallery_was_switched_meanwhile_is_planned_again(
    context: Any, ingest: Make, upgrade: Make, gallery: Gallery, photos: Path, draw_photo: Callable[..., Path]
) -> None:
    context.finish(ingest())
    draw_photo(photos / "late.png", 50)
    late = ingest()
    context.do(late, "plan")
    context.do(late, "embed-000000")
    assert "late.png" in str(list(read_known(gallery.shard_folder)))
    # The upgrade was built without it, and is switched before the ingest gets to its index.
    switched = upgrade()
    context.finish(switched)
    assert Gallery.open(gallery.root).fingerprint == "grid-two"
    draw_photo(photos / "later.png", 51)
    ran = context.finish(late)
    assert ran[:2] == ["index", "plan"] and ran[-1] == "index"
    served = context.memory.served("cats")
    assert served.fingerprint == "grid-two"
    embeddings = read_embeddings(gallery.for_model("grid-two").shard_folder, "grid-two")
    assert embeddings is not None and len(embeddings) == context.memory.count(served) == 10
    plan = Plan.read(late)
    assert plan is not None and plan.first == 1


def test_work_is_told_while_it_runs(context: Any, ingest: Make) -> None:
    job = ingest()
    context.do(job, "plan")
    seen = []

    def look(_: Any) -> None:
        status = JobWatcher(job, 30.0).status()
        seen.append((status.state, status.stage, status.done, status.total, [unit.unit for unit in status.units]))

    context.on_batch = look
    context.do(job, "embed-000000")
    assert seen == [("running", "embed", 0, 8, ["embed-000000"])]
    status = JobWatcher(job, 30.0).status()
    assert (status.state, status.stage, status.done, status.total) == ("waiting", "embed", 3, 8)


def test_two_workers_at_once_do_everything_once(context: Any, ingest: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    job = ingest()
    context.do(job, "plan")
    units = [unit for unit in missing_units(job) for _ in range(2)]

    def work(mine: list[str]) -> None:
        for unit in mine:
            run_unit(UnitMessage(job=job.id, unit=unit), context)

    threads = [threading.Thread(target=work, args=(units[half:] + units[:half],)) for half in (0, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert context.encoded == 8
    assert context.finish(job) == ["index"]
