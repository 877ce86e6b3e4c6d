"""The encoder that serves, and the precision it chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sbka_milvus.encoders.backbones import Backbone, BuiltBackbone
from sbka_milvus.encoders.bundle import BundleNotes, ModelBundle, save_bundle
from sbka_milvus.encoders.encoder import MEASURE_FROM, BundleEncoder
from sbka_milvus.encoders.precision import (
    BF16,
    FP32,
    MIN_COSINE,
    Precision,
    choose_precision,
    resolve_device,
    training_precision,
)
from sbka_milvus.errors import InvalidValue, SettingsError
from sbka_milvus.factory import open_encoder
from sbka_milvus.settings import Settings
from sbka_milvus.types import FloatArray

CPU = torch.device("cpu")
Pictures = Callable[[int], list[Image.Image]]
ByHand = Callable[..., Backbone]


def served(backbone: Backbone, folder: Path) -> ModelBundle:
    return save_bundle(backbone, BundleNotes("by hand"), folder / "model")


class Spoilt(torch.nn.Module):
    """Slow in fp32 and quick under autocast, by a clock of its own; there ``spoil`` may change what comes out."""

    def __init__(self, backbone: Backbone, spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.backbone = backbone
        self.spoil = spoil
        self.now = 0.0

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.backbone(pixels)
        quick = torch.is_autocast_enabled("cpu")
        self.now += 0.1 if quick else 1.0
        return self.spoil(vectors.float()) if quick else vectors

    def chosen(self) -> Precision:
        return choose_precision(self, CPU, 8, clock=lambda: self.now)


@pytest.mark.parametrize("encode", [BundleEncoder.encode_photos, BundleEncoder.encode_sketches])
def test_vectors_are_unit_rows_of_float32(
    encode: Callable[[BundleEncoder, list[Image.Image]], FloatArray],
    build: Callable[..., BuiltBackbone],
    pictures: Pictures,
    tmp_path: Path,
) -> None:
    encoder = BundleEncoder(served(build().backbone, tmp_path), device="cpu")
    vectors = encode(encoder, pictures(5))
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, encoder.dim)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert encoder.fingerprint == encoder.bundle.fingerprint
    assert encoder.input_size == 64


def test_sketches_and_photos_share_one_network(by_hand: ByHand, pictures: Pictures, tmp_path: Path) -> None:
    encoder = BundleEncoder(served(by_hand(), tmp_path), device="cpu")
    assert np.array_equal(encoder.encode_photos(pictures(3)), encoder.encode_sketches(pictures(3)))


def test_the_batch_size_does_not_change_a_vector(
    build: Callable[..., BuiltBackbone], pictures: Pictures, tmp_path: Path
) -> None:
    bundle = served(build().backbone, tmp_path)
    whole, *others = (
        BundleEncoder(bundle, device="cpu", batch_size=size).encode_photos(pictures(7)) for size in (7, 1, 3, 100)
    )
    for other in others:
        assert np.abs(other - whole).max() < 1e-5


def test_a_row_is_its_picture_s_own(by_hand: ByHand, pictures: Pictures, tmp_path: Path) -> None:
    encoder = BundleEncoder(served(by_hand(), tmp_path), device="cpu", batch_size=2)
    images = pictures(5)
    expected = np.concatenate([encoder.encode_photos([image]) for image in images])
    assert np.allclose(encoder.encode_photos(images), expected, atol=1e-6)
    assert len({tuple(row) for row in expected.round(4).tolist()}) == 5


def test_no_pictures_make_no_vectors(by_hand: ByHand, tmp_path: Path) -> None:
    encoder = BundleEncoder(served(by_hand(), tmp_path), device="cpu")
    vectors = encoder.encode_photos([])
    assert vectors.shape == (0, 4)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_vectors_without_direction_are_refused_in_the_model_s_name(
    value: float, by_hand: ByHand, pictures: Pictures, tmp_path: Path
) -> None:
    backbone = by_hand()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(value)
    with pytest.raises(InvalidValue, match="The model by hand gave vectors without direction"):
        BundleEncoder(served(backbone, tmp_path), device="cpu").encode_photos(pictures(2))


@pytest.mark.parametrize("name", ["abacus", "", "meta", "cuda:999"])
def test_a_device_that_is_not_there_is_refused(name: str, by_hand: ByHand, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        BundleEncoder(served(by_hand(), tmp_path), device=name)
    assert repr(name) in caught.value.problem
    assert "auto" in caught.value.remedy


def test_auto_is_a_device_that_is_there() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_precisions_are_named() -> None:
    assert [str(one) for one in (FP32, BF16, Precision(channels_last=True))] == [
        "fp32",
        "bfloat16 channels_last",
        "fp32 channels_last",
    ]


@pytest.mark.parametrize("precision", [FP32, BF16, Precision(channels_last=True)])
def test_every_precision_gives_float32_near_to_fp32_s(
    precision: Precision, build: Callable[..., BuiltBackbone]
) -> None:
    backbone = build().backbone.eval()
    pixels = torch.randn(4, 3, 64, 64)
    with torch.inference_mode():
        vectors = precision.run(backbone, pixels)
        cosines = torch.nn.functional.cosine_similarity(vectors, backbone(pixels))
    assert vectors.dtype == torch.float32
    assert cosines.min() > MIN_COSINE


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a processor that computes in bf16."""
    monkeypatch.setattr("sbka_milvus.encoders.precision.cpu_computes_bf16", lambda: True)


@pytest.mark.usefixtures("with_bf16")
def test_a_fast_format_is_chosen_where_it_keeps_the_vectors(by_hand: ByHand) -> None:
    assert Spoilt(by_hand(), lambda vectors: vectors).chosen() == BF16


def test_a_format_that_the_processor_must_imitate_is_not_tried(
    by_hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbka_milvus.encoders.precision.cpu_computes_bf16", lambda: False)
    assert Spoilt(by_hand(), lambda vectors: vectors).chosen().autocast is None


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda vectors: vectors + 0.1 * torch.tensor([1.0, -1.0, 1.0, -1.0]),
        lambda vectors: vectors * float("nan"),
        lambda vectors: vectors * float("inf"),
        torch.zeros_like,
    ],
)
def test_a_fast_format_that_ruins_the_vectors_is_passed_over(
    spoil: Callable[[torch.Tensor], torch.Tensor], by_hand: ByHand
) -> None:
    assert Spoilt(by_hand(), spoil).chosen().autocast is None


@pytest.mark.usefixtures("with_bf16")
def test_the_precision_is_measured_once_enough_pictures_came(
    by_hand: ByHand, pictures: Pictures, tmp_path: Path
) -> None:
    backbone = by_hand()
    # So few that they are not cut in one way after the other.
    encoder = BundleEncoder(served(backbone, tmp_path), device="cpu", batch_size=8)
    called = watch(backbone)
    few = encoder.encode_photos(pictures(3))
    assert called == [False]
    many = encoder.encode_photos(pictures(MEASURE_FROM))
    assert True in called, "formats were tried"
    tried = len(called)
    encoder.encode_photos(pictures(MEASURE_FROM))
    assert len(called) == tried + MEASURE_FROM // 8, "and are not tried again"
    assert (few * many[:3]).sum(axis=1).min() > MIN_COSINE


def test_batches_cut_in_pieces_have_the_same_vectors(by_hand: ByHand, pictures: Pictures, tmp_path: Path) -> None:
    encoder = BundleEncoder(served(by_hand(), tmp_path), device="cpu", precision=FP32, batch_size=32)
    first = encoder.encode_photos(pictures(32))
    assert encoder._pieces is not None
    while encoder._pieces.size is None:
        np.testing.assert_allclose(encoder.encode_photos(pictures(32)), first, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_photos(pictures(32)), first, atol=1e-6)


@pytest.mark.usefixtures("with_bf16")
def test_small_batches_count_together(by_hand: ByHand, pictures: Pictures, tmp_path: Path) -> None:
    backbone = by_hand()
    encoder = BundleEncoder(served(backbone, tmp_path), device="cpu")
    called = watch(backbone)
    encoder.encode_photos(pictures(MEASURE_FROM // 2))
    assert True not in called
    encoder.encode_photos(pictures(MEASURE_FROM // 2))
    assert True in called, "an ingest sends one small batch after the other"


def test_a_given_precision_is_used_as_it_is(by_hand: ByHand, pictures: Pictures, tmp_path: Path) -> None:
    backbone = by_hand()
    encoder = BundleEncoder(served(backbone, tmp_path), device="cpu", precision=BF16, batch_size=MEASURE_FROM)
    called = watch(backbone)
    encoder.encode_photos(pictures(MEASURE_FROM))
    assert called == [True]


@pytest.mark.parametrize(("name", "autocast"), [("fp32", False), ("bf16", True)])
def test_the_setting_says_in_which_precision_it_serves(
    name: str, autocast: bool, by_hand: ByHand, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = by_hand()
    bundle = served(backbone, tmp_path)
    monkeypatch.setattr("sbka_milvus.encoders.bundle.load_bundle", lambda folder: bundle)
    settings = Settings.model_validate({"precision": name, "ingest": {"batch_size": MEASURE_FROM}})
    encoder = open_encoder(bundle.path, settings)
    called = watch(backbone)
    encoder.encode_photos(pictures(MEASURE_FROM))
    assert called == [autocast], "nothing is measured"


def watch(backbone: Backbone) -> list[bool]:
    called: list[bool] = []
    backbone.register_forward_hook(lambda *_: called.append(torch.is_autocast_enabled("cpu")))
    return called


@pytest.mark.parametrize(("bf16", "amx"), [(False, False), (True, False), (False, True)])
def test_trainings_take_bf16_only_where_the_processor_has_it(
    bf16: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # oneDNN says yes on every processor with AVX-512, and then computes in fp32 and converts.
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert (training_precision(CPU) == BF16) is (bf16 or amx)
