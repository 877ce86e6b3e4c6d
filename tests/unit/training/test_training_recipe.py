"""The options of the recipe at work in the loop: each against a plain loop, or against what it must not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from sbka_milvus.encoders.precision import FP32
from sbka_milvus.encoders.sbka import CosineHead, SbkaStudent
from sbka_milvus.progress import SilentProgress
from sbka_milvus.training.batches import BatchSource
from sbka_milvus.training.data import TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.losses import softened_targets, supervised_contrast
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.task import Batch, SbkaTask
from sbka_milvus.training.trainer import Trainer

MakeStudent = Callable[..., SbkaStudent]
MakeToy = Callable[..., TrainingData]
TEAM = Team(torch.device("cpu"))
PLAIN: dict[str, Any] = {
    "mode": "ce",
    "epochs": 2,
    "sketches_per_batch": 8,
    "photos_per_batch": 12,
    "learning_rate": 0.01,
    "alignment_weight": 0.0,
    "augment_probability": 0.0,
}


def options(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**{**PLAIN, **changes})


def trained(student: SbkaStudent, data: TrainingData, nearness: torch.Tensor | None = None, **changes: Any) -> Trainer:
    trainer = Trainer(student, None, None, options(**changes), team=TEAM, precision=FP32, nearness=nearness)
    trainer.fit(data, SilentProgress())
    return trainer


def weights(student: SbkaStudent) -> torch.Tensor:
    return torch.cat([value.detach().flatten().float() for value in student.state_dict().values()])


def batches(student: SbkaStudent, data: TrainingData, chosen: TrainingOptions, epochs: int) -> list[Batch]:
    source = BatchSource(data, chosen, student.backbone.preprocessing, TEAM)
    return [batch for _ in range(epochs) for batch in source.epoch()]


def test_gradients_of_several_batches_make_one_change(student: MakeStudent, toy: MakeToy) -> None:
    """Three batches an epoch, two of them to a change: an epoch has one change of two batches and one of one."""
    data, ours, by_hand = toy(), student(know=False), student(know=False)
    chosen = options(accumulate=2, weight_decay=0.0)
    trained(ours, data, accumulate=2, weight_decay=0.0)
    drawn = batches(by_hand, data, chosen, 2)
    assert len(drawn) == 6
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=0.01)
    by_hand.train()
    for epoch in range(2):
        optimiser.param_groups[0]["lr"] = 0.01 * 1e-3 ** (epoch / 2)
        for group in (drawn[3 * epoch : 3 * epoch + 2], drawn[3 * epoch + 2 : 3 * epoch + 3]):
            optimiser.zero_grad()
            for sketches, sketch_labels, photos, photo_labels in group:
                logits = by_hand(torch.cat([sketches, photos])).seen_logits
                labels = torch.cat([sketch_labels, photo_labels])
                (functional.cross_entropy(logits, labels) / len(group)).backward()
            optimiser.step()
    assert torch.allclose(weights(ours), weights(by_hand), atol=1e-5)


def test_the_mean_of_the_weights_is_what_is_validated_and_kept(student: MakeStudent, toy: MakeToy) -> None:
    class Watched(Trainer):
        def validate(self, data: TrainingData) -> float | None:
            self.validated = weights(self.student)
            return None

    data = toy()
    plain = student(know=False)
    by_hand = student(know=False)
    chosen = options(ema_decay=0.6)
    trainer = Watched(plain, None, None, chosen, team=TEAM, precision=FP32)
    trainer.fit(data, SilentProgress())
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=0.01, weight_decay=5e-4)
    mean = weights(by_hand)
    by_hand.train()
    for number, (sketches, sketch_labels, photos, photo_labels) in enumerate(batches(by_hand, data, chosen, 2)):
        optimiser.param_groups[0]["lr"] = 0.01 * 1e-3 ** (number // 3 / 2)
        optimiser.zero_grad()
        logits = by_hand(torch.cat([sketches, photos])).seen_logits
        functional.cross_entropy(logits, torch.cat([sketch_labels, photo_labels])).backward()
        optimiser.step()
        kept = min(0.6, (2 + number) / (11 + number))
        mean = kept * mean + (1 - kept) * weights(by_hand)
    floating = torch.cat(
        [torch.full((value.numel(),), value.is_floating_point()) for value in plain.state_dict().values()]
    )
    assert torch.allclose(weights(plain)[floating], mean[floating], atol=1e-5)
    assert torch.equal(weights(plain), trainer.validated)
    assert (weights(plain) - weights(by_hand))[floating].abs().max() > 1e-4


def test_a_training_without_the_mean_goes_the_same_way(student: MakeStudent, toy: MakeToy) -> None:
    """What the student learns does not depend on whether its mean is kept."""
    losses = [trained(student(), toy(), ema_decay=decay).history.epochs for decay in (0.0, 0.9)]
    assert [one.losses for one in losses[0]] == [one.losses for one in losses[1]]


def test_the_cosine_head_reads_directions_alone(student: MakeStudent) -> None:
    backbone = student().backbone
    head = SbkaStudent(backbone, 3, None, temperature=0.5).seen_head
    assert isinstance(head, CosineHead)
    with torch.no_grad():
        head.weight.copy_(torch.eye(3, 32) * torch.tensor([[1.0], [2.0], [5.0]]))
    feature = torch.zeros(1, 32)
    feature[0, :2] = torch.tensor([3.0, 4.0])
    assert head(feature).tolist() == [pytest.approx([1.2, 1.6, 0.0])]
    assert torch.allclose(head(7 * feature), head(feature))
    assert head.bias is None
    assert type(SbkaStudent(backbone, 3, None).seen_head) is torch.nn.Linear


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "cosine", "label_smoothing": 0.1},
        {"contrastive_weight": 0.5, "balanced": 4},
        {"schedule": "cosine", "warmup_epochs": 0.5, "optimiser": "adamw", "clip_norm": 1.0},
        {"ema_decay": 0.8, "accumulate": 2},
    ],
)
def test_each_recipe_learns_the_categories(changes: dict[str, Any], student: MakeStudent, toy: MakeToy) -> None:
    data = toy()
    pupil = SbkaStudent(student().backbone, 4, None, temperature=options(**changes).temperature)
    trained(pupil, data, epochs=30, **changes)
    pupil.eval()
    scaled = pupil.backbone.preprocessing.scale(data.photos.pixels(np.arange(len(data.photos))))
    with torch.inference_mode():
        right = (pupil(scaled).seen_logits.argmax(dim=1).numpy() == data.photos.labels).mean()
    assert right > 0.8


def step(student: SbkaStudent, batch: Batch, nearness: torch.Tensor | None = None, **changes: Any) -> dict[str, float]:
    task = SbkaTask(student.eval(), None, None, options(**changes), FP32, nearness=nearness)
    return {name: loss.item() for name, loss in task.losses(batch, teacher_learns=False)[0].items()}


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    sketches, photos = (torch.randn(count, 3, 16, 16, generator=generator) for count in (3, 5))
    return Batch(sketches, torch.tensor([0, 1, 2]), photos, torch.tensor([3, 2, 1, 0, 3]))


def test_the_contrast_is_over_both_kinds_of_pictures(student: MakeStudent, batch: Batch) -> None:
    pupil = student(know=False)
    losses = step(pupil, batch, contrastive_weight=2.0, contrastive_temperature=0.2, cross_modal_weight=3.0)
    feature = pupil.backbone(torch.cat([batch.sketches, batch.photos]))
    labels = torch.cat([batch.sketch_labels, batch.photo_labels])
    drawn = torch.tensor([True] * 3 + [False] * 5)
    expected = supervised_contrast(feature, labels, drawn, temperature=0.2, cross_modal_weight=3.0)
    assert losses["contrast"] == pytest.approx(2 * expected.item(), rel=1e-5)
    assert "contrast" not in step(pupil, batch)


def test_the_target_is_softened(student: MakeStudent, batch: Batch) -> None:
    pupil = student(know=False)
    logits = pupil.eval()(torch.cat([batch.sketches, batch.photos])).seen_logits
    labels = torch.cat([batch.sketch_labels, batch.photo_labels])
    nearness = torch.rand(4, 4, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    expected = {
        "smooth": functional.cross_entropy(logits, labels, label_smoothing=0.2),
        "near": functional.cross_entropy(logits, softened_targets(labels, 4, 0.1, nearness, 0.3)),
        "plain": functional.cross_entropy(logits, labels),
    }
    found = {
        "smooth": step(pupil, batch, label_smoothing=0.2),
        "near": step(pupil, batch, nearness, label_smoothing=0.1, semantics_weight=0.3),
        "plain": step(pupil, batch, nearness),
    }
    for name, loss in expected.items():
        assert found[name]["category"] == pytest.approx(loss.item(), rel=1e-5), name


def test_batches_are_balanced_where_that_is_asked_for(student: MakeStudent, toy: MakeToy) -> None:
    for batch in batches(student(), toy(), options(balanced=2, sketches_per_batch=4, photos_per_batch=6), 3):
        assert sorted(np.bincount(batch.sketch_labels, minlength=4)) == [0, 0, 2, 2]
        assert sorted(np.bincount(batch.photo_labels, minlength=4)) == [0, 0, 3, 3]
        assert set(batch.sketch_labels.tolist()) == set(batch.photo_labels.tolist())


def test_the_rate_of_every_change(student: MakeStudent, toy: MakeToy) -> None:
    rates: list[float] = []

    class Listening(Trainer):
        def _change(self, both: tuple[float, float], **who: Any) -> None:
            rates.append(both[0])
            super()._change(both, **who)

    chosen = options(schedule="cosine", final_rate_factor=0.1, warmup_epochs=1, accumulate=2)
    trainer = Listening(student(know=False), None, None, chosen, team=TEAM, precision=FP32)
    history = trainer.fit(toy(), SilentProgress())
    # Three batches an epoch: changes end after 2/3 and 3/3 of the climb; the cosine is read where a change begins.
    cosine = [0.1 + 0.9 * (1 + np.cos(np.pi * at)) / 2 for at in (0, 2 / 3)]
    assert rates == pytest.approx([0.01 * factor for factor in (2 / 3, 1.0, *cosine)])
    assert [record.learning_rate for record in history.epochs] == [rates[1], rates[3]]
