"""What a job says of itself is true now, whatever state its files are in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.errors import JobError
from schemas.jobs import IngestJob, RetrainJob, TrainJob, UpgradeJob
from workers.jobs import JobFolder, create_job
from workers.leases import hold
from workers.status import JobWatcher, steps_of
from workers.steps import Plan

Make = Callable[..., JobFolder]
TRAIN = TrainJob(photos="/p", sketches="/s", out="/model", backbone="timm:x")


def planned(workspace: Path, *counts: int) -> JobFolder:
    job = create_job(workspace, IngestJob(sources=("/photos",), gallery="/gallery"))
    job.write("done", "plan", Plan("grid-1", 0, counts, 1, sum(counts), 0, {"/bad": "why"}, ()).to_dict())
    return job


def progress(unit: str, **more: Any) -> dict[str, Any]:
    return {"unit": unit, "stage": "Embedding photos", "steps": "photos", "updated": time.time()} | more


def test_a_new_job_waits(workspace: Path) -> None:
    status = JobWatcher(create_job(workspace, IngestJob(sources=("/photos",), gallery="/gallery")), 30.0).status()
    assert (status.state, status.stage, status.done, status.total, status.eta_s) == ("waiting", "plan", 0, None, None)
    assert (status.kind, status.subject) == ("ingest", "/gallery")


def test_all_workers_are_counted_together_and_the_time_left_told(workspace: Path) -> None:
    job = planned(workspace, 100, 100, 50)
    job.write("done", "embed-000000", {"embedded": 99, "quarantined": [{"uri": "/x", "reason": "y"}]})
    job.write("progress", "embed-000001", progress("embed-000001", done=30, total=100, rate=8.0))
    job.write("progress", "embed-000002", progress("embed-000002", done=20, total=50, rate=2.0))
    with ExitStack() as stack:
        for unit in ("embed-000001", "embed-000002"):
            stack.enter_context(hold(job.path("leases", unit), 30.0))
        status = JobWatcher(job, 30.0).status()
        assert (status.state, status.stage) == ("running", "embed")
        assert (status.done, status.total, status.steps) == (150, 250, "photos")
        assert (status.rate, status.eta_s) == (10.0, 10.0)
        assert status.quarantined == 2
        assert [unit.unit for unit in status.units] == ["embed-000001", "embed-000002"]
    # Nobody holds them any more: what they said counts for nothing.
    status = JobWatcher(job, 30.0).status()
    assert (status.state, status.done, status.rate, status.eta_s, status.units) == ("waiting", 100, 0.0, None, ())


def test_a_worker_that_is_gone_is_not_at_work(workspace: Path) -> None:
    job = planned(workspace, 100)
    job.write("progress", "embed-000000", progress("embed-000000", done=30, rate=8.0))
    job.write("leases", "embed-000000", {"owner": "x", "place": "elsewhere", "pid": 1, "started": 0.0})
    assert JobWatcher(job, 30.0).status().state == "running"
    silent = time.time() - 31
    os.utime(job.path("leases", "embed-000000"), (silent, silent))
    status = JobWatcher(job, 30.0).status()
    assert (status.state, status.done, status.units) == ("waiting", 0, ())


def test_a_rate_that_is_not_told_any_more_is_none(workspace: Path) -> None:
    job = planned(workspace, 100)
    job.write("progress", "embed-000000", progress("embed-000000", rate=8.0, updated=time.time() - 60))
    with hold(job.path("leases", "embed-000000"), 30.0):
        status = JobWatcher(job, 30.0).status()
    assert (status.state, status.rate, status.eta_s) == ("running", 0.0, None)


def test_a_training_counts_its_own_steps(workspace: Path) -> None:
    job = create_job(workspace, TRAIN)
    told = {"unit": "train", "stage": "Epoch 3", "done": 5, "total": 20, "steps": "steps", "rate": 3.0}
    job.write("progress", "train", told | {"updated": time.time(), "note": "loss 1.0"})
    with hold(job.path("leases", "train"), 30.0):
        status = JobWatcher(job, 30.0).status()
    assert (status.stage, status.done, status.total, status.steps) == ("train: Epoch 3", 5, 20, "steps")
    assert (status.subject, status.eta_s, status.units[0].note) == ("/model", 5.0, "loss 1.0")


@pytest.mark.parametrize(
    ("ending", "content", "state", "says"),
    [
        ("cancel", {}, "cancelled", "sbka jobs retry"),
        ("failed", {"unit": "plan", "problem": "It broke.", "remedy": "Mend it."}, "failed", "It broke. Mend it."),
        ("report", {"state": "done"}, "done", ""),
        ("report", {"state": "refused", "gate": {"reason": "Worse."}}, "refused", "Worse."),
    ],
)
def test_how_it_ended(workspace: Path, ending: str, content: dict[str, Any], state: str, says: str) -> None:
    job = planned(workspace, 5)
    job.end(ending, content)
    status = JobWatcher(job, 30.0).status()
    assert (status.state, status.stage, status.units) == (state, "", ())
    assert says in status.message
    assert (status.report is None) == (ending != "report")


@pytest.mark.parametrize("ending", ["failed", "report"])
def test_an_ending_that_is_damaged_is_told_and_can_be_tried_again(workspace: Path, ending: str) -> None:
    job = planned(workspace, 5)
    (job.root / f"{ending}.json").write_text("{")
    status = JobWatcher(job, 30.0).status()
    assert status.state == "failed" and "damaged" in status.message and "jobs retry" in status.message
    job.reopen()
    assert job.is_open and JobWatcher(job, 30.0).status().state == "waiting"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"unit": 3}', '{"unit": "plan", "rate": "fast"}'])
@pytest.mark.parametrize("kind", ["progress", "tries", "done", "queued", "leases"])
def test_damaged_files_keep_nobody_from_looking(workspace: Path, kind: str, content: str) -> None:
    job = planned(workspace, 5, 5)
    for unit in ("embed-000000", "plan"):
        job.write(kind, unit, {})
        job.path(kind, unit).write_text(content)
    with hold(job.path("leases", "embed-000001"), 30.0):
        assert JobWatcher(job, 30.0).status().state == "running"


def test_a_unit_that_says_nothing_yet_is_working_all_the_same(workspace: Path) -> None:
    job = planned(workspace, 5)
    with hold(job.path("leases", "embed-000000"), 30.0):
        (unit,) = JobWatcher(job, 30.0).status().units
    assert (unit.unit, unit.stage, unit.done) == ("embed-000000", "", 0)


def test_a_job_that_was_removed_or_damaged_is_an_error(workspace: Path, remove: Any) -> None:
    job = planned(workspace, 5)
    watcher = JobWatcher(JobFolder(job.root), 30.0)
    (job.root / "job.json").write_text("{}")
    with pytest.raises(JobError, match="does not fit at"):
        watcher.status()
    remove(job)
    with pytest.raises(JobError, match="There is no job"):
        JobWatcher(JobFolder(job.root), 30.0).status()


def test_the_last_trouble_is_told_while_it_waits(workspace: Path) -> None:
    job = planned(workspace, 5, 5)
    for unit, when, problem in (("embed-000000", 10.0, "Old."), ("embed-000001", 20.0, "New.")):
        error = {"problem": problem, "remedy": "Wait.", "type": "X"}
        job.write("tries", unit, {"starts": 2, "ends": 2, "not_before": when, "error": error})
    status = JobWatcher(job, 30.0).status()
    assert (status.message, status.tries) == ("New. Wait.", 4)


def test_the_steps_of_each_kind(workspace: Path) -> None:
    upgrade = UpgradeJob(gallery="/gallery", model="/model")
    wishes = [
        (IngestJob(sources=("/x",), gallery="/g"), ("plan", "embed", "index")),
        (TRAIN, ("train",)),
        (upgrade, ("plan", "embed", "build", "gate", "switch")),
        (
            RetrainJob(train=TRAIN, upgrade=upgrade, reason="x"),
            ("train", "plan", "embed", "build", "gate", "switch"),
        ),
    ]
    for wish, steps in wishes:
        assert steps_of(create_job(workspace, wish)) == steps


def test_a_job_that_ends_while_it_is_looked_at_is_not_called_damaged(workspace: Path) -> None:
    class EndsMeanwhile(JobFolder):
        def ending(self, name: str) -> dict[str, Any] | None:
            found = super().ending(name)
            if not (self.root / "report.json").exists():
                self.end("report", {"state": "done"})
            return found

    job = EndsMeanwhile(create_job(workspace, IngestJob(sources=("/photos",), gallery="/gallery")).root)
    assert JobWatcher(job, 30.0).status().state in ("waiting", "done")
