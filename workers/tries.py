"""Counting the tries of a unit: failures that tell why, and workers that died without a word."""

from __future__ import annotations

import time
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from sbka_milvus.errors import OutputError, SbkaError
from workers.jobs import JobFolder

MAX_DEATHS = 10
"""Workers that may die over one unit: far more than chance, so that restarts of a fleet do not end a job."""
CAREFUL_AFTER = 2
"""Deaths after which photos are taken one at a time, to find the one that ends the process."""
_LONGEST_WAIT_S = 60.0


def note_start(job: JobFolder, unit: str) -> None:
    """Counts a start; one that is followed by no end was a death. A unit over which too many died fails its job.

    Raises:
        OutputError: The workspace cannot be written.
        JobError: Too many workers died over this unit.
    """
    tries = _read(job, unit)
    tries["starts"] += 1
    job.write("tries", unit, tries)
    if deaths(job, unit) > MAX_DEATHS:
        raise _TooManyDeaths(
            f"{MAX_DEATHS} workers died over {unit} of {job.id}.",
            f"Look into their logs (memory?), then run `sbka jobs retry {job.id}`.",
        )


def note_end(job: JobFolder, unit: str) -> None:
    """Forgets the tries of a unit that is done or was given back."""
    job.remove("tries", unit)


def note_checkpoint(job: JobFolder, unit: str) -> None:
    """What a training has reached is kept: from here on it starts counting anew.

    Raises:
        OutputError: The workspace cannot be written.
    """
    job.write("tries", unit, _read(job, unit) | {"starts": 1, "ends": 0, "failures": 0})


def deaths(job: JobFolder, unit: str) -> int:
    """How many workers died over a unit, the start in hand left out."""
    tries = _read(job, unit)
    return max(0, int(tries["starts"]) - int(tries["ends"]) - 1)


def note_failure(job: JobFolder, unit: str, error: Exception, max_tries: int) -> None:
    """Counts a failure: it is tried again after a while, or ends the job.

    What cannot be reached now is waited for as long as it takes. A full disk, a time limit and what nobody foresaw are
    tried ``max_tries`` times. Any other error of ours will not go away by itself and ends the job at once.

    Raises:
        OutputError: The workspace cannot be written.
    """
    tries = _read(job, unit)
    tries["ends"] += 1
    waits = isinstance(error, SbkaError) and error.retryable
    tries["waits" if waits else "failures"] += 1
    may_pass = waits or not isinstance(error, SbkaError) or isinstance(error, OutputError)
    tries["error"] = _describe(error, unit)
    wait_s = min(_LONGEST_WAIT_S, 2.0 ** min(10, tries["waits"] + tries["failures"] - 1))
    tries["not_before"] = time.time() + wait_s
    job.write("tries", unit, tries)
    if not may_pass or tries["failures"] >= max_tries:
        job.end("failed", {"unit": unit, **tries["error"]})


def _describe(error: Exception, unit: str) -> dict[str, str]:
    if isinstance(error, SbkaError):
        return {"problem": error.problem, "remedy": error.remedy, "type": type(error).__name__}
    if isinstance(error, SoftTimeLimitExceeded):
        return {
            "problem": f"{unit} took longer than its time limit.",
            "remedy": "Look whether a drive or Milvus hangs.",
            "type": "TimeLimit",
        }
    text = f"{type(error).__name__}: {error}"
    return {"problem": text, "remedy": "See the worker's log; this is a fault of the program.", "type": "Unexpected"}


def _read(job: JobFolder, unit: str) -> dict[str, Any]:
    return {"starts": 0, "ends": 0, "failures": 0, "waits": 0} | (job.read("tries", unit) or {})


class _TooManyDeaths(SbkaError):
    """The workers of a unit keep dying."""
