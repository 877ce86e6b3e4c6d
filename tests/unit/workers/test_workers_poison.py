"""A photo that ends its process is found and set aside; its neighbours are embedded, and no innocent is convicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.errors import JobCancelled, OutputError
from workers.jobs import JobFolder
from workers.poison import Careful

Make = Callable[..., JobFolder]
RED = (255, 0, 0)


@pytest.fixture
def poison(photos: Path) -> Path:
    """A photo in the middle of the second chunk that ends every process that encodes it."""
    path = photos / "4.png"
    Image.new("RGB", (40, 40), RED).save(path)
    return path


@pytest.fixture
def deadly(context: Any, killed: type[BaseException], poison: Path) -> list[int]:
    """Sizes of the batches in which it was met."""
    met: list[int] = []

    def on_batch(batch: Sequence[Image.Image]) -> None:
        if any(picture.getpixel((0, 0)) == RED for picture in batch):
            met.append(len(batch))
            raise killed

    context.on_batch = on_batch
    return met


def die(context: Any, killed: type[BaseException], job: JobFolder, unit: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(killed):
            context.do(job, unit)


def test_it_is_found_quarantined_and_its_neighbours_are_embedded(
    context: Any, ingest: Make, gallery: Gallery, poison: Path, deadly: list[int], killed: type[BaseException]
) -> None:
    job = ingest()
    context.do(job, "plan")
    # Two deaths make it careful, one photo at a time; two more tell which photo it is.
    die(context, killed, job, "embed-000001", 4)
    assert deadly == [3, 3, 1, 1]
    context.finish(job)
    assert {Path(uri).name for uri in read_known(gallery.shard_folder)} == {f"{n}.png" for n in (0, 1, 2, 3, 5, 6, 7)}
    (bad,) = read_quarantine(gallery.quarantine_file)
    assert bad.uri == str(poison) and "ended two workers" in bad.reason
    report = job.ending("report")
    assert report is not None
    assert [file["uri"] for file in report["embed"]["quarantined"]] == [str(poison)]
    assert report["index"]["photos"] == 7
    assert job.names("suspects") == set()


def test_a_retry_keeps_what_was_found_out(
    context: Any, ingest: Make, gallery: Gallery, deadly: list[int], killed: type[BaseException]
) -> None:
    job = ingest()
    context.do(job, "plan")
    die(context, killed, job, "embed-000001", 4)
    context.on_batch, deadly_batch = (lambda _: job.end("cancel", {})), context.on_batch
    context.do(job, "embed-000001")
    assert not job.is_open
    job.reopen()
    context.on_batch = deadly_batch
    context.finish(job)
    assert len(deadly) == 4
    assert len(read_known(gallery.shard_folder)) == 7


@pytest.mark.parametrize("stop", ["full disk", "cancel"])
def test_a_photo_that_was_put_down_again_is_no_suspect(
    context: Any, ingest: Make, gallery: Gallery, killed: type[BaseException], stop: str
) -> None:
    """A disk that is full, or a job that is cancelled, while a photo is looked at with care is not its fault."""
    job = ingest()
    context.do(job, "plan")

    def kill(_: Any) -> None:
        raise killed

    def put_down(_: Any) -> None:
        if stop == "cancel":
            job.end("cancel", {})
            raise JobCancelled("The job was cancelled.")
        raise OutputError("The disk is full.")

    context.on_batch = kill
    die(context, killed, job, "embed-000000", 2)
    context.on_batch = put_down
    for _ in range(3):
        context.do(job, "embed-000000")
        assert (job.read("suspects", "embed-000000") or {})["in_hand"]
        if stop == "cancel":
            job.reopen()
            # A retry forgets the deaths; as if there had been more of them since.
            job.write("tries", "embed-000000", {"starts": 2})
    careful = Careful.of(job, "embed-000000")
    assert (careful.poison, careful.suspects) == ((), ())
    context.on_batch = lambda _: None
    context.finish(job)
    assert len(read_known(gallery.shard_folder)) == 8
    assert read_quarantine(gallery.quarantine_file) == []


def test_workers_that_die_by_chance_convict_nobody(
    context: Any, ingest: Make, gallery: Gallery, killed: type[BaseException]
) -> None:
    job = ingest()
    context.do(job, "plan")
    count = [0]

    def kill_at_another(_: Any) -> None:
        count[0] += 1
        if count[0] in (1, 2, 3, 5):
            raise killed

    context.on_batch = kill_at_another
    die(context, killed, job, "embed-000000", 2)  # the whole chunk
    die(context, killed, job, "embed-000000", 1)  # its first photo
    die(context, killed, job, "embed-000000", 1)  # its second photo
    context.finish(job)
    assert len(read_known(gallery.shard_folder)) == 8
    assert read_quarantine(gallery.quarantine_file) == []


def test_a_damaged_note_of_suspects_stops_nothing(context: Any, ingest: Make, gallery: Gallery) -> None:
    job = ingest()
    context.do(job, "plan")
    job.write("suspects", "embed-000000", {})
    job.path("suspects", "embed-000001").write_text("{")
    context.finish(job)
    assert len(read_known(gallery.shard_folder)) == 8
