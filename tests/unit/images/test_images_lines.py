"""The lines of a photo: contours, and neither texture nor ground."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sbka_milvus.images.lines import find_lines

SIDE = 128
Pixels = NDArray[np.uint8]


def disc(radius: float = 36, *, inside: float = 60, outside: float = 200) -> Pixels:
    rows, columns = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    grey = np.where(np.hypot(rows, columns) < radius, inside, outside)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def distance_from_rim(mask: NDArray[np.bool_], radius: float = 36) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask)
    return np.abs(np.hypot(rows - (SIDE - 1) / 2, columns - (SIDE - 1) / 2) - radius)


@pytest.mark.parametrize(("inside", "outside"), [(60, 200), (200, 60), (110, 125)])
def test_a_disc_is_drawn_as_its_rim_whatever_its_contrast(inside: float, outside: float) -> None:
    lines = find_lines(disc(inside=inside, outside=outside))
    assert lines.mask.dtype == np.bool_
    assert lines.mask.shape == (SIDE, SIDE)
    assert lines.mask.sum() > 0.7 * 2 * np.pi * 36 / 1.2, "most of the rim"
    assert distance_from_rim(lines.mask).max() < 2.5


def test_colours_of_one_brightness_have_an_edge_too() -> None:
    pixels = disc()
    pixels[pixels[..., 0] == 60] = (201, 80, 80)
    pixels[pixels[..., 0] == 200] = (80, 133, 80)
    assert distance_from_rim(find_lines(pixels).mask).max() < 2.5


def test_lines_are_one_pixel_wide() -> None:
    mask = find_lines(disc()).mask
    blocks = mask[:-1, :-1] & mask[1:, :-1] & mask[:-1, 1:] & mask[1:, 1:]
    assert not blocks.any()


def test_texture_is_no_contour() -> None:
    rng = np.random.default_rng(0)
    pixels = disc().astype(np.float64)
    pixels += rng.normal(scale=30, size=(SIDE, SIDE, 1))
    lines = find_lines(np.clip(pixels, 0, 255).astype(np.uint8))
    near = distance_from_rim(lines.mask) < 3
    assert near.mean() > 0.35, "the rim is a tenth of the picture, and most of what is drawn is not noise"
    rim = lines.worth[lines.mask][near].mean()
    assert rim > 2 * lines.worth[lines.mask][~near].mean()


def test_what_is_enclosed_is_worth_more_than_the_ground() -> None:
    pixels = disc()
    pixels[100:104] = 120  # a line of the ground, from border to border
    pixels[60:68, 60:68] = 200  # and a square within the disc
    worth = find_lines(pixels).worth
    assert worth.dtype == np.float32
    assert worth.min() >= 0
    assert worth.max() <= 1
    assert worth[58:70, 58:70].max() > 1.5 * worth[98:106, :20].max()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_photo_has_no_lines(grey: int) -> None:
    lines = find_lines(np.full((40, 60, 3), grey, dtype=np.uint8))
    assert not lines.mask.any()
    assert not lines.worth.any()
    assert lines.mask.shape == lines.worth.shape == (40, 60)


def test_the_frame_of_a_picture_is_not_drawn() -> None:
    pixels = disc()
    pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:] = 0, 0, 0, 0
    mask = find_lines(pixels).mask
    mask[4:-4, 4:-4] = False
    assert not mask.any()


@pytest.mark.parametrize("shape", [(16, 256), (17, 31), (255, 16)])
def test_narrow_and_odd_photos_keep_their_shape(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    lines = find_lines(pixels)
    assert lines.mask.shape == lines.worth.shape == shape
