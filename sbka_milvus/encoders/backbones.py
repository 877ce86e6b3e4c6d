"""Backbones behind one face: features, preprocessing, and the head over classes they already know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from sbka_milvus.encoders.knowledge import KnowledgeHead
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.spec import BackboneSpec, key_values


class Backbone(nn.Module):
    """What every backbone offers. Subclasses wrap one library's model as ``self.net``.

    Attributes:
        spec: its name.
        options: arguments beside the name that rebuild the same architecture.
        preprocessing: what it expects of pictures.
        feature_dim: length of its feature.
        frozen: layers of the net that no training changes: see :mod:`~sbka_milvus.encoders.stages`.
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
        self.frozen: tuple[str, ...] = ()

    def train(self, mode: bool = True) -> Self:
        """Frozen layers always normalise by their stored statistics."""
        super().train(mode)
        for name in self.frozen:
            self.net.get_submodule(name).eval()
        return self

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
        weights: a local file of weights, or for timm the folder of a bundle to start from: see
            :mod:`~sbka_milvus.encoders.start`; wins over the tag.
        pretrained: fetch the weights of the tag (or the model's default) from the hub where there is no local file.
        size: side of the input in pixels where it is not the model's own.
        options: keyword arguments of the architecture, such as ``{"pad_type": "same"}`` for timm, sizes of what
            :mod:`~sbka_milvus.encoders.additions` adds, and how much :mod:`~sbka_milvus.encoders.levels` keeps.
        overrides: entries of :class:`Preprocessing` that replace the model's own, such as ``{"fit": "squash"}``.
    """

    spec: BackboneSpec
    weights: Path | None = None
    pretrained: bool = True
    size: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(
        cls, backbone: str, weights: Path | None = None, size: int | None = None, options: Sequence[str] = ()
    ) -> BuildRequest:
        """How to build the backbone that a user named.

        Args:
            backbone: ``library:model`` or ``library:model/tag``.
            weights: see the attribute.
            size: see the attribute.
            options: of the form KEY=VALUE, as :func:`~sbka_milvus.encoders.spec.key_values` reads them.

        Raises:
            BackboneError: The name has another form.
            SettingsError: An option is not KEY=VALUE.

        >>> BuildRequest.parse("timm:mobilenetv2_100", size=96, options=["pad_type=same"]).options
        {'pad_type': 'same'}
        """
        return cls(BackboneSpec.parse(backbone), weights, size=size, options=key_values(options))


@dataclass(frozen=True, slots=True)
class BuiltBackbone:
    """A backbone, the head over the classes it knows (none where it knows none), and what to tell the user."""

    backbone: Backbone
    knowledge: KnowledgeHead | None
    notes: tuple[str, ...] = ()


def build_backbone(
    request: BuildRequest, *, with_knowledge: bool = False, names: tuple[str, ...] = ()
) -> BuiltBackbone:
    """Builds a backbone by name.

    Args:
        request: what to build.
        with_knowledge: make the knowledge head too (for a CLIP model: run its text tower over ImageNet's class names).
        names: classes that the knowledge head is to score instead of those it comes with; a backbone without a text
            tower then has none.

    Raises:
        BackboneError: The name is unknown, or the weights do not fit it.
        HubUnavailable: The weights are on a hub that cannot be reached.
    """
    if request.spec.library == "timm":
        from sbka_milvus.encoders.timm_backbone import build_timm

        built = build_timm(request)
        return replace(built, knowledge=None) if names else built
    from sbka_milvus.encoders.open_clip_backbone import build_open_clip

    return build_open_clip(request, with_knowledge=with_knowledge, names=names)
