"""Demo: the main job on a small world drawn from nothing, without a network, a server or weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from sbka_milvus.demo import World, draw_world
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.evaluation import EvaluationReport, MethodScores
from sbka_milvus.images import LabelledImage, Split, list_images
from sbka_milvus.pipelines.pretrain import pretrain_classifier
from sbka_milvus.pipelines.sheet import sheet_row
from sbka_milvus.pipelines.train import TrainReport, TrainRequest, train_model
from sbka_milvus.progress import Progress
from sbka_milvus.sheets import SheetRow
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.types import Hit

BACKBONE = "timm:resnet10t"
"""Small enough to be trained from nothing on two cores while a person waits."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Size of the demo.

    Attributes:
        photos: of each category.
        sketches: of each category.
        picture_size: side of the pictures in pixels.
        input_size: side of the network's input in pixels.
        pretrain_epochs: epochs of the photo classifier that student and teacher start from.
        epochs: epochs of SBKA.
        seed: of everything random.
    """

    photos: int = 40
    sketches: int = 30
    picture_size: int = 128
    input_size: int = 64
    pretrain_epochs: int = 4
    epochs: int = 5
    seed: int = 0


def draw_demo_world(folder: Path, options: DemoOptions, progress: Progress) -> World:
    """Draws the world's photos and sketches; a finished one is used again.

    Raises:
        DatasetError: The folder holds other pictures, or the disk is full.
    """
    with progress.stage("Drawing the world", None, "pictures") as advance:
        done = 0

        def report(count: int, _: int) -> None:
            nonlocal done
            advance(count - done)
            done = count

        return draw_world(
            folder,
            photos=options.photos,
            sketches=options.sketches,
            size=options.picture_size,
            seed=options.seed,
            progress=report,
            processes=2,
        )


def pretrain_demo(world: World, weights: Path, options: DemoOptions, progress: Progress) -> BuildRequest:
    """A photo classifier of the seen categories, in place of weights from a hub; returns how to build from it."""
    split = Split.load(world.split)
    spec = BackboneSpec.parse(BACKBONE)
    pretraining = TrainingOptions(
        mode="ce",
        epochs=options.pretrain_epochs,
        sketches_per_batch=32,
        photos_per_batch=32,
        learning_rate=2e-3,
        final_rate_factor=0.02,
        alignment_weight=0.0,
        validation_share=0.0,
        seed=options.seed,
    )
    request = BuildRequest(spec, pretrained=False, size=options.input_size)
    pretrain_classifier(list_images(world.photos, split.seen), request, pretraining, weights, progress)
    return BuildRequest(spec, weights, size=options.input_size)


def train_demo(
    world: World, backbone: BuildRequest, out: Path, options: DemoOptions, progress: Progress
) -> TrainReport:
    """SBKA on the seen categories of the world, as ``sbka train`` does it."""
    training = TrainingOptions(
        epochs=options.epochs,
        sketches_per_batch=32,
        photos_per_batch=64,
        learning_rate=1e-3,
        final_rate_factor=0.02,
        validation_share=0.1,
        seed=options.seed,
    )
    request = TrainRequest(world.photos, world.sketches, out, backbone, training, Split.load(world.split), name="demo")
    return train_model(request, progress)


def demo_report(random: EvaluationReport, photos_only: EvaluationReport, trained: EvaluationReport) -> EvaluationReport:
    """One table: chance, the network before it learned anything, after the photos, and after SBKA."""
    before = (
        MethodScores("untrained", random.rows[1].values),
        MethodScores("photos only", photos_only.rows[1].values),
    )
    return replace(trained, rows=(trained.rows[0], *before, *trained.rows[1:]))


def demo_queries(world: World, split: Split) -> list[LabelledImage]:
    """The first sketch of each unseen category, for the contact sheet."""
    first: dict[str, LabelledImage] = {}
    for image in list_images(world.sketches, split.unseen):
        first.setdefault(image.category, image)
    return [first[name] for name in split.unseen]


def demo_rows(
    queries: Sequence[LabelledImage], pictures: Sequence[Image.Image], results: Sequence[Sequence[Hit]]
) -> list[SheetRow]:
    """Rows of the contact sheet, hits marked right or wrong by their category."""
    return [
        sheet_row(picture, query.category.replace("_", " "), list(hits), query.category)
        for query, picture, hits in zip(queries, pictures, results, strict=True)
    ]
