"""A large network is built without numbers that it would lose at once, and is the same network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sbka_milvus.encoders import rebuild
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, load_bundle, save_bundle
from sbka_milvus.encoders.spec import BackboneSpec

Build = Callable[..., BuiltBackbone]
NOTES = BundleNotes("net")


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "LARGE", 0)


@pytest.fixture
def hollow(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether networks could be built with nothing in them, one after the other."""
    found: list[bool] = []
    build = rebuild._hollow

    def noted(*arguments: Any) -> Backbone | None:
        made = build(*arguments)
        found.append(made is not None)
        return made

    monkeypatch.setattr(rebuild, "_hollow", noted)
    return found


def require_same(backbone: Backbone, folder: Path) -> None:
    save_bundle(backbone, NOTES, folder)
    torch.manual_seed(1)
    drawn = torch.random.get_rng_state()
    loaded = load_bundle(folder).backbone
    size = backbone.preprocessing.size
    with torch.inference_mode():
        pixels = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(loaded(pixels), backbone.eval()(pixels), rtol=0, atol=0)
    assert not any(value.is_meta for value in loaded.net.state_dict().values())
    assert torch.equal(drawn, torch.random.get_rng_state())
    # It owns what it computes with: the file may be replaced, and the weights trained on.
    assert all(value.is_leaf and value.requires_grad for value in loaded.net.parameters())


def test_networks_of_timm(small_network: Callable[..., Backbone], hollow: list[bool], tmp_path: Path) -> None:
    require_same(small_network(), tmp_path / "model")
    assert hollow == [True]


@pytest.mark.parametrize("size", [None, 64])
def test_networks_of_open_clip(
    size: int | None, clip_spec: BackboneSpec, clip_weights: Path, hollow: list[bool], tmp_path: Path
) -> None:
    request = BuildRequest(clip_spec, clip_weights, pretrained=False, size=size)
    require_same(build_backbone(request).backbone, tmp_path / "model")
    assert hollow == [True]


@pytest.mark.parametrize("model", ["eva02_tiny_patch14_224", "vit_relpos_small_patch16_224"])
def test_numbers_beside_the_weights_are_made_as_ever(
    model: str, build: Build, hollow: list[bool], tmp_path: Path
) -> None:
    # Positions that turn, and where among the others a place is looked up.
    backbone = build(model, options={"depth": 1}, size=224).backbone
    save_bundle(backbone, NOTES, tmp_path / "model")
    loaded = load_bundle(tmp_path / "model").backbone
    assert hollow == [False]
    with torch.inference_mode():
        pixels = torch.rand(1, 3, 224, 224)
        torch.testing.assert_close(loaded(pixels), backbone.eval()(pixels), rtol=0, atol=0)


class Scaled(nn.Module):
    """Computes with a number that is neither a weight nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.scale = torch.linspace(1, 2, 2)


def test_plain_attributes_are_numbers_beside_the_weights() -> None:
    net = nn.Sequential(nn.Linear(2, 2), Scaled())
    assert rebuild._beside_weights(net, net.state_dict()) == ["1.scale"]
    net[0].register_buffer("kept", torch.ones(1))
    net[0].register_buffer("passing", torch.ones(1), persistent=False)
    assert rebuild._beside_weights(net, net.state_dict()) == ["0.passing", "1.scale"]


def test_small_networks_are_built_as_ever(
    build: Build, hollow: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "LARGE", 2**20 * 32)
    save_bundle(build().backbone, NOTES, tmp_path / "model")
    load_bundle(tmp_path / "model")
    assert hollow == []
