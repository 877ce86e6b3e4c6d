"""Train: seen categories -> a student and its teacher from one backbone -> the best student as a bundle."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sbka_milvus.encoders.backbones import BuildRequest, BuiltBackbone
from sbka_milvus.encoders.bundle import HISTORY_FILE, PLOT_FILE, BundleNotes, ModelBundle, check_target, save_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.encoders.precision import BF16, CHANNELS_LAST, FP32, Precision, resolve_device, training_precision
from sbka_milvus.encoders.sbka import SbkaStudent
from sbka_milvus.errors import OutputError, TrainingError
from sbka_milvus.images import LabelledImage, Split
from sbka_milvus.pipelines.model_statistics import KnownPictures, make_statistics
from sbka_milvus.pipelines.networks import Networks, NetworksRequest, build_networks
from sbka_milvus.pipelines.requirements import require_sense
from sbka_milvus.pipelines.seen import further_sketches, seen_images
from sbka_milvus.pipelines.training_sketches import (
    remove_cache,
    sketches_beside,
    training_sketches,
)
from sbka_milvus.progress import Progress, SilentProgress
from sbka_milvus.training.board import Board
from sbka_milvus.training.checkpoint import Checkpoints
from sbka_milvus.training.data import PixelLoaders, TrainingData, load_training_data
from sbka_milvus.training.distributed import Team, joined
from sbka_milvus.training.history import History
from sbka_milvus.training.identity import digest_of_images, digest_of_tensors, digest_of_text
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.plot import draw_training
from sbka_milvus.training.semantics import load_affinity
from sbka_milvus.training.trainer import Trainer
from sbka_milvus.training.words import load_nearness

_PRECISIONS = {"bf16": BF16, "fp32": FP32, "fp32_channels_last": CHANNELS_LAST}


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train on, from what, and where to put it.

    Attributes:
        photos: folder of ``<category>/<file>``, or a file list: see :func:`~sbka_milvus.images.list_images`.
        sketches: the same, or of ``<category>.ndjson``; none, where the options have them made from the photos.
        out: folder of the new bundle.
        backbone: what the student starts from, and the teacher where it has none of its own.
        options: see :class:`~sbka_milvus.training.options.TrainingOptions`.
        split: which categories are seen; none: all of them.
        affinity: npz of category-to-class affinities; none: no bias on the teacher's targets.
        semantics: npz of word vectors of the categories' names; needed where ``options.semantics_weight`` is above 0.
        teacher: the teacher's own backbone, of any kind and size, that knows the same classes; none: a copy of the
            student's.
        teacher_bundle: a model trained before that teaches by its features alone, or a folder of several that do.
        knowledge_names: text file of class names for the knowledge heads, which a text tower must read.
        tensorboard: folder for TensorBoard's files; none: there are none.
        device: ``auto``, ``cpu``, ``cuda``.
        precision: ``auto``, ``fp32``, ``fp32_channels_last``, ``bf16``.
        name: of the model.
        decode_threads: threads that read pictures.
        extra_sketches: further labelled sketches of seen categories; others are left out with a note.
        note: goes into the manifest's record of the training, such as the job that asked for it.
        checkpoint: folder for a checkpoint alone, taken away once the bundle is saved; none: nothing is kept.
        checkpoint_every_s: seconds from one checkpoint to the next; one is made at the end of each epoch, too.
        fresh: remove an earlier checkpoint instead of going on from it.
        on_checkpoint: is called before each checkpoint is written; what it raises ends the training.
    """

    photos: Path
    sketches: Path | None
    out: Path
    backbone: BuildRequest
    options: TrainingOptions
    split: Split | None = None
    affinity: Path | None = None
    semantics: Path | None = None
    teacher: BuildRequest | None = None
    teacher_bundle: Path | None = None
    knowledge_names: Path | None = None
    tensorboard: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    name: str = "sbka"
    decode_threads: int = 2
    extra_sketches: tuple[LabelledImage, ...] = ()
    note: dict[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None
    checkpoint_every_s: float = 300.0
    fresh: bool = False
    on_checkpoint: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training made.

    Attributes:
        bundle: the model, saved.
        history: its epochs.
        rejected: training pictures that could not be used, each with the reason.
        notes: what the user should know.
        seconds: wall time of this run, reading included.
        resumed_at: epochs and further steps that a checkpoint had done; none where the training started anew.
    """

    bundle: ModelBundle
    history: History
    rejected: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]
    seconds: float
    resumed_at: tuple[int, int] | None = None


def checkpoint_beside(out: Path) -> Path:
    """The hidden folder beside a bundle's in which ``sbka train`` keeps the checkpoint.

    >>> checkpoint_beside(Path("/models/birds/")).as_posix()
    '/models/.birds.checkpoint'
    """
    place = Path(os.path.abspath(out))  # noqa: PTH100 - Path.resolve would follow a link
    return place.with_name(f".{place.name}.checkpoint")


def train_model(request: TrainRequest, progress: Progress) -> TrainReport:
    """Trains an SBKA student on the seen categories; unseen ones are never read.

    Goes on from the request's checkpoint where that is of the same training, and then makes, on a CPU with the same
    number of threads, the very model that an undisturbed training makes. Under torchrun all processes train one
    model (see :mod:`~sbka_milvus.training.distributed`); the first writes it and shows the progress.

    Raises:
        DatasetError: The pictures or the split do not fit.
        BackboneError: The backbone cannot be built.
        TrainingError: The training cannot start or go on.
        BundleError: The model cannot be saved.
        SettingsError: The device is not there, or there are no sketches.
        OutputError: The history cannot be written.
        SbkaError: Whatever ``on_checkpoint`` raises.
    """
    # What would fail only after the pictures are read, or after hours of training, is looked at first.
    check_target(request.out)
    require_sense(request)
    device = resolve_device(request.device)
    precision = _precision(request.precision, device)
    with joined(device) as team:
        return _train(request, precision, team, progress if team.leads else SilentProgress())


def _train(request: TrainRequest, precision: Precision, team: Team, progress: Progress) -> TrainReport:
    start = time.perf_counter()
    photos, cache = seen_images(request.photos, request.split), sketches_beside(request.out)
    own = training_sketches(request.sketches, photos, request.split, request.options, cache, team, progress)
    sketches = own.images
    extra, refused = further_sketches(request.extra_sketches, photos, request.split)
    sketches += extra
    with progress.stage("Building the student and its teacher"):
        networks = build_networks(_networks(request))
    built, teacher = networks.student, networks.teacher
    data = _read(request, networks, photos, sketches, progress)
    affinity, unknown = _affinity(request, data, built)
    nearness, wordless = _nearness(request, data)
    identity = {
        "options": digest_of_text(request.options.model_dump()),
        **networks.start,
        "pictures": digest_of_images([*photos, *sketches], data.rejected),
        "split": request.split.digest if request.split else "",
        "affinity": "" if affinity is None else digest_of_tensors([affinity]),
        "word vectors": "" if nearness is None else digest_of_tensors([nearness]),
        "precision": str(precision),
        "device": team.device.type,
        "number of processes": str(team.size),
        **_read_larger(request, networks),
    }
    team.require_same([f"{name} {digest}" for name, digest in identity.items()], "settings, weights or pictures")
    checkpoints = _checkpoints(request, identity, progress)
    options = request.options
    student = SbkaStudent(
        built.backbone,
        len(data.classes),
        built.knowledge,
        temperature=options.temperature,
        taught_dim=teacher.backbone.feature_dim if teacher is not None and options.embedding_weight else None,
    )
    trainer = Trainer(student, teacher, affinity, options, team=team, precision=precision, nearness=nearness)
    board = Board(request.tensorboard, progress) if request.tensorboard and team.leads else None
    history = trainer.fit(data, progress, checkpoints, *(() if board is None else (board.show,)))
    record = _record(request, data, history, str(precision)) | {"teacher": networks.taught_by}
    bundle = _save(student, BundleNotes(request.name, data.classes, record), request, team)
    doubts: tuple[str, ...] = ()
    if team.leads:
        write_history(history, request.out, progress)
        doubts = _write_statistics(bundle, data, photos, sketches, team, progress)
        if checkpoints is not None:
            checkpoints.remove()
        remove_cache(cache)
    notes = (*networks.notes, *own.notes, *refused, *unknown, *wordless, *doubts)
    unreadable = {path for path, _ in data.rejected}
    rejected = (*data.rejected, *(entry for entry in own.rejected if entry[0] not in unreadable))
    seconds = time.perf_counter() - start
    return TrainReport(bundle, history, rejected, notes, seconds, trainer.resumed_at)


def write_history(history: History, folder: Path, progress: Progress) -> None:
    """Puts the history beside a model, as lines and as a plot; without the plot where that cannot be written.

    Raises:
        OutputError: The lines cannot be written.
    """
    history.write_jsonl(folder / HISTORY_FILE)
    try:
        draw_training(history, folder / PLOT_FILE)
    except OutputError as error:
        progress.say(f"The training has no plot: {error}")


def _checkpoints(request: TrainRequest, identity: dict[str, str], progress: Progress) -> Checkpoints | None:
    if request.checkpoint is None:
        return None
    return Checkpoints(
        request.checkpoint,
        identity,
        progress,
        every_s=request.checkpoint_every_s,
        fresh=request.fresh,
        before=request.on_checkpoint,
    )


def _save(student: SbkaStudent, notes: BundleNotes, request: TrainRequest, team: Team) -> ModelBundle:
    """One process writes; the others take its word for what it wrote."""
    backbone = student.backbone.cpu()
    if team.leads:
        bundle = save_bundle(backbone, notes, request.out)
        team.of_leader(bundle.manifest.model_dump_json())
        return bundle
    manifest = Manifest.model_validate_json(team.of_leader(""))
    return ModelBundle(backbone.eval(), manifest, request.out)


def _write_statistics(
    bundle: ModelBundle,
    data: TrainingData,
    photos: Sequence[LabelledImage],
    sketches: Sequence[LabelledImage],
    team: Team,
    progress: Progress,
) -> tuple[str, ...]:
    """What the final model makes of the training's pictures, for the searches with it; gives notes for the user."""
    assert bundle.path is not None, "it was saved"
    unreadable = {path for path, _ in data.rejected}
    pictures = KnownPictures.of_training(
        [image for image in sketches if image.path not in unreadable],
        [image for image in photos if image.path not in unreadable],
        data.classes,
        data.validation_classes,
    )
    # A precision that is measured may be another one the next time, and then the file is.
    encoder = BundleEncoder(bundle, device=str(team.device), precision=FP32)
    try:
        report = make_statistics(bundle.path, pictures, encoder, encoder.input_size, progress)
    finally:
        bundle.backbone.cpu()
    return report.notes


def _networks(request: TrainRequest) -> NetworksRequest:
    return NetworksRequest(
        request.backbone,
        request.options,
        request.teacher,
        request.teacher_bundle,
        request.knowledge_names,
        request.split,
    )


def _read(
    request: TrainRequest,
    networks: Networks,
    photos: Sequence[LabelledImage],
    sketches: Sequence[LabelledImage],
    progress: Progress,
) -> TrainingData:
    sizes = networks.sizes(request.options)
    return load_training_data(
        photos,
        sketches,
        PixelLoaders.of_sizes(networks.student.backbone.preprocessing, *sizes),
        validation_share=request.options.validation_share,
        seed=request.options.seed,
        progress=progress,
        workers=request.decode_threads,
    )


def _read_larger(request: TrainRequest, networks: Networks) -> dict[str, str]:
    """At which sizes pictures are read, where not at the student's own."""
    sizes, own = networks.sizes(request.options), networks.student.backbone.preprocessing.size
    return {} if sizes == (own, own) else {"sizes of pictures": f"{sizes[0]} {sizes[1]}"}


def _affinity(
    request: TrainRequest, data: TrainingData, built: BuiltBackbone
) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    if request.affinity is None or built.knowledge is None:
        return None, ()
    table, unknown = load_affinity(request.affinity, data.classes, built.knowledge.n_classes)
    if not unknown:
        return table, ()
    return table, (f"The affinity file knows nothing of {len(unknown)} categories: {', '.join(unknown[:5])}.",)


def _nearness(request: TrainRequest, data: TrainingData) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    if not request.options.semantics_weight:
        return None, ()
    assert request.semantics is not None, "it was looked at before the pictures were read"
    table, unknown = load_nearness(request.semantics, data.classes, request.options.semantics_temperature)
    if not unknown:
        return table, ()
    return table, (f"The file of word vectors knows nothing of {len(unknown)} categories: {', '.join(unknown[:5])}.",)


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
        "note": request.note,
    }
