"""The fault suite: over sixty faults in all stages; after each job nothing is lost, doubled, or served by half.

The stories are told in order, on one fleet of real processes. The points are fixed, so that a run can be repeated.
"""

from __future__ import annotations

import json
import random
import time
from functools import partial
from pathlib import Path

import pytest
from harness.fleet import VISIBILITY_S, wait_until
from harness.injection import Fault, Ledger
from harness.pictures import damage, draw_photos
from harness.reader import Reader
from harness.stage import Stage

from sbka_milvus.encoders.bundle import HISTORY_FILE, ModelBundle, load_bundle
from schemas.reports import JobStatus
from workers.jobs import list_jobs
from workers.submit import ENDED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED = 7
FULL_S = 2.5
"""How long a disk stays full."""
PHOTOS = 28
"""Of each of five categories: 140, in chunks of 20."""


@pytest.fixture(scope="module")
def chance() -> random.Random:
    """Where within a stage some of the faults hit."""
    return random.Random(SEED)


@pytest.fixture(scope="module")
def photos(stage: Stage) -> Path:
    """The photos of the first gallery."""
    draw_photos(stage.root / "photos", 0, PHOTOS)
    return stage.root / "photos"


@pytest.fixture(scope="module")
def bad(photos: Path) -> set[Path]:
    """Those of them that are damaged."""
    return damage(photos)


@pytest.fixture(scope="module")
def undisturbed(stage: Stage) -> ModelBundle:
    """What the training makes when nothing happens to it."""
    stage.play(stage.train(stage.root / "undisturbed"))
    return load_bundle(stage.root / "undisturbed")


def test_workers_killed_in_every_step_of_an_ingest_and_of_a_training(
    stage: Stage, photos: Path, bad: set[Path], chance: random.Random
) -> None:
    ingest = stage.ingest(
        "first",
        photos,
        [
            Fault("plan.chunks.after"),
            Fault("plan.write-done.before"),
            Fault("embed.encode.before", at=chance.randint(2, 4)),
            Fault("embed.table.after", at=2),
            Fault("embed.shard.before", at=4),
            Fault("embed.shard.after", at=4),
            Fault("embed.write-done.before", "worker", at=5),
            Fault("embed.write-done.after", at=6),
            Fault("index.clusters.before"),
            Fault("index.fit.after"),
            Fault("index.milvus-create_collection.after"),
            Fault("index.milvus-insert.before", at=1),
            Fault("index.record.before"),
            Fault("index.milvus-upsert.after", at=chance.randint(2, 5)),
            Fault("index.milvus-create_alias.before"),
            Fault("index.milvus-create_alias.after"),
            Fault("index.index-record.after"),
            Fault("none.end-report.before"),
        ],
    )
    training = stage.train(
        stage.root / "trained",
        [
            Fault("train.start.after"),
            Fault("train.step.before", at=chance.randint(3, 5)),
            Fault("train.save.after", at=chance.randint(8, 10)),
            Fault("train.checkpoint.after", at=chance.randint(14, 16), kind="worker"),
            Fault("train.weights.after"),
            Fault("train.bundle.after"),
        ],
    )
    stage.play(ingest, training)
    assert stage.audit("first", photos, bad) == 5 * PHOTOS
    assert load_bundle(stage.root / "trained").fingerprint == training.job.status().report["train"]["fingerprint"]


def test_a_training_killed_again_and_again_makes_the_model_of_one_that_was_not(
    stage: Stage, undisturbed: ModelBundle
) -> None:
    assert load_bundle(stage.root / "trained").fingerprint == undisturbed.fingerprint
    histories = [(stage.root / name / HISTORY_FILE).read_text().splitlines() for name in ("trained", "undisturbed")]
    epochs = [[json.loads(line) | {"seconds": 0} for line in history] for history in histories]
    assert epochs[0] == epochs[1] and len(epochs[0]) == 4
    for job in list_jobs(stage.settings.workspace.resolve()):
        assert not job.model_folder.exists(), "a checkpoint that nobody needs any more"


def test_redis_and_milvus_killed_while_a_gallery_grows(stage: Stage, photos: Path, bad: set[Path]) -> None:
    draw_photos(photos, PHOTOS, 12)
    redis, milvus = stage.fleet.bounce_redis, stage.fleet.bounce_milvus
    sketch = next((stage.root / "sketches").rglob("*.png"))
    with Reader(stage.fleet, stage.gallery("first"), sketch, photos) as reader:
        wait_until(lambda: reader.sizes or reader.wrong, "a first answer")
        running = stage.ingest(
            "first",
            photos,
            [
                Fault("plan.chunks.after", "hold", name="Redis killed and emptied"),
                Fault("embed.encode.after", "hold", at=3, name="Redis killed and emptied"),
                Fault("embed.shard.after", "orphan", at=1),
                Fault("index.join.after", "hold", name="Redis killed and emptied"),
                Fault("index.milvus-create_collection.after", "hold", name="Milvus killed"),
                Fault("index.milvus-upsert.after", "hold", at=2, name="Milvus killed"),
                Fault("index.record.after", "orphan", at=2),
                Fault("index.milvus-alter_alias.before", "hold", name="Milvus killed"),
                Fault("index.milvus-alter_alias.before"),
                Fault("index.milvus-alter_alias.after"),
                Fault("none.end-report.after", "worker"),
            ],
            [redis, redis, redis, milvus, milvus, milvus],
        )
        stage.play(running)
    both = (5 * PHOTOS, 5 * (PHOTOS + 12))
    reader.require_whole(*both)
    assert stage.audit("first", photos, bad) == both[1]


def test_an_upgrade_is_killed_in_every_step(stage: Stage, photos: Path, bad: set[Path]) -> None:
    redis, milvus = stage.fleet.bounce_redis, stage.fleet.bounce_milvus
    sketch = next((stage.root / "sketches").rglob("*.png"))
    with Reader(stage.fleet, stage.gallery("first"), sketch, photos) as reader:
        wait_until(lambda: reader.sizes or reader.wrong, "a first answer")
        running = stage.upgrade(
            "first",
            stage.root / "trained",
            [
                Fault("plan.copy.after"),
                Fault("plan.write-done.after"),
                Fault("embed.table.after", at=3),
                Fault("embed.encode.before", "worker", at=20),
                Fault("embed.write-done.before", at=6),
                Fault("build.milvus-create_partition.after", at=2),
                Fault("build.milvus-upsert.before", at=2),
                Fault("build.write-done.before"),
                Fault("gate.measure.before", "hold", name="Redis killed and emptied"),
                Fault("gate.measure.after"),
                Fault("gate.gate-record.after"),
                Fault("switch.serve.before", "hold", name="Milvus killed"),
                Fault("switch.milvus-alter_alias.before"),
                Fault("switch.milvus-alter_alias.after"),
                Fault("switch.gallery.before"),
                Fault("switch.gallery.after"),
                Fault("switch.reference.before"),
                Fault("switch.write-done.before", "worker"),
            ],
            [redis, milvus],
        )
        stage.play(running)
    count = 5 * (PHOTOS + 12)
    reader.require_whole(count)
    assert stage.audit("first", photos, bad) == count
    report = running.job.status().report
    assert report is not None and report["switch"]["fingerprint"] == load_bundle(stage.root / "trained").fingerprint


def test_messages_that_come_twice_a_photo_that_kills_and_a_worker_that_is_stopped_for_long(stage: Stage) -> None:
    folder = stage.root / "second"
    draw_photos(folder, 100, 20)
    deadly = (folder / "bar" / "105.jpg").rename(folder / "bar" / "deadly.jpg")
    name = "message delivered twice"
    # While it is in hand, so that another worker may be given it at the same time.
    twice = [partial(lambda unit: stage.send_again(running, unit), unit) for unit in ("plan", "embed-000001", "index")]
    faults = [
        Fault("embed.read-deadly.before", "always", name="photo that kills its reader"),
        Fault("plan.chunks.after", "hold", name=name),
        Fault("embed.encode.after", "hold", at=6, name=name),
        Fault("index.clusters.before", "hold", name=name),
        Fault("embed.shard.before", "stop", at=2, name=f"stopped for {VISIBILITY_S} s and more"),
    ]
    running = stage.ingest("second", folder, faults, twice)
    stage.until(lambda _: stage.fleet.stopped(), running, "a worker that is stopped")
    since, (child,) = time.monotonic(), stage.fleet.stopped()
    stage.play(running)
    assert stage.audit("second", folder, {deadly}) == 99

    # Redis gives its message to others, by whom it is seen that the unit is done; and so it is when the worker goes on.
    wait_until(lambda: time.monotonic() - since > VISIBILITY_S + 1, "the end of the timeout", VISIBILITY_S + 10)
    taken = stage.fleet.worker_of(child)
    other = next(worker for worker in ("embed-1", "embed-2") if worker != taken)
    # A worker that starts looks for such messages at once; this one cannot have answered for its own.
    stage.fleet.kill_worker(other)
    stage.fleet.tend()
    wait_until(lambda: stage.fleet.messages_in_hand() == 0, "the message's way to another worker")
    child.resume()
    wait_until(lambda: stage.fleet.said("has taken over"), "the end of its work")
    assert running.job.status().state == "done"
    for unit in ("plan", "embed-000000", "embed-000004", "index"):
        stage.send_again(running, unit)
        stage.ledger.add(running.job.id, Fault(f"{unit}.done", "again", name=f"{name}, when done"))
    wait_until(lambda: sum(stage.fleet.depths().values()) == 0, "empty queues")
    wait_until(lambda: stage.fleet.messages_in_hand() == 0, "idle workers")
    assert stage.audit("second", folder, {deadly}) == 99


def test_workers_that_die_when_all_photos_are_read_accuse_none_of_them(stage: Stage) -> None:
    folder = stage.root / "few"
    draw_photos(folder, 400, 2)
    # After two deaths photos are taken one by one; the next two come when none is in hand.
    points = [*(Fault("embed.encode.before", at=number) for number in (1, 2)), Fault("embed.shard.before")]
    stage.play(stage.ingest("few", folder, [*points, Fault("embed.shard.before", at=2)]))
    assert stage.audit("few", folder, set()) == 10


def test_a_full_disk_stops_work_and_harms_nothing(
    stage: Stage, undisturbed: ModelBundle, request: pytest.FixtureRequest
) -> None:
    folder = stage.root / "third"
    draw_photos(folder, 200, 12)
    bad = damage(folder)
    disk = stage.disk
    request.addfinalizer(disk.free)
    since = 0.0

    def fill() -> None:
        nonlocal since
        since = time.monotonic()
        disk.fill()

    def go_on(state: JobStatus) -> bool:
        # Time enough for the unit to fail, and for reconcile to queue it again in vain.
        if disk.full and time.monotonic() > since + FULL_S:
            disk.free()
        return state.state in ENDED

    name = f"full disk ({disk.kind})"
    points = ["plan.chunks.before", "plan.write-done.before", "embed.shard.before", "embed.write-done.before"]
    points += ["index.quarantine.before", "index.record.before", "index.index-record.before", "none.end-report.before"]
    running = stage.ingest("third", folder, [Fault(point, "hold", name=name) for point in points], [fill] * len(points))
    stage.until(go_on, running, "the end of the job", 120.0)
    stage.play(running)
    assert stage.audit("third", folder, bad) == 60

    training = stage.train(
        disk.folder / "trained",
        [Fault("train.checkpoint.before", "hold", at=7, name=name), Fault("train.weights.before", "hold", name=name)],
        [fill, fill],
    )
    # It goes on without checkpoints, and comes to its end while the disk is still full.
    stage.until(lambda _: not training.injector.due, training, "the end of all epochs")
    stage.until(go_on, training, "the end of the training")
    if training.job.status().state == "failed":
        training.job.retry()
    stage.play(training)
    assert load_bundle(disk.folder / "trained").fingerprint == undisturbed.fingerprint


def test_cancelled_jobs_go_on_where_they_were(stage: Stage, undisturbed: ModelBundle) -> None:
    folder = stage.root / "fourth"
    draw_photos(folder, 300, 16)
    points = [Fault("embed.encode.after", "hold", at=5, name="cancelled")]
    points += [Fault("index.milvus-upsert.before", "hold", at=2, name="cancelled")]

    def cancel() -> None:
        running.job.cancel()

    running = stage.ingest("fourth", folder, points, [cancel, cancel])
    for _ in points:
        stage.until(lambda state: state.state == "cancelled", running, "the end of the job")
        stage.until(lambda state: not state.units, running, "idle workers")
        running.job.retry()
    stage.play(running)
    assert stage.audit("fourth", folder, set()) == 80

    running = stage.train(
        stage.root / "cancelled", [Fault("train.step.before", "hold", at=9, name="cancelled")], [cancel]
    )
    stage.until(lambda state: state.state == "cancelled" and not state.units, running, "the end of the training")
    running.job.retry()
    (state,) = stage.play(running)
    assert state.report is not None and state.report["train"]["resumed_at"] is not None
    assert load_bundle(stage.root / "cancelled").fingerprint == undisturbed.fingerprint


def test_in_all_of_it_no_image_was_lost_and_none_doubled(request: pytest.FixtureRequest, ledger: Ledger) -> None:
    stories = {name for name in globals() if name.startswith("test_")}
    if not stories <= {item.name for item in request.session.items}:
        pytest.skip("the sum is of all stories, and only some were told")
    assert len(ledger.lines) >= 60
    assert (ledger.lost, ledger.doubled) == (0, 0)
