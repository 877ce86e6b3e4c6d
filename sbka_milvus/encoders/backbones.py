"""Backbones behind one face: features, preprocessing, and the head over classes they already know."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.spec import BackboneSpec


class Backbone(nn.Module):
    """What every backbone offers. Subclasses wrap one library's model as ``self.net``.

    Attributes:
        spec: its name.
        options: arguments beside the name that rebuild the same architecture.
        preprocessing: what it expects of pictures.
        feature_dim: length of its feature.
    """

    def __init__(
        self, spec: BackboneSpec, net: nn.Module, preprocessing: Preprocessing, dim: int, options: dict[str, Any]
    ) -> None:
        super().__init__()
        self.spec = spec
        self.net = net
        self.preprocessing = preprocessing
        self.feature_dim = dim
        self.options = options

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features.

        Args:
            pixels: shape (B, 3, S, S), float, scaled by :meth:`Preprocessing.scale`.

        Returns:
            shape (B, feature_dim), not normalised.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """How to build a backbone.

    Attributes:
        spec: its name.
        weights: a local file of weights; wins over the tag.
        pretrained: fetch the weights of the tag (or the model's default) from the hub where there is no local file.
        size: side of the input in pixels where it is not the model's own.
        options: keyword arguments of the architecture, such as ``{"pad_type": "same"}`` for timm.
        overrides: entries of :class:`Preprocessing` that replace the model's own, such as ``{"fit": "squash"}``.
    """

    spec: BackboneSpec
    weights: Path | None = None
    pretrained: bool = True
    size: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuiltBackbone:
    """A backbone, the head over the classes it knows (none where it knows none), and what to tell the user."""

    backbone: Backbone
    knowledge: KnowledgeHead | None
    notes: tuple[str, ...] = ()


def build_backbone(request: BuildRequest, *, with_knowledge: bool = False) -> BuiltBackbone:
    """Builds a backbone by name.

    Args:
        request: what to build.
        with_knowledge: make the knowledge head too (for a CLIP model: run its text tower over ImageNet's class names).

    Raises:
        BackboneError: The name is unknown, or the weights do not fit it.
        HubUnavailable: The weights are on a hub that cannot be reached.
    """
    if request.spec.library == "timm":
        from sbka_milvus.encoders.timm_backbone import build_timm

        return build_timm(request)
    from sbka_milvus.encoders.open_clip_backbone import build_open_clip

    return build_open_clip(request, with_knowledge=with_knowledge)
