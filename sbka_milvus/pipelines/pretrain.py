"""Pre-train: a small photo classifier from nothing, where no pre-trained weights are to be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from sbka_milvus.encoders.backbones import BuildRequest, build_backbone
from sbka_milvus.encoders.precision import resolve_device, training_precision
from sbka_milvus.encoders.sbka import SbkaStudent
from sbka_milvus.encoders.timm_backbone import TimmBackbone, save_classifier
from sbka_milvus.errors import BackboneError, DatasetError
from sbka_milvus.images import LabelledImage, load_photo
from sbka_milvus.progress import Progress
from sbka_milvus.training.data import PixelSet, TrainingData, require_all_classes
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.trainer import Trainer


def pretrain_classifier(
    photos: Sequence[LabelledImage],
    request: BuildRequest,
    options: TrainingOptions,
    out: Path,
    progress: Progress,
    *,
    device: str = "auto",
) -> None:
    """Trains a photo classifier from random weights and writes it as a weights file.

    Its classifier then is the knowledge head of a student and its teacher, as ImageNet's is for a backbone that was
    pre-trained on ImageNet.

    Args:
        photos: of the seen categories.
        request: a timm backbone.
        options: mode ``ce``; the numbers of sketches and photos in a batch both count photos here.
        out: the weights file.
        progress: what shows the stages.
        device: ``auto``, ``cpu``, ``cuda``.

    Raises:
        BackboneError: The backbone cannot be built, or is none of timm's.
        DatasetError: There are no photos, or none of a category can be read.
        TrainingError: The training cannot go on.
        OutputError: The file cannot be written.
    """
    torch.manual_seed(options.seed)
    backbone = build_backbone(request).backbone
    if not isinstance(backbone, TimmBackbone):
        raise BackboneError(f"{request.spec} has no classifier of its own to pre-train.", "Use a backbone of timm.")
    if not photos:
        raise DatasetError("There are no photos to pre-train on.", "Give at least one category of them.")
    preprocessing = backbone.preprocessing
    classes = tuple(sorted({photo.category for photo in photos}))
    with progress.stage("Reading photos", len(photos), "photos") as advance:
        pixels = PixelSet(
            photos,
            classes,
            lambda path: preprocessing.pixels(load_photo(path, target_size=preprocessing.size)),
            advance=advance,
        )
        nothing = PixelSet([], (), lambda path: preprocessing.pixels(load_photo(path)))
    require_all_classes(classes, pixels, "photos")
    if pixels.rejected:
        progress.say(f"{len(pixels.rejected)} photos could not be used, for example: {pixels.rejected[0][1]}")
    student = SbkaStudent(backbone, len(classes), None)
    where = resolve_device(device)
    trainer = Trainer(student, None, None, options, team=Team(where), precision=training_precision(where))
    trainer.fit(TrainingData(classes, pixels, pixels, (), nothing, nothing), progress)
    save_classifier(backbone, student.seen_head, out)
