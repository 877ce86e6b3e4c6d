"""What a job says of itself now, read from its folder: no worker and no Redis is asked."""

from __future__ import annotations

import time
from typing import Any

from pydantic import ValidationError

from schemas.jobs import TrainJob
from schemas.reports import JobStatus, State, UnitProgress
from workers.jobs import JobFolder
from workers.leases import is_held
from workers.steps import STEPS, Plan, missing_units, step_of

_FRESH_S = 30.0
"""Progress that is older is of a worker that hangs or is gone."""


class JobWatcher:
    """Reads the status of one job again and again; what is done is read once, for it never changes.

    Args:
        job: the job.
        lease_s: seconds of silence after which a worker counts as gone.
    """

    def __init__(self, job: JobFolder, lease_s: float) -> None:
        self.job = job
        self._lease_s = lease_s
        self._chunks: dict[str, dict[str, Any]] = {}

    def status(self) -> JobStatus:
        """The job now.

        Raises:
            JobError: There is no such job, or its record is damaged.
        """
        job = self.job
        record = job.record
        working = self._working()
        state, message, report = self._ending()
        if state is None:
            state = "running" if working else "waiting"
            message = self._trouble()
        step = step_of(next(iter(missing_units(job)), "")) if state in ("running", "waiting") else ""
        done, total, steps = self._count(step, working)
        rate = sum(unit.rate for unit in working if unit.steps == steps)
        left = None if total is None or rate <= 0 else max(0, total - done) / rate
        return JobStatus(
            id=job.id,
            kind=record.request.kind,
            state=state,
            created=record.created,
            subject=_subject(record.request),
            stage=_stage(step, working),
            done=done,
            total=total,
            steps=steps,
            rate=rate,
            eta_s=left,
            quarantined=self._quarantined(),
            tries=self._tries(),
            message=message,
            units=tuple(working),
            report=report,
        )

    def _ending(self) -> tuple[State | None, str, dict[str, Any] | None]:
        # Looked at first: one that ends while this is read has not ended yet.
        was_open = self.job.is_open
        if was_open:
            return None, "", None
        report = self.job.ending("report")
        if report is not None:
            refused = report.get("state") == "refused"
            why = str(report.get("gate", {}).get("reason", "")) if refused else ""
            return ("refused" if refused else "done"), why, report
        failed = self.job.ending("failed")
        if failed is not None:
            return "failed", f"{failed.get('problem', '')} {failed.get('remedy', '')}".strip(), None
        if self.job.is_cancelled:
            return "cancelled", f"Go on with `sbka jobs retry {self.job.id}`.", None
        goes_on = self.job.is_open  # somebody had it go on just now
        if goes_on:
            return None, "", None
        return "failed", f"The record of how it ended is damaged. Run `sbka jobs retry {self.job.id}`.", None

    def _working(self) -> list[UnitProgress]:
        found = []
        now = time.time()
        for unit in sorted(self.job.names("leases")):
            if is_held(self.job.path("leases", unit), self._lease_s):
                content = self.job.read("progress", unit) or {"unit": unit, "updated": now}
                try:
                    told = UnitProgress.model_validate(content)
                except ValidationError:
                    continue
                # A rate that is not told any more is none.
                found.append(told if now - told.updated < _FRESH_S else told.model_copy(update={"rate": 0.0}))
        return found

    def _count(self, step: str, working: list[UnitProgress]) -> tuple[int, int | None, str]:
        plan = Plan.read(self.job)
        if step not in ("embed", "") and working:
            one = working[0]
            return one.done, one.total, one.steps
        if plan is None:
            return 0, None, ""
        self._read_chunks(plan)
        done = sum(plan.counts[number] for number, unit in enumerate(plan.units) if unit in self._chunks)
        done += sum(unit.done for unit in working if unit.unit in set(plan.units) and unit.unit not in self._chunks)
        return done, sum(plan.counts), "photos"

    def _read_chunks(self, plan: Plan) -> None:
        # One whose shard was lost is not done any more.
        self._chunks = {
            unit: self._chunks.get(unit) or self.job.read("done", unit) or {}
            for unit in self.job.names("done").intersection(plan.units)
        }

    def _quarantined(self) -> int:
        plan = Plan.read(self.job)
        if plan is None:
            return 0
        self._read_chunks(plan)
        return len(plan.problems) + sum(len(chunk.get("quarantined", ())) for chunk in self._chunks.values())

    def _tries(self) -> int:
        """Failures and deaths that were not followed by success yet; the start in hand is no failure."""
        total = 0
        for unit in self.job.names("tries"):
            tries = self.job.read("tries", unit) or {}
            total += max(0, int(tries.get("starts", 0)) - (1 if self.job.path("leases", unit).exists() else 0))
        return total

    def _trouble(self) -> str:
        """The last failure of a unit that waits for its next try."""
        latest = 0.0
        message = ""
        for unit in self.job.names("tries"):
            tries = self.job.read("tries", unit) or {}
            error = tries.get("error")
            if isinstance(error, dict) and float(tries.get("not_before", 0.0)) > latest:
                latest = float(tries["not_before"])
                message = f"{error.get('problem', '')} {error.get('remedy', '')}".strip()
        return message


def _subject(request: Any) -> str:
    return str(request.out if isinstance(request, TrainJob) else request.gallery)


def _stage(step: str, working: list[UnitProgress]) -> str:
    if not step:
        return ""
    told = next((unit.stage for unit in working if unit.stage and step_of(unit.unit) == step), "")
    return f"{step}: {told}" if told and step != "embed" else step


def steps_of(job: JobFolder) -> tuple[str, ...]:
    """The steps of a job, in order."""
    return STEPS[job.record.request.kind]
