"""The teacher's part of a training: what of it learns, when, how fast, and from what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.precision import FP32
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.view import translate
from sbka_milvus.errors import TrainingError
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.data import TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.losses import embedding_gap, relation_gap
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.task import Batch, SbkaTask
from sbka_milvus.training.trainer import Trainer

MakeStudent = Callable[..., SbkaStudent]
MakeToy = Callable[..., TrainingData]
TEAM = Team(torch.device("cpu"))
SMALL: dict[str, Any] = {
    "epochs": 4,
    "sketches_per_batch": 8,
    "photos_per_batch": 12,
    "learning_rate": 0.01,
    "final_rate_factor": 0.01,
}


class LargeNet(Backbone):
    """Larger pictures on another scale, and features of another length, than the student's."""

    def __init__(self, seed: int = 3) -> None:
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 5, 5, stride=3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        )
        super().__init__(
            BackboneSpec("timm", "large"), net, Preprocessing(24, (0.4, 0.5, 0.6), (0.2, 0.3, 0.2)), 45, {}
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[-1] == 24
        return self.net(pixels)


def large(scope="head", *, know: bool = True) -> SbkaTeacher:
    backbone = LargeNet()
    return SbkaTeacher(backbone, KnowledgeHead(torch.randn(6, 45) * 0.5) if know else None, scope)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    sketches, photos = (torch.randn(count, 3, 16, 16, generator=generator) for count in (3, 5))
    return Batch(sketches, torch.tensor([0, 1, 2]), photos, torch.tensor([3, 2, 1, 0, 3]))


def task(student: SbkaStudent, teacher: SbkaTeacher | None, **options: Any) -> SbkaTask:
    return SbkaTask(student.eval(), teacher, None, TrainingOptions(**options), FP32)


def grown(parameters: Iterable[nn.Parameter]) -> bool:
    return any(parameter.grad is not None and bool(parameter.grad.abs().sum() > 0) for parameter in parameters)


def snapshot(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


class Watched(Trainer):
    """Remembers the teacher after each epoch."""

    def validate(self, data: TrainingData) -> float | None:
        assert self.teacher is not None
        self.seen.append(snapshot(self.teacher))
        return None


def watched(student: SbkaStudent, teacher: SbkaTeacher, data: TrainingData, **options: Any) -> Watched:
    trainer = Watched(student, teacher, None, TrainingOptions(**{**SMALL, **options}), team=TEAM, precision=FP32)
    trainer.seen = [snapshot(teacher)]
    trainer.fit(data, SilentProgress())
    return trainer


@pytest.mark.parametrize(("starts", "first"), [(0.0, 0), (0.25, 1), (0.5, 2), (0.9, 3)])
@pytest.mark.parametrize("scope", ["head", "adapters", "all"])
def test_what_may_learn_learns_when_it_may(
    scope, starts: float, first: int, student: MakeStudent, toy: MakeToy
) -> None:
    trainer = watched(student(), large(scope), toy(), teacher_scope=scope, teacher_starts=starts)
    changed = [{name for name in one if not torch.equal(one[name], two[name])} for one, two in pairwise(trainer.seen)]
    expected = {"knowledge.weight", "knowledge.bias"}
    expected |= {"backbone.net.1.weight", "backbone.net.1.bias"} if scope != "head" else set()
    expected |= {"backbone.net.0.weight", "backbone.net.0.bias"} if scope == "all" else set()
    assert changed == [expected if epoch >= first else set() for epoch in range(4)]
    assert [record.teacher_learns for record in trainer.history.epochs] == [epoch >= first for epoch in range(4)]


def test_its_rate_falls_with_the_student_s_or_starts_anew(student: MakeStudent, toy: MakeToy) -> None:
    def rates(schedule: str) -> list[float | None]:
        trainer = watched(student(), large(), toy(), teacher_schedule=schedule, teacher_rate_factor=2.0)
        return [record.teacher_learning_rate for record in trainer.history.epochs]

    # 0.01 * 0.01 ** (epoch / 4), twice; anew: over the two epochs that are left.
    assert rates("shared") == [None, None, pytest.approx(2e-3), pytest.approx(2e-2 * 0.01**0.75)]
    assert rates("restart") == [None, None, pytest.approx(2e-2), pytest.approx(2e-3)]


def test_options_say_when_and_how_fast() -> None:
    assert TrainingOptions(epochs=100, teacher_starts=0.29).teacher_first == 29
    assert TrainingOptions(epochs=3, teacher_starts=0.99).teacher_first == 2, "the last epoch is always left"
    options = TrainingOptions(
        epochs=8, schedule="cosine", final_rate_factor=1e-9, warmup_epochs=4, teacher_schedule="restart"
    )
    # Of the four epochs that are left the climb takes half at most, the cosine the other half.
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]
    found = [options.teacher_rate_factor_at(4 + step // 2, step % 2 / 2, 0.5) for step in range(4)]
    found += [options.teacher_rate_factor_at(6 + step, 0.0, 0.5) for step in range(2)]
    assert found == pytest.approx(expected)
    assert options.teacher_rate_factor_at(4) != pytest.approx(options.rate_factor(4))


def test_a_teacher_that_starts_anew_moves_further(student: MakeStudent, toy: MakeToy) -> None:
    """Which is why the paper's form hardly moved it."""

    def moved(schedule: str) -> float:
        trainer = watched(student(), large(), toy(), teacher_schedule=schedule, final_rate_factor=1e-3, epochs=6)
        return float((trainer.seen[-1]["knowledge.weight"] - trainer.seen[0]["knowledge.weight"]).norm())

    assert moved("restart") > 5 * moved("shared") > 0


def test_a_teacher_of_another_size_sees_the_same_crop(student: MakeStudent, batch: Batch) -> None:
    pupil, master = student(), large()
    mine, theirs = task(pupil, master).losses(batch, teacher_learns=True)
    seen = translate(batch.photos, pupil.backbone.preprocessing, master.backbone.preprocessing)
    taught = master.knowledge(master.backbone(seen))
    known = pupil(batch.photos).knowledge_logits
    expected = -(taught.softmax(-1) * known.log_softmax(-1)).sum(-1).mean()
    assert mine["knowledge"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(theirs) == {"teacher_knowledge"}


@pytest.mark.parametrize("pictures", ["photos", "both"])
def test_the_relation_is_learned_both_ways(pictures: str, student: MakeStudent, batch: Batch) -> None:
    pupil, master = student(), large("all")
    step = task(pupil, master, relation_weight=3.0, relation_pictures=pictures, alignment_weight=0.0)
    mine, theirs = step.losses(batch, teacher_learns=True)
    seen = torch.cat([batch.sketches, batch.photos]) if pictures == "both" else batch.photos
    view = translate(seen, pupil.backbone.preprocessing, master.backbone.preprocessing)
    expected = 3 * relation_gap(pupil.backbone(seen), master.backbone(view)).item()
    assert mine["relation"].item() == pytest.approx(expected, rel=1e-4)
    assert theirs["teacher_relation"].item() == pytest.approx(expected, rel=1e-4), "smooth L1 is symmetrical"
    mine["relation"].backward()
    assert grown(pupil.backbone.parameters())
    assert not grown(master.parameters())
    pupil.zero_grad()
    theirs["teacher_relation"].backward()
    assert grown(master.backbone.parameters())
    assert not grown(pupil.parameters())


def test_a_head_alone_learns_nothing_from_relations(student: MakeStudent, batch: Batch) -> None:
    mine, theirs = task(student(), large(), relation_weight=1.0).losses(batch, teacher_learns=True)
    assert "relation" in mine
    assert set(theirs) == {"teacher_knowledge"}


@pytest.mark.parametrize("know", [True, False])
def test_a_teacher_without_a_head_teaches_by_its_features(know: bool, student: MakeStudent, batch: Batch) -> None:
    step = task(student(know=know), large("all", know=False), relation_weight=1.0)
    mine, theirs = step.losses(batch, teacher_learns=True)
    assert set(mine) == {"category", "alignment", "relation"}
    assert set(theirs) == {"teacher_relation"}
    with pytest.raises(TrainingError, match="needs a backbone with a knowledge head") as caught:
        task(student(know=know), large("all", know=False))
    assert "--relation-weight" in caught.value.remedy
    with pytest.raises(TrainingError, match="Nothing of this teacher can learn") as caught:
        task(student(know=know), large("head", know=False), relation_weight=1.0)
    assert "--teacher-scope" in caught.value.remedy
    one_way = task(student(know=know), large("head", know=False), relation_weight=1.0, mode="one_way")
    assert "relation" in one_way.losses(batch, teacher_learns=False)[0]


def test_a_fixed_teacher_is_not_asked_for_gradients(student: MakeStudent, batch: Batch) -> None:
    pupil, master = student(), large("all")
    mine, theirs = task(pupil, master, relation_weight=1.0).losses(batch, teacher_learns=False)
    assert theirs == {}
    torch.stack(list(mine.values())).sum().backward()
    assert not grown(master.parameters())


@pytest.mark.parametrize("pictures", ["photos", "both"])
def test_features_are_learned_both_ways_through_one_isometry(pictures: str, student: MakeStudent, batch: Batch) -> None:
    pupil, master = SbkaStudent(student().backbone, 4, None, taught_dim=45), large("all", know=False)
    step = task(pupil, master, embedding_weight=3.0, relation_pictures=pictures, alignment_weight=0.0)
    mine, theirs = step.losses(batch, teacher_learns=True)
    seen = torch.cat([batch.sketches, batch.photos]) if pictures == "both" else batch.photos
    view = translate(seen, pupil.backbone.preprocessing, master.backbone.preprocessing)
    assert pupil.isometry is not None
    expected = 3 * embedding_gap(pupil.isometry(pupil.backbone(seen)), master.backbone(view)).item()
    assert mine["embedding"].item() == pytest.approx(expected, rel=1e-4)
    assert theirs["teacher_embedding"].item() == pytest.approx(expected, rel=1e-4)
    mine["embedding"].backward(retain_graph=True)
    assert grown(pupil.backbone.parameters())
    assert grown(pupil.isometry.parameters())
    assert not grown(master.parameters())
    theirs["teacher_embedding"].backward()
    assert grown(master.backbone.parameters())


def test_a_student_learns_to_make_its_teacher_s_features(student: MakeStudent, toy: MakeToy) -> None:
    pupil, master = SbkaStudent(student().backbone, 4, None, taught_dim=45), large(know=False)
    recipe = {**SMALL, "mode": "one_way", "epochs": 12, "embedding_weight": 2.0, "relation_pictures": "both"}
    options = TrainingOptions(**recipe, alignment_weight=0.0, augment_probability=0.0)
    before = snapshot(master)
    history = Trainer(pupil, master, None, options, team=TEAM, precision=FP32).fit(toy(), SilentProgress())
    gaps = [record.losses["embedding"] for record in history.epochs]
    assert gaps[-1] < 0.3 * gaps[0]
    assert all(torch.equal(value, before[name]) for name, value in snapshot(master).items())


def test_a_teacher_s_features_are_enough_to_learn_from(student: MakeStudent, batch: Batch) -> None:
    pupil = SbkaStudent(student().backbone, 4, None, taught_dim=45)
    mine, _ = task(pupil, large(know=False), embedding_weight=1.0, mode="one_way").losses(batch, teacher_learns=False)
    assert set(mine) == {"category", "alignment", "embedding"}
    with pytest.raises(TrainingError, match="needs a backbone with a knowledge head") as caught:
        task(pupil, large(know=False), mode="one_way")
    assert "--embedding-weight" in caught.value.remedy
