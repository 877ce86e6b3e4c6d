"""Random geometry for a batch at once: flip, scale, rotation, shift."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

MAX_ROTATION = math.radians(30)
SCALES = (0.7, 1.3)
MAX_SHIFT = 0.1
EACH = 0.5
WHITE = 255.0


def move(pixels: torch.Tensor, matrices: torch.Tensor, *, white_ground: bool) -> torch.Tensor:
    """Moves each picture by its matrix.

    Args:
        pixels: shape (B, 3, S, S), uint8.
        matrices: shape (B, 2, 3), float32: see :func:`affine_matrices`.
        white_ground: fill what comes into view with white (sketches) instead of a mirror image (photos).

    Returns:
        shape (B, 3, S, S), float32, in [0, 255].
    """
    values = pixels.float()
    grid = functional.affine_grid(matrices.to(pixels.device), list(values.shape), align_corners=False)
    if white_ground:
        moved = functional.grid_sample(values - WHITE, grid, padding_mode="zeros", align_corners=False)
        return moved + WHITE
    return functional.grid_sample(values, grid, padding_mode="reflection", align_corners=False)


def affine_matrices(count: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    """Random maps from output to input coordinates.

    Args:
        count: of pictures.
        probability: share of them that are changed; each of the four changes then happens with probability 0.5.
        generator: source of chance, on the CPU.

    Returns:
        shape (count, 2, 3), float32: the identity where nothing changes.
    """

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    def chosen(share: float) -> torch.Tensor:
        return torch.rand(count, generator=generator) < share

    changed = chosen(probability)
    flip = torch.where(changed & chosen(EACH), -1.0, 1.0)
    scale = torch.where(changed & chosen(EACH), uniform(*SCALES), torch.ones(count))
    angle = torch.where(changed & chosen(EACH), uniform(-MAX_ROTATION, MAX_ROTATION), torch.zeros(count))
    shifted = changed & chosen(EACH)
    # A grid spans [-1, 1], so a share of the side is twice as much in grid units.
    shift_x, shift_y = (
        torch.where(shifted, uniform(-2 * MAX_SHIFT, 2 * MAX_SHIFT), torch.zeros(count)) for _ in range(2)
    )
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    first = torch.stack([flip * cosine, -sine, shift_x], dim=-1)
    second = torch.stack([flip * sine, cosine, shift_y], dim=-1)
    return torch.stack([first, second], dim=1)
