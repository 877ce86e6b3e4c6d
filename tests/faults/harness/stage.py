"""Where stories are played: jobs are asked for with their faults armed, and followed until they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.audit import audit_gallery
from harness.disk import Disk
from harness.fleet import Fleet
from harness.injection import Action, Fault, Injector, Ledger
from harness.pictures import NET
from sbka_milvus.factory import prepare_gallery
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.options import TrainingOptions
from schemas.jobs import IngestJob, JobRequest, TrainJob, UpgradeJob
from schemas.reports import JobStatus
from schemas.tasks import UnitMessage
from workers.app import app, configure
from workers.broker import broker_url
from workers.jobs import new_job_id
from workers.queueing import TASKS
from workers.steps import QUEUES, step_of
from workers.submit import ENDED, Job, submit, upgrade_request

_JOB_S = 200.0


@dataclass
class Running:
    """A job with its faults."""

    job: Job
    injector: Injector


class Stage:
    """Running processes, pictures and a model.

    Args:
        root: for pictures and models.
        fleet: the processes.
        disk: of workspace and galleries.
        ledger: of all faults.
    """

    def __init__(self, root: Path, fleet: Fleet, disk: Disk, ledger: Ledger) -> None:
        self.root = root
        self.fleet = fleet
        self.disk = disk
        self.ledger = ledger
        self.settings = fleet.settings

    def gallery(self, name: str) -> Path:
        """The folder of a gallery."""
        return self.disk.folder / name

    def ingest(self, name: str, photos: Path, faults: Sequence[Fault] = (), actions: Sequence[Action] = ()) -> Running:
        """Asks for an ingest."""
        root = self.gallery(name)
        prepare_gallery(root, None if root.exists() else self.root / "base", None, self.settings, SilentProgress())
        return self.ask(IngestJob(sources=(str(photos),), gallery=str(root)), faults, actions)

    def train(self, out: Path, faults: Sequence[Fault] = (), actions: Sequence[Action] = ()) -> Running:
        """Asks for a training of four epochs."""
        options = TrainingOptions(epochs=4, sketches_per_batch=4, photos_per_batch=4, validation_share=0.4)
        request = TrainJob(
            photos=str(self.root / "lessons"),
            sketches=str(self.root / "sketches"),
            out=str(out),
            backbone=NET,
            weights=str(self.root / "weights.safetensors"),
            size=32,
            device="cpu",
            precision="fp32",
            options=options,
        )
        return self.ask(request, faults, actions)

    def upgrade(self, name: str, model: Path, faults: Sequence[Fault] = (), actions: Sequence[Action] = ()) -> Running:
        """Asks for an upgrade that is switched to whatever the gate measures."""
        gate = {"held_out": self.root / "sketches", "force": True}
        request: UpgradeJob = upgrade_request(self.gallery(name), model, gate)
        return self.ask(request, faults, actions)

    def ask(self, request: JobRequest, faults: Sequence[Fault] = (), actions: Sequence[Action] = ()) -> Running:
        """Asks for a job, of which the faults are armed first."""
        name = new_job_id(request.kind)
        injector = Injector(self.fleet.faults, name, self.ledger)
        injector.arm(faults, actions)
        return Running(submit(request, self.settings, name), injector)

    def play(self, *running: Running, deadline_s: float = _JOB_S) -> list[JobStatus]:
        """Follows jobs until they have ended; every armed fault must have happened by then."""
        deadline = time.monotonic() + deadline_s
        while True:
            states = [self.look(one) for one in running]
            if all(state.state in ENDED for state in states):
                break
            assert time.monotonic() < deadline, [
                (state.model_dump(exclude={"report"}), one.injector.due)
                for state, one in zip(states, running, strict=True)
            ]
            time.sleep(0.05)
        for one, state in zip(running, states, strict=True):
            one.injector.look()
            assert state.state == "done", (state.state, state.message)
            assert not one.injector.due, one.injector.due
        return states

    def until(self, true: Callable[[JobStatus], object], running: Running, what: str, deadline_s: float = 60.0) -> None:
        """Follows a job until something is so."""
        deadline = time.monotonic() + deadline_s
        while not true(state := self.look(running)):
            assert time.monotonic() < deadline, f"{what} did not happen: {state.state} {state.message}"
            time.sleep(0.05)

    def look(self, running: Running) -> JobStatus:
        """Tends the processes and the faults, and says how a job is."""
        self.fleet.tend()
        running.injector.look()
        return running.job.status()

    def audit(self, name: str, photos: Path, bad: set[Path]) -> int:
        """See :func:`~harness.audit.audit_gallery`."""
        return audit_gallery(self.gallery(name), photos, bad, self.fleet.uri, self.ledger)

    def send_again(self, running: Running, unit: str) -> None:
        """The message of a unit once more, as a broker may deliver it."""
        configure(self.settings, broker_url(self.settings))
        step = step_of(unit)
        message = UnitMessage(job=running.job.id, unit=unit)
        app.send_task(TASKS[step], kwargs=message.model_dump(), queue=QUEUES[step])
