"""Running one unit: under a lease, once, with its failures counted; then what follows is queued."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sbka_milvus.errors import JobCancelled, JobError, LeaseLost, OutputError, SbkaError
from schemas.tasks import UnitMessage
from workers.context import Context
from workers.health import current_work
from workers.jobs import JobFolder, open_job
from workers.leases import LeaseTaken, hold
from workers.progress import FileProgress
from workers.reconcile import reconcile_job
from workers.steps import missing_units, step_of
from workers.tries import note_end, note_failure, note_start
from workers.unit import Unit
from workers.units import handler_of

_log = logging.getLogger(__name__)


def run_unit(message: UnitMessage, context: Context) -> None:
    """Does a unit, unless it is done, cancelled, removed, or in the hands of another worker."""
    try:
        job = open_job(context.workspace, message.job)
        job.remove("queued", message.unit)
        if not _is_wanted(job, message.unit):
            return
    except JobError as error:
        _log.warning("%s: %s", message.unit, error)
        return
    try:
        with hold(job.path("leases", message.unit), context.settings.worker.lease_s) as lease:
            # Looked at again: it may have been finished just before the lease was free.
            if _is_wanted(job, message.unit) and not _attempt(Unit(job, message.unit, context, lease)):
                # Beat looks again: at once it would fail again, and on a full disk nothing holds it back.
                return
    except LeaseTaken:
        _log.info("%s of %s is in the hands of another worker", message.unit, job.id)
        return
    except SbkaError as error:
        # The lease itself could not be written: the disk is full.
        _log.warning("%s of %s: %s", message.unit, job.id, error)
        return
    try:
        reconcile_job(context.settings, job)
    except SbkaError as error:
        _log.warning("What follows %s of %s is queued later: %s", message.unit, job.id, error)


def _is_wanted(job: JobFolder, unit: str) -> bool:
    return job.is_open and unit in missing_units(job)


def _attempt(unit: Unit) -> bool:
    """Whether it went well."""
    job, name = unit.job, unit.name
    work = current_work()
    work.begin(job.id, name)
    problem: str | None = None
    try:
        note_start(job, name)
        progress = FileProgress(job.path("progress", name), name, lambda: _check(unit), _count(name))
        result = handler_of(name)(unit, progress)
        unit.lease.require()
        if result is not None:
            job.write("done", name, result | ({"notes": progress.said} if progress.said else {}) | {"at": time.time()})
        note_end(job, name)
        return True
    except LeaseLost as stop:
        # Its tries are counted by the one who has it now.
        _log.info("%s of %s: %s", name, job.id, stop)
    except JobCancelled as stop:
        _log.info("%s of %s: %s", name, job.id, stop)
        note_end(job, name)
    except Exception as error:  # whatever it is, it is counted, told and tried again or given up
        problem = str(error) or type(error).__name__
        _log.warning("%s of %s failed: %s", name, job.id, problem, exc_info=not isinstance(error, SbkaError))
        _count_failure(unit, error)
    finally:
        work.end(problem)
        job.remove("progress", name)
    return False


def _count_failure(unit: Unit, error: Exception) -> None:
    try:
        note_failure(unit.job, unit.name, error, unit.context.settings.worker.max_tries)
    except OutputError:
        # A start whose end cannot be written down would be taken for a death.
        note_end(unit.job, unit.name)


def _count(unit: str) -> Callable[[int], None]:
    """Only what is embedded counts as images done; an index goes over the same photos again."""
    return current_work().images if step_of(unit) == "embed" else _ignore


def _ignore(_photos: int) -> None:
    return


def _check(unit: Unit) -> None:
    if unit.job.is_cancelled:
        raise JobCancelled(f"The job {unit.job.id} was cancelled.", f"Go on with `sbka jobs retry {unit.job.id}`.")
    unit.lease.require()
