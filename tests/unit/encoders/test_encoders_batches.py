"""Whether batches go through a graph, and that it changes no vector."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_clock import Clock
from PIL import Image

from sbka_milvus.encoders import batches
from sbka_milvus.encoders.backbones import Backbone, BuildRequest, build_backbone
from sbka_milvus.encoders.batches import PIECE, BatchGraph, choose_graph
from sbka_milvus.encoders.bundle import BundleNotes, save_bundle
from sbka_milvus.encoders.encoder import MEASURE_FROM, BundleEncoder
from sbka_milvus.encoders.pieces import WHOLE, Pieces
from sbka_milvus.encoders.precision import BF16, CHANNELS_LAST, FP32, MIN_COSINE, Precision
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.encoders.waiting import WaitingEncoder

ByHand = Callable[..., Backbone]
Pictures = Callable[[int], list[Image.Image]]


def chosen(
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    first: Callable[[torch.Tensor], torch.Tensor],
    second: Callable[[torch.Tensor], torch.Tensor],
    seconds: tuple[float, float, float] = (1.0, 0.85, 0.8),
) -> BatchGraph | None:
    """What is taken of a network and two graphs, which take so many seconds a call."""
    clock = Clock()
    plain = backbone.eval().forward

    def making(taken: float, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        return lambda net, pixels: clock.taking(taken, lambda some: change(plain(some)))

    makers = {"the first": making(seconds[1], first), "the second": making(seconds[2], second)}
    monkeypatch.setattr(batches, "_makers", lambda: makers)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    backbone.forward = clock.taking(seconds[0], plain)  # type: ignore[method-assign]
    pixels = torch.randn((PIECE, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return choose_graph(backbone, FP32, pixels, Pieces(clock), clock)


def same(vectors: torch.Tensor) -> torch.Tensor:
    return vectors


def broken(vectors: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("not for graphs")


def test_the_fastest_graph_is_taken(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(by_hand(), monkeypatch, same, same)
    assert found is not None
    assert (found.name, found.size) == ("the second", PIECE)
    assert (found.gain, found.cosine) == (pytest.approx(1.25), pytest.approx(1.0))
    found = chosen(by_hand(), monkeypatch, same, same, (1.0, 0.8, 0.85))
    assert found is not None and found.name == "the first"


def test_where_one_is_much_faster_no_other_is_tried(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(by_hand(), monkeypatch, same, same, (1.0, 0.5, 0.1))
    assert found is not None and (found.name, found.gain) == ("the first", pytest.approx(2.0))


def test_where_cores_are_more_than_pieces_a_graph_may_take_whole_batches(
    by_hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def making(net: Backbone, pixels: torch.Tensor) -> Any:
        made.append(len(pixels))
        return net

    monkeypatch.setattr(batches, "_makers", lambda: {"a graph": making})
    monkeypatch.setattr(batches, "ENOUGH", float("inf"))
    pieces = Pieces()
    monkeypatch.setattr(pieces, "run", lambda work, batch, size: work(batch))
    for cores, sizes in ((2, [PIECE]), (4, [PIECE, 2 * PIECE])):
        made.clear()
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        choose_graph(by_hand(), FP32, torch.zeros(2 * PIECE, 3, 8, 8), pieces)
        assert made == sizes


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="the processor does not multiply 8 bits")
def test_a_transformer_goes_through_8_bits(clip_spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MIN_GAIN", 0.0)
    monkeypatch.setattr(batches, "ENOUGH", 0.0)
    torch.manual_seed(0)
    backbone = build_backbone(BuildRequest(clip_spec, pretrained=False)).backbone.eval()
    size = backbone.preprocessing.size
    found = choose_graph(backbone, FP32, torch.randn(16, 3, size, size), Pieces())
    assert found is not None and "8 bits" in found.name
    assert MIN_COSINE <= found.cosine < 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        broken,
        torch.zeros_like,
        lambda vectors: vectors * float("nan"),
        lambda vectors: vectors + 0.1 * vectors.norm(dim=1, keepdim=True) * torch.tensor([1.0, -1.0, 1.0, -1.0]),
    ],
)
def test_one_that_fails_or_changes_the_vectors_is_passed_over(
    by_hand: ByHand, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    found = chosen(by_hand(), monkeypatch, same, spoil)
    assert found is not None and found.name == "the first"
    assert chosen(by_hand(), monkeypatch, spoil, spoil) is None


def test_one_that_is_hardly_faster_is_not_taken(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(by_hand(), monkeypatch, same, same, (1.0, 0.95, 0.95)) is None


def served(backbone: Backbone, folder: Path, **options: Any) -> BundleEncoder:
    return BundleEncoder(save_bundle(backbone, BundleNotes("by hand"), folder / "model"), device="cpu", **options)


def until_known(encoder: BundleEncoder, pictures: Pictures) -> None:
    """Encodes so many that it is known how batches are encoded fastest."""
    encoder.encode_photos(pictures(MEASURE_FROM))
    encoder.encode_photos(pictures(32))


def test_batches_go_through_a_graph_and_keep_their_vectors(
    by_hand: ByHand, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MIN_GAIN", 0.0)
    encoder = served(by_hand(), tmp_path)
    images = pictures(39)
    plain = served(encoder.bundle.backbone, tmp_path / "other", precision=FP32).encode_photos(images)
    until_known(encoder, pictures)
    graph = encoder.graph
    assert graph is not None
    assert graph.cosine >= MIN_COSINE
    taken: list[int] = []
    counted = replace(graph, run=lambda pixels: (taken.append(len(pixels)), graph.run(pixels))[1])
    monkeypatch.setattr(encoder, "_graph", counted)
    cosines = np.einsum("nd,nd->n", encoder.encode_photos(images), plain)
    assert cosines.min() >= MIN_COSINE
    # What is left over of a batch goes through the layers.
    assert set(taken) == {graph.size}
    assert sum(taken) == (32 // graph.size) * graph.size + (7 // graph.size) * graph.size


def test_it_is_looked_for_once_and_not_where_the_precision_is_given(
    by_hand: ByHand, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Precision] = []

    def none(backbone: Backbone, precision: Precision, *_: Any) -> None:
        asked.append(precision)

    monkeypatch.setattr("sbka_milvus.encoders.encoder.choose_graph", none)
    encoder = served(by_hand(), tmp_path)
    encoder.encode_photos(pictures(3))
    assert asked == []
    until_known(encoder, pictures)
    encoder.encode_photos(pictures(64))
    assert len(asked) == 1 and encoder.graph is None
    for precision in (FP32, BF16):
        given = served(by_hand(), tmp_path / str(precision), precision=precision)
        for _ in range(12):
            given.encode_photos(pictures(32))
        assert given.graph is None
    assert len(asked) == 1


def test_where_many_photos_are_expected_it_is_found_out_at_once(
    by_hand: ByHand, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "sbka_milvus.encoders.encoder.choose_precision", lambda *_: (asked.append(1), Precision(channels_last=True))[1]
    )
    for expected, count in ((MEASURE_FROM - 1, 0), (MEASURE_FROM, 1)):
        encoder = served(by_hand(), tmp_path / str(expected))
        waiting = WaitingEncoder(encoder.bundle.manifest, lambda encoder=encoder: encoder)
        waiting.expect(expected)
        waiting.encode_photos(pictures(3))
        assert len(asked) == count


def test_several_batches_at_once_are_wanted_once_each_core_has_pieces_of_its_own(
    by_hand: ByHand, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MIN_GAIN", 0.0)
    encoder = served(by_hand(), tmp_path)
    waiting = WaitingEncoder(encoder.bundle.manifest, lambda: encoder)
    assert (waiting.batches_at_once, encoder.batches_at_once) == (1, 1)
    until_known(encoder, pictures)
    assert encoder.graph is not None
    # Where all cores share a batch, two of them would be in each other's way.
    for size, wanted in ((8, 2), (WHOLE, 1)):
        monkeypatch.setattr(encoder, "_graph", replace(encoder.graph, size=size))
        assert (waiting.batches_at_once, encoder.batches_at_once) == (1, wanted)
    monkeypatch.setattr(encoder, "_graph", replace(encoder.graph, size=8))
    images = pictures(64)
    with ThreadPoolExecutor(2) as pool:
        found = np.concatenate(list(pool.map(encoder.encode_photos, (images[:32], images[32:]))))
    np.testing.assert_array_equal(found, encoder.encode_photos(images))
    waiting.load()
    assert waiting.batches_at_once == 2


def test_where_a_graph_is_taken_layouts_are_not_compared(
    by_hand: ByHand, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("sbka_milvus.encoders.precision.cpu_computes_bf16", lambda: False)
    monkeypatch.setattr("sbka_milvus.encoders.encoder.choose_precision", lambda *_: (asked.append(1), CHANNELS_LAST)[1])
    for gain, count in ((0.0, 0), (1e9, 1)):
        asked.clear()
        monkeypatch.setattr(batches, "MIN_GAIN", gain)
        encoder = served(by_hand(), tmp_path / str(gain))
        until_known(encoder, pictures)
        assert (len(asked), encoder.graph is None) == (count, bool(count))
        assert encoder._precision == CHANNELS_LAST


@pytest.mark.parametrize(("seconds", "rounds"), [((1.0, 0.5, 0.5), 1), ((1.0, 0.85, 0.85), 2)])
def test_a_graph_that_is_fast_enough_is_timed_once(
    seconds: tuple[float, float, float], rounds: int, by_hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    graph = chosen(by_hand(), monkeypatch, lambda some: (encoded.append(len(some)), some)[1], same, seconds)
    assert graph is not None
    assert encoded == [PIECE] * rounds
