"""Stages that do not train."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sbka_milvus.encoders.backbones import BuiltBackbone
from sbka_milvus.encoders.stages import freeze_stages
from sbka_milvus.errors import BackboneError

Build = Callable[..., BuiltBackbone]


def moved(backbone, steps: int = 2) -> set[str]:
    """What a few steps of training change."""
    before = {name: value.clone() for name, value in backbone.net.state_dict().items()}
    backbone.train()
    optimiser = torch.optim.SGD([one for one in backbone.parameters() if one.requires_grad], lr=0.1)
    for step in range(steps):
        pixels = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        backbone(pixels).pow(2).mean().backward()
        optimiser.step()
    return {name for name, value in backbone.net.state_dict().items() if not torch.equal(value, before[name])}


def test_the_stem_and_first_blocks_stay_with_their_statistics(build: Build) -> None:
    backbone = build("test_efficientnet").backbone
    freeze_stages(backbone, 3)
    changed = moved(backbone)
    assert changed and not any(name.startswith(("conv_stem", "bn1", "blocks.0.", "blocks.1.")) for name in changed)
    assert any(name.startswith("blocks.2.") for name in changed)
    # Statistics of layers behind them are learned as before.
    assert any(name.startswith("blocks.2.") and name.endswith("running_mean") for name in changed)


def test_none_are_frozen_unless_asked_for(build: Build) -> None:
    backbone = build("test_efficientnet").backbone
    freeze_stages(backbone, 0)
    assert backbone.frozen == () and any(name.startswith("conv_stem") for name in moved(backbone))


def test_a_whole_training_mode_comes_and_goes(build: Build) -> None:
    backbone = build("test_efficientnet").backbone
    freeze_stages(backbone, 1)
    backbone.train()
    assert not backbone.net.bn1.training and backbone.net.blocks[1].training
    backbone.eval()
    assert not backbone.net.blocks[1].training


def test_a_vision_transformer_has_stages_too(build: Build) -> None:
    backbone = build("test_vit").backbone
    freeze_stages(backbone, 2)
    assert not any(one.requires_grad for one in backbone.net.patch_embed.parameters())
    assert not any(one.requires_grad for one in backbone.net.blocks[0].parameters())
    assert all(one.requires_grad for one in backbone.net.blocks[1].parameters())


def test_something_must_be_left_to_train(build: Build) -> None:
    with pytest.raises(BackboneError, match=r"has 6 stages, and 6 of them .* Freeze at most 5"):
        freeze_stages(build("test_efficientnet").backbone, 6)


def test_a_backbone_of_another_library_is_refused(build: Build) -> None:
    backbone = build("test_efficientnet").backbone
    backbone.spec = type(backbone.spec).parse("open_clip:ViT-B-32")
    with pytest.raises(BackboneError, match="stages of open_clip:ViT-B-32 are not known"):
        freeze_stages(backbone, 1)
