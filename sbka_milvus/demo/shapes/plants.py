"""Things that grow: stems, trunks, leaves, petals, caps."""

from __future__ import annotations

import math

from sbka_milvus.demo.shapes.curves import (
    around,
    blob,
    capsule,
    ellipse,
    lathe,
    lens,
    rect,
    scallop,
    span,
    spline,
    tube,
)
from sbka_milvus.demo.shapes.kit import Figure, Tone
from sbka_milvus.demo.shapes.parts import leaf


def _pot(fig: Figure, top: float, half: float, tall: float) -> None:
    foot = half * fig.u(0.6, 0.8)
    fig.body([(-half * 0.9, top), (half * 0.9, top), (foot, top + tall), (-foot, top + tall)], Tone.ACCENT)
    fig.body(rect(-half, top, half, top + tall * 0.28, 0.03), Tone.ACCENT)


def flower(fig: Figure) -> None:
    """A flower on its stem."""
    tall, sway = fig.u(1.2, 1.7), fig.u(-0.2, 0.2)
    fig.body(tube(spline([(0, 0), (sway, tall * 0.5), (sway * 0.4, tall)]), 0.07), Tone.SECOND)
    for side in (-1, 1)[: fig.n(1, 2)]:
        at = fig.u(0.5, 0.8) * tall
        leaf(fig, sway * 0.8, at, sway + side * fig.u(0.5, 0.7), at - fig.u(0.15, 0.4), width=fig.u(0.22, 0.3))
    count, heart = fig.n(5, 11), fig.u(0.17, 0.28)
    reach = fig.u(0.55, 0.72)
    plump = min(0.5, 2 * math.pi * reach * 0.62 / count * fig.u(0.95, 1.2))
    belly = fig.u(0.5, 0.68)
    for x, y, _ in around(0, 0, reach, count, fig.u(0, 60)):
        fig.body(lens(x * 0.2, y * 0.2, x, y, plump, belly=belly), Tone.MAIN)
    fig.body(ellipse(0, 0, heart), Tone.ACCENT)
    if fig.chance(0.5):
        for x, y, _ in around(0, 0, heart * 0.5, 6):
            fig.mark(ellipse(x, y, heart * 0.12), Tone.DARK)


def tree(fig: Figure) -> None:
    """A broad-leaved tree."""
    tall, thick = fig.u(0.7, 1.0), fig.u(0.16, 0.28)
    flare = thick * fig.u(1.3, 1.8)
    trunk = [(-flare, tall), *spline([(-thick, tall * 0.8), (-thick * 0.7, 0.3), (-thick * 0.8, -0.1)])]
    fig.body([*map(tuple, trunk), *[(-x, y) for x, y in map(tuple, trunk[::-1])]], Tone.SECOND)
    for side in (-1, 1):
        if fig.chance(0.5):
            fig.wire([(0, fig.u(0.3, 0.45)), (side * fig.u(0.3, 0.45), 0.0)], 0.09, Tone.SECOND)
    fig.crease([(0.02, tall * 0.9), (0.0, tall * 0.6)], 0.03)
    rx, ry = fig.u(0.7, 0.95), fig.u(0.6, 0.8)
    fig.body(scallop(0, -ry * 0.6, rx, ry, fig.n(7, 11), depth=fig.u(0.12, 0.2), phase=fig.u(0, 1)), Tone.MAIN)
    for _ in range(fig.n(2, 4)):
        x, y = fig.u(-0.45, 0.45) * rx, -ry * fig.u(0.2, 1.0)
        turned = fig.u(0, 360)
        fig.crease(ellipse(x, y, 0.15, 0.12, start=turned, end=turned + fig.u(90, 150)), 0.035)
    if fig.chance(0.3):
        for _ in range(fig.n(4, 7)):
            fig.mark(ellipse(fig.u(-0.55, 0.55) * rx, -ry * fig.u(0.15, 1.05), 0.07), Tone.ACCENT)


def pine(fig: Figure) -> None:
    """A fir tree in tiers."""
    tiers, wide, step = fig.n(3, 4), fig.u(0.55, 0.75), fig.u(0.42, 0.52)
    bottom = tiers * step
    fig.body(rect(-0.1, bottom - 0.1, 0.1, bottom + fig.u(0.22, 0.4)), Tone.SECOND)
    sag = fig.u(0.0, 0.14)
    for i in reversed(range(tiers)):
        half = wide * (0.5 + 0.5 * (i + 1) / tiers)
        base = (i + 1) * step
        hem = [(x, base + (sag if k % 2 else 0.0)) for k, x in enumerate(span(-half * 0.9, half * 0.9, 7))]
        fig.body([(0, base - step * 1.55), (half, base - 0.03), *hem[::-1], (-half, base - 0.03)], Tone.MAIN)
    if fig.chance(0.35):
        for _ in range(6):
            y = fig.u(0.2, 0.95) * bottom
            fig.mark(ellipse(fig.u(-0.5, 0.5) * wide * y / bottom, y, 0.06), Tone.ACCENT)


def pot_plant(fig: Figure) -> None:
    """A pot with long leaves."""
    half, tall = fig.u(0.38, 0.5), fig.u(0.55, 0.7)
    count, spread = fig.n(5, 9), fig.u(55, 75)
    wide = fig.u(0.16, 0.3)
    order = sorted(span(-spread, spread, count), key=lambda a: -abs(a))
    for angle in order:
        reach = fig.u(0.8, 1.2) * (1 - abs(angle) / 220)
        a = math.radians(angle)
        leaf(
            fig, 0.25 * half * math.sin(a), 0.05, reach * math.sin(a), -reach * math.cos(a), width=wide, tone=Tone.MAIN
        )
    _pot(fig, 0, half, tall)


def palm(fig: Figure) -> None:
    """A palm with a ringed trunk and fronds."""
    tall, lean = fig.u(1.3, 1.7), fig.u(-0.45, 0.45)
    path = spline([(0, tall), (lean * 0.3, tall * 0.55), (lean, 0)])
    fig.body(tube(path, fig.u(0.2, 0.28), 0.12), Tone.SECOND)
    for x, y in path[2:-3:2]:
        fig.crease([(x - 0.08, y), (x + 0.08, y - 0.02)], 0.025)
    count, reach = fig.n(6, 8), fig.u(0.75, 0.95)
    for i in sorted(range(count), key=lambda k: -abs(k - (count - 1) / 2)):
        a = math.radians(-205 + 230 * i / (count - 1))
        x, y = lean + reach * math.cos(a), reach * math.sin(a) * 0.75
        middle = (lean + 0.55 * (x - lean), y * 0.5 - 0.25)
        tip = (x, y + 0.2)
        upper = spline([(lean, 0.03), (middle[0], middle[1] - 0.09), tip])
        lower = spline([tip, (middle[0], middle[1] + 0.1), (lean, 0.03)])
        fig.body([*map(tuple, upper), *map(tuple, lower)], Tone.MAIN)
        fig.crease(
            spline([(lean, 0.02), middle, (0.8 * tip[0] + 0.2 * middle[0], 0.8 * tip[1] + 0.2 * middle[1])]), 0.025
        )
    for _ in range(fig.n(0, 3)):
        fig.body(ellipse(lean + fig.u(-0.12, 0.12), 0.1, 0.09), Tone.ACCENT)


def cactus(fig: Figure) -> None:
    """A column with arms, in a pot or in sand."""
    half, tall = fig.u(0.17, 0.24), fig.u(1.3, 1.7)
    width = half * 2
    potted = fig.chance(0.55)
    sides = [-1, 1] if fig.chance(0.8) else [1]
    for side in sides:
        at, reach, rise = fig.u(0.45, 0.7) * tall, half + fig.u(0.25, 0.36), fig.u(0.35, 0.6)
        arm = fig.u(0.2, 0.28)
        path = [
            (0, at),
            (side * reach * 0.8, at),
            *spline([(side * reach * 0.9, at - 0.02), (side * reach, at - 0.12)]),
            (side * reach, at - rise),
        ]
        fig.body(capsule(path, arm), Tone.MAIN)
        fig.crease([(side * reach, at - 0.12), (side * reach, at - rise)], 0.02)
    fig.body([*map(tuple, ellipse(0, half, half, start=180, end=360)), (half, tall), (-half, tall)], Tone.MAIN)
    for x in span(-half, half, fig.n(2, 3)):
        fig.crease([(x, half * 0.7), (x, tall)], 0.02)
    for _ in range(fig.n(4, 10)):
        x, y = fig.u(-0.8, 0.8) * half, fig.u(0.2, 0.9) * tall
        fig.crease([(x - 0.04, y - 0.03), (x + 0.04, y + 0.03)], 0.015)
    if fig.chance(0.35):
        for x, y, _ in around(0, -0.03, 0.1, 5, 18):
            fig.body(ellipse(x, y, 0.07), Tone.ACCENT)
    if potted:
        _pot(fig, tall - 0.05, fig.u(0.36, 0.46), fig.u(0.4, 0.52))
    else:
        fig.body(
            blob(
                [
                    (-width * 2, tall + 0.05),
                    (-half, tall - 0.06),
                    (half, tall - 0.05),
                    (width * 2, tall + 0.04),
                    (0, tall + 0.12),
                ]
            ),
            Tone.ACCENT,
        )


def mushroom(fig: Figure) -> None:
    """A mushroom with a cap, often spotted."""
    wide, rise, long = fig.u(0.7, 0.9), fig.u(0.55, 0.85), fig.u(0.6, 0.9)
    thick, foot = fig.u(0.18, 0.27), fig.u(0.24, 0.38)
    droop = fig.u(0.08, 0.17)
    fig.body(lathe([(thick, 0.0), (thick * 0.95, long * 0.5), (foot, long * 0.9), (foot * 0.75, long)]), Tone.LIGHT)
    if fig.chance(0.4):
        fig.body(
            [(-thick, long * 0.22), (thick, long * 0.22), (thick * 1.5, long * 0.42), (-thick * 1.5, long * 0.42)],
            Tone.LIGHT,
        )
    cap = ellipse(0, 0, wide, rise, start=180, end=360)
    under = ellipse(0, 0, wide, droop, start=0, end=180)
    fig.body([*map(tuple, cap), *map(tuple, under)], Tone.MAIN)
    if fig.chance(0.6):
        fig.mark(
            [
                *map(tuple, ellipse(0, 0.02, wide * 0.9, droop * 0.8, start=0, end=180)),
                *map(tuple, ellipse(0, 0.02, wide * 0.9, droop * 0.3, start=180, end=360)),
            ],
            Tone.SECOND,
        )
    if fig.chance(0.75):
        for x, y in ((-0.5, 0.3), (0.02, 0.68), (0.5, 0.36), (-0.12, 0.28), (0.25, 0.2), (-0.32, 0.62))[: fig.n(3, 6)]:
            size = fig.u(0.06, 0.13)
            fig.mark(ellipse(x * wide, -y * rise, size * 1.1, size), Tone.ACCENT)
    if fig.chance(0.3):
        for x in span(-0.6, 0.6, fig.n(5, 9)):
            fig.wire([(x, long), (x + fig.u(-0.05, 0.05), long - fig.u(0.08, 0.18))], 0.03, Tone.SECOND)
