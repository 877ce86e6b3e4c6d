"""Turns thin lines of pixels into strokes, as a pen would follow them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
_MEMORY = 5  # pixels over which the pen knows where it came from
_SHARPEST = -0.3  # cosine of the sharpest turn at which a stroke goes on

_Pixel = tuple[int, int]


def trace_lines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """The strokes of a drawing of lines one pixel wide.

    A stroke starts at a line's end where there is one, goes straight on where lines cross, and takes each pixel once.

    Args:
        mask: shape (H, W), bool.

    Returns:
        Strokes of shape (n, 2), float64: pixels (x, y); together they have all pixels of the mask.

    >>> [stroke.tolist() for stroke in trace_lines(np.eye(3, dtype=np.bool_))]
    [[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]]
    """
    left: set[_Pixel] = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    neighbours = {pixel: sum(step in left for step in _around(pixel)) for pixel in left}
    strokes = []
    for start in sorted(left, key=lambda pixel: (neighbours[pixel] != 1, pixel)):
        if start not in left:
            continue
        left.discard(start)
        ahead = _follow(start, (0, 0), left)
        # A start in the middle of a line leaves its other half, which goes on in the opposite direction.
        turn = ahead[min(_MEMORY, len(ahead) - 1)]
        behind = _follow(start, (start[0] - turn[0], start[1] - turn[1]), left)
        strokes.append(np.array([*behind[:0:-1], *ahead], dtype=np.float64)[:, ::-1])
    return strokes


def _around(pixel: _Pixel) -> list[_Pixel]:
    return [(pixel[0] + down, pixel[1] + across) for down, across in _STEPS]


def _follow(start: _Pixel, heading: _Pixel, left: set[_Pixel]) -> list[_Pixel]:
    """The pixels of a stroke from ``start`` on, which are taken out of ``left``."""
    path = [start]
    while True:
        here = path[-1]
        choices = [
            (_cosine(heading, step), -abs(step[0] * step[1]), pixel)
            for step, pixel in zip(_STEPS, _around(here), strict=True)
            if pixel in left
        ]
        if not choices:
            return path
        straight, _, pixel = max(choices)
        if straight < _SHARPEST and len(path) > _MEMORY:
            return path
        left.discard(pixel)
        path.append(pixel)
        before = path[max(len(path) - 1 - _MEMORY, 0)]
        heading = (pixel[0] - before[0], pixel[1] - before[1])


def _cosine(one: _Pixel, other: _Pixel) -> float:
    length = float(np.hypot(*one) * np.hypot(*other))
    # Rounded, so that directions which only rounding tells apart are alike.
    return round((one[0] * other[0] + one[1] * other[1]) / length, 9) if length else 0.0
