"""The two networks of SBKA (Liu et al., arXiv 2312.10320): a student that serves, and the teacher beside it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.knowledge import KnowledgeHead


class StudentOutput(NamedTuple):
    """What the student makes of B pictures.

    Attributes:
        feature: shape (B, D).
        seen_logits: shape (B, number of seen categories), float32.
        knowledge_logits: shape (B, number of known classes), float32; none where the student has no knowledge head.
    """

    feature: torch.Tensor
    seen_logits: torch.Tensor
    knowledge_logits: torch.Tensor | None


class SbkaStudent(nn.Module):
    """One encoder shared by sketches and photos, with no modality tag; it is trained whole and then serves."""

    def __init__(self, backbone: Backbone, n_seen: int, knowledge: KnowledgeHead | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.seen_head = nn.Linear(backbone.feature_dim, n_seen)
        self.knowledge = knowledge

    def forward(self, pixels: torch.Tensor) -> StudentOutput:
        """Features and both logits of ``pixels``, shape (B, 3, S, S)."""
        feature = self.backbone(pixels)
        # Softmaxes over a thousand classes need more digits than autocast's fast types have.
        with torch.autocast(pixels.device.type, enabled=False):
            flat = feature.float()
            known = None if self.knowledge is None else self.knowledge(flat)
            return StudentOutput(feature, self.seen_head(flat), known)


class SbkaTeacher(nn.Module):
    """A copy with the pre-trained weights, of which only the knowledge head may train."""

    def __init__(self, backbone: Backbone, knowledge: KnowledgeHead) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.knowledge = knowledge
        self.train()

    def train(self, mode: bool = True) -> SbkaTeacher:
        """The backbone is fixed: its normalisation layers always use their stored statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """shape (B, D): fixed features, without gradient."""
        with torch.no_grad():
            return self.backbone(pixels).float()  # type: ignore[no-any-return]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Knowledge logits of ``pixels``, shape (B, C), float32."""
        return self.knowledge(self.features(pixels))  # type: ignore[no-any-return]
