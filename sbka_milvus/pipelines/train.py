"""Train: seen categories -> a student and its teacher from one backbone -> the best student as a bundle."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sbka_milvus.encoders.backbones import BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import HISTORY_FILE, BundleNotes, ModelBundle, check_target, save_bundle
from sbka_milvus.encoders.precision import BF16, FP32, Precision, resolve_device, training_precision
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.errors import TrainingError
from sbka_milvus.images import LabelledImage, Split, list_categories, list_images, load_photo, load_sketch
from sbka_milvus.images.datasets import name_key
from sbka_milvus.progress import Progress
from sbka_milvus.training.data import PixelLoaders, TrainingData, load_training_data
from sbka_milvus.training.history import History
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.semantics import load_affinity
from sbka_milvus.training.trainer import Trainer

_PRECISIONS = {"bf16": BF16, "fp32": FP32, "fp32_channels_last": Precision(channels_last=True)}


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train on, from what, and where to put it.

    Attributes:
        photos: folder of ``<category>/<file>``.
        sketches: folder of ``<category>/<file>``.
        out: folder of the new bundle.
        backbone: what student and teacher start from.
        options: see :class:`~sbka_milvus.training.options.TrainingOptions`.
        split: which categories are seen; none: all of them.
        affinity: npz of category-to-class affinities; none: no bias on the teacher's targets.
        device: ``auto``, ``cpu``, ``cuda``.
        precision: ``auto``, ``fp32``, ``fp32_channels_last``, ``bf16``.
        name: of the model.
        decode_threads: threads that read pictures.
    """

    photos: Path
    sketches: Path
    out: Path
    backbone: BuildRequest
    options: TrainingOptions
    split: Split | None = None
    affinity: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    name: str = "sbka"
    decode_threads: int = 2


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training made.

    Attributes:
        bundle: the model, saved.
        history: its epochs.
        rejected: training pictures that could not be used, each with the reason.
        notes: what the user should know.
        seconds: wall time, reading included.
    """

    bundle: ModelBundle
    history: History
    rejected: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]
    seconds: float


def train_model(request: TrainRequest, progress: Progress) -> TrainReport:
    """Trains an SBKA student on the seen categories; unseen ones are never read.

    Raises:
        DatasetError: The pictures or the split do not fit.
        BackboneError: The backbone cannot be built.
        TrainingError: The training cannot start or go on.
        BundleError: The model cannot be saved.
        SettingsError: The device is not there.
        OutputError: The history cannot be written.
    """
    start = time.perf_counter()
    # What would fail only after the pictures are read, or after hours of training, is looked at first.
    check_target(request.out)
    device = resolve_device(request.device)
    precision = _precision(request.precision, device)
    photos, sketches = (_seen_images(folder, request.split) for folder in (request.photos, request.sketches))
    with progress.stage("Building the student and its teacher"):
        built, teacher = _build(request)
    data = _read(request, built, photos, sketches, progress)
    affinity, notes = _affinity(request, data, built)
    student = SbkaStudent(built.backbone, len(data.classes), built.knowledge)
    trainer = Trainer(student, teacher, affinity, request.options, device=device, precision=precision)
    history = trainer.fit(data, progress)
    record = _record(request, data, history, str(trainer.precision))
    bundle = save_bundle(student.backbone.cpu(), BundleNotes(request.name, data.classes, record), request.out)
    history.write_jsonl(request.out / HISTORY_FILE)
    seconds = time.perf_counter() - start
    return TrainReport(bundle, history, tuple(data.rejected), (*built.notes, *notes), seconds)


def _seen_images(folder: Path, split: Split | None) -> list[LabelledImage]:
    if split is None:
        return list_images(folder)
    if split.seen:
        return list_images(folder, split.seen)
    unseen = {name_key(name) for name in split.unseen}
    return list_images(folder, [name for name in list_categories(folder) if name_key(name) not in unseen])


def _build(request: TrainRequest) -> tuple[BuiltBackbone, SbkaTeacher | None]:
    """Student and teacher are two copies of one pre-trained network."""
    needs_teacher = request.options.mode != "ce"
    torch.manual_seed(request.options.seed)
    built = build_backbone(request.backbone, with_knowledge=needs_teacher)
    if not needs_teacher:
        return built, None
    if built.knowledge is None:
        raise TrainingError(
            f"{request.backbone.spec} has no pre-trained classifier to align with, which mode "
            f"{request.options.mode} needs.",
            "Give --weights with a classifier, or train with --mode ce.",
        )
    return built, SbkaTeacher(copy.deepcopy(built.backbone), copy.deepcopy(built.knowledge))


def _read(
    request: TrainRequest,
    built: BuiltBackbone,
    photos: Sequence[LabelledImage],
    sketches: Sequence[LabelledImage],
    progress: Progress,
) -> TrainingData:
    preprocessing = built.backbone.preprocessing
    loaders = PixelLoaders.from_images(
        photo=lambda path: load_photo(path, target_size=preprocessing.size),
        sketch=lambda path: load_sketch(path, size=preprocessing.size),
        cut=preprocessing.pixels,
    )
    return load_training_data(
        photos,
        sketches,
        loaders,
        validation_share=request.options.validation_share,
        seed=request.options.seed,
        progress=progress,
        workers=request.decode_threads,
    )


def _affinity(
    request: TrainRequest, data: TrainingData, built: BuiltBackbone
) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    if request.affinity is None or built.knowledge is None:
        return None, ()
    table, unknown = load_affinity(request.affinity, data.classes, built.knowledge.n_classes)
    if not unknown:
        return table, ()
    return table, (f"The affinity file knows nothing of {len(unknown)} categories: {', '.join(unknown[:5])}.",)


def _precision(name: str, device: torch.device) -> Precision:
    if name == "auto":
        return training_precision(device)
    if name not in _PRECISIONS:
        raise TrainingError(f"There is no precision {name!r}.", f"Use auto, {', '.join(_PRECISIONS)}.")
    return _PRECISIONS[name]


def _record(request: TrainRequest, data: TrainingData, history: History, precision: str) -> dict[str, Any]:
    split = request.split
    return {
        "options": request.options.model_dump(),
        "precision": precision,
        "split": None if split is None else {"name": split.name, "digest": split.digest},
        "photos": len(data.photos),
        "sketches": len(data.sketches),
        "validation_classes": list(data.validation_classes),
        "history": history.to_dict(),
    }
