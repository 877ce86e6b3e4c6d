"""A policy becomes a job, and every job leaves a true record, also where its worker could not write it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import BrokerUnavailable, DatasetError, GalleryError, JobError
from sbka_milvus.pipelines.retraining import (
    GatePolicy,
    RetrainingPolicy,
    begin_retraining,
    read_retrainings,
    register,
)
from sbka_milvus.settings import Settings
from sbka_milvus.training.options import TrainingOptions
from workers.due import start_due_retrainings
from workers.ending import finish_if_done
from workers.jobs import JobFolder, job_root, list_jobs, new_job_id
from workers.retraining import how_it_ended
from workers.submit import Job, submit_retrain

Waiting = Callable[..., list[tuple[str, str, str]]]


@pytest.fixture
def policy(tmp_path: Path, gallery: Gallery, draw_photo: Callable[[Path, int], Path]) -> RetrainingPolicy:
    for kind in ("train-photos", "sketches"):
        for number, category in enumerate(("cat", "dog", "hen", "owl")):
            draw_photo(tmp_path / kind / category / "1.png", number)
    made = RetrainingPolicy.make(
        photos=tmp_path / "train-photos",
        sketches=tmp_path / "sketches",
        backbone="timm:test_resnet",
        options={"epochs": 2},
        gate={"max_loss": 0.5, "min_agreement": 0.1, "force": True},
    )
    made.save(gallery.root)
    return made


def only_record(gallery: Gallery) -> Any:
    (record,) = read_retrainings(gallery)
    return record


def end_well(job: Job, state: str = "done") -> None:
    """As if all its units had been done."""
    plan: dict[str, Any] = {
        "fingerprint": "new", "first": 0, "counts": [], "base": 1, "found": 0, "unchanged": 0, "problems": {},
        "listed": [],
    }  # fmt: skip
    gate = {"passed": state == "done", "reason": "By the figures.", "measure": "mAP@all"}
    train = {"fingerprint": "new", "validation_map": 0.5, "model": "/m"}
    done: dict[str, dict[str, Any]] = {"plan": plan, "build": {}, "gate": gate, "train": train}
    if state == "done":
        done["switch"] = {"version": 2, "photos": 8}
    for unit, content in done.items():
        job.folder.write("done", unit, content)
    assert finish_if_done(job.folder)


def test_a_policy_becomes_a_job_with_all_it_says(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, waiting: Waiting, tmp_path: Path
) -> None:
    job = submit_retrain(gallery.root, "by hand", settings)
    request = job.folder.request
    assert (request.reason, request.gallery) == ("by hand", str(gallery.root))
    assert request.train.photos == str(tmp_path / "train-photos") and request.train.options.epochs == 2
    assert request.train.feedback == str(gallery.root)
    assert request.train.out == request.upgrade.model == str(job.folder.root / "model")
    gate = request.upgrade.gate
    assert (gate.max_loss, gate.min_agreement, gate.max_missing, gate.force) == (0.5, 0.1, 0.01, True)
    assert waiting() == [("train", "sbka.train", "train")]
    record = only_record(gallery)
    assert (record.job, record.status, record.reason) == (job.id, "running", "by hand")


@pytest.mark.parametrize("state", ["done", "refused"])
def test_how_it_went_stands_with_the_gallery(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, state: str
) -> None:
    job = submit_retrain(gallery.root, "by hand", settings)
    end_well(job, state)
    assert job.status().state == state
    record = only_record(gallery)
    assert (record.status, record.new_fingerprint, record.message) == (state, "new", "By the figures.")
    assert record.metrics == {"validation_map": 0.5} and record.gate["measure"] == "mAP@all"


def test_a_record_that_is_gone_keeps_no_job_open(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    job = submit_retrain(gallery.root, "by hand", settings)
    shutil.rmtree(gallery.root / "retrainings")
    end_well(job)
    assert job.status().state == "done" and "leaves no record" in caplog.text


def test_one_that_failed_bars_no_other_and_is_settled(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy
) -> None:
    job = submit_retrain(gallery.root, "first", settings)
    with pytest.raises(JobError, match=f"{job.id} is at this work already"):
        submit_retrain(gallery.root, "second", settings)
    job.folder.end("failed", {"unit": "train", "problem": "No memory.", "remedy": ""})
    other = submit_retrain(gallery.root, "second", settings)
    records = {record.job: record for record in read_retrainings(gallery)}
    assert (records[job.id].status, records[job.id].message) == ("failed", "No memory.")
    assert records[other.id].status == "running"


def test_one_that_failed_and_was_tried_again_is_done_after_all(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, workspace: Path
) -> None:
    register(workspace, gallery)
    job = submit_retrain(gallery.root, "by hand", settings)
    job.folder.end("failed", {"unit": "train", "problem": "No memory.", "remedy": ""})
    start_due_retrainings(settings)
    assert only_record(gallery).status == "failed"
    job.retry()
    end_well(job)
    assert only_record(gallery).status == "done"


def test_one_that_could_not_begin_leaves_neither_a_job_nor_a_record(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, workspace: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.npz"
    words.write_bytes(b"not opened")
    taught = policy.model_copy(update={"semantics": words})
    taught.save(gallery.root)
    submit_retrain(gallery.root, "by hand", settings).cancel()
    words.unlink()
    with pytest.raises(DatasetError, match=r"words\.npz does not exist"):
        submit_retrain(gallery.root, "again", settings)
    taught.model_copy(update={"semantics": None, "options": TrainingOptions(validation_share=0.9)}).save(gallery.root)
    with pytest.raises(DatasetError, match="4 seen categories are too few"):
        submit_retrain(gallery.root, "again", settings)
    taught.model_copy(update={"semantics": None, "gate": GatePolicy(held_out=tmp_path / "nowhere")}).save(gallery.root)
    with pytest.raises(DatasetError, match="nowhere"):
        submit_retrain(gallery.root, "again", settings)
    assert len(list_jobs(workspace)) == len(read_retrainings(gallery)) == 1


def test_a_gallery_without_a_policy_or_redis_begins_nothing(
    settings: Settings, gallery: Gallery, workspace: Path, policy: RetrainingPolicy
) -> None:
    alone = settings.model_copy(update={"broker": Settings().broker})
    with pytest.raises(BrokerUnavailable):
        submit_retrain(gallery.root, "by hand", alone)
    (gallery.root / "retraining.json").unlink()
    with pytest.raises(GalleryError, match="sbka retrain set"):
        submit_retrain(gallery.root, "by hand", settings)
    assert list_jobs(workspace) == [] and read_retrainings(gallery) == []


def test_beat_starts_what_is_due_once(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, workspace: Path, waiting: Waiting, tmp_path: Path
) -> None:
    broken = Gallery.create_or_open(tmp_path / "broken", "grid-1")
    register(workspace, broken)
    (broken.root / "gallery.json").write_text("{")
    register(workspace, gallery)
    assert start_due_retrainings(settings) == []
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    policy.model_copy(update={"every_hours": 1.0, "since": long_ago}).save(gallery.root)
    alone = settings.model_copy(update={"broker": Settings().broker})
    assert start_due_retrainings(alone) == []
    # One gallery that is damaged keeps no other waiting.
    (started,) = start_due_retrainings(settings)
    assert "schedule" in only_record(gallery).reason and only_record(gallery).job == started
    assert start_due_retrainings(settings) == []
    assert waiting() == [("train", "sbka.train", "train")]


def test_how_a_job_ended_is_read_from_its_folder(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, workspace: Path, remove: Any
) -> None:
    job = submit_retrain(gallery.root, "by hand", settings)
    assert how_it_ended(workspace, job.id) is None
    job.cancel()
    assert how_it_ended(workspace, job.id) == ("cancelled", "It was cancelled.")
    job.folder.reopen()
    job.folder.end("report", {"state": "refused"})
    assert how_it_ended(workspace, job.id) == ("refused", "")
    # The record comes before the job: a young one may be about to begin, though a worker left something there.
    remove(job.folder)
    assert how_it_ended(workspace, job.id) is None
    old = "retrain-20200101-000000-abcdef"
    JobFolder(job_root(workspace) / old).write("progress", "train", {})
    assert how_it_ended(workspace, old) == ("failed", "Its job is not there any more.")


def test_a_job_that_never_came_to_be_is_settled(
    settings: Settings, gallery: Gallery, policy: RetrainingPolicy, workspace: Path
) -> None:
    old = "retrain-20200101-000000-abcdef"
    begin_retraining(gallery, policy, old, "killed at once", datetime(2020, 1, 1, tzinfo=UTC))
    job = submit_retrain(gallery.root, "again", settings)
    assert [(record.job, record.status) for record in read_retrainings(gallery)] == [
        (old, "failed"),
        (job.id, "running"),
    ]
    assert new_job_id("retrain") != new_job_id("retrain")
