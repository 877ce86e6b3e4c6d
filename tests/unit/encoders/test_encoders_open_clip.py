"""Backbones of open_clip, from a file of weights and from nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from sbka_milvus.encoders.backbones import BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.open_clip_backbone import OpenClipBackbone
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BackboneError


@pytest.fixture
def state(clip_weights: Path) -> dict[str, torch.Tensor]:
    return load_file(clip_weights)


def build(spec: BackboneSpec, weights: Path | None = None, *, know: bool = False, **arguments: Any) -> BuiltBackbone:
    return build_backbone(BuildRequest(spec, weights, pretrained=False, **arguments), with_knowledge=know)


def test_the_feature_is_what_encode_image_gives(clip_spec: BackboneSpec, clip_weights: Path) -> None:
    built = build(clip_spec, clip_weights)
    assert isinstance(built.backbone, OpenClipBackbone)
    assert built.backbone.feature_dim == 32
    assert built.knowledge is None
    whole = open_clip.create_model(clip_spec.model, load_weights=False)
    whole.load_state_dict(load_file(clip_weights))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(built.backbone.eval()(pixels), whole.eval().encode_image(pixels), atol=1e-6)


def test_preprocessing_is_open_clip_s_own(clip_spec: BackboneSpec, clip_weights: Path) -> None:
    prepare = build(clip_spec, clip_weights).backbone.preprocessing
    assert (prepare.size, prepare.interpolation, prepare.fit) == (32, "bicubic", "crop")
    assert prepare.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    assert prepare.std == pytest.approx(open_clip.OPENAI_DATASET_STD)
    assert build(clip_spec, clip_weights, overrides={"fit": "squash"}).backbone.preprocessing.fit == "squash"


def test_another_size_has_its_positions_resampled(clip_spec: BackboneSpec, clip_weights: Path) -> None:
    backbone = build(clip_spec, clip_weights, size=64).backbone.eval()
    assert backbone.preprocessing.size == 64
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 32)


def test_the_image_tower_alone_is_enough_and_knows_no_classes(
    clip_spec: BackboneSpec, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    tower = {name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")}
    save_file(tower, tmp_path / "tower.safetensors")
    built = build(clip_spec, tmp_path / "tower.safetensors", know=True)
    assert built.knowledge is None, "its text tower is random"
    for name, value in tower.items():
        assert torch.equal(built.backbone.net.state_dict()[name], value), name


def test_random_weights_know_no_classes(clip_spec: BackboneSpec) -> None:
    assert build(clip_spec, know=True).knowledge is None


@pytest.mark.parametrize("save", [torch.save, lambda state, path: torch.save({"state_dict": state}, path)])
def test_a_torch_file_is_read_too(
    save: Callable[..., None], clip_spec: BackboneSpec, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save(state, tmp_path / "clip.pt")
    backbone = build(clip_spec, tmp_path / "clip.pt").backbone
    assert torch.equal(backbone.net.state_dict()["proj"], state["visual.proj"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("visual.proj"), "visual.proj"),
        (lambda state: state.pop("logit_scale"), "logit_scale"),
        (lambda state: state.pop("visual.positional_embedding"), "positional_embedding"),
        (lambda state: state.update({"visual.extra": torch.ones(1)}), "visual.extra"),
        (lambda state: state.update({"visual.proj": torch.ones(64, 16)}), "visual.proj"),
        (lambda state: [state.pop(name) for name in list(state) if name.startswith("visual.")], "do not fit"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: Callable[[dict[str, torch.Tensor]], Any],
    problem: str,
    clip_spec: BackboneSpec,
    state: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    change(state)
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    with pytest.raises(BackboneError, match=problem) as caught:
        build(clip_spec, path)
    assert f"The weights {path} do not fit {clip_spec}" in caught.value.problem
    assert "the open_clip model that the file was made from" in caught.value.remedy


def test_weights_whose_name_does_not_tell_their_form_are_refused(
    clip_spec: BackboneSpec, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(state, tmp_path / "clip.weights")
    with pytest.raises(BackboneError, match=r"clip\.weights") as caught:
        build(clip_spec, tmp_path / "clip.weights")
    assert "safetensors" in caught.value.remedy


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("model", ["ViT-B-33", "hf-hub:someone", "local-dir:somewhere", "nothing"])
def test_an_unknown_model_is_refused(model: str) -> None:
    with pytest.raises(BackboneError, match=f"open_clip knows no model '{model}'") as caught:
        build_backbone(BuildRequest(BackboneSpec("open_clip", model)))
    assert "Similar names" in caught.value.remedy
    assert ("ViT-B-32" in caught.value.remedy) == model.startswith("ViT")


@pytest.mark.parametrize("tag", ["", "laion9b"])
def test_a_missing_or_unknown_tag_is_answered_with_those_there_are(tag: str) -> None:
    with pytest.raises(BackboneError) as caught:
        build_backbone(BuildRequest(BackboneSpec("open_clip", "ViT-B-32", tag)))
    assert "laion2b_s34b_b79k" in caught.value.remedy


def test_an_unknown_option_is_refused(clip_spec: BackboneSpec) -> None:
    with pytest.raises(BackboneError, match="open_clip cannot build") as caught:
        build(clip_spec, options={"colour": "red"})
    assert "options" in caught.value.remedy


def test_a_knowledge_head_of_one_s_own_names(clip_spec: BackboneSpec, clip_weights: Path) -> None:
    names = ("tabby cat", "espresso")
    request = BuildRequest(clip_spec, clip_weights)
    head = build_backbone(request, with_knowledge=True, names=names).knowledge
    assert head is not None
    assert head.names == names
    assert head.scale == pytest.approx(load_file(clip_weights)["logit_scale"].exp().item())
    whole = open_clip.create_model(clip_spec.model, load_weights=False)
    whole.load_state_dict(load_file(clip_weights))
    tokenise = open_clip.get_tokenizer(clip_spec.model)
    for number, name in enumerate(names):
        sentences = [template(name) for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
        assert any(name in sentence for sentence in sentences)
        with torch.inference_mode():
            mean = whole.eval().encode_text(tokenise(sentences), normalize=True).mean(dim=0)
        assert torch.allclose(head.weight[number], mean / mean.norm(), atol=1e-5), name


def test_names_are_read_by_a_text_tower_alone(clip_spec: BackboneSpec) -> None:
    names = ("cat", "dog")
    timm_request = BuildRequest(BackboneSpec("timm", "test_resnet"), pretrained=False)
    assert build_backbone(timm_request, with_knowledge=True, names=names).knowledge is None
    assert build_backbone(BuildRequest(clip_spec, pretrained=False), with_knowledge=True, names=names).knowledge is None


def test_no_tower_is_fetched_from_a_hub_where_no_weights_were_asked_for(
    clip_spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open_clip would fetch weights of a text tower that another library makes, also where a file brings its own."""
    asked: list[Any] = []
    create = open_clip.create_model

    def noted(*arguments: Any, **options: Any) -> Any:
        asked.append((options["pretrained_text"], options["load_weights"]))
        return create(*arguments, **options)

    monkeypatch.setattr(open_clip, "create_model", noted)
    build(clip_spec)
    assert asked == [(False, False)]
