"""How an object lies in the frame: the map from a figure's unit box to pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sbka_milvus.demo.shapes.curves import Points
from sbka_milvus.demo.shapes.kit import Part


@dataclass(frozen=True, slots=True)
class PoseRange:
    """How far poses vary.

    Attributes:
        rotation: largest turn either way, degrees.
        scale: smallest and largest length of the longer side, as a share of the frame.
        shear: largest horizontal shear either way.
        perspective: largest share by which one side is shrunk against the other.
        bend: amplitude of a smooth warp of the whole figure, as a share of the frame.
        wander: how much of the room beside the figure its place may use, 0 (centred) to 1.
    """

    rotation: float
    scale: tuple[float, float]
    shear: float
    perspective: float
    bend: float = 0.0
    wander: float = 0.9


@dataclass(frozen=True, slots=True)
class Pose:
    """One pose, and the frame it is for.

    Attributes:
        matrix: shape (2, 2), float64: turn, flip, scale and shear, in pixels.
        centre: shape (2,), float64: where the middle of the unit box comes to lie, in pixels.
        tilt: shape (2,), float64: the perspective divisor's slope along x and y.
        bend: shape (4,), float64: amplitude (pixels), frequency and two phases of the warp.
    """

    matrix: Points
    centre: Points
    tilt: Points
    bend: Points

    @property
    def scale(self) -> float:
        """Pixels for one unit."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))

    def apply(self, points: Points) -> Points:
        """Points of the unit box, shape (n, 2), as pixels."""
        depth = 1.0 + points @ self.tilt
        pixels = (points @ self.matrix.T) / depth[:, None] + self.centre
        amplitude, frequency, phase_x, phase_y = self.bend
        if amplitude:
            warp = np.stack([points[:, 1] * frequency + phase_x, points[:, 0] * frequency + phase_y], axis=1)
            pixels = pixels + amplitude * np.sin(warp)
        return pixels


def sample_pose(rng: np.random.Generator, parts: list[Part], size: int, limits: PoseRange) -> Pose:
    """A pose that keeps the figure inside a square frame of ``size`` pixels, now and then touching its border."""
    angle = math.radians(rng.uniform(-limits.rotation, limits.rotation))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    shear = rng.uniform(-limits.shear, limits.shear)
    squash = rng.uniform(0.92, 1.08)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.array([[cos, -sin], [sin, cos]]) @ np.array([[flip * squash, shear], [0.0, 1.0 / squash]])
    everything = np.concatenate([part.points for part in parts]) @ turned.T
    low, high = everything.min(axis=0), everything.max(axis=0)
    length = rng.uniform(*limits.scale)
    matrix = turned * (length * size / float((high - low).max()))
    room = (1.0 - length * (high - low) / (high - low).max()) / 2
    shift = rng.uniform(-limits.wander, limits.wander, 2) * room
    middle = (low + high) / 2 * (length / float((high - low).max()))
    centre = (0.5 + shift - middle) * size
    tilt = rng.uniform(-limits.perspective, limits.perspective, 2)
    bend = np.array([limits.bend * size * rng.random(), rng.uniform(2.0, 5.0), *rng.uniform(0, 2 * math.pi, 2)])
    return Pose(matrix, centre, tilt, bend)
