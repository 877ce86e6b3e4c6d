"""Adapters and prompts: what they change at first (nothing), what they can learn, and what they are kept as."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sbka_milvus.encoders.additions import Adapter, PromptedTransformer, split_options, takes_adapters
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, load_bundle, save_bundle
from sbka_milvus.encoders.encoder import BundleEncoder
from sbka_milvus.encoders.precision import BF16
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.trainable import choose_trainable
from sbka_milvus.errors import BackboneError

Build = Callable[..., BuiltBackbone]


@pytest.fixture
def clip(clip_spec: BackboneSpec, clip_weights: Path) -> Callable[..., Backbone]:
    def make(**options: Any) -> Backbone:
        torch.manual_seed(1)
        return build_backbone(BuildRequest(clip_spec, clip_weights, options=options)).backbone.eval()

    return make


def pixels(size: int = 32) -> torch.Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_adapters_leave_a_clip_tower_as_it_was(clip: Callable[..., Backbone]) -> None:
    plain, adapted = clip(), clip(adapters=5)
    assert sum(isinstance(module, Adapter) for module in adapted.modules()) == 2
    with torch.inference_mode():
        assert torch.equal(plain(pixels()), adapted(pixels()))
    with torch.no_grad():
        next(module for module in adapted.modules() if isinstance(module, Adapter)).up.weight.normal_()
        assert not torch.allclose(plain(pixels()), adapted(pixels()), atol=1e-3)


def test_adapters_leave_a_vision_transformer_of_timm_as_it_was(build: Build) -> None:
    plain, adapted = (build("test_vit", options=options).backbone.eval() for options in ({}, {"adapters": 4}))
    assert takes_adapters(plain.net)
    with torch.inference_mode():
        assert torch.equal(plain(pixels(64)), adapted(pixels(64)))
    assert any(isinstance(module, Adapter) for module in adapted.modules())


def test_prompts_leave_almost_all_attention_to_the_picture(clip: Callable[..., Backbone]) -> None:
    plain, prompted = clip(), clip(prompts=6)
    with torch.inference_mode():
        before, after = plain(pixels()), prompted(pixels())
        assert torch.nn.functional.cosine_similarity(before, after).min() > 0.9999
        assert not torch.equal(before, after)
    transformer = prompted.net.transformer
    assert isinstance(transformer, PromptedTransformer)
    assert len({tuple(row) for row in transformer.tokens.tolist()}) == 6, "tokens alike would learn alike"
    with torch.no_grad():
        transformer.share.fill_(1.0)
        assert torch.nn.functional.cosine_similarity(before, prompted(pixels())).min() < 0.999


def test_a_full_share_is_what_plain_attention_would_give(clip: Callable[..., Backbone]) -> None:
    """With factors of 1 the prompts are tokens like any other: VPT as it was published."""
    prompted = clip(prompts=3)
    transformer = prompted.net.transformer
    with torch.no_grad():
        transformer.share.fill_(1.0 - 1e-4)
        x = torch.randn(2, 5, 64)
        extended = torch.cat([x, transformer.tokens.expand(2, -1, -1)], dim=1)
        assert torch.allclose(transformer(x), transformer.inner(extended)[:, :5], atol=1e-5)


@pytest.mark.parametrize("mode", [True, False])
def test_prompts_are_the_same_in_training_and_in_fast_formats(mode: bool, clip: Callable[..., Backbone]) -> None:
    prompted = clip(prompts=4)
    with torch.no_grad():
        exact = prompted.eval()(pixels())
        assert torch.allclose(prompted.train(mode)(pixels()), exact, atol=1e-5)
        assert torch.nn.functional.cosine_similarity(BF16.run(prompted, pixels()), exact).min() > 0.999


@pytest.mark.parametrize("what", ["adapters", "prompts"])
def test_they_learn_and_nothing_else_but_norms_does(what: str, clip: Callable[..., Backbone]) -> None:
    backbone = clip(**{what: 4}).train()
    choose_trainable(backbone, what)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    free = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(free, lr=0.01)
    target = torch.randn(3, 32, generator=torch.Generator().manual_seed(5))
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = (backbone(pixels()) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    own = {"adapters": ".adapter.", "prompts": ".transformer."}[what]
    added = {name for name in changed if own in name and "ln_" not in name}
    assert added, "what was added has learned"
    assert all("ln_" in name or name in added for name in changed)
    if what == "prompts":
        assert added == {"net.transformer.tokens", "net.transformer.share"}


@pytest.mark.parametrize("options", [{"adapters": 4}, {"prompts": 3}, {"adapters": 2, "prompts": 2}])
def test_a_bundle_keeps_them_and_serves_like_any_other(
    options: dict[str, int], clip: Callable[..., Backbone], tmp_path: Path, pictures: Callable[..., Any]
) -> None:
    backbone = clip(**options)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01)
    saved = save_bundle(backbone, BundleNotes("clip"), tmp_path / "model")
    again = load_bundle(tmp_path / "model")
    assert again.manifest.options == options
    assert again.fingerprint == saved.fingerprint
    one, two = (BundleEncoder(bundle, device="cpu").encode_photos(pictures(4)) for bundle in (saved, again))
    assert np.array_equal(one, two)
    plain = save_bundle(clip(), BundleNotes("clip"), tmp_path / "plain")
    assert plain.fingerprint != saved.fingerprint


def test_a_bundle_of_timm_keeps_its_adapters(build: Build, tmp_path: Path, pictures: Callable[..., Any]) -> None:
    backbone = build("test_vit", options={"adapters": 4}).backbone
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01)
    saved = save_bundle(backbone, BundleNotes("vit"), tmp_path / "model")
    one, two = (BundleEncoder(b, device="cpu").encode_photos(pictures(2)) for b in (saved, load_bundle(saved.path)))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("what", ["adapters", "prompts"])
def test_a_network_without_such_blocks_says_so(what: str, model: str, build: Build) -> None:
    assert not takes_adapters(build(model).backbone.net)
    with pytest.raises(BackboneError, match=f"timm:{model} has no transformer blocks in which {what}") as caught:
        build(model, options={what: 4})
    assert "--trainable norm" in caught.value.remedy


def test_a_vision_transformer_of_timm_takes_no_prompts(build: Build) -> None:
    with pytest.raises(BackboneError, match="timm:test_vit cannot take prompts") as caught:
        build("test_vit", options={"prompts": 4})
    assert "--trainable adapters" in caught.value.remedy


@pytest.mark.parametrize("size", [0, -1, 2.5, "many", True])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(BackboneError, match="adapters="):
        split_options({"adapters": size})
