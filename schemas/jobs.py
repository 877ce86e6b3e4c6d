"""What a user asks of background work: the wish that ``job.json`` keeps until the job is done."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sbka_milvus.training.options import PrecisionName, TrainingOptions
from schemas.wire import JOB_ID, AbsolutePath, AbsoluteSource, Wire

MatchingForm = Literal["auto", "fused", "linear"]
Kind = Literal["ingest", "train", "upgrade", "retrain"]


class IngestJob(Wire):
    """Take photos into a gallery.

    Attributes:
        sources: files, folders, patterns, archives, manifests and addresses.
        gallery: its folder, which exists and holds its model.
        n_clusters: wanted clusters; 0: chosen from the gallery.
        matching: how sketches are to be matched; none: by the worker's settings.
        prune: take out photos of these sources that are there no more.
        prune_all: also where more than half of what a source held would go.
    """

    kind: Literal["ingest"] = "ingest"
    sources: tuple[AbsoluteSource, ...] = Field(min_length=1)
    gallery: AbsolutePath
    n_clusters: int = Field(default=0, ge=0)
    matching: MatchingForm | None = None
    prune: bool = False
    prune_all: bool = False


class TrainJob(Wire):
    """Train a model: see :class:`~sbka_milvus.pipelines.train.TrainRequest`, whose names these are.

    Attributes:
        sketches: none, where the options have them made from the photos.
        teacher: folder of a model trained before that teaches, or of several (there ``teacher_bundle``); the backbone
            of a teacher that is built is told by the four entries after it.
        feedback: a gallery whose accepted sketches join the training.
    """

    kind: Literal["train"] = "train"
    photos: AbsolutePath
    sketches: AbsolutePath | None = None
    out: AbsolutePath
    backbone: str
    weights: AbsolutePath | None = None
    size: int | None = Field(default=None, ge=32)
    backbone_options: dict[str, Any] = Field(default_factory=dict)
    split: AbsolutePath | None = None
    affinity: AbsolutePath | None = None
    semantics: AbsolutePath | None = None
    teacher: AbsolutePath | None = None
    teacher_backbone: str | None = None
    teacher_weights: AbsolutePath | None = None
    teacher_size: int | None = Field(default=None, ge=32)
    teacher_options: dict[str, Any] = Field(default_factory=dict)
    knowledge_names: AbsolutePath | None = None
    tensorboard: AbsolutePath | None = None
    device: str = "auto"
    precision: PrecisionName = "auto"
    name: str = "sbka"
    options: TrainingOptions = Field(default_factory=TrainingOptions)
    feedback: AbsolutePath | None = None

    @model_validator(mode="after")
    def _of_a_teacher(self) -> TrainJob:
        told = (self.teacher_weights, self.teacher_size, self.teacher_options)
        if self.teacher_backbone is None and any(told):
            raise ValueError("teacher_weights, teacher_size and teacher_options are of a teacher_backbone: name it")
        return self


class GateRules(Wire):
    """When a new model may take over.

    Attributes:
        held_out: folder of labelled sketches, ``<category>/<file>``, on which both versions are measured by mAP@all.
        queries: sketches without labels, on which the agreement of both rankings is measured; by default the
            gallery's own feedback sketches.
        max_loss: mAP that the new version may lose.
        min_agreement: mean overlap of the top hits that the new version must have with the served one.
        max_missing: share of the served photos that may be unreadable now.
        force: switch whatever the gate says; its figures are recorded all the same.
    """

    held_out: AbsolutePath | None = None
    queries: tuple[AbsolutePath, ...] = ()
    max_loss: float = Field(default=0.01, ge=0, le=1)
    min_agreement: float = Field(default=0.3, ge=0, le=1)
    max_missing: float = Field(default=0.01, ge=0, le=1)
    force: bool = False


class UpgradeJob(Wire):
    """Embed a gallery's photos with another model and serve them, if the gate lets it pass.

    Attributes:
        gallery: its folder.
        model: the bundle of the new model.
        gate: when it may take over.
        n_clusters: wanted clusters; 0: chosen from the gallery.
        matching: how sketches are to be matched; none: by the worker's settings.
    """

    kind: Literal["upgrade"] = "upgrade"
    gallery: AbsolutePath
    model: AbsolutePath
    gate: GateRules = Field(default_factory=GateRules)
    n_clusters: int = Field(default=0, ge=0)
    matching: MatchingForm | None = None


class RetrainJob(Wire):
    """Train a model and upgrade a gallery to it.

    Attributes:
        train: the training; its ``out`` is where the model goes.
        upgrade: the upgrade to that model.
        reason: why it was started.
    """

    kind: Literal["retrain"] = "retrain"
    train: TrainJob
    upgrade: UpgradeJob
    reason: str

    @property
    def gallery(self) -> str:
        """The gallery's folder."""
        return self.upgrade.gallery


JobRequest = Annotated[IngestJob | TrainJob | UpgradeJob | RetrainJob, Field(discriminator="kind")]


class JobRecord(Wire):
    """``job.json``: what was asked, by whom it is known, and when."""

    format_version: Literal[1] = 1
    id: str = Field(pattern=JOB_ID)
    created: datetime
    request: JobRequest
