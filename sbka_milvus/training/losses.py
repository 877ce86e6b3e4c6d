"""The losses of SBKA (Liu et al., arXiv 2312.10320), as functions of logits and features."""

from __future__ import annotations

import torch
from torch.nn import functional


def soft_cross_entropy(
    logits: torch.Tensor, target_logits: torch.Tensor, target_bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy against a softmax of other logits; the distillation loss of both directions.

    Args:
        logits: shape (B, C): of the one who learns.
        target_logits: shape (B, C): of the one who is learned from. Detach them to keep it fixed.
        target_bias: shape (B, C): added to ``target_logits``, such as a weighted class affinity.

    Returns:
        Scalar: mean over the batch of -sum softmax(target) log softmax(logits).

    >>> even = torch.zeros(1, 4)
    >>> round(soft_cross_entropy(even, even).item(), 4)  # ln 4
    1.3863
    """
    target = target_logits if target_bias is None else target_logits + target_bias
    log_probabilities = functional.log_softmax(logits.float(), dim=-1)
    return -(functional.softmax(target.float(), dim=-1) * log_probabilities).sum(dim=-1).mean()


def gaussian_alignment(feature: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Pulls features of both modalities to one distribution: KL(softmax(feature) against softmax(z)), z ~ N(0, 1).

    Args:
        feature: shape (B, D), of sketches and photos together.
        generator: source of z, on the feature's device.

    Returns:
        Scalar: the divergence, mean over the batch; never negative.
    """
    noise = torch.randn(feature.shape, generator=generator, device=feature.device)
    log_p = functional.log_softmax(feature.float(), dim=-1)
    log_q = functional.log_softmax(noise, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean()


def supervised_contrast(
    feature: torch.Tensor,
    labels: torch.Tensor,
    drawn: torch.Tensor,
    *,
    temperature: float = 0.07,
    cross_modal_weight: float = 1.0,
) -> torch.Tensor:
    """Pictures of one category towards one another and away from all others (Khosla et al. 2020, equation 2).

    Args:
        feature: shape (B, D), of sketches and photos together; normalised here.
        labels: shape (B,), int64.
        drawn: shape (B,), bool: which of them are sketches.
        temperature: of the softmax over cosines.
        cross_modal_weight: of a pair of a sketch and a photo, where a pair of one modality has 1.

    Returns:
        Scalar: mean over the pictures that have one of their category beside them; 0 where none has.

    >>> feature = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> labels, drawn = torch.tensor([0, 0, 1]), torch.tensor([True, False, False])
    >>> round(supervised_contrast(feature, labels, drawn, temperature=1.0).item(), 4)  # ln(1 + 1/e)
    0.3133
    """
    unit = functional.normalize(feature.float(), dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / temperature).masked_fill(itself, float("-inf"))
    log_p = functional.log_softmax(logits, dim=-1).masked_fill(itself, 0.0)
    pairs = ((labels[:, None] == labels) & ~itself).float()
    weights = torch.where(drawn[:, None] == drawn, pairs, cross_modal_weight * pairs)
    total = weights.sum(dim=-1)
    paired = total > 0
    each = -(weights * log_p).sum(dim=-1) / total.where(paired, torch.ones_like(total))
    return (each * paired).sum() / paired.sum().clamp(min=1)


def softened_targets(
    labels: torch.Tensor, n_classes: int, smoothing: float, nearness: torch.Tensor | None = None, weight: float = 0.0
) -> torch.Tensor:
    """What a classifier should say: mostly the right category, a little of all, a little of its neighbours.

    Args:
        labels: shape (B,), int64.
        n_classes: C.
        smoothing: share that goes to all categories alike.
        nearness: shape (C, C), rows that add up to 1: how the neighbours' share is divided.
        weight: the neighbours' share.

    Returns:
        shape (B, C), float32, rows that add up to 1.

    >>> softened_targets(torch.tensor([1]), 2, 0.5).tolist()
    [[0.25, 0.75]]
    """
    weight = weight if nearness is not None else 0.0
    target = (1 - smoothing - weight) * functional.one_hot(labels, n_classes).float() + smoothing / n_classes
    return target if nearness is None else target + weight * nearness[labels]


def relation_gap(feature: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How differently two networks see the same pictures lie to one another (Park et al. 2019, distance-wise).

    The distance of two pictures is 1 - cosine, in units of the mean distance of the batch, so that networks may have
    features of other lengths and of another spread.

    Args:
        feature: shape (B, D): of the one who learns.
        target: shape (B, E), of the same pictures: of the one who is learned from. Detach it to keep it fixed.

    Returns:
        Scalar: Huber loss between the distances of all pairs; 0 for fewer than two pictures.

    >>> corner = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> relation_gap(corner, torch.cat([3 * corner, torch.zeros(3, 5)], dim=1)).item() < 1e-9
    True
    """
    return functional.smooth_l1_loss(_distances(feature), _distances(target), reduction="sum") / max(
        1, len(feature) * (len(feature) - 1)
    )


def embedding_gap(feature: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How far the features of one network point away from those of another.

    Args:
        feature: shape (B, D): of the one who learns.
        target: shape (B, D), of the same pictures: of the one who is learned from. Detach it to keep it fixed.

    Returns:
        Scalar: mean over the batch of 1 - cosine.

    >>> embedding_gap(torch.eye(2), torch.tensor([[2.0, 0.0], [1.0, 0.0]])).item()
    0.5
    """
    return 1 - functional.cosine_similarity(feature.float(), target.float(), dim=-1).mean()


def _distances(feature: torch.Tensor) -> torch.Tensor:
    unit = functional.normalize(feature.float(), dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    distances = (1 - unit @ unit.T).masked_fill(itself, 0.0)
    mean = distances.sum() / max(1, len(unit) * (len(unit) - 1))
    return distances / mean.clamp(min=1e-6)
