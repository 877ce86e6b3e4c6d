"""How jobs end: what they have made, gathered from their units."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

from sbka_milvus.errors import GalleryError
from workers.jobs import JobFolder
from workers.steps import Plan, missing_units, quarantined

_log = logging.getLogger(__name__)


def finish_if_done(job: JobFolder) -> bool:
    """Closes a job of which nothing is missing.

    Returns:
        Whether it is closed now.

    Raises:
        OutputError: The workspace cannot be written.
        JobError: The job's record is damaged.
    """
    if not job.is_open:
        return True
    if missing_units(job):
        return False
    report = make_report(job)
    if job.record.request.kind == "retrain":
        from workers.retraining import record_retraining

        try:
            record_retraining(job, report)
        except GalleryError as error:
            # The model is trained and serves: a record that somebody removed must not keep the job open for ever.
            _log.warning("%s leaves no record: %s", job.id, error)
    job.end("report", report)
    return True


def make_report(job: JobFolder) -> dict[str, Any]:
    """What a job has made: the reports of its steps, and the sums over its chunks."""
    report: dict[str, Any] = {"seconds": time.time() - job.record.created.timestamp()}
    for step in ("train", "index", "build", "gate", "switch", "cluster"):
        done = job.read("done", step)
        if done is not None:
            report[step] = done
    plan = Plan.read(job)
    if plan is not None:
        report["embed"] = chunk_sums(job) | {"found": plan.found, "unchanged": plan.unchanged}
    gate = report.get("gate")
    report["state"] = "refused" if gate is not None and not gate.get("passed") else "done"
    return report


def chunk_sums(job: JobFolder) -> dict[str, Any]:
    """Photos embedded or taken over, and files quarantined over all chunks; the seconds that workers were at it."""
    photos = dict.fromkeys(("embedded", "moved", "copied", "touched"), 0)
    seconds = 0.0
    for unit in sorted(job.names("done")):
        if unit.startswith("embed-"):
            done = job.read("done", unit) or {}
            photos = {name: count + int(done.get(name, 0)) for name, count in photos.items()}
            seconds += float(done.get("seconds", 0.0))
    bad = [asdict(file) for file in quarantined(job)]
    return {**photos, "quarantined": bad, "worker_seconds": seconds}
