"""Noise fields and colours: what surfaces and backgrounds of the photo-like pictures are made of."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating]
"""shape (height, width) or (height, width, 3), floating (float32 wherever speed counts)."""


def noise(rng: np.random.Generator, size: int, cells: int, cells_down: int | None = None) -> Field:
    """Smooth value noise, shape (size, size), in [-1, 1], of ``cells`` by ``cells_down`` cells."""
    coarse = rng.integers(0, 256, (cells_down or cells, cells), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) / 127.5 - 1.0


def grid(size: int) -> tuple[Field, Field]:
    """The x, shape (1, size), and y, shape (size, 1), of a frame, each from 0 to 1."""
    line = np.linspace(0.0, 1.0, size, dtype=np.float32)
    return line[None, :], line[:, None]


def surface(rng: np.random.Generator, size: int) -> Field:
    """A relief, shape (size, size), in about [-1, 1]: smooth, mottled, grained, striped, speckled or woven."""
    kind = int(rng.integers(6))
    x, y = grid(size)
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    if kind == 0:
        return noise(rng, size, 4) * 0.4
    if kind == 1:
        return noise(rng, size, 9) * 0.6 + noise(rng, size, 28) * 0.4
    if kind == 2:
        rings = along * rng.uniform(10, 26) + noise(rng, size, 4) * rng.uniform(0.6, 1.6)
        return np.sin(rings * 2 * math.pi) * 0.6 + noise(rng, size, 60) * 0.3
    if kind == 3:
        return np.sign(np.sin(along * rng.uniform(50, 110) + noise(rng, size, 4) * 0.8)) * 0.7
    if kind == 4:
        return np.where(noise(rng, size, size // 5) > 0.55, 1.0, -0.1).astype(np.float32)
    pitch = rng.uniform(90, 170)
    return np.asarray(np.sin(x * pitch) * np.sin(y * pitch) * 0.8)


def colour(
    rng: np.random.Generator,
    saturation: tuple[float, float],
    value: tuple[float, float],
    hue: tuple[float, float] = (0.0, 1.0),
) -> Field:
    """A colour, of any hue unless told, shape (3,), 0 to 255."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb, dtype=np.float32) * 255.0


def palette(rng: np.random.Generator, away_from: Field) -> Field:
    """A colour for each :class:`Tone`, shape (5, 3), 0 to 255: any hue for anything, so that colour names no category.

    Args:
        rng: Chooses.
        away_from: shape (3,), the background's mean colour, from which the main colour keeps a distance.
    """
    vivid = rng.random()
    for _ in range(6):
        main = colour(rng, (0.1 + 0.3 * vivid, 0.3 + 0.55 * vivid), (0.35, 0.95))
        if float(np.abs(main - away_from).sum()) > 130:
            break
    kin = np.clip(main * rng.uniform(0.6, 1.25) + rng.uniform(-25, 25, 3), 10, 250)
    second = kin if rng.random() < 0.4 else colour(rng, (0.1, 0.75), (0.3, 0.92))
    accent = colour(rng, (0.3, 0.85), (0.4, 0.95))
    dark = colour(rng, (0.0, 0.4), (0.10, 0.28))
    light = colour(rng, (0.0, 0.28), (0.72, 1.0))
    return np.stack([main, second, accent, dark, light]).astype(np.float32)
