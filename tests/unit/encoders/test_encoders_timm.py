"""Backbones of timm, from files of weights and from nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from sbka_milvus.encoders.backbones import BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.timm_backbone import TimmBackbone, save_classifier
from sbka_milvus.errors import BackboneError, OutputError

Build = Callable[..., BuiltBackbone]


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Path]:
    """Writes random weights of a timm model to a file."""

    def write(model: str, *, without: str = "", metadata: dict[str, str] | None = None, **options: Any) -> Path:
        torch.manual_seed(1)
        state = timm.create_model(model, **options).state_dict()
        path = tmp_path / f"{model}.safetensors"
        save_file({key: value for key, value in state.items() if not (without and without in key)}, path, metadata)
        return path

    return write


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_byobnet", "test_efficientnet", "test_convnext"])
def test_features_are_pooled_and_as_long_as_stated(model: str, build: Build) -> None:
    built = build(model)
    backbone = built.backbone.eval()
    assert built.knowledge is None, "random weights know nothing"
    assert backbone.preprocessing.size == 64
    with torch.inference_mode():
        assert backbone(torch.zeros(2, 3, 64, 64)).shape == (2, backbone.feature_dim)


def test_a_classifier_s_scores_are_its_head_on_the_feature(build: Build, weights: Callable[..., Path]) -> None:
    path = weights("test_efficientnet", num_classes=10)
    built = build("test_efficientnet", weights=path)
    assert built.knowledge is not None
    assert built.notes == ()
    whole = timm.create_model("test_efficientnet", num_classes=10, checkpoint_path=str(path)).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        scores = built.knowledge(built.backbone.eval()(pixels))
        assert torch.allclose(scores, whole(pixels), atol=1e-5)


def test_tensorflow_s_classes_bring_its_padding_and_its_range(build: Build, weights: Callable[..., Path]) -> None:
    path = weights("test_efficientnet", num_classes=1001)
    built = build("test_efficientnet", weights=path)
    assert built.backbone.options == {"pad_type": "same"}
    assert built.backbone.preprocessing.mean == built.backbone.preprocessing.std == (0.5, 0.5, 0.5)
    assert "1001 classes" in built.notes[0]
    assert built.knowledge is not None
    assert built.knowledge.n_classes == 1000
    same = timm.create_model("test_efficientnet", num_classes=1001, pad_type="same", checkpoint_path=str(path)).eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        scores = built.knowledge(built.backbone.eval()(pixels))
        assert torch.allclose(scores, same(pixels)[:, 1:], atol=1e-5)


def test_an_option_or_override_wins_over_the_guess(build: Build, weights: Callable[..., Path]) -> None:
    path = weights("test_efficientnet", num_classes=1001)
    built = build("test_efficientnet", weights=path, options={"pad_type": ""}, overrides={"mean": (0.1, 0.2, 0.3)})
    assert built.backbone.options == {"pad_type": ""}
    assert built.backbone.preprocessing.mean == (0.1, 0.2, 0.3)
    assert built.backbone.preprocessing.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("stated", ["m(num_classes=10,pad_type=same)", "m(pad_type='same')", 'm(pad_type="same")'])
def test_a_file_may_state_its_padding(stated: str, build: Build, weights: Callable[..., Path]) -> None:
    path = weights("test_efficientnet", num_classes=10, metadata={"timm": stated})
    built = build("test_efficientnet", weights=path)
    assert built.backbone.options == {"pad_type": "same"}
    assert type(built.backbone.net.conv_stem).__name__ == "Conv2dSame"
    assert built.backbone.preprocessing.mean != (0.5, 0.5, 0.5)


def test_weights_without_a_classifier_know_no_classes(build: Build, weights: Callable[..., Path]) -> None:
    assert build("test_efficientnet", weights=weights("test_efficientnet", without="classifier")).knowledge is None


def test_an_unknown_model_is_answered_with_similar_names(build: Build) -> None:
    with pytest.raises(BackboneError, match="'test_resnett'") as caught:
        build("test_resnett")
    assert "test_resnet," in caught.value.remedy
    with pytest.raises(BackboneError) as caught:
        build("~")
    assert "list_models" in caught.value.remedy


def test_an_unknown_tag_or_option_is_refused(build: Build) -> None:
    with pytest.raises(BackboneError, match="bogus"):
        build_backbone(BuildRequest(BackboneSpec.parse("timm:test_resnet/bogus")))
    with pytest.raises(BackboneError, match="colour"):
        build(options={"colour": "red"})


@pytest.mark.usefixtures("offline")
def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(BackboneError, match="No pretrained weights exist") as caught:
        build_backbone(BuildRequest(BackboneSpec("timm", "test_coatnet")))
    assert "file of weights" in caught.value.remedy


@pytest.mark.parametrize(
    ("model", "without", "problem"),
    [
        ("test_efficientnet", "conv_stem", "1 tensors are missing and 0 are unknown, for example conv_stem.weight"),
        ("test_byobnet", "", "do not fit timm:test_efficientnet"),
        ("test_vit", "", "do not fit timm:test_efficientnet"),
    ],
)
def test_weights_of_another_network_do_not_fit(
    model: str, without: str, problem: str, build: Build, weights: Callable[..., Path]
) -> None:
    path = weights(model, without=without)
    with pytest.raises(BackboneError, match=problem) as caught:
        build("test_efficientnet", weights=path)
    assert str(path) in caught.value.problem
    assert "the model that the file was made from" in caught.value.remedy


def test_weights_of_another_width_do_not_fit(build: Build, weights: Callable[..., Path], tmp_path: Path) -> None:
    state = timm.create_model("test_efficientnet").state_dict()
    state["conv_stem.weight"] = torch.zeros(5, 3, 3, 3)
    save_file(state, tmp_path / "wide.safetensors")
    with pytest.raises(BackboneError, match=r"size mismatch for conv_stem\.weight"):
        build("test_efficientnet", weights=tmp_path / "wide.safetensors")


def test_a_transformer_is_fitted_to_another_size(build: Build) -> None:
    backbone = build("vit_tiny_patch16_224", size=64, options={"depth": 1}).backbone.eval()
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 192)


@pytest.mark.parametrize(("model", "size"), [("vit_tiny_patch16_224", 8), ("test_vit", 65)])
def test_a_size_that_a_network_cannot_take_is_refused_when_it_is_built(model: str, size: int, build: Build) -> None:
    with pytest.raises(BackboneError, match=f"{size} px") as caught:
        build(model, size=size, options={"depth": 1})
    assert "patch" in caught.value.remedy


def test_a_saved_classifier_is_read_back_as_knowledge(build: Build, tmp_path: Path) -> None:
    backbone = build().backbone
    assert isinstance(backbone, TimmBackbone)
    head = nn.Linear(backbone.feature_dim, 7)
    path = tmp_path / "new" / "classifier.safetensors"
    save_classifier(backbone, head, path)
    again = build(weights=path)
    assert again.knowledge is not None
    feature = torch.randn(2, backbone.feature_dim)
    assert torch.allclose(again.knowledge(feature), head(feature))
    for name, value in backbone.net.state_dict().items():
        assert torch.equal(again.backbone.net.state_dict()[name], value), name


def test_a_classifier_that_cannot_be_written_is_an_error(build: Build, tmp_path: Path) -> None:
    backbone = build().backbone
    assert isinstance(backbone, TimmBackbone)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_classifier(backbone, nn.Linear(backbone.feature_dim, 2), tmp_path / "file" / "w.safetensors")
