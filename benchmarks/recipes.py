"""What the benchmarks of quality train, and on what: one place for recipes and for where the pictures lie."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import SbkaError
from sbka_milvus.images import LabelledImage, Split, list_images
from sbka_milvus.pipelines.labelled import LabelledVectors, encode_images
from sbka_milvus.pipelines.train import TrainRequest
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.options import TrainingOptions

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
NOTE = "a subset of Sketchy: real figures, not comparable with published ones"
SPLITS = ("sketchy_ext_25", "sketchy_ext_21")
RECIPES: dict[str, dict[str, Any]] = {
    "short": {
        "mode": "bidirectional",
        "epochs": 3,
        "learning_rate": 3e-4,
        "final_rate_factor": 0.01,
        "sketches_per_batch": 32,
        "photos_per_batch": 64,
    },
    "knowledge": {
        "mode": "one_way",
        "epochs": 3,
        "learning_rate": 1e-3,
        "backbone_rate_factor": 0.3,
        "schedule": "cosine",
        "final_rate_factor": 0.02,
        "warmup_epochs": 0.4,
        "optimiser": "adamw",
        "sketches_per_batch": 48,
        "photos_per_batch": 48,
        "frozen_stages": 4,
        "knowledge_weight": 2.0,
        "sketch_knowledge_weight": 1.0,
    },
}
SIZES = {"short": 128, "knowledge": 160}
DRAWINGS = {"short": False, "knowledge": True}
"""Whether the drawings of Quick, Draw! join the training."""


def data_folder() -> Path:
    """Where the pictures are by default."""
    return Path(os.environ.get("SBKA_REAL_DATA", ROOT.parent / "shared" / "data"))


class RealData:
    """The pictures of one split."""

    def __init__(self, root: Path, split: str) -> None:
        self.photos, self.sketches = root / "sketchy-mini" / "photos", root / "sketchy-mini" / "sketches"
        self.split = Split.load(root / "splits" / f"{split}.json")
        self._root = root

    def backbone(self, size: int) -> BuildRequest:
        """MobileNetV2 with its ImageNet weights."""
        weights = self._root / "weights" / "mobilenetv2_100_imagenet1k.safetensors"
        return BuildRequest(BackboneSpec.parse("timm:mobilenetv2_100"), weights, size=size)

    def request(self, out: Path, options: TrainingOptions, size: int, *, drawings: bool) -> TrainRequest:
        """A training on the seen categories.

        The affinities are known for the seen categories of the 25 split alone: the 21 split trains without.
        """
        affinity = self._root / "semantics" / "sketchy_imagenet_affinity.npz"
        return TrainRequest(
            photos=self.photos,
            sketches=self.sketches,
            out=out,
            backbone=self.backbone(size),
            options=options,
            split=self.split,
            affinity=affinity if self.split.name == "sketchy_ext_25" else None,
            # All are of seen categories; the training itself would leave others out.
            extra_sketches=tuple(self.drawings()) if drawings else (),
        )

    def drawings(self) -> list[LabelledImage]:
        """The drawings of Quick, Draw!, all of categories that are seen in both splits."""
        return list_images(self._root / "quickdraw-seen")

    def encode(self, encoder: Any, names: Sequence[str]) -> tuple[LabelledVectors, LabelledVectors]:
        """Sketches and photos of some categories, encoded."""
        sketches, photos = (
            encode_images(
                list_images(folder, names), encoder, sketches=drawn, size=encoder.input_size, progress=SilentProgress()
            )
            for folder, drawn in ((self.sketches, True), (self.photos, False))
        )
        return sketches, photos


def picked(items: Sequence[T], count: int) -> Sequence[T]:
    """So many of them, every n-th: photos of all categories, where these follow one another."""
    return items[:: max(1, len(items) // count)][:count]


def make_once(folder: Path, data: Path, make: Callable[[], dict[str, Any]]) -> None:
    """Makes what belongs into a folder and tells of it in ``run.json``, which comes last; ends the program with a word.

    Args:
        folder: of a training; one that is whole is left as it is.
        data: where the pictures are.
        make: what is to be done, and what is to be told of it.
    """
    if not data.is_dir():
        sys.exit(f"There are no pictures in {data}: set SBKA_REAL_DATA or pass --data.")
    if (folder / "run.json").exists():
        print(f"{folder} is there already.")
        return
    try:
        run = make()
    except SbkaError as error:
        sys.exit(f"Error: {error}")
    written = folder / "run.json.part"
    written.write_text(json.dumps(run, indent=1) + "\n")
    written.replace(folder / "run.json")


class Lines(SilentProgress):
    """Says what matters and draws nothing."""

    def say(self, message: str) -> None:
        print(message, flush=True)
