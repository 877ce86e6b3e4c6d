"""Pixels as another backbone wants to see them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.view import translate

OWN = Preprocessing(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OTHER_COLOURS = Preprocessing(8, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_where_nothing_differs_nothing_is_done() -> None:
    scaled = OWN.scale(pixels())
    assert translate(scaled, OWN, OWN) is scaled


def test_another_scale_of_colours_is_the_other_s_own() -> None:
    assert torch.allclose(translate(OWN.scale(pixels()), OWN, OTHER_COLOURS), OTHER_COLOURS.scale(pixels()), atol=1e-5)


def test_pictures_larger_than_a_backbone_s_own_are_scaled_down_for_it() -> None:
    large = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    seen = translate(OWN.scale(large), OWN, OWN)
    expected = functional.interpolate(large.float(), (8, 8), mode="bilinear", antialias=True)
    assert torch.allclose(seen, OWN.scale(expected), atol=1e-4)
    # One that has the other's size already is not blurred on its way.
    other = Preprocessing(16, OTHER_COLOURS.mean, OTHER_COLOURS.std)
    assert torch.allclose(translate(OWN.scale(large), OWN, other), other.scale(large), atol=1e-5)


@pytest.mark.parametrize("size", [4, 12])
def test_another_size_is_the_same_crop_resized(size: int) -> None:
    other = Preprocessing(size, OTHER_COLOURS.mean, OTHER_COLOURS.std)
    seen = translate(OWN.scale(pixels()), OWN, other)
    expected = functional.interpolate(pixels().float(), (size, size), mode="bilinear", antialias=True)
    assert seen.shape == (2, 3, size, size)
    assert torch.allclose(seen, other.scale(expected), atol=1e-4)


def test_halving_is_a_mean_and_white_stays_white() -> None:
    half = Preprocessing(4, OWN.mean, OWN.std)
    white = OWN.scale(torch.full((1, 3, 8, 8), 255, dtype=torch.uint8))
    assert torch.allclose(translate(white, OWN, half), torch.ones(1, 3, 4, 4))
