"""One step: which losses there are, what they are worth, and where their gradients go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn
from torch.nn import functional

from sbka_milvus.encoders.precision import BF16, FP32
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.errors import TrainingError
from sbka_milvus.training.losses import soft_cross_entropy
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.task import Batch, SbkaTask

MakeStudent = Callable[..., SbkaStudent]
MakeTeacher = Callable[..., SbkaTeacher]


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    sketches, photos = (torch.randn(count, 3, 16, 16, generator=generator) for count in (3, 5))
    return Batch(sketches, torch.tensor([0, 1, 2]), photos, torch.tensor([3, 2, 1, 0, 3]))


def grown(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether a gradient other than zero reached any of them."""
    return any(parameter.grad is not None and bool(parameter.grad.abs().sum() > 0) for parameter in parameters)


def task(
    student: SbkaStudent, teacher: SbkaTeacher | None, affinity: torch.Tensor | None = None, **options
) -> SbkaTask:
    return SbkaTask(student.eval(), teacher, affinity, TrainingOptions(**options), FP32)


@pytest.mark.parametrize(
    ("mode", "teacher_learns", "names", "teacher_names"),
    [
        ("ce", False, {"category", "alignment"}, set()),
        ("ce", True, {"category", "alignment"}, set()),
        ("one_way", False, {"category", "alignment", "knowledge"}, set()),
        ("bidirectional", False, {"category", "alignment", "knowledge"}, set()),
        ("bidirectional", True, {"category", "alignment", "knowledge"}, {"teacher_knowledge"}),
    ],
)
def test_the_losses_of_each_mode(
    mode: str,
    teacher_learns: bool,
    names: set[str],
    teacher_names: set[str],
    student: MakeStudent,
    teacher: MakeTeacher,
    batch: Batch,
) -> None:
    mine, theirs = task(student(), teacher(), mode=mode).losses(batch, teacher_learns=teacher_learns)
    assert (mine.keys(), theirs.keys()) == (names, teacher_names)
    assert all(loss.ndim == 0 and loss.requires_grad for loss in (mine | theirs).values())


def test_their_values(student: MakeStudent, teacher: MakeTeacher, batch: Batch) -> None:
    pupil, master = student(), teacher()
    affinity = torch.rand(4, 6, generator=torch.Generator().manual_seed(1))
    step = task(pupil, master, affinity, knowledge_weight=2.0, affinity_weight=0.5, alignment_weight=0.0)
    mine, theirs = step.losses(batch, teacher_learns=True)
    seen = pupil(torch.cat([batch.sketches, batch.photos])).seen_logits
    labels = torch.cat([batch.sketch_labels, batch.photo_labels])
    assert mine["category"].item() == pytest.approx(functional.cross_entropy(seen, labels).item(), rel=1e-5)
    assert mine["alignment"].item() == 0
    bias = 0.5 * affinity[[3, 2, 1, 0, 3]]
    known, taught = pupil(batch.photos).knowledge_logits, master.knowledge(master.features(batch.photos))
    expected = 2.0 * soft_cross_entropy(known, taught + bias)
    assert mine["knowledge"].item() == pytest.approx(expected.item(), rel=1e-5), "on photos alone"
    swapped = soft_cross_entropy(taught, known + bias)
    assert theirs["teacher_knowledge"].item() == pytest.approx(swapped.item(), rel=1e-5)


def test_sketches_learn_what_the_teacher_says_of_photos_of_their_category(
    student: MakeStudent, teacher: MakeTeacher, batch: Batch
) -> None:
    pupil, master = student(), teacher()
    affinity = torch.rand(4, 6, generator=torch.Generator().manual_seed(1))
    step = task(pupil, master, affinity, mode="one_way", sketch_knowledge_weight=3.0, affinity_weight=0.5)
    mine, _ = step.losses(batch, teacher_learns=False)
    said = functional.softmax(master.knowledge(master.features(batch.photos)) + 0.5 * affinity[[3, 2, 1, 0, 3]], -1)
    # One photo each of the sketches' categories 0, 1 and 2: the fourth, the third and the second.
    scores = functional.log_softmax(pupil(batch.sketches).knowledge_logits, -1)
    expected = -3.0 * (said[[3, 2, 1]] * scores).sum(-1).mean()
    assert mine["sketch_knowledge"].item() == pytest.approx(expected.item(), rel=1e-5)
    mine["sketch_knowledge"].backward()
    assert grown(pupil.backbone.parameters()) and not grown(master.parameters())


def test_without_their_weight_there_are_no_lessons(student: MakeStudent, teacher: MakeTeacher) -> None:
    assert task(student(), teacher(), mode="one_way").lessons is None
    assert task(student(), None, mode="ce", sketch_knowledge_weight=1.0).lessons is None


def test_alignment_is_weighted_and_drawn_anew(student: MakeStudent, batch: Batch) -> None:
    values = []
    for weight in (1.0, 0.1, 1.0):
        torch.manual_seed(3)
        step = task(student(), None, mode="ce", alignment_weight=weight)
        torch.manual_seed(3)
        values.append([step.losses(batch, teacher_learns=False)[0]["alignment"].item() for _ in range(2)])
    assert values[0] == values[2]
    assert values[1] == pytest.approx([0.1 * value for value in values[0]], rel=1e-5)
    assert values[0][0] != values[0][1]
    assert min(values[0]) > 0


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_stay_with_the_one_who_learns_where_targets_are_detached(
    detach: bool, student: MakeStudent, teacher: MakeTeacher, batch: Batch
) -> None:
    pupil, master = student(), teacher()
    step = task(pupil, master, detach_targets=detach)
    mine, _ = step.losses(batch, teacher_learns=True)
    mine["knowledge"].backward()
    assert grown(pupil.knowledge.parameters())
    assert grown(pupil.backbone.parameters())
    assert grown(master.parameters()) is not detach
    pupil.zero_grad()
    master.zero_grad()
    _, theirs = step.losses(batch, teacher_learns=True)
    theirs["teacher_knowledge"].backward()
    assert grown(master.knowledge.parameters())
    assert grown(pupil.parameters()) is not detach
    assert not grown(master.backbone.parameters())


def test_the_category_teaches_from_sketches_and_from_photos(student: MakeStudent, batch: Batch) -> None:
    for sketches, photos in ((batch.sketches, batch.photos[:0]), (batch.sketches[:0], batch.photos)):
        pupil = student()
        part = Batch(sketches, batch.sketch_labels[: len(sketches)], photos, batch.photo_labels[: len(photos)])
        task(pupil, None, mode="ce").losses(part, teacher_learns=False)[0]["category"].backward()
        assert grown(pupil.seen_head.parameters())
        assert grown(pupil.backbone.parameters())


@pytest.mark.parametrize("mode", ["one_way", "bidirectional"])
def test_a_mode_that_needs_a_teacher_says_so(mode: str, student: MakeStudent, teacher: MakeTeacher) -> None:
    for pupil, master in ((student(), None), (student(know=False), teacher())):
        with pytest.raises(TrainingError, match=f"Mode {mode} needs a backbone with a knowledge head") as caught:
            task(pupil, master, mode=mode)
        assert "--mode ce" in caught.value.remedy


def test_mode_ce_needs_no_knowledge(student: MakeStudent, batch: Batch) -> None:
    assert task(student(know=False), None, mode="ce").losses(batch, teacher_learns=False)[1] == {}


def test_losses_are_near_in_fast_formats(student: MakeStudent, teacher: MakeTeacher, batch: Batch) -> None:
    def values(precision) -> list[float]:
        options = TrainingOptions(alignment_weight=0.0)
        step = SbkaTask(student().eval(), teacher(), None, options, precision)
        mine, theirs = step.losses(batch, teacher_learns=True)
        assert all(loss.dtype == torch.float32 for loss in (mine | theirs).values())
        return [loss.item() for loss in (mine | theirs).values()]

    assert values(BF16) == pytest.approx(values(FP32), rel=0.02)
