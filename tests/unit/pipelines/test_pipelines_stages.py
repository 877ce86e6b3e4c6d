"""The bottleneck is what the clock says, and reports add up."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions
from sbka_milvus.pipelines.ingest import IngestOptions, ingest_photos
from sbka_milvus.pipelines.stages import Bottleneck, EncodeUse, StageTimes, bottleneck
from sbka_milvus.store import MemoryGalleryStore

SMALL = EmbedOptions(batch_size=2, decode_processes=1, decode_size=32)


@pytest.mark.parametrize(
    ("seconds", "stage", "share"),
    [
        ({"finding": 3, "encoding": 1}, "finding", 0.75),
        ({"waiting": 4, "reading": 2, "decoding": 1, "encoding": 1}, "reading", 0.8),
        ({"waiting": 4, "reading": 2, "decoding": 3, "encoding": 1}, "decoding", 0.8),
        # However long processes decode: what nobody waits for is no bottleneck.
        ({"waiting": 1, "decoding": 99, "encoding": 3}, "encoding", 0.75),
        ({"writing": 2, "encoding": 1, "indexing": 1}, "writing", 0.5),
        ({"indexing": 2}, "indexing", 1.0),
        ({"decoding": 2}, "nothing", 0.0),
    ],
)
def test_the_bottleneck_is_what_takes_most_of_the_clock(seconds: dict[str, float], stage: str, share: float) -> None:
    assert bottleneck(StageTimes().add(**seconds)) == Bottleneck(stage, share)


def test_a_note_is_short() -> None:
    assert EncodeUse(StageTimes(encoding=1.0), 1536 * 2**20).note == "limit: encoding, 1,536 MiB"


def test_the_stages_of_an_ingest_fill_its_time(photos: Path, gallery: Any, make_encoder: Any, progress: Any) -> None:
    report = ingest_photos(
        [photos], gallery, make_encoder(), MemoryGalleryStore(), IngestOptions(SMALL, IndexOptions()), progress
    )
    stages, embed = report.embed.stages, report.embed
    assert min(astuple(stages)) > 0
    clock = stages.finding + stages.waiting + stages.encoding + stages.writing
    assert 0.5 * embed.seconds < clock <= embed.seconds
    assert stages.indexing == report.index.seconds
    assert report.bottleneck == bottleneck(stages)
    assert embed.photos_per_s == pytest.approx(10 / (embed.seconds - stages.finding), rel=0.3)
    assert embed.peak_memory_mib > 50


def test_an_encoder_that_dawdles_is_the_bottleneck_and_the_progress_says_so(
    photos: Path, gallery: Any, make_encoder: Any, progress: Any
) -> None:
    from threading import Event

    def dawdle(_: int) -> None:
        # Longer than a process takes to start, so that nothing else can take longer.
        Event().wait(0.6)

    report = embed_photos([photos], gallery, make_encoder(on_batch=dawdle), SMALL, progress)
    assert bottleneck(report.stages).stage == "encoding"
    assert report.stages.encoding >= 5 * 0.6


def test_nothing_to_do_takes_no_time_of_any_process(
    photos: Path, gallery: Any, make_encoder: Any, progress: Any
) -> None:
    embed_photos([photos], gallery, make_encoder(), SMALL, progress)
    report = embed_photos([photos], gallery, make_encoder(), SMALL, progress)
    assert (report.photos_per_s, report.peak_memory_mib) == (0.0, 0.0)
    assert bottleneck(report.stages).stage == "finding"
