"""Doing a job in this process, unit by unit, without Redis: the same units, leases and records as workers have."""

from __future__ import annotations

import time
from contextlib import suppress

from sbka_milvus.errors import JobError, OutputError
from sbka_milvus.progress import Progress
from sbka_milvus.settings import Settings
from schemas.jobs import JobRequest
from workers.context import Context
from workers.ending import finish_if_done
from workers.jobs import JobFolder
from workers.leases import LeaseTaken, hold
from workers.steps import missing_units
from workers.submit import Job, write_down
from workers.unit import Unit
from workers.units import handler_of

_WAIT_S = 0.5


def do_here(request: JobRequest, settings: Settings, progress: Progress) -> Job:
    """Writes a wish down and fulfils it in this process, together with workers where there are some.

    Stopped by Ctrl-C or an error, the job counts as cancelled: to ask again, or `sbka jobs retry`, goes on with it.

    Args:
        request: what is asked.
        settings: of this process.
        progress: what shows how far it is.

    Raises:
        JobError: Such a job is at work already.
        SbkaError: Whatever a unit raises.
    """
    job = write_down(request, settings)
    context = Context(settings)
    try:
        while job.is_open and (units := missing_units(job)):
            if not any([_do(job, name, context, progress) for name in units]):
                time.sleep(_WAIT_S)
        finish_if_done(job)
    except BaseException as error:
        with suppress(OutputError):
            job.end("cancel", {"problem": str(error) or type(error).__name__})
        raise
    finally:
        context.close_store()
    if job.is_open:
        raise JobError(f"The job {job.id} did not end.", f"Look at it with `sbka jobs show {job.id}`.")
    return Job(job, settings)


def _do(job: JobFolder, name: str, context: Context, progress: Progress) -> bool:
    """Whether a unit was ours to do: beat sees the job too, and a worker may have it in hand."""
    try:
        with hold(job.path("leases", name), context.settings.worker.lease_s) as lease:
            if not job.is_open or name not in missing_units(job):
                return True
            result = handler_of(name)(Unit(job, name, context, lease), progress)
            lease.require()
            if result is not None:
                job.write("done", name, result)
            return True
    except LeaseTaken:
        return False
