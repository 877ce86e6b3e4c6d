"""A gallery's retraining policy: what to train on, how, and what should start it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sbka_milvus.errors import GalleryError, SettingsError
from sbka_milvus.files import replacing
from sbka_milvus.training.options import PrecisionName, TrainingOptions

_FILE = "retraining.json"
_TRIGGERS = {"enabled", "every_hours", "after_pairs", "drift_above", "rest_hours", "since", "format_version"}


class GatePolicy(BaseModel):
    """When a retrained model may take over.

    Attributes:
        held_out: folder of labelled sketches, ``<category>/<file>``, on which both models are measured; none: the
            agreement of both on the gallery's feedback sketches decides.
        max_loss: mAP that the new model may lose.
        min_agreement: mean overlap of the top hits that it must have with the model that serves.
        max_missing: share of the served photos that may be unreadable by then.
        force: switch whatever the figures say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    held_out: Path | None = None
    max_loss: float = Field(default=0.01, ge=0, le=1)
    min_agreement: float = Field(default=0.3, ge=0, le=1)
    max_missing: float = Field(default=0.01, ge=0, le=1)
    force: bool = False


class RetrainingPolicy(BaseModel):
    """``retraining.json`` of a gallery.

    Whatever ``sbka train`` can be told stands here by the names of the job that it asks for, ``schemas.jobs.TrainJob``.

    Attributes:
        format_version: of the file.
        photos: folder of ``<category>/<file>``, or a file list.
        sketches: the same, or of ``<category>.ndjson``; accepted feedback sketches join them. None, where the options
            have them made from the photos.
        split: JSON of seen and unseen categories, or a folder of file lists; none: all categories are seen.
        backbone: what student and teacher start from.
        weights: local weights of the backbone.
        size: side of the input in pixels; none: the backbone's.
        backbone_options: arguments of the backbone.
        affinity: npz of category-to-class affinities.
        semantics: npz of word vectors of the categories' names.
        teacher: folder of a model trained before that teaches by its features alone.
        teacher_backbone: of a teacher of its own; none: a copy of the student's.
        teacher_weights: local weights of that backbone.
        teacher_size: side of the teacher's input in pixels; none: its backbone's.
        teacher_options: arguments of its backbone.
        knowledge_names: text file of class names for the knowledge heads.
        tensorboard: folder in which each retraining has one for TensorBoard's files, named by its job; none: there are
            none.
        device: ``auto`` (what the worker's settings say), ``cpu``, ``cuda``.
        precision: see :class:`~sbka_milvus.pipelines.train.TrainRequest`.
        options: of the training.
        gate: when the new model may take over.
        enabled: whether anything starts by itself.
        every_hours: hours between two retrainings; none: no schedule.
        after_pairs: new verdicts that start one; none: verdicts start none.
        drift_above: cluster drift that starts one; none: drift starts none.
        rest_hours: hours of rest after each, whatever asks for the next.
        since: when the policy was set: the schedule of a gallery that was never retrained counts from here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = Field(default=1, ge=1, le=1)
    photos: Path
    sketches: Path | None = None
    split: Path | None = None
    backbone: str
    weights: Path | None = None
    size: int | None = Field(default=None, ge=32)
    backbone_options: dict[str, Any] = Field(default_factory=dict)
    affinity: Path | None = None
    semantics: Path | None = None
    teacher: Path | None = None
    teacher_backbone: str | None = None
    teacher_weights: Path | None = None
    teacher_size: int | None = Field(default=None, ge=32)
    teacher_options: dict[str, Any] = Field(default_factory=dict)
    knowledge_names: Path | None = None
    tensorboard: Path | None = None
    device: str = "auto"
    precision: PrecisionName = "auto"
    options: TrainingOptions = Field(default_factory=TrainingOptions)
    gate: GatePolicy = Field(default_factory=GatePolicy)
    enabled: bool = True
    every_hours: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    after_pairs: int | None = Field(default=None, ge=1)
    drift_above: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    rest_hours: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    since: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @field_validator("*")
    @classmethod
    def _absolute(cls, value: Any) -> Any:
        # A worker has another working folder.
        return value.absolute() if isinstance(value, Path) else value

    @field_validator("gate")
    @classmethod
    def _absolute_gate(cls, gate: GatePolicy) -> GatePolicy:
        held_out = None if gate.held_out is None else gate.held_out.absolute()
        return gate.model_copy(update={"held_out": held_out})

    @model_validator(mode="after")
    def _of_a_teacher(self) -> RetrainingPolicy:
        told = (self.teacher_weights, self.teacher_size, self.teacher_options)
        if self.teacher_backbone is None and any(told):
            raise ValueError("teacher_weights, teacher_size and teacher_options are of a teacher_backbone: name it")
        return self

    @classmethod
    def make(cls, **values: Any) -> RetrainingPolicy:
        """From values that a user gave.

        Raises:
            SettingsError: One cannot be used; names it.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(f"The policy cannot be used: {_first(error)}.", "Correct that value.") from error

    @property
    def triggers(self) -> tuple[str, ...]:
        """What may start a retraining."""
        asked = {"schedule": self.every_hours, "feedback": self.after_pairs, "drift": self.drift_above}
        return tuple(name for name, value in asked.items() if value is not None)

    def settings(self) -> dict[str, Any]:
        """What decides the outcome of a training with given data: everything but when it starts; plain values."""
        return self.model_dump(mode="json", exclude=_TRIGGERS)

    def has_settings(self, earlier: dict[str, Any]) -> bool:
        """Whether a training was made with these settings, which may have been written before there were all of them.

        Args:
            earlier: what :meth:`settings` gave then.
        """
        try:
            return RetrainingPolicy.model_validate(earlier).settings() == self.settings()
        except ValidationError:
            return False

    def save(self, gallery: Path) -> None:
        """Writes ``retraining.json`` into a gallery's folder.

        Raises:
            OutputError: The folder cannot be written.
        """
        with replacing(gallery / _FILE) as file:
            file.write((self.model_dump_json(indent=2) + "\n").encode())

    @classmethod
    def load(cls, gallery: Path) -> RetrainingPolicy:
        """The policy of a gallery's folder.

        Raises:
            GalleryError: There is none, or it is damaged.
        """
        path = gallery / _FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise GalleryError(
                f"The gallery {gallery} has no retraining policy.",
                f"Set one with `sbka retrain set {gallery} --photos PHOTOS --sketches SKETCHES`.",
            ) from error
        except OSError as error:
            raise GalleryError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
        except ValidationError as error:
            raise GalleryError(
                f"{path} is damaged: {_first(error)}.", "Set the policy anew with `sbka retrain set`."
            ) from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'its JSON'}: {first['msg']}"
