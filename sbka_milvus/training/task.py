"""One step of SBKA: a batch of sketches and photos becomes named losses for the student and for the teacher."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.precision import Precision
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.view import translate
from sbka_milvus.errors import TrainingError
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.lessons import CategoryLessons
from sbka_milvus.training.losses import (
    embedding_gap,
    gaussian_alignment,
    relation_gap,
    soft_cross_entropy,
    softened_targets,
    supervised_contrast,
)
from sbka_milvus.training.options import TrainingOptions

Losses = dict[str, torch.Tensor]


class Batch(NamedTuple):
    """A step's pictures.

    Attributes:
        sketches: shape (S, 3, H, H), float32, on the scale of the student's backbone, of its size or larger.
        sketch_labels: shape (S,), int64.
        photos: shape (P, 3, H, H), float32, likewise; only where the teacher sees sketches, too, of their size.
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
    the same photos by the same loss with the roles swapped. Where that is asked for, each also learns how far the other
    sees pictures lie from one another, or the other's features themselves.
    """

    def __init__(
        self,
        student: SbkaStudent,
        teacher: SbkaTeacher | None,
        affinity: torch.Tensor | None,
        options: TrainingOptions,
        precision: Precision,
        *,
        nearness: torch.Tensor | None = None,
        team: Team | None = None,
    ) -> None:
        """Puts the networks side by side.

        Args:
            student: learns in every mode.
            teacher: none in mode ``ce``.
            affinity: shape (seen categories, known classes): see :mod:`~sbka_milvus.training.semantics`.
            options: mode and weights.
            precision: how the networks run.
            nearness: shape (seen categories, seen categories): see :mod:`~sbka_milvus.training.words`.
            team: who trains together; losses that compare pictures do so over the pictures of all. By default nobody.

        Raises:
            TrainingError: The mode needs a teacher from whom something can be learned, and there is none.
        """
        _require_teacher(student, teacher, options)
        self.student = student
        self.teacher = teacher if options.mode != "ce" else None
        self.affinity = affinity
        self.nearness = nearness
        self.options = options
        self.precision = precision
        self.team = team or Team(torch.device("cpu"))
        self.lessons = self._lessons()

    def _lessons(self) -> CategoryLessons | None:
        known = self.student.knowledge
        if not self.options.sketch_knowledge_weight or self.teacher is None or self.teacher.knowledge is None:
            return None
        assert known is not None, "teacher and student know the same classes"
        weight = next(self.student.seen_head.parameters())
        return CategoryLessons(len(weight), known.n_classes, weight.device)

    def losses(self, batch: Batch, *, teacher_learns: bool) -> tuple[Losses, Losses]:
        """Weighted losses of the student and of the teacher; the teacher's are empty where it does not learn."""
        n_sketches = len(batch.sketches)
        mine = torch.cat([self._view(pixels, self.student.backbone) for pixels in (batch.sketches, batch.photos)])
        with self._autocast(batch.photos):
            feature, seen_logits, knowledge_logits = self.student(self._layout(mine))
        labels = torch.cat([batch.sketch_labels, batch.photo_labels])
        student: Losses = {"category": self._category(seen_logits, labels)}
        student["alignment"] = self.options.alignment_weight * gaussian_alignment(feature)
        if self.options.contrastive_weight:
            student["contrast"] = self.options.contrastive_weight * self._contrast(feature, labels, n_sketches)
        if self.teacher is None:
            return student, {}
        seen_by_both = torch.cat([batch.sketches, batch.photos]) if self.options.shows_sketches else batch.photos
        with self._autocast(batch.photos):
            theirs = self._layout(self._view(seen_by_both, self.teacher.backbone))
            taught = self.teacher.features(theirs, learns=teacher_learns)
        teacher: Losses | None = {} if teacher_learns else None
        if self.teacher.knowledge is not None and knowledge_logits is not None:
            of_photos = self.teacher.knowledge(taught[-len(batch.photos) :])
            self._knowledge(knowledge_logits, of_photos, batch, student, teacher)
        if self.options.relation_weight:
            self._relation(feature[-len(taught) :], taught, student, teacher)
        if self.options.embedding_weight:
            self._embedding(feature[-len(taught) :].float(), taught, student, teacher)
        return student, teacher or {}

    def _knowledge(
        self, mine: torch.Tensor, theirs: torch.Tensor, batch: Batch, student: Losses, teacher: Losses | None
    ) -> None:
        """Each learns the other's scores over the known classes, from photos; the student from its sketches, too."""
        of_sketches, mine = mine[: len(batch.sketches)], mine[len(batch.sketches) :]
        bias = None if self.affinity is None else self.options.affinity_weight * self.affinity[batch.photo_labels]
        loss = soft_cross_entropy(mine, self._target(theirs), bias)
        student["knowledge"] = self.options.knowledge_weight * loss
        if self.lessons is not None:
            said = theirs if bias is None else theirs + bias
            self.lessons.hear(self.team.gather(batch.photo_labels), self.team.gather(said.detach()))
            learned = self.lessons.loss(batch.sketch_labels, of_sketches)
            student["sketch_knowledge"] = self.options.sketch_knowledge_weight * learned
        if teacher is not None:
            teacher["teacher_knowledge"] = soft_cross_entropy(theirs, self._target(mine), bias)

    def _relation(self, mine: torch.Tensor, theirs: torch.Tensor, student: Losses, teacher: Losses | None) -> None:
        """Each learns how far the other sees pictures lie from one another."""
        mine, theirs = (self.team.gather(feature.float()) for feature in (mine, theirs))
        weight = self.options.relation_weight
        student["relation"] = weight * self.team.of_all(relation_gap(mine, self._target(theirs)))
        if teacher is not None and self.teacher is not None and self.teacher.features_learn:
            teacher["teacher_relation"] = weight * self.team.of_all(relation_gap(theirs, self._target(mine)))

    def _embedding(self, mine: torch.Tensor, theirs: torch.Tensor, student: Losses, teacher: Losses | None) -> None:
        """Each learns the other's features."""
        weight = self.options.embedding_weight
        student["embedding"] = weight * embedding_gap(*self.student.beside(mine, self._target(theirs)))
        if teacher is not None and self.teacher is not None and self.teacher.features_learn:
            own, other = self.student.beside(self._target(mine), theirs)
            teacher["teacher_embedding"] = weight * embedding_gap(other, own)

    def _category(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        smoothing, weight = self.options.label_smoothing, self.options.semantics_weight
        if self.nearness is None or not weight:
            return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        target = softened_targets(labels, logits.shape[1], smoothing, self.nearness, weight)
        return functional.cross_entropy(logits, target)

    def _contrast(self, feature: torch.Tensor, labels: torch.Tensor, n_sketches: int) -> torch.Tensor:
        drawn = torch.arange(len(labels), device=labels.device) < n_sketches
        unit = functional.normalize(feature.float(), dim=-1)
        return self.team.of_all(
            supervised_contrast(
                *(self.team.gather(rows) for rows in (unit, labels, drawn.long())),
                temperature=self.options.contrastive_temperature,
                cross_modal_weight=self.options.cross_modal_weight,
            )
        )

    def _target(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.detach() if self.options.detach_targets else logits

    def _autocast(self, like: torch.Tensor) -> torch.autocast:
        return torch.autocast(
            like.device.type, dtype=self.precision.autocast, enabled=self.precision.autocast is not None
        )

    def _view(self, pixels: torch.Tensor, backbone: Backbone) -> torch.Tensor:
        """A batch's pictures as a backbone wants to see them."""
        return translate(pixels, self.student.backbone.preprocessing, backbone.preprocessing)

    def _layout(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.contiguous(memory_format=torch.channels_last) if self.precision.channels_last else pixels


def _require_teacher(student: SbkaStudent, teacher: SbkaTeacher | None, options: TrainingOptions) -> None:
    if options.mode == "ce":
        return
    knows = teacher is not None and teacher.knowledge is not None and student.knowledge is not None
    if teacher is None or not (knows or options.learns_features):
        raise TrainingError(
            f"Mode {options.mode} needs a backbone with a knowledge head, and this one has none.",
            "Use weights that come with their classifier, learn from a teacher's features alone with "
            "--relation-weight or --embedding-weight, or train with --mode ce.",
        )
    if options.mode == "bidirectional" and not knows and not teacher.features_learn:
        raise TrainingError(
            "Nothing of this teacher can learn: it has no knowledge head, and its scope is its head alone.",
            "Train with --teacher-scope adapters (or all), or with --mode one_way.",
        )
