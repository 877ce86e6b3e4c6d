"""What is missing is sent about once, within the window, to the Redis that is there; the workspace decides."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.errors import BrokerUnavailable
from sbka_milvus.settings import Settings
from schemas.jobs import IngestJob, TrainJob
from schemas.tasks import UnitMessage
from workers.broker import connect_url
from workers.jobs import JobFolder, create_job
from workers.leases import hold
from workers.queueing import Sender
from workers.reconcile import reconcile_all, reconcile_job
from workers.steps import Plan

Make = Callable[..., JobFolder]
Waiting = Callable[..., list[tuple[str, str, str]]]
LONG_AGO = 100.0


def planned(workspace: Path, chunks: int) -> JobFolder:
    """A job whose photos are listed."""
    job = create_job(workspace, IngestJob(sources=("/photos",), gallery="/gallery"))
    plan = Plan("grid-1", 0, (1,) * chunks, 1, chunks, 0, {}, ())
    job.write("done", "plan", plan.to_dict())
    return job


def age(job: JobFolder, seconds: float = LONG_AGO) -> None:
    """As if everything had been sent a while ago."""
    for unit in job.names("queued"):
        marker = job.read("queued", unit) or {}
        job.write("queued", unit, marker | {"at": marker["at"] - seconds})


def empty(url: str) -> None:
    client = connect_url(url)
    client.flushall()
    client.close()


def test_looking_twice_sends_once(settings: Settings, ingest: Make, waiting: Waiting) -> None:
    job = ingest()
    assert reconcile_all(settings) == 1
    assert reconcile_all(settings) == reconcile_job(settings, job) == 0
    assert waiting() == [("control", "sbka.plan", "plan")]


def test_what_still_waits_is_not_sent_again_however_late_it_is(
    settings: Settings, workspace: Path, waiting: Waiting
) -> None:
    job = planned(workspace, 3)
    assert reconcile_all(settings) == 3
    age(job)
    assert reconcile_all(settings) == 0
    assert len(waiting()) == 3


def test_what_a_worker_took_and_dropped_is_sent_again(
    settings: Settings, workspace: Path, redis_url: str, waiting: Waiting
) -> None:
    job = planned(workspace, 3)
    assert reconcile_all(settings) == 3
    # Somebody has taken all three from the queue: at first it is believed that they are at work.
    empty(redis_url)
    assert reconcile_all(settings) == 0
    age(job)
    assert reconcile_all(settings) == 3
    assert [unit for _, _, unit in waiting()] == ["embed-000000", "embed-000001", "embed-000002"]


def test_another_redis_gets_everything_again_at_once(
    settings: Settings, workspace: Path, redis_server: Callable[[], str], waiting: Waiting
) -> None:
    planned(workspace, 3)
    assert reconcile_all(settings) == 3
    fresh = redis_server()
    moved = settings.model_copy(
        update={"broker": Settings(broker={"url": fresh}).broker}  # type: ignore[arg-type]
    )
    assert reconcile_all(moved) == 3
    assert len(waiting(fresh)) == len(waiting()) == 3


def test_ten_thousand_chunks_do_not_fill_redis(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    job = planned(workspace, 10_000)
    assert reconcile_all(settings) == settings.worker.window == 64
    assert reconcile_all(settings) == 0
    assert len(waiting()) == len(job.names("queued")) == 64
    # As chunks are done the window moves on.
    for number in range(10):
        job.write("done", f"embed-{number:06d}", {"embedded": 1})
        job.remove("queued", f"embed-{number:06d}")
    assert reconcile_all(settings) == 10
    assert waiting()[-1] == ("embed", "sbka.embed", "embed-000073")


def test_what_somebody_is_at_is_not_sent(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    job = planned(workspace, 2)
    with hold(job.path("leases", "embed-000000"), settings.worker.lease_s):
        assert reconcile_all(settings) == 1
        assert waiting() == [("embed", "sbka.embed", "embed-000001")]
    assert reconcile_all(settings) == 1


def test_a_failed_unit_rests_before_its_next_try(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    job = planned(workspace, 1)
    job.write("tries", "embed-000000", {"not_before": time.time() + 60})
    assert reconcile_all(settings) == 0
    job.write("tries", "embed-000000", {"not_before": time.time() - 1})
    assert reconcile_all(settings) == 1
    assert len(waiting()) == 1


def test_a_redis_that_is_full_or_goes_away_loses_nothing(
    settings: Settings, workspace: Path, redis_url: str, waiting: Waiting, redis_server: Callable[[], str]
) -> None:
    job = planned(workspace, 2)
    client = connect_url(redis_url)
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(BrokerUnavailable, match="Nothing is lost"):
            reconcile_job(settings, job)
        assert reconcile_all(settings) == 0
    finally:
        client.config_set("maxmemory", "0")
    assert job.names("queued") == set()
    assert reconcile_all(settings) == 2

    gone = redis_server()
    moved = settings.model_copy(
        update={"broker": Settings(broker={"url": gone}).broker}  # type: ignore[arg-type]
    )
    sender = Sender(moved)
    other = connect_url(gone)
    other.shutdown(nosave=True)
    other.close()
    client.close()
    with pytest.raises(BrokerUnavailable):
        sender.advance(job)
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        reconcile_job(moved, job)
    assert reconcile_all(moved) == 0
    assert len(waiting()) == 2


def test_a_full_disk_sends_nothing_that_it_could_not_remember(
    settings: Settings, workspace: Path, waiting: Waiting, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    job, other = planned(workspace, 2), planned(workspace, 1)
    (job.root / "queued").write_text("a file where the folder should be")
    # One job in trouble holds up no other.
    assert reconcile_all(settings) == 1
    assert other.names("queued") == {"embed-000000"} and len(waiting()) == 1
    (job.root / "queued").unlink()
    with full_disk():
        assert reconcile_all(settings) == 0
    assert job.names("queued") == set() and len(waiting()) == 1
    assert reconcile_all(settings) == 2


def test_two_that_look_at_once_send_little_more_than_once(
    settings: Settings, workspace: Path, waiting: Waiting
) -> None:
    planned(workspace, 20)
    gate = threading.Barrier(2)

    def look() -> None:
        gate.wait()
        reconcile_all(settings)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    units = [unit for _, _, unit in waiting()]
    assert set(units) == {f"embed-{number:06d}" for number in range(20)}
    assert len(units) <= 40
    assert reconcile_all(settings) == 0


def test_a_damaged_job_holds_up_no_other(
    settings: Settings, workspace: Path, waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    broken, job = planned(workspace, 1), planned(workspace, 1)
    (broken.root / "job.json").write_text("{")
    assert reconcile_all(settings) == 1
    assert broken.id in caplog.text
    assert job.names("queued") == {"embed-000000"} and len(waiting()) == 1


def test_a_job_of_which_nothing_is_missing_ends_without_redis(workspace: Path) -> None:
    job = planned(workspace, 1)
    job.write("done", "embed-000000", {"embedded": 1, "seconds": 2.0, "quarantined": []})
    job.write("done", "index", {"version": 3, "photos": 1})
    assert reconcile_all(Settings(workspace=workspace)) == 0
    report = job.ending("report")
    assert report is not None
    assert (report["state"], report["index"]["version"], report["embed"]["embedded"]) == ("done", 3, 1)
    assert report["embed"]["worker_seconds"] == 2.0


def test_a_cancelled_or_ended_job_gets_nothing(settings: Settings, ingest: Make, waiting: Waiting) -> None:
    for name in ("cancel", "failed", "report"):
        job = ingest()
        job.end(name, {})
        assert reconcile_job(settings, job) == 0
    assert reconcile_all(settings) == 0
    assert waiting() == []


def test_a_training_goes_to_its_queue(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    create_job(workspace, TrainJob(photos="/p", sketches="/s", out="/m", backbone="timm:x"))
    assert reconcile_all(settings) == 1
    assert waiting() == [("train", "sbka.train", "train")]


def test_a_message_is_two_short_texts(settings: Settings, ingest: Make, redis_url: str) -> None:
    job = ingest()
    reconcile_all(settings)
    client = connect_url(redis_url)
    raw: Any = client.lindex("control", 0)
    client.close()
    envelope = json.loads(raw)
    assert envelope["content-type"] == "application/json"
    body = json.loads(base64.b64decode(envelope["body"]))
    assert body[:2] == [[], {"job": job.id, "unit": "plan"}]
    assert UnitMessage.model_validate(body[1]).job == job.id
    # Lists of photos never go through Redis.
    assert b"photos" not in base64.b64decode(envelope["body"])
