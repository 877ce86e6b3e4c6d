"""Background ingest embeds nothing twice, and prunes what is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.cli.jobs import lines_of
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.removal import remove_photos
from sbka_milvus.embeddings.shards import list_shards, read_known
from sbka_milvus.errors import JobError
from sbka_milvus.settings import Settings
from schemas.jobs import IngestJob
from schemas.wire import parse
from workers.submit import Job, submit_ingest
from workers.units import ingest as units

Make = Callable[..., Any]


def names(gallery: Gallery) -> set[str]:
    return {Path(uri).name for uri in read_known(gallery.shard_folder)}


def served(context: Any) -> set[str]:
    info = context.memory.served("cats")
    return {Path(uri).name for rows in context.memory.scan(info) for uri in rows.embeddings.uris}


def test_moved_and_copied_photos_are_not_embedded_again(
    context: Any, ingest: Make, gallery: Gallery, photos: Path, draw_photo: Callable[..., Path]
) -> None:
    context.finish(ingest())
    for number in range(4):
        (photos / f"{number}.png").rename(photos / f"moved{number}.png")
    (photos / "copy.png").write_bytes((photos / "5.png").read_bytes())
    draw_photo(photos / "new.png", 99)
    job = ingest()
    context.finish(job)
    assert context.encoded == 9
    embed = job.ending("report")["embed"]
    assert (embed["found"], embed["embedded"], embed["unchanged"]) == (10, 1, 4)
    assert (embed["moved"], embed["copied"], embed["touched"]) == (4, 1, 0)
    assert names(gallery) == served(context) == {path.name for path in photos.iterdir()}


def test_a_lost_shard_of_known_photos_is_made_again(context: Any, ingest: Make, gallery: Gallery, photos: Path) -> None:
    context.finish(ingest())
    for number in range(2):
        (photos / f"copy{number}.png").write_bytes((photos / f"{number}.png").read_bytes())
    job = ingest()
    for unit in ("plan", "embed-000000"):
        context.do(job, unit)
    assert job.read("done", "embed-000000")["shard"] is None
    (gallery.shard_folder / job.read("done", "embed-000000")["known_shard"]).unlink()
    assert context.finish(job) == ["index", "embed-000000", "index"]
    assert {"copy0.png", "copy1.png"} <= served(context)
    assert context.encoded == 8


def test_an_upgrade_embeds_equal_photos_of_several_chunks_once(
    context: Any, ingest: Make, upgrade: Make, gallery: Gallery, photos: Path
) -> None:
    for number in range(8):
        (photos / f"copy{number}.png").write_bytes((photos / f"{number}.png").read_bytes())
    context.finish(ingest())
    before = context.encoded
    job = upgrade()
    context.finish(job)
    assert job.ending("report")["state"] == "done"
    embed = job.ending("report")["embed"]
    assert embed["embedded"] + embed["copied"] == 16
    assert embed["copied"] > 0
    assert len(served(context)) == 16
    assert context.encoded < before + 16 + 10  # the gate encodes sketches, too


def test_what_is_gone_is_pruned_and_no_longer_served(
    context: Any, ingest: Make, gallery: Gallery, photos: Path
) -> None:
    context.finish(ingest())
    for number in range(3):
        (photos / f"{number}.png").unlink()
    (photos / "7.png").rename(photos / "seven.png")
    context.finish(ingest())
    assert {"0.png", "1.png", "2.png", "seven.png"} <= served(context)
    job = ingest(prune=True)
    assert context.finish(job) == ["plan", "index"]
    assert job.ending("report")["index"]["pruned"] == 3
    assert names(gallery) == served(context) == {path.name for path in photos.iterdir()}
    assert context.encoded == 8


@pytest.mark.parametrize("prune_all", [False, True])
def test_more_than_half_is_pruned_with_consent_only(
    context: Any, ingest: Make, gallery: Gallery, photos: Path, draw_photo: Callable[..., Path], prune_all: bool
) -> None:
    context.finish(ingest())
    for number in range(5):
        (photos / f"{number}.png").unlink()
    draw_photo(photos / "new.png", 99)
    job = ingest(prune=True, prune_all=prune_all)
    context.finish(job)
    if prune_all:
        assert served(context) == {"5.png", "6.png", "7.png", "new.png"}
    else:
        assert "--prune-all" in str(job.ending("failed"))
        # What was embedded is kept, and the next ingest serves it.
        assert len(served(context)) == 8
        context.finish(ingest())
        assert context.encoded == 9
        assert len(served(context)) == 9


def test_killed_after_it_has_pruned_it_ends_right_and_tells_the_same(
    context: Any,
    ingest: Make,
    gallery: Gallery,
    photos: Path,
    killed: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context.finish(ingest())
    for number in range(2):
        (photos / f"{number}.png").unlink()
    job = ingest(prune=True)
    context.do(job, "plan")

    def killing(*_: Any, **__: Any) -> None:
        raise killed

    with monkeypatch.context() as patch:
        patch.setattr(units, "build_index", killing)
        with pytest.raises(killed):
            context.do(job, "index")
    assert len(names(gallery)) == 6
    shards = list_shards(gallery.shard_folder)
    assert context.finish(job) == ["index"]
    assert job.ending("report")["index"]["pruned"] == 2
    assert list_shards(gallery.shard_folder) == shards
    assert len(served(context)) == 6


def test_a_removal_while_a_job_is_at_work_is_kept(context: Any, ingest: Make, gallery: Gallery, photos: Path) -> None:
    job = ingest()
    for unit in ("plan", "embed-000000"):
        context.do(job, unit)
    remove_photos(gallery, [str(photos / "0.png")])
    context.finish(job)
    assert "0.png" not in served(context)
    assert len(served(context)) == 7
    # And comes back from its source.
    context.finish(ingest())
    assert len(served(context)) == 8


@pytest.mark.parametrize("after", ["plan", "embed-000001", "build", "gate"])
def test_what_is_removed_while_an_upgrade_is_at_work_does_not_come_back_with_it(
    context: Any, ingest: Make, upgrade: Make, gallery: Gallery, photos: Path, after: str
) -> None:
    context.finish(ingest())
    job = upgrade()
    for unit in ("plan", "embed-000000", "embed-000001", "embed-000002", "build", "gate"):
        context.do(job, unit)
        if unit == after:
            remove_photos(gallery, [str(photos / "4.png")])
    context.finish(job)
    assert job.ending("report")["state"] == "done"
    assert context.memory.served("cats").fingerprint == "grid-two"
    assert served(context) == {f"{number}.png" for number in range(8) if number != 4}
    assert names(Gallery.open(gallery.root)) == served(context)


def test_a_wish_of_an_earlier_release_prunes_nothing() -> None:
    wish = parse(IngestJob, {"sources": ["/p"], "gallery": "/g"}, "The ingest")
    assert (wish.prune, wish.prune_all) == (False, False)
    with pytest.raises(JobError, match="prune"):
        parse(IngestJob, {"sources": ["/p"], "gallery": "/g", "prune": "perhaps"}, "The ingest")


def test_a_submitted_wish_says_whether_to_prune(
    photos: Path, gallery: Gallery, settings: Settings, ingest: Make
) -> None:
    job = submit_ingest([photos], gallery.root, prune_all=True, settings=settings)
    assert (job.folder.request.prune, job.folder.request.prune_all) == (True, True)
    # To take the same photos in without pruning is other work.
    other = submit_ingest([photos], gallery.root, settings=settings)
    assert (other.folder.request.prune, other.folder.request.prune_all) == (False, False)


def test_what_was_taken_over_and_pruned_is_told(context: Any, ingest: Make, photos: Path, settings: Settings) -> None:
    context.finish(ingest())
    (photos / "7.png").rename(photos / "seven.png")
    (photos / "6.png").unlink()
    job = ingest(prune=True)
    context.finish(job)
    told = dict(lines_of(Job(job, settings).status()))
    assert told["photos"] == "7 found, 0 embedded, 6 unchanged, 1 moved, 1 pruned"
