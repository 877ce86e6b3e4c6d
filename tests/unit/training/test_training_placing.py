"""The isometry between student and teacher starts where their features fit best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.isometry import Isometry
from sbka_milvus.encoders.precision import FP32
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.data import TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.losses import embedding_gap
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.placing import best_isometry, place
from sbka_milvus.training.trainer import Trainer

MakeStudent = Callable[..., SbkaStudent]
MakeToy = Callable[..., TrainingData]


class Turned(Backbone):
    """Another network's features, seen through an isometry."""

    def __init__(self, inner: Backbone, dim: int) -> None:
        torch.manual_seed(5)
        super().__init__(BackboneSpec("timm", "turned"), nn.Identity(), inner.preprocessing, dim, {})
        self.inner, self.isometry = inner, Isometry(inner.feature_dim, dim)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return 3 * self.isometry(self.inner(pixels))


def gap(student: SbkaStudent, teacher: SbkaTeacher, data: TrainingData) -> float:
    pixels = student.backbone.preprocessing.scale(data.photos.pixels(np.arange(len(data.photos))))
    with torch.no_grad():
        pair = student.beside(student.backbone.eval()(pixels), teacher.features(pixels))
    return embedding_gap(*pair).item()


def test_the_best_isometry_is_found_again() -> None:
    torch.manual_seed(0)
    hidden, rows = Isometry(4, 9), torch.randn(30, 4)
    found = best_isometry(rows, 2 * hidden(rows).detach())
    assert torch.allclose(found, hidden.weight, atol=1e-5)
    assert torch.allclose(found.T @ found, torch.eye(4), atol=1e-5)


def test_none_fits_better() -> None:
    generator = torch.Generator().manual_seed(1)
    small, large = torch.randn(20, 3, generator=generator), torch.randn(20, 6, generator=generator)
    best = embedding_gap(small @ best_isometry(small, large).T, large).item()
    for seed in range(20):
        torch.manual_seed(seed)
        assert embedding_gap(Isometry(3, 6)(small), large).item() > best


@pytest.mark.parametrize("sketches", [True, False])
def test_a_student_is_placed_where_its_teacher_s_features_are(
    sketches: bool, student: MakeStudent, toy: MakeToy
) -> None:
    first, data = student(), toy()
    teacher = SbkaTeacher(Turned(student().backbone.eval(), 50), None)
    pupil = SbkaStudent(first.backbone, 4, None, taught_dim=50).train()
    before = gap(pupil, teacher, data)
    pupil.train()
    place(pupil, teacher, data, FP32, sketches=sketches)
    assert pupil.training
    assert before > 0.5
    assert gap(pupil, teacher, data) < 1e-3, "they differ by nothing but the place"


def test_a_training_starts_there(student: MakeStudent, toy: MakeToy) -> None:
    data, teacher = toy(), SbkaTeacher(Turned(student().backbone.eval(), 50), None)
    recipe: dict[str, Any] = {"mode": "one_way", "embedding_weight": 1.0, "relation_pictures": "both", "epochs": 1}
    options = TrainingOptions(**recipe, learning_rate=1e-9, sketches_per_batch=8, photos_per_batch=12)
    pupil = SbkaStudent(student().backbone, 4, None, taught_dim=50)
    Trainer(pupil, teacher, None, options, team=Team(torch.device("cpu")), precision=FP32).fit(data, SilentProgress())
    assert gap(pupil, teacher, data) < 0.02


def test_where_there_is_no_isometry_nothing_is_done(student: MakeStudent, toy: MakeToy) -> None:
    pupil = student()
    before = {name: value.clone() for name, value in pupil.state_dict().items()}
    place(pupil, SbkaTeacher(student().backbone, None), toy(), FP32, sketches=True)
    place(SbkaStudent(pupil.backbone, 4, None, taught_dim=50), None, toy(), FP32, sketches=True)
    assert all(torch.equal(value, before[name]) for name, value in pupil.state_dict().items())


def test_a_teacher_with_another_preprocessing_sees_its_own(student: MakeStudent, toy: MakeToy) -> None:
    class Wide(Turned):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            assert pixels.shape[-1] == 24
            return super().forward(nn.functional.interpolate(pixels, 16))

    wide = Wide(student().backbone.eval(), 50)
    wide.preprocessing = Preprocessing(24, (0.4,) * 3, (0.2,) * 3)
    pupil = SbkaStudent(student().backbone, 4, None, taught_dim=50)
    before = pupil.isometry.weight.clone()  # type: ignore[union-attr]
    place(pupil, SbkaTeacher(wide, None), toy(), FP32, sketches=True)
    assert not torch.equal(pupil.isometry.weight, before)  # type: ignore[union-attr]
