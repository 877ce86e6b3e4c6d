"""Names of backbones."""

from __future__ import annotations

import pytest

from sbka_milvus.encoders.spec import DEFAULT_BACKBONE, BackboneSpec
from sbka_milvus.errors import BackboneError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("timm:mobilenetv2_100", ("timm", "mobilenetv2_100", "")),
        ("timm:test_resnet/r160_in1k", ("timm", "test_resnet", "r160_in1k")),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", ("open_clip", "ViT-B-32", "laion2b_s34b_b79k")),
        ("open_clip:ViT-B-32/a/b", ("open_clip", "ViT-B-32", "a/b")),
    ],
)
def test_a_name_is_read_and_written_back(text: str, parts: tuple[str, str, str]) -> None:
    spec = BackboneSpec.parse(text)
    assert (spec.library, spec.model, spec.tag) == parts
    assert str(spec) == text


@pytest.mark.parametrize(
    "text", ["", "timm", "timm:", "timm:/tag", "mobilenetv2_100", "torchvision:resnet18", "TIMM:a"]
)
def test_another_form_or_library_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BackboneError) as caught:
        BackboneSpec.parse(text)
    assert repr(text) in caught.value.problem
    assert "open_clip and timm" in caught.value.remedy
    assert DEFAULT_BACKBONE in caught.value.remedy


def test_the_default_backbone_is_a_name_with_weights() -> None:
    assert BackboneSpec.parse(DEFAULT_BACKBONE).tag
