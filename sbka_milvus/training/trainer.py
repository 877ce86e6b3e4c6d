"""The training loop: epochs, optimisers, and the choice of the best epoch on pseudo-unseen categories."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from sbka_milvus.encoders.precision import Precision
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.errors import TrainingError
from sbka_milvus.evaluation import mean_average_precision, rank_one_to_one, relevance_matrix
from sbka_milvus.progress import Advance, Progress
from sbka_milvus.training.augment import augment
from sbka_milvus.training.data import PixelSet, TrainingData
from sbka_milvus.training.history import EpochRecord, History
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.sampler import RatioSampler
from sbka_milvus.training.task import Batch, Losses, SbkaTask
from sbka_milvus.types import FloatArray, IntArray, normalise

VALIDATION_BATCH = 64


class Trainer:
    """Trains a student (and its teacher) and leaves the student with the parameters of its best epoch."""

    def __init__(
        self,
        student: SbkaStudent,
        teacher: SbkaTeacher | None,
        affinity: torch.Tensor | None,
        options: TrainingOptions,
        *,
        device: torch.device,
        precision: Precision,
    ) -> None:
        torch.manual_seed(options.seed)
        layout = torch.channels_last if precision.channels_last else torch.preserve_format
        self.student = student.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.teacher = None if teacher is None else teacher.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.options = options
        self.device = device
        self.precision = precision
        affinity = None if affinity is None else affinity.to(device)
        self.task = SbkaTask(self.student, self.teacher, affinity, options, precision)
        self.history = History()
        self._generator = torch.Generator().manual_seed(options.seed)
        self._optimiser = self._adam(_student_parameters(self.student, options))
        learns = self.teacher is not None and options.mode == "bidirectional"
        self._teacher_optimiser = self._adam(self.teacher.knowledge.parameters()) if learns and self.teacher else None

    def _adam(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        return torch.optim.Adam(
            parameters, lr=self.options.learning_rate, weight_decay=self.options.weight_decay, foreach=True
        )

    def fit(self, data: TrainingData, progress: Progress) -> History:
        """Runs all epochs.

        Raises:
            TrainingError: A loss became infinite or not a number.
        """
        options = self.options
        sampler = RatioSampler(
            len(data.sketches), len(data.photos), options.sketches_per_batch, options.photos_per_batch, options.seed
        )
        best: dict[str, torch.Tensor] | None = None
        with progress.stage("Training", options.epochs * len(sampler), "steps") as advance:
            for epoch in range(options.epochs):
                record = self._epoch(epoch, data, sampler, advance)
                self.history.epochs.append(record)
                if options.may_select(epoch) and self._is_best(record):
                    self.history.best_epoch = record.epoch
                    best = {name: value.detach().clone() for name, value in self.student.state_dict().items()}
        assert best is not None, "the last epoch may always be selected"
        self.student.load_state_dict(best)
        return self.history

    def _is_best(self, record: EpochRecord) -> bool:
        """Without pseudo-unseen categories the last epoch is the model."""
        best = self.history.best_map
        return best is None or record.validation_map is None or record.validation_map > best

    def _epoch(self, epoch: int, data: TrainingData, sampler: RatioSampler, advance: Advance) -> EpochRecord:
        start = time.perf_counter()
        teacher_learns = self.options.teacher_learns(epoch)
        rate = self.options.learning_rate * self.options.rate_factor(epoch)
        for optimiser in filter(None, (self._optimiser, self._teacher_optimiser)):
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.student.train()
        if self.teacher is not None:
            self.teacher.train()
        sums: dict[str, float] = defaultdict(float)
        for sketches, photos in sampler.epoch():
            losses = self._step(self._batch(data, sketches, photos), teacher_learns)
            for name, value in losses.items():
                sums[name] += value
            advance(1, f"epoch {epoch + 1}/{self.options.epochs}, loss {sum(losses.values()):.2f}")
        return EpochRecord(
            epoch=epoch + 1,
            losses={name: value / len(sampler) for name, value in sums.items()},
            learning_rate=rate,
            teacher_learns=teacher_learns,
            validation_map=self.validate(data),
            seconds=time.perf_counter() - start,
        )

    def _step(self, batch: Batch, teacher_learns: bool) -> dict[str, float]:
        student, teacher = self.task.losses(batch, teacher_learns=teacher_learns)
        values = {name: float(value.detach()) for name, value in (student | teacher).items()}
        if not all(np.isfinite(value) for value in values.values()):
            raise TrainingError(
                f"A loss is not finite any more: {values}.", "Lower --learning-rate, or train with --precision fp32."
            )
        self._optimiser.zero_grad(set_to_none=True)
        if self._teacher_optimiser is not None:
            self._teacher_optimiser.zero_grad(set_to_none=True)
        _total(student | teacher).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        if teacher and self._teacher_optimiser is not None:
            self._teacher_optimiser.step()
        return values

    def _batch(self, data: TrainingData, sketches: IntArray, photos: IntArray) -> Batch:
        return Batch(
            self._pixels(data.sketches, sketches, white_ground=True),
            torch.from_numpy(data.sketches.labels[sketches]).to(self.device),
            self._pixels(data.photos, photos, white_ground=False),
            torch.from_numpy(data.photos.labels[photos]).to(self.device),
        )

    def _pixels(self, source: PixelSet, indices: IntArray, *, white_ground: bool) -> torch.Tensor:
        pixels = source.pixels(indices).to(self.device)
        moved = augment(pixels, self.options.augment_probability, self._generator, white_ground=white_ground)
        scaled: torch.Tensor = self.student.backbone.preprocessing.scale(moved)
        return scaled

    def validate(self, data: TrainingData) -> float | None:
        """mAP@all of pseudo-unseen sketches against pseudo-unseen photos, one-to-one; none where none are held out."""
        if not data.validation_classes:
            return None
        sketches, photos = self._vectors(data.validation_sketches), self._vectors(data.validation_photos)
        ranked = data.validation_photos.labels[rank_one_to_one(sketches, photos)]
        return mean_average_precision(relevance_matrix(ranked, data.validation_sketches.labels))

    def _vectors(self, source: PixelSet) -> FloatArray:
        self.student.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(source), VALIDATION_BATCH):
                indices = np.arange(start, min(start + VALIDATION_BATCH, len(source)))
                scaled = self.student.backbone.preprocessing.scale(source.pixels(indices).to(self.device))
                parts.append(self.precision.run(self.student.backbone, scaled).cpu().numpy())
        return normalise(np.concatenate(parts))


def _student_parameters(student: SbkaStudent, options: TrainingOptions) -> list[nn.Parameter]:
    if options.trainable == "norm":
        student.backbone.requires_grad_(False)
        for module in student.backbone.modules():
            if "norm" in type(module).__name__.lower():
                # Its own alone: a block such as timm's NormMlpClassifierHead has other layers inside.
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(True)
    return [parameter for parameter in student.parameters() if parameter.requires_grad]


def _total(losses: Losses) -> torch.Tensor:
    return torch.stack(list(losses.values())).sum()
