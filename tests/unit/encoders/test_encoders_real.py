"""The real MobileNetV2, where it is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sbka_milvus.encoders.backbones import BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.images import list_images, load_photo

pytestmark = pytest.mark.real_data

AIRPLANES = {404, 895, 908}  # airliner, warplane, wing
CASES = [("airplane", AIRPLANES, 0.7), ("zebra", {340}, 0.95), ("banana", {954}, 0.6), ("teapot", {849, 505}, 0.75)]


@pytest.fixture(scope="module")
def mobilenet(real_data: Path) -> BuiltBackbone:
    weights = real_data / "weights" / "mobilenetv2_100_imagenet1k.safetensors"
    built = build_backbone(BuildRequest(BackboneSpec("timm", "mobilenetv2_100"), weights))
    built.backbone.eval()
    return built


def test_it_is_taken_as_tensorflow_s(mobilenet: BuiltBackbone) -> None:
    assert mobilenet.backbone.feature_dim == 1280
    assert mobilenet.backbone.options == {"pad_type": "same"}
    assert mobilenet.backbone.preprocessing.mean == mobilenet.backbone.preprocessing.std == (0.5, 0.5, 0.5)
    assert mobilenet.knowledge is not None
    assert mobilenet.knowledge.n_classes == 1000


@pytest.mark.parametrize(("category", "known", "share"), CASES)
def test_its_knowledge_head_recognises_photos(
    category: str, known: set[int], share: float, mobilenet: BuiltBackbone, real_data: Path
) -> None:
    backbone = mobilenet.backbone
    photos = [load_photo(image.path) for image in list_images(real_data / "sketchy-mini" / "photos", [category])]
    assert mobilenet.knowledge is not None
    with torch.inference_mode():
        features = backbone(backbone.preprocessing.scale(backbone.preprocessing.stack(photos)))
        best = mobilenet.knowledge(features).argmax(dim=1).tolist()
    assert sum(number in known for number in best) / len(best) >= share, best
