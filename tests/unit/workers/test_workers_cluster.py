"""Clustering as a job: done once, told with its figures, refused where there is nothing to cluster."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.cli.jobs import lines_of
from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import GalleryError, JobError
from sbka_milvus.settings import Settings
from schemas.jobs import ClusterJob
from workers.jobs import JobFolder, create_job
from workers.status import JobWatcher
from workers.submit import submit_cluster

Waiting = Callable[..., list[tuple[str, str, str]]]


@pytest.fixture
def filled(context: Any, ingest: Callable[..., JobFolder], gallery: Gallery) -> Gallery:
    """Eight photos, served."""
    context.finish(ingest())
    return gallery


def wish(gallery: Gallery, **more: Any) -> ClusterJob:
    return ClusterJob(gallery=str(gallery.root), **more)


def test_a_gallery_is_clustered_anew(context: Any, workspace: Path, filled: Gallery) -> None:
    job = create_job(workspace, wish(filled, n_clusters=3, seed=2))
    assert context.finish(job) == ["cluster"]
    status = JobWatcher(job, 30.0).status()
    assert (status.state, status.kind, status.subject) == ("done", "cluster", str(filled.root))
    assert status.report is not None
    made = status.report["cluster"]
    assert (made["before"]["version"], made["after"]["version"], made["built"]) == (1, 2, True)
    assert made["after"]["statistics"]["clusters"] == 3
    assert ("serving", "version 2: 8 photos in 3 clusters") in lines_of(status)
    assert context.memory.served("cats").version == 2


def test_a_run_that_died_after_the_switch_is_not_done_twice(context: Any, workspace: Path, filled: Gallery) -> None:
    job = create_job(workspace, wish(filled))
    context.do(job, "cluster")
    job.remove("done", "cluster")  # as if it had died before it could say so
    (job.root / "report.json").unlink(missing_ok=True)
    assert context.finish(job) == ["cluster"]
    assert [info.version for info in context.memory.versions("cats")] == [1, 2]
    made = job.ending("report")
    assert made is not None and made["cluster"]["after"]["version"] == 2


def test_another_job_clusters_again(context: Any, workspace: Path, filled: Gallery) -> None:
    for expected in (2, 3):
        context.finish(create_job(workspace, wish(filled)))
        assert context.memory.served("cats").version == expected


def test_later_ingests_join_and_their_report_says_so(
    context: Any, workspace: Path, filled: Gallery, ingest: Callable[..., JobFolder], draw_photo: Any, photos: Path
) -> None:
    context.finish(create_job(workspace, wish(filled, n_clusters=3)))
    draw_photo(photos / "new.png", 99)
    job = ingest()
    context.finish(job)
    report = job.ending("report")
    assert report is not None
    made = report["index"]
    assert (made["clustering"]["how"], made["clustering"]["joined"], made["clusters"]) == ("joined", 1, 3)
    for number in range(9):
        draw_photo(photos / f"more-{number}.png", 200 + number)
    context.finish(job := ingest())
    report = job.ending("report")
    assert report is not None and report["index"]["clustering"]["how"] == "fitted"  # eight photos were no fit


def test_drift_is_told_with_the_job(context: Any, workspace: Path, filled: Gallery) -> None:
    job = create_job(workspace, wish(filled))
    context.finish(job)
    status = JobWatcher(job, 30.0).status()
    told = status.model_copy(
        update={"report": {"index": {"version": 3, "photos": 9, "drifted": "The clusters have drifted: far."}}}
    )
    assert ("note", "The clusters have drifted: far.") in lines_of(told)


def test_it_is_handed_out_to_those_who_index(settings: Settings, waiting: Waiting, filled: Gallery) -> None:
    job = submit_cluster(filled.root, n_clusters=2, matching="fused", seed=1, settings=settings)
    assert ("index", "sbka.index", "cluster") in waiting()
    expected = wish(filled, n_clusters=2, matching="fused", seed=1)
    assert job.folder.request == expected
    assert datetime.now(UTC) - job.folder.record.created < timedelta(minutes=5)
    with pytest.raises(JobError, match=job.id):
        submit_cluster(filled.root, settings=settings)


def test_what_cannot_begin_is_refused(settings: Settings, gallery: Gallery, tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="holds no photos"):
        submit_cluster(gallery.root, settings=settings)
    with pytest.raises(GalleryError, match="is no gallery"):
        submit_cluster(tmp_path / "none", settings=settings)
