"""The parts of a drawn object, and the figure that collects them.

Authors use any unit, x to the right and y **down**; :meth:`Figure.fitted` brings a finished figure into the unit box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from sbka_milvus.demo.shapes.curves import Corners, Points


class Role(IntEnum):
    """What a part is, which says how a photo fills it and whether a hurried hand leaves it out."""

    BODY = 0
    """A filled outline that hides what lies behind it."""
    WIRE = 1
    """An open line with a thickness of its own: a spoke, a rope, a leg."""
    MARK = 2
    """A detail on a body: closed ones are filled in a photo, open ones darken it; a sketch may lack it."""
    HOLE = 3
    """A closed outline through which the background is seen."""


class Tone(IntEnum):
    """The palette slot of a part. Which colour a slot holds is drawn anew for every photo."""

    MAIN = 0
    SECOND = 1
    ACCENT = 2
    DARK = 3
    LIGHT = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One outline or line of a figure.

    Attributes:
        points: shape (n, 2), float64.
        role: how it is rendered.
        tone: its palette slot.
        width: thickness of a line, in the units of the points; 0 for outlines.
        closed: whether the last point joins the first.
    """

    points: Points
    role: Role
    tone: Tone
    width: float
    closed: bool


class Figure:
    """Collects the parts of one sampled object, back to front, and draws its random proportions.

    Args:
        rng: The source of every choice; two figures from equal generators are equal.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.parts: list[Part] = []

    def u(self, low: float, high: float) -> float:
        """A uniform number between ``low`` and ``high``."""
        return low + (high - low) * float(self._rng.random())

    def n(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return int(self._rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return float(self._rng.random()) < probability

    def body(self, points: Corners, tone: Tone = Tone.MAIN) -> None:
        """A filled outline."""
        self._add(points, Role.BODY, tone, 0.0, closed=True)

    def wire(self, points: Corners, width: float = 0.03, tone: Tone = Tone.DARK) -> None:
        """A line of some thickness."""
        self._add(points, Role.WIRE, tone, width, closed=False)

    def mark(self, points: Corners, tone: Tone = Tone.ACCENT) -> None:
        """A closed detail."""
        self._add(points, Role.MARK, tone, 0.0, closed=True)

    def crease(self, points: Corners, width: float = 0.02) -> None:
        """An open detail: a seam, a rib, a fold."""
        self._add(points, Role.MARK, Tone.DARK, width, closed=False)

    def hole(self, points: Corners) -> None:
        """A see-through opening."""
        self._add(points, Role.HOLE, Tone.LIGHT, 0.0, closed=True)

    def _add(self, points: Corners, role: Role, tone: Tone, width: float, *, closed: bool) -> None:
        self.parts.append(Part(np.asarray(points, dtype=np.float64), role, tone, width, closed))

    def fitted(self) -> list[Part]:
        """The parts, moved and scaled so that the longer side of their bounding box spans -0.5 to 0.5."""
        everything = np.concatenate([part.points for part in self.parts])
        low, high = everything.min(axis=0), everything.max(axis=0)
        scale = 1.0 / float((high - low).max())
        centre = (low + high) / 2
        return [replace(p, points=(p.points - centre) * scale, width=p.width * scale) for p in self.parts]
