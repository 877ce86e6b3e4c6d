"""Tiny networks that are built in milliseconds, and a hub that cannot be reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.spec import BackboneSpec

CLIP = "tiny-test-clip"
CLIP_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module", autouse=True)
def small_networks(one_thread: None) -> None:
    """All that is built here is small."""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's client refuses at once, and knows nothing of what this machine may have fetched before."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def build() -> Callable[..., BuiltBackbone]:
    """Builds a timm model with random weights of a fixed seed."""

    def build_random(model: str = "test_resnet", **arguments: Any) -> BuiltBackbone:
        torch.manual_seed(0)
        arguments = {"pretrained": False, "size": 64, **arguments}
        return build_backbone(BuildRequest(BackboneSpec("timm", model), **arguments))

    return build_random


@pytest.fixture(
    params=[
        ("test_resnet", {}, 64),
        ("test_efficientnet", {"pad_type": "same"}, 48),
        ("test_vit", {}, 64),
        ("vit_tiny_patch16_224", {"depth": 1}, 64),
    ],
    ids=lambda param: param[0],
)
def small_network(request: pytest.FixtureRequest, build: Callable[..., BuiltBackbone]) -> Callable[..., Backbone]:
    """Networks of timm with random weights, with options and sizes of several kinds."""
    model, options, size = request.param
    return lambda **arguments: build(model, options=options, size=size, **arguments).backbone


@pytest.fixture(scope="session")
def clip_spec(tmp_path_factory: pytest.TempPathFactory) -> BackboneSpec:
    """A CLIP model of two small layers a tower."""
    config = tmp_path_factory.mktemp("configs") / f"{CLIP}.json"
    config.write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(config)
    return BackboneSpec("open_clip", CLIP)


@pytest.fixture(scope="session")
def clip_weights(clip_spec: BackboneSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the whole CLIP model."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "clip.safetensors"
    save_file(open_clip.create_model(clip_spec.model, load_weights=False).state_dict(), path)
    return path


class PooledColours(Backbone):
    """A backbone written by hand: a linear map of the mean colour of each quarter of the picture."""

    def __init__(self, dim: int = 4, size: int = 8) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, dim))
        super().__init__(BackboneSpec("timm", "by_hand"), net, preprocessing(size), dim, {})

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.net(pixels)


def preprocessing(size: int = 8, **changes: Any) -> Preprocessing:
    return Preprocessing(**{"size": size, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), **changes})


@pytest.fixture
def by_hand() -> Callable[..., PooledColours]:
    return PooledColours


@pytest.fixture
def pictures() -> Callable[[int], list[Image.Image]]:
    """Makes pictures of noise, of several sizes."""

    def make(count: int) -> list[Image.Image]:
        rng = np.random.default_rng(3)
        return [
            Image.fromarray(rng.integers(0, 256, (40 + index % 7, 50, 3), dtype=np.uint8)) for index in range(count)
        ]

    return make
