"""A training in the background: what a wish asks of it, and whether it could begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sbka_milvus.embeddings import Gallery
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.feedback import FeedbackLog, labelled_sketches
from sbka_milvus.images import LabelledImage, Split
from sbka_milvus.pipelines import requirements
from sbka_milvus.pipelines.seen import seen_categories
from sbka_milvus.pipelines.train import TrainRequest
from sbka_milvus.settings import Settings
from schemas.jobs import TrainJob

_AS_NAMED = ("options", "precision", "name")
_PATHS = ("sketches", "affinity", "semantics", "knowledge_names", "tensorboard")


def asked(wish: TrainJob, settings: Settings) -> dict[str, Any]:
    """What a wish asks of a training, by the names of :class:`~sbka_milvus.pipelines.train.TrainRequest`.

    Raises:
        BackboneError: A backbone's name is of no known form.
        DatasetError: The split cannot be read.
    """
    return {
        **{name: Path(getattr(wish, name)) for name in ("photos", "out")},
        **{name: _path(getattr(wish, name)) for name in _PATHS},
        "backbone": _backbone(wish.backbone, wish.weights, wish.size, wish.backbone_options),
        "teacher": None
        if wish.teacher_backbone is None
        else _backbone(wish.teacher_backbone, wish.teacher_weights, wish.teacher_size, wish.teacher_options),
        "teacher_bundle": _path(wish.teacher),
        "split": None if wish.split is None else Split.load(Path(wish.split)),
        "device": settings.device if wish.device == "auto" else wish.device,
        "decode_threads": settings.ingest.decode_processes,
        **{name: getattr(wish, name) for name in _AS_NAMED},
    }


def feedback_sketches(wish: TrainJob, split: Split | None) -> tuple[list[LabelledImage], tuple[str, ...]]:
    """The accepted sketches that join a training, and what was left out and why.

    Raises:
        GalleryError: The gallery that they are of, or its log, cannot be read.
        DatasetError: The photos have no categories.
    """
    if wish.feedback is None:
        return [], ()
    log = FeedbackLog(Gallery.open(Path(wish.feedback)).root)
    return labelled_sketches(log, seen_categories(Path(wish.photos), split), split.unseen if split else ())


def require_trainable(wish: TrainJob, settings: Settings) -> None:
    """Refuses a training that could not begin, before anybody waits for it; no picture is opened.

    Raises:
        BackboneError: A backbone's name is of no known form.
        GalleryError: The gallery whose sketches join cannot be read.
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.requirements.require_trainable`.
    """
    values = asked(wish, settings)
    extra, _ = feedback_sketches(wish, values["split"])
    requirements.require_trainable(TrainRequest(**values, extra_sketches=tuple(extra)))


def _backbone(name: str, weights: str | None, size: int | None, options: dict[str, Any]) -> BuildRequest:
    return BuildRequest(BackboneSpec.parse(name), _path(weights), size=size, options=options)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
