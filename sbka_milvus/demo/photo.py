"""Photo-like pictures: a figure filled, textured, lit and set before a background."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from sbka_milvus.demo.background import draw_background
from sbka_milvus.demo.pose import Pose, PoseRange, sample_pose
from sbka_milvus.demo.shapes.kit import Part, Role, Tone
from sbka_milvus.demo.texture import Field, noise, palette, surface

SUPERSAMPLING = 2
_MOST_PARTS = 255  # labels are bytes, and 0 is the background
PHOTO_POSES = PoseRange(rotation=20.0, scale=(0.6, 0.95), shear=0.14, perspective=0.16, wander=0.8)


@dataclass(frozen=True, slots=True)
class _Layers:
    """A figure as flat maps of the frame, or of the window of it that the figure fills.

    Attributes:
        labels: shape (H, W), uint8: 0 for background, i + 1 where part i shows.
        seams: shape (H, W), uint8: how much an open detail darkens a pixel.
        boxes: shape (parts + 1, 4), float32: centre x, centre y, half width, half height of each label, pixels.
        frame: side of the whole frame, pixels.
    """

    labels: NDArray[np.uint8]
    seams: NDArray[np.uint8]
    boxes: Field
    frame: int

    def window(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what the figure fills, with a margin, on even pixels."""
        rows, columns = np.flatnonzero(self.labels.any(axis=1)), np.flatnonzero(self.labels.any(axis=0))
        if len(rows) == 0:
            return 0, 0, self.frame, self.frame
        low = (int(v) // 2 * 2 - 4 for v in (columns[0], rows[0]))
        high = (int(v) // 2 * 2 + 6 for v in (columns[-1], rows[-1]))
        left, top = (max(0, v) for v in low)
        right, bottom = (min(self.frame, v) for v in high)
        return left, top, right, bottom

    def cut(self, window: tuple[int, int, int, int]) -> _Layers:
        """The same maps of a window only."""
        left, top, right, bottom = window
        at = np.s_[top:bottom, left:right]
        moved = self.boxes - np.array([left, top, 0, 0], dtype=np.float32)
        return _Layers(self.labels[at], self.seams[at], moved, self.frame)


def draw_photo(parts: list[Part], rng: np.random.Generator, size: int) -> Image.Image:
    """A photo-like picture of a fitted figure.

    Args:
        parts: The figure, fitted to the unit box, back to front; at most 255 parts.
        rng: Chooses the pose, colours, texture, light, background and noise.
        size: Side of the picture, pixels.

    Returns:
        An RGB picture of ``size`` x ``size``.
    """
    frame = size * SUPERSAMPLING
    pose = sample_pose(rng, parts, frame, PHOTO_POSES)
    layers = _rasterise(parts, pose, frame)
    scene = draw_background(rng, size)
    light = rng.uniform(-0.75 * math.pi, -0.25 * math.pi)
    window = layers.window()
    paint = _painted(parts, layers.cut(window), palette(rng, scene.mean(axis=(0, 1))), light, rng)
    alpha = Image.fromarray((layers.labels > 0).astype(np.uint8) * 255).reduce(SUPERSAMPLING)
    cover = np.asarray(alpha, dtype=np.float32)[..., None] / 255.0
    scene = scene * (1.0 - _shadow(alpha, light, rng))[..., None]
    # The paint is zero where the object is not, so that averaging leaves colour times coverage.
    picture = scene * (1.0 - cover)
    left, top, right, bottom = (edge // SUPERSAMPLING for edge in window)
    picture[top:bottom, left:right] += _reduced(paint)
    picture = _exposed(picture, rng)
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 0.7)) * size / 128))


def _rasterise(parts: list[Part], pose: Pose, frame: int) -> _Layers:
    labels, seams = Image.new("L", (frame, frame), 0), Image.new("L", (frame, frame), 0)
    fill, dent = ImageDraw.Draw(labels), ImageDraw.Draw(seams)
    boxes = np.ones((len(parts) + 1, 4), dtype=np.float32)
    for label, part in enumerate(parts, start=1):
        pixels = pose.apply(part.points)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        boxes[label] = (*((low + high) / 2), *np.maximum((high - low) / 2, 2.0))
        flat: list[float] = pixels.ravel().tolist()
        thickness = max(2, round(part.width * pose.scale))
        if part.closed:
            fill.polygon(flat, fill=0 if part.role is Role.HOLE else label)
            dent.polygon(flat, fill=0)
        elif part.role is Role.WIRE:
            fill.line(flat, fill=label, width=max(3, thickness), joint="curve")
            dent.line(flat, fill=0, width=thickness)
        else:
            dent.line(flat, fill=255, width=thickness)
    return _Layers(np.asarray(labels), np.asarray(seams), boxes, frame)


def _painted(parts: list[Part], layers: _Layers, tones: Field, light: float, rng: np.random.Generator) -> Field:
    """The object's colour, shape (H, W, 3), zero where it is not."""
    labels = layers.labels
    high, wide = labels.shape
    colours = np.zeros((len(parts) + 1, 3), dtype=np.float32)
    colours[1:] = tones[[int(part.tone) for part in parts]]
    # Chance is drawn for as many parts as there can be, so that one part more leaves the rest of the photo as it was.
    colours[1:] *= rng.uniform(0.9, 1.08, (_MOST_PARTS, 1))[: len(parts)]
    shade = _rounding(layers, light, rng) + _relief(layers, light, rng)
    strength = np.zeros(len(parts) + 1, dtype=np.float32)
    strength[1:] = np.where([part.tone < Tone.DARK for part in parts], rng.uniform(0.02, 0.2), 0.03)
    shade += surface(rng, max(high, wide))[:high, :wide] * strength[labels]
    shade -= layers.seams.astype(np.float32) * (rng.uniform(0.3, 0.55) / 255.0)
    paint = colours[labels] * np.maximum(shade, 0.08)[..., None]
    gloss = np.clip(shade - rng.uniform(1.1, 1.4), 0.0, 0.5) * (labels > 0)
    return np.asarray(np.clip(paint + gloss[..., None] * 255.0, 0, 255), dtype=np.float32)


def _rounding(layers: _Layers, light: float, rng: np.random.Generator) -> Field:
    """Every part shaded as if it bulged towards us, brightest where it faces the light."""
    labels, boxes = layers.labels, layers.boxes
    x, y = (np.arange(n, dtype=np.float32) for n in labels.shape[::-1])
    bulge = rng.uniform(0.15, 0.45)
    u = (x[None, :] - boxes[:, 0][labels]) * (1.0 / boxes[:, 2])[labels] - 0.45 * math.cos(light)
    v = (y[:, None] - boxes[:, 1][labels]) * (1.0 / boxes[:, 3])[labels] - 0.45 * math.sin(light)
    return np.asarray(1.12 - bulge * np.minimum(u * u + v * v, 2.5) * 0.6, dtype=np.float32)


def _relief(layers: _Layers, light: float, rng: np.random.Generator) -> Field:
    """Edges lit from one side: the slope, towards the light, of a softened map of heights."""
    frame = layers.frame
    heights = np.concatenate([[40], rng.integers(130, 250, _MOST_PARTS)]).astype(np.uint8)
    soft = Image.fromarray(heights[layers.labels]).filter(ImageFilter.BoxBlur(frame / 85))
    h = np.asarray(soft, dtype=np.float32)
    slope = np.zeros_like(h)
    slope[:, 1:-1] += (h[:, 2:] - h[:, :-2]) * math.cos(light)
    slope[1:-1] += (h[2:] - h[:-2]) * math.sin(light)
    return slope * np.float32(-rng.uniform(0.003, 0.007) * frame / 256)


def _shadow(alpha: Image.Image, light: float, rng: np.random.Generator) -> Field:
    """How dark the cast shadow is, shape (s, s), 0 to 1: thrown on a wall behind, or a pool on the ground below."""
    size = alpha.width
    depth = rng.uniform(0.2, 0.55)
    if rng.random() < 0.5:
        reach = rng.uniform(0.02, 0.07) * size
        dx, dy = -math.cos(light) * reach, -math.sin(light) * reach
        cast = alpha.transform(alpha.size, Image.Transform.AFFINE, (1, 0, -dx, 0, 1, -dy))
    else:
        left, _, right, bottom = alpha.getbbox() or (0, 0, size, size)
        cast = Image.new("L", alpha.size, 0)
        tall = rng.uniform(0.03, 0.07) * size
        box = (left, min(bottom - tall, size - 2 * tall), right, min(bottom + tall, size + tall))
        ImageDraw.Draw(cast).ellipse(box, fill=255)
    soft = cast.filter(ImageFilter.GaussianBlur(rng.uniform(0.012, 0.035) * size))
    return np.asarray(soft, dtype=np.float32) * np.float32(depth / 255.0)


def _reduced(paint: Field) -> Field:
    s = SUPERSAMPLING
    return np.asarray(sum(paint[i::s, j::s] for i in range(s) for j in range(s)) / np.float32(s * s), dtype=np.float32)


def _exposed(picture: Field, rng: np.random.Generator) -> Field:
    """Uneven light, exposure, white balance, contrast and the sensor's noise."""
    size = len(picture)
    gain = rng.uniform(0.82, 1.15) * rng.uniform(0.94, 1.06, 3)
    fall = 1.0 + 0.10 * noise(rng, size, 2)
    picture = picture * (gain.astype(np.float32) * fall[..., None])
    picture = (picture - 128.0) * np.float32(rng.uniform(0.85, 1.12)) + 128.0
    return picture + rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(rng.uniform(1.0, 6.0))
