"""Things for the hand: blades, shafts, strings, keys."""

from __future__ import annotations

import math

from sbka_milvus.demo.shapes.curves import blob, ellipse, rect, rounded, span, spline, tube, turn
from sbka_milvus.demo.shapes.kit import Figure, Tone


def key(fig: Figure) -> None:
    """An old key: bow, shaft and bit."""
    long, thick, bow = fig.u(1.2, 1.6), fig.u(0.1, 0.14), fig.u(0.32, 0.42)
    style = fig.n(0, 2)
    fig.body(rect(bow * (0.1 if style == 2 else 0.8), -thick / 2, long, thick / 2, 0.03))
    deep = fig.u(0.25, 0.38)
    for x in (long - 0.12, long - fig.u(0.32, 0.4)):
        fig.body(rect(x - 0.09, 0, x + 0.06, deep * fig.u(0.75, 1.1)))
    if style == 0:
        fig.body(ellipse(0, 0, bow))
        fig.hole(ellipse(0, 0, bow * fig.u(0.5, 0.68)))
    elif style == 1:
        fig.body(ellipse(0, 0, bow * 0.85, bow * 1.15))
        fig.hole(ellipse(0, 0, bow * 0.5, bow * 0.75))
    else:
        for angle in (90, 180, 270):
            x, y = bow * 0.62 * math.cos(math.radians(angle)), bow * 0.75 * math.sin(math.radians(angle))
            fig.body(ellipse(x, y, bow * 0.6))
            fig.hole(ellipse(x, y, bow * 0.3))
    fig.crease([(bow * 1.25, -thick * 0.7), (bow * 1.25, thick * 0.7)], 0.05)


def hammer(fig: Figure) -> None:
    """A claw hammer or a mallet."""
    long, thick = fig.u(1.4, 1.8), fig.u(0.13, 0.19)
    fig.body(
        rounded([(-thick * 0.4, 0), (thick * 0.4, 0), (thick * 0.65, long), (-thick * 0.65, long)], 0.06), Tone.SECOND
    )
    for y in span(long * 0.7, long, fig.n(0, 3)):
        fig.crease([(-thick * 0.5, y), (thick * 0.5, y)], 0.03)
    high = fig.u(0.24, 0.32)
    if fig.chance(0.7):
        claw = spline([(-0.12, -high / 2), (-0.4, -high * 0.6), (-fig.u(0.62, 0.75), fig.u(0.02, 0.25))])
        under = spline([(float(claw[-1][0]) + 0.02, float(claw[-1][1]) + 0.03), (-0.38, -0.02), (-0.12, high / 2)])
        fig.body([*map(tuple, claw), *map(tuple, under)], Tone.MAIN)
        fig.body(rect(-0.14, -high / 2, 0.16, high / 2, 0.03), Tone.MAIN)
        fig.body(rect(0.14, -high * 0.38, 0.32, high * 0.38), Tone.MAIN)
        fig.body(rect(0.3, -high * 0.6, fig.u(0.46, 0.54), high * 0.6, 0.05), Tone.MAIN)
    else:
        half = fig.u(0.42, 0.55)
        fig.body(rect(-half, -high * 0.75, half, high * 0.75, 0.07), Tone.MAIN)
        for side in (-1, 1):
            fig.crease([(side * half * 0.75, -high * 0.75), (side * half * 0.75, high * 0.75)], 0.04)


def axe(fig: Figure) -> None:
    """An axe with a curved blade."""
    long, thick, bend = fig.u(1.6, 2.0), fig.u(0.11, 0.15), fig.u(-0.12, 0.12)
    fig.body(tube(spline([(0, -0.12), (bend, long * 0.5), (0, long)]), thick, thick * 1.25), Tone.SECOND)
    reach, flare = fig.u(0.55, 0.75), fig.u(0.36, 0.52)
    edge = spline([(reach * 0.9, -0.15 - flare * 0.6 + 0.15), (reach * 1.12, 0.15), (reach * 0.85, 0.15 + flare)])
    upper = spline([(-0.1, 0.0), (0.2, 0.0), (reach * 0.9, -flare * 0.6)])
    lower = spline([(reach * 0.85, 0.15 + flare), (0.25, 0.28), (-0.1, 0.26)])
    fig.body([*map(tuple, upper), *map(tuple, edge), *map(tuple, lower)], Tone.MAIN)
    fig.crease([(x - 0.1, y) for x, y in edge], 0.025)
    if fig.chance(0.25):
        fig.body([(-0.08, 0.04), (-fig.u(0.3, 0.45), 0.0), (-0.4, 0.24), (-0.08, 0.22)], Tone.MAIN)
    for y in span(long * 0.8, long, fig.n(0, 3)):
        fig.crease([(-thick * 0.6, y), (thick * 0.6, y)], 0.03)


def scissors(fig: Figure) -> None:
    """Open scissors."""
    half_angle, blade, grip = fig.u(10, 24), fig.u(0.95, 1.25), fig.u(0.5, 0.65)
    ring, rim = fig.u(0.21, 0.27), fig.u(0.26, 0.36)
    for side in (-1, 1):
        a = side * half_angle
        fig.body(turn([(-0.08, 0.15), (0.08 * side, -0.1), (side * 0.02, -blade), (-0.09 * side, -0.1)], a), Tone.LIGHT)
        fig.body(turn(tube(spline([(0, -0.05), (-side * 0.02, 0.2), (-side * 0.1, grip * 0.75)]), 0.12), a), Tone.MAIN)
        centre = turn([(-side * 0.16, grip + ring * 0.6)], a)[0]
        x, y = float(centre[0]), float(centre[1])
        fig.body(ellipse(x, y, ring, ring * 1.25, tilt=a), Tone.MAIN)
        fig.hole(ellipse(x, y, ring * (1 - rim), ring * 1.25 * (1 - rim), tilt=a))
    fig.body(ellipse(0, 0, 0.06), Tone.DARK)


def guitar(fig: Figure) -> None:
    """A guitar with its strings."""
    upper, waist, lower = fig.u(0.36, 0.45), fig.u(0.27, 0.34), fig.u(0.5, 0.6)
    neck, thick = fig.u(0.85, 1.1), fig.u(0.1, 0.15)
    peg = -neck - fig.u(0.28, 0.36)
    for y in span(peg, -neck, 3):
        fig.wire([(-0.2, y), (0.2, y)], 0.06)
    fig.body([(-thick * 0.6, -neck), (-thick * 1.0, peg), (thick * 1.0, peg), (thick * 0.6, -neck)], Tone.SECOND)
    cut = fig.chance(0.35)
    right = [
        (0.02, 0),
        (upper * (0.55 if cut else 0.75), 0.25 if cut else 0.04),
        (upper, 0.34),
        (waist, 0.62),
        (lower * 0.98, 1.0),
        (lower * 0.65, 1.38),
        (0.02, 1.45),
    ]
    left = [(-0.02, 0), (-upper * 0.75, 0.04), (-upper, 0.3), (-waist, 0.6), (-lower, 0.98), (-lower * 0.65, 1.38)]
    fig.body(blob([*right, *left[::-1]]), Tone.MAIN)
    fig.body(ellipse(0, 0.62, fig.u(0.15, 0.2)), Tone.DARK)
    fig.body(rect(-0.2, 1.05, 0.2, 1.14, 0.02), Tone.DARK)
    fig.body(rect(-thick / 2, -neck - 0.02, thick / 2, 0.46), Tone.SECOND)
    for y in span(-neck, 0.3, fig.n(5, 8)):
        fig.crease([(-thick / 2, y), (thick / 2, y)], 0.02)
    for x in (-thick * 0.25, thick * 0.25):
        fig.crease([(x, -neck), (x, 1.08)], 0.014)


def ladder(fig: Figure) -> None:
    """A ladder, straight or tapered."""
    tall, low = fig.u(1.8, 2.2), fig.u(0.34, 0.46)
    top = low * fig.u(0.65, 1.0)
    thick, rungs = fig.u(0.08, 0.12), fig.n(5, 8)
    for k in span(0.02, 0.98, rungs):
        half = top + (low - top) * k
        fig.body(rect(-half, k * tall - 0.045, half, k * tall + 0.045), Tone.SECOND)
    for side in (-1, 1):
        fig.body(tube([(side * top, 0), (side * low, tall)], thick), Tone.MAIN)
