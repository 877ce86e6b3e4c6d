"""Whether a gallery should be retrained now: a decision over values, and the reading of these values.

A trigger that has led to a retraining, however that ended, needs something new before it leads to another:

* feedback: as many new verdicts again, counted from the start of the last retraining;
* drift: :data:`~sbka_milvus.pipelines.drift.MIN_NEW_PHOTOS` more photos than the last retraining knew, or a reference
  that was written since (a switch of models writes one);
* schedule: its time again, and other data or settings than those of the last retraining that came to an end; one that
  failed may be tried again with the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sbka_milvus.embeddings import Gallery
from sbka_milvus.feedback import FeedbackLog, FeedbackPair
from sbka_milvus.pipelines.drift import MIN_NEW_PHOTOS, DriftReport, drift_of
from sbka_milvus.pipelines.retraining.data import data_fingerprint
from sbka_milvus.pipelines.retraining.policy import RetrainingPolicy
from sbka_milvus.pipelines.retraining.records import RetrainingRecord, read_retrainings

Trigger = Literal["feedback", "drift", "schedule"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a retraining should start.

    Attributes:
        trigger: what asks for it.
        text: a clause with the figures.
    """

    trigger: Trigger
    text: str

    def __str__(self) -> str:
        return f"{self.trigger}: {self.text}"


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether it is time, and how far each trigger is.

    Attributes:
        reason: why a retraining should start now; none where it should not.
        blocked: what keeps every trigger from starting one; empty where nothing does.
        triggers: how far each trigger of the policy is.
    """

    reason: Reason | None
    blocked: str
    triggers: tuple[Reason, ...]


def retraining_due(
    policy: RetrainingPolicy,
    records: Sequence[RetrainingRecord],
    pairs: Sequence[FeedbackPair],
    drift: DriftReport,
    now: datetime,
    data: Callable[[], str] = str,
) -> Reason | None:
    """Why a retraining should start now; none where it should not. See :func:`look`."""
    return look(policy, records, pairs, drift, now, data).reason


def look(
    policy: RetrainingPolicy,
    records: Sequence[RetrainingRecord],
    pairs: Sequence[FeedbackPair],
    drift: DriftReport,
    now: datetime,
    data: Callable[[], str] = str,
) -> Outlook:
    """Decides whether to retrain, from nothing but its arguments.

    Args:
        policy: the gallery's.
        records: its retrainings so far, in any order.
        pairs: the verdicts that count.
        drift: of its photos.
        now: the time.
        data: gives the fingerprint of the training data; asked only where the schedule depends on it.
    """
    last = max(records, key=lambda record: record.started, default=None)
    checks = []
    if policy.after_pairs is not None:
        checks.append(_feedback(policy.after_pairs, last, pairs))
    if policy.drift_above is not None:
        checks.append(_drift(policy.drift_above, last, drift))
    if policy.every_hours is not None:
        checks.append(_schedule(policy, policy.every_hours, last, now, data))
    blocked = _blocked(policy, records, last, now)
    due = next((reason for reason, is_due in checks if is_due), None)
    return Outlook(None if blocked else due, blocked, tuple(reason for reason, _ in checks))


def outlook_of(gallery: Gallery, now: datetime) -> Outlook:
    """Reads what a gallery's folder holds and decides.

    Raises:
        GalleryError: There is no policy, or a file is damaged.
        DatasetError: The training data are gone.
    """
    policy = RetrainingPolicy.load(gallery.root)
    pairs = FeedbackLog(gallery.root).read()
    drift = DriftReport() if policy.drift_above is None else drift_of(gallery)
    return look(policy, read_retrainings(gallery), pairs, drift, now, lambda: data_fingerprint(policy, pairs))


def _blocked(
    policy: RetrainingPolicy, records: Sequence[RetrainingRecord], last: RetrainingRecord | None, now: datetime
) -> str:
    if not policy.enabled:
        return "the policy is switched off"
    running = next((record for record in records if record.status == "running"), None)
    if running is not None:
        return f"the job {running.job} is running"
    if last is not None:
        rested = (last.finished or last.started) + timedelta(hours=policy.rest_hours)
        if now < rested:
            return f"the last one ended less than {policy.rest_hours:g} h ago"
    return ""


def _feedback(wanted: int, last: RetrainingRecord | None, pairs: Sequence[FeedbackPair]) -> tuple[Reason, bool]:
    new = sum(last is None or pair.time > last.started for pair in pairs)
    since = "" if last is None else " since the last retraining"
    return Reason("feedback", f"{new} new verdicts{since}, {wanted} start one"), new >= wanted


def _drift(above: float, last: RetrainingRecord | None, drift: DriftReport) -> tuple[Reason, bool]:
    if not drift.reference:
        return Reason("drift", "there is no reference for the gallery's model yet"), False
    figures = f"{drift.drift:.3f} over {drift.n_new} new photos, above {above:g} starts one"
    if not drift.enough:
        return Reason("drift", f"{figures}; needs {MIN_NEW_PHOTOS} new photos"), False
    known = 0
    if last is not None and last.drift.get("reference") == drift.reference:
        known = int(last.drift.get("n_new", 0))
    if drift.drift > above and known and drift.n_new < known + MIN_NEW_PHOTOS:
        return Reason("drift", f"{figures}; the last retraining knew of {known} of them"), False
    return Reason("drift", figures), drift.drift > above


def _schedule(
    policy: RetrainingPolicy, every: float, last: RetrainingRecord | None, now: datetime, data: Callable[[], str]
) -> tuple[Reason, bool]:
    start = policy.since if last is None else last.started
    next_time = start + timedelta(hours=every)
    if now < next_time:
        return Reason("schedule", f"every {every:g} h, next at {next_time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"), False
    if last is not None and _is_decided(last) and policy.has_settings(last.settings) and last.data == data():
        return Reason("schedule", f"every {every:g} h, but data and settings are those of the last one"), False
    return Reason("schedule", f"{every:g} h have passed"), True


def _is_decided(record: RetrainingRecord) -> bool:
    """Whether its data and settings have had their chance."""
    return record.status in ("done", "refused")
