"""The losses against torch's own and against cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from sbka_milvus.training.losses import (
    embedding_gap,
    gaussian_alignment,
    relation_gap,
    soft_cross_entropy,
    softened_targets,
    supervised_contrast,
)


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


def contrast_by_hand(
    feature: torch.Tensor, labels: list[int], drawn: list[bool], temperature: float, weight: float
) -> float:
    """Khosla's equation 2 with plain loops."""
    unit = [row / row.norm() for row in feature]
    each = []
    for i, anchor in enumerate(unit):
        others = [j for j in range(len(unit)) if j != i]
        total = sum(math.exp(float(anchor @ unit[j]) / temperature) for j in others)
        pairs = [(j, weight if drawn[j] != drawn[i] else 1.0) for j in others if labels[j] == labels[i]]
        if sum(share for _, share in pairs) > 0:
            terms = [share * (float(anchor @ unit[j]) / temperature - math.log(total)) for j, share in pairs]
            each.append(-sum(terms) / sum(share for _, share in pairs))
    return sum(each) / len(each)


@pytest.mark.parametrize("weight", [1.0, 3.0, 0.0])
def test_the_contrast_is_khosla_s(weight: float) -> None:
    feature = 3 * torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    labels, drawn = [0, 0, 1, 1, 0, 2, 1], [True, True, True, False, False, False, False]
    loss = supervised_contrast(
        feature, torch.tensor(labels), torch.tensor(drawn), temperature=0.3, cross_modal_weight=weight
    )
    assert loss.item() == pytest.approx(contrast_by_hand(feature, labels, drawn, 0.3, weight), rel=1e-4)


def test_a_batch_without_pairs_has_no_contrast_and_still_a_gradient() -> None:
    feature = torch.randn(3, 4, requires_grad=True)
    loss = supervised_contrast(feature, torch.tensor([0, 1, 2]), torch.tensor([True, False, False]))
    loss.backward()
    assert loss.item() == 0
    assert feature.grad is not None
    assert torch.equal(feature.grad, torch.zeros(3, 4))


def test_the_contrast_brings_a_sketch_and_its_photo_together() -> None:
    feature = torch.randn(4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels, drawn = torch.tensor([0, 1, 0, 1]), torch.tensor([True, True, False, False])
    for _ in range(200):
        loss = supervised_contrast(feature, labels, drawn, temperature=0.5)
        (grown,) = torch.autograd.grad(loss, feature)
        feature = (feature - grown).detach().requires_grad_()
    cosines = functional.cosine_similarity(feature[:2, None], feature[None, 2:], dim=-1)
    assert cosines.diagonal().min() > 0.99
    assert max(cosines[0, 1], cosines[1, 0]) < -0.9


def test_the_contrast_is_of_directions_alone_and_in_float32() -> None:
    feature = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels, drawn = torch.tensor([0, 1, 0, 1, 0, 0]), torch.tensor([True, True, False, False, True, False])
    plain = supervised_contrast(feature, labels, drawn)
    longer = supervised_contrast(feature * torch.tensor([1.0, 2, 3, 4, 5, 6])[:, None], labels, drawn)
    assert longer.item() == pytest.approx(plain.item(), rel=1e-5)
    assert supervised_contrast(feature.bfloat16(), labels, drawn).dtype == torch.float32


def test_softened_targets_by_hand() -> None:
    nearness = torch.tensor([[0.0, 0.75, 0.25], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
    target = softened_targets(torch.tensor([0, 2]), 3, 0.3, nearness, 0.2)
    assert torch.allclose(target, torch.tensor([[0.6, 0.25, 0.15], [0.1, 0.1, 0.8]]))
    assert torch.allclose(softened_targets(torch.tensor([1]), 3, 0.3), torch.tensor([[0.1, 0.8, 0.1]]))


def test_softened_targets_without_neighbours_are_torch_s_label_smoothing() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 2])
    ours = functional.cross_entropy(logits, softened_targets(labels, 5, 0.2, None, 0.5))
    assert ours.item() == pytest.approx(functional.cross_entropy(logits, labels, label_smoothing=0.2).item())


def test_the_relation_gap_by_hand() -> None:
    # Distances 1 - cosine: 1, 2, 1 for one, 0, 1, 1 for the other; the means are 4/3 and 2/3.
    mine = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    theirs = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    gaps = [abs(1 / (4 / 3) - 0), abs(1 / (4 / 3) - 1.5), abs(2 / (4 / 3) - 1.5)]
    huber = [gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps]
    assert relation_gap(mine, theirs).item() == pytest.approx(sum(huber) / 3, rel=1e-5)


def test_the_relation_is_of_directions_whatever_their_spread_and_length() -> None:
    feature = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    turned, _ = torch.linalg.qr(torch.randn(9, 4, generator=torch.Generator().manual_seed(1)))
    assert relation_gap(7 * feature @ turned.T, feature).item() == pytest.approx(0.0, abs=1e-8)
    other = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    assert relation_gap(other, feature).item() > 0.01


def test_the_relation_of_one_picture_or_of_pictures_alike_is_a_number() -> None:
    for count in (1, 4):
        feature = torch.ones(count, 3, requires_grad=True)
        loss = relation_gap(feature, torch.randn(len(feature), 2))
        loss.backward()
        assert torch.isfinite(loss)
        assert feature.grad is not None
        assert torch.isfinite(feature.grad).all()


def test_the_relation_is_learned() -> None:
    target = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    feature = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    optimiser = torch.optim.Adam([feature], lr=0.05)
    first = relation_gap(feature, target).item()
    for _ in range(150):
        optimiser.zero_grad()
        relation_gap(feature, target).backward()
        optimiser.step()
    assert relation_gap(feature, target).item() < 0.02 * first


def test_the_embedding_gap_by_hand() -> None:
    mine, theirs = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [3.0, 4.0]])
    assert embedding_gap(mine, theirs).item() == pytest.approx((1 + 0) / 2)
    assert embedding_gap(mine, -mine).item() == pytest.approx(2.0)


def test_the_embedding_gap_is_of_directions_in_any_format() -> None:
    mine, theirs = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(2))
    expected = embedding_gap(mine, theirs).item()
    assert embedding_gap(5 * mine, 0.1 * theirs).item() == pytest.approx(expected, rel=1e-5)
    half = embedding_gap(mine.bfloat16(), theirs)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(expected, abs=0.02)
