"""A teacher that is larger than its student sees more of the same picture; where none is larger, nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.precision import FP32
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.images import LabelledImage
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.batches import BatchSource
from sbka_milvus.training.data import PixelSet, TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.task import Batch, SbkaTask
from sbka_milvus.training.trainer import Trainer

TEAM = Team(torch.device("cpu"))
SMALL, LARGE = 16, 32
CATEGORIES = ("fine", "flat")
OPTIONS: dict[str, Any] = {"mode": "one_way", "sketches_per_batch": 4, "photos_per_batch": 4}


class Eye(Backbone):
    """Keeps what it saw last; its features are 4 x 4 means of it and of its contrast."""

    def __init__(self, size: int) -> None:
        super().__init__(
            BackboneSpec("timm", "eye"), nn.Conv2d(3, 3, 1), Preprocessing(size, (0.5,) * 3, (0.5,) * 3), 96, {}
        )
        self.saw = torch.empty(0)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[-2:] == (self.preprocessing.size,) * 2
        self.saw = pixels.detach().clone()
        means = [functional.adaptive_avg_pool2d(values, 4).flatten(1) for values in (pixels, pixels.square())]
        return torch.cat(means, dim=1) + 0 * next(self.parameters()).sum()


def student() -> SbkaStudent:
    torch.manual_seed(0)
    return SbkaStudent(Eye(SMALL), 2, KnowledgeHead(torch.randn(5, 96)))


def teacher(size: int) -> SbkaTeacher:
    torch.manual_seed(1)
    return SbkaTeacher(Eye(size), KnowledgeHead(torch.randn(5, 96)))


def paint(path: Path, size: int) -> NDArray[np.uint8]:
    """A checkerboard of single pixels, or the grey that 16 pixels make of it; on its upper left a mark."""
    board = np.indices((LARGE, LARGE)).sum(axis=0) % 2 * 255
    values = board if path.parent.name == "fine" else np.full_like(board, 127.5, dtype=float)
    values[:8, :4] = 255 * (int(path.name) % 2)
    times = LARGE // size
    reduced = values.reshape(size, times, size, times).mean(axis=(1, 3))
    return np.repeat(reduced.astype(np.uint8)[:, :, None], 3, axis=2)


def world(photo: int, sketch: int) -> TrainingData:
    def pixels(size: int) -> PixelSet:
        images = [LabelledImage(Path(name) / str(number), name) for name in CATEGORIES for number in range(4)]
        return PixelSet(images, CATEGORIES, lambda path: paint(path, size))

    def none() -> PixelSet:
        return PixelSet([], (), lambda path: paint(path, SMALL))

    return TrainingData(CATEGORIES, pixels(photo), pixels(sketch), (), none(), none())


def first_batch(data: TrainingData, **options: Any) -> Batch:
    chosen = TrainingOptions(**OPTIONS | options)
    return next(BatchSource(data, chosen, Eye(SMALL).preprocessing, TEAM).epoch())


def eyes_of(batch: Batch, size: int, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What student and teacher see of a batch's photos; of its sketches before them where both are shown."""
    pupil, master = student(), teacher(size)
    SbkaTask(pupil, master, None, TrainingOptions(**OPTIONS | options), FP32).losses(batch, teacher_learns=False)
    assert isinstance(pupil.backbone, Eye)
    assert isinstance(master.backbone, Eye)
    return pupil.backbone.saw[-len(master.backbone.saw) :], master.backbone.saw


def contrast(pictures: torch.Tensor, fine: torch.Tensor) -> tuple[float, float]:
    """Mean deviation within pictures of a fine checkerboard and within flat ones, away from the mark."""
    half = pictures.shape[-1] // 2
    spread = pictures[:, :, half:, half:].flatten(1).std(dim=1)
    return spread[fine].mean().item(), spread[~fine].mean().item()


def test_the_teacher_gets_detail_that_the_student_s_size_cannot_hold() -> None:
    batch = first_batch(world(LARGE, SMALL), augment_probability=0.0)
    mine, theirs = eyes_of(batch, LARGE)
    fine = batch.photo_labels == CATEGORIES.index("fine")
    assert fine.any()
    assert not fine.all()
    assert contrast(theirs, fine) == pytest.approx((1.0, 0.0), abs=0.05), "black and white are -1 and 1"
    assert contrast(mine, fine) == pytest.approx((0.0, 0.0), abs=0.05), "both are the same grey for the student"
    # Enlarged from what the student sees, as where photos were read at its size, there is nothing to learn from.
    mine, theirs = eyes_of(first_batch(world(SMALL, SMALL), augment_probability=0.0), LARGE)
    assert contrast(theirs, fine) == pytest.approx((0.0, 0.0), abs=0.05)


@pytest.mark.parametrize("pictures", ["photos", "both"])
def test_both_see_one_crop_and_one_flip(pictures: str) -> None:
    options: dict[str, Any] = {"augment_probability": 1.0, "relation_weight": 1.0, "relation_pictures": pictures}
    sketch = LARGE if pictures == "both" else SMALL
    mine, theirs = eyes_of(first_batch(world(LARGE, sketch), **options), LARGE, **options)
    assert len(theirs) == (8 if pictures == "both" else 4)
    assert torch.equal(mine, functional.interpolate(theirs, (SMALL, SMALL), mode="bilinear", antialias=True))
    # The mark says where each picture's upper left is: were there no moves, this would say nothing.
    still, _ = eyes_of(first_batch(world(LARGE, sketch), **options | {"augment_probability": 0.0}), LARGE, **options)
    assert (mine - still).abs().flatten(1).amax(dim=1).gt(0.3).sum() >= 2


def test_the_student_s_crop_does_not_depend_on_the_size_at_which_it_is_read() -> None:
    """Flips, scales, rotations and shifts are shares of the side, drawn before the pictures are read."""
    small, _ = eyes_of(first_batch(world(SMALL, SMALL), augment_probability=1.0), SMALL)
    large, _ = eyes_of(first_batch(world(LARGE, SMALL), augment_probability=1.0), LARGE)
    # Resampling before and after the reduction differ at the mark's edges alone.
    assert (small - large).abs().mean() < 0.05
    assert torch.corrcoef(torch.stack([small.flatten(), large.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("size", [SMALL, SMALL // 2])
def test_where_no_network_is_larger_the_student_sees_the_very_pixels_of_the_batch(size: int) -> None:
    batch = first_batch(world(SMALL, SMALL), augment_probability=1.0)
    mine, theirs = eyes_of(batch, size)
    assert torch.equal(mine, batch.photos)
    assert torch.equal(theirs, batch.photos) is (size == SMALL)


def test_where_sizes_agree_a_training_is_that_of_a_task_that_knows_one_size() -> None:
    """Bit by bit: the same losses, and the same weights in the end."""

    class OneSize(SbkaTask):
        """Shows every network the batch as it is."""

        def _view(self, pixels: torch.Tensor, backbone: Backbone) -> torch.Tensor:
            return pixels

    def trained(task: Callable[..., SbkaTask]) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        options = TrainingOptions(**OPTIONS | {"epochs": 3, "learning_rate": 0.01, "mode": "bidirectional"})
        trainer = Trainer(student(), teacher(SMALL), None, options, team=TEAM, precision=FP32)
        trainer.task = task(trainer.student, trainer.teacher, None, options, FP32)
        history = trainer.fit(world(SMALL, SMALL), SilentProgress())
        return [record.losses for record in history.epochs], trainer.student.state_dict()

    (losses, weights), (expected, same) = trained(SbkaTask), trained(OneSize)
    assert losses == expected
    assert all(torch.equal(value, same[name]) for name, value in weights.items())
