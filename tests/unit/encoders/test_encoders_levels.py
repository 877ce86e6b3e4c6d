"""Networks that are cut to their first levels: what they compute, what they are kept as, and what cannot be cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, load_bundle, save_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.levels import keep_levels, pool_level
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.stages import freeze_stages
from sbka_milvus.errors import BackboneError

Build = Callable[..., BuiltBackbone]


def pixels(size: int = 64) -> torch.Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


def size_of(backbone: Backbone) -> int:
    return sum(parameter.numel() for parameter in backbone.parameters())


@pytest.mark.parametrize(
    "model", ["test_resnet", "test_byobnet", "test_efficientnet", "test_convnext", "test_mambaout"]
)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_feature_is_the_mean_of_what_the_whole_network_makes_there(model: str, levels: int, build: Build) -> None:
    whole, cut = build(model).backbone.eval(), build(model, options={"levels": levels}).backbone.eval()
    with torch.inference_mode():
        made = whole.net.forward_intermediates(pixels(), indices=[levels - 1], intermediates_only=True)[0]
        feature = cut(pixels())
    assert feature.shape == (3, cut.feature_dim)
    assert torch.allclose(feature, made.mean(dim=(2, 3)), atol=1e-6)
    assert size_of(cut) < size_of(whole)


def test_a_transformer_s_feature_is_the_mean_of_its_patches(build: Build) -> None:
    whole, cut = build("test_vit").backbone.eval(), build("test_vit", options={"levels": 2}).backbone.eval()
    with torch.inference_mode():
        made = whole.net.forward_intermediates(pixels(), indices=[1], norm=True, intermediates_only=True)[0]
        assert torch.allclose(cut(pixels()), made.mean(dim=(2, 3)), atol=1e-5)
    assert len(cut.net.blocks) == 2


def test_pooling_by_hand() -> None:
    class Net(nn.Module):
        output_fmt = "NCHW"
        num_prefix_tokens = 0

    net = Net()
    square = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert pool_level(net, square).tolist() == [[1.5, 5.5]]
    net.output_fmt = "NHWC"
    assert pool_level(net, square).tolist() == [[3.0, 4.0]]
    tokens = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 6.0]]])
    net.num_prefix_tokens = 1
    assert pool_level(net, tokens).tolist() == [[2.0, 4.0]]


def test_a_cut_mobilenet_is_less_than_a_quarter_of_the_whole(build: Build) -> None:
    whole, cut = build("mobilenetv2_100").backbone, build("mobilenetv2_100", options={"levels": 4}).backbone
    assert size_of(whole) == 2_223_872
    assert size_of(cut) == 542_528, "stem and five stages, by timm's own count of their weights"
    assert 4 * size_of(cut) < size_of(whole)
    assert cut.feature_dim == 96


def test_it_knows_no_classes_any_more(build: Build, tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from timm import create_model

    path = tmp_path / "weights.safetensors"
    save_file(create_model("test_efficientnet", num_classes=5).state_dict(), path)
    assert build("test_efficientnet", weights=path).knowledge is not None
    cut = build("test_efficientnet", weights=path, options={"levels": 3})
    assert cut.knowledge is None, "the classifier reads features that are not made any more"
    assert torch.equal(
        cut.backbone.net.conv_stem.weight, build("test_efficientnet", weights=path).backbone.net.conv_stem.weight
    )


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_a_bundle_keeps_the_cut_and_its_fingerprint_tells_it(
    model: str, build: Build, tmp_path: Path, pictures: Callable[..., Any]
) -> None:
    saved = save_bundle(build(model, options={"levels": 2}).backbone, BundleNotes("cut"), tmp_path / "model")
    again = load_bundle(tmp_path / "model")
    assert again.manifest.options == {"levels": 2}
    assert again.fingerprint == saved.fingerprint
    one, two = (BundleEncoder(bundle, device="cpu").encode_photos(pictures(3)) for bundle in (saved, again))
    assert np.array_equal(one, two)
    others = [save_bundle(build(model, options=options).backbone, BundleNotes("other"), tmp_path / f"other{number}")
              for number, options in enumerate(({"levels": 1}, {}))]  # fmt: skip
    assert len({saved.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_all_of_it_learns(build: Build) -> None:
    backbone = build("test_efficientnet", options={"levels": 3}).backbone.train()
    target = torch.randn(3, backbone.feature_dim, generator=torch.Generator().manual_seed(5))
    optimiser = torch.optim.Adam(backbone.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (backbone(pixels()) - target).square().mean()
        loss.backward()
        assert all(parameter.grad is not None for parameter in backbone.parameters()), "no weight is left over"
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_its_first_stages_can_be_frozen(build: Build) -> None:
    backbone = build("mobilenetv2_100", options={"levels": 4}).backbone
    freeze_stages(backbone, 4)
    frozen = {name.split(".")[0] + "." + name.split(".")[1] for name, one in backbone.net.named_parameters()
              if not one.requires_grad}  # fmt: skip
    assert {"blocks.0", "blocks.1", "blocks.2"} <= frozen
    assert not frozen & {"blocks.3", "blocks.4"}
    with pytest.raises(BackboneError, match="has 6 stages"):
        freeze_stages(build("mobilenetv2_100", options={"levels": 4}).backbone, 6)


@pytest.mark.parametrize("levels", [5, 6])
def test_levels_that_are_not_fewer_than_all_are_refused(levels: int, build: Build) -> None:
    with pytest.raises(BackboneError, match=f"has 5 levels, so that levels={levels} cuts nothing off") as caught:
        build("test_efficientnet", options={"levels": levels})
    assert "at most 4" in caught.value.remedy


@pytest.mark.parametrize("levels", [0, -1, 1.5, "two", True])
def test_a_number_that_is_none_is_refused(levels: Any, build: Build) -> None:
    with pytest.raises(BackboneError, match="levels="):
        build("test_efficientnet", options={"levels": levels})


def test_a_network_of_unknown_levels_is_refused() -> None:
    with pytest.raises(BackboneError, match="levels of timm:by_hand are not known") as caught:
        keep_levels(nn.Linear(2, 2), BackboneSpec("timm", "by_hand"), 1)
    assert "Leave levels out" in caught.value.remedy


def test_open_clip_has_no_levels(clip_spec: BackboneSpec, clip_weights: Path) -> None:
    with pytest.raises(BackboneError, match="only networks of timm can"):
        build_backbone(BuildRequest(clip_spec, clip_weights, options={"levels": 1}))
