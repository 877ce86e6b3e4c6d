"""Student and teacher."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sbka_milvus.encoders.backbones import BuiltBackbone
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher

Build = Callable[..., BuiltBackbone]


def head(dim: int) -> KnowledgeHead:
    return KnowledgeHead(torch.randn(5, dim))


@pytest.fixture
def teacher(build: Build) -> SbkaTeacher:
    backbone = build().backbone
    return SbkaTeacher(backbone, head(backbone.feature_dim))


def test_a_student_gives_the_feature_and_both_logits(build: Build) -> None:
    backbone = build().backbone
    student = SbkaStudent(backbone, 3, head(backbone.feature_dim)).eval()
    pixels = torch.randn(2, 3, 64, 64)
    feature, seen, known = student(pixels)
    assert torch.equal(feature, backbone(pixels))
    assert torch.allclose(seen, student.seen_head(feature))
    assert student.knowledge is not None
    assert torch.allclose(known, student.knowledge(feature))
    assert (seen.shape, known.shape) == ((2, 3), (2, 5))


def test_logits_are_float32_under_autocast_too(build: Build) -> None:
    backbone = build().backbone
    student = SbkaStudent(backbone, 3, head(backbone.feature_dim)).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        feature, seen, known = student(torch.randn(2, 3, 64, 64))
    assert feature.dtype == torch.bfloat16
    assert seen.dtype == known.dtype == torch.float32


def test_a_student_may_know_nothing(build: Build) -> None:
    assert SbkaStudent(build().backbone, 3, None)(torch.randn(2, 3, 64, 64)).knowledge_logits is None


def test_only_the_knowledge_head_of_a_teacher_trains(teacher: SbkaTeacher) -> None:
    trains = {name for name, parameter in teacher.named_parameters() if parameter.requires_grad}
    assert trains == {"knowledge.weight", "knowledge.bias"}
    before = {name: value.clone() for name, value in teacher.backbone.state_dict().items()}
    knowledge = teacher.knowledge.weight.detach().clone()
    optimiser = torch.optim.Adam((p for p in teacher.parameters() if p.requires_grad), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        teacher.train()
        optimiser.zero_grad()
        teacher(torch.randn(2, 3, 64, 64)).square().sum().backward()
        optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in teacher.backbone.state_dict().items())
    assert not torch.equal(teacher.knowledge.weight, knowledge)


def test_the_backbone_of_a_teacher_stays_in_eval_mode(teacher: SbkaTeacher) -> None:
    def modes() -> set[bool]:
        return {module.training for module in teacher.backbone.modules()}

    assert modes() == {False}, "from the start, or its first features would move the stored statistics"
    assert teacher.train() is teacher
    assert modes() == {False}
    assert teacher.training
    assert teacher.knowledge.training
    teacher.eval()
    assert modes() == {False}
    assert not teacher.training


def test_features_of_a_teacher_carry_no_gradient(teacher: SbkaTeacher) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = teacher.features(torch.randn(2, 3, 64, 64, requires_grad=True))
    assert not features.requires_grad
    assert features.dtype == torch.float32
