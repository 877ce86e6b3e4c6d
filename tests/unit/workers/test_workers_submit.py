"""Asking for work: what cannot begin is refused before anybody waits for it, and what was accepted is there."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import (
    BrokerUnavailable,
    BundleError,
    DatasetError,
    GalleryError,
    ImageError,
    JobError,
    OutputError,
    SbkaError,
    SettingsError,
)
from sbka_milvus.settings import Settings
from schemas.jobs import IngestJob, TrainJob, UpgradeJob
from workers import submit as submit_module
from workers.jobs import create_job, list_jobs
from workers.submit import ENDED, Job, submit, submit_ingest, submit_train, submit_upgrade

Waiting = Callable[..., list[tuple[str, str, str]]]
WISH = IngestJob(sources=("/photos",), gallery="/gallery")


@pytest.fixture
def data(tmp_path: Path, draw_photo: Callable[[Path, int], Path]) -> dict[str, Any]:
    """Four categories of photos and sketches, and a training of them."""
    for kind in ("p", "s"):
        for number, category in enumerate(("cat", "dog", "hen", "owl")):
            draw_photo(tmp_path / kind / category / "1.png", number)
    return {
        "photos": tmp_path / "p", "sketches": tmp_path / "s", "out": tmp_path / "model",
        "backbone": "timm:test_resnet",
    }  # fmt: skip


def test_a_wish_is_written_down_and_handed_out(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    job = submit(WISH, settings)
    assert [found.id for found in list_jobs(workspace)] == [job.id]
    assert waiting() == [("control", "sbka.plan", "plan")]
    assert job.status().state == "waiting" and job.status().state not in ENDED
    assert Job.open(job.id[:-3], settings).id == job.id
    assert [one.id for one in Job.list(settings)] == [job.id]


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0"])
def test_without_redis_nothing_is_written_down(settings: Settings, workspace: Path, url: str) -> None:
    alone = settings.model_copy(update={"broker": Settings(broker={"url": url}).broker})  # type: ignore[arg-type]
    with pytest.raises(BrokerUnavailable, match="sbka up"):
        submit(WISH, alone)
    assert not workspace.exists()


def test_a_redis_that_goes_away_in_between_loses_nothing(
    settings: Settings, workspace: Path, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> int:
        raise BrokerUnavailable("It went away.")

    with monkeypatch.context() as patch:
        patch.setattr(submit_module, "reconcile_job", gone)
        job = submit(WISH, settings)
    assert job.folder.is_open and waiting() == []
    from workers.reconcile import reconcile_all

    assert reconcile_all(settings) == 1


def test_a_full_disk_accepts_nothing(
    settings: Settings, workspace: Path, waiting: Waiting, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    with full_disk(), pytest.raises(OutputError):
        submit(WISH, settings)
    assert list_jobs(workspace) == [] and waiting() == []
    shutil.rmtree(workspace / "jobs")
    (workspace / "jobs").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="SBKA_WORKSPACE"):
        submit(WISH, settings)


def test_the_same_work_is_not_begun_twice(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    job = submit(WISH, settings)
    with pytest.raises(JobError, match=f"{job.id} is at this work already"):
        submit(WISH, settings)
    submit(IngestJob(sources=("/other",), gallery="/gallery"), settings)
    job.cancel()
    submit(WISH, settings)
    assert len(list_jobs(workspace)) == 3


def test_of_two_that_ask_at_once_one_is_refused(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    gate = threading.Barrier(4)
    refused: list[str] = []

    def ask() -> None:
        gate.wait()
        try:
            submit(WISH, settings)
        except JobError as error:
            refused.append(error.problem)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = list_jobs(workspace)
    assert refused == [f"The job {job.id} is at this work already."] * 3


def test_what_counts_as_the_same_work(settings: Settings, waiting: Waiting) -> None:
    train = TrainJob(photos="/p", sketches="/s", out="/m", backbone="timm:x")
    submit(train, settings)
    with pytest.raises(JobError):
        submit(train.model_copy(update={"photos": "/other"}), settings)
    submit(train.model_copy(update={"out": "/n"}), settings)
    submit(UpgradeJob(gallery="/g", model="/a"), settings)
    with pytest.raises(JobError):
        submit(UpgradeJob(gallery="/g", model="/b"), settings)
    submit(UpgradeJob(gallery="/h", model="/b"), settings)


def test_a_damaged_job_bars_the_way_to_nothing(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    broken = create_job(workspace, WISH)
    (broken.root / "job.json").write_text("{")
    job = submit(WISH, settings)
    assert waiting()[-1] == ("control", "sbka.plan", "plan") and job.id != broken.id


def test_a_job_is_cancelled_and_tried_again(settings: Settings, workspace: Path, waiting: Waiting) -> None:
    job = submit(WISH, settings)
    with pytest.raises(JobError, match="is waiting"):
        job.retry()
    job.cancel()
    assert job.status().state == "cancelled"
    with pytest.raises(JobError, match="has ended: cancelled"):
        job.cancel()
    job.retry()
    assert job.status().state == "waiting" and len(waiting()) == 2
    for ending, state in (("failed", "failed"), ("report", "done")):
        other = Job(create_job(workspace, WISH), settings)
        other.folder.end(ending, {"state": "done"})
        assert other.status().state == state
        with pytest.raises(JobError, match="has ended"):
            other.cancel()
    with pytest.raises(JobError, match=r"is done\. Only a failed or cancelled job"):
        other.retry()


def test_a_retry_without_redis_changes_nothing(settings: Settings, workspace: Path) -> None:
    alone = settings.model_copy(
        update={"broker": Settings(broker={"url": "redis://127.0.0.1:1/0"}).broker}  # type: ignore[arg-type]
    )
    job = Job(create_job(workspace, WISH), alone)
    job.cancel()
    with pytest.raises(BrokerUnavailable):
        job.retry()
    assert job.status().state == "cancelled"


def test_waiting_ends_with_the_job_or_with_patience(settings: Settings, workspace: Path) -> None:
    job = Job(create_job(workspace, WISH), settings)
    with pytest.raises(JobError, match=r"has not ended within 0\.05 s; it goes on"):
        job.wait(timeout_s=0.05, every_s=0.01)
    seen: list[str] = []

    def end_soon(status: Any) -> None:
        seen.append(status.state)
        if len(seen) == 3:
            job.folder.end("report", {"state": "done"})

    assert job.wait(60, end_soon, every_s=0.01).state == "done"
    assert seen == ["waiting"] * 3 + ["done"]


def test_an_ingest_takes_paths_as_they_are_given(
    settings: Settings,
    tmp_path: Path,
    photos: Path,
    gallery: Gallery,
    waiting: Waiting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    job = submit_ingest(["photos", "link/*.png"], "gallery", n_clusters=3, matching="fused", settings=settings)
    request = job.folder.request
    assert request.sources == (str(photos), str(tmp_path / "link" / "*.png"))
    assert (request.gallery, request.n_clusters, request.matching) == (str(gallery.root), 3, "fused")


def test_names_that_are_no_text_come_through(
    settings: Settings, context: Any, tmp_path: Path, gallery: Gallery, draw_photo: Any
) -> None:
    folder = tmp_path / "holiday"
    draw_photo(folder / "caf\u00e9.png", 1)
    (folder / os.fsdecode(b"bad-\xfe.png")).write_bytes(b"no photo")
    job = submit_ingest([folder], gallery.root, settings=settings)
    context.finish(job.folder)
    status = Job.open(job.id, settings).status()
    report = status.model_dump(mode="json")["report"]
    assert report["index"]["photos"] == 1
    assert [os.fsencode(file["uri"])[-9:] for file in report["embed"]["quarantined"]] == [b"bad-\xfe.png"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"sources": ["nowhere"]}, ImageError, "nowhere"),
        ({"sources": ["photos/*.tiff"]}, ImageError, "tiff"),
        ({"gallery": "photos"}, GalleryError, "photos holds other files"),
        ({"model": "nowhere"}, BundleError, "nowhere is no model bundle"),
        ({"n_clusters": -1}, JobError, "n_clusters"),
        ({"matching": "best"}, JobError, "matching"),
        ({"sources": []}, JobError, "sources"),
    ],
)
def test_an_ingest_that_cannot_begin_is_refused(
    settings: Settings, workspace: Path, tmp_path: Path, photos: Path, gallery: Gallery, new_model: Any,
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], error: type[SbkaError], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {"sources": ["photos"], "gallery": "gallery"} | change
    if change.get("gallery"):
        values["model"] = new_model(tmp_path / "model", "grid-1")
    with pytest.raises(error, match=says):
        submit_ingest(values.pop("sources"), values.pop("gallery"), settings=settings, **values)
    assert list_jobs(workspace) == []


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"photos": "nowhere"}, DatasetError, "nowhere"),
        ({"sketches": "nowhere"}, DatasetError, "nowhere"),
        ({"split": "nowhere.json"}, DatasetError, r"nowhere\.json"),
        ({"weights": "nowhere.safetensors"}, DatasetError, r"nowhere\.safetensors does not exist"),
        ({"affinity": "nowhere.npz"}, DatasetError, r"nowhere\.npz does not exist"),
        ({"backbone": "resnet"}, SbkaError, "'resnet' is not of the form"),
        ({"out": "p"}, BundleError, "p"),
        ({"size": 3}, JobError, "size"),
        ({"teacher_size": 96}, JobError, "are of a teacher_backbone: name it"),
        ({"precision": "fp8"}, JobError, "precision"),
        ({"options": {"epochs": 0}}, JobError, r"options\.epochs"),
        ({"epochs": 3}, JobError, "epochs"),
        ({"sketches": None}, SettingsError, "no sketches to train on"),
    ],
)
def test_a_training_that_cannot_begin_is_refused(
    settings: Settings, workspace: Path, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any], error: type[SbkaError], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says):
        submit_train(data | change, settings)
    assert list_jobs(workspace) == []


def test_a_training_goes_to_the_trainers(settings: Settings, data: dict[str, Any], waiting: Waiting) -> None:
    job = submit_train(data | {"options": {"epochs": 2}}, settings)
    assert waiting() == [("train", "sbka.train", "train")]
    assert job.folder.request.options.epochs == 2 and job.status().subject == str(data["out"])


def test_a_training_may_make_its_sketches_from_its_photos(settings: Settings, data: dict[str, Any]) -> None:
    wish = {name: value for name, value in data.items() if name != "sketches"}
    job = submit_train(wish | {"options": {"pseudo_sketches": True}}, settings)
    request = job.folder.request
    assert isinstance(request, TrainJob)
    assert request.sketches is None and request.options.pseudo_sketches


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"gallery": "photos"}, GalleryError, "is no gallery"),
        ({"model": "photos"}, BundleError, "is no model bundle"),
        ({"model": "gallery/models/grid-1"}, JobError, "is embedded with this model already"),
        ({"gate": {"held_out": "nowhere"}}, DatasetError, "nowhere"),
        ({"gate": {"queries": ["nowhere.png"]}}, DatasetError, r"nowhere\.png does not exist"),
        ({"gate": {"max_loss": 2}}, JobError, "max_loss"),
        ({"gate": {"loss": 0.1}}, JobError, "loss"),
        ({"n_clusters": -1}, JobError, "n_clusters"),
        ({"matching": "best"}, JobError, "matching"),
    ],
)
def test_an_upgrade_that_cannot_begin_is_refused(
    settings: Settings, workspace: Path, tmp_path: Path, photos: Path, gallery: Gallery, new_model: Any,
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], error: type[SbkaError], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    new_model(tmp_path / "model", "grid-two")
    values: dict[str, Any] = {"gallery": "gallery", "model": "model"} | change
    with pytest.raises(error, match=says):
        submit_upgrade(settings=settings, **values)
    assert list_jobs(workspace) == []
