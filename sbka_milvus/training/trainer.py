"""The training loop: epochs, the choice of the best one, and going on from a checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import numpy as np
import torch

from sbka_milvus.encoders.precision import Precision
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.stages import freeze_stages
from sbka_milvus.encoders.trainable import choose_trainable
from sbka_milvus.errors import TrainingError
from sbka_milvus.memory import keeping_freed_memory
from sbka_milvus.progress import Advance, Progress
from sbka_milvus.training.batches import BatchSource
from sbka_milvus.training.checkpoint import Checkpoints, Position, State
from sbka_milvus.training.data import TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.history import EpochRecord, History
from sbka_milvus.training.optimisation import Learner, group_size
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.placing import place
from sbka_milvus.training.task import Batch, Losses, SbkaTask
from sbka_milvus.training.validation import validation_map
from sbka_milvus.training.weight_average import WeightAverage


class Trainer:
    """Trains a student (and its teacher) and leaves the student with the parameters of its best epoch.

    Attributes:
        history: the epochs so far.
        resumed_at: epochs and further steps that a checkpoint had done; none where the training started anew.
    """

    def __init__(
        self,
        student: SbkaStudent,
        teacher: SbkaTeacher | None,
        affinity: torch.Tensor | None,
        options: TrainingOptions,
        *,
        team: Team,
        precision: Precision,
        nearness: torch.Tensor | None = None,
    ) -> None:
        torch.manual_seed(options.seed)
        layout = torch.channels_last if precision.channels_last else torch.preserve_format
        self.student = student.to(team.device, memory_format=layout)  # type: ignore[call-overload]
        self.teacher = None if teacher is None else teacher.to(team.device, memory_format=layout)  # type: ignore[call-overload]
        self.options = options
        self.team = team
        self.precision = precision
        affinity, nearness = (None if table is None else table.to(team.device) for table in (affinity, nearness))
        self.task = SbkaTask(self.student, self.teacher, affinity, options, precision, nearness=nearness, team=team)
        self.history = History()
        self.resumed_at: tuple[int, int] | None = None
        self._best: dict[str, torch.Tensor] | None = None
        self._at = Position()
        choose_trainable(self.student.backbone, options.trainable)
        freeze_stages(self.student.backbone, options.frozen_stages)
        self._learner = Learner(self.student.parameters(), options, slow=self.student.backbone.parameters())
        learns = options.mode == "bidirectional" and self.teacher is not None
        self._teacher_learner = Learner(self.teacher.parameters(), options) if learns and self.teacher else None
        self._average = WeightAverage(self.student, options.ema_decay) if options.ema_decay else None

    @property
    def _learners(self) -> list[Learner]:
        return [one for one in (self._learner, self._teacher_learner) if one is not None]

    def fit(
        self,
        data: TrainingData,
        progress: Progress,
        checkpoints: Checkpoints | None = None,
        on_epoch: Callable[[History], None] = lambda _: None,
    ) -> History:
        """Runs all epochs, or those that a checkpoint leaves to do.

        Args:
            data: what to train on.
            progress: what shows the steps.
            checkpoints: where the training keeps what it needs to go on; none: nowhere.
            on_epoch: is shown the history after each epoch, and at first where epochs were done before.

        Raises:
            TrainingError: A loss became infinite or not a number, or the checkpoint is not to be used.
        """
        options = self.options
        source = BatchSource(data, options, self.student.backbone.preprocessing, self.team)
        state = None if checkpoints is None else checkpoints.load()
        if state is not None:
            self._restore(state, source)
        elif self.student.isometry is not None:
            place(self.student, self.teacher, data, self.precision, sketches=options.shows_sketches)
            self.team.average([self.student.isometry.weight])
        self.team.require_same([str(self.resumed_at)], "checkpoints")
        with keeping_freed_memory(), progress.stage("Training", options.epochs * len(source), "steps") as advance:
            if self.resumed_at is not None:
                epoch, step = self.resumed_at
                progress.say(
                    f"Going on from the checkpoint: {epoch} of {options.epochs} epochs and {step} steps are done."
                )
                advance(epoch * len(source) + step, f"epoch {min(epoch + 1, options.epochs)}/{options.epochs}")
                on_epoch(self.history)
            for _ in range(self._at.epoch, options.epochs):
                self._epoch(data, source, advance, checkpoints)
                on_epoch(self.history)
        assert self._best is not None, "the last epoch may always be selected"
        self.student.load_state_dict(self._best)
        return self.history

    def _is_best(self, record: EpochRecord) -> bool:
        """Without pseudo-unseen categories the last epoch is the model."""
        best = self.history.best_map
        return best is None or record.validation_map is None or record.validation_map > best

    def _epoch(
        self, data: TrainingData, source: BatchSource, advance: Advance, checkpoints: Checkpoints | None
    ) -> None:
        start, at = time.perf_counter() - self._at.seconds, self._at
        teacher_learns = self.options.teacher_learns(at.epoch)
        self.student.train()
        if self.teacher is not None:
            self.teacher.train()
        for batch in source.epoch(at.step):
            self.team.seed_step(self.options.seed, at.epoch, at.step)
            losses = self._step(batch, len(source), teacher_learns=teacher_learns)
            at.sums = {name: at.sums.get(name, 0.0) + value for name, value in losses.items()}
            at.step += 1
            advance(1, f"epoch {at.epoch + 1}/{self.options.epochs}, loss {sum(losses.values()):.2f}")
            # Gradients that wait for further batches are kept by no checkpoint.
            whole = at.step % self.options.accumulate == 0 or at.step == len(source)
            if whole and checkpoints is not None and self.team.leads and checkpoints.due:
                at.seconds = time.perf_counter() - start
                checkpoints.save(lambda: self._capture(source))
        rates = self._rates(len(source) - 1, len(source))
        with self._as_model():
            record = EpochRecord(
                epoch=at.epoch + 1,
                losses={name: value / len(source) for name, value in at.sums.items()},
                learning_rate=rates[0],
                teacher_learns=teacher_learns,
                validation_map=self._agreed_validation(data),
                seconds=time.perf_counter() - start,
                teacher_learning_rate=rates[1] if teacher_learns else None,
            )
            self.history.epochs.append(record)
            if self.options.may_select(at.epoch) and self._is_best(record):
                self.history.best_epoch = record.epoch
                self._best = {name: value.detach().clone() for name, value in self.student.state_dict().items()}
        self._at = Position(at.epoch + 1)
        if checkpoints is not None and self.team.leads:
            checkpoints.save(lambda: self._capture(source))

    def _as_model(self) -> AbstractContextManager[None]:
        """Within it the student is what would be saved."""
        return nullcontext() if self._average is None else self._average.worn()

    def _rates(self, step: int, steps: int) -> tuple[float, float]:
        """The student's and the teacher's learning rate in the change that a batch of this epoch belongs to."""
        first = step - step % self.options.accumulate
        width = group_size(step, self.options.accumulate, steps) / steps
        factors = (self.options.rate_factor, self.options.teacher_rate_factor_at)
        mine, theirs = (self.options.learning_rate * one(self._at.epoch, first / steps, width) for one in factors)
        return mine, theirs

    def _step(self, batch: Batch, steps: int, *, teacher_learns: bool) -> dict[str, float]:
        student, teacher = self.task.losses(batch, teacher_learns=teacher_learns)
        values = self.team.mean({name: float(value.detach()) for name, value in (student | teacher).items()})
        if not all(np.isfinite(value) for value in values.values()):
            raise TrainingError(
                f"A loss is not finite any more: {values}.", "Lower --learning-rate, or train with --precision fp32."
            )
        place, group = (
            self._at.step % self.options.accumulate,
            group_size(self._at.step, self.options.accumulate, steps),
        )
        if place == 0:
            for learner in self._learners:
                learner.forget()
        (_total(student | teacher) / group).backward()  # type: ignore[no-untyped-call]
        if place == group - 1:
            self._change(self._rates(self._at.step, steps), teacher_learns=teacher_learns)
        return values

    def _change(self, rates: tuple[float, float], *, teacher_learns: bool) -> None:
        # Gradients, and the statistics of normalisation layers, which each process has of its share alone.
        gradients = [gradient for learner in self._learners for gradient in learner.gradients]
        self.team.average([*gradients, *self.student.buffers()])
        self._learner.step(rates[0])
        if teacher_learns and self._teacher_learner is not None:
            self._teacher_learner.step(rates[1])
        if self._average is not None:
            self._average.update()

    def validate(self, data: TrainingData) -> float | None:
        """mAP@all of the pseudo-unseen categories: see :mod:`~sbka_milvus.training.validation`."""
        return validation_map(self.student, data, self.precision, self.team.device)

    def _agreed_validation(self, data: TrainingData) -> float | None:
        figure: float | None = json.loads(
            self.team.of_leader(json.dumps(self.validate(data) if self.team.leads else None))
        )
        return figure

    def _capture(self, source: BatchSource) -> State:
        """All that :meth:`_restore` needs. What never changes of the teacher is left out."""
        device = self.team.device
        return {
            "student": self.student.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.learned(),
            "optimisers": [learner.state() for learner in self._learners],
            "average": None if self._average is None else self._average.state(),
            "lessons": None if self.task.lessons is None else self.task.lessons.state(),
            "best": self._best,
            "history": json.dumps(self.history.to_dict()),
            "position": asdict(self._at),
            "batches": source.state(),
            "chance": torch.get_rng_state(),
            "cuda_chance": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def _restore(self, state: State, source: BatchSource) -> None:
        try:
            self.student.load_state_dict(state["student"])
            if self.teacher is not None:
                self.teacher.load_learned(state["teacher"])
            for learner, saved in zip(self._learners, state["optimisers"], strict=True):
                learner.load_state(saved)
            if self._average is not None:
                self._average.load_state(state["average"])
            if self.task.lessons is not None:
                self.task.lessons.load_state(state["lessons"])
            self._best = state["best"]
            self.history = History.from_dict(json.loads(state["history"]))
            self._at = Position(**state["position"])
            source.load_state(state["batches"])
            torch.set_rng_state(state["chance"])
            if state["cuda_chance"] is not None:
                torch.cuda.set_rng_state(state["cuda_chance"], self.team.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"The training cannot go on from its checkpoint: {str(error).splitlines()[0].rstrip('.')}.",
                "Start anew with --fresh.",
            ) from error
        self.resumed_at = (self._at.epoch, self._at.step)


def _total(losses: Losses) -> torch.Tensor:
    return torch.stack(list(losses.values())).sum()
