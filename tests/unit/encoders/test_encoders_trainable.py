"""Which parameters train; see also the tests of the loop, which look at what has changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sbka_milvus.encoders.additions import Adapter
from sbka_milvus.encoders.backbones import BuiltBackbone
from sbka_milvus.encoders.trainable import choose_trainable, has_adapters
from sbka_milvus.errors import BackboneError

Build = Callable[..., BuiltBackbone]


def free(net: nn.Module) -> set[str]:
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


def test_all_is_what_trains_by_itself() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    net[0].bias.requires_grad_(False)
    choose_trainable(net, "all")
    assert free(net) == {"0.weight", "1.weight", "1.bias"}, "what is fixed by its design stays fixed"


def test_norms_alone_and_norms_with_adapters() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), Adapter(2, 1))
    choose_trainable(net, "norm")
    assert free(net) == {"1.weight", "1.bias"}
    assert has_adapters(net)
    choose_trainable(net, "adapters")
    assert free(net) == {"1.weight", "1.bias", *(f"2.{name}" for name, _ in net[2].named_parameters())}


@pytest.mark.parametrize("what", ["adapters", "prompts"])
def test_what_is_not_there_cannot_train(what, build: Build) -> None:
    backbone = build("test_vit").backbone
    assert not has_adapters(backbone)
    with pytest.raises(BackboneError, match=f"has no {what} to train"):
        choose_trainable(backbone, what)
    assert isinstance(backbone(torch.zeros(1, 3, 64, 64)), torch.Tensor)
