"""What a user reads where weights cannot be fetched."""

from __future__ import annotations

import pytest

from sbka_milvus.encoders.backbones import BuildRequest, build_backbone
from sbka_milvus.encoders.hub import explain_hub_failure
from sbka_milvus.encoders.spec import DEFAULT_BACKBONE, BackboneSpec
from sbka_milvus.errors import BackboneError, HubUnavailable

SPEC = BackboneSpec.parse("timm:test_resnet/r160_in1k")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit/r160_in1k", DEFAULT_BACKBONE])
def test_a_hub_that_cannot_be_reached_leaves_two_ways(name: str) -> None:
    with pytest.raises(HubUnavailable) as caught:
        build_backbone(BuildRequest(BackboneSpec.parse(name)))
    assert name in caught.value.problem
    assert "connect this machine" in caught.value.remedy
    assert f"--backbone {name.partition('/')[0]} --weights FILE" in caught.value.remedy


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("refused"),
        TimeoutError("timed out"),
        FileNotFoundError("model.safetensors"),
        RuntimeError("Failed to download weights for tag 'openai'"),
        RuntimeError("HTTPSConnectionPool: Max retries exceeded"),
    ],
)
def test_failures_of_the_network_are_told_by_their_words(error: Exception) -> None:
    assert isinstance(explain_hub_failure(SPEC, error), HubUnavailable)


def test_the_cause_of_a_failure_counts_too() -> None:
    try:
        try:
            raise ValueError("SSL certificate problem")
        except ValueError as cause:
            raise RuntimeError("no weights") from cause
    except RuntimeError as error:
        assert isinstance(explain_hub_failure(SPEC, error), HubUnavailable)


@pytest.mark.parametrize(
    ("error", "words"), [(RuntimeError("Width is odd.\nMore."), "Width is odd."), (RuntimeError(), "RuntimeError.")]
)
def test_any_other_failure_keeps_the_library_s_words(error: Exception, words: str) -> None:
    explained = explain_hub_failure(SPEC, error)
    assert type(explained) is BackboneError
    assert explained.problem == f"{SPEC} cannot be built: {words}"
