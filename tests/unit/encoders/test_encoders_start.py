"""Backbones that start from a model: its weights, its way of preparing pictures, and what cannot be a start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sbka_milvus.encoders.backbones import BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import WEIGHTS_FILE, BundleNotes, save_bundle
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.start import read_start
from sbka_milvus.errors import BackboneError, BundleError

Build = Callable[..., BuiltBackbone]
SPEC = BackboneSpec("timm", "test_efficientnet")


@pytest.fixture
def model(build: Build, tmp_path: Path) -> Path:
    """A model that prepares its pictures in a way of its own."""
    backbone = build(
        SPEC.model, size=96, options={"pad_type": "same"}, overrides={"mean": (0.1, 0.2, 0.3), "fit": "squash"}
    ).backbone
    return save_bundle(backbone, BundleNotes("model"), tmp_path / "model").path or tmp_path


def test_it_has_the_model_s_weights_and_looks_at_pictures_as_the_model_does(model: Path) -> None:
    built = build_backbone(BuildRequest(SPEC, model))
    start = read_start(model, SPEC)
    assert built.knowledge is None, "bundles keep no heads"
    for name, value in built.backbone.net.state_dict().items():
        assert torch.equal(value, start.state[name]), name
    prepared = built.backbone.preprocessing
    assert (prepared.size, prepared.mean, prepared.fit) == (96, (0.1, 0.2, 0.3), "squash")
    assert built.backbone.options == {"pad_type": "same"}


def test_what_is_asked_for_wins(model: Path) -> None:
    backbone = build_backbone(BuildRequest(SPEC, model, size=64, overrides={"fit": "crop"})).backbone
    assert (backbone.preprocessing.size, backbone.preprocessing.fit) == (64, "crop")


def test_a_student_starts_as_the_first_levels_of_its_teacher(model: Path) -> None:
    teacher = build_backbone(BuildRequest(SPEC, model)).backbone.eval()
    student = build_backbone(BuildRequest(SPEC, model, options={"levels": 3})).backbone.eval()
    pictures = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        made = teacher.net.forward_intermediates(pictures, indices=[2], intermediates_only=True)[0]
        assert torch.allclose(student(pictures), made.mean(dim=(2, 3)), atol=1e-6)
    assert student.options == {"pad_type": "same", "levels": 3}


def test_another_network_cannot_start_from_it(model: Path) -> None:
    with pytest.raises(BackboneError, match=r"is of timm:test_efficientnet, so that timm:test_resnet cannot") as caught:
        build_backbone(BuildRequest(BackboneSpec("timm", "test_resnet"), model))
    assert "timm:test_efficientnet" in caught.value.remedy


def test_a_tag_does_not_matter(model: Path) -> None:
    assert read_start(model, BackboneSpec("timm", SPEC.model, "r160_in1k")).size == 96


def test_a_model_that_was_cut_is_no_start(build: Build, tmp_path: Path) -> None:
    save_bundle(build(SPEC.model, options={"levels": 2}).backbone, BundleNotes("cut"), tmp_path / "cut")
    with pytest.raises(BackboneError, match="with levels=2: no backbone can start from it"):
        build_backbone(BuildRequest(SPEC, tmp_path / "cut"))


def test_a_folder_without_a_model_and_a_damaged_one_are_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="is no model bundle"):
        build_backbone(BuildRequest(SPEC, tmp_path / "empty"))
    weights = model / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match="damaged"):
        build_backbone(BuildRequest(SPEC, model))


def test_a_clip_tower_starts_from_a_file_alone(clip_spec: BackboneSpec, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="is a folder"):
        build_backbone(BuildRequest(clip_spec, tmp_path))
