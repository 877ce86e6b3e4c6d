"""Backgrounds of the photo-like pictures: what lies behind and below an object."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from sbka_milvus.demo.texture import Field, colour, grid, noise

Background = Callable[[np.random.Generator, int], Field]


def draw_background(rng: np.random.Generator, size: int) -> Field:
    """One of seven kinds of background, shape (size, size, 3), float32, about 0 to 255."""
    kinds = (_open_air, _bokeh, _table_top, _wall, _grass, _studio, _clutter)
    return kinds[int(rng.integers(len(kinds)))](rng, size)


def _blend(low: Field, high: Field, share: Field) -> Field:
    return low + (high - low) * share[..., None]


def _soft(rng: np.random.Generator) -> Field:
    return colour(rng, (0.02, 0.38), (0.35, 0.95))


def _earth(rng: np.random.Generator) -> Field:
    return colour(rng, (0.12, 0.5), (0.3, 0.75), (0.04, 0.13))


def _leafy(rng: np.random.Generator) -> Field:
    return colour(rng, (0.2, 0.6), (0.35, 0.75), (0.12, 0.36))


def _airy(rng: np.random.Generator) -> Field:
    dusk = rng.random() < 0.25
    return colour(rng, (0.15, 0.5), (0.65, 0.98), (0.0, 0.12) if dusk else (0.52, 0.64))


def _open_air(rng: np.random.Generator, size: int) -> Field:
    _, y = grid(size)
    horizon = rng.uniform(0.45, 0.85)
    sky = _blend(_airy(rng), colour(rng, (0.0, 0.2), (0.85, 1.0)), np.broadcast_to(y, (size, size)))
    clouds = np.clip(noise(rng, size, 3, 6) + 0.4 * noise(rng, size, 8, 14), 0, 1) * rng.uniform(0.0, 0.7)
    sky = _blend(sky, np.full(3, 245.0, dtype=np.float32), clouds)
    soil = (_earth, _leafy, _airy)[int(rng.integers(3))](rng) * 0.85
    ground = soil * (1 + 0.12 * noise(rng, size, 12, 40)[..., None])
    edge = horizon + 0.03 * noise(rng, size, 5, 1)[:1]
    return _blend(sky, ground, np.clip((y - edge) * size / 3, 0, 1))


def _bokeh(rng: np.random.Generator, size: int) -> Field:
    base = _blend(_soft(rng) * 0.7, _soft(rng) * 0.8, noise(rng, size, 2) * 0.5 + 0.5)
    lights = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(lights, "RGBA")
    for _ in range(int(rng.integers(6, 16))):
        (x, y), r = rng.uniform(0, size, 2), rng.uniform(0.04, 0.14) * size
        red, green, blue = (int(c) for c in colour(rng, (0.1, 0.7), (0.6, 1.0)))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(red, green, blue, int(rng.uniform(50, 140))))
    return np.asarray(lights.filter(ImageFilter.GaussianBlur(size / 50)), dtype=np.float32)


def _table_top(rng: np.random.Generator, size: int) -> Field:
    _, y = grid(size)
    edge = rng.uniform(0.5, 0.78)
    wall = _soft(rng) * (1 + 0.08 * noise(rng, size, 3)[..., None])
    rings = (
        np.sin((y * rng.uniform(8, 20) + noise(rng, size, 3, 8) * 1.2) * 2 * math.pi) * 0.5
        + noise(rng, size, 6, 60) * 0.5
    )
    top = _earth(rng) if rng.random() < 0.7 else _soft(rng)
    wood = top * (1 + 0.1 * rings[..., None])
    slant = rng.uniform(-0.08, 0.08) * (grid(size)[0] - 0.5)
    return _blend(wall, wood, np.clip((y - edge - slant) * size / 2, 0, 1))


def _wall(rng: np.random.Generator, size: int) -> Field:
    x, y = grid(size)
    paint = _soft(rng)
    relief = 0.10 * noise(rng, size, 5) + 0.07 * noise(rng, size, size // 3)
    if rng.random() < 0.4:
        paint = colour(rng, (0.05, 0.5), (0.4, 0.8), (0.0, 0.12))
        rows = rng.uniform(6, 11)
        shift = np.floor(y * rows) % 2 * 0.5
        joints = ((y * rows) % 1 < 0.1) | ((x * rows / 2 + shift) % 1 < 0.05)
        relief = relief - 0.22 * joints
    light = 1 + rng.uniform(-0.25, 0.25) * (x - 0.5) + rng.uniform(-0.25, 0.25) * (y - 0.5)
    return np.asarray(paint * ((1 + relief) * light)[..., None], dtype=np.float32)


def _grass(rng: np.random.Generator, size: int) -> Field:
    _, y = grid(size)
    blades = 0.28 * noise(rng, size, size // 2, 14) + 0.15 * noise(rng, size, size // 3, size // 3)
    field = (_leafy(rng) if rng.random() < 0.75 else _earth(rng)) * (1 + blades * (0.35 + 0.65 * y))[..., None]
    return np.asarray(field * (0.85 + 0.25 * y)[..., None], dtype=np.float32)


def _studio(rng: np.random.Generator, size: int) -> Field:
    x, y = grid(size)
    cx, cy = rng.uniform(0.3, 0.7, 2)
    glow = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) * rng.uniform(1.5, 4.0))
    tone = colour(rng, (0.0, 0.35), (0.4, 1.0))
    return _blend(tone * rng.uniform(0.55, 0.8), tone, glow)


def _clutter(rng: np.random.Generator, size: int) -> Field:
    base = _blend(_soft(rng), _soft(rng), np.broadcast_to(grid(size)[1], (size, size)))
    scene = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(scene)
    for _ in range(int(rng.integers(4, 9))):
        cx, cy = rng.uniform(0, size, 2)
        angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 7))))
        radius = rng.uniform(0.08, 0.28) * size
        fill = tuple(int(c) for c in _soft(rng))
        draw.polygon([(cx + radius * math.cos(a), cy + radius * math.sin(a)) for a in angles], fill=fill)
    blurred = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.02, 0.045) * size))
    return np.asarray(blurred, dtype=np.float32) * (1 + 0.05 * noise(rng, size, 20)[..., None])
