"""Reconcile: what is wanted against what is there. Running it twice changes nothing."""

from __future__ import annotations

import logging

from sbka_milvus.errors import BrokerUnavailable, SbkaError
from sbka_milvus.settings import Settings
from workers.ending import finish_if_done
from workers.jobs import JobFolder, open_jobs
from workers.queueing import Sender

_log = logging.getLogger(__name__)


def reconcile_all(settings: Settings) -> int:
    """Queues what is missing of all jobs, and closes those of which nothing is.

    Returns:
        How many messages were sent.
    """
    sent = 0
    jobs = [job for job in open_jobs(settings.workspace.resolve()) if not _finished(job)]
    if not jobs:
        return 0
    try:
        sender = Sender(settings)
        for job in jobs:
            sent += _advance(sender, job)
    except BrokerUnavailable as error:
        _log.warning("%s", error)
    return sent


def reconcile_job(settings: Settings, job: JobFolder) -> int:
    """As :func:`reconcile_all`, for one job.

    Raises:
        BrokerUnavailable: Redis cannot be reached now; the next look makes it good.
        OutputError: The workspace cannot be written.
        JobError: The job's record is damaged.
    """
    if not job.is_open or finish_if_done(job):
        return 0
    return Sender(settings).advance(job)


def _finished(job: JobFolder) -> bool:
    try:
        return finish_if_done(job)
    except SbkaError as error:
        _log.warning("Job %s is passed over: %s", job.id, error)
        return True


def _advance(sender: Sender, job: JobFolder) -> int:
    try:
        return sender.advance(job)
    except BrokerUnavailable:
        raise
    except SbkaError as error:
        # A full disk or one damaged job must not keep the others waiting.
        _log.warning("Job %s is passed over: %s", job.id, error)
        return 0
