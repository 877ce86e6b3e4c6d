"""Drawings as they were before they were finished, from pictures that do not say how they were drawn.

The ink is followed in strokes, as a pen would, and the strokes are put in an order: the longest first, since people
draw what outlines a thing before its details, or by chance. Where the real order is known, as in the ``.ndjson`` of
Quick, Draw!, :func:`~sbka_milvus.images.partial` takes that instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sbka_milvus.errors import EmptySketch, InvalidValue
from sbka_milvus.images.traces import trace_lines

_INK = 96  # levels below white from which a pixel is part of a stroke


def drawing_order(sketch: Image.Image, chance: np.random.Generator | None = None) -> NDArray[np.float32]:
    """When each pixel of a sketch is drawn.

    Args:
        sketch: dark ink on white, as :func:`~sbka_milvus.images.normalise_sketch` makes it.
        chance: puts the strokes in an order of its own; none: the longest first.

    Returns:
        shape (H, W), float32, in (0, 1]: the share of the drawing, in pixels along its strokes, that is done once this
        pixel is. What is no stroke's has the time of the nearest pixel that is.

    Raises:
        EmptySketch: There is no ink.
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    ink = 255 - np.asarray(sketch.convert("L"), dtype=np.int16)
    thin = np.asarray(skeletonize(ink >= _INK), dtype=np.bool_)
    strokes = trace_lines(thin)
    if not strokes:
        raise EmptySketch("The sketch has no ink on it.", "Draw something, or use a darker pen.")
    if chance is None:
        strokes.sort(key=len, reverse=True)
    else:
        chance.shuffle(strokes)
    columns, rows = np.concatenate(strokes).astype(np.intp).T
    times = np.zeros(thin.shape, dtype=np.float32)
    times[rows, columns] = np.arange(1, len(rows) + 1, dtype=np.float32) / len(rows)
    nearest = ndimage.distance_transform_edt(~thin, return_distances=False, return_indices=True)
    return np.asarray(times[tuple(nearest)], dtype=np.float32)


def unfinished(sketch: Image.Image, order: NDArray[np.float32], share: float) -> Image.Image:
    """A sketch as it was when a share of it was drawn.

    Args:
        sketch: dark ink on white.
        order: shape (H, W): :func:`drawing_order` of it.
        share: above 0, at most 1.

    Returns:
        RGB, of the sketch's size: white where nothing is drawn yet. It may have ink in a corner alone: normalise it
        as any sketch that a user draws.

    Raises:
        InvalidValue: ``share`` is out of range, or ``order`` is of another sketch.
    """
    if not 0 < share <= 1:
        raise InvalidValue(f"share must be above 0 and at most 1, not {share}.")
    pixels = np.array(sketch.convert("RGB"))
    if order.shape != pixels.shape[:2]:
        raise InvalidValue(f"An order of shape {order.shape} is not of a sketch of {sketch.width} x {sketch.height}.")
    # A stroke's first pixel is always there: a drawing with nothing on it is none.
    pixels[order > max(np.float32(share), order.min())] = 255
    return Image.fromarray(pixels)
