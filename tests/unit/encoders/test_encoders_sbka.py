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
        teacher.knowledge(teacher.features(torch.randn(2, 3, 64, 64), learns=True)).square().sum().backward()
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


def learned_by(teacher: SbkaTeacher) -> set[str]:
    """Names of what changes in two steps."""
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    optimiser = torch.optim.Adam((p for p in teacher.parameters() if p.requires_grad), lr=0.01)
    for _ in range(2):
        teacher.train()
        optimiser.zero_grad()
        teacher.knowledge(teacher.features(torch.randn(2, 3, 64, 64), learns=True)).square().sum().backward()
        optimiser.step()
    return {name for name, value in teacher.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_the_scope_says_what_of_a_teacher_learns(model: str, build: Build) -> None:
    heads = {"knowledge.weight", "knowledge.bias"}

    def teacher(scope, **options: int) -> SbkaTeacher:
        backbone = build(model, options=options).backbone
        return SbkaTeacher(backbone, head(backbone.feature_dim), scope)

    assert learned_by(teacher("head")) == heads
    norms = learned_by(teacher("adapters")) - heads
    norm_names = {
        f"{name}.{own}"
        for name, module in teacher("all").named_modules()
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.LayerNorm)
        for own, _ in module.named_parameters(recurse=False)
    }
    assert norms
    assert norms <= norm_names, "where there are no adapters, norms alone; and never their statistics"
    whole = learned_by(teacher("all"))
    assert len(whole - heads) > len(norm_names)
    assert not any("running" in name or "tracked" in name for name in whole)
    if model == "test_vit":
        adapted = learned_by(teacher("adapters", adapters=3)) - heads
        assert any(".adapter." in name for name in adapted)
        assert {name for name in adapted if ".adapter." not in name} <= norm_names


def test_features_learn_only_where_they_may(build: Build) -> None:
    for scope, learns in (("head", False), ("adapters", True), ("all", True)):
        backbone = build().backbone
        teacher = SbkaTeacher(backbone, head(backbone.feature_dim), scope)
        assert teacher.features_learn is learns
        assert teacher.features(torch.randn(1, 3, 64, 64), learns=True).requires_grad is learns
        assert not teacher.features(torch.randn(1, 3, 64, 64)).requires_grad
        assert {module.training for module in teacher.backbone.modules()} == {False}


def test_what_a_teacher_learned_is_put_back_into_another(build: Build) -> None:
    def teacher(scope="adapters") -> SbkaTeacher:
        backbone = build().backbone
        torch.manual_seed(4)
        return SbkaTeacher(backbone, head(backbone.feature_dim), scope)

    one, two = teacher(), teacher()
    learned_by(one)
    two.load_learned(one.learned())
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    with pytest.raises(KeyError, match="the teacher's parts"):
        two.load_learned(teacher("head").learned())


def test_a_teacher_may_have_no_head(build: Build) -> None:
    assert SbkaTeacher(build().backbone, None).learned() == {}


@pytest.mark.parametrize("taught", [9, 400])
def test_features_of_two_lengths_are_held_beside_one_another(taught: int, build: Build) -> None:
    backbone = build("test_efficientnet").backbone
    student = SbkaStudent(backbone, 3, None, taught_dim=taught)
    own, other = torch.randn(4, backbone.feature_dim), torch.randn(4, taught)
    mine, theirs = student.beside(own, other)
    assert mine.shape == theirs.shape == (4, max(backbone.feature_dim, taught))
    for before, after in ((own, mine), (other, theirs)):
        assert torch.allclose(before @ before.T, after @ after.T, atol=1e-3), "no angle has changed"


def test_features_of_one_length_are_held_beside_one_another_as_they_are(build: Build) -> None:
    backbone = build("test_efficientnet").backbone
    student = SbkaStudent(backbone, 3, None, taught_dim=backbone.feature_dim)
    own, other = torch.randn(2, 4, backbone.feature_dim)
    assert student.isometry is None
    assert student.beside(own, other) == (own, other)
    assert "isometry" not in "".join(SbkaStudent(backbone, 3, None).state_dict())
