"""How single sketches are encoded, and that it changes no vector."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_clock import Clock
from PIL import Image, ImageDraw

from sbka_milvus.encoders import graphs, single
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, BuiltBackbone, build_backbone
from sbka_milvus.encoders.bundle import BundleNotes, save_bundle
from sbka_milvus.encoders.encoder import FEW, PREPARE_FROM, BundleEncoder
from sbka_milvus.encoders.precision import FP32, MIN_COSINE
from sbka_milvus.encoders.quantised import EightBitLinear, EightBitRows, quantise
from sbka_milvus.encoders.single import SingleWay, choose_single, sample_sketches
from sbka_milvus.encoders.spec import BackboneSpec

ByHand = Callable[..., Backbone]
Build = Callable[..., BuiltBackbone]


def sketches(count: int) -> list[Image.Image]:
    drawn = []
    for number in range(count):
        picture = Image.new("RGB", (64, 64), "white")
        ends = np.random.default_rng(number).integers(4, 60, (4, 2)).tolist()
        ImageDraw.Draw(picture).line([tuple(end) for end in ends], fill="black", width=2)
        drawn.append(picture)
    return drawn


def served(backbone: Backbone, folder: Path, **arguments: Any) -> BundleEncoder:
    bundle = save_bundle(backbone, BundleNotes("by hand"), folder / "model")
    return BundleEncoder(bundle, device="cpu", **arguments)


def ways(
    monkeypatch: pytest.MonkeyPatch, **makers: Callable[[Backbone], Callable[[torch.Tensor], torch.Tensor]]
) -> None:
    made = {name: lambda backbone, sample, make=make: make(backbone) for name, make in makers.items()}
    monkeypatch.setattr(single, "_makers", lambda: made)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def slow(backbone: Backbone, clock: Clock) -> Backbone:
    plain = backbone.forward
    backbone.forward = clock.taking(1.0, plain)  # type: ignore[method-assign]
    return backbone.eval()


def test_the_fastest_way_that_keeps_the_vectors_is_taken(
    by_hand: ByHand, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Backbone) -> Any:
        raise RuntimeError("cannot be done with this network")

    ways(
        monkeypatch,
        broken=broken,
        ruined=lambda net: clock.taking(0.1, lambda pixels: net.net(pixels).flip(1)),
        nan=lambda net: clock.taking(0.1, lambda pixels: net.net(pixels) * float("nan")),
        slower=lambda net: clock.taking(1.2, net.net),
        quick=lambda net: clock.taking(0.8, net.net),
        quicker=lambda net: clock.taking(0.5, net.net),
        never=broken,
    )
    way = choose_single(slow(by_hand(), clock), clock)
    assert way is not None
    assert way.name == "quicker"
    assert way.gain == pytest.approx(2.0)
    assert way.cosine == pytest.approx(1.0)


def test_what_gains_next_to_nothing_is_not_taken(
    by_hand: ByHand, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways(monkeypatch, same=lambda net: clock.taking(0.95, net.net))
    assert choose_single(slow(by_hand(), clock), clock) is None


@pytest.mark.parametrize("make", [single._graph, *graphs.FUSED.values()])
@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_graph_gives_the_network_s_features(make: Any, model: str, build: Build) -> None:
    size = 160 if model == "test_vit" else 64
    backbone = build(model, size=size).backbone.eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    run = make(backbone, sample_sketches(backbone)[0])
    with torch.inference_mode():
        for sample in sample_sketches(backbone):
            made, wanted = run(sample), backbone(sample)
            assert made.dtype == torch.float32
            assert torch.allclose(made, wanted, atol=1e-3 * float(wanted.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]


def test_two_that_are_fused_at_once_leave_others_as_they_were(monkeypatch: pytest.MonkeyPatch, build: Build) -> None:
    inside = threading.Event()

    def slow(*_: Any) -> Any:
        inside.set()
        time.sleep(0.1)

    monkeypatch.setattr(graphs, "frozen", slow)
    backbone = build("test_resnet", size=64).backbone.eval()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(graphs.fused, backbone, torch.empty(0))
        assert inside.wait(10)
        second = pool.submit(graphs.fused, backbone, torch.empty(0))
        first.result()
        second.result()
    assert not torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("linear", [EightBitLinear, EightBitRows])
@pytest.mark.parametrize("options", [{}, {"adapters": 8}, {"prompts": 3}])
def test_transformers_of_clip_keep_their_features_in_8_bits(
    clip_spec: BackboneSpec, options: dict[str, Any], linear: Any
) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(BuildRequest(clip_spec, pretrained=False, options=options)).backbone.eval()
    run = graphs.eight_bits(backbone, sample_sketches(backbone)[0], linear)
    with torch.inference_mode():
        for sample in sample_sketches(backbone):
            cosine = torch.nn.functional.cosine_similarity(run(sample), backbone(sample))
            assert MIN_COSINE <= float(cosine) < 1.0, "it is not the same network once more"


@pytest.mark.parametrize("linear", [EightBitLinear, EightBitRows])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_of_8_bits_is_nearly_the_same(linear: Any, bias: bool) -> None:
    torch.manual_seed(0)
    plain, x = torch.nn.Linear(64, 32, bias=bias), torch.randn(3, 5, 64)
    with torch.inference_mode():
        made, wanted = linear(plain.weight, plain.bias)(x), plain(x)
    assert made.shape == wanted.shape
    assert 0 < float((made - wanted).abs().max()) < 0.02 * float(wanted.abs().max())


def test_one_loud_row_leaves_the_others_as_they_are_where_each_has_its_scale() -> None:
    torch.manual_seed(0)
    plain, x = torch.nn.Linear(64, 32), torch.randn(50, 64)
    x[7] *= 200
    errors = []
    with torch.inference_mode():
        wanted = plain(x)
        for linear in (EightBitLinear, EightBitRows):
            made = linear(plain.weight, plain.bias)(x)
            errors.append(float((made - wanted).abs().median()))
    assert errors[1] < 0.05 * errors[0]
    silent = EightBitRows(plain.weight, plain.bias)(torch.zeros(2, 64))
    torch.testing.assert_close(silent, plain.bias.expand(2, -1))


def test_networks_of_convolutions_are_not_put_into_8_bits(build: Build) -> None:
    with pytest.raises(NotImplementedError, match="too few"):
        quantise(build("test_resnet").backbone)


def test_samples_are_always_the_same_drawings(by_hand: ByHand) -> None:
    one, two = sample_sketches(by_hand(size=32)), sample_sketches(by_hand(size=32))
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
    assert len({tuple(sample.flatten().tolist()) for sample in one}) == len(one) > 1
    assert {tuple(sample.shape) for sample in one} == {(1, 3, 32, 32)}


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The prepared way notes the pictures that it gets, and encodes as the network does."""
    seen: list[int] = []

    def choose(backbone: Backbone) -> SingleWay:
        def run(pixels: torch.Tensor) -> torch.Tensor:
            seen.append(len(pixels))
            made: torch.Tensor = backbone(pixels)
            return made

        return SingleWay("marked", run, 1.0, 2.0)

    monkeypatch.setattr("sbka_milvus.encoders.encoder.choose_single", choose)
    return seen


def test_it_is_prepared_once_enough_searches_came(by_hand: ByHand, marked: list[int], tmp_path: Path) -> None:
    encoder = served(by_hand(), tmp_path)
    for _ in range(PREPARE_FROM - 1):
        encoder.encode_sketches(sketches(1))
    assert (marked, encoder.single_way) == ([], None)
    encoder.encode_sketches(sketches(1))
    assert marked == [1]
    assert encoder.single_way is not None


def test_a_few_sketches_go_one_by_one_and_all_else_does_not(by_hand: ByHand, marked: list[int], tmp_path: Path) -> None:
    encoder = served(by_hand(), tmp_path)
    before = encoder.encode_sketches(sketches(FEW))
    encoder.prepare()
    after = encoder.encode_sketches(sketches(FEW))
    assert marked == [1] * FEW
    assert np.abs(after - before).max() < 1e-5
    assert np.linalg.norm(after, axis=1) == pytest.approx(1.0, abs=1e-5)
    encoder.encode_sketches(sketches(FEW + 1))
    encoder.encode_photos(sketches(1))
    assert encoder.encode_sketches([]).shape == (0, encoder.dim)
    assert len(marked) == FEW


def test_a_precision_that_was_given_holds_for_single_sketches_too(
    by_hand: ByHand, marked: list[int], tmp_path: Path
) -> None:
    encoder = served(by_hand(), tmp_path, precision=FP32)
    encoder.prepare()
    for _ in range(PREPARE_FROM):
        encoder.encode_sketches(sketches(1))
    assert (marked, encoder.single_way) == ([], None)


def test_threads_prepare_once_and_do_not_wait_for_it(
    by_hand: ByHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, calls = threading.Event(), threading.Event(), []

    def choose(_: Backbone) -> None:
        calls.append(1)
        entered.set()
        assert go_on.wait(30)

    monkeypatch.setattr("sbka_milvus.encoders.encoder.choose_single", choose)
    encoder = served(by_hand(), tmp_path)
    thread = threading.Thread(target=encoder.prepare)
    thread.start()
    assert entered.wait(30)
    for _ in range(PREPARE_FROM + 1):
        encoder.encode_sketches(sketches(1))
    go_on.set()
    thread.join()
    encoder.prepare()
    assert len(calls) == 1


@pytest.mark.real_data
def test_real_sketches_keep_their_vectors(real_data: Path, tmp_path: Path) -> None:
    weights = real_data / "weights" / "mobilenetv2_100_imagenet1k.safetensors"
    request = BuildRequest(BackboneSpec.parse("timm:mobilenetv2_100"), weights, size=128)
    encoder = served(build_backbone(request).backbone, tmp_path)
    paths = sorted((real_data / "sketchy-mini" / "sketches").glob("*/*.png"))[::400]
    drawn = [Image.open(path).convert("RGB") for path in paths]
    plain = encoder.encode_sketches(drawn[:FEW])
    encoder._single = SingleWay(
        "a graph", single._graph(encoder._backbone, sample_sketches(encoder._backbone)[0]), 1, 1
    )
    assert (plain * encoder.encode_sketches(drawn[:FEW])).sum(axis=1).min() > MIN_COSINE
