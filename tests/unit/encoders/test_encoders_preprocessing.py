"""From a picture to numbers, worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.errors import InvalidValue

PLAIN: dict[str, Any] = {"size": 2, "mean": (0.5, 0.25, 0.0), "std": (0.25, 0.5, 1.0)}


def grey(rows: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=np.uint8)).convert("RGB")


def test_a_crop_keeps_the_middle_of_the_long_side() -> None:
    wide = grey([[10, 20, 30, 40], [50, 60, 70, 80]])
    pixels = Preprocessing(**PLAIN).pixels(wide)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2, 2, 3)
    assert pixels[:, :, 0].tolist() == [[20, 30], [60, 70]]
    tall = grey([[1, 2], [3, 4], [5, 6], [7, 8]])
    assert Preprocessing(**PLAIN).pixels(tall)[:, :, 2].tolist() == [[3, 4], [5, 6]]


def test_a_squash_keeps_everything() -> None:
    # Halving, the triangle of the bilinear filter spans four pixels: the nearest two count 3/4, the next one 1/4.
    halves = grey([[255, 255, 0, 0]] * 2)
    squashed = Preprocessing(**PLAIN, fit="squash", interpolation="bilinear").pixels(halves)
    assert squashed[:, :, 0].tolist() == [[round(255 * 1.5 / 1.75), round(255 * 0.25 / 1.75)]] * 2


def test_bicubic_and_bilinear_differ() -> None:
    edge = grey([[0, 0, 255, 255]] * 4)
    cubic, linear = (Preprocessing(**PLAIN, interpolation=kind).pixels(edge) for kind in ("bicubic", "bilinear"))
    assert cubic[0, 0, 0] < linear[0, 0, 0] == 36


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    assert np.array_equal(Preprocessing(**PLAIN).pixels(Image.fromarray(noise)), noise)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    white = Image.new("RGB", (3, 5), "white").convert(mode)
    assert (Preprocessing(**PLAIN).pixels(white) == 255).all()


def test_a_stack_has_channels_first_and_may_be_empty() -> None:
    prepare = Preprocessing(**PLAIN)
    red, blue = (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
    stacked = prepare.stack([red, blue])
    assert stacked.dtype == torch.uint8
    assert stacked.shape == (2, 3, 2, 2)
    assert stacked[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert prepare.stack([]).shape == (0, 3, 2, 2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_scaling_is_the_value_of_255_less_the_mean_over_the_deviation(dtype: torch.dtype) -> None:
    pixels = torch.tensor([0, 51, 255], dtype=dtype).view(1, 3, 1, 1)
    scaled = Preprocessing(**PLAIN).scale(pixels)
    assert scaled.dtype == torch.float32
    assert scaled.flatten().tolist() == pytest.approx([(0 - 0.5) / 0.25, (0.2 - 0.25) / 0.5, 1.0], abs=1e-6)


def test_a_round_trip_through_json_changes_nothing() -> None:
    prepare = Preprocessing(**PLAIN, interpolation="bilinear", fit="squash")
    assert Preprocessing.from_dict(json.loads(json.dumps(prepare.to_dict()))) == prepare


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0},
        {"size": -3},
        {"mean": (0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5, 0.5)},
        {"std": (0.5, 0.0, 0.5)},
        {"interpolation": "nearest"},
        {"fit": "pad"},
        {"size": "big"},
        {"mean": None},
        {"gamma": 2.2},
    ],
)
def test_a_bad_entry_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        Preprocessing.from_dict({**Preprocessing(**PLAIN).to_dict(), **change})


@pytest.mark.parametrize("missing", ["size", "mean", "std"])
def test_a_missing_entry_is_refused(missing: str) -> None:
    values = Preprocessing(**PLAIN).to_dict()
    del values[missing]
    with pytest.raises(InvalidValue, match=missing):
        Preprocessing.from_dict(values)
