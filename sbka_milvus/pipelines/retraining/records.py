"""What became of each retraining of a gallery: ``retrainings/<time>-<job>.json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import GalleryError, JobError, OutputError
from sbka_milvus.feedback import FeedbackLog
from sbka_milvus.files import replacing
from sbka_milvus.pipelines.drift import drift_of
from sbka_milvus.pipelines.retraining.data import data_fingerprint
from sbka_milvus.pipelines.retraining.policy import RetrainingPolicy

_FOLDER = "retrainings"
_LOCK_WAIT_S = 30.0

Status = Literal["running", "done", "refused", "failed", "cancelled"]


class RetrainingRecord(BaseModel):
    """One retraining.

    Attributes:
        job: id of the background job.
        reason: why it was started.
        status: ``running``; ``done``: its model serves; ``refused``: the gate kept the old model; ``failed``;
            ``cancelled``.
        started: when it was asked for.
        finished: when it ended; none while it runs.
        data: see :func:`~sbka_milvus.pipelines.retraining.data_fingerprint`.
        settings: what it was trained with.
        pairs: verdicts in the log when it was asked for.
        drift: the drift then, as :class:`~sbka_milvus.pipelines.drift.DriftReport` has it.
        old_fingerprint: of the model that served when it was asked for.
        new_fingerprint: of its model; empty where it made none.
        metrics: of its model, such as the mAP@all of the pseudo-unseen categories.
        gate: the gate's decision with both models' values; none where it came to none.
        message: how it ended, in one sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str = Field(pattern=r"^[\w-]+$")
    reason: str
    status: Status = "running"
    started: AwareDatetime
    finished: AwareDatetime | None = None
    data: str
    settings: dict[str, Any]
    pairs: int = 0
    drift: dict[str, Any] = Field(default_factory=dict)
    old_fingerprint: str
    new_fingerprint: str = ""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    gate: dict[str, Any] | None = None
    message: str = ""


def begin_retraining(
    gallery: Gallery, policy: RetrainingPolicy, job: str, reason: str, now: datetime
) -> RetrainingRecord:
    """Notes that a retraining begins. Doing it again for the same job gives the record that is there.

    Call it before the job is made: a record whose job never came to be is settled by :func:`settle_retrainings`, while
    a job without a record would be started a second time.

    Raises:
        JobError: Another retraining of this gallery is running.
        DatasetError: The training data do not fit.
        GalleryError: The log, the reference, a shard or a record is damaged.
        OutputError: The gallery's folder cannot be written.
    """
    with _locked(gallery):
        records = read_retrainings(gallery)
        for record in records:
            if record.job == job:
                return record
            if record.status == "running":
                raise JobError(
                    f"The gallery {gallery.root} is being retrained by the job {record.job}.",
                    f"Watch it with `sbka jobs watch {record.job}`, or cancel it first.",
                )
        pairs = FeedbackLog(gallery.root).read()
        record = RetrainingRecord(
            job=job,
            reason=reason,
            started=now,
            data=data_fingerprint(policy, pairs),
            settings=policy.settings(),
            pairs=len(pairs),
            drift=drift_of(gallery).to_dict(),
            old_fingerprint=gallery.fingerprint,
        )
        _save(gallery, record)
        return record


def finish_retraining(gallery: Gallery, job: str, status: Status, now: datetime, **results: Any) -> RetrainingRecord:
    """Notes how a retraining ended; one that has come to the gate's decision stays as it is.

    One that failed or was cancelled may still be done: its job can be tried again.

    Args:
        gallery: that was retrained.
        job: its job.
        status: how it ended.
        now: the time.
        results: ``new_fingerprint``, ``metrics``, ``gate`` and ``message``, as far as there are any.

    Raises:
        GalleryError: The gallery has no record of the job, or a record is damaged.
        OutputError: The gallery's folder cannot be written.
    """
    with _locked(gallery):
        for record in read_retrainings(gallery):
            if record.job != job:
                continue
            if record.status in ("done", "refused"):
                return record
            finished = RetrainingRecord.model_validate(
                record.model_dump() | {"status": status, "finished": now} | results
            )
            _save(gallery, finished)
            return finished
    raise GalleryError(f"The gallery {gallery.root} has no retraining by the job {job}.", "Check the job's id.")


def settle_retrainings(
    gallery: Gallery, ended: Callable[[str], tuple[Status, str] | None], now: datetime
) -> list[RetrainingRecord]:
    """Finishes the records of jobs that are over: whoever should have done so has died.

    Args:
        gallery: to look at.
        ended: status and message of a job that is over or gone; none of one that still goes on.
        now: the time.

    Returns:
        The records that were finished.

    Raises:
        GalleryError: A record is damaged.
        OutputError: The gallery's folder cannot be written.
    """
    over = [
        (record.job, *found)
        for record in read_retrainings(gallery)
        if record.status == "running" and (found := ended(record.job)) is not None
    ]
    return [finish_retraining(gallery, job, status, now, message=message) for job, status, message in over]


def read_retrainings(gallery: Gallery) -> list[RetrainingRecord]:
    """The records of a gallery, oldest first.

    Raises:
        GalleryError: One is damaged.
    """
    return sorted(
        (_read(path) for path in (gallery.root / _FOLDER).glob("*.json")),
        key=lambda record: (record.started, record.job),
    )


def _read(path: Path) -> RetrainingRecord:
    try:
        return RetrainingRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise GalleryError(f"{path} is damaged or unreadable.", "Move it away.") from error


def _save(gallery: Gallery, record: RetrainingRecord) -> None:
    name = f"{record.started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{record.job}.json"
    with replacing(gallery.root / _FOLDER / name) as file:
        file.write((record.model_dump_json(indent=2) + "\n").encode())


@contextmanager
def _locked(gallery: Gallery) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = gallery.root / _FOLDER / ".lock"
    lock = FileLock(path, timeout=_LOCK_WAIT_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise GalleryError(f"Another process has held {path} for {_LOCK_WAIT_S:.0f} s.", "End it first.") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.", "Check its permissions.") from error
    try:
        yield
    finally:
        lock.release()
