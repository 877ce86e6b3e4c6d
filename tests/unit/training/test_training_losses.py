"""The losses against torch's own and against cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from sbka_milvus.training.losses import gaussian_alignment, soft_cross_entropy


def test_against_one_class_it_is_torch_s_cross_entropy() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 2])
    certain = 1000.0 * functional.one_hot(labels, 5).float()
    assert soft_cross_entropy(logits, certain).item() == pytest.approx(functional.cross_entropy(logits, labels).item())


def test_against_probabilities_it_is_torch_s_cross_entropy_too() -> None:
    logits, others = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    expected = functional.cross_entropy(logits, others.softmax(-1))
    assert soft_cross_entropy(logits, others).item() == pytest.approx(expected.item())


def test_a_small_case_by_hand() -> None:
    # The target is (3/4, 1/4), the learner says (1/2, 1/2) in one row and (1/4, 3/4) in the other.
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    target = torch.tensor([[math.log(3), 0.0]] * 2)
    by_hand = (math.log(2) + 0.75 * math.log(4) + 0.25 * math.log(4 / 3)) / 2
    assert soft_cross_entropy(logits, target).item() == pytest.approx(by_hand)


def test_the_bias_is_added_to_the_target_and_not_to_the_learner() -> None:
    logits, target, bias = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    biased = soft_cross_entropy(logits, target, bias)
    assert biased.item() == pytest.approx(soft_cross_entropy(logits, target + bias).item())
    assert biased.item() != pytest.approx(soft_cross_entropy(logits + bias, target).item(), abs=1e-3)


def test_swapping_the_roles_swaps_learner_and_target() -> None:
    student, teacher = (
        torch.randn(4, 5, generator=torch.Generator().manual_seed(seed), requires_grad=True) for seed in (0, 1)
    )
    soft_cross_entropy(student, teacher.detach()).backward()
    assert teacher.grad is None
    # The gradient on the learner's logits is (its probabilities - the target's) / B.
    assert torch.allclose(student.grad, (student.softmax(-1) - teacher.softmax(-1)).detach() / 4, atol=1e-6)
    student.grad = None
    soft_cross_entropy(teacher, student.detach()).backward()
    assert student.grad is None
    assert torch.allclose(teacher.grad, (teacher.softmax(-1) - student.softmax(-1)).detach() / 4, atol=1e-6)


def test_it_is_least_where_the_learner_agrees() -> None:
    target = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    least = soft_cross_entropy(target, target).item()
    for seed in range(5):
        other = target + 0.3 * torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
        assert soft_cross_entropy(other, target).item() > least


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0)).bfloat16()
    loss = soft_cross_entropy(logits, logits)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(soft_cross_entropy(logits.float(), logits.float()).item())


def test_alignment_is_the_divergence_from_softmax_of_normal_noise() -> None:
    feature = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    noise = torch.randn(2, 2, generator=torch.Generator().manual_seed(5)).softmax(-1)
    p = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    by_hand = sum(p[i, j] * math.log(p[i, j] / noise[i, j]) for i in range(2) for j in range(2)) / 2
    loss = gaussian_alignment(feature, torch.Generator().manual_seed(5))
    assert loss.item() == pytest.approx(float(by_hand), rel=1e-5)


def test_alignment_is_zero_for_the_noise_itself_and_never_negative() -> None:
    noise = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
    assert gaussian_alignment(noise, torch.Generator().manual_seed(1)).item() == pytest.approx(0.0, abs=1e-6)
    for seed in range(20):
        feature = 3 * torch.randn(4, 16, generator=torch.Generator().manual_seed(seed))
        assert gaussian_alignment(feature, torch.Generator().manual_seed(seed + 100)).item() > 0


def test_alignment_teaches_the_feature() -> None:
    feature = torch.zeros(4, 8, requires_grad=True)
    gaussian_alignment(feature, torch.Generator().manual_seed(0)).backward()
    assert feature.grad is not None
    assert feature.grad.abs().sum() > 0
