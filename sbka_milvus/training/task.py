"""One step of SBKA: a batch of sketches and photos becomes named losses for the student and for the teacher."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from sbka_milvus.encoders.precision import Precision
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.errors import TrainingError
from sbka_milvus.training.losses import gaussian_alignment, soft_cross_entropy
from sbka_milvus.training.options import TrainingOptions

Losses = dict[str, torch.Tensor]


class Batch(NamedTuple):
    """A step's pictures.

    Attributes:
        sketches: shape (S, 3, H, W), float32, scaled for the backbone.
        sketch_labels: shape (S,), int64.
        photos: shape (P, 3, H, W), float32, scaled likewise.
        photo_labels: shape (P,), int64.
    """

    sketches: torch.Tensor
    sketch_labels: torch.Tensor
    photos: torch.Tensor
    photo_labels: torch.Tensor


class SbkaTask:
    """Computes the losses of one step.

    The student learns the seen categories from both modalities, the teacher's knowledge from photos, and one
    distribution of features for both modalities. The teacher, where it learns, learns the student's knowledge from
    the same photos by the same loss with the roles swapped.
    """

    def __init__(
        self,
        student: SbkaStudent,
        teacher: SbkaTeacher | None,
        affinity: torch.Tensor | None,
        options: TrainingOptions,
        precision: Precision,
    ) -> None:
        """Puts the networks side by side.

        Args:
            student: learns in every mode.
            teacher: none in mode ``ce``.
            affinity: shape (seen categories, known classes): see :mod:`~sbka_milvus.training.semantics`.
            options: mode and weights.
            precision: how the networks run.

        Raises:
            TrainingError: The mode needs a teacher and a knowledge head, and there is none.
        """
        if options.mode != "ce" and (teacher is None or student.knowledge is None):
            raise TrainingError(
                f"Mode {options.mode} needs a backbone with a knowledge head, and this one has none.",
                "Use weights that come with their classifier, or train with --mode ce.",
            )
        self.student = student
        self.teacher = teacher if options.mode != "ce" else None
        self.affinity = affinity
        self.options = options
        self.precision = precision

    def losses(self, batch: Batch, *, teacher_learns: bool) -> tuple[Losses, Losses]:
        """Weighted losses of the student and of the teacher; the teacher's are empty where it does not learn."""
        n_sketches = len(batch.sketches)
        with self._autocast(batch.photos):
            feature, seen_logits, knowledge_logits = self.student(
                self._layout(torch.cat([batch.sketches, batch.photos]))
            )
        labels = torch.cat([batch.sketch_labels, batch.photo_labels])
        student: Losses = {"category": functional.cross_entropy(seen_logits, labels)}
        student["alignment"] = self.options.alignment_weight * gaussian_alignment(feature)
        if self.teacher is None:
            return student, {}
        with self._autocast(batch.photos):
            fixed = self.teacher.features(self._layout(batch.photos))
        teacher_logits = self.teacher.knowledge(fixed)
        student_logits = knowledge_logits[n_sketches:]
        bias = None if self.affinity is None else self.options.affinity_weight * self.affinity[batch.photo_labels]
        student["knowledge"] = self.options.knowledge_weight * soft_cross_entropy(
            student_logits, self._target(teacher_logits), bias
        )
        if not teacher_learns:
            return student, {}
        return student, {"teacher_knowledge": soft_cross_entropy(teacher_logits, self._target(student_logits), bias)}

    def _target(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.detach() if self.options.detach_targets else logits

    def _autocast(self, like: torch.Tensor) -> torch.autocast:
        return torch.autocast(
            like.device.type, dtype=self.precision.autocast, enabled=self.precision.autocast is not None
        )

    def _layout(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.contiguous(memory_format=torch.channels_last) if self.precision.channels_last else pixels
