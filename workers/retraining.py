"""A retraining as a job: what a policy asks for, how it ended, and the record that it leaves with the gallery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sbka_milvus.embeddings import Gallery
from sbka_milvus.pipelines.retraining import RetrainingPolicy, finish_retraining
from sbka_milvus.pipelines.retraining.data import check_data
from sbka_milvus.pipelines.retraining.records import Status
from sbka_milvus.settings import Settings
from schemas.jobs import GateRules, RetrainJob, TrainJob, UpgradeJob
from schemas.wire import parse
from workers.jobs import JobFolder, job_root, new_job_id

_YOUNG = timedelta(minutes=2)


def retrain_job(gallery: Gallery, policy: RetrainingPolicy, reason: str, model: Path) -> RetrainJob:
    """The job that a policy asks for: whatever both know by one name is taken over.

    Args:
        gallery: to be retrained.
        policy: the gallery's.
        reason: why now.
        model: where the new model goes, in the job's folder.
    """
    root = str(gallery.root.absolute())
    told = _shared(policy, TrainJob) | {"out": str(model), "name": gallery.name, "feedback": root}
    if policy.tensorboard is not None:
        told["tensorboard"] = str(policy.tensorboard / model.parent.name)
    train = parse(TrainJob, told, "The training")
    gate = parse(GateRules, _shared(policy.gate, GateRules), "The gate")
    return RetrainJob(train=train, upgrade=UpgradeJob(gallery=root, model=str(model), gate=gate), reason=reason)


def require_retrainable(gallery: Gallery, policy: RetrainingPolicy, settings: Settings) -> None:
    """Refuses a policy by which no retraining could begin.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.retraining.data.check_data` and
            :func:`~workers.training.require_trainable`.
    """
    # Not before it is needed: it brings torch.
    from workers.training import require_trainable

    check_data(policy)
    model = job_root(settings.workspace.resolve()) / new_job_id("retrain") / "model"
    require_trainable(retrain_job(gallery, policy, "", model).train, settings)


def how_it_ended(workspace: Path, name: str) -> tuple[Status, str] | None:
    """Status and message of a retraining job that is over or gone; none of one that goes on."""
    job = JobFolder(job_root(workspace) / name)
    if not job.exists:
        # The record is written before the job.
        return None if _is_young(name) else ("failed", "Its job is not there any more.")
    report, failed = job.ending("report"), job.ending("failed")
    if report is not None:
        return ("refused" if report.get("state") == "refused" else "done"), ""
    if failed is not None:
        return "failed", str(failed.get("problem", ""))
    return ("cancelled", "It was cancelled.") if job.is_cancelled else None


def record_retraining(job: JobFolder, report: dict[str, Any]) -> None:
    """Notes with the gallery what a retraining has made.

    Raises:
        GalleryError: The gallery or its record is gone.
        OutputError: The gallery's folder cannot be written.
    """
    train, gate = report.get("train", {}), report.get("gate")
    finish_retraining(
        Gallery.open(Path(job.request.gallery)),
        job.id,
        "refused" if report.get("state") == "refused" else "done",
        datetime.now(UTC),
        new_fingerprint=train.get("fingerprint", ""),
        metrics={"validation_map": train.get("validation_map")},
        gate=gate,
        message=str((gate or {}).get("reason", "")),
    )


def _shared(policy: BaseModel, wish: type[BaseModel]) -> dict[str, Any]:
    """The entries of a policy that a wish has, too; paths as text."""
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in policy if name in wish.model_fields
    }


def _is_young(name: str) -> bool:
    made = datetime.strptime("-".join(name.split("-")[1:3]), "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    return datetime.now(UTC) - made < _YOUNG
