"""Random geometry: its matrices, and what it does to pixels."""

from __future__ import annotations

import math

import pytest
import torch

from sbka_milvus.training.augment import affine_matrices, move

IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FLIP = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augment(pixels: torch.Tensor, share: float, chance: torch.Generator, *, white_ground: bool) -> torch.Tensor:
    return move(pixels, affine_matrices(len(pixels), share, chance), white_ground=white_ground)


def noise(count: int, size: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=seeded(9), dtype=torch.uint8)


@pytest.mark.parametrize("white_ground", [True, False])
def test_probability_zero_changes_nothing(white_ground: bool) -> None:
    pixels = noise(6)
    moved = augment(pixels, 0.0, seeded(), white_ground=white_ground)
    assert moved.dtype == torch.float32
    assert moved.shape == pixels.shape
    assert (moved - pixels).abs().max() < 0.01
    assert torch.equal(affine_matrices(6, 0.0, seeded()), IDENTITY.expand(6, 2, 3))


def test_each_matrix_is_a_flip_a_rotation_a_scale_and_a_shift() -> None:
    matrices = affine_matrices(4000, 1.0, seeded())
    linear = matrices[:, :, :2]
    determinant = torch.linalg.det(linear)
    flip, scale = determinant.sign(), determinant.abs().rsqrt()
    angle = torch.atan2(-linear[:, 0, 1], linear[:, 1, 1])
    # Output to input: a picture drawn larger reads from a smaller part, a flip reads from the other side.
    rows = [[flip * angle.cos(), -angle.sin()], [flip * angle.sin(), angle.cos()]]
    rebuilt = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1) / scale[:, None, None]
    assert torch.allclose(rebuilt, linear, atol=1e-5)
    assert set(flip.tolist()) == {-1.0, 1.0}
    assert 0.7 <= scale.min() < 0.72
    assert 1.28 < scale.max() <= 1.3 + 1e-5
    assert angle.abs().max() == pytest.approx(math.radians(30), abs=0.01)
    shift = matrices[:, :, 2]
    assert shift.abs().max() == pytest.approx(0.2, abs=0.005)
    changed = torch.stack([flip < 0, (scale - 1).abs() > 1e-5, angle.abs() > 1e-6, shift.abs().amax(dim=1) > 0])
    assert changed.float().mean(dim=1).tolist() == pytest.approx([0.5] * 4, abs=0.04)
    assert shift[changed[3]].prod(dim=1).sign().float().mean().abs() < 0.1, "both directions shift on their own"


def test_the_probability_is_the_share_of_pictures_that_change() -> None:
    matrices = affine_matrices(4000, 0.7, seeded())
    changed = (matrices != IDENTITY).flatten(1).any(dim=1).float().mean()
    assert changed == pytest.approx(0.7 * (1 - 0.5**4), abs=0.04)


@pytest.mark.parametrize("white_ground", [True, False])
def test_a_flip_is_a_mirror_image(white_ground: bool) -> None:
    pixels = noise(1).expand(200, -1, -1, -1)
    matrices = affine_matrices(200, 1.0, seeded(3))
    flipped = (matrices - FLIP).abs().flatten(1).amax(dim=1) < 1e-6
    assert flipped.sum() >= 3
    moved = augment(pixels, 1.0, seeded(3), white_ground=white_ground)[flipped]
    assert (moved - pixels[0].flip(-1)).abs().max() < 0.01


def test_a_scale_above_one_draws_a_picture_larger() -> None:
    pixels = torch.full((400, 3, 32, 32), 255, dtype=torch.uint8)
    pixels[:, :, 11:21, 11:21] = 0
    matrices = affine_matrices(400, 1.0, seeded(1))
    still = matrices[:, :, 2].abs().amax(dim=1) == 0
    scale = torch.linalg.det(matrices[:, :, :2]).abs().rsqrt()
    ink = (255 - augment(pixels, 1.0, seeded(1), white_ground=True))[:, 0].sum(dim=(1, 2)) / 255
    assert torch.allclose(ink[still] / 100, scale[still] ** 2, rtol=0.1)


def test_what_comes_into_view_is_white_behind_a_sketch() -> None:
    white = torch.full((50, 3, 8, 8), 255, dtype=torch.uint8)
    assert (augment(white, 1.0, seeded(), white_ground=True) == 255).all()
    black = augment(torch.zeros_like(white), 1.0, seeded(), white_ground=True)
    assert black.max() == 255, "a border came into view"
    assert black.min().abs() < 0.01


@pytest.mark.parametrize("grey", [0, 100])
def test_no_photo_gets_a_border(grey: int) -> None:
    photo = torch.full((50, 3, 8, 8), grey, dtype=torch.uint8)
    assert (augment(photo, 1.0, seeded(), white_ground=False) - grey).abs().max() < 0.01


def test_values_stay_in_range() -> None:
    for white_ground in (True, False):
        moved = augment(noise(50), 1.0, seeded(), white_ground=white_ground)
        assert moved.min() > -0.01
        assert moved.max() < 255.01


def test_one_seed_gives_one_result() -> None:
    first, again, other = (augment(noise(8), 0.7, seeded(seed), white_ground=False) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
