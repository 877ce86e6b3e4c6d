"""Pseudo-sketches: line drawings made from photos, for those who have photos and no sketches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sbka_milvus.errors import EmptySketch, ImageError, InvalidValue
from sbka_milvus.images.lines import find_lines
from sbka_milvus.images.stroke_changes import bend, sway
from sbka_milvus.images.strokes import render_strokes
from sbka_milvus.images.traces import trace_lines

WORKING_SIDE = 256
"""Pixels of a photo's long side while its lines are looked for."""
_SHORTEST = 0.05  # of the long side: shorter strokes are specks
_FULL_LENGTH = 0.6  # of the long side: more length makes a stroke no more important
_MOST_INK = 8.0  # long sides: the length of all strokes together
_LEAST_WORTH = 0.17  # of the best three strokes' mean importance
_SMOOTHING = 2.0  # pixels: removes the steps of the pixel grid
_MARGIN = 0.08


def photo_strokes(photo: Image.Image) -> list[NDArray[np.float64]]:
    """The strokes in which a photo would be drawn, the most important first.

    Args:
        photo: RGB, at least 16 pixels on each side after it is scaled to a long side of 256.

    Returns:
        Strokes of shape (n, 2), float64: points (x, y) in pixels of the photo scaled to a long side of 256; none
        where the photo shows no lines.

    Raises:
        ImageError: The photo is too small or too narrow.
    """
    scale = WORKING_SIDE / max(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    if min(photo.size) < 16 or min(size) < 16:
        raise ImageError(f"A photo of {photo.width} x {photo.height} pixels is too small to draw.", "Leave it out.")
    # What resampling and compression leave between pixels would become edges.
    small = photo.convert("RGB").resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    lines = find_lines(np.asarray(small.filter(ImageFilter.MedianFilter(3))))
    return [_smoothed(stroke) for stroke in _most_important(trace_lines(lines.mask), lines.worth)]


def pseudo_sketch(photo: Image.Image, *, size: int = 256, seed: int = 0, wobble: float = 1.0) -> Image.Image:
    """A line drawing of a photo, in the form of :func:`~sbka_milvus.images.normalise_sketch`.

    Args:
        photo: RGB.
        size: side of the result in pixels, 16 to 4096.
        seed: of the hand's unsteadiness: the same photo, size, seed and wobble give the same drawing.
        wobble: how unsteady it is; 0 follows the photo exactly.

    Returns:
        RGB, size x size, dark lines on white.

    Raises:
        EmptySketch: The photo shows no lines.
        ImageError: The photo is too small or too narrow.
        InvalidValue: ``size`` or ``wobble`` is out of range.
    """
    if not 0 <= wobble <= 10:
        raise InvalidValue(f"wobble must be from 0 to 10, not {wobble}.")
    strokes = photo_strokes(photo)
    if not strokes:
        raise EmptySketch("The photo shows no lines.", "Leave it out.")
    chance = np.random.default_rng(seed)
    drawn = bend(sway(strokes, 0.004 * wobble, chance), 0.006 * wobble, chance)
    return render_strokes(drawn, size, line_width=max(1.0, size / 85), margin=_MARGIN)


def _most_important(strokes: list[NDArray[np.float64]], worth: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """The best strokes, best first, as long as they are worth it and there is not too much ink."""
    from scipy import ndimage

    side = max(worth.shape)
    # A line lies up to a pixel beside the crest that it was made from.
    nearby = ndimage.maximum_filter(worth, 3)
    ranked = []
    for stroke in strokes:
        length = len(stroke) / side
        if length >= _SHORTEST:
            columns, rows = stroke.astype(np.intp).T
            mean = float(nearby[rows, columns].mean())
            ranked.append((mean * min(length, _FULL_LENGTH), length, stroke))
    ranked.sort(key=lambda entry: entry[0], reverse=True)
    if not ranked:
        return []
    best = np.mean([importance for importance, _, _ in ranked[:3]])
    ink = np.cumsum([length for _, length, _ in ranked])
    return [
        stroke
        for (importance, _, stroke), total in zip(ranked, ink, strict=True)
        if importance >= _LEAST_WORTH * best and total <= max(_MOST_INK, ink[0])
    ]


def _smoothed(stroke: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter1d(stroke, _SMOOTHING, axis=0, mode="nearest"))
