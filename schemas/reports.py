"""What background work reports: the state of a job, as people and scripts read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from schemas.jobs import Kind
from schemas.wire import Wire

State = Literal["waiting", "running", "done", "refused", "failed", "cancelled"]


class UnitProgress(Wire):
    """What one worker is doing for a job.

    Attributes:
        unit: the unit.
        stage: what it says it does.
        done: steps done.
        total: steps in all; none where that is not known.
        steps: what a step is: photos, steps, sketches.
        note: a live figure.
        rate: steps a second.
        updated: seconds since 1970.
        pid: of the process.
    """

    unit: str
    stage: str = ""
    done: int = 0
    total: int | None = None
    steps: str = ""
    note: str = ""
    rate: float = 0.0
    updated: float = 0.0
    pid: int = 0


class JobStatus(Wire):
    """One job now.

    Attributes:
        id: of the job.
        kind: of the job.
        state: ``waiting`` (nobody works on it now), ``running``, or how it ended; ``refused``: the gate kept the old
            model.
        created: when it was asked for.
        subject: the gallery or model it is about.
        stage: the step in hand.
        done: photos done, or steps of a training.
        total: of them in all; none where that is not known yet.
        steps: what is counted: photos, steps.
        rate: of them a second, over all workers.
        eta_s: seconds that are left of this stage at this rate.
        quarantined: files that could not be used.
        tries: failures and lost workers so far.
        message: the last problem, or how it ended.
        units: what each worker does for it.
        report: what it has made, when it is done.
    """

    id: str
    kind: Kind
    state: State
    created: datetime
    subject: str
    stage: str = ""
    done: int = 0
    total: int | None = None
    steps: str = ""
    rate: float = 0.0
    eta_s: float | None = None
    quarantined: int = 0
    tries: int = 0
    message: str = ""
    units: tuple[UnitProgress, ...] = ()
    report: dict[str, Any] | None = None
