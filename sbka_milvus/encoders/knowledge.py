"""The knowledge head: scores over the classes that the pre-trained model already knows (1,000 for ImageNet)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

TENSORFLOW_CLASSES = 1001
"""TensorFlow's ImageNet classifiers have a "background" class before the usual thousand."""


class KnowledgeHead(nn.Module):
    """Linear scores over known classes; on unit vectors with a scale where the backbone is a CLIP tower.

    Attributes:
        weight: shape (C, D), float32: one row a class (a classifier's weights, or text embeddings).
        bias: shape (C,), float32.
        scale: factor on cosines; 0 for a plain linear head.
        names: of the classes, where they are known.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        scale: float = 0.0,
        names: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        classes = weight.shape[0]
        self.weight = nn.Parameter(weight.detach().clone().float())
        self.bias = nn.Parameter(torch.zeros(classes) if bias is None else bias.detach().clone().float())
        self.scale = float(scale)
        self.names = names

    @classmethod
    def from_classifier(cls, layer: nn.Linear) -> KnowledgeHead:
        """From a classifier layer; the background class of a 1,001-way one is left out."""
        first = 1 if layer.out_features == TENSORFLOW_CLASSES else 0
        bias = None if layer.bias is None else layer.bias[first:]
        return cls(layer.weight[first:], bias)

    @classmethod
    def untrained(cls, like: KnowledgeHead, dim: int) -> KnowledgeHead:
        """A linear head over the same classes for features of another length, which has all to learn yet."""
        layer = nn.Linear(dim, like.n_classes)
        return cls(layer.weight, layer.bias, names=like.names)

    def knows_the_same(self, other: KnowledgeHead) -> bool:
        """Whether both score the same classes in the same order, as far as their names and number tell."""
        named_alike = not self.names or not other.names or self.names == other.names
        return self.n_classes == other.n_classes and named_alike

    @property
    def n_classes(self) -> int:
        """Number of known classes."""
        return int(self.weight.shape[0])

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Logits.

        Args:
            feature: shape (B, D), float.

        Returns:
            shape (B, C), float32.
        """
        feature = feature.float()
        if self.scale:
            cosines = functional.linear(
                functional.normalize(feature, dim=-1), functional.normalize(self.weight, dim=-1)
            )
            return self.scale * cosines + self.bias
        return functional.linear(feature, self.weight, self.bias)
