"""What a user may choose about training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["ce", "one_way", "bidirectional"]
Trainable = Literal["all", "norm"]


class TrainingOptions(BaseModel):
    """Options of a training; the defaults are the paper's where it states them.

    Attributes:
        mode: ``ce`` learns the seen categories alone; ``one_way`` adds a fixed teacher; ``bidirectional`` is SBKA:
            the teacher is fixed for the first half and learns from the student in the second.
        epochs: passes over the larger of sketches and photos.
        sketches_per_batch: sketches in a step.
        photos_per_batch: photos in a step.
        learning_rate: of Adam at the start, for student and teacher.
        final_rate_factor: the rate of epoch e is learning_rate * final_rate_factor ** (e / epochs).
        weight_decay: of Adam.
        knowledge_weight: of the distillation loss.
        alignment_weight: of the Gaussian alignment.
        affinity_weight: of the class affinity that is added to the teacher's logits.
        detach_targets: keep gradients out of the one who is learned from (the authors' script does not).
        trainable: ``all`` parameters of the student's backbone, or its normalisation layers alone (for CLIP towers,
            which full fine-tuning destroys); the heads always train.
        augment_probability: share of pictures that are augmented.
        validation_share: share of the seen categories held out as pseudo-unseen, on which the best epoch is chosen.
        seed: of everything random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = "bidirectional"
    epochs: int = Field(default=20, ge=1)
    sketches_per_batch: int = Field(default=70, ge=2)
    photos_per_batch: int = Field(default=140, ge=2)
    learning_rate: float = Field(default=1e-4, gt=0)
    final_rate_factor: float = Field(default=1e-3, gt=0, le=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    knowledge_weight: float = Field(default=1.0, ge=0)
    alignment_weight: float = Field(default=0.1, ge=0)
    affinity_weight: float = Field(default=0.3, ge=0)
    detach_targets: bool = True
    trainable: Trainable = "all"
    augment_probability: float = Field(default=0.7, ge=0, le=1)
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 0

    def rate_factor(self, epoch: int) -> float:
        """Factor on the learning rate in epoch 0, 1, ..., epochs - 1."""
        return float(self.final_rate_factor ** (epoch / self.epochs))

    def teacher_learns(self, epoch: int) -> bool:
        """Whether the teacher is updated in this epoch: the second half of a bidirectional training."""
        return self.mode == "bidirectional" and epoch >= self.epochs // 2

    def may_select(self, epoch: int) -> bool:
        """Whether this epoch's student may become the model: the second half, as the paper has it."""
        return epoch >= self.epochs // 2
