"""Curves as point arrays: ``float64`` of shape (n, 2), x to the right and y **down**; degrees run clockwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Corners = Sequence[tuple[float, float]] | Points


def _points(values: Any) -> Points:
    return np.asarray(values, dtype=np.float64)


def ellipse(
    cx: float,
    cy: float,
    rx: float,
    ry: float | None = None,
    *,
    start: float = 0.0,
    end: float = 360.0,
    tilt: float = 0.0,
) -> Points:
    """An ellipse, or the arc of it from ``start`` to ``end`` degrees.

    >>> ellipse(0, 0, 1, start=0, end=90)[[0, -1]].round(3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    full = abs(end - start) >= 360.0
    count = max(6, int(abs(end - start) / 9))
    angles = np.radians(np.linspace(start, end, count, endpoint=not full))
    points = np.stack([rx * np.cos(angles), (rx if ry is None else ry) * np.sin(angles)], axis=1)
    return _points(turn(points, tilt) + np.array([cx, cy]) if tilt else points + np.array([cx, cy]))


def rect(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Points:
    """An upright rectangle, with round corners where ``radius`` is above 0."""
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return rounded(corners, radius) if radius > 0 else np.array(corners, dtype=np.float64)


def turn(points: Corners, degrees: float, about: tuple[float, float] = (0.0, 0.0)) -> Points:
    """The points rotated clockwise.

    >>> turn([(1.0, 0.0)], 90).round(3).tolist()
    [[0.0, 1.0]]
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    centre = np.array(about)
    return _points((_points(points) - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre)


def mirror(points: Corners, x: float = 0.0) -> Points:
    """The points reflected left to right about the vertical line at ``x``."""
    return _points(_points(points) * np.array([-1.0, 1.0]) + np.array([2 * x, 0.0]))


def spline(points: Corners, *, closed: bool = False, steps: int = 7) -> Points:
    """A smooth curve through the points (uniform Catmull-Rom)."""
    p = _points(points)
    padded = (
        np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    )
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None, :] for i in range(4))
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    flat = _points(curve.reshape(-1, 2))
    return flat if closed else np.concatenate([flat, p[-1:]])


def blob(points: Corners) -> Points:
    """A smooth closed curve through the points."""
    return spline(points, closed=True)


def rounded(corners: Corners, radius: float) -> Points:
    """A closed polygon with its corners rounded, each by at most half of its shorter edge."""
    p = _points(corners)
    before, after = np.roll(p, 1, axis=0) - p, np.roll(p, -1, axis=0) - p
    cut = []
    for edge in (before, after):
        length = np.maximum(np.linalg.norm(edge, axis=1, keepdims=True), 1e-9)
        cut.append(p + edge / length * np.minimum(radius, length / 2))
    t = np.linspace(0.0, 1.0, 5)[None, :, None]
    curve = (1 - t) ** 2 * cut[0][:, None] + 2 * t * (1 - t) * p[:, None] + t**2 * cut[1][:, None]
    return _points(curve.reshape(-1, 2))


def lathe(profile: Corners, cx: float = 0.0, *, sharp: bool = False) -> Points:
    """A turned shape, from the (radius, y) points of its right side, top to bottom."""
    side = _points(profile) if sharp else spline(profile)
    return _points(np.concatenate([side, mirror(side)[::-1]]) + np.array([cx, 0.0]))


def tube(path: Corners, start: float, end: float | None = None) -> Points:
    """The closed outline of a band about a path, whose width runs from ``start`` to ``end``."""
    p = _points(path)
    along = np.gradient(p, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    half = np.linspace(start, start if end is None else end, len(p))[:, None] / 2
    return np.concatenate([p + normal * half, (p - normal * half)[::-1]])


def capsule(path: Corners, width: float) -> Points:
    """A band with round ends."""
    p = _points(path)
    band = tube(p, width)
    ends = []
    for tip, inner in ((p[-1], p[-2]), (p[0], p[1])):
        heading = math.degrees(math.atan2(*(tip - inner)[::-1]))
        ends.append(ellipse(tip[0], tip[1], width / 2, start=heading + 90, end=heading - 90)[1:-1])
    half = len(p)
    return np.concatenate([band[:half], ends[0], band[half:], ends[1]])


def scallop(cx: float, cy: float, rx: float, ry: float, bumps: int, *, depth: float, phase: float = 0.0) -> Points:
    """A closed outline with ``bumps`` round lobes: a cloud, a tree's crown, a skirt of petals."""
    angle = np.linspace(0.0, 2 * math.pi, bumps * 9, endpoint=False)
    radius = 1.0 - depth + depth * np.abs(np.sin((angle + phase) * bumps / 2))
    return np.stack([cx + rx * radius * np.cos(angle), cy + ry * radius * np.sin(angle)], axis=1)


def lens(x0: float, y0: float, x1: float, y1: float, width: float, *, belly: float = 0.5) -> Points:
    """A leaf, petal or fin from one tip to the other, widest at ``belly`` of its length."""
    start, axis = np.array([x0, y0]), np.array([x1 - x0, y1 - y0])
    length = max(float(np.linalg.norm(axis)), 1e-9)
    normal = np.array([-axis[1], axis[0]]) / length
    t = np.linspace(0.0, 1.0, 12)
    warp = t ** (math.log(0.5) / math.log(belly))
    bulge = (np.sin(np.pi * warp) * width / 2)[:, None]
    spine = start + t[:, None] * axis
    return np.concatenate([spine + normal * bulge, (spine - normal * bulge)[-2:0:-1]])


def around(cx: float, cy: float, radius: float, count: int, phase: float = 0.0) -> list[tuple[float, float, float]]:
    """``count`` evenly spaced places on a circle, as (x, y, degrees)."""
    turns = [phase + 360.0 * i / count for i in range(count)]
    return [(cx + radius * math.cos(math.radians(a)), cy + radius * math.sin(math.radians(a)), a) for a in turns]


def span(low: float, high: float, count: int) -> list[float]:
    """The middles of ``count`` equal pieces of the interval.

    >>> span(0, 4, 2)
    [1.0, 3.0]
    """
    return [low + (high - low) * (i + 0.5) / count for i in range(count)]
