"""The training loop: who changes when, which epoch becomes the model, and what stops it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sbka_milvus.encoders.backbones import Backbone, BuildRequest, build_backbone
from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.precision import BF16, FP32
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import TrainingError
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.data import TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.trainer import Trainer

MakeStudent = Callable[..., SbkaStudent]
MakeTeacher = Callable[..., SbkaTeacher]
MakeToy = Callable[..., TrainingData]
CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "sketches_per_batch": 8,
    "photos_per_batch": 12,
    "learning_rate": 0.01,
    "final_rate_factor": 0.5,
}


class Watched(Trainer):
    """Remembers both networks after each epoch; its validation figures may be given."""

    figures: tuple[float | None, ...] = ()

    def validate(self, data: TrainingData) -> float | None:
        if not hasattr(self, "seen"):
            self.seen: list[dict[str, dict[str, torch.Tensor]]] = []
        networks = {"student": self.student, "teacher": self.teacher}
        self.seen.append(
            {
                name: {key: value.clone() for key, value in network.state_dict().items()}
                for name, network in networks.items()
                if network is not None
            }
        )
        return self.figures[len(self.seen) - 1] if self.figures else super().validate(data)


def watched(student: SbkaStudent, teacher: SbkaTeacher | None, *figures: float | None, **options: Any) -> Watched:
    trainer = Watched(student, teacher, None, TrainingOptions(**{**SMALL, **options}), team=Team(CPU), precision=FP32)
    trainer.figures = figures
    return trainer


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_the_losses_fall_and_the_categories_are_learned(
    student: MakeStudent, teacher: MakeTeacher, toy: MakeToy
) -> None:
    data = toy()
    pupil = student()
    trainer = watched(pupil, teacher(), epochs=12, augment_probability=0.0)
    history = trainer.fit(data, SilentProgress())
    first, last = (history.epochs[epoch].losses for epoch in (0, -1))
    assert last["category"] < 0.5 * first["category"]
    assert last["knowledge"] < first["knowledge"]
    pupil.eval()
    scaled = pupil.backbone.preprocessing.scale(data.photos.pixels(np.arange(len(data.photos))))
    with torch.inference_mode():
        right = (pupil(scaled).seen_logits.argmax(dim=1).numpy() == data.photos.labels).mean()
    assert right > 0.8


@pytest.mark.parametrize("mode", ["one_way", "bidirectional"])
def test_the_teacher_s_head_changes_in_the_second_half_of_a_bidirectional_training_alone(
    mode: str, student: MakeStudent, teacher: MakeTeacher, toy: MakeToy
) -> None:
    master = teacher()
    before = state(master)
    trainer = watched(student(), master, mode=mode, epochs=4)
    history = trainer.fit(toy(), SilentProgress())
    states = [before, *(seen["teacher"] for seen in trainer.seen)]
    changed = [not same(earlier, later) for earlier, later in pairwise(states)]
    expected = [False, False, True, True] if mode == "bidirectional" else [False] * 4
    assert changed == expected
    assert [record.teacher_learns for record in history.epochs] == expected
    assert [("teacher_knowledge" in record.losses) for record in history.epochs] == expected
    backbone = {name: value for name, value in before.items() if name.startswith("backbone.")}
    assert same(backbone, {name: value for name, value in states[-1].items() if name.startswith("backbone.")})
    pupils = [seen["student"] for seen in trainer.seen]
    assert not any(same(earlier, later) for earlier, later in pairwise(pupils))


def test_mode_ce_has_no_use_for_a_teacher(student: MakeStudent, toy: MakeToy) -> None:
    history = watched(student(know=False), None, mode="ce", epochs=2).fit(toy(), SilentProgress())
    assert [record.losses.keys() for record in history.epochs] == [{"category", "alignment"}] * 2


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ((0.9, 0.8, 0.5, 0.3), 3),
        ((0.9, 0.8, 0.3, 0.5), 4),
        ((0.1, 0.9, 0.4, 0.4), 3),
        ((None, None, None, None), 4),
    ],
)
def test_the_best_epoch_of_the_second_half_is_the_model(
    figures: tuple[float | None, ...], best: int, student: MakeStudent, teacher: MakeTeacher, toy: MakeToy
) -> None:
    pupil = student()
    trainer = watched(pupil, teacher(), *figures, epochs=4)
    history = trainer.fit(toy(), SilentProgress())
    assert history.best_epoch == best
    assert history.best_map == figures[best - 1]
    assert [record.validation_map for record in history.epochs] == list(figures)
    assert same(state(pupil), trainer.seen[best - 1]["student"])
    assert not same(state(pupil), trainer.seen[best - 2]["student"])


def test_one_epoch_is_a_training(student: MakeStudent, teacher: MakeTeacher, toy: MakeToy) -> None:
    assert watched(student(), teacher(), 0.5, epochs=1).fit(toy(), SilentProgress()).best_epoch == 1


def test_validation_is_map_of_the_held_out_categories(student: MakeStudent, teacher: MakeTeacher, toy: MakeToy) -> None:
    data = toy(held_out=True)
    pupil = student(2)
    trainer = watched(pupil, teacher(), epochs=2)
    history = trainer.fit(data, SilentProgress())
    figures = [record.validation_map for record in history.epochs]
    assert all(figure is not None and 0 < figure <= 1 for figure in figures)
    pupil.load_state_dict(trainer.seen[-1]["student"])
    assert figures[-1] == pytest.approx(by_hand(pupil.eval(), data))
    assert not Trainer.validate(trainer, toy())


def by_hand(student: SbkaStudent, data: TrainingData) -> float:
    """mAP@all with plain loops."""

    def vectors(pictures: Any) -> torch.Tensor:
        scaled = student.backbone.preprocessing.scale(pictures.pixels(np.arange(len(pictures))))
        return nn.functional.normalize(student.backbone(scaled), dim=1).detach()

    scores = vectors(data.validation_sketches) @ vectors(data.validation_photos).T
    total = 0.0
    for row, label in zip(scores, data.validation_sketches.labels, strict=True):
        relevant = data.validation_photos.labels[row.argsort(descending=True).numpy()] == label
        ranks = np.flatnonzero(relevant) + 1
        total += float(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return total / len(scores)


def test_the_rate_falls_as_planned(student: MakeStudent, teacher: MakeTeacher, toy: MakeToy) -> None:
    trainer = watched(student(), teacher(), epochs=4, learning_rate=0.01, final_rate_factor=1e-4)
    history = trainer.fit(toy(), SilentProgress())
    assert [record.learning_rate for record in history.epochs] == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5])


class Broken(Backbone):
    """A backbone that gives no numbers from its third step on."""

    def __init__(self, sound: Backbone) -> None:
        super().__init__(sound.spec, sound.net, sound.preprocessing, sound.feature_dim, {})
        self.steps = 0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        feature = self.net(pixels)
        return feature * math.nan if self.steps > 2 else feature


def test_a_loss_that_is_no_number_stops_the_training(student: MakeStudent, toy: MakeToy) -> None:
    pupil = student(know=False)
    pupil.backbone = Broken(pupil.backbone)
    with pytest.raises(TrainingError, match="not finite") as caught:
        watched(pupil, None, mode="ce", epochs=5).fit(toy(), SilentProgress())
    assert "--learning-rate" in caught.value.remedy
    assert pupil.backbone.steps == 3
    assert all(torch.isfinite(value).all() for value in state(pupil).values()), "no step was made with it"


def test_one_seed_gives_one_model(student: MakeStudent, teacher: MakeTeacher, toy: MakeToy) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        pupil = student()
        watched(pupil, teacher(), epochs=2, seed=seed).fit(toy(), SilentProgress())
        return state(pupil)

    first = trained(5)
    assert same(first, trained(5))
    assert not same(first, trained(6))


def test_a_fast_format_trains_too(student: MakeStudent, teacher: MakeTeacher, toy: MakeToy) -> None:
    pupil = student()
    trainer = Trainer(pupil, teacher(), None, TrainingOptions(**SMALL, epochs=2), team=Team(CPU), precision=BF16)
    trainer.fit(toy(), SilentProgress())
    assert all(value.dtype != torch.bfloat16 for value in state(pupil).values())


@pytest.mark.parametrize("model", ["test_vit", "test_convnext", "test_resnet"])
def test_only_norms_and_heads_train_where_that_is_asked_for(model: str, toy: MakeToy) -> None:
    torch.manual_seed(0)
    request = BuildRequest(BackboneSpec("timm", model), pretrained=False, size=32)
    pupil, master = (
        network(build_backbone(request).backbone)
        for network in (
            lambda backbone: SbkaStudent(backbone, 4, KnowledgeHead(torch.randn(6, backbone.feature_dim))),
            lambda backbone: SbkaTeacher(backbone, KnowledgeHead(torch.randn(6, backbone.feature_dim))),
        )
    )
    before = {name: value.detach().clone() for name, value in pupil.named_parameters()}
    watched(pupil, master, epochs=1, trainable="norm", mode="one_way").fit(toy(count=2, times=2), SilentProgress())
    norms = {
        f"{name}.{parameter}"
        for name, module in pupil.named_modules()
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d)
        for parameter, _ in module.named_parameters(recurse=False)
    }
    heads = {"seen_head.weight", "seen_head.bias", "knowledge.weight", "knowledge.bias"}
    assert {name for name, value in pupil.named_parameters() if value.requires_grad} == norms | heads
    changed = {name for name, value in pupil.named_parameters() if not torch.equal(value, before[name])}
    assert heads < changed <= norms | heads


def test_a_norm_s_name_does_not_free_what_lies_inside_it(student: MakeStudent) -> None:
    class NormBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(2)
            self.mlp = nn.Linear(2, 2)

    pupil = student()
    pupil.backbone.net.append(NormBlock())
    watched(pupil, None, mode="ce", trainable="norm")
    free = {name for name, parameter in pupil.backbone.named_parameters() if parameter.requires_grad}
    assert free == {"net.1.weight", "net.1.bias", "net.6.norm.weight", "net.6.norm.bias"}


def test_progress_counts_every_step(student: MakeStudent, toy: MakeToy) -> None:
    class Counting(SilentProgress):
        total = 0
        done = 0
        notes: tuple[str, ...] = ()

        def stage(self, name: str, total: int | None = None, unit: str = "") -> Any:
            @contextmanager
            def opened() -> Iterator[Any]:
                self.total += total or 0

                def advance(steps: int = 1, note: str = "") -> None:
                    self.done += steps
                    self.notes += (note,)

                yield advance

            return opened()

    progress = Counting()
    watched(student(know=False), None, mode="ce", epochs=3).fit(toy(), progress)
    assert progress.done == progress.total == 3 * 3
    assert progress.notes[-1].startswith("epoch 3/3, loss ")
