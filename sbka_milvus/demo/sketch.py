"""Sketch-like pictures: a figure drawn in strokes by one of many hands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sbka_milvus.demo.pose import PoseRange, sample_pose
from sbka_milvus.demo.shapes.curves import Points
from sbka_milvus.demo.shapes.kit import Part, Role

SUPERSAMPLING = 3
SKETCH_POSES = PoseRange(rotation=9.0, scale=(0.74, 0.94), shear=0.07, perspective=0.06, bend=0.02, wander=0.35)
_STEPS = 55  # points on a stroke as long as the frame
_INKS = ((15, 15, 18), (20, 20, 24), (30, 30, 34), (70, 70, 74), (95, 95, 98), (82, 58, 42), (30, 36, 84))


@dataclass(frozen=True, slots=True)
class Hand:
    """How one person draws. Lengths are shares of the frame.

    Attributes:
        width: thickness of a stroke.
        wobble: amplitude of the slow drift of a stroke.
        jitter: amplitude of the tremor of a stroke.
        overshoot: how far an outline runs past, or falls short of, its start.
        gap: probability that an outline is lifted somewhere.
        doubled: probability that a stroke is drawn twice.
        omission: probability that a detail is left out.
        pressure: how much the thickness varies along a stroke, 0 to 1.
        grain: how much of the ink the paper's tooth keeps away, 0 (pen) to 1.
        ink: red, green, blue of the ink.
    """

    width: float
    wobble: float
    jitter: float
    overshoot: float
    gap: float
    doubled: float
    omission: float
    pressure: float
    grain: float
    ink: tuple[int, int, int]


def sample_hand(rng: np.random.Generator) -> Hand:
    """A hand: a careful or a hurried one, with a pen, a pencil or a marker."""
    care = rng.random()
    tool = int(rng.integers(3))
    return Hand(
        width=float(rng.uniform(*((0.009, 0.014), (0.011, 0.019), (0.018, 0.027))[tool])),
        wobble=float(rng.uniform(0.002, 0.006) + 0.010 * (1 - care) ** 2),
        jitter=float(rng.uniform(0.0, 0.0022)),
        overshoot=float(rng.uniform(-0.02, 0.04)),
        gap=float(0.35 * rng.random() * (1 - care)),
        doubled=float(rng.choice([0.0, 0.0, 0.12, 0.5])),
        omission=float(0.75 * (1 - care)),
        pressure=float(rng.uniform(0.1, 0.5)),
        grain=float(rng.uniform(0.35, 0.75)) if tool == 1 else 0.0,
        ink=_INKS[int(rng.integers(len(_INKS)))] if rng.random() < 0.55 else (0, 0, 0),
    )


def draw_sketch(parts: list[Part], rng: np.random.Generator, size: int) -> Image.Image:
    """A sketch of a fitted figure.

    Args:
        parts: The figure, fitted to the unit box, back to front.
        rng: Chooses the pose, the hand and every stroke.
        size: Side of the picture, pixels.

    Returns:
        An RGB picture of ``size`` x ``size``: dark ink on white.
    """
    hand = sample_hand(rng)
    frame = size * SUPERSAMPLING
    pose = sample_pose(rng, parts, frame, SKETCH_POSES)
    paper = Image.new("L", (frame, frame), 0)
    easel = _Easel(ImageDraw.Draw(paper), hand, rng, frame)
    for part in parts:
        if part.role is Role.MARK and rng.random() < hand.omission:
            continue
        easel.draw(pose.apply(part.points), part.closed)
    ink = np.asarray(paper.reduce(SUPERSAMPLING), dtype=np.float32) / 255.0
    if hand.grain:
        ink = ink * (1.0 - hand.grain * rng.random((size, size), dtype=np.float32))
    colour = np.asarray(hand.ink, dtype=np.float32)
    pixels = 255.0 + ink[..., None] * (colour - 255.0)
    return Image.fromarray(pixels.astype(np.uint8))


@dataclass(frozen=True, slots=True)
class _Easel:
    """A sheet of ``frame`` pixels a side and the hand before it; lines are pixels, shape (n, 2)."""

    paper: ImageDraw.ImageDraw
    hand: Hand
    rng: np.random.Generator
    frame: int

    def draw(self, line: Points, closed: bool) -> None:
        """Draws an outline, which hides what it covers, or an open line."""
        stroke = self._wobbled(self._resampled(line, closed), closed)
        if closed:
            self.paper.polygon(_flat(stroke), fill=0)
            stroke = self._lifted(stroke)
        self._trace(stroke)
        if self.rng.random() < self.hand.doubled:
            self._trace(self._wobbled(stroke, False))

    def _trace(self, stroke: Points) -> None:
        if len(stroke) > 12 and self.rng.random() < self.hand.gap:
            cut = int(self.rng.integers(3, len(stroke) - 5))
            self._ink(stroke[:cut])
            self._ink(stroke[cut + 2 :])
        else:
            self._ink(stroke)

    def _resampled(self, line: Points, closed: bool) -> Points:
        """The line in even steps of about a fiftieth of the frame, its corners kept."""
        if closed:
            line = np.concatenate([line, line[:1]])
        steps = np.hypot(*np.diff(line, axis=0).T)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        even = np.linspace(0.0, along[-1], max(4, int(along[-1] * _STEPS / self.frame)))
        places = np.union1d(even, along[1:-1][steps[:-1] + steps[1:] > self.frame / 18])
        return np.stack([np.interp(places, along, line[:, 0]), np.interp(places, along, line[:, 1])], axis=1)

    def _wobbled(self, line: Points, closed: bool) -> Points:
        """The line as a hand that drifts and trembles follows it; a closed one still meets its start."""
        n = len(line)
        along = np.linspace(0.0, 1.0, n)[:, None]
        length = float(np.hypot(*np.diff(line, axis=0).T).sum()) / self.frame
        drift = np.zeros((n, 2))
        for octave in (1.0, 2.3):
            waves = max(1.0, round(length * 2.0 * octave)) if closed else max(0.4, length * 2.0 * octave)
            drift += np.sin(2 * math.pi * (waves * along + self.rng.random(2))) / octave
        # A short stroke has no room to drift far: small details must stay what they are.
        amplitude = self.hand.wobble * self.frame * min(1.0, 0.25 + length * 0.9)
        shift = self.rng.normal(0.0, 0.25 * amplitude, 2)
        return line + drift * amplitude + self.rng.normal(0.0, self.hand.jitter * self.frame, (n, 2)) + shift

    def _lifted(self, outline: Points) -> Points:
        """A closed outline as a hand draws it: begun anywhere, ended a little before or after its start."""
        ring = outline[:-1]
        if len(ring) < 8:
            return outline
        ring = np.roll(ring, -int(self.rng.integers(len(ring))), axis=0)
        extra = round((self.hand.overshoot + self.rng.normal(0.0, 0.01)) * _STEPS)
        longest = len(ring) // 6
        if extra >= 0:
            return np.concatenate([ring, ring[: min(extra, longest) + 1]])
        return ring[: len(ring) + 1 + max(extra, -longest)]

    def _ink(self, line: Points) -> None:
        if len(line) < 2:
            return
        thickness = self.hand.width * self.frame
        pieces = max(1, min(5, len(line) // 8))
        ends = np.linspace(0, len(line) - 1, pieces + 1).astype(int)
        strengths = 1.0 + self.hand.pressure * self.rng.uniform(-0.6, 0.6, pieces)
        for start, end, strength in zip(ends[:-1], ends[1:], strengths, strict=True):
            width = max(2, round(thickness * strength))
            self.paper.line(_flat(line[start : end + 1]), fill=255, width=width)
        # Pillow's own round joints are drawn one by one in Python; sharp turns and ends are all that need one.
        steps = np.diff(line, axis=0)
        steps /= np.maximum(np.hypot(steps[:, 0], steps[:, 1]), 1e-9)[:, None]
        sharp = (steps[1:] * steps[:-1]).sum(axis=1) < 0.8
        r = thickness * 0.45
        for x, y in [*line[1:-1][sharp], line[0], line[-1]]:
            self.paper.ellipse((x - r, y - r, x + r, y + r), fill=255)


def _flat(points: Points) -> list[float]:
    flat: list[float] = points.ravel().tolist()
    return flat
