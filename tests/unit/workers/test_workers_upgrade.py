"""An upgrade is seen only when it is switched, loses no photo that comes meanwhile, and in doubt changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import list_shards, read_known
from sbka_milvus.embeddings.versions import read_version_record
from sbka_milvus.encoders.statistics import ModelStatistics, write_statistics
from sbka_milvus.types import normalise
from workers.jobs import JobFolder
from workers.status import JobWatcher
from workers.steps import missing_units

Make = Callable[..., JobFolder]
EMBED = ["embed-000000", "embed-000001", "embed-000002"]


@pytest.fixture
def filled(context: Any, ingest: Make, gallery: Gallery) -> Gallery:
    """The gallery with its eight photos, served with the model ``grid-1``."""
    context.finish(ingest())
    context.encoded = 0
    return gallery


def served(context: Any) -> tuple[str, int]:
    info = context.memory.served("cats")
    return info.fingerprint, context.memory.count(info)


def report_of(job: JobFolder) -> dict[str, Any]:
    report = job.ending("report")
    assert report is not None
    return report


def test_every_photo_is_embedded_built_measured_and_switched(context: Any, upgrade: Make, filled: Gallery) -> None:
    job = upgrade()
    for unit in ("plan", *EMBED, "build", "gate"):
        context.do(job, unit)
        assert served(context) == ("grid-1", 8)
        assert Gallery.open(filled.root).fingerprint == "grid-1"
    assert context.finish(job) == ["switch"]
    assert served(context) == ("grid-two", 8)
    assert Gallery.open(filled.root).fingerprint == "grid-two"
    report = report_of(job)
    assert report["state"] == "done" and report["gate"]["measure"] == "agreement@8"
    assert (report["switch"]["version"], report["switch"]["photos"]) == (2, 8)
    assert context.encoded == 8 + 2  # the photos, and the sketch through both models
    assert JobWatcher(job, 30.0).status().state == "done"
    # The way back is still there.
    assert len(context.memory.versions("cats")) == 2
    assert len(read_known(filled.shard_folder)) == 8


def test_photos_that_come_between_plan_and_switch_are_not_lost(
    context: Any, ingest: Make, upgrade: Make, filled: Gallery, photos: Path, draw_photo: Callable[..., Path]
) -> None:
    job = upgrade()
    for unit in ("plan", *EMBED):
        context.do(job, unit)
    draw_photo(photos / "before-build.png", 60)
    context.finish(ingest())
    assert served(context) == ("grid-1", 9)
    context.do(job, "build")
    assert missing_units(job) == ["plan"]
    for unit in ("plan", "embed-000003", "build", "gate"):
        context.do(job, unit)
    draw_photo(photos / "before-switch.png", 61)
    context.finish(ingest())
    assert served(context) == ("grid-1", 10)
    assert context.finish(job) == ["switch", "plan", "embed-000004", "build", "gate", "switch"]
    assert served(context) == ("grid-two", 10)
    assert report_of(job)["embed"]["embedded"] == 10


def test_the_gate_keeps_the_old_model_and_says_why(context: Any, upgrade: Make, filled: Gallery) -> None:
    job = upgrade(min_agreement=1.0, queries=())
    assert context.finish(job)[-1] == "gate"
    assert served(context) == ("grid-1", 8)
    status = JobWatcher(job, 30.0).status()
    assert status.state == "refused" and "nothing could be measured" in status.message
    assert Gallery.open(filled.root).fingerprint == "grid-1"
    token = report_of(job)["build"]["token"]
    record = read_version_record(filled.version_folder, token)
    assert record is not None and record.gate is not None and record.gate["passed"] is False
    # Asked again by force, nothing is embedded a second time.
    context.encoded = 0
    again = upgrade(queries=(), force=True)
    assert context.finish(again) == ["plan", "build", "gate", "switch"]
    assert served(context) == ("grid-two", 8) and context.encoded == 0
    assert report_of(again)["gate"]["reason"].startswith("Forced.")


def test_a_drive_that_is_gone_keeps_the_old_model(
    context: Any, upgrade: Make, filled: Gallery, photos: Path, tmp_path: Path
) -> None:
    photos.rename(tmp_path / "unmounted")
    job = upgrade()
    context.finish(job)
    status = JobWatcher(job, 30.0).status()
    assert status.state == "refused"
    assert "100.0% of the served photos cannot be read now" in status.message and "drive" in status.message
    assert served(context) == ("grid-1", 8)
    assert len(context.memory.versions("cats")) == 1
    # With the drive back a new upgrade embeds them.
    (tmp_path / "unmounted").rename(photos)
    context.finish(upgrade())
    assert served(context) == ("grid-two", 8)


def test_a_part_that_is_gone_is_refused_by_its_share_and_may_be_forced(
    context: Any, upgrade: Make, filled: Gallery, photos: Path
) -> None:
    (photos / "3.png").unlink()
    refused = upgrade(max_missing=0.1)
    context.finish(refused)
    assert (
        "12.5% of the served photos cannot be read now, and 10.0% may be missing"
        in report_of(refused)["gate"]["reason"]
    )
    assert served(context) == ("grid-1", 8)
    allowed = upgrade(max_missing=0.2)
    context.finish(allowed)
    assert report_of(allowed)["gate"]["missing"] == 0.125
    assert served(context) == ("grid-two", 7)
    # Nobody need wonder where it went.
    assert [Path(file.uri).name for file in read_quarantine(filled.quarantine_file)] == ["3.png"]


def test_a_candidate_that_milvus_lost_is_built_again(context: Any, upgrade: Make, filled: Gallery) -> None:
    for before in ("gate", "switch"):
        job = upgrade(f"grid-{before}")
        while missing_units(job) != [before]:
            for unit in missing_units(job):
                context.do(job, unit)
        lost = next(info for info in context.memory.versions("cats") if info.fingerprint == f"grid-{before}")
        context.memory.drop_version(lost)
        assert context.finish(job) == [before, "build", "gate", "switch"]
        assert served(context) == (f"grid-{before}", 8)


def test_a_switch_that_was_killed_after_milvus_switched_is_made_good(
    context: Any, upgrade: Make, filled: Gallery, killed: type[BaseException]
) -> None:
    job = upgrade()
    for unit in ("plan", *EMBED, "build", "gate"):
        context.do(job, unit)
    promote = context.memory.promote

    def promote_and_die(info: Any) -> None:
        promote(info)
        raise killed

    context.memory.promote = promote_and_die
    with pytest.raises(killed):
        context.do(job, "switch")
    context.memory.promote = promote
    assert Gallery.open(filled.root).fingerprint == "grid-1"
    assert context.finish(job) == ["switch"]
    assert served(context) == ("grid-two", 8)
    assert Gallery.open(filled.root).fingerprint == "grid-two"


def test_shards_that_vanished_are_embedded_again(context: Any, upgrade: Make, filled: Gallery) -> None:
    job = upgrade()
    for unit in ("plan", *EMBED):
        context.do(job, unit)
    list_shards(filled.for_model("grid-two").shard_folder)[0].unlink()
    assert context.finish(job) == ["build", "embed-000000", "build", "gate", "switch"]
    assert served(context) == ("grid-two", 8)


def test_a_model_that_was_taken_away_after_the_plan_is_in_the_gallery(
    context: Any, upgrade: Make, filled: Gallery, tmp_path: Path
) -> None:
    job = upgrade()
    context.do(job, "plan")
    assert (filled.for_model("grid-two").model_folder / "manifest.json").is_file()
    shutil.rmtree(tmp_path / "grid-two")
    context.do(job, "embed-000000")
    assert len(read_known(filled.for_model("grid-two").shard_folder)) == 3
    for unit in ("embed-000001", "embed-000002", "build"):
        context.do(job, unit)
    status = JobWatcher(job, 30.0).status()
    assert status.state == "failed" and "grid-two" in status.message


@pytest.fixture
def knowing(new_model: Any, tmp_path: Path) -> Path:
    """The model ``grid-two``, which knows sketches."""
    folder = new_model(tmp_path / "grid-two", "grid-two")
    vectors = normalise(np.random.default_rng(0).normal(size=(20, 48)) + 1)
    write_statistics(folder, ModelStatistics(vectors[:10], vectors[10:]))
    return folder


@pytest.mark.parametrize(
    ("wished", "setting", "linear"),
    [("linear", "auto", True), (None, "linear", True), ("fused", "linear", False), (None, "auto", False)],
)
def test_the_form_is_that_of_the_wish_or_else_of_the_settings(
    context: Any, upgrade: Make, filled: Gallery, knowing: Path, wished: str | None, setting: str, linear: bool
) -> None:
    context.settings = context.settings.model_copy(
        update={"ingest": context.settings.ingest.model_copy(update={"matching": setting})}
    )
    job = upgrade(matching=wished)
    context.finish(job)
    # Of eight photos, auto lifts none.
    info = context.memory.served("cats")
    assert (info.fingerprint, bool(info.matching)) == ("grid-two", linear)
    assert report_of(job)["gate"]["measure"] == "agreement@8"


def test_an_ingest_has_its_form_too(context: Any, ingest: Make, upgrade: Make, filled: Gallery, knowing: Path) -> None:
    context.finish(upgrade(matching="linear"))
    before = context.memory.served("cats")
    context.finish(ingest(matching="linear"))
    assert context.memory.served("cats") == before
    context.finish(ingest(matching="fused"))
    after = context.memory.served("cats")
    assert (after.version, after.matching) == (before.version + 1, "")
