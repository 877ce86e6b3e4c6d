"""The network that a bundle describes, built anew and filled with its weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import nn

from sbka_milvus.encoders.backbones import Backbone, BuildRequest, build_backbone
from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.spec import BackboneSpec

_LOG = logging.getLogger(__name__)

LARGE = 32 * 2**20
"""Bytes of weights from which numbers that a network would begin with, only to lose them, are not drawn at all."""


def rebuild(manifest: Manifest, state: Mapping[str, torch.Tensor]) -> Backbone:
    """A backbone on the CPU with these weights.

    Args:
        manifest: what it is.
        state: its weights by name; they are copied.

    Raises:
        BackboneError: This version of its library cannot build it.
        RuntimeError: The weights do not fit it.
    """
    large = sum(value.nbytes for value in state.values()) >= LARGE
    backbone = _hollow(manifest, state) if large else None
    if backbone is None:
        backbone = _built(manifest)
    backbone.net.load_state_dict(state, strict=True)
    return backbone


def _built(manifest: Manifest) -> Backbone:
    preprocessing = Preprocessing.from_dict(manifest.preprocessing)
    spec = BackboneSpec.parse(manifest.backbone)
    request = BuildRequest(spec=spec, pretrained=False, size=preprocessing.size, options=manifest.options)
    backbone = build_backbone(request).backbone
    backbone.preprocessing = preprocessing
    return backbone


def _hollow(manifest: Manifest, state: Mapping[str, torch.Tensor]) -> Backbone | None:
    """The backbone with room for its weights and nothing in it; none where it has numbers beside its weights, which
    would be missing, or does not want to be built so."""
    try:
        with torch.device("meta"):
            backbone = _built(manifest)
    except Exception as error:  # what computes with numbers while it is built cannot do without
        _LOG.debug("%s is built with numbers in it: %s", manifest.backbone, error)
        return None
    if _beside_weights(backbone.net, state):
        return None
    backbone.net.to_empty(device="cpu")
    return backbone


def _beside_weights(net: nn.Module, state: Mapping[str, torch.Tensor]) -> list[str]:
    """Numbers of a network that are none of its weights: buffers that are not saved, and plain attributes."""
    beside = [name for name, _ in net.named_buffers() if name not in state]
    for name, module in net.named_modules():
        beside += [f"{name}.{key}" for key, value in vars(module).items() if isinstance(value, torch.Tensor)]
    return beside
