"""Animals on land: heads, legs, tails, shells, a wing."""

from __future__ import annotations

import math

from sbka_milvus.demo.shapes.curves import blob, ellipse, lens, span, spline, tube
from sbka_milvus.demo.shapes.kit import Figure, Tone
from sbka_milvus.demo.shapes.parts import eye


def bird(fig: Figure) -> None:
    """A songbird on its feet."""
    rx, ry = fig.u(0.58, 0.7), fig.u(0.38, 0.48)
    head, lift = fig.u(0.25, 0.32), fig.u(0.28, 0.42)
    hx, hy = rx * 0.72, -ry - lift * 0.5
    for x in (-0.02, 0.2):
        fig.wire([(x, ry * 0.8), (x - 0.05, ry + 0.3), (x + 0.12, ry + 0.32)], 0.045)
        fig.wire([(x - 0.05, ry + 0.3), (x - 0.14, ry + 0.34)], 0.04)
    lift_tail = fig.u(-0.15, 0.25)
    fig.body(
        [
            (-rx * 0.6, -0.12),
            (-rx - fig.u(0.45, 0.65), -lift_tail - 0.12),
            (-rx - 0.4, 0.08 - lift_tail),
            (-rx * 0.6, 0.2),
        ],
        Tone.SECOND,
    )
    beak = fig.u(0.18, 0.3)
    fig.body([(hx + head * 0.8, hy - 0.08), (hx + head + beak, hy + 0.05), (hx + head * 0.8, hy + 0.12)], Tone.ACCENT)
    fig.body(
        blob(
            [
                (hx, hy - head),
                (hx + head, hy),
                (hx + head * 0.7, hy + head * 0.8),
                (rx * 0.95, 0.05),
                (rx * 0.5, ry * 0.95),
                (-rx * 0.2, ry),
                (-rx * 0.95, 0.1),
                (-rx * 0.3, -ry * 0.75),
                (hx - head * 0.9, hy - head * 0.1),
            ]
        )
    )
    eye(fig, hx + head * 0.3, hy - 0.03, 0.07)
    wing = fig.u(0.62, 0.8)
    fig.body(
        blob(
            [
                (rx * 0.4, -ry * 0.3),
                (rx * 0.2, ry * 0.35),
                (-rx * wing, ry * 0.5),
                (-rx * wing * 1.2, ry * 0.12),
                (-rx * 0.2, -ry * 0.42),
            ]
        ),
        Tone.SECOND,
    )
    for k in (0.1, 0.35):
        fig.crease(spline([(0.05, ry * k), (-rx * 0.4, ry * (k + 0.12)), (-rx * wing, ry * (k + 0.05))]), 0.025)


def snail(fig: Figure) -> None:
    """A snail with a coiled shell."""
    r, low = fig.u(0.5, 0.64), 0.5
    neck = fig.u(0.62, 0.8)
    for x in (neck + 0.03, neck + 0.2):
        tip = (x + fig.u(0.02, 0.16), -fig.u(0.45, 0.65))
        fig.wire([(x, -0.1), tip], 0.05, Tone.SECOND)
        fig.body(ellipse(tip[0], tip[1], 0.06), Tone.DARK)
    fig.body(
        blob(
            [
                (-r - fig.u(0.25, 0.45), low),
                (-r * 0.7, low - 0.22),
                (r * 0.5, low - 0.25),
                (neck - 0.1, -0.05),
                (neck + 0.08, -0.25),
                (neck + 0.27, -0.12),
                (neck + 0.2, 0.15),
                (neck, low - 0.03),
                (0, low + 0.02),
            ]
        ),
        Tone.SECOND,
    )
    fig.crease(ellipse(neck + 0.17, 0.0, 0.1, start=20, end=110), 0.025)
    fig.body(ellipse(-0.05, low - r - 0.12, r, r * 0.97), Tone.MAIN)
    turns, start = fig.u(1.8, 2.6), fig.u(20, 90)
    steps = [i / 40 for i in range(41)]
    coil = [(math.radians(start + 360 * turns * t), r * (0.9 - 0.85 * t)) for t in steps]
    fig.wire([(-0.05 + d * math.cos(a), low - r - 0.12 + d * math.sin(a)) for a, d in coil], 0.055)


def turtle(fig: Figure) -> None:
    """A tortoise from the side."""
    half, dome = fig.u(0.75, 0.9), fig.u(0.5, 0.68)
    for x in (-half * 0.62, half * 0.55):
        fig.body(blob([(x - 0.15, -0.05), (x + 0.15, -0.05), (x + 0.18, 0.32), (x - 0.14, 0.32)]), Tone.SECOND)
    fig.body([(-half * 0.9, -0.08), (-half - fig.u(0.2, 0.35), 0.12), (-half * 0.85, 0.06)], Tone.SECOND)
    reach, up = half + fig.u(0.25, 0.38), fig.u(0.1, 0.35)
    fig.body(tube(spline([(half * 0.7, 0.02), (half + 0.1, -0.06), (reach, -up)]), 0.24, 0.2), Tone.SECOND)
    fig.body(
        blob(
            [
                (reach - 0.15, -up - 0.12),
                (reach + 0.06, -up - 0.17),
                (reach + 0.24, -up - 0.02),
                (reach + 0.1, -up + 0.12),
                (reach - 0.12, -up + 0.1),
            ]
        ),
        Tone.SECOND,
    )
    eye(fig, reach + 0.08, -up - 0.05, 0.05)
    fig.body(
        [
            *map(tuple, ellipse(0, 0, half, dome, start=180, end=360)),
            *map(tuple, ellipse(0, 0, half, 0.1, start=0, end=180)),
        ],
        Tone.MAIN,
    )
    rows = fig.n(2, 3)
    for x in span(-half * 0.62, half * 0.62, rows):
        w = half * 0.5 / rows
        fig.mark(
            [
                (x - w, -dome * 0.2),
                (x - w * 0.8, -dome * 0.55),
                (x, -dome * 0.68),
                (x + w * 0.8, -dome * 0.55),
                (x + w, -dome * 0.2),
            ],
            Tone.ACCENT,
        )
    fig.crease(spline([(-half, 0), (0, 0.04), (half, 0)]), 0.03)


def rabbit(fig: Figure) -> None:
    """A rabbit's head and shoulders, ears up."""
    head, long = fig.u(0.5, 0.58), fig.u(0.75, 1.0)
    spread = fig.u(6, 22)
    fig.body(ellipse(0, 0.95, fig.u(0.55, 0.68), 0.62), Tone.MAIN)
    for side in (-1, 1):
        a = math.radians(spread * side)
        base, tip = (
            (side * head * 0.4, -head * 0.6),
            (side * head * 0.45 + long * math.sin(a), -head * 0.6 - long * math.cos(a)),
        )
        fig.body(lens(base[0], base[1] + 0.15, *tip, fig.u(0.32, 0.4), belly=0.55), Tone.MAIN)
        fig.mark(
            lens(base[0], base[1], 0.15 * base[0] + 0.85 * tip[0], 0.15 * base[1] + 0.85 * tip[1], 0.18, belly=0.55),
            Tone.SECOND,
        )
    fig.body(ellipse(0, 0, head, head * fig.u(0.82, 0.95)), Tone.MAIN)
    for side in (-1, 1):
        eye(fig, side * head * 0.4, -head * 0.12, 0.085)
        for k in (-0.05, 0.06):
            fig.crease([(side * 0.18, head * 0.38), (side * head * 1.15, head * 0.38 + k * 2)], 0.018)
        fig.body(ellipse(side * 0.22, 1.35, 0.2, 0.13), Tone.LIGHT)
    fig.mark([(-0.08, head * 0.24), (0.08, head * 0.24), (0, head * 0.36)], Tone.ACCENT)
    fig.crease(
        spline(
            [(-0.14, head * 0.55), (-0.06, head * 0.58), (0, head * 0.42), (0.06, head * 0.58), (0.14, head * 0.55)]
        ),
        0.025,
    )
    fig.mark([(-0.06, head * 0.56), (0.06, head * 0.56), (0.05, head * 0.76), (-0.05, head * 0.76)], Tone.LIGHT)


def cat(fig: Figure) -> None:
    """A cat that sits and looks at us, its tail to one side."""
    head, body, tall = fig.u(0.42, 0.5), fig.u(0.42, 0.54), fig.u(0.95, 1.2)
    side = 1 if fig.chance(0.5) else -1
    low = 0.2 + tall
    fig.body(
        tube(
            spline(
                [
                    (side * body * 0.6, low - 0.1),
                    (side * (body + 0.35), low - 0.15),
                    (side * (body + 0.42), low - 0.55),
                    (side * (body + 0.2), low - fig.u(0.7, 0.9)),
                ]
            ),
            0.17,
            0.1,
        ),
        Tone.SECOND,
    )
    fig.body(
        blob(
            [
                (-head * 0.6, 0.1),
                (head * 0.6, 0.1),
                (body, low - 0.35),
                (body * 0.95, low),
                (0, low + 0.03),
                (-body * 0.95, low),
                (-body, low - 0.35),
            ]
        ),
        Tone.MAIN,
    )
    for x in (-0.13, 0.13):
        fig.crease([(x, low - 0.45), (x, low - 0.05)], 0.025)
        fig.body(ellipse(x * 1.3, low - 0.02, 0.15, 0.09), Tone.LIGHT)
    ear = fig.u(0.3, 0.42)
    for s in (-1, 1):
        fig.body(
            [(s * head * 0.92, -head * 0.25), (s * head * 0.88, -head * 0.55 - ear), (s * head * 0.2, -head * 0.75)],
            Tone.MAIN,
        )
        fig.mark(
            [
                (s * head * 0.78, -head * 0.5),
                (s * head * 0.78, -head * 0.5 - ear * 0.6),
                (s * head * 0.42, -head * 0.72),
            ],
            Tone.SECOND,
        )
    fig.body(ellipse(0, 0, head * 1.06, head * 0.9), Tone.MAIN)
    for s in (-1, 1):
        eye(fig, s * head * 0.42, -head * 0.1, 0.085)
        for k in (-0.08, 0.0, 0.08):
            fig.crease([(s * 0.14, head * 0.36), (s * head * 1.35, head * 0.33 + k * 1.6)], 0.016)
    fig.mark([(-0.07, head * 0.2), (0.07, head * 0.2), (0, head * 0.34)], Tone.ACCENT)
    fig.crease(
        spline([(-0.14, head * 0.5), (-0.06, head * 0.55), (0, head * 0.4), (0.06, head * 0.55), (0.14, head * 0.5)]),
        0.025,
    )
    if fig.chance(0.4):
        for k in (-0.14, 0.0, 0.14):
            fig.crease([(k, -head * 0.82), (k * 0.8, -head * 0.5)], 0.04)
