"""What the teacher says of photos, kept for the sketches of the same category."""

from __future__ import annotations

import math

import pytest
import torch

from sbka_milvus.training.lessons import REMEMBERED, CategoryLessons

CPU = torch.device("cpu")


def said(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows).log()


def mean_of(lessons: CategoryLessons, label: int) -> list[float]:
    return lessons.state()["means"][label].tolist()


def test_a_category_s_lesson_is_the_mean_over_its_photos() -> None:
    lessons = CategoryLessons(3, 2, CPU)
    lessons.hear(torch.tensor([0, 0, 2]), said((0.9, 0.1), (0.5, 0.5), (0.2, 0.8)))
    lessons.hear(torch.tensor([0]), said((0.1, 0.9)))
    assert mean_of(lessons, 0) == pytest.approx([0.5, 0.5])
    assert mean_of(lessons, 2) == pytest.approx([0.2, 0.8])
    assert mean_of(lessons, 1) == [0.0, 0.0]


def test_old_photos_fade() -> None:
    lessons = CategoryLessons(1, 2, CPU)
    for _ in range(3 * REMEMBERED):
        lessons.hear(torch.tensor([0]), said((0.999, 0.001)))
    for _ in range(3 * REMEMBERED):
        lessons.hear(torch.tensor([0]), said((0.001, 0.999)))
    # Of all photos the mean would be a half; what is left of the old ones is (256 / 257) ** 768 of their weight.
    assert mean_of(lessons, 0)[1] == pytest.approx(
        0.999 - 0.998 * (REMEMBERED / (REMEMBERED + 1)) ** (3 * REMEMBERED), abs=1e-3
    )


def test_the_loss_is_the_cross_entropy_against_the_lesson() -> None:
    lessons = CategoryLessons(2, 2, CPU)
    lessons.hear(torch.tensor([0]), said((0.75, 0.25)))
    logits = torch.zeros(2, 2)
    logits[0] = torch.tensor([0.9, 0.1]).log()
    expected = -(0.75 * math.log(0.9) + 0.25 * math.log(0.1))
    # Of the second sketch's category nothing is known yet: it is left out.
    assert lessons.loss(torch.tensor([0, 1]), logits).item() == pytest.approx(expected, rel=1e-5)


def test_a_sketch_of_which_nothing_is_known_teaches_nothing() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = CategoryLessons(2, 3, CPU).loss(torch.tensor([0, 1]), logits)
    loss.backward()
    assert loss.item() == 0.0 and logits.grad is not None and not logits.grad.any()


def test_gradients_reach_the_student_alone() -> None:
    lessons = CategoryLessons(1, 3, CPU)
    teacher = torch.randn(4, 3, requires_grad=True)
    lessons.hear(torch.zeros(4, dtype=torch.int64), teacher)
    logits = torch.randn(2, 3, requires_grad=True)
    lessons.loss(torch.tensor([0, 0]), logits).backward()
    assert teacher.grad is None and logits.grad is not None and logits.grad.any()


def test_it_goes_on_from_its_state() -> None:
    one, other = (CategoryLessons(2, 3, CPU) for _ in range(2))
    one.hear(torch.tensor([1, 0]), torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    other.load_state({name: value.clone() for name, value in one.state().items()})
    more = (torch.tensor([1]), torch.tensor([[0.0, 1.0, 2.0]]))
    for lessons in (one, other):
        lessons.hear(*more)
    assert torch.equal(one.state()["means"], other.state()["means"])
    with pytest.raises(RuntimeError):
        CategoryLessons(3, 3, CPU).load_state(one.state())
