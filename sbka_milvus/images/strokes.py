"""Drawings kept as strokes: the form in which a sketch pad records them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sbka_milvus.errors import EmptySketch, ImageError, InvalidValue

Strokes: TypeAlias = Sequence[NDArray[Any] | Sequence[Sequence[float]]]
"""Strokes in the order of drawing, each of shape (n, 2): points (x, y) in any unit, x to the right and y down."""

_OVERSAMPLING = 4  # ImageDraw draws hard edges: 4 x 4 samples make 17 steps of grey
_MAX_SIDE = 4096


def strokes_from_quickdraw(drawing: Sequence[Sequence[Sequence[float]]]) -> list[NDArray[np.float64]]:
    """Strokes in the form of Quick, Draw!, ``[[[x, ...], [y, ...]], ...]``; a third row (times) is left out.

    Returns:
        Strokes of shape (n, 2), float64.

    Raises:
        ImageError: A stroke has not two rows of equal length.

    >>> strokes_from_quickdraw([[[0, 10, 20], [5, 5, 6]]])[0].tolist()
    [[0.0, 5.0], [10.0, 5.0], [20.0, 6.0]]
    """
    strokes = []
    for number, rows in enumerate(drawing, start=1):
        if not hasattr(rows, "__len__") or len(rows) not in (2, 3):
            raise ImageError(f"Stroke {number} is not of the form [[x, ...], [y, ...]].", "Pass rows of x and of y.")
        xs, ys = _numbers(rows[0], number), _numbers(rows[1], number)
        if xs.ndim != 1 or xs.shape != ys.shape:
            raise ImageError(f"Stroke {number} has x and y of different lengths.", "Pass one y for every x.")
        strokes.append(np.stack([xs, ys], axis=1))
    return strokes


def render_strokes(strokes: Strokes, size: int = 224, line_width: float = 3.0, margin: float = 0.08) -> Image.Image:
    """Strokes drawn dark on white, anti-aliased, scaled to fill the square inside the margin with their aspect kept.

    Args:
        strokes: shape (n, 2) each; strokes without points are passed over, one point makes a dot.
        size: side of the image in pixels, 16 to 4096.
        line_width: pixels of the result.
        margin: share of ``size`` left white on each side, at least 0 and below 0.5.

    Returns:
        RGB, size x size: what :func:`normalise_sketch` makes of a drawing.

    Raises:
        EmptySketch: There are no points.
        ImageError: A stroke is not of shape (n, 2), or a coordinate is not a finite number.
        InvalidValue: ``size``, ``line_width`` or ``margin`` is out of range.

    >>> render_strokes([[(0, 0), (10, 10)], [(0, 10), (10, 0)]], size=64).size
    (64, 64)
    """
    require_canvas(size, margin)
    if not 0 < line_width <= size / 4:
        raise InvalidValue(f"line_width must be above 0 and at most a quarter of size ({size / 4}), not {line_width}.")
    paths = _fitted(_checked(strokes), size, line_width, margin)
    canvas = Image.new("L", (size * _OVERSAMPLING,) * 2, 255)
    pen = ImageDraw.Draw(canvas)
    width = max(1, round(line_width * _OVERSAMPLING))
    for path in paths:
        points = [(float(x), float(y)) for x, y in path * _OVERSAMPLING]
        if len(points) > 1:
            pen.line(points, fill=0, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    return canvas.reduce(_OVERSAMPLING).convert("RGB")


def require_canvas(size: int, margin: float) -> None:
    """Refuses a canvas that nothing can be drawn on.

    Raises:
        InvalidValue: ``size`` is not 16 to 4096, or ``margin`` not at least 0 and below 0.5.
    """
    if not 16 <= size <= _MAX_SIDE:
        raise InvalidValue(f"size must be from 16 to {_MAX_SIDE} pixels, not {size}.")
    if not 0 <= margin < 0.5:
        raise InvalidValue(f"margin must be at least 0 and below 0.5, not {margin}.")


def _checked(strokes: Strokes) -> list[NDArray[np.float64]]:
    checked = []
    for number, stroke in enumerate(strokes, start=1):
        points = _numbers(stroke, number)
        if points.size == 0:
            continue
        if points.ndim != 2 or points.shape[1] != 2:
            raise ImageError(
                f"Stroke {number} has shape {points.shape} where (n, 2) is needed.",
                "Pass points (x, y); strokes_from_quickdraw() takes rows of x and of y.",
            )
        # The span of the largest doubles overflows, so they count as infinite.
        if not (np.abs(points) < 1e150).all():
            raise ImageError(f"Stroke {number} has a coordinate that is not a finite number.", "Leave that point out.")
        checked.append(points)
    if not checked:
        raise EmptySketch("The sketch has no points.", "Draw at least one stroke.")
    return checked


def _numbers(values: Any, number: int) -> NDArray[np.float64]:
    try:
        found = np.asarray(values)
        if found.size and found.dtype.kind not in "iuf":
            raise ValueError(found.dtype)
        return found.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ImageError(f"Stroke {number} is not made of numbers (x, y).", "Pass pairs of numbers.") from error


def _fitted(
    strokes: list[NDArray[np.float64]], size: int, line_width: float, margin: float
) -> list[NDArray[np.float64]]:
    """Scaled so that the lines, half a line's width beyond their points, touch the margin; centred."""
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    room = max(size * (1 - 2 * margin) - line_width, 1.0)
    # The least span keeps a dot from being divided by zero.
    scale = room / max(float((high - low).max()), 1e-150)
    return [(stroke - (low + high) / 2) * scale + size / 2 for stroke in strokes]
