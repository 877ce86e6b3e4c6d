"""A toy world in memory, and a network of a few hundred parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.images import LabelledImage
from sbka_milvus.training.data import PixelSet, TrainingData

SIZE = 16
SHAPES = ("bar", "box", "dot", "pole")
KNOWN = 6


@pytest.fixture(scope="module", autouse=True)
def small_networks(one_thread: None) -> None:
    """All that is built here is small."""


class SmallNet(Backbone):
    """Two convolutions with batch normalisation."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.AdaptiveAvgPool2d(2)
        ).append(nn.Flatten())
        prepare = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        super().__init__(BackboneSpec("timm", "by_hand"), net, prepare, 32, {})

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.net(pixels)


def draw(category: str, number: int, *, photo: bool) -> NDArray[np.uint8]:
    """A filled shape on coloured noise (a photo), or its outline on white (a sketch)."""
    rng = np.random.default_rng([SHAPES.index(category), number, photo])
    ground = (
        rng.integers(90, 180, (SIZE, SIZE, 3), dtype=np.uint8) if photo else np.full((SIZE, SIZE, 3), 255, np.uint8)
    )
    image = Image.fromarray(ground)
    boxes = {"bar": (1, 6, 14, 9), "box": (3, 3, 12, 12), "dot": (6, 6, 9, 9), "pole": (6, 1, 9, 14)}
    shift = rng.integers(-1, 2, 2)
    x0, y0, x1, y1 = np.add(boxes[category], [shift[0], shift[1], shift[0], shift[1]]).tolist()
    ImageDraw.Draw(image).rectangle((x0, y0, x1, y1), fill="black" if photo else None, outline="black")
    return np.asarray(image)


def pixel_set(categories: tuple[str, ...], count: int, times: int, *, photo: bool) -> PixelSet:
    images = [
        LabelledImage(Path(category) / str(number), category) for category in categories for number in range(count)
    ]

    def load(path: Path) -> NDArray[np.uint8]:
        return draw(path.parent.name, int(path.name), photo=photo).repeat(times, axis=0).repeat(times, axis=1)

    return PixelSet(images, categories, load)


@pytest.fixture
def toy() -> Callable[..., TrainingData]:
    """The toy world, ``count`` pictures of 16 ``times`` 16 px a category; the last two categories may be held out."""

    def make(*, held_out: bool = False, count: int = 6, times: int = 1) -> TrainingData:
        train, held = (SHAPES[:2], SHAPES[2:]) if held_out else (SHAPES, ())
        return TrainingData(
            train,
            pixel_set(train, count, times, photo=True),
            pixel_set(train, count, times, photo=False),
            held,
            pixel_set(held, count, times, photo=True),
            pixel_set(held, count, times, photo=False),
        )

    return make


@pytest.fixture
def student() -> Callable[..., SbkaStudent]:
    def make(n_seen: int = 4, *, know: bool = True, seed: int = 0) -> SbkaStudent:
        backbone = SmallNet(seed)
        head = KnowledgeHead(torch.randn(KNOWN, 32) * 0.5)
        return SbkaStudent(backbone, n_seen, head if know else None)

    return make


@pytest.fixture
def teacher() -> Callable[..., SbkaTeacher]:
    def make(seed: int = 7) -> SbkaTeacher:
        backbone = SmallNet(seed)
        return SbkaTeacher(backbone, KnowledgeHead(torch.randn(KNOWN, 32) * 0.5))

    return make
