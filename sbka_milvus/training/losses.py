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
