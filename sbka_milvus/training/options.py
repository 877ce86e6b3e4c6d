"""What a user may choose about training."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sbka_milvus.errors import SettingsError
from sbka_milvus.training.schedule import Form, Schedule

Mode = Literal["ce", "one_way", "bidirectional"]
Trainable = Literal["all", "norm", "adapters", "prompts"]
TeacherScope = Literal["head", "adapters", "all"]
TeacherSchedule = Literal["shared", "restart"]
Pictures = Literal["photos", "both"]
Optimiser = Literal["adam", "adamw"]
Head = Literal["linear", "cosine"]
PrecisionName = Literal["auto", "fp32", "fp32_channels_last", "bf16"]
"""Number format of a training's networks."""


class TrainingOptions(BaseModel):
    """Options of a training; the defaults are the paper's where it states them.

    Attributes:
        mode: ``ce`` learns the seen categories alone; ``one_way`` adds a fixed teacher; ``bidirectional`` is SBKA:
            the teacher is fixed at first (``teacher_starts``) and then learns from the student, too.
        epochs: passes over the larger of sketches and photos.
        sketches_per_batch: sketches in a step.
        photos_per_batch: photos in a step.
        balanced: categories in a batch, each with as many sketches as any other and as many photos; the contrastive
            loss needs several pictures of a category side by side. 0: pictures are drawn whatever they show.
        accumulate: batches whose gradients are added up before the weights change, so that as many pictures count for
            a change as ``accumulate`` batches hold. Losses that compare the pictures of a batch with one another, and
            layers that normalise over it, see one batch at a time.
        optimiser: ``adam`` adds the weight decay to the gradient; ``adamw`` takes it off the weights themselves.
        learning_rate: at the start.
        schedule: ``exponential``: the rate of epoch e is learning_rate * final_rate_factor ** (e / epochs);
            ``cosine``: half a cosine over all steps, down to learning_rate * final_rate_factor.
        final_rate_factor: rate at the end over rate at the start.
        warmup_epochs: epochs, also parts of one, over which the rate climbs from 0 at the start.
        weight_decay: of the optimiser, on all that trains.
        clip_norm: gradients longer than this are shortened to it, those of all weights taken as one vector; 0: never.
        ema_decay: share that the running mean of the student's weights keeps of itself at each change of the weights
            (less in the first few dozen changes); the mean is then what is validated and what becomes the model.
            0: the weights themselves.
        head: of the seen categories: ``linear``, or ``cosine``: cosines with a vector a category over a temperature,
            which leaves all of a feature's meaning to its direction, as retrieval reads it.
        head_temperature: of the cosine head.
        label_smoothing: share of the target that goes to all categories alike.
        semantics_weight: share of the target that goes to the other categories by the nearness of their names' word
            vectors, where a file of these is given.
        semantics_temperature: of the softmax over these cosines.
        contrastive_weight: of the supervised contrastive loss over both modalities of a batch.
        contrastive_temperature: of that loss.
        cross_modal_weight: how much a pair of a sketch and a photo counts in it, where a pair of one modality counts 1.
        knowledge_weight: of the distillation loss, which is of photos.
        sketch_knowledge_weight: of the same loss for sketches: against the mean of what the teacher says of photos of
            their category (see :mod:`~sbka_milvus.training.lessons`).
        alignment_weight: of the Gaussian alignment.
        affinity_weight: of the class affinity that is added to the teacher's logits.
        detach_targets: keep gradients out of the one who is learned from (the authors' script does not).
        relation_weight: of the relational distillation, for student and teacher: how far the pictures of a batch lie
            from one another, which needs neither a knowledge head nor features of one length. The teacher learns by it
            where its scope reaches its features.
        embedding_weight: of learning the teacher's features themselves, by their directions, for student and teacher
            alike; features of another length are learned through an isometry (see
            :mod:`~sbka_milvus.encoders.isometry`), so that the student's own cosines become the teacher's.
        relation_pictures: what is read of features is read from ``photos``, or from ``both`` modalities, for a teacher
            that knows sketches.
        teacher_scope: what of the teacher may learn: its knowledge ``head`` alone (the paper); also its ``adapters``
            (bottlenecks after the MLPs of a vision transformer) and the scales and shifts of its normalisation layers,
            which in other networks are all that is meant by it; or ``all`` of it. It always normalises by its
            pre-trained statistics and drops nothing.
        teacher_starts: share of the epochs after which the teacher learns.
        teacher_rate_factor: the teacher's learning rate over the student's.
        teacher_schedule: ``shared``: the teacher's rate falls with the student's (the paper: by the time the teacher
            learns, half of the fall is over, at the default factor to a thirtieth, so that it hardly moves);
            ``restart``: the schedule runs whole, warm-up included, over the epochs in which the teacher learns.
        backbone_rate_factor: learning rate of the student's backbone over that of its heads, which start from nothing.
        frozen_stages: first stages of the student's backbone that do not train, the stem being one of them; 0: none.
        trainable: what trains in the student's backbone: ``all``; its normalisation layers alone (``norm``: for CLIP
            towers, which full fine-tuning destroys); or these and ``adapters`` (bottlenecks after the MLPs of a vision
            transformer), or these and ``prompts`` (further tokens, for CLIP's vision transformers). The heads always
            train.
        adapter_width: of the bottlenecks that student and teacher get where adapters train.
        prompt_count: further tokens that the student gets where prompts train.
        augment_probability: share of pictures that are augmented.
        validation_share: share of the seen categories held out as pseudo-unseen, on which the best epoch is chosen.
        seed: of everything random.
        stroke_augmentation: share of sketches whose lines are changed: thickness, gaps, bends, blur.
        pseudo_sketches: make sketches from the photos, too; they are all there are where no others are given.
        pseudo_share: of each category's sketches that are made from photos, where there are others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = "bidirectional"
    epochs: int = Field(default=20, ge=1)
    sketches_per_batch: int = Field(default=70, ge=2)
    photos_per_batch: int = Field(default=140, ge=2)
    balanced: int = Field(default=0, ge=0)
    accumulate: int = Field(default=1, ge=1)
    optimiser: Optimiser = "adam"
    learning_rate: float = Field(default=1e-4, gt=0)
    schedule: Form = "exponential"
    final_rate_factor: float = Field(default=1e-3, gt=0, le=1)
    warmup_epochs: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    weight_decay: float = Field(default=5e-4, ge=0)
    clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    head: Head = "linear"
    head_temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    semantics_weight: float = Field(default=0.0, ge=0, lt=1)
    semantics_temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    contrastive_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    contrastive_temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False)
    cross_modal_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    knowledge_weight: float = Field(default=1.0, ge=0)
    sketch_knowledge_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    alignment_weight: float = Field(default=0.1, ge=0)
    affinity_weight: float = Field(default=0.3, ge=0)
    detach_targets: bool = True
    relation_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    relation_pictures: Pictures = "photos"
    embedding_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    teacher_scope: TeacherScope = "head"
    teacher_starts: float = Field(default=0.5, ge=0, lt=1)
    teacher_rate_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    teacher_schedule: TeacherSchedule = "shared"
    backbone_rate_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    frozen_stages: int = Field(default=0, ge=0)
    trainable: Trainable = "all"
    adapter_width: int = Field(default=64, ge=1)
    prompt_count: int = Field(default=8, ge=1)
    augment_probability: float = Field(default=0.7, ge=0, le=1)
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 0
    stroke_augmentation: float = Field(default=0.0, ge=0, le=1)
    pseudo_sketches: bool = False
    pseudo_share: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _agree(self) -> TrainingOptions:
        for name in ("sketches_per_batch", "photos_per_batch"):
            if self.balanced and getattr(self, name) % self.balanced:
                raise ValueError(f"{name} must be a multiple of the {self.balanced} categories of a balanced batch")
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be less than the {self.epochs} epochs of the training")
        if self.label_smoothing + self.semantics_weight >= 1:
            raise ValueError("label_smoothing and semantics_weight must leave something to the right category")
        return self

    @classmethod
    def make(cls, **values: Any) -> TrainingOptions:
        """From values that a user gave.

        Raises:
            SettingsError: One cannot be used; names it.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            what = str(first["msg"]).removeprefix("Value error, ")
            raise SettingsError(
                f"The training options cannot be used: {where + ': ' if where else ''}{what}.", "Correct that value."
            ) from error

    def rate_factor(self, epoch: int, share: float = 0.0, width: float = 1.0) -> float:
        """Factor on the student's learning rate.

        Args:
            epoch: 0, 1, ..., epochs - 1.
            share: of this epoch that is done.
            width: of a step, in epochs.
        """
        schedule = Schedule(self.schedule, self.epochs, self.final_rate_factor, self.warmup_epochs)
        return schedule.factor(epoch + share, width)

    def teacher_rate_factor_at(self, epoch: int, share: float = 0.0, width: float = 1.0) -> float:
        """Factor on the learning rate for the teacher, in an epoch in which it learns; arguments as above."""
        if self.teacher_schedule == "shared":
            return self.teacher_rate_factor * self.rate_factor(epoch, share, width)
        left = self.epochs - self.teacher_first
        schedule = Schedule(self.schedule, left, self.final_rate_factor, min(self.warmup_epochs, left / 2))
        return self.teacher_rate_factor * schedule.factor(epoch - self.teacher_first + share, width)

    @property
    def teacher_first(self) -> int:
        """The first epoch, from 0, in which the teacher of a bidirectional training learns."""
        # A share such as 0.29 of 100 epochs is 28.999999999999996.
        return math.floor(self.teacher_starts * self.epochs + 1e-9)

    def teacher_learns(self, epoch: int) -> bool:
        """Whether the teacher is updated in this epoch."""
        return self.mode == "bidirectional" and epoch >= self.teacher_first

    def may_select(self, epoch: int) -> bool:
        """Whether this epoch's student may become the model: the second half, as the paper has it."""
        return epoch >= self.epochs // 2

    @property
    def learns_features(self) -> bool:
        """Whether something is learned from features, which needs no classes that are known."""
        return self.relation_weight > 0 or self.embedding_weight > 0

    @property
    def shows_sketches(self) -> bool:
        """Whether the teacher sees sketches, too."""
        return self.learns_features and self.relation_pictures == "both"

    @property
    def temperature(self) -> float | None:
        """Of the head of the seen categories; none for a linear one."""
        return self.head_temperature if self.head == "cosine" else None
