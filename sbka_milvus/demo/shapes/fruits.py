"""Fruits: stems, leaves, skins."""

from __future__ import annotations

import math

from sbka_milvus.demo.shapes.curves import (
    blob,
    ellipse,
    lathe,
    lens,
    span,
    spline,
)
from sbka_milvus.demo.shapes.kit import Figure, Tone
from sbka_milvus.demo.shapes.parts import leaf


def apple(fig: Figure) -> None:
    """An apple with stem and leaf."""
    r, low = fig.u(0.68, 0.78), fig.u(0.6, 0.75)
    lean = fig.u(-0.15, 0.15)
    fig.body(
        blob(
            [
                (0, -0.42),
                (r * 0.4, -0.58),
                (r * 0.95, -0.3),
                (r * 0.9, 0.25),
                (r * 0.45, low),
                (0, low - 0.08),
                (-r * 0.45, low),
                (-r * 0.9, 0.25),
                (-r * 0.95, -0.3),
                (-r * 0.4, -0.58),
            ]
        )
    )
    fig.crease(spline([(-0.22, -0.45), (0, -0.36), (0.22, -0.45)]), 0.035)
    fig.wire(spline([(0, -0.38), (lean * 0.3, -0.58), (lean, -fig.u(0.72, 0.9))]), 0.07)
    if fig.chance(0.8):
        side = 1 if fig.chance(0.5) else -1
        leaf(fig, lean * 0.5, -0.62, lean * 0.5 + side * fig.u(0.4, 0.55), -fig.u(0.7, 0.95), width=0.2)


def pear(fig: Figure) -> None:
    """A pear with stem, sometimes a leaf."""
    neck, belly, tall = fig.u(0.2, 0.3), fig.u(0.5, 0.62), fig.u(1.3, 1.6)
    fig.body(
        lathe(
            [
                (0.02, 0),
                (neck * 0.9, 0.08),
                (neck * 1.15, tall * 0.32),
                (belly, tall * 0.7),
                (belly * 0.7, tall * 0.95),
                (0.1, tall),
            ]
        )
    )
    lean = fig.u(-0.18, 0.18)
    fig.wire(spline([(0, 0.02), (lean * 0.4, -0.15), (lean, -fig.u(0.25, 0.38))]), 0.06)
    if fig.chance(0.5):
        leaf(fig, lean * 0.4, -0.12, lean + (1 if lean < 0 else -1) * fig.u(0.4, 0.55), -fig.u(0.15, 0.4), width=0.2)
    for _ in range(fig.n(0, 6)):
        fig.mark(ellipse(fig.u(-0.5, 0.5) * belly, tall * fig.u(0.55, 0.85), 0.018), Tone.DARK)
    fig.crease(ellipse(0, tall, 0.1, 0.06, start=200, end=340), 0.03)


def pineapple(fig: Figure) -> None:
    """A pineapple: lozenges below a tuft."""
    rx, ry = fig.u(0.42, 0.52), fig.u(0.62, 0.78)
    count = fig.n(5, 7)
    for angle in sorted(span(-62, 62, count), key=lambda a: -abs(a)):
        a = math.radians(angle)
        long = fig.u(0.6, 0.8) * (1 - abs(angle) / 200)
        fig.body(
            lens(
                0.12 * math.sin(a), -ry * 0.9, 0.85 * long * math.sin(a), -ry * 0.9 - long * math.cos(a), 0.2, belly=0.4
            ),
            Tone.SECOND,
        )
    fig.body(ellipse(0, 0, rx, ry), Tone.MAIN)
    rows = fig.n(3, 4)
    for k in span(-1, 1, rows + 1):
        for lean in (-1, 1):
            ends = []
            for sign in (-1, 1):
                # A chord of the ellipse, as y = k + lean * x in the ellipse's own unit circle.
                root = math.sqrt(max(0.0, 2 - k * k))
                x = (-lean * k + sign * root) / 2
                ends.append((x * rx, (k + lean * x) * ry))
            fig.crease(ends, 0.03)
